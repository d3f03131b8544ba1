//! The firewall's rules, loaded into a real kernel: what they close, what they leave open, and that they end by
//! themselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::ErrorKind,
    net::{TcpListener, UdpSocket},
};

use serde_json::Value;

use super::{namespace::Host, run, shipped, skipped};
use crate::harness::{program, until};

/// A node of Proxmox VE, the gate before it, another node, and somebody who is none of these.
struct Network {
    node: Host,
    gate: Host,
    peer: Host,
    stranger: Host,
    /// pveproxy, spiceproxy and sshd of the node, over both protocols.
    _services: Vec<TcpListener>,
    corosync: UdpSocket,
}

impl Network {
    fn start(what: &str) -> Option<Self> {
        if !std::path::Path::new("/usr/sbin/nft").exists() {
            skipped(what, "nft is not there");
            return None;
        }
        let (node, gate) = (Host::start(what)?, Host::start(what)?);
        let (peer, stranger) = (Host::start(what)?, Host::start(what)?);
        for (i, (name, host)) in
            [("gate", &gate), ("peer", &peer), ("stranger", &stranger)].into_iter().enumerate()
        {
            let of = |end: &str| [format!("10.77.{i}.{end}/24"), format!("fd77:{i}::{end}/64")];
            let (ours, theirs) = (of("1"), of("2"));
            node.connect(name, &[&ours[0], &ours[1]], host, &[&theirs[0], &theirs[1]]);
        }
        let services = ["0.0.0.0:8006", "0.0.0.0:3128", "0.0.0.0:22"].map(|addr| node.listen(addr));
        let corosync = node.inside(|| UdpSocket::bind("0.0.0.0:5405").unwrap());
        let mut services = Vec::from(services);
        // The same ports over IPv6 alone.
        for i in 0..3 {
            services.extend(["8006", "3128", "22"].map(|port| node.listen(&format!("[fd77:{i}::1]:{port}"))));
        }
        Some(Self { node, gate, peer, stranger, _services: services, corosync })
    }

    /// `pvegate lockdown` on the node.
    fn lockdown(&self, args: &[&str]) -> std::process::Output {
        self.node.output(program(), &[&["--json", "lockdown"], args].concat())
    }

    fn apply(&self, more: &[&str]) -> Value {
        let sets = ["--apply", "--gate", "10.77.0.2", "--gate", "fd77:0::2", "--peer", "10.77.1.0/24"];
        let applied = self.lockdown(&[&sets[..], more].concat());
        assert!(applied.status.success(), "{applied:?}");
        serde_json::from_slice(&applied.stdout).unwrap()
    }

    fn packets_dropped(&self) -> bool {
        let rules = self.node.run("nft", &["list", "chain", "inet", "pvegate", "side_door"]);
        let drop = rules.lines().find(|line| line.trim_end().ends_with("drop")).unwrap();
        !drop.contains("packets 0 ")
    }
}

#[test]
fn nft_takes_the_shipped_rules() {
    let Some(host) = Host::start("nft -c on the shipped rules") else { return };
    let rules = shipped("firewall/pvegate.nft").display().to_string();

    host.run("/usr/sbin/nft", &["-c", "-f", &rules]);
}

#[test]
fn systemd_takes_the_unit_that_loads_them() {
    let unit = shipped("firewall/pvegate-lockdown.service").display().to_string();

    run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", &unit]);
}

#[test]
fn a_stranger_no_longer_gets_round_the_gate_and_nothing_else_is_closed() {
    let Some(net) = Network::start("the firewall in namespaces") else { return };
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Ok(()), "before, it was open");

    let applied = net.apply(&[]);

    assert_eq!(applied["state"], "applied");
    assert!(applied["reverts_at"].is_string());
    let closed = Err(ErrorKind::TimedOut);
    #[rustfmt::skip]
    let table = [
        // who             to                   reached
        (&net.stranger, "10.77.2.1:8006",    closed),
        (&net.stranger, "10.77.2.1:3128",    closed),
        (&net.stranger, "10.77.2.1:22",      Ok(())),
        (&net.stranger, "[fd77:2::1]:8006",  closed),
        (&net.stranger, "[fd77:2::1]:3128",  closed),
        (&net.stranger, "[fd77:2::1]:22",    Ok(())),
        (&net.gate,     "10.77.0.1:8006",    Ok(())),
        (&net.gate,     "10.77.0.1:3128",    Ok(())),
        (&net.gate,     "[fd77:0::1]:8006",  Ok(())),
        (&net.peer,     "10.77.1.1:8006",    Ok(())),
        (&net.peer,     "10.77.1.1:3128",    Ok(())),
        (&net.peer,     "[fd77:1::1]:8006",  closed),
        (&net.node,     "127.0.0.1:8006",    Ok(())),
        (&net.node,     "10.77.2.1:8006",    Ok(())),
    ];
    for (who, to, reached) in table {
        // Neighbours are searched for anew each time: their discovery is not in the way of anything.
        who.run("ip", &["neighbour", "flush", "all"]);
        net.node.run("ip", &["neighbour", "flush", "all"]);
        assert_eq!(who.reaches(to), reached, "{to}");
    }
    assert!(net.packets_dropped());
    assert!(net.peer.is_heard_at("10.77.1.1:5405", &net.corosync), "corosync of another node");
    assert!(net.stranger.is_heard_at("10.77.2.1:5405", &net.corosync), "UDP is not the firewall's business");
}

#[tokio::test]
async fn what_nobody_confirms_opens_by_itself_without_any_process_of_ours() {
    let Some(net) = Network::start("the firewall's own end") else { return };

    net.apply(&["--revert-after", "3s"]);

    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Err(ErrorKind::TimedOut));
    until("the kernel has opened it again", async || net.stranger.reaches("10.77.2.1:8006").is_ok()).await;
    assert_eq!(net.stranger.reaches("10.77.2.1:3128"), Ok(()));
    let late = net.lockdown(&["--confirm"]);
    assert_eq!(late.status.code(), Some(4), "{late:?}");
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Ok(()), "a late confirmation closes nothing");
}

#[tokio::test]
async fn what_is_confirmed_stays_until_it_is_reverted() {
    let Some(net) = Network::start("the firewall confirmed") else { return };
    net.apply(&["--revert-after", "60s"]);

    let confirmed = net.lockdown(&["--confirm"]);

    assert!(confirmed.status.success(), "{confirmed:?}");
    let ports = net.node.run("nft", &["list", "set", "inet", "pvegate", "closed"]);
    assert!(ports.contains("8006") && !ports.contains("timeout"), "{ports}");
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Err(ErrorKind::TimedOut));
    assert_eq!(net.gate.reaches("10.77.0.1:8006"), Ok(()));
    // What is loaded when the host starts is the same.
    net.node.run("nft", &["delete", "table", "inet", "pvegate"]);
    net.node.run("nft", &["-f", "/etc/nftables.d/pvegate.nft"]);
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Err(ErrorKind::TimedOut));

    let reverted = net.lockdown(&["--revert"]);

    assert!(reverted.status.success(), "{reverted:?}");
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Ok(()));
    assert_eq!(net.node.run("nft", &["list", "ruleset"]), "");
    assert!(!net.node.output("test", &["-e", "/etc/nftables.d/pvegate.nft"]).status.success());
    assert!(net.lockdown(&["--revert"]).status.success(), "to revert twice is no fault");
}

#[test]
fn whoever_is_there_by_ssh_on_a_port_that_would_close_is_not_locked_out() {
    let Some(net) = Network::start("the firewall and ssh on 8006") else { return };
    let mut command = net.node.command(program());
    command.env("SSH_CONNECTION", "10.77.2.2 40000 10.77.2.1 8006");

    let refused = command.args(["lockdown", "--apply", "--gate", "10.77.0.2"]).output().unwrap();

    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert_eq!(net.node.run("nft", &["list", "ruleset"]), "");
    assert_eq!(net.stranger.reaches("10.77.2.1:8006"), Ok(()));
}
