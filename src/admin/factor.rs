//! `pvegate factor list|delete`

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Desk, Exit, Failure,
    output::{Output, relative},
};
use crate::{
    account::{CredentialKind, FactorId, User, UserName},
    audit::{Action, Event, Outcome, Reason},
    store::{Removed, Store as _},
    time::Timestamp,
};

/// Digits of an identifier that lists show.
const SHOWN: usize = 12;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List sign-in methods: passkeys, security keys, authenticator apps.
    ///
    /// Nothing is changed.
    #[command(verbatim_doc_comment)]
    List {
        /// Only this user's.
        user: Option<UserName>,
    },
    /// Remove sign-in methods of somebody who lost them.
    ///
    /// All sessions of the user end. The audit log keeps who was concerned and why.
    /// `pvegate invite NAME --purpose recover` gives them a way to set up new ones.
    #[command(verbatim_doc_comment, group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Delete {
        /// Whose.
        user: UserName,
        /// The one whose identifier begins so.
        #[arg(group = "which", value_name = "ID")]
        id: Option<String>,
        /// Every one, with the recovery codes and the password.
        #[arg(long, group = "which")]
        all: bool,
        /// Also if it is the last: only a new link leads in then.
        #[arg(long)]
        yes: bool,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// A sign-in method, of whichever kind, as lists show it.
struct Listed {
    id: FactorId,
    kind: &'static str,
    name: String,
    synced: Option<bool>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::List { user } => list(&mut desk, user.as_ref(), output),
        Verb::Delete { user, id, all: _, yes, reason } => {
            let user = desk.user(&user)?;
            delete(&mut desk, &user, id.as_deref(), yes, reason, output)
        }
    }
}

fn list(desk: &mut Desk, only: Option<&UserName>, output: &Output) -> Result<(), Failure> {
    let users = match only {
        Some(name) => vec![desk.user(name)?],
        None => desk.store.users()?,
    };
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for user in users {
        for factor in of(desk, &user)? {
            objects.push(object(&user, &factor));
            rows.push(vec![
                factor.id.0.chars().take(SHOWN).collect(),
                user.name.to_string(),
                factor.kind.to_owned(),
                factor.name,
                relative(factor.created_at, desk.now),
                factor.last_used_at.map_or_else(|| "never".to_owned(), |at| relative(at, desk.now)),
                if factor.synced == Some(true) { "synced" } else { "" }.to_owned(),
            ]);
        }
    }
    let head = ["ID", "USER", "KIND", "NAME", "ADDED", "LAST USED", ""];
    output.list(&objects, &head, &rows, "no sign-in methods yet");
    Ok(())
}

fn of(desk: &mut Desk, user: &User) -> Result<Vec<Listed>, Failure> {
    let apps = desk.store.authenticators(user.id)?.into_iter().map(|app| Listed {
        id: app.id,
        kind: "totp",
        name: app.name,
        synced: None,
        created_at: app.created_at,
        last_used_at: app.last_used_at,
    });
    let keys = desk.store.credentials(user.id)?.into_iter().map(|key| Listed {
        id: key.id,
        kind: key.kind.as_str(),
        name: key.name,
        synced: Some(key.synced),
        created_at: key.created_at,
        last_used_at: key.last_used_at,
    });
    Ok(keys.chain(apps).collect())
}

fn object(user: &User, factor: &Listed) -> Value {
    json!({
        "id": factor.id.0,
        "user": user.name.as_str(),
        "kind": factor.kind,
        "name": factor.name,
        "synced": factor.synced,
        "created_at": factor.created_at.to_string(),
        "last_used_at": factor.last_used_at.map(|at| at.to_string()),
    })
}

fn delete(
    desk: &mut Desk,
    user: &User,
    beginning: Option<&str>,
    yes: bool,
    reason: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let present = of(desk, user)?;
    let one = match beginning {
        Some(beginning) => Some(unique(&present, user, beginning)?),
        None => None,
    };
    let left = if one.is_some() { present.len().saturating_sub(1) } else { 0 };
    // A security key is asked for after a code, and is no way in by itself.
    let is_way_in = |factor: &Listed| {
        factor.kind != CredentialKind::SecurityKey.as_str()
            && one.as_ref().is_some_and(|one| factor.id != *one)
    };
    if !present.iter().any(is_way_in) && !yes {
        let what = if left == 0 { "no sign-in method" } else { "nothing but security keys" };
        let message = format!(
            "{what} of {name} would be left: say --yes, and give them a new link with `pvegate invite {name} --purpose recover`",
            name = user.name
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let Removed { factors, sessions } = desk.store.remove_factors(user.id, one.as_ref(), desk.now)?;
    let mut event = Event::new(Action::FactorRemove, Outcome::Success).of(&user.name);
    if let Some(reason) = reason {
        event = event.because(Reason::new("removed", reason));
    }
    desk.audit.record(&event);
    let object =
        json!({ "user": user.name.as_str(), "removed": factors, "left": left, "sessions_ended": sessions });
    output.data(&object, || {
        format!("removed {factors} of {}; {left} left; {sessions} sessions ended", user.name)
    });
    Ok(())
}

fn unique(present: &[Listed], user: &User, beginning: &str) -> Result<FactorId, Failure> {
    let beginning = beginning.to_ascii_lowercase();
    let mut found = present.iter().filter(|factor| factor.id.0.starts_with(&beginning));
    match (found.next(), found.next()) {
        (Some(factor), None) => Ok(factor.id.clone()),
        (None, _) => {
            let name = &user.name;
            let message =
                format!("{name} has no sign-in method `{beginning}`; `pvegate factor list {name}` names all");
            Err(Failure::new(Exit::NoSuchThing, message))
        }
        (Some(_), Some(_)) => {
            let message = format!("more than one sign-in method begins with `{beginning}`: give more of it");
            Err(Failure::new(Exit::NoSuchThing, message))
        }
    }
}
