//! What the system gives: disk for the store and the audit file, descriptors, the unit's sandbox.

use std::path::PathBuf;

use super::{Finding, Id};

const MIB: u64 = 1024 * 1024;

/// With less disk than this, somebody should look.
const LITTLE: u64 = 512 * MIB;

/// With less than this, writing will fail soon.
const VERY_LITTLE: u64 = 64 * MIB;

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file or directory.
    pub path: PathBuf,
    /// Why it can't be written, if it can't.
    pub unwritable: Option<String>,
    /// Bytes free for us on its disk.
    pub free: Option<u64>,
}

/// Judges where audit events and the store are written. No audit file is a choice.
#[must_use]
pub fn judge_audit(audit: Option<&Place>, store: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in audit.into_iter().chain([store]) {
        let path = place.path.display();
        if let Some(reason) = &place.unwritable {
            findings.push(Finding::problem(
                Id::Audit,
                format!("{path} can't be written: {reason}"),
                "give it to the user that the gate runs as",
            ));
        }
        let Some(free) = place.free.filter(|free| *free < LITTLE) else { continue };
        let text = format!("{path}: {} MiB of disk are free", free / MIB);
        let hint = "make room: on a full disk nothing is recorded and nobody new signs in";
        findings.push(if free < VERY_LITTLE {
            Finding::problem(Id::Audit, text, hint)
        } else {
            Finding::warning(Id::Audit, text, hint)
        });
    }
    if findings.is_empty() {
        let free = |place: &Place| match place.free {
            Some(free) => format!(", {} MiB free", free / MIB),
            None => String::new(),
        };
        findings.push(match audit {
            Some(place) => Finding::ok(Id::Audit, format!("{}{}", place.path.display(), free(place))),
            None => Finding::info(Id::Audit, "audit.file is empty: events go to the journal alone"),
        });
    }
    findings
}

/// Descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// How many the gate can have.
    pub limit: u64,
    /// Connections that the configuration permits.
    pub max_connections: usize,
}

/// Besides connections: listeners, the store, files.
const RESERVE: u64 = 64;

impl Descriptors {
    /// How many the gate may need: each client connection has one to a node beside it.
    #[must_use]
    pub fn wanted(self) -> u64 {
        let connections = u64::try_from(self.max_connections).unwrap_or(u64::MAX);
        connections.saturating_mul(2).saturating_add(RESERVE)
    }
}

/// Judges whether descriptors are enough.
#[must_use]
pub fn judge_limits(descriptors: Descriptors) -> Vec<Finding> {
    let Descriptors { limit, max_connections } = descriptors;
    let wanted = descriptors.wanted();
    vec![if limit < wanted {
        Finding::warning(
            Id::Limits,
            format!("{limit} descriptors; {max_connections} connections may need {wanted}"),
            format!("LimitNOFILE={wanted} in the unit, or a lower server.max_connections"),
        )
    } else {
        Finding::ok(Id::Limits, format!("{limit} descriptors for {max_connections} connections"))
    }]
}

/// Tells the exposure of the unit, as `systemd-analyze security` prints it.
#[must_use]
pub fn judge_systemd(printed: Option<&str>) -> Vec<Finding> {
    let line = printed.and_then(|text| text.lines().find(|line| line.contains("Overall exposure level")));
    let score = line.and_then(|line| line.rsplit_once(": ")).map(|(_, score)| score);
    vec![match score {
        // The last word is a picture of a face.
        Some(score) => {
            let number = score.split_whitespace().next().unwrap_or(score);
            Finding::info(Id::Systemd, format!("pvegate.service has exposure {number} of 10"))
        }
        None => Finding::info(Id::Systemd, "no unit pvegate.service here"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Info, Ok as Good, Problem, Warning};

    fn told(findings: &[Finding]) -> Vec<(Severity, &str)> {
        findings.iter().map(|f| (f.severity, f.text.as_str())).collect()
    }

    #[test]
    fn disks_are_judged_by_what_is_free() {
        let place = |path: &str, free| Place { path: path.into(), unwritable: None, free: Some(free) };
        let store = place("/s", LITTLE);
        #[rustfmt::skip]
        let table = [
            (Some(place("/a", LITTLE)),            Good,    "/a, 512 MiB free"),
            (Some(place("/a", LITTLE - 1)),        Warning, "/a: 511 MiB of disk are free"),
            (Some(place("/a", VERY_LITTLE)),       Warning, "/a: 64 MiB of disk are free"),
            (Some(place("/a", VERY_LITTLE - 1)),   Problem, "/a: 63 MiB of disk are free"),
            (None,                                 Info,    "audit.file is empty: events go to the journal alone"),
            (Some(Place { unwritable: Some("read-only".into()), ..place("/a", LITTLE) }), Problem, "/a can't be written: read-only"),
        ];
        for (audit, severity, text) in table {
            assert_eq!(told(&judge_audit(audit.as_ref(), &store)), [(severity, text)]);
        }
        assert_eq!(told(&judge_audit(None, &place("/s", 0))), [(Problem, "/s: 0 MiB of disk are free")]);
    }

    #[test]
    fn every_connection_needs_two_descriptors() {
        let judged = |limit| judge_limits(Descriptors { limit, max_connections: 1000 });

        assert_eq!(told(&judged(2064)), [(Good, "2064 descriptors for 1000 connections")]);
        assert_eq!(told(&judged(2063)), [(Warning, "2063 descriptors; 1000 connections may need 2064")]);
    }

    #[test]
    fn the_units_exposure_is_the_number_that_systemd_prints() {
        let printed = "x\n→ Overall exposure level for pvegate.service: 1.2 OK 🙂\n";

        assert_eq!(told(&judge_systemd(Some(printed))), [(Info, "pvegate.service has exposure 1.2 of 10")]);
        assert_eq!(told(&judge_systemd(None)), [(Info, "no unit pvegate.service here")]);
    }
}
