//! The clock doctor: an app that is off is told to its owner, to nobody else, and lets nobody in.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{
    account::TimeStep,
    gate::ceremony::totp::{drift, step_at},
    time::Clock as _,
};

use crate::harness::{Person, Pve, Reply, TestGate};

const PAGE: &str = "/_gate/methods/clock";

/// The code that this person's phone would show so many steps later; earlier where negative.
fn code_at(gate: &TestGate, person: &Person, steps: i64) -> String {
    let now = step_at(gate.clock.now());
    person.phone.code(TimeStep(now.0.saturating_add_signed(steps)))
}

/// A code that the phone shows at no time of an hour around.
fn code_of_no_time(gate: &TestGate, person: &Person) -> String {
    let now = gate.clock.now();
    let here = step_at(now).0;
    let near: Vec<String> = (here - 1..=here + 1).map(|step| person.phone.code(TimeStep(step))).collect();
    let mut codes = (0..1_000_000).map(|number| format!("{number:06}"));
    codes.find(|code| drift(&person.phone, code, now).is_none() && !near.contains(code)).unwrap()
}

async fn look(person: &mut Person, code: &str) -> Reply {
    person.client.post_form(PAGE, &[("code", code)]).await
}

#[tokio::test]
async fn whoever_comes_in_by_a_recovery_code_after_a_slow_phone_is_told_how_slow() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;
    gate.clock.advance(Duration::from_secs(600));
    let late = code_at(&gate, &alice, -3);
    assert_eq!(alice.sign_in_with(&late).await.status, 403);
    let recovery = alice.codes.first().unwrap().clone();

    let into = "/_gate/recover?next=%2Fpve2%2Fx";
    let reply = alice.client.post_form(into, &[("user", "alice"), ("code", &recovery)]).await;
    let told = alice.client.get(reply.location().unwrap()).await;

    assert_eq!(reply.location(), Some("/_gate/methods/clock?next=/pve2/x"));
    // To half a step, as a code is shown for a whole one.
    assert!(told.text().contains("about 1 minute 15 seconds behind"), "{}", told.text());
    assert!(told.text().contains("href=\"/pve2/x\""), "{}", told.text());
}

#[tokio::test]
async fn whoever_comes_in_by_a_recovery_code_otherwise_goes_on() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;
    let wrong = code_of_no_time(&gate, &alice);
    assert_eq!(alice.sign_in_with(&wrong).await.status, 403);
    let recovery = alice.codes.first().unwrap().clone();

    let fields = [("user", "alice"), ("code", recovery.as_str())];
    let reply = alice.client.post_form("/_gate/recover", &fields).await;

    assert_eq!(reply.location(), Some("/"));
}

#[tokio::test]
async fn strangers_get_the_same_bytes_whether_or_not_a_code_is_of_another_time() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let alice = gate.person("alice").await;
    let wrong = code_of_no_time(&gate, &alice);
    let codes = [code_at(&gate, &alice, -3), code_at(&gate, &alice, 3), code_at(&gate, &alice, 100), wrong];
    let mut answers = Vec::new();
    for (code, from) in codes.iter().zip(["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"]) {
        let mut stranger = gate.client().from(from);
        let reply = stranger.post_form("/_gate/sign-in", &[("user", "alice"), ("code", code)]).await;
        answers.push((reply.status, reply.headers.clone(), reply.text()));
    }

    let refused = answers.first().unwrap();
    assert_eq!(refused.0, 403);
    assert!(answers.iter().all(|answer| answer == refused));
    assert!(!refused.2.contains("ahead of"), "{}", refused.2);
}

#[tokio::test]
async fn a_code_of_a_step_to_come_is_void_once_its_owner_was_told() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let (early, untold) = (code_at(&gate, &alice, 4), code_at(&gate, &alice, 6));

    let told = look(&mut alice, &early).await;
    assert_eq!(told.status, 200);
    assert!(told.text().contains("ahead of the gate"), "{}", told.text());
    alice.sign_out().await;
    gate.clock.advance(Duration::from_secs(4 * 30));
    let refused = alice.sign_in_with(&early).await;
    gate.clock.advance(Duration::from_secs(2 * 30));
    let accepted = alice.sign_in_with(&untold).await;

    assert_eq!(refused.status, 403);
    assert_eq!(accepted.status, 303, "the other steps are as good as before");
    assert_eq!(pve.requests_seen(), 0);
}

#[tokio::test]
async fn a_code_that_was_refused_and_then_told_after_another_way_in_is_void_too() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let early = code_at(&gate, &alice, 4);
    let mut stranger = gate.client();
    let fields = [("user", "alice"), ("code", early.as_str())];
    assert_eq!(stranger.post_form("/_gate/sign-in", &fields).await.status, 403);

    let told = alice.client.get(PAGE).await;
    gate.clock.advance(Duration::from_secs(4 * 30));
    let refused = stranger.post_form("/_gate/sign-in", &fields).await;

    assert!(told.text().contains("A code of yours was refused lately"), "{}", told.text());
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_right_code_says_so_and_is_spent() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);

    let told = look(&mut alice, &code).await;
    alice.sign_out().await;
    let again = alice.sign_in_with(&code).await;

    assert!(told.text().contains("clock is right"), "{}", told.text());
    assert_eq!(again.status, 403);
}

#[tokio::test]
async fn codes_that_are_tried_here_are_guesses_like_any_other() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "1000").start().await;
    let mut alice = gate.person("alice").await;
    let wrong = code_of_no_time(&gate, &alice);
    // A browser that is known has eight in a row, and then eight more as one that is not.
    for _ in 0..16 {
        let reply = look(&mut alice, &wrong).await;
        assert_eq!(reply.status, 403);
        assert!(reply.text().contains("no code of your app"), "{}", reply.text());
    }
    let early = code_at(&gate, &alice, 4);

    let locked = look(&mut alice, &early).await;

    assert_eq!(locked.status, 403);
    assert!(locked.text().contains("too many wrong codes"), "{}", locked.text());
    let right = alice.wait_for_next_code(&gate);
    assert!(look(&mut alice, &right).await.text().contains("too many wrong codes"));
}

#[tokio::test]
async fn nobody_is_told_of_anothers_app() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let bob = gate.person("bob").await;
    let (of_bob, fields) = (code_at(&gate, &bob, -3), "user");
    let mut stranger = gate.client();
    stranger.post_form("/_gate/sign-in", &[(fields, "bob"), ("code", &of_bob)]).await;

    let shown = alice.client.get(PAGE).await;
    let looked = look(&mut alice, &of_bob).await;

    assert!(!shown.text().contains("refused lately"), "{}", shown.text());
    assert!(looked.text().contains("no code of your app"), "{}", looked.text());
}

#[tokio::test]
async fn whoever_enrols_with_a_slow_phone_is_told_how_slow() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let token = gate.invite("alice");
    let (mut alice, state) =
        Person::scan(&gate, "alice", &token).await.unwrap_or_else(|page| panic!("{}", page.text()));

    let late = code_at(&gate, &alice, -20);
    let refused = alice.finish(&state, &late).await;

    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("about 9 minutes 45 seconds behind"), "{}", refused.text());
    assert!(alice.session_cookie().is_none());
}

#[tokio::test]
async fn codes_are_looked_at_no_oftener_than_sign_ins_are() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let wrong = code_of_no_time(&gate, &alice);

    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(look(&mut alice, &wrong).await.status.as_u16());
    }

    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_ne!(statuses.first(), Some(&429), "{statuses:?}");
}
