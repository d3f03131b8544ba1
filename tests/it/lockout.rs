//! Guessing codes: strangers lock only themselves, and learn nothing by it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{process::Command, time::Duration};

use http::Method;
use pvegate::{
    account::TimeStep,
    admission::rate::PERIOD,
    gate::{ceremony::totp, lockout},
    names,
    store::{Attempt, Guesses, Store},
    time::{Clock, Timestamp},
};
use tokio::{task::JoinSet, time::Instant};

use crate::harness::{Client, Person, Pve, Reply, TestGate, until};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Every loopback address is a network of its own.
const ALLOW: (&str, &str) = ("access.allow", "127.0.0.0/8");

async fn open_gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set(ALLOW.0, ALLOW.1).start().await
}

/// Tries to sign in. The rate of attempts is not what these tests are about: a moment passes first.
async fn attempt(gate: &TestGate, client: &mut Client, user: &str, code: &str) -> Reply {
    gate.clock.advance(PERIOD);
    client.post_form("/_gate/sign-in", &[("user", user), ("code", code)]).await
}

/// A code that is wrong for a while.
fn wrong(gate: &TestGate, person: &Person) -> String {
    let step = totp::step_at(gate.clock.now()).0;
    let near: Vec<String> = (step - 20..step + 20).map(|step| person.phone.code(TimeStep(step))).collect();
    (0..).map(|i| format!("{i:06}")).find(|code| !near.contains(code)).unwrap()
}

/// The reasons of failed attempts in the audit file, in order.
fn reasons(gate: &TestGate) -> Vec<String> {
    let failed = |event: &serde_json::Value| event["event"]["outcome"] == "failure";
    let audit = gate.audit();
    audit
        .iter()
        .filter(|event| failed(event))
        .map(|event| event["pvegate"]["reason"].as_str().unwrap().to_owned())
        .collect()
}

fn count(reasons: &[String], word: &str) -> usize {
    reasons.iter().filter(|reason| *reason == word).count()
}

/// What was guessed at an account so far, as an unknown device at `source` sees it.
fn guesses(gate: &TestGate, user: &str, source: &str) -> Guesses {
    let attempt =
        Attempt { name: user.parse().ok(), device: None, source: source.into(), at: gate.clock.now() };
    gate.store().try_code(&attempt, &|_| None).unwrap().guesses
}

/// Wrong codes straight at the store, as that many devices nobody knows would cause. Says how many were
/// evaluated.
fn guess_at_store(store: &mut dyn Store, user: &str, source: &str, at: Timestamp, times: u32) -> u32 {
    let attempt = Attempt { name: user.parse().ok(), device: None, source: source.into(), at };
    let evaluated = std::cell::Cell::new(0);
    for _ in 0..times {
        store
            .try_code(&attempt, &|tried| match lockout::judge(&tried.guesses, 1, at) {
                lockout::Verdict::Evaluate(charge) => {
                    evaluated.set(evaluated.get() + 1);
                    Some(lockout::charged(tried.guesses.clone(), charge))
                }
                lockout::Verdict::Refuse(_) => None,
            })
            .unwrap();
    }
    evaluated.get()
}

fn network(i: u32) -> String {
    std::net::Ipv4Addr::from_bits(0xc612_0000 | i).to_string()
}

#[tokio::test]
async fn eight_wrong_codes_lock_the_attackers_network_and_nobody_elses() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut attacker = gate.client().from("127.0.0.66");
    let code = wrong(&gate, &alice);
    for _ in 0..9 {
        assert_eq!(attempt(&gate, &mut attacker, "alice", &code).await.status, 403);
    }

    let right = alice.wait_for_next_code(&gate);
    let from_there = attempt(&gate, &mut attacker, "alice", &right).await;
    let unknown_device = attempt(&gate, &mut gate.client().from("127.0.0.2"), "alice", &right).await;
    alice.client = alice.client.from("127.0.0.66");
    let known_device = alice.sign_in(&gate).await;

    assert_eq!(from_there.status, 403, "a right code is refused where it is locked");
    assert_eq!(unknown_device.status, 303);
    assert_eq!(known_device.status, 303, "a known device signs in even beside the attacker");
    let reasons = reasons(&gate);
    assert_eq!((count(&reasons, "bad_code"), count(&reasons, "locked")), (8, 2));
}

#[tokio::test]
async fn a_hundred_wrong_codes_from_anywhere_leave_codes_to_known_devices() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let evaluated: u32 =
        (0..20).map(|i| guess_at_store(&mut gate.store(), "alice", &network(i), gate.clock.now(), 5)).sum();
    assert_eq!(evaluated, 100);

    let unknown = attempt(&gate, &mut gate.client().from("127.0.0.2"), "alice", &code).await;
    let known = alice.sign_in(&gate).await;
    let right = alice.wait_for_next_code(&gate);
    let unknown_after_success = attempt(&gate, &mut gate.client().from("127.0.0.2"), "alice", &right).await;

    assert_eq!(unknown.status, 403);
    assert_eq!(known.status, 303);
    assert_eq!(unknown_after_success.status, 303);
    assert_eq!(reasons(&gate), ["device_only"]);
}

#[tokio::test]
async fn after_a_year_of_guessing_from_a_thousand_networks_the_owners_known_device_signs_in_at_once() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let from = gate.clock.now();
    let mut evaluated = 0;
    // Through the store: what a thousand networks do on a day. Through HTTP: a few of them each month.
    let mut store = gate.store();
    for month in 0..12_u32 {
        let networks = if month == 0 { 0..1000 } else { month * 20..month * 20 + 20 };
        for i in networks {
            evaluated += guess_at_store(&mut store, "alice", &network(i), gate.clock.now(), 2);
        }
        let code = wrong(&gate, &alice);
        let mut attacker = gate.client().from(&format!("127.0.1.{month}"));
        for _ in 0..10 {
            let reply = attempt(&gate, &mut attacker, "alice", &code).await;
            assert_eq!(reply.status, 403);
        }
        // What an owner's passkey lifts, so that all of the year's guesses can be made.
        let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
        store.lift_lockout(user.id).unwrap();
        gate.clock.advance(YEAR / 12 - Duration::from_secs(3600));
    }
    assert!(gate.clock.now().since(from) < YEAR);
    let by_http = u32::try_from(count(&reasons(&gate), "bad_code")).unwrap();

    let first_try = alice.sign_in(&gate).await;

    assert_eq!(evaluated + by_http, lockout::UNKNOWN_A_YEAR);
    assert_eq!(first_try.status, 303);
    let chance = 1.0 - (1.0 - 3e-6_f64).powf(f64::from(evaluated + by_http));
    assert!(chance < 1.0 / 1000.0, "{chance}");
    assert!(count(&reasons(&gate), "year_budget") > 0);
}

#[tokio::test]
async fn twenty_wrong_codes_at_once_at_two_gates_are_eight_guesses() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let other = gate.another(&pve).set(ALLOW.0, ALLOW.1).start().await;
    let alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let mut running = JoinSet::new();
    // Ten each: as many as the rate of attempts lets through at once.
    for gate in [&gate, &other].into_iter().cycle().take(20) {
        let (mut client, code) = (gate.client().from("127.0.0.66"), code.clone());
        running.spawn(async move {
            client.post_form("/_gate/sign-in", &[("user", "alice"), ("code", &code)]).await.status
        });
    }
    assert!(running.join_all().await.iter().all(|status| *status == 403));

    // Both gates write to one file.
    other.audit();
    let reasons = reasons(&gate);

    assert_eq!((count(&reasons, "bad_code"), count(&reasons, "locked")), (8, 12));
    assert_eq!(guesses(&gate, "alice", "127.0.0.66").in_a_row_from_source, 8);
}

#[tokio::test]
async fn a_lock_and_a_known_device_survive_a_restart() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let mut attacker = gate.client().from("127.0.0.66");
    for _ in 0..8 {
        attempt(&gate, &mut attacker, "alice", &code).await;
    }
    let again = gate.another(&pve).set(ALLOW.0, ALLOW.1);
    gate.stop().await;
    let gate = again.start().await;

    let right = alice.wait_for_next_code(&gate);
    let locked = attempt(&gate, &mut attacker.at(&gate), "alice", &right).await;
    alice.client = alice.client.at(&gate).from("127.0.0.66");
    let known = alice.sign_in(&gate).await;

    assert_eq!(locked.status, 403);
    assert_eq!(known.status, 303);
}

#[tokio::test]
async fn every_spelling_of_a_name_shares_one_row_of_wrong_codes() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let mut attacker = gate.client().from("127.0.0.66");
    for user in ["alice", "Alice", "ALICE", " alice", "alice ", "\talice", "aLiCe", "alicE"] {
        attempt(&gate, &mut attacker, user, &code).await;
    }

    attempt(&gate, &mut attacker, "Alice", &code).await;

    assert_eq!(reasons(&gate), [["bad_code"; 8].as_slice(), &["locked"]].concat());
}

#[tokio::test]
async fn what_is_no_code_is_compared_with_nothing_and_costs_nothing() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    for typed in [
        "",
        "12345",
        "1234567",
        "abcdef",
        "１２３４５６",
        "123456 or 1=1",
        "12-34-56",
        "-12345",
        "12345\u{0}",
    ] {
        assert_eq!(attempt(&gate, &mut alice.client, "alice", typed).await.status, 403);
    }

    assert_eq!(guesses(&gate, "alice", "127.0.0.1"), Guesses::default());
    assert_eq!(alice.sign_in(&gate).await.status, 303);
}

#[tokio::test]
async fn a_known_devices_wrong_codes_are_counted_for_itself_and_its_right_code_ends_the_row() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    for _ in 0..3 {
        let code = wrong(&gate, &alice);
        for _ in 0..7 {
            assert_eq!(attempt(&gate, &mut alice.client, "alice", &code).await.status, 403);
        }
        assert_eq!(alice.sign_in(&gate).await.status, 303);
    }

    assert_eq!(guesses(&gate, "alice", "127.0.0.1").by_unknown, [].into());
    assert_eq!(guesses(&gate, "alice", "127.0.0.1").by_known.into_values().sum::<u32>(), 21);
    assert_eq!(count(&reasons(&gate), "bad_code"), 21);
}

#[tokio::test]
async fn a_device_cookie_is_set_for_a_year_kept_at_sign_out_and_useless_for_another_account() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;
    let device = alice.client.cookie(names::DEVICE_COOKIE).unwrap().to_owned();
    let signed_in = alice.sign_in(&gate).await;
    let renewed = alice.client.cookie(names::DEVICE_COOKIE).unwrap().to_owned();
    alice.sign_out().await;

    let set: Vec<_> =
        signed_in.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let of_device = set.iter().find(|cookie| cookie.starts_with(names::DEVICE_COOKIE)).unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=31536000"] {
        assert!(of_device.split("; ").any(|found| found == attribute), "{attribute}: {of_device}");
    }
    assert_eq!(renewed, device, "the same bits");
    assert_eq!(alice.client.cookie(names::DEVICE_COOKIE), Some(device.as_str()));
    // Alice's browser is no known device of Bob's.
    let code = wrong(&gate, &bob);
    for _ in 0..9 {
        attempt(&gate, &mut alice.client, "bob", &code).await;
    }
    assert_eq!(count(&reasons(&gate), "locked"), 1);
    assert_eq!(bob.sign_in(&gate).await.status, 303);
}

#[tokio::test]
async fn a_forged_device_cookie_makes_no_known_device() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let mut attacker = gate.client().from("127.0.0.66");
    let session = alice.session_cookie().unwrap();
    let device = alice.client.cookie(names::DEVICE_COOKIE).unwrap();
    // The last character of a MAC; the session's value under the device's name.
    let other = if device.ends_with('A') { 'E' } else { 'A' };
    let changed = format!("{}{other}", &device[..device.len() - 1]);
    for (i, value) in [session, &changed, "", "x"].into_iter().cycle().take(9).enumerate() {
        attacker.set_cookie(names::DEVICE_COOKIE, value);
        attempt(&gate, &mut attacker, "alice", &code).await;
        assert_eq!(
            guesses(&gate, "alice", "127.0.0.66").in_a_row_from_source,
            u32::try_from(i + 1).unwrap().min(8)
        );
    }
}

#[tokio::test]
async fn the_device_cookie_is_kept_from_pveproxy() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    assert!(alice.client.cookie(names::DEVICE_COOKIE).is_some());

    alice.client.set_cookie("theirs", "1");
    alice.client.get("/api2/json/version").await;

    let seen: Vec<_> =
        pve.requests().iter().map(|r| String::from_utf8_lossy(&r.raw_head).into_owned()).collect();
    let seen = seen.concat();
    assert!(seen.contains("theirs=1") && !seen.contains("__Host-"), "{seen}");
}

#[tokio::test]
async fn unlocking_by_command_lifts_a_lock_and_says_what_it_forgot() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    let code = wrong(&gate, &alice);
    let mut stranger = gate.client().from("127.0.0.66");
    for _ in 0..8 {
        attempt(&gate, &mut stranger, "alice", &code).await;
    }
    let right = alice.wait_for_next_code(&gate);
    assert_eq!(attempt(&gate, &mut stranger, "alice", &right).await.status, 403);

    let (exit, printed) = pvegate(&gate, &["user", "unlock", "Alice", "--json"]);
    let right = alice.wait_for_next_code(&gate);
    let unlocked = attempt(&gate, &mut stranger, "alice", &right).await;

    assert_eq!(exit, 0, "{printed}");
    let object: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(object, serde_json::json!({ "user": "alice", "rows": 1, "wrong_codes": 8, "guesses": 8 }));
    assert_eq!(unlocked.status, 303);
    assert!(gate.audit().iter().any(|event| event["event"]["action"] == "user-unlock"));
    assert_eq!(pvegate(&gate, &["user", "unlock", "nobody"]).0, 4);
}

#[tokio::test]
async fn taking_up_an_invitation_lifts_a_lock() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    guess_at_store(&mut gate.store(), "alice", "127.0.0.2", gate.clock.now(), 8);

    let token = gate.invite("alice");
    let (_, enrolled) = Person::take_up(&gate, "alice", &token).await;
    let right = alice.wait_for_next_code(&gate);
    let unknown = attempt(&gate, &mut gate.client().from("127.0.0.2"), "alice", &right).await;

    assert_eq!(enrolled.status, 303);
    assert_eq!(unknown.status, 303);
}

#[tokio::test]
async fn a_recovery_code_works_while_codes_are_locked_and_lifts_the_lock_but_not_the_year() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    for i in 0..20 {
        guess_at_store(&mut gate.store(), "alice", &network(i), gate.clock.now(), 5);
    }
    guess_at_store(&mut gate.store(), "alice", "127.0.0.2", gate.clock.now(), 8);
    let mut elsewhere = gate.client().from("127.0.0.2");

    let right = alice.wait_for_next_code(&gate);
    let locked = attempt(&gate, &mut elsewhere.clone(), "alice", &right).await;
    let fields = [("user", "alice"), ("code", alice.codes[1].as_str())];
    let recovered = elsewhere.post_form("/_gate/recover", &fields).await;
    let right = alice.wait_for_next_code(&gate);
    let unknown = attempt(&gate, &mut gate.client().from("127.0.0.2"), "alice", &right).await;

    assert_eq!(locked.status, 403);
    assert_eq!(recovered.status, 303);
    assert!(elsewhere.cookie(names::DEVICE_COOKIE).is_some());
    assert_eq!(unknown.status, 303);
    assert_eq!(guesses(&gate, "alice", "127.0.0.2").by_unknown.into_values().sum::<u32>(), 100);
}

#[tokio::test]
async fn a_code_costs_as_many_guesses_as_there_are_apps() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    let (second, _) = Person::take_up(&gate, "alice", &gate.invite("alice")).await;
    let near = wrong(&gate, &second);
    assert_eq!(near, wrong(&gate, &alice), "wrong for both");

    attempt(&gate, &mut gate.client().from("127.0.0.66"), "alice", &near).await;

    let found = guesses(&gate, "alice", "127.0.0.66");
    assert_eq!((found.in_a_row_from_source, found.since_success), (1, 1));
    assert_eq!(found.by_unknown.into_values().sum::<u32>(), 2);
}

#[tokio::test]
async fn a_disabled_user_is_out_within_a_second_and_looks_like_nobody() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut bob = gate.person("bob").await;

    let (exit, printed) = pvegate(&gate, &["user", "disable", "bob", "--reason", "left", "--json"]);
    let asked = Instant::now();
    // A page of the gate's own: one of Proxmox VE's may be cut while it is under way.
    until("bob is out", async || bob.client.get("/_gate/").await.status == 401).await;
    let took = asked.elapsed();
    let refused = bob.sign_in(&gate).await;
    let nobody = attempt(&gate, &mut gate.client(), "ivy", "123456").await;

    assert_eq!((exit, printed.trim()), (0, r#"{"ended":1,"user":"bob"}"#));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(refused.status, 403);
    assert_eq!(neutral(&refused, "bob"), neutral(&nobody, "ivy"));
    assert_eq!(alice.client.get("/").await.status, 200);
    assert_eq!(pvegate(&gate, &["user", "disable", "alice", "--reason", "x"]).0, 5, "the last administrator");
    assert_eq!(pvegate(&gate, &["user", "enable", "bob"]), (0, "enabled bob\n".into()));
    assert_eq!(bob.sign_in(&gate).await.status, 303);
    let events = gate.audit();
    let disabled = events.iter().find(|event| event["event"]["action"] == "user-disable").unwrap();
    assert_eq!((&disabled["event"]["reason"], &disabled["user"]["name"]), (&"left".into(), &"bob".into()));
    assert!(events.iter().any(|event| event["event"]["action"] == "user-enable"));
}

#[tokio::test]
async fn the_eleventh_attempt_of_a_source_within_a_minute_is_told_when_to_come_back() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut stranger = gate.client().from("127.0.0.66");
    let forms = [("/_gate/sign-in", ("user", "alice")), ("/_gate/enrol", ("token", "x"))];
    for (path, field) in forms.into_iter().cycle().take(10) {
        assert_eq!(stranger.post_form(path, &[field]).await.status, 403, "{path}");
    }

    let page = stranger.post_form("/_gate/sign-in", &[("user", "alice"), ("code", "123456")]).await;
    let invitation = stranger.post_form("/_gate/enrol", &[("token", "x")]).await;
    let mut script = stranger
        .clone()
        .with("origin", &stranger.origin())
        .with("content-type", "application/x-www-form-urlencoded");
    let json = script.send(Method::POST, "/_gate/sign-in", "user=alice&code=123456".into()).await;
    let known_device_elsewhere = alice.sign_in(&gate).await;
    let later = stranger.post_form("/_gate/sign-in", &[("user", "alice"), ("code", "")]).await;

    for reply in [&page, &invitation, &json] {
        assert_eq!((reply.status.as_u16(), reply.field("retry-after")), (429, Some("6")));
    }
    assert!(page.text().contains("Try again in 6 seconds"), "{}", page.text());
    assert_eq!((&json.json()["error"], &json.json()["retry_after"]), (&"rate_limited".into(), &6.into()));
    assert_eq!(known_device_elsewhere.status, 303);
    assert_eq!(later.status, 403, "30 s later");
    assert_eq!(count(&reasons(&gate), "rate"), 1, "the others are folded into a line with a count");
    assert_eq!(gate.client().from("127.0.0.66").get("/_gate/sign-in").await.status, 200, "looking is free");
}

#[tokio::test]
async fn the_page_counts_failures_by_what_it_was_sent_itself() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let mut client = gate.client();
    let first = attempt(&gate, &mut client, "alice", "000000").await;
    let again = attempt(&gate, &mut client, "alice", "000000").await;
    let handed_back = [("user", "alice"), ("code", "000000"), ("failures", "1")];
    let second = client.post_form("/_gate/sign-in", &handed_back).await;

    assert!(first.text().contains(r#"name="failures" value="1""#), "{}", first.text());
    assert_eq!(neutral(&first, "alice"), neutral(&again, "alice"));
    assert!(second.text().contains("data-clock-offset"));
    assert!(!first.text().contains("data-clock-offset"));
}

/// What a reply says beside the name and the time.
fn neutral(reply: &Reply, name: &str) -> (u16, Vec<(String, String)>, String) {
    let mut fields: Vec<_> = reply
        .headers
        .iter()
        .filter(|(field, _)| *field != "date")
        .map(|(field, value)| (field.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    fields.sort();
    let clock = regex_automata::meta::Regex::new(r"[0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]{13}").unwrap();
    let mut text = reply.text().replace(name, "NAME");
    let times: Vec<_> = clock.find_iter(&text).map(|found| found.range()).collect();
    for range in times.into_iter().rev() {
        text.replace_range(range, "CLOCK");
    }
    (reply.status.as_u16(), fields, text)
}

#[tokio::test]
async fn known_unknown_disabled_and_locked_accounts_give_the_same_answer() {
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    gate.invite("invit");
    gate.person("gone0").await;
    gate.person("shut0").await;
    let mut store = gate.store();
    let gone = store.user_by_name(&"gone0".parse().unwrap()).unwrap().unwrap();
    let _ = store.disable_user(gone.id, gate.clock.now()).unwrap();
    guess_at_store(&mut store, "shut0", "127.0.0.66", gate.clock.now(), 8);
    let code = wrong(&gate, &alice);

    let mut answers = Vec::new();
    for name in ["alice", "nobod", "invit", "gone0", "shut0"] {
        let mut client = gate.client().from("127.0.0.66");
        let reply = attempt(&gate, &mut client, name, &code).await;
        assert_eq!(client.cookie(names::DEVICE_COOKIE), None);
        answers.push((name, neutral(&reply, name)));
    }

    for (name, answer) in &answers {
        assert_eq!(answer, &answers[0].1, "{name}");
    }
    let reasons = reasons(&gate);
    assert_eq!(reasons, ["bad_code", "unknown_user", "not_enrolled", "disabled", "locked"]);
}

/// Rounds of a comparison of times.
const ROUNDS: u32 = 200;

/// Asks in turns, and says in which share of the rounds the first took longer than the second: a half,
/// if it is chance.
async fn share_slower(
    gate: &TestGate,
    path: &str,
    a: (&str, &str),
    b: (&str, &str),
    mut before_each: impl FnMut(),
) -> f64 {
    let clients = [gate.client().from("127.0.0.70"), gate.client().from("127.0.0.71")];
    let mut connections = [clients[0].connect().await, clients[1].connect().await];
    let mut slower = 0_u32;
    for round in 0..ROUNDS {
        before_each();
        gate.clock.advance(PERIOD);
        let mut took = [Duration::ZERO; 2];
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (name, code) = [a, b][which];
            let body = form_urlencoded::Serializer::new(String::new())
                .append_pair("user", name)
                .append_pair("code", code)
                .finish();
            let mut client = clients[which]
                .clone()
                .with("origin", &clients[which].origin())
                .with("content-type", "application/x-www-form-urlencoded");
            let asked = Instant::now();
            let reply = client.send_on(&mut connections[which], Method::POST, path, body.into()).await;
            took[which] = asked.elapsed();
            assert_eq!(reply.status, 403);
        }
        slower += u32::from(took[0] > took[1]);
    }
    f64::from(slower) / f64::from(ROUNDS)
}

/// The same name against itself is the control; what is no code, and so is compared with nothing, shows
/// that a difference would be seen.
#[tokio::test]
async fn the_time_to_an_answer_does_not_tell_whether_somebody_has_the_name() {
    // Seven standard deviations of a fair coin.
    let chance = 0.5 - 3.5 / f64::from(ROUNDS).sqrt()..=0.5 + 3.5 / f64::from(ROUNDS).sqrt();
    let pve = Pve::start().await;
    let gate = open_gate(&pve).await;
    let alice = gate.person("alice").await;
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let mut unlock = || {
        store.unlock(user).unwrap();
    };
    let code = wrong(&gate, &alice);
    let (known, unknown) = (("alice", code.as_str()), ("nobod", code.as_str()));

    let (sign_in, recover) = ("/_gate/sign-in", "/_gate/recover");
    let recovery_code = "aaaa aaaa aaaa aaaa";

    let control = share_slower(&gate, sign_in, unknown, unknown, &mut unlock).await;
    let compared = share_slower(&gate, sign_in, known, unknown, &mut unlock).await;
    // The first eight of these are compared, the rest are locked.
    let locked = share_slower(&gate, sign_in, known, unknown, || {}).await;
    let recovered =
        share_slower(&gate, recover, ("alice", recovery_code), ("nobod", recovery_code), || {}).await;
    let seen = share_slower(&gate, sign_in, unknown, ("nobod", "no code"), || {}).await;

    assert!(chance.contains(&control), "the control: {control}");
    assert!(chance.contains(&compared), "known or not: {compared}");
    assert!(chance.contains(&locked), "locked or not: {locked}");
    assert!(chance.contains(&recovered), "recovery, known or not: {recovered}");
    assert!(!chance.contains(&seen), "a difference would be seen: {seen}");
}

/// Runs a verb on the gate's own configuration: exit code and stdout.
fn pvegate(gate: &TestGate, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pvegate"))
        .arg("--config")
        .arg(gate.dir().join("pvegate.toml"))
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}
