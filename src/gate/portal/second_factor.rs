//! The security key that is asked for after name and code.
//!
//! A code that was right is spent at once, in the transaction that says which security keys its user has
//! (`store`, `sign_in_by_step`). `ask_for_key` answers it with a page that carries who proved what, sealed,
//! and what to ask the key; no session is open before the key has answered. The answer is judged where a
//! passkey's is (`passkey`), and spends the state in the transaction that opens the session.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Visit, pages,
    passkey::{AssertionRefusal, FirstFactor, Pending, SignIn},
};
use crate::{
    account::{Credential, FactorId, Method, User, UserId},
    connection::reply::Reply,
    gate::{
        Gate,
        ceremony::webauthn::{Asked, Authentication},
    },
    time::Timestamp,
};

/// Nothing else that is sealed under [`crate::secret::Purpose::CeremonyState`] opens as this.
const CONTEXT: &[u8] = b"security-key";

/// What is known between the code and the key.
#[derive(Serialize, Deserialize)]
struct State {
    started_at: i64,
    /// Whose code it was.
    user: i64,
    name: String,
    /// The authenticator app that it came from.
    app: String,
    authentication: Authentication,
}

impl Gate {
    /// The code was right and is spent. Its user has these security keys, and must touch one.
    pub(super) fn ask_for_key(
        &self,
        visit: &Visit<'_>,
        user: User,
        app: FactorId,
        keys: &[Credential],
    ) -> Reply {
        let Some(relying_party) = &self.relying_party else {
            return self.key_page(visit, &user, None);
        };
        let (options, authentication) = match relying_party.start_authentication(Asked::SecondFactor(keys)) {
            Ok(started) => started,
            Err(error) => {
                tracing::error!(error = %error, "a security key can't be asked for");
                return self.portal.internal(visit.head, visit.now);
            }
        };
        let state = State {
            started_at: visit.now.millis(),
            user: user.id.0,
            name: user.name.to_string(),
            app: app.0,
            authentication,
        };
        let state = serde_json::to_vec(&state).unwrap_or_default();
        let state = data_encoding::BASE64URL_NOPAD.encode(&self.ceremony_key().seal(CONTEXT, &state));
        let options = serde_json::to_string(&options).unwrap_or_default();
        self.key_page(visit, &user, Some(pages::KeyCeremony { state: &state, options: &options }))
    }

    fn key_page(&self, visit: &Visit<'_>, user: &User, ceremony: Option<pages::KeyCeremony<'_>>) -> Reply {
        let page =
            pages::SecurityKey { user: user.name.as_str(), ceremony, recovery: self.settings.auth.recovery };
        self.portal.page(StatusCode::OK, visit.head, visit.now, |look| page.render(look))
    }

    /// The key answered.
    pub(super) async fn sign_in_by_key(&self, visit: &Visit<'_>, body: &[u8]) -> Answer {
        if let Err(reply) = self.sign_in_rate(visit) {
            return Ok(*reply);
        }
        let (relying_party, request): (_, SignIn) = match self.script(visit, body) {
            Ok(asked) => asked,
            Err(reply) => return Ok(*reply),
        };
        match self.open_key_state(&request.state) {
            Some(asked) => self.sign_in_by_assertion(visit, relying_party, &request, asked).await,
            None => Ok(self.assertion_refused(visit, Method::SecurityKey, None, &AssertionRefusal::State)),
        }
    }

    fn open_key_state(&self, state: &str) -> Option<Pending> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(state.as_bytes()).ok()?;
        let state: State = serde_json::from_slice(&self.ceremony_key().open(CONTEXT, &sealed)?).ok()?;
        let after = FirstFactor {
            user: UserId(state.user),
            name: state.name.parse().ok()?,
            app: FactorId(state.app),
        };
        let started_at = Timestamp::from_millis(state.started_at);
        Some(Pending { started_at, authentication: state.authentication, after: Some(after) })
    }
}
