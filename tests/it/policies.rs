//! `[[policy]]`: what is demanded of people, at sign-in and of sessions that are open.
//!
//! Each refusal also looks at the far side: whoever does not meet what is demanded reaches no Proxmox VE.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{
    account::{ByRequirement, EndReason, GroupName, Role, Scope, SessionId},
    config, names,
    store::{Added, Store as _},
    time::Clock as _,
};
use serde_json::json;

use crate::{
    authenticator::Authenticator,
    harness::{Client, Person, Pve, Recipe, Reply, TestGate, printed_codes, state_of, until},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gate with one policy of these lines, at which one source may try as often as these tests do.
fn with_policy(pve: &Pve, lines: &str) -> Recipe {
    busy(TestGate::recipe(pve)).tables(&policy(lines))
}

fn busy(recipe: Recipe) -> Recipe {
    recipe.set("limits.sign_ins", "10000").set("access.allow", "127.0.0.0/8")
}

fn policy(lines: &str) -> String {
    format!("[[policy]]\nname = \"test\"\n{lines}\n")
}

/// Puts these policies in place of those that the running gate has.
fn tighten(gate: &TestGate, lines: &str) {
    let text = std::fs::read_to_string(gate.dir().join("pvegate.toml")).unwrap() + &policy(lines);
    let (config, _) = config::parse(&text, "test", []).unwrap_or_else(|problems| panic!("{problems}"));
    gate.stages.gate.set_policies(config.gate.policies());
}

/// Makes a passkey with the form of this page, and goes on to the end of the enrolment.
async fn make_passkey(client: &mut Client, gate: &TestGate, page: &Reply, key: &mut Authenticator) -> Reply {
    let state = state_of(&page.text()).unwrap_or_else(|| panic!("{} {}", page.status, page.text()));
    let asked = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let made = key.create(&asked["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": asked["state"], "name": "Key", "credential": made });
    let reply = client.post_json("/_gate/passkey/create", &body).await;
    if reply.status != 200 {
        return reply;
    }
    let state = reply.json()["state"].as_str().unwrap().to_owned();
    let reply = client.post_form("/_gate/enrol", &[("state", &state), ("name", "Key")]).await;
    let Some(code) = printed_codes(&reply.text()).first().cloned() else { return reply };
    let state = state_of(&reply.text()).unwrap();
    client.post_form("/_gate/enrol", &[("state", &state), ("typed", &code)]).await
}

/// Makes a passkey in a session that may only enrol.
async fn enrol_passkey(client: &mut Client, gate: &TestGate, key: &mut Authenticator) -> Reply {
    let page = client.navigate("/_gate/enrol").await;
    make_passkey(client, gate, &page, key).await
}

/// Takes up an invitation with a passkey.
async fn invited_with_passkey(gate: &TestGate, name: &str, key: &mut Authenticator) -> (Client, Reply) {
    let link = gate.invite(name).link(&gate.config.gate.public_url);
    let token = link.split_once('#').unwrap().1.to_owned();
    let mut client = gate.client();
    let page = client.post_form("/_gate/enrol", &[("token", &token)]).await;
    let done = make_passkey(&mut client, gate, &page, key).await;
    (client, done)
}

async fn sign_in_by_passkey(client: &mut Client, gate: &TestGate, key: &mut Authenticator) -> Reply {
    let asked = client.post_json("/_gate/passkey/sign-in-options", &json!({})).await.json();
    let answer = key.get(&asked["publicKey"], &gate.url()).json(key);
    let body = json!({ "state": asked["state"], "credential": answer });
    client.post_json("/_gate/passkey/sign-in", &body).await
}

/// Somebody with an app and a passkey: invited, then a second method by a proof.
async fn with_app_and_passkey(gate: &TestGate, name: &str, key: &mut Authenticator) -> Person {
    let mut person = gate.person(name).await;
    let code = person.wait_for_next_code(gate);
    let page = person.client.post_form("/_gate/methods/new", &[("code", &code)]).await;
    let done = make_passkey(&mut person.client, gate, &page, key).await;
    assert_eq!(done.status, 303, "{}", done.text());
    person
}

/// Whether Proxmox VE answers, and whether it was asked.
async fn reaches_pve(pve: &Pve, client: &Client) -> bool {
    let before = pve.requests_seen();
    let status = client.clone().get("/").await.status;
    let asked = pve.requests_seen() > before;
    assert_eq!(status != 401, asked, "{status}: what is refused never gets there");
    asked
}

fn session_of(client: &Client, gate: &TestGate) -> (SessionId, Scope, Option<EndReason>) {
    assert!(client.cookie(names::SESSION_COOKIE).is_some());
    let mut store = gate.store();
    let all = store.live_sessions(gate.clock.now()).unwrap();
    let last = all.last().unwrap();
    (last.id, last.scope, last.ended.map(|(_, reason)| reason))
}

fn last_reason(gate: &TestGate, action: &str) -> String {
    let event = gate.audit().into_iter().rfind(|event| event["event"]["action"] == action).unwrap();
    event["pvegate"]["reason"].as_str().unwrap_or_default().to_owned()
}

fn join(gate: &TestGate, name: &str, group: &str, joins: bool) {
    let mut store = gate.store();
    let user = store.user_by_name(&name.parse().unwrap()).unwrap().unwrap().id;
    let group: [GroupName; 1] = [group.parse().unwrap()];
    let (join, leave): (&[_], &[_]) = if joins { (&group, &[]) } else { (&[], &group) };
    assert!(store.regroup(user, join, leave).unwrap());
}

#[tokio::test]
async fn who_has_no_passkey_where_one_is_demanded_enrols_one_and_goes_on() {
    let pve = Pve::start().await;
    let easy = busy(TestGate::recipe(&pve)).start().await;
    let mut alice = easy.person("alice").await;
    let strict = busy(easy.another(&pve)).tables(&policy("require = \"passkey\""));
    easy.stop().await;
    let gate = strict.start().await;
    alice.client = gate.client();

    let signed_in = alice.sign_in(&gate).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    assert_eq!(session_of(&alice.client, &gate).1, Scope::EnrolOnly);
    assert!(!reaches_pve(&pve, &alice.client).await);
    assert_eq!(alice.client.navigate("/").await.location(), Some("/_gate/enrol"));
    let page = alice.client.navigate("/_gate/enrol").await.text();
    assert!(page.contains("you need a passkey or a security key"), "{page}");
    assert!(!page.contains("value=\"totp\""), "another app would not help: {page}");

    let done = enrol_passkey(&mut alice.client, &gate, &mut Authenticator::synced()).await;

    assert_eq!(done.status, 303, "{}", done.text());
    assert!(reaches_pve(&pve, &alice.client).await);
}

#[tokio::test]
async fn who_has_a_passkey_is_told_to_use_it_only_after_the_code_was_right() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let mut key = Authenticator::synced();
    let mut alice = with_app_and_passkey(&gate, "alice", &mut key).await;
    tighten(&gate, "require = \"passkey\"\ngrace = \"30d\"");

    let wrong = alice.sign_in_with("000000").await.text();
    let right = alice.sign_in(&gate).await;
    let replayed = alice.code(&gate);
    let replayed = alice.sign_in_with(&replayed).await.text();

    let told = ">The code was right, and here it is not enough. Sign in with your passkey or security key";
    assert!(!wrong.contains(told), "{wrong}");
    assert_eq!(right.status, 403);
    assert!(right.text().contains(told), "{}", right.text());
    assert!(!replayed.contains(told), "the code is spent: {replayed}");
    assert!(gate.audit().iter().any(|event| event["pvegate"]["reason"] == "policy_method"));
    let mut elsewhere = gate.client();
    assert_eq!(sign_in_by_passkey(&mut elsewhere, &gate, &mut key).await.status, 200);
    assert!(reaches_pve(&pve, &elsewhere).await);
}

#[tokio::test]
async fn grace_lets_people_in_with_a_date_and_ends_by_itself() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "require = \"passkey\"\ngrace = \"2d\"").start().await;
    let mut alice = gate.person("alice").await;
    let began = gate.clock.now();
    assert!(reaches_pve(&pve, &alice.client).await, "the first method counts");

    gate.clock.advance(DAY);
    let signed_in = alice.sign_in(&gate).await;
    assert_eq!(signed_in.location(), Some("/_gate/demanded"));
    let page = alice.client.navigate("/_gate/demanded").await.text();
    let until = began.plus(2 * DAY);
    assert!(page.contains(&format!("datetime=\"{until}\"")), "{until}: {page}");
    assert!(page.contains("href=\"/_gate/methods/new\"") && page.contains("href=\"/\""), "{page}");
    assert!(reaches_pve(&pve, &alice.client).await);

    gate.clock.advance(DAY - HOUR);
    assert_eq!(alice.sign_in(&gate).await.location(), Some("/_gate/demanded"));
    let mut console = alice.console().await;
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]));
    gate.clock.advance(HOUR - Duration::from_secs(60));
    assert_eq!(console.echo(b"y").await.as_deref(), Some(&b"y"[..]));
    gate.clock.advance(Duration::from_secs(60));

    let closed = tokio::time::timeout(Duration::from_secs(5), console.receive()).await;
    assert_eq!(closed.unwrap(), None, "the console closes with the grace");
    assert!(!reaches_pve(&pve, &alice.client).await);
    assert_eq!(alice.sign_in(&gate).await.status, 303);
    assert_eq!(session_of(&alice.client, &gate).1, Scope::EnrolOnly, "and does not begin again");
    assert!(!reaches_pve(&pve, &alice.client).await);
}

#[tokio::test]
async fn a_recovery_code_opens_only_the_way_to_enrol_what_is_demanded_grace_or_not() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "require = \"passkey\"\ngrace = \"30d\"").start().await;
    let mut alice = gate.person("alice").await;
    let code = alice.codes[0].clone();
    let mut elsewhere = gate.client();

    let reply = elsewhere.post_form("/_gate/recover", &[("user", "alice"), ("code", &code)]).await;

    assert_eq!(reply.status, 303, "{}", reply.text());
    assert_eq!(session_of(&elsewhere, &gate).1, Scope::EnrolOnly);
    assert!(!reaches_pve(&pve, &elsewhere).await);
    assert_eq!(enrol_passkey(&mut elsewhere, &gate, &mut Authenticator::new()).await.status, 303);
    assert!(reaches_pve(&pve, &elsewhere).await);
    alice.sign_out().await;
}

#[tokio::test]
async fn who_shows_nothing_starts_nobodys_grace() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "require = \"passkey\"\ngrace = \"1h\"").start().await;
    let name = "alice".parse().unwrap();
    let Added::New(user) = gate.store().add_user(&name, Role::User, gate.clock.now()).unwrap() else {
        panic!("nobody was there before");
    };
    let mut stranger = gate.client();

    let recovery = [("user", "alice"), ("code", "aaaa-bbbb-cccc-dddd")];
    assert_eq!(stranger.post_form("/_gate/recover", &recovery).await.status, 403);
    assert_eq!(last_reason(&gate, "recovery-use"), "bad_code");
    let code = [("user", "alice"), ("code", "123456")];
    assert_eq!(stranger.post_form("/_gate/sign-in", &code).await.status, 403);

    assert_eq!(gate.store().person(user.id).unwrap().unwrap().demanded, ByRequirement::default());
}

#[tokio::test]
async fn two_keys_are_two_keys() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "require = \"two-keys\"").start().await;
    let (mut first, mut second) = (Authenticator::new(), Authenticator::synced());

    let (mut client, done) = invited_with_passkey(&gate, "alice", &mut first).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(!reaches_pve(&pve, &client).await, "one is not two");
    let page = client.navigate("/_gate/enrol").await.text();
    assert!(page.contains("you need two keys"), "{page}");
    let done = enrol_passkey(&mut client, &gate, &mut second).await;
    assert_eq!(done.status, 303, "{}", done.text());

    assert!(reaches_pve(&pve, &client).await);
    let mut elsewhere = gate.client();
    assert_eq!(sign_in_by_passkey(&mut elsewhere, &gate, &mut first).await.status, 200);
    assert!(reaches_pve(&pve, &elsewhere).await);
}

#[tokio::test]
async fn a_key_that_is_removed_under_two_keys_ends_sessions_and_consoles_within_a_second() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let (mut first, mut second) = (Authenticator::new(), Authenticator::new());
    let mut alice = with_app_and_passkey(&gate, "alice", &mut first).await;
    let code = alice.wait_for_next_code(&gate);
    let page = alice.client.post_form("/_gate/methods/new", &[("code", &code)]).await;
    make_passkey(&mut alice.client, &gate, &page, &mut second).await;
    alice.client = gate.client();
    assert_eq!(sign_in_by_passkey(&mut alice.client, &gate, &mut first).await.status, 200);
    tighten(&gate, "require = \"two-keys\"");
    let mut console = alice.console().await;
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]));
    let (id, ..) = session_of(&alice.client, &gate);

    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let key = store.credentials(user).unwrap().pop().unwrap();
    let _ = store.give_up_factor(user, &key.id).unwrap();

    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None);
    assert!(!reaches_pve(&pve, &alice.client).await);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
    until("the store has heard of it", async || {
        gate.store().session(id).unwrap().unwrap().ended.map(|(_, reason)| reason) == Some(EndReason::Policy)
    })
    .await;
    until("the audit log has it", async || {
        gate.audit().iter().any(|event| event["event"]["action"] == "session-end")
    })
    .await;
    assert_eq!(last_reason(&gate, "session-end"), "policy");
    let page = alice.client.navigate("/_gate/sign-in").await.text();
    assert!(page.contains("What is asked of you to work here has changed"), "{page}");
}

#[tokio::test]
async fn a_synced_passkey_is_no_security_key() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let (mut cloud, mut stick) = (Authenticator::synced(), Authenticator::new());
    let mut alice = with_app_and_passkey(&gate, "alice", &mut cloud).await;
    let code = alice.codes[0].clone();
    tighten(&gate, "require = \"security-key\"");

    alice.client = gate.client();
    let reply = alice.client.post_form("/_gate/recover", &[("user", "alice"), ("code", &code)]).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    let refused = enrol_passkey(&mut alice.client, &gate, &mut Authenticator::synced()).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (403, &json!("unbound")));
    let done = enrol_passkey(&mut alice.client, &gate, &mut stick).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(reaches_pve(&pve, &alice.client).await);

    let mut elsewhere = gate.client();
    let refused = sign_in_by_passkey(&mut elsewhere, &gate, &mut cloud).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (403, &json!("unbound")));
    assert!(elsewhere.cookie(names::SESSION_COOKIE).is_none());
    assert_eq!(sign_in_by_passkey(&mut elsewhere, &gate, &mut stick).await.status, 200);
    assert!(reaches_pve(&pve, &elsewhere).await);
}

#[tokio::test]
async fn a_password_beside_the_code_is_enough_where_that_is_demanded() {
    let pve = Pve::start().await;
    let gate =
        with_policy(&pve, "require = \"password+totp\"").set("auth.password", "with-totp").start().await;
    let token = gate.invite("alice");
    let (mut alice, state) = Person::scan(&gate, "alice", &token).await.map_err(|page| page.text()).unwrap();
    let code = alice.code(&gate);
    let password = "correct horse battery staple";
    let fields = [("state", state.as_str()), ("name", ""), ("code", &code), ("password", password)];
    let page = alice.client.post_form("/_gate/enrol", &fields).await;
    let typed = printed_codes(&page.text())[0].clone();
    let state = state_of(&page.text()).unwrap();
    let done = alice.client.post_form("/_gate/enrol", &[("state", &state), ("typed", &typed)]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(reaches_pve(&pve, &alice.client).await);

    let mut elsewhere = gate.client();
    let code = alice.wait_for_next_code(&gate);
    let fields = [("user", "alice"), ("code", code.as_str()), ("password", password)];
    assert_eq!(elsewhere.post_form("/_gate/sign-in", &fields).await.status, 303);
    assert!(reaches_pve(&pve, &elsewhere).await);
}

#[tokio::test]
async fn policies_that_get_stricter_end_what_is_open_and_consoles_within_a_second() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]));

    tighten(&gate, "require = \"passkey\"");

    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None);
    assert!(!reaches_pve(&pve, &alice.client).await);
}

#[tokio::test]
async fn a_restart_with_stricter_policies_ends_what_was_open() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let alice = gate.person("alice").await;
    assert!(reaches_pve(&pve, &alice.client).await);
    let stricter = busy(gate.another(&pve)).tables(&policy("require = \"passkey\""));
    gate.stop().await;

    let gate = stricter.start().await;

    let mut client = gate.client();
    client.set_cookie(names::SESSION_COOKIE, alice.session_cookie().unwrap());
    assert!(!reaches_pve(&pve, &client).await);
}

#[tokio::test]
async fn a_group_that_somebody_joins_takes_effect_within_a_second() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "groups = [\"ops\"]\nrequire = \"passkey\"").start().await;
    let mut alice = gate.person("alice").await;
    let bob = gate.person("bob").await;
    let mut console = alice.console().await;
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]));

    join(&gate, "alice", "ops", true);

    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None);
    assert!(!reaches_pve(&pve, &alice.client).await);
    assert!(reaches_pve(&pve, &bob.client).await, "who is in no group is not concerned");

    join(&gate, "alice", "ops", false);
    assert_eq!(alice.sign_in(&gate).await.status, 303);
    assert!(reaches_pve(&pve, &alice.client).await);
}

#[tokio::test]
async fn who_moves_out_of_the_allowed_networks_is_out_and_told_so_only_with_a_proof() {
    let pve = Pve::start().await;
    let gate = with_policy(&pve, "allow = [\"127.0.0.1/32\"]").start().await;
    let mut alice = gate.person("alice").await;
    let code = alice.codes[0].clone();
    let mut console = alice.console().await;
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]));

    let away = alice.client.clone().from("127.0.0.9");
    assert!(!reaches_pve(&pve, &away).await);
    let closed = tokio::time::timeout(Duration::from_secs(1), console.receive()).await;
    assert_eq!(closed.unwrap(), None);
    assert!(!reaches_pve(&pve, &alice.client).await, "it is over at home as well");

    // The words for the page's script are in every page.
    let told = ">That was right, but you may not sign in from this network";
    let mut there = Person { client: gate.client().from("127.0.0.9"), codes: Vec::new(), ..alice };
    assert!(!there.sign_in_with("000000").await.text().contains(told));
    let right = there.sign_in(&gate).await;
    assert_eq!(right.status, 403);
    assert!(right.text().contains(told), "{}", right.text());
    assert_eq!(last_reason(&gate, "sign-in"), "policy_network");
    let recover = |code: &str| vec![("user", "alice".to_owned()), ("code", code.to_owned())];
    for (typed, is_told) in [("aaaa-bbbb-cccc-dddd", false), (code.as_str(), true), (code.as_str(), true)] {
        let fields = recover(typed);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = there.client.post_form("/_gate/recover", &fields).await;
        assert_eq!((reply.status.as_u16(), reply.text().contains(told)), (403, is_told), "{typed}");
    }
    let link = gate.invite("carol").link(&gate.config.gate.public_url);
    let token = link.split_once('#').unwrap().1;
    let page = there.client.post_form("/_gate/enrol", &[("token", token)]).await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains(told), "{}", page.text());

    there.client = gate.client();
    let fields = recover(&code);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = there.client.post_form("/_gate/recover", &fields).await;
    assert_eq!(reply.status, 303, "the code was not spent elsewhere");
    assert!(reaches_pve(&pve, &there.client).await);
}

#[tokio::test]
async fn a_network_with_a_stricter_policy_asks_for_more_when_somebody_comes_there() {
    let pve = Pve::start().await;
    let lines = "networks = [\"127.0.0.9/32\"]\nrequire = \"passkey\"";
    let gate = with_policy(&pve, lines).start().await;
    let mut alice = gate.person("alice").await;
    assert!(reaches_pve(&pve, &alice.client).await);

    assert!(!reaches_pve(&pve, &alice.client.clone().from("127.0.0.9")).await);

    assert_eq!(alice.sign_in(&gate).await.status, 303);
    assert!(reaches_pve(&pve, &alice.client).await);
}

#[tokio::test]
async fn a_session_that_is_bound_ends_where_it_leaves_its_place() {
    let pve = Pve::start().await;
    for (bind, near, far) in [("address", false, false), ("network", true, false)] {
        let gate = with_policy(&pve, &format!("bind = \"{bind}\"")).start().await;
        let alice = gate.person("alice").await;

        assert_eq!(reaches_pve(&pve, &alice.client.clone().from("127.0.0.9")).await, near, "{bind}");
        assert_eq!(reaches_pve(&pve, &alice.client.clone().from("127.0.7.1")).await, far, "{bind}");
        assert!(!reaches_pve(&pve, &alice.client).await, "{bind}: it is over everywhere");
        gate.stop().await;
    }
}

#[tokio::test]
async fn shorter_limits_hold_for_sessions_that_are_open() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let mut alice = gate.person("alice").await;
    let mut console = alice.console().await;
    tighten(&gate, "lifetime = \"2h\"\nidle = \"10m\"\nconsole_idle = \"30m\"");

    gate.clock.advance(Duration::from_secs(9 * 60));
    assert!(reaches_pve(&pve, &alice.client).await);
    assert_eq!(alice.client.navigate("/").await.status, 200);
    gate.clock.advance(Duration::from_secs(10 * 60));
    assert!(!reaches_pve(&pve, &alice.client).await, "ten minutes without a hand");
    assert_eq!(console.echo(b"x").await.as_deref(), Some(&b"x"[..]), "a console has its own limit");
    gate.clock.advance(Duration::from_secs(30 * 60));
    let closed = tokio::time::timeout(Duration::from_secs(5), console.receive()).await;
    assert_eq!(closed.unwrap(), None);

    assert_eq!(alice.sign_in(&gate).await.status, 303);
    for _ in 0..13 {
        gate.clock.advance(Duration::from_secs(9 * 60));
        assert_eq!(alice.client.navigate("/").await.status, 200);
    }
    gate.clock.advance(Duration::from_secs(3 * 60));
    assert!(!reaches_pve(&pve, &alice.client).await, "two hours are over");
}

#[tokio::test]
async fn grace_that_begins_while_somebody_works_is_written_down() {
    let pve = Pve::start().await;
    let gate = busy(TestGate::recipe(&pve)).start().await;
    let alice = gate.person("alice").await;
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;

    tighten(&gate, "require = \"passkey\"\ngrace = \"1h\"");

    let began = gate.clock.now();
    assert!(reaches_pve(&pve, &alice.client).await);
    until("it is in the store", async || {
        gate.store().person(user).unwrap().unwrap().demanded.passkey == Some(began)
    })
    .await;
    gate.clock.advance(HOUR);
    assert!(!reaches_pve(&pve, &alice.client).await);
}
