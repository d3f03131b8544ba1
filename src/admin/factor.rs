//! `pvegate factor list|rename|delete`

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Desk, Exit, Failure,
    choice::choice,
    given,
    output::{self, Output, relative},
    prefix::{self, Named},
};
use crate::{
    account::{CredentialKind, FactorId, User, UserName, factor_name},
    audit::{Action, Event, Outcome},
    store::{Removed, Renamed, Store as _},
    time::Timestamp,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List sign-in methods: passkeys, security keys, authenticator apps.
    ///
    /// Nothing is changed.
    #[command(verbatim_doc_comment)]
    List {
        /// Only this user's.
        user: Option<UserName>,
        /// Only those of this kind.
        #[arg(long = "type", value_name = "KIND", value_parser = choice(&Kind::ALL, Kind::as_str))]
        kind: Option<Kind>,
    },
    /// Give a sign-in method another name.
    ///
    /// The name is what its owner tells it by, and nothing else depends on it. They
    /// can do this themselves, on the page of their sign-in methods.
    #[command(verbatim_doc_comment)]
    Rename {
        /// Whose.
        user: UserName,
        /// The beginning of its identifier, as `pvegate factor list` shows it.
        id: String,
        /// What it is called from now on, e.g. "blue key"; up to 64 characters.
        #[arg(value_parser = parse_name)]
        name: String,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
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
        /// Do not ask, even if only a new link leads in then.
        #[arg(long)]
        yes: bool,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// What a sign-in method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A passkey or a security key.
    Credential(CredentialKind),
    /// An authenticator app.
    App,
}

impl Kind {
    const ALL: [Self; 3] =
        [Self::Credential(CredentialKind::Passkey), Self::Credential(CredentialKind::SecurityKey), Self::App];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Credential(kind) => kind.as_str(),
            Self::App => "totp",
        }
    }

    /// Whether it signs in by itself; a security key is asked for after a code.
    const fn is_way_in(self) -> bool {
        match self {
            Self::Credential(CredentialKind::Passkey) | Self::App => true,
            Self::Credential(CredentialKind::SecurityKey) => false,
        }
    }
}

/// A sign-in method, of whichever kind, as lists show it.
pub(super) struct Listed {
    id: FactorId,
    kind: Kind,
    name: String,
    synced: Option<bool>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl Named for Listed {
    fn id(&self) -> String {
        self.id.0.clone()
    }

    fn told(&self) -> String {
        format!("{} \"{}\"", self.kind.as_str(), self.name)
    }
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::List { user, kind } => list(&mut desk, user.as_ref(), kind, output),
        Verb::Rename { user, id, name, reason } => {
            let user = desk.user(&user)?;
            rename(&mut desk, &user, &id, &name, reason, output)
        }
        Verb::Delete { user, id, all: _, yes, reason } => {
            let user = desk.user(&user)?;
            delete(&mut desk, &user, id.as_deref(), yes, reason, output)
        }
    }
}

fn list(
    desk: &mut Desk,
    only: Option<&UserName>,
    kind: Option<Kind>,
    output: &Output,
) -> Result<(), Failure> {
    let users = match only {
        Some(name) => vec![desk.user(name)?],
        None => desk.store.users()?,
    };
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for user in users {
        for factor in of(desk, &user)?.iter().filter(|factor| kind.is_none_or(|kind| factor.kind == kind)) {
            objects.push(object(&user, factor));
            let mut row = row(factor, desk.now);
            row.insert(1, user.name.to_string());
            rows.push(row);
        }
    }
    let nothing = if kind.is_some() { "no sign-in methods of that kind" } else { "no sign-in methods yet" };
    output.list(&objects, &["ID", "USER", "KIND", "NAME", "ADDED", "LAST USED", ""], &rows, nothing);
    Ok(())
}

fn row(factor: &Listed, now: Timestamp) -> Vec<String> {
    vec![
        prefix::shown(&factor.id.0),
        factor.kind.as_str().to_owned(),
        factor.name.clone(),
        relative(factor.created_at, now),
        factor.last_used_at.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        if factor.synced == Some(true) { "synced" } else { "" }.to_owned(),
    ]
}

/// Somebody's, for people; `None` where there is none.
pub(super) fn table(methods: &[Listed], now: Timestamp) -> Option<String> {
    let rows: Vec<_> = methods.iter().map(|method| row(method, now)).collect();
    (!rows.is_empty()).then(|| output::table(&["ID", "KIND", "NAME", "ADDED", "LAST USED", ""], &rows))
}

/// Somebody's sign-in methods: keys, then apps.
pub(super) fn of(desk: &mut Desk, user: &User) -> Result<Vec<Listed>, Failure> {
    let apps = desk.store.authenticators(user.id)?.into_iter().map(|app| Listed {
        id: app.id,
        kind: Kind::App,
        name: app.name,
        synced: None,
        created_at: app.created_at,
        last_used_at: app.last_used_at,
    });
    let keys = desk.store.credentials(user.id)?.into_iter().map(|key| Listed {
        id: key.id,
        kind: Kind::Credential(key.kind),
        name: key.name,
        synced: Some(key.synced),
        created_at: key.created_at,
        last_used_at: key.last_used_at,
    });
    Ok(keys.chain(apps).collect())
}

/// One, for programs.
pub(super) fn object(user: &User, factor: &Listed) -> Value {
    json!({
        "id": factor.id.0,
        "user": user.name.as_str(),
        "kind": factor.kind.as_str(),
        "name": factor.name,
        "synced": factor.synced,
        "created_at": factor.created_at.to_string(),
        "last_used_at": factor.last_used_at.map(|at| at.to_string()),
    })
}

fn one<'a>(present: &'a [Listed], user: &User, beginning: &str) -> Result<&'a Listed, Failure> {
    let list = format!("pvegate factor list {}", user.name);
    prefix::only(present, beginning, &format!("sign-in method of {}", user.name), &list)
}

fn rename(
    desk: &mut Desk,
    user: &User,
    beginning: &str,
    name: &str,
    reason: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let present = of(desk, user)?;
    let one = one(&present, user, beginning)?;
    match desk.store.rename_factor(user.id, &one.id, name)? {
        Renamed::Now => {}
        Renamed::NoSuchMethod => {
            return Err(Failure::new(Exit::NoSuchThing, "the sign-in method is gone meanwhile"));
        }
    }
    let event = Event::new(Action::FactorRename, Outcome::Success).of(&user.name);
    desk.audit.record(&given(event, "renamed", reason));
    let object = json!({
        "id": one.id.0,
        "user": user.name.as_str(),
        "name": name,
        "before": one.name,
    });
    output.data(&object, || format!("{} of {} is called \"{name}\" now", one.told(), user.name));
    Ok(())
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
    let gone = match beginning {
        Some(beginning) => Some(&one(&present, user, beginning)?.id),
        None => None,
    };
    let left: Vec<&Listed> =
        present.iter().filter(|factor| gone.is_some_and(|gone| factor.id != *gone)).collect();
    if !left.iter().any(|factor| factor.kind.is_way_in()) {
        let what = if left.is_empty() { "no sign-in method" } else { "nothing but security keys" };
        let name = &user.name;
        let what = format!(
            "{what} of {name} would be left, and only a new link leads in then \
             (`pvegate invite {name} --purpose recover`)"
        );
        output.consent(yes, &what)?;
    }
    let left = left.len();
    let Removed { factors, sessions } = desk.store.remove_factors(user.id, gone, desk.now)?;
    let event = Event::new(Action::FactorRemove, Outcome::Success).of(&user.name);
    desk.audit.record(&given(event, "removed", reason));
    let object =
        json!({ "user": user.name.as_str(), "removed": factors, "left": left, "sessions_ended": sessions });
    output.data(&object, || {
        format!("removed {factors} of {}; {left} left; sessions ended: {sessions}", user.name)
    });
    Ok(())
}

fn parse_name(text: &str) -> Result<String, String> {
    let name = factor_name(text);
    if name.is_empty() { Err("a name has at least one character".to_owned()) } else { Ok(name) }
}
