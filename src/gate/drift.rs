//! How far somebody's authenticator app was off when its code was refused: told to its owner, once they are
//! here, and to nobody else.
//!
//! A refused code is compared with the steps of an hour around, for whoever it was refused to; what that finds
//! is kept here, in memory alone, for [`REMEMBERED`]. It goes to nobody who only has a name: the answer
//! to a refused code is the same whatever was found, and no write to the disk tells it by its time. Whoever
//! is told of a step makes it void first (`Store::void_step`), since a code that is still to come would be
//! worth something to a script that guesses at somebody's session.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::ceremony::totp::Drift;
use crate::{
    account::{FactorId, UserId},
    time::Timestamp,
};

/// How long it is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);

/// Most people of whom something is remembered.
const MOST: usize = 1024;

/// What was found, of each person the latest.
#[derive(Debug, Default)]
pub(super) struct Drifts(Mutex<HashMap<UserId, Found>>);

/// A refused code that an app would have shown at another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Which app.
    pub app: FactorId,
    /// How far it is off.
    pub drift: Drift,
    /// When the code was refused.
    pub at: Timestamp,
}

impl Drifts {
    /// Remembers what was found of a person.
    pub(super) fn note(&self, user: UserId, found: Found) {
        let mut all = self.all();
        if all.len() >= MOST {
            all.retain(|_, old| found.at.since(old.at) < REMEMBERED);
        }
        if all.len() < MOST || all.contains_key(&user) {
            all.insert(user, found);
        }
    }

    /// What was found of a person lately.
    pub(super) fn of(&self, user: UserId, now: Timestamp) -> Option<Found> {
        self.all().get(&user).filter(|found| now.since(found.at) < REMEMBERED).cloned()
    }

    /// A code of theirs was right.
    pub(super) fn forget(&self, user: UserId) {
        self.all().remove(&user);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UserId, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::TimeStep;

    fn found(at: Timestamp) -> Found {
        Found { app: FactorId::of([1; 16]), drift: Drift { step: TimeStep(9), ahead: -95 }, at }
    }

    #[test]
    fn what_was_found_is_remembered_for_an_hour() {
        let (drifts, at) = (Drifts::default(), Timestamp::from_secs(1_000));

        drifts.note(UserId(1), found(at));

        assert_eq!(drifts.of(UserId(1), at.plus(REMEMBERED - Duration::from_millis(1))), Some(found(at)));
        assert_eq!(drifts.of(UserId(1), at.plus(REMEMBERED)), None);
        assert_eq!(drifts.of(UserId(2), at), None);
        drifts.forget(UserId(1));
        assert_eq!(drifts.of(UserId(1), at), None);
    }

    #[test]
    fn memory_is_bounded_and_old_ones_make_room() {
        let (drifts, early) = (Drifts::default(), Timestamp::from_secs(1_000));
        for user in 0..2000 {
            drifts.note(UserId(user), found(early));
        }
        assert_eq!(drifts.all().len(), MOST);

        drifts.note(UserId(9999), found(early.plus(REMEMBERED)));

        assert_eq!(drifts.all().len(), 1);
    }
}
