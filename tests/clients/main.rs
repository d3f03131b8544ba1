//! Programs that people and their scripts really use, against the gate: curl, wget, wscat, and clients for
//! Proxmox VE's API in Python and JavaScript.
//!
//! `bash tests/run` installs them. What each is refused, and how it tells its user, is a promise too.

#[path = "../it/harness/mod.rs"]
mod gate;

mod curl;
mod far;
mod libraries;
mod websocket;
mod wget;
