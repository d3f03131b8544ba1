//! A gate called `localhost` at the machine's own time, and programs of this machine that are run against it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use pvegate::{
    demo::fill_pattern,
    time::{Clock as _, SystemClock},
};

use crate::gate::{Ended, Person, Pve, Recipe, TestGate};

/// Seconds after which a program is killed; none that works takes as long.
const PATIENCE: &str = "60";

/// The token that the stand-in knows.
pub(crate) const TOKEN: &str = "root@pam!demo";
pub(crate) const SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";

/// A gate, what is behind it, and somebody who is signed in to both.
pub(crate) struct Far {
    pub(crate) pve: Pve,
    pub(crate) gate: TestGate,
    pub(crate) alice: Person,
}

impl Far {
    pub(crate) async fn start() -> Self {
        Self::with(|recipe| recipe).await
    }

    /// With a rule that lets the token of [`TOKEN`] and [`SECRET`] work on nodes, and nowhere else.
    pub(crate) async fn with_rule() -> Self {
        let rest = "from = [\"127.0.0.1/32\"]\nmethods = [\"GET\", \"POST\", \"PUT\", \"DELETE\"]\n\
                    paths = [\"/api2/json/nodes\", \"/api2/json/nodes/**\", \"/api2/json/nodes/*/vncwebsocket\"]";
        Self::with(|recipe| recipe.rule(TOKEN, SECRET, rest)).await
    }

    async fn with(settings: impl FnOnce(Recipe) -> Recipe) -> Self {
        let pve = Pve::start().await;
        let recipe = TestGate::recipe(&pve).called("localhost").at(SystemClock.now());
        let gate = settings(recipe).start().await;
        let mut alice = gate.person("alice").await;
        alice.sign_in_to_pve().await;
        Self { pve, gate, alice }
    }

    /// `https://localhost:PORT/path`
    pub(crate) fn url(&self, path: &str) -> String {
        self.gate.url() + path
    }

    /// The authority that the program is told to trust, as its owner would download it.
    pub(crate) fn ca(&self) -> String {
        self.file("ca.pem", self.gate.ca_pem.as_bytes())
    }

    /// `Cookie: …`, with the gate's cookie and Proxmox VE's.
    pub(crate) fn cookies(&self) -> String {
        format!("Cookie: {}", self.alice.client.cookies())
    }

    /// `Authorization: …`, with the token.
    pub(crate) fn token(&self) -> String {
        format!("Authorization: PVEAPIToken={TOKEN}={SECRET}")
    }

    /// `CSRFPreventionToken: …`
    pub(crate) fn csrf(&self) -> String {
        format!("CSRFPreventionToken: {}", self.alice.client.carried("csrfpreventiontoken").unwrap())
    }

    /// `Origin: …`, without which a session changes nothing: a script says itself where it belongs.
    pub(crate) fn origin(&self) -> String {
        format!("Origin: {}", self.gate.url())
    }

    /// Writes a file that the program reads; gives its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Where a program may write a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let dir = self.gate.dir().join("client");
        std::fs::create_dir_all(&dir).unwrap();
        dir.join(name)
    }

    /// Runs a program to its end, without the surroundings that could steer it.
    pub(crate) async fn run<S: AsRef<str>>(&self, program: &str, args: &[S]) -> Ended {
        self.feed(program, args, Stdio::null()).await
    }

    /// The same, with something to read on its standard input.
    pub(crate) async fn feed<S: AsRef<str>>(
        &self,
        program: &str,
        args: &[S],
        input: impl Into<Stdio>,
    ) -> Ended {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(program).args(args.iter().map(AsRef::as_ref)).stdin(input);
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        // A home without settings.
        command.env("HOME", self.path(""));
        // Older ones try the address of `localhost` that nobody listens on, and give up.
        command.env("NODE_EXTRA_CA_CERTS", self.ca()).env("NODE_OPTIONS", "--dns-result-order=ipv4first");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// So many bytes that are nowhere the same.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fill_pattern(0, &mut content);
    content
}
