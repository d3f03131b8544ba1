//! Small request bodies: the forms of our own pages.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use super::wire::chunked::BodyRefusal;

/// Most bytes of a form.
pub const MAX_FORM: usize = 16 * 1024;

/// Reads a whole body of at most `limit` bytes that is never silent for longer than `stall`.
///
/// # Errors
///
/// [`BodyError`]; what is left of the body is unread then, so the connection must be closed.
pub async fn read<B>(body: B, limit: usize, stall: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = Limited::new(body, limit);
    let mut whole = Vec::new();
    // Silence is bounded, and so is the whole: a byte at a time would hold a connection for days.
    let last = Instant::now() + stall * 6;
    loop {
        let silence = last.min(Instant::now() + stall);
        match timeout_at(silence, body.frame()).await {
            Err(_) => return Err(BodyError::Stalled(stall)),
            Ok(None) => return Ok(whole.into()),
            Ok(Some(Ok(frame))) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge(limit)),
            Ok(Some(Err(error))) => return Err(broken(error.as_ref())),
        }
    }
}

/// What broke a body off, by the causes of what the connection says.
#[must_use]
pub fn broken(error: &(dyn std::error::Error + 'static)) -> BodyError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` does not name what it carries as its cause, but that one's.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let refusal = carried.and_then(|carried| carried.downcast_ref::<BodyRefusal>());
        if let Some(refusal) = refusal.or_else(|| error.downcast_ref()) {
            return BodyError::Refused(*refusal);
        }
        cause = error.source();
    }
    BodyError::Broken
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than it may be.
    #[error("a body of more than {0} bytes")]
    TooLarge(usize),
    /// Silent for too long.
    #[error("a body that was silent for {0:?}")]
    Stalled(Duration),
    /// It ended before its end.
    #[error("a body that broke off")]
    Broken,
    /// Its framing is not as it must be.
    #[error(transparent)]
    Refused(#[from] BodyRefusal),
}
