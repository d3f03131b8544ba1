//! Gathers the facts of the checks, and has them judged.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    task::{JoinError, JoinSet},
    time::timeout,
};

use super::{Failure, host};
use crate::{
    accept::{self, BindError},
    account::Role,
    admission::Admission,
    check::{
        Finding, Id,
        certificate::{self, Certificate, Chain, Passkeys},
        clock,
        files::{self, File, Kind, State},
        network::{self, Access, Dns, Port, SideDoor},
        people::{self, Person},
        resources::{self, Descriptors},
        upstream::{self as node, Answer, Node, Silence},
    },
    config::Config,
    store::{SqliteStore, Store as _, StoreError},
    time::{Clock, Timestamp},
    tls::{self, Host, LocalCa},
    upstream::{ConnectError, Endpoint, Heard, ProbeError, Question, Trust, probe},
};

/// Longest wait for a node's answer: pveproxy lets strangers wait three seconds.
const ANSWER: Duration = Duration::from_secs(6);

/// Longest wait for a name server.
const NAME: Duration = Duration::from_secs(5);

/// Longest wait at a side door, which is on this machine.
const KNOCK: Duration = Duration::from_secs(1);

/// The authorities that this system trusts (Debian's ca-certificates).
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Gathers facts about the installation that a configuration describes.
pub(super) struct Gatherer {
    config: Config,
    clock: Arc<dyn Clock>,
    /// For the command line alone.
    pub(super) config_file: Option<PathBuf>,
    /// From where whoever asks is logged in.
    pub(super) ssh_peer: Option<IpAddr>,
    /// Whether this is a container of ours.
    pub(super) in_container: bool,
}

/// What the store has to say.
#[derive(Default)]
struct Stored {
    people: Vec<Person>,
    /// Relying parties of all passkeys and security keys.
    relying_parties: Vec<String>,
    /// From where live sessions were opened.
    clients: Vec<IpAddr>,
}

impl Gatherer {
    pub(super) fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, config_file: None, ssh_peer: None, in_container: false }
    }

    /// Makes these checks, at the same time as far as they wait for others.
    pub(super) async fn find(self: Arc<Self>, wanted: &[Id]) -> Vec<Finding> {
        let wants = |id: Id| wanted.contains(&id);
        let mut waiting = JoinSet::new();
        let me = &self;
        if wants(Id::Upstream) || wants(Id::Clock) {
            let (me, upstream, clock) = (me.clone(), wants(Id::Upstream), wants(Id::Clock));
            waiting.spawn(async move { me.nodes(upstream, clock).await });
        }
        if wants(Id::Dns) {
            let me = me.clone();
            waiting.spawn(async move { network::judge_dns(&me.dns().await) });
        }
        if wants(Id::Sidedoor) {
            let me = me.clone();
            waiting.spawn(async move { network::judge_side_door(&me.side_door().await) });
        }
        if wants(Id::Ports) {
            let me = me.clone();
            waiting.spawn(async move { network::judge_ports(&me.ports()) });
        }
        let (me, at_once) = (self.clone(), wanted.to_vec());
        waiting.spawn_blocking(move || me.at_once(&at_once));
        let mut findings = Vec::new();
        while let Some(found) = waiting.join_next().await {
            findings.extend(unbroken(found));
        }
        findings
    }

    /// Those that wait for nobody but the disk.
    fn at_once(&self, wanted: &[Id]) -> Vec<Finding> {
        let wants = |id: Id| wanted.contains(&id);
        let (now, config) = (self.clock.now(), &self.config);
        let mut findings = Vec::new();
        if wants(Id::Files) {
            findings.extend(files::judge(&self.files()));
        }
        if wants(Id::Tls) {
            findings.extend(certificate::judge(&self.certificate(now), now));
        }
        if wants(Id::Audit) {
            let audit = config.audit.file.as_deref().map(host::place);
            findings.extend(resources::judge_audit(audit.as_ref(), &host::place(&config.store.path)));
        }
        if wants(Id::Limits) {
            let gate = config.accept.listen.first().and_then(|(address, _)| host::listener(*address));
            let pid = gate.filter(|(_, name)| name == OUR_NAME).map(|(pid, _)| pid);
            let limit = host::descriptors(pid);
            let max_connections = config.admission.max_connections;
            findings.extend(resources::judge_limits(Descriptors { limit, max_connections }));
        }
        if wants(Id::Systemd) {
            findings.extend(resources::judge_systemd(host::exposure().as_deref()));
        }
        let of_store = [Id::Users, Id::Webauthn, Id::Access];
        if !of_store.into_iter().any(wants) {
            return findings;
        }
        let stored = match self.stored(now) {
            Ok(stored) => stored,
            Err(error) => {
                let failure = Failure::from(error);
                findings.push(Finding::problem(
                    Id::Users,
                    failure.message,
                    "restore a backup, or ask whoever runs the disk",
                ));
                Stored::default()
            }
        };
        if wants(Id::Users) && !findings.iter().any(|finding| finding.id == Id::Users) {
            findings.extend(people::judge(&stored.people));
        }
        if wants(Id::Webauthn) {
            findings.extend(certificate::judge_passkeys(&self.passkeys(&stored)));
        }
        if wants(Id::Access) {
            findings.extend(network::judge_access(&self.access(&stored)));
        }
        findings
    }

    fn files(&self) -> Vec<File> {
        let config = &self.config;
        let database = &config.store.path;
        let beside = |suffix: &str| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let mut files = Vec::new();
        let mut look =
            |path: &Path, kind| files.push(File { path: path.to_owned(), kind, state: state(path) });
        if let Some(file) = &self.config_file {
            look(file, Kind::Config);
        }
        look(&config.state_dir, Kind::StateDirectory);
        look(database, Kind::Database);
        look(&beside("-wal"), Kind::Database);
        look(&beside("-shm"), Kind::Database);
        look(&config.master_key_file, Kind::MasterKey);
        if let Some(file) = &config.audit.file {
            look(file, Kind::Audit);
        }
        match &config.tls {
            tls::Source::LocalCa { dir } => look(&dir.join("ca.key"), Kind::AuthorityKey),
            tls::Source::Files { key, .. } => look(key, Kind::ServerKey),
        }
        files
    }

    fn certificate(&self, now: Timestamp) -> Certificate {
        let gate = &self.config.gate;
        let host: Host = match gate.public_url.host().parse() {
            Ok(host) => host,
            Err(error) => return unusable(&error),
        };
        match &self.config.tls {
            tls::Source::LocalCa { dir } if !dir.join("ca.pem").exists() && !dir.join("ca.key").exists() => {
                Certificate::AuthorityToBeMade
            }
            tls::Source::LocalCa { dir } => match LocalCa::open(dir, &host, now) {
                Ok(ca) => Certificate::Authority { not_after: ca.not_after() },
                Err(error) => unusable(&error),
            },
            tls::Source::Files { cert, key } => {
                let loaded = match tls::load(cert, key, &host, now) {
                    Ok(loaded) => loaded,
                    Err(error) => return unusable(&error),
                };
                let hosts: Vec<Host> =
                    gate.aliases.iter().filter_map(|alias| alias.host.parse().ok()).collect();
                let Some(described) = loaded.describe(&hosts, Path::new(AUTHORITIES), now) else {
                    return Certificate::Unusable(format!("{} can't be read", cert.display()));
                };
                Certificate::Files(Box::new(Chain {
                    path: cert.clone(),
                    length: loaded.identity.chain.len(),
                    not_before: described.not_before,
                    not_after: loaded.not_after,
                    uncovered: described.uncovered.iter().map(ToString::to_string).collect(),
                    self_signed: described.self_signed,
                    trusted: described.trusted,
                }))
            }
        }
    }

    /// A store that is not there yet is not made: it would belong to whoever runs the check.
    fn stored(&self, now: Timestamp) -> Result<Stored, StoreError> {
        let path = &self.config.store.path;
        if !path.exists() {
            return Ok(Stored::default());
        }
        let mut store = SqliteStore::open(path)?;
        let mut stored = Stored {
            clients: store.live_sessions(now)?.into_iter().map(|session| session.client).collect(),
            ..Stored::default()
        };
        for user in store.users()?.into_iter().filter(|user| user.disabled_at.is_none()) {
            let keys = store.credentials(user.id)?;
            let apps = store.authenticators(user.id)?;
            let codes = store.recovery_codes(user.id)?;
            stored.people.push(Person {
                name: user.name.to_string(),
                is_admin: user.role == Role::Admin,
                methods: keys.len() + apps.len(),
                codes: self.config.gate.auth.recovery.then_some(codes.left),
            });
            stored.relying_parties.extend(keys.into_iter().map(|key| key.relying_party));
        }
        Ok(stored)
    }

    fn passkeys(&self, stored: &Stored) -> Passkeys {
        let gate = &self.config.gate;
        let host = gate.public_url.host().to_owned();
        let mut of_others: BTreeMap<String, usize> = BTreeMap::new();
        for party in stored.relying_parties.iter().filter(|party| **party != host) {
            *of_others.entry(party.clone()).or_default() += 1;
        }
        Passkeys {
            offered: gate.auth.passkey,
            is_address: matches!(host.parse(), Ok(Host::Address(_))),
            of_ours: stored.relying_parties.iter().filter(|party| **party == host).count(),
            of_others: of_others.into_iter().collect(),
            host,
        }
    }

    fn access(&self, stored: &Stored) -> Access {
        let admission = Admission::new(self.config.admission.clone(), self.clock.clone());
        let ssh_peer =
            self.ssh_peer.map(|peer| (peer, admission.conveyed(peer).map_err(|no| no.to_string())));
        let gateway = host::gateway().filter(|gateway| {
            let clients = &stored.clients;
            self.in_container && !clients.is_empty() && clients.iter().all(|client| client == gateway)
        });
        Access { allowed: self.config.admission.allow.len(), ssh_peer, only_gateway: gateway }
    }

    /// Needs the runtime: a socket is bound.
    fn ports(&self) -> Vec<(SocketAddr, Port)> {
        let addresses = self.config.accept.listen.iter().map(|(address, _)| *address);
        addresses.map(|address| (address, port(address))).collect()
    }

    async fn dns(&self) -> Dns {
        let url = &self.config.gate.public_url;
        let host = url.host().to_owned();
        let leads_to = resolve(&host, url.port()).await;
        Dns { host, leads_to, own: host::addresses(), has_peers: !self.config.admission.peers.is_empty() }
    }

    async fn side_door(&self) -> SideDoor {
        let own = host::addresses();
        let listen: Vec<SocketAddr> = self.config.accept.listen.iter().map(|(address, _)| *address).collect();
        let mut upstream_is_here = false;
        let mut doors = Vec::new();
        for endpoint in self.config.upstream.endpoints() {
            let found = resolve(&endpoint.host, endpoint.port).await.unwrap_or_default();
            if !found.iter().any(|ip| ip.is_loopback() || own.contains(ip)) {
                continue;
            }
            upstream_is_here = true;
            let elsewhere = own.iter().filter(|ip| !ip.is_loopback());
            let addresses = elsewhere.map(|ip| SocketAddr::new(*ip, endpoint.port));
            doors.extend(addresses.filter(|door| !listen.iter().any(|at| host::is_served_by(*at, *door))));
        }
        let open = all(doors.into_iter().map(|door| async move {
            let answered = timeout(KNOCK, TcpStream::connect(door)).await;
            answered.is_ok_and(|connected| connected.is_ok()).then_some(door)
        }));
        SideDoor { upstream_is_here, open: open.await.into_iter().flatten().collect() }
    }

    /// Two checks with the same questions.
    async fn nodes(&self, upstream: bool, clock: bool) -> Vec<Finding> {
        let ask = |endpoint: &Endpoint, question| {
            let (endpoint, clock) = (endpoint.clone(), self.clock.clone());
            async move { probe(&endpoint, question, ANSWER, clock).await }
        };
        let endpoints: Vec<&Endpoint> = self.config.upstream.endpoints().collect();
        let questions = endpoints
            .iter()
            .flat_map(|endpoint| [ask(endpoint, Question::Version), ask(endpoint, Question::Console)]);
        let mut heard = all(questions).await.into_iter();
        let (mut nodes, mut ahead) = (Vec::new(), None);
        for endpoint in endpoints {
            let (Some(version), Some(console)) = (heard.next(), heard.next()) else { break };
            if let Ok(Heard { ahead: Some(by), .. }) = version {
                ahead = ahead.or(Some(by));
            }
            nodes.push(Node {
                address: endpoint.address(),
                pinned: matches!(endpoint.trust, Trust::Fingerprint(_)),
                answer: version.map_err(silence).map(|heard| Answer {
                    version: heard.status,
                    console: console.ok().map(|console| console.status),
                    connecting: heard.connecting,
                }),
            });
        }
        let mut findings = Vec::new();
        if upstream {
            findings.extend(node::judge(&nodes));
        }
        if clock {
            let synchronised = host::synchronised(self.config_file.is_some());
            findings.extend(clock::judge(clock::Clock { synchronised, ahead_of_upstream: ahead }));
        }
        findings
    }
}

/// The program's name, as the kernel knows its processes by.
const OUR_NAME: &str = "pvegate";

fn port(address: SocketAddr) -> Port {
    match accept::bind_to(address) {
        Ok(_) => Port::Free,
        Err(BindError::InUse { .. }) => match host::listener(address) {
            Some((pid, name)) if name == OUR_NAME => Port::Ours { pid },
            by => Port::Taken { by },
        },
        Err(
            error @ (BindError::Forbidden { .. }
            | BindError::NotOurs { .. }
            | BindError::Passed(_)
            | BindError::Other { .. }),
        ) => Port::Unbound(error.to_string()),
    }
}

fn state(path: &Path) -> State {
    match fs::metadata(path) {
        Ok(metadata) => State::There { mode: metadata.mode(), uid: metadata.uid() },
        Err(error) if error.kind() == io::ErrorKind::NotFound => State::Missing,
        Err(error) => State::Hidden(error.to_string()),
    }
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Certificate {
    Certificate::Unusable(told(error))
}

fn silence(error: ProbeError) -> Silence {
    match &error {
        ProbeError::Connect(ConnectError::Pin(mismatch)) => Silence::Pin(mismatch.to_string()),
        _ => Silence::Other(told(&error)),
    }
}

/// With the texts of its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    Failure::of(super::Exit::Failed, error).message
}

async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(NAME, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
            found.dedup();
            Ok(found)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {NAME:?}")),
    }
}

/// All at the same time, in their order.
async fn all<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let running: Vec<_> = futures.map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in running {
        done.push(unbroken(task.await));
    }
    done
}

/// What a task gave. That a check was left out because it broke must not look like a good host.
fn unbroken<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => std::panic::resume_unwind(Box::new(cancelled.to_string())),
        },
    }
}
