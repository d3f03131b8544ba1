//! `pvegate config validate|print|print-default|explain|schema`

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Exit, Failure, output::Output};
use crate::config::{self, Code, KEYS, Key, Origin, Problem, Setting, Severity, TABLES, Table};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say everything that is wrong with the configuration.
    ///
    /// Each problem comes with its line, what was found and what would be right.
    /// Only the file and the environment are looked at: no server is asked and no
    /// other file is read. Exit code 78 if the gate could not start with it.
    #[command(verbatim_doc_comment)]
    Validate {
        /// Another file than that of `--config`.
        file: Option<PathBuf>,
        /// Warnings are errors.
        #[arg(long)]
        strict: bool,
    },
    /// Print what is set, by the file and by the environment.
    ///
    /// As TOML, in the order of docs/configuration.md. Hashes are not shown.
    #[command(verbatim_doc_comment)]
    Print {
        /// Print the defaults of everything else as well.
        #[arg(long)]
        effective: bool,
        /// Say beside each value where it comes from.
        #[arg(long)]
        origin: bool,
    },
    /// Print a file with every key, its default and its reason.
    ///
    /// A start for a file of your own, which needs only what differs.
    #[command(verbatim_doc_comment)]
    PrintDefault,
    /// Explain a key, a table, or the code of a problem.
    ///
    /// The same words as in docs/configuration.md.
    #[command(verbatim_doc_comment)]
    Explain {
        /// E.g. access.allow, session or E0107
        what: String,
    },
    /// Print a JSON schema of the file, for editors.
    ///
    /// Editors that know TOML take it by a first line `#:schema FILE`.
    #[command(verbatim_doc_comment)]
    Schema,
}

pub(super) fn run(verb: Verb, path: &Path, output: &Output) -> Result<(), Failure> {
    match verb {
        Verb::Validate { file, strict } => validate(file.as_deref().unwrap_or(path), strict, output),
        Verb::Print { effective, origin } => print(path, effective, origin, output),
        Verb::PrintDefault => {
            let file = config::default_file();
            output.data(&json!({ "file": file }), || file.trim_end().to_owned());
            Ok(())
        }
        Verb::Explain { what } => explain(&what, output),
        Verb::Schema => {
            let schema = config::schema();
            output.data(&schema, || format!("{schema:#}"));
            Ok(())
        }
    }
}

fn validate(path: &Path, strict: bool, output: &Output) -> Result<(), Failure> {
    let (told, usable, said) = match config::load(path, std::env::vars()) {
        Ok((_, warnings)) => {
            let said: Vec<_> = warnings.iter().map(|warning| format!("{warning}\n")).collect();
            (warnings, true, said.join("\n"))
        }
        Err(problems) => (problems.all().to_vec(), false, problems.to_string()),
    };
    let is_right = usable && (told.is_empty() || !strict);
    let objects: Vec<_> = told.iter().map(object).collect();
    output.data(
        &json!({ "file": path.display().to_string(), "valid": is_right, "problems": objects }),
        || match (is_right, told.len()) {
            (true, 0) => format!("{} is right", path.display()),
            (true, 1) => format!("{} is right, with a warning", path.display()),
            (true, warnings) => format!("{} is right, with {warnings} warnings", path.display()),
            (false, _) => format!("{} is wrong", path.display()),
        },
    );
    if is_right {
        if !said.is_empty() {
            output.talk(said.trim_end());
        }
        return Ok(());
    }
    Err(Failure::new(Exit::BadConfiguration, said.trim_end()))
}

fn object(problem: &Problem) -> Value {
    json!({
        "code": problem.code().id(),
        "severity": match problem.code().severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "key": problem.key(),
        "message": problem.message(),
        "text": problem.to_string(),
    })
}

fn print(path: &Path, effective: bool, with_origin: bool, output: &Output) -> Result<(), Failure> {
    let settings = config::settings(path, std::env::vars())
        .map_err(|problems| Failure::new(Exit::BadConfiguration, problems.to_string()))?;
    let shown: Vec<_> = settings.iter().filter(|it| effective || it.origin != Origin::Default).collect();
    let object = |it: &&Setting| {
        json!({
            "key": it.key.name,
            "entry": it.entry,
            "value": it.value,
            "origin": with_origin.then(|| it.origin.to_string()),
        })
    };
    let objects: Vec<_> = shown.iter().map(object).collect();
    output.data(&json!({ "settings": objects }), || toml(&shown, with_origin));
    Ok(())
}

/// As a file that says the same.
fn toml(settings: &[&Setting], with_origin: bool) -> String {
    let mut text = String::new();
    let mut last: (Option<&Table>, Option<usize>) = (None, None);
    for setting in settings {
        let here = (setting.key.table(), setting.entry);
        if here != last {
            let header = here.0.map(Table::header).unwrap_or_default();
            let _ = writeln!(text, "{}{header}", if text.is_empty() { "" } else { "\n" });
            last = here;
        }
        let line = format!("{} = {}", setting.key.split().1, setting.value);
        if with_origin {
            let _ = writeln!(text, "{line:<40} # {}", setting.origin);
        } else {
            let _ = writeln!(text, "{line}");
        }
    }
    text.trim_end().to_owned()
}

fn explain(what: &str, output: &Output) -> Result<(), Failure> {
    if let Some(code) = Code::find(what) {
        let object = json!({ "code": code.id(), "explanation": code.explanation() });
        output.data(&object, || format!("{}: {}", code.id(), code.explanation()));
        return Ok(());
    }
    if let Some(key) = KEYS.iter().find(|key| key.name == what) {
        let object = json!({
            "key": key.name,
            "doc": key.doc,
            "value": key.kind.to_string(),
            "default": key.default,
            "example": key.example,
            "variable": key.variable(),
        });
        output.data(&object, || format!("{}\n\n{}\n\n{}", key.name, key.doc, key.facts()));
        return Ok(());
    }
    if let Some(table) = TABLES.iter().find(|table| table.name == what) {
        let of_it = |key: &&Key| key.table() == Some(table);
        let keys: Vec<_> = KEYS.iter().filter(of_it).map(|key| key.name).collect();
        let object = json!({ "table": table.name, "doc": table.about, "keys": keys });
        output.data(&object, || format!("{}\n\n{}\n\n{}", table.header(), table.about, keys.join("\n")));
        return Ok(());
    }
    let near = config::nearest_name(what);
    let advice = near.map_or_else(
        || "`pvegate config print-default` shows all keys".to_owned(),
        |name| format!("did you mean `{name}`?"),
    );
    Err(Failure::new(Exit::NoSuchThing, format!("there is no key, table or code `{what}`; {advice}")))
}
