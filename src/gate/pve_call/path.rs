//! Paths as pveproxy reads them, in one spelling (pure).
//!
//! In its order: a second slash at the front begins an authority, which is skipped (`//host/api2` is
//! `/api2`; URI generic syntax, RFC 3986 §3.2); percent escapes are decoded once, slashes included; what
//! begins with `/api2` is a call if a format follows, after any number of slashes, and one newline at the
//! very end does not count; between the segments below the format any number of slashes is one. Case
//! matters everywhere. A dot is a dot: no segment is resolved.
//!
//! That slashes below the format collapse is so once a ticket is shown; without one
//! `/api2/json//access/ticket` is a 401. The spelling is the login's all the same.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

const API: &str = "/api2";

/// Which part of pveproxy a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The API, in some format.
    Api(Format),
    /// Begins with `/api2` and names no format: 501 `no such uri`.
    Nothing,
    /// Anything else: the index, files. pveproxy asks nobody who they are there.
    Page,
    /// A path below `/api2` with bytes that mean different things to different readers: control
    /// characters, or what is not UTF-8. No name in Proxmox VE's API has such.
    Unreadable,
}

/// How the API presents an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `json`
    Json,
    /// `extjs`: JSON, and every error of a call is a 200.
    Extjs,
    /// `html`
    Html,
    /// `htmljs`: as extjs, in a page.
    Htmljs,
    /// `png`
    Png,
    /// `spiceconfig`
    Spiceconfig,
    /// A word that pveproxy takes for a format until it has asked for authentication, and then has not.
    Other,
}

/// A path in its one spelling.
///
/// Of a call: what stands below the format, decoded, one slash before each segment, `/` for none. Of a
/// page: decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath<'a>(Cow<'a, str>);

impl NormalPath<'_> {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments; none is empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// For keeping.
    #[must_use]
    pub fn into_owned(self) -> NormalPath<'static> {
        NormalPath(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Format {
    /// The word for it in a path; `None` where there are several.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("json"),
            Self::Extjs => Some("extjs"),
            Self::Html => Some("html"),
            Self::Htmljs => Some("htmljs"),
            Self::Png => Some("png"),
            Self::Spiceconfig => Some("spiceconfig"),
            Self::Other => None,
        }
    }

    fn of(word: &str) -> Option<Self> {
        let is_word = word.len() > 1
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        is_word.then_some(match word {
            "json" => Self::Json,
            "extjs" => Self::Extjs,
            "html" => Self::Html,
            "htmljs" => Self::Htmljs,
            "png" => Self::Png,
            "spiceconfig" => Self::Spiceconfig,
            _ => Self::Other,
        })
    }
}

/// Reads the path of a target, without its query.
pub(super) fn read(path: &str) -> (Place, NormalPath<'_>) {
    let path = match path.strip_prefix("//") {
        // Behind an authority without a path there is nothing.
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => path,
    };
    let bytes: Cow<'_, [u8]> = percent_decode_str(path).into();
    match bytes {
        Cow::Borrowed(_) => call(path).unwrap_or((Place::Page, NormalPath(Cow::Borrowed(path)))),
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(decoded) => match call(&decoded) {
                Some((place, path)) => (place, path.into_owned()),
                None => (Place::Page, NormalPath(Cow::Owned(decoded))),
            },
            Err(error) => {
                let place = if error.as_bytes().starts_with(API.as_bytes()) {
                    Place::Unreadable
                } else {
                    Place::Page
                };
                (place, NormalPath(Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned())))
            }
        },
    }
}

/// Reads a decoded path that begins with `/api2`; `None` for any other.
fn call(path: &str) -> Option<(Place, NormalPath<'_>)> {
    let whole = NormalPath(Cow::Borrowed(path));
    let rest = path.strip_prefix(API)?;
    let rest = rest.strip_suffix('\n').unwrap_or(rest);
    if rest.contains(char::is_control) {
        return Some((Place::Unreadable, whole));
    }
    let word = rest.trim_start_matches('/');
    if word.len() == rest.len() {
        return Some((Place::Nothing, whole));
    }
    let (word, below) = match word.find('/') {
        Some(slash) => word.split_at(slash),
        None => (word, ""),
    };
    Some(match Format::of(word) {
        None => (Place::Nothing, whole),
        Some(format) => (Place::Api(format), NormalPath(collapsed(below))),
    })
}

/// One slash before each segment and none at the end.
fn collapsed(below: &str) -> Cow<'_, str> {
    let below = below.trim_end_matches('/');
    if below.is_empty() {
        return Cow::Borrowed("/");
    }
    if !below.contains("//") {
        return Cow::Borrowed(below);
    }
    let mut path = String::with_capacity(below.len());
    for segment in below.split('/').filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    Cow::Owned(path)
}
