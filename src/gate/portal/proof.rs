//! A proof for one change: whoever sits at a session that is alive shows a sign-in method once more, for
//! this very change and no other.
//!
//! A session alone is not enough, and neither is one that was opened a minute ago: a script that found its
//! way into a page of Proxmox VE is of the gate's own origin, and sends what forms of ours send. It cannot
//! read a code off a phone, though, nor touch a key.
//!
//! With an authenticator app, the code is a field of the form that asks for the change. With a passkey, the
//! page's script asks for options for the form as it is filled in (`proof/options`), and adds state and
//! answer to it. With a [recovery code](super::recovery_proof), it is a field as well. Each is spent in the
//! store before the change takes effect. The form's other fields and
//! its path are the change: what was signed for one is no good for another.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Answer, Form, Visit, passkey, recovery_proof,
    sign_in::{Matched, SignInError},
};
use crate::{
    account::{CredentialKind, Method, SessionId, User, UserId},
    audit::{Action, Event, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::{
            totp::{self, TotpError},
            webauthn::{Asked, AssertionError, Authentication, PublicKeyCredential},
        },
        json, lockout,
    },
    secret,
    store::{Spent, StoreError, Use},
    time::Timestamp,
};

/// How long an answer to a challenge may take.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

const CONTEXT: &[u8] = b"proof";

/// The fields of a form that are the proof, and no part of the change.
const PROOF: [&str; 4] = ["code", recovery_proof::FIELD, "proof", "assertion"];

/// The person at a session agreed to one change.
///
/// [`Gate::prove`] is the only place that makes one, after the proof was spent.
#[derive(Debug)]
pub(super) struct Agreed {
    user: Arc<User>,
    session: SessionId,
    by: Method,
}

impl Agreed {
    /// Who.
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// At which session.
    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// Whether it took a recovery code.
    pub(super) fn recovers(&self) -> bool {
        self.by == Method::Recovery
    }
}

/// Why a form that asks for a change is not acted on.
pub(super) enum Unproven {
    /// The answer stands already: too many attempts.
    Reply(Box<Reply>),
    /// The form is shown again.
    NoMatch,
}

/// How somebody can prove a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provable {
    /// By a code of an authenticator app.
    pub by_code: bool,
    /// By a passkey.
    pub by_passkey: bool,
    /// By a recovery code.
    pub by_recovery: ByRecovery,
}

/// Whether a form takes a recovery code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByRecovery {
    /// It does not.
    No,
    /// Behind a line that unfolds: codes are few.
    Folded,
    /// At once: whoever signed in with one has nothing else left.
    First,
}

impl Provable {
    /// By nothing.
    pub(super) const NOHOW: Self = Self { by_code: false, by_passkey: false, by_recovery: ByRecovery::No };

    /// By something that is typed into the form.
    #[must_use]
    pub fn by_typing(&self) -> bool {
        self.by_code || self.by_recovery != ByRecovery::No
    }
}

/// Why a passkey proves nothing for this change. The person reads one sentence for all of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ProofError {
    #[error("a challenge that this gate did not give out")]
    State,
    #[error("a challenge that was given out more than {} s before", LIFETIME.as_secs())]
    Late,
    #[error("a challenge for another session or another change")]
    OtherChange,
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    #[error("a proof that was used already")]
    Spent,
}

impl From<&ProofError> for Reason {
    fn from(error: &ProofError) -> Self {
        let word = match error {
            ProofError::State => "unknown_ceremony",
            ProofError::Late => "late_ceremony",
            ProofError::OtherChange => "other_change",
            ProofError::Assertion(_) => "bad_assertion",
            ProofError::Spent => "ceremony_reused",
        };
        Self::new(word, error)
    }
}

/// What the script asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Where the form will be sent.
    path: String,
    /// Its fields.
    fields: BTreeMap<String, String>,
}

/// What is known between challenge and answer.
#[derive(Serialize, Deserialize)]
struct State {
    session: [u8; 32],
    change: [u8; 32],
    started_at: i64,
    authentication: Authentication,
}

impl Gate {
    /// By what a visitor can prove the change that their page asks for.
    pub(super) async fn provable_here(&self, visit: &Visit<'_>) -> Result<Provable, StoreError> {
        let Some(session) = &visit.session else { return Ok(Provable::NOHOW) };
        let by_recovery = self.by_recovery(visit, session).await?;
        Ok(Provable { by_recovery, ..self.provable(session.user().id).await? })
    }

    /// By what somebody can prove any change.
    pub(super) async fn provable(&self, user: UserId) -> Result<Provable, StoreError> {
        let (apps, credentials) =
            self.store.call(move |store| Ok((store.authenticators(user)?, store.credentials(user)?))).await?;
        Ok(Provable {
            by_code: !apps.is_empty(),
            by_passkey: self.relying_party.is_some()
                && credentials.iter().any(|credential| credential.kind == CredentialKind::Passkey),
            ..Provable::NOHOW
        })
    }

    /// A challenge for one change, which the browser's passkey signs.
    pub(super) async fn proof_options(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let (relying_party, request): (_, Options) = match self.script(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        let user = session.user();
        let id = user.id;
        let mut credentials = self.store.call(move |store| store.credentials(id)).await?;
        credentials.retain(|credential| credential.kind == CredentialKind::Passkey);
        if credentials.is_empty() {
            return Ok(passkey::refused("no_passkey"));
        }
        let started = relying_party.start_authentication(Asked::Named(user.name.as_str(), &credentials));
        let (options, authentication) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::error!(error = %error, "a proof by a passkey can't be started");
                return Ok(self.portal.internal(visit.head, visit.now));
            }
        };
        let fields = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let state = State {
            session: session.id.0,
            change: change(&request.path, fields),
            started_at: visit.now.millis(),
            authentication,
        };
        let state = serde_json::to_vec(&state).unwrap_or_default();
        let state = data_encoding::BASE64URL_NOPAD.encode(&self.ceremony_key().seal(CONTEXT, &state));
        Ok(Reply::json(StatusCode::OK, &json!({ "state": state, "publicKey": options })))
    }

    /// Whether the person at this session proved the change that the form asks for. What proves it is
    /// spent.
    pub(super) async fn prove(
        &self,
        visit: &Visit<'_>,
        form: &Form,
    ) -> Result<Result<Agreed, Unproven>, StoreError> {
        let Some(session) = visit.session.clone() else {
            return Ok(Err(Unproven::Reply(Box::new(Reply::challenge()))));
        };
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(Err(Unproven::Reply(reply)));
        }
        let user = session.user();
        let event = |outcome, method| {
            Event::new(Action::StepUp, outcome)
                .from(visit.client.ip())
                .of(&user.name)
                .by(method)
                .in_session(session.id)
        };
        let refused = if form.has("assertion") {
            match self.agreed_by_passkey(visit, form, &user, session.id).await? {
                Ok(()) => Ok(Method::Passkey),
                Err(error) => Err((Method::Passkey, Reason::from(&error))),
            }
        } else if !form.get(recovery_proof::FIELD).is_empty() {
            match self.agreed_by_recovery(visit, form, &session).await? {
                Ok(()) => Ok(Method::Recovery),
                Err(error) => Err((Method::Recovery, Reason::from(&error))),
            }
        } else {
            match self.agreed_by_code(visit, form, &user).await? {
                Ok(()) => Ok(Method::Totp),
                Err(error) => Err((Method::Totp, Reason::from(&error))),
            }
        };
        Ok(match refused {
            Ok(method) => {
                self.audit.record(&event(Outcome::Success, method));
                Ok(Agreed { user, session: session.id, by: method })
            }
            Err((method, reason)) => {
                self.audit.record(&event(Outcome::Failure, method).because(reason));
                Err(Unproven::NoMatch)
            }
        })
    }

    /// A wrong code counts as one at the sign-in page does: it is the same guess.
    async fn agreed_by_code(
        &self,
        visit: &Visit<'_>,
        form: &Form,
        user: &User,
    ) -> Result<Result<(), SignInError>, StoreError> {
        let code = form.get("code");
        if !totp::is_code(code) {
            return Ok(Err(TotpError::NotACode.into()));
        }
        let Matched { user, attempt, charge, factor, step } =
            match self.compare(visit, user.name.as_str(), code, None).await? {
                Ok(matched) => matched,
                Err(error) => return Ok(Err(error)),
            };
        let (id, now) = (user.id, visit.now);
        let spent = self
            .store
            .call(move |store| {
                let spent = store.spend_step(id, &factor, step, now)?;
                if spent == Spent::First
                    && let Err(error) =
                        store.settle_code(id, &attempt, &|guesses| lockout::settled(guesses, charge))
                {
                    // The code is spent. It goes on counting as a wrong one.
                    tracing::warn!(error = %error, "counts of wrong codes could not be reset");
                }
                Ok(spent)
            })
            .await?;
        Ok(match spent {
            Spent::First => Ok(()),
            Spent::Before => Err(SignInError::Raced),
        })
    }

    async fn agreed_by_passkey(
        &self,
        visit: &Visit<'_>,
        form: &Form,
        user: &User,
        session: SessionId,
    ) -> Result<Result<(), ProofError>, StoreError> {
        let Some(relying_party) = &self.relying_party else { return Ok(Err(ProofError::State)) };
        let sealed = form.get("proof");
        let (Some(state), Ok(response)) =
            (self.open_proof(sealed), json::parse::<PublicKeyCredential>(form.get("assertion").as_bytes()))
        else {
            return Ok(Err(ProofError::State));
        };
        let started_at = Timestamp::from_millis(state.started_at);
        if visit.now.since(started_at) > LIFETIME {
            return Ok(Err(ProofError::Late));
        }
        if state.session != session.0 || state.change != change(visit.head.uri.path(), form.fields()) {
            return Ok(Err(ProofError::OtherChange));
        }
        let id = response.raw_id.clone();
        let owned = self.store.call(move |store| store.credential_of(&id)).await?;
        let finished = relying_party.finish_authentication(&state.authentication, &response, owned.as_ref());
        let assertion = match (finished, owned) {
            (Err(error), _) => return Ok(Err(error.into())),
            (Ok(assertion), Some(owned)) if owned.user.id == user.id => assertion,
            (Ok(_), Some(_) | None) => return Ok(Err(AssertionError::NotAllowed.into())),
        };
        let ceremony = passkey::ceremony(sealed, started_at);
        let by = Use { user: user.id, at: visit.now, client: visit.client.ip() };
        let spent = self.store.call(move |store| store.spend_assertion(&assertion, &ceremony, &by)).await?;
        Ok(match spent {
            Spent::First => Ok(()),
            Spent::Before => Err(ProofError::Spent),
        })
    }

    fn open_proof(&self, state: &str) -> Option<State> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(state.as_bytes()).ok()?;
        serde_json::from_slice(&self.ceremony_key().open(CONTEXT, &sealed)?).ok()
    }
}

/// What is agreed to: where the form goes, and its fields but for the proof, in the order of their names.
fn change<'a>(path: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> [u8; 32] {
    let mut fields: Vec<_> = fields.filter(|(name, _)| !PROOF.contains(name)).collect();
    fields.sort_unstable();
    let mut text = form_urlencoded::Serializer::new(format!("{path}?"));
    text.extend_pairs(fields);
    secret::sha256(text.finish().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_its_path_and_its_fields_but_for_the_proof_in_any_order() {
        let of = |path: &str, fields: &[(&str, &str)]| change(path, fields.iter().copied());
        let agreed = of("/_gate/methods/change", &[("do", "remove"), ("id", "1")]);

        #[rustfmt::skip]
        let same = [
            of("/_gate/methods/change", &[("id", "1"), ("do", "remove")]),
            of("/_gate/methods/change", &[("do", "remove"), ("id", "1"), ("code", "123456")]),
            of("/_gate/methods/change", &[("recovery", "k7mq"), ("do", "remove"), ("id", "1")]),
            of("/_gate/methods/change", &[("do", "remove"), ("assertion", "{}"), ("id", "1"), ("proof", "x")]),
        ];
        #[rustfmt::skip]
        let others = [
            of("/_gate/methods/change", &[("do", "remove"), ("id", "2")]),
            of("/_gate/methods/change", &[("do", "rename"), ("id", "1")]),
            of("/_gate/methods/change", &[("do", "remove"), ("id", "1"), ("name", "")]),
            of("/_gate/methods/change", &[("do", "remove&id=1")]),
            of("/_gate/methods/change", &[("do", "remove")]),
            of("/_gate/methods/new",    &[("do", "remove"), ("id", "1")]),
        ];
        assert!(same.iter().all(|change| *change == agreed));
        assert!(others.iter().all(|change| *change != agreed));
    }
}
