//! What others may see of the gate's parts: written by their owners, read by pages and verbs.
//!
//! Plain values; nothing is decided by them. [`Nodes`] is written whenever a node comes or goes, a [`Report`]
//! is drawn up when somebody asks.

mod report;

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

pub use report::{COMMIT, CertificateRole, Configuration, Kept, OwnCertificate, Report, Trouble, VERSION};

use crate::time::Timestamp;

/// Whether Proxmox VE's nodes serve, as far as the gate knows.
#[derive(Debug, Default)]
pub struct Nodes(RwLock<Vec<Node>>);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `host:port`, for administrators.
    pub address: String,
    /// How its certificate is checked.
    pub trust: Trust,
    /// How long it last took to connect, TLS included.
    pub connected_in: Option<Duration>,
    /// Why and since when it does not serve.
    pub down: Option<Down>,
}

/// How a node's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// By its fingerprint.
    Pin,
    /// By an authority.
    Authority,
}

impl Trust {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pin => "fingerprint",
            Self::Authority => "ca",
        }
    }
}

/// A node that does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// When that was found.
    pub since: Timestamp,
    /// Why.
    pub why: Why,
}

/// Why a node does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It refuses connections.
    Refused,
    /// It does not answer in time.
    Timeout,
    /// TLS with it does not come about.
    Broken,
    /// It shows another certificate than the pinned one.
    Fingerprint {
        /// The pinned one.
        expected: String,
        /// The one it shows.
        found: String,
    },
}

impl Why {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Broken => "tls",
            Self::Fingerprint { .. } => "fingerprint",
        }
    }
}

impl Nodes {
    /// With nodes of which nothing is known yet.
    #[must_use]
    pub fn of(nodes: impl IntoIterator<Item = (String, Trust)>) -> Self {
        let nodes = nodes.into_iter();
        let unknown = |(address, trust)| Node { address, trust, connected_in: None, down: None };
        Self(RwLock::new(nodes.map(unknown).collect()))
    }

    /// All of them, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Node> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what is known of one.
    pub fn set(&self, address: &str, down: Option<Down>) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.iter_mut().find(|node| node.address == address) {
            node.down = down;
        }
    }
    /// One took so long to connect to.
    pub fn connected(&self, address: &str, took: Duration) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.iter_mut().find(|node| node.address == address) {
            node.connected_in = Some(took);
        }
    }
}

/// How long the gate's own certificate is good.
#[derive(Debug)]
pub struct Certificate(AtomicI64);

impl Default for Certificate {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

const UNKNOWN: i64 = i64::MIN;

impl Certificate {
    /// The last moment at which it is good, if that is known.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }

    /// It is good until then.
    pub fn set(&self, not_after: Timestamp) {
        self.0.store(not_after.millis(), Ordering::Relaxed);
    }
}
