//! Proxmox VE's own sign-in, watched: what fails there is written down with the true address, and whoever
//! fails too often is stopped before pveproxy hears of it.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pvegate::demo::{Settings, StandIn};
use serde_json::{Value, json};

use crate::harness::{Client, Pve, Reply, TestGate, Wire, until};

const EXTJS: &str = "/api2/extjs/access/ticket";
const JSON: &str = "/api2/json/access/ticket";

/// A gate to which every loopback address is a source of its own.
async fn gate(pve: &Pve) -> TestGate {
    TestGate::recipe(pve).set("access.allow", "127.0.0.0/8").start().await
}

/// The sign-ins to Proxmox VE in the audit file: outcome, reason, user there.
fn sign_ins(gate: &TestGate) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    gate.audit()
        .iter()
        .filter(|event| event["event"]["action"] == "upstream-sign-in")
        .map(|event| {
            let pvegate = &event["pvegate"];
            (text(&event["event"]["outcome"]), text(&pvegate["reason"]), text(&pvegate["upstream_user"]))
        })
        .collect()
}

async fn sign_in(client: &mut Client, target: &str, user: &str, password: &str) -> Reply {
    client.post_form(target, &[("username", user), ("password", password)]).await
}

fn failures_seen(pve: &StandIn) -> usize {
    pve.journal().iter().filter(|line| line.contains("authentication failure")).count()
}

#[tokio::test]
async fn no_spelling_of_a_failed_sign_in_goes_unwritten() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let alice = gate.person("alice").await;
    #[rustfmt::skip]
    let spellings = [
        (JSON,                                    "upstream_password"),
        (EXTJS,                                   "upstream_password"),
        ("/api2/html/access/ticket",              "upstream_password"),
        ("/api2/htmljs/access/ticket",            "upstream_password"),
        ("/api2/png/access/ticket",               "upstream_password"),
        ("/api2/spiceconfig/access/ticket",       "upstream_password"),
        ("/api2///json/access/ticket",            "upstream_password"),
        ("/api2/json/%61ccess/ticket",            "upstream_password"),
        ("/api2/extjs/access%2Fticket",           "upstream_password"),
        ("/%61pi2%2fextjs%2faccess%2fticket",     "upstream_password"),
        ("//host:1/api2/extjs/access/ticket",     "upstream_password"),
        ("/api2/json/access/ticket%0a",           "upstream_password"),
        ("/api2/extjs/access/ticket?x=/;y#",      "upstream_password"),
    ];
    for (number, (target, reason)) in spellings.into_iter().enumerate() {
        let source = format!("127.0.0.{}", number + 10);
        let target = target.trim_end_matches('#');
        let before = failures_seen(&pve);

        sign_in(&mut alice.client.clone().from(&source), target, "root@pam", "wrong").await;

        assert_eq!(failures_seen(&pve), before + 1, "{target} reaches the login code");
        let written = sign_ins(&gate);
        assert_eq!(written.len(), number + 1, "{target}");
        let expected = ("failure".to_owned(), reason.to_owned(), "root@pam".to_owned());
        assert_eq!(written.last(), Some(&expected), "{target}");
        let event = gate.audit().pop().unwrap();
        assert_eq!((&event["source"]["ip"], &event["user"]["name"]), (&json!(source), &json!("alice")));
    }
}

#[tokio::test]
async fn each_kind_of_answer_is_read_for_what_it_says() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client;
    let tfa =
        client.clone().post_form(EXTJS, &[("username", "tfa@pve"), ("password", "tfa")]).await.json()["data"]
            .clone();
    assert_eq!(tfa["NeedTFA"], 1);
    assert_eq!(sign_ins(&gate), [], "a right password with the second factor to come is neither");
    let challenge = tfa["ticket"].as_str().unwrap();
    let (yes, no) = ("success", "failure");
    #[rustfmt::skip]
    let table: &[(&str, &[(&str, &str)], u16, &str, &str, &str)] = &[
        // target  form                                                                                         status outcome reason              user
        (JSON,  &[("username", "root@pam"), ("password", "proxmox")],                                            200, yes, "",                       "root@pam"),
        (EXTJS, &[("username", "root"), ("realm", "pam"), ("password", "proxmox")],                              200, yes, "",                       "root@pam"),
        (EXTJS, &[("username", "root"), ("realm", "pam"), ("password", "x")],                                    200, no,  "upstream_password",      "root@pam"),
        (JSON,  &[("username", "nobody@pve"), ("password", "x")],                                                401, no,  "upstream_password",      "nobody@pve"),
        (EXTJS, &[("username", "tfa@pve"), ("password", "totp:000000"), ("tfa-challenge", challenge)],           200, no,  "upstream_second_factor", "tfa@pve"),
        (JSON,  &[("username", "tfa@pve"), ("password", "totp:000000"), ("tfa-challenge", challenge)],           401, no,  "upstream_second_factor", "tfa@pve"),
        (EXTJS, &[("username", "tfa@pve"), ("password", "totp:123456"), ("tfa-challenge", challenge)],           200, yes, "",                       "tfa@pve"),
        (EXTJS, &[("username", "tfa@pve"), ("password", "PVE:tfa@pve:6921F000::x"), ("tfa-challenge", "x")],     200, no,  "upstream_second_factor", "tfa@pve"),
        (JSON,  &[("username", "root@pam")],                                                                     400, no,  "upstream_fault",         "root@pam"),
        ("/api2/html/access/ticket", &[("username", "root@pam"), ("password", "proxmox")],                       301, yes, "",                       "root@pam"),
        ("/api2/json/access/openid/login", &[("code", "x"), ("state", "y")],                                     500, no,  "upstream_fault",         ""),
        ("/api2/json/access/vncticket", &[("authid", "root@pam"), ("vncticket", "x")],                           401, no,  "upstream_ticket",        "root@pam"),
    ];
    for (number, (target, form, status, outcome, reason, user)) in table.iter().enumerate() {
        let reply = client.clone().from(&format!("127.0.0.{}", number + 10)).post_form(target, form).await;

        assert_eq!(reply.status, *status, "{target} {form:?}");
        let expected = ((*outcome).to_owned(), (*reason).to_owned(), (*user).to_owned());
        assert_eq!(sign_ins(&gate).last(), Some(&expected), "{target} {form:?}");
    }
    assert_eq!(sign_ins(&gate).len(), table.len());
}

#[tokio::test]
async fn the_answer_comes_as_it_was_and_uncompressed_on_this_call_alone() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client.with("accept-encoding", "gzip");

    let right = sign_in(&mut client, JSON, "root@pam", "proxmox").await;
    let wrong = sign_in(&mut client, EXTJS, "root@pam", "wrong").await;
    client.get("/").await;

    assert!(right.json()["data"]["ticket"].as_str().unwrap().starts_with("PVE:root@pam:"));
    assert_eq!(right.field("content-length"), Some(right.body.len().to_string().as_str()));
    assert_eq!(wrong.json()["message"], "authentication failure\n");
    let asked: Vec<bool> = pve
        .requests()
        .iter()
        .map(|request| request.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"accept-encoding")))
        .collect();
    assert_eq!(asked, [false, false, true]);
}

#[tokio::test]
async fn the_body_of_a_sign_in_goes_up_byte_for_byte() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client;
    let body = "username=root%40pam&password=wr%6Fng&&%zz=+";
    let mut wire = Wire::open(&client).await;
    let head = format!(
        "POST {JSON}?a=b HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nCookie: {}={}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        gate.authority(),
        gate.url(),
        pvegate::names::SESSION_COOKIE,
        client.cookie(pvegate::names::SESSION_COOKIE).unwrap(),
    );

    wire.send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes()).await;
    let answer = wire.answer("POST").await;

    assert_eq!(answer.unwrap().status, 401);
    let seen = pve.requests().pop().unwrap();
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(body).into();
    assert_eq!((seen.body_length, seen.body_sha256), (Some(body.len() as u64), Some(sha256)));
    assert_eq!(seen.target, format!("{JSON}?a=b"));
    assert_eq!(sign_ins(&gate)[0].2, "root@pam");
}

/// pveproxy reads `_` in a name as `-`, so such a field would say something else to it than to the gate: that
/// a guess is a renewal, which is not counted.
#[tokio::test]
async fn no_field_in_disguise_makes_a_guess_look_like_a_renewal() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client;
    let renewal = format!("&username=x@pam&password=PVE:x@pam:12345678::{}&x=", "A".repeat(344));
    let body = json!({ "a": renewal, "username": "root@pam", "password": "guess" }).to_string();
    let kinds = [
        "Content_Type: application/json\r\n",
        "content_type: application/json\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Type: application/json\r\n",
        "Content-Type: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/json\r\nAccept_Encoding: gzip\r\n",
    ];
    let before = pve.requests_seen();
    for kind in kinds {
        let mut wire = Wire::open(&client).await;
        let more = format!("{kind}Content-Length: {}\r\n", body.len());

        wire.send((client.head("POST", JSON, &more) + &body).as_bytes()).await;

        assert_eq!(wire.answer("POST").await.unwrap().status, 400, "{kind}");
    }
    assert_eq!(failures_seen(&pve), 0, "none of them is a guess");
    assert_eq!(pve.requests_seen(), before, "none of them goes up");
}

#[tokio::test]
async fn who_fails_too_often_is_stopped_before_pveproxy_hears_of_it_and_only_there() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client;
    let mut here = client.clone().from("127.0.0.7");
    for spelling in [EXTJS, JSON, "/api2/json/%61ccess/ticket", "/api2/extjs/access%2Fticket", JSON] {
        assert_ne!(sign_in(&mut here, spelling, "root@pam", "wrong").await.status, 429);
    }
    let before = pve.requests_seen();

    let refused = sign_in(&mut here, EXTJS, "root@pam", "proxmox").await;

    assert_eq!(refused.status, 429);
    assert_eq!(refused.reason.as_deref(), Some("Too many failed sign-ins to Proxmox VE - wait a minute"));
    assert_eq!(refused.field("retry-after"), Some("60"));
    assert_eq!(refused.json()["success"], 0);
    assert_eq!(pve.requests_seen(), before);
    let event = gate.audit().pop().unwrap();
    assert_eq!(event["pvegate"]["reason"], "upstream_guesses_user");
    assert_eq!(
        (&event["pvegate"]["class"], &event["pvegate"]["call"]),
        (&json!("sign-in"), &json!("/access/ticket"))
    );

    // The owner, from another network, at the same user.
    let mut elsewhere = client.clone().from("127.0.0.8");
    assert_eq!(sign_in(&mut elsewhere, JSON, "root@pam", "proxmox").await.status, 200);
    // Another user from here; and the same after a minute.
    assert_eq!(sign_in(&mut here, JSON, "demo@pve", "demo").await.status, 200);
    gate.clock.advance(Duration::from_secs(60));
    assert_eq!(sign_in(&mut here, JSON, "root@pam", "proxmox").await.status, 200);
}

#[tokio::test]
async fn a_source_that_tries_many_users_is_stopped_too() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client;
    for number in 0..10 {
        assert_eq!(sign_in(&mut client, JSON, &format!("u{number}@pve"), "wrong").await.status, 401);
    }

    assert_eq!(sign_in(&mut client, JSON, "root@pam", "proxmox").await.status, 429);
    gate.clock.advance(Duration::from_secs(6));
    assert_eq!(sign_in(&mut client, JSON, "root@pam", "proxmox").await.status, 200);
}

#[tokio::test]
async fn right_passwords_and_renewals_are_held_against_nobody() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client;
    let mut ticket = String::new();
    for _ in 0..30 {
        let reply = sign_in(&mut client, EXTJS, "root@pam", "proxmox").await.json();
        ticket = reply["data"]["ticket"].as_str().unwrap().to_owned();
    }
    let written = sign_ins(&gate).len();
    for _ in 0..30 {
        let reply = sign_in(&mut client, EXTJS, "root@pam", &ticket).await.json();
        assert_eq!(reply["success"], 1);
    }

    assert_eq!(written, 30);
    assert_eq!(sign_ins(&gate).len(), written, "a renewal is no sign-in");
}

#[tokio::test]
async fn a_ticket_that_is_renewed_keeps_no_idle_session_alive() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client;
    let ticket = sign_in(&mut client, JSON, "root@pam", "proxmox").await.json()["data"]["ticket"].clone();
    for _ in 0..3 {
        gate.clock.advance(Duration::from_secs(15 * 60));
        let renewed = sign_in(&mut client, EXTJS, "root@pam", ticket.as_str().unwrap()).await;
        assert_eq!(renewed.json()["success"], 1);
    }

    gate.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(sign_in(&mut client, EXTJS, "root@pam", ticket.as_str().unwrap()).await.status, 401);
}

#[tokio::test]
async fn an_attempt_that_nobody_waits_for_counts_as_failed() {
    let pve = Pve::with(Settings { unauthorized_delay: Duration::from_secs(60), ..Settings::quick() }).await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client.from("127.0.0.7");
    for number in 1..=5 {
        let (mut hasty, asked) = (client.clone(), pve.requests_seen());
        let asking = tokio::spawn(async move { sign_in(&mut hasty, JSON, "root@pam", "wrong").await });
        pve.wait_until(|seen| seen.requests_seen > asked).await;
        asking.abort();
        until("it is written down", async || sign_ins(&gate).len() == number).await;
    }

    assert_eq!(sign_in(&mut client.clone(), JSON, "root@pam", "proxmox").await.status, 429);
    assert_eq!(sign_ins(&gate)[0].1, "upstream_unclear");
}

#[tokio::test]
async fn a_hundred_at_once_are_no_way_around() {
    let pve =
        Pve::with(Settings { unauthorized_delay: Duration::from_millis(300), ..Settings::quick() }).await;
    let gate = gate(&pve).await;
    let client = gate.person("alice").await.client;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut client = client.clone();
        all.spawn(async move { sign_in(&mut client, JSON, "root@pam", "wrong").await.status.as_u16() });
    }

    let mut statuses = all.join_all().await;

    statuses.sort_unstable();
    assert_eq!(statuses[..5], [401; 5]);
    assert_eq!(statuses[5..], [429; 35]);
    assert_eq!(failures_seen(&pve), 5);
}

#[tokio::test]
async fn a_form_longer_than_pveproxy_takes_is_refused_and_not_held() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client;
    let seen = pve.requests_seen();

    let reply =
        client.post_as_script(JSON, "application/x-www-form-urlencoded", vec![b'x'; 512 * 1024 + 1]).await;

    assert_eq!((reply.status.as_u16(), pve.requests_seen()), (413, seen));
}

#[tokio::test]
async fn an_unreadable_path_of_a_call_is_refused_and_odd_paths_and_methods_pass_as_they_are() {
    let pve = Pve::start().await;
    let gate = gate(&pve).await;
    let mut client = gate.person("alice").await.client;
    for target in ["/api2/json/access/ticket%00", "/api2/json/nodes/%0d", "/api2/json/%ff"] {
        assert_eq!(client.get(target).await.status, 400, "{target}");
    }
    assert_eq!(pve.requests_seen(), 0);
    let event = gate.audit().pop().unwrap();
    assert_eq!(event["event"]["action"], "refuse");

    let mut ours = client.clone().with("origin", &gate.url());
    for (method, target) in
        [("GET", "/%ff//%2F"), ("HEAD", "/api2/json/a%2Fb///c"), ("PATCH", "/api2/json/%c3%a9")]
    {
        ours.send(method.parse::<Method>().unwrap(), target, Bytes::new()).await;
        let seen = pve.requests().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, target));
    }
}
