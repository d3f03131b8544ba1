//! Sign-in methods in their owner's hands: each change wants a proof of its own, and the last way in stays.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::store::Store as _;
use serde_json::{Value, json};

use crate::{
    authenticator::Authenticator,
    harness::{Client, Person, Pve, Reply, TestGate, printed_codes, scan, state_of},
};

const METHODS: &str = "/_gate/methods";
const CHANGE: &str = "/_gate/methods/change";
const NEW: &str = "/_gate/methods/new";
const CODES: &str = "/_gate/methods/codes";
const OPTIONS: &str = "/_gate/proof/options";

/// A gate at which one source may try as often as these tests do.
async fn busy_gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set("limits.sign_ins", "10000").start().await
}

/// Identifier and name of each method, as the store has them.
fn methods(gate: &TestGate, name: &str) -> Vec<(String, String)> {
    let mut store = gate.store();
    let user = store.user_by_name(&name.parse().unwrap()).unwrap().unwrap().id;
    let keys = store.credentials(user).unwrap().into_iter().map(|key| (key.id.0, key.name));
    let apps = store.authenticators(user).unwrap().into_iter().map(|app| (app.id.0, app.name));
    keys.chain(apps).collect()
}

/// Renames the only method there is, with this code.
async fn rename(person: &mut Person, id: &str, name: &str, code: &str) -> Reply {
    let fields = [("do", "rename"), ("id", id), ("name", name), ("code", code)];
    person.client.post_form(CHANGE, &fields).await
}

/// A challenge for a form as it is filled in.
pub(crate) async fn challenge(client: &mut Client, path: &str, fields: &Value) -> (String, Value) {
    let reply = client.post_json(OPTIONS, &json!({ "path": path, "fields": fields })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    (body["state"].as_str().unwrap().to_owned(), body["publicKey"].clone())
}

/// Adds a passkey as the page's script does, from the page that permits it.
async fn add_passkey(
    gate: &TestGate,
    client: &mut Client,
    permitted: &Reply,
    key: &mut Authenticator,
) -> Reply {
    let state = state_of(&permitted.text()).unwrap_or_else(|| panic!("{}", permitted.text()));
    let reply = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await;
    let body = reply.json();
    let made = key.create(&body["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": body["state"], "name": "Laptop", "credential": made });
    let reply = client.post_json("/_gate/passkey/create", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let state = reply.json()["state"].as_str().unwrap().to_owned();
    client.post_form("/_gate/enrol", &[("state", &state), ("name", "Laptop")]).await
}

/// Somebody with an app, and a passkey in this authenticator beside it.
pub(crate) async fn alice_with_a_laptop(gate: &TestGate) -> (Person, Authenticator) {
    let mut alice = gate.person("alice").await;
    let mut laptop = Authenticator::synced();
    let code = alice.wait_for_next_code(gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    add_passkey(gate, &mut alice.client, &permitted, &mut laptop).await;
    (alice, laptop)
}

#[tokio::test]
async fn a_change_wants_a_fresh_code_in_its_own_form() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let id = methods(&gate, "alice")[0].0.clone();
    let used = alice.code(&gate);

    assert_eq!(rename(&mut alice, &id, "Old phone", "").await.status, 403, "no code");
    assert_eq!(rename(&mut alice, &id, "Old phone", &used).await.status, 403, "the code of the enrolment");
    assert_eq!(methods(&gate, "alice")[0].1, "Phone");

    let code = alice.wait_for_next_code(&gate);
    let reply = rename(&mut alice, &id, "Old phone", &code).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/_gate/methods?done=renamed")));
    assert_eq!(methods(&gate, "alice")[0].1, "Old phone");
    assert_eq!(rename(&mut alice, &id, "Older phone", &code).await.status, 403, "once");
    assert_eq!(methods(&gate, "alice")[0].1, "Old phone");
    let page = alice.client.navigate(METHODS).await;
    assert!(page.text().contains("Old phone"), "{}", page.text());
}

#[tokio::test]
async fn wrong_codes_for_a_change_lock_as_wrong_codes_at_the_sign_in_do() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let id = methods(&gate, "alice")[0].0.clone();

    // Eight as a known device, and eight as anybody from there.
    for _ in 0..16 {
        assert_eq!(rename(&mut alice, &id, "Mine", "000000").await.status, 403);
    }

    let code = alice.wait_for_next_code(&gate);
    assert_eq!(rename(&mut alice, &id, "Mine", &code).await.status, 403);
    assert_eq!(methods(&gate, "alice")[0].1, "Phone");
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let id = methods(&gate, "alice")[0].0.clone();

    let code = alice.wait_for_next_code(&gate);
    let fields = [("do", "remove"), ("id", id.as_str()), ("code", code.as_str())];
    let reply = alice.client.post_form(CHANGE, &fields).await;

    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(methods(&gate, "alice").len(), 1);
}

#[tokio::test]
async fn a_second_method_is_added_beside_the_first_and_the_first_can_go_then() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let first = methods(&gate, "alice")[0].0.clone();
    let session = alice.session_cookie().unwrap().to_owned();
    let mut laptop = Authenticator::synced();

    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let added = add_passkey(&gate, &mut alice.client, &permitted, &mut laptop).await;
    assert_eq!((added.status.as_u16(), added.location()), (303, Some("/_gate/methods?done=added")));
    assert_eq!(alice.session_cookie(), Some(session.as_str()), "the session goes on");
    assert_eq!(methods(&gate, "alice").len(), 2);

    // What permitted it is spent.
    let state = state_of(&permitted.text()).unwrap();
    let page = alice.client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
    let (phone, state) = scan(&page.text()).unwrap();
    let code = phone.code(pvegate::gate::ceremony::totp::step_at(pvegate::time::Clock::now(&*gate.clock)));
    let fields = [("state", state.as_str()), ("name", "Second"), ("code", &code)];
    assert_eq!(alice.client.post_form("/_gate/enrol", &fields).await.status, 403);
    assert_eq!(methods(&gate, "alice").len(), 2);

    // The passkey proves the removal of the app.
    let wanted = json!({ "do": "remove", "id": first });
    let (state, options) = challenge(&mut alice.client, CHANGE, &wanted).await;
    let answer = laptop.get(&options, &gate.url()).json(&laptop).to_string();
    let fields =
        [("do", "remove"), ("id", first.as_str()), ("proof", state.as_str()), ("assertion", answer.as_str())];
    let reply = alice.client.post_form(CHANGE, &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/_gate/methods?done=removed")));
    assert_eq!(methods(&gate, "alice").len(), 1);
}

#[tokio::test]
async fn a_passkey_proves_one_change_at_one_session_once() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let (mut alice, mut laptop) = alice_with_a_laptop(&gate).await;
    let [(key, _), (app, _)] = methods(&gate, "alice").try_into().unwrap();

    let wanted = json!({ "do": "rename", "id": key, "name": "Desk" });
    let (state, options) = challenge(&mut alice.client, CHANGE, &wanted).await;
    let answer = laptop.get(&options, &gate.url()).json(&laptop).to_string();
    let send = async |client: &mut Client, wish: &str, id: &str, name: &str| {
        let proof = [("proof", state.as_str()), ("assertion", answer.as_str())];
        let fields = [[("do", wish), ("id", id)], [("name", name), proof[0]], [proof[1], ("x", "")]].concat();
        client.post_form(CHANGE, fields.get(..5).unwrap()).await.status.as_u16()
    };

    assert_eq!(send(&mut alice.client, "rename", &app, "Desk").await, 403, "of another one");
    assert_eq!(send(&mut alice.client, "remove", &key, "Desk").await, 403, "another change");
    assert_eq!(send(&mut alice.client, "rename", &key, "Mine").await, 403, "another name");
    let mut elsewhere = Person { client: gate.client(), codes: Vec::new(), ..person_of(&alice) };
    elsewhere.sign_in(&gate).await;
    assert_eq!(send(&mut elsewhere.client, "rename", &key, "Desk").await, 403, "at another session");
    assert_eq!(send(&mut alice.client, "rename", &key, "Desk").await, 303);
    assert_eq!(send(&mut alice.client, "rename", &key, "Desk").await, 403, "once");
    let reasons: Vec<_> = gate
        .audit()
        .iter()
        .filter(|event| event["event"]["action"] == "step-up" && event["event"]["outcome"] == "failure")
        .map(|event| event["event"]["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    assert_eq!(methods(&gate, "alice")[0].1, "Desk");
}

#[tokio::test]
async fn a_passkeys_answer_is_good_for_five_minutes() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let (mut alice, mut laptop) = alice_with_a_laptop(&gate).await;
    let key = methods(&gate, "alice")[0].0.clone();

    let mut renamed = async |name: &str, after: Duration| {
        let wanted = json!({ "do": "rename", "id": key, "name": name });
        let (state, options) = challenge(&mut alice.client, CHANGE, &wanted).await;
        let answer = laptop.get(&options, &gate.url()).json(&laptop).to_string();
        gate.clock.advance(after);
        let fields =
            [("do", "rename"), ("id", &key), ("name", name), ("proof", &state), ("assertion", &answer)];
        alice.client.post_form(CHANGE, &fields).await.status.as_u16()
    };

    assert_eq!(renamed("Desk", Duration::from_secs(5 * 60)).await, 303);
    assert_eq!(renamed("Table", Duration::from_secs(5 * 60 + 1)).await, 403);
    assert_eq!(methods(&gate, "alice")[0].1, "Desk");
}

#[tokio::test]
async fn nobody_changes_what_is_somebody_elses() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    gate.person("bob").await;
    let his = methods(&gate, "bob")[0].0.clone();

    let code = alice.wait_for_next_code(&gate);
    assert_eq!(rename(&mut alice, &his, "Mine", &code).await.status, 404);

    assert_eq!(methods(&gate, "bob")[0].1, "Phone");
    assert_eq!(replace(&gate, &mut alice, &his).await.status, 404);
    for wish in ["rename", "remove", "replace"] {
        let page = alice.client.navigate(&format!("{CHANGE}?do={wish}&id={his}")).await;
        assert_eq!(page.status, 404, "{wish}");
    }
}

/// Asks for one to be replaced, with a fresh code: the page on which the new one is made.
async fn replace(gate: &TestGate, person: &mut Person, id: &str) -> Reply {
    let code = person.wait_for_next_code(gate);
    person.client.post_form(CHANGE, &[("do", "replace"), ("id", id), ("code", &code)]).await
}

#[tokio::test]
async fn an_app_works_until_its_replacement_has_shown_a_code_and_is_gone_then() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let old = methods(&gate, "alice")[0].0.clone();

    let page = replace(&gate, &mut alice, &old).await;
    assert!(page.text().contains("“Phone” works until the new one was checked."), "{}", page.text());
    let (phone, state) = scan(&page.text()).unwrap();
    let mut with_new = Person { phone, ..person_of(&alice) };
    let fields = |code| [("state", state.as_str()), ("name", "New phone"), ("code", code)];
    let wrong = alice.client.post_form("/_gate/enrol", &fields("000000")).await;
    assert_eq!(wrong.status, 403);
    let mut elsewhere = Person { client: gate.client(), ..person_of(&alice) };
    assert_eq!(elsewhere.sign_in(&gate).await.status, 303, "the old one still signs in");

    let code = with_new.code(&gate);
    let done = alice.client.post_form("/_gate/enrol", &fields(&code)).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/_gate/methods?done=replaced")));
    let after = methods(&gate, "alice");
    assert_eq!((after.len(), after[0].1.as_str(), after[0].0 == old), (1, "New phone", false));
    elsewhere.client = gate.client();
    assert_eq!(elsewhere.sign_in(&gate).await.status, 403, "the old one no longer does");
    with_new.client = gate.client();
    assert_eq!(with_new.sign_in(&gate).await.status, 303);
    assert_eq!((count(&gate, "factor-add"), count(&gate, "factor-remove")), (2, 1));
}

#[tokio::test]
async fn a_passkey_is_replaced_by_a_passkey_of_another_authenticator() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let (mut alice, laptop) = alice_with_a_laptop(&gate).await;
    let mut desk = Authenticator::new();
    let [(old, _), (app, _)] = methods(&gate, "alice").try_into().unwrap();

    let permitted = replace(&gate, &mut alice, &old).await;
    let state = state_of(&permitted.text()).unwrap();
    let create = "/_gate/passkey/create-options";
    let reply = alice.client.post_json(create, &json!({ "state": state, "kind": "security-key" })).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (403, &json!("method")), "of another kind");
    let app_instead = alice.client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
    assert!(scan(&app_instead.text()).is_none(), "{}", app_instead.text());
    let reply = alice.client.post_json(create, &json!({ "state": state })).await;
    let excluded = reply.json()["publicKey"]["excludeCredentials"][0]["id"].clone();
    let id = data_encoding::BASE64URL_NOPAD.encode(&laptop.credential_id);
    assert_eq!(excluded, json!(id), "the old one must not be overwritten");
    assert_eq!(methods(&gate, "alice").len(), 2);

    let done = add_passkey(&gate, &mut alice.client, &permitted, &mut desk).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/_gate/methods?done=replaced")));
    let after: Vec<_> = methods(&gate, "alice").into_iter().map(|(id, _)| id).collect();
    assert_eq!((after.len(), after.contains(&old), after.contains(&app)), (2, false, true));
}

#[tokio::test]
async fn a_passkey_without_a_name_is_called_by_its_model_which_the_page_shows_beside_any_other_name() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut key = Authenticator::new();
    let yubikey_5_nfc = *b"\x2f\xc0\x57\x9f\x81\x13\x47\xea\xb1\x16\xbb\x5a\x8d\xb9\x20\x2a";
    let code = alice.wait_for_next_code(&gate);
    let permitted = alice.client.post_form(NEW, &[("code", &code)]).await;
    let state = state_of(&permitted.text()).unwrap();
    let reply = alice.client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await;
    let options = reply.json();
    let mut made = key.create(&options["publicKey"], &gate.url());
    made.aaguid = yubikey_5_nfc;
    let body = json!({ "state": options["state"], "name": " ", "credential": made.json(&key) });
    let made = alice.client.post_json("/_gate/passkey/create", &body).await.json();
    let state = made["state"].as_str().unwrap();

    alice.client.post_form("/_gate/enrol", &[("state", state), ("name", "")]).await;

    let (id, name) = methods(&gate, "alice")[0].clone();
    assert_eq!(name, "YubiKey 5 NFC");
    let page = alice.client.navigate(METHODS).await.text();
    assert_eq!(page.matches("YubiKey 5 NFC").count(), 1, "{page}");
    let code = alice.wait_for_next_code(&gate);
    assert_eq!(rename(&mut alice, &id, "Blue", &code).await.status, 303);
    let page = alice.client.navigate(METHODS).await.text();
    assert!(page.contains("<h2>Blue</h2>") && page.contains("Passkey · YubiKey 5 NFC"), "{page}");
}

#[tokio::test]
async fn what_is_gone_is_not_replaced_and_nothing_is_added() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let (mut alice, _) = alice_with_a_laptop(&gate).await;
    let mut desk = Authenticator::new();
    let [(key, _), (app, _)] = methods(&gate, "alice").try_into().unwrap();
    let permitted = replace(&gate, &mut alice, &key).await;
    let state = state_of(&permitted.text()).unwrap();
    let reply =
        alice.client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let made = desk.create(&reply["publicKey"], &gate.url()).json(&desk);
    let body = json!({ "state": reply["state"], "name": "Desk", "credential": made });
    let made = alice.client.post_json("/_gate/passkey/create", &body).await.json();

    let code = alice.wait_for_next_code(&gate);
    let removed = alice.client.post_form(CHANGE, &[("do", "remove"), ("id", &key), ("code", &code)]).await;
    assert_eq!(removed.status, 303);
    let state = made["state"].as_str().unwrap();
    let late = alice.client.post_form("/_gate/enrol", &[("state", state), ("name", "Desk")]).await;

    assert_eq!(late.status, 403);
    assert!(late.text().contains("Nothing was changed"), "{}", late.text());
    assert_eq!(methods(&gate, "alice"), [(app, "Phone".to_owned())]);
}

/// New recovery codes, shown for a fresh code: the page's state, and the codes on it.
async fn shown_codes(gate: &TestGate, alice: &mut Person) -> (String, Vec<String>) {
    let code = alice.wait_for_next_code(gate);
    let page = alice.client.post_form(CODES, &[("code", &code)]).await;
    assert_eq!(page.status, 200, "{}", page.text());
    (state_of(&page.text()).unwrap(), printed_codes(&page.text()))
}

/// Whether a recovery code signs alice in, at a browser of its own.
async fn recovers(gate: &TestGate, code: &str) -> bool {
    let reply = gate.client().post_form("/_gate/recover", &[("user", "alice"), ("code", code)]).await;
    reply.status == 303
}

/// How many events of this kind there are.
fn count(gate: &TestGate, action: &str) -> usize {
    gate.audit().iter().filter(|event| event["event"]["action"] == action).count()
}

#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones_once_one_of_them_was_typed_back() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let old = alice.codes.clone();
    let made_at_enrolment = count(&gate, "recovery-renew");

    let (state, new) = shown_codes(&gate, &mut alice).await;
    assert_eq!((new.len(), new.iter().any(|code| old.contains(code))), (10, false));
    assert!(recovers(&gate, &old[0]).await, "the old set works until then");
    assert!(!recovers(&gate, &new[0]).await, "the new set does not");

    let again = alice.client.post_form(CODES, &[("state", &state), ("typed", &old[1])]).await;
    assert_eq!((again.status.as_u16(), printed_codes(&again.text())), (403, new.clone()));
    assert!(recovers(&gate, &old[1]).await, "what was typed is none of the new ones");
    assert_eq!(count(&gate, "recovery-renew"), made_at_enrolment);

    let done = alice.client.post_form(CODES, &[("state", &state), ("typed", &new[3].to_uppercase())]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/_gate/methods?done=codes")));
    assert_eq!(count(&gate, "recovery-renew"), made_at_enrolment + 1);
    assert!(!recovers(&gate, &old[2]).await);
    assert!(recovers(&gate, &new[3]).await, "typing it back has not used it up");

    // The proof is spent: the same form brings back no code that was used.
    let twice = alice.client.post_form(CODES, &[("state", &state), ("typed", &new[4])]).await;
    assert_eq!(twice.status, 403);
    assert!(!recovers(&gate, &new[3]).await);
    assert!(recovers(&gate, &new[4]).await);
}

#[tokio::test]
async fn new_recovery_codes_are_shown_for_a_proof_and_kept_at_the_session_and_in_the_time_it_was_given() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut alice = gate.person("alice").await;
    let old = alice.codes.clone();

    let unproven = alice.client.post_form(CODES, &[("code", "000000")]).await;
    assert_eq!((unproven.status.as_u16(), printed_codes(&unproven.text()).len()), (403, 0));
    let enrolling = alice.client.navigate("/_gate/enrol").await;
    assert_eq!(printed_codes(&enrolling.text()).len(), 0);

    let (state, new) = shown_codes(&gate, &mut alice).await;
    let typed = [("state", state.as_str()), ("typed", new[0].as_str())];
    let mut elsewhere = Person { client: gate.client(), ..person_of(&alice) };
    elsewhere.sign_in(&gate).await;
    assert_eq!(elsewhere.client.post_form(CODES, &typed).await.status, 403, "at another session");
    let mut bob = gate.person("bob").await;
    assert_eq!(bob.client.post_form(CODES, &typed).await.status, 403, "somebody else");
    let stranger = gate.client().post_form(CODES, &typed).await;
    assert_eq!(stranger.status, 401, "a stranger");
    let wrong_page = alice.client.post_form("/_gate/enrol", &typed).await;
    assert_eq!(wrong_page.status, 403, "where an enrolment goes on");
    gate.clock.advance(Duration::from_secs(15 * 60));
    let late = alice.client.post_form(CODES, &typed).await;
    assert_eq!(late.status, 403, "too late");
    assert!(late.text().contains("your old codes are still the ones that work"), "{}", late.text());

    assert!(!recovers(&gate, &new[0]).await);
    assert!(recovers(&gate, &old[0]).await);
}

#[tokio::test]
async fn where_there_are_no_recovery_codes_there_is_no_page_for_new_ones() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("auth.methods", r#"["passkey", "totp"]"#).start().await;
    let mut alice = gate.person("alice").await;

    let code = alice.wait_for_next_code(&gate);
    assert_eq!(alice.client.navigate(CODES).await.status, 404);
    assert_eq!(alice.client.post_form(CODES, &[("code", &code)]).await.status, 404);
    assert!(!alice.client.navigate(METHODS).await.text().contains(CODES));
}

#[tokio::test]
async fn password_managers_find_the_way_here_before_sign_in() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;

    let moved = gate.client().get("/.well-known/change-password").await;
    let endpoints = gate.client().get("/.well-known/passkey-endpoints").await;
    let reliable = gate
        .client()
        .get("/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200")
        .await;

    assert_eq!((moved.status.as_u16(), moved.location()), (302, Some(METHODS)));
    assert_eq!(endpoints.field("content-type"), Some("application/json; charset=utf-8"));
    let at = |path| format!("{}{path}", gate.url());
    assert_eq!(endpoints.json(), json!({ "enroll": at(NEW), "manage": at(METHODS) }));
    assert_eq!(reliable.status, 404);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_gate_without_passkeys_announces_none() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("auth.methods", r#"["totp"]"#).start().await;

    let endpoints = gate.client().get("/.well-known/passkey-endpoints").await;

    assert_eq!(endpoints.status, 404);
}

/// The same person at another browser.
fn person_of(person: &Person) -> Person {
    Person {
        name: person.name.clone(),
        client: person.client.clone(),
        phone: person.phone.clone(),
        codes: Vec::new(),
    }
}
