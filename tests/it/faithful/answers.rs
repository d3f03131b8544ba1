//! Answers, as the client is to see them: reason phrases, fields, ends of bodies, patience.

use std::time::Duration;

use pvegate::demo::Settings;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::AsyncWriteExt as _,
    sync::watch,
    time::{sleep, timeout},
};

use super::{Scene, in_front_of, pattern, settled};
use crate::harness::{Pve, TestGate, Wire, long};

#[tokio::test]
async fn status_and_reason_phrase_arrive_as_pveproxy_sent_them() {
    let scene = Scene::set().await;
    let long = "storage 'a' is not online, ".repeat(120);
    #[rustfmt::skip]
    let table = [
        ("/standin/status/595?reason=Connection%20refused",     595, "Connection refused"),
        ("/standin/status/597?reason=597",                      597, "597"),
        ("/standin/status/598?reason=aborted",                  598, "aborted"),
        ("/standin/status/599?reason=Too%20many%20redirections", 599, "Too many redirections"),
        ("/standin/status/403?reason=Permission%20check%20failed%20(/,%20Sys.Audit)", 403, "Permission check failed (/, Sys.Audit)"),
        ("/standin/status/596?reason=Connection%20timed%20out", 596, "Connection timed out"),
        ("/standin/status/500?reason=storage%20offline",        500, "storage offline"),
        ("/api2/json/version",                                  401, "No ticket"),
        ("/api2/zzz",                                           501, "no such uri"),
        // Not ASCII: the canonical phrase rather than none.
        ("/standin/latin1-reason",                              500, "Internal Server Error"),
        ("/standin/status/500?reason=",                         500, "Internal Server Error"),
        // Nor is there a canonical one: what the code means.
        ("/standin/status/595?reason=",                         595, "Connection failed"),
        ("/standin/status/596?reason=verf%C3%BCgbar",           596, "No valid answer"),
        // Three kilobytes of it.
        ("/standin/status/500?reason=storage%20'a'%20is%20not%20online,%20&repeat=120", 500, long.as_str()),
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
        // Chunks that end without the last one.
        "/standin/verbatim?response=HTTP/1.1%20200%20OK%0d%0aTransfer-Encoding:%20chunked%0d%0a%0d%0a3%0d%0aabc%0d%0a",
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
    assert!(!answer.closes, "the client's connection goes on");
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
    let pve = Pve::start().await;
    let recipe = TestGate::recipe(&pve);
    // The long mode: the limits of the default, the longest of which is a minute.
    let (recipe, delay) = match long() {
        true => (recipe, 65_000),
        false => (recipe.set("limits.keep_alive", "300ms").set("limits.head", "300ms"), 1500),
    };
    let gate = recipe.start().await;
    let mut alice = gate.person("alice").await;

    let reply = alice.client.get(&format!("/standin/head-delay?ms={delay}&bytes=10")).await;

    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.body == pattern(10));
}

#[tokio::test]
async fn the_old_sign_in_of_proxmox_ve_sets_its_cookie_byte_for_byte() {
    let scene = Scene::set().await;
    let cookie = "PVEAuthCookie=PVE%3Aroot%40pam%3A6A%3A%3Aa%2B%2Fb%3D%3D; path=/; secure; SameSite=Lax;";
    let response = format!(
        "HTTP/1.1 301 Moved\r\nConnection: close\r\nLocation: /api2/html\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    );
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("response", &response).finish();

    let answer = scene.ask("GET", &format!("/standin/verbatim?{query}"), "", b"").await;

    assert_eq!((answer.status, answer.reason.as_str()), (301, "Moved"));
    assert_eq!(answer.values("location"), ["/api2/html"]);
    assert_eq!(answer.values("set-cookie"), [cookie]);
}

#[tokio::test]
async fn compressed_and_unmodified_answers_pass_as_they_are() {
    let scene = Scene::set().await;
    let asking = |fields: &'static str| scene.ask("GET", "/", fields, b"");
    let plain = asking("").await;

    let packed = asking("Accept-Encoding: gzip\r\n").await;
    let style = scene.ask("GET", "/pve2/css/stand-in.css", "", b"").await;

    assert_eq!(plain.values("content-encoding"), [""; 0]);
    assert_eq!(packed.values("content-encoding"), ["gzip"]);
    assert_eq!(packed.values("content-type"), plain.values("content-type"));
    assert_eq!(packed.body[..2], [0x1f, 0x8b], "nothing unpacks it on its way");
    let modified = style.values("last-modified").first().map(|at| format!("If-Modified-Since: {at}\r\n"));
    let again = scene.ask("GET", "/pve2/css/stand-in.css", &modified.unwrap(), b"").await;
    assert_eq!((again.status, again.reason.as_str()), (304, "NOT MODIFIED"));
}

#[tokio::test]
async fn what_stands_behind_an_answers_body_is_no_field() {
    let scene = Scene::set().await;
    let response = "HTTP/1.1 200 OK\r\nTrailer: Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
        Set-Cookie: __Host-pvegate=evil; Secure; Path=/\r\n\r\n";
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("response", response).finish();
    let mut wire = scene.wire().await;
    let head = scene.alice.client.head(
        "GET",
        &format!("/standin/verbatim?{query}"),
        "TE: trailers\r\nConnection: close, te\r\n",
    );

    wire.send(head.as_bytes()).await;
    let head = wire.head().await.unwrap();
    let (body, _) = wire.rest().await;

    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(String::from_utf8_lossy(&body), "3\r\nabc\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_head_is_awaited_for_minutes_by_default_and_no_longer_than_is_configured() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("upstream.idle_timeout", "1s").start().await;
    let mut alice = gate.person("alice").await;

    let reply = alice.client.get("/standin/silence").await;

    assert_eq!(reply.status, 504, "{}", reply.text());
    pve.wait_until(|seen| seen.connections_open == 0).await;
    let default = TestGate::recipe(&pve).start().await;
    assert!(default.config.upstream.idle_timeout >= Duration::from_secs(60));
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_before_the_answer_is_given_up_upstream() {
    let scene = Scene::set().await;
    let mut wire = scene.wire().await;

    wire.send(scene.alice.client.head("GET", "/standin/silence", "").as_bytes()).await;
    scene.pve.wait_until(|seen| seen.requests_seen == 1).await;
    drop(wire);

    scene.pve.wait_until(|seen| seen.connections_open == 0).await;
}

/// More than the buffers on the way hold, so that who does not read holds up the stand-in.
const BEYOND_BUFFERS: usize = 24 * 1024 * 1024;

#[tokio::test]
async fn a_download_that_is_paused_goes_on_where_it_was() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.keep_alive", "200ms").start().await;
    let alice = gate.person("alice").await;
    let mut wire = Wire::open(&alice.client).await;
    let target = format!("/standin/stream/length?bytes={BEYOND_BUFFERS}");

    wire.send(alice.client.head("GET", &target, "").as_bytes()).await;
    wire.head().await.unwrap();
    // The time itself is the subject: a stranger would be cut after a fifth of it.
    sleep(Duration::from_secs(1)).await;
    let mut body = Vec::new();
    while body.len() < BEYOND_BUFFERS {
        let some = wire.some().await;
        assert!(!some.is_empty(), "cut after {} bytes", body.len());
        body.extend(some);
    }

    assert!(body == pattern(BEYOND_BUFFERS));
}

#[tokio::test]
async fn a_download_that_is_paused_for_too_long_is_given_up_at_both_ends() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.download_pause", "1s").start().await;
    let alice = gate.person("alice").await;
    let mut wire = Wire::open(&alice.client).await;

    wire.send(alice.client.head("GET", "/standin/stream/length?bytes=100000000000", "").as_bytes()).await;
    wire.head().await.unwrap();

    pve.wait_until(|seen| seen.connections_open == 0).await;
}

#[tokio::test]
async fn a_stranger_who_takes_no_answer_is_closed_soon() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.keep_alive", "200ms").start().await;
    let stranger = gate.client();
    let mut stream = stranger.tls_stream().await;
    let requests = stranger.head("GET", "/_gate/sign-in", "").repeat(100);

    // Asked for again and again and never read: without a limit this would wait for ever.
    let asking = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };

    timeout(Duration::from_secs(20), asking).await.unwrap();
}

#[tokio::test]
async fn a_paused_download_ends_when_its_session_is_ended() {
    let (taken, mut count) = watch::channel(0);
    let (gave_up, mut given_up) = watch::channel(false);
    let gate = in_front_of(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", move |mut stream| {
        let (taken, gave_up) = (taken.clone(), gave_up.clone());
        async move {
            while stream.write_all(&[7; 64 * 1024]).await.is_ok() {
                taken.send_modify(|count| *count += 64 * 1024);
            }
            gave_up.send_replace(true);
        }
    })
    .await;
    let mut alice = gate.person("alice").await;
    let mut wire = Wire::open(&alice.client).await;
    wire.send(alice.client.head("GET", "/", "").as_bytes()).await;
    wire.head().await.unwrap();
    // Nothing moves any more: no body is asked for what it has, and only the hold sees the session's end.
    settled(&mut count).await;

    alice.sign_out().await;

    timeout(Duration::from_secs(20), given_up.wait_for(|given_up| *given_up)).await.unwrap().unwrap();
}
