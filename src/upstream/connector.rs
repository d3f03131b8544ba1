//! A connection to one node's pveproxy: TCP, then TLS with its certificate pinned or checked, then HTTP/1.1.

use std::{error::Error as StdError, future::Future, io, sync::Arc, time::Duration};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Endpoint,
    answer::{MAX_FIELD_LINES, MAX_HEAD_BYTES},
    body::RequestBody,
    tolerant::Tolerant,
};
use crate::{
    time::Clock,
    tls::{self, Host, PinMismatch, TrustError},
};

/// Makes connections to one node.
pub(super) struct Connector {
    endpoint: Endpoint,
    limit: Duration,
    tls: TlsConnector,
    name: ServerName<'static>,
}

/// Why there is no connection. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificate is not the pinned one.
    #[error(transparent)]
    Pin(PinMismatch),
    /// The name does not resolve, nobody listens, or no route leads there.
    #[error("no connection to {address}")]
    Tcp {
        /// `host:port`
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to {address} within {limit:?}")]
    Slow {
        /// `host:port`
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// TLS says no.
    #[error("no TLS with {address}")]
    Tls {
        /// `host:port`
        address: String,
        /// What the TLS library said.
        source: io::Error,
    },
}

impl Connector {
    /// # Errors
    ///
    /// [`TrustError`]; a host that is no name and no address is one as well.
    pub(super) fn new(
        endpoint: Endpoint,
        limit: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TrustError> {
        let config = tls::upstream_config(&endpoint.trust, clock)?;
        let name = endpoint.host.parse::<Host>().ok().and_then(|host| host.server_name());
        // The configuration checked the host; a pinned certificate is not asked for its name.
        let name = name.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        Ok(Self { endpoint, limit, tls: TlsConnector::from(config), name })
    }

    /// `host:port`
    pub(super) fn address(&self) -> String {
        self.endpoint.address()
    }

    /// Connects, and gives what sends requests and what has to run for them to be carried.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub(super) async fn connect(
        &self,
    ) -> Result<(http1::SendRequest<RequestBody>, impl Future<Output = ()> + Send + use<>), ConnectError>
    {
        let (sender, connection) = self
            .in_time(async {
                http1::Builder::new()
                    .max_headers(MAX_FIELD_LINES)
                    .max_header_size(MAX_HEAD_BYTES)
                    .handshake(TokioIo::new(Tolerant::new(self.tls().await?)))
                    .await
                    .map_err(|error| self.no_tls(io::Error::other(error)))
            })
            .await?;
        let carry = async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(error = %error, "a connection to the upstream ended");
            }
        };
        Ok((sender, carry))
    }

    /// Whether the node takes a connection and proves itself. No byte of a request is sent.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub(super) async fn check(&self) -> Result<(), ConnectError> {
        let mut tls = self.in_time(self.tls()).await?;
        // Said in good order. What becomes of that is no matter.
        let _ = timeout(self.limit, tls.shutdown()).await;
        Ok(())
    }

    async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let limit = self.limit;
        match timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Slow { address: self.address(), limit }),
        }
    }

    async fn tls(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let target = (self.endpoint.host.as_str(), self.endpoint.port);
        let tcp = TcpStream::connect(target)
            .await
            .map_err(|source| ConnectError::Tcp { address: self.address(), source })?;
        let _ = tcp.set_nodelay(true);
        self.tls.connect(self.name.clone(), tcp).await.map_err(|source| {
            match tls::pin_mismatch(&source as &(dyn StdError + 'static)) {
                Some(mismatch) => ConnectError::Pin(*mismatch),
                None => self.no_tls(source),
            }
        })
    }

    fn no_tls(&self, source: io::Error) -> ConnectError {
        ConnectError::Tls { address: self.address(), source }
    }
}
