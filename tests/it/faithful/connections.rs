//! Connections to pveproxy: whose they are, when one is used again, what happens when none answers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use http::Method;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::Scene;
use crate::harness::{Pve, TestGate, Wire};

#[tokio::test]
async fn an_answer_that_is_none_is_a_fault_and_poisons_nothing() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;
    for target in [
        "/standin/close?end=fin",
        "/standin/close?end=rst",
        "/standin/verbatim?response=SSH-2.0-OpenSSH_10.0",
        "/standin/verbatim?response=HTTP/1.1%20200%20OK%0d%0aContent-Length:%20x%0d%0a%0d%0a",
        "/standin/verbatim?response=HTTP/1.1%20200%20OK%0d%0aContent-Length:%201%0d%0aContent-Length:%202%0d%0a%0d%0ax",
    ] {
        wire.send(scene.alice.client.head("GET", target, "").as_bytes()).await;
        assert_eq!(wire.answer("GET").await.unwrap().status, 502, "{target}");

        wire.send(scene.alice.client.head("GET", "/", "").as_bytes()).await;
        assert_eq!(wire.answer("GET").await.unwrap().status, 200, "after {target}");
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_listens_on_is_a_502() {
    let pve = Pve::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = TestGate::recipe(&pve).set("upstream.url", &format!("https://{nobody}")).start().await;
    let mut alice = gate.person("alice").await;

    let program = alice.client.get("/api2/json/version").await;
    let page = alice.client.navigate("/").await;

    assert_eq!((program.status.as_u16(), page.status.as_u16()), (502, 502));
    assert_eq!(program.json()["error"], "upstream_refused");
    assert!(page.text().contains("Proxmox VE does not answer"), "{}", page.text());
    assert!(page.text().contains("data-retry"), "its script tries again: {}", page.text());
    assert_eq!(
        page.field("refresh"),
        None,
        "a reload would be a navigation, and wind the idle clock for ever"
    );
}

#[tokio::test]
async fn requests_of_one_client_connection_share_one_upstream_connection_and_nobody_elses() {
    let scene = Scene::set().await;
    let bob = scene.gate.person("bob").await;
    let mut wires = [scene.wire().await, Wire::open(&bob.client).await];

    for _ in 0..5 {
        for (wire, client) in wires.iter_mut().zip([&scene.alice.client, &bob.client]) {
            wire.send(client.head("GET", "/standin/echo-head", "").as_bytes()).await;
            assert_eq!(wire.answer("GET").await.unwrap().status, 200);
        }
    }

    let connections: Vec<usize> = scene.pve.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1].repeat(5));
}

#[tokio::test]
async fn connections_of_one_client_share_no_upstream_connection_either() {
    let scene = Scene::set().await;
    let mut wires = [scene.wire().await, scene.wire().await];

    for _ in 0..3 {
        for wire in &mut wires {
            wire.send(scene.alice.client.head("GET", "/standin/echo-head", "").as_bytes()).await;
            assert_eq!(wire.answer("GET").await.unwrap().status, 200);
        }
    }

    let connections: Vec<usize> = scene.pve.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1].repeat(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_meets_the_moment_at_which_pveproxy_closes_an_idle_connection() {
    let scene = Scene::set().await;
    let mut waiting = JoinSet::new();
    // Around the gate's own limit of three seconds, between the two, and around pveproxy's of five.
    for millis in (2950..3050).step_by(10).chain([3500, 4000, 4500]).chain((4970..5030).step_by(2)) {
        let client = scene.alice.client.clone();
        waiting.spawn(async move {
            let mut wire = Wire::open(&client).await;
            let mut statuses = Vec::new();
            for pause in [0, millis] {
                // The time itself is the subject here; there is nothing else to wait for.
                sleep(Duration::from_millis(pause)).await;
                let head = client.head("POST", &format!("/standin/sink?{millis}"), "Content-Length: 1\r\n");
                wire.send(format!("{head}x").as_bytes()).await;
                statuses.push(wire.answer("POST").await.map(|answer| answer.status));
            }
            (millis, statuses)
        });
    }
    for (millis, statuses) in waiting.join_all().await {
        assert_eq!(statuses, [Some(200), Some(200)], "after {millis} ms");
        // Long before pveproxy would close it, a connection is not used any more.
        let target = format!("/standin/sink?{millis}");
        let requests = scene.pve.requests();
        let connections: Vec<_> =
            requests.iter().filter(|r| r.target == target).map(|r| r.connection).collect();
        assert_eq!(connections.len(), 2, "none was sent twice");
        assert!(millis < 3500 || connections[0] != connections[1], "after {millis} ms");
    }
}

#[tokio::test]
async fn what_was_sent_is_never_sent_again() {
    let mut scene = Scene::set().await;
    // The first answer leaves a connection to be used again; the second request finds it closing.
    let mut connection = scene.alice.client.connect().await;
    let client = &mut scene.alice.client;
    client.send_on(&mut connection, Method::GET, "/standin/echo-head", "".into()).await;
    let origin = client.origin();
    let mut acting = client.clone().with("origin", &origin);

    let reply = acting.send_on(&mut connection, Method::POST, "/standin/close?end=fin", "x".into()).await;

    assert_eq!(reply.status, 502);
    let posts = scene.pve.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1);
}
