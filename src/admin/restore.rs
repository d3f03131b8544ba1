//! `pvegate restore`
//!
//! Everything is judged before anything is written: the whole file, the database in it, the configuration,
//! the places, and whether a gate runs there. Then every file is written beside its place, and only when all
//! of them are on disk are they put there, the key before what it opens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    Exit, Failure,
    backup::{Twice, passphrase, unreadable},
    open_audit,
    output::Output,
    place::{BEFORE, Placing},
    read_config,
};
use crate::{
    audit::{Action, Event, Outcome},
    backup::{Backup, LARGEST, Part},
    config::{self, Config},
    secret,
    store::{self, Alone, Sole},
    tls,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `pvegate backup` wrote.
    file: PathBuf,
    /// Read the passphrase from the first line of this file; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Only check the file and say what is in it; nothing is written.
    #[arg(long)]
    verify: bool,
    /// Keep the configuration that is here, and put the rest where it says.
    #[arg(long)]
    keep_config: bool,
    /// Leave out sessions and known devices: everybody signs in again.
    #[arg(long)]
    without_sessions: bool,
    /// Put it in place of what is there.
    #[arg(long)]
    yes: bool,
}

/// A file and where it goes.
struct Target<'a> {
    path: PathBuf,
    bytes: &'a [u8],
    mode: u32,
}

pub(super) fn run(args: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let file = read(&args.file)?;
    let passphrase = passphrase(args.passphrase_file.as_deref(), Twice::No, output)?;
    let backup = Backup::open(&passphrase, &file).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let Some(database) = backup.part(Part::Store) else {
        return Err(Failure::new(Exit::Failed, "there is no database in this backup"));
    };
    let stripped = if args.without_sessions { store::without_sessions(database)? } else { database.to_vec() };
    let contents = store::inspect(&stripped)?;
    let sha256 = data_encoding::HEXLOWER.encode(&secret::sha256(&file));
    let object = json!({
        "file": args.file.display().to_string(),
        "made_at": backup.made_at.to_string(),
        "version": backup.version,
        "url": backup.url,
        "bytes": file.len(),
        "users": contents.users,
        "sessions": contents.sessions,
        "schema": contents.schema,
        "sha256": sha256,
        "restored": !args.verify,
    });
    let told = |what: &str| {
        format!(
            "{what}: backup of {} made at {} by pvegate {}; {} bytes, users: {}, schema: {}, SHA-256: {sha256}",
            backup.url,
            backup.made_at,
            backup.version,
            file.len(),
            contents.users,
            contents.schema
        )
    };
    if args.verify {
        output.data(&object, || told("good"));
        return Ok(());
    }

    let config = configuration(args, &backup, path, output)?;
    let targets = targets(&config, &backup, &stripped, path, args.keep_config);
    let there: Vec<_> = targets.iter().filter(|target| target.path.exists()).collect();
    if !there.is_empty() && !args.yes {
        let there: Vec<_> = there.iter().map(|target| target.path.display().to_string()).collect();
        let message = format!("there already: {}; --yes puts the backup in place of them", there.join(", "));
        return Err(Failure::new(Exit::Refused, message));
    }
    let sole = if config.store.path.exists() { Some(alone(&config.store.path)?) } else { None };
    let placings: Vec<_> = targets
        .iter()
        .map(|target| Placing::stage_for_the_gate(&target.path, target.bytes, target.mode))
        .collect::<Result<_, _>>()?;
    for placing in placings {
        placing.place_and_keep()?;
    }
    for companion in store::companions(&config.store.path) {
        let _ = fs::remove_file(companion);
    }
    drop(sole);
    open_audit(&config)?.record(&Event::new(Action::Restore, Outcome::Success));

    output.data(&object, || told("restored"));
    if !there.is_empty() {
        output.talk(&format!("What was there before lies beside it, with {BEFORE} behind its name."));
    }
    output.talk("What happened after the backup is undone: recovery codes used since work again,");
    if args.without_sessions {
        output.talk("and who was locked or removed since may sign in again. Nobody is signed in.");
    } else {
        output.talk("who was locked or removed since may sign in again, and sessions that were ended since");
        output.talk("are open again: `pvegate session revoke --all` ends them.");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if length > LARGEST {
        return Err(Failure::new(Exit::Failed, format!("{} is too large for a backup", path.display())));
    }
    fs::read(path).map_err(|error| unreadable(path, &error))
}

/// The configuration that says where everything goes: that of the backup, unless another one is to stay.
fn configuration(args: &Args, backup: &Backup, path: &Path, output: &Output) -> Result<Config, Failure> {
    let in_it = backup.part(Part::Configuration).filter(|_| !args.keep_config);
    let Some(text) = in_it else { return read_config(path, output) };
    let text = String::from_utf8_lossy(text);
    let name = format!("the backup's {}", path.display());
    match config::parse(&text, &name, std::env::vars()) {
        Ok((config, warnings)) => {
            for warning in warnings {
                output.talk(&warning.to_string());
            }
            Ok(config)
        }
        Err(problems) => {
            let message = format!(
                "{problems}\nThe configuration in the backup is not good here. Write one that is to {}, and \
                 take --keep-config.",
                path.display()
            );
            Err(Failure::new(Exit::BadConfiguration, message))
        }
    }
}

/// What goes where: the key first, the database after it, so that whoever is interrupted between has a store
/// that is as old as its key or older.
fn targets<'a>(
    config: &Config,
    backup: &'a Backup,
    database: &'a [u8],
    path: &Path,
    keep_config: bool,
) -> Vec<Target<'a>> {
    let mut targets = Vec::new();
    let mut add = |path: PathBuf, bytes: Option<&'a [u8]>, mode| {
        targets.extend(bytes.map(|bytes| Target { path, bytes, mode }));
    };
    add(config.master_key_file.clone(), backup.part(Part::MasterKey), 0o600);
    match &config.tls {
        tls::Source::LocalCa { dir } => {
            add(dir.join("ca.key"), backup.part(Part::CaKey), 0o600);
            add(dir.join("ca.pem"), backup.part(Part::CaCertificate), 0o644);
        }
        tls::Source::Files { .. } => {}
    }
    add(config.store.path.clone(), Some(database), 0o600);
    if !keep_config {
        add(path.to_owned(), backup.part(Part::Configuration), 0o644);
    }
    targets
}

/// Nobody else may have the store open while it is replaced.
fn alone(path: &Path) -> Result<Sole, Failure> {
    match Sole::take(path)? {
        Alone::Yes(sole) => Ok(sole),
        Alone::InUse => Err(Failure::new(
            Exit::Refused,
            format!("a gate has {} open: stop it first (systemctl stop pvegate)", path.display()),
        )),
    }
}
