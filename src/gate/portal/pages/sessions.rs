//! Where somebody is signed in, and what happened to their account.

use std::net::IpAddr;

use super::rendered;
use crate::{
    account::Method,
    gate::portal::{device::Device, words::Language},
    store::{Entry, Happened},
    time::Timestamp,
};

/// `/_gate/sessions`: every session of the person, and ways to end each.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    /// This one first, then by age.
    pub rows: &'a [SessionRow],
    /// What happened, the latest first.
    pub history: &'a [Entry],
    /// What was just done.
    pub notice: Option<SessionsNotice>,
}

/// What is told of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Identifier.
    pub id: String,
    /// Of which browser.
    pub device: Device,
    /// From where they signed in.
    pub client: IpAddr,
    /// When they signed in.
    pub since: Timestamp,
    /// When they were last at work in it.
    pub last_active_at: Timestamp,
    /// How they signed in.
    pub method: Method,
    /// Consoles that are open in it.
    pub consoles: usize,
    /// Whether the page is shown in it.
    pub is_this: bool,
}

/// What was just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsNotice {
    /// One was ended.
    Ended,
    /// All others were ended.
    OthersEnded,
}

impl SessionsNotice {
    const ALL: [Self; 2] = [Self::Ended, Self::OthersEnded];

    /// The word for it in the page's query.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::OthersEnded => "others-ended",
        }
    }

    /// From the word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.word() == word)
    }
}

/// Entries that are shown at once; the rest is folded away.
const AT_ONCE: usize = 20;

impl Sessions<'_> {
    fn device(&self, w: Language, row: &SessionRow) -> String {
        device(w, row.device)
    }

    fn method(&self, w: Language, row: &SessionRow) -> &'static str {
        method_words(w, row.method)
    }

    fn happened(&self, w: Language, entry: &Entry) -> &'static str {
        happened(w, entry)
    }

    /// Whether somebody else may have done it, and had something of it.
    fn is_disputable(&self, entry: &Entry) -> bool {
        match entry.happened {
            Happened::SignIn
            | Happened::InviteUse
            | Happened::FactorAdd
            | Happened::FactorRename
            | Happened::FactorRemove
            | Happened::RecoveryUse
            | Happened::RecoveryRenew
            | Happened::SessionRevoke => entry.succeeded && entry.client.is_some(),
            // Somebody tried it in a session of this person.
            Happened::Proof => true,
            Happened::SignOut
            | Happened::SessionEnd
            | Happened::InviteCreate
            | Happened::InviteRevoke
            | Happened::Report
            | Happened::Panic
            | Happened::Unlock
            | Happened::Disable
            | Happened::Enable
            | Happened::Rename
            | Happened::Role => false,
        }
    }

    fn by(&self, w: Language, entry: &Entry) -> Option<&'static str> {
        method_word(w, entry.method.as_deref())
    }

    fn latest(&self) -> &[Entry] {
        self.history.get(..AT_ONCE).unwrap_or(self.history)
    }

    fn older(&self) -> &[Entry] {
        self.history.get(AT_ONCE..).unwrap_or_default()
    }

    fn has_others(&self) -> bool {
        self.rows.iter().any(|row| !row.is_this)
    }
}

rendered!(Sessions<'t>, "sessions.html");

/// A browser and what it runs on.
pub(in crate::gate::portal) fn device(w: Language, device: Device) -> String {
    match (device.browser, device.system) {
        (Some(browser), Some(system)) => w.device_of(browser, system),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => w.unknown_device().to_owned(),
    }
}

/// What happened to an account.
pub(super) fn happened(w: Language, entry: &Entry) -> &'static str {
    match (entry.happened, entry.succeeded) {
        (Happened::SignIn, true) => w.did_sign_in(),
        (Happened::SignIn, false) => w.failed_sign_in(),
        (Happened::SignOut, _) => w.did_sign_out(),
        (Happened::SessionEnd, _) => w.session_ran_out(),
        (Happened::SessionRevoke, _) => w.session_revoked(),
        (Happened::Proof, _) => w.failed_proof(),
        (Happened::InviteCreate, _) => w.invitation_made(),
        (Happened::InviteRevoke, _) => w.invitation_revoked(),
        (Happened::InviteUse, true) => w.did_use_invitation(),
        (Happened::InviteUse, false) => w.failed_invitation(),
        (Happened::FactorAdd, _) => w.did_add_method(),
        (Happened::FactorRename, _) => w.did_rename_method(),
        (Happened::FactorRemove, _) => w.did_remove_method(),
        (Happened::RecoveryUse, true) => w.did_use_recovery_code(),
        (Happened::RecoveryUse, false) => w.failed_recovery_code(),
        (Happened::RecoveryRenew, _) => w.did_renew_codes(),
        (Happened::Report, _) => w.did_report(),
        (Happened::Panic, _) => w.account_locked(),
        (Happened::Unlock, _) => w.account_unlocked(),
        (Happened::Disable, _) => w.account_disabled(),
        (Happened::Enable, _) => w.account_enabled(),
        (Happened::Rename, _) => w.account_renamed(),
        (Happened::Role, _) => w.role_changed(),
    }
}

/// How somebody signs in, by its word.
pub(super) fn method_word(w: Language, word: Option<&str>) -> Option<&'static str> {
    let method = Method::ALL.into_iter().find(|method| Some(method.as_str()) == word)?;
    Some(method_words(w, method))
}

/// How somebody signs in.
fn method_words(w: Language, method: Method) -> &'static str {
    match method {
        Method::Totp => w.by_app(),
        Method::Passkey => w.by_passkey(),
        Method::SecurityKey => w.by_security_key(),
        Method::Recovery => w.by_recovery_code(),
    }
}
