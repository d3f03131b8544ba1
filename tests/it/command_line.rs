//! The program as people, scripts and systemd meet it: what it prints, how it exits, what else it does.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use pvegate::{
    admin::Cli,
    gate::ceremony::totp::step_at,
    time::{Clock as _, SystemClock},
};
use serde_json::Value;

use crate::harness::{Client, NO_PIN, Person, Place, Process, Pve, Scratch, pvegate, pvegate_in, until};

/// A running demo, and what it printed when it was ready.
struct Demo {
    process: Process,
    url: String,
    enrol_url: String,
    ca: PathBuf,
    dir: PathBuf,
}

impl Demo {
    fn start(dir: &Path) -> Self {
        let process =
            Process::start(&["demo", "--json", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        let object: Value = serde_json::from_str(&process.line()).unwrap();
        let field = |name: &str| object[name].as_str().unwrap().to_owned();
        assert_eq!(object.as_object().unwrap().len(), 4, "{object}");
        Self {
            url: field("url"),
            enrol_url: field("enrol_url"),
            ca: field("ca").into(),
            dir: field("dir").into(),
            process,
        }
    }

    fn address(&self) -> SocketAddr {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn client(&self) -> Client {
        Client::of_process(self.address(), &self.url, &fs::read_to_string(&self.ca).unwrap())
    }

    fn config(&self) -> String {
        self.dir.join("pvegate.toml").display().to_string()
    }
}

/// Follows an enrolment link as a browser without script would, with a phone.
async fn enrol(demo: &Demo) -> Person {
    let opened = Person::open(demo.client(), "admin", &demo.enrol_url).await;
    let (mut admin, state) = opened.unwrap_or_else(|page| panic!("{}", page.text()));
    let code = admin.phone.code(step_at(SystemClock.now()));
    let reply = admin.finish(&state, &code).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    admin
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_leads_from_one_line_to_the_page_behind_the_gate() {
    let scratch = Scratch::new();
    let demo = Demo::start(&scratch.path().join("demo"));

    let sign_in = demo.client().navigate("/_gate/sign-in").await;
    let closed = demo.client().get("/api2/json/version").await;
    let mut client = enrol(&demo).await.client;
    let page = client.navigate("/").await;
    assert_eq!(client.get("/_gate/").await.status, 200);

    assert_eq!((sign_in.status.as_u16(), closed.status.as_u16()), (200, 401));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Stand-in for Proxmox VE"), "{}", page.text());

    // The other verbs work on it while it runs, and it follows them.
    let config = demo.config();
    let users = pvegate(&["--config", &config, "--json", "user", "list"]).await.json();
    assert_eq!((&users[0]["name"], &users[0]["state"]), (&"admin".into(), &"active".into()));
    assert_eq!(pvegate(&["--config", &config, "session", "list"]).await.ok().lines().count(), 2);
    assert_eq!(pvegate(&["--config", &config, "session", "revoke", "admin"]).await.ok(), "ended 1 session\n");
    // Asked of the gate's own page: a page of Proxmox VE may be cut by the revocation on its way.
    until("the gate has heard of the revocation", async || client.get("/_gate/").await.status != 200).await;
    assert_eq!(client.get("/").await.status, 401);
    assert_eq!(demo.process.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_started_again_knows_its_user_and_gives_a_new_link() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("demo");
    let first = Demo::start(&dir);
    enrol(&first).await;
    let (old_link, ca) = (first.enrol_url.clone(), fs::read(&first.ca).unwrap());
    assert_eq!(first.process.terminate(), Some(0));

    let second = Demo::start(&dir);
    let users = pvegate(&["--config", &second.config(), "--json", "user", "list"]).await.json();

    assert_eq!((&users[0]["state"], users.len()), (&"active".into(), 1));
    assert_ne!(second.enrol_url, old_link);
    assert_eq!(fs::read(&second.ca).unwrap(), ca, "who trusted the authority need not do it again");
    enrol(&second).await;
}

#[tokio::test]
async fn the_demo_keeps_to_its_directory_and_shows_nothing_secret_to_others() {
    let scratch = Scratch::new();
    let demo = Demo::start(&scratch.path().join("deep/demo"));

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&demo.dir), 0o700);
    for file in ["pvegate.db", "master.key"] {
        assert_eq!(mode(&demo.dir.join(file)), 0o600, "{file}");
    }
    assert!(demo.ca.starts_with(&demo.dir));
    let beside: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["deep"]);
}

#[tokio::test]
async fn what_the_demo_tells_people_has_the_link_the_next_steps_and_the_undo() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("demo").display().to_string();
    let process = Process::start(&["demo", "--dir", &dir, "--listen", "127.0.0.1:0"]);

    while !process.line().starts_with("To undo") {}

    let told = process.said();
    for words in [
        "https://localhost:",
        "/_gate/enrol#",
        "you are admin at the gate",
        "root@pam with the password proxmox",
        &format!("pvegate --config {dir}/pvegate.toml user list"),
        &format!("pvegate --config {dir}/pvegate.toml invite admin"),
        &format!("rm -r {dir}"),
    ] {
        assert!(told.contains(words), "no `{words}` in:\n{told}");
    }
    assert!(told.lines().all(|line| line.len() <= 100 || line.contains(&dir)), "{told}");
}

#[tokio::test]
async fn a_port_that_another_program_has_is_named() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("demo").display().to_string();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();

    let ended = pvegate(&["demo", "--dir", &dir, "--listen", &address.to_string()]).await;

    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{address} is in use")), "{}", ended.stderr);
    assert!(ended.stderr.contains("--listen 127.0.0.1:0"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named_with_the_user() {
    let scratch = Scratch::new();
    let uid = nix::unistd::geteuid();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let mut below = vec![file.join("demo")];
    // Nothing is closed to root.
    if !uid.is_root() {
        let closed = scratch.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        below.extend([closed.join("demo"), closed]);
    }
    for directory in below {
        let directory = directory.display().to_string();

        let ended = pvegate(&["demo", "--dir", &directory, "--listen", "127.0.0.1:0"]).await;

        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&directory), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("user id {uid}")), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn the_demo_keeps_its_files_in_the_home_directory_unless_told_otherwise() {
    let ended = pvegate_in(Path::new("/dev/null"), &["demo", "--listen", "127.0.0.1:0"]).await;

    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/dev/null/.local/share/pvegate-demo"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--dir"), "{}", ended.stderr);
}

#[tokio::test]
async fn serve_says_what_is_wrong_with_its_configuration_and_exits_as_systemd_expects() {
    let scratch = Scratch::new();
    let missing = scratch.path().join("missing.toml").display().to_string();
    let place = Place::quiet();
    let text = fs::read_to_string(place.config()).unwrap();
    fs::write(place.config(), text.replace("url = \"https://127", "ulr = \"https://127")).unwrap();

    let without = pvegate(&["--config", &missing, "serve"]).await;
    let misspelt = place.run(&["serve"]).await;

    assert_eq!((without.code, misspelt.code), (Some(78), Some(78)));
    assert!(without.stderr.contains(&missing), "{}", without.stderr);
    assert!(without.stderr.contains("pvegate demo"), "{}", without.stderr);
    assert!(misspelt.stderr.contains("there is no key `ulr` in [upstream]"), "{}", misspelt.stderr);
    assert!(misspelt.stderr.contains("did you mean `url`"), "{}", misspelt.stderr);
    assert!(misspelt.stderr.contains("pvegate.toml:5:1"), "{}", misspelt.stderr);
    assert!(
        !place.scratch.path().join("state").exists(),
        "nothing is made for a configuration that is wrong"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_starts_whatever_the_upstream_is_says_so_and_ends_when_told() {
    let pve = Pve::start().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new(&format!("127.0.0.1:{port}"), &pve.addr().to_string(), NO_PIN);

    let gate = Process::start(&["--config", &place.config(), "serve"]);
    let ready = gate.logs("\"ready\"");

    assert!(ready.contains(&format!("https://gate.test:{port}")), "{ready}");
    let ca = fs::read_to_string(place.scratch.path().join("state/local-ca/ca.pem")).unwrap();
    let url = format!("https://gate.test:{port}");
    let mut client = Client::of_process(SocketAddr::from(([127, 0, 0, 1], port)), &url, &ca);
    assert_eq!(client.navigate("/_gate/sign-in").await.status, 200);
    assert_eq!(pve.connections_seen(), 0);
    assert_eq!(gate.terminate(), Some(0));
    let audit = place.audit();
    let actions: Vec<_> = audit.iter().map(|event| event["event"]["action"].as_str().unwrap()).collect();
    assert_eq!((actions.first(), actions.last()), (Some(&"start"), Some(&"stop")));
}

#[tokio::test]
async fn sessions_are_listed_and_end_by_user_by_a_unique_beginning_or_all() {
    let place = Place::quiet();
    for (name, first) in [("alice", 0xa1), ("bob", 0xb1), ("carol", 0xb2), ("dave", 0xd1)] {
        place.run(&["user", "add", name, "--no-invite"]).await.ok();
        place.sign_in(name, first);
    }

    let table = place.run(&["session", "list"]).await.ok();
    let of_bob = place.run(&["session", "list", "bob", "--json"]).await.json();
    assert_eq!(
        table.lines().take(2).collect::<Vec<_>>(),
        [
            "ID            USER   FROM       SIGNED IN    LAST ACTIVE    METHOD",
            "a1ababababab  alice  192.0.2.7  2 hours ago  2 minutes ago  totp",
        ]
    );
    assert_eq!((of_bob.len(), &of_bob[0]["user"]), (1, &"bob".into()));
    assert_eq!(of_bob[0]["id"].as_str().unwrap().len(), 64);

    let ambiguous = place.run(&["session", "revoke", "--id", "b"]).await;
    let unknown = place.run(&["session", "revoke", "--id", "c"]).await;
    let nobody = place.run(&["session", "revoke", "zed"]).await;
    assert_eq!((ambiguous.code, unknown.code, nobody.code), (Some(4), Some(4), Some(4)));
    assert!(ambiguous.stderr.contains("more than one"), "{}", ambiguous.stderr);
    assert_eq!(place.run(&["session", "list"]).await.ok().lines().count(), 5, "nothing has ended");

    let by_beginning = place.run(&["session", "revoke", "--id", "B2", "--reason", "lost laptop"]).await.ok();
    let by_user = place.run(&["session", "revoke", "bob", "--json"]).await.json();
    let all = place.run(&["session", "revoke", "--all"]).await.ok();
    let none = place.run(&["session", "revoke", "--all"]).await.ok();
    assert_eq!(by_beginning, "ended 1 session\n");
    assert_eq!(
        (by_user.len(), &by_user[0]["ended"], &by_user[0]["ids"][0]),
        (1, &1.into(), &of_bob[0]["id"])
    );
    assert_eq!((all.as_str(), none.as_str()), ("ended 2 sessions\n", "ended 0 sessions\n"));

    let audit = place.audit();
    let revoked: Vec<_> = audit.iter().filter(|event| event["event"]["action"] == "session-revoke").collect();
    assert_eq!(revoked.len(), 4, "one line a session");
    assert_eq!(
        (&revoked[0]["user"]["name"], &revoked[0]["event"]["reason"]),
        (&"carol".into(), &"lost laptop".into())
    );
    let nobody = place.run(&["session", "list"]).await;
    assert_eq!((nobody.stdout.as_str(), nobody.stderr.as_str()), ("", "nobody is signed in\n"));
}

#[tokio::test]
async fn old_sessions_are_listed_and_ended_alone() {
    let place = Place::quiet();
    for (name, first) in [("alice", 0xa1), ("bob", 0xb1)] {
        place.run(&["user", "add", name, "--no-invite"]).await.ok();
        place.sign_in(name, first);
    }

    // Both were opened two hours ago.
    let none = place.run(&["session", "list", "--older-than", "3h"]).await;
    let listed = place.run(&["session", "list", "--older-than", "1h"]).await.ok();
    let too_young = place.run(&["session", "revoke", "--all", "--older-than", "3h"]).await.ok();
    let of_alice = place.run(&["session", "revoke", "alice", "--older-than", "1h"]).await.ok();
    let the_rest = place.run(&["session", "revoke", "--all", "--older-than", "1h"]).await.ok();
    let alone = place.run(&["session", "revoke", "--older-than", "1h"]).await;
    let with_id = place.run(&["session", "revoke", "--id", "b1", "--older-than", "1h"]).await;

    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no session is so old\n"));
    assert_eq!(listed.lines().count(), 3);
    assert_eq!(too_young, "ended 0 sessions\n");
    assert_eq!((of_alice.as_str(), the_rest.as_str()), ("ended 1 session\n", "ended 1 session\n"));
    assert_eq!((alone.code, with_id.code), (Some(2), Some(2)));
}

#[tokio::test]
async fn what_verbs_did_to_an_account_is_told_to_its_owner() {
    let place = Place::quiet();
    place.run(&["user", "add", "alice", "--no-invite"]).await.ok();
    let nothing = place.run(&["activity", "alice"]).await;
    place.sign_in("alice", 0xa1);
    place.run(&["session", "revoke", "alice", "--reason", "lost laptop"]).await.ok();
    place.run(&["user", "disable", "alice", "--reason", "on leave"]).await.ok();

    let table = place.run(&["activity", "alice"]).await.ok();
    let objects = place.run(&["activity", "alice", "--since", "1h", "--json"]).await.json();
    let nobody = place.run(&["activity", "zed"]).await;

    assert_eq!(
        (nothing.code, nothing.stderr.as_str()),
        (Some(0), "nothing is known to have happened to alice's account\n")
    );
    assert_eq!(
        table,
        "WHEN      WHAT            OUTCOME  FROM  METHOD  REASON\n\
         just now  user-disable    success  -     -       disabled\n\
         just now  session-revoke  success  -     -       revoked\n"
    );
    assert!(!table.contains("laptop"), "words only, nothing that was typed");
    assert_eq!((objects.len(), &objects[0]["action"]), (2, &"user-disable".into()));
    assert_eq!((&objects[1]["client"], &objects[1]["new_address"]), (&Value::Null, &false.into()));
    assert_eq!(nobody.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_is_what_proxmox_ve_shows_and_is_compared_with_the_pin() {
    let pve = Pve::start().await;
    let (address, pin) = (pve.addr().to_string(), pve.pin.to_string());
    let right = Place::new("127.0.0.1:443", &address, &pin);
    let wrong = Place::new("127.0.0.1:443", &address, NO_PIN);

    let text = pvegate(&["fingerprint", &address]).await.ok();
    let chain = pvegate(&["fingerprint", &address, "--all", "--json"]).await.json();
    let same = right.run(&["fingerprint"]).await;
    let changed = wrong.run(&["fingerprint"]).await;

    assert!(text.starts_with(&format!("{pin}\n  subject   ")), "{text}");
    for label in ["issuer", "names", "valid"] {
        assert!(text.contains(&format!("\n  {label}")), "{text}");
    }
    assert_eq!((chain.len(), &chain[0]["chain"][0]["fingerprint"]), (1, &pin.as_str().into()));
    assert_eq!((same.code, same.stderr.as_str()), (Some(0), "this is the pinned certificate\n"));
    assert_eq!(changed.code, Some(3));
    assert!(changed.stdout.starts_with(&pin), "{}", changed.stdout);
    assert!(changed.stderr.contains(&format!("pinned  {NO_PIN}")), "{}", changed.stderr);
    assert!(changed.stderr.contains(&format!("shown   {pin}")), "{}", changed.stderr);
    assert!(changed.stderr.contains("upstream.fingerprint"), "{}", changed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_a_cluster_is_asked_and_one_with_a_wrong_pin_is_named() {
    let (right, wrong) = (Pve::start().await, Pve::start().await);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::quiet();
    let file = place.scratch.path().join("pvegate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[upstream]").unwrap();
    let (_, after) = rest.split_once("[storage]").unwrap();
    let node = |address: String, pin: &str| {
        format!("[[upstream.node]]\nurl = \"https://{address}\"\nfingerprint = \"{pin}\"\n")
    };
    let right_pin = right.pin.to_string();
    let nodes = [
        node(right.addr().to_string(), &right_pin),
        node(free.to_string(), NO_PIN),
        node(wrong.addr().to_string(), NO_PIN),
    ];
    fs::write(&file, format!("{before}{}[storage]{after}", nodes.concat())).unwrap();

    let told = place.run(&["fingerprint"]).await;
    let json = place.run(&["fingerprint", "--json"]).await;

    assert_eq!(told.code, Some(3), "graver than the one that is down: {}", told.stderr);
    for pve in [&right, &wrong] {
        let heading = format!("127.0.0.1 port {}\n{}\n  subject", pve.addr().port(), pve.pin);
        assert!(told.stdout.contains(&heading), "{}", told.stdout);
    }
    assert!(
        told.stderr.contains(&format!("no connection to 127.0.0.1 port {}", free.port())),
        "{}",
        told.stderr
    );
    let another = format!("127.0.0.1 port {} shows another certificate", wrong.addr().port());
    assert!(told.stderr.contains(&another), "{}", told.stderr);
    assert!(told.stderr.contains("into its [[upstream.node]]"), "{}", told.stderr);
    let objects: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3, "two certificates and the failure");
    assert_eq!((&objects[0]["pinned"], &objects[1]["pinned"]), (&right_pin.as_str().into(), &NO_PIN.into()));
    assert_eq!(objects[2]["exit"], 3);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let ended = pvegate(&["fingerprint", &free.to_string()]).await;

    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&format!("127.0.0.1 port {}", free.port())), "{}", ended.stderr);
}

#[tokio::test]
async fn a_wrong_use_is_told_with_what_would_be_right_and_exits_with_2() {
    #[rustfmt::skip]
    let table: [(&[&str], &str); 8] = [
        (&[],                                          "Usage:"),
        (&["usr", "list"],                             "'user'"),
        (&["user", "add", "Al ice"],                   "a-z, 0-9"),
        (&["user", "add", "bob", "--ttl", "8d"],       "1m to 7d"),
        (&["session", "revoke"],                       "<USER|--id <ID>|--all>"),
        (&["session", "revoke", "bob", "--all"],       "cannot be used with"),
        (&["fingerprint", "pve.lan:http"],             "`http` is not a port"),
        (&["demo", "--listen", "0.0.0.0:8443"],        "loopback only"),
    ];
    for (args, words) in table {
        let ended = pvegate(args).await;

        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn the_help_of_every_verb_says_what_happens_and_what_else_on_a_terminal_of_80_columns() {
    fn walk(command: &clap::Command, name: &str, told: &mut Vec<String>) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        if !about.ends_with('.') || about.contains('\n') {
            told.push(format!("{name}: the first line is one sentence: `{about}`"));
        }
        if !long.contains("\n\n") {
            told.push(format!("{name}: no second paragraph says what else happens"));
        }
        for line in long.lines().filter(|line| line.chars().count() > 80) {
            told.push(format!("{name}: `{line}` is too wide; is verbatim_doc_comment missing?"));
        }
        for verb in command.get_subcommands() {
            walk(verb, &format!("{name} {}", verb.get_name()), told);
        }
    }
    let mut told = Vec::new();

    walk(&Cli::command(), "pvegate", &mut told);

    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_pinned_with_consent_and_the_audit_log_has_both() {
    let pve = Pve::start().await;
    let (address, pin) = (pve.addr().to_string(), pve.pin.to_string());
    let place = Place::new("127.0.0.1:443", &address, NO_PIN);
    let text = || fs::read_to_string(place.config()).unwrap();
    let before = text();

    let unasked = place.run(&["fingerprint", "--write"]).await;
    let of_another = place.run(&["fingerprint", &address, "--write", "--yes"]).await;
    assert_eq!(unasked.code, Some(5), "{}", unasked.stderr);
    for told in ["--yes", &format!("pinned  {NO_PIN}"), &format!("shown   {pin}")] {
        assert!(unasked.stderr.contains(told), "{}", unasked.stderr);
    }
    assert_eq!(of_another.code, Some(2), "only a server of the configuration is pinned there");
    assert_eq!(text(), before);

    let untold = place.run(&["fingerprint", "--write", "--yes"]).await;
    assert_eq!((untold.code, text()), (Some(1), before.clone()), "without a directory for the audit log");
    fs::create_dir(place.scratch.path().join("state")).unwrap();

    let written = place.run(&["fingerprint", "--write", "--yes"]).await;
    let again = place.run(&["fingerprint", "--write", "--yes"]).await;

    assert_eq!(written.code, Some(0), "{}", written.stderr);
    assert!(written.stderr.contains("next start"), "{}", written.stderr);
    assert_eq!(text(), before.replace(NO_PIN, &pin));
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), "this is the pinned certificate\n"));
    let audit = fs::read_to_string(place.scratch.path().join("state/audit.jsonl")).unwrap();
    let events: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 1, "{audit}");
    assert_eq!(events[0]["event"]["action"], "upstream-pin-change");
    assert_eq!(events[0]["destination"]["address"], address.as_str());
    let reason = events[0]["event"]["reason"].as_str().unwrap();
    assert!(reason.contains(NO_PIN) && reason.contains(&pin), "{reason}");
}
