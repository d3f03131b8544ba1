//! The proof that a request may go to Proxmox VE.

use bytes::Bytes;

use super::{live::Lease, pve_sign_in::Attempt};

/// Proof that policy lets this request through, and on what grounds.
///
/// `Gate::decide` is the only place that makes one, and `upstream` takes nothing else.
///
/// ```compile_fail
/// use pvegate::gate::{Grounds, Permitted};
/// fn forge(grounds: Grounds) -> Permitted<http::Request<()>> {
///     Permitted { request: http::Request::new(()), grounds }
/// }
/// ```
///
/// A proof that exists can be taken apart:
///
/// ```
/// use pvegate::gate::{Grounds, Permitted};
/// fn take(permitted: Permitted<http::Request<()>>) -> (http::Request<()>, Grounds) {
///     permitted.into_parts()
/// }
/// ```
#[derive(Debug)]
pub struct Permitted<R> {
    request: R,
    grounds: Grounds,
    /// Rare, and larger than the rest.
    sign_in: Option<Box<SignIn>>,
}

/// What the gate has read of a sign-in to Proxmox VE.
struct SignIn {
    form: Bytes,
    attempt: Option<Attempt>,
}

/// There is a password in it.
impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// On what grounds a request is let through.
#[derive(Debug, Clone)]
pub enum Grounds {
    /// A session that is alive; what the request starts ends with it.
    Session(Lease),
    /// A rule for the API token that it comes with; a tunnel ends with the rule.
    ApiToken(Lease),
}

impl<R> Permitted<R> {
    pub(super) fn new(request: R, grounds: Grounds) -> Self {
        Self { request, grounds, sign_in: None }
    }

    /// With a body that was read, which is to go up in place of the request's own, and what is to become of
    /// the attempt.
    pub(super) fn having_read(self, form: Bytes, attempt: Option<Attempt>) -> Self {
        Self { sign_in: Some(Box::new(SignIn { form, attempt })), ..self }
    }

    /// The sign-in to Proxmox VE that this is, for whoever sees its answer.
    pub fn take_attempt(&mut self) -> Option<Attempt> {
        self.sign_in.as_mut()?.attempt.take()
    }

    /// The body, where the gate has read it; the request's own is empty then.
    pub fn take_body(&mut self) -> Option<Bytes> {
        self.sign_in.take().map(|sign_in| sign_in.form)
    }

    /// The request.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// Whether an administrator asks, who may read more about a fault.
    pub fn is_admin(&self) -> bool {
        match &self.grounds {
            Grounds::Session(lease) => lease.is_admin(),
            Grounds::ApiToken(_) => false,
        }
    }

    /// On what grounds.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// The request and the grounds.
    pub fn into_parts(self) -> (R, Grounds) {
        (self.request, self.grounds)
    }
}

impl Grounds {
    /// What a running request holds on to.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Session(lease) | Self::ApiToken(lease) => lease,
        }
    }
}
