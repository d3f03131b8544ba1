//! What is demanded of people (pure): policies and a person in, demands and a standing out.
//!
//! Every [`Policy`] whose conditions match applies, and of each demand the strictest holds: so one policy more
//! never lets anybody do more. [`Policies::demands`] puts them together for a person at an address, [`judge`]
//! says how a sign-in or a session stands to them. Neither reads a clock, a socket or the store.
//!
//! `live` asks for sessions that are open, `portal::demands` for those that are to be opened. When grace began
//! to run is written down in the store ([`Person::demanded`]).

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{AuthRules, SessionLimits};
use crate::{
    account::{ByRequirement, GroupName, Means, Method, Person, Requirement, Shown, UserName},
    admission::SourcePrefix,
    time::Timestamp,
};

/// Requirements in the order in which somebody is told of them: what satisfies an earlier one may satisfy a
/// later one as well.
const STRICTEST_FIRST: [Requirement; 4] =
    [Requirement::SecurityKey, Requirement::Passkey, Requirement::TwoKeys, Requirement::PasswordAndTotp];

/// One policy: whom it concerns, and what it demands of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What administrators call it.
    pub name: String,
    /// Where it is written: `file:line`.
    pub place: String,
    /// Whom it concerns; empty is everybody.
    pub users: Vec<UserName>,
    /// The groups it concerns, each member of any; empty is everybody.
    pub groups: Vec<GroupName>,
    /// From where it concerns them; empty is everywhere.
    pub networks: Vec<IpNet>,
    /// What a sign-in has to show.
    pub require: Option<Requirement>,
    /// For how long somebody may be without it.
    pub grace: Duration,
    /// Longest session.
    pub lifetime: Option<Duration>,
    /// Longest time without activity.
    pub idle: Option<Duration>,
    /// The same in an open console.
    pub console_idle: Option<Duration>,
    /// From where they may sign in and work at all; empty is everywhere.
    pub allow: Vec<IpNet>,
    /// Whether a session stays where it was opened.
    pub bind: Bind,
}

/// Whether a session stays where it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Bind {
    /// It may move.
    #[default]
    None,
    /// It stays in its network: an IPv4 /24, an IPv6 /64.
    Network,
    /// It stays at its address.
    Address,
}

impl Policy {
    /// Whether it concerns this person at all, from wherever.
    #[must_use]
    pub fn concerns(&self, user: &UserName, groups: &[GroupName]) -> bool {
        (self.users.is_empty() || self.users.contains(user))
            && (self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group)))
    }

    /// Whether it applies to whom it concerns at this address.
    #[must_use]
    pub fn applies_at(&self, ip: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// Every policy, and what holds where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// How sessions end.
    pub session: SessionLimits,
    /// By what people may sign in.
    pub auth: AuthRules,
    /// The policies, in the order of the file.
    pub rules: Vec<Policy>,
}

/// What is demanded of a person at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// For each requirement that is demanded, how long somebody may be without.
    pub graces: ByRequirement<Option<Duration>>,
    /// How their sessions end.
    pub limits: SessionLimits,
    /// Whether they may be at this address.
    pub allowed: bool,
    /// Whether a session stays where it was opened.
    pub bind: Bind,
}

impl Policies {
    /// The policies that apply to this person at this address.
    pub fn applying<'a>(
        &'a self,
        user: &'a UserName,
        groups: &'a [GroupName],
        ip: IpAddr,
    ) -> impl Iterator<Item = &'a Policy> {
        self.rules.iter().filter(move |policy| policy.concerns(user, groups) && policy.applies_at(ip))
    }

    /// What all policies that apply demand together.
    #[must_use]
    pub fn demands(&self, user: &UserName, groups: &[GroupName], ip: IpAddr) -> Demands {
        let mut demands = Demands {
            graces: ByRequirement::default(),
            limits: self.session,
            allowed: true,
            bind: Bind::None,
        };
        if !self.auth.totp {
            // Codes are not accepted any more, from nobody.
            demands.graces.passkey = Some(Duration::ZERO);
        }
        for policy in self.applying(user, groups, ip) {
            let Policy { require, grace, lifetime, idle, console_idle, allow, bind, .. } = policy;
            if let Some(requirement) = *require {
                let shortest = demands.graces.of_mut(requirement);
                *shortest = Some(shortest.map_or(*grace, |other| other.min(*grace)));
            }
            let limits = &mut demands.limits;
            limits.lifetime = lifetime.map_or(limits.lifetime, |shorter| shorter.min(limits.lifetime));
            limits.idle = idle.map_or(limits.idle, |shorter| shorter.min(limits.idle));
            limits.console_idle =
                console_idle.map_or(limits.console_idle, |shorter| shorter.min(limits.console_idle));
            demands.allowed &= allow.is_empty() || allow.iter().any(|network| network.contains(&ip));
            demands.bind = demands.bind.max(*bind);
        }
        demands
    }

    /// What is demanded of this person at this address.
    #[must_use]
    pub fn demands_on(&self, person: &Person, ip: IpAddr) -> Demands {
        self.demands(&person.user.name, &person.groups, ip)
    }

    /// The facts of a sign-in. What somebody has and nothing here asks for is not theirs to show.
    #[must_use]
    pub fn facts(&self, person: &Person, shown: Shown, signed_in_from: IpAddr, ip: IpAddr) -> Facts {
        let mut means = person.means;
        means.password &= self.auth.password;
        if !self.auth.totp {
            means.apps = 0;
        }
        if !self.auth.passkey {
            means.bound_passkeys = 0;
            means.synced_passkeys = 0;
        }
        Facts { shown, signed_in_from, ip, means, demanded: person.demanded }
    }
}

impl Demands {
    /// Whether a sign-in has to show anything in particular, at once or after a grace.
    #[must_use]
    pub fn require_something(&self) -> bool {
        Requirement::ALL.into_iter().any(|requirement| self.graces.of(requirement).is_some())
    }
}

/// What a judgement rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What was shown at the sign-in.
    pub shown: Shown,
    /// From where it came.
    pub signed_in_from: IpAddr,
    /// Where the person is.
    pub ip: IpAddr,
    /// What they have.
    pub means: Means,
    /// Since when something is demanded of them that they did not have.
    pub demanded: ByRequirement<Option<Timestamp>>,
}

/// How a sign-in stands to what is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is missing.
    Meets,
    /// Something is missing, and has time.
    Grace {
        /// What.
        lacks: Requirement,
        /// The first moment after the grace.
        until: Timestamp,
    },
    /// Something must be enrolled first.
    Enrol(Requirement),
    /// They have what is demanded, and must show it.
    Use(Requirement),
    /// Not at this address.
    Elsewhere,
    /// The session has left the place where it was opened.
    Moved,
}

/// How a sign-in stands to what is demanded at `now`.
#[must_use]
pub fn judge(demands: &Demands, facts: &Facts, now: Timestamp) -> Standing {
    if !demands.allowed {
        return Standing::Elsewhere;
    }
    let stayed = match demands.bind {
        Bind::None => true,
        Bind::Network => same_network(facts.signed_in_from, facts.ip),
        Bind::Address => facts.signed_in_from == facts.ip,
    };
    if !stayed {
        return Standing::Moved;
    }
    let demanded = || STRICTEST_FIRST.into_iter().filter(|it| demands.graces.of(*it).is_some());
    // Whoever comes by a recovery code may have lost what they have.
    let recovers = facts.shown.method == Method::Recovery;
    let within_reach = |it: &Requirement| !recovers && !shows(&facts.shown, *it) && has(&facts.means, *it);
    if let Some(requirement) = demanded().find(within_reach) {
        return Standing::Use(requirement);
    }
    let mut grace = None;
    for requirement in lacking(demands, facts) {
        let until = if recovers { now } else { grace_ends(demands, facts, requirement, now) };
        if now >= until {
            return Standing::Enrol(requirement);
        }
        if grace.is_none_or(|(_, earliest)| until < earliest) {
            grace = Some((requirement, until));
        }
    }
    grace.map_or(Standing::Meets, |(lacks, until)| Standing::Grace { lacks, until })
}

/// What is demanded and not met, the strictest first.
pub fn lacking(demands: &Demands, facts: &Facts) -> impl Iterator<Item = Requirement> {
    let (demands, facts) = (*demands, *facts);
    STRICTEST_FIRST.into_iter().filter(move |it| {
        let enough = match it {
            Requirement::TwoKeys => facts.means.keys() >= 2,
            Requirement::PasswordAndTotp | Requirement::Passkey | Requirement::SecurityKey => true,
        };
        demands.graces.of(*it).is_some() && !(enough && shows(&facts.shown, *it))
    })
}

/// What is lacking, has time, and was not written down: its grace begins now.
pub fn unnoted(demands: &Demands, facts: &Facts) -> impl Iterator<Item = Requirement> {
    let (graces, noted) = (demands.graces, facts.demanded);
    lacking(demands, facts)
        .filter(move |it| noted.of(*it).is_none() && graces.of(*it).is_some_and(|grace| !grace.is_zero()))
}

/// What somebody who enrols has to enrol, if it is not theirs to choose: what they cannot be without any longer,
/// or what they have and may have lost.
#[must_use]
pub fn wanted(demands: &Demands, facts: &Facts, now: Timestamp) -> Option<Requirement> {
    STRICTEST_FIRST.into_iter().find(|it| {
        demands.graces.of(*it).is_some()
            && (has(&facts.means, *it) || now >= grace_ends(demands, facts, *it, now))
    })
}

/// The first moment after the grace of a requirement; one that nobody was found without yet begins now.
fn grace_ends(demands: &Demands, facts: &Facts, requirement: Requirement, now: Timestamp) -> Timestamp {
    let grace = demands.graces.of(requirement).unwrap_or_default();
    facts.demanded.of(requirement).unwrap_or(now).plus(grace)
}

/// Whether what was shown is what a requirement wants to see.
fn shows(shown: &Shown, requirement: Requirement) -> bool {
    match (shown.method, requirement) {
        (Method::Recovery, _) => false,
        (Method::Totp, Requirement::PasswordAndTotp) => shown.password,
        (Method::Totp, Requirement::Passkey | Requirement::SecurityKey | Requirement::TwoKeys) => false,
        (Method::Passkey | Method::SecurityKey, Requirement::SecurityKey) => shown.device_bound,
        (
            Method::Passkey | Method::SecurityKey,
            Requirement::PasswordAndTotp | Requirement::Passkey | Requirement::TwoKeys,
        ) => true,
    }
}

/// Whether somebody who has these could show it.
#[must_use]
pub fn has(means: &Means, requirement: Requirement) -> bool {
    let after_code = |keys: u32| keys > 0 && means.apps > 0;
    let bound_keys = means.security_keys.saturating_sub(means.synced_security_keys);
    let bound = means.bound_passkeys > 0 || after_code(bound_keys);
    let key = bound || means.synced_passkeys > 0 || after_code(means.security_keys);
    match requirement {
        Requirement::PasswordAndTotp => key || means.apps > 0 && means.password,
        Requirement::Passkey | Requirement::TwoKeys => key,
        Requirement::SecurityKey => bound,
    }
}

fn same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets().iter().take(3).eq(other.octets().iter().take(3)),
        (IpAddr::V6(_), IpAddr::V6(_)) => SourcePrefix::of(one) == SourcePrefix::of(other),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::sync::Arc;

    use super::*;
    use crate::account::{Role, User, UserId};

    const HOUR: u64 = 3600;
    const NOW: Timestamp = Timestamp::from_secs(1_000_000_000);
    const LAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));
    const CAFE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * HOUR)
    }

    /// A policy that concerns everybody and demands nothing.
    fn policy() -> Policy {
        Policy {
            name: "p".to_owned(),
            place: "f:1".to_owned(),
            users: Vec::new(),
            groups: Vec::new(),
            networks: Vec::new(),
            require: None,
            grace: Duration::ZERO,
            lifetime: None,
            idle: None,
            console_idle: None,
            allow: Vec::new(),
            bind: Bind::None,
        }
    }

    fn requiring(requirement: Requirement, grace: u64) -> Policy {
        Policy { require: Some(requirement), grace: hours(grace), ..policy() }
    }

    fn policies(rules: Vec<Policy>) -> Policies {
        let session = SessionLimits { lifetime: hours(12), idle: hours(1), console_idle: hours(4) };
        let auth = AuthRules { passkey: true, totp: true, recovery: true, password: true };
        Policies { session, auth, rules }
    }

    fn person(groups: &[&str], means: Means) -> Person {
        let name = "alice".parse().unwrap();
        let at = Timestamp::from_secs(0);
        let user = User { id: UserId(1), name, role: Role::User, created_at: at, disabled_at: None };
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        Person { user: Arc::new(user), groups, means, demanded: ByRequirement::default() }
    }

    fn standing(rules: Vec<Policy>, shown: Shown, means: Means) -> Standing {
        let (policies, person) = (policies(rules), person(&[], means));
        judge(&policies.demands_on(&person, LAN), &policies.facts(&person, shown, LAN, LAN), NOW)
    }

    #[test]
    fn whom_a_policy_concerns_says_every_condition_that_is_given() {
        let users = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        let groups = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        let lan: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        #[rustfmt::skip]
        let table = [
            // case                        users            groups              networks     at    applies
            ("everybody, everywhere",      vec![],          vec![],             vec![],      CAFE, true),
            ("her",                        users(&["alice"]), vec![],           vec![],      CAFE, true),
            ("somebody else",              users(&["bob"]), vec![],             vec![],      CAFE, false),
            ("one of her groups",          vec![],          groups(&["x", "ops"]), vec![],   CAFE, true),
            ("another group",              vec![],          groups(&["x"]),     vec![],      CAFE, false),
            ("her, but another group",     users(&["alice"]), groups(&["x"]),   vec![],      CAFE, false),
            ("there",                      vec![],          vec![],             lan.clone(), LAN,  true),
            ("elsewhere",                  vec![],          vec![],             lan.clone(), CAFE, false),
            ("her, elsewhere",             users(&["alice"]), vec![],           lan,         CAFE, false),
        ];
        for (case, users, groups, networks, at, applies) in table {
            let rule = Policy { users, groups, networks, ..requiring(Requirement::Passkey, 0) };
            let demands = policies(vec![rule]).demands_on(&person(&["ops"], Means::default()), at);
            assert_eq!(demands.graces.passkey.is_some(), applies, "{case}");
        }
    }

    #[test]
    fn the_strictest_of_each_demand_holds() {
        let one =
            Policy { lifetime: Some(hours(8)), bind: Bind::Address, ..requiring(Requirement::TwoKeys, 48) };
        let other = Policy { idle: Some(hours(1) / 2), ..requiring(Requirement::TwoKeys, 24) };
        let demands = policies(vec![one, other]).demands_on(&person(&[], Means::default()), LAN);

        assert_eq!(demands.graces.two_keys, Some(hours(24)));
        assert_eq!(demands.limits.lifetime, hours(8));
        assert_eq!(demands.limits.idle, hours(1) / 2);
        assert_eq!(demands.limits.console_idle, hours(4));
        assert_eq!(demands.bind, Bind::Address);
    }

    #[test]
    fn what_is_shown_meets_a_requirement_or_names_what_is_missing() {
        use Requirement::{Passkey, PasswordAndTotp, SecurityKey, TwoKeys};
        use Standing::{Enrol, Grace, Meets, Use};
        let code = Shown::plain(Method::Totp);
        let password = Shown { password: true, ..code };
        let synced = Shown::plain(Method::Passkey);
        let bound = Shown { device_bound: true, ..synced };
        let soft_key = Shown::plain(Method::SecurityKey);
        let key = Shown { device_bound: true, ..soft_key };
        let recovery = Shown::plain(Method::Recovery);
        let app = Means { apps: 1, password: true, ..Means::default() };
        let no_password = Means { password: false, ..app };
        let one_synced = Means { synced_passkeys: 1, ..app };
        let one_bound = Means { bound_passkeys: 1, ..app };
        let one_key = Means { security_keys: 1, ..app };
        let one_soft = Means { synced_security_keys: 1, ..one_key };
        let keyless_key = Means { security_keys: 1, ..Means::default() };
        let two = Means { bound_passkeys: 1, synced_passkeys: 1, ..app };
        let later = |lacks| Grace { lacks, until: NOW.plus(hours(1)) };
        #[rustfmt::skip]
        let table = [
            // demanded          grace  shown     has           standing
            (PasswordAndTotp,    0,     password, app,          Meets),
            (PasswordAndTotp,    0,     code,     app,          Use(PasswordAndTotp)),
            (PasswordAndTotp,    0,     code,     no_password,  Enrol(PasswordAndTotp)),
            (PasswordAndTotp,    1,     code,     no_password,  later(PasswordAndTotp)),
            (PasswordAndTotp,    0,     synced,   one_synced,   Meets),
            (PasswordAndTotp,    0,     key,      one_key,      Meets),
            (PasswordAndTotp,    0,     recovery, app,          Enrol(PasswordAndTotp)),
            (Passkey,            0,     password, app,          Enrol(Passkey)),
            (Passkey,            1,     password, app,          later(Passkey)),
            (Passkey,            1,     password, one_synced,   Use(Passkey)),
            (Passkey,            0,     synced,   one_synced,   Meets),
            (Passkey,            0,     key,      one_key,      Meets),
            (Passkey,            1,     code,     keyless_key,  later(Passkey)),
            (Passkey,            1,     recovery, one_synced,   Enrol(Passkey)),
            (Passkey,            1,     recovery, app,          Enrol(Passkey)),
            (SecurityKey,        0,     synced,   one_synced,   Enrol(SecurityKey)),
            (SecurityKey,        1,     synced,   one_synced,   later(SecurityKey)),
            (SecurityKey,        0,     synced,   two,          Use(SecurityKey)),
            (SecurityKey,        0,     bound,    one_bound,    Meets),
            (SecurityKey,        0,     key,      one_key,      Meets),
            (SecurityKey,        0,     soft_key, one_soft,     Enrol(SecurityKey)),
            (SecurityKey,        1,     soft_key, one_soft,     later(SecurityKey)),
            (SecurityKey,        0,     code,     one_soft,     Enrol(SecurityKey)),
            (SecurityKey,        0,     code,     one_key,      Use(SecurityKey)),
            (Passkey,            0,     soft_key, one_soft,     Meets),
            (Passkey,            0,     code,     one_soft,     Use(Passkey)),
            (TwoKeys,            0,     bound,    one_bound,    Enrol(TwoKeys)),
            (TwoKeys,            1,     bound,    one_bound,    later(TwoKeys)),
            (TwoKeys,            0,     bound,    two,          Meets),
            (TwoKeys,            1,     code,     two,          Use(TwoKeys)),
            (TwoKeys,            1,     code,     one_bound,    Use(TwoKeys)),
            (TwoKeys,            0,     code,     app,          Enrol(TwoKeys)),
            (TwoKeys,            0,     recovery, two,          Enrol(TwoKeys)),
        ];
        for (requirement, grace, shown, means, expected) in table {
            let found = standing(vec![requiring(requirement, grace)], shown, means);
            assert_eq!(found, expected, "{requirement:?}, grace {grace}, {shown:?}, {means:?}");
        }
    }

    #[test]
    fn grace_runs_from_when_something_was_first_missed_and_ends_with_its_last_moment() {
        let policies = policies(vec![requiring(Requirement::Passkey, 1)]);
        let mut person = person(&[], Means { apps: 1, ..Means::default() });
        let mut at = |since: Option<Timestamp>| {
            person.demanded.passkey = since;
            let facts = policies.facts(&person, Shown::plain(Method::Totp), LAN, LAN);
            judge(&policies.demands_on(&person, LAN), &facts, NOW)
        };
        let lacks = Requirement::Passkey;

        assert_eq!(at(None), Standing::Grace { lacks, until: NOW.plus(hours(1)) });
        let last = NOW.minus(hours(1) - Duration::from_millis(1));
        assert_eq!(at(Some(last)), Standing::Grace { lacks, until: NOW.plus(Duration::from_millis(1)) });
        assert_eq!(at(Some(NOW.minus(hours(1)))), Standing::Enrol(lacks));
    }

    #[test]
    fn without_codes_nothing_but_a_key_is_enough() {
        let mut policies = policies(Vec::new());
        policies.auth.totp = false;
        let person = person(&[], Means { apps: 1, ..Means::default() });
        let judged =
            |shown| judge(&policies.demands_on(&person, LAN), &policies.facts(&person, shown, LAN, LAN), NOW);

        assert_eq!(judged(Shown::plain(Method::Totp)), Standing::Enrol(Requirement::Passkey));
        assert_eq!(judged(Shown::plain(Method::Recovery)), Standing::Enrol(Requirement::Passkey));
        assert_eq!(judged(Shown::plain(Method::Passkey)), Standing::Meets);
    }

    #[test]
    fn places_are_judged_by_where_the_person_is() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let here = |rule: Policy, from: &str, at: &str| {
            let (policies, person) = (policies(vec![rule]), person(&[], Means::default()));
            let facts = policies.facts(&person, Shown::plain(Method::Passkey), ip(from), ip(at));
            judge(&policies.demands_on(&person, ip(at)), &facts, NOW)
        };
        let only = || Policy { allow: vec!["10.0.0.0/8".parse().unwrap()], ..policy() };
        let bound = |bind| Policy { bind, ..policy() };

        assert_eq!(here(only(), "10.0.0.1", "10.9.9.9"), Standing::Meets);
        assert_eq!(here(only(), "10.0.0.1", "192.0.2.1"), Standing::Elsewhere);
        assert_eq!(here(bound(Bind::Address), "10.0.0.1", "10.0.0.1"), Standing::Meets);
        assert_eq!(here(bound(Bind::Address), "10.0.0.1", "10.0.0.2"), Standing::Moved);
        assert_eq!(here(bound(Bind::Network), "10.0.0.1", "10.0.0.2"), Standing::Meets);
        assert_eq!(here(bound(Bind::Network), "10.0.0.1", "10.0.1.1"), Standing::Moved);
        assert_eq!(here(bound(Bind::Network), "2001:db8::1", "2001:db8::2"), Standing::Meets);
        assert_eq!(here(bound(Bind::Network), "2001:db8::1", "2001:db8:0:1::1"), Standing::Moved);
        assert_eq!(here(bound(Bind::Network), "10.0.0.1", "::1"), Standing::Moved);
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let nets = prop::sample::subsequence(vec!["10.0.0.0/8", "203.0.113.0/24"], 0..=2);
        (
            prop::option::of(prop::sample::select(Requirement::ALL.to_vec())),
            0_u64..3,
            prop::option::of(1_u64..12),
            nets.clone(),
            nets,
            prop::sample::select(vec![Bind::None, Bind::Network, Bind::Address]),
            prop::bool::ANY,
        )
            .prop_map(|(require, grace, limit, networks, allow, bind, grouped)| {
                let nets = |list: Vec<&str>| list.into_iter().map(|net| net.parse().unwrap()).collect();
                let groups = if grouped { vec!["ops".parse().unwrap()] } else { Vec::new() };
                let limit = limit.map(hours);
                let (networks, allow) = (nets(networks), nets(allow));
                let grace = hours(grace);
                Policy {
                    groups,
                    networks,
                    require,
                    grace,
                    lifetime: limit,
                    idle: limit,
                    console_idle: limit,
                    allow,
                    bind,
                    ..policy()
                }
            })
    }

    fn any_facts() -> impl Strategy<Value = (Shown, Means, ByRequirement<Option<Timestamp>>, IpAddr, bool)> {
        let since = || prop::option::of(0_u64..4).prop_map(|ago| ago.map(|ago| NOW.minus(hours(ago))));
        (
            (prop::sample::select(Method::ALL.to_vec()), prop::bool::ANY, prop::bool::ANY),
            (0_u32..2, prop::bool::ANY, 0_u32..2, 0_u32..2, 0_u32..2, 0_u32..2),
            (since(), since(), since(), since()),
            prop::sample::select(vec![LAN, CAFE]),
            prop::bool::ANY,
        )
            .prop_map(|((method, password, device_bound), means, since, ip, grouped)| {
                let (apps, password_set, synced_passkeys, bound_passkeys, bound_keys, synced_keys) = means;
                let means = Means {
                    apps,
                    password: password_set,
                    synced_passkeys,
                    bound_passkeys,
                    security_keys: bound_keys + synced_keys,
                    synced_security_keys: synced_keys,
                };
                let (password_and_totp, passkey, security_key, two_keys) = since;
                let demanded = ByRequirement { password_and_totp, passkey, security_key, two_keys };
                (Shown { method, password, device_bound }, means, demanded, ip, grouped)
            })
    }

    /// Until when somebody may work in a session that is judged now; `None` is not at all.
    fn works_until(standing: Standing) -> Option<Timestamp> {
        match standing {
            Standing::Meets => Some(Timestamp::MAX),
            Standing::Grace { until, .. } => Some(until),
            Standing::Enrol(_) | Standing::Use(_) | Standing::Elsewhere | Standing::Moved => None,
        }
    }

    proptest! {
        #[test]
        fn one_policy_more_never_lets_anybody_do_more(
            rules in prop::collection::vec(any_policy(), 0..4),
            more in any_policy(),
            at in 0_usize..4,
            (shown, means, demanded, ip, grouped) in any_facts(),
        ) {
            let mut person = person(if grouped { &["ops"] } else { &[] }, means);
            person.demanded = demanded;
            let judged = |rules: Vec<Policy>| {
                let policies = policies(rules);
                let demands = policies.demands_on(&person, ip);
                (demands.limits, judge(&demands, &policies.facts(&person, shown, LAN, ip), NOW))
            };
            let mut longer = rules.clone();
            longer.insert(at.min(rules.len()), more);
            let ((limits, before), (shorter, after)) = (judged(rules), judged(longer));

            prop_assert!(shorter.lifetime <= limits.lifetime);
            prop_assert!(shorter.idle <= limits.idle && shorter.console_idle <= limits.console_idle);
            prop_assert!(works_until(after) <= works_until(before), "{before:?}, then {after:?}");
        }

        #[test]
        fn a_recovery_code_works_only_where_nothing_is_required(
            rules in prop::collection::vec(any_policy(), 0..4),
            (shown, means, demanded, ip, grouped) in any_facts(),
        ) {
            let mut person = person(if grouped { &["ops"] } else { &[] }, means);
            person.demanded = demanded;
            let policies = policies(rules);
            let demands = policies.demands_on(&person, ip);
            let shown = Shown { method: Method::Recovery, ..shown };
            let standing = judge(&demands, &policies.facts(&person, shown, ip, ip), NOW);
            let works = works_until(standing).is_some();

            prop_assert_eq!(works, demands.allowed && !demands.require_something());
        }

        #[test]
        fn whoever_enrols_what_is_wanted_comes_in_or_is_told_of_another_thing(
            rules in prop::collection::vec(any_policy(), 0..4),
            (_, means, demanded, ip, grouped) in any_facts(),
        ) {
            // A passkey on one device is as strong as one thing can be.
            let mut person = person(if grouped { &["ops"] } else { &[] }, means);
            person.demanded = demanded;
            person.means.bound_passkeys += 1;
            let policies = policies(rules);
            let demands = policies.demands_on(&person, ip);
            let shown = Shown { method: Method::Passkey, password: false, device_bound: true };
            let standing = judge(&demands, &policies.facts(&person, shown, ip, ip), NOW);

            let comes_in = match standing {
                Standing::Meets | Standing::Grace { lacks: Requirement::TwoKeys, .. } | Standing::Elsewhere => true,
                Standing::Enrol(Requirement::TwoKeys) => person.means.keys() < 2,
                Standing::Enrol(_) | Standing::Grace { .. } | Standing::Use(_) | Standing::Moved => false,
            };
            prop_assert!(comes_in, "{:?}", standing);
        }
    }
}
