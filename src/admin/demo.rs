//! `pvegate demo`: the gate on loopback, with nothing to set up.

use std::{env, fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Exit, Failure,
    output::Output,
    serve::{self, Server, StartError},
};
use crate::{
    accept,
    account::{InvitationPurpose, Role, User, UserName},
    config::{self, Config},
    demo::{self, StandIn},
    gate::ceremony::invite::{LIFETIME, Token},
    store::{Added, SqliteStore, Store as _},
    telemetry,
    time::{Clock, SystemClock},
    tls::{Fingerprint, Host, LocalCa},
};

/// The demo's only user.
const USER: &str = "admin";

/// Where the stand-in's certificate lies in the demo's directory.
const STAND_IN: &str = "stand-in";

const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen, on loopback. Port 0 is the system's choice.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = parse_loopback)]
    listen: SocketAddr,
    /// Directory for the database, keys and certificates [default: ~/.local/share/pvegate-demo]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "this is not an address and port such as 127.0.0.1:8443".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("the demo has a well-known user behind it and listens on loopback only; `pvegate serve` is for others".to_owned())
    }
}

pub(super) fn run(args: Args, output: &Output) -> Result<(), Failure> {
    telemetry::start(&telemetry::Settings { level: "warn".to_owned(), format: telemetry::Format::Auto });
    let dir = args.dir.or_else(default_dir).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "there is no home directory to keep the demo's files in: name one with --dir",
        )
    })?;
    serve::runtime()?.block_on(run_in(&dir, args.listen, output))
}

async fn run_in(dir: &std::path::Path, listen: SocketAddr, output: &Output) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = prepare(dir)?;
    let listener = accept::bind_to(listen).map_err(|error| port_taken(&error, listen))?;
    let port = listener.socket.local_addr().map_or(listen.port(), |at| at.port());
    let (mut stand_in, pin) = start_stand_in(&dir, &clock).await?;
    let config_file = dir.join("pvegate.toml");
    let config = configure(&dir, &config_file, SocketAddr::new(listen.ip(), port), &stand_in, pin)?;
    let enrol_url = invite(&config, &*clock)?;
    let server = Server::compose(&config, vec![listener], clock).await?;

    let url = config.gate.public_url.origin();
    let ca = server.ca().map(|path| path.display().to_string());
    let dir = dir.display().to_string();
    let object = json!({ "url": url, "enrol_url": enrol_url, "ca": ca, "dir": dir });
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        serve::asked_to_stop().await;
        stop.send_replace(true);
    });
    output.data(&object, || told(&url, &enrol_url, &dir, &config_file));
    server.run(stopped, GRACE).await.map_err(|error| Failure::of(Exit::Failed, &error))?;
    stand_in.stop().await;
    Ok(())
}

fn told(url: &str, enrol_url: &str, dir: &str, config: &std::path::Path) -> String {
    let config = config.display();
    format!(
        "pvegate is running at {url}, in front of a stand-in for Proxmox VE.

  1. Open this within 15 minutes; it works once:

     {enrol_url}

     The browser warns, for it does not know the demo's own certificate: go on.
     Where it has warned it refuses passkeys: use an authenticator app instead.
     Then you are {USER} at the gate, and the stand-in's page opens. There you
     are root@pam with the password proxmox.

  2. Look around:   pvegate --config {config} user list
     A new link:    pvegate --config {config} invite {USER}

Everything is in {dir}
To undo: press Ctrl-C, then  rm -r {dir}"
    )
}

fn default_dir() -> Option<PathBuf> {
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.or_else(home).map(|dir| dir.join("pvegate-demo"))
}

fn prepare(dir: &std::path::Path) -> Result<PathBuf, Failure> {
    // A directory that is there may be closed all the same: making one inside tells.
    let made = serve::private_directory(dir).and_then(|()| serve::private_directory(&dir.join(STAND_IN)));
    made.and_then(|()| dir.canonicalize()).map_err(|error| {
        let (dir, uid) = (dir.display(), nix::unistd::geteuid());
        let message = format!(
            "the directory {dir} can't be written by user id {uid}: {error}; name another with --dir"
        );
        Failure::new(Exit::Failed, message)
    })
}

fn port_taken(error: &accept::BindError, listen: SocketAddr) -> Failure {
    let mut failure = Failure::of(Exit::Failed, error);
    if let accept::BindError::InUse { .. } = error {
        failure.message.push_str(&format!("; choose another with --listen {}:0", listen.ip()));
    }
    failure
}

/// The stand-in, on a port of the system's choice, and the pin of its certificate.
async fn start_stand_in(
    dir: &std::path::Path,
    clock: &Arc<dyn Clock>,
) -> Result<(StandIn, Fingerprint), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(Exit::Failed, error);
    let host: Host = "127.0.0.1".parse().map_err(|error| failed(&error))?;
    let (authority, _) = LocalCa::open_or_make(&dir.join(STAND_IN), &host, clock.now())
        .map_err(|error| Failure::from(StartError::from(error)))?;
    let issued = authority.issue(clock.now()).map_err(|error| failed(&error))?;
    let pin = Fingerprint::of(issued.identity.chain.first().map_or(&[], |leaf| leaf));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| failed(&error))?;
    let stand_in = StandIn::start(listener, &issued.identity, demo::Settings::default())
        .map_err(|error| failed(&error))?;
    Ok((stand_in, pin))
}

/// Writes the configuration and reads it as any other, so that the other verbs work on the demo too.
fn configure(
    dir: &std::path::Path,
    file: &std::path::Path,
    listen: SocketAddr,
    stand_in: &StandIn,
    pin: Fingerprint,
) -> Result<Config, Failure> {
    let path = |name: &str| toml::Value::String(dir.join(name).display().to_string());
    let text = format!(
        "# Written by `pvegate demo` at every start.
schema = 1

[server]
listen = [\"{listen}\"]
public_url = \"https://localhost:{port}\"

[upstream]
url = \"https://{upstream}\"
fingerprint = \"{pin}\"

[access]
allow = [\"127.0.0.0/8\", \"::1/128\"]

[storage]
path = {store}
master_key_file = {key}

[audit]
file = {audit}
journal = false

[metrics]
listen = \"\"
",
        port = listen.port(),
        upstream = stand_in.addr(),
        store = path("pvegate.db"),
        key = path("master.key"),
        audit = path("audit.jsonl"),
    );
    fs::write(file, &text).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let (config, _) = config::parse(&text, &file.display().to_string(), [])
        .map_err(|problems| Failure::new(Exit::BadConfiguration, problems.to_string()))?;
    Ok(config)
}

/// A fresh link for the demo's user, who is added at the first start.
fn invite(config: &Config, clock: &dyn Clock) -> Result<String, Failure> {
    let mut store = SqliteStore::open(&config.store.path)?;
    let now = clock.now();
    let name: UserName = USER.parse().map_err(|error| Failure::of(Exit::Failed, &error))?;
    let user: Option<User> = match store.add_user(&name, Role::Admin, now)? {
        Added::New(user) => Some(user),
        Added::Exists => store.user_by_name(&name)?,
    };
    let user = user.ok_or_else(|| Failure::new(Exit::NoSuchThing, "the demo's user is gone"))?;
    let token = Token::random();
    store.invite(&token.invitation(user.id, InvitationPurpose::Enrol, now, LIFETIME))?;
    Ok(token.link(&config.gate.public_url))
}
