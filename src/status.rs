//! What others may see of the gate's parts: written by their owners, read by pages and verbs.
//!
//! Plain values behind a lock; nothing is decided by them.

use std::sync::{PoisonError, RwLock};

use crate::time::Timestamp;

/// Whether Proxmox VE's nodes serve, as far as the gate knows.
#[derive(Debug, Default)]
pub struct Nodes(RwLock<Vec<Node>>);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `host:port`, for administrators.
    pub address: String,
    /// Why and since when it does not serve.
    pub down: Option<Down>,
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

impl Nodes {
    /// With nodes of which nothing is known yet.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = String>) -> Self {
        let nodes = addresses.into_iter().map(|address| Node { address, down: None }).collect();
        Self(RwLock::new(nodes))
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
}
