//! Somebody's own sign-in methods: what there is, and changing it.
//!
//! Every change wants a [proof](super::proof) of its own. A method is added by the steps of an enrolment
//! (`enrol`), which the proof permits as an invitation would.

use data_encoding::BASE64URL_NOPAD;
use http::StatusCode;

use super::{
    Answer, Form, Visit,
    enrol::PERMITTED,
    pages,
    pages::{MethodKind, MethodRow, MethodsNotice, Nudge, Signal, Wish},
    proof::{Agreed, Unproven},
};
use crate::{
    account::{Authenticator, Ceremony, Credential, CredentialKind, FactorId, Method, User, factor_name},
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{Gate, ceremony::webauthn::model},
    secret,
    store::{EnrolledBy, GivenUp, Renamed, StoreError},
    time::Timestamp,
};

/// Where they are shown.
pub(super) const PAGE: &str = "/_gate/methods";

/// Where a new one is permitted.
pub(super) const NEW: &str = "/_gate/methods/new";

/// A form that asks for one change, as it is shown.
struct Asked {
    wish: Wish,
    row: MethodRow,
    /// As typed before, for a form that is shown again.
    name: String,
}

impl Gate {
    /// What there is.
    pub(super) async fn methods_page(&self, visit: &Visit<'_>) -> Answer {
        let notice = query(visit, "done").and_then(|word| MethodsNotice::from_word(&word));
        self.methods_list(visit, StatusCode::OK, notice).await
    }

    /// What there is, since what permitted a change is over.
    pub(super) async fn change_late(&self, visit: &Visit<'_>) -> Answer {
        self.methods_list(visit, StatusCode::FORBIDDEN, None).await
    }

    async fn methods_list(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        notice: Option<MethodsNotice>,
    ) -> Answer {
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let user = session.user();
        let rows = self.methods(visit).await?;
        let id = user.id;
        let codes = self.store.call(move |store| store.recovery_codes(id)).await?;
        let signal = self.signal(&user, notice).await?;
        let page = pages::Methods {
            user: user.name.as_str(),
            rows: &rows,
            recovery_codes: self.settings.auth.recovery.then_some(codes.left),
            notice,
            late: status != StatusCode::OK,
            nudge: Nudge::of(&rows, self.passkeys().is_some()),
            signal: signal.as_ref(),
        };
        Ok(self.portal.page(status, visit.head, visit.now, |look| page.render(look)))
    }

    /// What the browser is told after a change; nothing where it knows no passkeys of this origin.
    async fn signal(&self, user: &User, done: Option<MethodsNotice>) -> Result<Option<Signal>, StoreError> {
        let (Some(relying_party), Some(done)) = (&self.relying_party, done) else { return Ok(None) };
        let id = user.id;
        let (handle, credentials) =
            self.store.call(move |store| Ok((store.user_handle(id)?, store.credentials(id)?))).await?;
        let Some(handle) = handle else { return Ok(None) };
        let (rp, user_id) = (relying_party.id().to_owned(), BASE64URL_NOPAD.encode(&handle.0));
        Ok(match done {
            MethodsNotice::Removed | MethodsNotice::Replaced => {
                let ids = credentials.iter().map(|key| BASE64URL_NOPAD.encode(&key.credential_id));
                let credentials = ids.collect::<Vec<_>>().join(" ");
                Some(Signal::Accepted { rp, user: user_id, credentials })
            }
            MethodsNotice::Renamed => {
                Some(Signal::Details { rp, user: user_id, name: user.name.to_string() })
            }
            MethodsNotice::Added | MethodsNotice::NewCodes => None,
        })
    }

    /// The form that asks for a change of one of them: `?do=rename&id=…`.
    pub(super) async fn method_change_page(&self, visit: &Visit<'_>) -> Answer {
        let asked = self.asked(visit, query(visit, "do"), query(visit, "id")).await?;
        match asked {
            Some(asked) => self.method_form(visit, StatusCode::OK, &asked, None).await,
            None => Ok(self.no_such_page(visit)),
        }
    }

    /// Changes one of them.
    pub(super) async fn change_method(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let wanted = |name| Some(form.get(name).to_owned());
        let Some(mut asked) = self.asked(visit, wanted("do"), wanted("id")).await? else {
            return Ok(self.no_such_page(visit));
        };
        asked.name = factor_name(form.get("name"));
        if asked.wish == Wish::Rename && asked.name.is_empty() {
            return self.method_form(visit, StatusCode::BAD_REQUEST, &asked, None).await;
        }
        let agreed = match self.prove(visit, form).await? {
            Ok(agreed) => agreed,
            Err(Unproven::Reply(reply)) => return Ok(*reply),
            Err(Unproven::NoMatch) => {
                let problem = Some(pages::ChangeProblem::NoMatch);
                return self.method_form(visit, StatusCode::FORBIDDEN, &asked, problem).await;
            }
        };
        let (user, id) = (agreed.user().id, FactorId(asked.row.id.clone()));
        let (action, notice) = match asked.wish {
            Wish::Rename => {
                let name = asked.name.clone();
                match self.store.call(move |store| store.rename_factor(user, &id, &name)).await? {
                    Renamed::Now => (Action::FactorRename, MethodsNotice::Renamed),
                    Renamed::NoSuchMethod => return Ok(self.no_such_page(visit)),
                }
            }
            Wish::Remove => match self.store.call(move |store| store.give_up_factor(user, &id)).await? {
                GivenUp::Gone => (Action::FactorRemove, MethodsNotice::Removed),
                GivenUp::NoSuchMethod => return Ok(self.no_such_page(visit)),
                GivenUp::Last => {
                    let problem = Some(pages::ChangeProblem::Last);
                    return self.method_form(visit, StatusCode::CONFLICT, &asked, problem).await;
                }
            },
            Wish::Replace => return self.begin(visit, permitted(&agreed, visit.now, Some(id))).await,
        };
        self.audit.record(
            &Event::new(action, Outcome::Success)
                .from(visit.client.ip())
                .of(&agreed.user().name)
                .by(asked.row.kind.method())
                .in_session(agreed.session()),
        );
        Ok(done(notice))
    }

    /// The form that permits a new one.
    pub(super) async fn new_method_page(&self, visit: &Visit<'_>) -> Answer {
        self.new_method_form(visit, StatusCode::OK, false).await
    }

    /// Permits a new one: the steps of an enrolment follow.
    pub(super) async fn new_method(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let agreed = match self.prove(visit, form).await? {
            Ok(agreed) => agreed,
            Err(Unproven::Reply(reply)) => return Ok(*reply),
            Err(Unproven::NoMatch) => return self.new_method_form(visit, StatusCode::FORBIDDEN, true).await,
        };
        self.begin(visit, permitted(&agreed, visit.now, None)).await
    }

    async fn new_method_form(&self, visit: &Visit<'_>, status: StatusCode, no_match: bool) -> Answer {
        let provable = self.provable_here(visit).await?;
        let page = pages::NewMethod { provable, no_match };
        Ok(self.portal.page(status, visit.head, visit.now, |look| page.render(look)))
    }

    async fn method_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        asked: &Asked,
        problem: Option<pages::ChangeProblem>,
    ) -> Answer {
        let provable = self.provable_here(visit).await?;
        let page =
            pages::MethodChange { wish: asked.wish, row: &asked.row, name: &asked.name, provable, problem };
        Ok(self.portal.page(status, visit.head, visit.now, |look| page.render(look)))
    }

    /// What a form or link names, if it is the visitor's.
    async fn asked(
        &self,
        visit: &Visit<'_>,
        wish: Option<String>,
        id: Option<String>,
    ) -> Result<Option<Asked>, StoreError> {
        let (Some(wish), Some(id)) = (wish.and_then(|word| Wish::from_word(&word)), id) else {
            return Ok(None);
        };
        let row = self.methods(visit).await?.into_iter().find(|row| row.id == id);
        let row = row.filter(|row| wish != Wish::Replace || row.replaceable);
        Ok(row.map(|row| Asked { wish, name: row.name.clone(), row }))
    }

    /// The visitor's sign-in methods: passkeys, security keys, apps, each kind by age.
    pub(super) async fn methods(&self, visit: &Visit<'_>) -> Result<Vec<MethodRow>, StoreError> {
        let Some(session) = &visit.session else { return Ok(Vec::new()) };
        let id = session.user().id;
        let (apps, credentials) =
            self.store.call(move |store| Ok((store.authenticators(id)?, store.credentials(id)?))).await?;
        let of_kind = |kind| credentials.iter().filter(move |credential| credential.kind == kind);
        let rows = of_kind(CredentialKind::Passkey)
            .chain(of_kind(CredentialKind::SecurityKey))
            .map(MethodRow::from)
            .chain(apps.iter().map(MethodRow::from));
        let (passkeys, apps) = (self.passkeys().is_some(), self.settings.auth.totp);
        Ok(rows
            .map(|row| {
                let replaceable = match row.kind {
                    MethodKind::Passkey => passkeys,
                    MethodKind::SecurityKey => passkeys && apps,
                    MethodKind::App => apps,
                };
                MethodRow { replaceable, ..row }
            })
            .collect())
    }
}

impl From<CredentialKind> for MethodKind {
    fn from(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Passkey => Self::Passkey,
            CredentialKind::SecurityKey => Self::SecurityKey,
        }
    }
}

impl From<&Credential> for MethodRow {
    fn from(credential: &Credential) -> Self {
        Self {
            id: credential.id.0.clone(),
            kind: credential.kind.into(),
            name: credential.name.clone(),
            model: model(&credential.aaguid),
            synced: credential.synced,
            replaceable: false,
            added_at: credential.created_at,
            last_used_at: credential.last_used_at,
            last_used_from: credential.last_used_from,
        }
    }
}

impl From<&Authenticator> for MethodRow {
    fn from(app: &Authenticator) -> Self {
        Self {
            id: app.id.0.clone(),
            kind: MethodKind::App,
            name: app.name.clone(),
            model: None,
            synced: false,
            replaceable: false,
            added_at: app.created_at,
            last_used_at: app.last_used_at,
            last_used_from: None,
        }
    }
}

impl MethodKind {
    /// How its owner signs in by it.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Passkey => Method::Passkey,
            Self::SecurityKey => Method::SecurityKey,
            Self::App => Method::Totp,
        }
    }
}

/// What a proof permits to be added, in place of `replaces` or beside what there is.
fn permitted(agreed: &Agreed, now: Timestamp, replaces: Option<FactorId>) -> EnrolledBy {
    let once = Ceremony { hash: secret::random(), expires_at: now.plus(PERMITTED) };
    EnrolledBy::Proof { session: agreed.session(), once, replaces, recovers: agreed.recovers() }
}

/// Back where they are shown, with a word about what was done.
pub(super) fn done(what: MethodsNotice) -> Reply {
    Reply::see_other(&format!("{PAGE}?done={}", what.word()))
}

/// A field of the page's query.
pub(super) fn query(visit: &Visit<'_>, name: &str) -> Option<String> {
    let query = visit.head.uri.query().unwrap_or("");
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
