//! "Is my app's clock right?": for whoever is signed in, by whatever else they have.
//!
//! A code typed here is a guess like any other: counted by source, judged and paid for. A right one is spent.
//! One of another time is accepted for nothing and made void, and then its owner is told how far the app is off.

use http::StatusCode;

use super::{
    Answer, Form, Visit, next,
    pages::{AppClock, AppClockFound},
    sign_in::{Matched, SignInError},
};
use crate::{
    account::{Method, UserId},
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::totp::{self, TotpError},
        drift::REMEMBERED,
        lockout,
    },
    store::{Spent, StoreError},
};

/// Where it is asked.
pub(super) const PAGE: &str = "/_gate/methods/clock";

impl Gate {
    /// Asks for a code, and tells what a refused one was like before.
    pub(super) async fn app_clock_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let found = self.told_drift(visit, session.user().id).await?.map(AppClockFound::Before);
        Ok(self.app_clock(visit, StatusCode::OK, found))
    }

    /// Looks at the code.
    pub(super) async fn look_at_app_clock(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(session) = visit.session.clone() else { return Ok(Reply::challenge()) };
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(*reply);
        }
        let user = session.user();
        let looked = self.look_at_code(visit, user.name.as_str(), form.get("code"), user.id).await?;
        let event = |outcome| {
            Event::new(Action::StepUp, outcome)
                .from(visit.client.ip())
                .of(&user.name)
                .by(Method::Totp)
                .in_session(session.id)
        };
        let (status, found) = match looked {
            Ok(()) => {
                self.audit.record(&event(Outcome::Success));
                (StatusCode::OK, AppClockFound::Right)
            }
            Err(error) => {
                self.audit.record(&event(Outcome::Failure).because(&error));
                match error {
                    // The app showed it a moment ago.
                    SignInError::Code(TotpError::Reused { .. }) | SignInError::Raced => {
                        (StatusCode::OK, AppClockFound::Right)
                    }
                    SignInError::Code(TotpError::NoMatch) => match self.told_drift(visit, user.id).await? {
                        Some(ahead) => (StatusCode::OK, AppClockFound::Off(ahead)),
                        None => (StatusCode::FORBIDDEN, AppClockFound::NoMatch),
                    },
                    SignInError::Lockout(_) => (StatusCode::FORBIDDEN, AppClockFound::Locked),
                    SignInError::Code(TotpError::NotACode)
                    | SignInError::NotAName
                    | SignInError::UnknownUser
                    | SignInError::Disabled
                    | SignInError::NoAuthenticator
                    | SignInError::Method
                    | SignInError::Password
                    | SignInError::NotACode
                    | SignInError::NoSuchRecoveryCode
                    | SignInError::NotAdmitted(_)
                    | SignInError::PasskeyWanted => (StatusCode::FORBIDDEN, AppClockFound::NoMatch),
                }
            }
        };
        Ok(self.app_clock(visit, status, Some(found)))
    }

    /// Where somebody goes who has just signed in by something else than a code: on to `next`, unless a code
    /// of theirs was refused lately that their app would have shown at another time.
    pub(super) fn next_or_clock(&self, visit: &Visit<'_>, user: UserId, next: String) -> String {
        match self.drifts.of(user, visit.now) {
            Some(_) => next::with(PAGE, &next),
            None => next,
        }
    }

    async fn look_at_code(
        &self,
        visit: &Visit<'_>,
        name: &str,
        code: &str,
        user: UserId,
    ) -> Result<Result<(), SignInError>, StoreError> {
        if !totp::is_code(code) {
            return Ok(Err(TotpError::NotACode.into()));
        }
        self.drifts.forget(user);
        let Matched { user, attempt, charge, factor, step } =
            match self.compare(visit, name, code, None).await? {
                Ok(matched) => matched,
                Err(error) => return Ok(Err(error)),
            };
        let (id, now) = (user.id, visit.now);
        let spent = self
            .store
            .call(move |store| {
                let spent = store.spend_step(id, &factor, step, now)?;
                if spent == Spent::First {
                    store.settle_code(id, &attempt, &|guesses| lockout::settled(guesses, charge))?;
                }
                Ok(spent)
            })
            .await?;
        Ok(match spent {
            Spent::First => Ok(()),
            Spent::Before => Err(SignInError::Raced),
        })
    }

    /// How far the app was ahead whose code was refused lately, in seconds. The step is void before this says so.
    async fn told_drift(&self, visit: &Visit<'_>, user: UserId) -> Result<Option<i64>, StoreError> {
        let Some(found) = self.drifts.of(user, visit.now) else { return Ok(None) };
        let (app, step) = (found.app, found.drift.step);
        // The step is within an hour of when it was found, and accepted for less than a minute.
        let until = found.at.plus(REMEMBERED * 2);
        self.store.call(move |store| store.void_step(user, &app, step, until)).await?;
        Ok(Some(found.drift.ahead))
    }

    fn app_clock(&self, visit: &Visit<'_>, status: StatusCode, found: Option<AppClockFound>) -> Reply {
        let next = next::after_sign_in(visit.head.uri.query());
        let page = AppClock { found, next: &next };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }
}
