//! Administrators' pages: how things stand, one person, and changes.
//!
//! Policy lets only administrators come here; to everybody else nothing is there. What is shown holds no
//! secret, and nothing here enrols a sign-in method for somebody: an administrator makes links and takes away.
//! Changes are in `change`, each with a [proof](super::proof) of its own.

mod change;
pub(super) mod charts;
mod people;

use std::collections::HashMap;

use http::StatusCode;

use super::{
    Answer, Visit,
    methods::query,
    pages::{self, Deed, MethodRow, OpenSession},
};
use crate::{
    account::{Role, Session, SessionId, User, UserId},
    connection::reply::Reply,
    gate::Gate,
    store::StoreError,
};

/// Where the overview is.
const PAGE: &str = "/_gate/admin";

impl Gate {
    /// How things stand.
    pub(super) async fn admin_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let now = visit.now;
        let people = self.people().await?;
        let sessions = self.open_sessions(here.id, None, visit).await?;
        let bans = self.store.call(move |store| store.bans(now)).await?;
        let day = self.recent.day(now);
        let rows: Vec<_> = people.iter().map(|person| person.row(now)).collect();
        let summary = pages::Summary {
            users: rows.len(),
            not_enrolled: rows.iter().filter(|row| !row.is_enrolled()).count(),
            sessions: sessions.len(),
            consoles: sessions.iter().map(|session| session.consoles.len()).sum(),
            refusals: day.refusals.clone(),
            nodes: self.nodes.all(),
            certificate_until: self.certificate.not_after(),
        };
        let done = query(visit, "done").and_then(|word| Deed::from_word(&word));
        Ok(self.portal.page(StatusCode::OK, visit.head, now, |look| {
            let charts = charts::of(&day, look.language);
            let page = pages::Admin {
                summary: &summary,
                people: &rows,
                sessions: &sessions,
                bans: &bans,
                charts: &charts,
                done,
                now,
            };
            page.render(look)
        }))
    }

    /// One person: `?name=…`.
    pub(super) async fn admin_user_page(&self, visit: &Visit<'_>) -> Answer {
        let Some(here) = &visit.session else { return Ok(Reply::challenge()) };
        let now = visit.now;
        let name = query(visit, "name").unwrap_or_default();
        let people = self.people().await?;
        let Some(person) = people.iter().find(|person| person.user.name.as_str() == name) else {
            return Ok(self.no_such_page(visit));
        };
        let sessions = self.open_sessions(here.id, Some(person.user.id), visit).await?;
        let row = person.row(now);
        let methods: Vec<MethodRow> = person
            .credentials
            .iter()
            .map(MethodRow::from)
            .chain(person.authenticators.iter().map(MethodRow::from))
            .collect();
        // What was just done is to be there.
        self.write_history().await;
        let id = person.user.id;
        let history = self.store.call(move |store| store.history(id)).await?;
        let admins = people.iter().filter(|person| may_administrate(&person.user)).count();
        let page = pages::Person {
            row: &row,
            methods: &methods,
            sessions: &sessions,
            history: &history,
            last_admin: may_administrate(&person.user) && admins == 1,
            done: query(visit, "done").and_then(|word| Deed::from_word(&word)),
            now,
        };
        Ok(self.portal.page(StatusCode::OK, visit.head, now, |look| page.render(look)))
    }

    /// The sessions of one person or of everybody that are alive, oldest first, with their consoles.
    async fn open_sessions(
        &self,
        here: SessionId,
        of: Option<UserId>,
        visit: &Visit<'_>,
    ) -> Result<Vec<OpenSession>, StoreError> {
        let now = visit.now;
        let stored: Vec<(Session, String)> = self
            .store
            .call(move |store| {
                let mut names = HashMap::new();
                for user in store.users()? {
                    names.insert(user.id, user.name.to_string());
                }
                let mut sessions = store.live_sessions(now)?;
                sessions.retain(|session| of.is_none_or(|user| session.user == user));
                let named = sessions.into_iter().filter_map(|session| {
                    let name = names.get(&session.user)?.clone();
                    Some((session, name))
                });
                Ok(named.collect())
            })
            .await?;
        let consoles = self.open_consoles();
        let open = stored.into_iter().filter_map(|(session, user)| {
            let row = self.row(&session, here, now)?;
            let own = consoles.iter().filter(|console| console.session == session.id).cloned().collect();
            Some(OpenSession { user, row, consoles: own })
        });
        Ok(open.collect())
    }
}

/// Whether somebody is an administrator who may sign in.
fn may_administrate(user: &User) -> bool {
    match user.role {
        Role::Admin => user.disabled_at.is_none(),
        Role::User => false,
    }
}
