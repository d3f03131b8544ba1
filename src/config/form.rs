//! Texts that stand for something: URLs, fingerprints, networks, log levels.
//!
//! Pure functions from a text to its meaning, or to a clause that says why it has none and, where it can
//! be guessed, what was meant. Places and keys are for `check`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::problem::quoted;
use crate::gate;

/// Levels of log lines, from silence to everything.
pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Fields that must keep their own meaning: the message's, the connection's, Proxmox VE's.
pub(super) const TAKEN: [&str; 22] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "csrfpreventiontoken",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "pveclientip",
    "pvedisableproxy",
    "sec-websocket-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A host of a URL without the brackets of IPv6.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// What somebody may have meant by a listening address that is none.
pub(super) fn listen_instead(text: &str) -> Option<String> {
    if let Ok(address) = bare(text).parse::<IpAddr>() {
        return Some(format!("with a port: \"{}\"", SocketAddr::new(address, 443)));
    }
    if let Ok(port) = text.trim_start_matches(['*', ':']).parse::<u16>() {
        return Some(format!("for every address: \"[::]:{port}\""));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?;
    match host {
        "localhost" => Some(format!("\"127.0.0.1:{port}\" or \"[::1]:{port}\"")),
        host if host.parse::<Ipv6Addr>().is_ok() => Some(format!("\"[{host}]:{port}\"")),
        _ => Some("names are not resolved: write the address".to_owned()),
    }
}

/// Host and port of an `https://host[:port]`.
pub(super) fn authority(text: &str) -> Result<(String, u16), &'static str> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err("only https is spoken, because the password of Proxmox VE passes there"),
        None => return Err("it begins with https://"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err("no path, query or fragment belongs there");
    }
    if rest.contains('@') {
        return Err("no user belongs there");
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err("in brackets stands an IPv6 address");
            }
            match rest {
                "" => (host, None),
                rest => (
                    host,
                    Some(rest.strip_prefix(':').ok_or("behind the bracket stands a colon and the port")?),
                ),
            }
        }
        None => match rest.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address stands in brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port {
        None => 8006,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse::<u16>().ok().filter(|port| *port != 0).ok_or("a port is a number from 1 to 65535")?
        }
        Some(_) => return Err("a port is a number from 1 to 65535"),
    };
    let host = host.to_ascii_lowercase();
    if host.parse::<IpAddr>().is_err() {
        gate::host_name(&host)?;
    }
    Ok((host, port))
}

/// The 32 bytes of a fingerprint in hexadecimal, with or without colons.
pub(super) fn digest(text: &str) -> Result<[u8; 32], String> {
    let text = text
        .get(..7)
        .filter(|start| start.eq_ignore_ascii_case("sha256:"))
        .map_or(text, |start| text.get(start.len()..).unwrap_or_default());
    let hex: String = text.chars().filter(|c| *c != ':').collect();
    if let Some(other) = hex.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("{} is not hexadecimal", quoted(&other.to_string())));
    }
    if text.contains(':') && text.split(':').any(|byte| byte.len() != 2) {
        return Err("colons stand between all bytes or nowhere".to_owned());
    }
    match hex.len() {
        64 => {}
        40 => return Err("it has 20 bytes, so it is probably SHA-1; 32 are expected".to_owned()),
        digits if digits % 2 == 1 => return Err(format!("it has {digits} digits, and 64 are expected")),
        digits => return Err(format!("it has {} bytes, and 32 are expected", digits / 2)),
    }
    data_encoding::HEXUPPER_PERMISSIVE
        .decode(hex.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "it is not hexadecimal".to_owned())
}

/// A network, or why it is none and what was probably meant.
pub(super) fn network(text: &str) -> Result<IpNet, (String, Option<String>)> {
    if let Ok(network) = text.parse::<IpNet>() {
        let mapped = match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => {
                v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96))
            }
            IpNet::V6(_) | IpNet::V4(_) => None,
        };
        return match mapped {
            None => Ok(network),
            Some((address, length)) => Err((
                "is IPv4 in the clothes of IPv6, and clients are known by their IPv4 address".to_owned(),
                Some(format!("\"{address}/{length}\"")),
            )),
        };
    }
    if let Ok(address) = bare(text).parse::<IpAddr>() {
        let network = IpNet::from(address);
        return Err((
            "is an address, and a network has a length".to_owned(),
            Some(format!("for this one address: \"{network}\"")),
        ));
    }
    let generic = || "is not a network such as 10.8.0.0/24".to_owned();
    if let Some((address, length)) = text.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        if let Ok(mask) = length.parse::<IpAddr>() {
            let help = IpNet::with_netmask(address, mask)
                .ok()
                .map(|it| format!("with the mask as a length: \"{it}\""));
            return Err((generic(), help));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        return Err((generic(), Some(format!("the length is a number from 0 to {most}"))));
    }
    match text {
        "*" | "all" | "any" => Err((generic(), Some("for everybody: \"0.0.0.0/0\", \"::/0\"".to_owned()))),
        "private" | "local" => Err((generic(), None)),
        _ => Err((
            generic(),
            text.contains(|c: char| c.is_ascii_alphabetic() && !text.contains(':'))
                .then(|| "names are not resolved: write addresses".to_owned()),
        )),
    }
}
