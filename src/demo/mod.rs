//! A faithful stand-in for pveproxy: the upstream of `pvegate demo` and of the end-to-end tests.
//!
//! One TLS server on raw streams (HTTP/1.1 only, no ALPN), with the habits of pveproxy 9.2 that a gate in
//! front must live with: it drops what it dislikes without a word, closes idle connections after five
//! seconds, ends streams by FIN without close_notify, refuses chunked bodies, answers 401 three seconds
//! late. It knows no Proxmox code and manages nothing; what it claims about Proxmox VE is read in its
//! source or measured on it. It leaves certificates to the caller and must never be reachable by anybody but
//! its tester: part of it needs no authentication and answers whatever it is asked to.
//!
//! # Where things are
//!
//! | module | what |
//! | --- | --- |
//! | `head` | request heads and targets: limits, refusals, normalisation (pure) |
//! | `ticket` | tickets, CSRF tokens, credentials in fields (pure) |
//! | `reply` | replies, their fields and bytes; how a connection ends (pure) |
//! | `multipart` | upload forms, as a stream (pure) |
//! | `api` | what `/api2` answers |
//! | `on_demand` | errors and streams on demand, below `/standin/`, listed there |
//! | `websocket` | handshake, frames, console backends |
//! | `server` | connections, timers, workers |
//! | `seen` | what the stand-in observed; [`StandIn::wait_until`] awaits it |
//!
//! # The web interface at `/`
//!
//! A small page with the habits of the real one that concern a gate: it sets `PVEAuthCookie` by script, polls
//! `cluster/resources` every 5 s (`?poll=MILLISECONDS` for tests) and after more than five 401s deletes the
//! cookie and shows its own sign-in form. Ids for browser tests:
//!
//! | id | what |
//! | --- | --- |
//! | `user` | user of the cookie's ticket, or `nobody` |
//! | `location-hash`, `location-search` | the deep link as the page sees it |
//! | `login-form`, `login-user`, `login-password`, `login-submit`, `login-message` | signing in; hidden once signed in |
//! | `tfa-form`, `tfa-code`, `tfa-submit` | second step, shown when asked for |
//! | `logout` | deletes the cookie and shows the form |
//! | `version-button`, `version-result` | an API call; the result is `200 OK 9.2.11`, or status and reason phrase |
//! | `poll-count`, `poll-result`, `connection-error` | polling; the error is `Connection error 401: <reason>` |
//! | `upload-form`, `upload-file`, `upload-submit`, `upload-progress`, `upload-result` | upload of a file |
//! | `console-open`, `console-close`, `console-state`, `console-output`, `console-input`, `console-send` | echo terminal; the state is `closed`, `connecting`, `open` or `closed (CODE)` |

mod api;
mod head;
mod multipart;
mod on_demand;
mod reply;
mod seen;
mod server;
mod ticket;
mod websocket;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub use self::{
    on_demand::fill_pattern,
    reply::End,
    seen::{Checksum, Seen, SeenRequest, SeenUpload},
};
use crate::{
    time::{Clock, SystemClock},
    tls::Identity,
};

/// How the stand-in behaves. The default is faithful to pveproxy 9.2 in every number.
#[derive(Clone)]
pub struct Settings {
    /// Wall clock: dates, ages of tickets. Timers run on tokio's clock.
    pub clock: Arc<dyn Clock>,
    /// Every 401, and a refused sign-in, is answered this long after the request.
    pub unauthorized_delay: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// A request head that makes no progress is given up after this.
    pub head: Duration,
    /// A body, or an upload, that makes no progress is given up after this.
    pub body: Duration,
    /// A head beyond the limits gets no answer; the connection is closed after this.
    pub head_refused: Duration,
    /// A WebSocket whose backend is dead hears nothing for this long; then its worker dies.
    pub dead_backend: Duration,
    /// Requests on one connection; the last answer says `Connection: close`.
    pub requests_per_connection: usize,
    /// Number of workers that share the connections in turn.
    pub workers: usize,
    /// Requests after which a worker is replaced and finishes its connections with `Connection: close`.
    pub requests_per_worker: usize,
    /// Networks that may connect (`ALLOW_FROM` with `POLICY=deny`); others are closed before TLS.
    pub allow_from: Option<Vec<IpNet>>,
    /// The field that holds the client's address (`PROXY_REAL_IP_HEADER`).
    pub real_ip_field: Option<String>,
    /// Peers that are believed in that (`PROXY_REAL_IP_ALLOW_FROM`); `None`: every peer.
    pub real_ip_allow_from: Option<Vec<IpNet>>,
    /// Whether every received byte is kept for [`StandIn::raw_bytes`].
    pub record_raw_bytes: bool,
    /// Requests, uploads and log lines kept for observation; the counters go on.
    pub remember: usize,
    /// Files served beside the web interface: the beginning of their path, such as `/novnc/`, and the
    /// directory they are in.
    pub dirs: Vec<(String, PathBuf)>,
    /// What listens on the ports that console calls hand out; `None`: the stand-in's own backends.
    pub console: Option<SocketAddr>,
    /// Who can sign in.
    pub users: Vec<User>,
    /// API tokens: `user@realm!id` and the secret, a UUID.
    pub tokens: Vec<(String, String)>,
}

impl Settings {
    /// For tests whose subject is not time: refusals come at once. The 5 s of an idle connection stay, since
    /// a gate's reuse of connections relies on them.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            unauthorized_delay: Duration::from_millis(5),
            head_refused: Duration::from_millis(100),
            dead_backend: Duration::from_millis(100),
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        const FIVE: Duration = Duration::from_secs(5);
        Self {
            clock: Arc::new(SystemClock),
            unauthorized_delay: Duration::from_secs(3),
            idle: FIVE,
            head: FIVE,
            body: FIVE,
            head_refused: FIVE,
            dead_backend: FIVE,
            requests_per_connection: 100,
            workers: 3,
            requests_per_worker: 1000,
            allow_from: None,
            real_ip_field: None,
            real_ip_allow_from: None,
            record_raw_bytes: false,
            remember: 10_000,
            dirs: Vec::new(),
            console: None,
            users: vec![
                User::new("root@pam", "proxmox"),
                User::new("demo@pve", "demo"),
                User {
                    second_factor: vec!["totp:123456".to_owned(), "recovery:aaaa-bbbb-cccc-dddd".to_owned()],
                    ..User::new("tfa@pve", "tfa")
                },
            ],
            tokens: vec![("root@pam!demo".to_owned(), "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21".to_owned())],
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Somebody who can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `user@realm`.
    pub name: String,
    /// The password.
    pub password: String,
    /// Answers to the second step, such as `totp:123456`. Empty: one factor is enough. Unlike the real ones
    /// they can be used again.
    pub second_factor: Vec<String>,
}

impl User {
    /// A user with one factor.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), second_factor: Vec::new() }
    }
}

/// A running stand-in. Dropping it ends the listener and every connection.
#[derive(Debug)]
pub struct StandIn {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl StandIn {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The listener's address is unknown, the identity makes no TLS server, or there is no randomness.
    pub fn start(listener: TcpListener, identity: &Identity, settings: Settings) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            })
            .map_err(io::Error::other)?;
        let signer = ticket::Signer::random().map_err(io::Error::other)?;
        let started = settings.clock.now();
        let shared = Arc::new(Shared {
            seen: seen::Observer::new(settings.remember, settings.record_raw_bytes),
            settings,
            signer,
            started,
            consoles: Mutex::default(),
        });
        let accepting =
            tokio::spawn(server::run(listener, TlsAcceptor::from(Arc::new(config)), shared.clone()));
        Ok(Self { addr, shared, accepting })
    }

    /// Ends the listener and every connection, and waits until they have ended. What was seen stays.
    pub async fn stop(&mut self) {
        self.accepting.abort();
        if !self.accepting.is_finished() {
            let _ended = (&mut self.accepting).await;
        }
        // Aborted they are; one that another thread is just running ends at its next wait.
        self.wait_until(|seen| seen.connections_open == 0).await;
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// TCP connections accepted so far, those refused by address included.
    #[must_use]
    pub fn connections_seen(&self) -> usize {
        self.shared.seen.look(|seen| seen.connections)
    }

    /// TCP connections open now.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.shared.seen.look(|seen| seen.connections_open)
    }

    /// Request heads that arrived complete.
    #[must_use]
    pub fn requests_seen(&self) -> usize {
        self.shared.seen.look(|seen| seen.requests_seen)
    }

    /// The requests, oldest first (the last [`Settings::remember`] of them).
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.seen.look(|seen| seen.requests.iter().cloned().collect())
    }

    /// The uploads that arrived whole, oldest first.
    #[must_use]
    pub fn uploads(&self) -> Vec<SeenUpload> {
        self.shared.seen.look(|seen| seen.uploads.iter().cloned().collect())
    }

    /// Uploads that ended before their end: stalled, malformed, or the peer went away.
    #[must_use]
    pub fn aborted_uploads(&self) -> usize {
        self.shared.seen.look(|seen| seen.aborted_uploads)
    }

    /// WebSocket tunnels open now.
    #[must_use]
    pub fn tunnels_open(&self) -> usize {
        self.shared.seen.look(|seen| seen.tunnels_open)
    }

    /// What was received on each connection after TLS, by connection number; empty unless
    /// [`Settings::record_raw_bytes`] is on.
    #[must_use]
    pub fn raw_bytes(&self) -> Vec<Vec<u8>> {
        self.shared.seen.look(|seen| seen.raw_bytes.clone())
    }

    /// Lines of `/var/log/pveproxy/access.log`, oldest first.
    #[must_use]
    pub fn access_log(&self) -> Vec<String> {
        self.shared.seen.look(|seen| seen.access_log.iter().cloned().collect())
    }

    /// Lines that pvedaemon and pveproxy would write to the journal, oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<String> {
        self.shared.seen.look(|seen| seen.journal.iter().cloned().collect())
    }

    /// Waits until `condition` holds for what was seen so far. Without a bound: give the test one.
    pub async fn wait_until(&self, condition: impl FnMut(&Seen) -> bool + Send) {
        self.shared.seen.wait_until(condition).await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What every connection needs.
struct Shared {
    settings: Settings,
    seen: seen::Observer,
    signer: ticket::Signer,
    /// Time stamp of the static files.
    started: crate::time::Timestamp,
    consoles: Mutex<websocket::Consoles>,
}

impl Shared {
    fn consoles(&self) -> MutexGuard<'_, websocket::Consoles> {
        self.consoles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> crate::time::Timestamp {
        self.settings.clock.now()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
