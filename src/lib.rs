//! pvegate: an authenticating, TLS-terminating reverse proxy in front of Proxmox VE.
//!
//! # The request path
//!
//! The modules below stand in the order in which a request meets them; [`serve`] tells the whole
//! path on one screen or two.
//!
//! 1. [`accept`]: who opened this connection?
//! 2. [`admission`]: may this source talk to us? A refusal costs one accept, before TLS.
//! 3. [`connection`]: TLS and HTTP/1.1 toward the user agent.
//! 4. [`gate`]: answer here, or let through?
//! 5. [`upstream`]: toward pveproxy.
//!
//! Beside the path: [`store`] is where gates and the command line meet, [`audit`] what SIEMs read,
//! [`status`] what pages and verbs may see of the stages, [`recent`] what administrators may see of the
//! last day, [`metrics`] what the stages count, [`check`] what could be wrong with an installation,
//! [`config`] turns a file into their settings, [`backup`] is one file with all of the gate, [`admin`] is
//! the command line and composes the whole, [`demo`] a faithful stand-in for pveproxy.
//!
//! # Invariants
//!
//! 1. Only `gate` makes a `Permitted`; only `upstream` consumes one.
//! 2. Nothing is read from a request field to learn who the client is, unless the TCP peer is listed.
//! 3. A decision reads no clock, socket or store.
//! 4. What is used once is spent in the store, atomically, before its effect.
//! 5. Every refusal has a name: a variant, an audit line, a row in a table.
//! 6. A secret's `Debug` does not show it; it is compared in constant time and never logged.
//! 7. An unknown key, an unreadable store, an unparsable request end in refusal, never in passage.
//! 8. The upstream sees no field that we own; the user agent sees no cookie that claims our name.
//! 9. What the gate acknowledged (a factor, a code spent, a revocation) is on disk first.

pub mod serve;

pub mod accept;
pub mod admission;
pub mod connection;
pub mod gate;
pub mod upstream;

pub mod account;
pub mod admin;
pub mod audit;
pub mod backup;
pub mod check;
pub mod config;
pub mod demo;
pub mod metrics;
pub mod names;
mod ownership;
pub mod recent;
pub mod secret;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod tls;
