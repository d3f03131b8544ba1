//! How many one-time codes may be guessed at an account, by whom, and from where (pure).
//!
//! [`judge`] says whether a code may be compared at all, [`charged`] what the counts are after it was
//! let through, [`settled`] what they are once it was right. The caller writes the charge to disk
//! *before* it compares (`Store::try_code`), so that neither `kill -9` nor twenty requests at once nor
//! a second gate on the store get a guess for nothing. Counts are kept by `store`, rates of attempts
//! by `admission::rate`. The numbers stand below, each with its reason.
//!
//! # Two lanes
//!
//! A device that has signed in to the account before is *known* (a signed cookie and a row in the
//! store) and has counts of its own: [`IN_A_ROW`] for itself, [`KNOWN_A_YEAR`] with the account's other
//! known devices. Every other is *unknown*, and shares three limits with all unknown devices:
//!
//! 1. [`IN_A_ROW`] wrong codes from one source prefix (an IPv4 address, an IPv6 /64) lock that account
//!    for that prefix;
//! 2. [`SINCE_SUCCESS`] wrong codes from anywhere since the last sign-in with a code;
//! 3. [`UNKNOWN_A_YEAR`] guesses in any 365 days. A code that is compared with the secrets of two
//!    authenticator apps is two guesses. Each is right by chance with 3 in 1,000,000 (three time steps
//!    are accepted), so that a year of guessing succeeds less than once in 1,000.
//!
//! A known device that has used up its own counts is treated as an unknown one: whoever holds it could
//! delete the cookie just as well.
//!
//! A code whose time is another one (`totp::drift`) is a wrong one here, whoever is told of it afterwards
//! (`drift`): it costs a guess and opens nothing. Whoever is told that a guess will be right in a while can't
//! use it, for its step is void by then; so these comparisons add nothing to what a guess is worth.
//!
//! # What lifts them
//!
//! A right code ends the row that it stands in, and the count since the last success. A passkey, a
//! recovery code or an invitation lifts every row and that count. `pvegate user unlock` lifts these
//! and forgets the guesses of the year: it is the only thing that does, for a limit that the day's
//! first passkey resets would be none. With each use, somebody grants the world 300 guesses more.
//!
//! # What an attacker can bring about, and what remains to the owner
//!
//! Somebody in other networks can bring an account to the state in which unknown devices may not sign
//! in with a code: until the next success with 100 wrong codes from at least 13 prefixes, for up to a
//! year with 300. That is the price of the promise above, and all there is to gain. A known device with
//! a code, and a passkey, a recovery code or an invitation on any device work in that state as
//! before, at the first attempt. Refused is the owner who has nothing but an authenticator app *and*
//! stands before a browser that never signed in or lost its cookies; `pvegate user unlock` helps. Somebody
//! behind the owner's own address (one NAT, one exit of a VPN) can lock the owner's unknown devices
//! there with eight wrong codes, and use up that address's rate of attempts.

use crate::{
    account::Method,
    audit::Reason,
    store::{GuessedAt, Guesses, GuessesByDay},
    time::Timestamp,
};

/// Wrong codes in a row after which a known device, or a source prefix, is locked.
pub const IN_A_ROW: u32 = 8;

/// Wrong codes of unknown devices since the last success, after which they may not use codes.
pub const SINCE_SUCCESS: u32 = 100;

/// Guesses of unknown devices at one account in any 365 days.
pub const UNKNOWN_A_YEAR: u32 = 300;

/// Guesses of known devices at one account in any 365 days.
pub const KNOWN_A_YEAR: u32 = 100;

/// Days back that count. Today is one more, so that a guess counts for 365 times 24 hours at least.
const DAYS: i64 = 365;

/// Days that are remembered. The newest of them hold more guesses than any limit, so whatever is
/// forgotten cannot matter, whichever way the clock is set.
const DAYS_KEPT: usize = 400;

/// Whose budget pays for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Known devices'.
    Known,
    /// Everybody else's.
    Unknown,
}

/// Whether a code may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may, once this is paid.
    Evaluate(Charge),
    /// It may not.
    Refuse(Refusal),
}

/// What a code costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    lane: Lane,
    day: i64,
    guesses: u32,
}

/// Why a code is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many wrong codes in a row from this source.
    #[error("{IN_A_ROW} wrong codes in a row from this source")]
    Locked,
    /// Too many wrong codes from anywhere.
    #[error("{SINCE_SUCCESS} wrong codes since the last success: only known devices may use codes")]
    DeviceOnly,
    /// Too many guesses within a year.
    #[error("the year's {UNKNOWN_A_YEAR} guesses are used up: only known devices may use codes")]
    YearBudget,
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let word = match refusal {
            Refusal::Locked => "locked",
            Refusal::DeviceOnly => "device_only",
            Refusal::YearBudget => "year_budget",
        };
        Self::new(word, refusal)
    }
}

/// Whether signing in by this method lifts the rows of wrong codes.
#[must_use]
pub fn is_lifted_by(method: Method) -> bool {
    match method {
        Method::Totp => false,
        Method::Passkey | Method::SecurityKey | Method::Recovery => true,
    }
}

/// Judges a code that would be compared with `secrets` secrets.
#[must_use]
pub fn judge(guesses: &Guesses, secrets: u32, now: Timestamp) -> Verdict {
    let day = day_of(now);
    // A code that is compared with nothing still takes its place in a row.
    let cost = secrets.max(1);
    let pays = |lane| Verdict::Evaluate(Charge { lane, day, guesses: cost });
    let fits = |by_day, limit| within_a_year(by_day, day).saturating_add(cost) <= limit;
    if let Some(in_a_row) = guesses.in_a_row_by_device
        && in_a_row < IN_A_ROW
        && fits(&guesses.by_known, KNOWN_A_YEAR)
    {
        return pays(Lane::Known);
    }
    if !fits(&guesses.by_unknown, UNKNOWN_A_YEAR) {
        Verdict::Refuse(Refusal::YearBudget)
    } else if guesses.since_success >= SINCE_SUCCESS {
        Verdict::Refuse(Refusal::DeviceOnly)
    } else if guesses.in_a_row_from_source >= IN_A_ROW {
        Verdict::Refuse(Refusal::Locked)
    } else {
        pays(Lane::Unknown)
    }
}

/// How an account stands with devices that never signed in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Why none of them may use a code, wherever it is.
    pub everywhere: Option<Refusal>,
    /// Source prefixes from which none may.
    pub locked: Vec<&'a str>,
    /// Guesses that are left to them within the year.
    pub left: u32,
}

/// Says so of an account with this many secrets.
#[must_use]
pub fn standing(at: &GuessedAt, secrets: u32, now: Timestamp) -> Standing<'_> {
    let anywhere =
        Guesses { since_success: at.since_success, by_unknown: at.by_unknown.clone(), ..Guesses::default() };
    let everywhere = match judge(&anywhere, secrets, now) {
        Verdict::Evaluate(_) => None,
        Verdict::Refuse(refusal) => Some(refusal),
    };
    let locked = at.sources.iter().filter(|(_, in_a_row)| *in_a_row >= IN_A_ROW);
    Standing {
        everywhere,
        locked: locked.map(|(source, _)| source.as_str()).collect(),
        left: UNKNOWN_A_YEAR.saturating_sub(within_a_year(&at.by_unknown, day_of(now))),
    }
}

/// The counts once a code was let through: as if it were wrong, which it is until the contrary is
/// written down.
#[must_use]
pub fn charged(mut guesses: Guesses, charge: Charge) -> Guesses {
    let by_day = match charge.lane {
        Lane::Known => {
            guesses.in_a_row_by_device = guesses.in_a_row_by_device.map(|row| row.saturating_add(1));
            &mut guesses.by_known
        }
        Lane::Unknown => {
            guesses.in_a_row_from_source = guesses.in_a_row_from_source.saturating_add(1);
            guesses.since_success = guesses.since_success.saturating_add(1);
            &mut guesses.by_unknown
        }
    };
    let today = by_day.entry(charge.day).or_default();
    *today = today.saturating_add(charge.guesses);
    while by_day.len() > DAYS_KEPT {
        by_day.pop_first();
    }
    guesses
}

/// The counts once the code turned out right. It was no guess, and gives back what it cost.
#[must_use]
pub fn settled(mut guesses: Guesses, charge: Charge) -> Guesses {
    let by_day = match charge.lane {
        Lane::Known => {
            guesses.in_a_row_by_device = guesses.in_a_row_by_device.map(|_| 0);
            &mut guesses.by_known
        }
        Lane::Unknown => {
            guesses.in_a_row_from_source = 0;
            &mut guesses.by_unknown
        }
    };
    guesses.since_success = 0;
    if let Some(spent) = by_day.get_mut(&charge.day) {
        *spent = spent.saturating_sub(charge.guesses);
        by_day.retain(|_, spent| *spent > 0);
    }
    guesses
}

/// Guesses of the 365 days before the end of `day`. Those of later days count too: the clock was set
/// back since.
fn within_a_year(by_day: &GuessesByDay, day: i64) -> u32 {
    by_day.range(day.saturating_sub(DAYS)..).fold(0, |sum: u32, (_, spent)| sum.saturating_add(*spent))
}

/// The day of a time, in UTC: days since 1970.
fn day_of(now: Timestamp) -> i64 {
    now.secs().div_euclid(24 * 3600)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Noon of a day.
    fn day(number: i64) -> Timestamp {
        Timestamp::from_secs(number * 24 * 3600 + 12 * 3600)
    }

    fn unknown(in_a_row: u32, since_success: u32, by_day: &[(i64, u32)]) -> Guesses {
        Guesses {
            in_a_row_from_source: in_a_row,
            since_success,
            by_unknown: by_day.iter().copied().collect(),
            ..Guesses::default()
        }
    }

    fn known(in_a_row: u32, by_day: &[(i64, u32)]) -> Guesses {
        Guesses {
            in_a_row_by_device: Some(in_a_row),
            by_known: by_day.iter().copied().collect(),
            ..Guesses::default()
        }
    }

    /// An unknown device may not, whatever the reason.
    fn shut(mut guesses: Guesses) -> Guesses {
        guesses.in_a_row_from_source = 8;
        guesses
    }

    #[test]
    fn each_limit_holds_from_its_own_number_on() {
        use Lane::{Known, Unknown};
        use Refusal::{DeviceOnly, Locked, YearBudget};
        const TODAY: i64 = 20_000;
        const BUSY: [(i64, u32); 2] = [(TODAY, 99), (TODAY - 365, 200)];
        #[rustfmt::skip]
        let table = [
            // case                              counts                                    secrets  verdict
            ("nothing happened",                 unknown(0, 0, &[]),                             1, Ok(Unknown)),
            ("seven in a row",                   unknown(7, 7, &[]),                             1, Ok(Unknown)),
            ("eight in a row",                   unknown(8, 8, &[]),                             1, Err(Locked)),
            ("99 since the last success",        unknown(0, 99, &[]),                            1, Ok(Unknown)),
            ("100 since the last success",       unknown(0, 100, &[]),                           1, Err(DeviceOnly)),
            ("299 in a year",                    unknown(0, 0, &BUSY),                           1, Ok(Unknown)),
            ("299 in a year, two secrets",       unknown(0, 0, &BUSY),                           2, Err(YearBudget)),
            ("298 in a year, two secrets",       unknown(0, 0, &[(TODAY, 298)]),                 2, Ok(Unknown)),
            ("300 today",                        unknown(0, 0, &[(TODAY, 300)]),                 1, Err(YearBudget)),
            ("300 on the day 365 days ago",      unknown(0, 0, &[(TODAY - 365, 300)]),           1, Err(YearBudget)),
            ("300 on the day before that",       unknown(0, 0, &[(TODAY - 366, 300)]),           1, Ok(Unknown)),
            ("300 tomorrow: the clock was set",  unknown(0, 0, &[(TODAY + 1, 300)]),             1, Err(YearBudget)),
            ("no secret to compare with",        unknown(0, 0, &[(TODAY, 300)]),                 0, Err(YearBudget)),
            ("known",                            shut(known(0, &[])),                            1, Ok(Known)),
            ("known, seven in a row",            shut(known(7, &[])),                            1, Ok(Known)),
            ("known, eight in a row",            shut(known(8, &[])),                            1, Err(Locked)),
            ("known, eight in a row, elsewhere", known(8, &[]),                                  1, Ok(Unknown)),
            ("known, 99 in a year",              shut(known(0, &[(TODAY, 99)])),                 1, Ok(Known)),
            ("known, 99 in a year, two secrets", shut(known(0, &[(TODAY, 99)])),                 2, Err(Locked)),
            ("known, 100 in a year",             shut(known(0, &[(TODAY - 365, 100)])),          1, Err(Locked)),
            ("known, 100 the year before",       shut(known(0, &[(TODAY - 366, 100)])),          1, Ok(Known)),
        ];
        for (case, guesses, secrets, expected) in table {
            let found = match judge(&guesses, secrets, day(TODAY)) {
                Verdict::Evaluate(charge) => Ok(charge.lane),
                Verdict::Refuse(refusal) => Err(refusal),
            };
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn an_account_stands_with_strangers_as_its_counts_say() {
        use Refusal::{DeviceOnly, YearBudget};
        const TODAY: i64 = 20_000;
        let source = |name: &str, in_a_row| (name.to_owned(), in_a_row);
        #[rustfmt::skip]
        let table = [
            // since success, guesses  sources            everywhere         locked       left
            (0,               0,       source("a", 7),    None,              vec![],      300),
            (8,               8,       source("a", 8),    None,              vec!["a"],   292),
            (100,             100,     source("a", 1),    Some(DeviceOnly),  vec![],      200),
            (0,               300,     source("a", 1),    Some(YearBudget),  vec![],      0),
            (100,             400,     source("a", 9),    Some(YearBudget),  vec!["a"],   0),
        ];
        for (since_success, guesses, source, everywhere, locked, left) in table {
            let at = GuessedAt {
                sources: vec![source],
                since_success,
                by_unknown: [(TODAY, guesses)].into(),
                ..GuessedAt::default()
            };
            assert_eq!(standing(&at, 1, day(TODAY)), Standing { everywhere, locked, left }, "{at:?}");
        }
    }

    #[test]
    fn a_guess_counts_for_365_days_to_the_second() {
        let midnight = Timestamp::from_secs(20_000 * 24 * 3600);
        let just_before = midnight.minus(Duration::from_secs(1));
        for at in [midnight, just_before] {
            let Verdict::Evaluate(charge) = judge(&Guesses::default(), 300, at) else { panic!("refused") };
            let spent = Guesses { in_a_row_from_source: 0, ..charged(Guesses::default(), charge) };

            let a_year_later = at.plus(DAY * 365);
            assert_eq!(judge(&spent, 1, a_year_later), Verdict::Refuse(Refusal::YearBudget));
            assert!(matches!(judge(&spent, 1, a_year_later.plus(DAY)), Verdict::Evaluate(_)));
        }
    }

    #[test]
    fn a_right_code_gives_back_what_it_cost_and_ends_its_own_row() {
        let before = Guesses {
            in_a_row_by_device: Some(3),
            in_a_row_from_source: 5,
            since_success: 42,
            by_known: [(1, 2)].into(),
            by_unknown: [(1, 9)].into(),
        };
        let charge = |lane| Charge { lane, day: 7, guesses: 2 };

        let by_known = settled(charged(before.clone(), charge(Lane::Known)), charge(Lane::Known));
        let by_unknown = settled(charged(before.clone(), charge(Lane::Unknown)), charge(Lane::Unknown));

        let none_since = Guesses { since_success: 0, ..before };
        assert_eq!(by_known, Guesses { in_a_row_by_device: Some(0), ..none_since.clone() });
        assert_eq!(by_unknown, Guesses { in_a_row_from_source: 0, ..none_since });
    }

    #[test]
    fn a_year_of_guessing_succeeds_less_than_once_in_a_thousand() {
        let steps_accepted = f64::from(2 * crate::gate::ceremony::totp::SKEW + 1);
        let one_guess = steps_accepted / 1e6;

        let a_year = 1.0 - (1.0 - one_guess).powf(f64::from(UNKNOWN_A_YEAR));

        assert!(a_year < 1.0 / 1000.0, "{a_year}");
    }

    /// One account, as the store keeps it.
    #[derive(Default)]
    struct Account {
        since_success: u32,
        sources: BTreeMap<u8, u32>,
        devices: BTreeMap<u8, u32>,
        by_known: GuessesByDay,
        by_unknown: GuessesByDay,
    }

    impl Account {
        fn seen_from(&self, source: u8, device: Option<u8>) -> Guesses {
            Guesses {
                in_a_row_by_device: device.map(|device| self.devices.get(&device).copied().unwrap_or(0)),
                in_a_row_from_source: self.sources.get(&source).copied().unwrap_or(0),
                since_success: self.since_success,
                by_known: self.by_known.clone(),
                by_unknown: self.by_unknown.clone(),
            }
        }

        fn keep(&mut self, source: u8, device: Option<u8>, guesses: Guesses) {
            self.since_success = guesses.since_success;
            self.sources.insert(source, guesses.in_a_row_from_source);
            if let (Some(device), Some(in_a_row)) = (device, guesses.in_a_row_by_device) {
                self.devices.insert(device, in_a_row);
            }
            self.by_known = guesses.by_known;
            self.by_unknown = guesses.by_unknown;
        }

        fn lift(&mut self) {
            self.since_success = 0;
            self.sources.clear();
            self.devices.clear();
        }
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Codes { source: u8, device: Option<u8>, secrets: u32, wrong: u32, then_right: bool },
        ClockSet { by_seconds: i64 },
        Lifted,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let codes = (0_u8..60, prop::option::weighted(0.1, 0_u8..3), 1_u32..4, 0_u32..12, any::<bool>());
        prop_oneof![
            20 => codes.prop_map(|(source, device, secrets, wrong, right)| Happening::Codes {
                source, device, secrets, wrong, then_right: right && wrong % 4 == 0,
            }),
            3 => (-100_000_i64..200_000).prop_map(|by_seconds| Happening::ClockSet { by_seconds }),
            1 => (-900_i64..900).prop_map(|days| Happening::ClockSet { by_seconds: days * 86_400 }),
            1 => Just(Happening::Lifted),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Times are what the clock showed, wherever it was set to.
        #[test]
        fn whatever_happens_no_limit_is_passed(happenings in proptest::collection::vec(happening(), 1..400)) {
            let mut account = Account::default();
            let mut now = day(20_000);
            let mut in_a_row: BTreeMap<u8, u32> = BTreeMap::new();
            let mut wrong_guesses: [Vec<i64>; 2] = Default::default();
            for happening in happenings {
                match happening {
                    Happening::ClockSet { by_seconds } => {
                        now = Timestamp::from_secs(now.secs() + by_seconds);
                    }
                    Happening::Lifted => {
                        account.lift();
                        in_a_row.clear();
                    }
                    Happening::Codes { source, device, secrets, wrong, then_right } => {
                        for right in std::iter::repeat_n(false, wrong as usize).chain(then_right.then_some(true)) {
                            let seen = account.seen_from(source, device);
                            let Verdict::Evaluate(charge) = judge(&seen, secrets, now) else { continue };
                            account.keep(source, device, charged(seen, charge));
                            if right {
                                let seen = account.seen_from(source, device);
                                account.keep(source, device, settled(seen, charge));
                                in_a_row.remove(&source);
                                continue;
                            }
                            let guesses = std::iter::repeat_n(now.secs(), secrets as usize);
                            match charge.lane {
                                Lane::Known => wrong_guesses[0].extend(guesses),
                                Lane::Unknown => {
                                    wrong_guesses[1].extend(guesses);
                                    let row = in_a_row.entry(source).or_default();
                                    *row += 1;
                                    prop_assert!(*row <= IN_A_ROW, "{row} in a row from one source");
                                }
                            }
                        }
                    }
                }
                prop_assert!(account.by_unknown.len() <= DAYS_KEPT && account.by_known.len() <= DAYS_KEPT);
            }
            for (mut times, limit) in wrong_guesses.into_iter().zip([KNOWN_A_YEAR, UNKNOWN_A_YEAR]) {
                times.sort_unstable();
                for (first, one_too_many) in times.iter().zip(times.iter().skip(limit as usize)) {
                    prop_assert!(one_too_many - first > 365 * 86_400, "{limit} guesses and one within a year");
                }
            }
        }
    }

    /// 1,000 networks, each at the full rate of attempts whenever that could matter.
    #[test]
    fn a_year_of_guessing_from_a_thousand_networks_is_300_guesses_and_a_known_device_signs_in() {
        let mut account = Account::default();
        let mut sources: BTreeMap<u16, u32> = BTreeMap::new();
        let mut evaluated = 0;
        let start = day(20_000);
        let mut now = start;
        while now.since(start) < DAY * 365 {
            for network in 0..1000 {
                for _ in 0..10 {
                    let mut seen = account.seen_from(0, None);
                    seen.in_a_row_from_source = sources.get(&network).copied().unwrap_or(0);
                    let Verdict::Evaluate(charge) = judge(&seen, 1, now) else { break };
                    evaluated += 1;
                    let seen = charged(seen, charge);
                    sources.insert(network, seen.in_a_row_from_source);
                    account.keep(0, None, seen);
                }
            }
            now = now.plus(DAY);
            // The owner signs in with a passkey every day, which lifts what a passkey lifts.
            account.lift();
            sources.clear();
        }

        assert_eq!(evaluated, UNKNOWN_A_YEAR);
        assert_eq!(judge(&account.seen_from(0, None), 1, now), Verdict::Refuse(Refusal::YearBudget));
        let Verdict::Evaluate(charge) = judge(&account.seen_from(0, Some(0)), 1, now) else {
            panic!("the owner's known device is refused");
        };
        assert_eq!(charge.lane, Lane::Known);
    }
}
