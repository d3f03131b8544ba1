//! The security key that comes after the code.

use super::rendered;

/// Asks for a touch of a security key, in answer to the form of the sign-in page. The script posts to
/// `/_gate/security-key/sign-in`, with the page's query.
#[derive(Debug, Clone, Copy)]
pub struct SecurityKey<'a> {
    /// Whose code was right.
    pub user: &'a str,
    /// What the script needs; `None` where browsers offer no security keys, at a bare IP address.
    pub ceremony: Option<KeyCeremony<'a>>,
    /// Whether a recovery code may be used instead.
    pub recovery: bool,
}

/// What the script needs for an assertion.
#[derive(Debug, Clone, Copy)]
pub struct KeyCeremony<'a> {
    /// The sealed state, given back with the key's answer.
    pub state: &'a str,
    /// `PublicKeyCredentialRequestOptionsJSON`.
    pub options: &'a str,
}

rendered!(SecurityKey<'t>, "security-key.html");
