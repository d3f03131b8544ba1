//! Addresses: where the gate listens, where its name leads, who is let in, and ways around it.

use std::net::{IpAddr, SocketAddr};

use super::{Finding, Id};

/// What became of trying to bind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// It is free: no gate is running there.
    Free,
    /// The gate has it.
    Ours {
        /// Its process.
        pid: u32,
    },
    /// Another program has it.
    Taken {
        /// Which; `None` where it is somebody else's and we are not root.
        by: Option<(u32, String)>,
    },
    /// It can't be bound, for another reason.
    Unbound(String),
}

/// Judges the addresses to listen on.
#[must_use]
pub fn judge_ports(ports: &[(SocketAddr, Port)]) -> Vec<Finding> {
    let one = |(address, port): &(SocketAddr, Port)| match port {
        Port::Free => Finding::ok(Id::Ports, format!("{address} is free; the gate is not running there")),
        Port::Ours { pid } => Finding::ok(Id::Ports, format!("{address}, the running gate (pid {pid})")),
        Port::Taken { by: Some((pid, name)) } => Finding::problem(
            Id::Ports,
            format!("{address} is taken by {name} (pid {pid})"),
            "stop it, or choose another address in server.listen",
        ),
        Port::Taken { by: None } => Finding::warning(
            Id::Ports,
            format!("{address} is taken, by the gate or by another program"),
            "run the check as root to learn by which",
        ),
        Port::Unbound(reason) => Finding::problem(
            Id::Ports,
            reason.as_str(),
            "the gate does not start there: see server.listen in docs/configuration.md",
        ),
    };
    ports.iter().map(one).collect()
}

/// Where the public name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The host of the public URL.
    pub host: String,
    /// What it resolves to, or why it does not.
    pub leads_to: Result<Vec<IpAddr>, String>,
    /// Addresses of this machine.
    pub own: Vec<IpAddr>,
    /// Whether other peers may stand in front of the gate.
    pub has_peers: bool,
}

/// Judges where the public name leads.
#[must_use]
pub fn judge_dns(dns: &Dns) -> Vec<Finding> {
    let Dns { host, leads_to, own, has_peers } = dns;
    let found = match leads_to {
        Err(reason) => {
            return vec![Finding::warning(
                Id::Dns,
                format!("{host} does not resolve here: {reason}"),
                "browsers need the name: add it to your DNS, or to the hosts file of each device",
            )];
        }
        Ok(found) => found,
    };
    let listed = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    vec![if found.iter().any(|address| own.contains(address)) {
        Finding::ok(Id::Dns, format!("{host} leads to {listed}"))
    } else if *has_peers {
        Finding::info(
            Id::Dns,
            format!("{host} leads to {listed}, which should be the peer in front of the gate"),
        )
    } else {
        Finding::warning(
            Id::Dns,
            format!("{host} leads to {listed}, which is no address of this machine"),
            "right behind a router that forwards the port; otherwise correct the DNS entry",
        )
    }]
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Entries of `access.allow`.
    pub allowed: usize,
    /// From where the person who runs the check is logged in, and why that address would be refused.
    pub ssh_peer: Option<(IpAddr, Result<(), String>)>,
    /// In a container: the gateway, if every session there is came from it.
    pub only_gateway: Option<IpAddr>,
}

/// Judges who is let in.
#[must_use]
pub fn judge_access(access: &Access) -> Vec<Finding> {
    let Access { allowed, ssh_peer, only_gateway } = access;
    let mut findings = Vec::new();
    if *allowed == 0 {
        findings.push(Finding::problem(
            Id::Access,
            "access.allow is empty: nobody gets in",
            "name your networks in access.allow",
        ));
    }
    if let Some((peer, Err(reason))) = ssh_peer {
        findings.push(Finding::warning(
            Id::Access,
            format!("you are logged in from {peer}, which the gate refuses: {reason}"),
            format!("`pvegate access explain {peer}` says which rule; add the network to access.allow if it is yours"),
        ));
    }
    if let Some(gateway) = only_gateway {
        findings.push(Finding::problem(
            Id::Access,
            format!("every session came from {gateway}, the container's gateway: the address list sees nobody else"),
            "give the container its clients' addresses: host networking, or a proxy with the PROXY protocol",
        ));
    }
    if findings.is_empty() {
        let you = ssh_peer.as_ref().map(|(peer, _)| format!(", you ({peer}) among them")).unwrap_or_default();
        let networks = if *allowed == 1 { "network" } else { "networks" };
        findings.push(Finding::ok(Id::Access, format!("{allowed} {networks} allowed{you}")));
    }
    findings
}

/// Ways around the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideDoor {
    /// Whether a node of Proxmox VE is this machine.
    pub upstream_is_here: bool,
    /// Addresses of this machine, others than loopback, at which pveproxy answers without the gate.
    pub open: Vec<SocketAddr>,
}

/// Judges ways around the gate.
#[must_use]
pub fn judge_side_door(door: &SideDoor) -> Vec<Finding> {
    if !door.upstream_is_here {
        return vec![Finding::info(
            Id::Sidedoor,
            "Proxmox VE is on other machines: whether they answer others than the gate is for their firewall",
        )];
    }
    if door.open.is_empty() {
        return vec![Finding::ok(Id::Sidedoor, "pveproxy answers on loopback only")];
    }
    let open = door.open.iter().map(|address| format!("https://{address}")).collect::<Vec<_>>().join(", ");
    vec![Finding::warning(
        Id::Sidedoor,
        format!("{open} still answers without the gate"),
        "close it: LISTEN_IP=\"127.0.0.1\" in /etc/default/pveproxy, or a firewall",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Info, Ok as Good, Problem, Warning};

    fn told(findings: &[Finding]) -> Vec<(Severity, &str)> {
        findings.iter().map(|f| (f.severity, f.text.as_str())).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_ours_free_or_in_the_way_of_somebody_with_a_name() {
        let address: SocketAddr = "0.0.0.0:443".parse().unwrap();
        #[rustfmt::skip]
        let table = [
            (Port::Free,                                        Good,    "0.0.0.0:443 is free; the gate is not running there"),
            (Port::Ours { pid: 7 },                             Good,    "0.0.0.0:443, the running gate (pid 7)"),
            (Port::Taken { by: Some((8, "nginx".into())) },     Problem, "0.0.0.0:443 is taken by nginx (pid 8)"),
            (Port::Taken { by: None },                          Warning, "0.0.0.0:443 is taken, by the gate or by another program"),
            (Port::Unbound("not ours".into()),                  Problem, "not ours"),
        ];
        for (port, severity, text) in table {
            assert_eq!(told(&judge_ports(&[(address, port)])), [(severity, text)]);
        }
    }

    #[test]
    fn the_public_name_leads_here() {
        let dns = |leads_to: Result<&[&str], &str>, has_peers| Dns {
            host: "pve.lan".into(),
            leads_to: leads_to.map(|list| list.iter().map(|text| ip(text)).collect()).map_err(str::to_owned),
            own: vec![ip("10.0.0.5"), ip("127.0.0.1")],
            has_peers,
        };
        #[rustfmt::skip]
        let table: [(Dns, Severity, &str); 4] = [
            (dns(Ok(&["10.0.0.9", "10.0.0.5"]), false), Good,    "pve.lan leads to 10.0.0.9, 10.0.0.5"),
            (dns(Ok(&["10.0.0.9"]), false),             Warning, "pve.lan leads to 10.0.0.9, which is no address of this machine"),
            (dns(Ok(&["10.0.0.9"]), true),              Info,    "pve.lan leads to 10.0.0.9, which should be the peer in front of the gate"),
            (dns(Err("no such host"), false),           Warning, "pve.lan does not resolve here: no such host"),
        ];
        for (dns, severity, text) in table {
            assert_eq!(told(&judge_dns(&dns)), [(severity, text)]);
        }
    }

    #[test]
    fn whoever_runs_the_check_can_reach_the_gate_and_people_can_be_told_apart() {
        let access = |allowed, ssh_peer: Option<Result<(), &str>>, gateway: Option<&str>| Access {
            allowed,
            ssh_peer: ssh_peer.map(|verdict| (ip("203.0.113.9"), verdict.map_err(str::to_owned))),
            only_gateway: gateway.map(ip),
        };
        #[rustfmt::skip]
        let table: [(Access, Severity, &str); 6] = [
            (access(7, None, None),                     Good,    "7 networks allowed"),
            (access(1, Some(Ok(())), None),             Good,    "1 network allowed, you (203.0.113.9) among them"),
            (access(7, Some(Err("not in access.allow")), None), Warning, "you are logged in from 203.0.113.9, which the gate refuses: not in access.allow"),
            (access(0, None, None),                     Problem, "access.allow is empty: nobody gets in"),
            (access(1, None, Some("172.17.0.1")),       Problem, "every session came from 172.17.0.1, the container's gateway: the address list sees nobody else"),
            (access(2, Some(Ok(())), None),             Good,    "2 networks allowed, you (203.0.113.9) among them"),
        ];
        for (access, severity, text) in table {
            assert_eq!(told(&judge_access(&access)), [(severity, text)]);
        }
    }

    #[test]
    fn an_open_side_door_is_told_with_its_address() {
        let door = |upstream_is_here, open: &[&str]| SideDoor {
            upstream_is_here,
            open: open.iter().map(|text| text.parse().unwrap()).collect(),
        };
        #[rustfmt::skip]
        let table = [
            (door(true, &[]),                      Good,    "pveproxy answers on loopback only"),
            (door(true, &["192.168.1.10:8006"]),   Warning, "https://192.168.1.10:8006 still answers without the gate"),
            (door(false, &[]),                     Info,    "Proxmox VE is on other machines: whether they answer others than the gate is for their firewall"),
        ];
        for (door, severity, text) in table {
            assert_eq!(told(&judge_side_door(&door)), [(severity, text)]);
        }
    }
}
