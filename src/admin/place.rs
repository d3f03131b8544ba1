//! Putting a file where it belongs, in one go: whoever looks sees the old one or the new one, whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use super::{Exit, Failure};

/// Behind the name of what was there before.
pub(super) const BEFORE: &str = ".before-restore";

/// A file that lies, whole and on disk, beside the place that it is for. Removed unless it is placed.
#[derive(Debug)]
pub(super) struct Placing {
    staged: PathBuf,
    path: PathBuf,
}

impl Placing {
    /// Writes it beside its place, in a directory that is there.
    pub(super) fn stage(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Failure> {
        let placing = Self { staged: beside(path, ".new"), path: path.to_owned() };
        placing.write(bytes, mode).map_err(|error| unwritable(path, &error))?;
        Ok(placing)
    }

    /// The same for a file of the gate. The directory is made where it is missing, and opens to as many as the
    /// file does; the file is its directory's owner's, so that root can do this for the gate's own user.
    pub(super) fn stage_for_the_gate(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Failure> {
        let directory = directory(path);
        let search = (mode & 0o444) >> 2;
        let made = DirBuilder::new().recursive(true).mode(mode | search | 0o100).create(directory);
        made.map_err(|error| unwritable(directory, &error))?;
        let placing = Self::stage(path, bytes, mode)?;
        let owned = || {
            if nix::unistd::geteuid().is_root() {
                let owner = fs::metadata(directory)?;
                chown(&placing.staged, Some(owner.uid()), Some(owner.gid()))?;
            }
            Ok(())
        };
        owned().map_err(|error| unwritable(path, &error))?;
        Ok(placing)
    }

    fn write(&self, bytes: &[u8], mode: u32) -> io::Result<()> {
        match fs::remove_file(&self.staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.staged)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Puts it there.
    pub(super) fn place(self) -> Result<(), Failure> {
        fs::rename(&self.staged, &self.path)
            .and_then(|()| File::open(directory(&self.path))?.sync_all())
            .map_err(|error| unwritable(&self.path, &error))
    }

    /// The same; what is there stays beside it, with [`BEFORE`] behind its name.
    pub(super) fn place_and_keep(self) -> Result<(), Failure> {
        if self.path.exists() {
            let before = beside(&self.path, BEFORE);
            let kept = match fs::remove_file(&before) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => fs::hard_link(&self.path, &before),
            };
            kept.map_err(|error| unwritable(&before, &error))?;
        }
        self.place()
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        // It is there no more once it was placed.
        let _ = fs::remove_file(&self.staged);
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    name.into()
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} can't be written: {error}", path.display()))
}
