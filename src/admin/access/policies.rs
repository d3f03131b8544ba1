//! What policies demand of a user at an address, and whether the user has it.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Outcome, Step};
use crate::{
    account::{EndReason, Means, Method, Person, Requirement, Shown},
    admin::Desk,
    config::duration,
    gate::{
        demand::{self, Bind, Demands, Facts, Policies, Standing},
        policy::SessionFact,
    },
};

/// What is demanded of somebody at an address.
pub(super) struct Demanded {
    pub(super) step: Step,
    /// What a session of theirs is, opened by the best that they have.
    pub(super) session: SessionFact,
    pub(super) object: Value,
}

/// Judges the best sign-in that the user could make there, as the gate would.
pub(super) fn demanded(desk: &Desk, ip: IpAddr, person: &Person) -> Demanded {
    let policies = desk.config.gate.policies();
    let demands = policies.demands_on(person, ip);
    let facts = best(&policies, person, ip);
    let standing = demand::judge(&demands, &facts, desk.now);
    let applying: Vec<_> = policies.applying(&person.user.name, &person.groups, ip).collect();
    let by = if applying.is_empty() {
        "no policy".to_owned()
    } else {
        let told: Vec<_> =
            applying.iter().map(|policy| format!("policy {:?} ({})", policy.name, policy.place)).collect();
        told.join(", ")
    };
    let told = told(&demands);
    let (outcome, session, standing_word, why) = match standing {
        Standing::Meets => (Outcome::Passes, SessionFact::Alive, "meets", format!("{told}; the user has it")),
        Standing::Grace { lacks, until } => {
            let why = format!("{told}; without {} until {until}", lacks.as_str());
            (Outcome::Passes, SessionFact::Alive, "grace", why)
        }
        Standing::Enrol(requirement) => {
            let why = format!("{told}; {} is to be enrolled first", requirement.as_str());
            (Outcome::Note, SessionFact::Enrolling, "enrol", why)
        }
        Standing::Use(requirement) => {
            let over = SessionFact::Over(EndReason::Policy);
            (Outcome::Refused, over, "use", format!("{told}; {} is to be shown", requirement.as_str()))
        }
        Standing::Elsewhere | Standing::Moved => {
            let why = format!("{told}; this address is not among the networks of `allow`");
            (Outcome::Refused, SessionFact::Over(EndReason::Policy), "elsewhere", why)
        }
    };
    let required = Requirement::ALL.into_iter().filter_map(|requirement| {
        let grace = demands.graces.of(requirement)?;
        Some(json!({ "require": requirement.as_str(), "grace": duration::format(grace) }))
    });
    let object = json!({
        "policies": applying.iter().map(|policy| json!({ "name": policy.name, "place": policy.place })).collect::<Vec<_>>(),
        "groups": person.groups.iter().map(crate::account::GroupName::as_str).collect::<Vec<_>>(),
        "demands": required.collect::<Vec<_>>(),
        "allowed_here": demands.allowed,
        "lifetime": duration::format(demands.limits.lifetime),
        "idle": duration::format(demands.limits.idle),
        "console_idle": duration::format(demands.limits.console_idle),
        "bind": bind_word(demands.bind),
        "standing": standing_word,
        "has": has(&person.means),
    });
    Demanded { step: Step { asked: "demands", by, outcome, why }, session, object }
}

/// The strongest that the user could show.
fn best(policies: &Policies, person: &Person, ip: IpAddr) -> Facts {
    let facts = |shown| policies.facts(person, shown, ip, ip);
    let means = facts(Shown::plain(Method::Recovery)).means;
    let method = if demand::has(&means, Requirement::SecurityKey) && means.bound_passkeys == 0 {
        Method::SecurityKey
    } else if means.keys() > means.security_keys {
        Method::Passkey
    } else if means.apps > 0 {
        Method::Totp
    } else {
        Method::Recovery
    };
    let device_bound = demand::has(&means, Requirement::SecurityKey);
    facts(Shown { method, password: means.password, device_bound })
}

fn told(demands: &Demands) -> String {
    let required: Vec<_> = Requirement::ALL
        .into_iter()
        .filter(|it| demands.graces.of(*it).is_some())
        .map(Requirement::as_str)
        .collect();
    let required = if required.is_empty() { "any sign-in".to_owned() } else { required.join(" and ") };
    let limits = demands.limits;
    let bind = match demands.bind {
        Bind::None => "",
        Bind::Network => ", bound to its network",
        Bind::Address => ", bound to its address",
    };
    format!(
        "{required}; sessions of {}, {} idle, consoles {}{bind}",
        duration::format(limits.lifetime),
        duration::format(limits.idle),
        duration::format(limits.console_idle)
    )
}

fn has(means: &Means) -> Value {
    json!({
        "totp": means.apps,
        "password": means.password,
        "passkeys": means.synced_passkeys.saturating_add(means.bound_passkeys),
        "synced_passkeys": means.synced_passkeys,
        "security_keys": means.security_keys,
    })
}

const fn bind_word(bind: Bind) -> &'static str {
    match bind {
        Bind::None => "none",
        Bind::Network => "network",
        Bind::Address => "address",
    }
}
