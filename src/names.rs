//! Names and phrases that others depend on: browsers, Proxmox VE's interface, filters of log lines.

/// Everything of the gate's own lives under this prefix; Proxmox VE uses no path that begins so.
pub const PREFIX: &str = "/_gate/";

/// The session cookie. `__Host-` makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis
/// §4.1.3.2). Such a cookie reaches every port of its host: never assume that it is ours alone.
pub const SESSION_COOKIE: &str = "__Host-pvegate";

/// The cookie that tells a device that signed in before from a stranger's.
pub const DEVICE_COOKIE: &str = "__Host-pvegate-device";

/// The cookie of a language chosen on a page of ours.
pub const LANGUAGE_COOKIE: &str = "__Host-pvegate-language";

/// Cookies that Proxmox VE's own interface keeps its language and theme in; we follow them.
pub const PVE_LANGUAGE_COOKIE: &str = "PVELangCookie";
/// See [`PVE_LANGUAGE_COOKIE`].
pub const PVE_THEME_COOKIE: &str = "PVEThemeCookie";

/// Reason phrase of every 401: Proxmox VE's interface prints it as `Connection error 401: …`.
pub const SIGN_IN_PHRASE: &str = "Sign in to the gate - reload this page";

/// Reason phrase of the 403 for what acts and was sent by another site's page.
pub const CROSS_SITE_PHRASE: &str = "Refused by the gate - not sent by a page of its own";

/// Reason phrase of the 403 for what acts and does not say by whose page it was sent: a script with a session.
pub const NO_ORIGIN_PHRASE: &str = "Refused by the gate - send Origin, or use an API token";

/// Reason phrase of the 429 after too many failed sign-ins to Proxmox VE, whose window shows it.
pub const UPSTREAM_SIGN_IN_PHRASE: &str = "Too many failed sign-ins to Proxmox VE - wait a minute";

/// Whether a cookie of this name is one of ours, to be kept from the upstream, and never to be set by it.
///
/// ASCII case is ignored: browsers treat the prefix so, and nobody else has a use for these names.
#[must_use]
pub fn is_our_cookie(name: &str) -> bool {
    name.get(..SESSION_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SESSION_COOKIE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_are_known_in_any_case_and_others_are_not() {
        for ours in [SESSION_COOKIE, DEVICE_COOKIE, LANGUAGE_COOKIE, "__host-PVEGATE"] {
            assert!(is_our_cookie(ours), "{ours}");
        }
        for other in ["PVEAuthCookie", "pvegate", "__Host-pve", ""] {
            assert!(!is_our_cookie(other), "{other}");
        }
    }
}
