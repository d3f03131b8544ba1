//! Where one request ends and the next begins (pure).
//!
//! [`Framer`] is fed the bytes of a connection in whatever pieces they come, and says how many of them
//! belong to the request that is being read, and why they are refused. It never goes on to the next
//! request by itself: whoever feeds it says so, when the current one is answered.

use super::{
    chunked::{BodyRefusal, Chunks},
    head::{Complete, Framing, HeadReader},
};
use crate::connection::head::HeadRefusal;

/// Finds the end of one request after another.
#[derive(Debug, Clone)]
pub struct Framer(State);

#[derive(Debug, Clone)]
enum State {
    Head(HeadReader),
    Length(u64),
    Chunks(Chunks),
    /// The request is complete.
    End,
    /// Something was refused: nothing of this connection is a request any more.
    Refused(Refusal),
}

/// Why bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No byte of this request was passed on.
    #[error(transparent)]
    Head(#[from] HeadRefusal),
    /// Its head was passed on.
    #[error(transparent)]
    Body(#[from] BodyRefusal),
}

impl Default for Framer {
    fn default() -> Self {
        Self(State::Head(HeadReader::default()))
    }
}

impl Framer {
    /// Whether a head is awaited, or a part of one came.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.0, State::Head(_))
    }

    /// Whether the request is complete.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// The current request is answered: the next may come. A request that is not complete goes on, and a
    /// refusal stays.
    pub fn next(&mut self) {
        if self.is_at_end() {
            *self = Self::default();
        }
    }

    /// How many of `bytes` belong to the request that is being read. Bytes that were taken are not to be
    /// brought again; of those that were not, all are to be, with what came since.
    ///
    /// A head is taken as a whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Refusal`], where there is nothing to take before it. It stays.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let next = match &mut self.0 {
                State::Head(_) | State::Length(_) | State::Chunks(_) if rest.is_empty() => return Ok(taken),
                State::End => return Ok(taken),
                State::Refused(refusal) if taken == 0 => return Err(*refusal),
                State::Refused(_) => return Ok(taken),
                State::Head(reader) => match reader.read(rest) {
                    Ok(None) => return Ok(taken),
                    Ok(Some(Complete { length, framing })) => {
                        taken += length;
                        match framing {
                            Framing::Length(0) => State::End,
                            Framing::Length(length) => State::Length(length),
                            Framing::Chunked => State::Chunks(Chunks::default()),
                        }
                    }
                    Err(refusal) => State::Refused(refusal.into()),
                },
                State::Length(left) => {
                    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(*left);
                    taken += usize::try_from(here).unwrap_or(usize::MAX);
                    if here == *left { State::End } else { State::Length(*left - here) }
                }
                State::Chunks(chunks) => match chunks.read(rest) {
                    Ok(read) => {
                        taken += read;
                        if *chunks == Chunks::Complete { State::End } else { State::Chunks(*chunks) }
                    }
                    Err((read, refusal)) => {
                        taken += read;
                        State::Refused(refusal.into())
                    }
                },
            };
            self.0 = next;
        }
    }
}
