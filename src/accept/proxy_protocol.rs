//! The PROXY protocol, versions 1 and 2: a listed peer says for whom it connects.
//!
//! <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>. [`parse`] is strict: what a peer of ours
//! would never send is refused, and never taken for "no header". [`read`] takes exactly the header's bytes
//! off the connection, within bounds of bytes and time of its own, so that TLS begins right behind it.
//!
//! Who may speak it is for `admission`, before and after.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::audit::Reason;

/// The longest line of version 1 (§2.1), with its CR LF.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2 that is taken: addresses and, as TLVs, what proxies say about TLS.
const LONGEST_BINARY: usize = 1024;

/// How version 2 begins (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of version 2 that always has the same length.
const FIXED: usize = 16;

/// For whom a peer connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduced {
    /// For this client.
    Client(SocketAddr),
    /// For itself, to see whether we are alive (`LOCAL`).
    Itself,
}

/// Why a peer's word is not taken. The connection is closed then.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It says nothing in time.
    #[error("no PROXY protocol header within {0:?}")]
    Slow(Duration),
    /// The connection ended.
    #[error("the connection ended inside the PROXY protocol header")]
    Ended(#[source] io::Error),
    /// It begins otherwise: most often TLS, from a peer that is not told to speak the protocol.
    #[error("what came is no PROXY protocol header")]
    NoHeader,
    /// It is longer than any that is meant.
    #[error("a PROXY protocol header of more than {0} bytes")]
    Long(usize),
    /// It is not as the protocol says.
    #[error("a malformed PROXY protocol header: {0}")]
    Malformed(&'static str),
    /// It says that the client is not known, or connects by something else than TCP.
    #[error("a PROXY protocol header that names no TCP client")]
    Unknown,
}

impl From<&ProxyError> for Reason {
    fn from(error: &ProxyError) -> Self {
        Self::new("proxy_header", error)
    }
}

/// Takes the header off a connection.
///
/// # Errors
///
/// [`ProxyError`]
pub async fn read(stream: &mut TcpStream, limit: Duration) -> Result<Introduced, ProxyError> {
    match timeout(limit, bytes(stream)).await {
        Ok(header) => parse(&header?),
        Err(_) => Err(ProxyError::Slow(limit)),
    }
}

/// The bytes of the header and none behind it.
async fn bytes(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await.map_err(ProxyError::Ended)?;
    if header == SIGNATURE {
        let rest = read_more(stream, &mut header, FIXED - SIGNATURE.len()).await?;
        let length = match rest {
            [_, _, high, low] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(ProxyError::NoHeader),
        };
        if FIXED + length > LONGEST_BINARY {
            return Err(ProxyError::Long(LONGEST_BINARY));
        }
        read_more(stream, &mut header, length).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\n") {
            let mut ahead = [0; LONGEST_LINE];
            let room = ahead.get_mut(header.len()..).filter(|room| !room.is_empty());
            let room = room.ok_or(ProxyError::Long(LONGEST_LINE))?;
            let seen = stream.peek(room).await.map_err(ProxyError::Ended)?;
            if seen == 0 {
                return Err(ProxyError::Ended(io::ErrorKind::UnexpectedEof.into()));
            }
            let line = room.iter().take(seen).position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
            read_more(stream, &mut header, line).await?;
        }
    } else {
        return Err(ProxyError::NoHeader);
    }
    Ok(header)
}

/// So many bytes more; gives them.
async fn read_more<'a>(
    stream: &mut TcpStream,
    header: &'a mut Vec<u8>,
    count: usize,
) -> Result<&'a [u8], ProxyError> {
    let before = header.len();
    header.resize(before + count, 0);
    let more = header.get_mut(before..).unwrap_or_default();
    stream.read_exact(more).await.map_err(ProxyError::Ended)?;
    Ok(more)
}

/// Understands a whole header.
///
/// # Errors
///
/// [`ProxyError`], but for its cases of time and connection.
pub fn parse(header: &[u8]) -> Result<Introduced, ProxyError> {
    if let Some(rest) = header.strip_prefix(SIGNATURE) {
        binary(rest)
    } else if header.starts_with(b"PROXY ") {
        line(header)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Version 1 (§2.1): `PROXY TCP4 203.0.113.9 192.0.2.1 56324 443`.
fn line(header: &[u8]) -> Result<Introduced, ProxyError> {
    if header.len() > LONGEST_LINE {
        return Err(ProxyError::Long(LONGEST_LINE));
    }
    let text = header.strip_suffix(b"\r\n").ok_or(ProxyError::Malformed("the line does not end in CR LF"))?;
    let text = str::from_utf8(text).map_err(|_| ProxyError::Malformed("the line is not ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Err(ProxyError::Unknown);
    }
    let (Some(source), Some(destination), Some(from), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ProxyError::Malformed("the line has not six words"));
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(Into::into),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(Into::into),
            _ => None,
        }
    };
    if !matches!(family, "TCP4" | "TCP6") {
        return Err(ProxyError::Malformed("neither TCP4 nor TCP6 nor UNKNOWN"));
    }
    let (Some(source), Some(_)) = (address(source), address(destination)) else {
        return Err(ProxyError::Malformed("an address that is none of its family"));
    };
    let (Some(from), Some(_)) = (port(from), port(to)) else {
        return Err(ProxyError::Malformed("a port that is no number from 0 to 65535"));
    };
    Ok(Introduced::Client(SocketAddr::new(source, from)))
}

/// A port without sign, blank or leading zero.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

/// Version 2 (§2.2), behind the signature.
fn binary(rest: &[u8]) -> Result<Introduced, ProxyError> {
    let ([version_and_command, family, high, low], body) =
        rest.split_first_chunk::<4>().ok_or(ProxyError::Malformed("it is too short"))?;
    if usize::from(u16::from_be_bytes([*high, *low])) != body.len() {
        return Err(ProxyError::Malformed("its length is not the one it says"));
    }
    match version_and_command {
        // What it says about addresses has no meaning then (§2.2).
        0x20 => return Ok(Introduced::Itself),
        0x21 => {}
        _ => return Err(ProxyError::Malformed("neither LOCAL nor PROXY of version 2")),
    }
    let (client, more) = match family {
        0x11 => {
            let (block, more) = body.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
            (SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), more)
        }
        0x21 => {
            let (block, more) = body.split_first_chunk::<36>().ok_or(SHORT)?;
            let (source, behind) = block.split_first_chunk::<16>().ok_or(SHORT)?;
            let ports = behind.get(16..18).ok_or(SHORT)?;
            let from = ports.iter().fold(0, |port, byte| port << 8 | u16::from(*byte));
            (SocketAddr::new(Ipv6Addr::from(*source).into(), from), more)
        }
        // Unspecified, UDP, UNIX.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Err(ProxyError::Unknown),
        _ => return Err(ProxyError::Malformed("no such family of addresses")),
    };
    tlvs(more)?;
    Ok(Introduced::Client(client))
}

const SHORT: ProxyError = ProxyError::Malformed("its addresses are cut off");

/// What follows the addresses must be whole; what it says is not used.
fn tlvs(mut rest: &[u8]) -> Result<(), ProxyError> {
    const CUT: ProxyError = ProxyError::Malformed("a TLV is cut off");
    while !rest.is_empty() {
        let ([_, high, low], behind) = rest.split_first_chunk::<3>().ok_or(CUT)?;
        rest = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..).ok_or(CUT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    /// Of version 2.
    fn v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[version_and_command, family], &length, body].concat()
    }

    fn v4_block() -> Vec<u8> {
        vec![203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb]
    }

    /// `Ok` with the client, `Err` with the beginning of what is said.
    #[track_caller]
    fn says(case: &str, header: &[u8], expected: Result<&str, &str>) {
        match (parse(header), expected) {
            (Ok(Introduced::Client(client)), Ok(expected)) => {
                assert_eq!(client.to_string(), expected, "{case}")
            }
            (Ok(Introduced::Itself), Ok("itself")) => {}
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{case}: {error}"),
            (found, _) => panic!("{case}: {found:?}"),
        }
    }

    #[test]
    fn a_line_is_taken_only_as_the_protocol_writes_it() {
        let long = format!("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443{}\r\n", " ".repeat(80));
        #[rustfmt::skip]
        let table: &[(&str, &str, Result<&str, &str>)] = &[
            ("IPv4",                 "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n",    Ok("203.0.113.9:56324")),
            ("IPv6",                 "PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n",      Ok("[2001:db8::1]:1")),
            ("the longest IPv6",     "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                                     Ok("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            ("unknown",              "PROXY UNKNOWN\r\n",                                 Err("names no TCP client")),
            ("unknown with more",    "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",     Err("names no TCP client")),
            ("lower case",           "PROXY tcp4 203.0.113.9 192.0.2.1 56324 443\r\n",    Err("neither TCP4")),
            ("UDP",                  "PROXY UDP4 203.0.113.9 192.0.2.1 56324 443\r\n",    Err("neither TCP4")),
            ("a family too much",    "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",      Err("none of its family")),
            ("IPv4 in TCP6",         "PROXY TCP6 203.0.113.9 192.0.2.1 56324 443\r\n",    Err("none of its family")),
            ("leading zero",         "PROXY TCP4 203.000.113.9 192.0.2.1 56324 443\r\n",  Err("none of its family")),
            ("a name",               "PROXY TCP4 localhost 192.0.2.1 56324 443\r\n",      Err("none of its family")),
            ("signed port",          "PROXY TCP4 203.0.113.9 192.0.2.1 +5632 443\r\n",    Err("a port")),
            ("port with zero",       "PROXY TCP4 203.0.113.9 192.0.2.1 05632 443\r\n",    Err("a port")),
            ("port too high",        "PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",    Err("a port")),
            ("two blanks",           "PROXY TCP4  203.0.113.9 192.0.2.1 56324 443\r\n",   Err("six words")),
            ("a word too few",       "PROXY TCP4 203.0.113.9 192.0.2.1 56324\r\n",        Err("six words")),
            ("a word too many",      "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443 x\r\n",  Err("six words")),
            ("a tab",                "PROXY TCP4\t203.0.113.9 192.0.2.1 56324 443\r\n",   Err("six words")),
            ("LF alone",             "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\n",      Err("CR LF")),
            ("no end",               "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443",        Err("CR LF")),
            ("too long",             &long,                                               Err("more than 107")),
            ("no header",            "GET / HTTP/1.1\r\n\r\n",                            Err("no PROXY protocol header")),
            ("lower case",           "proxy TCP4 203.0.113.9 192.0.2.1 56324 443\r\n",    Err("no PROXY protocol header")),
            ("nothing",              "",                                                  Err("no PROXY protocol header")),
        ];
        for (case, header, expected) in table {
            says(case, header.as_bytes(), *expected);
        }
    }

    #[test]
    fn a_binary_header_is_taken_only_whole() {
        let v6 = [&[0x20, 1, 0xd, 0xb8], [0; 28].as_slice(), &[0, 7, 1, 0xbb]].concat();
        let with_tlv = [v4_block(), vec![0x20, 0, 3, 1, 2, 3, 0x04, 0, 0]].concat();
        let cut_tlv = [v4_block(), vec![0x20, 0, 4, 1, 2, 3]].concat();
        let half_tlv = [v4_block(), vec![0x20, 0]].concat();
        #[rustfmt::skip]
        let table: &[(&str, Vec<u8>, Result<&str, &str>)] = &[
            ("IPv4",            v2(0x21, 0x11, &v4_block()),        Ok("203.0.113.9:56324")),
            ("IPv6",            v2(0x21, 0x21, &v6),                Ok("[2001:db8::]:7")),
            ("with TLVs",       v2(0x21, 0x11, &with_tlv),          Ok("203.0.113.9:56324")),
            ("local",           v2(0x20, 0x00, &[]),                Ok("itself")),
            ("local, v4",       v2(0x20, 0x11, &v4_block()),        Ok("itself")),
            ("unspecified",     v2(0x21, 0x00, &[]),                Err("names no TCP client")),
            ("UDP",             v2(0x21, 0x12, &v4_block()),        Err("names no TCP client")),
            ("UNIX",            v2(0x21, 0x31, &[0; 216]),          Err("names no TCP client")),
            ("version 1",       v2(0x11, 0x11, &v4_block()),        Err("neither LOCAL")),
            ("command 2",       v2(0x22, 0x11, &v4_block()),        Err("neither LOCAL")),
            ("family 4",        v2(0x21, 0x41, &v4_block()),        Err("no such family")),
            ("cut",             v2(0x21, 0x11, &[1; 11]),           Err("cut off")),
            ("cut IPv6",        v2(0x21, 0x21, &v4_block()),        Err("cut off")),
            ("cut TLV",         v2(0x21, 0x11, &cut_tlv),           Err("a TLV is cut off")),
            ("half a TLV",      v2(0x21, 0x11, &half_tlv),          Err("a TLV is cut off")),
            ("signature alone", SIGNATURE.to_vec(),                 Err("too short")),
            ("a byte too many", [v2(0x21, 0x11, &v4_block()), vec![0]].concat(), Err("its length")),
        ];
        for (case, header, expected) in table {
            says(case, header, *expected);
        }
    }

    proptest! {
        #[test]
        fn every_client_is_understood_in_both_versions(ip in any::<IpAddr>(), from in any::<u16>()) {
            let client = SocketAddr::new(ip, from);
            let (line, binary) = match ip {
                IpAddr::V4(v4) => (
                    format!("PROXY TCP4 {v4} 192.0.2.1 {from} 443\r\n"),
                    v2(0x21, 0x11, &[v4.octets().as_slice(), &[0; 4], &from.to_be_bytes(), &[0; 2]].concat()),
                ),
                IpAddr::V6(v6) => (
                    format!("PROXY TCP6 {v6} 2001:db8::1 {from} 443\r\n"),
                    v2(0x21, 0x21, &[v6.octets().as_slice(), &[0; 16], &from.to_be_bytes(), &[0; 2]].concat()),
                ),
            };
            prop_assert_eq!(parse(line.as_bytes()).unwrap(), Introduced::Client(client));
            prop_assert_eq!(parse(&binary).unwrap(), Introduced::Client(client));
        }

        #[test]
        fn no_bytes_make_it_panic_and_none_are_taken_for_more_than_they_are(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), signed in any::<bool>()) {
            if signed {
                bytes = [SIGNATURE.as_slice(), &bytes].concat();
            }
            let _ = parse(&bytes);
            prop_assert!(parse(&[b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n".as_slice(), b"x", &bytes].concat()).is_err());
        }
    }

    /// What `read` makes of these pieces, and what it leaves behind.
    async fn read_of(pieces: &[&[u8]]) -> (Result<Introduced, ProxyError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let writing = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let read = read(&mut server, Duration::from_secs(10)).await;
        writing.await.unwrap();
        let mut rest = Vec::new();
        if read.is_ok() {
            server.read_to_end(&mut rest).await.unwrap();
        }
        (read, rest)
    }

    #[tokio::test]
    async fn nothing_behind_the_header_is_taken_however_it_arrives() {
        let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n".as_slice();
        let binary = v2(0x21, 0x11, &v4_block());
        for header in [line, &binary] {
            let whole = [header, b"\x16\x03\x01 TLS\n"].concat();
            let by_byte: Vec<&[u8]> = whole.chunks(1).collect();
            for pieces in [vec![whole.as_slice()], by_byte] {
                let (read, rest) = read_of(&pieces).await;
                assert_eq!(read.unwrap(), Introduced::Client("203.0.113.9:56324".parse().unwrap()));
                assert_eq!(rest, b"\x16\x03\x01 TLS\n");
            }
        }
    }

    #[tokio::test]
    async fn what_is_longer_or_shorter_than_a_header_ends_the_reading() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 500]].concat();
        let huge = [SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff], &[0; 500]].concat();
        #[rustfmt::skip]
        let table: [(&[u8], &str); 4] = [
            (&endless,                     "more than 107 bytes"),
            (&huge,                        "more than 1024 bytes"),
            (b"PROXY TCP4 203.0.113.9 ",   "the connection ended"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0", "no PROXY protocol header"),
        ];
        for (bytes, expected) in table {
            let (read, _) = read_of(&[bytes]).await;
            let error = read.unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
