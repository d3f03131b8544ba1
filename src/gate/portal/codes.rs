//! New recovery codes for somebody who is signed in.
//!
//! The form that asks for them wants a [proof](super::proof). Then they are shown, once, and travel sealed in
//! the form that asks for one of them back. Until that comes, the old set works and nothing is written down.
//!
//! The codes of an enrolment are in `enrol`; signing in with one is in `recover`.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Answer, Form, Visit,
    enrol::PERMITTED,
    methods,
    pages::{self, MethodsNotice, NewCodesProblem},
    proof::Unproven,
};
use crate::{
    account::{Ceremony, SessionId},
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{Gate, ceremony::recovery, live::LiveSession},
    secret,
    store::Spent,
    time::Timestamp,
};

const CONTEXT: &[u8] = b"codes";

/// Codes that are shown and not confirmed yet.
#[derive(Serialize, Deserialize)]
struct State {
    /// At which session the proof was given.
    session: [u8; 32],
    /// What is spent of the proof.
    once: [u8; 32],
    expires_at: i64,
    /// As they are written.
    codes: Vec<String>,
}

impl Gate {
    /// The form that asks for new codes.
    pub(super) async fn new_codes_page(&self, visit: &Visit<'_>) -> Answer {
        if !self.settings.auth.recovery {
            return Ok(self.no_such_page(visit));
        }
        self.new_codes_form(visit, StatusCode::OK, None).await
    }

    /// Shows new codes, or puts them in place of the old ones.
    pub(super) async fn new_codes(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        if !self.settings.auth.recovery {
            return Ok(self.no_such_page(visit));
        }
        if form.has("state") {
            return self.new_codes_saved(visit, form).await;
        }
        let agreed = match self.prove(visit, form).await? {
            Ok(agreed) => agreed,
            Err(Unproven::Reply(reply)) => return Ok(*reply),
            Err(Unproven::NoMatch) => {
                let problem = Some(NewCodesProblem::NoMatch);
                return self.new_codes_form(visit, StatusCode::FORBIDDEN, problem).await;
            }
        };
        let state = State {
            session: agreed.session().0,
            once: secret::random(),
            expires_at: visit.now.plus(PERMITTED).millis(),
            codes: recovery::fresh().iter().map(recovery::Code::written).collect(),
        };
        Ok(self.shown_codes(visit, StatusCode::OK, agreed.user().name.as_str(), &state, false))
    }

    /// One of the codes was typed back, which shows that they were saved.
    async fn new_codes_saved(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let Some(state) = self.open_codes(form.get("state"), session, visit.now) else {
            return self.new_codes_form(visit, StatusCode::FORBIDDEN, Some(NewCodesProblem::Late)).await;
        };
        let user = session.user();
        let saved = recovery::saved(&state.codes, form.get("typed"), &self.recovery_key(), user.id);
        let Some(hashes) = saved else {
            return Ok(self.shown_codes(visit, StatusCode::FORBIDDEN, user.name.as_str(), &state, true));
        };
        let once = Ceremony { hash: state.once, expires_at: Timestamp::from_millis(state.expires_at) };
        let (id, user_id, now) = (session.id, user.id, visit.now);
        let spent = self
            .store
            .call(move |store| store.renew_recovery_codes(user_id, id, &once, &hashes, now))
            .await?;
        match spent {
            Spent::Before => {
                self.new_codes_form(visit, StatusCode::FORBIDDEN, Some(NewCodesProblem::Late)).await
            }
            Spent::First => {
                self.audit.record(
                    &Event::new(Action::RecoveryRenew, Outcome::Success)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .in_session(session.id),
                );
                Ok(methods::done(MethodsNotice::NewCodes))
            }
        }
    }

    async fn new_codes_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        problem: Option<NewCodesProblem>,
    ) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let user = session.user().id;
        let left = self.store.call(move |store| store.recovery_codes(user)).await?.left;
        let provable = self.provable_here(visit).await?;
        let page = pages::NewCodes { provable, left, problem };
        Ok(self.portal.page(status, visit.head, visit.now, |look| page.render(look)))
    }

    fn shown_codes(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        user: &str,
        state: &State,
        typed_wrong: bool,
    ) -> Reply {
        let json = Zeroizing::new(serde_json::to_vec(state).unwrap_or_default());
        let sealed = data_encoding::BASE64URL_NOPAD.encode(&self.ceremony_key().seal(CONTEXT, &json));
        let page = pages::Codes {
            step: None,
            user,
            codes: &state.codes,
            made_at: visit.now,
            state: &sealed,
            typed_wrong,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    /// What this session was shown, while it may come back.
    fn open_codes(&self, sealed: &str, session: &LiveSession, now: Timestamp) -> Option<State> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let json = Zeroizing::new(self.ceremony_key().open(CONTEXT, &sealed)?);
        let state: State = serde_json::from_slice(&json).ok()?;
        let mine = SessionId(state.session) == session.id;
        (mine && now < Timestamp::from_millis(state.expires_at)).then_some(state)
    }
}
