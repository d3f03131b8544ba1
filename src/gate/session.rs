//! The life of a session (pure): what its times and limits say at a given moment.
//!
//! The store keeps the record, `live` the sessions of this gate; both ask here.

use crate::{
    account::{EndReason, Session},
    gate::SessionLimits,
    time::Timestamp,
};

/// The times of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Sign-in.
    pub created_at: Timestamp,
    /// The absolute limit that it was given at sign-in.
    pub expires_at: Timestamp,
    /// The last activity of the person.
    pub last_active_at: Timestamp,
}

impl Times {
    /// As the store has them.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self {
            created_at: session.created_at,
            expires_at: session.expires_at,
            last_active_at: session.last_active_at,
        }
    }
}

/// Whether a session is alive by its times at `now`; if not, which limit it met first.
///
/// A limit that was shortened since the sign-in holds; one that was lengthened does not. A limit is
/// met when its whole duration has passed.
///
/// # Errors
///
/// [`EndReason::Expired`] or [`EndReason::Idle`].
pub fn alive(times: &Times, limits: &SessionLimits, now: Timestamp) -> Result<(), EndReason> {
    if now >= times.expires_at.min(times.created_at.plus(limits.lifetime)) {
        Err(EndReason::Expired)
    } else if now >= times.last_active_at.plus(limits.idle) {
        Err(EndReason::Idle)
    } else {
        Ok(())
    }
}

/// Whether the end of a session also cuts transfers that are running.
///
/// Somebody who ends a session wants it over; a limit that passes lets a long download finish.
#[must_use]
pub fn cuts_transfers(reason: EndReason) -> bool {
    match reason {
        EndReason::SignOut
        | EndReason::Revoked
        | EndReason::Disabled
        | EndReason::Replaced
        | EndReason::Policy => true,
        EndReason::Idle | EndReason::Expired => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_lives_until_the_moment_a_limit_is_met() {
        use EndReason::{Expired, Idle};
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let limits = |lifetime, idle| SessionLimits { lifetime, idle, console_idle: hours(4) };
        let at = Timestamp::from_millis;
        const HOUR: i64 = 3_600_000;
        #[rustfmt::skip]
        let table = [
            // case                                lifetime   idle       active       now           verdict
            ("just signed in",                     hours(12), hours(1),  0,           0,            Ok(())),
            ("last moment before idle",            hours(12), hours(1),  0,           HOUR - 1,     Ok(())),
            ("idle for the whole limit",           hours(12), hours(1),  0,           HOUR,         Err(Idle)),
            ("active since",                       hours(12), hours(1),  HOUR / 2,    HOUR,         Ok(())),
            ("last moment of the lifetime",        hours(12), hours(1),  12*HOUR - 1, 12*HOUR - 1,  Ok(())),
            ("the whole lifetime",                 hours(12), hours(1),  12*HOUR - 1, 12*HOUR,      Err(Expired)),
            ("both: the absolute one is named",    hours(12), hours(1),  0,           13*HOUR,      Err(Expired)),
            ("lifetime shortened since",           hours(2),  hours(1),  2*HOUR - 1,  2*HOUR,       Err(Expired)),
            ("lifetime lengthened since",          hours(24), hours(1),  12*HOUR - 1, 12*HOUR,      Err(Expired)),
            ("the clock was set back",             hours(12), hours(1),  HOUR,        0,            Ok(())),
        ];
        for (case, lifetime, idle, active, now, verdict) in table {
            let times = Times { created_at: at(0), expires_at: at(12 * HOUR), last_active_at: at(active) };
            assert_eq!(alive(&times, &limits(lifetime, idle), at(now)), verdict, "{case}");
        }
    }
}
