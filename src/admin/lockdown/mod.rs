//! `pvegate lockdown`: closes the way around the gate.
//!
//! An applied lockdown that nobody confirms ends by itself, and no process of ours is needed for that: the closed
//! ports stand in a set of the kernel's whose elements have a timeout. To confirm is to load the same rules without
//! it. A restart of the host before that forgets them as well.

pub(super) mod rules;

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Output as Ran, Stdio},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::json;

use self::rules::{Lasting, Lockdown};
use super::{Exit, Failure, ban::network, output::Output, read_config};
use crate::{
    config::duration,
    time::{Clock as _, SystemClock, Timestamp},
    upstream,
};

/// What `--confirm` loads. In memory, as the unconfirmed rules are.
const PENDING: &str = "/run/pvegate-lockdown.nft";

/// What `pvegate-lockdown.service` loads at the start of the host.
const CONFIRMED: &str = "/etc/nftables.d/pvegate.nft";

/// Where Debian has it; it is not in everybody's search path.
const NFT: &str = "/usr/sbin/nft";

/// How `sshd` says who speaks to this machine, and at which port of ours.
const SSH_CONNECTION: &str = "SSH_CONNECTION";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print what closes it, and change nothing. This is what it does unless told.
    #[arg(long, group = "deed")]
    print: bool,
    /// Load the firewall's rules here, on a node of Proxmox VE, as root.
    #[arg(long, group = "deed", conflicts_with = "pveproxy")]
    apply: bool,
    /// Keep what was applied: it was still possible to get in.
    #[arg(long, group = "deed", conflicts_with_all = ["nft", "pveproxy", "gates", "peers"])]
    confirm: bool,
    /// Open what was closed.
    #[arg(long, group = "deed", conflicts_with_all = ["nft", "pveproxy", "gates", "peers"])]
    revert: bool,
    /// Only the firewall's rules.
    #[arg(long)]
    nft: bool,
    /// Only the lines for /etc/default/pveproxy.
    #[arg(long)]
    pveproxy: bool,
    /// The gate, if it is not the one configured here. Can be said several times.
    #[arg(long = "gate", value_name = "NETWORK", value_parser = network)]
    gates: Vec<IpNet>,
    /// Another node of the cluster, or the network of all. Can be said several times.
    #[arg(long = "peer", value_name = "NETWORK", value_parser = network)]
    peers: Vec<IpNet>,
    /// With --apply: after how long it ends unless it was confirmed.
    #[arg(long, requires = "apply", value_name = "DURATION", value_parser = duration::parse, default_value = "5m")]
    revert_after: Duration,
}

pub(super) fn run(args: &Args, config: &Path, output: &Output) -> Result<(), Failure> {
    if args.confirm {
        return confirm(output);
    }
    if args.revert {
        return revert(output);
    }
    let (lockdown, field) = planned(args, config, output)?;
    if args.apply {
        apply(&lockdown, args.revert_after, output)
    } else {
        print(args, &lockdown, &field, output)
    }
}

/// Who stays inside: what was said, or what the configuration tells. With it comes the field of the client's
/// address.
fn planned(args: &Args, config: &Path, output: &Output) -> Result<(Lockdown, String), Failure> {
    let (mut gates, mut peers) = (args.gates.clone(), args.peers.clone());
    let mut field = "X-Forwarded-For".to_owned();
    if gates.is_empty() {
        let upstream = read_config(config, output)?.upstream;
        for endpoint in upstream.endpoints() {
            let (node, ours) = addresses(endpoint)?;
            peers.push(node.into());
            gates.push(ours.into());
        }
        upstream.send_client_ip.as_str().clone_into(&mut field);
        // pveproxy names fields as people write them.
        if field == "x-forwarded-for" {
            "X-Forwarded-For".clone_into(&mut field);
        }
    }
    let lockdown =
        Lockdown::new(&gates, &peers, ssh_port()).map_err(|refusal| Failure::of(Exit::Refused, &refusal))?;
    Ok((lockdown, field))
}

/// The node's address, and ours on the way to it. Nothing is sent.
fn addresses(endpoint: &upstream::Endpoint) -> Result<(IpAddr, IpAddr), Failure> {
    let found = || -> io::Result<(IpAddr, IpAddr)> {
        let node = (endpoint.host.trim_matches(['[', ']']), endpoint.port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::other("it has no address"))?;
        let any: IpAddr =
            if node.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(node)?;
        Ok((node.ip(), socket.local_addr()?.ip()))
    };
    found().map_err(|error| {
        let node = endpoint.address();
        let message = format!("which address the gate has for {node} can't be told ({error}); say --gate");
        Failure::new(Exit::Failed, message)
    })
}

/// The port of this host by which whoever asks is connected: the last of four words.
fn ssh_port() -> Option<u16> {
    std::env::var(SSH_CONNECTION).ok()?.split_whitespace().nth(3)?.parse().ok()
}

fn print(args: &Args, lockdown: &Lockdown, field: &str, output: &Output) -> Result<(), Failure> {
    let both = args.nft == args.pveproxy;
    let nft = (both || args.nft).then(|| lockdown.nft(Lasting::Always));
    let pveproxy = (both || args.pveproxy).then(|| lockdown.pveproxy(field));
    output.data(&object("printed", Some(lockdown), nft.as_deref(), pveproxy.as_deref(), None), || {
        [nft.as_deref(), pveproxy.as_deref()]
            .into_iter()
            .flatten()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n\n")
    });
    output.talk(
        "Nothing was changed. To load the rules on this node, and open again in 5 minutes unless confirmed:\n  \
         pvegate lockdown --apply",
    );
    Ok(())
}

fn apply(lockdown: &Lockdown, revert_after: Duration, output: &Output) -> Result<(), Failure> {
    only_root()?;
    if revert_after < Duration::from_secs(1) {
        return Err(Failure::new(Exit::WrongUse, "--revert-after is a second or more"));
    }
    keep(Path::new(PENDING), &lockdown.nft(Lasting::Always))?;
    let rules = lockdown.nft(Lasting::For(revert_after));
    load(&rules)?;
    let until = SystemClock.now().plus(revert_after);
    output.data(&object("applied", Some(lockdown), Some(&rules), None, Some(until)), || {
        format!(
            "8006 and 3128 of this host answer only {}.\n\
             Look whether you still get in by the gate. Then, before {until}:\n  pvegate lockdown --confirm\n\
             Without it they are open again from then on, whatever becomes of this program.",
            lockdown.inside().join(", ")
        )
    });
    Ok(())
}

fn confirm(output: &Output) -> Result<(), Failure> {
    only_root()?;
    let waits = nft(&["list", "set", "inet", "pvegate", "closed"], None)?;
    let rules = match fs::read_to_string(PENDING) {
        Ok(rules) if String::from_utf8_lossy(&waits.stdout).contains("8006") => rules,
        Ok(_) | Err(_) => {
            let message = "nothing waits for it: confirmed already, or open again; pvegate lockdown --apply";
            return Err(Failure::new(Exit::NoSuchThing, message));
        }
    };
    keep(Path::new(CONFIRMED), &rules)?;
    load(&rules)?;
    forget(Path::new(PENDING))?;
    output.data(&object("confirmed", None, Some(&rules), None, None), || {
        format!(
            "It stays closed. The rules are in {CONFIRMED}; for them to be loaded when the host starts, enable\n\
             pvegate-lockdown.service, one of the files of `pvegate export nftables`.\n\
             To open it again:\n  pvegate lockdown --revert"
        )
    });
    Ok(())
}

fn revert(output: &Output) -> Result<(), Failure> {
    only_root()?;
    // The first line makes the second one right if there is none.
    load("table inet pvegate\ndelete table inet pvegate\n")?;
    forget(Path::new(PENDING))?;
    forget(Path::new(CONFIRMED))?;
    output.data(&object("open", None, None, None, None), || {
        "8006 and 3128 of this host are as they were before. /etc/default/pveproxy was not touched."
            .to_owned()
    });
    Ok(())
}

fn object(
    state: &str,
    lockdown: Option<&Lockdown>,
    nft: Option<&str>,
    pveproxy: Option<&str>,
    reverts_at: Option<Timestamp>,
) -> serde_json::Value {
    json!({
        "state": state,
        "inside": lockdown.map(Lockdown::inside),
        "nft": nft,
        "pveproxy": pveproxy,
        "reverts_at": reverts_at.map(|at| at.to_string()),
    })
}

fn only_root() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "only root may change the firewall"))
}

/// Hands rules to the kernel: all of them, or none.
fn load(rules: &str) -> Result<(), Failure> {
    let ran = nft(&["-f", "-"], Some(rules))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::new(
        Exit::Failed,
        format!("nft does not take the rules, nothing was changed: {}", said.trim()),
    ))
}

fn nft(args: &[&str], stdin: Option<&str>) -> Result<Ran, Failure> {
    let ran = || -> io::Result<Ran> {
        let mut child = Command::new(NFT)
            .args(args)
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let (Some(text), Some(mut into)) = (stdin, child.stdin.take()) {
            into.write_all(text.as_bytes())?;
        }
        child.wait_with_output()
    };
    ran().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::Failed, format!("{NFT} is not there: apt install nftables"))
        }
        _ => Failure::new(Exit::Failed, format!("{NFT}: {error}")),
    })
}

/// Writes a file that only root may change, in one step.
fn keep(path: &Path, text: &str) -> Result<(), Failure> {
    let written = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let new = path.with_extension("nft.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

fn forget(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
