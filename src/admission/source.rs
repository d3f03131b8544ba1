//! Allow and deny lists, bans, and what limits count by (pure).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{ban::Bans, networks::Networks};
use crate::time::Timestamp;

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

impl SourcePrefix {
    /// The IPv6 /48 that it belongs to, of which one customer often has all /64s; IPv4 has nothing alike.
    #[must_use]
    pub fn site(self) -> Option<SitePrefix> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(SitePrefix(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48)))),
        }
    }

    /// The network of all its addresses.
    #[must_use]
    pub fn network(self) -> IpNet {
        match self.0 {
            IpAddr::V4(v4) => Ipv4Net::from(v4).into(),
            IpAddr::V6(v6) => Ipv6Net::new(v6, 64).unwrap_or(Ipv6Net::from(v6)).into(),
        }
    }
}

/// An IPv6 /48. Limits count by it as well, with a higher quota; nothing else does: a provider may have
/// given it to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SitePrefix(Ipv6Addr);

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
    /// A ban is in force.
    #[error("address in a banned network")]
    Banned,
}

/// Judges a canonical address: `deny` wins, what `allow` does not name is refused, and so is what is
/// banned at `now`.
pub(super) fn judge(
    ip: IpAddr,
    allow: &Networks,
    deny: &Networks,
    bans: &Bans,
    now: Timestamp,
) -> Result<(), SourceRefusal> {
    if deny.hold(ip) {
        Err(SourceRefusal::Denied)
    } else if !allow.hold(ip) {
        Err(SourceRefusal::NotAllowed)
    } else if bans.hold(ip, now) {
        Err(SourceRefusal::Banned)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn bans(list: &[(&str, Option<i64>)]) -> Bans {
        let mut bans = Bans::default();
        for (network, until) in list {
            bans.set(network.parse().unwrap(), until.map(at).or(Some(Timestamp::MAX)));
        }
        bans
    }

    fn nets(texts: &[&str]) -> Networks {
        let list: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks::new(&list)
    }

    #[test]
    fn deny_wins_over_allow_and_what_is_not_named_is_refused() {
        use SourceRefusal::{Banned, Denied, NotAllowed};
        let (allow, deny) = (nets(&["10.0.0.0/8", "fd00::/8"]), nets(&["10.66.0.0/16", "192.0.2.0/24"]));
        let bans = bans(&[("10.1.2.3/32", Some(100)), ("fd12:0:0:7::/64", None), ("10.66.0.0/16", None)]);
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
            ("banned",                     "10.1.2.3",        Err(Banned)),
            ("beside the banned",          "10.1.2.4",        Ok(())),
            ("in a banned IPv6 /64",       "fd12:0:0:7::9",   Err(Banned)),
            ("in the /64 beside",          "fd12:0:0:8::9",   Ok(())),
            ("denied and banned",          "10.66.0.1",       Err(Denied)),
        ];
        for (case, ip, verdict) in table {
            assert_eq!(judge(ip.parse().unwrap(), &allow, &deny, &bans, at(99)), verdict, "{case}");
        }
        let banned = "10.1.2.3".parse().unwrap();
        assert_eq!(judge(banned, &allow, &deny, &bans, at(100)), Ok(()), "the ban is over");
        let nobody = judge("10.0.0.1".parse().unwrap(), &nets(&[]), &nets(&[]), &Bans::default(), at(0));
        assert_eq!(nobody, Err(NotAllowed), "nothing allowed");
    }

    #[test]
    fn a_source_knows_its_network_and_its_site() {
        #[rustfmt::skip]
        let table = [
            ("192.0.2.1",             "192.0.2.1/32",          None),
            ("::ffff:192.0.2.1",      "192.0.2.1/32",          None),
            ("2001:db8:1:2:3::4",     "2001:db8:1:2::/64",     Some("2001:db8:1::")),
            ("2001:db8:1:ffff::",     "2001:db8:1:ffff::/64",  Some("2001:db8:1::")),
        ];
        for (ip, network, site) in table {
            let source = SourcePrefix::of(ip.parse().unwrap());
            let site = site.map(|site| SitePrefix(site.parse().unwrap()));
            assert_eq!((source.network(), source.site()), (network.parse().unwrap(), site), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn an_address_in_a_denied_network_is_never_admitted(bits in any::<u32>(), length in 0_u8..=32) {
            let ip = IpAddr::V4(bits.into());
            let denied = IpNet::new(ip, length).unwrap();
            let everybody = nets(&["0.0.0.0/0"]);
            prop_assert_eq!(judge(ip, &everybody, &Networks::new(&[denied]), &Bans::default(), at(0)), Err(SourceRefusal::Denied));
        }

        #[test]
        fn a_ban_holds_exactly_the_addresses_of_its_network(bits in any::<u32>(), other in any::<u32>(), length in 0_u8..=32) {
            let banned = IpNet::new(IpAddr::V4(bits.into()), length).unwrap();
            let mut bans = Bans::default();
            bans.set(banned, Some(at(10)));
            let ip = IpAddr::V4(other.into());
            prop_assert!(bans.hold(IpAddr::V4(bits.into()), at(9)));
            prop_assert_eq!(bans.hold(ip, at(9)), banned.contains(&ip));
        }

        #[test]
        fn every_address_of_a_slash_64_has_one_prefix(network in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
            let address = |host: u64| IpAddr::V6((u128::from(network) << 64 | u128::from(host)).into());
            prop_assume!(!matches!(address(a).to_canonical(), IpAddr::V4(_)) && !matches!(address(b).to_canonical(), IpAddr::V4(_)));
            prop_assert_eq!(SourcePrefix::of(address(a)), SourcePrefix::of(address(b)));
        }
    }
}
