//! Files that root makes for the service.
//!
//! Verbs run as root beside a gate that runs as a user of its own. What they make in the service's
//! directories (the database at first, the audit file after a rotation) must be that user's, or the gate
//! could not write to it any more: a new file gets the owner of the directory that it is in. As any other
//! user nothing happens.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, fchown},
    path::Path,
};

/// Gives a file that this process has just made at `path`, with `create_new`, to the owner of the directory
/// around it. By its handle: what lies at the path by now may be something else.
///
/// # Errors
///
/// What the system said; the file is root's then.
pub(crate) fn as_around(made: &File, path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let Some(around) = path.parent().filter(|around| !around.as_os_str().is_empty()) else { return Ok(()) };
    let around = fs::metadata(around)?;
    fchown(made, Some(around.uid()), Some(around.gid()))
}
