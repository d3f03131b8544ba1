//! The nodes of a cluster: which one serves a request, and what is known of each.
//!
//! A session stays with its node until that node fails: Proxmox VE's consoles need the same node for the
//! call that opens one and the WebSocket after it, OpenID's two calls as well, and uploads are not relayed
//! between nodes. Where a session has no node yet, rendezvous hashing of its identity chooses among those that
//! are up, so that the gate after a restart, or another gate on the same store, chooses alike. [`choose`] is
//! pure; whether a node is up is `health`'s to say, from the connections that requests make and, where there
//! are none, from a TLS handshake at an interval. With a single node there is nothing to choose, and none.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http1;
use sha2::{Digest as _, Sha256};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    ConnectError, Endpoint, Settings,
    body::RequestBody,
    connector::Connector,
    health::{self, Change, Event, Fault, Health},
};
use crate::{
    audit::{self, Action, Outcome, Reason},
    gate::{NodeKey, Party},
    metrics::{Metrics, TlsError},
    status,
    time::Clock,
    tls::{Trust, TrustError},
};

/// All nodes; at least one.
pub(super) struct Nodes {
    first: Arc<Node>,
    others: Vec<Arc<Node>>,
    interval: Duration,
}

/// One node.
pub(super) struct Node {
    key: NodeKey,
    address: Arc<str>,
    connector: Connector,
    /// What `health` says, for a look without a lock.
    up: AtomicBool,
    health: Mutex<Health>,
    /// Held by whoever asks it because somebody wants to know: one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    audit: audit::Log,
    metrics: Arc<Metrics>,
    status: Arc<status::Nodes>,
    clock: Arc<dyn Clock>,
}

/// A node as [`choose`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) key: NodeKey,
    pub(super) up: bool,
}

/// The node for `party`: one that is up rather than one that is down; among equals the one it is pinned to;
/// else the one that hashing gives it. `None` only where there is no candidate.
pub(super) fn choose(
    candidates: impl Iterator<Item = Candidate>,
    party: &Party,
    pinned: Option<NodeKey>,
) -> Option<NodeKey> {
    candidates
        .max_by_key(|node| (node.up, pinned == Some(node.key), score(party, node.key)))
        .map(|node| node.key)
}

/// Rendezvous hashing: every pair has a value of its own, so that a node that comes or goes moves only the
/// parties that it serves.
fn score(party: &Party, node: NodeKey) -> u64 {
    let mut hash = Sha256::new();
    hash.update(node.get().to_be_bytes());
    party.hash_into(|bytes| hash.update(bytes));
    first_eight(&hash.finalize())
}

/// A node's key: of its address, so that it is the same in every run.
fn key(address: &str) -> NodeKey {
    NodeKey::new(first_eight(&Sha256::digest(address)))
}

fn first_eight(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

impl Nodes {
    /// # Errors
    ///
    /// [`TrustError`]
    pub(super) fn new(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        audit: &audit::Log,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Arc<status::Nodes>), TrustError> {
        let status = Arc::new(status::Nodes::of(settings.endpoints().map(|endpoint| {
            let trust = match endpoint.trust {
                Trust::Fingerprint(_) => status::Trust::Pin,
                Trust::Ca(_) => status::Trust::Authority,
            };
            (endpoint.address(), trust)
        })));
        let node = |endpoint: &Endpoint| {
            Ok(Arc::new(Node {
                key: key(&endpoint.address()),
                address: endpoint.address().into(),
                connector: Connector::new(endpoint.clone(), settings.connect_timeout, clock.clone())?,
                up: AtomicBool::new(true),
                health: Mutex::default(),
                turn: Arc::default(),
                audit: audit.clone(),
                metrics: metrics.clone(),
                status: status.clone(),
                clock: clock.clone(),
            }))
        };
        let first = node(&settings.first)?;
        let others = settings.others.iter().map(node).collect::<Result<_, TrustError>>()?;
        Ok((Self { first, others, interval: settings.health_interval }, status))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The node for `party`, who is pinned to one or not.
    pub(super) fn first_choice(&self, party: &Party, pinned: Option<NodeKey>) -> &Arc<Node> {
        self.choose(party, pinned, &[]).unwrap_or(&self.first)
    }

    /// The same among those that were not tried; `None` if all were.
    pub(super) fn choose(
        &self,
        party: &Party,
        pinned: Option<NodeKey>,
        tried: &[NodeKey],
    ) -> Option<&Arc<Node>> {
        let left = || self.all().filter(|node| !tried.contains(&node.key));
        // By far the most common cases, without a hash.
        if let Some(node) = left().find(|node| pinned == Some(node.key) && node.is_up()) {
            return Some(node);
        }
        if self.others.is_empty() {
            return left().next();
        }
        let candidates = left().map(|node| Candidate { key: node.key, up: node.is_up() });
        let chosen = choose(candidates, party, pinned)?;
        self.all().find(|node| node.key == chosen)
    }

    /// Asks now the nodes of which nothing was heard for the interval, the only one too: somebody wants to
    /// know. Waits for what comes out, so long and no longer; who takes longer is taken note of all the same.
    pub(super) async fn look(&self, patience: Duration) {
        let mut looking = Vec::new();
        for node in self.all() {
            let is_due = node.health().due(self.interval).is_none_or(|due| due <= Instant::now());
            if is_due && let Ok(turn) = node.turn.clone().try_lock_owned() {
                let node = node.clone();
                looking.push(tokio::spawn(async move {
                    node.check().await;
                    drop(turn);
                }));
            }
        }
        let all = async {
            for look in looking {
                // One that panicked has said so.
                let _ = look.await;
            }
        };
        let _ = timeout(patience, all).await;
    }

    /// Asks the nodes of which nothing was heard for the interval. Goes on until it is dropped.
    pub(super) async fn watch(&self) {
        if self.others.is_empty() {
            // Whatever came out, requests would go there all the same.
            return;
        }
        let mut watching = JoinSet::new();
        for node in self.all() {
            let (node, interval) = (node.clone(), self.interval);
            watching.spawn(async move { node.watch(interval).await });
        }
        while watching.join_next().await.is_some() {}
    }
}

impl Node {
    pub(super) fn key(&self) -> NodeKey {
        self.key
    }

    /// `host:port`
    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Connects for a request; what comes of it is taken note of.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub(super) async fn connect(
        &self,
    ) -> Result<(http1::SendRequest<RequestBody>, impl Future<Output = ()> + Send + use<>), ConnectError>
    {
        let began = Instant::now();
        let connected = self.connector.connect().await;
        self.heard(began, connected.as_ref().err());
        connected
    }

    async fn watch(&self, interval: Duration) {
        loop {
            let due = self.health().due(interval);
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                sleep_until(due).await;
                // A request may have connected meanwhile.
                continue;
            }
            self.check().await;
        }
    }

    /// Asks it for a TLS handshake, and takes note of what comes of it.
    async fn check(&self) {
        let began = Instant::now();
        let checked = self.connector.check().await;
        self.heard(began, checked.as_ref().err());
    }

    /// Takes note of an attempt to connect, and tells people where that changes something.
    fn heard(&self, began: Instant, failed: Option<&ConnectError>) {
        match failed {
            Some(ConnectError::Pin(_)) => self.metrics.upstream_tls_error(TlsError::Fingerprint),
            Some(ConnectError::Tls { .. }) => self.metrics.upstream_tls_error(TlsError::Handshake),
            Some(ConnectError::Tcp { .. } | ConnectError::Slow { .. }) | None => {}
        }
        let event = failed.map_or(Event::Connected, |error| Event::Failed { began, fault: error.into() });
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (after, change) = health::step(*health, event, now);
        *health = after;
        self.up.store(after.is_up(), Ordering::Relaxed);
        if failed.is_none() {
            self.status.connected(&self.address, now.duration_since(began));
        }
        // Still under the lock, so that changes are told in their order.
        let told = match change {
            None => return,
            Some(Change::Down(fault)) => {
                self.status.set(&self.address, Some(self.down(fault)));
                let told = audit::Event::new(Action::NodeDown, Outcome::Failure);
                match failed {
                    Some(error) => told.because(Reason::from(error)),
                    None => told,
                }
            }
            Some(Change::Up) => {
                self.status.set(&self.address, None);
                audit::Event::new(Action::NodeUp, Outcome::Success)
            }
        };
        self.audit.record(&told.at_node(self.address.to_string()));
    }

    fn health(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn down(&self, fault: Fault) -> status::Down {
        let why = match fault {
            Fault::Fingerprint(mismatch) => status::Why::Fingerprint {
                expected: mismatch.expected.to_string(),
                found: mismatch.found.to_string(),
            },
            Fault::Refused => status::Why::Refused,
            Fault::Slow => status::Why::Timeout,
            Fault::Tls => status::Why::Broken,
        };
        status::Down { since: self.clock.now(), why }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::account::SessionId;

    fn party(number: u64) -> Party {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Party::Session(SessionId(id))
    }

    fn nodes(up: &[(&str, bool)]) -> Vec<Candidate> {
        up.iter().map(|(address, up)| Candidate { key: key(address), up: *up }).collect()
    }

    fn chosen(up: &[(&str, bool)], party: &Party, pinned: Option<&str>) -> Option<NodeKey> {
        choose(nodes(up).into_iter(), party, pinned.map(key))
    }

    #[test]
    fn up_goes_before_pinned_and_pinned_before_hashed() {
        // By hashing alone this one is on c.
        let anna = (0..)
            .map(party)
            .find(|anna| chosen(&[("a", true), ("b", true), ("c", true)], anna, None) == Some(key("c")));
        let anna = anna.unwrap();
        #[rustfmt::skip]
        let table = [
            // nodes                                   pinned     chosen
            (vec![("a", true),  ("b", true),  ("c", true)],  None,      Some("c")),
            (vec![("a", true),  ("b", true),  ("c", true)],  Some("a"), Some("a")),
            (vec![("a", false), ("b", true)],                Some("a"), Some("b")),
            (vec![("a", true),  ("b", false), ("c", false)], Some("b"), Some("a")),
            (vec![("a", false), ("b", false), ("c", false)], Some("b"), Some("b")),
            (vec![("a", false), ("b", false), ("c", false)], None,      Some("c")),
            (vec![("a", true),  ("c", true)],                Some("b"), Some("c")),
            (vec![("a", false)],                             None,      Some("a")),
            (vec![],                                         Some("a"), None),
        ];
        for (up, pinned, expected) in table {
            assert_eq!(chosen(&up, &anna, pinned), expected.map(key), "{up:?} {pinned:?}");
        }
    }

    #[test]
    fn sessions_are_spread_over_the_nodes() {
        let up = [("10.0.0.1:8006", true), ("10.0.0.2:8006", true), ("10.0.0.3:8006", true)];
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        for number in 0..3000 {
            *counts.entry(chosen(&up, &party(number), None).unwrap().get()).or_default() += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_choice_is_the_same_in_every_run_and_release() {
        let up = [("10.0.0.1:8006", true), ("10.0.0.2:8006", true), ("10.0.0.3:8006", true)];
        let last = |number| {
            up.iter().position(|(address, _)| Some(key(address)) == chosen(&up, &party(number), None))
        };
        let found: Vec<_> = (0..12).filter_map(last).collect();
        assert_eq!(found, [0, 1, 0, 1, 1, 1, 1, 0, 1, 2, 1, 2]);
    }

    #[tokio::test]
    async fn a_single_node_is_never_asked_by_itself() {
        let endpoint = Endpoint {
            host: "192.0.2.1".to_owned(),
            port: 8006,
            trust: crate::tls::Trust::Fingerprint(crate::tls::Fingerprint::from_bytes([1; 32])),
        };
        let settings = Settings {
            first: endpoint,
            others: Vec::new(),
            health_interval: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(3),
            send_client_ip: http::HeaderName::from_static("x-forwarded-for"),
        };
        let clock: Arc<dyn Clock> = Arc::new(crate::time::SystemClock);
        let audit = audit::Log::open(&audit::Settings::NONE, clock.clone(), None).unwrap();
        let (nodes, _) = Nodes::new(&settings, &clock, &audit, &Arc::new(Metrics::new(&[]))).unwrap();

        // It would go on for ever otherwise.
        nodes.watch().await;
    }

    proptest! {
        #[test]
        fn a_node_that_fails_moves_its_own_sessions_only_and_no_order_matters(
            number: u64, fails in 0..4_usize, turn in 0..4_usize,
        ) {
            let anna = party(number);
            let mut up = [("a", true), ("b", true), ("c", true), ("d", true)];
            let before = chosen(&up, &anna, None);
            up[fails].1 = false;
            up.rotate_left(turn);
            let after = chosen(&up, &anna, None);
            let failed = key(["a", "b", "c", "d"][fails]);
            prop_assert_ne!(after, Some(failed));
            if before != Some(failed) {
                prop_assert_eq!(before, after);
            }
        }
    }
}
