//! Everybody: what administrators see of them, and the same for other programs.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::super::{
    Answer, Visit,
    pages::{Locked, PersonRow, PersonState},
};
use crate::{
    account::{Authenticator, Credential, CredentialKind, Invitation, Role, User},
    connection::reply::Reply,
    gate::{Gate, ceremony::invite, lockout},
    store::{GuessedAt, RecoveryCodes, StoreError},
    time::Timestamp,
};

/// Somebody, as the store knows them.
pub(super) struct Known {
    pub(super) user: User,
    pub(super) authenticators: Vec<Authenticator>,
    pub(super) credentials: Vec<Credential>,
    invitation: Option<Invitation>,
    codes: RecoveryCodes,
    guessed_at: GuessedAt,
    last_sign_in_at: Option<Timestamp>,
}

impl Gate {
    /// Everybody, by name.
    pub(super) async fn people(&self) -> Result<Vec<Known>, StoreError> {
        self.store
            .call(|store| {
                let users = store.users()?.into_iter();
                users
                    .map(|user| {
                        let id = user.id;
                        Ok(Known {
                            user,
                            authenticators: store.authenticators(id)?,
                            credentials: store.credentials(id)?,
                            invitation: store.latest_invitation(id)?,
                            codes: store.recovery_codes(id)?,
                            guessed_at: store.guessed_at(id)?,
                            last_sign_in_at: store.last_sign_in(id)?,
                        })
                    })
                    .collect()
            })
            .await
    }

    /// Everybody as CSV (RFC 4180).
    pub(in crate::gate::portal) async fn users_csv(&self, visit: &Visit<'_>) -> Answer {
        let rows: Vec<_> = self.people().await?.iter().map(|person| person.row(visit.now)).collect();
        let reply = Reply::new(StatusCode::OK, "text/csv; charset=utf-8; header=present", csv(&rows));
        Ok(reply.with(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"pvegate-users.csv\""),
        ))
    }

    /// Everybody as JSON, with the keys of `pvegate user list --json`.
    pub(in crate::gate::portal) async fn users_json(&self, visit: &Visit<'_>) -> Answer {
        let rows = self.people().await?;
        let objects: Vec<_> = rows.iter().map(|person| object(&person.row(visit.now))).collect();
        let reply = Reply::json(StatusCode::OK, &json!(objects));
        Ok(reply.with(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"pvegate-users.json\""),
        ))
    }
}

impl Known {
    /// What is shown of them.
    pub(super) fn row(&self, now: Timestamp) -> PersonRow {
        let of = |kind| self.credentials.iter().filter(|key| key.kind == kind).count();
        let by_app = self.authenticators.iter().filter_map(|app| app.last_used_at);
        let has_methods = !(self.authenticators.is_empty() && self.credentials.is_empty());
        PersonRow {
            name: self.user.name.to_string(),
            admin: match self.user.role {
                Role::Admin => true,
                Role::User => false,
            },
            state: state(&self.user, has_methods, self.invitation.as_ref(), now),
            locked: self.locked(now),
            wrong_codes: self.guessed_at.since_success,
            passkeys: of(CredentialKind::Passkey),
            security_keys: of(CredentialKind::SecurityKey),
            apps: self.authenticators.len(),
            codes: self.codes,
            added_at: self.user.created_at,
            last_sign_in_at: self.last_sign_in_at,
            last_used_at: by_app.chain(self.credentials.iter().filter_map(|key| key.last_used_at)).max(),
            open_link: invite::usable(self.invitation.as_ref(), now).is_ok(),
        }
    }

    /// For whoever could sign in with a single app.
    fn locked(&self, now: Timestamp) -> Locked {
        let standing = lockout::standing(&self.guessed_at, 1, now);
        match (standing.everywhere, standing.locked.as_slice()) {
            (Some(_), _) => Locked::Everywhere,
            (None, [_, ..]) => Locked::Somewhere,
            (None, []) => Locked::Nowhere,
        }
    }
}

/// How far somebody is (pure).
fn state(user: &User, has_methods: bool, invitation: Option<&Invitation>, now: Timestamp) -> PersonState {
    match (user.disabled_at, has_methods, invitation) {
        (Some(_), _, _) => PersonState::Disabled,
        (None, true, _) => PersonState::Active,
        (None, false, None) => PersonState::NotInvited,
        (None, false, Some(invitation)) => match invite::usable(Some(invitation), now) {
            Ok(invitation) => PersonState::Invited(invitation.expires_at),
            Err(_) => PersonState::InvitationExpired,
        },
    }
}

fn object(row: &PersonRow) -> serde_json::Value {
    let until = match row.state {
        PersonState::Invited(until) => Some(until.to_string()),
        PersonState::Active
        | PersonState::InvitationExpired
        | PersonState::NotInvited
        | PersonState::Disabled => None,
    };
    json!({
        "name": row.name,
        "admin": row.admin,
        "state": row.state.word(),
        "invited_until": until,
        "passkeys": row.passkeys,
        "security_keys": row.security_keys,
        "totp": row.apps,
        "recovery_codes": { "left": row.codes.left, "of": row.codes.of },
        "created_at": row.added_at.to_string(),
        "last_sign_in_at": row.last_sign_in_at.map(|at| at.to_string()),
        "last_used_at": row.last_used_at.map(|at| at.to_string()),
    })
}

fn csv(rows: &[PersonRow]) -> String {
    let mut text = String::from(
        "name,role,state,passkeys,security_keys,totp,recovery_codes_left,recovery_codes_of,created_at,last_sign_in_at,last_used_at\r\n",
    );
    for row in rows {
        let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
        let cells = [
            row.name.clone(),
            if row.admin { "admin" } else { "user" }.to_owned(),
            row.state.word().to_owned(),
            row.passkeys.to_string(),
            row.security_keys.to_string(),
            row.apps.to_string(),
            row.codes.left.to_string(),
            row.codes.of.to_string(),
            row.added_at.to_string(),
            time(row.last_sign_in_at),
            time(row.last_used_at),
        ];
        text += &cells.map(|cell| csv_cell(&cell)).join(",");
        text += "\r\n";
    }
    text
}

/// A cell that a spreadsheet takes for text: one that begins as a formula does (a user's name may begin with
/// a hyphen) gets an apostrophe in front, as OWASP has it.
fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{InvitationPurpose, UserId};

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    #[test]
    fn no_cell_is_taken_for_a_formula_or_for_two() {
        #[rustfmt::skip]
        let table = [
            ("alice",             "alice"),
            ("-alice",            "'-alice"),
            ("=1+1",              "'=1+1"),
            ("@x",                "'@x"),
            ("a,b",               "\"a,b\""),
            ("say \"x\"",         "\"say \"\"x\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("",                  ""),
        ];
        for (text, cell) in table {
            assert_eq!(csv_cell(text), cell, "{text}");
        }
    }

    #[test]
    fn how_far_somebody_is_goes_by_what_they_have() {
        let user = |disabled: bool| User {
            id: UserId(1),
            name: "alice".parse().unwrap(),
            role: Role::User,
            created_at: NOW,
            disabled_at: disabled.then_some(NOW),
        };
        let until = NOW.plus(std::time::Duration::from_secs(900));
        let invited = Invitation {
            token_hash: [0; 32],
            user: UserId(1),
            purpose: InvitationPurpose::Enrol,
            created_at: NOW,
            expires_at: until,
            used_at: None,
            revoked_at: None,
        };
        let used = Invitation { used_at: Some(NOW), ..invited.clone() };
        let revoked = Invitation { revoked_at: Some(NOW), ..invited.clone() };
        #[rustfmt::skip]
        let table = [
            // disabled  methods  invitation       at      state
            (true,       true,    None,            NOW,    PersonState::Disabled),
            (true,       false,   Some(&invited),  NOW,    PersonState::Disabled),
            (false,      true,    Some(&invited),  NOW,    PersonState::Active),
            (false,      false,   Some(&invited),  NOW,    PersonState::Invited(until)),
            (false,      false,   Some(&invited),  until,  PersonState::InvitationExpired),
            (false,      false,   Some(&used),     NOW,    PersonState::InvitationExpired),
            (false,      false,   Some(&revoked),  NOW,    PersonState::InvitationExpired),
            (false,      false,   None,            NOW,    PersonState::NotInvited),
        ];
        for (disabled, methods, invitation, at, expected) in table {
            assert_eq!(
                state(&user(disabled), methods, invitation, at),
                expected,
                "{disabled} {methods} {invitation:?}"
            );
        }
    }
}
