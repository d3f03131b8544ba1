//! What happened in the last 24 hours, by the hour, for the administrators' page.
//!
//! Counts of sign-ins and refusals, how long requests stayed with the gate itself, and the most consoles
//! open at once. Kept in memory alone, for this process: a restart begins anew, and the audit log has what
//! counts. The memory is fixed: hours take the place of those a day before, words come from the code's own
//! lists and are bounded all the same. Time is an argument everywhere.
//!
//! The clock of a request is a few atomic additions. At the turn of an hour a count may be lost, or land in
//! the hour before.

use std::{
    array,
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    audit::{Action, Event, Outcome},
    time::Timestamp,
};

/// Hours that are told, the present one included.
pub const HOURS: usize = 24;

const HOUR_MILLIS: i64 = 3_600_000;

/// Words of one kind that are counted apart in an hour; what is beyond them counts as [`OTHER`].
const WORDS: usize = 64;

/// What is counted together for want of room.
const OTHER: &str = "other";

/// Steps of the histogram: four to each doubling, from a microsecond to 65 ms; the last has the rest.
const STEPS: usize = 64;
const STEPS_TO_A_DOUBLING: u32 = 4;

/// The last 24 hours.
#[derive(Debug)]
pub struct Recent {
    /// By the number of the hour, modulo their count.
    slots: [Slot; HOURS],
}

/// One hour. Each half knows of which hour it is: they are renewed apart.
#[derive(Debug)]
struct Slot {
    events: Mutex<Events>,
    measured: Measured,
}

#[derive(Debug, Default)]
struct Events {
    hour: i64,
    sign_ins: BTreeMap<&'static str, SignIns>,
    refusals: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Measured {
    hour: AtomicI64,
    consoles: AtomicU32,
    took: [AtomicU32; STEPS],
}

/// Sign-ins by one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignIns {
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that did not.
    pub failed: u64,
}

/// What is told of the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// By the method's word.
    pub sign_ins: Vec<(&'static str, SignIns)>,
    /// What was refused, by the reason's word, the most frequent first.
    pub refusals: Vec<(&'static str, u64)>,
    /// Of all requests.
    pub latency: Option<Latency>,
    /// Each hour, oldest first, the present one last.
    pub hours: Vec<Hour>,
}

/// One hour, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// When it began.
    pub began: Timestamp,
    /// Of its requests, if there were any.
    pub latency: Option<Latency>,
    /// The most consoles that were open at once.
    pub consoles: u32,
}

/// How long requests stayed with the gate itself. Each value is the upper end of a step, at most a quarter
/// above the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// How many requests.
    pub requests: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of a hundred took no longer.
    pub p99: Duration,
}

impl Default for Recent {
    fn default() -> Self {
        let slot = |_| Slot {
            events: Mutex::default(),
            measured: Measured {
                hour: AtomicI64::new(0),
                consoles: AtomicU32::new(0),
                took: array::from_fn(|_| AtomicU32::new(0)),
            },
        };
        Self { slots: array::from_fn(slot) }
    }
}

impl Recent {
    /// Counts a sign-in or a refusal. Other events pass by.
    pub fn hear(&self, event: &Event, now: Timestamp) {
        let is_sign_in = matches!(
            (event.action, event.outcome),
            (Action::SignIn, _) | (Action::RecoveryUse, Outcome::Failure)
        );
        let refused = match (is_refusal(event.action), event.outcome) {
            (true, Outcome::Failure) => event.reason.as_ref().map(|reason| reason.word),
            (true, Outcome::Success) | (false, _) => None,
        };
        if !is_sign_in && refused.is_none() {
            return;
        }
        let hour = hour_of(now);
        let Some(slot) = self.slot(hour) else { return };
        let mut events = slot.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.hour != hour {
            *events = Events { hour, ..Events::default() };
        }
        if is_sign_in {
            let method = event.method.map_or(OTHER, |method| method.0);
            let count = counted(&mut events.sign_ins, method);
            match event.outcome {
                Outcome::Success => count.succeeded += event.count,
                Outcome::Failure => count.failed += event.count,
            }
        }
        if let Some(word) = refused {
            *counted(&mut events.refusals, word) += event.count;
        }
    }

    /// Counts a request that was let through, and how long it stayed with the gate itself.
    pub fn took(&self, with_us: Duration, now: Timestamp) {
        if let Some(measured) = self.measured(now)
            && let Some(step) = measured.took.get(step_of(with_us))
        {
            step.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes note of how many consoles are open.
    pub fn consoles(&self, open: usize, now: Timestamp) {
        if open > 0
            && let Some(measured) = self.measured(now)
        {
            measured.consoles.fetch_max(u32::try_from(open).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// The last 24 hours, the present one included.
    #[must_use]
    pub fn day(&self, now: Timestamp) -> Day {
        let present = hour_of(now);
        let (mut sign_ins, mut refusals) = (BTreeMap::<_, SignIns>::new(), BTreeMap::<_, u64>::new());
        let mut all = [0_u64; STEPS];
        let mut hours = Vec::with_capacity(HOURS);
        for hour in (0..HOURS).rev().filter_map(|back| present.checked_sub(i64::try_from(back).ok()?)) {
            let Some(slot) = self.slot(hour) else { continue };
            let events = slot.events.lock().unwrap_or_else(PoisonError::into_inner);
            if events.hour == hour {
                for (method, count) in &events.sign_ins {
                    let sum = sign_ins.entry(*method).or_default();
                    sum.succeeded += count.succeeded;
                    sum.failed += count.failed;
                }
                for (word, count) in &events.refusals {
                    *refusals.entry(*word).or_default() += count;
                }
            }
            drop(events);
            let is_its = slot.measured.hour.load(Ordering::Acquire) == hour;
            let mut steps = [0_u64; STEPS];
            if is_its {
                for ((step, sum), count) in steps.iter_mut().zip(&mut all).zip(&slot.measured.took) {
                    *step = count.load(Ordering::Relaxed).into();
                    *sum += *step;
                }
            }
            hours.push(Hour {
                began: Timestamp::from_millis(hour.saturating_mul(HOUR_MILLIS)),
                latency: latency(&steps),
                consoles: if is_its { slot.measured.consoles.load(Ordering::Relaxed) } else { 0 },
            });
        }
        let mut refusals: Vec<_> = refusals.into_iter().collect();
        refusals.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        Day { sign_ins: sign_ins.into_iter().collect(), refusals, latency: latency(&all), hours }
    }

    fn slot(&self, hour: i64) -> Option<&Slot> {
        let count = i64::try_from(HOURS).ok()?;
        self.slots.get(usize::try_from(hour.rem_euclid(count)).ok()?)
    }

    /// The present hour's measurements; those of a day before are thrown away by whoever comes first.
    fn measured(&self, now: Timestamp) -> Option<&Measured> {
        let hour = hour_of(now);
        let measured = &self.slot(hour)?.measured;
        let before = measured.hour.load(Ordering::Acquire);
        if before != hour
            && measured.hour.compare_exchange(before, hour, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            measured.consoles.store(0, Ordering::Relaxed);
            measured.took.iter().for_each(|step| step.store(0, Ordering::Relaxed));
        }
        Some(measured)
    }
}

/// Whether what fails so was refused by the gate.
const fn is_refusal(action: Action) -> bool {
    matches!(
        action,
        Action::SignIn
            | Action::Refuse
            | Action::ApiTokenRefuse
            | Action::StepUp
            | Action::RecoveryUse
            | Action::InviteUse
    )
}

/// The count of a word, or the one of all that found no room.
fn counted<'a, T: Default>(counts: &'a mut BTreeMap<&'static str, T>, word: &'static str) -> &'a mut T {
    let word = if counts.len() < WORDS || counts.contains_key(word) { word } else { OTHER };
    counts.entry(word).or_default()
}

fn hour_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(HOUR_MILLIS)
}

/// The step of a duration: the doubling of its microseconds, and the quarter of it.
fn step_of(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    // The two bits below the highest one.
    let quarter = (micros << 2 >> doubling) & 3;
    let step = u64::from(doubling * STEPS_TO_A_DOUBLING) + quarter;
    usize::try_from(step).unwrap_or(STEPS).min(STEPS - 1)
}

/// The upper end of a step.
fn end_of(step: usize) -> Duration {
    let step = u32::try_from(step).unwrap_or(u32::MAX);
    let (doubling, quarter) = (step / STEPS_TO_A_DOUBLING, step % STEPS_TO_A_DOUBLING);
    let micros = (u64::from(STEPS_TO_A_DOUBLING + quarter + 1) << doubling).div_ceil(4);
    Duration::from_micros(micros)
}

fn latency(steps: &[u64; STEPS]) -> Option<Latency> {
    let requests: u64 = steps.iter().sum();
    if requests == 0 {
        return None;
    }
    let quantile = |percent: u64| {
        let wanted = (requests * percent).div_ceil(100);
        let mut seen = 0;
        let step = steps.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        end_of(step.unwrap_or(STEPS - 1))
    };
    Some(Latency { requests, p50: quantile(50), p99: quantile(99) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{account::Method, audit::Reason};

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_010);
    const HOUR: Duration = Duration::from_secs(3600);

    fn refused(word: &'static str) -> Event {
        Event::new(Action::Refuse, Outcome::Failure).because(Reason::new(word, "a text"))
    }

    fn signed_in(outcome: Outcome) -> Event {
        Event::new(Action::SignIn, outcome).by(Method::Totp)
    }

    #[test]
    fn sign_ins_and_refusals_are_counted_for_24_hours_and_forgotten_then() {
        let recent = Recent::default();
        for event in [
            signed_in(Outcome::Success),
            signed_in(Outcome::Failure).because(Reason::new("bad_code", "wrong")),
            refused("address").times(3),
            Event::new(Action::UpstreamFailure, Outcome::Failure).because(Reason::new("timeout", "slow")),
            Event::new(Action::UserAdd, Outcome::Success),
        ] {
            recent.hear(&event, NOW);
        }
        recent.hear(&refused("bad_head"), NOW.plus(23 * HOUR));

        let day = recent.day(NOW.plus(23 * HOUR));
        assert_eq!(day.sign_ins, [("totp", SignIns { succeeded: 1, failed: 1 })]);
        assert_eq!(day.refusals, [("address", 3), ("bad_code", 1), ("bad_head", 1)]);
        let day = recent.day(NOW.plus(24 * HOUR));
        assert_eq!((day.sign_ins, day.refusals), (vec![], vec![("bad_head", 1)]));
        // The slot of an hour is taken over by the hour a day later.
        recent.hear(&refused("address"), NOW.plus(24 * HOUR));
        assert_eq!(recent.day(NOW.plus(24 * HOUR)).refusals, [("address", 1), ("bad_head", 1)]);
    }

    #[test]
    fn words_are_bounded() {
        let recent = Recent::default();
        for number in 0..1000 {
            recent.hear(&refused(Box::leak(format!("word_{number}").into_boxed_str())), NOW);
        }

        let refusals = recent.day(NOW).refusals;
        assert_eq!(refusals.len(), WORDS + 1);
        assert_eq!(refusals[0], (OTHER, 1000 - 64));
    }

    #[test]
    fn half_and_99_of_a_hundred_requests_took_no_longer() {
        let recent = Recent::default();
        for micros in 1..=1000 {
            recent.took(Duration::from_micros(micros), NOW);
        }
        recent.took(Duration::from_secs(60), NOW.plus(HOUR));

        let day = recent.day(NOW.plus(HOUR));
        let before = day.hours[HOURS - 2].latency.unwrap();
        assert_eq!(before.requests, 1000);
        let micros = |duration: Duration| duration.as_micros();
        assert!((500..=600).contains(&micros(before.p50)), "{before:?}");
        assert!((990..=1188).contains(&micros(before.p99)), "{before:?}");
        assert_eq!(day.latency.unwrap().requests, 1001);
        assert!(day.hours[HOURS - 1].latency.unwrap().p50 >= Duration::from_millis(60), "the last step");
        assert_eq!(recent.day(NOW.plus(25 * HOUR)).latency, None);
    }

    #[test]
    fn the_most_consoles_of_an_hour_are_told() {
        let recent = Recent::default();
        for open in [1, 3, 0, 2] {
            recent.consoles(open, NOW);
        }

        let hours = recent.day(NOW).hours;
        assert_eq!(hours.len(), HOURS);
        assert_eq!((hours[HOURS - 1].consoles, hours[0].consoles), (3, 0));
        assert!(hours[HOURS - 1].began <= NOW && NOW < hours[HOURS - 1].began.plus(HOUR));
    }

    proptest! {
        #[test]
        fn a_step_ends_after_what_is_in_it_by_a_quarter_at_most(micros in 1_u64..65_000) {
            let took = Duration::from_micros(micros);
            let end = end_of(step_of(took));
            prop_assert!(took <= end && end <= took.mul_f64(1.25) + Duration::from_micros(1), "{took:?} {end:?}");
            prop_assert!(step_of(took) <= step_of(took + Duration::from_micros(1)));
        }
    }
}
