//! Logs for the operator who debugs.

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
