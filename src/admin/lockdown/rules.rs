//! What closes the way around the gate: rules for nftables, and lines for pveproxy. Text only; applying it is the
//! verb's.
//!
//! `deploy/firewall/` has both for addresses of an example, written from here.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use ipnet::IpNet;

/// Ports that lead around the gate: pveproxy's and spiceproxy's.
pub(in crate::admin) const CLOSED: [u16; 2] = [3128, 8006];

/// Who may still use the closed ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Lockdown {
    gates: BTreeSet<IpNet>,
    /// The gates as well.
    inside: BTreeSet<IpNet>,
}

/// How long the rules close anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Lasting {
    /// Until they are taken away.
    Always,
    /// So long; then the kernel itself forgets the ports. Whole seconds.
    For(Duration),
}

/// Why nothing is to be closed like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::admin) enum Refusal {
    /// The network is everybody.
    #[error("{network} is everybody: that would close nothing")]
    Everybody {
        /// As it was given.
        network: IpNet,
    },
    /// Whoever asks is here by one of the ports.
    #[error("you are here by SSH on port {port}, which would be closed: that would lock you out")]
    SshIsThere {
        /// The port of this host's `sshd`.
        port: u16,
    },
}

impl Lockdown {
    /// `gates` and `peers` (the nodes of the cluster, which proxy to each other) stay inside.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; `ssh` is the port by which whoever asks is connected.
    pub(in crate::admin) fn new(gates: &[IpNet], peers: &[IpNet], ssh: Option<u16>) -> Result<Self, Refusal> {
        let gates: BTreeSet<IpNet> = gates.iter().map(IpNet::trunc).collect();
        let inside: BTreeSet<IpNet> = peers.iter().map(IpNet::trunc).chain(gates.iter().copied()).collect();
        if let Some(network) = inside.iter().find(|network| network.prefix_len() == 0) {
            return Err(Refusal::Everybody { network: *network });
        }
        match ssh.filter(|port| CLOSED.contains(port)) {
            Some(port) => Err(Refusal::SshIsThere { port }),
            None => Ok(Self { gates, inside }),
        }
    }

    /// Who stays inside, as text.
    pub(in crate::admin) fn inside(&self) -> Vec<String> {
        self.inside.iter().map(|network| short(*network)).collect()
    }

    /// A table of its own for `nft -f`. It takes the place of an earlier one at once, and nothing else changes.
    ///
    /// Only the two ports are ever dropped: a list of what may pass that ends in a drop would cut corosync and
    /// IPv6 neighbour discovery off.
    pub(in crate::admin) fn nft(&self, lasting: Lasting) -> String {
        let of = |is_of: fn(&&IpNet) -> bool| {
            let networks: Vec<_> = self.inside.iter().filter(is_of).map(|network| short(*network)).collect();
            if networks.is_empty() {
                String::new()
            } else {
                format!("\n        elements = {{ {} }}", networks.join(", "))
            }
        };
        let (v4, v6) =
            (of(|network| matches!(network, IpNet::V4(_))), of(|network| matches!(network, IpNet::V6(_))));
        let ports = match lasting {
            Lasting::Always => {
                let ports = CLOSED.map(|port| port.to_string()).join(", ");
                format!("        elements = {{ {ports} }}")
            }
            Lasting::For(length) => {
                let ports = CLOSED.map(|port| format!("{port} timeout {}s", length.as_secs())).join(", ");
                format!("        flags timeout\n        elements = {{ {ports} }}")
            }
        };
        format!(
            "\
#!/usr/sbin/nft -f
# Closes the way around the gate on a node of Proxmox VE: pveproxy (8006) and spiceproxy (3128) answer the gate
# and the nodes of the cluster only. Everything else, SSH and corosync among it, is as it was.
#
# Written by pvegate {version}: `pvegate lockdown` prints it with your own addresses.
# To take it away: pvegate lockdown --revert, or: nft delete table inet pvegate

# Makes the next line right whether the table is there or not.
table inet pvegate
delete table inet pvegate

table inet pvegate {{
    # The gate, and every node of the cluster: nodes proxy to each other.
    set inside4 {{
        type ipv4_addr
        flags interval
        auto-merge{v4}
    }}
    set inside6 {{
        type ipv6_addr
        flags interval
        auto-merge{v6}
    }}
    set closed {{
        type inet_service
{ports}
    }}
    # \"accept\" ends this chain only: other tables still have their say.
    chain side_door {{
        type filter hook input priority filter - 5; policy accept;
        iif \"lo\" accept
        ip saddr @inside4 accept
        ip6 saddr @inside6 accept
        tcp dport @closed limit rate 6/minute burst 5 packets log prefix \"pvegate side door: \" level info
        tcp dport @closed counter drop
    }}
}}
",
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    /// Lines for /etc/default/pveproxy. `field` is the one in which the gate tells the client's address.
    pub(in crate::admin) fn pveproxy(&self, field: &str) -> String {
        let mut lines = format!(
            "\
# Lines for /etc/default/pveproxy, written by pvegate {version}. Then, which ends open consoles:
#   systemctl restart pveproxy spiceproxy

# The gate, every node of the cluster, and this node itself: ssh -L 8006:127.0.0.1:8006 is the way in when the
# gate is down. What is in ALLOW_FROM and in DENY_FROM is allowed.
",
            version = env!("CARGO_PKG_VERSION"),
        );
        let gates: Vec<_> = self.gates.iter().map(|network| short(*network)).collect();
        let mut allowed = self.inside();
        if !allowed.iter().any(|network| network == "127.0.0.1") {
            allowed.push("127.0.0.1".to_owned());
        }
        for (name, value) in [
            ("ALLOW_FROM", allowed.join(",")),
            ("DENY_FROM", "all".to_owned()),
            ("POLICY", "allow".to_owned()),
            ("PROXY_REAL_IP_HEADER", field.to_owned()),
            ("PROXY_REAL_IP_ALLOW_FROM", gates.join(",")),
        ] {
            let _ = writeln!(lines, "{name}=\"{value}\"");
        }
        lines
    }
}

/// A network, or the address if it is of one.
fn short(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn networks(text: &[&str]) -> Vec<IpNet> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[track_caller]
    fn assert_shipped(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/firewall").join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{name} is not current: UPDATE=1 cargo test --lib lockdown");
    }

    #[test]
    fn what_is_shipped_is_what_the_verb_prints_for_the_addresses_of_the_example() {
        let lockdown =
            Lockdown::new(&networks(&["10.0.0.5/32"]), &networks(&["10.0.0.8/29", "fd00::/64"]), None)
                .unwrap();

        assert_shipped("pvegate.nft", &lockdown.nft(Lasting::Always));
        assert_shipped("pveproxy.default", &lockdown.pveproxy("X-Forwarded-For"));
    }

    #[test]
    fn nothing_is_closed_that_would_let_everybody_in_or_lock_out_who_asks() {
        #[rustfmt::skip]
        let table = [
            // gate           peer           ssh          refused
            ("10.0.0.5/32",   "10.0.0.8/29", Some(22),    None),
            ("10.0.0.5/32",   "10.0.0.8/29", None,        None),
            ("10.0.0.5/32",   "0.0.0.0/0",   Some(22),    Some("0.0.0.0/0 is everybody")),
            ("::/0",          "10.0.0.8/29", Some(22),    Some("::/0 is everybody")),
            ("10.0.0.5/32",   "10.0.0.8/29", Some(8006),  Some("port 8006")),
            ("10.0.0.5/32",   "10.0.0.8/29", Some(3128),  Some("port 3128")),
        ];
        for (gate, peer, ssh, refused) in table {
            let made = Lockdown::new(&networks(&[gate]), &networks(&[peer]), ssh);
            let said = made.err().map(|refusal| refusal.to_string());
            assert_eq!(said.is_some(), refused.is_some(), "{gate} {peer} {ssh:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(refused.unwrap_or_default()), "{gate} {peer} {ssh:?}");
        }
    }

    #[test]
    fn only_two_ports_are_dropped_and_unconfirmed_ones_end_by_themselves() {
        let lockdown = Lockdown::new(&networks(&["10.0.0.5/32"]), &[], None).unwrap();

        for lasting in [Lasting::Always, Lasting::For(Duration::from_secs(300))] {
            let rules = lockdown.nft(lasting);
            let drops: Vec<_> = rules.lines().filter(|line| line.trim_end().ends_with("drop")).collect();
            assert_eq!(drops, ["        tcp dport @closed counter drop"]);
            assert!(rules.contains("policy accept"));
        }
        let rules = lockdown.nft(Lasting::For(Duration::from_secs(300)));
        assert!(rules.contains("elements = { 3128 timeout 300s, 8006 timeout 300s }"), "{rules}");
    }
}
