//! Whether an authenticator app's clock is right.

use std::time::Duration;

use super::rendered;
use crate::gate::portal::words::Language;

/// `/_gate/methods/clock`: asks for a code, and tells how far its app is off. Field: `code`; no action, so that
/// `?next=…` comes along.
#[derive(Debug, Clone, Copy)]
pub struct AppClock<'a> {
    /// What was found.
    pub found: Option<AppClockFound>,
    /// Where somebody was going who signed in just now: a path of ours.
    pub next: &'a str,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppClockFound {
    /// It is right.
    Right,
    /// It is so many seconds ahead of the gate's; behind where negative.
    Off(i64),
    /// So it was when a code was refused before.
    Before(i64),
    /// The code is of no app of theirs, within an hour.
    NoMatch,
    /// Too much was guessed.
    Locked,
}

rendered!(AppClock<'t>, "app-clock.html");

/// How far an app is ahead, in seconds; behind where negative.
pub(super) fn off(w: Language, ahead: i64) -> String {
    let span = w.span(Duration::from_secs(ahead.unsigned_abs()));
    if ahead > 0 { w.app_is_ahead(&span) } else { w.app_is_behind(&span) }
}

impl AppClock<'_> {
    fn off(&self, w: Language, ahead: i64) -> String {
        off(w, ahead)
    }
}
