//! The pages, each a struct of plain data with a `render`.
//!
//! A page knows nothing of requests, sessions or the store, and decides nothing: it shows what it is
//! given. The status and the fields of the answer are the route's business, above all the
//! `Content-Security-Policy`, under which these pages work: no inline script or style, data for the
//! script in `data-` attributes, nothing from elsewhere. All pages but those that talk to a passkey
//! or security key work without the script.
//!
//! Text is escaped by the templates; only the QR code goes in as it is.

mod account;
mod admin;
mod alarm;
mod app_clock;
mod codes;
mod demanded;
mod diagnostics;
mod enrol;
mod methods;
mod refusal;
mod security_key;
mod sessions;
mod sign_in;

#[cfg(test)]
mod tests;

pub use account::{Account, SignedOut};
pub(in crate::gate::portal) use admin::leads_to;
pub use admin::{
    About, Admin, BanLength, Bar, Chart, Colour, Deed, DeedPage, DeedProblem, Drawing, LinkMade, Locked,
    OpenSession, Person, PersonRow, PersonState, Summary, Typed,
};
pub use alarm::{NotMe, NotMeDone, Panic, PanicDone};
pub use app_clock::{AppClock, AppClockFound};
pub use codes::{Codes, NewCodes, NewCodesProblem};
pub use demanded::Demanded;
pub use diagnostics::Diagnostics;
pub use enrol::{EnrolDone, EnrolPasskey, EnrolStart, EnrolTotp, InvitationProblem, PasskeyTrouble, Step};
pub use methods::{
    ChangeProblem, MethodChange, MethodKind, MethodRow, Methods, MethodsNotice, NewMethod, Nudge, Signal,
    Wish,
};
pub use refusal::{Fingerprints, Refusal, RefusalPage};
pub use security_key::{KeyCeremony, SecurityKey};
pub(in crate::gate::portal) use sessions::device;
pub use sessions::{SessionRow, Sessions, SessionsNotice};
pub use sign_in::{Recover, SignIn, SignInNotice};

/// Gives a page its `render`, from a template in this folder that sees `look`, `w` (the words) and `page`.
macro_rules! rendered {
    ($page:ty, $template:literal) => {
        impl<'t> $page {
            /// The page as HTML.
            #[must_use]
            pub fn render(&self, look: &$crate::gate::portal::look::Look<'_>) -> String {
                use $crate::gate::portal::{assets, look::Look, words::Language};

                #[derive(askama::Template)]
                #[template(path = $template, config = ".askama.toml")]
                struct Template<'t> {
                    look: &'t Look<'t>,
                    w: Language,
                    #[allow(dead_code, reason = "a page without content of its own does not look at it")]
                    page: &'t $page,
                    style: &'static str,
                    script: &'static str,
                    icon: &'static str,
                }
                let template = Template {
                    look,
                    w: look.language,
                    page: self,
                    style: assets::style().path(),
                    script: assets::script().path(),
                    icon: assets::icon().path(),
                };
                // Writing to a `String` cannot fail, and neither can any `Display` that a template uses.
                askama::Template::render(&template).unwrap_or_default()
            }
        }
    };
}
use rendered;
