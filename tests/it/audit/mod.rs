//! The audit log: one chain whoever writes, read by verbs, sent to collectors; and no trouble with any of it
//! keeps anybody from the gate.

mod chain;
pub(crate) mod sinks;

use std::path::Path;

use serde_json::Value;

use crate::harness::{Ended, TestGate, pvegate};

/// Runs a verb with the gate's own configuration.
async fn verb(gate: &TestGate, args: &[&str]) -> Ended {
    verb_with(&gate.dir().join("pvegate.toml"), args).await
}

async fn verb_with(config: &Path, args: &[&str]) -> Ended {
    let config = config.display().to_string();
    pvegate(&[&["--config", &config], args].concat()).await
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
