//! What a connection is doing, told among its parts: the parser in front of hyper, the service behind it,
//! and the response that is under way.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

use super::{answer::Hold, head::RefusedHead};

/// The next request may come.
const OPEN: u8 = 0;
/// One is being served.
const BUSY: u8 = 1;
/// One was refused, and its refusal is to be answered.
const REFUSED: u8 = 2;
/// What passes are no requests any more.
const TUNNEL: u8 = 3;

/// What the connection is doing.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    now: AtomicU8,
    /// Who waits for the next request to be allowed.
    waiting: Mutex<Option<Waker>>,
    refused: Mutex<Option<Box<RefusedHead>>>,
    /// On whose account the last answer is, or was, held.
    hold: Mutex<Option<Hold>>,
    /// Whether the client takes nothing of it.
    stalled: AtomicBool,
}

impl Phase {
    /// A request head is complete.
    pub(super) fn busy(&self) {
        self.set(BUSY);
    }

    /// What passes from here on are no requests.
    pub(super) fn tunnel(&self) {
        self.set(TUNNEL);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.now() == TUNNEL
    }

    /// A head was refused: the service answers that instead of what hyper brings it.
    pub(super) fn refused(&self, refused: Box<RefusedHead>) {
        *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        self.set(REFUSED);
    }

    /// The head that was refused, if that is what is to be answered.
    pub(super) fn take_refused(&self) -> Option<Box<RefusedHead>> {
        if self.now() != REFUSED {
            return None;
        }
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// An answer begins. Its hold outlives its body: the last bytes may lie here for long.
    pub(super) fn answers(&self, hold: Option<Hold>) {
        *self.0.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        self.0.hold.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the client takes nothing of its answer, though there is something to take.
    pub(super) fn is_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn stalls(&self, stalled: bool) {
        self.0.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Whether the next request may come; if not, `waker` is woken when it may.
    pub(super) fn is_open_to(&self, waker: &Waker) -> bool {
        if self.now() == OPEN {
            return true;
        }
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *waiting = Some(waker.clone());
            }
        }
        // It may have become so meanwhile.
        self.now() == OPEN
    }

    fn open(&self) {
        self.set(OPEN);
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn now(&self) -> u8 {
        self.0.now.load(Ordering::Acquire)
    }

    fn set(&self, phase: u8) {
        self.0.now.store(phase, Ordering::Release);
    }
}

/// A response body; when it is gone, the wait for the next request begins.
pub(super) struct Tracked<B> {
    body: B,
    /// `None`: no next request is awaited.
    phase: Option<Phase>,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, phase: Phase) -> Self {
        Self { body, phase: Some(phase) }
    }

    /// Of a response that switches protocols: what passes through the stream then are no requests, and a
    /// console may be silent for hours.
    pub(super) fn last(body: B) -> Self {
        Self { body, phase: None }
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        if let Some(phase) = &self.phase {
            phase.open();
        }
    }
}

impl<B: Body + Unpin> Body for Tracked<B>
where
    B::Data: Buf,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
