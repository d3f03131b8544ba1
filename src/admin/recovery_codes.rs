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
    time::Timestamp,
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
    /// person, or print them, e.g. by `pvegate recovery-codes renew NAME --print | lp`
    #[command(verbatim_doc_comment)]
    Renew {
        /// Whose.
        user: UserName,
        /// A sheet to be put on paper, with what the codes are for.
        #[arg(long)]
        print: bool,
    },
}

pub(super) fn run(verb: Verb, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    match verb {
        Verb::Status { user } => status(&mut desk, user.as_ref(), output),
        Verb::Renew { user, print } => renew(&mut desk, &user, print, output),
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

fn renew(desk: &mut Desk, name: &UserName, print: bool, output: &Output) -> Result<(), Failure> {
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
    let (url, made) = (desk.config.gate.public_url.origin(), desk.now);
    output.data(&json!({ "user": name.as_str(), "codes": written }), || {
        if print { sheet(&url, name, made, &written) } else { written.join("\n") }
    });
    Ok(())
}

/// Everything that somebody without phone and key needs, on one sheet of paper.
fn sheet(url: &str, name: &UserName, made: Timestamp, codes: &[String]) -> String {
    let day: String = made.to_string().chars().take(10).collect();
    let half = codes.len().div_ceil(2);
    let (left, right) = codes.split_at(half.min(codes.len()));
    let rows: Vec<String> = (1..)
        .zip(left)
        .map(|(number, code)| {
            let beside = right.get(number - 1).map(|code| format!("{:>8}. [ ] {code}", number + half));
            format!("{number:>4}. [ ] {code}{}", beside.unwrap_or_default())
        })
        .collect();
    format!(
        "RECOVERY CODES\n\n  for   {name}\n  at    {url}\n  made  {day}; earlier codes do not work any more\n\n{}\n\n\
         Each code signs {name} in once, without phone or key:\n\n  \
         1. Open {url}/_gate/recover\n  \
         2. Type the user name {name} and one of the codes; capitals and dashes do\n     not matter.\n  \
         3. Cross the code out. Then set up a new phone or key at once.\n\n\
         Whoever holds this sheet can sign in as {name}. Keep it where you keep keys,\n\
         and not with the phone or the key that it stands in for.",
        rows.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_says_whose_codes_they_are_where_and_how_to_use_them_and_fits_on_paper() {
        let codes: Vec<String> = ('a'..='j').map(|c| vec![c.to_string().repeat(4); 4].join("-")).collect();

        let sheet =
            sheet("https://pve.example.com", &"alice".parse().unwrap(), Timestamp::from_secs(0), &codes);

        assert!(sheet.starts_with(
            "RECOVERY CODES\n\n  for   alice\n  at    https://pve.example.com\n  made  1970-01-01;"
        ));
        assert!(
            sheet.contains("   1. [ ] aaaa-aaaa-aaaa-aaaa       6. [ ] ffff-ffff-ffff-ffff\n"),
            "{sheet}"
        );
        assert!(codes.iter().all(|code| sheet.matches(code.as_str()).count() == 1), "{sheet}");
        assert!(sheet.contains("https://pve.example.com/_gate/recover"));
        assert!(
            sheet.lines().all(|line| line.chars().count() <= 80) && sheet.lines().count() <= 60,
            "{sheet}"
        );
    }
}
