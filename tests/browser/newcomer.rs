//! Somebody new, who has a link and reads no document: each step is the one that the page puts forward.

use serde_json::json;

use crate::{
    harness::{Authenticator, Browser, Options, Transport},
    journey::{browser, gate},
};

/// What the page puts forward: its one highlighted button or link.
const PUT_FORWARD: &str = "
    const shown = (e) => e.checkVisibility();
    const found = [...document.querySelectorAll('main .primary')].filter(shown);
    for (const e of document.querySelectorAll('#put-forward')) e.removeAttribute('id');
    if (found.length === 1) found[0].id = 'put-forward';
    return found.map((e) => e.textContent.trim());
";

/// Follows what the page puts forward, and says what that was.
async fn follow(browser: &Browser, steps: &mut Vec<String>) {
    browser.wait_for("main .primary").await;
    let found = browser.eval(PUT_FORWARD).await;
    let [step] = found.as_array().map(Vec::as_slice).unwrap_or_default() else {
        panic!("{} puts forward {found}", browser.url().await)
    };
    steps.push(step.as_str().unwrap_or_default().to_owned());
    browser.click("#put-forward").await;
}

/// Follows what a notice of the page offers.
async fn take_up(browser: &Browser, steps: &mut Vec<String>) {
    browser.wait_for("main .notice a").await;
    let offer = browser.eval("return document.querySelector('main .notice a').textContent.trim()").await;
    steps.push(offer.as_str().unwrap_or_default().to_owned());
    browser.click("main .notice a").await;
}

#[tokio::test]
async fn a_newcomer_gets_from_the_link_to_a_second_key_by_what_the_pages_put_forward() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let laptop = browser.plug_in(Authenticator::default()).await;
    let mut steps = Vec::new();

    // The link is opened, and nothing typed but one of the codes.
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.wait_for("[data-passkey-create]").await;
    follow(&browser, &mut steps).await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap_or_default()).await;
    follow(&browser, &mut steps).await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.screenshot("newcomer-enrolled").await;

    // The page says what is missing, and leads there.
    take_up(&browser, &mut steps).await;
    browser.wait_for("[data-by-passkey]").await;
    browser.wait_for_text("a sign-in method that you have already").await;
    browser.photograph("newcomer-prove").await;
    follow(&browser, &mut steps).await;
    browser.wait_for("[data-passkey-create]").await;
    browser.wait_for_text("plug it in before you press the button").await;
    browser.photograph("newcomer-second").await;
    laptop.set_present(false).await;
    let key = browser.plug_in(Authenticator { transport: Transport::Usb, ..Authenticator::default() }).await;
    follow(&browser, &mut steps).await;
    browser.wait_for_text("The sign-in method was added.").await;
    browser.screenshot("newcomer-done").await;

    assert_eq!(key.credentials().await.len(), 1);
    assert_eq!(
        steps,
        [
            "Create a passkey (recommended)",
            "I have saved them",
            "Add a second one now",
            "Confirm with your passkey",
            "Create another passkey",
        ]
    );
    let nudges = browser.eval("return document.querySelectorAll('main .notice a').length").await;
    assert_eq!(nudges, json!(0), "two keys are enough: nothing is asked for any more");
}
