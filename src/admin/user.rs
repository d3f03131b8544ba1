//! `pvegate user add|list`; the verbs that change what somebody may do are in `user_state`.

use std::{path::Path, time::Duration};

use clap::Subcommand;
use serde_json::json;

use super::{
    Desk, Exit, Failure,
    invite::{self, parse_ttl},
    output::{Output, relative},
    user_state,
};
use crate::{
    account::{CredentialKind, Invitation, InvitationPurpose, Role, UserName},
    audit::{Action, Event, Outcome},
    store::{Added, Store as _},
    time::Timestamp,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Add somebody, and print the link with which they set up their sign-in.
    ///
    /// Until they have used it they can't sign in. The audit log records it.
    #[command(verbatim_doc_comment)]
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
    ///
    /// KEYS are passkeys and security keys, APPS authenticator apps, CODES the
    /// recovery codes that are left. Nothing is changed.
    #[command(verbatim_doc_comment)]
    List,
    /// Forget the wrong codes of an account.
    ///
    /// Codes then work again on devices that never signed in. Known devices,
    /// passkeys and recovery codes are not locked by strangers and need no
    /// unlocking. The guesses of the year are forgotten too: as many again may be
    /// made after it.
    #[command(verbatim_doc_comment)]
    Unlock {
        /// Whom, e.g. alice
        name: UserName,
    },
    /// Keep somebody from signing in.
    ///
    /// Their sessions end and their consoles close within a second, and their
    /// devices are forgotten. The last administrator can't be disabled.
    #[command(verbatim_doc_comment)]
    Disable {
        /// Whom, e.g. alice
        name: UserName,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let somebody sign in again.
    ///
    /// With the methods that they had; nothing else is given back.
    #[command(verbatim_doc_comment)]
    Enable {
        /// Whom, e.g. alice
        name: UserName,
    },
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::Add { name, admin, no_invite, ttl } => {
            add(&mut desk, &name, admin, (!no_invite).then_some(ttl), output)
        }
        Verb::List => list(&mut desk, output),
        Verb::Unlock { name } => user_state::unlock(&mut desk, &name, output),
        Verb::Disable { name, reason } => user_state::disable(&mut desk, &name, reason, output),
        Verb::Enable { name } => user_state::enable(&mut desk, &name, output),
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
        Some(ttl) => invite::make(desk, &user, InvitationPurpose::Enrol, ttl, true, output),
        None => {
            output.object(&json!({ "user": name.as_str() }));
            output.talk(&format!("`pvegate invite {name}` prints a link when they need one"));
            Ok(())
        }
    }
}

fn list(desk: &mut Desk, output: &Output) -> Result<(), Failure> {
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for user in desk.store.users()? {
        let authenticators = desk.store.authenticators(user.id)?;
        let invitation = desk.store.latest_invitation(user.id)?;
        let credentials = desk.store.credentials(user.id)?;
        let codes = desk.store.recovery_codes(user.id)?;
        let by_app = authenticators.iter().filter_map(|app| app.last_used_at);
        let last = by_app.chain(credentials.iter().filter_map(|key| key.last_used_at)).max();
        let of = |kind| credentials.iter().filter(|key| key.kind == kind).count();
        let admin = user.role == Role::Admin;
        let state = match (user.disabled_at, authenticators.is_empty() && credentials.is_empty()) {
            (Some(_), _) => State::Disabled,
            (None, false) => State::Active,
            (None, true) => State::pending(invitation.as_ref(), desk.now),
        };
        objects.push(json!({
            "name": user.name.as_str(),
            "admin": admin,
            "state": state.word(),
            "invited_until": state.invited_until().map(|at| at.to_string()),
            "passkeys": of(CredentialKind::Passkey),
            "security_keys": of(CredentialKind::SecurityKey),
            "totp": authenticators.len(),
            "recovery_codes": { "left": codes.left, "of": codes.of },
            "created_at": user.created_at.to_string(),
            "last_sign_in_at": last.map(|at| at.to_string()),
        }));
        rows.push(vec![
            user.name.to_string(),
            if admin { "admin" } else { "user" }.to_owned(),
            state.told(desk.now),
            credentials.len().to_string(),
            authenticators.len().to_string(),
            format!("{}/{}", codes.left, codes.of),
            last.map_or_else(|| "never".to_owned(), |at| relative(at, desk.now)),
        ]);
    }
    let nobody = "there is nobody yet; `pvegate user add NAME --admin` adds the first";
    output.list(&objects, &["USER", "ROLE", "STATE", "KEYS", "APPS", "CODES", "LAST SIGN-IN"], &rows, nobody);
    Ok(())
}

/// How far somebody is.
#[derive(Debug, Clone, Copy)]
enum State {
    Disabled,
    Active,
    Invited(Timestamp),
    InvitationExpired,
    NotInvited,
}

impl State {
    /// Of somebody without a sign-in method.
    fn pending(invitation: Option<&Invitation>, now: Timestamp) -> Self {
        match invitation {
            Some(invitation) if invitation.used_at.is_none() && invitation.expires_at > now => {
                Self::Invited(invitation.expires_at)
            }
            Some(_) => Self::InvitationExpired,
            None => Self::NotInvited,
        }
    }

    /// For programs: these words stay.
    fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Active => "active",
            Self::Invited(_) => "invited",
            Self::InvitationExpired => "invitation-expired",
            Self::NotInvited => "not-invited",
        }
    }

    fn invited_until(self) -> Option<Timestamp> {
        match self {
            Self::Invited(until) => Some(until),
            Self::Disabled | Self::Active | Self::InvitationExpired | Self::NotInvited => None,
        }
    }

    /// For people.
    fn told(self, now: Timestamp) -> String {
        match self {
            Self::Invited(until) => {
                format!("invited, {} min left", until.since(now).as_secs().div_ceil(60))
            }
            Self::InvitationExpired => "invitation expired".to_owned(),
            Self::NotInvited => "not invited".to_owned(),
            Self::Disabled | Self::Active => self.word().to_owned(),
        }
    }
}
