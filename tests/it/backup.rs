//! `backup` and `restore`, as an administrator runs them: while the gate serves, and on a host that has nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
};

use serde_json::json;

use crate::{
    authenticator::Authenticator,
    harness::{Client, Ended, Installation, Person, Pve, code_now, state_of},
};

const WORDS: &str = "correct horse battery staple";

/// Backs up into a file beside what the gate keeps.
async fn back_up(host: &Installation, more: &[&str]) -> String {
    let file = host.dir().join("gate.backup").display().to_string();
    host.run_told(WORDS, &[&["backup", &file, "--yes"], more].concat()).await.ok();
    file
}

async fn restore(host: &Installation, file: &str, words: &str, more: &[&str]) -> Ended {
    host.run_told(words, &[&["restore", file], more].concat()).await
}

/// Every file below a directory, with what is in it.
fn everything(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Adds a passkey, proven by a recovery code.
async fn add_passkey(host: &Installation, person: &mut Person) -> Authenticator {
    let mut key = Authenticator::synced();
    let client = &mut person.client;
    let permitted = client.post_form("/_gate/methods/new", &[("recovery", &person.codes[0])]).await;
    let state = state_of(&permitted.text()).unwrap_or_else(|| panic!("{}", permitted.text()));
    let options = client.post_json("/_gate/passkey/create-options", &json!({ "state": state })).await.json();
    let made = key.create(&options["publicKey"], host.url()).json(&key);
    let body = json!({ "state": options["state"], "name": "Laptop", "credential": made });
    let made = client.post_json("/_gate/passkey/create", &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let state = made.json()["state"].as_str().unwrap().to_owned();
    let added = client.post_form("/_gate/enrol", &[("state", &state), ("name", "Laptop")]).await;
    assert_eq!(added.status, 303, "{}", added.text());
    key
}

/// Signs in with a passkey; whether that led in.
async fn by_passkey(host: &Installation, mut client: Client, key: &mut Authenticator) -> bool {
    let asked = client.post_json("/_gate/passkey/sign-in-options", &json!({ "user": "alice" })).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let asked = asked.json();
    let answer = key.get(&asked["publicKey"], host.url()).json(key);
    let body = json!({ "state": asked["state"], "credential": answer });
    let reply = client.post_json("/_gate/passkey/sign-in", &body).await;
    reply.status == 200 && client.get("/").await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_serving_gate_brings_a_fresh_host_to_where_it_was() {
    let pve = Pve::start().await;
    let old = Installation::new(&pve);
    let serving = old.serve();
    let mut alice = old.administrator("alice").await;
    let mut key = add_passkey(&old, &mut alice).await;
    let file = back_up(&old, &[]).await;
    // What is done after the backup is not in it.
    assert_eq!(alice.client.get("/").await.status, 200, "the gate serves on");
    old.run(&["user", "add", "later", "--no-invite"]).await.ok();
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(pve.requests_seen(), 1);

    let fresh = Installation::in_place_of(&old, &pve);
    let told = restore(&fresh, &file, WORDS, &["--keep-config", "--json"]).await.json();
    assert_eq!((&told[0]["users"], &told[0]["restored"]), (&json!(1), &json!(true)));
    drop(old);
    let _serving = fresh.serve();

    assert_eq!(fresh.browser_of(&alice).get("/").await.status, 200, "the session is open, by the old cookie");
    let mut client = fresh.client();
    let fields = [("user", "alice"), ("code", &code_now(&alice, 1))];
    let by_code = client.post_form("/_gate/sign-in", &fields).await;
    assert_eq!((by_code.status.as_u16(), client.get("/").await.status.as_u16()), (303, 200), "the old app");
    assert!(by_passkey(&fresh, fresh.client(), &mut key).await, "the old passkey");
    let used = [("user", "alice"), ("code", alice.codes[0].as_str())];
    assert_eq!(fresh.client().post_form("/_gate/recover", &used).await.status, 403, "spent stays spent");
    let unused = [("user", "alice"), ("code", alice.codes[1].as_str())];
    assert_eq!(fresh.client().post_form("/_gate/recover", &unused).await.status, 303, "the old codes");
    assert_eq!(pve.requests_seen(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_host_has_every_file_as_it_was_and_keeps_what_it_had() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let serving = host.serve();
    let alice = host.administrator("alice").await;
    let file = back_up(&host, &[]).await;
    assert_eq!(serving.terminate(), Some(0));
    let key = fs::read(host.master_key()).unwrap();
    let config = fs::read(host.config()).unwrap();
    let ca = fs::read(host.dir().join("state/local-ca/ca.key")).unwrap();

    // Another life begins in the same place.
    fs::write(host.master_key(), "0".repeat(64)).unwrap();
    host.run(&["panic", "alice"]).await.ok();
    let refused = restore(&host, &file, WORDS, &[]).await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("pvegate.db") && refused.stderr.contains("--yes"), "{}", refused.stderr);
    let told = restore(&host, &file, WORDS, &["--yes"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains(".before-restore"), "{}", told.stderr);

    assert_eq!(fs::read(host.master_key()).unwrap(), key);
    assert_eq!(fs::read(host.config()).unwrap(), config);
    assert_eq!(fs::read(host.dir().join("state/local-ca/ca.key")).unwrap(), ca);
    let before = fs::read_to_string(host.dir().join("state/master.key.before-restore")).unwrap();
    assert_eq!(before, "0".repeat(64), "what was there is not lost");
    for secret in ["state/master.key", "state/pvegate.db", "state/local-ca/ca.key", "gate.backup"] {
        let mode = fs::metadata(host.dir().join(secret)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{secret}");
    }
    let _serving = host.serve();
    assert_eq!(host.browser_of(&alice).get("/").await.status, 200, "as if nobody had locked her");
    let audit = fs::read_to_string(host.dir().join("log/audit.jsonl")).unwrap();
    for action in ["\"action\":\"backup\"", "\"action\":\"restore\""] {
        assert_eq!(audit.matches(action).count(), 1, "{action}");
    }
    assert!(!audit.contains(WORDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_restores_twice_still_has_what_was_there_at_first() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    host.run(&["user", "add", "alice", "--no-invite"]).await.ok();
    let file = back_up(&host, &[]).await;
    host.run(&["user", "add", "bob", "--no-invite"]).await.ok();

    for _ in 0..3 {
        assert_eq!(restore(&host, &file, WORDS, &["--yes"]).await.code, Some(0));
    }

    let kept = |behind: &str| fs::read(host.dir().join(format!("state/pvegate.db.before-restore{behind}")));
    let knows_bob = |database: &[u8]| database.windows(3).any(|name| name == b"bob");
    assert!(knows_bob(&kept("").unwrap()), "what the first one found");
    assert!(!knows_bob(&kept(".2").unwrap()), "what the second one found");
    assert!(kept(".3").is_ok() && kept(".4").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_the_place_of_a_file_alone() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    host.run(&["user", "add", "alice", "--no-invite"]).await.ok();
    let socket = host.dir().join("socket");
    let _there = std::os::unix::net::UnixListener::bind(&socket).unwrap();

    let refused = host.run_told(WORDS, &["backup", &socket.display().to_string(), "--yes"]).await;

    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("is no file"), "{}", refused.stderr);
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket(), "such as /dev/stdout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_runs_is_never_restored_under_its_feet() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let _serving = host.serve();
    let mut alice = host.administrator("alice").await;
    let file = back_up(&host, &[]).await;
    let key = fs::read(host.master_key()).unwrap();
    host.run(&["user", "add", "bob", "--no-invite"]).await.ok();

    let refused = restore(&host, &file, WORDS, &["--yes"]).await;

    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("stop it first"), "{}", refused.stderr);
    assert_eq!(fs::read(host.master_key()).unwrap(), key);
    assert!(!everything(host.dir()).keys().any(|name| name.contains(".new") || name.contains(".before")));
    assert_eq!(alice.client.get("/").await.status, 200);
    assert_eq!(host.run(&["--json", "user", "list"]).await.json().len(), 2, "bob is there");
    // It hears of changes as before.
    host.run(&["session", "revoke", "--all"]).await.ok();
    crate::harness::until("the session ended", async || alice.client.get("/_gate/").await.status != 200)
        .await;
    assert_eq!(alice.client.get("/").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_or_is_not_whole_writes_nothing() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let serving = host.serve();
    let _alice = host.administrator("alice").await;
    let file = back_up(&host, &[]).await;
    assert_eq!(serving.terminate(), Some(0));
    let whole = fs::read(&file).unwrap();
    let fresh = Installation::in_place_of(&host, &pve);
    let empty = everything(fresh.dir());
    let changed = |byte: usize| {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1;
        bytes
    };
    let damaged = host.dir().join("damaged");
    let again = "take another copy";

    for (case, bytes, words, told) in [
        ("another passphrase", whole.clone(), "correct horse battery stapl", "not that of this backup"),
        ("no passphrase", whole.clone(), "", "not that of this backup"),
        ("cut off in its contents", whole[..whole.len() - 1000].to_vec(), WORDS, again),
        ("cut off in its header", whole[..40].to_vec(), WORDS, again),
        ("a changed byte in the middle", changed(whole.len() / 2), WORDS, again),
        ("a changed last byte", changed(whole.len() - 1), WORDS, again),
        ("something else", b"SQLite format 3\0".to_vec(), WORDS, "no backup of pvegate"),
        ("nothing", Vec::new(), WORDS, "no backup of pvegate"),
    ] {
        fs::write(&damaged, bytes).unwrap();
        for more in [&["--keep-config", "--yes"][..], &["--verify"]] {
            let ended = restore(&fresh, damaged.to_str().unwrap(), words, more).await;
            assert_eq!(ended.code, Some(1), "{case}: {ended:?}");
            assert!(ended.stderr.contains(told), "{case}: {}", ended.stderr);
        }
        assert_eq!(everything(fresh.dir()), empty, "{case}");
    }

    let good = restore(&fresh, &file, WORDS, &["--verify", "--json"]).await.json();
    let sha256 = data_encoding::HEXLOWER.encode(&pvegate::secret::sha256(&whole));
    assert_eq!(good[0]["sha256"], json!(sha256));
    assert_eq!(
        (&good[0]["users"], &good[0]["schema"], &good[0]["restored"]),
        (&json!(1), &json!(1), &json!(false))
    );
    assert_eq!(everything(fresh.dir()), empty, "to verify writes nothing");
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_shows_nothing_of_what_is_in_it_and_sessions_can_stay_out() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let serving = host.serve();
    let alice = host.administrator("alice").await;
    let key = fs::read_to_string(host.master_key()).unwrap();
    let words = host.dir().join("passphrase");
    fs::write(&words, format!("{WORDS}\nnot this\n")).unwrap();
    let file = host.dir().join("gate.backup").display().to_string();
    let from_file = ["--passphrase-file", words.to_str().unwrap()];

    host.run(&[&["backup", &file, "--without-sessions"], &from_file[..]].concat()).await.ok();
    let twice = host.run(&[&["backup", &file], &from_file[..]].concat()).await;
    assert_eq!(twice.code, Some(5), "{twice:?}");
    let short = host.run_told("too short", &["backup", &file, "--yes"]).await;
    assert_eq!(short.code, Some(1), "{short:?}");
    assert!(short.stderr.contains("at least 12 characters"), "{}", short.stderr);

    let bytes = fs::read(&file).unwrap();
    for plain in ["SQLite", "alice", "public_url", "PRIVATE KEY", "manifest", key.trim(), WORDS] {
        let there = bytes.windows(plain.len()).any(|window| window == plain.as_bytes());
        assert!(!there, "{plain}");
    }
    assert_eq!(serving.terminate(), Some(0));
    let fresh = Installation::in_place_of(&host, &pve);
    let told =
        fresh.run(&[&["restore", &file, "--keep-config", "--json"], &from_file[..]].concat()).await.json();
    assert_eq!(told[0]["sessions"], json!(0));
    let _serving = fresh.serve();
    assert_eq!(fresh.browser_of(&alice).get("/").await.status, 401);
    let mut client = fresh.client();
    let fields = [("user", "alice"), ("code", &code_now(&alice, 1))];
    assert_eq!(client.post_form("/_gate/sign-in", &fields).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_can_leave_out_the_sessions_that_were_open_when_the_backup_was_made() {
    let pve = Pve::start().await;
    let host = Installation::new(&pve);
    let serving = host.serve();
    let alice = host.administrator("alice").await;
    let file = back_up(&host, &[]).await;
    host.run(&["session", "revoke", "--all"]).await.ok();
    assert_eq!(serving.terminate(), Some(0));

    restore(&host, &file, WORDS, &["--yes", "--without-sessions"]).await.ok();

    let _serving = host.serve();
    assert_eq!(host.browser_of(&alice).get("/").await.status, 401, "a session that was ended stays so");
    assert_eq!(pve.connections_seen(), 0);
}
