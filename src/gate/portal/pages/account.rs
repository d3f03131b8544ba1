//! The account's home, and the page after signing out.

use std::time::Duration;

use super::rendered;
use crate::{
    account::UserName,
    gate::ceremony::recovery,
    status::{Node, Why},
    time::Timestamp,
};

/// `/_gate/`: who is signed in, until when, and the ways on and out (POST `/_gate/sign-out`).
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Who is signed in.
    pub user: &'a str,
    /// Since when.
    pub signed_in_at: Timestamp,
    /// When the session ends, whatever happens.
    pub ends_at: Timestamp,
    /// How long it lasts without activity.
    pub idle: Duration,
    /// Recovery codes that are left, if it is known.
    pub recovery_codes: Option<u32>,
    /// To administrators: Proxmox VE's nodes that do not serve.
    pub down: &'a [Node],
    /// To administrators: who lately reported what was not their doing, and when.
    pub reports: &'a [(UserName, Timestamp)],
    /// Whether they are an administrator.
    pub admin: bool,
}

impl Account<'_> {
    fn few_codes(&self) -> bool {
        self.recovery_codes.is_some_and(|left| usize::try_from(left).is_ok_and(|left| left <= recovery::FEW))
    }
}

rendered!(Account<'t>, "account.html");

/// The page after signing out.
#[derive(Debug, Clone, Copy)]
pub struct SignedOut;

rendered!(SignedOut, "signed-out.html");
