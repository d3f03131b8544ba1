//! What Proxmox VE's answer to a sign-in says (pure).
//!
//! The formats differ: `extjs` and `htmljs` tell every failure with a 200 and `"success":0`, the old
//! `html` page answers a right password with a redirect, the others use the status. A right password
//! whose second factor is still to come is a 200 with `"NeedTFA":1`.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::Value;

use crate::gate::pve_call::Format;

/// What became of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    /// It succeeded; as whom, where the answer says so.
    SignedIn(Option<String>),
    /// The password is right, and the second factor is still to come.
    SecondFactorNext,
    /// Refused: wrong password, code, ticket, or no such user.
    Refused,
    /// It was not answered in substance: malformed, not allowed, out of order.
    Fault(u16),
    /// An answer of which nobody can say which it is.
    Unclear,
}

/// Reads an answer: its status, and as much of its body as was kept.
pub(super) fn read(format: Format, status: StatusCode, body: &[u8]) -> Answered {
    if let Some(failure) = failure(status.as_u16()) {
        return failure;
    }
    match format {
        Format::Html if status.is_redirection() => Answered::SignedIn(None),
        Format::Html => Answered::Unclear,
        // The status is all that these tell.
        Format::Png | Format::Spiceconfig | Format::Other => Answered::SignedIn(None),
        Format::Json | Format::Extjs | Format::Htmljs => in_substance(body).unwrap_or(Answered::Unclear),
    }
}

fn failure(status: u16) -> Option<Answered> {
    match status {
        401 => Some(Answered::Refused),
        200..=399 => None,
        other => Some(Answered::Fault(other)),
    }
}

fn in_substance(body: &[u8]) -> Option<Answered> {
    let text = std::str::from_utf8(body).ok()?;
    // In a page, quotation marks are escaped, and there is markup around the object.
    let text = if text.contains("&quot;") { Cow::Owned(text.replace("&quot;", "\"")) } else { text.into() };
    let object = text.get(text.find('{')?..=text.rfind('}')?)?;
    let answer: Value = serde_json::from_str(object).ok()?;
    if answer.get("success").is_some_and(is_no) {
        let status = answer.get("status");
        let status = status.and_then(Value::as_u64).or_else(|| status?.as_str()?.parse().ok());
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
        return Some(failure(status).unwrap_or(Answered::Unclear));
    }
    let data = answer.get("data")?;
    Some(match data.get("NeedTFA") {
        Some(need) if !is_no(need) => Answered::SecondFactorNext,
        Some(_) | None => Answered::SignedIn(data.get("username").and_then(Value::as_str).map(str::to_owned)),
    })
}

/// Perl's idea of false.
fn is_no(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "0"),
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table() {
        use Answered::{Fault, Refused, SecondFactorNext, SignedIn, Unclear};
        use Format::{Extjs, Html, Htmljs, Json, Png};
        let alice = || SignedIn(Some("alice@pve".to_owned()));
        #[rustfmt::skip]
        let table = [
            // case                      format  status  body                                                        answered
            ("json, right",              Json,   200, r#"{"data":{"username":"alice@pve","ticket":"PVE:…"}}"#,        alice()),
            ("json, wrong",              Json,   401, r#"{"data":null,"message":"authentication failure\n"}"#,       Refused),
            ("json, second factor",      Json,   200, r#"{"data":{"username":"alice@pve","NeedTFA":1}}"#,             SecondFactorNext),
            ("json, malformed",          Json,   400, r#"{"data":null,"errors":{}}"#,                                 Fault(400)),
            ("json, daemon away",        Json,   595, "",                                                             Fault(595)),
            ("json, cut",                Json,   200, r#"{"data":{"username":"ali"#,                                  Unclear),
            ("json, no body",            Json,   200, "",                                                             Unclear),
            ("vncticket, right",         Json,   200, r#"{"data":null}"#,                                             SignedIn(None)),
            ("extjs, right",             Extjs,  200, r#"{"data":{"username":"alice@pve"},"success":1}"#,             alice()),
            ("extjs, wrong",             Extjs,  200, r#"{"data":null,"success":0,"status":"401","message":"x"}"#,    Refused),
            ("extjs, wrong, number",     Extjs,  200, r#"{"success":0,"status":401}"#,                                Refused),
            ("extjs, wrong, false",      Extjs,  200, r#"{"success":false,"status":401}"#,                            Refused),
            ("extjs, malformed",         Extjs,  200, r#"{"success":0,"status":"400"}"#,                              Fault(400)),
            ("extjs, no status",         Extjs,  200, r#"{"success":0}"#,                                             Fault(500)),
            ("extjs, contradictory",     Extjs,  200, r#"{"success":0,"status":"200"}"#,                              Unclear),
            ("extjs, second factor",     Extjs,  200, r#"{"data":{"NeedTFA":"1"},"success":1}"#,                      SecondFactorNext),
            ("extjs, compressed",        Extjs,  200, "\u{1f}\u{8b}",                                                 Unclear),
            ("htmljs, wrong",            Htmljs, 200, r#"<p>{&quot;success&quot;:0,&quot;status&quot;:&quot;401&quot;}</p>"#, Refused),
            ("html, right",              Html,   301, "",                                                             SignedIn(None)),
            ("html, a page",             Html,   200, "<html>",                                                       Unclear),
            ("html, wrong",              Html,   401, "<html>",                                                       Refused),
            ("png, right",               Png,    200, "",                                                             SignedIn(None)),
            ("png, wrong",               Png,    401, "",                                                             Refused),
        ];
        for (case, format, status, body, answered) in table {
            assert_eq!(
                read(format, StatusCode::from_u16(status).unwrap(), body.as_bytes()),
                answered,
                "{case}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_failure_reads_as_a_success(end in 0_usize..64) {
            let body = br#"{"data":null,"success":0,"status":"401","message":"{\"data\":1}"}"#;
            let read = read(Format::Extjs, StatusCode::OK, body.get(..end).unwrap());
            prop_assert!(!matches!(read, Answered::SignedIn(_) | Answered::SecondFactorNext), "{:?}", read);
        }
    }
}
