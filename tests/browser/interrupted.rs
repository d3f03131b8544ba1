//! What comes in between: a session that ends under a form, a Proxmox VE that is gone for a while. Nobody starts
//! again from the first page.

use std::time::Duration;

use pvegate::account::Role;
use serde_json::json;

use crate::{
    gate::{Person, TestGate},
    harness::{Authenticator, Browser, JavaScript, Options},
    journey::{browser, enrol, gate, sign_in},
};

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The form that gives alice's app another name.
async fn rename_form(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/methods", gate.url())).await;
    browser.click("a[href*='do=rename']").await;
    browser.wait_for("#name").await;
}

#[tokio::test]
async fn a_session_that_ends_under_a_form_leads_back_to_it_with_what_was_typed_but_no_code() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let phone = enrol(&browser, &gate, "alice").await;
    rename_form(&browser, &gate).await;
    let form = browser.url().await;
    browser.fill("#name", "Blue phone").await;
    browser.fill("#code", "123456").await;

    gate.clock.advance(A_DAY);
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/sign-in").await;
    browser.wait_for_text("Your session at the gate has ended.").await;
    sign_in(&browser, &gate, "alice", &phone).await;
    browser.wait_for("#name").await;

    assert_eq!(browser.url().await, form);
    let typed = "return [document.querySelector('#name').value, document.querySelector('#code').value]";
    assert_eq!(browser.eval(typed).await, json!(["Blue phone", ""]));
    rename_form(&browser, &gate).await;
    assert_eq!(
        browser.eval("return document.querySelector('#name').value").await,
        json!("Phone"),
        "what was given up does not come back"
    );
}

#[tokio::test]
async fn a_session_that_ends_before_a_passkey_confirms_leads_back_to_the_form_with_what_was_typed() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let _laptop = browser.plug_in(Authenticator::default()).await;
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    rename_form(&browser, &gate).await;
    browser.fill("#name", "Blue laptop").await;

    gate.clock.advance(A_DAY);
    browser.click("[data-by-passkey]").await;
    // The virtual authenticator answers the suggestions of the sign-in page by itself.
    browser.wait_for_result("return document.querySelector('#name')?.value", &json!("Blue laptop")).await;
    browser.click("[data-by-passkey]").await;

    browser.wait_for_text("The sign-in method has its new name.").await;
}

#[tokio::test]
async fn without_javascript_a_session_that_ends_under_a_form_leads_back_to_its_page() {
    let (_pve, gate) = gate().await;
    let alice = gate.person("alice").await;
    let options = Options { javascript: JavaScript::Off, ..Options::default() };
    let browser = browser(&gate, options).await;
    browser.goto(&format!("{}/_gate/sign-in?next=/_gate/methods", gate.url())).await;
    sign_in(&browser, &gate, "alice", &alice.phone).await;
    browser.wait_for_path("/_gate/methods").await;

    // Her other session, of the enrolment, is there to be ended: by a path that has no page of its own.
    browser.goto(&format!("{}/_gate/sessions", gate.url())).await;
    interrupted(&browser, &gate, &alice, "form[action='/_gate/sessions/end'] button").await;
    browser.wait_for_path("/_gate/sessions").await;

    rename_form(&browser, &gate).await;
    let form = browser.url().await;
    browser.fill("#code", "123456").await;
    interrupted(&browser, &gate, &alice, "main form button[type=submit]").await;
    browser.wait_for("#name").await;
    assert_eq!(browser.url().await, form);
}

/// The session ends, the form is sent, and its owner signs in again.
async fn interrupted(browser: &Browser, gate: &TestGate, person: &Person, button: &str) {
    gate.clock.advance(A_DAY);
    browser.click(button).await;
    browser.wait_for_path("/_gate/sign-in").await;
    sign_in(browser, gate, &person.name, &person.phone).await;
}

#[tokio::test]
async fn while_proxmox_ve_is_gone_its_page_asks_again_and_goes_on_where_it_was() {
    for javascript in [JavaScript::On, JavaScript::Off] {
        let (pve, gate) = gate().await;
        let token = gate.invite_as("alice", Role::User);
        let alice = Person::enrol_with(gate.client(), &gate, "alice", &token).await;
        let browser = browser(&gate, Options { javascript, ..Options::default() }).await;
        browser.goto(&format!("{}/_gate/sign-in?next=/_gate/", gate.url())).await;
        sign_in(&browser, &gate, "alice", &alice.phone).await;
        browser.wait_for_path("/_gate/").await;
        let page = format!("{}/?console=shell&node=demo", gate.url());
        let deep = format!("{page}#v1:0:=qemu%2F100:4");

        let gone = pve.fall().await;
        browser.goto(&deep).await;
        browser.wait_for_text("Proxmox VE does not answer").await;
        assert!(!browser.text().await.contains("127.0.0.1"), "its address is for administrators");
        if javascript == JavaScript::On {
            browser.wait_for_text("Last tried at").await;
            browser.screenshot("upstream-gone").await;
        }
        let _back = gone.rise();

        browser.wait_for_text("Stand-in for Proxmox VE").await;
        // What the fragment is for needs a script.
        let expected = match javascript {
            JavaScript::On => deep,
            JavaScript::Off => page,
        };
        assert_eq!(browser.url().await, expected, "{javascript:?}");
    }
}
