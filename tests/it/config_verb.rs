//! `pvegate config`: what is wrong, what holds and why, in the words of the documentation.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::fs;

use pvegate::config::{self, Code, KEYS, Key, Kind, TABLES};
use serde_json::{Value, json};

use crate::harness::{Scratch, pvegate};

const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A file with these lines at its end, and its name.
fn file(more: &str) -> (Scratch, String) {
    let scratch = Scratch::new();
    let path = scratch.path().join("pvegate.toml");
    let text = format!(
        "[server]\npublic_url = \"https://pve.example.com\"\n\n[upstream]\nurl = \"https://10.0.0.2:8006\"\n\
         ca = \"/etc/pve/pve-root-ca.pem\"\n\n{more}"
    );
    fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (scratch, name)
}

#[tokio::test]
async fn every_problem_is_told_in_one_run_for_people_and_for_programs() {
    let (_scratch, name) = file("[session]\nidle = \"12 h\"\nlifetme = \"1h\"\n");

    let told = pvegate(&["--config", &name, "config", "validate"]).await;
    let object = pvegate(&["--json", "config", "validate", &name]).await;

    assert_eq!((told.code, object.code), (Some(78), Some(78)));
    for part in ["E0201", "did you mean `lifetime`?", ":9:8", "configuration has 2 errors"] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    let object: Value = serde_json::from_str(object.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(object["valid"], json!(false));
    let codes: Vec<_> = object["problems"].as_array().unwrap().iter().map(|it| it["code"].clone()).collect();
    assert_eq!(codes, ["E0201", "E0106"]);
}

#[tokio::test]
async fn warnings_fail_only_where_that_is_asked_for() {
    let (_scratch, name) = file("[session]\nconsole_idle = \"13h\"\n");

    let lenient = pvegate(&["--config", &name, "config", "validate"]).await;
    let strict = pvegate(&["--config", &name, "config", "validate", "--strict"]).await;

    assert_eq!((lenient.code, strict.code), (Some(0), Some(78)));
    assert!(lenient.stdout.contains("is right, with a warning"), "{}", lenient.stdout);
    assert!(
        lenient.stderr.contains("session.console_idle") && strict.stderr.contains("session.console_idle")
    );
}

#[tokio::test]
async fn what_holds_is_printed_with_its_line_and_is_a_file_that_says_the_same() {
    let (scratch, name) = file("[session]\nidle = \"30m\"\n");

    let set = pvegate(&["--config", &name, "config", "print", "--origin"]).await.ok();
    let all = pvegate(&["--config", &name, "config", "print", "--effective"]).await.ok();

    assert!(set.contains(&format!("idle = \"30m\"                             # {name}:9")), "{set}");
    assert!(!set.contains("lifetime") && all.contains("lifetime = \"12h\""), "{all}");
    let copy = scratch.path().join("copy.toml");
    fs::write(&copy, &all).unwrap();
    let before = config::load(name.as_ref(), []).unwrap();
    assert_eq!(config::load(&copy, []).unwrap(), before);
}

#[test]
fn a_variable_is_named_where_it_wins_over_the_file() {
    let (_scratch, name) = file("[session]\nidle = \"30m\"\n");
    let variables = [("PVEGATE_SESSION__IDLE".to_owned(), "20m".to_owned())];

    let settings = config::settings(name.as_ref(), variables).unwrap();

    let idle = settings.iter().find(|it| it.key.name == "session.idle").unwrap();
    assert_eq!((&*idle.value, idle.origin.to_string()), ("\"20m\"", "PVEGATE_SESSION__IDLE".to_owned()));
}

#[tokio::test]
async fn rules_are_printed_one_by_one_and_without_their_hashes() {
    let rule = |token: &str| {
        format!(
            "[[api.rule]]\ntoken = \"{token}\"\nsecret_hash = \"{HASH}\"\nfrom = [\"10.0.0.40/32\"]\n\
             methods = [\"GET\"]\npaths = [\"/api2/json/version\"]\n\n"
        )
    };
    let (_scratch, name) = file(&(rule("a@pve!one") + &rule("b@pve!two")));

    let text = pvegate(&["--config", &name, "config", "print"]).await.ok();
    let object = pvegate(&["--config", &name, "--json", "config", "print"]).await.json();

    assert_eq!(text.matches("[[api.rule]]").count(), 2);
    assert!(!text.contains(HASH) && !object[0].to_string().contains(HASH));
    let settings = object[0]["settings"].as_array().unwrap();
    let tokens: Vec<_> = settings.iter().filter(|it| it["key"] == "api.rule.token").collect();
    assert_eq!((&tokens[0]["entry"], &tokens[1]["entry"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_key_a_table_and_a_code_are_explained_and_a_slip_is_understood() {
    let explain = async |what: &str| pvegate(&["config", "explain", what]).await;

    let key = KEYS.iter().find(|key| key.name == "session.idle").unwrap();
    let told = explain("session.idle").await.ok();
    assert!(told.contains(key.doc) && told.contains("PVEGATE_SESSION__IDLE"), "{told}");
    assert!(explain("session").await.ok().contains("session.console_idle"));
    assert!(explain("e0107").await.ok().contains(Code::WrongType.explanation()));
    let slip = explain("sesion.idle").await;
    assert_eq!(slip.code, Some(4));
    assert!(slip.stderr.contains("did you mean `session.idle`?"), "{}", slip.stderr);
}

#[tokio::test]
async fn the_file_that_is_printed_is_the_shipped_one() {
    assert_eq!(pvegate(&["config", "print-default"]).await.ok(), config::default_file());
}

/// Where the schema has a table or a key.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').filter(|part| !part.is_empty()).fold(schema, |here, part| {
        let here = here.get("items").unwrap_or(here);
        &here["properties"][part]
    })
}

#[test]
fn the_schema_has_every_table_and_key_and_nothing_else() {
    let schema = config::schema();

    for table in TABLES {
        let there = at(&schema, table.name);
        let kind = if table.repeated { "array" } else { "object" };
        assert_eq!(there["type"], json!(kind), "{}", table.name);
    }
    for key in KEYS {
        let there = at(&schema, key.name);
        assert_eq!(there["description"], json!(key.doc), "{}", key.name);
        let is_list = matches!(key.kind, Kind::List);
        assert_eq!(there["type"] == json!("array"), is_list, "{}", key.name);
    }
    let mut found = 0;
    count(&schema, &mut found);
    assert_eq!(found, KEYS.len());
    assert!(
        KEYS.iter().all(|key: &Key| key.default.is_none() || !at(&schema, key.name)["default"].is_null())
    );
}

/// Keys in a schema: what is no table.
fn count(schema: &Value, found: &mut usize) {
    let schema = schema.get("items").unwrap_or(schema);
    for (_, inner) in schema["properties"].as_object().unwrap() {
        let is_table = inner.get("properties").is_some() || inner.pointer("/items/properties").is_some();
        if is_table { count(inner, found) } else { *found += 1 }
    }
}
