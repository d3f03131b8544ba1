//! What a running gate says of itself: the stages are asked, and their answers put together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::{
    serve::Stages,
    status::{CertificateRole, Configuration, Kept, OwnCertificate, Report},
    store::{Question, StoreThread},
    time::{Clock, Timestamp},
    tls::Certificates,
};

/// How long the store and the nodes are waited for: whoever asks has a patience of their own, of ten seconds at
/// most.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a report is drawn up from.
pub(super) struct Reporter {
    pub(super) stages: Arc<Stages>,
    pub(super) store: StoreThread,
    pub(super) certificates: Arc<Certificates>,
    /// When the local authority's certificate is over, while it is in use.
    pub(super) ca_not_after: Option<Timestamp>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) started_at: Timestamp,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Reporter {
    /// Draws up a report. Nodes of which nothing was heard lately are asked first, so that it is true of now.
    pub(super) async fn report(&self) -> Report {
        let Stages { admission, gate, upstream, metrics, .. } = &*self.stages;
        let ((), kept) = tokio::join!(upstream.look(PATIENCE), self.kept());
        let at = self.clock.now();
        Report {
            at,
            started_at: self.started_at,
            pid: std::process::id(),
            url: gate.public_url().origin(),
            listen: self.listen.iter().map(ToString::to_string).collect(),
            stopping: *self.stop.borrow(),
            connections: number(admission.open()),
            websockets: metrics.websockets_open(),
            sessions: number(gate.sessions_alive()),
            kept,
            nodes: upstream.status().all(),
            clock_offset_millis: upstream.clock_offset_millis(),
            certificates: self.certificates(),
            configuration: Configuration { read_at: self.started_at, taken: true },
            audit_lost: gate.audit().lost(),
        }
    }

    /// Answers verbs that ask by the store. Goes on until it is dropped.
    pub(super) async fn answer(&self) {
        let gate = uuid::Uuid::new_v4().to_string();
        loop {
            self.stages.gate.questioned().await;
            let name = gate.clone();
            let Ok(open) = self.store.call(move |store| store.open_questions(&name)).await else { continue };
            for (id, question) in open {
                let text = match question {
                    Question::Status => self.report().await.to_json().to_string(),
                };
                let name = gate.clone();
                if let Err(error) = self.store.call(move |store| store.answer(id, &name, &text)).await {
                    tracing::warn!(error = %error, "a question of a verb could not be answered");
                }
            }
        }
    }

    /// `None` where the store does not answer, or has not for so long that nobody is let in.
    async fn kept(&self) -> Option<Kept> {
        let now = self.clock.now();
        let kept = timeout(PATIENCE, self.store.call(move |store| store.counts(now))).await.ok()?.ok()?;
        (!self.stages.gate.store_is_silent()).then_some(kept)
    }

    fn certificates(&self) -> Vec<OwnCertificate> {
        let of = |role, not_after: Option<Timestamp>| {
            not_after.map(|not_after| OwnCertificate { role, not_after })
        };
        [
            of(CertificateRole::Server, self.certificates.status().not_after()),
            of(CertificateRole::LocalCa, self.ca_not_after),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
