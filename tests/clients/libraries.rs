//! Clients for Proxmox VE's API: proxmoxer (PyPI), proxmox-api and cv4pve (npm).
//!
//! They have no session at the gate: their way is an API token with a rule. With a password they get no
//! further than the gate, and say so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    far::Far,
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
