//! A gate in a process of its own, somebody who is signed in at it, and the stand-in behind it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use pvegate::{
    account::{InvitationPurpose, Role},
    demo::Settings,
    gate::{
        PublicUrl,
        ceremony::{
            invite::{LIFETIME, Token},
            totp::step_at,
        },
    },
    names,
    store::{Added, SqliteStore, Store as _},
    time::{Clock as _, SystemClock},
};

use tokio::time::sleep;

use crate::{
    harness::{Client, HOST, Person, Pve, Scratch},
    load::Target,
    process::Running,
};

/// Answers with the request's head, somewhat less than a kibibyte. As pveproxy does with small answers, and
/// unlike `/standin/stream`, it sends head and body at once.
pub(crate) const SMALL: &str = "/standin/echo-head";

/// What is measured unless the environment names another, such as one of the `dist` profile.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("PVEGATE").map_or_else(|| env!("CARGO_BIN_EXE_pvegate").into(), PathBuf::from)
}

/// A stand-in that answers any number of requests on a connection, and keeps no record of them.
pub(crate) async fn stand_in() -> Pve {
    let endless = Settings {
        requests_per_connection: usize::MAX,
        requests_per_worker: usize::MAX,
        remember: 0,
        idle: Duration::from_secs(3600),
        ..Settings::quick()
    };
    Pve::with(endless).await
}

/// A gate that runs, and a session at it.
pub(crate) struct Gate {
    pub(crate) running: Running,
    /// A small GET through the gate, with a session.
    pub(crate) target: Target,
    pub(crate) scratch: Scratch,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Gate {
    /// Starts it under `prefix` (`valgrind …`, `taskset …`; empty for nothing) and signs somebody in.
    pub(crate) async fn start(pve: &Pve, prefix: &[&str]) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path().display();
        let address = free_port();
        let text = format!(
            "[server]
listen = [\"{address}\"]
public_url = \"https://{HOST}:{port}\"
max_connections = 100000
[limits]
connections_per_source = 100000
requests = 1000000
request_burst = 1000000
keep_alive = \"10m\"
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[storage]
path = \"{dir}/pvegate.db\"
master_key_file = \"{dir}/master.key\"
[audit]
file = \"{dir}/audit.jsonl\"
journal = false
[metrics]
listen = \"\"
",
            port = address.port(),
            upstream = pve.addr(),
            pin = pve.pin,
        );
        let config = scratch.path().join("pvegate.toml");
        fs::write(&config, text).unwrap();
        let mut words = prefix.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
        words.extend([program().into(), "serve".into(), "--config".into(), config.into()]);
        let mut command = Command::new(words.remove(0));
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let running = Running::start(&mut command, address).await;

        let url = format!("https://{HOST}:{}", address.port());
        // It listens before it is ready, and makes its authority in between.
        let ca = scratch.path().join("local-ca/ca.pem");
        while !ca.exists() {
            sleep(Duration::from_millis(50)).await;
        }
        let ca_pem = fs::read_to_string(ca).unwrap();
        let client = Client::of_process(address, &url, &ca_pem);
        let link = invitation(&scratch, &url);
        let (mut person, state) = match Person::open(client, "alice", &link).await {
            Ok(opened) => opened,
            Err(page) => panic!("{}", page.text()),
        };
        let code = person.phone.code(step_at(SystemClock.now()));
        let reply = person.finish(&state, &code).await;
        assert_eq!(reply.status, 303, "{}", reply.text());
        let session = person.session_cookie().unwrap().to_owned();
        // Proxmox VE's own cookie goes along with every request of a browser.
        let ticket = "x".repeat(380);
        let cookie = format!("PVEAuthCookie={ticket}; {}={session}", names::SESSION_COOKIE);
        let authority = format!("{HOST}:{}", address.port());
        let target = Target::new(address, &authority, SMALL).await.with(&format!("cookie: {cookie}\r\n"));
        Self { running, target, scratch }
    }

    /// Connections that it has with clients, by the system's table.
    pub(crate) fn connections(&self) -> usize {
        let port = format!(":{:04X}", self.target.address().port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let established = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
        };
        table.lines().filter(established).count()
    }
}

fn invitation(scratch: &Scratch, url: &str) -> String {
    let mut store = SqliteStore::open(&scratch.path().join("pvegate.db")).unwrap();
    let now = SystemClock.now();
    let user = match store.add_user(&"alice".parse().unwrap(), Role::Admin, now).unwrap() {
        Added::New(user) => user,
        Added::Exists => panic!("a fresh store has nobody"),
    };
    let token = Token::random();
    store.invite(&token.invitation(user.id, InvitationPurpose::Enrol, now, LIFETIME)).unwrap();
    token.link(&PublicUrl::parse(url).unwrap())
}
