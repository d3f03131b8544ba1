//! Modes and owners of the gate's files.

use std::path::PathBuf;

use super::{Finding, Fix, Id};

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What it is for.
    pub kind: Kind,
    /// What is there.
    pub state: State,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The configuration. It holds no secret.
    Config,
    /// The master key. It may belong to root while the gate runs as somebody else: systemd hands it over.
    MasterKey,
    /// The directory of the database.
    StateDirectory,
    /// The database, or a file that SQLite keeps beside it.
    Database,
    /// The audit file.
    Audit,
    /// The local CA's key.
    AuthorityKey,
    /// The key of a certificate from files, which a group may read.
    ServerKey,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Missing,
    /// The system does not let us look.
    Hidden(String),
    /// A file or directory.
    There {
        /// Permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
}

impl Kind {
    /// Permission bits that it must not have, and what somebody could do with them.
    const fn refused(self) -> (u32, &'static str) {
        match self {
            Self::Config => (0o022, "others can change what the gate does"),
            Self::MasterKey | Self::AuthorityKey => (0o077, "others can read a key"),
            Self::ServerKey => (0o027, "others can read a key"),
            Self::StateDirectory => (0o022, "others can replace the database"),
            Self::Database => (0o077, "others can read sessions and sealed secrets"),
            Self::Audit => (0o027, "others can read who signed in, or write it"),
        }
    }

    /// Whether the gate itself writes it, so that it must belong to whom the directory belongs.
    const fn is_written(self) -> bool {
        match self {
            Self::Database | Self::Audit | Self::AuthorityKey => true,
            Self::Config | Self::MasterKey | Self::ServerKey | Self::StateDirectory => false,
        }
    }
}

/// Judges them.
#[must_use]
pub fn judge(files: &[File]) -> Vec<Finding> {
    let gate = files.iter().find_map(|file| match (file.kind, &file.state) {
        (Kind::StateDirectory, State::There { uid, .. }) => Some(*uid),
        _ => None,
    });
    let has_database =
        files.iter().any(|file| file.kind == Kind::Database && matches!(file.state, State::There { .. }));
    let mut findings = Vec::new();
    for File { path, kind, state } in files {
        let shown = path.display();
        match state {
            State::Missing if *kind == Kind::MasterKey && has_database => findings.push(Finding::problem(
                Id::Files,
                format!("{shown} is missing, and the database has secrets that it sealed"),
                "put it back from a backup: with a new one, authenticator apps and recovery codes are void",
            )),
            State::Missing => {}
            State::Hidden(reason) => findings.push(Finding::warning(
                Id::Files,
                format!("{shown} can't be looked at: {reason}"),
                "run the check as root",
            )),
            State::There { mode, uid } => {
                let (refused, consequence) = kind.refused();
                let excess = mode & refused;
                if excess != 0 {
                    let wanted = mode & !refused & 0o7777;
                    findings.push(
                        Finding::problem(
                            Id::Files,
                            format!("{shown} has mode {:04o}: {consequence}", mode & 0o7777),
                            format!("chmod {wanted:o} {shown}"),
                        )
                        .mended_by(Fix::Chmod { path: path.clone(), remove: refused }),
                    );
                }
                if let Some(gate) = gate
                    && kind.is_written()
                    && *uid != gate
                {
                    findings.push(Finding::problem(
                        Id::Files,
                        format!("{shown} belongs to user id {uid}, the state directory to {gate}: the gate can't write it"),
                        format!("chown {gate} {shown}"),
                    ));
                }
            }
        }
    }
    if findings.is_empty() {
        let there = files.iter().filter(|file| matches!(file.state, State::There { .. })).count();
        findings.push(Finding::ok(Id::Files, format!("{there} files, modes and owners as they should be")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, kind: Kind, mode: u32, uid: u32) -> File {
        File { path: path.into(), kind, state: State::There { mode: 0o100_000 | mode, uid } }
    }

    fn good() -> Vec<File> {
        vec![
            file("/etc/pvegate/pvegate.toml", Kind::Config, 0o644, 0),
            file("/etc/pvegate/master.key", Kind::MasterKey, 0o600, 0),
            file("/var/lib/pvegate", Kind::StateDirectory, 0o700, 990),
            file("/var/lib/pvegate/pvegate.db", Kind::Database, 0o600, 990),
            file("/var/log/pvegate/audit.jsonl", Kind::Audit, 0o640, 990),
            file("/etc/ssl/private/gate.key", Kind::ServerKey, 0o640, 0),
        ]
    }

    #[test]
    fn what_is_as_it_should_be_is_one_line() {
        assert_eq!(judge(&good()), [Finding::ok(Id::Files, "6 files, modes and owners as they should be")]);
    }

    #[test]
    fn each_wrong_file_is_told_with_the_command_that_mends_it() {
        #[rustfmt::skip]
        let table = [
            (file("/k", Kind::MasterKey, 0o640, 0),      "/k has mode 0640: others can read a key",       "chmod 600 /k"),
            (file("/k", Kind::MasterKey, 0o604, 0),      "/k has mode 0604: others can read a key",       "chmod 600 /k"),
            (file("/c", Kind::Config, 0o664, 0),         "/c has mode 0664: others can change what the gate does", "chmod 644 /c"),
            (file("/k", Kind::ServerKey, 0o644, 0),      "/k has mode 0644: others can read a key",       "chmod 640 /k"),
            (file("/d", Kind::StateDirectory, 0o777, 990), "/d has mode 0777: others can replace the database", "chmod 755 /d"),
            (file("/b", Kind::Database, 0o644, 990),     "/b has mode 0644: others can read sessions and sealed secrets", "chmod 600 /b"),
            (file("/a", Kind::Audit, 0o644, 990),        "/a has mode 0644: others can read who signed in, or write it", "chmod 640 /a"),
            (file("/b", Kind::Database, 0o600, 0),       "/b belongs to user id 0, the state directory to 990: the gate can't write it", "chown 990 /b"),
            (File { path: "/k".into(), kind: Kind::MasterKey, state: State::Missing }, "/k is missing, and the database has secrets that it sealed",
                "put it back from a backup: with a new one, authenticator apps and recovery codes are void"),
            (File { path: "/k".into(), kind: Kind::MasterKey, state: State::Hidden("Permission denied".into()) }, "/k can't be looked at: Permission denied",
                "run the check as root"),
        ];
        for (wrong, text, hint) in table {
            let mut files = good();
            files.retain(|file| file.kind != wrong.kind || wrong.kind == Kind::Database);
            files.push(wrong);

            let findings = judge(&files);

            let told: Vec<_> = findings.iter().map(|f| (f.text.as_str(), f.hint.as_deref())).collect();
            assert_eq!(told, [(text, Some(hint))]);
        }
    }

    #[test]
    fn a_fix_only_takes_away() {
        let findings = judge(&[file("/k", Kind::MasterKey, 0o444, 0)]);

        let fix = findings.first().and_then(|finding| finding.fix.clone());
        assert_eq!(fix, Some(Fix::Chmod { path: "/k".into(), remove: 0o077 }));
    }

    #[test]
    fn before_the_first_start_nothing_is_missing() {
        let missing = |kind| File { path: "/x".into(), kind, state: State::Missing };

        let findings = judge(&[missing(Kind::MasterKey), missing(Kind::Database), missing(Kind::Audit)]);

        assert_eq!(findings, [Finding::ok(Id::Files, "0 files, modes and owners as they should be")]);
    }
}
