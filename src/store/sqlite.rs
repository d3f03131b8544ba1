//! The store in a SQLite file (WAL, `synchronous=FULL`: what was answered is on disk).

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use rusqlite::{
    Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, named_params, params,
    types::Type,
};

use super::{
    Added, Attempt, AutomaticBan, Ban, Change, Deleted, Disabled, Enabled, EnrolledBy, Enrolment, Entry,
    GivenUp, GuessedAt, Guesses, NewEntry, NewInvitation, Owned, Panicked, Question, QuestionId,
    RecoveryCodes, Removed, Renamed, RoleSet, SealedCookieKey, Sessions, Spent, StepSpent, Store, StoreError,
    Tried, Unlocked, Use, UserRenamed, ban, counts, credentials, demands, factors, history, invitations,
    lockout, people, question, recovery, report,
};
use crate::{
    account::{
        Assertion, Authenticator, Ceremony, Credential, CredentialKind, DeviceId, EndReason, Factor,
        FactorId, GroupName, Invitation, InvitationPurpose, Method, Person, Requirement, Role, Scope,
        Session, SessionId, TimeStep, User, UserHandle, UserId, UserName,
    },
    ownership, secret,
    status::Kept,
    time::Timestamp,
};

/// One file for each step from an empty database to today's; released ones never change.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_first.sql")];

/// The schema of the databases that this program reads and writes.
pub const SCHEMA: usize = MIGRATIONS.len();

/// How long a call waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// How many changes are kept for gates that have not heard of them; each hears within a second.
const CHANGES_KEPT: i64 = 10_000;

/// A [`Store`] in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    heard: Heard,
}

/// How far this instance has followed the changes.
#[derive(Debug, Clone, Copy)]
enum Heard {
    Nothing,
    UpTo { seq: i64, data_version: i64 },
}

impl SqliteStore {
    /// Opens the database, and makes or migrates it where needed. A copy named
    /// `<file>.schema-<n>` is made before an existing one is migrated.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: an unwritable directory, a newer schema, or what SQLite says.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        prepare_directory(path)?;
        let failed = |source| sqlite_error(path, source);
        let log_is_empty = !fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
        let connection = Connection::open(path).map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly) => unwritable(path, source),
            _ => failed(source),
        })?;
        if log_is_empty {
            ends_with_a_page(&connection, path).map_err(failed)?;
        }
        let mut store = Self { path: path.into(), connection, heard: Heard::Nothing };
        store.set_up().map_err(failed)?;
        store.migrate()?;
        Ok(store)
    }

    fn set_up(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(BUSY)?;
        switch_to_wal(&self.connection)?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "foreign_keys", true)?;
        self.connection.pragma_update(None, "trusted_schema", false)?;
        self.connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let known = newest_schema();
        let found = self.run(|connection| {
            connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        })?;
        if found == known {
            return Ok(());
        }
        if found > known {
            return Err(StoreError::Newer { path: self.path.clone(), found, known });
        }
        if found > 0 && found < known {
            let copy = beside(&self.path, &format!(".schema-{found}"));
            if !copy.exists() {
                self.run(|connection| {
                    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy().as_ref()])
                })?;
                keep_private(&copy);
            }
        }
        self.write(|transaction| {
            // Asked again inside the transaction: two processes may start at once.
            let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for (step, sql) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > found) {
                transaction.execute_batch(sql)?;
                transaction.pragma_update(None, "user_version", step)?;
            }
            Ok(())
        })
    }

    /// One in memory, and what tests need to look into it.
    #[cfg(test)]
    pub(super) fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory()
            .map_err(|source| StoreError::Sqlite { path: path.clone(), source })?;
        let mut store = Self { path, connection, heard: Heard::Nothing };
        store.run(|connection| connection.pragma_update(None, "foreign_keys", true))?;
        store.migrate()?;
        Ok(store)
    }

    #[cfg(test)]
    pub(super) fn open_session_by_hand(&mut self, session: &Session) -> Result<(), StoreError> {
        self.write(|transaction| insert_session(transaction, session))
    }

    #[cfg(test)]
    pub(super) fn count(&mut self, table: &str) -> Result<i64, StoreError> {
        self.run(|connection| {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        })
    }

    fn run<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        read(&self.connection).map_err(|source| self.failed(source))
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done = (|| {
            // Immediate, so that what is read inside holds until the commit.
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        done.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        match source {
            rusqlite::Error::FromSqlConversionFailure(_, _, inner) if inner.is::<NotOurs>() => {
                match inner.downcast::<NotOurs>() {
                    Ok(error) => StoreError::Corrupt { found: error.found, expected: error.expected },
                    Err(_) => StoreError::Unavailable,
                }
            }
            source => sqlite_error(&self.path, source),
        }
    }
}

impl Store for SqliteStore {
    fn add_user(&mut self, name: &UserName, role: Role, now: Timestamp) -> Result<Added<User>, StoreError> {
        self.write(|transaction| {
            let added = transaction.execute(
                "INSERT INTO user (name, role, handle, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO NOTHING",
                params![name.as_str(), role.as_str(), secret::random::<64>(), now.millis()],
            )?;
            if added == 0 {
                return Ok(Added::Exists);
            }
            let id = UserId(transaction.last_insert_rowid());
            Ok(Added::New(User { id, name: name.clone(), role, created_at: now, disabled_at: None }))
        })
    }

    fn users(&mut self) -> Result<Vec<User>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {USER} FROM user ORDER BY name"))?
                .query_map([], user)?
                .collect()
        })
    }

    fn user_by_name(&mut self, name: &UserName) -> Result<Option<User>, StoreError> {
        self.run(|connection| user_by_name(connection, name.as_str()))
    }

    fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        self.run(|connection| user_by_id(connection, id))
    }

    fn person(&mut self, id: UserId) -> Result<Option<Person>, StoreError> {
        self.run(|connection| demands::person(connection, id))
    }

    fn regroup(&mut self, user: UserId, join: &[GroupName], leave: &[GroupName]) -> Result<bool, StoreError> {
        self.write(|transaction| demands::regroup(transaction, user, join, leave))
    }

    fn demand(&mut self, user: UserId, requirement: Requirement, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| demands::demand(transaction, user, requirement, now))
    }

    fn disable_user(&mut self, user: UserId, now: Timestamp) -> Result<Disabled, StoreError> {
        self.write(|transaction| people::disable(transaction, user, now))
    }

    fn enable_user(&mut self, user: UserId) -> Result<Enabled, StoreError> {
        self.write(|transaction| people::enable(transaction, user))
    }

    fn delete_user(&mut self, user: UserId, now: Timestamp) -> Result<Deleted, StoreError> {
        self.write(|transaction| people::delete(transaction, user, now))
    }

    fn rename_user(&mut self, user: UserId, name: &UserName) -> Result<UserRenamed, StoreError> {
        self.write(|transaction| people::rename(transaction, user, name))
    }

    fn set_role(&mut self, user: UserId, role: Role) -> Result<RoleSet, StoreError> {
        self.write(|transaction| people::set_role(transaction, user, role))
    }

    fn try_code(
        &mut self,
        attempt: &Attempt,
        charge: &dyn Fn(&Tried) -> Option<Guesses>,
    ) -> Result<Tried, StoreError> {
        self.write(|transaction| lockout::try_code(transaction, attempt, charge))
    }

    fn settle_code(
        &mut self,
        user: UserId,
        attempt: &Attempt,
        settle: &dyn Fn(Guesses) -> Guesses,
    ) -> Result<(), StoreError> {
        self.write(|transaction| lockout::settle(transaction, user, attempt, settle))
    }

    fn guessed_at(&mut self, user: UserId) -> Result<GuessedAt, StoreError> {
        self.run(|connection| lockout::guessed_at(connection, user))
    }

    fn lift_lockout(&mut self, user: UserId) -> Result<(), StoreError> {
        self.write(|transaction| lockout::lift(transaction, user).map(drop))
    }

    fn unlock(&mut self, user: UserId) -> Result<Unlocked, StoreError> {
        self.write(|transaction| lockout::unlock(transaction, user))
    }

    fn know_device(&mut self, user: UserId, device: DeviceId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| lockout::know_device(transaction, user, device, now))
    }

    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), StoreError> {
        self.write(|transaction| invitations::make(transaction, invitation))
    }

    fn invitation(&mut self, token_hash: &[u8; 32]) -> Result<Option<Invitation>, StoreError> {
        self.run(|connection| invitations::by_token(connection, token_hash))
    }

    fn latest_invitation(&mut self, user: UserId) -> Result<Option<Invitation>, StoreError> {
        self.run(|connection| invitations::latest(connection, user))
    }

    fn open_invitations(&mut self, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
        self.run(|connection| invitations::open(connection, now))
    }

    fn revoke_invitations(&mut self, user: UserId, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|transaction| invitations::revoke(transaction, user, now))
    }

    fn enrol(&mut self, enrolment: &Enrolment) -> Result<Spent, StoreError> {
        let Enrolment { by, factors, recovery_codes, password, session } = enrolment;
        self.write(|transaction| {
            for factor in factors {
                if let Factor::Credential(credential, ceremony) = factor
                    && !credentials::may_add(transaction, credential, ceremony)?
                {
                    return Ok(Spent::Before);
                }
            }
            if let EnrolledBy::Proof { replaces: Some(old), .. } = by
                && !factors::replaceable(transaction, session.user, old, factors)?
            {
                return Ok(Spent::Before);
            }
            let spent = match by {
                EnrolledBy::Invitation(token_hash) => transaction.execute(
                    "UPDATE invitation SET used_at = :now
                     WHERE token_hash = :token AND user_id = :user
                       AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :now
                       AND EXISTS (SELECT 1 FROM user WHERE id = :user AND disabled_at IS NULL)",
                    named_params! {
                        ":now": session.created_at.millis(),
                        ":token": token_hash,
                        ":user": session.user.0,
                    },
                )?,
                EnrolledBy::Session(id) => transaction.execute(
                    "UPDATE session SET ended_at = :now, end_reason = :reason
                     WHERE id = :id AND user_id = :user AND scope = :scope
                       AND ended_at IS NULL AND expires_at > :now
                       AND EXISTS (SELECT 1 FROM user WHERE id = :user AND disabled_at IS NULL)",
                    named_params! {
                        ":now": session.created_at.millis(),
                        ":reason": EndReason::Replaced.as_str(),
                        ":scope": Scope::EnrolOnly.as_str(),
                        ":id": id.0,
                        ":user": session.user.0,
                    },
                )?,
                EnrolledBy::Proof { session: id, once, .. } => {
                    credentials::spend_proof(transaction, once, *id, session.user, session.created_at)?
                }
            };
            if spent == 0 {
                return Ok(Spent::Before);
            }
            if let EnrolledBy::Invitation(token_hash) = by {
                end_others_if_recovering(transaction, token_hash, session)?;
                report::owner_is_here(transaction, session.user)?;
            }
            for factor in factors {
                match factor {
                    Factor::Authenticator(authenticator) => insert_authenticator(transaction, authenticator)?,
                    Factor::Credential(credential, ceremony) => {
                        credentials::add(transaction, credential, ceremony)?;
                    }
                }
            }
            if let Some(hashes) = recovery_codes {
                recovery::replace(transaction, session.user, hashes, session.created_at)?;
            }
            if let Some(password) = password {
                transaction.execute(
                    "UPDATE user SET password = ?2 WHERE id = ?1",
                    params![session.user.0, password],
                )?;
            }
            match by {
                EnrolledBy::Invitation(_) | EnrolledBy::Session(_) => {
                    lockout::lift(transaction, session.user)?;
                    insert_session(transaction, session)?;
                }
                EnrolledBy::Proof { replaces: Some(old), .. } => {
                    factors::remove(transaction, session.user, old)?;
                }
                EnrolledBy::Proof { replaces: None, .. } => {}
            }
            Ok(Spent::First)
        })
    }

    fn recovery_codes(&mut self, user: UserId) -> Result<RecoveryCodes, StoreError> {
        self.run(|connection| recovery::count(connection, user))
    }

    fn remove_factors(
        &mut self,
        user: UserId,
        one: Option<&FactorId>,
        now: Timestamp,
    ) -> Result<Removed, StoreError> {
        self.write(|transaction| {
            let factors = match one {
                Some(id) => usize::from(factors::remove(transaction, user, id)?),
                None => factors::remove_all(transaction, user)?,
            };
            let sessions = factors::end_sessions(transaction, user, EndReason::Revoked, now)?;
            Ok(Removed { factors, sessions })
        })
    }

    fn panic(&mut self, user: UserId, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|transaction| factors::panic(transaction, user, now))
    }

    fn panic_of_another(&mut self, user: UserId, now: Timestamp) -> Result<Panicked, StoreError> {
        self.write(|transaction| people::panic(transaction, user, now))
    }

    fn disown(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        self.write(|transaction| report::disown(transaction, user, now))
    }

    fn wants_passkey(&mut self, user: UserId) -> Result<bool, StoreError> {
        self.run(|connection| report::wants_passkey(connection, user))
    }

    fn reports(&mut self, since: Timestamp) -> Result<Vec<(UserName, Timestamp)>, StoreError> {
        self.run(|connection| report::since(connection, since))
    }

    fn replace_recovery_codes(
        &mut self,
        user: UserId,
        hashes: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(|transaction| recovery::replace(transaction, user, hashes, now))
    }

    fn renew_recovery_codes(
        &mut self,
        user: UserId,
        session: SessionId,
        once: &Ceremony,
        hashes: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            if credentials::spend_proof(transaction, once, session, user, now)? == 0 {
                return Ok(Spent::Before);
            }
            recovery::replace(transaction, user, hashes, now)?;
            Ok(Spent::First)
        })
    }

    fn has_recovery_code(&mut self, user: UserId, hash: &[u8; 32]) -> Result<bool, StoreError> {
        self.run(|connection| demands::has_recovery_code(connection, user, hash))
    }

    fn sign_in_by_recovery_code(&mut self, hash: &[u8; 32], session: &Session) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            if recovery::spend(transaction, hash, session.user, session.created_at)? == 0 {
                return Ok(Spent::Before);
            }
            insert_session(transaction, session)?;
            Ok(Spent::First)
        })
    }

    fn spend_recovery_code(
        &mut self,
        hash: &[u8; 32],
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            let spent = recovery::may_spend_at(transaction, user, session, now)?
                && recovery::spend(transaction, hash, user, now)? > 0;
            Ok(if spent { Spent::First } else { Spent::Before })
        })
    }

    fn password(&mut self, user: UserId) -> Result<Option<String>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT password FROM user WHERE id = ?1")?
                .query_row([user.0], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
    }

    fn authenticators(&mut self, user: UserId) -> Result<Vec<Authenticator>, StoreError> {
        self.run(|connection| authenticators(connection, user))
    }

    fn sign_in_by_step(
        &mut self,
        factor: &FactorId,
        step: TimeStep,
        session: &Session,
    ) -> Result<StepSpent, StoreError> {
        self.write(|transaction| {
            match spend_step(transaction, session.user, factor, step, session.created_at)? {
                Spent::Before => return Ok(StepSpent::Before),
                Spent::First => {}
            }
            let mut keys = credentials::of(transaction, session.user)?;
            keys.retain(|key| key.kind == CredentialKind::SecurityKey);
            if !keys.is_empty() {
                return Ok(StepSpent::KeyNeeded(keys));
            }
            insert_session(transaction, session)?;
            Ok(StepSpent::SignedIn)
        })
    }

    fn user_handle(&mut self, user: UserId) -> Result<Option<UserHandle>, StoreError> {
        self.run(|connection| credentials::handle(connection, user))
    }

    fn credentials(&mut self, user: UserId) -> Result<Vec<Credential>, StoreError> {
        self.run(|connection| credentials::of(connection, user))
    }

    fn credential_of(&mut self, credential_id: &[u8]) -> Result<Option<Owned>, StoreError> {
        self.run(|connection| {
            let Some(credential) = credentials::find(connection, credential_id)? else { return Ok(None) };
            let user = connection
                .prepare_cached(&format!("SELECT {USER} FROM user WHERE id = ?1"))?
                .query_row([credential.user.0], user)?;
            let handle = credentials::handle(connection, user.id)?;
            Ok(handle.map(|handle| Owned { credential, user, handle }))
        })
    }

    fn sign_in_by_assertion(
        &mut self,
        assertion: &Assertion,
        ceremony: &Ceremony,
        session: &Session,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            let by = Use { user: session.user, at: session.created_at, client: session.client };
            let spent = credentials::spend_assertion(transaction, assertion, ceremony, &by)?;
            if let Spent::First = spent {
                report::owner_is_here(transaction, session.user)?;
                insert_session(transaction, session)?;
            }
            Ok(spent)
        })
    }

    fn spend_step(
        &mut self,
        user: UserId,
        factor: &FactorId,
        step: TimeStep,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| spend_step(transaction, user, factor, step, now))
    }

    fn void_step(
        &mut self,
        user: UserId,
        factor: &FactorId,
        step: TimeStep,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(|transaction| factors::void_step(transaction, user, factor, step_number(step), until))
    }

    fn spend_assertion(
        &mut self,
        assertion: &Assertion,
        ceremony: &Ceremony,
        by: &Use,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| credentials::spend_assertion(transaction, assertion, ceremony, by))
    }

    fn rename_factor(&mut self, user: UserId, id: &FactorId, name: &str) -> Result<Renamed, StoreError> {
        self.write(|transaction| factors::rename(transaction, user, id, name))
    }

    fn give_up_factor(&mut self, user: UserId, id: &FactorId) -> Result<GivenUp, StoreError> {
        self.write(|transaction| factors::give_up(transaction, user, id))
    }

    fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!("SELECT {SESSION} FROM session WHERE id = ?1"))?
                .query_row([id.0], session)
                .optional()
        })
    }

    fn live_sessions(&mut self, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {SESSION} FROM session
                     WHERE ended_at IS NULL AND expires_at > ?1 ORDER BY created_at, rowid"
                ))?
                .query_map([now.millis()], session)?
                .collect()
        })
    }

    fn end_sessions(
        &mut self,
        which: &Sessions,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.write(|transaction| end_sessions(transaction, which, reason, now))
    }

    fn record_activity(&mut self, activity: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE session SET last_active_at = ?2
                 WHERE id = ?1 AND ended_at IS NULL AND last_active_at < ?2",
            )?;
            for (id, at) in activity {
                update.execute(params![id.0, at.millis()])?;
            }
            Ok(())
        })
    }

    fn ask(&mut self, asked: Question, now: Timestamp) -> Result<QuestionId, StoreError> {
        self.write(|transaction| question::ask(transaction, asked, now))
    }

    fn open_questions(&mut self, gate: &str) -> Result<Vec<(QuestionId, Question)>, StoreError> {
        self.run(|connection| question::open(connection, gate))
    }

    fn answer(&mut self, question: QuestionId, gate: &str, answer: &str) -> Result<(), StoreError> {
        self.write(|transaction| question::answer(transaction, question, gate, answer))
    }

    fn answers(&mut self, question: QuestionId) -> Result<Vec<String>, StoreError> {
        self.run(|connection| question::answers(connection, question))
    }

    fn take_back(&mut self, question: QuestionId) -> Result<(), StoreError> {
        self.write(|transaction| question::take_back(transaction, question))
    }

    fn counts(&mut self, now: Timestamp) -> Result<Kept, StoreError> {
        self.run(|connection| counts::of(connection, now))
    }

    fn bans(&mut self, now: Timestamp) -> Result<Vec<Ban>, StoreError> {
        self.run(|connection| ban::in_force(connection, now))
    }

    fn ban_of(&mut self, network: &IpNet) -> Result<Option<Ban>, StoreError> {
        self.run(|connection| ban::of(connection, network))
    }

    fn ban(
        &mut self,
        network: IpNet,
        reason: &str,
        now: Timestamp,
        length: &dyn Fn(u32) -> Duration,
    ) -> Result<AutomaticBan, StoreError> {
        self.write(|transaction| {
            ban::forget(transaction, now)?;
            ban::by_itself(transaction, network, reason, now, length)
        })
    }

    fn put_ban(&mut self, ban: &Ban) -> Result<(), StoreError> {
        self.write(|transaction| ban::put(transaction, ban))
    }

    fn lift_ban(&mut self, network: &IpNet, now: Timestamp) -> Result<Option<Ban>, StoreError> {
        self.write(|transaction| ban::lift(transaction, network, now))
    }

    fn homes(&mut self, now: Timestamp) -> Result<Vec<IpAddr>, StoreError> {
        self.run(|connection| ban::homes(connection, now))
    }

    fn record_history(&mut self, entries: &[NewEntry]) -> Result<(), StoreError> {
        self.write(|transaction| history::record(transaction, entries))
    }

    fn history(&mut self, user: UserId) -> Result<Vec<Entry>, StoreError> {
        self.run(|connection| history::of(connection, user))
    }

    fn last_sign_in(&mut self, user: UserId) -> Result<Option<Timestamp>, StoreError> {
        self.run(|connection| people::last_sign_in(connection, user))
    }

    fn forget(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM session WHERE expires_at < ?1", [before.millis()])?;
            transaction.execute("DELETE FROM invitation WHERE expires_at < ?1", [before.millis()])?;
            transaction.execute("DELETE FROM spent_ceremony WHERE expires_at < ?1", [before.millis()])?;
            transaction.execute("DELETE FROM void_step WHERE until < ?1", [before.millis()])?;
            history::forget(transaction, before)?;
            transaction.execute(
                "DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - ?1",
                [CHANGES_KEPT],
            )?;
            Ok(())
        })
    }

    fn cookie_keys(&mut self) -> Result<Vec<SealedCookieKey>, StoreError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT id, sealed, created_at FROM cookie_key ORDER BY created_at DESC, id")?
                .query_map([], |row| {
                    Ok(SealedCookieKey { id: row.get(0)?, sealed: row.get(1)?, created_at: time(row, 2)? })
                })?
                .collect()
        })
    }

    fn forget_cookie_keys(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "DELETE FROM cookie_key
                 WHERE created_at < ?1 AND created_at < (SELECT max(created_at) FROM cookie_key)",
                [before.millis()],
            )?;
            Ok(())
        })
    }

    fn add_cookie_key(&mut self, key: &SealedCookieKey) -> Result<Added<()>, StoreError> {
        self.write(|transaction| {
            let added = transaction.execute(
                "INSERT INTO cookie_key (id, sealed, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                params![key.id, key.sealed, key.created_at.millis()],
            )?;
            Ok(if added == 0 { Added::Exists } else { Added::New(()) })
        })
    }

    fn changes(&mut self) -> Result<Vec<Change>, StoreError> {
        let heard = self.heard;
        let (changes, heard) = self.run(|connection| {
            // SQLite moves this number when another connection has committed; asking costs no read of
            // the file beyond its header.
            let data_version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
            let last = |connection: &Connection| {
                connection
                    .prepare_cached("SELECT coalesce(max(seq), 0) FROM change")?
                    .query_row([], |row| row.get(0))
            };
            let from = match heard {
                Heard::Nothing => {
                    return Ok((Vec::new(), Heard::UpTo { seq: last(connection)?, data_version }));
                }
                Heard::UpTo { data_version: before, .. } if before == data_version => {
                    return Ok((Vec::new(), heard));
                }
                Heard::UpTo { seq, .. } => seq,
            };
            let rows: Vec<(i64, Option<Change>)> = connection
                .prepare_cached("SELECT seq, kind, subject FROM change WHERE seq > ?1 ORDER BY seq")?
                .query_map([from], |row| Ok((row.get(0)?, change(row)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let seq = rows.last().map_or(from, |(seq, _)| *seq);
            let changes = rows.into_iter().filter_map(|(_, change)| change).collect();
            Ok((changes, Heard::UpTo { seq, data_version }))
        })?;
        self.heard = heard;
        Ok(changes)
    }
}

/// What SQLite said; that somebody else is writing is told apart, for it passes.
fn sqlite_error(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            StoreError::Busy { path: path.into() }
        }
        _ => StoreError::Sqlite { path: path.into(), source },
    }
}

const USER: &str = "id, name, role, created_at, disabled_at";
const SESSION: &str = "id, user_id, method, scope, created_at, expires_at, last_active_at, client, user_agent, ended_at, end_reason, password, device_bound";

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId(row.get(0)?),
        name: parsed(row, 1, "a user name", |text| text.parse().ok())?,
        role: word(row, 2, "a role", &Role::ALL, Role::as_str)?,
        created_at: time(row, 3)?,
        disabled_at: optional_time(row, 4)?,
    })
}

fn authenticator(row: &Row<'_>) -> rusqlite::Result<Authenticator> {
    let step: i64 = row.get(4)?;
    let last_step = u64::try_from(step).map_err(|_| not_ours(4, &step.to_string(), "a time step"))?;
    Ok(Authenticator {
        id: FactorId(row.get(0)?),
        user: UserId(row.get(1)?),
        name: row.get(2)?,
        sealed_secret: row.get(3)?,
        last_step: TimeStep(last_step),
        created_at: time(row, 5)?,
        last_used_at: optional_time(row, 6)?,
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let ended = match optional_time(row, 9)? {
        Some(at) => Some((at, word(row, 10, "a reason", &EndReason::ALL, EndReason::as_str)?)),
        None => None,
    };
    Ok(Session {
        id: SessionId(row.get(0)?),
        user: UserId(row.get(1)?),
        method: word(row, 2, "a sign-in method", &Method::ALL, Method::as_str)?,
        password: row.get(11)?,
        device_bound: row.get(12)?,
        scope: word(row, 3, "a scope", &Scope::ALL, Scope::as_str)?,
        created_at: time(row, 4)?,
        expires_at: time(row, 5)?,
        last_active_at: time(row, 6)?,
        client: parsed(row, 7, "an address", |text| text.parse().ok())?,
        user_agent: row.get(8)?,
        ended,
    })
}

/// A kind that this version does not know concerns something it does not have.
fn change(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let kind: String = row.get(1)?;
    Ok(match kind.as_str() {
        "session" => Some(Change::Session(SessionId(row.get(2)?))),
        "user" => Some(Change::User(UserId(row.get(2)?))),
        "cookie-key" => Some(Change::CookieKeys),
        "question" => Some(Change::Question),
        "ban" => row.get::<_, String>(2)?.parse().ok().map(Change::Ban),
        _ => None,
    })
}

fn insert_authenticator(
    transaction: &Transaction<'_>,
    authenticator: &Authenticator,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO authenticator (id, user_id, name, sealed_secret, last_step, created_at, last_used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            authenticator.id.0,
            authenticator.user.0,
            authenticator.name,
            authenticator.sealed_secret,
            step_number(authenticator.last_step),
            authenticator.created_at.millis(),
            authenticator.last_used_at.map(Timestamp::millis),
        ],
    )?;
    Ok(())
}

/// Whoever recovers may have lost a signed-in device: what is open elsewhere ends.
fn end_others_if_recovering(
    transaction: &Transaction<'_>,
    token_hash: &[u8; 32],
    session: &Session,
) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE session SET ended_at = :now, end_reason = :reason
         WHERE user_id = :user AND ended_at IS NULL
           AND EXISTS (SELECT 1 FROM invitation WHERE token_hash = :token AND purpose = :recover)",
        named_params! {
            ":now": session.created_at.millis(),
            ":reason": EndReason::Revoked.as_str(),
            ":user": session.user.0,
            ":token": token_hash,
            ":recover": InvitationPurpose::Recover.as_str(),
        },
    )?;
    Ok(())
}

pub(super) fn user_by_id(connection: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!("SELECT {USER} FROM user WHERE id = ?1"))?
        .query_row([id.0], user)
        .optional()
}

pub(super) fn user_by_name(connection: &Connection, name: &str) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!("SELECT {USER} FROM user WHERE name = ?1"))?
        .query_row([name], user)
        .optional()
}

pub(super) fn authenticators(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Authenticator>> {
    connection
        .prepare_cached(
            "SELECT id, user_id, name, sealed_secret, last_step, created_at, last_used_at
             FROM authenticator WHERE user_id = ?1 ORDER BY created_at, rowid",
        )?
        .query_map([user.0], authenticator)?
        .collect()
}

pub(super) fn end_sessions(
    transaction: &Transaction<'_>,
    which: &Sessions,
    reason: EndReason,
    now: Timestamp,
) -> rusqlite::Result<Vec<SessionId>> {
    let (one, user, but, before) = match which {
        Sessions::One(id) => (Some(id.0), None, None, None),
        Sessions::Of(user) => (None, Some(user.0), None, None),
        Sessions::Others { of, but } => (None, Some(of.0), Some(but.0), None),
        Sessions::OpenedBefore { of, at } => (None, of.map(|user| user.0), None, Some(at.millis())),
        Sessions::All => (None, None, None, None),
    };
    transaction
        .prepare_cached(
            "UPDATE session SET ended_at = :now, end_reason = :reason
             WHERE ended_at IS NULL AND (:one IS NULL OR id = :one)
               AND (:user IS NULL OR user_id = :user) AND (:but IS NULL OR id <> :but)
               AND (:before IS NULL OR created_at < :before)
             RETURNING id",
        )?
        .query_map(
            named_params! {
                ":now": now.millis(),
                ":reason": reason.as_str(),
                ":one": one,
                ":user": user,
                ":but": but,
                ":before": before,
            },
            |row| row.get(0).map(SessionId),
        )?
        .collect()
}

fn insert_session(transaction: &Transaction<'_>, session: &Session) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO session
             (id, user_id, method, scope, created_at, expires_at, last_active_at, client, user_agent,
              password, device_bound)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            session.id.0,
            session.user.0,
            session.method.as_str(),
            session.scope.as_str(),
            session.created_at.millis(),
            session.expires_at.millis(),
            session.last_active_at.millis(),
            session.client.to_string(),
            session.user_agent,
            session.password,
            session.device_bound,
        ],
    )?;
    Ok(())
}

/// SQLite's integers are signed; a step past them is later than any clock.
fn step_number(step: TimeStep) -> i64 {
    i64::try_from(step.0).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn word<T: Copy>(
    row: &Row<'_>,
    column: usize,
    expected: &'static str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    parsed(row, column, expected, |text| all.iter().copied().find(|value| as_str(*value) == text))
}

pub(super) fn parsed<T>(
    row: &Row<'_>,
    column: usize,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| not_ours(column, &text, expected))
}

#[derive(Debug, thiserror::Error)]
#[error("{found:?} where {expected} is expected")]
struct NotOurs {
    found: String,
    expected: &'static str,
}

pub(super) fn not_ours(column: usize, found: &str, expected: &'static str) -> rusqlite::Error {
    let error = NotOurs { found: found.into(), expected };
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// The directory is made with mode 0700 where it is missing, and the file with 0600.
fn prepare_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|reason| unwritable(path, reason))?;
    // A file that is there is never opened but by SQLite: closing it would drop every lock that this
    // process holds on it (POSIX), and another program could then take the log away under us.
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(made) => ownership::as_around(&made, path).map_err(|reason| unwritable(path, reason))?,
        Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => {}
        Err(reason) => return Err(unwritable(path, reason)),
    }
    keep_private(path);
    Ok(())
}

/// SQLite takes a last page that was cut off for one that ends in zeros, and reads wrong values from it.
/// While a log lies beside the file, the page may be whole there: then SQLite is to judge.
fn ends_with_a_page(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    match fs::metadata(path) {
        Ok(file) if file.len() % u64::from(page) != 0 => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some("the file was cut off in the middle of a page".to_owned()),
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A step is spent where it is later than the last: of two at once, one finds it so.
fn spend_step(
    transaction: &Transaction<'_>,
    user: UserId,
    factor: &FactorId,
    step: TimeStep,
    now: Timestamp,
) -> rusqlite::Result<Spent> {
    let spent = transaction.execute(
        "UPDATE authenticator SET last_step = :step, last_used_at = :now
         WHERE id = :id AND user_id = :user AND last_step < :step
           AND NOT EXISTS (SELECT 1 FROM void_step WHERE authenticator = :id AND step = :step)
           AND EXISTS (SELECT 1 FROM user WHERE id = :user AND disabled_at IS NULL)",
        named_params! {
            ":step": step_number(step),
            ":now": now.millis(),
            ":id": factor.0,
            ":user": user.0,
        },
    )?;
    Ok(if spent == 0 { Spent::Before } else { Spent::First })
}

/// Tried again while another connection does the same: SQLite does not wait by itself for the lock that
/// turns a new file into one with a write-ahead log, it answers "busy" at once.
#[expect(clippy::disallowed_methods, reason = "SQLite tells nobody when that lock is free again")]
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && waited < BUSY =>
            {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            done => return done,
        }
    }
}

/// The schema that this program writes.
pub(super) fn newest_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    name.into()
}

/// Best effort: a file of another owner stays as its owner wants it.
fn keep_private(path: &Path) {
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
}

fn unwritable(path: &Path, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unwritable {
        directory: path.parent().unwrap_or(Path::new(".")).into(),
        uid: nix::unistd::geteuid().as_raw(),
        reason: reason.to_string(),
    }
}
