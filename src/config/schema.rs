//! The file's format for editors: a JSON schema (draft 2020-12) out of the table of keys.

use serde_json::{Map, Value, json};

use super::{
    duration,
    keys::{KEYS, Key, Kind, TABLES},
};

/// The schema. It knows names, types, choices and bounds of numbers; what keys mean together is for
/// `pvegate config validate`.
#[must_use]
pub fn schema() -> Value {
    let mut root = table("");
    if let Value::Object(root) = &mut root {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("The configuration of pvegate"));
    }
    root
}

/// The table of this name, with those in it; `""` is the file.
fn table(name: &str) -> Value {
    let mut properties = Map::new();
    for key in KEYS.iter().filter(|key| key.split().0 == name) {
        properties.insert(key.split().1.to_owned(), value(key));
    }
    for inner in TABLES {
        let within = if name.is_empty() {
            Some(inner.name)
        } else {
            inner.name.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'))
        };
        if let Some(next) = within.and_then(|rest| rest.split('.').next())
            && !properties.contains_key(next)
        {
            let path = if name.is_empty() { next.to_owned() } else { format!("{name}.{next}") };
            properties.insert(next.to_owned(), table(&path));
        }
    }
    let mut object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let Some(table) = TABLES.iter().find(|table| table.name == name) else { return object };
    if let Value::Object(object) = &mut object {
        object.insert("description".to_owned(), json!(table.about));
    }
    if table.repeated { json!({ "type": "array", "items": object }) } else { object }
}

fn value(key: &Key) -> Value {
    let mut value = match key.kind {
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Duration { min, max } => json!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "$comment": format!("from {} to {}", duration::format(min), duration::format(max)),
        }),
        Kind::Number { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
    };
    if let Value::Object(value) = &mut value {
        value.insert("description".to_owned(), json!(key.doc));
        // TOML's numbers, texts, flags and lists of texts read alike as JSON.
        if let Some(default) = key.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            value.insert("default".to_owned(), default);
        }
    }
    value
}
