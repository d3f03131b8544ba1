//! A copy of the database as one piece of memory, for backups; and whether nobody else has it open.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, backup::Backup};

use super::{StoreError, sqlite};

/// What a copy of a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Its schema.
    pub schema: i64,
    /// People.
    pub users: u32,
    /// Sessions that were not ended.
    pub sessions: u32,
}

/// Copies the database as of one moment, while gates and verbs go on with it.
///
/// # Errors
///
/// [`StoreError`]: there is none, or what SQLite says.
pub fn snapshot(path: &Path) -> Result<Vec<u8>, StoreError> {
    let copy = || {
        let from = open(path)?;
        let mut to = Connection::open_in_memory()?;
        // Every page in one step: one read transaction, which nobody waits for.
        Backup::new(&from, &mut to)?.step(-1)?;
        let mut bytes = to.serialize(MAIN_DB)?.to_vec();
        forget_wal(&mut bytes);
        Ok(bytes)
    };
    copy().map_err(|source| failed(path, source))
}

/// The same database without sessions and known devices.
///
/// # Errors
///
/// [`StoreError`]
pub fn without_sessions(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let strip = || {
        let mut database = in_memory(bytes)?;
        // Freed pages would still hold them.
        database.execute_batch("DELETE FROM session; DELETE FROM device; VACUUM;")?;
        Ok(database.serialize(MAIN_DB)?.to_vec())
    };
    strip().map_err(|source| failed(Path::new("the copy"), source))
}

/// Looks through a whole copy.
///
/// # Errors
///
/// [`StoreError`]: it is damaged, or a newer pvegate wrote it.
pub fn inspect(bytes: &[u8]) -> Result<Contents, StoreError> {
    let path = Path::new("the copy");
    let look = || {
        let database = in_memory(bytes)?;
        let found = database.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0))?;
        let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u32>(0));
        let contents = Contents {
            schema: database.pragma_query_value(None, "user_version", |row| row.get(0))?,
            users: count("SELECT count(*) FROM user")?,
            sessions: count("SELECT count(*) FROM session WHERE ended_at IS NULL")?,
        };
        Ok((found, contents))
    };
    let (found, contents) = look().map_err(|source| failed(path, source))?;
    if found != "ok" {
        return Err(StoreError::Corrupt { found, expected: "a database without faults" });
    }
    let known = sqlite::newest_schema();
    if contents.schema > known {
        return Err(StoreError::Newer { path: path.into(), found: contents.schema, known });
    }
    Ok(contents)
}

/// A database that nobody else has open, nor can open while this lives.
#[derive(Debug)]
pub struct Sole {
    _held: Option<Connection>,
}

/// Whether a database could be had alone.
#[derive(Debug)]
pub enum Alone {
    /// Nobody else has it.
    Yes(Sole),
    /// A gate or a verb has it open.
    InUse,
}

impl Sole {
    /// Takes the database for itself, and writes what its log holds into it: the file is all there is then.
    /// A file that SQLite cannot read is nobody's.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn take(path: &Path) -> Result<Alone, StoreError> {
        let take = || {
            let database = open(path)?;
            // Leaving the write-ahead log wants every other connection gone; the lock then stays.
            database.pragma_update(None, "journal_mode", "DELETE")?;
            database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            database.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
            Ok(database)
        };
        match take() {
            Ok(database) => Ok(Alone::Yes(Self { _held: Some(database) })),
            Err(error) => match rusqlite::Error::sqlite_error_code(&error) {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(Alone::InUse),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    Ok(Alone::Yes(Self { _held: None }))
                }
                _ => Err(failed(path, error)),
            },
        }
    }
}

/// What lies beside a database and belongs to it.
#[must_use]
pub fn companions(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|what| sqlite::beside(path, what))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    database.pragma_update(None, "trusted_schema", false)?;
    Ok(database)
}

fn in_memory(bytes: &[u8]) -> rusqlite::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    database.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), false)?;
    Ok(database)
}

/// A copy is in no log's company: bytes 18 and 19 of the header say so (SQLite, Database File Format, 1.3.3).
fn forget_wal(bytes: &mut [u8]) {
    if let Some(versions) = bytes.get_mut(18..20) {
        versions.fill(1);
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Sqlite { path: path.into(), source }
}
