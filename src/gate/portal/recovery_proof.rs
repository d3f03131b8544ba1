//! A recovery code as the [proof](super::proof) for one change, for whoever signed in with another one
//! because phone and keys are gone.
//!
//! Somebody with a stolen session and one stolen code gains nothing by it: the code alone would have opened a
//! session of their own. Hence the two rules. Where a recovery code opens no full session (anything is
//! [demanded](super::demands) of its owner where they are), it proves no more than what its session may do:
//! enrol what is demanded. And it only ever proves changes to its owner's own account, in this list, so that
//! what is added to the gate later begins without.
//!
//! A code is spent before the change takes effect, in the transaction that finds it unspent and the session
//! alive: two forms with one code make one change, and a crash in between costs a code and changes nothing.
//! It is 80 random bits, so no lockout counts guesses at it; the limit on attempts of a source does.

use super::{Form, Visit, proof::ByRecovery};
use crate::{
    account::Method,
    audit::{Action, Event, Outcome, Reason},
    gate::{AuthRules, Gate, ceremony::recovery::Code, demand::Demands, live::LiveSession, target::Route},
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
fn judge(rules: &AuthRules, demands: &Demands, route: Route) -> Result<(), RecoveryError> {
    if !rules.recovery {
        return Err(RecoveryError::NotOffered);
    }
    let enrols = route == Route::MethodNew;
    let own = enrols || matches!(route, Route::MethodChange | Route::MethodCodes | Route::Panic);
    // As in `recover`: where anything is demanded, a code that could be phished leads to it and nowhere else.
    let opens_everything = !demands.require_something();
    if own && (enrols || opens_everything) { Ok(()) } else { Err(RecoveryError::OtherChange) }
}

impl Gate {
    /// Whether it may prove what a visitor asks for at this session, from where they are.
    fn recovery_proves(&self, visit: &Visit<'_>, session: &LiveSession) -> Result<(), RecoveryError> {
        let policies = self.sessions.policies();
        let demands = policies.demands_on(&session.person(), visit.client.ip());
        judge(&policies.auth, &demands, visit.route)
    }

    /// Whether a form asks for a recovery code, and how loudly.
    pub(super) async fn by_recovery(
        &self,
        visit: &Visit<'_>,
        session: &LiveSession,
    ) -> Result<ByRecovery, StoreError> {
        if self.recovery_proves(visit, session).is_err() {
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
        session: &LiveSession,
    ) -> Result<Result<(), RecoveryError>, StoreError> {
        if let Err(error) = self.recovery_proves(visit, session) {
            return Ok(Err(error));
        }
        let Some(code) = Code::from_typed(form.get(FIELD)) else { return Ok(Err(RecoveryError::NotACode)) };
        let (user, at, now) = (session.user(), session.id, visit.now);
        let (hash, id) = (code.hash(&self.recovery_key(), user.id), user.id);
        let spent = self.store.call(move |store| store.spend_recovery_code(&hash, id, at, now)).await?;
        Ok(match spent {
            Spent::First => {
                self.audit.record(
                    &Event::new(Action::RecoveryUse, Outcome::Success)
                        .from(visit.client.ip())
                        .of(&user.name)
                        .by(Method::Recovery)
                        .in_session(at),
                );
                Ok(())
            }
            Spent::Before => Err(RecoveryError::NoSuchCode),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        account::{ByRequirement, Requirement},
        gate::{SessionLimits, demand::Bind},
    };

    #[test]
    fn a_recovery_code_proves_what_its_own_session_could_do_and_nothing_to_anybody_else() {
        const RULES: AuthRules = AuthRules { passkey: true, totp: true, recovery: true, password: false };
        const NONE: AuthRules = AuthRules { recovery: false, ..RULES };
        const HOUR: Duration = Duration::from_secs(3600);
        const LIMITS: SessionLimits = SessionLimits { lifetime: HOUR, idle: HOUR, console_idle: HOUR };
        use RecoveryError::{NotOffered, OtherChange};
        let demands = |requirement: Option<Requirement>, grace: Duration| {
            let mut graces = ByRequirement::default();
            if let Some(requirement) = requirement {
                *graces.of_mut(requirement) = Some(grace);
            }
            Demands { graces, limits: LIMITS, allowed: true, bind: Bind::None }
        };
        let free = demands(None, Duration::ZERO);
        let graces = [Duration::ZERO, Duration::from_secs(24 * 3600)];
        let strict = Requirement::ALL.into_iter().flat_map(|it| graces.map(|grace| demands(Some(it), grace)));
        #[rustfmt::skip]
        let table = [
            // where               nothing demanded  anything demanded
            (Route::MethodNew,     Ok(()),           Ok(())),
            (Route::MethodChange,  Ok(()),           Err(OtherChange)),
            (Route::MethodCodes,   Ok(()),           Err(OtherChange)),
            (Route::Panic,         Ok(()),           Err(OtherChange)),
            (Route::AdminChange,   Err(OtherChange), Err(OtherChange)),
        ];
        for demanded in strict {
            for (route, _, verdict) in table {
                assert_eq!(judge(&RULES, &demanded, route), verdict, "{demanded:?} {route:?}");
            }
        }
        for (route, verdict, _) in table {
            assert_eq!(judge(&RULES, &free, route), verdict, "{route:?}");
            assert_eq!(judge(&NONE, &free, route), Err(NotOffered), "{route:?}");
        }
        for (route, path, _) in Route::ALL {
            let listed = table.iter().any(|(listed, verdict, _)| *listed == route && verdict.is_ok());
            assert_eq!(judge(&RULES, &free, route).is_ok(), listed, "{path}");
        }
    }
}
