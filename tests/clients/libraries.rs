//! Clients for Proxmox VE's API: proxmoxer (PyPI), proxmox-api and cv4pve (npm).
//!
//! They have no session at the gate: their way is an API token with a rule. With a password they get no
//! further than the gate, and say so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    far::{Far, SECRET, TOKEN, content},
    gate::{Ended, packages},
};

/// Runs a script of this directory with what it is told; gives what it learned.
async fn run(far: &Far, script: &str, mut told: Value) -> (Ended, Value) {
    let packages = packages();
    let program = match script.ends_with(".py") {
        true => packages.join("venv/bin/python").display().to_string(),
        false => "node".to_owned(),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let more = [
        ("host", far.gate.authority()),
        ("ca", far.ca()),
        ("packages", packages.join("npm/package.json").display().to_string()),
    ];
    let fields = told.as_object_mut().unwrap();
    fields.extend(more.map(|(name, value)| (name.to_owned(), json!(value))));
    let ended = far.run(&program, &[script.to_str().unwrap(), &told.to_string()]).await;
    let learned = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, learned)
}

#[tokio::test]
async fn a_password_without_a_session_is_refused_in_words_and_proxmox_ve_sees_nothing() {
    let far = Far::start().await;
    let seen = far.pve.requests_seen();

    let (_, proxmoxer) = run(&far, "with_proxmoxer.py", json!({ "secret": { "password": "proxmox" } })).await;
    let told = json!({ "secret": { "username": "root@pam", "password": "proxmox" } });
    let (_, proxmox_api) = run(&far, "with_proxmox_api.mjs", told).await;
    let (_, cv4pve) = run(&far, "with_cv4pve.mjs", json!({ "password": "proxmox" })).await;

    let (proxmoxer, proxmox_api) = (proxmoxer["refused"].as_str(), proxmox_api["refused"].as_str());
    assert!(proxmoxer.unwrap().ends_with("/access/ticket code: 401"), "{proxmoxer:?}");
    assert!(proxmox_api.unwrap().contains("401: Sign in to the gate"), "{proxmox_api:?}");
    assert_eq!((&cv4pve["signedIn"], &cv4pve["status"]), (&json!(false), &json!(401)), "{cv4pve}");
    assert!(cv4pve["reason"].as_str().unwrap().starts_with("Sign in to the gate"), "{cv4pve}");
    assert_eq!(far.pve.requests_seen(), seen);
}

#[tokio::test]
async fn proxmoxer_works_by_token_uploads_included_and_reads_why_something_failed() {
    let far = Far::with_rule().await;
    let (small, large) = (content(700_000), content(12 << 20));
    let (user, name) = TOKEN.split_once('!').unwrap();
    assert_eq!(user, "root@pam");

    let told = json!({
        "secret": { "token_name": name, "token_value": SECRET },
        "small": far.file("debian.tar.zst", &small), "large": far.file("debian.iso", &large),
    });
    let (_, learned) = run(&far, "with_proxmoxer.py", told).await;

    assert_eq!(learned["nodes"], json!(["demo"]), "{learned}");
    for task in ["created", "small", "large", "deleted"] {
        assert!(learned[task].as_str().unwrap().starts_with("UPID:demo:"), "{task}: {learned}");
    }
    // Above 10 MiB it streams, with another library.
    for (upload, name, sent) in [(0, "debian.tar.zst", small), (1, "debian.iso", large)] {
        let seen = &far.pve.uploads()[upload];
        assert_eq!((seen.filename.as_str(), seen.bytes), (name, sent.len() as u64));
        assert_eq!(seen.sha256, <[u8; 32]>::from(Sha256::digest(&sent)));
    }
    assert_eq!(learned["error"], "501 Not Implemented: Method 'DELETE /nodes' not implemented");
    assert!(learned["refused"].as_str().unwrap().starts_with("403 Forbidden: "), "{learned}");
    assert!(far.pve.requests().iter().all(|request| request.target != "/api2/json/access/users"));
}

#[tokio::test]
async fn clients_of_npm_work_by_token() {
    let far = Far::with_rule().await;

    let told = json!({ "secret": { "tokenID": TOKEN, "tokenSecret": SECRET } });
    let (_, proxmox_api) = run(&far, "with_proxmox_api.mjs", told).await;
    let (_, cv4pve) = run(&far, "with_cv4pve.mjs", json!({ "token": format!("{TOKEN}={SECRET}") })).await;

    for learned in [proxmox_api, cv4pve] {
        assert_eq!(learned["nodes"], json!(["demo"]), "{learned}");
        assert!(learned["created"].as_str().unwrap().starts_with("UPID:demo:"), "{learned}");
    }
}
