//! Which events are counted, and as what.

use super::{Action, Event, Outcome};
use crate::metrics::{self, Metrics};

/// Counts an event. One that stands for several of its kind counts once: it is shown before it is folded.
pub(super) fn count(event: &Event, metrics: &Metrics) {
    metrics.audit_event();
    let outcome = match event.outcome {
        Outcome::Success => metrics::Outcome::Success,
        Outcome::Failure => metrics::Outcome::Failure,
    };
    match (event.action, event.outcome) {
        // A recovery code that is right is followed by the sign-in that it led to.
        (Action::SignIn, _) | (Action::RecoveryUse, Outcome::Failure) => {
            metrics.sign_in(event.method.map_or("unknown", |method| method.0), outcome);
        }
        (Action::Refuse | Action::ApiTokenRefuse, _) => {
            metrics.refused(event.reason.as_ref().map_or("unknown", |reason| reason.word));
        }
        _ => {}
    }
}
