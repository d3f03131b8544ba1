//! "This wasn't me", and the panic button.
//!
//! The first takes away whatever somebody else may hold: sessions, known devices, open links, and for the
//! next sign-in the weaker of the owner's methods. It wants no [proof](super::proof), as ending sessions
//! wants none: whoever sends it for somebody else has only made them sign in again.
//!
//! The second locks the account until an administrator opens it, so it wants one.

use http::StatusCode;

use super::{Answer, Form, Visit, methods::query, pages, proof::Unproven};
use crate::{
    account::{EndReason, SessionId},
    audit::{Action, Event, Outcome},
    connection::reply::Reply,
    gate::{Gate, cookie, live::LiveSession},
    store::{Entry, StoreError},
};

impl Gate {
    /// Says what it does, and asks: `?entry=…` or `?session=…`.
    pub(super) async fn not_me_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let entry = self.entry(here, &query(visit, "entry").unwrap_or_default()).await?;
        // Its form names what was found, and nothing that a link brought.
        let session = query(visit, "session").and_then(|id| SessionId::from_hex(&id));
        let session = session.map(|id| id.to_string());
        let page = pages::NotMe { entry: entry.as_ref(), session: session.as_deref() };
        Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
    }

    /// Does it. What the form names is for the record: a row that is gone by now changes nothing.
    pub(super) async fn not_me(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let (user, now) = (here.user(), visit.now);
        let entry = self.entry(here, form.get("entry")).await?;
        let session = entry.and_then(|entry| entry.session).or(SessionId::from_hex(form.get("session")));
        let id = user.id;
        let (ended, wants_passkey) =
            self.store.call(move |store| Ok((store.disown(id, now)?, store.wants_passkey(id)?))).await?;
        let event =
            Event::new(Action::IntrusionReport, Outcome::Success).from(visit.client.ip()).of(&user.name);
        self.audit.record(&match session {
            Some(session) => event.in_session(session),
            None => event,
        });
        self.cut(visit, here, &ended, EndReason::Revoked);
        let page = pages::NotMeDone { passkey: wants_passkey && self.passkeys().is_some() };
        Ok(self.farewell(self.portal.page(StatusCode::OK, visit.head, now, |look| page.render(look))))
    }

    /// Says what it does, and asks for a proof.
    pub(super) async fn panic_page(&self, visit: &Visit<'_>) -> Answer {
        self.panic_form(visit, StatusCode::OK, false).await
    }

    /// Locks the visitor's own account.
    pub(super) async fn panic(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let agreed = match self.prove(visit, form).await? {
            Ok(agreed) => agreed,
            Err(Unproven::Reply(reply)) => return Ok(*reply),
            Err(Unproven::NoMatch) => return self.panic_form(visit, StatusCode::FORBIDDEN, true).await,
        };
        let (id, now) = (agreed.user().id, visit.now);
        self.store.call(move |store| store.panic(id, now)).await?;
        self.audit.record(
            &Event::new(Action::Panic, Outcome::Success)
                .from(visit.client.ip())
                .of(&agreed.user().name)
                .in_session(agreed.session()),
        );
        // On disk first; then here, without waiting for the follower.
        self.sessions.user_changed(id, None, now);
        let page = pages::PanicDone { user: agreed.user().name.as_str() };
        Ok(self.farewell(self.portal.page(StatusCode::OK, visit.head, now, |look| page.render(look))))
    }

    async fn panic_form(&self, visit: &Visit<'_>, status: StatusCode, no_match: bool) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let user = here.user();
        let provable = self.provable_here(visit).await?;
        let page = pages::Panic { user: user.name.as_str(), provable, no_match };
        Ok(self.portal.page(status, visit.head, visit.now, |look| page.render(look)))
    }

    /// Sessions that ended in the store end here, without waiting for the follower.
    pub(super) fn cut(&self, visit: &Visit<'_>, here: &LiveSession, ended: &[SessionId], reason: EndReason) {
        for id in ended {
            self.sessions.end(*id, reason);
            self.audit.record(
                &Event::new(Action::SessionRevoke, Outcome::Success)
                    .from(visit.client.ip())
                    .of(&here.user().name)
                    .in_session(*id)
                    .because(reason),
            );
        }
    }

    /// The session of this very visit is over.
    fn farewell(&self, reply: Reply) -> Reply {
        match cookie::clear_session() {
            Some(cookie) => reply.with_cookie(cookie),
            None => reply,
        }
    }

    /// An entry of the visitor's own history.
    async fn entry(&self, here: &LiveSession, number: &str) -> Result<Option<Entry>, StoreError> {
        let Ok(number) = number.parse::<i64>() else { return Ok(None) };
        let user = here.user().id;
        let history = self.store.call(move |store| store.history(user)).await?;
        Ok(history.into_iter().find(|entry| entry.id == number))
    }
}
