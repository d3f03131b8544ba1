//! `pvegate export` gives the files that are shipped.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::Path};

use super::shipped;
use crate::harness::{Scratch, pvegate};

/// For which programs, and where their files lie.
const PROGRAMS: [(&str, &str); 8] = [
    ("fail2ban", "fail2ban"),
    ("crowdsec", "crowdsec"),
    ("prometheus", "monitoring"),
    ("grafana", "monitoring"),
    ("systemd", "systemd"),
    ("rsyslog", "rsyslog"),
    ("logrotate", "logrotate"),
    ("nftables", "firewall"),
];

/// Every file below a directory.
fn below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else {
            found.insert(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn every_shipped_file_is_exported_as_it_is() {
    let scratch = Scratch::new();
    let mut exported = BTreeSet::new();

    for (program, dir) in PROGRAMS {
        let to = scratch.path().join(program).display().to_string();
        for file in pvegate(&["export", program, "--to", &to, "--json"]).await.json() {
            let ours = shipped(dir).join(file["file"].as_str().unwrap());
            let text = fs::read_to_string(&ours).unwrap();
            assert!(file["text"] == *text, "{}", ours.display());
            assert_eq!(fs::read_to_string(file["written"].as_str().unwrap()).unwrap(), text);
            exported.insert(ours.display().to_string());
        }
    }

    let mut all = BTreeSet::new();
    PROGRAMS.iter().for_each(|(_, dir)| below(&shipped(dir), &mut all));
    // It tests the rules beside it, and is of no use elsewhere.
    all.remove(&shipped("monitoring/pvegate.rules.test.yml").display().to_string());
    assert_eq!(exported, all, "exported on the left, shipped on the right");
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_replaced_only_when_told() {
    let scratch = Scratch::new();
    let to = scratch.path().display().to_string();
    pvegate(&["export", "fail2ban", "--to", &to]).await.ok();
    let jail = scratch.path().join("jail.d/pvegate.local");
    fs::write(&jail, "# mine").unwrap();
    let filter = scratch.path().join("filter.d/pvegate.conf");
    fs::remove_file(&filter).unwrap();

    let refused = pvegate(&["export", "fail2ban", "--to", &to]).await;

    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(fs::read_to_string(&jail).unwrap(), "# mine");
    assert!(!filter.exists(), "half was written");
    pvegate(&["export", "fail2ban", "--to", &to, "--yes"]).await.ok();
    assert_ne!(fs::read_to_string(&jail).unwrap(), "# mine");
}
