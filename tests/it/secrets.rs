//! Nothing secret is ever written: not to the log at its most talkative, not to the audit file, and not
//! in the clear to the database. And keys change without anybody noticing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    cell::RefCell,
    fs, io,
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::Path,
    sync::{Arc, Mutex, Once},
};

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use http::Method;
use pvegate::{
    demo::{Settings, User},
    gate::cookie,
    names,
    secret::{MasterKey, Purpose},
    store::Store as _,
    time::Clock as _,
};

use tracing_subscriber::{
    Layer as _, filter::dynamic_filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::harness::{Person, Pve, Scratch, TestGate, until};

thread_local! {
    /// What is logged on this thread, if a test wants to know: its whole gate runs here.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Begins to keep what this thread logs, at its most talkative.
fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let wanted = dynamic_filter_fn(|_, _| LOGGED.with_borrow(Option::is_some));
        let lines = tracing_subscriber::fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_writer(|| Kept)
            .with_filter(wanted);
        tracing_subscriber::registry().with(lines).init();
    });
    LOGGED.set(Some(Vec::new()));
}

fn logged() -> Vec<u8> {
    LOGGED.take().unwrap()
}

struct Kept;

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|kept| kept.as_mut().map(|kept| kept.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A secret, in every form in which it could have been written.
struct Secret {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn text(what: &'static str, text: &str) -> Self {
        Self { what, forms: vec![text.as_bytes().to_vec()] }
    }

    fn bytes(what: &'static str, bytes: &[u8]) -> Self {
        let forms = vec![
            bytes.to_vec(),
            HEXLOWER.encode(bytes).into_bytes(),
            BASE64.encode(bytes).into_bytes(),
            BASE64URL_NOPAD.encode(bytes).into_bytes(),
            data_encoding::BASE32_NOPAD.encode(bytes).into_bytes(),
            format!("{bytes:?}").into_bytes(),
        ];
        Self { what, forms }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        self.forms.iter().any(|form| haystack.windows(form.len()).any(|window| window == form))
    }
}

/// Every file below a directory but those that are there to hold a key.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !name.ends_with(".key") {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
    found
}

const GATE_PASSWORD: &str = "a gate password of Alice";
const PVE_PASSWORD: &str = "a-pve-password-of-root";
const WRONG_PASSWORD: &str = "a-pve-password-of-nobody";
const TOKEN_SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";
const WRONG_TOKEN_SECRET: &str = "7d9e1c40-5b3a-4f28-8e6d-2a4c6e8f0b1d";

/// Enrols by hand, because of the password that goes with it.
async fn enrol(gate: &TestGate) -> (Person, Vec<Secret>) {
    let token = gate.invite("alice");
    let link = token.link(&gate.config.gate.public_url);
    let (mut alice, state) = Person::scan(gate, "alice", &token).await.map_err(|page| page.text()).unwrap();
    let code = alice.code(gate);
    let wrong = [("state", state.as_str()), ("code", "987654"), ("password", GATE_PASSWORD)];
    assert_eq!(alice.client.post_form("/_gate/enrol", &wrong).await.status, 403);
    let right = [("state", state.as_str()), ("code", &code), ("password", GATE_PASSWORD)];
    let page = alice.client.post_form("/_gate/enrol", &right).await;
    alice.codes = crate::harness::printed_codes(&page.text());
    let state = crate::harness::state_of(&page.text()).unwrap();
    let first = alice.codes.first().unwrap().clone();
    let reply = alice.client.post_form("/_gate/enrol", &[("state", &state), ("typed", &first)]).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    let mut secrets = vec![
        Secret::text("invitation", link.split_once('#').unwrap().1),
        Secret::bytes("authenticator app", alice.phone.expose()),
    ];
    for code in &alice.codes {
        secrets.push(Secret::text("recovery code as written", code));
        secrets.push(Secret::text("recovery code", &code.replace('-', "")));
    }
    (alice, secrets)
}

/// Everything that datagrams bring, on a thread that ends with the tests.
fn collected(receive: impl Fn(&mut [u8]) -> io::Result<usize> + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::<Mutex<Vec<u8>>>::default();
    let taking = all.clone();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(length) = receive(&mut bytes) {
            taking.lock().unwrap().extend_from_slice(&bytes[..length]);
        }
    });
    all
}

fn cookie_secret(alice: &Person) -> Secret {
    let value = alice.session_cookie().unwrap();
    let bits = value.split('.').nth(2).unwrap();
    Secret::bytes("session", &BASE64URL_NOPAD.decode(bits.as_bytes()).unwrap())
}

#[tokio::test]
async fn no_secret_that_was_used_is_found_in_anything_that_was_written() {
    listen_to_the_log();
    let users = vec![User::new("root@pam", PVE_PASSWORD)];
    let pve = Pve::with(Settings { users, ..Settings::quick() }).await;
    let gate = TestGate::recipe(&pve).set("auth.password", "with-totp").rule(
        "root@pam!demo",
        TOKEN_SECRET,
        "from = [\"127.0.0.0/8\"]\npaths = [\"/api2/json/version\"]",
    );
    let sinks = Scratch::new();
    let journal = UnixDatagram::bind(sinks.path().join("journal")).unwrap();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", collector.local_addr().unwrap());
    let gate = gate.set("audit.syslog", &url).journal(sinks.path().join("journal"));
    // Read as it comes: a journal that nobody reads takes a few entries only.
    let (journal, collector) =
        (collected(move |bytes| journal.recv(bytes)), collected(move |bytes| collector.recv(bytes)));
    let gate = gate.start().await;
    let (mut alice, mut secrets) = enrol(&gate).await;
    secrets.push(Secret::text("gate password", GATE_PASSWORD));
    secrets.push(Secret::text("Proxmox VE's password", PVE_PASSWORD));
    secrets.push(Secret::text("API token's secret", TOKEN_SECRET));
    secrets.push(Secret::text("another secret of an API token", WRONG_TOKEN_SECRET));
    let master = fs::read_to_string(gate.dir().join("master.key")).unwrap();
    secrets.push(Secret::bytes("master key", &HEXLOWER.decode(master.trim().as_bytes()).unwrap()));
    secrets.push(cookie_secret(&alice));

    // Everything that a day holds, and what goes wrong in one.
    let fields = [("username", "root@pam"), ("password", PVE_PASSWORD), ("realm", "pam")];
    let ticket =
        alice.client.post_form("/api2/json/access/ticket", &fields).await.json()["data"]["ticket"].clone();
    secrets.push(Secret::text("Proxmox VE's ticket", ticket.as_str().unwrap().rsplit("::").next().unwrap()));
    let in_query = format!("/api2/json/access/ticket?username=root@pam&password={PVE_PASSWORD}");
    alice.client.post_form(&in_query, &[]).await;
    gate.client().send(Method::POST, &in_query, Bytes::new()).await;
    let wrong = format!("/api2/extjs/access%2Fticket?username=root@pam&password={WRONG_PASSWORD}");
    assert_eq!(alice.client.post_form(&wrong, &[]).await.json()["status"], "401");
    let fields = [("username", "root@pam"), ("password", WRONG_PASSWORD)];
    assert_eq!(alice.client.post_form("/api2/json/access/ticket", &fields).await.status, 401);
    let value = serde_json::json!({ "username": "root@pam", "password": WRONG_PASSWORD });
    assert_eq!(alice.client.post_json("/api2/json/access/ticket", &value).await.status, 401);
    for _ in 0..3 {
        alice.client.post_form(&wrong, &[]).await;
    }
    secrets.push(Secret::text("a password mistyped at Proxmox VE", WRONG_PASSWORD));
    secrets.push(Secret::text("a query", "username=root"));
    gate.client().get(&format!("/_gate/nothing?password={PVE_PASSWORD}")).await;
    for (authorization, target, status) in [
        (format!("PVEAPIToken=root@pam!demo={TOKEN_SECRET}"), "/api2/json/version", 200),
        (format!("PVEAPIToken=root@pam!demo={TOKEN_SECRET}"), "/api2/json/nodes", 403),
        (format!("PVEAPIToken=root@pam!demo={WRONG_TOKEN_SECRET}"), "/api2/json/version", 401),
        (format!("PVEAPIToken={WRONG_TOKEN_SECRET}=root@pam!demo"), "/api2/json/version", 401),
        (format!("PVEAPIToken=root@pam!demo={TOKEN_SECRET};"), "/api2/json/version", 401),
    ] {
        let reply = gate.client().with("authorization", &authorization).get(target).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        alice.client.clone().with("authorization", &authorization).get(target).await;
    }
    alice.sign_out().await;
    let name = alice.name.clone();
    let code = alice.wait_for_next_code(&gate);
    let wrong = [("user", name.as_str()), ("password", "not the password"), ("code", &code)];
    assert_eq!(alice.client.post_form("/_gate/sign-in", &wrong).await.status, 403);
    let code = alice.wait_for_next_code(&gate);
    let right = [("user", name.as_str()), ("password", GATE_PASSWORD), ("code", &code)];
    let reply = alice.client.post_form("/_gate/sign-in", &right).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    secrets.push(cookie_secret(&alice));
    alice.sign_out().await;
    let recovery = alice.codes.last().unwrap().clone();
    let fields = [("user", name.as_str()), ("code", recovery.as_str())];
    assert_eq!(alice.client.post_form("/_gate/recover", &fields).await.status, 303);
    assert_eq!(alice.client.post_form("/_gate/recover", &fields).await.status, 403);
    secrets.push(cookie_secret(&alice));

    let audit = gate.audit();
    assert!(audit.len() >= 8, "what happened is in the audit file: {audit:?}");
    let mut written = files(gate.dir());
    written.push(("the log".to_owned(), logged()));
    for (sink, taken) in [("the journal", journal), ("the collector", collector)] {
        let taken = taken.lock().unwrap().clone();
        let last = audit.last().unwrap()["event"]["id"].as_str().unwrap();
        assert!(
            taken.windows(last.len()).any(|it| it == last.as_bytes()),
            "{sink} has all, to the last event"
        );
        written.push((sink.to_owned(), taken));
    }
    assert!(written.iter().any(|(name, bytes)| name == "the log" && bytes.len() > 1000));
    for secret in &secrets {
        for (file, bytes) in &written {
            assert!(!secret.is_in(bytes), "{} stands in {file}", secret.what);
        }
    }
    // Six digits are found by chance in a database, but not as a word in a text.
    for (file, bytes) in
        written.iter().filter(|(file, _)| file.starts_with("the ") || file.ends_with(".jsonl"))
    {
        let text = String::from_utf8_lossy(bytes);
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(!words.any(|word| word == code || word == "987654"), "a code stands in {file}");
    }
}

#[tokio::test]
async fn a_new_cookie_key_signs_whoever_comes_and_signs_nobody_out() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let before = alice.session_cookie().unwrap().to_owned();

    // As another gate or a verb would.
    let master = MasterKey::read(&gate.config.master_key_file).unwrap();
    gate.clock.advance(std::time::Duration::from_secs(1));
    let key = cookie::new_key(&master.derive(Purpose::CookieKeys), gate.clock.now());
    let id = key.id.clone();
    gate.store().add_cookie_key(&key).unwrap();

    until("a sign-in is signed by the new key", async || {
        let mut again = Person {
            name: alice.name.clone(),
            client: gate.client(),
            phone: alice.phone.clone(),
            codes: vec![],
        };
        again.sign_in(&gate).await;
        again.client.cookie(names::SESSION_COOKIE).is_some_and(|value| value.contains(&format!(".{id}.")))
    })
    .await;
    assert!(!before.contains(&id));
    assert_eq!(alice.client.get("/").await.status, 200, "the old cookie is as good as ever");
}
