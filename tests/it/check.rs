//! `pvegate check`: a good host is silent, and every check finds its fault when it is planted.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use pvegate::{
    account::{
        Authenticator, Ceremony, Credential, CredentialKind, Factor, FactorId, InvitationPurpose, Method,
        Role, Scope, Session, SessionId, TimeStep, User,
    },
    demo::Settings,
    secret::MasterKey,
    store::{Added, EnrolledBy, Enrolment, NewInvitation, Spent, SqliteStore, Store as _},
    time::{Clock as _, ManualClock, SystemClock, Timestamp},
    tls::LocalCa,
};
use serde_json::Value;

use crate::harness::{Ended, Process, Pve, Scratch, pvegate_with};

/// An installation that nothing is wrong with, until something is planted.
struct Host {
    scratch: Scratch,
    pve: Pve,
}

impl Host {
    async fn good() -> Self {
        let host = Self::bare(Settings::quick()).await;
        let alice = host.person("alice", Role::Admin);
        host.enrol(&alice, 1, vec![app(&alice, 1), key(&alice, 2, "localhost")]);
        host
    }

    /// With nobody in it.
    async fn bare(far_side: Settings) -> Self {
        let host = Self { scratch: Scratch::new(), pve: Pve::with(far_side).await };
        host.configure("");
        fs::create_dir(host.path("state")).unwrap();
        fs::set_permissions(host.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        MasterKey::read_or_create(&host.path("state/master.key")).unwrap();
        LocalCa::open_or_make(&host.path("state/local-ca"), &"localhost".parse().unwrap(), now()).unwrap();
        host.store();
        host
    }

    /// Writes the configuration, with keys in place of others.
    fn configure(&self, changes: &str) {
        let dir = self.scratch.path().display();
        let mut keys = vec![
            ("server.listen", "[\"127.0.0.1:0\"]".to_owned()),
            ("server.public_url", "\"https://localhost:8443\"".to_owned()),
            // The limit of descriptors is the machine's.
            ("server.max_connections", "100".to_owned()),
            ("upstream.url", format!("\"https://{}\"", self.pve.addr())),
            ("upstream.fingerprint", format!("\"{}\"", self.pve.pin)),
            ("storage.path", format!("\"{dir}/state/pvegate.db\"")),
            ("storage.master_key_file", format!("\"{dir}/state/master.key\"")),
            ("audit.file", format!("\"{dir}/state/audit.jsonl\"")),
        ];
        for line in changes.lines() {
            let (name, value) = line.split_once(" = ").unwrap();
            keys.retain(|(key, _)| *key != name.trim());
            keys.push((name.trim(), value.to_owned()));
        }
        let text: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(self.path("pvegate.toml"), text).unwrap();
        fs::set_permissions(self.path("pvegate.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.path("state/pvegate.db")).unwrap()
    }

    fn person(&self, name: &str, role: Role) -> User {
        match self.store().add_user(&name.parse().unwrap(), role, now()).unwrap() {
            Added::New(user) => user,
            Added::Exists => panic!("{name} is there already"),
        }
    }

    fn enrol(&self, user: &User, number: u8, factors: Vec<Factor>) {
        let mut store = self.store();
        let token_hash = [number; 32];
        let purpose = InvitationPurpose::Enrol;
        let (created_at, expires_at) = (now(), now().plus(Duration::from_secs(3600)));
        store.invite(&NewInvitation { token_hash, user: user.id, purpose, created_at, expires_at }).unwrap();
        let session = Session {
            id: SessionId([number; 32]),
            user: user.id,
            method: Method::Totp,
            password: false,
            device_bound: false,
            scope: Scope::Full,
            created_at,
            expires_at,
            last_active_at: created_at,
            client: "192.0.2.7".parse().unwrap(),
            user_agent: String::new(),
            ended: None,
        };
        let enrolment = Enrolment {
            by: EnrolledBy::Invitation(token_hash),
            factors,
            recovery_codes: Some((0..10).map(|code| [number, code].repeat(16).try_into().unwrap()).collect()),
            password: None,
            session,
        };
        assert_eq!(store.enrol(&enrolment).unwrap(), Spent::First);
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        let config = self.path("pvegate.toml").display().to_string();
        let all = [&["--config", &config, "check", "--json"], args].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    async fn check(&self, args: &[&str]) -> Ended {
        pvegate_with::<String>(&[], &self.args(args)).await
    }

    /// What one check found: severity, text and hint of each finding; and how the program ended.
    async fn found(&self, id: &str) -> (Vec<[String; 3]>, Option<i32>) {
        let ended = self.check(&["--only", id]).await;
        (findings(&ended.stdout, id), ended.code)
    }
}

fn findings(stdout: &str, id: &str) -> Vec<[String; 3]> {
    let objects = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects
        .filter(|object| object["check"] == id)
        .map(|object| [text(&object["severity"]), text(&object["text"]), text(&object["hint"])])
        .collect()
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn app(user: &User, number: u8) -> Factor {
    Factor::Authenticator(Authenticator {
        id: FactorId::of([number; 16]),
        user: user.id,
        name: "Phone".to_owned(),
        sealed_secret: vec![0; 60],
        last_step: TimeStep(1),
        created_at: now(),
        last_used_at: None,
    })
}

fn key(user: &User, number: u8, relying_party: &str) -> Factor {
    let credential = Credential {
        id: FactorId::of([number; 16]),
        user: user.id,
        kind: CredentialKind::Passkey,
        name: "Key".to_owned(),
        relying_party: relying_party.to_owned(),
        credential_id: vec![number; 32],
        record: "{}".to_owned(),
        counter: 0,
        synced: false,
        aaguid: [0; 16],
        transports: Vec::new(),
        created_at: now(),
        last_used_at: None,
        last_used_from: None,
    };
    let expires_at = now().plus(Duration::from_secs(60));
    Factor::Credential(Box::new(credential), Ceremony { hash: [number; 32], expires_at })
}

#[tokio::test]
async fn a_good_host_is_silent() {
    let host = Host::good().await;

    let ended = host.check(&[]).await;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let severities: Vec<(String, String)> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|object| (object["check"].to_string(), object["severity"].as_str().unwrap().to_owned()))
        .collect();
    assert!(
        severities.iter().all(|(_, severity)| severity == "ok" || severity == "info"),
        "{}",
        ended.stdout
    );
    assert_eq!(severities.len(), 14, "{}", ended.stdout);
}

#[tokio::test]
async fn people_read_a_line_a_check_and_a_sum() {
    let host = Host::good().await;
    fs::set_permissions(host.path("state/master.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut args = host.args(&["--only", "config,files"]);
    args.retain(|arg| arg != "--json");

    let ended = pvegate_with(&[], &args).await;

    let dir = host.scratch.path().display();
    assert_eq!(
        ended.stdout,
        format!(
            " ✓ config     {dir}/pvegate.toml, 8 keys set
 ✗ files      {dir}/state/master.key has mode 0640: others can read a key
              chmod 600 {dir}/state/master.key
 2 checks: 1 ok, 1 problem
"
        )
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(3), "pvegate: a check found a problem\n"));
}

#[tokio::test]
async fn a_configuration_that_is_wrong_ends_it_and_a_doubtful_one_is_told() {
    let host = Host::good().await;
    host.configure("session.console_idle = \"13h\"");

    let (doubtful, code) = host.found("config").await;
    assert_eq!((doubtful[0][0].as_str(), code), ("warning", Some(0)), "{doubtful:?}");
    assert!(doubtful[0][1].contains("session.console_idle"), "{doubtful:?}");

    host.configure("session.idle = \"soon\"");
    assert_eq!(host.check(&[]).await.code, Some(78));
}

#[tokio::test]
async fn a_key_that_others_can_read_is_found_and_mended() {
    let host = Host::good().await;
    let key = host.path("state/master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();

    let (found, code) = host.found("files").await;
    let mended = host.check(&["--only", "files", "--fix"]).await;

    assert_eq!((found[0][0].as_str(), code), ("problem", Some(3)));
    assert_eq!(found[0][2], format!("chmod 600 {}", key.display()));
    assert_eq!(mended.code, Some(0), "{mended:?}");
    let fixed: Value = serde_json::from_str(mended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(fixed["fixed"], format!("chmod 600 {} (was 644)", key.display()));
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn a_mend_follows_no_link() {
    let host = Host::good().await;
    let target = host.path("precious");
    fs::write(&target, "").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(host.path("state/master.key")).unwrap();
    std::os::unix::fs::symlink(&target, host.path("state/master.key")).unwrap();

    let ended = host.check(&["--only", "files", "--fix"]).await;

    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("not mended"), "{ended:?}");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o644);
}

#[tokio::test]
async fn whoever_has_the_port_is_named() {
    let host = Host::good().await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    host.configure(&format!("server.listen = [\"{address}\"]"));

    let (found, code) = host.found("ports").await;

    let name = fs::read_to_string("/proc/self/comm").unwrap();
    let taken = format!("{address} is taken by {} (pid {})", name.trim(), std::process::id());
    assert_eq!((found[0][0].as_str(), found[0][1].as_str(), code), ("problem", taken.as_str(), Some(3)));
}

#[tokio::test]
async fn the_gate_itself_is_not_in_the_way() {
    let host = Host::good().await;
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    host.configure(&format!("server.listen = [\"{address}\"]"));
    drop(held);
    let config = host.path("pvegate.toml").display().to_string();
    let gate = Process::start(&["--config", &config, "serve"]);
    gate.logs("ready");

    let (found, code) = host.found("ports").await;

    assert_eq!((found[0][0].as_str(), code), ("ok", Some(0)), "{found:?}");
    assert!(found[0][1].starts_with(&format!("{address}, the running gate (pid ")), "{found:?}");
}

#[tokio::test]
async fn certificate_files_are_looked_into() {
    let host = Host::good().await;
    let pair = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (own, other) = (pair(), pair());
    let write = |name: &str, text: String| {
        fs::write(host.path(name), text).unwrap();
        fs::set_permissions(host.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("cert.pem", own.cert.pem());
    write("own.key", own.signing_key.serialize_pem());
    write("other.key", other.signing_key.serialize_pem());
    let with = |key: &str| {
        let dir = host.scratch.path().display();
        format!(
            "tls.source = \"files\"\ntls.cert = \"{dir}/cert.pem\"\ntls.key = \"{dir}/{key}\"\n\
             server.aliases = [\"pve.lan\"]"
        )
    };

    host.configure(&with("own.key"));
    let (own, _) = host.found("tls").await;
    host.configure(&with("other.key"));
    let (other, code) = host.found("tls").await;

    let texts: Vec<_> = own.iter().map(|found| (found[0].as_str(), found[1].as_str())).collect();
    assert_eq!(
        texts,
        [
            ("warning", "the certificate does not cover pve.lan"),
            ("warning", "no authority of this system vouches for the certificate"),
        ]
    );
    assert_eq!((other[0][0].as_str(), code), ("problem", Some(3)));
    assert!(other[0][1].contains("belongs to no certificate"), "{other:?}");
}

#[tokio::test]
async fn passkeys_of_another_name_are_counted() {
    let host = Host::good().await;
    let bob = host.person("bob", Role::User);
    host.enrol(&bob, 3, vec![key(&bob, 4, "old.example"), key(&bob, 5, "old.example")]);

    let (found, code) = host.found("webauthn").await;

    let text = "2 passkeys were made for old.example and can't sign anybody in at localhost";
    assert_eq!((found[0][0].as_str(), found[0][1].as_str(), code), ("problem", text, Some(3)));
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told() {
    let host = Host::good().await;
    host.configure("server.public_url = \"https://gate.invalid\"");

    let (found, code) = host.found("dns").await;

    assert_eq!((found[0][0].as_str(), code), ("warning", Some(0)), "{found:?}");
    assert!(found[0][1].starts_with("gate.invalid does not resolve here"), "{found:?}");
}

#[tokio::test]
async fn a_node_with_another_certificate_and_one_that_is_down_are_problems() {
    let host = Host::good().await;
    let wrong = ["00"; 32].join(":");
    host.configure(&format!("upstream.fingerprint = \"{wrong}\""));

    let (other, code) = host.found("upstream").await;
    assert_eq!((other[0][0].as_str(), code), ("problem", Some(3)), "{other:?}");
    assert!(other[0][2].contains("pvegate fingerprint"), "{other:?}");

    host.configure("upstream.url = \"https://127.0.0.1:1\"");
    let (down, code) = host.found("upstream").await;
    assert_eq!((down[0][0].as_str(), code), ("problem", Some(3)), "{down:?}");
    assert!(down[0][1].starts_with("127.0.0.1:1: no connection"), "{down:?}");
}

#[tokio::test]
async fn the_clock_is_compared_with_proxmox_ves() {
    for (behind, severity, code) in [(9, "warning", Some(0)), (60, "problem", Some(3))] {
        let clock = Arc::new(ManualClock::at(now().minus(Duration::from_secs(behind))));
        let host = Host::bare(Settings { clock, ..Settings::quick() }).await;

        let (found, ended) = host.found("clock").await;

        assert_eq!((found[0][0].as_str(), ended), (severity, code), "{found:?}");
        assert!(found[0][1].contains(" s ahead of the upstream"), "{found:?}");
    }
}

#[tokio::test]
async fn whoever_is_logged_in_from_a_refused_address_is_told_so() {
    let host = Host::good().await;
    let from = |peer: &str| format!("{peer} 50000 192.0.2.2 22");
    let args = host.args(&["--only", "access"]);

    let outside = pvegate_with(&[("SSH_CONNECTION", &from("203.0.113.9"))], &args).await;
    let inside = pvegate_with(&[("SSH_CONNECTION", &from("192.168.1.7"))], &args).await;

    let found = findings(&outside.stdout, "access");
    assert_eq!(found[0][0], "warning");
    assert!(found[0][1].starts_with("you are logged in from 203.0.113.9"), "{found:?}");
    let found = findings(&inside.stdout, "access");
    assert_eq!(found[0][0], "ok");
    assert!(found[0][1].ends_with("you (192.168.1.7) among them"), "{found:?}");
}

#[tokio::test]
async fn a_side_door_on_this_host_is_found() {
    let host = Host::good().await;
    let ours = nix::ifaddrs::getifaddrs().unwrap().filter_map(|interface| {
        let v4 = interface.address?.as_sockaddr_in().map(|v4| v4.ip());
        v4.filter(|ip| !ip.is_loopback() && !ip.is_link_local())
    });
    let Some(ip) = ours.into_iter().next() else {
        eprintln!("SKIPPED: this machine has no address but loopback, so there can be no side door");
        return;
    };
    let door = SocketAddr::new(IpAddr::V4(ip), host.pve.addr().port());
    let _open = TcpListener::bind(door).unwrap();

    let (found, code) = host.found("sidedoor").await;

    let text = format!("https://{door} still answers without the gate");
    assert_eq!((found[0][0].as_str(), found[0][1].as_str(), code), ("warning", text.as_str(), Some(0)));
}

#[tokio::test]
async fn people_whom_one_loss_shuts_out_are_named() {
    let host = Host::bare(Settings::quick()).await;
    let (nobody, code) = host.found("users").await;
    assert_eq!(nobody[0][..2], ["problem", "no administrator can sign in"]);
    assert_eq!(code, Some(3));
    let alice = host.person("alice", Role::Admin);
    host.enrol(&alice, 1, vec![app(&alice, 1)]);

    let (single, code) = host.found("users").await;

    assert_eq!(single[0][..2], ["warning", "one sign-in method only: alice"]);
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn an_audit_file_that_can_not_be_written_is_a_problem() {
    let host = Host::good().await;
    host.configure("audit.file = \"/nowhere/audit.jsonl\"");

    let (found, code) = host.found("audit").await;

    assert_eq!((found[0][0].as_str(), code), ("problem", Some(3)));
    assert!(found[0][1].starts_with("/nowhere/audit.jsonl can't be written"), "{found:?}");
}

#[tokio::test]
async fn too_few_descriptors_are_told_by_the_check_and_by_the_gate() {
    let host = Host::good().await;
    let config = host.path("pvegate.toml").display().to_string();

    let check = Process::start_with_descriptors(128, &host.args(&["--only", "limits"]));
    let gate = Process::start_with_descriptors(128, &["--config", &config, "serve"]);

    let found = findings(&check.line(), "limits");
    assert_eq!(found[0][..2], ["warning", "128 descriptors; 100 connections may need 264"]);
    gate.logs("fewer descriptors than connections may need");
}

#[tokio::test]
async fn the_gate_raises_its_soft_limit_itself() {
    let host = Host::good().await;
    let config = host.path("pvegate.toml").display().to_string();
    let gate = Process::start_with_soft_descriptors(128, &["--config", &config, "serve"]);
    gate.logs("ready");

    let (soft, hard) = gate.descriptor_limits();

    assert_eq!(soft, hard);
    assert!(!gate.said().contains("fewer descriptors"), "{}", gate.said());
}

#[tokio::test]
async fn checks_are_chosen_by_name() {
    let host = Host::good().await;

    let skipped = host.check(&["--skip", "upstream,clock,dns,sidedoor"]).await.ok();
    let unknown = host.check(&["--only", "everything"]).await;

    assert!(findings(&skipped, "upstream").is_empty());
    assert_eq!(findings(&skipped, "files").len(), 1);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("config, files, ports, tls"), "{unknown:?}");
}

#[tokio::test]
async fn looking_makes_nothing() {
    let host = Host::bare(Settings::quick()).await;
    fs::remove_dir_all(host.path("state")).unwrap();
    fs::create_dir(host.path("state")).unwrap();

    host.check(&[]).await;

    assert_eq!(fs::read_dir(host.path("state")).unwrap().count(), 0);
}

#[tokio::test]
async fn watching_tells_what_changes() {
    let host = Host::good().await;
    let watching = Process::start(&host.args(&["--only", "files", "--watch=1"]));
    assert_eq!(findings(&watching.line(), "files")[0][0], "ok");
    fs::set_permissions(host.path("state/master.key"), fs::Permissions::from_mode(0o604)).unwrap();

    let told = findings(&watching.line(), "files");

    assert_eq!(told[0][0], "problem");
    assert_eq!(watching.terminate(), Some(0));
}
