//! Time-based one-time passwords (RFC 6238): authenticator apps.
//!
//! [`verify`] is the whole of the protocol: from a secret, what was typed, the time and the last time
//! step that was accepted it says which time step the code stands for. It reads no clock and touches
//! no store. The caller spends the step in the transaction that opens the session, so that a code
//! works once (§5.2).
//!
//! SHA-1, six digits and thirty seconds, because widespread apps ignore every other choice.

use std::fmt;

use zeroize::Zeroizing;

use crate::{account::TimeStep, secret, time::Timestamp};

/// Steps accepted on either side of the current one (30 s each), for drifted clocks and slow fingers.
/// RFC 6238 §5.2 recommends at most one.
pub const SKEW: u16 = 1;

/// Length of a time step in seconds (RFC 6238 §4.1, `X`).
pub const STEP_SECONDS: u64 = 30;

/// The secret that a phone and the gate share: 160 bits, as RFC 4226 §4 (R6) recommends.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A new secret.
    #[must_use]
    pub fn random() -> Self {
        Self(Zeroizing::new(secret::random::<20>().to_vec()))
    }

    /// From its bytes: at least 128 bits (RFC 4226 §4, R6).
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= 16).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The bytes, for sealing.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Base32 without padding (RFC 4648 §6), as people type it into an app.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&self.0))
    }

    /// The `otpauth://` address that apps read from a QR code.
    ///
    /// The label says where the account belongs: `account` is `alice@pve.example.com`. A colon is
    /// the label's own separator, so none may be inside.
    #[must_use]
    pub fn to_url(&self, account: &str, issuer: &str) -> Zeroizing<String> {
        let totp = totp_rs::Builder::new()
            .with_secret(self.0.to_vec())
            .with_account_name(account.replace(':', "_"))
            .with_issuer(Some(issuer.replace(':', "_")))
            .build_noncompliant();
        Zeroizing::new(totp.to_url().unwrap_or_default())
    }

    /// The code for a time step: what the phone shows.
    #[must_use]
    pub fn code(&self, step: TimeStep) -> String {
        let at = step.0.saturating_mul(STEP_SECONDS);
        self.totp().generate(at).to_string()
    }

    fn totp(&self) -> totp_rs::Totp {
        totp_rs::Builder::new().with_secret(self.0.to_vec()).with_skew(SKEW).build_noncompliant()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The time step at `now` (RFC 6238 §4.2).
#[must_use]
pub fn step_at(now: Timestamp) -> TimeStep {
    TimeStep(u64::try_from(now.secs()).unwrap_or(0) / STEP_SECONDS)
}

/// Checks what was typed at `now` and returns the time step it stands for.
///
/// Blanks inside are ignored (apps show `123 456`); otherwise exactly six ASCII digits are a code.
/// `last` is the step of the last accepted code of this authenticator: steps only go up.
///
/// # Errors
///
/// [`TotpError`]; every case counts as a failed attempt.
pub fn verify(secret: &Secret, typed: &str, now: Timestamp, last: TimeStep) -> Result<TimeStep, TotpError> {
    let code = six_digits(typed).ok_or(TotpError::NotACode)?;
    let seconds = u64::try_from(now.secs()).unwrap_or(0);
    let step = secret.totp().check(&code, seconds).map(TimeStep).ok_or(TotpError::NoMatch)?;
    if step <= last {
        return Err(TotpError::Reused { step });
    }
    Ok(step)
}

/// How far a clock may be off for [`drift`] to find out: an hour either way.
pub const FAR: u64 = 120;

/// An app whose clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// The step that its code stands for.
    pub step: TimeStep,
    /// How far its clock is ahead of the gate's, in seconds; negative where it is behind. A code is shown for
    /// half a minute, so this is true to fifteen seconds.
    pub ahead: i64,
}

/// Which step outside of those that [`verify`] accepts a code stands for, within [`FAR`]: the nearest.
///
/// It accepts nothing. A step that is still to come is known to whoever is told of it, so the caller makes it
/// void before. Every step is compared whatever is found, so that how long it takes says nothing.
#[must_use]
pub fn drift(secret: &Secret, typed: &str, now: Timestamp) -> Option<Drift> {
    let code = six_digits(typed)?;
    let (here, totp) = (step_at(now).0, secret.totp());
    let mut nearest: Option<TimeStep> = None;
    for step in here.saturating_sub(FAR)..=here.saturating_add(FAR) {
        let shown = Zeroizing::new(totp.generate(step.saturating_mul(STEP_SECONDS)).to_string());
        let is_it = secret::equal(shown.as_bytes(), code.as_bytes()) && step.abs_diff(here) > u64::from(SKEW);
        let is_nearer = nearest.is_none_or(|found| step.abs_diff(here) < found.0.abs_diff(here));
        if is_it && is_nearer {
            nearest = Some(TimeStep(step));
        }
    }
    let middle = |step: TimeStep| i64::try_from(step.0 * STEP_SECONDS + STEP_SECONDS / 2).unwrap_or(i64::MAX);
    nearest.map(|step| Drift { step, ahead: middle(step).saturating_sub(now.secs()) })
}

/// Whether this could be a code at all; anything else is compared with nothing.
#[must_use]
pub fn is_code(typed: &str) -> bool {
    six_digits(typed).is_some()
}

fn six_digits(typed: &str) -> Option<Zeroizing<String>> {
    let code: String = typed.chars().filter(|c| !matches!(c, ' ' | '\t' | '\u{a0}')).collect();
    let code = Zeroizing::new(code);
    (code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())).then_some(code)
}

/// Why a code was refused.
///
/// The person at the keyboard reads one sentence for all of these; the audit log tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotpError {
    /// Something else was typed.
    #[error("not six digits")]
    NotACode,
    /// The code stands for no time step near now: mistyped, or the clocks have drifted apart.
    #[error("code matches no time step within {SKEW} of now")]
    NoMatch,
    /// The code is right and was used before, or a later one was.
    #[error("code for time step {} was already used", step.0)]
    Reused {
        /// The step that the code stands for.
        step: TimeStep,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Secret {
        Secret::from_bytes(b"12345678901234567890").unwrap()
    }

    const NEVER: TimeStep = TimeStep(0);

    #[test]
    fn a_code_of_another_time_tells_how_far_the_clock_is_off() {
        // In the middle of its step.
        let now = Timestamp::from_secs(1_790_000_010 + 5);
        let here = step_at(now).0;
        #[rustfmt::skip]
        let table = [
            // steps  ahead, in seconds
            (0_i64,   None),
            (1,       None),
            (-1,      None),
            (2,       Some(60)),
            (-2,      Some(-60)),
            (-3,      Some(-90)),
            (120,     Some(3600)),
            (-120,    Some(-3600)),
            (121,     None),
            (-121,    None),
        ];
        for (steps, expected) in table {
            let step = TimeStep(here.saturating_add_signed(steps));
            let ahead = expected.map(|seconds| seconds + (step_at(now).0 * 30 + 15) as i64 - now.secs());

            let found = drift(&secret(), &secret().code(step), now);

            assert_eq!(found, ahead.map(|ahead| Drift { step, ahead }), "{steps}");
            // Nobody gets in by it.
            assert_eq!(
                found.is_some() || steps.abs() > 1,
                verify(&secret(), &secret().code(step), now, NEVER).is_err()
            );
        }
        assert_eq!(drift(&secret(), "not a code", now), None);
        assert_eq!(
            drift(&Secret::from_bytes(&[7; 20]).unwrap(), &secret().code(TimeStep(here + 5)), now),
            None
        );
    }

    /// RFC 6238 appendix B, the SHA-1 rows, cut to six digits.
    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        let table = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        for (seconds, code) in table {
            let now = Timestamp::from_secs(seconds);
            assert_eq!(secret().code(step_at(now)), code, "{seconds}");
            assert_eq!(verify(&secret(), code, now, NEVER), Ok(step_at(now)), "{seconds}");
        }
    }

    /// RFC 4226 appendix D: the same function with a counter.
    #[test]
    fn the_vectors_of_rfc_4226_hold() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (step, code) in codes.into_iter().enumerate() {
            assert_eq!(secret().code(TimeStep(step as u64)), code, "{step}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_own_step_and_one_to_either_side_and_only_upwards() {
        use TotpError::{NoMatch, NotACode, Reused};
        let now = Timestamp::from_secs(3000); // step 100
        let code = |step| secret().code(TimeStep(step));
        let late = |step| Err(Reused { step: TimeStep(step) });
        #[rustfmt::skip]
        let table = [
            // case                        typed                       last  verdict
            ("this step's",                code(100),                   0,   Ok(TimeStep(100))),
            ("the one before",             code(99),                    0,   Ok(TimeStep(99))),
            ("the next",                   code(101),                   0,   Ok(TimeStep(101))),
            ("two before",                 code(98),                    0,   Err(NoMatch)),
            ("two ahead",                  code(102),                   0,   Err(NoMatch)),
            ("used",                       code(100),                 100,   late(100)),
            ("older than the last used",   code(99),                  100,   late(99)),
            ("next after the last used",   code(101),                 100,   Ok(TimeStep(101))),
            ("with a blank inside",        spaced(&code(100)),          0,   Ok(TimeStep(100))),
            ("five digits",                code(100)[..5].to_owned(),   0,   Err(NotACode)),
            ("seven digits",               code(100) + "0",             0,   Err(NotACode)),
            ("a sign",                     format!("+{}", &code(100)[..5]), 0, Err(NotACode)),
            ("full-width digits",          "１２３４５６".to_owned(),   0,   Err(NotACode)),
            ("nothing",                    String::new(),               0,   Err(NotACode)),
        ];
        for (case, typed, last, verdict) in table {
            assert_eq!(verify(&secret(), &typed, now, TimeStep(last)), verdict, "{case}");
        }
    }

    fn spaced(code: &str) -> String {
        format!("{} {}", &code[..3], &code[3..])
    }

    #[test]
    fn a_clock_set_back_an_hour_does_not_reopen_used_steps() {
        let late = Timestamp::from_secs(7200);
        let used = verify(&secret(), &secret().code(step_at(late)), late, NEVER).unwrap();
        let early = Timestamp::from_secs(3600);

        let again = verify(&secret(), &secret().code(step_at(early)), early, used);

        assert_eq!(again, Err(TotpError::Reused { step: step_at(early) }));
    }

    #[test]
    fn the_address_for_apps_names_account_and_issuer() {
        let url = secret().to_url("alice@pve.example.com", "Proxmox VE gate");

        assert_eq!(
            *url,
            "otpauth://totp/Proxmox%20VE%20gate:alice%40pve.example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Proxmox%20VE%20gate"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_typed_no_step_outside_the_window_or_at_most_the_last_is_accepted(
            typed in "[0-9 ]{0,8}", now in 0_i64..4_000_000_000, last in 0_u64..200_000_000,
        ) {
            let now = Timestamp::from_secs(now);
            if let Ok(step) = verify(&secret(), &typed, now, TimeStep(last)) {
                prop_assert!(step.0 > last && step.0.abs_diff(step_at(now).0) <= u64::from(SKEW));
            }
        }
    }
}
