//! Tickets, CSRF tokens, and where credentials stand in a request.
//!
//! Pure, except for the key that [`Signer::random`] draws. Forms and lifetimes are those of Proxmox VE; the
//! signature is an HMAC stretched to the length of its RSA signature, since only the stand-in checks it.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode;
use sha2::Sha256;

use crate::time::Timestamp;

/// The cookie, and a scheme of Authorization.
pub(super) const COOKIE: &str = "PVEAuthCookie";
/// The other scheme of Authorization.
pub(super) const TOKEN: &str = "PVEAPIToken";

/// Lifetime of tickets and CSRF tokens, seconds.
const TICKET_SECS: i64 = 2 * 3600;
/// Lifetime of a console ticket, seconds.
const CONSOLE_SECS: i64 = 40;
/// Tickets from the future are taken up to this far, seconds.
const SKEW_SECS: i64 = 300;
/// What the first step of a two-step sign-in offers.
const CHALLENGE: &str = r#"!tfa!{"totp"%3Atrue,"recovery"%3A[0,1,2,3,4,5,6,7,8,9]}"#;

/// Signs and checks.
pub(super) struct Signer([u8; 32]);

impl Signer {
    /// With a key of its own.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// `PVE:user@realm:HEXTIME::signature`
    pub(super) fn ticket(&self, user: &str, now: Timestamp) -> String {
        self.seal("ticket", &format!("PVE:{user}:{:08X}", now.secs()), "")
    }

    /// Whose ticket this is.
    pub(super) fn ticket_user(&self, ticket: &str, now: Timestamp) -> Option<String> {
        let text = self.open("ticket", ticket, "")?;
        let (user, time) = text.strip_prefix("PVE:")?.rsplit_once(':')?;
        (!user.starts_with('!') && is_fresh(time, now, TICKET_SECS)).then(|| user.to_owned())
    }

    /// The half ticket of a sign-in that wants a second step.
    pub(super) fn challenge(&self, user: &str, now: Timestamp) -> String {
        self.seal("challenge", &format!("PVE:{CHALLENGE}:{:08X}", now.secs()), user)
    }

    /// Whether this half ticket was made for `user`.
    pub(super) fn is_challenge(&self, challenge: &str, user: &str, now: Timestamp) -> bool {
        self.open("challenge", challenge, user)
            .and_then(|text| text.rsplit_once(':').map(|(_, time)| is_fresh(time, now, TICKET_SECS)))
            .unwrap_or(false)
    }

    /// `HEXTIME:base64`
    pub(super) fn csrf(&self, user: &str, now: Timestamp) -> String {
        let time = format!("{:08X}", now.secs());
        let mac = self.mac("csrf", &[user, &time], 0);
        format!("{time}:{}", BASE64.encode(&mac).trim_end_matches('='))
    }

    /// Whether this CSRF token was made for `user`.
    pub(super) fn is_csrf(&self, token: &str, user: &str, now: Timestamp) -> bool {
        let Some((time, mac)) = token.split_once(':') else { return false };
        let wanted = self.mac("csrf", &[user, time], 0);
        is_fresh(time, now, TICKET_SECS) && mac == BASE64.encode(&wanted).trim_end_matches('=')
    }

    /// A console ticket, bound to user, path and port.
    pub(super) fn console(&self, user: &str, path: &str, port: u16, now: Timestamp) -> String {
        self.seal("console", &format!("PVEVNC:{:08X}", now.secs()), &format!("{user} {path} {port}"))
    }

    /// Whether this console ticket fits.
    pub(super) fn is_console(&self, ticket: &str, user: &str, path: &str, port: u16, now: Timestamp) -> bool {
        self.open("console", ticket, &format!("{user} {path} {port}"))
            .and_then(|text| text.strip_prefix("PVEVNC:").map(|time| is_fresh(time, now, CONSOLE_SECS)))
            .unwrap_or(false)
    }

    fn seal(&self, purpose: &str, text: &str, bound_to: &str) -> String {
        format!("{text}::{}", self.signature(purpose, text, bound_to))
    }

    fn open<'a>(&self, purpose: &str, sealed: &'a str, bound_to: &str) -> Option<&'a str> {
        let (text, signature) = sealed.rsplit_once("::")?;
        (signature == self.signature(purpose, text, bound_to)).then_some(text)
    }

    /// 344 characters, as long as that of an RSA key of 2048 bits.
    fn signature(&self, purpose: &str, text: &str, bound_to: &str) -> String {
        let bytes: Vec<u8> = (0..8).flat_map(|block| self.mac(purpose, &[text, bound_to], block)).collect();
        BASE64.encode(&bytes)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn mac(&self, purpose: &str, texts: &[&str], block: u8) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of 32 bytes");
        mac.update(purpose.as_bytes());
        for text in texts {
            mac.update(&[0]);
            mac.update(text.as_bytes());
        }
        mac.update(&[0, block]);
        mac.finalize().into_bytes().into()
    }
}

fn is_fresh(hex_time: &str, now: Timestamp, lifetime: i64) -> bool {
    let Ok(time) = i64::from_str_radix(hex_time, 16) else { return false };
    let age = now.secs() - time;
    (-SKEW_SECS..=lifetime).contains(&age)
}

/// The value after `name` in a Cookie or Authorization field, percent-decoded.
///
/// The meaning of the expression `(?:^|\s)NAME(?:=| )([^;]*)` on the whole field: the name stands at the
/// start or after white space (a semicolon alone does not do), the first match wins, the value ends at a
/// semicolon.
pub(super) fn extract(field: &[u8], name: &str) -> Option<String> {
    (0..field.len()).find_map(|at| {
        let begins = match at.checked_sub(1).and_then(|before| field.get(before)) {
            None => true,
            Some(before) => matches!(before, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c),
        };
        let value = field.get(at..)?.strip_prefix(name.as_bytes())?;
        let value = value.strip_prefix(b"=").or_else(|| value.strip_prefix(b" "))?;
        let value = value.split(|byte| *byte == b';').next()?;
        begins.then(|| percent_decode(value).decode_utf8_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::{meta::Regex, util::syntax};

    use super::*;

    #[test]
    fn a_cookie_is_found_where_the_expression_finds_it() {
        #[rustfmt::skip]
        let table = [
            ("PVEAuthCookie=x",                      Some("x")),
            ("a=b; PVEAuthCookie=x; c=d",            Some("x")),
            ("a=b;PVEAuthCookie=x",                  None),
            ("a=b;PVEAuthCookie=x; PVEAuthCookie=y", Some("y")),
            ("PVEAuthCookie=x, a=b",                 Some("x, a=b")),
            ("PVEAuthCookie x",                      Some("x")),
            ("PVEAuthCookie:x",                      None),
            ("pveauthcookie=x",                      None),
            ("XPVEAuthCookie=x",                     None),
            ("PVEAuthCookie=PVE%3Ax",                Some("PVE:x")),
            ("PVEAuthCookie=",                       Some("")),
            ("PVEAuthCookie=x PVEAuthCookie=y",      Some("x PVEAuthCookie=y")),
        ];
        for (field, wanted) in table {
            assert_eq!(extract(field.as_bytes(), COOKIE).as_deref(), wanted, "{field}");
        }
    }

    proptest! {
        #[test]
        fn extraction_agrees_with_the_expression_itself(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("N".to_owned()), Just("NN".to_owned()), Just("=".to_owned()), Just(" ".to_owned()),
                    Just(";".to_owned()), Just("; ".to_owned()), Just("\t".to_owned()), Just(", ".to_owned()),
                    Just("\u{b}".to_owned()), Just("\n".to_owned()), "[a-z%41é]{0,4}",
                ],
                0..12,
            )
        ) {
            let field = pieces.concat();
            let regex = Regex::builder()
                .syntax(syntax::Config::new().unicode(false).utf8(false))
                .build(r"(?:^|\s)N(?:=| )(?<value>[^;]*)")
                .unwrap();

            let mut found = regex.create_captures();
            regex.captures(field.as_bytes(), &mut found);
            let wanted = found
                .get_group_by_name("value")
                .map(|value| percent_decode(&field.as_bytes()[value.range()]).decode_utf8_lossy().into_owned());

            prop_assert_eq!(extract(field.as_bytes(), "N"), wanted);
        }
    }

    #[test]
    fn a_ticket_names_its_user_for_two_hours() {
        let (signer, now) = (Signer([7; 32]), Timestamp::from_secs(1_800_000_000));
        let ticket = signer.ticket("a@pve", now);

        let user = |secs: i64| signer.ticket_user(&ticket, Timestamp::from_secs(1_800_000_000 + secs));
        assert_eq!(user(0).as_deref(), Some("a@pve"));
        assert_eq!(user(7200).as_deref(), Some("a@pve"));
        assert_eq!(user(7201), None);
        assert_eq!(user(-301), None);
        assert_eq!(signer.ticket_user(&ticket.replace("a@pve", "b@pve"), now), None);
        assert!(ticket.starts_with("PVE:a@pve:6B49D200::") && ticket.len() == 364, "{ticket}");
    }

    #[test]
    fn no_kind_of_ticket_passes_for_another() {
        let (signer, now) = (Signer([7; 32]), Timestamp::from_secs(1_800_000_000));

        assert_eq!(signer.ticket_user(&signer.challenge("a@pve", now), now), None);
        assert_eq!(signer.ticket_user(&signer.console("a@pve", "/", 5900, now), now), None);
        assert!(!signer.is_challenge(&signer.ticket("a@pve", now), "a@pve", now));
        assert!(signer.is_challenge(&signer.challenge("a@pve", now), "a@pve", now));
        assert!(!signer.is_challenge(&signer.challenge("a@pve", now), "b@pve", now));
        assert!(signer.is_csrf(&signer.csrf("a@pve", now), "a@pve", now));
        assert!(!signer.is_csrf(&signer.csrf("a@pve", now), "b@pve", now));
    }

    #[test]
    fn a_console_ticket_fits_one_user_path_and_port_for_forty_seconds() {
        let (signer, now) = (Signer([7; 32]), Timestamp::from_secs(1_800_000_000));
        let ticket = signer.console("a@pve", "/nodes/demo", 5900, now);

        let later = |secs: i64| Timestamp::from_secs(1_800_000_000 + secs);
        assert!(signer.is_console(&ticket, "a@pve", "/nodes/demo", 5900, later(40)));
        assert!(!signer.is_console(&ticket, "a@pve", "/nodes/demo", 5900, later(41)));
        assert!(!signer.is_console(&ticket, "b@pve", "/nodes/demo", 5900, now));
        assert!(!signer.is_console(&ticket, "a@pve", "/nodes/other", 5900, now));
        assert!(!signer.is_console(&ticket, "a@pve", "/nodes/demo", 5901, now));
    }
}
