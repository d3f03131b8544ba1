//! Bans: short at first and longer each time, followed by every gate, and never turned against the owner.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{
    admission::ban::WITHIN,
    time::{Clock as _, SystemClock},
};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::harness::{Client, Ended, Person, Pve, Recipe, TestGate, Wire, pvegate, until};

const MINUTE: Duration = Duration::from_secs(60);

/// A gate that bans loopback addresses like any others, and does not hold back attempts to sign in.
fn recipe(pve: &Pve) -> Recipe {
    TestGate::recipe(pve)
        .set("access.allow", "127.0.0.0/8")
        .set("limits.never_ban", "")
        .set("limits.sign_ins", "10000")
}

async fn fail(client: &mut Client, times: usize) {
    for _ in 0..times {
        let reply = client.post_form("/_gate/sign-in", &[("user", "alice"), ("code", "none")]).await;
        assert_eq!(reply.status, 403);
    }
}

async fn is_kept_out(client: &Client) -> bool {
    client.try_tls_stream().await.is_err()
}

async fn wait_until_kept_out(client: &Client) {
    until("the ban", async || is_kept_out(client).await).await;
}

fn bans(gate: &TestGate) -> Vec<Value> {
    gate.audit().into_iter().filter(|event| event["event"]["action"] == "ban-add").collect()
}

#[tokio::test]
async fn who_fails_again_and_again_is_banned_for_longer_each_time_and_the_owner_never() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    let seen = pve.requests_seen();
    let mut stranger = gate.client().from("127.0.0.66");
    let mut waiting = stranger.tls_stream().await;

    fail(&mut stranger, 20).await;
    wait_until_kept_out(&stranger).await;

    // What it had open is closed.
    let end = timeout(Duration::from_secs(5), waiting.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok());
    let told = bans(&gate);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["pvegate"]["network"], "127.0.0.66/32");
    assert_eq!(told[0]["pvegate"]["reason"], "failed_sign_ins");
    assert_eq!(told[0]["pvegate"]["until"], gate.clock.now().plus(10 * MINUTE).to_string());
    // From where somebody is signed in, any number of failures bans nobody.
    fail(&mut gate.client(), 40).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!is_kept_out(&gate.client()).await);
    assert_eq!(console.echo(b"still here").await.as_deref(), Some(b"still here".as_slice()));
    assert_eq!(pve.requests_seen(), seen, "nothing of a stranger reached Proxmox VE");

    gate.clock.advance(10 * MINUTE);
    assert!(!is_kept_out(&stranger).await, "it is over");
    fail(&mut stranger, 20).await;
    wait_until_kept_out(&stranger).await;
    assert_eq!(bans(&gate)[1]["pvegate"]["until"], gate.clock.now().plus(20 * MINUTE).to_string());
}

#[tokio::test]
async fn a_day_after_the_last_sign_in_from_there_an_address_can_be_banned_again() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;

    gate.clock.advance(Duration::from_secs(23 * 3600));
    fail(&mut gate.client(), 30).await;
    gate.clock.advance(Duration::from_secs(3600) + WITHIN);
    assert_eq!(bans(&gate).len(), 0);
    fail(&mut gate.client(), 20).await;

    wait_until_kept_out(&gate.client()).await;
}

#[tokio::test]
async fn what_a_page_of_another_site_makes_a_browser_send_bans_nobody() {
    let pve = Pve::start().await;
    let gate = recipe(&pve)
        .set("limits.request_burst", "60")
        .set("limits.requests", "5")
        .set("limits.ban_after", "10")
        .start()
        .await;
    let mut victim = gate.client().from("127.0.0.70").with("sec-fetch-site", "cross-site");
    let mut connection = victim.connect().await;
    let mut refused = 0;
    for i in 0..400 {
        let target = match i % 2 {
            0 => format!("/{}", "a".repeat(200)),
            _ => "/%5Fgate/".to_owned(),
        };
        let reply = victim.send_on(&mut connection, http::Method::GET, &target, bytes::Bytes::new()).await;
        refused += usize::from(reply.status == 429);
    }
    assert!(refused >= 300, "{refused}");
    victim.get(&format!("/{}", "a".repeat(20_000))).await;
    tokio::time::sleep(Duration::from_millis(600)).await;

    assert!(!is_kept_out(&victim).await);
    assert_eq!(bans(&gate).len(), 0);

    // The same flood from a program, which no other site has sent.
    let mut program = gate.client().from("127.0.0.71");
    let mut connection = program.connect().await;
    for _ in 0..60 + 50 {
        program.send_on(&mut connection, http::Method::GET, "/", bytes::Bytes::new()).await;
    }
    wait_until_kept_out(&program).await;
    assert_eq!(bans(&gate)[0]["pvegate"]["reason"], "request_flood");
}

#[tokio::test]
async fn a_command_bans_and_lifts_at_every_gate_within_a_second_and_survives_a_restart() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).at(SystemClock.now()).start().await;
    let other = gate.another(&pve).start().await;
    let config = gate.dir().join("pvegate.toml").display().to_string();
    let run =
        async |args: &[&str]| -> Ended { pvegate(&[&["--config", &config, "ban"], args].concat()).await };
    // Verbs go by the machine's own time, and so do gates and browsers here.
    let browser = |gate: &TestGate| Client::of_process(gate.address, &gate.url(), &gate.ca_pem);
    let here = browser(&gate).from("127.0.0.80");
    let there = browser(&other).from("127.0.0.80");
    let link = gate.invite("alice");
    let mut alice = Person::enrol_with(browser(&gate), &gate, "alice", &link).await;
    let mut console = alice.console().await;

    let added = run(&["add", "127.0.0.80", "--for", "90m", "--reason", "a test", "--json"]).await.json();
    assert_eq!(added[0]["network"], "127.0.0.80/32");
    wait_until_kept_out(&here).await;
    wait_until_kept_out(&there).await;
    let listed = run(&["list", "--json"]).await.json();
    assert_eq!((&listed[0]["reason"], &listed[0]["automatic"]), (&"a test".into(), &false.into()));
    let table = run(&["list"]).await.ok();
    assert!(table.contains("127.0.0.80/32") && table.contains("in 1 hour"), "{table}");

    other.stop().await;
    let restarted = gate.another(&pve).start().await;
    assert!(is_kept_out(&browser(&restarted).from("127.0.0.80")).await);

    run(&["remove", "127.0.0.80"]).await.ok();
    until("the ban is lifted", async || !is_kept_out(&here).await).await;
    assert_eq!(run(&["remove", "127.0.0.80"]).await.code, Some(4));
    assert_eq!(run(&["add", "everybody"]).await.code, Some(2));

    // Where somebody is signed in, it wants a second word; then it ends consoles too.
    let refused = run(&["add", "127.0.0.0/24"]).await;
    assert_eq!(refused.code, Some(5));
    assert!(refused.stderr.contains("alice is signed in"), "{}", refused.stderr);
    assert!(console.echo(b"x").await.is_some());
    run(&["add", "127.0.0.0/24", "--yes"]).await.ok();
    assert_eq!(console.receive().await, None);
    assert!(is_kept_out(&browser(&gate)).await);
    let words: Vec<_> = gate.audit().iter().map(|event| event["event"]["action"].clone()).collect();
    // What verbs do is in their own log, which is the same file.
    assert_eq!(words.iter().filter(|word| **word == "ban-add").count(), 2);
    assert_eq!(words.iter().filter(|word| **word == "ban-remove").count(), 1);
}

#[tokio::test]
async fn who_tries_wrong_api_tokens_is_banned_and_who_polls_without_a_session_or_with_a_stale_token_is_not() {
    const SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";
    const WRONG: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e22";
    let pve = Pve::start().await;
    let lines = "from = [\"127.0.0.0/8\"]\npaths = [\"/api2/json/version\"]\nrate = 1000";
    let gate = recipe(&pve).rule("root@pam!stale", SECRET, lines).start().await;
    let with = |address: &str, field: String| gate.client().from(address).with("authorization", &field);
    let mut wrong_secret = with("127.0.0.66", format!("PVEAPIToken=root@pam!stale={WRONG}"));
    let mut wrong_name = with("127.0.0.67", format!("PVEAPIToken=root@pam!nobody={SECRET}"));
    let mut broken = with("127.0.0.68", "PVEAPIToken=".to_owned());
    let mut stale = with("127.0.0.69", format!("PVEAPIToken=root@pam!stale={SECRET}"));
    let mut outside = stale.clone().from("127.0.0.70");
    let mut polling = gate.client().from("127.0.0.71");

    for _ in 0..40 {
        // Both are refused by Proxmox VE, or by what the gate learned from it; the rest by the gate.
        assert!(matches!(stale.get("/api2/json/version").await.status.as_u16(), 401 | 429));
        assert_eq!(outside.get("/api2/json/nodes").await.status, 403);
        assert_eq!(polling.get("/api2/json/cluster/resources").await.status, 401);
    }
    let seen = pve.requests_seen();
    for guesser in [&mut wrong_secret, &mut wrong_name, &mut broken] {
        for _ in 0..20 {
            assert_eq!(guesser.get("/api2/json/version").await.status, 401);
        }
        wait_until_kept_out(guesser).await;
    }

    assert_eq!(pve.requests_seen(), seen, "no guess reached Proxmox VE");
    let told = bans(&gate);
    let networks: Vec<_> = told.iter().map(|ban| ban["pvegate"]["network"].as_str().unwrap()).collect();
    assert_eq!(networks, ["127.0.0.66/32", "127.0.0.67/32", "127.0.0.68/32"]);
    assert!(told.iter().all(|ban| ban["pvegate"]["reason"] == "wrong_api_tokens"), "{told:?}");
    for honest in [&stale, &outside, &polling] {
        assert!(!is_kept_out(honest).await);
    }
}

#[tokio::test]
async fn failed_sign_ins_to_proxmox_ve_ban_nobody_who_is_signed_in_at_the_gate_wherever_they_went() {
    let pve = Pve::start().await;
    let gate = recipe(&pve).start().await;
    let mut alice = gate.person("alice").await;
    let mut carried = alice.client.clone().from("127.0.0.66");
    // One user has so many guesses at a source; this is about the source.
    let guess = async |client: &mut Client, number: usize| {
        let user = format!("user{number}@pve");
        let fields = [("username", user.as_str()), ("password", "wrong")];
        assert_eq!(client.post_form("/api2/json/access/ticket", &fields).await.status, 401);
    };

    for number in 0..40 {
        guess(&mut alice.client, number).await;
    }
    for number in 0..40 {
        guess(&mut carried, number).await;
    }
    // Whoever was due before this one would be banned by now.
    let mut stranger = gate.client().from("127.0.0.67");
    fail(&mut stranger, 20).await;
    wait_until_kept_out(&stranger).await;

    assert!(!is_kept_out(&alice.client).await && !is_kept_out(&carried).await);
    let told = bans(&gate);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["pvegate"]["network"], "127.0.0.67/32");
}

#[tokio::test]
async fn a_store_that_another_program_holds_delays_no_end_and_loses_no_ban() {
    let pve = Pve::start().await;
    // A ban that begins before the clock is moved is still one afterwards.
    let gate = recipe(&pve).set("limits.ban_after", "10").set("limits.ban_for", "12h").start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    let strangers = ["127.0.0.66", "127.0.0.67", "127.0.0.68"].map(|source| gate.client().from(source));
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch("BEGIN IMMEDIATE").unwrap();

    for stranger in &strangers {
        for _ in 0..10 {
            let mut wire = Wire::open(stranger).await;
            wire.send(b"no request\r\n\r\n").await;
            assert_eq!(wire.answer("GET").await.unwrap().status, 400);
        }
    }
    // Past what `session.console_idle` says without being set.
    gate.clock.advance(4 * 60 * MINUTE);

    let end = timeout(Duration::from_secs(3), console.receive()).await;
    assert_eq!(end.expect("the console closes in time"), None);
    for stranger in &strangers {
        wait_until_kept_out(stranger).await;
    }
    assert_eq!(bans(&gate).len(), 0, "nothing was written yet");
    sql.execute_batch("ROLLBACK").unwrap();
    until("the bans are written", async || bans(&gate).len() == 3).await;
    for stranger in &strangers {
        assert!(is_kept_out(stranger).await);
    }
}
