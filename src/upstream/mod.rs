//! Toward pveproxy.
//!
//! A [`Channel`] belongs to one client connection and has at most one upstream connection, which serves one
//! session on one node, so that bytes of two people never share one. [`Channel::forward`] takes nothing but
//! a [`Permitted`] request, and [`Channel::tunnel`] carries what a 101 began; both end with the channel.
//! Which of several nodes serves is decided in `nodes`, by what `health` knows of each. What a proxy in front
//! of pveproxy must preserve, and why, is told where it is done: fields in `field`, phrases in `reason`,
//! lengths in `body`, ends of streams in `tolerant`, consoles in `tunnel`.

mod answer;
mod body;
mod connector;
pub mod field;
mod health;
mod nodes;
mod offset;
mod probe;
mod reason;
mod tolerant;
mod tunnel;
mod websocket;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

pub use answer::BadAnswer;
pub use body::{MAX_UNMEASURED, ResponseBody};
pub use connector::ConnectError;
pub use health::Fault;
pub use probe::{Heard, ProbeError, Question, probe};

use answer::Interim;
use body::{Done, Fate, RequestBody};
use nodes::{Node, Nodes};
use offset::ClockOffset;
use tunnel::{Activity, TunnelEnd};

pub use crate::tls::Trust;
use crate::{
    audit,
    connection::body::BodyError,
    gate::{Grounds, Lease, NodeKey, OpenConsole, Party, Permitted},
    metrics::Metrics,
    status,
    time::Clock,
    tls::{PinMismatch, TrustError},
};

/// pveproxy closes idle connections after five seconds; a request must never meet that moment.
const REUSE: Duration = Duration::from_secs(3);

/// Where Proxmox VE is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// One node.
    pub first: Endpoint,
    /// The other nodes of the cluster.
    pub others: Vec<Endpoint>,
    /// With several nodes: one of which nothing was heard for so long is asked for a TLS handshake.
    pub health_interval: Duration,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest wait for a response head, and longest silence inside a response body.
    pub idle_timeout: Duration,
    /// The field that carries the client's address to pveproxy (its `PROXY_REAL_IP_HEADER`).
    pub send_client_ip: http::HeaderName,
}

impl Settings {
    /// All nodes, in the order of the configuration.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Where one node's pveproxy is and how it proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port, 8006 unless written.
    pub port: u16,
    /// How its certificate is checked. There is no way not to.
    pub trust: Trust,
}

impl Endpoint {
    /// `host:port`, IPv6 in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The upstream.
#[derive(Clone)]
pub struct Upstream {
    settings: Arc<Settings>,
    nodes: Arc<Nodes>,
    status: Arc<status::Nodes>,
    clock: Arc<dyn Clock>,
    offset: Arc<ClockOffset>,
    metrics: Arc<Metrics>,
}

/// One client connection's way to the upstream.
pub struct Channel {
    upstream: Upstream,
    client: IpAddr,
    idle: Arc<Mutex<Option<Idle>>>,
    /// What carries the upstream connections. It ends with the channel.
    carriers: Mutex<JoinSet<()>>,
    /// What a 101 began.
    begun: Mutex<Option<Tunnel>>,
}

/// The two sides of a connection that has switched protocols.
struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    console: OpenConsole,
    activity: Activity,
}

/// A connection that waits for the next request of the same party on the same node.
struct Idle {
    line: Line,
    since: Instant,
}

/// A connection, with whom and where it serves.
struct Line {
    sender: http1::SendRequest<RequestBody>,
    party: Party,
    node: NodeKey,
    address: Arc<str>,
}

/// Why one node gave no answer.
struct Failed {
    /// The request, if nothing of it was sent.
    unsent: Option<Box<Request<RequestBody>>>,
    error: UpstreamError,
}

/// Why there is no answer, and which nodes were tried.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unanswered {
    /// Addresses as `host:port`; none where nothing was to be sent.
    pub tried: Vec<Arc<str>>,
    /// Why. Of several nodes that were tried in vain, one that showed a wrong certificate.
    #[source]
    pub error: UpstreamError,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request has more fields than pveproxy takes.
    #[error(transparent)]
    Fields(#[from] field::TooLarge),
    /// A body without a length could not be measured.
    #[error("the request body could not be measured: {0}")]
    Body(#[from] BodyError),
    /// The request body stalled on its way.
    #[error("the request body was silent for {:?}", body::UPLOAD_STALL)]
    Stalled,
    /// No response head in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The connection ended before an answer, or what came is none.
    #[error("the upstream gave no valid answer")]
    Answer(#[source] hyper::Error),
    /// What came can be read in two ways, or answers another request than ours.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
}

impl UpstreamError {
    /// The old and the new certificate, if that is the trouble.
    #[must_use]
    pub fn pin_mismatch(&self) -> Option<&PinMismatch> {
        match self {
            Self::Connect(ConnectError::Pin(mismatch)) => Some(mismatch),
            _ => None,
        }
    }
}

impl Unanswered {
    /// Of a request that was not to be sent anywhere.
    fn nowhere(error: impl Into<UpstreamError>) -> Self {
        Self { tried: Vec::new(), error: error.into() }
    }
}

impl Upstream {
    /// Prepares the checks of certificates; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`TrustError`]
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        audit: &audit::Log,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TrustError> {
        let (nodes, status) = Nodes::new(&settings, &clock, audit, &metrics)?;
        let (settings, nodes) = (Arc::new(settings), Arc::new(nodes));
        Ok(Self { settings, nodes, status, clock, offset: Arc::default(), metrics })
    }

    /// Asks the nodes of which nothing was heard for `health_interval`, so that [`Upstream::status`] is fresh.
    /// Takes no longer than `patience`.
    pub async fn look(&self, patience: Duration) {
        self.nodes.look(patience).await;
    }

    /// By how many milliseconds our clock is ahead of Proxmox VE's, to about a second; `None` as long as
    /// nothing is known.
    #[must_use]
    pub fn clock_offset_millis(&self) -> Option<i64> {
        self.offset.millis()
    }

    /// Which nodes serve, for those who may know.
    #[must_use]
    pub fn status(&self) -> &Arc<status::Nodes> {
        &self.status
    }

    /// Looks after the nodes of a cluster. Goes on until it is dropped; with a single node there is nothing
    /// to do.
    pub async fn watch(&self) {
        self.nodes.watch().await;
    }

    /// A way for one client connection.
    #[must_use]
    pub fn channel(&self, client: IpAddr) -> Channel {
        Channel {
            upstream: self.clone(),
            client,
            idle: Arc::default(),
            carriers: Mutex::default(),
            begun: Mutex::default(),
        }
    }
}

impl Channel {
    /// Sends a permitted request and gives the answer, its body streaming.
    ///
    /// # Errors
    ///
    /// [`Unanswered`]
    pub async fn forward(
        &self,
        mut permitted: Permitted<Request<Incoming>>,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let read = permitted.take_body();
        let (mut request, grounds) = permitted.into_parts();
        let settings = &self.upstream.settings;
        let upgrade = Upgrade::take(&mut request);
        let (mut head, incoming) = request.into_parts();
        let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        let protocol = upgrade.as_ref().map(|upgrade| &upgrade.protocol);
        field::toward_upstream(&mut head.headers, self.client, &settings.send_client_ip, protocol)
            .map_err(Unanswered::nowhere)?;
        let lease = grounds.lease();
        let (method, clock) = (&head.method, &self.upstream.clock);
        let passes_by = read.is_none() && !chunked;
        let (body, fate) = match read {
            Some(whole) => body::whole(&mut head.headers, whole),
            None => body::measured(method, &mut head.headers, chunked, incoming, lease, clock)
                .await
                .map_err(Unanswered::nowhere)?,
        };
        if let Some(upgrade) = &upgrade {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, upgrade.protocol.clone());
        }
        let request = Request::from_parts(bare(head), body);
        let sent = Instant::now();
        let (mut response, line) = self.send(request, lease, &fate).await?;
        let answered = Instant::now();
        self.upstream.offset.look(response.headers(), answered, &*self.upstream.clock);
        // A body that was read first took as long as its sender liked.
        let waited = passes_by.then(|| answered - sent);
        if let Err(bad) = answer::check(&response, upgrade.as_ref().map(|upgrade| &upgrade.protocol)) {
            return Err(Unanswered { tried: vec![line.address], error: bad.into() });
        }
        if let Some(upgrade) = upgrade
            && response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            return Ok(self.switch(response, upgrade, grounds).map(|body| body.after(waited)));
        }
        field::toward_client(response.headers_mut());
        reason::keep(&mut response);
        let done = self.give_back(line);
        let limit = settings.idle_timeout;
        Ok(response.map(|body| ResponseBody::new(body, lease.clone(), limit, done).after(waited)))
    }

    /// Sends to the node that serves this party. What none of its bytes was sent of, because the node took
    /// no connection or closed it too early, goes to the next node; what was sent is never sent again.
    async fn send(
        &self,
        mut request: Request<RequestBody>,
        lease: &Lease,
        fate: &Fate,
    ) -> Result<(Response<Incoming>, Line), Unanswered> {
        let (party, nodes) = (lease.party(), &self.upstream.nodes);
        let (mut tried, mut keys) = (Vec::new(), Vec::new());
        let mut mismatch = None;
        let mut node = nodes.first_choice(&party, lease.node());
        loop {
            let Failed { unsent, error } = match self.send_to(node, request, lease, fate).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => failed,
            };
            tried.push(node.address().clone());
            keys.push(node.key());
            let Some(unsent) = unsent else { return Err(Unanswered { tried, error }) };
            let Some(next) = nodes.choose(&party, lease.node(), &keys) else {
                return Err(Unanswered { tried, error: mismatch.unwrap_or(error) });
            };
            tracing::warn!(
                upstream.address = %node.address(), next = %next.address(), error = %error,
                cause = ?std::error::Error::source(&error), "a node took no request"
            );
            if error.pin_mismatch().is_some() {
                mismatch.get_or_insert(error);
            }
            (request, node) = (*unsent, next);
        }
    }

    /// Sends on the connection that waits, or, if that closed before it took anything, on a new one.
    async fn send_to(
        &self,
        node: &Node,
        mut request: Request<RequestBody>,
        lease: &Lease,
        fate: &Fate,
    ) -> Result<(Response<Incoming>, Line), Failed> {
        let (party, before) = (lease.party(), lease.node());
        if let Some(mut line) = self.take_waiting(&party, node) {
            match self.send_on(&mut line.sender, request, fate).await {
                Ok(response) => return Ok((response, line)),
                Err(Failed { unsent: Some(unsent), .. }) => request = *unsent,
                Err(sent) => return Err(sent),
            }
        }
        let mut again = true;
        loop {
            // Boxed: a handshake is rare, and its future big.
            let mut sender = match Box::pin(self.connect(node)).await {
                Ok(sender) => sender,
                Err(error) => return Err(Failed { unsent: Some(Box::new(request)), error: error.into() }),
            };
            // Before it is sent: what a console's call answers is good on this node only.
            lease.stay_with(before, node.key());
            match self.send_on(&mut sender, request, fate).await {
                Ok(response) => {
                    let address = node.address().clone();
                    return Ok((response, Line { sender, party, node: node.key(), address }));
                }
                // A worker of pveproxy that ended at this very moment is no failure of the node.
                Err(Failed { unsent: Some(unsent), .. }) if again => request = *unsent,
                Err(failed) => return Err(failed),
            }
            again = false;
        }
    }

    async fn send_on(
        &self,
        sender: &mut http1::SendRequest<RequestBody>,
        mut request: Request<RequestBody>,
        fate: &Fate,
    ) -> Result<Response<Incoming>, Failed> {
        let limit = self.upstream.settings.idle_timeout;
        let interim = Interim::count(&mut request);
        let sent = sender.try_send_request(request);
        tokio::pin!(sent);
        // The wait for a head begins when the body is up: a big upload takes as long as it takes.
        let answered = loop {
            tokio::select! {
                answered = timeout(limit, sent.as_mut()) => match answered {
                    Err(_) if fate.moved() => {}
                    answered => break answered,
                },
                () = interim.flood() => {
                    return Err(Failed { unsent: None, error: BadAnswer::Interim.into() });
                }
            }
        };
        match answered {
            Err(_) => Err(Failed { unsent: None, error: UpstreamError::Silent(limit) }),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => {
                // hyper gives back only what it never began to write.
                let unsent = error.take_message().map(Box::new);
                let error = if unsent.is_none() && fate.is_stalled() {
                    UpstreamError::Stalled
                } else {
                    UpstreamError::Answer(error.into_error())
                };
                Err(Failed { unsent, error })
            }
        }
    }

    async fn connect(&self, node: &Node) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
        let (sender, carry) = node.connect().await?;
        let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        while carriers.try_join_next().is_some() {}
        carriers.spawn(carry);
        Ok(sender)
    }

    /// The connection that waits, if it is this party's on this node and still good; any other is closed.
    fn take_waiting(&self, party: &Party, node: &Node) -> Option<Line> {
        let Idle { line, since } = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let good = since.elapsed() < REUSE && line.sender.is_ready();
        (good && line.party == *party && line.node == node.key()).then_some(line)
    }

    /// When the answer has been read, its connection waits for the next request.
    fn give_back(&self, line: Line) -> Done {
        let idle = Arc::downgrade(&self.idle);
        Done::new(move || {
            if let Some(idle) = idle.upgrade() {
                let waiting = Idle { line, since: Instant::now() };
                *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
            }
        })
    }

    /// Carries the tunnel that a 101 began, if one did, until it ends. The client's connection hands over
    /// its bytes once it has been served to its end.
    pub async fn tunnel(&self) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Tunnel { client, upstream, console, activity }) = begun else { return };
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                let _open = self.upstream.metrics.websocket();
                match tunnel::run(client, upstream, &console, activity, &self.upstream.clock).await {
                    TunnelEnd::Closed => tracing::debug!("a tunnel closed"),
                    TunnelEnd::Broken(error) => tracing::debug!(error = %error, "a tunnel broke off"),
                    TunnelEnd::Over(over) => tracing::info!(reason = ?over, "a tunnel was ended"),
                }
            }
            Err(error) => tracing::debug!(error = %error, "a tunnel never began"),
        }
    }

    /// Answers a 101 with a 101, and keeps both connections for [`Channel::tunnel`] to join.
    fn switch(
        &self,
        mut response: Response<Incoming>,
        upgrade: Upgrade,
        grounds: Grounds,
    ) -> Response<ResponseBody> {
        let activity = if upgrade.protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
            Activity::WebSocket
        } else {
            Activity::AnyByte
        };
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let to_upstream = hyper::upgrade::on(&mut response);
        field::toward_client(response.headers_mut());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(header::UPGRADE, protocol);
        }
        reason::keep(&mut response);
        let lease = grounds.lease().clone();
        let limit = self.upstream.settings.idle_timeout;
        let (method, target) = &upgrade.call;
        let console = lease.open_console(method, target.as_ref(), self.upstream.clock.now());
        let tunnel = Tunnel { client: upgrade.client, upstream: to_upstream, console, activity };
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        response.map(|body| ResponseBody::new(body, lease, limit, Done::new(|| {})))
    }
}

/// A request's upgrade, and the client's side of the connection after it.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
    /// What asked for it.
    call: (Method, Option<PathAndQuery>),
}

impl Upgrade {
    fn take(request: &mut Request<Incoming>) -> Option<Self> {
        let protocol = request.headers().get(header::UPGRADE)?.clone();
        let call = (request.method().clone(), request.uri().path_and_query().cloned());
        Some(Self { protocol, client: hyper::upgrade::on(request), call })
    }
}

/// The head without what the server side of hyper left in its extensions.
fn bare(head: request::Parts) -> request::Parts {
    let mut head = head;
    head.extensions.clear();
    head
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} to {:?})", self.client, self.upstream)
    }
}
