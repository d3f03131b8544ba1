//! Every refusal page says what happened and what to do, in the visitor's language, and carries the number
//! under which the audit log has it; and while it does, nothing reaches Proxmox VE.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pvegate::{gate::portal::assets, names};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

use crate::harness::{Answer, Client, Pve, Recipe, TestGate, Wire, until};

/// Nobody may connect, and everybody is told.
fn telling(pve: &Pve) -> Recipe {
    TestGate::recipe(pve).set("access.allow", "10.0.0.0/8").set("access.on_deny", "page")
}

/// The audit events with this action, oldest first.
fn events(gate: &TestGate, action: &str) -> Vec<Value> {
    gate.audit().into_iter().filter(|event| event["event"]["action"] == action).collect()
}

/// The number on a page.
fn reference(page: &str) -> String {
    let (_, rest) = page.split_once("class=\"reference\"").unwrap_or_else(|| panic!("no number: {page}"));
    let (_, rest) = rest.split_once("<code>").unwrap();
    rest.split_once("</code>").unwrap().0.to_owned()
}

/// What a request is like, besides who sends it.
struct Asked {
    method: &'static str,
    target: String,
    /// Field lines, each with its CR LF.
    more: String,
    body: String,
}

fn get(target: &str) -> Asked {
    Asked { method: "GET", target: target.to_owned(), more: String::new(), body: String::new() }
}

impl Asked {
    async fn by(&self, client: &Client, fields: &str) -> Answer {
        let mut wire = Wire::open(client).await;
        let head = client.head(self.method, &self.target, &format!("{fields}{}", self.more));
        wire.send(head.as_bytes()).await;
        wire.send(self.body.as_bytes()).await;
        wire.answer(self.method).await.unwrap()
    }
}

/// Asks as a browser in both languages and as a program, and looks at what each is told: the status, the
/// words on the page, the word in JSON.
async fn is_told(case: &str, client: &Client, asked: &Asked, status: u16, words: [&str; 2], error: &str) {
    for (language, words) in ["en", "de"].into_iter().zip(words) {
        let fields = format!("accept: text/html,*/*;q=0.8\r\naccept-language: {language}\r\n");
        let page = asked.by(client, &fields).await;
        assert_eq!(page.status, status, "{case}: {}", page.text());
        assert!(page.text().contains(&format!("<html lang=\"{language}\"")), "{case}: {}", page.text());
        assert!(page.text().contains(words), "{case}, {language}: {}", page.text());
        assert_eq!(reference(&page.text()).len(), 8, "{case}");
    }
    let program = asked.by(client, "accept: application/json\r\n").await;
    let json: Value = serde_json::from_slice(&program.body).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!((program.status, json["error"].as_str()), (status, Some(error)), "{case}");
    assert_eq!(json["reference"].as_str().map(str::len), Some(8), "{case}");
}

#[tokio::test]
async fn what_the_gate_refuses_by_itself_is_told_to_people_and_programs_and_reaches_nobody() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let alice = gate.person("alice").await.client;
    let far = pve.connections_seen();
    let form = "content-type: application/x-www-form-urlencoded\r\nsec-fetch-site: same-origin\r\n";
    let large = Asked {
        method: "POST",
        target: "/_gate/sign-in".to_owned(),
        more: format!("{form}content-length: 100000\r\n"),
        body: "a".repeat(100_000),
    };
    let fields = Asked { more: format!("x: {}\r\n", "y".repeat(40_000)), ..get("/") };
    let malformed = Asked { more: "content-length: 1\r\ncontent-length: 2\r\n".to_owned(), ..get("/") };
    let foreign = alice.clone().with("host", "evil.example");
    #[rustfmt::skip]
    let table = [
        ("host",        &foreign, get("/"),                              421, ["Open this instead", "Öffnen Sie stattdessen"],            "wrong_host"),
        ("too large",   &alice,   large,                                 413, ["larger than", "größer als"],                              "body_too_large"),
        ("too long",    &alice,   get(&format!("/{}", "a".repeat(20_000))), 414, ["longer than", "länger als"],                           "bad_request"),
        ("fields",      &alice,   fields,                                431, ["cookies of this site", "Cookies dieser"],                 "bad_request"),
        ("malformed",   &alice,   malformed,                             400, ["could not make sense", "nicht klug"],                     "bad_request"),
        ("no page",     &alice,   get("/_gate/nothing"),                 404, ["no page at this address", "keine Seite"],                 "not_found"),
    ];
    for (case, client, asked, status, words, error) in table {
        is_told(case, client, &asked, status, words, error).await;
    }
    assert_eq!(pve.connections_seen(), far, "nothing of all that reached Proxmox VE");
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back_in_both_languages() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("access.allow", "127.0.0.0/8")
        .set("limits.request_burst", "60")
        .set("limits.requests", "5")
        .start()
        .await;
    let mut flood = gate.client().from("127.0.0.50");
    let mut connection = flood.connect().await;
    for _ in 0..60 {
        flood.send_on(&mut connection, Method::GET, "/api2/json/x", Bytes::new()).await;
    }

    is_told("too many", &flood, &get("/"), 429, ["Try again in", "Versuchen Sie es in"], "rate_limited")
        .await;

    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_led_to_the_sign_in_page_and_a_program_is_told_where_it_is() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;

    let person = gate.client().navigate("/?node=a").await;
    let program = gate.client().get("/api2/json/version").await;

    assert_eq!((person.status.as_u16(), person.location()), (303, Some("/_gate/sign-in?next=/%3Fnode%3Da")));
    for (language, words) in [("en", "Sign in"), ("de", "Anmelden")] {
        let page = gate.client().with("accept-language", language).navigate(person.location().unwrap()).await;
        assert!(page.text().contains(words), "{}", page.text());
    }
    assert_eq!(program.status, 401);
    assert_eq!(program.json()["error"], "sign_in_required");
    assert_eq!(program.json()["sign_in_url"], "/_gate/sign-in");
    assert_eq!(program.reason.as_deref(), Some("Sign in to the gate - reload this page"));
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn an_upstream_that_gives_no_answer_is_told_of_in_both_languages_and_gets_nothing() {
    let pve = Pve::start().await;
    let pin = &pve.pin;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // It takes connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = "AA:".repeat(32);
    let wrong_pin = format!("fingerprint = \"{}\"", other.trim_end_matches(':'));
    #[rustfmt::skip]
    let table = [
        ("refused", TestGate::before(nobody, pin),                    502, ["refused the connection", "Verbindung abgelehnt"],     "upstream_refused"),
        ("timeout", TestGate::before(mute.local_addr().unwrap(), pin).set("upstream.connect_timeout", "200ms"),
                                                                      504, ["did not answer in time", "nicht rechtzeitig"],       "upstream_timeout"),
        ("pin",     TestGate::recipe(&pve).trusting(&wrong_pin),      502, ["Do not enter your password", "Passwort nicht ein"],   "upstream_fingerprint"),
    ];
    for (case, recipe, status, words, error) in table {
        let gate = recipe.start().await;
        let mut alice = gate.person("alice").await.client;

        is_told(case, &alice, &get("/"), status, words, error).await;
        let page = alice.navigate("/").await;

        let failure = events(&gate, "upstream-failure").pop().unwrap();
        assert_eq!(failure["http"]["request"]["id"], reference(&page.text()), "{case}");
        assert_eq!(failure["pvegate"]["reason"], error, "{case}");
    }
    assert_eq!(pve.requests_seen(), 0);
}

#[tokio::test]
async fn a_gate_that_cannot_read_its_records_says_so_and_lets_nobody_through() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    // It has not met the session yet, so it must ask the store, and the store is broken.
    let other = gate.another(&pve).start().await;
    let alice = gate.person("alice").await;
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute_batch("ALTER TABLE session RENAME TO session_gone").unwrap();
    let mut client = other.client();
    client.set_cookie(names::SESSION_COOKIE, alice.session_cookie().unwrap());

    let words = ["It cannot read its records", "kann gerade nicht entscheiden"];
    is_told("the store", &client, &get("/"), 503, words, "store_unreadable").await;

    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn the_number_on_a_page_is_that_of_the_line_in_the_audit_log() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.0/8").start().await;
    let foreign = gate.client().with("host", "evil.example");
    let html = "accept: text/html\r\n";

    let page = get("/").by(&foreign, html).await;
    let second = get("/").by(&foreign, html).await;
    let third = get("/").by(&foreign, html).await;
    let json = get("/").by(&foreign.clone().from("127.0.0.9"), "accept: application/json\r\n").await;
    gate.clock.advance(Duration::from_secs(61));
    gate.stages.gate.audit().write_floods();

    let refusals = events(&gate, "refuse");
    let ids: Vec<_> = refusals.iter().map(|event| event["http"]["request"]["id"].as_str()).collect();
    let json: Value = serde_json::from_slice(&json.body).unwrap();
    let first = reference(&page.text());
    assert_eq!(ids, [Some(first.as_str()), json["reference"].as_str(), None], "{refusals:?}");
    assert_eq!(refusals[2]["pvegate"]["count"], 2, "what was folded has no number of its own");
    assert_eq!(refusals[2]["source"]["ip"], "127.0.0.1");
    let later = [reference(&second.text()), reference(&third.text())];
    assert!(!later.contains(&first) && later[0] != later[1], "each page has its own: {later:?}");
}

#[tokio::test]
async fn an_address_that_is_not_on_the_list_is_told_so_where_that_is_set_and_gets_nothing_else() {
    let pve = Pve::start().await;
    let gate = telling(&pve).set("ui.contact", "alice@example.com").start().await;
    let client = gate.client();
    let words =
        ["Your connection came from 127.0.0.1, which is not", "Ihre Verbindung kam von 127.0.0.1; diese"];
    #[rustfmt::skip]
    let targets = ["/", "/api2/json/version", "/_gate/sign-in", "/_gate/enrol", "/_gate/recover", "/_gate/admin",
        "/_gate/ca", "/_gate/healthz", "/_gate/assets/gate.css", "/.well-known/change-password",
        "/.well-known/passkey-endpoints", "/../etc/passwd"];
    for target in targets {
        is_told(target, &client, &get(target), 403, words, "address_not_allowed").await;
    }
    let token = Asked { more: "authorization: PVEAPIToken=root@pam!x=y\r\n".to_owned(), ..get("/") };
    let answer = token.by(&client, "accept: text/html\r\n").await;
    assert!(answer.closes && answer.values("content-type")[0].contains("json"), "{answer:?}");
    let post = Asked {
        method: "POST",
        more: "content-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n".to_owned(),
        body: "a=b".to_owned(),
        ..get("/_gate/sign-in")
    };
    is_told("a form", &client, &post, 403, words, "address_not_allowed").await;
    let upgrade = Asked { more: "connection: upgrade\r\nupgrade: websocket\r\n".to_owned(), ..get("/") };
    is_told("an upgrade", &client, &upgrade, 403, words, "address_not_allowed").await;
    let malformed = Asked { more: "content-length: 1\r\ncontent-length: 2\r\n".to_owned(), ..get("/") };
    is_told("malformed", &client, &malformed, 403, words, "address_not_allowed").await;

    // What the page refers to is there, so that it can be read, and each answer is the last.
    let page = get("/").by(&client, "accept: text/html\r\n").await;
    assert!(page.text().contains("alice@example.com") && page.closes, "{}", page.text());
    for asset in [assets::style(), assets::script(), assets::icon()] {
        assert!(page.text().contains(asset.path()));
        let answer = get(asset.path()).by(&client, "").await;
        assert_eq!((answer.status, answer.closes, &*answer.body), (200, true, asset.bytes));
        assert_eq!(Asked { method: "POST", ..get(asset.path()) }.by(&client, "").await.status, 403);
    }
    let mut wire = Wire::open(&client).await;
    let head = client.head("GET", "/", "");
    wire.send(format!("{head}{head}").as_bytes()).await;
    assert_eq!(wire.answer("GET").await.unwrap().status, 403);
    assert!(wire.answer("GET").await.is_none(), "one answer a connection");
    assert_eq!(pve.connections_seen(), 0);
    until("every place is given back", async || gate.stages.admission.open() == 0).await;
}

#[tokio::test]
async fn a_session_that_is_taken_elsewhere_is_no_way_in_for_an_address_that_is_not_on_the_list() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("access.allow", "127.0.0.1/32")
        .set("access.on_deny", "page")
        .set("ui.show_ip", "false")
        .start()
        .await;
    let mut alice = gate.person("alice").await.client;
    assert_eq!(alice.navigate("/").await.status, 200);
    let seen = pve.requests_seen();

    let mut elsewhere = alice.clone().from("127.0.0.66");
    let page = elsewhere.navigate("/").await;
    let call = elsewhere.get("/api2/json/version").await;

    assert_eq!((page.status.as_u16(), call.status.as_u16()), (403, 403));
    assert!(page.text().contains("came from an address that is not on the list"), "{}", page.text());
    assert!(!page.text().contains("127.0.0.66"), "ui.show_ip = false");
    assert_eq!(pve.requests_seen(), seen);
    let refusal = events(&gate, "refuse").pop().unwrap();
    assert_eq!(refusal["http"]["request"]["id"], reference(&page.text()));
    assert_eq!(
        (&refusal["pvegate"]["reason"], &refusal["source"]["ip"]),
        (&"address".into(), &"127.0.0.66".into())
    );
    assert_eq!(alice.navigate("/").await.status, 200);
}

#[tokio::test]
async fn bans_and_limits_close_without_a_word_also_where_refused_addresses_are_told() {
    let pve = Pve::start().await;
    let gate = telling(&pve)
        .set("limits.connections_per_source", "3")
        .set("limits.request_burst", "60")
        .set("limits.requests", "5")
        .start()
        .await;
    let (crowd, flood, banned) = ("127.0.0.7", "127.0.0.8", "127.0.0.9");
    let mut held = Vec::new();
    while let Ok(stream) = gate.client().from(crowd).try_tls_stream().await {
        held.push(stream);
    }
    assert_eq!(held.len(), 3, "they count as connections");

    for _ in 0..60 {
        assert_eq!(gate.client().from(flood).get("/").await.status, 403);
        let left = async || gate.stages.admission.open() == held.len();
        until("the last one is closed", left).await;
    }
    is_closed_silently(&gate.client().from(flood)).await;

    gate.stages.admission.set_ban("127.0.0.9/32".parse().unwrap(), Some(pvegate::time::Timestamp::MAX));
    is_closed_silently(&gate.client().from(banned)).await;
    assert_eq!(gate.client().from("127.0.0.10").get("/").await.status, 403, "and others are told");

    // Who comes and asks nothing is in the log, too.
    drop(gate.client().from("127.0.0.11").tls_stream().await);
    let asked = async || events(&gate, "refuse").iter().any(|event| event["source"]["ip"] == "127.0.0.11");
    until("it is told", asked).await;
    assert_eq!(pve.connections_seen(), 0);
}

/// The connection ends at once and without a byte.
async fn is_closed_silently(client: &Client) {
    let mut stream = client.tcp_stream().await;
    let mut heard = Vec::new();
    let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut heard)).await.unwrap();
    assert!(end.is_ok() || heard.is_empty());
    assert_eq!(heard, [0_u8; 0]);
}

#[tokio::test]
async fn a_client_behind_a_peer_is_told_by_the_same_rules() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("access.allow", "203.0.113.0/24")
        .set("access.on_deny", "page")
        .set("server.trusted_peers", "127.0.0.1/32")
        .introduced_by_peers()
        .start()
        .await;
    let through = |client: &str| {
        gate.client().introduced_by(format!("PROXY TCP4 {client} 192.0.2.1 56324 443\r\n").into_bytes())
    };

    let page = through("198.51.100.7").navigate("/").await;
    let sign_in = through("203.0.113.9").navigate("/").await;

    assert_eq!(page.status, 403);
    assert!(page.text().contains("198.51.100.7"), "{}", page.text());
    assert_eq!(sign_in.status, 303);
    assert!(gate.client().from("127.0.0.2").try_tls_stream().await.is_err(), "who is no peer hears nothing");
    assert_eq!(pve.connections_seen(), 0);
}
