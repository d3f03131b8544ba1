//! The ways in, and what is said to people who took a wrong turn on them.

use std::time::Duration;

use http::Method;
use pvegate::{
    account::TimeStep,
    gate::ceremony::{
        invite::{LIFETIME, Token},
        totp::step_at,
    },
    names,
    time::Clock as _,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::harness::{Person, Pve, Reply, TestGate, Wire, scan, state_of};

const STEP: Duration = Duration::from_secs(30);

async fn scene() -> (Pve, TestGate) {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    (pve, gate)
}

/// Asks to take up an invitation by its token, as somebody who pasted it.
async fn take_up(gate: &TestGate, token: &str) -> Reply {
    gate.client().post_form("/_gate/enrol", &[("token", token)]).await
}

fn pasted(gate: &TestGate, token: &Token) -> String {
    token.link(&gate.config.gate.public_url)
}

fn reasons(gate: &TestGate) -> Vec<String> {
    let word = |event: &serde_json::Value| event.pointer("/pvegate/reason").cloned();
    let events = gate.audit();
    events.iter().filter_map(word).filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn an_invitation_that_cannot_be_taken_up_says_why_and_what_to_do() {
    let (pve, gate) = scene().await;
    let used = gate.invite("used");
    let (_, reply) = Person::take_up(&gate, "used", &used).await;
    assert_eq!(reply.status, 303);
    let replaced = gate.invite("replaced");
    gate.invite("replaced");
    let disabled = gate.invite("disabled");
    let sql = rusqlite::Connection::open(&gate.config.store.path).unwrap();
    sql.execute("UPDATE user SET disabled_at = 1 WHERE name = 'disabled'", []).unwrap();

    for (token, words) in [
        (pasted(&gate, &used), "This invitation was used before. Each works once. If that was you, sign in."),
        (pasted(&gate, &replaced), "This invitation is no longer valid. Ask for a new one."),
        (pasted(&gate, &disabled), "The gate does not know this invitation."),
        ("aaaaaaaaaaaaaaaaaaaaaaaa".to_owned(), "The gate does not know this invitation."),
        (String::new(), "The gate does not know this invitation."),
    ] {
        let page = take_up(&gate, &token).await;

        assert_eq!(page.status, 403, "{words}");
        assert!(page.text().contains(words), "{words}: {}", page.text());
        assert!(state_of(&page.text()).is_none());
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn an_invitation_is_good_up_to_its_last_moment_and_no_longer() {
    let (_pve, gate) = scene().await;
    let token = gate.invite("alice");
    gate.clock.advance(LIFETIME - Duration::from_millis(1));
    let (mut person, state) = Person::scan(&gate, "alice", &token).await.unwrap();
    gate.clock.advance(Duration::from_millis(1));

    let code = person.code(&gate);
    let reply = person.finish(&state, &code).await;

    assert_eq!(reply.status, 403);
    assert!(
        reply.text().contains("This invitation is no longer valid. Ask for a new one."),
        "{}",
        reply.text()
    );
    assert!(person.session_cookie().is_none());
    assert!(
        take_up(&gate, &pasted(&gate, &token))
            .await
            .text()
            .contains("This invitation is no longer valid. Ask for a new one.")
    );
}

#[tokio::test]
async fn a_link_is_as_good_as_its_code_and_blanks_capitals_and_hyphens_do_not_matter() {
    let (_pve, gate) = scene().await;
    let token = gate.invite("alice");
    let link = pasted(&gate, &token);
    let code = link.split_once('#').unwrap().1.to_owned();
    let grouped = format!(" {}-{} {}\t", &code[..6], &code[6..12], &code[12..]);
    for typed in [link, code.clone(), code.to_uppercase(), grouped] {
        assert!(state_of(&take_up(&gate, &typed).await.text()).is_some(), "{typed}");
    }
}

#[tokio::test]
async fn a_wrong_code_at_enrolment_loses_nothing() {
    let (pve, gate) = scene().await;
    let token = gate.invite("alice");
    let (mut alice, mut state) = Person::scan(&gate, "alice", &token).await.unwrap();
    let now = step_at(gate.clock.now());
    let step = |by| TimeStep(now.0.checked_add_signed(by).unwrap());
    let wrong = [
        "000000".to_owned(),
        "12345".to_owned(),
        "abcdef".to_owned(),
        String::new(),
        // Too old and too new by one step more than clocks may drift.
        alice.phone.code(step(-2)),
        alice.phone.code(step(2)),
    ];

    for code in wrong {
        let page = alice.finish(&state, &code).await;

        assert_eq!(page.status, 403, "{code:?}");
        assert!(page.text().contains("That code did not match"), "{code:?}: {}", page.text());
        let (secret, next) = scan(&page.text()).unwrap();
        assert_eq!(secret.expose(), alice.phone.expose(), "{code:?}: the phone need not scan again");
        assert!(alice.session_cookie().is_none());
        state = next;
    }
    let code = alice.code(&gate);
    let reply = alice.finish(&state, &code).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/_gate/enrolled")));
    assert_eq!(alice.client.get("/").await.status, 200);
    assert_eq!(pve.requests_seen(), 1);
}

#[tokio::test]
async fn a_form_that_lay_open_for_long_is_renewed_with_the_same_secret() {
    let (_pve, gate) = scene().await;
    let token = gate.invite("alice");
    let (mut alice, state) = Person::scan(&gate, "alice", &token).await.unwrap();
    gate.clock.advance(Duration::from_secs(6 * 60));

    let code = alice.code(&gate);
    let page = alice.finish(&state, &code).await;
    let (secret, state) = scan(&page.text()).unwrap();
    assert_eq!(secret.expose(), alice.phone.expose());
    assert!(alice.session_cookie().is_none());

    let reply = alice.finish(&state, &code).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
}

#[tokio::test]
async fn a_state_of_ours_is_not_taken_from_anybody_else() {
    let (_pve, gate) = scene().await;
    let token = gate.invite("alice");
    let (mut alice, state) = Person::scan(&gate, "alice", &token).await.unwrap();
    let code = alice.code(&gate);
    let other = TestGate::in_front_of(&Pve::start().await).await;
    let theirs = other.invite("alice");
    let (_, foreign) = Person::scan(&other, "alice", &theirs).await.unwrap();
    let mut changed = state.clone().into_bytes();
    changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };

    for forged in
        [foreign, String::from_utf8(changed).unwrap(), state[..state.len() - 4].to_owned(), String::new()]
    {
        let page = alice.finish(&forged, &code).await;

        assert_eq!(page.status, 403);
        assert!(alice.session_cookie().is_none());
    }
    assert_eq!(alice.finish(&state, &code).await.status, 303);
}

#[tokio::test]
async fn a_code_signs_in_within_a_step_of_now_and_never_twice() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.sign_ins", "100").start().await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;
    gate.clock.advance(10 * STEP);
    let now = step_at(gate.clock.now());
    let code = |by| alice.phone.code(TimeStep(now.0.checked_add_signed(by).unwrap()));
    let (old, late, good, early, future) = (code(-2), code(-1), code(0), code(1), code(2));
    let words = "That did not match";

    for wrong in [&old, &future, "000000", "", "１２３４５６", &format!("{good}0"), &good[1..]] {
        let page = alice.sign_in_with(wrong).await;
        assert_eq!(page.status, 403, "{wrong:?}");
        assert!(page.text().contains(words), "{}", page.text());
    }
    assert!(alice.session_cookie().is_none());
    assert_eq!(alice.sign_in_with(&late).await.status, 303, "a phone that is slow by a step");
    alice.sign_out().await;
    assert_eq!(alice.sign_in_with(&early).await.status, 303, "a phone that is fast by a step");
    alice.sign_out().await;
    for spent in [&late, &early, &good] {
        let page = alice.sign_in_with(spent).await;
        assert_eq!(page.status, 403, "spent, or older than one that was spent");
        assert!(page.text().contains(words), "the page does not tell which: {}", page.text());
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_user_name_may_be_typed_in_capitals_and_with_blanks_and_is_one_account() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice.b").await;
    for typed in ["ALICE.B", " alice.b", "Alice.B ", "\talice.b"] {
        alice.sign_out().await;
        let code = alice.wait_for_next_code(&gate);
        let reply = alice.client.post_form("/_gate/sign-in", &[("user", typed), ("code", &code)]).await;
        assert_eq!(reply.status, 303, "{typed:?}");
    }
    for other in
        ["alice", "alice b", "alice.b\u{0}", "аlice.b", "alice.b@pve", "' OR 1=1 --", "", &"a".repeat(5000)]
    {
        alice.sign_out().await;
        let code = alice.wait_for_next_code(&gate);
        let reply = alice.client.post_form("/_gate/sign-in", &[("user", other), ("code", &code)]).await;
        assert_eq!(reply.status, 403, "{other:?}");
    }
}

#[tokio::test]
async fn a_refused_sign_in_does_not_tell_whether_the_user_exists() {
    let (_pve, gate) = scene().await;
    gate.person("alice").await;
    gate.invite("invited");
    let page = async |name: &str| {
        let reply = gate.client().post_form("/_gate/sign-in", &[("user", name), ("code", "000000")]).await;
        let fields: Vec<_> = reply.headers.keys().map(ToString::to_string).collect();
        (reply.status, fields, reply.text().replace(name, "NAME"))
    };

    let known = page("alice").await;

    assert_eq!(page("nobody").await, known);
    assert_eq!(page("invited").await, known);
}

#[tokio::test]
async fn after_signing_in_people_are_where_they_were_going() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    for target in ["/", "/?console=shell&node=demo", "/pve2/x?a=%2Fb&c=%26", "/_gate/", "///"] {
        alice.sign_out().await;
        let sent = alice.client.navigate(target).await;
        assert_eq!(sent.status, 303, "{target}");
        let sign_in = sent.location().unwrap().to_owned();
        assert!(sign_in.starts_with("/_gate/sign-in"), "{sign_in}");
        assert_eq!(alice.client.navigate(&sign_in).await.status, 200);

        let code = alice.wait_for_next_code(&gate);
        let reply = alice.client.post_form(&sign_in, &[("user", "alice"), ("code", &code)]).await;

        let expected = if target == "///" { "/" } else { target };
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(expected)));
        // Somebody who opens the sign-in page while signed in goes there as well.
        assert_eq!(alice.client.navigate(&sign_in).await.location(), Some(expected));
    }
}

#[tokio::test]
async fn nobody_is_sent_to_another_origin() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    for next in [
        "https%3A%2F%2Fevil.example%2F",
        "%2F%2Fevil.example",
        "//evil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a&next=//evil.example",
    ] {
        let page = format!("/_gate/sign-in?next={next}");
        assert_eq!(alice.client.navigate(&page).await.location(), Some("/"), "signed in: {next}");
        alice.sign_out().await;
        let code = alice.wait_for_next_code(&gate);
        let reply = alice.client.post_form(&page, &[("user", "alice"), ("code", &code)]).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/")), "{next}");
    }
    alice.sign_out().await;
    for target in ["//evil.example/", "///evil.example", "/%2F/evil.example", "/\\evil.example"] {
        let mut wire = Wire::open(&alice.client).await;
        let page = "accept: text/html\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
        wire.send(alice.client.head("GET", target, page).as_bytes()).await;
        let answer = wire.answer("GET").await.unwrap();
        let location = answer.values("location").concat();
        assert!(location.starts_with("/_gate/sign-in"), "{target}: {} {location}", answer.status);
    }
}

#[tokio::test]
async fn whoever_comes_back_after_the_session_ended_is_told_so() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    gate.clock.advance(Duration::from_secs(3600));

    let sent = alice.client.navigate("/?console=shell").await;
    let page = alice.client.navigate(sent.location().unwrap()).await;

    assert!(page.text().contains("Your session at the gate has ended"), "{}", page.text());
}

#[tokio::test]
async fn a_form_of_another_site_is_not_acted_on() {
    let (pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    let code = alice.wait_for_next_code(&gate);
    let sign_in = format!("user=alice&code={code}");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let requests = [
        ("/_gate/sign-in", sign_in.as_str()),
        ("/_gate/enrol", "token=x"),
        ("/_gate/sign-out", ""),
        ("/api2/json/nodes/demo/qemu/100/status/stop", ""),
    ];
    #[rustfmt::skip]
    let senders = [
        ("another site",         "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n"),
        ("a neighbouring port",  "origin: https://gate.test:1\r\nsec-fetch-site: same-site\r\n"),
        ("a sandboxed frame",    "origin: null\r\n"),
        ("two origins",          "origin: https://gate.test\r\norigin: https://evil.example\r\n"),
        ("a plain scheme",       "origin: http://gate.test\r\n"),
        ("a contradiction",      "sec-fetch-site: cross-site\r\n"),
        ("one that is silent",   ""),
    ];
    for (target, body) in requests {
        for (sender, fields) in senders {
            let host = gate.authority();
            let cookie = format!("{}={}", names::SESSION_COOKIE, alice.session_cookie().unwrap());
            let head = format!(
                "POST {target} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\n{fields}{form}content-length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut wire = Wire::open(&gate.client()).await;
            wire.send(head.as_bytes()).await;
            let answer = wire.answer("POST").await.unwrap();

            assert_eq!(answer.status, 403, "{target} from {sender}");
            assert_eq!(answer.values("set-cookie"), [""; 0]);
        }
    }

    assert_eq!(alice.client.get("/_gate/").await.status, 200, "still signed in");
    assert_eq!(pve.connections_seen(), 0);
    alice.sign_out().await;
    assert_eq!(alice.sign_in_with(&code).await.status, 303, "and the code was not spent");
    assert!(reasons(&gate).iter().any(|reason| reason == "cross_site"), "{:?}", reasons(&gate));
}

#[tokio::test]
async fn a_form_with_a_field_twice_or_of_another_kind_is_refused() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    alice.sign_out().await;
    let code = alice.wait_for_next_code(&gate);
    let form = "application/x-www-form-urlencoded";
    for (kind, body) in [
        (form, format!("user=alice&code=000000&code={code}")),
        (form, format!("user=alice&user=bob&code={code}")),
        ("application/json", format!("{{\"user\":\"alice\",\"code\":\"{code}\"}}")),
        ("text/plain", format!("user=alice&code={code}")),
        ("multipart/form-data; boundary=x", "--x--".to_owned()),
    ] {
        let origin = gate.url();
        let mut client = gate.client().with("origin", &origin).with("content-type", kind);

        let reply = client.send(Method::POST, "/_gate/sign-in", body.clone().into()).await;

        assert_eq!(reply.status, 400, "{kind} {body}");
        assert!(client.cookie(names::SESSION_COOKIE).is_none());
    }
    assert_eq!(alice.sign_in_with(&code).await.status, 303, "the code was not spent");
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused_and_one_that_stalls_is_given_up() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("limits.body", "300ms").start().await;
    let client = gate.client();
    let form = "content-type: application/x-www-form-urlencoded\r\n";

    let mut wire = Wire::open(&client).await;
    let long = "x".repeat(17 * 1024);
    wire.send(
        client
            .head("POST", "/_gate/sign-in", &format!("{form}content-length: {}\r\n", long.len()))
            .as_bytes(),
    )
    .await;
    wire.send(long.as_bytes()).await;
    let answer = wire.answer("POST").await.unwrap();
    assert_eq!((answer.status, answer.closes), (413, true));

    let mut wire = Wire::open(&client).await;
    wire.send(
        client.head("POST", "/_gate/sign-in", &format!("{form}transfer-encoding: chunked\r\n")).as_bytes(),
    )
    .await;
    wire.send(format!("4400\r\n{}\r\n0\r\n\r\n", "x".repeat(0x4400)).as_bytes()).await;
    assert_eq!(wire.answer("POST").await.unwrap().status, 413);

    let mut wire = Wire::open(&client).await;
    wire.send(client.head("POST", "/_gate/sign-in", &format!("{form}content-length: 20\r\n")).as_bytes())
        .await;
    wire.send(b"user=alice").await;
    let answer =
        timeout(Duration::from_secs(5), wire.answer("POST")).await.expect("limits.body holds").unwrap();
    assert_eq!((answer.status, answer.closes), (408, true));
}

#[tokio::test]
async fn under_another_name_people_are_told_the_right_one_and_nothing_happens() {
    let (pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;
    let cookie = format!("{}={}", names::SESSION_COOKIE, alice.session_cookie().unwrap());
    for host in ["evil.example", "gate.test", "127.0.0.1", "gate.test:1", "gate.test.", "xgate.test"] {
        let mut wire = Wire::open(&gate.client()).await;
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\ncookie: {cookie}\r\n\r\n");
        wire.send(head.as_bytes()).await;
        let answer = wire.answer("GET").await.unwrap();

        assert_eq!((answer.status, answer.closes), (421, true), "{host}");
        assert!(answer.text().contains(&gate.url()), "{host}: {}", answer.text());
        assert!(!answer.text().contains("evil.example"), "nothing of the wrong name is repeated");
    }
    assert_eq!(pve.connections_seen(), 0);
    assert_eq!(alice.client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_handshake_for_another_name_leads_nowhere() {
    let (pve, gate) = scene().await;
    let alice = gate.person("alice").await;

    let mut wire = Wire::over(alice.client.tls_stream_for("other.test").await);
    wire.send(alice.client.head("GET", "/", "").as_bytes()).await;
    let answer = wire.answer("GET").await.unwrap();

    assert_eq!((answer.status, answer.closes), (421, true));
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn a_source_that_may_not_talk_to_the_gate_hears_nothing_at_all() {
    let pve = Pve::start().await;
    for (key, networks) in [("access.deny", "127.0.0.0/8"), ("access.allow", "10.0.0.0/8")] {
        let gate = TestGate::recipe(&pve).set(key, networks).start().await;
        let mut stream = TcpStream::connect(gate.address).await.unwrap();

        // Nothing was sent: the gate does not wait for a handshake before it closes.
        let mut heard = Vec::new();
        let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut heard)).await.expect("it closes");

        // The end, or a reset: both without a byte.
        assert!(end.is_ok() || heard.is_empty());
        assert_eq!(heard, [0_u8; 0]);
        assert!(reasons(&gate).iter().any(|reason| reason == "address"), "{:?}", reasons(&gate));
    }
    assert_eq!(pve.connections_seen(), 0);
}

#[tokio::test]
async fn somebody_who_is_signed_in_sees_when_it_ends_and_the_way_out() {
    let (_pve, gate) = scene().await;
    let mut alice = gate.person("alice").await;

    let page = alice.client.navigate("/_gate/").await;

    assert_eq!(page.status, 200);
    assert!(page.text().contains("alice"), "{}", page.text());
    assert!(page.text().contains("/_gate/sign-out"), "{}", page.text());
}
