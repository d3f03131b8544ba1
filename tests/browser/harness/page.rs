//! What a person does with a page, and what they see there.
//!
//! Actions wait for their element; looking does not, so a test says `wait_for…` before it looks at
//! what an action brings about.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fantoccini::{
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    error::CmdError,
    key::Key,
    wd::Locator,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Browser, Call, CertificateWarning, PATIENCE};

/// How often a wait looks again. WebDriver has no way to be told.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What Chromium's own error page calls its reason; null on any other page.
const ERROR_CODE: &str = r#"
    if (!document.URL.startsWith("chrome-error:")) return null;
    return document.querySelector('#error-code, .error-code')?.textContent.trim() || "no reason given";
"#;

/// Why a page was not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NavigationError {
    /// Chromium shows its full-page warning.
    #[error("certificate is not trusted")]
    Certificate,
    /// Anything else, in Chromium's words (`ERR_CONNECTION_REFUSED`).
    #[error("{0}")]
    Other(String),
}

/// A cookie as the browser keeps it, `HttpOnly` ones too.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) domain: String,
    pub(crate) path: String,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    /// `Strict`, `Lax` or `None`, as the server wrote it; nothing if it did not.
    pub(crate) same_site: Option<String>,
}

/// A line of the page's console. Blocked scripts and violated policies are lines too.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsoleLine {
    /// `SEVERE`, `WARNING`, `INFO` or `DEBUG`.
    pub(crate) level: String,
    pub(crate) message: String,
}

impl Browser {
    /// Goes to a URL and waits until the page has loaded.
    ///
    /// # Panics
    ///
    /// If the page is not shown; see [`Self::try_goto`].
    pub(crate) async fn goto(&self, url: &str) {
        if let Err(error) = self.try_goto(url).await {
            panic!("{url}: {error}");
        }
    }

    /// Goes to a URL and waits until the page has loaded.
    ///
    /// # Errors
    ///
    /// [`NavigationError`]; the browser then shows Chromium's own page about it.
    pub(crate) async fn try_goto(&self, url: &str) -> Result<(), NavigationError> {
        // Chromedriver's own bound is the same and has the better message: it goes first.
        let shown = tokio::time::timeout(PATIENCE * 2, self.client.goto(url)).await;
        match shown.unwrap_or_else(|_| panic!("{url}: not loaded after {:?}", PATIENCE * 2)) {
            Ok(()) => {}
            Err(error) => return Err(NavigationError::Other(error.to_string())),
        }
        // Chromedriver (156) says that all is well when Chromium shows an error page.
        let Value::String(code) = self.eval(ERROR_CODE).await else { return Ok(()) };
        if !code.contains("ERR_CERT_") {
            return Err(NavigationError::Other(code));
        }
        match self.certificate_warning {
            CertificateWarning::Heed => Err(NavigationError::Certificate),
            CertificateWarning::ClickThrough => {
                self.click_through().await;
                Ok(())
            }
        }
    }

    /// Types what Chromium's warning takes for "I know what I am doing", even where it has no button.
    async fn click_through(&self) {
        for letter in "thisisunsafe".chars() {
            let text = letter.to_string();
            self.cdp("Input.dispatchKeyEvent", json!({ "type": "char", "text": text })).await;
        }
        self.wait("the page behind the certificate warning", async || {
            let still = self.try_eval(ERROR_CODE).await.ok()?;
            still.is_null().then_some(())
        })
        .await;
    }

    /// The URL of the page, fragment included.
    pub(crate) async fn url(&self) -> String {
        self.within("current URL", self.client.current_url()).await.into()
    }

    /// The text of the page as a person sees it: no hidden elements, capitals as styled.
    pub(crate) async fn text(&self) -> String {
        self.text_if_any().await.unwrap_or_default()
    }

    async fn text_if_any(&self) -> Option<String> {
        // Between two pages there is no body, or an old one.
        let body = self.client.find(Locator::Css("body")).await.ok()?;
        body.text().await.ok()
    }

    /// Waits until the page shows `text`.
    pub(crate) async fn wait_for_text(&self, text: &str) {
        self.wait(&format!("the text {text:?}"), async || {
            self.text_if_any().await?.contains(text).then_some(())
        })
        .await;
    }

    /// Waits until [`Self::eval`] of this gives `wanted`.
    pub(crate) async fn wait_for_result(&self, script: &str, wanted: &Value) {
        self.wait(&format!("{wanted} from {script:?}"), async || {
            (self.try_eval(script).await.ok()? == *wanted).then_some(())
        })
        .await;
    }

    /// Waits until the path of the URL (no query, no fragment) is `path`.
    pub(crate) async fn wait_for_path(&self, path: &str) {
        self.wait(&format!("the path {path}"), async || {
            (self.client.current_url().await.ok()?.path() == path).then_some(())
        })
        .await;
    }

    /// Waits until an element for the CSS selector is visible, and returns it.
    pub(crate) async fn wait_for(&self, selector: &str) -> Element {
        self.wait(&format!("the element `{selector}`"), async || {
            let element = self.client.find(Locator::Css(selector)).await.ok()?;
            element.is_displayed().await.ok()?.then_some(element)
        })
        .await
    }

    /// Replaces what a field holds, key by key.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = self.wait_for(selector).await;
        self.within(selector, field.clear()).await;
        self.within(selector, field.send_keys(text)).await;
    }

    /// Clicks (on a phone: taps) the middle of an element. If that starts a navigation, it is waited
    /// for.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.wait_for(selector).await;
        self.within(selector, element.click()).await;
    }

    /// Presses and releases a key, wherever the focus is.
    pub(crate) async fn press(&self, key: Key) {
        self.press_often(key, 1).await;
    }

    /// Presses and releases a key so many times, in one breath.
    pub(crate) async fn press_often(&self, key: Key, times: usize) {
        let value = char::from(key);
        let strokes = (0..times).fold(KeyActions::new("keyboard".to_owned()), |strokes, _| {
            strokes.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.within("key", self.client.perform_actions(strokes)).await;
    }

    /// Types on the keyboard, wherever the focus is.
    pub(crate) async fn type_keys(&self, text: &str) {
        let strokes = text.chars().fold(KeyActions::new("keyboard".to_owned()), |strokes, value| {
            strokes.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.within("keys", self.client.perform_actions(strokes)).await;
    }

    /// Presses Tab until the focus leaves the page or comes around, `most` times at most, and
    /// describes each stop: `button#send "Send"`.
    pub(crate) async fn tab_walk(&self, most: usize) -> Vec<String> {
        const FOCUSED: &str = r#"
            const e = document.activeElement;
            if (!e || e === document.body || e === document.documentElement) return null;
            const name = e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.innerText || "";
            return `${e.localName}${e.id ? '#' + e.id : ''} "${name.trim()}"`;
        "#;
        let mut stops = Vec::new();
        while stops.len() < most {
            self.press(Key::Tab).await;
            match self.eval(FOCUSED).await {
                Value::String(stop) if !stops.contains(&stop) => stops.push(stop),
                _ => break,
            }
        }
        stops
    }

    /// Runs the body of a function in the page and returns its result; a promise is waited for.
    ///
    /// Works with scripts of pages turned off, too: this is the test's, not the page's.
    ///
    /// # Panics
    ///
    /// If it throws or rejects.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        self.within(script, self.try_eval(script)).await
    }

    async fn try_eval(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(script, Vec::new()).await
    }

    /// What the console printed since the last call.
    pub(crate) async fn console(&self) -> Vec<ConsoleLine> {
        let call = Call { path: "se/log", body: json!({ "type": "browser" }) };
        parse("console", self.within("console", self.client.issue_cmd(call)).await)
    }

    /// All cookies of all sites.
    pub(crate) async fn cookies(&self) -> Vec<Cookie> {
        let answer = self.cdp("Storage.getCookies", json!({})).await;
        parse("cookies", answer["cookies"].clone())
    }

    /// Writes the whole page, not only what is in view, to `target/screenshots/NAME.png`, and says
    /// where that is.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        self.within("screenshot", self.try_screenshot(name)).await
    }

    /// Takes the page's picture at a desk in light and in dark colours, on a phone and in 320 pixels (WCAG 2.2,
    /// 1.4.10), and leaves it as it was at a desk in the light.
    ///
    /// # Panics
    ///
    /// If the page is wider than a window.
    pub(crate) async fn photograph(&self, name: &str) {
        let looks = [
            ("320", 320, "dark"),
            ("phone", 390, "light"),
            ("phone-dark", 390, "dark"),
            ("dark", 1280, "dark"),
            ("light", 1280, "light"),
        ];
        for (look, width, scheme) in looks {
            let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
            self.cdp("Emulation.setDeviceMetricsOverride", size).await;
            let features = json!([
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": "reduce" },
            ]);
            self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
            self.screenshot(&format!("{name}-{look}")).await;
            let wide = self.eval("return document.documentElement.scrollWidth").await;
            assert!(wide.as_u64().is_some_and(|wide| wide <= width), "{name} is {wide} wide in {width}");
        }
    }

    async fn try_screenshot(&self, name: &str) -> Result<PathBuf, CmdError> {
        let params = json!({ "format": "png", "captureBeyondViewport": true, "optimizeForSpeed": true });
        let answer = self.try_cdp("Page.captureScreenshot", params).await?;
        let png = answer["data"].as_str().unwrap_or_default().as_bytes();
        let png = data_encoding::BASE64.decode(png).unwrap_or_else(|error| panic!("screenshot: {error}"));
        let file = screenshots().join(format!("{name}.png"));
        fs::create_dir_all(file.parent().unwrap_or(&file))
            .and_then(|()| fs::write(&file, png))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Ok(file)
    }

    /// Looks until there is something to see.
    pub(super) async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(seen)) = tokio::time::timeout_at(end, look()).await {
                return seen;
            }
            if Instant::now() >= end {
                self.give_up(what).await;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Tells what was there instead, as far as the browser still answers.
    async fn give_up(&self, what: &str) -> ! {
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let look = async {
            let url = self.client.current_url().await.map(String::from).unwrap_or_default();
            let text = self.text_if_any().await.unwrap_or_default();
            let picture = match self.try_screenshot(&format!("failed-{test}")).await {
                Ok(file) => file.display().to_string(),
                Err(error) => error.to_string(),
            };
            format!("{url} shows:\n{text}\n(screenshot: {picture})")
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(seen) => panic!("no sign of {what} after {PATIENCE:?}; {seen}"),
            Err(_) => panic!("no sign of {what} after {PATIENCE:?}; the browser no longer answers"),
        }
    }
}

/// `target/screenshots`, wherever `target` is.
fn screenshots() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap_or(scratch).join("screenshots")
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, value: Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{what}: {error}"))
}
