//! What a proxy in front of pveproxy must preserve: Proxmox VE's interface, its consoles and its
//! clients notice no difference. docs/proxying-proxmox-ve.md says which test shows what.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod bodies;
mod connections;
mod open_tab;
mod requests;
mod shutdown;
mod transfers;
mod tunnels;

use std::{sync::Arc, time::Duration};

use pvegate::demo::{SeenRequest, Settings, fill_pattern};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::harness::{Answer, Person, Pve, Scratch, TestGate, Wire, identity};

/// Somebody who is signed in at a gate, and the far side.
struct Scene {
    pve: Pve,
    gate: TestGate,
    alice: Person,
}

impl Scene {
    async fn set() -> Self {
        Self::with(Settings::quick()).await
    }

    async fn with(settings: Settings) -> Self {
        let pve = Pve::with(settings).await;
        let gate = TestGate::in_front_of(&pve).await;
        let alice = gate.person("alice").await;
        Self { pve, gate, alice }
    }

    async fn wire(&self) -> Wire {
        Wire::open(&self.alice.client).await
    }

    /// One request with these field lines on a connection of its own.
    async fn ask(&self, method: &str, target: &str, more: &str, body: &[u8]) -> Answer {
        let mut wire = self.wire().await;
        wire.send(self.alice.client.head(method, target, more).as_bytes()).await;
        wire.send(body).await;
        wire.answer(method).await.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// What pveproxy saw last.
    fn seen(&self) -> SeenRequest {
        self.pve.requests().pop().unwrap()
    }
}

fn texts<'a>(request: &'a SeenRequest, name: &str) -> Vec<&'a str> {
    request.values(name).into_iter().map(|value| std::str::from_utf8(value).unwrap()).collect()
}

fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill_pattern(0, &mut bytes);
    bytes
}

const UPLOAD: &str = "/api2/json/nodes/demo/storage/local/upload";

/// A form for an upload of `file`.
fn upload_form(file: &[u8]) -> (String, Vec<u8>) {
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(file));
    let mut body = Vec::new();
    for (name, value) in [("content", "iso"), ("checksum-algorithm", "sha256"), ("checksum", &digest)] {
        body.extend(
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .into_bytes(),
        );
    }
    body.extend(
        b"--XX\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend(b"\r\n--XX--\r\n");
    let fields =
        format!("Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n", body.len());
    (fields, body)
}

/// Fields that ask for a WebSocket.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A gate in front of somebody who gives this answer to every request, and then does `then`.
async fn in_front_of<F, D>(answer: &'static [u8], then: F) -> TestGate
where
    F: Fn(TlsStream<TcpStream>) -> D + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    let scratch = Scratch::new();
    let (identity, pin) = identity(scratch.path(), "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_single_cert(identity.chain, identity.key).unwrap()));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            tokio::spawn(then(stream));
        }
    });
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("upstream.url", &format!("https://{address}"))
        .trusting(&format!("fingerprint = \"{pin}\""));
    gate.start().await
}

/// Waits until it has stayed the same for half a second, and gives it.
async fn settled(count: &mut watch::Receiver<usize>) -> usize {
    while let Ok(Ok(())) = timeout(Duration::from_millis(500), count.changed()).await {}
    *count.borrow()
}
