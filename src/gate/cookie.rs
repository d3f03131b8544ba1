//! The cookies of sessions and of known devices: 256 random bits, signed.
//!
//! `v1.<key id>.<bits>.<MAC>`, the last two in unpadded base64url (RFC 4648 §5). The MAC covers the
//! cookie's purpose, so that a value copied to a cookie of another name does not verify. It spares the
//! look-up for forged values; whether a session is alive, `live` knows, and to whom a device is known,
//! the store. Keys have an identifier, so that they rotate without signing anybody out.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};

use crate::{
    account::{DeviceId, SessionId},
    connection::cookies,
    names,
    secret::{self, Key, MacKey, Purpose},
    store::{DEVICE_LIFETIME, SealedCookieKey},
    time::Timestamp,
};

const VERSION: &str = "v1";

/// Random bits that a cookie carries.
pub trait Bits: Sized {
    /// What the cookie is for; the MAC covers it. Never change one that was released.
    const PURPOSE: &'static [u8];

    /// The bits, for signing.
    fn expose(&self) -> &[u8; 32];

    /// From a cookie that verified.
    fn from_bits(bits: [u8; 32]) -> Self;
}

/// The random bits that a session cookie carries. Whoever has them has the session.
#[derive(Clone)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// New bits.
    #[must_use]
    pub fn random() -> Self {
        Self(secret::random())
    }

    /// What the session is known by everywhere else.
    #[must_use]
    pub fn id(&self) -> SessionId {
        SessionId(secret::sha256(&self.0))
    }
}

impl Bits for SessionSecret {
    const PURPOSE: &'static [u8] = b"session";

    fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_bits(bits: [u8; 32]) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(…)")
    }
}

/// The random bits by which a device is known. They open nothing: they give a device a budget of its
/// own for wrong codes.
#[derive(Clone)]
pub struct DeviceSecret([u8; 32]);

impl DeviceSecret {
    /// New bits.
    #[must_use]
    pub fn random() -> Self {
        Self(secret::random())
    }

    /// What the device is known by in the store.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId(secret::sha256(&self.0))
    }
}

impl Bits for DeviceSecret {
    const PURPOSE: &'static [u8] = b"device";

    fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_bits(bits: [u8; 32]) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecret(…)")
    }
}

/// The keys that sign cookies: the newest signs, all verify.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: RwLock<Vec<(String, MacKey)>>,
}

impl KeyRing {
    /// A ring of these keys, newest first.
    #[must_use]
    pub fn new(keys: Vec<(String, Key)>) -> Self {
        Self { keys: RwLock::new(for_macs(keys)) }
    }

    /// Puts others in place of the keys.
    pub fn replace(&self, keys: Vec<(String, Key)>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = for_macs(keys);
    }

    /// The value of the cookie; `None` while there is no key.
    #[must_use]
    pub fn sign<B: Bits>(&self, secret: &B) -> Option<String> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (id, key) = keys.first()?;
        let bits = secret.expose();
        let tag = key.mac(&[B::PURPOSE, id.as_bytes(), bits]);
        let (bits, tag) = (BASE64URL_NOPAD.encode(bits), BASE64URL_NOPAD.encode(&tag));
        Some(format!("{VERSION}.{id}.{bits}.{tag}"))
    }

    /// What a cookie's value carries.
    ///
    /// # Errors
    ///
    /// [`CookieError`]
    pub fn verify<B: Bits>(&self, value: &str) -> Result<B, CookieError> {
        let mut parts = value.split('.');
        let (Some(VERSION), Some(id), Some(bits), Some(tag), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CookieError::Malformed);
        };
        let bits = decode(bits).ok_or(CookieError::Malformed)?;
        let tag = decode(tag).ok_or(CookieError::Malformed)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (id, key) = keys.iter().find(|(known, _)| known == id).ok_or(CookieError::UnknownKey)?;
        if key.verifies(&[B::PURPOSE, id.as_bytes(), &bits], &tag) {
            Ok(B::from_bits(bits))
        } else {
            Err(CookieError::Forged)
        }
    }
}

/// Every request asks them.
fn for_macs(keys: Vec<(String, Key)>) -> Vec<(String, MacKey)> {
    keys.into_iter().map(|(id, key)| (id, key.for_macs())).collect()
}

/// 32 bytes in their one spelling: stray bits at the end are refused.
fn decode(text: &str) -> Option<[u8; 32]> {
    if text.len() != 43 {
        return None;
    }
    let mut bytes = [0; 32];
    let length = BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).ok()?;
    (length == 32).then_some(bytes)
}

/// Why a request's cookies name no session, or no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// There is none.
    #[error("no session cookie")]
    Absent,
    /// There are several: a neighbour on this host may have planted one.
    #[error("more than one session cookie")]
    Several,
    /// Not what this program would write.
    #[error("malformed session cookie")]
    Malformed,
    /// Signed by a key that is not here any more.
    #[error("session cookie of an unknown key")]
    UnknownKey,
    /// Not signed by the key it names.
    #[error("forged session cookie")]
    Forged,
}

/// The value of the request's one session cookie.
///
/// # Errors
///
/// [`CookieError::Absent`] or [`CookieError::Several`]
pub fn session_cookie(fields: &HeaderMap) -> Result<&str, CookieError> {
    the_only(fields, names::SESSION_COOKIE)
}

/// The value of the request's one device cookie.
///
/// # Errors
///
/// [`CookieError::Absent`] or [`CookieError::Several`]
pub fn device_cookie(fields: &HeaderMap) -> Result<&str, CookieError> {
    the_only(fields, names::DEVICE_COOKIE)
}

fn the_only<'a>(fields: &'a HeaderMap, name: &str) -> Result<&'a str, CookieError> {
    let ours = |found: &[u8]| found.eq_ignore_ascii_case(name.as_bytes());
    let mut found = cookies::pairs(fields).filter(|pair| ours(pair.name));
    match (found.next(), found.next()) {
        (None, _) => Err(CookieError::Absent),
        (Some(_), Some(_)) => Err(CookieError::Several),
        (Some(pair), None) => std::str::from_utf8(pair.value).map_err(|_| CookieError::Malformed),
    }
}

/// The `Set-Cookie` field that hands the session to the browser: a session cookie in the browser's
/// sense too, for the server's record rules when it ends.
#[must_use]
pub fn set_session(value: &str) -> Option<HeaderValue> {
    let text = format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Lax", names::SESSION_COOKIE);
    HeaderValue::try_from(text).ok()
}

/// The `Set-Cookie` field by which a browser is known from here on. It stays when the session ends.
#[must_use]
pub fn set_device(value: &str) -> Option<HeaderValue> {
    let (name, age) = (names::DEVICE_COOKIE, DEVICE_LIFETIME.as_secs());
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={age}");
    HeaderValue::try_from(text).ok()
}

/// The `Set-Cookie` field that takes the session's away again.
#[must_use]
pub fn clear_session() -> Option<HeaderValue> {
    let text = format!("{}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0", names::SESSION_COOKIE);
    HeaderValue::try_from(text).ok()
}

/// Makes a key for the store.
#[must_use]
pub fn new_key(sealing: &Key, now: Timestamp) -> SealedCookieKey {
    let id = data_encoding::BASE32_NOPAD.encode(&secret::random::<5>()).to_ascii_lowercase();
    let sealed = sealing.seal(id.as_bytes(), Key::random().expose());
    SealedCookieKey { id, sealed, created_at: now }
}

/// Opens the store's keys, newest first; those of another master key are left out.
#[must_use]
pub fn open_keys(master: &secret::MasterKey, sealed: &[SealedCookieKey]) -> Vec<(String, Key)> {
    let sealing = master.derive(Purpose::CookieKeys);
    let open = |key: &SealedCookieKey| {
        let bytes = sealing.open(key.id.as_bytes(), &key.sealed)?;
        let bytes: [u8; 32] = bytes.as_slice().try_into().ok()?;
        Some((key.id.clone(), Key::from_bytes(bytes)))
    };
    sealed.iter().filter_map(open).collect()
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(vec![("new".into(), Key::from_bytes([1; 32])), ("old".into(), Key::from_bytes([2; 32]))])
    }

    fn verify(value: &str) -> Result<SessionId, CookieError> {
        ring().verify(value).map(|secret: SessionSecret| secret.id())
    }

    #[test]
    fn a_signed_cookie_names_its_session_also_after_the_key_was_rotated() {
        let secret = SessionSecret::random();
        let before = KeyRing::new(vec![("old".into(), Key::from_bytes([2; 32]))]);

        let value = before.sign(&secret).unwrap();

        assert_eq!(ring().verify(&value).map(|found: SessionSecret| found.id()), Ok(secret.id()));
    }

    #[test]
    fn every_changed_character_and_every_prefix_is_refused() {
        let value = ring().sign(&SessionSecret([9; 32])).unwrap();

        for at in 0..value.len() {
            assert!(verify(&value[..at]).is_err(), "prefix of {at}");
            for other in "AQgwa0-_.9~ =".chars().filter(|c| !value[at..].starts_with(*c)) {
                let mut changed = value.clone();
                changed.replace_range(at..=at, &other.to_string());
                assert!(verify(&changed).is_err(), "{changed}");
            }
        }
        assert!(verify(&(value + "A")).is_err());
    }

    #[test]
    fn a_value_copied_to_the_cookie_of_another_purpose_does_not_verify() {
        let session = ring().sign(&SessionSecret([9; 32])).unwrap();
        let device = ring().sign(&DeviceSecret([9; 32])).unwrap();

        assert!(ring().verify::<DeviceSecret>(&device).is_ok());
        assert_eq!(ring().verify::<DeviceSecret>(&session).unwrap_err(), CookieError::Forged);
        assert_eq!(verify(&device), Err(CookieError::Forged));
    }

    #[test]
    fn a_device_is_known_for_a_year_and_its_cookie_is_the_gates_alone() {
        let field = set_device("a").unwrap();
        let expected = "__Host-pvegate-device=a; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=31536000";
        assert_eq!(field, expected);
    }

    #[test]
    fn a_key_under_another_identifier_does_not_verify() {
        let value = ring().sign(&SessionSecret([9; 32])).unwrap();

        assert_eq!(verify(&value.replace(".new.", ".old.")), Err(CookieError::Forged));
        assert_eq!(verify(&value.replace(".new.", ".gone.")), Err(CookieError::UnknownKey));
    }

    #[test]
    fn one_session_cookie_is_found_in_any_field_and_two_are_refused() {
        #[rustfmt::skip]
        let table: [(&[&[u8]], _); 9] = [
            (&[],                                                 Err(CookieError::Absent)),
            (&[b"PVEAuthCookie=x"],                               Err(CookieError::Absent)),
            (&[b"__Host-pvegate=a"],                              Ok("a")),
            (&[b"PVEAuthCookie=x; __Host-pvegate=a; b=c"],        Ok("a")),
            (&[b"PVEAuthCookie=x", b"__Host-pvegate=a"],          Ok("a")),
            (&[b"z=\xff;__Host-pvegate=a"],                       Ok("a")),
            (&[b"__Host-pvegate-device=a"],                       Err(CookieError::Absent)),
            (&[b"__Host-pvegate=a; __Host-pvegate=a"],            Err(CookieError::Several)),
            (&[b"__Host-pvegate=a", b"__host-PVEGATE=b"],         Err(CookieError::Several)),
        ];
        for (fields, expected) in table {
            let mut map = HeaderMap::new();
            for field in fields {
                map.append(header::COOKIE, HeaderValue::from_bytes(field).unwrap());
            }
            assert_eq!(session_cookie(&map), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_stored_key_opens_only_under_its_master_key() {
        let master = secret::MasterKey::new(Key::from_bytes([3; 32]));
        let stored = new_key(&master.derive(Purpose::CookieKeys), Timestamp::from_secs(0));

        assert_eq!(open_keys(&master, std::slice::from_ref(&stored)).len(), 1);
        assert!(open_keys(&secret::MasterKey::new(Key::from_bytes([4; 32])), &[stored]).is_empty());
    }
}
