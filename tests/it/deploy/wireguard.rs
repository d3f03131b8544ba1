//! A homelab behind a real WireGuard tunnel: only its peers reach the gate, and only the gate reaches Proxmox VE.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{ErrorKind, Write as _},
    process::{Child, Command, Stdio},
};

use super::{namespace::Host, skipped};
use crate::harness::{Client, Ended, Person, Process, Pve, Scratch, code_now, program, pvegate};

const WHAT: &str = "the homelab behind WireGuard";

/// The gate in the tunnel, as config/vpn-homelab.toml has it.
const GATE: &str = "10.8.0.1:443";
const URL: &str = "https://pve.home.arpa";

/// One end of a tunnel.
struct Tunnel<'a> {
    host: &'a Host,
    public: String,
    /// Where the kernel has no WireGuard.
    daemon: Option<Child>,
}

impl<'a> Tunnel<'a> {
    fn start(host: &'a Host, address: &str, scratch: &Scratch) -> Option<Self> {
        let daemon = if host.output("ip", &["link", "add", "wg0", "type", "wireguard"]).status.success() {
            None
        } else {
            let mut command = host.command("wireguard-go");
            let daemon = command.args(["--foreground", "wg0"]).stdout(Stdio::null()).stderr(Stdio::null());
            match daemon.spawn() {
                Ok(daemon) => Some(daemon),
                Err(error) => {
                    skipped(
                        WHAT,
                        &format!("neither the kernel has WireGuard nor is wireguard-go here: {error}"),
                    );
                    return None;
                }
            }
        };
        let private = host.run("wg", &["genkey"]);
        let public = public_of(&private);
        let file = scratch.path().join(format!("key-{}", address.replace('/', "-")));
        fs::write(&file, private).unwrap();
        let mut tunnel = Self { host, public, daemon };
        if tunnel.daemon.is_some() && !tunnel.comes_up() {
            skipped(WHAT, "wireguard-go does not run here");
            return None;
        }
        let file = file.display().to_string();
        host.run("wg", &["set", "wg0", "private-key", &file, "listen-port", "51820"]);
        host.run("ip", &["address", "add", address, "dev", "wg0"]);
        host.run("ip", &["link", "set", "wg0", "up"]);
        Some(tunnel)
    }

    /// Whether the daemon has made its interface and answers; it ends by itself if it can't.
    fn comes_up(&mut self) -> bool {
        loop {
            if self.host.output("wg", &["show", "wg0", "dump"]).status.success() {
                return true;
            }
            if self.daemon.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// Takes packets of the other end from its address in the tunnel.
    fn trusts(&self, other: &Self, address: &str, endpoint: Option<&str>) {
        let mut args = vec!["set", "wg0", "peer", &other.public, "allowed-ips", address];
        if let Some(endpoint) = endpoint {
            args.extend(["endpoint", endpoint]);
        }
        self.host.run("wg", &args);
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn public_of(private: &str) -> String {
    let mut wg = Command::new("wg");
    let mut wg = wg.arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    wg.stdin.take().unwrap().write_all(private.as_bytes()).unwrap();
    String::from_utf8(wg.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// The shipped example with the addresses, the pin and the directories of the test.
fn configuration(pve: &Pve, scratch: &Scratch) -> String {
    let dir = scratch.path().display();
    let mut text: String = include_str!("../../../config/vpn-homelab.toml")
        .lines()
        .map(|line| match line.split_once(" = ").map_or("", |(name, _)| name) {
            "url" => format!("url = \"https://{}\"\n", pve.addr()),
            "fingerprint" => format!("fingerprint = \"{}\"\n", pve.pin),
            _ => format!("{line}\n"),
        })
        .collect();
    text.push_str(&format!(
        "[storage]\npath = \"{dir}/state/pvegate.db\"\nmaster_key_file = \"{dir}/state/master.key\"\n\
         [audit]\nfile = \"{dir}/audit.jsonl\"\njournal = false\n"
    ));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn only_peers_of_the_tunnel_reach_the_gate_and_only_the_gate_reaches_proxmox_ve() {
    let (Some(node), Some(gate), Some(peer), Some(stranger)) =
        (Host::start(WHAT), Host::start(WHAT), Host::start(WHAT), Host::start(WHAT))
    else {
        return;
    };
    let scratch = Scratch::new();
    // The internet, with the peer's and a stranger's ways to the gate; and the LAN of the node.
    gate.connect("internet", &["198.51.100.1/25"], &peer, &["198.51.100.2/25"]);
    gate.connect("wild", &["198.51.100.129/25"], &stranger, &["198.51.100.130/25"]);
    node.connect("lan", &["192.168.77.10/24"], &gate, &["192.168.77.1/24"]);
    node.connect("guests", &["192.168.78.10/24"], &stranger, &["192.168.78.2/24"]);
    let Some(at_gate) = Tunnel::start(&gate, "10.8.0.1/24", &scratch) else { return };
    let Some(at_peer) = Tunnel::start(&peer, "10.8.0.2/24", &scratch) else { return };
    at_gate.trusts(&at_peer, "10.8.0.2/32", None);
    at_peer.trusts(&at_gate, "10.8.0.1/32", Some("198.51.100.1:51820"));
    let pve = Pve::on(node.listen("192.168.77.10:8006")).await;
    let guests = node.listen("192.168.78.10:8006");
    // The stranger even tries to pass for a peer, by the gate's own address in the tunnel.
    stranger.run("ip", &["address", "add", "10.8.0.3/32", "dev", "wild"]);
    stranger.run("ip", &["route", "add", "10.8.0.1/32", "via", "198.51.100.129", "src", "10.8.0.3"]);

    let config = scratch.path().join("pvegate.toml");
    fs::write(&config, configuration(&pve, &scratch)).unwrap();
    let config = config.display().to_string();
    let run = async |args: &[&str]| -> Ended { pvegate(&[&["--config", &config], args].concat()).await };
    let serving = gate.entering();
    let serving: Vec<&str> = serving.iter().map(String::as_str).collect();
    let serving = Process::start_under("nsenter", &serving, &["--config", &config, "serve"]);
    serving.logs("ready");
    run(&["user", "add", "alice", "--no-invite"]).await.ok();
    let link = run(&["--json", "invite", "alice"]).await.json();
    let link = link[0]["enrol_url"].as_str().unwrap().to_owned();
    // The verb finds the gate's address towards the node by itself.
    let printed = gate.run(program(), &["--config", &config, "--json", "lockdown"]);
    let printed: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert_eq!(printed["inside"], serde_json::json!(["192.168.77.1", "192.168.77.10"]));
    node.run(program(), &["lockdown", "--apply", "--gate", "192.168.77.1"]);

    // A stranger sees neither.
    for address in ["198.51.100.129:443", "198.51.100.1:443", "192.168.77.1:443", "10.8.0.1:443"] {
        assert!(stranger.reaches(address).is_err(), "{address}");
    }
    // The kernel answers for any address of the host on any of its networks. The gate then closes before TLS.
    stranger.run("ip", &["route", "change", "10.8.0.1/32", "via", "198.51.100.129", "src", "198.51.100.130"]);
    assert_eq!(stranger.hears(GATE), 0);
    assert_eq!(stranger.reaches("192.168.78.10:8006"), Err(ErrorKind::TimedOut));
    assert_eq!(
        peer.reaches("198.51.100.1:443"),
        Err(ErrorKind::ConnectionRefused),
        "it listens in the tunnel only"
    );
    assert_eq!(gate.reaches("192.168.77.10:8006"), Ok(()));
    // A peer does, and comes to Proxmox VE only after a sign-in.
    assert_eq!(pve.requests_seen(), 0);
    let ca = fs::read_to_string(scratch.path().join("state/local-ca/ca.pem")).unwrap();
    let (before, after) = peer.inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::of_process(GATE.parse().unwrap(), URL, &ca);
            let before = client.get("/api2/json/version").await.status;
            let opened = Person::open(client, "alice", &link).await;
            let (mut alice, state) = opened.unwrap_or_else(|page| panic!("{}", page.text()));
            let code = code_now(&alice, 0);
            assert_eq!(alice.finish(&state, &code).await.status, 303);
            (before, alice.client.get("/").await.status)
        })
    });
    assert_eq!((before.as_u16(), after.as_u16()), (401, 200));
    assert_eq!(pve.requests_seen(), 1);
    let transferred = gate.run("wg", &["show", "wg0", "transfer"]);
    assert!(!transferred.split_whitespace().any(|bytes| bytes == "0"), "not by the tunnel: {transferred}");
    drop(guests);
    drop(serving);
}
