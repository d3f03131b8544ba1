//! Counters: what the gate has done since it began, for whoever watches it.
//!
//! [`Metrics`] is made once and handed down; any stage may count. What a request costs is a few atomic
//! additions: its counters are found by an index, nothing is allocated and nothing is locked. What rarely
//! happens (a sign-in, a refusal) is found by its words. Every label is a word of this program, a status
//! code or a node of the configuration: never a person's name, an address or a path, so that no stranger
//! can make the number of series grow.
//!
//! What others know anyway (sessions, bans, nodes, certificates) is not counted a second time: a
//! [`Report`] of the moment is written beside the counters by [`Metrics::encode`].
//! Who serves the text is `telemetry`. Ruled by OpenMetrics 1.0 and the Prometheus text format 0.0.4.

mod histogram;
mod moment;
mod process;
mod requests;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub use requests::Kind;

use crate::status::Report;
use histogram::Histogram;
use moment::Moment;
use requests::Requests;

/// What is counted.
pub struct Metrics {
    registry: Registry,
    sign_ins: Family<SignIn, Counter>,
    refused: Family<Because, Counter>,
    upstream_tls_errors: Family<Because, Counter>,
    audit_events: Counter,
    store_failures: Counter,
    websockets_open: Gauge,
    requests: Arc<Requests>,
    added: Arc<Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignIn {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

/// A way to write the same down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which current versions of Prometheus ask for.
    OpenMetrics,
    /// The text format 0.0.4, which everything reads.
    Text,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// What became of an attempt to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They are in.
    Success,
    /// They are not.
    Failure,
}

impl Outcome {
    const ALL: [Self; 2] = [Self::Success, Self::Failure];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// What was wrong with TLS toward the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsError {
    /// Another certificate than the pinned one.
    Fingerprint,
    /// Anything else: the authority does not know the certificate, it is over, no handshake came about.
    Handshake,
}

impl TlsError {
    const ALL: [Self; 2] = [Self::Fingerprint, Self::Handshake];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Handshake => "handshake",
        }
    }
}

impl Metrics {
    /// All at zero. These are the words of the methods by which people sign in: each is there before the first
    /// attempt, since whoever computes an increase does not see the step from nothing to one.
    #[must_use]
    pub fn new(methods: &[&'static str]) -> Self {
        let mut registry = Registry::with_prefix("pvegate");
        let metrics = Self {
            sign_ins: Family::default(),
            refused: Family::default(),
            upstream_tls_errors: Family::default(),
            audit_events: Counter::default(),
            store_failures: Counter::default(),
            websockets_open: Gauge::default(),
            requests: Arc::default(),
            added: Arc::new(Histogram::of_overhead()),
            registry: Registry::default(),
        };
        for outcome in Outcome::ALL {
            for method in methods {
                let _ = metrics.sign_ins.get_or_create(&SignIn { method, outcome: outcome.as_str() });
            }
        }
        for error in TlsError::ALL {
            let _ = metrics.upstream_tls_errors.get_or_create(&Because { reason: error.as_str() });
        }
        registry.register("sign_ins", "Attempts to sign in, by method and outcome", metrics.sign_ins.clone());
        registry.register(
            "refused",
            "Connections and requests that were refused, by the reason's word in the audit log",
            metrics.refused.clone(),
        );
        registry.register(
            "upstream_tls_errors",
            "Connections to Proxmox VE that failed in TLS: another certificate than the pinned one, or no handshake",
            metrics.upstream_tls_errors.clone(),
        );
        registry.register(
            "audit_events",
            "Events for the audit log, before floods of refusals are folded",
            metrics.audit_events.clone(),
        );
        registry.register(
            "store_failures",
            "Calls to the database that failed",
            metrics.store_failures.clone(),
        );
        registry.register(
            "websockets_open",
            "Tunnels that are open: consoles, and what API tokens carry",
            metrics.websockets_open.clone(),
        );
        registry.register_collector(Box::new(metrics.requests.clone()));
        registry.register_collector(Box::new(histogram::Alone {
            name: "added_latency_seconds",
            help: "What the gate itself adds to a forwarded request until its answer begins: all but the wait for Proxmox VE",
            histogram: metrics.added.clone(),
        }));
        Self { registry, ..metrics }
    }

    /// Somebody signed in by this method, or tried to.
    pub fn sign_in(&self, method: &'static str, outcome: Outcome) {
        self.sign_ins.get_or_create(&SignIn { method, outcome: outcome.as_str() }).inc();
    }

    /// A connection or a request was refused for the reason with this word.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Because { reason }).inc();
    }

    /// TLS with the upstream did not come about.
    pub fn upstream_tls_error(&self, error: TlsError) {
        self.upstream_tls_errors.get_or_create(&Because { reason: error.as_str() }).inc();
    }

    /// Something happened that the audit log is told of.
    pub fn audit_event(&self) {
        self.audit_events.inc();
    }

    /// A call to the store failed.
    pub fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// A tunnel is open for as long as this is held.
    pub fn websocket(&self) -> OpenWebSocket {
        self.websockets_open.inc();
        OpenWebSocket(self.websockets_open.clone())
    }

    /// How many tunnels are open.
    #[must_use]
    pub fn websockets_open(&self) -> u64 {
        u64::try_from(self.websockets_open.get()).unwrap_or(0)
    }

    /// A request of this kind was answered with `status`; the answer began after `took`. So long of it was it
    /// `with_us`; `None` where it was with nobody else, or where that can't be told from a wait for the client.
    pub fn answered(&self, kind: Kind, status: u16, took: Duration, with_us: Option<Duration>) {
        self.requests.answered(kind, status, took);
        if let Some(with_us) = with_us {
            self.added.observe(with_us);
        }
    }

    /// Everything, with what a report of the moment says.
    #[must_use]
    pub fn encode(&self, report: &Report, format: Format) -> String {
        let mut moment = Registry::default();
        moment.register_collector(Box::new(Moment::new(report.clone(), process::read())));
        let mut text = String::new();
        let encoded = match format {
            Format::OpenMetrics => text::encode_registry(&mut text, &self.registry)
                .and_then(|()| text::encode_registry(&mut text, &moment))
                .and_then(|()| text::encode_eof(&mut text)),
            Format::Text => prometheus_text::encode(&mut text, &self.registry)
                .and_then(|()| prometheus_text::encode(&mut text, &moment)),
        };
        // A text takes whatever is written to it, and our values are numbers and words.
        debug_assert!(encoded.is_ok(), "metrics can't be written down");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A tunnel that is open.
#[derive(Debug)]
pub struct OpenWebSocket(Gauge);

impl Drop for OpenWebSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
