//! The notation of the case files.

use std::collections::BTreeMap;

/// What stands in braces.
pub(super) type Words = BTreeMap<&'static str, String>;

/// A row: see the head of `requests.txt`.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) signed_in: u16,
    pub(super) stranger: u16,
    pub(super) name: String,
    pub(super) bytes: String,
    pub(super) up: Option<String>,
}

pub(super) fn parse(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(up) = line.strip_prefix("=> ") {
            rows.last_mut().unwrap().up = Some(up.to_owned());
            continue;
        }
        let mut columns = line.splitn(3, " | ");
        let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}")).to_owned();
        let (status, name, bytes) = (column(), column(), column());
        let (signed_in, stranger) = status.split_once('/').unwrap_or((&status, &status));
        let (signed_in, stranger) = (signed_in.parse().unwrap(), stranger.parse().unwrap());
        rows.push(Row { signed_in, stranger, name, bytes, up: None });
    }
    for row in &rows {
        assert_eq!(row.up.is_some(), row.signed_in < 300, "{}: what goes up?", row.name);
    }
    rows
}

/// The bytes that a notation stands for.
pub(super) fn expand(text: &str, words: &Words) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '¶' => bytes.extend(b"\r\n"),
            '\\' => {
                let escape = rest.as_bytes()[0];
                rest = &rest[1..];
                bytes.push(match escape {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' => b'\\',
                    b'x' => {
                        let (digits, after) = rest.split_at(2);
                        rest = after;
                        u8::from_str_radix(digits, 16).unwrap()
                    }
                    other => panic!("\\{} in {text}", other as char),
                });
            }
            '{' => match braced(rest, words) {
                Some((word, after)) => {
                    bytes.extend(word);
                    rest = after;
                }
                None => bytes.push(b'{'),
            },
            other => bytes.extend(other.to_string().as_bytes()),
        }
    }
    bytes
}

/// A word, or something repeated; `None`: the brace stands for itself.
fn braced<'a>(rest: &'a str, words: &Words) -> Option<(Vec<u8>, &'a str)> {
    let (inside, after) = rest.split_once('}')?;
    if let Some(word) = words.get(inside) {
        return Some((expand(word, words), after));
    }
    let (what, times) = inside.rsplit_once('*')?;
    Some((expand(what, words).repeat(times.parse().ok()?), after))
}
