//! What the gate acknowledged is on disk: the program is killed (SIGKILL) the moment its answer is there,
//! and started again on the same directory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, net::SocketAddr};

use pvegate::{
    account::TimeStep,
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};
use serde_json::Value;

use crate::harness::{Client, Person, Process, Scratch};

/// A demo that runs: the whole program with its own store. Dropping it kills it.
struct Running {
    _process: Process,
    link: String,
    client: Client,
}

/// Starts the program on this directory, as for the first time or again.
fn start(scratch: &Scratch) -> Running {
    let dir = scratch.path().join("demo").display().to_string();
    let process = Process::start(&["demo", "--json", "--listen", "127.0.0.1:0", "--dir", &dir]);
    let told: Value = serde_json::from_str(&process.line()).unwrap();
    let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap().to_owned();
    let url = text("url");
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Client::of_process(address, &url, &fs::read_to_string(text("ca")).unwrap());
    Running { _process: process, link: text("enrol_url"), client }
}

impl Running {
    /// A browser with this person's cookies.
    fn browser_of(&self, person: &Person) -> Client {
        let mut client = self.client.clone();
        for name in [pvegate::names::SESSION_COOKIE, pvegate::names::DEVICE_COOKIE] {
            if let Some(value) = person.client.cookie(name) {
                client.set_cookie(name, value);
            }
        }
        client
    }
}

/// The code of the current time step, or of the next, which is good already.
fn code(person: &Person, ahead: u64) -> String {
    person.phone.code(TimeStep(step_at(SystemClock.now()).0 + ahead))
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_spent_works_again_when_the_gate_is_killed() {
    let scratch = Scratch::new();

    // A link, a phone, recovery codes, a session.
    let gate = start(&scratch);
    let link = gate.link.clone();
    let opened = Person::open(gate.client.clone(), "admin", &link).await;
    let (mut admin, state) = opened.unwrap_or_else(|page| panic!("{}", page.text()));
    let first = code(&admin, 0);
    let enrolled = admin.finish(&state, &first).await;
    drop(gate);
    assert_eq!(enrolled.status, 303, "{}", enrolled.text());

    let gate = start(&scratch);
    admin.client = gate.browser_of(&admin);
    assert_eq!(admin.client.get("/_gate/").await.status, 200, "the session is there");
    let again = Person::open(gate.client.clone(), "admin", &link).await;
    assert_eq!(again.map(|_| ()).unwrap_err().status, 403, "the link is spent");
    assert_eq!(admin.sign_in_with(&first).await.status, 403, "the code of the enrolment is spent");

    // A code.
    let next = code(&admin, 1);
    let signed_in = admin.sign_in_with(&next).await;
    drop(gate);
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());

    let gate = start(&scratch);
    admin.client = gate.browser_of(&admin);
    assert_eq!(admin.client.get("/_gate/").await.status, 200, "the session is there");
    assert_eq!(admin.sign_in_with(&next).await.status, 403, "the code is spent");

    // A recovery code.
    let recovery = admin.codes.last().unwrap().clone();
    let fields = [("user", "admin"), ("code", recovery.as_str())];
    let recovered = admin.client.post_form("/_gate/recover", &fields).await;
    drop(gate);
    assert_eq!(recovered.status, 303, "{}", recovered.text());

    let gate = start(&scratch);
    admin.client = gate.browser_of(&admin);
    assert_eq!(admin.client.get("/_gate/").await.status, 200, "the session is there");
    let fields = [("user", "admin"), ("code", recovery.as_str())];
    assert_eq!(admin.client.post_form("/_gate/recover", &fields).await.status, 403, "the code is spent");

    // A sign-out.
    let signed_out = admin.client.clone().post_form("/_gate/sign-out", &[]).await;
    drop(gate);
    assert_eq!(signed_out.status, 200);

    let gate = start(&scratch);
    let mut client = gate.browser_of(&admin);
    assert_eq!(client.get("/_gate/").await.status, 401, "the session is over");
}
