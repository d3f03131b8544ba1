//! Events to a collector, as RFC 5424 wants them: over UDP (RFC 5426), TCP with counted octets (RFC 6587
//! §3.4.1) or TLS (RFC 5425). The message is the event's JSON.
//!
//! TCP tells nobody what arrived: what was on its way when a collector ended the connection is lost without
//! a word. The file has it.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _, UdpSocket},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use super::{Outcome, queue::Delivery, record::Record};

/// How long a collector may take to answer a connection, or to take a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Facility `authpriv`, in its place of a priority (RFC 5424 §6.2.1).
const AUTHPRIV: u8 = 10 * 8;

/// Who collects events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// How to reach it.
    pub transport: Transport,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The authority in PEM that its certificate is checked by, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// How to reach a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram an event.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// Why a text is no collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not udp://HOST:PORT, tcp://HOST:PORT or tcp+tls://HOST:PORT")]
pub struct NotACollector;

impl FromStr for Collector {
    type Err = NotACollector;

    fn from_str(text: &str) -> Result<Self, NotACollector> {
        let (scheme, rest) = text.split_once("://").ok_or(NotACollector)?;
        let (transport, usual) = match scheme {
            "udp" => (Transport::Udp, 514),
            "tcp" => (Transport::Tcp, 514),
            "tcp+tls" => (Transport::Tls, 6514),
            _ => return Err(NotACollector),
        };
        let authority: http::uri::Authority = rest.parse().map_err(|_| NotACollector)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => usual,
            Some(port) => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                port.filter(|port| *port > 0).ok_or(NotACollector)?
            }
            None => return Err(NotACollector),
        };
        if ServerName::try_from(host.clone()).is_err() {
            return Err(NotACollector);
        }
        Ok(Self { transport, host, port, ca: None })
    }
}

/// As it is written, with its port.
impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tcp+tls",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// The way to a collector.
pub(super) struct Syslog {
    collector: Collector,
    host: String,
    way: Option<Way>,
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Syslog {
    /// To a collector, from this host. Connects when there is something to send.
    pub(super) fn new(collector: Collector, host: &str) -> Self {
        // A host name is printable ASCII there (RFC 5424 §6.2.4).
        let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        Self { collector, host: if is_plain { host.to_owned() } else { "-".to_owned() }, way: None }
    }

    /// Sends events until one does not go.
    pub(super) fn send(&mut self, records: &[Arc<Record>]) -> Delivery {
        if self.way.as_mut().is_some_and(|way| way.has_ended()) {
            self.way = None;
        }
        for (sent, record) in records.iter().enumerate() {
            if let Err(error) = self.send_one(record) {
                self.way = None;
                let message = format!("{}: {error}", self.collector);
                return (sent, Err(io::Error::new(error.kind(), message)));
            }
        }
        (records.len(), Ok(()))
    }

    fn send_one(&mut self, record: &Record) -> io::Result<()> {
        let message = message(record, &self.host);
        let way = match &mut self.way {
            Some(way) => way,
            None => self.way.insert(connect(&self.collector)?),
        };
        let counted = || format!("{} {message}", message.len()).into_bytes();
        match way {
            Way::Udp(socket) => socket.send(message.as_bytes()).map(|_| ()),
            Way::Tcp(stream) => stream.write_all(&counted()),
            Way::Tls(stream) => stream.write_all(&counted()).and_then(|()| stream.flush()),
        }
    }
}

impl Way {
    /// Whether the collector said that it is over. It says nothing else: what it sends is not looked at.
    fn has_ended(&mut self) -> bool {
        let (stream, mut tls) = match self {
            Self::Udp(_) => return false,
            Self::Tcp(stream) => (stream, None),
            Self::Tls(both) => (&mut both.sock, Some(&mut both.conn)),
        };
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let mut one = [0; 512];
        let ended = loop {
            let read = match &mut tls {
                None => stream.read(&mut one),
                Some(tls) => tls.read_tls(stream),
            };
            match (read, &mut tls) {
                (Ok(0), _) => break true,
                (Ok(_), None) => {}
                (Ok(_), Some(tls)) => match tls.process_new_packets() {
                    Ok(state) if !state.peer_has_closed() => {
                        let _ = tls.reader().read(&mut one);
                    }
                    Ok(_) | Err(_) => break true,
                },
                (Err(error), _) => break error.kind() != io::ErrorKind::WouldBlock,
            }
        };
        ended || stream.set_nonblocking(false).is_err()
    }
}

/// One message, without its frame.
fn message(record: &Record, host: &str) -> String {
    let severity = match record.outcome {
        Outcome::Success => 6,
        Outcome::Failure => 4,
    };
    format!(
        "<{}>1 {} {host} pvegate {} {} - {}",
        AUTHPRIV + severity,
        record.at,
        std::process::id(),
        record.action,
        record.value
    )
}

fn connect(collector: &Collector) -> io::Result<Way> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (collector.host.as_str(), collector.port).to_socket_addrs()? {
        let connected = match collector.transport {
            Transport::Udp => datagrams(address).map(Way::Udp),
            Transport::Tcp => stream(address).map(Way::Tcp),
            Transport::Tls => stream(address).and_then(|stream| secured(collector, stream)).map(Way::Tls),
        };
        match connected {
            Ok(way) => return Ok(way),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn datagrams(address: std::net::SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn stream(address: std::net::SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn secured(
    collector: &Collector,
    mut stream: TcpStream,
) -> io::Result<Box<StreamOwned<ClientConnection, TcpStream>>> {
    let name = ServerName::try_from(collector.host.clone()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(tls(collector)?, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

/// Read anew for each connection: an authority is renewed without a restart.
fn tls(collector: &Collector) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match &collector.ca {
        Some(path) => {
            let damaged = |error: &dyn fmt::Display| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| damaged(&error))? {
                let certificate = certificate.map_err(|error| damaged(&error))?;
                roots.add(certificate).map_err(|error| damaged(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is no authority to check it by"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Action, Event},
        time::Timestamp,
    };

    #[test]
    fn a_collector_is_told_by_an_address_with_its_way() {
        #[rustfmt::skip]
        let table = [
            ("udp://log.lan",             Some("udp://log.lan:514")),
            ("udp://10.0.0.9:5514",       Some("udp://10.0.0.9:5514")),
            ("tcp://[fd00::9]:601",       Some("tcp://[fd00::9]:601")),
            ("tcp+tls://log.example.com", Some("tcp+tls://log.example.com:6514")),
            ("tls://log.lan",             None),
            ("udp://log.lan:0",           None),
            ("udp://log.lan:66000",       None),
            ("udp://log.lan:",            None),
            ("udp://user@log.lan",        None),
            ("udp://log lan",             None),
            ("udp://log.lan/path",        None),
            ("log.lan:514",               None),
            ("udp://",                    None),
        ];
        for (text, expected) in table {
            let collector = text.parse::<Collector>().ok().map(|collector| collector.to_string());
            assert_eq!(collector.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_message_has_the_header_of_rfc_5424_and_the_fields_as_json() {
        let event = Event::new(Action::SignIn, Outcome::Failure);
        let record = Record::of(&event, Timestamp::from_secs(1_111_111_109), None, "pve");
        let message = message(&record, "pve");

        let pid = std::process::id();
        let header = format!("<84>1 2005-03-18T01:58:29.000Z pve pvegate {pid} sign-in - {{");
        assert!(message.starts_with(&header), "{message}");
        assert!(!message.contains('\n'));
    }
}
