//! Everybody, as administrators see them.

use crate::{gate::portal::words::Language, store::RecoveryCodes, time::Timestamp};

/// What is told of one person: never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Name.
    pub name: String,
    /// Whether they are an administrator.
    pub admin: bool,
    /// How far they are.
    pub state: PersonState,
    /// Whether devices that never signed in may use no codes.
    pub locked: Locked,
    /// Wrong codes of unknown devices since the last success.
    pub wrong_codes: u32,
    /// Passkeys.
    pub passkeys: usize,
    /// Security keys that are asked for after a code.
    pub security_keys: usize,
    /// Authenticator apps.
    pub apps: usize,
    /// Recovery codes.
    pub codes: RecoveryCodes,
    /// When they were added.
    pub added_at: Timestamp,
    /// When they last signed in, if it is remembered.
    pub last_sign_in_at: Option<Timestamp>,
    /// When they last used a sign-in method.
    pub last_used_at: Option<Timestamp>,
    /// Whether they have a link that still works.
    pub open_link: bool,
}

/// Where devices that never signed in to an account may use no codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// They may everywhere.
    Nowhere,
    /// From some source.
    Somewhere,
    /// Anywhere.
    Everywhere,
}

/// How far somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonState {
    /// They may sign in, and have something to do it with.
    Active,
    /// Their link works until then.
    Invited(Timestamp),
    /// Their link works no more, and was not used.
    InvitationExpired,
    /// They have nothing to sign in with, and no link.
    NotInvited,
    /// They may not sign in.
    Disabled,
}

impl PersonState {
    /// For programs: these words stay, and are those of `pvegate user list --json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Invited(_) => "invited",
            Self::InvitationExpired => "invitation-expired",
            Self::NotInvited => "not-invited",
            Self::Disabled => "disabled",
        }
    }

    /// For people.
    pub(super) fn told(self, w: Language, now: Timestamp) -> String {
        match self {
            Self::Active => w.state_active().to_owned(),
            Self::Invited(until) => w.state_invited(&w.span(until.since(now))),
            Self::InvitationExpired => w.state_expired().to_owned(),
            Self::NotInvited => w.state_not_invited().to_owned(),
            Self::Disabled => w.state_disabled().to_owned(),
        }
    }
}

impl PersonRow {
    /// Whether they have something to sign in with.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.passkeys + self.security_keys + self.apps > 0
    }

    /// What they should be asked to do about the number of their sign-in methods.
    pub(super) fn advice(&self, w: Language) -> Option<&'static str> {
        match (self.passkeys + self.security_keys, self.passkeys + self.apps) {
            (_, 0) => None,
            (1, _) => Some(w.one_key()),
            (_, 1) => Some(w.one_way_in()),
            (_, _) => None,
        }
    }

    pub(super) fn locked_word(&self, w: Language) -> Option<&'static str> {
        match self.locked {
            Locked::Nowhere => None,
            Locked::Somewhere => Some(w.locked_somewhere()),
            Locked::Everywhere => Some(w.locked_everywhere()),
        }
    }

    pub(super) fn href(&self) -> String {
        person_href(&self.name)
    }
}

/// Where the page about somebody is.
pub(super) fn person_href(name: &str) -> String {
    link("/_gate/admin/user", &[("name", name)])
}

/// Where a change is asked for.
pub(super) fn change_href(deed: &str, about: &str) -> String {
    link("/_gate/admin/change", &[("do", deed), ("about", about)])
}

fn link(path: &str, query: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{query}")
}
