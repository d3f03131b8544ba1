//! What a sign-in method is called whose owner gave it no name (pure).
//!
//! Its model, where that is known; else, for what lives in the device itself, the device; else its kind. The
//! words are the page's, the name stays as it was given.

use super::{device::Device, words::Language};
use crate::{
    account::{CredentialKind, Transport},
    gate::ceremony::webauthn::{Registered, model},
};

/// The name of a new passkey or security key that was made in this browser, beside others with these names.
pub(super) fn of_credential(
    credential: &Registered,
    user_agent: &str,
    w: Language,
    taken: &[String],
) -> String {
    let device = Device::of(user_agent);
    let name = match (model(&credential.aaguid), credential.kind) {
        (Some(model), _) => model.to_owned(),
        (None, CredentialKind::SecurityKey) => w.security_key().to_owned(),
        (None, CredentialKind::Passkey) if credential.transports.contains(&Transport::Internal) => {
            match (device.browser, device.system) {
                (Some(browser), Some(system)) => w.made_in(browser, system),
                (Some(one), None) | (None, Some(one)) => one.to_owned(),
                (None, None) => w.kind_passkey().to_owned(),
            }
        }
        (None, CredentialKind::Passkey) => w.kind_passkey().to_owned(),
    };
    unlike(name, taken)
}

/// The name of a new authenticator app.
pub(super) fn of_app(w: Language, taken: &[String]) -> String {
    unlike(w.phone().to_owned(), taken)
}

/// `name`, with the first number that makes it unlike the others: two laptops may well be two times Windows
/// Hello.
fn unlike(name: String, taken: &[String]) -> String {
    let is_free = |name: &String| !taken.contains(name);
    if is_free(&name) {
        return name;
    }
    (2..=taken.len() + 1).map(|number| format!("{name} {number}")).find(is_free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    const YUBIKEY: [u8; 16] =
        [0x2f, 0xc0, 0x57, 0x9f, 0x81, 0x13, 0x47, 0xea, 0xb1, 0x16, 0xbb, 0x5a, 0x8d, 0xb9, 0x20, 0x2a];

    #[test]
    fn a_name_is_the_model_else_the_device_that_it_lives_in_else_the_kind() {
        use CredentialKind::{Passkey, SecurityKey};
        use Language::{English, German};
        use Transport::{Internal, Usb};
        #[rustfmt::skip]
        let table = [
            // kind        aaguid   transport  user agent  language  name
            (Passkey,      YUBIKEY, Usb,       FIREFOX,    English,  "YubiKey 5 NFC"),
            (SecurityKey,  YUBIKEY, Usb,       FIREFOX,    German,   "YubiKey 5 NFC"),
            (Passkey,      [0; 16], Internal,  FIREFOX,    English,  "Firefox on Linux"),
            (Passkey,      [0; 16], Internal,  FIREFOX,    German,   "Firefox auf Linux"),
            (Passkey,      [0; 16], Internal,  "",         English,  "Passkey"),
            (Passkey,      [0; 16], Usb,       FIREFOX,    English,  "Passkey"),
            (SecurityKey,  [0; 16], Usb,       FIREFOX,    English,  "Security key"),
            (SecurityKey,  [0; 16], Usb,       FIREFOX,    German,   "Sicherheitsschlüssel"),
        ];
        for (kind, aaguid, transport, user_agent, language, name) in table {
            let credential = Registered {
                kind,
                credential_id: vec![1],
                record: String::new(),
                counter: 0,
                synced: false,
                aaguid,
                transports: vec![transport],
            };
            assert_eq!(of_credential(&credential, user_agent, language, &[]), name);
        }
    }

    #[test]
    fn no_two_methods_get_the_same_name() {
        let taken = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        #[rustfmt::skip]
        let table: [(&[&str], &str); 4] = [
            (&[],                                "Phone"),
            (&["Laptop"],                        "Phone"),
            (&["Phone"],                         "Phone 2"),
            (&["Phone 2", "Phone", "Phone 4"],   "Phone 3"),
        ];
        for (others, name) in table {
            assert_eq!(of_app(Language::English, &taken(others)), name, "{others:?}");
        }
    }
}
