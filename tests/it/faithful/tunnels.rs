//! Consoles and other upgrades: tunnels of bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::{HANDSHAKE, Scene, pattern};

#[tokio::test]
async fn a_console_is_opened_with_the_subprotocol_as_it_was_asked_for_and_no_extension() {
    let mut scene = Scene::set().await;
    scene.alice.sign_in_to_pve().await;
    let mode = [("standin-mode", "echo")];
    let opened = scene.alice.client.post_form("/api2/json/nodes/demo/termproxy", &mode).await.json();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("port", &opened["data"]["port"].as_u64().unwrap().to_string())
        .append_pair("vncticket", opened["data"]["ticket"].as_str().unwrap())
        .finish();
    let more = format!("{HANDSHAKE}Sec-WebSocket-Protocol: binary, base64\r\n");

    let answer = scene.ask("GET", &format!("/api2/json/nodes/demo/vncwebsocket?{query}"), &more, b"").await;

    assert_eq!(answer.status, 101, "{}", answer.reason);
    assert_eq!(answer.values("sec-websocket-protocol"), ["binary, base64"]);
    assert_eq!(answer.values("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert_eq!(answer.values("sec-websocket-extensions"), [""; 0]);
    assert_eq!(answer.values("upgrade"), ["websocket"]);
    assert_eq!(answer.values("connection"), ["upgrade"]);
}

#[tokio::test]
async fn any_upgrade_that_was_asked_for_is_a_tunnel_of_bytes() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;
    let more = "Connection: upgrade\r\nUpgrade: proxmox-backup-protocol-v1\r\n";

    wire.send(scene.alice.client.head("GET", "/standin/upgrade", more).as_bytes()).await;
    let head = wire.head().await.unwrap();
    let sent = pattern(300_000);
    wire.send(&sent).await;
    let mut echoed = Vec::new();
    while echoed.len() < sent.len() {
        let some = wire.some().await;
        assert!(!some.is_empty(), "the tunnel ended after {} bytes", echoed.len());
        echoed.extend(some);
    }

    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(echoed == sent);
    drop(wire);
    scene.pve.wait_until(|seen| seen.connections_open == 0).await;
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_fault() {
    let scene = Scene::set().await;
    for (more, target) in [
        ("", "/standin/fake-101"),
        ("", "/standin/fake-101?upgrade=h2c"),
        (HANDSHAKE, "/standin/fake-101?upgrade=other"),
        (HANDSHAKE, "/standin/fake-101?upgrade=h2c"),
    ] {
        let answer = scene.ask("GET", target, more, b"").await;

        assert_eq!(answer.status, 502, "{target} {more}");
    }
}
