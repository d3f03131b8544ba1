//! Taking up an invitation.
//!
//! The state between the steps is sealed into the form, so that a stranger's visit writes nothing to
//! the store. Nothing is switched on before a code was verified; then one transaction spends the
//! invitation, adds the authenticator app and opens the session.

use std::time::Duration;

use http::StatusCode;
use qrcode::{EcLevel, QrCode, render::svg};

use super::{
    Answer, Form, Visit,
    enrol_state::{Progress, Proven, State},
    pages,
};
use crate::{
    account::{Authenticator, Factor, FactorId, Invitation, Method, TimeStep, User},
    audit::{Action, Event, FailedMethod, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::{
            invite::{self, InviteError, Token},
            totp,
        },
        cookie::SessionSecret,
    },
    secret,
    store::{Spent, StoreError},
    time::Timestamp,
};

/// How long a form with a sealed state is good. Within an invitation's own life it is renewed, for
/// somebody who has to install an app first.
const STATE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What other sites show beside the account in an app.
const ISSUER: &str = "Proxmox VE gate";

/// Longest name of an authenticator app, in characters.
const NAME: usize = 64;

impl Gate {
    pub(super) fn enrol_page(&self, visit: &Visit<'_>) -> Reply {
        self.enrol_start(visit, StatusCode::OK, None)
    }

    fn enrol_start(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        problem: Option<pages::InvitationProblem>,
    ) -> Reply {
        let page = pages::EnrolStart { problem };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    pub(super) async fn enrol(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        if form.has("state") {
            self.continue_enrolment(visit, form).await
        } else {
            self.begin_enrolment(visit, form.get("token")).await
        }
    }

    async fn begin_enrolment(&self, visit: &Visit<'_>, typed: &str) -> Answer {
        let token_hash = Token::from_typed(typed).hash();
        let (invitation, user) = match self.invited(token_hash, visit.now).await? {
            Ok(invited) => invited,
            Err(error) => return Ok(self.invitation_refused(visit, error)),
        };
        let secret = totp::Secret::random();
        Ok(self.totp_form(visit, StatusCode::OK, &invitation, &user, &secret, "", false))
    }

    /// The invitation and its user, if it can be taken up.
    async fn invited(
        &self,
        token_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Result<(Invitation, User), InviteError>, StoreError> {
        let found = self
            .store
            .call(move |store| {
                let invitation = store.invitation(&token_hash)?;
                let user = match &invitation {
                    Some(invitation) => store.user(invitation.user)?,
                    None => None,
                };
                Ok((invitation, user))
            })
            .await?;
        let (invitation, user) = found;
        Ok(match invite::usable(invitation.as_ref(), now) {
            Err(error) => Err(error),
            Ok(invitation) => match user {
                Some(user) if user.disabled_at.is_none() => Ok((invitation.clone(), user)),
                Some(_) | None => Err(InviteError::Unknown),
            },
        })
    }

    fn invitation_refused(&self, visit: &Visit<'_>, error: InviteError) -> Reply {
        self.audit.record(
            &Event::new(Action::InviteUse, Outcome::Failure)
                .from(visit.client.ip())
                .by(FailedMethod("invitation"))
                .because(error),
        );
        let problem = match error {
            InviteError::Unknown => pages::InvitationProblem::Unknown,
            InviteError::Used => pages::InvitationProblem::Used,
            InviteError::Replaced | InviteError::Expired => pages::InvitationProblem::Expired,
        };
        self.enrol_start(visit, StatusCode::FORBIDDEN, Some(problem))
    }

    #[expect(clippy::too_many_arguments, reason = "one form, and what it shows")]
    fn totp_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        invitation: &Invitation,
        user: &User,
        secret: &totp::Secret,
        name: &str,
        wrong_code: bool,
    ) -> Reply {
        let account = format!("{}@{}", user.name, self.settings.public_url.host());
        let otpauth = secret.to_url(&account, ISSUER);
        let progress = Progress::AddingApp { secret: secret.expose().to_vec().into() };
        let state = State::new(invitation.token_hash, user.id, visit.now, progress);
        let page = pages::EnrolTotp {
            step: pages::Step { at: 1, of: 1 },
            user: user.name.as_str(),
            account: &account,
            qr_svg: &qr(&otpauth),
            otpauth: &otpauth,
            secret: &secret.to_base32(),
            name,
            state: &state.seal(&self.ceremony_key()),
            wrong_code,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    async fn continue_enrolment(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(state) = State::open(&self.ceremony_key(), form.get("state")) else {
            return Ok(self.invitation_refused(visit, InviteError::Unknown));
        };
        let (invitation, user) = match self.invited(state.token_hash, visit.now).await? {
            Ok((invitation, user)) if user.id == state.user() => (invitation, user),
            Ok(_) => return Ok(self.invitation_refused(visit, InviteError::Unknown)),
            Err(error) => return Ok(self.invitation_refused(visit, error)),
        };
        match &state.progress {
            Progress::AddingApp { secret } => {
                let Some(secret) = totp::Secret::from_bytes(secret) else {
                    return Ok(self.invitation_refused(visit, InviteError::Unknown));
                };
                match self.proven_by_code(visit, form, &state, &invitation, &user, &secret) {
                    Ok(proven) => self.finish(visit, &invitation, user, proven).await,
                    Err(reply) => Ok(*reply),
                }
            }
            // Comes with the first step that follows a proof.
            Progress::Proven(_) => Ok(self.invitation_refused(visit, InviteError::Unknown)),
        }
    }

    /// The app's proof, or the form again.
    fn proven_by_code(
        &self,
        visit: &Visit<'_>,
        form: &Form,
        state: &State,
        invitation: &Invitation,
        user: &User,
        secret: &totp::Secret,
    ) -> Result<Proven, Box<Reply>> {
        let name: String = form.get("name").trim().chars().take(NAME).collect();
        let again = |status| Box::new(self.totp_form(visit, status, invitation, user, secret, &name, true));
        if visit.now.since(state.sealed_at()) > STATE_LIFETIME {
            return Err(again(StatusCode::OK));
        }
        match totp::verify(secret, form.get("code"), visit.now, TimeStep(0)) {
            Ok(step) => Ok(Proven::totp(secret, step, &name)),
            Err(error) => {
                self.audit.record(
                    &Event::new(Action::InviteUse, Outcome::Failure)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .by(Method::Totp)
                        .because(Reason::new("bad_code", error)),
                );
                Err(again(StatusCode::FORBIDDEN))
            }
        }
    }

    /// The one end of every enrolment: spends the invitation, switches on what was proven and opens the
    /// session.
    async fn finish(&self, visit: &Visit<'_>, invitation: &Invitation, user: User, proven: Proven) -> Answer {
        let (factor, method) = self.factor(&user, proven, visit.now);
        let session_secret = SessionSecret::random();
        let session = self.new_session(visit, &user, method, &session_secret);
        let (token_hash, stored) = (invitation.token_hash, session.clone());
        let spent = self.store.call(move |store| store.enrol(&token_hash, &factor, &stored)).await?;
        match spent {
            Spent::Before => Ok(self.invitation_refused(visit, InviteError::Used)),
            Spent::First => {
                for action in [Action::InviteUse, Action::FactorAdd] {
                    self.audit.record(
                        &Event::new(action, Outcome::Success)
                            .from(visit.client.ip())
                            .of(&user.name)
                            .by(method),
                    );
                }
                Ok(self.open_session(visit, &session, user, &session_secret))
            }
        }
    }

    /// What is kept of a proven sign-in method, and how its owner signed in by proving it.
    fn factor(&self, user: &User, proven: Proven, now: Timestamp) -> (Factor, Method) {
        match proven {
            Proven::Totp { secret: shared, step, name } => {
                let id = FactorId::of(secret::random());
                let authenticator = Authenticator {
                    sealed_secret: self.factor_key().seal(id.0.as_bytes(), &shared),
                    id,
                    user: user.id,
                    name: if name.is_empty() { "Phone".to_owned() } else { name },
                    last_step: TimeStep(step),
                    created_at: now,
                    last_used_at: Some(now),
                };
                (Factor::Authenticator(authenticator), Method::Totp)
            }
        }
    }
}

/// A QR code as SVG without style attributes. A text too long for one gives none: the key is beside it.
fn qr(text: &str) -> String {
    match QrCode::with_error_correction_level(text, EcLevel::M) {
        Ok(code) => code.render::<svg::Color<'_>>().min_dimensions(240, 240).quiet_zone(true).build(),
        Err(_) => String::new(),
    }
}

impl From<InviteError> for Reason {
    fn from(error: InviteError) -> Self {
        let word = match error {
            InviteError::Unknown => "unknown_invitation",
            InviteError::Used => "used_invitation",
            InviteError::Replaced => "replaced_invitation",
            InviteError::Expired => "expired_invitation",
        };
        Self::new(word, error)
    }
}
