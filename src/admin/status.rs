//! `pvegate status`: what the gates that run say of themselves.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    Exit, Failure,
    output::{Output, relative},
    read_config,
    serve::runtime,
};
use crate::{
    config::Config,
    store::{Question, SqliteStore, Store as _, StoreError},
    time::{Clock as _, SystemClock, Timestamp},
};

/// How long the first answer is waited for, and how long others after it. A gate hears within a quarter of a
/// second, and waits for its nodes for three.
const FIRST: Duration = Duration::from_secs(8);
const OTHERS: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(25);

pub(super) fn run(path: &Path, output: &Output) -> Result<(), Failure> {
    let config = read_config(path, output)?;
    let now = SystemClock.now();
    for (index, report) in reports(&config)?.iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        output.data(report, || format!("{gap}{}", screen(report, now)));
    }
    Ok(())
}

/// The reports of all gates on the store; at least one.
///
/// # Errors
///
/// [`Exit::NotRunning`] if nobody answers.
pub(super) fn reports(config: &Config) -> Result<Vec<Value>, Failure> {
    let nobody = || {
        let path = config.store.path.display();
        Failure::new(Exit::NotRunning, format!("no gate answers that runs on {path}"))
    };
    if !config.store.path.exists() {
        return Err(nobody());
    }
    let mut store = SqliteStore::open(&config.store.path)?;
    let answers = runtime()?.block_on(ask(&mut store))?;
    let reports: Vec<Value> = answers.iter().filter_map(|answer| serde_json::from_str(answer).ok()).collect();
    if reports.is_empty() { Err(nobody()) } else { Ok(reports) }
}

async fn ask(store: &mut SqliteStore) -> Result<Vec<String>, StoreError> {
    let id = store.ask(Question::Status, SystemClock.now())?;
    let began = Instant::now();
    let mut answered: Option<Instant> = None;
    let answers = loop {
        sleep(PAUSE).await;
        let answers = store.answers(id);
        match &answers {
            Err(_) => break answers,
            Ok(answers) if answers.is_empty() => {}
            Ok(_) => {
                answered.get_or_insert_with(Instant::now);
            }
        }
        if began.elapsed() >= FIRST || answered.is_some_and(|at| at.elapsed() >= OTHERS) {
            break answers;
        }
    };
    store.take_back(id)?;
    answers
}

/// For people, on one screen. What a gate of another version does not say is left out.
fn screen(report: &Value, now: Timestamp) -> String {
    let text = |name: &str| report[name].as_str().unwrap_or_default();
    let number = |value: &Value| value.as_i64().map(|number| number.to_string());
    let ago = |value: &Value| Some(relative(Timestamp::parse(value.as_str()?)?, now));
    let list = |name: &str, one: &dyn Fn(&Value) -> String| {
        let values = report[name].as_array().into_iter().flatten();
        Some(values.map(one).collect::<Vec<_>>().join("\n")).filter(|lines| !lines.is_empty())
    };
    let state = if report["ready"] == true {
        "ready".to_owned()
    } else {
        let why = list("trouble", &|word| word.as_str().unwrap_or_default().to_owned());
        format!("NOT READY: {}", why.unwrap_or_default().replace('\n', ", "))
    };
    let people = || {
        let of = |state: &str| number(report.pointer(&format!("/users/{state}"))?);
        Some(format!(
            "{} can sign in, {} not enrolled yet, {} disabled",
            of("active")?,
            of("pending")?,
            of("disabled")?
        ))
    };
    let traffic = || {
        Some(format!(
            "{}; {} tunnels, {} connections",
            number(&report["sessions"])?,
            number(&report["websockets"])?,
            number(&report["connections"])?
        ))
    };
    let clock = || {
        let millis = report["clock_offset_millis"].as_i64()?;
        let way = if millis < 0 { "behind" } else { "ahead of" };
        let apart = millis.unsigned_abs();
        Some(format!("{}.{} s {way} Proxmox VE's", apart / 1000, apart % 1000 / 100))
    };
    let audit = || {
        Some(match report["audit_write_errors"].as_u64()? {
            0 => "every event was written".to_owned(),
            lost => format!("{lost} EVENTS LOST"),
        })
    };
    let config = || {
        let failed = if report.pointer("/config/reload").is_some_and(|word| word == "ok") {
            ""
        } else {
            "; THE LAST RELOAD FAILED"
        };
        Some(format!("read {}{failed}", ago(report.pointer("/config/read_at")?)?))
    };
    let node = |node: &Value| {
        let address = node["address"].as_str().unwrap_or_default();
        if node["up"] == true {
            return format!("{address} up");
        }
        let since = ago(&node["down_since"]).unwrap_or_default();
        format!("{address} DOWN since {since}: {}", node["why"].as_str().unwrap_or_default())
    };
    let certificate = |own: &Value| {
        let days = number(&own["days_left"]).unwrap_or_default();
        format!("{}: {days} days left", own["role"].as_str().unwrap_or_default())
    };
    let rows = [
        ("started", ago(&report["started_at"]).map(|ago| format!("{ago}, process {}", report["pid"]))),
        ("listens at", list("listen", &|address| address.as_str().unwrap_or_default().to_owned())),
        ("upstream", list("upstream", &node)),
        ("clock", clock()),
        ("sessions", traffic()),
        ("people", people()),
        ("bans", number(&report["bans"])),
        ("certificates", list("certificates", &certificate)),
        ("configuration", config()),
        ("audit", audit()),
    ];
    let mut screen = format!("pvegate {} at {}: {state}", text("version"), text("url"));
    for (name, value) in rows {
        for (index, line) in value.iter().flat_map(|value| value.lines()).enumerate() {
            let name = if index == 0 { name } else { "" };
            screen.push_str(&format!("\n  {name:<14} {line}"));
        }
    }
    screen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gate_in_trouble_says_so_on_one_screen() {
        let report = json!({
            "version": "0.1.0", "url": "https://pve.example.com", "pid": 812, "ready": false,
            "trouble": ["store", "certificate"], "listen": ["[::]:443", "[::]:8443"],
            "started_at": "1970-01-01T00:00:00Z",
            "upstream": [
                { "address": "10.0.0.2:8006", "up": true },
                { "address": "10.0.0.3:8006", "up": false, "down_since": "1970-01-01T00:57:00Z", "why": "refused" },
            ],
            "clock_offset_millis": -1500, "sessions": 4, "websockets": 2, "connections": 9,
            "users": null, "bans": null,
            "certificates": [{ "role": "server", "days_left": 0 }],
            "config": { "read_at": "1970-01-01T00:00:00Z", "reload": "failed" },
            "audit_write_errors": 12,
        });

        let expected = "\
pvegate 0.1.0 at https://pve.example.com: NOT READY: store, certificate
  started        1 hour ago, process 812
  listens at     [::]:443
                 [::]:8443
  upstream       10.0.0.2:8006 up
                 10.0.0.3:8006 DOWN since 3 minutes ago: refused
  clock          1.5 s behind Proxmox VE's
  sessions       4; 2 tunnels, 9 connections
  certificates   server: 0 days left
  configuration  read 1 hour ago; THE LAST RELOAD FAILED
  audit          12 EVENTS LOST";
        assert_eq!(screen(&report, Timestamp::from_secs(3600)), expected);
    }
}
