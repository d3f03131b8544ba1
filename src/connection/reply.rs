//! Responses of our own, and the security fields that each of them carries.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;

use crate::names;

/// A response that the gate makes itself.
#[derive(Debug)]
pub struct Reply(Response<Full<Bytes>>);

/// Pages get no more than they need: style, script, icon and calls of our own origin.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const PERMISSIONS_POLICY: &str = "publickey-credentials-get=(self), publickey-credentials-create=(self), \
     camera=(), microphone=(), geolocation=()";

/// On every response of ours. Proxmox VE's own keep their fields as they are.
#[rustfmt::skip]
const SECURITY_FIELDS: [(HeaderName, HeaderValue); 8] = [
    (header::CONTENT_SECURITY_POLICY,   HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS,    HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS,           HeaderValue::from_static("DENY")),
    // `no-referrer` would make Chromium send `Origin: null` with our own forms.
    (header::REFERRER_POLICY,           HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL,             HeaderValue::from_static("no-store")),
];

impl Reply {
    /// A page.
    #[must_use]
    pub fn html(status: StatusCode, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// A JSON value.
    #[must_use]
    pub fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", value.to_string())
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text)
    }

    /// 303 See Other: the browser asks for `location` with GET. Only ever a path of our own origin.
    #[must_use]
    pub fn see_other(location: &str) -> Self {
        Self::elsewhere(StatusCode::SEE_OTHER, location)
    }

    /// 302 Found: what was asked for is at `location`, a path of our own origin.
    #[must_use]
    pub fn found(location: &str) -> Self {
        Self::elsewhere(StatusCode::FOUND, location)
    }

    fn elsewhere(status: StatusCode, location: &str) -> Self {
        let mut reply = Self::text(status, Bytes::new());
        match HeaderValue::try_from(location) {
            Ok(location) => reply.set(header::LOCATION, location),
            Err(_) => reply.set(header::LOCATION, HeaderValue::from_static("/")),
        }
        reply
    }

    /// 401 for scripts and programs, with the phrase that Proxmox VE's interface shows to people.
    #[must_use]
    pub fn challenge() -> Self {
        let sign_in_url = format!("{}sign-in", names::PREFIX);
        let value =
            serde_json::json!({ "error": "sign_in_required", "sign_in_url": sign_in_url, "data": null });
        Self::json(StatusCode::UNAUTHORIZED, &value).with_phrase(names::SIGN_IN_PHRASE)
    }

    /// A request with an API token is refused: JSON and a phrase, whatever it accepts.
    #[must_use]
    pub fn api_token(
        status: StatusCode,
        word: &str,
        phrase: &'static str,
        retry_after: Option<Duration>,
    ) -> Self {
        // In whole seconds, and never too early.
        let seconds =
            retry_after.map(|wait| u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX));
        let mut value = serde_json::json!({ "error": word, "message": phrase, "data": null });
        if let (Some(seconds), Some(object)) = (seconds, value.as_object_mut()) {
            object.insert("retry_after".to_owned(), seconds.into());
        }
        let reply = Self::json(status, &value).with_phrase(phrase);
        match seconds {
            Some(seconds) => reply.with(header::RETRY_AFTER, seconds.into()),
            None => reply,
        }
    }

    /// Bytes of any type.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = status;
        let mut reply = Self(response);
        for (name, value) in SECURITY_FIELDS {
            reply.set(name, value);
        }
        reply.set(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// Sets a field, in place of one that is there.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.headers_mut().insert(name, value);
    }

    /// With a field set.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.set(name, value);
        self
    }

    /// With one more cookie.
    #[must_use]
    pub fn with_cookie(mut self, cookie: HeaderValue) -> Self {
        self.0.headers_mut().append(header::SET_COOKIE, cookie);
        self
    }

    /// With the methods that would be right (RFC 9110 §10.2.1).
    #[must_use]
    pub fn with_allow(self, methods: &[Method]) -> Self {
        let list = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        match HeaderValue::try_from(list) {
            Ok(list) => self.with(header::ALLOW, list),
            Err(_) => self,
        }
    }

    /// With a reason phrase in place of the canonical one: Proxmox VE's interface shows it to people.
    #[must_use]
    pub fn with_phrase(mut self, phrase: &'static str) -> Self {
        self.0.extensions_mut().insert(ReasonPhrase::from_static(phrase.as_bytes()));
        self
    }

    /// The connection is closed after it.
    #[must_use]
    pub fn closing(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response<Full<Bytes>> {
        self.0
    }
}
