//! The phone is gone, or the key: back in by oneself, with the recovery codes from the drawer.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use pvegate::gate::ceremony::totp::Secret;
use serde_json::json;

use crate::{
    gate::TestGate,
    harness::{Authenticator, Browser, JavaScript, Options, Transport},
    journey::{browser, code, enrol_and_keep_codes, gate, save_codes, scan, sign_in, sign_out},
    methods::{change, confirm, names},
};

/// Signs in with a recovery code, as the sign-in page's link leads to it.
async fn recover(browser: &Browser, gate: &TestGate, code: &str) {
    browser.goto(&format!("{}/_gate/sign-in?next=/_gate/methods", gate.url())).await;
    browser.click("main a[href^='/_gate/recover']").await;
    browser.wait_for_path("/_gate/recover").await;
    browser.fill("#user", "alice").await;
    browser.fill("#code", code).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/methods").await;
}

/// The form that asks for a proof, with a recovery code in it.
async fn confirm_by_recovery(browser: &Browser, code: &str) {
    browser.fill("#recovery", code).await;
    browser.click("main form button[type=submit]").await;
}

/// Sets the new phone up on the page that is shown.
async fn set_up_phone(browser: &Browser, gate: &TestGate, name: &str) -> Secret {
    browser.wait_for("button[name=method], .qr").await;
    if browser.eval("return !!document.querySelector('button[name=method]')").await == json!(true) {
        browser.click("button[name=method]").await;
    }
    browser.wait_for(".qr").await;
    let phone = scan(browser).await;
    browser.fill("#name", name).await;
    browser.fill("#code", &code(&phone, gate)).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("The sign-in method was added.").await;
    phone
}

async fn the_phone_is_lost(javascript: JavaScript) {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options { javascript, ..Options::default() }).await;
    let script = match javascript {
        JavaScript::On => "script",
        JavaScript::Off => "no-script",
    };
    let codes = match javascript {
        JavaScript::On => enrol_and_keep_codes(&browser, &gate, "alice").await.1,
        JavaScript::Off => {
            let link = gate.invite("alice").link(&gate.config.gate.public_url);
            browser.goto(&format!("{}/_gate/enrol", gate.url())).await;
            browser.fill("#token", link.split_once('#').unwrap().1).await;
            browser.click("main form button[type=submit]").await;
            browser.click("button[name=method]").await;
            browser.wait_for(".qr").await;
            let phone = scan(&browser).await;
            browser.fill("#code", &code(&phone, &gate)).await;
            browser.click("main form button[type=submit]").await;
            save_codes(&browser).await
        }
    };
    sign_out(&browser, &gate).await;

    // In, and a second code permits the new phone: whoever came by one sees the field at once.
    recover(&browser, &gate, &codes[0]).await;
    browser.goto(&format!("{}/_gate/methods/new", gate.url())).await;
    browser.wait_for("#recovery").await;
    browser.photograph(&format!("worst-day-prove-{script}")).await;
    confirm_by_recovery(&browser, &codes[0]).await;
    browser.wait_for("[role=alert]").await;
    browser.photograph(&format!("worst-day-used-code-{script}")).await;
    confirm_by_recovery(&browser, &codes[1].to_uppercase()).await;
    let phone = set_up_phone(&browser, &gate, "New phone").await;
    assert_eq!(names(&gate), ["Phone", "New phone"]);

    // The lost one goes, by the new one's code.
    change(&browser, &gate, "remove", "Phone").await;
    browser.photograph(&format!("worst-day-remove-{script}")).await;
    confirm(&browser, &gate, &phone).await;
    browser.wait_for_text("The sign-in method was removed.").await;
    assert_eq!(names(&gate), ["New phone"]);

    // From another day on, the field for a recovery code is behind a line that unfolds.
    sign_out(&browser, &gate).await;
    browser.goto(&format!("{}/_gate/sign-in?next=/_gate/methods", gate.url())).await;
    sign_in(&browser, &gate, "alice", &phone).await;
    browser.wait_for_path("/_gate/methods").await;
    change(&browser, &gate, "rename", "New phone").await;
    assert_eq!(
        browser.eval("return document.querySelector('#recovery').checkVisibility()").await,
        json!(false)
    );
    browser.fill("#name", "Phone").await;
    browser.photograph(&format!("worst-day-folded-{script}")).await;
    browser.click("main details summary").await;
    browser.photograph(&format!("worst-day-unfolded-{script}")).await;
    confirm_by_recovery(&browser, &codes[2]).await;
    browser.wait_for_text("The sign-in method has its new name.").await;
    assert_eq!(names(&gate), ["Phone"]);
    browser.wait_for_text("7 left").await;
}

#[tokio::test]
async fn whoever_lost_the_phone_sets_up_a_new_one_by_recovery_codes() {
    the_phone_is_lost(JavaScript::On).await;
}

#[tokio::test]
async fn whoever_lost_the_phone_sets_up_a_new_one_by_recovery_codes_without_javascript() {
    the_phone_is_lost(JavaScript::Off).await;
}

#[tokio::test]
async fn whoever_lost_the_only_key_makes_another_by_recovery_codes() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let key = Authenticator { transport: Transport::Usb, ..Authenticator::default() };
    let lost = browser.plug_in(key).await;
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.fill("#name", "Blue key").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    let codes = save_codes(&browser).await;
    sign_out(&browser, &gate).await;
    lost.unplug().await;

    recover(&browser, &gate, &codes[0]).await;
    browser.photograph("worst-day-key-methods").await;
    browser.goto(&format!("{}/_gate/methods/new", gate.url())).await;
    browser.wait_for("#recovery").await;
    let put_forward = "return [...document.querySelectorAll('main .primary')].map((e) => e.textContent)";
    let put_forward = browser.eval(put_forward).await;
    assert_eq!(put_forward, json!(["Confirm with the recovery code"]), "not the key that is lost");
    browser.photograph("worst-day-key-prove").await;
    confirm_by_recovery(&browser, &codes[1]).await;
    browser.wait_for("[data-passkey-create]").await;
    let new = browser.plug_in(key).await;
    browser.fill("#name", "Red key").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for_text("The sign-in method was added.").await;
    assert_eq!(new.credentials().await.len(), 1);

    change(&browser, &gate, "remove", "Blue key").await;
    browser.click("[data-by-passkey]").await;
    browser.wait_for_text("The sign-in method was removed.").await;
    assert_eq!(names(&gate), ["Red key"]);
}
