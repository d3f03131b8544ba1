//! Invitations: a one-time token in the fragment of a link, which browsers do not send to anybody.
//!
//! The store keeps only the token's hash and spends it in the transaction that adds the first
//! sign-in method.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::{
    account::{Invitation, InvitationPurpose, UserId},
    gate::PublicUrl,
    names, secret,
    store::NewInvitation,
    time::Timestamp,
};

/// How long an invitation lasts unless said otherwise.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The longest lifetime that can be asked for.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// An invitation's token: 120 random bits, 24 characters of RFC 4648 base32 in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new token.
    #[must_use]
    pub fn random() -> Self {
        Self(Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&secret::random::<15>()).to_ascii_lowercase()))
    }

    /// What somebody typed or pasted: capitals, blanks and hyphens do not matter, and a whole link
    /// is as good as the token at its end.
    #[must_use]
    pub fn from_typed(text: &str) -> Self {
        let token = text.rsplit('#').next().unwrap_or(text);
        let token = token.chars().filter(char::is_ascii_alphanumeric).take(64).collect::<String>();
        Self(Zeroizing::new(token.to_ascii_lowercase()))
    }

    /// What the store knows it by: SHA-256, since nobody can guess 120 random bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        secret::sha256(self.0.as_bytes())
    }

    /// The link that carries it.
    #[must_use]
    pub fn link(&self, public_url: &PublicUrl) -> String {
        format!("{}{}enrol#{}", public_url.origin(), names::PREFIX, *self.0)
    }

    /// The invitation to be kept for it.
    #[must_use]
    pub fn invitation(
        &self,
        user: UserId,
        purpose: InvitationPurpose,
        now: Timestamp,
        lifetime: Duration,
    ) -> NewInvitation {
        let token_hash = self.hash();
        NewInvitation { token_hash, user, purpose, created_at: now, expires_at: now.plus(lifetime) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whether an invitation can still be taken up at `now`.
///
/// # Errors
///
/// [`InviteError`], in the order in which a person can do something about it.
pub fn usable(invitation: Option<&Invitation>, now: Timestamp) -> Result<&Invitation, InviteError> {
    let invitation = invitation.ok_or(InviteError::Unknown)?;
    if invitation.used_at.is_some() {
        Err(InviteError::Used)
    } else if invitation.revoked_at.is_some() {
        Err(InviteError::Replaced)
    } else if invitation.expires_at <= now {
        Err(InviteError::Expired)
    } else {
        Ok(invitation)
    }
}

/// Why an invitation can't be taken up.
///
/// Its holder may know which: nobody else can have 120 bits by guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// No such token.
    #[error("no invitation has this code")]
    Unknown,
    /// Somebody used it.
    #[error("the invitation was used")]
    Used,
    /// A later one took its place.
    #[error("a newer invitation took its place")]
    Replaced,
    /// Too late.
    #[error("the invitation has expired")]
    Expired,
    /// Its holder may not sign in at this address.
    #[error("the policy admits the user from other networks only")]
    Elsewhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_120_bits_and_typed_in_any_way_it_is_the_same() {
        let token = Token::random();
        let text = token.0.as_str();
        assert_eq!(text.len(), 24);

        let (upper, link) = (text.to_uppercase(), token.link(&PublicUrl::parse("https://pve.lan").unwrap()));
        let grouped = format!(" {}-{} ", &text[..6], &text[6..]);
        for typed in [text, &upper, &grouped, &link] {
            assert_eq!(Token::from_typed(typed).hash(), token.hash(), "{typed}");
        }
        assert_ne!(Token::random(), token);
    }

    #[test]
    fn an_invitation_is_good_until_the_very_moment_it_expires() {
        let at = Timestamp::from_secs;
        let invitation = |used: Option<i64>, revoked: Option<i64>| Invitation {
            token_hash: [0; 32],
            user: UserId(1),
            purpose: InvitationPurpose::Enrol,
            created_at: at(0),
            expires_at: at(900),
            used_at: used.map(at),
            revoked_at: revoked.map(at),
        };
        #[rustfmt::skip]
        let table = [
            ("unknown",             None,                                  10, Some(InviteError::Unknown)),
            ("fresh",               Some(invitation(None, None)),          10, None),
            ("last moment",         Some(invitation(None, None)),         899, None),
            ("first moment late",   Some(invitation(None, None)),         900, Some(InviteError::Expired)),
            ("used",                Some(invitation(Some(5), None)),       10, Some(InviteError::Used)),
            ("used, long ago",      Some(invitation(Some(5), None)),      999, Some(InviteError::Used)),
            ("replaced",            Some(invitation(None, Some(5))),       10, Some(InviteError::Replaced)),
        ];
        for (case, invitation, now, refused) in table {
            assert_eq!(usable(invitation.as_ref(), at(now)).err(), refused, "{case}");
        }
    }
}
