//! Two gates, each a process of its own, on one store: what works once works once for both.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
};

use futures_util::future::join_all;
use pvegate::{
    account::TimeStep,
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};

use crate::harness::{Client, Person, Process, Pve, Scratch, pvegate};

/// A gate that runs by itself.
struct Gate {
    _process: Process,
    config: String,
    address: SocketAddr,
    url: String,
    ca: String,
}

impl Gate {
    /// On a port of the system's choice, with its state in a directory that it shares.
    fn start(scratch: &Scratch, name: &str, pve: &Pve) -> Self {
        let dir = scratch.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (upstream, pin) = (pve.addr(), pve.pin);
        let text = format!(
            "[server]
listen = [\"127.0.0.1:{port}\"]
public_url = \"https://gate.test:{port}\"
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[access]
allow = [\"127.0.0.0/8\"]
[storage]
path = \"{dir}/state/pvegate.db\"
master_key_file = \"{dir}/state/master.key\"
[audit]
file = \"{dir}/state/audit-{name}.jsonl\"
journal = false
"
        );
        let config = format!("{dir}/{name}.toml");
        fs::write(&config, text).unwrap();
        let process = Process::start(&["--config", &config, "serve"]);
        process.logs("ready");
        let ca = fs::read_to_string(scratch.path().join("state/local-ca/ca.pem")).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { _process: process, config, address, url: format!("https://gate.test:{port}"), ca }
    }

    /// A browser at an address of its own, which no other attempt is counted with.
    fn client(&self, number: usize) -> Client {
        let source = format!("127.3.{}.{}", number / 250, number % 250 + 1);
        Client::of_process(self.address, &self.url, &self.ca).from(&source)
    }

    async fn invite(&self, name: &str) -> String {
        let told = pvegate(&["--config", &self.config, "--json", "invite", name]).await.json();
        told.first().unwrap()["enrol_url"].as_str().unwrap().to_owned()
    }
}

/// Sends the same form twenty times at once, to both in turn; says how many were let in.
async fn at_once(gates: [&Gate; 2], from: usize, path: &str, fields: &[(&str, &str)]) -> usize {
    let replies = join_all((0..20).map(|turn| {
        let gate = if turn % 2 == 0 { gates[0] } else { gates[1] };
        let mut client = gate.client(from + turn);
        async move { client.post_form(path, fields).await.status.as_u16() }
    }))
    .await;
    assert!(replies.iter().all(|status| matches!(status, 303 | 403)), "{replies:?}");
    replies.into_iter().filter(|status| *status == 303).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_at_two_gates_one_has_the_code_one_the_recovery_code_and_one_the_link() {
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let one = Gate::start(&scratch, "one", &pve);
    let two = Gate::start(&scratch, "two", &pve);
    let added = pvegate(&["--config", &one.config, "user", "add", "alice", "--admin", "--no-invite"]).await;
    added.ok();

    // Twenty phones scan and prove a code; one of them is enrolled.
    let link = one.invite("alice").await;
    let opened = join_all((0..20).map(|turn| {
        let client = if turn % 2 == 0 { one.client(turn) } else { two.client(turn) };
        let link = link.clone();
        async move {
            let opened = Person::open(client, "alice", &link).await;
            opened.unwrap_or_else(|page| panic!("{}", page.text()))
        }
    }))
    .await;
    let finished = join_all(opened.into_iter().map(|(mut person, state)| async move {
        let code = person.phone.code(step_at(SystemClock.now()));
        let status = person.finish(&state, &code).await.status.as_u16();
        (status, person)
    }))
    .await;
    let mut enrolled: Vec<Person> =
        finished.into_iter().filter(|(status, _)| *status == 303).map(|(_, person)| person).collect();
    assert_eq!(enrolled.len(), 1);
    let alice = enrolled.remove(0);

    let code = alice.phone.code(TimeStep(step_at(SystemClock.now()).0 + 1));
    let fields = [("user", "alice"), ("code", code.as_str())];
    assert_eq!(at_once([&one, &two], 100, "/_gate/sign-in", &fields).await, 1);

    let recovery = alice.codes.last().unwrap().clone();
    let fields = [("user", "alice"), ("code", recovery.as_str())];
    assert_eq!(at_once([&one, &two], 200, "/_gate/recover", &fields).await, 1);
    assert_eq!(pve.connections_seen(), 0);
}
