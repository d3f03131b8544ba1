//! What verbs print: data to stdout, talk to stderr; and what they ask.

use std::{
    cell::RefCell,
    io::{self, IsTerminal as _, Write as _},
};

use qrcode::{EcLevel, QrCode, render::unicode};
use serde_json::{Value, json};

use super::{Exit, Failure};
use crate::time::Timestamp;

/// Where a verb's words go, and in which shape.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    talk: Talk,
    /// Why data could not be written, if so.
    unwritten: RefCell<Option<io::Error>>,
}

/// How much is said beside the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// Why it failed, and nothing else.
    Quiet,
    /// What was done, and what may be done next.
    Usual,
    /// Also which files are read and written.
    Verbose,
}

impl Output {
    pub(super) fn new(json: bool, talk: Talk) -> Self {
        Self { json, talk, unwritten: RefCell::default() }
    }

    /// How much is said.
    pub(super) fn how_much(&self) -> Talk {
        self.talk
    }

    /// Data: an object for programs, text for people.
    pub(super) fn data(&self, object: &Value, text: impl FnOnce() -> String) {
        if self.json {
            self.print(&object.to_string());
        } else {
            self.print(&text());
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
            self.print(&object.to_string());
        }
    }

    /// A line that structures data for people; programs have the objects.
    pub(super) fn data_for_people(&self, line: &str) {
        if !self.json {
            self.print(line);
        }
    }

    /// A list: an object a line for programs, a table for people, who are told when there is `nothing`.
    pub(super) fn list(&self, objects: &[Value], head: &[&str], rows: &[Vec<String>], nothing: &str) {
        if self.json {
            for object in objects {
                self.print(&object.to_string());
            }
        } else if rows.is_empty() {
            self.talk(nothing);
        } else {
            self.print(&table(head, rows));
        }
    }

    /// Talk, for people only.
    pub(super) fn talk(&self, text: &str) {
        match self.talk {
            Talk::Quiet => {}
            Talk::Usual | Talk::Verbose => say(text),
        }
    }

    /// Talk for whoever wants to know more.
    pub(super) fn detail(&self, text: &str) {
        match self.talk {
            Talk::Quiet | Talk::Usual => {}
            Talk::Verbose => say(text),
        }
    }

    /// Why it failed.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.json {
            self.print(&json!({ "error": failure.message, "exit": failure.exit.number() }).to_string());
        }
        say(&format!("pvegate: {failure}"));
    }

    /// A QR code for a terminal; nothing where stdout is none.
    pub(super) fn qr(&self, text: &str) {
        if self.json || self.talk == Talk::Quiet || !io::stdout().is_terminal() {
            return;
        }
        if let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) {
            // Light on dark terminals and dark on light ones both scan, as long as the rim is there.
            self.print(&code.render::<unicode::Dense1x2>().quiet_zone(true).build());
        }
    }

    /// Asks before something that can't be undone, unless `yes` was said already. Where nobody can answer
    /// it is refused.
    ///
    /// # Errors
    ///
    /// [`Exit::Refused`]: nothing is to be done. `what` is told, and what may be said instead.
    pub(super) fn consent(&self, yes: bool, what: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::new(Exit::Refused, format!("{what}: say --yes")));
        }
        let mut answer = String::new();
        let _ = write!(io::stderr(), "{what}. Go on? [y/N] ");
        let read = io::stdin().read_line(&mut answer);
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            (Ok(_) | Err(_), _) => Err(Failure::new(Exit::Refused, "nothing was changed")),
        }
    }

    fn print(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        if let Err(error) = written {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }

    /// Whether all data was written. Whoever closes the pipe has read enough.
    ///
    /// # Errors
    ///
    /// [`Exit::Failed`]: some was not.
    pub(super) fn written(&self) -> Result<(), Failure> {
        match self.unwritten.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, format!("the data could not be written to stdout: {error}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What can't be said to anybody is lost.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Columns as wide as their widest cell, two blanks between.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
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
