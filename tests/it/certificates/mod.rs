//! Certificates: ours toward browsers, the upstream's toward us.
//!
//! The handshakes are real ones between our two TLS configurations, in memory or over loopback.

#![expect(clippy::unwrap_used, reason = "a helper that goes wrong is a failed test")]

mod authority;
mod browsers;
mod files;
mod upstream;

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pvegate::{
    time::{Clock, ManualClock, Timestamp},
    tls::{Certificates, Fingerprint, Host, Identity, LocalCa, Trust, server_config, upstream_config},
};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_795_478_400);

const DAY: Duration = Duration::from_secs(86_400);

/// What the client of a [`handshake`] wants to say: queued before it, sent after it if ever.
const REQUEST: &[u8] = b"GET /api2/json/version HTTP/1.1\r\n\r\n";

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("certificates-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn clock_at(now: Timestamp) -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(now))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate with its key, signed by itself or by `issuer`, valid around [`NOW`].
fn certificate(
    name: &str,
    is_ca: IsCa,
    issuer: Option<&Issuer<'_, KeyPair>>,
) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (certificate, key)
}

/// A self-signed server certificate, as a Proxmox VE node may have one.
fn self_signed(name: &str) -> Identity {
    let (certificate, key) = certificate(name, IsCa::ExplicitNoCa, None);
    Identity { chain: vec![certificate.into()], key: PrivateKeyDer::from(key) }
}

/// The fingerprint of the leaf.
fn leaf(identity: &Identity) -> Fingerprint {
    Fingerprint::of(identity.chain.first().unwrap())
}

/// The first half of the file.
fn cut(path: &Path) {
    let text = fs::read(path).unwrap();
    fs::write(path, text.split_at(text.len() / 2).0).unwrap();
}

/// The key and name of the authority in `dir`, to sign what it never would.
fn stolen(dir: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap();
    Issuer::from_ca_cert_pem(&fs::read_to_string(dir.join("ca.pem")).unwrap(), key).unwrap()
}

fn made(dir: &Path, name: &str) -> LocalCa {
    LocalCa::open_or_make(dir, &host(name), NOW).unwrap().0
}

/// Our TLS toward browsers with this identity.
fn gate(identity: Identity) -> Arc<ServerConfig> {
    server_config(Arc::new(Certificates::new(identity).unwrap())).unwrap()
}

/// A server that shows `chain` and signs with `key`, whether or not they belong together.
fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = provider().key_provider.load_private_key(key).unwrap();
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(certified)))
}

fn pinning(pin: Fingerprint) -> Arc<ClientConfig> {
    upstream_config(&Trust::Fingerprint(pin), clock_at(NOW)).unwrap()
}

fn trusting(ca: &Path) -> Arc<ClientConfig> {
    upstream_config(&Trust::Ca(ca.to_owned()), clock_at(NOW)).unwrap()
}

/// How a handshake in memory ended.
struct Handshake {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<rustls::Error>,
    server_error: Option<rustls::Error>,
    /// Application data that reached the server.
    received: Vec<u8>,
}

impl Handshake {
    fn succeeded(&self) -> bool {
        let errors = self.client_error.is_none() && self.server_error.is_none();
        errors && !self.client.is_handshaking() && self.received == REQUEST
    }

    fn server_leaf(&self) -> Fingerprint {
        Fingerprint::of(self.client.peer_certificates().unwrap().first().unwrap())
    }
}

/// Both sides in memory, until neither has anything to say. The client has a request ready from the
/// beginning.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Handshake {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut h = Handshake {
        client: ClientConnection::new(Arc::clone(client), name).unwrap(),
        server: ServerConnection::new(Arc::clone(server)).unwrap(),
        client_error: None,
        server_error: None,
        received: Vec::new(),
    };
    h.client.writer().write_all(REQUEST).unwrap();
    loop {
        let up = carry(&mut h.client, &mut h.server, &mut h.server_error);
        // An empty pipe reads as `WouldBlock`: what came before it is what counts.
        let _ = h.server.reader().read_to_end(&mut h.received);
        let down = carry(&mut h.server, &mut h.client, &mut h.client_error);
        if !up && !down {
            return h;
        }
    }
}

/// Carries what one side has to say to the other; whether there was anything.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
    error: &mut Option<rustls::Error>,
) -> bool {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let moved = !bytes.is_empty();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        *error = to.process_new_packets().err();
    }
    moved
}
