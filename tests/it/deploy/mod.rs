//! What lies under `deploy/` is accepted by the programs it is for, and does what it says there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod export;
mod firewall;
mod logs;
mod monitoring;
mod namespace;
mod systemd;
mod systemd_boot;
mod wireguard;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A file or directory that is shipped.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Runs a program to its end; its output if it succeeded.
#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{program} {args:?}: {}\n{said}", ran.status);
    said
}

/// Says for all to see that this machine can't run something. `bash tests/run` lists these at its end.
fn skipped(what: &str, why: &str) {
    let list = crate::harness::packages().join("skipped.txt");
    let mut list = fs::OpenOptions::new().create(true).append(true).open(list).unwrap();
    writeln!(list, "{what}: {why}").unwrap();
    eprintln!("SKIPPED {what}: {why}");
}
