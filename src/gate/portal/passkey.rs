//! The page script's side of passkeys and security keys: JSON in, JSON out.
//!
//! | endpoint                   | sends                       | receives             |
//! |----------------------------|-----------------------------|----------------------|
//! | `passkey/sign-in-options`  | `{}` or `{user}`            | `{state, publicKey}` |
//! | `passkey/sign-in`          | `{state, credential}`       | `{next}`, a cookie   |
//! | `passkey/create-options`   | `{state, kind}`, the enrolment's state | `{state, publicKey}` |
//! | `passkey/create`           | `{state, name, credential}` | `{state}` for the form that goes on |
//! | `security-key/sign-in`     | `{state, credential}`       | `{next}`, a cookie   |
//!
//! The last one's options come with its page (`second_factor`).
//!
//! What happens between two of them is sealed in `state` and nowhere else. A sign-in spends its state in
//! the transaction that opens the session, an enrolment in the one that adds the credential (`enrol`).
//! The rules of the ceremonies are in [`webauthn`](crate::gate::ceremony::webauthn).

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Answer, Visit,
    demands::{self, NotAdmitted},
    enrol_state::{Progress, Proven, State},
    next,
};
use crate::{
    account::{Ceremony, CredentialKind, FactorId, Means, Method, Requirement, Shown, UserId, UserName},
    audit::{Action, Event, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::webauthn::{
            Asked, AssertionError, Authentication, PublicKeyCredential, RegisterPublicKeyCredential,
            RegistrationError, RelyingParty,
        },
        cookie::SessionSecret,
        json,
    },
    secret,
    store::{Spent, StoreError, Use},
    time::Timestamp,
};

/// How long a ceremony may take. Options tell browsers the same.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

const SIGN_IN: &[u8] = b"passkey-sign-in";

/// Most security keys of a user: all of them stand in the sealed state of a sign-in, which a small body
/// must bring back.
const SECURITY_KEYS: usize = 8;

/// Most characters of a user name that are looked at: what is longer is nobody's name.
const TYPED: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInOptions {
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    pub(super) state: String,
    credential: PublicKeyCredential,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateOptions {
    state: String,
    #[serde(default = "passkey")]
    kind: CredentialKind,
}

fn passkey() -> CredentialKind {
    CredentialKind::Passkey
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    state: String,
    name: String,
    credential: RegisterPublicKeyCredential,
}

/// What is known between the halves of a sign-in.
#[derive(Serialize, Deserialize)]
struct SignInState {
    started_at: i64,
    authentication: Authentication,
}

/// A sign-in between its halves.
pub(super) struct Pending {
    pub(super) started_at: Timestamp,
    pub(super) authentication: Authentication,
    /// What was shown before; `None` for a passkey, which needs nothing before it.
    pub(super) after: Option<FirstFactor>,
}

/// A code that was right, and is spent.
#[derive(Debug, Clone)]
pub(super) struct FirstFactor {
    pub(super) user: UserId,
    pub(super) name: UserName,
    /// The authenticator app that it came from.
    pub(super) app: FactorId,
}

impl Pending {
    fn method(&self) -> Method {
        match self.after {
            None => Method::Passkey,
            Some(_) => Method::SecurityKey,
        }
    }
}

/// Why a body is not what the script sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum JsonError {
    /// Another media type.
    #[error("a body that is not application/json")]
    MediaType,
    /// No JSON, a name twice, a name too many, or another type.
    #[error("JSON that the page's script does not send")]
    Shape,
}

/// Reads what the script sent.
fn read<T: DeserializeOwned>(fields: &HeaderMap, body: &[u8]) -> Result<T, JsonError> {
    let media_type = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(JsonError::MediaType);
    }
    json::parse(body).map_err(|_| JsonError::Shape)
}

/// Why a sign-in with a passkey or security key came to nothing. The person reads one sentence for all of
/// these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssertionRefusal {
    /// Not a state of ours, or one of something else.
    #[error("a ceremony that this gate did not start")]
    State,
    /// It took too long.
    #[error("a ceremony that was started more than {} s before", LIFETIME.as_secs())]
    Late,
    /// The authenticator's answer is not good.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The user may not sign in.
    #[error("the user is disabled")]
    Disabled,
    /// Before the security key came a code of an app that was removed since.
    #[error("the authenticator app whose code came first is gone")]
    NoAuthenticator,
    /// It was good, and policy wants something else.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The ceremony was used before, or another sign-in came first.
    #[error("a ceremony that was used already")]
    Spent,
}

impl From<&AssertionRefusal> for Reason {
    fn from(error: &AssertionRefusal) -> Self {
        let word = match error {
            AssertionRefusal::NotAdmitted(refusal) => return (*refusal).into(),
            AssertionRefusal::State => "unknown_ceremony",
            AssertionRefusal::Late => "late_ceremony",
            AssertionRefusal::Spent => "ceremony_reused",
            AssertionRefusal::Disabled => "disabled",
            AssertionRefusal::NoAuthenticator => "not_enrolled",
            AssertionRefusal::Assertion(AssertionError::UnknownCredential) => "unknown_credential",
            AssertionRefusal::Assertion(AssertionError::Cloned { .. }) => "cloned_authenticator",
            AssertionRefusal::Assertion(
                AssertionError::Response(_)
                | AssertionError::NotAllowed
                | AssertionError::NoUserHandle
                | AssertionError::ForeignUserHandle
                | AssertionError::OtherKind
                | AssertionError::BackupEligibility
                | AssertionError::Signature
                | AssertionError::Record
                | AssertionError::Library(_),
            ) => "bad_assertion",
        };
        Self::new(word, error)
    }
}

impl From<&RegistrationError> for Reason {
    fn from(error: &RegistrationError) -> Self {
        let word = match error {
            RegistrationError::Registered => "registered_credential",
            RegistrationError::Response(_)
            | RegistrationError::NotDiscoverable
            | RegistrationError::Record
            | RegistrationError::Library(_) => "bad_attestation",
        };
        Self::new(word, error)
    }
}

impl Gate {
    /// What the script asks, where passkeys are offered.
    fn script_for_passkeys<T: DeserializeOwned>(
        &self,
        visit: &Visit<'_>,
        body: &[u8],
    ) -> Result<(&RelyingParty, T), Box<Reply>> {
        if self.passkeys().is_none() {
            return Err(Box::new(self.no_such_page(visit)));
        }
        self.script(visit, body)
    }

    /// What the script asks, where WebAuthn can work at all.
    pub(super) fn script<T: DeserializeOwned>(
        &self,
        visit: &Visit<'_>,
        body: &[u8],
    ) -> Result<(&RelyingParty, T), Box<Reply>> {
        let Some(relying_party) = &self.relying_party else { return Err(Box::new(self.no_such_page(visit))) };
        match read(&visit.head.headers, body) {
            Ok(request) => Ok((relying_party, request)),
            Err(JsonError::MediaType) => Err(Box::new(self.bad_request(visit, "media_type"))),
            Err(JsonError::Shape) => Err(Box::new(self.bad_request(visit, "bad_json"))),
        }
    }

    /// Whoever asks gets options, known or not, and nothing is written down.
    pub(super) async fn passkey_sign_in_options(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        let (relying_party, request): (_, SignInOptions) = match self.script_for_passkeys(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        let typed: String = request.user.trim().chars().take(TYPED).collect();
        let started = if typed.is_empty() {
            relying_party.start_authentication(Asked::Anybody)
        } else {
            if let Err(reply) = self.question_rate(visit) {
                return Ok(*reply);
            }
            let name = typed.parse::<UserName>();
            let looked_up = name.clone();
            let credentials = self
                .store
                .call(move |store| match looked_up.ok() {
                    Some(name) => match store.user_by_name(&name)? {
                        Some(user) if user.disabled_at.is_none() => store.credentials(user.id),
                        Some(_) | None => Ok(Vec::new()),
                    },
                    None => Ok(Vec::new()),
                })
                .await?;
            let name = name.map_or(typed, |name| name.to_string());
            relying_party.start_authentication(Asked::Named(&name, &credentials))
        };
        let (options, authentication) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::error!(error = %error, "a sign-in with a passkey can't be started");
                return Ok(self.portal.internal(visit.head, visit.now));
            }
        };
        let state = SignInState { started_at: visit.now.millis(), authentication };
        let state = serde_json::to_vec(&state).unwrap_or_default();
        let state = data_encoding::BASE64URL_NOPAD.encode(&self.ceremony_key().seal(SIGN_IN, &state));
        Ok(Reply::json(StatusCode::OK, &json!({ "state": state, "publicKey": options })))
    }

    pub(super) async fn passkey_sign_in(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(*reply);
        }
        let (relying_party, request): (_, SignIn) = match self.script_for_passkeys(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        let Some(asked) = self.open_sign_in(&request.state) else {
            return Ok(self.assertion_refused(visit, Method::Passkey, None, &AssertionRefusal::State));
        };
        self.sign_in_by_assertion(visit, relying_party, &request, asked).await
    }

    /// The second half of a sign-in, by a passkey or after another factor: one session, or one event that
    /// tells why not.
    pub(super) async fn sign_in_by_assertion(
        &self,
        visit: &Visit<'_>,
        relying_party: &RelyingParty,
        request: &SignIn,
        asked: Pending,
    ) -> Answer {
        let method = asked.method();
        let mut claimed = asked.after.as_ref().map(|after| after.name.clone());
        match self.session_by_assertion(visit, relying_party, request, asked, &mut claimed).await? {
            Ok(reply) => Ok(reply),
            Err(refusal) => Ok(self.assertion_refused(visit, method, claimed.as_ref(), &refusal)),
        }
    }

    pub(super) fn assertion_refused(
        &self,
        visit: &Visit<'_>,
        method: Method,
        user: Option<&UserName>,
        refusal: &AssertionRefusal,
    ) -> Reply {
        let event =
            Event::new(Action::SignIn, Outcome::Failure).from(visit.client.ip()).by(method).because(refusal);
        self.audit.record(&match user {
            Some(name) => event.of(name),
            None => event,
        });
        refused(match refusal {
            AssertionRefusal::NotAdmitted(refusal) => refusal.word(),
            AssertionRefusal::State
            | AssertionRefusal::Late
            | AssertionRefusal::Assertion(_)
            | AssertionRefusal::Disabled
            | AssertionRefusal::NoAuthenticator
            | AssertionRefusal::Spent => "no_match",
        })
    }

    /// `claimed` becomes the owner of the credential that the answer names, proven or not, if nobody was
    /// named before.
    async fn session_by_assertion(
        &self,
        visit: &Visit<'_>,
        relying_party: &RelyingParty,
        request: &SignIn,
        asked: Pending,
        claimed: &mut Option<UserName>,
    ) -> Result<Result<Reply, AssertionRefusal>, StoreError> {
        if visit.now.since(asked.started_at) > LIFETIME {
            return Ok(Err(AssertionRefusal::Late));
        }
        let method = asked.method();
        let Pending { started_at, authentication, after } = asked;
        let credential_id = request.credential.raw_id.clone();
        let first = after.clone();
        let (owned, first_is_there) = self
            .store
            .call(move |store| {
                let first_is_there = match first {
                    None => true,
                    Some(first) => store.authenticators(first.user)?.iter().any(|app| app.id == first.app),
                };
                Ok((store.credential_of(&credential_id)?, first_is_there))
            })
            .await?;
        if claimed.is_none() {
            *claimed = owned.as_ref().map(|owned| owned.user.name.clone());
        }
        let finished =
            relying_party.finish_authentication(&authentication, &request.credential, owned.as_ref());
        let (assertion, user) = match (finished, owned) {
            (Err(error), _) => return Ok(Err(error.into())),
            (Ok(_), None) => return Ok(Err(AssertionError::UnknownCredential.into())),
            (Ok(_), Some(owned)) if owned.user.disabled_at.is_some() => {
                return Ok(Err(AssertionRefusal::Disabled));
            }
            (Ok(assertion), Some(owned)) => (assertion, owned.user),
        };
        if after.is_some_and(|after| after.user != user.id) {
            return Ok(Err(AssertionError::NotAllowed.into()));
        }
        if !first_is_there {
            return Ok(Err(AssertionRefusal::NoAuthenticator));
        }
        let secret = SessionSecret::random();
        let shown = Shown { method, password: false, device_bound: !assertion.synced };
        let mut session = self.new_session(visit, &user, shown, &secret);
        let ceremony = ceremony(&request.state, started_at);
        let policies = self.sessions.policies();
        let spent = self.store.call(move |store| {
            match demands::admit(&policies, store, &mut session, Means::default())? {
                Ok(entered) => {
                    let spent = store.sign_in_by_assertion(&assertion, &ceremony, &session)?;
                    Ok((spent, Ok((session, entered))))
                }
                // It is spent all the same: it was seen.
                Err(refusal) => {
                    let by = Use { user: session.user, at: session.created_at, client: session.client };
                    Ok((store.spend_assertion(&assertion, &ceremony, &by)?, Err(refusal)))
                }
            }
        });
        Ok(match spent.await? {
            (Spent::Before, _) => Err(AssertionRefusal::Spent),
            (Spent::First, Err(refusal)) => Err(refusal.into()),
            (Spent::First, Ok((session, entered))) => {
                let next = next::after_sign_in(visit.head.uri.query());
                let next = entered.next(self.next_or_clock(visit, user.id, next));
                let reply = Reply::json(StatusCode::OK, &json!({ "next": next }));
                Ok(self.hand_over(visit, &session, user, &secret, reply).await)
            }
        })
    }

    fn open_sign_in(&self, state: &str) -> Option<Pending> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(state.as_bytes()).ok()?;
        let state: SignInState = serde_json::from_slice(&self.ceremony_key().open(SIGN_IN, &sealed)?).ok()?;
        let started_at = Timestamp::from_millis(state.started_at);
        Some(Pending { started_at, authentication: state.authentication, after: None })
    }

    /// Somebody who takes up an invitation wants a passkey or, where codes of an app are accepted, a
    /// security key that has no PIN.
    pub(super) async fn passkey_create_options(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        let (relying_party, request): (_, CreateOptions) = match self.script_for_passkeys(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        let Some(state) = State::open(&self.ceremony_key(), &request.state) else {
            return Ok(refused("invitation"));
        };
        match &state.progress {
            Progress::Choosing | Progress::Creating(_) => {}
            Progress::AddingApp { .. } | Progress::Proven(_) | Progress::SavingCodes { .. } => {
                return Ok(refused("invitation"));
            }
        }
        let guest = match self.guest_of(visit, &state).await? {
            Ok(guest) => guest,
            Err(error) => {
                self.audit_invitation(visit, error);
                return Ok(refused("invitation"));
            }
        };
        let (id, kind) = (guest.user.id, request.kind);
        if !guest.may_add(kind.into()) {
            return Ok(refused("method"));
        }
        let (handle, present) =
            self.store.call(move |store| Ok((store.user_handle(id)?, store.credentials(id)?))).await?;
        let Some(handle) = handle else { return Ok(refused("invitation")) };
        let keys = present.iter().filter(|credential| credential.kind == CredentialKind::SecurityKey).count();
        match kind {
            CredentialKind::Passkey => {}
            CredentialKind::SecurityKey if !self.settings.auth.totp => return Ok(refused("method")),
            CredentialKind::SecurityKey if keys >= SECURITY_KEYS => return Ok(refused("too_many_keys")),
            CredentialKind::SecurityKey => {}
        }
        // Also what is to be replaced: an authenticator that makes a second credential for somebody may forget
        // the first, which is to work until the new one was checked.
        match relying_party.start_registration(kind, &guest.user.name, &handle, &present) {
            Ok((options, registration)) => {
                let progress = Progress::Creating(Box::new(registration));
                let state = self.sealed(visit, &guest, progress);
                Ok(Reply::json(StatusCode::OK, &json!({ "state": state, "publicKey": options })))
            }
            Err(error) => {
                tracing::error!(error = %error, "the registration of a passkey can't be started");
                Ok(self.portal.internal(visit.head, visit.now))
            }
        }
    }

    /// The credential was made. It is not switched on before the form that goes on.
    pub(super) async fn passkey_create(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        let (relying_party, request): (_, Create) = match self.script_for_passkeys(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        let Some(state) = State::open(&self.ceremony_key(), &request.state) else {
            return Ok(refused("invitation"));
        };
        let Progress::Creating(registration) = &state.progress else {
            return Ok(refused("invitation"));
        };
        if visit.now.since(state.sealed_at()) > LIFETIME {
            return Ok(refused("late"));
        }
        let guest = match self.guest_of(visit, &state).await? {
            Ok(guest) => guest,
            Err(error) => {
                self.audit_invitation(visit, error);
                return Ok(refused("invitation"));
            }
        };
        let mut registered = relying_party.finish_registration(registration, &request.credential);
        if let Ok(credential) = &registered {
            let id = credential.credential_id.clone();
            if self.store.call(move |store| store.credential_of(&id)).await?.is_some() {
                registered = Err(RegistrationError::Registered);
            }
        }
        match registered {
            // Enrolled now, it would not be accepted at the next sign-in.
            Ok(registered) if guest.wants == Some(Requirement::SecurityKey) && registered.synced => {
                Ok(refused(NotAdmitted::Use(Requirement::SecurityKey).word()))
            }
            Ok(registered) => {
                let ceremony = ceremony(&request.state, state.sealed_at());
                let proven = Proven::credential(registered, &request.name, ceremony);
                let state = self.sealed(visit, &guest, Progress::Proven(proven));
                Ok(Reply::json(StatusCode::OK, &json!({ "state": state })))
            }
            Err(error) => {
                self.audit.record(
                    &Event::new(Action::InviteUse, Outcome::Failure)
                        .from(visit.client.ip())
                        .of(&guest.user.name)
                        .by(Method::from(registration.kind()))
                        .because(&error),
                );
                Ok(refused("no_match"))
            }
        }
    }
}

/// What is spent of a ceremony whose state was sealed at `started_at`.
pub(super) fn ceremony(state: &str, started_at: Timestamp) -> Ceremony {
    Ceremony { hash: secret::sha256(state.as_bytes()), expires_at: started_at.plus(LIFETIME) }
}

/// 403 for the script, which has the words.
pub(super) fn refused(word: &'static str) -> Reply {
    Reply::json(StatusCode::FORBIDDEN, &json!({ "error": word, "data": null }))
}
