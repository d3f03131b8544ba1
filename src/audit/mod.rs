//! What happened at the door: the closed list of events, and where they are written.
//!
//! An event is an [`Event`], never a message: its JSON (names of the Elastic Common Schema) is
//! an interface for SIEMs, its short line one for people and fail2ban. Neither ever holds a code, a
//! token, a cookie, a secret, a query string or a body. Each place that events go to has a queue and a thread
//! of its own; a full disk or a collector that hangs loses audit lines and counts them, and stops nobody at
//! the gate.

mod asking;
pub mod chain;
mod count;
mod event;
mod file;
mod flood;
mod history;
mod journal;
mod log;
mod queue;
pub mod record;
pub mod rotated;
pub mod syslog;

use std::path::PathBuf;

pub use asking::{Asking, Tls, request_id};
pub use event::{Action, Changed, Event, FailedMethod, Outcome, Reason};
pub use journal::is_journal;
pub use log::{Log, OpenError};
pub use queue::SinkState;

/// Where audit events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// JSON lines are appended to this file; `None` writes none.
    pub file: Option<PathBuf>,
    /// Where the short line goes, for people and fail2ban.
    pub line: Line,
    /// The collector that every event is sent to.
    pub syslog: Option<syslog::Collector>,
}

impl Settings {
    /// Nowhere.
    pub const NONE: Self = Self { file: None, line: Line::Nowhere, syslog: None };
}

/// Where the short line goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Nowhere: a verb of the command line talks to whoever typed it.
    Nowhere,
    /// To the log.
    Log,
    /// To the journal's socket, with the fields.
    Journal(PathBuf),
}
