//! TLS and HTTP/1.1 toward the user agent.
//!
//! [`Connection`] serves one accepted connection: a handshake with a deadline, then requests one
//! after the other, each with deadlines for its head and for the silence before it. [`wire`] reads their
//! bytes strictly before hyper does, [`head`] checks what hyper made of a request head, [`reply`] makes
//! our own responses. What a request may do is not decided here.
//!
//! HTTP/1.1 only: Proxmox VE's interface shows reason phrases to people, and HTTP/2 has none.

mod answer;
mod deadline;
mod phase;

pub mod body;
pub mod cookies;
pub mod head;
pub mod reply;
pub mod wire;

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use http::{HeaderName, Request, StatusCode};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::audit;

pub use answer::{Answer, Hold};
use deadline::{Deadlines, Limits};
use head::RefusedHead;
use phase::{Phase, Tracked};
use wire::Wire;

/// Field lines that hyper takes; [`wire`] refuses fewer with a page of ours.
const MAX_FIELD_LINES: usize = 256;

/// Bytes of a head that hyper takes; [`wire`] refuses fewer with a page of ours.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Deadlines of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// Between requests; and how long a stranger may take nothing of an answer.
    pub idle: Duration,
    /// How long somebody who is signed in may take nothing of an answer.
    pub pause: Duration,
    /// The field in which a peer names its client; it is kept of a head that is refused, too.
    pub forwarding_field: Option<HeaderName>,
}

/// A connection whose TLS handshake is done.
#[derive(Debug)]
pub struct Connection<IO> {
    stream: TlsStream<IO>,
    /// The server name that the client asked for (RFC 6066 §3), lower case.
    pub server_name: Option<Arc<str>>,
    /// What the handshake came to, for the audit log.
    pub tls: audit::Tls,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client took too long.
    #[error("no handshake within {0:?}")]
    Slow(Duration),
    /// TLS says no.
    #[error("the handshake ended")]
    Tls(#[source] io::Error),
}

/// Does the TLS handshake.
///
/// # Errors
///
/// [`HandshakeError`]; the connection is closed then.
pub async fn handshake<IO>(
    acceptor: &TlsAcceptor,
    io: IO,
    settings: &Settings,
) -> Result<Connection<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stream = timeout(settings.handshake, acceptor.accept(io))
        .await
        .map_err(|_| HandshakeError::Slow(settings.handshake))?
        .map_err(HandshakeError::Tls)?;
    let session = stream.get_ref().1;
    let server_name = session.server_name().map(|name| name.to_ascii_lowercase().into());
    let version = session.protocol_version().and_then(|version| version.as_str());
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let tls = audit::Tls::named(version, cipher);
    Ok(Connection { stream, server_name, tls })
}

impl<IO> Connection<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Serves requests until the connection ends; `stop` finishes the one that is running and then
    /// closes. A head that was refused is given to `serve` as well, which answers it; nothing comes after
    /// it.
    ///
    /// # Errors
    ///
    /// What ended the connection otherwise than well, for the log.
    pub async fn serve<S, F, B>(
        self,
        settings: &Settings,
        mut stop: watch::Receiver<bool>,
        serve: S,
    ) -> Result<(), hyper::Error>
    where
        S: Fn(Result<Request<Incoming>, Box<RefusedHead>>) -> F,
        F: Future<Output = Answer<B>>,
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let phase = Phase::default();
        let limits = Limits { head: settings.head, idle: settings.idle, pause: settings.pause };
        let io = Deadlines::new(self.stream, phase.clone(), limits);
        let io = Wire::new(io, phase.clone(), limits).keeping(settings.forwarding_field.clone());
        let service = service_fn(|request| {
            let answer = serve(phase.take_refused().map_or(Ok(request), Err));
            let phase = &phase;
            async move {
                let Answer { response, hold } = answer.await;
                phase.answers(hold);
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, Infallible>(response.map(|body| {
                    if switches {
                        phase.tunnel();
                        Tracked::last(body)
                    } else {
                        Tracked::new(body, phase.clone())
                    }
                }))
            }
        });
        let connection = http1::Builder::new()
            .max_headers(MAX_FIELD_LINES)
            .max_buf_size(MAX_HEAD_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        loop {
            tokio::select! {
                done = connection.as_mut() => return done,
                () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
            }
        }
    }
}

/// Returns once, when `stop` says so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if *stop.borrow_and_update() {
        // It was said before; saying it again would spin.
        std::future::pending::<()>().await;
    }
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
