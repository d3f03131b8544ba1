//! The first command of README, as a newcomer meets it: nothing was set up, the browser knows nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pvegate::{
    gate::ceremony::totp::{Secret, step_at},
    time::{Clock as _, SystemClock},
};
use serde_json::Value;

use crate::{
    gate::{Process, Scratch},
    harness::{Authenticator, Browser, CertificateWarning, Options},
};

/// Starts `pvegate demo` in a fresh directory, and a browser that goes on at the warning.
async fn newcomer() -> (Scratch, Process, Value, Browser) {
    let scratch = Scratch::new();
    let dir = scratch.path().join("demo").display().to_string();
    let demo = Process::start(&["demo", "--json", "--listen", "127.0.0.1:0", "--dir", &dir]);
    let told: Value = serde_json::from_str(&demo.line()).unwrap();
    let certificate_warning = CertificateWarning::ClickThrough;
    let browser = Browser::start(Options { certificate_warning, ..Options::default() }).await;
    (scratch, demo, told, browser)
}

fn link(told: &Value) -> &str {
    told.get("enrol_url").and_then(Value::as_str).unwrap()
}

async fn save_a_code(browser: &Browser) {
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.click("main a.primary").await;
}

#[tokio::test]
async fn the_link_of_the_demo_leads_to_the_stand_in_with_an_app() {
    let (_scratch, _demo, told, browser) = newcomer().await;

    browser.goto(link(&told)).await;
    browser.wait_for("button[name=method]").await;
    browser.click("button[name=method]").await;
    browser.wait_for("#code").await;
    let address = browser.eval("return document.querySelector('a[href^=\"otpauth:\"]').href").await;
    let secret = address.as_str().unwrap().split_once("secret=").unwrap().1.split('&').next().unwrap();
    let secret = Secret::from_bytes(&data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap();
    browser.fill("#code", &secret.code(step_at(SystemClock.now()))).await;
    browser.click("main form button[type=submit]").await;
    save_a_code(&browser).await;

    browser.wait_for_text("Stand-in for Proxmox VE").await;
}

#[tokio::test]
async fn the_link_of_the_demo_leads_to_the_stand_in_with_a_passkey() {
    let (_scratch, _demo, told, browser) = newcomer().await;
    let _plugged = browser.plug_in(Authenticator::default()).await;

    browser.goto(link(&told)).await;
    browser.wait_for("form[data-passkey-create]:not([hidden])").await;
    browser.click("form[data-passkey-create] button[type=submit]").await;
    save_a_code(&browser).await;

    browser.wait_for_text("Stand-in for Proxmox VE").await;
}
