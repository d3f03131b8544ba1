//! May this source talk to us? Asked at accept, before TLS: a refusal costs one accept.
//!
//! [`Admission::admit`] makes an [`Admitted`]; for a connection from a listed peer, which speaks for
//! others, [`Admission::convey`] does, once the peer has said for whom. `turned_away` is for whom the lists
//! refuse and who is told so. The lists (`networks`) and bans are
//! judged by `source` (pure); `place` counts who has how many connections open and ends those of strangers when
//! there are too many; `rate` counts requests and sign-ins; `ban` says what leads to a ban. Nothing here
//! touches the store: the gate carries bans there and back.

pub mod ban;
mod cut;
mod networks;
mod place;
pub mod rate;
mod source;
mod turned_away;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use ipnet::IpNet;

pub use cut::{Ended, Revocable};
pub use place::{ConnectionPermit, KNOWN_FOR};
pub use source::{SitePrefix, SourcePrefix, SourceRefusal};
pub use turned_away::{HeldPlace, OnDeny, Received, TurnedAway};

use crate::{
    accept::ClientAddr,
    audit::{Action, Event, Outcome, Reason},
    time::{Clock, Timestamp},
};
use ban::{Bans, Offence, Scores};
use networks::Networks;
use place::{Holder, Places, Room};
use rate::{RequestRate, Requests, Standing, TooManyRequests};

/// Who is admitted, how many at once, how often, and who is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Networks that may connect. Empty admits nobody.
    pub allow: Vec<IpNet>,
    /// Networks that may not, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// What those hear who may not.
    pub on_deny: OnDeny,
    /// Peers that speak for clients: by the PROXY protocol, or by the forwarding field.
    pub peers: Vec<IpNet>,
    /// Whether peers name the client in a field of each request. Otherwise a peer is a client like any
    /// other where no PROXY protocol is spoken.
    pub peers_forward: bool,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one source prefix (an IPv4 address, an IPv6 /64).
    pub max_connections_per_source: usize,
    /// Requests from one source prefix.
    pub requests: Requests,
    /// What leads to a ban.
    pub bans: ban::Rules,
}

/// Decides who may stay, and counts them.
pub struct Admission {
    settings: Settings,
    lists: Lists,
    clock: Arc<dyn Clock>,
    places: Arc<Mutex<Places>>,
    requests: RequestRate,
    bans: RwLock<Bans>,
    scores: Mutex<Scores>,
    /// Sources that are to be banned as soon as the store knows.
    due: Mutex<HashMap<SourcePrefix, Offence>>,
}

/// The networks of the settings, made ready to be asked.
struct Lists {
    allow: Networks,
    deny: Networks,
    peers: Networks,
    never_ban: Networks,
}

/// Sources that wait for their ban at once; who finds no place offends again.
const DUE: usize = 1024;

/// Proof that a connection's source is allowed and within its limits. What it holds counts as open
/// until it is dropped.
///
/// ```compile_fail
/// use pvegate::{accept::ClientAddr, admission::{Admitted, ConnectionPermit, Revocable}};
/// fn forge(connection: Revocable<()>, client: ClientAddr, permit: ConnectionPermit) -> Admitted<()> {
///     Admitted { connection, client, permit }
/// }
/// ```
///
/// [`Admission::admit`] makes one, and it can be taken apart:
///
/// ```
/// use pvegate::{accept::ClientAddr, admission::{Admitted, ConnectionPermit, Revocable}};
/// fn take(admitted: Admitted<()>) -> (ClientAddr, Revocable<()>, ConnectionPermit) {
///     let client = admitted.client();
///     let (connection, permit) = admitted.into_parts();
///     (client, connection, permit)
/// }
/// ```
#[derive(Debug)]
pub struct Admitted<T> {
    connection: Revocable<T>,
    client: ClientAddr,
    permit: ConnectionPermit,
}

impl<T> Admitted<T> {
    /// Who it is.
    pub fn client(&self) -> ClientAddr {
        self.client
    }

    /// The connection, and the permit that must live as long as it does.
    pub fn into_parts(self) -> (Revocable<T>, ConnectionPermit) {
        (self.connection, self.permit)
    }
}

/// A connection of a listed peer that has not said yet for whom it is. It holds a place and nothing else.
#[derive(Debug)]
pub struct Unnamed<T> {
    connection: T,
    peer: ClientAddr,
    permit: ConnectionPermit,
}

impl<T> Unnamed<T> {
    /// Where the connection comes from.
    pub fn peer(&self) -> ClientAddr {
        self.peer
    }

    /// The connection, to hear of the client.
    pub fn connection(&mut self) -> &mut T {
        &mut self.connection
    }
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lists say so.
    #[error(transparent)]
    Source(#[from] SourceRefusal),
    /// Whoever connects where clients are named by peers is none.
    #[error("no listed peer, where only those may connect")]
    NotAPeer,
    /// Too many connections in all, and none of them a stranger's.
    #[error("{0} connections are open, as many as may be")]
    Full(usize),
    /// Too many from this source, or from its /48.
    #[error("{0} connections of this source are open, as many as may be")]
    SourceFull(usize),
}

impl From<SourceRefusal> for Reason {
    fn from(refusal: SourceRefusal) -> Self {
        let word = match refusal {
            SourceRefusal::Denied | SourceRefusal::NotAllowed => "address",
            SourceRefusal::Banned => "banned",
        };
        Self::new(word, refusal)
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let word = match refusal {
            Refusal::Source(refusal) => return refusal.into(),
            Refusal::NotAPeer => "peer",
            Refusal::Full(_) => "full",
            Refusal::SourceFull(_) => "connections",
        };
        Self::new(word, refusal)
    }
}

impl Admission {
    /// With these settings, and nobody connected, known or banned.
    #[must_use]
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            requests: RequestRate::new(settings.requests, clock.clone()),
            lists: Lists {
                allow: Networks::new(&settings.allow),
                deny: Networks::new(&settings.deny),
                peers: Networks::new(&settings.peers),
                never_ban: Networks::new(&settings.bans.never),
            },
            settings,
            clock,
            places: Arc::default(),
            bans: RwLock::default(),
            scores: Mutex::default(),
            due: Mutex::default(),
        }
    }

    /// Admits a connection, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn admit<T>(&self, connection: T, client: ClientAddr) -> Result<Admitted<T>, Refusal> {
        let now = self.clock.now();
        let holder = self.judge(client.ip(), now)?;
        let place = lock(&self.places).take(client, holder, self.room(), now)?;
        let permit = ConnectionPermit::new(self.places.clone(), place);
        let connection = Revocable::new(connection, permit.cut().clone());
        Ok(Admitted { connection, client, permit })
    }

    /// Whether the lists let this address in. Bans are of the moment, and not asked.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.judge_by(ip.to_canonical(), &Bans::default(), self.clock.now()).is_ok()
    }

    /// Admits a connection on which a peer will say for whom it is, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn admit_peer<T>(&self, connection: T, peer: ClientAddr) -> Result<Unnamed<T>, Refusal> {
        if self.lists.deny.hold(peer.ip()) {
            return Err(SourceRefusal::Denied.into());
        }
        if !self.is_peer(peer.ip()) {
            return Err(Refusal::NotAPeer);
        }
        let place = lock(&self.places).take(peer, Holder::Peer, self.room(), self.clock.now())?;
        Ok(Unnamed { connection, peer, permit: ConnectionPermit::new(self.places.clone(), place) })
    }

    /// Admits the client for whom a peer speaks, or says why not: the lists, the bans and the share of a
    /// source hold for it as if it had come itself.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the connection is closed then, silently.
    pub fn convey<T>(&self, from: Unnamed<T>, client: ClientAddr) -> Result<Admitted<T>, Refusal> {
        let now = self.clock.now();
        let Unnamed { connection, peer: _, permit } = from;
        match self.judge(client.ip(), now)? {
            Holder::Client => lock(&self.places).convey(permit.id(), client, self.room(), now)?,
            Holder::Peer => {}
        }
        let connection = Revocable::new(connection, permit.cut().clone());
        Ok(Admitted { connection, client, permit })
    }

    /// Whether a client that a peer has named in a request's field may talk to us.
    ///
    /// # Errors
    ///
    /// [`SourceRefusal`]
    pub fn conveyed(&self, ip: IpAddr) -> Result<(), SourceRefusal> {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        self.judge_by(ip, &bans, self.clock.now())
    }

    /// Gives a peer's connection to the client that asks for a tunnel through it: it counts for that one's
    /// share, and a ban of it ends the connection. [`ConnectionPermit::give_back`] if no tunnel comes of it.
    ///
    /// # Errors
    ///
    /// [`Refusal::SourceFull`]; the connection stays the peer's then.
    pub fn lend(&self, permit: &ConnectionPermit, client: ClientAddr) -> Result<(), Refusal> {
        lock(&self.places).convey(permit.id(), client, self.room(), self.clock.now())
    }

    /// Whether requests from this address must name their client in a field.
    #[must_use]
    pub fn must_forward(&self, ip: IpAddr) -> bool {
        self.settings.peers_forward && self.is_peer(ip)
    }

    /// Whether this address is a listed peer's.
    #[must_use]
    pub fn is_peer(&self, ip: IpAddr) -> bool {
        self.lists.peers.hold(ip)
    }

    /// Counts a request by its source.
    ///
    /// # Errors
    ///
    /// [`TooManyRequests`]; such a request does not count.
    pub fn request(&self, ip: IpAddr) -> Result<(), TooManyRequests> {
        let source = SourcePrefix::of(ip);
        // Only a /48 treats those who are known otherwise, and IPv4 has none.
        let standing = match source.site() {
            Some(_) => self.standing(source),
            None => Standing::Stranger,
        };
        self.requests.request(source, standing)
    }

    /// What is known of a source.
    #[must_use]
    pub fn standing(&self, source: SourcePrefix) -> Standing {
        if lock(&self.places).is_known(source, self.clock.now()) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }

    /// Somebody is signed in from this address, or was lately.
    pub fn know(&self, ip: IpAddr) {
        lock(&self.places).know(SourcePrefix::of(ip), self.clock.now());
    }

    /// Ends so many connections of strangers, those that have been silent for longest: the system has
    /// nothing left for newcomers.
    pub fn shed(&self, count: usize) {
        lock(&self.places).shed(count, Ended::Shed);
    }

    /// Takes note of what an event says about its source.
    pub fn hear(&self, event: &Event) {
        let Some(ip) = event.client.map(|ip| ip.to_canonical()) else { return };
        if (event.action, event.outcome) == (Action::SignIn, Outcome::Success) {
            self.know(ip);
        }
        let rules = &self.settings.bans;
        let (true, Some(offence)) = (rules.automatic, Offence::of(event)) else { return };
        let source = SourcePrefix::of(ip);
        let is_spared = self.lists.never_ban.hold(ip) || self.is_peer(ip);
        if is_spared || self.standing(source) == Standing::Known {
            return;
        }
        if lock(&self.scores).add(source, offence, rules.after, self.clock.now()) {
            self.is_due(source, offence);
        }
    }

    /// Sources that are to be banned now, and for what; they are not named again, unless
    /// [`Admission::is_due`].
    pub fn due_bans(&self) -> Vec<(SourcePrefix, Offence)> {
        std::mem::take(&mut *lock(&self.due)).into_iter().collect()
    }

    /// Takes note that a source is to be banned: for the first time, or again since its ban could not be
    /// written.
    pub fn is_due(&self, source: SourcePrefix, offence: Offence) {
        let mut due = lock(&self.due);
        if due.len() < DUE {
            due.insert(source, offence);
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.places).len()
    }

    /// By what sources are banned.
    #[must_use]
    pub fn ban_rules(&self) -> &ban::Rules {
        &self.settings.bans
    }

    /// Takes in that a network is banned until a time, `None` for not at all. Its connections end.
    pub fn set_ban(&self, network: IpNet, until: Option<Timestamp>) {
        let now = self.clock.now();
        let mut bans = self.bans.write().unwrap_or_else(PoisonError::into_inner);
        bans.sweep(now);
        bans.set(network, until);
        drop(bans);
        if until.is_some_and(|until| now < until) {
            lock(&self.places).end_all_of(&network, Ended::Banned);
        }
    }

    fn judge(&self, ip: IpAddr, now: Timestamp) -> Result<Holder, SourceRefusal> {
        if self.must_forward(ip) && !self.lists.deny.hold(ip) {
            return Ok(Holder::Peer);
        }
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        self.judge_by(ip, &bans, now)?;
        Ok(Holder::Client)
    }

    fn judge_by(&self, ip: IpAddr, bans: &Bans, now: Timestamp) -> Result<(), SourceRefusal> {
        source::judge(ip, &self.lists.allow, &self.lists.deny, bans, now)
    }

    fn room(&self) -> Room {
        Room { in_all: self.settings.max_connections, per_source: self.settings.max_connections_per_source }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::time::ManualClock;

    const START: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn admission(max_connections: usize, per_source: usize) -> (Admission, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(START));
        let many = NonZeroU32::new(1000).unwrap();
        let settings = Settings {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            deny: vec!["10.66.0.0/16".parse().unwrap()],
            on_deny: OnDeny::Drop,
            peers: vec!["10.9.0.1/32".parse().unwrap(), "192.0.2.0/24".parse().unwrap()],
            peers_forward: false,
            max_connections,
            max_connections_per_source: per_source,
            requests: Requests { a_second: many, burst: many },
            bans: ban::Rules {
                automatic: true,
                after: 20,
                first: Duration::from_secs(600),
                longest: Duration::from_secs(86_400),
                never: vec!["10.7.0.0/16".parse().unwrap()],
            },
        };
        (Admission::new(settings, clock.clone()), clock)
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr::new(text.parse().unwrap())
    }

    fn ended(admitted: &Admitted<()>) -> Option<Ended> {
        admitted.permit.ended()
    }

    #[test]
    fn a_source_has_its_share_and_gets_it_back_when_a_connection_closes() {
        let (admission, _) = admission(100, 2);
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
    fn a_slash_48_has_the_share_of_sixteen_and_keeps_nobody_out_who_signed_in_lately() {
        let (admission, _) = admission(1000, 2);
        let neighbour = |i: usize| client(&format!("[2001:db8:0:{i:x}::1]:1"));
        let held: Vec<_> = (0..100).filter_map(|i| admission.admit((), neighbour(i)).ok()).collect();
        assert_eq!(held.len(), 32);

        admission.know(neighbour(500).ip());
        assert!(admission.admit((), neighbour(500)).is_ok());
        assert_eq!(admission.admit((), neighbour(501)).unwrap_err(), Refusal::SourceFull(32));
        assert!(admission.admit((), client("[2001:db8:1::1]:1")).is_ok(), "another /48");
    }

    #[test]
    fn when_all_places_are_taken_the_stranger_who_was_silent_for_longest_goes_and_nobody_who_is_signed_in() {
        let (admission, _) = admission(3, 3);
        let alice = admission.admit((), client("10.0.0.1:1")).unwrap();
        alice.permit.signed_in(START);
        let silent = admission.admit((), client("10.0.0.2:1")).unwrap();
        let speaking = admission.admit((), client("10.0.0.3:1")).unwrap();
        // It came first and has spoken since.
        silent.permit.heard_from();
        speaking.permit.heard_from();
        silent.permit.heard_from();

        let newcomer = admission.admit((), client("10.0.0.4:1")).unwrap();
        assert_eq!([&alice, &silent, &speaking, &newcomer].map(ended), [None, None, Some(Ended::Shed), None]);

        drop(speaking);
        let _others: Vec<_> =
            (5..50).map(|i| admission.admit((), client(&format!("10.0.0.{i}:1")))).collect();
        assert_eq!(ended(&alice), None);
    }

    #[test]
    fn when_all_are_signed_in_a_newcomer_is_refused() {
        let (admission, _) = admission(2, 2);
        let held = [client("10.0.0.1:1"), client("10.0.0.2:1")].map(|client| {
            let admitted = admission.admit((), client).unwrap();
            admitted.permit.signed_in(START);
            admitted
        });

        assert_eq!(admission.admit((), client("10.2.0.1:1")).unwrap_err(), Refusal::Full(2));
        assert_eq!(held.each_ref().map(ended), [None, None]);
    }

    #[test]
    fn those_who_were_told_to_go_and_have_not_yet_are_bounded() {
        let (admission, _) = admission(32, 32);
        // Nobody drops anything: no victim has left yet.
        let held: Vec<_> = (0..10_000)
            .filter_map(|i| admission.admit((), client(&format!("10.1.{}.{}:1", i / 250, i % 250))).ok())
            .collect();

        assert_eq!(held.len(), 32 + 16);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let (admission, _) = admission(2, 2);
        for port in 1..1000 {
            let clients = [format!("10.0.0.{}:{port}", port % 250), format!("[2001:db8:{port:x}::1]:{port}")];
            let held = clients.map(|text| admission.admit((), client(&text)).unwrap());
            drop(admission.admit((), client("10.2.0.1:1")));
            drop(held);
        }

        assert!(lock(&admission.places).is_empty());
    }

    #[test]
    fn a_ban_ends_the_connections_of_its_network_and_keeps_it_out_until_its_time() {
        let (admission, clock) = admission(100, 10);
        let [inside, beside] =
            ["10.0.0.1:1", "10.0.1.1:1"].map(|text| admission.admit((), client(text)).unwrap());
        inside.permit.signed_in(START);

        admission.set_ban("10.0.0.0/24".parse().unwrap(), Some(START.plus(Duration::from_secs(60))));

        assert_eq!([&inside, &beside].map(ended), [Some(Ended::Banned), None]);
        let again = || admission.admit((), client("10.0.0.9:1")).map(|_| ());
        assert_eq!(again(), Err(SourceRefusal::Banned.into()));
        clock.advance(Duration::from_secs(60));
        assert_eq!(again(), Ok(()));
    }

    #[test]
    fn a_source_is_due_for_a_ban_after_twenty_failures_unless_somebody_is_signed_in_there() {
        let (admission, clock) = admission(100, 10);
        let fail = |from: &str| {
            let failed = Event::new(Action::SignIn, Outcome::Failure).from(from.parse().unwrap());
            (0..20).for_each(|_| admission.hear(&failed));
            admission.due_bans()
        };
        let stranger = SourcePrefix::of("10.0.0.1".parse().unwrap());
        admission.know("10.0.0.2".parse().unwrap());

        assert_eq!(fail("10.0.0.1"), [(stranger, Offence::FailedSignIn)]);
        assert_eq!(admission.due_bans(), [], "each is named once");
        assert_eq!(fail("10.0.0.2"), [], "somebody signed in there within the last day");
        assert_eq!(fail("10.7.0.1"), [], "listed as never");
        assert_eq!(fail("192.0.2.1"), [], "a peer, which speaks for many");
        clock.advance(KNOWN_FOR);
        assert_eq!(fail("10.0.0.2").len(), 1);
    }

    #[test]
    fn a_peers_client_is_judged_as_if_it_had_come_itself() {
        let (admission, _) = admission(100, 2);
        let through = |peer: &str, text: &str| {
            let unnamed = admission.admit_peer((), client(peer))?;
            admission.convey(unnamed, client(text))
        };

        assert_eq!(through("10.0.0.1:1", "10.0.0.2:1").unwrap_err(), Refusal::NotAPeer);
        assert_eq!(through("10.66.0.1:1", "10.0.0.2:1").unwrap_err(), SourceRefusal::Denied.into());
        assert_eq!(through("192.0.2.1:1", "203.0.113.9:1").unwrap_err(), SourceRefusal::NotAllowed.into());
        let held = [1, 2].map(|port| through("192.0.2.1:1", &format!("10.0.0.2:{port}")).unwrap());
        assert_eq!(held.each_ref().map(Admitted::client), [client("10.0.0.2:1"), client("10.0.0.2:2")]);
        assert_eq!(through("192.0.2.1:1", "10.0.0.2:3").unwrap_err(), Refusal::SourceFull(2));
        assert!(through("192.0.2.1:1", "10.0.0.3:3").is_ok(), "the peer itself has no share to use up");
        assert_eq!(admission.admit((), client("192.0.2.1:1")).unwrap_err(), SourceRefusal::NotAllowed.into());
        drop(held);
        assert!(lock(&admission.places).is_empty());
    }
}
