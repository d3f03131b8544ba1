//! A connection to pveproxy: TCP, then TLS with its certificate pinned or checked, then HTTP/1.1.

use std::{error::Error as StdError, future::Future, io, sync::Arc};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Settings, body::RequestBody, tolerant::Tolerant};
use crate::{
    time::Clock,
    tls::{self, Host, PinMismatch, TrustError},
};

/// Makes connections to one upstream.
#[derive(Clone)]
pub(super) struct Connector {
    settings: Arc<Settings>,
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
        limit: std::time::Duration,
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
    pub(super) fn new(settings: Arc<Settings>, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let config = tls::upstream_config(&settings.trust, clock)?;
        let name = settings.host.parse::<Host>().ok().and_then(|host| host.server_name());
        // The configuration checked the host; a pinned certificate is not asked for its name.
        let name = name.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        Ok(Self { settings, tls: TlsConnector::from(config), name })
    }

    /// `host:port`
    pub(super) fn address(&self) -> String {
        self.settings.address()
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
        let limit = self.settings.connect_timeout;
        match timeout(limit, self.connect_slowly()).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Slow { address: self.address(), limit }),
        }
    }

    async fn connect_slowly(
        &self,
    ) -> Result<(http1::SendRequest<RequestBody>, impl Future<Output = ()> + Send + use<>), ConnectError>
    {
        let target = (self.settings.host.as_str(), self.settings.port);
        let tcp = TcpStream::connect(target)
            .await
            .map_err(|source| ConnectError::Tcp { address: self.address(), source })?;
        let _ = tcp.set_nodelay(true);
        let tls =
            self.tls.connect(self.name.clone(), tcp).await.map_err(|source| {
                match tls::pin_mismatch(&source as &(dyn StdError + 'static)) {
                    Some(mismatch) => ConnectError::Pin(*mismatch),
                    None => ConnectError::Tls { address: self.address(), source },
                }
            })?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(256)
            .handshake(TokioIo::new(Tolerant::new(tls)))
            .await
            .map_err(|error| ConnectError::Tls {
                address: self.address(),
                source: io::Error::other(error),
            })?;
        let carry = async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(error = %error, "a connection to the upstream ended");
            }
        };
        Ok((sender, carry))
    }
}
