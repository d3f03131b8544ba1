//! `pvegate healthcheck`: is the gate of this configuration alive, or ready? For containers without a shell.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Exit, Failure, output::Output, read_config, serve::runtime, status};
use crate::{
    accept::Opening,
    config::Config,
    time::{Clock as _, SystemClock},
    tls::{self, Fingerprint, Host, Trust},
};

/// For all of it: what takes longer is no answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// An answer's beginning is all that is read.
const BEGINNING: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask whether it can let people in, too: database and certificate are good.
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    let status = match (way(&config), args.ready) {
        (Way::Watched(address), ready) => {
            let page = if ready { "/readyz" } else { "/healthz" };
            runtime()?.block_on(in_time(async {
                let stream = TcpStream::connect(address).await.map_err(|error| no_answer(address, &error))?;
                status_of(stream, page, "localhost").await.map_err(|error| no_answer(address, &error))
            }))?
        }
        // Only the gate itself knows, and it is asked by the store.
        (Way::Public(_) | Way::None, true) => {
            let ready = status::reports(&config)?.iter().all(|report| report["ready"] == true);
            if ready { 200 } else { 503 }
        }
        (Way::Public(address), false) => runtime()?.block_on(in_time(publicly(&config, address)))?,
        (Way::None, false) => {
            let why =
                "nothing is listened to that a health check could ask: set metrics.listen, or try --ready";
            return Err(Failure::new(Exit::NotRunning, why));
        }
    };
    if status == 200 {
        output.object(&json!({ "healthy": true }));
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("the gate answers, and is not well: status {status}")))
}

/// Where to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Watched(SocketAddr),
    Public(SocketAddr),
    None,
}

fn way(config: &Config) -> Way {
    if let Some(address) = config.watched.listen.map(from_here)
        && config.watched.allow.iter().any(|network| network.contains(&address.ip()))
    {
        return Way::Watched(address);
    }
    let mut listen = config.accept.listen.iter();
    let tls = listen.find(|(_, opening)| *opening == Opening::Tls);
    tls.map_or(Way::None, |(address, _)| Way::Public(from_here(*address)))
}

/// Of an address that stands for all, this machine's own.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // A socket of all addresses takes IPv4 as well, and a container may have nothing else.
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Asks as a browser would. Nobody else's certificate is taken for the gate's.
async fn publicly(config: &Config, address: SocketAddr) -> Result<u16, Failure> {
    let url = &config.gate.public_url;
    let bad = |error: &dyn std::error::Error| Failure::of(Exit::BadConfiguration, error);
    let host: Host = url.host().parse().map_err(|error| bad(&error))?;
    let trust = match &config.tls {
        tls::Source::LocalCa { dir } => Trust::Ca(dir.join("ca.pem")),
        tls::Source::Files { cert, key } => {
            let loaded = tls::load(cert, key, &host, SystemClock.now()).map_err(|error| bad(&error))?;
            Trust::Fingerprint(Fingerprint::of(loaded.identity.chain.first().map_or(&[], |leaf| leaf)))
        }
    };
    let client = tls::upstream_config(&trust, Arc::new(SystemClock)).map_err(|error| bad(&error))?;
    let name = host.server_name().unwrap_or(ServerName::IpAddress(address.ip().into()));
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let stream = TlsConnector::from(client).connect(name, stream).await?;
        status_of(stream, "/_gate/healthz", &url.authority()).await
    };
    asked.await.map_err(|error| no_answer(address, &error))
}

async fn in_time(asking: impl Future<Output = Result<u16, Failure>>) -> Result<u16, Failure> {
    let late = || Failure::new(Exit::NotRunning, format!("no answer within {PATIENCE:?}"));
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(late()))
}

fn no_answer(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(Exit::NotRunning, format!("no gate answers at {address}: {error}"))
}

/// The status code that a page is answered with.
async fn status_of(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    page: &str,
    authority: &str,
) -> std::io::Result<u16> {
    let head = format!("GET {page} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    // Some close without a word of farewell.
    let read = stream.take(BEGINNING).read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| read.err().unwrap_or_else(|| std::io::Error::other("what answers is no gate")))
}
