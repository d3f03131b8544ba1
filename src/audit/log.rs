//! Where events are written: a thread of its own appends them to the file.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use super::{Event, Settings, count, flood::Floods, history::Waiting};
use crate::{
    metrics::Metrics,
    store::NewEntry,
    time::{Clock, Timestamp},
};

/// Events that wait for the disk; past this they are lost and counted.
const QUEUE: usize = 4096;

/// Takes events. Cheap to clone; what was recorded is written before the last clone is gone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    line: bool,
    sequence: AtomicU64,
    lost: Arc<AtomicU64>,
    to_file: Option<mpsc::SyncSender<Work>>,
    floods: Mutex<Floods>,
    watcher: OnceLock<Watcher>,
    metrics: OnceLock<Arc<Metrics>>,
    history: Waiting,
}

type Watcher = Box<dyn Fn(&Event) + Send + Sync>;

enum Work {
    Line(String),
    Flush(mpsc::SyncSender<()>),
}

/// Why the audit file can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {} can't be written by user id {uid}; give that user the directory, or set audit.file", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Whom the program runs as.
    pub uid: u32,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Log {
    /// Opens the file, if there is to be one.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lost = Arc::new(AtomicU64::new(0));
        let to_file = match &settings.file {
            None => None,
            Some(path) => {
                let failed =
                    |source| OpenError { path: path.clone(), uid: nix::unistd::geteuid().as_raw(), source };
                let file = fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o640)
                    .open(path)
                    .map_err(failed)?;
                Some(start_writer(file, lost.clone()).map_err(failed)?)
            }
        };
        let inner = Inner {
            clock,
            line: settings.line,
            sequence: AtomicU64::new(0),
            lost,
            to_file,
            floods: Mutex::default(),
            watcher: OnceLock::new(),
            metrics: OnceLock::new(),
            history: Waiting::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Shows every event to somebody else too, folded or not, before it is written. One watcher a log: a
    /// second is not taken.
    pub fn watch(&self, watcher: impl Fn(&Event) + Send + Sync + 'static) {
        let _ = self.inner.watcher.set(Box::new(watcher));
    }

    /// Counts every event here from now on, folded or not. A second place is not taken.
    pub fn count_in(&self, metrics: Arc<Metrics>) {
        let _ = self.inner.metrics.set(metrics);
    }

    /// Records an event. Never blocks. Floods of refusals are folded, see `flood`.
    pub fn record(&self, event: &Event) {
        if let Some(watcher) = self.inner.watcher.get() {
            watcher(event);
        }
        if let Some(metrics) = self.inner.metrics.get() {
            count::count(event, metrics);
        }
        let now = self.inner.clock.now();
        self.inner.history.hear(event, now);
        if self.inner.floods().is_to_be_written(event, now) {
            self.inner.write(event, now);
        }
    }

    /// Writes the lines of floods whose minute is over. Call it every now and then.
    pub fn write_floods(&self) {
        let now = self.inner.clock.now();
        let due = self.inner.floods().due(now);
        for event in due {
            self.inner.write(&event, now);
        }
    }

    /// What concerned somebody's account since the last call, for the store to keep for its owner.
    #[must_use]
    pub fn take_history(&self) -> Vec<NewEntry> {
        self.inner.history.take()
    }

    /// Waits until what was recorded is in the file.
    pub fn flush(&self) {
        self.inner.flush();
    }

    /// Events that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn floods(&self) -> std::sync::MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &Event, now: Timestamp) {
        if self.line {
            let client = event.client.map(tracing::field::display);
            tracing::info!(target: "pvegate::audit", { client.address = client }, "{}", event.to_line());
        }
        if let Some(to_file) = &self.to_file {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            if to_file.try_send(Work::Line(event.to_json(now, sequence))).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {
        if let Some(to_file) = &self.to_file {
            let (done, wait) = mpsc::sync_channel(1);
            if to_file.send(Work::Flush(done)).is_ok() {
                let _ = wait.recv();
            }
        }
    }
}

/// A verb of the command line ends right after its last event, and would take the writer with it.
impl Drop for Inner {
    fn drop(&mut self) {
        let now = self.clock.now();
        let rest = self.floods().rest();
        for event in rest {
            self.write(&event, now);
        }
        self.flush();
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

fn start_writer(mut file: fs::File, lost: Arc<AtomicU64>) -> io::Result<mpsc::SyncSender<Work>> {
    let (sender, work) = mpsc::sync_channel(QUEUE);
    thread::Builder::new().name("audit".into()).spawn(move || {
        for work in work {
            match work {
                Work::Line(line) => {
                    // One write a line: lines of several processes do not mix (O_APPEND).
                    if let Err(error) = file.write_all(format!("{line}\n").as_bytes())
                        && lost.fetch_add(1, Ordering::Relaxed) == 0
                    {
                        tracing::error!(error = %error, "audit events are being lost");
                    }
                }
                Work::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Action, Outcome},
        time::SystemClock,
    };

    #[test]
    fn what_was_recorded_is_in_the_file_when_the_last_clone_is_gone() {
        let path = std::env::temp_dir().join(format!("pvegate-audit-{}.jsonl", std::process::id()));
        let settings = Settings { file: Some(path.clone()), line: false };
        for run in 1..=50 {
            let log = Log::open(&settings, Arc::new(SystemClock)).unwrap();
            log.clone().record(&Event::new(Action::Start, Outcome::Success));
            drop(log);

            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), run);
        }
        fs::remove_file(path).unwrap();
    }
}
