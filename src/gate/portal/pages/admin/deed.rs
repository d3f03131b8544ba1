//! What an administrator can do, and the page that asks for it.

use crate::{
    account::InvitationPurpose,
    gate::portal::{
        pages::rendered,
        proof::{ByRecovery, Provable},
        words::Language,
    },
    time::Timestamp,
};

/// Something that an administrator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Adds somebody, and makes their link.
    AddUser,
    /// Makes somebody's link, to enrol.
    Invite,
    /// Makes somebody's link, to recover.
    Recover,
    /// Makes somebody's open links void.
    RevokeLinks,
    /// Keeps somebody from signing in.
    Disable,
    /// Lets somebody sign in again.
    Enable,
    /// Forgets what was guessed at somebody's codes.
    Unlock,
    /// Ends everything of somebody's, and keeps them from signing in.
    Panic,
    /// Makes somebody an administrator.
    MakeAdmin,
    /// Makes an administrator a user.
    MakeUser,
    /// Deletes somebody.
    Delete,
    /// Ends one session.
    EndSession,
    /// Ends all of somebody's sessions.
    EndSessions,
    /// Closes one console.
    CloseConsole,
    /// Bans a network.
    Ban,
    /// Lifts a ban.
    Unban,
}

/// What a deed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Nothing that is there yet.
    New,
    /// A user, by name.
    User,
    /// A session, by identifier.
    Session,
    /// A console, by identifier.
    Console,
    /// A banned network.
    Network,
}

impl Deed {
    /// Everything.
    pub const ALL: [Self; 16] = [
        Self::AddUser,
        Self::Invite,
        Self::Recover,
        Self::RevokeLinks,
        Self::Disable,
        Self::Enable,
        Self::Unlock,
        Self::Panic,
        Self::MakeAdmin,
        Self::MakeUser,
        Self::Delete,
        Self::EndSession,
        Self::EndSessions,
        Self::CloseConsole,
        Self::Ban,
        Self::Unban,
    ];

    /// The word for it in links and forms.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AddUser => "add-user",
            Self::Invite => "invite",
            Self::Recover => "recover",
            Self::RevokeLinks => "revoke-links",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Unlock => "unlock",
            Self::Panic => "panic",
            Self::MakeAdmin => "make-admin",
            Self::MakeUser => "make-user",
            Self::Delete => "delete",
            Self::EndSession => "end-session",
            Self::EndSessions => "end-sessions",
            Self::CloseConsole => "close-console",
            Self::Ban => "ban",
            Self::Unban => "unban",
        }
    }

    /// From the word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.word() == word)
    }

    /// What it is about.
    #[must_use]
    pub const fn about(self) -> About {
        match self {
            Self::AddUser | Self::Ban => About::New,
            Self::Invite
            | Self::Recover
            | Self::RevokeLinks
            | Self::Disable
            | Self::Enable
            | Self::Unlock
            | Self::Panic
            | Self::MakeAdmin
            | Self::MakeUser
            | Self::Delete
            | Self::EndSessions => About::User,
            Self::EndSession => About::Session,
            Self::CloseConsole => About::Console,
            Self::Unban => About::Network,
        }
    }

    /// Whether it takes something away that somebody will ask about: then a reason must be given.
    #[must_use]
    pub const fn needs_reason(self) -> bool {
        match self {
            Self::Disable | Self::MakeAdmin | Self::MakeUser | Self::Delete | Self::Ban => true,
            Self::AddUser
            | Self::Invite
            | Self::Recover
            | Self::RevokeLinks
            | Self::Enable
            | Self::Unlock
            // In a hurry, nobody is to look for words.
            | Self::Panic
            | Self::EndSession
            | Self::EndSessions
            | Self::CloseConsole
            | Self::Unban => false,
        }
    }

    /// What it is called, as a button and a heading.
    pub(super) const fn title(self, w: Language) -> &'static str {
        match self {
            Self::AddUser => w.add_user(),
            Self::Invite => w.new_link(),
            Self::Recover => w.recovery_link(),
            Self::RevokeLinks => w.revoke_links(),
            Self::Disable => w.disable(),
            Self::Enable => w.enable(),
            Self::Unlock => w.unlock(),
            Self::Panic => w.panic_other(),
            Self::MakeAdmin => w.make_admin(),
            Self::MakeUser => w.make_user(),
            Self::Delete => w.delete(),
            Self::EndSession => w.end_session(),
            Self::EndSessions => w.end_sessions(),
            Self::CloseConsole => w.close_console(),
            Self::Ban => w.ban(),
            Self::Unban => w.unban(),
        }
    }

    /// What it brings about.
    const fn effect(self, w: Language) -> &'static str {
        match self {
            Self::AddUser => w.add_user_lead(),
            Self::Invite => w.new_link_lead(),
            Self::Recover => w.recovery_link_lead(),
            Self::RevokeLinks => w.revoke_links_lead(),
            Self::Disable => w.disable_lead(),
            Self::Enable => w.enable_lead(),
            Self::Unlock => w.unlock_lead(),
            Self::Panic => w.panic_other_lead(),
            Self::MakeAdmin => w.make_admin_lead(),
            Self::MakeUser => w.make_user_lead(),
            Self::Delete => w.delete_lead(),
            Self::EndSession => w.end_session_lead(),
            Self::EndSessions => w.end_sessions_lead(),
            Self::CloseConsole => w.close_console_lead(),
            Self::Ban => w.ban_lead(),
            Self::Unban => w.unban_lead(),
        }
    }

    /// That it was done.
    pub(super) const fn done(self, w: Language) -> &'static str {
        match self {
            Self::AddUser | Self::Invite | Self::Recover => w.link_made(),
            Self::RevokeLinks => w.links_revoked_now(),
            Self::Disable => w.disabled_now(),
            Self::Enable => w.enabled_now(),
            Self::Unlock => w.unlocked_now(),
            Self::Panic => w.panicked_now(),
            Self::MakeAdmin | Self::MakeUser => w.role_now(),
            Self::Delete => w.deleted_now(),
            Self::EndSession => w.session_ended_now(),
            Self::EndSessions => w.sessions_ended_now(),
            Self::CloseConsole => w.console_closed_now(),
            Self::Ban => w.banned_now(),
            Self::Unban => w.unbanned_now(),
        }
    }
}

/// For how long a network is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BanLength {
    /// An hour.
    Hour,
    /// A day.
    #[default]
    Day,
    /// A week.
    Week,
    /// Thirty days.
    Month,
    /// Until somebody lifts it.
    Open,
}

impl BanLength {
    /// Every one, as the page offers them.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Open];

    /// The word for it in the form.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Open => "open",
        }
    }

    /// From the word for it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|length| length.word() == word)
    }

    const fn told(self, w: Language) -> &'static str {
        match self {
            Self::Hour => w.for_an_hour(),
            Self::Day => w.for_a_day(),
            Self::Week => w.for_a_week(),
            Self::Month => w.for_thirty_days(),
            Self::Open => w.until_lifted(),
        }
    }
}

/// What was typed into the form, for one that is shown again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Typed {
    /// Why.
    pub reason: String,
    /// The name of somebody new.
    pub name: String,
    /// Whether they are to be an administrator.
    pub admin: bool,
    /// The network to be banned.
    pub network: String,
    /// For how long.
    pub length: BanLength,
    /// Even though somebody is signed in from there.
    pub even_so: bool,
}

/// `/_gate/admin/change`: asks for one change.
#[derive(Debug, Clone, Copy)]
pub struct DeedPage<'a> {
    /// Which.
    pub deed: Deed,
    /// What it is about, as the form says it.
    pub about: &'a str,
    /// The same for people.
    pub told: &'a str,
    /// Whose page is gone back to, if it is about somebody.
    pub user: Option<&'a str>,
    /// What was typed.
    pub typed: &'a Typed,
    /// How the change can be proven.
    pub provable: Provable,
    /// Why the form is shown again.
    pub problem: Option<&'a DeedProblem>,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeedProblem {
    /// The proof did not match.
    NoMatch,
    /// No administrator would be left who may sign in.
    LastAdmin,
    /// A reason is missing.
    NoReason,
    /// What was typed is no user name.
    BadName,
    /// Somebody has the name.
    NameTaken,
    /// What was typed is no network.
    BadNetwork,
    /// The administrator's own address is in it.
    OwnAddress,
    /// Somebody is signed in from there.
    SignedIn {
        /// Who.
        user: String,
    },
}

impl DeedProblem {
    fn told(&self, w: Language) -> String {
        match self {
            Self::NoMatch => w.no_match().to_owned(),
            Self::LastAdmin => w.last_admin().to_owned(),
            Self::NoReason => w.reason_missing().to_owned(),
            Self::BadName => w.bad_name().to_owned(),
            Self::NameTaken => w.name_taken().to_owned(),
            Self::BadNetwork => w.bad_network().to_owned(),
            Self::OwnAddress => w.own_address().to_owned(),
            Self::SignedIn { user } => w.signed_in_from_there(user),
        }
    }
}

impl DeedPage<'_> {
    fn title(&self, w: Language) -> &'static str {
        self.deed.title(w)
    }

    fn effect(&self, w: Language) -> &'static str {
        self.deed.effect(w)
    }

    fn problem(&self, w: Language) -> Option<String> {
        self.problem.map(|problem| problem.told(w))
    }

    fn asks_even_so(&self) -> bool {
        matches!(self.problem, Some(DeedProblem::SignedIn { .. })) || self.typed.even_so
    }

    fn length(&self, w: Language, length: BanLength) -> &'static str {
        length.told(w)
    }

    fn back(&self) -> String {
        self.user.map_or_else(|| "/_gate/admin".to_owned(), super::people::person_href)
    }
}

rendered!(DeedPage<'t>, "admin/deed.html");

/// The page with a link that was made: shown once.
#[derive(Debug, Clone, Copy)]
pub struct LinkMade<'a> {
    /// For whom.
    pub user: &'a str,
    /// For what.
    pub purpose: InvitationPurpose,
    /// The link.
    pub link: &'a str,
    /// As a QR code.
    pub qr_svg: &'a str,
    /// Until when it works.
    pub until: Timestamp,
}

impl LinkMade<'_> {
    fn back(&self) -> String {
        super::people::person_href(self.user)
    }

    /// The drawing without the declaration that stands before it in an SVG file and has no place in HTML.
    fn qr(&self) -> &str {
        self.qr_svg.find("<svg").and_then(|start| self.qr_svg.get(start..)).unwrap_or_default()
    }

    fn is_recovery(&self) -> bool {
        match self.purpose {
            InvitationPurpose::Recover => true,
            InvitationPurpose::Enrol => false,
        }
    }
}

rendered!(LinkMade<'t>, "admin/link.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_deeds_and_lengths_are_read_as_they_are_written() {
        for deed in Deed::ALL {
            assert_eq!(Deed::from_word(deed.word()), Some(deed));
        }
        for length in BanLength::ALL {
            assert_eq!(BanLength::from_word(length.word()), Some(length));
        }
        assert_eq!((Deed::from_word("none"), BanLength::from_word("")), (None, None));
    }
}
