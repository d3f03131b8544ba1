//! `pvegate completions`, `pvegate man`: what packages ship beside the program, written from the command line
//! itself.

use std::{fs, io, io::Write as _, path::PathBuf};

use clap::{Command, CommandFactory as _, ValueHint};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Exit, Failure, fields, output::Output};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where to; it is made if it is not there.
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

pub(super) fn completions(args: Completions, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pvegate", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let object = json!({ "shell": args.shell.to_string(), "script": script });
    output.data(&object, || script.trim_end().to_owned());
    Ok(())
}

pub(super) fn man(args: &Man, output: &Output) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Failed, format!("{} can't be written: {error}", args.dir.display()))
    };
    fs::create_dir_all(&args.dir).map_err(failed)?;
    let mut whole = Cli::command();
    whole.build();
    let mut pages = Vec::new();
    write(&whole, "pvegate", &args.dir, &mut pages).map_err(failed)?;
    for page in &pages {
        let page = page.display().to_string();
        output.data(&json!({ "page": page }), || page.clone());
    }
    Ok(())
}

/// The page of a verb, and those of the verbs below it.
fn write(verb: &Command, name: &str, dir: &std::path::Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = dir.join(format!("{}.1", name.replace(' ', "-")));
    fs::write(&path, page(verb, name)?)?;
    pages.push(path);
    for below in verb.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        write(below, &format!("{name} {}", below.get_name()), dir, pages)?;
    }
    Ok(())
}

fn page(verb: &Command, name: &str) -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(verb.clone());
    let mut page = Vec::new();
    // Without a date, so that every build writes the same; the crate would leave out its place as well.
    let title = name.replace(' ', "-").to_uppercase();
    writeln!(page, ".TH {title} 1 \"\" \"pvegate {}\" \"pvegate\"", env!("CARGO_PKG_VERSION"))?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if verb.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    more(verb, name).to_writer(&mut page)?;
    Ok(page)
}

/// What help has no room for.
fn more(verb: &Command, name: &str) -> clap_mangen::roff::Roff {
    use clap_mangen::roff::{Roff, bold, roman};
    let mut more = Roff::new();
    if let Some(fields) = fields::of(name) {
        more.control("SH", ["JSON"]);
        more.text([roman("With --json, an object with these fields:")]);
        for field in fields {
            more.control("TP", []);
            more.text([bold(field.name)]);
            more.text([roman(field.means)]);
        }
    }
    more.control("SH", ["EXIT STATUS"]);
    for (exit, means) in Exit::ALL {
        more.control("TP", []);
        more.text([bold(exit.number().to_string())]);
        more.text([roman(means)]);
    }
    let mut others: Vec<String> = verb
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .map(|below| format!("{name} {}", below.get_name()))
        .collect();
    if let Some((above, _)) = name.rsplit_once(' ') {
        others.insert(0, above.to_owned());
    }
    if !others.is_empty() {
        more.control("SH", ["SEE ALSO"]);
        let others: Vec<_> = others.iter().map(|other| format!("{}(1)", other.replace(' ', "-"))).collect();
        more.text([roman(others.join(", "))]);
    }
    more
}
