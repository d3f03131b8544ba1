//! Which call is of which class (pure): the one list that policy, audit, limits and the idle clock share.
//!
//! Rows name what is not of its method's usual class: a GET reads, a POST or PUT changes something, a
//! DELETE takes something away. So a call that a later Proxmox VE adds is never taken for something more
//! harmless than its method says. `*` stands for one segment, `**` at the end for one or more.

use super::{NormalPath, Parameters, Verb};

/// What kind of thing a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The index, a file: anything outside the API, by whatever method.
    Page,
    /// Reads.
    Read,
    /// Reads what an open tab asks for by itself again and again.
    Poll,
    /// A GET that does more than read: it makes a node connect to somewhere, or shows what is inside a
    /// guest.
    Reach,
    /// Takes a file out: a task's log, a file of a backup.
    Download,
    /// Signs in to Proxmox VE, or checks a ticket or an OpenID answer: the calls that pveproxy answers
    /// to anybody.
    SignIn,
    /// Renews a ticket with itself for a password. Only a form can tell: see
    /// [`Call::with_parameters`](super::Call::with_parameters).
    Renewal,
    /// Brings a file in.
    Upload,
    /// Asks for a console of a guest.
    Console,
    /// The connection of a console, a shell or a migration.
    Tunnel,
    /// Asks for a shell on a node, or runs a command there or inside a guest.
    Shell,
    /// Changes something.
    Change,
    /// Takes away, stops, overwrites, or changes who may do what.
    Destructive,
    /// Begins like a call and names no format; pveproxy answers 501.
    Nothing,
    /// A method that pveproxy does not have; it answers 501.
    NotOffered,
    /// A path of which nobody can be sure how it is read.
    Unreadable,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 16] = [
        Self::Page,
        Self::Read,
        Self::Poll,
        Self::Reach,
        Self::Download,
        Self::SignIn,
        Self::Renewal,
        Self::Upload,
        Self::Console,
        Self::Tunnel,
        Self::Shell,
        Self::Change,
        Self::Destructive,
        Self::Nothing,
        Self::NotOffered,
        Self::Unreadable,
    ];

    /// The word for it, in the audit log and in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Read => "read",
            Self::Poll => "poll",
            Self::Reach => "reach",
            Self::Download => "download",
            Self::SignIn => "sign-in",
            Self::Renewal => "renewal",
            Self::Upload => "upload",
            Self::Console => "console",
            Self::Tunnel => "tunnel",
            Self::Shell => "shell",
            Self::Change => "change",
            Self::Destructive => "destructive",
            Self::Nothing => "nothing",
            Self::NotOffered => "not-offered",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether such a call shows that a person is at work. An open tab polls and renews its ticket by
    /// itself; a sign-in and a renewal look alike until their form is read. In a tunnel the frames
    /// count, not its beginning.
    #[must_use]
    pub const fn winds_idle_clock(self) -> bool {
        match self {
            Self::Upload | Self::Console | Self::Shell | Self::Change | Self::Destructive => true,
            Self::Page
            | Self::Read
            | Self::Poll
            | Self::Reach
            | Self::Download
            | Self::SignIn
            | Self::Renewal
            | Self::Tunnel
            | Self::Nothing
            | Self::NotOffered
            | Self::Unreadable => false,
        }
    }
}

/// Whether a path of the API, without its format, is about passwords, tickets or second factors: what people
/// prove themselves by, whatever the method.
#[must_use]
pub fn is_about_proof<'a>(mut segments: impl Iterator<Item = &'a str>) -> bool {
    segments.next() == Some("access") && segments.next().is_some_and(|segment| ABOUT_PROOF.contains(&segment))
}

const ABOUT_PROOF: [&str; 5] = ["ticket", "vncticket", "openid", "tfa", "password"];

type Row = (&'static str, Class);

#[rustfmt::skip]
const GET: &[Row] = &[
    ("/cluster/resources",                          Class::Poll),
    ("/cluster/tasks",                              Class::Poll),
    ("/cluster/status",                             Class::Poll),
    ("/cluster/log",                                Class::Poll),
    ("/cluster/ha/status/*",                        Class::Poll),
    ("/cluster/ceph/status",                        Class::Poll),
    ("/cluster/ceph/metadata",                      Class::Poll),
    ("/nodes/*/status",                             Class::Poll),
    ("/nodes/*/rrd",                                Class::Poll),
    ("/nodes/*/rrddata",                            Class::Poll),
    ("/nodes/*/tasks",                              Class::Poll),
    ("/nodes/*/tasks/*/status",                     Class::Poll),
    ("/nodes/*/tasks/*/log",                        Class::Poll),
    ("/nodes/*/syslog",                             Class::Poll),
    ("/nodes/*/journal",                            Class::Poll),
    ("/nodes/*/services",                           Class::Poll),
    ("/nodes/*/replication",                        Class::Poll),
    ("/nodes/*/replication/*/log",                  Class::Poll),
    ("/nodes/*/replication/*/status",               Class::Poll),
    ("/nodes/*/firewall/log",                       Class::Poll),
    ("/nodes/*/ceph/status",                        Class::Poll),
    ("/nodes/*/ceph/log",                           Class::Poll),
    ("/nodes/*/storage/*/status",                   Class::Poll),
    ("/nodes/*/storage/*/rrd",                      Class::Poll),
    ("/nodes/*/storage/*/rrddata",                  Class::Poll),
    ("/nodes/*/qemu/*/status/current",              Class::Poll),
    ("/nodes/*/qemu/*/rrd",                         Class::Poll),
    ("/nodes/*/qemu/*/rrddata",                     Class::Poll),
    ("/nodes/*/qemu/*/pending",                     Class::Poll),
    ("/nodes/*/qemu/*/firewall/log",                Class::Poll),
    ("/nodes/*/qemu/*/agent/network-get-interfaces", Class::Poll),
    ("/nodes/*/lxc/*/status/current",               Class::Poll),
    ("/nodes/*/lxc/*/rrd",                          Class::Poll),
    ("/nodes/*/lxc/*/rrddata",                      Class::Poll),
    ("/nodes/*/lxc/*/pending",                      Class::Poll),
    ("/nodes/*/lxc/*/interfaces",                   Class::Poll),
    ("/nodes/*/lxc/*/firewall/log",                 Class::Poll),
    ("/nodes/*/vncwebsocket",                       Class::Tunnel),
    ("/nodes/*/qemu/*/vncwebsocket",                Class::Tunnel),
    ("/nodes/*/qemu/*/mtunnelwebsocket",            Class::Tunnel),
    ("/nodes/*/lxc/*/vncwebsocket",                 Class::Tunnel),
    ("/nodes/*/lxc/*/mtunnelwebsocket",             Class::Tunnel),
    ("/nodes/*/storage/*/file-restore/download",    Class::Download),
    ("/nodes/*/qemu/*/agent/file-read",             Class::Reach),
    ("/nodes/*/qemu/*/agent/exec-status",           Class::Reach),
    ("/nodes/*/qemu/*/cloudinit/dump",              Class::Reach),
    ("/nodes/*/query-url-metadata",                 Class::Reach),
    ("/nodes/*/query-oci-repo-tags",                Class::Reach),
    ("/nodes/*/scan/**",                            Class::Reach),
];

#[rustfmt::skip]
const POST: &[Row] = &[
    ("/access/ticket",                              Class::SignIn),
    ("/access/openid/login",                        Class::SignIn),
    ("/access/openid/auth-url",                     Class::SignIn),
    ("/access/vncticket",                           Class::SignIn),
    ("/access/**",                                  Class::Destructive),
    ("/nodes/*/storage/*/upload",                   Class::Upload),
    ("/nodes/*/qemu/*/vncproxy",                    Class::Console),
    ("/nodes/*/qemu/*/termproxy",                   Class::Console),
    ("/nodes/*/qemu/*/spiceproxy",                  Class::Console),
    ("/nodes/*/lxc/*/vncproxy",                     Class::Console),
    ("/nodes/*/lxc/*/termproxy",                    Class::Console),
    ("/nodes/*/lxc/*/spiceproxy",                   Class::Console),
    ("/nodes/*/termproxy",                          Class::Shell),
    ("/nodes/*/vncshell",                           Class::Shell),
    ("/nodes/*/spiceshell",                         Class::Shell),
    ("/nodes/*/execute",                            Class::Shell),
    ("/nodes/*/qemu/*/monitor",                     Class::Shell),
    ("/nodes/*/qemu/*/agent/exec",                  Class::Shell),
    ("/nodes/*/qemu/*/agent/file-write",            Class::Shell),
    ("/nodes/*/qemu/*/agent/set-user-password",     Class::Shell),
    ("/nodes/*/qemu/*/status/stop",                 Class::Destructive),
    ("/nodes/*/qemu/*/status/reset",                Class::Destructive),
    ("/nodes/*/qemu/*/status/reboot",               Class::Destructive),
    ("/nodes/*/qemu/*/status/shutdown",             Class::Destructive),
    ("/nodes/*/qemu/*/snapshot/*/rollback",         Class::Destructive),
    ("/nodes/*/qemu/*/template",                    Class::Destructive),
    ("/nodes/*/qemu/*/remote_migrate",              Class::Destructive),
    ("/nodes/*/qemu/*/mtunnel",                     Class::Destructive),
    ("/nodes/*/lxc/*/status/stop",                  Class::Destructive),
    ("/nodes/*/lxc/*/status/reboot",                Class::Destructive),
    ("/nodes/*/lxc/*/status/shutdown",              Class::Destructive),
    ("/nodes/*/lxc/*/snapshot/*/rollback",          Class::Destructive),
    ("/nodes/*/lxc/*/template",                     Class::Destructive),
    ("/nodes/*/lxc/*/remote_migrate",               Class::Destructive),
    ("/nodes/*/lxc/*/mtunnel",                      Class::Destructive),
    ("/nodes/*/status",                             Class::Destructive),
    ("/nodes/*/stopall",                            Class::Destructive),
    ("/nodes/*/suspendall",                         Class::Destructive),
    ("/nodes/*/migrateall",                         Class::Destructive),
    ("/nodes/*/services/*/stop",                    Class::Destructive),
    ("/nodes/*/services/*/restart",                 Class::Destructive),
    ("/nodes/*/disks/**",                           Class::Destructive),
    ("/cluster/bulk-action/guest/**",               Class::Destructive),
    ("/cluster/config/**",                          Class::Destructive),
];

#[rustfmt::skip]
const PUT: &[Row] = &[
    ("/access/**",                                  Class::Destructive),
    ("/nodes/*/disks/**",                           Class::Destructive),
    ("/nodes/*/qemu/*/unlink",                      Class::Destructive),
];

#[rustfmt::skip]
const DELETE: &[Row] = &[
    // Stops a task; takes back network settings that were not applied.
    ("/nodes/*/tasks/*",                            Class::Change),
    ("/nodes/*/network",                            Class::Change),
];

/// The class of a call.
pub(super) fn class(verb: Verb, path: &NormalPath<'_>, query: &str) -> Class {
    let (rows, usual) = match verb {
        Verb::Get => (GET, Class::Read),
        Verb::Post => (POST, Class::Change),
        Verb::Put => (PUT, Class::Change),
        Verb::Delete => (DELETE, Class::Destructive),
        Verb::Other => return Class::NotOffered,
    };
    let class = rows.iter().find(|(pattern, _)| matches(pattern, path)).map_or(usual, |(_, class)| *class);
    match class {
        Class::Poll if path.as_str().ends_with("/log") && wants_file(query) => Class::Download,
        // pveproxy upgrades whatever ends so, and reads it otherwise.
        Class::Read if path.as_str().ends_with("websocket") => Class::Tunnel,
        class => class,
    }
}

/// Whether a task's log is asked for as a file: by a boolean of Proxmox VE's that is not one of its
/// words for no.
fn wants_file(query: &str) -> bool {
    let is_no =
        |value: &str| matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "no" | "off" | "false");
    !query.is_empty() && Parameters::of_query(query).get("download").is_some_and(|value| !is_no(value))
}

fn matches(pattern: &str, path: &NormalPath<'_>) -> bool {
    let mut segments = path.segments();
    for wanted in pattern.split('/').skip(1) {
        match (wanted, segments.next()) {
            ("**", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(segment)) if wanted == segment => {}
            (_, Some(_) | None) => return false,
        }
    }
    segments.next().is_none()
}

/// Every row, with the method it is of.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = (Verb, &'static str, Class)> {
    [(Verb::Get, GET), (Verb::Post, POST), (Verb::Put, PUT), (Verb::Delete, DELETE)]
        .into_iter()
        .flat_map(|(verb, rows)| rows.iter().map(move |(pattern, class)| (verb, *pattern, *class)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_says_something_that_its_method_does_not_and_stands_once() {
        for (rows, usual) in
            [(GET, Class::Read), (POST, Class::Change), (PUT, Class::Change), (DELETE, Class::Destructive)]
        {
            let patterns: BTreeSet<&str> = rows.iter().map(|(pattern, _)| *pattern).collect();
            assert_eq!(patterns.len(), rows.len());
            assert!(rows.iter().all(|(pattern, class)| pattern.starts_with('/') && *class != usual));
        }
    }

    #[test]
    fn every_sign_in_is_about_proof() {
        let sign_ins: Vec<_> = POST.iter().filter(|(_, class)| *class == Class::SignIn).collect();
        assert_eq!(sign_ins.len(), 4);
        for (pattern, _) in sign_ins {
            assert!(is_about_proof(pattern.split('/').skip(1)), "{pattern}");
        }
        assert!(is_about_proof(["access", "tfa", "root@pam"].into_iter()));
        for other in [&["access"][..], &["access", "users"], &["pools", "ticket"], &[]] {
            assert!(!is_about_proof(other.iter().copied()), "{other:?}");
        }
    }

    #[test]
    fn the_words_differ_and_each_class_has_one() {
        let words: BTreeSet<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
        assert_eq!(words.len(), Class::ALL.len());
    }
}
