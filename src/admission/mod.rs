//! May this source talk to us? Asked at accept, before TLS.

use ipnet::IpNet;

/// Who is admitted, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Networks that may connect. Empty admits nobody.
    pub allow: Vec<IpNet>,
    /// Networks that may not, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one source prefix (an IPv4 address, an IPv6 /64).
    pub max_connections_per_source: usize,
}
