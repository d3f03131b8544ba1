//! Requests and answers as bytes: what every parser reads alike passes, in one canonical form; of anything
//! else not one byte gets through.
//!
//! The cases are in `requests.txt` and `answers.txt`. They run over TLS, in front of an upstream that
//! keeps every byte and is read by an oracle of its own.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod answers;
mod differential;
mod far_side;
mod oracle;
mod rows;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::harness::{Client, HOST, Person, TestGate, Wire};
use far_side::FarSide;
use rows::{Row, Words, expand};

const REQUESTS: &str = include_str!("requests.txt");

/// So many cases at a time: the machine may be small.
const AT_ONCE: usize = 16;

/// One request, and what must become of it.
struct Case {
    name: String,
    /// What asks: with the session of somebody, from an address of its own.
    client: Client,
    source: String,
    bytes: Vec<u8>,
    status: u16,
    /// What goes up, if anything does.
    up: Option<Vec<u8>>,
    /// The next request on the same connection.
    next: Vec<u8>,
}

/// Every row for a person who is signed in and for a stranger, each on every carrier.
fn cases(gate: &TestGate, alice: &Person) -> Vec<Case> {
    let mut cases = Vec::new();
    for row in rows::parse(REQUESTS) {
        for (carrier, bytes) in carried(&row) {
            for (who, client, status) in
                [("alice", alice.client.clone(), row.signed_in), ("stranger", gate.client(), row.stranger)]
            {
                let number = cases.len();
                let source = format!("127.7.{}.{}", number / 250, number % 250 + 1);
                let words = words(gate, &client, &source);
                let up = row.up.as_ref().filter(|_| status < 300).map(|up| expand(up, &words));
                cases.push(Case {
                    name: format!("{}{carrier}, {who}", row.name),
                    client: client.from(&source),
                    source,
                    bytes: expand(&bytes, &words),
                    status,
                    up,
                    next: expand("GET /next HTTP/1.1¶{std}¶", &words),
                });
            }
        }
    }
    cases
}

fn words(gate: &TestGate, client: &Client, source: &str) -> Words {
    let authority = gate.authority();
    let origin = client.origin();
    let session = client.cookie(pvegate::names::SESSION_COOKIE);
    let cookie = session.map(|value| format!("Cookie: {}={value}¶", pvegate::names::SESSION_COOKIE));
    let who = format!("{}Origin: {origin}¶", cookie.unwrap_or_default());
    Words::from([
        ("port", authority.rsplit_once(':').unwrap().1.to_owned()),
        ("name", HOST.to_owned()),
        ("std", format!("Host: {authority}¶{who}")),
        ("up", format!("x-forwarded-for: {source}¶via: 1.1 pvegate¶")),
        ("who", who),
        ("host", authority),
    ])
}

/// The requests that carry a row's bytes.
fn carried(row: &Row) -> Vec<(&'static str, String)> {
    if let Some(lines) = row.bytes.strip_prefix("@P ") {
        return vec![
            (" (first)", format!("POST /a HTTP/1.1¶{lines}{{std}}¶5¶hello¶0¶¶")),
            (" (last)", format!("POST /a HTTP/1.1¶{{std}}{lines}¶hello")),
        ];
    }
    if let Some(lines) = row.bytes.strip_prefix("@ ") {
        return vec![
            (" (first)", format!("GET /a HTTP/1.1¶{lines}{{std}}¶")),
            (" (last)", format!("GET /a HTTP/1.1¶{{std}}{lines}¶")),
            (" (in a POST)", format!("POST /a HTTP/1.1¶{{std}}{lines}Content-Length: 5¶¶hello")),
        ];
    }
    vec![("", row.bytes.clone())]
}

impl Case {
    /// Asks, and tells what was not as it should be.
    async fn run(&self) -> Result<(), String> {
        let mut wire = Wire::open(&self.client).await;
        let method = if self.bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        let passes = self.status < 300;
        if passes {
            wire.send(&self.bytes).await;
        } else {
            // With one behind it, in one piece: it must die with the first.
            wire.send(&[self.bytes.as_slice(), &self.next].concat()).await;
        }
        let mut answer = wire.answer(method).await.ok_or("no answer")?;
        while answer.status == 100 {
            answer = wire.answer(method).await.ok_or("no answer after 100")?;
        }
        if answer.status != self.status {
            return Err(format!("{} {}, not {}", answer.status, answer.text(), self.status));
        }
        if passes && !answer.closes {
            wire.send(&self.next).await;
            let next = wire.answer("GET").await.ok_or("the connection ended after it")?;
            return if next.status == 200 { Ok(()) } else { Err(format!("the next one: {}", next.status)) };
        }
        if passes || (self.status == 401 && self.is_in_order()) {
            return Ok(());
        }
        if answer.values("x-frame-options") != ["DENY"] || answer.values("content-type").is_empty() {
            return Err(format!("an answer that is not ours: {:?}", answer.fields));
        }
        match wire.rest().await {
            (rest, true) if rest.is_empty() => Ok(()),
            (rest, closed) => Err(format!("then came (closed well: {closed}): {}", rest.escape_ascii())),
        }
    }

    /// Whether it is one that a person who is signed in would be answered, and the next one too.
    fn is_in_order(&self) -> bool {
        matches!(oracle::read(&self.bytes), oracle::Verdict::Request(_))
    }
}

/// With its field lines in alphabetical order: which comes first means nothing.
fn in_order(raw: &[u8]) -> Vec<u8> {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&raw[..end]);
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines[1..].sort_unstable();
    [lines.join("\r\n").as_bytes(), &raw[end..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_goes_up_in_canonical_form_or_dies_here_with_what_is_behind_it() {
    let far = FarSide::start(|_| (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), false)).await;
    let gate = TestGate::before(far.address, &far.pin).set("access.allow", "127.0.0.0/8").start().await;
    let alice = gate.person("alice").await;
    let cases: Vec<Arc<Case>> = cases(&gate, &alice).into_iter().map(Arc::new).collect();

    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for case in cases.iter().cloned() {
        let permits = permits.clone();
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let ran = timeout(Duration::from_secs(15), case.run()).await;
            let ran = ran.unwrap_or_else(|_| Err("it hangs".to_owned()));
            ran.map_err(|wrong| format!("{}: {wrong}", case.name)).err()
        });
    }
    let mut wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();

    let mut seen: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for request in far.requests() {
        if request.request.target != "/next" {
            let source = request.request.fields.iter().find(|(name, _)| name == "x-forwarded-for").unwrap();
            let source = String::from_utf8(source.1.clone()).unwrap();
            seen.entry(source).or_default().push(request.raw);
        }
    }
    let refusals: Vec<String> = gate.audit().iter().map(ToString::to_string).collect();
    for case in &cases {
        let went_up = seen.remove(&case.source).unwrap_or_default();
        let expected: Vec<Vec<u8>> = case.up.iter().cloned().collect();
        let sorted = |requests: &[Vec<u8>]| requests.iter().map(|raw| in_order(raw)).collect::<Vec<_>>();
        if sorted(&went_up) != sorted(&expected) {
            let shown = |requests: &[Vec<u8>]| {
                requests.iter().map(|raw| raw.escape_ascii().to_string()).collect::<Vec<_>>().join("\n    ")
            };
            wrong.push(format!(
                "{}: went up:\n    {}\n  not\n    {}",
                case.name,
                shown(&went_up),
                shown(&expected)
            ));
        }
        let logged = refusals.iter().filter(|line| line.contains(&format!("\"{}\"", case.source))).count();
        if case.status != 401 && case.status >= 300 && logged != 1 {
            wrong.push(format!("{}: {logged} lines in the audit log", case.name));
        }
    }
    assert!(seen.is_empty(), "from nowhere: {seen:?}");
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 900, "{} cases", cases.len());
}

/// Every row's bytes, as seeds: with names that mean nothing.
fn seeds() -> Vec<Vec<u8>> {
    let words = Words::from([
        ("port", "8443".to_owned()),
        ("name", "pve.lan".to_owned()),
        ("std", "Host: pve.lan:8443¶Origin: https://pve.lan:8443¶".to_owned()),
        ("up", String::new()),
        ("who", "Origin: https://pve.lan:8443¶".to_owned()),
        ("host", "pve.lan:8443".to_owned()),
    ]);
    let rows = rows::parse(REQUESTS);
    rows.iter().flat_map(carried).map(|(_, bytes)| expand(&bytes, &words)).collect()
}

#[test]
fn every_seed_is_read_in_pieces_as_the_oracle_reads_it_whole() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/requests");
    let files: Vec<Vec<u8>> =
        fs::read_dir(dir).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(files.len() > 50, "{} seeds", files.len());

    for bytes in files.iter().chain(&seeds()) {
        differential::agree(bytes, differential::cuts(bytes));
        differential::agree(bytes, std::iter::repeat(1));
        differential::agree(bytes, std::iter::repeat(usize::MAX));
    }
}

/// A change to some bytes, such as an attacker would try.
#[derive(Debug, Clone)]
enum Change {
    Put(u8),
    Replace(u8),
    Delete(usize),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let telling = prop::sample::select(b"\r\n \t\0\x0b:;,0159afFG+-_.#/*%\"\x7f\x80\xffHchunked".to_vec());
    let byte = prop_oneof![4 => telling, 1 => any::<u8>()].boxed();
    let change = prop_oneof![
        byte.clone().prop_map(Change::Put),
        byte.prop_map(Change::Replace),
        (1..20_usize).prop_map(Change::Delete),
        (1..60_usize).prop_map(Change::Repeat),
    ];
    (any::<prop::sample::Index>(), change)
}

fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match change {
            Change::Put(byte) => bytes.insert(at, *byte),
            Change::Replace(byte) => bytes[at] = *byte,
            Change::Delete(length) => drop(bytes.drain(at..bytes.len().min(at + length))),
            Change::Repeat(length) => {
                let again = bytes[at..bytes.len().min(at + length)].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_read_does_not_depend_on_how_it_was_cut_and_is_what_the_oracle_reads(
        picked in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(change(), 0..4)), 1..4),
        pieces in prop::collection::vec(1..200_usize, 1..20),
    ) {
        let seeds = SEEDS.get_or_init(seeds);
        let mut bytes = Vec::new();
        for (seed, changes) in picked {
            bytes.extend(changed(seed.get(seeds).clone(), &changes));
        }
        differential::agree(&bytes, pieces.iter().copied().cycle());
        differential::agree(&bytes, std::iter::repeat(usize::MAX));
    }
}

static SEEDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
