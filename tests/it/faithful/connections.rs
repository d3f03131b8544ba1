//! Connections to pveproxy: whose they are, when one is used again, what happens when none answers.

use std::time::Duration;

use http::Method;
use pvegate::demo::Settings;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::Scene;
use crate::harness::{Pve, TestGate, Wire, long};

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

/// Milliseconds between the requests of a connection, and how many follow the first.
fn pauses() -> (Vec<u64>, usize) {
    // Around the gate's own limit of three seconds, between the two, and around pveproxy's of five.
    let marks = (2950..3050).step_by(10).chain([3500, 4000, 4500]).chain((4970..5030).step_by(2));
    match long() {
        false => (marks.collect(), 1),
        true => (marks.chain(4900..5100).chain(2950..3050).collect(), 12),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_meets_the_moment_at_which_pveproxy_closes_an_idle_connection() {
    let pve = Pve::with(Settings { remember: 100_000, ..Settings::quick() }).await;
    let gate = TestGate::recipe(&pve).set("limits.connections_per_source", "1000").start().await;
    let alice = gate.person("alice").await;
    let (pauses, more) = pauses();
    let mut waiting = JoinSet::new();
    for (number, millis) in pauses.into_iter().enumerate() {
        let client = alice.client.clone();
        waiting.spawn(async move {
            let target = format!("/standin/sink?{number}");
            let mut wire = Wire::open(&client).await;
            for pause in std::iter::once(0).chain(std::iter::repeat_n(millis, more)) {
                // The time itself is the subject here; there is nothing else to wait for.
                sleep(Duration::from_millis(pause)).await;
                let head = client.head("POST", &target, "Content-Length: 1\r\n");
                wire.send(format!("{head}x").as_bytes()).await;
                let answer = wire.answer("POST").await.map(|answer| answer.status);
                assert_eq!(answer, Some(200), "after {pause} ms");
            }
            (millis, target)
        });
    }
    let mut sent = 0;
    for (millis, target) in waiting.join_all().await {
        let seen = pve.requests();
        let connections: Vec<_> = seen.iter().filter(|r| r.target == target).map(|r| r.connection).collect();
        assert_eq!(connections.len(), 1 + more, "none was sent twice");
        // Long before pveproxy would close it, a connection is not used any more.
        let is_fresh = connections.windows(2).all(|two| two[0] != two[1]);
        assert!(millis < 3500 || is_fresh, "after {millis} ms");
        sent += connections.len();
    }
    eprintln!("{sent} requests, and none met the end of a connection");
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
