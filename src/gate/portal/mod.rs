//! The gate's own pages, under `/_gate/`.
//!
//! [`Gate::answer`] leads a visit to its handler; the handlers are in `sign_in`, `second_factor`, `recover`,
//! `enrol`, `enrolled`, `passkey`, `methods`, `codes` and `admin`, each a thin shell around a ceremony. [`Portal`] makes
//! the replies that need no ceremony: refusals, faults, the redirect to the sign-in page.

mod admin;
mod alarm;
pub mod assets;
mod clock_doctor;
mod codes;
mod default_name;
mod demands;
pub mod device;
mod diagnostics;
mod enrol;
mod enrol_state;
mod enrolled;
mod form;
pub mod look;
mod methods;
mod next;
pub mod pages;
mod passkey;
mod proof;
mod recover;
mod recovery_proof;
mod second_factor;
mod sessions;
pub(super) mod sign_in;
pub mod words;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request};
use http_body::Body;
use serde_json::json;

use super::{Gate, api_token, live::LiveSession, policy, target::Route};
use crate::{
    accept::ClientAddr,
    account::Role,
    audit,
    connection::{
        body::{self, BodyError},
        cookies,
        head::{HeadRefusal, MAX_FIELD_BYTES, MAX_TARGET},
        reply::Reply,
    },
    names,
    store::StoreError,
    time::Timestamp,
};
use form::Form;
use look::{Look, Theme};
use pages::{Fingerprints, Refusal, RefusalPage};
use words::Language;

/// How long administrators are told that somebody's account was in strange hands.
const REPORTS_SHOWN: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the pages say and look like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whom to ask for help: shown on refusals.
    pub contact: String,
    /// Whether somebody whose address is refused is not told that address.
    pub hide_ip: bool,
    /// One language for everybody; `None` follows the visitor.
    pub language: Option<Language>,
    /// One theme for everybody; `None` follows the visitor.
    pub theme: Option<Theme>,
}

/// A visit to one of the gate's pages.
pub(super) struct Visit<'a> {
    /// Which page.
    pub route: Route,
    /// From where.
    pub client: ClientAddr,
    /// The request's head.
    pub head: &'a request::Parts,
    /// The session, if the visitor has one that is alive or lately was.
    pub session: Option<Arc<LiveSession>>,
    /// When.
    pub now: Timestamp,
}

/// Why Proxmox VE gave no answer, as far as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTrouble<'a> {
    /// Nobody listens there.
    Refused,
    /// It did not answer in time.
    Timeout,
    /// It broke the handshake or the connection.
    Broken,
    /// Its certificate is not the pinned one.
    Fingerprint {
        /// The pinned one.
        expected: &'a str,
        /// The one it shows.
        found: &'a str,
    },
    /// A body without a length that is longer than may be held.
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The request's fields are more than pveproxy takes.
    HeadTooLarge,
    /// The body stalled.
    RequestTimeout,
    /// The framing of the body is wrong, or it broke off.
    BadBody,
}

/// Makes the replies of the gate's own that need no ceremony.
#[derive(Debug)]
pub struct Portal {
    settings: Settings,
    authority: String,
    origin: String,
    ca: Option<Bytes>,
}

impl Portal {
    pub(super) fn new(settings: Settings, gate: &super::Settings, ca: Option<Bytes>) -> Self {
        let url = &gate.public_url;
        Self { settings, authority: url.authority(), origin: url.origin(), ca }
    }

    /// A person is sent to the sign-in page and comes back where they were going; who sent a form, to the
    /// page that it was on.
    pub(super) fn sign_in_first(&self, head: &request::Parts) -> Reply {
        let target = if head.method == Method::POST {
            self.page_before(head).unwrap_or("/")
        } else {
            head.uri.path_and_query().map_or("/", |target| target.as_str())
        };
        Reply::see_other(&next::sign_in_url(target))
    }

    /// The path and query of the page of this origin from which a request was sent.
    fn page_before<'a>(&self, head: &'a request::Parts) -> Option<&'a str> {
        let page = head.headers.get(header::REFERER)?.to_str().ok()?;
        page.strip_prefix(self.origin.as_str()).filter(|target| target.starts_with('/'))
    }

    /// A person with a session that may only enrol is sent to do so.
    pub(super) fn enrol_first(&self) -> Reply {
        Reply::see_other(&format!("{}enrol", names::PREFIX))
    }

    /// Policy refused a request.
    pub(super) fn refusal(&self, refusal: policy::Refusal, head: &request::Parts, now: Timestamp) -> Reply {
        let (status, page, word) = match refusal {
            policy::Refusal::LookalikePath | policy::Refusal::UnreadablePath => {
                (StatusCode::BAD_REQUEST, Refusal::BadRequest, "bad_path")
            }
            policy::Refusal::CrossSite => {
                let reply = self.refuse(StatusCode::FORBIDDEN, Refusal::CrossSite, "cross_site", head, now);
                return reply.with_phrase(names::CROSS_SITE_PHRASE);
            }
            // Browsers say where a request comes from, so this is read by somebody who writes a script.
            policy::Refusal::NoOrigin => {
                let reply = self.refuse(StatusCode::FORBIDDEN, Refusal::CrossSite, "cross_site", head, now);
                return reply.with_phrase(names::NO_ORIGIN_PHRASE);
            }
            policy::Refusal::NoSuchPage => (StatusCode::NOT_FOUND, Refusal::NotFound, "not_found"),
            policy::Refusal::WrongMethod { allowed } => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let reply = self.refuse(status, Refusal::MethodNotAllowed, "method_not_allowed", head, now);
                return reply.with_allow(allowed);
            }
        };
        self.refuse(status, page, word, head, now)
    }

    /// The head of a request was refused before the gate looked at it. Its connection is closed.
    #[must_use]
    pub fn head_refused(&self, refusal: HeadRefusal, head: &request::Parts, now: Timestamp) -> Reply {
        let (page, word) = match refusal {
            HeadRefusal::Method => (Refusal::MethodNotAllowed, "bad_request"),
            HeadRefusal::TargetLong => (Refusal::UriTooLong { limit: bytes(MAX_TARGET) }, "bad_request"),
            HeadRefusal::FieldsLarge => {
                (Refusal::HeadTooLarge { limit: Some(bytes(MAX_FIELD_BYTES)) }, "bad_request")
            }
            HeadRefusal::ForeignHost | HeadRefusal::ServerName => {
                (Refusal::WrongHost { url: &self.origin }, "wrong_host")
            }
            HeadRefusal::RequestLine
            | HeadRefusal::LeadingLine
            | HeadRefusal::LineFeed
            | HeadRefusal::CarriageReturn
            | HeadRefusal::Control
            | HeadRefusal::Folded
            | HeadRefusal::NoColon
            | HeadRefusal::NameEmpty
            | HeadRefusal::NameBlank
            | HeadRefusal::NameBytes
            | HeadRefusal::Disguised
            | HeadRefusal::Body
            | HeadRefusal::Host
            | HeadRefusal::Version
            | HeadRefusal::TargetForm
            | HeadRefusal::TargetBytes
            | HeadRefusal::NoHost
            | HeadRefusal::Twice
            | HeadRefusal::Length
            | HeadRefusal::LengthAndCoding
            | HeadRefusal::Coding
            | HeadRefusal::Upgrade
            | HeadRefusal::Expectation => (Refusal::BadRequest, "bad_request"),
        };
        self.refuse(refusal.status(), page, word, head, now).closing()
    }

    /// Nobody can be told from anybody: the store does not answer.
    pub(super) fn store_is_silent(&self, head: &request::Parts, now: Timestamp) -> Reply {
        self.refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::StoreUnreadable, "store_unreadable", head, now)
            .with(header::RETRY_AFTER, HeaderValue::from_static("10"))
    }

    /// Proxmox VE gave no answer. `upstream` is its address, and is told only to administrators, as are
    /// fingerprints.
    #[must_use]
    pub fn upstream_failed(
        &self,
        trouble: UpstreamTrouble<'_>,
        upstream: Option<&str>,
        head: &request::Parts,
        now: Timestamp,
    ) -> Reply {
        let retry = head.method == Method::GET;
        let (status, page, word) = match trouble {
            UpstreamTrouble::Refused => {
                (StatusCode::BAD_GATEWAY, Refusal::UpstreamRefused { upstream, retry }, "upstream_refused")
            }
            UpstreamTrouble::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                Refusal::UpstreamTimeout { upstream, retry },
                "upstream_timeout",
            ),
            UpstreamTrouble::Broken => {
                (StatusCode::BAD_GATEWAY, Refusal::UpstreamBrokenTls { upstream, retry }, "upstream_broken")
            }
            UpstreamTrouble::Fingerprint { expected, found } => {
                let admin = upstream.map(|_| Fingerprints { expected, found });
                (StatusCode::BAD_GATEWAY, Refusal::UpstreamFingerprint { admin }, "upstream_fingerprint")
            }
            UpstreamTrouble::BodyTooLarge { limit } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Refusal::BodyTooLarge { limit }, "body_too_large")
            }
            UpstreamTrouble::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Refusal::HeadTooLarge { limit: None },
                "request_header_fields_too_large",
            ),
            UpstreamTrouble::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, Refusal::RequestTimeout, "request_timeout")
            }
            UpstreamTrouble::BadBody => (StatusCode::BAD_REQUEST, Refusal::BadRequest, "bad_request"),
        };
        self.refuse(status, page, word, head, now)
    }

    /// A peer's request does not say whose it is. Its connection is closed.
    #[must_use]
    pub fn client_unnamed(&self, head: &request::Parts, now: Timestamp) -> Reply {
        self.refuse(StatusCode::BAD_REQUEST, Refusal::BadRequest, "forwarding_field", head, now).closing()
    }

    /// Whoever asks may not, because of where they come from. A peer's connection stays: others come
    /// through it.
    #[must_use]
    pub fn address_refused(&self, ip: IpAddr, head: &request::Parts, now: Timestamp) -> Reply {
        let address = ip.to_string();
        let address = (!self.settings.hide_ip).then_some(address.as_str());
        let refusal = Refusal::AddressNotAllowed { address };
        self.refuse(StatusCode::FORBIDDEN, refusal, "address_not_allowed", head, now)
    }

    /// What a page of ours needs to be read, if that is what is asked for.
    #[must_use]
    pub fn part_of_page(&self, head: &request::Parts) -> Option<Reply> {
        let is_read = head.method == Method::GET || head.method == Method::HEAD;
        if is_read { assets::find(head.uri.path()).map(asset_reply) } else { None }
    }

    /// Too many attempts to sign in, or requests.
    #[must_use]
    pub fn rate_limited(&self, retry_after: Duration, head: &request::Parts, now: Timestamp) -> Reply {
        // In whole seconds, and never too early.
        let seconds = retry_after.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let retry_after = Duration::from_secs(seconds);
        let refusal = Refusal::RateLimited { retry_after, until: now.plus(retry_after) };
        self.refuse(StatusCode::TOO_MANY_REQUESTS, refusal, "rate_limited", head, now)
            .with(header::RETRY_AFTER, seconds.into())
    }

    /// A fault of ours.
    #[must_use]
    pub fn internal(&self, head: &request::Parts, now: Timestamp) -> Reply {
        self.refuse(StatusCode::INTERNAL_SERVER_ERROR, Refusal::Internal, "internal", head, now)
    }

    /// A page for people, JSON for scripts; both carry a reference that the log has too.
    fn refuse(
        &self,
        status: StatusCode,
        refusal: Refusal<'_>,
        word: &str,
        head: &request::Parts,
        now: Timestamp,
    ) -> Reply {
        let reference = audit::request_id();
        tracing::debug!(
            reference,
            reason = word,
            http.request.method = %head.method,
            url.path = head.uri.path(),
            http.response.status_code = status.as_u16(),
            "request refused"
        );
        let accepts_page = head
            .headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
        // Whoever comes with an API token is a program, whatever it accepts.
        let wants_page = accepts_page && !api_token::is_claimed(&head.headers);
        if wants_page {
            let page = RefusalPage { refusal, reference: &reference };
            self.page(status, head, now, |look| page.render(look))
        } else {
            let mut value = json!({ "error": word, "reference": reference, "data": null });
            if let (Refusal::RateLimited { retry_after, .. }, Some(object)) = (refusal, value.as_object_mut())
            {
                object.insert("retry_after".to_owned(), json!(retry_after.as_secs()));
            }
            Reply::json(status, &value)
        }
    }

    /// What a visitor is spoken to in; `chosen` is what the request itself asks for.
    fn language(&self, head: &request::Parts, chosen: Option<&str>) -> Language {
        let cookie = |name| cookies::first(&head.headers, name);
        self.settings.language.unwrap_or_else(|| {
            let accept = head.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
            let chosen = chosen.or_else(|| cookie(names::LANGUAGE_COOKIE));
            Language::choose(chosen, cookie(names::PVE_LANGUAGE_COOKIE), accept)
        })
    }

    fn page(
        &self,
        status: StatusCode,
        head: &request::Parts,
        now: Timestamp,
        render: impl FnOnce(&Look<'_>) -> String,
    ) -> Reply {
        let query = Query::of(head);
        let chosen = query.language.clone();
        let language = self.language(head, chosen.as_deref());
        let pve_theme = cookies::first(&head.headers, names::PVE_THEME_COOKIE);
        let theme = self.settings.theme.unwrap_or_else(|| Theme::from_cookie(pve_theme));
        let look = Look {
            language,
            theme,
            gate_clock: now,
            host: &self.authority,
            contact: &self.settings.contact,
            query: &query.rest,
        };
        let reply = Reply::html(status, render(&look));
        match chosen.as_deref().and_then(Language::from_tag) {
            Some(language) => {
                let cookie = format!(
                    "{}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=31536000",
                    names::LANGUAGE_COOKIE,
                    language.tag()
                );
                match HeaderValue::try_from(cookie) {
                    Ok(cookie) => reply.with_cookie(cookie),
                    Err(_) => reply,
                }
            }
            None => reply,
        }
    }
}

fn asset_reply(asset: &'static assets::Asset) -> Reply {
    Reply::new(StatusCode::OK, asset.content_type, asset.bytes)
        .with(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"))
}

fn bytes(limit: usize) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// The query of a page of ours: the language that a link on it asked for, and the rest.
struct Query {
    language: Option<String>,
    rest: String,
}

impl Query {
    fn of(head: &request::Parts) -> Self {
        let mut language = None;
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes()) {
            if name == "lang" {
                language = Some(value.into_owned());
            } else {
                rest.append_pair(&name, &value);
            }
        }
        Self { language, rest: rest.finish() }
    }
}

impl Gate {
    /// Answers a visit to one of the gate's pages.
    pub(super) async fn answer<B>(&self, visit: Visit<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = if visit.head.method == Method::POST {
            match self.body(visit.head, body).await {
                Ok(body) => body,
                Err(reply) => return *reply,
            }
        } else {
            Bytes::new()
        };
        let form = if visit.head.method == Method::POST && !visit.route.is_for_script() {
            match Form::parse(&visit.head.headers, &body) {
                Ok(form) => Some(form),
                Err(error) => return self.bad_request(&visit, error.word()),
            }
        } else {
            None
        };
        let answered = match (visit.route, form) {
            (Route::Home, _) => self.home(&visit).await,
            (Route::Demanded, _) => self.demanded_page(&visit),
            (Route::SignIn, None) => Ok(self.sign_in_page(&visit)),
            (Route::SignIn, Some(form)) => self.sign_in(&visit, &form).await,
            (Route::SignOut, _) => self.sign_out(&visit).await,
            (Route::Methods, _) => self.methods_page(&visit).await,
            (Route::MethodChange, None) => self.method_change_page(&visit).await,
            (Route::MethodChange, Some(form)) => self.change_method(&visit, &form).await,
            (Route::MethodNew, None) => self.new_method_page(&visit).await,
            (Route::MethodNew, Some(form)) => self.new_method(&visit, &form).await,
            (Route::AppClock, None) => self.app_clock_page(&visit).await,
            (Route::AppClock, Some(form)) => self.look_at_app_clock(&visit, &form).await,
            (Route::MethodCodes, None) => self.new_codes_page(&visit).await,
            (Route::MethodCodes, Some(form)) => self.new_codes(&visit, &form).await,
            (Route::Sessions, _) => self.sessions_page(&visit).await,
            (Route::SessionsEnd, Some(form)) => self.end_own_sessions(&visit, &form).await,
            (Route::NotMe, None) => self.not_me_page(&visit).await,
            (Route::NotMe, Some(form)) => self.not_me(&visit, &form).await,
            (Route::Panic, None) => self.panic_page(&visit).await,
            (Route::Panic, Some(form)) => self.panic(&visit, &form).await,
            (Route::SessionsEnd, None) => Ok(self.no_such_page(&visit)),
            (Route::Admin, _) => self.admin_page(&visit).await,
            (Route::Diagnostics, _) => self.diagnostics_page(&visit).await,
            (Route::AdminUser, _) => self.admin_user_page(&visit).await,
            (Route::AdminChange, None) => self.admin_change_page(&visit).await,
            (Route::AdminChange, Some(form)) => self.admin_change(&visit, &form).await,
            (Route::AdminCsv, _) => self.users_csv(&visit).await,
            (Route::AdminJson, _) => self.users_json(&visit).await,
            (Route::Enrol, None) => self.enrol_page(&visit).await,
            (Route::Enrol, Some(form)) => self.enrol(&visit, &form).await,
            (Route::Enrolled, _) => self.enrolled_page(&visit).await,
            (Route::Recover, None) => Ok(self.recover_page(&visit)),
            (Route::Recover, Some(form)) => self.recover(&visit, &form).await,
            (Route::Asset, _) => Ok(self.asset(&visit)),
            (Route::Ca, _) => Ok(self.ca(&visit)),
            (Route::Health, _) => Ok(Reply::json(StatusCode::OK, &json!({ "status": "ok" }))),
            (Route::PasskeySignInOptions, _) => self.passkey_sign_in_options(&visit, &body).await,
            (Route::PasskeySignIn, _) => self.passkey_sign_in(&visit, &body).await,
            (Route::PasskeyCreateOptions, _) => self.passkey_create_options(&visit, &body).await,
            (Route::PasskeyCreate, _) => self.passkey_create(&visit, &body).await,
            (Route::SecurityKeySignIn, _) => self.sign_in_by_key(&visit, &body).await,
            (Route::ProofOptions, _) => self.proof_options(&visit, &body).await,
            (Route::ChangePassword, _) => Ok(Reply::found(methods::PAGE)),
            (Route::PasskeyEndpoints, _) => Ok(self.passkey_endpoints(&visit)),
            (Route::WellKnown, _) => Ok(self.no_such_page(&visit)),
        };
        answered.unwrap_or_else(|error| self.store_failed(visit.head, visit.now, &error))
    }

    async fn body<B>(&self, head: &request::Parts, body: B) -> Result<Bytes, Box<Reply>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let now = self.clock.now();
        let refuse = |status, page, word| {
            // The rest of the body is unread: where the next request begins is unknown.
            Box::new(self.portal.refuse(status, page, word, head, now).closing())
        };
        let silence = self.settings.form_silence;
        body::read(body, body::MAX_FORM, silence).await.map_err(|error| match error {
            BodyError::TooLarge(limit) => {
                let refusal = Refusal::BodyTooLarge { limit: bytes(limit) };
                refuse(StatusCode::PAYLOAD_TOO_LARGE, refusal, "body_too_large")
            }
            BodyError::Stalled(_) => refuse(StatusCode::REQUEST_TIMEOUT, Refusal::RequestTimeout, "timeout"),
            BodyError::Broken | BodyError::Refused(_) => {
                refuse(StatusCode::BAD_REQUEST, Refusal::BadRequest, "bad_request")
            }
        })
    }

    fn bad_request(&self, visit: &Visit<'_>, word: &str) -> Reply {
        self.portal.refuse(StatusCode::BAD_REQUEST, Refusal::BadRequest, word, visit.head, visit.now)
    }

    async fn home(&self, visit: &Visit<'_>) -> Answer {
        // Policy lets only a living session come here.
        let Some(session) = &visit.session else { return Ok(Reply::challenge()) };
        let user = session.user();
        let codes = if self.settings.auth.recovery {
            let id = user.id;
            Some(self.store.call(move |store| store.recovery_codes(id)).await?.left)
        } else {
            None
        };
        let down: Vec<_> = match user.role {
            Role::Admin => self.nodes.all().into_iter().filter(|node| node.down.is_some()).collect(),
            Role::User => Vec::new(),
        };
        let reports = match user.role {
            Role::Admin => {
                let since = visit.now.minus(REPORTS_SHOWN);
                self.store.call(move |store| store.reports(since)).await?
            }
            Role::User => Vec::new(),
        };
        let page = pages::Account {
            user: user.name.as_str(),
            signed_in_at: session.created_at(),
            ends_at: session.expires_at(),
            idle: session.limits().idle,
            recovery_codes: codes,
            down: &down,
            reports: &reports,
            admin: user.role == Role::Admin,
        };
        Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
    }

    fn asset(&self, visit: &Visit<'_>) -> Reply {
        match assets::find(visit.head.uri.path()) {
            None => self.no_such_page(visit),
            Some(asset) => asset_reply(asset),
        }
    }

    fn ca(&self, visit: &Visit<'_>) -> Reply {
        match &self.portal.ca {
            None => self.no_such_page(visit),
            Some(pem) => Reply::new(StatusCode::OK, "application/x-x509-ca-cert", pem.clone()).with(
                HeaderName::from_static("content-disposition"),
                HeaderValue::from_static("attachment; filename=\"pvegate-ca.crt\""),
            ),
        }
    }

    /// For password managers; what is not offered is not announced.
    fn passkey_endpoints(&self, visit: &Visit<'_>) -> Reply {
        if self.passkeys().is_none() {
            return self.no_such_page(visit);
        }
        let at = |path| format!("{}{path}", self.portal.origin);
        let endpoints = json!({ "enroll": at(methods::NEW), "manage": at(methods::PAGE) });
        Reply::json(StatusCode::OK, &endpoints)
    }

    fn no_such_page(&self, visit: &Visit<'_>) -> Reply {
        self.portal.refusal(policy::Refusal::NoSuchPage, visit.head, visit.now)
    }
}

/// What a handler gives: a reply, or the store's failure, which everybody sees as 503.
type Answer = Result<Reply, StoreError>;
