//! A security key without a PIN, as people use it: registered beside an app, touched after the code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;

use pvegate::{
    account::CredentialKind,
    gate::ceremony::totp::{Secret, step_at},
    store::Store as _,
    time::{Clock as _, SystemClock},
};
use serde_json::json;

use crate::{
    gate::{HOST, Pve, TestGate},
    harness::{Authenticator, Browser, ColourScheme, JavaScript, Language, Options, Transport, Viewport},
};

/// A key of the old kind: it keeps nothing, and asks for nothing but a touch.
const KEY: Authenticator = Authenticator {
    transport: Transport::Usb,
    resident_keys: false,
    user_verification: false,
    user_verified: false,
    backup: crate::harness::Backup::Never,
};

/// A gate at the machine's own time, in front of a fresh stand-in.
async fn gate() -> (Pve, TestGate) {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).at(SystemClock.now()).start().await;
    (pve, gate)
}

/// A browser on a machine whose owner has installed the gate's authority.
async fn browser(gate: &TestGate, options: Options<'_>) -> Browser {
    let hosts: [(&str, SocketAddr); 1] = [(HOST, gate.address)];
    Browser::start(Options { trust: Some(&gate.ca_pem), map_hosts: &hosts, ..options }).await
}

/// Follows the link, registers the key and adds an app, up to the stand-in's page.
async fn enrol(browser: &Browser, gate: &TestGate, name: &str) -> Secret {
    browser.goto(&gate.invite(name).link(&gate.config.gate.public_url)).await;
    browser.click("details summary").await;
    browser.fill("#key-name", "Blue").await;
    browser.screenshot("security-key-register").await;
    browser.click("details button[type=submit]").await;
    browser.wait_for_text("Your security key works.").await;
    browser.screenshot("security-key-app").await;
    let link = browser.eval("return document.querySelector('a[href^=\"otpauth:\"]').href").await;
    let secret =
        link.as_str().unwrap().split_once("secret=").unwrap().1.split('&').next().unwrap().to_owned();
    let phone = Secret::from_bytes(&data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap();
    browser.fill("#code", &phone.code(step_at(gate.clock.now()))).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.click("main a.primary").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    phone
}

async fn sign_out(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/", gate.url())).await;
    browser.click("form[action='/_gate/sign-out'] button").await;
    browser.wait_for_path("/_gate/sign-out").await;
}

/// Types name and code on the sign-in page that is shown.
async fn type_code(browser: &Browser, gate: &TestGate, name: &str, phone: &Secret) {
    gate.clock.advance(std::time::Duration::from_secs(30));
    browser.fill("#user", name).await;
    browser.fill("#code", &phone.code(step_at(gate.clock.now()))).await;
    browser.click("main form button[type=submit]").await;
}

#[tokio::test]
async fn a_person_registers_a_key_beside_an_app_and_signs_in_by_code_and_touch() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let key = browser.plug_in(KEY).await;

    let phone = enrol(&browser, &gate, "alice").await;
    let kept = key.credentials().await;
    sign_out(&browser, &gate).await;
    let seen = pve.connections_seen();
    browser.goto(&format!("{}/?console=shell#v1:0:18:4", gate.url())).await;
    browser.wait_for_path("/_gate/sign-in").await;
    type_code(&browser, &gate, "alice", &phone).await;
    browser.wait_for("[data-security-key] button").await;
    assert_eq!(pve.connections_seen(), seen, "nothing before the touch");
    browser.screenshot("security-key").await;
    browser.click("[data-security-key] button").await;

    browser.wait_for_text("Stand-in for Proxmox VE").await;
    assert_eq!(browser.url().await, format!("{}/?console=shell#v1:0:18:4", gate.url()));
    assert!(kept.len() == 1 && !kept[0].is_resident_credential, "{kept:?}");
    let signed_in = gate.audit().into_iter().rfind(|event| event["event"]["action"] == "sign-in").unwrap();
    assert_eq!(
        (&signed_in["user"]["name"], &signed_in["pvegate"]["method"]),
        (&json!("alice"), &json!("security-key"))
    );
    let user = gate.store().user_by_name(&"alice".parse().unwrap()).unwrap().unwrap();
    let credential = gate.store().credentials(user.id).unwrap().pop().unwrap();
    assert_eq!((credential.kind, credential.name.as_str()), (CredentialKind::SecurityKey, "Blue"));
}

#[tokio::test]
async fn a_copied_key_is_refused_in_words_and_a_key_is_registered_once() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate, Options { language: Language::German, ..Options::default() }).await;
    let key = browser.plug_in(KEY).await;
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("details summary").await;
    browser.click("details button[type=submit]").await;
    browser.wait_for_text("Ihr Sicherheitsschlüssel funktioniert.").await;
    let link = browser.eval("return document.querySelector('a[href^=\"otpauth:\"]').href").await;
    let secret =
        link.as_str().unwrap().split_once("secret=").unwrap().1.split('&').next().unwrap().to_owned();
    let phone = Secret::from_bytes(&data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap();
    browser.fill("#code", &phone.code(step_at(gate.clock.now()))).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    sign_out(&browser, &gate).await;

    key.set_sign_counts(0).await;
    browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
    type_code(&browser, &gate, "alice", &phone).await;
    browser.click("[data-security-key] button").await;
    browser.wait_for_text("Das Gate hat diesen Sicherheitsschlüssel nicht angenommen").await;
    browser.screenshot("security-key-refused").await;
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("details summary").await;
    browser.click("details button[type=submit]").await;

    browser.wait_for_text("Dieser Sicherheitsschlüssel ist schon für Sie registriert.").await;
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn the_page_is_for_dark_rooms_phones_and_browsers_without_javascript_too() {
    let (_pve, gate) = gate().await;
    let desktop = browser(&gate, Options::default()).await;
    let _key = desktop.plug_in(KEY).await;
    let phone = enrol(&desktop, &gate, "alice").await;
    drop(desktop);
    let dark = Options { colour_scheme: ColourScheme::Dark, ..Options::default() };
    let small = Options { viewport: Viewport::Phone, language: Language::German, ..Options::default() };
    let without = Options { javascript: JavaScript::Off, ..Options::default() };

    for (name, options, shown) in [
        ("security-key-dark", dark, "Use the security key"),
        ("security-key-phone", small, "Sicherheitsschlüssel verwenden"),
        ("security-key-no-script", without, "Security keys need JavaScript"),
    ] {
        let browser = browser(&gate, options).await;
        browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
        type_code(&browser, &gate, "alice", &phone).await;

        browser.wait_for_text(shown).await;
        browser.screenshot(name).await;
        if name == "security-key-no-script" {
            browser.click("a[href^='/_gate/recover']").await;
            browser.wait_for_path("/_gate/recover").await;
        }
    }
}
