//! Parameters of a call as pveproxy reads them (pure).
//!
//! It splits at `&` and `;`, takes what stands between the first and the second `=` for the value, joins
//! values of one name with a NUL, and lets the query win over the body. Nothing here is ever logged as it
//! stands: there are passwords in it.

use std::{borrow::Cow, collections::HashMap, fmt};

use percent_encoding::percent_decode;
use serde_json::Value;

/// Parameters by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(HashMap<String, String>);

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// As a form.
    Form,
    /// As a JSON object.
    Json,
}

impl BodyKind {
    /// By a Content-Type: JSON if that is what it says, to the letter, before the first `;` or `,`.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>) -> Self {
        let first = content_type.unwrap_or_default().split(|b| matches!(b, b';' | b',')).next();
        if first.unwrap_or_default().trim_ascii_end() == b"application/json" {
            Self::Json
        } else {
            Self::Form
        }
    }
}

impl Parameters {
    /// Of a query, without its question mark.
    #[must_use]
    pub fn of_query(query: &str) -> Self {
        Self(pairs(query.as_bytes()))
    }

    /// Of a body and a query together, as a POST or PUT has them. What is no JSON object has no
    /// parameters.
    #[must_use]
    pub fn of(query: &str, kind: BodyKind, body: &[u8]) -> Self {
        let mut all = match kind {
            BodyKind::Form => pairs(body),
            BodyKind::Json => match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => {
                    object.into_iter().filter_map(|(name, value)| Some((name, scalar(value)?))).collect()
                }
                Ok(_) | Err(_) => HashMap::new(),
            },
        };
        all.extend(pairs(query.as_bytes()));
        Self(all)
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Who is to be signed in, as `user@realm`; the login's `username` and `realm`, or `authid` where a
    /// console's ticket is checked.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        let name = self.get("username").or_else(|| self.get("authid"))?;
        Some(match self.get("realm") {
            Some(realm) if !name.contains('@') => format!("{name}@{realm}"),
            Some(_) | None => name.to_owned(),
        })
    }
}

/// Names only: a value may be a password.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn pairs(text: &[u8]) -> HashMap<String, String> {
    let mut found: HashMap<String, String> = HashMap::new();
    for pair in text.split(|b| matches!(b, b'&' | b';')).filter(|pair| !pair.is_empty()) {
        let mut parts = pair.split(|b| *b == b'=');
        let name = decoded(parts.next().unwrap_or_default());
        let value = decoded(parts.next().unwrap_or_default());
        found
            .entry(name)
            .and_modify(|before| {
                before.push('\0');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    found
}

fn decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let bytes: Cow<'_, [u8]> = percent_decode(&spaced).into();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Perl's text of a JSON value; what is no scalar has none.
fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(u8::from(truth).to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
