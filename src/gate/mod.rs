//! Answer here, or let through?
//!
//! [`Gate::decide`] takes a checked request and gives a [`Decision`]: a [`Permitted`] request for the
//! upstream, or a reply. It collects the facts (cookie, session, time) and leaves the judgement to
//! [`policy`] (pure) and the pages to [`portal`].

pub mod affinity;
pub mod api_token;
pub mod ceremony;
pub mod console;
pub mod cookie;
pub mod demand;
mod drift;
mod json;
pub mod live;
mod live_rule;
pub mod lockout;
mod permitted;
pub mod policy;
pub mod portal;
mod public_url;
pub mod pve_call;
mod pve_sign_in;
pub mod session;
pub mod target;

mod follow;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header};
use http_body::Body;
use tokio::sync::Notify;

pub use affinity::{NodeKey, Party};
pub use live::{ConsoleOver, Lease, OpenConsole};
pub use permitted::{Grounds, Permitted};
pub use public_url::{PublicUrl, host_name};
pub use pve_sign_in::{Attempt, ReadAnswer, TooManyGuesses};

use crate::{
    accept::ClientAddr,
    account::{Authenticator, Scope, SessionId},
    admission::{Admission, rate::SignInRate},
    audit::{self, Action, Event, Outcome, Reason},
    check::Examine,
    connection::{
        head::{Alias, Checked},
        reply::Reply,
    },
    recent::Recent,
    secret::{Key, MasterKey, Purpose},
    status,
    store::{Added, StoreError, StoreThread},
    time::{Clock, Timestamp},
};
use api_token::Claim;
use ceremony::{password::Passwords, webauthn::RelyingParty};
use cookie::{KeyRing, SessionSecret};
use live::{LiveSession, LiveSessions};
use live_rule::{LiveRules, Refused};
use policy::{Facts, Refusal, SessionFact, Verdict};
use portal::Portal;
use pve_call::{Call, Class};

/// What the gate decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The only origin that browsers may use.
    pub public_url: PublicUrl,
    /// How long sessions last.
    pub session: SessionLimits,
    /// By what people may sign in.
    pub auth: AuthRules,
    /// Attempts to sign in that one source has at once, and gets back within a minute.
    pub sign_ins_a_minute: NonZeroU32,
    /// Longest silence inside a form that is sent to the gate itself.
    pub form_silence: Duration,
    /// Other names under which programs with an API token may ask for the gate.
    pub aliases: Vec<Alias>,
    /// What API tokens may do; none means none.
    pub api_rules: Vec<api_token::Rule>,
    /// What is demanded of people beyond this, in the order of the file.
    pub policies: Vec<demand::Policy>,
}

impl Settings {
    /// What is demanded of people.
    #[must_use]
    pub fn policies(&self) -> demand::Policies {
        demand::Policies { session: self.session, auth: self.auth, rules: self.policies.clone() }
    }
}

/// By what people may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthRules {
    /// Passkeys.
    pub passkey: bool,
    /// Codes of an authenticator app. Without them the policy asks for a passkey, and a recovery code
    /// opens a session that may only enrol one.
    pub totp: bool,
    /// Recovery codes.
    pub recovery: bool,
    /// Whether a password goes with a code of an authenticator app.
    pub password: bool,
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// From sign-in to the end, whatever happens between.
    pub lifetime: Duration,
    /// Longest time without activity of the person.
    pub idle: Duration,
    /// Longest time without activity of the person in an open console.
    pub console_idle: Duration,
}

/// A page asks for the options of a passkey whenever somebody clicks the button beside a name.
const QUESTIONS_TO_AN_ATTEMPT: NonZeroU32 = NonZeroU32::new(6).unwrap();

/// The gate.
pub struct Gate {
    settings: Settings,
    origin: String,
    clock: Arc<dyn Clock>,
    store: StoreThread,
    audit: audit::Log,
    admission: Arc<Admission>,
    master: MasterKey,
    cookie_keys: KeyRing,
    sessions: LiveSessions,
    passwords: Passwords,
    drifts: drift::Drifts,
    examine: Examine,
    sign_in_rate: SignInRate,
    /// Questions about a name, which cost a look into the store: more than attempts, and not without end.
    question_rate: SignInRate,
    decoy: Authenticator,
    pve_sign_ins: Arc<pve_sign_in::Watch>,
    api_rules: LiveRules,
    store_is_silent: AtomicBool,
    questioned: Notify,
    portal: Portal,
    nodes: Arc<status::Nodes>,
    certificate: Arc<status::Certificate>,
    recent: Arc<Recent>,
    relying_party: Option<RelyingParty>,
}

/// What the gate works with.
pub struct Parts {
    /// What it decides by.
    pub settings: Settings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Its state.
    pub store: StoreThread,
    /// Where events go.
    pub audit: audit::Log,
    /// Who may talk to us at all: bans are carried there and back.
    pub admission: Arc<Admission>,
    /// What all keys come from.
    pub master: MasterKey,
    /// The local CA's certificate in PEM form, while it is in use.
    pub ca: Option<Bytes>,
    /// What the pages say and look like.
    pub pages: portal::Settings,
    /// What is known of the upstream's nodes.
    pub nodes: Arc<status::Nodes>,
    /// Makes the checks of the diagnostics page.
    pub examine: Examine,
    /// How long the gate's own certificate is good.
    pub certificate: Arc<status::Certificate>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision<B> {
    /// It goes to Proxmox VE.
    Forward(Permitted<Request<B>>),
    /// It is answered here.
    Reply(Reply),
}

/// A request's session, as far as there is one.
struct Visitor {
    fact: SessionFact,
    session: Option<Arc<LiveSession>>,
}

impl Gate {
    /// Reads the sessions, keys and bans that the store has; makes a first key where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn open(parts: Parts) -> Result<Self, StoreError> {
        let Parts {
            settings,
            clock,
            store,
            audit,
            admission,
            master,
            ca,
            pages,
            nodes,
            certificate,
            examine,
        } = parts;
        let now = clock.now();
        let sealing = master.derive(Purpose::CookieKeys);
        let opened = master.clone();
        let (keys, sessions) = store
            .call(move |store| {
                let sealed = store.cookie_keys()?;
                let mut keys = cookie::open_keys(&opened, &sealed);
                if keys.len() < sealed.len() {
                    tracing::error!(
                        "the store was made with another master key: the sessions, authenticator apps, recovery \
                         codes and token rules from then are void, passkeys go on working. `pvegate restore` brings \
                         the old key back; `pvegate invite NAME --purpose recover` lets somebody set up anew"
                    );
                }
                if keys.is_empty()
                    && let Added::New(()) = store.add_cookie_key(&cookie::new_key(&sealing, now))?
                {
                    keys = cookie::open_keys(&opened, &store.cookie_keys()?);
                }
                let mut sessions = Vec::new();
                for session in store.live_sessions(now)? {
                    let person = store.person(session.user)?;
                    if let Some(person) = person.filter(|person| person.user.disabled_at.is_none()) {
                        sessions.push((session, person));
                    }
                }
                Ok((keys, sessions))
            })
            .await?;
        let live = LiveSessions::new(settings.policies());
        for (session, person) in sessions {
            live.insert(&session, person, now);
        }
        let (bans, homes) = store.call(move |store| Ok((store.bans(now)?, store.homes(now)?))).await?;
        for ban in bans {
            admission.set_ban(ban.network, follow::until(&ban));
        }
        homes.into_iter().for_each(|ip| admission.know(ip));
        let recent = Arc::new(Recent::default());
        let (watching, counting, at) = (admission.clone(), recent.clone(), clock.clone());
        audit.watch(move |event| {
            watching.hear(event);
            counting.hear(event, at.now());
        });
        let sign_in_rate = SignInRate::new(settings.sign_ins_a_minute, clock.clone());
        let questions = settings.sign_ins_a_minute.saturating_mul(QUESTIONS_TO_AN_ATTEMPT);
        let question_rate = SignInRate::new(questions, clock.clone());
        let pve_sign_ins = pve_sign_in::Watch::new(settings.sign_ins_a_minute, audit.clone());
        let decoy = portal::sign_in::decoy(&master.derive(Purpose::FactorSecrets));
        let api_rules = LiveRules::new(&settings, master.derive(Purpose::ApiTokens), &clock);
        Ok(Self {
            origin: settings.public_url.origin(),
            relying_party: RelyingParty::at(&settings.public_url, &master.derive(Purpose::FakeCredentials)),
            nodes,
            certificate,
            recent,
            portal: Portal::new(pages, &settings, ca),
            settings,
            clock,
            store,
            audit,
            admission,
            master,
            cookie_keys: KeyRing::new(keys),
            sessions: live,
            passwords: Passwords::default(),
            drifts: drift::Drifts::default(),
            examine,
            sign_in_rate,
            question_rate,
            decoy,
            pve_sign_ins: Arc::new(pve_sign_ins),
            api_rules,
            store_is_silent: AtomicBool::new(false),
            questioned: Notify::new(),
        })
    }

    /// Decides about a request.
    pub async fn decide<B>(&self, client: ClientAddr, request: Checked<Request<B>>) -> Decision<B>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut head, mut body) = request.into_inner().into_parts();
        let now = self.clock.now();
        if self.store_is_silent.load(Ordering::Relaxed) {
            return Decision::Reply(self.portal.store_is_silent(&head, now));
        }
        if api_token::is_claimed(&head.headers) {
            return self.decide_by_token(client, head, body, now);
        }
        let visitor = match self.visitor(client, &head.headers, now).await {
            Ok(visitor) => visitor,
            Err(error) => return Decision::Reply(self.store_failed(&head, now, &error)),
        };
        let call = Call::of_head(&head);
        let facts = Facts::of(&head, &call, &self.origin, visitor.fact);
        let facts = match &visitor.session {
            Some(session) => facts.by(session.user().role),
            None => facts,
        };
        let verdict = policy::decide(&facts);
        // What is refused is nobody at work: another site's page could keep a session alive by it.
        let is_carried_out = match verdict {
            Verdict::Forward | Verdict::Portal(_) => true,
            Verdict::SignInFirst | Verdict::EnrolFirst | Verdict::Challenge | Verdict::Refuse(_) => false,
        };
        let is_activity = policy::is_activity(&facts);
        if let (Some(session), SessionFact::Alive) = (&visitor.session, visitor.fact)
            && is_carried_out
            && is_activity
        {
            session.touch(now);
        }
        match verdict {
            Verdict::Forward => match visitor.session {
                Some(session) if call.class == Class::SignIn => {
                    let read = self.watch_sign_in(client.ip(), &session, &head, call, &mut body).await;
                    match read {
                        Ok(read) => {
                            // Its answer is read in passing, so it must not come compressed.
                            head.headers.remove(header::ACCEPT_ENCODING);
                            let grounds = Grounds::Session(Lease::of(session, is_activity));
                            let permitted = Permitted::new(Request::from_parts(head, body), grounds);
                            Decision::Forward(permitted.having_read(read.form, read.attempt))
                        }
                        Err(reply) => Decision::Reply(reply),
                    }
                }
                Some(session) => {
                    let grounds = Grounds::Session(Lease::of(session, is_activity));
                    Decision::Forward(Permitted::new(Request::from_parts(head, body), grounds))
                }
                // `decide` forwards only a living session; without one, nothing passes.
                None => Decision::Reply(Reply::challenge()),
            },
            Verdict::Portal(route) => {
                let visit = portal::Visit { route, client, head: &head, session: visitor.session, now };
                // Pages are rare and their futures big, and every open connection has room for this one's.
                Decision::Reply(Box::pin(self.answer(visit, body)).await)
            }
            Verdict::SignInFirst => Decision::Reply(self.portal.sign_in_first(&head)),
            Verdict::EnrolFirst => Decision::Reply(self.portal.enrol_first()),
            Verdict::Challenge => Decision::Reply(Reply::challenge()),
            Verdict::Refuse(refusal) => {
                self.audit.record(
                    &Event::new(Action::Refuse, Outcome::Failure)
                        .from(client.ip())
                        .asked(&head.method, &head.uri)
                        .calling(call.class.as_str(), call.path.as_str())
                        .because(refusal),
                );
                Decision::Reply(self.portal.refusal(refusal, &head, now))
            }
        }
    }

    /// Decides about a request that comes with an API token. Sessions, cookies and origins play no part: no
    /// page of another site can send such a field unasked.
    fn decide_by_token<B>(
        &self,
        client: ClientAddr,
        mut head: http::request::Parts,
        body: B,
        now: Timestamp,
    ) -> Decision<B> {
        let call = api_token::Call {
            client: client.ip(),
            method: &head.method,
            path: head.uri.path(),
            tunnel: head.headers.contains_key(header::UPGRADE),
            now,
        };
        let read = pve_call::Call::of_head(&head);
        let claim = api_token::claim(&head.headers).unwrap_or(Claim::Broken);
        let admitted = self.api_rules.admit(client, claim, &call);
        let event = |action, outcome| {
            let event = Event::new(action, outcome)
                .from(client.ip())
                .asked(&head.method, &head.uri)
                .calling(read.class.as_str(), read.path.as_str());
            match claim {
                Claim::Token(presented) => event.with_token(presented.id()),
                Claim::Broken => event,
            }
        };
        match admitted {
            Ok(rule) => {
                self.audit.record(&event(Action::ApiTokenAllow, Outcome::Success));
                // A ticket in a cookie would win over the token.
                head.headers.remove(header::COOKIE);
                let grounds = Grounds::ApiToken(Lease::on_rule(rule));
                Decision::Forward(Permitted::new(Request::from_parts(head, body), grounds))
            }
            Err(Refused { refusal, retry_after }) => {
                self.audit.record(&event(Action::ApiTokenRefuse, Outcome::Failure).because(refusal));
                Decision::Reply(Reply::api_token(
                    refusal.status(),
                    refusal.word(),
                    refusal.phrase(),
                    retry_after,
                ))
            }
        }
    }

    /// Takes in how Proxmox VE answered a request that was let through on these grounds: a token that it
    /// refuses is counted against its rule, and audited.
    pub fn answered(
        &self,
        client: ClientAddr,
        grounds: &Grounds,
        (method, uri): (&http::Method, &http::Uri),
        status: http::StatusCode,
    ) {
        let rule = match grounds {
            Grounds::Session(_) => return,
            Grounds::ApiToken(lease) => lease.rule(),
        };
        if let Some(rule) = rule
            && status == http::StatusCode::UNAUTHORIZED
        {
            rule.was_refused_upstream(self.clock.now());
            let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let call = Call::of(method, target);
            self.audit.record(
                &Event::new(Action::ApiTokenRefuse, Outcome::Failure)
                    .from(client.ip())
                    .with_token(rule.rule().token.as_str())
                    .asked(method, uri)
                    .calling(call.class.as_str(), call.path.as_str())
                    .because(Reason::new("token_upstream", "Proxmox VE answered 401")),
            );
        }
    }

    /// Takes other policies: what is open is judged by them at once, what is signed in from now on as well.
    pub fn set_policies(&self, policies: demand::Policies) {
        self.sessions.set_policies(policies, self.clock.now());
    }

    /// The pages, for refusals that other stages have found.
    #[must_use]
    pub fn portal(&self) -> &Portal {
        &self.portal
    }

    /// The only origin that browsers may use.
    #[must_use]
    pub fn public_url(&self) -> &PublicUrl {
        &self.settings.public_url
    }

    /// `host[:port]` of it, as browsers write it into the Host field.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.origin.strip_prefix("https://").unwrap_or(&self.origin)
    }

    /// Other names, for programs with an API token.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.settings.aliases
    }

    /// Whether another site's page made a browser send these fields.
    #[must_use]
    pub fn is_of_another_site(&self, fields: &http::HeaderMap) -> bool {
        policy::is_of_another_site(fields, &self.origin)
    }

    /// Where events go.
    #[must_use]
    pub fn audit(&self) -> &audit::Log {
        &self.audit
    }

    /// A request that was let through stayed so long with the gate itself.
    pub fn took(&self, with_us: Duration) {
        self.recent.took(with_us, self.clock.now());
    }

    /// The consoles that are open through this gate now, oldest first.
    #[must_use]
    pub fn open_consoles(&self) -> Vec<console::Told> {
        self.sessions.consoles()
    }

    /// Returns when a verb has asked something of the gates that run.
    pub async fn questioned(&self) {
        self.questioned.notified().await;
    }

    /// How many sessions are alive, as far as this gate knows.
    #[must_use]
    pub fn sessions_alive(&self) -> usize {
        self.sessions.count_alive(self.clock.now())
    }

    /// Whether the store has not answered for so long that everybody is refused.
    #[must_use]
    pub fn store_is_silent(&self) -> bool {
        self.store_is_silent.load(Ordering::Relaxed)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whose session a request's cookie stands for.
    async fn visitor(
        &self,
        client: ClientAddr,
        fields: &http::HeaderMap,
        now: Timestamp,
    ) -> Result<Visitor, StoreError> {
        let nobody = |fact| Visitor { fact, session: None };
        let secret =
            cookie::session_cookie(fields).and_then(|value| self.cookie_keys.verify::<SessionSecret>(value));
        let id = match secret {
            Ok(secret) => secret.id(),
            Err(error) => return Ok(nobody(SessionFact::None(error))),
        };
        let found = match self.sessions.find(id) {
            Some(session) => {
                if session.seems_idle(now) {
                    Box::pin(self.hear_of_activity(&session)).await?;
                }
                Some(session)
            }
            None => Box::pin(self.stored_session(id)).await?,
        };
        if let Some(session) = &found {
            self.sessions.used_from(session, client.ip(), now);
        }
        Ok(match found {
            None => nobody(SessionFact::Unknown),
            Some(session) => {
                let fact = match (session.alive(now), session.scope) {
                    (Ok(()), Scope::Full) => SessionFact::Alive,
                    (Ok(()), Scope::EnrolOnly) => SessionFact::Enrolling,
                    (Err(reason), _) => SessionFact::Over(reason),
                };
                Visitor { fact, session: Some(session) }
            }
        })
    }

    /// Winds the idle clock by what other gates on this store have written down.
    async fn hear_of_activity(&self, session: &LiveSession) -> Result<(), StoreError> {
        let id = session.id;
        if let Some(stored) = self.store.call(move |store| store.session(id)).await? {
            session.touch(stored.last_active_at);
        }
        Ok(())
    }

    /// A session that another gate on this store opened. Only a signed cookie gets this far.
    async fn stored_session(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, StoreError> {
        let found = self.store.call(move |store| match store.session(id)? {
            Some(session) if session.ended.is_none() => {
                Ok(store.person(session.user)?.map(|person| (session, person)))
            }
            Some(_) | None => Ok(None),
        });
        let found = match found.await {
            Ok(found) => found,
            // As the follower has it: a row that this program would not write keeps nothing alive.
            Err(StoreError::Corrupt { found, expected }) => {
                tracing::error!(session = %id, found, expected, "a session can't be read, and is over");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(found
            .filter(|(_, person)| person.user.disabled_at.is_none())
            .map(|(session, person)| self.sessions.insert(&session, person, self.clock.now())))
    }

    fn store_failed(&self, head: &http::request::Parts, now: Timestamp, error: &StoreError) -> Reply {
        tracing::error!(error = %error, cause = ?std::error::Error::source(error), "the store failed");
        self.portal.store_is_silent(head, now)
    }

    /// The relying party, where passkeys are offered. Security keys are asked for all the same: whoever
    /// has one is not to lose a factor by a line of the configuration.
    fn passkeys(&self) -> Option<&RelyingParty> {
        self.relying_party.as_ref().filter(|_| self.settings.auth.passkey)
    }

    fn ceremony_key(&self) -> Key {
        self.master.derive(Purpose::CeremonyState)
    }

    fn recovery_key(&self) -> Key {
        self.master.derive(Purpose::RecoveryCodes)
    }

    fn factor_key(&self) -> Key {
        self.master.derive(Purpose::FactorSecrets)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let word = match refusal {
            Refusal::LookalikePath => "lookalike_path",
            Refusal::UnreadablePath => "unreadable_path",
            Refusal::CrossSite => "cross_site",
            Refusal::NoOrigin => "no_origin",
            Refusal::NoSuchPage => "no_such_page",
            Refusal::WrongMethod { .. } => "wrong_method",
        };
        Self::new(word, refusal)
    }
}
