//! A certificate chain and its key from PEM files that somebody else keeps.
//!
//! What would never work is refused; what works for some clients or will work soon is a warning.
//! When to look again is for the caller (SIGHUP).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{
    Host, Identity, PemFileError,
    pem::{self, KeyReaders},
    provider, x509,
};
use crate::time::Timestamp;

/// What the files hold.
#[derive(Debug)]
pub struct Loaded {
    /// The chain and its key.
    pub identity: Identity,
    /// The leaf's last moment.
    pub not_after: Timestamp,
    /// What a person should look at.
    pub warnings: Vec<FilesWarning>,
}

/// What is wrong with a chain that is used nevertheless: browsers warn, but the gate is not shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilesWarning {
    /// The leaf's life is over.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// Its last moment.
        not_after: Timestamp,
    },
    /// The leaf's life has not begun, or our clock is slow.
    #[error("the certificate is not valid before {not_before}")]
    NotYetValid {
        /// Its first moment.
        not_before: Timestamp,
    },
}

/// Why the files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// A section says that it is a certificate and is none.
    #[error("certificate {position} in {} is damaged: {problem}", path.display())]
    DamagedCertificate {
        /// The file.
        path: PathBuf,
        /// Which of its certificates, from 1.
        position: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The key is damaged or of a kind that is not supported.
    #[error("the key in {} is damaged, or neither RSA, ECDSA nor Ed25519", path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        source: Error,
    },
    /// The key belongs to a certificate that is not the first.
    #[error("the key belongs to certificate {position} in {}; the server's own must be the first", path.display())]
    LeafNotFirst {
        /// The chain's file.
        path: PathBuf,
        /// Where the key's certificate is, from 1.
        position: usize,
    },
    /// The key belongs to none of the certificates.
    #[error("the key in {} belongs to no certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The chain's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Browsers would refuse the certificate under the public URL.
    #[error("the certificate in {} is for {}, not for {wanted}", path.display(), listed(found))]
    OtherHost {
        /// The chain's file.
        path: PathBuf,
        /// The names in the certificate.
        found: Vec<String>,
        /// The host of the public URL.
        wanted: Host,
    },
}

/// Reads the chain and the key, and checks that they fit each other and the host.
///
/// The group may read the key's file (that is how Debian's `ssl-cert` group works); others may not.
///
/// # Errors
///
/// [`FilesError`].
pub fn load(cert: &Path, key: &Path, host: &Host, now: Timestamp) -> Result<Loaded, FilesError> {
    let private = pem::private_key(key, KeyReaders::OwnerAndGroup)?;
    let chain = pem::certificates(cert)?;

    let mut parsed = Vec::new();
    for (i, der) in chain.iter().enumerate() {
        let damaged =
            |problem| FilesError::DamagedCertificate { path: cert.to_owned(), position: i + 1, problem };
        parsed.push(x509::parse(der).map_err(damaged)?);
    }
    match owner_of(&private, &chain)
        .map_err(|source| FilesError::UnusableKey { path: key.to_owned(), source })?
    {
        Some(0) => {}
        Some(i) => return Err(FilesError::LeafNotFirst { path: cert.to_owned(), position: i + 1 }),
        None => return Err(FilesError::KeyMismatch { cert: cert.to_owned(), key: key.to_owned() }),
    }
    let (Some(leaf), Some(leaf_der)) = (parsed.first(), chain.first()) else {
        return Err(FilesError::KeyMismatch { cert: cert.to_owned(), key: key.to_owned() });
    };
    if !x509::covers(leaf_der, host) {
        return Err(FilesError::OtherHost {
            path: cert.to_owned(),
            found: x509::names(leaf),
            wanted: host.clone(),
        });
    }
    let not_before = x509::timestamp(leaf.validity().not_before);
    let not_after = x509::timestamp(leaf.validity().not_after);
    let warnings = warnings(not_before, not_after, now);
    Ok(Loaded { identity: Identity { chain, key: private }, not_after, warnings })
}

/// What certificates from files are like, beyond what [`load`] insists on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The leaf's first moment.
    pub not_before: Timestamp,
    /// Those of the hosts that it does not cover.
    pub uncovered: Vec<Host>,
    /// Whether the leaf is its own issuer.
    pub self_signed: bool,
    /// Whether an authority of `bundle` vouches for the chain; `None` where that file can't be read.
    pub trusted: Option<bool>,
}

impl Loaded {
    /// Describes the chain: to these other names of the gate, and to the authorities of a PEM file.
    #[must_use]
    pub fn describe(&self, hosts: &[Host], bundle: &Path, now: Timestamp) -> Option<Described> {
        let (leaf, intermediates) = self.identity.chain.split_first()?;
        let parsed = x509::parse(leaf).ok()?;
        let name = x509::names(&parsed).first().and_then(|name| name.trim_start_matches("*.").parse().ok());
        let trusted = authorities(bundle).map(|verifier| {
            let name: Option<Host> = name;
            // Whom it is for was looked at already; here it is about who vouches for it.
            let Some(name) = name.as_ref().and_then(Host::server_name) else { return false };
            let seconds = u64::try_from(now.secs()).unwrap_or(0);
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            match verifier.verify_server_cert(leaf, intermediates, &name, &[], now) {
                Ok(_) => true,
                Err(Error::InvalidCertificate(error)) => is_about_else(&error),
                Err(_) => false,
            }
        });
        Some(Described {
            not_before: x509::timestamp(parsed.validity().not_before),
            uncovered: hosts.iter().filter(|host| !x509::covers(leaf, host)).cloned().collect(),
            self_signed: parsed.subject() == parsed.issuer(),
            trusted,
        })
    }
}

/// Whether an authority vouches for a certificate that is refused for this: its dates or its names.
fn is_about_else(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
    )
}

/// The authorities of a file, as far as they are usable.
fn authorities(bundle: &Path) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pem::certificates(bundle).ok()?);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()
}

fn warnings(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Vec<FilesWarning> {
    if now > not_after {
        vec![FilesWarning::Expired { not_after }]
    } else if now < not_before {
        vec![FilesWarning::NotYetValid { not_before }]
    } else {
        Vec::new()
    }
}

/// Which certificate of the chain the key belongs to.
fn owner_of(key: &PrivateKeyDer<'_>, chain: &[CertificateDer<'static>]) -> Result<Option<usize>, Error> {
    let key = provider().key_provider.load_private_key(key.clone_key())?;
    for (i, certificate) in chain.iter().enumerate() {
        match CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match() {
            Ok(()) => return Ok(Some(i)),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}
