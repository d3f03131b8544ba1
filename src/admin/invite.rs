//! `pvegate invite`

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{Desk, Failure, output::Output};
use crate::{
    account::{InvitationPurpose, User, UserName},
    audit::{Action, Event, Outcome},
    config::duration,
    gate::ceremony::invite::{LONGEST, Token},
    store::Store as _,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whom to invite.
    user: UserName,
    /// How long the link works.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_ttl)]
    ttl: Duration,
    /// To enrol another sign-in method, or to recover from a loss.
    ///
    /// A link to recover makes new recovery codes and ends the user's other sessions.
    #[arg(long, value_name = "PURPOSE", default_value = "enrol", value_parser = parse_purpose)]
    purpose: InvitationPurpose,
    /// Print no QR code.
    #[arg(long)]
    no_qr: bool,
}

pub(super) fn run(args: Args, config: &Path, output: &Output) -> Result<(), Failure> {
    let mut desk = Desk::open(config, output)?;
    let user = desk.user(&args.user)?;
    make(&mut desk, &user, args.purpose, args.ttl, !args.no_qr, output)
}

/// Makes an invitation and prints its link.
pub(super) fn make(
    desk: &mut Desk,
    user: &User,
    purpose: InvitationPurpose,
    ttl: Duration,
    qr: bool,
    output: &Output,
) -> Result<(), Failure> {
    let token = Token::random();
    let invitation = token.invitation(user.id, purpose, desk.now, ttl);
    desk.store.invite(&invitation)?;
    desk.audit.record(&Event::new(Action::InviteCreate, Outcome::Success).of(&user.name));
    let link = token.link(&desk.config.gate.public_url);
    let object = json!({
        "user": user.name.as_str(),
        "enrol_url": link,
        "expires_at": invitation.expires_at.to_string(),
    });
    output.talk(&format!("works once, within {}, from an allowed address:", duration::format(ttl)));
    output.data(&object, || link.clone());
    if qr {
        output.qr(&link);
    }
    Ok(())
}

fn parse_purpose(text: &str) -> Result<InvitationPurpose, String> {
    let found = InvitationPurpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
    found.ok_or_else(|| "a link is to enrol or to recover".to_owned())
}

/// A lifetime such as `15m`, from a minute to a week.
pub(super) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(60) || ttl > LONGEST {
        return Err("a link works for 1m to 7d".to_owned());
    }
    Ok(ttl)
}
