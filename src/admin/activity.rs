//! `pvegate activity`

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{
    Desk, Failure,
    output::{Output, relative},
};
use crate::{
    account::UserName,
    config::duration,
    store::{Entry, Store as _},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose account.
    user: UserName,
    /// Only what happened within this time, e.g. 24h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,
}

pub(super) fn run(args: Args, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    let user = desk.user(&args.user)?;
    let mut entries = desk.store.history(user.id)?;
    if let Some(since) = args.since {
        let since = desk.now.minus(since);
        entries.retain(|entry| entry.at >= since);
    }
    let objects: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "at": entry.at.to_string(),
                "action": entry.happened.as_str(),
                "outcome": outcome(entry),
                "client": entry.client.map(|client| client.to_string()),
                "new_address": entry.from_new_address,
                "method": entry.method,
                "session": entry.session.map(|session| session.to_string()),
                "reason": entry.reason,
            })
        })
        .collect();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut from = entry.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
            if entry.from_new_address {
                from.push_str(" (new)");
            }
            vec![
                relative(entry.at, desk.now),
                entry.happened.as_str().to_owned(),
                outcome(entry).to_owned(),
                from,
                entry.method.clone().unwrap_or_else(|| "-".to_owned()),
                entry.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let nothing = format!("nothing is known to have happened to {}'s account", user.name);
    output.list(&objects, &["WHEN", "WHAT", "OUTCOME", "FROM", "METHOD", "REASON"], &rows, &nothing);
    Ok(())
}

fn outcome(entry: &Entry) -> &'static str {
    if entry.succeeded { "success" } else { "failure" }
}
