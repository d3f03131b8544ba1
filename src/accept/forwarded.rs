//! The field in which a listed peer names its client (pure).
//!
//! `X-Forwarded-For` and its like: addresses with commas between, each proxy adding at the right whom it
//! speaks to. Only what listed peers have written is believed: read from the right, the first address that
//! is no peer's is the client's; what stands left of it is the client's own word and not ours to judge. What
//! cannot be read up to there is refused, never ignored: a client whose address is not known is nobody whom a
//! list could let in.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::audit::Reason;

/// Why a request from a peer has no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// The peer names nobody.
    #[error("a request of a listed peer without the field that names its client")]
    Missing,
    /// What stands there is not a list of addresses.
    #[error("a forwarding field that is not a list of addresses")]
    NotAddresses,
}

impl From<ForwardedError> for Reason {
    fn from(error: ForwardedError) -> Self {
        Self::new("forwarding_field", error)
    }
}

/// The client of a request that a listed peer sent. If all addresses are peers', it is the first of them.
///
/// # Errors
///
/// [`ForwardedError`]
pub fn client(
    fields: &HeaderMap,
    name: &HeaderName,
    is_peer: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, ForwardedError> {
    let mut leftmost = Err(ForwardedError::Missing);
    for value in fields.get_all(name).iter().rev() {
        for part in value.as_bytes().rsplit(|byte| *byte == b',') {
            let part = std::str::from_utf8(part).map_err(|_| ForwardedError::NotAddresses)?;
            let ip: IpAddr =
                part.trim_matches([' ', '\t']).parse().map_err(|_| ForwardedError::NotAddresses)?;
            let ip = ip.to_canonical();
            if !is_peer(ip) {
                return Ok(ip);
            }
            leftmost = Ok(ip);
        }
    }
    leftmost
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");

    fn is_peer(ip: IpAddr) -> bool {
        ip.to_string().starts_with("192.0.2.")
    }

    fn of(lines: &[&str]) -> Result<IpAddr, ForwardedError> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(NAME, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client(&fields, &NAME, is_peer)
    }

    #[test]
    fn the_rightmost_address_that_is_no_peers_is_the_clients() {
        use ForwardedError::{Missing, NotAddresses};
        #[rustfmt::skip]
        let table: &[(&str, &[&str], Result<&str, ForwardedError>)] = &[
            ("one",                         &["203.0.113.9"],                            Ok("203.0.113.9")),
            ("IPv6",                        &["2001:db8::1"],                            Ok("2001:db8::1")),
            ("IPv4 in IPv6",                &["::ffff:203.0.113.9"],                     Ok("203.0.113.9")),
            ("through two peers",           &["203.0.113.9, 192.0.2.7"],                 Ok("203.0.113.9")),
            ("the client's own claim",      &["10.0.0.1, 203.0.113.9"],                  Ok("203.0.113.9")),
            ("a claim to be a peer",        &["10.0.0.1, 192.0.2.7, 203.0.113.9"],       Ok("203.0.113.9")),
            ("two lines",                   &["10.0.0.1", "203.0.113.9,192.0.2.7"],      Ok("203.0.113.9")),
            ("the client in the first line", &["203.0.113.9", "192.0.2.7"],              Ok("203.0.113.9")),
            ("peers only",                  &["192.0.2.8, 192.0.2.7"],                   Ok("192.0.2.8")),
            ("none",                        &[],                                         Err(Missing)),
            ("empty",                       &[""],                                       Err(NotAddresses)),
            ("an empty element",            &["203.0.113.9,"],                           Err(NotAddresses)),
            ("a word at the left",          &["unknown, 203.0.113.9"],                   Ok("203.0.113.9")),
            ("not ASCII at the left",       &["\u{a0}, 203.0.113.9"],                    Ok("203.0.113.9")),
            ("a word left of peers only",   &["unknown, 192.0.2.7"],                     Err(NotAddresses)),
            ("a word at the right",         &["203.0.113.9, unknown"],                   Err(NotAddresses)),
            ("a port",                      &["203.0.113.9:4711"],                       Err(NotAddresses)),
            ("brackets",                    &["[2001:db8::1]"],                          Err(NotAddresses)),
            ("a network",                   &["203.0.113.0/24"],                         Err(NotAddresses)),
            ("leading zeros",               &["203.0.113.009"],                          Err(NotAddresses)),
            ("a zone",                      &["fe80::1%eth0"],                           Err(NotAddresses)),
            ("blanks for commas",           &["203.0.113.9 192.0.2.7"],                  Err(NotAddresses)),
            ("quotes",                      &["\"203.0.113.9\""],                        Err(NotAddresses)),
            ("not ASCII",                   &["203.0.113.9\u{a0}"],                      Err(NotAddresses)),
        ];
        for (case, lines, expected) in table {
            assert_eq!(of(lines), expected.map(|ip| ip.parse().unwrap()), "{case}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_moves_its_address(claim in "[ -~]{0,40}", ip in any::<std::net::Ipv4Addr>()) {
            prop_assume!(!is_peer(ip.into()));
            let seen = of(&[&claim, &format!("{ip}, 192.0.2.7")]);
            prop_assert_eq!(seen, Ok(ip.into()));
        }
    }
}
