//! `pvegate user …`: what can be said; what is done about it is in `person` (list, show), `user_state`
//! (unlock, disable, enable) and `user_change` (rename, role, delete).

use std::{path::Path, time::Duration};

use clap::Subcommand;
use serde_json::json;

use super::{
    Desk, Exit, Failure,
    choice::choice,
    group,
    invite::{self, parse_ttl},
    output::Output,
    person, user_change, user_state,
};
use crate::{
    account::{GroupName, InvitationPurpose, Role, UserName},
    audit::{Action, Event, Outcome},
    store::{Added, Store as _},
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
        /// A group to put them into; can be given several times.
        #[arg(long, value_name = "GROUP")]
        group: Vec<GroupName>,
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
    List(person::Wanted),
    /// Show everything about somebody.
    ///
    /// Role, state, sign-in methods, recovery codes, the link that still works,
    /// sessions, and whether codes are locked. What happened lately is told by
    /// `pvegate activity`. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Show {
        /// Whom, e.g. alice
        name: UserName,
    },
    /// Say which groups somebody is in, and change that.
    ///
    /// Policies name people by their groups; a change reaches the running gate
    /// within a second, and a session that does not meet what is demanded of its
    /// user then ends. A group exists while somebody is in it.
    #[command(verbatim_doc_comment)]
    Group(group::Change),
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
    /// Give somebody another name.
    ///
    /// Sign-in methods, sessions and history stay theirs; from now on they sign in by
    /// the new name. A passkey may go on showing the old one. Wherever the
    /// configuration names them, the old name stays until you change it there.
    #[command(verbatim_doc_comment)]
    Rename {
        /// Whom, e.g. alice
        old: UserName,
        /// What they are called from now on.
        new: UserName,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Make somebody an administrator of the gate, or not any more.
    ///
    /// Their sessions go on with the new rights. It says nothing about what they may
    /// do in Proxmox VE. The last administrator stays one.
    #[command(verbatim_doc_comment)]
    Role {
        /// Whom, e.g. alice
        name: UserName,
        /// What they may do from now on.
        #[arg(value_parser = choice(&Role::ALL, Role::as_str))]
        role: Role,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Delete somebody, with everything of theirs.
    ///
    /// Sign-in methods, recovery codes, links and history are gone for good; their
    /// sessions end and their consoles close within a second. What the audit log has
    /// stays there. `pvegate user disable` is what can be undone. The last
    /// administrator can't be deleted.
    #[command(verbatim_doc_comment)]
    Delete {
        /// Whom, e.g. alice
        name: UserName,
        /// Do not ask. Where nobody can answer it must be said.
        #[arg(long)]
        yes: bool,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::Add { name, admin, group, no_invite, ttl } => {
            add(&mut desk, &name, admin, &group, (!no_invite).then_some(ttl), output)
        }
        Verb::List(wanted) => person::list(&mut desk, wanted, output),
        Verb::Show { name } => person::show(&mut desk, &name, output),
        Verb::Group(change) => group::run(&mut desk, &change, output),
        Verb::Unlock { name } => user_state::unlock(&mut desk, &name, output),
        Verb::Disable { name, reason } => user_state::disable(&mut desk, &name, reason, output),
        Verb::Enable { name } => user_state::enable(&mut desk, &name, output),
        Verb::Rename { old, new, reason } => user_change::rename(&mut desk, &old, &new, reason, output),
        Verb::Role { name, role, reason } => user_change::set_role(&mut desk, &name, role, reason, output),
        Verb::Delete { name, yes, reason } => user_change::delete(&mut desk, &name, yes, reason, output),
    }
}

fn add(
    desk: &mut Desk,
    name: &UserName,
    admin: bool,
    groups: &[GroupName],
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
    desk.store.regroup(user.id, groups, &[])?;
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
