//! Floods, against the program itself: shed within ten seconds, in bounded memory, while somebody who is
//! signed in is served.
//!
//! `bash tests/long` opens ten thousand connections of each kind; without it the same code opens fewer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::harness::{Client, Console, Person, Process, Pve, Scratch, long, pvegate, until};

/// Places of the gate: more than a flood takes, so that what ends does so by its limit and not to make room.
const PLACES: usize = 11_000;

/// Connections that are being opened at a time.
const OPENING: usize = 64;

/// How much later than its limit a connection may end.
const GRACE: Duration = Duration::from_secs(1);

/// Memory that somebody who is served meanwhile may take, in KiB.
const SERVING: u64 = 2 * 1024;

/// What ten thousand idle connections, or as many half handshakes, may take in all, in KiB.
const IN_ALL: u64 = 150 * 1024;

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
max_connections = {PLACES}
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
}

/// A connection of the stranger of this number: a hundred share an address.
async fn stranger(gate: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source(number), 0).into()).unwrap();
    socket.connect(gate).await.unwrap()
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
    /// Connections, and the limit of each. The heads of ten thousand have more than the ten seconds of the
    /// default, because so many TLS handshakes take longer than that, and all are to be open at once.
    fn size(self) -> (usize, Duration) {
        match (long(), self) {
            (false, _) => (150, Duration::from_secs(5)),
            (true, Self::Idle | Self::HalfTls) => (10_000, Duration::from_secs(10)),
            (true, Self::SlowHead) => (10_000, Duration::from_secs(90)),
        }
    }

    /// Memory that one connection may take, in KiB.
    fn each(self) -> u64 {
        match self {
            Self::Idle => 12,
            Self::HalfTls => 18,
            Self::SlowHead => 28,
        }
    }

    /// Opens one connection as far as it goes and waits for its end; says how long the gate bore it.
    async fn suffer(self, gate: SocketAddr, client: Client, number: usize, open: &Open) -> Duration {
        let turn = open.turns.acquire().await.unwrap();
        let began = Instant::now();
        match self {
            Self::Idle => {
                let stream = stranger(gate, number).await;
                drop(turn);
                open.until_ended(stream, began).await
            }
            Self::HalfTls => {
                let mut stream = stranger(gate, number).await;
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
                drop(turn);
                open.until_ended(stream, began).await
            }
            Self::SlowHead => {
                let mut stream = client.from(&source(number).to_string()).tls_stream().await;
                // The handshake has a limit of its own.
                let began = Instant::now();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: gate.test\r\nx: ").await.unwrap();
                drop(turn);
                open.until_ended(stream, began).await
            }
        }
    }
}

/// The connections of a flood that are open.
struct Open {
    turns: Semaphore,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Open {
    async fn until_ended(&self, mut stream: impl AsyncRead + Unpin, began: Instant) -> Duration {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        self.now.fetch_sub(1, Ordering::SeqCst);
        began.elapsed()
    }
}

/// A page on a new connection, then something typed into a console; says how long that took.
async fn serve_once(client: &mut Client, console: &mut Console) -> Duration {
    let start = Instant::now();
    assert_eq!(client.get("/").await.status, 200);
    assert!(console.echo(b"x").await.is_some());
    start.elapsed()
}

/// The time within which ninety-nine of a hundred were served.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap()
}

/// A flood, and somebody who is served from before its first connection until after the end of its last.
async fn flood(kind: Flood) {
    let (size, limit) = kind.size();
    let pve = Pve::start().await;
    let handshake = if matches!(kind, Flood::SlowHead) { Duration::from_secs(60) } else { limit };
    let more = format!("handshake = \"{}s\"\nhead = \"{}s\"", handshake.as_secs(), limit.as_secs());
    let mut gate = Gate::start(&pve, 20_000, &more).await;
    let mut console = gate.alice.console().await;
    let stranger = gate.alice.client.clone().without_cookies();
    let mut quiet = Vec::new();
    for _ in 0..20 {
        quiet.push(serve_once(&mut gate.alice.client, &mut console).await);
    }
    gate.process.forget_peak();
    let (before, descriptors) = (gate.process.peak_memory(), gate.process.descriptors());

    let is_over = Arc::new(AtomicBool::new(false));
    let mut client = gate.alice.client.clone();
    let serving = tokio::spawn({
        let is_over = is_over.clone();
        async move {
            let mut times = vec![serve_once(&mut client, &mut console).await];
            while !is_over.load(Ordering::SeqCst) {
                times.push(serve_once(&mut client, &mut console).await);
                // A person and not a flood.
                sleep(Duration::from_millis(50)).await;
            }
            times.push(serve_once(&mut client, &mut console).await);
            times
        }
    });
    let open = Arc::new(Open {
        turns: Semaphore::new(OPENING),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for number in 0..size {
        let (open, client, address) = (open.clone(), stranger.clone(), gate.address);
        waiting.spawn(async move { kind.suffer(address, client, number, &open).await });
    }
    // As the gate sees it, too.
    let mut held = 0;
    let mut longest = Duration::ZERO;
    timeout(limit + Duration::from_secs(120), async {
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                ended = waiting.join_next() => match ended {
                    Some(took) => longest = longest.max(took.unwrap()),
                    None => break,
                },
                _ = look.tick() => held = held.max(gate.process.descriptors() - descriptors),
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{kind:?}: a connection was never closed"));
    let took = began.elapsed();
    is_over.store(true, Ordering::SeqCst);
    let mut times = serving.await.unwrap();
    let peak = gate.process.peak_memory();

    let most = open.most.load(Ordering::SeqCst);
    let (typical, slow) = (p99(&mut quiet), p99(&mut times));
    let each = peak.saturating_sub(before) * 10 / size as u64;
    let told = format!(
        "{size} of {kind:?}, limit {limit:?}: {most} open at once, {held} descriptors more in the gate; the last \
         ended after {longest:.1?}, all within {took:.1?}; resident {before} KiB before, {peak} KiB at most, \
         {}.{} KiB each; somebody was served {} times, 99 % within {slow:.1?} (before: {typical:.1?})",
        each / 10,
        each % 10,
        times.len(),
    );
    eprintln!("{told}");
    assert_eq!(most, size, "open at once: {told}");
    assert!(held >= size, "descriptors: {told}");
    assert!(longest >= limit - GRACE && longest <= limit + GRACE, "ends: {told}");
    assert!(times.iter().all(|time| *time < limit), "nobody has to wait for the end of a flood: {told}");
    assert!(peak.saturating_sub(before) <= kind.each() * size as u64 + SERVING, "memory: {told}");
    assert!(matches!(kind, Flood::SlowHead) || peak <= IN_ALL, "memory in all: {told}");
    until("no descriptor is left", async || gate.process.descriptors() <= descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_idle_connections_is_shed_while_somebody_is_served() {
    flood(Flood::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_half_handshakes_is_shed_while_somebody_is_served() {
    flood(Flood::HalfTls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_slow_heads_is_shed_while_somebody_is_served() {
    flood(Flood::SlowHead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_the_gate_waits_and_comes_back() {
    let pve = Pve::start().await;
    let mut gate = Gate::start(&pve, 64, "handshake = \"30s\"").await;

    // More than the system has room for; all of them stay.
    let mut strangers = Vec::new();
    for number in 0..200 {
        strangers.push(stranger(gate.address, number).await);
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

/// Tells the test below that it is the process of its own in which to measure.
const ALONE: &str = "PVEGATE_TEST_ALONE";

#[test]
#[expect(clippy::print_stdout, reason = "it tells the process that started it")]
fn a_million_sources_take_up_a_few_megabytes() {
    if std::env::var_os(ALONE).is_some() {
        return println!("grown by {} KiB", growth_by_a_million_sources());
    }
    // Memory is that of a process, and other tests run in this one.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "floods::a_million_sources_take_up_a_few_megabytes"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let grown: u64 = told.split_once("grown by ").unwrap().1.split(' ').next().unwrap().parse().unwrap();

    assert!(grown < 40 * 1024, "{told}");
}

/// How much more memory a rate takes for a million sources, in KiB.
fn growth_by_a_million_sources() -> u64 {
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
    let after = resident();
    assert!(rate.remembered() > 0, "it is still there");
    after - before
}
