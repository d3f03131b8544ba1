//! Floods of refusals, folded (pure).
//!
//! Whoever hammers at the door must not fill the disk, or bury the one line that matters: of one
//! source's refusals for one reason the first is written at once, and what follows within a minute becomes
//! one line with a count. Sign-ins and everything else are always written singly. However many sources
//! there are, the memory for them is bounded: past the bound they share one line for each reason, of
//! which the program knows few.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{Action, Event};
use crate::time::Timestamp;

/// One line in this time.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Sources and reasons that are told apart.
const SOURCES: usize = 4096;

/// The refusals that are being folded.
#[derive(Debug, Default)]
pub(super) struct Floods {
    by_source: HashMap<Flood, Window>,
}

/// What is folded into one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flood {
    source: Source,
    action: Action,
    /// The word of the reason, of which there is a closed list.
    reason: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    One(IpAddr),
    /// An API token that is let through, which programs use as fast as they can.
    Token(IpAddr, String),
    /// Those that came when there were too many to tell apart.
    Others,
}

#[derive(Debug)]
struct Window {
    ends_at: Timestamp,
    /// The last one that was not written, and how many those are.
    folded: Option<(Event, u64)>,
}

impl Floods {
    /// Whether to write this event now. If not, it is part of a later line.
    pub(super) fn is_to_be_written(&mut self, event: &Event, now: Timestamp) -> bool {
        let source = match (event.action, event.client, &event.token) {
            (Action::Refuse | Action::ApiTokenRefuse, Some(client), _) => Source::One(client),
            (Action::ApiTokenAllow, Some(client), Some(token)) => Source::Token(client, token.clone()),
            _ => return true,
        };
        let reason = event.reason.as_ref().map(|reason| reason.word);
        let mut flood = Flood { source, action: event.action, reason };
        if !self.by_source.contains_key(&flood) && self.by_source.len() >= SOURCES {
            flood.source = Source::Others;
        }
        match self.by_source.get_mut(&flood) {
            None => {
                self.by_source.insert(flood, Window { ends_at: now.plus(WINDOW), folded: None });
                true
            }
            Some(window) => {
                let count = window.folded.as_ref().map_or(0, |(_, count)| *count);
                window.folded = Some((event.clone(), count + 1));
                false
            }
        }
    }

    /// The lines whose minute is over.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Event> {
        let mut due = Vec::new();
        self.by_source.retain(|_, window| {
            // A clock that was set back must not keep a line waiting for hours.
            let is_over = now >= window.ends_at || window.ends_at > now.plus(WINDOW);
            if is_over && let Some((event, count)) = window.folded.take() {
                due.push(event.times(count));
            }
            !is_over
        });
        due
    }

    /// Every line that waits, at the end.
    pub(super) fn rest(&mut self) -> Vec<Event> {
        let windows = std::mem::take(&mut self.by_source);
        let folded = windows.into_values().filter_map(|window| window.folded);
        folded.map(|(event, count)| event.times(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{Outcome, Reason};

    fn refusal(client: u32) -> Event {
        Event::new(Action::Refuse, Outcome::Failure)
            .from(IpAddr::V4(client.into()))
            .because(Reason::new("address", "address in no allowed network"))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_source_gets_its_first_line_at_once_and_one_more_a_minute() {
        let mut floods = Floods::default();

        assert!(floods.is_to_be_written(&refusal(1), at(0)));
        for second in 1..60 {
            assert!(!floods.is_to_be_written(&refusal(1), at(second)));
            assert_eq!(floods.due(at(second)), []);
        }
        assert!(floods.is_to_be_written(&refusal(2), at(30)), "another source has its own");

        assert_eq!(floods.due(at(60)), [refusal(1).times(59)]);
        assert!(floods.is_to_be_written(&refusal(1), at(61)));
    }

    #[test]
    fn noise_of_one_kind_swallows_no_line_of_another_from_the_same_source() {
        let mut floods = Floods::default();
        let token = |action| {
            Event::new(action, Outcome::Failure)
                .from(IpAddr::V4(1.into()))
                .because(Reason::new("token_unknown", "no rule names this token"))
        };
        assert!(floods.is_to_be_written(&refusal(1), at(0)));
        assert!(!floods.is_to_be_written(&refusal(1), at(0)));

        assert!(floods.is_to_be_written(&token(Action::ApiTokenRefuse), at(1)), "another action and reason");
        assert!(floods.is_to_be_written(&token(Action::Refuse), at(1)), "another action");
        assert!(!floods.is_to_be_written(&refusal(1), at(2)));
        assert!(!floods.is_to_be_written(&token(Action::Refuse), at(2)));

        let mut rest = floods.rest();
        rest.sort_by_key(|event| event.count);
        assert_eq!(rest, [token(Action::Refuse).times(1), refusal(1).times(2)]);
    }

    #[test]
    fn sign_ins_are_never_folded() {
        let mut floods = Floods::default();
        let failure = Event::new(Action::SignIn, Outcome::Failure).from(IpAddr::V4(1.into()));

        assert!((0..100).all(|_| floods.is_to_be_written(&failure, at(0))));
    }

    #[test]
    fn a_million_sources_take_bounded_memory_and_lose_no_count() {
        let mut floods = Floods::default();
        let written =
            (0..1_000_000).filter(|client| floods.is_to_be_written(&refusal(*client), at(0))).count();

        assert_eq!(floods.by_source.len(), SOURCES + 1);
        let folded: u64 = floods.rest().iter().map(|event| event.count).sum();
        assert_eq!(written as u64 + folded, 1_000_000);
    }

    proptest! {
        #[test]
        fn every_refusal_is_counted_once(steps in proptest::collection::vec((0_u32..4, 0_i64..40), 1..100)) {
            let (mut floods, mut now, mut counted) = (Floods::default(), 0, 0);
            for (client, pause) in &steps {
                now += pause;
                counted += floods.due(at(now)).iter().map(|event| event.count).sum::<u64>();
                counted += u64::from(floods.is_to_be_written(&refusal(*client), at(now)));
            }
            counted += floods.rest().iter().map(|event| event.count).sum::<u64>();
            prop_assert_eq!(counted, steps.len() as u64);
        }
    }
}
