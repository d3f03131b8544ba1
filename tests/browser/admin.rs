//! Administrators' pages.

use pvegate::{account::Role, gate::ceremony::totp::Secret};
use serde_json::json;

use crate::{
    gate::TestGate,
    harness::{Browser, ColourScheme, JavaScript, Options, Viewport},
    journey::{browser, code, enrol, gate, sign_in},
};

/// Somebody who has enrolled and has a console open, by no browser.
async fn bob(gate: &TestGate) -> (crate::gate::Person, crate::gate::Console) {
    let token = gate.invite_as("bob", Role::User);
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Safari/604.1";
    let client = gate.client().with("user-agent", phone);
    let mut bob = crate::gate::Person::enrol_with(client, gate, "bob", &token).await;
    let console = bob.console().await;
    (bob, console)
}

async fn overview(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/", gate.url())).await;
    browser.click("main a[href='/_gate/admin']").await;
    browser.wait_for_path("/_gate/admin").await;
}

#[tokio::test]
async fn without_javascript_an_administrator_closes_a_console_and_invites_somebody() {
    let (pve, gate) = gate().await;
    let before = browser(&gate, Options::default()).await;
    let phone = enrol(&before, &gate, "alice").await;
    let off = Options { javascript: JavaScript::Off, ..Options::default() };
    let here = browser(&gate, off).await;
    here.goto(&format!("{}/_gate/", gate.url())).await;
    sign_in(&here, &gate, "alice", &phone).await;
    here.wait_for_path("/_gate/").await;
    let (_bob, mut console) = bob(&gate).await;
    overview(&here, &gate).await;

    here.click("a[href^='/_gate/admin/change?do=close-console']").await;
    here.wait_for_text("The session goes on").await;
    gate.clock.advance(std::time::Duration::from_secs(30));
    here.fill("#code", &code(&phone, &gate)).await;
    here.click("form[action='/_gate/admin/change'] button[type=submit]").await;
    here.wait_for_text("The console is closed").await;
    assert_eq!(console.receive().await, None);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;

    here.goto(&format!("{}/_gate/admin/change?do=add-user&about=", gate.url())).await;
    here.fill("#name", "carol").await;
    here.fill("#reason", "new here").await;
    gate.clock.advance(std::time::Duration::from_secs(30));
    here.fill("#code", &code(&phone, &gate)).await;
    here.click("form[action='/_gate/admin/change'] button[type=submit]").await;
    here.wait_for_text("The link is ready").await;
    here.wait_for_text("/_gate/enrol#").await;
}

#[tokio::test]
async fn administrators_pages_are_photographed_light_dark_and_on_phones_down_to_320_pixels() {
    let (_pve, gate) = gate().await;
    let (mut bob, _console) = bob(&gate).await;
    gate.invite_as("carol", Role::User);
    for code in ["000000", "111111"] {
        gate.client().post_form("/_gate/sign-in", &[("user", "bob"), ("code", code)]).await;
    }
    for _ in 0..20 {
        bob.client.get("/api2/json/version").await;
    }
    let mut store = gate.store();
    pvegate::store::Store::put_ban(
        &mut store,
        &pvegate::store::Ban {
            network: "2001:db8:1:2::/64".parse().unwrap(),
            reason: "scanner".to_owned(),
            automatic: false,
            created_at: pvegate::time::Clock::now(&*gate.clock),
            expires_at: None,
            before: 0,
        },
    )
    .unwrap();
    let looks = [
        ("light", ColourScheme::Light, Viewport::Desktop),
        ("dark", ColourScheme::Dark, Viewport::Desktop),
        ("phone", ColourScheme::Light, Viewport::Phone),
        ("phone-dark", ColourScheme::Dark, Viewport::Phone),
    ];
    for (look, colour_scheme, viewport) in looks {
        let browser = browser(&gate, Options { colour_scheme, viewport, ..Options::default() }).await;
        enrol(&browser, &gate, &format!("alice-{look}")).await;
        let pages = [
            ("admin", "/_gate/admin"),
            ("admin-user", "/_gate/admin/user?name=bob"),
            ("admin-add-user", "/_gate/admin/change?do=add-user&about="),
            ("admin-ban", "/_gate/admin/change?do=ban&about="),
            ("admin-disable", "/_gate/admin/change?do=disable&about=bob"),
            ("account-admin", "/_gate/"),
        ];
        for (page, path) in pages {
            browser.goto(&format!("{}{path}", gate.url())).await;
            browser.wait_for("main h1").await;
            browser.eval("document.querySelectorAll('details').forEach((d) => { d.open = true })").await;
            browser.screenshot(&format!("{page}-{look}")).await;
            let wide = browser.eval("return document.documentElement.scrollWidth > innerWidth").await;
            assert_eq!(wide, json!(false), "{page} {look}: the page is wider than the window");
        }
        if viewport == Viewport::Desktop {
            let narrow = json!({ "width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": false });
            browser.cdp("Emulation.setDeviceMetricsOverride", narrow).await;
            for (page, path) in pages {
                browser.goto(&format!("{}{path}", gate.url())).await;
                browser.wait_for("main h1").await;
                browser.eval("document.querySelectorAll('details').forEach((d) => { d.open = true })").await;
                let width = browser.eval("return document.documentElement.scrollWidth").await;
                browser.screenshot(&format!("{page}-{look}-320")).await;
                assert_eq!(width, json!(320), "{page} {look}: the page is wider than 320 pixels");
            }
        }
        let log = browser.console().await;
        assert!(!log.iter().any(|line| line.message.contains("Content Security Policy")), "{look}: {log:?}");
    }
}

/// Confirms what the page asks for by alice's next code.
async fn confirm(browser: &Browser, gate: &TestGate, phone: &Secret, reason: &str) {
    gate.clock.advance(std::time::Duration::from_secs(30));
    browser.fill("#reason", reason).await;
    browser.fill("#code", &code(phone, gate)).await;
    browser.click("form[action='/_gate/admin/change'] button[type=submit]").await;
}

#[tokio::test]
async fn without_javascript_an_administrator_disables_and_frees_people_and_networks_in_either_language() {
    let (pve, gate) = gate().await;
    let before = browser(&gate, Options::default()).await;
    let phone = enrol(&before, &gate, "alice").await;
    drop(before);
    let (bob, mut console) = bob(&gate).await;
    let off = Options { javascript: JavaScript::Off, ..Options::default() };
    let here = browser(&gate, off).await;
    here.goto(&format!("{}/_gate/", gate.url())).await;
    sign_in(&here, &gate, "alice", &phone).await;
    here.wait_for_path("/_gate/").await;
    overview(&here, &gate).await;

    here.click("main a[href='/_gate/admin/user?name=bob']").await;
    here.click("a[href^='/_gate/admin/change?do=disable']").await;
    // A code alone is not enough for what wants a reason: the browser itself says so, without script.
    let needs = here.eval("return document.querySelector('#reason').required").await;
    assert_eq!(needs, json!(true));
    confirm(&here, &gate, &phone, "has left").await;
    here.wait_for_text("The account is disabled, and its sessions are over.").await;
    assert_eq!(console.receive().await, None);
    assert_eq!(bob.client.clone().get("/").await.status, 401);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
    here.click("a[href^='/_gate/admin/change?do=enable']").await;
    confirm(&here, &gate, &phone, "is back").await;
    here.wait_for_text("The account is enabled.").await;

    // The other language stays, page after page.
    here.goto(&format!("{}/_gate/admin", gate.url())).await;
    here.click("footer nav a[hreflang=de]").await;
    here.wait_for_text("Netz sperren").await;
    here.click("a[href^='/_gate/admin/change?do=ban']").await;
    here.fill("#network", "203.0.113.0/24").await;
    confirm(&here, &gate, &phone, "scanner").await;
    here.wait_for_text("Das Netz ist gesperrt.").await;
    here.photograph("admin-no-script-banned").await;
    here.click("a[href^='/_gate/admin/change?do=unban']").await;
    confirm(&here, &gate, &phone, "").await;
    here.wait_for_text("Das Netz ist wieder frei.").await;
    here.click("footer nav a[hreflang=en]").await;
    here.wait_for_text("Block a network").await;
}
