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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        account::{ByRequirement, Means, Method, UserName},
        gate::AuthRules,
    };

    const HOUR: i64 = 3600;

    fn swept(sessions: &LiveSessions, now: Timestamp) -> Vec<(SessionId, EndReason)> {
        let swept = sessions.sweep(now);
        swept.iter().for_each(|(session, _)| session.end_is_recorded());
        swept.into_iter().map(|(session, reason)| (session.id, reason)).collect()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn person(user: User) -> Person {
        let means = Means { apps: 1, ..Means::default() };
        Person { user: Arc::new(user), groups: Vec::new(), means, demanded: ByRequirement::default() }
    }

    fn alice() -> User {
        let name: UserName = "alice".parse().unwrap();
        User { id: UserId(1), name, role: Role::User, created_at: at(0), disabled_at: None }
    }

    fn session(number: u8) -> Session {
        Session {
            id: SessionId([number; 32]),
            user: UserId(1),
            method: Method::Totp,
            password: false,
            device_bound: false,
            scope: Scope::Full,
            created_at: at(0),
            expires_at: at(12 * HOUR),
            last_active_at: at(0),
            client: "192.0.2.1".parse().unwrap(),
            user_agent: String::new(),
            ended: None,
        }
    }

    fn sessions() -> (LiveSessions, Arc<LiveSession>) {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let limits = SessionLimits { lifetime: hours(12), idle: hours(1), console_idle: hours(4) };
        let auth = AuthRules { passkey: true, totp: true, recovery: true, password: false };
        let sessions = LiveSessions::new(Policies { session: limits, auth, rules: Vec::new() });
        let live = sessions.insert(&session(1), person(alice()), at(0));
        (sessions, live)
    }

    #[test]
    fn whoever_is_enabled_again_comes_in_before_that_is_heard() {
        let (sessions, before) = sessions();
        sessions.user_changed(UserId(1), None, at(1));
        assert_eq!(before.alive(at(1)), Err(EndReason::Disabled));

        // Enabled in the store, and signed in there; the follower has not looked yet.
        let after = sessions.insert(&session(2), person(alice()), at(2));

        assert_eq!(after.alive(at(2)), Ok(()));
        assert_eq!(before.alive(at(2)), Err(EndReason::Disabled), "what was over stays over");
    }

    #[test]
    fn whoever_is_disabled_while_a_session_is_being_taken_in_is_out_at_the_next_look() {
        let (sessions, _) = sessions();
        // Disabling ends the row of the session; that is heard of before the session is here.
        sessions.end(SessionId([2; 32]), EndReason::Disabled);
        sessions.user_changed(UserId(1), None, at(1));
        let by_row = sessions.insert(&session(2), person(alice()), at(1));
        assert_eq!(by_row.alive(at(1)), Err(EndReason::Disabled));

        // By hand, without a word about the session.
        let by_hand = sessions.insert(&session(3), person(alice()), at(1));
        assert!(sessions.take_newcomers().contains(&UserId(1)), "the follower reads the owner");
        sessions.user_changed(UserId(1), None, at(1));
        assert_eq!(by_hand.alive(at(1)), Err(EndReason::Disabled));
    }

    #[test]
    fn an_idle_session_stays_over_even_if_a_console_is_used_again() {
        let (_, session) = sessions();
        let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(0));

        assert_eq!(session.alive(at(HOUR)), Err(EndReason::Idle));
        console.touch(at(HOUR + 1));

        assert_eq!(session.alive(at(HOUR + 2)), Err(EndReason::Idle));
    }

    #[tokio::test]
    async fn a_console_outlives_idleness_of_its_session_and_closes_by_its_own_limit() {
        let (sessions, session) = sessions();
        let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(0));

        assert_eq!(swept(&sessions, at(2 * HOUR)), [], "the store is not told while the console is open");
        console.touch(at(3 * HOUR));
        sessions.sweep(at(4 * HOUR));
        assert_eq!(console.console.ended(), None);
        sessions.sweep(at(7 * HOUR));

        assert_eq!(console.over().await, ConsoleOver::Idle);
        drop(console);
        assert_eq!(swept(&sessions, at(7 * HOUR)), [(session.id, EndReason::Idle)]);
        assert_eq!(swept(&sessions, at(7 * HOUR)), [], "told once");
    }

    #[tokio::test]
    async fn one_console_is_closed_and_its_session_and_other_consoles_go_on() {
        let (sessions, session) = sessions();
        let lease = Lease::new(session.clone());
        let shell = "/api2/json/nodes/pve1/vncwebsocket".parse().unwrap();
        let first = lease.open_console(&http::Method::GET, Some(&shell), at(1));
        let second = lease.open_console(&http::Method::GET, None, at(2));
        let told = sessions.consoles();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0].leads_to, told[0].since), (&LeadsTo::Node("pve1".to_owned()), at(1)));
        assert_eq!(told[0].user.as_str(), "alice");

        assert!(sessions.close_console(told[0].id));

        assert_eq!(first.over().await, ConsoleOver::Closed);
        assert_eq!(second.console.ended(), None);
        assert_eq!(session.alive(at(3)), Ok(()));
        drop(first);
        assert_eq!(sessions.consoles().len(), 1);
        assert!(!sessions.close_console(told[0].id), "it is gone");
    }

    #[tokio::test]
    async fn whoever_ends_an_idle_session_ends_its_console_and_transfers() {
        let (sessions, session) = sessions();
        let lease = Lease::new(session.clone());
        let console = lease.open_console(&http::Method::GET, None, at(0));
        sessions.sweep(at(2 * HOUR));
        assert!(!lease.is_transfer_over());

        sessions.end(session.id, EndReason::Revoked);

        assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Revoked));
        assert_eq!(lease.transfer_over().await, EndReason::Revoked);
    }

    #[tokio::test]
    async fn the_absolute_limit_closes_consoles_and_lets_transfers_finish() {
        let (sessions, session) = sessions();
        let lease = Lease::new(session.clone());
        let console = lease.open_console(&http::Method::GET, None, at(11 * HOUR));
        session.touch(at(11 * HOUR + 1800));

        assert_eq!(swept(&sessions, at(12 * HOUR)), [(session.id, EndReason::Expired)]);

        assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Expired));
        assert!(!lease.is_transfer_over());
        let user = User { disabled_at: Some(at(0)), ..(*session.user()).clone() };
        sessions.user_changed(UserId(1), Some(&person(user)), at(12 * HOUR));
        assert!(lease.is_transfer_over(), "a disabled user's transfer is cut even so");
    }

    #[test]
    fn what_is_over_is_forgotten_when_nothing_runs_in_it() {
        let (sessions, session) = sessions();
        let id = session.id;
        assert_eq!(swept(&sessions, at(13 * HOUR)).len(), 1);
        assert_eq!(swept(&sessions, at(13 * HOUR)), []);
        assert!(sessions.find(id).is_some(), "something holds it");

        drop(session);
        assert_eq!(swept(&sessions, at(13 * HOUR)), []);

        assert!(sessions.find(id).is_none());
    }

    #[test]
    fn activity_is_told_to_the_store_once() {
        let (sessions, session) = sessions();
        session.touch(at(60));
        session.touch(at(30));

        let told = sessions.unrecorded_activity();
        assert_eq!(told, [(session.id, at(60))]);
        assert_eq!(sessions.unrecorded_activity(), told, "the store did not take it");
        session.touch(at(61));
        sessions.activity_is_recorded(&told);
        let told = sessions.unrecorded_activity();
        assert_eq!(told, [(session.id, at(61))], "what came meanwhile is not taken for told");
        sessions.activity_is_recorded(&told);
        assert_eq!(sessions.unrecorded_activity(), []);
    }

    #[test]
    fn what_shows_nobody_at_work_winds_no_clock_however_long_it_runs() {
        let (sessions, session) = sessions();
        Lease::of(session.clone(), false).touch(at(60));
        assert_eq!(sessions.unrecorded_activity(), []);

        Lease::of(session.clone(), true).touch(at(60));
        assert_eq!(sessions.unrecorded_activity(), [(session.id, at(60))]);

        // Whoever types in a console is at work, by whatever it was opened.
        Lease::of(session.clone(), false).open_console(&http::Method::GET, None, at(0)).touch(at(61));
        assert_eq!(sessions.unrecorded_activity(), [(session.id, at(61))]);
    }

    #[tokio::test]
    async fn an_end_is_told_to_the_store_until_it_has_heard() {
        let (sessions, session) = sessions();
        let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(11 * HOUR));
        session.touch(at(11 * HOUR + 1800));

        sessions.look_at_clocks(at(12 * HOUR));

        assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Expired), "before any store hears");
        assert_eq!(sessions.sweep(at(12 * HOUR)).len(), 1);
        assert_eq!(swept(&sessions, at(12 * HOUR)).len(), 1, "the store did not take it");
        assert_eq!(swept(&sessions, at(12 * HOUR)), []);
    }
}
