//! Consoles that are open in sessions: what each leads to, since when, and closing one.
//!
//! A console is a tunnel that a person's session began. It is known only to the gate through which its
//! bytes pass, as long as they do.

use std::sync::atomic::{AtomicI64, Ordering};

use http::{Method, uri::PathAndQuery};
use tokio::sync::watch;

use super::{
    SessionLimits,
    pve_call::{Call, Place},
};
use crate::{
    account::{SessionId, UserName},
    secret,
    time::Timestamp,
};

/// A console's identifier: 64 random bits, good as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsoleId([u8; 8]);

impl ConsoleId {
    /// From 16 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for ConsoleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// What a console leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadsTo {
    /// A guest's screen or terminal.
    Guest {
        /// On which node.
        node: String,
        /// Its number.
        vmid: u32,
    },
    /// A node's shell.
    Node(String),
    /// Something that is not known here.
    Other,
}

impl LeadsTo {
    /// By what was asked of Proxmox VE: `nodes/{node}/{qemu,lxc}/{vmid}/vncwebsocket`,
    /// `nodes/{node}/vncwebsocket`, …. Only names that Proxmox VE could have given are taken over.
    #[must_use]
    pub fn of(method: &Method, target: Option<&PathAndQuery>) -> Self {
        let call = Call::of(method, target.map_or("/", PathAndQuery::as_str));
        let (Place::Api(_), path) = (call.place, call.path.as_str()) else { return Self::Other };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["nodes", node, "qemu" | "lxc", vmid, _] if is_name(node) => match vmid.parse() {
                Ok(vmid) => Self::Guest { node: (*node).to_owned(), vmid },
                Err(_) => Self::Other,
            },
            ["nodes", node, _] if is_name(node) => Self::Node((*node).to_owned()),
            _ => Self::Other,
        }
    }
}

/// A node's name is a host name (Proxmox VE: `pve-node`).
fn is_name(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// What is told of an open console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Identifier.
    pub id: ConsoleId,
    /// In which session.
    pub session: SessionId,
    /// Whose.
    pub user: UserName,
    /// Where it leads.
    pub leads_to: LeadsTo,
    /// Since when it is open.
    pub since: Timestamp,
}

/// Why a console closes though its session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody used it for too long.
    Idle,
    /// An administrator closed it.
    Closed,
}

/// One console.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) id: ConsoleId,
    pub(super) leads_to: LeadsTo,
    pub(super) since: Timestamp,
    last_active_at: AtomicI64,
    end: watch::Sender<Option<End>>,
}

impl Console {
    pub(super) fn open(leads_to: LeadsTo, now: Timestamp) -> Self {
        Self {
            id: ConsoleId(secret::random()),
            leads_to,
            since: now,
            last_active_at: AtomicI64::new(now.millis()),
            end: watch::Sender::new(None),
        }
    }

    /// Somebody is at work in it.
    pub(super) fn touch(&self, now: Timestamp) {
        self.last_active_at.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// Ends it here if nobody used it for too long.
    pub(super) fn look_at_clock(&self, now: Timestamp, limits: &SessionLimits) {
        let last = Timestamp::from_millis(self.last_active_at.load(Ordering::Relaxed));
        if now >= last.plus(limits.console_idle) {
            self.close(End::Idle);
        }
    }

    /// Ends it, unless it has.
    pub(super) fn close(&self, end: End) {
        self.end.send_if_modified(|before| {
            let first = before.is_none();
            if first {
                *before = Some(end);
            }
            first
        });
    }

    /// Why it has ended, if it has.
    #[cfg(test)]
    pub(super) fn ended(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// Returns when it has to close.
    pub(super) async fn over(&self) -> End {
        let mut end = self.end.subscribe();
        // The sender is this console's own.
        match end.wait_for(Option::is_some).await {
            Ok(end) => (*end).unwrap_or(End::Closed),
            Err(_) => End::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_console_leads_to_is_read_as_pveproxy_reads_it() {
        let guest = |node: &str, vmid| LeadsTo::Guest { node: node.to_owned(), vmid };
        #[rustfmt::skip]
        let table = [
            ("/api2/json/nodes/pve1/qemu/100/vncwebsocket?port=1&vncticket=x", guest("pve1", 100)),
            ("/api2/json/nodes/pve1/lxc/101/vncwebsocket",                     guest("pve1", 101)),
            ("/api2/json//nodes/pve%31/qemu/100/vncwebsocket",                 guest("pve1", 100)),
            ("/api2/json/nodes/pve1/vncwebsocket?port=5900",                   LeadsTo::Node("pve1".to_owned())),
            ("/api2/json/nodes/pve1/qemu/many/vncwebsocket",                   LeadsTo::Other),
            ("/api2/json/nodes/p<b>/vncwebsocket",                             LeadsTo::Other),
            ("/api2/json/cluster/tasks",                                       LeadsTo::Other),
            ("/",                                                              LeadsTo::Other),
        ];
        for (target, expected) in table {
            let uri: http::Uri = target.replace('<', "%3C").replace('>', "%3E").parse().unwrap();
            assert_eq!(LeadsTo::of(&Method::GET, uri.path_and_query()), expected, "{target}");
        }
    }

    #[test]
    fn an_identifier_is_read_as_it_is_written() {
        let id = Console::open(LeadsTo::Other, Timestamp::from_secs(0)).id;

        assert_eq!(ConsoleId::from_hex(&id.to_string()), Some(id));
        for wrong in ["", "00", "zz00000000000000", "00000000000000000"] {
            assert_eq!(ConsoleId::from_hex(wrong), None, "{wrong}");
        }
    }
}
