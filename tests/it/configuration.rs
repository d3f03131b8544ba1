//! A configuration is understood as it was meant, or everything that is wrong with it is told at once.
//!
//! `configuration/` holds broken files (`*.toml`) and what is said about each (`*.txt`), whole: the messages
//! are what people meet, so a change of one must be seen.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::{fs, path::Path};

use pvegate::config::{self, Code, KEYS, Problem, Problems};

const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/configuration");
const SHIPPED: &str = include_str!("../../config/pvegate.toml");

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The shipped file with its examples switched on. A cluster stands instead of a single upstream.
fn with_examples() -> String {
    let everything = with_all_examples();
    let (before, upstream) = everything.split_once("\n[upstream]\n").unwrap();
    let (upstream, after) = upstream.split_once("\n[[upstream.node]]\n").unwrap();
    let is_of_one = |line: &&str| line.starts_with("url = ") || line.starts_with("fingerprint = ");
    let upstream: Vec<_> = upstream.lines().filter(|line| !is_of_one(line)).collect();
    format!("{before}\n[upstream]\n{}\n[[upstream.node]]\n{after}", upstream.join("\n"))
}

/// The shipped file with every line that could be one.
fn with_all_examples() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => format!("{example}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    SHIPPED.lines().map(line).collect()
}

#[test]
fn the_examples_of_the_shipped_file_are_right() {
    let (config, warnings) = config::parse(&with_examples(), "pvegate.toml", []).unwrap();

    assert_eq!(warnings, []);
    assert_eq!(config.gate.api_rules.len(), 1);
    assert_eq!(config.upstream.first.address(), "10.0.0.3:8006");
}

#[test]
fn the_shipped_file_says_what_the_code_does() {
    assert!(SHIPPED == config::default_file(), "config/pvegate.toml should be:\n{}", config::default_file());
}

#[test]
fn every_example_for_a_kind_of_host_is_right() {
    let read = |name: &str, text: &str| match config::parse(text, name, []) {
        Ok((config, warnings)) => {
            assert_eq!(warnings, [], "{name}");
            assert!(
                text.starts_with("# ") && text.lines().count() <= 50,
                "{name} is short, and says what it is for"
            );
            config
        }
        Err(problems) => panic!("{name}: {problems}"),
    };

    let homelab = read("vpn-homelab.toml", include_str!("../../config/vpn-homelab.toml"));
    let edge = read("edge-host.toml", include_str!("../../config/edge-host.toml"));
    let container = read("container.toml", include_str!("../../config/container.toml"));

    assert_eq!(homelab.accept.listen.len(), 1);
    assert_eq!(edge.upstream.endpoints().count(), 2);
    assert!(container.store.path.starts_with("/data") && container.master_key_file.starts_with("/data"));
}

#[test]
fn every_key_of_the_shipped_file_has_its_default() {
    let (everything, warnings) = config::parse(SHIPPED, "config/pvegate.toml", []).unwrap();
    let least: String = ["server.public_url", "upstream.url", "upstream.fingerprint"]
        .iter()
        .map(|name| {
            let key = KEYS.iter().find(|key| key.name == *name).unwrap();
            format!("{name} = {}\n", key.example.unwrap())
        })
        .collect();
    let (least, _) = config::parse(&least, "least.toml", []).unwrap();

    assert_eq!(warnings, []);
    assert_eq!(everything, least);
}

#[test]
fn the_shipped_file_has_every_key_once() {
    let everything = with_all_examples();
    let lines: Vec<_> =
        everything.lines().filter(|line| line.contains('=') && !line.starts_with('#')).collect();

    assert_eq!(lines.len(), KEYS.len());
    for key in KEYS {
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let mut current = "";
        let found = everything.lines().any(|line| {
            if line.starts_with('[') {
                current = line.trim_matches(['[', ']']);
            }
            current == table && line.split_once(" = ").is_some_and(|(it, _)| it == name)
        });
        assert!(found, "{}", key.name);
    }
}

/// What was told goes to a file of the same name under the target's directory, to compare and to take over.
#[track_caller]
fn assert_told(name: &str, told: &Problems) {
    let told = format!("{told}\n");
    let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&actual, &told).unwrap();
    let expected = Path::new(BROKEN).join(name);

    let same = fs::read_to_string(&expected).is_ok_and(|expected| expected == told);

    assert!(same, "not as in {}, see {}:\n{told}", expected.display(), actual.display());
}

fn told_of(name: &str) -> Problems {
    let text = fs::read_to_string(Path::new(BROKEN).join(name)).unwrap();
    config::parse(&text, "pvegate.toml", []).unwrap_err()
}

#[test]
fn misspelt_names_are_told_with_what_was_meant() {
    assert_told("names.txt", &told_of("names.toml"));
}

#[test]
fn every_wrong_value_is_told_in_one_run() {
    assert_told("values.txt", &told_of("values.toml"));
}

#[test]
fn keys_that_contradict_each_other_are_told_with_both_places() {
    assert_told("together.txt", &told_of("together.toml"));
}

#[test]
fn what_policies_get_wrong_is_told_by_name() {
    assert_told("policies.txt", &told_of("policies.toml"));
}

#[test]
fn a_single_upstream_beside_the_nodes_of_a_cluster_is_told_with_both_places() {
    assert_told("nodes.txt", &told_of("nodes.toml"));
}

#[test]
fn what_is_wrong_with_a_node_is_told_with_its_number() {
    assert_told("nodes-alone.txt", &told_of("nodes-alone.toml"));
}

#[test]
fn the_nodes_of_a_cluster_need_no_upstream_url() {
    let node = |host: &str| {
        format!("[[upstream.node]]\nurl = \"https://{host}\"\nca = \"/etc/pve/pve-root-ca.pem\"\n")
    };
    let text = format!("server.public_url = \"https://p\"\n{}{}", node("pve1"), node("[fd00::2]:8007"));

    let (config, warnings) = config::parse(&text, "f", []).unwrap();

    assert_eq!(warnings, []);
    let addresses: Vec<_> = config.upstream.endpoints().map(|it| it.address()).collect();
    assert_eq!(addresses, ["pve1:8006", "[fd00::2]:8007"]);
}

#[test]
fn what_is_missing_is_told_with_the_line_to_add() {
    assert_told("missing.txt", &told_of("missing.toml"));
}

#[test]
fn syntax_errors_are_told_together_with_what_can_be_judged_besides() {
    assert_told("syntax.txt", &told_of("syntax.toml"));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[session]\nidle = \"20m\"\nlifetime = \"2h\"\n[server]\npublic_url = \"https://pve.lan\"\n\
        [upstream]\nurl = \"https://10.0.0.2\"\nca = \"/etc/pve/pve-root-ca.pem\"\n";
    let env = variables(&[("PVEGATE_SESSION__IDLE", "30m"), ("PVEGATE_PORT", "tcp://10.1.2.3:443")]);

    let (config, warnings) = config::parse(file, "f", env).unwrap();

    assert_eq!(config.gate.session.idle.as_secs(), 30 * 60);
    assert_eq!(config.gate.session.lifetime.as_secs(), 2 * 60 * 60);
    assert_eq!(config.upstream.connect_timeout.as_secs(), 3);
    // The default of session.console_idle is longer than this lifetime, and nobody wrote it.
    assert_eq!(warnings, []);
}

#[test]
fn what_is_wrong_in_the_environment_cites_the_variable() {
    let env = variables(&[
        ("PVEGATE_ACCESS__ALLOW", "10.0.0.0/8, 10.0.0.1"),
        ("PVEGATE_SERVER__MAX_CONNECTIONS", "many"),
        ("PVEGATE_SERVER__PUBLIC_URL", "https://pve.example.com"),
        ("PVEGATE_SESSION__IDEL", "secret"),
        ("PVEGATE_SESSION__LIFETIME", "30m"),
        ("PVEGATE_UPSTREAM__CA", "/etc/pve/pve-root-ca.pem"),
        ("PVEGATE_UPSTREAM__URL", "https://10.0.0.2:8006"),
    ]);

    let told = config::parse("", "pvegate.toml", env).unwrap_err();

    assert_told("environment.txt", &told);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("configuration");
    fs::create_dir_all(&directory).unwrap();
    let latin = directory.join("latin1.toml");
    fs::write(&latin, b"# f\xfcr alle\n").unwrap();
    let long = directory.join("long.toml");
    fs::write(&long, " ".repeat(1024 * 1024 + 1)).unwrap();

    for (path, code, words) in [
        (directory.join("missing.toml"), Code::FileMissing, "pvegate demo"),
        (directory.clone(), Code::FileUnreadable, "directory"),
        (latin, Code::NotUtf8, "0xfc"),
        (long, Code::FileUnreadable, "1 MiB"),
    ] {
        let told = config::load(&path, []).unwrap_err();

        assert_eq!(told.all().iter().map(Problem::code).collect::<Vec<_>>(), [code]);
        assert!(told.to_string().contains(words), "{told}");
        assert!(told.to_string().contains(&path.display().to_string()), "{told}");
    }
}

#[test]
fn in_a_container_the_environment_can_say_everything() {
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-file.toml");
    let env = variables(&[
        ("PVEGATE_CONTAINER", "1"),
        ("PVEGATE_ACCESS__ALLOW", "[\"192.168.1.0/24\"]"),
        ("PVEGATE_SERVER__PUBLIC_URL", "https://pve.lan"),
        ("PVEGATE_UPSTREAM__CA", "/ca.pem"),
        ("PVEGATE_UPSTREAM__URL", "https://10.0.0.2"),
    ]);

    assert!(config::load(&missing, env.clone()).is_ok());
    assert!(config::load(&missing, env.into_iter().skip(1)).is_err());
}

#[test]
fn what_is_wrong_in_a_repeated_table_names_the_entry() {
    assert_told("repeated.txt", &told_of("repeated.toml"));
}

#[test]
fn a_repeated_table_can_be_written_as_a_list_and_is_no_plain_table() {
    let least = "server.public_url = \"https://p\"\nupstream.url = \"https://h\"\nupstream.ca = \"/a\"\n";
    let rule = format!("token = \"a@pve!id\", secret_hash = \"{}\", from = [\"10.0.0.0/8\"]", "0".repeat(64));
    let read = |rest: &str| config::parse(&format!("{least}{rest}"), "f", []);

    let (two, _) =
        read(&format!("api.rule = [{{ {rule}, paths = [\"/x\"] }}, {{ {rule}, paths = [\"/y\"] }}]"))
            .unwrap();
    let (none, _) = read("api.rule = []").unwrap();

    assert_eq!(
        two.gate.api_rules.iter().map(|rule| rule.paths[0].to_string()).collect::<Vec<_>>(),
        ["/x", "/y"]
    );
    assert_eq!(none.gate.api_rules, []);
    for (wrong, told) in [
        ("[api.rule]\ntoken = \"x\"", "written once for each"),
        ("api.rule = 3", "this is a whole number"),
        ("api.rule = [{}, 3]", "api.rule[1]"),
        ("api = 3", "`api` is a table"),
    ] {
        let problems = read(wrong).unwrap_err();
        assert!(problems.to_string().contains(told), "{problems}");
    }
}
