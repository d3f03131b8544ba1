//! Errors and streams on demand, for whatever a gate must survive.
//!
//! Paths begin with `/standin/`, which no path of Proxmox VE does. They need no authentication. Methods and
//! heads are still judged as pveproxy judges them; the type and length of a body are not.
//!
//! | path | answer |
//! | --- | --- |
//! | `status/CODE?reason=TEXT&repeat=N&body=TEXT` | this code, the reason `repeat` times over; no body: no length |
//! | `latin1-reason` | 500 with a reason phrase of Latin-1 bytes |
//! | `stream/close-delimited?bytes=N&send=N&chunk=N&every-ms=N&end=END` | as `stream` downloads are: no length, `Connection: Keep-Alive`, ended by `end` (`fin`) |
//! | `stream/length?…` | the same with `Content-Length: bytes`; `send` fewer to cut it short by `end`; whole: the connection stays |
//! | `drip?…` | `stream/close-delimited` with 10 bytes every 100 ms |
//! | `head-delay?ms=N&bytes=N` | 200 after so long |
//! | `echo-head` | the request head's bytes as the body |
//! | `webauthn?origin=TEXT` | what `/access/tfa` says of WebAuthn without an `origin` in `datacenter.cfg`: taken from Host; 500 unless it is that of the browser's page, `origin` |
//! | `sink` | reads a body of any length, tells `{"bytes":…,"sha256":"…"}` |
//! | `early?after=N&code=N&reason=TEXT` | answers once N bytes of the body have come, and closes |
//! | `verbatim?response=TEXT&end=END` | exactly these bytes, or those of the request's body, then the end (an `rst` may overtake bytes) |
//! | `fake-101?upgrade=TEXT` | 101, asked for or not; then raw echo |
//! | `upgrade` | 101 to the request's own Upgrade; then raw echo |
//! | `silence` | nothing, until the peer goes |
//! | `close?end=END` | the end |
//!
//! `END` is `fin`, `close_notify` or `rst`. The content of streams is [`fill_pattern`]'s, from offset 0.

use std::{sync::OnceLock, time::Duration};

use super::{
    End,
    head::{Head, Target},
    reply::Reply,
    server::{Answer, Plan, Sink, Stream},
};

const BLOCK: usize = 65_536;

/// Fills `bytes` with the content of every stream at `offset`.
///
/// Each block of 64 KiB begins with its number (8 bytes, little-endian), so that a lost, doubled or swapped
/// block shows.
pub fn fill_pattern(offset: u64, bytes: &mut [u8]) {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut state: u32 = 0x9e37_79b9;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        (0..BLOCK).map(next).collect()
    });
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let number = (at / BLOCK as u64).to_le_bytes();
        let within = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let take = rest.len().min(BLOCK - within);
        let (now, later) = rest.split_at_mut(take);
        now.copy_from_slice(base.get(within..within + take).unwrap_or_default());
        for (byte, digit) in now.iter_mut().zip(number.iter().skip(within)) {
            *byte = *digit;
        }
        at += take as u64;
        rest = later;
    }
}

/// What to do for this request; `None`: not one of these paths.
pub(super) fn plan(head: &Head, target: &Target) -> Option<Plan> {
    let path = target.path.strip_prefix("/standin/")?;
    let number = |name: &str| target.parameter(name).and_then(|value| value.parse::<u64>().ok());
    let text = |name: &str| target.parameter(name).unwrap_or_default().to_owned();
    let code = |text: Option<&str>| text.and_then(|code| code.parse().ok()).unwrap_or(500);
    let end = match target.parameter("end") {
        Some("close_notify") => End::CloseNotify,
        Some("rst") => End::Rst,
        _ => End::Fin,
    };
    let stream = |delimited: bool, chunk: u64, every: u64| {
        let bytes = number("bytes").unwrap_or(100_000);
        let send = number("send").unwrap_or(bytes);
        Answer::Stream(Stream {
            head: Reply::ok("application/octet-stream", ""),
            head_delay: Duration::ZERO,
            length: (!delimited).then_some(bytes),
            send,
            chunk: usize::try_from(number("chunk").unwrap_or(chunk)).unwrap_or(usize::MAX).clamp(1, BLOCK),
            every: Duration::from_millis(number("every-ms").unwrap_or(every)),
            end: (delimited || send < bytes).then_some(end),
        })
    };
    let answer = match path {
        "latin1-reason" => {
            let mut reply = Reply::empty(500, "");
            reply.reason = b"Speicher f\xfcr VM 100 nicht verf\xfcgbar".to_vec();
            Answer::reply(reply)
        }
        "stream/close-delimited" => stream(true, BLOCK as u64, 0),
        "stream/length" => stream(false, BLOCK as u64, 0),
        "drip" => stream(true, 10, 100),
        "head-delay" => {
            let bytes = number("bytes").unwrap_or(10);
            Answer::Stream(Stream {
                head: Reply::ok("application/octet-stream", ""),
                head_delay: Duration::from_millis(number("ms").unwrap_or(1000)),
                length: Some(bytes),
                send: bytes,
                chunk: BLOCK,
                every: Duration::ZERO,
                end: None,
            })
        }
        "echo-head" => {
            let mut reply = Reply::ok("text/plain", head.raw.clone());
            reply.compressible = false;
            Answer::reply(reply)
        }
        "webauthn" => Answer::reply(webauthn(&head.text("host").unwrap_or_default(), &text("origin"))),
        "sink" => return Some(Plan::Sink(Sink::Report)),
        "early" => {
            let reply = Reply::empty(code(target.parameter("code")), &text("reason"));
            let reply = Reply { closes: true, delayed: false, ..reply };
            return Some(Plan::Sink(Sink::Early { after: number("after").unwrap_or(0), reply }));
        }
        "verbatim" => match target.parameter("response") {
            Some(response) => Answer::Verbatim(response.as_bytes().to_vec(), end),
            None => return Some(Plan::Sink(Sink::Verbatim(end))),
        },
        "fake-101" => Answer::RawEcho(switch(target.parameter("upgrade").unwrap_or("websocket"))),
        "upgrade" => match head.text("upgrade") {
            Some(upgrade) => Answer::RawEcho(switch(&upgrade)),
            None => Answer::reply(Reply::empty(400, "no Upgrade")),
        },
        "silence" => Answer::Silence,
        "close" => Answer::Verbatim(Vec::new(), end),
        other => match other.strip_prefix("status/") {
            Some(status) => {
                let times = usize::try_from(number("repeat").unwrap_or(1)).unwrap_or(1).min(100_000);
                let mut reply = Reply::empty(code(Some(status)), &text("reason").repeat(times));
                reply.delayed = false;
                reply.body = text("body").into_bytes();
                reply.content_type = (!reply.body.is_empty()).then_some("text/plain");
                Answer::reply(reply)
            }
            None => return None,
        },
    };
    Some(Plan::Discard(answer))
}

/// Proxmox VE's own WebAuthn where none is configured: its origin is made of Host, port included, and its
/// relying party of Host without it. A browser would take neither on a page of another `origin`.
fn webauthn(host: &str, origin: &str) -> Reply {
    let derived = format!("https://{host}");
    if host.is_empty() || derived != origin {
        return Reply::empty(500, "no webauthn configuration available");
    }
    let id = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Reply::ok("application/json", serde_json::json!({ "origin": derived, "id": id }).to_string())
}

/// A 101 of this Upgrade.
fn switch(upgrade: &str) -> Vec<u8> {
    format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {upgrade}\r\nConnection: upgrade\r\n\r\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_same_however_it_is_cut() {
        let mut whole = vec![0; 3 * BLOCK + 17];
        fill_pattern(BLOCK as u64 - 5, &mut whole);

        let mut pieces = vec![0; whole.len()];
        let mut at = BLOCK as u64 - 5;
        for piece in pieces.chunks_mut(1009) {
            fill_pattern(at, piece);
            at += piece.len() as u64;
        }

        assert!(whole == pieces);
        assert_eq!(whole[5..13], 1u64.to_le_bytes());
        assert_eq!(whole[5 + BLOCK..13 + BLOCK], 2u64.to_le_bytes());
    }
}
