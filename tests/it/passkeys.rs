//! Passkeys through the gate's own endpoints, with an authenticator that can lie about any one thing.
//!
//! The two long tables walk Web Authentication Level 3 §7.1 and §7.2: a row for each step, falsified
//! alone and signed well. Each must end in 403, without a session, for its own reason in the audit log;
//! and the honest answer to the same challenge must still be good afterwards: a lie spends nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use pvegate::{
    account::{CredentialKind, Role, Transport, UserHandle},
    gate::{
        PublicUrl,
        ceremony::webauthn::{Asked, AssertionError, RelyingParty},
    },
    names,
    secret::Key,
    store::{Attempt, Disabled, Guesses, Owned, Store},
    time::Clock as _,
};
use serde_json::{Value, json};

use crate::{
    authenticator::{
        AAGUID, AT, Authenticator, BE, BS, Creation, ED, Request, Statement, UP, UV, attested_credential_data,
    },
    harness::{Client, Pve, Reply, TestGate, printed_codes, state_of},
};

const SIGN_IN_OPTIONS: &str = "/_gate/passkey/sign-in-options";
const SIGN_IN: &str = "/_gate/passkey/sign-in";
const CREATE_OPTIONS: &str = "/_gate/passkey/create-options";
const CREATE: &str = "/_gate/passkey/create";

/// Follows an invitation up to the page that offers a passkey; gives the state of its form.
async fn follow_invitation(gate: &TestGate, client: &mut Client, name: &str) -> String {
    let link = gate.invite(name).link(&gate.config.gate.public_url);
    let token = link.split_once('#').unwrap().1.to_owned();
    let page = client.post_form("/_gate/enrol", &[("token", &token)]).await;
    state_of(&page.text()).unwrap_or_else(|| panic!("{} {}", page.status, page.text()))
}

/// Asks for options with the state of the form.
async fn create_options(client: &mut Client, state: &str) -> (String, Value) {
    let reply = client.post_json(CREATE_OPTIONS, &json!({ "state": state })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    (body["state"].as_str().unwrap().to_owned(), body["publicKey"].clone())
}

async fn create(client: &mut Client, state: &str, credential: &Value) -> Reply {
    let body = json!({ "state": state, "name": " My key ", "credential": credential });
    client.post_json(CREATE, &body).await
}

/// Goes on with the form, and types a recovery code back where some are shown.
async fn go_on(client: &mut Client, state: &str) -> Reply {
    let reply = client.post_form("/_gate/enrol", &[("state", state), ("name", "My key")]).await;
    let Some(code) = printed_codes(&reply.text()).first().cloned() else { return reply };
    let state = state_of(&reply.text()).unwrap();
    client.post_form("/_gate/enrol", &[("state", &state), ("typed", &code)]).await
}

/// Enrols with a passkey in this authenticator; the client is signed in then.
async fn enrol(gate: &TestGate, name: &str, authenticator: &mut Authenticator) -> Client {
    let mut client = gate.client();
    let state = follow_invitation(gate, &mut client, name).await;
    let (state, options) = create_options(&mut client, &state).await;
    let made = authenticator.create(&options, &gate.url()).json(authenticator);
    let reply = create(&mut client, &state, &made).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let done = go_on(&mut client, reply.json()["state"].as_str().unwrap()).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(client.cookie(names::SESSION_COOKIE).is_some());
    client
}

async fn sign_in_options(client: &mut Client, body: Value) -> (String, Value) {
    let reply = client.post_json(SIGN_IN_OPTIONS, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    (body["state"].as_str().unwrap().to_owned(), body["publicKey"].clone())
}

async fn sign_in(client: &mut Client, state: &str, credential: &Value) -> Reply {
    client.post_json(SIGN_IN, &json!({ "state": state, "credential": credential })).await
}

/// The reason that the last audit event gives.
fn last_reason(gate: &TestGate) -> String {
    let events = gate.audit();
    events.last().and_then(|event| event["event"]["reason"].as_str()).unwrap_or_default().to_owned()
}

fn count_sessions(gate: &TestGate) -> usize {
    gate.store().live_sessions(gate.clock.now()).unwrap().len()
}

fn assert_refused(reply: &Reply, case: &str) {
    assert_eq!(reply.status, 403, "{case}: {}", reply.text());
    assert!(!reply.headers.contains_key("set-cookie"), "{case}");
}

/// A gate at which one source may try as often as these tests do.
async fn busy_gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set("limits.sign_ins", "10000").start().await
}

#[tokio::test]
async fn somebody_enrols_with_a_passkey_and_signs_in_with_it_without_a_name() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut phone = Authenticator::synced();
    let mut enrolled = enrol(&gate, "alice", &mut phone).await;
    assert_eq!(enrolled.navigate("/").await.status, 200);

    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);
    let reply = client
        .post_json(&format!("{SIGN_IN}?next=%2Fx"), &json!({ "state": state, "credential": answer }))
        .await;

    assert_eq!((reply.status.as_u16(), &reply.json()["next"]), (200, &json!("/x")), "{}", reply.text());
    assert_eq!(client.navigate("/").await.status, 200);
    let signed_in = gate.audit().pop().unwrap();
    assert_eq!(signed_in["pvegate"]["method"], "passkey");
    assert_eq!(signed_in["user"]["name"], "alice");
}

#[tokio::test]
async fn a_passkey_works_while_codes_are_locked_and_lifts_the_lock() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut phone = Authenticator::synced();
    enrol(&gate, "alice", &mut phone).await;
    let attempt = Attempt {
        name: "alice".parse().ok(),
        device: None,
        source: "127.0.0.1".into(),
        at: gate.clock.now(),
    };
    let locked = Guesses { in_a_row_from_source: 8, since_success: 100, ..Guesses::default() };
    gate.store().try_code(&attempt, &|_| Some(locked.clone())).unwrap();
    assert_eq!(gate.store().try_code(&attempt, &|_| None).unwrap().guesses, locked);

    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);
    let reply = sign_in(&mut client, &state, &answer).await;

    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(client.cookie(names::DEVICE_COOKIE).is_some());
    assert_eq!(gate.store().try_code(&attempt, &|_| None).unwrap().guesses, Guesses::default());
}

#[tokio::test]
async fn options_ask_for_what_a_passkey_is() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut client = gate.client();
    let mut phone = Authenticator::new();
    enrol(&gate, "alice", &mut phone).await;

    // Invited once more: what she has is excluded.
    let state = follow_invitation(&gate, &mut client, "alice").await;
    let (_, creation) = create_options(&mut client, &state).await;
    let (_, request) = sign_in_options(&mut client, json!({})).await;

    assert_eq!(creation["rp"], json!({ "id": "gate.test", "name": "Proxmox VE gate" }));
    assert_eq!(creation["user"]["name"], "alice");
    let handle = BASE64URL_NOPAD.decode(creation["user"]["id"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!((handle.len(), &handle), (64, &phone.user_handle));
    assert_eq!(creation["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(creation["authenticatorSelection"]["requireResidentKey"], true);
    assert_eq!(creation["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(creation["attestation"], "none");
    let id = json!(BASE64URL_NOPAD.encode(&phone.credential_id));
    let excluded = json!([{ "type": "public-key", "id": id, "transports": ["hybrid", "internal"] }]);
    assert_eq!(creation["excludeCredentials"], excluded);
    assert_eq!(request["rpId"], "gate.test");
    assert_eq!(request["userVerification"], "required");
    assert_eq!(request["allowCredentials"], json!([]));
    for options in [&creation, &request] {
        let challenge = options["challenge"].as_str().unwrap();
        assert!(BASE64URL_NOPAD.decode(challenge.as_bytes()).unwrap().len() >= 16);
        assert_eq!(options["timeout"], 300_000);
    }
    assert_ne!(creation["challenge"], request["challenge"]);
}

#[tokio::test]
async fn what_the_authenticator_says_of_itself_is_kept() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut phone = Authenticator { flags: UV | BE, ..Authenticator::new() };
    let mut client = enrol(&gate, "alice", &mut phone).await;
    let kept = || {
        let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
        gate.store().credentials(user.id).unwrap().pop().unwrap()
    };
    let at_first = kept();

    phone.flags |= BS;
    gate.clock.advance(Duration::from_secs(7));
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);
    let reply = sign_in(&mut client, &state, &answer).await;

    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(at_first.kind, CredentialKind::Passkey);
    assert_eq!((at_first.name.as_str(), at_first.aaguid), ("My key", AAGUID));
    assert_eq!(at_first.transports, [Transport::Hybrid, Transport::Internal]);
    assert_eq!((at_first.counter, at_first.synced, at_first.last_used_at), (1, false, None));
    let now = kept();
    assert_eq!((now.counter, now.synced, now.last_used_at), (2, true, Some(gate.clock.now())));
    assert_eq!(now.last_used_from, Some("127.0.0.1".parse().unwrap()));
}

/// A lie, and the beginning of the reason that must be given.
type Lie<T> = (&'static str, fn(&mut T), &'static str);

/// Web Authentication Level 3 §7.2, verifying an authentication assertion.
#[rustfmt::skip]
const ASSERTIONS: &[Lie<Request>] = &[
    ("5: not the same credential in id and rawId", |r| r.id = "AAAA".into(),                           "credential identifiers that differ"),
    ("3: another type of credential",    |r| r.kind = "password",                                      "no public key credential"),
    ("6: a credential nobody has",       |r| { r.id = "AAAA".into(); r.raw_id = "AAAA".into() },       "no such credential"),
    ("6: no user handle",                |r| r.user_handle = None,                                     "no user handle"),
    ("6: a user handle nobody has",      |r| r.user_handle = Some(vec![1; 64]),                        "a user handle that is not the owner's"),
    ("6: an empty user handle",          |r| r.user_handle = Some(Vec::new()),                         "a user handle that is not the owner's"),
    ("8: client data that is no JSON",   |r| r.client_data_text = Some("{".into()),                    "client data that is not"),
    ("8: a name twice",                  |r| {
        let text = r.client_data.to_string();
        r.client_data_text = Some(text.replacen('{', r#"{"origin":"https://evil.test","#, 1));
    },                                                                                                 "client data that is not"),
    ("10: the other ceremony's type",    |r| r.client_data["type"] = json!("webauthn.create"),         "client data of another type"),
    ("11: another challenge",            |r| r.client_data["challenge"] = json!(BASE64URL_NOPAD.encode(&[9; 32])), "another challenge"),
    ("11: an empty challenge",           |r| r.client_data["challenge"] = json!(""),                   "another challenge"),
    ("12: another origin",               |r| r.client_data["origin"] = json!("https://evil.test"),     "made on another origin"),
    ("12: another port",                 |r| r.client_data["origin"] = json!("https://gate.test:1"),   "made on another origin"),
    ("12: another scheme",               |r| {
        let origin = r.client_data["origin"].as_str().unwrap().replace("https:", "http:");
        r.client_data["origin"] = json!(origin);
    },                                                                                                 "made on another origin"),
    ("12: a path after our origin",      |r| {
        let origin = format!("{}/x", r.client_data["origin"].as_str().unwrap());
        r.client_data["origin"] = json!(origin);
    },                                                                                                 "made on another origin"),
    ("13: in another origin's page",     |r| r.client_data["crossOrigin"] = json!(true),               "made inside another"),
    ("14: with another origin on top",   |r| r.client_data["topOrigin"] = json!("https://evil.test"),  "made inside another"),
    ("15: another relying party",        |r| r.rp_id = "evil.test".into(),                             "made for another relying party"),
    ("15: a parent's relying party",     |r| r.rp_id = "test".into(),                                  "made for another relying party"),
    ("16: nobody present",               |r| r.flags &= !UP,                                           "nobody was present"),
    ("17: user not verified",            |r| r.flags &= !UV,                                           "the user was not verified"),
    ("18: backed up but not eligible",   |r| r.flags |= BS,                                            "backed up without being eligible"),
    ("19: eligible, which it was not",   |r| r.flags |= BE,                                            "a credential whose backup eligibility"),
    ("authenticator data too long",      |r| r.trailing = vec![0],                                     "authenticator data that can't be read"),
    ("extensions announced, none there", |r| r.flags |= ED,                                            "authenticator data that can't be read"),
    ("a new credential inside",          |r| { r.flags |= AT; r.trailing = attested_credential_data() }, "attested credential data"),
    ("21: a signature of something else", |r| r.signature_good = false,                                "the signature does not verify"),
    ("22: a counter that went back",     |r| r.counter = 1,                                            "signature counter went from 5 to 1"),
    ("22: a counter that stood still",   |r| r.counter = 5,                                            "signature counter went from 5 to 5"),
    ("22: a counter that vanished",      |r| r.counter = 0,                                            "signature counter went from 5 to 0"),
];

#[tokio::test]
async fn every_step_of_verifying_an_assertion_refuses_what_it_is_there_for() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator { counter: Some(5), ..Authenticator::new() };
    enrol(&gate, "alice", &mut key).await;
    let sessions = count_sessions(&gate);

    for (case, lie, reason) in ASSERTIONS {
        let mut client = gate.client();
        key.counter = Some(5);
        let (state, options) = sign_in_options(&mut client, json!({})).await;
        let mut request = key.get(&options, &gate.url());
        lie(&mut request);
        let reply = sign_in(&mut client, &state, &request.json(&key)).await;

        assert_refused(&reply, case);
        assert!(last_reason(&gate).starts_with(reason), "{case}: {}", last_reason(&gate));
        assert_eq!(client.get("/").await.status, 401, "{case}");
    }
    assert_eq!(count_sessions(&gate), sessions);
    assert_eq!(pve.connections_seen(), 0);

    // The same challenge, after a lie: the honest answer is still good.
    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let mut request = key.get(&options, &gate.url());
    request.signature_good = false;
    assert_refused(&sign_in(&mut client, &state, &request.json(&key)).await, "a lie");
    request.signature_good = true;
    assert_eq!(sign_in(&mut client, &state, &request.json(&key)).await.status, 200);
}

/// Web Authentication Level 3 §7.1, registering a new credential.
#[rustfmt::skip]
const REGISTRATIONS: &[Lie<Creation>] = &[
    ("5: client data that is no JSON",   |c| c.client_data_text = Some("null".into()),                 "client data that is not"),
    ("7: the other ceremony's type",     |c| c.client_data["type"] = json!("webauthn.get"),            "client data of another type"),
    ("8: another challenge",             |c| c.client_data["challenge"] = json!(BASE64URL_NOPAD.encode(&[9; 32])), "another challenge"),
    ("9: another origin",                |c| c.client_data["origin"] = json!("https://evil.test"),     "made on another origin"),
    ("9: a name under ours",             |c| {
        let origin = c.client_data["origin"].as_str().unwrap().replace("//gate", "//a.gate");
        c.client_data["origin"] = json!(origin);
    },                                                                                                 "made on another origin"),
    ("10: in another origin's page",     |c| c.client_data["crossOrigin"] = json!(true),               "made inside another"),
    ("11: with another origin on top",   |c| c.client_data["topOrigin"] = json!("https://evil.test"),  "made inside another"),
    ("14: another relying party",        |c| c.rp_id = "evil.test".into(),                             "made for another relying party"),
    ("15: nobody present",               |c| c.flags &= !UP,                                           "nobody was present"),
    ("16: user not verified",            |c| c.flags &= !UV,                                           "the user was not verified"),
    ("17: backed up but not eligible",   |c| c.flags |= BS,                                            "backed up without being eligible"),
    ("19: an algorithm nobody offered",  |c| c.algorithm = -8,                                         "a public key of an algorithm"),
    ("19: an insecure algorithm",        |c| c.algorithm = -65535,                                     "a public key of an algorithm"),
    ("19: a key that does not fit it",   |c| c.algorithm = -257,                                       ""),
    ("a public key that is no point",    |c| c.point = vec![1; 64],                                    ""),
    ("no new credential",                |c| c.flags &= !AT,                                           "attested credential data"),
    ("authenticator data too long",      |c| c.trailing = vec![0],                                     "authenticator data that can't be read"),
    ("21: a format nobody knows",        |c| c.format = "shiny",                                       "an attestation statement of another format"),
    ("21: a format not accepted",        |c| c.format = "android-safetynet",                           "an attestation statement of another format"),
    ("22: `none` with a statement",      |c| c.statement = Statement::Junk,                            "an attestation statement of another format"),
    ("22: a statement without signature", |c| c.format = "packed",                                     ""),
    ("22: a broken self-attestation",    |c| { c.format = "packed"; c.statement = Statement::SelfSigned { signature_good: false } }, ""),
    ("25: an identifier too long",       |c| rename(c, vec![7; 1024]),                                 "a credential identifier of 1024 bytes"),
    ("25: an empty identifier",          |c| rename(c, Vec::new()),                                    "a credential identifier of 0 bytes"),
    ("another identifier inside",        |c| c.credential_id = vec![7; 32],                            "credential identifiers that differ"),
    ("another identifier beside",        |c| c.id = "AAAA".into(),                                     "credential identifiers that differ"),
    ("another type of credential",       |c| c.kind = "password",                                      "no public key credential"),
    ("not discoverable",                 |c| c.extensions = json!({ "credProps": { "rk": false } }),   "a passkey that can't be found"),
];

fn rename(creation: &mut Creation, id: Vec<u8>) {
    creation.id = BASE64URL_NOPAD.encode(&id);
    creation.raw_id = creation.id.clone();
    creation.credential_id = id;
}

#[tokio::test]
async fn every_step_of_registering_refuses_what_it_is_there_for() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut client = gate.client();
    let form = follow_invitation(&gate, &mut client, "alice").await;
    let mut key = Authenticator::new();

    for (case, lie, reason) in REGISTRATIONS {
        let (state, options) = create_options(&mut client, &form).await;
        let mut creation = key.create(&options, &gate.url());
        lie(&mut creation);
        let reply = create(&mut client, &state, &creation.json(&key)).await;

        assert_refused(&reply, case);
        let given = last_reason(&gate);
        assert!(given.starts_with(reason) && !given.is_empty(), "{case}: {given}");
    }
    assert_eq!(count_sessions(&gate), 0);
    assert_eq!(pve.connections_seen(), 0);
    assert_eq!(gate.store().credential_of(&key.credential_id).unwrap(), None);

    // Nothing of it used the invitation up.
    let (state, options) = create_options(&mut client, &form).await;
    let mut creation = key.create(&options, &gate.url());
    creation.format = "packed";
    creation.statement = Statement::SelfSigned { signature_good: true };
    let made = create(&mut client, &state, &creation.json(&key)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(go_on(&mut client, made.json()["state"].as_str().unwrap()).await.status, 303);
}

#[tokio::test]
async fn a_credential_that_somebody_has_is_registered_for_nobody_else_also_in_a_race() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    // Mallory's passkey was made, and waits to be switched on, when alice enrols with the same.
    let mut mallory = gate.client();
    let form = follow_invitation(&gate, &mut mallory, "mallory").await;
    let (state, options) = create_options(&mut mallory, &form).await;
    let made = key.create(&options, &gate.url()).json(&key);
    let waiting = create(&mut mallory, &state, &made).await.json()["state"].as_str().unwrap().to_owned();
    enrol(&gate, "alice", &mut key).await;

    let late = go_on(&mut mallory, &waiting).await;
    let (state, options) = create_options(&mut mallory, &form).await;
    let made = key.create(&options, &gate.url()).json(&key);
    let again = create(&mut mallory, &state, &made).await;

    assert_refused(&late, "switched on late");
    assert_refused(&again, "made once more");
    assert_eq!(last_reason(&gate), "the credential is registered already");
    let owner = gate.store().credential_of(&key.credential_id).unwrap().unwrap().user;
    assert_eq!(owner.name.as_str(), "alice");
    assert_eq!(mallory.get("/").await.status, 401);
    // Her invitation is as good as before.
    let mut own = Authenticator::new();
    let (state, options) = create_options(&mut mallory, &form).await;
    let made = create(&mut mallory, &state, &own.create(&options, &gate.url()).json(&own)).await;
    assert_eq!(go_on(&mut mallory, made.json()["state"].as_str().unwrap()).await.status, 303);
}

#[tokio::test]
async fn nobody_signs_in_as_somebody_else_with_a_credential_of_their_own() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let (mut alices, mut mallorys) = (Authenticator::new(), Authenticator::new());
    enrol(&gate, "alice", &mut alices).await;
    enrol(&gate, "mallory", &mut mallorys).await;
    let sessions = count_sessions(&gate);
    let mut client = gate.client();

    // Mallory's credential with alice's user handle.
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let mut request = mallorys.get(&options, &gate.url());
    request.user_handle = Some(alices.user_handle.clone());
    let handle = sign_in(&mut client, &state, &request.json(&mallorys)).await;
    let handle_reason = last_reason(&gate);
    // Mallory's key signs for alice's credential.
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let signed = alices.get(&options, &gate.url()).json(&mallorys);
    let key = sign_in(&mut client, &state, &signed).await;
    let key_reason = last_reason(&gate);
    // Alice was named, mallory answers.
    let (state, options) = sign_in_options(&mut client, json!({ "user": "alice" })).await;
    let answer = mallorys.get(&options, &gate.url()).json(&mallorys);
    let named = sign_in(&mut client, &state, &answer).await;
    let named_reason = last_reason(&gate);

    assert_refused(&handle, "user handle");
    assert_refused(&key, "key");
    assert_refused(&named, "named");
    assert_eq!(handle_reason, "a user handle that is not the owner's");
    assert_eq!(key_reason, "the signature does not verify");
    assert_eq!(named_reason, "a credential that was not asked for");
    assert_eq!(count_sessions(&gate), sessions);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_name_is_the_other_way_in_and_tells_strangers_nothing() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    gate.person("totp-only").await;
    let mut client = gate.client();

    for (name, typed) in
        [("alice", " ALICE "), ("totp-only", "totp-only"), ("nobody", "Nobody"), ("no name", "ä b")]
    {
        let (_, first) = sign_in_options(&mut client, json!({ "user": typed })).await;
        let (_, again) = sign_in_options(&mut client, json!({ "user": typed })).await;

        let list = first["allowCredentials"].as_array().unwrap();
        assert!(!list.is_empty(), "{name}");
        assert_eq!(first["allowCredentials"], again["allowCredentials"], "{name}: stable");
        assert_ne!(first["challenge"], again["challenge"], "{name}");
        for entry in list {
            let names: Vec<_> = entry.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["id", "type"], "{name}: nothing tells real from made up");
        }
        let shape: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(shape, ["allowCredentials", "challenge", "rpId", "timeout", "userVerification"], "{name}");
    }
    // A key that keeps no names sends no user handle; the name typed is enough.
    let (state, options) = sign_in_options(&mut client, json!({ "user": "Alice" })).await;
    let mut request = key.get(&options, &gate.url());
    request.user_handle = None;
    let reply = sign_in(&mut client, &state, &request.json(&key)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn the_state_of_a_name_that_nobody_has_is_as_long_as_that_of_one_with_such_credentials() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut client = gate.client();
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    // A made-up list with one identifier; alice's is then made as long.
    let mut found = None;
    for n in 0..40 {
        let (state, options) = sign_in_options(&mut client, json!({ "user": format!("nobody{n}") })).await;
        let list = options["allowCredentials"].as_array().unwrap().clone();
        if list.len() == 1 {
            let id = list[0]["id"].as_str().unwrap().to_owned();
            found = Some((state, BASE64URL_NOPAD.decode(id.as_bytes()).unwrap().len()));
            break;
        }
    }
    let (made_up, length) = found.unwrap();
    let mut twin = Authenticator::new();
    twin.credential_id = vec![0xa5; length];
    enrol(&gate, "twin", &mut twin).await;

    let (real, _) = sign_in_options(&mut client, json!({ "user": "twin" })).await;

    // Bytes are written as decimal numbers inside, so lengths vary a little by chance.
    let difference = real.len().abs_diff(made_up.len());
    assert!(difference < 400, "{difference}");
}

#[tokio::test]
async fn an_assertion_opens_one_session_and_no_more() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    // No counter: nothing but the spent ceremony stands in the way.
    let mut phone = Authenticator::synced();
    enrol(&gate, "alice", &mut phone).await;
    let sessions = count_sessions(&gate);
    let (state, options) = sign_in_options(&mut gate.client(), json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);

    let attempts = (0..20).map(|_| {
        let (mut client, state, answer) = (gate.client(), state.clone(), answer.clone());
        async move { sign_in(&mut client, &state, &answer).await.status.as_u16() }
    });
    let statuses = futures_util::future::join_all(attempts).await;
    let later = sign_in(&mut gate.client(), &state, &answer).await;

    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 19, "{statuses:?}");
    assert_refused(&later, "once more");
    assert_eq!(last_reason(&gate), "a ceremony that was used already");
    assert_eq!(count_sessions(&gate), sessions + 1);
}

#[tokio::test]
async fn two_gates_on_one_store_accept_an_assertion_once() {
    let pve = Pve::start().await;
    let first = busy_gate(&pve).await;
    let mut phone = Authenticator::synced();
    enrol(&first, "alice", &mut phone).await;
    // The same public address, so that the same origin is right for both.
    let second = first.another(&pve).set("server.public_url", &first.url()).start().await;
    let sessions = count_sessions(&first);
    let (state, options) = sign_in_options(&mut first.client(), json!({})).await;
    let answer = phone.get(&options, &first.url()).json(&phone);

    let (mut a, mut b) = (first.client(), second.client());
    let (a, b) = tokio::join!(sign_in(&mut a, &state, &answer), sign_in(&mut b, &state, &answer));

    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403], "{} {}", a.text(), b.text());
    assert_eq!(count_sessions(&first), sessions + 1);
}

#[tokio::test]
async fn a_state_is_good_for_its_ceremony_its_gate_and_five_minutes() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let other = busy_gate(&pve).await;
    let mut phone = Authenticator::synced();
    enrol(&gate, "alice", &mut phone).await;
    let mut client = gate.client();

    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);
    let foreign = sign_in_options(&mut other.client(), json!({})).await.0;
    let form = follow_invitation(&gate, &mut client, "bob").await;
    let creating = create_options(&mut client, &form).await.0;
    let mut changed = state.clone().into_bytes();
    changed[40] ^= 1;
    let changed = String::from_utf8_lossy(&changed).into_owned();
    let earlier = sign_in_options(&mut client, json!({})).await.0;
    #[rustfmt::skip]
    let table = [
        ("another gate's",          foreign.as_str(),  "a ceremony that this gate did not start"),
        ("an enrolment's",          form.as_str(),     "a ceremony that this gate did not start"),
        ("a registration's",        creating.as_str(), "a ceremony that this gate did not start"),
        ("a bit changed",           changed.as_str(),  "a ceremony that this gate did not start"),
        ("none",                    "",                "a ceremony that this gate did not start"),
        ("of another challenge",    earlier.as_str(),  "another challenge was signed"),
    ];
    for (case, state, reason) in table {
        assert_refused(&sign_in(&mut client, state, &answer).await, case);
        assert_eq!(last_reason(&gate), reason, "{case}");
    }
    // A state of a sign-in is none of an enrolment either.
    assert_refused(&create(&mut client, &state, &json!(creation_of_nothing())).await, "create");
    assert_refused(&client.post_json(CREATE_OPTIONS, &json!({ "state": state })).await, "create-options");

    gate.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(sign_in(&mut client, &state, &answer).await.status, 200, "at the last moment");
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = phone.get(&options, &gate.url()).json(&phone);
    gate.clock.advance(Duration::from_millis(5 * 60 * 1000 + 1));
    assert_refused(&sign_in(&mut client, &state, &answer).await, "too late");
    assert_eq!(last_reason(&gate), "a ceremony that was started more than 300 s before");
    let form = follow_invitation(&gate, &mut client, "carol").await;
    let (state, options) = create_options(&mut client, &form).await;
    let mut key = Authenticator::new();
    let made = key.create(&options, &gate.url()).json(&key);
    gate.clock.advance(Duration::from_millis(5 * 60 * 1000 + 1));
    assert_refused(&create(&mut client, &state, &made).await, "made too late");
    assert_eq!(pve.connections_seen(), 0);
}

fn creation_of_nothing() -> Value {
    let options = json!({ "challenge": "AAAA", "rp": { "id": "gate.test" }, "user": { "id": "AAAA" } });
    let mut key = Authenticator::new();
    key.create(&options, "https://gate.test").json(&key)
}

#[tokio::test]
async fn a_passkey_enrols_once_and_only_while_its_invitation_lasts() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    let mut client = gate.client();
    let form = follow_invitation(&gate, &mut client, "alice").await;
    let (state, options) = create_options(&mut client, &form).await;
    let made = key.create(&options, &gate.url()).json(&key);
    let proven = create(&mut client, &state, &made).await.json()["state"].as_str().unwrap().to_owned();

    // Made, and not switched on: nobody signs in with it.
    let (sign_in_state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = key.get(&options, &gate.url()).json(&key);
    assert_refused(&sign_in(&mut client, &sign_in_state, &answer).await, "before the end");
    assert_eq!(last_reason(&gate), "no such credential");
    assert_eq!(go_on(&mut client, &proven).await.status, 303);
    let again = go_on(&mut gate.client(), &proven).await;
    let options_again = gate.client().post_json(CREATE_OPTIONS, &json!({ "state": form })).await;

    assert_refused(&again, "switched on twice");
    assert_refused(&options_again, "options from a used invitation");
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    assert_eq!(gate.store().credentials(user.id).unwrap().len(), 1);

    let form = follow_invitation(&gate, &mut client, "bob").await;
    gate.clock.advance(Duration::from_secs(15 * 60));
    assert_refused(&client.post_json(CREATE_OPTIONS, &json!({ "state": form })).await, "too late");
    assert_eq!(last_reason(&gate), "the invitation has expired");
}

#[tokio::test]
async fn a_cloned_authenticator_is_refused_and_named_so() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    let cloned_at = key.counter;
    let mut client = gate.client();
    for _ in 0..3 {
        let (state, options) = sign_in_options(&mut client, json!({})).await;
        let answer = key.get(&options, &gate.url()).json(&key);
        assert_eq!(sign_in(&mut client, &state, &answer).await.status, 200);
    }

    let real = std::mem::replace(&mut key.counter, cloned_at);
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = key.get(&options, &gate.url()).json(&key);
    let clone = sign_in(&mut gate.client(), &state, &answer).await;

    assert_refused(&clone, "clone");
    let event = gate.audit().pop().unwrap();
    assert_eq!(event["pvegate"]["reason"], "cloned_authenticator");
    assert_eq!(event["user"]["name"], "alice");
    key.counter = real;
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = key.get(&options, &gate.url()).json(&key);
    assert_eq!(sign_in(&mut client, &state, &answer).await.status, 200, "the real one goes on");
}

#[tokio::test]
async fn a_disabled_user_signs_in_with_no_passkey() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    // The last administrator can't be disabled.
    gate.invite("boss");
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    let disabled = gate.store().disable_user(user.id, gate.clock.now()).unwrap();
    assert!(matches!(disabled, Disabled::Now(_)), "{disabled:?}");

    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let answer = key.get(&options, &gate.url()).json(&key);
    let reply = sign_in(&mut client, &state, &answer).await;

    assert_refused(&reply, "disabled");
    assert_eq!(last_reason(&gate), "the user is disabled");
}

#[tokio::test]
async fn bodies_are_read_in_one_way_only() {
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    let sessions = count_sessions(&gate);
    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let good = json!({ "state": state, "credential": key.get(&options, &gate.url()).json(&key) }).to_string();
    let json = "application/json";
    #[rustfmt::skip]
    let table = [
        ("a form",              SIGN_IN, "application/x-www-form-urlencoded", good.clone(), 400),
        ("plain text",          SIGN_IN, "text/plain",                        good.clone(), 400),
        ("no type",             SIGN_IN, "",                                  good.clone(), 400),
        ("a name too many",     SIGN_IN, json, good.replacen('{', r#"{"x":1,"#, 1),            400),
        ("a name twice",        SIGN_IN, json, good.replacen('{', r#"{"state":"x","#, 1),      400),
        ("a name twice inside", SIGN_IN, json, good.replacen(r#""rawId""#, r#""id":"x","rawId""#, 1), 400),
        ("a name missing",      SIGN_IN, json, r#"{"state":""}"#.to_owned(),                   400),
        ("not an object",       SIGN_IN, json, "[]".to_owned(),                                400),
        ("nothing",             SIGN_IN, json, String::new(),                                  400),
        ("something behind",    SIGN_IN, json, format!("{good}x"),                             400),
        ("16 KiB and a byte",   SIGN_IN, json, format!("{good}{}", " ".repeat(16 * 1024)),     413),
        ("a name too many",     SIGN_IN_OPTIONS, json, r#"{"users":"a"}"#.to_owned(),          400),
        ("a number",            SIGN_IN_OPTIONS, json, r#"{"user":1}"#.to_owned(),             400),
        ("a name too many",     CREATE_OPTIONS, json, r#"{"state":"","user":"a"}"#.to_owned(), 400),
        ("a name missing",      CREATE, json, r#"{"state":""}"#.to_owned(),                    400),
    ];
    for (case, target, media_type, body, status) in table {
        let reply = client.post_as_script(target, media_type, body).await;
        assert_eq!(reply.status.as_u16(), status, "{target}: {case}: {}", reply.text());
        assert!(!reply.headers.contains_key("set-cookie"), "{case}");
    }
    let mut foreign = gate.client().with("origin", "https://evil.test");
    let reply = foreign.send(http::Method::POST, SIGN_IN, good.clone().into()).await;
    assert_eq!(reply.status, 403, "another site's page");
    assert_eq!(client.get(SIGN_IN).await.status, 405);
    assert_eq!(count_sessions(&gate), sessions);
    assert_eq!(client.post_as_script(SIGN_IN, json, good).await.status, 200, "and as it should be");
}

/// A fixed seed: the same bytes each time. Half of them are changes to what is good.
#[tokio::test]
async fn no_bytes_at_the_endpoints_sign_anybody_in_or_are_our_fault() {
    use proptest::{
        strategy::{Strategy as _, ValueTree as _},
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let pve = Pve::start().await;
    let gate = busy_gate(&pve).await;
    let mut key = Authenticator::new();
    enrol(&gate, "alice", &mut key).await;
    let sessions = count_sessions(&gate);
    let mut client = gate.client();
    let (state, options) = sign_in_options(&mut client, json!({})).await;
    let mut request = key.get(&options, &gate.url());
    request.signature_good = false;
    let nearly = json!({ "state": state, "credential": request.json(&key) }).to_string().into_bytes();
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let anything = proptest::collection::vec(proptest::num::u8::ANY, 0..400);
    let change = (0..nearly.len(), proptest::num::u8::ANY);

    for round in 0..200_usize {
        let body = if round.is_multiple_of(2) {
            anything.new_tree(&mut runner).unwrap().current()
        } else {
            let (at, byte) = change.new_tree(&mut runner).unwrap().current();
            let mut body = nearly.clone();
            body[at] = byte;
            body
        };
        for target in [SIGN_IN, SIGN_IN_OPTIONS, CREATE_OPTIONS, CREATE] {
            let reply = client.post_as_script(target, "application/json", body.clone()).await;
            assert!(matches!(reply.status.as_u16(), 400 | 403), "{}: {body:?}", reply.status);
        }
    }
    assert_eq!(count_sessions(&gate), sessions);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn where_passkeys_are_switched_off_or_the_host_is_an_address_they_are_not_offered() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("auth.methods", r#"["totp"]"#).start().await;
    let mut client = gate.client();

    let page = client.navigate("/_gate/sign-in").await.text();
    let options = client.post_json(SIGN_IN_OPTIONS, &json!({})).await;

    assert!(!page.contains("data-passkey-sign-in") && !page.contains("webauthn"));
    assert_eq!(options.status, 404);
    for (url, works) in [
        ("https://gate.test", true),
        ("https://pve:8006", true),
        ("https://192.0.2.1:8006", false),
        ("https://[2001:db8::1]", false),
    ] {
        let relying_party = RelyingParty::at(&PublicUrl::parse(url).unwrap(), &Key::random());
        assert_eq!(relying_party.is_some(), works, "{url}");
    }
}

/// The ceremonies of security keys have no endpoint of their own yet: whoever combines them with another
/// factor calls these.
#[test]
fn a_security_key_without_a_pin_is_a_second_factor_and_no_passkey() {
    let url = PublicUrl::parse("https://gate.test").unwrap();
    let gate = RelyingParty::at(&url, &Key::random()).unwrap();
    let handle = UserHandle([3; 64]);
    let mut key = Authenticator { flags: 0, ..Authenticator::new() };
    let name = "alice".parse().unwrap();
    let kind = CredentialKind::SecurityKey;
    let (options, state) = gate.start_registration(kind, &name, &handle, &[]).unwrap();
    let options = serde_json::to_value(&options).unwrap();
    assert_eq!(options["authenticatorSelection"]["userVerification"], "discouraged");
    assert_eq!(options["authenticatorSelection"]["residentKey"], "discouraged");
    assert!(options["extensions"].get("credentialProtectionPolicy").is_none(), "{options}");
    let made = key.create(&options, "https://gate.test").json(&key);
    let registered = gate.finish_registration(&state, &serde_json::from_value(made).unwrap()).unwrap();
    let owned = owned(registered, handle);

    let keys = std::slice::from_ref(&owned.credential);
    let (options, state) = gate.start_authentication(Asked::SecondFactor(keys)).unwrap();
    let options = serde_json::to_value(&options).unwrap();
    assert_eq!(options["userVerification"], "discouraged");
    assert_eq!(options["allowCredentials"].as_array().unwrap().len(), 1);
    let mut request = key.get(&options, "https://gate.test");
    request.user_handle = None;
    let answer = serde_json::from_value(request.json(&key)).unwrap();
    let used = gate.finish_authentication(&state, &answer, Some(&owned)).unwrap();
    assert_eq!((used.counter, used.credential), (2, owned.credential.id.clone()));

    // The counter of the store decides, not that of the state.
    let mut later = owned.clone();
    later.credential.counter = 2;
    let cloned = gate.finish_authentication(&state, &answer, Some(&later));
    assert_eq!(cloned, Err(AssertionError::Cloned { stored: 2, found: 2 }));

    // It opens no door by itself, even when it verifies its owner.
    let (options, state) = gate.start_authentication(Asked::Anybody).unwrap();
    let options = serde_json::to_value(&options).unwrap();
    key.flags = UV;
    let answer = serde_json::from_value(key.get(&options, "https://gate.test").json(&key)).unwrap();
    let alone = gate.finish_authentication(&state, &answer, Some(&owned));
    assert_eq!(alone, Err(AssertionError::OtherKind));
}

fn owned(registered: pvegate::gate::ceremony::webauthn::Registered, handle: UserHandle) -> Owned {
    use pvegate::{
        account::{Credential, FactorId, User, UserId},
        time::Timestamp,
    };
    let at = Timestamp::from_secs(0);
    let user = UserId(1);
    Owned {
        credential: Credential {
            id: FactorId::of([1; 16]),
            user,
            kind: registered.kind,
            name: "Key".to_owned(),
            relying_party: "gate.test".to_owned(),
            credential_id: registered.credential_id,
            record: registered.record,
            counter: registered.counter,
            synced: registered.synced,
            aaguid: registered.aaguid,
            transports: registered.transports,
            created_at: at,
            last_used_at: None,
            last_used_from: None,
        },
        user: User {
            id: user,
            name: "alice".parse().unwrap(),
            role: Role::User,
            created_at: at,
            disabled_at: None,
        },
        handle,
    }
}
