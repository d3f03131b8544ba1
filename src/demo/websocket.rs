//! WebSockets as pveproxy speaks them: handshake, frames, and the console backends behind them.
//!
//! pveproxy is stricter than RFC 6455 (no fragments, frames of 128 KiB at most), checks no message types, and
//! ends without a Close frame of its own. Who may open a tunnel is `api`'s business.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use super::{End, Shared, fill_pattern, head::Head, server::Conn};

/// Payload of a frame, either way.
const MAX_PAYLOAD: usize = 128 * 1024;

/// What listens behind a console's port.
///
/// The calls that open consoles take `standin-mode` (`terminal`, `echo`, `bulk`, `ticks`, `server-end`,
/// `dead`), `standin-bytes` and `standin-ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// termproxy with an echo behind: `user:ticket\n`, then `0:LENGTH:DATA`, `1:COLUMNS:ROWS:`, `2`. Typing
    /// `exit` ends it.
    Terminal,
    /// Every byte comes back.
    Echo,
    /// Sends so many bytes of [`fill_pattern`], then ends; takes what it gets.
    Bulk(u64),
    /// Sends a frame again and again; echoes too.
    Ticks(Duration),
    /// Ends at the first byte it gets.
    ServerEnd,
    /// A real one: what clients send goes there as it is, and what comes from there to them.
    Port(SocketAddr),
    /// Nobody listens.
    Dead,
}

impl Backend {
    pub(super) fn from_parameters(
        mode: Option<&str>,
        bytes: Option<u64>,
        millis: Option<u64>,
    ) -> Option<Self> {
        Some(match mode? {
            "terminal" => Self::Terminal,
            "echo" => Self::Echo,
            "bulk" => Self::Bulk(bytes.unwrap_or(1 << 20)),
            "ticks" => Self::Ticks(Duration::from_millis(millis.unwrap_or(100).max(1))),
            "server-end" => Self::ServerEnd,
            "dead" => Self::Dead,
            _ => return None,
        })
    }
}

/// What listens on the ports that console calls handed out.
#[derive(Debug, Default)]
pub(super) struct Consoles {
    opened: u16,
    backends: HashMap<u16, Backend>,
}

impl Consoles {
    /// Puts a backend on the next port of 5900 to 5999.
    pub(super) fn open(&mut self, backend: Backend) -> u16 {
        let port = 5900 + self.opened % 100;
        self.opened = self.opened.wrapping_add(1);
        self.backends.insert(port, backend);
        port
    }

    /// What listens there.
    pub(super) fn at(&self, port: u16) -> Backend {
        self.backends.get(&port).copied().unwrap_or(Backend::Dead)
    }
}

/// Why an upgrade was refused; the answer is a 500. The words are the stand-in's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("upgrade to something else than websocket")]
    Upgrade,
    #[error("websocket version is not 13")]
    Version,
    #[error("websocket key missing")]
    Key,
}

/// The 101 to this request. The subprotocol comes back as it was sent, whatever it is.
pub(super) fn accept(head: &Head) -> Result<Vec<u8>, HandshakeError> {
    if !head.text("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(HandshakeError::Upgrade);
    }
    if head.text("sec-websocket-version").as_deref() != Some("13") {
        return Err(HandshakeError::Version);
    }
    let key = head.field("sec-websocket-key").filter(|key| !key.is_empty()).ok_or(HandshakeError::Key)?;
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut answer = format!(
        "{} 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: ",
        head.version,
        BASE64.encode(&digest)
    )
    .into_bytes();
    answer.extend_from_slice(&head.field("sec-websocket-protocol").unwrap_or_default());
    answer.extend_from_slice(b"\r\n\r\n");
    Ok(answer)
}

/// A frame from the client, or why it is none.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Incomplete,
    Violation,
    Data(Vec<u8>, usize),
    Close,
    Ping(Vec<u8>, usize),
    Pong(usize),
}

/// Reads a frame from the front of `bytes`; the number is its length.
fn parse(bytes: &[u8]) -> Frame {
    let (Some(first), Some(second)) = (bytes.first(), bytes.get(1)) else { return Frame::Incomplete };
    let (is_last, reserved, is_masked) = (first & 0x80 != 0, first & 0x70, second & 0x80 != 0);
    if !is_last || reserved != 0 || !is_masked {
        return Frame::Violation;
    }
    let big_endian = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        Some(digits.iter().fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit)))
    };
    let (length, offset) = match second & 0x7f {
        126 => (big_endian(2, 4), 4),
        127 => (big_endian(2, 10), 10),
        short => (Some(u64::from(short)), 2),
    };
    let Some(length) = length else { return Frame::Incomplete };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD) else {
        return Frame::Violation;
    };
    let end = offset + 4 + length;
    let (Some(mask), Some(payload)) = (bytes.get(offset..offset + 4), bytes.get(offset + 4..end)) else {
        return Frame::Incomplete;
    };
    let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    match first & 0x0f {
        1 | 2 => Frame::Data(payload, end),
        8 => Frame::Close,
        9 => Frame::Ping(payload, end),
        10 => Frame::Pong(end),
        _ => Frame::Violation,
    }
}

/// A frame to the client; its payload is at most [`MAX_PAYLOAD`].
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

const BINARY: u8 = 0x82;
const PONG: u8 = 0x8a;

/// Carries a tunnel whose 101 was sent, and says how it ends.
pub(super) async fn tunnel<S>(conn: &mut Conn<S>, backend: Backend, shared: &Shared) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _open = Open::new(shared);
    match backend {
        Backend::Bulk(bytes) => bulk(conn, bytes, shared).await,
        Backend::Ticks(every) => converse(conn, backend, Some(every), shared).await,
        Backend::Terminal | Backend::Echo | Backend::ServerEnd | Backend::Port(_) | Backend::Dead => {
            converse(conn, backend, None, shared).await
        }
    }
}

/// Counts a tunnel as open while it lives.
pub(super) struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        shared.seen.note(|seen| {
            seen.tunnels += 1;
            seen.tunnels_open += 1;
        });
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.seen.note(|seen| seen.tunnels_open -= 1);
    }
}

async fn converse<S>(conn: &mut Conn<S>, backend: Backend, every: Option<Duration>, shared: &Shared) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut terminal = Terminal::default();
    let mut port = match backend {
        Backend::Port(address) => match TcpStream::connect(address).await {
            Ok(port) => Some(port),
            Err(_) => return End::Fin,
        },
        Backend::Terminal
        | Backend::Echo
        | Backend::Bulk(_)
        | Backend::Ticks(_)
        | Backend::ServerEnd
        | Backend::Dead => None,
    };
    let mut from_port = vec![0; MAX_PAYLOAD];
    let mut ticks = interval(every.unwrap_or(Duration::from_secs(3600)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match parse(&conn.buffer) {
            Frame::Data(payload, length) => {
                conn.buffer.drain(..length);
                shared.seen.note(|seen| seen.tunnel_bytes += payload.len() as u64);
                let (output, ended) = match backend {
                    Backend::Terminal => terminal.input(&payload),
                    Backend::ServerEnd => (Vec::new(), true),
                    Backend::Port(_) => (Vec::new(), send(port.as_mut(), &payload).await.is_err()),
                    Backend::Echo | Backend::Ticks(_) | Backend::Bulk(_) | Backend::Dead => (payload, false),
                };
                for chunk in output.chunks(MAX_PAYLOAD) {
                    if conn.write(&frame(BINARY, chunk)).await.is_err() {
                        return End::Fin;
                    }
                }
                if ended {
                    return End::CloseNotify;
                }
            }
            Frame::Ping(payload, length) => {
                conn.buffer.drain(..length);
                if conn.write(&frame(PONG, &payload)).await.is_err() {
                    return End::Fin;
                }
            }
            Frame::Pong(length) => drop(conn.buffer.drain(..length)),
            Frame::Close => return End::Fin,
            Frame::Violation => {
                // The real one dies in a callback: the tunnel hangs until the client gives up.
                while conn.fill().await {
                    conn.buffer.clear();
                }
                return End::CloseNotify;
            }
            Frame::Incomplete => {
                let is_alive = tokio::select! {
                    is_open = conn.fill() => is_open,
                    count = receive(port.as_mut(), &mut from_port) => match from_port.get(..count) {
                        None | Some([]) => false,
                        Some(output) => conn.write(&frame(BINARY, output)).await.is_ok(),
                    },
                    _ = ticks.tick(), if every.is_some() => conn.write(&frame(BINARY, b"tick\r\n")).await.is_ok(),
                };
                if !is_alive {
                    return End::CloseNotify;
                }
            }
        }
    }
}

/// Writes to the backend's port, if there is one.
async fn send(port: Option<&mut TcpStream>, payload: &[u8]) -> io::Result<()> {
    match port {
        Some(port) => port.write_all(payload).await,
        None => Ok(()),
    }
}

/// What the backend's port says next, nothing at its end; for ever if there is none.
async fn receive(port: Option<&mut TcpStream>, output: &mut [u8]) -> usize {
    match port {
        Some(port) => port.read(output).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn bulk<S>(conn: &mut Conn<S>, bytes: u64, shared: &Shared) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = std::mem::take(&mut conn.buffer);
    let (mut reader, mut writer) = tokio::io::split(&mut conn.io);
    let receive = async {
        loop {
            match parse(&buffer) {
                Frame::Data(payload, length) => {
                    shared.seen.note(|seen| seen.tunnel_bytes += payload.len() as u64);
                    buffer.drain(..length);
                }
                // No answer to a ping: it would have to wait for the bulk.
                Frame::Ping(_, length) | Frame::Pong(length) => drop(buffer.drain(..length)),
                Frame::Close => return End::Fin,
                Frame::Violation => std::future::pending().await,
                Frame::Incomplete => {
                    buffer.reserve(MAX_PAYLOAD);
                    if matches!(reader.read_buf(&mut buffer).await, Ok(0) | Err(_)) {
                        return End::CloseNotify;
                    }
                }
            }
        }
    };
    let send = async {
        let mut payload = vec![0; MAX_PAYLOAD];
        let mut sent = 0;
        while sent < bytes {
            let take = usize::try_from(bytes - sent).unwrap_or(usize::MAX).min(MAX_PAYLOAD);
            let payload = payload.get_mut(..take).unwrap_or_default();
            fill_pattern(sent, payload);
            writer.write_all(&frame(BINARY, payload)).await?;
            sent += take as u64;
        }
        writer.flush().await
    };
    tokio::select! {
        end = receive => end,
        _sent = send => End::CloseNotify,
    }
}

/// termproxy's protocol with an echo behind it.
#[derive(Debug, Default)]
struct Terminal {
    pending: Vec<u8>,
    is_signed_in: bool,
    line: Vec<u8>,
}

impl Terminal {
    /// What to send, and whether it ended.
    fn input(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.pending.extend_from_slice(bytes);
        let mut output = Vec::new();
        loop {
            if !self.is_signed_in {
                let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') else {
                    return (output, false);
                };
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                if !String::from_utf8_lossy(&line).contains(":PVEVNC:") {
                    return (output, true);
                }
                self.is_signed_in = true;
                output.extend_from_slice(b"OK");
                continue;
            }
            match self.message() {
                Message::Incomplete => return (output, false),
                Message::Nonsense => return (output, true),
                Message::Nothing => {}
                Message::Typed(text) => {
                    for byte in text {
                        if byte != b'\r' {
                            self.line.push(byte);
                            output.push(byte);
                            continue;
                        }
                        output.extend_from_slice(b"\r\n");
                        if std::mem::take(&mut self.line) == b"exit" {
                            return (output, true);
                        }
                    }
                }
            }
        }
    }

    fn message(&mut self) -> Message {
        let colon = |bytes: &[u8], from: usize| {
            Some(from + bytes.get(from..)?.iter().position(|byte| *byte == b':')?)
        };
        match self.pending.first() {
            None => Message::Incomplete,
            Some(b'2') => {
                self.pending.drain(..1);
                Message::Nothing
            }
            Some(b'0') => {
                let Some(end) = colon(&self.pending, 2) else { return Message::Incomplete };
                let digits = String::from_utf8_lossy(self.pending.get(2..end).unwrap_or_default());
                let Some(length) = digits.parse::<usize>().ok().filter(|length| *length <= MAX_PAYLOAD)
                else {
                    return Message::Nonsense;
                };
                let Some(text) = self.pending.get(end + 1..end + 1 + length) else {
                    return Message::Incomplete;
                };
                let text = text.to_vec();
                self.pending.drain(..end + 1 + length);
                Message::Typed(text)
            }
            Some(b'1') => match colon(&self.pending, 2).and_then(|end| colon(&self.pending, end + 1)) {
                Some(end) => {
                    self.pending.drain(..=end);
                    Message::Nothing
                }
                None => Message::Incomplete,
            },
            Some(_) => Message::Nonsense,
        }
    }
}

enum Message {
    Incomplete,
    /// Keep-alive or a new size.
    Nothing,
    Typed(Vec<u8>),
    Nonsense,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_judged_as_pveproxy_judges_them() {
        let huge = [&[0x82, 0xff][..], &(MAX_PAYLOAD as u64 + 1).to_be_bytes()].concat();
        #[rustfmt::skip]
        let table: [(&str, &[u8], Frame); 11] = [
            ("masked binary",  &[0x82, 0x82, 1, 2, 3, 4, 1 ^ 7, 2 ^ 8], Frame::Data(vec![7, 8], 8)),
            ("masked text",    &[0x81, 0x80, 1, 2, 3, 4],               Frame::Data(vec![], 6)),
            ("half a frame",   &[0x82, 0x82, 1, 2, 3, 4, 5],            Frame::Incomplete),
            ("unmasked",       &[0x82, 0x01, 7],                        Frame::Violation),
            ("fragment",       &[0x02, 0x80, 0, 0, 0, 0],               Frame::Violation),
            ("reserved bit",   &[0xc2, 0x80, 0, 0, 0, 0],               Frame::Violation),
            ("continuation",   &[0x80, 0x80, 0, 0, 0, 0],               Frame::Violation),
            ("close",          &[0x88, 0x80, 0, 0, 0, 0],               Frame::Close),
            ("ping",           &[0x89, 0x81, 0, 0, 0, 0, 9],            Frame::Ping(vec![9], 7)),
            ("pong",           &[0x8a, 0x80, 0, 0, 0, 0],               Frame::Pong(6)),
            ("beyond 128 KiB", &huge,                                   Frame::Violation),
        ];
        for (case, bytes, wanted) in table {
            assert_eq!(parse(bytes), wanted, "{case}");
        }
    }

    #[test]
    fn a_terminal_signs_in_echoes_and_exits() {
        let mut terminal = Terminal::default();

        assert_eq!(terminal.input(b"root@pam:PVEVNC:65"), (vec![], false));
        assert_eq!(terminal.input(b"::x\n2"), (b"OK".to_vec(), false));
        assert_eq!(terminal.input(b"1:80:24:0:3:l"), (vec![], false));
        assert_eq!(terminal.input(b"s\r"), (b"ls\r\n".to_vec(), false));
        assert_eq!(terminal.input(b"0:5:exit\r"), (b"exit\r\n".to_vec(), true));
        assert_eq!(Terminal::default().input(b"root@pam:guess\n"), (vec![], true));
    }
}
