//! Logs for the operator who debugs: to stderr, as text on a terminal and as JSON elsewhere; and, in
//! [`listener`], the address at which the gate is watched.
//!
//! What is logged follows one rule everywhere: never a code, cookie, token, key, password or query.

pub mod listener;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

pub use listener::Watched;

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A level (`info`) or a filter (`info,pvegate::gate=debug`).
    pub level: String,
    /// The shape of a line.
    pub format: Format,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log, for the rest of the process. A second call changes nothing.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let json = match settings.format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    // Fails only where somebody logs already, a test for instance.
    let _ = if json {
        lines.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    };
}
