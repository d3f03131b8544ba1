//! What a policy demands, as the people see it of whom it is demanded.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{
    store::Store as _,
    time::{Clock as _, SystemClock},
};

use crate::{
    gate::{Pve, TestGate},
    harness::{Authenticator, Browser, Options, Transport},
    journey::browser,
    passkeys::{sign_out, without_suggestions},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A gate at the machine's own time that demands two keys of everybody, two days from now.
async fn gate() -> (Pve, TestGate) {
    let pve = Pve::start().await;
    let policy = "[[policy]]\nname = \"two\"\nrequire = \"two-keys\"\ngrace = \"2d\"\n";
    let gate = TestGate::recipe(&pve).at(SystemClock.now()).tables(policy).start().await;
    (pve, gate)
}

fn keys(gate: &TestGate) -> usize {
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    store.credentials(user).unwrap().len()
}

/// Follows the link and makes a passkey, up to where the policy has its say.
async fn enrol(browser: &Browser, gate: &TestGate) {
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for("#typed").await;
    let code = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", code.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
}

/// Signs in by the button, for the machine 100.
async fn sign_in(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/#v1:0:=qemu%2F100", gate.url())).await;
    browser.click("[data-passkey-sign-in] button").await;
}

#[tokio::test]
async fn who_owes_a_second_key_is_told_until_when_and_then_adds_it_before_anything_else() {
    let (pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let laptop = browser.plug_in(Authenticator::default()).await;
    without_suggestions(&browser).await;

    // In grace: told at once, and let through.
    enrol(&browser, &gate).await;
    browser.wait_for_path("/_gate/demanded").await;
    browser.click("main .links a").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.photograph("policy-enrolled").await;
    browser.click("main a.primary").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    sign_out(&browser, &gate).await;

    // And at each sign-in, with the day on which that ends.
    sign_in(&browser, &gate).await;
    browser.wait_for_path("/_gate/demanded").await;
    browser.photograph("policy-demanded").await;
    let until = gate.began.plus(2 * DAY);
    let told = browser.eval("return document.querySelector('main time').dateTime").await;
    let apart = told.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond() - until.millis();
    assert!((0..60_000).contains(&apart), "{told}: two days from the first look at the policy");
    browser.click("main .links a").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    assert!(browser.url().await.ends_with("/#v1:0:=qemu%2F100"), "{}", browser.url().await);
    sign_out(&browser, &gate).await;

    // Afterwards: in only as far as to add the key.
    gate.clock.advance(2 * DAY);
    let before = pve.requests_seen();
    sign_in(&browser, &gate).await;
    browser.wait_for_path("/_gate/enrol").await;
    browser.wait_for_text("two keys").await;
    let text = browser.text().await;
    assert!(text.contains("Create another passkey") && !text.contains("Step 1"), "the codes stay: {text}");
    assert!(!text.contains("authenticator app"), "which is not what is asked for: {text}");
    browser.photograph("policy-enrol-second").await;
    for path in ["/", "/_gate/methods", "/api2/json/version"] {
        browser.goto(&format!("{}{path}", gate.url())).await;
        let text = browser.text().await;
        assert!(!text.contains("Stand-in") && !text.contains("Remove"), "{path}: {text}");
    }
    assert_eq!(pve.requests_seen(), before, "nothing gets to Proxmox VE");

    // The same key again is none.
    browser.goto(&format!("{}/_gate/enrol", gate.url())).await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for_text("already holds a passkey for you").await;
    browser.photograph("policy-same-key").await;
    assert_eq!(keys(&gate), 1);

    laptop.set_present(false).await;
    let key = browser.plug_in(Authenticator { transport: Transport::Usb, ..Authenticator::default() }).await;
    browser.fill("#name", "Blue key").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    browser.photograph("policy-done").await;
    browser.click("main a.primary").await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
    assert_eq!((keys(&gate), key.credentials().await.len()), (2, 1));
    assert!(pve.requests_seen() > before);

    // And from now on as if nothing had been.
    sign_out(&browser, &gate).await;
    sign_in(&browser, &gate).await;
    browser.wait_for_text("Stand-in for Proxmox VE").await;
}
