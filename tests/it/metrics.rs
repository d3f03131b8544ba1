//! What is counted is what happened; a stranger can make no series; and who watches can do nothing else.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{Client, Process, Pve, TestGate, pvegate, until, watcher};

/// A request that Proxmox VE answers.
const CALL: &str = "/api2/json/version";

#[tokio::test]
async fn what_is_counted_is_what_was_done() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    let before = gate.metrics().await;

    // Several at once, over connections of their own, as people and their tabs are.
    let tabs = (0..4).map(|_| {
        let mut tab = alice.client.clone();
        tokio::spawn(async move {
            let mut connection = tab.connect().await;
            for _ in 0..25 {
                let reply = tab.send_on(&mut connection, Method::GET, CALL, Bytes::new()).await;
                assert_eq!(reply.status, 200);
            }
        })
    });
    for tab in tabs.collect::<Vec<_>>() {
        tab.await.unwrap();
    }
    for _ in 0..7 {
        assert_eq!(gate.client().get(CALL).await.status, 401);
    }
    for _ in 0..3 {
        assert_eq!(alice.client.get("/_gate/sessions").await.status, 200);
    }
    let mut console = alice.console().await;
    console.echo(b"x").await.unwrap();
    alice.sign_in_with("000000").await;
    let after = gate.metrics().await;

    let more = |series: &str| after.value(series) - before.value(series);
    let requests = |kind, code| more(&format!(r#"pvegate_requests_total{{kind="{kind}",code="{code}"}}"#));
    // Opening a console takes a call besides the tunnel.
    assert_eq!(requests("proxy", 200), 101.0, "{}\n{}", before.body, after.body);
    assert_eq!(requests("websocket", 101), 1.0);
    assert_eq!(requests("portal", 401), 7.0);
    assert_eq!(requests("portal", 200), 3.0);
    assert_eq!(more(r#"pvegate_request_duration_seconds_count{kind="proxy"}"#), 101.0);
    assert_eq!(more(r#"pvegate_request_duration_seconds_bucket{kind="proxy",le="+Inf"}"#), 101.0);
    assert_eq!(more("pvegate_added_latency_seconds_count"), 102.0, "what is forwarded, tunnels too");
    assert_eq!(more(r#"pvegate_sign_ins_total{method="totp",outcome="failure"}"#), 1.0);
    assert_eq!(after.value("pvegate_websockets_open"), 1.0);
    assert!(after.value("pvegate_connections_open") >= 1.0);
    assert_eq!(after.value("pvegate_sessions"), 1.0);
    assert_eq!(after.value(r#"pvegate_users{state="active"}"#), 1.0);
    assert_eq!(after.value("pvegate_users_enrolled"), 1.0);
    drop(console);
    until("the console is closed", async || gate.metrics().await.value("pvegate_websockets_open") == 0.0)
        .await;
    alice.sign_out().await;
    until("the session is over", async || gate.metrics().await.value("pvegate_sessions") == 0.0).await;
}

#[tokio::test]
async fn every_way_in_is_counted_by_method_and_outcome() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.codes.first().unwrap().clone();
    alice.sign_out().await;
    gate.clock.advance(Duration::from_secs(60));
    let before = gate.metrics().await;

    assert_eq!(alice.sign_in(&gate).await.status, 303);
    alice.sign_out().await;
    let mut browser = gate.client();
    let right = [("user", "alice"), ("code", code.as_str())];
    let used = browser.post_form("/_gate/recover", &right).await;
    let again = gate.client().post_form("/_gate/recover", &right).await;

    assert_eq!((used.status.as_u16(), again.status.as_u16()), (303, 403), "{}", used.text());
    let after = gate.metrics().await;
    let more = |method, outcome| {
        let series = format!(r#"pvegate_sign_ins_total{{method="{method}",outcome="{outcome}"}}"#);
        after.value(&series) - before.value(&series)
    };
    assert_eq!((more("totp", "success"), more("totp", "failure")), (1.0, 0.0));
    assert_eq!((more("recovery", "success"), more("recovery", "failure")), (1.0, 1.0));
    assert!(after.body.contains(r#"pvegate_sign_ins_total{method="passkey",outcome="success"} 0"#));
}

/// Refused and let in, from many addresses, under many names and to many paths.
#[tokio::test]
async fn strangers_make_no_series_of_their_own() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("limits.ban", "false")
        .set("limits.sign_ins", "10000")
        .set("access.allow", "127.0.0.0/8")
        .set("access.deny", "127.9.0.0/16")
        .start()
        .await;
    let mut alice = gate.person("alice").await;
    let round = async |alice: &mut Client, round: u32| {
        for number in 0..8 {
            let number = round * 8 + number;
            let mut stranger = gate.client().from(&format!("127.2.{}.{}", number / 250, number % 250 + 1));
            let name = format!("name{number}");
            stranger.get(&format!("/api2/json/nodes/node{number}?x={number}")).await;
            stranger.get(&format!("/_gate/page{number}")).await;
            stranger.post_form("/_gate/sign-in", &[("user", &name), ("code", "123456")]).await;
            let refused = gate.client().from(&format!("127.9.{}.{}", number / 250, number % 250 + 1));
            assert!(refused.try_tls_stream().await.is_err());
            alice.get(&format!("/api2/json/nodes/node{number}")).await;
        }
    };
    round(&mut alice.client, 0).await;
    let before = gate.metrics().await;

    for number in 1..6 {
        round(&mut alice.client, number).await;
    }

    let after = gate.metrics().await;
    assert_eq!(after.series(), before.series());
    assert!(after.value(r#"pvegate_refused_total{reason="address"}"#) >= 48.0, "{}", after.body);
    for word in ["alice", "name1", "127.2.", "127.9.", "node1", "page1"] {
        assert!(!after.body.contains(word), "{word} in {}", after.body);
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_or_somebody_else_is_seen_at_the_next_look_without_a_request() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("upstream.health_interval", "100ms").start().await;
    let up = format!(r#"pvegate_upstream_up{{upstream="{}"}}"#, pve.addr());
    assert_eq!(gate.metrics().await.value(&up), 1.0);

    let fallen = pve.fall().await;
    until("it is seen to be down", async || gate.metrics().await.value(&up) == 0.0).await;
    let pve = fallen.rise();
    until("it is seen to be up", async || gate.metrics().await.value(&up) == 1.0).await;
    let other =
        TestGate::recipe(&pve).trusting(&format!("fingerprint = \"{}\"", "AB".repeat(32))).start().await;
    let seen = other.metrics().await;

    assert_eq!(seen.value(&up), 0.0);
    assert_eq!(seen.value(r#"pvegate_upstream_tls_errors_total{reason="fingerprint"}"#), 1.0);
    assert_eq!(seen.value(r#"pvegate_upstream_tls_errors_total{reason="handshake"}"#), 0.0);
    let ready = watcher::ask(other.watched, "/readyz").await;
    assert_eq!((ready.status, ready.json()["upstream"][0]["up"].as_bool()), (200, Some(false)));
}

#[tokio::test]
async fn the_clock_is_compared_with_that_of_proxmox_ve() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    assert!(!gate.metrics().await.names().contains("pvegate_clock_offset_seconds"), "nothing is known yet");

    alice.client.get(CALL).await;

    // The stand-in writes the machine's time; the gate's clock stands still somewhere else.
    let now = pvegate::time::Clock::now(&pvegate::time::SystemClock);
    let expected = (gate.began.millis() - now.millis()) as f64 / 1e3;
    let found = gate.metrics().await.value("pvegate_clock_offset_seconds");
    assert!((found - expected).abs() < 30.0, "{found}, not about {expected}");
}

#[tokio::test]
async fn a_gate_is_alive_while_it_runs_and_ready_while_its_store_and_certificate_are_good() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alive = watcher::ask(gate.watched, "/healthz").await;
    let ready = watcher::ask(gate.watched, "/readyz").await;
    assert_eq!((alive.status, alive.json()["status"].as_str()), (200, Some("ok")));
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));

    let failures = async || gate.metrics().await.value("pvegate_store_failures_total");
    assert_eq!(failures().await, 0.0);

    // The leaf lives for months, and is looked at once an hour of the machine's own time.
    gate.clock.advance(Duration::from_secs(400 * 24 * 3600));
    let expired = watcher::ask(gate.watched, "/readyz").await;
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch("ALTER TABLE ban RENAME TO ban_gone").unwrap();
    let broken = watcher::ask(gate.watched, "/readyz").await;

    assert_eq!((expired.status, &expired.json()["trouble"]), (503, &json!(["certificate"])));
    assert_eq!((broken.status, &broken.json()["trouble"]), (503, &json!(["store", "certificate"])));
    assert!(failures().await >= 1.0);
    assert_eq!(gate.metrics().await.value("pvegate_ready"), 0.0);
    assert_eq!(watcher::ask(gate.watched, "/healthz").await.status, 200, "a restart would not help");
}

#[tokio::test]
async fn whoever_watches_gets_three_pages_by_get_and_nothing_else() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: anything\r\n");
    #[rustfmt::skip]
    let table = [
        ("GET /metrics",                      200),
        ("GET /metrics?x=1",                  200),
        ("HEAD /metrics",                     200),
        ("POST /metrics",                     405),
        ("DELETE /healthz",                   405),
        ("GET /",                             404),
        ("GET /api2/json/version",            404),
        ("GET /_gate/sign-in",                404),
        ("GET /metrics/",                     404),
        ("GET /../metrics",                   404),
        ("GET http://127.0.0.1:8006/",        404),
    ];
    for (line, status) in table {
        let told = watcher::ask_as(gate.watched, "127.0.0.1", &head(line)).await.unwrap();
        assert_eq!(told.status, status, "{line}: {told:?}");
        assert!(told.head.to_lowercase().contains("cache-control: no-store"), "{told:?}");
        assert_eq!(told.body.is_empty(), line.starts_with("HEAD"), "{line}: {told:?}");
    }
    assert_eq!(pve.requests_seen(), 0);
    let open = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
    let told = watcher::ask_as(gate.watched, "127.0.0.1", open).await.unwrap();
    assert!(told.head.to_lowercase().contains("application/openmetrics-text; version=1.0.0"), "{told:?}");
    assert!(told.body.ends_with("# EOF\n"), "{told:?}");
    // And nothing of it is on the public side.
    let mut stranger = gate.client();
    for path in ["/metrics", "/readyz", "/healthz", "/_gate/metrics"] {
        assert!(!stranger.get(path).await.status.is_success(), "{path}");
    }
}

#[tokio::test]
async fn watchers_come_from_allowed_networks_only() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("metrics.allow", "127.0.5.0/24").start().await;
    let head = "GET /metrics HTTP/1.1\r\nHost: x\r\n";

    let allowed = watcher::ask_as(gate.watched, "127.0.5.1", head).await;
    let refused = watcher::ask_as(gate.watched, "127.0.0.1", head).await;

    assert_eq!(allowed.unwrap().status, 200);
    assert!(refused.is_none(), "{refused:?}");
}

#[tokio::test]
async fn watchers_in_hundreds_take_nothing_from_people() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(gate.watched).await.unwrap());
    }

    assert_eq!(alice.client.get("/").await.status, 200);
    // All but sixteen are closed, and a place that becomes free is given again.
    let mut closed = 0;
    for stream in &mut idle {
        let read = tokio::time::timeout(Duration::from_millis(20), watcher::answer(stream)).await;
        closed += usize::from(read.is_ok());
    }
    assert_eq!(closed, 84);
    drop(idle);
    let free = async || {
        let head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
        watcher::ask_as(gate.watched, "127.0.0.1", head).await.is_some()
    };
    until("a place is free", free).await;
}

#[tokio::test]
async fn status_asks_every_gate_on_the_store_and_says_if_none_runs() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let other = gate.another(&pve).start().await;
    let alice = gate.person("alice").await;
    let config = gate.dir().join("pvegate.toml").display().to_string();
    let status = async || pvegate(&["--config", &config, "--json", "status"]).await;

    let mut reports = status().await.json();

    reports.sort_by_key(|report| report["url"] != gate.url().as_str());
    assert_eq!(reports.len(), 2, "{reports:?}");
    for (report, running) in reports.iter().zip([&gate, &other]) {
        assert_eq!(report["url"], running.url().as_str());
        assert_eq!(report["listen"], json!([running.address.to_string()]));
        assert_eq!((&report["ready"], &report["trouble"]), (&json!(true), &json!([])));
        assert_eq!(report["upstream"][0]["address"], pve.addr().to_string());
        assert_eq!(report["upstream"][0]["up"], true);
        assert_eq!(report["users"]["active"], 1);
        assert_eq!(report["audit_write_errors"], 0);
        assert!(report["certificates"][0]["days_left"].as_u64().unwrap() > 30);
    }
    assert_eq!(reports[0]["sessions"], 1, "of which only this one has heard");
    let screen = pvegate(&["--config", &config, "status"]).await.ok();
    assert!(screen.contains(&format!("{} up", pve.addr())), "{screen}");
    drop(alice);
    // It holds on to the directory.
    let _rest = gate.another(&pve);
    gate.stop().await;
    other.stop().await;
    let nobody = status().await;
    assert_eq!(nobody.code, Some(6), "{nobody:?}");
}

#[tokio::test]
async fn a_health_check_asks_the_gate_by_whichever_door_there_is_and_trusts_no_other_program() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let config = gate.dir().join("pvegate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let check = async |listen: &str, more: &[&str]| {
        std::fs::write(&config, format!("{text}\n[metrics]\nlisten = \"{listen}\"\n")).unwrap();
        let config = config.display().to_string();
        pvegate(&[&["--config", &config, "healthcheck"], more].concat()).await
    };
    // The gate's clock stands still in the past, and the machine's may find its leaf over: by then this door is
    // asked at the machine's own time.
    let watched = gate.watched.to_string();
    for more in [&[][..], &["--ready"]] {
        let well = check(&watched, more).await;
        assert_eq!((well.code, well.stdout.as_str(), well.stderr.as_str()), (Some(0), "", ""), "{more:?}");
    }
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch("ALTER TABLE ban RENAME TO ban_gone").unwrap();
    let (alive, unready) = (check(&watched, &[]).await, check(&watched, &["--ready"]).await);
    assert_eq!((alive.code, unready.code), (Some(0), Some(1)), "{unready:?}");
    let unready = check("", &["--ready"]).await;
    assert_eq!(unready.code, Some(1), "by the store: {unready:?}");
    sql.execute_batch("ALTER TABLE ban_gone RENAME TO ban").unwrap();

    // By the public door, whose certificate is that of the authority on the disk.
    let public = check("", &[]).await;
    assert_eq!(public.code, Some(0), "{public:?}");
    let ca = gate.dir().join("local-ca/ca.pem");
    let strangers = std::fs::read(&pve.ca_pem).unwrap();
    std::fs::write(&ca, strangers).unwrap();
    let impostor = check("", &[]).await;
    assert_eq!(impostor.code, Some(6), "{impostor:?}");

    // It holds on to the directory.
    let _rest = gate.another(&pve);
    gate.stop().await;
    let nobody = check(&watched, &[]).await;
    assert_eq!(nobody.code, Some(6), "{nobody:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_the_gate_from_starting_and_is_named() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let config = gate.dir().join("pvegate.toml").display().to_string();
    // Its own port is free, since the configuration has the other gate's; that of the watchers is not.
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(&format!("listen = [\"{}\"]", gate.address), "listen = [\"127.0.0.1:0\"]");
    std::fs::write(&config, text).unwrap();

    let taken = Process::start_with(
        "PVEGATE_METRICS__LISTEN",
        &gate.watched.to_string(),
        &["--config", &config, "serve"],
    );

    let said = taken.logs("metrics.listen");
    assert!(said.contains(&format!("{} is in use", gate.watched)), "{said}");
}
