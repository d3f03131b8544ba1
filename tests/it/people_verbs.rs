//! The verbs about people: `user`, `invite`, `factor`, `recovery-codes`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use pvegate::{
    account::{CredentialKind, Role},
    store::{Attempt, Guesses, Store as _, Tried},
    time::{Clock as _, SystemClock},
};
use serde_json::{Value, json};

use crate::harness::Place;

#[tokio::test]
async fn people_are_added_listed_and_invited() {
    let place = Place::quiet();

    let nobody = place.run(&["user", "list"]).await;
    let alice = place.run(&["user", "add", "Alice", "--admin"]).await;
    let bob = place.run(&["user", "add", "bob", "--no-invite"]).await;
    let table = place.run(&["user", "list"]).await.ok();

    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(0), ""));
    assert!(nobody.stderr.contains("pvegate user add NAME --admin"), "{}", nobody.stderr);
    assert_eq!(
        alice.stderr,
        "added alice, an administrator\nworks once, within 15m, from an allowed address:\n"
    );
    assert!(alice.ok().starts_with("https://gate.test/_gate/enrol#"));
    assert_eq!(bob.stdout, "", "no link, no data");
    assert_eq!(bob.stderr, "added bob\n`pvegate invite bob` prints a link when they need one\n");
    assert_eq!(
        table,
        "USER   ROLE   STATE                 KEYS  APPS  CODES  LAST SIGN-IN\n\
         alice  admin  invited, 15 min left  0     0     0/0    never\n\
         bob    user   not invited           0     0     0/0    never\n"
    );

    place.sign_in("bob", 0xb0);
    let users = place.run(&["user", "list", "--json"]).await.json();
    let states: Vec<_> = users.iter().map(|user| user["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["invited", "active"]);
    assert_eq!((&users[0]["passkeys"], &users[1]["totp"]), (&0.into(), &1.into()));
    assert!(users[0]["invited_until"].is_string() && users[1]["invited_until"].is_null());
    assert_eq!((&users[0]["admin"], &users[1]["admin"]), (&true.into(), &false.into()));
    assert!(
        place
            .run(&["user", "list"])
            .await
            .ok()
            .ends_with("bob    user   active                0     1     0/0    2 hours ago\n")
    );
}

#[tokio::test]
async fn somebody_with_a_passkey_alone_is_active() {
    let place = Place::quiet();
    place.run(&["user", "add", "alice"]).await.ok();
    place.sign_in_by_passkey("alice", 0xa1);

    let table = place.run(&["user", "list"]).await.ok();
    let users = place.run(&["user", "list", "--json"]).await.json();

    assert!(table.ends_with("\nalice  user  active  1     0     0/0    2 hours ago\n"), "{table}");
    assert_eq!((&users[0]["passkeys"], &users[0]["security_keys"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn a_security_key_is_listed_as_one_and_counts_as_no_way_in() {
    let place = Place::quiet();
    place.run(&["user", "add", "alice"]).await.ok();
    place.sign_in("alice", 0xa1);
    place.sign_in_by_credential("alice", 0xa2, CredentialKind::SecurityKey);

    let table = place.run(&["factor", "list", "alice"]).await.ok();
    let without_yes = place.run(&["factor", "delete", "alice", "a1a1"]).await;
    let key = place.run(&["factor", "delete", "alice", "a2a2"]).await;

    assert!(table.contains("  security-key  Key    "), "{table}");
    assert_eq!(without_yes.code, Some(5));
    assert!(
        without_yes
            .stderr
            .starts_with("pvegate: nothing but security keys of alice would be left, and only a new link"),
        "{}",
        without_yes.stderr
    );
    assert!(key.ok().contains("1 left"));
    assert_eq!(place.store().authenticators(place.id_of("alice")).unwrap().len(), 1);
}

#[tokio::test]
async fn an_invitation_is_one_link_and_for_programs_one_object() {
    let place = Place::quiet();
    place.run(&["user", "add", "alice", "--no-invite"]).await.ok();

    let link = place.run(&["invite", "alice", "--ttl", "2h"]).await;
    let object = place.run(&["--json", "invite", "alice"]).await.json();
    let nobody = place.run(&["--json", "invite", "zed"]).await;
    let twice = place.run(&["user", "add", "alice"]).await;

    assert_eq!(link.stderr, "works once, within 2h, from an allowed address:\n");
    assert_eq!(link.ok().lines().count(), 1, "no QR code where nobody looks");
    assert_eq!(object.len(), 1);
    assert_eq!(object[0]["user"], "alice");
    assert!(object[0]["enrol_url"].as_str().unwrap().contains("/_gate/enrol#"));
    assert!(object[0]["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((nobody.code, twice.code), (Some(4), Some(5)));
    let failure: Value = serde_json::from_str(&nobody.stdout).unwrap();
    assert_eq!(failure["exit"], 4);
    assert_eq!(nobody.stderr, "pvegate: there is no user `zed`; `pvegate user list` names all\n");
    assert_eq!(
        twice.stderr,
        "pvegate: there is a user `alice` already; `pvegate invite alice` makes a new link\n"
    );
    let audit = place.audit();
    let actions: Vec<_> = audit.iter().map(|event| event["event"]["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["user-add", "invite-create", "invite-create"]);
}

/// What was done by whom, from the audit log: action, user, reason.
fn told(place: &Place) -> Vec<(String, String, Option<String>)> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let events = place.audit();
    let of = |event: &Value| {
        let event_of = &event["event"];
        (word(&event_of["action"]).unwrap(), word(&event["user"]["name"]).unwrap(), word(&event_of["reason"]))
    };
    events.iter().map(of).collect()
}

/// Alice and root, who is an administrator; nobody has enrolled.
async fn two_people() -> Place {
    let place = Place::quiet();
    place.run(&["user", "add", "root", "--admin", "--no-invite"]).await.ok();
    place.run(&["user", "add", "alice", "--no-invite"]).await.ok();
    place
}

#[tokio::test]
async fn everything_about_somebody_is_shown_at_once() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);
    place.sign_in_by_passkey("alice", 0xa2);
    place.run(&["invite", "alice", "--ttl", "2h"]).await.ok();

    let text = place.run(&["user", "show", "Alice"]).await.ok();
    let object = place.run(&["user", "show", "alice", "--json"]).await.json().remove(0);
    let nobody = place.run(&["user", "show", "alcie"]).await;

    assert_eq!(
        text,
        "alice
  role            user
  state           active
  added           just now
  last sign-in    2 hours ago
  last active     2 minutes ago
  password        none
  recovery codes  0 of 0
  link            to enrol, made just now, ends in 1 hour
  known devices   0
  codes           not locked, 300 guesses of the year left

Sign-in methods
ID            KIND     NAME   ADDED        LAST USED
a2a2a2a2a2a2  passkey  Key    2 hours ago  2 hours ago
a1a1a1a1a1a1  totp     Phone  2 hours ago  2 hours ago

Sessions
ID            FROM       SIGNED IN    LAST ACTIVE    METHOD
a1ababababab  192.0.2.7  2 hours ago  2 minutes ago  totp
a2ababababab  192.0.2.7  2 hours ago  2 minutes ago  totp
"
    );
    let kinds: Vec<_> = object["methods"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["passkey", "totp"]);
    assert_eq!(
        (&object["sessions"][0]["user"], &object["invitation"]["purpose"]),
        (&json!("alice"), &json!("enrol"))
    );
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(4), ""));
    assert_eq!(nobody.stderr, "pvegate: there is no user `alcie`; did you mean `alice`?\n");
}

#[tokio::test]
async fn a_locked_account_says_from_where_and_what_lifts_it() {
    let place = two_people().await;
    let attempt = Attempt {
        name: Some("alice".parse().unwrap()),
        device: None,
        source: "203.0.113.9".to_owned(),
        at: SystemClock.now(),
    };
    let eight = |_: &Tried| Some(Guesses { in_a_row_from_source: 8, since_success: 8, ..Guesses::default() });
    let _ = place.store().try_code(&attempt, &eight).unwrap();

    let text = place.run(&["user", "show", "alice"]).await.ok();
    let object = place.run(&["user", "show", "alice", "--json"]).await.json().remove(0);
    place.run(&["user", "unlock", "alice"]).await.ok();
    let after = place.run(&["user", "show", "alice", "--json"]).await.json().remove(0);

    assert!(
        text.contains("locked for unknown devices from 203.0.113.9; `pvegate user unlock alice` lifts it"),
        "{text}"
    );
    assert_eq!(
        object["lock"],
        json!({ "state": "sources", "sources": ["203.0.113.9"], "wrong_codes": 8, "guesses_left": 300 })
    );
    assert_eq!(after["lock"]["state"], "none");
}

#[tokio::test]
async fn people_without_a_way_in_and_disabled_ones_are_listed_alone() {
    let place = two_people().await;
    place.run(&["user", "add", "keyonly", "--no-invite"]).await.ok();
    place.sign_in_by_passkey("alice", 0xa1);
    place.sign_in_by_credential("keyonly", 0xa2, CredentialKind::SecurityKey);
    place.run(&["user", "disable", "keyonly", "--reason", "left"]).await.ok();
    let names = async |flags: &[&str]| -> Vec<String> {
        let people = place.run(&[&["--json", "user", "list"], flags].concat()).await.json();
        people.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(names(&["--missing-factor"]).await, ["keyonly", "root"]);
    assert_eq!(names(&["--disabled"]).await, ["keyonly"]);
    assert_eq!(names(&["--disabled", "--missing-factor"]).await, ["keyonly"]);
    place.run(&["user", "enable", "keyonly"]).await.ok();
    let none = place.run(&["user", "list", "--disabled"]).await;
    assert_eq!((none.code, none.stderr.as_str()), (Some(0), "nobody is like that\n"));
}

#[tokio::test]
async fn somebody_is_renamed_with_everything_of_theirs_and_no_name_is_had_twice() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);

    let taken = place.run(&["user", "rename", "alice", "root"]).await;
    let renamed = place.run(&["user", "rename", "alice", "Carol", "--reason", "married"]).await.ok();
    let again = place.run(&["user", "rename", "carol", "carol", "--json"]).await.json();
    let methods = place.run(&["factor", "list", "carol", "--json"]).await.json();
    let activity = place.run(&["activity", "carol", "--json"]).await.json();

    assert_eq!((taken.code, taken.stdout.as_str()), (Some(5), ""));
    assert_eq!(renamed, "alice is carol now, and signs in by that name\n");
    assert_eq!(again, [json!({ "user": "carol", "before": "carol" })]);
    assert_eq!((methods.len(), &methods[0]["user"]), (1, &json!("carol")));
    assert_eq!((activity.len(), &activity[0]["action"]), (1, &json!("user-rename")));
    assert_eq!(place.run(&["user", "show", "alice"]).await.code, Some(4));
    let last = place.audit().pop().unwrap();
    assert_eq!(last["event"]["action"], "user-rename", "a name that was theirs is no change");
    assert_eq!(
        (&last["user"], &last["event"]["reason"]),
        (&json!({ "name": "alice", "changes": { "name": "carol" } }), &json!("married"))
    );
}

#[tokio::test]
async fn an_administrator_is_made_and_unmade_and_the_last_one_stays() {
    let place = two_people().await;

    let last = place.run(&["user", "role", "root", "user"]).await;
    let made = place.run(&["user", "role", "alice", "admin", "--reason", "on call"]).await.ok();
    let again = place.run(&["user", "role", "alice", "admin"]).await.ok();
    let unmade = place.run(&["user", "role", "root", "user", "--json"]).await.json();
    let deleted = place.run(&["user", "delete", "alice", "--yes"]).await;
    let disabled = place.run(&["user", "disable", "alice", "--reason", "x"]).await;
    let wrong = place.run(&["user", "role", "alice", "boss"]).await;

    assert_eq!(made, "alice is an administrator of the gate now\n");
    assert_eq!(again, "alice was an administrator already\n");
    assert_eq!(unmade, [json!({ "user": "root", "role": "user" })]);
    for (refused, name) in [(last, "root"), (deleted, "alice"), (disabled, "alice")] {
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(5), ""), "{refused:?}");
        let words = format!("pvegate: {name} is the last administrator who may sign in; add another");
        assert!(refused.stderr.starts_with(&words), "{}", refused.stderr);
    }
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("[possible values: user, admin]"), "{}", wrong.stderr);
    let roles: Vec<_> = place.store().users().unwrap().into_iter().map(|user| user.role).collect();
    assert_eq!(roles, [Role::Admin, Role::User]);
    let on_call = ("user-role".to_owned(), "alice".to_owned(), Some("on call".to_owned()));
    assert_eq!(told(&place)[2..], [on_call, ("user-role".to_owned(), "root".to_owned(), None)]);
}

#[tokio::test]
async fn somebody_is_deleted_only_by_whoever_says_so_and_with_everything() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);

    let asked = place.run(&["user", "delete", "alice"]).await;
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(5), ""));
    assert_eq!(
        asked.stderr,
        "pvegate: alice is deleted for good, with history, sign-in methods (1) and recovery codes (0): say --yes\n"
    );
    assert_eq!(place.store().users().unwrap().len(), 2, "nothing happened");
    let deleted = place.run(&["user", "delete", "alice", "--yes", "--reason", "left", "--json"]).await.json();

    assert_eq!(deleted, [json!({ "user": "alice", "deleted": true, "ended": 1 })]);
    assert_eq!(place.run(&["user", "delete", "alice", "--yes"]).await.code, Some(4));
    assert_eq!(place.run(&["session", "list"]).await.ok(), "");
    let event = ("user-delete".to_owned(), "alice".to_owned(), Some("left".to_owned()));
    assert_eq!(told(&place).pop().unwrap(), event);
}

#[tokio::test]
async fn links_that_work_are_listed_and_revoked_and_inviting_goes_on_as_it_did() {
    let place = two_people().await;
    place.run(&["user", "add", "list", "--no-invite"]).await.ok();
    place.run(&["invite", "alice", "--ttl", "2h", "--purpose", "recover"]).await.ok();
    let of_list = place.run(&["--json", "invite", "--", "list"]).await.json();

    let table = place.run(&["invite", "list"]).await.ok();
    let objects = place.run(&["invite", "--json", "list"]).await.json();
    let revoked = place.run(&["invite", "revoke", "alice", "--reason", "wrong person"]).await.ok();
    let again = place.run(&["invite", "revoke", "alice"]).await;
    let state = place.run(&["user", "list", "--json"]).await.json().remove(0);

    assert_eq!(of_list[0]["user"], "list", "somebody may be called so");
    assert_eq!(
        table,
        "USER   PURPOSE  MADE      ENDS\n\
         alice  recover  just now  in 1 hour\n\
         list   enrol    just now  in 14 minutes\n"
    );
    assert_eq!((objects.len(), &objects[0]["user"]), (2, &json!("alice")));
    assert_eq!(revoked, "the link of alice does not work any more\n");
    assert_eq!(again.code, Some(4));
    assert_eq!((&state["name"], &state["state"]), (&json!("alice"), &json!("invitation-revoked")));
    let event = ("invite-revoke".to_owned(), "alice".to_owned(), Some("wrong person".to_owned()));
    assert_eq!(told(&place).pop().unwrap(), event);
    for mixed in [&["invite", "alice", "list"][..], &["invite", "--ttl", "2h", "list"], &["invite"]] {
        assert_eq!(place.run(mixed).await.code, Some(2), "{mixed:?}");
    }
    assert_eq!(place.run(&["invite", "list"]).await.ok().lines().count(), 2, "nobody was invited by that");
}

#[tokio::test]
async fn a_sign_in_method_is_found_by_a_unique_beginning_and_renamed() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);
    place.sign_in_by_passkey("alice", 0xa2);

    let several = place.run(&["factor", "rename", "alice", "a", "Work"]).await;
    let unknown = place.run(&["factor", "rename", "alice", "ff", "Work"]).await;
    let empty = place.run(&["factor", "rename", "alice", "a1", " \t "]).await;
    let renamed = place.run(&["factor", "rename", "alice", "A1", " Work\u{1b}[2J phone "]).await.ok();
    let apps = place.run(&["factor", "list", "--type", "totp", "--json"]).await.json();
    let keys = place.run(&["factor", "list", "alice", "--type", "security-key"]).await;

    assert_eq!((several.code, unknown.code, empty.code), (Some(4), Some(4), Some(2)));
    assert_eq!(
        several.stderr,
        "pvegate: more than one sign-in method of alice's identifier begins with `a`: give more of it\n  \
         a2a2a2a2a2a2  passkey \"Key\"\n  a1a1a1a1a1a1  totp \"Phone\"\n"
    );
    assert_eq!(
        renamed, "totp \"Phone\" of alice is called \"Work[2J phone\" now\n",
        "nothing that steers a terminal"
    );
    assert_eq!((apps.len(), &apps[0]["name"]), (1, &json!("Work[2J phone")));
    assert_eq!((keys.code, keys.stderr.as_str()), (Some(0), "no sign-in methods of that kind\n"));
    assert_eq!(told(&place).pop().unwrap().0, "factor-rename");
}

#[tokio::test]
async fn every_sign_in_method_goes_only_when_somebody_says_so() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);
    place.sign_in_by_passkey("alice", 0xa2);

    let asked = place.run(&["factor", "delete", "alice", "--all"]).await;
    assert_eq!(asked.code, Some(5));
    assert!(
        asked.stderr.ends_with("(`pvegate invite alice --purpose recover`): say --yes\n"),
        "{}",
        asked.stderr
    );
    assert_eq!(place.run(&["factor", "list"]).await.ok().lines().count(), 3, "nothing happened");
    let all = ["factor", "delete", "alice", "--all", "--yes", "--reason", "stolen bag", "--json"];
    let gone = place.run(&all).await.json();

    assert_eq!(gone, [json!({ "user": "alice", "removed": 2, "left": 0, "sessions_ended": 2 })]);
    let event = ("factor-remove".to_owned(), "alice".to_owned(), Some("stolen bag".to_owned()));
    assert_eq!(told(&place).pop().unwrap(), event);
}

#[tokio::test]
async fn recovery_codes_come_as_lines_or_as_a_sheet_for_paper() {
    let place = two_people().await;
    place.make_master_key();

    let lines = place.run(&["recovery-codes", "renew", "alice"]).await.ok();
    let sheet = place.run(&["recovery-codes", "renew", "alice", "--print"]).await.ok();
    let status = place.run(&["recovery-codes", "status", "alice"]).await.ok();

    assert_eq!(lines.lines().count(), 10);
    assert!(sheet.contains("  for   alice\n  at    https://gate.test\n"), "{sheet}");
    assert_eq!(sheet.matches("[ ] ").count(), 10, "{sheet}");
    assert!(lines.lines().all(|code| !sheet.contains(code)), "every set is a new one");
    assert_eq!(status, "USER   LEFT\nalice  10 of 10\n");
}

#[tokio::test]
async fn sessions_are_listed_by_where_they_were_opened() {
    let place = two_people().await;
    place.sign_in("alice", 0xa1);

    let there = place.run(&["session", "list", "--from", "192.0.2.0/24", "--json"]).await.json();
    let elsewhere = place.run(&["session", "list", "--from", "192.0.3.7"]).await;

    assert_eq!((there.len(), &there[0]["client"]), (1, &json!("192.0.2.7")));
    assert_eq!((elsewhere.code, elsewhere.stderr.as_str()), (Some(0), "no session is like that\n"));
}

#[tokio::test]
async fn groups_are_joined_and_left_and_the_audit_log_has_each_change() {
    let place = Place::quiet();
    place.run(&["user", "add", "alice", "--no-invite"]).await.ok();

    let none = place.run(&["user", "group", "alice"]).await.ok();
    let joined =
        place.run(&["user", "group", "alice", "--add", "ops", "--add", "admins", "--json"]).await.json();
    let again = place.run(&["user", "group", "alice", "--add", "ops"]).await.ok();
    let moved =
        place.run(&["user", "group", "alice", "--add", "guests", "--remove", "ops", "--json"]).await.json();
    let shown = place.run(&["user", "group", "alice"]).await.ok();

    assert_eq!(none, "alice is in no group\n");
    assert_eq!(joined, [json!({ "user": "alice", "groups": ["admins", "ops"] })]);
    assert_eq!(again, "alice: admins, ops\n");
    assert_eq!(moved, [json!({ "user": "alice", "groups": ["admins", "guests"] })]);
    assert_eq!(shown, "alice: admins, guests\n");
    let changes = place.audit().into_iter().filter(|event| event["event"]["action"] == "user-group");
    let of: Vec<_> = changes.map(|event| event["user"]["name"].clone()).collect();
    assert_eq!(of, ["alice", "alice"], "what changed nothing is no change");

    let nobody = place.run(&["user", "group", "nobody", "--add", "ops"]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(4), ""));
    let no_name = place.run(&["user", "group", "alice", "--add", "no blanks"]).await;
    assert_eq!((no_name.code, no_name.stdout.as_str()), (Some(2), ""));
    assert_eq!(place.run(&["user", "group", "alice"]).await.ok(), "alice: admins, guests\n");
}

#[tokio::test]
async fn what_policies_demand_of_somebody_is_explained_with_the_place_where_it_is_written() {
    let place = Place::quiet();
    for name in ["app", "key", "nobodys"] {
        place.run(&["user", "add", name, "--no-invite"]).await.ok();
    }
    place.sign_in("app", 0xa1);
    place.sign_in_by_passkey("key", 0xa2);
    place.run(&["user", "group", "app", "--add", "ops"]).await.ok();
    place.run(&["user", "group", "key", "--add", "ops"]).await.ok();
    let before = std::fs::read_to_string(place.config()).unwrap();
    // A policy is found by its name, on the line below its head.
    let line = before.lines().count() + 2;
    let policies = "[[policy]]\nname = \"keys for ops\"\ngroups = [\"ops\"]\nrequire = \"passkey\"\n\
                    lifetime = \"2h\"\n\
                    [[policy]]\nname = \"at home\"\nusers = [\"key\"]\nallow = [\"10.0.0.0/8\"]\n";
    std::fs::write(place.config(), before + policies).unwrap();
    let explain = async |address: &str, name: &str| {
        let args = ["access", "explain", address, "--user", name, "--json"];
        place.run(&args).await.json().swap_remove(0)
    };

    #[rustfmt::skip]
    let table = [
        // from          who        verdict      standing     policies that apply
        ("10.1.1.1",    "key",     "forwarded", "meets",     &["keys for ops", "at home"][..]),
        ("192.168.1.1", "key",     "refused",   "elsewhere", &["keys for ops", "at home"]),
        ("10.1.1.1",    "app",     "sign-in",   "enrol",     &["keys for ops"]),
        ("10.1.1.1",    "nobodys", "sign-in",   "meets",     &[]),
    ];
    for (from, name, verdict, standing, applying) in table {
        let answer = explain(from, name).await;
        let demands = &answer["demands"];
        let names: Vec<_> = demands["policies"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, applying, "{from} {name}: {answer}");
        if name != "nobodys" {
            assert_eq!(answer["verdict"], verdict, "{from} {name}: {answer}");
            assert_eq!(demands["standing"], standing, "{from} {name}: {answer}");
        }
    }

    let demands = &explain("10.1.1.1", "app").await["demands"];
    let place_of = &demands["policies"][0]["place"];
    assert_eq!(place_of, &json!(format!("{}:{line}", place.config())));
    assert_eq!(demands["demands"], json!([{ "require": "passkey", "grace": "0s" }]));
    assert_eq!((&demands["lifetime"], &demands["bind"]), (&"2h".into(), &"none".into()));
    assert_eq!((&demands["groups"], &demands["has"]["totp"]), (&json!(["ops"]), &1.into()));
    let text = place.run(&["access", "explain", "10.1.1.1", "--user", "app"]).await.ok();
    assert!(text.contains(&format!("{}:{line}", place.config())), "{text}");
    assert!(text.contains("passkey is to be enrolled first"), "{text}");
}
