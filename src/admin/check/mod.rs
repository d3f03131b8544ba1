//! `pvegate check`: what could be wrong here, and what to do about it.
//!
//! What is judged and how stands in [`crate::check`]; this gathers the facts (`gather`, `host`), prints, and
//! mends what may be mended without asking. [`examiner`] is what the diagnostics page of a running gate asks.

mod gather;
mod host;

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::fcntl::OFlag;
use serde_json::json;

use super::{Exit, Failure, output::Output, serve};
use crate::{
    check::{Examine, Finding, Fix, Id, Severity, Summary},
    config::{self, Config},
    time::{Clock, SystemClock},
};
use gather::Gatherer;
pub(super) use host::raise_descriptors;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make these checks alone, e.g. tls,clock
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = parse_id)]
    only: Vec<Id>,
    /// Leave these checks out.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = parse_id)]
    skip: Vec<Id>,
    /// Mend what is safe to mend: takes file permissions away.
    #[arg(long)]
    fix: bool,
    /// Go on looking, every so many seconds, and print what changes.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

fn parse_id(word: &str) -> Result<Id, String> {
    Id::from_word(word).ok_or_else(|| {
        let words: Vec<_> = Id::ALL.into_iter().map(Id::word).collect();
        format!("the checks are {}", words.join(", "))
    })
}

impl Args {
    fn wanted(&self) -> Vec<Id> {
        let only = |id: &Id| self.only.is_empty() || self.only.contains(id);
        Id::ALL.into_iter().filter(only).filter(|id| !self.skip.contains(id)).collect()
    }
}

pub(super) fn run(args: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let (config, warnings) = config::load(path, std::env::vars())
        .map_err(|problems| Failure::new(Exit::BadConfiguration, problems.to_string()))?;
    let wanted = args.wanted();
    let mut of_config = Vec::new();
    if wanted.contains(&Id::Config) {
        let told = warnings.iter().map(|warning| {
            let key = warning.key().map(|key| format!("{key}: ")).unwrap_or_default();
            let code = warning.code().id();
            Finding::warning(Id::Config, format!("{key}{}", warning.message()), format!("see {code} above"))
        });
        of_config.extend(told);
        if of_config.is_empty() {
            of_config.push(Finding::ok(Id::Config, configured(path)));
        }
    }
    for warning in &warnings {
        output.talk(&warning.to_string());
    }
    let mut gatherer = Gatherer::new(config, Arc::new(SystemClock));
    gatherer.config_file = Some(path.to_owned());
    gatherer.ssh_peer = ssh_peer();
    gatherer.in_container = std::env::var("PVEGATE_CONTAINER").is_ok_and(|value| value == "1");
    let gatherer = Arc::new(gatherer);
    serve::runtime()?.block_on(async {
        let look = async || {
            let mut findings = of_config.clone();
            findings.extend(gatherer.clone().find(&wanted).await);
            findings.sort_by_key(|finding| finding.id);
            findings
        };
        let mut findings = look().await;
        let mut mended = Vec::new();
        if args.fix {
            mended = findings.iter().filter_map(|finding| finding.fix.as_ref().map(mend)).collect();
            if !mended.is_empty() {
                findings = look().await;
            }
        }
        for done in &mended {
            match done {
                Ok(done) => output
                    .data(&json!({ "check": "files", "severity": "ok", "fixed": done }), || {
                        format!(" + {:<9}  {done}", Id::Files)
                    }),
                Err(error) => output.talk(&format!("not mended: {error}")),
            }
        }
        tell(&findings, output);
        output.data_for_people(&format!(" {}", Summary::of(&findings)));
        if let Some(seconds) = args.watch {
            watch(findings, Duration::from_secs(seconds), look, output).await;
            return Ok(());
        }
        let problems = Summary::of(&findings).problems;
        match problems {
            0 => Ok(()),
            1 => Err(Failure::new(Exit::Changed, "a check found a problem")),
            _ => Err(Failure::new(Exit::Changed, format!("{problems} checks found problems"))),
        }
    })
}

/// Prints what is found anew, until it is told to stop.
async fn watch(
    mut before: Vec<Finding>,
    pause: Duration,
    look: impl AsyncFn() -> Vec<Finding>,
    output: &Output,
) {
    let stop = serve::asked_to_stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = look().await;
        let changed: BTreeSet<Id> = Id::ALL.into_iter().filter(|id| differs(&before, &now, *id)).collect();
        let news: Vec<_> = now.iter().filter(|finding| changed.contains(&finding.id)).cloned().collect();
        if !news.is_empty() {
            output.data_for_people(&format!(" {}", SystemClock.now()));
            tell(&news, output);
        }
        before = now;
    }
}

/// Whether a check ends otherwise than before. Measurements that wander (milliseconds, days, bytes) alone
/// are nothing new.
fn differs(before: &[Finding], now: &[Finding], id: Id) -> bool {
    let of = |findings: &[Finding]| -> Vec<(Severity, String)> {
        let without_digits = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let of_it = findings.iter().filter(|finding| finding.id == id);
        of_it.map(|finding| (finding.severity, without_digits(&finding.text))).collect()
    };
    of(before) != of(now)
}

fn tell(findings: &[Finding], output: &Output) {
    for Finding { id, severity, text, hint, fix } in findings {
        let object = json!({
            "check": id.word(),
            "severity": severity.word(),
            "text": text,
            "hint": hint,
            "fixable": fix.is_some(),
        });
        output.data(&object, || {
            let mark = match severity {
                Severity::Ok => '✓',
                Severity::Info => '·',
                Severity::Warning => '!',
                Severity::Problem => '✗',
            };
            let hint = hint.as_ref().map(|hint| format!("\n{:14}{hint}", "")).unwrap_or_default();
            format!(" {mark} {id:<9}  {text}{hint}")
        });
    }
}

/// `/etc/pvegate/pvegate.toml, 23 keys set`
fn configured(path: &Path) -> String {
    fn keys(table: &toml::Table) -> usize {
        let count = |value: &toml::Value| match value {
            toml::Value::Table(table) => keys(table),
            toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                items.iter().filter_map(toml::Value::as_table).map(keys).sum()
            }
            _ => 1,
        };
        table.values().map(count).sum()
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let count = text.parse::<toml::Table>().map_or(0, |table| keys(&table));
    format!("{}, {count} keys set", path.display())
}

/// From where the person at this terminal is logged in (sshd(8), `SSH_CONNECTION`).
fn ssh_peer() -> Option<IpAddr> {
    let value = std::env::var("SSH_CONNECTION").ok()?;
    value.split_whitespace().next()?.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Mends, and says what was done. A link is not followed: whoever can write a directory of the gate's must
/// not choose whose permissions root changes.
fn mend(fix: &Fix) -> io::Result<String> {
    let Fix::Chmod { path, remove } = fix;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let before = file.metadata()?.permissions().mode() & 0o7777;
    let after = before & !remove;
    file.set_permissions(fs::Permissions::from_mode(after))?;
    Ok(format!("chmod {after:o} {} (was {before:o})", path.display()))
}

/// What the diagnostics page asks: the checks that a gate can make while it runs.
pub(super) fn examiner(config: &Config, clock: Arc<dyn Clock>) -> Examine {
    let gatherer = Arc::new(Gatherer::new(config.clone(), clock));
    let live: Vec<Id> = Id::ALL.into_iter().filter(|id| id.is_live()).collect();
    Arc::new(move || {
        let (gatherer, live) = (gatherer.clone(), live.clone());
        Box::pin(async move {
            let mut findings = gatherer.find(&live).await;
            findings.sort_by_key(|finding| finding.id);
            findings
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_wanders_is_nothing_new() {
        let found = |severity, text: &str| vec![Finding { severity, ..Finding::ok(Id::Upstream, text) }];
        let before = found(Severity::Ok, "n:8006, 3 ms");

        assert!(!differs(&before, &found(Severity::Ok, "n:8006, 14 ms"), Id::Upstream));
        assert!(differs(&before, &found(Severity::Problem, "n:8006, 3 ms"), Id::Upstream));
        assert!(differs(&before, &found(Severity::Ok, "n:8006, gone"), Id::Upstream));
        assert!(!differs(&before, &[], Id::Tls));
    }
}
