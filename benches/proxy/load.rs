//! The load: requests whose answers are read to the end and checked. A peer that answers something else
//! quickly has not won.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pvegate::{
    time::SystemClock,
    tls::{self, Host, Trust},
};
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What is asked, of whom.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    path: String,
    /// All fields but the blank line.
    fields: String,
}

impl Target {
    /// A GET of `path` from whoever listens at `address` now. `authority` goes into the Host field, and its
    /// host into the handshake; handshakes are always full ones.
    pub(crate) async fn new(address: SocketAddr, authority: &str, path: &str) -> Self {
        let host = authority.split(':').next().unwrap();
        let at: Host = address.ip().to_string().parse().unwrap();
        let shown = tls::observe(&at, address.port(), Duration::from_secs(60));
        let trust = Trust::Fingerprint(shown.await.unwrap()[0].fingerprint);
        let config = tls::upstream_config(&trust, Arc::new(SystemClock)).unwrap();
        let mut config = (*config).clone();
        config.resumption = Resumption::disabled();
        Self {
            address,
            name: ServerName::try_from(host.to_owned()).unwrap(),
            tls: TlsConnector::from(Arc::new(config)),
            path: path.to_owned(),
            fields: format!("host: {authority}\r\nuser-agent: bench\r\naccept: application/json\r\n"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// With more lines, each with its CR LF.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        self.fields.push_str(lines);
        self
    }

    /// The same of another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    fn head(&self) -> String {
        format!("GET {} HTTP/1.1\r\n{}\r\n", self.path, self.fields)
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Connection {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let stream = self.tls.connect(self.name.clone(), tcp).await.unwrap();
        Connection { stream, request: self.head(), buffer: vec![0; 256 * 1024] }
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    request: String,
    buffer: Vec<u8>,
}

impl Connection {
    /// One request; gives the length of the answer's body.
    pub(crate) async fn get(&mut self) -> usize {
        self.stream.write_all(self.request.as_bytes()).await.unwrap();
        let (head, mut body) = self.head().await;
        assert!(head.starts_with("HTTP/1.1 20"), "{head}");
        let length: usize = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while body < length {
            let read = self.stream.read(&mut self.buffer).await.unwrap();
            assert_ne!(read, 0, "the answer broke off");
            body += read;
        }
        assert_eq!(body, length, "more than the answer");
        length
    }

    /// Reads a head; gives it and how many bytes of the body came along.
    async fn head(&mut self) -> (String, usize) {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            assert_ne!(read, 0, "no answer");
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                return (head, filled - end - 4);
            }
        }
    }

    /// Makes a tunnel of this protocol of it: what is sent from here on comes back.
    pub(crate) async fn upgrade(mut self, target: &Target, protocol: &str) -> Tunnel {
        let request = format!(
            "GET /standin/upgrade HTTP/1.1\r\n{}origin: https://{}\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n",
            target.fields,
            field(&format!("\r\n{}", target.fields), "host").unwrap(),
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let (head, _) = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Tunnel { stream: self.stream }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A tunnel to an echo.
pub(crate) struct Tunnel {
    stream: TlsStream<TcpStream>,
}

impl Tunnel {
    /// Sends and waits for the echo.
    pub(crate) async fn echo(&mut self, message: &[u8], buffer: &mut [u8]) {
        self.stream.write_all(message).await.unwrap();
        self.stream.read_exact(&mut buffer[..message.len()]).await.unwrap();
        assert!(message == &buffer[..message.len()], "another echo");
    }
}

/// `each` requests on each connection, one after the other.
pub(crate) async fn on_each(connections: Vec<Connection>, each: usize) {
    let mut running = JoinSet::new();
    for mut connection in connections {
        running.spawn(async move {
            for _ in 0..each {
                connection.get().await;
            }
            connection
        });
    }
    // Closed when all are done: an early end would leave the rest more to itself.
    drop(running.join_all().await);
}

/// `count` connections one after the other, each with one request.
pub(crate) async fn handshakes(target: &Target, count: usize) {
    for _ in 0..count {
        target.connect().await.get().await;
    }
}

/// `each` messages of `length` bytes there and back in each tunnel.
pub(crate) async fn echoes(tunnels: Vec<Tunnel>, each: usize, length: usize) {
    let mut running = JoinSet::new();
    for mut tunnel in tunnels {
        running.spawn(async move {
            let (message, mut buffer) = (vec![b'x'; length], vec![0; length]);
            for _ in 0..each {
                tunnel.echo(&message, &mut buffer).await;
            }
            tunnel
        });
    }
    drop(running.join_all().await);
}
