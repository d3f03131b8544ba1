//! `pvegate recovery-codes status|renew`

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use super::{Desk, Failure, output::Output};
use crate::{
    account::UserName,
    audit::{Action, Event, Outcome},
    gate::ceremony::recovery,
    secret::{MasterKey, Purpose},
    store::Store as _,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Tell how many recovery codes are left, of how many.
    ///
    /// The codes themselves can't be shown again. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Status {
        /// Only this user's.
        user: Option<UserName>,
    },
    /// Make ten new codes and print them, once.
    ///
    /// The old ones stop working. Whoever sees them can sign in: hand them over in
    /// person, or print them.
    #[command(verbatim_doc_comment)]
    Renew {
        /// Whose.
        user: UserName,
    },
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::Status { user } => status(&mut desk, user.as_ref(), output),
        Verb::Renew { user } => renew(&mut desk, &user, output),
    }
}

fn status(desk: &mut Desk, only: Option<&UserName>, output: &Output) -> Result<(), Failure> {
    let users = match only {
        Some(name) => vec![desk.user(name)?],
        None => desk.store.users()?,
    };
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for user in users {
        let codes = desk.store.recovery_codes(user.id)?;
        objects.push(json!({ "user": user.name.as_str(), "left": codes.left, "of": codes.of }));
        let few = usize::try_from(codes.left).is_ok_and(|left| left <= recovery::FEW);
        rows.push(vec![
            user.name.to_string(),
            format!("{} of {}", codes.left, codes.of),
            if few { "make new ones" } else { "" }.to_owned(),
        ]);
    }
    output.list(
        &objects,
        &["USER", "LEFT", ""],
        &rows,
        "nobody there yet; `pvegate user add NAME` adds somebody",
    );
    Ok(())
}

fn renew(desk: &mut Desk, name: &UserName, output: &Output) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let master = MasterKey::read(&desk.config.master_key_file)
        .map_err(|error| Failure::of(super::Exit::Failed, &error))?;
    let key = master.derive(Purpose::RecoveryCodes);
    let codes = recovery::fresh();
    let hashes: Vec<_> = codes.iter().map(|code| code.hash(&key, user.id)).collect();
    desk.store.replace_recovery_codes(user.id, &hashes, desk.now)?;
    desk.audit.record(&Event::new(Action::RecoveryRenew, Outcome::Success).of(&user.name));
    let written: Vec<String> = codes.iter().map(recovery::Code::written).collect();
    output.talk(&format!("new recovery codes of {name}; the old ones are void; these are not shown again:"));
    output.data(&json!({ "user": name.as_str(), "codes": written }), || written.join("\n"));
    Ok(())
}
