//! How much of everything the store has.

use rusqlite::{Connection, params};

use crate::{status::Kept, time::Timestamp};

pub(super) fn of(connection: &Connection, now: Timestamp) -> rusqlite::Result<Kept> {
    let people = connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE disabled_at IS NULL AND enrolled),
                    count(*) FILTER (WHERE disabled_at IS NULL AND NOT enrolled),
                    count(*) FILTER (WHERE disabled_at IS NOT NULL),
                    count(*) FILTER (WHERE enrolled)
             FROM (SELECT disabled_at,
                          EXISTS (SELECT 1 FROM authenticator WHERE user_id = user.id)
                          OR EXISTS (SELECT 1 FROM credential WHERE user_id = user.id) AS enrolled
                   FROM user)",
        )?
        .query_row([], |row| {
            Ok(Kept {
                active: row.get(0)?,
                pending: row.get(1)?,
                disabled: row.get(2)?,
                enrolled: row.get(3)?,
                bans: 0,
            })
        })?;
    let bans = connection
        .prepare_cached("SELECT count(*) FROM ban WHERE expires_at IS NULL OR expires_at > ?1")?
        .query_row(params![now.millis()], |row| row.get(0))?;
    Ok(Kept { bans, ..people })
}
