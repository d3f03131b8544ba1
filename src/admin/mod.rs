//! The command line: one file a verb.
//!
//! Data goes to stdout, talk to stderr; `--json` makes data one JSON object (lists: one a line). Every
//! verb works on the store, and running gates follow it: there is no privileged socket.

mod demo;
mod exit;
mod fingerprint;
mod invite;
mod output;
pub mod serve;
mod session;
mod user;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::{
    account::{User, UserName},
    audit,
    config::{self, Config},
    store::{SqliteStore, Store},
    time::{Clock as _, SystemClock, Timestamp},
};
use output::Output;

/// An authenticating, TLS-terminating reverse proxy in front of Proxmox VE.
#[derive(Debug, Parser)]
#[command(name = "pvegate", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,

    /// Print data as JSON: one object, or one a line for lists.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Try the gate on this machine, with a stand-in for Proxmox VE behind it.
    ///
    /// Needs no set-up: makes its own certificate, database and keys in a directory that it names, and
    /// prints a link to enrol. Listens on loopback only. To undo it, remove the directory.
    Demo(demo::Args),
    /// Run the gate.
    ///
    /// Reads the configuration, opens the database and serves until it is told to stop.
    Serve(serve::Args),
    /// Add and list people.
    #[command(subcommand)]
    User(user::Verb),
    /// Print a one-time link with which somebody sets up their sign-in methods.
    ///
    /// Earlier links of the same user stop working.
    Invite(invite::Args),
    /// List and end sessions.
    #[command(subcommand)]
    Session(session::Verb),
    /// Print a server's certificate fingerprint, as Proxmox VE's interface shows it.
    ///
    /// Nothing is sent but a TLS greeting. Compare the value with Node, System, Certificates, and put
    /// it into upstream.fingerprint.
    Fingerprint(fingerprint::Args),
}

/// Runs the command line that was given.
#[must_use]
pub fn run() -> Exit {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let done = match cli.verb {
        Verb::Demo(args) => demo::run(args, &output),
        Verb::Serve(args) => serve::run(&args, &cli.config, &output),
        Verb::User(verb) => user::run(verb, &cli.config, &output),
        Verb::Invite(args) => invite::run(args, &cli.config, &output),
        Verb::Session(verb) => session::run(verb, &cli.config, &output),
        Verb::Fingerprint(args) => fingerprint::run(&args, &cli.config, &output),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    }
}

/// Reads the configuration and says what is to be warned of.
fn read_config(path: &std::path::Path, output: &Output) -> Result<Config, Failure> {
    let (config, warnings) = config::load(path, std::env::vars())
        .map_err(|problems| Failure::new(Exit::BadConfiguration, problems.to_string()))?;
    for warning in warnings {
        output.talk(&warning.to_string());
    }
    Ok(config)
}

/// What a verb that works on the store needs.
struct Desk {
    config: Config,
    store: SqliteStore,
    audit: audit::Log,
    now: Timestamp,
}

impl Desk {
    fn open(path: &std::path::Path, output: &Output) -> Result<Self, Failure> {
        let config = read_config(path, output)?;
        let store = SqliteStore::open(&config.store.path)?;
        let audit = audit::Log::open(
            &audit::Settings { line: false, ..config.audit.clone() },
            std::sync::Arc::new(SystemClock),
        )
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
        Ok(Self { config, store, audit, now: SystemClock.now() })
    }

    fn user(&mut self, name: &UserName) -> Result<User, Failure> {
        let found = self.store.user_by_name(name)?;
        found.ok_or_else(|| {
            Failure::new(
                Exit::NoSuchThing,
                format!("there is no user `{name}`; `pvegate user list` names all"),
            )
        })
    }
}
