//! How far our clock is from that of Proxmox VE: one-time codes depend on both, and people's phones follow the
//! world's.
//!
//! pveproxy writes its time into every answer (`Date`, RFC 9110 §6.6.1), to the second. One answer in some
//! seconds is looked at, so that the others pay for nothing but a comparison.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use http::{HeaderMap, header};
use tokio::time::Instant;

use crate::time::{Clock, Timestamp};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Nothing is known.
const UNKNOWN: i64 = i64::MIN;

/// What the last look found.
#[derive(Debug)]
pub(super) struct ClockOffset {
    began: Instant,
    /// When the next look is due: milliseconds since `began`.
    due: AtomicU64,
    millis: AtomicI64,
}

impl Default for ClockOffset {
    fn default() -> Self {
        Self { began: Instant::now(), due: AtomicU64::new(0), millis: AtomicI64::new(UNKNOWN) }
    }
}

impl ClockOffset {
    /// By how many milliseconds we are ahead; `None` as long as nothing is known.
    pub(super) fn millis(&self) -> Option<i64> {
        Some(self.millis.load(Ordering::Relaxed)).filter(|millis| *millis != UNKNOWN)
    }

    /// Looks at an answer that came just now, if a look is due.
    pub(super) fn look(&self, fields: &HeaderMap, now: Instant, clock: &dyn Clock) {
        let elapsed = u64::try_from(now.duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        if elapsed < self.due.load(Ordering::Relaxed) {
            return;
        }
        let date = fields.get(header::DATE).and_then(|date| Timestamp::parse_http(date.to_str().ok()?));
        if let Some(date) = date {
            let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
            self.due.store(elapsed.saturating_add(pause), Ordering::Relaxed);
            self.millis.store(offset(clock.now(), date), Ordering::Relaxed);
        }
    }
}

/// A date stands for the second that begins with it; its middle is the best guess.
fn offset(ours: Timestamp, theirs: Timestamp) -> i64 {
    let apart = ours.millis().saturating_sub(theirs.millis());
    // Within that second nothing is known to be off.
    match apart {
        0..1000 => 0,
        _ => apart.saturating_sub(500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn clocks_are_apart_only_by_what_a_date_of_a_second_can_tell() {
        #[rustfmt::skip]
        let table = [
            (10_000, 10_000, 0),
            (10_999, 10_000, 0),
            (11_000, 10_000, 500),
            (9_999,  10_000, -501),
            (40_500, 10_000, 30_000),
        ];
        for (ours, theirs, expected) in table {
            let found = offset(Timestamp::from_millis(ours), Timestamp::from_millis(theirs));
            assert_eq!(found, expected, "{ours} {theirs}");
        }
    }

    #[test]
    fn one_answer_in_some_seconds_is_looked_at() {
        let (offset, clock) = (ClockOffset::default(), ManualClock::at(Timestamp::from_secs(1_111_111_119)));
        let fields = |date: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::DATE, date.parse().unwrap());
            fields
        };
        let began = offset.began;
        offset.look(&HeaderMap::new(), began, &clock);
        offset.look(&fields("yesterday"), began, &clock);
        assert_eq!(offset.millis(), None);

        offset.look(&fields("Fri, 18 Mar 2005 01:58:29 GMT"), began, &clock);
        offset.look(
            &fields("Fri, 18 Mar 2005 01:58:39 GMT"),
            began + PAUSE - Duration::from_millis(1),
            &clock,
        );
        assert_eq!(offset.millis(), Some(9500));

        offset.look(&fields("Fri, 18 Mar 2005 01:58:39 GMT"), began + PAUSE, &clock);
        assert_eq!(offset.millis(), Some(0));
    }
}
