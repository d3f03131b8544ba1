//! Tests with a real Chromium: what a person sees, clicks and is refused.
//!
//! `bash tests/run` installs what they need. Each file beside [`harness`] is a subject; a test's name
//! is its promise.

#[path = "../it/harness/mod.rs"]
mod gate;
mod harness;

mod admin;
mod clocks;
mod consoles;
mod cross_site;
mod demo;
mod harness_itself;
mod interface;
mod interrupted;
mod journey;
mod methods;
mod newcomer;
mod passkeys;
mod policies;
mod security_keys;
mod sessions;
mod worst_day;
