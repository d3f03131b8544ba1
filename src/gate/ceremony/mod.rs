//! Ceremonies: how somebody proves who they are, or takes up an invitation. Each expires, and each
//! works once.

pub mod invite;
pub mod password;
pub mod recovery;
pub mod totp;
pub mod webauthn;
