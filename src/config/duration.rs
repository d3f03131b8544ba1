//! Durations as people write them: one number, one unit, e.g. `250ms`, `90s`, `15m`, `12h`, `400d`.
//!
//! One number and one unit, so that every duration has one shortest spelling and messages can quote it.
//! A day is 24 hours. Bounds are the caller's.

use std::time::Duration;

/// Units with their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing is written.
    #[error("it is empty")]
    Empty,
    /// It begins with a minus.
    #[error("it is negative")]
    Negative,
    /// The number is zero.
    #[error("it is zero, and nothing can be done in no time")]
    Zero,
    /// Something stands around or between number and unit.
    #[error("number and unit are written without spaces, `{0}`")]
    Space(String),
    /// It begins with something else than a digit.
    #[error("it begins with a number")]
    NoNumber,
    /// The number stands alone.
    #[error("the unit is missing: ms, s, m, h or d")]
    NoUnit,
    /// The number has a decimal point or comma.
    #[error("the number is whole: take a smaller unit")]
    Fraction,
    /// More than one number and unit.
    #[error("it has one number and one unit{0}")]
    Several(String),
    /// The unit is none of ours.
    #[error("the unit is ms, s, m, h or d, not `{0}`")]
    Unit(String),
    /// The number is longer than any time that matters.
    #[error("the number is too large")]
    Overflow,
}

/// Takes a duration apart.
///
/// # Errors
///
/// [`DurationError`], the reason in a clause that can follow "`12 h` is not a duration such as 12h:".
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.trim().is_empty() {
        return Err(DurationError::Empty);
    }
    if text.contains(char::is_whitespace) {
        let tight: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        return Err(match parse(&tight) {
            Ok(_) => DurationError::Space(tight),
            Err(other) => other,
        });
    }
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(DurationError::NoNumber);
    }
    if unit.starts_with(['.', ',']) {
        return Err(DurationError::Fraction);
    }
    if unit.contains(|c: char| c.is_ascii_digit()) {
        return Err(DurationError::Several(sum(text).map(|it| format!(": `{it}`")).unwrap_or_default()));
    }
    let number: u64 = number.parse().map_err(|_| DurationError::Overflow)?;
    if unit.is_empty() {
        return Err(if number == 0 { DurationError::Zero } else { DurationError::NoUnit });
    }
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::Unit(unit.to_owned()));
    };
    match number.checked_mul(*length) {
        None => Err(DurationError::Overflow),
        Some(0) => Err(DurationError::Zero),
        Some(millis) => Ok(Duration::from_millis(millis)),
    }
}

/// `1h30m` as `90m`, for the message; `None` if a part makes no sense by itself.
fn sum(text: &str) -> Option<String> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let after = rest.get(unit..)?;
        let end = after.find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| unit + length);
        total = total.checked_add(parse(rest.get(..end)?).ok()?)?;
        rest = rest.get(end..)?;
    }
    Some(format(total))
}

/// The shortest spelling: the longest unit that leaves a whole number. Less than a millisecond is cut off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, length) in UNITS {
        if millis >= u128::from(length) && millis.is_multiple_of(u128::from(length)) {
            return format!("{}{unit}", millis / u128::from(length));
        }
    }
    "0s".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_one_number_and_one_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("12h", 43_200_000),
            ("400d", 34_560_000_000),
            ("007s", 7_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        #[rustfmt::skip]
        let table = [
            ("",                      DurationError::Empty),
            ("  ",                    DurationError::Empty),
            ("12 h",                  DurationError::Space("12h".into())),
            (" 12h",                  DurationError::Space("12h".into())),
            ("12 hours",              DurationError::Unit("hours".into())),
            ("-5m",                   DurationError::Negative),
            ("0",                     DurationError::Zero),
            ("0s",                    DurationError::Zero),
            ("90",                    DurationError::NoUnit),
            ("1.5h",                  DurationError::Fraction),
            ("1,5h",                  DurationError::Fraction),
            ("1h30m",                 DurationError::Several(": `90m`".into())),
            ("1h30",                  DurationError::Several(String::new())),
            ("forever",               DurationError::NoNumber),
            ("12H",                   DurationError::Unit("H".into())),
            ("3w",                    DurationError::Unit("w".into())),
            ("99999999999999999999s", DurationError::Overflow),
            ("18446744073709551615d", DurationError::Overflow),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_that_is_printed_and_read_again_is_the_same(millis in 1_u64..=u64::MAX / 1_000) {
            let duration = Duration::from_millis(millis);

            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_a_duration_or_an_error(text in ".{0,20}|[0-9]{1,22}[a-z]{0,3}") {
            let _ = parse(&text);
        }
    }
}
