//! `pvegate export`: the files of `deploy/`, as they were when this program was built.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{ValueEnum, ValueHint};
use serde_json::json;

use super::{Exit, Failure, output::Output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For which program.
    program: Program,
    /// Write the files below this directory; it is made if it is not there.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,
    /// With --to: replace files that are there and different.
    #[arg(long, requires = "to")]
    yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Program {
    /// A filter and a jail.
    Fail2ban,
    /// A parser, a scenario and where the log is.
    Crowdsec,
    /// Alert rules.
    Prometheus,
    /// A dashboard.
    Grafana,
    /// The service, its socket, user and directories.
    Systemd,
    /// Keeps the gate's lines in a file of their own.
    Rsyslog,
    /// Turns the audit log.
    Logrotate,
    /// Closes the way around the gate; `pvegate lockdown` has your own addresses in it.
    Nftables,
}

/// A file's name below the program's directory, and what is in it.
type File = (&'static str, &'static str);

/// Names a file of a directory of `deploy/` once.
macro_rules! files {
    ($dir:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../deploy/", $dir, "/", $name)))),+]
    };
}

impl Program {
    fn files(self) -> &'static [File] {
        match self {
            Self::Fail2ban => files!("fail2ban": "filter.d/pvegate.conf", "jail.d/pvegate.local"),
            Self::Crowdsec => files!("crowdsec":
                "acquis.d/pvegate.yaml", "parsers/s01-parse/pvegate.yaml", "scenarios/pvegate-bf.yaml"),
            Self::Prometheus => files!("monitoring": "pvegate.rules.yml"),
            Self::Grafana => files!("monitoring": "pvegate.dashboard.json"),
            Self::Systemd => files!("systemd":
                "pvegate.service", "pvegate.socket", "pvegate.service.d/private-networks.conf.example",
                "pvegate.service.d/relaxed.conf.example", "sysusers.d/pvegate.conf", "tmpfiles.d/pvegate.conf"),
            Self::Rsyslog => files!("rsyslog": "pvegate.conf"),
            Self::Logrotate => files!("logrotate": "pvegate"),
            Self::Nftables => {
                files!("firewall": "pvegate.nft", "pveproxy.default", "pvegate-lockdown.service")
            }
        }
    }
}

pub(super) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let files = args.program.files();
    let Some(dir) = &args.to else {
        for (name, text) in files {
            output.data(&json!({ "file": name, "text": text, "written": null }), || {
                let text = text.trim_end();
                // A single file can go through a pipe as it is.
                if files.len() == 1 { text.to_owned() } else { format!("# ==> {name}\n{text}\n") }
            });
        }
        return Ok(());
    };
    // All are looked at before the first is written.
    if !args.yes {
        for (name, text) in files {
            refuse_to_replace(&dir.join(name), text)?;
        }
    }
    for (name, text) in files {
        let path = dir.join(name);
        write(&path, text)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        let written = path.display().to_string();
        output.data(&json!({ "file": name, "text": text, "written": written }), || written.clone());
    }
    Ok(())
}

fn refuse_to_replace(path: &Path, text: &str) -> Result<(), Failure> {
    let message = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(there) if there == text.as_bytes() => return Ok(()),
        Ok(_) => format!("{} is there and different; to replace it, add --yes", path.display()),
        Err(error) => return Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display()))),
    };
    Err(Failure::new(Exit::Refused, message))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, text)
}
