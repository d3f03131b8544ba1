//! A second, deliberately simple reading of HTTP/1.1 requests: whole buffers, no state, no speed.
//!
//! It was written from RFC 9112 and from the list of what the gate takes, and shares no code with the
//! parser of the gate; the fuzz target and the tests hold the two against each other. It knows no
//! reasons, only verdicts.
#![allow(dead_code, unreachable_pub, reason = "shared by tests and the fuzz target")]

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A request.
    Request(Request),
    /// The beginning of one, as far as it goes.
    Unfinished {
        /// How long its head is, if that is complete.
        head: Option<usize>,
    },
    /// None, whatever follows.
    Refused {
        /// How long its head is, if it is the body that is wrong.
        head: Option<usize>,
    },
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// All its bytes.
    pub length: usize,
    /// Those of its head.
    pub head: usize,
    pub method: String,
    pub target: String,
    /// Names in small letters.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content, without the framing.
    pub body: Vec<u8>,
}

/// Reads one request from the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Verdict {
    let refused = Verdict::Refused { head: None };
    let unfinished = Verdict::Unfinished { head: None };

    // The request line.
    let Some(end) = find(bytes, b"\n") else {
        return if bytes.len() > 16 * 1024 + 49 { refused } else { unfinished };
    };
    if end > 16 * 1024 + 49 || end == 0 || bytes[end - 1] != b'\r' {
        return refused;
    }
    let parts: Vec<&[u8]> = bytes[..end - 1].split(|byte| *byte == b' ').collect();
    let &[method, target, b"HTTP/1.1"] = parts.as_slice() else { return refused };
    let is_method = |byte: &u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".contains(byte);
    if method.is_empty() || !method.iter().all(is_method) || [&b"TRACE"[..], b"CONNECT"].contains(&method) {
        return refused;
    }
    let path_ends = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let visible = target.iter().all(|byte| (0x21..=0x7e).contains(byte) && !b"\"#<>".contains(byte));
    if !target.starts_with(b"/")
        || target.len() > 16 * 1024
        || !visible
        || target[..path_ends].contains(&b'`')
    {
        // The backtick: browsers leave it in a query and write it %60 in a path.
        return refused;
    }

    // The fields, up to the empty line.
    let start = end + 1;
    let mut at = start;
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    let head = loop {
        let Some(length) = find(&bytes[at..], b"\n") else {
            return if bytes.len() - start > 32 * 1024 { refused } else { unfinished };
        };
        let line = &bytes[at..at + length];
        at += length + 1;
        if at - start > 32 * 1024 || line.last() != Some(&b'\r') {
            return refused;
        }
        let line = &line[..line.len() - 1];
        if line.is_empty() {
            break at;
        }
        let Some(colon) = find(line, b":") else { return refused };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) {
            return refused;
        }
        if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return refused;
        }
        fields.push((String::from_utf8(name.to_ascii_lowercase()).unwrap(), trim(value).to_vec()));
        if fields.len() > 100 {
            return refused;
        }
        // Judged where they stand, so that a head whose end has not come is judged as far as it goes.
        let (name, value) = fields.last().unwrap();
        let same = fields.iter().filter(|(other, _)| other == name).count();
        let sound = match name.as_str() {
            "host" => same == 1 && is_host(value),
            "content-length" => same == 1 && length_of(value).is_some(),
            "upgrade" => same == 1 && is_upgrade(value),
            "transfer-encoding" => same == 1 && value.eq_ignore_ascii_case(b"chunked"),
            "content-type" => same == 1,
            other => !other.contains('_'),
        };
        if !sound {
            return refused;
        }
    };

    // What they say about the body.
    let value = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice());
    let length = value("content-length").map(|value| length_of(value).unwrap());
    let chunked = value("transfer-encoding").is_some();
    let has_body = chunked || length.unwrap_or(0) > 0;
    let takes_body = ["POST", "PUT", "PATCH"].iter().any(|m| m.as_bytes() == method);
    if value("host").is_none() || (chunked && length.is_some()) || (has_body && !takes_body) {
        return refused;
    }
    let announced = fields.iter().filter(|(name, _)| name == "connection").any(|(_, value)| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        value.split(',').any(|option| option.trim_matches([' ', '\t']) == "upgrade")
    });
    if value("upgrade").is_some() && !(announced && method == b"GET") {
        return refused;
    }
    let rest = &bytes[head..];
    let (body, length) = if chunked {
        match chunks(rest) {
            Ok(read) => read,
            Err(true) => return Verdict::Unfinished { head: Some(head) },
            Err(false) => return Verdict::Refused { head: Some(head) },
        }
    } else {
        let length = usize::try_from(length.unwrap_or(0)).unwrap();
        if rest.len() < length {
            return Verdict::Unfinished { head: Some(head) };
        }
        (rest[..length].to_vec(), length)
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Verdict::Request(Request {
        length: head + length,
        head,
        method: text(method),
        target: text(target),
        fields,
        body,
    })
}

/// Content and length of a chunked body; `Err`: whether it may still become one.
fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize), bool> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let line = &bytes[at + digits..];
        if digits > 8 || !begins(line, b"\r\n") || (digits == 0 && !line.is_empty()) {
            return Err(false);
        }
        if line.len() < 2 {
            return Err(true);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + digits]).unwrap(), 16).unwrap();
        at += digits + 2;
        let rest = &bytes[at..];
        let after = rest.get(size..).ok_or(true)?;
        if !begins(after, b"\r\n") {
            return Err(false);
        }
        if after.len() < 2 {
            return Err(true);
        }
        body.extend_from_slice(&rest[..size]);
        at += size + 2;
        if size == 0 {
            return Ok((body, at));
        }
    }
}

/// Whether `bytes` begin with `start`, or are a beginning of it.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn length_of(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: u64 = text.parse().ok()?;
    // Written as it would be written: no sign, no zeros, no blanks.
    (number.to_string() == text && text.len() <= 18).then_some(number)
}

fn is_upgrade(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let fit = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/+".contains(c));
    !text.is_empty() && fit && !text.to_ascii_lowercase().starts_with("h2")
}

fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (text, None),
    };
    let port = port.is_none_or(|p| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = match inside {
        Some(inside) => {
            !inside.is_empty() && inside.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
        }
        None => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    name && port
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
