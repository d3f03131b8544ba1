//! The harness keeps its promises, so that the other tests may believe what they see.

#![expect(clippy::unwrap_used, reason = "what a test sets up either works or fails the test")]

use std::{ffi::OsStr, net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{
    Authenticator, Backup, Browser, CertificateWarning, ColourScheme, JavaScript, Language, NavigationError,
    Options, Programs, Transport, Viewport,
};

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>Gate</title>
<style>
  body { height: 2000px; background: white; color: black }
  @media (prefers-color-scheme: dark) { body { background: black; color: white } }
  .loud { text-transform: uppercase }
</style>
<h1>Welcome</h1>
<p id="script">scripts are off</p>
<noscript><p>noscript is shown</p></noscript>
<p hidden>nobody sees this</p>
<p id="language"></p>
<form method="post" action="/echo">
  <label for="user">User</label> <input id="user" name="user" value="old">
  <button id="send">Send</button>
</form>
<script>
  document.getElementById("script").textContent = "scripts are on";
  document.getElementById("language").textContent = navigator.languages.join();
  console.log("hello from the page");
</script>
</html>"#;

/// Asks for a credential as an enrolment page does, and says what came of it.
const CREATE: &str = r#"
    return navigator.credentials.create({ publicKey: {
        rp: { name: "Gate" },
        user: { id: new Uint8Array([1, 2, 3]), name: "root", displayName: "root" },
        challenge: new Uint8Array(32),
        pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
    } }).then((made) => `made a ${made.type}`, (error) => `${error.name}: ${error.message}`);
"#;

#[tokio::test]
async fn a_page_under_a_trusted_ca_loads_without_a_warning_under_its_production_url() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;

    browser.goto("https://gate.test/").await;

    browser.wait_for_text("Welcome").await;
    assert_eq!(browser.url().await, "https://gate.test/");
    assert_eq!(browser.eval("return isSecureContext").await, json!(true));
}

#[tokio::test]
async fn a_page_under_an_unknown_ca_does_not_load() {
    let site = Site::start().await;
    let browser = Browser::start(site.untrusted()).await;

    let shown = browser.try_goto("https://gate.test/").await;

    assert_eq!(shown, Err(NavigationError::Certificate));
    assert!(!browser.text().await.contains("Welcome"));
}

#[tokio::test]
async fn a_site_that_is_not_there_is_an_error_in_chromiums_words() {
    let browser = Browser::start(Options::default()).await;

    let shown = browser.try_goto("https://127.0.0.1:1/").await;

    assert_eq!(shown, Err(NavigationError::Other("ERR_UNSAFE_PORT".to_owned())));
}

#[tokio::test]
async fn javascript_is_on_by_default_and_off_where_a_test_says_so() {
    let site = Site::start().await;

    for (javascript, shows, hides) in [
        (JavaScript::On, "scripts are on", "noscript is shown"),
        (JavaScript::Off, "noscript is shown", "scripts are on"),
    ] {
        let browser = Browser::start(Options { javascript, ..site.trusted() }).await;
        browser.goto("https://gate.test/").await;

        browser.wait_for_text(shows).await;
        assert!(!browser.text().await.contains(hides), "{javascript:?}");
    }
}

#[tokio::test]
async fn a_form_works_without_javascript() {
    let site = Site::start().await;
    let browser = Browser::start(Options { javascript: JavaScript::Off, ..site.trusted() }).await;
    browser.goto("https://gate.test/").await;

    browser.fill("#user", "new").await;
    browser.click("#send").await;

    browser.wait_for_path("/echo").await;
    browser.wait_for_text("user=new").await;
}

#[tokio::test]
async fn the_text_is_what_a_person_sees() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;

    browser.goto("https://gate.test/").await;

    assert!(!browser.text().await.contains("nobody sees this"));
}

#[tokio::test]
async fn cookies_and_console_lines_are_seen_as_the_browser_has_them() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;

    browser.goto("https://gate.test/").await;

    let cookies = browser.cookies().await;
    let [cookie] = cookies.as_slice() else { panic!("{cookies:?}") };
    assert_eq!(
        (cookie.name.as_str(), cookie.value.as_str(), cookie.domain.as_str(), cookie.path.as_str()),
        ("__Host-seen", "1", "gate.test", "/"),
    );
    assert_eq!((cookie.secure, cookie.http_only, cookie.same_site.as_deref()), (true, true, Some("Lax")));
    let console = browser.console().await;
    assert!(console.iter().any(|line| line.level == "INFO" && line.message.contains("hello from the page")));
}

#[tokio::test]
async fn colours_sizes_and_languages_are_those_that_the_test_chose() {
    let site = Site::start().await;
    #[rustfmt::skip]
    let table = [
        // viewport         scheme               language           width  height  touch  background       languages
        (Viewport::Desktop, ColourScheme::Light, Language::English, 1280,  800,    false, "rgb(255, 255, 255)", "en-US"),
        (Viewport::Phone,   ColourScheme::Dark,  Language::German,  390,   844,    true,  "rgb(0, 0, 0)",       "de-DE"),
    ];
    for (viewport, colour_scheme, language, width, height, touch, background, languages) in table {
        let browser = Browser::start(Options { viewport, colour_scheme, language, ..site.trusted() }).await;
        // Twice: what was put on must outlive a navigation to another process.
        browser.goto("about:blank").await;
        browser.goto("https://gate.test/").await;

        let seen = browser
            .eval(
                "return [innerWidth, innerHeight, matchMedia('(pointer: coarse)').matches,
                         getComputedStyle(document.body).backgroundColor, navigator.languages.join()]",
            )
            .await;

        assert_eq!(seen, json!([width, height, touch, background, languages]), "{viewport:?}");
    }
}

#[tokio::test]
async fn tab_visits_what_can_be_used_in_order() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;
    browser.goto("https://gate.test/").await;

    let stops = browser.tab_walk(10).await;

    assert_eq!(stops, [r#"input#user "User""#, r#"button#send "Send""#]);
}

#[tokio::test]
async fn a_screenshot_shows_the_whole_page() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;
    browser.goto("https://gate.test/").await;

    let file = browser.screenshot("harness-itself").await;

    let png = std::fs::read(&file).unwrap();
    assert!(file.ends_with("screenshots/harness-itself.png"), "{}", file.display());
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!(side(16), 1280);
    assert!(side(20) >= 2000, "{} high: only what is in view", side(20));
}

#[tokio::test]
async fn a_virtual_authenticator_makes_and_keeps_a_credential() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;
    let provider = Authenticator { backup: Backup::Synced, ..Authenticator::default() };
    let plugged = browser.plug_in(provider).await;
    browser.goto("https://gate.test/").await;

    let made = browser.eval(CREATE).await;

    assert_eq!(made, json!("made a public-key"));
    let credentials = plugged.credentials().await;
    let [credential] = credentials.as_slice() else { panic!("{credentials:?}") };
    assert!(credential.is_resident_credential && credential.backup_state);
    assert_eq!(credential.rp_id.as_deref(), Some("gate.test"));
    assert!(!credential.credential_id.is_empty());
    assert_eq!(credential.sign_count, 1);
}

#[tokio::test]
async fn an_authenticator_whose_owner_fails_verification_makes_no_credential() {
    let site = Site::start().await;
    let browser = Browser::start(site.trusted()).await;
    let key = Authenticator {
        transport: Transport::Usb,
        resident_keys: false,
        user_verified: true,
        ..Authenticator::default()
    };
    let plugged = browser.plug_in(key).await;
    plugged.set_user_verified(false).await;
    browser.goto("https://gate.test/").await;

    let made = browser.eval(CREATE).await;

    assert!(made.as_str().unwrap().starts_with("NotAllowedError"), "{made}");
    assert!(plugged.credentials().await.is_empty());
    plugged.unplug().await;
}

/// The reason why the first run must lead with a trusted certificate or with a code.
#[tokio::test]
async fn chromium_refuses_passkeys_behind_a_certificate_warning() {
    let site = Site::start().await;
    let browser =
        Browser::start(Options { certificate_warning: CertificateWarning::ClickThrough, ..site.untrusted() })
            .await;
    browser.goto("https://gate.test/").await;
    browser.wait_for_text("Welcome").await;

    let made = browser.eval(CREATE).await;

    assert_eq!(
        made,
        json!("NotAllowedError: WebAuthn is not supported on sites with TLS certificate errors.")
    );
}

#[test]
fn a_missing_browser_is_a_failure_that_says_what_to_install() {
    let missing = Programs::find(OsStr::new("/nowhere:/proc")).unwrap_err();

    assert_eq!(
        missing.to_string(),
        "`chromium` is not in PATH; the browser tests need Debian's packages chromium, chromium-driver and \
         libnss3-tools: run `bash tests/run`, or `apt-get install chromium chromium-driver libnss3-tools`"
    );
}

/// One page and a form, under a CA of its own.
struct Site {
    ca: String,
    hosts: [(&'static str, SocketAddr); 1],
}

impl Site {
    async fn start() -> Self {
        let (ca, acceptor) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // An untrusting browser hangs up; that is its right.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
        Self { ca, hosts: [("gate.test", address)] }
    }

    fn trusted(&self) -> Options<'_> {
        Options { trust: Some(&self.ca), ..self.untrusted() }
    }

    fn untrusted(&self) -> Options<'_> {
        Options { map_hosts: &self.hosts, ..Options::default() }
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let body = match request.uri().path() {
        "/" => Bytes::from_static(PAGE.as_bytes()),
        "/echo" => request.into_body().collect().await?.to_bytes(),
        _ => {
            let mut response = http::Response::new(Full::default());
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    let mut response = http::Response::new(Full::new(body));
    let fields = response.headers_mut();
    fields.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
    fields.insert(
        http::header::SET_COOKIE,
        http::HeaderValue::from_static("__Host-seen=1; Secure; HttpOnly; Path=/; SameSite=Lax"),
    );
    Ok(response)
}

/// A CA (PEM) and what serves `gate.test` under it.
fn tls() -> (String, TlsAcceptor) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["gate.test".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();

    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}
