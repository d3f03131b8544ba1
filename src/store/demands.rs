//! The SQL of what policies ask about people: groups, what they have, what is demanded of them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params, params};

use super::sqlite;
use crate::{
    account::{ByRequirement, CredentialKind, GroupName, Means, Person, Requirement, UserId},
    time::Timestamp,
};

/// Everything about somebody that policies ask.
pub(super) fn person(connection: &Connection, id: UserId) -> rusqlite::Result<Option<Person>> {
    let Some(user) = sqlite::user_by_id(connection, id)? else { return Ok(None) };
    Ok(Some(Person {
        user: Arc::new(user),
        groups: groups(connection, id)?,
        means: means(connection, id)?,
        demanded: demanded(connection, id)?,
    }))
}

/// Puts somebody into groups and takes them out of others; says whether that changed anything.
pub(super) fn regroup(
    transaction: &Transaction<'_>,
    user: UserId,
    join: &[GroupName],
    leave: &[GroupName],
) -> rusqlite::Result<bool> {
    let mut changed = 0;
    for group in leave {
        changed += transaction.execute(
            "DELETE FROM user_group WHERE user_id = ?1 AND name = ?2",
            params![user.0, group.as_str()],
        )?;
    }
    for group in join {
        changed += transaction.execute(
            "INSERT INTO user_group (user_id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![user.0, group.as_str()],
        )?;
    }
    Ok(changed > 0)
}

/// Writes down that somebody was found without what is demanded, unless that was written before.
pub(super) fn demand(
    transaction: &Transaction<'_>,
    user: UserId,
    requirement: Requirement,
    now: Timestamp,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO demanded (user_id, requirement, since)
         SELECT id, ?2, ?3 FROM user WHERE id = ?1 ON CONFLICT DO NOTHING",
        params![user.0, requirement.as_str(), now.millis()],
    )?;
    Ok(())
}

fn groups(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<GroupName>> {
    connection
        .prepare_cached("SELECT name FROM user_group WHERE user_id = ?1 ORDER BY name")?
        .query_map([user.0], |row| sqlite::parsed(row, 0, "a group's name", |text| text.parse().ok()))?
        .collect()
}

fn means(connection: &Connection, user: UserId) -> rusqlite::Result<Means> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM authenticator WHERE user_id = :user),
                    (SELECT password IS NOT NULL FROM user WHERE id = :user),
                    (SELECT count(*) FROM credential WHERE user_id = :user AND kind = :passkey AND synced = 1),
                    (SELECT count(*) FROM credential WHERE user_id = :user AND kind = :passkey AND synced = 0),
                    (SELECT count(*) FROM credential WHERE user_id = :user AND kind = :key),
                    (SELECT count(*) FROM credential WHERE user_id = :user AND kind = :key AND synced = 1)",
        )?
        .query_row(
            named_params! {
                ":user": user.0,
                ":passkey": CredentialKind::Passkey.as_str(),
                ":key": CredentialKind::SecurityKey.as_str(),
            },
            |row| {
                Ok(Means {
                    apps: row.get(0)?,
                    password: row.get(1)?,
                    synced_passkeys: row.get(2)?,
                    bound_passkeys: row.get(3)?,
                    security_keys: row.get(4)?,
                    synced_security_keys: row.get(5)?,
                })
            },
        )
}

fn demanded(connection: &Connection, user: UserId) -> rusqlite::Result<ByRequirement<Option<Timestamp>>> {
    let mut statement =
        connection.prepare_cached("SELECT requirement, since FROM demanded WHERE user_id = ?1")?;
    let row = |row: &Row<'_>| {
        let requirement = sqlite::word(row, 0, "a requirement", &Requirement::ALL, Requirement::as_str)?;
        Ok((requirement, sqlite::time(row, 1)?))
    };
    let mut demanded = ByRequirement::default();
    for found in statement.query_map([user.0], row)? {
        let (requirement, since) = found?;
        *demanded.of_mut(requirement) = Some(since);
    }
    Ok(demanded)
}

/// Whether this is an unused recovery code of the user. Nothing is spent.
pub(super) fn has_recovery_code(
    connection: &Connection,
    user: UserId,
    hash: &[u8; 32],
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM recovery_code WHERE user_id = ?1 AND hash = ?2 AND used_at IS NULL")?
        .query_row(params![user.0, hash], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}
