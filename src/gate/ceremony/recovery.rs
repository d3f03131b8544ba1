//! Recovery codes: ten, each good once, for the day when phone and key are gone.
//!
//! A code is 80 random bits, written as four groups of four in RFC 4648 base32, lower case. The store
//! keeps a keyed hash (HMAC-SHA-256 under a key of its own, with the user in it): without the master
//! key a stolen database gives nothing to guess against. Spending is the store's business.

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    account::UserId,
    secret::{self, Key},
};

/// How many there are.
pub const CODES: usize = 10;

/// At this many or fewer, people are reminded to make new ones.
pub const FEW: usize = 3;

const CHARACTERS: usize = 16;

/// A recovery code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// A new code.
    #[must_use]
    pub fn random() -> Self {
        let bits = Zeroizing::new(secret::random::<10>());
        Self(Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&*bits).to_ascii_lowercase()))
    }

    /// What somebody typed: capitals, blanks and hyphens do not matter, and `0` and `1`, which the
    /// alphabet does not have, are the letters they look like.
    #[must_use]
    pub fn from_typed(text: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(CHARACTERS));
        for character in text.chars() {
            match character.to_ascii_lowercase() {
                ' ' | '\t' | '\u{a0}' | '-' | '\u{2010}' | '\u{2011}' => {}
                _ if code.len() == CHARACTERS => return None,
                '0' => code.push('o'),
                '1' => code.push('l'),
                character @ ('a'..='z' | '2'..='7') => code.push(character),
                _ => return None,
            }
        }
        (code.len() == CHARACTERS).then_some(Self(code))
    }

    /// As people see and write it: `k7mq-4x2p-7hdn-w3fr`.
    #[must_use]
    pub fn written(&self) -> String {
        let mut text = String::with_capacity(CHARACTERS + 3);
        for (i, character) in self.0.chars().enumerate() {
            if i > 0 && i % 4 == 0 {
                text.push('-');
            }
            text.push(character);
        }
        text
    }

    /// What the store knows it by.
    #[must_use]
    pub fn hash(&self, key: &Key, user: UserId) -> [u8; 32] {
        key.mac(&[&user.0.to_be_bytes(), self.0.as_bytes()])
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// A fresh set.
#[must_use]
pub fn fresh() -> Vec<Code> {
    (0..CODES).map(|_| Code::random()).collect()
}

/// What the store keeps of a set as it was shown, if `typed` is one of it: that is how people show that they
/// have saved it.
#[must_use]
pub fn saved(shown: &[String], typed: &str, key: &Key, user: UserId) -> Option<Vec<[u8; 32]>> {
    let typed = Code::from_typed(typed)?;
    let codes: Vec<Code> = shown.iter().filter_map(|code| Code::from_typed(code)).collect();
    codes.contains(&typed).then(|| codes.iter().map(|code| code.hash(key, user)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_80_bits_in_four_groups_and_none_comes_twice() {
        let codes = fresh();

        assert_eq!(codes.len(), CODES);
        for (i, code) in codes.iter().enumerate() {
            let written = code.written();
            assert_eq!(written.split('-').map(str::len).collect::<Vec<_>>(), [4, 4, 4, 4], "{written}");
            assert!(written.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7' | b'-')), "{written}");
            assert!(!codes[i + 1..].contains(code));
        }
    }

    #[test]
    fn a_code_is_read_as_people_write_it_and_nothing_else_is_a_code() {
        let code = Code::from_typed("klmo-4x2p-7hdn-w3fr").unwrap();
        #[rustfmt::skip]
        let table = [
            ("klmo4x2p7hdnw3fr",        true),
            ("KLMO 4X2P 7HDN W3FR",     true),
            ("klm0-4x2p-7hdn-w3fr",     true),
            ("k1mo-4x2p-7hdn-w3fr",     true),
            (" klmo‑4x2p‑7hdn‑w3fr ",   true),
            ("klmo-4x2p-7hdn-w3f",      false),
            ("klmo-4x2p-7hdn-w3frr",    false),
            ("klmo-4x2p-7hdn-w3f8",     false),
            ("klmo-4x2p-7hdn-w3f=",     false),
            ("",                        false),
        ];
        for (typed, good) in table {
            assert_eq!(Code::from_typed(typed).is_some_and(|typed| typed == code), good, "{typed:?}");
        }
    }

    #[test]
    fn the_same_code_of_two_people_or_under_two_keys_has_two_hashes() {
        let (code, key) = (Code::random(), Key::from_bytes([1; 32]));
        let hash = code.hash(&key, UserId(1));

        assert_eq!(hash, Code::from_typed(&code.written()).unwrap().hash(&key, UserId(1)));
        assert_ne!(hash, code.hash(&key, UserId(2)));
        assert_ne!(hash, code.hash(&Key::from_bytes([2; 32]), UserId(1)));
    }
}
