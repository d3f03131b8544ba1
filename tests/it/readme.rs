//! What the README and its neighbours tell people to type works.
//!
//! Blocks tagged `sh test` are taken line by line: `pvegate …` is run with the README's own configuration,
//! what would serve, ask a network or build is parsed by the program's own command line.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::CommandFactory as _;
use pvegate::{admin::Cli, secret::MasterKey};

use crate::harness::{Scratch, pvegate_told};

/// Documents with commands, and those without.
const DOCUMENTS: [&str; 18] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/quick-start-node.md",
    "docs/quick-start-edge.md",
    "docs/quick-start-vpn.md",
    "docs/how-it-works.md",
    "docs/threat-model.md",
    "docs/recovery.md",
    "docs/proxmox-ve-2fa.md",
    "docs/upgrade.md",
    "docs/comparison.md",
    "docs/errors.md",
    "docs/proxying-proxmox-ve.md",
    "docs/monitoring.md",
    "docs/configuration.md",
    "docs/command-line.md",
];

/// Verbs that texts name already and that are not there yet.
const OWED: [&str; 0] = [];

/// What is typed where one is asked for.
const PASSPHRASE: &str = "correct horse battery staple\n";

/// Longest README: beyond this nobody reads to the end.
const LINES: usize = 200;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The blocks of a document: what stands behind the backticks, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(tag) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((tag.to_owned(), inside.join("\n")));
        }
    }
    blocks
}

/// What a shell makes of a line: words, with quotes around some.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, quoted) in line.split('"').zip([false, true].into_iter().cycle()) {
        if quoted {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The command line takes it.
fn assert_parses(line: &str, arguments: &[String]) {
    let whole = std::iter::once("pvegate".to_owned()).chain(arguments.iter().cloned());
    if let Err(error) = Cli::command().try_get_matches_from(whole) {
        panic!("`{line}`: {error}");
    }
}

/// A host on which nobody was added yet.
struct Host {
    scratch: Scratch,
    config: PathBuf,
}

impl Host {
    fn new(minimal: &str) -> Self {
        let scratch = Scratch::new();
        let config = scratch.path().join("pvegate.toml");
        let dir = scratch.path().display();
        let here = format!(
            "{minimal}\n[storage]\npath = \"{dir}/pvegate.db\"\nmaster_key_file = \"{dir}/master.key\"\n\
             [audit]\nfile = \"{dir}/audit.jsonl\"\n"
        );
        fs::write(&config, here).unwrap();
        // The gate makes it at its first start.
        MasterKey::read_or_create(&scratch.path().join("master.key")).unwrap();
        Self { scratch, config }
    }
}

#[tokio::test]
async fn every_command_that_people_are_told_to_type_works() {
    let readme = read("README.md");
    let minimal = blocks(&readme).into_iter().find(|(tag, _)| tag == "toml test").unwrap().1;
    // Whoever reads a quick start begins anew; the others go on where the README ends.
    let whole = Host::new(&minimal);

    let mut run = 0;
    for document in DOCUMENTS {
        let fresh = document.starts_with("docs/quick-start-").then(|| Host::new(&minimal));
        let Host { scratch, config } = fresh.as_ref().unwrap_or(&whole);
        let dir = scratch.path().display();
        for (tag, block) in blocks(&read(document)) {
            assert!(
                !tag.starts_with("sh") || tag == "sh test",
                "{document}: a block of commands is not tested:\n{block}"
            );
            assert!(
                tag != "toml" || !document.starts_with("docs/quick-start-"),
                "{document}: a configuration is not tested:\n{block}"
            );
            if tag == "toml test" {
                let here = scratch.path().join("block.toml");
                fs::write(&here, &block).unwrap();
                let here = here.display().to_string();
                let ended = pvegate_told("", &["--config", &here, "config", "validate", "--strict"]).await;
                assert_eq!(ended.code, Some(0), "{document}: {ended:?}\n{block}");
            }
            if tag != "sh test" {
                continue;
            }
            for line in block.lines() {
                let all = words(line);
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                match all.as_slice() {
                    ["cargo", "build", "--release"] => {}
                    ["cargo", "run", "--release", "--", rest @ ..] | ["cargo", "run", "--", rest @ ..] => {
                        assert_parses(line, &rest.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
                    }
                    ["UPDATE=1", "cargo", "test", "--test", "it", "documents::"] => {
                        assert!(root().join("tests/it/documents.rs").exists());
                    }
                    ["bash", script, ..] => {
                        let script = root().join(script);
                        assert!(
                            Command::new("bash").arg("-n").arg(&script).status().unwrap().success(),
                            "{line}"
                        );
                    }
                    ["rm", "-r", directory] => assert_is_the_demos(directory).await,
                    ["pvegate", rest @ ..] => {
                        let rest: Vec<String> = rest.iter().map(|&word| word.to_owned()).collect();
                        assert_parses(line, &rest);
                        // Some go on running, and some ask a machine that only the example has.
                        let unasked = ["serve", "demo", "check", "fingerprint"];
                        if !rest.first().is_some_and(|verb| unasked.contains(&verb.as_str())) {
                            let here = |word: String| match word.strip_suffix(".backup") {
                                Some(name) => format!("{dir}/{name}.backup"),
                                None => word,
                            };
                            let rest = rest.into_iter().map(here).collect();
                            let arguments = [vec!["--config".to_owned(), config.display().to_string()], rest];
                            let ended = pvegate_told(PASSPHRASE, &arguments.concat()).await;
                            assert_eq!(ended.code, Some(0), "`{line}`: {ended:?}");
                            run += 1;
                        }
                    }
                    ["systemctl", "start" | "stop", "pvegate"] => {}
                    // A real systemd runs these out of the first quick start, in tests/it/deploy/systemd_boot.rs.
                    // The other pages repeat some.
                    [
                        "install" | "systemctl" | "systemd-sysusers" | "systemd-tmpfiles" | "userdel" | "rm",
                        ..,
                    ] if document.starts_with("docs/quick-start-") || document == "docs/upgrade.md" => {}
                    ["sqlite3", "/var/lib/pvegate/pvegate.db", command] => {
                        let store = scratch.path().join("pvegate.db");
                        let ended = Command::new("sqlite3").arg(store).arg(command).output().unwrap();
                        assert!(ended.status.success(), "`{line}`: {ended:?}");
                    }
                    _ => panic!("{document}: nobody checks `{line}`"),
                }
            }
        }
    }
    assert!(run >= 5, "{run} commands were run");
}

/// What people are told to remove is what the demo makes.
async fn assert_is_the_demos(directory: &str) {
    // In a home where nothing can be made, the demo names the directory that it wanted.
    let ended =
        crate::harness::pvegate_in(Path::new("/dev/null"), &["demo", "--listen", "127.0.0.1:0"]).await;
    let wanted = directory.replace('~', "/dev/null");
    assert!(ended.stderr.contains(&format!("{wanted} ")), "`rm -r {directory}`: {}", ended.stderr);
}

#[test]
fn the_readme_is_short_enough_to_be_read() {
    assert!(read("README.md").lines().count() <= LINES);
}

#[test]
fn what_a_document_links_to_is_there() {
    for document in DOCUMENTS {
        let text = read(document);
        let from = root().join(document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let images = ["src=\"", "srcset=\""].into_iter().flat_map(|before| text.split(before).skip(1));
        for link in links.chain(images.filter_map(|rest| rest.split('"').next())) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(from.parent().unwrap().join(path).exists(), "{document} links to {path}");
            }
        }
    }
}

#[test]
fn every_verb_and_flag_that_a_text_names_is_there() {
    let mut told = Vec::new();
    for file in ["src", "docs", "config"].iter().flat_map(|below| files(&root().join(below))) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            for before in ["`pvegate ", "<code>pvegate "] {
                for named in line.split(before).skip(1) {
                    let end = named.find(['`', '<', '"', '\\']).unwrap_or(named.len());
                    let owed = OWED.iter().any(|verb| named.starts_with(verb));
                    if let Err(why) = is_there(&named[..end])
                        && !owed
                    {
                        told.push(format!("{}:{number}: `pvegate {}`: {why}", file.display(), &named[..end]));
                    }
                }
            }
        }
    }
    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

/// Whether the program knows the verb and the flags; values are not judged.
fn is_there(named: &str) -> Result<(), String> {
    let mut whole = Cli::command();
    whole.build();
    let mut command = &whole;
    let mut words = named.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            match command.get_arguments().find(|argument| argument.get_long() == Some(flag)) {
                Some(argument) if argument.get_action().takes_values() && !word.contains('=') => {
                    words.next();
                }
                Some(_) => {}
                None => return Err(format!("there is no --{flag}")),
            }
        } else if let Some(verb) = command.find_subcommand(word) {
            command = verb;
        } else if command.has_subcommands() && !word.contains('|') && word.starts_with(char::is_lowercase) {
            return Err(format!("there is no {word}"));
        }
    }
    Ok(())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            found.extend(files(&path));
        } else if ["rs", "html", "md", "toml"].contains(&extension) {
            found.push(path);
        }
    }
    found
}
