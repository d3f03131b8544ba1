//! What the stand-in observed, for tests to look at and to wait for.

use std::collections::VecDeque;

use tokio::sync::watch;

/// Everything observed so far.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Seen {
    /// TCP connections accepted.
    pub connections: usize,
    /// TCP connections open now.
    pub connections_open: usize,
    /// Connections closed before TLS because of their address.
    pub connections_refused: usize,
    /// Request heads that arrived complete.
    pub requests_seen: usize,
    /// The last of them, oldest first.
    pub requests: VecDeque<SeenRequest>,
    /// Bytes of request bodies read, of all requests.
    pub body_bytes: u64,
    /// Uploads that began.
    pub uploads_begun: usize,
    /// Uploads that arrived whole, oldest first.
    pub uploads: VecDeque<SeenUpload>,
    /// Uploads that did not.
    pub aborted_uploads: usize,
    /// WebSocket tunnels opened.
    pub tunnels: usize,
    /// WebSocket tunnels open now.
    pub tunnels_open: usize,
    /// Bytes of WebSocket payload received.
    pub tunnel_bytes: u64,
    /// Worker processes that died or were replaced.
    pub workers_replaced: usize,
    /// Received bytes by connection number, if recorded.
    pub raw_bytes: Vec<Vec<u8>>,
    /// Lines of the access log.
    pub access_log: VecDeque<String>,
    /// Lines of the journal.
    pub journal: VecDeque<String>,
}

/// A request head that arrived complete, and its body if it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// The request target, as sent.
    pub target: String,
    /// Name and value of each field line, in order, folded lines joined.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The head's bytes, from the request line through the empty line.
    pub raw_head: Vec<u8>,
    /// Length of the body, once it was read to its end.
    pub body_length: Option<u64>,
    /// SHA-256 of the body, once it was read to its end.
    pub body_sha256: Option<[u8; 32]>,
    /// Number of the connection, from 0 in the order of arrival.
    pub connection: usize,
}

impl SeenRequest {
    /// The values of all field lines of this name, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
            .collect()
    }
}

/// A file that was uploaded whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUpload {
    /// The name that the form gave.
    pub filename: String,
    /// The form's `content` field: `iso`, `vztmpl`, `import`.
    pub content: String,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// What came of the form's own checksum.
    pub checksum: Checksum,
}

/// What came of the checksum that an upload form can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The form had none.
    None,
    /// The file has it.
    Matches,
    /// The file has another; the real task fails then.
    Differs,
    /// Another algorithm than sha256, which the stand-in does not compute.
    NotChecked,
}

/// Keeps [`Seen`] and tells those who wait.
#[derive(Debug)]
pub(super) struct Observer {
    seen: watch::Sender<Seen>,
    remember: usize,
    record_raw_bytes: bool,
}

/// A request's number, to add its body to it later.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestNumber(usize);

impl Observer {
    pub(super) fn new(remember: usize, record_raw_bytes: bool) -> Self {
        Self { seen: watch::Sender::new(Seen::default()), remember, record_raw_bytes }
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.borrow())
    }

    pub(super) async fn wait_until(&self, condition: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        // An error says that no sender is left; `self` holds one.
        drop(seen.wait_for(condition).await);
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    /// Counts a connection and returns its number.
    pub(super) fn connection(&self) -> usize {
        let mut number = 0;
        self.note(|seen| {
            number = seen.connections;
            seen.connections += 1;
            if self.record_raw_bytes {
                seen.raw_bytes.push(Vec::new());
            }
        });
        number
    }

    pub(super) fn received(&self, connection: usize, bytes: &[u8]) {
        if self.record_raw_bytes && !bytes.is_empty() {
            self.note(|seen| {
                if let Some(all) = seen.raw_bytes.get_mut(connection) {
                    all.extend_from_slice(bytes);
                }
            });
        }
    }

    pub(super) fn request(&self, request: SeenRequest) -> RequestNumber {
        let mut number = 0;
        self.note(|seen| {
            number = seen.requests_seen;
            seen.requests_seen += 1;
            push(&mut seen.requests, request, self.remember);
        });
        RequestNumber(number)
    }

    pub(super) fn body(&self, RequestNumber(number): RequestNumber, length: u64, sha256: [u8; 32]) {
        self.note(|seen| {
            let forgotten = seen.requests_seen - seen.requests.len();
            let request = number.checked_sub(forgotten).and_then(|at| seen.requests.get_mut(at));
            if let Some(request) = request {
                request.body_length = Some(length);
                request.body_sha256 = Some(sha256);
            }
        });
    }

    pub(super) fn upload(&self, upload: SeenUpload) {
        self.note(|seen| push(&mut seen.uploads, upload, self.remember));
    }

    pub(super) fn access(&self, line: String) {
        self.note(|seen| push(&mut seen.access_log, line, self.remember));
    }

    pub(super) fn journal(&self, line: String) {
        self.note(|seen| push(&mut seen.journal, line, self.remember));
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, at_most: usize) {
    while queue.len() >= at_most.max(1) {
        queue.pop_front();
    }
    queue.push_back(item);
}
