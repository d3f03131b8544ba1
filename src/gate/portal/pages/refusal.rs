//! Refusals and faults: one template, a row of words for each.

use std::time::Duration;

use super::{InvitationProblem, rendered};
use crate::{gate::portal::words::Language, time::Timestamp};

/// A refusal with the reference under which the audit log has it.
#[derive(Debug, Clone, Copy)]
pub struct RefusalPage<'a> {
    /// What happened.
    pub refusal: Refusal<'a>,
    /// Short, to read over the telephone. Empty if there is none.
    pub reference: &'a str,
}

/// What a person can be told about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// The source address is not on the list (403).
    AddressNotAllowed {
        /// The person's own address, unless it is not to be shown.
        address: Option<&'a str>,
    },
    /// The gate was asked under another name (421 or 403).
    WrongHost {
        /// The right one, as an origin.
        url: &'a str,
    },
    /// A form came from another site (403).
    CrossSite,
    /// Too many attempts (429).
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
        /// Until when that is.
        until: Timestamp,
    },
    /// No such page (404).
    NotFound,
    /// The invitation is not accepted (403 or 410).
    Invitation(InvitationProblem),
    /// Nobody listens at the upstream's address (502).
    UpstreamRefused {
        /// The upstream's address, for administrators only.
        upstream: Option<&'a str>,
        /// Whether the page may be asked for again by itself: only if it was a GET.
        retry: bool,
    },
    /// The upstream did not answer in time (504).
    UpstreamTimeout {
        /// The upstream's address, for administrators only.
        upstream: Option<&'a str>,
        /// Whether the page may be asked for again by itself: only if it was a GET.
        retry: bool,
    },
    /// The upstream broke the TLS handshake (502).
    UpstreamBrokenTls {
        /// The upstream's address, for administrators only.
        upstream: Option<&'a str>,
        /// Whether the page may be asked for again by itself: only if it was a GET.
        retry: bool,
    },
    /// The upstream's certificate is not the pinned one (502).
    UpstreamFingerprint {
        /// Both, for administrators only.
        admin: Option<Fingerprints<'a>>,
    },
    /// Not understood (400).
    BadRequest,
    /// The method is not for this page (405).
    MethodNotAllowed,
    /// Too slow in coming (408).
    RequestTimeout,
    /// The body is too large (413).
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The target is too long (414).
    UriTooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// The fields are too large (431).
    HeadTooLarge {
        /// The gate's limit in bytes; `None` where they are more than pveproxy takes.
        limit: Option<u64>,
    },
    /// The store cannot be read (503).
    StoreUnreadable,
    /// A fault of ours (500).
    Internal,
}

/// The certificate that was expected of the upstream, and the one it shows: SHA-256 in Proxmox VE's notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints<'a> {
    /// Pinned in the configuration.
    pub expected: &'a str,
    /// Shown by the upstream.
    pub found: &'a str,
}

/// Title, what happened, what to do.
struct Told {
    title: &'static str,
    what: String,
    todo: &'static str,
}

impl Refusal<'_> {
    fn told(&self, w: Language) -> Told {
        let (title, what, todo) = match *self {
            Self::AddressNotAllowed { address: Some(address) } => {
                (w.address_title(), w.address_from(address), w.address_do())
            }
            Self::AddressNotAllowed { address: None } => {
                (w.address_title(), w.address_hidden().to_owned(), w.address_do())
            }
            Self::WrongHost { url: _ } => (w.host_title(), w.host_what().to_owned(), w.host_do()),
            Self::CrossSite => (w.cross_site_title(), w.cross_site_what().to_owned(), w.bad_request_do()),
            Self::RateLimited { retry_after, until: _ } => {
                // The template says until when, for the script to say it in local time.
                (w.rate_title(), w.rate_what(&w.span(retry_after)), w.rate_do())
            }
            Self::NotFound => (w.not_found_title(), w.not_found_what().to_owned(), w.not_found_do()),
            Self::Invitation(problem) => problem.told(w),
            Self::UpstreamRefused { upstream, retry } => {
                (w.upstream_title(), tried(w, w.upstream_refused(), upstream), upstream_do(w, retry))
            }
            Self::UpstreamTimeout { upstream, retry } => {
                (w.upstream_title(), tried(w, w.upstream_timeout(), upstream), upstream_do(w, retry))
            }
            Self::UpstreamBrokenTls { upstream, retry } => {
                (w.upstream_title(), tried(w, w.upstream_broken_tls(), upstream), upstream_do(w, retry))
            }
            Self::UpstreamFingerprint { admin: _ } => {
                (w.fingerprint_title(), w.fingerprint_what().to_owned(), w.fingerprint_do())
            }
            Self::BadRequest => (w.bad_request_title(), w.bad_request_what().to_owned(), w.bad_request_do()),
            Self::MethodNotAllowed => (w.method_title(), w.method_what().to_owned(), w.bad_request_do()),
            Self::RequestTimeout => (w.timeout_title(), w.timeout_what().to_owned(), w.timeout_do()),
            Self::BodyTooLarge { limit } => {
                (w.body_title(), w.body_what(&w.bytes(limit)), w.bad_request_do())
            }
            Self::UriTooLong { limit } => (w.uri_title(), w.uri_what(&w.bytes(limit)), w.not_found_do()),
            Self::HeadTooLarge { limit: Some(limit) } => {
                (w.head_title(), w.head_what(&w.bytes(limit)), w.head_do())
            }
            Self::HeadTooLarge { limit: None } => (w.head_title(), w.head_upstream().to_owned(), w.head_do()),
            Self::StoreUnreadable => (w.store_title(), w.store_what().to_owned(), w.store_do()),
            Self::Internal => (w.internal_title(), w.internal_what().to_owned(), w.internal_do()),
        };
        Told { title, what, todo }
    }

    /// Whether the page asks again by itself.
    fn retries(&self) -> bool {
        match *self {
            Self::UpstreamRefused { retry, .. }
            | Self::UpstreamTimeout { retry, .. }
            | Self::UpstreamBrokenTls { retry, .. } => retry,
            Self::AddressNotAllowed { .. }
            | Self::WrongHost { .. }
            | Self::CrossSite
            | Self::RateLimited { .. }
            | Self::NotFound
            | Self::Invitation(_)
            | Self::UpstreamFingerprint { .. }
            | Self::BadRequest
            | Self::MethodNotAllowed
            | Self::RequestTimeout
            | Self::BodyTooLarge { .. }
            | Self::UriTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::StoreUnreadable
            | Self::Internal => false,
        }
    }
}

impl InvitationProblem {
    /// Title, what happened, what to do.
    pub(super) fn told(self, w: Language) -> (&'static str, String, &'static str) {
        match self {
            Self::Unknown => {
                (w.invitation_unknown_title(), w.invitation_unknown().to_owned(), w.invitation_unknown_do())
            }
            Self::Used => (w.invitation_used_title(), w.invitation_used().to_owned(), w.invitation_used_do()),
            Self::Expired => {
                (w.invitation_expired_title(), w.invitation_expired().to_owned(), w.invitation_expired_do())
            }
            Self::Elsewhere => (w.not_from_here_title(), w.not_from_here().to_owned(), w.not_from_here_do()),
        }
    }
}

fn tried(w: Language, what: &str, upstream: Option<&str>) -> String {
    match upstream {
        Some(upstream) => format!("{what} {}", w.upstream_tried(upstream)),
        None => what.to_owned(),
    }
}

fn upstream_do(w: Language, retry: bool) -> &'static str {
    if retry { w.upstream_do() } else { w.upstream_do_by_hand() }
}

rendered!(RefusalPage<'t>, "refusal.html");
