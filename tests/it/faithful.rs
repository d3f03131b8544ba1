//! What a proxy in front of pveproxy must preserve: Proxmox VE's interface, its consoles and its
//! clients notice no difference.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use http::Method;
use pvegate::demo::{SeenRequest, Settings, fill_pattern};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
    time::sleep,
};

use crate::harness::{Answer, Person, Pve, TestGate, Wire};

/// Somebody who is signed in at a gate, and the far side.
struct Scene {
    pve: Pve,
    gate: TestGate,
    alice: Person,
}

impl Scene {
    async fn set() -> Self {
        Self::with(Settings::quick()).await
    }

    async fn with(settings: Settings) -> Self {
        let pve = Pve::with(settings).await;
        let gate = TestGate::in_front_of(&pve).await;
        let alice = gate.person("alice").await;
        Self { pve, gate, alice }
    }

    async fn wire(&self) -> Wire {
        Wire::open(&self.alice.client).await
    }

    /// One request with these field lines on a connection of its own.
    async fn ask(&self, method: &str, target: &str, more: &str, body: &[u8]) -> Answer {
        let mut wire = self.wire().await;
        wire.send(self.alice.client.head(method, target, more).as_bytes()).await;
        wire.send(body).await;
        wire.answer(method).await.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// What pveproxy saw last.
    fn seen(&self) -> SeenRequest {
        self.pve.requests().pop().unwrap()
    }
}

fn texts<'a>(request: &'a SeenRequest, name: &str) -> Vec<&'a str> {
    request.values(name).into_iter().map(|value| std::str::from_utf8(value).unwrap()).collect()
}

fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill_pattern(0, &mut bytes);
    bytes
}

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
async fn odd_methods_and_odd_paths_arrive_byte_for_byte() {
    let scene = Scene::set().await;
    let long = format!("/standin/echo-head?{}", "x".repeat(7 * 1024));
    #[rustfmt::skip]
    let table = [
        ("GET",     "///"),
        ("GET",     "/api2///json//version"),
        ("GET",     "/api2/json/%61ccess%2Fdomains"),
        ("GET",     "/pve2/../pve2/./js?a=b&a=c&&=%20+"),
        ("GET",     "/%ff%00;v=1"),
        ("GET",     "/?console=kvm&vmid=100&node=demo&resize=off"),
        ("DELETE",  "/api2/json/nodes/demo/qemu/100"),
        ("PUT",     "/api2/json/nodes/demo/qemu/100/config"),
        ("HEAD",    "/"),
        ("OPTIONS", "/api2/json/version"),
        ("PATCH",   "/api2/json/version"),
        ("GET",     long.as_str()),
    ];
    for (method, target) in table {
        let answer = scene.ask(method, target, "", b"").await;

        let seen = scene.seen();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, target));
        if matches!(method, "HEAD" | "OPTIONS" | "PATCH") {
            assert_eq!(answer.reason, format!("method '{method}' not available"));
        }
    }
}

#[tokio::test]
async fn one_cookie_field_goes_up_without_ours_and_in_order() {
    let scene = Scene::set().await;
    let more = "cookie: b=2;PVEAuthCookie=x;  __Host-pvegate-device=d\r\ncookie: __Host-pvegate-language=de; c=\"3\"; a=1\r\n";

    scene.ask("GET", "/standin/echo-head", more, b"").await;

    let seen = scene.seen();
    assert_eq!(texts(&seen, "cookie"), ["b=2; PVEAuthCookie=x; c=\"3\"; a=1"]);
    let session = scene.alice.session_cookie().unwrap();
    assert!(!String::from_utf8_lossy(&seen.raw_head).contains(session));

    scene.ask("GET", "/standin/echo-head", "", b"").await;
    assert_eq!(texts(&scene.seen(), "cookie"), [""; 0], "where none is left there is no field");
}

#[tokio::test]
async fn one_true_address_stands_in_place_of_every_claim() {
    let scene = Scene::set().await;
    let mut more = String::new();
    for name in [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X-Real-IP",
        "X_Real_IP",
        "Forwarded",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "PVEClientIP",
        "PVEDisableProxy",
    ] {
        more += &format!("{name}: 203.0.113.66\r\n");
    }
    // Fields of the gate's own cannot be declared to be for the next hop only.
    more += "Connection: x-forwarded-for, host, content-length, cookie\r\n";

    scene.ask("GET", "/standin/echo-head", &more, b"").await;

    let seen = scene.seen();
    assert_eq!(texts(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(texts(&seen, "host"), [scene.gate.authority()]);
    let head = String::from_utf8_lossy(&seen.raw_head).into_owned();
    assert!(!head.contains("203.0.113.66"), "{head}");
}

#[tokio::test]
async fn fields_between_neighbours_stay_between_them_and_others_pass() {
    let scene = Scene::set().await;
    let more = "Connection: keep-alive, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nAuthorization: PVEAuthCookie=PVE:root@pam:x\r\n\
        CSRFPreventionToken: 6A:x\r\nAccept-Encoding: gzip\r\nIf-Modified-Since: Tue, 24 Nov 2026 08:00:00 GMT\r\n";

    scene.ask("GET", "/standin/echo-head", more, b"").await;

    let seen = scene.seen();
    for gone in
        ["x-inner", "keep-alive", "proxy-connection", "proxy-authorization", "te", "connection", "upgrade"]
    {
        assert_eq!(texts(&seen, gone), [""; 0], "{gone}");
    }
    for (name, value) in [
        ("authorization", "PVEAuthCookie=PVE:root@pam:x"),
        ("csrfpreventiontoken", "6A:x"),
        ("accept-encoding", "gzip"),
        ("if-modified-since", "Tue, 24 Nov 2026 08:00:00 GMT"),
        ("host", &scene.gate.authority()),
    ] {
        assert_eq!(texts(&seen, name), [value], "{name}");
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
async fn pveproxy_always_hears_a_length_and_never_a_transfer_coding() {
    let scene = Scene::set().await;

    for method in ["POST", "PUT"] {
        scene.ask(method, "/standin/sink", "", b"").await;
        assert_eq!(texts(&scene.seen(), "content-length"), ["0"], "{method} without a body");
    }
    scene.ask("GET", "/standin/echo-head", "", b"").await;
    assert_eq!(texts(&scene.seen(), "content-length"), [""; 0]);

    let chunked = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n";
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
async fn more_fields_than_pveproxy_answers_are_answered_here() {
    let scene = Scene::set().await;
    scene.ask("GET", "/standin/echo-head", "", b"").await;
    let usual = scene.seen().fields.len();
    let before = scene.pve.requests_seen();
    let lines = |count: usize| (0..count).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();

    let many = scene.ask("GET", "/standin/echo-head", &lines(62), b"").await;
    let long = scene.ask("GET", "/standin/echo-head", &format!("x: {}\r\n", "y".repeat(8 * 1024)), b"").await;
    assert_eq!((many.status, long.status), (431, 431));
    assert_eq!(scene.pve.requests_seen(), before);

    // As many as pveproxy does take, but for one line that is left for a length.
    let most = scene.ask("GET", "/standin/echo-head", &lines(61 - usual), b"").await;
    assert_eq!(most.status, 200);
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

/// A form for an upload of `file`.
fn upload_form(file: &[u8]) -> (String, Vec<u8>) {
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(file));
    let mut body = Vec::new();
    for (name, value) in [("content", "iso"), ("checksum-algorithm", "sha256"), ("checksum", &digest)] {
        body.extend(
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .into_bytes(),
        );
    }
    body.extend(
        b"--XX\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend(b"\r\n--XX--\r\n");
    let fields =
        format!("Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n", body.len());
    (fields, body)
}

const UPLOAD: &str = "/api2/json/nodes/demo/storage/local/upload";

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
async fn an_answer_that_comes_while_the_body_is_going_up_reaches_the_client() {
    let scene = Scene::set().await;
    for attempt in 0..20 {
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
async fn a_head_that_takes_longer_than_any_idle_limit_is_waited_for() {
    let scene = Scene::set().await;

    let answer = scene.ask("GET", "/standin/head-delay?ms=5500&bytes=10", "", b"").await;

    assert_eq!(answer.status, 200);
    assert!(answer.body == pattern(10));
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

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
