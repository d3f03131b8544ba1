//! Where connections come in, and which peers speak for others there.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::{
    file::Value,
    form,
    keys::{self, Key},
    problem::{Code, Place, Problem, quoted},
    take::{Check, Found},
};
use crate::accept::Opening;

impl Check<'_> {
    /// `server.listen` and every `[[server.listener]]`.
    pub(super) fn listen(&mut self) -> Option<Vec<(SocketAddr, Opening)>> {
        let listed = self.list(&keys::LISTEN);
        let entries = self.each("server.listener", |entry| entry.listener());
        let (Found { value: listed, place }, entries) = (listed?, entries?);
        if listed.is_empty() && entries.is_empty() {
            self.problem(
                Problem::new(Code::BadListen, "the list is empty: nobody could connect")
                    .of(keys::LISTEN.name)
                    .at(&place, "")
                    .help("listen = [\"[::]:443\"]"),
            );
            return None;
        }
        let mut listen: Vec<(SocketAddr, Opening, Place)> = Vec::new();
        let mut right = true;
        let of_list = listed.len();
        for (index, (text, place)) in listed.into_iter().enumerate() {
            let name = format!("{}[{index}]", keys::LISTEN.name);
            match self.address(&name, &text, &place) {
                Some(address) => listen.push((address, Opening::Tls, place)),
                None => right = false,
            }
        }
        listen.extend(entries);
        for (index, (address, _, place)) in listen.iter().enumerate() {
            let name = format!("{}[{index}]", keys::LISTEN.name);
            let first = listen.iter().take(index).find(|(other, ..)| other == address);
            if let Some((.., first)) = first {
                self.problems.push(
                    Problem::new(Code::Twice, format!("{} is listed twice", quoted(&address.to_string())))
                        .of(if index < of_list { name } else { keys::LISTENER_ADDRESS.name.to_owned() })
                        .at(place, "again here")
                        .at(first, "first here"),
                );
                right = false;
            }
        }
        right.then(|| listen.into_iter().map(|(address, opening, _)| (address, opening)).collect())
    }

    fn listener(&mut self) -> Option<(SocketAddr, Opening, Place)> {
        let address = self.text(&keys::LISTENER_ADDRESS).and_then(|Found { value, place }| {
            Some((self.address(keys::LISTENER_ADDRESS.name, &value, &place)?, place))
        });
        let proxied = self.flag(&keys::LISTENER_PROXY_PROTOCOL);
        let (address, place) = address?;
        Some((address, if proxied? { Opening::ProxyProtocol } else { Opening::Tls }, place))
    }

    pub(super) fn address(&mut self, name: &str, text: &str, place: &Place) -> Option<SocketAddr> {
        let address = text.parse::<SocketAddr>().ok();
        if address.is_none() {
            let message = format!("{} is not an address and a port such as [::]:443", quoted(text));
            let mut problem = Problem::new(Code::BadListen, message).of(name).at(place, "");
            if let Some(help) = form::listen_instead(text) {
                problem = problem.help(help);
            }
            self.problem(problem);
        }
        address
    }

    /// Who speaks for others, and by which field if by one.
    pub(super) fn peers(&mut self) -> Option<(Vec<IpNet>, Option<http::HeaderName>)> {
        let peers = self.list(&keys::TRUSTED_PEERS);
        let field = self.text(&keys::FORWARDING_FIELD);
        let (Found { value: listed, place }, field) = (peers?, field?);
        let peers = self.each_network(&keys::TRUSTED_PEERS, listed)?;
        let name = if field.value.is_empty() {
            None
        } else {
            Some(self.field_name(&keys::FORWARDING_FIELD, &field.value, &field.place)?)
        };
        let proxied = self.speaks_proxy_protocol();
        if peers.iter().any(|network| network.prefix_len() == 0) {
            self.problem(
                Problem::new(Code::TrustsEverybody, "everybody could say that they are anybody")
                    .of(keys::TRUSTED_PEERS.name)
                    .at(&place, "")
                    .help("name the proxy's own address: trusted_peers = [\"10.0.0.5/32\"]"),
            );
            return None;
        }
        match (peers.is_empty(), proxied, &name) {
            (true, Some(listener), _) => {
                self.problem(
                    Problem::new(Code::NoPeers, "it is empty, so nobody may connect to the listener")
                        .of(keys::TRUSTED_PEERS.name)
                        .at(
                            if place.is_written() { &place } else { self.file.home(&keys::TRUSTED_PEERS) },
                            "",
                        )
                        .at(&listener, "speaks the PROXY protocol")
                        .help("trusted_peers = [\"10.0.0.5/32\"]"),
                );
                None
            }
            (true, None, Some(_)) => {
                self.no_effect(
                    &keys::FORWARDING_FIELD,
                    &field.place,
                    "no peers are listed who could send it",
                );
                Some((peers, None))
            }
            (false, None, None) => {
                let why = "no listener speaks the PROXY protocol, and server.forwarding_field is not set";
                self.no_effect(&keys::TRUSTED_PEERS, &place, why);
                // None at all: whoever is listed would be spared from bans, and speaks for nobody.
                Some((Vec::new(), None))
            }
            (true, None, None) | (false, _, _) => Some((peers, name)),
        }
    }

    fn no_effect(&mut self, key: &Key, place: &Place, why: &str) {
        self.problem(Problem::new(Code::NoEffect, why).of(key.name).at(place, ""));
    }

    /// Where it is said that a listener speaks the PROXY protocol.
    fn speaks_proxy_protocol(&self) -> Option<Place> {
        self.file.entries("server.listener").iter().find_map(|(_, entry)| {
            let item = entry.item(&keys::LISTENER_PROXY_PROTOCOL)?;
            let place = if item.place.is_written() {
                item.place
            } else {
                entry.home(&keys::LISTENER_ADDRESS).clone()
            };
            (item.value == Value::Flag(true)).then_some(place)
        })
    }
}
