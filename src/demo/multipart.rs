//! Upload forms (`multipart/form-data`), as a stream in constant memory.
//!
//! Pure: bytes in, fields and a digest out.

use std::{collections::BTreeMap, mem};

use memchr::memmem;
use sha2::{Digest, Sha256};

/// A part's head, and a field's value, are at most this long.
const MAX_SMALL: usize = 8192;

/// The boundary, if the content type is that of an upload form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|p| p.trim().strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    (!value.is_empty() && value.len() <= 200).then(|| value.to_owned())
}

/// What a form held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) fields: BTreeMap<String, String>,
    pub(super) file: Option<File>,
}

/// The form's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

/// Why a body is no upload form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The first line is not the delimiter.
    #[error("body does not begin with the boundary")]
    NoBoundary,
    /// A part's head or a field is too long, or says nothing usable.
    #[error("part has no usable head")]
    PartHead,
    /// The body ended before its closing delimiter.
    #[error("body ends inside a part")]
    Truncated,
}

/// The reader. Feed it, then finish it.
pub(super) struct Reader {
    delimiter: Vec<u8>,
    /// Not yet understood: at most one chunk and a delimiter.
    pending: Vec<u8>,
    state: State,
    form: Form,
}

enum State {
    /// Behind a delimiter: `--` or a part's head follows.
    AfterDelimiter,
    Field(String),
    File(String, u64, Sha256),
    /// Behind the closing delimiter; what follows does not matter.
    End,
}

impl Reader {
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first delimiter has no line before it.
            pending: b"\r\n".to_vec(),
            state: State::Field(String::new()),
            form: Form { fields: BTreeMap::new(), file: None },
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.pending.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Form, Malformed> {
        match self.state {
            State::End => Ok(self.form),
            State::AfterDelimiter | State::Field(_) | State::File(..) => Err(Malformed::Truncated),
        }
    }

    /// Whether there may be more to understand.
    fn step(&mut self) -> Result<bool, Malformed> {
        match &mut self.state {
            State::End => {
                self.pending.clear();
                Ok(false)
            }
            State::AfterDelimiter => {
                if self.pending.starts_with(b"--") {
                    self.state = State::End;
                    return Ok(true);
                }
                match memmem::find(&self.pending, b"\r\n\r\n") {
                    Some(end) => {
                        let head: Vec<u8> = self.pending.drain(..end + 4).collect();
                        self.state = part(&String::from_utf8_lossy(&head)).ok_or(Malformed::PartHead)?;
                        Ok(true)
                    }
                    None if self.pending.len() > MAX_SMALL => Err(Malformed::PartHead),
                    None => Ok(false),
                }
            }
            State::Field(name) => match memmem::find(&self.pending, &self.delimiter) {
                Some(at) => {
                    let value: Vec<u8> = self.pending.drain(..at + self.delimiter.len()).take(at).collect();
                    let name = mem::take(name);
                    match (name.is_empty(), value.is_empty()) {
                        (true, false) => return Err(Malformed::NoBoundary),
                        (true, true) => {}
                        (false, _) => {
                            let value = String::from_utf8_lossy(&value).into_owned();
                            self.form.fields.insert(name, value);
                        }
                    }
                    self.state = State::AfterDelimiter;
                    Ok(true)
                }
                None if self.pending.len() > MAX_SMALL => {
                    Err(if name.is_empty() { Malformed::NoBoundary } else { Malformed::PartHead })
                }
                None => Ok(false),
            },
            State::File(name, length, hash) => {
                let found = memmem::find(&self.pending, &self.delimiter);
                let take = found.unwrap_or((self.pending.len() + 1).saturating_sub(self.delimiter.len()));
                let content = self.pending.get(..take).unwrap_or_default();
                hash.update(content);
                *length += content.len() as u64;
                if found.is_some() {
                    let sha256 = mem::take(hash).finalize().into();
                    self.form.file = Some(File { name: mem::take(name), bytes: *length, sha256 });
                    self.pending.drain(..take + self.delimiter.len());
                    self.state = State::AfterDelimiter;
                } else {
                    self.pending.drain(..take);
                }
                Ok(found.is_some())
            }
        }
    }
}

/// What a part's head opens.
fn part(head: &str) -> Option<State> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let parameter = |wanted: &str| {
        disposition.split(';').find_map(|p| {
            let (name, value) = p.trim().split_once('=')?;
            (name == wanted).then(|| value.trim_matches('"').to_owned())
        })
    };
    let name = parameter("name").filter(|name| !name.is_empty())?;
    Some(match parameter("filename") {
        Some(filename) => State::File(filename, 0, Sha256::new()),
        None => State::Field(name),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(content: &[u8]) -> Vec<u8> {
        let mut body = b"--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--B\r\n\
            content-disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n"
            .to_vec();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--B--\r\n");
        body
    }

    fn read(body: &[u8], chunk: usize) -> Result<Form, Malformed> {
        let mut reader = Reader::new("B");
        for chunk in body.chunks(chunk) {
            reader.feed(chunk)?;
        }
        reader.finish()
    }

    #[test]
    fn a_boundary_is_read_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("application/json; boundary=abc"), None);
    }

    #[test]
    fn a_body_that_is_no_form_is_refused() {
        assert_eq!(read(b"x--B\r\n", 1), Err(Malformed::Truncated));
        assert_eq!(read(b"x\r\n--B\r\n", 1), Err(Malformed::NoBoundary));
        assert_eq!(read(&vec![b'x'; MAX_SMALL + 1], 100), Err(Malformed::NoBoundary));
        assert_eq!(read(b"--B\r\nX: y\r\n\r\n", 3), Err(Malformed::PartHead));
        let whole = body(b"content");
        assert_eq!(read(&whole[..whole.len() - 9], 7), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn a_file_is_the_same_however_its_body_was_cut(
            content in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), "[\r\n\\-B]{0,60}".prop_map(String::into_bytes)],
            chunk in 1..50usize,
        ) {
            prop_assume!(memmem::find(&[b"\r\n", &content[..]].concat()[..], b"\r\n--B").is_none());

            let form = read(&body(&content), chunk).unwrap();

            let file = form.file.unwrap();
            prop_assert_eq!(form.fields["content"].as_str(), "iso");
            prop_assert_eq!((file.name.as_str(), file.bytes), ("a.iso", content.len() as u64));
            prop_assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
        }
    }
}
