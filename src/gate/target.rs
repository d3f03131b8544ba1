//! Whose path is it: the gate's, or Proxmox VE's? (pure)
//!
//! [`Route`] lists every page and endpoint of the gate; which of them are open before sign-in stands
//! in the one `match` behind [`Route::is_open`]. No other spelling of a path under our prefix reaches a
//! page, and none reaches the upstream: a path that some parser may take for ours is refused.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::names;

/// A page or endpoint of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Who is signed in, and the way out.
    Home,
    /// What is demanded of whoever is signed in, and not there yet.
    Demanded,
    /// The sign-in page and its form.
    SignIn,
    /// Ends the session.
    SignOut,
    /// Somebody's own sign-in methods.
    Methods,
    /// Changes one of them.
    MethodChange,
    /// Permits a new one.
    MethodNew,
    /// Makes new recovery codes.
    MethodCodes,
    /// Whether an authenticator app's clock is right.
    AppClock,
    /// Where somebody is signed in.
    Sessions,
    /// Ends sessions of theirs.
    SessionsEnd,
    /// "This wasn't me."
    NotMe,
    /// Locks their own account.
    Panic,
    /// Administrators' overview.
    Admin,
    /// What the checks of a running gate find.
    Diagnostics,
    /// One person, for administrators.
    AdminUser,
    /// Asks for one change by an administrator, and makes it.
    AdminChange,
    /// Everybody as a table for other programs.
    AdminCsv,
    /// Everybody as JSON.
    AdminJson,
    /// Takes up an invitation.
    Enrol,
    /// The end of an enrolment.
    Enrolled,
    /// Signs in with a recovery code.
    Recover,
    /// Options for signing in with a passkey.
    PasskeySignInOptions,
    /// Signs in with a passkey.
    PasskeySignIn,
    /// Options for making a passkey, with an invitation.
    PasskeyCreateOptions,
    /// A passkey that was made.
    PasskeyCreate,
    /// Signs in with a security key, after a code.
    SecurityKeySignIn,
    /// A challenge for a change that a passkey is to prove.
    ProofOptions,
    /// Style, script, icon. Their names carry a hash of what they hold.
    Asset,
    /// The certificate of the local CA.
    Ca,
    /// Whether the gate is up.
    Health,
    /// Where to change how one signs in, for password managers (W3C, A Well-Known URL for Changing Passwords).
    ChangePassword,
    /// Where passkeys are made and managed, for password managers (W3C, Passkey Endpoints).
    PasskeyEndpoints,
    /// What else stands under `/.well-known/`: nothing.
    WellKnown,
}

impl Route {
    /// Every route, with its path and methods, the first that fits. HEAD goes where GET does.
    #[rustfmt::skip]
    pub const ALL: [(Self, &'static str, &'static [Method]); 34] = [
        (Self::Home,      "/_gate/",           &[Method::GET]),
        (Self::Demanded,  "/_gate/demanded",   &[Method::GET]),
        (Self::SignIn,    "/_gate/sign-in",    &[Method::GET, Method::POST]),
        (Self::SignOut,   "/_gate/sign-out",   &[Method::POST]),
        (Self::Methods,   "/_gate/methods",    &[Method::GET]),
        (Self::MethodChange, "/_gate/methods/change", &[Method::GET, Method::POST]),
        (Self::MethodNew, "/_gate/methods/new", &[Method::GET, Method::POST]),
        (Self::MethodCodes, "/_gate/methods/codes", &[Method::GET, Method::POST]),
        (Self::AppClock,  "/_gate/methods/clock", &[Method::GET, Method::POST]),
        (Self::Sessions,  "/_gate/sessions",   &[Method::GET]),
        (Self::SessionsEnd, "/_gate/sessions/end", &[Method::POST]),
        (Self::NotMe,     "/_gate/sessions/not-me", &[Method::GET, Method::POST]),
        (Self::Panic,     "/_gate/panic",      &[Method::GET, Method::POST]),
        (Self::Admin,     "/_gate/admin",      &[Method::GET]),
        (Self::Diagnostics, "/_gate/admin/diagnostics", &[Method::GET]),
        (Self::AdminUser, "/_gate/admin/user", &[Method::GET]),
        (Self::AdminChange, "/_gate/admin/change", &[Method::GET, Method::POST]),
        (Self::AdminCsv,  "/_gate/admin/users.csv",  &[Method::GET]),
        (Self::AdminJson, "/_gate/admin/users.json", &[Method::GET]),
        (Self::Enrol,     "/_gate/enrol",      &[Method::GET, Method::POST]),
        (Self::Enrolled,  "/_gate/enrolled",   &[Method::GET]),
        (Self::Recover,   "/_gate/recover",    &[Method::GET, Method::POST]),
        (Self::PasskeySignInOptions, "/_gate/passkey/sign-in-options", &[Method::POST]),
        (Self::PasskeySignIn,        "/_gate/passkey/sign-in",         &[Method::POST]),
        (Self::PasskeyCreateOptions, "/_gate/passkey/create-options",  &[Method::POST]),
        (Self::PasskeyCreate,        "/_gate/passkey/create",          &[Method::POST]),
        (Self::SecurityKeySignIn,    "/_gate/security-key/sign-in",    &[Method::POST]),
        (Self::ProofOptions,         "/_gate/proof/options",           &[Method::POST]),
        (Self::Asset,     "/_gate/assets/*",   &[Method::GET]),
        (Self::Ca,        "/_gate/ca",         &[Method::GET]),
        (Self::Health,    "/_gate/healthz",    &[Method::GET]),
        (Self::ChangePassword,   "/.well-known/change-password",   &[Method::GET]),
        (Self::PasskeyEndpoints, "/.well-known/passkey-endpoints", &[Method::GET]),
        (Self::WellKnown, "/.well-known/*",    &[Method::GET]),
    ];

    /// Whom it is for, and what it takes.
    const fn kind(self) -> Kind {
        match self {
            Self::SignIn
            | Self::Enrol
            | Self::Recover
            | Self::Asset
            | Self::Ca
            | Self::Health
            | Self::ChangePassword
            | Self::PasskeyEndpoints
            | Self::WellKnown => Kind { audience: Audience::Everybody, is_for_script: false },
            Self::PasskeySignInOptions
            | Self::PasskeySignIn
            | Self::PasskeyCreateOptions
            | Self::PasskeyCreate
            | Self::SecurityKeySignIn => Kind { audience: Audience::Everybody, is_for_script: true },
            Self::SignOut => Kind { audience: Audience::AnySession, is_for_script: false },
            Self::Home
            | Self::Demanded
            | Self::Methods
            | Self::MethodChange
            | Self::MethodNew
            | Self::MethodCodes
            | Self::AppClock
            | Self::Sessions
            | Self::SessionsEnd
            | Self::NotMe
            | Self::Panic
            | Self::Enrolled => Kind { audience: Audience::FullSession, is_for_script: false },
            Self::Admin
            | Self::Diagnostics
            | Self::AdminUser
            | Self::AdminChange
            | Self::AdminCsv
            | Self::AdminJson => Kind { audience: Audience::Admins, is_for_script: false },
            Self::ProofOptions => Kind { audience: Audience::FullSession, is_for_script: true },
        }
    }

    /// Whether it answers before sign-in (after the address check). Everything else wants a session.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self.kind().audience, Audience::Everybody)
    }

    /// Whether a session that may only enrol is good for it, besides the open ones.
    #[must_use]
    pub const fn serves_enrolling(self) -> bool {
        matches!(self.kind().audience, Audience::AnySession)
    }

    /// Whether it is there for administrators only: to everybody else who is signed in, nothing is there.
    #[must_use]
    pub const fn is_for_admins(self) -> bool {
        matches!(self.kind().audience, Audience::Admins)
    }

    /// Whether pages' script posts JSON to it, and no page a form.
    #[must_use]
    pub const fn is_for_script(self) -> bool {
        self.kind().is_for_script
    }

    fn of(path: &str) -> Option<(Self, &'static [Method])> {
        Self::ALL.into_iter().find_map(|(route, pattern, methods)| {
            let is_it = match pattern.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == pattern,
            };
            is_it.then_some((route, methods))
        })
    }
}

/// What is told of a route in one place.
struct Kind {
    audience: Audience,
    /// Whether pages' script posts JSON to it.
    is_for_script: bool,
}

/// Whom a route answers.
enum Audience {
    /// Strangers too.
    Everybody,
    /// Whoever has a session, be it one that may only enrol.
    AnySession,
    /// Whoever has a session that is good for everything.
    FullSession,
    /// Administrators with such a session.
    Admins,
}

/// Whose path a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The gate's own.
    Portal(Route),
    /// The gate's own, but not with this method.
    WrongMethod {
        /// What would be right, for the Allow field.
        allowed: &'static [Method],
    },
    /// Under our prefix, and nothing is there.
    Nothing,
    /// Not our path as it stands, yet some parser may take it for one.
    Lookalike,
    /// Proxmox VE's.
    Upstream,
}

impl Target {
    /// Whose path this is. Only the path: the query plays no part.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Self {
        if path.starts_with(names::PREFIX) || path.starts_with("/.well-known/") {
            if !is_plain(path) {
                return Self::Lookalike;
            }
            return match Route::of(path) {
                None => Self::Nothing,
                Some((route, methods)) => {
                    let asked = if method == Method::HEAD { &Method::GET } else { method };
                    if methods.contains(asked) {
                        Self::Portal(route)
                    } else {
                        Self::WrongMethod { allowed: methods }
                    }
                }
            };
        }
        if looks_like_ours(path) { Self::Lookalike } else { Self::Upstream }
    }
}

/// Only characters that mean themselves to every parser.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'))
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether decoding (twice), folding case, turning backslashes, cutting path parameters, collapsing
/// slashes or resolving dots, or leaving any of these out, makes it a path of ours.
fn looks_like_ours(path: &str) -> bool {
    // The common case: none of these letters in a row, no escape that could hide them.
    let has = |word: &[u8]| path.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if !path.contains('%') && !has(b"_gate") && !has(b".well-known") {
        return false;
    }
    let once = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let twice = percent_decode_str(&once).decode_utf8_lossy().into_owned();
    [path, &once, &twice].into_iter().any(|spelling| {
        let folded = spelling.to_ascii_lowercase().replace('\\', "/");
        let mut resolved: Vec<&str> = Vec::new();
        let mut first = None;
        for segment in folded.split('/') {
            let segment = segment.split([';', '?', '#', '\0']).next().unwrap_or(segment).trim();
            match segment {
                "" | "." => {}
                ".." => {
                    resolved.pop();
                }
                name => {
                    first = first.or(Some(name));
                    resolved.push(name);
                }
            }
        }
        [first, resolved.first().copied()]
            .into_iter()
            .flatten()
            .any(|segment| matches!(segment, "_gate" | ".well-known"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(path: &str) -> Target {
        Target::of(&Method::GET, path)
    }

    #[test]
    fn a_path_is_ours_in_one_spelling_only() {
        use Target::{Lookalike, Nothing, Portal, Upstream};
        #[rustfmt::skip]
        let table = [
            ("/_gate/sign-in",              Portal(Route::SignIn)),
            ("/_gate/",                     Portal(Route::Home)),
            ("/_gate/assets/gate-1.css",    Portal(Route::Asset)),
            ("/.well-known/x",              Portal(Route::WellKnown)),
            ("/.well-known/change-password",   Portal(Route::ChangePassword)),
            ("/.well-known/change-password/",  Portal(Route::WellKnown)),
            ("/.well-known/passkey-endpoints", Portal(Route::PasskeyEndpoints)),
            ("/_gate/nothing",              Nothing),
            ("/_gate/sign-in/",             Nothing),
            ("/_gate/SIGN-IN",              Nothing),
            ("/_gate",                      Lookalike),
            ("/_GATE/sign-in",              Lookalike),
            ("//_gate/sign-in",             Lookalike),
            ("/_gate//sign-in",             Lookalike),
            ("/_gate/./sign-in",            Lookalike),
            ("/_gate/assets/../../api2",    Lookalike),
            ("/_gate/assets/%2e%2e/api2",   Lookalike),
            ("/%5fgate/sign-in",            Lookalike),
            ("/%255fgate/sign-in",          Lookalike),
            ("/_gate%2fsign-in",            Lookalike),
            ("/\\_gate/sign-in",            Lookalike),
            ("/x/../_gate/sign-in",         Lookalike),
            ("/x/%2e%2e/_gate/sign-in",     Lookalike),
            ("/_gate;x/sign-in",            Lookalike),
            ("/./_gate/sign-in",            Lookalike),
            ("/%2e/_gate/sign-in",          Lookalike),
            ("/.WELL-KNOWN/x",              Lookalike),
            ("/.well-known",                Lookalike),
            ("/.well%2dknown/x",            Lookalike),
            ("/",                           Upstream),
            ("/api2/json/version",          Upstream),
            ("/api2///json/%61ccess",       Upstream),
            ("/pve2/_gate/x",               Upstream),
            ("/_gatekeeper",                Upstream),
            ("/x_gate/",                    Upstream),
            ("/%",                          Upstream),
            ("/%ff%fe",                     Upstream),
        ];
        for (path, expected) in table {
            assert_eq!(get(path), expected, "{path}");
        }
    }

    #[test]
    fn a_method_that_a_route_does_not_have_is_told_which_it_has() {
        assert_eq!(
            Target::of(&Method::GET, "/_gate/sign-out"),
            Target::WrongMethod { allowed: &[Method::POST] }
        );
        assert_eq!(Target::of(&Method::HEAD, "/_gate/sign-in"), Target::Portal(Route::SignIn));
        assert_eq!(
            Target::of(&Method::DELETE, "/_gate/sign-in"),
            Target::WrongMethod { allowed: &[Method::GET, Method::POST] }
        );
    }

    #[test]
    fn every_route_stands_once_in_the_list_under_our_names() {
        for (i, (route, path, methods)) in Route::ALL.iter().enumerate() {
            assert!(path.starts_with(names::PREFIX) || path.starts_with("/.well-known/"), "{path}");
            assert!(!methods.is_empty());
            assert!(
                Route::ALL[i + 1..].iter().all(|(other, other_path, _)| other != route && other_path != path)
            );
        }
    }

    proptest! {
        #[test]
        fn no_disguise_of_a_path_of_ours_is_taken_for_the_upstreams(
            escaped in proptest::collection::vec(0_u8..4, 24),
            lead in "(/|//|/\\./|/x/\\.\\./|/%2e/|/\\\\)",
        ) {
            let disguised: String = "_gate/sign-in".chars().zip(escaped.into_iter().cycle())
                .map(|(c, how)| match how {
                    0 => c.to_string(),
                    1 => format!("%{:02x}", c as u32),
                    2 => format!("%25{:02X}", c as u32),
                    _ => c.to_ascii_uppercase().to_string(),
                })
                .collect();
            let path = format!("{lead}{disguised}");
            prop_assert_ne!(get(&path), Target::Upstream, "{}", path);
        }
    }
}
