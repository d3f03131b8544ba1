//! Request bodies: always a length, expectations, early answers, uploads that are given up.

use std::time::Duration;

use pvegate::demo::Settings;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use super::{Scene, UPLOAD, pattern, texts, upload_form};
use crate::harness::{Pve, TestGate, Wire};

#[tokio::test]
async fn pveproxy_always_hears_a_length_and_never_a_transfer_coding() {
    let scene = Scene::set().await;

    for method in ["POST", "PUT"] {
        scene.ask(method, "/standin/sink", "", b"").await;
        assert_eq!(texts(&scene.seen(), "content-length"), ["0"], "{method} without a body");
    }
    scene.ask("GET", "/standin/echo-head", "", b"").await;
    assert_eq!(texts(&scene.seen(), "content-length"), [""; 0]);

    let chunked = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let answer = scene.ask("POST", "/standin/sink", "Transfer-Encoding: chunked\r\n", chunked).await;
    let seen = scene.seen();
    assert_eq!(answer.status, 200);
    assert_eq!(texts(&seen, "content-length"), ["7"]);
    assert_eq!(texts(&seen, "transfer-encoding"), [""; 0]);
    assert_eq!(seen.body_sha256, Some(Sha256::digest(b"abcdefg").into()));
}

#[tokio::test]
async fn a_chunked_body_is_measured_up_to_512_kib_and_refused_beyond() {
    let scene = Scene::set().await;
    let chunked = |length: usize| {
        let mut body = format!("{length:x}\r\n").into_bytes();
        body.extend(pattern(length));
        body.extend(b"\r\n0\r\n\r\n");
        body
    };
    let limit = 512 * 1024;

    let most = scene.ask("POST", "/standin/sink", "Transfer-Encoding: chunked\r\n", &chunked(limit)).await;
    assert_eq!(most.status, 200);
    assert_eq!(scene.seen().body_length, Some(limit as u64));

    let before = scene.pve.requests_seen();
    let more =
        scene.ask("POST", "/standin/sink", "Transfer-Encoding: chunked\r\n", &chunked(limit + 1)).await;
    assert_eq!(more.status, 413);
    assert_eq!(scene.pve.requests_seen(), before, "pveproxy hears nothing of it");
}

#[tokio::test]
async fn an_upload_arrives_whole_and_unchanged() {
    let mut scene = Scene::set().await;
    scene.alice.sign_in_to_pve().await;
    let file = pattern(5 * 1024 * 1024 + 7);
    let (fields, body) = upload_form(&file);

    let answer = scene.ask("POST", UPLOAD, &fields, &body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let upload = scene.pve.uploads().pop().unwrap();
    assert_eq!(upload.bytes, file.len() as u64);
    assert_eq!(upload.sha256, <[u8; 32]>::from(Sha256::digest(&file)));
    assert_eq!(texts(&scene.seen(), "content-length"), [body.len().to_string()]);
}

#[tokio::test]
async fn an_expectation_is_met_by_the_gate_and_does_not_go_up() {
    let mut scene = Scene::set().await;
    scene.alice.sign_in_to_pve().await;
    let (fields, body) = upload_form(b"image");
    let head = scene.alice.client.head("POST", UPLOAD, &format!("{fields}Expect: 100-continue\r\n"));
    let mut wire = scene.wire().await;

    wire.send(head.as_bytes()).await;
    let go_on = wire.head().await.unwrap();
    wire.send(&body).await;
    let answer = wire.answer("POST").await.unwrap();

    assert!(go_on.starts_with("HTTP/1.1 100 "), "{go_on}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(texts(&scene.seen(), "expect"), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_its_client_gives_up_is_given_up_upstream() {
    let mut scene = Scene::set().await;
    scene.alice.sign_in_to_pve().await;
    let (fields, body) = upload_form(&pattern(4 * 1024 * 1024));
    let mut wire = scene.wire().await;

    wire.send(scene.alice.client.head("POST", UPLOAD, &fields).as_bytes()).await;
    wire.send(&body[..body.len() / 2]).await;
    scene.pve.wait_until(|seen| seen.uploads_begun == 1).await;
    drop(wire);

    scene.pve.wait_until(|seen| seen.aborted_uploads == 1).await;
    assert_eq!(scene.pve.uploads(), []);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_body_is_going_up_reaches_the_client() {
    let scene = Scene::set().await;
    for attempt in 0..50 {
        let target = "/standin/early?after=100000&code=501&reason=for%20data%20too%20large";
        let head = scene.alice.client.head("POST", target, "Content-Length: 1000000000\r\n");
        let stream = scene.alice.client.tls_stream().await;
        let (mut from_gate, mut to_gate) = tokio::io::split(stream);
        to_gate.write_all(head.as_bytes()).await.unwrap();

        // Writing goes on until it fails, as a browser's does; reading finds the answer meanwhile.
        let writing = async {
            let block = pattern(64 * 1024);
            while to_gate.write_all(&block).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut answer = Vec::new();
            let mut bytes = [0; 4096];
            while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
                let read = from_gate.read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "attempt {attempt}: {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&bytes[..read]);
            }
            String::from_utf8_lossy(&answer).into_owned()
        };
        let answer = tokio::select! { answer = reading => answer, () = writing => unreachable!() };

        assert!(answer.starts_with("HTTP/1.1 501 for data too large\r\n"), "attempt {attempt}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_is_there_for_a_client_that_reads_only_when_it_can_write_no_more() {
    let scene = Scene::set().await;
    for attempt in 0..50 {
        let target = "/standin/early?after=100000&code=501&reason=for%20data%20too%20large";
        let head = scene.alice.client.head("POST", target, "Content-Length: 1000000000\r\n");
        let mut stream = scene.alice.client.tls_stream().await;
        stream.write_all(head.as_bytes()).await.unwrap();

        // As browsers do: the answer is looked for when writing has failed.
        let block = pattern(64 * 1024);
        while stream.write_all(&block).await.is_ok() {}
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;

        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 501 for data too large\r\n"), "attempt {attempt}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_stalls_in_its_upload_hears_so_before_pveproxy_drops_it() {
    // With pveproxy's own five seconds: a gate that gives up no earlier loses this race and answers 502.
    let mut scene = Scene::set().await;
    assert_eq!(Settings::quick().body, Duration::from_secs(5));
    scene.alice.sign_in_to_pve().await;
    let (fields, body) = upload_form(&pattern(1024 * 1024));
    let mut wire = scene.wire().await;

    wire.send(scene.alice.client.head("POST", UPLOAD, &fields).as_bytes()).await;
    wire.send(&body[..body.len() / 2]).await;
    let answer = wire.answer("POST").await.unwrap();

    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(answer.closes);
    scene.pve.wait_until(|seen| seen.aborted_uploads == 1).await;
    assert_eq!(scene.pve.uploads(), []);
}

#[tokio::test]
async fn an_upload_that_pveproxy_gives_up_is_a_fault_at_once() {
    let mut scene = Scene::with(Settings { body: Duration::from_millis(200), ..Settings::quick() }).await;
    scene.alice.sign_in_to_pve().await;
    let (fields, body) = upload_form(&pattern(1024 * 1024));
    let mut wire = scene.wire().await;

    wire.send(scene.alice.client.head("POST", UPLOAD, &fields).as_bytes()).await;
    wire.send(&body[..body.len() / 2]).await;
    let answer = wire.answer("POST").await.unwrap();

    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(scene.pve.requests_seen(), 2, "the sign-in and the upload: it is not sent again");
    assert!(wire.answer("GET").await.is_none(), "what is left of the body is no request");
}

#[tokio::test]
async fn a_client_that_stalls_in_a_body_without_a_length_hears_so_and_pveproxy_hears_nothing() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;

    let head = scene.alice.client.head("POST", "/standin/sink", "Transfer-Encoding: chunked\r\n");
    wire.send(format!("{head}5\r\nab").as_bytes()).await;
    let answer = wire.answer("POST").await.unwrap();

    assert_eq!((answer.status, answer.closes), (408, true));
    assert_eq!(scene.pve.requests_seen(), 0);
}

#[tokio::test]
async fn an_upload_may_last_longer_than_pveproxy_may_be_silent() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("upstream.idle_timeout", "1s").start().await;
    let alice = gate.person("alice").await;
    let mut wire = Wire::open(&alice.client).await;
    let head = alice.client.head("POST", "/standin/sink", "Content-Length: 25\r\n");

    wire.send(head.as_bytes()).await;
    for _ in 0..25 {
        // The time itself is the subject: two and a half seconds for an upload, where one is the limit.
        sleep(Duration::from_millis(100)).await;
        wire.send(b"x").await;
    }
    let answer = wire.answer("POST").await.unwrap();

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("\"bytes\":25"), "{}", answer.text());
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_not_told_to_go_on() {
    let scene = Scene::set().await;
    let stranger = scene.gate.client();
    let mut wire = Wire::open(&stranger).await;
    let more = "Content-Length: 1000000\r\nExpect: 100-continue\r\n";

    wire.send(stranger.head("POST", UPLOAD, more).as_bytes()).await;
    let head = wire.head().await.unwrap();

    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(scene.pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_body_where_pveproxy_takes_none_is_refused_here() {
    let scene = Scene::set().await;
    for method in ["GET", "DELETE"] {
        let answer = scene.ask(method, "/api2/json/version", "Content-Length: 3\r\n", b"a=b").await;

        assert_eq!((answer.status, answer.closes), (400, true), "{method}");
    }
    assert_eq!(scene.pve.requests_seen(), 0);
}
