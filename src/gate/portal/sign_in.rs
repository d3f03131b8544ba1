//! Signing in and out.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use super::{Answer, Form, Visit, next, pages};
use crate::{
    account::{Authenticator, EndReason, Method, Scope, Session, TimeStep, User, UserName},
    audit::{Action, Event, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::totp::{self, TotpError},
        cookie::{self, SessionSecret},
    },
    store::{Sessions, Spent, StoreError},
    time::Timestamp,
};

/// Longest description of a browser that is kept.
const USER_AGENT: usize = 256;

/// Why a sign-in came to nothing. The person reads one sentence for all of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignInError {
    /// What was typed is no name.
    #[error("what was typed is no user name")]
    NotAName,
    /// Nobody has this name.
    #[error("no such user")]
    UnknownUser,
    /// The user may not sign in.
    #[error("the user is disabled")]
    Disabled,
    /// The user has no authenticator app.
    #[error("the user has no authenticator app")]
    NoAuthenticator,
    /// The code is not good.
    #[error(transparent)]
    Code(#[from] TotpError),
    /// Not one of the user's recovery codes, or a used one.
    #[error("no unused recovery code of the user")]
    NoSuchRecoveryCode,
    /// Another sign-in spent the code in the same moment.
    #[error("code was used by another sign-in")]
    Raced,
}

impl From<&SignInError> for Reason {
    fn from(error: &SignInError) -> Self {
        let word = match error {
            SignInError::NotAName | SignInError::UnknownUser => "unknown_user",
            SignInError::Disabled => "disabled",
            SignInError::NoAuthenticator => "not_enrolled",
            SignInError::NoSuchRecoveryCode => "bad_code",
            SignInError::Code(TotpError::NotACode | TotpError::NoMatch) => "bad_code",
            SignInError::Code(TotpError::Reused { .. }) | SignInError::Raced => "code_reused",
        };
        Self::new(word, error)
    }
}

impl Gate {
    pub(super) fn sign_in_page(&self, visit: &Visit<'_>) -> Reply {
        if visit.session.as_ref().is_some_and(|s| s.alive(self.sessions.limits(), visit.now).is_ok()) {
            return Reply::see_other(&next::after_sign_in(visit.head.uri.query()));
        }
        let notice = visit.session.as_ref().map(|_| pages::SignInNotice::SessionEnded);
        self.sign_in_form(visit, StatusCode::OK, "", notice)
    }

    fn sign_in_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        user: &str,
        notice: Option<pages::SignInNotice>,
    ) -> Reply {
        let page = pages::SignIn {
            user,
            password: self.settings.auth.password,
            passkeys: self.relying_party.is_some(),
            notice,
            failures: 0,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    pub(super) async fn sign_in(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let typed = form.get("user");
        match self.sign_in_by_code(visit, typed, form.get("code")).await? {
            Ok(reply) => Ok(reply),
            Err(error) => {
                let event =
                    Event::new(Action::SignIn, Outcome::Failure).from(visit.client.ip()).by(Method::Totp);
                let event = match typed.parse::<UserName>() {
                    Ok(name) => event.of(&name),
                    Err(_) => event.of_typed(typed),
                };
                self.audit.record(&event.because(&error));
                let notice = Some(pages::SignInNotice::NoMatch);
                Ok(self.sign_in_form(visit, StatusCode::FORBIDDEN, typed, notice))
            }
        }
    }

    async fn sign_in_by_code(
        &self,
        visit: &Visit<'_>,
        typed: &str,
        code: &str,
    ) -> Result<Result<Reply, SignInError>, StoreError> {
        let known = match typed.parse::<UserName>() {
            Err(_) => Err(SignInError::NotAName),
            Ok(name) => self.store.call(move |store| candidates(store, &name)).await?,
        };
        let (user, authenticators) = match known {
            Ok(known) => known,
            Err(error) => {
                // An unknown name costs what a known one does.
                let _ = totp::verify(&totp::Secret::random(), code, visit.now, TimeStep(0));
                return Ok(Err(error));
            }
        };
        let (factor, step) = match self.matching(&authenticators, code, visit.now) {
            Ok(matching) => matching,
            Err(error) => return Ok(Err(error)),
        };
        let secret = SessionSecret::random();
        let session = self.new_session(visit, &user, Method::Totp, &secret);
        let next = next::after_sign_in(visit.head.uri.query());
        let stored = session.clone();
        match self.store.call(move |store| store.sign_in_by_step(&factor, step, &stored)).await? {
            Spent::First => Ok(Ok(self.open_session(visit, &session, user, &secret, &next))),
            Spent::Before => Ok(Err(SignInError::Raced)),
        }
    }

    /// The authenticator app that a code belongs to, and the step it stands for.
    fn matching(
        &self,
        authenticators: &[Authenticator],
        code: &str,
        now: Timestamp,
    ) -> Result<(crate::account::FactorId, TimeStep), SignInError> {
        let key = self.factor_key();
        let mut refused = SignInError::NoAuthenticator;
        for authenticator in authenticators {
            let secret = key
                .open(authenticator.id.0.as_bytes(), &authenticator.sealed_secret)
                .and_then(|bytes| totp::Secret::from_bytes(&bytes));
            let Some(secret) = secret else {
                tracing::error!(
                    factor.id = authenticator.id.0,
                    "the secret of an authenticator app does not open: another master key sealed it"
                );
                continue;
            };
            match totp::verify(&secret, code, now, authenticator.last_step) {
                Ok(step) => return Ok((authenticator.id.clone(), step)),
                Err(error @ TotpError::Reused { .. }) => refused = error.into(),
                Err(error) if refused == SignInError::NoAuthenticator => refused = error.into(),
                Err(_) => {}
            }
        }
        Err(refused)
    }

    pub(super) fn new_session(
        &self,
        visit: &Visit<'_>,
        user: &User,
        method: Method,
        secret: &SessionSecret,
    ) -> Session {
        let user_agent = visit.head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Session {
            id: secret.id(),
            user: user.id,
            method,
            scope: Scope::Full,
            created_at: visit.now,
            expires_at: visit.now.plus(self.sessions.limits().lifetime),
            last_active_at: visit.now,
            client: visit.client.ip(),
            user_agent: user_agent.unwrap_or("").chars().take(USER_AGENT).collect(),
            ended: None,
        }
    }

    /// The session is in the store: hands it to the browser, which goes on to `next`, a path of ours.
    pub(super) fn open_session(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        user: User,
        secret: &SessionSecret,
        next: &str,
    ) -> Reply {
        match self.session_cookie(visit, session, user, secret) {
            Some(cookie) => Reply::see_other(next).with_cookie(cookie),
            None => self.portal.internal(visit.head, visit.now),
        }
    }

    /// The session is in the store: it is alive here from now on, and this is its cookie.
    pub(super) fn session_cookie(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        user: User,
        secret: &SessionSecret,
    ) -> Option<HeaderValue> {
        self.audit.record(
            &Event::new(Action::SignIn, Outcome::Success)
                .from(visit.client.ip())
                .of(&user.name)
                .by(session.method)
                .in_session(session.id),
        );
        self.sessions.insert(session, user);
        self.cookie_keys.sign(secret).as_deref().and_then(cookie::set_session)
    }

    pub(super) async fn sign_out(&self, visit: &Visit<'_>) -> Answer {
        if let Some(session) = &visit.session {
            let (id, now) = (session.id, visit.now);
            self.store
                .call(move |store| store.end_sessions(&Sessions::One(id), EndReason::SignOut, now))
                .await?;
            // On disk first; then here, without waiting for the follower.
            self.sessions.end(id, EndReason::SignOut);
            self.audit.record(
                &Event::new(Action::SignOut, Outcome::Success)
                    .from(visit.client.ip())
                    .of(&Arc::clone(session).user().name)
                    .in_session(id),
            );
        }
        let page = pages::SignedOut;
        let reply = self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look));
        Ok(match cookie::clear_session() {
            Some(cookie) => reply.with_cookie(cookie),
            None => reply,
        })
    }
}

/// Who has this name, and by what they may sign in.
fn candidates(
    store: &mut dyn crate::store::Store,
    name: &UserName,
) -> Result<Result<(User, Vec<Authenticator>), SignInError>, StoreError> {
    let Some(user) = store.user_by_name(name)? else { return Ok(Err(SignInError::UnknownUser)) };
    if user.disabled_at.is_some() {
        return Ok(Err(SignInError::Disabled));
    }
    let authenticators = store.authenticators(user.id)?;
    Ok(Ok((user, authenticators)))
}
