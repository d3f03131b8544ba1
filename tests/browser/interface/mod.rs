//! Every page in every state, looked at as people do who see, read or type in other ways than most.
//!
//! `shelf` has the states; `checks.js` says what is asked of each beyond axe. A page that is added to
//! `src/gate/portal/pages/tests.rs` is among them from then on, and what the gate serves at a route of its own
//! is looked at in `routes`. Pictures of all states are kept in `target/screenshots/states`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod routes;
mod shelf;

use std::fs;

use fantoccini::key::Key;
use serde_json::{Value, json};

use self::shelf::{Shelf, State};
use crate::harness::{Browser, ColourScheme, Options, Viewport};

/// What is asked of pages; see `checks.js`.
const CHECKS: &str = include_str!("checks.js");

/// Has the checks in every page from here on.
async fn equip(browser: &Browser) {
    browser.cdp("Page.enable", json!({})).await;
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": CHECKS })).await;
}

/// And axe, which takes its time to load.
async fn equip_with_axe(browser: &Browser) {
    let axe = crate::gate::packages().join("npm/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(&axe).unwrap_or_else(|error| {
        panic!("{}: {error}; `bash tests/run` installs it", axe.display());
    });
    equip(browser).await;
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": axe })).await;
}

/// Asks one thing of the page that is shown: what is wrong, a line each.
async fn ask(browser: &Browser, check: &str) -> Vec<String> {
    let wrong = browser.eval(&format!("return checks.{check}()")).await;
    serde_json::from_value(wrong).unwrap()
}

/// Everything that is wrong with any state, told at once.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, state: &State, check: &str, wrong: Vec<String>) {
        self.0.extend(
            wrong
                .into_iter()
                .map(|wrong| format!("{}.{}.{}: {check}: {wrong}", state.name, state.language, state.theme)),
        );
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} findings:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

/// Has axe look at every state in a language and at a size: by all its rules in light colours, then by those that
/// look at colours in dark ones. Takes pictures of both.
async fn axe_finds_nothing(language: &str, viewport: Viewport) {
    let shelf = Shelf::open().await;
    let browser = Browser::start(Options { viewport, ..Options::default() }).await;
    equip_with_axe(&browser).await;
    let size = match viewport {
        Viewport::Desktop => "desktop",
        Viewport::Phone => "phone",
    };
    let mut findings = Findings::default();

    for state in shelf.states(language, "light") {
        browser.goto(&shelf.url(&state)).await;
        for check in ["axe", "targets"] {
            findings.add(&state, check, ask(&browser, check).await);
        }
        browser.screenshot(&format!("states/{}-{size}-{language}-light", state.name)).await;
        browser.eval("document.documentElement.className = 'dark'").await;
        findings.add(&state, "axe in the dark", ask(&browser, "contrast").await);
        browser.screenshot(&format!("states/{}-{size}-{language}-dark", state.name)).await;
    }
    let log = browser.console().await;
    assert!(!log.iter().any(|line| line.message.contains("Content Security Policy")), "{log:?}");
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page_in_english_on_a_desktop_light_or_dark() {
    axe_finds_nothing("en", Viewport::Desktop).await;
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page_in_german_on_a_phone_light_or_dark() {
    axe_finds_nothing("de", Viewport::Phone).await;
}

/// A check that finds nothing may be one that does not look.
#[tokio::test]
async fn every_check_finds_the_fault_that_was_planted_for_it() {
    let shelf = Shelf::open().await;
    let browser = Browser::start(Options::default()).await;
    equip_with_axe(&browser).await;
    let states = shelf.states("en", "light");
    let page = states.iter().find(|state| state.name == "enrol-codes").unwrap();
    #[rustfmt::skip]
    let table = [
        // check       what is done to the page                                                  what is found
        ("axe",        "document.querySelector('label').remove()",                               "label: "),
        ("axe",        "document.querySelector('h1').style.color = '#ddd'",                      "color-contrast: "),
        ("contrast",   "document.querySelector('h1').style.color = '#ddd'",                      "color-contrast: "),
        ("axe",        "document.documentElement.removeAttribute('lang')",                       "html-has-lang: "),
        ("axe",        "document.querySelector('main').setAttribute('role', 'nothing')",         "aria-roles: "),
        ("axe",        "document.querySelector('h1').remove()",                                  "page-has-heading-one: "),
        ("fits",       "document.querySelector('h1').style.width = '2000px'",                    "scrolls sideways"),
        ("fits",       "document.querySelector('h1').style.cssText = 'position:absolute;left:-999px'", "lies from -999"),
        ("fits",       "document.querySelector('.lead').style.cssText = 'height:1em;overflow:hidden'", "is cut off"),
        ("spaced",     "document.querySelector('.lead').style.cssText = 'height:3em;overflow:hidden;width:100%'", "is cut off"),
        ("mirrored",   "document.querySelector('h1').style.cssText = 'position:absolute;right:-999px'", "lies from "),
        ("large",      "document.querySelector('h1').style.cssText = 'width:50rem'",             "scrolls sideways"),
        ("targets",    "document.querySelector('button').style.cssText = 'min-height:0;height:20px;padding:0'", "20 px"),
        ("motion",     "document.querySelector('main').style.transition = 'color 1s'",           "moves"),
        ("paper",      "document.querySelector('.codes').style.color = '#eee'",                  "is printed in"),
        ("paper",      "document.querySelector('main').style.background = '#222'",               "is printed on"),
        ("paper",      "document.querySelector('header').style.display = 'block'",               "is on the sheet"),
        ("forced",     "document.querySelector('button').style.cssText = 'border:0;background:none;color:inherit'", "looks like text"),
    ];

    for (check, fault, found) in table {
        browser.goto(&shelf.url(page)).await;
        match check {
            "paper" => {
                media(&browser, "print", json!([])).await;
            }
            "forced" => media(&browser, "", json!([{ "name": "forced-colors", "value": "active" }])).await,
            _ => media(&browser, "", still()).await,
        }
        assert_eq!(ask(&browser, check).await, Vec::<String>::new(), "{check} before");
        browser.eval(fault).await;
        let wrong = ask(&browser, check).await;
        assert!(wrong.iter().any(|wrong| wrong.contains(found)), "{check}: {fault}: {wrong:?}");
    }
}

/// The features of somebody who wants nothing to move.
fn still() -> Value {
    json!([{ "name": "prefers-reduced-motion", "value": "reduce" }])
}

/// What the page is shown on, and to whom.
async fn media(browser: &Browser, medium: &str, features: Value) {
    browser.cdp("Emulation.setEmulatedMedia", json!({ "media": medium, "features": features })).await;
}

async fn resize(browser: &Browser, width: u32, height: u32) {
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    browser.cdp("Emulation.setDeviceMetricsOverride", size).await;
}

/// Narrow, wide apart, mirrored and twice as large. German words are the longer ones.
#[tokio::test]
async fn every_page_fits_a_narrow_window_wide_spacing_large_text_and_the_other_direction() {
    let shelf = Shelf::open().await;
    let browser = Browser::start(Options::default()).await;
    equip(&browser).await;
    media(&browser, "", still()).await;
    let mut findings = Findings::default();

    for language in ["de", "en"] {
        for state in shelf.states(language, "light") {
            resize(&browser, 320, 800).await;
            browser.goto(&shelf.url(&state)).await;
            for check in ["fits", "spaced", "mirrored", "motion"] {
                findings.add(&state, check, ask(&browser, check).await);
            }
            resize(&browser, 1280, 800).await;
            findings.add(&state, "large", ask(&browser, "large").await);
        }
    }
}

#[tokio::test]
async fn every_page_works_with_the_systems_own_colours_and_on_paper_whatever_the_theme() {
    let shelf = Shelf::open().await;
    let browser = Browser::start(Options { colour_scheme: ColourScheme::Dark, ..Options::default() }).await;
    equip(&browser).await;
    let mut findings = Findings::default();

    for state in shelf.states("en", "dark") {
        browser.goto(&shelf.url(&state)).await;
        media(&browser, "", json!([{ "name": "forced-colors", "value": "active" }])).await;
        findings.add(&state, "forced", ask(&browser, "forced").await);
        if state.name == "methods" {
            browser.screenshot("states/methods-forced-colours").await;
        }
        media(&browser, "print", json!([{ "name": "prefers-color-scheme", "value": "dark" }])).await;
        findings.add(&state, "paper", ask(&browser, "paper").await);
        if state.name == "enrol-codes" {
            browser.screenshot("states/codes-on-paper").await;
        }
    }
}

#[tokio::test]
async fn tab_reaches_every_control_of_every_page_in_the_order_in_which_eyes_do() {
    let shelf = Shelf::open().await;
    let browser = Browser::start(Options::default()).await;
    equip(&browser).await;
    let mut findings = Findings::default();

    for state in shelf.states("en", "light") {
        browser.goto(&shelf.url(&state)).await;
        let controls = browser.eval("return checks.beginWalk()").await.as_u64().unwrap();
        browser.press_often(Key::Tab, usize::try_from(controls).unwrap() + 1).await;
        findings.add(&state, "keyboard", ask(&browser, "endWalk").await);
    }
}
