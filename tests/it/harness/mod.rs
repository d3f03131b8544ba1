//! A whole gate in this process, in front of the stand-in for pveproxy, with a clock that tests move.
//!
//! [`Pve`] is the far side: what did it see? [`TestGate`] is the gate; [`Client`] speaks HTTP to it as a
//! program would, [`Person`] has a phone and enrols, signs in and out. Also used by `tests/browser`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "no single test binary uses all of it")]

mod client;
mod installation;
mod person;
mod place;
mod process;
mod scratch;
pub mod watcher;
mod wire;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use client::{Client, Console, Reply};
pub use installation::{Installation, code_now};
pub use person::{Person, console_target, printed_codes, scan, state_of};
pub use place::{NO_PIN, Place};
pub use process::{Ended, Process, program, pvegate, pvegate_in, pvegate_told, pvegate_with};
pub use scratch::Scratch;
pub use wire::{Answer, Wire};

use pvegate::{
    accept::{Listener, Opening},
    account::{InvitationPurpose, Role, User},
    admin::serve::{Died, Server, StartError},
    audit::Line,
    config::{self, Config},
    demo::{Seen, Settings, StandIn},
    gate::{
        api_token::SecretHash,
        ceremony::invite::{LIFETIME, Token},
    },
    secret::{MasterKey, Purpose},
    serve::Stages,
    store::{Added, SqliteStore, Store},
    time::{Clock, ManualClock, Timestamp},
    tls::{Fingerprint, Host, Identity, LocalCa},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinHandle,
};

/// When tests begin: a moment in the middle of a TOTP time step, and in the past, so that no
/// certificate or record made at the machine's own time passes by accident.
pub const START: Timestamp = Timestamp::from_secs(1_790_000_010);

/// The name that clients use for the gate. `.test` is reserved (RFC 6761 §6.2).
pub const HOST: &str = "gate.test";

/// The far side: the stand-in for pveproxy, and its certificate.
pub struct Pve {
    stand_in: StandIn,
    identity: Identity,
    settings: Settings,
    pub pin: Fingerprint,
    pub ca_pem: PathBuf,
    scratch: Scratch,
}

/// A far side that is down. Its port stays its own and refuses connections.
pub struct Fallen {
    pub addr: SocketAddr,
    held: TcpSocket,
    /// What it saw before.
    pub was: Pve,
}

impl std::ops::Deref for Pve {
    type Target = StandIn;

    fn deref(&self) -> &StandIn {
        &self.stand_in
    }
}

impl Pve {
    /// Starts one whose refusals come at once.
    pub async fn start() -> Self {
        Self::with(Settings::quick()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap(), settings)
    }

    /// On this socket, which may be in another network.
    pub async fn on(listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        Self::listening(TcpListener::from_std(listener).unwrap(), Settings::quick())
    }

    fn listening(listener: TcpListener, settings: Settings) -> Self {
        let scratch = Scratch::new();
        let host = listener.local_addr().unwrap().ip().to_string();
        let (identity, pin) = identity(&scratch.path().join("ca"), &host);
        let ca_pem = scratch.path().join("ca/ca.pem");
        let stand_in = StandIn::start(listener, &identity, settings.clone()).unwrap();
        Self { stand_in, identity, settings, pin, ca_pem, scratch }
    }

    /// Ends its connections and listens no more.
    pub async fn fall(mut self) -> Fallen {
        self.stand_in.stop().await;
        let addr = self.stand_in.addr();
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind(addr).unwrap();
        Fallen { addr, held, was: self }
    }

    /// Waits until `condition` holds for what was seen so far.
    ///
    /// # Panics
    ///
    /// After twenty seconds.
    pub async fn wait_until(&self, condition: impl FnMut(&Seen) -> bool + Send) {
        let held = tokio::time::timeout(Duration::from_secs(20), self.stand_in.wait_until(condition)).await;
        assert!(held.is_ok(), "waited in vain for the far side");
    }
}

impl Fallen {
    /// The same again: address and certificate. What it sees is counted from zero.
    pub fn rise(self) -> Pve {
        let Self { held, was, .. } = self;
        let listener = held.listen(1024).unwrap();
        let stand_in = StandIn::start(listener, &was.identity, was.settings.clone()).unwrap();
        Pve { stand_in, ..was }
    }
}

/// A leaf of a fresh authority in `dir`, and its fingerprint.
pub fn identity(dir: &Path, host: &str) -> (Identity, Fingerprint) {
    let host: Host = host.parse().unwrap();
    let (ca, _) = LocalCa::open_or_make(dir, &host, START).unwrap();
    let issued = ca.issue(START).unwrap();
    let pin = Fingerprint::of(issued.identity.chain.first().unwrap());
    (issued.identity, pin)
}

/// A gate that runs in this process.
pub struct TestGate {
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    /// When it began: its clients judge certificates as of then.
    pub began: Timestamp,
    pub config: Config,
    pub stages: Arc<Stages>,
    /// PEM of the authority that browsers have to trust.
    pub ca_pem: String,
    /// Where it is watched.
    pub watched: SocketAddr,
    more: Vec<(String, String)>,
    scratch: Arc<Scratch>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), Died>>,
}

/// How a gate is made.
pub struct Recipe {
    upstream: String,
    trust: String,
    others: Vec<(String, String)>,
    host: String,
    clock: Arc<ManualClock>,
    more: Vec<(String, String)>,
    /// Tables at the end of the file.
    tables: String,
    opening: Opening,
    journal: Option<PathBuf>,
    scratch: Arc<Scratch>,
}

impl Recipe {
    /// With a socket that takes audit events as the journal's would.
    pub fn journal(mut self, socket: PathBuf) -> Self {
        self.journal = Some(socket);
        self
    }

    /// With tables at the end of the file.
    pub fn tables(mut self, text: &str) -> Self {
        self.tables += text;
        self
    }

    /// With a rule for an API token: `rest` are its lines besides the token and the hash of its secret.
    pub fn rule(mut self, token: &str, secret: &str, rest: &str) -> Self {
        let master = MasterKey::read_or_create(&self.scratch.path().join("master.key")).unwrap();
        let hash = SecretHash::of(token, secret, &master.derive(Purpose::ApiTokens));
        self.tables += &format!("[[api.rule]]\ntoken = \"{token}\"\nsecret_hash = \"{hash}\"\n{rest}\n");
        self
    }

    /// Its connections begin with the PROXY protocol.
    pub fn introduced_by_peers(mut self) -> Self {
        self.opening = Opening::ProxyProtocol;
        self
    }

    /// With a key of the configuration set, as the environment would: `("session.idle", "10m")`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("PVEGATE_{}", key.to_uppercase().replace('.', "__"));
        self.more.push((name, value.to_owned()));
        self
    }

    /// With a clock that begins at this moment: browsers judge certificates by the machine's own.
    pub fn at(mut self, start: Timestamp) -> Self {
        self.clock = Arc::new(ManualClock::at(start));
        self
    }

    /// Under another name than [`HOST`]: programs that take no address for a name know `localhost`.
    pub fn called(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// With a wrong pin, an authority's file, … in place of the right pin.
    pub fn trusting(mut self, line: &str) -> Self {
        self.trust = line.to_owned();
        self
    }

    /// With one more node of the cluster.
    pub fn beside(self, pve: &Pve) -> Self {
        self.beside_at(pve.addr(), &format!("fingerprint = \"{}\"", pve.pin))
    }

    /// The same with a pin or authority of one's own choice.
    pub fn beside_at(mut self, address: SocketAddr, trust: &str) -> Self {
        self.others.push((format!("https://{address}"), trust.to_owned()));
        self
    }

    pub async fn start(self) -> TestGate {
        self.try_start().await.unwrap()
    }

    pub async fn try_start(self) -> Result<TestGate, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = self.config(address);
        if let Some(socket) = &self.journal {
            config.audit.line = Line::Journal(socket.clone());
        }
        let clock: Arc<dyn Clock> = self.clock.clone();
        let listener = Listener { socket: listener, opening: self.opening };
        let watchers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let watched = watchers.local_addr().unwrap();
        let server = Server::compose(&config, vec![listener], clock).await?.watched_at(watchers);
        let ca_pem = server.ca().map(|ca| std::fs::read_to_string(ca).unwrap()).unwrap_or_default();
        let stages = server.stages().clone();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(server.run(stopped, Duration::from_secs(1)));
        Ok(TestGate {
            address,
            began: self.clock.now(),
            clock: self.clock,
            config,
            stages,
            ca_pem,
            watched,
            more: self.more,
            scratch: self.scratch,
            stop,
            running,
        })
    }

    fn config(&self, address: SocketAddr) -> Config {
        let dir = self.scratch.path().display();
        let node = |header: &str, url: &str, trust: &str| format!("{header}\nurl = \"{url}\"\n{trust}\n");
        let upstream = if self.others.is_empty() {
            node("[upstream]", &self.upstream, &self.trust)
        } else {
            let others = self.others.iter().map(|(url, trust)| (url, trust));
            std::iter::once((&self.upstream, &self.trust))
                .chain(others)
                .map(|(url, trust)| node("[[upstream.node]]", url, trust))
                .collect()
        };
        let (listen, listener) = match self.opening {
            Opening::Tls => (format!("\"{address}\""), String::new()),
            Opening::ProxyProtocol => (
                String::new(),
                format!("[[server.listener]]\naddress = \"{address}\"\nproxy_protocol = true"),
            ),
        };
        let text = format!(
            "[server]
listen = [{listen}]
public_url = \"https://{host}:{port}\"
{listener}
{upstream}
[storage]
path = \"{dir}/pvegate.db\"
master_key_file = \"{dir}/master.key\"
[audit]
file = \"{dir}/audit.jsonl\"
journal = false
# The clock stands still, and so would every source that has sent its share.
[limits]
requests = 1000000
request_burst = 1000000
{tables}",
            host = self.host,
            tables = self.tables,
            port = address.port(),
        );
        let (config, _) = config::parse(&text, "test", self.more.clone()).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(self.scratch.path().join("pvegate.toml"), text).unwrap();
        config
    }
}

impl TestGate {
    /// A gate in front of `pve`, with everything at its default.
    pub async fn in_front_of(pve: &Pve) -> Self {
        Self::recipe(pve).start().await
    }

    pub fn recipe(pve: &Pve) -> Recipe {
        Self::before(pve.addr(), &pve.pin)
    }

    /// In front of an upstream that is no stand-in.
    pub fn before(upstream: SocketAddr, pin: &Fingerprint) -> Recipe {
        Recipe {
            upstream: format!("https://{upstream}"),
            trust: format!("fingerprint = \"{pin}\""),
            others: Vec::new(),
            host: HOST.to_owned(),
            clock: Arc::new(ManualClock::at(START)),
            more: Vec::new(),
            tables: String::new(),
            opening: Opening::Tls,
            journal: None,
            scratch: Arc::new(Scratch::new()),
        }
    }

    /// Another gate on the same store, keys, settings and clock, as after a restart or beside the first. Its
    /// address is its own.
    pub fn another(&self, pve: &Pve) -> Recipe {
        Recipe {
            clock: self.clock.clone(),
            scratch: self.scratch.clone(),
            more: self.more.clone(),
            ..Self::recipe(pve)
        }
    }

    /// `https://gate.test:PORT`
    pub fn url(&self) -> String {
        self.config.gate.public_url.origin()
    }

    /// `gate.test:PORT`
    pub fn authority(&self) -> String {
        self.config.gate.public_url.authority()
    }

    /// The directory of its store, keys and logs; `pvegate.toml` there is its configuration.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The store, opened as the command line opens it.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.config.store.path).unwrap()
    }

    /// A client without cookies.
    pub fn client(&self) -> Client {
        Client::new(self)
    }

    /// Adds somebody and invites them.
    pub fn invite(&self, name: &str) -> Token {
        self.invite_as(name, Role::Admin)
    }

    pub fn invite_as(&self, name: &str, role: Role) -> Token {
        let mut store = self.store();
        let name = name.parse().unwrap();
        let user = match store.add_user(&name, role, self.clock.now()).unwrap() {
            Added::New(user) => user,
            Added::Exists => store.user_by_name(&name).unwrap().unwrap(),
        };
        self.invite_user(&user)
    }

    fn invite_user(&self, user: &User) -> Token {
        let token = Token::random();
        let invitation = token.invitation(user.id, InvitationPurpose::Enrol, self.clock.now(), LIFETIME);
        self.store().invite(&invitation).unwrap();
        token
    }

    /// Somebody who has enrolled and is signed in.
    pub async fn person(&self, name: &str) -> Person {
        Person::enrol(self, name).await
    }

    /// What Prometheus reads.
    pub async fn metrics(&self) -> watcher::Told {
        watcher::ask(self.watched, "/metrics").await
    }

    /// Everything that was written to the audit file so far.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        self.stages.gate.audit().flush();
        let text = std::fs::read_to_string(self.dir().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Stops it as SIGTERM would, and waits until it has.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.running.await.unwrap().unwrap();
    }
}

/// Whether tests whose subject is length run in their long mode: `bash tests/long`.
pub fn long() -> bool {
    std::env::var_os("LONG").is_some_and(|value| value == "1")
}

/// Where `bash tests/run` puts packages of other languages: `npm/node_modules` and `venv`.
///
/// # Panics
///
/// If it never ran here: a test does not skip for want of them.
pub fn packages() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let packages = scratch.parent().unwrap_or(scratch).join("tests");
    assert!(packages.is_dir(), "{} is not there; `bash tests/run` makes it", packages.display());
    packages
}

/// Waits until `condition` holds, looking again whenever something may have happened.
///
/// # Panics
///
/// After ten seconds, with `what`.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looked = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(10), looked).await.is_err() {
        panic!("waited in vain: {what}");
    }
}
