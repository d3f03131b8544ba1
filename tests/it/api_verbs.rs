//! `pvegate api` and `pvegate access explain`: rules come and go in the file, and every decision can be
//! asked for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use ipnet::IpNet;
use pvegate::store::{AutomaticBan, Store as _};
use serde_json::{Value, json};

use crate::harness::{Ended, Pve, START, TestGate, pvegate, pvegate_told};

const TOKEN: &str = "root@pam!demo";
const SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";

struct Place {
    gate: TestGate,
    config: String,
}

impl Place {
    async fn new(pve: &Pve) -> Self {
        let gate = TestGate::in_front_of(pve).await;
        let config = gate.dir().join("pvegate.toml").display().to_string();
        Self { gate, config }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(&self.config, text).unwrap();
    }

    async fn run(&self, args: &[&str]) -> Ended {
        pvegate(&[&["--config", &self.config], args].concat()).await
    }

    async fn add(&self, secret: &str, more: &[&str]) -> Ended {
        let args = ["--config", &self.config, "api", "add", TOKEN, "--from", "127.0.0.0/8"];
        pvegate_told(secret, &[&args, more].concat()).await
    }

    async fn explain(&self, args: &[&str]) -> Value {
        let whole = [&["access", "explain", "--json"], args].concat();
        self.run(&whole).await.json().swap_remove(0)
    }
}

#[tokio::test]
async fn a_rule_that_is_written_by_the_verb_lets_its_token_through_at_the_next_start() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    place.write(&format!("# Mine, by hand.\n{}# The end.", place.text()));
    fs::set_permissions(&place.config, fs::Permissions::from_mode(0o640)).unwrap();
    let before = place.text();

    let added = place.add(&format!("{SECRET}\n"), &["--path", "/api2/json/version", "--rate", "5"]).await;

    assert_eq!(added.code, Some(0), "{added:?}");
    let after = place.text();
    assert!(after.starts_with(&format!("{before}\n\n[[api.rule]]\n")), "{after}");
    assert!(!after.contains(SECRET));
    assert_eq!(fs::metadata(&place.config).unwrap().permissions().mode() & 0o777, 0o640);
    let listed = place.run(&["api", "list", "--json"]).await.json();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["token"], TOKEN);
    assert_eq!(listed[0]["methods"], json!(["GET"]));
    assert_eq!(listed[0]["rate"], 5);

    // The same keys and file, as after a restart.
    let rules = after.split_once("[[api.rule]]").unwrap().1;
    let again = place.gate.another(&pve).tables(&format!("[[api.rule]]{rules}")).start().await;
    let authorization = format!("PVEAPIToken={TOKEN}={SECRET}");
    let reply = again.client().with("authorization", &authorization).get("/api2/json/version").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let audit = place.gate.audit();
    assert!(
        audit.iter().any(|it| it["event"]["action"] == "api-rule-add" && it["pvegate"]["token"] == TOKEN)
    );
}

#[tokio::test]
async fn what_is_no_secret_or_would_make_the_file_wrong_changes_nothing() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    let before = place.text();

    for secret in ["", "not a secret", &format!("{TOKEN}={SECRET}")] {
        let ended = place.add(secret, &["--path", "/**"]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stderr.contains(SECRET), "{ended:?}");
    }
    let turned =
        ["--path", "/**", "--not-before", "2027-01-02T00:00:00Z", "--not-after", "2027-01-01T00:00:00Z"];
    let ended = place.add(SECRET, &turned).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("E0310") && ended.stderr.contains("nothing was written"), "{ended:?}");
    let printed = place.add(SECRET, &["--path", "/**", "--print"]).await.ok();
    assert!(printed.starts_with("[[api.rule]]\ntoken = ") && !printed.contains(SECRET), "{printed}");
    assert_eq!(place.add(SECRET, &["--path", "**"]).await.code, Some(2));

    assert_eq!(place.text(), before);
    let beside = fs::read_dir(place.gate.dir()).unwrap();
    let beside: Vec<_> = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!beside.iter().any(|name| name.starts_with(".pvegate")), "{beside:?}");
}

#[tokio::test]
async fn removing_a_tokens_rules_leaves_the_rest_as_it_was_written() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    let before = place.text();
    for path in ["/api2/json/version", "/api2/json/nodes"] {
        assert_eq!(place.add(SECRET, &["--path", path]).await.code, Some(0));
    }
    place.write(&format!("{}\n[log]   # for me\nlevel = \"info\"\n", place.text()));

    let removed = place.run(&["api", "remove", TOKEN, "--json"]).await.json();

    assert_eq!(removed, [json!({ "token": TOKEN, "removed": 2 })]);
    assert_eq!(place.text(), format!("{before}\n[log]   # for me\nlevel = \"info\"\n"));
    assert_eq!(place.run(&["api", "remove", TOKEN]).await.code, Some(4));
    let none = place.run(&["api", "list"]).await;
    assert!(none.stderr.contains("no API token passes"), "{none:?}");
    assert!(place.gate.audit().iter().any(|event| event["event"]["action"] == "api-rule-remove"));
}

#[tokio::test]
async fn every_decision_is_explained_by_the_rule_that_makes_it() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    let added = place.add(SECRET, &["--path", "/api2/json/version", "--path", "/api2/json/pools/**"]).await;
    assert_eq!(added.code, Some(0));
    place.write(&format!("{}\n[access]\ndeny = [\"10.66.0.0/16\"]\n", place.text()));
    place.gate.person("alice").await;
    let bob = place.gate.person("bob").await;
    drop(bob);
    assert_eq!(place.run(&["user", "disable", "bob", "--reason", "gone"]).await.code, Some(0));

    assert_eq!(place.run(&["ban", "add", "10.7.7.7"]).await.code, Some(0));
    // Verbs go by the machine's own time: the test gate's is long ago, and so is the end of this one.
    let over: IpNet = "10.8.8.8/32".parse().unwrap();
    let banned = place.gate.store().ban(over, "failed_sign_ins", START, &|_| Duration::from_secs(600));
    assert!(matches!(banned.unwrap(), AutomaticBan::Now(_)));

    #[rustfmt::skip]
    let table: &[(&[&str], &str, &str, &str)] = &[
        (&["10.7.7.7"],                                                 "refused",   "ban of 10.7.7.7/32",          "banned"),
        (&["::ffff:10.7.7.7", "--user", "alice"],                       "refused",   "ban of 10.7.7.7/32",          "banned"),
        (&["10.7.7.8", "--user", "alice"],                              "forwarded", "sessions",                    "living session"),
        (&["10.8.8.8", "--user", "alice"],                              "forwarded", "sessions",                    "living session"),
        (&["203.0.113.9"],                                              "refused",   "access.allow",                "no allowed network"),
        (&["10.66.1.1"],                                                "refused",   "access.deny[0] = 10.66.0.0/16", "denied network"),
        (&["::ffff:10.66.1.1"],                                         "refused",   "access.deny[0] = 10.66.0.0/16", "denied network"),
        (&["10.1.1.1"],                                                 "sign-in",   "sessions",                    "only a session"),
        (&["10.1.1.1", "--path", "/_gate/sign-in"],                     "answered",  "the gate's own pages",        "SignIn"),
        (&["10.1.1.1", "--path", "/_GATE/sign-in"],                     "refused",   "paths of the gate's own",     "lookalike_path"),
        (&["10.1.1.1", "--user", "alice"],                              "forwarded", "sessions",                    "living session"),
        (&["10.1.1.1", "--user", "alice", "--method", "POST", "--path", "/api2/json/nodes"], "forwarded", "sessions", "living session"),
        (&["10.1.1.1", "--user", "bob"],                                "sign-in",   "sessions",                    "only a session"),
        (&["127.0.0.1", "--token", TOKEN, "--path", "/api2/json/version"], "forwarded", "api.rule[0]",              "permits it"),
        (&["10.1.1.1", "--token", TOKEN, "--path", "/api2/json/version"],  "refused",   "api.rule[0]",              "token_address"),
        (&["127.0.0.1", "--token", TOKEN, "--path", "/api2/json/pools/../x"], "refused", "api.rule[0]",             "token_odd_path"),
        (&["127.0.0.1", "--token", TOKEN, "--method", "PUT", "--path", "/api2/json/version"], "refused", "api.rule[0]", "token_method"),
        (&["127.0.0.1", "--token", TOKEN, "--path", "/api2/json/pools/vncwebsocket", "--websocket"], "refused", "api.rule[0]", "token_tunnel"),
        (&["127.0.0.1", "--token", "x@pve!nobody"],                     "refused",   "api.rule",                    "token_unknown"),
    ];
    for (args, verdict, by, why) in table {
        let answer = place.explain(args).await;
        assert_eq!(answer["verdict"], *verdict, "{args:?}: {answer}");
        assert_eq!(answer["decided_by"], *by, "{args:?}: {answer}");
        assert!(answer["why"].as_str().unwrap().contains(why), "{args:?}: {answer}");
    }
    let text = place.run(&["access", "explain", "10.1.1.1", "--user", "bob"]).await.ok();
    assert!(text.contains("access.allow[2] = 10.0.0.0/8") && text.contains("disabled since"), "{text}");
    assert_eq!(place.run(&["access", "explain", "10.1.1.1", "--user", "nobody"]).await.code, Some(4));
}

#[tokio::test]
async fn an_explanation_says_what_the_gate_then_does() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    let mut alice = place.gate.person("alice").await;

    for path in [
        "/",
        "/api2/json/version",
        "/_gate/",
        "/_gate/nothing",
        "/_gate/sign-in",
        "/_GATE/x",
        "/api2/json/nodes",
    ] {
        for (user, client) in [(None, &mut place.gate.client()), (Some("alice"), &mut alice.client)] {
            let mut args = vec!["127.0.0.1", "--path", path];
            args.extend(user.iter().flat_map(|user| ["--user", user]));
            let told = place.explain(&args).await;
            let seen = pve.requests_seen();
            let status = client.get(path).await.status.as_u16();
            let happened = match status {
                _ if pve.requests_seen() > seen => "forwarded",
                401 => "sign-in",
                400 | 404 | 405 => "refused",
                _ => "answered",
            };
            assert_eq!(told["verdict"], happened, "{path} {user:?}: {status} {told}");
        }
    }
}

#[tokio::test]
async fn a_locked_account_is_told_of() {
    let pve = Pve::start().await;
    let place = Place::new(&pve).await;
    let alice = place.gate.person("alice").await;
    let mut stranger = place.gate.client();
    for _ in 0..8 {
        let fields = [("user", alice.name.as_str()), ("code", "000000")];
        assert_eq!(stranger.post_form("/_gate/sign-in", &fields).await.status, 403);
    }

    let here = place.explain(&["127.0.0.1", "--user", "alice"]).await;
    let elsewhere = place.explain(&["10.1.1.1", "--user", "alice"]).await;

    let told =
        |answer: &Value| answer["steps"].as_array().unwrap().iter().any(|step| step["asked"] == "codes");
    assert!(told(&here), "{here}");
    assert!(!told(&elsewhere), "{elsewhere}");
}
