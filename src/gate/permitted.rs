//! The proof that a request may go to Proxmox VE.

use super::live::Lease;

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
}

/// On what grounds a request is let through.
#[derive(Debug, Clone)]
pub enum Grounds {
    /// A session that is alive; what the request starts ends with it.
    Session(Lease),
}

impl<R> Permitted<R> {
    pub(super) fn new(request: R, grounds: Grounds) -> Self {
        Self { request, grounds }
    }

    /// The request.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// Whether an administrator asks, who may read more about a fault.
    pub fn is_admin(&self) -> bool {
        match &self.grounds {
            Grounds::Session(lease) => lease.is_admin(),
        }
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
            Self::Session(lease) => lease,
        }
    }
}
