//! Passkeys and security keys (Web Authentication Level 3).
//!
//! [`RelyingParty`] starts and finishes the two ceremonies: registration of a new credential and
//! authentication by one. It reads no clock and touches no store. The caller keeps the state between
//! the two halves sealed, bounds its age, and spends it in the transaction with the ceremony's effect;
//! it also brings the credential that the response names, and whose it is.
//!
//! What is looked at, and where, stands in [`steps`]. Signatures are verified by `webauthn-rs`.

mod models;
mod steps;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use webauthn_rs::{
    Webauthn, WebauthnBuilder,
    fake::{FakePasskeyDistribution, WebauthnFakeCredentialGenerator},
    prelude::{
        Credential as Record, DiscoverableAuthentication, PasskeyRegistration, SecurityKey,
        SecurityKeyAuthentication, SecurityKeyRegistration, Url, WebauthnError,
    },
};
use webauthn_rs_proto::{
    AllowCredentials, AuthenticatorTransport, PublicKeyCredentialDescriptor, ResidentKeyRequirement,
    UserVerificationPolicy,
};
pub use webauthn_rs_proto::{
    PublicKeyCredential, PublicKeyCredentialCreationOptions, PublicKeyCredentialRequestOptions,
    RegisterPublicKeyCredential,
};

pub use models::model;
pub use steps::ResponseError;

use crate::{
    account::{Assertion, Credential, CredentialKind, Transport, UserHandle, UserName},
    gate::PublicUrl,
    secret::Key,
    store::Owned,
};
use steps::{AuthenticatorData, Verification};

/// The gate as a relying party.
pub struct RelyingParty {
    webauthn: Webauthn,
    id: String,
    origin: String,
    fakes: WebauthnFakeCredentialGenerator<FakePasskeyDistribution>,
}

/// Shown by authenticators that show anything.
const NAME: &str = "Proxmox VE gate";

/// The state of a registration, between its halves. For sealing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    challenge: Vec<u8>,
    library: RegistrationOf,
}

impl Registration {
    /// What is being made.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        match self.library {
            RegistrationOf::Passkey(_) => CredentialKind::Passkey,
            RegistrationOf::SecurityKey(_) => CredentialKind::SecurityKey,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum RegistrationOf {
    Passkey(PasskeyRegistration),
    SecurityKey(SecurityKeyRegistration),
}

/// The state of an authentication, between its halves. For sealing: its length tells nothing that the
/// options do not tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authentication {
    challenge: Vec<u8>,
    /// The identifiers in `allowCredentials`, if there was a list.
    allowed: Option<Vec<Vec<u8>>>,
    library: AuthenticationOf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum AuthenticationOf {
    Passkey(DiscoverableAuthentication),
    SecurityKey(SecurityKeyAuthentication),
}

/// Who is asked to authenticate.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// Whoever has a passkey: the browser offers those it finds.
    Anybody,
    /// Whoever this name stands for, with one of these passkeys. None makes a list of made-up ones, the
    /// same each time, so that strangers learn no names (§14.6.2).
    Named(&'a str, &'a [Credential]),
    /// Somebody who has shown another factor, with one of these security keys.
    SecondFactor(&'a [Credential]),
}

/// A credential that was registered, and is nobody's yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// What it is good for.
    pub kind: CredentialKind,
    /// What authenticators know it by.
    pub credential_id: Vec<u8>,
    /// As [`Credential::record`].
    pub record: String,
    /// Its signature counter.
    pub counter: u32,
    /// Whether it is backed up.
    pub synced: bool,
    /// The authenticator's model.
    pub aaguid: [u8; 16],
    /// How a browser may reach it.
    pub transports: Vec<Transport>,
}

impl RelyingParty {
    /// The relying party at this address; `None` where browsers allow no WebAuthn: an IP address can be
    /// no relying party identifier (§5.1.2). `fakes` makes up credentials for names nobody has.
    #[must_use]
    pub fn at(public_url: &PublicUrl, fakes: &Key) -> Option<Self> {
        let origin = public_url.origin();
        let url = Url::parse(&origin).ok()?;
        let webauthn = WebauthnBuilder::new(public_url.host(), &url).ok()?.rp_name(NAME).build().ok()?;
        let fakes = WebauthnFakeCredentialGenerator::new(fakes.expose()).ok()?;
        Some(Self { webauthn, id: public_url.host().to_owned(), origin, fakes })
    }

    /// Its identifier (§5.4.2): the gate's host.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts to register a credential for `user`, who has `present` ones.
    ///
    /// A passkey must be discoverable and verify its owner; a security key needs neither, so that one
    /// without a PIN will do.
    ///
    /// # Errors
    ///
    /// [`RegistrationError::Library`]
    pub fn start_registration(
        &self,
        kind: CredentialKind,
        user: &UserName,
        handle: &UserHandle,
        present: &[Credential],
    ) -> Result<(PublicKeyCredentialCreationOptions, Registration), RegistrationError> {
        let name = user.as_str();
        // The handle goes in below: the library knows only those of 16 bytes, and does not keep it.
        let (mut options, library) = match kind {
            CredentialKind::Passkey => {
                let (options, state) =
                    self.webauthn.start_passkey_registration(Uuid::nil(), name, name, None)?;
                (options.public_key, RegistrationOf::Passkey(state))
            }
            CredentialKind::SecurityKey => {
                let (options, state) = self.webauthn.start_securitykey_registration(
                    Uuid::nil(),
                    name,
                    name,
                    None,
                    None,
                    None,
                )?;
                (options.public_key, RegistrationOf::SecurityKey(state))
            }
        };
        options.user.id = handle.0.to_vec();
        options.exclude_credentials = Some(present.iter().map(descriptor).collect());
        if let Some(selection) = &mut options.authenticator_selection {
            let (resident, verification) = match kind {
                CredentialKind::Passkey => {
                    (ResidentKeyRequirement::Required, UserVerificationPolicy::Required)
                }
                CredentialKind::SecurityKey => {
                    (ResidentKeyRequirement::Discouraged, UserVerificationPolicy::Discouraged_DO_NOT_USE)
                }
            };
            selection.resident_key = Some(resident);
            selection.require_resident_key = resident == ResidentKeyRequirement::Required;
            selection.user_verification = verification;
        }
        if let Some(extensions) = &mut options.extensions {
            extensions.uvm = None;
            if kind == CredentialKind::SecurityKey {
                // A key that has no PIN would make the credential and then never show it again.
                extensions.cred_protect = None;
            }
        }
        Ok((options.clone(), Registration { challenge: options.challenge, library }))
    }

    /// Finishes a registration (§7.1). That the credential is nobody's yet is the caller's to ask.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`]
    pub fn finish_registration(
        &self,
        state: &Registration,
        response: &RegisterPublicKeyCredential,
    ) -> Result<Registered, RegistrationError> {
        let kind = state.kind();
        let verification = match kind {
            CredentialKind::Passkey => Verification::Required,
            CredentialKind::SecurityKey => Verification::Indifferent,
        };
        steps::same_identifier(&response.id, &response.raw_id, &response.type_)?;
        steps::client_data(
            &response.response.client_data_json,
            "webauthn.create",
            &state.challenge,
            &self.origin,
        )?;
        let data = steps::attestation_object(&response.response.attestation_object)?;
        let (flags, attested) = AuthenticatorData::parse(&data)?.check(&self.id, verification)?;
        let attested = steps::attested(attested)?;
        if attested.credential_id != response.raw_id {
            return Err(ResponseError::Identifier.into());
        }
        // The browser's word, unsigned: it saves somebody from a passkey that is never offered.
        let discoverable = response.extensions.cred_props.as_ref().and_then(|properties| properties.rk);
        if kind == CredentialKind::Passkey && discoverable == Some(false) {
            return Err(RegistrationError::NotDiscoverable);
        }
        let mut record: Record = match &state.library {
            RegistrationOf::Passkey(library) => {
                self.webauthn.finish_passkey_registration(response, library)?.into()
            }
            RegistrationOf::SecurityKey(library) => {
                self.webauthn.finish_securitykey_registration(response, library)?.into()
            }
        };
        if kind == CredentialKind::SecurityKey {
            // A key that once asked for a PIN need not do so for ever: it is only asked for a touch.
            record.user_verified = false;
        }
        Ok(Registered {
            kind,
            credential_id: response.raw_id.clone(),
            counter: record.counter,
            record: serde_json::to_string(&record).map_err(|_| RegistrationError::Record)?,
            synced: flags.synced,
            aaguid: attested.aaguid,
            transports: transports(response.response.transports.as_deref().unwrap_or_default()),
        })
    }

    /// Starts an authentication.
    ///
    /// # Errors
    ///
    /// [`AssertionError::Library`] or [`AssertionError::Record`].
    pub fn start_authentication(
        &self,
        asked: Asked<'_>,
    ) -> Result<(PublicKeyCredentialRequestOptions, Authentication), AssertionError> {
        let (mut options, library) = match asked {
            Asked::Anybody | Asked::Named(..) => {
                let (options, state) = self.webauthn.start_discoverable_authentication()?;
                (options.public_key, AuthenticationOf::Passkey(state))
            }
            Asked::SecondFactor(credentials) => {
                let keys = of_kind(credentials, CredentialKind::SecurityKey)
                    .map(|credential| Ok(SecurityKey::from(record(credential)?)))
                    .collect::<Result<Vec<_>, AssertionError>>()?;
                let (options, state) = self.webauthn.start_securitykey_authentication(&keys)?;
                let mut options = options.public_key;
                options.user_verification = UserVerificationPolicy::Discouraged_DO_NOT_USE;
                (options, AuthenticationOf::SecurityKey(state))
            }
        };
        options.extensions = None;
        options.allow_credentials = match asked {
            Asked::Anybody => Vec::new(),
            Asked::Named(name, credentials) => self.named(name, credentials)?,
            Asked::SecondFactor(credentials) => {
                of_kind(credentials, CredentialKind::SecurityKey).map(allowed).collect()
            }
        };
        let allowed = match asked {
            Asked::Anybody => None,
            Asked::Named(..) | Asked::SecondFactor(_) => {
                Some(options.allow_credentials.iter().map(|allowed| allowed.id.clone()).collect())
            }
        };
        let challenge = options.challenge.clone();
        Ok((options, Authentication { challenge, allowed, library }))
    }

    /// `allowCredentials` for a name. The made-up ones are made in any case, so that a known name costs
    /// what an unknown one does; and no list says how a credential is reached, since made-up ones can't.
    fn named(&self, name: &str, credentials: &[Credential]) -> Result<Vec<AllowCredentials>, AssertionError> {
        let made_up = self.made_up(name)?;
        let passkeys = of_kind(credentials, CredentialKind::Passkey);
        let mut ids: Vec<Vec<u8>> = passkeys.map(|credential| credential.credential_id.clone()).collect();
        if ids.is_empty() {
            ids = made_up;
        }
        Ok(ids
            .into_iter()
            .map(|id| AllowCredentials { type_: "public-key".to_owned(), id, transports: None })
            .collect())
    }

    /// Credential identifiers for a name that has none. The library's distribution knows people without
    /// any, which would tell that somebody has no passkey: the first list that is not empty is taken.
    fn made_up(&self, name: &str) -> Result<Vec<Vec<u8>>, AssertionError> {
        for attempt in 0..32_u8 {
            let ids = self.fakes.generate(&[&[attempt], name.as_bytes()].concat())?;
            if !ids.is_empty() {
                return Ok(ids);
            }
        }
        Ok(Vec::new())
    }

    /// Finishes an authentication (§7.2). `owned` is the credential that the response names by its
    /// `rawId`, if anybody has it.
    ///
    /// # Errors
    ///
    /// [`AssertionError`]; a person reads one sentence for all of these.
    pub fn finish_authentication(
        &self,
        state: &Authentication,
        response: &PublicKeyCredential,
        owned: Option<&Owned>,
    ) -> Result<Assertion, AssertionError> {
        steps::same_identifier(&response.id, &response.raw_id, &response.type_)?;
        if let Some(allowed) = &state.allowed
            && !allowed.contains(&response.raw_id)
        {
            return Err(AssertionError::NotAllowed);
        }
        let owned = owned
            .filter(|owned| owned.credential.credential_id == response.raw_id)
            .ok_or(AssertionError::UnknownCredential)?;
        match &response.response.user_handle {
            Some(handle) if handle.as_slice() != owned.handle.0 => {
                return Err(AssertionError::ForeignUserHandle);
            }
            None if state.allowed.is_none() => return Err(AssertionError::NoUserHandle),
            Some(_) | None => {}
        }
        let (kind, verification) = match state.library {
            AuthenticationOf::Passkey(_) => (CredentialKind::Passkey, Verification::Required),
            AuthenticationOf::SecurityKey(_) => (CredentialKind::SecurityKey, Verification::Indifferent),
        };
        if owned.credential.kind != kind {
            return Err(AssertionError::OtherKind);
        }
        let response_data = &response.response;
        steps::client_data(&response_data.client_data_json, "webauthn.get", &state.challenge, &self.origin)?;
        let data = AuthenticatorData::parse(&response_data.authenticator_data)?;
        let counter = data.counter;
        let (flags, attested) = data.check(&self.id, verification)?;
        if attested.is_some() {
            return Err(ResponseError::Attested.into());
        }
        let record = record(&owned.credential)?;
        if record.backup_eligible != flags.backup_eligible {
            return Err(AssertionError::BackupEligibility);
        }
        let verified = match &state.library {
            AuthenticationOf::Passkey(library) => {
                self.webauthn.finish_discoverable_authentication_v2(response, library.clone(), record)
            }
            AuthenticationOf::SecurityKey(library) => {
                self.webauthn.finish_securitykey_authentication(response, library)
            }
        };
        let cloned = AssertionError::Cloned { stored: owned.credential.counter, found: counter };
        match verified {
            Ok(_) => {}
            Err(WebauthnError::CredentialPossibleCompromise) => return Err(cloned),
            Err(WebauthnError::AuthenticationFailure | WebauthnError::SignatureInvalid) => {
                return Err(AssertionError::Signature);
            }
            Err(error) => return Err(error.into()),
        }
        // The counter, against the store and not against what was sealed when the ceremony began.
        let stored = owned.credential.counter;
        if (counter > 0 || stored > 0) && counter <= stored {
            return Err(cloned);
        }
        Ok(Assertion { credential: owned.credential.id.clone(), counter, synced: flags.synced })
    }
}

impl std::fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelyingParty")
            .field("id", &self.id)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Why a credential was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// What was sent is not good.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The authenticator made a credential that it can't find by itself.
    #[error("a passkey that can't be found without a user name")]
    NotDiscoverable,
    /// Somebody has this credential, perhaps the same person.
    #[error("the credential is registered already")]
    Registered,
    /// It can't be written down.
    #[error("a credential that can't be written down")]
    Record,
    /// The library refused it: most often an attestation statement's signature.
    #[error("{0}")]
    Library(String),
}

impl From<WebauthnError> for RegistrationError {
    fn from(error: WebauthnError) -> Self {
        Self::Library(error.to_string())
    }
}

/// Why an assertion was refused.
///
/// The person at the keyboard reads one sentence for all of these; the audit log tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// What was sent is not good.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// It was not among those that were asked for.
    #[error("a credential that was not asked for")]
    NotAllowed,
    /// Nobody has it.
    #[error("no such credential")]
    UnknownCredential,
    /// Nobody was named before, and the response names nobody.
    #[error("no user handle")]
    NoUserHandle,
    /// The response names somebody who does not own the credential.
    #[error("a user handle that is not the owner's")]
    ForeignUserHandle,
    /// A security key where a passkey is wanted, or the other way round.
    #[error("a credential that is good for something else")]
    OtherKind,
    /// The flag BE is not as it was at registration.
    #[error("a credential whose backup eligibility has changed")]
    BackupEligibility,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The signature is good, and the counter did not go up: there may be two of this authenticator.
    #[error("signature counter went from {stored} to {found}: the authenticator may have been cloned")]
    Cloned {
        /// The counter at its last use.
        stored: u32,
        /// The counter now.
        found: u32,
    },
    /// What the store has is not what was written.
    #[error("a record of a credential that can't be read")]
    Record,
    /// The library refused it for another reason.
    #[error("{0}")]
    Library(String),
}

impl From<WebauthnError> for AssertionError {
    fn from(error: WebauthnError) -> Self {
        Self::Library(error.to_string())
    }
}

/// The library's record of a credential, with what changed since its registration.
fn record(credential: &Credential) -> Result<Record, AssertionError> {
    let mut record: Record = serde_json::from_str(&credential.record).map_err(|_| AssertionError::Record)?;
    record.counter = credential.counter;
    record.backup_state = credential.synced;
    Ok(record)
}

fn of_kind(credentials: &[Credential], kind: CredentialKind) -> impl Iterator<Item = &Credential> {
    credentials.iter().filter(move |credential| credential.kind == kind)
}

fn allowed(credential: &Credential) -> AllowCredentials {
    let PublicKeyCredentialDescriptor { type_, id, transports } = descriptor(credential);
    AllowCredentials { type_, id, transports }
}

fn descriptor(credential: &Credential) -> PublicKeyCredentialDescriptor {
    let transports = credential.transports.iter().map(|transport| match transport {
        Transport::Usb => AuthenticatorTransport::Usb,
        Transport::Nfc => AuthenticatorTransport::Nfc,
        Transport::Ble => AuthenticatorTransport::Ble,
        Transport::Hybrid => AuthenticatorTransport::Hybrid,
        Transport::Internal => AuthenticatorTransport::Internal,
    });
    PublicKeyCredentialDescriptor {
        type_: "public-key".to_owned(),
        id: credential.credential_id.clone(),
        transports: Some(transports.collect::<Vec<_>>()).filter(|transports| !transports.is_empty()),
    }
}

/// The browser's word on how the authenticator is reached, each way once.
fn transports(said: &[AuthenticatorTransport]) -> Vec<Transport> {
    let mut transports: Vec<Transport> = said
        .iter()
        .filter_map(|transport| match transport {
            AuthenticatorTransport::Usb => Some(Transport::Usb),
            AuthenticatorTransport::Nfc => Some(Transport::Nfc),
            AuthenticatorTransport::Ble => Some(Transport::Ble),
            AuthenticatorTransport::Hybrid => Some(Transport::Hybrid),
            AuthenticatorTransport::Internal => Some(Transport::Internal),
            AuthenticatorTransport::Test | AuthenticatorTransport::Unknown => None,
        })
        .collect();
    transports.sort_unstable();
    transports.dedup();
    transports
}
