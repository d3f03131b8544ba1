//! Toward pveproxy.
//!
//! A [`Channel`] belongs to one client connection and has at most one upstream connection, so that
//! bytes of two people never share one. [`Channel::forward`] takes nothing but a [`Permitted`]
//! request, and [`Channel::tunnel`] carries what a 101 began; both end with the channel. What a proxy in front of pveproxy must preserve, and why, is told where it is done: fields
//! in `field`, phrases in `reason`, lengths in `body`, ends of streams in `tolerant`, consoles in `tunnel`.

mod body;
mod connector;
pub mod field;
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

use http::{HeaderValue, Request, Response, StatusCode, header, request};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

pub use body::{MAX_UNMEASURED, ResponseBody};
pub use connector::ConnectError;

use body::{Done, Fate, RequestBody};
use connector::Connector;
use tunnel::{Activity, TunnelEnd};

pub use crate::tls::Trust;
use crate::{
    connection::body::BodyError,
    gate::{Grounds, OpenConsole, Permitted},
    time::Clock,
    tls::{PinMismatch, TrustError},
};

/// pveproxy closes idle connections after five seconds; a request must never meet that moment.
const REUSE: Duration = Duration::from_secs(3);

/// Where pveproxy is and how it proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port, 8006 unless written.
    pub port: u16,
    /// How its certificate is checked. There is no way not to.
    pub trust: Trust,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest wait for a response head, and longest silence inside a response body.
    pub idle_timeout: Duration,
    /// The field that carries the client's address to pveproxy (its `PROXY_REAL_IP_HEADER`).
    pub send_client_ip: http::HeaderName,
}

impl Settings {
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

/// One upstream.
#[derive(Clone)]
pub struct Upstream {
    settings: Arc<Settings>,
    connector: Connector,
    clock: Arc<dyn Clock>,
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

/// A connection that waits for the next request.
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
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
    /// A 101 that does not answer the request's upgrade.
    #[error("the upstream switched protocols unasked")]
    Upgrade,
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

impl Upstream {
    /// Prepares the checks of its certificate; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`TrustError`]
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let settings = Arc::new(settings);
        let connector = Connector::new(settings.clone(), clock.clone())?;
        Ok(Self { settings, connector, clock })
    }

    /// `host:port`, for administrators.
    #[must_use]
    pub fn address(&self) -> String {
        self.settings.address()
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
    /// [`UpstreamError`]
    pub async fn forward(
        &self,
        mut permitted: Permitted<Request<Incoming>>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let read = permitted.take_body();
        let (mut request, grounds) = permitted.into_parts();
        let settings = &self.upstream.settings;
        let upgrade = Upgrade::take(&mut request);
        let (mut head, incoming) = request.into_parts();
        let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        field::toward_upstream(&mut head.headers, self.client, &settings.send_client_ip)?;
        let lease = grounds.lease();
        let (method, clock) = (&head.method, &self.upstream.clock);
        let (body, fate) = match read {
            Some(whole) => body::whole(&mut head.headers, whole),
            None => body::measured(method, &mut head.headers, chunked, incoming, lease, clock).await?,
        };
        if let Some(upgrade) = &upgrade {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, upgrade.protocol.clone());
        }
        let request = Request::from_parts(bare(head), body);
        let (mut response, sender) = self.send(request, &fate).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = upgrade.ok_or(UpstreamError::Upgrade)?;
            return self.switch(response, upgrade, grounds);
        }
        field::toward_client(response.headers_mut());
        reason::keep(&mut response);
        let done = self.give_back(sender);
        let limit = settings.idle_timeout;
        Ok(response.map(|body| ResponseBody::new(body, lease.clone(), limit, done)))
    }

    /// Sends on the connection that waits, or on a new one. What a closing connection did not take
    /// goes on a new one; what was sent is never sent again.
    async fn send(
        &self,
        mut request: Request<RequestBody>,
        fate: &Fate,
    ) -> Result<(Response<Incoming>, http1::SendRequest<RequestBody>), UpstreamError> {
        let mut waiting = self.take_waiting();
        loop {
            let (mut sender, fresh) = match waiting.take() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            let limit = self.upstream.settings.idle_timeout;
            let sent = sender.try_send_request(request);
            tokio::pin!(sent);
            // The wait for a head begins when the body is up: a big upload takes as long as it takes.
            let answered = loop {
                match timeout(limit, sent.as_mut()).await {
                    Err(_) if fate.moved() => {}
                    answered => break answered,
                }
            };
            match answered {
                Err(_) => return Err(UpstreamError::Silent(limit)),
                Ok(Ok(response)) => return Ok((response, sender)),
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    Some(_) | None if fate.is_stalled() => return Err(UpstreamError::Stalled),
                    Some(_) | None => return Err(UpstreamError::Answer(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
        let (sender, carry) = self.upstream.connector.connect().await?;
        let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        while carriers.try_join_next().is_some() {}
        carriers.spawn(carry);
        Ok(sender)
    }

    fn take_waiting(&self) -> Option<http1::SendRequest<RequestBody>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (idle.since.elapsed() < REUSE && idle.sender.is_ready()).then_some(idle.sender)
    }

    /// When the answer has been read, its connection waits for the next request.
    fn give_back(&self, sender: http1::SendRequest<RequestBody>) -> Done {
        let idle = Arc::downgrade(&self.idle);
        Done::new(move || {
            if let Some(idle) = idle.upgrade() {
                let waiting = Idle { sender, since: Instant::now() };
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
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let answered = response.headers().get(header::UPGRADE);
        if !answered.is_some_and(|a| a.as_bytes().eq_ignore_ascii_case(upgrade.protocol.as_bytes())) {
            return Err(UpstreamError::Upgrade);
        }
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
        let console = lease.open_console(self.upstream.clock.now());
        let tunnel = Tunnel { client: upgrade.client, upstream: to_upstream, console, activity };
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        Ok(response.map(|body| ResponseBody::new(body, lease, limit, Done::new(|| {}))))
    }
}

/// A request's upgrade, and the client's side of the connection after it.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Upgrade {
    fn take(request: &mut Request<Incoming>) -> Option<Self> {
        let protocol = request.headers().get(header::UPGRADE)?.clone();
        Some(Self { protocol, client: hyper::upgrade::on(request) })
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
        write!(f, "Upstream({})", self.address())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} to {})", self.client, self.upstream.address())
    }
}
