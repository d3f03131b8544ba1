//! The main job: from an enrolment link to Proxmox VE's page and a console, and nothing without it.

use crate::harness::{Pve, TestGate};

#[tokio::test]
async fn an_invited_person_enrols_and_stands_on_the_page_of_proxmox_ve() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;

    let mut alice = gate.person("alice").await;
    let page = alice.client.navigate("/").await;

    assert_eq!(page.status, 200);
    assert!(page.text().contains("Stand-in for Proxmox VE"), "{}", page.text());
}

#[tokio::test]
async fn a_request_without_a_session_never_reaches_pveproxy() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;

    let reply = gate.client().get("/api2/json/version").await;

    assert_eq!(reply.status, 401);
    assert_eq!(reply.reason.as_deref(), Some("Sign in to the gate - reload this page"));
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn somebody_who_enrolled_signs_in_again_with_the_next_code_and_not_with_the_same() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let used = alice.code(&gate);
    alice.sign_out().await;
    assert_eq!(alice.client.get("/").await.status, 401);

    let replayed = alice.sign_in_with(&used).await;
    let signed_in = alice.sign_in(&gate).await;

    assert_eq!(replayed.status, 403);
    assert_eq!((signed_in.status.as_u16(), signed_in.location()), (303, Some("/")));
    assert_eq!(alice.client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_console_echoes_through_the_gate() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;

    let mut console = alice.console().await;

    assert_eq!(console.echo(b"uptime\n").await.unwrap(), b"uptime\n");
}

#[tokio::test]
async fn sign_out_closes_the_console_at_both_ends() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    console.echo(b"x").await.unwrap();

    let signed_out = alice.sign_out().await;

    assert_eq!(signed_out.status, 200);
    assert_eq!(console.receive().await, None);
    pve.wait_until(|_| pve.tunnels_open() == 0).await;
}
