//! Who opened this connection? Listeners, the accept loop, and canonical client addresses.
//!
//! A listed peer may speak for a client: by the PROXY protocol before anything else (`proxy_protocol`), or
//! by a field of each request (`forwarded`). Sockets may come from the service manager (`inherited`). Whether peer and client may stay is decided by `admission`.

pub mod forwarded;
mod inherited;
pub mod proxy_protocol;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use inherited::{InheritError, Inherited};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

/// Connections that the kernel holds for us; more than `net.core.somaxconn` has no effect.
const BACKLOG: u32 = 1024;

/// Longest wait after the system refused an accept, most often for want of descriptors.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// Where to listen, and how peers name their clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to bind, at least one, and how connections begin there.
    pub listen: Vec<(SocketAddr, Opening)>,
    /// From the connection to the end of the PROXY protocol header.
    pub proxy_header: Duration,
    /// The field in which listed peers name the client of each request, if they do.
    pub forwarding_field: Option<http::HeaderName>,
}

/// How every connection of a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// With TLS, from the client.
    Tls,
    /// With a PROXY protocol header, from a listed peer.
    ProxyProtocol,
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// How every connection begins.
    pub opening: Opening,
}

/// A client's address. An IPv4 client on a dual-stack socket is an IPv4 address here (RFC 4291
/// §2.5.5.2), so that a rule for `10.0.0.0/8` meets it however it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    ip: IpAddr,
    port: u16,
}

impl ClientAddr {
    /// The address and port.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { ip: address.ip().to_canonical(), port: address.port() }
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// Binds every address of a kind of which no socket was passed, and takes up those that were.
///
/// # Errors
///
/// [`BindError`], which names the address.
pub fn bind(settings: &Settings, inherited: Inherited) -> Result<Vec<Listener>, BindError> {
    let to_bind = settings.listen.iter().filter(|(_, opening)| !inherited.has(*opening));
    let mut listeners = to_bind
        .map(|(address, opening)| Ok(Listener { socket: bind_one(*address)?, opening: *opening }))
        .collect::<Result<Vec<_>, _>>()?;
    for (socket, opening) in inherited.into_sockets() {
        let socket = TcpListener::from_std(socket).map_err(BindError::Passed)?;
        listeners.push(Listener { socket, opening });
    }
    Ok(listeners)
}

/// Binds one address, where connections begin with TLS.
///
/// # Errors
///
/// [`BindError`], which names the address.
pub fn bind_to(address: SocketAddr) -> Result<Listener, BindError> {
    Ok(Listener { socket: bind_one(address)?, opening: Opening::Tls })
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart need not wait for the last connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, port: address.port() },
        io::ErrorKind::PermissionDenied => BindError::Forbidden { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ => BindError::Other { address, source },
    })
}

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has it.
    #[error("{address} is in use: another program listens there (`ss -ltnp 'sport = :{port}'` names it)")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Its port.
        port: u16,
    },
    /// Ports below 1024 want a privilege.
    #[error("{address} may not be bound by this user: use the systemd socket, or a port from 1024")]
    Forbidden {
        /// The address.
        address: SocketAddr,
    },
    /// No interface has it.
    #[error("{address} is not an address of this machine")]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// A socket that was passed can't be waited for.
    #[error("a socket that was passed can't be used")]
    Passed(#[source] io::Error),
    /// What the system said.
    #[error("{address} can't be bound")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The next connection. Errors of a single connection are skipped; when the system has no
/// descriptors left, this calls `make_room` and waits, longer each time, instead of spinning.
pub async fn next(listener: &Listener, make_room: impl Fn()) -> (TcpStream, ClientAddr) {
    let mut back_off = Duration::from_millis(5);
    loop {
        match listener.socket.accept().await {
            Ok((stream, address)) => {
                // Small writes (console keystrokes) leave at once; a refusal only costs speed.
                let _ = stream.set_nodelay(true);
                return (stream, ClientAddr::new(address));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = %error, wait = ?back_off, "the system accepts no connection");
                make_room();
                sleep(back_off).await;
                back_off = (back_off * 2).min(LONGEST_BACK_OFF);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_is_an_ipv4_address() {
        let table = [
            ("[::ffff:10.1.2.3]:5000", "10.1.2.3:5000"),
            ("10.1.2.3:5000", "10.1.2.3:5000"),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
            ("[::1]:1", "[::1]:1"),
        ];
        for (peer, client) in table {
            assert_eq!(ClientAddr::new(peer.parse().unwrap()).to_string(), client);
        }
    }
}
