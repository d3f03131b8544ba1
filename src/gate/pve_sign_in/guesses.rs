//! How many failed sign-ins to Proxmox VE a source has (pure).
//!
//! Counted by source, and by source and Proxmox VE user together; never by the user alone, so that
//! nobody uses up somebody else's attempts from another network. An attempt is charged before it is sent,
//! since a hundred may be under way before the first is answered, and given back when it turns out to be
//! none: a right password costs nothing.
//!
//! Memory is bounded as in `admission::rate`: when there are too many to remember, those that are as good
//! as new are forgotten, and if most are not, all. Whoever brings that about has signed in at the gate
//! from thousands of sources.

use std::{collections::HashMap, time::Duration};

use crate::{admission::SourcePrefix, time::Timestamp};

/// Sources, and sources with a user, that are remembered at once.
const REMEMBERED: usize = 1 << 14;

/// So many at once, and one more after each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Failures in a row.
    pub(super) at_once: u32,
    /// After this time there is one more.
    pub(super) period: Duration,
}

impl Allowance {
    fn whole(&self) -> Duration {
        self.period.saturating_mul(self.at_once)
    }
}

/// What a source may fail at one user: a person mistypes a few times, a program goes on.
pub(super) const OF_A_USER: Allowance = Allowance { at_once: 5, period: Duration::from_secs(60) };

/// Too many failed sign-ins to Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyGuesses {
    /// From this source.
    #[error("more failed sign-ins to Proxmox VE from this source than one has within a minute")]
    Source {
        /// How long until there is one more.
        retry_after: Duration,
    },
    /// From this source at this user.
    #[error("more failed sign-ins to Proxmox VE from this source as one user than one has within a minute")]
    User {
        /// How long until there is one more.
        retry_after: Duration,
    },
}

impl TooManyGuesses {
    /// How long until there is one more.
    #[must_use]
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::Source { retry_after } | Self::User { retry_after } => retry_after,
        }
    }
}

/// Failed sign-ins, and such as may become failures.
#[derive(Debug)]
pub(super) struct Guesses {
    of_a_source: Allowance,
    /// When everything will have been given back.
    settled_at: HashMap<Key, Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(SourcePrefix, Option<String>);

impl Guesses {
    pub(super) fn new(of_a_source: Allowance) -> Self {
        Self { of_a_source, settled_at: HashMap::new() }
    }

    /// Counts an attempt that may fail.
    ///
    /// # Errors
    ///
    /// [`TooManyGuesses`]; such an attempt does not count.
    pub(super) fn charge(
        &mut self,
        source: SourcePrefix,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<(), TooManyGuesses> {
        self.forget(now);
        let by_user = user.map(|user| Key(source, Some(user.to_owned())));
        self.set_right(&Key(source, None), self.of_a_source, now);
        if let Some(key) = &by_user {
            self.set_right(key, OF_A_USER, now);
        }
        let by_source = self
            .charged(&Key(source, None), self.of_a_source, now)
            .map_err(|retry_after| TooManyGuesses::Source { retry_after })?;
        if let Some(key) = by_user {
            let by_user = self
                .charged(&key, OF_A_USER, now)
                .map_err(|retry_after| TooManyGuesses::User { retry_after })?;
            self.settled_at.insert(key, by_user);
        }
        self.settled_at.insert(Key(source, None), by_source);
        Ok(())
    }

    /// Gives an attempt back that was no failure.
    pub(super) fn give_back(&mut self, source: SourcePrefix, user: Option<&str>) {
        let mut give = |key: Key, period: Duration| {
            if let Some(settled_at) = self.settled_at.get_mut(&key) {
                *settled_at = settled_at.minus(period);
            }
        };
        give(Key(source, None), self.of_a_source.period);
        if let Some(user) = user {
            give(Key(source, Some(user.to_owned())), OF_A_USER.period);
        }
    }

    /// A clock that was set back must not make anybody wait longer than a whole allowance.
    fn set_right(&mut self, key: &Key, allowance: Allowance, now: Timestamp) {
        let whole = now.plus(allowance.whole());
        if let Some(settled_at) = self.settled_at.get_mut(key) {
            *settled_at = (*settled_at).min(whole);
        }
    }

    /// When a key will be settled with one more, or how long until there is one.
    fn charged(&self, key: &Key, allowance: Allowance, now: Timestamp) -> Result<Timestamp, Duration> {
        let whole = now.plus(allowance.whole());
        let before = self.settled_at.get(key).copied().unwrap_or(now).max(now);
        let after = before.plus(allowance.period);
        if after <= whole { Ok(after) } else { Err(after.since(whole)) }
    }

    fn forget(&mut self, now: Timestamp) {
        if self.settled_at.len() < REMEMBERED {
            return;
        }
        self.settled_at.retain(|_, settled_at| *settled_at > now);
        if self.settled_at.len() > REMEMBERED / 2 {
            self.settled_at.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    const TEN: Allowance = Allowance { at_once: 10, period: Duration::from_secs(6) };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_790_000_000 + secs)
    }

    fn source(number: u32) -> SourcePrefix {
        SourcePrefix::of(IpAddr::V4(Ipv4Addr::from(number)))
    }

    #[test]
    fn a_source_fails_so_often_at_a_user_and_no_more_and_others_are_free_of_it() {
        let mut guesses = Guesses::new(TEN);
        let here = source(1);
        for _ in 0..OF_A_USER.at_once {
            assert_eq!(guesses.charge(here, Some("root@pam"), at(0)), Ok(()));
        }

        let refused = guesses.charge(here, Some("root@pam"), at(0));
        assert_eq!(refused, Err(TooManyGuesses::User { retry_after: Duration::from_secs(60) }));
        assert_eq!(guesses.charge(here, Some("root@pve"), at(0)), Ok(()), "another user");
        assert_eq!(guesses.charge(source(2), Some("root@pam"), at(0)), Ok(()), "another network");
        assert!(guesses.charge(here, Some("root@pam"), at(59)).is_err());
        assert_eq!(guesses.charge(here, Some("root@pam"), at(60)), Ok(()), "and one more after a minute");
        assert!(guesses.charge(here, Some("root@pam"), at(60)).is_err());
    }

    #[test]
    fn a_source_that_tries_many_users_is_stopped_too() {
        let mut guesses = Guesses::new(TEN);
        for user in 0..10 {
            assert_eq!(guesses.charge(source(1), Some(&format!("u{user}@pam")), at(0)), Ok(()));
        }

        let refused = guesses.charge(source(1), Some("root@pam"), at(0));
        assert_eq!(refused, Err(TooManyGuesses::Source { retry_after: Duration::from_secs(6) }));
    }

    #[test]
    fn what_was_no_failure_is_given_back() {
        let mut guesses = Guesses::new(TEN);
        for _ in 0..1000 {
            assert_eq!(guesses.charge(source(1), Some("root@pam"), at(0)), Ok(()));
            guesses.give_back(source(1), Some("root@pam"));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let mut guesses = Guesses::new(TEN);
        for _ in 0..5 {
            guesses.charge(source(1), Some("root@pam"), at(86_400)).unwrap();
        }

        let refused = guesses.charge(source(1), Some("root@pam"), at(0)).unwrap_err();
        assert!(refused.retry_after() <= Duration::from_secs(60), "{refused:?}");
        assert_eq!(guesses.charge(source(1), Some("root@pam"), at(0).plus(OF_A_USER.whole())), Ok(()));
    }

    #[test]
    fn many_sources_take_bounded_memory() {
        let mut guesses = Guesses::new(TEN);
        for number in 0..100_000 {
            guesses.charge(source(number), Some("root@pam"), at(0)).unwrap();
            assert!(guesses.settled_at.len() <= REMEMBERED + 2);
        }
    }

    proptest! {
        #[test]
        fn no_more_failures_pass_than_the_allowance_says(pauses in prop::collection::vec(0_i64..90, 1..200)) {
            let mut guesses = Guesses::new(Allowance { at_once: 1000, period: Duration::from_secs(1) });
            let (mut now, mut passed) = (0, 0_i64);
            for pause in pauses {
                now += pause;
                passed += i64::from(guesses.charge(source(1), Some("root@pam"), at(now)).is_ok());
                prop_assert!(passed <= 5 + now / 60, "{} failures within {} s", passed, now);
            }
        }
    }
}
