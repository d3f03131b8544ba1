//! Rules about the source itself: who may depend on whom, and what a file must and must not hold.
//!
//! The sources are read as text; comments, strings and `#[cfg(test)]` items do not count. Whoever breaks a
//! rule reads which file and line it is, what the rule is, and where it stands. Rules may be changed: change
//! the table here, and say in the commit why.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Which modules of ours a module may use: only such as stand above it. Each stage turns its refusals into
/// audit reasons, so that `audit` needs no stage.
const MODULES: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("names", &[]),
    ("ownership", &[]),
    ("secret", &[]),
    ("status", &["time"]),
    ("metrics", &["status", "time"]),
    ("telemetry", &["metrics", "status", "time"]),
    ("account", &["time"]),
    ("store", &["account", "metrics", "ownership", "secret", "status", "time"]),
    ("audit", &["account", "metrics", "ownership", "secret", "store", "time"]),
    ("recent", &["audit", "time"]),
    ("tls", &["audit", "secret", "status", "store", "time"]),
    ("check", &["time"]),
    ("backup", &["secret", "time"]),
    ("demo", &["names", "time", "tls"]),
    ("accept", &["audit", "time"]),
    ("admission", &["accept", "audit", "store", "time"]),
    ("connection", &["accept", "audit", "names", "tls", "time"]),
    (
        "gate",
        &[
            "accept",
            "account",
            "admission",
            "audit",
            "check",
            "connection",
            "names",
            "recent",
            "secret",
            "status",
            "store",
            "time",
        ],
    ),
    // Of `gate` only the proof, and what it says about how long its effect may last.
    (
        "upstream",
        &[
            "audit",
            "connection",
            "gate::ConsoleOver",
            "gate::Grounds",
            "gate::Lease",
            "gate::NodeKey",
            "gate::OpenConsole",
            "gate::Party",
            "gate::Permitted",
            "metrics",
            "names",
            "status",
            "tls",
            "time",
        ],
    ),
    (
        "serve",
        &["accept", "admission", "audit", "connection", "gate", "metrics", "names", "time", "upstream"],
    ),
    // The settings of the stages live with the stages; `config` builds them all and nothing of them knows it.
    (
        "config",
        &[
            "account",
            "accept",
            "admission",
            "audit",
            "connection",
            "gate",
            "store",
            "telemetry",
            "time",
            "tls",
            "upstream",
        ],
    ),
    // Composes the whole.
    (
        "admin",
        &[
            "accept",
            "account",
            "admission",
            "audit",
            "check",
            "backup",
            "config",
            "connection",
            "demo",
            "gate",
            "metrics",
            "names",
            "ownership",
            "secret",
            "serve",
            "status",
            "store",
            "telemetry",
            "time",
            "tls",
            "upstream",
        ],
    ),
];

/// Crates, or parts of them, that are one module's business.
const CRATES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("chacha20poly1305", &["secret"]),
    // The stand-in signs Proxmox VE's tickets, with keys that are not ours.
    ("hmac", &["secret", "demo"]),
    ("subtle", &["secret", "tls"]),
    ("getrandom", &["secret", "demo"]),
    ("argon2", &["gate", "backup"]),
    ("rcgen", &["tls"]),
    ("x509_parser", &["tls"]),
    // The stand-in has a listener of its own; `admin` names the error of making ours; a collector of audit
    // events is behind TLS of its own.
    ("rustls", &["tls", "demo", "admin", "audit"]),
    ("rustls_native_certs", &["audit"]),
    ("governor", &["admission", "gate"]),
    // Watchers come in by a door of their own.
    ("hyper::server", &["connection", "telemetry"]),
    ("hyper::service", &["connection", "telemetry"]),
    ("hyper::client", &["upstream"]),
    ("hyper_util", &["connection", "telemetry", "upstream"]),
    ("totp_rs", &["gate"]),
    ("webauthn_rs", &["gate"]),
    ("webauthn_rs_proto", &["gate"]),
    ("askama", &["gate"]),
    ("qrcode", &["gate", "admin"]),
    ("prometheus_client", &["metrics"]),
    ("tracing_subscriber", &["telemetry"]),
    // `demo` writes its configuration as a file, for the other verbs to read.
    ("toml", &["config", "admin"]),
    ("strsim", &["config"]),
    ("clap", &["admin"]),
    ("clap_complete", &["admin"]),
    ("clap_mangen", &["admin"]),
    ("sha1", &["demo"]),
    ("flate2", &["demo", "audit"]),
    ("memchr", &["connection", "demo"]),
];

/// Files where a decision, verdict or refusal is made or taken up: a new variant must make somebody look.
const DECIDING: &[&str] = &[
    "connection/head.rs",
    "connection/wire/chunked.rs",
    "connection/wire/framer.rs",
    "gate/live.rs",
    "gate/mod.rs",
    "gate/permitted.rs",
    "gate/policy.rs",
    "gate/session.rs",
    "gate/target.rs",
    "serve.rs",
    "upstream/health.rs",
    "upstream/nodes.rs",
    "upstream/answer.rs",
];

/// Longest file. What is longer is most often two subjects.
const LINES: usize = 800;

/// Longer files, and why they are one subject.
const LONGER: &[(&str, &str)] = &[
    ("store/mod.rs", "one trait, with what its methods take and give"),
    ("store/sqlite.rs", "the methods of one trait, one after another"),
];

#[test]
fn modules_use_only_what_the_table_lets_them() {
    let sources = sources();
    let broken: Vec<String> = sources.iter().flat_map(forbidden_modules).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_table_names_every_module_and_only_such_as_stand_above() {
    let map = read("src/lib.rs");
    let declared: BTreeSet<&str> = map
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let rows: BTreeSet<&str> = MODULES.iter().map(|(module, _)| *module).collect();
    assert_eq!(declared, rows, "src/lib.rs on the left, the table of tests/it/architecture.rs on the right");

    let mut above = BTreeSet::new();
    for (module, may) in MODULES {
        for used in *may {
            let name = used.split("::").next().unwrap();
            assert!(
                above.contains(name),
                "the row of `{module}` names `{used}`, which does not stand above it"
            );
        }
        above.insert(*module);
    }
}

#[test]
fn a_crate_that_is_one_modules_business_is_used_there_alone() {
    let broken: Vec<String> = sources().iter().flat_map(forbidden_crates).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_program_itself_only_calls_the_command_line() {
    let main = Source::read("main.rs");
    let used: Vec<_> = main.paths("pvegate").into_iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(used, ["admin::run"]);
}

#[test]
fn no_decision_has_an_arm_for_everything_else() {
    let mut broken = Vec::new();
    for file in DECIDING {
        let source = Source::read(file);
        for (number, line) in (1..).zip(source.code.lines()) {
            let pattern = line.trim_start().split("=>").next().unwrap().trim();
            if line.contains("=>") && (pattern == "_" || pattern.starts_with("_ if ")) {
                broken.push(format!(
                    "src/{file}:{number}: `{}` takes whatever is added later: name the variants \
                     (files that decide have no `_` arm)",
                    line.trim()
                ));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_does() {
    for path in files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}:1: no `//!` paragraph says what it is for", shown(&path));
    }
}

#[test]
fn no_file_is_longer_than_a_subject() {
    for path in files(&root().join("src")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let listed = LONGER.iter().any(|(file, _)| path.ends_with(file));
        assert!(
            lines <= LINES || listed,
            "{} has {lines} lines, more than {LINES}: divide it, or list it in LONGER with the reason",
            shown(&path)
        );
        assert!(
            lines > LINES || !listed,
            "{} has {lines} lines and need not be in LONGER any more",
            shown(&path)
        );
    }
}

fn forbidden_modules(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let may = MODULES.iter().find(|(row, _)| *row == module).map_or(&[][..], |(_, may)| may);
    let mut broken = Vec::new();
    for (line, path) in source.paths("crate") {
        let Some(first) = path.first() else { continue };
        let allowed = first == module
            || may.iter().any(|may| {
                let mut may = may.split("::");
                may.next() == Some(first)
                    && may.next().is_none_or(|item| path.get(1).is_some_and(|it| it == item))
            });
        if !allowed {
            broken.push(format!(
                "src/{}:{line}: `{module}` may not use `{}` (table MODULES of tests/it/architecture.rs)",
                source.file,
                path.join("::")
            ));
        }
    }
    // A chain of `super` that leaves the module would slip past the table.
    for (number, text) in (1..).zip(source.code.lines()) {
        if text.contains(&"super::".repeat(source.depth())) {
            broken.push(format!(
                "src/{}:{number}: `super` leaves `{module}`: write `crate::…`, which the table can read",
                source.file
            ));
        }
    }
    broken
}

fn forbidden_crates(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let mut broken = Vec::new();
    for (reserved, owners) in CRATES {
        if owners.contains(&module) {
            continue;
        }
        let mut segments = reserved.split("::");
        let (root, part) = (segments.next().unwrap(), segments.next());
        for (line, path) in source.paths(root) {
            if part.is_none_or(|part| path.first().is_some_and(|first| first == part)) {
                broken.push(format!(
                    "src/{}:{line}: `{module}` may not use `{reserved}`, which is the business of {} \
                     (table CRATES of tests/it/architecture.rs)",
                    source.file,
                    owners.join(" and ")
                ));
            }
        }
    }
    broken
}

/// A file of `src`, without what does not count.
struct Source {
    /// Below `src`.
    file: String,
    /// Comments, strings and `#[cfg(test)]` items are blank; lines are where they were.
    code: String,
}

impl Source {
    fn read(file: &str) -> Self {
        Self { file: file.to_owned(), code: without_tests(&without_comments(&read(&format!("src/{file}")))) }
    }

    /// The row it belongs to; none for `lib.rs` and `main.rs`.
    fn module(&self) -> Option<&str> {
        let first = self.file.split('/').next()?.trim_end_matches(".rs");
        (first != "lib" && first != "main").then_some(first)
    }

    /// How many `super::` lead from it to the root.
    fn depth(&self) -> usize {
        self.file.split('/').count() - usize::from(self.file.ends_with("/mod.rs"))
    }

    /// Every path that begins with `root`, without it, with its line. A `use` tree is as many as its leaves.
    fn paths(&self, root: &str) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(root) {
            let before = self.code[..at].chars().next_back();
            let rest = self.code[at + root.len()..].trim_start();
            let inside = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.'));
            if inside || !rest.starts_with("::") {
                continue;
            }
            let line = 1 + self.code[..at].matches('\n').count();
            for (offset, path) in leaves(&rest[2..]) {
                found.push((line + rest[..2 + offset].matches('\n').count(), path));
            }
        }
        found
    }
}

/// The paths of a `use` tree that begins here, each with where it begins.
fn leaves(tree: &str) -> Vec<(usize, Vec<String>)> {
    fn walk(tree: &str, at: &mut usize, before: &[String], found: &mut Vec<(usize, Vec<String>)>) {
        let skip = |at: &mut usize| *at += tree[*at..].len() - tree[*at..].trim_start().len();
        skip(at);
        if tree[*at..].starts_with('{') {
            *at += 1;
            loop {
                skip(at);
                if tree[*at..].starts_with('}') || tree[*at..].is_empty() {
                    *at += 1;
                    return;
                }
                let begin = *at;
                walk(tree, at, before, found);
                // `as name`, and the comma.
                *at += tree[*at..].find([',', '}']).unwrap_or(tree.len() - *at);
                if tree[*at..].starts_with(',') {
                    *at += 1;
                }
                assert!(*at > begin, "not a use tree: {tree:.80}");
            }
        }
        let begin = *at;
        let length = tree[*at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len() - *at);
        *at += length.max(usize::from(tree[*at..].starts_with('*')));
        let mut path = before.to_vec();
        path.push(tree[begin..*at].to_owned());
        if tree[*at..].starts_with("::") {
            *at += 2;
            walk(tree, at, &path, found);
        } else {
            found.push((begin, path));
        }
    }
    let mut found = Vec::new();
    walk(tree, &mut 0, &[], &mut found);
    found
}

/// Blanks comments, strings and characters out.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let from = 2 + hashes;
            rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// The number of `#` of a raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of what stands between quotes, with them.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Blanks items behind `#[cfg(test)]` out.
fn without_tests(code: &str) -> String {
    let mut text = code.to_owned();
    while let Some(at) = text.find("#[cfg(test)]") {
        let open = text[at..].find(['{', ';']).map_or(text.len(), |found| at + found);
        let mut end = text.len();
        let mut depth = 0_usize;
        for (offset, c) in text[open..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = open + offset + 1;
                break;
            }
        }
        let blank: String = text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        text.replace_range(at..end, &blank);
    }
    text
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Every Rust file below, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every file of `src` that is part of the program.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let files = files(&src).into_iter().map(|path| path.strip_prefix(&src).unwrap().display().to_string());
    // By custom, a file of tests is `tests.rs` behind `#[cfg(test)] mod tests;`.
    files.filter(|file| !file.ends_with("/tests.rs")).map(|file| Source::read(&file)).collect()
}

#[test]
fn the_reader_of_sources_sees_paths_and_not_what_only_looks_like_one() {
    let text = r##"
use crate::{
    a::{self, b as c},
    d::*,
};
// crate::comment
fn f<'a>(x: &'a crate::e::F) -> char { let _ = "crate::string"; let _ = r#"crate::"raw"#; '"' }
#[cfg(test)]
mod tests { use crate::test; mod deeper { fn g() {} } }
type G = $crate::g;
my_crate::h!();
"##;
    let source = Source { file: "x/y.rs".to_owned(), code: without_tests(&without_comments(text)) };

    let paths: Vec<_> =
        source.paths("crate").into_iter().map(|(line, path)| (line, path.join("::"))).collect();

    let expected = [(3, "a::self"), (3, "a::b"), (4, "d::*"), (7, "e::F"), (10, "g")];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
    assert_eq!((source.module(), source.depth()), (Some("x"), 2));
}

#[test]
fn a_broken_rule_is_told_with_file_and_line() {
    let source = Source {
        file: "upstream/mod.rs".to_owned(),
        code: "use crate::gate::{Lease, policy};\nuse super::serve;\nuse rusqlite::Row;\nuse hyper::server;"
            .to_owned(),
    };

    let told = [forbidden_modules(&source), forbidden_crates(&source)].concat();

    let beginnings: Vec<_> = told.iter().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        beginnings,
        [
            "src/upstream/mod.rs:1: `upstream` may not use `gate::policy`",
            "src/upstream/mod.rs:2: `super` leaves `upstream`: write `crate::…`, which the table can read",
            "src/upstream/mod.rs:3: `upstream` may not use `rusqlite`, which is the business of store",
            "src/upstream/mod.rs:4: `upstream` may not use `hyper::server`, which is the business of connection and telemetry",
        ]
    );
}
