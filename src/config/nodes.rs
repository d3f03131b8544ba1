//! `[upstream]` and `[[upstream.node]]`: where Proxmox VE is, and how each node proves itself.

use super::{
    file::Value,
    form,
    keys::{self, Key},
    problem::{Code, Problem, quoted},
    take::{Check, Found},
};
use crate::{
    gate,
    tls::Fingerprint,
    upstream::{Endpoint, Settings, Trust},
};

/// The keys of one node: those of `[upstream]`, or of a `[[upstream.node]]`.
struct Names {
    url: &'static Key,
    fingerprint: &'static Key,
    ca: &'static Key,
}

const ALONE: Names =
    Names { url: &keys::UPSTREAM_URL, fingerprint: &keys::FINGERPRINT, ca: &keys::UPSTREAM_CA };
const NODE: Names = Names { url: &keys::NODE_URL, fingerprint: &keys::NODE_FINGERPRINT, ca: &keys::NODE_CA };

/// The table of the nodes of a cluster.
const NODES: &str = "upstream.node";

impl Check<'_> {
    pub(super) fn upstream(&mut self, public: Option<&Found<gate::PublicUrl>>) -> Option<Settings> {
        let endpoints = if self.file.entries(NODES).is_empty() {
            self.endpoint(&ALONE, public).map(|alone| vec![alone])
        } else {
            self.nodes(public)
        };
        let connect_timeout = self.duration(&keys::CONNECT_TIMEOUT);
        let idle_timeout = self.duration(&keys::IDLE_TIMEOUT);
        let health_interval = self.duration(&keys::HEALTH_INTERVAL);
        let send_client_ip = self.send_client_ip();
        let mut endpoints = endpoints?.into_iter().map(|endpoint| endpoint.value);
        Some(Settings {
            first: endpoints.next()?,
            others: endpoints.collect(),
            health_interval: health_interval?.value,
            connect_timeout: connect_timeout?.value,
            idle_timeout: idle_timeout?.value,
            send_client_ip: send_client_ip?,
        })
    }

    fn nodes(&mut self, public: Option<&Found<gate::PublicUrl>>) -> Option<Vec<Found<Endpoint>>> {
        let nodes = self.each(NODES, |node| node.endpoint(&NODE, public));
        let mut right = true;
        for key in [ALONE.url, ALONE.fingerprint, ALONE.ca] {
            let Some(item) = self.file.item(key).filter(|item| item.place.is_written()) else { continue };
            // Unset by hand.
            if item.value == Value::Text(String::new()) {
                continue;
            }
            let first = self.file.entries(NODES).first().map(|(_, node)| node.home(NODE.url).clone());
            let mut problem = Problem::new(
                Code::TwoUpstreams,
                "it concerns a single upstream, and there are [[upstream.node]]s: which one is meant?",
            )
            .of(key.name)
            .at(&item.place, "a single upstream");
            if let Some(first) = first {
                problem = problem.at(&first, "a node of a cluster");
            }
            self.problem(problem.help(format!("move {} into a [[upstream.node]] of its own", key.split().1)));
            right = false;
        }
        let nodes = nodes?;
        for (index, node) in nodes.iter().enumerate() {
            let address = node.value.address();
            let Some(first) = nodes.iter().take(index).find(|other| other.value.address() == address) else {
                continue;
            };
            self.problems.push(
                Problem::new(Code::SameNode, format!("{address} is listed twice"))
                    .of(format!("{NODES}[{index}].url"))
                    .at(&node.place, "again here")
                    .at(&first.place, "first here"),
            );
            right = false;
        }
        right.then_some(nodes)
    }

    /// One node, with the place of its URL.
    fn endpoint(
        &mut self,
        names: &Names,
        public: Option<&Found<gate::PublicUrl>>,
    ) -> Option<Found<Endpoint>> {
        let url = self.node_url(names);
        let trust = self.trust(names, url.as_ref().map(|url| &url.value));
        let Found { value: (host, port), place } = url?;
        if let Some(public) = public
            && form::bare(public.value.host()) == host
            && public.value.port() == port
        {
            self.problem(
                Problem::new(Code::UpstreamIsSelf, "this is the gate's own public URL")
                    .of(names.url.name)
                    .at(&place, "requests would come back")
                    .at(&public.place, "browsers come here"),
            );
        }
        Some(Found { value: Endpoint { host, port, trust: trust? }, place })
    }

    fn node_url(&mut self, names: &Names) -> Option<Found<(String, u16)>> {
        let Found { value: text, place } = self.text(names.url)?;
        match form::authority(&text) {
            Ok(value) => Some(Found { value, place }),
            Err(reason) => {
                let message =
                    format!("{} is not a URL such as https://10.0.0.2:8006: {reason}", quoted(&text));
                self.problem(Problem::new(Code::BadUpstreamUrl, message).of(names.url.name).at(&place, ""));
                None
            }
        }
    }

    fn trust(&mut self, names: &Names, server: Option<&(String, u16)>) -> Option<Trust> {
        let fingerprint = self.text(names.fingerprint);
        let ca = self.path(names.ca);
        let (fingerprint, ca) = (fingerprint?, ca?);
        let target = match server {
            Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
            Some((host, port)) => format!("{host}:{port}"),
            None => "HOST:PORT".to_owned(),
        };
        let table = names.url.split().0;
        match (fingerprint.value.trim(), ca.value) {
            ("", None) => {
                let place = if fingerprint.place.is_written() {
                    &fingerprint.place
                } else {
                    self.file.home(names.fingerprint)
                };
                self.problems.push(
                    Problem::new(Code::NoTrust, "neither a fingerprint nor an authority is set, and nothing is sent to an upstream that proves nothing")
                        .of(table)
                        .at(place, "")
                        .help(format!("`pvegate fingerprint {target}` prints the line to add"))
                        .help("or: ca = \"/etc/pve/pve-root-ca.pem\""),
                );
                None
            }
            ("", Some(ca)) => Some(Trust::Ca(ca)),
            (text, None) => match form::digest(text) {
                Ok(digest) => Some(Trust::Fingerprint(Fingerprint::from_bytes(digest))),
                Err(reason) => {
                    self.problem(
                        Problem::new(
                            Code::BadFingerprint,
                            format!("this is not a SHA-256 fingerprint: {reason}"),
                        )
                        .of(names.fingerprint.name)
                        .at(&fingerprint.place, "")
                        .help(format!("`pvegate fingerprint {target}` prints it")),
                    );
                    None
                }
            },
            (_, Some(_)) => {
                self.problem(
                    Problem::new(
                        Code::TwoTrusts,
                        "a fingerprint and an authority are both set: which one decides?",
                    )
                    .of(table)
                    .at(&ca.place, "an authority")
                    .at(&fingerprint.place, "a fingerprint")
                    .help("remove one; the fingerprint is stricter, the authority survives renewals"),
                );
                None
            }
        }
    }
}
