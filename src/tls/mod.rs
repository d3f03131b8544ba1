//! Certificates: where ours come from, and how the upstream's is checked.
//!
//! Toward browsers: [`LocalCa`] makes a certificate under a name-constrained authority of our own,
//! [`load`] reads one from files, [`Certificates`] holds the one in use and is swapped live, and
//! [`server_config`] is the TLS that browsers meet. Toward pveproxy: [`upstream_config`] checks by
//! [`Fingerprint`] or by an authority's file, and [`observe`] shows what a server presents without
//! trusting it.
//!
//! Left to others: accepting and connecting (`connection`, `upstream`), which source is in use
//! (`config`, `admin`), the page that hands out the authority's certificate (`gate`). Ruled by
//! RFC 5280 (certificates) and RFC 8446 (TLS 1.3).

mod files;
mod fingerprint;
mod local_ca;
mod observe;
mod pem;
mod pin;
mod server;
mod x509;

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

pub use self::{
    files::{Described, FilesError, FilesWarning, Loaded, load},
    fingerprint::{Fingerprint, FingerprintError},
    local_ca::{IssueError, Issued, Lifetime, LocalCa, OpenCaError, Origin, renew},
    observe::{ObserveError, ObservedCertificate, describe, observe},
    pem::PemFileError,
    pin::{
        CaAsServer, PinMismatch, Trust, TrustError, UpstreamVerifier, ca_as_server, pin_mismatch,
        upstream_config,
    },
    server::{Certificates, server_config},
};

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

/// Whom a certificate is for: a DNS name in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name, lower case, without a final dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// As rustls wants it.
    #[must_use]
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        match self {
            Self::Name(name) => ServerName::try_from(name.clone()).ok(),
            Self::Address(address) => Some(ServerName::from(*address)),
        }
    }
}

/// Without brackets around IPv6.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A text is neither a DNS name nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is neither a DNS name nor an IP address")]
pub struct NotAHost {
    /// The text.
    pub found: String,
}

impl FromStr for Host {
    type Err = NotAHost;

    /// Takes a name or an address, IPv6 with or without brackets, as URLs and files have it.
    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let not_a_host = || NotAHost { found: text.to_owned() };
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']').ok_or_else(not_a_host)?;
            return address.parse().map(|v6| Self::Address(IpAddr::V6(v6))).map_err(|_| not_a_host());
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match ServerName::try_from(name.as_str()) {
            Ok(ServerName::DnsName(_)) => Ok(Self::Name(name)),
            Ok(_) | Err(_) => Err(not_a_host()),
        }
    }
}

/// The one cryptography in use. Named wherever a configuration is built, so that no process-wide
/// default is needed and none can change it.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        let name = |text: &str| Ok(Host::Name(text.to_owned()));
        let address = |text: &str| Ok(Host::Address(text.parse().unwrap()));
        let refused = |text: &str| Err(NotAHost { found: text.to_owned() });
        #[rustfmt::skip]
        let table = [
            ("pve.example.com",  name("pve.example.com")),
            ("PVE.Example.Com.", name("pve.example.com")),
            ("localhost",        name("localhost")),
            ("192.0.2.7",        address("192.0.2.7")),
            ("2001:db8::7",      address("2001:db8::7")),
            ("[2001:db8::7]",    address("2001:db8::7")),
            ("[192.0.2.7]",      refused("[192.0.2.7]")),
            ("[2001:db8::7",     refused("[2001:db8::7")),
            ("192.0.2.300",      refused("192.0.2.300")),
            ("a..b",             refused("a..b")),
            ("*.example.com",    refused("*.example.com")),
            ("a b",              refused("a b")),
            (".",                refused(".")),
            ("",                 refused("")),
        ];
        for (text, host) in table {
            assert_eq!(text.parse(), host, "{text}");
        }
    }
}
