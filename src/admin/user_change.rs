//! `pvegate user rename|role|delete`

use serde_json::json;

use super::{Desk, Exit, Failure, given, output::Output};
use crate::{
    account::{Role, User, UserName},
    audit::{Action, Changed, Event, Outcome},
    store::{Deleted, RoleSet, Store as _, UserRenamed},
};

pub(super) fn rename(
    desk: &mut Desk,
    old: &UserName,
    new: &UserName,
    reason: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let user = desk.user(old)?;
    match desk.store.rename_user(user.id, new)? {
        UserRenamed::Now => {
            let event = Event::new(Action::UserRename, Outcome::Success).of(old);
            desk.audit.record(&given(event.with_change(Changed::Name(new.clone())), "renamed", reason));
        }
        UserRenamed::Before => {}
        UserRenamed::Taken => {
            let message = format!("somebody else is called `{new}`; `pvegate user list` names all");
            return Err(Failure::new(Exit::Refused, message));
        }
        UserRenamed::NoSuchUser => return Err(gone(old)),
    }
    output.data(&json!({ "user": new.as_str(), "before": old.as_str() }), || {
        format!("{old} is {new} now, and signs in by that name")
    });
    Ok(())
}

pub(super) fn set_role(
    desk: &mut Desk,
    name: &UserName,
    role: Role,
    reason: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let text = match desk.store.set_role(user.id, role)? {
        RoleSet::Now => {
            let event = Event::new(Action::UserRole, Outcome::Success).of(name);
            desk.audit.record(&given(event.with_change(Changed::Role(role)), "role", reason));
            match role {
                Role::Admin => format!("{name} is an administrator of the gate now"),
                Role::User => format!("{name} is no administrator of the gate any more"),
            }
        }
        RoleSet::Before => match role {
            Role::Admin => format!("{name} was an administrator already"),
            Role::User => format!("{name} was no administrator before"),
        },
        RoleSet::LastAdmin => return Err(last_admin(name)),
        RoleSet::NoSuchUser => return Err(gone(name)),
    };
    output.data(&json!({ "user": name.as_str(), "role": role.as_str() }), || text);
    Ok(())
}

pub(super) fn delete(
    desk: &mut Desk,
    name: &UserName,
    yes: bool,
    reason: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let user = desk.user(name)?;
    output.consent(yes, &what_goes(desk, &user)?)?;
    let ended = match desk.store.delete_user(user.id, desk.now)? {
        Deleted::Now(ended) => ended.len(),
        Deleted::LastAdmin => return Err(last_admin(name)),
        Deleted::NoSuchUser => return Err(gone(name)),
    };
    let event = Event::new(Action::UserDelete, Outcome::Success).of(name);
    desk.audit.record(&given(event, "deleted", reason));
    output.data(&json!({ "user": name.as_str(), "deleted": true, "ended": ended }), || {
        format!("deleted {name}; sessions ended: {ended}")
    });
    Ok(())
}

/// What is lost with somebody, to be told before it is.
fn what_goes(desk: &mut Desk, user: &User) -> Result<String, Failure> {
    let methods = desk.store.authenticators(user.id)?.len() + desk.store.credentials(user.id)?.len();
    let codes = desk.store.recovery_codes(user.id)?.left;
    Ok(format!(
        "{} is deleted for good, with history, sign-in methods ({methods}) and recovery codes ({codes})",
        user.name
    ))
}

/// Nobody could administer the gate in a browser any more.
pub(super) fn last_admin(name: &UserName) -> Failure {
    let message = format!(
        "{name} is the last administrator who may sign in; add another with `pvegate user add --admin`, \
         or make somebody one with `pvegate user role NAME admin`"
    );
    Failure::new(Exit::Refused, message)
}

/// Somebody was quicker.
fn gone(name: &UserName) -> Failure {
    Failure::new(Exit::NoSuchThing, format!("there is no user `{name}` any more"))
}
