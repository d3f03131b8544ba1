//! Every rung of the ladder back in, each as people and administrators climb it: a recovery code, a link from an
//! administrator, a link made on the host, taking methods away, a restored backup (see `backup`), and the day
//! on which the master key is gone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use pvegate::account::{Role, TimeStep};
use serde_json::{Value, json};

use crate::{
    authenticator::Authenticator,
    harness::{Client, Installation, Person, Pve, TestGate, code_now, state_of, until},
};

const RECOVER: &str = "/_gate/recover";
const SIGN_IN: &str = "/_gate/sign-in";

async fn recovers(mut client: Client, code: &str) -> bool {
    let reply = client.post_form(RECOVER, &[("user", "alice"), ("code", code)]).await;
    reply.status == 303 && client.get("/").await.status == 200
}

async fn signs_in(mut client: Client, code: &str) -> bool {
    let reply = client.post_form(SIGN_IN, &[("user", "alice"), ("code", code)]).await;
    reply.status == 303 && client.get("/").await.status == 200
}

/// Adds a passkey, proven by a recovery code.
async fn add_passkey(host: &Installation, person: &mut Person) -> Authenticator {
    let mut key = Authenticator::synced();
    let client = &mut person.client;
    let code = person.codes.first().unwrap();
    let permitted = client.post_form("/_gate/methods/new", &[("recovery", code)]).await;
    let state = state_of(&permitted.text()).unwrap_or_else(|| panic!("{}", permitted.text()));
    let options = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let made = key.create(options.get("publicKey").unwrap(), host.url()).json(&key);
    let body = json!({ "state": options.get("state"), "name": "Laptop", "credential": made });
    let made = client.post_json("/_gate/passkey/create", &body).await.json();
    let state = made.get("state").and_then(Value::as_str).unwrap();
    let added = client.post_form("/_gate/enrol", &[("state", state), ("name", "Laptop")]).await;
    assert_eq!(added.status, 303, "{}", added.text());
    key
}

async fn signs_in_by_passkey(host: &Installation, key: &mut Authenticator) -> bool {
    let mut client = host.client();
    let asked = client.post_json("/_gate/passkey/sign-in-options", &json!({ "user": "alice" })).await.json();
    let answer = key.get(asked.get("publicKey").unwrap(), host.url()).json(key);
    let body = json!({ "state": asked.get("state"), "credential": answer });
    let reply = client.post_json("/_gate/passkey/sign-in", &body).await;
    reply.status == 200 && client.get("/").await.status == 200
}

#[tokio::test]
async fn a_recovery_code_leads_in_and_lifts_the_lock_on_the_app() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "10000").start().await;
    let alice = gate.person("alice").await;
    let next = |ahead: u64| {
        let now = pvegate::gate::ceremony::totp::step_at(pvegate::time::Clock::now(&*gate.clock));
        alice.phone.code(TimeStep(now.0 + ahead))
    };
    for _ in 0..8 {
        assert!(!signs_in(gate.client(), "000000").await);
    }
    assert!(!signs_in(gate.client(), &next(1)).await, "locked: even a right code");
    assert_eq!(pve.connections_seen(), 0);

    assert!(recovers(gate.client(), alice.codes.first().unwrap()).await);

    gate.clock.advance(std::time::Duration::from_secs(60));
    assert!(signs_in(gate.client(), &next(0)).await, "the lock is lifted");
    assert_eq!(pve.requests_seen(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_recover_made_on_the_host_replaces_what_was_lost_while_the_gate_serves() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let mut alice = host.administrator("alice").await;
    let old = alice.codes.clone();
    assert_eq!(alice.client.get("/").await.status, 200);
    let lost = host.run(&["--json", "factor", "list", "alice"]).await.json();
    let lost = lost.first().unwrap()["id"].as_str().unwrap().to_owned();

    let link = host.link(&["invite", "alice", "--purpose", "recover"]).await;
    assert_eq!(alice.client.get("/").await.status, 200, "nothing changes before it is used");
    let mut renewed = host.enrolled("alice", &link).await;

    until("her other sessions ended", async || alice.client.get("/_gate/").await.status != 200).await;
    let seen = pve.requests_seen();
    assert_eq!(alice.client.get("/").await.status, 401);
    for code in &old {
        assert!(!renewed.codes.contains(code));
    }
    assert!(!recovers(host.client(), old.first().unwrap()).await, "the old sheet is void");
    assert_eq!(pve.requests_seen(), seen, "nothing of the lost ones reached Proxmox VE");
    assert_eq!(renewed.client.get("/").await.status, 200);
    assert!(recovers(host.client(), renewed.codes.first().unwrap()).await, "the new one works");
    let again = Person::open(host.client(), "alice", &link).await;
    assert!(again.is_err(), "the link worked once");

    // The lost phone still has its secret, until somebody takes it away.
    host.run(&["factor", "delete", "alice", &lost, "--reason", "lost phone"]).await.ok();
    assert!(!signs_in(host.client(), &code_now(&alice, 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_every_method_away_on_the_host_cuts_everything_and_a_link_begins_anew() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let mut alice = host.administrator("alice").await;
    let mut key = add_passkey(&host, &mut alice).await;
    assert_eq!(alice.client.get("/").await.status, 200);

    let told = host.run(&["factor", "delete", "alice", "--all", "--yes", "--reason", "stolen bag"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");

    until("the session ended", async || alice.client.get("/_gate/").await.status != 200).await;
    let seen = pve.requests_seen();
    assert_eq!(alice.client.get("/").await.status, 401);
    assert!(!signs_in(host.client(), &code_now(&alice, 1)).await);
    assert!(!recovers(host.client(), alice.codes.last().unwrap()).await);
    assert!(!signs_in_by_passkey(&host, &mut key).await);
    assert_eq!(pve.requests_seen(), seen);
    let link = host.link(&["invite", "alice", "--purpose", "recover"]).await;
    let mut renewed = host.enrolled("alice", &link).await;
    assert_eq!(renewed.client.get("/").await.status, 200);
    assert_eq!(renewed.codes.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_master_key_passkeys_still_lead_in_and_the_rest_is_made_anew() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let serving = host.serve();
    let mut alice = host.administrator("alice").await;
    let mut key = add_passkey(&host, &mut alice).await;
    let unused = alice.codes.last().unwrap().clone();
    assert_eq!(serving.terminate(), Some(0));
    fs::remove_file(host.master_key()).unwrap();

    let serving = host.serve();

    let said = serving.said();
    for words in ["another master key", "passkeys go on working", "pvegate restore", "--purpose recover"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(host.browser_of(&alice).get("/").await.status, 401, "cookies are void");
    assert!(!signs_in(host.client(), &code_now(&alice, 1)).await, "what the app's secret was sealed under");
    assert!(!recovers(host.client(), &unused).await, "what codes were hashed under");
    assert_eq!(pve.connections_seen(), 0);

    assert!(signs_in_by_passkey(&host, &mut key).await);
    let link = host.link(&["invite", "alice", "--purpose", "recover"]).await;
    let mut renewed = host.enrolled("alice", &link).await;
    assert_eq!(renewed.client.get("/").await.status, 200);
    assert!(signs_in(host.client(), &code_now(&renewed, 1)).await, "the new app");
    assert!(recovers(host.client(), renewed.codes.first().unwrap()).await, "the new codes");
    // The key that is lost took the old cookie keys along: they can go.
    assert_eq!(serving.terminate(), Some(0));
}

#[tokio::test]
async fn a_link_to_recover_that_another_administrator_makes_in_the_browser_replaces_what_was_lost() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "10000").start().await;
    let mut admin = gate.person("root").await;
    let token = gate.invite_as("alice", Role::User);
    let alice = Person::enrol_with(gate.client(), &gate, "alice", &token).await;
    assert_eq!(alice.client.clone().get("/").await.status, 200);
    let deed = [("do", "recover"), ("about", "alice"), ("reason", "phone and keys are gone")];
    let asked = admin.client.navigate("/_gate/admin/change?do=recover&about=alice").await;
    assert_eq!(asked.status, 200, "{}", asked.text());

    let unproven = admin.client.post_form("/_gate/admin/change", &deed).await;
    assert_eq!(unproven.status, 403);
    assert!(!unproven.text().contains("/_gate/enrol#"), "no proof, no link");
    let code = admin.wait_for_next_code(&gate);
    let mut proven = deed.to_vec();
    proven.push(("code", &code));
    let page = admin.client.post_form("/_gate/admin/change", &proven).await.text();
    let link = page.split("<p class=\"mono link\">").nth(1).unwrap_or_else(|| panic!("{page}"));
    let link = link.split('<').next().unwrap().to_owned();
    assert_eq!(alice.client.clone().get("/").await.status, 200, "nothing changes before it is used");

    let (mut renewed, state) =
        Person::open(gate.client(), "alice", &link).await.map_err(|page| page.text()).unwrap();
    let code = renewed.code(&gate);
    assert_eq!(renewed.finish(&state, &code).await.status, 303);

    until("her other session ended", async || alice.client.clone().get("/_gate/").await.status != 200).await;
    let seen = pve.requests_seen();
    assert_eq!(alice.client.clone().get("/").await.status, 401);
    assert!(!recovers(gate.client(), alice.codes.first().unwrap()).await, "the old sheet is void");
    assert!(Person::open(gate.client(), "alice", &link).await.is_err(), "the link worked once");
    assert_eq!(pve.requests_seen(), seen, "nothing of the lost ones reached Proxmox VE");
    assert_eq!(renewed.client.get("/").await.status, 200);
    assert!(recovers(gate.client(), renewed.codes.first().unwrap()).await, "the new one works");
    assert_eq!(pve.requests_seen(), seen + 2);
    let made = gate.audit().into_iter().rfind(|event| event["event"]["action"] == "invite-create").unwrap();
    assert_eq!((&made["user"]["name"], &made["pvegate"]["by"]), (&"alice".into(), &"root".into()));
}
