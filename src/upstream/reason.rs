//! Reason phrases on their way down (RFC 9112 §4).
//!
//! Proxmox VE puts the text of an error there, and its interface shows it to people: what it says is kept.
//! What could not be read, or should not be shown, is replaced, for an empty phrase tells nobody anything.

use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// Sees to it that a response has a phrase that can be shown.
pub(super) fn keep<B>(response: &mut Response<B>) {
    let status = response.status();
    let extensions = response.extensions_mut();
    match extensions.get::<ReasonPhrase>() {
        // hyper stores what is not the canonical phrase. What has bytes beyond ASCII comes out empty.
        Some(reason) if is_printable(reason.as_bytes()) => {}
        None if status.canonical_reason().is_some() => {}
        Some(_) | None => {
            extensions.remove::<ReasonPhrase>();
            if status.canonical_reason().is_none() {
                extensions.insert(ReasonPhrase::from_static(phrase(status).as_bytes()));
            }
        }
    }
}

fn is_printable(reason: &[u8]) -> bool {
    !reason.trim_ascii().is_empty() && reason.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

/// For codes that have no canonical phrase. 595 to 599 are those of Proxmox VE's own client, by which a node
/// asks another or its own daemon; others are told by their class (RFC 9110 §15).
fn phrase(status: StatusCode) -> &'static str {
    match status.as_u16() {
        595 => "Connection failed",
        596 => "No valid answer",
        597 => "Answer broke off",
        598 => "Aborted",
        599 => "Unknown error",
        100..=199 => "Informational",
        200..=299 => "Success",
        300..=399 => "Redirection",
        400..=499 => "Client Error",
        500.. => "Server Error",
        0..=99 => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_shown_is_kept_and_nothing_is_ever_blank() {
        let long = "x".repeat(3 * 1024);
        #[rustfmt::skip]
        let table: &[(&str, u16, Option<&[u8]>, Option<&str>)] = &[
            // case                    status  came                           goes (None: hyper writes the canonical phrase)
            ("the canonical phrase",   200,    None,                          None),
            ("an error's text",        500,    Some(b"storage 'a' offline"),  Some("storage 'a' offline")),
            ("a long one",             500,    Some(long.as_bytes()),         Some(&long)),
            ("a code of its own",      595,    Some(b"Connection refused"),   Some("Connection refused")),
            ("empty",                  500,    Some(b""),                     None),
            ("blank",                  500,    Some(b"  "),                   None),
            ("not ASCII",              500,    Some(b"verf\xfcgbar"),         None),
            ("empty, own code",        595,    Some(b""),                     Some("Connection failed")),
            ("not ASCII, own code",    596,    Some(b"\xfc"),                 Some("No valid answer")),
            ("no phrase, own code",    599,    None,                          Some("Unknown error")),
            ("no phrase, unknown",     444,    None,                          Some("Client Error")),
        ];
        for (case, status, came, goes) in table {
            let mut response = Response::builder().status(*status).body(()).unwrap();
            if let Some(came) = came {
                response.extensions_mut().insert(ReasonPhrase::try_from(came.to_vec()).unwrap());
            }

            keep(&mut response);

            let kept = response.extensions().get::<ReasonPhrase>().map(|reason| reason.as_bytes());
            assert_eq!(kept, goes.map(str::as_bytes), "{case}");
        }
    }
}
