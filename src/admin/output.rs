//! What verbs print: data to stdout, talk to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where verbs print")]

use std::io::{self, IsTerminal as _, Write as _};

use qrcode::{EcLevel, QrCode, render::unicode};
use serde_json::{Value, json};

use super::Failure;
use crate::time::Timestamp;

/// Where a verb's words go, and in which shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Data: an object for programs, text for people.
    pub(super) fn data(&self, object: &Value, text: impl FnOnce() -> String) {
        if self.json {
            println!("{object}");
        } else {
            println!("{}", text());
        }
    }

    /// Whether programs read it.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line that is data for both, as it stands. Whether somebody still reads.
    pub(super) fn raw(&self, line: &str) -> bool {
        writeln!(io::stdout(), "{line}").is_ok()
    }

    /// Data that only programs need: people were told in words.
    pub(super) fn object(&self, object: &Value) {
        if self.json {
            println!("{object}");
        }
    }

    /// A line that structures data for people; programs have the objects.
    pub(super) fn data_for_people(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }

    /// A list: an object a line for programs, a table for people, who are told when there is `nothing`.
    pub(super) fn list(&self, objects: &[Value], head: &[&str], rows: &[Vec<String>], nothing: &str) {
        if self.json {
            for object in objects {
                println!("{object}");
            }
        } else if rows.is_empty() {
            self.talk(nothing);
        } else {
            println!("{}", table(head, rows));
        }
    }

    /// Talk, for people only.
    pub(super) fn talk(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Why it failed.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.json {
            println!("{}", json!({ "error": failure.message, "exit": failure.exit.number() }));
        }
        eprintln!("pvegate: {failure}");
    }

    /// A QR code for a terminal; nothing where stdout is none.
    pub(super) fn qr(&self, text: &str) {
        if self.json || !io::stdout().is_terminal() {
            return;
        }
        if let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) {
            // Light on dark terminals and dark on light ones both scan, as long as the rim is there.
            println!("{}", code.render::<unicode::Dense1x2>().quiet_zone(true).build());
        }
    }
}

/// Columns as wide as their widest cell, two blanks between.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    std::iter::once(&head)
        .chain(rows)
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// How long ago, or in how long, in one unit: what people want of a time in a table.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (distance, past) = if at <= now { (now.since(at), true) } else { (at.since(now), false) };
    let seconds = distance.as_secs();
    let (count, unit) = match seconds {
        0..60 => return if past { "just now".into() } else { "in a moment".into() },
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if past { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_has_no_blanks_at_its_ends() {
        let rows = vec![vec!["alice".into(), "admin".into()], vec!["bo".into(), String::new()]];
        assert_eq!(table(&["user", "role"], &rows), "user   role\nalice  admin\nbo");
    }

    #[test]
    fn a_time_is_told_from_now() {
        let now = Timestamp::from_secs(1_000_000);
        let table = [
            (0, "just now"),
            (-59, "just now"),
            (-60, "1 minute ago"),
            (-7200, "2 hours ago"),
            (-86_400, "1 day ago"),
            (10, "in a moment"),
            (3600, "in 1 hour"),
        ];
        for (offset, text) in table {
            assert_eq!(relative(Timestamp::from_secs(1_000_000 + offset), now), text);
        }
    }
}
