//! What policies ask about a person: groups, what they have to sign in with, what is demanded of them.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Method, User, UserName};
use crate::time::Timestamp;

/// A group's name in its one canonical form, that of user names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(UserName);

impl GroupName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for GroupName {
    type Err = GroupNameError;

    fn from_str(text: &str) -> Result<Self, GroupNameError> {
        text.parse().map(Self).map_err(|_| GroupNameError)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no name of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group's name is 1 to 32 of a-z, 0-9, `.`, `_` and `-`")]
pub struct GroupNameError;

/// What a policy may demand of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Requirement {
    /// A password beside the code of an authenticator app, or anything stronger.
    PasswordAndTotp,
    /// What cannot be phished: a passkey, or a security key after a code.
    Passkey,
    /// A key that is bound to one device: a passkey that is not synced, or a security key after a code.
    SecurityKey,
    /// A passkey or security key, and two of them enrolled.
    TwoKeys,
}

impl Requirement {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::PasswordAndTotp, Self::Passkey, Self::SecurityKey, Self::TwoKeys];

    /// The word for it in the configuration, in the store, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordAndTotp => "password+totp",
            Self::Passkey => "passkey",
            Self::SecurityKey => "security-key",
            Self::TwoKeys => "two-keys",
        }
    }

    /// The requirement of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|requirement| requirement.as_str() == word)
    }
}

/// One value for each requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByRequirement<T> {
    /// Of [`Requirement::PasswordAndTotp`].
    pub password_and_totp: T,
    /// Of [`Requirement::Passkey`].
    pub passkey: T,
    /// Of [`Requirement::SecurityKey`].
    pub security_key: T,
    /// Of [`Requirement::TwoKeys`].
    pub two_keys: T,
}

impl<T: Copy> ByRequirement<T> {
    /// That of one.
    #[must_use]
    pub const fn of(&self, requirement: Requirement) -> T {
        match requirement {
            Requirement::PasswordAndTotp => self.password_and_totp,
            Requirement::Passkey => self.passkey,
            Requirement::SecurityKey => self.security_key,
            Requirement::TwoKeys => self.two_keys,
        }
    }

    /// That of one, to be changed.
    pub const fn of_mut(&mut self, requirement: Requirement) -> &mut T {
        match requirement {
            Requirement::PasswordAndTotp => &mut self.password_and_totp,
            Requirement::Passkey => &mut self.passkey,
            Requirement::SecurityKey => &mut self.security_key,
            Requirement::TwoKeys => &mut self.two_keys,
        }
    }
}

/// What somebody has to sign in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Means {
    /// Authenticator apps.
    pub apps: u32,
    /// Whether there is a password of the gate's own.
    pub password: bool,
    /// Passkeys that a provider keeps on several devices.
    pub synced_passkeys: u32,
    /// Passkeys on one device.
    pub bound_passkeys: u32,
    /// Security keys, which come after a code.
    pub security_keys: u32,
    /// Those of them that a provider keeps on several devices: what answers like a key need not be one.
    pub synced_security_keys: u32,
}

impl Means {
    /// Passkeys and security keys.
    #[must_use]
    pub const fn keys(&self) -> u32 {
        self.synced_passkeys.saturating_add(self.bound_passkeys).saturating_add(self.security_keys)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self {
            apps: self.apps.saturating_add(more.apps),
            password: self.password || more.password,
            synced_passkeys: self.synced_passkeys.saturating_add(more.synced_passkeys),
            bound_passkeys: self.bound_passkeys.saturating_add(more.bound_passkeys),
            security_keys: self.security_keys.saturating_add(more.security_keys),
            synced_security_keys: self.synced_security_keys.saturating_add(more.synced_security_keys),
        }
    }
}

/// What was shown at a sign-in, as far as policies ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The method.
    pub method: Method,
    /// Whether a password went with it.
    pub password: bool,
    /// Whether the key that was shown is on one device only.
    pub device_bound: bool,
}

impl Shown {
    /// A method that comes alone: neither a password nor a key of one device.
    #[must_use]
    pub const fn plain(method: Method) -> Self {
        Self { method, password: false, device_bound: false }
    }
}

/// A person and what policies ask about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user: Arc<User>,
    /// Their groups, by name.
    pub groups: Vec<GroupName>,
    /// What they have to sign in with.
    pub means: Means,
    /// Since when something is demanded of them that they did not have: from then on grace is counted. Once
    /// written it stays, so that nobody gains time by giving a key up.
    pub demanded: ByRequirement<Option<Timestamp>>,
}
