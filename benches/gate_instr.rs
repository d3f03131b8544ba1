//! The instructions that the functions of the hot path take: `cargo bench --bench gate_instr [-- --record]`.
//!
//! Each function runs under valgrind's callgrind, in a process of its own, a few times and more often; the
//! difference is the function's, whatever start-up costs. Other load does not touch it, so a change of more
//! than 3 % from `benches/instructions.txt` is a failure: exit status 1. Fewer instructions are to be recorded too,
//! or the next change could spend them unseen. Another compiler, libc or valgrind, or a processor that has
//! other instructions, gives other figures: record them before the change that is to be judged.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed, and prints what it found"
)]

mod hot;

use std::{collections::BTreeMap, env, fs, path::Path, process::Command, process::ExitCode};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

const FEW: u64 = 100;
const MANY: u64 = 1100;

/// A function that takes fewer instructions than this is run [`MORE`] times: hash tables are seeded anew in
/// every process, and what that does to start-up must vanish.
const SHORT: u64 = 8000;
const MORE: u64 = 20_100;

/// What a count may differ by, in percent.
const LIMIT: f64 = 3.0;

/// The same for what meets another key and another signature every time.
const LOOSE: (&str, f64) = ("WebAuthn assertion verified (ES256)", 10.0);

fn main() -> ExitCode {
    // `cargo bench` passes `--bench` to every target.
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => compare(),
        ["--record"] => record(),
        ["--run", group, name, times] => repeat(group.parse().unwrap(), name, times.parse().unwrap()),
        _ => {
            println!("cargo bench --bench gate_instr [-- --record]");
            ExitCode::from(2)
        }
    }
}

/// What runs under callgrind.
fn repeat(group: usize, name: &str, times: u64) -> ExitCode {
    let mut case = hot::GROUPS[group]().into_iter().find(|case| case.name == name).unwrap();
    for _ in 0..times {
        (case.run)();
    }
    ExitCode::SUCCESS
}

fn count() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (group, cases) in hot::GROUPS.iter().enumerate() {
        for case in cases() {
            let few = callgrind(group, case.name, FEW);
            let each = |many| callgrind(group, case.name, many).saturating_sub(few) / (many - FEW);
            let roughly = each(MANY);
            counts.insert(case.name.to_owned(), if roughly < SHORT { each(MORE) } else { roughly });
        }
    }
    counts
}

/// Instructions of a process that runs a function so many times.
fn callgrind(group: usize, name: &str, times: u64) -> u64 {
    let out = env::temp_dir().join(format!("pvegate-callgrind-{}", std::process::id()));
    let run = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["--run", &group.to_string(), name, &times.to_string()])
        .status();
    let status = run.unwrap_or_else(|e| panic!("valgrind: {e}"));
    assert!(status.success(), "{name}, {times} times: {status}");
    let text = fs::read_to_string(&out).unwrap();
    fs::remove_file(out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    total.unwrap().trim().parse().unwrap()
}

fn record() -> ExitCode {
    let lines: String = count().into_iter().map(|(name, count)| format!("{count:>9}  {name}\n")).collect();
    print!("{lines}");
    fs::write(RECORDED, lines).unwrap();
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let recorded: BTreeMap<String, u64> = match fs::read_to_string(Path::new(RECORDED)) {
        Ok(text) => text.lines().map(line).collect(),
        Err(error) => panic!("{RECORDED}: {error}; `-- --record` writes it"),
    };
    let mut differs = false;
    for (name, count) in count() {
        let Some(before) = recorded.get(&name) else {
            println!("{count:>9}  {name}: not recorded");
            differs = true;
            continue;
        };
        let change = (count as f64 / *before as f64 - 1.0) * 100.0;
        let limit = if name == LOOSE.0 { LOOSE.1 } else { LIMIT };
        let verdict = if change.abs() > limit { "  <- differs" } else { "" };
        println!("{count:>9}  {name}: {change:+.1} % from {before}{verdict}");
        differs |= change.abs() > limit;
    }
    if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn line(line: &str) -> (String, u64) {
    let (count, name) = line.trim().split_once("  ").unwrap();
    (name.to_owned(), count.parse().unwrap())
}
