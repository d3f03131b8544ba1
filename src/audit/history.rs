//! What an event says to the owner of the account that it concerns, and where it waits to be written down.
//!
//! The queue is bounded and never waits: an event that finds it full is in the audit log alone.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, PoisonError},
};

use super::{Action, Changed, Event, Outcome};
use crate::{
    store::{Happened, NewEntry},
    time::Timestamp,
};

/// Entries that wait for the store. It takes them every quarter of a second.
const WAITING: usize = 1024;

/// Entries that wait for the store.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<VecDeque<NewEntry>>);

impl Waiting {
    /// Takes an event in, if it concerns somebody.
    pub(super) fn hear(&self, event: &Event, at: Timestamp) {
        let Some(entry) = entry(event, at) else { return };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            waiting.push_back(entry);
        }
    }

    /// Everything that waits, in its order.
    pub(super) fn take(&self) -> Vec<NewEntry> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// What its owner reads of an event; `None` for what concerns no account, or only passes by.
fn entry(event: &Event, at: Timestamp) -> Option<NewEntry> {
    let happened = match (event.action, event.outcome) {
        (Action::SignIn, _) => Happened::SignIn,
        (Action::SignOut, _) => Happened::SignOut,
        (Action::SessionEnd, _) => Happened::SessionEnd,
        (Action::SessionRevoke, _) => Happened::SessionRevoke,
        // The change that it proved follows.
        (Action::StepUp, Outcome::Success) => return None,
        (Action::StepUp, Outcome::Failure) => Happened::Proof,
        (Action::InviteCreate, _) => Happened::InviteCreate,
        (Action::InviteRevoke, _) => Happened::InviteRevoke,
        (Action::InviteUse, _) => Happened::InviteUse,
        (Action::FactorAdd, _) => Happened::FactorAdd,
        (Action::FactorRename, _) => Happened::FactorRename,
        (Action::FactorRemove, _) => Happened::FactorRemove,
        (Action::RecoveryUse, _) => Happened::RecoveryUse,
        (Action::RecoveryRenew, _) => Happened::RecoveryRenew,
        (Action::IntrusionReport, _) => Happened::Report,
        (Action::Panic, _) => Happened::Panic,
        (Action::UserUnlock, _) => Happened::Unlock,
        (Action::UserDisable, _) => Happened::Disable,
        (Action::UserEnable, _) => Happened::Enable,
        (Action::UserRename, _) => Happened::Rename,
        (Action::UserRole, _) => Happened::Role,
        (
            Action::Refuse
            | Action::ConsoleClose
            | Action::ApiTokenAllow
            | Action::ApiTokenRefuse
            | Action::ApiRuleAdd
            | Action::ApiRuleRemove
            | Action::UpstreamPinChange
            | Action::BanAdd
            | Action::BanRemove
            | Action::UserAdd
            | Action::UserDelete
            | Action::UserGroup
            | Action::UpstreamFailure
            | Action::UpstreamSignIn
            | Action::NodeDown
            | Action::NodeUp
            | Action::Backup
            | Action::Restore
            | Action::Start
            | Action::Stop
            | Action::AuditLost,
            _,
        ) => return None,
    };
    // When this is written down, the account has its new name.
    let user = match &event.changed {
        Some(Changed::Name(name)) => name.clone(),
        Some(Changed::Role(_)) | None => event.user.as_deref()?.parse().ok()?,
    };
    Some(NewEntry {
        at,
        user,
        happened,
        succeeded: event.outcome == Outcome::Success,
        // From where an administrator did it is nothing that its owner could recognize.
        client: event.client.filter(|_| event.by.is_none()),
        method: event.method.map(|method| method.0),
        session: event.session,
        reason: event.reason.as_ref().map(|reason| reason.word),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::Method, audit::Reason};

    fn of_alice(action: Action, outcome: Outcome) -> Event {
        Event::new(action, outcome).of(&"alice".parse().unwrap())
    }

    #[test]
    fn an_entry_has_the_words_of_its_event_and_none_of_its_texts() {
        let event = of_alice(Action::SignIn, Outcome::Failure)
            .from("192.0.2.1".parse().unwrap())
            .by(Method::Totp)
            .because(Reason::new("bad_code", "a text that may hold anything"));

        let entry = entry(&event, Timestamp::from_secs(1)).unwrap();

        assert_eq!((entry.happened, entry.succeeded), (Happened::SignIn, false));
        assert_eq!((entry.method, entry.reason), (Some("totp"), Some("bad_code")));
        assert!(!format!("{entry:?}").contains("anything"));
    }

    #[test]
    fn what_an_administrator_did_comes_from_nowhere() {
        let event = of_alice(Action::UserDisable, Outcome::Success).from("192.0.2.1".parse().unwrap());
        let at = Timestamp::from_secs(1);

        assert_eq!(entry(&event.clone().done_by(&"root".parse().unwrap()), at).unwrap().client, None);
        assert!(entry(&event, at).unwrap().client.is_some());
    }

    #[test]
    fn what_concerns_nobody_is_no_entry() {
        let nobody = Event::new(Action::SignIn, Outcome::Failure);
        assert_eq!(entry(&nobody, Timestamp::from_secs(1)), None);
        let refused = of_alice(Action::Refuse, Outcome::Failure);
        assert_eq!(entry(&refused, Timestamp::from_secs(1)), None);
    }

    #[test]
    fn a_queue_that_nobody_empties_stays_small() {
        let waiting = Waiting::default();
        for at in 0..10_000 {
            waiting.hear(&of_alice(Action::SignIn, Outcome::Failure), Timestamp::from_secs(at));
        }

        assert_eq!(waiting.take().len(), WAITING);
        assert_eq!(waiting.take(), []);
    }
}
