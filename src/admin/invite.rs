//! `pvegate invite NAME`, `pvegate invite list|revoke`

use std::{path::Path, time::Duration};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Desk, Exit, Failure,
    choice::choice,
    given,
    output::{Output, relative},
};
use crate::{
    account::{Invitation, InvitationPurpose, User, UserName},
    audit::{Action, Event, Outcome},
    config::duration,
    gate::ceremony::invite::{LIFETIME, LONGEST, Token},
    store::Store as _,
    time::Timestamp,
};

#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct Args {
    /// Whom to invite. Somebody called `list` is `-- list`.
    #[arg(required = true)]
    user: Option<UserName>,
    /// How long the link works [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Option<Duration>,
    /// To enrol another sign-in method, or to recover from a loss [default: enrol]
    ///
    /// A link to recover makes new recovery codes and ends the user's other sessions.
    #[arg(long, value_name = "PURPOSE", value_parser = choice(&InvitationPurpose::ALL, InvitationPurpose::as_str))]
    purpose: Option<InvitationPurpose>,
    /// Print no QR code.
    #[arg(long)]
    no_qr: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the links that still work.
    ///
    /// The links themselves can't be shown again: of them only a hash is kept.
    /// Nothing is changed.
    #[command(verbatim_doc_comment)]
    List,
    /// Make somebody's link void.
    ///
    /// Whoever opens it then is told that it does not work any more. Sessions and
    /// sign-in methods stay.
    #[command(verbatim_doc_comment)]
    Revoke {
        /// Whose.
        user: UserName,
        /// Why; the audit log keeps it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) fn run(args: Args, config: &Path, output: &Output) -> Result<(), Failure> {
    match args {
        Args { verb: Some(verb), user: None, ttl: None, purpose: None, no_qr: false } => {
            let mut desk = Desk::open(config, output)?;
            match verb {
                Verb::List => list(&mut desk, output),
                Verb::Revoke { user, reason } => revoke(&mut desk, &user, reason, output),
            }
        }
        Args { verb: None, user: Some(user), ttl, purpose, no_qr } => {
            let mut desk = Desk::open(config, output)?;
            let user = desk.user(&user)?;
            let purpose = purpose.unwrap_or(InvitationPurpose::Enrol);
            make(&mut desk, &user, purpose, ttl.unwrap_or(LIFETIME), !no_qr, output)
        }
        Args { .. } => {
            let message = "either somebody is invited, or links are listed or revoked: \
                           `pvegate invite --help` shows both";
            Err(Failure::new(Exit::WrongUse, message))
        }
    }
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

fn list(desk: &mut Desk, output: &Output) -> Result<(), Failure> {
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for open in desk.store.open_invitations(desk.now)? {
        let Some(user) = desk.store.user(open.user)? else { continue };
        objects.push(object(&user, &open));
        rows.push(vec![
            user.name.to_string(),
            open.purpose.as_str().to_owned(),
            relative(open.created_at, desk.now),
            relative(open.expires_at, desk.now),
        ]);
    }
    output.list(&objects, &["USER", "PURPOSE", "MADE", "ENDS"], &rows, "no link works now");
    Ok(())
}

/// One, for programs.
pub(super) fn object(user: &User, open: &Invitation) -> Value {
    json!({
        "user": user.name.as_str(),
        "purpose": open.purpose.as_str(),
        "created_at": open.created_at.to_string(),
        "expires_at": open.expires_at.to_string(),
    })
}

/// One, for people.
pub(super) fn told(open: &Invitation, now: Timestamp) -> String {
    format!(
        "to {}, made {}, ends {}",
        open.purpose.as_str(),
        relative(open.created_at, now),
        relative(open.expires_at, now)
    )
}

fn revoke(desk: &mut Desk, name: &UserName, reason: Option<String>, output: &Output) -> Result<(), Failure> {
    let user = desk.user(name)?;
    let revoked = desk.store.revoke_invitations(user.id, desk.now)?;
    if revoked == 0 {
        let message = format!("{name} has no link that works; `pvegate invite list` names all");
        return Err(Failure::new(Exit::NoSuchThing, message));
    }
    let event = Event::new(Action::InviteRevoke, Outcome::Success).of(name);
    desk.audit.record(&given(event, "revoked", reason));
    output.data(&json!({ "user": name.as_str(), "revoked": revoked }), || {
        format!("the link of {name} does not work any more")
    });
    Ok(())
}

/// A lifetime such as `15m`, from a minute to a week.
pub(super) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(60) || ttl > LONGEST {
        return Err("a link works for 1m to 7d".to_owned());
    }
    Ok(ttl)
}
