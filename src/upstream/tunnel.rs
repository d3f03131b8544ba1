//! Byte tunnels: what becomes of a connection after a 101.
//!
//! Bytes pass unchanged, both ways, with no more held than one buffer a direction. A tunnel ends when
//! both sides have ended, or when its session or its own idle limit says so.

use std::{io, sync::Arc, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    time::timeout,
};

use super::websocket::FrameLengths;
use crate::{
    gate::{ConsoleOver, OpenConsole},
    time::Clock,
};

/// One buffer a direction: a TLS record's worth.
const BUFFER: usize = 16 * 1024;

/// How long a side is given to take the end.
const GOODBYE: Duration = Duration::from_millis(500);

/// How a tunnel ended.
#[derive(Debug)]
pub(super) enum TunnelEnd {
    /// Both sides had nothing more to say.
    Closed,
    /// The connection broke off.
    Broken(io::Error),
    /// The gate ended it.
    Over(ConsoleOver),
}

/// What counts as somebody's work in a tunnel.
pub(super) enum Activity {
    /// Data frames that are no heartbeat.
    WebSocket,
    /// Every byte: the protocol is not known here.
    AnyByte,
}

/// Joins the two sides until the end.
pub(super) async fn run(
    client: Upgraded,
    upstream: Upgraded,
    console: &OpenConsole,
    activity: Activity,
    clock: &Arc<dyn Clock>,
) -> TunnelEnd {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_upstream, mut to_upstream) = split(TokioIo::new(upstream));
    let mut frames = match activity {
        Activity::WebSocket => Some(FrameLengths::default()),
        Activity::AnyByte => None,
    };
    let watch = |bytes: &[u8]| {
        if frames.as_mut().is_none_or(|frames| frames.take(bytes)) {
            console.touch(clock.now());
        }
    };
    let both = async {
        tokio::try_join!(
            pump(&mut from_client, &mut to_upstream, watch),
            pump(&mut from_upstream, &mut to_client, |_| {}),
        )
    };
    let end = tokio::select! {
        ended = both => match ended {
            Ok(_) => TunnelEnd::Closed,
            Err(error) => TunnelEnd::Broken(error),
        },
        over = console.over() => TunnelEnd::Over(over),
    };
    // Both sides hear of it; one that does not take it in time is dropped.
    let _ = timeout(GOODBYE, async { tokio::join!(to_client.shutdown(), to_upstream.shutdown()) }).await;
    end
}

/// Carries bytes one way until that side ends, and then says so to the other.
async fn pump<R, W>(
    from: &mut ReadHalf<R>,
    to: &mut WriteHalf<W>,
    mut watch: impl FnMut(&[u8]),
) -> io::Result<()>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        watch(bytes);
        to.write_all(bytes).await?;
        to.flush().await?;
    }
}
