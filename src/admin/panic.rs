//! `pvegate panic`

use std::path::Path;

use serde_json::json;

use super::{Desk, Failure, given, output::Output};
use crate::{
    account::UserName,
    audit::{Action, Event, Outcome},
    store::Store as _,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose account.
    user: UserName,
    /// Why; the audit log keeps it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(args: Args, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    let user = desk.user(&args.user)?;
    let ended = desk.store.panic(user.id, desk.now)?;
    let event = Event::new(Action::Panic, Outcome::Success).of(&user.name);
    desk.audit.record(&given(event, "panic", args.reason));
    let name = &user.name;
    let object = json!({ "user": name.as_str(), "sessions_ended": ended });
    output.data(&object, || {
        format!(
            "{name} is locked; sessions ended: {ended}; links and known devices are void.\n\
             To let them in again:\n  pvegate user enable {name}\n  pvegate invite {name} --purpose recover"
        )
    });
    Ok(())
}
