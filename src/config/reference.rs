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
# Tables in double brackets can stand several times or not at all: `#` makes their keys an example.
";

/// A file with every key, its default, its reason: `config/pvegate.toml`.
///
/// It is valid; keys that have no default have an example's value. It is still valid without the `#`
/// in front of the keys of repeated tables (`#` and a blank is a comment).
#[must_use]
pub fn default_file() -> String {
    let mut text = HEAD.to_owned();
    for table in std::iter::once(None).chain(TABLES.iter().map(Some)) {
        // A table that may not be there at all is shown as an example.
        let mark = if table.is_some_and(|table| table.repeated) { "#" } else { "" };
        if let Some(table) = table {
            text.push('\n');
            comment(&mut text, table.about);
            let _ = writeln!(text, "{mark}{}", table.header());
        }
        for key in KEYS.iter().filter(|key| key.table() == table) {
            text.push('\n');
            comment(&mut text, key.doc);
            if key.example.is_some() && mark.is_empty() {
                let _ = writeln!(text, "# REQUIRED; an example:");
            }
            let value = key.example.or(key.default).unwrap_or_default();
            let _ = writeln!(text, "{mark}{} = {value}", key.split().1);
        }
    }
    text
}

fn comment(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "# {line}");
    }
}
