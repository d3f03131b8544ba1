//! Where the gate is watched: counters for Prometheus, health and readiness, by plain HTTP on an address of
//! its own.
//!
//! Three paths are known, and nothing is forwarded, changed or remembered. Whoever is in no allowed network
//! is closed without an answer. What is told is [`Metrics`] and the [`Report`] of the moment: no name of a
//! person, no client's address. A watcher who is slow, or comes in hundreds, takes from watchers alone:
//! there are few places, each with its deadlines.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    metrics::{Format, Metrics},
    status::{Report, Trouble},
};

/// Where the gate is watched, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The address; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Networks that may read there.
    pub allow: Vec<IpNet>,
}

/// Connections at once. Prometheus keeps one open.
const PLACES: usize = 16;

/// From a connection, or the last answer, to the end of the next request's head: longer than the pause between
/// two looks, which is a minute at most.
const HEAD: Duration = Duration::from_secs(90);

/// A connection is asked to end after this time, and cut soon after: nobody keeps a place for good by taking
/// an answer one byte at a time.
const LIFE: Duration = Duration::from_secs(15 * 60);
const FAREWELL: Duration = Duration::from_secs(10);

/// Bytes of a head; a watcher has no cookies.
const HEAD_BYTES: usize = 16 * 1024;

/// After the system refused an accept, for want of descriptors most often.
const PAUSE: Duration = Duration::from_millis(200);

/// A report in the making.
pub type Looking = Pin<Box<dyn Future<Output = Report> + Send>>;

/// What is told here.
pub struct Sight {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Draws up a report.
    pub look: Box<dyn Fn() -> Looking + Send + Sync>,
}

/// Answers watchers, until it is dropped.
pub async fn serve(listener: TcpListener, allow: Vec<IpNet>, sight: Arc<Sight>) {
    let places = Arc::new(Semaphore::new(PLACES));
    let mut running = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, "the system accepts no connection of a watcher");
                    sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_ended) = running.join_next() => continue,
        };
        let ip = peer.ip().to_canonical();
        if !allow.iter().any(|network| network.contains(&ip)) {
            tracing::debug!(client.address = %ip, "a watcher in no allowed network");
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!(client.address = %ip, "too many watchers");
            continue;
        };
        let sight = sight.clone();
        running.spawn(async move {
            connection(stream, &sight).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, sight: &Sight) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request, sight).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // What ended it is the watcher's business.
        _ended = connection.as_mut() => return,
        () = sleep(LIFE) => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(FAREWELL, connection).await;
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Metrics,
    Health,
    Ready,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Self::Metrics),
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Ready),
            _ => None,
        }
    }
}

async fn answer(request: &Request<Incoming>, sight: &Sight) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "GET or HEAD" }));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match Page::at(request.uri().path()) {
        None => json(StatusCode::NOT_FOUND, &json!({ "error": "there are /metrics, /healthz and /readyz" })),
        Some(Page::Health) => json(StatusCode::OK, &json!({ "status": "ok" })),
        Some(Page::Ready) => {
            let report = (sight.look)().await;
            let trouble = report.trouble();
            let status = if trouble.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json(status, &ready(&report, &trouble))
        }
        Some(Page::Metrics) => {
            let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = preferred(accept.unwrap_or_default());
            let report = (sight.look)().await;
            response(StatusCode::OK, format.media_type(), sight.metrics.encode(&report, format))
        }
    }
}

fn ready(report: &Report, trouble: &[Trouble]) -> Value {
    let nodes: Vec<_> = report
        .nodes
        .iter()
        .map(|node| json!({ "address": node.address, "up": node.down.is_none() }))
        .collect();
    let trouble: Vec<_> = trouble.iter().map(|trouble| trouble.as_str()).collect();
    json!({ "ready": trouble.is_empty(), "trouble": trouble, "upstream": nodes })
}

/// The format that a watcher likes best (RFC 9110 §12.5.1): OpenMetrics only if it is named.
fn preferred(accept: &str) -> Format {
    let weight = |media_type: &str| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let named = parts.next()?.eq_ignore_ascii_case(media_type);
                let weight = parts.find_map(|parameter| parameter.strip_prefix("q="));
                named.then(|| weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok()))?
            })
            .fold(0.0, f32::max)
    };
    let open = weight("application/openmetrics-text");
    if open > 0.0 && open >= weight("text/plain") { Format::OpenMetrics } else { Format::Text }
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    response(status, "application/json", format!("{value}\n"))
}

fn response(status: StatusCode, media_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_gets_the_format_that_it_likes_best_and_text_if_it_does_not_say() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                          version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        #[rustfmt::skip]
        let table = [
            (prometheus,                                             Format::OpenMetrics),
            ("Application/OpenMetrics-Text",                         Format::OpenMetrics),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.5", Format::OpenMetrics),
            ("text/plain;q=0.6, application/openmetrics-text;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0",                     Format::Text),
            ("application/openmetrics-text;q=x",                     Format::Text),
            ("*/*",                                                  Format::Text),
            ("text/html",                                            Format::Text),
            ("",                                                     Format::Text),
        ];
        for (accept, format) in table {
            assert_eq!(preferred(accept), format, "{accept}");
        }
    }
}
