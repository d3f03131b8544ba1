//! TLS toward pveproxy: its certificate is pinned, or checked by one authority. There is no third way.
//!
//! A refusal ends the handshake before anything of a request is sent, and can be got back out of
//! the I/O error by [`pin_mismatch`] and [`ca_as_server`].

use std::{error::Error as StdError, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        Resumption, VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Fingerprint, PemFileError, pem, provider, x509};
use crate::time::Clock;

/// Sessions kept for resumption: more than one gate has nodes behind it.
const SESSIONS: usize = 32;

/// How the upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// SHA-256 of the leaf certificate in DER form, as Proxmox VE's interface shows it.
    Fingerprint(Fingerprint),
    /// A PEM file with the certificate authority's certificate.
    Ca(PathBuf),
}

/// The upstream shows another certificate than the pinned one: renewed, or somebody in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream shows certificate {found}, but {expected} is pinned")]
pub struct PinMismatch {
    /// The pinned one.
    pub expected: Fingerprint,
    /// The one shown.
    pub found: Fingerprint,
}

/// The upstream shows the very certificate of the CA file (as `openssl req -x509` makes them), which
/// the check by an authority never accepts for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the upstream's certificate is itself a certificate authority, which a CA file cannot vouch for as a server; \
     pin its fingerprint instead: {found}"
)]
pub struct CaAsServer {
    /// The certificate's fingerprint.
    pub found: Fingerprint,
}

/// Why there is nothing to check the upstream by.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The authority's file could not be read.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// A certificate in the file can't be an authority.
    #[error("certificate {position} in {} is no usable certificate authority", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Which of its certificates, from 1.
        position: usize,
        /// What the TLS library says.
        source: Error,
    },
    /// The TLS library accepts no verifier of these authorities.
    #[error("no verifier could be built from the certificate authorities")]
    Verifier(#[from] VerifierBuilderError),
    /// The TLS library accepts no configuration of this kind.
    #[error("no TLS configuration could be built")]
    Config(#[from] Error),
}

/// TLS toward the upstream: 1.2 and 1.3, no ALPN, no certificate of ours, no early data.
///
/// Sessions are resumed from memory. A resumed handshake shows no certificate, but only the peer
/// whose certificate this very configuration accepted has the session's secret; a new pin means a
/// new configuration and thereby an empty memory.
///
/// # Errors
///
/// [`TrustError`].
pub fn upstream_config(trust: &Trust, clock: Arc<dyn Clock>) -> Result<Arc<ClientConfig>, TrustError> {
    let verifier = UpstreamVerifier::new(trust)?;
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// The pin mismatch that ended a handshake, if that is what did.
#[must_use]
pub fn pin_mismatch<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a PinMismatch> {
    refusal(error)
}

/// The authority in a server's place that ended a handshake, if that is what did.
#[must_use]
pub fn ca_as_server<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CaAsServer> {
    refusal(error)
}

/// Finds a refusal of ours below an error of rustls, of I/O, or of something that has one as source.
fn refusal<'a, R: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a R> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))) =
            error.downcast_ref()
        {
            return reason.downcast_ref();
        }
        // An I/O error's `source` is the source of what it wraps, not that itself.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Checks the upstream's certificate.
///
/// With a fingerprint, the certificate is the pinned one or it is refused; its names, dates and
/// issuer play no part, because whoever pinned it meant this one certificate. With an authority,
/// the rules of the web hold (chain, dates, name, purpose), with that file as the only root.
///
/// Either way the peer must sign the handshake with the certificate's key: the certificate itself
/// is public, and anybody can show it.
#[derive(Debug)]
pub struct UpstreamVerifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    Pinned(Fingerprint),
    IssuedBy { verifier: Arc<WebPkiServerVerifier>, authorities: Vec<Fingerprint> },
}

impl UpstreamVerifier {
    /// Reads the authority's file, if there is one.
    ///
    /// # Errors
    ///
    /// [`TrustError`].
    pub fn new(trust: &Trust) -> Result<Self, TrustError> {
        let rule = match trust {
            Trust::Fingerprint(pin) => Rule::Pinned(*pin),
            Trust::Ca(path) => {
                let mut roots = RootCertStore::empty();
                let mut authorities = Vec::new();
                for (i, certificate) in pem::certificates(path)?.into_iter().enumerate() {
                    authorities.push(Fingerprint::of(&certificate));
                    roots.add(certificate).map_err(|source| TrustError::NotAnAuthority {
                        path: path.clone(),
                        position: i + 1,
                        source,
                    })?;
                }
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
                Rule::IssuedBy { verifier: verifier.build()?, authorities }
            }
        };
        Ok(Self { rule, algorithms: provider().signature_verification_algorithms })
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(end_entity);
        match &self.rule {
            Rule::Pinned(expected) if expected.matches(&found) => Ok(ServerCertVerified::assertion()),
            Rule::Pinned(expected) => Err(refused(PinMismatch { expected: *expected, found })),
            Rule::IssuedBy { verifier, authorities } => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| match x509::parse(end_entity) {
                    // Only for a certificate from the file: to pin just any authority that somebody
                    // shows would be bad advice.
                    Ok(leaf) if leaf.is_ca() && authorities.contains(&found) => refused(CaAsServer { found }),
                    Ok(_) | Err(_) => error,
                }),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn refused(reason: impl StdError + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// Our clock as rustls asks it, for the dates of certificates.
struct OurTime(Arc<dyn Clock>);

impl TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.0.now().secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

impl fmt::Debug for OurTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurTime")
    }
}
