//! The optional gate password: something known beside the code of an authenticator app.
//!
//! argon2id (RFC 9106) with the parameters that OWASP names first for it: 19 MiB, two passes, one
//! lane. A hash costs tens of milliseconds and all that memory, so at most two run at a time
//! ([`Passwords`]), on threads where blocking is fine.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Fewest characters. The password is never alone (NIST SP 800-63B-4 §3.1.1.2 asks for eight then).
pub const SHORTEST: usize = 8;

/// Most bytes: what is longer costs us and gains nobody anything.
pub const LONGEST: usize = 256;

/// Hashes that run at a time.
const AT_ONCE: usize = 2;

/// Why a password can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("a password has at least {SHORTEST} characters")]
    Short,
    /// Too long.
    #[error("a password has at most {LONGEST} bytes")]
    Long,
}

/// Whether a password may be set.
///
/// # Errors
///
/// [`PasswordError`]
pub fn acceptable(password: &str) -> Result<(), PasswordError> {
    if password.chars().count() < SHORTEST {
        Err(PasswordError::Short)
    } else if password.len() > LONGEST {
        Err(PasswordError::Long)
    } else {
        Ok(())
    }
}

/// Hashes and checks passwords, a few at a time.
#[derive(Debug, Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    /// A hash that no password has: what an unknown name is checked against.
    nobodys: Arc<str>,
}

impl Default for Passwords {
    fn default() -> Self {
        let nobody = Zeroizing::new(data_encoding::HEXLOWER.encode(&crate::secret::random::<32>()));
        let nobodys = hash(&nobody).unwrap_or_default().into();
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), nobodys }
    }
}

impl Passwords {
    /// Hashes a password: a PHC string with its own random salt.
    pub async fn hash(&self, password: Zeroizing<String>) -> Option<String> {
        self.in_turn(move || hash(&password)).await.flatten()
    }

    /// Checks a password. `None` as the stored hash is somebody who has none, and costs the same.
    pub async fn verify(&self, password: Zeroizing<String>, stored: Option<String>) -> bool {
        let has_one = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobodys.to_string());
        let matches = self.in_turn(move || password.len() <= LONGEST && verify(&password, &stored)).await;
        has_one && matches == Some(true)
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        // The place goes along: whoever hangs up does not free it before the work is done.
        let work = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

fn hash(password: &str) -> Option<String> {
    // The defaults of the crate are those parameters; a test holds that.
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only_and_the_hash_names_its_cost() {
        let passwords = Passwords::default();

        let stored = passwords.hash(secret("correct horse")).await.unwrap();

        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify(secret("correct horse"), Some(stored.clone())).await);
        assert!(!passwords.verify(secret("correct horsf"), Some(stored.clone())).await);
        assert_ne!(passwords.hash(secret("correct horse")).await.unwrap(), stored, "a salt of its own");
    }

    #[tokio::test]
    async fn somebody_without_a_password_is_refused_whatever_they_type() {
        let passwords = Passwords::default();

        assert!(!passwords.verify(secret(""), None).await);
        assert!(!passwords.verify(secret("x"), Some("not a hash".to_owned())).await);
    }

    #[test]
    fn a_password_has_eight_characters_and_no_more_bytes_than_make_sense() {
        assert_eq!(acceptable("1234567"), Err(PasswordError::Short));
        assert_eq!(acceptable("ääääääää"), Ok(()));
        assert_eq!(acceptable(&"x".repeat(256)), Ok(()));
        assert_eq!(acceptable(&"x".repeat(257)), Err(PasswordError::Long));
    }
}
