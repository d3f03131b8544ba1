//! The closed list of events, and how each is written.

use std::{fmt, fmt::Write as _, net::IpAddr};

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::{
    account::{EndReason, Method, Role, SessionId, UserName},
    time::Timestamp,
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done or attempted.
    pub action: Action,
    /// Whether it succeeded.
    pub outcome: Outcome,
    /// From where; `None` for the command line.
    pub client: Option<IpAddr>,
    /// Whose account, if somebody has it. What else is typed for a name may be a secret in the wrong field.
    pub user: Option<String>,
    /// Which administrator did it, where that is not the account's owner.
    pub by: Option<String>,
    /// Which API token, by its name: never its secret.
    pub token: Option<String>,
    /// How somebody signed in or tried to.
    pub method: Option<FailedMethod>,
    /// The session it concerns.
    pub session: Option<SessionId>,
    /// Why it was refused or ended, or what an administrator gave as the reason.
    pub reason: Option<Reason>,
    /// Who somebody wants to be at Proxmox VE.
    pub upstream_user: Option<String>,
    /// The upstream node it concerns, as `host:port`.
    pub node: Option<String>,
    /// Method and path of the request, without its query.
    pub request: Option<(String, String)>,
    /// Class and path of the call to Proxmox VE, in its one spelling.
    pub call: Option<(&'static str, String)>,
    /// The network it concerns, and until when; `None` for as long as nobody says otherwise.
    pub ban: Option<(IpNet, Option<Timestamp>)>,
    /// What was changed about the user, and to what.
    pub changed: Option<Changed>,
    /// How many such events this one stands for.
    pub count: u64,
}

/// What was changed about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The name, to this one.
    Name(UserName),
    /// The role, to this one.
    Role(Role),
}

/// What was done or attempted. The words are an interface: never change one that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Somebody signed in, or tried to.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// A session was ended by something else.
    SessionEnd,
    /// Somebody ended sessions by command.
    SessionRevoke,
    /// An administrator closed one console of a session that goes on.
    ConsoleClose,
    /// A connection or request was refused.
    Refuse,
    /// Somebody signed in proved a change of theirs, or tried to.
    StepUp,
    /// An API token was let through.
    ApiTokenAllow,
    /// An API token was refused, by the gate or by Proxmox VE.
    ApiTokenRefuse,
    /// A rule for an API token was written.
    ApiRuleAdd,
    /// The rules for an API token were removed.
    ApiRuleRemove,
    /// Another certificate of an upstream was pinned.
    UpstreamPinChange,
    /// An invitation was made.
    InviteCreate,
    /// Invitations that nobody had used were made void.
    InviteRevoke,
    /// An invitation was used, or somebody tried to.
    InviteUse,
    /// A sign-in method was added.
    FactorAdd,
    /// A recovery code was used, or somebody tried to.
    RecoveryUse,
    /// Recovery codes were made anew.
    RecoveryRenew,
    /// A sign-in method got another name.
    FactorRename,
    /// Sign-in methods were removed.
    FactorRemove,
    /// Somebody said that what happened in their account was not their doing: everything of theirs ended.
    IntrusionReport,
    /// Somebody's account was locked in a hurry.
    Panic,
    /// A user was added.
    UserAdd,
    /// A user joined or left groups.
    UserGroup,
    /// What was guessed at a user's codes was forgotten.
    UserUnlock,
    /// A user may not sign in any more.
    UserDisable,
    /// A user may sign in again.
    UserEnable,
    /// A user has another name.
    UserRename,
    /// A user may do more at the gate, or less.
    UserRole,
    /// A user was deleted, and everything of theirs.
    UserDelete,
    /// A network was banned.
    BanAdd,
    /// A ban was lifted.
    BanRemove,
    /// The upstream was not who it should be, or did not answer.
    UpstreamFailure,
    /// Somebody signed in to Proxmox VE, or tried to.
    UpstreamSignIn,
    /// A node of the upstream was found not to serve, or not to be who it should be.
    NodeDown,
    /// A node of the upstream serves again.
    NodeUp,
    /// A backup was made.
    Backup,
    /// A backup was put in place of what was there.
    Restore,
    /// The gate began to serve.
    Start,
    /// The gate stopped.
    Stop,
    /// Events came faster than one of the places that they go to could take them.
    AuditLost,
}

impl Action {
    /// Every action.
    pub const ALL: &[Self] = &[
        Self::SignIn,
        Self::SignOut,
        Self::SessionEnd,
        Self::SessionRevoke,
        Self::Refuse,
        Self::StepUp,
        Self::ApiTokenAllow,
        Self::ApiTokenRefuse,
        Self::ApiRuleAdd,
        Self::ApiRuleRemove,
        Self::UpstreamPinChange,
        Self::InviteCreate,
        Self::InviteUse,
        Self::FactorAdd,
        Self::RecoveryUse,
        Self::RecoveryRenew,
        Self::FactorRename,
        Self::FactorRemove,
        Self::IntrusionReport,
        Self::Panic,
        Self::UserAdd,
        Self::UserUnlock,
        Self::UserDisable,
        Self::UserEnable,
        Self::BanAdd,
        Self::BanRemove,
        Self::UpstreamFailure,
        Self::UpstreamSignIn,
        Self::NodeDown,
        Self::NodeUp,
        Self::Start,
        Self::Stop,
        Self::AuditLost,
        Self::ConsoleClose,
        Self::InviteRevoke,
        Self::UserRename,
        Self::UserRole,
        Self::UserDelete,
        Self::Backup,
        Self::Restore,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignOut => "sign-out",
            Self::SessionEnd => "session-end",
            Self::SessionRevoke => "session-revoke",
            Self::ConsoleClose => "console-close",
            Self::Refuse => "refuse",
            Self::StepUp => "step-up",
            Self::ApiTokenAllow => "api-token-allow",
            Self::ApiTokenRefuse => "api-token-refuse",
            Self::ApiRuleAdd => "api-rule-add",
            Self::ApiRuleRemove => "api-rule-remove",
            Self::UpstreamPinChange => "upstream-pin-change",
            Self::InviteCreate => "invite-create",
            Self::InviteRevoke => "invite-revoke",
            Self::InviteUse => "invite-use",
            Self::FactorAdd => "factor-add",
            Self::RecoveryUse => "recovery-use",
            Self::RecoveryRenew => "recovery-renew",
            Self::FactorRename => "factor-rename",
            Self::FactorRemove => "factor-remove",
            Self::IntrusionReport => "intrusion-report",
            Self::Panic => "panic",
            Self::UserAdd => "user-add",
            Self::UserGroup => "user-group",
            Self::UserUnlock => "user-unlock",
            Self::UserDisable => "user-disable",
            Self::UserEnable => "user-enable",
            Self::UserRename => "user-rename",
            Self::UserRole => "user-role",
            Self::UserDelete => "user-delete",
            Self::BanAdd => "ban-add",
            Self::BanRemove => "ban-remove",
            Self::UpstreamFailure => "upstream-failure",
            Self::UpstreamSignIn => "upstream-sign-in",
            Self::NodeDown => "node-down",
            Self::NodeUp => "node-up",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::AuditLost => "audit-lost",
        }
    }

    /// ECS `event.category` and `event.type`. Of the types only those that the schema expects with the
    /// category; whether it succeeded is in `event.outcome`.
    const fn class(self) -> (&'static str, &'static str) {
        match self {
            Self::SignIn
            | Self::RecoveryUse
            | Self::UpstreamSignIn
            | Self::ApiTokenAllow
            | Self::ApiTokenRefuse => ("authentication", "start"),
            Self::StepUp => ("authentication", "info"),
            Self::SignOut | Self::SessionEnd | Self::SessionRevoke | Self::ConsoleClose => ("session", "end"),
            Self::Refuse => ("network", "denied"),
            Self::ApiRuleAdd => ("configuration", "creation"),
            Self::Backup => ("configuration", "info"),
            Self::Restore | Self::UpstreamPinChange => ("configuration", "change"),
            Self::ApiRuleRemove => ("configuration", "deletion"),
            Self::InviteCreate | Self::UserAdd => ("iam", "creation"),
            Self::InviteUse
            | Self::FactorAdd
            | Self::FactorRename
            | Self::FactorRemove
            | Self::RecoveryRenew
            | Self::Panic
            | Self::UserGroup
            | Self::UserUnlock
            | Self::UserDisable
            | Self::UserEnable
            | Self::UserRename
            | Self::UserRole => ("iam", "change"),
            Self::InviteRevoke | Self::UserDelete => ("iam", "deletion"),
            Self::IntrusionReport => ("intrusion_detection", "info"),
            Self::BanAdd => ("intrusion_detection", "denied"),
            Self::BanRemove => ("intrusion_detection", "allowed"),
            Self::UpstreamFailure | Self::NodeDown | Self::NodeUp => ("network", "connection"),
            Self::Start => ("process", "start"),
            Self::Stop => ("process", "end"),
            Self::AuditLost => ("process", "info"),
        }
    }
}

/// Whether it succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Success,
    /// It did not.
    Failure,
}

/// A sign-in method by its word; also of attempts that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedMethod(pub &'static str);

impl From<Method> for FailedMethod {
    fn from(method: Method) -> Self {
        Self(method.as_str())
    }
}

/// Why: a word for machines, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `bad_code`, `address`, …: `[a-z_]+`.
    pub word: &'static str,
    /// The error's own text.
    pub text: String,
}

impl Reason {
    /// From a word and the error's own text.
    pub fn new(word: &'static str, text: impl fmt::Display) -> Self {
        Self { word, text: text.to_string() }
    }
}

impl From<EndReason> for Reason {
    fn from(reason: EndReason) -> Self {
        let word = match reason {
            EndReason::SignOut => "sign_out",
            EndReason::Revoked => "revoked",
            EndReason::Disabled => "disabled",
            EndReason::Idle => "idle",
            EndReason::Expired => "expired",
            EndReason::Replaced => "replaced",
            EndReason::Policy => "policy",
        };
        Self { word, text: reason.as_str().to_owned() }
    }
}

impl Event {
    /// An event of which nothing else is known yet.
    #[must_use]
    pub fn new(action: Action, outcome: Outcome) -> Self {
        Self {
            action,
            outcome,
            client: None,
            user: None,
            by: None,
            token: None,
            method: None,
            session: None,
            reason: None,
            upstream_user: None,
            node: None,
            request: None,
            call: None,
            ban: None,
            changed: None,
            count: 1,
        }
    }

    /// From this address.
    #[must_use]
    pub fn from(mut self, client: IpAddr) -> Self {
        self.client = Some(client);
        self
    }

    /// Concerning this user.
    #[must_use]
    pub fn of(mut self, user: &UserName) -> Self {
        self.user = Some(user.to_string());
        self
    }

    /// Done by this administrator.
    #[must_use]
    pub fn done_by(mut self, admin: &UserName) -> Self {
        self.by = Some(admin.to_string());
        self
    }

    /// Concerning this API token, `user@realm!id`.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// By this method.
    #[must_use]
    pub fn by(mut self, method: impl Into<FailedMethod>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Concerning this session.
    #[must_use]
    pub fn in_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// For this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Concerning this node of the upstream.
    #[must_use]
    pub fn at_node(mut self, address: String) -> Self {
        self.node = Some(address);
        self
    }

    /// Asked by this request; the query is left out.
    #[must_use]
    pub fn asked(mut self, method: &http::Method, uri: &http::Uri) -> Self {
        self.request = Some((method.to_string(), uri.path().chars().take(512).collect()));
        self
    }

    /// As this user at Proxmox VE.
    #[must_use]
    pub fn at_upstream(mut self, user: Option<String>) -> Self {
        self.upstream_user = user;
        self
    }

    /// Which is this call to Proxmox VE: its class, and its path in one spelling.
    #[must_use]
    pub fn calling(mut self, class: &'static str, path: &str) -> Self {
        self.call = Some((class, path.chars().take(512).collect()));
        self
    }

    /// Concerning the ban of a network until a time.
    #[must_use]
    pub fn ban(mut self, network: IpNet, until: Option<Timestamp>) -> Self {
        self.ban = Some((network, until));
        self
    }

    /// With this change of the user.
    #[must_use]
    pub fn with_change(mut self, changed: Changed) -> Self {
        self.changed = Some(changed);
        self
    }

    /// Standing for so many of its kind.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Its fields, at this time.
    pub(super) fn to_json(&self, at: Timestamp) -> Value {
        let (category, kind) = self.action.class();
        let outcome = match self.outcome {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
        };
        let mut value = json!({
            "@timestamp": at.to_string(),
            "ecs": { "version": "8.11" },
            "event": {
                "kind": "event",
                "module": "pvegate",
                "dataset": "pvegate.audit",
                "action": self.action.as_str(),
                "category": [category],
                "type": [kind],
                "outcome": outcome,
            },
            "service": { "name": "pvegate", "version": env!("CARGO_PKG_VERSION") },
        });
        let mut set = |pointer: &[&str], field: Value| {
            let mut at = &mut value;
            for key in pointer {
                at = &mut at[*key];
            }
            *at = field;
        };
        if let Some(client) = self.client {
            set(&["source", "ip"], json!(client.to_string()));
        }
        if let Some(user) = &self.user {
            set(&["user", "name"], json!(user));
        }
        if let Some(by) = &self.by {
            set(&["pvegate", "by"], json!(by));
        }
        if let Some(token) = &self.token {
            set(&["pvegate", "token"], json!(token));
        }
        if let Some(method) = self.method {
            set(&["pvegate", "method"], json!(method.0));
        }
        if let Some(session) = self.session {
            set(&["pvegate", "session"], json!(format!("{session:.12}")));
        }
        if let Some(user) = &self.upstream_user {
            set(&["pvegate", "upstream_user"], json!(user));
        }
        if let Some((class, path)) = &self.call {
            set(&["pvegate", "class"], json!(class));
            set(&["pvegate", "call"], json!(path));
        }
        if let Some(node) = &self.node {
            set(&["destination", "address"], json!(node));
        }
        if let Some(reason) = &self.reason {
            set(&["event", "reason"], json!(reason.text));
            set(&["pvegate", "reason"], json!(reason.word));
        }
        if let Some((network, until)) = &self.ban {
            set(&["pvegate", "network"], json!(network.to_string()));
            if let Some(until) = until {
                set(&["pvegate", "until"], json!(until.to_string()));
            }
        }
        match &self.changed {
            Some(Changed::Name(name)) => set(&["user", "changes", "name"], json!(name.as_str())),
            Some(Changed::Role(role)) => set(&["user", "changes", "roles"], json!([role.as_str()])),
            None => {}
        }
        if self.count > 1 {
            set(&["pvegate", "count"], json!(self.count));
        }
        if let Some((method, path)) = &self.request {
            set(&["http", "request", "method"], json!(method));
            set(&["url", "path"], json!(path));
        }
        value
    }

    /// The short line: address first, user quoted and escaped, so that nothing a client sends can
    /// move the address.
    #[must_use]
    pub fn to_line(&self) -> String {
        let head = match (self.action, self.outcome) {
            (
                Action::SignIn | Action::InviteUse | Action::RecoveryUse | Action::ApiTokenRefuse,
                Outcome::Failure,
            ) => "authentication failure",
            (Action::UpstreamSignIn, Outcome::Failure) => "upstream authentication failure",
            (Action::SignIn, Outcome::Success) => "signed in",
            (Action::Refuse, _) => "request refused",
            (action, _) => action.as_str(),
        };
        let mut details = String::new();
        if let Some(client) = self.client {
            let _ = write!(details, " rhost={client}");
        }
        if let Some(user) = &self.user {
            let _ = write!(details, " user=\"{}\"", Escaped(user));
        }
        if let Some(by) = &self.by {
            let _ = write!(details, " by=\"{}\"", Escaped(by));
        }
        if let Some(user) = &self.upstream_user {
            let _ = write!(details, " upstream_user=\"{}\"", Escaped(user));
        }
        if let Some(token) = &self.token {
            let _ = write!(details, " token=\"{}\"", Escaped(token));
        }
        if let Some(method) = self.method {
            let _ = write!(details, " method={}", method.0);
        }
        if let Some(node) = &self.node {
            let _ = write!(details, " node={node}");
        }
        if let Some(reason) = &self.reason {
            let _ = write!(details, " reason={}", reason.word);
        }
        if let Some((network, until)) = &self.ban {
            let _ = write!(details, " network={network}");
            if let Some(until) = until {
                let _ = write!(details, " until={until}");
            }
        }
        match &self.changed {
            Some(Changed::Name(name)) => drop(write!(details, " new_name={name}")),
            Some(Changed::Role(role)) => drop(write!(details, " role={}", role.as_str())),
            None => {}
        }
        if self.count > 1 {
            let _ = write!(details, " count={}", self.count);
        }
        if details.is_empty() { head.to_owned() } else { format!("{head};{details}") }
    }
}

/// Anything but plain visible ASCII as `\xNN`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=' | b';') {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Event {
        Event::new(Action::SignIn, Outcome::Failure)
            .from("203.0.113.9".parse().unwrap())
            .by(Method::Totp)
            .because(Reason::new("bad_code", "code matches no time step within 1 of now"))
    }

    #[test]
    fn a_failed_sign_in_is_one_json_object_with_ecs_names() {
        let event = failure().of(&"alice".parse().unwrap());

        let expected = json!({
            "@timestamp": "2005-03-18T01:58:29.000Z",
            "ecs": { "version": "8.11" },
            "event": {
                "kind": "event", "module": "pvegate", "dataset": "pvegate.audit",
                "action": "sign-in", "category": ["authentication"], "type": ["start"], "outcome": "failure",
                "reason": "code matches no time step within 1 of now",
            },
            "service": { "name": "pvegate", "version": env!("CARGO_PKG_VERSION") },
            "source": { "ip": "203.0.113.9" },
            "user": { "name": "alice" },
            "pvegate": { "method": "totp", "reason": "bad_code" },
        });
        assert_eq!(event.to_json(Timestamp::from_secs(1_111_111_109)), expected);
    }

    #[test]
    fn nothing_that_is_typed_moves_the_address_in_the_short_line() {
        let table = [
            ("alice", "alice"),
            ("\" rhost=10.0.0.1 \"", "\\x22\\x20rhost\\x3d10.0.0.1\\x20\\x22"),
            (
                "a\nauthentication failure; rhost=10.0.0.1",
                "a\\x0aauthentication\\x20failure\\x3b\\x20rhost\\x3d10.0.0.1",
            ),
            ("é\u{1b}[2J", "\\xc3\\xa9\\x1b[2J"),
        ];
        for (typed, written) in table {
            let line = Event { user: Some(typed.to_owned()), ..failure() }.to_line();
            let expected = format!(
                "authentication failure; rhost=203.0.113.9 user=\"{written}\" method=totp reason=bad_code"
            );
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_failed_sign_in_to_proxmox_ve_is_a_line_of_its_own_with_the_true_address() {
        let event = Event::new(Action::UpstreamSignIn, Outcome::Failure)
            .from("203.0.113.9".parse().unwrap())
            .of(&"alice".parse().unwrap())
            .at_upstream(Some("root@pam\" rhost=10.0.0.1".to_owned()))
            .because(Reason::new("upstream_password", "Proxmox VE refused user and password"));

        assert_eq!(
            event.to_line(),
            r#"upstream authentication failure; rhost=203.0.113.9 user="alice" upstream_user="root@pam\x22\x20rhost\x3d10.0.0.1" reason=upstream_password"#
        );
        let json = event.to_json(Timestamp::from_secs(0));
        assert_eq!(json["event"]["action"], "upstream-sign-in");
        assert_eq!(json["pvegate"]["upstream_user"], "root@pam\" rhost=10.0.0.1");
    }

    #[test]
    fn a_line_without_details_is_its_action_alone() {
        assert_eq!(Event::new(Action::Start, Outcome::Success).to_line(), "start");
    }

    #[test]
    fn a_ban_says_which_network_and_until_when() {
        let event = Event::new(Action::BanAdd, Outcome::Success)
            .ban("2001:db8::/64".parse().unwrap(), Some(Timestamp::from_secs(1_111_111_109)))
            .because(Reason::new("failed_sign_ins", "failed_sign_ins"));

        assert_eq!(
            event.to_line(),
            "ban-add; reason=failed_sign_ins network=2001:db8::/64 until=2005-03-18T01:58:29.000Z"
        );
        let json = event.to_json(Timestamp::from_secs(0));
        assert_eq!(json["pvegate"]["network"], "2001:db8::/64");
        assert_eq!(json["pvegate"]["until"], "2005-03-18T01:58:29.000Z");
    }

    #[test]
    fn a_change_of_a_user_says_to_what() {
        #[rustfmt::skip]
        let table = [
            (Action::UserRename, Changed::Name("bob".parse().unwrap()), r#"user-rename; user="alice" new_name=bob"#,
             json!({ "name": "alice", "changes": { "name": "bob" } })),
            (Action::UserRole,   Changed::Role(Role::Admin),            r#"user-role; user="alice" role=admin"#,
             json!({ "name": "alice", "changes": { "roles": ["admin"] } })),
        ];
        for (action, changed, line, user) in table {
            let event =
                Event::new(action, Outcome::Success).of(&"alice".parse().unwrap()).with_change(changed);

            assert_eq!(event.to_line(), line);
            let json = event.to_json(Timestamp::from_secs(0));
            assert_eq!((&json["user"], &json["event"]["category"][0]), (&user, &"iam".into()));
        }
    }

    #[test]
    fn what_an_administrator_did_to_an_account_names_both() {
        let event = Event::new(Action::UserDisable, Outcome::Success)
            .of(&"alice".parse().unwrap())
            .done_by(&"root".parse().unwrap());

        assert_eq!(event.to_line(), r#"user-disable; user="alice" by="root""#);
        let json = event.to_json(Timestamp::from_secs(0));
        assert_eq!((&json["user"]["name"], &json["pvegate"]["by"]), (&"alice".into(), &"root".into()));
    }

    #[test]
    fn a_query_is_never_written() {
        let uri = "/api2/json/access/ticket?password=hunter2".parse().unwrap();
        let event = Event::new(Action::Refuse, Outcome::Failure).asked(&http::Method::POST, &uri);

        assert!(!event.to_json(Timestamp::from_secs(0)).to_string().contains("hunter2"));
    }
}
