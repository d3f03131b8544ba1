//! The end of an enrolment: what was proven is switched on, and the page that says so.
//!
//! The steps before are in `enrol`; one transaction of the store does what is decided here.

use http::{StatusCode, header};

use super::{
    Answer, Visit, default_name,
    demands::{self, Entered, NotAdmitted},
    enrol::Guest,
    enrol_state::{Proofs, Proven},
    methods,
    pages::{self, MethodsNotice, Nudge},
};
use crate::{
    account::{
        Authenticator, Ceremony, Credential, CredentialKind, Factor, FactorId, Means, Method, Scope, Shown,
        TimeStep, User,
    },
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{Gate, ceremony::invite::InviteError, cookie::SessionSecret},
    names, secret,
    store::{EnrolledBy, Enrolment, Spent},
    time::Timestamp,
};

impl Gate {
    /// The one end of every enrolment: spends what permitted it, switches on what was proven and opens
    /// the session.
    pub(super) async fn finish(
        &self,
        visit: &Visit<'_>,
        guest: Guest,
        proven: Proofs,
        recovery_codes: Option<Vec<[u8; 32]>>,
        password: Option<String>,
    ) -> Answer {
        let Guest { by, user, replaces, .. } = guest;
        let at = match &by {
            EnrolledBy::Invitation(_) | EnrolledBy::Session(_) => None,
            EnrolledBy::Proof { session, .. } => Some(*session),
        };
        let id = user.id;
        let (apps, credentials) =
            self.store.call(move |store| Ok((store.authenticators(id)?, store.credentials(id)?))).await?;
        let present = apps.into_iter().map(|app| app.name);
        let taken: Vec<String> = present.chain(credentials.into_iter().map(|key| key.name)).collect();
        let (first, method) = self.factor(visit, &user, proven.first, &taken);
        let second = proven.second.map(|second| self.factor(visit, &user, second, &taken));
        let added: Vec<Method> =
            [method].into_iter().chain(second.as_ref().map(|(_, method)| *method)).collect();
        let factors = [first].into_iter().chain(second.map(|(factor, _)| factor)).collect();
        let session_secret = SessionSecret::random();
        let factors: Vec<Factor> = factors;
        let means = means_of(&factors, password.is_some());
        let shown = Shown { method, password: password.is_some(), device_bound: is_bound(factors.first()) };
        let session = self.new_session(visit, &user, shown, &session_secret);
        let renewed = recovery_codes.is_some();
        let permit = by.clone();
        let policies = self.sessions.policies();
        let mut enrolment = Enrolment { by, factors, recovery_codes, password, session };
        let enrolled = self.store.call(move |store| {
            // Without one for somebody who adds a method at a session of theirs.
            let entered = match enrolment.by {
                EnrolledBy::Proof { .. } => Entered::default(),
                EnrolledBy::Invitation(_) | EnrolledBy::Session(_) => {
                    match demands::admit(&policies, store, &mut enrolment.session, means)? {
                        Ok(entered) => entered,
                        // They were asked for what they have before they came here, and came from where they
                        // may (`enrol`): something changed within the moment. The session ends at once.
                        Err(NotAdmitted::Use(_) | NotAdmitted::Elsewhere) => {
                            enrolment.session.scope = Scope::EnrolOnly;
                            Entered::default()
                        }
                    }
                }
            };
            Ok((store.enrol(&enrolment)?, enrolment.session, entered))
        });
        let (spent, session, entered) = enrolled.await?;
        match spent {
            Spent::Before => self.not_permitted(visit, &permit, InviteError::Used).await,
            Spent::First => {
                let used = at.is_none().then_some((Action::InviteUse, method)).into_iter();
                let added = added.into_iter().map(|method| (Action::FactorAdd, method));
                let gone = replaces.as_ref().map(|old| (Action::FactorRemove, old.kind.method()));
                let renewed = renewed.then_some((Action::RecoveryRenew, method));
                for (action, method) in used.chain(added).chain(gone).chain(renewed) {
                    let event = Event::new(action, Outcome::Success)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .by(method);
                    self.audit.record(&match at {
                        Some(session) => event.in_session(session),
                        None => event,
                    });
                }
                if at.is_some() {
                    let done =
                        if replaces.is_some() { MethodsNotice::Replaced } else { MethodsNotice::Added };
                    return Ok(methods::done(done));
                }
                let done = entered.next(format!("{}enrolled", names::PREFIX));
                Ok(self.open_session(visit, &session, user, &session_secret, &done).await)
            }
        }
    }

    /// What is kept of a proven sign-in method, and how its owner signed in by proving it. `taken` are the
    /// names of others.
    fn factor(&self, visit: &Visit<'_>, user: &User, proven: Proven, taken: &[String]) -> (Factor, Method) {
        let now = visit.now;
        let language = self.portal.language(visit.head, None);
        match proven {
            Proven::Totp { secret: shared, step, name } => {
                let id = FactorId::of(secret::random());
                let authenticator = Authenticator {
                    sealed_secret: self.factor_key().seal(id.0.as_bytes(), &shared),
                    id,
                    user: user.id,
                    name: if name.is_empty() { default_name::of_app(language, taken) } else { name },
                    last_step: TimeStep(step),
                    created_at: now,
                    last_used_at: Some(now),
                };
                (Factor::Authenticator(authenticator), Method::Totp)
            }
            Proven::Credential { credential, name, ceremony, ceremony_expires_at } => {
                let method = credential.kind.into();
                let user_agent = visit.head.headers.get(header::USER_AGENT);
                let user_agent = user_agent.and_then(|value| value.to_str().ok()).unwrap_or_default();
                let name = if name.is_empty() {
                    default_name::of_credential(&credential, user_agent, language, taken)
                } else {
                    name
                };
                let kept = Credential {
                    id: FactorId::of(secret::random()),
                    user: user.id,
                    kind: credential.kind,
                    name,
                    relying_party: self.settings.public_url.host().to_owned(),
                    credential_id: credential.credential_id,
                    record: credential.record,
                    counter: credential.counter,
                    synced: credential.synced,
                    aaguid: credential.aaguid,
                    transports: credential.transports,
                    created_at: now,
                    last_used_at: None,
                    last_used_from: None,
                };
                let expires_at = Timestamp::from_millis(ceremony_expires_at);
                let ceremony = Ceremony { hash: ceremony, expires_at };
                (Factor::Credential(Box::new(kept), ceremony), method)
            }
        }
    }

    /// The page after it.
    pub(super) async fn enrolled_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let user = session.user();
        let nudge = Nudge::of(&self.methods(visit).await?, self.passkeys().is_some());
        let page = pages::EnrolDone { user: user.name.as_str(), signed_in: true, nudge };
        Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
    }
}

/// What somebody has by these.
fn means_of(factors: &[Factor], password: bool) -> Means {
    let mut means = Means { password, ..Means::default() };
    for factor in factors {
        if let Factor::Credential(credential, _) = factor
            && credential.kind == CredentialKind::SecurityKey
            && credential.synced
        {
            means.synced_security_keys = means.synced_security_keys.saturating_add(1);
        }
        let count = match factor {
            Factor::Authenticator(_) => &mut means.apps,
            Factor::Credential(credential, _) => match (credential.kind, credential.synced) {
                (CredentialKind::SecurityKey, _) => &mut means.security_keys,
                (CredentialKind::Passkey, true) => &mut means.synced_passkeys,
                (CredentialKind::Passkey, false) => &mut means.bound_passkeys,
            },
        };
        *count = count.saturating_add(1);
    }
    means
}

/// Whether what was shown by enrolling it is a key on one device.
fn is_bound(first: Option<&Factor>) -> bool {
    match first {
        Some(Factor::Credential(credential, _)) => !credential.synced,
        Some(Factor::Authenticator(_)) | None => false,
    }
}
