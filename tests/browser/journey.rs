//! The main job, as a person does it: follow the link, set up an app, sign in, work, sign out.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;

use pvegate::{
    gate::ceremony::totp::{Secret, step_at},
    names,
    time::{Clock as _, SystemClock},
};
use serde_json::json;

use crate::{
    gate::{HOST, Pve, TestGate},
    harness::{Browser, ColourScheme, JavaScript, Options, Viewport},
};

/// A gate at the machine's own time, in front of a fresh stand-in.
pub(crate) async fn gate() -> (Pve, TestGate) {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).at(SystemClock.now()).start().await;
    (pve, gate)
}

/// A browser on a machine whose owner has installed the gate's authority.
pub(crate) async fn browser(gate: &TestGate, options: Options<'_>) -> Browser {
    let hosts: [(&str, SocketAddr); 1] = [(HOST, gate.address)];
    Browser::start(Options { trust: Some(&gate.ca_pem), map_hosts: &hosts, ..options }).await
}

/// Declines the passkey that is offered first.
async fn use_an_app(browser: &Browser) {
    browser.wait_for("button[name=method]").await;
    browser.click("button[name=method]").await;
    browser.wait_for("#code").await;
}

/// What the phone's camera sees on the page with the QR code.
pub(crate) async fn scan(browser: &Browser) -> Secret {
    let link = browser.eval("return document.querySelector('a[href^=\"otpauth:\"]').href").await;
    let secret =
        link.as_str().unwrap().split_once("secret=").unwrap().1.split('&').next().unwrap().to_owned();
    Secret::from_bytes(&data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap()
}

pub(crate) fn code(phone: &Secret, gate: &TestGate) -> String {
    phone.code(step_at(gate.clock.now()))
}

/// Follows the link and sets up an app, up to the stand-in's page.
pub(crate) async fn enrol(browser: &Browser, gate: &TestGate, name: &str) -> Secret {
    enrol_and_keep_codes(browser, gate, name).await.0
}

/// The same, with the recovery codes.
pub(crate) async fn enrol_and_keep_codes(
    browser: &Browser,
    gate: &TestGate,
    name: &str,
) -> (Secret, Vec<String>) {
    let link = gate.invite(name).link(&gate.config.gate.public_url);
    browser.goto(&link).await;
    use_an_app(browser).await;
    let phone = scan(browser).await;
    browser.fill("#code", &code(&phone, gate)).await;
    browser.click("main form button[type=submit]").await;
    (phone, save_codes(browser).await)
}

/// Types one of the recovery codes back, and goes on to the stand-in's page. Gives the codes.
pub(crate) async fn save_codes(browser: &Browser) -> Vec<String> {
    browser.wait_for("#typed").await;
    let codes =
        browser.eval("return [...document.querySelectorAll('main li code')].map((c) => c.textContent)").await;
    let codes: Vec<String> =
        codes.as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()).collect();
    browser.fill("#typed", &codes[3]).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.click("main a.primary").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    codes
}

/// Signs in on the sign-in page that is shown.
pub(crate) async fn sign_in(browser: &Browser, gate: &TestGate, name: &str, phone: &Secret) {
    gate.clock.advance(std::time::Duration::from_secs(30));
    browser.wait_for("#user").await;
    browser.fill("#user", name).await;
    browser.fill("#code", &code(phone, gate)).await;
    browser.click("main form button[type=submit]").await;
}

pub(crate) async fn sign_out(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/", gate.url())).await;
    browser.click("form[action='/_gate/sign-out'] button").await;
    browser.wait_for_path("/_gate/sign-out").await;
}

#[tokio::test]
async fn a_person_goes_from_the_link_to_a_console_and_signing_out_ends_it() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;

    enrol(&browser, &gate, "alice").await;
    browser.fill("#login-user", "root@pam").await;
    browser.fill("#login-password", "proxmox").await;
    browser.click("#login-submit").await;
    browser.wait_for_text("root@pam").await;
    browser.click("#version-button").await;
    browser.wait_for_text("200 OK").await;
    browser.click("#console-open").await;
    browser.wait_for_text("open").await;
    pve.wait_until(|_| pve.tunnels_open() == 1).await;
    browser.screenshot("journey-console").await;
    let sign_out = "return fetch('/_gate/sign-out', { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } }).then((r) => r.status)";
    let status = browser.eval(sign_out).await;

    assert_eq!(status, json!(200));
    pve.wait_until(|_| pve.tunnels_open() == 0).await;
    browser.wait_for_text("closed").await;
    browser.click("#version-button").await;
    browser.wait_for_text(names::SIGN_IN_PHRASE).await;
}

#[tokio::test]
async fn the_link_works_once_and_its_code_leaves_the_address_bar() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let link = gate.invite("alice").link(&gate.config.gate.public_url);

    browser.goto(&link).await;
    use_an_app(&browser).await;
    assert!(!browser.url().await.contains('#'), "{}", browser.url().await);
    let phone = scan(&browser).await;
    browser.fill("#code", "000000").await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for("[role=alert]").await;
    browser.screenshot("journey-wrong-code").await;
    assert_eq!(pve.connections_seen(), 0);
    browser.fill("#code", &code(&phone, &gate)).await;
    browser.click("main form button[type=submit]").await;
    save_codes(&browser).await;
    browser.goto(&link).await;

    browser.wait_for_text("was used").await;
}

#[tokio::test]
async fn a_deep_link_survives_signing_in_fragment_included() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let phone = enrol(&browser, &gate, "alice").await;
    sign_out(&browser, &gate).await;

    browser.goto(&format!("{}/?console=shell&node=demo#v1:0:=qemu%2F100:4", gate.url())).await;
    browser.wait_for_path("/_gate/sign-in").await;
    sign_in(&browser, &gate, "Alice", &phone).await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;

    assert_eq!(browser.url().await, format!("{}/?console=shell&node=demo#v1:0:=qemu%2F100:4", gate.url()));
}

#[tokio::test]
async fn an_open_tab_shows_what_to_do_and_leads_back_to_where_it_was() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let phone = enrol(&browser, &gate, "alice").await;
    let deep = format!("{}/?poll=100#v1:0:=qemu%2F100:4", gate.url());
    browser.goto(&deep).await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    browser.fill("#login-user", "root@pam").await;
    browser.fill("#login-password", "proxmox").await;
    browser.click("#login-submit").await;
    browser.wait_for_text("root@pam").await;

    gate.clock.advance(std::time::Duration::from_secs(13 * 60 * 60));
    browser.wait_for_text(&format!("Connection error 401: {}", names::SIGN_IN_PHRASE)).await;
    browser.screenshot("journey-session-over").await;
    browser.eval("location.reload()").await;
    browser.wait_for_path("/_gate/sign-in").await;
    sign_in(&browser, &gate, "alice", &phone).await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;

    assert_eq!(browser.url().await, deep);
}

#[tokio::test]
async fn without_javascript_people_enrol_recover_and_sign_in() {
    let (_pve, gate) = gate().await;
    let options = Options { javascript: JavaScript::Off, ..Options::default() };
    let browser = browser(&gate, options).await;
    let link = gate.invite("bob").link(&gate.config.gate.public_url);

    browser.goto(&format!("{}/_gate/enrol", gate.url())).await;
    browser.fill("#token", link.split_once('#').unwrap().1).await;
    browser.click("main form button[type=submit]").await;
    use_an_app(&browser).await;
    let phone = scan(&browser).await;
    browser.fill("#code", &code(&phone, &gate)).await;
    browser.click("main form button[type=submit]").await;
    let codes = save_codes(&browser).await;
    sign_out(&browser, &gate).await;
    browser.goto(&format!("{}/_gate/recover", gate.url())).await;
    browser.fill("#user", "bob").await;
    browser.fill("#code", &codes[0].to_uppercase()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    sign_out(&browser, &gate).await;
    browser.goto(&format!("{}/#v1:0:18", gate.url())).await;
    sign_in(&browser, &gate, "bob", &phone).await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;

    assert_eq!(browser.url().await, format!("{}/#v1:0:18", gate.url()), "the form's own address keeps it");
}

#[tokio::test]
async fn the_session_cookie_is_out_of_reach_for_scripts_and_for_other_paths() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;

    enrol(&browser, &gate, "alice").await;

    let cookies = browser.cookies().await;
    let ours = cookies.iter().find(|cookie| cookie.name == names::SESSION_COOKIE).unwrap();
    assert!(ours.http_only && ours.secure);
    assert_eq!((ours.same_site.as_deref(), ours.path.as_str()), (Some("Lax"), "/"));
    assert_eq!(browser.eval("return document.cookie.includes('pvegate')").await, json!(false));
}

#[tokio::test]
async fn the_pages_are_photographed_light_dark_and_on_a_phone() {
    let (_pve, gate) = gate().await;
    let looks = [
        ("light", ColourScheme::Light, Viewport::Desktop),
        ("dark", ColourScheme::Dark, Viewport::Desktop),
        ("phone", ColourScheme::Light, Viewport::Phone),
        ("phone-dark", ColourScheme::Dark, Viewport::Phone),
    ];
    for (look, colour_scheme, viewport) in looks {
        let browser = browser(&gate, Options { colour_scheme, viewport, ..Options::default() }).await;
        browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
        browser.wait_for("#user").await;
        browser.screenshot(&format!("sign-in-{look}")).await;
        let link = gate.invite(&format!("alice-{look}")).link(&gate.config.gate.public_url);
        browser.goto(&link).await;
        browser.wait_for("button[name=method]").await;
        browser.screenshot(&format!("enrol-passkey-{look}")).await;
        use_an_app(&browser).await;
        browser.screenshot(&format!("enrol-totp-{look}")).await;
        let phone = scan(&browser).await;
        browser.fill("#code", &code(&phone, &gate)).await;
        browser.click("main form button[type=submit]").await;
        browser.wait_for("#typed").await;
        browser.screenshot(&format!("enrol-codes-{look}")).await;
        save_codes(&browser).await;
        browser.screenshot(&format!("stand-in-{look}")).await;
        browser.goto(&format!("{}/_gate/", gate.url())).await;
        browser.wait_for_text("alice").await;
        browser.screenshot(&format!("account-{look}")).await;
        browser.goto(&format!("{}/_gate/nothing", gate.url())).await;
        browser.screenshot(&format!("not-found-{look}")).await;
        let wide = browser.eval("return document.documentElement.scrollWidth > innerWidth").await;
        assert_eq!(wide, json!(false), "{look}: the page is wider than the window");
        let log = browser.console().await;
        assert!(!log.iter().any(|line| line.message.contains("Content Security Policy")), "{look}: {log:?}");
    }
}
