//! A stream that ends when its place is taken away, whatever it is in the middle of: a handshake, a
//! request, a console.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::audit::Reason;

/// Why a connection was ended that its client would have kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Every place was taken, and this stranger had been silent for longest.
    #[error("silent for longest of all strangers when every place was taken")]
    Shed,
    /// Its network was banned.
    #[error("address in a network that was just banned")]
    Banned,
}

impl From<Ended> for Reason {
    fn from(ended: Ended) -> Self {
        let word = match ended {
            Ended::Shed => "shed",
            Ended::Banned => "banned",
        };
        Self::new(word, ended)
    }
}

/// The far end of a [`Revocable`] stream: ends it.
#[derive(Debug, Default)]
pub(super) struct Cut {
    why: AtomicU8,
    /// Whoever waits to read and to write.
    waiting: Mutex<[Option<Waker>; 2]>,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl Cut {
    /// Ends the stream. The first reason stays.
    pub(super) fn end(&self, why: Ended) {
        let code = match why {
            Ended::Shed => 1,
            Ended::Banned => 2,
        };
        let _ = self.why.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn why(&self) -> Option<Ended> {
        match self.why.load(Ordering::SeqCst) {
            1 => Some(Ended::Shed),
            2 => Some(Ended::Banned),
            _ => None,
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.why() {
            None => Ok(()),
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
        }
    }

    /// Waits for the end too.
    fn wait<T>(&self, side: usize, context: &Context<'_>) -> Poll<io::Result<T>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waiting.get_mut(side)
            && !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        drop(waiting);
        // It may have ended just before the lock was taken.
        match self.check() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// A stream that can be ended from elsewhere: reads and writes fail from then on.
pub struct Revocable<IO> {
    io: IO,
    cut: Arc<Cut>,
}

impl<IO> Revocable<IO> {
    pub(super) fn new(io: IO, cut: Arc<Cut>) -> Self {
        Self { io, cut }
    }

    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        side: usize,
        poll: impl FnOnce(&mut IO, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.cut.check()?;
        match poll(&mut self.io, context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.cut.wait(side, context),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Revocable<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll(context, READER, |io, context| Pin::new(io).poll_read(context, into))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Revocable<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, WRITER, |io, context| Pin::new(io).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, WRITER, |io, context| Pin::new(io).poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(context, WRITER, |io, context| Pin::new(io).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(context, WRITER, |io, context| Pin::new(io).poll_shutdown(context))
    }
}

impl<IO> fmt::Debug for Revocable<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocable")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};

    use super::*;

    #[tokio::test]
    async fn whoever_waits_to_read_or_to_write_is_woken_by_the_end() {
        let (_client, server) = duplex(16);
        let cut = Arc::new(Cut::default());
        let (mut reader, mut writer) = split(Revocable::new(server, cut.clone()));
        let reading = tokio::spawn(async move { reader.read_u8().await.unwrap_err() });
        let writing = tokio::spawn(async move { writer.write_all(&[0; 1000]).await.unwrap_err() });
        tokio::task::yield_now().await;

        cut.end(Ended::Banned);
        cut.end(Ended::Shed);

        for error in [reading.await.unwrap(), writing.await.unwrap()] {
            assert_eq!(error.to_string(), Ended::Banned.to_string());
        }
    }

    #[tokio::test]
    async fn after_the_end_nothing_passes_though_bytes_are_there() {
        let (mut client, server) = duplex(16);
        let cut = Arc::new(Cut::default());
        let mut server = Revocable::new(server, cut.clone());
        client.write_all(b"ab").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'a');

        cut.end(Ended::Shed);

        assert!(server.read_u8().await.is_err());
        assert!(server.write_u8(0).await.is_err());
    }
}
