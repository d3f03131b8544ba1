//! The lane of API tokens (pure): programs that come with a `PVEAPIToken` instead of a session.
//!
//! Proxmox VE asks no second factor of a token, so the gate lets one pass only by a [`Rule`] of the
//! configuration: this token with this secret, from there, to that.

use std::{fmt, num::NonZeroU32};

use http::Method;
use ipnet::IpNet;

use crate::time::Timestamp;

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
