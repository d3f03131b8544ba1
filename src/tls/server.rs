//! TLS toward browsers: one certificate at a time, swapped without a restart.
//!
//! TLS 1.2 and 1.3 with rustls's suites (Mozilla "intermediate"), HTTP/1.1 only, X25519MLKEM768
//! preferred, no early data, no renegotiation, no client certificates. Deadlines and limits of the
//! handshake are in `connection`.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::sync::watch;

use super::{Fingerprint, Identity, provider, x509};
use crate::status;

/// The one protocol that we speak (RFC 7301). A client that offers others only is refused by rustls
/// with `no_application_protocol`; one that offers none gets HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The certificate in use. Handshakes that begin after [`replace`](Self::replace) show the new one;
/// connections that exist go on.
#[derive(Debug)]
pub struct Certificates {
    in_use: watch::Sender<Arc<CertifiedKey>>,
    status: Arc<status::Certificate>,
}

impl Certificates {
    /// Begins with this identity.
    ///
    /// # Errors
    ///
    /// rustls's: the key is of an unknown kind, or is not the leaf's.
    pub fn new(identity: Identity) -> Result<Self, rustls::Error> {
        let key = certified(identity)?;
        let status = Arc::<status::Certificate>::default();
        tell(&status, &key);
        Ok(Self { in_use: watch::Sender::new(key), status })
    }

    /// Shows this identity from now on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the old identity then stays in use.
    pub fn replace(&self, identity: Identity) -> Result<(), rustls::Error> {
        let key = certified(identity)?;
        tell(&self.status, &key);
        self.in_use.send_replace(key);
        Ok(())
    }

    /// The fingerprint of the leaf in use.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.in_use.borrow().cert.first().map(|leaf| Fingerprint::of(leaf))
    }

    /// How long the leaf in use is good, for those who may know.
    #[must_use]
    pub fn status(&self) -> &Arc<status::Certificate> {
        &self.status
    }

    /// Tells when the identity is replaced.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<CertifiedKey>> {
        self.in_use.subscribe()
    }
}

impl ResolvesServerCert for Certificates {
    /// The name asked for plays no part: there is one public name, and the Host field is checked
    /// later. An address or a missing name is thereby served too.
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.in_use.borrow()))
    }
}

/// TLS toward browsers with these certificates.
///
/// # Errors
///
/// rustls's: the system gives no random bytes for the ticket keys.
pub fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Sessions are resumed by tickets alone, under keys that live in memory and change every six
    // hours: no table of sessions that strangers could fill. One ticket, not two: each costs about
    // 5 µs of the handshake, and browsers reuse connections.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    // Early data can be replayed (RFC 8446 §8). This is rustls's default; it stands here so that it stays.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn tell(status: &status::Certificate, key: &CertifiedKey) {
    if let Some(Ok(leaf)) = key.cert.first().map(|leaf| x509::parse(leaf)) {
        status.set(x509::timestamp(leaf.validity().not_after));
    }
}

fn certified(identity: Identity) -> Result<Arc<CertifiedKey>, rustls::Error> {
    CertifiedKey::from_der(identity.chain, identity.key, &provider()).map(Arc::new)
}
