//! A connection on which tests write their own bytes, and read answers by a reader of their own.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::Client;

/// How long an answer may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A TLS connection to the gate.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer, as it stood on the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the connection is closed after it.
    pub closes: bool,
}

impl Answer {
    /// The values of all field lines of this name, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub async fn open(client: &Client) -> Self {
        Self::over(client.tls_stream().await)
    }

    pub fn over(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes; an error is the peer's having closed, which the answer will show.
    pub async fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// The next answer to a request of this method. `None`: the connection ended before one.
    pub async fn answer(&mut self, method: &str) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(method)).await.expect("no answer in time")
    }

    /// The next bytes, as they come. Empty: the end.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            timeout(PATIENCE, self.fill()).await.expect("nothing in time");
        }
        std::mem::take(&mut self.buffer)
    }

    /// The head alone, up to and with its empty line.
    pub async fn head(&mut self) -> Option<String> {
        timeout(PATIENCE, self.read_head()).await.expect("no head in time")
    }

    /// Everything until the end, and whether it was a proper one (close_notify).
    pub async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = std::mem::take(&mut self.buffer);
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("no end in time");
        (rest, read.is_ok())
    }

    async fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.buffer.split_off(at + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn read_answer(&mut self, method: &str) -> Option<Answer> {
        let head = self.read_head().await?;
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap();
        let mut parts = line.splitn(3, ' ');
        assert_eq!(parts.next(), Some("HTTP/1.1"), "{line}");
        let status: u16 = parts.next().unwrap().parse().unwrap();
        let reason = parts.next().unwrap_or("").to_owned();
        let fields: Vec<_> = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no field: {line}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, reason, fields, body: Vec::new(), closes: false };
        answer.closes = answer.values("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        if method == "HEAD" || matches!(status, 204 | 304) || (100..200).contains(&status) {
            return Some(answer);
        }
        if answer.values("transfer-encoding").contains(&"chunked") {
            answer.body = self.chunks().await;
        } else if let Some(length) = answer.values("content-length").first() {
            let length = length.parse().unwrap();
            answer.body = self.exactly(length).await;
        } else {
            answer.body = self.rest().await.0;
            answer.closes = true;
        }
        Some(answer)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await;
            let length = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
            let chunk = self.exactly(length).await;
            body.extend_from_slice(&chunk);
            assert_eq!(self.line().await, "");
            if length == 0 {
                return body;
            }
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let rest = self.buffer.split_off(at + 2);
                let line = std::mem::replace(&mut self.buffer, rest);
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.fill().await, "the connection ended inside an answer");
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill().await, "the connection ended inside an answer");
        }
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..read]);
        read > 0
    }
}
