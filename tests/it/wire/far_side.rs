//! An upstream that keeps every byte it is sent, reads requests by the oracle alone, and answers what it
//! was told to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use pvegate::tls::Fingerprint;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::oracle::{self, Verdict};
use crate::harness::{Scratch, identity};

/// What it answers: the bytes, and whether it ends the connection then.
type Answers = Box<dyn Fn(&oracle::Request) -> (Vec<u8>, bool) + Send + Sync>;

pub(super) struct FarSide {
    pub(super) address: SocketAddr,
    pub(super) pin: Fingerprint,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
    _scratch: Scratch,
}

#[derive(Default)]
struct Seen {
    /// Every byte of every connection, in order.
    connections: Vec<Vec<u8>>,
}

/// One request as it stood on the wire.
pub(super) struct SeenRequest {
    pub(super) raw: Vec<u8>,
    pub(super) request: oracle::Request,
}

impl FarSide {
    pub(super) async fn start(
        answers: impl Fn(&oracle::Request) -> (Vec<u8>, bool) + Send + Sync + 'static,
    ) -> Self {
        let scratch = Scratch::new();
        let (identity, pin) = identity(&scratch.path().join("ca"), "127.0.0.1");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let answers: Arc<Answers> = Arc::new(Box::new(answers));
        let accepting = tokio::spawn(accept(listener, acceptor, seen.clone(), answers));
        Self { address, pin, seen, accepting, _scratch: scratch }
    }

    /// The requests so far, connection by connection. Everything that came must be one.
    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        let seen = self.seen.lock().unwrap();
        let mut found = Vec::new();
        for bytes in &seen.connections {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                match oracle::read(rest) {
                    Verdict::Request(request) => {
                        let (raw, after) = rest.split_at(request.length);
                        found.push(SeenRequest { raw: raw.to_vec(), request });
                        rest = after;
                    }
                    other => panic!("{other:?} went up: {}", rest.escape_ascii()),
                }
            }
        }
        found
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Mutex<Seen>>, answers: Arc<Answers>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.connections.push(Vec::new());
            seen.connections.len() - 1
        };
        tokio::spawn(serve(stream, acceptor.clone(), seen.clone(), answers.clone(), number));
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    seen: Arc<Mutex<Seen>>,
    answers: Arc<Answers>,
    number: usize,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut unread = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
        let bytes = &buffer[..read];
        seen.lock().unwrap().connections[number].extend_from_slice(bytes);
        unread.extend_from_slice(bytes);
        while let Verdict::Request(request) = oracle::read(&unread) {
            unread.drain(..request.length);
            let (answer, ends) = answers(&request);
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            if ends {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}
