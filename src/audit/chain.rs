//! The chain that joins the lines of the audit file (pure).
//!
//! A line carries its number (`event.sequence`), the hash of the line before (`pvegate.prev_hash`) and its own
//! (`pvegate.hash`): SHA-256 over the line without `pvegate.hash` and `pvegate.seal`, with its names in
//! alphabetical order and without blanks. Anybody can check those: a line that was changed, taken out, put
//! in or moved breaks the chain there. But whoever can write the file can also make all hashes anew. So
//! `pvegate.seal` is a MAC over the hash under a key that comes from the master key: without that key nobody
//! writes a line that passes. Two values, so that an auditor needs no key for the first question.
//!
//! What no chain can show is that its end was cut off: for that, compare the last hash with one that was
//! noted elsewhere.

use std::fmt;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::record::set;
use crate::secret::{MacKey, sha256};

/// The end of a chain: what the next line follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first line.
    pub const NONE: Self = Self { sequence: 0, hash: Hash([0; 32]) };
}

/// A SHA-256 digest, written as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The line that follows `head`, without its end, and the head that it makes.
#[must_use]
pub fn link(event: &Value, head: Head, key: Option<&MacKey>) -> (String, Head) {
    let mut value = event.clone();
    let sequence = head.sequence.saturating_add(1);
    set(&mut value, "event.sequence", json!(sequence));
    set(&mut value, "pvegate.prev_hash", json!(head.hash.to_string()));
    let hash = Hash(sha256(value.to_string().as_bytes()));
    set(&mut value, "pvegate.hash", json!(hash.to_string()));
    if let Some(key) = key {
        set(&mut value, "pvegate.seal", json!(HEXLOWER.encode(&key.mac(&[&hash.0]))));
    }
    (value.to_string(), Head { sequence, hash })
}

/// A line that is whole by itself, and what it says of its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What it follows.
    pub before: Head,
    /// What it makes.
    pub head: Head,
    /// Its fields.
    pub value: Value,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is none of ours, or was cut.
    #[error("is no line of an audit file")]
    Foreign,
    /// Its fields are ours, and it is written otherwise than we write: a name twice, for instance.
    #[error("is not written as the gate writes")]
    Spelling,
    /// Its own hash is another.
    #[error("was changed: its hash is {found}")]
    Changed {
        /// That of what stands there.
        found: Hash,
    },
    /// It has no seal, or one under another key.
    #[error("is not sealed by this gate's key")]
    Unsealed,
    /// The line before it is not the one that it followed.
    #[error("follows a line {expected} that does not stand before it, but {found}")]
    Follows {
        /// The hash that it names.
        expected: Hash,
        /// The hash of the line before.
        found: Hash,
    },
    /// Lines are missing, or in another order.
    #[error("comes after line {before}")]
    Order {
        /// The number of the line before.
        before: u64,
    },
}

/// Looks at a line by itself; with a key, at its seal too.
///
/// # Errors
///
/// [`Flaw`]
pub fn check(line: &str, key: Option<&MacKey>) -> Result<Link, Flaw> {
    let value: Value = serde_json::from_str(line).map_err(|_| Flaw::Foreign)?;
    let written = value.to_string();
    if written != line {
        return Err(Flaw::Spelling);
    }
    let mut bare = value.clone();
    let fields = bare.get_mut("pvegate").and_then(Value::as_object_mut).ok_or(Flaw::Foreign)?;
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    let hash = text(fields.remove("hash")).and_then(|hash| Hash::parse(&hash)).ok_or(Flaw::Foreign)?;
    let seal = text(fields.remove("seal"));
    let before = text(fields.get("prev_hash").cloned()).and_then(|hash| Hash::parse(&hash));
    let sequence = value.pointer("/event/sequence").and_then(Value::as_u64).filter(|number| *number > 0);
    let (before, sequence) = before.zip(sequence).ok_or(Flaw::Foreign)?;
    let found = Hash(sha256(bare.to_string().as_bytes()));
    if found != hash {
        return Err(Flaw::Changed { found });
    }
    if let Some(key) = key {
        let tag = seal.and_then(|seal| HEXLOWER.decode(seal.as_bytes()).ok()).ok_or(Flaw::Unsealed)?;
        if !key.verifies(&[&hash.0], &tag) {
            return Err(Flaw::Unsealed);
        }
    }
    let before = Head { sequence: sequence - 1, hash: before };
    Ok(Link { before, head: Head { sequence, hash }, value })
}

impl Link {
    /// Whether this line follows the one that makes `head`.
    ///
    /// # Errors
    ///
    /// [`Flaw::Order`], [`Flaw::Follows`]
    pub fn follows(&self, head: Head) -> Result<(), Flaw> {
        if self.before.sequence != head.sequence {
            return Err(Flaw::Order { before: head.sequence });
        }
        if self.before.hash != head.hash {
            return Err(Flaw::Follows { expected: self.before.hash, found: head.hash });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Key;

    fn key() -> MacKey {
        Key::from_bytes([7; 32]).for_macs()
    }

    fn event(word: &str) -> Value {
        json!({ "event": { "action": word }, "user_agent": { "original": "Ä \"b\"\u{7f} \u{2028}" } })
    }

    fn lines(count: usize, key: Option<&MacKey>) -> Vec<String> {
        let mut head = Head::NONE;
        let one = |number| {
            let (line, next) = link(&event(&format!("{number}")), head, key);
            head = next;
            line
        };
        (0..count).map(one).collect()
    }

    /// The number of the first line that is wrong, and what is wrong with it.
    fn first_flaw(lines: &[String], key: Option<&MacKey>) -> Option<(usize, Flaw)> {
        let mut head = Head::NONE;
        for (number, line) in lines.iter().enumerate() {
            let link = match check(line, key).and_then(|link| link.follows(head).map(|()| link)) {
                Ok(link) => link,
                Err(flaw) => return Some((number, flaw)),
            };
            head = link.head;
        }
        None
    }

    #[test]
    fn what_was_linked_is_whole_with_the_key_and_without() {
        let lines = lines(5, Some(&key()));

        assert_eq!(first_flaw(&lines, Some(&key())), None);
        assert_eq!(first_flaw(&lines, None), None);
    }

    #[test]
    fn a_line_taken_out_put_in_moved_or_changed_breaks_the_chain_there() {
        let whole = lines(6, Some(&key()));
        let mut without = whole.clone();
        without.remove(2);
        assert_eq!(first_flaw(&without, None), Some((2, Flaw::Order { before: 2 })));
        let mut twice = whole.clone();
        twice.insert(3, whole[2].clone());
        assert_eq!(first_flaw(&twice, None), Some((3, Flaw::Order { before: 3 })));
        let mut moved = whole.clone();
        moved.swap(3, 4);
        assert_eq!(first_flaw(&moved, None), Some((3, Flaw::Order { before: 3 })));
        let mut changed = whole.clone();
        changed[1] = changed[1].replace("\"action\":\"1\"", "\"action\":\"9\"");
        assert!(matches!(first_flaw(&changed, None), Some((1, Flaw::Changed { .. }))));
        let mut other = whole;
        other[2] = link(&event("other"), Head { sequence: 2, hash: Hash([1; 32]) }, Some(&key())).0;
        assert!(matches!(first_flaw(&other, None), Some((2, Flaw::Follows { .. }))));
    }

    #[test]
    fn whoever_makes_all_hashes_anew_without_the_key_is_found_out() {
        let mut forged = lines(2, Some(&key()));
        forged[0] = link(&event("forged"), Head::NONE, Some(&Key::from_bytes([8; 32]).for_macs())).0;
        let head = check(&forged[0], None).unwrap().head;
        forged[1] = link(&event("1"), head, None).0;

        assert_eq!(first_flaw(&forged, None), None, "the hashes alone show nothing");
        assert_eq!(first_flaw(&forged, Some(&key())), Some((0, Flaw::Unsealed)));
        assert_eq!(check(&forged[1], Some(&key())), Err(Flaw::Unsealed));
    }

    #[test]
    fn two_readers_can_not_be_made_to_read_two_things() {
        let line = lines(1, None).remove(0);
        let twice = line.replacen("\"event\":{", "\"event\":{\"action\":\"nothing\",", 1);
        let spaced = line.replacen(':', ": ", 1);

        assert_eq!(check(&twice, None), Err(Flaw::Spelling));
        assert_eq!(check(&spaced, None), Err(Flaw::Spelling));
        for foreign in ["", "{}", "[]", "Nov 24 login", "{\"pvegate\":{}}"] {
            assert_eq!(check(foreign, None), Err(Flaw::Foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(at in 0_usize..10_000, byte in 0x20_u8..0x7f) {
            let line = lines(1, Some(&key())).remove(0);
            let mut bytes = line.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
            prop_assert!(check(&changed, Some(&key())).is_err(), "{changed}");
        }
    }
}
