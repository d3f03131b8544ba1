//! `pvegate user add|list`

use std::{path::Path, time::Duration};

use clap::Subcommand;
use serde_json::json;

use super::{
    Desk, Exit, Failure,
    invite::{self, parse_ttl},
    output::{Output, relative},
};
use crate::{
    account::{Invitation, Role, UserName},
    audit::{Action, Event, Outcome},
    store::{Added, Store as _},
    time::Timestamp,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Add somebody and print the link with which they set up their sign-in methods.
    Add {
        /// 1 to 32 of a-z, 0-9, `.`, `_`, `-`; e.g. alice
        name: UserName,
        /// May invite, disable and unlock others.
        #[arg(long)]
        admin: bool,
        /// Print no link; `pvegate invite` makes one later.
        #[arg(long)]
        no_invite: bool,
        /// How long the link works.
        #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_ttl)]
        ttl: Duration,
    },
    /// List everybody: role, sign-in methods, last sign-in.
    List,
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::Add { name, admin, no_invite, ttl } => {
            add(&mut desk, &name, admin, (!no_invite).then_some(ttl), output)
        }
        Verb::List => list(&mut desk, output),
    }
}

fn add(
    desk: &mut Desk,
    name: &UserName,
    admin: bool,
    invite: Option<Duration>,
    output: &Output,
) -> Result<(), Failure> {
    let role = if admin { Role::Admin } else { Role::User };
    let user = match desk.store.add_user(name, role, desk.now)? {
        Added::New(user) => user,
        Added::Exists => {
            let message =
                format!("there is a user `{name}` already; `pvegate invite {name}` makes a new link");
            return Err(Failure::new(Exit::Refused, message));
        }
    };
    desk.audit.record(&Event::new(Action::UserAdd, Outcome::Success).of(name));
    output.talk(&format!("added {name}{}", if admin { ", an administrator" } else { "" }));
    match invite {
        Some(ttl) => invite::make(desk, &user, ttl, true, output),
        None => {
            output.data(&json!({ "user": name.as_str() }), || format!("pvegate invite {name}"));
            Ok(())
        }
    }
}

fn list(desk: &mut Desk, output: &Output) -> Result<(), Failure> {
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for user in desk.store.users()? {
        let authenticators = desk.store.authenticators(user.id)?;
        let invitation = desk.store.latest_invitation(user.id)?;
        let last = authenticators.iter().filter_map(|a| a.last_used_at).max();
        let admin = user.role == Role::Admin;
        let state = match (user.disabled_at, authenticators.is_empty()) {
            (Some(_), _) => "disabled".to_owned(),
            (None, false) => "active".to_owned(),
            (None, true) => pending(invitation.as_ref(), desk.now),
        };
        objects.push(json!({
            "name": user.name.as_str(),
            "admin": admin,
            "state": state,
            "totp": authenticators.len(),
            "created_at": user.created_at.to_string(),
            "last_sign_in_at": last.map(|at| at.to_string()),
        }));
        rows.push(vec![
            user.name.to_string(),
            if admin { "admin" } else { "user" }.to_owned(),
            state,
            authenticators.len().to_string(),
            last.map_or_else(|| "never".to_owned(), |at| relative(at, desk.now)),
        ]);
    }
    output.list(&objects, &["USER", "ROLE", "STATE", "TOTP", "LAST SIGN-IN"], &rows);
    Ok(())
}

fn pending(invitation: Option<&Invitation>, now: Timestamp) -> String {
    match invitation {
        Some(invitation) if invitation.used_at.is_none() && invitation.expires_at > now => {
            let minutes = invitation.expires_at.since(now).as_secs().div_ceil(60);
            format!("invited, {minutes} min left")
        }
        Some(_) => "invitation expired".to_owned(),
        None => "not invited".to_owned(),
    }
}
