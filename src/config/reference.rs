//! Documentation out of the table of keys.

use std::fmt::Write as _;

use super::keys::{KEYS, TABLES};

const HEAD: &str = "\
# The configuration of pvegate, usually /etc/pvegate/pvegate.toml.
#
# Every key with its default and its reason. A file needs only what differs; the least is
# server.public_url, upstream.url and upstream.fingerprint (or upstream.ca), marked REQUIRED.
#
# By environment:     PVEGATE_SESSION__IDLE=30m sets session.idle (two underscores for the dot; lists as
#                     JSON or with commas). It wins over the file.
# Durations:          250ms, 90s, 15m, 12h, 400d
# Unknown names are errors. No secret stands here: secrets lie in files of their own.
";

/// A file with every key, its default, its reason: `config/pvegate.toml`.
///
/// It is valid; keys that have no default have an example's value.
#[must_use]
pub fn default_file() -> String {
    let mut text = HEAD.to_owned();
    let tables = std::iter::once(("", "")).chain(TABLES.iter().copied());
    for (table, about) in tables {
        if !table.is_empty() {
            let _ = write!(text, "\n# {about}\n[{table}]\n");
        }
        for key in KEYS.iter().filter(|key| key.split().0 == table) {
            text.push('\n');
            for line in key.doc.lines() {
                let _ = writeln!(text, "# {line}");
            }
            if key.example.is_some() {
                let _ = writeln!(text, "# REQUIRED; an example:");
            }
            let value = key.example.or(key.default).unwrap_or_default();
            let _ = writeln!(text, "{} = {value}", key.split().1);
        }
    }
    text
}
