//! One change by an administrator: the form that asks for it, and doing it.
//!
//! Each wants a [proof](super::super::proof) bound to this very change. Whether the one who asks is an
//! administrator still is looked at once more in the store, beside the change; whether the last one would go
//! is the store's own question, inside its transaction. What ends in the store ends here at once, and at
//! other gates when they hear of it. Every change is in the audit log with who did it, to whom, and why.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use ipnet::IpNet;

use super::{
    super::{
        Answer, Form, Visit,
        device::Device,
        enrol::qr,
        methods::query,
        pages::{self, About, BanLength, Deed, DeedProblem, Typed},
        proof::{Agreed, Unproven},
    },
    PAGE, may_administrate,
};
use crate::{
    account::{EndReason, InvitationPurpose, Role, Session, SessionId, User, UserId, UserName},
    audit::{Action, Changed, Event, Outcome, Reason},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::invite::{LIFETIME, Token},
        console::ConsoleId,
        follow::until,
    },
    store::{Added, Ban, Deleted, Disabled, NewInvitation, Panicked, RoleSet, Sessions, Store, StoreError},
};

/// Longest reason that is kept.
const REASON: usize = 200;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a form or link asks for, if what it is about is there.
struct Asked {
    deed: Deed,
    subject: Subject,
    /// As the form says it.
    about: String,
    typed: Typed,
}

/// What a deed is about, found.
enum Subject {
    /// Something that is not there yet.
    New,
    User(User),
    Session(Box<Session>, User),
    Console(ConsoleId, SessionId, UserName),
    Network(IpNet),
}

/// What became of it.
enum Done {
    /// Back to the page, with a word about it.
    Now,
    /// It is done, and this link is to be shown.
    Link { user: UserName, purpose: InvitationPurpose, token: Token, invitation: NewInvitation },
    /// It is not, and the form is shown again.
    Problem(DeedProblem),
    /// What it was about is gone, or whoever asked is no administrator any more.
    Gone,
}

impl Gate {
    /// The form that asks for a change: `?do=disable&about=bob`.
    pub(in crate::gate::portal) async fn admin_change_page(&self, visit: &Visit<'_>) -> Answer {
        let field = |name| query(visit, name).unwrap_or_default();
        match self.deed(&field("do"), field("about"), Typed::default()).await? {
            Some(asked) => self.deed_form(visit, StatusCode::OK, &asked, None).await,
            None => Ok(self.no_such_page(visit)),
        }
    }

    /// Makes it.
    pub(in crate::gate::portal) async fn admin_change(&self, visit: &Visit<'_>, form: &Form) -> Answer {
        let found = self.deed(form.get("do"), form.get("about").to_owned(), typed(form)).await?;
        let Some(asked) = found else { return Ok(self.no_such_page(visit)) };
        if let Some(problem) = self.problem(visit, &asked).await? {
            return self.deed_form(visit, StatusCode::BAD_REQUEST, &asked, Some(&problem)).await;
        }
        let agreed = match self.prove(visit, form).await? {
            Ok(agreed) => agreed,
            Err(Unproven::Reply(reply)) => return Ok(*reply),
            Err(Unproven::NoMatch) => {
                let problem = Some(&DeedProblem::NoMatch);
                return self.deed_form(visit, StatusCode::FORBIDDEN, &asked, problem).await;
            }
        };
        match self.carry_out(visit, &agreed, &asked).await? {
            Done::Now => Ok(back(&asked)),
            Done::Gone => Ok(self.no_such_page(visit)),
            Done::Problem(problem) => {
                self.deed_form(visit, StatusCode::CONFLICT, &asked, Some(&problem)).await
            }
            Done::Link { user, purpose, token, invitation } => {
                let link = token.link(&self.settings.public_url);
                let page = pages::LinkMade {
                    user: user.as_str(),
                    purpose,
                    link: &link,
                    qr_svg: &qr(&link),
                    until: invitation.expires_at,
                };
                Ok(self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look)))
            }
        }
    }

    async fn deed_form(
        &self,
        visit: &Visit<'_>,
        status: StatusCode,
        asked: &Asked,
        problem: Option<&DeedProblem>,
    ) -> Answer {
        let provable = self.provable_here(visit).await?;
        Ok(self.portal.page(status, visit.head, visit.now, |look| {
            let told = match &asked.subject {
                Subject::New => String::new(),
                Subject::User(user) => user.name.to_string(),
                Subject::Session(session, user) => {
                    let device = pages::device(look.language, Device::of(&session.user_agent));
                    format!("{}, {device}, {}", user.name, session.client)
                }
                Subject::Console(id, _, user) => {
                    let console = self.open_consoles().into_iter().find(|console| console.id == *id);
                    let to = console.map(|console| pages::leads_to(look.language, &console.leads_to));
                    format!("{user}, {}", to.unwrap_or_default())
                }
                Subject::Network(network) => network.to_string(),
            };
            let page = pages::DeedPage {
                deed: asked.deed,
                about: &asked.about,
                told: &told,
                user: asked.subject.user().map(UserName::as_str),
                typed: &asked.typed,
                provable,
                problem,
            };
            page.render(look)
        }))
    }

    /// What is asked for, if there is such a deed and what it is about is there.
    async fn deed(&self, word: &str, about: String, typed: Typed) -> Result<Option<Asked>, StoreError> {
        let Some(deed) = Deed::from_word(word) else { return Ok(None) };
        let subject = match deed.about() {
            About::New => about.is_empty().then_some(Subject::New),
            About::User => match about.parse::<UserName>() {
                // In its one form, as links of ours have it.
                Ok(name) if name.as_str() == about => {
                    self.store.call(move |store| store.user_by_name(&name)).await?.map(Subject::User)
                }
                Ok(_) | Err(_) => None,
            },
            About::Session => match SessionId::from_hex(&about) {
                Some(id) => self
                    .store
                    .call(move |store| match store.session(id)? {
                        Some(session) if session.ended.is_none() => {
                            Ok(store.user(session.user)?.map(|user| (session, user)))
                        }
                        Some(_) | None => Ok(None),
                    })
                    .await?
                    .map(|(session, user)| Subject::Session(Box::new(session), user)),
                None => None,
            },
            About::Console => ConsoleId::from_hex(&about).and_then(|id| {
                let found = self.open_consoles().into_iter().find(|console| console.id == id);
                found.map(|console| Subject::Console(id, console.session, console.user))
            }),
            About::Network => match about.parse::<IpNet>() {
                Ok(network) => {
                    let banned = self.store.call(move |store| store.ban_of(&network)).await?;
                    banned.map(|ban| Subject::Network(ban.network))
                }
                Err(_) => None,
            },
        };
        Ok(subject.map(|subject| Asked { deed, subject, about, typed }))
    }

    /// What is wrong with what was typed.
    async fn problem(&self, visit: &Visit<'_>, asked: &Asked) -> Result<Option<DeedProblem>, StoreError> {
        if asked.deed.needs_reason() && asked.typed.reason.is_empty() {
            return Ok(Some(DeedProblem::NoReason));
        }
        if asked.deed == Deed::AddUser && asked.typed.name.parse::<UserName>().is_err() {
            return Ok(Some(DeedProblem::BadName));
        }
        if asked.deed != Deed::Ban {
            return Ok(None);
        }
        let Some(network) = network(&asked.typed.network) else { return Ok(Some(DeedProblem::BadNetwork)) };
        if network.contains(&visit.client.ip()) {
            return Ok(Some(DeedProblem::OwnAddress));
        }
        if asked.typed.even_so {
            return Ok(None);
        }
        let now = visit.now;
        let there = self.store.call(move |store| {
            let mut sessions = store.live_sessions(now)?.into_iter();
            match sessions.find(|session| network.contains(&session.client.to_canonical())) {
                Some(session) => store.user(session.user),
                None => Ok(None),
            }
        });
        Ok(there.await?.map(|user| DeedProblem::SignedIn { user: user.name.to_string() }))
    }

    async fn carry_out(&self, visit: &Visit<'_>, agreed: &Agreed, asked: &Asked) -> Result<Done, StoreError> {
        let act = Act { gate: self, visit, agreed, reason: &asked.typed.reason };
        match (&asked.subject, asked.deed) {
            (Subject::New, Deed::AddUser) => act.add_user(&asked.typed).await,
            (Subject::New, Deed::Ban) => act.ban(&asked.typed).await,
            (Subject::User(user), Deed::Invite) => act.invite(user, InvitationPurpose::Enrol).await,
            (Subject::User(user), Deed::Recover) => act.invite(user, InvitationPurpose::Recover).await,
            (Subject::User(user), Deed::RevokeLinks) => act.revoke_links(user).await,
            (Subject::User(user), Deed::Disable) => act.disable(user).await,
            (Subject::User(user), Deed::Enable) => act.enable(user).await,
            (Subject::User(user), Deed::Unlock) => act.unlock(user).await,
            (Subject::User(user), Deed::Panic) => act.panic(user).await,
            (Subject::User(user), Deed::MakeAdmin) => act.set_role(user, Role::Admin).await,
            (Subject::User(user), Deed::MakeUser) => act.set_role(user, Role::User).await,
            (Subject::User(user), Deed::Delete) => act.delete(user).await,
            (Subject::User(user), Deed::EndSessions) => {
                act.end_sessions(&user.name, Sessions::Of(user.id)).await
            }
            (Subject::Session(session, user), Deed::EndSession) => {
                act.end_sessions(&user.name, Sessions::One(session.id)).await
            }
            (Subject::Console(id, session, user), Deed::CloseConsole) => {
                act.close_console(*id, *session, user).await
            }
            (Subject::Network(network), Deed::Unban) => act.unban(*network).await,
            // `Gate::deed` pairs them as `Deed::about` says.
            (
                Subject::New
                | Subject::User(_)
                | Subject::Session(..)
                | Subject::Console(..)
                | Subject::Network(_),
                _,
            ) => Ok(Done::Gone),
        }
    }
}

impl Subject {
    /// Whose page the change began on.
    fn user(&self) -> Option<&UserName> {
        match self {
            Self::User(user) | Self::Session(_, user) => Some(&user.name),
            Self::Console(_, _, user) => Some(user),
            Self::New | Self::Network(_) => None,
        }
    }
}

/// Somebody who agreed to a change, and what goes with it.
struct Act<'a> {
    gate: &'a Gate,
    visit: &'a Visit<'a>,
    agreed: &'a Agreed,
    reason: &'a str,
}

impl Act<'_> {
    /// Works on the store, if whoever asks is an administrator still: a role that was taken away within the
    /// last second may not have been heard of here.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let by = self.agreed.user().id;
        let worked = self.gate.store.call(move |store| match store.user(by)? {
            Some(user) if may_administrate(&user) => work(store).map(Some),
            Some(_) | None => Ok(None),
        });
        worked.await
    }

    fn event(&self, action: Action) -> Event {
        let event = Event::new(action, Outcome::Success)
            .from(self.visit.client.ip())
            .done_by(&self.agreed.user().name);
        if self.reason.is_empty() { event } else { event.because(Reason::new("command", self.reason)) }
    }

    fn record(&self, action: Action, user: &UserName) {
        self.gate.audit.record(&self.event(action).of(user));
    }

    async fn add_user(&self, typed: &Typed) -> Result<Done, StoreError> {
        let Ok(name) = typed.name.parse::<UserName>() else { return Ok(Done::Gone) };
        let (role, now) = (if typed.admin { Role::Admin } else { Role::User }, self.visit.now);
        match self.work(move |store| store.add_user(&name, role, now)).await? {
            None => Ok(Done::Gone),
            Some(Added::Exists) => Ok(Done::Problem(DeedProblem::NameTaken)),
            Some(Added::New(user)) => {
                self.record(Action::UserAdd, &user.name);
                self.invite(&user, InvitationPurpose::Enrol).await
            }
        }
    }

    async fn invite(&self, user: &User, purpose: InvitationPurpose) -> Result<Done, StoreError> {
        let token = Token::random();
        let invitation = token.invitation(user.id, purpose, self.visit.now, LIFETIME);
        let kept = invitation.clone();
        if self.work(move |store| store.invite(&kept)).await?.is_none() {
            return Ok(Done::Gone);
        }
        self.record(Action::InviteCreate, &user.name);
        Ok(Done::Link { user: user.name.clone(), purpose, token, invitation })
    }

    async fn revoke_links(&self, user: &User) -> Result<Done, StoreError> {
        let (id, now) = (user.id, self.visit.now);
        match self.work(move |store| store.revoke_invitations(id, now)).await? {
            None => return Ok(Done::Gone),
            Some(0) => {}
            Some(_) => self.record(Action::InviteRevoke, &user.name),
        }
        Ok(Done::Now)
    }

    async fn disable(&self, user: &User) -> Result<Done, StoreError> {
        let (id, now) = (user.id, self.visit.now);
        match self.work(move |store| store.disable_user(id, now)).await? {
            None => Ok(Done::Gone),
            Some(Disabled::LastAdmin) => Ok(Done::Problem(DeedProblem::LastAdmin)),
            Some(Disabled::Before) => Ok(Done::Now),
            Some(Disabled::Now(_)) => {
                self.gate.sessions.user_changed(id, None, self.visit.now);
                self.record(Action::UserDisable, &user.name);
                Ok(Done::Now)
            }
        }
    }

    async fn enable(&self, user: &User) -> Result<Done, StoreError> {
        let id = user.id;
        let enabled = self.work(move |store| Ok((store.enable_user(id)?, store.person(id)?))).await?;
        let Some((_, now)) = enabled else { return Ok(Done::Gone) };
        self.gate.sessions.user_changed(id, now.as_ref(), self.visit.now);
        self.record(Action::UserEnable, &user.name);
        Ok(Done::Now)
    }

    async fn unlock(&self, user: &User) -> Result<Done, StoreError> {
        let id = user.id;
        if self.work(move |store| store.unlock(id)).await?.is_none() {
            return Ok(Done::Gone);
        }
        self.record(Action::UserUnlock, &user.name);
        Ok(Done::Now)
    }

    /// Never the last administrator: whoever that is has a button of their own, and the command line.
    async fn panic(&self, user: &User) -> Result<Done, StoreError> {
        let (id, now) = (user.id, self.visit.now);
        match self.work(move |store| store.panic_of_another(id, now)).await? {
            None => Ok(Done::Gone),
            Some(Panicked::LastAdmin) => Ok(Done::Problem(DeedProblem::LastAdmin)),
            Some(Panicked::Now(_)) => {
                self.gate.sessions.user_changed(id, None, self.visit.now);
                self.record(Action::Panic, &user.name);
                Ok(Done::Now)
            }
        }
    }

    async fn set_role(&self, user: &User, role: Role) -> Result<Done, StoreError> {
        let id = user.id;
        let set = self.work(move |store| Ok((store.set_role(id, role)?, store.person(id)?)));
        match set.await? {
            None | Some((RoleSet::NoSuchUser, _)) => Ok(Done::Gone),
            Some((RoleSet::LastAdmin, _)) => Ok(Done::Problem(DeedProblem::LastAdmin)),
            Some((RoleSet::Before, _)) => Ok(Done::Now),
            Some((RoleSet::Now, now)) => {
                self.gate.sessions.user_changed(id, now.as_ref(), self.visit.now);
                let event = self.event(Action::UserRole).of(&user.name).with_change(Changed::Role(role));
                self.gate.audit.record(&event);
                Ok(Done::Now)
            }
        }
    }

    async fn delete(&self, user: &User) -> Result<Done, StoreError> {
        let (id, now): (UserId, _) = (user.id, self.visit.now);
        match self.work(move |store| store.delete_user(id, now)).await? {
            None | Some(Deleted::NoSuchUser) => Ok(Done::Gone),
            Some(Deleted::LastAdmin) => Ok(Done::Problem(DeedProblem::LastAdmin)),
            Some(Deleted::Now(_)) => {
                self.gate.sessions.user_changed(id, None, self.visit.now);
                self.record(Action::UserDelete, &user.name);
                Ok(Done::Now)
            }
        }
    }

    async fn end_sessions(&self, user: &UserName, which: Sessions) -> Result<Done, StoreError> {
        let now = self.visit.now;
        let ended = self.work(move |store| store.end_sessions(&which, EndReason::Revoked, now)).await?;
        let Some(ended) = ended else { return Ok(Done::Gone) };
        for id in ended {
            self.gate.sessions.end(id, EndReason::Revoked);
            let event = self.event(Action::SessionRevoke).of(user).in_session(id);
            let event = if self.reason.is_empty() { event.because(EndReason::Revoked) } else { event };
            self.gate.audit.record(&event);
        }
        Ok(Done::Now)
    }

    async fn close_console(
        &self,
        id: ConsoleId,
        session: SessionId,
        user: &UserName,
    ) -> Result<Done, StoreError> {
        // Of the store only the question whether this is an administrator still.
        if self.work(|_| Ok(())).await?.is_none() || !self.gate.sessions.close_console(id) {
            return Ok(Done::Gone);
        }
        self.gate.audit.record(&self.event(Action::ConsoleClose).of(user).in_session(session));
        Ok(Done::Now)
    }

    async fn ban(&self, typed: &Typed) -> Result<Done, StoreError> {
        let Some(network) = network(&typed.network) else { return Ok(Done::Gone) };
        let now = self.visit.now;
        let ban = Ban {
            network,
            reason: typed.reason.clone(),
            automatic: false,
            created_at: now,
            expires_at: length(typed.length).map(|length| now.plus(length)),
            before: 0,
        };
        let put = ban.clone();
        if self.work(move |store| store.put_ban(&put)).await?.is_none() {
            return Ok(Done::Gone);
        }
        self.gate.admission.set_ban(network, until(&ban));
        self.gate.audit.record(&self.event(Action::BanAdd).ban(network, ban.expires_at));
        Ok(Done::Now)
    }

    async fn unban(&self, network: IpNet) -> Result<Done, StoreError> {
        let now = self.visit.now;
        let Some(lifted) = self.work(move |store| store.lift_ban(&network, now)).await? else {
            return Ok(Done::Gone);
        };
        self.gate.admission.set_ban(network, None);
        if let Some(ban) = lifted {
            self.gate.audit.record(&self.event(Action::BanRemove).ban(network, ban.expires_at));
        }
        Ok(Done::Now)
    }
}

/// What was typed into the form.
fn typed(form: &Form) -> Typed {
    let text = |name| form.get(name).trim().chars().filter(|c| !c.is_control()).take(REASON).collect();
    Typed {
        reason: text("reason"),
        name: text("name"),
        admin: form.get("role") == "admin",
        network: text("network"),
        length: BanLength::from_word(form.get("length")).unwrap_or_default(),
        even_so: form.get("even_so") == "yes",
    }
}

/// A network, or an address for the network of it alone.
fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

fn length(length: BanLength) -> Option<Duration> {
    match length {
        BanLength::Hour => Some(DAY / 24),
        BanLength::Day => Some(DAY),
        BanLength::Week => Some(DAY * 7),
        BanLength::Month => Some(DAY * 30),
        BanLength::Open => None,
    }
}

/// Back to where the change began, with a word about it.
fn back(asked: &Asked) -> Reply {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let path = match asked.subject.user() {
        Some(user) if asked.deed != Deed::Delete => {
            query.append_pair("name", user.as_str());
            format!("{PAGE}/user")
        }
        Some(_) | None => PAGE.to_owned(),
    };
    query.append_pair("done", asked.deed.word());
    Reply::see_other(&format!("{path}?{}", query.finish()))
}
