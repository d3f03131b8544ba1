//! What is shipped under deploy/ for logs, with the real programs and what a real gate wrote.
//!
//! `bash tests/run` unpacks their packages into `target/tests/debian`: nothing is installed, no daemon starts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Output},
    time::Duration,
};

use super::shipped;
use crate::{
    audit::sinks::entry,
    harness::{Client, Process, Pve, Scratch, TestGate, packages, pvegate, until},
};

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn debian() -> PathBuf {
    let path = packages().join("debian");
    assert!(path.is_dir(), "{} is not there; `bash tests/run` makes it", path.display());
    path
}

/// A program of an unpacked package.
fn program(path: &str) -> Command {
    let debian = debian();
    let libraries: Vec<String> = ["usr/lib", "lib"]
        .map(|it| format!("{0}/{it}/{1}-linux-gnu", debian.display(), std::env::consts::ARCH))
        .into();
    let mut command = Command::new(debian.join(path));
    command
        .env("LD_LIBRARY_PATH", libraries.join(":"))
        .env("RSYSLOG_MODDIR", format!("{}/rsyslog", libraries[0]))
        .env("PATH", format!("{}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin", debian.display()));
    command
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {said}");
    said
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What strangers type to have somebody else banned, or to hide.
const INJECTIONS: &[&str] = &[
    "x\" rhost=10.0.0.1 user=\"y",
    "x\nNov 24 16:00:00 pve pvegate[1]: authentication failure; rhost=10.0.0.1",
    "authentication failure; rhost=10.0.0.1",
    "\u{1b}[2K\r rhost=10.0.0.1",
];

/// A gate at which an address failed `failures` times, and others tried tricks. The socket is a journal's.
async fn besieged(pve: &Pve, scratch: &Scratch, failures: usize) -> (TestGate, UnixDatagram) {
    let socket = scratch.path().join("journal");
    let journal = UnixDatagram::bind(&socket).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let gate = TestGate::recipe(pve)
        .set("access.allow", "127.0.0.0/8")
        .set("limits.ban", "false")
        .journal(socket)
        .start()
        .await;
    gate.person("alice").await;
    for _ in 0..failures {
        let fields = [("user", "alice"), ("code", "aaaa-aaaa-aaaa-aaaa")];
        let mut client = gate.client().from("127.0.7.1");
        assert_eq!(client.post_form("/_gate/recover", &fields).await.status, 403);
    }
    for injection in INJECTIONS {
        let fields = [("user", *injection), ("code", "x")];
        let mut client =
            gate.client().from("127.0.7.2").with("user-agent", "x authentication failure; rhost=10.0.0.1");
        assert_eq!(client.post_form("/_gate/recover", &fields).await.status, 403);
        client.get("/%22%20rhost=10.0.0.1%0aauthentication%20failure;%20rhost=10.0.0.1").await;
        let mut foreign = client.with("origin", "https://evil.test").with("sec-fetch-site", "cross-site");
        foreign.post_form("/_gate/sign-in", &[("user", injection)]).await;
    }
    gate.stages.gate.audit().flush();
    (gate, journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn fail2ban_finds_every_failed_sign_in_and_nothing_that_is_typed_moves_the_address() {
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let (gate, journal) = besieged(&pve, &scratch, 3).await;
    let count = gate.audit().len();
    let lines: Vec<String> = (0..count)
        .map(|_| entry(&journal).into_iter().find(|(name, _)| name == "MESSAGE").unwrap().1)
        .map(|line| format!("Nov 24 16:00:00 pve pvegate[123]: {line}\n"))
        .collect();
    let log = scratch.path().join("log");
    fs::write(&log, lines.concat()).unwrap();
    // A filter includes what lies beside it.
    let conf = scratch.path().join("fail2ban");
    output(Command::new("cp").arg("-r").arg(debian().join("etc/fail2ban")).arg(&conf));
    fs::copy(shipped("fail2ban/filter.d/pvegate.conf"), conf.join("filter.d/pvegate.conf")).unwrap();
    fs::copy(shipped("fail2ban/jail.d/pvegate.local"), conf.join("jail.d/pvegate.local")).unwrap();

    let mut regex = Command::new("python3");
    regex
        .env("PYTHONPATH", debian().join("usr/lib/python3/dist-packages"))
        .arg(debian().join("usr/bin/fail2ban-regex"))
        .arg("-c")
        .arg(&conf)
        .args(["-o", "id"])
        .arg(&log)
        .arg("pvegate");
    let found = output(&mut regex);

    let mut banned: Vec<&str> =
        found.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    banned.sort_unstable();
    let expected = [vec!["127.0.7.1"; 3], vec!["127.0.7.2"; INJECTIONS.len()]].concat();
    assert_eq!(banned, expected, "{found}\n{}", lines.concat());
    assert!(lines.iter().any(|line| line.contains("request refused; rhost=127.0.7.2 reason=cross_site")));
}

#[tokio::test(flavor = "multi_thread")]
async fn crowdsec_parses_every_event_and_its_scenario_catches_guessing() {
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let (gate, _journal) = besieged(&pve, &scratch, 6).await;
    let (dir, hub) = (scratch.path().join("crowdsec"), debian().join("usr/share/crowdsec/hub"));
    for made in
        ["parsers/s00-raw", "parsers/s01-parse", "parsers/s02-enrich", "scenarios", "hub", "data", "none"]
    {
        fs::create_dir_all(dir.join(made)).unwrap();
    }
    let copies = [
        (hub.join("parsers/s00-raw/crowdsecurity/syslog-logs.yaml"), "parsers/s00-raw/syslog-logs.yaml"),
        (
            hub.join("parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml"),
            "parsers/s02-enrich/dateparse.yaml",
        ),
        (hub.join(".index.json"), "hub/.index.json"),
        (debian().join("etc/crowdsec/simulation.yaml"), "simulation.yaml"),
        (shipped("crowdsec/parsers/s01-parse/pvegate.yaml"), "parsers/s01-parse/pvegate.yaml"),
        (shipped("crowdsec/scenarios/pvegate-bf.yaml"), "scenarios/pvegate-bf.yaml"),
        (shipped("crowdsec/acquis.d/pvegate.yaml"), "acquis.yaml"),
    ];
    for (from, to) in copies {
        fs::copy(&from, dir.join(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    output(
        Command::new("cp").arg("-r").arg(debian().join("etc/crowdsec/patterns")).arg(dir.join("patterns")),
    );
    let (port, shown) = (free_port(), dir.display());
    fs::write(dir.join("profiles.yaml"), "name: default\nfilters: [ \"false\" ]\ndecisions: []\n").unwrap();
    let creds = format!("url: http://127.0.0.1:{port}/\nlogin: test\npassword: test\n");
    fs::write(dir.join("creds.yaml"), creds).unwrap();
    let config = dir.join("config.yaml");
    fs::write(
        &config,
        format!(
            "common: {{ daemonize: false, log_media: stdout, log_level: info, working_dir: . }}
config_paths:
  config_dir: {shown}/
  data_dir: {shown}/data/
  simulation_path: {shown}/simulation.yaml
  hub_dir: {shown}/hub/
  index_path: {shown}/hub/.index.json
  notification_dir: {shown}/none/
  plugin_dir: {shown}/none/
crowdsec_service: {{ acquisition_path: {shown}/acquis.yaml, parser_routines: 1 }}
cscli: {{ output: human }}
db_config: {{ log_level: info, type: sqlite, db_path: {shown}/data/crowdsec.db }}
plugin_config: {{ user: nobody, group: nogroup }}
api:
  client: {{ credentials_path: {shown}/creds.yaml }}
  server: {{ log_level: info, listen_uri: \"127.0.0.1:{port}\", profiles_path: {shown}/profiles.yaml }}
prometheus: {{ enabled: false }}
"
        ),
    )
    .unwrap();
    let cscli = |args: &[&str]| {
        let mut command = program("usr/bin/cscli");
        command.current_dir(&dir).arg("-c").arg(&config).args(args);
        output(&mut command)
    };
    let url = format!("http://127.0.0.1:{port}/");
    let creds = dir.join("creds.yaml").display().to_string();
    cscli(&["machines", "add", "test", "--password", "testtest", "-f", &creds, "-u", &url, "--force"]);
    let mut api = program("usr/bin/crowdsec");
    api.arg("-c")
        .arg(&config)
        .arg("-no-cs")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let _api = Daemon(api.spawn().unwrap());
    until("its API listens", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;

    let log = gate.dir().join("audit.jsonl").display().to_string();
    let told = cscli(&["explain", "-f", &log, "--type", "pvegate", "-v"]);

    assert_eq!(told.matches("parser success 🟢").count(), gate.audit().len(), "{told}");
    assert_eq!(told.matches("log_type : pvegate_auth_failed").count(), 6 + INJECTIONS.len(), "{told}");
    assert!(told.contains("evt.Meta.target_user : alice"));
    assert!(told.contains("🟢 pvegate/pvegate-bf"), "{told}");
    assert!(!told.contains("source_ip : 10.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_takes_events_over_tcp_and_writes_their_json() {
    let scratch = Scratch::new();
    let (port, collected) = (free_port(), scratch.path().join("collected.jsonl"));
    let text = fs::read_to_string(shipped("rsyslog/pvegate.conf")).unwrap();
    let config = scratch.path().join("pvegate.conf");
    let here = text
        .replace("port=\"1514\"", &format!("port=\"{port}\""))
        .replace("/var/log/pvegate-collected.jsonl", &collected.display().to_string());
    assert_ne!(here, text);
    fs::write(&config, here).unwrap();
    output(program("usr/sbin/rsyslogd").arg("-N1").arg("-f").arg(shipped("rsyslog/pvegate.conf")));
    let mut daemon = program("usr/sbin/rsyslogd");
    daemon.arg("-n").arg("-i").arg(scratch.path().join("pid")).arg("-f").arg(&config);
    let _daemon = Daemon(daemon.spawn().unwrap());

    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve).set("audit.syslog", &format!("tcp://127.0.0.1:{port}")).start().await;
    gate.person("alice").await;

    let ids = |text: &str| -> Vec<String> {
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.map(|event| event["event"]["id"].as_str().unwrap().to_owned()).collect()
    };
    until("all events are there", async || {
        let all = gate
            .audit()
            .iter()
            .map(|event| event["event"]["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>();
        fs::read_to_string(&collected)
            .is_ok_and(|text| text.ends_with('\n') && ids(&text) == all && all.len() > 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logrotate_moves_the_file_away_and_no_event_is_lost() {
    let (pve, scratch) = (Pve::start().await, Scratch::new());
    let (dir, port) = (scratch.path().display(), free_port());
    let config = scratch.path().join("pvegate.toml").display().to_string();
    fs::create_dir(scratch.path().join("log")).unwrap();
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
path = \"{dir}/pvegate.db\"
master_key_file = \"{dir}/master.key\"
[audit]
file = \"{dir}/log/audit.jsonl\"
journal = false
[metrics]
listen = \"\"
",
        upstream = pve.addr(),
        pin = pve.pin,
    );
    fs::write(&config, text).unwrap();
    let gate = Process::start(&["--config", &config, "serve"]);
    gate.logs("ready");
    let ca = fs::read_to_string(scratch.path().join("local-ca/ca.pem")).unwrap();
    // As shipped, but for the place, the user, and a gate that is no unit of systemd.
    let text = fs::read_to_string(shipped("logrotate/pvegate")).unwrap();
    let owner = output(Command::new("sh").args(["-c", "echo $(id -un) $(id -gn)"]));
    let kill = text.lines().find(|line| line.contains("systemctl kill")).unwrap().to_owned();
    let here = text
        .replace("/var/log/pvegate/", &format!("{dir}/log/"))
        .replace("su pvegate pvegate", &format!("su {}", owner.trim()))
        .replace(&kill, &format!("kill -USR1 {}", gate.id()));
    let rules = scratch.path().join("logrotate");
    fs::write(&rules, here).unwrap();
    output(Command::new("chmod").arg("0644").arg(&rules));
    let rotate = |how: &str| {
        let state = scratch.path().join("state");
        output(program("usr/sbin/logrotate").arg(how).arg("-s").arg(state).arg(&rules))
    };
    rotate("-d");

    for round in 1..=4_usize {
        for number in 0..5 {
            let url = format!("https://gate.test:{port}");
            let client = Client::of_process(([127, 0, 0, 1], port).into(), &url, &ca);
            let mut client = client.from(&format!("127.0.{round}.{}", number + 1));
            let fields = [("user", "nobody"), ("code", "x")];
            assert_eq!(client.post_form("/_gate/recover", &fields).await.status, 403);
        }
        // What is in the queue by now may be written before or after: neither is lost.
        until("there is something to rotate", async || {
            fs::metadata(scratch.path().join("log/audit.jsonl")).is_ok_and(|file| file.len() > 0)
        })
        .await;
        rotate("-f");
        gate.logs("opened anew");
    }
    assert_eq!(gate.terminate(), Some(0));

    let verified = pvegate(&["--config", &config, "--json", "audit", "verify"]).await.json().remove(0);
    let events = pvegate(&["--config", &config, "--json", "audit", "export"]).await.json();
    let failed = events.iter().filter(|event| event["event"]["action"] == "recovery-use").count();
    assert_eq!((failed, &verified["lines"]), (20, &events.len().into()));
    assert_eq!(verified["first"]["sequence"], 1);
    assert!(scratch.path().join("log/audit.jsonl.2.gz").exists());
}
