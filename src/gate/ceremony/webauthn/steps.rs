//! What a relying party must look at in a response (pure): Web Authentication Level 3, §7.1 and §7.2,
//! step by step. The steps go by what they look at: their numbers differ from draft to draft.
//!
//! `webauthn-rs` verifies signatures and keeps to most of the steps as well. We do each of them
//! ourselves all the same, so that every refusal has a name and none depends on what a version of the
//! library happens to check. Left to it alone are the signatures (of assertions, and of attestation
//! statements other than `none`), whether a public key is one, and the signature counter, which means
//! nothing before the signature holds.
//!
//! | §7.1 registration                     | where                          | library alone |
//! |---------------------------------------|--------------------------------|---------------|
//! | type, challenge, origin               | [`client_data`]                | origin loosely: `https://gate/path` passes |
//! | crossOrigin, topOrigin                | [`client_data`]                | a `topOrigin` passes |
//! | rpIdHash, UP, UV, BS implies BE       | [`AuthenticatorData::check`]   | yes |
//! | bytes that belong to nothing          | [`AuthenticatorData::parse`]   | pass |
//! | alg was offered                       | [`attested`]                   | yes |
//! | attestation statement's format        | [`attestation_object`]         | `none` with a statement passes |
//! | credential identifier ≤ 1023 bytes    | [`attested`]                   | yes; empty passes |
//! | identifier is that of the response    | [`same_identifier`]            | no |
//! | identifier is nobody's                | the caller and the store       | no |
//! | AAGUID                                | [`attested`]                   | dropped with `none` |
//!
//! | §7.2 authentication                   | where                          | library alone |
//! |---------------------------------------|--------------------------------|---------------|
//! | credential in allowCredentials        | `super::RelyingParty`          | not in the discoverable flow |
//! | user owns it, user handle equal       | `super::RelyingParty`          | no |
//! | type, challenge, origin, crossOrigin, topOrigin | [`client_data`]      | crossOrigin and topOrigin pass |
//! | rpIdHash, UP, UV, BS implies BE       | [`AuthenticatorData::check`]   | BS against the stored BE only |
//! | BE as stored                          | `super::RelyingParty`          | yes |
//! | no attested credential data           | [`AuthenticatorData::check`]   | passes |
//! | signature, signature counter          | `webauthn-rs`                  | yes |

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_cbor_2::Value as Cbor;

use crate::{gate::json, secret};

/// COSE algorithms that are offered, the better ones first: ES256, ES384, RS256 (RFC 9053, RFC 8812).
pub(super) const ALGORITHMS: [i64; 3] = [-7, -35, -257];

/// Attestation statement formats that are accepted: none was asked for, so a browser leaves `none`, or
/// a self-attestation of the key pair (`packed`); old keys say `fido-u2f`.
const FORMATS: [&str; 3] = ["none", "packed", "fido-u2f"];

/// Longest credential identifier in bytes (§7.1).
const LONGEST_IDENTIFIER: usize = 1023;

/// What is wrong with a response of either ceremony.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not of the shape of a public key credential.
    #[error("no public key credential: {0}")]
    Shape(&'static str),
    /// The client data is no JSON object with these names.
    #[error("client data that is not what a browser writes")]
    ClientData,
    /// The response is of the other ceremony.
    #[error("client data of another type of ceremony")]
    Type,
    /// The response answers another challenge.
    #[error("another challenge was signed")]
    Challenge,
    /// It was made on another origin, or on ours inside another's page.
    #[error("made on another origin")]
    Origin,
    /// It was made inside a page of another origin.
    #[error("made inside another origin's page")]
    CrossOrigin,
    /// The authenticator data can't be read, or has bytes that belong to nothing.
    #[error("authenticator data that can't be read")]
    AuthenticatorData,
    /// It is for another relying party.
    #[error("made for another relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was present")]
    NotPresent,
    /// The authenticator did not verify who touched it.
    #[error("the user was not verified")]
    NotVerified,
    /// Backed up, and yet it can't be.
    #[error("backed up without being eligible for it")]
    BackupState,
    /// The data of a new credential is missing, or present where none belongs.
    #[error("attested credential data in the wrong ceremony")]
    Attested,
    /// A public key of an algorithm that was not offered.
    #[error("a public key of an algorithm that was not offered")]
    Algorithm,
    /// A format of attestation statement that is not accepted.
    #[error("an attestation statement of another format, or not empty with `none`")]
    AttestationFormat,
    /// The credential identifier is empty or too long.
    #[error("a credential identifier of {0} bytes, not 1 to {LONGEST_IDENTIFIER}")]
    IdentifierLength(usize),
    /// The identifier differs between the places where it stands.
    #[error("credential identifiers that differ within one response")]
    Identifier,
}

/// `CollectedClientData` (§5.8.1). Names that are added later are no concern of ours: the specification
/// tells relying parties to expect them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    #[serde(default)]
    top_origin: Option<serde_json::Value>,
}

/// What both sections ask of the client data: type, challenge, origin, crossOrigin, topOrigin.
pub(super) fn client_data(
    bytes: &[u8],
    kind: &str,
    challenge: &[u8],
    origin: &str,
) -> Result<(), ResponseError> {
    // "UTF-8 decode" would drop a byte order mark; browsers write none (§5.8.1.1).
    let data: ClientData = json::parse(bytes).map_err(|_| ResponseError::ClientData)?;
    if data.kind != kind {
        return Err(ResponseError::Type);
    }
    // Canonical base64url: compared as text, no second spelling is the same challenge.
    let expected = data_encoding::BASE64URL_NOPAD.encode(challenge);
    if !secret::equal(data.challenge.as_bytes(), expected.as_bytes()) {
        return Err(ResponseError::Challenge);
    }
    if data.origin != origin {
        return Err(ResponseError::Origin);
    }
    // The portal is never framed (`frame-ancestors 'none'`), so there is no top origin either.
    if data.cross_origin == Some(true) || data.top_origin.is_some() {
        return Err(ResponseError::CrossOrigin);
    }
    Ok(())
}

/// Authenticator data (§6.1), taken apart to the last byte.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8; 32],
    flags: u8,
    pub(super) counter: u32,
    attested: Option<Attested<'a>>,
}

/// Attested credential data (§6.5.1).
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) aaguid: [u8; 16],
    pub(super) credential_id: &'a [u8],
    algorithm: Option<i128>,
}

const UP: u8 = 1;
const UV: u8 = 1 << 2;
const BE: u8 = 1 << 3;
const BS: u8 = 1 << 4;
const AT: u8 = 1 << 6;
const ED: u8 = 1 << 7;

/// Whether the user has to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    Required,
    Indifferent,
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ResponseError> {
        Self::parts(bytes).ok_or(ResponseError::AuthenticatorData)
    }

    fn parts(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>()?;
        let (&flags, rest) = rest.split_first()?;
        let (counter, mut rest) = rest.split_first_chunk::<4>()?;
        let mut attested = None;
        if flags & AT != 0 {
            let (aaguid, after) = rest.split_first_chunk::<16>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (credential_id, after) = after.split_at_checked(length)?;
            let (key, after) = cbor_item(after)?;
            attested = Some(Attested { aaguid: *aaguid, credential_id, algorithm: algorithm(&key) });
            rest = after;
        }
        if flags & ED != 0 {
            let (Cbor::Map(_), after) = cbor_item(rest)? else { return None };
            rest = after;
        }
        rest.is_empty().then_some(Self { rp_id_hash, flags, counter: u32::from_be_bytes(*counter), attested })
    }

    /// What both sections ask of the flags and the hash; gives the new credential, if there is one.
    pub(super) fn check(
        self,
        rp_id: &str,
        verification: Verification,
    ) -> Result<(Flags, Option<Attested<'a>>), ResponseError> {
        if *self.rp_id_hash != secret::sha256(rp_id.as_bytes()) {
            return Err(ResponseError::RelyingParty);
        }
        if self.flags & UP == 0 {
            return Err(ResponseError::NotPresent);
        }
        if verification == Verification::Required && self.flags & UV == 0 {
            return Err(ResponseError::NotVerified);
        }
        let flags = Flags { backup_eligible: self.flags & BE != 0, synced: self.flags & BS != 0 };
        if flags.synced && !flags.backup_eligible {
            return Err(ResponseError::BackupState);
        }
        Ok((flags, self.attested))
    }
}

/// The flags BE and BS (§6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) backup_eligible: bool,
    pub(super) synced: bool,
}

/// What §7.1 asks of the new credential itself: one of the algorithms offered, a short identifier.
pub(super) fn attested(attested: Option<Attested<'_>>) -> Result<Attested<'_>, ResponseError> {
    let attested = attested.ok_or(ResponseError::Attested)?;
    let offered = attested.algorithm.is_some_and(|found| ALGORITHMS.iter().any(|a| i128::from(*a) == found));
    if !offered {
        return Err(ResponseError::Algorithm);
    }
    match attested.credential_id.len() {
        1..=LONGEST_IDENTIFIER => Ok(attested),
        length => Err(ResponseError::IdentifierLength(length)),
    }
}

/// The authenticator data inside an attestation object, if its format
/// is one that is accepted.
pub(super) fn attestation_object(bytes: &[u8]) -> Result<Vec<u8>, ResponseError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object {
        fmt: String,
        att_stmt: BTreeMap<String, Cbor>,
        #[serde(with = "bytes")]
        auth_data: Vec<u8>,
    }
    let object: Object = serde_cbor_2::from_slice(bytes).map_err(|_| ResponseError::AuthenticatorData)?;
    if !FORMATS.contains(&object.fmt.as_str()) || (object.fmt == "none" && !object.att_stmt.is_empty()) {
        return Err(ResponseError::AttestationFormat);
    }
    Ok(object.auth_data)
}

/// The places where one response names its credential name the same.
pub(super) fn same_identifier(id: &str, raw_id: &[u8], kind: &str) -> Result<(), ResponseError> {
    if kind != "public-key" {
        return Err(ResponseError::Shape("another type"));
    }
    if id != data_encoding::BASE64URL_NOPAD.encode(raw_id) {
        return Err(ResponseError::Identifier);
    }
    Ok(())
}

/// A byte string and nothing else: serde's default would take an array of numbers too.
mod bytes {
    use serde::{Deserialize as _, Deserializer, de::Error as _};
    use serde_cbor_2::Value as Cbor;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Cbor::deserialize(deserializer)? {
            Cbor::Bytes(bytes) => Ok(bytes),
            _ => Err(D::Error::custom("not a byte string")),
        }
    }
}

/// The CBOR item at the beginning of `bytes`, and what follows it.
fn cbor_item(bytes: &[u8]) -> Option<(Cbor, &[u8])> {
    let mut reader = serde_cbor_2::Deserializer::from_slice(bytes);
    let value = Cbor::deserialize(&mut reader).ok()?;
    Some((value, bytes.get(reader.byte_offset()..)?))
}

/// `alg` of a COSE key (RFC 9052 §7.1, label 3).
fn algorithm(key: &Cbor) -> Option<i128> {
    match key {
        Cbor::Map(map) => match map.get(&Cbor::Integer(3)) {
            Some(Cbor::Integer(algorithm)) => Some(*algorithm),
            Some(_) | None => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &str = "https://gate.test";
    const CHALLENGE: &[u8] = &[7; 32];

    fn client(change: impl FnOnce(&mut serde_json::Value)) -> Result<(), ResponseError> {
        let mut data = serde_json::json!({
            "type": "webauthn.get",
            "challenge": data_encoding::BASE64URL_NOPAD.encode(CHALLENGE),
            "origin": ORIGIN,
            "crossOrigin": false,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        change(&mut data);
        client_data(data.to_string().as_bytes(), "webauthn.get", CHALLENGE, ORIGIN)
    }

    #[test]
    fn client_data_says_our_type_challenge_and_origin_and_no_other_page() {
        use ResponseError::{Challenge, ClientData, CrossOrigin, Origin, Type};
        let padded = format!("{}=", data_encoding::BASE64URL_NOPAD.encode(CHALLENGE));
        #[rustfmt::skip]
        let table = [
            ("type",        serde_json::json!("webauthn.get"),            Ok(())),
            ("type",        serde_json::json!("webauthn.create"),         Err(Type)),
            ("type",        serde_json::json!(1),                         Err(ClientData)),
            ("challenge",   serde_json::json!("AAAA"),                    Err(Challenge)),
            ("challenge",   serde_json::json!(""),                        Err(Challenge)),
            ("challenge",   serde_json::json!(padded),                    Err(Challenge)),
            ("origin",      serde_json::json!("https://gate.test/"),      Err(Origin)),
            ("origin",      serde_json::json!("https://GATE.test"),       Err(Origin)),
            ("origin",      serde_json::json!("https://gate.test:8006"),  Err(Origin)),
            ("origin",      serde_json::json!("http://gate.test"),        Err(Origin)),
            ("origin",      serde_json::json!("https://a.gate.test"),     Err(Origin)),
            ("origin",      serde_json::json!("https://gate.test.evil"),  Err(Origin)),
            ("origin",      serde_json::json!("android:apk-key-hash:x"),  Err(Origin)),
            ("crossOrigin", serde_json::json!(true),                      Err(CrossOrigin)),
            ("crossOrigin", serde_json::json!("false"),                   Err(ClientData)),
            ("crossOrigin", serde_json::json!(null),                      Ok(())),
            ("topOrigin",   serde_json::json!(ORIGIN),                    Err(CrossOrigin)),
            ("topOrigin",   serde_json::json!("https://evil.test"),       Err(CrossOrigin)),
        ];
        for (name, value, verdict) in table {
            assert_eq!(client(|data| data[name] = value.clone()), verdict, "{name}: {value}");
        }
        for name in ["type", "challenge", "origin"] {
            let verdict = client(|data| {
                data.as_object_mut().unwrap().remove(name);
            });
            assert_eq!(verdict, Err(ClientData), "without {name}");
        }
    }

    /// An assertion's data: hash, flags, counter.
    fn plain(flags: u8) -> Vec<u8> {
        [secret::sha256(b"gate.test").as_slice(), &[flags, 0, 0, 0, 9]].concat()
    }

    #[test]
    fn flags_of_authenticator_data_are_held_to_the_specification() {
        use ResponseError::{BackupState, NotPresent, NotVerified};
        use Verification::{Indifferent, Required};
        #[rustfmt::skip]
        let table = [
            (UP | UV,           Required,    Ok((false, false))),
            (UP | UV | BE,      Required,    Ok((true, false))),
            (UP | UV | BE | BS, Required,    Ok((true, true))),
            (UP | UV | BS,      Required,    Err(BackupState)),
            (UP,                Required,    Err(NotVerified)),
            (UP,                Indifferent, Ok((false, false))),
            (UV,                Required,    Err(NotPresent)),
            (UV,                Indifferent, Err(NotPresent)),
            (0,                 Indifferent, Err(NotPresent)),
        ];
        for (flags, verification, verdict) in table {
            let data = plain(flags);
            let checked = AuthenticatorData::parse(&data).unwrap().check("gate.test", verification);
            let checked = checked.map(|(flags, _)| (flags.backup_eligible, flags.synced));
            assert_eq!(checked, verdict, "{flags:08b}");
        }
        let data = plain(UP | UV);
        let other = AuthenticatorData::parse(&data).unwrap().check("other.test", Required);
        assert_eq!(other.unwrap_err(), ResponseError::RelyingParty);
    }

    #[test]
    fn authenticator_data_has_no_byte_too_few_or_too_many() {
        for length in 0..37 {
            assert!(AuthenticatorData::parse(&plain(UP)[..length]).is_err(), "{length}");
        }
        assert!(AuthenticatorData::parse(&[plain(UP), vec![0]].concat()).is_err());
        // Extensions: a map, and then the end.
        assert!(AuthenticatorData::parse(&[plain(UP | ED), vec![0xa0]].concat()).is_ok());
        assert!(AuthenticatorData::parse(&[plain(UP | ED), vec![0xa0, 0]].concat()).is_err());
        assert!(AuthenticatorData::parse(&[plain(UP | ED), vec![0x01]].concat()).is_err());
        assert!(AuthenticatorData::parse(&plain(UP | ED)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = AuthenticatorData::parse(&bytes);
            let _ = attestation_object(&bytes);
            let _ = client_data(&bytes, "webauthn.get", CHALLENGE, ORIGIN);
        }
    }
}
