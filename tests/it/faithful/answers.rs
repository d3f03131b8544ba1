//! Answers, as the client is to see them: reason phrases, fields, ends of bodies, patience.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::demo::Settings;
use sha2::{Digest as _, Sha256};

use super::{Scene, pattern};

#[tokio::test]
async fn status_and_reason_phrase_arrive_as_pveproxy_sent_them() {
    let scene = Scene::set().await;
    #[rustfmt::skip]
    let table = [
        ("/standin/status/595?reason=Connection%20refused",     595, "Connection refused"),
        ("/standin/status/596?reason=Connection%20timed%20out", 596, "Connection timed out"),
        ("/standin/status/500?reason=storage%20offline",        500, "storage offline"),
        ("/api2/json/version",                                  401, "No ticket"),
        ("/api2/zzz",                                           501, "no such uri"),
        // Not ASCII: the canonical phrase rather than none.
        ("/standin/latin1-reason",                              500, "Internal Server Error"),
    ];
    for (target, status, reason) in table {
        let answer = scene.ask("GET", target, "", b"").await;

        assert_eq!((answer.status, answer.reason.as_str()), (status, reason), "{target}");
    }
}

#[tokio::test]
async fn fields_of_an_answer_pass_but_no_cookie_that_claims_our_name() {
    let scene = Scene::set().await;
    let response = "HTTP/1.1 200 OK\r\nConnection: close, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
        Set-Cookie: __Host-pvegate=evil; Secure; Path=/\r\nSet-Cookie: PVEAuthCookie=x; path=/; secure\r\n\
        Set-Cookie: __HOST-PVEGATE-device=evil\r\nContent-Disposition: attachment; filename=\"a b\"\r\n\
        Last-Modified: Tue, 24 Nov 2026 08:00:00 GMT\r\nCache-Control: max-age=0\r\nContent-Length: 2\r\n\r\nok";
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("response", response).finish();

    let answer = scene.ask("GET", &format!("/standin/verbatim?{query}"), "", b"").await;

    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.values("set-cookie"), ["PVEAuthCookie=x; path=/; secure"]);
    assert_eq!(answer.values("x-inner"), [""; 0]);
    assert_eq!(answer.values("keep-alive"), [""; 0]);
    assert_eq!(answer.values("content-disposition"), ["attachment; filename=\"a b\""]);
    assert_eq!(answer.values("last-modified"), ["Tue, 24 Nov 2026 08:00:00 GMT"]);
    assert_eq!(answer.values("cache-control"), ["max-age=0"]);
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_complete_with_and_without_close_notify() {
    let scene = Scene::set().await;
    for end in ["fin", "close_notify"] {
        let target = format!("/standin/stream/close-delimited?bytes=1000000&end={end}");

        let answer = scene.ask("GET", &target, "", b"").await;

        assert_eq!(answer.body.len(), 1_000_000, "{end}");
        assert!(answer.body == pattern(1_000_000), "{end}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_complete() {
    let scene = Scene::set().await;
    for target in [
        "/standin/stream/close-delimited?bytes=100000&end=rst",
        "/standin/stream/length?bytes=100000&send=50000&end=fin",
        "/standin/stream/length?bytes=100000&send=50000&end=close_notify",
        "/standin/stream/length?bytes=100000&send=50000&end=rst",
    ] {
        let mut wire = scene.wire().await;
        wire.send(scene.alice.client.head("GET", target, "").as_bytes()).await;
        // A reset may overtake the head itself; then the answer is a 502.
        let head = wire.head().await.unwrap_or_default();
        let (body, _) = wire.rest().await;

        let is_fault = head.starts_with("HTTP/1.1 502 ");
        let is_whole = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            true => body.ends_with(b"0\r\n\r\n"),
            false => body.len() >= 100_000,
        };
        assert!(is_fault || !is_whole, "{target}: {head}");
    }
}

#[tokio::test]
async fn the_first_chunk_arrives_when_it_is_sent_and_not_with_the_last() {
    let scene = Scene::set().await;
    for kind in ["close-delimited", "length"] {
        let mut wire = scene.wire().await;
        // The second chunk comes in an hour.
        let target = format!("/standin/stream/{kind}?bytes=20&chunk=10&every-ms=3600000");
        wire.send(scene.alice.client.head("GET", &target, "").as_bytes()).await;

        let head = wire.head().await.unwrap();
        let mut body = Vec::new();
        while !body.windows(10).any(|window| window == pattern(10)) {
            body.extend(wire.some().await);
        }

        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}

#[tokio::test]
async fn an_empty_answer_without_a_length_comes_to_its_end() {
    let scene = Scene::with(Settings { idle: Duration::from_millis(300), ..Settings::quick() }).await;
    let mut scene = scene;
    scene.alice.sign_in_to_pve().await;

    let answer = scene.ask("GET", "/api2/png/version", "", b"").await;

    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn a_download_that_its_client_gives_up_is_given_up_upstream() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;
    let target = "/standin/stream/length?bytes=100000000000";

    wire.send(scene.alice.client.head("GET", target, "").as_bytes()).await;
    wire.head().await.unwrap();
    wire.some().await;
    drop(wire);

    scene.pve.wait_until(|seen| seen.connections_open == 0).await;
}

#[tokio::test]
async fn a_download_arrives_whole_and_unchanged() {
    let scene = Scene::set().await;
    let length = 8 * 1024 * 1024 + 13;

    let answer = scene.ask("GET", &format!("/standin/stream/length?bytes={length}"), "", b"").await;

    assert_eq!(answer.values("content-length"), [length.to_string()]);
    assert_eq!(Sha256::digest(&answer.body), Sha256::digest(pattern(length)));
}

#[tokio::test]
async fn a_head_that_takes_longer_than_any_idle_limit_is_waited_for() {
    let scene = Scene::set().await;

    let answer = scene.ask("GET", "/standin/head-delay?ms=5500&bytes=10", "", b"").await;

    assert_eq!(answer.status, 200);
    assert!(answer.body == pattern(10));
}
