//! Deadlines for request heads, for the silence between requests, and for answers that nobody takes.
//!
//! hyper has one limit for both. This wrapper around the byte stream keeps them apart: a keep-alive
//! connection may be silent for a minute, a head that has begun must be there within seconds. While a
//! request is served it does not watch; bodies have limits of their own. An answer that a client does not
//! take is given up: a stranger's soon, that of somebody who is signed in much later, or with their session.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::answer::{Hold, Over};

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const TUNNEL: u8 = 3;

/// What the connection is doing; shared by its stream, its service and the response that is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<State>);

#[derive(Debug, Default)]
struct State {
    doing: AtomicU8,
    /// On whose account the last answer is, or was, held.
    hold: Mutex<Option<Hold>>,
}

impl Phase {
    /// A request head is complete.
    pub(super) fn busy(&self) {
        self.set(BUSY);
    }

    /// What passes from here on are no requests.
    pub(super) fn tunnel(&self) {
        self.set(TUNNEL);
    }

    /// An answer begins. Its hold outlives its body: the last bytes may lie here for long.
    pub(super) fn answers(&self, hold: Option<Hold>) {
        *self.0.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    fn set(&self, doing: u8) {
        self.0.doing.store(doing, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.doing.load(Ordering::Relaxed)
    }

    fn hold(&self) -> Option<Hold> {
        self.0.hold.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// Between requests, and for a stranger to take something of an answer.
    pub(super) idle: Duration,
    /// For somebody who is signed in to take something of an answer.
    pub(super) pause: Duration,
}

/// A stream whose reads fail when a head or the next request takes too long, and whose writes fail when
/// the client takes nothing for too long.
pub(super) struct Deadlines<IO> {
    io: IO,
    phase: Phase,
    limits: Limits,
    /// What `sleep` was set for.
    armed: u8,
    sleep: Pin<Box<Sleep>>,
    /// Set while the client takes nothing.
    stalled: Option<Stalled>,
}

/// A client takes nothing.
struct Stalled {
    limit: Pin<Box<Sleep>>,
    over: Option<Over>,
}

impl<IO> Deadlines<IO> {
    pub(super) fn new(io: IO, phase: Phase, limits: Limits) -> Self {
        // The first request is awaited as a head: a browser connects because it has one.
        phase.set(HEAD);
        Self { io, phase, limits, armed: HEAD, sleep: Box::pin(sleep(limits.head)), stalled: None }
    }

    /// Whether a write went on, or has waited for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() || self.phase.now() == TUNNEL {
            if self.stalled.take().is_some() && self.phase.now() == IDLE {
                // The wait for the next request begins now; a reader that was put off has to set its alarm.
                self.armed = BUSY;
                context.waker().wake_by_ref();
            }
            return written;
        }
        let (phase, limits) = (&self.phase, &self.limits);
        let stalled = self.stalled.get_or_insert_with(|| {
            let hold = phase.hold();
            let limit = if hold.is_some() { limits.pause } else { limits.idle };
            Stalled { limit: Box::pin(sleep(limit)), over: hold.map(|hold| hold.over()) }
        });
        if stalled.over.as_mut().is_some_and(|over| over.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the session was ended",
            )));
        }
        ready!(stalled.limit.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }

    /// Sets the alarm for `phase`, unless it is set already.
    fn arm(&mut self, phase: u8) {
        if self.armed == phase {
            return;
        }
        self.armed = phase;
        let limit = match phase {
            IDLE => self.limits.idle,
            HEAD => self.limits.head,
            _ => return,
        };
        self.sleep.as_mut().reset(Instant::now() + limit);
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Deadlines<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.phase.now();
        this.arm(phase);
        let before = into.filled().len();
        match Pin::new(&mut this.io).poll_read(context, into) {
            Poll::Ready(result) => {
                if phase == IDLE && into.filled().len() > before {
                    this.phase.set(HEAD);
                    this.arm(HEAD);
                }
                Poll::Ready(result)
            }
            Poll::Pending if matches!(phase, BUSY | TUNNEL) => Poll::Pending,
            // Nobody asks for something before they have what they asked for before.
            Poll::Pending if phase == IDLE && this.stalled.is_some() => Poll::Pending,
            Poll::Pending => {
                ready!(this.sleep.as_mut().poll(context));
                let what = if phase == HEAD { "request head" } else { "next request" };
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("no {what} in time"))))
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Deadlines<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.watch(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        this.watch(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(context, bytes);
        this.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<IO> fmt::Debug for Deadlines<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deadlines")
    }
}

/// A response body; when it is gone, the wait for the next request begins.
pub(super) struct Tracked<B> {
    body: B,
    /// `None`: no next request is awaited.
    phase: Option<Phase>,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, phase: Phase) -> Self {
        Self { body, phase: Some(phase) }
    }

    /// Of a response that switches protocols: the stream stays busy, for what passes through it then
    /// are no requests, and a console may be silent for hours.
    pub(super) fn last(body: B) -> Self {
        Self { body, phase: None }
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        if let Some(phase) = &self.phase {
            phase.set(IDLE);
        }
    }
}

impl<B: Body + Unpin> Body for Tracked<B>
where
    B::Data: Buf,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::advance,
    };

    use super::*;

    const HEAD_LIMIT: Duration = Duration::from_secs(10);
    const IDLE_LIMIT: Duration = Duration::from_secs(60);
    const LIMITS: Limits = Limits { head: HEAD_LIMIT, idle: IDLE_LIMIT, pause: Duration::from_secs(3600) };

    /// Time is paused: nothing but in-memory pipes is used here.
    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_from_its_first_byte_however_it_trickles() {
        let (mut client, server) = duplex(64);
        let mut server = Deadlines::new(server, Phase::default(), LIMITS);
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            loop {
                if let Err(error) = server.read_exact(&mut byte).await {
                    return error;
                }
            }
        });
        let start = Instant::now();

        let trickle = async {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let error = tokio::select! { error = reading => error.unwrap(), () = trickle => unreachable!() };

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_minute_of_silence_is_allowed_and_then_a_head_has_its_own_limit() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();
        drop(Tracked::new((), phase.clone()));
        let mut byte = [0];

        let start = Instant::now();
        let (read, ()) = tokio::join!(server.read_exact(&mut byte), async {
            tokio::time::sleep(Duration::from_secs(55)).await;
            client.write_all(b"G").await.unwrap();
        });
        read.unwrap();
        let error = server.read_exact(&mut byte).await.unwrap_err();

        assert_eq!(error.to_string(), "no request head in time");
        assert_eq!(start.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_switch_of_protocols_nothing_expires_however_long_either_side_is_silent() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();
        drop(Tracked::last(()));
        let mut byte = [0];

        for _ in 0..2 {
            let (read, ()) = tokio::join!(server.read_exact(&mut byte), async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                client.write_all(b"x").await.unwrap();
            });
            read.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_its_answer_has_a_minute_and_a_console_has_all_the_time() {
        let (_client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();
        let start = Instant::now();

        let error = server.write_all(&[0; 1000]).await.unwrap_err();

        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
        phase.tunnel();
        let console = tokio::time::timeout(Duration::from_secs(3600), server.write_all(&[0; 1000]));
        assert!(console.await.is_err(), "it still waits");
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_is_signed_in_may_pause_a_download_for_an_hour_and_then_take_the_rest() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();
        phase.answers(Some(Hold::until(std::future::pending)));
        // The body is done with; its last bytes wait here.
        drop(Tracked::new((), phase.clone()));
        let start = Instant::now();

        let (mut bytes, mut next) = ([0; 200], [0; 1]);
        let ((written, read), ()) = tokio::join!(
            async {
                // As hyper does: the next head is awaited while the last answer is still being written.
                let read = std::future::poll_fn(|context| {
                    Pin::new(&mut server).poll_read(context, &mut ReadBuf::new(&mut next)).map(|_| ())
                });
                assert!(tokio::time::timeout(Duration::ZERO, read).await.is_err());
                let written = server.write_all(&[7; 200]).await;
                (written, server.read_exact(&mut next).await)
            },
            async {
                tokio::time::sleep(Duration::from_secs(3500)).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
        );

        assert!(written.is_ok() && bytes == [7; 200]);
        assert_eq!(read.unwrap_err().to_string(), "no next request in time");
        assert_eq!(start.elapsed().as_secs(), 3560, "the wait begins when the answer was taken");
        let error = server.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 3560 + 3600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_download_ends_with_its_session() {
        let (_client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();
        phase.answers(Some(Hold::until(|| tokio::time::sleep(Duration::from_secs(120)))));
        let start = Instant::now();

        let error = server.write_all(&[0; 1000]).await.unwrap_err();

        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::ConnectionAborted, 120));
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_served_nothing_expires() {
        let (_client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Deadlines::new(server, phase.clone(), LIMITS);
        phase.busy();

        let read = tokio::spawn(async move { server.read_exact(&mut [0]).await });
        tokio::task::yield_now().await;
        advance(Duration::from_secs(3600)).await;

        assert!(!read.is_finished());
    }
}
