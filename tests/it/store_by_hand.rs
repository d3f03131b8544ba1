//! The store in the hands of an administrator with Debian's `sqlite3`: readable, without a secret to be read,
//! and a change that is typed there is heard by the gate that runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    path::Path,
    process::{Command, Output},
};

use pvegate::{
    account::Role,
    store::{Added, Change, SqliteStore, Store as _},
    time::Timestamp,
};

use crate::harness::{Installation, Pve, Scratch, until};

/// What the sqlite3 program makes of a command. `bash tests/run` installs it.
fn sqlite3(store: &Path, command: &str) -> Output {
    Command::new("sqlite3").arg(store).arg(command).output().unwrap()
}

fn says(store: &Path, command: &str) -> String {
    let output = sqlite3(store, command);
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_store_can_be_read_with_sqlite3_and_shows_people_methods_and_sessions_in_words() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let _alice = host.administrator("alice").await;
    host.run(&["user", "add", "bob", "--no-invite"]).await.ok();
    host.run(&["user", "disable", "bob", "--reason", "on leave"]).await.ok();

    let tables = says(&host.store(), ".tables");
    for name in ["user", "session", "authenticator", "credential", "people", "methods", "open_sessions"] {
        assert!(tables.split_whitespace().any(|table| table == name), "{name}: {tables}");
    }
    let people = says(
        &host.store(),
        "SELECT name, role, may_sign_in, apps, recovery_codes, open_sessions FROM people",
    );
    assert_eq!(people, "alice|admin|yes|1|10|1\nbob|user|no|0|0|0\n");
    let methods = says(&host.store(), "SELECT user, kind, name FROM methods");
    assert_eq!(methods, "alice|totp|Phone\n");
    let sessions = says(&host.store(), "SELECT user, client, method, scope FROM open_sessions");
    assert_eq!(sessions, "alice|127.0.0.1|totp|full\n");
    let is_a_time = "GLOB '20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z'";
    for (view, column) in [("people", "added"), ("methods", "added"), ("open_sessions", "ends")] {
        let told = says(&host.store(), &format!("SELECT {column} {is_a_time} FROM {view} LIMIT 1"));
        assert_eq!(told, "1\n", "{view}.{column}");
    }
    assert_eq!(says(&host.store(), "PRAGMA integrity_check"), "ok\n");
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_was_used_can_be_read_in_the_store() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    host.run(&["user", "add", "alice", "--admin", "--no-invite"]).await.ok();
    let link = host.link(&["invite", "alice"]).await;
    let mut alice = host.enrolled("alice", &link).await;
    let used = [("user", "alice"), ("code", alice.codes.last().unwrap())];
    assert_eq!(host.client().post_form("/_gate/recover", &used).await.status, 303);
    assert_eq!(alice.client.get("/").await.status, 200);

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the link's token", link.split_once('#').unwrap().1.into()),
        ("the app's secret", alice.phone.expose().to_vec()),
        (
            "the app's secret as it is scanned",
            data_encoding::BASE32_NOPAD.encode(alice.phone.expose()).into(),
        ),
        ("the master key", std::fs::read_to_string(host.master_key()).unwrap().trim().into()),
    ];
    let cookie = alice.session_cookie().unwrap();
    let bits = cookie.split('.').nth(2).unwrap();
    secrets.push(("the session cookie", bits.into()));
    secrets.push(("what it carries", data_encoding::BASE64URL_NOPAD.decode(bits.as_bytes()).unwrap()));
    for code in &alice.codes {
        secrets.push(("a recovery code", code.clone().into()));
        secrets.push(("a recovery code without dashes", code.replace('-', "").into()));
    }
    // Rows as text, bytes as `X'…'`; and the files themselves, with what was deleted.
    let dump = says(&host.store(), ".dump").to_lowercase();
    assert!(dump.contains("alice") && dump.contains("x'"), "{dump}");
    let files: Vec<u8> = ["", "-wal"]
        .iter()
        .filter_map(|end| std::fs::read(format!("{}{end}", host.store().display())).ok())
        .flatten()
        .collect();
    for (what, secret) in secrets {
        let hex = data_encoding::HEXLOWER.encode(&secret);
        assert!(!dump.contains(&hex), "{what} as bytes");
        if let Ok(text) = String::from_utf8(secret.clone()) {
            assert!(!dump.contains(&text.to_lowercase()), "{what}");
        }
        let found = files.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(&secret));
        assert!(!found, "{what} in the files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_somebody_by_hand_cuts_them_off_within_a_second() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let mut alice = host.administrator("alice").await;
    let bob = {
        host.run(&["user", "add", "bob", "--no-invite"]).await.ok();
        let link = host.link(&["invite", "bob"]).await;
        host.enrolled("bob", &link).await
    };
    let mut bobs = bob.client.clone();
    assert_eq!(bobs.get("/").await.status, 200);

    says(&host.store(), "UPDATE user SET disabled_at = unixepoch() * 1000 WHERE name = 'bob'");

    let heard = until("the gate has heard", async || bobs.get("/_gate/").await.status != 200);
    tokio::time::timeout(std::time::Duration::from_secs(1), heard).await.expect("within a second");
    let seen = pve.requests_seen();
    assert_eq!(bobs.get("/").await.status, 401);
    assert_eq!(pve.requests_seen(), seen, "nothing of his reached Proxmox VE");
    assert_eq!(alice.client.get("/").await.status, 200, "nobody else is concerned");
}

#[test]
fn a_group_that_is_renamed_by_hand_is_heard() {
    let scratch = Scratch::new();
    let path = scratch.path().join("pvegate.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let Added::New(alice) =
        store.add_user(&"alice".parse().unwrap(), Role::User, Timestamp::from_secs(0)).unwrap()
    else {
        panic!("nobody was there before");
    };
    assert!(store.regroup(alice.id, &["staff".parse().unwrap()], &[]).unwrap());
    assert_eq!(store.changes().unwrap(), []);

    says(&path, "UPDATE user_group SET name = 'ops' WHERE name = 'staff'");

    assert!(store.changes().unwrap().contains(&Change::User(alice.id)));
}
