//! The units under a real systemd, as process 1 of a small Debian of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use pvegate::{
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};

use super::{shipped, skipped};
use crate::harness::{Client, Person, Pve, Scratch, packages, until};

/// A Debian that is booted, on the network of this machine. It is switched off when this is dropped.
struct Machine {
    nspawn: Child,
    /// Its process 1, as we see it.
    init: String,
    log: PathBuf,
}

impl Machine {
    /// `root` stays as it is: what changes is in memory. `binds` are files of ours and where they are there.
    async fn boot(root: &Path, scratch: &Scratch, binds: &[(PathBuf, &str)]) -> Self {
        let log = scratch.path().join("console");
        let console = || Stdio::from(fs::OpenOptions::new().create(true).append(true).open(&log).unwrap());
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe"]);
        nspawn.args(binds.iter().map(|(ours, theirs)| format!("--bind-ro={}:{theirs}", ours.display())));
        nspawn.arg("--directory").arg(root).arg("--boot");
        // What a gate has nothing to do with only makes the boot longer.
        nspawn.arg("systemd.mask=systemd-logind.service");
        let nspawn = nspawn.stdin(Stdio::null()).stdout(console()).stderr(console()).spawn().unwrap();
        let parent = nspawn.id();
        let mut machine = Self { nspawn, init: String::new(), log };
        until("the machine's process 1 is there", async || {
            let children = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            machine.init = children.split_whitespace().next().unwrap_or_default().to_owned();
            // Before it comes one that only sets up namespaces.
            let name = fs::read_to_string(format!("/proc/{}/comm", machine.init)).unwrap_or_default();
            name.trim() == "systemd"
        })
        .await;
        until("systemd answers", async || {
            machine.inside("systemctl --version && systemctl list-jobs").status.success()
        })
        .await;
        // Waits for the end of the boot; "degraded" is some unit of Debian's that has no place here.
        let state = machine.ask("systemctl is-system-running --wait");
        assert!(matches!(&*state, "running" | "degraded"), "{state}: {}", machine.console());
        machine
    }

    fn inside(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args([
            "--target", &self.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/",
        ]);
        command.args(["sh", "-ec", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().unwrap()
    }

    /// What a script prints in it, however it ends.
    fn ask(&self, script: &str) -> String {
        String::from_utf8_lossy(&self.inside(script).stdout).trim().to_owned()
    }

    /// What a script prints in it. It must succeed.
    #[track_caller]
    fn run(&self, script: &str) -> String {
        let ran = self.inside(script);
        assert!(
            ran.status.success(),
            "{script}: {}\n{}\n{}",
            String::from_utf8_lossy(&ran.stderr),
            self.ask("journalctl --no-pager --lines=60 --output=cat"),
            self.console()
        );
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// A property of the service.
    fn property(&self, name: &str) -> String {
        self.run(&format!("systemctl show --property={name} --value pvegate.service"))
    }

    fn console(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its process 1 everything in it ends; one that did not come so far ends with nspawn.
        let _ = Command::new("kill").args(["-KILL", &self.init]).status();
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

/// The blocks of commands of a page, in order.
fn commands<const N: usize>(page: &str) -> [String; N] {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = text.split("```sh test\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks: Vec<String> = blocks.collect();
    blocks.try_into().unwrap_or_else(|found: Vec<String>| panic!("{page}: {} blocks", found.len()))
}

/// The small Debian that `bash tests/run` makes, where it can.
fn debian() -> Option<PathBuf> {
    let root = packages().join("machine");
    root.join("installed").is_file().then_some(root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_systemd_starts_watches_and_restarts_the_gate_and_nobody_is_signed_out() {
    let Some(root) = debian() else {
        skipped(
            "the units under a real systemd",
            "target/tests/machine is not there: no root, or no debootstrap",
        );
        return;
    };
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let config = scratch.path().join("pvegate.toml");
    let (upstream, pin) = (pve.addr(), pve.pin);
    // Nothing else is said: paths, the key, the audit file are where the unit has them.
    let text = format!(
        "[server]\npublic_url = \"https://gate.test:{port}\"\n\n[upstream]\nurl = \"https://{upstream}\"\nfingerprint = \"{pin}\"\n"
    );
    fs::write(&config, text).unwrap();
    let machine = Machine::boot(
        &root,
        &scratch,
        &[
            (env!("CARGO_BIN_EXE_pvegate").into(), "/root/sources/target/release/pvegate"),
            (shipped("systemd"), "/root/sources/deploy/systemd"),
            (config, "/root/pvegate.toml"),
        ],
    )
    .await;

    // What people type is what the page says.
    let [put_in_place, validate, begin, _look, undo] = commands("docs/quick-start-node.md");
    machine.run(&format!("cd /root/sources\n{put_in_place}"));

    // Without the key it does not start, and the reason can be read.
    machine.run("cp /root/pvegate.toml /etc/pvegate/ && chmod 0644 /etc/pvegate/pvegate.toml");
    machine.run(&format!(
        "mkdir -p /etc/systemd/system/pvegate.socket.d /etc/systemd/system/pvegate.service.d
         printf '[Socket]\\nListenStream=\\nListenStream=127.0.0.1:{port}\\n' > /etc/systemd/system/pvegate.socket.d/port.conf
         printf '[Service]\\nWatchdogSec=2s\\n' > /etc/systemd/system/pvegate.service.d/watchdog.conf
         systemctl daemon-reload"
    ));
    assert!(!machine.inside("systemctl start pvegate.service").status.success());
    assert_eq!(machine.property("AssertResult"), "no");

    // An administrator's verbs come first, as root, and make the key; then the service starts by its socket.
    machine.run(&validate);
    let told = machine.run(&begin);
    let link = told.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned();
    assert_eq!(machine.run("stat --format=%U:%a /etc/pvegate/master.key"), "root:600");
    assert_eq!(machine.run("systemctl is-enabled pvegate.socket"), "enabled");
    assert_eq!(machine.property("ActiveState"), "inactive");
    until("the socket starts the service", async || tokio::net::TcpStream::connect(address).await.is_ok())
        .await;
    until("the service is ready", async || machine.property("ActiveState") == "active").await;
    assert_eq!(machine.property("StatusText"), format!("https://gate.test:{port} in front of {upstream}"));
    let owners = machine
        .run("stat --format=%U:%a /var/lib/pvegate /var/lib/pvegate/pvegate.db /var/log/pvegate/audit.jsonl");
    assert_eq!(owners.lines().collect::<Vec<_>>(), ["pvegate:700", "pvegate:600", "pvegate:640"]);

    // Somebody enrols, and works.
    let ca = machine.run("cat /var/lib/pvegate/local-ca/ca.pem");
    let client = Client::of_process(address, &format!("https://gate.test:{port}"), &ca);
    let (mut alice, state) = Person::open(client, "alice", &link).await.unwrap();
    let code = alice.phone.code(step_at(SystemClock.now()));
    let enrolled = alice.finish(&state, &code).await;
    assert_eq!(enrolled.status, 303, "{}", enrolled.text());
    assert_eq!(alice.client.get("/").await.status, 200);

    // A restart signs nobody out, and nobody who connects meanwhile is refused.
    let before = machine.property("MainPID");
    machine.run("systemctl restart pvegate.service");
    assert_ne!(machine.property("MainPID"), before);
    assert_eq!(alice.client.get("/").await.status, 200);

    // Whoever hangs is started anew.
    let before = machine.property("MainPID");
    machine.run(&format!("kill -STOP {before}"));
    until("the watchdog saw it", async || {
        machine.property("MainPID") != before && machine.property("ActiveState") == "active"
    })
    .await;
    assert_eq!(alice.client.get("/").await.status, 200);

    // What the service can't do, whoever takes it over: read root's key, write to /etc, gain a capability.
    let main = machine.property("MainPID");
    let status = machine.run(&format!("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/{main}/status"));
    let fields: Vec<_> = status.split_whitespace().collect();
    assert_eq!(fields, ["CapBnd:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]);
    let mounts = machine
        .run(&format!("grep -E ' / / | /etc ' /proc/{main}/mountinfo || grep ' / ' /proc/{main}/mountinfo"));
    assert!(mounts.lines().all(|line| line.contains(" ro,")), "{mounts}");

    // A wrong configuration is told once, and not tried again and again.
    machine.run("echo 'nonsense' >> /etc/pvegate/pvegate.toml");
    assert!(!machine.inside("systemctl restart pvegate.service").status.success());
    assert_eq!(machine.property("ExecMainStatus"), "78");
    assert_eq!(machine.property("SubState"), "failed");
    assert!(machine.ask("journalctl --unit=pvegate.service --output=cat --no-pager").contains("E0104"));

    // And it is undone without a trace.
    machine.run(&undo);
    let left = machine.ask(
        "find / -xdev -name '*pvegate*' | grep -vE '^/(root|proc|run)/|^/etc/systemd/system/pvegate[.][a-z]+[.]d$'",
    );
    assert_eq!(left, "");
    assert!(!machine.inside("getent passwd pvegate").status.success());
}
