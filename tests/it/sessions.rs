//! How sessions end, where that is felt, and what happens once.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use pvegate::{
    account::{EndReason, UserId},
    names,
    store::{Disabled, Enabled, Sessions, Store as _},
    time::Clock as _,
};
use tokio::time::Instant;

use crate::harness::{Client, Console, Person, Pve, TestGate, Wire, until};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

/// Whether the session is alive, asked in a way that winds no clock.
async fn alive(client: &Client) -> bool {
    match client.clone().get("/_gate/").await.status.as_u16() {
        200 => true,
        401 => false,
        status => panic!("{status} for /_gate/"),
    }
}

fn id_of(gate: &TestGate, name: &str) -> UserId {
    gate.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id
}

/// Ends somebody's sessions as the command line does.
fn revoke(gate: &TestGate, name: &str) {
    let who = Sessions::Of(id_of(gate, name));
    gate.store().end_sessions(&who, EndReason::Revoked, gate.clock.now()).unwrap();
}

/// Disables somebody behind the gate's back, as an administrator with `sqlite3` does.
fn disable(gate: &TestGate, name: &str) {
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.busy_timeout(Duration::from_secs(5)).unwrap();
    let changed = sql
        .execute("UPDATE user SET disabled_at = ?1 WHERE name = ?2", (gate.clock.now().millis(), name))
        .unwrap();
    assert_eq!(changed, 1);
}

/// Sessions of somebody that the store takes for alive.
fn sessions_of(gate: &TestGate, name: &str) -> usize {
    let user = id_of(gate, name);
    let all = gate.store().live_sessions(gate.clock.now()).unwrap();
    all.into_iter().filter(|session| session.user == user).count()
}

/// The same browser, at another gate.
fn at(gate: &TestGate, person: &Person) -> Client {
    let mut client = gate.client();
    client.set_cookie(names::SESSION_COOKIE, person.session_cookie().unwrap());
    client
}

#[tokio::test]
async fn a_session_without_activity_ends_at_the_very_moment_of_the_idle_limit() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;

    gate.clock.advance(HOUR - MILLI);
    assert!(alive(&alice.client).await);
    gate.clock.advance(MILLI);
    assert!(!alive(&alice.client).await);

    assert_eq!(alice.client.get("/api2/json/version").await.status, 401);
    assert_eq!(pve.connections_seen(), 0);
    until("the store hears of it", async || sessions_of(&gate, "alice") == 0).await;
}

#[tokio::test]
async fn a_session_ends_at_the_very_moment_of_the_absolute_limit_whatever_happens_in_it() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;

    for _ in 0..23 {
        gate.clock.advance(HOUR / 2);
        assert_eq!(alice.client.navigate("/").await.status, 200);
    }
    let seen = pve.requests_seen();
    gate.clock.advance(HOUR / 2 - MILLI);
    assert!(alive(&alice.client).await);
    gate.clock.advance(MILLI);

    assert_eq!(alice.client.navigate("/").await.status, 303);
    assert!(!alive(&alice.client).await);
    assert_eq!(pve.requests_seen(), seen);
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_no_session() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = gate.person("alice").await;
    let start = gate.clock.now();
    gate.clock.advance(HOUR);
    assert!(!alive(&alice.client).await);

    gate.clock.set(start);

    assert!(!alive(&alice.client).await);
}

#[tokio::test]
async fn what_a_person_does_winds_the_idle_clock_and_what_a_page_does_by_itself_does_not() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    let page = "accept: text/html,*/*;q=0.8\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    let foreign = "sec-fetch-site: same-site\r\n";
    #[rustfmt::skip]
    let table = [
        ("GET",    "/",                                           page,    true),
        ("GET",    "/_gate/",                                     page,    true),
        ("POST",   "/api2/json/nodes/demo/qemu/100/status/start", "",      true),
        ("PUT",    "/api2/json/nodes/demo/qemu/100/config",       "",      true),
        ("DELETE", "/api2/json/nodes/demo/qemu/100",              "",      true),
        ("GET",    "/api2/json/cluster/resources",                "",      false),
        ("HEAD",   "/api2/json/cluster/resources",                "",      false),
        ("GET",    "/pve2/js/stand-in.js",                        "",      false),
        ("POST",   "/api2/json/access/ticket",                    "",      false),
        ("POST",   "/api2/extjs/access/ticket",                   "",      false),
        ("POST",   "/api2///json/%61ccess%2Fticket",              "",      false),
        // Another site's page is not this person at work.
        ("POST",   "/api2/json/nodes/demo/qemu/100/status/start", foreign, false),
        ("DELETE", "/_gate/sign-in",                              "",      false),
    ];
    for (method, target, more, winds) in table {
        let mut bob = gate.person("bob").await;
        bob.client = {
            let mut client = alice.client.clone();
            client.set_cookie(names::SESSION_COOKIE, bob.session_cookie().unwrap());
            client
        };
        gate.clock.advance(HOUR - MINUTE);
        let mut wire = Wire::open(&bob.client).await;
        wire.send(bob.client.head(method, target, more).as_bytes()).await;
        assert_ne!(wire.answer(method).await.unwrap().status, 401, "{method} {target}");
        gate.clock.advance(2 * MINUTE);

        assert_eq!(alive(&bob.client).await, winds, "{method} {target} {more}");
    }
}

#[tokio::test]
async fn a_session_survives_a_restart_with_the_activity_that_it_had() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut gone = gate.person("gone").await;
    gate.clock.advance(50 * MINUTE);
    alice.client.navigate("/").await;
    let cookie = gone.session_cookie().unwrap().to_owned();
    gone.sign_out().await;
    let again = gate.another(&pve);
    gate.stop().await;

    let gate = again.start().await;

    gate.clock.advance(50 * MINUTE);
    assert!(alive(&at(&gate, &alice)).await);
    assert_eq!(at(&gate, &alice).get("/").await.status, 200);
    let mut client = gate.client();
    client.set_cookie(names::SESSION_COOKIE, &cookie);
    assert!(!alive(&client).await, "an ended one stays ended");
    gate.clock.advance(10 * MINUTE);
    assert!(!alive(&at(&gate, &alice)).await, "the idle clock went on while the gate was down");
}

#[tokio::test]
async fn gates_on_one_store_know_each_others_sessions_and_their_ends() {
    let pve = Pve::start().await;
    let one = TestGate::in_front_of(&pve).await;
    let two = one.another(&pve).start().await;
    let mut alice = one.person("alice").await;
    let elsewhere = at(&two, &alice);

    assert_eq!(elsewhere.clone().get("/").await.status, 200);
    let mut console = Person {
        name: "alice".to_owned(),
        client: elsewhere.clone(),
        phone: alice.phone.clone(),
        codes: Vec::new(),
    };
    let mut console = console.console().await;
    console.echo(b"uptime\n").await.unwrap();
    alice.sign_out().await;

    until("the other gate refuses it", async || !alive(&elsewhere).await).await;
    assert_eq!(console.receive().await, None);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn somebody_at_work_at_one_gate_is_not_idle_at_another() {
    let pve = Pve::start().await;
    let one = TestGate::in_front_of(&pve).await;
    let two = one.another(&pve).start().await;
    let mut alice = one.person("alice").await;
    let elsewhere = at(&two, &alice);
    assert!(alive(&elsewhere).await);

    one.clock.advance(50 * MINUTE);
    alice.client.navigate("/").await;
    let active = one.clock.now();
    until("it is written down", async || {
        let sessions = one.store().live_sessions(one.clock.now()).unwrap();
        sessions.first().unwrap().last_active_at == active
    })
    .await;
    one.clock.advance(HOUR - MILLI);
    // The other gate looks at its clocks four times a second; what must not happen cannot be awaited.
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert!(alive(&alice.client).await);
    assert!(alive(&elsewhere).await);
    one.clock.advance(MILLI);
    assert!(!alive(&elsewhere).await);
}

#[tokio::test]
async fn a_revocation_takes_effect_at_a_running_gate() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = gate.person("alice").await;
    let bob = gate.person("bob").await;

    revoke(&gate, "alice");

    until("alice is refused", async || !alive(&alice.client).await).await;
    assert!(alive(&bob.client).await);
}

/// Opens a hundred consoles that echo.
async fn hundred(alice: &mut Person) -> Vec<Console> {
    let mut consoles = Vec::new();
    for _ in 0..100 {
        consoles.push(alice.console().await);
    }
    consoles
}

/// Waits until every console has ended at both ends, and says how long that took.
async fn all_end(pve: &Pve, consoles: &mut [Console]) -> Duration {
    let start = Instant::now();
    until("every console has ended upstream", async || pve.tunnels_open() == 0).await;
    for ended in join_all(consoles.iter_mut().map(Console::receive)).await {
        assert_eq!(ended, None);
    }
    start.elapsed()
}

/// The promise is a second. On a machine that does much else at once it may be late; that it happens
/// at all is what `until` holds.
const A_SECOND_ON_A_BUSY_MACHINE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_ends_a_hundred_consoles_within_a_second() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;
    let mut consoles = hundred(&mut alice).await;

    alice.sign_out().await;

    assert!(all_end(&pve, &mut consoles).await < A_SECOND_ON_A_BUSY_MACHINE);
    assert_eq!(bob.console().await.echo(b"others").await.as_deref(), Some(&b"others"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_a_hundred_consoles_within_a_second_and_nobody_elses() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;
    let mut consoles = hundred(&mut alice).await;
    let mut others = bob.console().await;

    revoke(&gate, "alice");

    let start = Instant::now();
    until("alice's consoles have ended", async || pve.tunnels_open() == 1).await;
    for ended in join_all(consoles.iter_mut().map(Console::receive)).await {
        assert_eq!(ended, None);
    }
    assert!(start.elapsed() < A_SECOND_ON_A_BUSY_MACHINE);
    assert_eq!(others.echo(b"others").await.as_deref(), Some(&b"others"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_absolute_limit_ends_a_hundred_consoles_within_a_second() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("session.lifetime", "2h").start().await;
    let mut alice = gate.person("alice").await;
    let mut consoles = hundred(&mut alice).await;

    gate.clock.advance(2 * HOUR - MILLI);
    for console in &mut consoles {
        assert_eq!(console.echo(b"work").await.as_deref(), Some(&b"work"[..]));
    }
    gate.clock.advance(MILLI);

    assert!(all_end(&pve, &mut consoles).await < A_SECOND_ON_A_BUSY_MACHINE);
}

#[tokio::test(flavor = "multi_thread")]
async fn consoles_outlive_an_idle_session_and_end_at_a_limit_of_their_own() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut consoles = hundred(&mut alice).await;
    let mut used = alice.console().await;

    gate.clock.advance(3 * HOUR);
    until("the session is idle", async || !alive(&alice.client).await).await;
    assert_eq!(used.echo(b"still there?").await.as_deref(), Some(&b"still there?"[..]));
    assert_eq!(pve.tunnels_open(), 101);
    gate.clock.advance(HOUR);

    until("the unused consoles have ended", async || pve.tunnels_open() == 1).await;
    for ended in join_all(consoles.iter_mut().map(Console::receive)).await {
        assert_eq!(ended, None);
    }
    assert_eq!(used.echo(b"still here").await.as_deref(), Some(&b"still here"[..]));
}

#[tokio::test]
async fn a_consoles_own_heartbeat_is_nobody_at_work() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;

    gate.clock.advance(4 * HOUR - MINUTE);
    assert_eq!(console.echo(b"2").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(console.echo(&[3; 10]).await.as_deref(), Some(&[3; 10][..]));
    gate.clock.advance(MINUTE);

    assert_eq!(console.receive().await, None);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn a_console_may_be_silent_for_longer_than_any_request_may() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.keep_alive", "200ms").set("limits.head", "200ms");
    let gate = gate.start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;

    // Silence itself is the subject: there is nothing else to wait for.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!(console.echo(b"still there?").await.as_deref(), Some(&b"still there?"[..]));
    }
    assert_eq!(pve.tunnels_open(), 1);
}

#[tokio::test]
async fn a_session_that_went_idle_is_ended_for_good_with_its_console() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    gate.clock.advance(2 * HOUR);
    until("the session is idle", async || !alive(&alice.client).await).await;

    // Work in the console does not give the page back.
    console.echo(b"apt upgrade\n").await.unwrap();
    assert!(!alive(&alice.client).await);
    revoke(&gate, "alice");

    assert_eq!(console.receive().await, None);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn whoever_is_disabled_by_hand_loses_consoles_downloads_and_uploads_at_once() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    console.echo(b"x").await.unwrap();
    // The second chunk of this download comes in an hour, and so does the rest of this upload.
    let mut download = Wire::open(&alice.client).await;
    let target = "/standin/stream/length?bytes=20&chunk=10&every-ms=3600000";
    download.send(alice.client.head("GET", target, "").as_bytes()).await;
    assert!(download.head().await.unwrap().starts_with("HTTP/1.1 200 "));
    let mut upload = Wire::open(&alice.client).await;
    upload.send(alice.client.head("POST", "/standin/sink", "Content-Length: 100\r\n").as_bytes()).await;
    upload.send(b"half").await;
    let before = pve.requests_seen();
    until("the upload has begun", async || {
        pve.requests().iter().any(|request| request.target == "/standin/sink")
    })
    .await;

    disable(&gate, "alice");

    assert_eq!(console.receive().await, None);
    let (body, _) = download.rest().await;
    assert!(body.len() < 20, "{} bytes", body.len());
    upload.rest().await;
    pve.wait_until(|seen| seen.tunnels_open == 0 && seen.connections_open == 0).await;
    assert!(!alive(&alice.client).await);
    let refused = alice.sign_in(&gate).await;
    assert_eq!(refused.status, 403);
    assert!(pve.requests_seen() <= before + 1);
}

#[tokio::test]
async fn a_limit_that_passes_lets_a_running_download_finish() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = gate.person("alice").await;
    let mut download = Wire::open(&alice.client).await;
    let target = "/standin/stream/length?bytes=40&chunk=10&every-ms=500";
    download.send(alice.client.head("GET", target, "").as_bytes()).await;
    assert!(download.head().await.unwrap().starts_with("HTTP/1.1 200 "));

    gate.clock.advance(12 * HOUR);
    until("the session has expired", async || !alive(&alice.client).await).await;
    let mut body = Vec::new();
    while body.len() < 40 {
        let some = download.some().await;
        assert!(!some.is_empty(), "cut after {} bytes", body.len());
        body.extend(some);
    }

    // The next request on the same connection is judged by itself.
    download.send(alice.client.head("GET", "/api2/json/version", "").as_bytes()).await;
    assert_eq!(download.answer("GET").await.unwrap().status, 401);
    assert_eq!(pve.requests_seen(), 1);
}

/// Signs in twenty times at once with one code, at these gates in turn; says how many succeeded.
async fn sign_in_at_once(gates: &[&TestGate], name: &str, code: &str) -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let replies = join_all((0..20).map(|turn| {
        // Everybody comes from an address of their own: a row of wrong codes would lock one.
        let [_, _, high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut client = gates[turn % gates.len()].client().from(&format!("127.7.{high}.{low}"));
        let fields = [("user", name.to_owned()), ("code", code.to_owned())];
        async move {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            client.post_form("/_gate/sign-in", &fields).await
        }
    }))
    .await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 303 | 403)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 303).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_used_twenty_times_at_once_opens_one_session() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;

    for _ in 0..5 {
        let code = alice.wait_for_next_code(&gate);
        assert_eq!(sign_in_at_once(&[&gate], "alice", &code).await, 1);
        assert_eq!(sessions_of(&gate, "alice"), 1);
        revoke(&gate, "alice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_used_at_two_gates_at_once_opens_one_session() {
    let pve = Pve::start().await;
    let one = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let two = one.another(&pve).start().await;
    let mut alice = one.person("alice").await;
    alice.sign_out().await;

    for _ in 0..5 {
        let code = alice.wait_for_next_code(&one);
        assert_eq!(sign_in_at_once(&[&one, &two], "alice", &code).await, 1);
        assert_eq!(sessions_of(&one, "alice"), 1);
        revoke(&one, "alice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invitation_taken_up_twenty_times_at_once_enrols_one_phone() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "10000").start().await;
    let token = gate.invite("alice");
    let mut takers = Vec::new();
    for _ in 0..20 {
        takers.push(Person::scan(&gate, "alice", &token).await.unwrap());
    }

    let replies = join_all(takers.iter_mut().map(|(person, state)| {
        let code = person.code(&gate);
        async move { person.finish(state, &code).await.status.as_u16() }
    }))
    .await;

    assert_eq!(replies.iter().filter(|status| **status == 303).count(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|status| **status == 403).count(), 19, "{replies:?}");
    assert_eq!(gate.store().authenticators(id_of(&gate, "alice")).unwrap().len(), 1);
    assert_eq!(sessions_of(&gate, "alice"), 1);
    assert_eq!(takers.iter().filter(|(person, _)| person.session_cookie().is_some()).count(), 1);
}

#[tokio::test]
async fn a_session_whose_row_can_t_be_read_any_more_ends_and_so_does_what_is_ended_after_it() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;

    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch(
        "BEGIN;
         UPDATE session SET ended_at = 1, end_reason = 'stolen laptop'
             WHERE user_id = (SELECT id FROM user WHERE name = 'alice');
         UPDATE session SET ended_at = 1, end_reason = 'revoked'
             WHERE user_id = (SELECT id FROM user WHERE name = 'bob');
         COMMIT;",
    )
    .unwrap();

    until("both are refused", async || {
        alice.client.get("/_gate/").await.status == 401 && bob.client.get("/_gate/").await.status == 401
    })
    .await;
    // One that has not seen the session alive is asked for it anew.
    let other = gate.another(&pve).start().await;
    assert_eq!(at(&other, &alice).get("/_gate/").await.status, 401);
}

#[tokio::test]
async fn whoever_hangs_up_before_the_answer_is_in_the_audit_file_all_the_same() {
    let pve = Pve::start().await;
    let enrolled = TestGate::in_front_of(&pve).await;
    enrolled.person("alice").await;
    // A password is hashed between the charge and the answer: time enough to hang up.
    let gate = enrolled.another(&pve).set("auth.password", "with-totp").start().await;
    let body = "user=alice&code=000000&password=something";
    let fields =
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    let charged = || {
        sql.query_row("SELECT coalesce(sum(in_a_row), 0) FROM guess_source WHERE user_id > 0", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
    };

    for attempt in 1..=5 {
        let mut wire = Wire::open(&gate.client()).await;
        let head = gate.client().head("POST", "/_gate/sign-in", &fields);
        wire.send(format!("{head}{body}").as_bytes()).await;
        until("the attempt is charged", async || charged() == attempt).await;
        drop(wire);
    }

    until("each attempt is written", async || {
        let failed = |event: &&serde_json::Value| event["pvegate"]["reason"] == "bad_password";
        gate.audit().iter().filter(failed).count() == 5
    })
    .await;
}

#[tokio::test]
async fn whoever_is_enabled_again_signs_in_at_once_and_stays() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "10000").start().await;
    let mut alice = gate.person("alice").await;
    gate.person("root").await;
    let user = id_of(&gate, "alice");
    assert_ne!(gate.store().disable_user(user, gate.clock.now()).unwrap(), Disabled::LastAdmin);
    // Of a page of the gate's own: an answer of Proxmox VE would be cut in the middle.
    until("the gate has heard of it", async || !alive(&alice.client).await).await;
    let code = alice.wait_for_next_code(&gate);

    // By another process, and without a moment for the gate to hear of it.
    assert_eq!(gate.store().enable_user(user).unwrap(), Enabled::Now);
    assert_eq!(alice.sign_in_with(&code).await.status, 303);

    assert_eq!(alice.client.get("/").await.status, 200);
    // Nor does what is heard of later end it.
    assert_ne!(gate.store().disable_user(user, gate.clock.now()).unwrap(), Disabled::LastAdmin);
    until("disabled again", async || !alive(&alice.client).await).await;
}
