//! `pvegate backup`

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Failure, ask, open_audit, output::Output, place::Placing, read_config};
use crate::{
    audit::{Action, Event, Outcome},
    backup::{self, Backup, Part},
    config::Config,
    secret::{self, MasterKey},
    store,
    time::{Clock as _, SystemClock},
    tls,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write, which only its owner may read.
    file: PathBuf,
    /// Read the passphrase from the first line of this file; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Leave out sessions and known devices: everybody signs in again after a restore.
    #[arg(long)]
    without_sessions: bool,
    /// Write over a file that is there.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    if fs::metadata(&args.file).is_ok_and(|there| !there.is_file()) {
        let message = format!(
            "{} is no file; a backup is one, and takes the place of no other thing",
            args.file.display()
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    if args.file.exists() && !args.yes {
        let message = format!("{} is there already; --yes writes over it", args.file.display());
        return Err(Failure::new(Exit::Refused, message));
    }
    if !config.store.path.exists() {
        let message = format!("there is no store at {} yet: nothing to back up", config.store.path.display());
        return Err(Failure::new(Exit::NoSuchThing, message));
    }
    let (backup, contents) = collect(&config, path, args.without_sessions)?;
    let passphrase = passphrase(args.passphrase_file.as_deref(), Twice::Yes, output)?;
    let sealed = backup.seal(&passphrase).map_err(|error| Failure::of(Exit::Failed, &error))?;
    Placing::stage(&args.file, &sealed, 0o600)?.place()?;
    open_audit(&config)?.record(&Event::new(Action::Backup, Outcome::Success));

    let sha256 = data_encoding::HEXLOWER.encode(&secret::sha256(&sealed));
    let object = json!({
        "file": args.file.display().to_string(),
        "bytes": sealed.len(),
        "users": contents.users,
        "sessions": contents.sessions,
        "schema": contents.schema,
        "sha256": sha256,
    });
    output.data(&object, || {
        format!(
            "{}: {} bytes, users: {}, schema: {}, SHA-256: {sha256}",
            args.file.display(),
            sealed.len(),
            contents.users,
            contents.schema
        )
    });
    if let tls::Source::Files { cert, key } = &config.tls {
        let (cert, key) = (cert.display(), key.display());
        output.talk(&format!("not in it, since another program renews them: {cert}, {key}"));
    }
    output.talk("Keep file and passphrase in different places, neither of them on this machine.");
    output.talk(&format!("To see whether it is good: pvegate restore --verify {}", args.file.display()));
    Ok(())
}

fn collect(
    config: &Config,
    path: &Path,
    without_sessions: bool,
) -> Result<(Backup, store::Contents), Failure> {
    // Read as the gate reads it, so that no backup holds a key that is none.
    MasterKey::read(&config.master_key_file).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let mut database = store::snapshot(&config.store.path)?;
    if without_sessions {
        database = store::without_sessions(&database)?;
    }
    let contents = store::inspect(&database)?;
    let mut backup = Backup::new(SystemClock.now(), config.gate.public_url.origin());
    backup.put(Part::MasterKey, read(&config.master_key_file)?);
    backup.put(Part::Store, Zeroizing::new(database));
    match &config.tls {
        tls::Source::LocalCa { dir } => {
            // There is none before the first start.
            for (part, name) in [(Part::CaCertificate, "ca.pem"), (Part::CaKey, "ca.key")] {
                let file = dir.join(name);
                if file.exists() {
                    backup.put(part, read(&file)?);
                }
            }
        }
        tls::Source::Files { .. } => {}
    }
    // In a container the environment may say everything.
    if path.exists() {
        backup.put(Part::Configuration, read(path)?);
    }
    Ok((backup, contents))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(path, &error))
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} can't be read: {error}", path.display()))
}

/// Whether a passphrase is asked for a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// It is new, and nothing else would tell of a slip.
    Yes,
    /// A wrong one opens nothing.
    No,
}

/// The passphrase, from a file, a line of stdin, or somebody at a terminal.
pub(super) fn passphrase(
    file: Option<&Path>,
    twice: Twice,
    output: &Output,
) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match file {
        Some(path) if path.as_os_str() != "-" => {
            let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Some(_) | None => {
            let typed = ask::hidden("Passphrase of the backup (not shown here):", output)?;
            if twice == Twice::Yes && ask::somebody() {
                let again = ask::hidden("The same once more:", output)?;
                if !secret::equal(typed.as_bytes(), again.as_bytes()) {
                    return Err(Failure::new(
                        Exit::Failed,
                        "that was not the same twice: nothing was written",
                    ));
                }
            }
            typed
        }
    };
    if twice == Twice::Yes {
        backup::acceptable(&passphrase).map_err(|error| Failure::of(Exit::Failed, &error))?;
    }
    Ok(passphrase)
}
