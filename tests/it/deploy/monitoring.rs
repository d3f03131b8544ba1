//! The files under `deploy/monitoring`: Prometheus's own tool takes them, and they name only what there is.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use regex_automata::meta::Regex;
use serde_json::Value;

use crate::harness::{Pve, TestGate, packages, watcher};

const RULES: &str = include_str!("../../../deploy/monitoring/pvegate.rules.yml");
const DASHBOARD: &str = include_str!("../../../deploy/monitoring/pvegate.dashboard.json");

/// Runs Prometheus's tool in the directory of the files, with this on its stdin.
fn promtool(args: &[&str], stdin: &str) {
    use std::io::Write as _;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring");
    let mut child = Command::new(packages().join("prometheus/usr/bin/promtool"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; `bash tests/run` brings it"));
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ended.status.success(), "promtool {args:?}: {said}");
}

#[test]
fn prometheus_takes_the_alert_rules_and_each_fires_when_it_should_and_not_before() {
    promtool(&["check", "rules", "pvegate.rules.yml"], "");
    promtool(&["test", "rules", "pvegate.rules.test.yml"], "");

    let tests = include_str!("../../../deploy/monitoring/pvegate.rules.test.yml");
    for alert in RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("name: {alert} fires\n")), "{alert} is not tested");
    }
}

/// A gate that has been used: everything that a dashboard could show is there.
async fn used() -> (Pve, TestGate, watcher::Told) {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("access.allow", "127.0.0.1/32").start().await;
    let mut alice = gate.person("alice").await;
    alice.client.get("/").await;
    assert!(gate.client().from("127.0.0.7").try_tls_stream().await.is_err());
    let told = gate.metrics().await;
    (pve, gate, told)
}

#[tokio::test]
async fn prometheus_finds_no_fault_with_what_the_gate_writes() {
    let (_pve, _gate, told) = used().await;

    promtool(&["check", "metrics"], &told.body);
}

#[tokio::test]
async fn every_metric_that_rules_and_dashboard_name_is_there_once_a_gate_was_used() {
    let (_pve, _gate, told) = used().await;
    let names = told.names();
    let metric = Regex::new(r"(?:pvegate|process)_[a-z_]+").unwrap();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = expressions(&dashboard);
    expressions
        .extend(RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));
    assert!(expressions.len() > 30, "{expressions:?}");

    let mut named = BTreeSet::new();
    for expression in &expressions {
        for found in metric.find_iter(expression) {
            let name = &expression[found.range()];
            assert!(names.contains(name), "{name} of `{expression}` is not written");
            named.insert(name);
        }
    }
    // And nothing is written that nobody is shown.
    let parts = ["_sum", "_count"];
    let shown = |name: &&&str| named.contains(*name) || parts.iter().any(|part| name.ends_with(part));
    let elsewhere =
        ["pvegate_audit_events_total", "pvegate_config_last_reload_timestamp_seconds", "process_threads"];
    let unseen: Vec<_> = names.iter().filter(|name| !shown(name) && !elsewhere.contains(name)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn the_dashboard_keeps_its_address_and_asks_which_prometheus() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();

    assert_eq!((dashboard["uid"].as_str(), dashboard["schemaVersion"].as_u64()), (Some("pvegate"), Some(39)));
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let places: BTreeSet<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(places.len(), dashboard["panels"].as_array().unwrap().len(), "each has a number of its own");
}

/// Every `expr` and variable in the dashboard.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("expr" | "definition", Value::String(text)) => vec![text.clone()],
                _ => expressions(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}
