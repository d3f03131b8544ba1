//! "This wasn't me", and the panic button.

use super::{rendered, sessions};
use crate::{
    gate::portal::{
        proof::{ByRecovery, Provable},
        words::Language,
    },
    store::Entry,
};

/// `/_gate/sessions/not-me`: says what will happen, and asks.
#[derive(Debug, Clone, Copy)]
pub struct NotMe<'a> {
    /// What was not the person's doing, if it is known.
    pub entry: Option<&'a Entry>,
    /// Or which session is not theirs.
    pub session: Option<&'a str>,
}

impl NotMe<'_> {
    fn happened(&self, w: Language, entry: &Entry) -> &'static str {
        sessions::happened(w, entry)
    }
}

rendered!(NotMe<'t>, "not-me.html");

/// The page after it.
#[derive(Debug, Clone, Copy)]
pub struct NotMeDone {
    /// Whether codes are not enough for the next sign-in.
    pub passkey: bool,
}

rendered!(NotMeDone, "not-me-done.html");

/// `/_gate/panic`: asks for the proof that locks the account.
#[derive(Debug, Clone, Copy)]
pub struct Panic<'a> {
    /// Whose.
    pub user: &'a str,
    /// How it can be proven.
    pub provable: Provable,
    /// Whether the proof did not match.
    pub no_match: bool,
}

rendered!(Panic<'t>, "panic.html");

/// The page after it.
#[derive(Debug, Clone, Copy)]
pub struct PanicDone<'a> {
    /// Whose account is locked.
    pub user: &'a str,
}

rendered!(PanicDone<'t>, "panic-done.html");
