//! Keys, message authentication, sealing, randomness, constant-time comparison.
//!
//! Every key comes from the [`MasterKey`], one for each [`Purpose`], so that a value made for one
//! purpose never verifies for another. The `Debug` of a secret does not show it. What is sealed or
//! signed, and when it expires, is the caller's business.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// What a derived key is for. The text is part of the derivation: never change one that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Seals the secrets of authenticator apps in the store.
    FactorSecrets,
    /// Seals the keys that sign cookies in the store.
    CookieKeys,
    /// Seals the state of a ceremony into the form that continues it.
    CeremonyState,
    /// Keyed hashes of recovery codes.
    RecoveryCodes,
    /// Made-up credentials for names that nobody has.
    FakeCredentials,
    /// Keyed hashes of the secrets of API tokens.
    ApiTokens,
    /// Seals of the lines of the audit file.
    AuditSeals,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::FactorSecrets => b"pvegate/1/factor-secrets",
            Self::CookieKeys => b"pvegate/1/cookie-keys",
            Self::CeremonyState => b"pvegate/1/ceremony-state",
            Self::RecoveryCodes => b"pvegate/1/recovery-codes",
            Self::FakeCredentials => b"pvegate/1/fake-credentials",
            Self::ApiTokens => b"pvegate/1/api-tokens",
            Self::AuditSeals => b"pvegate/1/audit-seals",
        }
    }
}

/// A 256-bit key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes 32 bytes that are uniformly random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new key from the system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// The bytes, for sealing this key under another.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// [`MacKey::mac`] under this key.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.for_macs().mac(parts)
    }

    /// [`MacKey::verifies`] under this key.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.for_macs().verifies(parts, tag)
    }

    /// This key made ready for many messages.
    #[must_use]
    pub fn for_macs(&self) -> MacKey {
        MacKey(self.hmac())
    }

    /// XChaCha20-Poly1305: 24 bytes of nonce, then the ciphertext with its tag. `context` is
    /// authenticated with it and says what this is and to whom it belongs: opened under another
    /// context, it does not open.
    #[must_use]
    pub fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; 24] = random();
        let payload = Payload { msg: plaintext, aad: context };
        #[expect(clippy::expect_used, reason = "fails only past 256 GiB of plaintext")]
        let ciphertext = self.aead().encrypt(&XNonce::from(nonce), payload).expect("sealing a short message");
        [nonce.as_slice(), &ciphertext].concat()
    }

    /// Opens what [`Key::seal`] made under the same context.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<24>()?;
        let payload = Payload { msg: ciphertext, aad: context };
        self.aead().decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
    }

    fn aead(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn hmac(&self) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC with 32 bytes of key")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A key in the state after its own two blocks (RFC 2104 §4): of the five that a cookie takes, three are
/// left for each. Whoever knows it can sign, so it is wiped like the key.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// HMAC-SHA-256 (RFC 2104) over the parts, each preceded by its length, so that no two lists of
    /// parts are the same message.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the [`MacKey::mac`] of the parts, in constant time.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.mac(parts).ct_eq(tag).into()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// The key that all others come from. It lives in a file of its own, outside the store.
#[derive(Debug, Clone)]
pub struct MasterKey(Key);

impl MasterKey {
    /// Takes a key that is there already.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self(key)
    }

    /// Reads a master key: 64 hexadecimal digits on one line.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError`], which names the file and what would be right.
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let at = |source| MasterKeyError::Unreadable { path: path.into(), source };
        let file = fs::File::open(path).map_err(at)?;
        let mode = file.metadata().map_err(at)?.mode();
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { path: path.into(), mode: mode & 0o777 });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(1024).read_to_string(&mut text).map_err(at)?;
        let bytes =
            data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map(Zeroizing::new).ok();
        bytes
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .map(|bytes| Self(Key(bytes)))
            .ok_or_else(|| MasterKeyError::Malformed { path: path.into() })
    }

    /// Reads the master key, or makes one where there is no file yet.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError`]; a file that is there and unreadable is never replaced.
    pub fn read_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        let at = |source| MasterKeyError::Unwritable { path: path.into(), source };
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = Key::random();
                let text = Zeroizing::new(data_encoding::HEXLOWER.encode(key.expose()) + "\n");
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at)?;
                if let Some(directory) = path.parent() {
                    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)?;
                }
                Ok(Self(key))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(at(error)),
        }
    }

    /// The key for one purpose: HKDF-Expand with SHA-256 (RFC 5869 §2.3, one block). The extract
    /// step is left out, as §3.3 allows for a key that is uniformly random already.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Key {
        let mut mac = self.0.hmac();
        mac.update(purpose.label());
        mac.update(&[1]);
        Key(mac.finalize().into_bytes().into())
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file is not there or can't be read.
    #[error("the master key {} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new file can't be made.
    #[error("the master key {} can't be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the master key {0} has mode {mode:04o}, others can read it: chmod 600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("the master key {} is not 64 hexadecimal digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Bytes from the system's random generator.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness nothing here is safe: better no answer")]
    getrandom::fill(&mut bytes).expect("the system's random generator");
    bytes
}

/// SHA-256 (FIPS 180-4), for values that nobody could guess.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Whether two byte strings are equal, in a time that tells nothing but their lengths.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes([7; 32])
    }

    #[test]
    fn what_is_sealed_opens_only_under_its_key_and_context() {
        let sealed = key().seal(b"factor 1", b"secret");

        assert_eq!(key().open(b"factor 1", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key().open(b"factor 2", &sealed), None);
        assert_eq!(Key::from_bytes([8; 32]).open(b"factor 1", &sealed), None);
    }

    #[test]
    fn no_changed_bit_and_no_prefix_of_what_is_sealed_opens() {
        let sealed = key().seal(b"", b"secret");

        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key().open(b"", &changed), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key().open(b"", &sealed[..length]), None, "length {length}");
        }
    }

    #[test]
    fn a_mac_tells_where_one_part_ends_and_the_next_begins() {
        assert_ne!(key().mac(&[b"ab", b"c"]), key().mac(&[b"a", b"bc"]));
        assert!(key().verifies(&[b"ab", b"c"], &key().mac(&[b"ab", b"c"])));
        assert!(!key().verifies(&[b"ab"], &key().mac(&[b"ab"])[..31]));
    }

    /// A MAC holds two states of a hash. That they are wiped is a feature of the crate, and easily lost.
    #[test]
    fn the_state_of_a_hash_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<Sha256>();
    }

    /// RFC 4231 test case 2 shows that the primitive is HMAC-SHA-256.
    #[test]
    fn the_primitive_is_hmac_sha_256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");

        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()), expected);
    }

    #[test]
    fn every_purpose_has_a_key_of_its_own_and_always_the_same() {
        let master = MasterKey::new(key());
        let purposes = [
            Purpose::FactorSecrets,
            Purpose::CookieKeys,
            Purpose::CeremonyState,
            Purpose::RecoveryCodes,
            Purpose::FakeCredentials,
            Purpose::ApiTokens,
        ];
        for (i, a) in purposes.iter().enumerate() {
            assert_eq!(master.derive(*a), master.derive(*a));
            for b in &purposes[i + 1..] {
                assert_ne!(master.derive(*a), master.derive(*b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", MasterKey::new(key())), "MasterKey(Key(…))");
    }
}
