//! Where a person is signed in, what happened to their account, and taking it back.

use serde_json::json;

use crate::{
    gate::{Pve, TestGate},
    harness::{Browser, ColourScheme, JavaScript, Options, Viewport},
    journey::{browser, enrol, gate, sign_in},
};

/// Signs in to the stand-in and opens its console.
async fn open_console(browser: &Browser, pve: &Pve) {
    browser.fill("#login-user", "root@pam").await;
    browser.fill("#login-password", "proxmox").await;
    browser.click("#login-submit").await;
    browser.wait_for_text("root@pam").await;
    browser.click("#console-open").await;
    pve.wait_until(|seen| seen.tunnels_open == 1).await;
    browser.wait_for_text("open").await;
}

async fn sessions_page(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/", gate.url())).await;
    browser.click("main a[href='/_gate/sessions']").await;
    browser.wait_for_path("/_gate/sessions").await;
}

#[tokio::test]
async fn a_person_signs_another_browser_out_while_its_console_is_open() {
    let (pve, gate) = gate().await;
    let here = browser(&gate, Options::default()).await;
    let there = browser(&gate, Options::default()).await;
    let phone = enrol(&here, &gate, "alice").await;
    there.goto(&format!("{}/", gate.url())).await;
    sign_in(&there, &gate, "alice", &phone).await;
    there.wait_for_text("Stand-in for Proxmox VE").await;
    open_console(&there, &pve).await;

    sessions_page(&here, &gate).await;
    let consoles =
        "return [...document.querySelectorAll('.cards dl div:last-child dd')].map((d) => d.textContent)";
    assert_eq!(here.eval(consoles).await, json!(["0", "1"]));
    here.screenshot("sessions-console").await;
    here.click("form[action='/_gate/sessions/end'] input[name=id] + button").await;
    here.wait_for_text("That session is over").await;

    pve.wait_until(|seen| seen.tunnels_open == 0).await;
    there.wait_for_text("closed").await;
    assert_eq!(here.eval("return document.querySelectorAll('.cards > li').length").await, json!(1));
}

#[tokio::test]
async fn without_javascript_sessions_are_ended_disowned_and_the_account_locked() {
    let (_pve, gate) = gate().await;
    let off = || Options { javascript: JavaScript::Off, ..Options::default() };
    let here = browser(&gate, Options::default()).await;
    let there = browser(&gate, off()).await;
    let phone = enrol(&here, &gate, "alice").await;
    let deep = format!("{}/_gate/sessions", gate.url());
    there.goto(&deep).await;
    sign_in(&there, &gate, "alice", &phone).await;
    there.wait_for_path("/_gate/sessions").await;

    there.click("main > form[action='/_gate/sessions/end'] button").await;
    there.wait_for_text("signed out everywhere else").await;
    here.goto(&deep).await;
    here.wait_for_path("/_gate/sign-in").await;
    there.click("a[href^='/_gate/sessions/not-me?entry=']").await;
    there.wait_for_path("/_gate/sessions/not-me").await;
    there.click("form[action='/_gate/sessions/not-me'] button").await;
    there.wait_for_text("Everything is ended").await;
    there.goto(&format!("{}/_gate/panic", gate.url())).await;
    sign_in(&there, &gate, "alice", &phone).await;
    there.wait_for_path("/_gate/panic").await;
    gate.clock.advance(std::time::Duration::from_secs(30));
    there.fill("#code", &crate::journey::code(&phone, &gate)).await;
    there.click("form[action='/_gate/panic'] button[type=submit]").await;
    there.wait_for_text("Your account is locked").await;
}

#[tokio::test]
async fn the_pages_of_sessions_are_photographed_light_dark_and_on_a_phone() {
    let (_pve, gate) = gate().await;
    let looks = [
        ("light", ColourScheme::Light, Viewport::Desktop),
        ("dark", ColourScheme::Dark, Viewport::Desktop),
        ("phone", ColourScheme::Light, Viewport::Phone),
        ("phone-dark", ColourScheme::Dark, Viewport::Phone),
    ];
    for (look, colour_scheme, viewport) in looks {
        let browser = browser(&gate, Options { colour_scheme, viewport, ..Options::default() }).await;
        let name = format!("alice-{look}");
        let phone = enrol(&browser, &gate, &name).await;
        let mut elsewhere = gate.client();
        gate.clock.advance(std::time::Duration::from_secs(30));
        let code = crate::journey::code(&phone, &gate);
        elsewhere.post_form("/_gate/sign-in", &[("user", &name), ("code", "000000")]).await;
        let reply = elsewhere.post_form("/_gate/sign-in", &[("user", &name), ("code", &code)]).await;
        assert_eq!(reply.status, 303);
        let pages = [
            ("sessions", "/_gate/sessions"),
            ("not-me", "/_gate/sessions/not-me"),
            ("panic", "/_gate/panic"),
            ("account-sessions", "/_gate/"),
        ];
        for (page, path) in pages {
            browser.goto(&format!("{}{path}", gate.url())).await;
            browser.wait_for("main h1").await;
            browser.screenshot(&format!("{page}-{look}")).await;
            let wide = browser.eval("return document.documentElement.scrollWidth > innerWidth").await;
            assert_eq!(wide, json!(false), "{page} {look}: the page is wider than the window");
        }
        let log = browser.console().await;
        assert!(!log.iter().any(|line| line.message.contains("Content Security Policy")), "{look}: {log:?}");
    }
}
