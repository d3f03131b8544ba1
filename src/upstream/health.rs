//! Whether a node serves, as far as is known (pure).
//!
//! [`step`] takes what is known, what happened and when, and gives what is known then, with the change
//! that people are to hear of, if it is one. Only connections count: pveproxy's workers end now and then,
//! and a call that it answers with an error, or not at all, says nothing about the node. The shell around it
//! is in `nodes`.

use std::time::Duration;

use tokio::time::Instant;

use super::ConnectError;
use crate::{audit::Reason, tls::PinMismatch};

/// Why a node does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It shows another certificate than the pinned one.
    Fingerprint(PinMismatch),
    /// Its name does not resolve, nobody listens, or no route leads there.
    Refused,
    /// It took too long.
    Slow,
    /// TLS with it does not come about.
    Tls,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Health {
    /// `None`: nothing speaks against it.
    pub(super) fault: Option<Fault>,
    answered_at: Option<Instant>,
    heard_at: Option<Instant>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It took a connection and proved itself.
    Connected,
    /// It did not, in an attempt that began at that moment.
    Failed {
        /// When the attempt began.
        began: Instant,
        /// What was wrong.
        fault: Fault,
    },
}

/// What people are to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It serves no more; or it is down and shows, what is graver, a wrong certificate not seen before.
    Down(Fault),
    /// It serves again.
    Up,
}

impl Health {
    pub(super) fn is_up(&self) -> bool {
        self.fault.is_none()
    }

    /// When to ask the node by itself: once nothing was heard of it for so long. `None`: at once.
    pub(super) fn due(&self, interval: Duration) -> Option<Instant> {
        self.heard_at.map(|heard| heard + interval)
    }
}

/// What is known after `event`, at `now`.
pub(super) fn step(before: Health, event: Event, now: Instant) -> (Health, Option<Change>) {
    match event {
        Event::Connected => {
            let change = before.fault.map(|_| Change::Up);
            (Health { fault: None, answered_at: Some(now), heard_at: Some(now) }, change)
        }
        // It has answered since: the attempt met the node as it was.
        Event::Failed { began, .. } if before.answered_at.is_some_and(|answered| began < answered) => {
            (before, None)
        }
        Event::Failed { fault, .. } => {
            let change = match (before.fault, fault) {
                (None, _) => Some(Change::Down(fault)),
                // Known to be the graver thing until it has proved itself.
                (Some(Fault::Fingerprint(_)), Fault::Refused | Fault::Slow | Fault::Tls) => {
                    return (Health { heard_at: Some(now), ..before }, None);
                }
                (Some(Fault::Fingerprint(known)), Fault::Fingerprint(found)) => {
                    (known != found).then_some(Change::Down(fault))
                }
                (Some(Fault::Refused | Fault::Slow | Fault::Tls), Fault::Fingerprint(_)) => {
                    Some(Change::Down(fault))
                }
                (
                    Some(Fault::Refused | Fault::Slow | Fault::Tls),
                    Fault::Refused | Fault::Slow | Fault::Tls,
                ) => None,
            };
            (Health { fault: Some(fault), answered_at: before.answered_at, heard_at: Some(now) }, change)
        }
    }
}

impl From<&ConnectError> for Fault {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Pin(mismatch) => Self::Fingerprint(*mismatch),
            ConnectError::Tcp { .. } => Self::Refused,
            ConnectError::Slow { .. } => Self::Slow,
            ConnectError::Tls { .. } => Self::Tls,
        }
    }
}

impl Fault {
    /// The word for it in the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fingerprint(_) => "upstream_fingerprint",
            Self::Refused => "upstream_refused",
            Self::Slow => "upstream_timeout",
            Self::Tls => "upstream_tls",
        }
    }
}

impl From<&ConnectError> for Reason {
    fn from(error: &ConnectError) -> Self {
        Self::new(Fault::from(error).word(), error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::Fingerprint;

    const WRONG: Fault = Fault::Fingerprint(PinMismatch {
        expected: Fingerprint::from_bytes([1; 32]),
        found: Fingerprint::from_bytes([2; 32]),
    });
    const OTHER_WRONG: Fault = Fault::Fingerprint(PinMismatch {
        expected: Fingerprint::from_bytes([1; 32]),
        found: Fingerprint::from_bytes([3; 32]),
    });

    fn failed(began: Instant, fault: Fault) -> Event {
        Event::Failed { began, fault }
    }

    #[test]
    fn a_change_is_told_once_and_a_wrong_certificate_even_of_a_node_that_is_down() {
        use Fault::{Refused, Slow, Tls};
        let now = Instant::now();
        #[rustfmt::skip]
        let table = [
            // before              event                      after               told
            (None,                 Event::Connected,          None,               None),
            (None,                 failed(now, Refused),      Some(Refused),      Some(Change::Down(Refused))),
            (None,                 failed(now, WRONG),        Some(WRONG),        Some(Change::Down(WRONG))),
            (Some(Refused),        failed(now, Refused),      Some(Refused),      None),
            (Some(Refused),        failed(now, Slow),         Some(Slow),         None),
            (Some(Tls),            failed(now, WRONG),        Some(WRONG),        Some(Change::Down(WRONG))),
            (Some(WRONG),          failed(now, WRONG),        Some(WRONG),        None),
            (Some(WRONG),          failed(now, OTHER_WRONG),  Some(OTHER_WRONG),  Some(Change::Down(OTHER_WRONG))),
            (Some(WRONG),          failed(now, Refused),      Some(WRONG),        None),
            (Some(Refused),        Event::Connected,          None,               Some(Change::Up)),
            (Some(WRONG),          Event::Connected,          None,               Some(Change::Up)),
        ];
        for (fault, event, after, told) in table {
            let before = Health { fault, ..Health::default() };
            let (health, change) = step(before, event, now);
            assert_eq!((health.fault, change), (after, told), "{fault:?} {event:?}");
            assert_eq!(health.heard_at, Some(now));
        }
    }

    #[test]
    fn an_attempt_that_began_before_the_last_answer_speaks_against_nobody() {
        let began = Instant::now();
        let answered = began + Duration::from_secs(1);
        let later = began + Duration::from_secs(3);
        let (up, _) = step(Health::default(), Event::Connected, answered);

        assert_eq!(step(up, failed(began, Fault::Slow), later), (up, None));
        let (down, change) = step(up, failed(answered, Fault::Slow), later);
        assert_eq!((down.fault, change), (Some(Fault::Slow), Some(Change::Down(Fault::Slow))));
    }

    #[test]
    fn a_node_is_asked_when_nothing_was_heard_of_it_for_the_interval() {
        let (now, interval) = (Instant::now(), Duration::from_secs(10));
        assert_eq!(Health::default().due(interval), None, "at once, so that a wrong pin shows at the start");

        let (up, _) = step(Health::default(), Event::Connected, now);
        let (down, _) = step(Health::default(), failed(now, Fault::Refused), now);

        assert_eq!((up.due(interval), down.due(interval)), (Some(now + interval), Some(now + interval)));
    }

    proptest! {
        #[test]
        fn ups_and_downs_are_told_in_turn(events in prop::collection::vec(0..4_u8, 0..100)) {
            let mut now = Instant::now();
            let (mut health, mut up) = (Health::default(), true);
            for event in events {
                now += Duration::from_millis(1);
                let event = match event {
                    0 => Event::Connected,
                    1 => failed(now, Fault::Refused),
                    2 => failed(now, Fault::Slow),
                    _ => failed(now, Fault::Tls),
                };
                let (after, change) = step(health, event, now);
                match change {
                    Some(Change::Up) => prop_assert!(!up),
                    Some(Change::Down(_)) => prop_assert!(up),
                    None => prop_assert_eq!(after.is_up(), up),
                }
                (health, up) = (after, after.is_up());
            }
        }
    }
}
