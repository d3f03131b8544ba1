//! Signing in, and signing in with a recovery code.

use super::rendered;
use crate::account::Requirement;

/// The sign-in page, `/_gate/sign-in`.
///
/// Its form has no action: it is sent to the page's own URL, so that `?next=…` and the fragment of
/// Proxmox VE's deep links come along. Fields: `user`, `password` (if asked for), `code`, `failures`. The script
/// posts to `/_gate/passkey/sign-in-options` and `/_gate/passkey/sign-in`, each with the page's query.
#[derive(Debug, Clone, Copy)]
pub struct SignIn<'a> {
    /// The user name typed before, or nothing.
    pub user: &'a str,
    /// Whether a password is asked for.
    pub password: bool,
    /// Whether codes of an authenticator app are. If not, only the name is asked for, for passkeys.
    pub codes: bool,
    /// Whether recovery codes are.
    pub recovery: bool,
    /// Whether passkeys are offered.
    pub passkeys: bool,
    /// What to say above the form.
    pub notice: Option<SignInNotice>,
    /// Failures of this attempt so far, which the form hands back: the page's own count, not the
    /// account's. From two on, the page talks of clocks.
    pub failures: u32,
}

/// What the sign-in page says above its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInNotice {
    /// Something did not match: one sentence for all causes, so that strangers learn nothing.
    NoMatch,
    /// There was a session, and it has ended.
    SessionEnded,
    /// The code was right, and only a passkey is enough.
    PasskeyWanted,
    /// What they showed was right, and more is demanded, which they have.
    Demanded(Requirement),
    /// What they showed was right, and they may not sign in at this address.
    Elsewhere,
    /// There was a session, and it does not meet what is demanded.
    NotEnough,
}

impl SignIn<'_> {
    fn talks_of_clocks(&self) -> bool {
        self.failures >= 2
    }
}

rendered!(SignIn<'t>, "sign-in.html");

/// Signing in with a recovery code, `/_gate/recover`. Fields: `user`, `code`; no action, as in [`SignIn`].
#[derive(Debug, Clone, Copy)]
pub struct Recover<'a> {
    /// The user name typed before, or nothing.
    pub user: &'a str,
    /// Whether something did not match.
    pub no_match: bool,
    /// Whether it matched, and they may not sign in at this address.
    pub elsewhere: bool,
}

rendered!(Recover<'t>, "recover.html");
