//! Who there is and what they may do: disabled, enabled, renamed, promoted, deleted. What may become of it,
//! and the SQL.
//!
//! An administrator who may sign in is always left where there was one: asked inside the transaction that
//! would take the last away. [`super::Store::panic`] alone goes past it.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Sessions, factors, lockout, sqlite};
use crate::{
    account::{EndReason, Role, SessionId, UserId, UserName},
    time::Timestamp,
};

/// What became of disabling a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Disabled {
    /// They are disabled, and these sessions ended.
    Now(Vec<SessionId>),
    /// They were before; nothing changed.
    Before,
    /// No administrator would be left who may sign in; nothing changed.
    LastAdmin,
}

/// What became of locking somebody else's account in a hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Panicked {
    /// It is locked, and so many sessions ended.
    Now(usize),
    /// No administrator would be left who may sign in; nothing changed.
    LastAdmin,
}

/// What became of deleting a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Deleted {
    /// They are gone, and with them these sessions that were alive.
    Now(Vec<SessionId>),
    /// No administrator would be left who may sign in; nothing changed.
    LastAdmin,
    /// There is nobody of this number.
    NoSuchUser,
}

/// What became of a user who was to have another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum UserRenamed {
    /// They have the name now.
    Now,
    /// They had it before.
    Before,
    /// Somebody else has it; nothing changed.
    Taken,
    /// There is nobody of this number.
    NoSuchUser,
}

/// What became of a user who was to have another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum RoleSet {
    /// They have the role now.
    Now,
    /// They had it before.
    Before,
    /// No administrator would be left who may sign in; nothing changed.
    LastAdmin,
    /// There is nobody of this number.
    NoSuchUser,
}

/// What became of enabling a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Enabled {
    /// They are enabled.
    Now,
    /// They were before; nothing changed.
    Before,
}

pub(super) fn disable(
    transaction: &Transaction<'_>,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Disabled> {
    if is_last_admin(transaction, user)? {
        return Ok(Disabled::LastAdmin);
    }
    let disabled = transaction.execute(
        "UPDATE user SET disabled_at = ?2 WHERE id = ?1 AND disabled_at IS NULL",
        params![user.0, now.millis()],
    )?;
    if disabled == 0 {
        return Ok(Disabled::Before);
    }
    lockout::forget_devices(transaction, user)?;
    sqlite::end_sessions(transaction, &Sessions::Of(user), EndReason::Disabled, now).map(Disabled::Now)
}

pub(super) fn panic(
    transaction: &Transaction<'_>,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Panicked> {
    if is_last_admin(transaction, user)? {
        return Ok(Panicked::LastAdmin);
    }
    factors::panic(transaction, user, now).map(Panicked::Now)
}

pub(super) fn enable(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<Enabled> {
    let enabled = transaction
        .execute("UPDATE user SET disabled_at = NULL WHERE id = ?1 AND disabled_at IS NOT NULL", [user.0])?;
    Ok(if enabled == 0 { Enabled::Before } else { Enabled::Now })
}

/// Everything that refers to the user goes with them.
pub(super) fn delete(
    transaction: &Transaction<'_>,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Deleted> {
    if is_last_admin(transaction, user)? {
        return Ok(Deleted::LastAdmin);
    }
    let sessions: Vec<SessionId> = transaction
        .prepare_cached(
            "SELECT id FROM session WHERE user_id = ?1 AND ended_at IS NULL AND expires_at > ?2 ORDER BY id",
        )?
        .query_map(params![user.0, now.millis()], |row| row.get(0).map(SessionId))?
        .collect::<rusqlite::Result<_>>()?;
    let deleted = transaction.execute("DELETE FROM user WHERE id = ?1", [user.0])?;
    Ok(if deleted == 0 { Deleted::NoSuchUser } else { Deleted::Now(sessions) })
}

pub(super) fn rename(
    transaction: &Transaction<'_>,
    user: UserId,
    name: &UserName,
) -> rusqlite::Result<UserRenamed> {
    let owner = transaction
        .query_row("SELECT id FROM user WHERE name = ?1", [name.as_str()], |row| row.get(0).map(UserId))
        .optional()?;
    match owner {
        Some(owner) if owner == user => return Ok(UserRenamed::Before),
        Some(_) => return Ok(UserRenamed::Taken),
        None => {}
    }
    let renamed =
        transaction.execute("UPDATE user SET name = ?2 WHERE id = ?1", params![user.0, name.as_str()])?;
    Ok(if renamed == 0 { UserRenamed::NoSuchUser } else { UserRenamed::Now })
}

pub(super) fn set_role(transaction: &Transaction<'_>, user: UserId, role: Role) -> rusqlite::Result<RoleSet> {
    if role != Role::Admin && is_last_admin(transaction, user)? {
        return Ok(RoleSet::LastAdmin);
    }
    let set = transaction
        .execute("UPDATE user SET role = ?2 WHERE id = ?1 AND role <> ?2", params![user.0, role.as_str()])?;
    if set == 1 {
        return Ok(RoleSet::Now);
    }
    let exists = sqlite::user_by_id(transaction, user)?.is_some();
    Ok(if exists { RoleSet::Before } else { RoleSet::NoSuchUser })
}

/// When their latest session was opened.
pub(super) fn last_sign_in(connection: &Connection, user: UserId) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT max(created_at) FROM session WHERE user_id = ?1")?
        .query_row([user.0], |row| sqlite::optional_time(row, 0))
}

/// Whether this is the one administrator who may sign in.
fn is_last_admin(connection: &Connection, user: UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM user WHERE id = ?1 AND role = ?2 AND disabled_at IS NULL)
                AND NOT EXISTS (SELECT 1 FROM user WHERE id <> ?1 AND role = ?2 AND disabled_at IS NULL)",
        )?
        .query_row(params![user.0, Role::Admin.as_str()], |row| row.get(0))
}
