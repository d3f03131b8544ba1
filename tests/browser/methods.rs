//! Sign-in methods as people manage them: a second key, another name, a new phone, new recovery codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pvegate::{gate::ceremony::totp::Secret, store::Store as _, time::Clock as _};
use serde_json::{Value, json};

use crate::{
    gate::{HOST, TestGate},
    harness::{
        Authenticator, Backup, Browser, ColourScheme, JavaScript, Language, Options, Transport, Viewport,
    },
    journey::{browser, code, enrol, gate, scan, sign_in},
};

/// Writes down what pages tell the browser about passkeys, and passes it on.
const LISTEN: &str = r#"
    for (const name of Object.getOwnPropertyNames(PublicKeyCredential).filter((name) => name.startsWith("signal"))) {
        const original = PublicKeyCredential[name].bind(PublicKeyCredential);
        PublicKeyCredential[name] = (options) => {
            (globalThis.told ??= []).push({ name, ...options });
            return original(options);
        };
    }
"#;

/// As the login page of Proxmox VE would make one: the same relying party, a user handle of its own.
const MAKE_ANOTHERS: &str = r#"
    const bytes = new TextEncoder().encode("root@pam");
    return navigator.credentials.create({ publicKey: {
        rp: { id: location.hostname, name: "Proxmox VE" },
        user: { id: bytes, name: "root@pam", displayName: "root@pam" },
        challenge: bytes,
        pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        authenticatorSelection: { residentKey: "required" },
    } }).then((made) => made.id);
"#;

async fn methods(browser: &Browser, gate: &TestGate) {
    browser.goto(&format!("{}/_gate/methods", gate.url())).await;
}

/// Follows the link of a card: `do=rename` of the method of this name.
pub(crate) async fn change(browser: &Browser, gate: &TestGate, wish: &str, name: &str) {
    methods(browser, gate).await;
    let mark = format!(
        "const card = [...document.querySelectorAll('.cards li')].find((card) => card.querySelector('h2').textContent === {});
         card.querySelector('a[href*=\"do={wish}\"]').id = 'wanted';",
        json!(name)
    );
    browser.eval(&mark).await;
    browser.click("#wanted").await;
    browser.wait_for("form[data-prove]").await;
}

/// Confirms by the next code of this phone.
pub(crate) async fn confirm(browser: &Browser, gate: &TestGate, phone: &Secret) {
    gate.clock.advance(Duration::from_secs(30));
    browser.fill("#code", &code(phone, gate)).await;
    browser.click("main form button[type=submit]").await;
}

pub(crate) fn names(gate: &TestGate) -> Vec<String> {
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let apps = store.authenticators(user).unwrap().into_iter().map(|app| app.name);
    store.credentials(user).unwrap().into_iter().map(|key| key.name).chain(apps).collect()
}

async fn told(browser: &Browser) -> Value {
    browser.eval("return globalThis.told ?? []").await
}

#[tokio::test]
async fn a_second_passkey_is_added_after_enrolment_and_the_first_vanishes_from_its_device_when_removed() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let laptop = browser.plug_in(Authenticator { backup: Backup::Synced, ..Authenticator::default() }).await;
    browser.cdp("Page.enable", json!({})).await;
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": LISTEN })).await;

    // A passkey without a name, and the nudge.
    browser.goto(&gate.invite("alice").link(&gate.config.gate.public_url)).await;
    browser.wait_for("[data-passkey-create]").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for("#typed").await;
    let typed = browser.eval("return document.querySelector('main li code').textContent").await;
    browser.fill("#typed", typed.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_path("/_gate/enrolled").await;
    assert_eq!(names(&gate), ["Chrome on Linux"], "named after the device");
    browser.screenshot("methods-nudge").await;
    let anothers = browser.eval(MAKE_ANOTHERS).await;
    laptop.wait_until("two passkeys", |kept| kept.len() == 2).await;

    // A second one, on a key; the laptop proves it and has no part in it.
    browser.click("main .notice a.button").await;
    browser.wait_for_path("/_gate/methods/new").await;
    browser.click("[data-by-passkey]").await;
    browser.wait_for("[data-passkey-create]").await;
    laptop.set_present(false).await;
    let key = Authenticator { transport: Transport::Usb, ..Authenticator::default() };
    let key = browser.plug_in(key).await;
    browser.fill("#name", "Blue key").await;
    browser.click("[data-passkey-create] button[type=submit]").await;
    browser.wait_for_text("The sign-in method was added.").await;
    assert_eq!(names(&gate), ["Chrome on Linux", "Blue key"]);
    assert_eq!(key.credentials().await.len(), 1);
    assert_eq!(told(&browser).await, json!([]), "nothing that was known has changed");

    // Another name, proven by the key.
    change(&browser, &gate, "rename", "Chrome on Linux").await;
    browser.fill("#name", "Laptop").await;
    browser.screenshot("methods-rename").await;
    browser.click("[data-by-passkey]").await;
    browser.wait_for_text("The sign-in method has its new name.").await;
    assert_eq!(names(&gate), ["Laptop", "Blue key"]);
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    let handle = data_encoding::BASE64URL_NOPAD.encode(&store.user_handle(user).unwrap().unwrap().0);
    let details = json!([{
        "name": "alice", "rpId": HOST, "userId": handle, "displayName": "alice",
    }]);
    assert_eq!(told(&browser).await, details);

    // The first goes, from the browser's list too. What is not the gate's stays.
    change(&browser, &gate, "remove", "Laptop").await;
    browser.screenshot("methods-remove").await;
    browser.click("[data-by-passkey]").await;
    browser.wait_for_text("The sign-in method was removed.").await;
    browser.screenshot("methods-removed").await;
    laptop.wait_until("one passkey", |kept| kept.len() == 1).await;
    let left = &laptop.credentials().await[0].credential_id;
    let left = data_encoding::BASE64.decode(left.as_bytes()).unwrap();
    assert_eq!(json!(data_encoding::BASE64URL_NOPAD.encode(&left)), anothers);
    assert_eq!(key.credentials().await.len(), 1);
    let accepted = &told(&browser).await[0];
    assert_eq!(
        (&accepted["name"], &accepted["userId"]),
        (&json!("signalAllAcceptedCredentials"), &json!(handle))
    );
    assert_eq!(names(&gate), ["Blue key"]);
}

#[tokio::test]
async fn a_new_phone_a_new_name_and_new_codes_need_no_javascript() {
    let (_pve, gate) = gate().await;
    let desktop = browser(&gate, Options::default()).await;
    let phone = enrol(&desktop, &gate, "alice").await;
    drop(desktop);
    let without = Options { javascript: JavaScript::Off, ..Options::default() };
    let browser = browser(&gate, without).await;
    browser.goto(&format!("{}/_gate/sign-in?next=/_gate/methods", gate.url())).await;
    sign_in(&browser, &gate, "alice", &phone).await;
    browser.wait_for_path("/_gate/methods").await;

    change(&browser, &gate, "rename", "Phone").await;
    browser.fill("#name", "Old phone").await;
    confirm(&browser, &gate, &phone).await;
    browser.wait_for_text("The sign-in method has its new name.").await;

    change(&browser, &gate, "replace", "Old phone").await;
    confirm(&browser, &gate, &phone).await;
    browser.wait_for_text("“Old phone” works until the new one was checked.").await;
    browser.screenshot("methods-replace-no-script").await;
    let new_phone = scan(&browser).await;
    browser.fill("#name", "New phone").await;
    browser.fill("#code", "000000").await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for("[role=alert]").await;
    assert_eq!(names(&gate), ["Old phone"]);
    assert_eq!(browser.eval("return document.querySelector('#name').value").await, "New phone", "kept");
    browser.fill("#code", &code(&new_phone, &gate)).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("The new sign-in method is there, and the old one is gone.").await;
    assert_eq!(names(&gate), ["New phone"]);

    browser.click("a[href='/_gate/methods/codes']").await;
    browser.wait_for("form[data-prove]").await;
    confirm(&browser, &gate, &new_phone).await;
    browser.wait_for("#typed").await;
    browser.screenshot("methods-codes-no-script").await;
    let typed = browser.eval("return document.querySelectorAll('main li code')[9].textContent").await;
    browser.fill("#typed", typed.as_str().unwrap()).await;
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("Your new recovery codes work from now on").await;
    browser.screenshot("methods-no-script").await;

    change(&browser, &gate, "remove", "New phone").await;
    confirm(&browser, &gate, &new_phone).await;
    browser.wait_for_text("This is your only way in, so it stays.").await;
}

#[tokio::test]
async fn the_pages_are_for_dark_rooms_and_phones_too() {
    let (_pve, gate) = gate().await;
    let desktop = browser(&gate, Options::default()).await;
    let phone = enrol(&desktop, &gate, "alice").await;
    drop(desktop);
    // Few codes are left.
    let mut store = gate.store();
    let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
    store.replace_recovery_codes(user, &[[1; 32], [2; 32]], gate.clock.now()).unwrap();
    let light = Options::default();
    let dark = Options { colour_scheme: ColourScheme::Dark, ..light };
    let small = Options { viewport: Viewport::Phone, language: Language::German, ..light };
    let small_dark = Options { viewport: Viewport::Phone, ..dark };

    for (name, options) in [("light", light), ("dark", dark), ("phone", small), ("phone-dark", small_dark)] {
        let browser = browser(&gate, options).await;
        let _key = browser.plug_in(Authenticator::default()).await;
        browser.goto(&format!("{}/_gate/sign-in?next=/_gate/", gate.url())).await;
        sign_in(&browser, &gate, "alice", &phone).await;
        browser.wait_for_path("/_gate/").await;
        browser.screenshot(&format!("methods-account-{name}")).await;
        browser.click(".notice a[href='/_gate/methods/codes']").await;
        browser.wait_for("form[data-prove]").await;
        browser.screenshot(&format!("methods-codes-ask-{name}")).await;
        confirm(&browser, &gate, &phone).await;
        browser.wait_for("#typed").await;
        browser.screenshot(&format!("methods-codes-{name}")).await;
        methods(&browser, &gate).await;
        browser.screenshot(&format!("methods-{name}")).await;
        let app = names(&gate).pop().unwrap();
        change(&browser, &gate, "replace", &app).await;
        browser.screenshot(&format!("methods-replace-ask-{name}")).await;
        confirm(&browser, &gate, &phone).await;
        browser.wait_for(".qr").await;
        browser.screenshot(&format!("methods-replace-{name}")).await;

        for shown in ["methods", "methods/codes", "methods/new"] {
            browser.goto(&format!("{}/_gate/{shown}", gate.url())).await;
            let overflow =
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.eval(overflow).await, json!(0), "{shown} in {name} scrolls sideways");
        }
    }
}
