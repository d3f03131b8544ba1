//! A store on a thread of its own, for callers that must not block.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Store, StoreError};
use crate::metrics::Metrics;

/// Longest wait for a place among them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls wait here.
const QUEUE: usize = 256;

type Call = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// A handle to a store that runs on its own thread. Cheap to clone; the thread ends with the last.
#[derive(Clone)]
pub struct StoreThread {
    calls: mpsc::Sender<Call>,
    metrics: Option<Arc<Metrics>>,
}

impl StoreThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the system gives no thread.
    pub fn start(mut store: impl Store + 'static) -> Result<Self, StoreError> {
        let (calls, mut queue) = mpsc::channel::<Call>(QUEUE);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                while let Some(call) = queue.blocking_recv() {
                    // A panic loses one answer (its caller sees `Unavailable`), not the store: every
                    // method is one transaction, and an unfinished one rolls back.
                    let _ = catch_unwind(AssertUnwindSafe(|| call(&mut store)));
                }
            })
            .map_err(|_| StoreError::Unavailable)?;
        Ok(Self { calls, metrics: None })
    }

    /// Counts the calls that fail.
    #[must_use]
    pub fn counted_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Runs `call` on the store and waits for its answer.
    ///
    /// # Errors
    ///
    /// What `call` returned, or [`StoreError::Unavailable`]. A caller that stops waiting does not
    /// undo a call that was queued.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.ask(call).await;
        if let (Err(_), Some(metrics)) = (&answer, &self.metrics) {
            metrics.store_failed();
        }
        answer
    }

    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let call: Call = Box::new(move |store| {
            let _ = answer.send(call(store));
        });
        match timeout(PATIENCE, self.calls.send(call)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(StoreError::Unavailable),
        }
        wait.await.map_err(|_| StoreError::Unavailable)?
    }
}

impl std::fmt::Debug for StoreThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreThread")
    }
}
