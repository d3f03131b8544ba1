//! What a request asks of Proxmox VE (pure).
//!
//! [`Call::of`] reads a method and a target as pveproxy reads them (`path`) and looks up what class of
//! call that is (`catalogue`). Policy, audit, limits and the idle clock go by the class and by the
//! [`NormalPath`], never by the target as it was spelled; the target that is forwarded stays as it was
//! sent, byte for byte. [`Parameters`] reads a query or a form, again as pveproxy does.
//!
//! What pveproxy would not read as a call at all has a class too: [`Class::Nothing`],
//! [`Class::NotOffered`]. What nobody can be sure to read as it does is [`Class::Unreadable`], and that
//! is refused.

mod catalogue;
mod parameters;
mod path;

use http::Method;

pub use catalogue::{Class, is_about_proof};
pub use parameters::{BodyKind, Parameters};
pub use path::{Format, NormalPath, Place};

/// A request, as pveproxy would understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The method.
    pub verb: Verb,
    /// Which part of pveproxy the path leads to.
    pub place: Place,
    /// The path in its one spelling.
    pub path: NormalPath<'a>,
    /// What kind of thing is asked for.
    pub class: Class,
}

/// A method, as far as pveproxy knows it. Methods are case-sensitive there as everywhere (RFC 9110 §9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// Any other: pveproxy answers 501 before it looks at anything else.
    Other,
}

impl Verb {
    /// From a request's method.
    #[must_use]
    pub fn of(method: &Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl<'a> Call<'a> {
    /// Reads a method and a target in origin form (RFC 9112 §3.2.1), its query included where it has one.
    #[must_use]
    pub fn of(method: &Method, target: &'a str) -> Self {
        let (path, query) = match target.find(['?', '#']) {
            Some(at) => target.split_at(at),
            None => (target, ""),
        };
        let verb = Verb::of(method);
        let (place, path) = path::read(path);
        let class = match (place, verb) {
            (Place::Unreadable, _) => Class::Unreadable,
            (Place::Page | Place::Nothing | Place::Api(_), Verb::Other) => Class::NotOffered,
            (Place::Page, Verb::Get | Verb::Post | Verb::Put | Verb::Delete) => Class::Page,
            (Place::Nothing, Verb::Get | Verb::Post | Verb::Put | Verb::Delete) => Class::Nothing,
            (Place::Api(_), Verb::Get | Verb::Post | Verb::Put | Verb::Delete) => {
                catalogue::class(verb, &path, query.strip_prefix('?').unwrap_or_default())
            }
        };
        Self { verb, place, path, class }
    }

    /// The same, for a request's head.
    #[must_use]
    pub fn of_head(head: &'a http::request::Parts) -> Self {
        Self::of(&head.method, head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
    }

    /// With what only its form can say: a sign-in whose password is a ticket renews that ticket, which
    /// the web interface does every quarter of an hour by itself.
    #[must_use]
    pub fn with_parameters(self, parameters: &Parameters) -> Self {
        let is_renewal = self.class == Class::SignIn
            && parameters.get("tfa-challenge").is_none()
            && match (parameters.user(), parameters.get("password")) {
                (Some(user), Some(password)) => is_ticket_of(&user, password),
                (Some(_), None) | (None, _) => false,
            };
        if is_renewal { Self { class: Class::Renewal, ..self } } else { self }
    }

    /// For keeping beside a request that goes on its way.
    #[must_use]
    pub fn into_owned(self) -> Call<'static> {
        let Self { verb, place, path, class } = self;
        Call { verb, place, path: path.into_owned(), class }
    }
}

/// Whether this has the form of a user's ticket, `PVE:user@realm:HEXTIME::signature`: nobody's password,
/// and nothing that is ever guessed.
fn is_ticket_of(user: &str, text: &str) -> bool {
    let parts = || {
        let rest = text.strip_prefix("PVE:")?.strip_prefix(user)?.strip_prefix(':')?;
        rest.split_once("::")
    };
    parts().is_some_and(|(time, signature)| {
        time.len() == 8
            && time.bytes().all(|b| b.is_ascii_hexdigit())
            && signature.len() >= SIGNATURE
            && signature.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
    })
}

/// Shortest signature of a ticket, in base64: an RSA key of 1024 bits, half of what Proxmox VE makes.
const SIGNATURE: usize = 172;

#[cfg(test)]
mod tests;
