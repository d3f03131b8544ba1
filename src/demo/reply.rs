//! Replies: their fields in the order of the real ones, their bytes, and how a connection ends.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use crate::time::Timestamp;

/// How one side of a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// TLS close_notify, then FIN: what pveproxy does after an answer that closes, and on its timers.
    CloseNotify,
    /// FIN without close_notify: what pveproxy does after a stream and after a WebSocket's Close.
    Fin,
    /// RST.
    Rst,
}

/// A reply whose body is at hand.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Bytes, since a reason phrase can be anything.
    pub(super) reason: Vec<u8>,
    pub(super) content_type: Option<&'static str>,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) caching: Caching,
    pub(super) compressible: bool,
    /// Sent no earlier than [`super::Settings::unauthorized_delay`] after the request.
    pub(super) delayed: bool,
    /// The connection ends after it, whatever its code.
    pub(super) closes: bool,
}

/// Which of the two sets of cache fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// `Expires` now, `Cache-Control: max-age=0`, `Pragma: no-cache`.
    Dynamic,
    /// `Last-Modified`.
    File(Timestamp),
}

impl Reply {
    /// Without a body, and so without Content-Length.
    pub(super) fn empty(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.as_bytes().to_vec(),
            content_type: None,
            fields: Vec::new(),
            body: Vec::new(),
            caching: Caching::Dynamic,
            compressible: true,
            delayed: code == 401,
            closes: false,
        }
    }

    /// 200 with a body.
    pub(super) fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type), body: body.into(), ..Self::empty(200, "OK") }
    }

    /// Whether the connection ends after it.
    pub(super) fn ends_connection(&self) -> bool {
        self.closes || self.code >= 400
    }

    /// Its bytes, and the length of the body as sent.
    pub(super) fn encode(&self, to: &Framing) -> (Vec<u8>, usize) {
        let mut body = self.body.as_slice();
        let compressed;
        let mut encoding = None;
        if self.compressible && to.accepts_gzip && body.len() > 1024 {
            compressed = gzip(body);
            body = &compressed;
            encoding = Some("gzip");
        }
        if matches!(self.code, 100..200 | 204 | 304) {
            body = &[];
        }
        let mut head = self.head(to);
        if let Some(encoding) = encoding {
            line(&mut head, "Content-Encoding", encoding);
        }
        if !body.is_empty() {
            line(&mut head, "Content-Length", &body.len().to_string());
        }
        if let Some(content_type) = self.content_type {
            line(&mut head, "Content-Type", content_type);
        }
        for (name, value) in &self.fields {
            line(&mut head, name, value);
        }
        head.extend_from_slice(b"\r\n");
        let sent = body.len();
        head.extend_from_slice(body);
        (head, sent)
    }

    /// The head of a stream: neither length nor framing, and so ended by the connection's end.
    pub(super) fn encode_stream_head(&self, to: &Framing, length: Option<u64>) -> Vec<u8> {
        let mut head = self.head(to);
        if let Some(length) = length {
            line(&mut head, "Content-Length", &length.to_string());
        }
        if let Some(content_type) = self.content_type {
            line(&mut head, "Content-Type", content_type);
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn head(&self, to: &Framing) -> Vec<u8> {
        let mut head = format!("{} {} ", to.version, self.code).into_bytes();
        head.extend_from_slice(&self.reason);
        head.extend_from_slice(b"\r\n");
        let date = http_date(to.now);
        if self.caching == Caching::Dynamic {
            line(&mut head, "Cache-Control", "max-age=0");
        }
        line(&mut head, "Connection", if to.keep_alive { "Keep-Alive" } else { "close" });
        line(&mut head, "Date", &date);
        if self.caching == Caching::Dynamic {
            line(&mut head, "Pragma", "no-cache");
        }
        line(&mut head, "Server", "pve-api-daemon/3.0");
        match self.caching {
            Caching::Dynamic => line(&mut head, "Expires", &date),
            Caching::File(modified) => line(&mut head, "Last-Modified", &http_date(modified)),
        }
        head
    }
}

/// What a reply's bytes depend on besides the reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    pub(super) version: &'static str,
    pub(super) keep_alive: bool,
    pub(super) accepts_gzip: bool,
    pub(super) now: Timestamp,
}

fn line(head: &mut Vec<u8>, name: &str, value: &str) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail; were it to, the answer would be an empty one.
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
}

const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// `Tue, 24 Nov 2026 14:02:31 GMT`
pub(super) fn http_date(at: Timestamp) -> String {
    format_time(at, HTTP_DATE)
}

/// Whole seconds since the epoch of such a date.
pub(super) fn parse_http_date(text: &str) -> Option<i64> {
    let time = jiff::fmt::strtime::parse(HTTP_DATE, text).ok()?.to_datetime().ok()?;
    jiff::tz::Offset::UTC.to_timestamp(time).ok().map(jiff::Timestamp::as_second)
}

/// `24/11/2026:14:02:31 +0000`, as in pveproxy's access log: the month is a number.
pub(super) fn log_date(at: Timestamp) -> String {
    format_time(at, "%d/%m/%Y:%H:%M:%S +0000")
}

fn format_time(at: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_second(at.secs())
        .ok()
        .and_then(|time| jiff::fmt::strtime::format(format, time).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http_and_of_the_access_log() {
        let at = Timestamp::from_secs(1_795_528_951);

        assert_eq!(http_date(at), "Tue, 24 Nov 2026 14:02:31 GMT");
        assert_eq!(parse_http_date(&http_date(at)), Some(at.secs()));
        assert_eq!(parse_http_date("yesterday"), None);
        assert_eq!(log_date(at), "24/11/2026:14:02:31 +0000");
    }

    #[test]
    fn an_empty_body_has_no_length() {
        let framing = Framing {
            version: "HTTP/1.1",
            keep_alive: true,
            accepts_gzip: false,
            now: Timestamp::from_secs(1_795_528_951),
        };

        let (bytes, sent) = Reply::empty(200, "OK").encode(&framing);

        let expected = "HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nConnection: Keep-Alive\r\n\
            Date: Tue, 24 Nov 2026 14:02:31 GMT\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n\
            Expires: Tue, 24 Nov 2026 14:02:31 GMT\r\n\r\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert_eq!(sent, 0);
    }
}
