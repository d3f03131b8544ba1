//! Checks on a request head (pure).
//!
//! Reject, do not repair: what two parsers may read differently is refused. The bytes of a head were read
//! strictly before (`wire`), and then by hyper; here what hyper made of them is looked at again, and what
//! they mean for the first time: our name, an upgrade, an expectation. A request that passed is a
//! [`Checked`] one, and the gate looks at no other. Sections are of RFC 9112 unless said otherwise.

use http::{HeaderMap, Method, Request, StatusCode, Version, header, request};

use super::wire::head::is_upgrade;

/// Longest target in bytes: Proxmox VE's own reach several thousand.
pub const MAX_TARGET: usize = 16 * 1024;

/// Most field lines. What pveproxy takes is less; the upstream stage counts that.
pub const MAX_FIELD_LINES: usize = 100;

/// Most bytes in field lines.
pub const MAX_FIELD_BYTES: usize = 32 * 1024;

/// Fields of which a second one is an attempt to be understood differently by somebody.
const SINGLE: [header::HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    header::EXPECT,
    header::UPGRADE,
];

/// Proof that a request's head was checked.
///
/// ```compile_fail
/// let forged = pvegate::connection::head::Checked { request: http::Request::new(()) };
/// ```
///
/// [`check`] makes one:
///
/// ```
/// let rules = pvegate::connection::head::Rules {
///     authority: "pve.lan",
///     host: "pve.lan",
///     server_name: None,
///     aliases: &[],
///     api_token: false,
/// };
/// let request = http::Request::get("/").header("host", "pve.lan").body(()).unwrap();
/// let checked = pvegate::connection::head::check(request, &rules).unwrap();
/// ```
#[derive(Debug)]
pub struct Checked<R> {
    request: R,
}

impl<R> Checked<R> {
    /// The request.
    pub fn get(&self) -> &R {
        &self.request
    }

    /// The request, and no proof any more.
    pub fn into_inner(self) -> R {
        self.request
    }
}

/// What a head is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// `host[:port]` of the public URL.
    pub authority: &'a str,
    /// Its host alone.
    pub host: &'a str,
    /// The name that the client asked for in the TLS handshake.
    pub server_name: Option<&'a str>,
    /// Other authorities, which a request with an API token may name.
    pub aliases: &'a [Alias],
    /// Whether this request comes with an API token.
    pub api_token: bool,
}

/// Another name of the gate, under which programs with an API token may ask for it.
///
/// Browsers may not: passkeys, cookies and the checks of Origin are bound to the one public URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `host[:port]`, in lower case, without the port 443: as clients write it into the Host field.
    pub authority: String,
    /// The host alone; IPv6 in brackets.
    pub host: String,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadRefusal {
    /// Not method, target and version with one space between (§3).
    #[error("a request line that is not method, target and version")]
    RequestLine,
    /// An empty line before the request line. §2.2 lets servers pass over it; no client of today sends it.
    #[error("an empty line before the request")]
    LeadingLine,
    /// A line feed without a carriage return (§2.2).
    #[error("a line that ends in a bare line feed")]
    LineFeed,
    /// A carriage return without a line feed (§2.2).
    #[error("a bare carriage return")]
    CarriageReturn,
    /// NUL or another control character (RFC 9110 §5.5).
    #[error("a control character")]
    Control,
    /// A line that begins with a blank (§5.2).
    #[error("a folded field")]
    Folded,
    /// A field line without a colon (§5).
    #[error("a field line without a colon")]
    NoColon,
    /// A colon without a name before it (§5).
    #[error("a field without a name")]
    NameEmpty,
    /// A blank in a name, or between name and colon (§5.1).
    #[error("a blank in or after a field name")]
    NameBlank,
    /// Another byte that no name has (RFC 9110 §5.1).
    #[error("a field name with bytes that do not belong there")]
    NameBytes,
    /// `Content_Length`, `Content_Type` and every other name with `_`: pveproxy reads it as `-`.
    #[error("a field name with an underscore")]
    Disguised,
    /// A body with a method that has none.
    #[error("a body with a method that has none")]
    Body,
    /// A Host that is no host and port (RFC 9110 §7.2).
    #[error("a Host that is no host and port")]
    Host,
    /// Not HTTP/1.1.
    #[error("a version of HTTP other than 1.1")]
    Version,
    /// TRACE or CONNECT.
    #[error("a method that a gateway does not offer")]
    Method,
    /// Not in origin-form (§3.2.1).
    #[error("a target that is not a path")]
    TargetForm,
    /// A byte outside visible ASCII, or a fragment.
    #[error("a target with bytes that do not belong there")]
    TargetBytes,
    /// Longer than [`MAX_TARGET`].
    #[error("a target of more than {MAX_TARGET} bytes")]
    TargetLong,
    /// No Host field (§3.2).
    #[error("no Host field")]
    NoHost,
    /// A Host that is not the public URL's.
    #[error("a Host that is not ours")]
    ForeignHost,
    /// Host and the TLS server name differ (RFC 9110 §15.5.20).
    #[error("a Host other than the name asked for in the handshake")]
    ServerName,
    /// A field that may stand once stands twice.
    #[error("a field twice that may stand once")]
    Twice,
    /// More than [`MAX_FIELD_LINES`] or [`MAX_FIELD_BYTES`].
    #[error("more or longer fields than {MAX_FIELD_LINES} lines and {MAX_FIELD_BYTES} bytes")]
    FieldsLarge,
    /// Content-Length that is not a plain number (§6.2).
    #[error("a Content-Length that is not a number")]
    Length,
    /// Content-Length together with Transfer-Encoding (§6.3).
    #[error("Content-Length together with Transfer-Encoding")]
    LengthAndCoding,
    /// A transfer coding other than exactly `chunked` (§6.1).
    #[error("a transfer coding other than chunked")]
    Coding,
    /// An upgrade that is not announced, lists several protocols, has a body, or is to HTTP/2 (RFC
    /// 9110 §7.8).
    #[error("an upgrade that cannot be one")]
    Upgrade,
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    #[error("an expectation other than 100-continue")]
    Expectation,
}

impl HeadRefusal {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method | Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::TargetLong => StatusCode::URI_TOO_LONG,
            Self::ForeignHost | Self::ServerName => StatusCode::MISDIRECTED_REQUEST,
            Self::FieldsLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::RequestLine
            | Self::LeadingLine
            | Self::LineFeed
            | Self::CarriageReturn
            | Self::Control
            | Self::Folded
            | Self::NoColon
            | Self::NameEmpty
            | Self::NameBlank
            | Self::NameBytes
            | Self::Disguised
            | Self::Body
            | Self::Host
            | Self::TargetForm
            | Self::TargetBytes
            | Self::NoHost
            | Self::Twice
            | Self::Length
            | Self::LengthAndCoding
            | Self::Upgrade => StatusCode::BAD_REQUEST,
        }
    }
}

/// A head that was refused, for whoever answers it.
#[derive(Debug)]
pub struct RefusedHead {
    /// The head.
    pub head: request::Parts,
    /// Why.
    pub refusal: HeadRefusal,
}

/// Checks a request's head.
///
/// # Errors
///
/// The head, and why it is refused. The connection must be closed after the answer: where the body
/// ends is in doubt.
pub fn check<B>(request: Request<B>, rules: &Rules<'_>) -> Result<Checked<Request<B>>, Box<RefusedHead>> {
    let (head, body) = request.into_parts();
    match examine(&head, rules) {
        Ok(()) => Ok(Checked { request: Request::from_parts(head, body) }),
        Err(refusal) => Err(Box::new(RefusedHead { head, refusal })),
    }
}

fn examine(head: &request::Parts, rules: &Rules<'_>) -> Result<(), HeadRefusal> {
    if head.version != Version::HTTP_11 {
        return Err(HeadRefusal::Version);
    }
    if matches!(head.method, Method::TRACE | Method::CONNECT) {
        return Err(HeadRefusal::Method);
    }
    target(head)?;
    sizes(&head.headers)?;
    if SINGLE.iter().any(|name| head.headers.get_all(name).iter().nth(1).is_some()) {
        return Err(HeadRefusal::Twice);
    }
    let host = head.headers.get(header::HOST).ok_or(HeadRefusal::NoHost)?;
    let is = |authority: &str| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
    let host = if is(rules.authority) {
        rules.host
    } else {
        let mut aliases = rules.aliases.iter().filter(|_| rules.api_token);
        &aliases.find(|alias| is(&alias.authority)).ok_or(HeadRefusal::ForeignHost)?.host
    };
    if rules.server_name.is_some_and(|name| name != host) {
        return Err(HeadRefusal::ServerName);
    }
    framing(&head.headers)?;
    upgrade(head)?;
    match head.headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(HeadRefusal::Expectation)
        }
        Some(_) | None => Ok(()),
    }
}

fn target(head: &request::Parts) -> Result<(), HeadRefusal> {
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        return Err(HeadRefusal::TargetForm);
    }
    let target = head.uri.path_and_query().ok_or(HeadRefusal::TargetForm)?.as_str();
    if !target.starts_with('/') {
        return Err(HeadRefusal::TargetForm);
    }
    if target.len() > MAX_TARGET {
        return Err(HeadRefusal::TargetLong);
    }
    if target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Ok(())
    } else {
        Err(HeadRefusal::TargetBytes)
    }
}

fn sizes(fields: &HeaderMap) -> Result<(), HeadRefusal> {
    // A line is `name: value` and CR LF.
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if fields.len() > MAX_FIELD_LINES || bytes > MAX_FIELD_BYTES {
        Err(HeadRefusal::FieldsLarge)
    } else {
        Ok(())
    }
}

fn framing(fields: &HeaderMap) -> Result<(), HeadRefusal> {
    match (fields.get(header::CONTENT_LENGTH), fields.get(header::TRANSFER_ENCODING)) {
        (Some(_), Some(_)) => Err(HeadRefusal::LengthAndCoding),
        (Some(length), None) => {
            let digits = length.as_bytes();
            let plain = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
            if plain { Ok(()) } else { Err(HeadRefusal::Length) }
        }
        (None, Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (None, Some(_)) => Err(HeadRefusal::Coding),
        (None, None) => Ok(()),
    }
}

fn upgrade(head: &request::Parts) -> Result<(), HeadRefusal> {
    let Some(protocol) = head.headers.get(header::UPGRADE) else { return Ok(()) };
    let announced = head
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if is_upgrade(protocol.as_bytes()) && announced && !has_body && head.method == Method::GET {
        Ok(())
    } else {
        Err(HeadRefusal::Upgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules<'_> = Rules {
        authority: "pve.lan:8443",
        host: "pve.lan",
        server_name: Some("pve.lan"),
        aliases: &[],
        api_token: false,
    };

    fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn every_ambiguous_head_is_refused_by_name() {
        let host = ("host", "pve.lan:8443");
        let up = [host, ("upgrade", "websocket"), ("connection", "Upgrade")];
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        let big = "b".repeat(MAX_FIELD_BYTES);
        #[rustfmt::skip]
        let table: &[(&str, &str, &str, &[(&str, &str)], Result<(), HeadRefusal>)] = &[
            ("plain",                   "GET",     "/",              &[host],                                             Ok(())),
            ("odd but fine path",       "GET",     "/a//%2F;x?y=/",  &[host],                                             Ok(())),
            ("odd but fine method",     "PATCH",   "/",              &[host],                                             Ok(())),
            ("host in capitals",        "GET",     "/",              &[("host", "PVE.lan:8443")],                         Ok(())),
            ("trace",                   "TRACE",   "/",              &[host],                                             Err(HeadRefusal::Method)),
            ("connect",                 "CONNECT", "pve.lan:8443",   &[host],                                             Err(HeadRefusal::Method)),
            ("absolute form",           "GET",     "https://pve.lan:8443/", &[host],                                      Err(HeadRefusal::TargetForm)),
            ("asterisk form",           "OPTIONS", "*",              &[host],                                             Err(HeadRefusal::TargetForm)),
            ("long target",             "GET",     &long,            &[host],                                             Err(HeadRefusal::TargetLong)),
            ("no host",                 "GET",     "/",              &[],                                                 Err(HeadRefusal::NoHost)),
            ("two hosts",               "GET",     "/",              &[host, host],                                       Err(HeadRefusal::Twice)),
            ("host without port",       "GET",     "/",              &[("host", "pve.lan")],                              Err(HeadRefusal::ForeignHost)),
            ("address as host",         "GET",     "/",              &[("host", "127.0.0.1:8443")],                       Err(HeadRefusal::ForeignHost)),
            ("host with user",          "GET",     "/",              &[("host", "x@pve.lan:8443")],                       Err(HeadRefusal::ForeignHost)),
            ("two authorizations",      "GET",     "/",              &[host, ("authorization", "a"), ("authorization", "b")], Err(HeadRefusal::Twice)),
            ("big fields",              "GET",     "/",              &[host, ("x", &big)],                                Err(HeadRefusal::FieldsLarge)),
            ("length",                  "POST",    "/",              &[host, ("content-length", "12")],                   Ok(())),
            ("length with a sign",      "POST",    "/",              &[host, ("content-length", "+12")],                  Err(HeadRefusal::Length)),
            ("length as a list",        "POST",    "/",              &[host, ("content-length", "12, 12")],               Err(HeadRefusal::Length)),
            ("length past reason",      "POST",    "/",              &[host, ("content-length", "1234567890123456789")],  Err(HeadRefusal::Length)),
            ("two lengths",             "POST",    "/",              &[host, ("content-length", "1"), ("content-length", "1")], Err(HeadRefusal::Twice)),
            ("chunked",                 "POST",    "/",              &[host, ("transfer-encoding", "chunked")],           Ok(())),
            ("both",                    "POST",    "/",              &[host, ("transfer-encoding", "chunked"), ("content-length", "1")], Err(HeadRefusal::LengthAndCoding)),
            ("coding list",             "POST",    "/",              &[host, ("transfer-encoding", "gzip, chunked")],     Err(HeadRefusal::Coding)),
            ("identity",                "POST",    "/",              &[host, ("transfer-encoding", "identity")],          Err(HeadRefusal::Coding)),
            ("upgrade",                 "GET",     "/",              &up,                                                 Ok(())),
            ("keep-alive, upgrade",     "GET",     "/",              &[host, up[1], ("connection", "keep-alive, Upgrade")], Ok(())),
            ("upgrade unannounced",     "GET",     "/",              &[host, up[1]],                                      Err(HeadRefusal::Upgrade)),
            ("upgrade by POST",         "POST",    "/",              &up,                                                 Err(HeadRefusal::Upgrade)),
            ("upgrade with body",       "GET",     "/",              &[up[0], up[1], up[2], ("content-length", "5")],     Err(HeadRefusal::Upgrade)),
            ("upgrade to HTTP/2",       "GET",     "/",              &[host, ("upgrade", "h2c"), up[2]],                  Err(HeadRefusal::Upgrade)),
            ("upgrade list",            "GET",     "/",              &[host, ("upgrade", "websocket, x"), up[2]],         Err(HeadRefusal::Upgrade)),
            ("expectation",             "POST",    "/",              &[host, ("expect", "100-continue")],                 Ok(())),
            ("odd expectation",         "POST",    "/",              &[host, ("expect", "tea")],                          Err(HeadRefusal::Expectation)),
        ];
        for (case, method, target, fields, expected) in table {
            let verdict =
                check(request(method, target, fields), &RULES).map(|_| ()).map_err(|refused| refused.refusal);
            assert_eq!(verdict, *expected, "{case}");
        }
    }

    #[test]
    fn an_alias_is_for_api_tokens_only_and_goes_with_its_own_name_in_the_handshake() {
        let alias = |authority: &str, host: &str| Alias { authority: authority.into(), host: host.into() };
        let aliases = [alias("10.0.0.5:8443", "10.0.0.5"), alias("pve.internal", "pve.internal")];
        let rules = |api_token, server_name| Rules { aliases: &aliases, api_token, server_name, ..RULES };
        #[rustfmt::skip]
        let table = [
            ("pve.lan:8443",      true,  Some("pve.lan"),      Ok(())),
            ("pve.internal",      true,  Some("pve.internal"), Ok(())),
            ("PVE.internal",      true,  Some("pve.internal"), Ok(())),
            ("10.0.0.5:8443",     true,  None,                 Ok(())),
            ("10.0.0.5",          true,  None,                 Err(HeadRefusal::ForeignHost)),
            ("pve.internal:8443", true,  None,                 Err(HeadRefusal::ForeignHost)),
            ("pve.internal",      false, Some("pve.internal"), Err(HeadRefusal::ForeignHost)),
            ("pve.internal",      true,  Some("pve.lan"),      Err(HeadRefusal::ServerName)),
            ("pve.lan:8443",      true,  Some("pve.internal"), Err(HeadRefusal::ServerName)),
        ];
        for (host, api_token, server_name, expected) in table {
            let request = request("GET", "/", &[("host", host)]);
            let verdict = check(request, &rules(api_token, server_name)).map(|_| ()).map_err(|it| it.refusal);
            assert_eq!(verdict, expected, "{host} {api_token} {server_name:?}");
        }
    }

    #[test]
    fn a_name_in_the_handshake_that_is_not_ours_is_misdirected_and_none_is_fine() {
        let request = || request("GET", "/", &[("host", "pve.lan:8443")]);

        let other = check(request(), &Rules { server_name: Some("evil.lan"), ..RULES });
        let none = check(request(), &Rules { server_name: None, ..RULES });

        assert_eq!(other.unwrap_err().refusal, HeadRefusal::ServerName);
        assert!(none.is_ok());
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [Version::HTTP_10, Version::HTTP_09, Version::HTTP_2] {
            let mut request = request("GET", "/", &[("host", "pve.lan:8443")]);
            *request.version_mut() = version;
            assert_eq!(check(request, &RULES).unwrap_err().refusal, HeadRefusal::Version, "{version:?}");
        }
    }
}
