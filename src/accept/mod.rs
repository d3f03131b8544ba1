//! Who opened this connection? Listeners, the accept loop, and canonical client addresses.

use std::net::SocketAddr;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to bind, at least one.
    pub listen: Vec<SocketAddr>,
}
