//! The strict reading of a chunked body (pure; RFC 9112 §7.1).
//!
//! Sizes are up to eight hexadecimal digits and a CR LF; extensions and trailers are refused. Nobody who
//! speaks to Proxmox VE sends either, and what one parser makes of them is not what the next one does.

/// Reads one chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chunks {
    /// A size is awaited, its first digit included.
    #[default]
    Size,
    /// Digits of a size that came so far.
    Digits {
        /// Their value.
        size: u64,
        /// How many there are.
        digits: u8,
    },
    /// The line feed after a size.
    SizeEnd {
        /// The size.
        size: u64,
    },
    /// So many bytes of data are to come.
    Data {
        /// How many.
        left: u64,
    },
    /// The carriage return after data.
    DataReturn,
    /// The line feed after that.
    DataEnd,
    /// The carriage return of the empty line after the last chunk.
    LastReturn,
    /// The line feed of that line.
    LastEnd,
    /// The body is complete.
    Complete,
}

/// Why a chunked body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// Where a size should be.
    #[error("a chunk without a size in hexadecimal digits")]
    Size,
    /// More than eight digits.
    #[error("a chunk size of more than eight digits")]
    SizeLong,
    /// A semicolon or blank after a size (§7.1.1).
    #[error("a chunk extension")]
    Extension,
    /// A line feed without a carriage return, or the other way round.
    #[error("a line of a chunked body that does not end in CR LF")]
    LineEnd,
    /// Data that does not end where its size says.
    #[error("a chunk longer than its size")]
    Longer,
    /// Something else than an empty line after the last chunk (§7.1.2).
    #[error("trailer fields")]
    Trailers,
}

impl Chunks {
    /// Goes on with the next bytes: how many of them belong to the body. Fewer than all: the body is
    /// complete.
    ///
    /// # Errors
    ///
    /// [`BodyRefusal`], and how many bytes before it are as they must be.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, (usize, BodyRefusal)> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            *self = match *self {
                Self::Complete => break,
                Self::Data { left } => {
                    // Everything but framing is passed over at once.
                    let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                    *self = if here == left { Self::DataReturn } else { Self::Data { left: left - here } };
                    continue;
                }
                framing => framing.step(*byte).map_err(|refusal| (at, refusal))?,
            };
            at += 1;
        }
        Ok(at)
    }

    fn step(self, byte: u8) -> Result<Self, BodyRefusal> {
        match (self, byte) {
            (Self::Size, _) => {
                let size = digit(byte).ok_or(BodyRefusal::Size)?;
                Ok(Self::Digits { size, digits: 1 })
            }
            (Self::Digits { size, .. }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Digits { .. }, b'\n') => Err(BodyRefusal::LineEnd),
            (Self::Digits { .. }, b';' | b' ' | b'\t') => Err(BodyRefusal::Extension),
            (Self::Digits { size, digits }, _) => {
                let digit = digit(byte).ok_or(BodyRefusal::Size)?;
                if digits == 8 {
                    return Err(BodyRefusal::SizeLong);
                }
                Ok(Self::Digits { size: size * 16 + digit, digits: digits + 1 })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Ok(Self::LastReturn),
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataReturn, b'\r') => Ok(Self::DataEnd),
            (Self::DataReturn, b'\n') => Err(BodyRefusal::LineEnd),
            (Self::DataReturn, _) => Err(BodyRefusal::Longer),
            (Self::DataEnd, b'\n') => Ok(Self::Size),
            (Self::LastReturn, b'\r') => Ok(Self::LastEnd),
            (Self::LastReturn, b'\n') => Err(BodyRefusal::LineEnd),
            (Self::LastReturn, _) => Err(BodyRefusal::Trailers),
            (Self::LastEnd, b'\n') => Ok(Self::Complete),
            (Self::SizeEnd { .. } | Self::DataEnd | Self::LastEnd, _) => Err(BodyRefusal::LineEnd),
            (Self::Data { .. } | Self::Complete, _) => Ok(self),
        }
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_plain_or_refused_by_name() {
        #[rustfmt::skip]
        let table: &[(&str, &[u8], Result<usize, BodyRefusal>)] = &[
            ("empty",                       b"0\r\n\r\n",                  Ok(5)),
            ("one chunk",                   b"3\r\nabc\r\n0\r\n\r\n",      Ok(13)),
            ("hexadecimal",                 b"A\r\n0123456789\r\n0\r\n\r\n", Ok(20)),
            ("zeros before the digits",     b"00000003\r\nabc\r\n00\r\n\r\n", Ok(21)),
            ("what follows is not its own", b"0\r\n\r\nGET /",             Ok(5)),
            ("data may hold anything",      b"5\r\n\r\n\0\r\n\r\n0\r\n\r\n", Ok(15)),
            ("no size",                     b"\r\nabc",                    Err(BodyRefusal::Size)),
            ("a sign",                      b"+3\r\nabc\r\n",              Err(BodyRefusal::Size)),
            ("a minus",                     b"-1\r\n",                     Err(BodyRefusal::Size)),
            ("0x",                          b"0x3\r\nabc\r\n",             Err(BodyRefusal::Size)),
            ("an underscore",               b"1_0\r\n",                    Err(BodyRefusal::Size)),
            ("a blank before",              b" 3\r\nabc\r\n",              Err(BodyRefusal::Size)),
            ("a blank after",               b"3 \r\nabc\r\n",              Err(BodyRefusal::Extension)),
            ("a tab after",                 b"3\t\r\nabc\r\n",             Err(BodyRefusal::Extension)),
            ("a vertical tab after",        b"3\x0b\r\nabc\r\n",           Err(BodyRefusal::Size)),
            ("eight digits",                b"ffffffff\r\n",               Ok(10)),
            ("nine digits",                 b"000000003\r\nabc\r\n",       Err(BodyRefusal::SizeLong)),
            ("overflow of 64 bits",         b"10000000000000003\r\nabc",   Err(BodyRefusal::SizeLong)),
            ("an extension",                b"3;a=b\r\nabc\r\n0\r\n\r\n",  Err(BodyRefusal::Extension)),
            ("an extension with line feed", b"3;\nabc\r\n",                Err(BodyRefusal::Extension)),
            ("line feed after a size",      b"3\nabc\r\n",                 Err(BodyRefusal::LineEnd)),
            ("carriage return alone",       b"3\rabc\r\n",                 Err(BodyRefusal::LineEnd)),
            ("two carriage returns",        b"3\r\r\nabc\r\n",             Err(BodyRefusal::LineEnd)),
            ("line feed after data",        b"3\r\nabc\n0\r\n\r\n",        Err(BodyRefusal::LineEnd)),
            ("longer than its size",        b"3\r\nabcd\r\n",              Err(BodyRefusal::Longer)),
            ("data, then CR without LF",    b"3\r\nabc\rX",                Err(BodyRefusal::LineEnd)),
            ("shorter than its size",       b"4\r\nabc\r\n0\r\n\r\n",      Err(BodyRefusal::LineEnd)),
            ("trailers",                    b"0\r\nX: y\r\n\r\n",          Err(BodyRefusal::Trailers)),
            ("a smuggled host as trailer",  b"0\r\nHost: x\r\n\r\n",       Err(BodyRefusal::Trailers)),
            ("line feed at the very end",   b"0\r\n\n",                    Err(BodyRefusal::LineEnd)),
            ("last line with CR alone",     b"0\r\n\rX",                   Err(BodyRefusal::LineEnd)),
            ("last chunk with line feed",   b"0\n\n",                      Err(BodyRefusal::LineEnd)),
        ];
        for (case, bytes, expected) in table {
            let whole = Chunks::default().read(bytes).map_err(|(_, refusal)| refusal);
            assert_eq!(whole, *expected, "{case}");

            let mut chunks = Chunks::default();
            let mut taken = 0;
            let mut by_bytes = Ok(());
            for byte in *bytes {
                match chunks.read(&[*byte]) {
                    Ok(read) => taken += read,
                    Err((_, refusal)) => {
                        by_bytes = Err(refusal);
                        break;
                    }
                }
            }
            assert_eq!(by_bytes.map(|()| taken), *expected, "{case}, a byte at a time");
        }
    }
}
