//! The end of the gate: what runs may finish, and what does not finish is cut.

use super::{HANDSHAKE, Scene};
use crate::harness::Wire;

#[tokio::test]
async fn what_outlives_the_grace_is_cut_before_the_gate_has_stopped() {
    let Scene { pve, gate, mut alice } = Scene::set().await;
    let mut console = alice.console().await;
    console.echo(b"x").await.unwrap();
    let mut download = Wire::open(&alice.client).await;
    let endless = "/standin/stream/length?bytes=100000000000&chunk=10&every-ms=10";
    download.send(alice.client.head("GET", endless, "").as_bytes()).await;
    download.head().await.unwrap();
    let mut bytes = Wire::open(&alice.client).await;
    bytes.send(alice.client.head("GET", "/standin/upgrade", HANDSHAKE).as_bytes()).await;
    bytes.head().await.unwrap();

    gate.stop().await;

    // Nothing of it lives on beside the one who stopped it.
    assert_eq!(console.receive().await, None);
    download.rest().await;
    bytes.rest().await;
    pve.wait_until(|seen| seen.tunnels_open == 0 && seen.connections_open == 0).await;
}

#[tokio::test]
async fn an_answer_that_is_awaited_when_the_gate_stops_still_arrives() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;
    wire.send(scene.alice.client.head("GET", "/standin/head-delay?ms=300&bytes=10", "").as_bytes()).await;
    scene.pve.wait_until(|seen| seen.requests_seen == 1).await;

    let (answer, ()) = tokio::join!(wire.answer("GET"), scene.gate.stop());

    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 10));
    assert_eq!(answer.values("connection"), ["close"]);
}
