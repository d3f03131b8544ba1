//! JSON of strangers, read in one way only (pure).
//!
//! RFC 8259 §4 leaves open what an object means that has a name twice: one reader takes the first
//! value, another the last. Here it is an error, at every depth. Which names an object may have is the
//! caller's type to say (`deny_unknown_fields`).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Reads one JSON value.
///
/// # Errors
///
/// What serde says: no JSON, a name twice, or not of the type `T`. Where strings of `text` are quoted
/// in it, they are a stranger's.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let Strict(value) = serde_json::from_slice(text)?;
    serde_json::from_value(value)
}

/// A JSON value without a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("an object with a name twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_twice_is_refused_at_every_depth_and_in_every_spelling() {
        #[rustfmt::skip]
        let table = [
            (r#"{"a":1,"b":{"a":2},"c":[{"a":3}]}"#, true),
            (r#"{"a":1,"a":1}"#,                     false),
            (r#"{"a":1,"\u0061":2}"#,                false),
            (r#"{"b":{"a":1,"a":2}}"#,               false),
            (r#"[[{"a":1,"a":2}]]"#,                 false),
            (r#"{"a":1} "#,                          true),
            (r#"{"a":1}{"a":1}"#,                    false),
            (r#"{"a":1,}"#,                          false),
            ("",                                     false),
        ];
        for (text, good) in table {
            assert_eq!(parse::<Value>(text.as_bytes()).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = "[".repeat(100_000);

        assert!(parse::<Value>(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_back_the_same(text in "\\PC{0,20}", number: i64, truth: bool) {
            let value = serde_json::json!({ &*text: [number, truth, null_or(truth), { "x": text }] });

            prop_assert_eq!(parse::<Value>(value.to_string().as_bytes()).unwrap(), value);
        }
    }

    fn null_or(truth: bool) -> Option<f64> {
        truth.then_some(0.5)
    }
}
