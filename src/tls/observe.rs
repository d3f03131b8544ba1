//! What a server presents, without trusting it: for a person who compares before pinning.
//!
//! The handshake goes exactly as far as the proof that the server has the leaf's key, and is then
//! broken off. Nothing is sent over it.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::TlsConnector;

use super::{Fingerprint, Host, provider, x509};
use crate::time::Timestamp;

/// What a certificate says. Text from it has its control characters replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedCertificate {
    /// SHA-256 of the whole.
    pub fingerprint: Fingerprint,
    /// Whom it is about.
    pub subject: String,
    /// Who says so; equal to the subject where nobody else does.
    pub issuer: String,
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
    /// DNS names and addresses of the subject alternative name.
    pub names: Vec<String>,
    /// Whether it is a certificate authority.
    pub is_ca: bool,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No TCP connection.
    #[error("no connection to {host} port {port}")]
    Connect {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// Connected or not, the time was over.
    #[error("{host} port {port} showed no certificate within {after:?}")]
    Timeout {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// The time given.
        after: Duration,
    },
    /// The other side does not speak TLS, or not with us.
    #[error("the TLS handshake with {host} port {port} ended before a certificate was shown")]
    Handshake {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// What the TLS library says.
        source: io::Error,
    },
    /// A certificate was shown, but not by the one who has its key: do not pin it.
    #[error("{host} port {port} shows certificate {shown} and did not prove that it has its key")]
    KeyNotProven {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// The leaf's fingerprint.
        shown: Fingerprint,
        /// What the TLS library says.
        source: io::Error,
    },
    /// What was shown is no certificate.
    #[error("certificate {position} that {host} port {port} shows is damaged: {problem}")]
    Damaged {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// Which of the chain, from 1.
        position: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The TLS library accepts no configuration of this kind.
    #[error("no TLS configuration could be built")]
    Config(#[source] Error),
}

/// The chain that a server presents, leaf first, at least the leaf.
///
/// `timeout` is for all of it: name lookup, connection, handshake.
///
/// # Errors
///
/// [`ObserveError`].
pub async fn observe(
    host: &Host,
    port: u16,
    timeout: Duration,
) -> Result<Vec<ObservedCertificate>, ObserveError> {
    let recorder = Arc::new(Recorder {
        seen: watch::Sender::new(Seen::Nothing),
        algorithms: provider().signature_verification_algorithms,
    });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(ObserveError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();

    let handshake = async {
        let connect = |source| ObserveError::Connect { host: host.clone(), port, source };
        let name = host.server_name().ok_or_else(|| connect(io::ErrorKind::InvalidInput.into()))?;
        let stream = TcpStream::connect((host.to_string().as_str(), port)).await.map_err(connect)?;
        // The recorder accepts nothing, so this always ends in an error; the stream of the
        // impossible case is dropped.
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await.err())
    };
    let error = tokio::time::timeout(timeout, handshake).await.map_err(|_| ObserveError::Timeout {
        host: host.clone(),
        port,
        after: timeout,
    })??;

    let source = error.unwrap_or_else(|| io::ErrorKind::Other.into());
    let seen = recorder.seen.borrow().clone();
    match seen {
        Seen::Nothing => Err(ObserveError::Handshake { host: host.clone(), port, source }),
        Seen::Shown(chain) => {
            let shown = Fingerprint::of(chain.first().map_or(&[], |leaf| leaf));
            Err(ObserveError::KeyNotProven { host: host.clone(), port, shown, source })
        }
        Seen::Proven(chain) => chain
            .iter()
            .enumerate()
            .map(|(i, der)| {
                let damaged =
                    |problem| ObserveError::Damaged { host: host.clone(), port, position: i + 1, problem };
                describe(der).map_err(damaged)
            })
            .collect(),
    }
}

/// What a certificate in DER form says.
///
/// # Errors
///
/// A sentence that says why it is none.
pub fn describe(der: &CertificateDer<'_>) -> Result<ObservedCertificate, String> {
    let certificate = x509::parse(der)?;
    Ok(ObservedCertificate {
        fingerprint: Fingerprint::of(der),
        subject: x509::printable(&certificate.subject().to_string()),
        issuer: x509::printable(&certificate.issuer().to_string()),
        not_before: x509::timestamp(certificate.validity().not_before),
        not_after: x509::timestamp(certificate.validity().not_after),
        names: x509::names(&certificate),
        is_ca: certificate.is_ca(),
    })
}

/// Looks, checks the signature, and ends the handshake.
#[derive(Debug)]
struct Recorder {
    seen: watch::Sender<Seen>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug, Clone)]
enum Seen {
    Nothing,
    /// A chain, by somebody.
    Shown(Vec<CertificateDer<'static>>),
    /// A chain, by the one who has its leaf's key.
    Proven(Vec<CertificateDer<'static>>),
}

impl Recorder {
    /// Notes that the signature was good, and refuses all the same: nothing was trusted here.
    fn proven(&self) -> Error {
        self.seen.send_modify(|seen| {
            if let Seen::Shown(chain) = seen {
                *seen = Seen::Proven(std::mem::take(chain));
            }
        });
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    }
}

impl ServerCertVerifier for Recorder {
    /// Lets the handshake go on to the signature, which never lets it go further.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain =
            std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        self.seen.send_replace(Seen::Shown(chain));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)?;
        Err(self.proven())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)?;
        Err(self.proven())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
