//! Somebody's own sign-in methods, and the forms that change them.

use std::net::IpAddr;

use super::rendered;
use crate::{
    gate::{
        ceremony::recovery,
        portal::proof::{ByRecovery, Provable},
    },
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
    /// What they had better add.
    pub nudge: Option<Nudge>,
    /// What the browser is told of the account's passkeys.
    pub signal: Option<&'a Signal>,
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
    /// What people call its model, where that is known.
    pub model: Option<&'static str>,
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
}

rendered!(Methods<'t>, "methods.html");

impl MethodRow {
    /// Its model, where the name does not say it.
    pub(super) fn model_beside_name(&self) -> Option<&'static str> {
        self.model.filter(|model| !self.name.contains(model))
    }
}

/// What somebody had better add, so that no single loss shuts them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// Anything: there is one way in.
    SecondWayIn,
    /// A passkey: there are only codes, which can be phished.
    FirstKey,
    /// A second passkey or key.
    SecondKey,
}

impl Nudge {
    /// For somebody with these methods, where passkeys are offered (or not).
    #[must_use]
    pub fn of(rows: &[MethodRow], passkeys: bool) -> Option<Self> {
        let count = |kind| rows.iter().filter(|row| row.kind == kind).count();
        let (passkey, key) = (count(MethodKind::Passkey), count(MethodKind::SecurityKey));
        let ways_in = passkey + count(MethodKind::App);
        match (ways_in, passkey + key) {
            (0 | 1, _) => Some(Self::SecondWayIn),
            (_, 0) if passkeys => Some(Self::FirstKey),
            (_, 1) if passkeys => Some(Self::SecondKey),
            (_, _) => None,
        }
    }
}

/// What the browser is told of the account's passkeys, so that the list that it offers stays true (WebAuthn
/// §5.1.10). Always with the user handle that the gate gave out: Proxmox VE's passkeys have the same relying
/// party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// These are all that are accepted.
    Accepted {
        /// Relying party identifier.
        rp: String,
        /// User handle, base64url.
        user: String,
        /// Credential identifiers, base64url, with blanks between them.
        credentials: String,
    },
    /// The account goes by this name.
    Details {
        /// Relying party identifier.
        rp: String,
        /// User handle, base64url.
        user: String,
        /// The name.
        name: String,
    },
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_nudged_until_no_single_loss_shuts_them_out() {
        use MethodKind::{App, Passkey, SecurityKey};
        use Nudge::{FirstKey, SecondKey, SecondWayIn};
        #[rustfmt::skip]
        let table: [(&[MethodKind], bool, Option<Nudge>); 10] = [
            // what there is              passkeys  nudge
            (&[],                         true,     Some(SecondWayIn)),
            (&[App],                      true,     Some(SecondWayIn)),
            (&[Passkey],                  true,     Some(SecondWayIn)),
            (&[App, SecurityKey],         true,     Some(SecondWayIn)),
            (&[App, App],                 true,     Some(FirstKey)),
            (&[App, App],                 false,    None),
            (&[Passkey, App],             true,     Some(SecondKey)),
            (&[Passkey, App],             false,    None),
            (&[Passkey, App, SecurityKey], true,    None),
            (&[Passkey, Passkey],         true,     None),
        ];
        for (kinds, passkeys, nudge) in table {
            let row = |kind: &MethodKind| MethodRow {
                id: String::new(),
                kind: *kind,
                name: String::new(),
                model: None,
                synced: false,
                replaceable: true,
                added_at: Timestamp::from_secs(0),
                last_used_at: None,
                last_used_from: None,
            };
            let rows: Vec<MethodRow> = kinds.iter().map(row).collect();
            assert_eq!(Nudge::of(&rows, passkeys), nudge, "{kinds:?}");
        }
    }
}
