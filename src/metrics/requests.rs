//! Requests by kind and status code, and how long their answers took: found by an index, since every
//! request is counted.

use std::{
    borrow::Cow,
    fmt::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};

use super::histogram::Histogram;

/// Codes that are told apart: the classes that HTTP knows (RFC 9110 §15). Proxmox VE's 595 to 599 are among
/// them; whatever else a server sends has one place, the first.
const CODES: usize = 600;

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The gate answered it itself: a page of its own, or a refusal.
    Portal,
    /// It went to Proxmox VE.
    Proxy,
    /// It went to Proxmox VE and asked for a tunnel: a console, most often.
    WebSocket,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Portal, Self::Proxy, Self::WebSocket];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Proxy => "proxy",
            Self::WebSocket => "websocket",
        }
    }
}

/// The requests of all kinds.
#[derive(Debug, Default)]
pub(super) struct Requests {
    portal: OfKind,
    proxy: OfKind,
    websocket: OfKind,
}

#[derive(Debug)]
struct OfKind {
    by_code: Box<[AtomicU64]>,
    took: Histogram,
}

impl Default for OfKind {
    fn default() -> Self {
        Self { by_code: (0..CODES).map(|_| AtomicU64::new(0)).collect(), took: Histogram::of_answers() }
    }
}

impl Requests {
    pub(super) fn answered(&self, kind: Kind, status: u16, took: Duration) {
        let of_kind = self.of(kind);
        let index = usize::from(status);
        if let Some(count) = of_kind.by_code.get(if index < CODES { index } else { 0 }) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        of_kind.took.observe(took);
    }

    fn of(&self, kind: Kind) -> &OfKind {
        match kind {
            Kind::Portal => &self.portal,
            Kind::Proxy => &self.proxy,
            Kind::WebSocket => &self.websocket,
        }
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut counters = encoder.encode_descriptor(
            "requests",
            "Requests that were answered, by kind and status code",
            None,
            MetricType::Counter,
        )?;
        for kind in Kind::ALL {
            for (code, count) in self.of(kind).by_code.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                // Most codes never occur. 200 stands for the rest, so that the metric is there from the start.
                if count == 0 && code != 200 {
                    continue;
                }
                let code = if code == 0 { Cow::from("other") } else { Cow::from(code.to_string()) };
                let labels = [("kind", Cow::from(kind.as_str())), ("code", code)];
                ConstCounter::new(count).encode(counters.encode_family(&labels)?)?;
            }
        }
        let mut took = encoder.encode_descriptor(
            "request_duration_seconds",
            "From a request's head to the head of its answer, by kind",
            None,
            MetricType::Histogram,
        )?;
        for kind in Kind::ALL {
            self.of(kind).took.encode(took.encode_family(&[("kind", kind.as_str())])?)?;
        }
        Ok(())
    }
}
