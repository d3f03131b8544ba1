//! `pvegate user group`: which groups somebody is in, by which policies name people.

use serde_json::json;

use super::{Desk, Failure, output::Output};
use crate::{
    account::{GroupName, UserName},
    audit::{Action, Event, Outcome},
    store::Store as _,
};

#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// Whom, e.g. alice
    name: UserName,
    /// A group to join; can be given several times.
    #[arg(long, value_name = "GROUP")]
    add: Vec<GroupName>,
    /// A group to leave; can be given several times.
    #[arg(long, value_name = "GROUP")]
    remove: Vec<GroupName>,
}

pub(super) fn run(desk: &mut Desk, change: &Change, output: &Output) -> Result<(), Failure> {
    let Change { name, add, remove } = change;
    let user = desk.user(name)?;
    if desk.store.regroup(user.id, add, remove)? {
        desk.audit.record(&Event::new(Action::UserGroup, Outcome::Success).of(name));
    }
    let groups = desk.store.person(user.id)?.map(|person| person.groups).unwrap_or_default();
    let words: Vec<_> = groups.iter().map(GroupName::as_str).collect();
    output.data(&json!({ "user": name.as_str(), "groups": words }), || {
        if words.is_empty() {
            format!("{name} is in no group")
        } else {
            format!("{name}: {}", words.join(", "))
        }
    });
    Ok(())
}
