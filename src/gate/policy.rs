//! The decision (pure): facts of a request in, a verdict out.
//!
//! [`Facts::of`] reads what a request's head says, [`decide`] is the whole of the policy. Neither reads
//! a clock, a socket or the store: whether the session is alive comes in as a fact.

use http::{HeaderMap, Method, header, request};

use super::{
    cookie::CookieError,
    pve_call::{Call, Class, Place},
    target::{Route, Target},
};
use crate::account::{EndReason, Role};

/// What a decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whose path it is.
    pub target: Target,
    /// What it would ask of Proxmox VE.
    pub class: Class,
    /// What the request's cookie stands for.
    pub session: SessionFact,
    /// Whether the session's owner is an administrator.
    pub admin: bool,
    /// Whether a person waits for a page.
    pub navigation: bool,
    /// Whether a person sent a form, and waits for the page that comes of it.
    pub form: bool,
    /// Whether it changes something or opens a tunnel: an unsafe method (RFC 9110 §9.2.1) or an upgrade.
    pub acts: bool,
    /// Which site's page sent it.
    pub initiator: Initiator,
}

/// What a request's cookie stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFact {
    /// A session that is alive.
    Alive,
    /// A session that is alive and may only enrol.
    Enrolling,
    /// A session that was alive.
    Over(EndReason),
    /// A cookie signed by us for a session that nobody knows any more.
    Unknown,
    /// No usable cookie.
    None(CookieError),
}

/// Which site's page sent a request, by the Origin field (RFC 6454 §7) and Fetch Metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// One of ours, or of Proxmox VE's behind us.
    SameOrigin,
    /// Another site's, or what it says contradicts itself.
    Foreign,
    /// The request does not say. Browsers always do when a request acts.
    Unsaid,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it through to Proxmox VE.
    Forward,
    /// The gate answers it itself.
    Portal(Route),
    /// A person is sent to the sign-in page and comes back afterwards.
    SignInFirst,
    /// A person is sent to enrol what the policy asks for.
    EnrolFirst,
    /// 401: a program or a script is told to sign in.
    Challenge,
    /// Refused.
    Refuse(Refusal),
}

/// Why a request is refused whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A path that some parser may take for one of ours.
    #[error("a path that only looks like the gate's")]
    LookalikePath,
    /// A call whose path holds bytes that two readers may read differently.
    #[error("a call with control characters, or what is not UTF-8, in its path")]
    UnreadablePath,
    /// Another site's page sent it, and it acts, or reaches further than a reader should.
    #[error("a request of another site that would change something")]
    CrossSite,
    /// It acts, and does not say which page sent it.
    #[error("a request that would change something and names no origin")]
    NoOrigin,
    /// Nothing there.
    #[error("no such page of the gate")]
    NoSuchPage,
    /// Not with this method.
    #[error("a page of the gate asked with a method it does not have")]
    WrongMethod {
        /// What would be right.
        allowed: &'static [Method],
    },
}

impl Facts {
    /// Reads the facts of a request's head. `origin` is the one that browsers may use. Nobody is taken for an
    /// administrator; see [`Facts::by`].
    #[must_use]
    pub fn of(head: &request::Parts, call: &Call<'_>, origin: &str, session: SessionFact) -> Self {
        Self {
            target: Target::of(&head.method, head.uri.path()),
            class: call.class,
            session,
            admin: false,
            navigation: is_navigation(&head.method, call.place, &head.headers),
            form: is_form(&head.method, &head.headers),
            acts: !is_safe(&head.method) || head.headers.contains_key(header::UPGRADE),
            initiator: initiator(&head.headers, origin),
        }
    }
}

impl Facts {
    /// The same, with the role of the session's owner.
    #[must_use]
    pub fn by(self, role: Role) -> Self {
        let admin = match role {
            Role::Admin => true,
            Role::User => false,
        };
        Self { admin, ..self }
    }
}

/// The policy.
#[must_use]
pub fn decide(facts: &Facts) -> Verdict {
    let shield = || match facts.initiator {
        Initiator::SameOrigin => None,
        Initiator::Foreign => Some(Verdict::Refuse(Refusal::CrossSite)),
        Initiator::Unsaid => Some(Verdict::Refuse(Refusal::NoOrigin)),
    };
    let (signed_in, enrolling) = match facts.session {
        SessionFact::Alive => (true, false),
        SessionFact::Enrolling => (false, true),
        SessionFact::Over(_) | SessionFact::Unknown | SessionFact::None(_) => (false, false),
    };
    // A form of a page of ours, left open until the session was over: its sender is led back to it. What another
    // site sends is not theirs.
    let own_form =
        facts.form && facts.initiator == Initiator::SameOrigin && matches!(facts.target, Target::Portal(_));
    let sign_in = || match (facts.navigation || own_form, enrolling) {
        (false, _) => Verdict::Challenge,
        (true, false) => Verdict::SignInFirst,
        (true, true) => Verdict::EnrolFirst,
    };
    match facts.target {
        Target::Lookalike => Verdict::Refuse(Refusal::LookalikePath),
        Target::Nothing => Verdict::Refuse(Refusal::NoSuchPage),
        Target::WrongMethod { allowed } => Verdict::Refuse(Refusal::WrongMethod { allowed }),
        Target::Portal(route) if !(route.is_open() || signed_in || enrolling && route.serves_enrolling()) => {
            sign_in()
        }
        Target::Portal(route) if route.is_for_admins() && !facts.admin => {
            Verdict::Refuse(Refusal::NoSuchPage)
        }
        Target::Portal(route) if facts.acts => shield().unwrap_or(Verdict::Portal(route)),
        Target::Portal(route) => Verdict::Portal(route),
        Target::Upstream if !signed_in => sign_in(),
        Target::Upstream if facts.class == Class::Unreadable => Verdict::Refuse(Refusal::UnreadablePath),
        Target::Upstream if facts.acts => shield().unwrap_or(Verdict::Forward),
        // A link on another site could make a node connect to where that site wants. Browsers that know no
        // Fetch Metadata say nothing with a GET, and theirs passes.
        Target::Upstream if facts.class == Class::Reach && facts.initiator == Initiator::Foreign => {
            Verdict::Refuse(Refusal::CrossSite)
        }
        Target::Upstream => Verdict::Forward,
    }
}

/// Whether a request that is carried out shows that a person is at work, so that it winds the idle clock:
/// a navigation, what is sent to one of our pages, and calls of which [`Class::winds_idle_clock`] says so.
#[must_use]
pub fn is_activity(facts: &Facts) -> bool {
    facts.navigation
        || match facts.target {
            Target::Portal(_) => facts.acts,
            Target::Upstream => facts.class.winds_idle_clock(),
            Target::WrongMethod { .. } | Target::Nothing | Target::Lookalike => false,
        }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A page that a person asked for: by Fetch Metadata where the browser sends it, else by what the
/// request accepts.
fn is_navigation(method: &Method, place: Place, fields: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) || fields.contains_key(header::UPGRADE) {
        return false;
    }
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-mode") {
        Some(_) => waits_for_page(fields),
        None => {
            text("accept").is_some_and(|accept| accept.contains("text/html"))
                && !fields.contains_key("x-requested-with")
                && place == Place::Page
        }
    }
}

/// A form that a person sent. Browsers without Fetch Metadata do not tell it from a script's call.
fn is_form(method: &Method, fields: &HeaderMap) -> bool {
    *method == Method::POST && waits_for_page(fields)
}

/// Whether Fetch Metadata says that the answer takes the place of the page.
fn waits_for_page(fields: &HeaderMap) -> bool {
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    text("sec-fetch-mode") == Some("navigate") && matches!(text("sec-fetch-dest"), None | Some("document"))
}

/// Whether the fields say that another site's page is behind a request: its visitor may know nothing of it.
#[must_use]
pub fn is_of_another_site(fields: &HeaderMap, ours: &str) -> bool {
    match initiator(fields, ours) {
        Initiator::Foreign => true,
        Initiator::SameOrigin | Initiator::Unsaid => false,
    }
}

fn initiator(fields: &HeaderMap, ours: &str) -> Initiator {
    let mut origins = fields.get_all(header::ORIGIN).into_iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => None,
        (Some(origin), None) => Some(origin.as_bytes() == ours.as_bytes()),
        (Some(_), Some(_)) => Some(false),
    };
    let mut sites = fields.get_all("sec-fetch-site").into_iter();
    let site = match (sites.next(), sites.next()) {
        (None, _) => None,
        (Some(site), None) => Some(site.as_bytes() == b"same-origin"),
        (Some(_), Some(_)) => Some(false),
    };
    match (origin, site) {
        (Some(false), _) | (_, Some(false)) => Initiator::Foreign,
        (Some(true), _) | (None, Some(true)) => Initiator::SameOrigin,
        (None, None) => Initiator::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &str = "https://pve.example.com";

    fn facts(method: &str, path: &str, fields: &[(&str, &str)], session: SessionFact) -> Facts {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        Facts::of(&head, &Call::of_head(&head), ORIGIN, session)
    }

    #[test]
    fn administrators_pages_are_there_for_administrators_alone() {
        use SessionFact::{Alive, Enrolling, Over, Unknown};
        let nav = [("sec-fetch-mode", "navigate"), ("origin", ORIGIN)];
        for (route, path, methods) in Route::ALL.into_iter().filter(|(route, ..)| route.is_for_admins()) {
            for method in methods.iter().map(Method::as_str) {
                let of = |session, role| decide(&facts(method, path, &nav, session).by(role));
                assert_eq!(of(Alive, Role::Admin), Verdict::Portal(route), "{method} {path}");
                assert_eq!(of(Alive, Role::User), Verdict::Refuse(Refusal::NoSuchPage), "{method} {path}");
                for session in [Enrolling, Unknown, Over(EndReason::Expired)] {
                    for role in [Role::Admin, Role::User] {
                        let verdict = of(session, role);
                        assert!(
                            matches!(
                                verdict,
                                Verdict::SignInFirst | Verdict::EnrolFirst | Verdict::Challenge
                            ),
                            "{method} {path}: {verdict:?}"
                        );
                    }
                }
                let foreign = facts(method, path, &[("origin", "https://evil.example")], Alive);
                if method == "POST" {
                    assert_eq!(decide(&foreign.by(Role::Admin)), Verdict::Refuse(Refusal::CrossSite));
                }
            }
        }
    }

    #[test]
    fn the_table() {
        use SessionFact::{Alive, Enrolling, Over, Unknown};
        use Verdict::{Challenge, EnrolFirst, Forward, Portal, Refuse, SignInFirst};
        let none = SessionFact::None(CookieError::Absent);
        let several = SessionFact::None(CookieError::Several);
        let forged = SessionFact::None(CookieError::Forged);
        let expired = Over(EndReason::Expired);
        let nav = ("sec-fetch-mode", "navigate");
        let ours = ("origin", ORIGIN);
        let same = ("sec-fetch-site", "same-origin");
        let theirs = ("origin", "https://evil.example");
        let ws = ("upgrade", "websocket");
        let cross = Refuse(Refusal::CrossSite);
        let unsaid = Refuse(Refusal::NoOrigin);
        let ca = "/_gate/ca";
        #[rustfmt::skip]
        let table: &[(&str, &str, &str, &[(&str, &str)], SessionFact, Verdict)] = &[
            // case                              method    path                    fields            session  verdict
            ("page, nobody",                     "GET",    "/",                    &[nav],           none,    SignInFirst),
            ("page, signed in",                  "GET",    "/",                    &[nav],           Alive,   Forward),
            ("page, session over",               "GET",    "/",                    &[nav],           expired, SignInFirst),
            ("page, session unknown",            "GET",    "/",                    &[nav],           Unknown, SignInFirst),
            ("page, two cookies",                "GET",    "/",                    &[nav],           several, SignInFirst),
            ("call, nobody",                     "GET",    "/api2/json/version",   &[],              none,    Challenge),
            ("call, forged cookie",              "GET",    "/api2/json/version",   &[],              forged,  Challenge),
            ("call, session over",               "GET",    "/api2/json/version",   &[],              expired, Challenge),
            ("call, signed in",                  "GET",    "/api2/json/version",   &[],              Alive,   Forward),
            ("preflight, nobody",                "OPTIONS","/api2/json/version",   &[theirs],        none,    Challenge),
            ("act, signed in, our page",         "POST",   "/api2/json/x",         &[ours],          Alive,   Forward),
            ("act, signed in, our page, fetch",  "POST",   "/api2/json/x",         &[ours, same],    Alive,   Forward),
            ("act, signed in, another site",     "POST",   "/api2/json/x",         &[theirs],        Alive,   cross),
            ("act, signed in, contradictory",    "POST",   "/api2/json/x",         &[ours, ("sec-fetch-site", "cross-site")], Alive, cross),
            ("act, signed in, opaque origin",    "POST",   "/api2/json/x",         &[("origin", "null")], Alive, cross),
            ("act, signed in, http origin",      "POST",   "/api2/json/x",         &[("origin", "http://pve.example.com")], Alive, cross),
            ("act, signed in, does not say",     "POST",   "/api2/json/x",         &[],              Alive,   unsaid),
            ("act, nobody, another site",        "POST",   "/api2/json/x",         &[theirs],        none,    Challenge),
            ("console, signed in, our page",     "GET",    "/x/vncwebsocket",      &[ws, ours],      Alive,   Forward),
            ("console, signed in, another site", "GET",    "/x/vncwebsocket",      &[ws, theirs],    Alive,   cross),
            ("console, signed in, unsaid",       "GET",    "/x/vncwebsocket",      &[ws],            Alive,   unsaid),
            ("console, nobody",                  "GET",    "/x/vncwebsocket",      &[ws, ours],      none,    Challenge),
            ("sign-in page, nobody",             "GET",    "/_gate/sign-in",       &[nav],           none,    Portal(Route::SignIn)),
            ("sign-in form",                     "POST",   "/_gate/sign-in",       &[ours, same],    none,    Portal(Route::SignIn)),
            ("sign-in form, another site",       "POST",   "/_gate/sign-in",       &[theirs],        none,    cross),
            ("sign-in form, unsaid",             "POST",   "/_gate/sign-in",       &[],              none,    unsaid),
            ("form left open",                   "POST",   "/_gate/methods/change", &[nav, ours, same], expired, SignInFirst),
            ("form left open, may only enrol",   "POST",   "/_gate/methods/change", &[nav, ours, same], Enrolling, EnrolFirst),
            ("form of another site",             "POST",   "/_gate/methods/change", &[nav, theirs],   expired, Challenge),
            ("form that does not say whose",     "POST",   "/_gate/methods/change", &[nav],           expired, Challenge),
            ("form of Proxmox VE's",             "POST",   "/x",                   &[nav, ours, same], expired, Challenge),
            ("form by script",                   "POST",   "/_gate/methods/change", &[ours, same],    expired, Challenge),
            ("sign out, nobody",                 "POST",   "/_gate/sign-out",      &[ours],          none,    Challenge),
            ("sign out",                         "POST",   "/_gate/sign-out",      &[ours],          Alive,   Portal(Route::SignOut)),
            ("home, nobody",                     "GET",    "/_gate/",              &[nav],           none,    SignInFirst),
            ("home",                             "GET",    "/_gate/",              &[nav],           Alive,   Portal(Route::Home)),
            ("certificate, nobody",              "GET",    ca,                     &[],              none,    Portal(Route::Ca)),
            ("no such page, signed in",          "GET",    "/_gate/x",             &[nav],           Alive,   Refuse(Refusal::NoSuchPage)),
            ("disguised page, signed in",        "GET",    "/%5fgate/ca",          &[nav],           Alive,   Refuse(Refusal::LookalikePath)),
            ("reaching out, another site",       "GET",    "/api2/json/nodes/n/scan/nfs", &[("sec-fetch-site", "cross-site"), nav], Alive, cross),
            ("reaching out, a port beside",      "GET",    "/api2/json/nodes/n/scan/nfs", &[("sec-fetch-site", "same-site")], Alive, cross),
            ("reaching out, our page",           "GET",    "/api2/json/nodes/n/scan/nfs", &[same],     Alive,   Forward),
            ("reaching out, unsaid",             "GET",    "/api2/json/nodes/n/scan/nfs", &[],         Alive,   Forward),
            ("a link to a page, another site",   "GET",    "/",                    &[("sec-fetch-site", "cross-site"), nav], Alive, Forward),
            ("upload, another site",             "POST",   "/api2/json/nodes/n/storage/s/upload", &[theirs, nav], Alive, cross),
            ("unknown method, another site",     "PATCH",  "/api2/json/x",         &[theirs],        Alive,   cross),
            ("unreadable path, signed in",       "GET",    "/api2/json/x%00",      &[],              Alive,   Refuse(Refusal::UnreadablePath)),
            ("unreadable path, nobody",          "GET",    "/api2/json/x%00",      &[],              none,    Challenge),
            ("page, may only enrol",             "GET",    "/",                    &[nav],           Enrolling, EnrolFirst),
            ("call, may only enrol",             "GET",    "/api2/json/version",   &[],              Enrolling, Challenge),
            ("act, may only enrol",              "POST",   "/api2/json/x",         &[ours],          Enrolling, Challenge),
            ("console, may only enrol",          "GET",    "/x/vncwebsocket",      &[ws, ours],      Enrolling, Challenge),
            ("home, may only enrol",             "GET",    "/_gate/",              &[nav],           Enrolling, EnrolFirst),
            ("sign out, may only enrol",         "POST",   "/_gate/sign-out",      &[ours],          Enrolling, Portal(Route::SignOut)),
            ("enrol, may only enrol",            "POST",   "/_gate/enrol",         &[ours],          Enrolling, Portal(Route::Enrol)),
            ("wrong method",                     "PUT",    ca,                     &[ours],          Alive,   Refuse(Refusal::WrongMethod { allowed: &[Method::GET] })),
        ];
        for (case, method, path, fields, session, verdict) in table {
            assert_eq!(decide(&facts(method, path, fields, *session)), *verdict, "{case}");
        }
    }

    #[test]
    fn a_navigation_is_what_a_person_waits_for() {
        #[rustfmt::skip]
        let table: &[(&str, &str, &str, &[(&str, &str)], bool)] = &[
            ("address bar",            "GET",  "/",               &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true),
            ("frame of Proxmox VE",    "GET",  "/?console=shell", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],   false),
            ("script's fetch",         "GET",  "/",               &[("sec-fetch-mode", "cors"), ("accept", "text/html")],            false),
            ("old browser",            "GET",  "/",               &[("accept", "text/html,*/*")],                                    true),
            ("old browser, API",       "GET",  "/api2/html/x",    &[("accept", "text/html,*/*")],                                    false),
            ("old browser, API, esc",  "GET",  "/%61pi2/html/x",  &[("accept", "text/html,*/*")],                                    false),
            ("old browser, XHR",       "GET",  "/",               &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")], false),
            ("curl",                   "GET",  "/",               &[("accept", "*/*")],                                              false),
            ("form",                   "POST", "/",               &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], false),
        ];
        for (case, method, path, fields, expected) in table {
            let facts = facts(method, path, fields, SessionFact::Alive);
            assert_eq!(facts.navigation, *expected, "{case}");
        }
    }

    #[test]
    fn polling_does_not_wind_the_idle_clock_and_work_does() {
        let nav: &[_] = &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        #[rustfmt::skip]
        let table = [
            ("navigation",          "GET",  "/",                                    nav, true),
            ("frame of a console",  "GET",  "/?console=shell",                      &[], false),
            ("polling",             "GET",  "/api2/json/cluster/tasks",             &[], false),
            ("a console's tunnel",  "GET",  "/api2/json/nodes/n/vncwebsocket",      &[], false),
            ("a change",            "PUT",  "/api2/json/x",                         &[], true),
            ("an upload",           "POST", "/api2/json/nodes/n/storage/s/upload",  &[], true),
            ("ticket renewal",      "POST", "/api2/extjs/access/ticket",            &[], false),
            ("renewal, escaped",    "POST", "/api2/extjs/access%2fticket",          &[], false),
            ("renewal, authority",  "POST", "//x/api2/extjs/access/ticket",         &[], false),
            ("no such method",      "PATCH", "/api2/json/x",                        &[], false),
            ("a page of ours",      "GET",  "/_gate/healthz",                       &[], false),
            ("a form of ours",      "POST", "/_gate/sign-out",                      &[], true),
        ];
        for (case, method, path, fields, expected) in table {
            assert_eq!(is_activity(&facts(method, path, fields, SessionFact::Alive)), expected, "{case}");
        }
    }

    proptest! {
        #[test]
        fn without_a_living_session_nothing_is_ever_forwarded(
            method in "(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|X)", path in "/[a-z0-9_%./;-]{0,40}",
            origin in proptest::option::of("(https://pve\\.example\\.com|null|x)"), mode in proptest::option::of("(navigate|cors)"),
            over in 0_usize..8,
        ) {
            let session = [
                SessionFact::None(CookieError::Absent), SessionFact::None(CookieError::Forged),
                SessionFact::None(CookieError::Several), SessionFact::Unknown, SessionFact::Over(EndReason::Idle),
                SessionFact::Over(EndReason::Expired), SessionFact::Over(EndReason::Revoked), SessionFact::Enrolling,
            ][over];
            let mut fields = Vec::new();
            if let Some(origin) = &origin { fields.push(("origin", origin.as_str())); }
            if let Some(mode) = &mode { fields.push(("sec-fetch-mode", mode.as_str())); }
            let verdict = decide(&facts(&method, &path, &fields, session));
            prop_assert_ne!(verdict, Verdict::Forward);
            if let Verdict::Portal(route) = verdict {
                prop_assert!(route.is_open() || session == SessionFact::Enrolling && route.serves_enrolling());
            }
        }
    }
}
