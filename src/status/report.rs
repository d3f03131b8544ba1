//! What a running gate says of itself at one moment.

use serde_json::{Value, json};

use super::Node;
use crate::time::Timestamp;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was made of, where whoever built it has said so by the variable `PVEGATE_COMMIT`.
pub const COMMIT: &str = match option_env!("PVEGATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What a running gate says of itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The moment.
    pub at: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// The number of its process.
    pub pid: u32,
    /// The origin that browsers use.
    pub url: String,
    /// Where it listens, as `address:port`.
    pub listen: Vec<String>,
    /// Whether it is about to end.
    pub stopping: bool,
    /// Connections that are open, tunnels included.
    pub connections: u64,
    /// Tunnels that are open: consoles, and what API tokens carry.
    pub websockets: u64,
    /// Sessions that are alive.
    pub sessions: u64,
    /// What the store says; `None` where it does not answer.
    pub kept: Option<Kept>,
    /// Proxmox VE's nodes.
    pub nodes: Vec<Node>,
    /// How far our clock is ahead of Proxmox VE's, in milliseconds, once that is known.
    pub clock_offset_millis: Option<i64>,
    /// The gate's own certificates.
    pub certificates: Vec<OwnCertificate>,
    /// Of the configuration.
    pub configuration: Configuration,
    /// Audit events that could not be written.
    pub audit_lost: u64,
}

/// Counts of what the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// People who can sign in.
    pub active: u32,
    /// People without a sign-in method yet.
    pub pending: u32,
    /// People who may not sign in.
    pub disabled: u32,
    /// People with a sign-in method, disabled ones too.
    pub enrolled: u32,
    /// Bans in force.
    pub bans: u32,
}

/// A certificate of the gate's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCertificate {
    /// What it is for.
    pub role: CertificateRole,
    /// When it is over.
    pub not_after: Timestamp,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRole {
    /// It is shown to browsers.
    Server,
    /// It is the local authority's.
    LocalCa,
}

impl CertificateRole {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::LocalCa => "local-ca",
        }
    }
}

/// What became of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// When the one in use was read.
    pub read_at: Timestamp,
    /// Whether the last one that was read was taken.
    pub taken: bool,
}

/// Why a gate can't let people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is about to end.
    Stopping,
    /// The store does not answer.
    Store,
    /// The certificate for browsers is over.
    Certificate,
}

impl Trouble {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Store => "store",
            Self::Certificate => "certificate",
        }
    }
}

impl Report {
    /// What keeps the gate from letting people in; nothing if it is ready. That Proxmox VE does not answer is
    /// not among it: the gate tells people so, and restarting it would not help.
    #[must_use]
    pub fn trouble(&self) -> Vec<Trouble> {
        let is_over = |own: &OwnCertificate| own.role == CertificateRole::Server && self.at > own.not_after;
        [
            (self.stopping, Trouble::Stopping),
            (self.kept.is_none(), Trouble::Store),
            (self.certificates.iter().any(is_over), Trouble::Certificate),
        ]
        .into_iter()
        .filter_map(|(is_so, trouble)| is_so.then_some(trouble))
        .collect()
    }

    /// As `pvegate status --json` prints it. The names are an interface.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let words: Vec<_> = self.trouble().into_iter().map(Trouble::as_str).collect();
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "address": node.address,
                    "trust": node.trust.as_str(),
                    "connected_in_millis": node.connected_in.map(|took| took.as_millis()),
                    "up": node.down.is_none(),
                    "down_since": node.down.as_ref().map(|down| down.since.to_string()),
                    "why": node.down.as_ref().map(|down| down.why.as_str()),
                })
            })
            .collect();
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|own| {
                let days = own.not_after.since(self.at).as_secs() / (24 * 3600);
                json!({ "role": own.role.as_str(), "not_after": own.not_after.to_string(), "days_left": days })
            })
            .collect();
        json!({
            "version": VERSION,
            "commit": COMMIT,
            "pid": self.pid,
            "at": self.at.to_string(),
            "started_at": self.started_at.to_string(),
            "url": self.url,
            "listen": self.listen,
            "ready": words.is_empty(),
            "trouble": words,
            "connections": self.connections,
            "websockets": self.websockets,
            "sessions": self.sessions,
            "users": self.kept.map(|kept| json!({
                "active": kept.active, "pending": kept.pending, "disabled": kept.disabled,
                "enrolled": kept.enrolled,
            })),
            "bans": self.kept.map(|kept| kept.bans),
            "upstream": nodes,
            "clock_offset_millis": self.clock_offset_millis,
            "certificates": certificates,
            "config": {
                "read_at": self.configuration.read_at.to_string(),
                "reload": if self.configuration.taken { "ok" } else { "failed" },
            },
            "audit_write_errors": self.audit_lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Down, Trust, Why};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn report() -> Report {
        Report {
            at: at(1000),
            started_at: at(0),
            pid: 7,
            url: "https://pve.example.com".to_owned(),
            listen: Vec::new(),
            stopping: false,
            connections: 0,
            websockets: 0,
            sessions: 0,
            kept: Some(Kept::default()),
            nodes: Vec::new(),
            clock_offset_millis: None,
            certificates: vec![OwnCertificate { role: CertificateRole::Server, not_after: at(1000) }],
            configuration: Configuration { read_at: at(0), taken: true },
            audit_lost: 0,
        }
    }

    #[test]
    fn a_gate_is_ready_unless_it_stops_or_store_or_certificate_fail_it() {
        let down = Node {
            address: "n:8006".to_owned(),
            trust: Trust::Pin,
            connected_in: None,
            down: Some(Down { since: at(0), why: Why::Refused }),
        };
        let old = |role| vec![OwnCertificate { role, not_after: at(999) }];
        #[rustfmt::skip]
        let table = [
            ("all is well, to the last second",      report(),                                                                   vec![]),
            ("Proxmox VE is down",                   Report { nodes: vec![down], ..report() },                                   vec![]),
            ("it stops",                             Report { stopping: true, ..report() },                                      vec![Trouble::Stopping]),
            ("the store is silent",                  Report { kept: None, ..report() },                                          vec![Trouble::Store]),
            ("the certificate is over",              Report { certificates: old(CertificateRole::Server), ..report() },          vec![Trouble::Certificate]),
            ("the authority is over, the leaf good", Report { certificates: old(CertificateRole::LocalCa), ..report() },         vec![]),
        ];
        for (case, report, trouble) in table {
            assert_eq!(report.trouble(), trouble, "{case}");
        }
    }
}
