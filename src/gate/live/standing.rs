//! How sessions stand to what is demanded of their users.
//!
//! The judgement is in `demand`; here it is asked, and a session that does not meet what is demanded ends.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, PoisonError},
};

use super::{LiveSession, LiveSessions};
use crate::{
    account::{EndReason, Person, Requirement, Scope, UserId},
    gate::{
        SessionLimits,
        demand::{self, Policies, Standing},
    },
    time::Timestamp,
};

/// What policies say of a session at an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The address from which it was last used.
    pub(super) at: IpAddr,
    /// How it ends there.
    pub(super) limits: SessionLimits,
    /// When something that its user is still without is no longer waited for.
    pub(super) grace_until: Option<Timestamp>,
}

impl LiveSessions {
    /// What is demanded of people.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other policies, and judges every session by them.
    pub fn set_policies(&self, policies: Policies, now: Timestamp) {
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
        for session in self.all() {
            self.judge(&session, None, now);
        }
    }

    /// Takes note that a session is used from an address.
    pub fn used_from(&self, session: &LiveSession, ip: IpAddr, now: Timestamp) {
        if session.terms().at != ip {
            self.judge(session, Some(ip), now);
        }
    }

    /// Judges a session by what is demanded of its user at an address, or where it was last used, and ends one
    /// that does not meet it.
    pub(super) fn judge(&self, session: &LiveSession, ip: Option<IpAddr>, now: Timestamp) {
        // Held from the reading to the writing: whoever changes policies or the person judges afterwards, and
        // must find the address of a judgement that went by what was before.
        let mut terms_held = session.terms.write().unwrap_or_else(PoisonError::into_inner);
        let ip = ip.unwrap_or(terms_held.at);
        let (policies, person) = (self.policies(), session.person());
        let demands = policies.demands_on(&person, ip);
        let facts = policies.facts(&person, session.shown, session.client, ip);
        let standing = demand::judge(&demands, &facts, now);
        let mut terms = Terms { at: ip, limits: demands.limits, grace_until: None };
        let over = match (standing, session.scope) {
            (Standing::Meets, _) | (Standing::Grace { .. } | Standing::Enrol(_), Scope::EnrolOnly) => false,
            (Standing::Grace { until, .. }, Scope::Full) => {
                terms.grace_until = Some(until);
                false
            }
            (Standing::Enrol(_), Scope::Full)
            | (Standing::Use(_) | Standing::Elsewhere | Standing::Moved, _) => true,
        };
        *terms_held = terms;
        drop(terms_held);
        if over {
            session.end(EndReason::Policy);
        }
        let mut unknown = demand::unnoted(&demands, &facts).peekable();
        if unknown.peek().is_some() {
            let mut found = self.found_lacking.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(unknown.map(|requirement| (person.user.id, requirement)));
        }
    }

    /// Who was found without what is demanded, for the store to write down since when.
    #[must_use]
    pub fn take_found_lacking(&self) -> HashSet<(UserId, Requirement)> {
        std::mem::take(&mut *self.found_lacking.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store did not take this: it is found again.
    pub fn put_back_found_lacking(&self, found: HashSet<(UserId, Requirement)>) {
        self.found_lacking.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// Owners of sessions that came in since this was last asked.
    pub fn take_newcomers(&self) -> HashSet<UserId> {
        std::mem::take(&mut *self.newcomers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what the store says about a user: `None` is one who is gone.
    pub fn user_changed(&self, id: UserId, person: Option<&Person>, now: Timestamp) {
        let person = person.filter(|person| person.user.disabled_at.is_none());
        for session in self.all().into_iter().filter(|session| session.user().id == id) {
            match person {
                Some(person) => {
                    *session.person.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::new(person.clone());
                    self.judge(&session, None, now);
                }
                None => session.end(EndReason::Disabled),
            }
        }
    }
}
