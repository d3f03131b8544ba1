//! The SQL of recovery codes.

use rusqlite::{Connection, Transaction, named_params, params};

use super::RecoveryCodes;
use crate::{
    account::{SessionId, UserId},
    time::Timestamp,
};

pub(super) fn count(connection: &Connection, user: UserId) -> rusqlite::Result<RecoveryCodes> {
    connection
        .prepare_cached("SELECT count(*), count(*) - count(used_at) FROM recovery_code WHERE user_id = ?1")?
        .query_row([user.0], |row| Ok(RecoveryCodes { of: row.get(0)?, left: row.get(1)? }))
}

pub(super) fn replace(
    transaction: &Transaction<'_>,
    user: UserId,
    hashes: &[[u8; 32]],
    now: Timestamp,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM recovery_code WHERE user_id = ?1", [user.0])?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO recovery_code (hash, user_id, created_at) VALUES (?1, ?2, ?3)")?;
    for hash in hashes {
        insert.execute(params![hash, user.0, now.millis()])?;
    }
    Ok(())
}

/// How many rows that was: one if the code was good.
pub(super) fn spend(
    transaction: &Transaction<'_>,
    hash: &[u8; 32],
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE recovery_code SET used_at = :now
         WHERE hash = :hash AND user_id = :user AND used_at IS NULL
           AND EXISTS (SELECT 1 FROM user WHERE id = :user AND disabled_at IS NULL)",
        named_params! { ":now": now.millis(), ":hash": hash, ":user": user.0 },
    )
}

/// Whether the session is the user's, and alive.
pub(super) fn may_spend_at(
    transaction: &Transaction<'_>,
    user: UserId,
    session: SessionId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM session
                        WHERE id = ?1 AND user_id = ?2 AND ended_at IS NULL AND expires_at > ?3)",
        params![session.0, user.0, now.millis()],
        |row| row.get(0),
    )
}
