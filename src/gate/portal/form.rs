//! What a form of ours sent: `application/x-www-form-urlencoded`, every field at most once.

use std::collections::HashMap;

use http::{HeaderMap, header};
use zeroize::Zeroizing;

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Form {
    fields: HashMap<String, Zeroizing<String>>,
}

/// Why a body is no form of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Another media type.
    #[error("a body that is not application/x-www-form-urlencoded")]
    MediaType,
    /// A field twice: two readers would take different ones.
    #[error("a form with a field twice")]
    Twice,
}

impl FormError {
    /// The word for it in answers.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::MediaType => "media_type",
            Self::Twice => "field_twice",
        }
    }
}

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    ///
    /// [`FormError`]
    pub(super) fn parse(fields: &HeaderMap, body: &[u8]) -> Result<Self, FormError> {
        let media_type = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = media_type.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(FormError::MediaType);
        }
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            if form.fields.insert(name.into_owned(), Zeroizing::new(value.into_owned())).is_some() {
                return Err(FormError::Twice);
            }
        }
        Ok(form)
    }

    /// The value of a field; empty where it is missing.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.as_str())
    }

    /// Every field, in no order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the field was sent.
    #[must_use]
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(media_type: &'static str, body: &str) -> Result<Form, FormError> {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Form::parse(&fields, body.as_bytes())
    }

    #[test]
    fn a_form_has_each_field_once_and_its_own_media_type() {
        let ours = "application/x-www-form-urlencoded";
        let form = parse("Application/X-WWW-Form-Urlencoded; charset=utf-8", "user=a%20b&code=1+2").unwrap();

        assert_eq!((form.get("user"), form.get("code"), form.get("none")), ("a b", "1 2", ""));
        assert!(form.has("code") && !form.has("none"));
        assert_eq!(parse(ours, "a=1&b=2&a=3").unwrap_err(), FormError::Twice);
        assert_eq!(parse("text/plain", "a=1").unwrap_err(), FormError::MediaType);
        assert_eq!(parse("application/json", "{}").unwrap_err(), FormError::MediaType);
    }
}
