//! How often a source may attempt to sign in: so many at once, and as many a minute.
//!
//! Keyed on the source prefix and never on the user, so that nobody uses up somebody else's attempts
//! from another network. This spares the machine; what protects an account is `gate::lockout`, and
//! holds from any number of sources.
//!
//! Memory is bounded, however many sources come: at [`SOURCES`] those that are as good as new are
//! forgotten, and if most are not, all. To be forgotten gives a source ten attempts, and costs
//! whoever brings it about tens of thousands of sources; to refuse new sources instead would let
//! them keep the owner out.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore};

use super::SourcePrefix;
use crate::time::{Clock, Timestamp};

/// Attempts that a source has at once and gets back within a minute, unless said otherwise.
pub const A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// After this time it has one more of [`A_MINUTE`].
pub const PERIOD: Duration = Duration::from_secs(6);

/// Sources that are remembered at once: about 6 MB.
pub const SOURCES: usize = 1 << 16;

type Limiter = RateLimiter<SourcePrefix, DashMapStateStore<SourcePrefix>, Steady, NoOpMiddleware<Duration>>;

/// Counts attempts to sign in by their source.
pub struct SignInRate {
    time: Steady,
    a_minute: NonZeroU32,
    limiter: Mutex<Limiter>,
}

/// Too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more attempts to sign in from this source than one has within a minute")]
pub struct TooMany {
    /// How long until there is one more. To ask earlier does not make it longer.
    pub retry_after: Duration,
}

impl SignInRate {
    /// Nobody has attempted anything yet.
    #[must_use]
    pub fn new(a_minute: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let time = Steady::new(clock);
        let limiter = Mutex::new(limiter(a_minute, time.clone()));
        Self { time, a_minute, limiter }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// [`TooMany`]; such an attempt does not count.
    pub fn attempt(&self, source: SourcePrefix) -> Result<(), TooMany> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.len() >= SOURCES {
            limiter.retain_recent();
            // Were fewer forgotten, the next search would come too soon after this one.
            if limiter.len() > SOURCES / 2 {
                *limiter = self::limiter(self.a_minute, self.time.clone());
            }
            limiter.shrink_to_fit();
        }
        limiter
            .check_key(&source)
            .map_err(|until| TooMany { retry_after: until.wait_time_from(clock::Clock::now(&self.time)) })
    }

    /// Sources that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn limiter(a_minute: NonZeroU32, time: Steady) -> Limiter {
    RateLimiter::dashmap_with_clock(Quota::per_minute(a_minute), time)
}

impl fmt::Debug for SignInRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRate").field("remembered", &self.remembered()).finish()
    }
}

/// Our clock for governor, which wants one that never goes back: where ours is set back, time stands
/// still for one reading and goes on from there. Otherwise everybody with a full count would wait
/// until the clock shows the old time again.
#[derive(Clone)]
pub(crate) struct Steady {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<(Timestamp, Duration)>>,
}

impl std::fmt::Debug for Steady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Steady")
    }
}

impl Steady {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = (clock.now(), Duration::ZERO);
        Self { clock, seen: Arc::new(Mutex::new(seen)) }
    }
}

impl clock::Clock for Steady {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let (before, passed) = *seen;
        let passed = passed.saturating_add(now.since(before));
        *seen = (now, passed);
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::time::ManualClock;

    const START: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn rate() -> (SignInRate, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(START));
        (SignInRate::new(A_MINUTE, clock.clone()), clock)
    }

    fn source(text: &str) -> SourcePrefix {
        SourcePrefix::of(text.parse().unwrap())
    }

    fn attempts(rate: &SignInRate, source: SourcePrefix) -> usize {
        (0..50).filter(|_| rate.attempt(source).is_ok()).count()
    }

    #[test]
    fn a_source_has_ten_attempts_and_one_more_every_six_seconds() {
        let (rate, clock) = rate();
        let here = source("192.0.2.1");

        assert_eq!(attempts(&rate, here), 10);
        assert_eq!(rate.attempt(here), Err(TooMany { retry_after: PERIOD }));
        clock.advance(Duration::from_millis(5_999));
        assert_eq!(rate.attempt(here), Err(TooMany { retry_after: Duration::from_millis(1) }));
        clock.advance(Duration::from_millis(1));
        assert_eq!(attempts(&rate, here), 1);
        clock.advance(Duration::from_secs(60));
        assert_eq!(attempts(&rate, here), 10);
        clock.advance(Duration::from_secs(24 * 3600));
        assert_eq!(attempts(&rate, here), 10, "a day off saves up nothing");
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_slash_64() {
        let (rate, _) = rate();

        assert_eq!(attempts(&rate, source("2001:db8:0:1::1")), 10);
        assert_eq!(attempts(&rate, source("2001:db8:0:1:ffff::2")), 0);
        assert_eq!(attempts(&rate, source("2001:db8:0:2::1")), 10);
        assert_eq!(attempts(&rate, source("192.0.2.1")), 10);
        assert_eq!(attempts(&rate, source("::ffff:192.0.2.1")), 0);
        assert_eq!(attempts(&rate, source("192.0.2.2")), 10);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
        let (rate, clock) = rate();
        let here = source("192.0.2.1");
        clock.advance(Duration::from_secs(7 * 24 * 3600));
        assert_eq!(attempts(&rate, here), 10);

        clock.set(START);
        assert_eq!(rate.attempt(here), Err(TooMany { retry_after: PERIOD }));
        clock.advance(PERIOD);

        assert_eq!(attempts(&rate, here), 1);
    }

    #[test]
    fn a_million_sources_take_up_no_more_than_their_bound_and_keep_nobody_out() {
        let (rate, clock) = rate();
        let owner = source("192.0.2.1");
        for i in 0_u32..1_000_000 {
            let ip: IpAddr = if i % 2 == 0 {
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | i))
            } else {
                // A /64 each.
                IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(i) << 64 | 1))
            };
            assert_eq!(rate.attempt(SourcePrefix::of(ip)), Ok(()), "{ip}");
            assert!(rate.remembered() <= SOURCES);
            if i % 100_000 == 0 {
                clock.advance(PERIOD);
                assert_eq!(rate.attempt(owner), Ok(()));
            }
        }
    }

    #[test]
    fn a_million_addresses_of_one_network_are_one_source() {
        let (rate, _) = rate();
        let passed = (0_u32..1_000_000)
            .filter(|i| {
                let ip = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(*i));
                rate.attempt(SourcePrefix::of(ip.into())).is_ok()
            })
            .count();

        assert_eq!((passed, rate.remembered()), (10, 1));
    }

    #[test]
    fn who_is_as_good_as_new_is_forgotten_before_anybody_else() {
        let (rate, clock) = rate();
        let quiet =
            |i: usize| SourcePrefix::of(Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(i).unwrap()).into());
        let busy = source("192.0.2.1");
        for i in 0..SOURCES - 1 {
            rate.attempt(quiet(i)).unwrap();
        }
        clock.advance(Duration::from_secs(30));
        assert_eq!(attempts(&rate, busy), 10);

        rate.attempt(source("192.0.2.2")).unwrap();

        assert_eq!(rate.remembered(), 2);
        assert_eq!(attempts(&rate, busy), 0, "its attempts are remembered");
    }
}
