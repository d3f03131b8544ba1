//! Transfers through the real program: constant memory, every byte, both ways. `bash tests/long` sends 4 GiB
//! each way; without it the same code sends less.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{fs, net::SocketAddr};

use pvegate::{
    demo::{Settings, fill_pattern},
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use crate::harness::{Client, Person, Process, Pve, Scratch, Wire, long, pvegate, until};

/// Bytes of a transfer.
fn length() -> u64 {
    if long() { 4 << 30 } else { 96 << 20 }
}

/// Memory that two transfers may take on top of what the program had before them, in KiB.
const BUFFERS: u64 = 8 * 1024;

const BLOCK: usize = 64 * 1024;

/// The program as systemd runs it, in front of a stand-in in this process.
struct Running {
    pve: Pve,
    gate: Process,
    alice: Client,
    _scratch: Scratch,
}

async fn start() -> Running {
    let pve = Pve::with(Settings::quick()).await;
    let scratch = Scratch::new();
    let dir = scratch.path().display();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("https://gate.test:{port}");
    let config = scratch.path().join("pvegate.toml").display().to_string();
    let text = format!(
        "server = {{ listen = [\"127.0.0.1:{port}\"], public_url = \"{url}\" }}
upstream = {{ url = \"https://{}\", fingerprint = \"{}\" }}
storage = {{ path = \"{dir}/state/pvegate.db\", master_key_file = \"{dir}/state/master.key\" }}
audit = {{ file = \"{dir}/state/audit.jsonl\" }}
",
        pve.addr(),
        pve.pin
    );
    fs::write(&config, text).unwrap();
    let added = pvegate(&["--config", &config, "--json", "user", "add", "alice", "--admin"]).await.json();
    let link = added[0].to_string().split('"').find(|text| text.contains("/_gate/enrol")).unwrap().to_owned();
    let gate = Process::start(&["--config", &config, "serve"]);
    gate.logs("\"ready\"");
    let ca = fs::read_to_string(scratch.path().join("state/local-ca/ca.pem")).unwrap();
    let client = Client::of_process(SocketAddr::from(([127, 0, 0, 1], port)), &url, &ca);
    let (mut alice, state) =
        Person::open(client, "alice", &link).await.unwrap_or_else(|page| panic!("{}", page.text()));
    let code = alice.phone.code(step_at(SystemClock.now()));
    assert_eq!(alice.finish(&state, &code).await.status, 303);
    Running { pve, gate, alice: alice.client, _scratch: scratch }
}

/// Reads an answer's head from the stream.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Downloads so much and compares every byte.
async fn download(alice: &Client, kind: &str, bytes: u64) {
    let mut stream = alice.tls_stream().await;
    let asked = alice.head("GET", &format!("/standin/stream/{kind}?bytes={bytes}"), "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-length: {bytes}")),
        "{head}"
    );
    let (mut came, mut right, mut at) = (vec![0; BLOCK], vec![0; BLOCK], 0);
    while at < bytes {
        let read = stream.read(&mut came).await.unwrap();
        assert_ne!(read, 0, "cut after {at} bytes");
        fill_pattern(at, &mut right[..read]);
        assert!(came[..read] == right[..read], "other bytes at {at}");
        at += read as u64;
    }
}

/// Uploads so much and compares what the far side made of it.
async fn upload(alice: &Client, bytes: u64) {
    let mut stream = alice.tls_stream().await;
    let asked = alice.head("POST", "/standin/sink", &format!("Content-Length: {bytes}\r\n"));
    stream.write_all(asked.as_bytes()).await.unwrap();
    let (mut block, mut hash, mut at) = (vec![0; BLOCK], Sha256::new(), 0);
    while at < bytes {
        let now = usize::try_from(bytes - at).map_or(BLOCK, |left| left.min(BLOCK));
        fill_pattern(at, &mut block[..now]);
        hash.update(&block[..now]);
        stream.write_all(&block[..now]).await.unwrap();
        at += now as u64;
    }
    stream.flush().await.unwrap();
    let answer = Wire::over(stream).answer("POST").await.unwrap();
    let sha256 = data_encoding::HEXLOWER.encode(&hash.finalize());
    let report: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(report, serde_json::json!({ "bytes": bytes, "sha256": sha256 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_takes_the_same_memory_however_long_it_is() {
    let Running { pve, gate, alice, _scratch } = start().await;
    // What the program needs for being used at all does not count.
    download(&alice, "length", 1 << 20).await;
    upload(&alice, 1 << 20).await;
    gate.forget_peak();
    let before = gate.peak_memory();

    let (began, worked) = (Instant::now(), gate.processor_time());
    download(&alice, "length", length()).await;
    let (down, down_took, down_worked) =
        (gate.peak_memory(), began.elapsed(), gate.processor_time() - worked);
    let (began, worked) = (Instant::now(), gate.processor_time());
    upload(&alice, length()).await;
    let (up, up_took, up_worked) = (gate.peak_memory(), began.elapsed(), gate.processor_time() - worked);

    eprintln!(
        "{} MiB each way: resident {before} KiB before; {down} KiB at most, {down_took:.1?} and {down_worked:.1?} of \
         processor time down; {up} KiB at most, {up_took:.1?} and {up_worked:.1?} up",
        length() >> 20
    );
    assert!(up.saturating_sub(before) < BUFFERS, "{before} KiB before, {down} and {up} KiB at most");
    drop(pve);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_costs_some_buffers_and_leaves_none_behind() {
    const READERS: usize = 20;
    let Running { pve, gate, alice, _scratch } = start().await;
    download(&alice, "length", 1 << 20).await;
    gate.forget_peak();
    let (before, descriptors) = (gate.peak_memory(), gate.descriptors());

    let mut paused = Vec::new();
    for _ in 0..READERS {
        let mut stream = alice.tls_stream().await;
        let asked = alice.head("GET", "/standin/stream/length?bytes=100000000000", "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        head(&mut stream).await;
        paused.push(stream);
    }
    // A transfer beside them takes long enough for each of them to have filled what there is to fill.
    download(&alice, "length", 32 << 20).await;
    let peak = gate.peak_memory();
    drop(paused);
    pve.wait_until(|seen| seen.connections_open == 0).await;

    eprintln!("{READERS} who do not read: resident {before} KiB before, at most {peak} KiB");
    assert!(
        peak.saturating_sub(before) < READERS as u64 * 1536 + BUFFERS,
        "{before} KiB before, {peak} KiB at most"
    );
    until("no descriptor is left", async || gate.descriptors() <= descriptors).await;
}
