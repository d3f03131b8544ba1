//! What is known between two steps of taking up an invitation.
//!
//! It travels sealed in the form that continues the enrolment, so that a stranger's visit writes
//! nothing to the store. A sign-in method that was [`Proven`] waits here, still switched off, until
//! the last step spends the invitation (`enrol`).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    account::{Ceremony, CredentialKind, FactorId, SessionId, TimeStep, UserId, factor_name},
    gate::ceremony::{
        totp::Secret,
        webauthn::{Registered, Registration},
    },
    secret::Key,
    store::EnrolledBy,
    time::Timestamp,
};

/// Nothing else that is sealed under [`crate::secret::Purpose::CeremonyState`] opens as this.
const CONTEXT: &[u8] = b"enrol";

/// What is known between two steps.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    by: By,
    user: i64,
    sealed_at: i64,
    pub(super) progress: Progress,
}

/// What permits the enrolment; see [`EnrolledBy`].
#[derive(Serialize, Deserialize)]
enum By {
    Invitation([u8; 32]),
    Session([u8; 32]),
    Proof { session: [u8; 32], once: [u8; 32], expires_at: i64, replaces: Option<String>, recovers: bool },
}

/// How far somebody got.
#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is on its way into a form")]
pub(super) enum Progress {
    /// Whoever came may enrol. Nothing was chosen yet.
    Choosing,
    /// A passkey or security key is being made: its challenge was given out, no response came yet.
    Creating(Box<Registration>),
    /// A sign-in method was proven by a script. The form that goes on comes next.
    Proven(Proven),
    /// An authenticator app is being added: its secret was shown, no code was checked yet.
    AddingApp {
        /// The secret in the QR code.
        secret: Zeroizing<Vec<u8>>,
        /// The security key that it goes with, where one was proven first.
        key: Option<Box<Proven>>,
    },
    /// A way in was proven; the recovery codes are shown and not confirmed yet.
    SavingCodes {
        /// What was proven.
        proven: Proofs,
        /// The codes, as they are written.
        codes: Vec<String>,
        /// The hash of the password that was chosen, where one is wanted.
        password: Option<String>,
    },
}

/// A sign-in method that its owner has shown to work. It is not switched on yet.
#[derive(Serialize, Deserialize)]
pub(super) enum Proven {
    /// A code of an authenticator app matched.
    Totp {
        /// The shared secret.
        secret: Zeroizing<Vec<u8>>,
        /// The time step that the code stands for: it is spent.
        step: u64,
        /// What its owner calls it; empty for the default.
        name: String,
    },
    /// A passkey or security key was made, for a challenge of ours.
    Credential {
        /// The credential.
        credential: Registered,
        /// What its owner calls it; empty for the default.
        name: String,
        /// SHA-256 of the state of the ceremony that made it.
        ceremony: [u8; 32],
        /// Until when that state is accepted.
        ceremony_expires_at: i64,
    },
}

impl Proven {
    /// From a registration that was finished.
    pub(super) fn credential(credential: Registered, typed: &str, ceremony: Ceremony) -> Self {
        Self::Credential {
            credential,
            name: factor_name(typed),
            ceremony: ceremony.hash,
            ceremony_expires_at: ceremony.expires_at.millis(),
        }
    }

    /// From a code that matched.
    pub(super) fn totp(secret: &Secret, step: TimeStep, name: &str) -> Self {
        let secret = Zeroizing::new(secret.expose().to_vec());
        Self::Totp { secret, step: step.0, name: name.to_owned() }
    }

    /// Whether an authenticator app must still be added, for somebody who has one (or not) and may have
    /// lost it (or not): a security key is no way in by itself.
    pub(super) fn needs_app(&self, has_app: bool, recovering: bool) -> bool {
        match self {
            Self::Totp { .. } => false,
            Self::Credential { credential, .. } => match credential.kind {
                CredentialKind::Passkey => false,
                CredentialKind::SecurityKey => !has_app || recovering,
            },
        }
    }
}

/// What is switched on together.
#[derive(Serialize, Deserialize)]
pub(super) struct Proofs {
    /// How its owner signed in by proving it.
    pub(super) first: Proven,
    /// The authenticator app beside a security key.
    pub(super) second: Option<Proven>,
}

impl From<Proven> for Proofs {
    fn from(first: Proven) -> Self {
        Self { first, second: None }
    }
}

impl State {
    /// A state of now.
    pub(super) fn new(by: &EnrolledBy, user: UserId, now: Timestamp, progress: Progress) -> Self {
        let by = match by {
            EnrolledBy::Invitation(token_hash) => By::Invitation(*token_hash),
            EnrolledBy::Session(id) => By::Session(id.0),
            EnrolledBy::Proof { session, once, replaces, recovers } => By::Proof {
                session: session.0,
                once: once.hash,
                expires_at: once.expires_at.millis(),
                replaces: replaces.as_ref().map(|id| id.0.clone()),
                recovers: *recovers,
            },
        };
        Self { by, user: user.0, sealed_at: now.millis(), progress }
    }

    /// What permits it.
    pub(super) fn by(&self) -> EnrolledBy {
        match &self.by {
            By::Invitation(token_hash) => EnrolledBy::Invitation(*token_hash),
            By::Session(id) => EnrolledBy::Session(SessionId(*id)),
            By::Proof { session, once, expires_at, replaces, recovers } => EnrolledBy::Proof {
                session: SessionId(*session),
                once: Ceremony { hash: *once, expires_at: Timestamp::from_millis(*expires_at) },
                replaces: replaces.clone().map(FactorId),
                recovers: *recovers,
            },
        }
    }

    /// Whose enrolment it is.
    pub(super) fn user(&self) -> UserId {
        UserId(self.user)
    }

    /// When it was sealed.
    pub(super) fn sealed_at(&self) -> Timestamp {
        Timestamp::from_millis(self.sealed_at)
    }

    /// As a form carries it.
    pub(super) fn seal(&self, key: &Key) -> String {
        let json = Zeroizing::new(serde_json::to_vec(self).unwrap_or_default());
        data_encoding::BASE64URL_NOPAD.encode(&key.seal(CONTEXT, &json))
    }

    /// From a form; `None` is everything that this gate's key did not seal for this purpose.
    pub(super) fn open(key: &Key, text: &str) -> Option<Self> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        serde_json::from_slice(&key.open(CONTEXT, &sealed)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: CredentialKind) -> Proven {
        let credential = Registered {
            kind,
            credential_id: vec![1],
            record: String::new(),
            counter: 0,
            synced: false,
            aaguid: [0; 16],
            transports: Vec::new(),
        };
        Proven::credential(credential, "", Ceremony { hash: [0; 32], expires_at: Timestamp::from_secs(0) })
    }

    #[test]
    fn a_security_key_alone_is_no_way_in() {
        let app = Proven::totp(&Secret::random(), TimeStep(1), "");
        let (passkey, key) = (made(CredentialKind::Passkey), made(CredentialKind::SecurityKey));
        #[rustfmt::skip]
        let table = [
            // proven                    has an app  recovering  needs an app
            ("an app",         &app,     false,      false,      false),
            ("a passkey",      &passkey, false,      false,      false),
            ("a passkey",      &passkey, true,       true,       false),
            ("a security key", &key,     false,      false,      true),
            ("a security key", &key,     true,       false,      false),
            ("a security key", &key,     true,       true,       true),
            ("a security key", &key,     false,      true,       true),
        ];
        for (case, proven, has_app, recovering, expected) in table {
            assert_eq!(proven.needs_app(has_app, recovering), expected, "{case}, {has_app}, {recovering}");
        }
    }
}
