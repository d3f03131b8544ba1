//! Collectors that stall, refuse and close, a disk that is full, a journal that is not there: the gate
//! decides and serves, the file has everything, and what was in trouble comes back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use pvegate::{
    audit::SinkState,
    time::{Clock as _, SystemClock},
    tls::{Certificates, LocalCa, server_config},
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_rustls::TlsAcceptor;

use super::text;
use crate::harness::{Client, Process, Pve, Recipe, Scratch, TestGate, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Open to every address of this host.
fn recipe(pve: &Pve) -> Recipe {
    TestGate::recipe(pve).set("access.allow", "127.0.0.0/8")
}

/// Makes an event that is always written singly. What the client sees shows that the gate decides.
async fn event(gate: &TestGate, number: usize) {
    let mut client = gate.client().from(&format!("127.0.5.{}", number + 1));
    let name = format!("nobody{number}");
    assert_eq!(client.post_form("/_gate/recover", &[("user", &name), ("code", "x")]).await.status, 403);
}

fn sink(gate: &TestGate, name: &str) -> SinkState {
    gate.stages.gate.audit().sinks().into_iter().find(|sink| sink.name == name).unwrap()
}

/// The number of failed recoveries in the file.
fn in_file(gate: &TestGate) -> usize {
    let text = fs::read_to_string(gate.dir().join("audit.jsonl")).unwrap();
    text.lines().filter(|line| line.contains("\"recovery-use\"")).count()
}

/// The next message with counted octets (RFC 6587 §3.4.1): its header and its fields.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> (String, Value) {
    let mut count = 0;
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => count = count * 10 + usize::from(digit - b'0'),
        }
    }
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    parsed(std::str::from_utf8(&bytes).unwrap())
}

fn parsed(message: &str) -> (String, Value) {
    let (header, json) = message.split_once(" - {").unwrap();
    (header.to_owned(), serde_json::from_str(&format!("{{{json}")).unwrap())
}

/// Messages until the recovery number `last` was told; gives their actions.
async fn messages_until(stream: &mut (impl AsyncRead + Unpin), count: usize) -> usize {
    let mut seen = 0;
    while seen < count {
        let (_, event) = message(stream).await;
        seen += usize::from(text(&event, "/event/action") == "recovery-use");
    }
    seen
}

async fn listen(address: SocketAddr) -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind(address).await.unwrap()
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_collector_gets_every_event_by_udp() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("udp://{}", collector.local_addr().unwrap());
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("audit.syslog", &url).start().await;
    event(&gate, 0).await;

    let told: Vec<_> = tokio::task::spawn_blocking(move || {
        let mut bytes = [0; 65536];
        (0..2)
            .map(|_| {
                let length = collector.recv(&mut bytes).unwrap();
                parsed(std::str::from_utf8(&bytes[..length]).unwrap())
            })
            .collect()
    })
    .await
    .unwrap();

    let [(started, start), (failed, failure)] = &told[..] else { panic!("{told:?}") };
    assert!(started.starts_with("<86>1 2026-") && started.ends_with(" start"), "{started}");
    assert!(failed.starts_with("<84>1 2026-") && failed.ends_with(" recovery-use"), "{failed}");
    assert_eq!(text(start, "/event/action"), "start");
    let in_file = gate.audit();
    assert_eq!(
        text(failure, "/event/id"),
        text(in_file.last().unwrap(), "/event/id"),
        "it is the same event"
    );
}

#[tokio::test]
async fn a_collector_that_refuses_gets_what_waited_when_it_is_back() {
    let address = free_port();
    let pve = Pve::start().await;
    let gate = recipe(&pve).set("audit.syslog", &format!("tcp://{address}")).start().await;
    event(&gate, 0).await;
    until("the trouble is known", async || sink(&gate, "syslog").trouble.is_some()).await;
    event(&gate, 1).await;
    until("the file has all", async || in_file(&gate) == 2).await;
    assert!(sink(&gate, "syslog").trouble.unwrap().contains(&address.to_string()));

    let (mut stream, _) = listen(address).await.accept().await.unwrap();

    assert_eq!(text(&message(&mut stream).await.1, "/event/action"), "start");
    assert_eq!(messages_until(&mut stream, 2).await, 2);
    until("all is well", async || {
        sink(&gate, "syslog") == SinkState { name: "syslog", waiting: 0, lost: 0, trouble: None }
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_closes_is_connected_to_again() {
    let collector = listen(free_port()).await;
    let pve = Pve::start().await;
    let url = format!("tcp://{}", collector.local_addr().unwrap());
    let gate = recipe(&pve).set("audit.syslog", &url).start().await;
    for number in 0..3 {
        event(&gate, number).await;
        let (mut stream, _) = collector.accept().await.unwrap();
        assert_eq!(messages_until(&mut stream, 1).await, 1);
    }
    assert_eq!(sink(&gate, "syslog").lost, 0);
}

#[tokio::test]
async fn a_collector_that_stalls_holds_up_neither_the_gate_nor_the_file() {
    // It accepts, and never says a word of TLS.
    let collector = listen(free_port()).await;
    let pve = Pve::start().await;
    let url = format!("tcp+tls://{}", collector.local_addr().unwrap());
    let gate = recipe(&pve).set("audit.syslog", &url).start().await;
    let (_stalled, _) = collector.accept().await.unwrap();

    for number in 0..5 {
        event(&gate, number).await;
    }
    let mut alice = gate.person("alice").await;
    assert_eq!(alice.client.get("/").await.status, 200);

    until("the file has all", async || in_file(&gate) == 5).await;
    assert!(sink(&gate, "syslog").waiting > 5);
    assert_eq!(sink(&gate, "file").trouble, None);
}

#[tokio::test]
async fn a_collector_behind_tls_must_prove_itself_by_the_authority() {
    let scratch = Scratch::new();
    let host = "localhost".parse().unwrap();
    let now = SystemClock.now();
    let [right, wrong] = ["right", "wrong"]
        .map(|name| LocalCa::open_or_make(&scratch.path().join(name), &host, now).unwrap().0);
    let certificates = Certificates::new(right.issue(now).unwrap().identity).unwrap();
    let acceptor = TlsAcceptor::from(server_config(Arc::new(certificates)).unwrap());
    drop(wrong);
    let pve = Pve::start().await;
    let collector = listen(free_port()).await;
    let port = collector.local_addr().unwrap().port();
    let gate = |authority: &str| {
        let ca = scratch.path().join(authority).join("ca.pem").display().to_string();
        recipe(&pve)
            .set("audit.syslog", &format!("tcp+tls://localhost:{port}"))
            .set("audit.syslog_ca", &ca)
            .start()
    };

    let trusting = gate("right").await;
    let mut stream = acceptor.accept(collector.accept().await.unwrap().0).await.unwrap();
    event(&trusting, 0).await;
    assert_eq!(messages_until(&mut stream, 1).await, 1);

    let mistrusting = gate("wrong").await;
    assert!(acceptor.accept(collector.accept().await.unwrap().0).await.is_err(), "nothing is told to it");
    until("the trouble is known", async || sink(&mistrusting, "syslog").trouble.is_some()).await;
    let trouble = sink(&mistrusting, "syslog").trouble.unwrap();
    assert!(trouble.contains("certificate"), "{trouble}");
}

#[tokio::test]
async fn a_certificate_of_the_right_authority_for_another_host_is_no_proof() {
    let scratch = Scratch::new();
    let now = SystemClock.now();
    let authority = LocalCa::open_or_make(scratch.path(), &"other.test".parse().unwrap(), now).unwrap().0;
    let certificates = Certificates::new(authority.issue(now).unwrap().identity).unwrap();
    let acceptor = TlsAcceptor::from(server_config(Arc::new(certificates)).unwrap());
    let pve = Pve::start().await;
    let collector = listen(free_port()).await;
    let port = collector.local_addr().unwrap().port();
    let gate = recipe(&pve)
        .set("audit.syslog", &format!("tcp+tls://localhost:{port}"))
        .set("audit.syslog_ca", &scratch.path().join("ca.pem").display().to_string())
        .start()
        .await;

    assert!(acceptor.accept(collector.accept().await.unwrap().0).await.is_err(), "nothing is told to it");
    until("the trouble is known", async || sink(&gate, "syslog").trouble.is_some()).await;
    let trouble = sink(&gate, "syslog").trouble.unwrap();
    assert!(trouble.contains("certificate"), "{trouble}");
}

#[tokio::test]
async fn the_journal_has_the_short_line_and_the_fields() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("journal");
    let pve = Pve::start().await;
    let gate = recipe(&pve).journal(socket.clone()).start().await;
    event(&gate, 0).await;
    until("the trouble is known", async || sink(&gate, "journal").trouble.is_some()).await;

    let journal = UnixDatagram::bind(&socket).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    let entries = tokio::task::spawn_blocking(move || [entry(&journal), entry(&journal)]).await.unwrap();

    let failure = &entries[1];
    let field = |name: &str| {
        failure.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let id = field("HTTP_REQUEST_ID");
    let line = format!("authentication failure; rhost=127.0.5.1 method=recovery reason=bad_code req={id}");
    assert_eq!(field("MESSAGE"), line);
    assert_eq!(field("SYSLOG_IDENTIFIER"), "pvegate");
    assert_eq!(field("PRIORITY"), "4");
    assert_eq!(field("EVENT_ACTION"), "recovery-use");
    assert_eq!(field("SOURCE_IP"), "127.0.5.1");
    assert!(failure.iter().all(|(name, _)| {
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.starts_with('_')
    }));
}

/// The fields of the next entry (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
pub(crate) fn entry(journal: &UnixDatagram) -> Vec<(String, String)> {
    let mut bytes = [0; 65536];
    let length = journal.recv(&mut bytes).unwrap();
    let (mut rest, mut fields) = (&bytes[..length], Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        let (count, value) = rest[end + 1..].split_first_chunk::<8>().unwrap();
        let count = usize::try_from(u64::from_le_bytes(*count)).unwrap();
        fields.push((name, String::from_utf8(value[..count].to_vec()).unwrap()));
        rest = &value[count + 1..];
    }
    fields
}

/// The real program, its audit file on a disk of 64 KiB of its own.
#[tokio::test]
async fn a_full_disk_neither_blocks_nor_opens_the_gate_and_no_event_that_waited_is_lost() {
    let namespace = ["--user", "--map-root-user", "--mount", "--fork", "--kill-child"];
    let can = Command::new("unshare")
        .args(namespace)
        .args(["mount", "-t", "tmpfs", "none", "/mnt"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine makes no namespace with a small disk (unshare --user --mount)");
        return;
    }
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let dir = scratch.path();
    fs::create_dir(dir.join("disk")).unwrap();
    let address = free_port();
    let (upstream, pin, shown) = (pve.addr(), pve.pin, dir.display());
    let config = format!(
        "[server]
listen = [\"{address}\"]
public_url = \"https://gate.test:{port}\"
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[access]
allow = [\"127.0.0.0/8\"]
[storage]
path = \"{shown}/pvegate.db\"
master_key_file = \"{shown}/master.key\"
[audit]
file = \"{shown}/disk/audit.jsonl\"
journal = false
",
        port = address.port(),
    );
    fs::write(dir.join("pvegate.toml"), config).unwrap();
    // Full from the start, but for the files themselves.
    let script = format!(
        "mount -t tmpfs -o size=64k,nr_inodes=64 none '{shown}/disk' && touch '{shown}/disk/ready' &&
         {{ dd if=/dev/zero of='{shown}/disk/full' bs=4k 2>/dev/null || true; }} && exec \"$@\""
    );
    let gate = Process::start_under(
        "unshare",
        &[&namespace[..], &["sh", "-c", &script, "sh"]].concat(),
        &["--config", &dir.join("pvegate.toml").display().to_string(), "serve"],
    );
    gate.logs("ready");
    gate.logs("audit events wait");
    let ca = fs::read_to_string(dir.join("local-ca/ca.pem")).unwrap();
    let url = format!("https://gate.test:{}", address.port());
    for number in 0..5 {
        let mut client = Client::of_process(address, &url, &ca).from(&format!("127.0.6.{}", number + 1));
        let fields = [("user", "nobody"), ("code", "x")];
        assert_eq!(client.post_form("/_gate/recover", &fields).await.status, 403);
        assert_eq!(client.get("/api2/json/version").await.status, 401);
    }
    assert_eq!(pve.requests_seen(), 0);

    // Seen from outside: the disk of the process.
    let inside = children(gate.id()).into_iter().next().unwrap();
    let disk = Path::new("/proc")
        .join(inside.to_string())
        .join("root")
        .join(dir.strip_prefix("/").unwrap())
        .join("disk");
    fs::remove_file(disk.join("full")).unwrap();
    gate.logs("audit events are written again");
    let text = fs::read_to_string(disk.join("audit.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |word: &str| events.iter().filter(|event| text_of(event) == word).count();
    assert_eq!((count("start"), count("recovery-use")), (1, 5), "{text}");
}

fn text_of(event: &Value) -> &str {
    text(event, "/event/action")
}

fn children(id: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    listed.split_whitespace().map(|child| child.parse().unwrap()).collect()
}
