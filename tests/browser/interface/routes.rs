//! What the gate itself serves at its routes, to a stranger and to somebody who is signed in: every route there
//! is, without a list to forget one in.

use pvegate::{account::Role, gate::target::Route, names};
use serde_json::json;

use super::{Findings, ask, equip_with_axe, shelf::State};
use crate::{
    gate::{Person, TestGate},
    harness::{Browser, ColourScheme, Options},
    journey::{browser, gate},
};

/// Looks at what is at every route that has a page, and says which had one.
async fn look_at_all(
    browser: &Browser,
    gate: &TestGate,
    method: &str,
    findings: &mut Findings,
) -> Vec<Route> {
    let mut seen = Vec::new();
    for (route, path, methods) in Route::ALL {
        let is_file = path.ends_with('*') || matches!(route, Route::Ca);
        if is_file || route.is_for_script() || !methods.contains(&http::Method::GET) {
            continue;
        }
        let query = match route {
            Route::MethodChange => format!("?do=rename&id={method}"),
            _ => String::new(),
        };
        browser.goto(&format!("{}{path}{query}", gate.url())).await;
        let landed = browser.eval("return [location.pathname, document.contentType]").await;
        if landed != json!([path, "text/html"]) {
            continue;
        }
        seen.push(route);
        let state = State { name: path.to_owned(), language: "en".to_owned(), theme: "auto".to_owned() };
        for check in ["axe", "fits", "targets"] {
            findings.add(&state, check, ask(browser, check).await);
        }
    }
    seen
}

#[tokio::test]
async fn axe_finds_nothing_on_what_the_gate_serves_to_strangers_and_to_people_who_are_signed_in() {
    let (_pve, gate) = gate().await;
    let token = gate.invite_as("alice", Role::Admin);
    let alice = Person::enrol_with(gate.client(), &gate, "alice", &token).await;
    let method = {
        use pvegate::store::Store as _;
        let mut store = gate.store();
        let user = store.user_by_name(&"alice".parse().unwrap()).unwrap().unwrap().id;
        store.authenticators(user).unwrap().remove(0).id.0
    };
    // The theme is the system's here: the pages of `shelf` have one of their own.
    let browser = browser(&gate, Options { colour_scheme: ColourScheme::Dark, ..Options::default() }).await;
    equip_with_axe(&browser).await;
    let mut findings = Findings::default();

    let to_strangers = look_at_all(&browser, &gate, &method, &mut findings).await;
    let cookie = json!({
        "name": names::SESSION_COOKIE, "value": alice.session_cookie().unwrap(), "url": gate.url(),
        "path": "/", "secure": true, "httpOnly": true, "sameSite": "Lax",
    });
    browser.cdp("Network.setCookie", cookie).await;
    let to_alice = look_at_all(&browser, &gate, &method, &mut findings).await;

    assert_eq!(to_strangers, [Route::SignIn, Route::Enrol, Route::Recover]);
    for route in [Route::Home, Route::Methods, Route::MethodChange, Route::Sessions, Route::Panic] {
        assert!(to_alice.contains(&route), "{route:?} was not seen: {to_alice:?}");
    }
}

/// Proxmox VE keeps these two itself (pve-manager: ThemeEdit.js, LoginWindow.js).
#[tokio::test]
async fn pages_wear_the_theme_and_speak_the_language_that_were_chosen_in_proxmox_ve() {
    let (_pve, gate) = gate().await;
    let browser = browser(&gate, Options::default()).await;
    let look = "return [getComputedStyle(document.body).colorScheme, document.documentElement.lang,
                        document.querySelector('h1').textContent]";
    let table = [
        (None, None, ["light", "en", "Sign in"]),
        (Some("proxmox-dark"), Some("de"), ["dark", "de", "Anmelden"]),
        (Some("crisp"), Some("fr"), ["light", "en", "Sign in"]),
    ];

    for (theme, language, expected) in table {
        for (name, value) in [("PVEThemeCookie", theme), ("PVELangCookie", language)] {
            let Some(value) = value else { continue };
            let cookie = json!({ "name": name, "value": value, "url": gate.url(), "path": "/" });
            browser.cdp("Network.setCookie", cookie).await;
        }
        browser.goto(&format!("{}/_gate/sign-in", gate.url())).await;
        assert_eq!(browser.eval(look).await, json!(expected), "{theme:?} {language:?}");
    }
    // What is chosen at the gate goes before, and where one was going stays.
    browser.goto(&format!("{}/_gate/sign-in?next=%2F%3Fconsole%3Dkvm", gate.url())).await;
    browser.click("footer nav a[hreflang=de]").await;
    browser.wait_for_text("Anmelden").await;
    assert!(browser.url().await.contains("next=%2F%3Fconsole%3Dkvm"), "{}", browser.url().await);
}
