//! A recovery code as the [proof](super::proof) for one change, for whoever signed in with another one
//! because phone and keys are gone.
//!
//! Somebody with a stolen session and one stolen code gains nothing by it: the code alone would have opened a
//! session of their own. Hence the two rules. Where a recovery code opens no full session (the policy asks for
//! a passkey), it proves no more than what its session may do: enrol. And it only ever proves changes to its
//! owner's own account, in this list, so that what is added to the gate later begins without.
//!
//! A code is spent before the change takes effect, in the transaction that finds it unspent and the session
//! alive: two forms with one code make one change, and a crash in between costs a code and changes nothing.
//! It is 80 random bits, so no lockout counts guesses at it; the limit on attempts of a source does.

use super::{Form, Visit, proof::ByRecovery};
use crate::{
    account::{Method, SessionId, User},
    audit::{Action, Event, Outcome, Reason},
    gate::{AuthRules, Gate, ceremony::recovery::Code, live::LiveSession, target::Route},
    store::{Spent, StoreError},
};

/// The field of a form.
pub(super) const FIELD: &str = "recovery";

/// Why a recovery code proves nothing for this change. The person reads one sentence for all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecoveryError {
    /// The policy has none.
    #[error("the policy does not offer recovery codes")]
    NotOffered,
    /// It is not for this.
    #[error("a recovery code does not prove this change")]
    OtherChange,
    /// Something else was typed.
    #[error("not a recovery code")]
    NotACode,
    /// Somebody else's, a used one, or the session is over.
    #[error("no unused recovery code of the user")]
    NoSuchCode,
}

impl From<&RecoveryError> for Reason {
    fn from(error: &RecoveryError) -> Self {
        let word = match error {
            RecoveryError::NotOffered => "method_not_offered",
            RecoveryError::OtherChange => "other_change",
            RecoveryError::NotACode | RecoveryError::NoSuchCode => "bad_code",
        };
        Self::new(word, error)
    }
}

/// Whether a recovery code may prove the change that is asked for here (pure).
fn judge(rules: &AuthRules, route: Route) -> Result<(), RecoveryError> {
    if !rules.recovery {
        return Err(RecoveryError::NotOffered);
    }
    let enrols = route == Route::MethodNew;
    let own = enrols || matches!(route, Route::MethodChange | Route::MethodCodes | Route::Panic);
    // As in `recover`: where the policy asks for a passkey, a code that could be phished leads to one.
    let opens_everything = rules.totp;
    if own && (enrols || opens_everything) { Ok(()) } else { Err(RecoveryError::OtherChange) }
}

impl Gate {
    /// Whether a form asks for a recovery code, and how loudly.
    pub(super) async fn by_recovery(
        &self,
        visit: &Visit<'_>,
        session: &LiveSession,
    ) -> Result<ByRecovery, StoreError> {
        if judge(&self.settings.auth, visit.route).is_err() {
            return Ok(ByRecovery::No);
        }
        let user = session.user().id;
        let codes = self.store.call(move |store| store.recovery_codes(user)).await?;
        Ok(match (codes.left, session.shown.method) {
            (0, _) => ByRecovery::No,
            (_, Method::Recovery) => ByRecovery::First,
            (_, Method::Totp | Method::Passkey | Method::SecurityKey) => ByRecovery::Folded,
        })
    }

    /// Spends the code in the form, if it is good for what the form asks.
    pub(super) async fn agreed_by_recovery(
        &self,
        visit: &Visit<'_>,
        form: &Form,
        user: &User,
        session: SessionId,
    ) -> Result<Result<(), RecoveryError>, StoreError> {
        if let Err(error) = judge(&self.settings.auth, visit.route) {
            return Ok(Err(error));
        }
        let Some(code) = Code::from_typed(form.get(FIELD)) else { return Ok(Err(RecoveryError::NotACode)) };
        let (hash, id, now) = (code.hash(&self.recovery_key(), user.id), user.id, visit.now);
        let spent = self.store.call(move |store| store.spend_recovery_code(&hash, id, session, now)).await?;
        Ok(match spent {
            Spent::First => {
                self.audit.record(
                    &Event::new(Action::RecoveryUse, Outcome::Success)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .by(Method::Recovery)
                        .in_session(session),
                );
                Ok(())
            }
            Spent::Before => Err(RecoveryError::NoSuchCode),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_proves_what_its_own_session_could_do_and_nothing_to_anybody_else() {
        const ALL: AuthRules = AuthRules { passkey: true, totp: true, recovery: true, password: false };
        const STRICT: AuthRules = AuthRules { totp: false, ..ALL };
        const NONE: AuthRules = AuthRules { recovery: false, ..ALL };
        use RecoveryError::{NotOffered, OtherChange};
        #[rustfmt::skip]
        let table = [
            // rules,  where                  verdict
            (ALL,      Route::MethodNew,      Ok(())),
            (ALL,      Route::MethodChange,   Ok(())),
            (ALL,      Route::MethodCodes,    Ok(())),
            (ALL,      Route::Panic,          Ok(())),
            (STRICT,   Route::MethodNew,      Ok(())),
            (STRICT,   Route::MethodChange,   Err(OtherChange)),
            (STRICT,   Route::MethodCodes,    Err(OtherChange)),
            (STRICT,   Route::Panic,          Err(OtherChange)),
            (NONE,     Route::MethodNew,      Err(NotOffered)),
            (NONE,     Route::Panic,          Err(NotOffered)),
        ];
        for (rules, route, verdict) in table {
            assert_eq!(judge(&rules, route), verdict, "{rules:?} {route:?}");
        }
        for (route, path, _) in Route::ALL {
            let listed = path.starts_with("/_gate/methods/") || path == "/_gate/panic";
            assert_eq!(judge(&ALL, route).is_ok(), listed, "{path}");
        }
    }
}
