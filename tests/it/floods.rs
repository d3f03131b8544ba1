//! Floods, against the program itself: shed within ten seconds, in bounded memory, while somebody who is
//! signed in is served.
//!
//! The short mode runs with all tests. The long one, ten thousand of each kind:
//! `cargo test --release --test it floods -- --ignored --test-threads=1`
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use pvegate::{
    account::TimeStep,
    admission::{
        SourcePrefix,
        rate::{A_MINUTE, SignInRate, Standing},
    },
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use crate::harness::{Client, Person, Process, Pve, Scratch, pvegate, until};

/// Connections at once: half the places of a gate, so that nobody has to make room for another.
const SHORT: usize = 150;
const LONG: usize = 10_000;

/// A gate in a process of its own, with somebody signed in.
struct Gate {
    process: Process,
    address: SocketAddr,
    audit: PathBuf,
    alice: Person,
    _scratch: Scratch,
}

impl Gate {
    async fn start(pve: &Pve, descriptors: usize, more: &str) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (upstream, pin) = (pve.addr(), pve.pin);
        let text = format!(
            "[server]
listen = [\"127.0.0.1:{port}\"]
public_url = \"https://gate.test:{port}\"
max_connections = {LONG}
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[access]
allow = [\"127.0.0.0/8\"]
[storage]
path = \"{dir}/state/pvegate.db\"
master_key_file = \"{dir}/state/master.key\"
[audit]
file = \"{dir}/audit.jsonl\"
journal = false
[limits]
{more}
"
        );
        let config = format!("{dir}/pvegate.toml");
        fs::write(&config, text).unwrap();
        let process = Process::start_with_descriptors(descriptors, &["--config", &config, "serve"]);
        process.logs("ready");
        let ca = fs::read_to_string(scratch.path().join("state/local-ca/ca.pem")).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        pvegate(&["--config", &config, "user", "add", "alice", "--admin", "--no-invite"]).await.ok();
        let told = pvegate(&["--config", &config, "--json", "invite", "alice"]).await.json();
        let link = told.first().unwrap().get("enrol_url").unwrap().as_str().unwrap().to_owned();
        let client = Client::of_process(address, &format!("https://gate.test:{port}"), &ca);
        let (mut alice, state) = Person::open(client, "alice", &link).await.unwrap();
        let code = alice.phone.code(TimeStep(step_at(SystemClock.now()).0));
        assert_eq!(alice.finish(&state, &code).await.status, 303);
        assert_eq!(alice.client.get("/").await.status, 200);
        let audit = scratch.path().join("audit.jsonl");
        Self { process, address, audit, alice, _scratch: scratch }
    }

    /// A connection of the stranger of this number: a hundred share an address.
    async fn stranger(&self, number: usize) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source(number), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

fn source(number: usize) -> IpAddr {
    let number = u32::try_from(number / 100).unwrap();
    Ipv4Addr::from_bits(0x7f05_0001 + number).into()
}

#[derive(Debug, Clone, Copy)]
enum Flood {
    Idle,
    HalfTls,
    SlowHead,
}

impl Flood {
    /// One connection of it, as far as it goes.
    async fn open(self, gate: &Gate, number: usize) -> Box<dyn Stuck> {
        match self {
            Self::Idle => Box::new(gate.stranger(number).await),
            Self::HalfTls => {
                let mut stream = gate.stranger(number).await;
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
                Box::new(stream)
            }
            Self::SlowHead => {
                let client = gate.alice.client.clone().without_cookies().from(&source(number).to_string());
                let mut stream = client.tls_stream().await;
                stream.write_all(b"GET / HTTP/1.1\r\nhost: gate.test\r\nx: ").await.unwrap();
                Box::new(stream)
            }
        }
    }
}

/// A connection that waits for its end.
trait Stuck: Send {
    fn ended(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl Stuck for TcpStream {
    fn ended(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { while self.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} })
    }
}

impl Stuck for TlsStream<TcpStream> {
    fn ended(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { while self.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} })
    }
}

/// What a flood of this size did.
async fn flood(kind: Flood, size: usize, limit: Duration, grace: Duration) -> String {
    let pve = Pve::start().await;
    let more = format!("handshake = \"{}ms\"\nhead = \"{}ms\"", limit.as_millis(), limit.as_millis());
    let mut gate = Gate::start(&pve, 20_000, &more).await;
    let before = gate.process.resident_kib();
    let mut console = gate.alice.console().await;

    let opened = Instant::now();
    let mut stuck = Vec::new();
    for number in 0..size {
        stuck.push((Instant::now(), kind.open(&gate, number).await));
    }
    let opening = opened.elapsed();
    let peak = gate.process.resident_kib();
    let mut waiting = JoinSet::new();
    for (since, mut stream) in stuck {
        waiting.spawn(async move {
            stream.ended().await;
            since.elapsed()
        });
    }
    // All the while somebody who is signed in is served: a page on a new connection, a console.
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let mut longest = Duration::ZERO;
    let all = async {
        while let Some(took) = waiting.join_next().await {
            longest = longest.max(took.unwrap());
        }
    };
    let serving = async {
        loop {
            let start = Instant::now();
            assert_eq!(gate.alice.client.get("/").await.status, 200);
            assert!(console.echo(b"x").await.is_some());
            slowest = slowest.max(start.elapsed());
            served += 1;
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(limit + opening + grace + Duration::from_secs(30), async {
        tokio::select! { () = all => {}, () = serving => {} }
    })
    .await
    .unwrap_or_else(|_| panic!("a connection of the flood was never closed"));

    // Of each connection: from its beginning to its end. The TLS handshake of a slow head has its own time.
    assert!(longest <= limit + grace, "{kind:?}: the last of them ended after {longest:?}");
    assert!(served > 0);
    let mut told = String::new();
    write!(
        told,
        "{size} of {kind:?}: opened in {opening:?}, each ended within {longest:?}; memory {before} KiB, \
         at most {peak} KiB; served {served} times meanwhile, within {slowest:?}"
    )
    .unwrap();
    assert!(peak < 150 * 1024, "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_flood_of_each_kind_is_shed_while_somebody_is_served() {
    for kind in [Flood::Idle, Flood::HalfTls, Flood::SlowHead] {
        flood(kind, SHORT, Duration::from_secs(2), Duration::from_secs(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long mode, see the top of this file"]
#[expect(clippy::print_stdout, reason = "whoever runs it by hand wants the figures")]
async fn ten_thousand_of_each_kind_are_shed_while_somebody_is_served() {
    for kind in [Flood::Idle, Flood::HalfTls, Flood::SlowHead] {
        println!("{}", flood(kind, LONG, Duration::from_secs(10), Duration::from_secs(3)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_the_gate_waits_and_comes_back() {
    let pve = Pve::start().await;
    let mut gate = Gate::start(&pve, 64, "handshake = \"30s\"").await;

    // More than the system has room for; all of them stay.
    let mut strangers = Vec::new();
    for number in 0..200 {
        strangers.push(gate.stranger(number).await);
    }
    gate.process.logs("the system accepts no connection");
    // Strangers have to go, so that somebody signed in comes in while they are still there.
    let reply = timeout(Duration::from_secs(15), gate.alice.client.get("/")).await;
    assert_eq!(reply.unwrap().status, 200);

    drop(strangers);
    until("the gate has come back", async || {
        let reply = timeout(Duration::from_secs(2), gate.alice.client.get("/")).await;
        reply.is_ok_and(|reply| reply.status == 200)
    })
    .await;
    assert!(fs::read_to_string(&gate.audit).unwrap().contains("\"shed\""));
}

/// How much more memory a rate takes for a million sources, in KiB. In a process of its own: see below.
#[test]
#[ignore = "run by the test below, in a process of its own"]
#[expect(clippy::print_stdout, reason = "it tells the process that started it")]
fn in_a_process_of_its_own_a_million_sources_are_counted() {
    let resident = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let before = resident();
    let rate = SignInRate::new(A_MINUTE, Arc::new(SystemClock));
    for i in 0_u32..1_000_000 {
        let ip: IpAddr = if i % 2 == 0 {
            Ipv4Addr::from_bits(0x0a00_0000 | i).into()
        } else {
            std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(i) << 80).into()
        };
        rate.attempt(SourcePrefix::of(ip), Standing::Stranger).unwrap();
    }
    println!("grown by {} KiB, {} remembered", resident() - before, rate.remembered());
}

#[test]
fn a_million_sources_take_up_a_few_megabytes() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("floods::in_a_process_of_its_own_a_million_sources_are_counted")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let grown: u64 = told.split_once("grown by ").unwrap().1.split(' ').next().unwrap().parse().unwrap();

    assert!(grown < 40 * 1024, "{told}");
}
