//! What a request asks of Proxmox VE (pure).
//!
//! pveproxy reads paths leniently: it decodes percent escapes, slashes included, and collapses
//! slashes. [`segments`] reads them the same way, so that a rule about a call meets every spelling of
//! it. The path that is forwarded stays as it was sent, byte for byte.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The segments of a path as pveproxy sees them.
pub fn segments(path: &str) -> Vec<String> {
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    decoded
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| String::from_utf8_lossy(segment).into_owned())
        .collect()
}

/// Whether this is the call that signs in to Proxmox VE and, every quarter of an hour in an open tab,
/// renews the ticket: `/api2/<format>/access/ticket`.
#[must_use]
pub fn is_ticket_call(path: &str) -> bool {
    // The common case costs no allocation.
    if !path.trim_start_matches('/').starts_with("api2") && !path.contains('%') {
        return false;
    }
    let segments = segments(path);
    let mut segments = segments.iter().map(String::as_str);
    segments.next() == Some("api2")
        && segments.next().is_some()
        && segments.next() == Some("access")
        && segments.next() == Some("ticket")
        && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_spelling_of_the_ticket_call_is_recognised_and_neighbours_are_not() {
        #[rustfmt::skip]
        let table = [
            ("/api2/json/access/ticket",           true),
            ("/api2/extjs/access/ticket",          true),
            ("/api2///json/access/ticket",         true),
            ("/api2/json/%61ccess/ticket",         true),
            ("/api2/json/access%2Fticket",         true),
            ("/%61pi2/json/access/ticket",         true),
            ("/api2/json/access/tickets",          false),
            ("/api2/json/access/vncticket",        false),
            ("/api2/json/nodes/access/ticket",     false),
            ("/api2/access/ticket",                false),
            ("/",                                  false),
        ];
        for (path, expected) in table {
            assert_eq!(is_ticket_call(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_mixture_of_escapes_and_slashes_hides_the_ticket_call(
            escaped in proptest::collection::vec(any::<bool>(), 32), slashes in 1_usize..4,
        ) {
            let plain = ["api2", "json", "access", "ticket"].join(&"/".repeat(slashes));
            let spelled: String = plain.chars().zip(escaped.into_iter().cycle())
                .map(|(c, escape)| if escape { format!("%{:02x}", c as u32) } else { c.to_string() })
                .collect();
            let path = format!("/{spelled}");
            prop_assert!(is_ticket_call(&path), "{}", path);
        }
    }
}
