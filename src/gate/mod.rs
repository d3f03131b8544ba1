//! Answer here, or let through?

use std::time::Duration;

/// The one origin that browsers may use, e.g. `https://pve.example.com:8443`.
///
/// It has the scheme `https`, a lower-case host, no path, query, fragment or user, and no port where
/// that is 443: the ASCII serialisation of an origin (RFC 6454 §6.2), so it can be compared as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    host: String,
    port: u16,
}

impl PublicUrl {
    /// Takes the URL apart.
    ///
    /// # Errors
    ///
    /// A sentence that says what was found and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = || format!("`{text}` is not an origin such as https://pve.example.com");
        let uri: http::Uri = text.parse().map_err(|_| found())?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("{}: it must begin with https://", found()));
        }
        if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") || text.contains('#') {
            return Err(format!("{}: no path, query or fragment belongs there", found()));
        }
        let authority = uri.authority().ok_or_else(found)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(found());
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|port| *port != 0).ok_or_else(found)?,
            None if authority.as_str().ends_with(':') => return Err(found()),
            None => 443,
        };
        Ok(Self { host: authority.host().to_ascii_lowercase(), port })
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 443 unless written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host[:port]`, as a browser writes it into the Host field.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The origin, as a browser writes it into the Origin field.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }
}

/// What the gate decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The only origin that browsers may use.
    pub public_url: PublicUrl,
    /// How long sessions last.
    pub session: SessionLimits,
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// From sign-in to the end, whatever happens between.
    pub lifetime: Duration,
    /// Longest time without activity of the person.
    pub idle: Duration,
    /// Longest time without activity of the person in an open console.
    pub console_idle: Duration,
}
