//! Takes events and gives them to the places that they go to.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    Action, Asking, Event, Line, Outcome, Settings, count,
    file::AuditFile,
    flood::Floods,
    history::Waiting,
    journal::Journal,
    queue::{Sink, SinkState},
    record::Record,
    syslog::Syslog,
};
use crate::{
    metrics::Metrics,
    secret::Key,
    store::NewEntry,
    time::{Clock, Timestamp},
};

/// How long the end of the program waits for a place that takes nothing.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Takes events. Cheap to clone; what was recorded is written before the last clone is gone, unless a place
/// takes nothing for seconds.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    host: String,
    line: bool,
    sinks: Vec<Sink>,
    reopen: Arc<AtomicBool>,
    floods: Mutex<Floods>,
    watcher: OnceLock<Watcher>,
    metrics: OnceLock<Arc<Metrics>>,
    history: Waiting,
}

type Watcher = Box<dyn Fn(&Event) + Send + Sync>;

/// Why events can't be recorded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be written.
    #[error("the audit file {} can't be written by user id {uid}; give that user the directory, or set audit.file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Whom the program runs as.
        uid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no thread for a place that events go to.
    #[error("there is no thread to write audit events")]
    Thread(#[source] io::Error),
}

impl Log {
    /// Opens the file, if there is to be one, and begins to wait for events. The lines of the file are sealed
    /// under `key`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>, key: Option<Key>) -> Result<Self, OpenError> {
        let host = host_name();
        let reopen = Arc::new(AtomicBool::new(false));
        let lost = || {
            let (clock, host) = (clock.clone(), host.clone());
            move |count| {
                let event = Event::new(Action::AuditLost, Outcome::Failure).times(count);
                Record::of(&event, clock.now(), None, &host)
            }
        };
        let mut sinks = Vec::new();
        if let Some(path) = &settings.file {
            let key = key.map(|key| key.for_macs());
            let mut file = AuditFile::open(path, key).map_err(|source| OpenError::File {
                path: path.clone(),
                uid: nix::unistd::geteuid().as_raw(),
                source,
            })?;
            let reopen = reopen.clone();
            let append = move |records: &[Arc<Record>]| {
                if reopen.swap(false, Ordering::Relaxed) {
                    file.reopen();
                }
                file.append(records)
            };
            sinks.push(Sink::start("file", append, lost()).map_err(OpenError::Thread)?);
        }
        if let Line::Journal(path) = &settings.line {
            let mut journal = Journal::new(path);
            let send = move |records: &[Arc<Record>]| journal.send(records);
            sinks.push(Sink::start("journal", send, lost()).map_err(OpenError::Thread)?);
        }
        if let Some(collector) = &settings.syslog {
            let mut syslog = Syslog::new(collector.clone(), &host);
            let send = move |records: &[Arc<Record>]| syslog.send(records);
            sinks.push(Sink::start("syslog", send, lost()).map_err(OpenError::Thread)?);
        }
        let inner = Inner {
            clock,
            host,
            line: settings.line == Line::Log,
            sinks,
            reopen,
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
            self.inner.write(event, now, Asking::now().as_ref());
        }
    }

    /// Writes the lines of floods whose minute is over. Call it every now and then.
    pub fn write_floods(&self) {
        let now = self.inner.clock.now();
        let due = self.inner.floods().due(now);
        for event in due {
            self.inner.write(&event, now, None);
        }
    }

    /// What concerned somebody's account since the last call, for the store to keep for its owner.
    #[must_use]
    pub fn take_history(&self) -> Vec<NewEntry> {
        self.inner.history.take()
    }

    /// Waits until what was recorded is in the file and everywhere else; at most five seconds for the one that
    /// does not take it. Whether it is.
    pub fn flush(&self) -> bool {
        self.inner.flush()
    }

    /// Lets go of the file before the next line: logrotate moved it.
    pub fn reopen(&self) {
        self.inner.reopen.store(true, Ordering::Relaxed);
    }

    /// Events that one of the places never got.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.sinks.iter().map(|sink| sink.state().lost).sum()
    }

    /// How each place does that events go to.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkState> {
        self.inner.sinks.iter().map(Sink::state).collect()
    }
}

impl Inner {
    fn floods(&self) -> std::sync::MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &Event, now: Timestamp, asking: Option<&Asking>) {
        if !self.line && self.sinks.is_empty() {
            return;
        }
        let record = Arc::new(Record::of(event, now, asking, &self.host));
        if self.line {
            let client = event.client.map(tracing::field::display);
            tracing::info!(target: "pvegate::audit", { client.address = client }, "{}", record.line);
        }
        for sink in &self.sinks {
            sink.put(&record);
        }
    }

    fn flush(&self) -> bool {
        self.sinks.iter().all(|sink| sink.flush(LAST_WAIT))
    }
}

/// A verb of the command line ends right after its last event, and would take the threads with it.
impl Drop for Inner {
    fn drop(&mut self) {
        let now = self.clock.now();
        let rest = self.floods().rest();
        for event in rest {
            self.write(&event, now, None);
        }
        if !self.flush() {
            for sink in self.sinks.iter().map(Sink::state).filter(|sink| sink.waiting > 0) {
                tracing::error!(sink = sink.name, waiting = sink.waiting, "audit events were not written");
            }
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn what_was_recorded_is_in_the_file_when_the_last_clone_is_gone() {
        let path = std::env::temp_dir().join(format!("pvegate-audit-{}.jsonl", std::process::id()));
        let settings = Settings { file: Some(path.clone()), ..Settings::NONE };
        for run in 1..=50 {
            let log = Log::open(&settings, Arc::new(SystemClock), None).unwrap();
            log.clone().record(&Event::new(Action::Start, Outcome::Success));
            drop(log);

            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), run);
        }
        fs::remove_file(path).unwrap();
    }
}
