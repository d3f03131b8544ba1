//! May this source talk to us? Asked at accept, before TLS: a refusal costs one accept.
//!
//! [`Admission::admit`] is the only maker of an [`Admitted`]. The lists are judged by `source`
//! (pure); how many connections a source has open is counted here. How often it may attempt to sign
//! in, [`rate`] knows; the gate asks that, for it knows what an attempt is.

pub mod rate;
mod source;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

pub use source::{SourcePrefix, SourceRefusal};

use crate::{accept::ClientAddr, audit::Reason};

/// Who is admitted, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Networks that may connect. Empty admits nobody.
    pub allow: Vec<IpNet>,
    /// Networks that may not, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one source prefix (an IPv4 address, an IPv6 /64).
    pub max_connections_per_source: usize,
}

/// Decides who may stay, and counts them.
#[derive(Debug)]
pub struct Admission {
    settings: Settings,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    in_all: usize,
    /// Only prefixes with a connection are in here, so it holds at most `max_connections` entries.
    by_source: HashMap<SourcePrefix, usize>,
}

/// Proof that a connection's source is allowed and within its limits. What it holds counts as open
/// until it is dropped.
///
/// ```compile_fail
/// use pvegate::{accept::ClientAddr, admission::{Admitted, ConnectionPermit}};
/// fn forge(client: ClientAddr, permit: ConnectionPermit) -> Admitted<()> {
///     Admitted { connection: (), client, permit }
/// }
/// ```
///
/// [`Admission::admit`] makes one, and it can be taken apart:
///
/// ```
/// use pvegate::{accept::ClientAddr, admission::{Admitted, ConnectionPermit}};
/// fn take(admitted: Admitted<()>) -> (ClientAddr, ConnectionPermit) {
///     let client = admitted.client();
///     let ((), permit) = admitted.into_parts();
///     (client, permit)
/// }
/// ```
#[derive(Debug)]
pub struct Admitted<T> {
    connection: T,
    client: ClientAddr,
    permit: ConnectionPermit,
}

impl<T> Admitted<T> {
    /// Who it is.
    pub fn client(&self) -> ClientAddr {
        self.client
    }

    /// The connection, and the permit that must live as long as it does.
    pub fn into_parts(self) -> (T, ConnectionPermit) {
        (self.connection, self.permit)
    }
}

/// A place among the open connections; dropping it gives the place back.
pub struct ConnectionPermit {
    open: Arc<Mutex<Open>>,
    source: SourcePrefix,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.in_all = open.in_all.saturating_sub(1);
        if let Some(count) = open.by_source.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_source.remove(&self.source);
            }
        }
    }
}

impl fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionPermit({:?})", self.source)
    }
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lists say so.
    #[error(transparent)]
    Source(#[from] SourceRefusal),
    /// Too many connections in all.
    #[error("{0} connections are open, as many as may be")]
    Full(usize),
    /// Too many from this source.
    #[error("{0} connections of this source are open, as many as may be")]
    SourceFull(usize),
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let word = match refusal {
            Refusal::Source(SourceRefusal::Denied | SourceRefusal::NotAllowed) => "address",
            Refusal::Full(_) | Refusal::SourceFull(_) => "connections",
        };
        Self::new(word, refusal)
    }
}

impl Admission {
    /// With these settings, and nobody connected.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: Arc::default() }
    }

    /// Admits a connection, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn admit<T>(&self, connection: T, client: ClientAddr) -> Result<Admitted<T>, Refusal> {
        source::judge(client.ip(), &self.settings.allow, &self.settings.deny)?;
        let source = SourcePrefix::of(client.ip());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.in_all >= self.settings.max_connections {
            return Err(Refusal::Full(open.in_all));
        }
        let count = open.by_source.entry(source).or_default();
        if *count >= self.settings.max_connections_per_source {
            return Err(Refusal::SourceFull(*count));
        }
        *count += 1;
        open.in_all += 1;
        drop(open);
        Ok(Admitted { connection, client, permit: ConnectionPermit { open: self.open.clone(), source } })
    }

    /// Whether a client that a peer has named in a request's field may talk to us.
    ///
    /// # Errors
    ///
    /// [`SourceRefusal`]
    pub fn conveyed(&self, ip: IpAddr) -> Result<(), SourceRefusal> {
        source::judge(ip, &self.settings.allow, &self.settings.deny)
    }

    /// Whether the lists let this address in.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        source::judge(ip.to_canonical(), &self.settings.allow, &self.settings.deny).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, per_source: usize) -> Admission {
        Admission::new(Settings {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            deny: vec![],
            max_connections,
            max_connections_per_source: per_source,
        })
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr::new(text.parse().unwrap())
    }

    #[test]
    fn a_source_has_its_share_and_gets_it_back_when_a_connection_closes() {
        let admission = admission(100, 2);
        let _first = admission.admit((), client("[2001:db8::1]:1")).unwrap();
        let second = admission.admit((), client("[2001:db8::2]:2")).unwrap();

        let third = admission.admit((), client("[2001:db8::3]:3"));
        let neighbour = admission.admit((), client("[2001:db8:0:1::1]:1"));
        drop(second);
        let after = admission.admit((), client("[2001:db8::3]:3"));

        assert_eq!(third.unwrap_err(), Refusal::SourceFull(2));
        assert!(neighbour.is_ok());
        assert!(after.is_ok());
    }

    #[test]
    fn there_is_a_limit_in_all_and_nothing_is_remembered_of_those_who_left() {
        let admission = admission(2, 2);
        for port in 1..1000 {
            let held =
                [client(&format!("10.0.0.{}:{port}", port % 250)), client(&format!("10.1.0.1:{port}"))]
                    .map(|client| admission.admit((), client).unwrap());
            assert_eq!(admission.admit((), client("10.2.0.1:1")).unwrap_err(), Refusal::Full(2));
            drop(held);
        }

        assert!(admission.open.lock().unwrap().by_source.is_empty());
    }
}
