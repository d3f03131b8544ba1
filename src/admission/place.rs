//! Places among the open connections: who has one, who must give his up.
//!
//! When every place is taken, the stranger who has been silent for longest makes room; a connection that
//! carried a permitted request never does. So a flood of strangers costs other strangers their patience,
//! and whoever is signed in nothing. A ban takes the places of its network.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;

use super::{
    Refusal,
    cut::{Cut, Ended},
    source::{SitePrefix, SourcePrefix},
};
use crate::{accept::ClientAddr, time::Timestamp};

/// How many sources' places a /48 has.
const SITE: usize = 16;

/// How long somebody's having been signed in counts for a source. It is also the time for which no ban
/// comes by itself.
pub const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);

/// Sources that are known at once. Only people who can sign in make one.
const KNOWN: usize = 4096;

/// How often a connection says that it is of somebody signed in.
const SAYS_EVERY: i64 = 60_000;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Places {
    next: u64,
    by_id: HashMap<u64, Place>,
    /// Of strangers, the one that has been silent for longest first.
    strangers: BTreeMap<u64, u64>,
    by_source: HashMap<SourcePrefix, usize>,
    by_site: HashMap<SitePrefix, usize>,
    known: HashMap<SourcePrefix, Timestamp>,
    /// Those that were told to end and have not yet.
    leaving: usize,
}

#[derive(Debug)]
struct Place {
    client: IpAddr,
    holder: Holder,
    /// Its key among the strangers.
    silent_since: Option<u64>,
    leaving: bool,
    cut: Arc<Cut>,
}

/// For whom a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// For a client, and counts for its source.
    Client,
    /// For a listed peer, which speaks for many.
    Peer,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) in_all: usize,
    pub(super) per_source: usize,
}

impl Places {
    /// Takes a place.
    pub(super) fn take(
        &mut self,
        client: ClientAddr,
        holder: Holder,
        room: Room,
        now: Timestamp,
    ) -> Result<(u64, Arc<Cut>), Refusal> {
        if holder == Holder::Client {
            self.has_share(SourcePrefix::of(client.ip()), room.per_source, now)?;
        }
        // Those who leave are gone within moments; the system need not hold many more than were asked for.
        let spare = (room.in_all / 16).max(16);
        if self.by_id.len() - self.leaving >= room.in_all
            && (self.leaving >= spare || self.shed(1, Ended::Shed) == 0)
        {
            return Err(Refusal::Full(room.in_all));
        }
        let (id, silent_since) = (self.number(), self.number());
        let cut = Arc::new(Cut::default());
        let place = Place {
            client: client.ip(),
            holder,
            silent_since: Some(silent_since),
            leaving: false,
            cut: cut.clone(),
        };
        self.count(&place);
        self.by_id.insert(id, place);
        self.strangers.insert(silent_since, id);
        Ok((id, cut))
    }

    /// A peer's place becomes that of the client for whom it speaks.
    pub(super) fn convey(
        &mut self,
        id: u64,
        client: ClientAddr,
        room: Room,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.has_share(SourcePrefix::of(client.ip()), room.per_source, now)?;
        self.belongs_to(id, client.ip());
        Ok(())
    }

    /// What was conveyed is the peer's again.
    pub(super) fn give_back(&mut self, id: u64) {
        if let Some(mut place) = self.by_id.remove(&id) {
            if place.holder == Holder::Client {
                self.uncount(&place);
                place.holder = Holder::Peer;
            }
            self.by_id.insert(id, place);
        }
    }

    fn belongs_to(&mut self, id: u64, client: IpAddr) {
        if let Some(mut place) = self.by_id.remove(&id) {
            if place.holder == Holder::Peer {
                place.client = client;
                place.holder = Holder::Client;
                self.count(&place);
            }
            self.by_id.insert(id, place);
        }
    }

    /// Whether a source may have one more.
    fn has_share(&self, source: SourcePrefix, per_source: usize, now: Timestamp) -> Result<(), Refusal> {
        let open = self.by_source.get(&source).copied().unwrap_or(0);
        if open >= per_source {
            return Err(Refusal::SourceFull(open));
        }
        let of_site = source.site().and_then(|site| self.by_site.get(&site)).copied().unwrap_or(0);
        if of_site >= per_source.saturating_mul(SITE) && !self.is_known(source, now) {
            return Err(Refusal::SourceFull(of_site));
        }
        Ok(())
    }

    /// Gives a place back.
    fn leave(&mut self, id: u64) {
        let Some(place) = self.by_id.remove(&id) else { return };
        if let Some(silent_since) = place.silent_since {
            self.strangers.remove(&silent_since);
        }
        self.leaving -= usize::from(place.leaving);
        self.uncount(&place);
    }

    fn uncount(&mut self, place: &Place) {
        if place.holder == Holder::Client {
            let source = SourcePrefix::of(place.client);
            one_less(&mut self.by_source, source);
            if let Some(site) = source.site() {
                one_less(&mut self.by_site, site);
            }
        }
    }

    fn count(&mut self, place: &Place) {
        if place.holder == Holder::Client {
            let source = SourcePrefix::of(place.client);
            *self.by_source.entry(source).or_default() += 1;
            if let Some(site) = source.site() {
                *self.by_site.entry(site).or_default() += 1;
            }
        }
    }

    /// A stranger has sent a request: others have been silent for longer.
    fn heard_from(&mut self, id: u64) {
        let number = self.number();
        if let Some(place) = self.by_id.get_mut(&id)
            && let Some(silent_since) = &mut place.silent_since
        {
            self.strangers.remove(silent_since);
            *silent_since = number;
            self.strangers.insert(number, id);
        }
    }

    /// The connection is somebody's who may reach Proxmox VE.
    fn signed_in(&mut self, id: u64, now: Timestamp) {
        if let Some(place) = self.by_id.get_mut(&id) {
            if let Some(silent_since) = place.silent_since.take() {
                self.strangers.remove(&silent_since);
            }
            if place.holder == Holder::Client {
                let source = SourcePrefix::of(place.client);
                self.know(source, now);
            }
        }
    }

    /// Somebody is or was signed in from there.
    pub(super) fn know(&mut self, source: SourcePrefix, at: Timestamp) {
        if self.known.len() >= KNOWN && !self.known.contains_key(&source) {
            self.known.retain(|_, seen| at < seen.plus(KNOWN_FOR));
            if self.known.len() >= KNOWN
                && let Some(oldest) = self.known.iter().min_by_key(|(_, seen)| **seen).map(|(k, _)| *k)
            {
                self.known.remove(&oldest);
            }
        }
        let seen = self.known.entry(source).or_insert(at);
        *seen = (*seen).max(at);
    }

    pub(super) fn is_known(&self, source: SourcePrefix, now: Timestamp) -> bool {
        self.known.get(&source).is_some_and(|seen| now < seen.plus(KNOWN_FOR))
    }

    /// Ends so many connections of strangers, those that have been silent for longest; says how many.
    pub(super) fn shed(&mut self, count: usize, why: Ended) -> usize {
        let mut ended = 0;
        while ended < count
            && let Some((_, id)) = self.strangers.pop_first()
        {
            if let Some(place) = self.by_id.get_mut(&id) {
                place.silent_since = None;
                end(place, why, &mut self.leaving);
                ended += 1;
            }
        }
        ended
    }

    /// Ends every connection of a network.
    pub(super) fn end_all_of(&mut self, network: &IpNet, why: Ended) {
        for place in self.by_id.values_mut() {
            if place.holder == Holder::Client && network.contains(&place.client) && !place.leaving {
                if let Some(silent_since) = place.silent_since.take() {
                    self.strangers.remove(&silent_since);
                }
                end(place, why, &mut self.leaving);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
            && self.strangers.is_empty()
            && self.by_source.is_empty()
            && self.by_site.is_empty()
            && self.leaving == 0
    }
}

fn end(place: &mut Place, why: Ended, leaving: &mut usize) {
    place.leaving = true;
    *leaving += 1;
    place.cut.end(why);
}

fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// A place among the open connections; dropping it gives the place back.
pub struct ConnectionPermit {
    places: Arc<Mutex<Places>>,
    id: u64,
    cut: Arc<Cut>,
    /// When it was last said that this is somebody signed in, in milliseconds; `i64::MIN` for never.
    said_at: AtomicI64,
}

impl ConnectionPermit {
    pub(super) fn new(places: Arc<Mutex<Places>>, (id, cut): (u64, Arc<Cut>)) -> Self {
        Self { places, id, cut, said_at: AtomicI64::new(i64::MIN) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn cut(&self) -> &Arc<Cut> {
        &self.cut
    }

    /// A request has come. While nobody signed in is known to be behind it, it keeps the place for longer.
    pub fn heard_from(&self) {
        if self.said_at.load(Ordering::Relaxed) == i64::MIN {
            self.places().heard_from(self.id);
        }
    }

    /// A request was permitted: the place is kept for it, and its source is known for [`KNOWN_FOR`].
    pub fn signed_in(&self, now: Timestamp) {
        let said = self.said_at.load(Ordering::Relaxed);
        if said == i64::MIN || (now.millis() - said).abs() >= SAYS_EVERY {
            self.said_at.store(now.millis(), Ordering::Relaxed);
            self.places().signed_in(self.id, now);
        }
    }

    /// After [`super::Admission::lend`]: no tunnel has come of it, and the peer may speak for others.
    pub fn give_back(&self) {
        self.places().give_back(self.id);
    }

    /// Why the connection was ended from here, if it was.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.cut.why()
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.places().leave(self.id);
    }
}

impl fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionPermit({})", self.id)
    }
}
