//! What is written becomes what is true.
//!
//! [`check`] reads every key once and collects all that is wrong, by itself (`take`, `form`) or together.
//! It is pure: what the disk knows is an argument. The order is the file's.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    Config, duration,
    env::Environment,
    file::{File, Value, nearest},
    form,
    keys::{self, Key},
    policy,
    problem::{Code, Place, Problem, quoted},
    take::{Check, Found},
};
use crate::{
    accept, admission, audit, connection,
    gate::{
        self,
        portal::{look::Theme, words::Language},
    },
    store, telemetry, tls,
};

/// Checks everything. `None` only if `problems` has an error; there may be errors beside a `Some`.
pub(super) fn check(
    file: &File,
    environment: &Environment,
    is_file: &dyn Fn(&Path) -> bool,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut check = Check { file, problems };

    check.schema();
    let listen = check.listen();
    let peers = check.peers();
    let public_url = check.public_url();
    let aliases = check.aliases();
    let max_connections = check.number(&keys::MAX_CONNECTIONS);
    let tls = check.tls();
    let upstream = check.upstream(public_url.as_ref());
    let networks = check.networks(environment.container);
    let on_deny = check.on_deny();
    let session = check.session();
    let auth = check.auth();
    let policies = check.policies(&policy::Beside {
        session: session.as_ref(),
        auth: auth.as_ref(),
        public_url: public_url.as_ref().map(|url| &url.value),
    });
    let api_rules = check.api_rules();
    let connection = check.connection();
    let form_silence = check.duration(&keys::BODY);
    let per_source = check.number(&keys::PER_SOURCE);
    let sign_ins = check.number(&keys::SIGN_INS);
    let requests = check.requests();
    let bans = check.bans();
    let proxy_header = check.duration(&keys::PROXY_HEADER);
    let files = check.files(environment, is_file);
    let journal = check.flag(&keys::AUDIT_JOURNAL);
    let syslog = check.syslog();
    let watched = check.metrics();
    let pages = check.pages();
    let log = check.log();

    let (storage, master_key_file, audit_file) = files?;
    let state_dir = storage.parent()?.to_owned();
    let (allow, deny) = networks?;
    let (peers, forwarding_field) = peers?;
    Some(Config {
        accept: accept::Settings {
            listen: listen?,
            proxy_header: proxy_header?.value,
            forwarding_field: forwarding_field.clone(),
        },
        admission: admission::Settings {
            allow,
            deny,
            on_deny: on_deny?,
            max_connections: max_connections?,
            max_connections_per_source: per_source?,
            peers,
            peers_forward: forwarding_field.is_some(),
            requests: requests?,
            bans: bans?,
        },
        connection: connection::Settings { forwarding_field, ..connection? },
        gate: gate::Settings {
            public_url: public_url?.value,
            session: session?,
            auth: auth?,
            sign_ins_a_minute: u32::try_from(sign_ins?).ok().and_then(NonZeroU32::new)?,
            form_silence: form_silence?.value,
            aliases: aliases?,
            api_rules: api_rules?,
            policies: policies?,
        },
        pages: pages?,
        upstream: upstream?,
        tls: match tls? {
            Certificate::LocalCa => tls::Source::LocalCa { dir: state_dir.join("local-ca") },
            Certificate::Files { cert, key } => tls::Source::Files { cert, key },
        },
        store: store::Settings { path: storage },
        audit: audit::Settings {
            file: audit_file,
            line: if journal? { audit::Line::Log } else { audit::Line::Nowhere },
            syslog: syslog?,
        },
        telemetry: log?,
        watched: watched?,
        master_key_file,
        state_dir,
    })
}

enum Certificate {
    LocalCa,
    Files { cert: PathBuf, key: PathBuf },
}

impl Check<'_> {
    fn schema(&mut self) {
        let Some(item) = self.file.item(&keys::SCHEMA) else { return };
        if item.value != Value::Number(1) {
            self.problem(
                Problem::new(Code::Schema, "this version of pvegate reads schema 1")
                    .of(keys::SCHEMA.name)
                    .at(&item.place, ""),
            );
        }
    }

    fn public_url(&mut self) -> Option<Found<gate::PublicUrl>> {
        let Found { value: text, place } = self.text(&keys::PUBLIC_URL)?;
        match gate::PublicUrl::parse(&text) {
            Err(message) => {
                self.problem(
                    Problem::new(Code::BadPublicUrl, message).of(keys::PUBLIC_URL.name).at(&place, ""),
                );
                None
            }
            Ok(value) => {
                if form::bare(value.host()).parse::<IpAddr>().is_ok() {
                    self.problem(
                        Problem::new(Code::PublicAddress, "the host is an address, and passkeys need a name")
                            .of(keys::PUBLIC_URL.name)
                            .at(&place, "only one-time codes will work here")
                            .help("a name that only your resolver or hosts file knows is enough, e.g. https://pve.home.arpa"),
                    );
                }
                Some(Found { value, place })
            }
        }
    }

    fn tls(&mut self) -> Option<Certificate> {
        let source = self.choice(&keys::TLS_SOURCE);
        let cert = self.path(&keys::TLS_CERT);
        let key = self.path(&keys::TLS_KEY);
        let (source, cert, key) = (source?, cert?, key?);
        if source == "local-ca" {
            for (name, file) in [(&keys::TLS_CERT, &cert), (&keys::TLS_KEY, &key)] {
                if file.value.is_some() {
                    self.problem(
                        Problem::new(Code::NoEffect, "it has no effect while tls.source is \"local-ca\"")
                            .of(name.name)
                            .at(&file.place, "")
                            .help("to use the files: source = \"files\""),
                    );
                }
            }
            return Some(Certificate::LocalCa);
        }
        for (name, file) in [(&keys::TLS_CERT, &cert), (&keys::TLS_KEY, &key)] {
            if file.value.is_none() {
                let place = if file.place.is_written() { &file.place } else { self.file.home(name) };
                self.problems.push(
                    Problem::new(Code::NoCertificate, "it is not set, and tls.source is \"files\"")
                        .of(name.name)
                        .at(place, "")
                        .help(format!("{} = \"/etc/pvegate/tls/{}.pem\"", name.split().1, name.split().1)),
                );
            }
        }
        Some(Certificate::Files { cert: cert.value?, key: key.value? })
    }

    pub(super) fn send_client_ip(&mut self) -> Option<http::HeaderName> {
        let Found { value, place } = self.text(&keys::SEND_CLIENT_IP)?;
        self.field_name(&keys::SEND_CLIENT_IP, &value, &place)
    }

    pub(super) fn field_name(&mut self, key: &Key, text: &str, place: &Place) -> Option<http::HeaderName> {
        let reason = match text.parse::<http::HeaderName>() {
            Err(_) => "is not the name of a field such as X-Forwarded-For",
            Ok(name) if form::TAKEN.contains(&name.as_str()) => {
                "has another meaning between client and server"
            }
            Ok(name) if name.as_str().contains('_') => "has a `_`, which pveproxy reads as `-`: write that",
            Ok(name) => return Some(name),
        };
        self.problem(
            Problem::new(Code::BadFieldName, format!("{} {reason}", quoted(text))).of(key.name).at(place, ""),
        );
        None
    }

    fn on_deny(&mut self) -> Option<admission::OnDeny> {
        Some(match &*self.choice(&keys::ON_DENY)? {
            "page" => admission::OnDeny::Page,
            _ => admission::OnDeny::Drop,
        })
    }

    fn networks(&mut self, container: bool) -> Option<(Vec<IpNet>, Vec<IpNet>)> {
        let allow = self.list(&keys::ALLOW);
        let deny = self.list(&keys::DENY);
        if let Some(allow) = &allow
            && container
            && !allow.place.is_written()
        {
            self.problem(
                Problem::new(Code::AllowUnset, "it has no default in a container and must be set")
                    .of(keys::ALLOW.name)
                    .at(self.file.home(&keys::ALLOW), "")
                    .help("PVEGATE_ACCESS__ALLOW=192.168.1.0/24,100.64.0.0/10"),
            );
            return None;
        }
        if let Some(allow) = &allow
            && allow.value.is_empty()
        {
            self.problem(
                Problem::new(Code::NobodyAllowed, "the list is empty: nobody could connect")
                    .of(keys::ALLOW.name)
                    .at(&allow.place, "")
                    .help("allow = [\"192.168.1.0/24\"]"),
            );
            return None;
        }
        let places =
            allow.as_ref().zip(deny.as_ref()).map(|(allow, deny)| (allow.place.clone(), deny.place.clone()));
        let allow = allow.and_then(|list| self.each_network(&keys::ALLOW, list.value));
        let deny = deny.and_then(|list| self.each_network(&keys::DENY, list.value));
        let (allow, deny) = (allow?, deny?);
        let denied = IpNet::aggregate(&deny);
        if let Some((allow_place, deny_place)) = places
            && allow.iter().all(|network| denied.iter().any(|denied| denied.contains(network)))
        {
            self.problem(
                Problem::new(Code::EverybodyDenied, "it covers all of access.allow: nobody can connect")
                    .of(keys::DENY.name)
                    .at(&deny_place, "deny wins")
                    .at(&allow_place, "all of it is denied"),
            );
        }
        Some((allow, deny))
    }

    pub(super) fn each_network(&mut self, key: &Key, list: Vec<(String, Place)>) -> Option<Vec<IpNet>> {
        let mut networks = Vec::new();
        let mut right = true;
        for (index, (text, place)) in list.into_iter().enumerate() {
            let name = format!("{}[{index}]", key.name);
            match form::network(&text) {
                Ok(network) => {
                    if network != network.trunc() {
                        let message = format!(
                            "{} has bits behind its length; {} is meant",
                            quoted(&text),
                            network.trunc()
                        );
                        self.problem(
                            Problem::new(Code::HostBits, message)
                                .of(name)
                                .at(&place, "")
                                .help(format!("for this one address: \"{}\"", IpNet::from(network.addr()))),
                        );
                    }
                    networks.push(network.trunc());
                }
                Err((reason, help)) => {
                    let mut problem = Problem::new(Code::BadNetwork, format!("{} {reason}", quoted(&text)))
                        .of(name)
                        .at(&place, "");
                    if let Some(help) = help {
                        problem = problem.help(help);
                    }
                    self.problem(problem);
                    right = false;
                }
            }
        }
        right.then_some(networks)
    }

    fn requests(&mut self) -> Option<admission::rate::Requests> {
        let a_second = self.positive(&keys::REQUESTS);
        let burst = self.positive(&keys::REQUEST_BURST);
        Some(admission::rate::Requests { a_second: a_second?, burst: burst? })
    }

    fn bans(&mut self) -> Option<admission::ban::Rules> {
        let automatic = self.flag(&keys::BAN);
        let after = self.positive(&keys::BAN_AFTER);
        let first = self.duration(&keys::BAN_FOR);
        let longest = self.duration(&keys::BAN_LONGEST);
        let never = self.list(&keys::NEVER_BAN);
        let never = never.and_then(|list| self.each_network(&keys::NEVER_BAN, list.value));
        let (first, longest) = (first?, longest?);
        if first.value > longest.value {
            let message = format!("no ban is longer than {}", duration::format(longest.value));
            self.problem(
                Problem::new(Code::NoEffect, message)
                    .of(keys::BAN_FOR.name)
                    .at(&first.place, "never so long")
                    .at(&longest.place, "at most this"),
            );
        }
        Some(admission::ban::Rules {
            automatic: automatic?,
            after: after?.get(),
            first: first.value,
            longest: longest.value,
            never: never?,
        })
    }

    /// A number whose bounds leave zero out.
    fn positive(&mut self, key: &Key) -> Option<NonZeroU32> {
        self.number(key).and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new)
    }

    fn session(&mut self) -> Option<gate::SessionLimits> {
        let lifetime = self.duration(&keys::LIFETIME);
        let idle = self.duration(&keys::IDLE);
        let console_idle = self.duration(&keys::CONSOLE_IDLE);
        let lifetime = lifetime?;
        let longest = duration::format(lifetime.value);
        if let Some(idle) = &idle
            && idle.value > lifetime.value
        {
            let message =
                format!("{} is longer than session.lifetime, {longest}", duration::format(idle.value));
            let mut places =
                [(&idle.place, "longer than the session lasts"), (&lifetime.place, "it ends here")];
            // First the one that somebody wrote.
            places.sort_by_key(|(place, _)| !place.is_written());
            let [(first, this), (second, that)] = places;
            self.problem(
                Problem::new(Code::IdleOverLifetime, message)
                    .of(keys::IDLE.name)
                    .at(first, this)
                    .at(second, that)
                    .help(format!("idle = \"{longest}\" or less, or a longer lifetime")),
            );
            return None;
        }
        if let Some(console) = &console_idle
            && console.place.is_written()
            && console.value > lifetime.value
        {
            let message = format!("consoles end with the session, after {longest}");
            self.problem(
                Problem::new(Code::NoEffect, message)
                    .of(keys::CONSOLE_IDLE.name)
                    .at(&console.place, "never reached")
                    .at(&lifetime.place, "the session ends here"),
            );
        }
        Some(gate::SessionLimits {
            lifetime: lifetime.value,
            idle: idle?.value,
            console_idle: console_idle?.value,
        })
    }

    fn auth(&mut self) -> Option<gate::AuthRules> {
        const METHODS: [&str; 3] = ["passkey", "totp", "recovery"];
        let listed = self.list(&keys::METHODS);
        let password = self.choice(&keys::PASSWORD);
        let Found { value: methods, place } = listed?;
        let mut right = true;
        for (method, place) in &methods {
            if !METHODS.contains(&method.as_str()) {
                let message = format!("{} is not one of {}", quoted(method), METHODS.join(", "));
                let mut problem = Problem::new(Code::BadChoice, message).of(keys::METHODS.name).at(place, "");
                if let Some(near) = nearest(method, METHODS.into_iter()) {
                    problem = problem.help(format!("did you mean {near:?}?"));
                }
                self.problem(problem);
                right = false;
            }
        }
        let has = |name: &str| methods.iter().any(|(method, _)| method == name);
        if right && !has("passkey") && !has("totp") {
            let message = "nobody could sign in: a recovery code alone is no way in";
            self.problem(
                Problem::new(Code::NoMethod, message)
                    .of(keys::METHODS.name)
                    .at(&place, "")
                    .help("methods = [\"passkey\", \"totp\", \"recovery\"]"),
            );
            right = false;
        }
        let password = &*password? == "with-totp";
        right.then(|| gate::AuthRules {
            passkey: has("passkey"),
            totp: has("totp"),
            recovery: has("recovery"),
            password,
        })
    }

    fn connection(&mut self) -> Option<connection::Settings> {
        let handshake = self.duration(&keys::HANDSHAKE);
        let head = self.duration(&keys::HEAD);
        let idle = self.duration(&keys::KEEP_ALIVE);
        let pause = self.duration(&keys::DOWNLOAD_PAUSE);
        Some(connection::Settings {
            handshake: handshake?.value,
            head: head?.value,
            idle: idle?.value,
            pause: pause?.value,
            forwarding_field: None,
        })
    }

    /// The store, the master key, the audit file.
    fn files(
        &mut self,
        environment: &Environment,
        is_file: &dyn Fn(&Path) -> bool,
    ) -> Option<(PathBuf, PathBuf, Option<PathBuf>)> {
        let storage = self.path(&keys::STORAGE_PATH);
        let key = self.path(&keys::MASTER_KEY_FILE);
        let audit = self.path(&keys::AUDIT_FILE);
        let storage = storage?;
        let Some(store) = storage.value else {
            self.problem(
                Problem::new(Code::BadPath, "it is empty, and the gate needs a database")
                    .of(keys::STORAGE_PATH.name)
                    .at(&storage.place, ""),
            );
            return None;
        };
        let (key, audit) = (key?, audit?);
        let mut taken = vec![(&keys::STORAGE_PATH, &storage.place, Some(&store))];
        let mut right = true;
        for (name, found) in [(&keys::MASTER_KEY_FILE, &key), (&keys::AUDIT_FILE, &audit)] {
            let first = taken.iter().find(|(_, _, path)| path.is_some() && *path == found.value.as_ref());
            if let Some((other, place, _)) = first {
                self.problems.push(
                    Problem::new(Code::SameFile, format!("{} has the same file", other.name))
                        .of(name.name)
                        .at(&found.place, "")
                        .at(place, ""),
                );
                right = false;
            }
            taken.push((name, &found.place, found.value.as_ref()));
        }
        let master = key.value.unwrap_or_else(|| {
            let credential = environment.credentials.as_ref().map(|dir| Path::new(dir).join("master.key"));
            credential
                .filter(|path| is_file(path))
                .unwrap_or_else(|| PathBuf::from("/etc/pvegate/master.key"))
        });
        right.then_some((store, master, audit.value))
    }

    /// The collector of audit events, if there is one.
    fn syslog(&mut self) -> Option<Option<audit::syslog::Collector>> {
        let collector = self.text(&keys::AUDIT_SYSLOG);
        let ca = self.path(&keys::AUDIT_SYSLOG_CA);
        let (collector, ca) = (collector?, ca?);
        let plain = match collector.value.parse::<audit::syslog::Collector>() {
            Ok(read) if read.transport == audit::syslog::Transport::Tls => {
                return Some(Some(audit::syslog::Collector { ca: ca.value, ..read }));
            }
            Ok(read) => Some(read),
            Err(_) if collector.value.is_empty() => None,
            Err(error) => {
                let message = format!("{} {error}", quoted(&collector.value));
                self.problem(
                    Problem::new(Code::BadCollector, message)
                        .of(keys::AUDIT_SYSLOG.name)
                        .at(&collector.place, ""),
                );
                return None;
            }
        };
        if ca.value.is_some() {
            self.problem(
                Problem::new(Code::NoEffect, "only a collector behind tcp+tls:// has a certificate")
                    .of(keys::AUDIT_SYSLOG_CA.name)
                    .at(&ca.place, ""),
            );
        }
        Some(plain)
    }

    fn pages(&mut self) -> Option<gate::portal::Settings> {
        let contact = self.contact();
        let show_ip = self.flag(&keys::SHOW_IP);
        let language = self.choice(&keys::LANGUAGE);
        let theme = self.choice(&keys::THEME);
        let language = Language::from_tag(&language?);
        let theme = match &*theme? {
            "light" => Some(Theme::Light),
            "dark" => Some(Theme::Dark),
            _ => None,
        };
        Some(gate::portal::Settings {
            contact: contact?.unwrap_or_default(),
            hide_ip: !show_ip?,
            language,
            theme,
        })
    }

    fn contact(&mut self) -> Option<Option<String>> {
        let Found { value, place } = self.text(&keys::CONTACT)?;
        if value.chars().any(char::is_control) || value.chars().count() > 200 {
            let message = "this is not one line of at most 200 characters";
            self.problem(Problem::new(Code::BadContact, message).of(keys::CONTACT.name).at(&place, ""));
            return None;
        }
        Some(Some(value.trim().to_owned()).filter(|contact| !contact.is_empty()))
    }

    /// Where the gate may be watched, if anywhere.
    fn metrics(&mut self) -> Option<telemetry::Watched> {
        let listen = self.text(&keys::METRICS_LISTEN);
        let allow = self.list(&keys::METRICS_ALLOW);
        let allowed_at = allow.as_ref().map(|list| list.place.clone());
        let allow = allow.and_then(|list| self.each_network(&keys::METRICS_ALLOW, list.value));
        let (Found { value, place }, allow, allowed_at) = (listen?, allow?, allowed_at?);
        if value.is_empty() {
            return Some(telemetry::Watched { listen: None, allow });
        }
        let listen = self.address(keys::METRICS_LISTEN.name, &value, &place)?;
        if allow.is_empty() {
            self.problem(
                Problem::new(Code::NobodyAllowed, "the list is empty: nobody could read anything there")
                    .of(keys::METRICS_ALLOW.name)
                    .at(&allowed_at, "")
                    .help("to turn it off: listen = \"\""),
            );
            return None;
        }
        Some(telemetry::Watched { listen: Some(listen), allow })
    }

    fn log(&mut self) -> Option<telemetry::Settings> {
        let level = self.log_level();
        let format = self.choice(&keys::LOG_FORMAT);
        let format = match &*format? {
            "text" => telemetry::Format::Text,
            "json" => telemetry::Format::Json,
            _ => telemetry::Format::Auto,
        };
        Some(telemetry::Settings { level: level?, format })
    }

    fn log_level(&mut self) -> Option<String> {
        let Found { value, place } = self.text(&keys::LOG_LEVEL)?;
        for part in value.split(',') {
            let (module, level) =
                part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
            let known_module = module.is_none_or(|module| {
                !module.is_empty()
                    && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
            });
            if form::LEVELS.contains(&level) && known_module {
                continue;
            }
            let message =
                format!("{} is not a level ({}) or module=level", quoted(part), form::LEVELS.join(", "));
            let mut problem =
                Problem::new(Code::BadLogLevel, message).of(keys::LOG_LEVEL.name).at(&place, "");
            if let Some(near) = nearest(level, form::LEVELS.iter().copied()) {
                problem = problem.help(format!("did you mean {near}?"));
            }
            self.problem(problem);
            return None;
        }
        Some(value)
    }
}
