//! A file under a passphrase: argon2id (RFC 9106) makes the key, XChaCha20-Poly1305 seals the whole as one
//! message, with everything in front of it authenticated too.
//!
//! ```text
//! "pvegate backup 1\n"  memory, passes, lanes: 4 bytes each  salt: 16  check: 16  nonce: 24  sealed …
//! ```
//!
//! `check` comes from the same derivation as the key. It tells a wrong passphrase from a damaged file, and an
//! attacker nothing that opening the message would not: either way each guess costs a derivation.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::secret::{self, Key};

/// Fewest characters of a passphrase: whoever finds the file can guess at leisure.
pub const SHORTEST: usize = 12;

/// Memory in KiB, passes, lanes: the second choice of RFC 9106 §4, for machines that also do other things.
const COST: [u32; 3] = [64 * 1024, 3, 4];

/// What is paid at most for a file that says how much: 1 GiB, and a minute or so.
const MOST: [u32; 3] = [1024 * 1024, 16, 16];

const MAGIC: &[u8; 17] = b"pvegate backup 1\n";
const SALT: usize = 16;
const CHECK: usize = 16;
const HEADER: usize = MAGIC.len() + 12 + SALT + CHECK;

/// Why a passphrase is not taken for a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a passphrase has at least {SHORTEST} characters: whoever finds the file can guess at leisure")]
pub struct PassphraseError;

/// Why a file does not open. Nothing of it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Something else.
    #[error("this is no backup of pvegate")]
    NotABackup,
    /// It ends before its contents begin, or asks for a derivation that none of ours needs.
    #[error("its beginning is damaged: the file was changed or cut off; take another copy")]
    BadHeader,
    /// The passphrase is another one, or salt or check were changed.
    #[error("the passphrase is not that of this backup")]
    Passphrase,
    /// The passphrase is right.
    #[error("the passphrase is right, but the file was changed or cut off: take another copy")]
    Damaged,
    /// It is whole, and not of a form that this version knows.
    #[error("a newer pvegate made it: install that version, then restore")]
    Newer,
}

/// Whether a passphrase may seal a file.
///
/// # Errors
///
/// [`PassphraseError`]
pub fn acceptable(passphrase: &str) -> Result<(), PassphraseError> {
    if passphrase.chars().count() < SHORTEST { Err(PassphraseError) } else { Ok(()) }
}

/// Seals `plain`.
///
/// # Errors
///
/// [`PassphraseError`]
pub fn seal(passphrase: &str, plain: &[u8]) -> Result<Vec<u8>, PassphraseError> {
    acceptable(passphrase)?;
    seal_at(COST, passphrase, plain)
}

fn seal_at(cost: [u32; 3], passphrase: &str, plain: &[u8]) -> Result<Vec<u8>, PassphraseError> {
    let salt: [u8; SALT] = secret::random();
    // These costs are within the crate's bounds; a test holds that.
    let (key, check) = derive(passphrase, cost, &salt).ok_or(PassphraseError)?;
    let cost = cost.map(u32::to_be_bytes).concat();
    let mut file = [MAGIC.as_slice(), &cost, &salt, &check].concat();
    let sealed = key.seal(&file, plain);
    file.extend_from_slice(&sealed);
    Ok(file)
}

/// Opens what [`seal`] made.
///
/// # Errors
///
/// [`OpenError`]
pub fn open(passphrase: &str, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let rest = file.strip_prefix(MAGIC).ok_or(if file.starts_with(b"pvegate backup ") {
        OpenError::Newer
    } else {
        OpenError::NotABackup
    })?;
    let (cost, salt, check) = header(rest).ok_or(OpenError::BadHeader)?;
    let (header, sealed) = file.split_at_checked(HEADER).ok_or(OpenError::BadHeader)?;
    if cost.iter().zip(MOST).any(|(cost, most)| *cost > most) {
        return Err(OpenError::BadHeader);
    }
    let (key, expected) = derive(passphrase, cost, &salt).ok_or(OpenError::BadHeader)?;
    if !secret::equal(&check, &expected) {
        return Err(OpenError::Passphrase);
    }
    key.open(header, sealed).ok_or(OpenError::Damaged)
}

/// What stands between the magic and the sealed message.
fn header(rest: &[u8]) -> Option<([u32; 3], [u8; SALT], [u8; CHECK])> {
    let mut cost = [0; 3];
    let mut rest = rest;
    for cost in &mut cost {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        *cost = u32::from_be_bytes(*number);
        rest = behind;
    }
    let (salt, rest) = rest.split_first_chunk()?;
    let (check, _) = rest.split_first_chunk()?;
    Some((cost, *salt, *check))
}

fn derive(passphrase: &str, [memory, passes, lanes]: [u32; 3], salt: &[u8]) -> Option<(Key, [u8; CHECK])> {
    let params = Params::new(memory, passes, lanes, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut derived = Zeroizing::new([0; 32 + CHECK]);
    argon2.hash_password_into(passphrase.as_bytes(), salt, derived.as_mut_slice()).ok()?;
    let (key, rest) = derived.split_first_chunk::<32>()?;
    let (check, _) = rest.split_first_chunk()?;
    Some((Key::from_bytes(*key), *check))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "correct horse battery staple";

    #[test]
    fn a_file_opens_with_its_passphrase_alone() {
        let file = seal(WORDS, b"contents").unwrap();

        assert_eq!(open(WORDS, &file).unwrap().as_slice(), b"contents");
        assert_eq!(open("correct horse battery stapl", &file), Err(OpenError::Passphrase));
        assert_eq!(open("", &file), Err(OpenError::Passphrase));
        assert_eq!(seal(WORDS, b"contents").unwrap().len(), file.len());
        assert_ne!(seal(WORDS, b"contents").unwrap(), file, "salt and nonce of its own");
    }

    #[test]
    fn no_changed_byte_and_no_part_of_a_file_opens() {
        let file = seal_at([64, 1, 1], WORDS, b"contents").unwrap();

        for byte in 0..file.len() {
            let mut changed = file.clone();
            changed[byte] ^= 1;
            let error = open(WORDS, &changed).unwrap_err();
            if byte >= HEADER {
                assert_eq!(error, OpenError::Damaged, "byte {byte}");
            }
        }
        for length in [0, 5, MAGIC.len(), HEADER - 1, HEADER, HEADER + 24, file.len() - 1] {
            assert!(open(WORDS, &file[..length]).is_err(), "length {length}");
        }
        assert_eq!(open(WORDS, &[file.as_slice(), b"x"].concat()), Err(OpenError::Damaged));
    }

    #[test]
    fn what_is_no_backup_is_told_from_one_of_a_newer_version() {
        assert_eq!(open(WORDS, b"SQLite format 3\0"), Err(OpenError::NotABackup));
        assert_eq!(open(WORDS, b"pvegate backup 2\nx"), Err(OpenError::Newer));
    }

    #[test]
    fn a_short_passphrase_seals_nothing() {
        assert_eq!(seal("elevenchars", b""), Err(PassphraseError));
        assert!(seal("twelve chars", b"").is_ok());
        assert!(acceptable("äääääääääääää").is_ok());
    }
}
