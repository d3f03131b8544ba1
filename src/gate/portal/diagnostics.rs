//! `/_gate/admin/diagnostics`: those checks of `pvegate check` that a gate can make while it runs, made anew for
//! each visit.
//!
//! Policy lets only administrators come here. What is checked is not known here: the gate is given something to
//! ask ([`crate::check::Examine`]).

use http::StatusCode;

use super::{Answer, Visit, pages::Diagnostics};
use crate::{check::Summary, gate::Gate};

impl Gate {
    /// What the checks find now.
    pub(super) async fn diagnostics_page(&self, visit: &Visit<'_>) -> Answer {
        let findings = (self.examine)().await;
        // They took their time, and the page compares the browser's clock with the gate's.
        let now = self.clock.now();
        let page = Diagnostics { findings: &findings, summary: Summary::of(&findings), checked_at: now };
        Ok(self.portal.page(StatusCode::OK, visit.head, now, |look| page.render(look)))
    }
}
