//! A real Chromium for a test: start it, look at a page as a person does, throw it away.
//!
//! ```text
//! let browser = Browser::start(Options {
//!     trust: Some(&ca_pem),
//!     map_hosts: &[("gate.test", gate.address())],
//!     ..Options::default()
//! }).await;
//! browser.goto("https://gate.test/").await;
//! browser.wait_for_text("Sign in").await;
//! ```
//!
//! Each [`Browser`] has a chromedriver, a profile and a home directory of its own, and takes them
//! along when it goes: on drop, on panic, and when the test process is killed. At most
//! [`AT_ONCE`] run at a time, whatever `--test-threads` says. Every wait ends after [`PATIENCE`],
//! with a panic that tells what the page showed instead and a screenshot beside the others.
//!
//! [`processes`] starts and ends the programs, [`page`] is what one does with a page, and
//! [`authenticator`] plugs in security keys.

#![expect(clippy::indexing_slicing, reason = "a field that a JSON value lacks reads as null")]

mod authenticator;
mod page;
mod processes;

use std::{fmt, future::Future, net::SocketAddr, time::Duration};

use fantoccini::{Client, ClientBuilder, error::CmdError, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use authenticator::{Authenticator, Backup, Transport};
pub(crate) use page::NavigationError;
pub(crate) use processes::Programs;

use processes::Chromedriver;

/// Browsers that run at a time. Each takes a core and some 300 MB; more of them only time out.
const AT_ONCE: usize = 2;

/// The longest that any one step may take. Far more than a loaded machine needs: it is there so that
/// a hang becomes a failure with a name.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cold Chromium on a machine that is compiling needs longer than any step after it.
const START_PATIENCE: Duration = Duration::from_secs(90);

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// What kind of browser a test wants. The default is a desktop in light colours with JavaScript on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// A CA certificate (PEM) that the browser trusts as if its owner had installed it.
    pub(crate) trust: Option<&'a str>,
    /// Host names and where they are really served. The port counts too: `https://gate.test/`
    /// reaches `127.0.0.1:41234`, so that URLs in tests are those of production.
    pub(crate) map_hosts: &'a [(&'a str, SocketAddr)],
    /// Whether pages may run scripts. [`Browser::eval`] works either way.
    pub(crate) javascript: JavaScript,
    /// `prefers-color-scheme`.
    pub(crate) colour_scheme: ColourScheme,
    /// Size of the page, and whether it is touched or clicked.
    pub(crate) viewport: Viewport,
    /// What to do at Chromium's full-page warning about a certificate.
    pub(crate) certificate_warning: CertificateWarning,
    /// What the person prefers to read.
    pub(crate) language: Language,
}

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum JavaScript {
    #[default]
    On,
    /// Blocked by the site setting that a person would use, so that `<noscript>` counts too.
    Off,
}

/// `prefers-color-scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ColourScheme {
    #[default]
    Light,
    Dark,
}

/// Size of the page in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Viewport {
    /// 1280×800, mouse.
    #[default]
    Desktop,
    /// 390×844, two device pixels to one of CSS, touch.
    Phone,
}

/// What to do at Chromium's full-page warning about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CertificateWarning {
    /// Stop there: [`Browser::try_goto`] says so.
    #[default]
    Heed,
    /// Go on as a person does who knows how. The connection stays marked as broken, unlike with
    /// `--ignore-certificate-errors`.
    ClickThrough,
}

/// The one language of `Accept-Language`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Language {
    #[default]
    English,
    German,
}

/// A running Chromium with one page.
pub(crate) struct Browser {
    client: Client,
    certificate_warning: CertificateWarning,
    // Dropped in this order: the next browser may start when this one is gone.
    _chromedriver: Chromedriver,
    _place: SemaphorePermit<'static>,
}

impl Browser {
    /// Waits for a place, then starts chromedriver and Chromium.
    ///
    /// # Panics
    ///
    /// If a program is missing (the message says what to install) or does not start.
    pub(crate) async fn start(options: Options<'_>) -> Self {
        let programs = Programs::find(std::env::var_os("PATH").unwrap_or_default().as_os_str())
            .unwrap_or_else(|missing| panic!("{missing}"));
        let place = PLACES.acquire().await.unwrap_or_else(|closed| panic!("{closed}"));

        let start = async {
            let chromedriver = Chromedriver::start(&programs, options.trust).await;
            let client = ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities(&programs, &chromedriver, options))
                .connect(&chromedriver.url())
                .await
                .unwrap_or_else(|error| panic!("chromium does not start: {error}\n{}", chromedriver.said()));
            (chromedriver, client)
        };
        let (chromedriver, client) = tokio::time::timeout(START_PATIENCE, start)
            .await
            .unwrap_or_else(|_| panic!("chromium has not started after {START_PATIENCE:?}"));

        let browser = Self {
            client,
            certificate_warning: options.certificate_warning,
            _chromedriver: chromedriver,
            _place: place,
        };
        browser.put_on(options).await;
        browser
    }

    /// What Chromium has no start-up flag for.
    async fn put_on(&self, options: Options<'_>) {
        let scheme = match options.colour_scheme {
            ColourScheme::Light => "light",
            ColourScheme::Dark => "dark",
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        match options.viewport {
            // `--window-size` counts the window's own bars.
            Viewport::Desktop => {
                let size = json!({ "width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false });
                self.cdp("Emulation.setDeviceMetricsOverride", size).await;
            }
            Viewport::Phone => {}
        }
    }

    /// Sends a command of the Chrome DevTools Protocol and returns its result.
    ///
    /// # Panics
    ///
    /// If Chromium refuses it.
    pub(crate) async fn cdp(&self, command: &str, params: Value) -> Value {
        self.within(command, self.try_cdp(command, params)).await
    }

    async fn try_cdp(&self, command: &str, params: Value) -> Result<Value, CmdError> {
        let body = json!({ "cmd": command, "params": params });
        self.client.issue_cmd(Call { path: "goog/cdp/execute", body }).await
    }

    /// Waits for one command, with a bound and a name.
    async fn within<T>(&self, what: &str, command: impl Future<Output = Result<T, CmdError>>) -> T {
        match tokio::time::timeout(PATIENCE, command).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => panic!("{what}: {error}"),
            Err(_) => panic!("{what}: no answer after {PATIENCE:?}"),
        }
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

/// A POST that chromedriver knows and fantoccini does not. `path` is below the session.
#[derive(Debug)]
struct Call {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Call {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

fn capabilities(
    programs: &Programs,
    chromedriver: &Chromedriver,
    options: Options<'_>,
) -> serde_json::Map<String, Value> {
    let language = match options.language {
        Language::English => "en-US",
        Language::German => "de-DE",
    };
    let mut args = vec![
        "--headless=new".to_owned(),
        format!("--user-data-dir={}", chromedriver.profile().display()),
        format!("--lang={language}"),
        // Root, and containers that allow no user namespaces, have no sandbox; the pages are ours.
        "--no-sandbox".to_owned(),
        // Containers give /dev/shm 64 MB; shared memory goes to the temporary directory instead.
        "--disable-dev-shm-usage".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--no-proxy-server".to_owned(),
        // So that pages are as wide as the viewport says.
        "--hide-scrollbars".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
    ];
    if !options.map_hosts.is_empty() {
        let rules: Vec<String> =
            options.map_hosts.iter().map(|(host, address)| format!("MAP {host} {address}")).collect();
        args.push(format!("--host-resolver-rules={}", rules.join(", ")));
    }

    let mut chrome = json!({
        "binary": programs.chromium(),
        "args": args,
        "prefs": {
            "intl": { "accept_languages": language },
            "credentials_enable_service": false,
            "profile": {
                "password_manager_enabled": false,
                "managed_default_content_settings": {
                    "javascript": match options.javascript { JavaScript::On => 1, JavaScript::Off => 2 },
                },
            },
        },
    });
    match options.viewport {
        Viewport::Desktop => {}
        Viewport::Phone => {
            let metrics =
                json!({ "width": 390, "height": 844, "pixelRatio": 2.0, "touch": true, "mobile": true });
            chrome["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
    }
    let patience = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
    let capabilities = json!({
        "goog:chromeOptions": chrome,
        "goog:loggingPrefs": { "browser": "ALL" },
        "timeouts": { "pageLoad": patience, "script": patience },
    });
    capabilities.as_object().cloned().unwrap_or_default()
}
