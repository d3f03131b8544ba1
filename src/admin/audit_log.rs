//! `pvegate audit`: its file is read, searched, checked and printed.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Exit, Failure, output::Output, read_config};
use crate::{
    audit::{
        chain::{self, Flaw, Hash, Head},
        rotated,
    },
    config::duration,
    secret::{MacKey, MasterKey, Purpose},
    time::{Clock as _, SystemClock, Timestamp},
};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Show the latest events, and with `-f` what is added.
    ///
    /// With `--json`, the lines as they stand in the file.
    #[command(verbatim_doc_comment)]
    Tail(Tail),
    /// Show the events that fit.
    ///
    /// Several conditions must all hold. With `--json`, the lines as they stand in
    /// the file. That none fits is no error.
    #[command(verbatim_doc_comment)]
    Search(Search),
    /// Check that no event was changed, added, removed or moved.
    ///
    /// Each line names the hash of the one before, across rotated files, and is
    /// sealed under a key that comes from the master key. The first line that does
    /// not fit is told, and ends it with exit code 3. That the newest lines were
    /// cut off, no chain can show: note the last hash elsewhere, and give it as
    /// `--contains` the next time.
    #[command(verbatim_doc_comment)]
    Verify(Verify),
    /// Print the events for another program.
    ///
    /// The lines as they stand in the file: JSON with the names of the Elastic
    /// Common Schema (`ecs`), the oldest first.
    #[command(verbatim_doc_comment)]
    Export(Export),
}

#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// Go on with what is added, until it is interrupted.
    #[arg(long, short)]
    follow: bool,
    /// How many.
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
    lines: usize,
}

#[derive(Debug, clap::Args)]
pub(super) struct Period {
    /// Not before: so long ago, or a time, e.g. 24h, 2026-11-24T14:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Not after: so long ago, or a time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Search {
    #[command(flatten)]
    period: Period,
    /// Whose account, or who at Proxmox VE, e.g. alice, root@pam.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// From this address or network, e.g. 203.0.113.9, 2001:db8::/64.
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    ip: Option<IpNet>,
    /// What was done, e.g. sign-in.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Whether it succeeded.
    #[arg(long, value_name = "OUTCOME", value_parser = ["success", "failure"])]
    outcome: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Other files than those of the configuration, the oldest first.
    files: Vec<PathBuf>,
    /// A hash that must be among them, as an earlier `verify` told it.
    #[arg(long, value_name = "HASH", value_parser = hash)]
    contains: Option<Hash>,
    /// Check hashes and order only: the key was another one.
    #[arg(long)]
    without_seals: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// In which form.
    #[arg(long, value_name = "FORMAT", default_value = "ecs", value_parser = ["ecs"])]
    format: String,
    #[command(flatten)]
    period: Period,
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    match verb {
        Verb::Tail(args) => tail(&args, &audit_file(config, output)?, output),
        Verb::Search(args) => search(&args, &audit_file(config, output)?, output),
        Verb::Verify(args) => verify(args, config, output),
        Verb::Export(Export { format: _, period }) => {
            let found = |line: &str, value: &Value| !period.fits(value) || output.raw(line);
            each_line(&audit_file(config, output)?, found)
        }
    }
}

fn audit_file(config: &Path, output: &Output) -> Result<PathBuf, Failure> {
    read_config(config, output)?
        .audit
        .file
        .ok_or_else(|| Failure::new(Exit::Failed, "audit.file is \"\": events are written to no file"))
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(Exit::Failed, format!("{} can't be read: {error}", path.display()))
}

/// Shows every line that is JSON to `one`, the oldest first, until that says `false`.
fn each_line(path: &Path, mut one: impl FnMut(&str, &Value) -> bool) -> Result<(), Failure> {
    let files = rotated::files(path).map_err(unreadable(path))?;
    if files.is_empty() {
        return Err(unreadable(path)(io::ErrorKind::NotFound.into()));
    }
    for file in files {
        for line in rotated::lines(&file).map_err(unreadable(&file))? {
            let line = line.map_err(unreadable(&file))?;
            let Ok(line) = String::from_utf8(line) else { continue };
            let Ok(value) = serde_json::from_str(&line) else { continue };
            if !one(&line, &value) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn tail(args: &Tail, path: &Path, output: &Output) -> Result<(), Failure> {
    let mut latest = std::collections::VecDeque::new();
    // From here on it is followed: nothing falls between.
    let mut followed = args.follow.then(|| Followed::at_the_end(path)).flatten();
    each_line(path, |line, value| {
        latest.push_back((line.to_owned(), value.clone()));
        if latest.len() > args.lines {
            latest.pop_front();
        }
        true
    })?;
    for (line, value) in latest {
        show(&line, &value, output);
    }
    while let Some(file) = &mut followed {
        let reads_on = file.new_lines(path, |line| match serde_json::from_str(line) {
            Ok(value) => show(line, &value, output),
            Err(_) => true,
        });
        if !reads_on.map_err(unreadable(path))? {
            break;
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a verb has nothing else to do between two looks")]
fn pause() {
    thread::sleep(LOOK);
}

/// A file that others append to, and move away.
struct Followed {
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl Followed {
    fn at_the_end(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self { reader: BufReader::new(file), line: Vec::new() })
    }

    /// Shows the lines that were added to `one`; whether it wants more.
    fn new_lines(&mut self, path: &Path, mut one: impl FnMut(&str) -> bool) -> io::Result<bool> {
        loop {
            // Looked at first: whatever the moved file still got is read before the new one.
            let there = fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
            loop {
                self.reader.read_until(b'\n', &mut self.line)?;
                if self.line.pop_if(|last| *last == b'\n').is_none() {
                    break;
                }
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                if !one(&line) {
                    return Ok(false);
                }
            }
            let metadata = self.reader.get_ref().metadata()?;
            if there.is_none() || there == Some((metadata.dev(), metadata.ino())) {
                return Ok(true);
            }
            *self = Self { reader: BufReader::new(File::open(path)?), line: Vec::new() };
        }
    }
}

fn search(args: &Search, path: &Path, output: &Output) -> Result<(), Failure> {
    let mut found = 0_u64;
    each_line(path, |line, value| {
        if !args.fits(value) {
            return true;
        }
        found += 1;
        show(line, value, output)
    })?;
    if found == 0 {
        output.talk("no event fits");
    }
    Ok(())
}

/// One event, as a line for people or as it stands in the file. Whether somebody still reads.
fn show(line: &str, value: &Value, output: &Output) -> bool {
    if output.is_json() {
        return output.raw(line);
    }
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let mut words = vec![
        text("/@timestamp").unwrap_or("-").to_owned(),
        text("/event/action").unwrap_or("-").to_owned(),
        text("/event/outcome").unwrap_or("-").to_owned(),
    ];
    for (name, pointer) in [
        ("from", "/source/ip"),
        ("user", "/user/name"),
        ("upstream-user", "/pvegate/upstream_user"),
        ("token", "/pvegate/token"),
        ("method", "/pvegate/method"),
        ("session", "/pvegate/session"),
        ("node", "/destination/address"),
        ("network", "/pvegate/network"),
        ("until", "/pvegate/until"),
        ("path", "/url/path"),
        ("request", "/http/request/id"),
        ("reason", "/event/reason"),
    ] {
        if let Some(found) = text(pointer) {
            // What a client chose must not steer a terminal.
            words.push(format!("{name}={}", found.escape_debug()));
        }
    }
    if let Some(count) = value.pointer("/pvegate/count") {
        words.push(format!("count={count}"));
    }
    output.raw(&words.join("  "))
}

impl Period {
    fn fits(&self, value: &Value) -> bool {
        let at = value.pointer("/@timestamp").and_then(Value::as_str).and_then(Timestamp::parse);
        match at {
            Some(at) => {
                self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
            }
            None => self.since.is_none() && self.until.is_none(),
        }
    }
}

impl Search {
    fn fits(&self, value: &Value) -> bool {
        let is = |wanted: &Option<String>, pointers: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| {
                pointers.iter().any(|pointer| value.pointer(pointer).and_then(Value::as_str) == Some(wanted))
            })
        };
        let ip = value.pointer("/source/ip").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
        self.period.fits(value)
            && is(&self.user, &["/user/name", "/pvegate/upstream_user"])
            && is(&self.action, &["/event/action"])
            && is(&self.outcome, &["/event/outcome"])
            && self.ip.is_none_or(|network| ip.is_some_and(|ip| network.contains(&ip)))
    }
}

/// What a walk over all lines found.
#[derive(Debug, Default)]
struct Walk {
    lines: u64,
    first: Option<Head>,
    last: Option<Head>,
    broken: Option<(PathBuf, u64, Flaw)>,
    contains: bool,
}

fn verify(args: Verify, config: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(config, output)?;
    let files = if args.files.is_empty() {
        let path = config
            .audit
            .file
            .ok_or_else(|| Failure::new(Exit::Failed, "audit.file is \"\": events are written to no file"))?;
        rotated::files(&path).map_err(unreadable(&path))?
    } else {
        args.files
    };
    let key = if args.without_seals {
        None
    } else {
        match MasterKey::read(&config.master_key_file) {
            Ok(master) => Some(master.derive(Purpose::AuditSeals).for_macs()),
            Err(error) => {
                output.talk(&format!("{error}: hashes and order are checked, seals are not"));
                None
            }
        }
    };
    let walk = walk(&files, key.as_ref(), args.contains)?;
    let missing = args.contains.filter(|_| !walk.contains);
    let head =
        |head: Option<Head>| head.map(|it| json!({ "sequence": it.sequence, "hash": it.hash.to_string() }));
    let broken = walk.broken.as_ref();
    output.object(&json!({
        "lines": walk.lines,
        "first": head(walk.first),
        "last": head(walk.last),
        "seals": key.is_some(),
        "broken": broken.map(|(file, line, flaw)| json!({
            "file": file, "line": line, "after": walk.last.map_or(0, |head| head.sequence), "problem": flaw.to_string(),
        })),
        "missing": missing.map(|hash| hash.to_string()),
    }));
    if let Some((file, line, flaw)) = broken {
        let after =
            walk.last.map_or_else(String::new, |head| format!("; whole up to event {}", head.sequence));
        let message = format!("{}:{line}: this line {flaw}{after}", file.display());
        return Err(Failure::new(Exit::Changed, message));
    }
    if let Some(hash) = missing {
        let message = format!("no line has the hash {hash}: lines were cut off, or the files are others");
        return Err(Failure::new(Exit::Changed, message));
    }
    let (Some(first), Some(last)) = (walk.first, walk.last) else {
        output.talk("there are no events yet");
        return Ok(());
    };
    if first.sequence > 1 {
        output.talk(&format!("events before {} are in no file that is here", first.sequence));
    }
    output.data_for_people(&format!(
        "{} events are whole, {} to {}; the last hash is {}",
        walk.lines, first.sequence, last.sequence, last.hash
    ));
    Ok(())
}

/// Goes over all lines until one is wrong.
fn walk(files: &[PathBuf], key: Option<&MacKey>, contains: Option<Hash>) -> Result<Walk, Failure> {
    let mut walk = Walk::default();
    for file in files {
        let mut number = 0;
        for line in rotated::lines(file).map_err(unreadable(file))? {
            let line = line.map_err(unreadable(file))?;
            number += 1;
            let whole = std::str::from_utf8(&line).map_err(|_| Flaw::Foreign).and_then(|line| {
                let link = chain::check(line, key)?;
                // The oldest files may be gone; what is there begins where it begins.
                walk.last.map_or(Ok(()), |last| link.follows(last)).map(|()| link)
            });
            match whole {
                Ok(link) => {
                    walk.lines += 1;
                    walk.first.get_or_insert(link.head);
                    walk.last = Some(link.head);
                    walk.contains |= [link.head.hash, link.before.hash].map(Some).contains(&contains);
                }
                Err(flaw) => {
                    walk.broken = Some((file.clone(), number, flaw));
                    return Ok(walk);
                }
            }
        }
    }
    Ok(walk)
}

fn hash(text: &str) -> Result<Hash, &'static str> {
    Hash::parse(text).ok_or("a hash is 64 hexadecimal digits")
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "this is no address and no network")
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Some(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    duration::parse(text)
        .map(|ago| SystemClock.now().minus(ago))
        .map_err(|error| format!("it is no time such as 2026-11-24T14:00:00Z, and as a duration: {error}"))
}
