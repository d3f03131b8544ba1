//! Counts of guesses at one-time codes, and the devices that are known: SQL over one transaction.
//!
//! What the counts mean, and when they change, `gate::lockout` decides; it comes in as a closure, so
//! that reading, judging and writing are one transaction. What is read beside them is all that a
//! sign-in with a code needs, so that such an attempt is one transaction whoever is asked for.
//!
//! # Nobody
//!
//! An attempt that counts against no account (nobody has the name, the user is disabled, a limit is
//! reached) leaves the same marks on *nobody*, user 0: the same statements and as many pages, so that
//! it takes as long. Nobody's counts limit nothing, and are one row in each table.

use std::{collections::BTreeMap, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, Transaction, named_params, params};

use super::sqlite;
use crate::{
    account::{Authenticator, DeviceId, User, UserId, UserName},
    time::Timestamp,
};

/// Devices of one user that are known at once; beyond it the one unused for longest is forgotten.
pub const DEVICES_PER_USER: u32 = 20;

/// How long a device that is not used stays known.
pub const DEVICE_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

const NOBODY: UserId = UserId(0);

/// Guesses by day: days since 1970, UTC. No day with none.
pub type GuessesByDay = BTreeMap<i64, u32>;

/// What was guessed at an account, as far as it concerns one device at one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guesses {
    /// Wrong codes in a row by this device; `None` if it is not known to the account.
    pub in_a_row_by_device: Option<u32>,
    /// Wrong codes in a row by unknown devices from this source.
    pub in_a_row_from_source: u32,
    /// Wrong codes of unknown devices since the last success of any device.
    pub since_success: u32,
    /// Guesses of known devices.
    pub by_known: GuessesByDay,
    /// Guesses of unknown devices.
    pub by_unknown: GuessesByDay,
}

/// What was guessed at an account, from everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuessedAt {
    /// Source prefixes with wrong codes in a row of unknown devices, and how many.
    pub sources: Vec<(String, u32)>,
    /// How many devices are known.
    pub devices: u32,
    /// Wrong codes of unknown devices since the last success of any device.
    pub since_success: u32,
    /// Guesses of unknown devices.
    pub by_unknown: GuessesByDay,
}

/// An attempt to sign in with a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// As whom; `None` if what was typed is no name.
    pub name: Option<UserName>,
    /// By which device, if it showed a signed cookie.
    pub device: Option<DeviceId>,
    /// From which source prefix.
    pub source: String,
    /// When.
    pub at: Timestamp,
}

/// What the store knows about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Who has the name.
    pub user: Option<User>,
    /// Their authenticator apps, oldest first.
    pub authenticators: Vec<Authenticator>,
    /// What was guessed before; nothing where nobody has the name.
    pub guesses: Guesses,
}

/// What [`super::Store::unlock`] forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlocked {
    /// Sources and devices with wrong codes in a row.
    pub rows: u32,
    /// Wrong codes since the last success.
    pub since_success: u32,
    /// Guesses, of the days that are remembered.
    pub guesses: u32,
}

/// Reads all that concerns an attempt, asks `charge`, and writes what it gives; `None` charges nobody.
pub(super) fn try_code(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
    charge: &dyn Fn(&Tried) -> Option<Guesses>,
) -> rusqlite::Result<Tried> {
    let name = attempt.name.as_ref().map_or("", UserName::as_str);
    let user = sqlite::user_by_name(transaction, name)?;
    let id = user.as_ref().map_or(NOBODY, |user| user.id);
    let authenticators = match &user {
        Some(user) => sqlite::authenticators(transaction, user.id)?,
        // Where nobody has the name, the rows of somebody who has an app are read as well, and put aside.
        None => {
            if let Some(id) = anybody_with_an_app(transaction)? {
                sqlite::user_by_id(transaction, id)?;
                sqlite::authenticators(transaction, id)?;
            }
            Vec::new()
        }
    };
    let guesses = load(transaction, id, attempt)?;
    let nobody = load(transaction, NOBODY, &Attempt { source: String::new(), ..attempt.clone() })?;
    let tried = Tried { user, authenticators, guesses };
    match charge(&tried) {
        Some(after) => save(transaction, id, attempt, &tried.guesses, &after)?,
        None => {
            let day = attempt.at.secs().div_euclid(24 * 3600);
            let today = nobody.by_unknown.get(&day).copied().unwrap_or(0);
            let after = Guesses {
                in_a_row_from_source: nobody.in_a_row_from_source.wrapping_add(1).max(1),
                since_success: nobody.since_success.wrapping_add(1),
                by_unknown: [(day, today.wrapping_add(1).max(1))].into(),
                ..Guesses::default()
            };
            let at_nobody = Attempt { source: String::new(), device: None, ..attempt.clone() };
            save(transaction, NOBODY, &at_nobody, &nobody, &after)?;
        }
    }
    Ok(tried)
}

fn anybody_with_an_app(connection: &Connection) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT user_id FROM authenticator LIMIT 1")?
        .query_row([], |row| row.get(0).map(UserId))
        .optional()
}

pub(super) fn guessed_at(connection: &Connection, user: UserId) -> rusqlite::Result<GuessedAt> {
    let sources = connection
        .prepare_cached("SELECT source, in_a_row FROM guess_source WHERE user_id = ?1 ORDER BY source")?
        .query_map([user.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let devices = connection
        .prepare_cached("SELECT count(*) FROM device WHERE user_id = ?1")?
        .query_row([user.0], |row| row.get(0))?;
    Ok(GuessedAt {
        sources,
        devices,
        since_success: since_success(connection, user)?,
        by_unknown: by_day(connection, user, false)?,
    })
}

/// A code of `user` was right: writes what `settle` makes of the counts.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    user: UserId,
    attempt: &Attempt,
    settle: &dyn Fn(Guesses) -> Guesses,
) -> rusqlite::Result<()> {
    let before = load(transaction, user, attempt)?;
    save(transaction, user, attempt, &before, &settle(before.clone()))
}

/// Ends every row of wrong codes and the count since the last success. The guesses of the year stay.
pub(super) fn lift(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<u32> {
    let sources = transaction.execute("DELETE FROM guess_source WHERE user_id = ?1", [user.0])?;
    let devices = transaction
        .execute("UPDATE device SET in_a_row = 0 WHERE user_id = ?1 AND in_a_row > 0", [user.0])?;
    transaction.execute("DELETE FROM guess_total WHERE user_id = ?1", [user.0])?;
    Ok(u32::try_from(sources + devices).unwrap_or(u32::MAX))
}

/// [`lift`], and forgets the guesses of the year.
pub(super) fn unlock(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<Unlocked> {
    let since_success = since_success(transaction, user)?;
    let rows = lift(transaction, user)?;
    let guesses = transaction.query_row(
        "SELECT coalesce(sum(guesses), 0) FROM guess_day WHERE user_id = ?1",
        [user.0],
        |row| row.get(0),
    )?;
    transaction.execute("DELETE FROM guess_day WHERE user_id = ?1", [user.0])?;
    Ok(Unlocked { rows, since_success, guesses })
}

/// Knows a device from here on, or goes on knowing it.
pub(super) fn know_device(
    transaction: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let too_old = now.minus(DEVICE_LIFETIME).millis();
    transaction
        .execute("DELETE FROM device WHERE user_id = ?1 AND last_used_at < ?2", params![user.0, too_old])?;
    transaction.execute(
        "INSERT INTO device (user_id, id, created_at, last_used_at, in_a_row) VALUES (?1, ?2, ?3, ?3, 0)
         ON CONFLICT (user_id, id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at)",
        params![user.0, device.0, now.millis()],
    )?;
    // Never the one that was used just now, even if the clock was set back.
    transaction.execute(
        "DELETE FROM device WHERE user_id = ?1 AND id IN (
             SELECT id FROM device WHERE user_id = ?1 ORDER BY id = ?2 DESC, last_used_at DESC
             LIMIT -1 OFFSET ?3)",
        params![user.0, device.0, DEVICES_PER_USER],
    )?;
    Ok(())
}

/// Knows none of a user's devices any more.
pub(super) fn forget_devices(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM device WHERE user_id = ?1", [user.0])?;
    Ok(())
}

fn load(connection: &Connection, user: UserId, attempt: &Attempt) -> rusqlite::Result<Guesses> {
    let device = attempt.device.map(|device| device.0);
    let in_a_row_by_device = connection
        .prepare_cached("SELECT in_a_row FROM device WHERE user_id = ?1 AND id = ?2 AND last_used_at >= ?3")?
        .query_row(params![user.0, device, attempt.at.minus(DEVICE_LIFETIME).millis()], |row| row.get(0))
        .optional()?;
    let in_a_row_from_source = connection
        .prepare_cached("SELECT in_a_row FROM guess_source WHERE user_id = ?1 AND source = ?2")?
        .query_row(params![user.0, attempt.source], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    Ok(Guesses {
        in_a_row_by_device,
        in_a_row_from_source,
        since_success: since_success(connection, user)?,
        by_known: by_day(connection, user, true)?,
        by_unknown: by_day(connection, user, false)?,
    })
}

fn since_success(connection: &Connection, user: UserId) -> rusqlite::Result<u32> {
    let found = connection
        .prepare_cached("SELECT since_success FROM guess_total WHERE user_id = ?1")?
        .query_row([user.0], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

fn by_day(connection: &Connection, user: UserId, known: bool) -> rusqlite::Result<GuessesByDay> {
    connection
        .prepare_cached("SELECT day, guesses FROM guess_day WHERE user_id = ?1 AND known = ?2")?
        .query_map(params![user.0, known], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Writes what differs.
fn save(
    transaction: &Transaction<'_>,
    user: UserId,
    attempt: &Attempt,
    before: &Guesses,
    after: &Guesses,
) -> rusqlite::Result<()> {
    if let (Some(in_a_row), Some(device)) = (after.in_a_row_by_device, attempt.device)
        && before.in_a_row_by_device != after.in_a_row_by_device
    {
        transaction
            .prepare_cached("UPDATE device SET in_a_row = ?3 WHERE user_id = ?1 AND id = ?2")?
            .execute(params![user.0, device.0, in_a_row])?;
    }
    if after.in_a_row_from_source == 0 {
        transaction
            .prepare_cached("DELETE FROM guess_source WHERE user_id = ?1 AND source = ?2")?
            .execute(params![user.0, attempt.source])?;
    } else if before.in_a_row_from_source != after.in_a_row_from_source {
        transaction
            .prepare_cached(
                "INSERT INTO guess_source (user_id, source, in_a_row) VALUES (?1, ?2, ?3)
                 ON CONFLICT (user_id, source) DO UPDATE SET in_a_row = excluded.in_a_row",
            )?
            .execute(params![user.0, attempt.source, after.in_a_row_from_source])?;
    }
    if before.since_success != after.since_success {
        transaction
            .prepare_cached(
                "INSERT INTO guess_total (user_id, since_success) VALUES (?1, ?2)
                 ON CONFLICT (user_id) DO UPDATE SET since_success = excluded.since_success",
            )?
            .execute(params![user.0, after.since_success])?;
    }
    for (known, before, after) in
        [(true, &before.by_known, &after.by_known), (false, &before.by_unknown, &after.by_unknown)]
    {
        for (day, guesses) in after.iter().filter(|(day, guesses)| before.get(day) != Some(guesses)) {
            transaction
                .prepare_cached(
                    "INSERT INTO guess_day (user_id, known, day, guesses) VALUES (:user, :known, :day, :guesses)
                     ON CONFLICT (user_id, known, day) DO UPDATE SET guesses = excluded.guesses",
                )?
                .execute(named_params! { ":user": user.0, ":known": known, ":day": day, ":guesses": guesses })?;
        }
        for day in before.keys().filter(|day| !after.contains_key(day)) {
            transaction
                .prepare_cached("DELETE FROM guess_day WHERE user_id = ?1 AND known = ?2 AND day = ?3")?
                .execute(params![user.0, known, day])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        account::Role,
        store::{Added, Deleted, Disabled, SqliteStore, Store as _},
    };

    const NOW: Timestamp = Timestamp::from_secs(20_000 * 24 * 3600);

    /// A store in memory of its own, with alice in it.
    fn store() -> (SqliteStore, User) {
        let mut store = SqliteStore::in_memory().unwrap();
        match store.add_user(&name("alice"), Role::Admin, NOW).unwrap() {
            Added::New(user) => (store, user),
            Added::Exists => panic!("a new store has no users"),
        }
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn attempt(as_whom: &str, device: Option<u8>, source: &str) -> Attempt {
        Attempt {
            name: Some(name(as_whom)),
            device: device.map(|byte| DeviceId([byte; 32])),
            source: source.into(),
            at: NOW,
        }
    }

    /// A change of every count.
    fn one_more(guesses: Guesses) -> Guesses {
        let more = |by_day: &GuessesByDay| [(5, by_day.get(&5).copied().unwrap_or(0) + 1)].into();
        Guesses {
            in_a_row_by_device: guesses.in_a_row_by_device.map(|row| row + 1),
            in_a_row_from_source: guesses.in_a_row_from_source + 1,
            since_success: guesses.since_success + 1,
            by_known: more(&guesses.by_known),
            by_unknown: more(&guesses.by_unknown),
        }
    }

    fn seen(store: &mut SqliteStore, attempt: &Attempt) -> Guesses {
        store.try_code(attempt, &|_| None).unwrap().guesses
    }

    fn charge(store: &mut SqliteStore, attempt: &Attempt) {
        let tried = store.try_code(attempt, &|tried| Some(one_more(tried.guesses.clone()))).unwrap();
        assert!(tried.user.is_some());
    }

    fn rows(store: &mut SqliteStore) -> [i64; 4] {
        ["device", "guess_total", "guess_source", "guess_day"].map(|table| store.count(table).unwrap())
    }

    #[test]
    fn what_was_charged_is_read_again_by_source_by_device_and_by_account() {
        let (mut store, alice) = store();
        store.know_device(alice.id, DeviceId([1; 32]), NOW).unwrap();
        for _ in 0..3 {
            charge(&mut store, &attempt("alice", Some(1), "192.0.2.1"));
        }

        let all = Guesses {
            in_a_row_by_device: Some(3),
            in_a_row_from_source: 3,
            since_success: 3,
            by_known: [(5, 3)].into(),
            by_unknown: [(5, 3)].into(),
        };
        let elsewhere = Guesses { in_a_row_from_source: 0, ..all.clone() };
        let unknown = Guesses { in_a_row_by_device: None, ..all.clone() };
        assert_eq!(seen(&mut store, &attempt("alice", Some(1), "192.0.2.1")), all);
        assert_eq!(seen(&mut store, &attempt("alice", Some(1), "192.0.2.2")), elsewhere);
        assert_eq!(seen(&mut store, &attempt("alice", Some(2), "192.0.2.1")), unknown);
        assert_eq!(seen(&mut store, &attempt("alice", None, "192.0.2.1")), unknown);
        assert_eq!(
            seen(&mut store, &attempt("bob", Some(1), "192.0.2.1")),
            Guesses {
                // Nobody's, of the four above.
                since_success: 4,
                by_unknown: [(20_000, 4)].into(),
                ..Guesses::default()
            }
        );
    }

    #[test]
    fn attempts_that_charge_nobody_take_up_three_rows_in_all() {
        let (mut store, _) = store();
        for i in 0_u32..300 {
            let mut attempt = attempt("alice", Some(1), &format!("192.0.2.{i}"));
            attempt.name = (i % 3 > 0).then(|| name(&format!("user{i}")));
            attempt.at = NOW.plus(Duration::from_secs(u64::from(i) * 3600));
            seen(&mut store, &attempt);
        }

        assert_eq!(rows(&mut store), [0, 1, 1, 1]);
    }

    #[test]
    fn a_settled_row_takes_up_no_room() {
        let (mut store, alice) = store();
        let here = attempt("alice", None, "192.0.2.1");
        charge(&mut store, &here);

        store.settle_code(alice.id, &here, &|_| Guesses::default()).unwrap();

        assert_eq!(seen(&mut store, &here), Guesses::default());
        assert_eq!(store.count("guess_source WHERE user_id > 0").unwrap(), 0);
        assert_eq!(store.count("guess_day WHERE user_id > 0").unwrap(), 0);
    }

    #[test]
    fn lifting_ends_rows_and_leaves_the_year_and_unlocking_forgets_that_too() {
        let (mut store, alice) = store();
        store.know_device(alice.id, DeviceId([1; 32]), NOW).unwrap();
        let here = attempt("alice", Some(1), "192.0.2.1");
        charge(&mut store, &here);
        charge(&mut store, &attempt("alice", Some(1), "192.0.2.2"));

        store.lift_lockout(alice.id).unwrap();

        let by_day: GuessesByDay = [(5, 2)].into();
        let lifted = Guesses {
            in_a_row_by_device: Some(0),
            by_known: by_day.clone(),
            by_unknown: by_day,
            ..Guesses::default()
        };
        assert_eq!(seen(&mut store, &here), lifted);
        charge(&mut store, &here);
        let unlocked = store.unlock(alice.id).unwrap();
        assert_eq!(unlocked, Unlocked { rows: 2, since_success: 1, guesses: 6 });
        assert_eq!(seen(&mut store, &here), Guesses { in_a_row_by_device: Some(0), ..Guesses::default() });
    }

    #[test]
    fn twenty_devices_are_known_for_a_year_and_the_one_unused_for_longest_goes_first() {
        let (mut store, alice) = store();
        let known = |store: &mut SqliteStore, byte, at| {
            let attempt = Attempt { at, ..attempt("alice", Some(byte), "192.0.2.1") };
            seen(store, &attempt).in_a_row_by_device.is_some()
        };
        let second = |i: u8| NOW.plus(Duration::from_secs(i.into()));
        for i in 0..20 {
            store.know_device(alice.id, DeviceId([i; 32]), second(i)).unwrap();
        }
        store.know_device(alice.id, DeviceId([0; 32]), second(30)).unwrap();

        // A clock that was set back does not make the newest the oldest.
        store.know_device(alice.id, DeviceId([20; 32]), NOW).unwrap();

        let still = (0..=20).filter(|i| known(&mut store, *i, second(31))).collect::<Vec<_>>();
        assert_eq!(still, [0].into_iter().chain(2..=20).collect::<Vec<u8>>());
        assert!(known(&mut store, 0, second(30).plus(DEVICE_LIFETIME)));
        assert!(!known(&mut store, 0, second(31).plus(DEVICE_LIFETIME)));
    }

    #[test]
    fn disabling_ends_sessions_and_forgets_devices_but_never_the_last_administrator() {
        let (mut store, alice) = store();
        let Added::New(bob) = store.add_user(&name("bob"), Role::User, NOW).unwrap() else { panic!() };
        store.know_device(bob.id, DeviceId([1; 32]), NOW).unwrap();

        assert_eq!(store.disable_user(alice.id, NOW).unwrap(), Disabled::LastAdmin);
        assert_eq!(store.disable_user(bob.id, NOW).unwrap(), Disabled::Now(vec![]));
        assert_eq!(store.disable_user(bob.id, NOW).unwrap(), Disabled::Before);

        assert_eq!(rows(&mut store)[0], 0);
        assert_eq!(store.user(alice.id).unwrap().unwrap().disabled_at, None);
        assert_eq!(store.user(bob.id).unwrap().unwrap().disabled_at, Some(NOW));
        let Added::New(_) = store.add_user(&name("carol"), Role::Admin, NOW).unwrap() else { panic!() };
        assert_eq!(store.disable_user(alice.id, NOW).unwrap(), Disabled::Now(vec![]));
    }

    #[test]
    fn what_was_guessed_at_an_account_is_told_from_everywhere_and_changes_nothing() {
        let (mut store, alice) = store();
        store.know_device(alice.id, DeviceId([1; 32]), NOW).unwrap();
        for source in ["192.0.2.2", "192.0.2.1", "192.0.2.2"] {
            charge(&mut store, &attempt("alice", None, source));
        }
        let before = rows(&mut store);

        let at = store.guessed_at(alice.id).unwrap();

        assert_eq!(at.sources, [("192.0.2.1".to_owned(), 1), ("192.0.2.2".to_owned(), 2)]);
        assert_eq!((at.devices, at.since_success, at.by_unknown.values().sum()), (1, 3, 3));
        assert_eq!(rows(&mut store), before);
        assert_eq!(store.guessed_at(UserId(99)).unwrap(), GuessedAt::default());
    }

    #[test]
    fn nothing_of_a_deleted_user_is_left() {
        let (mut store, alice) = store();
        store.know_device(alice.id, DeviceId([1; 32]), NOW).unwrap();
        charge(&mut store, &attempt("alice", Some(1), "192.0.2.1"));

        let Added::New(_) = store.add_user(&name("carol"), Role::Admin, NOW).unwrap() else { panic!() };
        assert_eq!(store.delete_user(alice.id, NOW).unwrap(), Deleted::Now(vec![]));

        assert_eq!(rows(&mut store), [0; 4]);
    }
}
