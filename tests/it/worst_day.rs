//! The worst days, one each: what was lost, what an attacker did with it, how its owner is back at work.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{account::TimeStep, gate::ceremony::totp::step_at, names, store::Store as _, time::Clock as _};
use serde_json::{Value, json};

use crate::{
    authenticator::Authenticator,
    harness::{Client, Installation, Person, Pve, Reply, TestGate, scan, state_of, until},
};

const CHANGE: &str = "/_gate/methods/change";
const NEW: &str = "/_gate/methods/new";
const RECOVER: &str = "/_gate/recover";

/// Where attackers are; never where people are.
const ELSEWHERE: &str = "127.0.66.6";

async fn gate_before(pve: &Pve) -> TestGate {
    let recipe = TestGate::recipe(pve).set("access.allow", "127.0.0.0/8");
    recipe.set("limits.sign_ins", "10000").start().await
}

/// Whether this leads to Proxmox VE.
async fn leads_in(client: &mut Client, reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 200 | 303) && client.get("/").await.status == 200
}

async fn by_code(mut client: Client, code: &str) -> Option<Client> {
    let reply = client.post_form("/_gate/sign-in", &[("user", "alice"), ("code", code)]).await;
    leads_in(&mut client, &reply).await.then_some(client)
}

async fn by_recovery_code(mut client: Client, code: &str) -> Option<Client> {
    let reply = client.post_form(RECOVER, &[("user", "alice"), ("code", code)]).await;
    leads_in(&mut client, &reply).await.then_some(client)
}

async fn by_passkey(gate: &TestGate, mut client: Client, key: &mut Authenticator) -> Option<Client> {
    let asked = client.post_json("/_gate/passkey/sign-in-options", &json!({ "user": "alice" })).await.json();
    let answer = key.get(asked.get("publicKey").unwrap(), &gate.url()).json(key);
    let body = json!({ "state": asked.get("state"), "credential": answer });
    let reply = client.post_json("/_gate/passkey/sign-in", &body).await;
    leads_in(&mut client, &reply).await.then_some(client)
}

/// Adds a passkey from the page that permits it.
async fn add_passkey(gate: &TestGate, client: &mut Client, permitted: &Reply) -> Authenticator {
    let mut key = Authenticator::synced();
    let state = state_of(&permitted.text()).unwrap_or_else(|| panic!("{}", permitted.text()));
    let options = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let made = key.create(options.get("publicKey").unwrap(), &gate.url()).json(&key);
    let body = json!({ "state": options.get("state"), "name": "Laptop", "credential": made });
    let made = client.post_json("/_gate/passkey/create", &body).await.json();
    let state = made.get("state").and_then(Value::as_str).unwrap();
    let added = client.post_form("/_gate/enrol", &[("state", state), ("name", "Laptop")]).await;
    assert_eq!(added.location(), Some("/_gate/methods?done=added"), "{}", added.text());
    key
}

/// Adds an app from the page that permits it: somebody with a new phone.
async fn add_app(gate: &TestGate, client: &mut Client, permitted: &Reply) -> Person {
    let state = state_of(&permitted.text()).unwrap_or_else(|| panic!("{}", permitted.text()));
    let page = client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
    let (phone, state) = scan(&page.text()).unwrap_or_else(|| panic!("{}", page.text()));
    let person = Person { name: "alice".into(), client: client.clone(), phone, codes: Vec::new() };
    let code = person.code(gate);
    let fields = [("state", state.as_str()), ("name", "New phone"), ("code", &code)];
    let added = client.post_form("/_gate/enrol", &fields).await;
    assert_eq!(added.location(), Some("/_gate/methods?done=added"), "{}", added.text());
    person
}

/// Identifiers of alice's methods: passkeys and keys, then apps.
fn methods(gate: &TestGate) -> (Vec<String>, Vec<String>) {
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let keys = store.credentials(user).unwrap().into_iter().map(|key| key.id.0).collect();
    (keys, store.authenticators(user).unwrap().into_iter().map(|app| app.id.0).collect())
}

fn only(ids: &[String]) -> String {
    assert_eq!(ids.len(), 1);
    ids.first().unwrap().clone()
}

/// Removes a method, with this code of an app.
async fn remove(client: &mut Client, id: &str, code: &str) {
    let removed = client.post_form(CHANGE, &[("do", "remove"), ("id", id), ("code", code)]).await;
    assert_eq!(removed.location(), Some("/_gate/methods?done=removed"), "{}", removed.text());
}

#[tokio::test]
async fn a_lost_phone_is_out_by_the_passkey_of_the_laptop_and_its_finder_stays_out() {
    let pve = Pve::start().await;
    let gate = gate_before(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let mut laptop = add_passkey(&gate, &mut alice.client, &permitted).await;
    let phone = only(&methods(&gate).1);
    // Whoever found the phone knows the name, and is in.
    let code = alice.wait_for_next_code(&gate);
    let mut finder = by_code(gate.client().from(ELSEWHERE), &code).await.unwrap();

    let mut client = by_passkey(&gate, gate.client(), &mut laptop).await.unwrap();
    let fields = json!({ "do": "remove", "id": phone });
    let options = json!({ "path": CHANGE, "fields": fields });
    let asked = client.post_json("/_gate/proof/options", &options).await.json();
    let answer = laptop.get(asked.get("publicKey").unwrap(), &gate.url()).json(&laptop).to_string();
    let proof = asked.get("state").and_then(Value::as_str).unwrap();
    let fields = [("do", "remove"), ("id", phone.as_str()), ("proof", proof), ("assertion", &answer)];
    assert_eq!(client.post_form(CHANGE, &fields).await.location(), Some("/_gate/methods?done=removed"));
    let ended = client.post_form("/_gate/sessions/end", &[("which", "others")]).await;
    assert_eq!(ended.status, 303);

    let seen = pve.requests_seen();
    assert_eq!(finder.get("/").await.status, 401, "at once");
    let code = alice.wait_for_next_code(&gate);
    assert!(by_code(gate.client().from(ELSEWHERE), &code).await.is_none());
    assert_eq!(pve.requests_seen(), seen);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_lost_key_is_out_by_the_app_and_whoever_has_it_stays_out() {
    let pve = Pve::start().await;
    let gate = gate_before(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let mut key = add_passkey(&gate, &mut alice.client, &permitted).await;
    let lost = only(&methods(&gate).0);
    let mut thief = by_passkey(&gate, gate.client().from(ELSEWHERE), &mut key).await.unwrap();

    let code = alice.wait_for_next_code(&gate);
    let mut client = by_code(gate.client(), &code).await.unwrap();
    let code = alice.wait_for_next_code(&gate);
    remove(&mut client, &lost, &code).await;
    assert_eq!(client.post_form("/_gate/sessions/end", &[("which", "others")]).await.status, 303);

    let seen = pve.requests_seen();
    assert_eq!(thief.get("/").await.status, 401);
    assert!(by_passkey(&gate, gate.client().from(ELSEWHERE), &mut key).await.is_none());
    assert_eq!(pve.requests_seen(), seen);
    // And a new one takes its place.
    let code = alice.wait_for_next_code(&gate);
    let permitted = client.post_form(NEW, &[("code", &code)]).await;
    let mut new = add_passkey(&gate, &mut client, &permitted).await;
    assert!(by_passkey(&gate, gate.client(), &mut new).await.is_some());
}

#[tokio::test]
async fn with_phone_and_key_gone_two_codes_from_the_drawer_set_up_a_new_phone_and_both_lost_ones_are_out() {
    let pve = Pve::start().await;
    let gate = gate_before(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let mut key = add_passkey(&gate, &mut alice.client, &permitted).await;
    let (keys, apps) = methods(&gate);
    let mut thief = by_passkey(&gate, gate.client().from(ELSEWHERE), &mut key).await.unwrap();

    let [first, second, ..] = alice.codes.as_slice() else { panic!("no codes") };
    let mut client = by_recovery_code(gate.client(), first).await.unwrap();
    let permitted = client.post_form(NEW, &[("recovery", second)]).await;
    let mut renewed = add_app(&gate, &mut client, &permitted).await;
    for lost in [only(&keys), only(&apps)] {
        let code = renewed.wait_for_next_code(&gate);
        remove(&mut client, &lost, &code).await;
    }
    assert_eq!(client.post_form("/_gate/sessions/end", &[("which", "others")]).await.status, 303);

    let seen = pve.requests_seen();
    assert_eq!(thief.get("/").await.status, 401);
    assert!(by_passkey(&gate, gate.client().from(ELSEWHERE), &mut key).await.is_none());
    let code = alice.wait_for_next_code(&gate);
    assert!(by_code(gate.client().from(ELSEWHERE), &code).await.is_none());
    assert!(by_recovery_code(gate.client(), first).await.is_none(), "used");
    assert_eq!(pve.requests_seen(), seen);
    renewed.client = gate.client();
    assert_eq!(renewed.sign_in(&gate).await.status, 303);
}

#[tokio::test]
async fn a_phone_whose_clock_is_wrong_is_mended_from_inside_and_nobody_needs_an_administrator() {
    let pve = Pve::start().await;
    let gate = gate_before(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let mut laptop = add_passkey(&gate, &mut alice.client, &permitted).await;
    gate.clock.advance(Duration::from_secs(3600));
    let slow_by = |seconds: u64| {
        let shown = step_at(gate.clock.now().minus(Duration::from_secs(seconds)));
        alice.phone.code(shown)
    };

    for _ in 0..3 {
        assert!(by_code(gate.client(), &slow_by(300)).await.is_none(), "five minutes slow");
    }
    assert_eq!(pve.connections_seen(), 0);
    assert!(by_passkey(&gate, gate.client(), &mut laptop).await.is_some(), "a passkey asks for no clock");
    let mut client = by_recovery_code(gate.client(), alice.codes.first().unwrap()).await.unwrap();
    // Inside, the slow phone proves nothing either; a code from the sheet does.
    let slow = client.post_form(NEW, &[("code", &slow_by(300))]).await;
    assert_eq!(slow.status, 403);
    let permitted = client.post_form(NEW, &[("recovery", alice.codes.last().unwrap())]).await;
    assert_eq!(permitted.status, 200);
    // The phone's clock is set right, and the same app works as before.
    assert!(by_code(gate.client(), &slow_by(0)).await.is_some());
}

#[tokio::test]
async fn an_attacker_elsewhere_who_locks_the_app_keeps_no_owner_out() {
    let pve = Pve::start().await;
    let gate = gate_before(&pve).await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let mut laptop = add_passkey(&gate, &mut alice.client, &permitted).await;
    alice.sign_out().await;

    // A hundred wrong codes, from as many networks as it takes.
    let code_of = |step: TimeStep| alice.phone.code(step);
    for number in 0..100_u8 {
        let client = gate.client().from(&format!("127.0.77.{}", number / 8 + 1));
        assert!(by_code(client, "000000").await.is_none());
    }
    gate.clock.advance(Duration::from_secs(30));
    let right = code_of(step_at(gate.clock.now()));
    assert!(by_code(gate.client().from(ELSEWHERE), &right).await.is_none(), "locked for who was never here");
    assert_eq!(pve.connections_seen(), 0);

    gate.clock.advance(Duration::from_secs(30));
    let right = code_of(step_at(gate.clock.now()));
    let mut known = alice.client.clone();
    assert!(known.cookie(names::DEVICE_COOKIE).is_some());
    let reply = known.post_form("/_gate/sign-in", &[("user", "alice"), ("code", &right)]).await;
    assert!(leads_in(&mut known, &reply).await, "the browser that she has always used");
    // Locked again, and away from home with nothing but the key.
    for number in 0..100_u8 {
        let client = gate.client().from(&format!("127.0.78.{}", number / 8 + 1));
        assert!(by_code(client, "000000").await.is_none());
    }
    assert!(by_passkey(&gate, gate.client().from("127.0.5.5"), &mut laptop).await.is_some());
    gate.clock.advance(Duration::from_secs(30));
    let right = code_of(step_at(gate.clock.now()));
    assert!(by_code(gate.client().from("127.0.5.5"), &right).await.is_some(), "and that lifted the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_only_administrator_is_robbed_the_host_locks_the_thief_out_and_lets_the_owner_in() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let mut alice = host.administrator("alice").await;
    // The laptop is open, with a console in it; the sheet of codes was in the bag.
    let mut console = alice.console().await;
    assert_eq!(alice.client.get("/").await.status, 200);

    // The last administrator can't be disabled; in a hurry, everybody can be locked.
    let told = host.run(&["panic", "alice", "--reason", "laptop stolen"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("pvegate user enable alice"), "what to do next: {}", told.stdout);
    let cut =
        tokio::time::timeout(Duration::from_secs(1), async { while console.receive().await.is_some() {} });
    cut.await.expect("the console ends within a second");
    until("the session ended", async || alice.client.get("/_gate/").await.status != 200).await;
    let seen = pve.requests_seen();
    assert_eq!(alice.client.get("/").await.status, 401);
    let sheet = alice.codes.last().unwrap().clone();
    assert!(by_recovery_code(host.client(), &sheet).await.is_none());

    // Somebody else may look after the house meanwhile.
    host.run(&["user", "add", "carol", "--admin", "--no-invite"]).await.ok();
    let link = host.link(&["invite", "carol"]).await;
    let mut carol = host.enrolled("carol", &link).await;
    assert_eq!(carol.client.get("/").await.status, 200);
    // Alice is back with a new phone. Nothing that was stolen leads in.
    host.run(&["user", "enable", "alice"]).await.ok();
    host.run(&["factor", "delete", "alice", "--all", "--yes", "--reason", "laptop stolen"]).await.ok();
    // The gate hears of changes in their order: once Carol's shift is over, Alice may come.
    host.run(&["session", "revoke", "carol", "--reason", "end of her shift"]).await.ok();
    until("the gate has heard of both", async || carol.client.get("/_gate/").await.status != 200).await;
    let link = host.link(&["invite", "alice", "--purpose", "recover"]).await;
    let mut back = host.enrolled("alice", &link).await;
    assert_eq!(back.client.get("/").await.status, 200);
    assert!(by_recovery_code(host.client(), &sheet).await.is_none());
    let old = crate::harness::code_now(&alice, 1);
    assert!(by_code(host.client(), &old).await.is_none());
    assert_eq!(alice.client.get("/").await.status, 401);
    assert_eq!(pve.requests_seen(), seen + 2, "two people's pages, and nothing of the thief's");
}
