//! `pvegate serve`, and the composition of the whole from a configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{
    Exit, Failure, check,
    output::{Output, Talk},
    read_config,
    report::Reporter,
    supervisor,
};
use crate::{
    accept::{self, BindError, InheritError, Inherited, Listener},
    account::Method,
    admission::Admission,
    audit::{self, Action, Event, Outcome},
    check::resources::Descriptors,
    config::Config,
    gate::{self, Gate},
    metrics::Metrics,
    secret::{MasterKey, MasterKeyError, Purpose},
    serve::{self, Stages},
    store::{SqliteStore, StoreError, StoreThread},
    telemetry::{
        self,
        listener::{self, Sight},
    },
    time::{Clock, SystemClock, Timestamp},
    tls::{
        self, Certificates, FilesError, Host, IssueError, LocalCa, NotAHost, OpenCaError, Origin, TrustError,
    },
    upstream::{Endpoint, Upstream},
};

/// How often the leaf of the local CA is looked at.
const RENEWAL: Duration = Duration::from_secs(3600);

/// How long running requests get when the gate stops.
const GRACE: Duration = Duration::from_secs(30);

/// Blocking work is name look-ups; a handful of threads is plenty.
const BLOCKING_THREADS: usize = 8;

/// More workers than this have nothing to do at a door for ten people.
const MOST_WORKERS: usize = 8;

/// Where the journal takes entries with fields.
const JOURNAL: &str = "/run/systemd/journal/socket";

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let mut config = read_config(path, output)?;
    let mut telemetry = config.telemetry.clone();
    match output.how_much() {
        Talk::Quiet => telemetry.level = "warn".to_owned(),
        Talk::Usual => {}
        Talk::Verbose => telemetry.level = "debug".to_owned(),
    }
    telemetry::start(&telemetry);
    raise_descriptors(&config);
    let is_wanted = config.audit.line == audit::Line::Log;
    if is_wanted && audit::is_journal(std::env::var_os("JOURNAL_STREAM").as_deref()) {
        config.audit.line = audit::Line::Journal(JOURNAL.into());
    }
    let inherited = Inherited::take().map_err(StartError::from)?;
    runtime()?.block_on(async {
        let listeners = accept::bind(&config.accept, inherited).map_err(StartError::from)?;
        let watchers = watchers(&config)?;
        let mut server = Server::compose(&config, listeners, Arc::new(SystemClock)).await?;
        if let Some(watchers) = watchers {
            tracing::info!(address = ?watchers.local_addr().ok(), "to be watched at /metrics, /healthz and /readyz");
            server = server.watched_at(watchers);
        }
        let nodes: Vec<_> = config.upstream.endpoints().map(Endpoint::address).collect();
        let (url, upstream) = (config.gate.public_url.origin(), nodes.join(", "));
        tracing::info!(url, upstream, "ready");
        supervisor::ready(&format!("{url} in front of {upstream}"));
        output.object(&json!({ "url": url, "upstream": nodes }));
        let (stop, stopped) = watch::channel(false);
        let audit = server.stages().gate.audit().clone();
        tokio::spawn(async move { reopen_when_asked(&audit).await });
        tokio::spawn(async move {
            asked_to_stop().await;
            tracing::info!("stopping");
            supervisor::stopping();
            stop.send_replace(true);
        });
        let ended = tokio::select! {
            ended = server.run(stopped, GRACE) => ended,
            () = supervisor::stay_alive() => Ok(()),
        };
        ended.map_err(|error| Failure::of(Exit::Failed, &error))
    })
}

/// Lets the gate have as many descriptors as it may, and says so where they are too few.
fn raise_descriptors(config: &Config) {
    let limit = check::raise_descriptors();
    let descriptors = Descriptors { limit, max_connections: config.admission.max_connections };
    if limit < descriptors.wanted() {
        tracing::warn!(
            limit,
            wanted = descriptors.wanted(),
            server.max_connections = descriptors.max_connections,
            "fewer descriptors than connections may need: raise LimitNOFILE, or lower server.max_connections"
        );
    }
}

/// The socket for watchers, if the configuration wants one.
fn watchers(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = config.watched.listen else { return Ok(None) };
    let bound = accept::bind_to(address).map_err(|error| {
        let mut failure = Failure::of(Exit::Failed, &error);
        failure.message = format!("metrics.listen: {}; or set it to \"\" to do without", failure.message);
        failure
    })?;
    Ok(Some(bound.socket))
}

/// The runtime that everything runs on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MOST_WORKERS))
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Exit::Failed, &error))
}

/// At SIGUSR1, logrotate has moved the audit file.
async fn reopen_when_asked(audit: &audit::Log) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::user_defined1()) {
        Ok(mut asked) => {
            while asked.recv().await.is_some() {
                audit.reopen();
                tracing::info!("the audit file is opened anew");
            }
        }
        Err(error) => tracing::warn!(error = %error, "SIGUSR1 is not heard"),
    }
}

/// Returns at SIGTERM or SIGINT.
pub(super) async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without signals, the process ends by being killed.
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}

/// A gate, composed and ready to serve.
pub struct Server {
    listeners: Vec<Listener>,
    stages: Arc<Stages>,
    follower: StoreThread,
    renewal: Option<Renewal>,
    ca: Option<PathBuf>,
    store: StoreThread,
    certificates: Arc<Certificates>,
    ca_not_after: Option<Timestamp>,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    allowed_watchers: Vec<ipnet::IpNet>,
    watchers: Option<TcpListener>,
}

struct Renewal {
    ca: Arc<LocalCa>,
    certificates: Arc<Certificates>,
    lifetime: tls::Lifetime,
    clock: Arc<dyn Clock>,
}

/// Why the gate does not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket that the service manager passed is of no use.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The audit file can't be written.
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
    /// There is nothing to check the upstream by.
    #[error("upstream: {0}")]
    Trust(#[from] TrustError),
    /// The public URL's host can have no certificate.
    #[error("server.public_url: {0}")]
    Host(#[from] NotAHost),
    /// The local CA can't be opened.
    #[error("tls.source = \"local-ca\": {0}")]
    LocalCa(#[from] OpenCaError),
    /// The local CA can't issue.
    #[error("tls.source = \"local-ca\": {0}")]
    Issue(#[from] IssueError),
    /// The certificate files can't be used.
    #[error("tls.source = \"files\": {0}")]
    Files(#[from] FilesError),
    /// The TLS library takes no such certificate.
    #[error("the certificate is not usable")]
    Tls(#[from] rustls::Error),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match error {
            StartError::Trust(_)
            | StartError::Host(_)
            | StartError::LocalCa(_)
            | StartError::Files(_)
            | StartError::Tls(_) => Exit::BadConfiguration,
            StartError::Store(StoreError::Busy { .. }) => Exit::TryAgain,
            StartError::Inherit(_)
            | StartError::Bind(_)
            | StartError::Store(_)
            | StartError::MasterKey(_)
            | StartError::Audit(_)
            | StartError::Issue(_) => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl Server {
    /// Joins the stages as a configuration says. The listeners are bound already: their port may be
    /// the system's choice.
    ///
    /// # Errors
    ///
    /// [`StartError`]
    pub async fn compose(
        config: &Config,
        listeners: Vec<Listener>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&Method::ALL.map(Method::as_str)));
        let started_at = clock.now();
        let store = StoreThread::start(SqliteStore::open(&config.store.path)?)?.counted_in(metrics.clone());
        let follower =
            StoreThread::start(SqliteStore::open(&config.store.path)?)?.counted_in(metrics.clone());
        // Marks where it begins to follow, before the sessions are read.
        follower.call(|store| store.changes()).await?;
        let master = MasterKey::read_or_create(&config.master_key_file)?;
        let seals = master.derive(Purpose::AuditSeals);
        let audit = audit::Log::open(&config.audit, clock.clone(), Some(seals))?;
        audit.count_in(metrics.clone());
        let certificate = certificate(config, &clock)?;
        let upstream = Upstream::new(config.upstream.clone(), clock.clone(), &audit, metrics.clone())?;
        let admission = Arc::new(Admission::new(config.admission.clone(), clock.clone()));
        let gate = Gate::open(gate::Parts {
            settings: config.gate.clone(),
            clock: clock.clone(),
            store: store.clone(),
            audit,
            admission: admission.clone(),
            master,
            ca: certificate.ca_pem,
            pages: config.pages.clone(),
            nodes: upstream.status().clone(),
            examine: check::examiner(config, clock.clone()),
            certificate: certificate.certificates.status().clone(),
        })
        .await?;
        let stages = Stages {
            accept: config.accept.clone(),
            admission,
            tls: TlsAcceptor::from(tls::server_config(certificate.certificates.clone())?),
            connection: config.connection.clone(),
            gate: Arc::new(gate),
            upstream,
            metrics,
        };
        Ok(Self {
            listeners,
            stages: Arc::new(stages),
            follower,
            renewal: certificate.renewal,
            ca: certificate.ca_file,
            store,
            certificates: certificate.certificates,
            ca_not_after: certificate.ca_not_after,
            clock,
            started_at,
            allowed_watchers: config.watched.allow.clone(),
            watchers: None,
        })
    }

    /// Tells watchers about the gate at this socket.
    #[must_use]
    pub fn watched_at(self, watchers: TcpListener) -> Self {
        Self { watchers: Some(watchers), ..self }
    }

    /// The file with the local CA's certificate, while it is in use.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The stages, for whoever looks on.
    #[must_use]
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// Serves until `stop` says so.
    ///
    /// # Errors
    ///
    /// [`Died`]: everything was cut at once.
    pub async fn run(self, stop: watch::Receiver<bool>, grace: Duration) -> Result<(), Died> {
        let gate = self.stages.gate.clone();
        // Ends with this function, whichever way that ends.
        let mut beside = JoinSet::new();
        let reporter = Arc::new(Reporter {
            stages: self.stages.clone(),
            store: self.store,
            certificates: self.certificates,
            ca_not_after: self.ca_not_after,
            listen: self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect(),
            started_at: self.started_at,
            clock: self.clock,
            stop: stop.clone(),
        });
        let answering = reporter.clone();
        beside.spawn(async move { answering.answer().await });
        if let Some(watchers) = self.watchers {
            let asked = reporter.clone();
            let look = move || -> listener::Looking {
                let asked = asked.clone();
                Box::pin(async move { asked.report().await })
            };
            let sight = Arc::new(Sight { metrics: self.stages.metrics.clone(), look: Box::new(look) });
            beside.spawn(listener::serve(watchers, self.allowed_watchers, sight));
        }
        let following = gate.clone();
        let follower = self.follower;
        beside.spawn(async move { following.follow(follower).await });
        if let Some(Renewal { ca, certificates, lifetime, clock }) = self.renewal {
            beside.spawn(tls::renew(ca, certificates, lifetime, clock, RENEWAL));
        }
        let upstream = self.stages.upstream.clone();
        beside.spawn(async move { upstream.watch().await });
        gate.audit().record(&Event::new(Action::Start, Outcome::Success));
        let ended = tokio::select! {
            () = serve::run(self.listeners, self.stages, stop, grace) => Ok(()),
            died = death(&mut beside) => Err(died),
        };
        if let Err(died) = &ended {
            tracing::error!(error = %died, "the gate stops at once: it would not hear of revocations");
        }
        gate.write_activity().await;
        gate.audit().record(&Event::new(Action::Stop, Outcome::Success));
        gate.audit().flush();
        ended
    }
}

/// Something that runs beside the requests ended in a panic: it follows the store, ends what is over, renews
/// the certificate. Without it the gate would go on as if nobody had been signed out.
#[derive(Debug, thiserror::Error)]
#[error("a task beside the requests ended in a panic: {0}")]
pub struct Died(tokio::task::JoinError);

/// Waits for one to end so. Some have nothing to do, and end by themselves.
async fn death(beside: &mut JoinSet<()>) -> Died {
    while let Some(ended) = beside.join_next().await {
        if let Err(error) = ended {
            return Died(error);
        }
    }
    std::future::pending().await
}

/// Our own certificate, and what goes with it.
struct Certificate {
    certificates: Arc<Certificates>,
    renewal: Option<Renewal>,
    ca_pem: Option<Bytes>,
    ca_file: Option<PathBuf>,
    ca_not_after: Option<Timestamp>,
}

fn certificate(config: &Config, clock: &Arc<dyn Clock>) -> Result<Certificate, StartError> {
    let host: Host = config.gate.public_url.host().parse()?;
    let now = clock.now();
    match &config.tls {
        tls::Source::Files { cert, key } => {
            let loaded = tls::load(cert, key, &host, now)?;
            for warning in &loaded.warnings {
                tracing::warn!(file = %cert.display(), "{warning}");
            }
            let certificates = Arc::new(Certificates::new(loaded.identity)?);
            Ok(Certificate { certificates, renewal: None, ca_pem: None, ca_file: None, ca_not_after: None })
        }
        tls::Source::LocalCa { dir } => {
            let (ca, origin) = LocalCa::open_or_make(dir, &host, now)?;
            match origin {
                Origin::Made => tracing::info!(dir = %dir.display(), "made a local certificate authority"),
                Origin::Found => {}
            }
            let issued = ca.issue(now)?;
            let certificates = Arc::new(Certificates::new(issued.identity)?);
            let (ca_pem, ca_not_after) = (Some(pem(ca.certificate())), Some(ca.not_after()));
            let renewal = Some(Renewal {
                ca: Arc::new(ca),
                certificates: certificates.clone(),
                lifetime: issued.lifetime,
                clock: clock.clone(),
            });
            Ok(Certificate { certificates, renewal, ca_pem, ca_file: Some(dir.join("ca.pem")), ca_not_after })
        }
    }
}

/// A certificate as people install it (RFC 7468).
fn pem(certificate: &CertificateDer<'_>) -> Bytes {
    let base64 = data_encoding::BASE64.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (i, character) in base64.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text.into()
}

/// Makes a directory that only its owner may look into.
pub(super) fn private_directory(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
