//! A connection that is only told why it may not stay.
//!
//! Nothing here asks the gate for a decision: whatever is requested, the answer is the refusal, and the
//! connection ends with it. What the page itself refers to (style sheet, script, icon) is given, so that
//! people can read it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{net::TcpStream, sync::watch, time::Instant};

use super::{Stages, head_of, refuse};
use crate::{
    accept::ClientAddr,
    admission::{Revocable, SourceRefusal, TurnedAway},
    audit::{Action, Asking, Event, Outcome, Tls},
    connection::{self, Answer, head::RefusedHead},
    metrics::Kind,
};

/// A handshake, one answer, the end.
pub(super) async fn turn_away(
    stages: &Arc<Stages>,
    turned_away: TurnedAway<TcpStream>,
    stop: watch::Receiver<bool>,
) {
    let (client, refusal) = (turned_away.client(), turned_away.refusal());
    let (stream, place) = turned_away.into_parts();
    let is_told = AtomicBool::new(false);
    Box::pin(tell(stages, client, refusal, stream, &is_told, stop)).await;
    if let Some(ended) = place.ended() {
        refuse(stages, client, ended);
    }
    // Whoever asked nothing is in the audit log all the same, as if there were no page.
    if !is_told.into_inner() {
        refuse(stages, client, refusal);
    }
}

async fn tell(
    stages: &Arc<Stages>,
    client: ClientAddr,
    refusal: SourceRefusal,
    stream: Revocable<TcpStream>,
    is_told: &AtomicBool,
    stop: watch::Receiver<bool>,
) {
    let connection = match connection::handshake(&stages.tls, stream, &stages.connection).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(client.address = %client, error = %error, cause = ?std::error::Error::source(&error), "no TLS");
            return;
        }
    };
    let tls = connection.tls;
    let answer = |incoming| {
        is_told.store(true, Ordering::Relaxed);
        std::future::ready(told(stages, client, refusal, tls, incoming))
    };
    if let Err(error) = connection.serve(&stages.connection, stop, answer).await {
        tracing::debug!(client.address = %client, error = %error, cause = ?std::error::Error::source(&error), "the connection ended");
    }
}

/// The answer to anything that is asked.
fn told(
    stages: &Stages,
    client: ClientAddr,
    refusal: SourceRefusal,
    tls: Tls,
    incoming: Result<Request<Incoming>, Box<RefusedHead>>,
) -> Answer<Full<Bytes>> {
    let began = Instant::now();
    let head = head_of(incoming);
    let peer = SocketAddr::new(client.ip(), client.port());
    let asking = Asking::new(peer, tls, head.headers.get(header::USER_AGENT).cloned());
    let (gate, portal) = (&stages.gate, stages.gate.portal());
    let reply = portal.part_of_page(&head).unwrap_or_else(|| {
        asking.meanwhile(|| {
            gate.audit().record(
                &Event::new(Action::Refuse, Outcome::Failure)
                    .from(client.ip())
                    .asked(&head.method, &head.uri)
                    .because(refusal),
            );
            portal.address_refused(client.ip(), &head, gate.now())
        })
    });
    let response = reply.closing().into_response();
    stages.metrics.answered(Kind::Portal, response.status().as_u16(), began.elapsed(), None);
    Answer { response, hold: None }
}
