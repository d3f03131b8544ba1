//! The path of a connection and of a request: who is called, in which order.
//!
//! Everything that is decided is decided in the stages; here they are only joined.

mod turned_away;

use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, request};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    accept::{
        self, ClientAddr, Listener, Opening,
        forwarded::{self, ForwardedError},
        proxy_protocol::{self, Introduced},
    },
    admission::{
        self, Admission, Admitted, ConnectionPermit, Received, Revocable, SourceRefusal, Unnamed,
        rate::TooManyRequests,
    },
    audit::{Action, Asking, Event, Outcome, Reason, Tls},
    connection::{
        self,
        head::{self, HeadRefusal, RefusedHead},
        reply::Reply,
    },
    gate::{Decision, Gate, Permitted, ReadAnswer, api_token, portal::UpstreamTrouble},
    metrics::{Kind, Metrics},
    names,
    upstream::{Channel, ConnectError, ResponseBody, Unanswered, Upstream, UpstreamError},
};

/// The stages, in path order.
pub struct Stages {
    /// How peers name their clients.
    pub accept: accept::Settings,
    /// May this source talk to us?
    pub admission: Arc<Admission>,
    /// TLS toward the user agent.
    pub tls: TlsAcceptor,
    /// Its deadlines.
    pub connection: connection::Settings,
    /// Answer here, or let through?
    pub gate: Arc<Gate>,
    /// Toward pveproxy.
    pub upstream: Upstream,
    /// What is counted of all that.
    pub metrics: Arc<Metrics>,
}

/// Serves until `stop` says so; then accepts nothing more and gives what runs up to `grace` to finish.
///
/// Everything that was begun has ended when this returns: what outlives the grace is cut.
pub async fn run(
    listeners: Vec<Listener>,
    stages: Arc<Stages>,
    stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_from(listener, stages.clone(), stop.clone(), grace));
    }
    while accepting.join_next().await.is_some() {}
}

/// Strangers' connections that end when the system has no descriptors left.
const AT_A_TIME: usize = 16;

/// Accepts from one listener, and owns every connection that comes of it, tunnels included.
async fn accept_from(
    listener: Listener,
    stages: Arc<Stages>,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let mut running = JoinSet::new();
    loop {
        let (stream, client) = tokio::select! {
            accepted = accept::next(&listener, || stages.admission.shed(AT_A_TIME)) => accepted,
            Some(_ended) = running.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stages, stop) = (stages.clone(), stop.clone());
        match listener.opening {
            Opening::Tls => match stages.admission.receive(stream, client) {
                Ok(received) => {
                    running.spawn(async move { opened(&stages, received, stop).await });
                }
                Err(refusal) => refuse(&stages, client, refusal),
            },
            Opening::ProxyProtocol => match stages.admission.admit_peer(stream, client) {
                Ok(unnamed) => {
                    running.spawn(async move { introduction(&stages, unnamed, stop).await });
                }
                Err(refusal) => refuse(&stages, client, refusal),
            },
        }
    }
    drop(listener);
    let finish = async { while running.join_next().await.is_some() {} };
    if timeout(grace, finish).await.is_err() {
        tracing::warn!(grace = ?grace, connections = running.len(), "cut what did not finish");
        running.shutdown().await;
    }
}

/// The connection is dropped with this, and so closed: a stranger learns nothing.
fn refuse(stages: &Stages, client: ClientAddr, reason: impl Into<Reason>) {
    let event = Event::new(Action::Refuse, Outcome::Failure).from(client.ip()).because(reason);
    stages.gate.audit().record(&event);
}

/// A listed peer says for whom it connects; then the client is asked to come in, as one that came itself.
async fn introduction(stages: &Arc<Stages>, mut unnamed: Unnamed<TcpStream>, stop: watch::Receiver<bool>) {
    let peer = unnamed.peer();
    let client = match proxy_protocol::read(unnamed.connection(), stages.accept.proxy_header).await {
        Ok(Introduced::Client(client)) => ClientAddr::new(client),
        Ok(Introduced::Itself) => peer,
        Err(error) => return refuse(stages, peer, &error),
    };
    match stages.admission.receive_conveyed(unnamed, client) {
        Ok(received) => opened(stages, received, stop).await,
        Err(refusal) => refuse(stages, client, refusal),
    }
}

async fn opened(stages: &Arc<Stages>, received: Received<TcpStream>, stop: watch::Receiver<bool>) {
    match received {
        Received::Admitted(admitted) => connection(stages, admitted, stop).await,
        Received::TurnedAway(turned_away) => turned_away::turn_away(stages, turned_away, stop).await,
    }
}

/// One connection: TLS, then requests, each decided by itself, then a tunnel if one of them began one. Each
/// of the three is in a box of its own, so that an open connection holds no more than what it is doing.
async fn connection(stages: &Arc<Stages>, admitted: Admitted<TcpStream>, stop: watch::Receiver<bool>) {
    let client = admitted.client();
    let (stream, permit) = admitted.into_parts();
    // Held to the end: a console is an open connection.
    serve_requests(stages, client, stream, &permit, stop).await;
    if let Some(ended) = permit.ended() {
        refuse(stages, client, ended);
    }
}

async fn serve_requests(
    stages: &Arc<Stages>,
    client: ClientAddr,
    stream: Revocable<TcpStream>,
    permit: &ConnectionPermit,
    stop: watch::Receiver<bool>,
) {
    let handshake = Box::pin(connection::handshake(&stages.tls, stream, &stages.connection));
    let connection = match handshake.await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(client.address = %client, error = %error, cause = ?std::error::Error::source(&error), "no TLS");
            return;
        }
    };
    let visitor = Visitor {
        stages: stages.clone(),
        client,
        server_name: connection.server_name.clone(),
        tls: connection.tls,
        way: Mutex::new((client, Arc::new(stages.upstream.channel(client.ip())))),
        permit,
    };
    // A request has a box of its own, too: hyper keeps room for one as long as the connection is open.
    let answer = |incoming| Box::pin(request(&visitor, incoming));
    let serving = Box::pin(connection.serve(&stages.connection, stop, answer));
    if let Err(error) = serving.await {
        tracing::debug!(client.address = %client, error = %error, cause = ?std::error::Error::source(&error), "the connection ended");
    }
    Box::pin(visitor.channel().tunnel()).await;
}

/// What all requests of one connection share.
struct Visitor<'a> {
    stages: Arc<Stages>,
    /// Who connected, or for whom a peer did.
    client: ClientAddr,
    server_name: Option<Arc<str>>,
    tls: Tls,
    /// Who asked last, and the way of what they asked: all have the same, unless a peer sends the requests of
    /// many clients.
    way: Mutex<(ClientAddr, Arc<Channel>)>,
    permit: &'a ConnectionPermit,
}

/// Why a peer's request has no client who may ask.
enum Unheard {
    Unnamed(ForwardedError),
    Refused(IpAddr, SourceRefusal),
}

impl Visitor<'_> {
    fn channel(&self) -> Arc<Channel> {
        self.way().1.clone()
    }

    /// Who asked last.
    fn asking(&self) -> ClientAddr {
        self.way().0
    }

    fn way(&self) -> MutexGuard<'_, (ClientAddr, Arc<Channel>)> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks: whoever is connected, or, where that is a peer, whom it names. Another one's request than the
    /// last goes a way of its own to the upstream: what is two clients' never shares one.
    fn asks(&self, fields: &HeaderMap) -> Result<ClientAddr, Unheard> {
        let admission = &self.stages.admission;
        let Some(field) = self.stages.accept.forwarding_field.as_ref().filter(|_| self.is_peer()) else {
            return Ok(self.client);
        };
        let ip = forwarded::client(fields, field, |ip| admission.is_peer(ip)).map_err(Unheard::Unnamed)?;
        admission.conveyed(ip).map_err(|refusal| Unheard::Refused(ip, refusal))?;
        let client = ClientAddr::new(SocketAddr::new(ip, 0));
        let mut way = self.way();
        if way.0.ip() != ip {
            *way = (client, Arc::new(self.stages.upstream.channel(ip)));
        }
        Ok(client)
    }

    /// Whether whoever is connected speaks for others.
    fn is_peer(&self) -> bool {
        self.stages.admission.must_forward(self.client.ip())
    }
}

type Answer = connection::Answer<Either<Full<Bytes>, ReadAnswer<ResponseBody>>>;

/// An answer of our own.
fn own(reply: Reply) -> Answer {
    Answer { response: reply.into_response().map(Either::Left), hold: None }
}

/// Which way a request went.
struct Course {
    kind: Kind,
    /// How long the upstream took, where that can be told.
    waited: Option<Duration>,
}

/// One request, counted.
async fn request(visitor: &Visitor<'_>, incoming: Result<Request<Incoming>, Box<RefusedHead>>) -> Answer {
    let began = Instant::now();
    let mut course = Course { kind: Kind::Portal, waited: None };
    let answer = survived(visitor, incoming, &mut course).await;
    let (status, took) = (answer.response.status().as_u16(), began.elapsed());
    let with_us = course.waited.map(|waited| took.saturating_sub(waited));
    visitor.stages.metrics.answered(course.kind, status, took, with_us);
    if let Some(with_us) = with_us {
        visitor.stages.gate.took(with_us);
    }
    answer
}

/// A panic ends a request and its connection, and nothing else.
async fn survived(
    visitor: &Visitor<'_>,
    incoming: Result<Request<Incoming>, Box<RefusedHead>>,
    course: &mut Course,
) -> Answer {
    let (method, path, fields) = match &incoming {
        Ok(request) => (request.method().clone(), request.uri().clone(), request.headers()),
        Err(refused) => (refused.head.method.clone(), refused.head.uri.clone(), &refused.head.headers),
    };
    let peer = SocketAddr::new(visitor.client.ip(), visitor.client.port());
    let asking = Asking::new(peer, visitor.tls, fields.get(header::USER_AGENT).cloned());
    let is_refused = incoming.is_err();
    let answering = pin!(asking.during(answer(visitor, incoming, course)));
    match caught(answering).await {
        Ok(mut answer) => {
            if is_refused {
                // Whatever it is answered with: nobody knows where the next request would begin.
                answer.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
        Err(panic) => {
            tracing::error!(
                client.address = %visitor.asking(), http.request.method = %method, url.path = path.path(),
                panic = message(&*panic), "a request ended in a panic"
            );
            let (mut outline, ()) = Request::new(()).into_parts();
            (outline.method, outline.uri) = (method, path);
            let gate = &visitor.stages.gate;
            own(gate.portal().internal(&outline, gate.now()).closing())
        }
    }
}

/// Counted, checked, decided, forwarded.
async fn answer(
    visitor: &Visitor<'_>,
    incoming: Result<Request<Incoming>, Box<RefusedHead>>,
    course: &mut Course,
) -> Answer {
    let gate = &visitor.stages.gate;
    visitor.permit.heard_from();
    let fields = match &incoming {
        Ok(request) => request.headers(),
        Err(refused) => &refused.head.headers,
    };
    let client = match visitor.asks(fields) {
        Ok(client) => client,
        Err(unheard) => return unheard_of(visitor, incoming, unheard),
    };
    if let Err(too_many) = visitor.stages.admission.request(client.ip()) {
        return too_many_requests(gate, client, &head_of(incoming), too_many);
    }
    let url = gate.public_url();
    let rules = head::Rules {
        authority: gate.authority(),
        host: url.host(),
        server_name: visitor.server_name.as_deref(),
        aliases: gate.aliases(),
        api_token: incoming.as_ref().is_ok_and(|incoming| api_token::is_claimed(incoming.headers())),
    };
    let checked = match incoming.and_then(|incoming| head::check(incoming, &rules)) {
        Ok(checked) => checked,
        Err(refused) => {
            return bad_head(gate, client, &refused);
        }
    };
    match decide(gate, client, checked).await {
        Decision::Reply(reply) => own(reply),
        Decision::Forward(permitted) => {
            visitor.permit.signed_in(gate.now());
            if visitor.is_peer() {
                visitor.stages.admission.know(client.ip());
            }
            let wants_tunnel = permitted.request().headers().contains_key(header::UPGRADE);
            // A tunnel is its client's alone, and counts as a connection of its own.
            let is_lent = visitor.is_peer() && wants_tunnel;
            if is_lent && let Err(refusal) = visitor.stages.admission.lend(visitor.permit, client) {
                let head = Outline::of(permitted.request()).into_head();
                return too_many_tunnels(gate, client, &head, refusal);
            }
            course.kind = if wants_tunnel { Kind::WebSocket } else { Kind::Proxy };
            let answer = forward(visitor, client, permitted, course).await;
            if is_lent && answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
                visitor.permit.give_back();
            }
            answer
        }
    }
}

fn bad_head(gate: &Gate, client: ClientAddr, refused: &RefusedHead) -> Answer {
    gate.audit().record(
        &Event::new(Action::Refuse, Outcome::Failure)
            .from(client.ip())
            .asked(&refused.head.method, &refused.head.uri)
            .because(head_reason(refused.refusal)),
    );
    own(gate.portal().head_refused(refused.refusal, &refused.head, gate.now()))
}

fn head_of(incoming: Result<Request<Incoming>, Box<RefusedHead>>) -> request::Parts {
    match incoming {
        Ok(request) => request.into_parts().0,
        Err(refused) => refused.head,
    }
}

/// The audit reason of a refused head. What a link can make a browser send has words of its own: only the
/// rest counts toward a ban.
fn head_reason(refusal: HeadRefusal) -> Reason {
    use HeadRefusal::{FieldsLarge, ForeignHost, ServerName, TargetLong};
    let word = if matches!(refusal, TargetLong | FieldsLarge) {
        "large_head"
    } else if matches!(refusal, ForeignHost | ServerName) {
        "wrong_host"
    } else {
        "bad_head"
    };
    Reason::new(word, refusal)
}

/// The source sends more than it may. Another site's page can make a browser do that: then it is held
/// back as well, and not held to account.
fn too_many_requests(
    gate: &Gate,
    client: ClientAddr,
    head: &request::Parts,
    too_many: TooManyRequests,
) -> Answer {
    let reason = if gate.is_of_another_site(&head.headers) {
        Reason::new("cross_site_rate", too_many)
    } else {
        Reason::from(too_many)
    };
    gate.audit().record(
        &Event::new(Action::Refuse, Outcome::Failure)
            .from(client.ip())
            .asked(&head.method, &head.uri)
            .because(reason),
    );
    let reply = gate.portal().rate_limited(too_many.retry_after, head, gate.now());
    own(reply)
}

/// When a client that has all its connections may ask for a tunnel again.
const TUNNEL_AGAIN: Duration = Duration::from_secs(10);

/// A client behind a peer has as many connections as it may.
fn too_many_tunnels(
    gate: &Gate,
    client: ClientAddr,
    head: &request::Parts,
    refusal: admission::Refusal,
) -> Answer {
    gate.audit().record(
        &Event::new(Action::Refuse, Outcome::Failure)
            .from(client.ip())
            .asked(&head.method, &head.uri)
            .because(refusal),
    );
    own(gate.portal().rate_limited(TUNNEL_AGAIN, head, gate.now()))
}

/// A peer's request without a client who may ask. One that names nobody counts for the peer.
fn unheard_of(
    visitor: &Visitor<'_>,
    incoming: Result<Request<Incoming>, Box<RefusedHead>>,
    unheard: Unheard,
) -> Answer {
    let gate = &visitor.stages.gate;
    let peer = visitor.client;
    if let Unheard::Unnamed(_) = unheard
        && let Err(too_many) = visitor.stages.admission.request(peer.ip())
    {
        return too_many_requests(gate, peer, &head_of(incoming), too_many);
    }
    let head = match (incoming, &unheard) {
        // What is cut off before the field is not the peer's fault.
        (Err(refused), Unheard::Unnamed(_)) => return bad_head(gate, peer, &refused),
        (incoming, Unheard::Refused(..) | Unheard::Unnamed(_)) => head_of(incoming),
    };
    let (ip, reason, reply) = match unheard {
        Unheard::Unnamed(error) => {
            (peer.ip(), Reason::from(error), gate.portal().client_unnamed(&head, gate.now()))
        }
        Unheard::Refused(ip, refusal) => {
            (ip, Reason::from(refusal), gate.portal().address_refused(ip, &head, gate.now()))
        }
    };
    gate.audit().record(
        &Event::new(Action::Refuse, Outcome::Failure).from(ip).asked(&head.method, &head.uri).because(reason),
    );
    own(reply)
}

/// The output of a future, or what it panicked with. Borrowed, so that nothing holds the future twice.
fn caught<F: Future>(
    mut future: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, Box<dyn Any + Send>>> {
    std::future::poll_fn(move |context| {
        // What it left half done is its own: shared state is behind locks that are not poisoned for good.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Asks the gate. What a form or a script sends to the gate itself is carried through even if its
/// sender hangs up meanwhile: hyper drops a request's future then, and an attempt must not be charged, or
/// a session opened, without a word in the audit log.
async fn decide(
    gate: &Arc<Gate>,
    client: ClientAddr,
    checked: head::Checked<Request<Incoming>>,
) -> Decision<Incoming> {
    let request = checked.get();
    if request.method() != Method::POST || !request.uri().path().starts_with(names::PREFIX) {
        return gate.decide(client, checked).await;
    }
    let outline = Outline::of(request);
    let deciding = gate.clone();
    let asking = Asking::now();
    let deciding = async move { deciding.decide(client, checked).await };
    let decided = match asking {
        Some(asking) => tokio::spawn(asking.during(deciding)),
        None => tokio::spawn(deciding),
    };
    match decided.await {
        Ok(decision) => decision,
        Err(error) => {
            tracing::error!(error = %error, "a request to the gate itself ended in a panic");
            Decision::Reply(gate.portal().internal(&outline.into_head(), gate.now()))
        }
    }
}

async fn forward(
    visitor: &Visitor<'_>,
    client: ClientAddr,
    mut permitted: Permitted<Request<Incoming>>,
    course: &mut Course,
) -> Answer {
    let gate = &visitor.stages.gate;
    let outline = Outline::of(permitted.request());
    let is_admin = permitted.is_admin();
    let attempt = permitted.take_attempt();
    let grounds = permitted.grounds().clone();
    match visitor.channel().forward(permitted).await {
        Ok(response) => {
            gate.answered(client, &grounds, (&outline.method, &outline.uri), response.status());
            course.waited = response.body().waited();
            let hold = Some(response.body().hold());
            let response = match attempt {
                // Its form was waited for, and Proxmox VE takes its time over passwords.
                Some(attempt) => attempt.read(response),
                None => response.map(ReadAnswer::unread),
            };
            Answer { response: response.map(Either::Right), hold }
        }
        Err(Unanswered { tried, error }) => {
            let outline = outline.into_head();
            if let (UpstreamError::Connect(_) | UpstreamError::Fields(_), Some(attempt)) = (&error, attempt) {
                attempt.not_sent();
            }
            let upstream = tried.join(", ");
            tracing::warn!(upstream.address = upstream, error = %error, cause = ?std::error::Error::source(&error), "no answer of the upstream");
            if let Some((action, reason)) = fault(&error) {
                gate.audit().record(
                    &Event::new(action, Outcome::Failure)
                        .from(client.ip())
                        .asked(&outline.method, &outline.uri)
                        .because(reason),
                );
            }
            let (expected, found) = error.pin_mismatch().map_or_else(
                || (String::new(), String::new()),
                |mismatch| (mismatch.expected.to_string(), mismatch.found.to_string()),
            );
            let trouble = trouble(&error, &expected, &found);
            let shown = is_admin.then_some(upstream.as_str());
            let reply = gate.portal().upstream_failed(trouble, shown, &outline, gate.now());
            // What is left of a body that was given up is not to be read as the next request.
            own(if is_clients_body(&error) { reply.closing() } else { reply })
        }
    }
}

/// What a page about a fault needs of a request that was sent on. Every request leaves one, so it
/// allocates nothing.
struct Outline {
    method: Method,
    uri: Uri,
    fields: [Option<HeaderValue>; 3],
}

const OUTLINED: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::COOKIE];

impl Outline {
    fn of<B>(request: &Request<B>) -> Self {
        // A program with an API token is told in JSON, whatever it accepts.
        let is_program = api_token::is_claimed(request.headers());
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            fields: OUTLINED.map(|name| if is_program { None } else { request.headers().get(name).cloned() }),
        }
    }

    /// As a head, for whoever makes the page.
    fn into_head(self) -> request::Parts {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method;
        head.uri = self.uri;
        for (name, value) in OUTLINED.into_iter().zip(self.fields) {
            if let Some(value) = value {
                head.headers.insert(name, value);
            }
        }
        head
    }
}

/// Whether it was the client's body that could not be carried.
fn is_clients_body(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Body(_) | UpstreamError::Stalled => true,
        UpstreamError::Connect(_)
        | UpstreamError::Fields(_)
        | UpstreamError::Silent(_)
        | UpstreamError::Answer(_)
        | UpstreamError::BadAnswer(_) => false,
    }
}

/// What people are told about a fault.
fn trouble<'a>(error: &UpstreamError, expected: &'a str, found: &'a str) -> UpstreamTrouble<'a> {
    use connection::body::BodyError;
    match error {
        UpstreamError::Connect(ConnectError::Pin(_)) => UpstreamTrouble::Fingerprint { expected, found },
        UpstreamError::Connect(ConnectError::Tcp { .. }) => UpstreamTrouble::Refused,
        UpstreamError::Connect(ConnectError::Slow { .. }) | UpstreamError::Silent(_) => {
            UpstreamTrouble::Timeout
        }
        UpstreamError::Connect(ConnectError::Tls { .. })
        | UpstreamError::Answer(_)
        | UpstreamError::BadAnswer(_) => UpstreamTrouble::Broken,
        UpstreamError::Fields(_) => UpstreamTrouble::HeadTooLarge,
        UpstreamError::Body(BodyError::TooLarge(limit)) => {
            UpstreamTrouble::BodyTooLarge { limit: u64::try_from(*limit).unwrap_or(u64::MAX) }
        }
        UpstreamError::Body(BodyError::Broken | BodyError::Refused(_)) => UpstreamTrouble::BadBody,
        UpstreamError::Body(BodyError::Stalled(_)) | UpstreamError::Stalled => {
            UpstreamTrouble::RequestTimeout
        }
    }
}

/// The audit event of a fault: the upstream's, or a body that no two parsers read alike. `None` where the
/// client was only slow, or asked for too much.
fn fault(error: &UpstreamError) -> Option<(Action, Reason)> {
    use connection::body::BodyError;
    let word = match error {
        UpstreamError::Connect(error) => return Some((Action::UpstreamFailure, error.into())),
        UpstreamError::Silent(_) => "upstream_timeout",
        UpstreamError::Answer(_) | UpstreamError::BadAnswer(_) => "upstream_answer",
        UpstreamError::Body(BodyError::Refused(refusal)) => {
            return Some((Action::Refuse, Reason::new("bad_body", refusal)));
        }
        UpstreamError::Fields(_)
        | UpstreamError::Body(BodyError::TooLarge(_) | BodyError::Stalled(_) | BodyError::Broken)
        | UpstreamError::Stalled => return None,
    };
    Some((Action::UpstreamFailure, Reason::new(word, error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function returns, without a call.
    fn size_of_result<A, B, R>(_: impl FnOnce(A, B) -> R) -> usize {
        size_of::<R>()
    }

    /// What a connection is made of is moved into a box for as long as it is needed: the handshake, the
    /// serving, each request, the tunnel. What is left is this, whatever the connection does.
    #[test]
    fn what_every_open_connection_and_every_running_request_holds_stays_small() {
        let request =
            size_of_result(|visitor: &'static Visitor<'static>, incoming| request(visitor, incoming));
        let connection = size_of_result(|stages: &'static Arc<Stages>, admitted| {
            connection(stages, admitted, watch::channel(false).1)
        });

        assert!(connection <= 2 * 1024, "{connection} bytes for a connection");
        assert!(request <= 7 * 1024, "{request} bytes for a request");
    }
}
