//! Beside nginx and haproxy of the system's packages, in the same run, on the same processor.
//!
//! Every peer has TLS on both sides, TLS 1.3, a P-256 certificate, one worker on processor 0, connections to
//! the upstream that are kept, no access log. The gate has its gate shut: every request carries a session,
//! which is checked; the others let everybody through. Peers take turns within a round, so that what else
//! runs on the machine meets all. The figure is processor time of the proxy alone, for each unit of work, and
//! of the rounds the least: noise only adds.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    gate::{self, Gate},
    harness::{HOST, Scratch},
    load::{self, Target},
    process::Running,
};

/// What is done, how often, and what the gate may cost of each peer's processor time: nginx, haproxy.
struct Row {
    what: &'static str,
    times: usize,
    work: Work,
    goals: [Option<f64>; 2],
}

#[derive(Clone, Copy)]
enum Work {
    /// GETs of what is small, on so many connections.
    Small { connections: usize },
    /// GETs of so many bytes on so many connections.
    Get { connections: usize, bytes: usize },
    /// Connections with an answer of the proxy's own.
    Handshake,
    /// Messages of so many bytes in eight tunnels.
    Echo { bytes: usize },
}

const ROWS: [Row; 7] = [
    Row {
        what: "small GET, 32 connections",
        times: 6400,
        work: Work::Small { connections: 32 },
        goals: [Some(1.0), None],
    },
    Row {
        what: "small GET, one connection",
        times: 2000,
        work: Work::Small { connections: 1 },
        goals: [None, None],
    },
    Row {
        what: "GET of 100 KiB, 16 connections",
        times: 960,
        work: Work::Get { connections: 16, bytes: 100 * 1024 },
        goals: [Some(0.9), Some(0.9)],
    },
    Row { what: "full handshake", times: 400, work: Work::Handshake, goals: [Some(0.5), None] },
    Row {
        what: "download, each GiB",
        times: 1,
        work: Work::Get { connections: 1, bytes: 256 << 20 },
        goals: [None, Some(0.95)],
    },
    Row {
        what: "tunnel, 64 bytes there and back",
        times: 8000,
        work: Work::Echo { bytes: 64 },
        goals: [Some(0.85), None],
    },
    Row {
        what: "tunnel, 16 KB there and back",
        times: 2400,
        work: Work::Echo { bytes: 16_000 },
        goals: [None, Some(1.0)],
    },
];

/// A proxy that is measured.
struct Peer {
    name: &'static str,
    running: Running,
    target: Target,
    /// A path that it answers by itself.
    own: &'static str,
    /// What its tunnels are said to be.
    tunnel: &'static str,
}

const TUNNELS: usize = 8;

pub(crate) async fn run(rounds: usize) {
    let pin = format!("taskset -acp 1 {}", std::process::id());
    assert!(Command::new("sh").args(["-c", &pin]).stdout(Stdio::null()).status().unwrap().success());
    let pve = gate::stand_in().await;
    let scratch = Scratch::new();
    certificate(&scratch);
    let gate = Gate::start(&pve, &PINNED).await;
    let (nginx, haproxy) = (nginx(&scratch, pve.addr()).await, haproxy(&scratch, pve.addr()).await);
    let Gate { running, target, scratch: _gates } = gate;
    let peers = [
        Peer { name: "pvegate", running, target, own: "/_gate/healthz", tunnel: "websocket" },
        nginx,
        haproxy,
    ];

    let mut least = [[f64::INFINITY; 3]; ROWS.len()];
    for round in 1..=rounds {
        println!("round {round} of {rounds}, load {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
        for (row, least) in ROWS.iter().zip(&mut least) {
            for (peer, least) in peers.iter().zip(least) {
                let cost = row.measure(peer).await;
                *least = least.min(cost);
            }
        }
    }
    println!("\nmicroseconds of processor time (download: seconds); gate on, peers without one");
    println!(
        "{:<34} {:>9} {:>9} {:>9}   {:<20} {:<20}",
        "", "pvegate", "nginx", "haproxy", "of nginx's (goal)", "of haproxy's (goal)"
    );
    for (row, [ours, nginx, haproxy]) in ROWS.iter().zip(least) {
        let ratio = |peer: f64, goal: Option<f64>| match goal {
            Some(goal) => format!("{:.2} ({goal:.2})", ours / peer),
            None => format!("{:.2}", ours / peer),
        };
        let [to_nginx, to_haproxy] = [ratio(nginx, row.goals[0]), ratio(haproxy, row.goals[1])];
        println!(
            "{:<34} {ours:>9.2} {nginx:>9.2} {haproxy:>9.2}   {to_nginx:<20} {to_haproxy:<20}",
            row.what
        );
    }
}

impl Row {
    /// What a unit costs.
    async fn measure(&self, peer: &Peer) -> f64 {
        let spent = match self.work {
            Work::Small { connections } => {
                let target = peer.target.at(gate::SMALL);
                let mut open = Vec::new();
                for _ in 0..connections {
                    let mut connection = target.connect().await;
                    connection.get().await;
                    open.push(connection);
                }
                peer.spends(load::on_each(open, self.times / connections)).await
            }
            Work::Get { connections, bytes } => {
                let target = peer.target.at(&format!("/standin/stream/length?bytes={bytes}"));
                let mut open = Vec::new();
                for _ in 0..connections {
                    let mut connection = target.connect().await;
                    if bytes < 1 << 20 {
                        assert_eq!(connection.get().await, bytes, "{}", peer.name);
                    }
                    open.push(connection);
                }
                peer.spends(load::on_each(open, self.times / connections)).await
            }
            Work::Handshake => peer.spends(load::handshakes(&peer.target.at(peer.own), self.times)).await,
            Work::Echo { bytes } => {
                let mut tunnels = Vec::new();
                for _ in 0..TUNNELS {
                    tunnels.push(peer.target.connect().await.upgrade(&peer.target, peer.tunnel).await);
                }
                peer.spends(load::echoes(tunnels, self.times / TUNNELS, bytes)).await
            }
        };
        match self.work {
            // Seconds for each GiB.
            Work::Get { bytes, .. } if bytes >= 1 << 20 => {
                spent.as_secs_f64() / (bytes * self.times) as f64 * f64::from(1 << 30)
            }
            _ => spent.as_secs_f64() * 1e6 / self.times as f64,
        }
    }
}

impl Peer {
    async fn spends(&self, work: impl Future<Output = ()>) -> Duration {
        let before = self.running.processor_time();
        work.await;
        self.running.processor_time() - before
    }
}

const PINNED: [&str; 3] = ["taskset", "-c", "0"];

/// A certificate for the peers: P-256, as the gate's.
fn certificate(scratch: &Scratch) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "30", "-subj"])
        .arg(format!("/CN={HOST}"))
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(scratch.path())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed").success());
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap();
    fs::write(scratch.path().join("both.pem"), read("cert.pem") + &read("key.pem")).unwrap();
}

async fn peer(
    name: &'static str,
    scratch: &Scratch,
    address: SocketAddr,
    configuration: String,
    words: &[&str],
) -> Peer {
    let file = scratch.path().join(format!("{name}.conf"));
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new(PINNED[0]);
    command.args(&PINNED[1..]).args(words).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(&mut command, address).await;
    let authority = format!("{HOST}:{}", address.port());
    let cookie = format!("cookie: PVEAuthCookie={}\r\n", "x".repeat(500));
    let target = Target::new(address, &authority, "/").await.with(&cookie);
    // haproxy wants a WebSocket's whole handshake, which the echo behind it has not. What a tunnel is called
    // makes no difference to the peers; the gate looks into WebSockets for their heartbeats.
    Peer { name, running, target, own: "/own", tunnel: "echo" }
}

async fn nginx(scratch: &Scratch, upstream: SocketAddr) -> Peer {
    let (dir, address) = (scratch.path().display(), gate::free_port());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    let text = format!(
        "user root;
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  {temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  proxy_max_temp_file_size 0;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream pve {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {address} ssl;
    ssl_certificate {dir}/cert.pem;
    ssl_certificate_key {dir}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location = /own {{ return 204; }}
    location / {{
      proxy_pass https://pve;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_read_timeout 600s;
    }}
  }}
}}
"
    );
    peer("nginx", scratch, address, text, &["nginx", "-c"]).await
}

async fn haproxy(scratch: &Scratch, upstream: SocketAddr) -> Peer {
    let (dir, address) = (scratch.path().display(), gate::free_port());
    let text = format!(
        "global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
frontend front
  bind {address} ssl crt {dir}/both.pem alpn http/1.1
  http-request return status 204 if {{ path /own }}
  default_backend pve
backend pve
  option forwardfor
  http-reuse always
  server pve {upstream} ssl verify none
"
    );
    peer("haproxy", scratch, address, text, &["haproxy", "-db", "-f"]).await
}
