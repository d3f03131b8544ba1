//! What the service manager is told (sd_notify(3)): that we are ready, that we stop, that we are alive.
//!
//! Nothing happens where no manager asked for it: `NOTIFY_SOCKET` is unset then.

use std::time::Duration;

use sd_notify::NotifyState;

/// The gate serves.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The gate finishes what is running, and ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is running")]);
}

/// Says that we are alive twice in each interval of the watchdog, for ever; without a watchdog, waits for
/// ever. It runs where requests do: if those get no time, this gets none, and the manager starts us anew.
pub(super) async fn stay_alive() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut beat = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(error = %error, "the service manager can't be told");
    }
}
