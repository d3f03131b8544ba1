//! Sources that the lists refuse and that are told so: `access.on_deny = "page"`.
//!
//! A [`TurnedAway`] stands beside [`Admitted`] and is none: it has a place among the open connections, so
//! that every limit holds for it, and nothing that a request could be decided with. Whoever is banned or
//! over a limit is not told anything, whatever the settings say.

use super::{
    Admission, Admitted, ConnectionPermit, Ended, Holder, Refusal, Revocable, SourceRefusal, Unnamed, lock,
};
use crate::{accept::ClientAddr, time::Timestamp};
use std::{net::IpAddr, sync::PoisonError};

/// What a source hears that the lists refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeny {
    /// Nothing: it is closed before TLS.
    #[default]
    Drop,
    /// A page that says so, which costs a handshake.
    Page,
}

/// What has become of a connection that is not closed at once.
#[derive(Debug)]
pub enum Received<T> {
    /// It may ask.
    Admitted(Admitted<T>),
    /// It may only be told why not.
    TurnedAway(TurnedAway<T>),
}

/// A connection whose source the lists refuse. It is answered once, with the reason, and closed.
///
/// It cannot become an [`Admitted`], and its place is no [`ConnectionPermit`], which every request needs:
///
/// ```compile_fail
/// use pvegate::admission::{ConnectionPermit, TurnedAway};
/// fn ask_all_the_same(turned_away: TurnedAway<()>) -> ConnectionPermit {
///     let (_, place) = turned_away.into_parts();
///     place
/// }
/// ```
///
/// It can be taken apart, to be told why:
///
/// ```
/// use pvegate::admission::{HeldPlace, Revocable, TurnedAway};
/// fn take(turned_away: TurnedAway<()>) -> (Revocable<()>, HeldPlace) {
///     turned_away.into_parts()
/// }
/// ```
#[derive(Debug)]
pub struct TurnedAway<T> {
    connection: Revocable<T>,
    client: ClientAddr,
    refusal: SourceRefusal,
    place: HeldPlace,
}

impl<T> TurnedAway<T> {
    /// Who it is.
    pub fn client(&self) -> ClientAddr {
        self.client
    }

    /// Why it is refused.
    pub fn refusal(&self) -> SourceRefusal {
        self.refusal
    }

    /// The connection, and the place that must live as long as it does.
    pub fn into_parts(self) -> (Revocable<T>, HeldPlace) {
        (self.connection, self.place)
    }
}

/// A place among the open connections, and nothing else; dropping it gives the place back.
#[derive(Debug)]
pub struct HeldPlace(ConnectionPermit);

impl HeldPlace {
    /// Why the connection was ended from here, if it was.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.0.ended()
    }
}

impl Admission {
    /// Admits a connection, or turns it away with a word, or says why it is closed.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn receive<T>(&self, connection: T, client: ClientAddr) -> Result<Received<T>, Refusal> {
        let now = self.clock.now();
        let Some(refusal) = self.is_told(client.ip(), now) else {
            return self.admit(connection, client).map(Received::Admitted);
        };
        self.has_requests_left(client.ip(), refusal)?;
        let place = lock(&self.places).take(client, Holder::Client, self.room(), now)?;
        let permit = ConnectionPermit::new(self.places.clone(), place);
        Ok(turned_away(connection, client, refusal, permit))
    }

    /// The same for the client for whom a peer speaks.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn receive_conveyed<T>(&self, from: Unnamed<T>, client: ClientAddr) -> Result<Received<T>, Refusal> {
        let now = self.clock.now();
        let Some(refusal) = self.is_told(client.ip(), now) else {
            return self.convey(from, client).map(Received::Admitted);
        };
        self.has_requests_left(client.ip(), refusal)?;
        let Unnamed { connection, peer: _, permit } = from;
        lock(&self.places).convey(permit.id(), client, self.room(), now)?;
        Ok(turned_away(connection, client, refusal, permit))
    }

    /// Why the lists refuse a source, if it is to hear that.
    fn is_told(&self, ip: IpAddr, now: Timestamp) -> Option<SourceRefusal> {
        match self.settings.on_deny {
            OnDeny::Drop => return None,
            OnDeny::Page => {}
        }
        let refusal = self.judge(ip, now).err()?;
        // The lists are asked before the bans, so a ban may be behind either.
        let is_banned = self.bans.read().unwrap_or_else(PoisonError::into_inner).hold(ip, now);
        match refusal {
            SourceRefusal::Denied | SourceRefusal::NotAllowed if !is_banned => Some(refusal),
            SourceRefusal::Denied | SourceRefusal::NotAllowed | SourceRefusal::Banned => None,
        }
    }

    /// A handshake for a stranger counts as a request, before it is made.
    fn has_requests_left(&self, ip: IpAddr, refusal: SourceRefusal) -> Result<(), Refusal> {
        self.request(ip).map_err(|_too_many| refusal.into())
    }
}

fn turned_away<T>(
    connection: T,
    client: ClientAddr,
    refusal: SourceRefusal,
    permit: ConnectionPermit,
) -> Received<T> {
    let connection = Revocable::new(connection, permit.cut().clone());
    Received::TurnedAway(TurnedAway { connection, client, refusal, place: HeldPlace(permit) })
}

#[cfg(test)]
mod tests;
