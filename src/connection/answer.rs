//! What a service gives back: a response, and on whose account it holds its connection.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::Response;

/// An answer to a request.
#[derive(Debug)]
pub struct Answer<B> {
    /// The response.
    pub response: Response<B>,
    /// On whose account; `None`: a stranger's, who has no longer than between two requests to take it.
    pub hold: Option<Hold>,
}

/// Somebody who is signed in may leave an answer lying for as long as [`super::Settings::pause`]: a browser
/// whose download is paused. What they hold ends with this.
#[derive(Clone)]
pub struct Hold(Arc<dyn Fn() -> Over + Send + Sync>);

/// Ready when what was held is over.
pub(super) type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Hold {
    /// `over` is asked only for an answer that is not taken.
    pub fn until<F>(over: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(over())))
    }

    pub(super) fn over(&self) -> Over {
        (self.0)()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}
