//! Passkeys, security keys and the ceremonies that were spent, as SQL.
//!
//! Functions over a connection or transaction of the SQLite store; the methods of [`super::Store`] that
//! call them say what they promise.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params, params};

use super::{
    Spent, Use,
    sqlite::{not_ours, optional_time, parsed, time, word},
};
use crate::{
    account::{
        Assertion, Ceremony, Credential, CredentialKind, FactorId, SessionId, Transport, UserHandle, UserId,
    },
    time::Timestamp,
};

const CREDENTIAL: &str = "id, user_id, kind, name, relying_party, credential_id, record, counter, synced, aaguid, transports, \
     created_at, last_used_at, last_used_from";

/// What authenticators know the user by.
pub(super) fn handle(connection: &Connection, user: UserId) -> rusqlite::Result<Option<UserHandle>> {
    connection
        .prepare_cached("SELECT handle FROM user WHERE id = ?1")?
        .query_row([user.0], |row| row.get(0).map(UserHandle))
        .optional()
}

/// The user's credentials, oldest first.
pub(super) fn of(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Credential>> {
    connection
        .prepare_cached(&format!(
            "SELECT {CREDENTIAL} FROM credential WHERE user_id = ?1 ORDER BY created_at, rowid"
        ))?
        .query_map([user.0], credential)?
        .collect()
}

/// The credential that authenticators know by this identifier.
pub(super) fn find(connection: &Connection, credential_id: &[u8]) -> rusqlite::Result<Option<Credential>> {
    connection
        .prepare_cached(&format!("SELECT {CREDENTIAL} FROM credential WHERE credential_id = ?1"))?
        .query_row([credential_id], credential)
        .optional()
}

/// Whether [`add`] can do it: nobody has the credential, and the ceremony is unspent.
pub(super) fn may_add(
    transaction: &Transaction<'_>,
    credential: &Credential,
    ceremony: &Ceremony,
) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM credential WHERE credential_id = ?1)
                AND NOT EXISTS (SELECT 1 FROM spent_ceremony WHERE hash = ?2)",
        )?
        .query_row(params![credential.credential_id, ceremony.hash], |row| row.get(0))
}

/// Spends the ceremony and adds the credential.
pub(super) fn add(
    transaction: &Transaction<'_>,
    credential: &Credential,
    ceremony: &Ceremony,
) -> rusqlite::Result<()> {
    spend(transaction, ceremony)?;
    let transports = credential.transports.iter().map(|transport| transport.as_str()).collect::<Vec<_>>();
    transaction.execute(
        &format!(
            "INSERT INTO credential ({CREDENTIAL})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
        ),
        params![
            credential.id.0,
            credential.user.0,
            credential.kind.as_str(),
            credential.name,
            credential.relying_party,
            credential.credential_id,
            credential.record,
            credential.counter,
            credential.synced,
            credential.aaguid,
            transports.join(","),
            credential.created_at.millis(),
            credential.last_used_at.map(Timestamp::millis),
            credential.last_used_from.map(|address| address.to_string()),
        ],
    )?;
    Ok(())
}

/// Spends the ceremony and writes down the credential's use. The counter is compared once more, here
/// where nobody can come between (WebAuthn §7.2, signature counter).
pub(super) fn spend_assertion(
    transaction: &Transaction<'_>,
    assertion: &Assertion,
    ceremony: &Ceremony,
    by: &Use,
) -> rusqlite::Result<Spent> {
    let spent_before = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM spent_ceremony WHERE hash = ?1)")?
        .query_row([ceremony.hash], |row| row.get(0))?;
    if spent_before {
        return Ok(Spent::Before);
    }
    let used = transaction.execute(
        "UPDATE credential
         SET counter = :counter, synced = :synced, last_used_at = :now, last_used_from = :client
         WHERE id = :id AND user_id = :user AND (counter < :counter OR (counter = 0 AND :counter = 0))
           AND EXISTS (SELECT 1 FROM user WHERE id = :user AND disabled_at IS NULL)",
        named_params! {
            ":counter": assertion.counter,
            ":synced": assertion.synced,
            ":now": by.at.millis(),
            ":client": by.client.to_string(),
            ":id": assertion.credential.0,
            ":user": by.user.0,
        },
    )?;
    if used == 0 {
        return Ok(Spent::Before);
    }
    spend(transaction, ceremony)?;
    Ok(Spent::First)
}

/// Spends a proof that was given at a session which is alive; says how many that were.
pub(super) fn spend_proof(
    transaction: &Transaction<'_>,
    once: &Ceremony,
    session: SessionId,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    transaction.execute(
        "INSERT INTO spent_ceremony (hash, expires_at)
         SELECT :hash, :expires
         WHERE :expires > :now AND NOT EXISTS (SELECT 1 FROM spent_ceremony WHERE hash = :hash)
           AND EXISTS (SELECT 1 FROM session JOIN user ON user.id = session.user_id
                       WHERE session.id = :session AND user.id = :user AND user.disabled_at IS NULL
                         AND session.ended_at IS NULL AND session.expires_at > :now)",
        named_params! {
            ":hash": once.hash,
            ":expires": once.expires_at.millis(),
            ":now": now.millis(),
            ":session": session.0,
            ":user": user.0,
        },
    )
}

/// A ceremony that was spent is a violated constraint: the callers have looked.
fn spend(transaction: &Transaction<'_>, ceremony: &Ceremony) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO spent_ceremony (hash, expires_at) VALUES (?1, ?2)",
        params![ceremony.hash, ceremony.expires_at.millis()],
    )?;
    Ok(())
}

fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: FactorId(row.get(0)?),
        user: UserId(row.get(1)?),
        kind: word(row, 2, "a kind of credential", &CredentialKind::ALL, CredentialKind::as_str)?,
        name: row.get(3)?,
        relying_party: row.get(4)?,
        credential_id: row.get(5)?,
        record: row.get(6)?,
        counter: row.get(7)?,
        synced: row.get(8)?,
        aaguid: row.get(9)?,
        transports: parsed(row, 10, "transports", |text| {
            let word = |word| Transport::ALL.into_iter().find(|transport| transport.as_str() == word);
            text.split(',').filter(|part| !part.is_empty()).map(word).collect()
        })?,
        created_at: time(row, 11)?,
        last_used_at: optional_time(row, 12)?,
        last_used_from: match row.get::<_, Option<String>>(13)? {
            Some(text) => Some(text.parse().map_err(|_| not_ours(13, &text, "an address"))?),
            None => None,
        },
    })
}
