//! People, their sign-in methods, invitations and sessions: plain data.
//!
//! What these mean is decided in `gate`; where they are kept, in `store`.

mod person;

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

pub use person::{ByRequirement, GroupName, GroupNameError, Means, Person, Requirement, Shown};

use crate::time::Timestamp;

/// A user's name in its one canonical form: 1 to 32 of `a-z 0-9 . _ -`.
///
/// Every spelling a person types (capitals, blanks around it) becomes this form before anything is
/// looked up or counted, so that limits hold for the account and not for a spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let name = text.trim_matches([' ', '\t']).to_ascii_lowercase();
        if name.is_empty() {
            return Err(UserNameError::Empty);
        }
        if let Some(other) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(UserNameError::Character(other));
        }
        if name.len() > 32 {
            return Err(UserNameError::Long(name.len()));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// Nothing there.
    #[error("a user name can't be empty")]
    Empty,
    /// A character outside the alphabet.
    #[error("a user name has only a-z, 0-9, `.`, `_` and `-`, not {0:?}")]
    Character(char),
    /// Too long.
    #[error("a user name has at most 32 characters, not {0}")]
    Long(usize),
}

/// A user's number in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

/// What a user may do at the gate itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Signs in and manages their own methods.
    User,
    /// Also invites, disables and unlocks others.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::User, Self::Admin];

    /// The word for it in the store, on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Number in the store.
    pub id: UserId,
    /// Canonical name.
    pub name: UserName,
    /// What they may do at the gate.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
    /// Since when they may not sign in, if so.
    pub disabled_at: Option<Timestamp>,
}

/// A number of a 30-second time step (RFC 6238 §4.2, `T`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeStep(pub u64);

/// A sign-in method's identifier: 128 random bits in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FactorId(pub String);

impl FactorId {
    /// From 16 random bytes.
    #[must_use]
    pub fn of(bytes: [u8; 16]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }
}

/// Longest name of a sign-in method, in characters.
const FACTOR_NAME: usize = 64;

/// A name of a sign-in method as typed, without the blanks around it, control characters and what is too
/// much.
#[must_use]
pub fn factor_name(typed: &str) -> String {
    typed.trim().chars().filter(|c| !c.is_control()).take(FACTOR_NAME).collect()
}

/// A sign-in method, as it is added to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Factor {
    /// An authenticator app.
    Authenticator(Authenticator),
    /// A passkey or security key, and the ceremony that made it.
    Credential(Box<Credential>, Ceremony),
}

/// An authenticator app (RFC 6238) of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticator {
    /// Identifier.
    pub id: FactorId,
    /// Whose it is.
    pub user: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The shared secret, sealed under the master key.
    pub sealed_secret: Vec<u8>,
    /// The step of the last accepted code. Steps only go up.
    pub last_step: TimeStep,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// What authenticators know a user by (WebAuthn §14.6.1): 64 random bytes that say nothing about them,
/// and never those of Proxmox VE, with which the gate may share a relying party identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserHandle(pub [u8; 64]);

/// What a public key credential is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// Discoverable, and its owner is verified each time: two factors in one touch.
    Passkey,
    /// Shows that somebody touches it, no more: a second factor.
    SecurityKey,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Passkey, Self::SecurityKey];

    /// The word for it in the store and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passkey => "passkey",
            Self::SecurityKey => "security-key",
        }
    }
}

/// How a browser reaches an authenticator (WebAuthn §5.8.4). Others are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the specification's own words")]
pub enum Transport {
    Usb,
    Nfc,
    Ble,
    Hybrid,
    Internal,
}

impl Transport {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Usb, Self::Nfc, Self::Ble, Self::Hybrid, Self::Internal];

    /// The specification's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Nfc => "nfc",
            Self::Ble => "ble",
            Self::Hybrid => "hybrid",
            Self::Internal => "internal",
        }
    }
}

/// A public key credential (WebAuthn §4) of one user. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Identifier.
    pub id: FactorId,
    /// Whose it is.
    pub user: UserId,
    /// What it is good for.
    pub kind: CredentialKind,
    /// What its owner calls it.
    pub name: String,
    /// The relying party's identifier that it was made for: it is good there alone.
    pub relying_party: String,
    /// What authenticators know it by: at most 1023 bytes, of one user only.
    pub credential_id: Vec<u8>,
    /// The public key and what was said at registration, as `webauthn-rs` writes it. `counter` and
    /// `synced` in here are those of the registration.
    pub record: String,
    /// The signature counter at its last use; 0 where the authenticator has none.
    pub counter: u32,
    /// Whether it is backed up (the flag BS): a provider keeps it on several devices.
    pub synced: bool,
    /// The authenticator's model; all zero where it does not say.
    pub aaguid: [u8; 16],
    /// How a browser may reach it.
    pub transports: Vec<Transport>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    pub last_used_from: Option<IpAddr>,
}

/// A WebAuthn ceremony that came to its end. Its state works once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceremony {
    /// SHA-256 of its sealed state.
    pub hash: [u8; 32],
    /// From when on nobody accepts the state anyway.
    pub expires_at: Timestamp,
}

/// What an authenticator said about a credential when it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The credential.
    pub credential: FactorId,
    /// Its signature counter now.
    pub counter: u32,
    /// Whether it is backed up now.
    pub synced: bool,
}

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A code of an authenticator app.
    Totp,
    /// A passkey, its owner verified: two factors in one touch.
    Passkey,
    /// A security key, beside another factor.
    SecurityKey,
    /// A recovery code.
    Recovery,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Totp, Self::Passkey, Self::SecurityKey, Self::Recovery];

    /// The word for it in the store, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
            Self::SecurityKey => "security-key",
            Self::Recovery => "recovery",
        }
    }
}

impl From<CredentialKind> for Method {
    fn from(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Passkey => Self::Passkey,
            CredentialKind::SecurityKey => Self::SecurityKey,
        }
    }
}

/// What an invitation lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationPurpose {
    /// Enrol a sign-in method.
    Enrol,
    /// Enrol a sign-in method in place of what was lost: the recovery codes are made anew, and every
    /// other session of the user ends.
    Recover,
}

impl InvitationPurpose {
    /// Every purpose.
    pub const ALL: [Self; 2] = [Self::Enrol, Self::Recover];

    /// The word for it in the store and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Recover => "recover",
        }
    }
}

/// An invitation: whoever holds the token may use it once. Only the token's hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// For whom.
    pub user: UserId,
    /// For what.
    pub purpose: InvitationPurpose,
    /// When it was made.
    pub created_at: Timestamp,
    /// The first moment at which it is too late.
    pub expires_at: Timestamp,
    /// When it was used, if so.
    pub used_at: Option<Timestamp>,
    /// When a later one took its place, if so.
    pub revoked_at: Option<Timestamp>,
}

/// A session's identifier: SHA-256 of the 256 random bits that its cookie carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 32]);

impl SessionId {
    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// 64 hexadecimal digits; any unique beginning is good enough for the command line.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As many digits as `{:.12}` asks for.
        f.pad(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self:.12})")
    }
}

/// A session as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Identifier.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// How they signed in.
    pub method: Method,
    /// Whether a password went with it.
    pub password: bool,
    /// Whether the key that was shown is on one device only.
    pub device_bound: bool,
    /// What it is good for.
    pub scope: Scope,
    /// When they signed in.
    pub created_at: Timestamp,
    /// The first moment after the absolute limit.
    pub expires_at: Timestamp,
    /// The last activity of the person that was written down.
    pub last_active_at: Timestamp,
    /// From where they signed in.
    pub client: IpAddr,
    /// The browser's own words about itself, cut to 256 bytes.
    pub user_agent: String,
    /// When and why it ended, if so.
    pub ended: Option<(Timestamp, EndReason)>,
}

impl Session {
    /// What was shown at its sign-in.
    #[must_use]
    pub const fn shown(&self) -> Shown {
        Shown { method: self.method, password: self.password, device_bound: self.device_bound }
    }
}

/// What a session is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Proxmox VE, and everything that the user may do at the gate.
    Full,
    /// Enrolling a sign-in method that the policy accepts, and nothing else.
    EnrolOnly,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Full, Self::EnrolOnly];

    /// The word for it in the store and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::EnrolOnly => "enrol-only",
        }
    }
}

/// A device's identifier: SHA-256 of the 256 random bits that its cookie carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(pub [u8; 32]);

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner signed out.
    SignOut,
    /// Somebody revoked it.
    Revoked,
    /// Its user was disabled.
    Disabled,
    /// No activity for longer than the idle limit.
    Idle,
    /// The absolute limit passed.
    Expired,
    /// What it was good for is done: another session took its place.
    Replaced,
    /// It does not meet what is demanded of its user, or no longer.
    Policy,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::SignOut,
        Self::Revoked,
        Self::Disabled,
        Self::Idle,
        Self::Expired,
        Self::Replaced,
        Self::Policy,
    ];

    /// The word for it in the store, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignOut => "sign-out",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Policy => "policy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_one_account_and_nothing_else_is_a_name() {
        #[rustfmt::skip]
        let table = [
            ("alice",                Ok("alice")),
            (" Alice\t",             Ok("alice")),
            ("a.b_c-9",              Ok("a.b_c-9")),
            ("",                     Err(UserNameError::Empty)),
            ("  ",                   Err(UserNameError::Empty)),
            ("al ice",               Err(UserNameError::Character(' '))),
            ("alice@pve",            Err(UserNameError::Character('@'))),
            ("ａlice",               Err(UserNameError::Character('ａ'))),
            ("alice\u{200b}",        Err(UserNameError::Character('\u{200b}'))),
            ("alice\n",              Err(UserNameError::Character('\n'))),
            ("K\u{212a}",            Err(UserNameError::Character('\u{212a}'))),
        ];
        for (text, expected) in table {
            let name = text.parse::<UserName>();
            assert_eq!(name.as_ref().map(UserName::as_str), expected.as_ref().copied(), "{text:?}");
        }
        assert!("a".repeat(32).parse::<UserName>().is_ok());
        assert_eq!("a".repeat(33).parse::<UserName>(), Err(UserNameError::Long(33)));
    }
}
