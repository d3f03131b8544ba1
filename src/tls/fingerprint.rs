//! SHA-256 fingerprints of certificates, in the notation of Proxmox VE's interface.
//!
//! Only the text and the number; who compares them is in `pin`.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a certificate in DER form.
///
/// It prints as Proxmox VE shows it (*Node → System → Certificates*): `AB:CD:…`, 32 pairs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a certificate in DER form.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are equal, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why a text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// A character that is neither a hexadecimal digit nor a colon.
    #[error("`{found}` is no hexadecimal digit; a fingerprint looks like AB:CD:… with 32 pairs")]
    NotHexadecimal {
        /// The character.
        found: char,
    },
    /// Colons that do not separate pairs of digits.
    #[error("colons belong between all pairs of digits, as in AB:CD:…, or nowhere")]
    MisplacedColon,
    /// Forty digits: SHA-1, which can be forged.
    #[error("found 40 hexadecimal digits, a SHA-1 fingerprint; the SHA-256 fingerprint with 64 is needed")]
    Sha1,
    /// Too few or too many digits.
    #[error("found {digits} hexadecimal digits; a SHA-256 fingerprint has 64")]
    WrongLength {
        /// Digits found.
        digits: usize,
    },
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Either case, with all colons or none; blanks around it are ignored.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim();
        let mut digits = Vec::with_capacity(64);
        for character in text.chars().filter(|c| *c != ':') {
            let digit = character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or(FingerprintError::NotHexadecimal { found: character })?;
            digits.push(digit);
        }
        if text.contains(':') && text.split(':').any(|pair| pair.len() != 2) {
            return Err(FingerprintError::MisplacedColon);
        }
        let mut bytes = [0; 32];
        match digits.len() {
            64 => {}
            40 => return Err(FingerprintError::Sha1),
            digits => return Err(FingerprintError::WrongLength { digits }),
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fingerprint_is_sha_256_in_proxmox_notation() {
        // FIPS 180-4 example, one block.
        assert_eq!(
            Fingerprint::of(b"abc").to_string(),
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        );
    }

    #[test]
    fn what_is_no_fingerprint_is_refused_with_the_reason() {
        let pairs = |n: usize| vec!["ab"; n].join(":");
        let table = [
            ("empty", String::new(), FingerprintError::WrongLength { digits: 0 }),
            ("one pair short", pairs(31), FingerprintError::WrongLength { digits: 62 }),
            ("one digit short", "a".repeat(63), FingerprintError::WrongLength { digits: 63 }),
            ("one pair too many", pairs(33), FingerprintError::WrongLength { digits: 66 }),
            ("SHA-1", pairs(20), FingerprintError::Sha1),
            ("not hexadecimal", "x".repeat(64), FingerprintError::NotHexadecimal { found: 'x' }),
            (
                "full-width digit",
                "\u{ff11}".repeat(64),
                FingerprintError::NotHexadecimal { found: '\u{ff11}' },
            ),
            ("blank inside", pairs(32).replace(':', " "), FingerprintError::NotHexadecimal { found: ' ' }),
            ("some colons", format!("ab:{}", "ab".repeat(31)), FingerprintError::MisplacedColon),
            ("colon first", format!(":{}", pairs(32)), FingerprintError::MisplacedColon),
            ("colon twice", pairs(32).replacen(':', "::", 1), FingerprintError::MisplacedColon),
        ];
        for (case, text, reason) in table {
            assert_eq!(text.parse::<Fingerprint>(), Err(reason), "{case}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_reads_back_as_the_same_fingerprint(bytes: [u8; 32]) {
            let fingerprint = Fingerprint::from_bytes(bytes);
            let shown = fingerprint.to_string();

            for text in [shown.clone(), shown.to_lowercase(), shown.replace(':', ""), format!(" {shown}\n")] {
                prop_assert_eq!(text.parse(), Ok(fingerprint));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
