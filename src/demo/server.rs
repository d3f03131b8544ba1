//! Connections, timers and workers: the thin shell around what the other modules decide.

use std::{
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    End, Shared, api, fill_pattern,
    head::{self, Head, Parsed},
    multipart,
    reply::{Framing, Reply, log_date},
    seen::{RequestNumber, SeenRequest},
    websocket,
};

/// What pveproxy reads ahead of its own use; beyond it the connection is dropped.
const READ_AHEAD: usize = 64 * 1024;
/// The largest body of a call.
pub(super) const MAX_CALL_BODY: u64 = 512 * 1024;

/// What to do with a request, decided from its head.
pub(super) enum Plan {
    /// Answer without reading the body.
    Answer(Answer),
    /// Read the body, however long, then answer.
    Discard(Answer),
    /// Read the body of a call, at most [`MAX_CALL_BODY`].
    Call(api::Call),
    /// Read an upload form.
    Upload(api::Call, String),
    /// Read a body of any length for its own sake.
    Sink(Sink),
}

/// Ways to read a body for its own sake.
pub(super) enum Sink {
    /// To its end; then tell length and digest.
    Report,
    /// Only so far; then answer and close.
    Early { after: u64, reply: Reply },
    /// To its end; then send exactly that.
    Verbatim(End),
}

/// What goes back.
pub(super) enum Answer {
    Reply(Box<Reply>),
    Stream(Stream),
    /// These bytes, then the end.
    Verbatim(Vec<u8>, End),
    /// These bytes, then whatever comes.
    RawEcho(Vec<u8>),
    /// A WebSocket; the bytes are its 101.
    Tunnel(Vec<u8>, websocket::Backend),
    /// Nothing, until the peer goes.
    Silence,
}

impl Answer {
    pub(super) fn reply(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// A body of [`fill_pattern`].
pub(super) struct Stream {
    pub(super) head: Reply,
    pub(super) head_delay: Duration,
    /// Content-Length; `None`: delimited by the connection's end.
    pub(super) length: Option<u64>,
    pub(super) send: u64,
    pub(super) chunk: usize,
    pub(super) every: Duration,
    /// `None`: the connection stays.
    pub(super) end: Option<End>,
}

/// Accepts until it is dropped; then every connection ends.
pub(super) async fn run(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut workers: Vec<Arc<Worker>> = (0..shared.settings.workers.max(1)).map(|_| Worker::new()).collect();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    let number = shared.seen.connection();
                    let slot = number % workers.len();
                    let Some(worker) = workers.get_mut(slot) else { continue };
                    if !worker.accepts() {
                        *worker = Worker::new();
                        shared.seen.note(|seen| seen.workers_replaced += 1);
                    }
                    let (worker, acceptor, shared) = (worker.clone(), acceptor.clone(), shared.clone());
                    connections.spawn(async move {
                        let _open = Open::new(&shared);
                        tokio::select! {
                            biased;
                            () = worker.died() => {}
                            () = connection(tcp, peer, number, &acceptor, &worker, &shared) => {}
                        }
                    });
                }
                // Out of descriptors, most likely: give others a chance to close theirs.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.seen.note(|seen| seen.connections_open += 1);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.seen.note(|seen| seen.connections_open -= 1);
    }
}

/// What a process is to pveproxy: its connections share its fate.
struct Worker {
    served: AtomicUsize,
    life: watch::Sender<Life>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Serving,
    /// Finishes its connections, takes no new ones.
    Finishing,
    Dead,
}

impl Worker {
    fn new() -> Arc<Self> {
        Arc::new(Self { served: AtomicUsize::new(0), life: watch::Sender::new(Life::Serving) })
    }

    fn accepts(&self) -> bool {
        *self.life.borrow() == Life::Serving
    }

    fn count_request(&self, at_most: usize) {
        if self.served.fetch_add(1, Ordering::SeqCst) + 1 >= at_most {
            self.life.send_replace(Life::Finishing);
        }
    }

    fn die(&self) {
        self.life.send_replace(Life::Dead);
    }

    async fn died(&self) {
        let mut life = self.life.subscribe();
        if life.wait_for(|life| *life == Life::Dead).await.is_err() {
            pending().await
        }
    }
}

/// One connection, from its first byte to its end.
async fn connection(
    tcp: TcpStream,
    peer: SocketAddr,
    number: usize,
    acceptor: &TlsAcceptor,
    worker: &Worker,
    shared: &Arc<Shared>,
) {
    let peer = peer.ip().to_canonical();
    let settings = &shared.settings;
    if settings.allow_from.as_ref().is_some_and(|allowed| !allowed.iter().any(|net| net.contains(&peer))) {
        shared.seen.note(|seen| seen.connections_refused += 1);
        log(shared, &peer.to_string(), "-", "-", 403, 0);
        return;
    }
    let mut first = [0];
    match timeout(settings.idle, tcp.peek(&mut first)).await {
        Ok(Ok(1..)) if first == [0x16] => {}
        Ok(Ok(1..)) => return plain_http(tcp, peer, number, shared).await,
        _ => return,
    }
    let Ok(Ok(tls)) = timeout(settings.idle, acceptor.accept(tcp)).await else { return };
    let mut conn = Conn { io: tls, buffer: Vec::new(), number, shared: shared.clone() };
    let end = serve(&mut conn, peer, worker, shared).await;
    finish(conn.io, end).await;
}

/// Ends a connection. Errors say that the peer was faster.
async fn finish(mut tls: TlsStream<TcpStream>, end: End) {
    match end {
        End::CloseNotify => drop(tls.shutdown().await),
        End::Fin => drop(tls.get_mut().0.shutdown().await),
        End::Rst => drop(tls.get_mut().0.set_zero_linger()),
    }
}

/// HTTP without TLS on the TLS port: a redirect, if there is a Host to redirect to.
async fn plain_http(tcp: TcpStream, peer: IpAddr, number: usize, shared: &Arc<Shared>) {
    let mut conn = Conn { io: tcp, buffer: Vec::new(), number, shared: shared.clone() };
    let Came::Head(head) = conn.head().await else { return };
    note_request(&head, number, shared);
    let Some(host) = head.text("host").filter(|host| !host.is_empty()) else { return };
    let (code, reason) = match head.method.as_str() {
        "GET" | "HEAD" => (301, "Moved Permanently"),
        _ => (308, "Permanent Redirect"),
    };
    let mut reply = Reply::empty(code, reason);
    let target = String::from_utf8_lossy(&head.target);
    reply.fields.push(("Location", format!("https://{host}{target}")));
    let framing =
        Framing { version: head.version, keep_alive: false, accepts_gzip: false, now: shared.now() };
    if conn.write(&reply.encode(&framing).0).await.is_ok() {
        log(shared, &peer.to_string(), "-", &head.request_line, code, 0);
        let _sent = conn.io.shutdown().await;
    }
}

/// Answers requests until the connection is to end.
async fn serve(
    conn: &mut Conn<TlsStream<TcpStream>>,
    peer: IpAddr,
    worker: &Worker,
    shared: &Arc<Shared>,
) -> End {
    let settings = &shared.settings;
    let mut requests_left = settings.requests_per_connection;
    loop {
        let head = match conn.head().await {
            Came::Head(head) => head,
            Came::Nothing => return End::CloseNotify,
            Came::Beyond => {
                conn.discard(settings.head_refused).await;
                return End::CloseNotify;
            }
            Came::Refused { code, reason, request_line } => {
                let framing = Framing {
                    version: "HTTP/1.1",
                    keep_alive: false,
                    accepts_gzip: false,
                    now: shared.now(),
                };
                let _sent = conn.write(&Reply::empty(code, &reason).encode(&framing).0).await;
                log(shared, &peer.to_string(), "-", &request_line, code, 0);
                return End::CloseNotify;
            }
        };
        let arrived = Instant::now();
        let number = note_request(&head, conn.number, shared);
        worker.count_request(settings.requests_per_worker);
        requests_left = requests_left.saturating_sub(1);
        let client = api::client_address(&head, peer, settings);
        let (plan, user) = api::plan(shared, &head, peer);
        let answer = match conn.carry_out(plan, &head, number).await {
            Ok(answer) => answer,
            Err(Lost) => return End::CloseNotify,
        };
        let exchange = Exchange {
            keep_alive: requests_left > 0 && head.keep_alive() && worker.accepts(),
            arrived,
            client,
            user: user.unwrap_or_else(|| "-".to_owned()),
            head,
        };
        if let Some(end) = conn.answer(answer, &exchange, worker).await {
            return end;
        }
    }
}

fn note_request(head: &Head, connection: usize, shared: &Shared) -> RequestNumber {
    shared.seen.request(SeenRequest {
        method: head.method.clone(),
        target: String::from_utf8_lossy(&head.target).into_owned(),
        fields: head.fields.clone(),
        raw_head: head.raw.clone(),
        body_length: None,
        body_sha256: None,
        connection,
    })
}

/// A line of pveproxy's access log.
fn log(shared: &Shared, client: &str, user: &str, request_line: &str, code: u16, bytes: usize) {
    let date = log_date(shared.now());
    let bytes = if bytes == 0 { "-".to_owned() } else { bytes.to_string() };
    shared.seen.access(format!("{client} - {user} [{date}] \"{request_line}\" {code} {bytes}"));
}

/// What an answer needs to know of its request.
struct Exchange {
    head: Head,
    keep_alive: bool,
    arrived: Instant,
    client: String,
    user: String,
}

/// The peer went away, or made no progress, or sent too much too early. No answer.
struct Lost;

/// What came instead of, or as, a request head.
enum Came {
    Head(Head),
    /// The end, or nothing in time.
    Nothing,
    /// A head beyond the limits.
    Beyond,
    Refused {
        code: u16,
        reason: String,
        request_line: String,
    },
}

/// A connection with what was read and not yet used.
pub(super) struct Conn<S> {
    pub(super) io: S,
    pub(super) buffer: Vec<u8>,
    number: usize,
    shared: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    /// Reads more; `false` at the end, clean or not. May be cancelled.
    pub(super) async fn fill(&mut self) -> bool {
        self.buffer.reserve(READ_AHEAD);
        match self.io.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                let new = self.buffer.len().saturating_sub(count);
                self.shared.seen.received(self.number, self.buffer.get(new..).unwrap_or_default());
                true
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    async fn head(&mut self) -> Came {
        loop {
            match head::parse(&self.buffer) {
                Parsed::Complete(head, length) => {
                    self.buffer.drain(..length);
                    return Came::Head(head);
                }
                Parsed::Silence => return Came::Beyond,
                Parsed::Refused { code, reason, request_line } => {
                    return Came::Refused { code, reason, request_line };
                }
                Parsed::Incomplete if self.buffer.len() > READ_AHEAD => return Came::Nothing,
                Parsed::Incomplete => {}
            }
            let settings = &self.shared.settings;
            let patience = if self.buffer.is_empty() { settings.idle } else { settings.head };
            if timeout(patience, self.fill()).await != Ok(true) {
                return Came::Nothing;
            }
        }
    }

    /// Takes what comes until the peer is silent for so long, or gone.
    async fn discard(&mut self, patience: Duration) {
        while timeout(patience, self.fill()).await == Ok(true) {
            self.buffer.clear();
        }
    }

    /// Waits, reading ahead as pveproxy does; an error if the peer went or sent too much.
    async fn wait(&mut self, until: Instant) -> Result<(), Lost> {
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                is_open = self.fill() => if !is_open || self.buffer.len() > READ_AHEAD {
                    return Err(Lost);
                },
            }
        }
    }

    /// Feeds a body of `length` bytes to `take`.
    async fn body(&mut self, length: u64, mut take: impl FnMut(&[u8])) -> Result<(), Lost> {
        let mut left = length;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            take(self.buffer.get(..count).unwrap_or_default());
            self.buffer.drain(..count);
            left -= count as u64;
            if count > 0 {
                self.shared.seen.note(|seen| seen.body_bytes += count as u64);
            } else if timeout(self.shared.settings.body, self.fill()).await != Ok(true) {
                return Err(Lost);
            }
        }
        Ok(())
    }

    /// Reads what the plan needs and says what to answer.
    async fn carry_out(&mut self, plan: Plan, head: &Head, number: RequestNumber) -> Result<Answer, Lost> {
        let length = head.content_length().unwrap_or(0);
        let mut hash = Sha256::new();
        let shared = self.shared.clone();
        let whole = |hash: Sha256| shared.seen.body(number, length, hash.finalize().into());
        match plan {
            Plan::Answer(answer) => Ok(answer),
            Plan::Discard(answer) => {
                self.body(length, |bytes| hash.update(bytes)).await?;
                whole(hash);
                Ok(answer)
            }
            Plan::Call(call) => {
                let mut body = Vec::new();
                self.body(length, |bytes| body.extend_from_slice(bytes)).await?;
                hash.update(&body);
                whole(hash);
                Ok(call.answer(&shared, &body))
            }
            Plan::Upload(call, boundary) => {
                shared.seen.note(|seen| seen.uploads_begun += 1);
                let mut reader = multipart::Reader::new(&boundary);
                let mut read = Ok(());
                let body = self.body(length, |bytes| {
                    hash.update(bytes);
                    if read.is_ok() {
                        read = reader.feed(bytes);
                    }
                });
                let form = match body.await {
                    Ok(()) => read.and_then(|()| reader.finish()),
                    Err(lost) => {
                        shared.seen.note(|seen| seen.aborted_uploads += 1);
                        return Err(lost);
                    }
                };
                whole(hash);
                Ok(call.uploaded(&shared, form))
            }
            Plan::Sink(Sink::Report) => {
                self.body(length, |bytes| hash.update(bytes)).await?;
                whole(hash.clone());
                let sha256 = data_encoding::HEXLOWER.encode(&hash.finalize());
                let report = serde_json::json!({ "bytes": length, "sha256": sha256 });
                Ok(Answer::reply(Reply::ok("application/json", report.to_string())))
            }
            Plan::Sink(Sink::Early { after, reply }) => {
                self.body(after.min(length), |_| {}).await?;
                Ok(Answer::reply(reply))
            }
            Plan::Sink(Sink::Verbatim(end)) => {
                let mut body = Vec::new();
                self.body(length.min(MAX_CALL_BODY), |bytes| body.extend_from_slice(bytes)).await?;
                Ok(Answer::Verbatim(body, end))
            }
        }
    }

    /// Sends an answer; `Some` says how the connection ends.
    async fn answer(&mut self, answer: Answer, exchange: &Exchange, worker: &Worker) -> Option<End> {
        let framing = Framing {
            version: exchange.head.version,
            keep_alive: exchange.keep_alive,
            accepts_gzip: exchange.head.text("accept-encoding").is_some_and(|value| value.contains("gzip")),
            now: self.shared.now(),
        };
        let shared = self.shared.clone();
        let log = |code: u16, bytes: usize| {
            log(&shared, &exchange.client, &exchange.user, &exchange.head.request_line, code, bytes);
        };
        let sent = match answer {
            Answer::Reply(reply) => {
                if reply.delayed {
                    let until = exchange.arrived + shared.settings.unauthorized_delay;
                    if self.wait(until).await.is_err() {
                        log(reply.code, 0);
                        return Some(End::CloseNotify);
                    }
                }
                let keep_alive = framing.keep_alive && !reply.ends_connection();
                let (bytes, length) = reply.encode(&Framing { keep_alive, ..framing });
                log(reply.code, length);
                self.write(&bytes).await.map(|()| (!keep_alive).then_some(End::CloseNotify))
            }
            Answer::Stream(stream) => {
                if self.wait(Instant::now() + stream.head_delay).await.is_err() {
                    return Some(End::CloseNotify);
                }
                log(stream.head.code, 0);
                match self.stream(&stream, &framing).await {
                    Ok(()) => {
                        let keep_alive = framing.keep_alive && stream.end.is_none();
                        Ok((!keep_alive).then(|| stream.end.unwrap_or(End::CloseNotify)))
                    }
                    Err(error) => Err(error),
                }
            }
            Answer::Verbatim(bytes, end) => self.write(&bytes).await.map(|()| Some(end)),
            Answer::RawEcho(head) => {
                let _open = websocket::Open::new(&shared);
                let mut sent = self.write(&head).await;
                while sent.is_ok() {
                    let bytes = std::mem::take(&mut self.buffer);
                    sent = self.write(&bytes).await;
                    if !self.fill().await {
                        break;
                    }
                }
                sent.map(|()| Some(End::Fin))
            }
            Answer::Tunnel(_, websocket::Backend::Dead) => {
                sleep(shared.settings.dead_backend).await;
                worker.die();
                return pending().await;
            }
            Answer::Tunnel(accept, backend) => {
                log(101, 0);
                match self.write(&accept).await {
                    Ok(()) => Ok(Some(websocket::tunnel(self, backend, &shared).await)),
                    Err(error) => Err(error),
                }
            }
            Answer::Silence => {
                while self.fill().await {
                    self.buffer.clear();
                }
                Ok(Some(End::Fin))
            }
        };
        // Who cannot be written to has gone.
        sent.unwrap_or(Some(End::Fin))
    }

    async fn stream(&mut self, stream: &Stream, framing: &Framing) -> io::Result<()> {
        self.write(&stream.head.encode_stream_head(framing, stream.length)).await?;
        let mut chunk = vec![0; stream.chunk];
        let (mut sent, mut next) = (0, Instant::now());
        while sent < stream.send {
            let take = usize::try_from(stream.send - sent).unwrap_or(usize::MAX).min(stream.chunk);
            let bytes = chunk.get_mut(..take).unwrap_or_default();
            fill_pattern(sent, bytes);
            self.io.write_all(bytes).await?;
            sent += take as u64;
            if !stream.every.is_zero() {
                self.io.flush().await?;
                next += stream.every;
                if self.wait(next).await.is_err() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
        self.io.flush().await
    }
}
