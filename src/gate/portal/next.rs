//! Where somebody was going before the gate sent them to sign in (pure).
//!
//! The target travels in the query of the sign-in page, so a stranger can write it: only a path of our
//! own origin is ever followed. The fragment of Proxmox VE's deep links travels by itself: browsers
//! keep it across redirects, and the sign-in form is sent to the page's own URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::names;

const PARAMETER: &str = "next";

/// What need not be escaped in the query of our own page.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Longest target that is remembered; past this, people land on the first page.
const LONGEST: usize = 2048;

/// The sign-in page's address that remembers `target`, a path with its query.
#[must_use]
pub(super) fn sign_in_url(target: &str) -> String {
    with(&format!("{}sign-in", names::PREFIX), target)
}

/// The address of a page of ours that remembers `target`, likewise.
#[must_use]
pub(super) fn with(page: &str, target: &str) -> String {
    if target == "/" || target.len() > LONGEST || own(target).is_none() {
        page.to_owned()
    } else {
        format!("{page}?{PARAMETER}={}", utf8_percent_encode(target, ESCAPED))
    }
}

/// Where to go after signing in, from the query of the sign-in page: `/` unless it names a path of
/// our own origin.
#[must_use]
pub(super) fn after_sign_in(query: Option<&str>) -> String {
    let mut named =
        form_urlencoded::parse(query.unwrap_or("").as_bytes()).filter(|(name, _)| name == PARAMETER);
    match (named.next(), named.next()) {
        (Some((_, target)), None) => own(&target).map_or_else(|| "/".to_owned(), str::to_owned),
        (Some(_), Some(_)) | (None, _) => "/".to_owned(),
    }
}

/// The target, if every browser reads it as a path of this origin: one slash, then neither a second
/// one nor a backslash, and no byte that browsers drop or that would end a field.
fn own(target: &str) -> Option<&str> {
    let rest = target.strip_prefix('/')?;
    let plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    (plain && !rest.starts_with('/')).then_some(target)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_path_of_our_own_origin_is_followed() {
        let table = [
            (None, "/"),
            (Some("next=%2F%3Fconsole%3Dshell%26node%3Dpve"), "/?console=shell&node=pve"),
            (Some("next=/pve2/x&lang=de"), "/pve2/x"),
            (Some("next=https%3A%2F%2Fevil.example%2F"), "/"),
            (Some("next=//evil.example/"), "/"),
            (Some("next=%2F%2Fevil.example"), "/"),
            (Some("next=/%5Cevil.example"), "/"),
            (Some("next=%5C%5Cevil.example"), "/"),
            (Some("next=/%09/evil.example"), "/"),
            (Some("next=/x%0d%0aSet-Cookie:%20a=b"), "/"),
            (Some("next=javascript:alert(1)"), "/"),
            (Some("next="), "/"),
            (Some("next=/a&next=/b"), "/"),
        ];
        for (query, target) in table {
            assert_eq!(after_sign_in(query), target, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn a_target_comes_back_as_it_was(path in "/[a-zA-Z0-9_.~!$&'()*+,;=:@%?-][ -~&&[^\\\\# ]]{0,60}") {
            let url = sign_in_url(&path);
            let query = url.split_once('?').map(|(_, query)| query);
            prop_assert_eq!(after_sign_in(query), path);
        }

        #[test]
        fn whatever_stands_in_the_query_the_answer_begins_with_exactly_one_slash(query in "next=.{0,40}") {
            let target = after_sign_in(Some(&query));
            prop_assert!(target.starts_with('/') && !target.starts_with("//") && !target.contains('\\'));
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
