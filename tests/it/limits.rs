//! Limits and deadlines: what is too much or too slow ends, and nobody else notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use pvegate::{
    accept::{Listener, Opening},
    admin::serve::Server,
    serve,
    time::{Clock, ManualClock, Timestamp},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::harness::{Pve, Recipe, TestGate, Wire, long, until};

fn recipe(pve: &Pve) -> Recipe {
    TestGate::recipe(pve).set("access.allow", "127.0.0.0/8")
}

#[tokio::test]
async fn a_source_that_sends_too_much_is_told_when_to_come_back_and_others_are_served() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("limits.request_burst", "60").set("limits.requests", "5").start().await;
    let mut alice = gate.person("alice").await;
    let mut flood = gate.client().from("127.0.0.50");
    let mut connection = flood.connect().await;
    for _ in 0..60 {
        assert_eq!(
            flood.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await.status,
            401
        );
    }

    let refused = flood.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await;
    let page = flood.navigate("/").await;

    assert_eq!((refused.status.as_u16(), refused.field("retry-after")), (429, Some("1")));
    assert_eq!(refused.json()["error"], "rate_limited");
    assert_eq!(page.status, 429);
    assert!(page.text().contains("Too many attempts"), "{}", page.text());
    assert_eq!(alice.client.get("/").await.status, 200);
    gate.clock.advance(Duration::from_millis(200));
    assert_eq!(flood.get("/api2/json/x").await.status, 401);

    // Who is signed in is held back likewise, and nothing beyond the limit reaches Proxmox VE.
    gate.clock.advance(Duration::from_secs(60));
    let seen = pve.requests_seen();
    let mut connection = alice.client.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..80 {
        statuses.push(alice.client.send_on(&mut connection, Method::GET, "/", Bytes::new()).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 20);
    assert_eq!(pve.requests_seen() - seen, 60);
}

#[tokio::test]
async fn a_malformed_head_ends_its_connection_also_where_it_is_too_much() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("limits.request_burst", "60").set("limits.requests", "5").start().await;
    let mut flood = gate.client().from("127.0.0.50");
    let mut connection = flood.connect().await;
    for _ in 0..60 {
        flood.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await;
    }
    let mut wire = Wire::open(&flood).await;

    wire.send(b"GET / HTTP/1.0\r\n\r\n").await;
    let answer = wire.answer("GET").await.unwrap();

    assert_eq!((answer.status, answer.closes), (429, true));
    assert_eq!(wire.rest().await, (Vec::new(), true), "the gate closes");
}

#[tokio::test]
async fn the_polling_of_an_expired_tab_is_never_too_much() {
    let pve = Pve::start().await;
    let defaults = recipe(&pve).set("limits.requests", "50").set("limits.request_burst", "400");
    let gate = defaults.set("limits.never_ban", "").start().await;
    let mut tab = gate.client().from("127.0.0.51");
    let mut connection = tab.connect().await;
    for _ in 0..600 {
        gate.clock.advance(Duration::from_millis(1100));
        let reply =
            tab.send_on(&mut connection, Method::GET, "/api2/json/cluster/resources", Bytes::new()).await;
        assert_eq!(reply.status, 401);
    }

    sleep(Duration::from_millis(600)).await;
    assert_eq!(tab.get("/api2/json/version").await.status, 401, "and no offence");
}

#[tokio::test]
async fn when_strangers_hold_every_place_whoever_is_signed_in_goes_on_and_comes_in() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("server.max_connections", "20").start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    let mut kept = alice.client.connect().await;
    alice.client.send_on(&mut kept, Method::GET, "/", Bytes::new()).await;

    // Five times as many as there are places, from many sources; nobody of them lets go.
    let mut strangers = Vec::new();
    for i in 0..100 {
        strangers.push(gate.client().from(&format!("127.0.1.{}", i % 50 + 1)).tcp_stream().await);
        if i % 10 == 0 {
            assert_eq!(alice.client.send_on(&mut kept, Method::GET, "/", Bytes::new()).await.status, 200);
            assert!(console.echo(b"x").await.is_some());
            assert_eq!(alice.client.get("/").await.status, 200, "on a new connection");
        }
    }

    // Those who were there first had to go.
    let end = timeout(Duration::from_secs(5), strangers[0].read(&mut [0])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
    until("it is told", async || gate.audit().iter().any(|event| event["pvegate"]["reason"] == "shed")).await;
    // Somebody who is not signed in yet gets through all the same.
    assert_eq!(gate.client().from("127.0.0.60").navigate("/_gate/sign-in").await.status, 200);
}

/// Limits that a test can wait for.
fn short(pve: &Pve) -> Recipe {
    recipe(pve)
        .set("limits.handshake", "700ms")
        .set("limits.head", "700ms")
        .set("limits.keep_alive", "3s")
        .set("limits.body", "700ms")
}

/// Writes a byte every so often, until the other side has ended; says how long that took.
async fn until_closed<S>(mut stream: S, drip: Option<(&'static [u8], Duration)>) -> Duration
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let start = Instant::now();
    let mut bytes = drip.map(|(bytes, _)| bytes.iter().cycle());
    let pause = drip.map_or(Duration::from_secs(3600), |(_, pause)| pause);
    let closed = async {
        loop {
            let mut into = [0; 1024];
            tokio::select! {
                read = stream.read(&mut into) => if matches!(read, Ok(0) | Err(_)) { return },
                () = sleep(pause) => {
                    if let Some(byte) = bytes.as_mut().and_then(Iterator::next)
                        && stream.write_all(&[*byte]).await.is_err()
                    {
                        return;
                    }
                    let _ = stream.flush().await;
                }
            }
        }
    };
    timeout(Duration::from_secs(20), closed).await.unwrap_or_else(|_| panic!("it was never closed"));
    start.elapsed()
}

#[tokio::test]
async fn everything_slow_is_closed_by_its_limit() {
    let pve = Pve::start().await;
    let gate = short(&pve).start().await;
    let client = gate.client();
    let limit = Duration::from_millis(700)..Duration::from_millis(1700);
    let drip = Some((b"x".as_slice(), Duration::from_millis(100)));

    let silent_tcp = until_closed(client.tcp_stream().await, None).await;
    assert!(limit.contains(&silent_tcp), "silent TCP: {silent_tcp:?}");

    let mut half = client.tcp_stream().await;
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let half_tls = until_closed(half, None).await;
    assert!(limit.contains(&half_tls), "half a handshake: {half_tls:?}");

    let silent_tls = until_closed(client.tls_stream().await, None).await;
    assert!(limit.contains(&silent_tls), "silent TLS: {silent_tls:?}");

    let mut preface = client.tls_stream().await;
    preface.write_all(b"PRI * HT").await.unwrap();
    let half_preface = until_closed(preface, None).await;
    assert!(limit.contains(&half_preface), "half a preface: {half_preface:?}");

    let mut head = client.tls_stream().await;
    head.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let slow_head = until_closed(head, drip).await;
    assert!(limit.contains(&slow_head), "a head that trickles: {slow_head:?}");

    let mut form = client.tls_stream().await;
    let fields = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 1000\r\n";
    form.write_all(client.head("POST", "/_gate/sign-in", fields).as_bytes()).await.unwrap();
    let stalled_form = until_closed(form, None).await;
    assert!(limit.contains(&stalled_form), "a form that stalls: {stalled_form:?}");
}

#[tokio::test]
async fn a_proxied_body_that_stalls_is_given_up_and_its_connection_closed() {
    let pve = Pve::start().await;
    let gate = short(&pve).start().await;
    let alice = gate.person("alice").await;
    let mut upload = Wire::open(&alice.client).await;
    // No call with a type of its own: its body goes up as it comes.
    let head = alice.client.head("POST", "/standin/sink", "content-length: 1000000\r\n");
    upload.send(head.as_bytes()).await;
    upload.send(&[b'x'; 1000]).await;

    let start = Instant::now();
    let answer = upload.answer("POST").await.unwrap();
    let took = start.elapsed();

    assert_eq!((answer.status, answer.closes), (408, true));
    let limit = Duration::from_millis(4500)..Duration::from_millis(5500);
    assert!(limit.contains(&took), "{took:?}");
    upload.rest().await;
}

#[tokio::test]
async fn between_requests_a_connection_may_be_silent_for_nearly_the_whole_limit() {
    let pve = Pve::start().await;
    // With the limits of the default that is 55 s of 60 s: `bash tests/long`.
    let (gate, silence) = match long() {
        false => (short(&pve).start().await, Duration::from_millis(2750)),
        true => (recipe(&pve).start().await, Duration::from_secs(55)),
    };
    let mut client = gate.client();
    let mut connection = client.connect().await;
    for _ in 0..2 {
        let reply = client.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await;
        assert_eq!(reply.status, 401);
        // Eleven twelfths of it, and far longer than a head may take.
        sleep(silence).await;
    }
    let reply = client.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await;
    assert_eq!(reply.status, 401);
}

/// A clock that fails once when it is told to.
struct Faulty {
    clock: Arc<ManualClock>,
    fails: AtomicBool,
}

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        assert!(!self.fails.swap(false, Ordering::SeqCst), "the clock is broken");
        self.clock.now()
    }
}

#[tokio::test]
async fn a_panic_in_a_request_ends_that_request_and_nothing_else() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).start().await;
    let mut alice = gate.person("alice").await;
    // A second gate on the same store, whose clock fails. Nothing runs beside it that would ask the clock.
    let clock = Arc::new(Faulty { clock: gate.clock.clone(), fails: AtomicBool::new(false) });
    let server = Server::compose(&gate.config, vec![], clock.clone()).await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let listener = Listener { socket, opening: Opening::Tls };
    let stages = server.stages().clone();
    let serving = tokio::spawn(serve::run(vec![listener], stages, stopped, Duration::from_secs(1)));
    alice.client = alice.client.clone().through(address);
    let mut console = alice.console().await;
    let (mut victim, mut other) = (alice.client.connect().await, alice.client.connect().await);
    for connection in [&mut victim, &mut other] {
        assert_eq!(alice.client.send_on(connection, Method::GET, "/", Bytes::new()).await.status, 200);
    }

    clock.fails.store(true, Ordering::SeqCst);
    let failed = alice.client.send_on(&mut victim, Method::GET, "/", Bytes::new()).await;

    assert!(!clock.fails.load(Ordering::SeqCst), "it has failed");
    assert_eq!((failed.status.as_u16(), failed.field("connection")), (500, Some("close")));
    assert_eq!(failed.json()["error"], "internal");
    assert!(victim.ready().await.is_err(), "its connection is closed");
    assert_eq!(alice.client.send_on(&mut other, Method::GET, "/", Bytes::new()).await.status, 200);
    assert_eq!(alice.client.get("/").await.status, 200);
    assert!(console.echo(b"x").await.is_some());
    stop.send_replace(true);
    drop(console);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_gate_that_would_no_longer_hear_of_revocations_stops_and_says_so() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).start().await;
    let mut alice = gate.person("alice").await;
    let clock = Arc::new(Faulty { clock: gate.clock.clone(), fails: AtomicBool::new(false) });
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener { socket, opening: Opening::Tls };
    let server = Server::compose(&gate.config, vec![listener], clock.clone()).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped, Duration::from_secs(60)));
    alice.client = alice.client.clone().through(address);
    let mut console = alice.console().await;

    clock.fails.store(true, Ordering::SeqCst);

    let ended = timeout(Duration::from_secs(20), serving).await.unwrap().unwrap();
    assert!(ended.is_err());
    assert!(console.receive().await.is_none(), "and so do consoles");
}
