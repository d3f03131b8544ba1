//! The pairs of a request's Cookie fields, as bytes.
//!
//! One reader serves the gate, which looks for its own cookies, and the upstream stage, which takes
//! them out: what is checked and what is removed cannot differ. Values are bytes because Proxmox VE
//! users have cookies of other programs on the same host, and those hold anything.

use http::{HeaderMap, header};

/// A name–value pair of a Cookie field (RFC 6265 §4.2.1), surrounding blanks taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The pair as it was sent.
    pub whole: &'a [u8],
    /// What stands before the first `=`; everything where there is none.
    pub name: &'a [u8],
    /// What stands after it.
    pub value: &'a [u8],
}

/// Every pair of every Cookie field, in order; empty ones are left out.
pub fn pairs(fields: &HeaderMap) -> impl Iterator<Item = Pair<'_>> {
    fields
        .get_all(header::COOKIE)
        .into_iter()
        .flat_map(|field| between_semicolons(field.as_bytes()))
        .map(<[u8]>::trim_ascii)
        .filter(|whole| !whole.is_empty())
        .map(|whole| {
            let at = whole.iter().position(|byte| *byte == b'=').unwrap_or(whole.len());
            let (name, rest) = whole.split_at_checked(at).unwrap_or((whole, &[]));
            let value = rest.strip_prefix(b"=").unwrap_or(rest);
            Pair { whole, name: name.trim_ascii(), value: value.trim_ascii() }
        })
}

/// As `split` does, and many bytes at a time: a ticket of Proxmox VE is long, and looked through with
/// every request, more than once.
fn between_semicolons(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr::memchr(b';', all);
        rest = end.and_then(|end| all.get(end + 1..));
        all.get(..end.unwrap_or(all.len()))
    })
}

/// The value of the first cookie of this name, if it is text.
#[must_use]
pub fn first<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let found = pairs(fields).find(|pair| pair.name == name.as_bytes())?;
    std::str::from_utf8(found.value).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pairs_come_in_order_from_every_field_whatever_bytes_they_hold() {
        let mut fields = HeaderMap::new();
        for field in [&b"a=1; b=\xff=2 ;; c"[..], b" d = 4;"] {
            fields.append(header::COOKIE, HeaderValue::from_bytes(field).unwrap());
        }

        let found: Vec<_> = pairs(&fields).map(|pair| (pair.name, pair.value)).collect();

        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b"\xff=2"), (b"c", b""), (b"d", b"4")];
        assert_eq!(found, expected);
        assert_eq!(first(&fields, "a"), Some("1"));
        assert_eq!(first(&fields, "b"), None);
    }
}
