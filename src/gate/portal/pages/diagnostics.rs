//! What the checks of a running gate find.

use super::rendered;
use crate::{
    check::{Finding, Severity, Summary},
    gate::portal::words::Language,
    time::Timestamp,
};

/// `/_gate/admin/diagnostics`: a row for each finding, the gravest of a check by its severity. Findings are in
/// English: they quote `pvegate check`.
#[derive(Debug, Clone, Copy)]
pub struct Diagnostics<'a> {
    /// What was found, in the order of the checks.
    pub findings: &'a [Finding],
    /// How the checks ended.
    pub summary: Summary,
    /// When.
    pub checked_at: Timestamp,
}

impl Diagnostics<'_> {
    fn severity(&self, w: Language, finding: &Finding) -> &'static str {
        match finding.severity {
            Severity::Ok => w.check_ok(),
            Severity::Info => w.check_info(),
            Severity::Warning => w.check_warning(),
            Severity::Problem => w.check_problem(),
        }
    }
}

rendered!(Diagnostics<'t>, "diagnostics.html");
