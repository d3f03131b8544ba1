//! The whole program under load, from outside: `cargo bench --bench proxy -- counts|hold|compare`.
//!
//! The gate is a process of its own, as people run it; the stand-in for pveproxy and the load are in this
//! one, and what they cost is never part of a figure. What each mode measures, and what the figures mean,
//! is told in `benches/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed, and prints what it found"
)]

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

mod compare;
mod counts;
mod gate;
mod hold;
mod load;
mod process;

use std::process::ExitCode;

const USAGE: &str = "cargo bench --bench proxy -- MODE

  counts         system calls and instructions for each request and handshake
  hold [--long]  memory of idle connections and open tunnels, and its return
  compare [N]    beside nginx and haproxy, N interleaved rounds (3)";

fn main() -> ExitCode {
    // `cargo bench` passes `--bench` to every target.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match args.as_slice() {
        ["counts"] => runtime.block_on(counts::run()),
        ["hold"] => runtime.block_on(hold::run(hold::Length::Short)),
        ["hold", "--long"] => runtime.block_on(hold::run(hold::Length::Long)),
        ["compare"] => runtime.block_on(compare::run(3)),
        ["compare", rounds] => runtime.block_on(compare::run(rounds.parse().unwrap())),
        // A plain `cargo bench` goes over all targets, and this one has to be asked for.
        _ => println!("{USAGE}"),
    }
    ExitCode::SUCCESS
}
