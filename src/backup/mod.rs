//! What a backup holds, as one file: the store, the configuration, the master key and the local authority.
//!
//! The file is [sealed] under a passphrase as one message, so nothing in it is looked at before all of it was
//! found whole and unchanged. Everything is in memory on the way: a store of a hundred people is a few
//! megabytes, and no unsealed copy ever lies on a disk. Where the parts come from and go to is `admin`'s
//! business; what is inside a store is `store`'s.

pub mod sealed;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use sealed::{OpenError, PassphraseError, acceptable};

use crate::time::Timestamp;

/// Largest file that is taken for a backup, in bytes.
pub const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// What is in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The key that opens what is sealed in the store.
    MasterKey,
    /// The local authority's key.
    CaKey,
    /// Its certificate.
    CaCertificate,
    /// The database.
    Store,
    /// The configuration file.
    Configuration,
}

/// A backup that is open.
#[derive(Debug)]
pub struct Backup {
    /// When it was made.
    pub made_at: Timestamp,
    /// By which version of pvegate.
    pub version: String,
    /// Of which gate.
    pub url: String,
    parts: Vec<(Part, Zeroizing<Vec<u8>>)>,
}

/// What stands in front of the parts.
#[derive(Serialize, Deserialize)]
struct Manifest {
    made_at: i64,
    version: String,
    url: String,
    /// Each with its length.
    parts: Vec<(Part, usize)>,
}

impl Backup {
    /// One with nothing in it.
    #[must_use]
    pub fn new(made_at: Timestamp, url: String) -> Self {
        Self { made_at, version: env!("CARGO_PKG_VERSION").to_owned(), url, parts: Vec::new() }
    }

    /// Puts a part in, in place of one that is there.
    pub fn put(&mut self, part: Part, bytes: Zeroizing<Vec<u8>>) {
        self.parts.retain(|(there, _)| *there != part);
        self.parts.push((part, bytes));
    }

    /// A part, if it is in it.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<&[u8]> {
        self.parts.iter().find(|(there, _)| *there == part).map(|(_, bytes)| bytes.as_slice())
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`]: nobody should rely on such a passphrase.
    pub fn seal(&self, passphrase: &str) -> Result<Vec<u8>, PassphraseError> {
        let manifest = Manifest {
            made_at: self.made_at.millis(),
            version: self.version.clone(),
            url: self.url.clone(),
            parts: self.parts.iter().map(|(part, bytes)| (*part, bytes.len())).collect(),
        };
        let manifest = serde_json::to_vec(&manifest).unwrap_or_default();
        let length = u32::try_from(manifest.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut plain = Zeroizing::new([length.as_slice(), &manifest].concat());
        for (_, bytes) in &self.parts {
            plain.extend_from_slice(bytes);
        }
        sealed::seal(passphrase, &plain)
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(passphrase: &str, file: &[u8]) -> Result<Self, OpenError> {
        let plain = sealed::open(passphrase, file)?;
        Self::read(&plain).ok_or(OpenError::Newer)
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (length, rest) = plain.split_first_chunk::<4>()?;
        let (manifest, mut rest) =
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
        let mut parts = Vec::new();
        for (part, length) in manifest.parts {
            let (bytes, behind) = rest.split_at_checked(length)?;
            parts.push((part, Zeroizing::new(bytes.to_vec())));
            rest = behind;
        }
        let made_at = Timestamp::from_millis(manifest.made_at);
        rest.is_empty().then_some(Self { made_at, version: manifest.version, url: manifest.url, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_and_what_was_not_does_not() {
        let mut backup = Backup::new(Timestamp::from_secs(7), "https://pve.example.com".to_owned());
        backup.put(Part::Store, Zeroizing::new(b"old".to_vec()));
        backup.put(Part::Store, Zeroizing::new(b"store".to_vec()));
        backup.put(Part::MasterKey, Zeroizing::new(Vec::new()));

        let file = backup.seal("a long passphrase").unwrap();
        let opened = Backup::open("a long passphrase", &file).unwrap();

        assert_eq!(opened.part(Part::Store), Some(b"store".as_slice()));
        assert_eq!(opened.part(Part::MasterKey), Some(b"".as_slice()));
        assert_eq!(opened.part(Part::CaKey), None);
        assert_eq!(
            (opened.made_at, opened.url.as_str()),
            (Timestamp::from_secs(7), "https://pve.example.com")
        );
    }

    #[test]
    fn what_another_version_may_have_written_is_not_guessed_at() {
        for plain in [&b""[..], b"\0\0\0\x09{}", b"\0\0\0\x02{}", b"\xff\xff\xff\xff{}"] {
            assert!(Backup::read(plain).is_none(), "{plain:?}");
            let file = sealed::seal("a long passphrase", plain).unwrap();
            assert_eq!(Backup::open("a long passphrase", &file).unwrap_err(), OpenError::Newer);
        }
    }
}
