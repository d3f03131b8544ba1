//! Sockets that the service manager passes (sd_listen_fds(3)): it may bind port 443 where we may not, and
//! keeps connections waiting while we restart.
//!
//! Their names (`FileDescriptorName=`) say how connections begin there: `https` with TLS, `proxy` with a
//! PROXY protocol header. Sockets of a kind stand in place of the configured addresses of that kind.

use std::{io, net::TcpListener};

use listenfd::ListenFd;

use super::Opening;

/// Sockets that were passed, not yet taken up by the runtime.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(TcpListener, Opening)>,
}

impl Inherited {
    /// Takes what was passed to this process; nothing is left for a second call. Call it before any thread
    /// begins: it reads and clears variables of the environment.
    ///
    /// # Errors
    ///
    /// [`InheritError`]
    pub fn take() -> Result<Self, InheritError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let opening = opening(name)?;
            let unusable = |source| InheritError::NotAListener { name: name.to_owned(), source };
            let socket = passed.take_tcp_listener(index).map_err(unusable)?;
            let Some(socket) = socket else { continue };
            socket.set_nonblocking(true).map_err(unusable)?;
            sockets.push((socket, opening));
        }
        Ok(Self { sockets })
    }

    /// Whether some were passed whose connections begin like that.
    #[must_use]
    pub fn has(&self, opening: Opening) -> bool {
        self.sockets.iter().any(|(_, it)| *it == opening)
    }

    pub(super) fn into_sockets(self) -> Vec<(TcpListener, Opening)> {
        self.sockets
    }
}

fn opening(name: &str) -> Result<Opening, InheritError> {
    match name {
        "https" => Ok(Opening::Tls),
        "proxy" => Ok(Opening::ProxyProtocol),
        other => Err(InheritError::Name(other.to_owned())),
    }
}

/// Why a socket that was passed is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// Its name is none of ours.
    #[error(
        "a socket is passed with the name `{0}`; FileDescriptorName= says `https`, or `proxy` for the PROXY protocol"
    )]
    Name(String),
    /// It does not listen for TCP connections.
    #[error("the socket that is passed with the name `{name}` does not listen for TCP connections")]
    NotAListener {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_connections_begin_and_any_other_is_refused() {
        assert_eq!(opening("https").unwrap(), Opening::Tls);
        assert_eq!(opening("proxy").unwrap(), Opening::ProxyProtocol);
        for name in ["", "pvegate.socket", "HTTPS", "http"] {
            assert!(opening(name).unwrap_err().to_string().contains("FileDescriptorName="), "{name}");
        }
    }
}
