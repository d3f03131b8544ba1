//! Setting up a first factor from an invitation, `/_gate/enrol`.

use super::{Nudge, app_clock, rendered};
use crate::{
    account::Requirement,
    gate::{ceremony::password::PasswordError, portal::words::Language},
};

/// Where in the set-up a page stands, as people count: from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// This step.
    pub at: u8,
    /// The last step.
    pub of: u8,
}

/// Asks for the invitation. The script fills it in from the URL's fragment and sends it by itself.
/// Field: `token`.
#[derive(Debug, Clone, Copy)]
pub struct EnrolStart {
    /// Why the one that was sent is not accepted.
    pub problem: Option<InvitationProblem>,
}

/// Why an invitation is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationProblem {
    /// There is none like it.
    Unknown,
    /// It was used.
    Used,
    /// Its time is over, or it was withdrawn.
    Expired,
    /// Its holder may not sign in at this address.
    Elsewhere,
}

rendered!(EnrolStart, "enrol-start.html");

/// Adds an authenticator app. Fields: `state`, `name`, `code`.
#[derive(Debug, Clone, Copy)]
pub struct EnrolTotp<'a> {
    /// Where in the set-up this stands.
    pub step: Step,
    /// The user who is enrolling.
    pub user: &'a str,
    /// The account as the app will show it.
    pub account: &'a str,
    /// The `otpauth://` URL as a QR code: an SVG element without style attributes. It is **not escaped**.
    pub qr_svg: &'a str,
    /// The `otpauth://` URL.
    pub otpauth: &'a str,
    /// The secret in base32.
    pub secret: &'a str,
    /// The name typed before; empty for the default.
    pub name: &'a str,
    /// The sealed state, given back with the form.
    pub state: &'a str,
    /// Whether the code sent did not match.
    pub wrong_code: bool,
    /// How far the app is ahead of the gate's clock, in seconds, if the code is one of another time.
    pub app_ahead: Option<i64>,
    /// Whether a password of the gate's own is chosen as well. Field: `password`.
    pub password: bool,
    /// Why the password that was sent can't be one.
    pub password_problem: Option<PasswordError>,
    /// Whether a security key was proven, which this app goes with.
    pub beside_key: bool,
    /// The name of what it replaces.
    pub replaces: Option<&'a str>,
    /// What is demanded of them.
    pub wants: Option<Requirement>,
}

impl EnrolTotp<'_> {
    fn off(&self, w: Language, ahead: i64) -> String {
        app_clock::off(w, ahead)
    }

    /// The drawing without the declaration that stands before it in an SVG file and has no place in HTML.
    fn qr(&self) -> &str {
        self.qr_svg.find("<svg").and_then(|start| self.qr_svg.get(start..)).unwrap_or_default()
    }

    /// The secret in groups of four, as people read it.
    fn key(&self) -> String {
        grouped(self.secret, ' ')
    }
}

rendered!(EnrolTotp<'t>, "enrol-totp.html");

/// Creates a passkey or, where apps are accepted, registers a security key without a PIN. The script posts to `/_gate/passkey/create-options` and `/_gate/passkey/create`, then
/// sends the form with the new `state` it was given. Fields: `state`, `name`; the second form sends `state`
/// and `method=totp`.
#[derive(Debug, Clone, Copy)]
pub struct EnrolPasskey<'a> {
    /// Where in the set-up this stands.
    pub step: Step,
    /// The user who is enrolling.
    pub user: &'a str,
    /// The sealed state, given back with the form.
    pub state: &'a str,
    /// Whether a passkey may be made.
    pub passkey: bool,
    /// Whether it comes beside a passkey or security key that stays.
    pub beside: bool,
    /// Whether an authenticator app may be used instead.
    pub totp: bool,
    /// Whether a security key without a PIN may be registered.
    pub security_key: bool,
    /// The name of what it replaces.
    pub replaces: Option<&'a str>,
    /// What is demanded of them.
    pub wants: Option<Requirement>,
    /// Why browsers will refuse passkeys here, as far as the gate knows.
    pub trouble: Option<PasskeyTrouble>,
}

/// Why browsers refuse passkeys at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyTrouble {
    /// The certificate comes from the gate's own authority, which this device may not trust.
    OwnAuthority,
    /// The host is an IP address, which can be no relying party identifier (WebAuthn §5.1.2).
    BareAddress,
}

rendered!(EnrolPasskey<'t>, "enrol-passkey.html");

/// The end of the set-up.
#[derive(Debug, Clone, Copy)]
pub struct EnrolDone<'a> {
    /// Who enrolled.
    pub user: &'a str,
    /// Whether there is a session now; else the page leads to the sign-in.
    pub signed_in: bool,
    /// What they had better add at once.
    pub nudge: Option<Nudge>,
}

rendered!(EnrolDone<'t>, "enrol-done.html");

/// `text` in groups of four characters.
fn grouped(text: &str, separator: char) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            out.push(separator);
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_in_groups_of_four() {
        for (key, written) in
            [("", ""), ("ABCD", "ABCD"), ("ABCDE", "ABCD E"), ("JBSWY3DPEHPK3PXP", "JBSW Y3DP EHPK 3PXP")]
        {
            assert_eq!(grouped(key, ' '), written);
        }
    }
}
