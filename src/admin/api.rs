//! `pvegate api add|list|remove`: rules for API tokens, in the configuration file.

use std::{net::IpAddr, num::NonZeroU32, path::Path};

use clap::Subcommand;
use ipnet::IpNet;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Exit, Failure, ask, open_audit, output::Output, read_config};
use crate::{
    audit::{Action, Event, Outcome},
    config::edit::{self, EditError},
    gate::api_token::{PathPattern, Rule, SecretHash, TokenId, is_secret},
    secret::{MasterKey, Purpose},
    time::{Clock as _, SystemClock, Timestamp},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write a rule: what one API token may do, and from where.
    ///
    /// Asks for the token's secret, or reads a line of stdin; it is never an
    /// argument. Only a hash of it is kept, under the master key. The rule goes to
    /// the end of the configuration file, if the whole is right with it; all else
    /// there stays as it stands. It counts from the next start of the gate. The
    /// audit log records it.
    #[command(verbatim_doc_comment)]
    Add(Box<New>),
    /// List the rules of the configuration file.
    ///
    /// The first that permits a request decides. Nothing is changed.
    #[command(verbatim_doc_comment)]
    List,
    /// Remove every rule of a token from the configuration file.
    ///
    /// It counts from the next start of the gate, which ends the token's tunnels
    /// too. To take a token's rights away at once, remove it in Proxmox VE. The
    /// audit log records it.
    #[command(verbatim_doc_comment)]
    Remove {
        /// Whose rules, e.g. automation@pve!backup
        #[arg(value_parser = parse_token)]
        token: TokenId,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The token as Proxmox VE names it, e.g. automation@pve!backup
    #[arg(value_parser = parse_token)]
    token: TokenId,
    /// A network or address that it may be used from; several times for several.
    #[arg(long, required = true, value_name = "NETWORK", value_parser = parse_network)]
    from: Vec<IpNet>,
    /// A call that it may make: `*` is any one segment, `**` at the end the rest.
    #[arg(long = "path", required = true, value_name = "PATTERN", value_parser = parse_pattern)]
    paths: Vec<PathPattern>,
    /// A method that it may use.
    #[arg(long = "method", value_name = "METHOD", default_values = ["GET"], value_parser = ["GET", "POST", "PUT", "DELETE"])]
    methods: Vec<String>,
    /// Requests: so many at once, and as many a minute.
    #[arg(long, value_name = "NUMBER", default_value = "600")]
    rate: NonZeroU32,
    /// From when on it is good, e.g. 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    not_before: Option<Timestamp>,
    /// Until when it is good, e.g. 2027-06-30T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    not_after: Option<Timestamp>,
    /// Print the rule, and change no file.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    match verb {
        Verb::Add(new) => add(*new, config, output),
        Verb::List => list(config, output),
        Verb::Remove { token } => remove(&token, config, output),
    }
}

fn add(new: New, path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    let master =
        MasterKey::read(&config.master_key_file).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let secret = ask_for_secret(output)?;
    let methods = new.methods.iter().filter_map(|method| method.parse().ok()).collect();
    let rule = Rule {
        secret_hash: SecretHash::of(new.token.as_str(), &secret, &master.derive(Purpose::ApiTokens)),
        token: new.token,
        from: new.from,
        methods,
        paths: new.paths,
        rate: new.rate,
        not_before: new.not_before,
        not_after: new.not_after,
    };
    if new.print {
        output
            .data(&object(config.gate.api_rules.len(), &rule), || edit::written(&rule).trim_end().to_owned());
        return Ok(());
    }
    edit::add_rule(path, &rule, std::env::vars())?;
    open_audit(&config)?
        .record(&Event::new(Action::ApiRuleAdd, Outcome::Success).with_token(rule.token.as_str()));
    output.object(&object(config.gate.api_rules.len(), &rule));
    output.talk(&format!(
        "{} has a rule for {}; it counts from the next start of the gate",
        path.display(),
        rule.token
    ));
    Ok(())
}

fn list(path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    let rules = &config.gate.api_rules;
    let now = SystemClock.now();
    let objects: Vec<_> = rules.iter().enumerate().map(|(number, rule)| object(number, rule)).collect();
    let rows: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(number, rule)| {
            vec![
                number.to_string(),
                rule.token.to_string(),
                joined(&rule.from, " "),
                joined(&rule.methods, " "),
                joined(&rule.paths, " "),
                format!("{}/min", rule.rate),
                good(rule, now),
            ]
        })
        .collect();
    let none = "there is no rule, so no API token passes; `pvegate api add` writes one";
    output.list(&objects, &["RULE", "TOKEN", "FROM", "METHODS", "PATHS", "RATE", "GOOD"], &rows, none);
    Ok(())
}

fn remove(token: &TokenId, path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    let removed = edit::remove_rules(path, token, std::env::vars())?;
    if removed == 0 {
        let message = format!("there is no rule for `{token}`; `pvegate api list` shows all");
        return Err(Failure::new(Exit::NoSuchThing, message));
    }
    open_audit(&config)?
        .record(&Event::new(Action::ApiRuleRemove, Outcome::Success).with_token(token.as_str()));
    output.data(&json!({ "token": token.as_str(), "removed": removed }), || {
        format!("removed {removed} of {token}; it counts from the next start of the gate")
    });
    Ok(())
}

/// Reads the secret: a line of stdin, which a terminal does not show.
fn ask_for_secret(output: &Output) -> Result<Zeroizing<String>, Failure> {
    let secret = ask::hidden("Secret of the token, as Proxmox VE showed it once (not shown here):", output)?;
    if is_secret(&secret) {
        return Ok(secret);
    }
    let message = "this is not the secret of an API token, which looks like 01234567-89ab-cdef-0123-456789abcdef: \
                   Proxmox VE shows it once, when the token is made";
    Err(Failure::new(Exit::Failed, message))
}

fn object(number: usize, rule: &Rule) -> Value {
    let texts = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>();
    json!({
        "rule": number,
        "token": rule.token.as_str(),
        "secret_hash": rule.secret_hash.to_string(),
        "from": texts(&mut rule.from.iter().map(ToString::to_string)),
        "methods": texts(&mut rule.methods.iter().map(ToString::to_string)),
        "paths": texts(&mut rule.paths.iter().map(ToString::to_string)),
        "rate": rule.rate,
        "not_before": rule.not_before.map(|at| at.to_string()),
        "not_after": rule.not_after.map(|at| at.to_string()),
    })
}

/// When a rule is good, for people.
fn good(rule: &Rule, now: Timestamp) -> String {
    match (rule.not_before, rule.not_after) {
        _ if rule.is_over(now) => "not any more".to_owned(),
        (Some(begin), _) if now < begin => format!("from {begin}"),
        (_, Some(end)) => format!("until {end}"),
        (_, None) => "always".to_owned(),
    }
}

fn joined<T: ToString>(values: &[T], between: &str) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

pub(super) fn parse_token(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).map_err(|reason| format!("not a token such as root@pam!backup: {reason}"))
}

fn parse_pattern(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(str::to_owned)
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "not a network such as 10.0.0.0/24, nor an address".to_owned())
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not a time such as 2027-01-31T00:00:00Z".to_owned())
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let exit = match error {
            EditError::File { .. } => Exit::Failed,
            EditError::Wrong(_) => Exit::BadConfiguration,
            EditError::List | EditError::NoPin { .. } => Exit::Refused,
        };
        Self::of(exit, &error)
    }
}
