//! TLS and HTTP/1.1 toward the user agent.

use std::time::Duration;

/// Deadlines of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Longest silence inside a request body.
    pub body: Duration,
}
