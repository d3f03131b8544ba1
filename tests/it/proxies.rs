//! Clients behind a proxy: their own address counts everywhere, and only listed peers can name it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::harness::{Client, Person, Pve, Recipe, Scratch, TestGate, Wire, until};

/// Clients are at 203.0.113.0/24, the peer is 127.0.0.1.
fn recipe(pve: &Pve) -> Recipe {
    TestGate::recipe(pve)
        .set("access.allow", "203.0.113.0/24")
        .set("access.deny", "203.0.113.66/32")
        .set("server.trusted_peers", "127.0.0.1/32")
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 56324 443\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice();
    [signature, &client, &[192, 0, 2, 1], &[0xdc, 4, 1, 0xbb]].concat()
}

/// The reason with which the last refusal of an address was told.
fn refused(gate: &TestGate, ip: &str) -> Option<String> {
    let told = |event: &Value| event["event"]["action"] == "refuse" && event["source"]["ip"] == ip;
    gate.audit().iter().rev().find(|event| told(event))?["pvegate"]["reason"].as_str().map(str::to_owned)
}

/// The client addresses that Proxmox VE was told.
fn told_upstream(pve: &Pve) -> Vec<String> {
    let requests = pve.requests();
    let values = requests.iter().map(|request| request.values("x-forwarded-for"));
    values.map(|values| values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect()).collect()
}

#[tokio::test]
async fn the_address_that_a_peer_conveys_counts_in_limits_audit_and_upstream() {
    for (header, other) in
        [(v1("203.0.113.9"), v1("203.0.113.10")), (v2([203, 0, 113, 9]), v2([203, 0, 113, 10]))]
    {
        let pve = Pve::start().await;
        let gate = recipe(&pve)
            .set("limits.connections_per_source", "3")
            .set("limits.sign_ins", "5")
            .introduced_by_peers()
            .start()
            .await;
        let link = gate.invite("alice");
        let client = gate.client().introduced_by(header.clone());
        let mut alice = Person::enrol_with(client, &gate, "alice", &link).await;

        assert_eq!(alice.client.get("/api2/json/version").await.status, 401, "of Proxmox VE itself");
        assert_eq!(told_upstream(&pve), ["203.0.113.9"]);
        let signed_in = gate.audit().into_iter().find(|e| e["event"]["action"] == "sign-in").unwrap();
        assert_eq!(signed_in["source"]["ip"], "203.0.113.9");

        // Its share of connections and of attempts is its own.
        let elsewhere = gate.client().introduced_by(other);
        let mut held = Vec::new();
        while let Ok(stream) = elsewhere.try_tls_stream().await {
            held.push(stream);
        }
        assert_eq!(held.len(), 3);
        assert_eq!(refused(&gate, "203.0.113.10").as_deref(), Some("connections"));
        assert_eq!(alice.client.get("/").await.status, 200);
        drop(held);
        let mut statuses = Vec::new();
        for _ in 0..6 {
            until("a place", async || elsewhere.try_tls_stream().await.is_ok()).await;
            let fields = [("user", "alice"), ("code", "none")];
            statuses.push(elsewhere.clone().post_form("/_gate/sign-in", &fields).await.status.as_u16());
        }
        assert_eq!(statuses, [403, 403, 403, 403, 403, 429]);
    }
}

#[tokio::test]
async fn whom_the_lists_keep_out_is_closed_before_tls_behind_a_peer_too() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).introduced_by_peers().start().await;
    #[rustfmt::skip]
    let table = [
        ("denied",             gate.client().introduced_by(v1("203.0.113.66")),  "203.0.113.66", "address"),
        ("not allowed",        gate.client().introduced_by(v1("10.0.0.1")),      "10.0.0.1",     "address"),
        ("the peer itself",    gate.client().introduced_by(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice()), "127.0.0.1", "address"),
        ("unknown",            gate.client().introduced_by(b"PROXY UNKNOWN\r\n".as_slice()), "127.0.0.1", "proxy_header"),
        ("no header",          gate.client(),                                    "127.0.0.1",    "proxy_header"),
        ("no peer",            gate.client().from("127.0.0.2").introduced_by(v1("203.0.113.9")), "127.0.0.2", "peer"),
    ];
    for (case, client, told, reason) in table {
        // A flood's later lines are folded.
        gate.clock.advance(Duration::from_secs(61));
        until("the last minute is written", async || {
            gate.stages.gate.audit().write_floods();
            true
        })
        .await;
        assert!(client.try_tls_stream().await.is_err(), "{case}");
        until(case, async || refused(&gate, told).as_deref() == Some(reason)).await;
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_half_a_header_has_its_own_limit() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).introduced_by_peers().set("limits.proxy_header", "500ms").start().await;
    for said in ["", "PROXY TCP4 203.0.113.9 "] {
        let start = Instant::now();
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;

        assert!(end.is_ok(), "{said:?}");
        assert!((500..1500).contains(&start.elapsed().as_millis()), "{said:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_forwarding_field_is_believed_of_listed_peers_only_and_is_never_ignored() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("server.forwarding_field", "X-Forwarded-For").start().await;
    let link = gate.invite("alice");
    let client = gate.client().with("x-forwarded-for", "junk, 10.1.1.1, 203.0.113.9, 127.0.0.1");
    let mut alice = Person::enrol_with(client, &gate, "alice", &link).await;

    assert_eq!(alice.client.get("/api2/json/version").await.status, 401, "of Proxmox VE itself");
    assert_eq!(told_upstream(&pve), ["203.0.113.9"]);
    assert!(alice.console().await.echo(b"x").await.is_some());
    let signed_in = gate.audit().into_iter().find(|e| e["event"]["action"] == "sign-in").unwrap();
    assert_eq!(signed_in["source"]["ip"], "203.0.113.9");

    let seen = pve.requests_seen();
    #[rustfmt::skip]
    let table = [
        ("missing",      None,                          400, "127.0.0.1",    "forwarding_field"),
        ("a word",       Some("unknown"),               400, "127.0.0.1",    "forwarding_field"),
        ("a word right", Some("203.0.113.9, unknown"),  400, "127.0.0.1",    "forwarding_field"),
        ("denied",       Some("203.0.113.66"),          403, "203.0.113.66", "address"),
        ("not allowed",  Some("10.0.0.1"),              403, "10.0.0.1",     "address"),
    ];
    for (case, field, status, told, reason) in table {
        let mut client = gate.client();
        for (name, value) in alice_cookies(&alice) {
            client.set_cookie(&name, &value);
        }
        if let Some(field) = field {
            client = client.with("x-forwarded-for", field);
        }
        assert_eq!(client.get("/").await.status, status, "{case}");
        assert_eq!(refused(&gate, told).as_deref(), Some(reason), "{case}");
    }
    assert_eq!(pve.requests_seen(), seen);

    // Somebody else's word means nothing: 127.0.0.2 is in no list.
    let stranger = gate.client().from("127.0.0.2").with("x-forwarded-for", "203.0.113.9");
    assert!(stranger.try_tls_stream().await.is_err());
}

#[tokio::test]
async fn a_token_that_proxmox_ve_refuses_is_told_with_the_client_and_not_with_its_peer() {
    let (token, secret) = ("root@pam!stale", "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21");
    let pve = Pve::start().await;
    let gate = recipe(&pve)
        .set("server.forwarding_field", "X-Forwarded-For")
        .rule(token, secret, "from = [\"203.0.113.0/24\"]\npaths = [\"/api2/json/version\"]")
        .start()
        .await;
    let mut program = gate
        .client()
        .with("x-forwarded-for", "203.0.113.9")
        .with("authorization", &format!("PVEAPIToken={token}={secret}"));

    assert_eq!(program.get("/api2/json/version").await.status, 401);

    assert_eq!(pve.requests_seen(), 1, "it is Proxmox VE that refuses");
    let audit = gate.audit();
    let told = audit.iter().find(|event| event["pvegate"]["reason"] == "token_upstream").unwrap();
    assert_eq!(told["source"]["ip"], "203.0.113.9");
}

#[tokio::test]
async fn a_malformed_head_through_a_peer_is_its_clients_and_one_without_a_client_the_peers() {
    let pve = Pve::start().await;
    let gate = recipe(&pve)
        .set("server.forwarding_field", "X-Forwarded-For")
        .set("limits.request_burst", "60")
        .start()
        .await;
    let ask = async |head: &[u8]| {
        let mut wire = Wire::open(&gate.client()).await;
        wire.send(head).await;
        wire.answer("GET").await.unwrap().status
    };
    let named = b"GET / HTTP/1.1\r\nX-Forwarded-For: junk\r\nx-forwarded-for: 203.0.113.9\r\nX: \0\r\n\r\n";

    assert_eq!(ask(named).await, 400);
    assert_eq!(refused(&gate, "203.0.113.9").as_deref(), Some("bad_head"));
    assert_eq!(refused(&gate, "127.0.0.1"), None);
    assert_eq!(ask(b"GET / HTTP/1.1\r\nX: \0\r\n\r\n").await, 400);
    assert_eq!(refused(&gate, "127.0.0.1").as_deref(), Some("bad_head"));

    // Who names nobody is held back as the peer, and whom it names is not.
    for _ in 0..59 {
        assert_eq!(gate.client().get("/").await.status, 400);
    }
    assert_eq!(gate.client().get("/").await.status, 429);
    assert_eq!(ask(named).await, 400);
}

#[tokio::test]
async fn a_peers_requests_for_one_client_share_an_upstream_connection_and_those_for_two_do_not() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("server.forwarding_field", "X-Forwarded-For").start().await;
    let link = gate.invite("alice");
    let client = gate.client().with("x-forwarded-for", "203.0.113.9");
    let mut alice = Person::enrol_with(client, &gate, "alice", &link).await;
    let mut elsewhere = gate.client().with("x-forwarded-for", "203.0.113.10");
    for (name, value) in alice_cookies(&alice) {
        elsewhere.set_cookie(&name, &value);
    }
    let mut connection = alice.client.connect().await;

    for _ in 0..8 {
        let reply = alice.client.send_on(&mut connection, Method::GET, "/", Bytes::new()).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!((pve.requests_seen(), pve.connections_seen()), (8, 1));

    for client in [&mut elsewhere, &mut alice.client] {
        assert_eq!(client.send_on(&mut connection, Method::GET, "/", Bytes::new()).await.status, 200);
    }
    assert_eq!((pve.requests_seen(), pve.connections_seen()), (10, 3));
    assert_eq!(told_upstream(&pve)[7..], ["203.0.113.9", "203.0.113.10", "203.0.113.9"]);
}

#[tokio::test]
async fn consoles_through_a_peer_count_in_their_clients_share_of_connections() {
    let pve = Pve::start().await;
    let gate = recipe(&pve)
        .set("server.forwarding_field", "X-Forwarded-For")
        .set("limits.connections_per_source", "2")
        .start()
        .await;
    let link = gate.invite("alice");
    let client = gate.client().with("x-forwarded-for", "203.0.113.9");
    let mut alice = Person::enrol_with(client, &gate, "alice", &link).await;
    let first = alice.console().await;
    let mut second = alice.console().await;
    let target = alice.console_target("echo").await;
    let seen = pve.requests_seen();

    let Err(third) = alice.client.console(&target).await else { panic!("a third console") };

    assert_eq!(third.status, 429);
    assert_eq!(refused(&gate, "203.0.113.9").as_deref(), Some("connections"));
    assert_eq!(pve.requests_seen(), seen, "Proxmox VE does not hear of it");
    assert_eq!(alice.client.get("/").await.status, 200, "requests are counted by their rate");
    assert!(second.echo(b"x").await.is_some());
    drop(first);

    // What becomes no tunnel is the peer's again, though its connection stays open.
    until("a place", async || alice.client.console(&target).await.is_ok()).await;
    let mut connection = alice.client.connect().await;
    let mut asking = alice.client.clone().with("connection", "upgrade").with("upgrade", "websocket");
    asking = asking.with("origin", &alice.client.origin());
    let seen = pve.requests_seen();
    let reply = asking.send_on(&mut connection, Method::GET, "/api2/json/version", Bytes::new()).await;
    assert_ne!(reply.status, 101);
    assert_eq!(pve.requests_seen(), seen + 1);
    let target = alice.console_target("echo").await;
    until("a place", async || alice.client.console(&target).await.is_ok()).await;
}

#[tokio::test]
async fn a_client_in_person_gains_nothing_by_a_forwarding_field() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("access.allow", "127.0.0.0/8")
        .set("server.trusted_peers", "127.0.0.99/32")
        .set("server.forwarding_field", "X-Forwarded-For")
        .start()
        .await;
    let mut alice = gate.person("alice").await;
    alice.client = alice.client.clone().with("x-forwarded-for", "203.0.113.9, rubbish");

    assert_eq!(alice.client.get("/").await.status, 200);
    assert_eq!(told_upstream(&pve), ["127.0.0.1"]);
}

fn alice_cookies(alice: &Person) -> Vec<(String, String)> {
    let name = pvegate::names::SESSION_COOKIE;
    vec![(name.to_owned(), alice.client.cookie(name).unwrap().to_owned())]
}

/// A real proxy in front.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Haproxy {
    async fn start(gate: SocketAddr, option: &str) -> Self {
        let scratch = Scratch::new();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = scratch.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend in\n  bind {address}\n  default_backend gate\nbackend gate\n  server gate {gate} {option}\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("haproxy, which `bash tests/run` installs: {error}"));
        until("haproxy listens", async || TcpStream::connect(address).await.is_ok()).await;
        Self { child, address, _scratch: scratch }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn haproxy_conveys_the_client_in_both_versions() {
    for option in ["send-proxy", "send-proxy-v2"] {
        let pve = Pve::start().await;
        let gate = TestGate::recipe(&pve)
            .set("access.allow", "127.0.0.7/32")
            .set("server.trusted_peers", "127.0.0.1/32")
            .introduced_by_peers()
            .start()
            .await;
        let haproxy = Haproxy::start(gate.address, option).await;
        let through = |source: &str| -> Client { gate.client().through(haproxy.address).from(source) };
        let link = gate.invite("alice");
        let mut alice = Person::enrol_with(through("127.0.0.7"), &gate, "alice", &link).await;

        assert_eq!(alice.client.get("/").await.status, 200, "{option}");
        assert_eq!(told_upstream(&pve), ["127.0.0.7"], "{option}");
        assert!(alice.console().await.echo(b"x").await.is_some(), "{option}");
        assert!(through("127.0.0.8").try_tls_stream().await.is_err(), "{option}");
        until("the refusal is told", async || refused(&gate, "127.0.0.8").as_deref() == Some("address"))
            .await;
    }
}
