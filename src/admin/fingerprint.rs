//! `pvegate fingerprint`

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{Exit, Failure, open_audit, output::Output, read_config, serve};
use crate::{
    audit::{Action, Event, Outcome, Reason},
    config::{Config, edit},
    tls::{self, Fingerprint, Host, ObservedCertificate},
    upstream::{Endpoint, Trust},
};

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server, e.g. 10.0.0.2:8006; the port is 8006 unless written.
    ///
    /// Without it, every node of the configuration is asked, and
    /// compared with what is pinned.
    #[arg(verbatim_doc_comment, value_name = "HOST[:PORT]", value_parser = parse_server)]
    server: Option<(Host, u16)>,
    /// The whole chain that the server shows.
    #[arg(long)]
    all: bool,
    /// Pin what a server of the configuration shows, in place of what is pinned.
    #[arg(long, conflicts_with = "server")]
    write: bool,
    /// With --write: do not ask first.
    #[arg(long, requires = "write")]
    yes: bool,
}

pub(super) fn run(args: &Args, path: &Path, output: &Output) -> Result<(), Failure> {
    let (servers, config) = match &args.server {
        Some((host, port)) => (vec![Server { host: host.clone(), port: *port, pinned: None }], None),
        None => {
            let config = read_config(path, output)?;
            let servers = config.upstream.endpoints().map(Server::of).collect::<Result<_, _>>()?;
            (servers, Some(config))
        }
    };
    let write = config.as_ref().filter(|_| args.write);
    let runtime = serve::runtime()?;
    let titled = servers.len() > 1;
    let mut failures = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        if titled && index > 0 {
            output.data_for_people("");
        }
        if titled {
            output.data_for_people(&format!("{} port {}", server.host, server.port));
        }
        let shown = runtime
            .block_on(tls::observe(&server.host, server.port, TIMEOUT))
            .map_err(|error| Failure::of(Exit::Failed, &error))
            .and_then(|chain| {
                let changed = match server.compare(&chain, args.all, output) {
                    Ok(Compared::Same) => return Ok(()),
                    Ok(Compared::Changed(changed)) => changed,
                    Err(failure) => return Err(failure),
                };
                match write {
                    Some(config) => server.pin(index, &changed, args.yes, path, config, output),
                    None => Err(server.is_changed(&changed, titled)),
                }
            });
        failures.extend(shown.err());
    }
    // One that shows a wrong certificate is graver than one that is down.
    let exit = failures.iter().map(|failure| failure.exit).find(|exit| *exit == Exit::Changed);
    match failures.as_slice() {
        [] => Ok(()),
        [first, ..] => {
            let messages: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
            Err(Failure::new(exit.unwrap_or(first.exit), messages.join("\n")))
        }
    }
}

/// Whom to ask, and what is pinned.
struct Server {
    host: Host,
    port: u16,
    pinned: Option<Fingerprint>,
}

impl Server {
    fn of(endpoint: &Endpoint) -> Result<Self, Failure> {
        let host = endpoint.host.parse().map_err(|error| Failure::of(Exit::BadConfiguration, &error))?;
        let pinned = match &endpoint.trust {
            Trust::Fingerprint(pin) => Some(*pin),
            Trust::Ca(_) => None,
        };
        Ok(Self { host, port: endpoint.port, pinned })
    }

    fn compare(
        &self,
        chain: &[ObservedCertificate],
        all: bool,
        output: &Output,
    ) -> Result<Compared, Failure> {
        let Self { host, port, pinned } = self;
        let Some(leaf) = chain.first() else {
            return Err(Failure::new(Exit::Failed, format!("{host} port {port} showed no certificate")));
        };
        let shown = if all { chain } else { std::slice::from_ref(leaf) };
        let objects: Vec<_> = shown.iter().map(object).collect();
        let object = json!({ "host": host.to_string(), "port": port, "chain": objects, "pinned": pinned.map(|pin| pin.to_string()) });
        output.data(&object, || shown.iter().map(text).collect::<Vec<_>>().join("\n\n"));
        match pinned {
            Some(pin) if *pin != leaf.fingerprint => {
                Ok(Compared::Changed(Change { old: *pin, new: leaf.fingerprint }))
            }
            Some(_) => {
                output.talk("this is the pinned certificate");
                Ok(Compared::Same)
            }
            None => Ok(Compared::Same),
        }
    }

    fn is_changed(&self, Change { old, new }: &Change, one_of_several: bool) -> Failure {
        let Self { host, port, .. } = self;
        let key = if one_of_several { "its [[upstream.node]]" } else { "upstream.fingerprint" };
        Failure::new(
            Exit::Changed,
            format!(
                "{host} port {port} shows another certificate than the pinned one\n  pinned  {old}\n  shown   {new}\n\
                 If you renewed it, put the new value into {key}: `pvegate fingerprint --write` does.\n\
                 If not, find out who did."
            ),
        )
    }

    /// Pins what it shows, with consent.
    fn pin(
        &self,
        number: usize,
        Change { old, new }: &Change,
        yes: bool,
        path: &Path,
        config: &Config,
        output: &Output,
    ) -> Result<(), Failure> {
        let Self { host, port, .. } = self;
        let what = format!(
            "{host} port {port} shows another certificate than the pinned one\n  pinned  {old}\n  shown   {new}\n\
             Compare the new value with Node, System, Certificates in Proxmox VE; then it can be pinned"
        );
        output.consent(yes, &what)?;
        // Nothing is pinned that the audit log could not be told.
        let audit = open_audit(config)?;
        edit::replace_pin(path, number, old, new, std::env::vars())?;
        let reason = Reason::new("fingerprint", format_args!("{new} in place of {old}"));
        audit.record(
            &Event::new(Action::UpstreamPinChange, Outcome::Success)
                .at_node(format!("{host}:{port}"))
                .because(reason),
        );
        output.talk(&format!("{} pins {new} now; it counts from the next start of the gate", path.display()));
        Ok(())
    }
}

/// How what a server shows compares with what is pinned.
enum Compared {
    /// It is that, or nothing is pinned.
    Same,
    Changed(Change),
}

/// Another certificate than the pinned one.
struct Change {
    old: Fingerprint,
    new: Fingerprint,
}

fn object(certificate: &ObservedCertificate) -> serde_json::Value {
    json!({
        "fingerprint": certificate.fingerprint.to_string(),
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": certificate.not_before.to_string(),
        "not_after": certificate.not_after.to_string(),
        "names": certificate.names,
        "is_ca": certificate.is_ca,
    })
}

fn text(certificate: &ObservedCertificate) -> String {
    format!(
        "{}\n  subject   {}\n  issuer    {}\n  names     {}\n  valid     {} to {}",
        certificate.fingerprint,
        certificate.subject,
        certificate.issuer,
        certificate.names.join(", "),
        certificate.not_before,
        certificate.not_after,
    )
}

/// `10.0.0.2`, `pve.lan:8006`, `[fd00::2]:8006`, `fd00::2`
fn parse_server(text: &str) -> Result<(Host, u16), String> {
    let text = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = match text.rsplit_once(':') {
        // More colons and no bracket: an IPv6 address alone.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
        }
        Some(_) | None => (text, 8006),
    };
    host.parse().map(|host| (host, port)).map_err(|error: tls::NotAHost| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_8006_unless_written() {
        let table = [
            ("10.0.0.2", Some(("10.0.0.2", 8006))),
            ("pve.lan:443", Some(("pve.lan", 443))),
            ("https://pve.lan:8006/", Some(("pve.lan", 8006))),
            ("[fd00::2]:1", Some(("fd00::2", 1))),
            ("fd00::2", Some(("fd00::2", 8006))),
            ("pve.lan:http", None),
            ("not a host", None),
        ];
        for (text, expected) in table {
            let found = parse_server(text).ok().map(|(host, port)| (host.to_string(), port));
            assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
