//! Signing in and out.
//!
//! A code is compared only after its attempt was counted by source (`admission::rate`), judged and paid
//! for (`gate::lockout`). An attempt that is not entitled to a comparison does as much work and gets the
//! same answer, whoever it asks for.

use std::sync::Arc;

use http::{StatusCode, header};
use zeroize::Zeroizing;

use super::{
    Answer, Form, Visit,
    demands::{self, Entered, NotAdmitted},
    next, pages,
};
use crate::{
    account::{
        Authenticator, EndReason, FactorId, Means, Method, Scope, Session, Shown, TimeStep, User, UserId,
        UserName,
    },
    admission::{
        SourcePrefix,
        rate::{SignInRate, TooMany},
    },
    audit::{Action, Event, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::totp::{self, TotpError},
        cookie::{self, DeviceSecret, SessionSecret},
        drift::Found,
        lockout::{self, Charge, Verdict},
    },
    secret::{self, Key},
    store::{Attempt, Sessions, Spent, StepSpent, StoreError, Tried},
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
    /// The gate does not offer this method.
    #[error("the policy does not offer authenticator apps")]
    Method,
    /// The password is not the user's.
    #[error("the password did not match")]
    Password,
    /// Too much was guessed already.
    #[error(transparent)]
    Lockout(#[from] lockout::Refusal),
    /// The code is not good.
    #[error(transparent)]
    Code(#[from] TotpError),
    /// Something else than a recovery code was typed.
    #[error("not a recovery code")]
    NotACode,
    /// Not one of the user's recovery codes, or a used one.
    #[error("no unused recovery code of the user")]
    NoSuchRecoveryCode,
    /// The account was reported as in strange hands: a code is not enough until its owner was here.
    #[error("the account was reported, and its passkey is wanted")]
    PasskeyWanted,
    /// The code was right, and policy wants something else.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Another sign-in spent the code in the same moment.
    #[error("code was used by another sign-in")]
    Raced,
}

impl SignInError {
    /// The event with the user's name, if somebody has it. What else is typed there is not written: it
    /// may be a password or a recovery code in the wrong field.
    pub(super) fn name(&self, event: Event, typed: &str) -> Event {
        let is_known = match self {
            Self::NotAName
            | Self::UnknownUser
            | Self::Method
            | Self::NotACode
            | Self::Code(TotpError::NotACode) => false,
            Self::Disabled
            | Self::NoAuthenticator
            | Self::Password
            | Self::Lockout(_)
            | Self::Code(TotpError::NoMatch | TotpError::Reused { .. })
            | Self::NoSuchRecoveryCode
            | Self::PasskeyWanted
            | Self::NotAdmitted(_)
            | Self::Raced => true,
        };
        match typed.parse::<UserName>() {
            Ok(name) if is_known => event.of(&name),
            Ok(_) | Err(_) => event,
        }
    }
}

impl From<&SignInError> for Reason {
    fn from(error: &SignInError) -> Self {
        let word = match error {
            SignInError::Lockout(refusal) => return (*refusal).into(),
            SignInError::NotAdmitted(refusal) => return (*refusal).into(),
            SignInError::NotAName | SignInError::UnknownUser => "unknown_user",
            SignInError::Disabled => "disabled",
            SignInError::PasskeyWanted => "passkey_wanted",
            SignInError::Method => "method_not_offered",
            SignInError::Password => "bad_password",
            SignInError::NoAuthenticator => "not_enrolled",
            SignInError::NoSuchRecoveryCode | SignInError::NotACode => "bad_code",
            SignInError::Code(TotpError::NotACode | TotpError::NoMatch) => "bad_code",
            SignInError::Code(TotpError::Reused { .. }) | SignInError::Raced => "code_reused",
        };
        Self::new(word, error)
    }
}

/// A code that was paid for and is right. Nothing is spent yet.
pub(super) struct Matched {
    pub(super) user: User,
    pub(super) attempt: Attempt,
    pub(super) charge: Charge,
    pub(super) factor: FactorId,
    pub(super) step: TimeStep,
}

impl Gate {
    pub(super) fn sign_in_page(&self, visit: &Visit<'_>) -> Reply {
        if visit.session.as_ref().is_some_and(|s| s.alive(visit.now).is_ok()) {
            return Reply::see_other(&next::after_sign_in(visit.head.uri.query()));
        }
        let notice = visit.session.as_ref().map(|session| match session.alive(visit.now) {
            Err(EndReason::Policy) => pages::SignInNotice::NotEnough,
            Ok(()) | Err(_) => pages::SignInNotice::SessionEnded,
        });
        self.sign_in_form(visit, StatusCode::OK, "", notice, 0)
    }

    fn sign_in_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        user: &str,
        notice: Option<pages::SignInNotice>,
        failures: u32,
    ) -> Reply {
        let page = pages::SignIn {
            user,
            password: self.settings.auth.password,
            codes: self.settings.auth.totp,
            recovery: self.settings.auth.recovery,
            passkeys: self.passkeys().is_some(),
            notice,
            failures,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    /// Counts an attempt to sign in, or to use a code of any kind, by its source; the reply if there
    /// were too many.
    ///
    /// Every endpoint that somebody unknown may send proofs to asks this first. Options for a passkey
    /// are no attempt: browsers ask for them on every visit.
    pub(super) fn sign_in_rate(&self, visit: &Visit<'_>) -> Result<(), Box<Reply>> {
        self.within(&self.sign_in_rate, visit)
    }

    /// Counts a question about a name by its source, likewise.
    pub(super) fn question_rate(&self, visit: &Visit<'_>) -> Result<(), Box<Reply>> {
        self.within(&self.question_rate, visit)
    }

    fn within(&self, rate: &SignInRate, visit: &Visit<'_>) -> Result<(), Box<Reply>> {
        let source = SourcePrefix::of(visit.client.ip());
        rate.attempt(source, self.admission.standing(source)).map_err(|too_many| {
            self.audit.record(
                &Event::new(Action::Refuse, Outcome::Failure)
                    .from(visit.client.ip())
                    .asked(&visit.head.method, &visit.head.uri)
                    .because(too_many),
            );
            Box::new(self.portal.rate_limited(too_many.retry_after, visit.head, visit.now))
        })
    }

    pub(super) async fn sign_in(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(*reply);
        }
        let typed = form.get("user");
        match self.sign_in_by_code(visit, form).await? {
            Ok(reply) => Ok(reply),
            Err(error) => {
                let event =
                    Event::new(Action::SignIn, Outcome::Failure).from(visit.client.ip()).by(Method::Totp);
                self.audit.record(&error.name(event, typed).because(&error));
                // Whoever reads another one than the last had the right code.
                let notice = Some(match error {
                    SignInError::PasskeyWanted => pages::SignInNotice::PasskeyWanted,
                    SignInError::NotAdmitted(NotAdmitted::Use(requirement)) => {
                        pages::SignInNotice::Demanded(requirement)
                    }
                    SignInError::NotAdmitted(NotAdmitted::Elsewhere) => pages::SignInNotice::Elsewhere,
                    SignInError::NotAName
                    | SignInError::UnknownUser
                    | SignInError::Disabled
                    | SignInError::NoAuthenticator
                    | SignInError::Method
                    | SignInError::Password
                    | SignInError::Lockout(_)
                    | SignInError::Code(_)
                    | SignInError::NotACode
                    | SignInError::NoSuchRecoveryCode
                    | SignInError::Raced => pages::SignInNotice::NoMatch,
                });
                // What the page itself counted: nothing of it is about the account.
                let failures = form.get("failures").parse::<u8>().unwrap_or(0).saturating_add(1);
                Ok(self.sign_in_form(visit, StatusCode::FORBIDDEN, typed, notice, failures.into()))
            }
        }
    }

    async fn sign_in_by_code(
        &self,
        visit: &Visit<'_>,
        form: &Form,
    ) -> Result<Result<Reply, SignInError>, StoreError> {
        let (typed, code) = (form.get("user"), form.get("code"));
        if !self.settings.auth.totp {
            return Ok(Err(SignInError::Method));
        }
        if !totp::is_code(code) {
            return Ok(Err(TotpError::NotACode.into()));
        }
        let Matched { user, attempt, charge, factor, step } =
            match self.compare(visit, typed, code, Some(form)).await? {
                Ok(matched) => matched,
                Err(error) => return Ok(Err(error)),
            };
        let secret = SessionSecret::random();
        let password = self.settings.auth.password;
        let shown = Shown { method: Method::Totp, password, device_bound: false };
        let mut session = self.new_session(visit, &user, shown, &secret);
        let next = next::after_sign_in(visit.head.uri.query());
        let app = factor.clone();
        let passkeys = self.passkeys().is_some();
        let policies = self.sessions.policies();
        let spent = self
            .store
            .call(move |store| {
                let user = session.user;
                // Judged after the security key, where one is asked for.
                let has_key = store.person(user)?.is_some_and(|person| person.means.security_keys > 0);
                let admitted = if passkeys && store.wants_passkey(user)? {
                    Err(SignInError::PasskeyWanted)
                } else if has_key {
                    Ok(Entered::default())
                } else {
                    let added = Means::default();
                    demands::admit(&policies, store, &mut session, added)?.map_err(SignInError::from)
                };
                let entered = match admitted {
                    Ok(entered) => entered,
                    // The code is spent all the same: it was seen.
                    Err(refusal) => {
                        let spent = store.spend_step(user, &app, step, session.created_at)?;
                        return Ok(Err(if spent == Spent::First { refusal } else { SignInError::Raced }));
                    }
                };
                let spent = store.sign_in_by_step(&app, step, &session)?;
                if spent != StepSpent::Before
                    && let Err(error) =
                        store.settle_code(user, &attempt, &|guesses| lockout::settled(guesses, charge))
                {
                    // The code is spent. It goes on counting as a wrong one.
                    tracing::warn!(error = %error, "counts of wrong codes could not be reset");
                }
                Ok(Ok((spent, session, entered)))
            })
            .await?;
        let (spent, session, entered) = match spent {
            Ok(spent) => spent,
            Err(error) => return Ok(Err(error)),
        };
        match spent {
            StepSpent::SignedIn => {
                let next = entered.next(next);
                Ok(Ok(self.open_session(visit, &session, user, &secret, &next).await))
            }
            StepSpent::KeyNeeded(keys) => Ok(Ok(self.ask_for_key(visit, user, factor, &keys))),
            StepSpent::Before => Ok(Err(SignInError::Raced)),
        }
    }

    /// Judges an attempt, has it paid for, and only then compares the code with the user's apps. `form` is
    /// where a password stands, for an attempt that needs one where the policy asks for it.
    ///
    /// The caller spends the step, and settles the attempt with `charge` once it has.
    pub(super) async fn compare(
        &self,
        visit: &Visit<'_>,
        typed: &str,
        code: &str,
        form: Option<&Form>,
    ) -> Result<Result<Matched, SignInError>, StoreError> {
        let attempt = Attempt {
            name: typed.parse().ok(),
            device: self.device(visit).map(|device| device.id()),
            source: SourcePrefix::of(visit.client.ip()).to_string(),
            at: visit.now,
        };
        let (asked, now) = (attempt.clone(), visit.now);
        let tried = self
            .store
            .call(move |store| {
                store.try_code(&asked, &|tried| {
                    let (_, charge) = entitled(&asked, tried, now).ok()?;
                    Some(lockout::charged(tried.guesses.clone(), charge))
                })
            })
            .await?;
        let mut entitled = entitled(&attempt, &tried, now);
        if let Some(form) = form {
            entitled = self.with_password(entitled, form).await?;
        }
        let compared = match &entitled {
            Ok(_) => tried.authenticators.as_slice(),
            // As much work as for a user with one app.
            Err(_) => std::slice::from_ref(&self.decoy),
        };
        let matching = self.matching(compared, code, now);
        // The same work for everybody whose code is refused, whoever they ask for and whyever it is.
        let elsewhere = if matching.is_err() { self.elsewhere(compared, code, now) } else { None };
        Ok(match (entitled, matching) {
            (Err(error), _) => Err(error),
            (Ok((user, _)), Err(error)) => {
                if let (Some(found), SignInError::Code(TotpError::NoMatch)) = (elsewhere, &error) {
                    self.drifts.note(user.id, found);
                }
                Err(error)
            }
            (Ok((user, charge)), Ok((factor, step))) => {
                self.drifts.forget(user.id);
                Ok(Matched { user, attempt, charge, factor, step })
            }
        })
    }

    /// Checks the password where the policy wants one: before the code, so that whoever has no password
    /// guesses at no code either. An attempt that is not entitled does the same work.
    async fn with_password(
        &self,
        entitled: Result<(User, Charge), SignInError>,
        form: &Form,
    ) -> Result<Result<(User, Charge), SignInError>, StoreError> {
        if !self.settings.auth.password {
            return Ok(entitled);
        }
        let user = entitled.as_ref().map_or(UserId(0), |(user, _)| user.id);
        let stored = self.store.call(move |store| store.password(user)).await?;
        let typed = Zeroizing::new(form.get("password").to_owned());
        let matches = self.passwords.verify(typed, stored).await;
        Ok(entitled.and_then(|entitled| if matches { Ok(entitled) } else { Err(SignInError::Password) }))
    }

    /// The device that a visit's cookie stands for. Whether it is known to an account, the store knows.
    fn device(&self, visit: &Visit<'_>) -> Option<DeviceSecret> {
        cookie::device_cookie(&visit.head.headers).and_then(|value| self.cookie_keys.verify(value)).ok()
    }

    /// The authenticator app that a code belongs to, and the step it stands for.
    fn matching(
        &self,
        authenticators: &[Authenticator],
        code: &str,
        now: Timestamp,
    ) -> Result<(FactorId, TimeStep), SignInError> {
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

    /// Which app would have shown the code at another time. Nothing is accepted by it.
    fn elsewhere(&self, authenticators: &[Authenticator], code: &str, now: Timestamp) -> Option<Found> {
        let key = self.factor_key();
        let mut found = None;
        for authenticator in authenticators {
            let secret = key
                .open(authenticator.id.0.as_bytes(), &authenticator.sealed_secret)
                .and_then(|bytes| totp::Secret::from_bytes(&bytes));
            let drift = secret.and_then(|secret| totp::drift(&secret, code, now));
            found = found.or(drift.map(|drift| Found { app: authenticator.id.clone(), drift, at: now }));
        }
        found
    }

    pub(super) fn new_session(
        &self,
        visit: &Visit<'_>,
        user: &User,
        shown: Shown,
        secret: &SessionSecret,
    ) -> Session {
        let user_agent = visit.head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Session {
            id: secret.id(),
            user: user.id,
            method: shown.method,
            password: shown.password,
            device_bound: shown.device_bound,
            scope: Scope::Full,
            created_at: visit.now,
            expires_at: visit.now.plus(self.sessions.policies().session.lifetime),
            last_active_at: visit.now,
            client: visit.client.ip(),
            user_agent: user_agent.unwrap_or("").chars().take(USER_AGENT).collect(),
            ended: None,
        }
    }

    /// The session is in the store: hands it to the browser, which is a known device of the user from
    /// here on, and goes on to `next`, a path of ours.
    pub(super) async fn open_session(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        user: User,
        secret: &SessionSecret,
        next: &str,
    ) -> Reply {
        self.hand_over(visit, session, user, secret, Reply::see_other(next)).await
    }

    /// The session is in the store: it is alive here from now on. Gives `reply` its cookie, and that of
    /// a known device.
    pub(super) async fn hand_over(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        user: User,
        secret: &SessionSecret,
        reply: Reply,
    ) -> Reply {
        self.audit.record(
            &Event::new(Action::SignIn, Outcome::Success)
                .from(visit.client.ip())
                .of(&user.name)
                .by(session.method)
                .in_session(session.id),
        );
        let id = user.id;
        match self.store.call(move |store| store.person(id)).await {
            Ok(Some(person)) => {
                self.sessions.insert(session, person, visit.now);
            }
            // Gone within this moment, and the session with them.
            Ok(None) => {}
            Err(error) => return self.store_failed(visit.head, visit.now, &error),
        }
        let Some(cookie) = self.cookie_keys.sign(secret).as_deref().and_then(cookie::set_session) else {
            return self.portal.internal(visit.head, visit.now);
        };
        let reply = reply.with_cookie(cookie);
        let device = self.device(visit).unwrap_or_else(DeviceSecret::random);
        let (user, id, method, now) = (session.user, device.id(), session.method, visit.now);
        let known = self
            .store
            .call(move |store| {
                if lockout::is_lifted_by(method) {
                    store.lift_lockout(user)?;
                }
                store.know_device(user, id, now)
            })
            .await;
        if let Err(error) = known {
            // Signed in they are. The device stays unknown, or is not renewed.
            tracing::warn!(error = %error, "a device could not be made known");
            return reply;
        }
        match self.cookie_keys.sign(&device).as_deref().and_then(cookie::set_device) {
            Some(cookie) => reply.with_cookie(cookie),
            None => reply,
        }
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

/// Whether an attempt may have its code compared, as whom, and what it pays (pure).
fn entitled(attempt: &Attempt, tried: &Tried, now: Timestamp) -> Result<(User, Charge), SignInError> {
    let user = match (&attempt.name, &tried.user) {
        (None, _) => return Err(SignInError::NotAName),
        (Some(_), None) => return Err(SignInError::UnknownUser),
        (Some(_), Some(user)) => user,
    };
    if user.disabled_at.is_some() {
        return Err(SignInError::Disabled);
    }
    if tried.authenticators.is_empty() {
        return Err(SignInError::NoAuthenticator);
    }
    let secrets = u32::try_from(tried.authenticators.len()).unwrap_or(u32::MAX);
    match lockout::judge(&tried.guesses, secrets, now) {
        Verdict::Evaluate(charge) => Ok((user.clone(), charge)),
        Verdict::Refuse(refusal) => Err(refusal.into()),
    }
}

/// An authenticator app that nobody has, for work that comes to nothing. No step is later than its
/// last one.
pub(in crate::gate) fn decoy(factor_key: &Key) -> Authenticator {
    let id = FactorId(data_encoding::HEXLOWER.encode(&secret::random::<16>()));
    Authenticator {
        sealed_secret: factor_key.seal(id.0.as_bytes(), totp::Secret::random().expose()),
        id,
        user: UserId(0),
        name: String::new(),
        last_step: TimeStep(u64::MAX),
        created_at: Timestamp::from_secs(0),
        last_used_at: None,
    }
}

impl From<TooMany> for Reason {
    fn from(too_many: TooMany) -> Self {
        Self::new("rate", too_many)
    }
}
