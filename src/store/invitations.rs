//! The SQL of invitations: one-time links, of which only the token's hash is kept. What permits an enrolment
//! is spent in `sqlite`, with the enrolment.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    NewInvitation,
    sqlite::{optional_time, time, word},
};
use crate::{
    account::{Invitation, InvitationPurpose, UserId},
    time::Timestamp,
};

const COLUMNS: &str = "token_hash, user_id, purpose, created_at, expires_at, used_at, revoked_at";

/// Makes one in place of the user's earlier ones.
pub(super) fn make(transaction: &Transaction<'_>, new: &NewInvitation) -> rusqlite::Result<()> {
    revoke(transaction, new.user, new.created_at)?;
    transaction.execute(
        "INSERT INTO invitation (token_hash, user_id, purpose, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            new.token_hash,
            new.user.0,
            new.purpose.as_str(),
            new.created_at.millis(),
            new.expires_at.millis(),
        ],
    )?;
    Ok(())
}

/// Makes those void that nobody used; says how many of them still worked.
pub(super) fn revoke(transaction: &Transaction<'_>, user: UserId, now: Timestamp) -> rusqlite::Result<usize> {
    let worked = transaction
        .prepare_cached(
            "UPDATE invitation SET revoked_at = ?2
             WHERE user_id = ?1 AND used_at IS NULL AND revoked_at IS NULL RETURNING expires_at > ?2",
        )?
        .query_map(params![user.0, now.millis()], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<bool>>>()?;
    Ok(worked.into_iter().filter(|worked| *worked).count())
}

pub(super) fn by_token(
    connection: &Connection,
    token_hash: &[u8; 32],
) -> rusqlite::Result<Option<Invitation>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM invitation WHERE token_hash = ?1"))?
        .query_row([token_hash], invitation)
        .optional()
}

/// The user's latest, whatever became of it.
pub(super) fn latest(connection: &Connection, user: UserId) -> rusqlite::Result<Option<Invitation>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM invitation WHERE user_id = ?1 ORDER BY created_at DESC, rowid DESC LIMIT 1"
        ))?
        .query_row([user.0], invitation)
        .optional()
}

/// Everybody's that still work, oldest first.
pub(super) fn open(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Invitation>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM invitation
             WHERE used_at IS NULL AND revoked_at IS NULL AND expires_at > ?1 ORDER BY created_at, rowid"
        ))?
        .query_map([now.millis()], invitation)?
        .collect()
}

fn invitation(row: &Row<'_>) -> rusqlite::Result<Invitation> {
    Ok(Invitation {
        token_hash: row.get(0)?,
        user: UserId(row.get(1)?),
        purpose: word(row, 2, "a purpose", &InvitationPurpose::ALL, InvitationPurpose::as_str)?,
        created_at: time(row, 3)?,
        expires_at: time(row, 4)?,
        used_at: optional_time(row, 5)?,
        revoked_at: optional_time(row, 6)?,
    })
}
