//! An event as it is written: what happened, and what is known of when, where and by whom.
//!
//! The fields are those of the Elastic Common Schema; what it has no name for is under `pvegate`. The file
//! adds its chain to them.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

use super::{Asking, Event, Outcome};
use crate::{secret, time::Timestamp};

/// Every field that is ever written, in alphabetical order. The names are an interface.
pub const FIELDS: &[&str] = &[
    "@timestamp",
    "destination.address",
    "ecs.version",
    "event.action",
    "event.category",
    "event.dataset",
    "event.id",
    "event.kind",
    "event.module",
    "event.outcome",
    "event.reason",
    "event.sequence",
    "event.type",
    "host.name",
    "http.request.id",
    "http.request.method",
    "network.forwarded_ip",
    "pvegate.by",
    "pvegate.call",
    "pvegate.class",
    "pvegate.count",
    "pvegate.hash",
    "pvegate.method",
    "pvegate.network",
    "pvegate.peer",
    "pvegate.prev_hash",
    "pvegate.reason",
    "pvegate.seal",
    "pvegate.session",
    "pvegate.token",
    "pvegate.until",
    "pvegate.upstream_user",
    "related.ip",
    "related.user",
    "service.name",
    "service.version",
    "source.ip",
    "source.port",
    "tls.cipher",
    "tls.version",
    "tls.version_protocol",
    "url.path",
    "user.changes.name",
    "user.changes.roles",
    "user.name",
    "user_agent.original",
];

/// An event, ready for every place that it goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it happened.
    pub at: Timestamp,
    /// Its action.
    pub action: &'static str,
    /// Whether it succeeded.
    pub outcome: Outcome,
    /// Its fields, without the chain.
    pub value: Value,
    /// The short line.
    pub line: String,
}

impl Record {
    /// Of an event, at a time, during a request if there is one, on this host.
    #[must_use]
    pub fn of(event: &Event, at: Timestamp, asking: Option<&Asking>, host: &str) -> Self {
        let mut value = event.to_json(at);
        let mut set = |name: &str, field: Value| set(&mut value, name, field);
        let id = data_encoding::BASE32_NOPAD.encode(&secret::random::<10>()).to_ascii_lowercase();
        set("event.id", json!(id));
        set("host.name", json!(host));
        let mut ips: BTreeSet<IpAddr> = event.client.into_iter().collect();
        let mut line = event.to_line();
        if let Some(asking) = asking {
            let peer = asking.peer();
            let ip = peer.ip().to_canonical();
            match event.client {
                Some(client) if client == ip && peer.port() != 0 => {
                    set("source.port", json!(peer.port()));
                }
                Some(client) if client != ip => {
                    set("network.forwarded_ip", json!(client.to_string()));
                    set("pvegate.peer", json!(ip.to_string()));
                    ips.insert(ip);
                }
                Some(_) | None => {}
            }
            if let Some(version) = asking.tls().version {
                set("tls.version_protocol", json!("tls"));
                set("tls.version", json!(version));
            }
            if let Some(cipher) = asking.tls().cipher {
                set("tls.cipher", json!(cipher));
            }
            if let Some(agent) = asking.agent() {
                set("user_agent.original", json!(agent));
            }
            set("http.request.id", json!(asking.id()));
            line.push_str(if line.contains(';') { " req=" } else { "; req=" });
            line.push_str(asking.id());
        }
        if !ips.is_empty() {
            set("related.ip", json!(ips.iter().map(ToString::to_string).collect::<Vec<_>>()));
        }
        let users: BTreeSet<&String> =
            event.user.iter().chain(&event.upstream_user).chain(&event.by).collect();
        if !users.is_empty() {
            set("related.user", json!(users));
        }
        Self { at, action: event.action.as_str(), outcome: event.outcome, value, line }
    }
}

/// Sets a field by its name with dots.
pub(super) fn set(value: &mut Value, name: &str, field: Value) {
    let mut at = value;
    for part in name.split('.') {
        let Value::Object(fields) = at else { return };
        at = fields.entry(part).or_insert_with(|| json!({}));
    }
    *at = field;
}

/// Every field that is set, by its name with dots, and what it holds.
pub fn flat(value: &Value) -> Vec<(String, &Value)> {
    fn below<'a>(name: &str, value: &'a Value, all: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Object(fields) => {
                for (part, field) in fields {
                    let name = if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
                    below(&name, field, all);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                all.push((name.to_owned(), value));
            }
        }
    }
    let mut all = Vec::new();
    below("", value, &mut all);
    all
}

#[cfg(test)]
mod tests;
