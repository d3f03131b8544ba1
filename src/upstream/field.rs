//! Fields toward pveproxy and back (pure).
//!
//! What a client says about itself, its address or its scheme does not get through in any spelling;
//! what the gate says replaces it. Fields between two neighbours stay between them (RFC 9110 §7.6.1).
//! The gate's cookies go neither up nor, set by the upstream, down.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{connection::cookies, names};

/// Most field lines that pveproxy takes; with more it gives no answer at all.
pub const MAX_LINES: usize = 62;

/// It takes fewer bytes in them than this.
pub const MAX_BYTES: usize = 8 * 1024;

/// Fields that concern one connection only.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields by which a client could claim an address, or steer pveproxy's inner workings. `_` counts as
/// `-`: some servers make them one.
const CLAIMS: [&str; 18] = [
    "forwarded",
    "x-forwarded",
    "forwarded-for",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-host",
    "pveclientip",
    "pvedisableproxy",
];

/// The request has more fields than pveproxy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{lines} field lines with {bytes} bytes, pveproxy takes up to {MAX_LINES} and fewer than {MAX_BYTES}"
)]
pub struct TooLarge {
    /// Lines.
    pub lines: usize,
    /// Bytes in them.
    pub bytes: usize,
}

/// Makes a client's fields fit to be sent up. Length and upgrade are the caller's to set afterwards; there is
/// room for a length, or for `upgrade`'s protocol.
///
/// # Errors
///
/// [`TooLarge`]
pub fn toward_upstream(
    fields: &mut HeaderMap,
    client: IpAddr,
    send_client_ip: &HeaderName,
    upgrade: Option<&HeaderValue>,
) -> Result<(), TooLarge> {
    remove_hop_by_hop(fields);
    // The gate answers expectations itself: pveproxy never would.
    fields.remove(header::EXPECT);
    let claims: Vec<HeaderName> =
        fields.keys().filter(|name| is_claim(name.as_str(), send_client_ip)).cloned().collect();
    for name in claims {
        fields.remove(name);
    }
    one_cookie_field(fields);
    // One plain address: pveproxy ignores lists, and IPv4 in IPv6's clothes would be logged so.
    if let Ok(address) = HeaderValue::try_from(client.to_canonical().to_string()) {
        fields.insert(send_client_ip, address);
    }
    fields.append(header::VIA, HeaderValue::from_static("1.1 pvegate"));
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    // What the caller sets: who upgrades has no body, and so no length.
    let (more_lines, more_bytes) = match upgrade {
        Some(protocol) => (2, "connection: upgrade\r\nupgrade: \r\n".len() + protocol.len()),
        None => (1, "content-length: 524288\r\n".len()),
    };
    let (lines, bytes) = (fields.len() + more_lines, bytes + more_bytes);
    if lines > MAX_LINES || bytes >= MAX_BYTES { Err(TooLarge { lines, bytes }) } else { Ok(()) }
}

/// Makes the upstream's fields fit to be sent to the client.
pub fn toward_client(fields: &mut HeaderMap) {
    remove_hop_by_hop(fields);
    if fields.get_all(header::SET_COOKIE).iter().any(sets_our_cookie) {
        let kept: Vec<HeaderValue> = fields
            .get_all(header::SET_COOKIE)
            .iter()
            .filter(|value| !sets_our_cookie(value))
            .cloned()
            .collect();
        fields.remove(header::SET_COOKIE);
        for value in kept {
            fields.append(header::SET_COOKIE, value);
        }
    }
}

fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // These frame and route the message: no neighbour may have them taken away.
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        fields.remove(name);
    }
}

fn is_claim(name: &str, send_client_ip: &HeaderName) -> bool {
    let same = |other: &str| {
        name.len() == other.len()
            && name.bytes().zip(other.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    let starts = |prefix: &str| {
        name.len() > prefix.len()
            && name.get(..prefix.len()).is_some_and(|start| {
                start.bytes().zip(prefix.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
            })
    };
    starts("x-forwarded-") || same(send_client_ip.as_str()) || CLAIMS.iter().any(|claim| same(claim))
}

/// pveproxy finds its cookie by a regular expression that wants a blank before the name, and reads
/// several Cookie fields as one with commas: so exactly one goes up, joined by `; `, without ours.
fn one_cookie_field(fields: &mut HeaderMap) {
    if !fields.contains_key(header::COOKIE) {
        return;
    }
    let length = fields.get_all(header::COOKIE).iter().map(|value| value.len() + 2).sum();
    let mut joined = BytesMut::with_capacity(length);
    for pair in cookies::pairs(fields) {
        if std::str::from_utf8(pair.name).is_ok_and(names::is_our_cookie) {
            continue;
        }
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(pair.whole);
    }
    fields.remove(header::COOKIE);
    let joined: Bytes = joined.freeze();
    if !joined.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(joined)
    {
        fields.insert(header::COOKIE, value);
    }
}

fn sets_our_cookie(value: &HeaderValue) -> bool {
    let name = value.as_bytes().split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    std::str::from_utf8(name.trim_ascii()).is_ok_and(names::is_our_cookie)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL_IP: HeaderName = HeaderName::from_static("x-forwarded-for");

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn up(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut map = map(fields);
        toward_upstream(&mut map, "::ffff:203.0.113.9".parse().unwrap(), &REAL_IP, None).unwrap();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn value(fields: &[(String, String)], name: &str) -> Option<String> {
        let found: Vec<_> = fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect();
        assert!(found.len() <= 1, "{name} stands more than once: {found:?}");
        found.into_iter().next()
    }

    #[test]
    fn no_claim_about_the_client_gets_through_in_any_spelling_and_ours_does() {
        let spellings = [
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded_For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "x_forwarded-prefix",
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "PVEClientIP",
            "pvedisableproxy",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
        ];
        for spelling in spellings {
            let fields = up(&[("host", "pve.lan"), (spelling, "10.0.0.1")]);
            assert!(fields.iter().all(|(_, value)| !value.contains("10.0.0.1")), "{spelling}: {fields:?}");
            assert_eq!(value(&fields, "x-forwarded-for").as_deref(), Some("203.0.113.9"), "{spelling}");
        }
    }

    #[test]
    fn a_client_cannot_have_fields_of_ours_taken_away_as_hop_by_hop() {
        let fields = up(&[
            ("host", "pve.lan"),
            ("connection", "close, X-Forwarded-For, Host, Content-Length, X-Mine"),
            ("x-mine", "1"),
            ("content-length", "3"),
            ("keep-alive", "1"),
            ("te", "trailers"),
        ]);

        assert_eq!(value(&fields, "host").as_deref(), Some("pve.lan"));
        assert_eq!(value(&fields, "content-length").as_deref(), Some("3"));
        assert_eq!(value(&fields, "x-forwarded-for").as_deref(), Some("203.0.113.9"));
        for gone in ["connection", "x-mine", "keep-alive", "te"] {
            assert_eq!(value(&fields, gone), None, "{gone}");
        }
    }

    #[test]
    fn exactly_one_cookie_field_goes_up_in_order_and_without_ours() {
        let fields = up(&[
            ("cookie", "a=1;PVEAuthCookie=PVE:root@pam:1::x"),
            ("cookie", "__Host-pvegate=v1.secret; b=2"),
            ("cookie", "__Host-pvegate-device=secret"),
        ]);
        assert_eq!(value(&fields, "cookie").as_deref(), Some("a=1; PVEAuthCookie=PVE:root@pam:1::x; b=2"));

        assert_eq!(value(&up(&[("cookie", "__Host-pvegate=secret")]), "cookie"), None);
    }

    #[test]
    fn what_proxmox_ve_needs_is_left_alone() {
        let kept = [
            ("host", "pve.lan:8443"),
            ("authorization", "PVEAPIToken=root@pam!x=uuid"),
            ("csrfpreventiontoken", "0:x"),
            ("accept-encoding", "gzip"),
            ("if-modified-since", "x"),
            ("sec-websocket-protocol", "binary, base64"),
            ("origin", "https://pve.lan"),
        ];
        let fields = up(&kept);
        for (name, expected) in kept {
            assert_eq!(value(&fields, name).as_deref(), Some(expected));
        }
    }

    #[test]
    fn more_than_pveproxy_takes_is_refused_at_its_very_limit() {
        let websocket = HeaderValue::from_static("websocket");
        let fits_with = |lines: usize, length: usize, upgrade: Option<&HeaderValue>| {
            let mut fields = HeaderMap::new();
            for i in 0..lines {
                fields.append(
                    HeaderName::try_from(format!("x-{i:03}")).unwrap(),
                    "a".repeat(length).parse().unwrap(),
                );
            }
            toward_upstream(&mut fields, "192.0.2.1".parse().unwrap(), &REAL_IP, upgrade).is_ok()
        };
        let fits = |lines, length| fits_with(lines, length, None);
        let upgrades = |lines, length| fits_with(lines, length, Some(&websocket));
        // Ours: the address, Via, and one kept for a length.
        assert!(fits(MAX_LINES - 3, 1));
        assert!(!fits(MAX_LINES - 2, 1));
        assert!(fits(1, 8000));
        assert!(!fits(1, 8120));
        // For an upgrade two are kept.
        assert!(upgrades(MAX_LINES - 4, 1));
        assert!(!upgrades(MAX_LINES - 3, 1));
        let longest = (8000..8200).take_while(|length| fits(1, *length)).last().unwrap();
        let upgraded = (8000..8200).take_while(|length| upgrades(1, *length)).last().unwrap();
        assert_eq!(longest - upgraded, 41 - 24, "two lines in place of one");
    }

    #[test]
    fn the_upstream_sets_its_own_cookies_and_never_ours() {
        let mut fields = map(&[
            ("set-cookie", "PVEAuthCookie=x; path=/; secure"),
            ("set-cookie", "__Host-pvegate=evil; Path=/; Secure"),
            ("set-cookie", " __host-PVEGATE-device =evil"),
            ("connection", "Keep-Alive, X-Hop"),
            ("x-hop", "1"),
            ("server", "pve-api-daemon/3.0"),
        ]);

        toward_client(&mut fields);

        assert_eq!(
            fields.get_all("set-cookie").iter().collect::<Vec<_>>(),
            ["PVEAuthCookie=x; path=/; secure"]
        );
        assert_eq!(fields.get("server").unwrap(), "pve-api-daemon/3.0");
        assert!(!fields.contains_key("connection") && !fields.contains_key("x-hop"));
    }

    proptest! {
        #[test]
        fn every_cookie_but_ours_survives_in_order(
            pairs in proptest::collection::vec(("[a-zA-Z_]{1,8}", "[!-+\\--:<-~]{0,8}", any::<bool>()), 1..10),
        ) {
            let mut fields = HeaderMap::new();
            let mut line = String::new();
            for (name, value, new_line) in &pairs {
                if *new_line && !line.is_empty() {
                    fields.append(header::COOKIE, line.parse().unwrap());
                    line = format!("{}=ours", names::SESSION_COOKIE);
                }
                if !line.is_empty() { line.push(';'); }
                line.push_str(&format!("{name}={value}"));
            }
            fields.append(header::COOKIE, line.parse().unwrap());
            let expected = pairs.iter().map(|(n, v, _)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
            toward_upstream(&mut fields, "192.0.2.1".parse().unwrap(), &REAL_IP, None).unwrap();
            prop_assert_eq!(fields.get(header::COOKIE).unwrap().to_str().unwrap(), expected);
        }
    }
}
