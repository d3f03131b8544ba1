//! systemd's units, and what we tell and take from the service manager.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use super::{run, shipped};
use crate::harness::{Client, Process, Pve, Scratch, pvegate, until};

/// The shipped units with the program of this build, which is where they say on no machine of ours.
fn units(scratch: &Scratch) -> (String, String) {
    let service = fs::read_to_string(shipped("systemd/pvegate.service")).unwrap();
    let program = env!("CARGO_BIN_EXE_pvegate");
    assert!(service.contains("ExecStart=/usr/bin/pvegate serve"));
    // No manual page is installed here.
    let here = |text: &str| {
        text.replace("/usr/bin/pvegate", program).replace("man:pvegate(1)", "https://example.com")
    };
    let paths = ["pvegate.service", "pvegate.socket"].map(|name| {
        let path = scratch.path().join(name);
        let text = fs::read_to_string(shipped("systemd").join(name)).unwrap();
        fs::write(&path, here(&text)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    paths.into()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let scratch = Scratch::new();
    let (service, socket) = units(&scratch);

    let said = run("systemd-analyze", &["verify", &service, &socket]);

    assert_eq!(said, "");
}

#[test]
fn the_service_is_exposed_to_as_little_as_was_decided() {
    let scratch = Scratch::new();
    let (service, _) = units(&scratch);

    // Tenths: 1.3. It fails above.
    run("systemd-analyze", &["security", "--offline=yes", "--threshold=13", "--no-pager", &service]);

    // And with the addresses in the kernel's hands: 1.0.
    let example =
        fs::read_to_string(shipped("systemd/pvegate.service.d/private-networks.conf.example")).unwrap();
    let stricter = fs::read_to_string(&service).unwrap() + &example;
    let path = scratch.path().join("stricter.service");
    fs::write(&path, stricter).unwrap();
    run(
        "systemd-analyze",
        &["security", "--offline=yes", "--threshold=10", "--no-pager", path.to_str().unwrap()],
    );
}

#[test]
fn the_user_and_the_directories_are_what_their_programs_take() {
    let scratch = Scratch::new();
    let root = format!("--root={}", scratch.path().display());
    let at = |name: &str| shipped(&format!("systemd/{name}")).display().to_string();
    fs::create_dir_all(scratch.path().join("etc")).unwrap();

    run("systemd-sysusers", &[&root, &at("sysusers.d/pvegate.conf")]);

    let users = fs::read_to_string(scratch.path().join("etc/passwd")).unwrap();
    assert!(users.contains("pvegate:") && users.contains("/usr/sbin/nologin"), "{users}");
    if nix::unistd::geteuid().is_root() {
        run("systemd-tmpfiles", &[&root, "--create", &at("tmpfiles.d/pvegate.conf")]);
        assert!(scratch.path().join("var/lib/pvegate").is_dir());
    }
}

/// A directory with a configuration for a gate in front of `pve`, at an address that is `listen`.
fn configured(pve: &Pve, listen: SocketAddr, public: u16) -> (Scratch, String) {
    let scratch = Scratch::new();
    let dir = scratch.path().display();
    let text = format!(
        "[server]
listen = [\"{listen}\"]
public_url = \"https://gate.test:{public}\"
[upstream]
url = \"https://{}\"
fingerprint = \"{}\"
[storage]
path = \"{dir}/state/pvegate.db\"
master_key_file = \"{dir}/state/master.key\"
[audit]
file = \"{dir}/state/audit.jsonl\"
",
        pve.addr(),
        pve.pin
    );
    let config = scratch.path().join("pvegate.toml");
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap().to_owned();
    (scratch, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_hears_when_we_are_ready_alive_and_stopping() {
    let pve = Pve::start().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (scratch, config) = configured(&pve, SocketAddr::from(([127, 0, 0, 1], port)), port);
    let ear = scratch.path().join("notify");
    let heard = UnixDatagram::bind(&ear).unwrap();
    heard.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let next = || {
        let mut bytes = [0; 1024];
        let length = heard.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(bytes.get(..length).unwrap()).into_owned()
    };

    let variables = [("NOTIFY_SOCKET", ear.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let process = Process::start_in(&variables, &["--config", &config, "serve"]);
    let mut said = Vec::new();
    while said.iter().filter(|it| *it == "WATCHDOG=1").count() < 3 {
        said.extend(next().lines().map(str::to_owned));
    }
    let ended = tokio::task::spawn_blocking(move || process.terminate());
    while !said.iter().any(|it| it == "STOPPING=1") {
        said.extend(next().lines().map(str::to_owned));
    }

    assert_eq!(ended.await.unwrap(), Some(0));
    assert!(said.iter().any(|it| it == "READY=1"), "{said:?}");
    let status = format!("STATUS=https://gate.test:{port} in front of {}", pve.addr());
    assert!(said.contains(&status), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_passed_stands_in_place_of_the_configured_address() {
    let pve = Pve::start().await;
    // Somebody has the configured address: binding it would end the start.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (scratch, config) = configured(&pve, taken.local_addr().unwrap(), port);
    pvegate(&["--config", &config, "user", "add", "alice"]).await.ok();
    let address = SocketAddr::from(([127, 0, 0, 1], port));

    let _manager = Process::start_by(
        "systemd-socket-activate",
        &["--listen", &address.to_string(), "--fdname", "https"],
        &["--config", &config, "serve"],
    );
    // It starts the gate at the first connection, which stays in the socket's queue until somebody takes it.
    until("the socket listens", async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
    let ca = scratch.path().join("state/local-ca/ca.pem");
    until("the gate began", async || ca.exists()).await;
    let mut client =
        Client::of_process(address, &format!("https://gate.test:{port}"), &fs::read_to_string(ca).unwrap());

    assert_eq!(client.get("/_gate/healthz").await.status, 200);
    assert_eq!(client.get("/api2/json/version").await.status, 401);
    assert_eq!(pve.requests_seen(), 0);
}

#[test]
fn a_socket_with_a_name_that_says_nothing_ends_the_start_with_the_reason() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pve = runtime.block_on(Pve::start());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (_scratch, config) = configured(&pve, address, port);

    let manager = Process::start_by(
        "systemd-socket-activate",
        &["--listen", &address.to_string(), "--fdname", "pvegate.socket"],
        &["--config", &config, "serve"],
    );
    runtime.block_on(until("the socket listens", async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    }));

    manager.logs("FileDescriptorName= says `https`");
}
