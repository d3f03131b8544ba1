//! Administrators' pages: the overview, one person, one change.

mod chart;
mod deed;
mod people;

#[cfg(test)]
pub(super) mod tests;

pub use chart::{Bar, Chart, Colour, Drawing};
pub use deed::{About, BanLength, Deed, DeedPage, DeedProblem, LinkMade, Typed};
pub use people::{Locked, PersonRow, PersonState};

use super::{MethodKind, MethodRow, SessionRow, rendered, sessions};
use crate::{
    gate::{
        console::{LeadsTo, Told},
        portal::words::Language,
    },
    status::{Node, Trust},
    store::{Ban, Entry},
    time::Timestamp,
};

/// `/_gate/admin`: how things stand.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    /// In one line.
    pub summary: &'a Summary,
    /// Everybody, by name.
    pub people: &'a [PersonRow],
    /// Their sessions.
    pub sessions: &'a [OpenSession],
    /// Networks that may not connect.
    pub bans: &'a [Ban],
    /// The last 24 hours.
    pub charts: &'a [Chart],
    /// What was just done.
    pub done: Option<Deed>,
    /// When.
    pub now: Timestamp,
}

/// How things stand, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many people there are.
    pub users: usize,
    /// How many of them have nothing to sign in with.
    pub not_enrolled: usize,
    /// Sessions that are alive.
    pub sessions: usize,
    /// Consoles that are open.
    pub consoles: usize,
    /// What was refused in 24 hours, by the reason's word, the most frequent first.
    pub refusals: Vec<(&'static str, u64)>,
    /// Proxmox VE's nodes.
    pub nodes: Vec<Node>,
    /// Until when the gate's own certificate is good, if that is known.
    pub certificate_until: Option<Timestamp>,
}

/// Reasons that the summary names.
const REASONS: usize = 3;

impl Summary {
    fn refused(&self) -> u64 {
        self.refusals.iter().map(|(_, count)| count).sum()
    }

    fn reasons(&self) -> &[(&'static str, u64)] {
        self.refusals.get(..REASONS).unwrap_or(&self.refusals)
    }
}

/// A session and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose.
    pub user: String,
    /// The session.
    pub row: SessionRow,
    /// Its consoles, as far as they are open through this gate.
    pub consoles: Vec<Told>,
}

impl Admin<'_> {
    fn href(&self, deed: Deed, about: &str) -> String {
        people::change_href(deed.word(), about)
    }

    fn person(&self, name: &str) -> String {
        people::person_href(name)
    }

    fn title(&self, w: Language, deed: Deed) -> &'static str {
        deed.title(w)
    }

    fn done(&self, w: Language) -> Option<&'static str> {
        self.done.map(|deed| deed.done(w))
    }

    fn state(&self, w: Language, row: &PersonRow) -> String {
        row.state.told(w, self.now)
    }

    fn device(&self, w: Language, session: &OpenSession) -> String {
        sessions::device(w, session.row.device)
    }

    fn leads_to(&self, w: Language, console: &Told) -> String {
        leads_to(w, &console.leads_to)
    }

    fn certificate_days(&self) -> Option<u64> {
        let until = self.summary.certificate_until?;
        Some(until.since(self.now).as_secs() / (24 * 3600))
    }

    fn trust(&self, w: Language, node: &Node) -> &'static str {
        match node.trust {
            Trust::Pin => w.node_pinned(),
            Trust::Authority => w.node_by_authority(),
        }
    }

    fn connected_in(&self, w: Language, node: &Node) -> Option<String> {
        node.connected_in.map(|took| w.brief(took))
    }
}

rendered!(Admin<'t>, "admin/overview.html");

/// Where a console leads.
pub(in crate::gate::portal) fn leads_to(w: Language, to: &LeadsTo) -> String {
    match to {
        LeadsTo::Guest { node, vmid } => w.guest_on(*vmid, node),
        LeadsTo::Node(node) => w.shell_of(node),
        LeadsTo::Other => w.unknown_console().to_owned(),
    }
}

/// `/_gate/admin/user?name=…`: one person.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Who.
    pub row: &'a PersonRow,
    /// Their sign-in methods.
    pub methods: &'a [MethodRow],
    /// Their sessions.
    pub sessions: &'a [OpenSession],
    /// What happened to the account, the latest first.
    pub history: &'a [Entry],
    /// Whether they are the only administrator who may sign in.
    pub last_admin: bool,
    /// What was just done.
    pub done: Option<Deed>,
    /// When.
    pub now: Timestamp,
}

impl Person<'_> {
    /// What can be done now, in the order of the buttons.
    #[must_use]
    pub fn deeds(&self) -> Vec<Deed> {
        let mut deeds = Vec::new();
        if self.row.state == PersonState::Disabled {
            deeds.push(Deed::Enable);
        } else {
            deeds.push(if self.row.is_enrolled() { Deed::Recover } else { Deed::Invite });
            if self.row.open_link {
                deeds.push(Deed::RevokeLinks);
            }
            if self.row.wrong_codes > 0 || self.row.locked_word(Language::English).is_some() {
                deeds.push(Deed::Unlock);
            }
            if !self.sessions.is_empty() {
                deeds.push(Deed::EndSessions);
            }
        }
        if self.last_admin {
            return deeds;
        }
        deeds.push(if self.row.admin { Deed::MakeUser } else { Deed::MakeAdmin });
        if self.row.state != PersonState::Disabled {
            deeds.push(Deed::Disable);
            deeds.push(Deed::Panic);
        }
        deeds.push(Deed::Delete);
        deeds
    }

    fn href(&self, deed: Deed, about: &str) -> String {
        people::change_href(deed.word(), about)
    }

    fn title(&self, w: Language, deed: Deed) -> &'static str {
        deed.title(w)
    }

    fn done(&self, w: Language) -> Option<&'static str> {
        self.done.map(|deed| deed.done(w))
    }

    fn state(&self, w: Language) -> String {
        self.row.state.told(w, self.now)
    }

    fn kind(&self, w: Language, row: &MethodRow) -> &'static str {
        match row.kind {
            MethodKind::Passkey => w.kind_passkey(),
            MethodKind::SecurityKey => w.kind_security_key(),
            MethodKind::App => w.kind_app(),
        }
    }

    fn device(&self, w: Language, session: &OpenSession) -> String {
        sessions::device(w, session.row.device)
    }

    fn leads_to(&self, w: Language, console: &Told) -> String {
        leads_to(w, &console.leads_to)
    }

    fn happened(&self, w: Language, entry: &Entry) -> &'static str {
        sessions::happened(w, entry)
    }

    fn by(&self, w: Language, entry: &Entry) -> Option<&'static str> {
        sessions::method_word(w, entry.method.as_deref())
    }

    /// "This wasn't me" is for the owner to say.
    fn is_disputable(&self, _: &Entry) -> bool {
        false
    }
}

rendered!(Person<'t>, "admin/person.html");
