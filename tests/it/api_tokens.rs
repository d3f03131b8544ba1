//! The lane of API tokens: only what a rule names passes, and what passes has nothing but its token.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pvegate::{demo::Settings, names, time::Timestamp};
use serde_json::Value;

use crate::harness::{Client, HOST, Pve, Recipe, Reply, START, TestGate, Wire, until};

const TOKEN: &str = "root@pam!demo";
const SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";
const WRONG: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e22";

/// Known to the gate, and not to Proxmox VE any more.
const STALE: &str = "root@pam!stale";

fn field(token: &str, secret: &str) -> String {
    format!("PVEAPIToken={token}={secret}")
}

/// A gate with one rule for the token that the stand-in knows.
fn with_rule(pve: &Pve, rest: &str) -> Recipe {
    TestGate::recipe(pve).set("access.allow", "127.0.0.0/8").rule(TOKEN, SECRET, rest)
}

const ANYWHERE: &str = "from = [\"127.0.0.0/8\"]\n";

fn rule(rest: &str) -> String {
    format!("{ANYWHERE}{rest}")
}

trait AsProgram {
    fn with_token(&self) -> Client;
}

impl AsProgram for TestGate {
    fn with_token(&self) -> Client {
        self.client().with("authorization", &field(TOKEN, SECRET))
    }
}

/// A refusal of this lane: JSON with a phrase, whatever was accepted.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, word: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert_eq!(reply.field("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(reply.json()["error"], word);
    assert_eq!(reply.json()["message"].as_str(), reply.reason.as_deref(), "the phrase says it too");
}

fn audited<'a>(audit: &'a [Value], action: &str) -> Vec<&'a Value> {
    audit.iter().filter(|event| event["event"]["action"] == action).collect()
}

#[tokio::test]
async fn a_token_with_a_rule_reaches_proxmox_ve_as_it_is_and_alone() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/api2/json/version\"]")).start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    let before = pve.requests_seen();

    let mut program = alice.client.clone().with("authorization", &field(TOKEN, SECRET));
    let reply = program.get("/api2/json/version").await;

    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = pve.requests().swap_remove(before);
    assert_eq!(seen.values("authorization"), [field(TOKEN, SECRET).as_bytes()]);
    assert_eq!(seen.values("cookie"), Vec::<&[u8]>::new(), "a ticket would win over the token");
    let audit = gate.audit();
    let allowed = audited(&audit, "api-token-allow");
    assert_eq!(allowed.len(), 1);
    assert_eq!(allowed[0]["pvegate"]["token"], TOKEN);
    assert_eq!(allowed[0]["url"]["path"], "/api2/json/version");
}

#[tokio::test]
async fn without_a_rule_no_token_reaches_anything() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let alice = gate.person("alice").await;

    for mut program in [gate.client(), alice.client.clone()] {
        for authorization in [field(TOKEN, SECRET), "pveapitoken".to_owned()] {
            let mut program =
                program.clone().with("authorization", &authorization).with("accept", "text/html");
            assert_refused(&program.get("/api2/json/version").await, 401, "api_token_refused");
            assert_refused(&program.get("/_gate/").await, 401, "api_token_refused");
        }
        assert!(program.get("/_gate/healthz").await.status.is_success());
    }

    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_malformed_head_with_a_token_is_refused_in_json_whatever_it_accepts() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/**\"]")).start().await;
    let mut wire = Wire::open(&gate.client()).await;

    let token = field(TOKEN, SECRET);
    let head = format!("GET / HTTP/1.0\r\nAccept: text/html\r\nauthorization: {token}\r\n\r\n");
    wire.send(head.as_bytes()).await;
    let answer = wire.answer("GET").await.expect("an answer");

    assert_eq!((answer.status, answer.closes), (505, true));
    assert_eq!(answer.values("content-type"), ["application/json; charset=utf-8"]);
}

#[tokio::test]
async fn a_wrong_secret_never_reaches_proxmox_ve_and_looks_like_an_unknown_token() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/**\"]")).start().await;
    let ask = async |token: &str, secret: &str| {
        let client = gate.client().with("authorization", &field(token, secret)).with("accept", "text/html");
        let mut reply = client.clone().get("/api2/json/version").await;
        reply.headers.remove("date");
        reply
    };

    let wrong = ask(TOKEN, WRONG).await;
    let unknown = ask("root@pam!nobody", SECRET).await;

    assert_refused(&wrong, 401, "api_token_refused");
    assert_eq!(format!("{wrong:?}"), format!("{unknown:?}"));
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_field_that_is_more_or_less_than_one_token_never_reaches_proxmox_ve() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/**\"]")).start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    let ticket = alice.client.cookie("PVEAuthCookie").unwrap().to_owned();
    let before = (pve.connections_seen(), pve.requests_seen());
    let good = field(TOKEN, SECRET);

    for lines in [
        format!("Authorization: {good} PVEAuthCookie={ticket}"),
        format!("Authorization: {good}; PVEAuthCookie={ticket}"),
        format!("Authorization: PVEAuthCookie={ticket} {good}"),
        format!("Authorization: {good};"),
        format!("Authorization: {good},"),
        format!("Authorization: Basic {good}"),
        format!("Authorization: pveapitoken={TOKEN}={SECRET}"),
        format!("Authorization: PVEAPIToken\t{TOKEN}={SECRET}"),
        format!("Authorization: {good}\r\nAuthorization: PVEAuthCookie={ticket}"),
        format!("Authorization: PVEAuthCookie={ticket}\r\nAuthorization: {good}"),
    ] {
        let mut wire = Wire::open(&alice.client).await;
        let more = format!("{lines}\r\nAccept: text/html\r\n");
        wire.send(alice.client.head("GET", "/api2/json/version", &more).as_bytes()).await;
        let answer = wire.answer("GET").await.unwrap();
        // Two fields are refused before anybody looks into them; ten tries a minute have another word.
        assert!(matches!(answer.status, 400 | 401 | 429), "{lines}: {}", answer.status);
        assert!(answer.values("content-type").concat().contains("json"), "{lines}");
    }

    assert_eq!((pve.connections_seen(), pve.requests_seen()), before);
}

#[tokio::test]
async fn no_spelling_of_a_path_widens_a_rule() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/api2/json/nodes/*/status\", \"/api2/json/pools/**\"]"));
    let gate = gate.start().await;
    let mut program = gate.with_token();

    for (path, word) in [
        ("/api2/json/version", "api_token_path"),
        ("/api2/json/nodes/demo/status/", ""),
        ("/api2/json/nodes/demo/status/x", "api_token_path"),
        ("/api2/json/nodes/demo%2Fstatus", ""),
        ("/api2//json/nodes/demo/status", ""),
        ("//x/api2/json/nodes/demo/status", ""),
        ("//api2/json/nodes/demo/status", "api_token_path"),
        ("/api2/json/nodes/x%2Fdemo/status", "api_token_path"),
        ("/api2/json/pools/../nodes", "api_token_path"),
        ("/api2/json/pools/%2e%2e/nodes", "api_token_path"),
        ("/api2/json/pools/%252e%252e/nodes", "api_token_path"),
        ("/api2/json/pools/..%2fnodes", "api_token_path"),
        ("/api2/json/pools/..%5cnodes", "api_token_path"),
        ("/api2/json/pools/x%00", "api_token_path"),
        ("/api2/json/version?/api2/json/pools/x", "api_token_path"),
        ("/api2/json/pools%3fx", "api_token_path"),
        ("/_gate/", "api_token_path"),
        ("/_gate/healthz", "api_token_path"),
        ("/%5fgate/", "api_token_path"),
    ] {
        let before = pve.requests_seen();
        let reply = program.get(path).await;
        if word.is_empty() {
            let seen = pve.requests().swap_remove(before);
            assert_eq!(seen.target, path, "byte for byte");
        } else {
            assert_refused(&reply, 403, word);
            assert_eq!(pve.requests_seen(), before, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_signs_nobody_in_whatever_its_rule_says() {
    let pve = Pve::start().await;
    let gate =
        with_rule(&pve, &rule("methods = [\"GET\", \"POST\", \"PUT\"]\npaths = [\"/**\"]")).start().await;
    let mut program = gate.with_token();

    for path in [
        "/api2/json/access/ticket",
        "/api2/extjs/access/ticket",
        "/api2//json/%61ccess/ticket",
        "/api2/json/access%2fticket",
        "/api2/json/access/vncticket",
        "/api2/json/access/openid/login",
        "/api2/json/access/tfa/root@pam",
        "/api2/json/access/password",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT] {
            let reply = program.send(method, path, Bytes::new()).await;
            assert_refused(&reply, 403, "api_token_sign_in");
        }
    }

    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_rule_holds_to_its_methods_networks_and_dates() {
    let pve = Pve::start().await;
    let begin = START.plus(Duration::from_secs(60));
    let end = START.plus(Duration::from_secs(120));
    let gate = with_rule(
        &pve,
        &format!(
            "from = [\"127.0.0.7/32\"]\nmethods = [\"GET\", \"POST\"]\npaths = [\"/api2/json/version\"]\n\
             not_before = \"{begin}\"\nnot_after = \"{end}\""
        ),
    )
    .start()
    .await;
    let mut here = gate.with_token().from("127.0.0.7");
    let at = |moment: Timestamp| gate.clock.set(moment);

    at(begin.minus(Duration::from_millis(1)));
    assert_refused(&here.get("/api2/json/version").await, 403, "api_token_out_of_date");
    at(begin);
    assert_eq!(here.get("/api2/json/version").await.status, 200);
    assert_refused(
        &gate.with_token().from("127.0.0.8").get("/api2/json/version").await,
        403,
        "api_token_address",
    );
    let seen = pve.requests_seen();
    assert_refused(
        &here.send(Method::PUT, "/api2/json/version", Bytes::new()).await,
        403,
        "api_token_method",
    );
    let head = here.send(Method::HEAD, "/api2/json/version", Bytes::new()).await;
    assert_eq!(head.status, 403, "HEAD is not GET");
    assert_eq!(pve.requests_seen(), seen);
    here.send(Method::POST, "/api2/json/version", Bytes::new()).await;
    assert_eq!(pve.requests_seen(), seen + 1, "without an Origin, which programs do not send");
    at(end);
    assert_eq!(here.get("/api2/json/version").await.status, 200);
    at(end.plus(Duration::from_millis(1)));
    assert_refused(&here.get("/api2/json/version").await, 403, "api_token_out_of_date");
    assert_eq!(pve.requests_seen(), seen + 2);
}

#[tokio::test]
async fn a_rule_has_so_many_requests_at_once_and_as_many_a_minute() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/api2/json/version\"]\nrate = 3")).start().await;
    let mut program = gate.with_token();
    let mut elsewhere = gate.with_token().from("127.0.0.9");

    for _ in 0..3 {
        assert_eq!(program.get("/api2/json/version").await.status, 200);
    }
    let refused = elsewhere.get("/api2/json/version").await;

    assert_refused(&refused, 429, "rate_limited");
    assert_eq!(refused.field("retry-after"), Some("20"));
    assert_eq!(pve.requests_seen(), 3);
    gate.clock.advance(Duration::from_secs(20));
    assert_eq!(program.get("/api2/json/version").await.status, 200);
}

#[tokio::test]
async fn wrong_secrets_are_counted_by_source_and_the_right_one_still_passes() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/api2/json/version\"]")).start().await;
    let mut guesser = gate.client().with("authorization", &field(TOKEN, WRONG));

    for _ in 0..10 {
        assert_refused(&guesser.get("/api2/json/version").await, 401, "api_token_refused");
    }
    let refused = guesser.get("/api2/json/version").await;

    assert_refused(&refused, 429, "rate_limited");
    assert_eq!(refused.field("retry-after"), Some("6"));
    assert_eq!(pve.connections_seen(), 0);
    assert_eq!(
        gate.with_token().get("/api2/json/version").await.status,
        200,
        "a neighbour is not locked out"
    );
    let mut elsewhere = gate.client().with("authorization", &field(TOKEN, WRONG)).from("127.0.0.9");
    assert_refused(&elsewhere.get("/api2/json/version").await, 401, "api_token_refused");

    gate.clock.advance(Duration::from_secs(61));
    until("the minute is told in one line", async || audited(&gate.audit(), "api-token-refuse").len() >= 4)
        .await;
    let audit = gate.audit();
    let refusals = audited(&audit, "api-token-refuse");
    assert_eq!(refusals[0]["pvegate"]["token"], TOKEN);
    assert_eq!(refusals[0]["pvegate"]["reason"], "token_unknown");
    assert_eq!(refusals[0]["source"]["ip"], "127.0.0.1");
    let folded =
        refusals.iter().find(|event| event["source"]["ip"] == "127.0.0.1" && event["pvegate"]["count"] == 9);
    assert!(folded.is_some(), "{refusals:?}");
}

#[tokio::test]
async fn a_token_that_proxmox_ve_refuses_is_audited_and_held_back() {
    let pve = Pve::start().await;
    let gate =
        TestGate::recipe(&pve).rule(STALE, SECRET, &rule("paths = [\"/api2/json/version\"]")).start().await;
    let mut program = gate.client().with("authorization", &field(STALE, SECRET));

    for _ in 0..11 {
        assert_eq!(program.get("/api2/json/version").await.status, 401);
    }
    assert_eq!(pve.requests_seen(), 11);
    assert_refused(&program.get("/api2/json/version").await, 429, "rate_limited");
    assert_eq!(pve.requests_seen(), 11, "it takes three seconds over each");
    gate.clock.advance(Duration::from_secs(6));
    assert_eq!(program.get("/api2/json/version").await.status, 401);
    assert_eq!(pve.requests_seen(), 12);

    let audit = gate.audit();
    let first = audited(&audit, "api-token-refuse")[0].clone();
    assert_eq!(first["pvegate"]["reason"], "token_upstream");
    assert_eq!(first["pvegate"]["token"], STALE);
    assert_eq!((&first["pvegate"]["class"], &first["pvegate"]["call"]), (&"read".into(), &"/version".into()));
}

#[tokio::test]
async fn another_name_of_the_gate_is_for_tokens_only() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/api2/json/version\"]"))
        .set("server.aliases", "10.9.9.9:8443,pve.internal")
        .start()
        .await;
    let alice = gate.person("alice").await;
    let before = pve.requests_seen();
    let ask = async |client: &Client, host: &str, name: &str| {
        let mut wire = Wire::over(client.tls_stream_for(name).await);
        let mut client = client.clone();
        client = client.with("host", host);
        wire.send(client.head("GET", "/api2/json/version", "").as_bytes()).await;
        wire.answer("GET").await.unwrap().status
    };

    // The stand-in has the same certificate for every name; a client of an address sends none.
    assert_eq!(ask(&alice.client, "10.9.9.9:8443", HOST).await, 421, "a session goes by the public URL");
    assert_eq!(
        ask(&gate.with_token(), "10.9.9.9:8443", HOST).await,
        421,
        "and the handshake's name with Host"
    );
    assert_eq!(ask(&gate.with_token(), "other.internal", HOST).await, 421);
    assert_eq!(pve.requests_seen(), before);
    assert_eq!(ask(&alice.client, "pve.internal", "pve.internal").await, 421, "by either name");
    assert_eq!(pve.requests_seen(), before);

    assert_eq!(ask(&gate.with_token(), "pve.internal", "pve.internal").await, 200);
    let seen = pve.requests().swap_remove(before);
    assert_eq!(seen.values("host"), [b"pve.internal"], "as it was sent");
    assert_eq!(seen.values("authorization"), [field(TOKEN, SECRET).as_bytes()]);
}

#[tokio::test]
async fn a_tunnel_needs_a_path_that_names_it_and_ends_with_its_rule() {
    let pve = Pve::start().await;
    let end = START.plus(Duration::from_secs(3600));
    let lines =
        |path: &str| rule(&format!("methods = [\"GET\", \"POST\"]\npaths = [{path}]\nnot_after = \"{end}\""));
    let gate = with_rule(&pve, &lines("\"/api2/json/nodes/**\"")).start().await;
    let named = gate
        .another(&pve)
        .rule(TOKEN, SECRET, &lines("\"/api2/json/nodes/*/termproxy\", \"/api2/json/nodes/*/vncwebsocket\""))
        .start()
        .await;
    let ticket = named
        .with_token()
        .send(Method::POST, "/api2/json/nodes/demo/termproxy?standin-mode=echo", Bytes::new())
        .await;
    let data = ticket.json()["data"].clone();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("port", &data["port"].to_string().replace('"', ""))
        .append_pair("vncticket", data["ticket"].as_str().unwrap())
        .finish();
    let target = format!("/api2/json/nodes/demo/vncwebsocket?{query}");

    let refused = gate.with_token().console(&target).await.err().unwrap();
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (403, &Value::from("api_token_tunnel")));
    assert_eq!(pve.tunnels_open(), 0);

    let mut tunnel = named.with_token().console(&target).await.map_err(|reply| reply.text()).unwrap();
    assert!(tunnel.echo(b"hello").await.is_some());
    named.clock.set(end);
    assert!(tunnel.echo(b"at the last moment").await.is_some());
    named.clock.advance(Duration::from_millis(1));

    assert_eq!(tunnel.receive().await, None);
    pve.wait_until(|seen| seen.tunnels_open == 0).await;
}

#[tokio::test]
async fn a_program_is_told_of_faults_in_json_too() {
    let pve = Pve::with(Settings::quick()).await;
    let gate = with_rule(&pve, &rule("paths = [\"/**\"]"))
        .trusting(&format!("fingerprint = \"{}\"", "00".repeat(32)));
    let gate = gate.start().await;

    let reply = gate.with_token().with("accept", "text/html").get("/api2/json/version").await;

    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["error"], "upstream_fingerprint");
    assert_eq!(pve.requests_seen(), 0);
}

#[tokio::test]
async fn a_ticket_in_authorization_needs_a_session_and_is_left_alone_with_one() {
    let pve = Pve::start().await;
    let gate = with_rule(&pve, &rule("paths = [\"/**\"]")).start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    let ticket = format!("PVEAuthCookie={}", alice.client.cookie("PVEAuthCookie").unwrap());
    let before = pve.requests_seen();

    let stranger = gate.client().with("authorization", &ticket).get("/api2/json/version").await;
    assert_eq!((stranger.status.as_u16(), stranger.reason.as_deref()), (401, Some(names::SIGN_IN_PHRASE)));
    assert_eq!(pve.requests_seen(), before);

    let mut alice = alice.client.clone().with("authorization", &ticket);
    assert_eq!(alice.get("/api2/json/version").await.status, 200);
    let seen = pve.requests().pop().unwrap();
    assert_eq!(seen.values("authorization"), [ticket.as_bytes()]);
}
