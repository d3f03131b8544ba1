//! What happened at the door: the closed list of events, and where they are written.
//!
//! An event is an [`Event`], never a message: its JSON line (names of the Elastic Common Schema) is
//! an interface for SIEMs, its short line one for people and fail2ban. Neither ever holds a code, a
//! token, a cookie, a secret, a query string or a body. Writing happens on a thread of its own; a full
//! disk or a slow one loses audit lines and counts them, and stops nobody at the gate.

mod count;
mod event;
mod flood;
mod history;
mod log;

use std::path::PathBuf;

pub use event::{Action, Changed, Event, FailedMethod, Outcome, Reason};
pub use log::{Log, OpenError};

/// Where audit events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// JSON lines are appended to this file; `None` writes none.
    pub file: Option<PathBuf>,
    /// Whether the short line goes to the log, for people and fail2ban.
    pub line: bool,
}
