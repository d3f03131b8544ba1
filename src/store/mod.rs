//! Where gates and the command line meet.

use std::path::PathBuf;

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The SQLite file.
    pub path: PathBuf,
}
