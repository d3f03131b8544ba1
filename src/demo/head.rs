//! Request heads and targets, read as pveproxy reads them.
//!
//! Pure: bytes in, a head or a refusal out. The limits are those of pveproxy, not those of RFC 9112.

use percent_encoding::percent_decode;

/// Field lines of a head; one more and there is no answer.
pub(super) const MAX_FIELD_LINES: usize = 62;
/// Field lines without their ends stay below this in sum, or there is no answer.
pub(super) const MAX_FIELD_BYTES: usize = 8192;

/// A complete request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    /// `HTTP/1.0` or `HTTP/1.1`; answers repeat it.
    pub(super) version: &'static str,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// From the request line through the empty line.
    pub(super) raw: Vec<u8>,
    pub(super) request_line: String,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The beginning of a head, or nothing yet.
    Incomplete,
    /// A head, and how many bytes it took (empty lines before it included).
    Complete(Head, usize),
    /// Beyond the limits: no answer at all.
    Silence,
    /// An answer with an empty body, then the end.
    Refused { code: u16, reason: String, request_line: String },
}

/// Reads a request head from the front of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut lines = Lines { bytes, at: 0 };
    let mut start = 0;
    let request_line = loop {
        match lines.next() {
            None => return Parsed::Incomplete,
            Some([]) => start = lines.at,
            Some(line) => break line,
        }
    };
    let text = String::from_utf8_lossy(request_line).into_owned();
    let refused = |code, reason: String| Parsed::Refused { code, reason, request_line: text.clone() };
    let mut parts = request_line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refused(400, "bad request".to_owned());
    };
    let version = match version {
        b"HTTP/1.0" => "HTTP/1.0",
        b"HTTP/1.1" => "HTTP/1.1",
        other => match other.strip_prefix(b"HTTP/") {
            Some(number) => {
                let number = String::from_utf8_lossy(number);
                return refused(506, format!("http protocol version {number} not supported"));
            }
            None => return refused(400, "bad request".to_owned()),
        },
    };
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let (mut count, mut sum) = (0, 0);
    loop {
        let Some(line) = lines.next() else { return Parsed::Incomplete };
        if line.is_empty() {
            break;
        }
        count += 1;
        sum += line.len();
        if count > MAX_FIELD_LINES || sum >= MAX_FIELD_BYTES {
            return Parsed::Silence;
        }
        match (line.first(), fields.last_mut()) {
            (Some(b' ' | b'\t'), Some((_, value))) => {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii_start());
            }
            _ => match field(line) {
                Some(field) => fields.push(field),
                None => return refused(506, "unable to parse request header".to_owned()),
            },
        }
    }
    let raw = bytes.get(start..lines.at).unwrap_or_default().to_vec();
    let method = String::from_utf8_lossy(method).into_owned();
    let head = Head { method, target: target.to_vec(), version, fields, raw, request_line: text };
    Parsed::Complete(head, lines.at)
}

/// `name: value`; the name holds no colon and no white space, but white space may stand before the colon.
fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    let valid = !name.is_empty() && !name.iter().any(u8::is_ascii_whitespace);
    valid.then(|| (name.to_vec(), value.get(1..).unwrap_or_default().trim_ascii_start().to_vec()))
}

/// Whether Perl's `HTTP::Headers` takes one byte of a name for the other.
fn same(byte: u8, known: u8) -> bool {
    let read = |byte| if byte == b'_' { b'-' } else { byte };
    read(byte).eq_ignore_ascii_case(&read(known))
}

/// Lines that end in LF, with or without CR.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        let line = rest.get(..end)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl Head {
    /// All values of a field, joined with `", "`, as the real one sees them: `_` in a name is `-` to it.
    pub(super) fn field(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self
            .fields
            .iter()
            .filter(|(n, _)| n.len() == name.len())
            .filter(|(n, _)| n.iter().zip(name.bytes()).all(|(byte, known)| same(*byte, known)))
            .map(|(_, value)| value.as_slice())
            .collect();
        (!values.is_empty()).then(|| values.join(b", ".as_slice()))
    }

    /// Like [`Head::field`], as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.field(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Content-Length. Nonsense counts as none; the real one's arithmetic does about the same.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.text("content-length")?.parse().ok()
    }

    /// Whether the client wants the connection to stay.
    pub(super) fn keep_alive(&self) -> bool {
        match self.text("connection") {
            Some(connection) => !connection.to_ascii_lowercase().contains("close"),
            None => self.version == "HTTP/1.1",
        }
    }
}

/// A request target, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Percent-decoded once, `%2F` included.
    pub(super) path: String,
    /// Parameters of the query, decoded.
    pub(super) query: Vec<(String, String)>,
}

impl Target {
    /// From origin form or absolute form; `None` for anything else.
    pub(super) fn parse(target: &[u8]) -> Option<Self> {
        let without_fragment = target.split(|byte| *byte == b'#').next().unwrap_or_default();
        let (mut path, query) = match without_fragment.iter().position(|byte| *byte == b'?') {
            Some(at) => (
                without_fragment.get(..at).unwrap_or_default(),
                without_fragment.get(at + 1..).unwrap_or_default(),
            ),
            None => (without_fragment, b"".as_slice()),
        };
        if let Some(rest) = path.strip_prefix(b"//") {
            // Perl's URI module takes this for an authority, and what follows it for the path.
            let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            path = rest.get(slash..).unwrap_or_default();
        } else if !path.starts_with(b"/") {
            let rest = path.strip_prefix(b"https://").or_else(|| path.strip_prefix(b"http://"))?;
            let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            path = rest.get(slash..).unwrap_or_default();
        }
        let path = if path.is_empty() { b"/" } else { path };
        Some(Self {
            path: percent_decode(path).decode_utf8_lossy().into_owned(),
            query: form_urlencoded::parse(query).into_owned().collect(),
        })
    }

    /// The last parameter of this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The API: format and path below it.
    Api(Format, String),
    /// Begins with `/api2` and names no format.
    NoSuchUri,
    /// Anything else, needing no authentication.
    Page,
}

/// How the API presents an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `json`
    Json,
    /// `extjs`: JSON, and every error of a call is a 200.
    Extjs,
    /// `html`
    Html,
    /// `htmljs`: as extjs, escaped in a page.
    Htmljs,
    /// `png`: empty for nearly every call.
    Png,
    /// `spiceconfig`
    Spiceconfig,
}

/// Slashes between `/api2` and the format collapse, none elsewhere do, and one newline at the end does not
/// count, others make no call; the path was decoded before.
pub(super) fn place(path: &str) -> Place {
    let Some(rest) = path.strip_prefix("/api2") else { return Place::Page };
    let rest = rest.strip_suffix('\n').unwrap_or(rest);
    if rest.contains('\n') {
        return Place::NoSuchUri;
    }
    let name = rest.trim_start_matches('/');
    if name.len() == rest.len() {
        return Place::NoSuchUri;
    }
    let (name, below) = match name.find('/') {
        Some(slash) => name.split_at(slash),
        None => (name, "/"),
    };
    let format = match name {
        "json" => Format::Json,
        "extjs" => Format::Extjs,
        "html" => Format::Html,
        "htmljs" => Format::Htmljs,
        "png" => Format::Png,
        "spiceconfig" => Format::Spiceconfig,
        _ => return Place::NoSuchUri,
    };
    Place::Api(format, below.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_bounded_as_pveproxy_bounds_it() {
        let with_lines = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(n)).into_bytes();
        let with_bytes = |n: usize| format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "x".repeat(n - 2)).into_bytes();
        let complete = |bytes: &[u8]| matches!(parse(bytes), Parsed::Complete(_, n) if n == bytes.len());

        assert!(complete(&with_lines(62)));
        assert_eq!(parse(&with_lines(63)), Parsed::Silence);
        assert!(complete(&with_bytes(8191)));
        assert_eq!(parse(&with_bytes(8192)), Parsed::Silence);
        assert!(complete(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(60_000)).as_bytes()));
    }

    #[test]
    fn a_request_line_is_refused_by_name() {
        #[rustfmt::skip]
        let table = [
            ("GET / HTTP/2.0\r\n",    506, "http protocol version 2.0 not supported"),
            ("PRI * HTTP/2.0\r\n",    506, "http protocol version 2.0 not supported"),
            ("GET /\r\n",             400, "bad request"),
            ("GET  / HTTP/1.1\r\n",   400, "bad request"),
            ("GET / HTTP/1.1\r\nno colon\r\n", 506, "unable to parse request header"),
            ("GET / HTTP/1.1\r\n: x\r\n",      506, "unable to parse request header"),
        ];
        for (bytes, wanted, text) in table {
            match parse(bytes.as_bytes()) {
                Parsed::Refused { code, reason, .. } => assert_eq!((code, reason.as_str()), (wanted, text)),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn fields_may_fold_and_be_spaced_as_the_real_one_allows() {
        let bytes = b"\r\nGET /x HTTP/1.0\nA :  one\r\n\t two \r\nB:\r\n\r\nrest";
        let Parsed::Complete(head, used) = parse(bytes) else { panic!("complete") };

        assert_eq!(used, bytes.len() - 4);
        let fields: Vec<(&[u8], &[u8])> = vec![(b"A", b"one two "), (b"B", b"")];
        assert_eq!(head.fields.iter().map(|(n, v)| (&n[..], &v[..])).collect::<Vec<_>>(), fields);
        assert!(head.raw.starts_with(b"GET ") && head.raw.ends_with(b"\r\n\r\n"));
        assert!(!head.keep_alive(), "HTTP/1.0 closes by default");
    }

    #[test]
    fn the_spellings_of_a_path_are_those_that_reach_the_login_code() {
        #[rustfmt::skip]
        let table = [
            ("/api2/json/access/ticket",      Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2///json/access/ticket",    Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2/json/%61ccess/ticket",    Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2/json/access%2Fticket",    Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2%2fextjs/access/ticket?x", Place::Api(Format::Extjs, "/access/ticket".into())),
            ("/api2/json//access/ticket",     Place::Api(Format::Json, "//access/ticket".into())),
            ("/api2/json/access/ticket/",     Place::Api(Format::Json, "/access/ticket/".into())),
            ("//host/api2/json/access/ticket", Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2/json/access/ticket%0a",   Place::Api(Format::Json, "/access/ticket".into())),
            ("/api2/json/access%0a/ticket",   Place::NoSuchUri),
            ("/api2/png/version",             Place::Api(Format::Png, "/version".into())),
            ("/api2/spiceconfig",             Place::Api(Format::Spiceconfig, "/".into())),
            ("https://h:8006/api2/html/x#y",  Place::Api(Format::Html, "/x".into())),
            ("/api2/htmljs/x",                Place::Api(Format::Htmljs, "/x".into())),
            ("/api2/zzz",                     Place::NoSuchUri),
            ("/api2",                         Place::NoSuchUri),
            ("/api2x/json",                   Place::NoSuchUri),
            ("//api2/json",                   Place::Page),
            ("/API2/json",                    Place::Page),
            ("/",                             Place::Page),
        ];
        for (target, wanted) in table {
            assert_eq!(place(&Target::parse(target.as_bytes()).unwrap().path), wanted, "{target}");
        }
        assert_eq!(Target::parse(b"x@y/.."), None);
    }

    proptest! {
        #[test]
        fn a_path_means_the_same_however_it_is_percent_encoded(path in "/([ -.0-~][ -~]{0,29})?", spell in prop::collection::vec(0..3u8, 31)) {
            let encoded: String = path
                .bytes()
                .zip(spell)
                .enumerate()
                .map(|(at, (byte, spelling))| match spelling {
                    // What would end the path, or could begin an escape, cannot stand for itself.
                    0 if !b"?#%".contains(&byte) => char::from(byte).to_string(),
                    _ if at == 0 => "/".to_owned(),
                    1 => format!("%{byte:02x}"),
                    _ => format!("%{byte:02X}"),
                })
                .collect();

            prop_assert_eq!(Target::parse(encoded.as_bytes()).unwrap().path, path);
        }

        #[test]
        fn slashes_before_the_format_do_not_matter_and_slashes_after_it_do(before in 1..9usize, after in 1..9usize) {
            let path = format!("/api2{}json{}access/ticket", "/".repeat(before), "/".repeat(after));

            prop_assert_eq!(place(&path), Place::Api(Format::Json, format!("{}access/ticket", "/".repeat(after))));
        }

        #[test]
        fn a_head_is_incomplete_until_its_last_byte(names in prop::collection::vec("[a-z]{1,9}: [ -~]{0,20}", 0..9)) {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n", names.iter().map(|n| format!("{n}\r\n")).collect::<String>());
            let bytes = text.as_bytes();

            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end]), Parsed::Incomplete);
            }
            prop_assert!(matches!(parse(bytes), Parsed::Complete(head, n) if n == bytes.len() && head.raw == bytes));
        }
    }
}
