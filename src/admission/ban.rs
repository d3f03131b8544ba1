//! Who is banned, and for what (pure).
//!
//! [`Offence`] is the closed list of what counts against a source, [`Scores`] adds it up, [`length`] says
//! how long a ban lasts, and [`Bans`] holds those in force. The store keeps them (`Store::ban`), so that
//! every gate follows and a restart forgets nothing.
//!
//! What a page of somebody else's can make a browser do is no offence: requests with long targets, with
//! another's Host, with a path that looks like ours, or floods of cross-site requests. Otherwise a link
//! sent to the owner would ban the owner.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::SourcePrefix;
use crate::{
    audit::{Action, Event, Outcome, Reason},
    time::Timestamp,
};

/// By what sources are banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether anybody is.
    pub automatic: bool,
    /// Failed sign-ins within [`WITHIN`] that lead to a ban. What weighs less than one counts for less.
    pub after: u32,
    /// How long the first ban of a source lasts.
    pub first: Duration,
    /// How long a ban lasts at most.
    pub longest: Duration,
    /// Networks that are never banned without somebody's command.
    pub never: Vec<IpNet>,
}

/// Offences are forgotten at such a pace that as many as lead to a ban are forgotten within this time.
pub const WITHIN: Duration = Duration::from_secs(600);

/// Sources whose offences are remembered at once.
const SOURCES: usize = 1 << 16;

/// Something that counts against its source. The words are an interface: the store and the audit log
/// have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offence {
    /// A sign-in, a recovery code or an invitation that was not good.
    FailedSignIn,
    /// An API token that no rule has, a wrong secret of one, or a field that is no whole token.
    WrongToken,
    /// A sign-in that Proxmox VE itself refused. Only who is signed in at the gate gets that far, and a source
    /// with a living session is exempt: as long as both hold, this bans nobody.
    FailedPveSignIn,
    /// An attempt to sign in beyond the source's rate.
    SignInFlood,
    /// A request that no browser and no correct program would send.
    MalformedRequest,
    /// A request beyond the source's rate.
    RequestFlood,
    /// A connection beyond the source's share.
    ConnectionFlood,
}

/// What [`Offence::points`] counts in: so many make one failed sign-in.
const POINTS: u32 = 5;

impl Offence {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailedSignIn => "failed_sign_ins",
            Self::WrongToken => "wrong_api_tokens",
            Self::FailedPveSignIn => "failed_upstream_sign_ins",
            Self::SignInFlood => "sign_in_flood",
            Self::MalformedRequest => "malformed_requests",
            Self::RequestFlood => "request_flood",
            Self::ConnectionFlood => "connection_flood",
        }
    }

    /// What it weighs. A refused request or connection costs little, and honest ones come in bursts.
    const fn points(self) -> u32 {
        match self {
            Self::FailedSignIn
            | Self::WrongToken
            | Self::FailedPveSignIn
            | Self::SignInFlood
            | Self::MalformedRequest => POINTS,
            Self::RequestFlood | Self::ConnectionFlood => 1,
        }
    }

    /// What an audit event says about its source; `None` for what is no offence.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match (event.action, event.outcome) {
            (Action::SignIn | Action::RecoveryUse | Action::InviteUse, Outcome::Failure) => {
                Some(Self::FailedSignIn)
            }
            (Action::ApiTokenRefuse, _) => match event.reason.as_ref()?.word {
                // No page can make a browser send such a field: it is asked first (Fetch §4.8).
                "token_unknown" | "token_malformed" | "token_attempts" => Some(Self::WrongToken),
                // Without any rule there is nothing to guess; whoever is refused by a rule has proven its
                // secret, and so has whoever polls with a token that Proxmox VE does not accept any more.
                _ => None,
            },
            (Action::UpstreamSignIn, Outcome::Failure) => match event.reason.as_ref()?.word {
                "upstream_password" | "upstream_second_factor" | "upstream_openid" | "upstream_ticket" => {
                    Some(Self::FailedPveSignIn)
                }
                // Proxmox VE judged nothing.
                _ => None,
            },
            (Action::Refuse, _) => match event.reason.as_ref()?.word {
                "rate" => Some(Self::SignInFlood),
                "bad_head" => Some(Self::MalformedRequest),
                "request_rate" => Some(Self::RequestFlood),
                "connections" => Some(Self::ConnectionFlood),
                // An address that may not connect costs an accept, banned or not; the rest a browser can
                // be made to send.
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<Offence> for Reason {
    fn from(offence: Offence) -> Self {
        let text = match offence {
            Offence::FailedSignIn => "sign-ins from this source failed again and again",
            Offence::WrongToken => "API tokens from this source were wrong again and again",
            Offence::FailedPveSignIn => "sign-ins to Proxmox VE from this source failed again and again",
            Offence::SignInFlood => "this source attempted to sign in far more often than it may",
            Offence::MalformedRequest => "this source sent malformed requests again and again",
            Offence::RequestFlood => "this source sent far more requests than it may",
            Offence::ConnectionFlood => "this source opened far more connections than it may",
        };
        Self::new(offence.as_str(), text)
    }
}

/// How long a ban lasts for a source that had `before` of them lately: twice as long each time.
#[must_use]
pub fn length(rules: &Rules, before: u32) -> Duration {
    let factor = 1_u32.checked_shl(before).filter(|factor| *factor > 0).unwrap_or(u32::MAX);
    rules.first.saturating_mul(factor).min(rules.longest)
}

/// Offences by source, forgotten as time passes.
#[derive(Debug, Default)]
pub(super) struct Scores {
    by_source: HashMap<SourcePrefix, Score>,
}

#[derive(Debug, Clone, Copy)]
struct Score {
    /// In thousandths of a point, as of `at`.
    milli: u64,
    at: Timestamp,
}

impl Scores {
    /// Counts an offence; whether the source has now enough for a ban. Then it begins anew.
    pub(super) fn add(&mut self, source: SourcePrefix, offence: Offence, after: u32, now: Timestamp) -> bool {
        let enough = u64::from(after.saturating_mul(POINTS)) * 1000;
        if self.by_source.len() >= SOURCES && !self.by_source.contains_key(&source) {
            self.make_room(enough, now);
        }
        let score = self.by_source.entry(source).or_insert(Score { milli: 0, at: now });
        score.milli = left(*score, enough, now) + u64::from(offence.points()) * 1000;
        score.at = now;
        if score.milli < enough {
            return false;
        }
        self.by_source.remove(&source);
        true
    }

    /// Forgets who has next to nothing, and everybody if that is too few: to keep newcomers out would let
    /// many sources hide one.
    fn make_room(&mut self, enough: u64, now: Timestamp) {
        self.by_source.retain(|_, score| left(*score, enough, now) > enough / 4);
        if self.by_source.len() > SOURCES / 2 {
            self.by_source.clear();
        }
        self.by_source.shrink_to_fit();
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.by_source.len()
    }
}

/// What is left of a score at `now`.
fn left(score: Score, enough: u64, now: Timestamp) -> u64 {
    let passed = u64::try_from(now.since(score.at).as_millis()).unwrap_or(u64::MAX);
    let within = u64::try_from(WITHIN.as_millis()).unwrap_or(u64::MAX);
    score.milli.saturating_sub(enough.saturating_mul(passed) / within)
}

/// The bans in force, by network.
#[derive(Debug, Default)]
pub(super) struct Bans {
    until: HashMap<IpNet, Timestamp>,
    /// How many of them have which prefix length: only those are looked for.
    v4: Lengths<33>,
    v6: Lengths<129>,
}

#[derive(Debug)]
struct Lengths<const N: usize>([usize; N]);

impl<const N: usize> Default for Lengths<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Lengths<N> {
    fn count(&mut self, length: u8) -> Option<&mut usize> {
        self.0.get_mut(usize::from(length))
    }

    fn used(&self) -> impl Iterator<Item = u8> {
        (0_u8..).zip(self.0).filter_map(|(length, count)| (count > 0).then_some(length))
    }
}

impl Bans {
    /// Bans a network until a time, or lifts its ban.
    pub(super) fn set(&mut self, network: IpNet, until: Option<Timestamp>) {
        let network = network.trunc();
        let before = match until {
            Some(until) => self.until.insert(network, until),
            None => self.until.remove(&network),
        };
        let length = network.prefix_len();
        let count = match network {
            IpNet::V4(_) => self.v4.count(length),
            IpNet::V6(_) => self.v6.count(length),
        };
        if let Some(count) = count {
            match (before, until) {
                (None, Some(_)) => *count += 1,
                (Some(_), None) => *count -= 1,
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    /// Whether a canonical address is in a banned network at `now`.
    pub(super) fn hold(&self, ip: IpAddr, now: Timestamp) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let holds = |length: u8| {
            IpNet::new(ip, length)
                .is_ok_and(|network| self.until.get(&network.trunc()).is_some_and(|until| now < *until))
        };
        match ip {
            IpAddr::V4(_) => self.v4.used().any(holds),
            IpAddr::V6(_) => self.v6.used().any(holds),
        }
    }

    /// Forgets those that are over.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let over: Vec<IpNet> =
            self.until.iter().filter(|(_, until)| now >= **until).map(|(network, _)| *network).collect();
        for network in over {
            self.set(network, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: u32 = 20;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn source(text: &str) -> SourcePrefix {
        SourcePrefix::of(text.parse().unwrap())
    }

    #[test]
    fn only_what_no_browser_can_be_made_to_do_counts_against_a_source() {
        let refused = |word| Event::new(Action::Refuse, Outcome::Failure).because(Reason::new(word, ""));
        let failed = |action| Event::new(action, Outcome::Failure);
        let token = |word| failed(Action::ApiTokenRefuse).because(Reason::new(word, ""));
        let upstream = |word| failed(Action::UpstreamSignIn).because(Reason::new(word, ""));
        #[rustfmt::skip]
        let table = [
            ("failed sign-in",        failed(Action::SignIn),                            Some(Offence::FailedSignIn)),
            ("failed recovery code",  failed(Action::RecoveryUse),                       Some(Offence::FailedSignIn)),
            ("failed invitation",     failed(Action::InviteUse),                         Some(Offence::FailedSignIn)),
            ("wrong token or secret", token("token_unknown"),                            Some(Offence::WrongToken)),
            ("no whole token",        token("token_malformed"),                          Some(Offence::WrongToken)),
            ("token flood",           token("token_attempts"),                           Some(Offence::WrongToken)),
            ("no rule to guess at",   token("token_no_rules"),                           None),
            ("outside its rule",      token("token_path"),                               None),
            ("after its rule",        token("token_expired"),                            None),
            ("over its rate",         token("token_rate"),                               None),
            ("401 from Proxmox VE",   token("token_upstream"),                           None),
            ("password there",        upstream("upstream_password"),                     Some(Offence::FailedPveSignIn)),
            ("second factor there",   upstream("upstream_second_factor"),                Some(Offence::FailedPveSignIn)),
            ("OpenID there",          upstream("upstream_openid"),                       Some(Offence::FailedPveSignIn)),
            ("console ticket there",  upstream("upstream_ticket"),                       Some(Offence::FailedPveSignIn)),
            ("a fault there",         upstream("upstream_fault"),                        None),
            ("an unclear answer",     upstream("upstream_unclear"),                      None),
            ("guesses held back",     refused("upstream_guesses_user"),                  None),
            ("sign-in",               Event::new(Action::SignIn, Outcome::Success),      None),
            ("sign-in flood",         refused("rate"),                                   Some(Offence::SignInFlood)),
            ("malformed head",        refused("bad_head"),                               Some(Offence::MalformedRequest)),
            ("request flood",         refused("request_rate"),                           Some(Offence::RequestFlood)),
            ("cross-site flood",      refused("cross_site_rate"),                        None),
            ("connection flood",      refused("connections"),                            Some(Offence::ConnectionFlood)),
            ("a full gate",           refused("full"),                                   None),
            ("address not allowed",   refused("address"),                                None),
            ("banned already",        refused("banned"),                                 None),
            ("cross-site form",       refused("cross_site"),                             None),
            ("a path like ours",      refused("lookalike_path"),                         None),
            ("another name",          refused("wrong_host"),                             None),
            ("a head too large",      refused("large_head"),                             None),
            ("the upstream is down",  failed(Action::UpstreamFailure),                   None),
        ];
        for (case, event, offence) in table {
            assert_eq!(Offence::of(&event), offence, "{case}");
        }
    }

    #[test]
    fn twenty_failed_sign_ins_within_ten_minutes_are_enough_and_a_slow_hand_never_is() {
        let mut scores = Scores::default();
        let here = source("192.0.2.1");
        let enough = (1..=30).find(|i| scores.add(here, Offence::FailedSignIn, AFTER, at(i / 30)));
        assert_eq!(enough, Some(20));

        // One every half minute is forgotten as fast as it comes.
        assert!((0..1000).all(|i| !scores.add(here, Offence::FailedSignIn, AFTER, at(1000 + i * 30))));

        let flood = (1..=200).find(|_| scores.add(source("192.0.2.2"), Offence::RequestFlood, AFTER, at(0)));
        assert_eq!(flood, Some(100));
    }

    #[test]
    fn a_ban_begins_short_and_doubles_up_to_a_day() {
        let rules = Rules {
            automatic: true,
            after: AFTER,
            first: Duration::from_secs(600),
            longest: Duration::from_secs(86_400),
            never: vec![],
        };
        #[rustfmt::skip]
        let table = [(0, 600), (1, 1200), (2, 2400), (7, 76_800), (8, 86_400), (31, 86_400), (32, 86_400), (u32::MAX, 86_400)];
        for (before, seconds) in table {
            assert_eq!(length(&rules, before), Duration::from_secs(seconds), "{before}");
        }
    }

    #[test]
    fn a_million_sources_take_up_no_more_than_their_bound_and_hide_no_steady_offender() {
        let mut scores = Scores::default();
        let steady = source("192.0.2.1");
        let mut banned = 0;
        for i in 0_u32..1_000_000 {
            let other = SourcePrefix::of(IpAddr::V4((0x0a00_0000 | i).into()));
            assert!(!scores.add(other, Offence::FailedSignIn, AFTER, at(0)));
            assert!(scores.remembered() <= SOURCES);
            if i % 1000 == 0 && scores.add(steady, Offence::FailedSignIn, AFTER, at(0)) {
                banned += 1;
            }
        }
        assert!(banned >= 40, "{banned} of 50");
    }

    #[test]
    fn what_is_over_or_lifted_takes_up_no_room() {
        let mut bans = Bans::default();
        let network: IpNet = "192.0.2.0/24".parse().unwrap();
        let ip = "192.0.2.7".parse().unwrap();
        bans.set(network, Some(at(10)));
        bans.set(network, Some(at(20)));
        assert!(bans.hold(ip, at(19)) && !bans.hold(ip, at(20)));

        bans.sweep(at(20));
        assert_eq!((bans.until.len(), bans.v4.used().count()), (0, 0));
        bans.set(network, Some(at(30)));
        bans.set(network, None);
        bans.set(network, None);
        assert_eq!((bans.until.len(), bans.v4.used().count()), (0, 0));
    }
}
