//! Where somebody is signed in, and ending it; what happened to their account.
//!
//! Ending one's own sessions wants no [proof](super::proof), as signing out wants none: it only takes away,
//! somebody who finds a stranger in the list must not have to look for a phone first, and whoever made a
//! browser send the form has won a sign-in page. That the form was sent by a page of ours is policy's to
//! say, as for every form.

use http::StatusCode;

use super::{
    Answer, Form, Visit,
    device::Device,
    methods::query,
    pages::{self, SessionRow, SessionsNotice},
};
use crate::{
    account::{EndReason, Session, SessionId},
    connection::reply::Reply,
    gate::{Gate, live::LiveSession, session},
    store::{Sessions, StoreError},
    time::Timestamp,
};

/// Where they are shown.
const PAGE: &str = "/_gate/sessions";

impl Gate {
    /// What there is.
    pub(super) async fn sessions_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let rows = self.session_rows(here, visit.now).await?;
        let notice = query(visit, "done").and_then(|word| SessionsNotice::from_word(&word));
        // What this very visitor just did is to be there.
        self.write_history().await;
        let user = here.user().id;
        let history = self.store.call(move |store| store.history(user)).await?;
        let page = pages::Sessions { rows: &rows, history: &history, notice };
        Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
    }

    /// Ends one of them, or all others.
    pub(super) async fn end_own_sessions(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let user = here.user();
        let (which, notice) = if form.get("which") == "others" {
            (Sessions::Others { of: user.id, but: here.id }, SessionsNotice::OthersEnded)
        } else {
            match SessionId::from_hex(form.get("id")) {
                Some(id) if self.own_sessions(here).await?.iter().any(|session| session.id == id) => {
                    (Sessions::One(id), SessionsNotice::Ended)
                }
                Some(_) | None => return Ok(self.no_such_page(visit)),
            }
        };
        let now = visit.now;
        let ended = self.store.call(move |store| store.end_sessions(&which, EndReason::Revoked, now)).await?;
        self.cut(visit, here, &ended, EndReason::Revoked);
        Ok(Reply::see_other(&format!("{PAGE}?done={}", notice.word())))
    }

    async fn session_rows(&self, here: &LiveSession, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        let mut rows: Vec<_> = self
            .own_sessions(here)
            .await?
            .iter()
            .filter_map(|stored| self.row(stored, here.id, now))
            .collect();
        // Stable: the others stay by age.
        rows.sort_by_key(|row| !row.is_this);
        Ok(rows)
    }

    /// What is told of a session that the store has not seen end; `None` if it is over all the same.
    pub(super) fn row(&self, stored: &Session, here: SessionId, now: Timestamp) -> Option<SessionRow> {
        // What this gate knows is newer than what was written down. A session in which somebody works
        // at another gate on this store is as old here as the store has it, and its consoles are that
        // gate's to count.
        let live = self.sessions.find(stored.id);
        let seen = live.as_ref().map(|live| live.last_active_at());
        let last_active_at = seen.map_or(stored.last_active_at, |seen| seen.max(stored.last_active_at));
        let consoles = live.as_ref().map_or(0, |live| live.consoles());
        let times = session::Times { last_active_at, ..session::Times::of(stored) };
        // An idle session is over, except for the consoles that are open in it.
        let limits = live.as_ref().map_or_else(|| self.sessions.policies().session, |live| live.limits());
        if session::alive(&times, &limits, now).is_err() && consoles == 0 {
            return None;
        }
        Some(SessionRow {
            id: stored.id.to_string(),
            device: Device::of(&stored.user_agent),
            client: stored.client,
            since: stored.created_at,
            last_active_at,
            method: stored.method,
            consoles,
            is_this: stored.id == here,
        })
    }

    /// The person's sessions that the store has not seen end, oldest first.
    async fn own_sessions(&self, here: &LiveSession) -> Result<Vec<Session>, StoreError> {
        let (user, now) = (here.user().id, self.clock.now());
        let mut sessions = self.store.call(move |store| store.live_sessions(now)).await?;
        sessions.retain(|session| session.user == user);
        Ok(sessions)
    }
}
