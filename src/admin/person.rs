//! `pvegate user list|show`: what is known of people.

use serde_json::{Value, json};

use super::{
    Desk, Failure, factor, invite, lines,
    output::{Output, relative},
    session,
};
use crate::{
    account::{Authenticator, Credential, CredentialKind, GroupName, Invitation, Role, User, UserName},
    gate::lockout::{self, Refusal, Standing},
    store::{Entry, GuessedAt, Happened, RecoveryCodes, Store as _},
    time::Timestamp,
};

/// Which people a list is to name; those who are all of what is wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Wanted {
    /// Only those without a method that signs them in.
    #[arg(long)]
    missing_factor: bool,
    /// Only those who are disabled.
    #[arg(long)]
    disabled: bool,
}

/// Somebody, with what lists tell of them.
struct Person {
    user: User,
    groups: Vec<GroupName>,
    authenticators: Vec<Authenticator>,
    credentials: Vec<Credential>,
    codes: RecoveryCodes,
    state: State,
    last_sign_in_at: Option<Timestamp>,
}

impl Person {
    fn of(desk: &mut Desk, user: User) -> Result<Self, Failure> {
        let authenticators = desk.store.authenticators(user.id)?;
        let credentials = desk.store.credentials(user.id)?;
        let invitation = desk.store.latest_invitation(user.id)?;
        let codes = desk.store.recovery_codes(user.id)?;
        let groups = desk.store.person(user.id)?.map(|person| person.groups).unwrap_or_default();
        let by_app = authenticators.iter().filter_map(|app| app.last_used_at);
        let last_sign_in_at = by_app.chain(credentials.iter().filter_map(|key| key.last_used_at)).max();
        let state = match (user.disabled_at, authenticators.is_empty() && credentials.is_empty()) {
            (Some(_), _) => State::Disabled,
            (None, false) => State::Active,
            (None, true) => State::pending(invitation.as_ref(), desk.now),
        };
        Ok(Self { user, groups, authenticators, credentials, codes, state, last_sign_in_at })
    }

    /// Whether there is a method that signs them in by itself: a security key is asked for after one.
    fn has_way_in(&self) -> bool {
        !self.authenticators.is_empty() || self.count(CredentialKind::Passkey) > 0
    }

    fn count(&self, kind: CredentialKind) -> usize {
        self.credentials.iter().filter(|key| key.kind == kind).count()
    }

    fn object(&self) -> Value {
        json!({
            "name": self.user.name.as_str(),
            "admin": self.user.role == Role::Admin,
            "groups": self.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
            "state": self.state.word(),
            "invited_until": self.state.invited_until().map(|at| at.to_string()),
            "passkeys": self.count(CredentialKind::Passkey),
            "security_keys": self.count(CredentialKind::SecurityKey),
            "totp": self.authenticators.len(),
            "recovery_codes": { "left": self.codes.left, "of": self.codes.of },
            "created_at": self.user.created_at.to_string(),
            "last_sign_in_at": self.last_sign_in_at.map(|at| at.to_string()),
        })
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.user.name.to_string(),
            self.user.role.as_str().to_owned(),
            self.state.told(now),
            self.credentials.len().to_string(),
            self.authenticators.len().to_string(),
            format!("{}/{}", self.codes.left, self.codes.of),
            ago(self.last_sign_in_at, now),
        ]
    }
}

pub(super) fn list(desk: &mut Desk, wanted: Wanted, output: &Output) -> Result<(), Failure> {
    let mut people = Vec::new();
    for user in desk.store.users()? {
        people.push(Person::of(desk, user)?);
    }
    let nobody = if people.is_empty() {
        "there is nobody yet; `pvegate user add NAME --admin` adds the first"
    } else {
        "nobody is like that"
    };
    people.retain(|person| {
        (!wanted.missing_factor || !person.has_way_in())
            && (!wanted.disabled || person.user.disabled_at.is_some())
    });
    let objects: Vec<_> = people.iter().map(Person::object).collect();
    let rows: Vec<_> = people.iter().map(|person| person.row(desk.now)).collect();
    output.list(&objects, &["USER", "ROLE", "STATE", "KEYS", "APPS", "CODES", "LAST SIGN-IN"], &rows, nobody);
    Ok(())
}

pub(super) fn show(desk: &mut Desk, name: &UserName, output: &Output) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let person = Person::of(desk, user.clone())?;
    let methods = factor::of(desk, &user)?;
    let sessions = session::listed(desk, Some(user.id))?;
    let invitation = desk.store.open_invitations(desk.now)?.into_iter().find(|open| open.user == user.id);
    let has_password = desk.store.password(user.id)?.is_some();
    let history = desk.store.history(user.id)?;
    let sign_in = history.iter().find(|entry| entry.succeeded && entry.happened == Happened::SignIn);
    let last_active_at = sessions.iter().map(|listed| listed.session.last_active_at).max();
    let guessed = desk.store.guessed_at(user.id)?;
    let secrets = u32::try_from(person.authenticators.len()).unwrap_or(u32::MAX);
    let standing = lockout::standing(&guessed, secrets, desk.now);

    let mut object = person.object();
    let more = json!({
        "disabled_at": user.disabled_at.map(|at| at.to_string()),
        "last_active_at": last_active_at.map(|at| at.to_string()),
        "password": has_password,
        "methods": methods.iter().map(|method| factor::object(&user, method)).collect::<Vec<_>>(),
        "invitation": invitation.as_ref().map(|open| invite::object(&user, open)),
        "sessions": sessions.iter().map(session::Listed::object).collect::<Vec<_>>(),
        "known_devices": guessed.devices,
        "lock": lock_object(&guessed, &standing),
    });
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    let now = desk.now;
    output.data(&object, || {
        let state = match user.disabled_at {
            Some(at) => format!("disabled {}", relative(at, now)),
            None => person.state.told(now),
        };
        let codes = person.codes;
        let facts = lines(&[
            ("role", user.role.as_str().to_owned()),
            ("state", state),
            ("added", relative(user.created_at, now)),
            (
                "last sign-in",
                sign_in.map_or_else(|| ago(person.last_sign_in_at, now), |entry| told(entry, now)),
            ),
            ("last active", ago(last_active_at, now)),
            ("password", if has_password { "set" } else { "none" }.to_owned()),
            ("recovery codes", format!("{} of {}", codes.left, codes.of)),
            ("link", invitation.as_ref().map_or_else(|| "none".to_owned(), |open| invite::told(open, now))),
            ("known devices", guessed.devices.to_string()),
            ("codes", lock_told(&standing, name)),
        ]);
        let methods = factor::table(&methods, now).unwrap_or_else(|| "none".to_owned());
        let sessions = session::table(&sessions, now).unwrap_or_else(|| "none".to_owned());
        format!("{name}\n{facts}\n\nSign-in methods\n{methods}\n\nSessions\n{sessions}")
    });
    Ok(())
}

/// A sign-in, for people.
fn told(entry: &Entry, now: Timestamp) -> String {
    let mut text = relative(entry.at, now);
    if let Some(method) = &entry.method {
        text.push_str(&format!(" by {method}"));
    }
    if let Some(client) = entry.client {
        text.push_str(&format!(" from {client}"));
    }
    text
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| relative(at, now))
}

/// Whether codes are locked for devices that never signed in, for programs.
fn lock_object(guessed: &GuessedAt, standing: &Standing<'_>) -> Value {
    let word = match (standing.everywhere, standing.locked.as_slice()) {
        (Some(Refusal::YearBudget), _) => "year-budget",
        (Some(Refusal::DeviceOnly | Refusal::Locked), _) => "device-only",
        (None, [_, ..]) => "sources",
        (None, []) => "none",
    };
    json!({
        "state": word,
        "sources": standing.locked,
        "wrong_codes": guessed.since_success,
        "guesses_left": standing.left,
    })
}

fn lock_told(standing: &Standing<'_>, name: &UserName) -> String {
    let why = match (standing.everywhere, standing.locked.as_slice()) {
        (Some(refusal), _) => refusal.to_string(),
        (None, []) => return format!("not locked, {} guesses of the year left", standing.left),
        (None, sources) => format!("locked for unknown devices from {}", sources.join(", ")),
    };
    format!("{why}; `pvegate user unlock {name}` lifts it")
}

/// How far somebody is.
#[derive(Debug, Clone, Copy)]
enum State {
    Disabled,
    Active,
    Invited(Timestamp),
    InvitationExpired,
    InvitationRevoked,
    NotInvited,
}

impl State {
    /// Of somebody without a sign-in method.
    fn pending(invitation: Option<&Invitation>, now: Timestamp) -> Self {
        match invitation {
            Some(Invitation { revoked_at: Some(_), .. }) => Self::InvitationRevoked,
            Some(invitation) if invitation.used_at.is_none() && invitation.expires_at > now => {
                Self::Invited(invitation.expires_at)
            }
            Some(_) => Self::InvitationExpired,
            None => Self::NotInvited,
        }
    }

    /// For programs: these words stay.
    fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Active => "active",
            Self::Invited(_) => "invited",
            Self::InvitationExpired => "invitation-expired",
            Self::InvitationRevoked => "invitation-revoked",
            Self::NotInvited => "not-invited",
        }
    }

    fn invited_until(self) -> Option<Timestamp> {
        match self {
            Self::Invited(until) => Some(until),
            Self::Disabled
            | Self::Active
            | Self::InvitationExpired
            | Self::InvitationRevoked
            | Self::NotInvited => None,
        }
    }

    /// For people.
    fn told(self, now: Timestamp) -> String {
        match self {
            Self::Invited(until) => {
                format!("invited, {} min left", until.since(now).as_secs().div_ceil(60))
            }
            Self::InvitationExpired => "invitation expired".to_owned(),
            Self::InvitationRevoked => "invitation revoked".to_owned(),
            Self::NotInvited => "not invited".to_owned(),
            Self::Disabled | Self::Active => self.word().to_owned(),
        }
    }
}
