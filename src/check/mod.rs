//! What could be wrong with an installation: facts in, findings out (pure).
//!
//! Each check is a function from facts to [`Finding`]s, with a table of tests beside it; none reads a file, a
//! socket or a clock. Facts are gathered by `admin::check`, for the verb `pvegate check` and for the page
//! `/_gate/admin/diagnostics`, which a gate shows to administrators with what [`Examine`] finds. A finding's
//! text says what was found, its hint what to do; both are in English in either place, as they quote the
//! command line.

pub mod certificate;
pub mod clock;
pub mod files;
pub mod network;
pub mod people;
pub mod resources;
pub mod upstream;

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

/// Makes the checks that a running gate can make. It may take some seconds.
pub type Examine = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Finding>> + Send>> + Send + Sync>;

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// The configuration.
    Config,
    /// Modes and owners of files.
    Files,
    /// The addresses to listen on.
    Ports,
    /// The gate's certificate.
    Tls,
    /// Whether passkeys can work.
    Webauthn,
    /// Where the public name leads.
    Dns,
    /// Proxmox VE's nodes.
    Upstream,
    /// The machine's clock.
    Clock,
    /// Who may talk to the gate.
    Access,
    /// Ways around the gate.
    Sidedoor,
    /// People and how they sign in.
    Users,
    /// Where audit events go.
    Audit,
    /// Limits of the system.
    Limits,
    /// The unit's sandbox.
    Systemd,
}

impl Id {
    /// Every check, in the order in which they are told.
    pub const ALL: [Self; 14] = [
        Self::Config,
        Self::Files,
        Self::Ports,
        Self::Tls,
        Self::Webauthn,
        Self::Dns,
        Self::Upstream,
        Self::Clock,
        Self::Access,
        Self::Sidedoor,
        Self::Users,
        Self::Audit,
        Self::Limits,
        Self::Systemd,
    ];

    /// Its word, as people name it on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Files => "files",
            Self::Ports => "ports",
            Self::Tls => "tls",
            Self::Webauthn => "webauthn",
            Self::Dns => "dns",
            Self::Upstream => "upstream",
            Self::Clock => "clock",
            Self::Access => "access",
            Self::Sidedoor => "sidedoor",
            Self::Users => "users",
            Self::Audit => "audit",
            Self::Limits => "limits",
            Self::Systemd => "systemd",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.word() == word)
    }

    /// Whether a gate makes it while it runs, in its sandbox. The others are the command line's alone: a gate
    /// holds its own ports, was started by a configuration that it could read, and runs no other program.
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            Self::Config | Self::Ports | Self::Systemd => false,
            Self::Files
            | Self::Tls
            | Self::Webauthn
            | Self::Dns
            | Self::Upstream
            | Self::Clock
            | Self::Access
            | Self::Sidedoor
            | Self::Users
            | Self::Audit
            | Self::Limits => true,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing to be done.
    Info,
    /// It works, and should be looked at.
    Warning,
    /// Something does not work, or a guarantee does not hold.
    Problem,
}

impl Severity {
    /// Its word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub id: Id,
    /// How grave it is.
    pub severity: Severity,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What would mend it, where that can harm nobody.
    pub fix: Option<Fix>,
}

/// A change that is safe to make without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Takes permissions away from a file. It never gives any.
    Chmod {
        /// The file.
        path: PathBuf,
        /// The permission bits to take away.
        remove: u32,
    },
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn ok(id: Id, text: impl Into<String>) -> Self {
        Self { id, severity: Severity::Ok, text: text.into(), hint: None, fix: None }
    }

    /// Worth knowing.
    #[must_use]
    pub fn info(id: Id, text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::ok(id, text) }
    }

    /// To be looked at.
    #[must_use]
    pub fn warning(id: Id, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, hint: Some(hint.into()), ..Self::ok(id, text) }
    }

    /// Does not work, or does not hold.
    #[must_use]
    pub fn problem(id: Id, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, ..Self::warning(id, text, hint) }
    }

    /// With what would mend it.
    #[must_use]
    pub fn mended_by(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }
}

/// How many checks were made, and how they ended: each counts once, by its gravest finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// In all.
    pub checks: usize,
    /// With nothing to be done.
    pub ok: usize,
    /// With a warning, and no problem.
    pub warnings: usize,
    /// With a problem.
    pub problems: usize,
}

impl Summary {
    /// Counts.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let mut summary = Self::default();
        for id in Id::ALL {
            let of_it = findings.iter().filter(|finding| finding.id == id);
            let Some(gravest) = of_it.map(|finding| finding.severity).max() else { continue };
            summary.checks += 1;
            match gravest {
                Severity::Ok | Severity::Info => summary.ok += 1,
                Severity::Warning => summary.warnings += 1,
                Severity::Problem => summary.problems += 1,
            }
        }
        summary
    }
}

/// `11 checks: 9 ok, 1 warning, 1 problem`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let Self { checks, ok, warnings, problems } = *self;
        write!(f, "{checks} check{}: {ok} ok", plural(checks))?;
        if warnings > 0 {
            write!(f, ", {warnings} warning{}", plural(warnings))?;
        }
        if problems > 0 {
            write!(f, ", {problems} problem{}", plural(problems))?;
        }
        Ok(())
    }
}

/// A number of days, hours, minutes or seconds, whichever says it best.
fn length(of: Duration) -> String {
    let seconds = of.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_counts_once_by_its_gravest_finding() {
        let findings = [
            Finding::ok(Id::Config, "c"),
            Finding::warning(Id::Users, "one", "do"),
            Finding::problem(Id::Users, "two", "do"),
            Finding::warning(Id::Dns, "d", "do"),
            Finding::info(Id::Systemd, "s"),
        ];

        assert_eq!(Summary::of(&findings).to_string(), "4 checks: 2 ok, 1 warning, 1 problem");
        assert_eq!(Summary::of(&[Finding::ok(Id::Tls, "t")]).to_string(), "1 check: 1 ok");
    }

    #[test]
    fn every_check_has_a_word_of_its_own() {
        for id in Id::ALL {
            assert_eq!(Id::from_word(id.word()), Some(id));
        }
        assert_eq!(Id::from_word("everything"), None);
    }
}
