//! A bounded queue and a thread for each place that events go to.
//!
//! Whoever records an event never waits. What can't be delivered stays in its queue and is tried again; what
//! finds the queue full is lost there, counted, and told by an `audit-lost` event once the place takes
//! events again. One place's trouble is no other's.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::record::Record;

/// Events that wait in one queue.
const WAITING: usize = 4096;

/// Events that are delivered at once.
const BATCH: usize = 64;

/// How long a place that is in trouble is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How one place does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkState {
    /// `file`, `journal` or `syslog`.
    pub name: &'static str,
    /// Events that wait for it.
    pub waiting: usize,
    /// Events that it never got.
    pub lost: u64,
    /// Why it takes none at present.
    pub trouble: Option<String>,
}

/// How many of a batch arrived, and what became of the next.
pub(super) type Delivery = (usize, io::Result<()>);

/// A queue, and what its thread empties it into.
pub(super) struct Sink {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Record>>,
    lost: u64,
    /// Of those, what no `audit-lost` event told yet.
    untold: u64,
    trouble: Option<String>,
    closed: bool,
}

impl Sink {
    /// Starts the thread. `deliver` may take its time, but not for ever; `lost` makes the event that tells
    /// how many were lost.
    ///
    /// # Errors
    ///
    /// The system has no thread for it.
    pub(super) fn start(
        name: &'static str,
        mut deliver: impl FnMut(&[Arc<Record>]) -> Delivery + Send + 'static,
        lost: impl Fn(u64) -> Record + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { name, state: Mutex::default(), changed: Condvar::new() });
        let working = shared.clone();
        thread::Builder::new().name(format!("audit-{name}")).spawn(move || {
            while let Some(batch) = working.next() {
                let (delivered, result) = deliver(&batch);
                working.delivered(delivered, result, &lost);
            }
        })?;
        Ok(Self { shared })
    }

    /// Takes an event in, or counts it as lost.
    pub(super) fn put(&self, record: &Arc<Record>) {
        let mut state = self.shared.lock();
        if state.waiting.len() < WAITING {
            state.waiting.push_back(record.clone());
            drop(state);
            self.shared.changed.notify_all();
        } else {
            state.lost += 1;
            state.untold += 1;
        }
    }

    /// Waits until everything was delivered; at most so long.
    pub(super) fn flush(&self, at_most: Duration) -> bool {
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, at_most, |state| !state.waiting.is_empty());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting.is_empty()
    }

    pub(super) fn state(&self) -> SinkState {
        let state = self.shared.lock();
        SinkState {
            name: self.shared.name,
            waiting: state.waiting.len(),
            lost: state.lost,
            trouble: state.trouble.clone(),
        }
    }
}

/// The thread ends when it has nothing to do, or could not.
impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to deliver next; `None` when it is over.
    fn next(&self) -> Option<Vec<Arc<Record>>> {
        let mut state = self.lock();
        if state.trouble.is_some() {
            let waited = self.changed.wait_timeout_while(state, AGAIN, |state| !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.closed {
                return None;
            }
        }
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let batch: Vec<_> = state.waiting.iter().take(BATCH).cloned().collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn delivered(&self, count: usize, result: io::Result<()>, lost: impl Fn(u64) -> Record) {
        let mut state = self.lock();
        let count = count.min(state.waiting.len());
        state.waiting.drain(..count);
        let (sink, untold, waiting) = (self.name, state.untold, state.waiting.len());
        match result {
            Ok(()) => {
                let recovered = state.trouble.take().is_some();
                if untold > 0 {
                    state.untold = 0;
                    state.waiting.push_back(Arc::new(lost(untold)));
                }
                drop(state);
                if recovered || untold > 0 {
                    tracing::warn!(sink, lost = untold, "audit events are written again");
                }
            }
            Err(error) => {
                let is_new = state.trouble.is_none();
                state.trouble = Some(error.to_string());
                drop(state);
                if is_new {
                    tracing::error!(sink, error = %error, waiting, "audit events wait: they can't be written");
                }
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        audit::{Action, Event, Outcome},
        time::Timestamp,
    };

    fn record(count: u64) -> Record {
        let event = Event::new(Action::AuditLost, Outcome::Failure).times(count);
        Record::of(&event, Timestamp::from_secs(0), None, "pve")
    }

    fn is_over(sink: &Sink) {
        assert!(sink.flush(Duration::from_secs(30)));
    }

    #[test]
    fn whoever_records_never_waits_and_what_is_lost_is_counted_and_told() {
        let (arrived, arriving) = mpsc::channel();
        let (open, door) = mpsc::channel::<()>();
        let deliver = move |batch: &[Arc<Record>]| {
            let _ = door.recv();
            batch.iter().for_each(|record| arrived.send(record.clone()).unwrap());
            (batch.len(), Ok(()))
        };
        let sink = Sink::start("file", deliver, record).unwrap();
        let one = Arc::new(record(1));
        for _ in 0..WAITING + 5 {
            sink.put(&one);
        }

        assert_eq!(sink.state().lost, 5);
        drop(open);

        is_over(&sink);
        let all: Vec<_> = arriving.try_iter().collect();
        assert_eq!(all.len(), WAITING + 1);
        let told: Vec<_> = all.iter().filter(|it| it.value["pvegate"]["count"] == 5).collect();
        assert_eq!(told.len(), 1, "how many were lost is told once");
    }

    #[test]
    fn what_could_not_be_delivered_is_tried_again_in_its_order() {
        let (arrived, arriving) = mpsc::channel();
        let mut tries = 0;
        let deliver = move |batch: &[Arc<Record>]| {
            tries += 1;
            if tries == 1 {
                return (0, Err(io::ErrorKind::StorageFull.into()));
            }
            arrived.send(batch[0].value["pvegate"]["count"].clone()).unwrap();
            (1, Ok(()))
        };
        let sink = Sink::start("file", deliver, record).unwrap();
        for count in 2..5 {
            sink.put(&Arc::new(record(count)));
        }

        is_over(&sink);
        let all: Vec<_> = arriving.try_iter().collect();
        assert_eq!(all, [2, 3, 4]);
        assert_eq!(sink.state(), SinkState { name: "file", waiting: 0, lost: 0, trouble: None });
    }

    #[test]
    fn the_thread_of_a_place_in_trouble_ends_with_its_queue() {
        let (alive, ended) = mpsc::channel::<()>();
        let deliver = move |_: &[Arc<Record>]| {
            let _ = &alive;
            (0, Err(io::ErrorKind::BrokenPipe.into()))
        };
        let sink = Sink::start("syslog", deliver, record).unwrap();
        sink.put(&Arc::new(record(1)));

        drop(sink);

        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
