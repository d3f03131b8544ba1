//! Holds the gate's parser of requests, fed in pieces, against the oracle of the tests, which is shown the
//! whole.
//!
//! Input: the bytes of a connection. Where they are cut follows from the bytes themselves, so that seeds are
//! plain requests.
#![no_main]
#![allow(dead_code, missing_docs)]

// The files find each other by the crate's name.
extern crate self as pvegate;

#[path = "../parser/connection.rs"]
pub mod connection;

#[path = "../../tests/it/wire/differential.rs"]
mod differential;
#[path = "../../tests/it/wire/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    differential::agree(bytes, differential::cuts(bytes));
});
