//! The command line: one file a verb.
//!
//! Data goes to stdout, talk to stderr; `--json` makes data one JSON object (lists: one a line). Every
//! verb works on the store, and running gates follow it: there is no privileged socket.

mod access;
mod activity;
mod api;
mod ask;
mod audit_log;
mod backup;
mod ban;
mod check;
mod choice;
mod configuration;
mod demo;
mod exit;
mod export;
mod factor;
mod fields;
mod fingerprint;
mod group;
mod healthcheck;
mod invite;
mod lockdown;
mod manual;
mod output;
mod panic;
mod person;
mod place;
mod prefix;
mod recovery_codes;
mod report;
mod restore;
pub mod serve;
mod session;
mod status;
mod supervisor;
mod user;
mod user_change;
mod user_state;
mod version;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

pub use exit::{Exit, Failure};
pub use fields::{FIELDS, Field};

use crate::{
    account::{User, UserName},
    audit::{self, Event, Reason},
    config::{self, Config},
    secret::{MasterKey, Purpose},
    store::{SqliteStore, Store},
    time::{Clock as _, SystemClock, Timestamp},
};
use output::{Output, Talk};

/// Where help lists the options that every verb takes.
const EVERYWHERE: &str = "Options of every verb";

/// An authenticating, TLS-terminating reverse proxy in front of Proxmox VE.
///
/// Nobody reaches Proxmox VE before they have signed in here.
/// `pvegate demo` shows it on this machine, with nothing to set up.
#[derive(Debug, Parser)]
#[command(name = "pvegate", version, verbatim_doc_comment, propagate_version = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, help_heading = EVERYWHERE, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = config::DEFAULT_PATH)]
    config: PathBuf,

    /// Print data as JSON: one object, or one a line for lists.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,

    /// Say nothing beside the data, but why it failed.
    #[arg(long, short, global = true, help_heading = EVERYWHERE, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more: which files are read and written; `serve` then logs at level debug.
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    verbose: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Try the gate on this machine, with a stand-in for Proxmox VE behind it.
    ///
    /// Needs no set-up: makes its own certificate, database and keys in a directory
    /// that it names, and prints a link to enrol. Listens on loopback only. Touches
    /// nothing else. To undo it, remove the directory. `--config` is not read: the
    /// demo writes a configuration into its directory, which the other verbs take
    /// by `--config`.
    #[command(verbatim_doc_comment)]
    Demo(demo::Args),
    /// Run the gate.
    ///
    /// Reads the configuration, opens the database and serves until it is told to
    /// stop (SIGTERM or SIGINT); running requests then get 30 s to finish. What is
    /// missing is made at the first start: the database, the master key and, with
    /// tls.source = "local-ca", the authority. A wrong configuration ends it with
    /// exit code 78, and nothing was served.
    #[command(verbatim_doc_comment)]
    Serve(serve::Args),
    /// Say what is wrong here, and what to do about it.
    ///
    /// Looks at the configuration, the gate's files, its ports and certificate,
    /// Proxmox VE's nodes, the clock, the address list, ways around the gate, people
    /// with a single sign-in method, disks and limits. Asks nodes for two pages
    /// that they refuse; changes nothing without --fix. Exit code 3 if something
    /// does not work or a guarantee does not hold, 78 for a wrong configuration.
    #[command(verbatim_doc_comment)]
    Check(check::Args),
    /// Add, list, show, rename, disable and delete people; unlock their codes.
    ///
    /// A running gate knows of a change at once; nothing needs a restart.
    #[command(subcommand, verbatim_doc_comment)]
    User(user::Verb),
    /// Print a one-time link with which somebody sets up their sign-in methods.
    ///
    /// The link works once and from an allowed address; whoever opens it enrols as
    /// this user, so hand it over where nobody else reads along. Earlier links of
    /// the same user stop working; their sessions and sign-in methods stay. The
    /// audit log records it. `pvegate invite list` shows which links still work,
    /// `pvegate invite revoke` makes one void.
    #[command(verbatim_doc_comment)]
    Invite(invite::Args),
    /// List, rename and remove sign-in methods.
    ///
    /// They are added by their owners, with a link that `pvegate invite` prints.
    #[command(subcommand, verbatim_doc_comment)]
    Factor(factor::Verb),
    /// Count and renew recovery codes.
    ///
    /// A code signs its owner in once, when everything else is lost.
    #[command(subcommand, verbatim_doc_comment)]
    RecoveryCodes(recovery_codes::Verb),
    /// Lock somebody's account and end everything they have open, at once.
    ///
    /// Sessions and consoles close within a second; links and known devices are
    /// void. `pvegate user enable` lifts it.
    #[command(verbatim_doc_comment)]
    Panic(panic::Args),
    /// List and end sessions.
    ///
    /// A session is one browser's sign-in. Ending it ends its consoles and
    /// transfers as well.
    #[command(subcommand, verbatim_doc_comment)]
    Session(session::Verb),
    /// Show what happened to somebody's account: the latest first.
    ///
    /// Sign-ins, failures, changes of sign-in methods and ends of sessions of the
    /// last 90 days, at most 300 successes and 100 failures: what its owner reads on
    /// the page "Sessions and activity". The audit log has all. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Activity(activity::Args),
    /// Add, list and remove rules for API tokens.
    ///
    /// Proxmox VE asks no second factor of an API token. Without a rule none passes
    /// the gate.
    #[command(subcommand, verbatim_doc_comment)]
    Api(api::Verb),
    /// Say who may do what, and which rule decides.
    ///
    /// Nothing is sent and nothing is changed.
    #[command(subcommand, verbatim_doc_comment)]
    Access(access::Verb),
    /// List, add and remove bans of networks.
    ///
    /// The gate bans sources by itself after failed sign-ins, malformed requests
    /// and floods: briefly at first, and longer each time. [limits] says when.
    #[command(subcommand, verbatim_doc_comment)]
    Ban(ban::Verb),
    /// Read the audit log, and check that nobody changed it.
    ///
    /// Reads the file of audit.file and what logrotate made of earlier ones
    /// (audit.jsonl.1, audit.jsonl.2.gz). Nothing is changed.
    #[command(subcommand, verbatim_doc_comment)]
    Audit(audit_log::Verb),
    /// Check, show and explain the configuration.
    ///
    /// Nothing is changed.
    #[command(subcommand, verbatim_doc_comment)]
    Config(configuration::Verb),
    /// Write store, configuration, master key and authority to one encrypted file.
    ///
    /// The gate may go on serving: the copy is of one moment. The passphrase is
    /// asked for, or read from a file or a line of stdin; it is never an argument,
    /// and without it nobody opens the file. `pvegate restore --verify` checks it.
    /// Nothing is changed.
    #[command(verbatim_doc_comment)]
    Backup(backup::Args),
    /// Put a backup in place, on this host or a fresh one.
    ///
    /// The whole file is checked before anything is written. The configuration in
    /// it goes to --config and says where the rest goes; with --keep-config the one
    /// that is here does. What is there already is replaced only with --yes, and
    /// kept beside. A gate that runs on the store must be stopped first.
    #[command(verbatim_doc_comment)]
    Restore(restore::Args),
    /// Show how the gate that runs is: nodes, sessions, certificate, audit.
    ///
    /// Every gate on the database is asked, and tells of itself. Exit code 6: none
    /// runs. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Status,
    /// Ask whether the gate is alive, or ready; for containers and scripts.
    ///
    /// Says nothing if all is well. Asks at metrics.listen, or, where there is none,
    /// at server.listen, by TLS and with the gate's own certificate alone. Exit code
    /// 1: it answers, and is not well; 6: it does not answer. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Healthcheck(healthcheck::Args),
    /// Print a server's certificate fingerprint, as Proxmox VE shows it.
    ///
    /// Nothing is sent but a TLS greeting. Compare the value with Node, System,
    /// Certificates, and put it into upstream.fingerprint. With the server of the
    /// configuration it is compared with the pin there; another certificate ends it
    /// with exit code 3 and shows both. Nothing is changed, but with --write: then it
    /// asks, puts the new value into the configuration file in place of the old, and
    /// the audit log records it. It counts from the next start of the gate.
    #[command(verbatim_doc_comment)]
    Fingerprint(fingerprint::Args),
    /// Close the way around the gate: ports 8006 and 3128 of Proxmox VE itself.
    ///
    /// Prints rules for nftables and lines for pveproxy, by which these ports answer
    /// the gate and the cluster's nodes only; nothing else is closed, SSH least of
    /// all. On the gate's host its addresses and the nodes' come from the
    /// configuration; elsewhere say --gate, and --peer for the other nodes. --apply
    /// loads the rules, and the kernel opens the ports again by itself unless
    /// `pvegate lockdown --confirm` comes in time. SPICE does not pass the gate.
    #[command(verbatim_doc_comment)]
    Lockdown(lockdown::Args),
    /// Print or write the files for other programs that go with this version.
    ///
    /// What reads the gate's log, watches, starts or guards it. A file that is there
    /// and different is replaced with --yes only. Nothing is changed without --to.
    #[command(verbatim_doc_comment)]
    Export(export::Args),
    /// Print the version, and what this program was built for.
    ///
    /// Name both in a report about it. `schema` is that of the databases which it
    /// reads. Nothing is read and nothing is changed.
    #[command(verbatim_doc_comment)]
    Version,
    /// Print a script that completes verbs and options in a shell.
    ///
    /// For whoever makes a package. By hand, in bash:
    /// source <(pvegate completions bash)
    #[command(verbatim_doc_comment, hide = true)]
    Completions(manual::Completions),
    /// Write the manual into a directory: a page for each verb.
    ///
    /// For whoever makes a package. Pages that are there already are written anew.
    #[command(verbatim_doc_comment, hide = true)]
    Man(manual::Man),
}

/// Runs the command line that was given.
#[must_use]
pub fn run() -> Exit {
    let cli = Cli::parse();
    let talk = match (cli.quiet, cli.verbose) {
        (true, _) => Talk::Quiet,
        (false, true) => Talk::Verbose,
        (false, false) => Talk::Usual,
    };
    let output = Output::new(cli.json, talk);
    let done = match cli.verb {
        Verb::Demo(args) => demo::run(args, &output),
        Verb::Serve(args) => serve::run(&args, &cli.config, &output),
        Verb::Check(args) => check::run(&args, &cli.config, &output),
        Verb::User(verb) => user::run(verb, &cli.config, &output),
        Verb::Invite(args) => invite::run(args, &cli.config, &output),
        Verb::Factor(verb) => factor::run(verb, &cli.config, &output),
        Verb::RecoveryCodes(verb) => recovery_codes::run(verb, &cli.config, &output),
        Verb::Panic(args) => panic::run(args, &cli.config, &output),
        Verb::Session(verb) => session::run(verb, &cli.config, &output),
        Verb::Activity(args) => activity::run(args, &cli.config, &output),
        Verb::Api(verb) => api::run(verb, &cli.config, &output),
        Verb::Access(verb) => access::run(&verb, &cli.config, &output),
        Verb::Ban(verb) => ban::run(verb, &cli.config, &output),
        Verb::Audit(verb) => audit_log::run(verb, &cli.config, &output),
        Verb::Config(verb) => configuration::run(verb, &cli.config, &output),
        Verb::Backup(args) => backup::run(&args, &cli.config, &output),
        Verb::Restore(args) => restore::run(&args, &cli.config, &output),
        Verb::Status => status::run(&cli.config, &output),
        Verb::Healthcheck(args) => healthcheck::run(&args, &cli.config, &output),
        Verb::Fingerprint(args) => fingerprint::run(&args, &cli.config, &output),
        Verb::Lockdown(args) => lockdown::run(&args, &cli.config, &output),
        Verb::Export(args) => export::run(&args, &output),
        Verb::Version => version::run(&output),
        Verb::Completions(args) => manual::completions(args, &output),
        Verb::Man(args) => manual::man(&args, &output),
    };
    match done.and_then(|()| output.written()) {
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
    output.detail(&format!("configuration: {}", path.display()));
    Ok(config)
}

/// Where events of the command line go: all but the journal, which is for services.
fn open_audit(config: &Config) -> Result<audit::Log, Failure> {
    let master = MasterKey::read_or_create(&config.master_key_file)
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    audit::Log::open(
        &audit::Settings { line: audit::Line::Nowhere, ..config.audit.clone() },
        std::sync::Arc::new(SystemClock),
        Some(master.derive(Purpose::AuditSeals)),
    )
    .map_err(|error| Failure::of(Exit::Failed, &error))
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
        output.detail(&format!("store: {}", config.store.path.display()));
        if let Some(file) = &config.audit.file {
            output.detail(&format!("audit log: {}", file.display()));
        }
        let store = SqliteStore::open(&config.store.path)?;
        let audit = open_audit(&config)?;
        Ok(Self { config, store, audit, now: SystemClock.now() })
    }

    fn user(&mut self, name: &UserName) -> Result<User, Failure> {
        if let Some(user) = self.store.user_by_name(name)? {
            return Ok(user);
        }
        let users = self.store.users()?;
        let near = config::nearest(name.as_str(), users.iter().map(|user| user.name.as_str()));
        let help = near.map_or_else(
            || "`pvegate user list` names all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Err(Failure::new(Exit::NoSuchThing, format!("there is no user `{name}`; {help}")))
    }
}

/// The event with the reason that somebody gave, and a word that tells what it is a reason for.
fn given(event: Event, word: &'static str, reason: Option<String>) -> Event {
    match reason {
        Some(reason) => event.because(Reason::new(word, reason)),
        None => event,
    }
}

/// Facts for people, one a line: what, and how it is.
fn lines(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    let lines: Vec<_> = facts.iter().map(|(what, is)| format!("  {what:<width$}  {is}")).collect();
    lines.join("\n")
}

/// What a verb did to somebody's account is for its owner to read too. The audit log has it whatever becomes
/// of this.
impl Drop for Desk {
    fn drop(&mut self) {
        let entries = self.audit.take_history();
        if !entries.is_empty() {
            let _ = self.store.record_history(&entries);
        }
    }
}
