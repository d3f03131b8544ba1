//! How a verb ends: exit codes, and what is said about a failure.

use std::{error::Error, fmt, process::ExitCode};

use crate::store::StoreError;

/// The exit codes. They are an interface for scripts and systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: wrong use, as the parser of arguments ends by itself too.
    WrongUse,
    /// 3: what was looked at is not as it should be.
    Changed,
    /// 4: no such user, session, …
    NoSuchThing,
    /// 5: refused: it exists already, wants `--yes`, or would take the last administrator away.
    Refused,
    /// 6: no gate is running, or it does not answer.
    NotRunning,
    /// 75: somebody else is writing to the store; try again (`EX_TEMPFAIL`).
    TryAgain,
    /// 78: the configuration is wrong (`EX_CONFIG`); systemd does not restart then.
    BadConfiguration,
}

impl Exit {
    /// Every one, with what it means.
    pub const ALL: [(Self, &str); 9] = [
        (Self::Done, "done"),
        (Self::Failed, "failed; stderr says why"),
        (Self::WrongUse, "wrong use; stderr says what would be right"),
        (Self::Changed, "what was looked at is not as it should be"),
        (Self::NoSuchThing, "no such user, session, …"),
        (
            Self::Refused,
            "refused: it exists already, wants `--yes`, or would take the last administrator away",
        ),
        (Self::NotRunning, "no gate is running, or it does not answer"),
        (Self::TryAgain, "another program is writing to the store; try again"),
        (Self::BadConfiguration, "the configuration is wrong; everything that is wrong is told"),
    ];

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::WrongUse => 2,
            Self::Changed => 3,
            Self::NoSuchThing => 4,
            Self::Refused => 5,
            Self::NotRunning => 6,
            Self::TryAgain => 75,
            Self::BadConfiguration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.number().into()
    }
}

/// Why a verb did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What was found, what was expected, what to do.
    pub message: String,
}

impl Failure {
    /// With a message.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// With an error's text and those of its causes.
    #[must_use]
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            next = cause.source();
        }
        Self { exit, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::Busy { .. } => Exit::TryAgain,
            StoreError::Unwritable { .. }
            | StoreError::Newer { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Unavailable
            | StoreError::Sqlite { .. } => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}
