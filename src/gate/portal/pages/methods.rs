//! Somebody's own sign-in methods, and the forms that change them.

use std::net::IpAddr;

use super::rendered;
use crate::{
    gate::{ceremony::recovery, portal::proof::Provable},
    time::Timestamp,
};

/// `/_gate/methods`: every sign-in method of the person, with ways to change each.
#[derive(Debug, Clone, Copy)]
pub struct Methods<'a> {
    /// Whose they are.
    pub user: &'a str,
    /// One each: passkeys, security keys, apps.
    pub rows: &'a [MethodRow],
    /// Recovery codes that are left, where the gate has any.
    pub recovery_codes: Option<u32>,
    /// What was just done.
    pub notice: Option<MethodsNotice>,
    /// Whether a change came to nothing, since what permitted it is over.
    pub late: bool,
}

/// What is told of one sign-in method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRow {
    /// Identifier.
    pub id: String,
    /// What it is.
    pub kind: MethodKind,
    /// What its owner calls it.
    pub name: String,
    /// Whether a provider keeps it on several devices.
    pub synced: bool,
    /// Whether this gate takes new ones of its kind.
    pub replaceable: bool,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used, where that is known.
    pub last_used_from: Option<IpAddr>,
}

/// What a sign-in method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// A passkey.
    Passkey,
    /// A security key without a PIN.
    SecurityKey,
    /// An authenticator app.
    App,
}

/// What was just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodsNotice {
    /// One was added.
    Added,
    /// One has another name.
    Renamed,
    /// One is gone.
    Removed,
    /// One took the place of another.
    Replaced,
    /// There are new recovery codes.
    NewCodes,
}

impl MethodsNotice {
    const ALL: [Self; 5] = [Self::Added, Self::Renamed, Self::Removed, Self::Replaced, Self::NewCodes];

    /// The word for it in the page's query.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Renamed => "renamed",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::NewCodes => "codes",
        }
    }

    /// From the word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.word() == word)
    }
}

impl Methods<'_> {
    fn few_codes(&self) -> bool {
        self.recovery_codes.is_some_and(|left| usize::try_from(left).is_ok_and(|left| left <= recovery::FEW))
    }

    /// One passkey or app, and nothing beside it.
    fn has_one_only(&self) -> bool {
        self.rows.iter().filter(|row| row.kind != MethodKind::SecurityKey).count() < 2
    }
}

rendered!(Methods<'t>, "methods.html");

/// What is to be done with a sign-in method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Another name.
    Rename,
    /// Away with it.
    Remove,
    /// Another one of its kind in its place.
    Replace,
}

impl Wish {
    const ALL: [Self; 3] = [Self::Rename, Self::Remove, Self::Replace];

    /// The word for it in links and forms.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Replace => "replace",
        }
    }

    /// From the word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.word() == word)
    }
}

/// Why a change did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeProblem {
    /// Code or passkey did not match.
    NoMatch,
    /// Nothing would be left to sign in with.
    Last,
}

/// `/_gate/methods/change`: asks for one change and its proof.
#[derive(Debug, Clone, Copy)]
pub struct MethodChange<'a> {
    /// What is to be done.
    pub wish: Wish,
    /// With which.
    pub row: &'a MethodRow,
    /// The name that is typed.
    pub name: &'a str,
    /// How it can be proven.
    pub provable: Provable,
    /// What went wrong before.
    pub problem: Option<ChangeProblem>,
}

rendered!(MethodChange<'t>, "method-change.html");

/// `/_gate/methods/new`: asks for the proof that permits a new sign-in method.
#[derive(Debug, Clone, Copy)]
pub struct NewMethod {
    /// How it can be proven.
    pub provable: Provable,
    /// Whether the proof did not match.
    pub no_match: bool,
}

rendered!(NewMethod, "new-method.html");
