//! Sets of networks (pure): asked for every connection, and as long as a list of countries may be.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks, for the one question whether some of them has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Networks {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().into(), network.broadcast().into())),
                IpNet::V6(network) => v6.push((network.network().into(), network.broadcast().into())),
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// Whether one of them has this canonical address.
    pub(super) fn hold(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.hold(ip.into()),
            IpAddr::V6(ip) => self.v6.hold(ip.into()),
        }
    }
}

/// First and last addresses, in order, none within another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges<T>(Vec<(T, T)>);

impl<T: Ord + Copy> Ranges<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        // The widest of those with the same beginning first. Two networks are apart, or one has the other.
        ranges.sort_unstable_by(|(first, last), (other, end)| first.cmp(other).then(end.cmp(last)));
        ranges.dedup_by(|(_, last), (_, end)| *last <= *end);
        ranges.shrink_to_fit();
        Self(ranges)
    }

    fn hold(&self, address: T) -> bool {
        let begun = self.0.partition_point(|(first, _)| *first <= address);
        begun.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_has_its_first_and_its_last_address_and_neither_neighbour() {
        #[rustfmt::skip]
        let table = [
            // networks                                       address             held
            (&["10.1.0.0/16"][..],                            "10.0.255.255",     false),
            (&["10.1.0.0/16"],                                "10.1.0.0",         true),
            (&["10.1.0.0/16"],                                "10.1.255.255",     true),
            (&["10.1.0.0/16"],                                "10.2.0.0",         false),
            // One inside another, at its beginning, in its middle and at its end.
            (&["10.0.0.0/16", "10.0.0.0/8"],                  "10.200.0.1",       true),
            (&["10.0.0.0/8", "10.9.0.0/16"],                  "10.200.0.1",       true),
            (&["10.255.0.0/16", "10.0.0.0/8"],                "11.0.0.0",         false),
            (&["10.0.0.0/8", "10.0.0.0/8"],                   "10.0.0.1",         true),
            (&["0.0.0.0/0"],                                  "255.255.255.255",  true),
            (&["255.255.255.255/32"],                         "255.255.255.254",  false),
            (&["::/0"],                                       "ffff::",           true),
            // Neither family has the other's.
            (&["0.0.0.0/0"],                                  "::",               false),
            (&["::/0"],                                       "0.0.0.0",          false),
            (&[],                                             "0.0.0.0",          false),
        ];
        for (networks, ip, held) in table {
            let list: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(Networks::new(&list).hold(ip.parse().unwrap()), held, "{ip} in {networks:?}");
        }
    }

    proptest! {
        /// Networks and addresses of few bits, so that they meet; short prefixes, so that they nest.
        #[test]
        fn a_set_holds_what_one_of_its_networks_has(
            v4 in prop::collection::vec((0_u32..64, 24_u8..=32), 0..12),
            v6 in prop::collection::vec((0_u128..64, 120_u8..=128), 0..12),
            address in 0_u32..80,
        ) {
            let v4 = v4.iter().map(|(bits, length)| IpNet::new(Ipv4Addr::from(*bits).into(), *length));
            let v6 = v6.iter().map(|(bits, length)| IpNet::new(Ipv6Addr::from(*bits).into(), *length));
            let list: Vec<IpNet> = v4.chain(v6).map(Result::unwrap).collect();
            let set = Networks::new(&list);
            for ip in [IpAddr::from(Ipv4Addr::from(address)), Ipv6Addr::from(u128::from(address)).into()] {
                let walked = list.iter().any(|network| network.contains(&ip));
                prop_assert_eq!(set.hold(ip), walked, "{} in {:?}", ip, list);
            }
        }
    }
}
