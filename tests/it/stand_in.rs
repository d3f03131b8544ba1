//! The stand-in behaves as pveproxy does: one promise a test, asserted on bytes.
//!
//! Clients are raw TLS streams, since what is tested is what comes over the wire. Timers are shortened where
//! a test waits for one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else has failed"
)]

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use flate2::read::GzDecoder;
use pvegate::{
    demo::{Checksum, Settings, StandIn, fill_pattern},
    time::{ManualClock, Timestamp},
    tls::Identity,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::Scratch;

const NOW: i64 = 1_795_528_951; // Tue, 24 Nov 2026 14:02:31 GMT
const TOKEN: &str = "root@pam!demo=6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";
/// For what comes at once: long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// Stands for five seconds.
const SHORT: Duration = Duration::from_millis(150);
/// Stands for five seconds where a client needs time to shake hands.
const IDLE: Duration = Duration::from_secs(1);

struct Pve {
    stand_in: StandIn,
    clock: Arc<ManualClock>,
    root: CertificateDer<'static>,
}

/// How a connection ended, as the client sees it.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// close_notify.
    CloseNotify,
    /// FIN without close_notify.
    Fin,
    /// RST.
    Reset,
}

impl Pve {
    async fn start(settings: Settings) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let root = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let identity = Identity { chain: vec![root.clone()], key };
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings { clock: clock.clone(), ..settings };
        Self { stand_in: StandIn::start(listener, &identity, settings).unwrap(), clock, root }
    }

    async fn quick() -> Self {
        Self::start(Settings::quick()).await
    }

    fn addr(&self) -> SocketAddr {
        self.stand_in.addr()
    }

    async fn connect(&self) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(self.addr()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        Client { tls, buffer: Vec::new() }
    }

    /// One request on a connection of its own, and the whole answer.
    async fn ask(&self, request: &str) -> Response {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        client.response().await
    }

    /// Cookie and CSRF token of a user.
    async fn sign_in(&self, user: &str, password: &str) -> (String, String) {
        let body = format!("username={user}&password={password}");
        let response = self.ask(&post("/api2/json/access/ticket", "", &body)).await;
        let data = response.json()["data"].take();
        let ticket = data["ticket"].as_str().unwrap();
        let cookie: String = form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
        let csrf = data["CSRFPreventionToken"].as_str().unwrap();
        (format!("Cookie: PVEAuthCookie={cookie}\r\n"), format!("CSRFPreventionToken: {csrf}\r\n"))
    }

    /// A WebSocket on a console with this backend, past its 101.
    async fn console(&self, mode: &str) -> Client {
        let (cookie, csrf) = self.sign_in("root@pam", "proxmox").await;
        let call = post(
            &format!("/api2/json/nodes/demo/vncshell?standin-mode={mode}"),
            &(cookie.clone() + &csrf),
            "",
        );
        let data = self.ask(&call).await.json()["data"].take();
        let ticket: String =
            form_urlencoded::byte_serialize(data["ticket"].as_str().unwrap().as_bytes()).collect();
        let mut client = self.connect().await;
        let target = format!("/api2/json/nodes/demo/vncwebsocket?port={}&vncticket={ticket}", data["port"]);
        client.send(get(&target, &format!("{cookie}{UPGRADE}")).as_bytes()).await;
        client
    }
}

const UPGRADE: &str = "Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary, base64\r\n";

struct Client {
    tls: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

struct Response {
    status: String,
    head: String,
    body: Vec<u8>,
    /// `None`: the connection stays.
    ended: Option<Ended>,
}

impl Response {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).await.unwrap();
        self.tls.flush().await.unwrap();
    }

    /// Reads more, or says how it ended.
    async fn fill(&mut self) -> Option<Ended> {
        let read = timeout(SOON, self.tls.read_buf(&mut self.buffer)).await.expect("silence");
        match read {
            Ok(0) => Some(Ended::CloseNotify),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Ended::Fin),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(Ended::Reset),
            Err(error) => panic!("{error}"),
        }
    }

    /// Exactly so many bytes.
    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            let ended = self.fill().await;
            assert_eq!(ended, None, "after {:?}", String::from_utf8_lossy(&self.buffer));
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything until the end.
    async fn rest(&mut self) -> (Vec<u8>, Ended) {
        loop {
            if let Some(ended) = self.fill().await {
                return (std::mem::take(&mut self.buffer), ended);
            }
        }
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return head.iter().map(|byte| char::from(*byte)).collect();
            }
            let ended = self.fill().await;
            assert_eq!(ended, None, "after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// A response: by its length, or to the end of the connection.
    async fn response(&mut self) -> Response {
        let head = self.head().await;
        let status = head.split_once(' ').unwrap().1.lines().next().unwrap().to_owned();
        let mut response = Response { status, head, body: Vec::new(), ended: None };
        match response.field("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => response.body = self.take(length).await,
            None => {
                let (body, ended) = self.rest().await;
                (response.body, response.ended) = (body, Some(ended));
            }
        }
        response
    }

    /// A frame from the server: first byte and payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2).await;
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.take(2).await.try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()),
            short => u64::from(short),
        };
        (head[0], self.take(usize::try_from(length).unwrap()).await)
    }
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: pve:8006\r\n{fields}\r\n")
}

fn post(target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: pve:8006\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// A masked frame of at most 125 bytes.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill_pattern(0, &mut bytes);
    bytes
}

// 1. Heads and bodies

#[tokio::test]
async fn a_head_beyond_62_lines_or_8_kib_gets_no_answer() {
    let pve = Pve::start(Settings { head_refused: SHORT, ..Settings::quick() }).await;
    let lines = |count: usize| get("/", &"a: b\r\n".repeat(count - 1));
    let bytes = |count: usize| get("/", &format!("a: {}\r\n", "x".repeat(count - "Host: pve:8006a: ".len())));

    for accepted in [lines(62), bytes(8191)] {
        assert_eq!(pve.ask(&accepted).await.status, "200 OK");
    }
    for refused in [lines(63), bytes(8192)] {
        let begun = Instant::now();
        let mut client = pve.connect().await;
        client.send(refused.as_bytes()).await;

        assert_eq!(client.rest().await, (vec![], Ended::CloseNotify));
        assert!(begun.elapsed() >= SHORT);
    }
    assert_eq!(pve.stand_in.requests_seen(), 2);
}

#[tokio::test]
async fn what_pveproxy_refuses_by_its_head_is_refused_with_its_words() {
    let pve = Pve::quick().await;
    let (cookie, csrf) = pve.sign_in("root@pam", "proxmox").await;
    let credentials = format!("{cookie}{csrf}");
    let sized = |method: &str, fields: &str| {
        format!("{method} /api2/json/cluster/x HTTP/1.1\r\n{credentials}{fields}\r\n")
    };
    #[rustfmt::skip]
    let table = [
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(),               "501 method 'HEAD' not available", ""),
        ("PATCH /api2/json/x HTTP/1.1\r\n\r\n".to_owned(),   "501 method 'PATCH' not available", ""),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(),                "506 http protocol version 2.0 not supported", ""),
        ("GET x@y/.. HTTP/1.1\r\n\r\n".to_owned(),           "400 bad request", ""),
        ("GET / HTTP/1.1\r\nnonsense\r\n\r\n".to_owned(),    "506 unable to parse request header", ""),
        ("POST /api2/json/access/ticket HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "501 chunked transfer encoding not supported", "chunked transfer encoding not supported"),
        (sized("GET", "Content-Length: 2\r\n"),              "501 Unexpected content for method 'GET'", ""),
        (sized("DELETE", "Content-Length: 2\r\n"),           "501 Unexpected content for method 'DELETE'", ""),
        (sized("POST", "Content-Type: text/plain\r\nContent-Length: 2\r\n"),
            "506 upload 'Content-Type 'text/plain' not implemented", ""),
        (sized("PUT", "Content-Length: 524289\r\n"),         "501 for data too large", ""),
    ];
    for (request, status, body) in table {
        let response = pve.ask(&request).await;

        assert_eq!(response.status, status);
        assert_eq!(response.body, body.as_bytes(), "{status}");
        assert_eq!(response.field("connection"), Some("close"), "{status}");
        assert_eq!(response.field("content-length").is_some(), !body.is_empty(), "{status}");
    }
    let largest = "a=".to_owned() + &"x".repeat(524_286);
    assert_eq!(pve.ask(&post("/api2/json/cluster/x", &credentials, &largest)).await.status, "200 OK");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_while_it_is_still_coming() {
    let pve = Pve::quick().await;
    let mut client = pve.connect().await;

    client.send(b"POST /api2/json/access/ticket HTTP/1.1\r\nContent-Length: 600000\r\n\r\nusername=").await;

    let response = client.response().await;
    assert_eq!(
        (response.status.as_str(), response.ended),
        ("501 for data too large", Some(Ended::CloseNotify))
    );
    let written = async {
        loop {
            if client.tls.write_all(&[b'x'; 16_384]).await.is_err() || client.tls.flush().await.is_err() {
                break;
            }
        }
    };
    timeout(SOON, written).await.expect("the connection is closed, so writing fails at last");
}

// 2. Timers and keep-alive

#[tokio::test]
async fn idle_connections_heads_bodies_and_uploads_end_without_an_answer() {
    let settings = Settings { idle: IDLE, head: SHORT, body: SHORT, ..Settings::quick() };
    let pve = Pve::start(settings).await;
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    let upload = "/api2/json/nodes/demo/storage/local/upload";
    let form = "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n";
    #[rustfmt::skip]
    let table = [
        ("no request",     String::new()),
        ("half a head",    "GET / HTTP/1.1\r\nHo".to_owned()),
        ("half a body",    "POST /api2/json/access/ticket HTTP/1.1\r\nContent-Length: 9\r\n\r\nuser".to_owned()),
        ("half an upload", format!("POST {upload} HTTP/1.1\r\n{cookie}{form}\r\n--B\r\n")),
    ];
    for (case, request) in table {
        let mut client = pve.connect().await;
        client.send(request.as_bytes()).await;

        assert_eq!(client.rest().await, (vec![], Ended::CloseNotify), "{case}");
    }
    let mut client = pve.connect().await;
    client.send(get("/api2/json/access/domains", "").as_bytes()).await;
    assert_eq!(client.response().await.ended, None);
    assert_eq!(client.rest().await, (vec![], Ended::CloseNotify), "idle after an answer");
    assert_eq!(pve.stand_in.aborted_uploads(), 1);
}

#[tokio::test]
async fn the_defaults_are_those_of_pveproxy() {
    let five = Duration::from_secs(5);
    let settings = Settings::default();

    assert_eq!(
        [settings.idle, settings.head, settings.body, settings.head_refused, settings.dead_backend],
        [five; 5]
    );
    assert_eq!(settings.unauthorized_delay, Duration::from_secs(3));
    assert_eq!(
        (settings.requests_per_connection, settings.requests_per_worker, settings.workers),
        (100, 1000, 3)
    );
}

#[tokio::test]
async fn a_connection_serves_a_hundred_requests_even_pipelined_and_none_after_an_error() {
    let pve = Pve::quick().await;
    let request = get("/api2/json/access/domains", "");
    let mut client = pve.connect().await;

    client.send(request.repeat(101).as_bytes()).await;

    for number in 1..=100 {
        let response = client.response().await;
        let expected = if number == 100 { "close" } else { "Keep-Alive" };
        assert_eq!(response.field("connection"), Some(expected), "request {number}");
    }
    // The 101st was read ahead and is lost.
    assert_eq!(client.rest().await, (vec![], Ended::CloseNotify));

    let mut client = pve.connect().await;
    client.send(format!("{}{request}", get("/nowhere", "")).as_bytes()).await;
    let response = client.response().await;
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!((response.body, response.ended), (vec![], Some(Ended::CloseNotify)));

    let response = pve.ask("GET /api2/json/access/domains HTTP/1.0\r\n\r\n").await;
    assert!(response.head.starts_with("HTTP/1.0 200 OK\r\n"), "{}", response.head);
    assert_eq!(response.field("connection"), Some("close"));
}

// 3. Fields

#[tokio::test]
async fn dynamic_answers_files_and_empty_answers_have_the_fields_of_pveproxy() {
    let pve = Pve::start(Settings { idle: IDLE, ..Settings::quick() }).await;
    let now = "Tue, 24 Nov 2026 14:02:31 GMT";

    let dynamic = pve.ask(&get("/api2/json/access/domains", "")).await;
    for (name, value) in [
        ("Server", "pve-api-daemon/3.0"),
        ("Date", now),
        ("Expires", now),
        ("Cache-Control", "max-age=0"),
        ("Pragma", "no-cache"),
        ("Connection", "Keep-Alive"),
        ("Content-Type", "application/json;charset=UTF-8"),
    ] {
        assert_eq!(dynamic.field(name), Some(value));
    }

    let file = pve.ask(&get("/pve2/js/stand-in.js", "")).await;
    assert_eq!(file.field("last-modified"), Some(now));
    assert_eq!((file.field("cache-control"), file.field("expires"), file.field("etag")), (None, None, None));

    let compressed = pve.ask(&get("/pve2/js/stand-in.js", "Accept-Encoding: gzip, br\r\n")).await;
    assert_eq!((compressed.field("content-encoding"), compressed.field("vary")), (Some("gzip"), None));
    let mut plain = Vec::new();
    io::Read::read_to_end(&mut GzDecoder::new(compressed.body.as_slice()), &mut plain).unwrap();
    assert_eq!(plain, file.body);
    let small = pve.ask(&get("/api2/json/access/domains", "Accept-Encoding: gzip\r\n")).await;
    assert_eq!(small.field("content-encoding"), None, "a KiB or less is sent as it is");

    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    let empty = pve.ask(&get("/api2/png/version", &cookie)).await;
    assert_eq!(empty.status, "200 OK");
    assert_eq!((empty.field("connection"), empty.field("content-length")), (Some("Keep-Alive"), None));
    assert_eq!(
        (empty.body, empty.ended),
        (vec![], Some(Ended::CloseNotify)),
        "ended by the idle timer alone"
    );
}

// 4. Pages

#[tokio::test]
async fn the_index_names_the_user_of_the_cookie_and_other_paths_are_refused_by_name() {
    let pve = Pve::start(Settings { idle: IDLE, ..Settings::quick() }).await;
    let (cookie, csrf) = pve.sign_in("root@pam", "proxmox").await;

    let index = pve.ask(&get("/?console=shell", &cookie)).await;
    let text = String::from_utf8(index.body).unwrap();
    assert!(text.contains(r#"user: "root@pam""#), "{text}");
    assert!(text.contains(csrf.trim_end().split_once(": ").unwrap().1));
    let stranger = pve.ask(&get("/", "")).await;
    assert!(String::from_utf8(stranger.body).unwrap().contains(r#"user: "", csrf: """#));

    let modified = "If-Modified-Since: Tue, 24 Nov 2026 14:02:31 GMT\r\n";
    let unchanged = pve.ask(&get("/pve2/css/stand-in.css", modified)).await;
    assert_eq!((unchanged.status.as_str(), unchanged.body), ("304 NOT MODIFIED", vec![]));
    let earlier = "If-Modified-Since: Tue, 24 Nov 2026 14:02:30 GMT\r\n";
    assert_eq!(pve.ask(&get("/pve2/css/stand-in.css", earlier)).await.status, "200 OK");

    assert_eq!(pve.ask(&get("/x%20y", "")).await.status, "500 no such file '/x y'");
    assert_eq!(pve.ask(&get("/api2/zzz", "")).await.status, "501 no such uri");
    assert_eq!(pve.ask(&get("/api2", "")).await.status, "501 no such uri");
}

#[tokio::test]
async fn files_that_a_test_brings_are_served_and_nothing_beside_them() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path().join("pages/core")).unwrap();
    std::fs::write(scratch.path().join("pages/core/rfb.js"), "export default 1;").unwrap();
    std::fs::write(scratch.path().join("secret.js"), "secret").unwrap();
    let dirs = vec![("/novnc/".to_owned(), scratch.path().join("pages"))];
    let pve = Pve::start(Settings { dirs, idle: IDLE, ..Settings::quick() }).await;

    let script = pve.ask(&get("/novnc/core/rfb.js", "")).await;

    assert_eq!((script.status.as_str(), script.body.as_slice()), ("200 OK", &b"export default 1;"[..]));
    assert_eq!(script.field("content-type"), Some("application/javascript"));
    let secret = scratch.path().join("secret.js").display().to_string();
    for path in ["../secret.js", "%2e%2e%2fsecret.js", "core/../../secret.js", secret.as_str(), "core", ""] {
        let refused = pve.ask(&get(&format!("/novnc/{path}"), "")).await;
        assert!(refused.status.starts_with("500 no such file"), "{path}: {}", refused.status);
    }
}

// 5. Cookies

#[tokio::test]
async fn the_cookie_is_found_at_the_start_or_after_white_space_in_the_joined_lines() {
    let pve = Pve::quick().await;
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    let pair = cookie.trim_end().strip_prefix("Cookie: ").unwrap();
    #[rustfmt::skip]
    let table = [
        (format!("Cookie: {pair}\r\n"),                     "200 OK"),
        (format!("Cookie: a=b; {pair}; c=d\r\n"),           "200 OK"),
        (format!("Cookie: a=b;{pair}\r\n"),                 "401 No ticket"),
        (format!("Cookie: {pair}\r\nCookie: a=b\r\n"),      "401 Authentication failed!"),
        (format!("Cookie: a=b\r\nCookie: {pair}\r\n"),      "200 OK"),
        (format!("Cookie: PVEAuthCookie=x; {pair}\r\n"),    "401 Authentication failed!"),
        (format!("Authorization: {pair}\r\n"),              "200 OK"),
    ];
    for (fields, status) in table {
        assert_eq!(pve.ask(&get("/api2/json/version", &fields)).await.status, status, "{fields}");
    }
}

// 6. Signing in

#[tokio::test]
async fn signing_in_fails_late_as_a_401_in_json_and_as_a_200_in_extjs() {
    let pve = Pve::start(Settings { unauthorized_delay: SHORT, ..Settings::quick() }).await;
    let wrong = "username=demo@pve&password=wrong";

    let begun = Instant::now();
    let json = pve.ask(&post("/api2/json/access/ticket", "", wrong)).await;
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(json.status, "401 authentication failure");
    assert_eq!(json.json()["data"], serde_json::Value::Null);

    let begun = Instant::now();
    let extjs = pve.ask(&post("/api2/extjs/access/ticket", "", wrong)).await;
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(extjs.status, "200 OK");
    let body = extjs.json();
    assert_eq!((&body["success"], &body["status"]), (&0.into(), &"401".into()));

    let journal =
        "pvedaemon[1002]: authentication failure; rhost=127.0.0.1 user=demo@pve msg=invalid credentials";
    assert_eq!(pve.stand_in.journal(), [journal, journal]);
}

#[tokio::test]
async fn every_spelling_of_the_login_call_signs_in() {
    let pve = Pve::quick().await;
    let right = "username=demo&realm=pve&password=demo";

    for target in [
        "/api2/json/access/ticket",
        "/api2///json/access/ticket",
        "/api2/json/%61ccess/ticket",
        "/api2/json/access%2Fticket",
        "/api2/extjs/access/ticket",
        "/api2/htmljs/access/ticket",
    ] {
        let response = pve.ask(&post(target, "", right)).await;
        assert_eq!(response.status, "200 OK", "{target}");
        let text = String::from_utf8(response.body).unwrap();
        assert!(text.contains("PVE:demo@pve:6B0598F7::") && text.contains("cap"), "{target}: {text}");
    }
    let json = r#"{"username":"demo@pve","password":"demo"}"#;
    let response =
        pve.ask(&post("/api2/json/access/ticket", "Content-Type: application/json\r\n", json)).await;
    assert_eq!(response.status, "200 OK");
    let query = format!("/api2/json/access/ticket?{right}");
    assert_eq!(pve.ask(&post(&query, "", "password=wrong")).await.status, "200 OK", "the query wins");
    let html = pve.ask(&post("/api2/html/access/ticket", "Connection: close\r\n", right)).await;
    assert_eq!((html.status.as_str(), html.field("location")), ("301 Moved", Some("/api2/html")));
    assert!(html.field("set-cookie").unwrap().starts_with("PVEAuthCookie=PVE%3Ademo%40pve%3A"));
    for target in ["/api2/json//access/ticket", "/api2/json/access/ticket/"] {
        assert_eq!(pve.ask(&post(target, "", right)).await.status, "401 No ticket", "{target}");
    }
}

#[tokio::test]
async fn a_user_with_a_second_factor_gets_a_half_ticket_first() {
    let pve = Pve::quick().await;
    let first = pve.ask(&post("/api2/json/access/ticket", "", "username=tfa@pve&password=tfa")).await.json();
    let challenge = first["data"]["ticket"].as_str().unwrap();
    assert_eq!(first["data"]["NeedTFA"], 1);
    assert!(challenge.starts_with(r#"PVE:!tfa!{"totp"%3Atrue,"recovery"%3A["#), "{challenge}");

    let encoded: String = form_urlencoded::byte_serialize(challenge.as_bytes()).collect();
    let cookie = format!("Cookie: PVEAuthCookie={encoded}\r\n");
    assert_eq!(pve.ask(&get("/api2/json/version", &cookie)).await.status, "401 Authentication failed!");
    let answer = |code: &str| format!("username=tfa@pve&tfa-challenge={encoded}&password={code}");
    let wrong = pve.ask(&post("/api2/json/access/ticket", "", &answer("totp:000000"))).await;
    assert_eq!(wrong.status, "401 authentication failure");
    let right = pve.ask(&post("/api2/json/access/ticket", "", &answer("totp:123456"))).await.json();
    assert!(right["data"]["ticket"].as_str().unwrap().starts_with("PVE:tfa@pve:"));
}

// 7. Tickets, tokens, CSRF

#[tokio::test]
async fn a_call_needs_a_ticket_or_a_token_and_a_change_by_ticket_a_csrf_token() {
    let pve = Pve::start(Settings { unauthorized_delay: SHORT, ..Settings::quick() }).await;
    let (cookie, csrf) = pve.sign_in("root@pam", "proxmox").await;
    let (_, other_csrf) = pve.sign_in("demo@pve", "demo").await;
    let token = |scheme: &str| format!("Authorization: {scheme}{TOKEN}\r\n");
    let (version, change) = ("/api2/json/version", "/api2/json/cluster/options");
    #[rustfmt::skip]
    let table = [
        (get(version, ""),                                          "401 No ticket"),
        (get(version, "Cookie: PVEAuthCookie=PVE:root@pam:0::x\r\n"), "401 Authentication failed!"),
        (get(version, &cookie),                                     "200 OK"),
        (get(version, &token("PVEAPIToken=")),                      "200 OK"),
        (get(version, &token("PVEAPIToken ")),                      "200 OK"),
        (get(version, &token("pveapitoken=")),                      "401 No ticket"),
        (get(version, "Authorization: PVEAPIToken=root@pam!demo=x\r\n"), "401 Authentication failed!"),
        (post(change, &cookie, ""),                                 "401 Permission denied - invalid csrf token"),
        (post(change, &format!("{cookie}{other_csrf}"), ""),        "401 Permission denied - invalid csrf token"),
        (post(change, &format!("{cookie}{csrf}"), ""),              "200 OK"),
        (post(change, &token("PVEAPIToken="), ""),                  "200 OK"),
        (post("/api2/json/access/ticket", &token("PVEAPIToken="), "username=root@pam&password=proxmox"),
            "403 Permission check failed (URI '/access/ticket' not available with API token, need proper ticket."),
    ];
    for (request, status) in table {
        let begun = Instant::now();
        let response = pve.ask(&request).await;

        assert_eq!(response.status, status, "{request}");
        if status.starts_with('4') {
            assert!(response.body.is_empty() && begun.elapsed() >= SHORT, "{request}");
        }
    }
    pve.clock.advance(Duration::from_secs(7201));
    assert_eq!(pve.ask(&get(version, &cookie)).await.status, "401 Authentication failed!");
}

#[tokio::test]
async fn a_stranger_who_sends_much_is_dropped_before_the_401() {
    let pve = Pve::start(Settings { unauthorized_delay: SOON, ..Settings::quick() }).await;
    let mut client = pve.connect().await;

    let head = "POST /api2/json/nodes/demo/storage/local/upload HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
    client.send(head.as_bytes()).await;
    let _cut_off = client.tls.write_all(&vec![0; 1_000_000]).await;

    pve.stand_in.wait_until(|seen| seen.connections_open == 0).await;
}

// 8. Errors on demand

#[tokio::test]
async fn any_status_and_any_reason_can_be_had() {
    let pve = Pve::quick().await;

    let refused = pve.ask(&get("/standin/status/595?reason=Connection%20refused", "")).await;
    assert_eq!((refused.status.as_str(), refused.body.len()), ("595 Connection refused", 0));
    assert_eq!(refused.field("content-length"), None);
    let timed_out = pve.ask(&get("/standin/status/596?reason=Connection+timed+out", "")).await;
    assert_eq!(timed_out.status, "596 Connection timed out");
    let with_body = pve.ask(&get("/standin/status/403?reason=no&body=text", "")).await;
    assert_eq!((with_body.status.as_str(), with_body.body.as_slice()), ("403 no", b"text".as_slice()));
    let long = pve.ask(&get("/standin/status/500?reason=x&repeat=3072", "")).await;
    assert_eq!(long.status, format!("500 {}", "x".repeat(3072)));
    let latin = pve.ask(&get("/standin/latin1-reason", "")).await;
    assert_eq!(latin.status, "500 Speicher für VM 100 nicht verfügbar", "each byte a character");
    let head = pve.ask(&get("/standin/echo-head", "X-One: 1\r\n")).await;
    assert_eq!(head.body, get("/standin/echo-head", "X-One: 1\r\n").as_bytes());
    assert_eq!(pve.stand_in.requests().last().unwrap().raw_head, head.body);
    let mut client = pve.connect().await;
    client.send(get("/standin/fake-101?upgrade=h2c", "").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"));
    client.send(b"echo").await;
    assert_eq!(client.take(4).await, b"echo");
    let verbatim =
        pve.ask(&post("/standin/verbatim", "", "HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\ny")).await;
    assert_eq!((verbatim.status.as_str(), verbatim.body.as_slice()), ("200 x", b"y".as_slice()));
    let early = "POST /standin/early?after=3&code=413&reason=enough HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc";
    assert_eq!(pve.ask(early).await.status, "413 enough");
}

// 9. Streams on demand

#[tokio::test]
async fn a_stream_is_ended_by_fin_close_notify_or_rst() {
    let pve = Pve::quick().await;
    for (end, expected) in [("fin", Ended::Fin), ("close_notify", Ended::CloseNotify)] {
        let target = format!("/standin/stream/close-delimited?bytes=100000&end={end}");
        let response = pve.ask(&get(&target, "")).await;

        assert_eq!(
            (response.field("connection"), response.field("content-length")),
            (Some("Keep-Alive"), None)
        );
        assert!(response.body == pattern(100_000), "{end}");
        assert_eq!(response.ended, Some(expected));
    }

    let mut cut = pve.connect().await;
    cut.send(get("/standin/drip?bytes=50&every-ms=1&end=rst", "").as_bytes()).await;
    assert_eq!(cut.rest().await.1, Ended::Reset);

    let mut client = pve.connect().await;
    client.send(get("/standin/stream/length?bytes=1000&send=10", "").as_bytes()).await;
    assert!(client.head().await.contains("Content-Length: 1000\r\n"));
    assert_eq!(client.rest().await, (pattern(10), Ended::Fin));

    let mut client = pve.connect().await;
    client.send(get("/standin/stream/length?bytes=1000", "").repeat(2).as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(client.response().await.body, pattern(1000), "a whole one keeps the connection");
    }
}

#[tokio::test]
async fn a_file_restore_download_is_such_a_stream() {
    let pve = Pve::quick().await;
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;

    let response = pve.ask(&get("/api2/json/nodes/demo/storage/pbs/file-restore/download", &cookie)).await;

    assert!(response.body == pattern(100_000));
    assert_eq!(response.field("connection"), Some("Keep-Alive"));
    assert_eq!(response.ended, Some(Ended::Fin));
}

// 10. WebSockets

#[tokio::test]
async fn a_console_shakes_hands_echoes_and_ends_by_fin_after_a_close() {
    let pve = Pve::quick().await;
    let mut client = pve.console("echo").await;

    let head = client.head().await;
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: binary, base64\r\n\r\n";
    assert_eq!(head, expected);
    assert_eq!(pve.stand_in.tunnels_open(), 1);
    client.send(&masked(0x82, b"hello")).await;
    assert_eq!(client.frame().await, (0x82, b"hello".to_vec()));
    client.send(&masked(0x89, b"are you there")).await;
    assert_eq!(client.frame().await, (0x8a, b"are you there".to_vec()));
    client.send(&masked(0x88, &[3, 232])).await;
    assert_eq!(client.rest().await, (vec![], Ended::Fin));
    pve.stand_in.wait_until(|seen| seen.tunnels_open == 0 && seen.tunnels == 1).await;
    assert!(pve.stand_in.access_log().last().unwrap().ends_with("HTTP/1.1\" 101 -"));
}

#[tokio::test]
async fn a_console_can_send_much_end_by_itself_or_hang() {
    let pve = Pve::quick().await;

    let mut bulk = pve.console("bulk&standin-bytes=300000").await;
    bulk.head().await;
    let mut received = Vec::new();
    while received.len() < 300_000 {
        let (first, payload) = bulk.frame().await;
        assert!(first == 0x82 && payload.len() <= 131_072);
        received.extend(payload);
    }
    assert!(received == pattern(300_000));
    assert_eq!(bulk.rest().await, (vec![], Ended::CloseNotify));

    let mut ending = pve.console("server-end").await;
    ending.head().await;
    ending.send(&masked(0x82, b"x")).await;
    assert_eq!(ending.rest().await, (vec![], Ended::CloseNotify));

    let mut ticking = pve.console("ticks&standin-ms=1").await;
    ticking.head().await;
    assert_eq!(ticking.frame().await, (0x82, b"tick\r\n".to_vec()));

    let mut hanging = pve.console("echo").await;
    hanging.head().await;
    hanging.send(&[0x82, 1, b'x']).await; // not masked
    hanging.send(&masked(0x82, b"unheard")).await;
    timeout(SHORT, hanging.fill()).await.expect_err("neither answer nor end");
}

#[tokio::test]
async fn a_terminal_wants_the_ticket_again_and_speaks_termproxy() {
    let pve = Pve::quick().await;
    let mut client = pve.console("terminal").await;
    client.head().await;

    client.send(&masked(0x82, b"root@pam:PVEVNC:0::x\n")).await;
    assert_eq!(client.frame().await, (0x82, b"OK".to_vec()));
    client.send(&masked(0x82, b"1:80:24:")).await;
    client.send(&masked(0x82, b"0:3:ls\r")).await;
    assert_eq!(client.frame().await, (0x82, b"ls\r\n".to_vec()));
    client.send(&masked(0x82, b"0:5:exit\r")).await;
    assert_eq!(client.frame().await, (0x82, b"exit\r\n".to_vec()));
    assert_eq!(client.rest().await, (vec![], Ended::CloseNotify));
}

#[tokio::test]
async fn an_upgrade_needs_key_version_and_a_fresh_ticket() {
    let pve = Pve::quick().await;
    let (cookie, csrf) = pve.sign_in("root@pam", "proxmox").await;
    let call = post("/api2/json/nodes/demo/termproxy", &format!("{cookie}{csrf}"), "");
    let data = pve.ask(&call).await.json()["data"].take();
    let ticket: String =
        form_urlencoded::byte_serialize(data["ticket"].as_str().unwrap().as_bytes()).collect();
    let target = format!("/api2/json/nodes/demo/vncwebsocket?port={}&vncticket={ticket}", data["port"]);
    let other_node = target.replace("nodes/demo", "nodes/other");
    let upgrade = |fields: &str| format!("{cookie}{fields}");
    #[rustfmt::skip]
    let table = [
        (get(&target, &upgrade(&UPGRADE.replace("13\r\n", "8\r\n"))),       "500 websocket version is not 13"),
        (get(&target, &upgrade(&UPGRADE.replace("-Key", "-Lock"))),         "500 websocket key missing"),
        (get(&target, &upgrade(&UPGRADE.replace("WebSocket\r", "h2c\r"))),  "500 upgrade to something else than websocket"),
        (get(&target, UPGRADE),                                             "401 No ticket"),
        (get(&other_node, &upgrade(UPGRADE)),                               "401 permission denied - invalid PVEVNC ticket"),
        (get(&target, &cookie),                                             "200 OK"),
    ];
    for (request, status) in table {
        assert_eq!(pve.ask(&request).await.status, status, "{request}");
    }
    pve.clock.advance(Duration::from_secs(41));
    let late = pve.ask(&get(&target, &upgrade(UPGRADE))).await;
    assert_eq!(late.status, "401 permission denied - invalid PVEVNC ticket");
}

#[tokio::test]
async fn a_dead_console_takes_its_worker_and_that_worker_s_connections_along() {
    let pve = Pve::start(Settings { workers: 1, dead_backend: SHORT, ..Settings::quick() }).await;
    let mut bystander = pve.connect().await;
    bystander.send(get("/api2/json/access/domains", "").as_bytes()).await;
    assert_eq!(bystander.response().await.ended, None);

    let begun = Instant::now();
    let mut dead = pve.console("dead").await;

    assert_eq!(dead.rest().await, (vec![], Ended::Fin), "not even a 101");
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(bystander.rest().await, (vec![], Ended::Fin));
    assert_eq!(pve.ask(&get("/api2/json/access/domains", "")).await.status, "200 OK", "a new worker");
    pve.stand_in.wait_until(|seen| seen.workers_replaced == 1).await;
}

// 11. Uploads

fn upload(cookie: &str, content: &[u8], checksum: &str) -> Vec<u8> {
    let mut body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n\
         --B\r\nContent-Disposition: form-data; name=\"checksum-algorithm\"\r\n\r\nsha256\r\n\
         --B\r\nContent-Disposition: form-data; name=\"checksum\"\r\n\r\n{checksum}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--B--\r\n");
    let head = format!(
        "POST /api2/json/nodes/demo/storage/local/upload HTTP/1.1\r\n{cookie}\
         Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn an_upload_is_counted_checked_and_closes_its_connection() {
    let pve = Pve::quick().await;
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    let content = pattern(3_000_000);
    let sha256: [u8; 32] = Sha256::digest(&content).into();

    for (checksum, found) in
        [(data_encoding::HEXLOWER.encode(&sha256), Checksum::Matches), ("0".into(), Checksum::Differs)]
    {
        let mut client = pve.connect().await;
        client.send(&upload(&cookie, &content, &checksum)).await;
        let response = client.response().await;

        assert_eq!((response.status.as_str(), response.field("connection")), ("200 OK", Some("close")));
        assert!(response.json()["data"].as_str().unwrap().starts_with("UPID:demo:"), "without a CSRF token");
        let seen = pve.stand_in.uploads().pop().unwrap();
        assert_eq!((seen.filename.as_str(), seen.content.as_str()), ("a.iso", "iso"));
        assert_eq!((seen.bytes, seen.sha256, seen.checksum), (3_000_000, sha256, found));
    }

    let without_length = format!(
        "POST /api2/json/nodes/demo/storage/local/upload HTTP/1.1\r\n{cookie}\
         Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    );
    let response = pve.ask(&without_length).await;
    assert_eq!(response.status, "501 upload without content length header not supported");
}

#[tokio::test]
async fn an_upload_that_ends_early_is_reported_as_aborted() {
    let pve = Pve::quick().await;
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    let whole = upload(&cookie, &pattern(100_000), "0");
    let mut client = pve.connect().await;

    client.send(&whole[..50_000]).await;
    pve.stand_in.wait_until(|seen| seen.uploads_begun == 1).await;
    drop(client);

    pve.stand_in.wait_until(|seen| seen.aborted_uploads == 1).await;
    assert_eq!(pve.stand_in.uploads(), []);
}

#[tokio::test]
async fn a_body_s_length_and_digest_are_kept_with_its_request() {
    let pve = Pve::quick().await;
    let content = pattern(1_000_000);
    let mut client = pve.connect().await;

    client
        .send(format!("PUT /standin/sink HTTP/1.1\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes())
        .await;
    client.send(&content).await;

    let sha256: [u8; 32] = Sha256::digest(&content).into();
    assert_eq!(client.response().await.json()["sha256"], data_encoding::HEXLOWER.encode(&sha256));
    let seen = pve.stand_in.requests().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.connection), ("PUT", "/standin/sink", 0));
    assert_eq!((seen.body_length, seen.body_sha256), (Some(1_000_000), Some(sha256)));
    assert_eq!(seen.values("content-length"), [b"1000000"]);
}

// 12. Who connects

#[tokio::test]
async fn plain_http_is_sent_to_https_if_it_names_a_host() {
    let pve = Pve::quick().await;
    for (request, expected) in [
        ("GET /x?y HTTP/1.1\r\nHost: a:8006\r\n\r\n", "HTTP/1.1 301 Moved Permanently\r\n"),
        ("POST /x?y HTTP/1.1\r\nHost: a:8006\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\n"),
        ("GET /x?y HTTP/1.1\r\n\r\n", ""),
    ] {
        let mut tcp = TcpStream::connect(pve.addr()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();

        assert!(answer.starts_with(expected), "{answer}");
        assert_eq!(answer.contains("Location: https://a:8006/x?y\r\n"), !expected.is_empty());
    }
}

#[tokio::test]
async fn a_peer_that_is_not_allowed_is_closed_before_tls() {
    let allow_from = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    let pve = Pve::start(Settings { allow_from, ..Settings::quick() }).await;
    let mut tcp = TcpStream::connect(pve.addr()).await.unwrap();

    assert_eq!(timeout(SOON, tcp.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    pve.stand_in.wait_until(|seen| seen.connections_refused == 1 && seen.connections_open == 0).await;
    assert_eq!(pve.stand_in.access_log(), ["127.0.0.1 - - [24/11/2026:14:02:31 +0000] \"-\" 403 -"]);
}

#[tokio::test]
async fn the_access_log_believes_one_plain_address_and_the_journal_none() {
    let real_ip = Settings { real_ip_field: Some("X-Real-IP".to_owned()), ..Settings::quick() };
    let pve = Pve::start(real_ip.clone()).await;
    #[rustfmt::skip]
    let table = [
        ("X-Real-IP: 203.0.113.77\r\n",                        "203.0.113.77"),
        ("X-Real-IP: 2001:db8::1\r\n",                         "2001:db8::1"),
        ("X-Real-IP: ::ffff:203.0.113.9\r\n",                  "::ffff:cb00:7109"),
        ("X-Real-IP: 203.0.113.77/24\r\n",                     "203.0.113.0"),
        ("X-Real-IP: 203.0.113.77, 10.0.0.1\r\n",              "127.0.0.1"),
        ("X-Real-IP: 203.0.113.77\r\nX-Real-IP: 10.0.0.1\r\n", "127.0.0.1"),
        ("X-Real-IP: 203.0.113.77:8006\r\n",                   "127.0.0.1"),
        ("X-Real-IP: [2001:db8::1]\r\n",                       "127.0.0.1"),
        ("",                                                   "127.0.0.1"),
    ];
    for (fields, logged) in table {
        pve.ask(&post("/api2/json/access/ticket?u=1", fields, "username=a@pve&password=b")).await;

        let line = pve.stand_in.access_log().pop().unwrap();
        let rest = "[24/11/2026:14:02:31 +0000] \"POST /api2/json/access/ticket?u=1 HTTP/1.1\" 401 50";
        assert_eq!(line, format!("{logged} - - {rest}"), "{fields}");
        assert!(pve.stand_in.journal().pop().unwrap().contains("rhost=127.0.0.1 user=a@pve "));
    }
    let (cookie, _) = pve.sign_in("root@pam", "proxmox").await;
    pve.ask(&get("/api2/json/version", &cookie)).await;
    assert!(pve.stand_in.access_log().pop().unwrap().starts_with("127.0.0.1 - root@pam ["));

    let others_only = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    let pve = Pve::start(Settings { real_ip_allow_from: others_only, ..real_ip }).await;
    pve.ask(&get("/", "X-Real-IP: 203.0.113.77\r\n")).await;
    assert!(pve.stand_in.access_log().pop().unwrap().starts_with("127.0.0.1 - - ["));
}

// 13. Workers

#[tokio::test]
async fn a_worker_that_has_served_its_share_finishes_its_connections() {
    let pve = Pve::start(Settings { workers: 1, requests_per_worker: 3, ..Settings::quick() }).await;
    let request = get("/api2/json/access/domains", "");
    let (mut one, mut other) = (pve.connect().await, pve.connect().await);

    let mut connection = Vec::new();
    for client in [0, 1, 0, 1] {
        let client = if client == 0 { &mut one } else { &mut other };
        client.send(request.as_bytes()).await;
        connection.push(client.response().await.field("connection").unwrap().to_owned());
    }

    assert_eq!(connection, ["Keep-Alive", "Keep-Alive", "close", "close"]);
    let next = pve.ask(&request).await;
    assert_eq!(next.field("connection"), Some("Keep-Alive"));
    assert_eq!(pve.stand_in.requests_seen(), 5);
}

// Observation

#[tokio::test]
async fn every_received_byte_is_kept_when_asked_for_and_no_protocol_is_negotiated() {
    let pve = Pve::start(Settings { record_raw_bytes: true, ..Settings::quick() }).await;
    let mut client = pve.connect().await;
    assert_eq!(client.tls.get_ref().1.alpn_protocol(), None);
    let request = post("/api2/json/access/ticket", "", "username=root@pam&password=proxmox");

    client.send(request.as_bytes()).await;
    client.response().await;

    assert_eq!(pve.stand_in.raw_bytes(), [request.as_bytes()]);
    assert_eq!((pve.stand_in.connections_seen(), pve.stand_in.connections_open()), (1, 1));
}

#[tokio::test]
async fn stopping_ends_listener_and_connections() {
    let mut pve = Pve::quick().await;
    let mut client = pve.connect().await;
    client.send(get("/api2/json/access/domains", "").as_bytes()).await;
    client.response().await;
    let addr = pve.addr();

    pve.stand_in.stop().await;

    assert_eq!(client.rest().await, (vec![], Ended::Fin));
    TcpStream::connect(addr).await.expect_err("nobody listens");
}
