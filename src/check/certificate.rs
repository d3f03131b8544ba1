//! The gate's certificate, and whether passkeys can work with it.

use std::path::PathBuf;

use super::{Finding, Id, length};
use crate::time::Timestamp;

/// With fewer days left than this, somebody should look.
const SOON: u64 = 30;

/// With fewer than this, it is late.
const LATE: u64 = 7;

/// Where the certificate comes from, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// The local CA, which is made at the first start.
    AuthorityToBeMade,
    /// The local CA; leaves are made of it as they are needed.
    Authority {
        /// Its last moment.
        not_after: Timestamp,
    },
    /// Files.
    Files(Box<Chain>),
    /// Whichever it is, it can't be used.
    Unusable(String),
}

/// A chain from files whose key matches and which covers the public URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The file.
    pub path: PathBuf,
    /// Certificates in it.
    pub length: usize,
    /// The leaf's first moment.
    pub not_before: Timestamp,
    /// The leaf's last moment.
    pub not_after: Timestamp,
    /// Other names of the gate that the leaf does not cover.
    pub uncovered: Vec<String>,
    /// Whether the leaf is its own issuer.
    pub self_signed: bool,
    /// Whether this system's authorities vouch for it; `None` where there are none to ask.
    pub trusted: Option<bool>,
}

/// Judges the certificate.
#[must_use]
pub fn judge(certificate: &Certificate, now: Timestamp) -> Vec<Finding> {
    match certificate {
        Certificate::Unusable(reason) => vec![Finding::problem(
            Id::Tls,
            reason.as_str(),
            "the gate does not start with it: see tls.source in docs/configuration.md",
        )],
        Certificate::AuthorityToBeMade => {
            vec![Finding::info(Id::Tls, "the local authority is made at the first start")]
        }
        Certificate::Authority { not_after } if now >= *not_after => vec![Finding::problem(
            Id::Tls,
            format!("the local authority ended at {not_after}"),
            "move its directory away: the next start makes another, which people must install",
        )],
        Certificate::Authority { not_after } => {
            let left = not_after.since(now);
            if left.as_secs() < 90 * 86_400 {
                return vec![Finding::warning(
                    Id::Tls,
                    format!("the local authority ends in {}", length(left)),
                    "move its directory away and start again: people must install the new one",
                )];
            }
            vec![Finding::info(
                Id::Tls,
                format!(
                    "local authority, {} left: each device needs it installed (/_gate/ca) before it takes passkeys",
                    length(left)
                ),
            )]
        }
        Certificate::Files(chain) => of_files(chain, now),
    }
}

fn of_files(chain: &Chain, now: Timestamp) -> Vec<Finding> {
    let Chain { path, length: certificates, not_before, not_after, uncovered, self_signed, trusted } = chain;
    let path = path.display();
    let renew = format!("put a renewed chain into {path} and restart the gate");
    let left = not_after.since(now);
    let days = left.as_secs() / 86_400;
    let mut findings = Vec::new();
    if now > *not_after {
        findings.push(Finding::problem(Id::Tls, format!("the certificate expired at {not_after}"), renew));
    } else if now < *not_before {
        findings.push(Finding::problem(
            Id::Tls,
            format!("the certificate is not valid before {not_before}"),
            "look at the machine's clock first",
        ));
    } else if days < LATE {
        findings.push(Finding::problem(Id::Tls, format!("the certificate ends in {}", length(left)), renew));
    } else if days < SOON {
        findings.push(Finding::warning(Id::Tls, format!("the certificate ends in {}", length(left)), renew));
    }
    if !uncovered.is_empty() {
        findings.push(Finding::warning(
            Id::Tls,
            format!("the certificate does not cover {}", uncovered.join(", ")),
            "programs that ask by this name will refuse it: have it issued for all of server.aliases",
        ));
    }
    if *trusted == Some(false) {
        let (text, hint) = if *certificates == 1 && !self_signed {
            (
                "the chain is incomplete: one certificate, and no authority of this system issued it"
                    .to_owned(),
                format!("{path} must hold the leaf and every intermediate certificate (fullchain.pem)"),
            )
        } else {
            (
                "no authority of this system vouches for the certificate".to_owned(),
                "browsers refuse passkeys where they do not trust it: install its authority on every device"
                    .to_owned(),
            )
        };
        findings.push(Finding::warning(Id::Tls, text, hint));
    }
    if findings.is_empty() {
        let by = if *trusted == Some(true) { ", trusted by this system" } else { "" };
        findings.push(Finding::ok(Id::Tls, format!("{path}, {} left{by}", length(left))));
    }
    findings
}

/// What passkeys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkeys {
    /// Whether the configuration offers them.
    pub offered: bool,
    /// The host of the public URL, which is the relying party's identifier.
    pub host: String,
    /// Whether that is an address, for which no browser makes a passkey.
    pub is_address: bool,
    /// Passkeys and security keys in the store that were made for another host: the host, and how many.
    pub of_others: Vec<(String, usize)>,
    /// Those that were made for this one.
    pub of_ours: usize,
}

/// Judges whether passkeys can work.
#[must_use]
pub fn judge_passkeys(passkeys: &Passkeys) -> Vec<Finding> {
    let Passkeys { offered, host, is_address, of_others, of_ours } = passkeys;
    if !offered {
        return vec![Finding::info(Id::Webauthn, "auth.methods offers no passkeys")];
    }
    if *is_address {
        return vec![Finding::warning(
            Id::Webauthn,
            format!("{host} is an address, and browsers make passkeys for names only"),
            "give the gate a name, and put it into server.public_url",
        )];
    }
    let lost: usize = of_others.iter().map(|(_, count)| count).sum();
    if lost > 0 {
        let hosts: Vec<_> = of_others.iter().map(|(host, _)| host.as_str()).collect();
        let (keys, were) = if lost == 1 { ("passkey", "was") } else { ("passkeys", "were") };
        return vec![Finding::problem(
            Id::Webauthn,
            format!("{lost} {keys} {were} made for {} and can't sign anybody in at {host}", hosts.join(", ")),
            "put server.public_url back, or have their owners make new ones (`pvegate invite`)",
        )];
    }
    vec![Finding::ok(Id::Webauthn, format!("relying party {host}, {of_ours} keys enrolled"))]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Severity;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn chain(days: u64) -> Chain {
        Chain {
            path: "/c.pem".into(),
            length: 2,
            not_before: NOW.minus(Duration::from_secs(60)),
            not_after: NOW.plus(Duration::from_secs(days * 86_400)),
            uncovered: Vec::new(),
            self_signed: false,
            trusted: Some(true),
        }
    }

    #[test]
    fn a_certificate_is_judged_by_its_days_its_names_and_who_vouches_for_it() {
        use Severity::{Info, Ok, Problem, Warning};
        let files = |chain| Certificate::Files(Box::new(chain));
        let early = Chain { not_before: NOW.plus(Duration::from_secs(1)), ..chain(90) };
        let alone = Chain { length: 1, trusted: Some(false), ..chain(90) };
        let authority =
            |days: u64| Certificate::Authority { not_after: NOW.plus(Duration::from_secs(days * 86_400)) };
        #[rustfmt::skip]
        let table = [
            (files(chain(31)),                                           Ok,      "/c.pem, 31 days left, trusted by this system"),
            (files(chain(30)),                                           Ok,      "/c.pem, 30 days left, trusted by this system"),
            (files(chain(29)),                                           Warning, "the certificate ends in 29 days"),
            (files(chain(7)),                                            Warning, "the certificate ends in 7 days"),
            (files(chain(6)),                                            Problem, "the certificate ends in 6 days"),
            (files(Chain { not_after: NOW.minus(Duration::from_secs(1)), ..chain(0) }), Problem, "the certificate expired at 2026-09-21T14:13:19.000Z"),
            (files(early),                                               Problem, "the certificate is not valid before 2026-09-21T14:13:21.000Z"),
            (files(Chain { uncovered: vec!["pve.lan".into()], ..chain(90) }), Warning, "the certificate does not cover pve.lan"),
            (files(alone.clone()),                                       Warning, "the chain is incomplete: one certificate, and no authority of this system issued it"),
            (files(Chain { self_signed: true, ..alone }),                Warning, "no authority of this system vouches for the certificate"),
            (files(Chain { trusted: None, ..chain(90) }),                Ok,      "/c.pem, 90 days left"),
            (authority(3000),                                            Info,    "local authority, 3000 days left: each device needs it installed (/_gate/ca) before it takes passkeys"),
            (authority(89),                                              Warning, "the local authority ends in 89 days"),
            (authority(0),                                               Problem, "the local authority ended at 2026-09-21T14:13:20.000Z"),
            (Certificate::AuthorityToBeMade,                             Info,    "the local authority is made at the first start"),
            (Certificate::Unusable("no key".into()),                     Problem, "no key"),
        ];
        for (certificate, severity, text) in table {
            let found = judge(&certificate, NOW);
            let found: Vec<_> = found.iter().map(|f| (f.severity, f.text.as_str())).collect();
            assert_eq!(found, [(severity, text)]);
        }
    }

    #[test]
    fn passkeys_want_a_name_and_stay_with_the_name_they_were_made_for() {
        use Severity::{Info, Ok, Problem, Warning};
        let good = Passkeys {
            offered: true,
            host: "pve.lan".into(),
            is_address: false,
            of_others: Vec::new(),
            of_ours: 2,
        };
        let moved = |count| Passkeys { of_others: vec![("old.lan".into(), count)], ..good.clone() };
        #[rustfmt::skip]
        let table = [
            (good.clone(),                                   Ok,      "relying party pve.lan, 2 keys enrolled"),
            (Passkeys { offered: false, ..good.clone() },    Info,    "auth.methods offers no passkeys"),
            (Passkeys { is_address: true, ..good.clone() },  Warning, "pve.lan is an address, and browsers make passkeys for names only"),
            (moved(3),                                       Problem, "3 passkeys were made for old.lan and can't sign anybody in at pve.lan"),
            (moved(1),                                       Problem, "1 passkey was made for old.lan and can't sign anybody in at pve.lan"),
        ];
        for (passkeys, severity, text) in table {
            let found = judge_passkeys(&passkeys);
            let found: Vec<_> = found.iter().map(|f| (f.severity, f.text.as_str())).collect();
            assert_eq!(found, [(severity, text)]);
        }
    }
}
