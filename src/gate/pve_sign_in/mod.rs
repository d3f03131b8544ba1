//! Proxmox VE's own sign-in, watched on its way through the gate.
//!
//! pveproxy writes the gate's address into the line that tells of a failed sign-in, and answers most
//! failures with 200; so the gate reads what became of each attempt ([`answer`]), writes it down with the
//! true address, and refuses a source that fails too often ([`guesses`]) before pveproxy hears of it.
//!
//! The form of such a call is read whole before it goes on, as pveproxy does itself, and so is who is to be
//! signed in; the answer passes as it comes, and a copy of its beginning is read at its end. Passwords and
//! queries are written nowhere. A renewal, whose password is a ticket, is no attempt.

mod answer;
mod guesses;

use std::{
    net::IpAddr,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header, request};
use http_body::{Body, Frame, SizeHint};

pub use guesses::TooManyGuesses;

use super::{
    Gate,
    live::LiveSession,
    portal::UpstreamTrouble,
    pve_call::{BodyKind, Call, Class, Format, Parameters, Place},
};
use crate::{
    account::{SessionId, UserName},
    admission::SourcePrefix,
    audit::{self, Action, Event, Outcome, Reason},
    connection::{
        body::{self, BodyError},
        reply::Reply,
    },
    names,
    time::Timestamp,
};
use answer::Answered;
use guesses::{Allowance, Guesses};

/// Longest form: pveproxy takes no longer one either.
const MAX_FORM: usize = 512 * 1024;

/// How much of an answer is kept. A ticket with all its privileges is some 3 KB.
const MAX_ANSWER: usize = 64 * 1024;

/// How much of a Proxmox VE user's name is kept.
const MAX_NAME: usize = 64;

/// Watches sign-ins to Proxmox VE.
pub(super) struct Watch {
    guesses: Mutex<Guesses>,
    audit: audit::Log,
}

impl Watch {
    /// With so many failures a minute for each source.
    pub(super) fn new(a_minute: NonZeroU32, audit: audit::Log) -> Self {
        let period = Duration::from_secs(60) / a_minute.get();
        let guesses = Mutex::new(Guesses::new(Allowance { at_once: a_minute.get(), period }));
        Self { guesses, audit }
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sign-in whose form was read.
pub(super) struct Watched {
    /// Its body, which the request itself does not have any more.
    pub form: Bytes,
    /// What is to become of it; `None` for a call that is no attempt after all.
    pub attempt: Option<Attempt>,
}

impl Gate {
    /// Reads the form of a sign-in to Proxmox VE and counts the attempt.
    ///
    /// # Errors
    ///
    /// The reply, where the form can't be read or the source has failed too often.
    pub(super) async fn watch_sign_in<B>(
        &self,
        client: IpAddr,
        session: &LiveSession,
        head: &request::Parts,
        call: Call<'_>,
        body: &mut B,
    ) -> Result<Watched, Reply>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let now = self.clock.now();
        let form = body::read(body, MAX_FORM, self.settings.form_silence)
            .await
            .map_err(|error| self.unread(error, client, head, now))?;
        let content_type = head.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let query = head.uri.query().unwrap_or_default();
        let parameters = Parameters::of(query, BodyKind::of(content_type), &form);
        let call = call.with_parameters(&parameters);
        let Some((format, proof)) = proof(&call, &parameters) else {
            return Ok(Watched { form, attempt: None });
        };
        let pve_user = parameters.user().as_deref().and_then(bounded);
        let source = SourcePrefix::of(client);
        if let Err(too_many) = self.pve_sign_ins.guesses().charge(source, pve_user.as_deref(), now) {
            self.audit.record(
                &Event::new(Action::Refuse, Outcome::Failure)
                    .from(client)
                    .of(&session.user().name)
                    .in_session(session.id)
                    .at_upstream(pve_user)
                    .asked(&head.method, &head.uri)
                    .calling(call.class.as_str(), call.path.as_str())
                    .because(too_many),
            );
            return Err(limited(too_many));
        }
        let attempt = Attempt {
            watch: self.pve_sign_ins.clone(),
            client,
            user: session.user().name.clone(),
            session: session.id,
            pve_user,
            format,
            proof,
            is_open: true,
        };
        Ok(Watched { form, attempt: Some(attempt) })
    }

    fn unread(&self, error: BodyError, client: IpAddr, head: &request::Parts, now: Timestamp) -> Reply {
        if let BodyError::Refused(refusal) = error {
            self.audit.record(
                &Event::new(Action::Refuse, Outcome::Failure)
                    .from(client)
                    .asked(&head.method, &head.uri)
                    .because(Reason::new("bad_body", refusal)),
            );
        }
        let trouble = match error {
            BodyError::TooLarge(limit) => {
                UpstreamTrouble::BodyTooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) }
            }
            BodyError::Stalled(_) => UpstreamTrouble::RequestTimeout,
            BodyError::Broken | BodyError::Refused(_) => UpstreamTrouble::BadBody,
        };
        self.portal.upstream_failed(trouble, None, head, now).closing()
    }
}

/// By what somebody tries to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Password,
    SecondFactor,
    OpenId,
    ConsoleTicket,
}

/// What is proved by a sign-in; `None` where nothing is, so that nothing can be guessed.
fn proof(call: &Call<'_>, parameters: &Parameters) -> Option<(Format, Proof)> {
    let (Place::Api(format), Class::SignIn) = (call.place, call.class) else { return None };
    match call.path.as_str() {
        // Only asks where to go.
        "/access/openid/auth-url" => None,
        "/access/openid/login" => Some((format, Proof::OpenId)),
        "/access/vncticket" => Some((format, Proof::ConsoleTicket)),
        _ if parameters.get("tfa-challenge").is_some() => Some((format, Proof::SecondFactor)),
        _ => Some((format, Proof::Password)),
    }
}

/// A name cut to a bound.
fn bounded(name: &str) -> Option<String> {
    let name: String = name.chars().take(MAX_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// 429 with a reason phrase, which Proxmox VE's sign-in window shows to people.
fn limited(too_many: TooManyGuesses) -> Reply {
    let seconds = too_many.retry_after().as_millis().div_ceil(1000);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    let value = serde_json::json!({
        "data": null, "success": 0, "status": "429", "message": names::UPSTREAM_SIGN_IN_PHRASE,
        "error": "upstream_sign_in_limit", "retry_after": seconds,
    });
    Reply::json(StatusCode::TOO_MANY_REQUESTS, &value)
        .with(header::RETRY_AFTER, seconds.into())
        .with_phrase(names::UPSTREAM_SIGN_IN_PHRASE)
}

/// A sign-in to Proxmox VE under way. Whatever becomes of it is written down once, at the latest when this
/// is dropped: an attempt that nobody waited for counts as failed.
pub struct Attempt {
    watch: Arc<Watch>,
    client: IpAddr,
    user: UserName,
    session: SessionId,
    pve_user: Option<String>,
    format: Format,
    proof: Proof,
    is_open: bool,
}

impl Attempt {
    /// It never reached Proxmox VE.
    pub fn not_sent(mut self) {
        self.is_open = false;
        self.give_back();
    }

    /// Reads an answer while it passes.
    pub fn read<B>(self, answer: Response<B>) -> Response<ReadAnswer<B>> {
        let status = answer.status();
        let listening = Listening { attempt: self, status, kept: Vec::new() };
        answer.map(|body| ReadAnswer { body, listening: Some(Box::new(listening)) })
    }

    fn give_back(&self) {
        self.watch.guesses().give_back(SourcePrefix::of(self.client), self.pve_user.as_deref());
    }

    fn conclude(&mut self, answered: Answered) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let event = |outcome| {
            Event::new(Action::UpstreamSignIn, outcome)
                .from(self.client)
                .of(&self.user)
                .in_session(self.session)
                .at_upstream(self.pve_user.clone())
        };
        match answered {
            Answered::SecondFactorNext => self.give_back(),
            Answered::SignedIn(name) => {
                self.give_back();
                let name = name.as_deref().and_then(bounded).or_else(|| self.pve_user.clone());
                self.watch.audit.record(&event(Outcome::Success).at_upstream(name));
            }
            // No guess was judged, so none is held against anybody.
            Answered::Fault(status) => {
                self.give_back();
                let reason = Reason::new("upstream_fault", format_args!("Proxmox VE answered {status}"));
                self.watch.audit.record(&event(Outcome::Failure).because(reason));
            }
            Answered::Refused => {
                self.watch.audit.record(&event(Outcome::Failure).because(self.proof));
            }
            Answered::Unclear => {
                let reason = Reason::new("upstream_unclear", "an answer that says neither yes nor no");
                self.watch.audit.record(&event(Outcome::Failure).because(reason));
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.conclude(Answered::Unclear);
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("client", &self.client).field("proof", &self.proof).finish()
    }
}

impl From<Proof> for Reason {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Password => Self::new("upstream_password", "Proxmox VE refused user and password"),
            Proof::SecondFactor => {
                Self::new("upstream_second_factor", "Proxmox VE refused the second factor")
            }
            Proof::OpenId => Self::new("upstream_openid", "Proxmox VE refused the OpenID answer"),
            Proof::ConsoleTicket => Self::new("upstream_ticket", "Proxmox VE refused the console ticket"),
        }
    }
}

impl From<TooManyGuesses> for Reason {
    fn from(too_many: TooManyGuesses) -> Self {
        let word = match too_many {
            TooManyGuesses::Source { .. } => "upstream_guesses_source",
            TooManyGuesses::User { .. } => "upstream_guesses_user",
        };
        Self::new(word, too_many)
    }
}

/// A response body that is read in passing. Its bytes are neither changed nor held back.
pub struct ReadAnswer<B> {
    body: B,
    listening: Option<Box<Listening>>,
}

struct Listening {
    attempt: Attempt,
    status: StatusCode,
    kept: Vec<u8>,
}

impl<B> ReadAnswer<B> {
    /// One that is not read.
    pub const fn unread(body: B) -> Self {
        Self { body, listening: None }
    }

    fn conclude(&mut self) {
        if let Some(mut listening) = self.listening.take() {
            let Listening { attempt, status, kept } = &mut *listening;
            attempt.conclude(answer::read(attempt.format, *status, kept));
        }
    }
}

impl Listening {
    fn keep(&mut self, data: &[u8]) {
        let room = MAX_ANSWER.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReadAnswer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let (Some(listening), Poll::Ready(frame)) = (&mut this.listening, &polled) {
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                listening.keep(data);
            }
            // Before the last bytes go out: whoever has the answer finds it written down.
            if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
                this.conclude();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for ReadAnswer<B> {
    fn drop(&mut self) {
        self.conclude();
    }
}
