//! An authenticator and a browser in software, of our own: it shares no code with `webauthn-rs`.
//!
//! [`Authenticator::create`] and [`Authenticator::get`] answer the gate's options with a draft of what
//! an honest browser and authenticator would say. A test may then falsify any one field, and
//! [`Creation::json`] and [`Request::json`] write it down, signed as it stands: a falsified field comes
//! with a good signature, as from an attacker who owns an authenticator.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

pub(crate) const UP: u8 = 1;
pub(crate) const UV: u8 = 1 << 2;
pub(crate) const BE: u8 = 1 << 3;
pub(crate) const BS: u8 = 1 << 4;
pub(crate) const AT: u8 = 1 << 6;
pub(crate) const ED: u8 = 1 << 7;

/// What the authenticator says it is.
pub(crate) const AAGUID: [u8; 16] = *b"pvegate test key";

/// One credential in a device.
pub(crate) struct Authenticator {
    pub(crate) key: EcdsaKeyPair,
    pub(crate) credential_id: Vec<u8>,
    pub(crate) user_handle: Vec<u8>,
    /// The counter of the last signature; `None` for a device that has none and says 0.
    pub(crate) counter: Option<u32>,
    /// The flags besides UP and AT.
    pub(crate) flags: u8,
}

/// A registration, before it is written down.
pub(crate) struct Creation {
    pub(crate) client_data: Value,
    /// In place of `client_data`, as text.
    pub(crate) client_data_text: Option<String>,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) counter: u32,
    pub(crate) aaguid: [u8; 16],
    /// The identifier inside the authenticator data.
    pub(crate) credential_id: Vec<u8>,
    pub(crate) algorithm: i64,
    /// Point of the public key, 64 bytes.
    pub(crate) point: Vec<u8>,
    /// Bytes after the end of the authenticator data.
    pub(crate) trailing: Vec<u8>,
    pub(crate) format: &'static str,
    pub(crate) statement: Statement,
    /// The identifiers beside it.
    pub(crate) id: String,
    pub(crate) raw_id: String,
    pub(crate) kind: &'static str,
    pub(crate) extensions: Value,
    pub(crate) transports: Value,
}

/// What stands in the attestation statement.
pub(crate) enum Statement {
    Empty,
    /// A self-attestation of the key pair (`packed`, §8.2), which may be broken.
    SelfSigned {
        signature_good: bool,
    },
    /// Anything at all.
    Junk,
}

/// An authentication, before it is written down.
pub(crate) struct Request {
    pub(crate) client_data: Value,
    pub(crate) client_data_text: Option<String>,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) counter: u32,
    pub(crate) trailing: Vec<u8>,
    pub(crate) id: String,
    pub(crate) raw_id: String,
    pub(crate) kind: &'static str,
    pub(crate) user_handle: Option<Vec<u8>>,
    /// Whether the signature is that of this authenticator's key over these bytes.
    pub(crate) signature_good: bool,
}

impl Authenticator {
    /// A device-bound authenticator that verifies its owner and counts.
    pub(crate) fn new() -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            credential_id: pvegate::secret::random::<32>().to_vec(),
            user_handle: Vec::new(),
            counter: Some(1),
            flags: UV,
        }
    }

    /// A provider that syncs, and has: it does not count.
    pub(crate) fn synced() -> Self {
        Self { counter: None, flags: UV | BE | BS, ..Self::new() }
    }

    /// Answers options to create.
    pub(crate) fn create(&mut self, options: &Value, origin: &str) -> Creation {
        self.user_handle = BASE64URL_NOPAD.decode(text(&options["user"]["id"]).as_bytes()).unwrap();
        let id = BASE64URL_NOPAD.encode(&self.credential_id);
        Creation {
            client_data: client_data("webauthn.create", options, origin),
            client_data_text: None,
            rp_id: text(&options["rp"]["id"]),
            flags: UP | AT | self.flags,
            counter: self.counter.unwrap_or(0),
            aaguid: AAGUID,
            credential_id: self.credential_id.clone(),
            algorithm: -7,
            point: self.key.public_key().as_ref()[1..].to_vec(),
            trailing: Vec::new(),
            format: "none",
            statement: Statement::Empty,
            raw_id: id.clone(),
            id,
            kind: "public-key",
            extensions: json!({ "credProps": { "rk": true } }),
            transports: json!(["internal", "hybrid", "smart-card"]),
        }
    }

    /// Answers options to authenticate, counting up.
    pub(crate) fn get(&mut self, options: &Value, origin: &str) -> Request {
        if let Some(counter) = &mut self.counter {
            *counter += 1;
        }
        let id = BASE64URL_NOPAD.encode(&self.credential_id);
        Request {
            client_data: client_data("webauthn.get", options, origin),
            client_data_text: None,
            rp_id: text(&options["rpId"]),
            flags: UP | self.flags,
            counter: self.counter.unwrap_or(0),
            trailing: Vec::new(),
            raw_id: id.clone(),
            id,
            kind: "public-key",
            user_handle: Some(self.user_handle.clone()),
            signature_good: true,
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

impl Creation {
    /// `RegistrationResponseJSON` (§5.1).
    pub(crate) fn json(&self, authenticator: &Authenticator) -> Value {
        let client_data =
            self.client_data_text.clone().unwrap_or_else(|| self.client_data.to_string()).into_bytes();
        let mut data = authenticator_data(&self.rp_id, self.flags, self.counter);
        if self.flags & AT != 0 {
            data.extend_from_slice(&self.aaguid);
            data.extend_from_slice(&u16::try_from(self.credential_id.len()).unwrap().to_be_bytes());
            data.extend_from_slice(&self.credential_id);
            let (x, y) = self.point.split_at(self.point.len() / 2);
            data.extend(map(&[
                (int(1), int(2)),
                (int(3), int(self.algorithm)),
                (int(-1), int(1)),
                (int(-2), bytes(x)),
                (int(-3), bytes(y)),
            ]));
        }
        data.extend_from_slice(&self.trailing);
        let statement = match self.statement {
            Statement::Empty => map(&[]),
            Statement::Junk => map(&[(string("sig"), bytes(b"junk"))]),
            Statement::SelfSigned { signature_good } => {
                let mut message = [data.as_slice(), sha256(&client_data).as_slice()].concat();
                if !signature_good {
                    message.push(0);
                }
                let signature = authenticator.sign(&message);
                map(&[(string("alg"), int(-7)), (string("sig"), bytes(&signature))])
            }
        };
        let object = map(&[
            (string("fmt"), string(self.format)),
            (string("attStmt"), statement),
            (string("authData"), bytes(&data)),
        ]);
        json!({
            "id": self.id,
            "rawId": self.raw_id,
            "type": self.kind,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": self.extensions,
            "response": {
                "attestationObject": BASE64URL_NOPAD.encode(&object),
                "authenticatorData": BASE64URL_NOPAD.encode(&data),
                "clientDataJSON": BASE64URL_NOPAD.encode(&client_data),
                "publicKeyAlgorithm": self.algorithm,
                "transports": self.transports,
            },
        })
    }
}

impl Request {
    /// `AuthenticationResponseJSON` (§5.1).
    pub(crate) fn json(&self, authenticator: &Authenticator) -> Value {
        let client_data =
            self.client_data_text.clone().unwrap_or_else(|| self.client_data.to_string()).into_bytes();
        let mut data = authenticator_data(&self.rp_id, self.flags, self.counter);
        data.extend_from_slice(&self.trailing);
        let mut message = [data.as_slice(), sha256(&client_data).as_slice()].concat();
        if !self.signature_good {
            message.push(0);
        }
        let mut response = json!({
            "authenticatorData": BASE64URL_NOPAD.encode(&data),
            "clientDataJSON": BASE64URL_NOPAD.encode(&client_data),
            "signature": BASE64URL_NOPAD.encode(&authenticator.sign(&message)),
        });
        if let Some(handle) = &self.user_handle {
            response["userHandle"] = json!(BASE64URL_NOPAD.encode(handle));
        }
        json!({
            "id": self.id,
            "rawId": self.raw_id,
            "type": self.kind,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        })
    }
}

/// Attested credential data of a key that exists, for where none belongs.
pub(crate) fn attested_credential_data() -> Vec<u8> {
    let other = Authenticator::new();
    let point = &other.key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(32);
    let key = map(&[
        (int(1), int(2)),
        (int(3), int(-7)),
        (int(-1), int(1)),
        (int(-2), bytes(x)),
        (int(-3), bytes(y)),
    ]);
    [AAGUID.as_slice(), &[0, 32], &other.credential_id, &key].concat()
}

fn client_data(kind: &str, options: &Value, origin: &str) -> Value {
    json!({
        "type": kind,
        "challenge": options["challenge"],
        "origin": origin,
        "crossOrigin": false,
        "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
    })
}

fn authenticator_data(rp_id: &str, flags: u8, counter: u32) -> Vec<u8> {
    [sha256(rp_id.as_bytes()).as_slice(), &[flags], &counter.to_be_bytes()].concat()
}

fn sha256(message: &[u8]) -> Vec<u8> {
    digest(&SHA256, message).as_ref().to_vec()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

// CBOR (RFC 8949 §3), as much as an authenticator writes.

fn head(major: u8, argument: u64) -> Vec<u8> {
    let major = major << 5;
    match argument {
        0..24 => vec![major | u8::try_from(argument).unwrap()],
        24..0x100 => vec![major | 24, u8::try_from(argument).unwrap()],
        _ => [&[major | 25][..], &u16::try_from(argument).unwrap().to_be_bytes()].concat(),
    }
}

fn int(value: i64) -> Vec<u8> {
    match u64::try_from(value) {
        Ok(value) => head(0, value),
        Err(_) => head(1, u64::try_from(-1 - value).unwrap()),
    }
}

fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, value.len() as u64), value.to_vec()].concat()
}

fn string(value: &str) -> Vec<u8> {
    [head(3, value.len() as u64), value.as_bytes().to_vec()].concat()
}

fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = head(5, entries.len() as u64);
    for (key, value) in entries {
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out
}
