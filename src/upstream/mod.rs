//! Toward pveproxy.

use std::{path::PathBuf, time::Duration};

/// Where pveproxy is and how it proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port, 8006 unless written.
    pub port: u16,
    /// How its certificate is checked. There is no way not to.
    pub trust: Trust,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest wait for a response head, and longest silence inside a response body.
    pub idle_timeout: Duration,
    /// The field that carries the client's address to pveproxy (its `PROXY_REAL_IP_HEADER`).
    pub send_client_ip: http::HeaderName,
}

/// How the upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// SHA-256 of the leaf certificate in DER form, as Proxmox VE's interface shows it.
    Fingerprint([u8; 32]),
    /// A PEM file with the certificate authority's certificate.
    Ca(PathBuf),
}
