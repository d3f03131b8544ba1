//! What one API token may do (pure): a rule of the configuration, and the words that it is written in.
//!
//! [`Rule::permits`] asks one question after the other. Which rules a request has proven to be under, and
//! which of their refusals it is told, is for the module above.

use std::{fmt, num::NonZeroU32};

use http::Method;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::{Call, Proof, Refusal};
use crate::{
    gate::{
        pve_call::{self, Place},
        target::Target,
    },
    secret::{self, Key},
    time::Timestamp,
};

/// What one API token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose it is.
    pub token: TokenId,
    /// What its secret is compared with.
    pub secret_hash: SecretHash,
    /// Networks that it may be used from.
    pub from: Vec<IpNet>,
    /// With which methods.
    pub methods: Vec<Method>,
    /// For which calls.
    pub paths: Vec<PathPattern>,
    /// Requests that it has at once, and gets back within a minute.
    pub rate: NonZeroU32,
    /// Not earlier than this.
    pub not_before: Option<Timestamp>,
    /// Not later than this.
    pub not_after: Option<Timestamp>,
}

impl Rule {
    /// Whether a request proves to have this token: name and secret, the latter in constant time.
    #[must_use]
    pub fn is_of(&self, proof: &Proof<'_>) -> bool {
        // Not `&&`: a name that there is takes as long as one that there is not.
        secret::equal(&self.secret_hash.0, &proof.hash.0) & (self.token.as_str() == proof.id)
    }

    /// Whether it permits a call of its token. Every question has its own refusal.
    pub(super) fn permits(&self, call: &Call<'_>) -> Result<(), Refusal> {
        if self.not_before.is_some_and(|begin| call.now < begin) {
            return Err(Refusal::NotYet);
        }
        if self.is_over(call.now) {
            return Err(Refusal::Expired);
        }
        if !self.from.iter().any(|network| network.contains(&call.client)) {
            return Err(Refusal::Network);
        }
        let segments = plain_segments(call)?;
        // Proxmox VE refuses tokens there itself; the gate does not count on it.
        let is_api = segments.first().is_some_and(|first| first == "api2");
        if is_api && pve_call::is_about_proof(segments.iter().skip(2).map(String::as_str)) {
            return Err(Refusal::SignInCall);
        }
        if !self.methods.contains(call.method) {
            return Err(Refusal::Method);
        }
        if !self.paths.iter().any(|path| path.matches(&segments)) {
            return Err(Refusal::Path);
        }
        if call.tunnel && !self.paths.iter().any(|path| path.names_end() && path.matches(&segments)) {
            return Err(Refusal::Tunnel);
        }
        Ok(())
    }

    /// Whether its end has passed.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| now > end)
    }
}

/// The segments of a path, as pveproxy reads it; refused if any other parser could read it in another
/// way, however often it decodes.
fn plain_segments(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    if Target::of(call.method, call.path) != Target::Upstream
        || percent_decode_str(call.path).any(|byte| byte.is_ascii_control())
    {
        return Err(Refusal::OddPath);
    }
    let read = pve_call::Call::of(call.method, call.path);
    let beginning = match read.place {
        Place::Api(format) => vec!["api2", format.word().ok_or(Refusal::OddPath)?],
        Place::Page => Vec::new(),
        Place::Nothing | Place::Unreadable => return Err(Refusal::OddPath),
    };
    let is_plain = |segment: &String| {
        !matches!(segment.as_str(), "." | "..")
            && !segment.contains(|c| matches!(c, '%' | '?' | '#' | '\\' | char::REPLACEMENT_CHARACTER))
    };
    let segments: Vec<_> = beginning.into_iter().chain(read.path.segments()).map(str::to_owned).collect();
    if segments.iter().all(is_plain) { Ok(segments) } else { Err(Refusal::OddPath) }
}

/// The name of an API token: `user@realm!id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId(String);

impl TokenId {
    /// Takes a name as Proxmox VE writes it.
    ///
    /// Narrower than Proxmox VE's own rule for user names: only letters, digits and `._-+`, which mean
    /// the same in every place that a token's name is written to.
    ///
    /// # Errors
    ///
    /// A clause that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (user, id) = text.split_once('!').ok_or("the `!` and the name of the token are missing")?;
        let (user, realm) = user.split_once('@').ok_or("the `@` and the realm of the user are missing")?;
        let plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let begins = |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if text.len() > 160 {
            return Err("it is longer than any name of a token");
        }
        if user.is_empty() || !user.split('+').all(plain) {
            return Err("the name of the user has other characters than letters, digits and ._-+");
        }
        if ![realm, id].into_iter().all(|part| begins(part) && plain(part) && part.len() > 1) {
            return Err(
                "a realm and the name of a token begin with a letter and go on with letters, digits and ._-",
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// As Proxmox VE writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keyed hash of a token's secret. Without the master key nothing can be tried against it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a token's secret. The token is part of it, so that a hash under another token is none.
    #[must_use]
    pub fn of(token: &str, secret: &str, key: &Key) -> Self {
        Self(key.mac(&[token.as_bytes(), secret.as_bytes()]))
    }

    /// Takes 64 hexadecimal digits, as `pvegate api add` writes them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Which paths a rule is about, e.g. `/api2/json/nodes/*/vzdump`: segment by segment, after
/// pveproxy's own decoding. `*` is any one segment, `**` at the end is one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    Any,
}

impl PathPattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    ///
    /// A clause that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("a path begins with `/`")?;
        let (path, rest) = match path.strip_suffix("**") {
            Some("") => ("", true),
            Some(path) => (path.strip_suffix('/').ok_or("`**` is a segment of its own")?, true),
            None => (path, false),
        };
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            segments.push(match segment {
                "" => return Err("it has an empty segment, and pveproxy knows none"),
                "." | ".." => return Err("no path with a segment of dots ever passes"),
                "*" => Segment::Any,
                "**" => return Err("`**` stands at the end only"),
                text if text.contains('*') => return Err("`*` stands for a whole segment"),
                text if text.contains(['%', '?', '#', ';', '\\'])
                    || !text.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    return Err("it is written decoded and without a query: no %, ?, #, ;, \\ or blank");
                }
                text => Segment::Exactly(text.to_owned()),
            });
        }
        Ok(Self { segments, rest })
    }

    /// Whether it says itself how such a path ends, and leaves it to no `*`.
    fn names_end(&self) -> bool {
        !self.rest && matches!(self.segments.last(), Some(Segment::Exactly(_)))
    }

    /// Whether these decoded segments are such a path.
    #[must_use]
    pub fn matches(&self, segments: &[String]) -> bool {
        let Some((beginning, rest)) = segments.split_at_checked(self.segments.len()) else { return false };
        self.rest != rest.is_empty()
            && self.segments.iter().zip(beginning).all(|(wanted, found)| match wanted {
                Segment::Exactly(wanted) => wanted == found,
                Segment::Any => true,
            })
    }
}

/// As it is written in the configuration.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Exactly(text) => write!(f, "/{text}")?,
                Segment::Any => f.write_str("/*")?,
            }
        }
        match (self.rest, self.segments.is_empty()) {
            (true, _) => f.write_str("/**"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_written_in_one_way() {
        for good in
            ["/", "/**", "/*", "/api2/json/nodes/*/vzdump", "/api2/json/pools/**", "/a/local:iso/x.iso"]
        {
            assert_eq!(PathPattern::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "", "x", "//", "/a/", "/a//b", "/a/../b", "/.", "/a**", "/**/a", "/a/**/", "/***", "/a*", "/%61",
            "/a b", "/a?b",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
