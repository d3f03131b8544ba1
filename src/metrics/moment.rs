//! What is true at one moment, written beside the counters.

use std::fmt::Error;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::process::Process;
use crate::status::{COMMIT, Report, VERSION};

#[derive(Debug)]
pub(super) struct Moment {
    report: Report,
    process: Process,
}

impl Moment {
    pub(super) fn new(report: Report, process: Process) -> Self {
        Self { report, process }
    }
}

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut to = Writer(encoder);
        self.gate(&mut to)?;
        self.store(&mut to)?;
        self.process(&mut to)
    }
}

impl Moment {
    fn gate(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let report = &self.report;
        to.gauges(
            "pvegate_build_info",
            "Which pvegate this is; always 1",
            [([("version", VERSION), ("commit", COMMIT)], 1)],
        )?;
        to.gauge(
            "pvegate_connections_open",
            "Connections that are open, tunnels included",
            report.connections,
        )?;
        to.gauge("pvegate_sessions", "Sessions that are alive", report.sessions)?;
        to.gauge(
            "pvegate_ready",
            "Whether the gate can let people in: the store answers, the certificate is good, it is not stopping",
            u64::from(report.trouble().is_empty()),
        )?;
        to.gauges(
            "pvegate_upstream_up",
            "Whether a node of Proxmox VE takes connections and proves itself, as far as is known",
            report
                .nodes
                .iter()
                .map(|node| ([("upstream", node.address.as_str())], u64::from(node.down.is_none()))),
        )?;
        to.gauges(
            "pvegate_tls_certificate_not_after_timestamp_seconds",
            "When a certificate of the gate's own is over, by its role",
            report.certificates.iter().map(|own| ([("role", own.role.as_str())], own.not_after.secs())),
        )?;
        if let Some(offset) = report.clock_offset_millis {
            to.gauge(
                "pvegate_clock_offset_seconds",
                "How far the gate's clock is ahead of Proxmox VE's, to about a second",
                #[expect(clippy::cast_precision_loss, reason = "no clock is off by 2^53 milliseconds")]
                (offset as f64 / 1e3),
            )?;
        }
        to.counter(
            "pvegate_audit_write_errors",
            "Audit events that could not be written",
            report.audit_lost,
        )?;
        to.gauge(
            "pvegate_config_reload_success",
            "Whether the last reading of the configuration was taken",
            u64::from(report.configuration.taken),
        )?;
        to.gauge(
            "pvegate_config_last_reload_timestamp_seconds",
            "When the configuration in use was read",
            report.configuration.read_at.secs(),
        )
    }

    /// Nothing, where the store does not answer: no number is better than a wrong one.
    fn store(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let Some(kept) = self.report.kept else { return Ok(()) };
        to.gauges(
            "pvegate_users",
            "People: active ones can sign in, pending ones have no sign-in method yet",
            [
                ([("state", "active")], kept.active),
                ([("state", "pending")], kept.pending),
                ([("state", "disabled")], kept.disabled),
            ],
        )?;
        to.gauge("pvegate_users_enrolled", "People with a sign-in method, disabled ones too", kept.enrolled)?;
        to.gauge("pvegate_bans", "Networks that are banned", kept.bans)
    }

    /// Under the names that every library uses for them, so that everybody's dashboards know them.
    fn process(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let process = self.process;
        if let Some(seconds) = process.cpu_seconds {
            to.descriptor("process_cpu_seconds", "Processor time, of user and system", MetricType::Counter)
                .and_then(|metric| ConstCounter::new(seconds).encode(metric))?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Memory that is resident", process.resident_bytes),
            ("process_threads", "Threads", process.threads),
            ("process_open_fds", "Descriptors that are open", process.open_fds),
            ("process_max_fds", "Descriptors that may be open", process.max_fds),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                to.gauge(name, help, value)?;
            }
        }
        to.gauge("process_start_time_seconds", "When the gate began", self.report.started_at.secs())
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn descriptor(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        value: impl EncodeGaugeValue + Clone,
    ) -> Result<(), Error> {
        ConstGauge::new(value).encode(self.descriptor(name, help, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) -> Result<(), Error> {
        ConstCounter::new(value).encode(self.descriptor(name, help, MetricType::Counter)?)
    }

    fn gauges<'v, const LABELS: usize, Value: EncodeGaugeValue + Clone>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); LABELS], Value)>,
    ) -> Result<(), Error> {
        let mut metric = self.descriptor(name, help, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
