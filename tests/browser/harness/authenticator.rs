//! Security keys and passkey providers, plugged in without a finger (WebAuthn §11, over CDP).
//!
//! A virtual authenticator answers at once and hides what Chromium says when there is none: with one
//! plugged in, WebAuthn works even on a connection with a broken certificate.

use serde::Deserialize;
use serde_json::json;

use super::{Browser, page::parse};

/// What to plug in. The default is a device-bound passkey of the platform (Windows Hello): resident,
/// verified by PIN or finger, never backed up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authenticator {
    pub(crate) transport: Transport,
    /// Can keep discoverable credentials.
    pub(crate) resident_keys: bool,
    /// Can tell that it was its owner (PIN, finger).
    pub(crate) user_verification: bool,
    /// What it says about that when asked; see [`Plugged::set_user_verified`].
    pub(crate) user_verified: bool,
    /// Whether credentials are copied elsewhere.
    pub(crate) backup: Backup,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self {
            transport: Transport::Internal,
            resident_keys: true,
            user_verification: true,
            user_verified: true,
            backup: Backup::Never,
        }
    }
}

/// How the authenticator is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Internal,
    Usb,
}

/// The flags BE and BS (WebAuthn §6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backup {
    /// Bound to the device.
    Never,
    /// A passkey of a provider that syncs, and has.
    Synced,
}

/// A credential in an authenticator.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credential {
    /// Base64, unlike in JavaScript.
    pub(crate) credential_id: String,
    pub(crate) is_resident_credential: bool,
    pub(crate) rp_id: Option<String>,
    pub(crate) sign_count: u32,
    pub(crate) backup_state: bool,
}

/// An authenticator that is plugged in.
#[derive(Debug)]
pub(crate) struct Plugged<'a> {
    browser: &'a Browser,
    id: String,
}

impl Browser {
    /// Plugs an authenticator in. It says yes to everything.
    pub(crate) async fn plug_in(&self, authenticator: Authenticator) -> Plugged<'_> {
        let synced = match authenticator.backup {
            Backup::Never => false,
            Backup::Synced => true,
        };
        let options = json!({
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": match authenticator.transport {
                Transport::Internal => "internal",
                Transport::Usb => "usb",
            },
            "hasResidentKey": authenticator.resident_keys,
            "hasUserVerification": authenticator.user_verification,
            "isUserVerified": authenticator.user_verified,
            "automaticPresenceSimulation": true,
            "defaultBackupEligibility": synced,
            "defaultBackupState": synced,
        });
        self.cdp("WebAuthn.enable", json!({})).await;
        let answer = self.cdp("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        Plugged { browser: self, id: parse("authenticator", answer["authenticatorId"].clone()) }
    }
}

impl Plugged<'_> {
    /// The credentials it keeps, also those that are not discoverable.
    pub(crate) async fn credentials(&self) -> Vec<Credential> {
        let answer = self.browser.cdp("WebAuthn.getCredentials", json!({ "authenticatorId": self.id })).await;
        parse("credentials", answer["credentials"].clone())
    }

    /// Waits until what it keeps is as asked.
    pub(crate) async fn wait_until(&self, what: &str, is_so: impl Fn(&[Credential]) -> bool) {
        self.browser.wait(what, async || is_so(&self.credentials().await).then_some(())).await;
    }

    /// From now on somebody touches it when it is asked, or nobody does.
    pub(crate) async fn set_present(&self, present: bool) {
        let params = json!({ "authenticatorId": self.id, "enabled": present });
        self.browser.cdp("WebAuthn.setAutomaticPresenceSimulation", params).await;
    }

    /// From now on the owner passes verification, or fails it.
    pub(crate) async fn set_user_verified(&self, verified: bool) {
        let params = json!({ "authenticatorId": self.id, "isUserVerified": verified });
        self.browser.cdp("WebAuthn.setUserVerified", params).await;
    }

    /// Sets the signature counter of every credential, as in a copy of the authenticator that was made
    /// when they stood there.
    pub(crate) async fn set_sign_counts(&self, count: u32) {
        let mut id = json!({ "authenticatorId": self.id });
        let answer = self.browser.cdp("WebAuthn.getCredentials", id.clone()).await;
        self.browser.cdp("WebAuthn.clearCredentials", id.clone()).await;
        for mut credential in parse::<Vec<serde_json::Value>>("credentials", answer["credentials"].clone()) {
            credential["signCount"] = json!(count);
            id["credential"] = credential;
            self.browser.cdp("WebAuthn.addCredential", id.clone()).await;
        }
    }

    /// Unplugs it for good: its credentials are gone.
    pub(crate) async fn unplug(self) {
        self.browser.cdp("WebAuthn.removeVirtualAuthenticator", json!({ "authenticatorId": self.id })).await;
    }
}
