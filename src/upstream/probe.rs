//! Asks a node what it says to somebody without a ticket: for `pvegate check` and the diagnostics page.
//!
//! These are the only requests that reach pveproxy without a permit: they are the gate's own, carry nothing of
//! anybody and ask for what pveproxy refuses to strangers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Endpoint,
    body::RequestBody,
    connector::{ConnectError, Connector},
};
use crate::{
    time::{Clock, Timestamp},
    tls::TrustError,
};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `GET /api2/json/version`
    Version,
    /// The WebSocket of a console that is not there.
    Console,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The status.
    pub status: u16,
    /// For TCP and TLS.
    pub connecting: Duration,
    /// How far our clock is ahead of the node's `Date`, in milliseconds, to a second; `None` without one.
    pub ahead: Option<i64>,
}

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is nothing to check its certificate by.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// What came is no answer.
    #[error("no valid answer")]
    Answer(#[source] hyper::Error),
    /// No such request can be made.
    #[error("no request to this address can be made")]
    Request(#[from] http::Error),
}

/// Asks a node. `limit` is for the connection, and again for the answer: pveproxy lets strangers wait three
/// seconds for a refusal.
///
/// # Errors
///
/// [`ProbeError`]
pub async fn probe(
    endpoint: &Endpoint,
    question: Question,
    limit: Duration,
    clock: Arc<dyn Clock>,
) -> Result<Heard, ProbeError> {
    let connector = Connector::new(endpoint.clone(), limit, clock.clone())?;
    let began = Instant::now();
    let (mut sender, carry) = connector.connect().await?;
    let connecting = Instant::now().duration_since(began);
    // Ends with this function.
    let mut carrier = JoinSet::new();
    carrier.spawn(carry);
    let path = match question {
        Question::Version => "/api2/json/version",
        Question::Console => "/api2/json/nodes/localhost/vncwebsocket?port=5900&vncticket=none",
    };
    let mut request = Request::get(path).header(header::HOST, connector.address());
    if question == Question::Console {
        request = request
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "cHZlZ2F0ZSBjaGVjayAxMw==");
    }
    let request = request.body(RequestBody::Whole(Full::new(Bytes::new())))?;
    let response = timeout(limit, sender.send_request(request))
        .await
        .map_err(|_| ProbeError::Silent(limit))?
        .map_err(ProbeError::Answer)?;
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let ahead = date.and_then(Timestamp::parse_http).map(|date| ahead(clock.now(), date));
    Ok(Heard { status: response.status().as_u16(), connecting, ahead })
}

/// How far `now` is ahead of a date in whole seconds, which is any moment within its second.
fn ahead(now: Timestamp, date: Timestamp) -> i64 {
    let off = now.millis().saturating_sub(date.millis());
    match off {
        0..1000 => 0,
        1000.. => off - 999,
        _ => off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_any_moment_of_its_second() {
        let date = Timestamp::from_secs(100);
        for (now, expected) in [(100_000, 0), (100_999, 0), (101_000, 1), (99_999, -1), (116_000, 15_001)] {
            assert_eq!(ahead(Timestamp::from_millis(now), date), expected, "{now}");
        }
    }
}
