//! Who stays with which of several upstream nodes.
//!
//! The gate says whose a request is and remembers the node; what a node is, and when somebody moves to
//! another, is `upstream`'s business. The memory lives as long as the session does in this process.

use std::{
    num::NonZeroU64,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::account::SessionId;

/// One of the upstream's nodes; `upstream` knows which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeKey(NonZeroU64);

impl NodeKey {
    /// From a number that is the node's own in every run; 0 counts as 1.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// Whose a request is. Requests of two parties never share a connection to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// Somebody who is signed in.
    Session(SessionId),
    /// A program with this API token, by its name.
    Token(Arc<str>),
}

impl Party {
    /// What tells it from others, for a hash that is the same in every run.
    pub fn hash_into(&self, mut take: impl FnMut(&[u8])) {
        match self {
            Self::Session(id) => take(&id.0),
            Self::Token(name) => take(name.as_bytes()),
        }
    }
}

/// The node that somebody is pinned to.
#[derive(Debug, Default)]
pub(super) struct Pin(AtomicU64);

impl Pin {
    pub(super) fn get(&self) -> Option<NodeKey> {
        NonZeroU64::new(self.0.load(Ordering::Relaxed)).map(NodeKey)
    }

    /// Sets it, unless it is not `before` any more: a request that was slow to connect must not take back
    /// what a later one decided.
    pub(super) fn set(&self, before: Option<NodeKey>, node: NodeKey) {
        let before = before.map_or(0, NodeKey::get);
        let _ = self.0.compare_exchange(before, node.get(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_moves_only_from_where_it_was_seen() {
        let (a, b, c) = (NodeKey::new(1), NodeKey::new(2), NodeKey::new(3));
        let pin = Pin::default();
        assert_eq!(pin.get(), None);

        pin.set(None, a);
        pin.set(Some(a), b);
        pin.set(Some(a), c);

        assert_eq!(pin.get(), Some(b));
    }
}
