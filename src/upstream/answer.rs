//! Which answers of the upstream are no answers (pure).
//!
//! hyper reads them, and is lenient with what frames them: it takes a length beside a coding, a length
//! twice, and any coding for a body that ends with the connection. Whoever reads the answer otherwise would
//! see two. Here such an answer is refused; nothing of it reaches the client, and its connection is not used
//! again. Sections are of RFC 9112.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::Notify;

/// Longest head of an answer in bytes. pveproxy's reach a few hundred, with a long reason phrase some
/// thousand.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most fields of an answer.
pub(super) const MAX_FIELD_LINES: usize = 256;

/// Most interim responses (1xx) before an answer. pveproxy sends none.
const MAX_INTERIM: usize = 8;

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Content-Length together with Transfer-Encoding (§6.3).
    #[error("an answer with both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// More than one Content-Length, or one that is no number (§6.2).
    #[error("an answer whose Content-Length is not one number")]
    Length,
    /// Another transfer coding than chunked (§6.1).
    #[error("an answer with a transfer coding other than chunked")]
    Coding,
    /// More interim responses than anybody needs.
    #[error("more than {MAX_INTERIM} interim responses before an answer")]
    Interim,
    /// A 101 to a request that asked for no upgrade (RFC 9110 §7.8).
    #[error("a switch of protocols that nobody asked for")]
    Unasked,
    /// A 101 to another protocol than was asked for.
    #[error("a switch to another protocol than was asked for")]
    OtherProtocol,
}

/// Checks an answer to a request that asked for this upgrade, or for none.
///
/// # Errors
///
/// [`BadAnswer`]
pub(super) fn check<B>(answer: &Response<B>, asked: Option<&HeaderValue>) -> Result<(), BadAnswer> {
    framing(answer.headers())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let asked = asked.ok_or(BadAnswer::Unasked)?;
    match sole(answer.headers(), &header::UPGRADE) {
        Some(Ok(protocol)) if protocol.eq_ignore_ascii_case(asked.as_bytes()) => Ok(()),
        Some(Ok(_) | Err(Several)) | None => Err(BadAnswer::OtherProtocol),
    }
}

fn framing(fields: &HeaderMap) -> Result<(), BadAnswer> {
    let length = sole(fields, &header::CONTENT_LENGTH);
    let coding = sole(fields, &header::TRANSFER_ENCODING);
    match (length, coding) {
        (Some(_), Some(_)) => Err(BadAnswer::LengthAndCoding),
        (None, Some(Ok(coding))) if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        (None, Some(Ok(_) | Err(Several))) => Err(BadAnswer::Coding),
        (Some(Ok(length)), None) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => Ok(()),
        (Some(Ok(_) | Err(Several)), None) => Err(BadAnswer::Length),
        (None, None) => Ok(()),
    }
}

struct Several;

fn sole<'a>(fields: &'a HeaderMap, name: &header::HeaderName) -> Option<Result<&'a [u8], Several>> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { Err(Several) } else { Ok(first.as_bytes()) })
}

/// Counts the interim responses to one request.
#[derive(Debug, Default)]
pub(super) struct Interim {
    seen: AtomicUsize,
    flood: Notify,
}

impl Interim {
    pub(super) fn count<B>(request: &mut Request<B>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let counted = interim.clone();
        hyper::ext::on_informational(request, move |_| {
            if counted.seen.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
                counted.flood.notify_one();
            }
        });
        interim
    }

    /// Ready when there are too many.
    pub(super) async fn flood(&self) {
        self.flood.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_two_parsers_read_differently_is_refused_by_name() {
        use BadAnswer::*;
        let asked = HeaderValue::from_static("websocket");
        #[rustfmt::skip]
        let table: &[(&str, u16, Option<&HeaderValue>, &[(&str, &str)], Result<(), BadAnswer>)] = &[
            ("no framing",            200, None, &[], Ok(())),
            ("length",                200, None, &[("content-length", "5")], Ok(())),
            ("chunked",               200, None, &[("transfer-encoding", "Chunked")], Ok(())),
            ("both",                  200, None, &[("content-length", "5"), ("transfer-encoding", "chunked")], Err(LengthAndCoding)),
            ("both without a body",   304, None, &[("content-length", "5"), ("transfer-encoding", "chunked")], Err(LengthAndCoding)),
            ("two lengths",           200, None, &[("content-length", "5"), ("content-length", "6")], Err(Length)),
            ("the same length twice", 200, None, &[("content-length", "5"), ("content-length", "5")], Err(Length)),
            ("lengths in a list",     200, None, &[("content-length", "5, 5")], Err(Length)),
            ("a sign",                200, None, &[("content-length", "+5")], Err(Length)),
            ("an empty length",       304, None, &[("content-length", "")], Err(Length)),
            ("gzip",                  200, None, &[("transfer-encoding", "gzip")], Err(Coding)),
            ("gzip, chunked",         200, None, &[("transfer-encoding", "gzip, chunked")], Err(Coding)),
            ("chunked twice",         200, None, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err(Coding)),
            ("asked, but no 101",     200, Some(&asked), &[("upgrade", "h2c")], Ok(())),
            ("101 as asked",          101, Some(&asked), &[("upgrade", "WebSocket")], Ok(())),
            ("101 unasked",           101, None, &[("upgrade", "websocket")], Err(Unasked)),
            ("101 to another",        101, Some(&asked), &[("upgrade", "h2c")], Err(OtherProtocol)),
            ("101 to nothing",        101, Some(&asked), &[], Err(OtherProtocol)),
            ("101 to two in a list",  101, Some(&asked), &[("upgrade", "websocket, h2c")], Err(OtherProtocol)),
            ("101 to two",            101, Some(&asked), &[("upgrade", "websocket"), ("upgrade", "h2c")], Err(OtherProtocol)),
        ];
        for (case, status, asked, fields, expected) in table {
            let mut answer = Response::builder().status(*status);
            for (name, value) in *fields {
                answer = answer.header(*name, *value);
            }
            assert_eq!(check(&answer.body(()).unwrap(), *asked), *expected, "{case}");
        }
    }
}
