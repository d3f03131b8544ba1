//! What policy demands of somebody who does not have it yet, `/_gate/demanded`.

use super::rendered;
use crate::{account::Requirement, gate::portal::words::Language, time::Timestamp};

/// Says what is missing, until when it may be, and leads to it or on.
#[derive(Debug, Clone, Copy)]
pub struct Demanded<'a> {
    /// Who is without it.
    pub user: &'a str,
    /// What is missing.
    pub lacks: Requirement,
    /// The first moment at which it must be there.
    pub until: Timestamp,
    /// Where they were going: a path of ours.
    pub next: &'a str,
}

rendered!(Demanded<'t>, "demanded.html");

impl Language {
    /// What somebody needs who has to show this.
    #[must_use]
    pub const fn demanded(self, requirement: Requirement) -> &'static str {
        let w = self;
        match requirement {
            Requirement::PasswordAndTotp => w.demanded_password(),
            Requirement::Passkey => w.demanded_passkey(),
            Requirement::SecurityKey => w.demanded_bound_key(),
            Requirement::TwoKeys => w.demanded_two_keys(),
        }
    }

    /// What somebody has to use who has it, and showed something else.
    #[must_use]
    pub const fn demand_use(self, requirement: Requirement) -> &'static str {
        let w = self;
        match requirement {
            Requirement::PasswordAndTotp => w.demand_use_password(),
            Requirement::Passkey | Requirement::TwoKeys => w.demand_use_key(),
            Requirement::SecurityKey => w.demand_use_bound_key(),
        }
    }

    /// What the button says that leads there.
    #[must_use]
    pub const fn demand_set_up(self, requirement: Requirement) -> &'static str {
        let w = self;
        match requirement {
            Requirement::PasswordAndTotp => w.demand_set_up_password(),
            Requirement::Passkey | Requirement::SecurityKey => w.add_passkey(),
            Requirement::TwoKeys => w.add_second_key(),
        }
    }
}
