//! Taking up an invitation, or setting up what the policy asks for.
//!
//! The state between the steps is sealed into the form, so that a stranger's visit writes nothing to
//! the store. Nothing is switched on before it was proven and the recovery codes were saved; then one
//! transaction spends what permitted the enrolment, adds the sign-in methods and the codes, and opens
//! the session. A security key without a PIN is no way in by itself: it comes with an authenticator app. Somebody who leaves in between starts again with the same link.

use std::time::Duration;

use http::StatusCode;
use qrcode::{EcLevel, QrCode, render::svg};
use zeroize::Zeroizing;

use super::{
    Answer, Form, Visit,
    enrol_state::{Progress, Proofs, Proven, State},
    pages::{self, MethodKind, MethodRow},
};
use crate::{
    account::{InvitationPurpose, Method, Requirement, Scope, Shown, TimeStep, User, factor_name},
    audit::{Action, Event, FailedMethod, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::{
            invite::{self, InviteError, Token},
            password::{self, PasswordError},
            recovery, totp,
        },
        demand,
    },
    store::{EnrolledBy, StoreError},
    time::Timestamp,
};

/// How long a form with a sealed state is good. Within an invitation's own life it is renewed, for
/// somebody who has to install an app first.
const STATE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How long a proof permits to add a sign-in method: time enough to install an app.
pub(super) const PERMITTED: Duration = Duration::from_secs(15 * 60);

/// What other sites show beside the account in an app.
const ISSUER: &str = "Proxmox VE gate";

/// Sign-in method, recovery codes, done.
const STEPS: u8 = 3;

/// Somebody who may enrol, and what permits it.
pub(super) struct Guest {
    pub(super) by: EnrolledBy,
    pub(super) user: User,
    /// Whether what they had was lost.
    recovering: bool,
    /// Whether they have a passkey or security key, which stays theirs.
    has_key: bool,
    /// Whether recovery codes are made for them on the way.
    saves_codes: bool,
    /// What the new method replaces.
    pub(super) replaces: Option<MethodRow>,
    /// What policy wants of them, if it is not theirs to choose.
    pub(super) wants: Option<Requirement>,
}

/// What the form of an authenticator app says again.
#[derive(Default)]
struct Again {
    name: String,
    wrong_code: bool,
    /// How far the app is ahead, in seconds, if that is why.
    app_ahead: Option<i64>,
    password: Option<PasswordError>,
}

impl Guest {
    /// Somebody of whom no more is known yet.
    const fn new(by: EnrolledBy, user: User) -> Self {
        Self { by, user, recovering: false, has_key: false, saves_codes: false, replaces: None, wants: None }
    }

    /// How many steps there are. Whoever has recovery codes that go on working is done after the first.
    const fn steps(&self) -> u8 {
        if self.saves_codes { STEPS } else { 1 }
    }

    /// Whether a method of this kind is what they came for.
    pub(super) fn may_add(&self, kind: MethodKind) -> bool {
        let serves = match (self.wants, kind) {
            (None | Some(Requirement::PasswordAndTotp), _)
            | (_, MethodKind::Passkey | MethodKind::SecurityKey) => true,
            (
                Some(Requirement::Passkey | Requirement::SecurityKey | Requirement::TwoKeys),
                MethodKind::App,
            ) => false,
        };
        serves && self.replaces.as_ref().is_none_or(|old| old.kind == kind)
    }

    fn replaced_name(&self) -> Option<&str> {
        self.replaces.as_ref().map(|old| old.name.as_str())
    }
}

impl Gate {
    pub(super) async fn enrol_page(&self, visit: &Visit<'_>) -> Answer {
        match self.enrolling_session(visit) {
            Some(by) => self.begin(visit, by).await,
            None => Ok(self.enrol_start(visit, StatusCode::OK, None)),
        }
    }

    pub(super) async fn enrol(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        if form.has("state") {
            return self.go_on(visit, form).await;
        }
        let by = match self.enrolling_session(visit) {
            Some(by) if form.get("token").is_empty() => by,
            Some(_) | None => {
                // The token is a guess until it is found; what follows it is not.
                if let Err(reply) = self.sign_in_rate(visit) {
                    return Ok(*reply);
                }
                EnrolledBy::Invitation(Token::from_typed(form.get("token")).hash())
            }
        };
        self.begin(visit, by).await
    }

    /// The visitor's session, if it may enrol and nothing else.
    fn enrolling_session(&self, visit: &Visit<'_>) -> Option<EnrolledBy> {
        let session = visit.session.as_ref()?;
        let alive = session.alive(visit.now).is_ok();
        (alive && session.scope == Scope::EnrolOnly).then_some(EnrolledBy::Session(session.id))
    }

    pub(super) async fn begin(&self, visit: &Visit<'_>, by: EnrolledBy) -> Answer {
        match self.guest(visit, by.clone()).await? {
            Ok(guest) if guest.replaces.as_ref().is_some_and(|old| old.kind == MethodKind::App) => {
                Ok(self.fresh_totp_form(visit, &guest, None))
            }
            Ok(guest) => Ok(if self.settings.auth.passkey {
                self.passkey_form(visit, &guest)
            } else {
                self.fresh_totp_form(visit, &guest, None)
            }),
            Err(error) => self.not_permitted(visit, &by, error).await,
        }
    }

    /// The first step: a passkey, or the way to an app.
    fn passkey_form(&self, visit: &Visit<'_>, guest: &Guest) -> Reply {
        let trouble = if self.relying_party.is_none() {
            Some(pages::PasskeyTrouble::BareAddress)
        } else {
            self.portal.ca.as_ref().map(|_| pages::PasskeyTrouble::OwnAuthority)
        };
        let page = pages::EnrolPasskey {
            step: pages::Step { at: 1, of: guest.steps() },
            user: guest.user.name.as_str(),
            state: &self.sealed(visit, guest, Progress::Choosing),
            passkey: guest.may_add(MethodKind::Passkey),
            beside: guest.has_key && guest.replaces.is_none(),
            totp: self.settings.auth.totp && guest.may_add(MethodKind::App),
            security_key: self.settings.auth.totp && guest.may_add(MethodKind::SecurityKey),
            replaces: guest.replaced_name(),
            wants: guest.wants,
            trouble,
        };
        self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look))
    }

    fn fresh_totp_form(&self, visit: &Visit<'_>, guest: &Guest, key: Option<Box<Proven>>) -> Reply {
        let name = guest.replaced_name().unwrap_or_default().to_owned();
        let again = Again { name, ..Again::default() };
        self.totp_form(visit, StatusCode::OK, guest, &totp::Secret::random(), &again, key)
    }

    /// Whoever may enrol by a state that came back.
    pub(super) async fn guest_of(
        &self,
        visit: &Visit<'_>,
        state: &State,
    ) -> Result<Result<Guest, InviteError>, StoreError> {
        let guest = self.guest(visit, state.by()).await?;
        Ok(guest.and_then(
            |guest| {
                if guest.user.id == state.user() { Ok(guest) } else { Err(InviteError::Unknown) }
            },
        ))
    }

    /// Whoever may enrol by this.
    async fn guest(
        &self,
        visit: &Visit<'_>,
        by: EnrolledBy,
    ) -> Result<Result<Guest, InviteError>, StoreError> {
        // A recovery code says no more here than where it signs in: what they have may be lost, or not theirs.
        let chooses = matches!(by, EnrolledBy::Proof { recovers: false, .. });
        let mut guest = match self.permitted(visit, by).await? {
            Ok(guest) => guest,
            Err(error) => return Ok(Err(error)),
        };
        let id = guest.user.id;
        let (person, codes) =
            self.store.call(move |store| Ok((store.person(id)?, store.recovery_codes(id)?))).await?;
        let Some(person) = person else { return Ok(Err(InviteError::Unknown)) };
        guest.has_key = person.means.keys() > 0 && !guest.recovering;
        guest.saves_codes = self.settings.auth.recovery && (codes.left == 0 || guest.recovering);
        if chooses {
            return Ok(Ok(guest));
        }
        let (policies, ip) = (self.sessions.policies(), visit.client.ip());
        let demands = policies.demands_on(&person, ip);
        if !demands.allowed {
            return Ok(Err(InviteError::Elsewhere));
        }
        let facts = policies.facts(&person, Shown::plain(Method::Recovery), ip, ip);
        guest.wants = demand::wanted(&demands, &facts, visit.now);
        Ok(Ok(guest))
    }

    /// Whoever may enrol by this, whatever they have and policy wants of them.
    async fn permitted(
        &self,
        visit: &Visit<'_>,
        by: EnrolledBy,
    ) -> Result<Result<Guest, InviteError>, StoreError> {
        match by {
            EnrolledBy::Invitation(token_hash) => self.invited(token_hash, visit.now).await,
            EnrolledBy::Session(_) if self.enrolling_session(visit).as_ref() == Some(&by) => {
                Ok(match &visit.session {
                    Some(session) => {
                        let user = (*session.user()).clone();
                        Ok(Guest::new(by, user))
                    }
                    None => Err(InviteError::Unknown),
                })
            }
            EnrolledBy::Session(_) => Ok(Err(InviteError::Expired)),
            EnrolledBy::Proof { session: id, ref once, replaces: ref old, recovers: _ } => {
                let Some(session) = visit.session.as_ref().filter(|session| {
                    session.id == id
                        && session.scope == Scope::Full
                        && session.alive(visit.now).is_ok()
                        && visit.now < once.expires_at
                }) else {
                    return Ok(Err(InviteError::Expired));
                };
                let replaces = match old {
                    None => None,
                    Some(old) => match self.methods(visit).await?.into_iter().find(|row| row.id == old.0) {
                        Some(row) => Some(row),
                        None => return Ok(Err(InviteError::Used)),
                    },
                };
                let user = (*session.user()).clone();
                Ok(Ok(Guest { replaces, ..Guest::new(by, user) }))
            }
        }
    }

    async fn invited(
        &self,
        token_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Result<Guest, InviteError>, StoreError> {
        let (invitation, user) = self
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
        Ok(match (invite::usable(invitation.as_ref(), now), user) {
            (Err(error), _) => Err(error),
            (Ok(invitation), Some(user)) if user.disabled_at.is_none() => Ok(Guest {
                recovering: invitation.purpose == InvitationPurpose::Recover,
                ..Guest::new(EnrolledBy::Invitation(token_hash), user)
            }),
            (Ok(_), Some(_) | None) => Err(InviteError::Unknown),
        })
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

    pub(super) fn audit_invitation(&self, visit: &Visit<'_>, error: InviteError) {
        self.audit.record(
            &Event::new(Action::InviteUse, Outcome::Failure)
                .from(visit.client.ip())
                .by(FailedMethod("invitation"))
                .because(error),
        );
    }

    /// What was to permit the enrolment does not, or does no more.
    pub(super) async fn not_permitted(
        &self,
        visit: &Visit<'_>,
        by: &EnrolledBy,
        error: InviteError,
    ) -> Answer {
        match by {
            EnrolledBy::Invitation(_) | EnrolledBy::Session(_) => Ok(self.invitation_refused(visit, error)),
            EnrolledBy::Proof { .. } => self.change_late(visit).await,
        }
    }

    fn invitation_refused(&self, visit: &Visit<'_>, error: InviteError) -> Reply {
        self.audit_invitation(visit, error);
        let problem = match error {
            InviteError::Unknown => pages::InvitationProblem::Unknown,
            InviteError::Used => pages::InvitationProblem::Used,
            InviteError::Replaced | InviteError::Expired => pages::InvitationProblem::Expired,
            InviteError::Elsewhere => pages::InvitationProblem::Elsewhere,
        };
        self.enrol_start(visit, StatusCode::FORBIDDEN, Some(problem))
    }

    pub(super) fn sealed(&self, visit: &Visit<'_>, guest: &Guest, progress: Progress) -> String {
        State::new(&guest.by, guest.user.id, visit.now, progress).seal(&self.ceremony_key())
    }

    fn totp_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        guest: &Guest,
        secret: &totp::Secret,
        again: &Again,
        key: Option<Box<Proven>>,
    ) -> Reply {
        let account = format!("{}@{}", guest.user.name, self.settings.public_url.host());
        let otpauth = secret.to_url(&account, ISSUER);
        let beside_key = key.is_some();
        let progress = Progress::AddingApp { secret: secret.expose().to_vec().into(), key };
        let page = pages::EnrolTotp {
            step: pages::Step { at: 1, of: guest.steps() },
            user: guest.user.name.as_str(),
            account: &account,
            qr_svg: &qr(&otpauth),
            otpauth: &otpauth,
            secret: &secret.to_base32(),
            name: &again.name,
            state: &self.sealed(visit, guest, progress),
            wrong_code: again.wrong_code,
            app_ahead: again.app_ahead,
            password: self.settings.auth.password,
            password_problem: again.password,
            beside_key,
            replaces: guest.replaced_name(),
            wants: guest.wants,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    async fn go_on(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(state) = State::open(&self.ceremony_key(), form.get("state")) else {
            // Not from a page of ours: an attempt like any other.
            if let Err(reply) = self.sign_in_rate(visit) {
                return Ok(*reply);
            }
            return Ok(self.invitation_refused(visit, InviteError::Unknown));
        };
        let guest = match self.guest_of(visit, &state).await? {
            Ok(guest) => guest,
            Err(error) => return self.not_permitted(visit, &state.by(), error).await,
        };
        let sealed_at = state.sealed_at();
        match state.progress {
            Progress::Choosing | Progress::Creating(_)
                if self.settings.auth.totp
                    && form.get("method") == "totp"
                    && guest.may_add(MethodKind::App) =>
            {
                Ok(self.fresh_totp_form(visit, &guest, None))
            }
            Progress::Choosing | Progress::Creating(_) => Ok(self.passkey_form(visit, &guest)),
            Progress::Proven(proven) => {
                let user = guest.user.id;
                let apps = self.store.call(move |store| store.authenticators(user)).await?;
                if !proven.needs_app(!apps.is_empty(), guest.recovering) {
                    self.after_proof(visit, guest, proven.into(), None).await
                } else if self.settings.auth.totp {
                    Ok(self.fresh_totp_form(visit, &guest, Some(Box::new(proven))))
                } else {
                    // Apps were forbidden since.
                    Ok(self.passkey_form(visit, &guest))
                }
            }
            Progress::AddingApp { secret, key } => {
                let Some(secret) = totp::Secret::from_bytes(&secret) else {
                    return Ok(self.invitation_refused(visit, InviteError::Unknown));
                };
                let proven = match self.proven_by_code(visit, form, sealed_at, &guest, &secret, key) {
                    Ok(proven) => proven,
                    Err(reply) => return Ok(*reply),
                };
                let password = if self.settings.auth.password {
                    self.passwords.hash(Zeroizing::new(form.get("password").to_owned())).await
                } else {
                    None
                };
                self.after_proof(visit, guest, proven, password).await
            }
            Progress::SavingCodes { proven, codes, password } => {
                self.codes_saved(visit, form.get("typed"), guest, proven, codes, password).await
            }
        }
    }

    /// The app's proof, beside that of the security key where there is one; or the form again.
    fn proven_by_code(
        &self,
        visit: &Visit<'_>,
        form: &Form,
        sealed_at: Timestamp,
        guest: &Guest,
        secret: &totp::Secret,
        key: Option<Box<Proven>>,
    ) -> Result<Proofs, Box<Reply>> {
        let name = factor_name(form.get("name"));
        let mut again = Again { name, ..Again::default() };
        if self.settings.auth.password {
            again.password = password::acceptable(form.get("password")).err();
        }
        let verified = totp::verify(secret, form.get("code"), visit.now, TimeStep(0));
        let status = match verified {
            Ok(step) if visit.now.since(sealed_at) <= STATE_LIFETIME && again.password.is_none() => {
                let app = Proven::totp(secret, step, &again.name);
                return Ok(match key {
                    Some(key) => Proofs { first: *key, second: Some(app) },
                    None => app.into(),
                });
            }
            Ok(_) => StatusCode::OK,
            Err(error) => {
                again.wrong_code = true;
                // Whoever has this form has the secret.
                again.app_ahead = totp::drift(secret, form.get("code"), visit.now).map(|drift| drift.ahead);
                self.audit.record(
                    &Event::new(Action::InviteUse, Outcome::Failure)
                        .from(visit.client.ip())
                        .of(&guest.user.name)
                        .by(Method::Totp)
                        .because(Reason::new("bad_code", error)),
                );
                StatusCode::FORBIDDEN
            }
        };
        Err(Box::new(self.totp_form(visit, status, guest, secret, &again, key)))
    }

    /// A way in works. Whoever has no recovery codes saves some first.
    async fn after_proof(
        &self,
        visit: &Visit<'_>,
        guest: Guest,
        proven: Proofs,
        password: Option<String>,
    ) -> Answer {
        if !guest.saves_codes {
            return self.finish(visit, guest, proven, None, password).await;
        }
        let codes = recovery::fresh().iter().map(recovery::Code::written).collect();
        Ok(self.codes_form(visit, StatusCode::OK, &guest, proven, codes, password, false))
    }

    #[expect(clippy::too_many_arguments, reason = "what is carried on, and what the form says")]
    fn codes_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        guest: &Guest,
        proven: Proofs,
        codes: Vec<String>,
        password: Option<String>,
        typed_wrong: bool,
    ) -> Reply {
        let progress = Progress::SavingCodes { proven, codes: codes.clone(), password };
        let page = pages::Codes {
            step: Some(pages::Step { at: 2, of: STEPS }),
            user: guest.user.name.as_str(),
            codes: &codes,
            made_at: visit.now,
            state: &self.sealed(visit, guest, progress),
            typed_wrong,
        };
        self.portal.page(status, visit.head, visit.now, |look| page.render(look))
    }

    /// One of the codes was typed back, which shows that they were saved.
    async fn codes_saved(
        &self,
        visit: &Visit<'_>,
        typed: &str,
        guest: Guest,
        proven: Proofs,
        codes: Vec<String>,
        password: Option<String>,
    ) -> Answer {
        match recovery::saved(&codes, typed, &self.recovery_key(), guest.user.id) {
            Some(hashes) => self.finish(visit, guest, proven, Some(hashes), password).await,
            None => {
                let status = StatusCode::FORBIDDEN;
                Ok(self.codes_form(visit, status, &guest, proven, codes, password, true))
            }
        }
    }
}

/// A QR code as SVG without style attributes. A text too long for one gives none: the key is beside it.
pub(super) fn qr(text: &str) -> String {
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
            InviteError::Elsewhere => "policy_network",
        };
        Self::new(word, error)
    }
}
