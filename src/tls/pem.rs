//! PEM files (RFC 7468) with certificates or a private key.
//!
//! Reads, and refuses a key that others may read. What the contents mean is for the callers.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};
use zeroize::Zeroizing;

/// Longest file that is read, in bytes. A chain has a few kilobytes; a wrong path may have gigabytes.
const LONGEST: u64 = 1 << 20;

/// Why a PEM file gave no certificates or no key.
#[derive(Debug, thiserror::Error)]
pub enum PemFileError {
    /// The system did not let us read it.
    #[error("{} cannot be read by user id {uid}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The effective user id of this process.
        uid: u32,
        /// The system's reason.
        source: io::Error,
    },
    /// Far longer than any chain or key.
    #[error("{} is longer than {LONGEST} bytes, so it holds no certificate or key", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not PEM, or cut off.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// PEM, but not what belongs there.
    #[error("{} should hold {expected}, found {found}", path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A private key under a passphrase, which nobody could type at a start.
    #[error("{} holds an encrypted key; a key without a passphrase is needed", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A private key that others may read or replace.
    #[error("{} has mode {mode:04o}, so others can use the key; run: chmod {chmod} {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What to give to chmod.
        chmod: &'static str,
    },
}

/// Who besides its owner may read a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyReaders {
    /// Nobody: keys that we made.
    Owner,
    /// The group too: keys of others, which reach us by group membership (Debian's `ssl-cert`).
    OwnerAndGroup,
}

impl KeyReaders {
    /// Permissions that a key must not have, and the chmod that takes them away.
    const fn refused(self) -> (u32, &'static str) {
        match self {
            Self::Owner => (0o077, "600"),
            Self::OwnerAndGroup => (0o027, "g-w,o="),
        }
    }
}

/// The certificates of a file in their order, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    let (text, _) = read(path)?;
    let mut certificates = Vec::new();
    let mut others = Vec::new();
    for (kind, der) in sections(path, &text)? {
        if kind == SectionKind::Certificate {
            certificates.push(CertificateDer::from(der));
        } else {
            others.push(kind);
        }
    }
    if certificates.is_empty() {
        return Err(PemFileError::WrongContent {
            path: path.to_owned(),
            expected: "certificates",
            found: listed(&others),
        });
    }
    Ok(certificates)
}

/// The private key of a file; other sections beside it are passed over.
pub(super) fn private_key(path: &Path, readers: KeyReaders) -> Result<PrivateKeyDer<'static>, PemFileError> {
    let (text, mode) = read(path)?;
    let (refused, chmod) = readers.refused();
    if mode & refused != 0 {
        return Err(PemFileError::Exposed { path: path.to_owned(), mode: mode & 0o7777, chmod });
    }
    let mut others = Vec::new();
    for (kind, der) in sections(path, &text)? {
        match PrivateKeyDer::from_pem(kind, der) {
            Some(key) => return Ok(key),
            None => others.push(kind),
        }
    }
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return Err(PemFileError::Encrypted { path: path.to_owned() });
    }
    Err(PemFileError::WrongContent {
        path: path.to_owned(),
        expected: "a private key",
        found: listed(&others),
    })
}

/// The user id that the system checks when we open a file.
pub(super) fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), PemFileError> {
    let unreadable =
        |source| PemFileError::Unreadable { path: path.to_owned(), uid: effective_uid(), source };
    // The mode is asked of the open file: the name may mean another one a moment later.
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    let mut text = Zeroizing::new(Vec::new());
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LONGEST {
        return Err(PemFileError::TooLong { path: path.to_owned() });
    }
    Ok((text, mode))
}

fn sections(path: &Path, text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, PemFileError> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|problem| PemFileError::Damaged { path: path.to_owned(), problem: problem_text(&problem) })
}

/// Never the line itself: in a key file it could be a part of the key.
fn problem_text(problem: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match problem {
        Error::MissingSectionEnd { .. } => "a section has no end; is it cut off?".to_owned(),
        Error::IllegalSectionStart { .. } => "a BEGIN line is not well formed".to_owned(),
        Error::Base64Decode(_) => "a section is not base64".to_owned(),
        Error::SectionTooLarge => "a section is too large".to_owned(),
        other => other.to_string(),
    }
}

fn listed(kinds: &[SectionKind]) -> String {
    let name = |kind: &SectionKind| match kind {
        SectionKind::Certificate => "a certificate",
        SectionKind::PublicKey => "a public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => "a private key",
        SectionKind::Crl => "a revocation list",
        SectionKind::Csr => "a certificate request",
        _ => "something else",
    };
    match kinds {
        [] => "no PEM section of a known kind".to_owned(),
        kinds => kinds.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}
