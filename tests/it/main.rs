//! End-to-end tests: each file is a promise.

mod configuration;
mod stand_in;
