//! Who asks: what is known of the request during which an event happens.
//!
//! Every event of a request has the same: its number, the socket's other end, TLS, the program that asked.
//! They go along with the task that answers the request, so that no stage must hand them through. Nothing
//! is decided by them.

use std::{cell::OnceCell, future::Future, net::SocketAddr};

use http::HeaderValue;

use crate::secret;

/// Bytes of a `User-Agent` that are written.
const LONGEST_AGENT: usize = 256;

tokio::task_local! {
    static ASKING: Asking;
}

/// What is known of a request before anybody looks at what it wants.
#[derive(Debug, Clone)]
pub struct Asking {
    peer: SocketAddr,
    tls: Tls,
    agent: Option<HeaderValue>,
    id: OnceCell<String>,
}

/// What a TLS handshake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tls {
    /// `1.3`
    pub version: Option<&'static str>,
    /// The suite's name at IANA.
    pub cipher: Option<&'static str>,
}

impl Tls {
    /// From rustls's names: `TLSv1_3`, `TLS13_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn named(version: Option<&'static str>, cipher: Option<&'static str>) -> Self {
        let version = match version {
            Some("TLSv1_2") => Some("1.2"),
            Some("TLSv1_3") => Some("1.3"),
            Some(_) | None => None,
        };
        let cipher = match cipher {
            Some("TLS13_AES_128_GCM_SHA256") => Some("TLS_AES_128_GCM_SHA256"),
            Some("TLS13_AES_256_GCM_SHA384") => Some("TLS_AES_256_GCM_SHA384"),
            Some("TLS13_CHACHA20_POLY1305_SHA256") => Some("TLS_CHACHA20_POLY1305_SHA256"),
            cipher => cipher,
        };
        Self { version, cipher }
    }
}

impl Asking {
    /// From this socket, through this TLS, with this `User-Agent`.
    #[must_use]
    pub fn new(peer: SocketAddr, tls: Tls, agent: Option<HeaderValue>) -> Self {
        Self { peer, tls, agent, id: OnceCell::new() }
    }

    /// Runs a future during which this is who asks.
    pub fn during<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        ASKING.scope(self, future)
    }

    /// Does something at once, as during the request.
    pub fn meanwhile<T>(&self, something: impl FnOnce() -> T) -> T {
        ASKING.sync_scope(self.clone(), something)
    }

    /// Who asks at present, for a task that goes on with the same request.
    #[must_use]
    pub fn now() -> Option<Self> {
        ASKING
            .try_with(|asking| {
                asking.id();
                asking.clone()
            })
            .ok()
    }

    /// The socket's other end: the client, or who speaks for it.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls
    }

    /// What the client says it is. It may say anything.
    pub(super) fn agent(&self) -> Option<String> {
        let agent = self.agent.as_ref()?.as_bytes();
        Some(String::from_utf8_lossy(agent.get(..LONGEST_AGENT).unwrap_or(agent)).into_owned())
    }

    /// The request's number: short, to read over the telephone. Made when somebody first wants it.
    pub(super) fn id(&self) -> &str {
        self.id.get_or_init(reference)
    }
}

/// The number of the request that is being answered, as a page shows it and the audit log has it; a new
/// one where there is none.
#[must_use]
pub fn request_id() -> String {
    ASKING.try_with(|asking| asking.id().to_owned()).unwrap_or_else(|_| reference())
}

fn reference() -> String {
    data_encoding::BASE32_NOPAD.encode(&secret::random::<5>()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_has_one_number_wherever_it_is_worked_on() {
        let asking = Asking::new("192.0.2.1:4711".parse().unwrap(), Tls::default(), None);
        let (here, there, after) = asking
            .during(async {
                let carried = Asking::now().unwrap();
                let there = tokio::spawn(carried.clone().during(async { request_id() })).await.unwrap();
                (request_id(), there, carried.meanwhile(request_id))
            })
            .await;

        assert_eq!((here.len(), &here, &here), (8, &there, &after));
        assert_ne!(request_id(), request_id(), "outside, everything has its own");
    }
}
