//! `pvegate session list|revoke`

use std::{path::Path, time::Duration};

use clap::Subcommand;
use serde_json::json;

use super::{
    Desk, Exit, Failure,
    output::{Output, relative},
};
use crate::{
    account::{EndReason, Session, SessionId, UserId, UserName},
    audit::{Action, Event, Outcome, Reason},
    config::duration,
    store::{Sessions, Store as _},
};

/// Digits of an identifier that lists show.
const SHOWN: usize = 12;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the sessions that have not ended.
    ///
    /// Times of activity are written down every few seconds, so they may lag a
    /// little. Nothing is changed.
    #[command(verbatim_doc_comment)]
    List {
        /// Only this user's.
        user: Option<UserName>,
        /// Only those opened longer ago, e.g. 12h, 7d.
        #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
        older_than: Option<Duration>,
    },
    /// End sessions: requests are refused and consoles closed within a second.
    ///
    /// Running transfers are cut as well. Whoever was signed in may sign in again:
    /// this removes no sign-in method. The audit log records each session with the
    /// reason given.
    #[command(verbatim_doc_comment, group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Revoke {
        /// All of this user's.
        #[arg(group = "which")]
        user: Option<UserName>,
        /// The one whose identifier begins so.
        #[arg(long, group = "which", value_name = "ID")]
        id: Option<String>,
        /// Everybody's.
        #[arg(long, group = "which")]
        all: bool,
        /// Of the user's, or of everybody's, only those opened longer ago, e.g. 7d.
        #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "id")]
        older_than: Option<Duration>,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::List { user, older_than } => list(&mut desk, user.as_ref(), older_than, output),
        // The group above wants one of the three.
        Verb::Revoke { user, id, all: _, older_than, reason } => {
            let user = match user {
                Some(name) => Some(desk.user(&name)?.id),
                None => None,
            };
            let which = match (user, id, older_than) {
                (of, _, Some(age)) => Sessions::OpenedBefore { of, at: desk.now.minus(age) },
                (Some(user), _, None) => Sessions::Of(user),
                (None, Some(id), None) => Sessions::One(one(&mut desk, &id)?),
                (None, None, None) => Sessions::All,
            };
            revoke(&mut desk, &which, reason, output)
        }
    }
}

fn list(
    desk: &mut Desk,
    user: Option<&UserName>,
    older_than: Option<Duration>,
    output: &Output,
) -> Result<(), Failure> {
    let only: Option<UserId> = match user {
        Some(name) => Some(desk.user(name)?.id),
        None => None,
    };
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    let before = older_than.map(|age| desk.now.minus(age));
    let mut sessions = live(desk)?;
    sessions.retain(|session| {
        only.is_none_or(|user| session.user == user) && before.is_none_or(|at| session.created_at < at)
    });
    for session in sessions {
        let name = desk.store.user(session.user)?.map_or_else(String::new, |user| user.name.to_string());
        objects.push(json!({
            "id": session.id.to_string(),
            "user": name,
            "method": session.method.as_str(),
            "client": session.client.to_string(),
            "user_agent": session.user_agent,
            "created_at": session.created_at.to_string(),
            "last_active_at": session.last_active_at.to_string(),
            "expires_at": session.expires_at.to_string(),
        }));
        rows.push(vec![
            session.id.to_string().chars().take(SHOWN).collect(),
            name,
            session.client.to_string(),
            relative(session.created_at, desk.now),
            relative(session.last_active_at, desk.now),
            session.method.as_str().to_owned(),
        ]);
    }
    let nobody = match (user, older_than) {
        (Some(name), None) => format!("{name} is not signed in"),
        (None, None) => "nobody is signed in".to_owned(),
        (_, Some(_)) => "no session is so old".to_owned(),
    };
    output.list(&objects, &["ID", "USER", "FROM", "SIGNED IN", "LAST ACTIVE", "METHOD"], &rows, &nobody);
    Ok(())
}

fn live(desk: &mut Desk) -> Result<Vec<Session>, Failure> {
    Ok(desk.store.live_sessions(desk.now)?)
}

/// The session whose identifier begins so.
fn one(desk: &mut Desk, beginning: &str) -> Result<SessionId, Failure> {
    let beginning = beginning.to_ascii_lowercase();
    let ids: Vec<SessionId> = live(desk)?.into_iter().map(|session| session.id).collect();
    let mut found = ids.into_iter().filter(|id| id.to_string().starts_with(&beginning));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => {
            let message = format!(
                "no session's identifier begins with `{beginning}`; `pvegate session list` names all"
            );
            Err(Failure::new(Exit::NoSuchThing, message))
        }
        (Some(_), Some(_)) => {
            let message =
                format!("more than one session's identifier begins with `{beginning}`: give more of it");
            Err(Failure::new(Exit::NoSuchThing, message))
        }
    }
}

fn revoke(desk: &mut Desk, which: &Sessions, reason: Option<String>, output: &Output) -> Result<(), Failure> {
    let ended = desk.store.end_sessions(which, EndReason::Revoked, desk.now)?;
    for id in &ended {
        let mut event = Event::new(Action::SessionRevoke, Outcome::Success).in_session(*id);
        if let Some(session) = desk.store.session(*id)?
            && let Some(user) = desk.store.user(session.user)?
        {
            event = event.of(&user.name);
        }
        if let Some(reason) = &reason {
            event = event.because(Reason::new("revoked", reason));
        }
        desk.audit.record(&event);
    }
    let ids: Vec<String> = ended.iter().map(SessionId::to_string).collect();
    let count = ids.len();
    output.data(&json!({ "ended": count, "ids": ids }), || match count {
        1 => "ended 1 session".to_owned(),
        count => format!("ended {count} sessions"),
    });
    Ok(())
}
