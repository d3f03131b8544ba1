//! Pages that are written from the code: `UPDATE=1 cargo test --test it documents::` writes them anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};
use pvegate::{
    admin::{Cli, Exit, FIELDS},
    config::{self, Code, KEYS, TABLES},
};

#[track_caller]
fn assert_current(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{page} is not current: UPDATE=1 cargo test --test it documents::");
}

#[test]
fn the_page_of_the_configuration_is_what_the_code_reads() {
    let mut page = "\
# Configuration

Usually `/etc/pvegate/pvegate.toml`, in [TOML](https://toml.io). A file needs only what differs from the
defaults; the least is `server.public_url`, `upstream.url` and `upstream.fingerprint` (or `upstream.ca`). The
environment wins over the file: two underscores stand for the dot, lists are JSON or have commas. Durations
are one number and one unit: `250ms`, `90s`, `15m`, `12h`, `400d`. Unknown names are errors, and everything
that is wrong is told in one run.

This page is written from the table of keys in `src/config/keys.rs`.
"
    .to_owned();
    for table in std::iter::once(None).chain(TABLES.iter().map(Some)) {
        let title = table.map(|table| format!("\n## {}\n", table.header())).unwrap_or_default();
        let about = table.map_or("Above all tables.", |table| table.about);
        let _ = write!(page, "{title}\n{about}\n");
        if table.is_some_and(|table| table.repeated) {
            page.push_str("\nIt can stand several times, or not at all.\n");
        }
        for key in KEYS.iter().filter(|key| key.table() == table) {
            let _ = write!(page, "\n### `{}`\n\n{}\n\n{}\n", key.name, text(key.doc), key.facts());
        }
    }
    assert_current("docs/configuration.md", &page);
}

#[test]
fn every_code_of_the_configuration_is_on_the_page_of_errors() {
    let mut page = "\
# Errors in the configuration

`pvegate config validate`, `serve` and every other verb tell everything that is wrong in one run, each with its place
and one of these codes. With an error (`E`) the gate does not start and exits with 78; with warnings (`W`) alone it runs.
A code keeps its meaning in later versions. `pvegate config explain E0206` prints what stands here.

This page is written from `src/config/problem.rs`. What the program ends with otherwise stands in
[command-line.md](command-line.md), what the gate answers to requests in [how-it-works.md](how-it-works.md).

| code | means |
| --- | --- |
"
    .to_owned();
    for code in Code::ALL {
        let _ = writeln!(page, "| {} | {} |", code.id(), code.explanation().replace('|', "\\|"));
    }
    assert_current("docs/errors.md", &page);
}

#[test]
fn editors_know_every_key() {
    let schema = serde_json::to_string_pretty(&config::schema()).unwrap() + "\n";

    assert_current("docs/pvegate.schema.json", &schema);
}

/// A line that begins with a value and a colon stays a line of its own.
fn text(doc: &str) -> String {
    let mut text = String::new();
    for line in doc.lines() {
        let begins = line.split_whitespace().next().is_some_and(|word| word.ends_with(':'));
        if !text.is_empty() {
            text.push_str(if begins { "\\\n" } else { "\n" });
        }
        text.push_str(line);
    }
    text
}

#[test]
fn the_page_of_the_command_line_is_what_the_program_says() {
    let mut page = "\
# Command line

Data goes to stdout, talk to stderr. With `--json` data is one JSON object, and for lists one a line; what
failed is an object with `error` and `exit`. Names of fields stay; times are RFC 3339 in UTC, and what is not
there is null. Every verb works on the store, and a running gate follows it. What can't be undone is asked for
at a terminal, and refused elsewhere unless `--yes` is said. Identifiers may be cut to a beginning that only
one has. `NO_COLOR` is heeded. Secrets are never arguments.

Packages may ship `pvegate completions bash` (or zsh, fish) and the pages that `pvegate man DIR` writes.

This page is written from the program's own help.

| exit code | means |
| --- | --- |
"
    .to_owned();
    for (exit, means) in Exit::ALL {
        let _ = writeln!(page, "| {} | {means} |", exit.number());
    }
    let mut whole = Cli::command();
    whole.build();
    describe(&whole, "pvegate", &mut page);
    assert_current("docs/command-line.md", &page);
}

/// Names of tests in a directory, each with a word before it: the file's for those in `tests/it` itself,
/// otherwise the directory's in `tests/it` or `tests`.
fn tests_in(directory: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            tests_in(&format!("{directory}/{name}"), found);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let below = directory.strip_prefix("tests/it").or_else(|| directory.strip_prefix("tests/")).unwrap();
        let word = below.split('/').find(|part| !part.is_empty()).unwrap_or(&name);
        let text = fs::read_to_string(&path).unwrap();
        let mut is_test = false;
        for line in text.lines() {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, after)) = line.split_once("fn ").filter(|_| is_test) {
                found.insert(format!("{word}::{}", after.split('(').next().unwrap()));
                is_test = false;
            }
        }
    }
}

#[test]
fn the_page_about_proxying_names_every_test_of_it_and_only_such_as_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxying-proxmox-ve.md");
    let page = fs::read_to_string(path).unwrap();
    let (mut faithful, mut others) = (BTreeSet::new(), BTreeSet::new());
    tests_in("tests/it/faithful", &mut faithful);
    let faithful: BTreeSet<_> = faithful.iter().map(|name| name.split_once("::").unwrap().1).collect();
    tests_in("tests/it", &mut others);
    tests_in("tests/browser", &mut others);
    tests_in("tests/clients", &mut others);

    let rows = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter(|line| !line.starts_with("| what |") && !line.starts_with("| --- |"));
    let mut named = BTreeSet::new();
    for row in rows {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows this: {row}");
        for name in names {
            assert!(faithful.contains(name) || others.contains(name), "no such test: {name}");
            named.insert(name);
        }
    }

    let unnamed: Vec<_> = faithful.difference(&named).collect();
    assert!(unnamed.is_empty(), "tests of tests/it/faithful that the page does not name: {unnamed:?}");
}

#[test]
fn every_promise_of_the_threat_model_and_of_an_upgrade_names_tests_that_exist() {
    let mut there = BTreeSet::new();
    tests_in("tests/it", &mut there);
    tests_in("tests/browser", &mut there);

    for (page, title, least) in
        [("docs/threat-model.md", "What is promised", 20), ("docs/upgrade.md", "What shows it", 4)]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let promises = text.split_once(&format!("\n## {title}\n")).unwrap().1;
        let promises = promises.split("\n## ").next().unwrap();
        let rows: Vec<_> = promises.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert!(rows.len() >= least, "{page}: {} promises were read", rows.len());
        for row in rows {
            let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
            let names: Vec<_> = shown_by.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{page}: nothing shows this: {row}");
            for name in names {
                assert!(there.contains(name), "{page}: no such test: {name}");
            }
        }
    }
}

fn describe(command: &Command, name: &str, page: &mut String) {
    let help = command.clone().render_long_help().to_string();
    // Lines that end in blanks are noise in a page under version control.
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim());
    if let Some((_, fields)) = FIELDS.iter().find(|(verb, _)| *verb == name) {
        page.push_str("\nWith `--json`, an object with these fields:\n\n| field | says |\n| --- | --- |\n");
        for field in *fields {
            let _ = writeln!(page, "| `{}` | {} |", field.name, field.means);
        }
    }
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        describe(verb, &format!("{name} {}", verb.get_name()), page);
    }
}
