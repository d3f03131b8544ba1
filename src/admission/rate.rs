//! How often a source may ask for something: so many times at once, and so many in a time.
//!
//! Keyed on the source and never on the user, so that nobody uses up somebody else's quota from another
//! network. IPv6 counts by /64 and, with a higher quota, by /48; whoever signed in lately from a /64 is
//! not held to account for its neighbours there. Rates spare the machine; what protects an account is
//! `gate::lockout`, and holds from any number of sources.
//!
//! Memory is bounded, however many sources come: at [`SOURCES`] those that are as good as new are
//! forgotten, and if most are not, all. To be forgotten gives a source its quota again, and costs
//! whoever brings it about tens of thousands of sources; to refuse new sources instead would let
//! them keep the owner out.

use std::{
    fmt,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore};

use super::source::{SitePrefix, SourcePrefix};
use crate::{
    audit::Reason,
    time::{Clock, Timestamp},
};

/// Attempts to sign in that a source has at once and gets back within a minute, unless said otherwise.
pub const A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// After this time it has one more of [`A_MINUTE`].
pub const PERIOD: Duration = Duration::from_secs(6);

/// Sources that are remembered at once by one rate: about 6 MB, and as many /48s.
pub const SOURCES: usize = 1 << 16;

/// How many /64s' quota a /48 has.
const SITE: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// What the gate knows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Somebody signed in from there lately.
    Known,
    /// Nobody did.
    Stranger,
}

/// How long until there is room again. To ask earlier does not make it longer.
type Wait = Duration;

/// Counts by source, and by /48.
struct SourceRate {
    by_source: Bounded<SourcePrefix>,
    by_site: Bounded<SitePrefix>,
}

impl SourceRate {
    fn new(quota: Quota, clock: Arc<dyn Clock>) -> Self {
        let time = Steady::new(clock);
        let of_site = Quota::with_period(quota.replenish_interval() / SITE.get())
            .map_or(quota, |site| site.allow_burst(quota.burst_size().saturating_mul(SITE)));
        Self { by_source: Bounded::new(quota, time.clone()), by_site: Bounded::new(of_site, time) }
    }

    fn count(&self, source: SourcePrefix, standing: Standing) -> Result<(), Wait> {
        self.by_source.count(source)?;
        match (source.site(), standing) {
            (Some(site), Standing::Stranger) => self.by_site.count(site),
            (Some(_), Standing::Known) | (None, _) => Ok(()),
        }
    }

    fn remembered(&self) -> usize {
        self.by_source.len() + self.by_site.len()
    }
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, Steady, NoOpMiddleware<Duration>>;

/// A limiter that forgets.
struct Bounded<K: Hash + Eq + Clone> {
    quota: Quota,
    time: Steady,
    limiter: Mutex<Limiter<K>>,
}

impl<K: Hash + Eq + Clone> Bounded<K> {
    fn new(quota: Quota, time: Steady) -> Self {
        let limiter = Mutex::new(RateLimiter::dashmap_with_clock(quota, time.clone()));
        Self { quota, time, limiter }
    }

    fn count(&self, key: K) -> Result<(), Wait> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.len() >= SOURCES {
            limiter.retain_recent();
            // Were fewer forgotten, the next search would come too soon after this one.
            if limiter.len() > SOURCES / 2 {
                *limiter = RateLimiter::dashmap_with_clock(self.quota, self.time.clone());
            }
            limiter.shrink_to_fit();
        }
        limiter.check_key(&key).map_err(|until| until.wait_time_from(clock::Clock::now(&self.time)))
    }

    fn len(&self) -> usize {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Counts attempts to sign in by their source.
pub struct SignInRate(SourceRate);

/// Too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more attempts to sign in from this source than one has within a minute")]
pub struct TooMany {
    /// How long until there is one more.
    pub retry_after: Duration,
}

impl SignInRate {
    /// Nobody has attempted anything yet.
    #[must_use]
    pub fn new(a_minute: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self(SourceRate::new(Quota::per_minute(a_minute), clock))
    }

    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// [`TooMany`]; such an attempt does not count.
    pub fn attempt(&self, source: SourcePrefix, standing: Standing) -> Result<(), TooMany> {
        self.0.count(source, standing).map_err(|retry_after| TooMany { retry_after })
    }

    /// Sources and /48s that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.0.remembered()
    }
}

impl fmt::Debug for SignInRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRate").field("remembered", &self.remembered()).finish()
    }
}

/// How many requests a source may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Lasting, in a second.
    pub a_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Counts requests by their source.
pub(super) struct RequestRate(SourceRate);

/// Too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more requests from this source than one may send")]
pub struct TooManyRequests {
    /// How long until there is room for one more.
    pub retry_after: Duration,
}

impl From<TooManyRequests> for Reason {
    fn from(too_many: TooManyRequests) -> Self {
        Self::new("request_rate", too_many)
    }
}

impl RequestRate {
    pub(super) fn new(requests: Requests, clock: Arc<dyn Clock>) -> Self {
        Self(SourceRate::new(Quota::per_second(requests.a_second).allow_burst(requests.burst), clock))
    }

    pub(super) fn request(&self, source: SourcePrefix, standing: Standing) -> Result<(), TooManyRequests> {
        self.0.count(source, standing).map_err(|retry_after| TooManyRequests { retry_after })
    }
}

impl fmt::Debug for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestRate").field("remembered", &self.0.remembered()).finish()
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

    use super::{Standing::Stranger, *};
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
        (0..50).filter(|_| rate.attempt(source, Stranger).is_ok()).count()
    }

    #[test]
    fn a_source_has_ten_attempts_and_one_more_every_six_seconds() {
        let (rate, clock) = rate();
        let here = source("192.0.2.1");

        assert_eq!(attempts(&rate, here), 10);
        assert_eq!(rate.attempt(here, Stranger), Err(TooMany { retry_after: PERIOD }));
        clock.advance(Duration::from_millis(5_999));
        assert_eq!(rate.attempt(here, Stranger), Err(TooMany { retry_after: Duration::from_millis(1) }));
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
        assert_eq!(rate.attempt(here, Stranger), Err(TooMany { retry_after: PERIOD }));
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
                // A /48 each.
                IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(i) << 80 | 1))
            };
            assert_eq!(rate.attempt(SourcePrefix::of(ip), Stranger), Ok(()), "{ip}");
            assert!(rate.remembered() <= 2 * SOURCES);
            if i % 100_000 == 0 {
                clock.advance(PERIOD);
                assert_eq!(rate.attempt(owner, Stranger), Ok(()));
            }
        }
    }

    #[test]
    fn a_million_addresses_of_one_network_are_one_source() {
        let (rate, _) = rate();
        let passed = (0_u32..1_000_000)
            .filter(|i| {
                let ip = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(*i));
                rate.attempt(SourcePrefix::of(ip.into()), Stranger).is_ok()
            })
            .count();

        assert_eq!((passed, rate.remembered()), (10, 2));
    }

    #[test]
    fn who_is_as_good_as_new_is_forgotten_before_anybody_else() {
        let (rate, clock) = rate();
        let quiet =
            |i: usize| SourcePrefix::of(Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(i).unwrap()).into());
        let busy = source("192.0.2.1");
        for i in 0..SOURCES - 1 {
            rate.attempt(quiet(i), Stranger).unwrap();
        }
        clock.advance(Duration::from_secs(30));
        assert_eq!(attempts(&rate, busy), 10);

        rate.attempt(source("192.0.2.2"), Stranger).unwrap();

        assert_eq!(rate.remembered(), 2);
        assert_eq!(attempts(&rate, busy), 0, "its attempts are remembered");
    }

    #[test]
    fn a_slash_48_has_the_quota_of_sixteen_and_exhausts_nobody_who_signed_in_lately() {
        let (rate, _) = rate();
        let neighbour = |i: u128| SourcePrefix::of(Ipv6Addr::from_bits(0x2001_0db8 << 96 | i << 64).into());
        let flood: usize = (0..1000).map(|i| attempts(&rate, neighbour(i))).sum();

        assert_eq!(flood, 160);
        assert!(rate.attempt(neighbour(5000), Stranger).is_err());
        assert!(rate.attempt(neighbour(5001), Standing::Known).is_ok());
        assert!(rate.attempt(source("2001:db8:1::1"), Stranger).is_ok(), "another /48");
    }

    #[test]
    fn the_interface_of_proxmox_ve_has_all_the_requests_it_needs() {
        let clock = Arc::new(ManualClock::at(START));
        let requests =
            Requests { a_second: NonZeroU32::new(50).unwrap(), burst: NonZeroU32::new(400).unwrap() };
        let rate = RequestRate::new(requests, clock.clone());
        let office = source("192.0.2.1");
        // Ten people load it in one second, 28 requests each, and leave ten tabs open at a request a second
        // each: as much as one polls whose session has expired.
        assert!((0..280).all(|_| rate.request(office, Stranger).is_ok()));
        for _ in 0..600 {
            clock.advance(Duration::from_secs(1));
            assert!((0..10).all(|_| rate.request(office, Stranger).is_ok()));
        }

        let flood = (0..100_000).filter(|_| rate.request(office, Stranger).is_ok()).count();
        assert!(flood <= 400);
        let refused = rate.request(office, Stranger).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(20));
    }
}
