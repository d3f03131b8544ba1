//! What noise does not touch: system calls and instructions for each request and each handshake.
//!
//! System calls are counted by `strace -c` over an interval that holds nothing but the load and what the gate
//! does by itself meanwhile; that is counted in an interval of its own and taken off. Instructions are
//! counted by valgrind's callgrind over two whole runs that differ in the number of requests only.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    gate::{self, Gate},
    harness::{Pve, Scratch},
    load::{self, Target},
};

/// Requests of an interval.
const REQUESTS: usize = 2000;

/// Handshakes of an interval.
const HANDSHAKES: usize = 200;

pub(crate) async fn run() {
    let pve = gate::stand_in().await;
    system_calls(&pve).await;
    instructions(&pve).await;
}

async fn system_calls(pve: &Pve) {
    let gate = Gate::start(pve, &[]).await;
    let id = gate.running.id();
    let idle = Counted::while_(id, async { sleep(Duration::from_secs(5)).await }).await;
    println!("system calls, by the gate itself: {:.1} a second", idle.a_second());

    let serial = serial(&gate.target, id, REQUESTS).await;
    serial.print("small GET with a session, one connection", REQUESTS, &idle);

    let many = {
        let mut connections = Vec::new();
        for _ in 0..32 {
            connections.push(gate.target.connect().await);
        }
        for connection in &mut connections {
            connection.get().await;
        }
        Counted::while_(id, load::on_each(connections, REQUESTS / 32)).await
    };
    many.print("small GET with a session, 32 connections", REQUESTS / 32 * 32, &idle);

    let local = gate.target.at("/_gate/healthz");
    local.connect().await.get().await;
    let shakes = Counted::while_(id, load::handshakes(&local, HANDSHAKES)).await;
    shakes.print("handshake and an answer of the gate's own", HANDSHAKES, &idle);

    let shakes = Counted::while_(id, load::handshakes(&gate.target, HANDSHAKES)).await;
    shakes.print("handshake and a small GET with a session", HANDSHAKES, &idle);
}

async fn serial(target: &Target, id: u32, requests: usize) -> Counted {
    let mut connection = target.connect().await;
    connection.get().await;
    Counted::while_(id, async {
        for _ in 0..requests {
            connection.get().await;
        }
    })
    .await
}

/// System calls of a process within an interval.
struct Counted {
    by_name: BTreeMap<String, u64>,
    seconds: f64,
}

impl Counted {
    async fn while_(id: u32, load: impl Future<Output = ()>) -> Self {
        let scratch = Scratch::new();
        let file = scratch.path().join("counts");
        let mut strace: Child = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name", "-p", &id.to_string(), "-o"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed");
        while !is_traced(id) {
            sleep(Duration::from_millis(5)).await;
        }
        let begun = Instant::now();
        load.await;
        let seconds = begun.elapsed().as_secs_f64();
        assert!(
            Command::new("sh")
                .args(["-c", &format!("kill -INT {}", strace.id())])
                .status()
                .unwrap()
                .success()
        );
        strace.wait().unwrap();
        let by_name = fs::read_to_string(file).unwrap().lines().filter_map(row).collect();
        Self { by_name, seconds }
    }

    fn a_second(&self) -> f64 {
        self.by_name.values().sum::<u64>() as f64 / self.seconds
    }

    fn print(&self, what: &str, times: usize, idle: &Self) {
        let times = times as f64;
        let by_itself = |name: &str| {
            idle.by_name.get(name).copied().unwrap_or(0) as f64 / idle.seconds * self.seconds / times
        };
        let each: Vec<(f64, &str)> = self
            .by_name
            .iter()
            .map(|(name, count)| (*count as f64 / times - by_itself(name), name.as_str()))
            .filter(|(each, _)| *each >= 0.005)
            .collect();
        let all: f64 = each.iter().map(|(each, _)| each).sum();
        println!("system calls, {what}: {all:.2}");
        for (each, name) in each {
            println!("    {name:<16} {each:.2}");
        }
    }
}

fn is_traced(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    let traced = |status: String| !status.contains("TracerPid:\t0\n");
    threads.into_iter().all(|thread| fs::read_to_string(thread.path().join("status")).is_ok_and(traced))
}

/// A line of the table: the number and the name.
fn row(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let (count, name) = (words.next()?.parse().ok()?, words.next()?);
    (name != "total").then(|| (name.to_owned(), count))
}

async fn instructions(pve: &Pve) {
    const FEW: usize = 200;
    const MANY: usize = 1200;
    let mut small = Vec::new();
    for requests in [FEW, MANY] {
        small.push(callgrind(pve, requests, 0).await);
    }
    per("small GET with a session", &small, MANY - FEW);
    let mut shakes = vec![small[0]];
    shakes.push(callgrind(pve, FEW, 100).await);
    per("handshake and an answer of the gate's own", &shakes, 100);
}

fn per(what: &str, counts: &[u64], times: usize) {
    println!("instructions, {what}: {:.0}", (counts[1] - counts[0]) as f64 / times as f64);
}

/// Instructions of a whole run with so many requests on one connection, and so many handshakes.
async fn callgrind(pve: &Pve, requests: usize, handshakes: usize) -> u64 {
    let scratch = Scratch::new();
    let out = scratch.path().join("callgrind.out");
    let file = format!("--callgrind-out-file={}", out.display());
    let gate = Gate::start(pve, &["valgrind", "--quiet", "--tool=callgrind", &file]).await;
    let mut connection = gate.target.connect().await;
    for _ in 0..requests {
        connection.get().await;
    }
    drop(connection);
    load::handshakes(&gate.target.at("/_gate/healthz"), handshakes).await;
    gate.running.stop();
    let text = fs::read_to_string(&out).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    line.unwrap().trim().parse().unwrap()
}
