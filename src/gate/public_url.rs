//! The one origin that browsers may use.

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
        // Not `authority.port()`: to it, a port that is too large is none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 443,
            Some(rest) => match rest.strip_prefix(':') {
                Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    port.parse().ok().filter(|port| *port != 0).ok_or_else(found)?
                }
                Some(_) | None => return Err(found()),
            },
            None => return Err(found()),
        };
        let host = authority.host().to_ascii_lowercase();
        // A browser writes an address in one way, and that is what Host and Origin are compared with.
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let canonical = match address.map(str::parse::<std::net::Ipv6Addr>) {
            Some(Ok(address)) => format!("[{address}]"),
            Some(Err(_)) => return Err(found()),
            None if host.parse::<std::net::Ipv4Addr>().is_ok() => host,
            None => host_name(&host).map_err(|reason| format!("{}: {reason}", found()))?.to_owned(),
        };
        Ok(Self { host: canonical, port })
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

/// Checks a lower-case host name (RFC 1123 §2.1, and `_`, which resolvers take).
///
/// # Errors
///
/// A clause that says what is wrong with it.
pub fn host_name(host: &str) -> Result<&str, &'static str> {
    let labels = || host.split('.');
    if host.is_empty() {
        return Err("the host is missing");
    }
    if !host.is_ascii() {
        return Err("write the name as DNS knows it, in ASCII (xn--…)");
    }
    if host.len() > 253 || labels().any(|label| label.len() > 63) {
        return Err("the host name is longer than DNS allows");
    }
    if labels().any(str::is_empty) {
        return Err("the host name has an empty label or a dot at its end");
    }
    if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("a label of a host name neither begins nor ends with a hyphen");
    }
    if !host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_'))
    {
        return Err("a host name has letters, digits, hyphens and dots");
    }
    // Browsers take such a host for a short way to write an IPv4 address (WHATWG URL, host parsing).
    if labels()
        .next_back()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x"))
    {
        return Err("an IPv4 address has four numbers from 0 to 255, and a name does not end in a number");
    }
    Ok(host)
}
