//! Banned networks: those in force, and those whose end is recent enough to make the next one longer.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params, params};

use super::sqlite::{optional_time, parsed, time};
use crate::time::Timestamp;

/// How long after its end a ban makes the next one of its network longer.
pub const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How recent a sign-in spares its network from a ban that comes by itself.
pub const SPARED_BY_SIGN_IN: Duration = Duration::from_secs(24 * 3600);

/// Bans that came by themselves and are kept at once; past this the one that ends first goes.
pub const AUTOMATIC: u32 = 10_000;

/// A network that may not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The network, without host bits.
    pub network: IpNet,
    /// For what: a word of the gate's, or what an administrator wrote.
    pub reason: String,
    /// Whether it came by itself.
    pub automatic: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// The first moment at which it is over; `None` for one that somebody must lift.
    pub expires_at: Option<Timestamp>,
    /// How many bans the network had before this one, each begun within [`REMEMBERED`] of the end of the
    /// one before.
    pub before: u32,
}

/// What became of a ban that was to come by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum AutomaticBan {
    /// It is in force.
    Now(Ban),
    /// It was before, by whoever; nothing changed.
    Before,
    /// A live session was opened from there, or a sign-in within [`SPARED_BY_SIGN_IN`]; nothing changed.
    Spared,
}

pub(super) fn in_force(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Ban>> {
    connection
        .prepare_cached(&format!(
            "SELECT {BAN} FROM ban WHERE expires_at IS NULL OR expires_at > ?1 ORDER BY created_at, network"
        ))?
        .query_map([now.millis()], ban)?
        .collect()
}

pub(super) fn of(connection: &Connection, network: &IpNet) -> rusqlite::Result<Option<Ban>> {
    connection
        .prepare_cached(&format!("SELECT {BAN} FROM ban WHERE network = ?1"))?
        .query_row([network.trunc().to_string()], ban)
        .optional()
}

pub(super) fn by_itself(
    transaction: &Transaction<'_>,
    network: IpNet,
    reason: &str,
    now: Timestamp,
    length: &dyn Fn(u32) -> Duration,
) -> rusqlite::Result<AutomaticBan> {
    let network = network.trunc();
    let before = match of(transaction, &network)? {
        Some(Ban { expires_at: None, .. }) => return Ok(AutomaticBan::Before),
        Some(Ban { expires_at: Some(until), .. }) if now < until => return Ok(AutomaticBan::Before),
        Some(Ban { expires_at: Some(until), before, .. }) if now < until.plus(REMEMBERED) => {
            before.saturating_add(1)
        }
        Some(_) | None => 0,
    };
    if somebody_is_at_home(transaction, &network, now)? {
        return Ok(AutomaticBan::Spared);
    }
    let ban = Ban {
        network,
        reason: reason.to_owned(),
        automatic: true,
        created_at: now,
        expires_at: Some(now.plus(length(before))),
        before,
    };
    put(transaction, &ban)?;
    transaction.execute(
        "DELETE FROM ban WHERE network IN (
             SELECT network FROM ban WHERE automatic = 1 AND network <> ?1
             ORDER BY expires_at DESC LIMIT -1 OFFSET ?2)",
        params![network.to_string(), AUTOMATIC.saturating_sub(1)],
    )?;
    Ok(AutomaticBan::Now(ban))
}

/// Puts a ban in place of the network's last one.
pub(super) fn put(transaction: &Transaction<'_>, ban: &Ban) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO ban (network, reason, automatic, created_at, expires_at, before)
         VALUES (:network, :reason, :automatic, :created, :expires, :before)
         ON CONFLICT (network) DO UPDATE SET reason = excluded.reason, automatic = excluded.automatic,
             created_at = excluded.created_at, expires_at = excluded.expires_at, before = excluded.before",
        named_params! {
            ":network": ban.network.trunc().to_string(),
            ":reason": ban.reason,
            ":automatic": ban.automatic,
            ":created": ban.created_at.millis(),
            ":expires": ban.expires_at.map(Timestamp::millis),
            ":before": ban.before,
        },
    )?;
    Ok(())
}

/// Lifts a ban and forgets that there was one; the ban, if it was in force.
pub(super) fn lift(
    transaction: &Transaction<'_>,
    network: &IpNet,
    now: Timestamp,
) -> rusqlite::Result<Option<Ban>> {
    let found = of(transaction, network)?;
    transaction.execute("DELETE FROM ban WHERE network = ?1", [network.trunc().to_string()])?;
    Ok(found.filter(|ban| ban.expires_at.is_none_or(|until| now < until)))
}

pub(super) fn forget(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM ban WHERE expires_at < ?1", [now.minus(REMEMBERED).millis()])?;
    Ok(())
}

/// Addresses from which somebody signed in lately, or into a session that is alive.
pub(super) fn homes(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<IpAddr>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT client FROM session
             WHERE created_at > ?2 OR (ended_at IS NULL AND expires_at > ?1)",
        )?
        .query_map([now.millis(), now.minus(SPARED_BY_SIGN_IN).millis()], |row| {
            parsed(row, 0, "an address", |text| text.parse().ok())
        })?
        .collect()
}

fn somebody_is_at_home(connection: &Connection, network: &IpNet, now: Timestamp) -> rusqlite::Result<bool> {
    Ok(homes(connection, now)?.iter().any(|ip| network.contains(&ip.to_canonical())))
}

const BAN: &str = "network, reason, automatic, created_at, expires_at, before";

fn ban(row: &Row<'_>) -> rusqlite::Result<Ban> {
    Ok(Ban {
        network: parsed(row, 0, "a network", |text| text.parse().ok())?,
        reason: row.get(1)?,
        automatic: row.get(2)?,
        created_at: time(row, 3)?,
        expires_at: optional_time(row, 4)?,
        before: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        account::{EndReason, Method, Role, Scope, Session, SessionId},
        store::{Added, Change, Sessions, SqliteStore, Store as _},
    };

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// An hour, a second one more, ….
    fn length(before: u32) -> Duration {
        HOUR * (before + 1)
    }

    fn offend(store: &mut SqliteStore, text: &str, at: Timestamp) -> AutomaticBan {
        store.ban(network(text), "failed_sign_ins", at, &length).unwrap()
    }

    #[track_caller]
    fn banned(outcome: AutomaticBan) -> (u32, Timestamp) {
        match outcome {
            AutomaticBan::Now(ban) => (ban.before, ban.expires_at.unwrap()),
            AutomaticBan::Before | AutomaticBan::Spared => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_ban_grows_with_those_before_it_and_a_week_of_peace_forgets_them() {
        let mut store = SqliteStore::in_memory().unwrap();
        assert_eq!(banned(offend(&mut store, "192.0.2.1/32", NOW)), (0, NOW.plus(HOUR)));
        assert_eq!(offend(&mut store, "192.0.2.1/32", NOW), AutomaticBan::Before);
        assert_eq!(store.bans(NOW).unwrap().len(), 1);

        let second = NOW.plus(HOUR);
        assert_eq!(store.bans(second).unwrap(), [], "the first is over");
        assert_eq!(banned(offend(&mut store, "192.0.2.1/32", second)), (1, second.plus(2 * HOUR)));

        let third = second.plus(2 * HOUR).plus(REMEMBERED);
        assert_eq!(banned(offend(&mut store, "192.0.2.1/32", third)), (0, third.plus(HOUR)));
    }

    #[test]
    fn no_ban_comes_by_itself_where_a_session_lives_or_somebody_signed_in_within_a_day() {
        let mut store = SqliteStore::in_memory().unwrap();
        let Added::New(alice) = store.add_user(&"alice".parse().unwrap(), Role::Admin, NOW).unwrap() else {
            panic!()
        };
        let session = Session {
            id: SessionId([7; 32]),
            user: alice.id,
            method: Method::Totp,
            password: false,
            device_bound: false,
            scope: Scope::Full,
            created_at: NOW,
            expires_at: NOW.plus(48 * HOUR),
            last_active_at: NOW,
            client: "2001:db8::7".parse().unwrap(),
            user_agent: String::new(),
            ended: None,
        };
        store.open_session_by_hand(&session).unwrap();
        let day = NOW.plus(24 * HOUR);

        assert_eq!(offend(&mut store, "2001:db8::/64", NOW.plus(40 * HOUR)), AutomaticBan::Spared);
        store.end_sessions(&Sessions::All, EndReason::Revoked, NOW).unwrap();
        assert_eq!(offend(&mut store, "2001:db8::/64", day.minus(HOUR)), AutomaticBan::Spared);
        banned(offend(&mut store, "2001:db8:0:1::/64", NOW));
        banned(offend(&mut store, "2001:db8::/64", day));
    }

    #[test]
    fn an_administrators_ban_holds_until_it_is_lifted_and_no_other_takes_its_place() {
        let mut store = SqliteStore::in_memory().unwrap();
        let ban = Ban {
            network: network("198.51.100.7/24"),
            reason: "scanner".into(),
            automatic: false,
            created_at: NOW,
            expires_at: None,
            before: 0,
        };
        store.put_ban(&ban).unwrap();

        let shown = Ban { network: network("198.51.100.0/24"), ..ban };
        assert_eq!(store.bans(NOW.plus(10_000 * HOUR)).unwrap(), std::slice::from_ref(&shown));
        assert_eq!(offend(&mut store, "198.51.100.0/24", NOW), AutomaticBan::Before);
        assert_eq!(store.lift_ban(&network("198.51.100.9/24"), NOW).unwrap(), Some(shown));
        assert_eq!(store.lift_ban(&network("198.51.100.0/24"), NOW).unwrap(), None);
        assert_eq!(store.bans(NOW).unwrap(), []);
    }

    #[test]
    fn those_that_come_by_themselves_are_bounded_and_the_one_that_ends_first_goes() {
        let mut store = SqliteStore::in_memory().unwrap();
        for i in 0..AUTOMATIC + 5 {
            let network = IpNet::from(IpAddr::V4((0x0a00_0000 + i).into()));
            let at = NOW.plus(Duration::from_millis(i.into()));
            if i < AUTOMATIC {
                let ban = Ban {
                    network,
                    reason: String::new(),
                    automatic: true,
                    created_at: at,
                    expires_at: Some(at.plus(HOUR)),
                    before: 0,
                };
                store.put_ban(&ban).unwrap();
            } else {
                banned(store.ban(network, "request_flood", at, &length).unwrap());
            }
        }

        let kept = store.bans(NOW.plus(Duration::from_secs(60))).unwrap();
        assert_eq!(kept.len(), AUTOMATIC as usize);
        assert_eq!(kept.first().unwrap().network, network("10.0.0.5/32"));
    }

    #[test]
    fn a_running_gate_hears_of_every_ban_that_comes_or_goes() {
        let dir = std::env::temp_dir().join(format!("pvegate-ban-{}", std::process::id()));
        let path = dir.join("store.db");
        let (mut here, mut there) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
        here.changes().unwrap();

        banned(offend(&mut there, "192.0.2.1/32", NOW));
        assert_eq!(here.changes().unwrap(), [Change::Ban(network("192.0.2.1/32"))]);
        there.lift_ban(&network("192.0.2.1/32"), NOW).unwrap();
        assert_eq!(here.changes().unwrap(), [Change::Ban(network("192.0.2.1/32"))]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
