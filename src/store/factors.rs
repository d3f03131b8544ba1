//! The SQL of renaming sign-in methods and taking them away, of steps that are void, and of locking an account in a hurry.

use rusqlite::{Transaction, params};

use super::{GivenUp, Renamed, Sessions, invitations, sqlite};
use crate::{
    account::{CredentialKind, EndReason, Factor, FactorId, UserId},
    time::Timestamp,
};

/// Removes one, of whichever kind; says whether there was one.
pub(super) fn remove(transaction: &Transaction<'_>, user: UserId, id: &FactorId) -> rusqlite::Result<bool> {
    let mut removed = 0;
    for table in ["authenticator", "credential"] {
        removed += transaction
            .execute(&format!("DELETE FROM {table} WHERE user_id = ?1 AND id = ?2"), params![user.0, id.0])?;
    }
    Ok(removed > 0)
}

/// Removes one at its owner's wish. What is left must sign them in by itself: a passkey, or an authenticator
/// app; a security key comes only after one of those.
pub(super) fn give_up(
    transaction: &Transaction<'_>,
    user: UserId,
    id: &FactorId,
) -> rusqlite::Result<GivenUp> {
    let others: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM authenticator WHERE user_id = ?1 AND id <> ?2)
             OR EXISTS (SELECT 1 FROM credential WHERE user_id = ?1 AND id <> ?2 AND kind = ?3)",
        params![user.0, id.0, CredentialKind::Passkey.as_str()],
        |row| row.get(0),
    )?;
    if !exists(transaction, user, id)? {
        return Ok(GivenUp::NoSuchMethod);
    }
    if !others {
        return Ok(GivenUp::Last);
    }
    remove(transaction, user, id)?;
    Ok(GivenUp::Gone)
}

/// Whether one of `new` may take the place of this one: it is there, and of their kind. So whoever could sign
/// in by what there is still can afterwards.
pub(super) fn replaceable(
    transaction: &Transaction<'_>,
    user: UserId,
    old: &FactorId,
    new: &[Factor],
) -> rusqlite::Result<bool> {
    for factor in new {
        let of_a_kind: bool = match factor {
            Factor::Authenticator(_) => transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM authenticator WHERE user_id = ?1 AND id = ?2)",
                params![user.0, old.0],
                |row| row.get(0),
            )?,
            Factor::Credential(credential, _) => transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM credential WHERE user_id = ?1 AND id = ?2 AND kind = ?3)",
                params![user.0, old.0, credential.kind.as_str()],
                |row| row.get(0),
            )?,
        };
        if of_a_kind {
            return Ok(true);
        }
    }
    Ok(false)
}

fn exists(transaction: &Transaction<'_>, user: UserId, id: &FactorId) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM authenticator WHERE user_id = ?1 AND id = ?2)
             OR EXISTS (SELECT 1 FROM credential WHERE user_id = ?1 AND id = ?2)",
        params![user.0, id.0],
        |row| row.get(0),
    )
}

/// Gives one another name.
pub(super) fn rename(
    transaction: &Transaction<'_>,
    user: UserId,
    id: &FactorId,
    name: &str,
) -> rusqlite::Result<Renamed> {
    let mut renamed = 0;
    for table in ["authenticator", "credential"] {
        renamed += transaction.execute(
            &format!("UPDATE {table} SET name = ?3 WHERE user_id = ?1 AND id = ?2"),
            params![user.0, id.0, name],
        )?;
    }
    Ok(if renamed == 0 { Renamed::NoSuchMethod } else { Renamed::Now })
}

/// Removes every one, recovery codes and password too; says how many sign-in methods that were.
pub(super) fn remove_all(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for table in ["authenticator", "credential"] {
        removed += transaction.execute(&format!("DELETE FROM {table} WHERE user_id = ?1"), [user.0])?;
    }
    transaction.execute("DELETE FROM recovery_code WHERE user_id = ?1", [user.0])?;
    transaction.execute("UPDATE user SET password = NULL WHERE id = ?1", [user.0])?;
    Ok(removed)
}

/// A step of an app is good for nothing from here on.
pub(super) fn void_step(
    transaction: &Transaction<'_>,
    user: UserId,
    id: &FactorId,
    step: i64,
    until: Timestamp,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO void_step (authenticator, step, until)
         SELECT id, ?3, ?4 FROM authenticator WHERE id = ?2 AND user_id = ?1
         ON CONFLICT (authenticator, step) DO NOTHING",
        params![user.0, id.0, step, until.millis()],
    )?;
    Ok(())
}

/// Ends what is open, and with it every way to open something new without an administrator: links,
/// known devices, the account itself. Says how many sessions that were.
pub(super) fn panic(transaction: &Transaction<'_>, user: UserId, now: Timestamp) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE user SET disabled_at = ?2 WHERE id = ?1 AND disabled_at IS NULL",
        params![user.0, now.millis()],
    )?;
    invitations::revoke(transaction, user, now)?;
    transaction.execute("DELETE FROM device WHERE user_id = ?1", [user.0])?;
    end_sessions(transaction, user, EndReason::Disabled, now)
}

/// Ends every session of a user; says how many that were.
pub(super) fn end_sessions(
    transaction: &Transaction<'_>,
    user: UserId,
    reason: EndReason,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    sqlite::end_sessions(transaction, &Sessions::Of(user), reason, now).map(|ended| ended.len())
}
