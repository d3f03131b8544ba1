//! Bodies toward pveproxy and back: streamed, never without a length, cut when their session is ended.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    connection::{
        Hold,
        body::{self, BodyError},
    },
    gate::Lease,
    time::Clock,
};

/// The longest body without a length that is held in memory to be measured: pveproxy's own limit for
/// anything but uploads.
pub const MAX_UNMEASURED: usize = 512 * 1024;

/// pveproxy drops a request whose body is silent for five seconds, without an answer. Half a second less, so
/// that the client hears what was wrong before that.
pub(super) const UPLOAD_STALL: Duration = Duration::from_millis(4500);

/// A request body on its way up.
pub(super) enum RequestBody {
    /// Nothing, or what was held to be measured.
    Whole(Full<Bytes>),
    /// Streamed as it comes.
    Stream(Box<Upload>),
}

/// A body that is streamed.
pub(super) struct Upload {
    body: Incoming,
    lease: Lease,
    clock: Arc<dyn Clock>,
    silence: Pin<Box<Sleep>>,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    course: Arc<Course>,
}

/// What became of an upload, for whoever sees only that sending failed.
///
/// The default is that of a body that is sent at once: nothing becomes of it on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Option<Arc<Course>>);

#[derive(Debug, Default)]
struct Course {
    end: AtomicU8,
    moved: AtomicBool,
}

const STALLED: u8 = 1;
const CUT: u8 = 2;

impl Fate {
    /// Whether the body went on since this was asked before.
    pub(super) fn moved(&self) -> bool {
        self.0.as_ref().is_some_and(|course| course.moved.swap(false, Ordering::Relaxed))
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.0.as_ref().is_some_and(|course| course.end.load(Ordering::Relaxed) == STALLED)
    }
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The client was silent for too long.
    #[error("the request body was silent for {UPLOAD_STALL:?}")]
    Stalled,
    /// The upstream was silent for too long.
    #[error("the response body was silent for too long")]
    Silent,
    /// The session was ended.
    #[error("the session was ended")]
    SessionEnded,
    /// The connection.
    #[error("the connection broke off")]
    Connection(#[from] hyper::Error),
}

/// Prepares a request's body and its length field (RFC 9110 §8.6).
///
/// # Errors
///
/// [`BodyError`] of a body that had to be measured.
pub(super) async fn measured(
    method: &Method,
    fields: &mut HeaderMap,
    chunked: bool,
    incoming: Incoming,
    lease: &Lease,
    clock: &Arc<dyn Clock>,
) -> Result<(RequestBody, Fate), BodyError> {
    if chunked {
        return Ok(whole(fields, Box::pin(body::read(incoming, MAX_UNMEASURED, UPLOAD_STALL)).await?));
    }
    if incoming.is_end_stream() {
        // A POST without a body (start a guest, open a console) has length 0 and says so.
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        }
        return Ok((RequestBody::Whole(Full::new(Bytes::new())), Fate::default()));
    }
    let course = Arc::<Course>::default();
    let fate = Fate(Some(course.clone()));
    let over = lease.clone();
    let upload = Upload {
        body: incoming,
        lease: lease.clone(),
        clock: clock.clone(),
        silence: Box::pin(sleep(UPLOAD_STALL)),
        over: Box::pin(async move {
            over.transfer_over().await;
        }),
        course,
    };
    Ok((RequestBody::Stream(Box::new(upload)), fate))
}

/// A request's body that is there, and its length field.
pub(super) fn whole(fields: &mut HeaderMap, whole: Bytes) -> (RequestBody, Fate) {
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    (RequestBody::Whole(Full::new(whole)), Fate::default())
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Stream(upload) => upload.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(upload) => upload.body.size_hint(),
        }
    }
}

impl Upload {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.over.as_mut().poll(context).is_ready() {
            self.course.end.store(CUT, Ordering::Relaxed);
            return Poll::Ready(Some(Err(Cut::SessionEnded)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.course.moved.store(true, Ordering::Relaxed);
                if matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    self.lease.touch(self.clock.now());
                }
                self.silence.as_mut().reset(Instant::now() + UPLOAD_STALL);
                // Trailers do not go up: pveproxy knows none.
                let frame = frame.map(|frame| frame.map_err(Cut::Connection));
                Poll::Ready(frame.filter(|frame| frame.as_ref().map_or(true, Frame::is_data)))
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                self.course.end.store(STALLED, Ordering::Relaxed);
                Poll::Ready(Some(Err(Cut::Stalled)))
            }
        }
    }
}

/// A response body on its way down.
pub struct ResponseBody {
    body: Incoming,
    lease: Lease,
    limit: Duration,
    /// Made when the upstream is silent for the first time: most answers are there at once.
    waiting: Option<Waiting>,
    /// When this is dropped, the connection may be used again.
    _done: Done,
    waited: Option<Duration>,
}

struct Waiting {
    silence: Pin<Box<Sleep>>,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs when a response is done with.
pub(super) struct Done(Option<Box<dyn FnOnce() + Send>>);

impl Done {
    pub(super) fn new(run: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(run)))
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, lease: Lease, limit: Duration, done: Done) -> Self {
        Self { body, lease, limit, waiting: None, _done: done, waited: None }
    }

    /// An answer that was waited for so long.
    pub(super) fn after(self, waited: Option<Duration>) -> Self {
        Self { waited, ..self }
    }

    /// From the request's first byte toward the upstream to the head of its answer; `None` where the client's
    /// own pace is in it.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// On whose account it is: it may lie untaken for as long as their session is not ended.
    #[must_use]
    pub fn hold(&self) -> Hold {
        let lease = self.lease.clone();
        Hold::until(move || {
            let lease = lease.clone();
            async move {
                lease.transfer_over().await;
            }
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.lease.is_transfer_over() {
            return Poll::Ready(Some(Err(Cut::SessionEnded)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(waiting) = &mut this.waiting {
                waiting.silence.as_mut().reset(Instant::now() + this.limit);
            }
            // Trailers do not go down: nobody asked for any (TE stays here), and none may pass for a field.
            let frame = frame.map(|frame| frame.map_err(Cut::Connection));
            return Poll::Ready(frame.filter(|frame| frame.as_ref().map_or(true, Frame::is_data)));
        }
        let (lease, limit) = (&this.lease, this.limit);
        let waiting = this.waiting.get_or_insert_with(|| {
            let over = lease.clone();
            Waiting {
                silence: Box::pin(sleep(limit)),
                over: Box::pin(async move {
                    over.transfer_over().await;
                }),
            }
        });
        if waiting.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Cut::SessionEnded)));
        }
        ready!(waiting.silence.as_mut().poll(context));
        Poll::Ready(Some(Err(Cut::Silent)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
