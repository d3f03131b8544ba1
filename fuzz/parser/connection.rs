//! The gate's pure parsers, as files of its own source.

#[path = "../../src/connection/head.rs"]
pub mod head;
#[path = "wire.rs"]
pub mod wire;
