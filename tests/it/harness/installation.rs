//! A gate as administrators have it: a configuration file, directories of its own, and the real program on
//! them.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use pvegate::{
    account::TimeStep,
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};

use super::{Client, Ended, Person, Process, Pve, Scratch, pvegate, pvegate_told};

/// What is on one host.
pub struct Installation {
    scratch: Scratch,
    address: SocketAddr,
    url: String,
}

impl Installation {
    /// A fresh host: nothing there but the configuration.
    pub fn new(pve: &Pve) -> Self {
        let address = free_address();
        Self::called(pve, address, &format!("https://gate.test:{}", address.port()))
    }

    /// Another fresh host, which is to take the place of this one: the same URL.
    pub fn in_place_of(other: &Self, pve: &Pve) -> Self {
        Self::called(pve, free_address(), &other.url)
    }

    fn called(pve: &Pve, address: SocketAddr, url: &str) -> Self {
        let installation = Self { scratch: Scratch::new(), address, url: url.to_owned() };
        let dir = installation.scratch.path().display();
        let text = format!(
            "[server]
listen = [\"{address}\"]
public_url = \"{url}\"
[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"
[access]
allow = [\"127.0.0.0/8\"]
[limits]
sign_ins = 10000
[storage]
path = \"{dir}/state/pvegate.db\"
master_key_file = \"{dir}/state/master.key\"
[audit]
file = \"{dir}/log/audit.jsonl\"
journal = false
",
            upstream = pve.addr(),
            pin = pve.pin,
        );
        fs::create_dir(installation.scratch.path().join("log")).unwrap();
        fs::write(installation.config(), text).unwrap();
        installation
    }

    /// Everything that it keeps.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("pvegate.toml")
    }

    pub fn store(&self) -> PathBuf {
        self.dir().join("state/pvegate.db")
    }

    pub fn master_key(&self) -> PathBuf {
        self.dir().join("state/master.key")
    }

    /// The program, serving. It is killed when this is dropped.
    pub fn serve(&self) -> Process {
        let process = Process::start(&["--config", self.config().to_str().unwrap(), "serve"]);
        process.logs("ready");
        process
    }

    /// A verb, with its arguments.
    pub async fn run(&self, args: &[&str]) -> Ended {
        let config = self.config();
        pvegate(&[&["--config", config.to_str().unwrap()], args].concat()).await
    }

    /// The same, with this on its stdin.
    pub async fn run_told(&self, stdin: &str, args: &[&str]) -> Ended {
        let config = self.config();
        pvegate_told(stdin, &[&["--config", config.to_str().unwrap()], args].concat()).await
    }

    /// A browser that trusts the gate's authority.
    pub fn client(&self) -> Client {
        let ca = fs::read_to_string(self.dir().join("state/local-ca/ca.pem")).unwrap();
        Client::of_process(self.address, &self.url, &ca)
    }

    /// A browser with somebody's cookies.
    pub fn browser_of(&self, person: &Person) -> Client {
        let mut client = self.client();
        for name in [pvegate::names::SESSION_COOKIE, pvegate::names::DEVICE_COOKIE] {
            if let Some(value) = person.client.cookie(name) {
                client.set_cookie(name, value);
            }
        }
        client
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds an administrator, who enrols with a phone and is signed in.
    pub async fn administrator(&self, name: &str) -> Person {
        self.run(&["user", "add", name, "--admin", "--no-invite"]).await.ok();
        let link = self.link(&["invite", name]).await;
        self.enrolled(name, &link).await
    }

    /// A link, as a verb prints it.
    pub async fn link(&self, args: &[&str]) -> String {
        let told = self.run(&[&["--json"], args].concat()).await.json();
        told[0]["enrol_url"].as_str().unwrap().to_owned()
    }

    /// Takes up a link with a new phone.
    pub async fn enrolled(&self, name: &str, link: &str) -> Person {
        let opened = Person::open(self.client(), name, link).await;
        let (mut person, state) = opened.unwrap_or_else(|page| panic!("{}", page.text()));
        let code = code_now(&person, 0);
        let reply = person.finish(&state, &code).await;
        assert_eq!(reply.status, 303, "{}", reply.text());
        person
    }
}

/// What a phone shows so many steps from now: the next one is good already, and later than any that was used.
pub fn code_now(person: &Person, ahead: u64) -> String {
    person.phone.code(TimeStep(step_at(SystemClock.now()).0 + ahead))
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
