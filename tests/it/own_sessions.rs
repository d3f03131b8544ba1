//! Where somebody is signed in, in their own hands.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{
    account::{EndReason, Role, SessionId},
    store::{Enabled, Store as _},
    time::Clock as _,
};

use serde_json::json;

use crate::{
    authenticator::Authenticator,
    harness::{Client, Person, Pve, TestGate, state_of, until},
};

const SESSIONS: &str = "/_gate/sessions";
const END: &str = "/_gate/sessions/end";
const NOT_ME: &str = "/_gate/sessions/not-me";
const PANIC: &str = "/_gate/panic";

/// A gate at which one source may try as often as these tests do.
async fn busy_gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set("limits.sign_ins", "10000").set("access.allow", "127.0.0.0/8").start().await
}

/// The same person, signed in at another browser too.
async fn at_another_browser(gate: &TestGate, person: &Person, browser: Client) -> Person {
    let mut there =
        Person { name: person.name.clone(), client: browser, phone: person.phone.clone(), codes: Vec::new() };
    assert_eq!(there.sign_in(gate).await.status, 303);
    there
}

/// The sessions of somebody that the store takes for alive, oldest first.
fn sessions_of(gate: &TestGate, name: &str) -> Vec<SessionId> {
    let user = gate.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id;
    let all = gate.store().live_sessions(gate.clock.now()).unwrap();
    all.into_iter().filter(|session| session.user == user).map(|session| session.id).collect()
}

/// Whether the session is alive, asked in a way that winds no clock.
async fn alive(client: &Client) -> bool {
    client.clone().get("/_gate/").await.status == 200
}

#[tokio::test]
async fn the_page_tells_sessions_apart_and_counts_the_consoles_that_are_open_now() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Safari/604.1";
    let there = gate.client().from("127.0.0.7").with("user-agent", phone);
    let mut there = at_another_browser(&gate, &alice, there).await;
    let mut bob = gate.person("bob").await;
    let console = there.console().await;

    let page = alice.client.navigate(SESSIONS).await.text();
    assert_eq!(page.matches("<h3>").count(), 2, "{page}");
    assert!(page.contains("Safari on iPhone") && page.contains("127.0.0.7"), "{page}");
    assert_eq!(page.matches("this one").count(), 1, "{page}");
    assert!(page.find("this one").unwrap() < page.find("Safari on iPhone").unwrap(), "this one is first");
    assert_eq!(page.matches("<dd>1</dd>").count(), 1, "{page}");
    assert!(!bob.client.navigate(SESSIONS).await.text().contains("127.0.0.7"));

    drop(console);
    until("the console is gone from the page", async || {
        !alice.client.clone().get(SESSIONS).await.text().contains("<dd>1</dd>")
    })
    .await;
}

#[tokio::test]
async fn last_active_is_what_happened_and_not_what_was_written_down() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut there = at_another_browser(&gate, &alice, gate.client()).await;
    alice.client.navigate("/").await;

    gate.clock.advance(Duration::from_secs(17 * 60));
    there.client.navigate("/").await;
    let now = gate.clock.now().to_string();

    let page = alice.client.get(SESSIONS).await.text();
    assert_eq!(page.matches(&format!("<dd><time datetime=\"{now}\"")).count(), 1, "{page}");
}

#[tokio::test]
async fn one_session_is_signed_out_from_another_and_its_console_with_it() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut there = at_another_browser(&gate, &alice, gate.client()).await;
    let third = at_another_browser(&gate, &alice, gate.client()).await;
    let mut console = there.console().await;
    assert_eq!(console.echo(b"ls").await.as_deref(), Some(&b"ls"[..]));
    let [_, id, _] = sessions_of(&gate, "alice").try_into().unwrap();

    let reply = alice.client.post_form(END, &[("id", &id.to_string())]).await;

    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/_gate/sessions?done=ended")));
    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None, "the console closes within a second");
    assert!(!alive(&there.client).await);
    assert!(alive(&alice.client).await && alive(&third.client).await);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
    let event = gate.audit().into_iter().rfind(|event| event["event"]["action"] == "session-revoke").unwrap();
    assert_eq!(event["user"]["name"], "alice");
    assert_eq!(gate.store().session(id).unwrap().unwrap().ended.unwrap().1, EndReason::Revoked);
}

#[tokio::test]
async fn all_others_are_signed_out_and_this_one_goes_on() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let there = at_another_browser(&gate, &alice, gate.client()).await;
    let third = at_another_browser(&gate, &alice, gate.client()).await;
    let bob = gate.person("bob").await;

    let reply = alice.client.post_form(END, &[("which", "others")]).await;

    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/_gate/sessions?done=others-ended")));
    assert!(!alive(&there.client).await && !alive(&third.client).await);
    assert!(alive(&alice.client).await && alive(&bob.client).await);
}

#[tokio::test]
async fn nobody_ends_what_is_somebody_elses_and_no_other_site_ends_anything() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let there = at_another_browser(&gate, &alice, gate.client()).await;
    let bob = gate.person("bob").await;
    let his = sessions_of(&gate, "bob")[0].to_string();

    for id in [his.as_str(), "", "ff", &"0".repeat(64)] {
        assert_eq!(alice.client.post_form(END, &[("id", id)]).await.status, 404, "{id:?}");
    }
    let body = "which=others".into();
    let mut foreign = alice.client.clone().with("origin", "https://evil.example");
    foreign = foreign.with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(foreign.send(http::Method::POST, END, body).await.status, 403);

    assert!(alive(&bob.client).await && alive(&there.client).await);
}

/// What happened to somebody's account, oldest first: the kind, whether it succeeded, whether from a new
/// address.
fn history_of(gate: &TestGate, name: &str) -> Vec<(&'static str, bool, bool)> {
    let user = gate.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id;
    let entries = gate.store().history(user).unwrap();
    entries.iter().rev().map(|e| (e.happened.as_str(), e.succeeded, e.from_new_address)).collect()
}

#[tokio::test]
async fn what_happened_to_an_account_is_kept_for_its_owner_and_a_new_address_is_flagged() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;
    let mut stranger = gate.client().from("127.0.0.66");
    let guess = stranger.post_form("/_gate/sign-in", &[("user", "alice"), ("code", "000000")]).await;
    assert_eq!(guess.status, 403);
    let mut there = at_another_browser(&gate, &alice, gate.client().from("127.0.0.7")).await;
    there.sign_out().await;

    let page = alice.client.navigate(SESSIONS).await.text();

    let log = page.split("<ol class=\"events\">").nth(1).unwrap();
    assert_eq!(log.matches("new address").count(), 2, "{log}");
    assert!(log.contains("Failed sign-in") && log.contains("127.0.0.66"), "{log}");
    assert!(log.contains("Sign-in method added") && log.contains("Signed out"), "{log}");
    let last = history_of(&gate, "alice");
    let expected = [
        ("sign-in", true, false),
        ("sign-in", false, true),
        ("sign-in", true, true),
        ("sign-out", true, false),
    ];
    assert_eq!(last[last.len() - 4..], expected, "{last:?}");
    assert!(!bob.client.navigate(SESSIONS).await.text().contains("127.0.0.66"));
}

#[tokio::test]
async fn a_history_that_cannot_be_written_stops_nobody() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.busy_timeout(Duration::from_secs(5)).unwrap();
    sql.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'disk full'); END;",
    )
    .unwrap();
    let before = history_of(&gate, "alice");

    alice.sign_out().await;
    assert_eq!(alice.sign_in(&gate).await.status, 303);

    assert!(alive(&alice.client).await);
    assert_eq!(alice.client.navigate(SESSIONS).await.status, 200);
    assert_eq!(history_of(&gate, "alice"), before);
}

/// Adds a passkey as the page's script does, permitted by a code.
async fn add_passkey(gate: &TestGate, person: &mut Person, key: &mut Authenticator) {
    let code = person.wait_for_next_code(gate);
    let page = person.client.post_form("/_gate/methods/new", &[("code", &code)]).await;
    let state = state_of(&page.text()).unwrap_or_else(|| panic!("{}", page.text()));
    let reply = person.client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await;
    let body = reply.json();
    let made = key.create(&body["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": body["state"], "name": "Laptop", "credential": made });
    let reply = person.client.post_json("/_gate/passkey/create", &body).await;
    let state = reply.json()["state"].as_str().unwrap().to_owned();
    let reply = person.client.post_form("/_gate/enrol", &[("state", &state), ("name", "Laptop")]).await;
    assert_eq!(reply.location(), Some("/_gate/methods?done=added"), "{}", reply.text());
}

async fn sign_in_by_passkey(gate: &TestGate, client: &mut Client, key: &mut Authenticator) {
    let body = client.post_json("/_gate/passkey/sign-in-options", &json!({})).await.json();
    let answer = key.get(&body["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": body["state"], "credential": answer });
    let reply = client.post_json("/_gate/passkey/sign-in", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn count(gate: &TestGate, sql: &str) -> i64 {
    let store = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn this_was_not_me_ends_everything_at_once_and_tells_administrators() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let token = gate.invite_as("root", Role::Admin);
    let (mut admin, _) = Person::take_up(&gate, "root", &token).await;
    let mut alice = gate.person("alice").await;
    let token = gate.invite_as("bob", Role::User);
    let (mut bob, _) = Person::take_up(&gate, "bob", &token).await;
    let mut thief = at_another_browser(&gate, &alice, gate.client().from("127.0.0.66")).await;
    let mut console = thief.console().await;
    assert_eq!(console.echo(b"ls").await.as_deref(), Some(&b"ls"[..]));
    let link = gate.invite("alice");
    let page = alice.client.navigate(SESSIONS).await.text();
    let entry = page.split("not-me?entry=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let asked = alice.client.navigate(&format!("{NOT_ME}?entry={entry}")).await;
    assert!(asked.text().contains("127.0.0.66"), "{}", asked.text());
    assert!(alive(&thief.client).await, "asking does nothing");

    let done = alice.client.post_form(NOT_ME, &[("entry", &entry)]).await;

    assert_eq!(done.status, 200, "{}", done.text());
    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None, "the console closes within a second");
    assert!(!alive(&alice.client).await && !alive(&thief.client).await);
    assert_eq!(sessions_of(&gate, "alice"), []);
    let of_alice = "user_id = (SELECT id FROM user WHERE name = 'alice')";
    assert_eq!(count(&gate, &format!("SELECT count(*) FROM device WHERE {of_alice}")), 0);
    let (_, reply) = Person::take_up(&gate, "alice", &link).await;
    assert_ne!(reply.status, 303, "the open link is void");
    assert!(alive(&bob.client).await);
    let told =
        gate.audit().into_iter().rfind(|event| event["event"]["action"] == "intrusion-report").unwrap();
    assert_eq!(told["user"]["name"], "alice");
    let line = "alice reported";
    assert!(admin.client.navigate("/_gate/").await.text().contains(line));
    assert!(!bob.client.navigate("/_gate/").await.text().contains(line));
    // An app is all that she has: a fresh code is as strong as policy allows.
    assert_eq!(alice.sign_in(&gate).await.status, 303);
}

#[tokio::test]
async fn after_a_report_a_code_is_not_enough_for_somebody_with_a_passkey_until_it_was_used() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut laptop = Authenticator::synced();
    add_passkey(&gate, &mut alice, &mut laptop).await;
    assert_eq!(alice.sign_in(&gate).await.status, 303, "a code is enough before");

    alice.client.post_form(NOT_ME, &[]).await;

    let refused = alice.sign_in(&gate).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Sign in with your passkey"), "{}", refused.text());
    let wrong = alice.sign_in_with("000000").await;
    assert!(!wrong.text().contains("was reported"), "only whoever has the code is told");
    assert_eq!(sessions_of(&gate, "alice"), []);
    sign_in_by_passkey(&gate, &mut alice.client, &mut laptop).await;
    assert!(alive(&alice.client).await);
    alice.sign_out().await;
    assert_eq!(alice.sign_in(&gate).await.status, 303, "and afterwards again");
}

#[tokio::test]
async fn a_lost_passkey_is_no_dead_end_after_a_report() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut laptop = Authenticator::synced();
    add_passkey(&gate, &mut alice, &mut laptop).await;
    alice.client.post_form(NOT_ME, &[]).await;

    let mut elsewhere = gate.client();
    let fields = [("user", "alice"), ("code", alice.codes[0].as_str())];
    let reply = elsewhere.post_form("/_gate/recover", &fields).await;

    assert_eq!(reply.status, 303, "{}", reply.text());
    assert!(alive(&elsewhere).await);
}

#[tokio::test]
async fn the_panic_button_wants_a_proof_and_locks_the_account_until_an_administrator_opens_it() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let there = at_another_browser(&gate, &alice, gate.client()).await;
    let bob = gate.person("bob").await;

    for fields in [&[][..], &[("code", "000000")], &[("code", alice.code(&gate).as_str())]] {
        assert_eq!(alice.client.post_form(PANIC, fields).await.status, 403, "{fields:?}");
    }
    assert!(alive(&alice.client).await && alive(&there.client).await);
    let code = alice.wait_for_next_code(&gate);
    let done = alice.client.post_form(PANIC, &[("code", &code)]).await;

    assert_eq!(done.status, 200);
    assert!(done.text().contains("pvegate user enable alice"), "{}", done.text());
    assert!(!alive(&alice.client).await && !alive(&there.client).await && alive(&bob.client).await);
    assert_eq!(alice.sign_in(&gate).await.status, 403);
    let told = gate.audit().into_iter().rfind(|event| event["event"]["action"] == "panic").unwrap();
    assert_eq!((&told["user"]["name"], &told["source"]["ip"]), (&json!("alice"), &json!("127.0.0.1")));
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    assert_eq!(gate.store().enable_user(user).unwrap(), Enabled::Now);
    // The gate hears of it within a second.
    until("she signs in again", async || alice.sign_in(&gate).await.status == 303).await;
}
