//! Tests with a real Chromium.

fn main() {}
