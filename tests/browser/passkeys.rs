//! Passkeys as people use them: made at enrolment, used by a button or from the name's suggestions,
//! refused in words.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;

use pvegate::{
    store::Store as _,
    time::{Clock as _, SystemClock},
};
use serde_json::json;

use crate::{
    gate::{HOST, Pve, TestGate},
    harness::{Authenticator, Backup, Browser, CertificateWarning, Options, Transport},
};

/// A gate at the machine's own time, in front of a fresh stand-in.
async fn gate() -> (Pve, TestGate) {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).at(SystemClock.now()).start().await;
    (pve, gate)
}

/// A browser on a machine whose owner has installed the gate's authority.
async fn browser(gate: &TestGate) -> Browser {
    let hosts: [(&str, SocketAddr); 1] = [(HOST, gate.address)];
    Browser::start(Options { trust: Some(&gate.ca_pem), map_hosts: &hosts, ..Options::default() }).await
}

/// A virtual authenticator answers suggestions before anybody chose one. Pages loaded from here on
/// offer only the button.
pub(crate) async fn without_suggestions(browser: &Browser) {
    let source = "PublicKeyCredential.isConditionalMediationAvailable = async () => false";
    browser.cdp("Page.enable", json!({})).await;
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await;
}

/// Follows the link and makes a passkey, up to the stand-in's page.
async fn enrol(browser: &Browser, gate: &TestGate, name: &str) {
    browser.goto(&gate.invite(name).link(&gate.config.gate.public_url)).await;
    browser.fill("#name", "Laptop").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.click("main a.primary").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
}

pub(crate) async fn sign_out(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/", gate.url())).await;
    browser.click("form[action='/_gate/sign-out'] button").await;
    browser.wait_for_path("/_gate/sign-out").await;
}

fn last_sign_in(gate: &TestGate) -> serde_json::Value {
    gate.audit().into_iter().rfind(|event| event["event"]["action"] == "sign-in").unwrap()
}

#[tokio::test]
async fn a_person_enrols_with_a_passkey_and_signs_in_by_the_button() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate).await;
    let laptop = browser.plug_in(Authenticator { backup: Backup::Synced, ..Authenticator::default() }).await;
    without_suggestions(&browser).await;

    enrol(&browser, &gate, "alice").await;
    let kept = laptop.credentials().await;
    sign_out(&browser, &gate).await;
    browser.goto(&format!("{}/#v1:0:18:4", gate.url())).await;
    browser.wait_for("[data-passkey-sign-in] button").await;
    browser.screenshot("passkey-sign-in").await;
    browser.click("[data-passkey-sign-in] button").await;

    browser.wait_for_text("Stand-in for Proxmox VE").await;
    assert!(browser.url().await.ends_with("/#v1:0:18:4"), "{}", browser.url().await);
    assert!(kept[0].is_resident_credential && kept[0].rp_id.as_deref() == Some(HOST), "{kept:?}");
    let signed_in = last_sign_in(&gate);
    assert_eq!(
        (&signed_in["user"]["name"], &signed_in["pvegate"]["method"]),
        (&json!("alice"), &json!("passkey"))
    );
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    let credential = gate.store().credentials(user.id).unwrap().pop().unwrap();
    assert_eq!((credential.name.as_str(), credential.synced), ("Laptop", true));
    assert!(credential.last_used_at.is_some());
}

#[tokio::test]
async fn a_passkey_chosen_from_the_suggestions_signs_in_without_a_click_of_the_button() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate).await;
    let _phone = browser.plug_in(Authenticator::default()).await;
    enrol(&browser, &gate, "alice").await;
    sign_out(&browser, &gate).await;

    browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;

    browser.wait_for_text("Stand-in for Proxmox VE").await;
    assert_eq!(last_sign_in(&gate)["pvegate"]["method"], "passkey");
}

#[tokio::test]
async fn the_name_that_was_typed_decides_whose_passkey_the_button_asks_for() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate).await;
    let _key = browser.plug_in(Authenticator { transport: Transport::Usb, ..Authenticator::default() }).await;
    without_suggestions(&browser).await;
    enrol(&browser, &gate, "alice").await;
    sign_out(&browser, &gate).await;
    enrol(&browser, &gate, "bob").await;
    sign_out(&browser, &gate).await;

    for name in ["alice", "bob"] {
        browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
        browser.fill("#user", name).await;
        browser.click("[data-passkey-sign-in] button").await;
        browser.wait_for_text("Stand-in for Proxmox VE").await;

        assert_eq!(last_sign_in(&gate)["user"]["name"], name);
        sign_out(&browser, &gate).await;
    }
}

#[tokio::test]
async fn a_key_without_room_for_passkeys_makes_none_and_the_page_says_so() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate).await;
    let key = Authenticator { transport: Transport::Usb, resident_keys: false, ..Authenticator::default() };
    let key = browser.plug_in(key).await;

    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("[data-passkey-create] button[type=submit]").await;

    browser.wait_for("[data-passkey-create] [role=alert]").await;
    browser.screenshot("passkey-none-made").await;
    assert!(key.credentials().await.is_empty());
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_copy_of_an_authenticator_is_refused_in_words() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate).await;
    let key = browser.plug_in(Authenticator::default()).await;
    without_suggestions(&browser).await;
    enrol(&browser, &gate, "alice").await;
    sign_out(&browser, &gate).await;
    let seen = pve.connections_seen();

    key.set_sign_counts(0).await;
    browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
    browser.click("[data-passkey-sign-in] button").await;

    browser.wait_for_text("The gate did not accept that passkey.").await;
    browser.screenshot("passkey-refused").await;
    assert_eq!(last_sign_in(&gate)["pvegate"]["reason"], "cloned_authenticator");
    assert_eq!(pve.connections_seen(), seen);
}

/// Without a virtual authenticator: with one, Chromium does not look at the certificate.
#[tokio::test]
async fn where_the_browser_does_not_trust_the_certificate_both_pages_say_why_it_refuses_passkeys() {
    let (pve, gate) = gate().await;
    let hosts: [(&str, SocketAddr); 1] = [(HOST, gate.address)];
    let browser = Browser::start(Options {
        map_hosts: &hosts,
        certificate_warning: CertificateWarning::ClickThrough,
        ..Options::default()
    })
    .await;
    const WHY: &str = "Your browser does not trust this page’s certificate, so it refuses passkeys here.";

    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for_text(WHY).await;
    browser.screenshot("passkey-untrusted-enrol").await;
    browser.click("button[name=method]").await;
    browser.wait_for("#code").await;
    browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
    browser.click("[data-passkey-sign-in] button").await;
    browser.wait_for_text(WHY).await;
    browser.screenshot("passkey-untrusted-sign-in").await;

    assert_eq!(pve.connections_seen(), 0);
}
