//! Clocks that do not agree, told where somebody looks for the reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::time::Clock as _;
use serde_json::{Value, json};

use crate::{
    gate::TestGate,
    harness::{Browser, Options},
    journey::{browser, code, enrol, gate},
};

/// From the next page on, the device's clock is so many seconds ahead of the gate's, which stands still.
async fn put_clock(browser: &Browser, gate: &TestGate, ahead: i64) -> Value {
    let began = gate.clock.now().millis() + ahead * 1000;
    let source = format!(
        "globalThis.Date = class extends Date {{
            constructor(...given) {{ if (given.length) super(...given); else super(Date.now()); }}
            static now() {{ return {began} + performance.now(); }}
        }};"
    );
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await
}

/// What the page says of the device's clock; nothing if it keeps silent.
async fn told(browser: &Browser) -> String {
    let told = "const e = document.querySelector('[data-clock-offset]'); return e.checkVisibility() ? e.textContent : '';";
    browser.eval(told).await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_device_whose_clock_is_off_is_told_by_how_much_at_a_desk_and_on_a_phone() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let phone = enrol(&browser, &gate, "alice").await;
    browser.cdp("Page.enable", json!({})).await;
    let clock = format!("{}/_gate/methods/clock", gate.url());
    let diagnostics = format!("{}/_gate/admin/diagnostics", gate.url());
    #[rustfmt::skip]
    let table = [
        // ahead  on the page about codes                                        among the diagnostics
        (300,  "This device’s clock is 5 minutes ahead of the gate’s.",  "This device’s clock is 5 minutes ahead of the gate’s."),
        (-90,  "This device’s clock is 90 seconds behind the gate’s.", "This device’s clock is 90 seconds behind the gate’s."),
        (2,    "",                                                       "This device’s clock agrees with the gate’s."),
    ];

    for (ahead, on_codes, among_diagnostics) in table {
        let put = put_clock(&browser, &gate, ahead).await;
        browser.goto(&clock).await;
        assert_eq!(told(&browser).await, on_codes, "{ahead}");
        browser.photograph(&format!("clock-{ahead}")).await;
        browser.goto(&diagnostics).await;
        assert_eq!(told(&browser).await, among_diagnostics, "{ahead}");
        browser.photograph(&format!("diagnostics-{ahead}")).await;
        let put = json!({ "identifier": put["identifier"] });
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", put).await;
    }

    // The app's own clock, by its code: right, off, and no code of it at all.
    browser.goto(&clock).await;
    browser.fill("#code", "000000").await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for("[role=alert]").await;
    browser.photograph("clock-no-match").await;
    gate.clock.advance(Duration::from_secs(300));
    let slow = code(&phone, &gate);
    gate.clock.advance(Duration::from_secs(600));
    browser.fill("#code", &slow).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("The clock of your app’s device is about").await;
    browser.photograph("clock-app-off").await;
    browser.fill("#code", &code(&phone, &gate)).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("Your app’s clock is right").await;
    browser.photograph("clock-app-right").await;
}
