//! `pvegate session list|revoke`

use std::{path::Path, time::Duration};

use clap::Subcommand;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    Desk, Failure,
    ban::network,
    given,
    output::{self, Output, relative},
    prefix::{self, Named},
};
use crate::{
    account::{EndReason, Session, SessionId, UserId, UserName},
    audit::{Action, Event, Outcome},
    config::duration,
    store::{Sessions, Store as _},
    time::Timestamp,
};

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
        /// Only those opened from this address or network.
        #[arg(long, value_name = "NETWORK", value_parser = network)]
        from: Option<IpNet>,
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
        Verb::List { user, older_than, from } => {
            list(&mut desk, &Filter { user: user.as_ref(), older_than, from }, output)
        }
        // The group above wants one of the three.
        Verb::Revoke { user, id, all: _, older_than, reason } => {
            let user = match user {
                Some(name) => Some(desk.user(&name)?.id),
                None => None,
            };
            let which = match (user, id, older_than) {
                (of, _, Some(age)) => Sessions::OpenedBefore { of, at: desk.now.minus(age) },
                (Some(user), _, None) => Sessions::Of(user),
                (None, Some(id), None) => {
                    let all = listed(&mut desk, None)?;
                    Sessions::One(prefix::only(&all, &id, "session", "pvegate session list")?.session.id)
                }
                (None, None, None) => Sessions::All,
            };
            revoke(&mut desk, &which, reason, output)
        }
    }
}

/// Which sessions a list is to name.
struct Filter<'a> {
    user: Option<&'a UserName>,
    older_than: Option<Duration>,
    from: Option<IpNet>,
}

/// A session with the name of its owner.
pub(super) struct Listed {
    pub(super) session: Session,
    user: String,
}

impl Named for Listed {
    fn id(&self) -> String {
        self.session.id.to_string()
    }

    fn told(&self) -> String {
        format!("of {}, from {}", self.user, self.session.client)
    }
}

impl Listed {
    /// For programs.
    pub(super) fn object(&self) -> Value {
        let session = &self.session;
        json!({
            "id": session.id.to_string(),
            "user": self.user,
            "method": session.method.as_str(),
            "scope": session.scope.as_str(),
            "client": session.client.to_string(),
            "user_agent": session.user_agent,
            "created_at": session.created_at.to_string(),
            "last_active_at": session.last_active_at.to_string(),
            "expires_at": session.expires_at.to_string(),
        })
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        vec![
            prefix::shown(&self.id()),
            self.session.client.to_string(),
            relative(self.session.created_at, now),
            relative(self.session.last_active_at, now),
            self.session.method.as_str().to_owned(),
        ]
    }
}

fn list(desk: &mut Desk, filter: &Filter<'_>, output: &Output) -> Result<(), Failure> {
    let only: Option<UserId> = match filter.user {
        Some(name) => Some(desk.user(name)?.id),
        None => None,
    };
    let before = filter.older_than.map(|age| desk.now.minus(age));
    let mut sessions = listed(desk, only)?;
    sessions.retain(|Listed { session, .. }| {
        before.is_none_or(|at| session.created_at < at)
            && filter.from.is_none_or(|network| network.contains(&session.client.to_canonical()))
    });
    let objects: Vec<_> = sessions.iter().map(Listed::object).collect();
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            let mut row = session.row(desk.now);
            row.insert(1, session.user.clone());
            row
        })
        .collect();
    let nobody = match filter {
        Filter { user: Some(name), older_than: None, from: None } => format!("{name} is not signed in"),
        Filter { user: None, older_than: None, from: None } => "nobody is signed in".to_owned(),
        Filter { older_than: Some(_), from: None, .. } => "no session is so old".to_owned(),
        Filter { from: Some(_), .. } => "no session is like that".to_owned(),
    };
    output.list(&objects, &["ID", "USER", "FROM", "SIGNED IN", "LAST ACTIVE", "METHOD"], &rows, &nobody);
    Ok(())
}

/// Sessions for people, without their owner; `None` where there is none.
pub(super) fn table(sessions: &[Listed], now: Timestamp) -> Option<String> {
    let rows: Vec<_> = sessions.iter().map(|session| session.row(now)).collect();
    (!rows.is_empty()).then(|| output::table(&["ID", "FROM", "SIGNED IN", "LAST ACTIVE", "METHOD"], &rows))
}

/// The sessions that are alive, of one user or of everybody.
pub(super) fn listed(desk: &mut Desk, only: Option<UserId>) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    for session in desk.store.live_sessions(desk.now)? {
        if only.is_none_or(|user| session.user == user) {
            let user = desk.store.user(session.user)?.map_or_else(String::new, |user| user.name.to_string());
            listed.push(Listed { session, user });
        }
    }
    Ok(listed)
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
        desk.audit.record(&given(event, "revoked", reason.clone()));
    }
    let ids: Vec<String> = ended.iter().map(SessionId::to_string).collect();
    let count = ids.len();
    output.data(&json!({ "ended": count, "ids": ids }), || match count {
        1 => "ended 1 session".to_owned(),
        count => format!("ended {count} sessions"),
    });
    Ok(())
}
