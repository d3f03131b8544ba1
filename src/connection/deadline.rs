//! Deadlines for answers that nobody takes: a stranger's is given up soon, that of somebody who is signed in
//! much later, or with their session.
//!
//! How long requests may be waited for is watched in `wire`, which knows where one begins.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{answer::Over, phase::Phase};

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

/// A stream whose writes fail when the client takes nothing for too long.
pub(super) struct Deadlines<IO> {
    io: IO,
    phase: Phase,
    limits: Limits,
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
        Self { io, phase, limits, stalled: None }
    }

    /// Whether a write went on, or has waited for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.phase.is_tunnel() {
            self.goes_on(context);
            return written;
        }
        self.limit(context, written)
    }

    fn limit<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.goes_on(context);
            return written;
        }
        let (phase, limits) = (&self.phase, &self.limits);
        let stalled = self.stalled.get_or_insert_with(|| {
            phase.stalls(true);
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

    /// Nothing is waited for any more.
    fn goes_on(&mut self, context: &mut Context<'_>) {
        if self.stalled.take().is_some() {
            // The wait for the next request may begin now: a reader that was put off has to set its alarm.
            self.phase.stalls(false);
            context.waker().wake_by_ref();
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Deadlines<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(context, into)
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
        let this = self.get_mut();
        let shut = Pin::new(&mut this.io).poll_shutdown(context);
        // Not even a console's end may wait for ever.
        this.limit(context, shut)
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt as _, duplex},
        time::Instant,
    };

    use super::{super::answer::Hold, *};

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        pause: Duration::from_secs(3600),
    };

    /// Time is paused: nothing but in-memory pipes is used here.
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

    /// A client that takes nothing any more, not even the end.
    struct Full;

    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_the_client_does_not_take_has_a_minute_a_consoles_too() {
        for is_tunnel in [false, true] {
            let phase = Phase::default();
            phase.busy();
            if is_tunnel {
                phase.tunnel();
            }
            let mut server = Deadlines::new(Full, phase, LIMITS);
            let start = Instant::now();

            let ended = tokio::time::timeout(LIMITS.pause * 2, server.shutdown()).await;

            let error = ended.unwrap().unwrap_err();
            assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_download_ends_with_its_session_or_after_an_hour() {
        for (session, ends) in
            [(120, (io::ErrorKind::ConnectionAborted, 120)), (7200, (io::ErrorKind::TimedOut, 3600))]
        {
            let (_client, server) = duplex(64);
            let phase = Phase::default();
            let mut server = Deadlines::new(server, phase.clone(), LIMITS);
            phase.busy();
            phase.answers(Some(Hold::until(move || tokio::time::sleep(Duration::from_secs(session)))));
            let start = Instant::now();

            let error = server.write_all(&[0; 1000]).await.unwrap_err();

            assert_eq!((error.kind(), start.elapsed().as_secs()), ends);
        }
    }
}
