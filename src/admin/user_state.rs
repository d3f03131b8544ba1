//! `pvegate user unlock|disable|enable`

use serde_json::json;

use super::{Desk, Failure, output::Output, user_change::last_admin};
use crate::{
    account::UserName,
    audit::{Action, Event, Outcome, Reason},
    gate::lockout::UNKNOWN_A_YEAR,
    store::{Disabled, Enabled, Store as _, Unlocked},
};

pub(super) fn unlock(desk: &mut Desk, name: &UserName, output: &Output) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let Unlocked { rows, since_success, guesses } = desk.store.unlock(user.id)?;
    desk.audit.record(&Event::new(Action::UserUnlock, Outcome::Success).of(name));
    let object = json!({
        "user": name.as_str(),
        "rows": rows,
        "wrong_codes": since_success,
        "guesses": guesses,
    });
    output.data(&object, || {
        format!(
            "unlocked {name}: {rows} rows of wrong codes, {since_success} wrong codes since the last success, \
             {guesses} guesses of the year forgotten"
        )
    });
    output.talk(&format!(
        "{UNKNOWN_A_YEAR} guesses a year may be made at {name}'s codes, from now on anew; was it the owner who \
         asked?"
    ));
    Ok(())
}

pub(super) fn disable(
    desk: &mut Desk,
    name: &UserName,
    reason: String,
    output: &Output,
) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let ended = match desk.store.disable_user(user.id, desk.now)? {
        Disabled::Now(ended) => ended,
        Disabled::Before => {
            output.data(&json!({ "user": name.as_str(), "ended": 0 }), || {
                format!("{name} was disabled already")
            });
            return Ok(());
        }
        Disabled::LastAdmin => return Err(last_admin(name)),
    };
    let event = Event::new(Action::UserDisable, Outcome::Success).of(name);
    desk.audit.record(&event.because(Reason::new("disabled", reason)));
    let count = ended.len();
    output.data(&json!({ "user": name.as_str(), "ended": count }), || {
        let sessions = if count == 1 { "session" } else { "sessions" };
        format!("disabled {name}, ended {count} {sessions}")
    });
    Ok(())
}

pub(super) fn enable(desk: &mut Desk, name: &UserName, output: &Output) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let text = match desk.store.enable_user(user.id)? {
        Enabled::Now => {
            desk.audit.record(&Event::new(Action::UserEnable, Outcome::Success).of(name));
            format!("enabled {name}")
        }
        Enabled::Before => format!("{name} was enabled already"),
    };
    output.data(&json!({ "user": name.as_str() }), || text);
    Ok(())
}
