//! Secrets that people type: never an argument, since every user of a machine sees those.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Exit, Failure, output::Output};

/// Longest secret, in bytes.
const LONGEST: u64 = 1024;

/// A line of stdin, without blanks around it; a terminal is asked and does not show what is typed.
pub(super) fn hidden(question: &str, output: &Output) -> Result<Zeroizing<String>, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("the secret could not be read: {error}"));
    let stdin = io::stdin();
    let mut text = Zeroizing::new(String::new());
    if stdin.is_terminal() {
        output.talk(question);
        let shown = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
        let mut hidden = shown.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).map_err(|error| failed(error.into()))?;
        let read = stdin.read_line(&mut text);
        tcsetattr(&stdin, SetArg::TCSANOW, &shown).map_err(|error| failed(error.into()))?;
        read.map_err(failed)?;
    } else {
        stdin.lock().take(LONGEST).read_line(&mut text).map_err(failed)?;
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Whether somebody sits there.
pub(super) fn somebody() -> bool {
    io::stdin().is_terminal()
}
