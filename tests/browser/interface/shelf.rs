//! Every page in every state, as `src/gate/portal/pages/tests.rs` writes them, behind a server that gives them
//! the fields that the gate gives its pages.
//!
//! A state is one file: `sign-in-twice.de.dark.html`. Pages that are added there are looked at here without
//! more ado.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::StatusCode;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pvegate::connection::reply::Reply;
use tokio::{net::TcpListener, task::JoinHandle};

/// A page in a state, in a language and colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// As in `sign-in-twice`.
    pub(super) name: String,
    pub(super) language: String,
    /// `light` or `dark`.
    pub(super) theme: String,
}

/// A server of all states.
pub(super) struct Shelf {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

type Files = HashMap<String, Bytes>;

impl Shelf {
    pub(super) async fn open() -> Self {
        let files = written().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let files = files.clone();
                let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let reply = answer(&files, request.uri().path().trim_start_matches('/'));
                    async move { Ok::<_, Infallible>(reply.into_response()) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, serving }
    }

    /// Every state in this language and these colours.
    pub(super) fn states(&self, language: &str, theme: &str) -> Vec<State> {
        let mut states: Vec<State> = written()
            .keys()
            .filter_map(|file| {
                let mut parts = file.strip_suffix(".html")?.split('.').map(str::to_owned);
                Some(State { name: parts.next()?, language: parts.next()?, theme: parts.next()? })
            })
            .filter(|state| state.language == language && state.theme == theme)
            .collect();
        states.sort_by(|one, other| one.name.cmp(&other.name));
        assert!(states.len() > 80, "only {} states in {language}, {theme}", states.len());
        states
    }

    pub(super) fn url(&self, state: &State) -> String {
        let State { name, language, theme } = state;
        format!("http://{}/{name}.{language}.{theme}.html", self.address)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(files: &Files, path: &str) -> Reply {
    let content_type = match path.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        // What pages' script asks the gate for: "later" is an answer that it takes quietly.
        Some(_) | None => return Reply::text(StatusCode::TOO_MANY_REQUESTS, ""),
    };
    match files.get(path) {
        // A page that asks again until Proxmox VE answers must not take its own loading for that.
        Some(file) if path.starts_with("refusal-") => {
            Reply::new(StatusCode::BAD_GATEWAY, content_type, file.clone())
        }
        Some(file) => Reply::new(StatusCode::OK, content_type, file.clone()),
        None => Reply::text(StatusCode::NOT_FOUND, ""),
    }
}

/// Has the pages written by the test that does so, once, from the source as it is now.
fn written() -> &'static Arc<Files> {
    static FILES: OnceLock<Arc<Files>> = OnceLock::new();
    FILES.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wrote = Command::new(cargo)
            .current_dir(root)
            .args(["test", "--quiet", "--lib", "--", "every_page_can_be_looked_at_without_a_gate"])
            .output()
            .unwrap();
        let said = [wrote.stdout, wrote.stderr].concat();
        assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&said));

        let folder = root.join("target/pages");
        let read = |file: &str| Bytes::from(fs::read(folder.join(file)).unwrap());
        // The index tells which files are of today.
        let index = fs::read_to_string(folder.join("index.html")).unwrap();
        let pages = index.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let files =
            ["gate.css", "gate.js", "icon.svg"].into_iter().chain(pages).map(|f| (f.to_owned(), read(f)));
        Arc::new(files.collect())
    })
}
