//! The lane of API tokens (pure): programs that come with a `PVEAPIToken` instead of a session.
//!
//! Proxmox VE asks no second factor of a token, so the gate lets one pass only by a [`Rule`] of the
//! configuration: this token with this secret, from there, to that. [`claim`] says whether a request is
//! in this lane and takes its Authorization field apart, [`judge`] is the whole of the policy. How often
//! a rule may be used, and what Proxmox VE says of its token, is for `live_rule`.
//!
//! pveproxy finds credentials by `(?:^|\s)NAME(?:=| )([^;]*)`, tickets before tokens, in cookies before
//! Authorization: one field can hold a token for us and a ticket for it. So whatever only resembles a
//! token is in this lane, the field must be one whole token and nothing else, and cookies are dropped.

mod rule;

use std::{fmt, net::IpAddr};

use http::{HeaderMap, Method, StatusCode, header};
pub use rule::{PathPattern, Rule, SecretHash, TokenId};

use crate::{audit::Reason, secret::Key, time::Timestamp};

/// What pveproxy calls it, in its own spelling; it takes no other.
const SCHEME: &str = "PVEAPIToken";

/// What a request says of an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// Its Authorization field is one whole token.
    Token(Presented<'a>),
    /// It mentions one, in a way that two parsers may read differently.
    Broken,
}

/// A token that a request came with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Its name. Well-formed, so that no secret stands there by mistake.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}=…)", self.id)
    }
}

/// Whether a request is in this lane: whatever of its Authorization fields mentions an API token, in any
/// case and at any place.
#[must_use]
pub fn is_claimed(fields: &HeaderMap) -> bool {
    fields.get_all(header::AUTHORIZATION).iter().any(|value| {
        value.as_bytes().windows(SCHEME.len()).any(|part| part.eq_ignore_ascii_case(SCHEME.as_bytes()))
    })
}

/// What a request says of an API token; `None` if nothing, and then it is not in this lane.
#[must_use]
pub fn claim(fields: &HeaderMap) -> Option<Claim<'_>> {
    if !is_claimed(fields) {
        return None;
    }
    let mut values = fields.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Some(Claim::Broken) };
    Some(presented(value.as_bytes()).map_or(Claim::Broken, Claim::Token))
}

/// Takes `PVEAPIToken=user@realm!id=secret` apart, also with a blank behind the scheme.
fn presented(value: &[u8]) -> Option<Presented<'_>> {
    let rest = std::str::from_utf8(value).ok()?.strip_prefix(SCHEME)?;
    let (id, secret) = rest.strip_prefix(['=', ' '])?.split_once('=')?;
    (TokenId::parse(id).is_ok() && is_secret(secret)).then_some(Presented { id, secret })
}

/// Whether this has the form of a token's secret: a UUID, as Proxmox VE makes them.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            0..8 | 9..13 | 14..18 | 19..23 | 24.. => byte.is_ascii_hexdigit(),
        })
}

/// What a rule is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// From where.
    pub client: IpAddr,
    /// With which method.
    pub method: &'a Method,
    /// The path as it was sent, without its query.
    pub path: &'a str,
    /// Whether it asks for a tunnel.
    pub tunnel: bool,
    /// When.
    pub now: Timestamp,
}

/// Why a request is refused that comes with an API token.
///
/// The order is that of the questions: a refusal further down means that more was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// The lane is closed.
    #[error("there is no rule for any API token")]
    NoRules,
    /// The Authorization field is not one whole token.
    #[error("an Authorization field that mentions an API token and is not exactly one")]
    Broken,
    /// No rule has this token with this secret.
    #[error("no rule has this API token with this secret")]
    Unknown,
    /// More of these refusals than one source has.
    #[error("more refused API tokens from this source than it has within a minute")]
    Attempts,
    /// The rule is not good yet.
    #[error("an API token before its rule begins")]
    NotYet,
    /// The rule is not good any more.
    #[error("an API token after its rule ended")]
    Expired,
    /// The rule is not for this source.
    #[error("an API token from a network that its rule does not have")]
    Network,
    /// A path that is the gate's, or that parsers read differently.
    #[error("a path that no rule for API tokens can be about")]
    OddPath,
    /// Signing in is for people.
    #[error("a call about passwords, tickets or second factors, which is never for an API token")]
    SignInCall,
    /// The rule is not for this method.
    #[error("a method that the rule of the API token does not have")]
    Method,
    /// The rule is not for this path.
    #[error("a path that the rule of the API token does not have")]
    Path,
    /// The rule names no tunnel here.
    #[error("a tunnel that the rule of the API token does not name")]
    Tunnel,
    /// More requests than the rule has.
    #[error("more requests than the rule of the API token has within a minute")]
    Rate,
    /// Proxmox VE refused this token too often of late.
    #[error("Proxmox VE does not accept this API token, and was asked often enough")]
    HeldBack,
}

impl Refusal {
    /// The status to answer with. Who does not prove to have a token's secret learns nothing but 401.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NoRules | Self::Broken | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::NotYet
            | Self::Expired
            | Self::Network
            | Self::OddPath
            | Self::SignInCall
            | Self::Method
            | Self::Path
            | Self::Tunnel => StatusCode::FORBIDDEN,
            Self::Attempts | Self::Rate | Self::HeldBack => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The word for programs. A closed lane, an unknown token and a wrong secret have one in common.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoRules | Self::Unknown => "api_token_refused",
            Self::Broken => "api_token_malformed",
            Self::Attempts | Self::Rate | Self::HeldBack => "rate_limited",
            Self::NotYet | Self::Expired => "api_token_out_of_date",
            Self::Network => "api_token_address",
            Self::OddPath | Self::Path => "api_token_path",
            Self::SignInCall => "api_token_sign_in",
            Self::Method => "api_token_method",
            Self::Tunnel => "api_token_tunnel",
        }
    }

    /// The reason phrase: what somebody can act on who reads only that.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::NoRules | Self::Unknown => "The gate does not accept this API token",
            Self::Broken => "Authorization must be exactly PVEAPIToken=USER@REALM!ID=SECRET",
            Self::Attempts => "Too many refused API tokens from here",
            Self::NotYet | Self::Expired => "The rule for this API token is not good at this time",
            Self::Network => "The rule for this API token does not allow this address",
            Self::OddPath | Self::Path => "The rule for this API token does not allow this path",
            Self::SignInCall => "API tokens may not sign in or change factors",
            Self::Method => "The rule for this API token does not allow this method",
            Self::Tunnel => "The rule for this API token does not name this WebSocket",
            Self::Rate => "Too many requests with this API token",
            Self::HeldBack => "Proxmox VE does not accept this API token",
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let word = match refusal {
            Refusal::NoRules => "token_no_rules",
            Refusal::Broken => "token_malformed",
            Refusal::Unknown => "token_unknown",
            Refusal::Attempts => "token_attempts",
            Refusal::NotYet => "token_not_yet",
            Refusal::Expired => "token_expired",
            Refusal::Network => "token_address",
            Refusal::OddPath => "token_odd_path",
            Refusal::SignInCall => "token_sign_in",
            Refusal::Method => "token_method",
            Refusal::Path => "token_path",
            Refusal::Tunnel => "token_tunnel",
            Refusal::Rate => "token_rate",
            Refusal::HeldBack => "token_held_back",
        };
        Self::new(word, refusal)
    }
}

/// Judges a call by those of the rules that it has proven to be under: the number of the first that
/// permits it, counted from 0.
///
/// # Errors
///
/// The refusal of the rule that came closest; [`Refusal::NoRules`] and [`Refusal::Unknown`] without one.
pub fn judge(rules: &[Rule], is_proven: impl Fn(&Rule) -> bool, call: &Call<'_>) -> Result<usize, Refusal> {
    let mut closest = if rules.is_empty() { Refusal::NoRules } else { Refusal::Unknown };
    for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| is_proven(rule)) {
        match rule.permits(call) {
            Ok(()) => return Ok(number),
            Err(refusal) => closest = closest.max(refusal),
        }
    }
    Err(closest)
}

/// What a token that was presented is compared with rules by.
#[derive(Debug)]
pub struct Proof<'a> {
    id: &'a str,
    hash: SecretHash,
}

impl<'a> Proof<'a> {
    /// Hashes what was presented, whether there is such a token or not: that costs the same.
    #[must_use]
    pub fn of(presented: &Presented<'a>, key: &Key) -> Self {
        Self { id: presented.id, hash: SecretHash::of(presented.id, presented.secret, key) }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "automation@pve!backup";
    const SECRET: &str = "0f4c8a31-5d2e-4f6b-9c7a-1b3d5e7f9a0b";

    fn key() -> Key {
        Key::from_bytes([7; 32])
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn rule(methods: &[Method], paths: &[&str]) -> Rule {
        Rule {
            token: TokenId::parse(TOKEN).unwrap(),
            secret_hash: SecretHash::of(TOKEN, SECRET, &key()),
            from: vec!["10.0.0.40/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            methods: methods.to_vec(),
            paths: paths.iter().map(|path| PathPattern::parse(path).unwrap()).collect(),
            rate: NonZeroU32::MIN,
            not_before: Some(at(1000)),
            not_after: Some(at(2000)),
        }
    }

    fn field(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn only_one_whole_token_is_one_and_whatever_resembles_one_is_in_the_lane() {
        let whole = format!("PVEAPIToken={TOKEN}={SECRET}");
        let with = |before: &str, after: &str| vec![format!("{before}{whole}{after}")];
        let table: Vec<(&str, Vec<String>, Option<bool>)> = vec![
            ("nothing", vec![], None),
            ("a ticket", vec!["PVEAuthCookie=PVE:root@pam:x::y".into()], None),
            ("something else", vec!["Bearer x".into()], None),
            ("half the name", vec!["PVEAPI".into()], None),
            ("whole", vec![whole.clone()], Some(true)),
            ("with a blank", vec![whole.replacen('=', " ", 1)], Some(true)),
            ("small letters", vec![whole.replacen("PVEAPIToken", "pveapitoken", 1)], Some(false)),
            ("no scheme behind", vec!["PVEAPIToken".into()], Some(false)),
            ("nothing behind", vec!["PVEAPIToken=".into()], Some(false)),
            ("two blanks", vec![whole.replacen('=', "  ", 1)], Some(false)),
            ("a tab", vec![whole.replacen('=', "\t", 1)], Some(false)),
            ("a colon", vec![whole.replacen('=', ":", 1)], Some(false)),
            ("a blank before", with(" ", ""), Some(false)),
            ("a blank behind", with("", " "), Some(false)),
            ("a tab behind", with("", "\t"), Some(false)),
            ("a semicolon behind", with("", ";"), Some(false)),
            ("a comma behind", with("", ","), Some(false)),
            ("a ticket behind", with("", " PVEAuthCookie=PVE:root@pam:x::y"), Some(false)),
            ("a ticket behind a semicolon", with("", "; PVEAuthCookie=PVE:root@pam:x::y"), Some(false)),
            ("a ticket before", with("PVEAuthCookie=PVE:root@pam:x::y ", ""), Some(false)),
            ("a token behind", with("", &format!(" {whole}")), Some(false)),
            ("in another scheme", with("Basic ", ""), Some(false)),
            ("quoted", with("\"", "\""), Some(false)),
            ("in two fields", vec![whole.clone(), whole.clone()], Some(false)),
            ("with another field", vec!["Bearer x".into(), whole.clone()], Some(false)),
            ("no user", vec![format!("PVEAPIToken=backup={SECRET}")], Some(false)),
            ("no name", vec![format!("PVEAPIToken=automation@pve={SECRET}")], Some(false)),
            ("no secret", vec![format!("PVEAPIToken={TOKEN}")], Some(false)),
            ("an empty secret", vec![format!("PVEAPIToken={TOKEN}=")], Some(false)),
            ("another secret before", vec![format!("PVEAPIToken={TOKEN}=x={SECRET}")], Some(false)),
            ("PBS's colon", vec![format!("PVEAPIToken={TOKEN}:{SECRET}")], Some(false)),
            ("the secret twice", with("", SECRET), Some(false)),
        ];
        for (case, values, expected) in table {
            let fields = field(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let found = claim(&fields).map(|claim| matches!(claim, Claim::Token(_)));
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn every_field_of_a_rule_holds_at_its_boundary() {
        use Refusal::{Expired, Method as WrongMethod, Network, NotYet, OddPath, Path, SignInCall, Tunnel};
        let rules = [rule(
            &[Method::GET, Method::POST],
            &[
                "/api2/json/nodes/*/vzdump",
                "/api2/json/pools/**",
                "/api2/json/nodes/*/qemu/*/mtunnelwebsocket",
            ],
        )];
        let here = "10.0.0.40";
        let dump = "/api2/json/nodes/a/vzdump";
        let tunnel = "/api2/json/nodes/a/qemu/100/mtunnelwebsocket";
        #[rustfmt::skip]
        let table = [
            // case                        from            method          path                                  tunnel  now   verdict
            ("all right",                  here,           Method::POST,   dump,                                 false,  1500, Ok(0)),
            ("the first moment",           here,           Method::POST,   dump,                                 false,  1000, Ok(0)),
            ("a moment before",            here,           Method::POST,   dump,                                 false,  999,  Err(NotYet)),
            ("the last moment",            here,           Method::POST,   dump,                                 false,  2000, Ok(0)),
            ("a moment after",             here,           Method::POST,   dump,                                 false,  2001, Err(Expired)),
            ("the next address",           "10.0.0.41",    Method::POST,   dump,                                 false,  1500, Err(Network)),
            ("the other network",          "2001:db8::9",  Method::POST,   dump,                                 false,  1500, Ok(0)),
            ("a method it lacks",          here,           Method::PUT,    dump,                                 false,  1500, Err(WrongMethod)),
            ("HEAD is not GET",            here,           Method::HEAD,   dump,                                 false,  1500, Err(WrongMethod)),
            ("a path it lacks",            here,           Method::GET,    "/api2/json/nodes/a/status",          false,  1500, Err(Path)),
            ("a segment more",             here,           Method::GET,    "/api2/json/nodes/a/vzdump/x",        false,  1500, Err(Path)),
            ("a segment less",             here,           Method::GET,    "/api2/json/nodes/vzdump",            false,  1500, Err(Path)),
            ("another format",             here,           Method::GET,    "/api2/extjs/nodes/a/vzdump",         false,  1500, Err(Path)),
            ("another case",               here,           Method::GET,    "/API2/json/nodes/a/vzdump",          false,  1500, Err(Path)),
            ("doubled slashes",            here,           Method::GET,    "/api2//json/nodes///a/vzdump/",      false,  1500, Ok(0)),
            ("an authority to pveproxy",   here,           Method::GET,    "//x/api2/json/nodes/a/vzdump",       false,  1500, Ok(0)),
            ("another authority",          here,           Method::GET,    "//api2/json/nodes/a/vzdump",         false,  1500, Err(Path)),
            ("no format",                  here,           Method::GET,    "/api2",                              false,  1500, Err(OddPath)),
            ("a format nobody knows",      here,           Method::GET,    "/api2/xml/nodes/a/vzdump",           false,  1500, Err(OddPath)),
            ("escapes",                    here,           Method::GET,    "/api2/json/%6eodes/a/vzdump",        false,  1500, Ok(0)),
            ("an escaped slash is one",    here,           Method::GET,    "/api2/json/nodes/a%2Fb/vzdump",      false,  1500, Err(Path)),
            ("dots",                       here,           Method::GET,    "/api2/json/pools/../nodes/a/status", false,  1500, Err(OddPath)),
            ("escaped dots",               here,           Method::GET,    "/api2/json/pools/%2e%2E/x",          false,  1500, Err(OddPath)),
            ("one dot",                    here,           Method::GET,    "/api2/json/pools/./x",               false,  1500, Err(OddPath)),
            ("escaped twice",              here,           Method::GET,    "/api2/json/pools/a%252fb",           false,  1500, Err(OddPath)),
            ("a backslash",                here,           Method::GET,    "/api2/json/pools/a%5Cb",             false,  1500, Err(OddPath)),
            ("NUL",                        here,           Method::GET,    "/api2/json/pools/a%00",              false,  1500, Err(OddPath)),
            ("a line feed",                here,           Method::GET,    "/api2/json/pools/a%0a",              false,  1500, Err(OddPath)),
            ("no UTF-8",                   here,           Method::GET,    "/api2/json/pools/%ff",               false,  1500, Err(OddPath)),
            ("a hidden question mark",     here,           Method::GET,    "/api2/json/pools/a%3Fb",             false,  1500, Err(OddPath)),
            ("the rest",                   here,           Method::GET,    "/api2/json/pools/a/b/c",             false,  1500, Ok(0)),
            ("no rest",                    here,           Method::GET,    "/api2/json/pools",                   false,  1500, Err(Path)),
            ("the gate's own",             here,           Method::GET,    "/_gate/",                            false,  1500, Err(OddPath)),
            ("the gate's own, disguised",  here,           Method::GET,    "/%5fgate/sign-in",                   false,  1500, Err(OddPath)),
            ("signing in",                 here,           Method::POST,   "/api2/json/access/ticket",           false,  1500, Err(SignInCall)),
            ("second factors",             here,           Method::GET,    "/api2/json/access/tfa/root@pam",     false,  1500, Err(SignInCall)),
            ("a tunnel that is named",     here,           Method::GET,    tunnel,                               true,   1500, Ok(0)),
            ("a tunnel by `**`",           here,           Method::GET,    "/api2/json/pools/vncwebsocket",      true,   1500, Err(Tunnel)),
        ];
        for (case, from, method, path, tunnel, now, verdict) in table {
            let call = Call { client: from.parse().unwrap(), method: &method, path, tunnel, now: at(now) };
            assert_eq!(judge(&rules, |_| true, &call), verdict, "{case}");
        }
    }

    #[test]
    fn a_secret_is_good_for_its_own_token_only() {
        let mut other = rule(&[Method::GET], &["/**"]);
        other.token = TokenId::parse("root@pam!all").unwrap();
        let rules = [other, rule(&[Method::GET], &["/api2/json/version"])];
        let call = Call {
            client: "10.0.0.40".parse().unwrap(),
            method: &Method::GET,
            path: "/api2/json/version",
            tunnel: false,
            now: at(1500),
        };
        let wrong = "0f4c8a31-5d2e-4f6b-9c7a-1b3d5e7f9a0c";
        #[rustfmt::skip]
        let table = [
            ("right",                             TOKEN,               SECRET, Ok(1)),
            ("wrong secret",                      TOKEN,               wrong,  Err(Refusal::Unknown)),
            ("token that nobody has",             "x@pve!nobody",      SECRET, Err(Refusal::Unknown)),
            ("hash that was copied under another", "root@pam!all",     SECRET, Err(Refusal::Unknown)),
            ("name in capitals",                  "AUTOMATION@pve!backup", SECRET, Err(Refusal::Unknown)),
        ];
        for (case, id, secret, verdict) in table {
            let proof = Proof::of(&Presented { id, secret }, &key());
            assert_eq!(judge(&rules, |rule| rule.is_of(&proof), &call), verdict, "{case}");
        }
        assert_eq!(judge(&[], |_| true, &call), Err(Refusal::NoRules));
    }

    #[test]
    fn of_several_rules_the_first_that_permits_decides_and_else_the_one_that_came_closest() {
        let mut elsewhere = rule(&[Method::GET], &["/api2/json/version"]);
        elsewhere.from = vec!["192.0.2.0/24".parse().unwrap()];
        let rules = [
            elsewhere,
            rule(&[Method::GET], &["/api2/json/version"]),
            rule(&[Method::GET, Method::POST], &["/api2/json/version"]),
        ];
        let ask = |method: &Method, path: &str| {
            let client = "10.0.0.40".parse().unwrap();
            judge(&rules, |_| true, &Call { client, method, path, tunnel: false, now: at(1500) })
        };

        assert_eq!(ask(&Method::GET, "/api2/json/version"), Ok(1));
        assert_eq!(ask(&Method::POST, "/api2/json/version"), Ok(2));
        assert_eq!(ask(&Method::POST, "/api2/json/nodes"), Err(Refusal::Path));
        assert_eq!(ask(&Method::PUT, "/api2/json/version"), Err(Refusal::Method));
    }

    #[test]
    fn a_secret_and_its_hash_do_not_show_in_debug_output() {
        let fields = field(&[&format!("PVEAPIToken={TOKEN}={SECRET}")]);
        let hash = SecretHash::of(TOKEN, SECRET, &key());

        let shown = format!("{:?} {hash:?} {:?}", claim(&fields), rule(&[], &[]));

        assert!(!shown.contains(SECRET) && !shown.contains(&hash.to_string()), "{shown}");
        assert!(shown.contains(TOKEN));
    }

    proptest! {
        #[test]
        fn no_change_of_a_good_field_passes(
            at in 0_usize..70, kind in 0_u8..4, byte in 0x20_u8..0x7f,
        ) {
            let good = format!("PVEAPIToken={TOKEN}={SECRET}");
            let mut changed = good.clone().into_bytes();
            let at = at % good.len();
            match kind {
                0 => changed[at] = byte,
                1 => changed.insert(at, byte),
                2 => { changed.remove(at); }
                _ => changed.swap(at, 0),
            }
            let rules = [rule(&[Method::GET], &["/**"])];
            let mut fields = HeaderMap::new();
            fields.insert(header::AUTHORIZATION, http::HeaderValue::from_bytes(&changed).unwrap());
            let passes = match claim(&fields) {
                Some(Claim::Token(presented)) => {
                    let proof = Proof::of(&presented, &key());
                    rules[0].is_of(&proof)
                }
                Some(Claim::Broken) | None => false,
            };
            // pveproxy takes a blank behind the scheme too.
            let same = changed == good.as_bytes() || changed == good.replacen('=', " ", 1).as_bytes();
            prop_assert_eq!(passes, same, "{:?}", String::from_utf8_lossy(&changed));
        }

        #[test]
        fn no_spelling_of_another_call_gets_by_a_rule_for_one_call(
            escaped in proptest::collection::vec(0_u8..3, 40), slashes in 1_usize..4,
            other in "(nodes/a/status|access/users|access/acl|nodes/a/vzdump/defaults|nodes)",
        ) {
            let plain = format!("/api2{}", format!("/json/{other}").replace('/', &"/".repeat(slashes)));
            let path: String = plain.chars().zip(escaped.into_iter().cycle()).enumerate()
                .map(|(i, (c, how))| match how {
                    _ if i == 0 => c.to_string(),
                    0 => c.to_string(),
                    1 => format!("%{:02x}", c as u32),
                    _ => format!("%{:02X}", c as u32),
                })
                .collect();
            let rules = [rule(&[Method::GET], &["/api2/json/nodes/*/vzdump", "/api2/json/version"])];
            let client = "10.0.0.40".parse().unwrap();
            let call = Call { client, method: &Method::GET, path: &path, tunnel: false, now: at(1500) };
            prop_assert_eq!(judge(&rules, |_| true, &call), Err(Refusal::Path), "{}", path);
        }
    }
}
