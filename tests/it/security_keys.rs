//! Security keys without a PIN: a second factor after the code of an authenticator app, never a first.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use pvegate::{
    account::{CredentialKind, InvitationPurpose},
    gate::ceremony::{
        invite::{LIFETIME, Token},
        totp::step_at,
    },
    names,
    store::Store as _,
    time::Clock as _,
};
use serde_json::{Value, json};

use crate::{
    authenticator::{Authenticator, BE, BS, Request, UP, UV},
    harness::{Client, Person, Pve, Reply, TestGate, printed_codes, scan, state_of},
};

const CREATE_OPTIONS: &str = "/_gate/passkey/create-options";
const CREATE: &str = "/_gate/passkey/create";
const PASSKEY_SIGN_IN: &str = "/_gate/passkey/sign-in";
const SIGN_IN: &str = "/_gate/security-key/sign-in";

/// A key that is touched and asks for nothing.
fn key_without_pin() -> Authenticator {
    Authenticator { flags: 0, ..Authenticator::new() }
}

/// A program that answers like such a key, and keeps it with a provider that syncs.
fn key_of_a_provider() -> Authenticator {
    Authenticator { flags: BE | BS, ..Authenticator::synced() }
}

/// Somebody with an app and a key.
struct Holder {
    person: Person,
    key: Authenticator,
}

/// What the page asks of the key.
struct Asked {
    state: String,
    options: Value,
}

/// Opens an invitation; gives the state of the form that offers a passkey.
async fn follow(client: &mut Client, gate: &TestGate, token: &Token) -> String {
    let link = token.link(&gate.config.gate.public_url);
    let token = link.split_once('#').unwrap().1.to_owned();
    let page = client.post_form("/_gate/enrol", &[("token", &token)]).await;
    state_of(&page.text()).unwrap_or_else(|| panic!("{} {}", page.status, page.text()))
}

async fn create_options(client: &mut Client, state: &str, kind: &str) -> Reply {
    client.post_json(CREATE_OPTIONS, &json!({ "state": state, "kind": kind })).await
}

/// Registers a key with the state of the form, and goes on with what comes back.
async fn register(client: &mut Client, gate: &TestGate, state: &str, key: &mut Authenticator) -> Reply {
    let asked = create_options(client, state, "security-key").await.json();
    let made = key.create(&asked["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": asked["state"], "name": "Blue", "credential": made });
    let reply = client.post_json(CREATE, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let state = reply.json()["state"].as_str().unwrap().to_owned();
    client.post_form("/_gate/enrol", &[("state", &state), ("name", "Blue")]).await
}

/// Enrols a key, and the app that must go with it.
async fn enrol(gate: &TestGate, name: &str) -> Holder {
    enrol_with(gate, name, key_without_pin()).await
}

/// Enrols this key, and the app that must go with it.
async fn enrol_with(gate: &TestGate, name: &str, mut key: Authenticator) -> Holder {
    let mut client = gate.client();
    let state = follow(&mut client, gate, &gate.invite(name)).await;
    let page = register(&mut client, gate, &state, &mut key).await;
    let (phone, state) = scan(&page.text()).unwrap_or_else(|| panic!("{} {}", page.status, page.text()));
    let mut person = Person { name: name.to_owned(), client, phone, codes: Vec::new() };
    let code = person.code(gate);
    let done = person.finish(&state, &code).await;
    assert_eq!(done.status, 303, "{}", done.text());
    Holder { person, key }
}

impl Holder {
    /// Types a fresh code in a browser that has no cookies; the page asks for the key.
    async fn code(&mut self, gate: &TestGate) -> (Client, Reply) {
        let code = self.person.wait_for_next_code(gate);
        let mut client = gate.client();
        let fields = [("user", self.person.name.as_str()), ("code", &code)];
        let reply = client.post_form("/_gate/sign-in?next=%2Fx", &fields).await;
        (client, reply)
    }

    /// The same, and what the page asks.
    async fn asked(&mut self, gate: &TestGate) -> (Client, Asked) {
        let (client, reply) = self.code(gate).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        (client, asked(&reply.text()))
    }

    fn answer(&mut self, gate: &TestGate, asked: &Asked) -> Request {
        self.key.get(&asked.options, &gate.url())
    }
}

/// What the page holds for its script.
fn asked(page: &str) -> Asked {
    let attribute = |name: &str| {
        let value = page.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap();
        value.replace("&#34;", "\"")
    };
    Asked {
        state: attribute("data-state"),
        options: serde_json::from_str(&attribute("data-publickey")).unwrap(),
    }
}

async fn send(client: &mut Client, state: &str, credential: &Value) -> Reply {
    let body = json!({ "state": state, "credential": credential });
    client.post_json(&format!("{SIGN_IN}?next=%2Fx"), &body).await
}

fn sessions(gate: &TestGate) -> usize {
    gate.store().live_sessions(gate.clock.now()).unwrap().len()
}

fn assert_refused(reply: &Reply, case: &str) {
    assert_eq!(reply.status, 403, "{case}: {}", reply.text());
    assert!(!reply.headers.contains_key("set-cookie"), "{case}");
}

fn last_reason(gate: &TestGate) -> String {
    let events = gate.audit();
    events.last().and_then(|event| event["event"]["reason"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn somebody_with_a_key_and_an_app_signs_in_by_both_and_by_neither_alone() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;
    assert_eq!(alice.person.client.navigate("/").await.status, 200, "signed in by enrolling");
    let (open, seen) = (sessions(&gate), pve.connections_seen());

    let (mut client, page) = alice.code(&gate).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Touch your security key"), "{}", page.text());
    assert!(!page.headers.contains_key("set-cookie"), "neither a session nor a known device");
    assert_eq!(client.get("/api2/json/version").await.status, 401);
    assert_eq!((sessions(&gate), pve.connections_seen()), (open, seen));

    let asked = asked(&page.text());
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    let reply = send(&mut client, &asked.state, &answer).await;

    assert_eq!((reply.status.as_u16(), &reply.json()["next"]), (200, &json!("/x")), "{}", reply.text());
    assert_eq!(client.navigate("/").await.status, 200);
    assert_eq!(sessions(&gate), open + 1);
    let event = gate.audit().pop().unwrap();
    assert_eq!(
        (&event["event"]["action"], &event["event"]["outcome"]),
        (&json!("sign-in"), &json!("success"))
    );
    assert_eq!(
        (&event["pvegate"]["method"], &event["user"]["name"]),
        (&json!("security-key"), &json!("alice"))
    );
}

#[tokio::test]
async fn the_key_is_asked_for_a_touch_and_nothing_more() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;
    let mut client = gate.client();
    let state = follow(&mut client, &gate, &gate.invite("alice")).await;

    let creation = create_options(&mut client, &state, "security-key").await.json()["publicKey"].clone();
    let (_, asked) = alice.asked(&gate).await;

    let selection = &creation["authenticatorSelection"];
    assert_eq!(
        (&selection["residentKey"], &selection["requireResidentKey"]),
        (&json!("discouraged"), &json!(false))
    );
    assert_eq!(selection["userVerification"], "discouraged");
    let id = BASE64URL_NOPAD.encode(&alice.key.credential_id);
    assert_eq!(creation["excludeCredentials"][0]["id"], json!(id), "what she has is excluded");
    assert_eq!(asked.options["userVerification"], "discouraged");
    assert_eq!(asked.options["allowCredentials"].as_array().unwrap().len(), 1);
    assert_eq!(asked.options["allowCredentials"][0]["id"], json!(id));
}

#[tokio::test]
async fn a_code_is_spent_when_the_key_is_asked_for() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;

    let (mut client, first) = alice.code(&gate).await;
    let code = alice.person.code(&gate);
    let again = client.post_form("/_gate/sign-in", &[("user", "alice"), ("code", &code)]).await;
    let reason = last_reason(&gate);
    let next = alice.person.wait_for_next_code(&gate);
    let attempts = (0..5).map(|_| {
        let (mut client, next) = (gate.client(), next.clone());
        async move { client.post_form("/_gate/sign-in", &[("user", "alice"), ("code", &next)]).await }
    });
    let at_once = join_all(attempts).await;

    assert_eq!((first.status.as_u16(), again.status.as_u16()), (200, 403));
    assert!(reason.contains("already used"), "{reason}");
    assert_eq!(at_once.iter().filter(|reply| reply.text().contains("data-security-key")).count(), 1);
}

/// A lie about the assertion, and the beginning of the reason that must be given.
type Lie = (&'static str, fn(&mut Request), &'static str);

#[rustfmt::skip]
const LIES: &[Lie] = &[
    ("a foreign origin",             |r| r.client_data["origin"] = json!("https://evil.test"),         "made on another origin"),
    ("in another origin's page",     |r| r.client_data["crossOrigin"] = json!(true),                   "made inside another"),
    ("another challenge",            |r| r.client_data["challenge"] = json!(BASE64URL_NOPAD.encode(&[9; 32])), "another challenge"),
    ("the other ceremony's type",    |r| r.client_data["type"] = json!("webauthn.create"),             "client data of another type"),
    ("another relying party",        |r| r.rp_id = "evil.test".into(),                                 "made for another relying party"),
    ("nobody touched it",            |r| r.flags &= !UP,                                               "nobody was present"),
    ("a user handle nobody has",     |r| r.user_handle = Some(vec![1; 64]),                            "a user handle that is not the owner's"),
    ("a key that was not asked for", |r| { r.id = "AAAA".into(); r.raw_id = "AAAA".into() },           "a credential that was not asked for"),
    ("a signature of something else", |r| r.signature_good = false,                                    "the signature does not verify"),
    ("a counter that stood still",   |r| r.counter = 5,                                                "signature counter went from 5 to 5"),
    ("a cloned counter",             |r| r.counter = 1,                                                "signature counter went from 5 to 1"),
];

#[tokio::test]
async fn what_the_key_says_is_verified_and_a_lie_spends_nothing() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;
    let (mut client, asked) = alice.asked(&gate).await;
    alice.key.counter = Some(4);
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    assert_eq!(send(&mut client, &asked.state, &answer).await.status, 200, "the counter is 5 now");
    let (open, seen) = (sessions(&gate), pve.connections_seen());
    let (mut client, asked) = alice.asked(&gate).await;

    for (case, lie, reason) in LIES {
        gate.clock.advance(Duration::from_secs(10));
        let mut request = alice.answer(&gate, &asked);
        lie(&mut request);
        let reply = send(&mut client, &asked.state, &request.json(&alice.key)).await;

        assert_refused(&reply, case);
        assert!(last_reason(&gate).starts_with(reason), "{case}: {}", last_reason(&gate));
        let event = gate.audit().pop().unwrap();
        assert_eq!(
            (&event["pvegate"]["method"], &event["user"]["name"]),
            (&json!("security-key"), &json!("alice"))
        );
    }
    assert_eq!((sessions(&gate), pve.connections_seen()), (open, seen));

    // A key that keeps no names sends no user handle; one that has a PIN by now may say so.
    let mut honest = alice.answer(&gate, &asked);
    (honest.user_handle, honest.flags) = (None, UP | UV);
    assert_eq!(send(&mut client, &asked.state, &honest.json(&alice.key)).await.status, 200);
}

#[tokio::test]
async fn a_state_is_good_for_one_person_one_sign_in_and_five_minutes() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let (mut alice, mut bob) = (enrol(&gate, "alice").await, enrol(&gate, "bob").await);
    let (mut client, alices) = alice.asked(&gate).await;
    let (mut bobs_client, bobs) = bob.asked(&gate).await;

    // Bob's key where alice's was asked for, and the other way round.
    let reply = send(&mut client, &alices.state, &bob.answer(&gate, &alices).json(&bob.key)).await;
    assert_refused(&reply, "another user's key");
    assert_eq!(last_reason(&gate), "a credential that was not asked for");
    let answer = alice.answer(&gate, &alices).json(&alice.key);
    assert_refused(&send(&mut bobs_client, &bobs.state, &answer).await, "another user's state");
    // A state of something else, or none.
    let options =
        client.post_json("/_gate/passkey/sign-in-options", &json!({ "user": "alice" })).await.json();
    assert_refused(
        &send(&mut client, options["state"].as_str().unwrap(), &answer).await,
        "a passkey's state",
    );
    assert_eq!(last_reason(&gate), "a ceremony that this gate did not start");
    assert_refused(&send(&mut client, "", &answer).await, "no state");
    let body = json!({ "state": alices.state, "credential": answer });
    assert_refused(&client.post_json(PASSKEY_SIGN_IN, &body).await, "at the passkeys' endpoint");
    // As it should be; then once more.
    gate.clock.advance(Duration::from_secs(200));
    assert_eq!(send(&mut client, &alices.state, &answer).await.status, 200);
    assert_refused(&send(&mut gate.client(), &alices.state, &answer).await, "once more");
    let later = alice.answer(&gate, &alices).json(&alice.key);
    assert_refused(&send(&mut gate.client(), &alices.state, &later).await, "once more, counted on");
    assert_eq!(last_reason(&gate), "a ceremony that was used already");
    // Late.
    let (mut client, asked) = alice.asked(&gate).await;
    gate.clock.advance(Duration::from_millis(5 * 60_000 + 1));
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    assert_refused(&send(&mut client, &asked.state, &answer).await, "late");
    assert!(last_reason(&gate).contains("300 s before"), "{}", last_reason(&gate));
}

#[tokio::test]
async fn twenty_parallel_uses_of_one_touch_open_one_session() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let mut alice = enrol(&gate, "alice").await;
    let (_, asked) = alice.asked(&gate).await;
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    let open = sessions(&gate);

    let uses = (1..=20).map(|number| {
        // From sources of their own, so that no limit by source hides what the store does.
        let mut client = gate.client().from(&format!("127.0.0.{number}"));
        let (state, answer) = (asked.state.clone(), answer.clone());
        async move { send(&mut client, &state, &answer).await.status }
    });
    let statuses = join_all(uses).await;

    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(sessions(&gate), open + 1);
}

#[tokio::test]
async fn whoever_was_disabled_or_lost_the_app_meanwhile_is_refused() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let (mut alice, mut bob) = (enrol(&gate, "alice").await, enrol(&gate, "bob").await);
    let (mut client, asked) = alice.asked(&gate).await;
    let (mut bobs_client, bobs) = bob.asked(&gate).await;
    let id = |name: &str| gate.store().user_by_name(&name.parse().unwrap()).unwrap().unwrap().id;

    let app = gate.store().authenticators(id("alice")).unwrap().pop().unwrap();
    gate.store().remove_factors(id("alice"), Some(&app.id), gate.clock.now()).unwrap();
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    assert_refused(&send(&mut client, &asked.state, &answer).await, "the app is gone");
    assert_eq!(last_reason(&gate), "the authenticator app whose code came first is gone");
    let _ = gate.store().disable_user(id("bob"), gate.clock.now()).unwrap();
    let answer = bob.answer(&gate, &bobs).json(&bob.key);
    assert_refused(&send(&mut bobs_client, &bobs.state, &answer).await, "disabled");
    assert_eq!(last_reason(&gate), "the user is disabled");
}

#[tokio::test]
async fn a_key_that_verifies_nobody_is_no_passkey() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;

    // It can't be registered as one,
    let mut client = gate.client();
    let form = follow(&mut client, &gate, &gate.invite("mallory")).await;
    let mut key = key_without_pin();
    let options = create_options(&mut client, &form, "passkey").await.json();
    let made = key.create(&options["publicKey"], &gate.url()).json(&key);
    let body = json!({ "state": options["state"], "name": "", "credential": made });
    assert_refused(&client.post_json(CREATE, &body).await, "registered as a passkey");
    // and one that is registered as what it is signs nobody in by itself, verified or not.
    for flags in [UP, UP | UV] {
        let options = client.post_json("/_gate/passkey/sign-in-options", &json!({})).await.json();
        let mut request = alice.key.get(&options["publicKey"], &gate.url());
        request.flags = flags;
        let body = json!({ "state": options["state"], "credential": request.json(&alice.key) });
        assert_refused(&client.post_json(PASSKEY_SIGN_IN, &body).await, "used as a passkey");
        assert_eq!(last_reason(&gate), "a credential that is good for something else");
    }
    // Nor do strangers learn of it.
    let named = client.post_json("/_gate/passkey/sign-in-options", &json!({ "user": "alice" })).await.json();
    let id = json!(BASE64URL_NOPAD.encode(&alice.key.credential_id));
    assert!(named["publicKey"]["allowCredentials"].as_array().unwrap().iter().all(|entry| entry["id"] != id));
}

#[tokio::test]
async fn whoever_has_an_app_adds_a_key_alone_and_is_asked_for_it_from_then_on() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut person = gate.person("alice").await;
    assert_eq!(person.sign_in(&gate).await.status, 303, "no key yet");
    let mut key = key_without_pin();

    let mut client = gate.client();
    let state = follow(&mut client, &gate, &gate.invite("alice")).await;
    let done = register(&mut client, &gate, &state, &mut key).await;

    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/_gate/enrolled")), "{}", done.text());
    let mut alice = Holder { person, key };
    let (mut client, asked) = alice.asked(&gate).await;
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    assert_eq!(send(&mut client, &asked.state, &answer).await.status, 200);
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    let kept = gate.store().credentials(user.id).unwrap().pop().unwrap();
    assert_eq!((kept.kind, kept.name.as_str()), (CredentialKind::SecurityKey, "Blue"));
    assert_eq!(gate.store().authenticators(user.id).unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_recovers_adds_an_app_too_for_the_old_one_may_be_lost() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    gate.person("alice").await;
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    let token = Token::random();
    let recover = token.invitation(user.id, InvitationPurpose::Recover, gate.clock.now(), LIFETIME);
    gate.store().invite(&recover).unwrap();
    let mut client = gate.client();
    let state = follow(&mut client, &gate, &token).await;

    let page = register(&mut client, &gate, &state, &mut key_without_pin()).await;

    assert!(scan(&page.text()).is_some(), "{} {}", page.status, page.text());
    assert!(page.text().contains("Your security key works."), "{}", page.text());
}

#[tokio::test]
async fn nothing_is_switched_on_before_the_app_is_proven_and_codes_are_saved() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut key = key_without_pin();
    let mut client = gate.client();
    let state = follow(&mut client, &gate, &gate.invite("alice")).await;
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let factors = || {
        let mut store = gate.store();
        (store.authenticators(user).unwrap().len(), store.credentials(user).unwrap().len())
    };

    let page = register(&mut client, &gate, &state, &mut key).await;
    let (_, state) = scan(&page.text()).unwrap();
    let fields = [("state", state.as_str()), ("name", "Phone"), ("code", "000000")];
    let refused = client.post_form("/_gate/enrol", &fields).await;
    let (phone, state) = scan(&refused.text()).unwrap();
    assert_eq!((refused.status.as_u16(), factors()), (403, (0, 0)));
    let code = phone.code(step_at(gate.clock.now()));
    let fields = [("state", state.as_str()), ("name", "Phone"), ("code", &code)];
    let page = client.post_form("/_gate/enrol", &fields).await;
    let codes = printed_codes(&page.text());
    assert_eq!((codes.len(), factors()), (10, (0, 0)));
    let state = state_of(&page.text()).unwrap();
    let done = client.post_form("/_gate/enrol", &[("state", &state), ("typed", &codes[0])]).await;

    assert_eq!((done.status.as_u16(), factors()), (303, (1, 1)), "{}", done.text());
    let added: Vec<Value> = gate
        .audit()
        .into_iter()
        .filter(|event| event["event"]["action"] == "factor-add")
        .map(|event| event["pvegate"]["method"].clone())
        .collect();
    assert_eq!(added, [json!("security-key"), json!("totp")]);
}

#[tokio::test]
async fn a_recovery_code_needs_no_key() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = enrol(&gate, "alice").await;
    let mut client = gate.client();

    let code = alice.person.codes[0].as_str();
    let reply = client.post_form("/_gate/recover", &[("user", "alice"), ("code", code)]).await;

    assert_eq!(reply.status, 303, "{}", reply.text());
    assert!(client.cookie(names::SESSION_COOKIE).is_some());
    assert_eq!(client.navigate("/").await.status, 200);
}

#[tokio::test]
async fn where_apps_are_not_accepted_a_key_is_neither_offered_nor_registered() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("auth.methods", r#"["passkey"]"#).start().await;
    let mut client = gate.client();
    let link = gate.invite("alice").link(&gate.config.gate.public_url);
    let token = link.split_once('#').unwrap().1.to_owned();

    let page = client.post_form("/_gate/enrol", &[("token", &token)]).await.text();
    let refused = create_options(&mut client, &state_of(&page).unwrap(), "security-key").await;

    assert!(page.contains("data-passkey-create") && !page.contains("security-key"), "{page}");
    assert_refused(&refused, "options");
}

#[tokio::test]
async fn nobody_registers_more_keys_than_a_sign_in_can_ask_for() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;
    for _ in 1..8 {
        let mut client = gate.client();
        let state = follow(&mut client, &gate, &gate.invite("alice")).await;
        let done = register(&mut client, &gate, &state, &mut key_without_pin()).await;
        assert_eq!(done.status, 303, "{}", done.text());
        gate.clock.advance(Duration::from_secs(60));
    }

    let mut client = gate.client();
    let state = follow(&mut client, &gate, &gate.invite("alice")).await;
    assert_refused(&create_options(&mut client, &state, "security-key").await, "the ninth");
    let (mut client, asked) = alice.asked(&gate).await;
    let answer = alice.answer(&gate, &asked).json(&alice.key);

    assert_eq!(asked.options["allowCredentials"].as_array().unwrap().len(), 8);
    assert_eq!(send(&mut client, &asked.state, &answer).await.status, 200);
}

#[tokio::test]
async fn a_key_is_asked_for_also_where_passkeys_were_switched_off_since() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol(&gate, "alice").await;
    let gate = gate.another(&pve).set("auth.methods", r#"["totp", "recovery"]"#).start().await;

    let (mut client, asked) = alice.asked(&gate).await;
    let offered = client.post_json("/_gate/passkey/sign-in-options", &json!({})).await;
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    let reply = send(&mut client, &asked.state, &answer).await;

    assert_eq!((offered.status.as_u16(), reply.status.as_u16()), (404, 200), "{}", reply.text());
}

#[tokio::test]
async fn a_security_key_that_a_provider_syncs_is_not_bound_to_a_device() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = enrol_with(&gate, "alice", key_of_a_provider()).await;
    let policy = "[[policy]]\nname = \"keys\"\nrequire = \"security-key\"\n";
    let gate = gate.another(&pve).tables(policy).start().await;
    let seen = pve.requests_seen();

    let (mut client, asked) = alice.asked(&gate).await;
    let answer = alice.answer(&gate, &asked).json(&alice.key);
    assert_eq!(send(&mut client, &asked.state, &answer).await.status, 200);

    assert_eq!(client.navigate("/").await.location(), Some("/_gate/enrol"), "there is one to enrol first");
    assert_eq!(pve.requests_seen(), seen);
    let state = state_of(&client.navigate("/_gate/enrol").await.text()).unwrap();
    let created = create_options(&mut client, &state, "security-key").await.json();
    let mut another = key_of_a_provider();
    let made = another.create(&created["publicKey"], &gate.url()).json(&another);
    let body = json!({ "state": created["state"], "name": "Blue", "credential": made });
    let refused = client.post_json(CREATE, &body).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (403, &json!("unbound")));
}
