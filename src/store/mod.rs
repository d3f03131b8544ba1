//! Where gates and the command line meet.
//!
//! [`Store`] is a list of what pvegate does with its state; each method is one transaction, durable
//! when it returns. What works once is spent by one conditional statement inside it, so that of two
//! gates on one store only one succeeds. A running gate hears of the others' work by
//! [`Store::changes`].
//!
//! The trait is synchronous, as its command-line users are; a gate talks to it through a
//! [`StoreThread`]. No secret is opened here: what is sealed comes and goes sealed.

mod ban;
mod counts;
mod credentials;
mod demands;
mod factors;
mod history;
mod invitations;
mod lockout;
mod people;
mod question;
mod recovery;
mod report;
mod snapshot;
mod sqlite;
mod thread;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

pub use ban::{AUTOMATIC, AutomaticBan, Ban, REMEMBERED, SPARED_BY_SIGN_IN};
pub use history::{Entry, Happened, KEPT, NewEntry};
pub use lockout::{
    Attempt, DEVICE_LIFETIME, DEVICES_PER_USER, GuessedAt, Guesses, GuessesByDay, Tried, Unlocked,
};
pub use people::{Deleted, Disabled, Enabled, Panicked, RoleSet, UserRenamed};
pub use question::{Question, QuestionId};
pub use snapshot::{Alone, Contents, Sole, companions, inspect, snapshot, without_sessions};
pub use sqlite::{SCHEMA, SqliteStore};
pub use thread::StoreThread;

use crate::{
    account::{
        Assertion, Authenticator, Ceremony, Credential, DeviceId, EndReason, Factor, FactorId, GroupName,
        Invitation, InvitationPurpose, Person, Requirement, Role, Session, SessionId, TimeStep, User,
        UserHandle, UserId, UserName,
    },
    status::Kept,
    time::Timestamp,
};

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The SQLite file.
    pub path: PathBuf,
}

/// What pvegate keeps, and does with it.
pub trait Store: Send {
    /// Adds a user.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn add_user(&mut self, name: &UserName, role: Role, now: Timestamp) -> Result<Added<User>, StoreError>;

    /// Every user, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn users(&mut self) -> Result<Vec<User>, StoreError>;

    /// The user of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn user_by_name(&mut self, name: &UserName) -> Result<Option<User>, StoreError>;

    /// The user of this number.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError>;

    /// The user of this number, and everything about them that policies ask.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn person(&mut self, id: UserId) -> Result<Option<Person>, StoreError>;

    /// Puts a user into groups and takes them out of others; says whether that changed anything.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn regroup(&mut self, user: UserId, join: &[GroupName], leave: &[GroupName]) -> Result<bool, StoreError>;

    /// Writes down that the user was found without what is demanded, unless that was written before.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn demand(&mut self, user: UserId, requirement: Requirement, now: Timestamp) -> Result<(), StoreError>;

    /// The user may not sign in any more: their sessions end and their devices are unknown.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn disable_user(&mut self, user: UserId, now: Timestamp) -> Result<Disabled, StoreError>;

    /// The user may sign in again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn enable_user(&mut self, user: UserId) -> Result<Enabled, StoreError>;

    /// Deletes the user, and everything of theirs: sign-in methods, sessions, links, history. Their number is
    /// given to nobody again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn delete_user(&mut self, user: UserId, now: Timestamp) -> Result<Deleted, StoreError>;

    /// Gives the user another name. Everything else of theirs stays: sign-in methods, sessions, what was
    /// guessed at their codes, history.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn rename_user(&mut self, user: UserId, name: &UserName) -> Result<UserRenamed, StoreError>;

    /// Says what the user may do at the gate. Their sessions go on, with the new rights.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn set_role(&mut self, user: UserId, role: Role) -> Result<RoleSet, StoreError>;

    /// Reads all that concerns an attempt to sign in with a code, and writes the counts that `charge`
    /// makes of it; where that is `None`, writes as much about nobody. What came back was on disk
    /// before the code is compared with anything.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn try_code(
        &mut self,
        attempt: &Attempt,
        charge: &dyn Fn(&Tried) -> Option<Guesses>,
    ) -> Result<Tried, StoreError>;

    /// The attempt's code was right: writes the counts that `settle` makes of those there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn settle_code(
        &mut self,
        user: UserId,
        attempt: &Attempt,
        settle: &dyn Fn(Guesses) -> Guesses,
    ) -> Result<(), StoreError>;

    /// What was guessed at an account, from everywhere.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn guessed_at(&mut self, user: UserId) -> Result<GuessedAt, StoreError>;

    /// Ends every row of wrong codes and the count since the last success: the user came in by
    /// something stronger. The guesses of the year stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn lift_lockout(&mut self, user: UserId) -> Result<(), StoreError>;

    /// Forgets everything that was guessed at an account, the guesses of the year too.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn unlock(&mut self, user: UserId) -> Result<Unlocked, StoreError>;

    /// Knows a device of the user for [`DEVICE_LIFETIME`] from `now`. The one unused for longest is
    /// forgotten where there are more than [`DEVICES_PER_USER`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn know_device(&mut self, user: UserId, device: DeviceId, now: Timestamp) -> Result<(), StoreError>;

    /// Makes an invitation, and revokes the user's earlier ones that nobody used.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), StoreError>;

    /// The invitation with this token hash, whatever became of it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn invitation(&mut self, token_hash: &[u8; 32]) -> Result<Option<Invitation>, StoreError>;

    /// The user's latest invitation.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn latest_invitation(&mut self, user: UserId) -> Result<Option<Invitation>, StoreError>;

    /// Everybody's invitations that still work, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn open_invitations(&mut self, now: Timestamp) -> Result<Vec<Invitation>, StoreError>;

    /// Makes the user's invitations void that nobody used, and says how many of them still worked.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn revoke_invitations(&mut self, user: UserId, now: Timestamp) -> Result<usize, StoreError>;

    /// Spends what permits the enrolment, adds the sign-in methods, the recovery codes and the password,
    /// lifts a lockout and opens the session: all or nothing.
    ///
    /// An invitation must be unused, unrevoked and unexpired at `session.created_at`, an enrolling
    /// session alive; a proof unspent and its session alive; the user the session's and not disabled; a
    /// credential must be nobody's yet, and the ceremony that made it unspent; what is replaced must be there,
    /// and of a kind with what replaces it. Otherwise [`Spent::Before`] and nothing happened. An invitation to
    /// recover ends the user's other sessions.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn enrol(&mut self, enrolment: &Enrolment) -> Result<Spent, StoreError>;

    /// How many recovery codes the user has.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn recovery_codes(&mut self, user: UserId) -> Result<RecoveryCodes, StoreError>;

    /// Removes a sign-in method of the user, or every one with recovery codes and password, and ends the
    /// user's sessions.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn remove_factors(
        &mut self,
        user: UserId,
        one: Option<&FactorId>,
        now: Timestamp,
    ) -> Result<Removed, StoreError>;

    /// Locks an account in a hurry: disables the user, administrator or not, ends their sessions, and
    /// makes their links and known devices void. Says how many sessions that were.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn panic(&mut self, user: UserId, now: Timestamp) -> Result<usize, StoreError>;

    /// The same by another administrator's hand, which spares the last administrator who may sign in.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn panic_of_another(&mut self, user: UserId, now: Timestamp) -> Result<Panicked, StoreError>;

    /// Somebody else was in the account: its sessions end, its known devices and open links are void, and
    /// its owner's passkey is wanted at the next sign-in. Says which sessions those were.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn disown(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionId>, StoreError>;

    /// Whether a code of an authenticator app is not enough for the user until they have been here by a
    /// passkey of theirs: never where there is none, nor where a security key is asked for anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn wants_passkey(&mut self, user: UserId) -> Result<bool, StoreError>;

    /// Who disowned what happened in their account at `since` or later, and when, the latest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn reports(&mut self, since: Timestamp) -> Result<Vec<(UserName, Timestamp)>, StoreError>;

    /// Puts a new set in place of the user's recovery codes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn replace_recovery_codes(
        &mut self,
        user: UserId,
        hashes: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Spends a proof that was given at a session, and puts a new set in place of its user's recovery codes:
    /// all or nothing. A proof that was spent or came too late, a session that is over and a disabled user
    /// are [`Spent::Before`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn renew_recovery_codes(
        &mut self,
        user: UserId,
        session: SessionId,
        once: &Ceremony,
        hashes: &[[u8; 32]],
        now: Timestamp,
    ) -> Result<Spent, StoreError>;

    /// Whether this is an unused recovery code of the user. Nothing is spent.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn has_recovery_code(&mut self, user: UserId, hash: &[u8; 32]) -> Result<bool, StoreError>;

    /// Spends a recovery code and opens the session: all or nothing. A code that is not the user's or
    /// was used, or a disabled user, is [`Spent::Before`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn sign_in_by_recovery_code(&mut self, hash: &[u8; 32], session: &Session) -> Result<Spent, StoreError>;

    /// Spends a recovery code at a session of its owner, for something else than a sign-in. A code that is
    /// not the user's or was used, a session that is over and a disabled user are [`Spent::Before`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn spend_recovery_code(
        &mut self,
        hash: &[u8; 32],
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Spent, StoreError>;

    /// The hash of the user's gate password, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn password(&mut self, user: UserId) -> Result<Option<String>, StoreError>;

    /// The authenticator apps of a user, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn authenticators(&mut self, user: UserId) -> Result<Vec<Authenticator>, StoreError>;

    /// Spends a time step of an authenticator app (RFC 6238 §5.2), and opens the session unless the user
    /// has security keys: one of those is asked for next. All or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn sign_in_by_step(
        &mut self,
        factor: &FactorId,
        step: TimeStep,
        session: &Session,
    ) -> Result<StepSpent, StoreError>;

    /// What authenticators know the user by.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn user_handle(&mut self, user: UserId) -> Result<Option<UserHandle>, StoreError>;

    /// The passkeys and security keys of a user, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn credentials(&mut self, user: UserId) -> Result<Vec<Credential>, StoreError>;

    /// The credential that authenticators know by this identifier, and whose it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn credential_of(&mut self, credential_id: &[u8]) -> Result<Option<Owned>, StoreError>;

    /// Spends a WebAuthn ceremony, writes down what the authenticator said about its credential and
    /// opens the session: all or nothing.
    ///
    /// A ceremony that was spent, a credential that is gone or was used with this counter or a higher
    /// one since, and a disabled user are [`Spent::Before`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn sign_in_by_assertion(
        &mut self,
        assertion: &Assertion,
        ceremony: &Ceremony,
        session: &Session,
    ) -> Result<Spent, StoreError>;

    /// Spends a time step of an authenticator app (RFC 6238 §5.2), for something else than a sign-in. A
    /// step that was spent or is void, an app that is gone and a disabled user are [`Spent::Before`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn spend_step(
        &mut self,
        user: UserId,
        factor: &FactorId,
        step: TimeStep,
        now: Timestamp,
    ) -> Result<Spent, StoreError>;

    /// A code of the user's app was seen that stands for this step, and accepted for nothing: it never will
    /// be. Other steps are as good as before. Remembered until `until`, when the step is long over.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn void_step(
        &mut self,
        user: UserId,
        factor: &FactorId,
        step: TimeStep,
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// Spends a WebAuthn ceremony and writes down what the authenticator said, for something else than a
    /// sign-in; the rest as [`Store::sign_in_by_assertion`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn spend_assertion(
        &mut self,
        assertion: &Assertion,
        ceremony: &Ceremony,
        by: &Use,
    ) -> Result<Spent, StoreError>;

    /// Gives a sign-in method of the user another name; says whether it is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn rename_factor(&mut self, user: UserId, id: &FactorId, name: &str) -> Result<Renamed, StoreError>;

    /// Removes a sign-in method of the user, unless nothing would be left that signs them in by itself.
    /// Sessions go on.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn give_up_factor(&mut self, user: UserId, id: &FactorId) -> Result<GivenUp, StoreError>;

    /// The session with this identifier, whatever became of it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Every session that has not ended and whose absolute limit is later than `now`, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn live_sessions(&mut self, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Ends those of `which` that have not ended yet, and says which that were.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn end_sessions(
        &mut self,
        which: &Sessions,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Writes down the last activity of sessions. An update and never an insert: it does not revive
    /// what was ended or deleted, and never moves a time back.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn record_activity(&mut self, activity: &[(SessionId, Timestamp)]) -> Result<(), StoreError>;

    /// Asks something of the gates that run on the store. Take it back when you have heard enough.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn ask(&mut self, question: Question, now: Timestamp) -> Result<QuestionId, StoreError>;

    /// The questions that the gate of this name has not answered.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn open_questions(&mut self, gate: &str) -> Result<Vec<(QuestionId, Question)>, StoreError>;

    /// Answers a question, in the name of a gate; without effect if it was taken back.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn answer(&mut self, question: QuestionId, gate: &str, answer: &str) -> Result<(), StoreError>;

    /// The answers so far, one of each gate.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn answers(&mut self, question: QuestionId) -> Result<Vec<String>, StoreError>;

    /// Forgets a question, with its answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn take_back(&mut self, question: QuestionId) -> Result<(), StoreError>;

    /// How much there is of everything.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn counts(&mut self, now: Timestamp) -> Result<Kept, StoreError>;

    /// The bans in force, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn bans(&mut self, now: Timestamp) -> Result<Vec<Ban>, StoreError>;

    /// The network's latest ban, whether or not it is in force.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn ban_of(&mut self, network: &IpNet) -> Result<Option<Ban>, StoreError>;

    /// Bans a network by itself, unless it is banned or somebody is at home there. `length` says for how
    /// long, from how many bans it had before.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn ban(
        &mut self,
        network: IpNet,
        reason: &str,
        now: Timestamp,
        length: &dyn Fn(u32) -> Duration,
    ) -> Result<AutomaticBan, StoreError>;

    /// Bans a network by somebody's command, in place of a ban that it may have.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn put_ban(&mut self, ban: &Ban) -> Result<(), StoreError>;

    /// Lifts a network's ban and forgets that there was one. The ban, if it was in force.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn lift_ban(&mut self, network: &IpNet, now: Timestamp) -> Result<Option<Ban>, StoreError>;

    /// The addresses from which somebody signed in within [`SPARED_BY_SIGN_IN`], or into a session that is
    /// alive.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn homes(&mut self, now: Timestamp) -> Result<Vec<IpAddr>, StoreError>;

    /// Writes down what happened to accounts, in its order; what concerns nobody is left out. Of each user
    /// the latest [`KEPT`] stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn record_history(&mut self, entries: &[NewEntry]) -> Result<(), StoreError>;

    /// What happened to a user's account, the latest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn history(&mut self, user: UserId) -> Result<Vec<Entry>, StoreError>;

    /// When the user last signed in, as far back as sessions are kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn last_sign_in(&mut self, user: UserId) -> Result<Option<Timestamp>, StoreError>;

    /// Forgets sessions, invitations and spent ceremonies that were over before `before`, what happened
    /// before, and changes every gate has heard of.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn forget(&mut self, before: Timestamp) -> Result<(), StoreError>;

    /// The keys that sign cookies, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn cookie_keys(&mut self) -> Result<Vec<SealedCookieKey>, StoreError>;

    /// Forgets keys made before `before`; the newest stays, however old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn forget_cookie_keys(&mut self, before: Timestamp) -> Result<(), StoreError>;

    /// Adds a key that signs cookies. [`Added::Exists`] if its identifier is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn add_cookie_key(&mut self, key: &SealedCookieKey) -> Result<Added<()>, StoreError>;

    /// What changed since this instance last asked; nothing at its first call, which marks the start.
    ///
    /// Cheap when nothing happened, so that it can be asked four times a second.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    fn changes(&mut self) -> Result<Vec<Change>, StoreError>;
}

/// An enrolment to be finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// What permits it.
    pub by: EnrolledBy,
    /// The sign-in methods, proven.
    pub factors: Vec<Factor>,
    /// Hashes of new recovery codes; `None` leaves the ones there are.
    pub recovery_codes: Option<Vec<[u8; 32]>>,
    /// Hash of a new password; `None` leaves the one there is.
    pub password: Option<String>,
    /// The session that it opens.
    pub session: Session,
}

/// What permits an enrolment. It is spent by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolledBy {
    /// The invitation with this token hash.
    Invitation([u8; 32]),
    /// A session that may only enrol.
    Session(SessionId),
    /// A proof that somebody gave at a session of theirs, which goes on: no other is opened, and a lockout
    /// is not lifted.
    Proof {
        /// The session.
        session: SessionId,
        /// What is spent of the proof.
        once: Ceremony,
        /// The sign-in method that goes when the new one of its kind is there.
        replaces: Option<FactorId>,
        /// Whether it was a recovery code, which permits no more than policy wants of them.
        recovers: bool,
    },
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Sign-in methods.
    pub factors: usize,
    /// Sessions that ended.
    pub sessions: usize,
}

/// How many recovery codes somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryCodes {
    /// Not used yet.
    pub left: u32,
    /// In the set.
    pub of: u32,
}

/// An invitation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// For whom.
    pub user: UserId,
    /// For what.
    pub purpose: InvitationPurpose,
    /// The time now.
    pub created_at: Timestamp,
    /// The first moment at which it is too late.
    pub expires_at: Timestamp,
}

/// A credential and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The credential.
    pub credential: Credential,
    /// Its owner.
    pub user: User,
    /// What authenticators know the owner by.
    pub handle: UserHandle,
}

/// A key that signs cookies, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCookieKey {
    /// What cookies name it by.
    pub id: String,
    /// The key, sealed under the master key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sessions {
    /// This one.
    One(SessionId),
    /// Those of a user.
    Of(UserId),
    /// Those of a user, but for one.
    Others {
        /// Whose.
        of: UserId,
        /// The one that goes on.
        but: SessionId,
    },
    /// Those that were opened before a moment, of one user or of everybody.
    OpenedBefore {
        /// Whose.
        of: Option<UserId>,
        /// The moment.
        at: Timestamp,
    },
    /// Every one.
    All,
}

/// What became of an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added<T> {
    /// It is there now.
    New(T),
    /// It was there before; nothing changed.
    Exists,
}

/// What became of something that works once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Spent {
    /// It was good and is spent now.
    First,
    /// It was not good any more; nothing changed.
    Before,
}

/// Who uses a credential, when and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Who.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub client: IpAddr,
}

/// What became of a sign-in method that was to have another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renamed {
    /// It has the name now.
    Now,
    /// The user has no such method.
    NoSuchMethod,
}

/// What became of a sign-in method that its owner gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum GivenUp {
    /// It is gone.
    Gone,
    /// Nothing would be left that signs them in by itself: it stays.
    Last,
    /// The user has no such method.
    NoSuchMethod,
}

/// What became of a time step of an authenticator app.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum StepSpent {
    /// It was good, and the session is open.
    SignedIn,
    /// It was good and is spent. No session was opened: the user has these security keys.
    KeyNeeded(Vec<Credential>),
    /// It is not later than the last accepted one, or the user is disabled; nothing changed.
    Before,
}

/// What a running gate must look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A session was opened, ended or deleted.
    Session(SessionId),
    /// A user was disabled, enabled, renamed or deleted.
    User(UserId),
    /// The keys that sign cookies.
    CookieKeys,
    /// A network was banned, or a ban lifted.
    Ban(IpNet),
    /// A verb asks something of the gates that run.
    Question,
}

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory can't be made or written to.
    #[error(
        "the directory {} can't be written by user id {uid}: {reason}; `chown {uid} {0}` or choose another with storage.path",
        directory.display()
    )]
    Unwritable {
        /// The directory of the database.
        directory: PathBuf,
        /// Whom the program runs as.
        uid: u32,
        /// What the system said.
        reason: String,
    },
    /// A newer pvegate wrote it.
    #[error(
        "{} has schema {found}, this pvegate knows schemas up to {known}: install the newer version again, or restore a backup",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A row holds what this program would never write.
    #[error("the store holds {found:?} where {expected} is expected")]
    Corrupt {
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// Somebody else is writing, and does not come to an end.
    #[error("another program has been writing to {} for too long; try again", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The thread of the store is gone or has too much to do.
    #[error("the store does not answer")]
    Unavailable,
    /// SQLite says no.
    #[error("the store {} failed", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}
