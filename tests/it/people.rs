//! What a running gate makes of it when somebody is renamed, demoted or deleted elsewhere.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pvegate::{
    account::{Role, UserId},
    store::{Deleted, RoleSet, Store as _, UserRenamed},
    time::Clock as _,
};

use crate::harness::{Person, Pve, TestGate, until};

fn id_of(gate: &TestGate, name: &str) -> UserId {
    gate.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id
}

/// Waits for a word on the account's own page to come or go; the page winds no clock.
async fn until_page(person: &Person, word: &str, there: bool) {
    let client = &person.client;
    until(word, async || client.clone().get("/_gate/").await.text().contains(word) == there).await;
}

#[tokio::test]
async fn an_open_session_goes_on_under_the_new_name_and_the_old_one_signs_nobody_in() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;

    let renamed = gate.store().rename_user(id_of(&gate, "alice"), &"carol".parse().unwrap()).unwrap();

    assert_eq!(renamed, UserRenamed::Now);
    until_page(&alice, "carol", true).await;
    until_page(&alice, "alice", false).await;
    assert_eq!(alice.client.navigate("/").await.status, 200);
    let phone = alice.phone.clone();
    let mut there = Person { name: "alice".to_owned(), client: gate.client(), phone, codes: Vec::new() };
    assert_eq!(there.sign_in(&gate).await.status, 403, "nobody is called alice");
    there.name = "carol".to_owned();
    assert_eq!(there.sign_in(&gate).await.status, 303);
}

#[tokio::test]
async fn an_administrator_who_is_demoted_sees_nothing_of_others_in_an_open_session() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let root = gate.person("root").await;
    gate.person("alice").await;
    gate.store().disown(id_of(&gate, "alice"), gate.clock.now()).unwrap();
    until_page(&root, "alice", true).await;

    let demoted = gate.store().set_role(id_of(&gate, "root"), Role::User).unwrap();

    assert_eq!(demoted, RoleSet::Now);
    until_page(&root, "alice", false).await;
    until_page(&root, "root", true).await;
}

#[tokio::test]
async fn whoever_is_deleted_is_out_at_once_with_consoles_and_their_name_is_a_strangers() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let (mut alice, mut bob) = (gate.person("alice").await, gate.person("bob").await);
    let (mut console, mut others) = (alice.console().await, bob.console().await);

    let deleted = gate.store().delete_user(id_of(&gate, "alice"), gate.clock.now()).unwrap();
    // Whoever comes next under the same name, before the gate has heard.
    gate.invite("alice");

    assert!(matches!(deleted, Deleted::Now(sessions) if sessions.len() == 1));
    assert_eq!(console.receive().await, None, "the console is closed");
    until("the gate has heard", async || pve.tunnels_open() == 1).await;
    assert_eq!(alice.client.get("/api2/json/version").await.status, 401);
    assert_eq!(others.echo(b"others").await.as_deref(), Some(&b"others"[..]));
    assert_eq!(alice.sign_in(&gate).await.status, 403);
    assert_eq!(gate.store().live_sessions(gate.clock.now()).unwrap().len(), 1);
}
