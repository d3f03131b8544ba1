//! pveproxy's way of ending a connection, made readable.
//!
//! It ends close-delimited bodies and tunnels with a TCP FIN and no TLS close_notify, and it answers
//! and closes while a body is still on its way up. To rustls the first is an error, to hyper the
//! second. Here an end without close_notify is an end, and a failed write is kept quiet, so that
//! reading goes on and finds the answer. hyper still checks lengths and chunks: a body that is cut
//! short stays an error.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that ends as pveproxy's do.
#[derive(Debug)]
pub(super) struct Tolerant<IO> {
    io: IO,
    writes_failed: bool,
}

impl<IO> Tolerant<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self { io, writes_failed: false }
    }

    /// After a failed write every later one pretends to succeed.
    fn quietly<T>(&mut self, result: io::Result<T>, pretend: T) -> io::Result<T> {
        if result.is_err() {
            self.writes_failed = true;
            return Ok(pretend);
        }
        result
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tolerant<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.get_mut().io).poll_read(context, into)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tolerant<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.writes_failed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(Pin::new(&mut this.io).poll_write(context, bytes));
        Poll::Ready(this.quietly(result, bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = bytes.iter().map(|slice| slice.len()).sum();
        if this.writes_failed {
            return Poll::Ready(Ok(all));
        }
        let result = ready!(Pin::new(&mut this.io).poll_write_vectored(context, bytes));
        Poll::Ready(this.quietly(result, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.writes_failed {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(Pin::new(&mut this.io).poll_flush(context));
        Poll::Ready(this.quietly(result, ()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.writes_failed {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_test_io::Script;

    use super::*;

    /// A stream that plays a script.
    mod tokio_test_io {
        use super::*;

        pub(super) struct Script {
            pub reads: Vec<io::Result<&'static [u8]>>,
        }

        impl AsyncRead for Script {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(self.reads.remove(0).map(|bytes| into.put_slice(bytes)))
            }
        }

        impl AsyncWrite for Script {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_still_read_after_writing_failed_and_its_end_without_notice_is_an_end() {
        let script = Script { reads: vec![Ok(b"501 too large"), Err(io::ErrorKind::UnexpectedEof.into())] };
        let mut stream = Tolerant::new(script);

        stream.write_all(&[0; 100_000]).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();

        assert_eq!(answer, "501 too large");
    }

    #[tokio::test]
    async fn a_reset_stays_an_error() {
        let script = Script { reads: vec![Ok(b"half"), Err(io::ErrorKind::ConnectionReset.into())] };

        let read = Tolerant::new(script).read_to_end(&mut Vec::new()).await;

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
