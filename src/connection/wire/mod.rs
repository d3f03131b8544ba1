//! The strict parser in front of hyper: what is no request that every correct parser reads alike, hyper
//! never sees.
//!
//! [`Wire`] stands between TLS and hyper. Most requests pass where they stand, in hyper's own buffer,
//! looked at once and not copied. A head passes as a whole or not at all; the bytes of the next request
//! are held back until the current one is answered, and then have the time that a head has. In place of
//! a head that is refused hyper gets a plain one of ours, so that the answer is made, timed and closed as
//! any other, and after it nothing is a request any more.
//!
//! The pure parts are [`head`], [`chunked`] and [`framer`]. Deadlines for answers that nobody takes are
//! in `deadline`.

pub mod chunked;
pub mod framer;
pub mod head;

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    deadline::Limits,
    head::{HeadRefusal, RefusedHead},
    phase::Phase,
};
use framer::{Framer, Refusal};

/// How long after its end a connection is read on, so that an answer to somebody who still sends is not
/// lost: a socket that is closed over unread bytes takes back what it sent.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes that are thrown away meanwhile.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// A stream on which hyper finds requests that were read strictly, one at a time.
pub(super) struct Wire<IO> {
    io: IO,
    phase: Phase,
    framer: Framer,
    /// Part of a head, or what came after a request. Empty most of the time, and then takes no memory.
    held: Vec<u8>,
    /// How many of its bytes hyper has already.
    given: usize,
    /// How many of the next ones it may have.
    approved: usize,
    limits: Limits,
    /// What else is kept of a head that is refused: who sent it.
    forwarding_field: Option<HeaderName>,
    awaited: Awaited,
    alarm: Pin<Box<Sleep>>,
    end: End,
}

/// What the alarm is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The first head of the connection: a browser connects because it has one.
    First,
    /// The first byte of the next head.
    Next,
    /// The rest of a head.
    Rest,
    /// Nothing: a request is under way.
    Nothing,
}

/// Whether the connection is over, as far as requests are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// No.
    Open,
    /// Something was refused.
    Refused,
    /// A head did not come in time: nobody waits for such a client again.
    Slow,
    /// The sending side is shut; so many bytes may still be thrown away.
    Lingering(usize),
}

impl<IO> Wire<IO> {
    pub(super) fn new(io: IO, phase: Phase, limits: Limits) -> Self {
        Self {
            io,
            phase,
            framer: Framer::default(),
            held: Vec::new(),
            given: 0,
            approved: 0,
            limits,
            forwarding_field: None,
            awaited: Awaited::First,
            alarm: Box::pin(sleep(limits.head)),
            end: End::Open,
        }
    }

    /// Keeps this field of a head that is refused.
    pub(super) fn keeping(self, forwarding_field: Option<HeaderName>) -> Self {
        Self { forwarding_field, ..self }
    }

    /// Asks the framer about what is held. `Err`: what hyper is told instead.
    fn look(&mut self) -> io::Result<()> {
        let was_in_head = self.framer.is_in_head();
        match self.framer.take(self.held.get(self.given..).unwrap_or_default()) {
            Ok(taken) => {
                self.approved = taken;
                self.passed(was_in_head && taken > 0);
                Ok(())
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn passed(&mut self, head: bool) {
        if head {
            self.phase.busy();
            self.awaited = Awaited::Nothing;
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.end = End::Refused;
        let refused = std::mem::take(&mut self.held);
        let refused = refused.get(self.given..).unwrap_or_default();
        self.given = 0;
        match refusal {
            Refusal::Body(refusal) => Err(io::Error::new(io::ErrorKind::InvalidData, refusal)),
            Refusal::Head(refusal) => {
                let refused = outline(refused, refusal, self.forwarding_field.as_ref());
                // The answer to HEAD has no body, whatever is wrong with the rest.
                let method = if refused.head.method == Method::HEAD { "HEAD" } else { "GET" };
                self.held = format!("{method} / HTTP/1.1\r\n\r\n").into_bytes();
                self.approved = self.held.len();
                self.awaited = Awaited::Nothing;
                self.phase.refused(refused);
                Ok(())
            }
        }
    }

    /// Hands on what is approved.
    fn give(&mut self, into: &mut ReadBuf<'_>) {
        let length = self.approved.min(into.remaining());
        into.put_slice(self.held.get(self.given..self.given + length).unwrap_or_default());
        self.given += length;
        self.approved -= length;
        if self.given == self.held.len() {
            self.held = Vec::new();
            self.given = 0;
        }
    }

    /// Keeps what was read behind `before + taken`.
    fn hold_back(&mut self, into: &mut ReadBuf<'_>, before: usize, taken: usize) {
        let kept = before + taken;
        self.held.extend_from_slice(into.filled().get(kept..).unwrap_or_default());
        into.set_filled(kept);
    }

    /// Nothing came: may it be waited for?
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.framer.is_in_head() {
            // Bodies have limits of their own.
            return Poll::Pending;
        }
        if self.phase.is_stalled() {
            // Nobody asks for something before they have what they asked for before.
            self.awaited = Awaited::Nothing;
            return Poll::Pending;
        }
        let begun = self.given < self.held.len();
        let (awaited, limit) = match self.awaited {
            Awaited::First => (Awaited::First, self.limits.head),
            Awaited::Next | Awaited::Rest | Awaited::Nothing if begun => (Awaited::Rest, self.limits.head),
            Awaited::Next | Awaited::Rest | Awaited::Nothing => (Awaited::Next, self.limits.idle),
        };
        if awaited != self.awaited {
            self.awaited = awaited;
            self.alarm.as_mut().reset(Instant::now() + limit);
        }
        ready!(self.alarm.as_mut().poll(context));
        self.end = End::Slow;
        let what = if awaited == Awaited::Next { "next request" } else { "request head" };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("no {what} in time"))))
    }

    /// Whether somebody may still be sending what nobody is going to read.
    fn is_unread(&self) -> bool {
        let body_under_way = !self.framer.is_in_head() && !self.framer.is_at_end();
        match self.end {
            End::Refused => true,
            End::Open => !self.phase.is_tunnel() && (body_under_way || !self.held.is_empty()),
            End::Slow | End::Lingering(_) => false,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.approved > 0 {
                this.give(into);
                return Poll::Ready(Ok(()));
            }
            if this.phase.is_tunnel() {
                // What passes from here on are no requests, and neither is what came early.
                this.approved = this.held.len() - this.given;
                if this.approved > 0 {
                    continue;
                }
                return Pin::new(&mut this.io).poll_read(context, into);
            }
            if this.end != End::Open {
                // The answer is on its way; that the client has ended meanwhile must not stop it. Once it is
                // given nothing comes any more, also if it did not say that the connection closes.
                let is_answered = this.phase.is_open_to(context.waker()) && !this.phase.is_stalled();
                return if is_answered { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let before = into.filled().len();
            if this.framer.is_at_end() && !this.phase.is_open_to(context.waker()) {
                if !this.held.is_empty() {
                    return Poll::Pending;
                }
                // Its client's end is told to hyper, so that nobody works for nobody.
                ready!(Pin::new(&mut this.io).poll_read(context, into))?;
                if into.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
                this.hold_back(into, before, 0);
                continue;
            }
            this.framer.next();
            if !this.held.is_empty() {
                this.look()?;
                if this.approved > 0 {
                    continue;
                }
            }
            match Pin::new(&mut this.io).poll_read(context, into) {
                Poll::Pending => return this.wait(context),
                Poll::Ready(result) => result?,
            }
            let fresh = into.filled().get(before..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() {
                this.hold_back(into, before, 0);
                continue;
            }
            let was_in_head = this.framer.is_in_head();
            match this.framer.take(fresh) {
                Ok(taken) => {
                    this.passed(was_in_head && taken > 0);
                    this.hold_back(into, before, taken);
                    if taken > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(refusal) => {
                    this.hold_back(into, before, 0);
                    this.refuse(refusal)?;
                }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut budget = match this.end {
            End::Lingering(budget) => budget,
            End::Open | End::Refused | End::Slow => {
                ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
                if !this.is_unread() {
                    return Poll::Ready(Ok(()));
                }
                this.alarm.as_mut().reset(Instant::now() + LINGER);
                LINGER_BYTES
            }
        };
        let mut scratch = [0; 4096];
        while budget > 0 && this.alarm.as_mut().poll(context).is_pending() {
            let mut into = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.io).poll_read(context, &mut into) {
                Poll::Pending => {
                    this.end = End::Lingering(budget);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                    budget = budget.saturating_sub(into.filled().len());
                }
                Poll::Ready(_) => break,
            }
        }
        this.end = End::Lingering(0);
        Poll::Ready(Ok(()))
    }
}

impl<IO> fmt::Debug for Wire<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({:?})", self.end)
    }
}

/// What the page and the log say about a head that was refused, and by whom it was sent.
fn outline(bytes: &[u8], refusal: HeadRefusal, forwarding_field: Option<&HeaderName>) -> Box<RefusedHead> {
    const SHOWN: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];
    let found = head::outline(bytes, SHOWN.each_ref().map(HeaderName::as_str));
    let text = |range: Option<std::ops::Range<usize>>| bytes.get(range?);
    let (mut head, ()) = Request::new(()).into_parts();
    if let Some(method) = text(found.method).and_then(|method| Method::from_bytes(method).ok()) {
        head.method = method;
    }
    if let Some(uri) = text(found.target).and_then(|target| Uri::try_from(target).ok()) {
        head.uri = uri;
    }
    for (name, range) in SHOWN.into_iter().zip(found.values) {
        if let Some(value) = text(range).and_then(|v| HeaderValue::from_bytes(v.trim_ascii()).ok()) {
            head.headers.insert(name, value);
        }
    }
    // All lines of it: the client stands in the last that is not a peer's.
    if let Some(name) = forwarding_field {
        for value in lines_of(bytes, name) {
            head.headers.append(name, value);
        }
    }
    // A program with an API token is told as one, whatever it accepts.
    for mut value in lines_of(bytes, &header::AUTHORIZATION) {
        value.set_sensitive(true);
        head.headers.append(header::AUTHORIZATION, value);
    }
    Box::new(RefusedHead { head, refusal })
}

/// The values of a field in a head that was refused, in order.
fn lines_of(bytes: &[u8], name: &HeaderName) -> impl Iterator<Item = HeaderValue> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.skip(1).take_while(|line| !line.is_empty()).filter_map(move |line| {
        let (found, value) = line.split_at_checked(name.as_str().len())?;
        let value =
            value.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name.as_str().as_bytes()))?;
        HeaderValue::from_bytes(value.trim_ascii()).ok()
    })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::advance,
    };

    use super::{
        super::{answer::Hold, deadline::Deadlines, phase::Tracked},
        *,
    };

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        pause: Duration::from_secs(3600),
    };
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn wire() -> (DuplexStream, Wire<DuplexStream>, Phase) {
        let (client, server) = duplex(64 * 1024);
        let phase = Phase::default();
        (client, Wire::new(server, phase.clone(), LIMITS), phase)
    }

    /// What there is to read, until nothing comes by itself any more.
    async fn available(wire: &mut Wire<DuplexStream>) -> Vec<u8> {
        let mut read = Vec::new();
        while let Ok(more) = tokio::time::timeout(Duration::from_millis(1), wire.read_buf(&mut read)).await {
            assert_ne!(more.unwrap(), 0, "it ended");
        }
        read
    }

    /// The current request is answered.
    fn answered(phase: &Phase) {
        drop(Tracked::new((), phase.clone()));
    }

    // Time is paused: nothing but in-memory pipes is used here.

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_however_it_trickles_and_passes_as_a_whole() {
        let (mut client, mut wire, _) = wire();
        let reading = tokio::spawn(async move { wire.read_u8().await.unwrap_err() });
        let start = Instant::now();

        let trickle = async {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let error = tokio::select! { error = reading => error.unwrap(), () = trickle => unreachable!() };

        assert_eq!(error.to_string(), "no request head in time");
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_minute_of_silence_is_allowed_and_then_a_head_has_its_own_limit() {
        let (mut client, mut wire, phase) = wire();
        client.write_all(GET).await.unwrap();
        assert_eq!(available(&mut wire).await, GET);
        answered(&phase);

        let start = Instant::now();
        let (error, ()) = tokio::join!(wire.read_u8(), async {
            tokio::time::sleep(Duration::from_secs(55)).await;
            client.write_all(b"G").await.unwrap();
        });

        assert_eq!(error.unwrap_err().to_string(), "no request head in time");
        assert_eq!(start.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_request_that_was_waited_for_ends_after_a_minute() {
        let (mut client, mut wire, phase) = wire();
        client.write_all(GET).await.unwrap();
        assert_eq!(available(&mut wire).await, GET);
        let start = Instant::now();

        // As hyper does: it reads while the answer is made, and is only woken once that is done.
        let reading = tokio::spawn(async move { wire.read_u8().await.unwrap_err() });
        tokio::task::yield_now().await;
        advance(Duration::from_secs(3600)).await;
        answered(&phase);
        let error = reading.await.unwrap();

        assert_eq!(error.to_string(), "no next request in time");
        assert_eq!(start.elapsed().as_secs(), 3660);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_request_is_held_back_until_the_current_one_is_answered() {
        let (mut client, mut wire, phase) = wire();
        let two = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET";
        client.write_all(two).await.unwrap();

        let first = available(&mut wire).await;
        let start = Instant::now();
        advance(Duration::from_secs(3600)).await;
        let while_busy = available(&mut wire).await;
        answered(&phase);
        let second = available(&mut wire).await;
        answered(&phase);
        let error = wire.read_u8().await.unwrap_err();

        assert!(first.ends_with(b"\r\n\r\nabc"), "{}", first.escape_ascii());
        assert_eq!(while_busy, b"");
        assert_eq!(second, b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
        // The third had begun when its turn came: from there on it is a head, not silence.
        assert_eq!(error.to_string(), "no request head in time");
        assert_eq!(start.elapsed().as_secs(), 3610);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_while_its_request_is_served_is_noticed() {
        let (client, mut wire, _) = wire();
        let mut client = client;
        client.write_all(GET).await.unwrap();
        assert_eq!(available(&mut wire).await, GET);

        drop(client);

        assert_eq!(wire.read_buf(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_switch_of_protocols_every_byte_passes_and_nothing_expires() {
        let (mut client, mut wire, phase) = wire();
        client.write_all(GET).await.unwrap();
        client.write_all(b"early\n").await.unwrap();
        assert_eq!(available(&mut wire).await, GET);
        assert_eq!(available(&mut wire).await, b"");

        phase.tunnel();
        drop(Tracked::last(()));

        assert_eq!(available(&mut wire).await, b"early\n");
        for _ in 0..2 {
            let (read, ()) = tokio::join!(wire.read_u8(), async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                client.write_all(b"x").await.unwrap();
            });
            read.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_place_of_a_refused_head_comes_a_plain_one_and_nothing_after_it() {
        let (mut client, mut wire, phase) = wire();
        client.write_all(b"HEAD /x HTTP/1.0\r\nAccept: text/html\r\n\r\n").await.unwrap();
        client.write_all(GET).await.unwrap();

        let seen = available(&mut wire).await;
        let refused = phase.take_refused().unwrap();
        let until_answered = available(&mut wire).await;
        answered(&phase);
        let mut after = Vec::new();
        let end = tokio::time::timeout(LIMITS.pause, wire.read_buf(&mut after)).await;

        assert_eq!(seen, b"HEAD / HTTP/1.1\r\n\r\n");
        assert_eq!((refused.refusal, refused.head.uri.path()), (HeadRefusal::Version, "/x"));
        assert_eq!(refused.head.headers["accept"], "text/html", "a person is to get a page");
        assert_eq!(until_answered, b"");
        assert!(matches!(end, Ok(Ok(0))), "it ends with its answer, whatever that says: {end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_unread_bytes_is_read_on_for_a_second_after_its_end() {
        let (mut client, mut wire, _) = wire();
        client.write_all(b"\n").await.unwrap();
        available(&mut wire).await;
        let start = Instant::now();

        let sending = tokio::spawn(async move {
            while client.write_all(&[b'x'; 1024]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        wire.shutdown().await.unwrap();
        drop(wire);

        assert_eq!(start.elapsed(), LINGER);
        sending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_next_request_begins_when_a_paused_answer_was_taken() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut wire = Wire::new(Deadlines::new(server, phase.clone(), LIMITS), phase.clone(), LIMITS);
        client.write_all(GET).await.unwrap();
        let mut seen = [0; GET.len()];
        wire.read_exact(&mut seen).await.unwrap();
        phase.answers(Some(Hold::until(std::future::pending)));
        // The body is done with; its last bytes wait here.
        answered(&phase);
        let start = Instant::now();

        let (mut reading, mut writing) = tokio::io::split(wire);
        let mut bytes = [0; 200];
        let (written, read, ()) = tokio::join!(
            writing.write_all(&[7; 200]),
            // As hyper does: the next head is awaited while the last answer is still being written.
            reading.read_u8(),
            async {
                tokio::time::sleep(Duration::from_secs(3500)).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
        );

        assert!(written.is_ok() && bytes == [7; 200]);
        assert_eq!(read.unwrap_err().to_string(), "no next request in time");
        assert_eq!(start.elapsed().as_secs(), 3560);
    }
}
