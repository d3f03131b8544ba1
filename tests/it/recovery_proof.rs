//! A recovery code as the proof for a change, for somebody who has nothing else left.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use pvegate::{
    account::UserName,
    store::{RecoveryCodes, Store as _},
};
use serde_json::json;

use crate::{
    authenticator::Authenticator,
    harness::{Client, Person, Pve, Reply, TestGate, printed_codes, scan, state_of},
};

const METHODS: &str = "/_gate/methods";
const CHANGE: &str = "/_gate/methods/change";
const NEW: &str = "/_gate/methods/new";
const CODES: &str = "/_gate/methods/codes";
const PANIC: &str = "/_gate/panic";

async fn busy_gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set("limits.sign_ins", "10000").start().await
}

fn left(gate: &TestGate, name: &str) -> RecoveryCodes {
    let mut store = gate.store();
    let user = store.user_by_name(&name.parse::<UserName>().unwrap()).unwrap().unwrap().id;
    store.recovery_codes(user).unwrap()
}

/// Identifiers of the apps of alice.
fn apps(gate: &TestGate) -> Vec<String> {
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    store.authenticators(user).unwrap().into_iter().map(|app| app.id.0).collect()
}

/// Signs in with a recovery code, at a browser of its own.
async fn recovered(gate: &TestGate, code: &str) -> Client {
    let mut client = gate.client();
    let reply = client.post_form("/_gate/recover", &[("user", "alice"), ("code", code)]).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    client
}

/// Comes by a recovery code where only passkeys lead in, and makes one: a whole session.
async fn with_passkey(gate: &TestGate, code: &str) -> Client {
    let mut client = recovered(gate, code).await;
    let state = state_of(&client.navigate("/_gate/enrol").await.text()).unwrap();
    let asked = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let mut key = Authenticator::new();
    let made = key.create(&asked["publicKey"], &gate.url()).json(&key);
    let body = json!({ "state": asked["state"], "name": "Stick", "credential": made });
    let made = client.post_json("/_gate/passkey/create", &body).await.json();
    let state = made["state"].as_str().unwrap();
    let done = client.post_form("/_gate/enrol", &[("state", state), ("name", "Stick")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    client
}

/// Adds an app from the page that permits it, as somebody with a new phone.
async fn add_app(gate: &TestGate, client: &mut Client, permitted: &Reply) -> Person {
    let mut page = permitted.text();
    if scan(&page).is_none() {
        let state = state_of(&page).unwrap_or_else(|| panic!("{page}"));
        let fields = [("state", state.as_str()), ("method", "totp")];
        page = client.post_form("/_gate/enrol", &fields).await.text();
    }
    let (phone, state) = scan(&page).unwrap_or_else(|| panic!("{page}"));
    let person = Person { name: "alice".into(), client: client.clone(), phone, codes: Vec::new() };
    let code = person.code(gate);
    let fields = [("state", state.as_str()), ("name", "New phone"), ("code", &code)];
    let added = client.post_form("/_gate/enrol", &fields).await;
    assert_eq!(added.location(), Some("/_gate/methods?done=added"), "{}", added.text());
    person
}

#[tokio::test]
async fn whoever_lost_the_phone_sets_up_a_new_one_with_two_recovery_codes_and_no_help() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let alice = gate.person("alice").await;
    let lost = apps(&gate);

    let mut client = recovered(&gate, &alice.codes[0]).await;
    let form = client.navigate(NEW).await.text();
    assert!(form.contains("name=\"recovery\"") && form.contains("<details open>"), "{form}");
    let permitted = client.post_form(NEW, &[("recovery", alice.codes[1].to_uppercase().as_str())]).await;
    let mut renewed = add_app(&gate, &mut client, &permitted).await;

    let removal = [("do", "remove"), ("id", lost[0].as_str()), ("code", &renewed.wait_for_next_code(&gate))];
    assert_eq!(client.post_form(CHANGE, &removal).await.location(), Some("/_gate/methods?done=removed"));
    renewed.client = gate.client();
    assert_eq!(renewed.sign_in(&gate).await.status, 303);
    assert_eq!(left(&gate, "alice"), RecoveryCodes { left: 8, of: 10 });
    assert_eq!(renewed.client.get("/").await.status, 200);
    assert_eq!(pve.requests_seen(), 1, "only the page that was asked for at the end");
}

#[tokio::test]
async fn every_change_takes_a_recovery_code_once_and_says_so_in_the_audit_log() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let alice = gate.person("alice").await;
    let id = apps(&gate)[0].clone();
    let mut client = recovered(&gate, &alice.codes[0]).await;

    let rename = |code: &str| {
        [("do", "rename"), ("id", &id), ("name", "Old"), ("recovery", code)].map(|(k, v)| (k, v.to_owned()))
    };
    let send = async |client: &mut Client, code: &str| {
        let fields = rename(code);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.post_form(CHANGE, &fields).await.status.as_u16()
    };
    assert_eq!(send(&mut client, &alice.codes[1]).await, 303);
    assert_eq!(send(&mut client, &alice.codes[1]).await, 403, "once");
    assert_eq!(send(&mut client, &alice.codes[0]).await, 403, "the one that signed in");
    assert_eq!(left(&gate, "alice").left, 8);

    let shown = client.post_form(CODES, &[("recovery", &alice.codes[2])]).await;
    let (state, new) = (state_of(&shown.text()).unwrap(), printed_codes(&shown.text()));
    let saved = client.post_form(CODES, &[("state", &state), ("typed", &new[0])]).await;
    assert_eq!(saved.location(), Some("/_gate/methods?done=codes"));
    assert_eq!(left(&gate, "alice"), RecoveryCodes { left: 10, of: 10 });
    assert_eq!(send(&mut client, &alice.codes[3]).await, 403, "one of the old set");

    let locked = client.post_form(PANIC, &[("recovery", &new[1])]).await;
    assert_eq!(locked.status, 200, "{}", locked.text());
    assert_eq!(client.get("/").await.status, 401);
    assert_eq!(pve.connections_seen(), 0);

    let of = |action: &str, outcome: &str| {
        let events = gate.audit();
        let mine = events.iter().filter(|event| {
            event["event"]["action"] == action
                && event["event"]["outcome"] == outcome
                && event["pvegate"]["method"] == "recovery"
        });
        mine.count()
    };
    assert_eq!(of("recovery-use", "success"), 4, "the sign-in and three changes");
    assert_eq!(of("step-up", "success"), 3);
    assert_eq!(of("step-up", "failure"), 3);
}

#[tokio::test]
async fn a_session_without_an_unused_code_of_its_own_owner_changes_nothing() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut thief = gate.person("alice").await;
    let bob = gate.person("bob").await;
    let id = apps(&gate)[0].clone();

    for code in ["", "aaaa-aaaa-aaaa-aaaa", &bob.codes[0], "123456"] {
        let recovery = ("recovery", code);
        for reply in [
            thief.client.post_form(NEW, &[recovery]).await,
            thief.client.post_form(CODES, &[recovery]).await,
            thief.client.post_form(PANIC, &[recovery]).await,
            thief.client.post_form(CHANGE, &[("do", "rename"), ("id", &id), ("name", "x"), recovery]).await,
        ] {
            assert_eq!(reply.status, 403, "{code:?}: {}", reply.text());
            assert!(printed_codes(&reply.text()).is_empty());
        }
    }
    // What is typed is not in the page that comes back: it may be somebody else's.
    let again = thief.client.post_form(NEW, &[("recovery", &bob.codes[0])]).await;
    assert!(!again.text().contains(&bob.codes[0]));
    assert_eq!((left(&gate, "alice").left, left(&gate, "bob").left), (10, 10));
    assert_eq!(apps(&gate), [id]);

    let stranger = gate.client().post_form(NEW, &[("recovery", &thief.codes[0])]).await;
    assert_eq!((stranger.status.as_u16(), left(&gate, "alice").left), (401, 10));
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn where_only_passkeys_lead_in_a_recovery_code_proves_no_more_than_a_new_passkey() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let alice = gate.person("alice").await;
    let id = apps(&gate)[0].clone();
    let strict = gate.another(&pve).set("auth.methods", r#"["passkey", "recovery"]"#);
    let strict = strict.set("limits.sign_ins", "10000").start().await;
    // A session from before the policy was tightened is over with it.
    let mut before = strict.client();
    before.set_cookie(pvegate::names::SESSION_COOKIE, alice.session_cookie().unwrap());
    assert_eq!(before.post_form(NEW, &[("recovery", &alice.codes[0])]).await.status, 401);
    assert_eq!(left(&gate, "alice").left, 10, "nothing was spent");
    let mut client = with_passkey(&strict, &alice.codes[9]).await;

    let recovery = ("recovery", alice.codes[0].as_str());
    assert_eq!(client.post_form(CODES, &[recovery]).await.status, 403);
    assert_eq!(client.post_form(PANIC, &[recovery]).await.status, 403);
    let removal = [("do", "remove"), ("id", id.as_str()), recovery];
    assert_eq!(client.post_form(CHANGE, &removal).await.status, 403);
    assert!(!client.navigate(CODES).await.text().contains("name=\"recovery\""));
    assert_eq!(left(&gate, "alice").left, 9, "nothing was spent");

    assert!(client.navigate(NEW).await.text().contains("name=\"recovery\""));
    let permitted = client.post_form(NEW, &[recovery]).await;
    assert_eq!((permitted.status.as_u16(), left(&gate, "alice").left), (200, 8));
    let state = state_of(&permitted.text()).unwrap();
    let app = client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
    assert!(scan(&app.text()).is_none(), "no app: {}", app.text());
    let options = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let mut key = Authenticator::synced();
    let made = key.create(&options["publicKey"], &strict.url()).json(&key);
    let body = json!({ "state": options["state"], "name": "Laptop", "credential": made });
    let made = client.post_json("/_gate/passkey/create", &body).await;
    assert_eq!(made.status, 200, "{}", made.text());

    // Whoever comes by a code alone is in a session that only enrols, and has no such form at all.
    let mut enrolling = recovered(&strict, &alice.codes[1]).await;
    let refused = enrolling.post_form(CODES, &[("recovery", &alice.codes[2])]).await;
    assert!(!refused.status.is_success(), "{}", refused.status);
    assert_eq!(left(&gate, "alice").left, 7);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn where_recovery_codes_are_not_offered_they_prove_nothing() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let alice = gate.person("alice").await;
    let without = gate.another(&pve).set("auth.methods", r#"["passkey", "totp"]"#).start().await;
    let mut client = without.client();
    client.set_cookie(pvegate::names::SESSION_COOKIE, alice.session_cookie().unwrap());

    let reply = client.post_form(NEW, &[("recovery", &alice.codes[0])]).await;

    assert_eq!(reply.status, 403);
    assert!(!reply.text().contains("name=\"recovery\""));
    assert_eq!(left(&gate, "alice").left, 10);
    assert_eq!(client.navigate(METHODS).await.status, 200);
}

#[tokio::test]
async fn under_a_policy_a_recovery_code_proves_no_more_than_adding_what_is_demanded() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let alice = gate.person("alice").await;
    let bob = gate.person("bob").await;
    let id = apps(&gate)[0].clone();
    // Codes of an app are accepted at large, but not from her.
    let policy = "[[policy]]\nname = \"admins\"\nusers = [\"alice\"]\nrequire = \"passkey\"\n";
    let strict = gate.another(&pve).set("limits.sign_ins", "10000").tables(policy).start().await;
    let mut client = with_passkey(&strict, &alice.codes[9]).await;

    let recovery = ("recovery", alice.codes[0].as_str());
    let removal = [("do", "remove"), ("id", id.as_str()), recovery];
    let replacement = [("do", "replace"), ("id", id.as_str()), recovery];
    for reply in [
        client.post_form(CODES, &[recovery]).await,
        client.post_form(PANIC, &[recovery]).await,
        client.post_form(CHANGE, &removal).await,
        client.post_form(CHANGE, &replacement).await,
    ] {
        assert_eq!(reply.status, 403, "{}", reply.text());
        assert!(printed_codes(&reply.text()).is_empty());
    }
    assert!(!client.navigate(CODES).await.text().contains("name=\"recovery\""));
    assert_eq!(left(&gate, "alice").left, 9, "nothing was spent");
    assert_eq!(apps(&gate), [id]);

    let permitted = client.post_form(NEW, &[recovery]).await;
    assert_eq!((permitted.status.as_u16(), left(&gate, "alice").left), (200, 8));
    let state = state_of(&permitted.text()).unwrap();
    let app = client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
    assert!(scan(&app.text()).is_none(), "no app: {}", app.text());
    let options = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await;
    assert_eq!(options.status, 200, "{}", options.text());
    assert_eq!(pve.connections_seen(), 0);

    // Whom the policy does not name changes what he likes.
    let mut other = strict.client();
    let fields = [("user", "bob"), ("code", bob.codes[0].as_str())];
    assert_eq!(other.post_form("/_gate/recover", &fields).await.status, 303);
    assert_eq!(other.post_form(CODES, &[("recovery", &bob.codes[1])]).await.status, 200);
}
