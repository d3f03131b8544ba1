//! See `connection.rs`.

#[path = "../../src/connection/wire/chunked.rs"]
pub mod chunked;
#[path = "../../src/connection/wire/framer.rs"]
pub mod framer;
#[path = "../../src/connection/wire/head.rs"]
pub mod head;
