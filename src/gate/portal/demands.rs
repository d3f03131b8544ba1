//! What policy makes of a sign-in, once it is proven; and the page that tells somebody what is demanded.
//!
//! [`admit`] is asked in the transaction's own call, before the session is written: it sets what the session is
//! good for, or says why there is none. Somebody is told what is demanded only after they have shown who they
//! are; strangers learn nothing from it. The judgement is in [`demand`].

use http::StatusCode;

use super::{Answer, Visit, next, pages};
use crate::{
    account::{Means, Requirement, Scope, Session},
    audit::Reason,
    connection::reply::Reply,
    gate::{
        Gate,
        demand::{self, Policies, Standing},
    },
    names,
    store::{Store, StoreError},
    time::Timestamp,
};

/// Where somebody in grace is told so.
const PAGE: &str = "demanded";

/// A sign-in that may open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entered {
    /// What is missing, and until when that may be.
    pub(super) grace: Option<(Requirement, Timestamp)>,
}

/// Why a proven sign-in opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// They have what is demanded.
    #[error("the policy demands {}, which they have", .0.as_str())]
    Use(Requirement),
    /// Not at this address.
    #[error("the policy admits the user from other networks only")]
    Elsewhere,
}

impl From<NotAdmitted> for Reason {
    fn from(refusal: NotAdmitted) -> Self {
        let word = match refusal {
            NotAdmitted::Use(_) => "policy_method",
            NotAdmitted::Elsewhere => "policy_network",
        };
        Self::new(word, refusal)
    }
}

impl NotAdmitted {
    /// For the page's script, which has the words.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Use(_) => "unbound",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Judges a sign-in that is about to open `session`, which sets what it is good for and how long it lasts.
/// `added` is what is enrolled together with it.
pub(super) fn admit(
    policies: &Policies,
    store: &mut dyn Store,
    session: &mut Session,
    added: Means,
) -> Result<Result<Entered, NotAdmitted>, StoreError> {
    // Somebody who is gone is refused by what comes next.
    let Some(mut person) = store.person(session.user)? else { return Ok(Ok(Entered { grace: None })) };
    person.means = person.means.and(added);
    let now = session.created_at;
    let demands = policies.demands_on(&person, session.client);
    let facts = policies.facts(&person, session.shown(), session.client, session.client);
    for requirement in demand::unnoted(&demands, &facts) {
        store.demand(session.user, requirement, now)?;
    }
    session.expires_at = session.expires_at.min(now.plus(demands.limits.lifetime));
    let mut grace = None;
    match demand::judge(&demands, &facts, now) {
        Standing::Meets => {}
        Standing::Grace { lacks, until } => grace = Some((lacks, until)),
        Standing::Enrol(_) => session.scope = Scope::EnrolOnly,
        Standing::Use(requirement) => return Ok(Err(NotAdmitted::Use(requirement))),
        // No session has moved before it was opened.
        Standing::Elsewhere | Standing::Moved => return Ok(Err(NotAdmitted::Elsewhere)),
    }
    Ok(Ok(Entered { grace }))
}

impl Entered {
    /// Where somebody goes who wants to go to `next`.
    pub(super) fn next(self, next: String) -> String {
        match self.grace {
            Some(_) => next::with(&format!("{}{PAGE}", names::PREFIX), &next),
            None => next,
        }
    }
}

impl Gate {
    /// What is missing, until when that may be, and the way to it.
    pub(super) fn demanded_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let next = next::after_sign_in(visit.head.uri.query());
        let (policies, person) = (self.sessions.policies(), session.person());
        let ip = visit.client.ip();
        let facts = policies.facts(&person, session.shown, session.client, ip);
        let Standing::Grace { lacks, until } =
            demand::judge(&policies.demands_on(&person, ip), &facts, visit.now)
        else {
            return Ok(Reply::see_other(&next));
        };
        let page = pages::Demanded { user: person.user.name.as_str(), lacks, until, next: &next };
        Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
    }
}
