//! The program: arguments, runtime, exit code.

fn main() {}
