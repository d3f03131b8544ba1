//! Nothing of a request is sent to an upstream that has not proved itself, and the right people are
//! told why.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use http::header;
use pvegate::{
    account::Role,
    demo::Settings,
    tls::{Fingerprint, Host, LocalCa},
};

use crate::harness::{Person, Pve, START, Scratch, TestGate, Wire};

/// The far side, with every byte of its requests kept.
async fn recorded() -> Pve {
    Pve::with(Settings { record_raw_bytes: true, ..Settings::quick() }).await
}

/// Whether the far side got a byte of HTTP.
fn heard_nothing(pve: &Pve) -> bool {
    pve.requests_seen() == 0 && pve.raw_bytes().iter().all(Vec::is_empty)
}

/// The pin of some other certificate.
fn other_pin() -> Fingerprint {
    "AA:".repeat(32).trim_end_matches(':').parse().unwrap()
}

fn ca(path: &Path) -> String {
    format!("ca = \"{}\"", path.display())
}

/// Somebody of this role who is signed in.
async fn person_as(gate: &TestGate, name: &str, role: Role) -> Person {
    let token = gate.invite_as(name, role);
    let (person, reply) = Person::take_up(gate, name, &token).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    person
}

#[tokio::test]
async fn a_certificate_other_than_the_pinned_one_gets_no_byte_of_a_request() {
    let pve = recorded().await;
    let gate = TestGate::recipe(&pve).trusting(&format!("fingerprint = \"{}\"", other_pin())).start().await;
    let mut alice = gate.person("alice").await;

    let program = alice.client.get("/api2/json/version").await;
    let fields = [("username", "root@pam"), ("password", "proxmox")];
    let password = alice.client.post_form("/api2/json/access/ticket", &fields).await;
    let mut wire = Wire::open(&alice.client).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    wire.send(alice.client.head("GET", "/standin/upgrade", upgrade).as_bytes()).await;
    let console = wire.answer("GET").await.unwrap();

    assert_eq!((program.status.as_u16(), password.status.as_u16(), console.status), (502, 502, 502));
    assert_eq!(program.json()["error"], "upstream_fingerprint");
    assert_eq!(pve.connections_seen(), 3, "each was tried, so each time the certificate was looked at");
    assert!(heard_nothing(&pve));
    let failures: Vec<_> =
        gate.audit().into_iter().filter(|event| event["event"]["action"] == "upstream-failure").collect();
    assert_eq!(failures.len(), 3);
    assert!(
        failures.iter().all(|event| event["pvegate"]["reason"] == "upstream_fingerprint"),
        "{failures:?}"
    );
}

#[tokio::test]
async fn an_administrator_is_shown_both_fingerprints_and_others_are_shown_neither() {
    let pve = recorded().await;
    let wrong = other_pin();
    let gate = TestGate::recipe(&pve).trusting(&format!("fingerprint = \"{wrong}\"")).start().await;
    let mut admin = person_as(&gate, "admin", Role::Admin).await;
    let mut user = person_as(&gate, "user", Role::User).await;
    let (expected, found, address) = (wrong.to_string(), pve.pin.to_string(), pve.addr().to_string());

    let to_admin = admin.client.navigate("/").await;
    let to_user = user.client.navigate("/").await;
    let to_stranger = gate.client().navigate("/").await;

    // Long values may be broken for narrow screens.
    let shown = |page: &str| page.replace("<wbr>", "");
    for page in [&to_admin, &to_user] {
        assert_eq!(page.status, 502);
        assert!(page.text().contains("Another certificate than expected"), "{}", page.text());
        assert!(page.text().contains("Do not enter your password"), "{}", page.text());
        assert!(!page.headers.contains_key(header::REFRESH), "trying again by itself would not help");
    }
    let page = shown(&to_admin.text());
    assert!(page.contains(&expected) && page.contains(&found), "{page}");
    for secret in [&expected, &found, &address] {
        assert!(!shown(&to_user.text()).contains(secret.as_str()), "{secret}");
    }
    assert_eq!(to_stranger.status, 303, "and strangers do not get that far");
    assert!(heard_nothing(&pve));
}

#[tokio::test]
async fn a_fault_names_the_upstream_to_administrators_only() {
    let pve = recorded().await;
    let nobody =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let gate = TestGate::recipe(&pve).set("upstream.url", &format!("https://{nobody}")).start().await;
    let mut admin = person_as(&gate, "admin", Role::Admin).await;
    let mut user = person_as(&gate, "user", Role::User).await;

    let to_admin = admin.client.navigate("/").await;
    let to_user = user.client.navigate("/").await;

    assert_eq!((to_admin.status.as_u16(), to_user.status.as_u16()), (502, 502));
    assert!(to_admin.text().contains(&nobody), "{}", to_admin.text());
    assert!(!to_user.text().contains(&nobody), "{}", to_user.text());
}

#[tokio::test]
async fn an_authority_in_a_file_is_as_good_as_a_pin() {
    let pve = recorded().await;
    let gate = TestGate::recipe(&pve).trusting(&ca(&pve.ca_pem)).start().await;
    let mut alice = gate.person("alice").await;

    assert_eq!(alice.client.navigate("/").await.status, 200);
    assert_eq!(pve.requests_seen(), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_gets_no_byte_of_a_request() {
    let (pve, other) = (recorded().await, recorded().await);
    let gate = TestGate::recipe(&pve).trusting(&ca(&other.ca_pem)).start().await;
    let mut alice = gate.person("alice").await;

    let reply = alice.client.get("/api2/json/version").await;
    let page = alice.client.navigate("/").await;

    assert_eq!((reply.status.as_u16(), page.status.as_u16()), (502, 502));
    assert_eq!(reply.json()["error"], "upstream_broken");
    assert!(heard_nothing(&pve));
    assert_eq!(other.connections_seen(), 0);
}

#[tokio::test]
async fn a_certificate_of_the_right_authority_for_another_host_gets_no_byte_of_a_request() {
    let pve = recorded().await;
    // The same machine by another name: its certificate says 127.0.0.1.
    let url = format!("https://localhost:{}", pve.addr().port());
    let gate = TestGate::recipe(&pve).set("upstream.url", &url).trusting(&ca(&pve.ca_pem)).start().await;
    let mut alice = gate.person("alice").await;

    assert_eq!(alice.client.get("/").await.status, 502);
    assert_eq!(pve.connections_seen(), 1);
    assert!(heard_nothing(&pve));
}

#[tokio::test]
async fn a_gate_whose_pin_was_replaced_by_the_authority_goes_on_with_the_same_sessions() {
    let pve = recorded().await;
    let pinned = TestGate::recipe(&pve).trusting(&format!("fingerprint = \"{}\"", other_pin())).start().await;
    let mut alice = pinned.person("alice").await;
    assert_eq!(alice.client.get("/").await.status, 502);
    let again = pinned.another(&pve).trusting(&ca(&pve.ca_pem));
    pinned.stop().await;

    let gate = again.start().await;
    let mut client = gate.client();
    client.set_cookie(pvegate::names::SESSION_COOKIE, alice.session_cookie().unwrap());

    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_gate_without_anything_to_check_the_upstream_by_does_not_start() {
    let pve = recorded().await;
    let scratch = Scratch::new();
    let empty = scratch.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = scratch.path().join("missing.pem");

    for path in [empty, missing] {
        let started = TestGate::recipe(&pve).trusting(&ca(&path)).try_start().await;
        assert!(started.is_err(), "{}", path.display());
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn the_right_pin_is_the_leafs_and_not_its_authoritys() {
    let pve = recorded().await;
    let host: Host = "127.0.0.1".parse().unwrap();
    let (authority, _) = LocalCa::open_or_make(pve.ca_pem.parent().unwrap(), &host, START).unwrap();
    let pin = authority.fingerprint();
    let gate = TestGate::recipe(&pve).trusting(&format!("fingerprint = \"{pin}\"")).start().await;
    let mut alice = gate.person("alice").await;

    assert_eq!(alice.client.get("/").await.status, 502);
    assert!(heard_nothing(&pve));
}
