//! The file: its chain, its rotation, and the verbs that read it.

use std::fs;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use super::{text, verb};
use crate::harness::{Process, Pve, TestGate, until};

#[tokio::test]
async fn an_event_of_a_request_tells_who_asked_and_the_page_shows_its_number() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut client = gate.client().with("user-agent", "Test/1.0").with("accept", "text/html");
    let wrong = client.post_form("/_gate/recover", &[("user", "nobody"), ("code", "a")]).await;
    assert_eq!(wrong.status, 403);
    let mut elsewhere = client.with("origin", "https://evil.test").with("sec-fetch-site", "cross-site");
    let refused = elsewhere.send(Method::POST, "/_gate/sign-in", Bytes::new()).await;
    assert_eq!(refused.status, 403);

    let event = gate.audit().pop().unwrap();
    assert_eq!(text(&event, "/event/action"), "refuse");
    assert!(refused.text().contains(text(&event, "/http/request/id")));
    assert_eq!(text(&event, "/user_agent/original"), "Test/1.0");
    assert_eq!(text(&event, "/tls/version"), "1.3");
    assert!(text(&event, "/tls/cipher").starts_with("TLS_"));
    assert!(event["source"]["port"].as_u64().unwrap() > 0);
    assert!(!text(&event, "/host/name").is_empty());
    let recovery =
        gate.audit().into_iter().find(|event| text(event, "/event/action") == "recovery-use").unwrap();
    assert_eq!(
        text(&recovery, "/user_agent/original"),
        "Test/1.0",
        "a form is answered in a task of its own"
    );
}

#[tokio::test]
async fn verbs_and_the_gate_write_one_chain_across_rotation_and_no_event_is_lost() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let audit = gate.dir().join("audit.jsonl");
    let mut alice = gate.person("alice").await;
    for round in 0..3 {
        let names: Vec<String> = (0..3).map(|number| format!("user{round}{number}")).collect();
        let (added, ()) = tokio::join!(
            join_all(names.iter().map(async |name| verb(&gate, &["user", "add", name, "--no-invite"]).await)),
            async {
                alice.sign_out().await;
                alice.sign_in(&gate).await;
            }
        );
        added.into_iter().for_each(|added| drop(added.ok()));
        // As logrotate does: the oldest is packed, everything moves on.
        gate.stages.gate.audit().flush();
        if round == 1 {
            let packed = std::process::Command::new("gzip").arg(gate.dir().join("audit.jsonl.1")).status();
            assert!(packed.unwrap().success());
            fs::rename(gate.dir().join("audit.jsonl.1.gz"), gate.dir().join("audit.jsonl.2.gz")).unwrap();
        }
        if round < 2 {
            fs::rename(&audit, gate.dir().join("audit.jsonl.1")).unwrap();
            gate.stages.gate.audit().reopen();
        }
    }
    gate.stages.gate.audit().flush();

    let verified = verb(&gate, &["--json", "audit", "verify"]).await.json().remove(0);
    let events = verb(&gate, &["--json", "audit", "export"]).await.json();
    assert_eq!(verified["lines"], events.len());
    assert_eq!(verified["last"]["sequence"], events.len());
    assert_eq!(verified["seals"], true);
    let count = |action: &str| events.iter().filter(|event| text(event, "/event/action") == action).count();
    assert_eq!((count("user-add"), count("sign-in"), count("start")), (9, 4, 1), "enrolling signs in");
    assert!(fs::read_dir(gate.dir()).unwrap().count() > 3);

    // Whatever is done to a line is found, in the file where it was done.
    let old = gate.dir().join("audit.jsonl.1");
    let whole = fs::read_to_string(&old).unwrap();
    fs::write(&old, whole.replacen("\"success\"", "\"failure\"", 1)).unwrap();
    let broken = verb(&gate, &["audit", "verify"]).await;
    assert_eq!(broken.code, Some(3));
    assert!(broken.stderr.contains("audit.jsonl.1:"), "{}", broken.stderr);
    assert!(broken.stderr.contains("was changed"), "{}", broken.stderr);
    fs::write(&old, &whole).unwrap();
    fs::remove_file(&old).unwrap();
    let broken = verb(&gate, &["--json", "audit", "verify"]).await;
    assert_eq!(broken.code, Some(3), "{broken:?}");
}

#[tokio::test]
async fn that_the_end_was_cut_off_is_found_by_a_hash_that_was_noted_elsewhere() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    gate.person("alice").await;
    gate.stages.gate.audit().flush();
    let noted = verb(&gate, &["--json", "audit", "verify"]).await.json().remove(0);
    let hash = noted["last"]["hash"].as_str().unwrap();
    assert_eq!(verb(&gate, &["audit", "verify", "--contains", hash]).await.code, Some(0));

    let audit = gate.dir().join("audit.jsonl");
    let whole = fs::read_to_string(&audit).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(&audit, lines[..lines.len() - 1].join("\n") + "\n").unwrap();

    assert_eq!(verb(&gate, &["audit", "verify"]).await.code, Some(0), "no chain can show it");
    assert_eq!(verb(&gate, &["audit", "verify", "--contains", hash]).await.code, Some(3));
}

#[tokio::test]
async fn whoever_writes_the_file_without_the_key_is_found_out_and_hashes_need_none() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    gate.person("alice").await;
    gate.stages.gate.audit().flush();
    let audit = gate.dir().join("audit.jsonl");
    // A chain of their own, whole in itself: another gate's.
    let other = TestGate::in_front_of(&pve).await;
    other.person("alice").await;
    other.stages.gate.audit().flush();
    fs::copy(other.dir().join("audit.jsonl"), &audit).unwrap();

    let found = verb(&gate, &["audit", "verify"]).await;
    assert_eq!(found.code, Some(3));
    assert!(found.stderr.contains("not sealed by this gate's key"), "{}", found.stderr);
    assert_eq!(verb(&gate, &["audit", "verify", "--without-seals"]).await.code, Some(0));
    let copy = audit.display().to_string();
    assert_eq!(verb(&other, &["audit", "verify", &copy]).await.code, Some(0));
}

#[tokio::test]
async fn events_are_found_by_time_person_address_action_and_outcome() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let mut alice = gate.person("alice").await;
    let before = gate.audit().last().unwrap()["@timestamp"].as_str().unwrap().to_owned();
    gate.clock.advance(std::time::Duration::from_secs(60));
    alice.client = alice.client.clone().from("127.0.0.9");
    alice.sign_out().await;
    alice.sign_in(&gate).await;
    gate.client()
        .from("127.0.0.8")
        .post_form("/_gate/recover", &[("user", "alice"), ("code", "aaaa-aaaa-aaaa-aaaa")])
        .await;
    gate.stages.gate.audit().flush();

    let table: &[(&[&str], &[&str])] = &[
        (&["--ip", "127.0.0.9"], &["sign-out", "sign-in"]),
        (&["--ip", "127.0.0.8/31", "--user", "alice"], &["sign-out", "sign-in", "recovery-use"]),
        (&["--outcome", "failure"], &["recovery-use"]),
        (&["--action", "sign-in", "--user", "alice"], &["sign-in", "sign-in"]),
        (&["--user", "root@pam"], &[]),
        (&["--until", &before, "--action", "sign-in"], &["sign-in"]),
        (&["--since", "1s"], &[]),
    ];
    for (args, expected) in table {
        let found = verb(&gate, &[&["--json", "audit", "search"], *args].concat()).await.json();
        let words: Vec<_> = found.iter().map(|event| text(event, "/event/action")).collect();
        assert_eq!(&words, expected, "{args:?}");
    }
    let tail = verb(&gate, &["audit", "tail", "-n", "1"]).await.ok();
    assert_eq!(tail.lines().count(), 1);
    assert!(tail.contains("recovery-use  failure  from=127.0.0.8"), "{tail}");
    let wrong = verb(&gate, &["audit", "search", "--since", "yesterday"]).await;
    assert_eq!(wrong.code, Some(2));
}

#[tokio::test]
async fn what_is_followed_crosses_rotation() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    until("it has begun", async || !gate.audit().is_empty()).await;
    let config = gate.dir().join("pvegate.toml").display().to_string();
    let follower = Process::start(&["--config", &config, "--json", "audit", "tail", "-f", "-n", "1"]);
    assert!(follower.line().contains("\"start\""));

    verb(&gate, &["user", "add", "bob", "--no-invite"]).await.ok();
    assert!(follower.line().contains("user-add"));
    fs::rename(gate.dir().join("audit.jsonl"), gate.dir().join("audit.jsonl.1")).unwrap();
    verb(&gate, &["user", "disable", "bob", "--reason", "away"]).await.ok();

    let event: serde_json::Value = serde_json::from_str(&follower.line()).unwrap();
    assert_eq!(event["event"]["action"], json!("user-disable"));
}
