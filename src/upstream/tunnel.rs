//! Byte tunnels: what becomes of a connection after a 101.
//!
//! Bytes pass unchanged, both ways. A direction reads what is there, up to [`GATHERED`], before it writes:
//! many small records become one. It reads into a buffer that all tunnels of a thread share, so that a
//! silent console holds none; only what a side does not take at once is kept, and nothing more is read
//! meanwhile. A tunnel ends when both sides have ended, or when its session or its own idle limit says so.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

use super::websocket::FrameLengths;
use crate::{
    gate::{ConsoleOver, OpenConsole},
    time::Clock,
};

/// What a direction takes at once, and the most that it ever holds: four TLS records.
const GATHERED: usize = 64 * 1024;

thread_local! {
    /// Used within one poll and empty between: a tunnel that waits has its bytes in `Direction::rest`.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; GATHERED]);
}

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
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let mut frames = match activity {
        Activity::WebSocket => Some(FrameLengths::default()),
        Activity::AnyByte => None,
    };
    let watch = |bytes: &[u8]| {
        if frames.as_mut().is_none_or(|frames| frames.take(bytes)) {
            console.touch(clock.now());
        }
    };
    let end = tokio::select! {
        ended = relay(&mut client, &mut upstream, watch) => match ended {
            Ok(()) => TunnelEnd::Closed,
            Err(error) => TunnelEnd::Broken(error),
        },
        over = console.over() => TunnelEnd::Over(over),
    };
    // Both sides hear of it; one that does not take it in time is dropped.
    let _ = timeout(GOODBYE, async { tokio::join!(client.shutdown(), upstream.shutdown()) }).await;
    end
}

/// Carries bytes both ways until both sides have ended. `watch` sees what the client sends.
async fn relay<A, B>(client: &mut A, upstream: &mut B, mut watch: impl FnMut(&[u8])) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::default(), Direction::default());
    poll_fn(|context| {
        let up = up.carry(context, client, upstream, &mut watch)?;
        let down = down.carry(context, upstream, client, &mut |_| {})?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Direction {
    /// What was read and not taken yet; its memory is given back with its last byte.
    rest: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// What reading ended with.
    broken: Option<io::Error>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything that was read is written and on its way.
    #[default]
    Open,
    /// Something was written that may still lie in a buffer.
    Unflushed,
    /// The one side has ended, the other has not heard of it yet.
    Ending,
    /// Both have.
    Ended,
}

impl Direction {
    /// Goes on until there is nothing to read, or `to` takes no more; ready when this direction has ended.
    fn carry<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        watch: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while let Some(rest) = self.rest.get(self.taken..).filter(|rest| !rest.is_empty()) {
                self.taken += ready!(write(context, to, rest))?;
            }
            (self.rest, self.taken) = (Vec::new(), 0);
            match self.state {
                State::Open => {}
                State::Unflushed => {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.state = State::Open;
                }
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
            if self.state == State::Open {
                ready!(self.gather(context, from, to, watch))?;
            }
        }
    }

    /// Reads all that is there, up to the buffer's length, and writes as much of it as is taken.
    fn gather<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        watch: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            while buffer.remaining() > 0 {
                let before = buffer.filled().len();
                match Pin::new(&mut *from).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                        self.state = State::Ending;
                        break;
                    }
                    Poll::Ready(Ok(())) => {}
                    // What came before it is carried first.
                    Poll::Ready(Err(error)) => {
                        self.broken = Some(error);
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            let mut bytes = buffer.filled();
            if bytes.is_empty() {
                let waits = self.state == State::Open && self.broken.is_none();
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            watch(bytes);
            if self.state == State::Open {
                self.state = State::Unflushed;
            }
            while !bytes.is_empty() {
                match write(context, to, bytes) {
                    Poll::Ready(taken) => bytes = bytes.get(taken?..).unwrap_or_default(),
                    Poll::Pending => {
                        self.rest = bytes.to_vec();
                        break;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}

fn write<W: AsyncWrite + Unpin>(
    context: &mut Context<'_>,
    to: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(context, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(taken),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// A relay between two pipes that hold `held` bytes each, and their far ends.
    fn pipes(held: usize) -> (DuplexStream, DuplexStream, impl Future<Output = io::Result<()>>) {
        let ((client, mut left), (upstream, mut right)) = (duplex(held), duplex(held));
        (client, upstream, async move { relay(&mut left, &mut right, |_| {}).await })
    }

    #[tokio::test]
    async fn a_side_that_has_ended_still_hears_the_other() {
        let (mut client, mut upstream, relay) = pipes(16);
        let relay = tokio::spawn(relay);

        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        upstream.read_to_string(&mut question).await.unwrap();
        upstream.write_all(b"a long answer to it").await.unwrap();
        upstream.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();

        assert_eq!((question.as_str(), answer.as_str()), ("question", "a long answer to it"));
        relay.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_nobody_takes_a_tunnel_holds_one_buffer_and_the_sender_waits() {
        const PIPE: usize = 100_000;
        let (mut client, upstream, relay) = pipes(PIPE);
        let _relay = tokio::spawn(relay);
        let mut sent = 0;

        // The clock is paused: it goes on when nothing else can.
        while let Ok(written) = timeout(Duration::from_secs(1), client.write(&[1; 512])).await {
            sent += written.unwrap();
        }

        assert!((2 * PIPE..=2 * PIPE + GATHERED).contains(&sent), "{sent}");
        drop(upstream);
    }

    #[tokio::test]
    async fn what_came_before_a_break_is_carried_and_the_break_ends_the_tunnel() {
        struct Breaks(Vec<&'static [u8]>);
        impl AsyncRead for Breaks {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let Some(bytes) = self.0.pop() else {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                };
                into.put_slice(bytes);
                Poll::Ready(Ok(()))
            }
        }
        impl AsyncWrite for Breaks {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(bytes.len()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let (mut left, (mut upstream, mut right)) = (Breaks(vec![b"second", b"first "]), duplex(4));
        let relay = tokio::spawn(async move { relay(&mut left, &mut right, |_| {}).await });

        let mut heard = String::new();
        upstream.read_to_string(&mut heard).await.unwrap();

        assert_eq!(heard, "first second");
        assert_eq!(relay.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn bytes_pass_both_ways_unchanged_however_they_are_cut(
            held in 1_usize..5000, up in 0_usize..200_000, down in 0_usize..200_000, cut in 1_usize..70_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, upstream, relay) = pipes(held);
                let relay = tokio::spawn(relay);
                let pattern = |length: usize| (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>();
                let talk = |side: DuplexStream, says: usize, hears: usize| async move {
                    let (mut from, mut to) = tokio::io::split(side);
                    let say = async {
                        for piece in pattern(says).chunks(cut) {
                            to.write_all(piece).await.unwrap();
                        }
                        to.shutdown().await.unwrap();
                    };
                    let mut heard = Vec::new();
                    let hear = async { from.read_to_end(&mut heard).await.unwrap() };
                    tokio::join!(say, hear);
                    assert!(heard == pattern(hears), "{} of {hears} bytes", heard.len());
                };
                tokio::join!(talk(client, up, down), talk(upstream, down, up));
                relay.await.unwrap().unwrap();
            });
        }
    }
}
