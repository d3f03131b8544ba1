//! The sessions that this gate knows, in memory: what a permitted request costs is one look-up here.
//!
//! The store has the record; what ends there ends here within a second, and what ends here by its
//! times is written there. A session's end reaches its consoles and transfers through a [`Lease`].
//!
//! How an end works on what is running:
//! - *idle*: requests are refused; consoles have a limit of their own, so that a long upgrade can be
//!   watched; transfers finish.
//! - *expired*: consoles close; transfers finish.
//! - *signed out, revoked, disabled, policy*: everything is cut.
//!
//! What policies demand of a session is judged when it comes in, when the policies or something about its
//! owner change, and when it is used from another address (`demand`); a request from where the last one came
//! costs a comparison.

mod standing;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use http::uri::PathAndQuery;
use tokio::sync::watch;

use super::{
    SessionLimits,
    affinity::{NodeKey, Party, Pin},
    console::{self, Console, ConsoleId, LeadsTo},
    demand::Policies,
    live_rule::LiveRule,
    session::{self, Times},
};
use crate::{
    account::{EndReason, Person, Requirement, Role, Scope, Session, SessionId, Shown, User, UserId},
    time::Timestamp,
};
use standing::Terms;

/// The sessions that this gate knows.
#[derive(Debug)]
pub struct LiveSessions {
    policies: RwLock<Arc<Policies>>,
    by_id: RwLock<HashMap<SessionId, Arc<LiveSession>>>,
    /// Who was found without what is demanded, and the store does not know.
    found_lacking: Mutex<HashSet<(UserId, Requirement)>>,
    /// Owners of sessions that came in lately: what was read about them may be old by now.
    newcomers: Mutex<HashSet<UserId>>,
    /// Ends heard of lately: a session that is just being taken in must not miss its own.
    ended: Mutex<HashMap<SessionId, EndReason>>,
}

/// Ends that are remembered. Each concerns sessions that are taken in within moments.
const HEARD: usize = 10_000;

/// One session, shared by everything that happens in it.
#[derive(Debug)]
pub struct LiveSession {
    /// Identifier.
    pub id: SessionId,
    /// Whose it is, as of the sign-in or the last change.
    person: RwLock<Arc<Person>>,
    /// What they showed at the sign-in.
    pub shown: Shown,
    /// What it is good for.
    pub scope: Scope,
    /// From where.
    pub client: IpAddr,
    created_at: Timestamp,
    expires_at: Timestamp,
    last_active_at: AtomicI64,
    /// The activity that the store has.
    recorded_activity: AtomicI64,
    terms: RwLock<Terms>,
    over: watch::Sender<Option<EndReason>>,
    /// Whether the store was told of the end.
    recorded_end: AtomicBool,
    consoles: Mutex<Vec<Weak<Console>>>,
    node: Pin,
}

impl LiveSessions {
    /// Without sessions yet.
    #[must_use]
    pub fn new(policies: Policies) -> Self {
        Self {
            policies: RwLock::new(Arc::new(policies)),
            by_id: RwLock::default(),
            found_lacking: Mutex::default(),
            newcomers: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// Takes a session in, or finds it where it is in already.
    ///
    /// That its owner was heard to be disabled says nothing here: they may have been enabled since, in the
    /// store, where `session` was opened by a transaction that found them so. And whoever is disabled between
    /// that transaction and this call stays in no longer than others. Disabling ends the session's row as well,
    /// of which the follower hears once: before this, it is among `ended`; after it, the session is in the map.
    /// Where no row says so (somebody wrote into the database by hand), the follower reads the owner at its
    /// next look, as of every newcomer.
    pub fn insert(&self, session: &Session, person: Person, now: Timestamp) -> Arc<LiveSession> {
        let owner = person.user.id;
        let limits = self.policies().session;
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let live = by_id
            .entry(session.id)
            .or_insert_with(|| {
                Arc::new(LiveSession {
                    id: session.id,
                    person: RwLock::new(Arc::new(person)),
                    shown: session.shown(),
                    scope: session.scope,
                    client: session.client,
                    created_at: session.created_at,
                    expires_at: session.expires_at,
                    last_active_at: AtomicI64::new(session.last_active_at.millis()),
                    recorded_activity: AtomicI64::new(session.last_active_at.millis()),
                    terms: RwLock::new(Terms { at: session.client, limits, grace_until: None }),
                    over: watch::Sender::new(session.ended.map(|(_, reason)| reason)),
                    recorded_end: AtomicBool::new(session.ended.is_some()),
                    consoles: Mutex::default(),
                    node: Pin::default(),
                })
            })
            .clone();
        // Still under the map's lock: whoever ends it from here on finds it there.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = ended.get(&session.id) {
            live.end(*reason);
        }
        drop(ended);
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).insert(owner);
        self.judge(&live, None, now);
        live
    }

    /// The session, alive or lately over.
    #[must_use]
    pub fn find(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Ends a session that the store says has ended.
    pub fn end(&self, id: SessionId, reason: EndReason) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= HEARD {
            ended.clear();
        }
        ended.insert(id, reason);
        drop(ended);
        if let Some(session) = self.find(id) {
            session.end_is_recorded();
            session.end(reason);
        }
    }

    /// Looks at every clock and ends here what is over by its times. Takes no store: what must close in time
    /// waits for none. Only a session that seems idle is left for [`LiveSessions::sweep`], since another gate
    /// may know better.
    pub fn look_at_clocks(&self, now: Timestamp) {
        for session in self.all() {
            session.sweep_consoles(now);
            if !session.seems_idle(now) {
                // Ends it where it is over.
                let _ = session.alive(now);
            }
        }
    }

    /// Ends what is over by its times, idle sessions too, forgets what nothing runs in any more, and says
    /// which ends the store has to hear of: again and again, until [`LiveSession::end_is_recorded`].
    pub fn sweep(&self, now: Timestamp) -> Vec<(Arc<LiveSession>, EndReason)> {
        self.look_at_clocks(now);
        let mut unheard = Vec::new();
        let mut gone = Vec::new();
        for session in self.all() {
            let Err(reason) = session.alive(now) else { continue };
            // An idle session with an open console goes on in the store, so that whoever ends it there
            // ends the console too.
            if reason == EndReason::Idle && session.consoles() > 0 {
                continue;
            }
            if !session.recorded_end.load(Ordering::Relaxed) {
                unheard.push((session, reason));
            } else if Arc::strong_count(&session) == 2 {
                // Held by the map, and by the list that is walked here.
                gone.push(session.id);
            }
        }
        if !gone.is_empty() {
            let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
            by_id.retain(|id, session| !gone.contains(id) || Arc::strong_count(session) > 1);
        }
        unheard
    }

    /// Sessions that are about to end as idle, as far as this gate knows.
    pub(super) fn seemingly_idle(&self, now: Timestamp) -> Vec<Arc<LiveSession>> {
        self.all().into_iter().filter(|session| session.seems_idle(now)).collect()
    }

    /// The activity that the store does not have yet: again and again, until
    /// [`LiveSessions::activity_is_recorded`].
    #[must_use]
    pub fn unrecorded_activity(&self) -> Vec<(SessionId, Timestamp)> {
        self.all()
            .into_iter()
            .filter_map(|session| {
                let at = session.last_active_at.load(Ordering::Relaxed);
                let before = session.recorded_activity.load(Ordering::Relaxed);
                (at > before).then(|| (session.id, Timestamp::from_millis(at)))
            })
            .collect()
    }

    /// Takes note that the store has this activity.
    pub fn activity_is_recorded(&self, activity: &[(SessionId, Timestamp)]) {
        for (id, at) in activity {
            if let Some(session) = self.find(*id) {
                session.recorded_activity.fetch_max(at.millis(), Ordering::Relaxed);
            }
        }
    }

    /// The consoles that are open now, oldest first.
    #[must_use]
    pub fn consoles(&self) -> Vec<console::Told> {
        let mut told = Vec::new();
        for session in self.all() {
            let user = session.user().name.clone();
            told.extend(session.open_ones().into_iter().map(|console| console::Told {
                id: console.id,
                session: session.id,
                user: user.clone(),
                leads_to: console.leads_to.clone(),
                since: console.since,
            }));
        }
        told.sort_by_key(|console| console.since);
        told
    }

    /// How many consoles are open now.
    #[must_use]
    pub fn open_consoles(&self) -> usize {
        self.all().iter().map(|session| session.consoles()).sum()
    }

    /// Closes one of them; its session goes on. Says whether it was open.
    pub fn close_console(&self, id: ConsoleId) -> bool {
        let open = self.all().into_iter().flat_map(|session| session.open_ones());
        let mut found = open.filter(|console| console.id == id);
        found.next().map(|console| console.close(console::End::Closed)).is_some()
    }

    /// How many are alive at `now`; none is ended by the question.
    pub(super) fn count_alive(&self, now: Timestamp) -> usize {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let is_alive = |session: &Arc<LiveSession>| {
            session.over.borrow().is_none()
                && session::alive(&session.times(), &session.limits(), now).is_ok()
        };
        by_id.values().filter(|session| is_alive(session)).count()
    }

    fn all(&self) -> Vec<Arc<LiveSession>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl LiveSession {
    /// Whose session it is.
    #[must_use]
    pub fn user(&self) -> Arc<User> {
        self.person().user.clone()
    }

    /// Whose session it is, and what policies ask about them.
    #[must_use]
    pub fn person(&self) -> Arc<Person> {
        self.person.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it ends.
    #[must_use]
    pub fn limits(&self) -> SessionLimits {
        self.terms().limits
    }

    fn terms(&self) -> Terms {
        *self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// When they signed in.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When somebody was last at work in it, as far as this gate knows.
    #[must_use]
    pub fn last_active_at(&self) -> Timestamp {
        Timestamp::from_millis(self.last_active_at.load(Ordering::Relaxed))
    }

    /// The first moment after the absolute limit.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let terms = self.terms();
        let limit = self.expires_at.min(self.created_at.plus(terms.limits.lifetime));
        terms.grace_until.map_or(limit, |grace| grace.min(limit))
    }

    /// Whether it is alive at `now`. An end, once seen, stays.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn alive(&self, now: Timestamp) -> Result<(), EndReason> {
        if let Some(reason) = *self.over.borrow()
            && reason != EndReason::Idle
        {
            return Err(reason);
        }
        let terms = self.terms();
        if terms.grace_until.is_some_and(|until| now >= until) {
            self.end(EndReason::Policy);
            return Err(EndReason::Policy);
        }
        match session::alive(&self.times(), &terms.limits, now) {
            Ok(()) => (*self.over.borrow()).map_or(Ok(()), Err),
            Err(reason) => {
                self.end(reason);
                Err(reason)
            }
        }
    }

    /// Whether it is about to end as idle, as far as this gate knows: another gate on the store may have
    /// seen its owner at work.
    pub(super) fn seems_idle(&self, now: Timestamp) -> bool {
        self.over.borrow().is_none()
            && session::alive(&self.times(), &self.limits(), now) == Err(EndReason::Idle)
    }

    fn times(&self) -> Times {
        Times {
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_active_at: self.last_active_at(),
        }
    }

    /// Winds the idle clock, unless it has run down already.
    pub fn touch(&self, now: Timestamp) {
        if self.over.borrow().is_some() {
            return;
        }
        self.last_active_at.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// Ends it here. A graver reason takes the place of a lighter one.
    pub fn end(&self, reason: EndReason) {
        self.over.send_if_modified(|over| {
            let graver = over.is_none_or(|before| gravity(reason) > gravity(before));
            if graver {
                *over = Some(reason);
            }
            graver
        });
    }

    /// Takes note that the store has heard of its end.
    pub fn end_is_recorded(&self) {
        self.recorded_end.store(true, Ordering::Relaxed);
    }

    /// How many consoles are open in it.
    #[must_use]
    pub fn consoles(&self) -> usize {
        let consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        consoles.iter().filter(|console| console.strong_count() > 0).count()
    }

    fn open_ones(&self) -> Vec<Arc<Console>> {
        let mut consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        consoles.retain(|console| console.strong_count() > 0);
        consoles.iter().filter_map(Weak::upgrade).collect()
    }

    fn sweep_consoles(&self, now: Timestamp) {
        let limits = self.limits();
        for console in self.open_ones() {
            console.look_at_clock(now, &limits);
        }
    }
}

/// How much an end cuts; see the module's first paragraph.
fn gravity(reason: EndReason) -> u8 {
    match reason {
        EndReason::Idle => 0,
        EndReason::Expired => 1,
        EndReason::SignOut
        | EndReason::Revoked
        | EndReason::Disabled
        | EndReason::Replaced
        | EndReason::Policy => 2,
    }
}

/// What is running in a session, or by a rule for API tokens, holds a lease on it, and stops when the
/// lease is over.
#[derive(Debug, Clone)]
pub struct Lease {
    on: On,
    /// Whether what runs shows that a person is at work.
    is_activity: bool,
}

#[derive(Debug, Clone)]
enum On {
    Session(Arc<LiveSession>),
    Rule(Arc<LiveRule>),
}

impl Lease {
    pub(super) fn new(session: Arc<LiveSession>) -> Self {
        Self { on: On::Session(session), is_activity: false }
    }

    /// On a session, by something that shows that a person is at work as long as it runs, or does not.
    pub(super) fn of(session: Arc<LiveSession>, is_activity: bool) -> Self {
        Self { is_activity, ..Self::new(session) }
    }

    pub(super) fn on_rule(rule: Arc<LiveRule>) -> Self {
        Self { on: On::Rule(rule), is_activity: false }
    }

    /// The rule for API tokens that it is on, if it is on one.
    pub(super) fn rule(&self) -> Option<&Arc<LiveRule>> {
        match &self.on {
            On::Session(_) => None,
            On::Rule(rule) => Some(rule),
        }
    }

    /// What holds it goes on: winds the session's idle clock if that shows that a person is at work. A rule
    /// has no such clock.
    pub fn touch(&self, now: Timestamp) {
        if self.is_activity {
            self.wind(now);
        }
    }

    fn wind(&self, now: Timestamp) {
        match &self.on {
            On::Session(session) => session.touch(now),
            On::Rule(_) => {}
        }
    }

    /// Whose requests hold such a lease.
    #[must_use]
    pub fn party(&self) -> Party {
        match &self.on {
            On::Session(session) => Party::Session(session.id),
            On::Rule(rule) => Party::Token(rule.rule().token.as_str().into()),
        }
    }

    /// The upstream node that serves the session, or the rule.
    #[must_use]
    pub fn node(&self) -> Option<NodeKey> {
        match &self.on {
            On::Session(session) => session.node.get(),
            On::Rule(rule) => rule.node.get(),
        }
    }

    /// From here on this upstream node serves it, unless it has moved since `before` was asked.
    pub fn stay_with(&self, before: Option<NodeKey>, node: NodeKey) {
        match &self.on {
            On::Session(session) => session.node.set(before, node),
            On::Rule(rule) => rule.node.set(before, node),
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        match &self.on {
            On::Session(session) => match session.user().role {
                Role::Admin => true,
                Role::User => false,
            },
            On::Rule(_) => false,
        }
    }

    /// Whether a transfer has to be cut; see [`Lease::transfer_over`].
    #[must_use]
    pub fn is_transfer_over(&self) -> bool {
        match &self.on {
            On::Session(session) => (*session.over.borrow()).is_some_and(session::cuts_transfers),
            // A rule ends by its date, and lets them finish.
            On::Rule(_) => false,
        }
    }

    /// Returns when a running transfer has to be cut, and why.
    pub async fn transfer_over(&self) -> EndReason {
        self.over(session::cuts_transfers).await
    }

    /// Opens a console that was asked for by this call to Proxmox VE.
    #[must_use]
    pub fn open_console(
        &self,
        method: &http::Method,
        target: Option<&PathAndQuery>,
        now: Timestamp,
    ) -> OpenConsole {
        let console = Arc::new(Console::open(LeadsTo::of(method, target), now));
        match &self.on {
            On::Session(session) => {
                let mut consoles = session.consoles.lock().unwrap_or_else(PoisonError::into_inner);
                consoles.push(Arc::downgrade(&console));
            }
            // Nobody sits at it, so nobody is ever idle: a migration takes hours.
            On::Rule(_) => {}
        }
        OpenConsole { lease: self.clone(), console }
    }

    async fn over(&self, counts: impl Fn(EndReason) -> bool) -> EndReason {
        let session = match &self.on {
            On::Session(session) => session,
            On::Rule(rule) => {
                if !counts(EndReason::Expired) {
                    std::future::pending::<()>().await;
                }
                rule.over().await;
                return EndReason::Expired;
            }
        };
        let mut over = session.over.subscribe();
        match over.wait_for(|over| over.is_some_and(&counts)).await {
            Ok(reason) => (*reason).unwrap_or(EndReason::Revoked),
            // The sender lives in the session, which this lease holds.
            Err(_) => EndReason::Revoked,
        }
    }
}

/// A console that is open in a session; it counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenConsole {
    lease: Lease,
    console: Arc<Console>,
}

/// Why a console has to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleOver {
    /// Its session, or the rule for its API token, is over.
    Session(EndReason),
    /// Nobody used it for too long.
    Idle,
    /// An administrator closed it.
    Closed,
}

impl OpenConsole {
    /// Somebody is at work in it: winds its own clock and the session's.
    pub fn touch(&self, now: Timestamp) {
        self.console.touch(now);
        self.lease.wind(now);
    }

    /// Returns when it has to close.
    pub async fn over(&self) -> ConsoleOver {
        tokio::select! {
            reason = self.lease.over(|reason| reason != EndReason::Idle) => ConsoleOver::Session(reason),
            end = self.console.over() => match end {
                console::End::Idle => ConsoleOver::Idle,
                console::End::Closed => ConsoleOver::Closed,
            },
        }
    }
}

#[cfg(test)]
mod tests;
