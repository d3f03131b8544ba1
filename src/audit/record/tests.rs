//! Tests of what is written of an event: the interface that SIEMs read.

use std::collections::BTreeSet;

use http::{HeaderValue, Method, Uri};

use super::*;
use crate::{
    account::{Role, SessionId},
    audit::{Action, Changed, Reason, Tls, chain},
    secret::Key,
};

const AT: Timestamp = Timestamp::from_secs(1_111_111_109);

fn asking(peer: &str) -> Asking {
    let tls = Tls::named(Some("TLSv1_3"), Some("TLS13_AES_128_GCM_SHA256"));
    Asking::new(peer.parse().unwrap(), tls, Some(HeaderValue::from_static("curl/8")))
}

/// An event with everything that one can have.
fn full(action: Action, outcome: Outcome) -> Event {
    Event::new(action, outcome)
        .from("203.0.113.9".parse().unwrap())
        .of(&"alice".parse().unwrap())
        .with_token("root@pam!backup")
        .by(crate::account::Method::Totp)
        .in_session(SessionId([7; 32]))
        .because(Reason::new("bad_code", "code matches no time step within 1 of now"))
        .at_node("10.0.0.2:8006".to_owned())
        .asked(&Method::POST, &Uri::from_static("/_gate/sign-in?code=123456"))
        .at_upstream(Some("root@pam".to_owned()))
        .calling("read", "/version")
        .ban("203.0.113.0/24".parse().unwrap(), Some(AT))
        .done_by(&"root".parse().unwrap())
        .with_change(Changed::Name("bob".parse().unwrap()))
        .times(3)
}

fn without_what_changes(mut value: Value) -> Value {
    let pinned = value.pointer_mut("/event/id").map(Value::take);
    assert_eq!(pinned.unwrap().as_str().unwrap().len(), 16);
    if let Some(id) = value.pointer_mut("/http/request/id") {
        assert_eq!(id.take().as_str().unwrap().len(), 8);
    }
    value
}

#[test]
fn every_field_of_an_event_during_a_request_has_its_place() {
    let event = full(Action::SignIn, Outcome::Failure);
    let record = Record::of(&event, AT, Some(&asking("203.0.113.9:4711")), "pve");

    let expected = json!({
        "@timestamp": "2005-03-18T01:58:29.000Z",
        "destination": { "address": "10.0.0.2:8006" },
        "ecs": { "version": "8.11" },
        "event": {
            "action": "sign-in", "category": ["authentication"], "dataset": "pvegate.audit", "id": null,
            "kind": "event", "module": "pvegate", "outcome": "failure",
            "reason": "code matches no time step within 1 of now", "type": ["start"],
        },
        "host": { "name": "pve" },
        "http": { "request": { "id": null, "method": "POST" } },
        "pvegate": {
            "by": "root", "call": "/version", "class": "read", "count": 3, "method": "totp", "network": "203.0.113.0/24",
            "reason": "bad_code", "session": "070707070707", "token": "root@pam!backup",
            "until": "2005-03-18T01:58:29.000Z", "upstream_user": "root@pam",
        },
        "related": { "ip": ["203.0.113.9"], "user": ["alice", "root", "root@pam"] },
        "service": { "name": "pvegate", "version": env!("CARGO_PKG_VERSION") },
        "source": { "ip": "203.0.113.9", "port": 4711 },
        "tls": { "cipher": "TLS_AES_128_GCM_SHA256", "version": "1.3", "version_protocol": "tls" },
        "url": { "path": "/_gate/sign-in" },
        "user": { "changes": { "name": "bob" }, "name": "alice" },
        "user_agent": { "original": "curl/8" },
    });
    assert_eq!(without_what_changes(record.value), expected);
}

#[test]
fn a_client_behind_a_peer_is_the_source_and_the_peer_is_told() {
    let event = Event::new(Action::SignIn, Outcome::Success).from("203.0.113.9".parse().unwrap());
    let record = Record::of(&event, AT, Some(&asking("[::ffff:10.0.0.7]:4711")), "pve");

    assert_eq!(record.value["source"], json!({ "ip": "203.0.113.9" }));
    assert_eq!(record.value["network"], json!({ "forwarded_ip": "203.0.113.9" }));
    assert_eq!(record.value["pvegate"], json!({ "peer": "10.0.0.7" }));
    assert_eq!(record.value["related"]["ip"], json!(["10.0.0.7", "203.0.113.9"]));
}

/// Category and type of each action. The types are those that the schema expects with the category.
#[test]
fn every_action_has_its_word_category_and_type() {
    #[rustfmt::skip]
    let table = [
        ("sign-in",          "authentication",      "start"),
        ("sign-out",         "session",             "end"),
        ("session-end",      "session",             "end"),
        ("session-revoke",   "session",             "end"),
        ("refuse",           "network",             "denied"),
        ("step-up",          "authentication",      "info"),
        ("api-token-allow",  "authentication",      "start"),
        ("api-token-refuse", "authentication",      "start"),
        ("api-rule-add",     "configuration",       "creation"),
        ("api-rule-remove",  "configuration",       "deletion"),
        ("upstream-pin-change", "configuration",    "change"),
        ("invite-create",    "iam",                 "creation"),
        ("invite-use",       "iam",                 "change"),
        ("factor-add",       "iam",                 "change"),
        ("recovery-use",     "authentication",      "start"),
        ("recovery-renew",   "iam",                 "change"),
        ("factor-rename",    "iam",                 "change"),
        ("factor-remove",    "iam",                 "change"),
        ("intrusion-report", "intrusion_detection", "info"),
        ("panic",            "iam",                 "change"),
        ("user-add",         "iam",                 "creation"),
        ("user-unlock",      "iam",                 "change"),
        ("user-disable",     "iam",                 "change"),
        ("user-enable",      "iam",                 "change"),
        ("ban-add",          "intrusion_detection", "denied"),
        ("ban-remove",       "intrusion_detection", "allowed"),
        ("upstream-failure", "network",             "connection"),
        ("upstream-sign-in", "authentication",      "start"),
        ("node-down",        "network",             "connection"),
        ("node-up",          "network",             "connection"),
        ("start",            "process",             "start"),
        ("stop",             "process",             "end"),
        ("audit-lost",       "process",             "info"),
        ("console-close",    "session",             "end"),
        ("invite-revoke",    "iam",                 "deletion"),
        ("user-rename",      "iam",                 "change"),
        ("user-role",        "iam",                 "change"),
        ("user-delete",      "iam",                 "deletion"),
        ("backup",           "configuration",       "info"),
        ("restore",          "configuration",       "change"),
    ];
    let found: Vec<_> = Action::ALL
        .iter()
        .map(|action| {
            let value = Record::of(&Event::new(*action, Outcome::Success), AT, None, "pve").value;
            let word = |name: &str| value["event"][name][0].as_str().unwrap().to_owned();
            (action.as_str(), word("category"), word("type"))
        })
        .collect();
    let expected: Vec<_> = table
        .iter()
        .map(|(word, category, kind)| (*word, (*category).to_owned(), (*kind).to_owned()))
        .collect();
    assert_eq!(found, expected);
    let schema: [(&str, &[&str]); 7] = [
        ("authentication", &["start", "end", "info"]),
        ("session", &["start", "end", "info"]),
        ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
        ("configuration", &["access", "change", "creation", "deletion", "info"]),
        ("iam", &["admin", "change", "creation", "deletion", "group", "info", "user"]),
        ("intrusion_detection", &["allowed", "denied", "info"]),
        ("process", &["access", "change", "end", "info", "start"]),
    ];
    for (action, category, kind) in table {
        assert!(schema.iter().any(|(name, kinds)| *name == category && kinds.contains(&kind)), "{action}");
    }
}

#[test]
fn no_field_is_ever_written_that_is_not_on_the_list_and_none_on_it_is_idle() {
    let mut written = BTreeSet::new();
    for action in Action::ALL {
        for outcome in [Outcome::Success, Outcome::Failure] {
            for peer in ["203.0.113.9:4711", "10.0.0.7:1"] {
                let event = full(*action, outcome);
                let event = match outcome {
                    Outcome::Success => event,
                    Outcome::Failure => event.with_change(Changed::Role(Role::Admin)),
                };
                let record = Record::of(&event, AT, Some(&asking(peer)), "pve");
                let key = Key::from_bytes([7; 32]).for_macs();
                let (line, _) = chain::link(&record.value, chain::Head::NONE, Some(&key));
                let value: Value = serde_json::from_str(&line).unwrap();
                written.extend(flat(&value).into_iter().map(|(name, _)| name));
            }
        }
    }
    let listed: BTreeSet<_> = FIELDS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(written, listed);
}

#[test]
fn the_short_line_ends_with_the_request_and_nothing_that_is_typed_breaks_it() {
    let asking = asking("203.0.113.9:4711");
    let failure = Event::new(Action::SignIn, Outcome::Failure).from("203.0.113.9".parse().unwrap());
    let line = |event: &Event| Record::of(event, AT, Some(&asking), "pve").line;
    let id = asking.id().to_owned();

    assert_eq!(line(&failure), format!("authentication failure; rhost=203.0.113.9 req={id}"));
    let mut typed = failure;
    typed.user = Some("x\" req=1\n authentication failure; rhost=10.0.0.1".to_owned());
    let line = line(&typed);
    assert_eq!(line.matches("rhost=").count(), 1, "{line}");
    assert!(line.ends_with(&format!("\\x3d10.0.0.1\" req={id}")), "{line}");
    assert!(line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
}
