//! Lengths of WebSocket frames, read in passing (RFC 6455 §5.2).
//!
//! A console's own heartbeat must not look like a person at work: xterm.js sends a payload of one
//! byte every thirty seconds, noVNC asks for updates with ten bytes. [`FrameLengths`] tells such
//! frames from others by their length and changes nothing; what it does not understand counts as work.

/// Payloads that a console sends by itself: xterm.js's keep-alive, VNC's update request.
const HEARTBEATS: [u64; 2] = [1, 10];

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct FrameLengths {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Before a frame's first byte.
    #[default]
    Start,
    /// After the first byte; the opcode is known.
    Length { opcode: u8 },
    /// Inside an extended length.
    Extended { opcode: u8, masked: bool, left: u8, length: u64 },
    /// Inside the masking key and the payload.
    Payload { left: u64 },
}

impl FrameLengths {
    /// Takes the next bytes; says whether a data frame began among them that a person caused.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let mut worked = false;
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            self.state = match std::mem::take(&mut self.state) {
                State::Start => State::Length { opcode: byte & 0x0f },
                State::Length { opcode } => {
                    let masked = byte & 0x80 != 0;
                    match byte & 0x7f {
                        126 => State::Extended { opcode, masked, left: 2, length: 0 },
                        127 => State::Extended { opcode, masked, left: 8, length: 0 },
                        length => {
                            worked |= is_work(opcode, length.into());
                            payload(masked, length.into())
                        }
                    }
                }
                State::Extended { opcode, masked, left, length } => {
                    let length = length << 8 | u64::from(byte);
                    if left > 1 {
                        State::Extended { opcode, masked, left: left - 1, length }
                    } else {
                        worked |= is_work(opcode, length);
                        payload(masked, length)
                    }
                }
                State::Payload { left } => {
                    // `byte` is one of them; as many more as are here are skipped at once.
                    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(left - 1);
                    rest = usize::try_from(here).ok().and_then(|here| rest.get(here..)).unwrap_or_default();
                    match left - 1 - here {
                        0 => State::Start,
                        left => State::Payload { left },
                    }
                }
            };
        }
        worked
    }
}

fn payload(masked: bool, length: u64) -> State {
    match length.saturating_add(if masked { 4 } else { 0 }) {
        0 => State::Start,
        left => State::Payload { left },
    }
}

/// Continuation, text and binary frames are data; close, ping and pong are not.
fn is_work(opcode: u8, length: u64) -> bool {
    opcode < 8 && !HEARTBEATS.contains(&length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..=65535 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([0xaa; 4]);
        bytes.extend(std::iter::repeat_n(0x82, length));
        bytes
    }

    #[test]
    fn a_heartbeat_is_no_work_and_everything_else_is() {
        #[rustfmt::skip]
        let table = [
            ("xterm.js keep-alive",  2, 1,      false),
            ("VNC update request",   2, 10,     false),
            ("a key in xterm.js",    2, 5,      true),
            ("a key in VNC",         2, 8,      true),
            ("text",                 1, 2,      true),
            ("empty data",           2, 0,      true),
            ("continuation",         0, 3,      true),
            ("long",                 2, 70_000, true),
            ("close",                8, 2,      false),
            ("ping",                 9, 4,      false),
            ("pong",                 10, 4,     false),
        ];
        for (case, opcode, length, expected) in table {
            assert_eq!(FrameLengths::default().take(&frame(opcode, length)), expected, "{case}");
        }
    }

    proptest! {
        #[test]
        fn work_is_seen_however_the_bytes_are_cut(
            frames in proptest::collection::vec((prop_oneof![Just(0_u8), Just(1), Just(2), Just(8), Just(9)], 0_usize..300), 1..8),
            cuts in proptest::collection::vec(1_usize..50, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(opcode, length)| frame(*opcode, *length)).collect();
            let expected = frames.iter().any(|(opcode, length)| is_work(*opcode, *length as u64));

            let mut follower = FrameLengths::default();
            let (mut worked, mut rest, mut cuts) = (false, bytes.as_slice(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                worked |= follower.take(now);
                rest = later;
            }

            prop_assert_eq!(worked, expected);
            prop_assert!(matches!(follower.state, State::Start));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            FrameLengths::default().take(&bytes);
        }
    }
}
