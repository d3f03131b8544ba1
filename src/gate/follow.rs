//! What the gate does beside answering: it follows the store, looks at the clocks, writes activity
//! down, and bans whom `admission` has found out.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Gate, cookie};
use crate::{
    account::EndReason,
    admission::{
        SourcePrefix,
        ban::{self, Offence},
    },
    audit::{Action, Event, Outcome},
    secret::Purpose,
    store::{AutomaticBan, Ban, Change, Sessions, StoreError, StoreThread},
    time::Timestamp,
};

/// How often the store is asked for changes and the clocks are looked at: an end takes effect within
/// a second, wherever it was decided.
const TICK: Duration = Duration::from_millis(250);

/// How often activity is written down.
const WRITE_ACTIVITY: Duration = Duration::from_secs(5);

/// Bans that are written at once: the rest of a flood is banned here and written after it.
const BANS_A_TICK: usize = 32;

/// How long the store may fail to answer before the gate answers nobody.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a key signs cookies, and how long it verifies them: longer than anything signed lives,
/// which is a year (a known device) from its last renewal.
const KEY_SIGNS: Duration = Duration::from_secs(30 * 24 * 3600);
const KEY_VERIFIES: Duration = Duration::from_secs(400 * 24 * 3600);

/// How often what is long over is forgotten, and how old it is then.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
const FORGET_AFTER: Duration = Duration::from_secs(90 * 24 * 3600);

impl Gate {
    /// Runs beside the requests until it is dropped. `follower` is a connection to the same store
    /// that nothing else uses: it sees what every other connection has written.
    pub async fn follow(&self, follower: StoreThread) {
        // Apart, so that a write that takes long delays no revocation, and closes nothing too late.
        tokio::join!(self.listen(&follower), self.look_at_clocks(), self.keep_house());
    }

    /// Takes in what other gates and the command line have done.
    async fn listen(&self, follower: &StoreThread) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        // Changes that are known of and not taken in yet: an error must not lose one.
        let mut pending = VecDeque::new();
        loop {
            tick.tick().await;
            match timeout(SILENCE, self.hear(follower, &mut pending)).await {
                Ok(Ok(())) => {
                    heard = Instant::now();
                    self.store_is_silent.store(false, Ordering::Relaxed);
                    continue;
                }
                Ok(Err(error)) => tracing::warn!(error = %error, "the store did not answer"),
                Err(_) => tracing::warn!("the store takes its time"),
            }
            if heard.elapsed() >= SILENCE && !self.store_is_silent.swap(true, Ordering::Relaxed) {
                tracing::error!("the store is silent: everybody is refused");
            }
        }
    }

    /// Ends in time what is over by its times, and nothing that would wait for the store.
    async fn look_at_clocks(&self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = self.clock.now();
            self.audit.write_floods();
            self.api_rules.sweep(now);
            self.sessions.look_at_clocks(now);
            self.recent.consoles(self.sessions.open_consoles(), now);
        }
    }

    /// Writes down what is over, whom to ban, and what can wait.
    async fn keep_house(&self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        let mut forgot: Option<Instant> = None;
        loop {
            tick.tick().await;
            let now = self.clock.now();
            self.ban_offenders(now).await;
            self.end_what_is_over(now).await;
            self.note_demands(now).await;
            self.write_history().await;
            if written.elapsed() >= WRITE_ACTIVITY {
                written = Instant::now();
                self.write_activity().await;
            }
            if forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
                forgot = Some(Instant::now());
                let before = now.minus(FORGET_AFTER);
                if let Err(error) = self.store.call(move |store| store.forget(before)).await {
                    tracing::warn!(error = %error, "what is long over could not be removed from the store");
                }
                self.rotate_cookie_keys(now).await;
            }
        }
    }

    /// Writes down what happened to accounts, for their owners. It happened whether this succeeds or not,
    /// and the audit log has it.
    pub async fn write_history(&self) {
        let entries = self.audit.take_history();
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.store.call(move |store| store.record_history(&entries)).await {
            tracing::warn!(error = %error, "what happened to accounts could not be written down");
        }
    }

    /// Writes down what has not been written yet. Call it once more before stopping.
    pub async fn write_activity(&self) {
        let activity = self.sessions.unrecorded_activity();
        if activity.is_empty() {
            return;
        }
        let written = self.store.call(move |store| store.record_activity(&activity).map(|()| activity));
        match written.await {
            Ok(activity) => self.sessions.activity_is_recorded(&activity),
            Err(error) => tracing::warn!(error = %error, "activity of sessions could not be written down"),
        }
    }

    /// Writes down who was found without what is demanded: their grace runs from now on, also after a
    /// restart.
    async fn note_demands(&self, now: Timestamp) {
        let found = self.sessions.take_found_lacking();
        if found.is_empty() {
            return;
        }
        let noted = found.clone();
        let written = self.store.call(move |store| {
            noted.iter().try_for_each(|(user, requirement)| store.demand(*user, *requirement, now))
        });
        if let Err(error) = written.await {
            tracing::warn!(error = %error, "since when something is demanded could not be written down");
            self.sessions.put_back_found_lacking(found);
        }
    }

    /// Makes a new key when the newest has signed for long enough. Older ones verify until nothing that
    /// they signed can be alive, so nobody is signed out.
    async fn rotate_cookie_keys(&self, now: Timestamp) {
        let fresh = cookie::new_key(&self.master.derive(Purpose::CookieKeys), now);
        let rotated = self.store.call(move |store| {
            let newest = store.cookie_keys()?.first().map(|key| key.created_at);
            if newest.is_none_or(|at| now >= at.plus(KEY_SIGNS)) {
                store.add_cookie_key(&fresh)?;
            }
            store.forget_cookie_keys(now.minus(KEY_VERIFIES))?;
            store.cookie_keys()
        });
        match rotated.await {
            Ok(sealed) => self.cookie_keys.replace(cookie::open_keys(&self.master, &sealed)),
            Err(error) => tracing::warn!(error = %error, "the cookie keys could not be looked at"),
        }
    }

    async fn hear(&self, follower: &StoreThread, pending: &mut VecDeque<Change>) -> Result<(), StoreError> {
        // Whoever signed in a moment ago may have been read before a change that was heard before that.
        pending.extend(self.sessions.take_newcomers().into_iter().map(Change::User));
        pending.extend(follower.call(|store| store.changes()).await?);
        while let Some(change) = pending.front() {
            self.take_in(follower, change).await?;
            pending.pop_front();
        }
        Ok(())
    }

    async fn take_in(&self, follower: &StoreThread, change: &Change) -> Result<(), StoreError> {
        match *change {
            Change::Session(id) => match follower.call(move |store| store.session(id)).await {
                Ok(None) => self.sessions.end(id, EndReason::Revoked),
                Ok(Some(session)) => {
                    if let Some((_, reason)) = session.ended {
                        self.sessions.end(id, reason);
                    }
                }
                // A row that this program would not write says nothing that would keep it alive.
                Err(StoreError::Corrupt { found, expected }) => {
                    tracing::error!(session = %id, found, expected, "a session can't be read, and ends");
                    self.sessions.end(id, EndReason::Revoked);
                }
                Err(error) => return Err(error),
            },
            Change::User(id) => {
                let person = follower.call(move |store| store.person(id)).await;
                let person = match person {
                    Ok(person) => person,
                    Err(StoreError::Corrupt { found, expected }) => {
                        tracing::error!(found, expected, "a user can't be read, and is treated as gone");
                        None
                    }
                    Err(error) => return Err(error),
                };
                self.sessions.user_changed(id, person.as_ref(), self.clock.now());
            }
            Change::CookieKeys => {
                let sealed = follower.call(|store| store.cookie_keys()).await?;
                self.cookie_keys.replace(cookie::open_keys(&self.master, &sealed));
            }
            Change::Question => self.questioned.notify_one(),
            Change::Ban(network) => match follower.call(move |store| store.ban_of(&network)).await {
                Ok(ban) => self.admission.set_ban(network, ban.as_ref().and_then(until)),
                Err(StoreError::Corrupt { found, expected }) => {
                    tracing::error!(network = %network, found, expected, "a ban can't be read, and stays as it was");
                }
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    /// Bans whoever has offended enough, in the store and here. Whom the store does not take now is banned
    /// here for as long as a first ban lasts, and is due again.
    async fn ban_offenders(&self, now: Timestamp) {
        let rules = self.admission.ban_rules();
        let mut room = BANS_A_TICK;
        for (source, offence) in self.admission.due_bans() {
            let network = source.network();
            if room == 0 {
                self.ban_here(source, offence);
                continue;
            }
            room -= 1;
            let length = rules.clone();
            let banned = self.store.call(move |store| {
                let banned =
                    store.ban(network, offence.as_str(), now, &|before| ban::length(&length, before))?;
                Ok((banned, store.ban_of(&network)?))
            });
            let banned = banned.await.map(|(banned, in_force)| {
                // Whatever was set here meanwhile, the store's word holds.
                self.admission.set_ban(network, in_force.as_ref().and_then(until));
                banned
            });
            match banned {
                Ok(AutomaticBan::Now(ban)) => {
                    self.audit.record(
                        &Event::new(Action::BanAdd, Outcome::Success)
                            .from(network.addr())
                            .ban(network, ban.expires_at)
                            .because(offence),
                    );
                }
                Ok(AutomaticBan::Before | AutomaticBan::Spared) => {}
                Err(error) => {
                    tracing::warn!(error = %error, network = %network, "a ban could not be written");
                    self.ban_here(source, offence);
                    // The others would wait as long and hear the same.
                    room = 0;
                }
            }
        }
    }

    fn ban_here(&self, source: SourcePrefix, offence: Offence) {
        // The store may have taken its time since the tick.
        self.admission
            .set_ban(source.network(), Some(self.clock.now().plus(self.admission.ban_rules().first)));
        self.admission.is_due(source, offence);
    }

    async fn end_what_is_over(&self, now: Timestamp) {
        for session in self.sessions.seemingly_idle(now) {
            if let Err(error) = self.hear_of_activity(&session).await {
                tracing::warn!(error = %error, "the store does not say whether a session is idle");
            }
        }
        for (session, reason) in self.sessions.sweep(now) {
            let id = session.id;
            let ended =
                self.store.call(move |store| store.end_sessions(&Sessions::One(id), reason, now)).await;
            if ended.is_ok() {
                session.end_is_recorded();
            }
            match ended {
                // Another gate was quicker.
                Ok(ended) if ended.is_empty() => {}
                Ok(_) => self.audit.record(
                    &Event::new(Action::SessionEnd, Outcome::Success)
                        .from(session.client)
                        .of(&session.user().name)
                        .in_session(id)
                        .because(reason),
                ),
                Err(error) => {
                    tracing::warn!(error = %error, "the end of a session could not be written down");
                    // The others would wait as long and hear the same, unless it is this row's own fault.
                    if !matches!(error, StoreError::Corrupt { .. }) {
                        return;
                    }
                }
            }
        }
    }
}

/// Until when a ban holds: until the end of time if nobody lifts it.
pub(super) fn until(ban: &Ban) -> Option<Timestamp> {
    Some(ban.expires_at.unwrap_or(Timestamp::MAX))
}
