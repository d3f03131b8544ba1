//! `pvegate ban list|add|remove`

use std::{net::IpAddr, path::Path, time::Duration};

use clap::Subcommand;
use ipnet::IpNet;
use serde_json::json;

use super::{
    Desk, Exit, Failure,
    output::{Output, relative},
};
use crate::{
    audit::{Action, Event, Outcome, Reason},
    config::duration,
    store::{Ban, Store as _},
};

/// Who speaks to this machine by SSH, as `sshd` says it.
const SSH_CONNECTION: &str = "SSH_CONNECTION";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the networks that are banned.
    ///
    /// Bans that are over are not shown, though the next one of such a network is
    /// longer for a week. Nothing is changed.
    #[command(verbatim_doc_comment)]
    List,
    /// Ban a network: its connections are closed, and new ones before TLS.
    ///
    /// Every gate on this store knows within a second. A ban that the network has is
    /// replaced. A network with a live session, or from which you are connected by
    /// SSH, is banned with --yes only; sessions themselves go on elsewhere: to end
    /// them, use `pvegate session revoke`.
    #[command(verbatim_doc_comment)]
    Add {
        /// An address, or a network such as 203.0.113.0/24.
        #[arg(value_parser = network)]
        network: IpNet,
        /// How long, e.g. 90m, 12h, 30d. Without it, until it is removed.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
        length: Option<Duration>,
        /// Why; the list shows it and the audit log keeps it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Even if somebody who is signed in, or you, would be locked out.
        #[arg(long)]
        yes: bool,
    },
    /// Lift the ban of a network, within a second.
    ///
    /// What it had done is forgotten: its next ban is as short as a first one.
    #[command(verbatim_doc_comment)]
    Remove {
        /// The address or network, as `pvegate ban list` shows it.
        #[arg(value_parser = network)]
        network: IpNet,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// A network, or an address for the network of it alone.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip.to_canonical()),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| "an address such as 203.0.113.9 or a network such as 203.0.113.0/24".to_owned())?,
    };
    Ok(network.trunc())
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::List => list(&mut desk, output),
        Verb::Add { network, length, reason, yes } => {
            if !yes && let Some(whom) = whom_it_locks_out(&mut desk, &network)? {
                let message = format!("{network} is where {whom}; to ban it all the same, add --yes");
                return Err(Failure::new(Exit::Refused, message));
            }
            add(&mut desk, network, length, reason, output)
        }
        Verb::Remove { network, reason } => remove(&mut desk, network, reason, output),
    }
}

fn list(desk: &mut Desk, output: &Output) -> Result<(), Failure> {
    let bans = desk.store.bans(desk.now)?;
    let rows: Vec<Vec<String>> = bans
        .iter()
        .map(|ban| {
            vec![
                ban.network.to_string(),
                if ban.automatic { "itself" } else { "command" }.to_owned(),
                relative(ban.created_at, desk.now),
                ban.expires_at.map_or_else(|| "when removed".to_owned(), |at| relative(at, desk.now)),
                ban.reason.clone(),
            ]
        })
        .collect();
    let objects: Vec<_> = bans.iter().map(object).collect();
    output.list(&objects, &["NETWORK", "BY", "SINCE", "ENDS", "REASON"], &rows, "nobody is banned");
    Ok(())
}

fn object(ban: &Ban) -> serde_json::Value {
    json!({
        "network": ban.network.to_string(),
        "automatic": ban.automatic,
        "reason": ban.reason,
        "created_at": ban.created_at.to_string(),
        "expires_at": ban.expires_at.map(|at| at.to_string()),
        "before": ban.before,
    })
}

/// Somebody who would not come in any more.
fn whom_it_locks_out(desk: &mut Desk, network: &IpNet) -> Result<Option<String>, Failure> {
    let you = std::env::var(SSH_CONNECTION).ok();
    let you = you.and_then(|line| line.split(' ').next()?.parse::<IpAddr>().ok());
    if let Some(you) = you.filter(|you| network.contains(&you.to_canonical())) {
        return Ok(Some(format!("you are connected from, {you}")));
    }
    for session in desk.store.live_sessions(desk.now)? {
        if network.contains(&session.client.to_canonical()) {
            let user = desk.store.user(session.user)?;
            let name = user.map_or_else(|| "somebody".to_owned(), |user| user.name.to_string());
            return Ok(Some(format!("{name} is signed in, {}", session.client)));
        }
    }
    Ok(None)
}

fn add(
    desk: &mut Desk,
    network: IpNet,
    length: Option<Duration>,
    reason: String,
    output: &Output,
) -> Result<(), Failure> {
    let ban = Ban {
        network,
        reason,
        automatic: false,
        created_at: desk.now,
        expires_at: length.map(|length| desk.now.plus(length)),
        before: 0,
    };
    desk.store.put_ban(&ban)?;
    desk.audit.record(&told(Action::BanAdd, &ban, &ban.reason));
    output.data(&object(&ban), || match length {
        Some(length) => format!("{network} is banned for {}", duration::format(length)),
        None => format!("{network} is banned until `pvegate ban remove {network}`"),
    });
    Ok(())
}

fn remove(desk: &mut Desk, network: IpNet, reason: String, output: &Output) -> Result<(), Failure> {
    let Some(ban) = desk.store.lift_ban(&network, desk.now)? else {
        let message = format!("{network} is not banned; `pvegate ban list` names all that are");
        return Err(Failure::new(Exit::NoSuchThing, message));
    };
    desk.audit.record(&told(Action::BanRemove, &ban, &reason));
    output.data(&json!({ "network": network.to_string(), "banned": false }), || {
        format!("{network} is not banned any more")
    });
    Ok(())
}

fn told(action: Action, ban: &Ban, reason: &str) -> Event {
    let event = Event::new(action, Outcome::Success).ban(ban.network, ban.expires_at);
    if reason.is_empty() { event } else { event.because(Reason::new("command", reason)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_stands_for_itself_and_host_bits_are_dropped() {
        #[rustfmt::skip]
        let table = [
            ("203.0.113.9",         Some("203.0.113.9/32")),
            ("203.0.113.9/24",      Some("203.0.113.0/24")),
            ("2001:db8::1",         Some("2001:db8::1/128")),
            ("2001:db8::1/64",      Some("2001:db8::/64")),
            ("::ffff:203.0.113.9",  Some("203.0.113.9/32")),
            ("everybody",           None),
            ("203.0.113.9/33",      None),
        ];
        for (text, read) in table {
            assert_eq!(network(text).ok().map(|network| network.to_string()).as_deref(), read, "{text}");
        }
    }
}
