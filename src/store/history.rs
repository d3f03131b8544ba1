//! What happened to an account, for its owner to read: kinds, entries and their SQL.
//!
//! Written from audit events, after the fact. Nothing typed is here, no code and no secret: what an entry
//! says is one of a few words. It is bounded: strangers can make failures without end, so those have a
//! bound of their own and push out nothing that the owner did.

use std::net::{IpAddr, Ipv6Addr};

use rusqlite::{Connection, Row, Transaction, named_params, params};

use super::sqlite::{parsed, time, word};
use crate::{
    account::{SessionId, UserId, UserName},
    time::Timestamp,
};

/// Entries that are kept of one user: what succeeded, and what failed.
pub const KEPT: [u32; 2] = [300, 100];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happened {
    /// Somebody signed in, or tried to.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// A session met a limit.
    SessionEnd,
    /// A session was ended by somebody.
    SessionRevoke,
    /// A change was to be proven.
    Proof,
    /// An invitation was made.
    InviteCreate,
    /// Invitations that nobody had used were made void.
    InviteRevoke,
    /// An invitation was used, or somebody tried to.
    InviteUse,
    /// A sign-in method was added.
    FactorAdd,
    /// A sign-in method got another name.
    FactorRename,
    /// Sign-in methods were removed.
    FactorRemove,
    /// A recovery code was used, or somebody tried to.
    RecoveryUse,
    /// Recovery codes were made anew.
    RecoveryRenew,
    /// Its owner said that somebody else was in it.
    Report,
    /// The account was locked in a hurry.
    Panic,
    /// What was guessed at its codes was forgotten.
    Unlock,
    /// The account was disabled.
    Disable,
    /// The account was enabled again.
    Enable,
    /// The account got another name.
    Rename,
    /// Its owner may do more at the gate, or less.
    Role,
}

impl Happened {
    /// Everything that may happen.
    pub const ALL: [Self; 20] = [
        Self::SignIn,
        Self::SignOut,
        Self::SessionEnd,
        Self::SessionRevoke,
        Self::Proof,
        Self::InviteCreate,
        Self::InviteRevoke,
        Self::InviteUse,
        Self::FactorAdd,
        Self::FactorRename,
        Self::FactorRemove,
        Self::RecoveryUse,
        Self::RecoveryRenew,
        Self::Report,
        Self::Panic,
        Self::Unlock,
        Self::Disable,
        Self::Enable,
        Self::Rename,
        Self::Role,
    ];

    /// The word for it in the store and in JSON: that of the audit event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignOut => "sign-out",
            Self::SessionEnd => "session-end",
            Self::SessionRevoke => "session-revoke",
            Self::Proof => "step-up",
            Self::InviteCreate => "invite-create",
            Self::InviteRevoke => "invite-revoke",
            Self::InviteUse => "invite-use",
            Self::FactorAdd => "factor-add",
            Self::FactorRename => "factor-rename",
            Self::FactorRemove => "factor-remove",
            Self::RecoveryUse => "recovery-use",
            Self::RecoveryRenew => "recovery-renew",
            Self::Report => "intrusion-report",
            Self::Panic => "panic",
            Self::Unlock => "user-unlock",
            Self::Disable => "user-disable",
            Self::Enable => "user-enable",
            Self::Rename => "user-rename",
            Self::Role => "user-role",
        }
    }
}

/// Something that happened, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// When.
    pub at: Timestamp,
    /// To whose account.
    pub user: UserName,
    /// What.
    pub happened: Happened,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// From where; `None` for the command line.
    pub client: Option<IpAddr>,
    /// By which method.
    pub method: Option<&'static str>,
    /// In which session, or concerning which.
    pub session: Option<SessionId>,
    /// Why, as a word.
    pub reason: Option<&'static str>,
}

/// Something that happened, as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number in the store.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub happened: Happened,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// From where; `None` for the command line.
    pub client: Option<IpAddr>,
    /// By which method.
    pub method: Option<String>,
    /// In which session, or concerning which.
    pub session: Option<SessionId>,
    /// Why, as a word.
    pub reason: Option<String>,
    /// Whether it is an attempt to sign in from where none had succeeded before, while others had from
    /// elsewhere.
    pub from_new_address: bool,
}

/// Writes entries down, in their order. What concerns nobody is left out.
pub(super) fn record(transaction: &Transaction<'_>, entries: &[NewEntry]) -> rusqlite::Result<()> {
    for entry in entries {
        let NewEntry { at, user, happened, succeeded, client, method, session, reason } = entry;
        let network = client.map(network).map(|network| network.to_string());
        let added = transaction
            .prepare_cached(
                "INSERT INTO history (user_id, at, happened, succeeded, client, network, method, session, reason,
                                      from_new_address)
                 SELECT id, :at, :happened, :succeeded, :client, :network, :method, :session, :reason,
                        :is_entry AND :network IS NOT NULL
                        AND EXISTS (SELECT 1 FROM history WHERE user_id = user.id AND happened = :sign_in
                                       AND succeeded)
                        AND NOT EXISTS (SELECT 1 FROM history WHERE user_id = user.id AND happened = :sign_in
                                           AND succeeded AND network = :network)
                 FROM user WHERE name = :user",
            )?
            .execute(named_params! {
                ":at": at.millis(),
                ":happened": happened.as_str(),
                ":succeeded": succeeded,
                ":client": client.map(|client| client.to_string()),
                ":network": network,
                ":method": method,
                ":session": session.map(|session| session.0),
                ":reason": reason,
                ":is_entry": matches!(happened, Happened::SignIn | Happened::RecoveryUse),
                ":sign_in": Happened::SignIn.as_str(),
                ":user": user.as_str(),
            })?;
        if added == 1 {
            let [successes, failures] = KEPT;
            transaction
                .prepare_cached(
                    "DELETE FROM history WHERE id <= (
                         SELECT id FROM history
                         WHERE user_id = (SELECT id FROM user WHERE name = ?1) AND succeeded = ?2
                         ORDER BY id DESC LIMIT 1 OFFSET ?3)
                     AND user_id = (SELECT id FROM user WHERE name = ?1) AND succeeded = ?2",
                )?
                .execute(params![user.as_str(), succeeded, if *succeeded { successes } else { failures }])?;
        }
    }
    Ok(())
}

/// Everything that is kept of a user, the latest first.
pub(super) fn of(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Entry>> {
    connection
        .prepare_cached(
            "SELECT id, at, happened, succeeded, client, method, session, reason, from_new_address
             FROM history WHERE user_id = ?1 ORDER BY id DESC",
        )?
        .query_map([user.0], entry)?
        .collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let client = match row.get_ref(4)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(parsed(row, 4, "an address", |text| text.parse().ok())?),
    };
    Ok(Entry {
        id: row.get(0)?,
        at: time(row, 1)?,
        happened: word(row, 2, "something that happens", &Happened::ALL, Happened::as_str)?,
        succeeded: row.get(3)?,
        client,
        method: row.get(5)?,
        session: row.get::<_, Option<[u8; 32]>>(6)?.map(SessionId),
        reason: row.get(7)?,
        from_new_address: row.get(8)?,
    })
}

/// Forgets what happened before `before`.
pub(super) fn forget(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM history WHERE at < ?1", [before.millis()])?;
    Ok(())
}

/// Where one and the same household is: browsers change the rest of an IPv6 address every day (RFC 8981).
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(client) => client.into(),
        IpAddr::V6(client) => {
            let [a, b, c, d, ..] = client.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}
