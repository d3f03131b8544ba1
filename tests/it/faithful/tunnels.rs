//! Consoles and other upgrades: tunnels of bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};

use super::{HANDSHAKE, Scene, in_front_of, pattern, settled};
use crate::harness::{Person, Wire};

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

/// Opens a console of this mode and gives the target of its WebSocket.
async fn console(alice: &mut Person, mode: &[(&str, &str)]) -> String {
    if alice.client.cookie("PVEAuthCookie").is_none() {
        alice.sign_in_to_pve().await;
    }
    let opened = alice.client.post_form("/api2/json/nodes/demo/termproxy", mode).await.json();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("port", &opened["data"]["port"].as_u64().unwrap().to_string())
        .append_pair("vncticket", opened["data"]["ticket"].as_str().unwrap())
        .finish();
    format!("/api2/json/nodes/demo/vncwebsocket?{query}")
}

#[tokio::test]
async fn megabytes_of_console_output_arrive_exactly_and_end_with_the_console() {
    let mut scene = Scene::set().await;
    let length = 3 * 1024 * 1024 + 5;
    let mode = [("standin-mode", "bulk"), ("standin-bytes", &length.to_string())];
    let target = console(&mut scene.alice, &mode).await;

    let mut opened = scene.alice.client.console(&target).await.unwrap();
    let mut output = Vec::new();
    while let Some(bytes) = opened.receive().await {
        output.extend(bytes);
    }

    assert!(output == pattern(length), "{} bytes", output.len());
    scene.pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn a_console_that_ends_at_either_side_ends_at_the_other() {
    let mut scene = Scene::set().await;

    let target = console(&mut scene.alice, &[("standin-mode", "server-end")]).await;
    let mut ended_there = scene.alice.client.console(&target).await.unwrap();
    assert_eq!(ended_there.echo(b"x").await, None);
    let ended_here = scene.alice.console().await;
    scene.pve.wait_until(|seen| seen.tunnels == 2).await;
    drop(ended_here);

    scene.pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn a_console_whose_backend_is_dead_is_a_fault_and_no_storm() {
    let mut scene = Scene::set().await;
    let target = console(&mut scene.alice, &[("standin-mode", "dead")]).await;
    let before = scene.pve.requests_seen();

    let Err(reply) = scene.alice.client.console(&target).await else { panic!("no backend, and a console") };

    assert_eq!(reply.status, 502);
    assert_eq!(scene.pve.requests_seen(), before + 1, "it is asked for once");
    assert_eq!(scene.alice.client.get("/").await.status, 200);
}

#[tokio::test]
async fn whoever_has_said_all_still_hears_the_rest() {
    let scene = Scene::set().await;
    let stream = scene.alice.client.tls_stream().await;
    let (mut from_gate, mut to_gate) = tokio::io::split(stream);
    let more = "Connection: upgrade\r\nUpgrade: proxmox-backup-protocol-v1\r\n";
    let sent = pattern(300_000);

    to_gate.write_all(scene.alice.client.head("GET", "/standin/upgrade", more).as_bytes()).await.unwrap();
    let (written, mut heard) = tokio::join!(
        async {
            to_gate.write_all(&sent).await.unwrap();
            // Half-close: nothing more comes from here.
            to_gate.shutdown().await
        },
        async {
            let mut heard = Vec::new();
            from_gate.read_to_end(&mut heard).await.map(|_| heard).unwrap()
        }
    );

    written.unwrap();
    let at = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(heard.split_off(at) == sent);
}

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// More than the kernel's buffers and ours hold on the way.
const BEYOND_BUFFERS: usize = 48 * 1024 * 1024;

/// Most that may be on the way: the kernel's buffers of four sockets on this machine, and ours.
const ON_THE_WAY: usize = 24 * 1024 * 1024;

#[tokio::test]
async fn output_that_nobody_reads_stops_at_its_source_and_all_of_it_arrives_later() {
    let (taken, mut count) = watch::channel(0);
    let gate = in_front_of(SWITCH, move |mut stream| {
        let taken = taken.clone();
        async move {
            for block in pattern(BEYOND_BUFFERS).chunks(64 * 1024) {
                stream.write_all(block).await.unwrap();
                taken.send_modify(|count| *count += block.len());
            }
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let alice = gate.person("alice").await;
    let mut wire = Wire::open(&alice.client).await;
    wire.send(alice.client.head("GET", "/", HANDSHAKE).as_bytes()).await;
    wire.head().await.unwrap();

    let on_the_way = settled(&mut count).await;
    let (output, _) = wire.rest().await;

    assert!((1..ON_THE_WAY).contains(&on_the_way), "{on_the_way} bytes were taken from the source");
    assert!(output == pattern(BEYOND_BUFFERS), "{} bytes", output.len());
}

#[tokio::test]
async fn input_that_nobody_reads_stops_at_its_source_and_all_of_it_arrives_later() {
    let (read_on, reading) = watch::channel(false);
    let (arrived, mut all) = watch::channel(None);
    let gate = in_front_of(SWITCH, move |mut stream| {
        let (mut reading, arrived) = (reading.clone(), arrived.clone());
        async move {
            reading.wait_for(|reading| *reading).await.unwrap();
            let mut input = Vec::new();
            stream.read_to_end(&mut input).await.unwrap();
            arrived.send_replace(Some(input));
        }
    })
    .await;
    let alice = gate.person("alice").await;
    let (mut from_gate, mut to_gate) = tokio::io::split(alice.client.tls_stream().await);
    to_gate.write_all(alice.client.head("GET", "/", HANDSHAKE).as_bytes()).await.unwrap();
    from_gate.read_u8().await.unwrap();
    let (taken, mut count) = watch::channel(0);
    let writing = tokio::spawn(async move {
        for block in pattern(BEYOND_BUFFERS).chunks(64 * 1024) {
            to_gate.write_all(block).await.unwrap();
            taken.send_modify(|count| *count += block.len());
        }
        to_gate.shutdown().await.unwrap();
    });

    let on_the_way = settled(&mut count).await;
    read_on.send_replace(true);
    writing.await.unwrap();
    let input = all.wait_for(Option::is_some).await.unwrap().clone().unwrap();

    assert!((1..ON_THE_WAY).contains(&on_the_way), "{on_the_way} bytes were taken from the source");
    assert!(input == pattern(BEYOND_BUFFERS), "{} bytes", input.len());
}

#[tokio::test]
async fn an_upgrade_with_more_fields_than_pveproxy_takes_is_refused_here_and_the_last_that_fits_is_answered()
{
    let scene = Scene::set().await;
    let mut statuses = Vec::new();
    for count in 50..65 {
        let filler: String = (0..count).map(|number| format!("X-{number}: 1\r\n")).collect();
        let more = format!("Connection: upgrade\r\nUpgrade: proxmox-backup-protocol-v1\r\n{filler}");
        statuses.push(scene.ask("GET", "/standin/upgrade", &more, b"").await.status);
    }

    let passed = statuses.iter().take_while(|status| **status == 101).count();
    assert!((1..statuses.len()).contains(&passed), "{statuses:?}");
    assert!(statuses[passed..].iter().all(|status| *status == 431), "{statuses:?}");
}
