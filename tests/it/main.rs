//! End-to-end tests: each file is a promise.

mod authenticator;
mod harness;

mod api_tokens;
mod api_verbs;
mod architecture;
mod bans;
mod certificates;
mod command_line;
mod configuration;
mod cross_site;
mod denial;
mod documents;
mod faithful;
mod floods;
mod killed;
mod limits;
mod lockout;
mod methods;
mod nodes;
mod own_sessions;
mod passkeys;
mod people;
mod proxies;
mod pve_sign_in;
mod readme;
mod secrets;
mod security_keys;
mod sessions;
mod signed_in_page;
mod stand_in;
mod store;
mod two_processes;
mod upstream_trust;
mod ways_in;
mod wire;
