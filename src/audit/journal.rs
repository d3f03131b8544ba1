//! Events in systemd's journal: the short line as `MESSAGE`, the fields beside it.
//!
//! The protocol is that of <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>: one datagram an entry. Field names
//! are those of the Elastic Common Schema in capitals, with `_` for `.`.

use std::{
    ffi::OsStr,
    io,
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Outcome,
    queue::Delivery,
    record::{Record, flat},
};

/// Whether stderr goes to the journal. `stream` is `$JOURNAL_STREAM`, which systemd sets to the device and
/// inode of what it gave as stderr (systemd.exec(5)).
#[must_use]
pub fn is_journal(stream: Option<&OsStr>) -> bool {
    let found = std::fs::metadata("/proc/self/fd/2").ok().map(|it| format!("{}:{}", it.dev(), it.ino()));
    stream.zip(found).is_some_and(|(stream, found)| stream == OsStr::new(&found))
}

/// The journal's socket.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None }
    }

    /// Sends entries until one does not go.
    pub(super) fn send(&mut self, records: &[Arc<Record>]) -> Delivery {
        for (sent, record) in records.iter().enumerate() {
            if let Err(error) = self.send_one(record) {
                self.socket = None;
                return (sent, Err(error));
            }
        }
        (records.len(), Ok(()))
    }

    fn send_one(&mut self, record: &Record) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                // A journal that hangs must not hold this thread: what does not go is tried again.
                socket.set_nonblocking(true)?;
                socket.connect(&self.path)?;
                self.socket.insert(socket)
            }
        };
        socket.send(&entry(record)).map(|_| ())
    }
}

/// An entry of the journal.
fn entry(record: &Record) -> Vec<u8> {
    let mut entry = Vec::new();
    let priority = match record.outcome {
        Outcome::Success => "6",
        Outcome::Failure => "4",
    };
    put(&mut entry, "MESSAGE", &record.line);
    put(&mut entry, "PRIORITY", priority);
    put(&mut entry, "SYSLOG_IDENTIFIER", "pvegate");
    for (name, value) in flat(&record.value) {
        let name = name.trim_start_matches('@').replace('.', "_").to_ascii_uppercase();
        match value {
            Value::Array(all) => all.iter().for_each(|one| put(&mut entry, &name, &text(one))),
            one => put(&mut entry, &name, &text(one)),
        }
    }
    entry
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Always with its length: a line feed in a value begins no field.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}
