//! Allow and deny lists (pure).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// What limits count by: an IPv4 address, or an IPv6 /64, of which one client has all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePrefix(IpAddr);

impl SourcePrefix {
    /// The prefix that a canonical address belongs to.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))),
        }
    }
}

/// `203.0.113.9` or `2001:db8:1:2::/64`.
impl std::fmt::Display for SourcePrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// Why the lists refuse an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceRefusal {
    /// A denied network holds it.
    #[error("address in a denied network")]
    Denied,
    /// No allowed network holds it.
    #[error("address in no allowed network")]
    NotAllowed,
}

/// Judges a canonical address: `deny` wins, and what `allow` does not name is refused.
pub(super) fn judge(ip: IpAddr, allow: &[IpNet], deny: &[IpNet]) -> Result<(), SourceRefusal> {
    let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ip));
    if holds(deny) {
        Err(SourceRefusal::Denied)
    } else if holds(allow) {
        Ok(())
    } else {
        Err(SourceRefusal::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn deny_wins_over_allow_and_what_is_not_named_is_refused() {
        use SourceRefusal::{Denied, NotAllowed};
        let (allow, deny) = (nets(&["10.0.0.0/8", "fd00::/8"]), nets(&["10.66.0.0/16", "192.0.2.0/24"]));
        #[rustfmt::skip]
        let table = [
            ("allowed",                    "10.0.0.1",        Ok(())),
            ("first of the network",       "10.0.0.0",        Ok(())),
            ("last of the network",        "10.255.255.255",  Ok(())),
            ("one past",                   "11.0.0.0",        Err(NotAllowed)),
            ("denied inside allowed",      "10.66.1.1",       Err(Denied)),
            ("denied only",                "192.0.2.1",       Err(Denied)),
            ("allowed IPv6",               "fd12::1",         Ok(())),
            ("other IPv6",                 "2001:db8::1",     Err(NotAllowed)),
        ];
        for (case, ip, verdict) in table {
            assert_eq!(judge(ip.parse().unwrap(), &allow, &deny), verdict, "{case}");
        }
        assert_eq!(judge("10.0.0.1".parse().unwrap(), &[], &[]), Err(NotAllowed), "nothing allowed");
    }

    proptest! {
        #[test]
        fn an_address_in_a_denied_network_is_never_admitted(bits in any::<u32>(), length in 0_u8..=32) {
            let ip = IpAddr::V4(bits.into());
            let denied = IpNet::new(ip, length).unwrap();
            prop_assert_eq!(judge(ip, &nets(&["0.0.0.0/0"]), &[denied]), Err(SourceRefusal::Denied));
        }

        #[test]
        fn every_address_of_a_slash_64_has_one_prefix(network in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
            let address = |host: u64| IpAddr::V6((u128::from(network) << 64 | u128::from(host)).into());
            prop_assume!(!matches!(address(a).to_canonical(), IpAddr::V4(_)) && !matches!(address(b).to_canonical(), IpAddr::V4(_)));
            prop_assert_eq!(SourcePrefix::of(address(a)), SourcePrefix::of(address(b)));
        }
    }
}
