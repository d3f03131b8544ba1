//! `[[policy]]`: what is demanded of people, and whom it concerns.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    duration, form,
    keys::{self, Key},
    problem::{Code, Place, Problem, quoted},
    take::{Check, Found},
};
use crate::{
    account::Requirement,
    gate::{
        AuthRules, PublicUrl, SessionLimits,
        demand::{Bind, Policy},
    },
};

/// The table of the policies.
const POLICIES: &str = "policy";

/// The shortest limit of a session.
const MINUTE: Duration = Duration::from_secs(60);

/// The longest time to come by a stricter method.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What else is decided, against which a policy is checked.
pub(super) struct Beside<'a> {
    pub(super) session: Option<&'a SessionLimits>,
    pub(super) auth: Option<&'a AuthRules>,
    pub(super) public_url: Option<&'a PublicUrl>,
}

impl Check<'_> {
    pub(super) fn policies(&mut self, beside: &Beside<'_>) -> Option<Vec<Policy>> {
        let named = self.each(POLICIES, |entry| entry.policy(beside))?;
        let mut right = true;
        for (index, policy) in named.iter().enumerate() {
            let Some(first) = named.iter().take(index).find(|other| other.value.name == policy.value.name)
            else {
                continue;
            };
            self.problem(
                Problem::new(Code::SameName, format!("{} is listed twice", quoted(&policy.value.name)))
                    .of(format!("{POLICIES}[{index}].name"))
                    .at(&policy.place, "again here")
                    .at(&first.place, "first here"),
            );
            right = false;
        }
        right.then(|| named.into_iter().map(|policy| policy.value).collect())
    }

    /// One policy, with the place of its name.
    fn policy(&mut self, beside: &Beside<'_>) -> Option<Found<Policy>> {
        let name = self.policy_name();
        let users = self.list(&keys::POLICY_USERS).and_then(|list| self.names(&keys::POLICY_USERS, list));
        let groups = self.list(&keys::POLICY_GROUPS).and_then(|list| self.names(&keys::POLICY_GROUPS, list));
        let networks = self.list(&keys::POLICY_NETWORKS);
        let networks = networks.and_then(|list| self.each_network(&keys::POLICY_NETWORKS, list.value));
        let require = self.requirement(beside);
        let grace = self.grace(require.as_ref());
        let limit = |session: fn(&SessionLimits) -> Duration| beside.session.map(session);
        let lifetime = self.shorter(&keys::POLICY_LIFETIME, limit(|session| session.lifetime));
        let idle = self.shorter(&keys::POLICY_IDLE, limit(|session| session.idle));
        let console_idle = self.shorter(&keys::POLICY_CONSOLE_IDLE, limit(|session| session.console_idle));
        let allow = self.allow(networks.as_deref());
        let bind = self.choice(&keys::POLICY_BIND);
        let bind = match &*bind? {
            "network" => Bind::Network,
            "address" => Bind::Address,
            "none" => Bind::None,
            // A choice that was added to the key and not here binds nobody unnoticed.
            _ => return None,
        };
        let Found { value: name, place } = name?;
        let policy = Policy {
            name,
            place: place.line(),
            users: users?,
            groups: groups?,
            networks: networks?,
            require: require?.value,
            grace: grace?,
            lifetime: lifetime?,
            idle: idle?,
            console_idle: console_idle?,
            allow: allow?,
            bind,
        };
        let limits = [policy.lifetime, policy.idle, policy.console_idle];
        if policy.require.is_none()
            && limits.iter().all(Option::is_none)
            && policy.allow.is_empty()
            && policy.bind == Bind::None
        {
            self.problem(
                Problem::new(Code::PolicyForNothing, "it demands nothing of anybody")
                    .of(POLICIES)
                    .at(&place, "")
                    .help("require = \"passkey\", or a lifetime, idle, console_idle, allow or bind"),
            );
            return None;
        }
        Some(Found { value: policy, place })
    }

    fn policy_name(&mut self) -> Option<Found<String>> {
        let Found { value, place } = self.text(&keys::POLICY_NAME)?;
        if value.trim().is_empty() || value.chars().any(char::is_control) || value.chars().count() > 64 {
            let message = format!("{} is not one line of 1 to 64 characters", quoted(&value));
            self.problem(Problem::new(Code::BadName, message).of(keys::POLICY_NAME.name).at(&place, ""));
            return None;
        }
        Some(Found { value, place })
    }

    /// Names of users or groups.
    fn names<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &Key,
        list: Found<Vec<(String, Place)>>,
    ) -> Option<Vec<T>> {
        self.all(key, Code::BadName, list.value, |text| {
            text.parse().map_err(|error: T::Err| error.to_string())
        })
    }

    fn requirement(&mut self, beside: &Beside<'_>) -> Option<Found<Option<Requirement>>> {
        let place = self.text(&keys::POLICY_REQUIRE)?.place;
        let word = self.choice(&keys::POLICY_REQUIRE)?;
        let value = Requirement::from_word(&word);
        let (Some(requirement), Some(auth)) = (value, beside.auth) else {
            return Some(Found { value, place });
        };
        let is_address =
            beside.public_url.is_some_and(|url| form::bare(url.host()).parse::<IpAddr>().is_ok());
        let keys_work = auth.passkey && !is_address;
        let by_password = auth.totp && auth.password;
        let (works, narrow) = match requirement {
            Requirement::PasswordAndTotp => (keys_work || by_password, !by_password),
            Requirement::Passkey | Requirement::SecurityKey | Requirement::TwoKeys => (keys_work, false),
        };
        if !works {
            let message = if is_address && requirement != Requirement::PasswordAndTotp {
                "nobody could meet it: the host of server.public_url is an address, and keys need a name"
            } else if requirement == Requirement::PasswordAndTotp {
                "nobody could meet it: [auth] asks for no password beside a code, and offers no passkeys"
            } else {
                "nobody could meet it: \"passkey\" is not among auth.methods"
            };
            self.problem(
                Problem::new(Code::PolicyUnmeetable, message).of(keys::POLICY_REQUIRE.name).at(&place, ""),
            );
            return None;
        }
        if narrow {
            let message =
                "only a passkey or security key meets it: [auth] asks for no password beside a code";
            self.problem(
                Problem::new(Code::NoEffect, message)
                    .of(keys::POLICY_REQUIRE.name)
                    .at(&place, "no code is enough")
                    .help("require = \"passkey\" says the same; or: auth.password = \"with-totp\""),
            );
        }
        Some(Found { value, place })
    }

    /// How long somebody may be without what is required; zero where nothing is written.
    fn grace(&mut self, require: Option<&Found<Option<Requirement>>>) -> Option<Duration> {
        let (grace, place) = self.unset_or_duration(&keys::POLICY_GRACE)?;
        let Some(grace) = grace else { return Some(Duration::ZERO) };
        if grace > LONGEST_GRACE {
            let message = format!("it is longer than {}", duration::format(LONGEST_GRACE));
            self.problem(Problem::new(Code::OutOfRange, message).of(keys::POLICY_GRACE.name).at(&place, ""));
            return None;
        }
        if let Some(Found { value: None, place: any }) = require {
            self.problem(
                Problem::new(Code::NoEffect, "it requires nothing that somebody could be without")
                    .of(keys::POLICY_GRACE.name)
                    .at(&place, "")
                    .at(any, "nothing is required"),
            );
        }
        Some(grace)
    }

    /// A duration, or `""`: not set.
    fn unset_or_duration(&mut self, key: &Key) -> Option<(Option<Duration>, Place)> {
        let Found { value: text, place } = self.text(key)?;
        if text.is_empty() {
            return Some((None, place));
        }
        match duration::parse(&text) {
            Ok(value) => Some((Some(value), place)),
            Err(error) => {
                let message = format!("{} is not a duration such as 8h: {error}", quoted(&text));
                self.problem(Problem::new(Code::BadDuration, message).of(key.name).at(&place, ""));
                None
            }
        }
    }

    /// A limit that is not longer than that of `[session]`. The inner `None` is `""`: not set.
    fn shorter(&mut self, key: &Key, longest: Option<Duration>) -> Option<Option<Duration>> {
        let (limit, place) = self.unset_or_duration(key)?;
        let Some(limit) = limit else { return Some(None) };
        if limit < MINUTE {
            let message = format!("it is shorter than {}", duration::format(MINUTE));
            self.problem(Problem::new(Code::OutOfRange, message).of(key.name).at(&place, ""));
            return None;
        }
        if let Some(longest) = longest
            && limit > longest
        {
            let longest = duration::format(longest);
            let message = format!("it is longer than session.{}, {longest}", key.split().1);
            self.problem(
                Problem::new(Code::PolicyLonger, message)
                    .of(key.name)
                    .at(&place, "")
                    .help("a policy only takes: make [session] longer and shorten it for all others"),
            );
            return None;
        }
        Some(Some(limit))
    }

    fn allow(&mut self, networks: Option<&[IpNet]>) -> Option<Vec<IpNet>> {
        let Found { value, place } = self.list(&keys::POLICY_ALLOW)?;
        let allow = self.each_network(&keys::POLICY_ALLOW, value)?;
        let meet = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
        if let Some(networks) = networks
            && !networks.is_empty()
            && !allow.is_empty()
            && !networks.iter().any(|network| allow.iter().any(|allowed| meet(network, allowed)))
        {
            let message =
                "it allows nothing of the networks that the policy is for: whoever is there is refused";
            self.problem(
                Problem::new(Code::PolicyShutsOut, message)
                    .of(keys::POLICY_ALLOW.name)
                    .at(&place, "")
                    .help("without `networks` it holds wherever somebody is"),
            );
        }
        Some(allow)
    }
}
