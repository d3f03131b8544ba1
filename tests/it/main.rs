//! End-to-end tests: each file is a promise.

fn main() {}
