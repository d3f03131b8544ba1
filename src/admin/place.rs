//! Putting a file where it belongs, in one go: whoever looks sees the old one or the new one, whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Exit, Failure};
use crate::ownership;

/// Behind the name of what was there before.
pub(super) const BEFORE: &str = ".before-restore";

/// Whose a file becomes that root writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Whoever runs this.
    Us,
    /// Whoever has the directory around it.
    OfTheDirectory,
}

/// A file that lies, whole and on disk, beside the place that it is for. Removed unless it is placed.
#[derive(Debug)]
pub(super) struct Placing {
    staged: PathBuf,
    path: PathBuf,
}

impl Placing {
    /// Writes it beside its place, in a directory that is there.
    pub(super) fn stage(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Failure> {
        Self::written(path, bytes, mode, Owner::Us)
    }

    /// The same for a file of the gate. The directory is made where it is missing, and opens to as many as the
    /// file does; the file is its directory's owner's, so that root can do this for the gate's own user.
    pub(super) fn stage_for_the_gate(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Failure> {
        let directory = directory(path);
        let search = (mode & 0o444) >> 2;
        let made = DirBuilder::new().recursive(true).mode(mode | search | 0o100).create(directory);
        made.map_err(|error| unwritable(directory, &error))?;
        Self::written(path, bytes, mode, Owner::OfTheDirectory)
    }

    fn written(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<Self, Failure> {
        let placing = Self { staged: beside(path, ".new"), path: path.to_owned() };
        placing.write(bytes, mode, owner).map_err(|error| unwritable(path, &error))?;
        Ok(placing)
    }

    fn write(&self, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
        match fs::remove_file(&self.staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.staged)?;
        match owner {
            Owner::Us => {}
            Owner::OfTheDirectory => ownership::as_around(&file, &self.staged)?,
        }
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Puts it there.
    pub(super) fn place(self) -> Result<(), Failure> {
        fs::rename(&self.staged, &self.path)
            .and_then(|()| File::open(directory(&self.path))?.sync_all())
            .map_err(|error| unwritable(&self.path, &error))
    }

    /// The same; what is there stays beside it, with [`BEFORE`] behind its name. What an earlier one kept stays
    /// too, and this one gets a number: whoever takes the wrong backup at first still has what was there.
    pub(super) fn place_and_keep(self) -> Result<(), Failure> {
        if self.path.exists() {
            for number in 1_u32.. {
                let what = if number == 1 { BEFORE.to_owned() } else { format!("{BEFORE}.{number}") };
                let before = beside(&self.path, &what);
                match fs::hard_link(&self.path, &before) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(unwritable(&before, &error)),
                }
            }
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

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{MetadataExt as _, chown, symlink},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    /// The user of the directory swaps the file for a link as fast as they can. As another user than root
    /// nothing is given away, and the test holds by itself.
    #[test]
    fn no_file_but_the_one_that_was_written_changes_its_owner() {
        let scratch = std::env::temp_dir().join(format!("pvegate-place-{}", std::process::id()));
        let directory = scratch.join("theirs");
        fs::create_dir_all(&directory).unwrap();
        let (victim, path) = (scratch.join("victim"), directory.join("store.db"));
        fs::write(&victim, "root's").unwrap();
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        let ours = owner(&victim);
        let theirs = if nix::unistd::geteuid().is_root() { 4711 } else { ours };
        chown(&directory, Some(theirs), None).unwrap();
        let over = AtomicBool::new(false);

        thread::scope(|scope| {
            scope.spawn(|| {
                let (staged, link) = (beside(&path, ".new"), directory.join("link"));
                while !over.load(Ordering::Relaxed) {
                    let _ = symlink(&victim, &link).and_then(|()| fs::rename(&link, &staged));
                }
            });
            for _ in 0..300 {
                let _ = Placing::stage_for_the_gate(&path, b"store", 0o600);
            }
            over.store(true, Ordering::Relaxed);
        });
        Placing::stage_for_the_gate(&path, b"store", 0o600).unwrap().place().unwrap();

        assert_eq!((owner(&victim), owner(&path)), (ours, theirs));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "root's");
        fs::remove_dir_all(&scratch).unwrap();
    }
}
