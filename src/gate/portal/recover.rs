//! Signing in with a recovery code.

use http::StatusCode;

use super::{Answer, Form, Visit, demands, next, pages, sign_in::SignInError};
use crate::{
    account::{Means, Method, Role, Scope, Shown, User, UserId, UserName},
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{Gate, ceremony::recovery::Code, cookie::SessionSecret, policy},
    store::Spent,
};

impl Gate {
    pub(super) fn recover_page(&self, visit: &Visit<'_>) -> Reply {
        if !self.settings.auth.recovery {
            return self.portal.refusal(policy::Refusal::NoSuchPage, visit.head, visit.now);
        }
        self.recover_form(visit, StatusCode::OK, "", None)
    }

    fn recover_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        user: &str,
        error: Option<&SignInError>,
    ) -> Reply {
        // Whoever reads that had a right code.
        let elsewhere = matches!(error, Some(SignInError::NotAdmitted(_)));
        let page = pages::Recover { user, no_match: error.is_some() && !elsewhere, elsewhere };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    pub(super) async fn recover(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        if !self.settings.auth.recovery {
            return Ok(self.portal.refusal(policy::Refusal::NoSuchPage, visit.head, visit.now));
        }
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(*reply);
        }
        let typed = form.get("user");
        let error = match typed.parse::<UserName>() {
            Err(_) => SignInError::NotAName,
            Ok(name) => match Code::from_typed(form.get("code")) {
                None => SignInError::NotACode,
                Some(code) => match self.recover_by_code(visit, name, &code).await? {
                    Ok(reply) => return Ok(reply),
                    Err(error) => error,
                },
            },
        };
        let event =
            Event::new(Action::RecoveryUse, Outcome::Failure).from(visit.client.ip()).by(Method::Recovery);
        self.audit.record(&error.name(event, typed).because(&error));
        Ok(self.recover_form(visit, StatusCode::FORBIDDEN, typed, Some(&error)))
    }

    async fn recover_by_code(
        &self,
        visit: &Visit<'_>,
        name: UserName,
        code: &Code,
    ) -> Result<Result<Reply, SignInError>, crate::store::StoreError> {
        let asked = name.clone();
        let found = self.store.call(move |store| store.user_by_name(&asked)).await?;
        let refused = match &found {
            None => SignInError::UnknownUser,
            Some(user) if user.disabled_at.is_some() => SignInError::Disabled,
            Some(_) => SignInError::NoSuchRecoveryCode,
        };
        // An unknown name costs what a known one does: a code is looked for among nobody's.
        let user = found.unwrap_or(User {
            id: UserId(0),
            name,
            role: Role::User,
            created_at: visit.now,
            disabled_at: None,
        });
        let hash = code.hash(&self.recovery_key(), user.id);
        let secret = SessionSecret::random();
        let mut session = self.new_session(visit, &user, Shown::plain(Method::Recovery), &secret);
        let policies = self.sessions.policies();
        let spent = self.store.call(move |store| {
            // Policy is asked only about whoever has shown a right code: it writes down since when something
            // is demanded, and that is no stranger's to start.
            if !store.has_recovery_code(session.user, &hash)? {
                return Ok(Err(None));
            }
            // Where anything is demanded, a code that could be phished opens nothing but the way to enrol it.
            let entered = match demands::admit(&policies, store, &mut session, Means::default())? {
                Ok(entered) => entered,
                // The code stays for where it may be used.
                Err(refusal) => return Ok(Err(Some(refusal))),
            };
            let spent = store.sign_in_by_recovery_code(&hash, &session)?;
            Ok(Ok((spent, session, entered)))
        });
        let (spent, session, entered) = match spent.await? {
            Ok(spent) => spent,
            Err(refusal) => return Ok(Err(refusal.map_or(refused, SignInError::from))),
        };
        match spent {
            Spent::Before => Ok(Err(refused)),
            Spent::First => {
                self.audit.record(
                    &Event::new(Action::RecoveryUse, Outcome::Success)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .by(Method::Recovery),
                );
                let mut next = next::after_sign_in(visit.head.uri.query());
                if session.scope == Scope::Full {
                    next = self.next_or_clock(visit, user.id, next);
                }
                let next = entered.next(next);
                Ok(Ok(self.open_session(visit, &session, user, &secret, &next).await))
            }
        }
    }
}
