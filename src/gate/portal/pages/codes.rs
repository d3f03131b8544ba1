//! Recovery codes: the form that asks for new ones, and the page that shows them.

use super::{Step, rendered};
use crate::{
    gate::portal::proof::{ByRecovery, Provable},
    time::Timestamp,
};

/// `/_gate/methods/codes`: asks for the proof that permits new recovery codes.
#[derive(Debug, Clone, Copy)]
pub struct NewCodes {
    /// How it can be proven.
    pub provable: Provable,
    /// Codes that are left.
    pub left: u32,
    /// What went wrong before.
    pub problem: Option<NewCodesProblem>,
}

/// Why there are no new recovery codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewCodesProblem {
    /// Code or passkey did not match.
    NoMatch,
    /// None of those that were shown came back in time.
    Late,
}

rendered!(NewCodes, "new-codes.html");

/// Shows new recovery codes once, and asks for one of them. Fields: `state`, `typed`.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// Where in the set-up this stands, if it is part of one. Else the form goes where new codes are made.
    pub step: Option<Step>,
    /// Whose codes they are.
    pub user: &'a str,
    /// The codes, in their written form (`k7mq-4x2p-9hdn-w3fr`). Empty if they were shown before.
    pub codes: &'a [String],
    /// When they were made.
    pub made_at: Timestamp,
    /// The sealed state, given back with the form.
    pub state: &'a str,
    /// Whether what was typed is none of them.
    pub typed_wrong: bool,
}

rendered!(Codes<'t>, "codes.html");
