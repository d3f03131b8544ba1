//! Durations in buckets, counted without a lock: prometheus-client's own histogram has one, and every
//! request would take it.

use std::{
    fmt::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Upper bounds in microseconds of what the gate itself takes: some tens of them if all is well.
const OVERHEAD: &[u64] = &[50, 100, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 50_000, 250_000, 1_000_000];

/// The same of whole answers: some calls of Proxmox VE work for minutes before they answer.
const ANSWERS: &[u64] = &[
    1000,
    2500,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// How often which duration was observed.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last has what is above all.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn of_overhead() -> Self {
        Self::with(OVERHEAD)
    }

    pub(super) fn of_answers() -> Self {
        Self::with(ANSWERS)
    }

    fn with(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let micros = duration.as_nanos().div_ceil(1000);
        let bucket = self.bounds.iter().take_while(|bound| micros > u128::from(**bound)).count();
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = self.bounds.iter().map(|micros| seconds(*micros, 1e6)).chain([f64::INFINITY]);
        // Of this one reading: buckets, sum and count agree but for what happens just now.
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let sum = seconds(self.nanos.load(Ordering::Relaxed), 1e9);
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "no bound and no sum of a process's life needs 53 bits")]
fn seconds(value: u64, a_second: f64) -> f64 {
    value as f64 / a_second
}

/// A histogram that is a metric by itself.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) histogram: Arc<Histogram>,
}

impl Collector for Alone {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.histogram.encode(encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        #[rustfmt::skip]
        let table = [
            (Duration::ZERO,                    0),
            (Duration::from_micros(50),         0),
            (Duration::from_nanos(50_001),      1),
            (Duration::from_micros(51),         1),
            (Duration::from_secs(1),            OVERHEAD.len() - 1),
            (Duration::from_millis(1001),       OVERHEAD.len()),
            (Duration::MAX,                     OVERHEAD.len()),
        ];
        for (duration, bucket) in table {
            let histogram = Histogram::of_overhead();
            histogram.observe(duration);
            let found = histogram.counts.iter().position(|count| count.load(Ordering::Relaxed) == 1);
            assert_eq!(found, Some(bucket), "{duration:?}");
        }
    }

    #[test]
    fn bounds_rise() {
        for bounds in [OVERHEAD, ANSWERS] {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
        }
    }
}
