//! The audit file: one line an event, each joined to the one before.
//!
//! The gate and every verb of the command line write the same file, and logrotate takes it away. Whoever
//! writes holds a lock, reads the end of the file unless nobody else wrote, and appends what follows from
//! it. The lock is on a file beside it, which only root and the gate can open: on the audit file itself,
//! whoever may read it could hold them up. Waiting for the lock is bounded; so is a failed write, which
//! leaves no half line behind. What a crash left of one is set aside.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    chain::{self, Head},
    queue::Delivery,
    record::Record,
    rotated,
};
use crate::{ownership, secret::MacKey};

/// How often the lock is tried, and how many times: one second in all. Whoever holds it writes a few lines.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A file, and where its chain ends.
pub(super) struct AuditFile {
    path: PathBuf,
    lock: PathBuf,
    torn: PathBuf,
    key: Option<MacKey>,
    open: Option<Open>,
    /// Where the chain ended when we last wrote or read.
    head: Head,
}

struct Open {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// The length after our last line: another one means that somebody else wrote.
    length: Option<u64>,
}

impl AuditFile {
    /// Opens it, and sets aside what a crash left at its end.
    ///
    /// # Errors
    ///
    /// The system's. That a disk is full is none: lines wait until it is not.
    pub(super) fn open(path: &Path, key: Option<MacKey>) -> io::Result<Self> {
        let beside = |what: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(what);
            path.with_file_name(name)
        };
        let (lock, torn) = (beside(".lock"), beside(".torn"));
        let mut file = Self { path: path.to_owned(), lock, torn, key, open: None, head: Head::NONE };
        match file.locked(|file| file.adopt().map(|_| ())) {
            Err(error) if !is_for_now(&error) => Err(error),
            Ok(()) | Err(_) => Ok(file),
        }
    }

    /// Appends events, all or none.
    pub(super) fn append(&mut self, records: &[Arc<Record>]) -> Delivery {
        let result = self.locked(|file| {
            let (mut handle, length) = file.adopt()?;
            let (mut head, mut text) = (file.head, String::new());
            for record in records {
                let (line, next) = chain::link(&record.value, head, file.key.as_ref());
                text.push_str(&line);
                text.push('\n');
                head = next;
            }
            if let Err(error) = handle.write_all(text.as_bytes()) {
                if let Some(length) = length {
                    // Half a line would have to be set aside by somebody.
                    handle.set_len(length)?;
                }
                return Err(error);
            }
            file.head = head;
            if let Some(open) = &mut file.open {
                open.length = length.map(|length| length + text.len() as u64);
            }
            Ok(())
        });
        (if result.is_ok() { records.len() } else { 0 }, result)
    }

    /// Lets go of the file: logrotate moved it, or is about to compress it.
    pub(super) fn reopen(&mut self) {
        self.open = None;
    }

    fn locked(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let lock = open_owned(&self.lock, 0o600)?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return work(self),
                Err(TryLockError::WouldBlock) => pause(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let message = format!("{} is locked by another process", self.lock.display());
        Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
    }

    /// The file that is there now, and its length if it has one; finds out where the chain ends.
    fn adopt(&mut self) -> io::Result<(File, Option<u64>)> {
        let there = fs::metadata(&self.path).ok().map(|it| (it.dev(), it.ino()));
        let stays = self.open.as_ref().is_some_and(|open| Some(open.id) == there);
        let before = if stays { None } else { self.open.take() };
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let file = open_owned(&self.path, 0o640)?;
                let metadata = file.metadata()?;
                Open { file, id: (metadata.dev(), metadata.ino()), length: None }
            }
        };
        let metadata = open.file.metadata()?;
        let length = metadata.is_file().then_some(metadata.len());
        let handle = open.file.try_clone()?;
        let known = open.length.is_some() && open.length == length;
        self.open = Some(open);
        let Some(mut length) = length else { return Ok((handle, None)) };
        if !known {
            length = self.set_aside(&handle, length)?;
            let found = match last(&handle, length)? {
                Some(head) => Some(head),
                None => match rotated::newest_head(&self.path) {
                    Some(head) => Some(head),
                    None => before.and_then(|open| last_of(&open.file)),
                },
            };
            // A file that was cut short under us does not begin the chain anew: the gap is to be seen.
            if let Some(head) = found.filter(|head| head.sequence >= self.head.sequence) {
                self.head = head;
            }
        }
        Ok((handle, Some(length)))
    }

    /// Moves what stands behind the last line's end to a file of its own, and gives the length that is left.
    fn set_aside(&self, file: &File, length: u64) -> io::Result<u64> {
        let tail = tail(file, length, |tail| tail.contains(&b'\n'))?;
        let rest = tail.iter().rev().take_while(|byte| **byte != b'\n').count();
        if rest == 0 {
            return Ok(length);
        }
        let fragment = tail.get(tail.len() - rest..).unwrap_or_default();
        let mut torn = open_owned(&self.torn, 0o640)?;
        torn.write_all(&[fragment, b"\n"].concat())?;
        let length = length - rest as u64;
        file.set_len(length)?;
        tracing::warn!(
            file = %self.path.display(), aside = %self.torn.display(), bytes = rest,
            "the last line of the audit file was incomplete, and was set aside"
        );
        Ok(length)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, and no lock can be waited for with a deadline"
)]
fn pause() {
    thread::sleep(LOCK_PAUSE);
}

/// What may be otherwise in a moment, and keeps no gate from starting.
fn is_for_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ResourceBusy
    )
}

/// Opens a file to read and append. Where root makes it, it belongs to whoever has the directory: the gate
/// is to write it, too. A link is not followed: root writes here, and the directory is not root's.
fn open_owned(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).append(true).mode(mode).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        Ok(file) => {
            ownership::as_around(&file, path)?;
            Ok(file)
        }
        // Somebody was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create_new(false).open(path),
        Err(error) => Err(error),
    }
}

fn last_of(file: &File) -> Option<Head> {
    let length = file.metadata().ok()?.len();
    last(file, length).ok().flatten()
}

/// Where the chain ends in a file: its last line that is one.
fn last(file: &File, length: u64) -> io::Result<Option<Head>> {
    let head = |tail: &[u8]| heads(tail).next_back();
    // Two line ends have a whole line between them.
    let tail = tail(file, length, |tail| tail.iter().filter(|byte| **byte == b'\n').count() > 1)?;
    Ok(head(&tail))
}

/// The heads that the whole lines make.
pub(super) fn heads(text: &[u8]) -> impl DoubleEndedIterator<Item = Head> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| Some(chain::check(std::str::from_utf8(line).ok()?, None).ok()?.head))
}

/// The end of a file, so much of it that `enough` is content, or all.
fn tail(mut file: &File, length: u64, enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut size = 16 * 1024;
    loop {
        let from = length.saturating_sub(size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.take(length - from).read_to_end(&mut bytes)?;
        if from == 0 || enough(&bytes) {
            return Ok(bytes);
        }
        size *= 4;
    }
}

#[cfg(test)]
mod tests;
