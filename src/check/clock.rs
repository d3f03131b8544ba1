//! The machine's clock: codes of authenticator apps, certificates and tickets live by it.

use super::{Finding, Id};

/// Seconds off from which somebody should look. pveproxy's `Date` has whole seconds, so less says nothing.
const NOTICED: i64 = 2_000;

/// Seconds off from which codes begin to fail.
const FAILING: i64 = 15_000;

/// What is known of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether something sets it by others; `None` where the system does not say.
    pub synchronised: Option<bool>,
    /// How far it is ahead of pveproxy's, in milliseconds; negative where it is behind. `None` where no node
    /// answered.
    pub ahead_of_upstream: Option<i64>,
}

/// Judges the clock.
#[must_use]
pub fn judge(clock: Clock) -> Vec<Finding> {
    const HINT: &str =
        "codes of authenticator apps fail beyond 30 s: timedatectl set-ntp true, here and there";
    let synchronised = match clock.synchronised {
        Some(true) => "synchronised",
        Some(false) => "the kernel says unsynchronised",
        None => "the system does not say whether it is synchronised",
    };
    let Some(ahead) = clock.ahead_of_upstream else {
        let text = format!("{synchronised}; no node to compare with");
        return vec![match clock.synchronised {
            Some(false) => Finding::warning(Id::Clock, text, "timedatectl set-ntp true"),
            Some(true) | None => Finding::info(Id::Clock, text),
        }];
    };
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let tenths = ahead.unsigned_abs() / 100;
    let off = format!("{}.{} s {side} the upstream; {synchronised}", tenths / 10, tenths % 10);
    vec![match ahead.abs() {
        FAILING.. => Finding::problem(Id::Clock, off, HINT),
        NOTICED.. => Finding::warning(Id::Clock, off, HINT),
        _ if clock.synchronised == Some(false) => Finding::warning(
            Id::Clock,
            off,
            "it is right now, and nothing keeps it so: timedatectl set-ntp true",
        ),
        _ => Finding::ok(Id::Clock, format!("within 2 s of the upstream; {synchronised}")),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Info, Ok, Problem, Warning};

    #[test]
    fn a_clock_is_judged_by_the_upstreams_and_by_whether_something_sets_it() {
        #[rustfmt::skip]
        let table: [(Option<bool>, Option<i64>, Severity, &str); 12] = [
            (Some(true),  Some(0),       Ok,      "within 2 s of the upstream; synchronised"),
            (Some(true),  Some(1_999),   Ok,      "within 2 s of the upstream; synchronised"),
            (Some(true),  Some(2_000),   Warning, "2.0 s ahead of the upstream; synchronised"),
            (Some(true),  Some(-2_000),  Warning, "2.0 s behind the upstream; synchronised"),
            (Some(true),  Some(14_999),  Warning, "14.9 s ahead of the upstream; synchronised"),
            (Some(true),  Some(-15_000), Problem, "15.0 s behind the upstream; synchronised"),
            (Some(false), Some(-8_400),  Warning, "8.4 s behind the upstream; the kernel says unsynchronised"),
            (Some(false), Some(0),       Warning, "0.0 s ahead of the upstream; the kernel says unsynchronised"),
            (None,        Some(0),       Ok,      "within 2 s of the upstream; the system does not say whether it is synchronised"),
            (Some(true),  None,          Info,    "synchronised; no node to compare with"),
            (Some(false), None,          Warning, "the kernel says unsynchronised; no node to compare with"),
            (None,        None,          Info,    "the system does not say whether it is synchronised; no node to compare with"),
        ];
        for (synchronised, ahead_of_upstream, severity, text) in table {
            let found = judge(Clock { synchronised, ahead_of_upstream });
            let found: Vec<_> = found.iter().map(|f| (f.severity, f.text.as_str())).collect();
            assert_eq!(found, [(severity, text)]);
        }
    }
}
