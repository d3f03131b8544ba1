//! The SQL of an account that somebody else was in, as its owner says.

use rusqlite::{Connection, Transaction, params};

use super::{Sessions, invitations, lockout, sqlite};
use crate::{
    account::{CredentialKind, EndReason, SessionId, UserId, UserName},
    time::Timestamp,
};

/// Takes away what a stranger may hold.
pub(super) fn disown(
    transaction: &Transaction<'_>,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Vec<SessionId>> {
    transaction.execute(
        "UPDATE user SET reported_at = ?2, wants_passkey = 1 WHERE id = ?1",
        params![user.0, now.millis()],
    )?;
    invitations::revoke(transaction, user, now)?;
    lockout::forget_devices(transaction, user)?;
    sqlite::end_sessions(transaction, &Sessions::Of(user), EndReason::Revoked, now)
}

/// Whether a code alone is not enough. Where a security key is asked for after it, it never is.
pub(super) fn wants_passkey(connection: &Connection, user: UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM user WHERE id = ?1 AND wants_passkey)
                AND EXISTS (SELECT 1 FROM credential WHERE user_id = ?1 AND kind = ?2)
                AND NOT EXISTS (SELECT 1 FROM credential WHERE user_id = ?1 AND kind = ?3)",
        )?
        .query_row(
            params![user.0, CredentialKind::Passkey.as_str(), CredentialKind::SecurityKey.as_str()],
            |row| row.get(0),
        )
}

/// The owner came by something that no onlooker can repeat, or by an administrator's link.
pub(super) fn owner_is_here(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<()> {
    transaction.execute("UPDATE user SET wants_passkey = 0 WHERE id = ?1 AND wants_passkey", [user.0])?;
    Ok(())
}

/// Who reported it, and when last.
pub(super) fn since(
    connection: &Connection,
    since: Timestamp,
) -> rusqlite::Result<Vec<(UserName, Timestamp)>> {
    connection
        .prepare_cached(
            "SELECT name, reported_at FROM user WHERE reported_at >= ?1 ORDER BY reported_at DESC, name",
        )?
        .query_map([since.millis()], |row| {
            Ok((sqlite::parsed(row, 0, "a user name", |text| text.parse().ok())?, sqlite::time(row, 1)?))
        })?
        .collect()
}
