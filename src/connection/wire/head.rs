//! The strict reading of a request head (pure).
//!
//! [`HeadReader`] looks at the bytes of a head as they come, line by line, each once, where they
//! stand. It accepts only what every correct parser reads alike, and refuses the rest by name; it
//! repairs nothing. What it says does not depend on how the bytes were cut into reads.
//!
//! What a head *means* (whose name it asks for, whether an upgrade can be one) is for
//! [`connection::head`](crate::connection::head), which looks again at what was read. Sections are of
//! RFC 9112 unless said otherwise.

use std::ops::Range;

use memchr::memchr;

use crate::connection::head::{HeadRefusal, MAX_FIELD_BYTES, MAX_FIELD_LINES, MAX_TARGET};

/// Longest request line: a target, and a method and version that are no novels.
pub const MAX_REQUEST_LINE: usize = MAX_TARGET + 48;

/// Methods with which a body may come. pveproxy takes one with POST and PUT alone; one that comes with
/// GET is read by some servers and left lying as the next request by others.
const WITH_BODY: [&[u8]; 3] = [b"POST", b"PUT", b"PATCH"];

/// How the end of a body is found (§6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, most often none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A head that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// Its length in bytes, with the empty line.
    pub length: usize,
    /// How its body ends.
    pub framing: Framing,
}

/// Reads one head.
#[derive(Debug, Clone, Default)]
pub struct HeadReader {
    /// Where the line begins that is looked at.
    line: usize,
    /// Up to where no line feed was found.
    searched: usize,
    /// Where the fields begin; `None` while the request line is looked at.
    fields: Option<usize>,
    lines: usize,
    is_get: bool,
    takes_body: bool,
    host: bool,
    upgrade: bool,
    announced: bool,
    content_type: bool,
    length: Option<u64>,
    chunked: bool,
}

impl HeadReader {
    /// Goes on. `bytes` are those of the head from its first one, all that came so far; `None` while
    /// its end is not among them.
    ///
    /// # Errors
    ///
    /// [`HeadRefusal`], for the first line that is not as it must be.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Complete>, HeadRefusal> {
        loop {
            let rest = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr(b'\n', rest) else {
                self.searched = bytes.len();
                self.bounded(bytes.len())?;
                return Ok(None);
            };
            let end = self.searched + found;
            // The line feed itself counts among the fields, and not in a request line.
            self.bounded(if self.fields.is_some() { end + 1 } else { end })?;
            let line = bytes.get(self.line..end).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(HeadRefusal::LineFeed)?;
            self.line = end + 1;
            self.searched = end + 1;
            if self.fields.is_none() {
                self.request_line(line)?;
                self.fields = Some(self.line);
            } else if line.is_empty() {
                let framing = self.framing()?;
                return Ok(Some(Complete { length: self.line, framing }));
            } else {
                self.field_line(line)?;
            }
        }
    }

    /// Bounds are kept before a line is looked at, so that an endless one is not waited for.
    fn bounded(&self, so_far: usize) -> Result<(), HeadRefusal> {
        match self.fields {
            // With the carriage return.
            None if so_far > MAX_REQUEST_LINE + 1 => Err(HeadRefusal::TargetLong),
            Some(start) if so_far - start > MAX_FIELD_BYTES => Err(HeadRefusal::FieldsLarge),
            None | Some(_) => Ok(()),
        }
    }

    /// §3: method, one space, target, one space, version.
    fn request_line(&mut self, line: &[u8]) -> Result<(), HeadRefusal> {
        if line.is_empty() {
            return Err(HeadRefusal::LeadingLine);
        }
        let RequestLine { method, target, version } =
            RequestLine::split(line).ok_or_else(|| unfit(line, HeadRefusal::RequestLine))?;
        if !method.iter().all(|byte| is_token(*byte)) {
            return Err(unfit(method, HeadRefusal::RequestLine));
        }
        match version {
            b"HTTP/1.1" => {}
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(HeadRefusal::Version);
            }
            other => return Err(unfit(other, HeadRefusal::RequestLine)),
        }
        // Methods are case-sensitive (RFC 9110 §9.1), and not every server knows it: `get` is no method.
        let offered = method.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'));
        if !offered || matches!(method, b"TRACE" | b"CONNECT") {
            return Err(HeadRefusal::Method);
        }
        self.is_get = method == b"GET";
        self.takes_body = WITH_BODY.contains(&method);
        check_target(target)
    }

    /// §5: name, colon, value.
    fn field_line(&mut self, line: &[u8]) -> Result<(), HeadRefusal> {
        self.lines += 1;
        if self.lines > MAX_FIELD_LINES {
            return Err(HeadRefusal::FieldsLarge);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadRefusal::Folded);
        }
        let at = memchr(b':', line).ok_or_else(|| unfit(line, HeadRefusal::NoColon))?;
        let (name, value) = (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
        if name.is_empty() {
            return Err(HeadRefusal::NameEmpty);
        }
        if !name.iter().all(|byte| is_token(*byte)) {
            let blank = matches!(name.iter().find(|byte| !is_token(**byte)), Some(b' ' | b'\t'));
            return Err(if blank { HeadRefusal::NameBlank } else { unfit(name, HeadRefusal::NameBytes) });
        }
        // All of them, without a way out at the first: so the compiler looks at many at once.
        if !value.iter().fold(true, |fit, byte| fit & is_value(*byte)) {
            return Err(unfit(value, HeadRefusal::Control));
        }
        // Perl's `HTTP::Headers`, which pveproxy uses, makes `_` a `-`, as CGI and its heirs do: what the gate
        // reads, limits and removes by its name must have no second one.
        if memchr(b'_', name).is_some() {
            return Err(HeadRefusal::Disguised);
        }
        self.meaning(name, value.trim_ascii())
    }

    /// The fields that say where the message ends, what it is, whom it is for, and whether it is the last one.
    fn meaning(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadRefusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host {
                    return Err(HeadRefusal::Twice);
                }
                self.host = true;
                if is_host(value) { Ok(()) } else { Err(HeadRefusal::Host) }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                if self.upgrade {
                    return Err(HeadRefusal::Twice);
                }
                self.upgrade = true;
                if is_upgrade(value) { Ok(()) } else { Err(HeadRefusal::Upgrade) }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let options = value.split(|byte| *byte == b',');
                self.announced |= options.map(<[u8]>::trim_ascii).any(|o| o.eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            // Two kinds of body are two bodies: pveproxy makes one value of them, and reads what it will.
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                if self.content_type {
                    return Err(HeadRefusal::Twice);
                }
                self.content_type = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(HeadRefusal::Twice);
                }
                self.length = Some(plain_number(value).ok_or(HeadRefusal::Length)?);
                Ok(())
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(HeadRefusal::Twice);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadRefusal::Coding);
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn framing(&self) -> Result<Framing, HeadRefusal> {
        if !self.host {
            return Err(HeadRefusal::NoHost);
        }
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HeadRefusal::LengthAndCoding),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        if framing != Framing::Length(0) && !self.takes_body {
            return Err(HeadRefusal::Body);
        }
        if self.upgrade && !(self.announced && self.is_get) {
            return Err(HeadRefusal::Upgrade);
        }
        Ok(framing)
    }
}

/// The three parts of a request line.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    fn split(line: &'a [u8]) -> Option<Self> {
        let first = memchr(b' ', line)?;
        let (method, rest) = (line.get(..first)?, line.get(first + 1..)?);
        let second = memchr(b' ', rest)?;
        let (target, version) = (rest.get(..second)?, rest.get(second + 1..)?);
        (!method.is_empty() && !target.is_empty()).then_some(Self { method, target, version })
    }
}

/// §3.2.1: origin-form, and nothing else.
fn check_target(target: &[u8]) -> Result<(), HeadRefusal> {
    if target.first() != Some(&b'/') {
        return Err(HeadRefusal::TargetForm);
    }
    if target.len() > MAX_TARGET {
        return Err(HeadRefusal::TargetLong);
    }
    let at = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(at).unwrap_or_default();
    if path.iter().all(|byte| is_path(*byte)) && query.iter().all(|byte| is_query(*byte)) {
        Ok(())
    } else {
        Err(HeadRefusal::TargetBytes)
    }
}

/// What stands in a line that is not as it must be: the byte that is worst names the refusal.
fn unfit(bytes: &[u8], otherwise: HeadRefusal) -> HeadRefusal {
    if memchr(b'\r', bytes).is_some() {
        HeadRefusal::CarriageReturn
    } else if bytes.iter().any(|byte| matches!(byte, 0..=8 | 11..=31 | 127)) {
        HeadRefusal::Control
    } else {
        otherwise
    }
}

/// RFC 9110 §5.6.2 `tchar`.
const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// RFC 9110 §5.5: visible characters, blanks, and bytes beyond ASCII, which nobody interprets.
const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// RFC 3986 §3.3, and what browsers leave as it is. `"`, `<`, `>` and the backtick are written `%22`
/// and so on by all of them.
const fn is_path(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'@'..=b'_' | b'a'..=b'~')
}

/// The same for a query, its question mark included.
const fn is_query(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~')
}

/// Digits, as a number is written: no sign, no list, no leading zero, and short of any overflow.
fn plain_number(value: &[u8]) -> Option<u64> {
    let plain = value.len() <= 18
        && value.iter().all(u8::is_ascii_digit)
        && (value == b"0" || value.first().is_some_and(|first| *first != b'0'));
    if !plain {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// RFC 9110 §7.8: one protocol, and not HTTP/2, which would carry requests that nobody looks at.
pub(in crate::connection) fn is_upgrade(value: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/+".contains(byte);
    let to_http2 = value.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    !value.is_empty() && value.iter().all(is_name) && !to_http2
}

/// RFC 9110 §7.2: a name or address, and perhaps a port.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(at) = memchr(b']', rest) else { return false };
            let (address, port) = rest.split_at_checked(at).unwrap_or_default();
            let address = !address.is_empty()
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            (address, port.get(1..).unwrap_or_default())
        }
        None => {
            let at = memchr(b':', value).unwrap_or(value.len());
            let (name, port) = value.split_at_checked(at).unwrap_or_default();
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            (!name.is_empty() && name.iter().all(is_name), port)
        }
    };
    let port = match port.strip_prefix(b":") {
        Some(digits) => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        None => port.is_empty(),
    };
    name && port
}

/// Where the method, the target, and the values of `names` stand in a head that was refused, as far as
/// they can be told: for the page and the log, and for nothing else.
pub(super) fn outline<const N: usize>(bytes: &[u8], names: [&str; N]) -> Outline<N> {
    let mut found = Outline { method: None, target: None, values: [const { None }; N] };
    let mut start = 0;
    while let Some(at) = bytes.get(start..).and_then(|rest| memchr(b'\n', rest)) {
        let whole = bytes.get(start..start + at).unwrap_or_default();
        let line = whole.strip_suffix(b"\r").unwrap_or(whole);
        if start == 0 {
            if let Some(parts) = RequestLine::split(line) {
                found.method = Some(0..parts.method.len());
                let target = parts.method.len() + 1;
                found.target = Some(target..target + parts.target.len());
            }
        } else if line.is_empty() {
            break;
        } else if let Some(colon) = memchr(b':', line) {
            let name = line.get(..colon).unwrap_or_default();
            for (known, slot) in names.iter().zip(&mut found.values) {
                if name.eq_ignore_ascii_case(known.as_bytes()) {
                    *slot = Some(start + colon + 1..start + line.len());
                }
            }
        }
        start += at + 1;
    }
    found
}

/// See [`outline`].
pub(super) struct Outline<const N: usize> {
    pub(super) method: Option<Range<usize>>,
    pub(super) target: Option<Range<usize>>,
    pub(super) values: [Option<Range<usize>>; N],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Complete>, HeadRefusal> {
        HeadReader::default().read(bytes)
    }

    #[test]
    fn a_head_is_what_every_parser_reads_alike_or_refused_by_name() {
        use HeadRefusal::*;
        let none = Ok(Framing::Length(0));
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let asked = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
        let host = |value: &str| format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n");
        #[rustfmt::skip]
        let table: Vec<(&str, String, Result<Framing, HeadRefusal>)> = vec![
            ("plain",                       get(""),                                      none),
            ("value of bytes beyond ASCII", get("Cookie: a=\u{fc}\r\n"),                  none),
            ("empty value",                 get("X:\r\n"),                                none),
            ("value with a tab inside",     get("X: a\tb\r\n"),                           none),
            ("length",                      post("Content-Length: 12\r\n"),               Ok(Framing::Length(12))),
            ("length without a blank",      post("content-length:12\r\n"),                Ok(Framing::Length(12))),
            ("length zero by GET",          get("Content-Length: 0\r\n"),                 none),
            ("chunked",                     post("Transfer-Encoding: chunked\r\n"),       Ok(Framing::Chunked)),
            ("chunked in capitals",         post("TRANSFER-ENCODING: Chunked\r\n"),       Ok(Framing::Chunked)),
            ("odd method",                  asked("PROPFIND / HTTP/1.1"),                 none),
            ("odd but fine target",         asked("GET /a//%2F;x|{}[]^~\\?y=/`{}|? HTTP/1.1"), none),

            ("line feeds alone",            "GET / HTTP/1.1\nHost: a\n\n".into(),         Err(LineFeed)),
            ("line feed alone in a field",  get("X: a\nY: b\r\n"),                        Err(LineFeed)),
            ("line feed alone at the end",  "GET / HTTP/1.1\r\nHost: a\r\n\n".into(),     Err(LineFeed)),
            ("CR inside a value",           get("X: a\rY: b\r\n"),                        Err(CarriageReturn)),
            ("two CRs",                     get("X: a\r\r\n"),                            Err(CarriageReturn)),
            ("CR in the request line",      asked("GET\r/ HTTP/1.1"),                     Err(CarriageReturn)),
            ("NUL in a value",              get("X: a\0b\r\n"),                           Err(Control)),
            ("DEL in a value",              get("X: a\x7fb\r\n"),                         Err(Control)),
            ("NUL in a name",               get("X\0: a\r\n"),                            Err(Control)),
            ("vertical tab before chunked", post("Transfer-Encoding:\x0bchunked\r\n"),    Err(Control)),
            ("form feed after a name",      post("Transfer-Encoding\x0c: chunked\r\n"),   Err(Control)),
            ("folded by a blank",           get("X: a\r\n b\r\n"),                        Err(Folded)),
            ("folded by a tab",             get("X: a\r\n\tb\r\n"),                       Err(Folded)),
            ("first line folded",           "GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(),  Err(Folded)),
            ("no colon",                    get("X\r\n"),                                 Err(NoColon)),
            ("no name",                     get(": a\r\n"),                               Err(NameEmpty)),
            ("blank before the colon",      post("Transfer-Encoding : chunked\r\n"),      Err(NameBlank)),
            ("tab before the colon",        post("Transfer-Encoding\t: chunked\r\n"),     Err(NameBlank)),
            ("blank inside a name",         get("X Y: a\r\n"),                            Err(NameBlank)),
            ("name beyond ASCII",           get("\u{fc}: a\r\n"),                         Err(NameBytes)),
            ("name with a slash",           get("X/Y: a\r\n"),                            Err(NameBytes)),
            ("empty line first",            format!("\r\n{}", get("")),                   Err(LeadingLine)),
            ("bare line feed first",        format!("\n{}", get("")),                     Err(LineFeed)),

            ("nothing but a method",        "GET\r\n\r\n".into(),                         Err(RequestLine)),
            ("HTTP/0.9",                    "GET /\r\n".into(),                           Err(RequestLine)),
            ("two blanks",                  asked("GET  / HTTP/1.1"),                     Err(RequestLine)),
            ("blank at the end",            asked("GET / HTTP/1.1 "),                     Err(RequestLine)),
            ("blank first",                 asked(" GET / HTTP/1.1"),                     Err(RequestLine)),
            ("tab for a blank",             asked("GET\t/\tHTTP/1.1"),                    Err(RequestLine)),
            ("blank in the target",         asked("GET /a b HTTP/1.1"),                   Err(RequestLine)),
            ("HTTP/1.0",                    asked("GET / HTTP/1.0"),                      Err(Version)),
            ("HTTP/1.2",                    asked("GET / HTTP/1.2"),                      Err(Version)),
            ("HTTP/2.0",                    asked("GET / HTTP/2.0"),                      Err(Version)),
            ("preface of HTTP/2",           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),    Err(Version)),
            ("version in small letters",    asked("GET / http/1.1"),                      Err(RequestLine)),
            ("version with more digits",    asked("GET / HTTP/1.10"),                     Err(RequestLine)),
            ("version with a zero",         asked("GET / HTTP/01.1"),                     Err(RequestLine)),
            ("another protocol",            asked("GET / RTSP/1.0"),                      Err(RequestLine)),
            ("trace",                       asked("TRACE / HTTP/1.1"),                    Err(Method)),
            ("connect",                     asked("CONNECT a:443 HTTP/1.1"),              Err(Method)),
            ("method in small letters",     asked("get / HTTP/1.1"),                      Err(Method)),
            ("method with a bracket",       asked("G(T / HTTP/1.1"),                      Err(RequestLine)),
            ("absolute form",               asked("GET https://a/ HTTP/1.1"),             Err(TargetForm)),
            ("asterisk form",               asked("OPTIONS * HTTP/1.1"),                  Err(TargetForm)),
            ("no slash",                    asked("GET a HTTP/1.1"),                      Err(TargetForm)),
            ("fragment",                    asked("GET /a#b HTTP/1.1"),                   Err(TargetBytes)),
            ("fragment in the query",       asked("GET /a?b#c HTTP/1.1"),                 Err(TargetBytes)),
            ("target beyond ASCII",         asked("GET /\u{fc} HTTP/1.1"),                Err(TargetBytes)),
            ("NUL in the target",           asked("GET /\0 HTTP/1.1"),                    Err(TargetBytes)),
            ("tab in the target",           asked("GET /\t HTTP/1.1"),                    Err(TargetBytes)),
            ("quote in the target",         asked("GET /\" HTTP/1.1"),                    Err(TargetBytes)),
            ("less-than in the query",      asked("GET /?< HTTP/1.1"),                    Err(TargetBytes)),

            ("no host",                     "GET / HTTP/1.1\r\n\r\n".into(),              Err(NoHost)),
            ("two hosts",                   get("Host: a\r\n"),                           Err(Twice)),
            ("host and port",               host(" pve.lan:8443"),                        none),
            ("host in IPv6",                host(" [::1]:8443"),                          none),
            ("empty host",                  host(""),                                     Err(Host)),
            ("host with a user",            host(" x@a"),                                 Err(Host)),
            ("host with a path",            host(" a/b"),                                 Err(Host)),
            ("hosts in a list",             host(" a, b"),                                Err(Host)),
            ("host with two ports",         host(" a:1:2"),                               Err(Host)),
            ("host with an empty port",     host(" a:"),                                  Err(Host)),
            ("host with a word for a port", host(" a:http"),                              Err(Host)),
            ("IPv6 without its end",        host(" [::1"),                                Err(Host)),
            ("IPv6 with more after it",     host(" [::1]a"),                              Err(Host)),
            ("IPv6 with nothing in it",     host(" []"),                                  Err(Host)),
            ("port alone",                  host(" :80"),                                 Err(Host)),

            ("length with a plus",          post("Content-Length: +1\r\n"),               Err(Length)),
            ("length below zero",           post("Content-Length: -1\r\n"),               Err(Length)),
            ("length with a zero before",   post("Content-Length: 01\r\n"),               Err(Length)),
            ("length of zeros",             post("Content-Length: 00\r\n"),               Err(Length)),
            ("length in hexadecimal",       post("Content-Length: 0x1\r\n"),              Err(Length)),
            ("length as a list",            post("Content-Length: 1, 1\r\n"),             Err(Length)),
            ("length with a blank inside",  post("Content-Length: 1 1\r\n"),              Err(Length)),
            ("no length",                   post("Content-Length:\r\n"),                  Err(Length)),
            ("length past reason",          post("Content-Length: 1234567890123456789\r\n"), Err(Length)),
            ("length past 64 bits",         post("Content-Length: 18446744073709551617\r\n"), Err(Length)),
            ("two lengths",                 post("Content-Length: 1\r\ncontent-length: 1\r\n"), Err(Twice)),
            ("length with an underscore",   post("Content_Length: 1\r\n"),                Err(Disguised)),
            ("coding with an underscore",   post("transfer_encoding: chunked\r\n"),       Err(Disguised)),
            ("any name with an underscore", get("X_: \r\n"),                             Err(Disguised)),
            ("type with an underscore",     post("Content_Type: a/b\r\n"),               Err(Disguised)),
            ("type twice",                  post("Content-Type: a\r\ncontent-type: a\r\n"), Err(Twice)),
            ("coding as a list",            post("Transfer-Encoding: gzip, chunked\r\n"), Err(Coding)),
            ("chunked twice in a list",     post("Transfer-Encoding: chunked, chunked\r\n"), Err(Coding)),
            ("chunked with a comma",        post("Transfer-Encoding: ,chunked\r\n"),      Err(Coding)),
            ("chunked with a parameter",    post("Transfer-Encoding: chunked;a=b\r\n"),   Err(Coding)),
            ("chunked in quotes",           post("Transfer-Encoding: \"chunked\"\r\n"),   Err(Coding)),
            ("nearly chunked",              post("Transfer-Encoding: xchunked\r\n"),      Err(Coding)),
            ("identity",                    post("Transfer-Encoding: identity\r\n"),      Err(Coding)),
            ("no coding",                   post("Transfer-Encoding:\r\n"),               Err(Coding)),
            ("chunked twice",  post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(Twice)),
            ("length, coding", post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Err(LengthAndCoding)),
            ("coding, length", post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), Err(LengthAndCoding)),
            ("GET with a body",             get("Content-Length: 1\r\n"),                 Err(Body)),
            ("GET in chunks",               get("Transfer-Encoding: chunked\r\n"),        Err(Body)),

            ("upgrade",                     get("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"), none),
            ("announced, and none",         get("Connection: Upgrade\r\n"),               none),
            ("upgrade unannounced",         get("Upgrade: websocket\r\n"),                Err(Upgrade)),
            ("upgrade by POST",             post("Upgrade: a\r\nConnection: upgrade\r\n"), Err(Upgrade)),
            ("upgrade to HTTP/2",           get("Upgrade: h2c\r\nConnection: upgrade\r\n"), Err(Upgrade)),
            ("upgrades in a list",          get("Upgrade: a, b\r\nConnection: upgrade\r\n"), Err(Upgrade)),
            ("upgrade to nothing",          get("Upgrade:\r\nConnection: upgrade\r\n"),  Err(Upgrade)),
            ("two upgrades",                get("Upgrade: a\r\nUpgrade: a\r\nConnection: upgrade\r\n"), Err(Twice)),
        ];
        for (case, head, expected) in table {
            let found = read(head.as_bytes()).map(|complete| complete.unwrap().framing);
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn bounds_hold_at_their_very_edge_and_before_an_end_is_in_sight() {
        let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
        assert!(read(target(MAX_TARGET).as_bytes()).unwrap().is_some());
        assert_eq!(read(target(MAX_TARGET + 1).as_bytes()), Err(HeadRefusal::TargetLong));
        assert_eq!(read(&[b'G'; MAX_REQUEST_LINE + 1]), Ok(None));
        assert_eq!(read(&[b'G'; MAX_REQUEST_LINE + 2]), Err(HeadRefusal::TargetLong));

        let lines =
            |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        assert!(read(lines(MAX_FIELD_LINES).as_bytes()).unwrap().is_some());
        assert_eq!(read(lines(MAX_FIELD_LINES + 1).as_bytes()), Err(HeadRefusal::FieldsLarge));

        let start = "GET / HTTP/1.1\r\n";
        let fields = |bytes: usize| {
            let around = "Host: a\r\nX: \r\n\r\n".len();
            format!("{start}Host: a\r\nX: {}\r\n\r\n", "y".repeat(bytes - around))
        };
        assert!(read(fields(MAX_FIELD_BYTES).as_bytes()).unwrap().is_some());
        assert_eq!(read(fields(MAX_FIELD_BYTES + 1).as_bytes()), Err(HeadRefusal::FieldsLarge));
        let endless = |bytes: usize| format!("{start}{}", "y".repeat(bytes));
        assert_eq!(read(endless(MAX_FIELD_BYTES).as_bytes()), Ok(None));
        assert_eq!(read(endless(MAX_FIELD_BYTES + 1).as_bytes()), Err(HeadRefusal::FieldsLarge));
    }

    #[test]
    fn hyper_could_refuse_no_target_method_or_value_that_passes_here() {
        for byte in 0..=u8::MAX {
            let target = |before: &[u8]| [before, &[byte]].concat();
            for target in [target(b"/"), target(b"/?")] {
                if check_target(&target).is_ok() {
                    let uri = http::Uri::try_from(target.as_slice()).unwrap();
                    assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), target, "unchanged");
                }
            }
            if is_token(byte) {
                http::HeaderName::from_bytes(&[byte]).unwrap();
                http::Method::from_bytes(&[byte]).unwrap();
            }
            assert_eq!(is_value(byte), http::HeaderValue::from_bytes(&[byte]).is_ok(), "{byte}");
        }
    }
}
