//! The gate's parser against the oracle: fed in pieces, it says of every byte what the oracle says of the
//! whole.
//!
//! Used by the tests and by the fuzz target.

use pvegate::connection::wire::framer::{Framer, Refusal};

use super::oracle::{self, Verdict};

/// What became of the bytes of a connection on which every request is answered at once.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The lengths of the requests, in order.
    requests: Vec<usize>,
    last: Last,
}

/// What the bytes after the last request are.
#[derive(Debug, PartialEq, Eq)]
enum Last {
    /// Part of a head, or nothing.
    PartOfHead,
    /// A head and a part of its body.
    PartOfBody,
    BadHead,
    BadBody,
}

/// Feeds `bytes` to the parser, cut into pieces of these lengths in turn, and asks the oracle about the
/// whole.
///
/// # Panics
///
/// They do not agree, or the parser passed on a part of a head.
pub(super) fn agree(bytes: &[u8], cuts: impl Iterator<Item = usize>) {
    assert_eq!(by_parser(bytes, cuts), by_oracle(bytes), "{}", bytes.escape_ascii());
}

/// Lengths of pieces, different for different bytes.
pub(super) fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let mut state =
        bytes.iter().fold(0x9e37_79b9_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Most are short, some long, some everything.
        match state % 8 {
            0 => usize::MAX,
            1 | 2 => (state >> 8) as usize % 4096,
            _ => (state >> 8) as usize % 8,
        }
    })
}

fn by_parser(bytes: &[u8], mut cuts: impl Iterator<Item = usize>) -> Outcome {
    let mut framer = Framer::default();
    let mut requests = Vec::new();
    // Where the current request began, how much of it was taken, how much came.
    let (mut start, mut taken, mut came) = (0, 0, 0);
    loop {
        match framer.take(&bytes[start + taken..came]) {
            Err(Refusal::Head(_)) => {
                assert_eq!(taken, 0, "a part of a head was passed on");
                return Outcome { requests, last: Last::BadHead };
            }
            Err(Refusal::Body(_)) => {
                assert_ne!(taken, 0, "a body without a head");
                return Outcome { requests, last: Last::BadBody };
            }
            Ok(0) if !framer.is_at_end() => {
                if came == bytes.len() {
                    let last = if taken == 0 { Last::PartOfHead } else { Last::PartOfBody };
                    return Outcome { requests, last };
                }
                came += cuts.next().unwrap_or(1).clamp(1, bytes.len() - came);
            }
            Ok(more) => {
                taken += more;
                if framer.is_at_end() {
                    requests.push(taken);
                    start += taken;
                    taken = 0;
                    framer.next();
                }
            }
        }
    }
}

fn by_oracle(bytes: &[u8]) -> Outcome {
    let mut requests = Vec::new();
    let mut rest = bytes;
    loop {
        let last = match oracle::read(rest) {
            Verdict::Request(request) => {
                requests.push(request.length);
                rest = &rest[request.length..];
                continue;
            }
            Verdict::Unfinished { head: None } => Last::PartOfHead,
            Verdict::Unfinished { head: Some(_) } => Last::PartOfBody,
            Verdict::Refused { head: None } => Last::BadHead,
            Verdict::Refused { head: Some(_) } => Last::BadBody,
        };
        return Outcome { requests, last };
    }
}
