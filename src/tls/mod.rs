//! Certificates: where ours come from, and how the upstream's is checked.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Where the gate's own certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A certificate authority of our own in this directory, made at the first start.
    LocalCa {
        /// Directory of the authority's certificate and key.
        dir: PathBuf,
    },
    /// PEM files: the chain, leaf first, and its key.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

/// A certificate chain, leaf first, and the leaf's private key.
#[derive(Debug)]
pub struct Identity {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}
