//! What holds for every verb: help, JSON whose fields are documented, completions, a page of the manual; how
//! much is said, what is asked, and how it ends.
//!
//! A new verb needs a row in [`EXAMPLES`] and one in `admin::FIELDS`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use clap::CommandFactory as _;
use nix::pty::openpty;
use pvegate::admin::{Cli, FIELDS};
use serde_json::Value;

use crate::harness::{Place, Pve, Scratch, program, pvegate};

/// How each verb is tried, in this order, on a place with alice (signed in twice), bob (invited) and root (an
/// administrator). `SERVER` is a server of Proxmox VE, `DIR` an empty directory. Without words a verb is tried
/// elsewhere, by the test that is named.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("pvegate demo", &[]), // command_line::the_demo_leads_from_one_line_to_the_page_behind_the_gate
    ("pvegate serve", &[]), // command_line::serve_starts_whatever_the_upstream_is_says_so_and_ends_when_told
    ("pvegate check", &[]), // the tests of that verb; the same for the next seven
    ("pvegate config validate", &[]),
    ("pvegate config print", &[]),
    ("pvegate config print-default", &[]),
    ("pvegate config explain", &[]),
    ("pvegate config schema", &[]),
    ("pvegate status", &[]), // metrics::status_asks_every_gate_on_the_store_and_says_if_none_runs
    ("pvegate healthcheck", &[]),
    ("pvegate audit tail", &[]), // audit::chain
    ("pvegate audit search", &[]),
    ("pvegate audit verify", &[]),
    ("pvegate audit export", &[]),
    ("pvegate backup", &[]),
    ("pvegate restore", &[]),
    ("pvegate user list", &["user", "list"]),
    ("pvegate user show", &["user", "show", "alice"]),
    ("pvegate user unlock", &["user", "unlock", "alice"]),
    ("pvegate user rename", &["user", "rename", "alice", "alice"]),
    ("pvegate user role", &["user", "role", "alice", "user"]),
    ("pvegate user group", &["user", "group", "alice", "--add", "ops"]),
    ("pvegate invite", &["invite", "bob"]),
    ("pvegate invite list", &["invite", "list"]),
    ("pvegate invite revoke", &["invite", "revoke", "bob"]),
    ("pvegate factor list", &["factor", "list"]),
    ("pvegate factor rename", &["factor", "rename", "alice", "a1", "Phone"]),
    ("pvegate session list", &["session", "list"]),
    ("pvegate factor delete", &["factor", "delete", "alice", "a1"]),
    ("pvegate recovery-codes status", &["recovery-codes", "status"]),
    ("pvegate recovery-codes renew", &["recovery-codes", "renew", "alice"]),
    ("pvegate session revoke", &["session", "revoke", "--all"]),
    ("pvegate activity", &["activity", "alice"]),
    ("pvegate access explain", &["access", "explain", "192.168.1.7", "--user", "alice"]),
    ("pvegate ban add", &["ban", "add", "203.0.113.9"]),
    ("pvegate ban list", &["ban", "list"]),
    ("pvegate ban remove", &["ban", "remove", "203.0.113.9"]),
    ("pvegate api add", &[]), // api_verbs::
    ("pvegate api list", &[]),
    ("pvegate api remove", &[]),
    ("pvegate panic", &["panic", "alice"]),
    ("pvegate user enable", &["user", "enable", "alice"]),
    ("pvegate user disable", &["user", "disable", "alice", "--reason", "x"]),
    ("pvegate user delete", &["user", "delete", "alice", "--yes"]),
    ("pvegate user add", &["user", "add", "carol"]),
    ("pvegate fingerprint", &["fingerprint", "SERVER"]),
    ("pvegate lockdown", &["lockdown", "--gate", "10.0.0.5"]),
    ("pvegate export", &["export", "fail2ban"]),
    ("pvegate version", &["version"]),
    ("pvegate completions", &["completions", "bash"]),
    ("pvegate man", &["man", "DIR"]),
];

/// Every verb that does something, and whether it is hidden.
fn verbs() -> BTreeMap<String, bool> {
    fn walk(command: &clap::Command, name: &str, found: &mut BTreeMap<String, bool>) {
        let below = command.get_subcommands().filter(|verb| verb.get_name() != "help");
        let is_verb = !command.has_subcommands() || command.is_subcommand_negates_reqs_set();
        if is_verb {
            found.insert(name.to_owned(), command.is_hide_set());
        }
        for verb in below {
            walk(verb, &format!("{name} {}", verb.get_name()), found);
        }
    }
    let mut whole = Cli::command();
    whole.build();
    let mut found = BTreeMap::new();
    walk(&whole, "pvegate", &mut found);
    found
}

#[test]
fn every_verb_has_its_fields_documented_and_is_tried() {
    let verbs: BTreeSet<String> = verbs().into_keys().collect();
    let documented: BTreeSet<String> = FIELDS.iter().map(|(verb, _)| (*verb).to_owned()).collect();
    let tried: BTreeSet<String> = EXAMPLES.iter().map(|(verb, _)| (*verb).to_owned()).collect();

    assert_eq!(verbs, documented, "the program on the left, src/admin/fields.rs on the right");
    assert_eq!(verbs, tried, "the program on the left, the table of this file on the right");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_verb_prints_for_programs_has_the_fields_that_are_documented() {
    let (place, pve, dir) = (Place::quiet(), Pve::start().await, Scratch::new());
    place.make_master_key();
    for added in [&["root", "--admin", "--no-invite"][..], &["alice", "--no-invite"], &["bob"]] {
        place.run(&[&["user", "add"], added].concat()).await.ok();
    }
    place.sign_in("alice", 0xa1);
    place.sign_in_by_passkey("alice", 0xa2);
    let (server, dir) = (pve.addr().to_string(), dir.path().join("man").display().to_string());

    let mut broken = Vec::new();
    for (verb, words) in EXAMPLES.iter().filter(|(_, words)| !words.is_empty()) {
        let words: Vec<&str> = words
            .iter()
            .map(|word| match *word {
                "SERVER" => server.as_str(),
                "DIR" => dir.as_str(),
                word => word,
            })
            .collect();
        let objects = place.run(&[&words[..], &["--json"]].concat()).await.json();
        if objects.is_empty() {
            broken.push(format!("{verb}: nothing was printed"));
        }
        let documented = FIELDS.iter().find(|(of, _)| of == verb).unwrap().1;
        let documented: BTreeSet<&str> = documented.iter().map(|field| field.name).collect();
        for object in &objects {
            let printed: BTreeSet<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
            if printed != documented {
                broken.push(format!("{verb}: printed {printed:?}, documented {documented:?}"));
            }
        }
    }

    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Runs a program on a text; gives what it printed.
fn piped(program: &str, args: &[&str], stdin: &str) -> (bool, String) {
    let spawned = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child =
        spawned.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs what is missing"));
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn shells_accept_their_completions_and_bash_completes_verbs_words_and_files() {
    for (shell, program) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let script = pvegate(&["completions", shell]).await.ok();
        let (accepted, said) = piped(program, &["-n"], &script);
        assert!(accepted && said.is_empty(), "{shell}: {said}");
    }
    let script = pvegate(&["completions", "bash"]).await.ok();
    let scratch = Scratch::new();
    fs::write(scratch.path().join("here.toml"), "").unwrap();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 6] = [
        (&["us"],                            "user"),
        (&["user", "sh"],                    "show"),
        (&["user", "role", "alice", "ad"],   "admin"),
        (&["factor", "list", "--type", "p"], "passkey"),
        (&["invite", "bob", "--purpose", "r"], "recover"),
        (&["--config", "her"],               "here.toml"),
    ];
    for (words, completed) in table {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (last, before) =
            (words[words.len() - 1], words.len().checked_sub(2).map_or("pvegate", |i| words[i]));
        let asked = format!(
            "{script}\ncd '{}'\nCOMP_WORDS=(pvegate {line})\nCOMP_CWORD={}\n_pvegate pvegate '{last}' '{before}' 2>/dev/null\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            scratch.path().display(),
            words.len()
        );

        let (_, said) = piped("bash", &[], &asked);

        assert_eq!(said.trim_end(), completed, "{words:?}");
    }
}

#[tokio::test]
async fn every_verb_has_a_page_of_the_manual_at_which_no_formatter_complains() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("deep/man").display().to_string();

    let printed = pvegate(&["man", &dir]).await.ok();

    let pages: BTreeSet<&str> = printed.lines().collect();
    for (verb, hidden) in verbs() {
        let page = format!("{dir}/{}.1", verb.replace(' ', "-"));
        assert_eq!(pages.contains(page.as_str()), !hidden, "{verb}");
    }
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        let (_, said) = piped("mandoc", &["-man", "-T", "lint", "-W", "warning"], &text);
        // A date would be that of the build, and no build would give the same as another. Breaks of lines
        // beside blank lines are how clap_mangen writes, and change nothing.
        let known = ["missing date", "skipping paragraph macro: br"];
        let said: Vec<&str> =
            said.lines().filter(|line| !known.iter().any(|words| line.contains(words))).collect();
        assert!(said.is_empty(), "{page}: {said:?}");
        let (accepted, said) = piped("groff", &["-man", "-ww", "-z", "-K", "utf8"], &text);
        assert!(accepted && said.is_empty(), "{page}: {said}");
    }
    let (_, shown) = piped(
        "mandoc",
        &["-man", "-T", "ascii"],
        &fs::read_to_string(Path::new(&dir).join("pvegate-user-show.1")).unwrap(),
    );
    let shown = shown.replace('\u{8}', "");
    for words in ["last_sign_in_at", "75", "another program is writing"] {
        assert!(shown.contains(words) || shown.contains(&doubled(words)), "no `{words}` in:\n{shown}");
    }
}

/// How a terminal of old prints bold letters, without what moves it back.
fn doubled(words: &str) -> String {
    words.chars().flat_map(|c| [c, c]).collect()
}

#[tokio::test]
async fn how_much_is_said_beside_the_data_is_for_whoever_asks_to_choose() {
    let place = Place::quiet();
    place.run(&["user", "add", "root", "--admin", "--no-invite"]).await.ok();

    let quiet = place.run(&["-q", "invite", "root"]).await;
    let verbose = place.run(&["user", "list", "--verbose"]).await;
    let failed = place.run(&["-q", "invite", "zed"]).await;
    let both = place.run(&["-q", "-v", "user", "list"]).await;

    assert_eq!((quiet.stderr.as_str(), quiet.stdout.lines().count()), ("", 1));
    for file in [place.config(), place.scratch.path().join("state/pvegate.db").display().to_string()] {
        assert!(verbose.stderr.contains(&file), "{}", verbose.stderr);
    }
    assert_eq!(failed.code, Some(4));
    assert!(failed.stderr.contains("there is no user `zed`"), "{}", failed.stderr);
    assert_eq!(both.code, Some(2));
}

#[tokio::test]
async fn a_store_that_another_program_writes_to_can_be_read_and_is_worth_another_try() {
    let place = Place::quiet();
    place.run(&["user", "add", "root", "--admin", "--no-invite"]).await.ok();
    let other = rusqlite::Connection::open(place.scratch.path().join("state/pvegate.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let read = place.run(&["user", "list"]).await;
    let written = place.run(&["--json", "user", "add", "alice"]).await;
    other.execute_batch("ROLLBACK").unwrap();
    let again = place.run(&["user", "add", "alice"]).await;

    assert_eq!(read.code, Some(0), "{read:?}");
    assert_eq!(written.code, Some(75), "{written:?}");
    let failure: Value = serde_json::from_str(&written.stdout).unwrap();
    assert_eq!(failure["exit"], 75);
    assert!(written.stderr.contains("another program has been writing to"), "{}", written.stderr);
    assert_eq!(again.code, Some(0));
}

#[test]
fn whoever_stops_reading_is_no_failure_and_a_full_disk_is_one() {
    let pipe = "\"$0\" completions bash | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}";
    let full = "\"$0\" version >/dev/full";
    for (script, code) in [(pipe, 0), (full, 1)] {
        let output = Command::new("bash").args(["-c", script]).arg(program()).output().unwrap();

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{script}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// Runs it at a terminal, on which this is typed; gives how it ended and what stood there.
fn at_a_terminal(args: &[&str], typed: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let terminal = openpty(None, None).unwrap();
    let end = |end: &OwnedFd| Stdio::from(end.try_clone().unwrap());
    let mut child = Command::new(program())
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(end(&terminal.slave))
        .stdout(end(&terminal.slave))
        .stderr(end(&terminal.slave))
        .spawn()
        .unwrap();
    drop(terminal.slave);
    let mut screen = fs::File::from(terminal.master);
    screen.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // It ends with an error when nobody has the other end any more.
    while let Ok(read) = screen.read(&mut buffer)
        && read > 0
    {
        shown.extend_from_slice(&buffer[..read]);
    }
    (child.wait().unwrap().code(), String::from_utf8(shown).unwrap())
}

#[tokio::test]
async fn at_a_terminal_somebody_is_asked_and_anything_but_yes_is_no() {
    let place = Place::quiet();
    let config = place.config();
    for name in ["root", "alice"] {
        place.run(&["user", "add", name, "--admin", "--no-invite"]).await.ok();
    }
    let delete = ["--config", &config, "user", "delete", "alice"];

    for typed in ["n\n", "\n", "yep\n"] {
        let (code, shown) = at_a_terminal(&delete, typed, &[]);
        assert_eq!(code, Some(5), "{typed:?}: {shown}");
        assert!(shown.contains("Go on? [y/N]") && shown.contains("nothing was changed"), "{shown}");
    }
    assert_eq!(place.store_users(), 2);
    let (code, shown) = at_a_terminal(&delete, "y\n", &[]);

    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(place.store_users(), 1);
}

#[test]
fn colour_is_for_terminals_and_not_where_it_is_unwanted() {
    let terminal = [("TERM", "xterm-256color")];
    let unwanted = [("TERM", "xterm-256color"), ("NO_COLOR", "1")];

    assert!(at_a_terminal(&["--help"], "", &terminal).1.contains('\u{1b}'));
    assert!(!at_a_terminal(&["--help"], "", &unwanted).1.contains('\u{1b}'));
}
