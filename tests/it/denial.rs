//! Without a session nothing of Proxmox VE is reached: not one connection, whatever else a request
//! carries, whichever way its path is spelled.
//!
//! What each request must be answered with is computed here from three small tables, and not by the
//! product's own policy.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{fmt::Write as _, time::Duration};

use pvegate::{
    account::EndReason,
    gate::target::Route,
    names,
    store::{Sessions, Store as _},
    time::Clock as _,
};
use tokio::task::JoinSet;

use crate::harness::{Client, Pve, TestGate, Wire, until};

/// What stands at a path, by our own reading of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Proxmox VE's, and outside its `/api2`.
    Page,
    /// Below Proxmox VE's `/api2`, as pveproxy reads the path.
    Api,
    /// The gate's, open to strangers, answering GET with this.
    Open(u16),
    /// The gate's form, open to strangers.
    Form,
    /// The gate's, for those who are signed in.
    Closed,
    /// The same, for POST only.
    ClosedForm,
    /// Under the gate's prefix, and nothing is there.
    Nothing,
    /// Some parser may take it for the gate's.
    Lookalike,
    /// No path at all.
    NoPath,
}

#[rustfmt::skip]
const PATHS: &[(&str, Place)] = &[
    ("/",                                                    Place::Page),
    ("//",                                                   Place::Page),
    ("///",                                                  Place::Page),
    ("/?console=shell&node=demo",                            Place::Page),
    ("/%2F",                                                 Place::Page),
    ("/%2e%2e/%2e%2e/etc/passwd",                            Place::Page),
    ("/../../etc/pve/priv/authkey.key",                      Place::Page),
    ("/.",                                                   Place::Page),
    ("/;",                                                   Place::Page),
    ("/%00",                                                 Place::Page),
    ("/%ff%fe",                                              Place::Page),
    ("/index.html",                                          Place::Page),
    ("/favicon.ico",                                         Place::Page),
    ("/pve2/js/stand-in.js",                                 Place::Page),
    ("/pve2/css/stand-in.css?ver=9",                         Place::Page),
    ("/novnc/app.js",                                        Place::Page),
    ("/pve-docs/api-viewer/index.html",                      Place::Page),
    ("/standin/echo-head",                                   Place::Page),
    ("//evil.example/",                                      Place::Page),
    ("/healthz",                                             Place::Page),
    ("/assets/gate.css",                                     Place::Page),
    ("/_gatekeeper/sign-in",                                 Place::Page),
    ("/gate/sign-in",                                        Place::Page),
    ("/pve2/_gate/sign-in",                                  Place::Page),
    ("/?/_gate/sign-in",                                     Place::Page),
    ("/api",                                                 Place::Page),
    ("/API2/json/version",                                   Place::Page),
    ("/api2",                                                Place::Api),
    ("/api2/",                                               Place::Api),
    ("/api2/json/version",                                   Place::Api),
    ("//api2//json//version",                                Place::Page),
    ("//host/api2/json/version",                             Place::Api),
    ("/api2/json/version%0a",                                Place::Api),
    ("/api2/json/version%00",                                Place::Api),
    ("/api2/json/version?next=/_gate/healthz",               Place::Api),
    ("/%61pi2/json/version",                                 Place::Api),
    ("/api2%2Fjson%2Fversion",                               Place::Api),
    ("/api2/json/access/ticket",                             Place::Api),
    ("/api2/extjs/access/ticket",                            Place::Api),
    ("/api2/html/access/ticket",                             Place::Api),
    ("/api2/htmljs/access/ticket",                           Place::Api),
    ("/api2/png/access/ticket",                              Place::Api),
    ("/api2/spiceconfig/access/ticket",                      Place::Api),
    ("/api2///json/access/ticket",                           Place::Api),
    ("/api2/json/%61ccess/ticket",                           Place::Api),
    ("/api2/json/access%2Fticket",                           Place::Api),
    ("/api2/json/access/ticket?username=root@pam&password=proxmox", Place::Api),
    ("/api2/json/access/domains",                            Place::Api),
    ("/api2/json/access/openid/auth-url",                    Place::Api),
    ("/api2/json/access/vncticket",                          Place::Api),
    ("/api2/json/nodes/demo/storage/local/upload",           Place::Api),
    ("/api2/json/nodes/demo/vncwebsocket?port=5900&vncticket=x", Place::Api),
    ("/api2/json/cluster/resources",                         Place::Api),
    ("/_gate/sign-in",                                       Place::Form),
    ("/_gate/sign-in?next=/api2/json/version",               Place::Form),
    ("/_gate/enrol",                                         Place::Form),
    ("/_gate/healthz",                                       Place::Open(200)),
    ("/_gate/ca",                                            Place::Open(200)),
    ("/_gate/assets/none.css",                               Place::Open(404)),
    ("/.well-known/change-password",                         Place::Open(302)),
    ("/.well-known/change-password/x",                       Place::Open(404)),
    ("/.well-known/passkey-endpoints",                       Place::Open(200)),
    ("/.well-known/webauthn",                                Place::Open(404)),
    ("/.well-known/x",                                       Place::Open(404)),
    ("/_gate/",                                              Place::Closed),
    ("/_gate/methods",                                       Place::Closed),
    ("/_gate/admin",                                         Place::Closed),
    ("/_gate/admin/users.csv",                               Place::Closed),
    ("/_gate/admin/",                                        Place::Nothing),
    ("/_gate/sign-out",                                      Place::ClosedForm),
    ("/_gate/nothing",                                       Place::Nothing),
    ("/_gate/sign-in/",                                      Place::Nothing),
    ("/_gate/api2/json/version",                             Place::Nothing),
    ("/_gate",                                               Place::Lookalike),
    ("/_GATE/healthz",                                       Place::Lookalike),
    ("//_gate/healthz",                                      Place::Lookalike),
    ("/_gate//healthz",                                      Place::Lookalike),
    ("/_gate/./healthz",                                     Place::Lookalike),
    ("/_gate/healthz/../../api2/json/version",               Place::Lookalike),
    ("/_gate/assets/..%2f..%2fapi2/json/version",            Place::Lookalike),
    ("/_gate/assets/%2e%2e/%2e%2e/api2/json/version",        Place::Lookalike),
    ("/%5fgate/healthz",                                     Place::Lookalike),
    ("/%255fgate/healthz",                                   Place::Lookalike),
    ("/_gate%2fhealthz",                                     Place::Lookalike),
    ("/\\_gate/healthz",                                     Place::Lookalike),
    ("/_gate\\healthz",                                      Place::Lookalike),
    ("/_gate;/healthz",                                      Place::Lookalike),
    ("/api2/../_gate/healthz",                               Place::Lookalike),
    ("/.well-known",                                         Place::Lookalike),
    ("/.well-known/../api2/json/version",                    Place::Lookalike),
    ("https://gate.test/api2/json/version",                  Place::NoPath),
    ("http://127.0.0.1:8006/",                               Place::NoPath),
    ("*",                                                    Place::NoPath),
];

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "QUERY",
    "get", "X-HTTP",
];

/// How a request presents itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As curl does.
    Program,
    /// As a browser asks for a page.
    Navigation,
    /// As a browser without Fetch Metadata asks for a page.
    OldNavigation,
    /// As a script does, from a page of our own origin.
    Script,
    /// Inside a frame.
    Frame,
}

const MANNERS: &[Manner] =
    &[Manner::Program, Manner::Navigation, Manner::OldNavigation, Manner::Script, Manner::Frame];

impl Manner {
    fn fields(self, origin: &str) -> String {
        let accept = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
        match self {
            Self::Program => "Accept: */*\r\n".to_owned(),
            Self::Navigation => {
                format!(
                    "{accept}Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
                )
            }
            Self::OldNavigation => accept.to_owned(),
            Self::Script => format!(
                "Accept: */*\r\nOrigin: {origin}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\
                 Sec-Fetch-Dest: empty\r\nX-Requested-With: XMLHttpRequest\r\n"
            ),
            Self::Frame => {
                format!(
                    "{accept}Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"
                )
            }
        }
    }
}

/// The model: what a request without a session is answered with.
fn expected(method: &str, place: Place, manner: Manner) -> u16 {
    let reads = matches!(method, "GET" | "HEAD");
    let sign_in = match manner {
        Manner::Navigation if reads => 303,
        // An old browser does not say that it navigates; Proxmox VE's API is nobody's page.
        Manner::OldNavigation if reads && place != Place::Api => 303,
        _ => 401,
    };
    // A form that does not say which page sent it, or that is none.
    let form = match manner {
        Manner::Script | Manner::Frame => 400,
        Manner::Program | Manner::Navigation | Manner::OldNavigation => 403,
    };
    // `none` is what a browser says of an address that somebody typed: never of a form of ours.
    match place {
        // Methods are case-sensitive, and some servers do not know it.
        _ if matches!(method, "TRACE" | "CONNECT" | "get") => 501,
        Place::NoPath => 400,
        Place::Lookalike => 400,
        Place::Nothing => 404,
        Place::Page | Place::Api => sign_in,
        Place::Open(status) if reads => status,
        Place::Form if reads => 200,
        Place::Form if method == "POST" => form,
        Place::Closed if reads => sign_in,
        Place::ClosedForm if method == "POST" => 401,
        Place::Open(_) | Place::Form | Place::Closed | Place::ClosedForm => 405,
    }
}

/// Asks on one connection after the other, as long as each lasts.
struct Stranger {
    client: Client,
    authority: String,
    wire: Option<Wire>,
}

impl Stranger {
    fn at(gate: &TestGate) -> Self {
        Self { client: gate.client(), authority: gate.authority(), wire: None }
    }

    /// The status, and the fields and body as text.
    async fn ask(&mut self, method: &str, target: &str, manner: Manner, credential: &str) -> (u16, String) {
        let origin = self.client.origin();
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        request += &manner.fields(&origin);
        request += credential;
        if !matches!(method, "GET" | "HEAD") {
            request += "Content-Length: 0\r\n";
        }
        request += "\r\n";
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => self.wire.insert(Wire::open(&self.client).await),
        };
        wire.send(request.as_bytes()).await;
        let answer = wire.answer(method).await.unwrap_or_else(|| panic!("no answer to {request}"));
        if answer.closes {
            self.wire = None;
        }
        (answer.status, format!("{:?}\n{}", answer.fields, answer.text()))
    }
}

/// Every request that matters, with one kind of credential. Returns what was answered otherwise than
/// the model says.
async fn knock(mut stranger: Stranger, name: String, credential: String, methods: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let long = format!("/api2/json/version?{}", "x".repeat(7 * 1024));
    let is_about_api_tokens = credential.to_ascii_lowercase().contains("pveapitoken");
    let paths = PATHS.iter().copied().chain([(long.as_str(), Place::Api)]);
    for (path, place) in paths {
        for method in methods {
            for manner in MANNERS {
                let (status, answer) = stranger.ask(method, path, *manner, &credential).await;
                let expected = match place {
                    Place::NoPath => expected(method, place, *manner),
                    // Whatever mentions an API token is in the lane for those, which is closed: also for
                    // pages that are open to strangers.
                    _ if is_about_api_tokens && !matches!(*method, "TRACE" | "CONNECT") => 401,
                    _ => expected(method, place, *manner),
                };
                let told = answer.contains("9.2.11") || answer.contains("Stand-in for Proxmox VE");
                if status != expected || told {
                    let path: String = path.chars().take(80).collect();
                    wrong.push(format!("{method} {path} ({manner:?}, {name}): {status}, not {expected}"));
                }
            }
        }
    }
    wrong
}

/// Cookies and other claims that give nobody a session, as field lines.
async fn credentials_without_authority(gate: &TestGate, pve: &Pve) -> Vec<(String, String)> {
    let cookie = names::SESSION_COOKIE;
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, lines: String| found.push((name.to_owned(), lines));

    // Sessions that have ended, each in its own way.
    let mut signed_out = gate.person("signed.out").await;
    let revoked = gate.person("revoked").await;
    let disabled = gate.person("disabled").await;
    let idle = gate.person("idle").await;
    let mut expired = gate.person("expired").await;
    let ended: Vec<(&str, String)> = [
        ("signed out", &signed_out),
        ("revoked", &revoked),
        ("disabled", &disabled),
        ("idle", &idle),
        ("expired", &expired),
    ]
    .map(|(how, person)| (how, person.session_cookie().unwrap().to_owned()))
    .into();
    signed_out.sign_out().await;
    let mut store = gate.store();
    let user = |store: &mut pvegate::store::SqliteStore, name: &str| {
        store.user_by_name(&name.parse().unwrap()).unwrap().unwrap().id
    };
    let who = user(&mut store, "revoked");
    store.end_sessions(&Sessions::Of(who), EndReason::Revoked, gate.clock.now()).unwrap();
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute("UPDATE user SET disabled_at = 1 WHERE name = 'disabled'", []).unwrap();
    // Eleven hours of work in one of them; then the absolute limit passes.
    for _ in 0..13 {
        gate.clock.advance(Duration::from_secs(55 * 60));
        expired.client.navigate("/_gate/").await;
    }
    gate.clock.advance(Duration::from_secs(10 * 60));
    for (how, value) in &ended {
        let mut client = gate.client();
        client.set_cookie(cookie, value);
        until(&format!("the session is {how}"), async || client.get("/_gate/").await.status == 401).await;
        add(&format!("cookie of a session that is {how}"), format!("Cookie: {cookie}={value}\r\n"));
    }

    // A session that is alive, in every way but the right one.
    let mut alice = gate.person("alice").await;
    let live = alice.session_cookie().unwrap().to_owned();
    let bare = live.rsplit_once('.').unwrap().0.to_owned();
    let flipped = {
        let mut bytes = live.clone().into_bytes();
        let last = bytes.len() - 20;
        bytes[last] = if bytes[last] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    add("nothing", String::new());
    add("garbage", format!("Cookie: {cookie}=garbage\r\n"));
    add("empty", format!("Cookie: {cookie}=\r\n"));
    add("cut short", format!("Cookie: {cookie}={}\r\n", &live[..live.len() - 1]));
    add("without its MAC", format!("Cookie: {cookie}={bare}\r\n"));
    add("with a bit flipped", format!("Cookie: {cookie}={flipped}\r\n"));
    add("twice", format!("Cookie: {cookie}={live}; {cookie}={live}\r\n"));
    add("in two fields", format!("Cookie: {cookie}={live}\r\nCookie: {cookie}=x\r\n"));
    add("quoted", format!("Cookie: {cookie}=\"{live}\"\r\n"));
    add("behind a comma", format!("Cookie: a=b,{cookie}={live}\r\n"));
    for other in ["pvegate", "__Secure-pvegate", "__Host-pvegate-device", "__Host-pvegate2", "PVEAuthCookie"]
    {
        add(&format!("as {other}"), format!("Cookie: {other}={live}\r\n"));
    }
    add("as a bearer token", format!("Authorization: Bearer {live}\r\n"));

    // What Proxmox VE itself would take.
    alice.sign_in_to_pve().await;
    let ticket = alice.client.cookie("PVEAuthCookie").unwrap().to_owned();
    add("a ticket of Proxmox VE", format!("Cookie: PVEAuthCookie={ticket}\r\n"));
    add("a ticket in Authorization", format!("Authorization: PVEAuthCookie={ticket}\r\n"));
    let token = &pvegate::demo::Settings::default().tokens[0];
    let token = format!("{}={}", token.0, token.1);
    add("an API token", format!("Authorization: PVEAPIToken={token}\r\n"));
    add("an API token behind a blank", format!("Authorization: PVEAPIToken {token}\r\n"));
    add("an API token in small letters", format!("Authorization: pveapitoken={token}\r\n"));
    add("an API token of nobody", "Authorization: PVEAPIToken=x@pve!x=x\r\n".to_owned());
    let ticket_behind = format!("Authorization: PVEAPIToken={token} PVEAuthCookie={ticket}\r\n");
    add("an API token and a ticket in one field", ticket_behind);
    let with_session = format!("Authorization: PVEAPIToken={token}\r\nCookie: {cookie}={live}\r\n");
    add("an API token beside a session", with_session);
    assert_eq!(pve.requests_seen(), 1);

    // What an inner proxy would be trusted with.
    let mut claims = String::new();
    for name in
        ["X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User", "Remote-User", "X-Webauth-User"]
    {
        write!(claims, "{name}: root@pam\r\n").unwrap();
    }
    for name in ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "PVEClientIP"] {
        write!(claims, "{name}: 127.0.0.1\r\n").unwrap();
    }
    for (name, value) in [
        ("X-Original-URL", "/_gate/healthz"),
        ("X-Rewrite-URL", "/_gate/healthz"),
        ("X-Forwarded-Uri", "/_gate/healthz"),
        ("X-HTTP-Method-Override", "GET"),
        ("User-Agent", "GoogleHC/1.0"),
        ("Forwarded", "for=127.0.0.1;proto=https"),
    ] {
        write!(claims, "{name}: {value}\r\n").unwrap();
    }
    add("claims of a proxy", claims);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_asks_and_carries_a_request_without_a_session_reaches_nothing_of_proxmox_ve() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let credentials = credentials_without_authority(&gate, &pve).await;
    let before = (pve.connections_seen(), pve.requests_seen());

    let mut knocking = JoinSet::new();
    for (name, credential) in credentials {
        // Every method by those who have nothing at all; the rest need not repeat the odd ones.
        let methods: &[&str] = match () {
            () if credential.is_empty() => METHODS,
            () if name.starts_with("an API token") => &["GET", "POST"],
            () => &["GET", "POST", "DELETE", "OPTIONS"],
        };
        knocking.spawn(knock(Stranger::at(&gate), name, credential, methods));
    }
    let wrong: Vec<String> = knocking.join_all().await.concat();

    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((pve.connections_seen(), pve.requests_seen()), before);
}

#[tokio::test]
async fn a_stranger_opens_no_tunnel_and_sends_no_body_through() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut wire = Wire::open(&gate.client()).await;
    let (host, origin) = (gate.authority(), gate.url());
    let upgrade = |target: &str, protocol: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };

    for (target, protocol) in [
        ("/api2/json/nodes/demo/vncwebsocket?port=5900&vncticket=x", "websocket"),
        ("/standin/upgrade", "websocket"),
        ("/standin/fake-101", "proxmox-backup-protocol-v1"),
        ("/_gate/", "websocket"),
    ] {
        wire.send(upgrade(target, protocol).as_bytes()).await;
        assert_eq!(wire.answer("GET").await.unwrap().status, 401, "{target}");
    }
    let body = "username=root%40pam&password=proxmox";
    let sign_in = format!(
        "POST /api2/json/access/ticket HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wire.send(sign_in.as_bytes()).await;

    assert_eq!(wire.answer("POST").await.unwrap().status, 401);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_request_smuggled_behind_a_refused_one_is_judged_by_itself() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut wire = Wire::open(&gate.client()).await;
    let host = gate.authority();
    let two = format!(
        "GET /_gate/healthz HTTP/1.1\r\nHost: {host}\r\n\r\nGET /api2/json/version HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );

    wire.send(two.as_bytes()).await;

    assert_eq!(wire.answer("GET").await.unwrap().status, 200);
    assert_eq!(wire.answer("GET").await.unwrap().status, 401);
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn no_cut_and_no_changed_character_of_a_real_cookie_is_a_session() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = gate.person("alice").await;
    let live = alice.session_cookie().unwrap().to_owned();
    let mut stranger = Stranger::at(&gate);
    let alphabet = b"ABab01-_.=";
    let mut forged: Vec<String> = (0..live.len()).map(|length| live[..length].to_owned()).collect();
    for at in 0..live.len() {
        for replacement in alphabet {
            let mut bytes = live.clone().into_bytes();
            bytes[at] = *replacement;
            forged.push(String::from_utf8(bytes).unwrap());
        }
        forged.push(format!("{}{}", &live[..at], &live[at + 1..]));
    }
    // The case of a letter, and what a lenient decoder would drop.
    forged.extend([
        live.to_uppercase(),
        live.to_lowercase(),
        format!("{live}="),
        format!("{live}."),
        format!("{live}A"),
    ]);
    forged.retain(|value| *value != live);

    let mut let_in = Vec::new();
    for value in forged {
        let credential = format!("Cookie: {}={value}\r\n", names::SESSION_COOKIE);
        let (status, _) = stranger.ask("GET", "/api2/json/version", Manner::Program, &credential).await;
        if status != 401 {
            let_in.push((value, status));
        }
    }

    assert_eq!(let_in, []);
    assert_eq!(pve.connections_seen(), 0);
    let credential = format!("Cookie: {}={live}\r\n", names::SESSION_COOKIE);
    assert_ne!(
        stranger.ask("GET", "/", Manner::Program, &credential).await.0,
        401,
        "the cookie itself is good"
    );
    assert_eq!(pve.connections_seen(), 1);
}

#[tokio::test]
async fn every_page_of_the_gate_is_on_the_list_of_open_ones_or_asks_to_sign_in_first() {
    // As decided; not read from the code.
    let open = [
        "/_gate/sign-in",
        "/_gate/enrol",
        "/_gate/recover",
        // The ceremonies of signing in and enrolling with a passkey or security key.
        "/_gate/passkey/",
        "/_gate/security-key/",
        "/_gate/assets/",
        "/_gate/ca",
        "/_gate/healthz",
        "/.well-known/",
    ];
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut stranger = Stranger::at(&gate);

    for (route, pattern, methods) in Route::ALL {
        let is_open = open.iter().any(|open| match open.strip_suffix('/') {
            Some(_) => pattern.starts_with(open),
            None => pattern == *open || pattern.starts_with(&format!("{open}/")),
        });
        let path = pattern.replace('*', "x");
        for method in methods {
            for (manner, sign_in) in [(Manner::Script, 401), (Manner::Navigation, 303)] {
                let (status, answer) = stranger.ask(method.as_str(), &path, manner, "").await;
                let sign_in = if method == http::Method::GET { sign_in } else { 401 };
                assert_eq!(!is_open, status == sign_in, "{route:?} {method} {manner:?}: {status} {answer}");
            }
        }
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_gate_that_cannot_read_its_store_lets_nobody_through() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    // This gate has not met the session yet, so it must ask the store, and the store is broken.
    let other = gate.another(&pve).start().await;
    let alice = gate.person("alice").await;
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch("ALTER TABLE session RENAME TO session_gone").unwrap();

    let mut client = other.client();
    client.set_cookie(names::SESSION_COOKIE, alice.session_cookie().unwrap());
    let reply = client.get("/api2/json/version").await;

    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(pve.connections_seen(), 0);
}
