//! The configuration: what is written (`file`, `env`) becomes what is true (`check`).
//!
//! Three stages: text, the file as written with the environment over it, and [`Config`], which is true by
//! construction. Unknown names are refused. Everything that is wrong comes out in one run, each with its
//! place, what was found and what would be right ([`Problems`]). Precedence: environment, file, default.
//!
//! The settings' types live with their stages; nothing in a stage knows this module. No secret is a value
//! here: secrets lie in files whose paths are.

mod api;
mod check;
pub mod duration;
pub mod edit;
mod effective;
mod env;
mod file;
mod form;
mod keys;
mod listen;
mod nodes;
mod policy;
mod problem;
mod reference;
mod schema;
mod take;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

pub use self::{
    effective::{Origin, Setting, settings},
    file::nearest,
    keys::{KEYS, Key, Kind, TABLES, Table},
    problem::{Code, Problem, Problems, Severity},
    reference::default_file,
    schema::schema,
};
use self::{env::Environment, problem::Source};
use crate::{accept, admission, audit, connection, gate, store, telemetry, tls, upstream};

/// Where the file is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/pvegate/pvegate.toml";

/// No configuration is longer than this, in bytes; a device given by mistake is.
const LONGEST: u64 = 1024 * 1024;

/// The settings of all stages, checked alone and against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub accept: accept::Settings,
    /// Who may talk to the gate.
    pub admission: admission::Settings,
    /// Deadlines of a connection.
    pub connection: connection::Settings,
    /// The public URL and the length of sessions.
    pub gate: gate::Settings,
    /// What the gate's own pages say and look like.
    pub pages: gate::portal::Settings,
    /// Where Proxmox VE is.
    pub upstream: upstream::Settings,
    /// Where the gate's certificate comes from.
    pub tls: tls::Source,
    /// Where the database is.
    pub store: store::Settings,
    /// Where audit events go.
    pub audit: audit::Settings,
    /// What is logged, and how.
    pub telemetry: telemetry::Settings,
    /// Where it may be watched.
    pub watched: telemetry::Watched,
    /// The file with the key that seals secrets in the database. It need not exist yet.
    pub master_key_file: PathBuf,
    /// The directory of the database, where the rest of the gate's own files lie.
    pub state_dir: PathBuf,
}

/// Reads the file at `path` with the variables of `env` over it.
///
/// With the configuration come its warnings. In a container of ours (`PVEGATE_CONTAINER=1`) the file may
/// be missing, as the environment can say everything.
///
/// # Errors
///
/// All that is wrong, warnings included. The process then exits with 78.
pub fn load(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Problem>), Problems> {
    let environment = Environment::new(env);
    let name = path.display().to_string();
    let text = read(path, &name, environment.container).map_err(|problem| Problems::new(vec![problem]))?;
    build(Source { name: &name, text: &text }, &environment, &Path::is_file)
}

/// Reads `text` as a file called `name`. Nothing on the disk is looked at: no systemd credential exists.
///
/// # Errors
///
/// As [`load`].
pub fn parse(
    text: &str,
    name: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Problem>), Problems> {
    build(Source { name, text }, &Environment::new(env), &|_| false)
}

/// The key, table or code whose name is most like this text, if one is like it.
#[must_use]
pub fn nearest_name(text: &str) -> Option<&'static str> {
    let keys = KEYS.iter().map(|key| key.name);
    let all = keys.chain(TABLES.iter().map(|table| table.name)).chain(Code::ALL.iter().map(|code| code.id()));
    file::nearest(text, all)
}

fn build(
    source: Source<'_>,
    environment: &Environment,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<(Config, Vec<Problem>), Problems> {
    let mut problems = Vec::new();
    let mut file = file::read(source, &mut problems);
    environment.overlay(&mut file, &mut problems);
    let config = check::check(&file, environment, is_file, &mut problems);
    let told = Problems::new(problems);
    let wrong = told.all().iter().any(|problem| problem.code().severity() == Severity::Error);
    match config {
        Some(config) if !wrong => Ok((config, told.into_vec())),
        Some(_) | None => Err(told),
    }
}

fn read(path: &Path, name: &str, container: bool) -> Result<String, Problem> {
    let whole = problem::Place::File { file: name.to_owned() };
    let unreadable = |reason: String| Problem::new(Code::FileUnreadable, reason).at(&whole, "");
    let mut bytes = Vec::new();
    let outcome = std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(length) if length as u64 > LONGEST => {
            return Err(unreadable("the file is longer than 1 MiB, which no configuration is".to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && container => return Ok(String::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Problem::new(Code::FileMissing, "there is no configuration file")
                .at(&whole, "")
                .help("`pvegate demo` shows the gate without one")
                .help("a file needs server.public_url, upstream.url and upstream.fingerprint; the rest has defaults"));
        }
        Err(error) => {
            let problem = unreadable(format!("the file cannot be read: {error}"));
            return Err(match error.kind() {
                std::io::ErrorKind::PermissionDenied => problem.help(
                    "it must be readable for the user that pvegate runs as; `ls -l` shows its owner and mode",
                ),
                _ => problem,
            });
        }
    }
    text_of(bytes, name)
}

fn text_of(bytes: Vec<u8>, name: &str) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(good).copied().unwrap_or_default();
        let text = String::from_utf8_lossy(error.as_bytes());
        Problem::new(Code::NotUtf8, format!("the file is not UTF-8 text: byte {byte:#04x} cannot stand here"))
            .at(&Source { name, text: &text }.place(good..good + 1), "")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: &str = "server.public_url = \"https://pve.example.com\"\n\
        upstream.url = \"https://10.0.0.2\"\nupstream.ca = \"/etc/pve/pve-root-ca.pem\"\n";

    fn codes(text: &str) -> Vec<Code> {
        let problems = match parse(text, "f", []) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems.into_vec(),
        };
        problems.iter().map(Problem::code).collect()
    }

    /// The least file with one key more.
    fn with(line: &str) -> String {
        format!("{line}\n{LEAST}")
    }

    #[test]
    fn every_default_is_read_without_a_word() {
        let (_, warnings) = parse(LEAST, "f", []).unwrap();

        assert_eq!(warnings, []);
    }

    #[test]
    fn peers_that_speak_for_nobody_are_none() {
        let peers = r#"server.trusted_peers = ["10.0.0.5/32"]"#;
        let read = |line: &str| parse(&with(line), "f", []).unwrap().0.admission.peers;

        assert_eq!(read(peers), [], "they would be spared from bans");
        let field = r#"server.forwarding_field = "X-Forwarded-For""#;
        assert_eq!(read(&format!("{peers}\n{field}")), ["10.0.0.5/32".parse().unwrap()]);
    }

    #[test]
    fn every_wrong_value_has_its_code() {
        #[rustfmt::skip]
        let table = [
            (r#"schema = 2"#,                                     Code::Schema),
            (r#"server.listen = []"#,                             Code::BadListen),
            (r#"server.listen = [":443"]"#,                       Code::BadListen),
            (r#"server.listen = ["[::]:443", "[::]:443"]"#,       Code::Twice),
            (r#"server.max_connections = 0"#,                     Code::OutOfRange),
            (r#"server.max_connections = -1"#,                    Code::OutOfRange),
            (r#"server.max_connections = 1_000_001"#,             Code::OutOfRange),
            (r#"server.max_connections = 1.5"#,                   Code::WrongType),
            (r#"server.max_connections = 99999999999999999999"#,  Code::WrongType),
            (r#"server.aliases = ["https://pve"]"#,               Code::BadAlias),
            (r#"server.aliases = ["pve/"]"#,                      Code::BadAlias),
            (r#"tls.source = "files""#,                           Code::NoCertificate),
            (r#"tls.source = "acme""#,                            Code::BadChoice),
            (r#"tls.cert = "/a""#,                                Code::NoEffect),
            (r#"tls.key = "a""#,                                  Code::BadPath),
            (r#"upstream.fingerprint = "AB""#,                    Code::TwoTrusts),
            (r#"upstream.connect_timeout = "99ms""#,              Code::OutOfRange),
            (r#"[[upstream.node]]
                url = "https://10.0.0.3"
                ca = "/a""#,                                      Code::TwoUpstreams),
            (r#"upstream.send_client_ip = "X Real""#,             Code::BadFieldName),
            (r#"upstream.send_client_ip = "Host""#,               Code::BadFieldName),
            (r#"upstream.send_client_ip = "X_Real_IP""#,          Code::BadFieldName),
            (r#"access.allow = []"#,                              Code::NobodyAllowed),
            (r#"metrics.allow = []"#,                             Code::NobodyAllowed),
            (r#"metrics.listen = "localhost:9464""#,              Code::BadListen),
            (r#"access.allow = ["10.0.0.1"]"#,                    Code::BadNetwork),
            (r#"access.allow = ["10.0.0.1/8"]"#,                  Code::HostBits),
            (r#"access.deny = ["::ffff:10.0.0.0/104"]"#,          Code::BadNetwork),
            (r#"access.deny = ["0.0.0.0/0", "::/0"]"#,            Code::EverybodyDenied),
            (r#"access.on_deny = "reject""#,                      Code::BadChoice),
            (r#"ui.show_ip = "yes""#,                             Code::WrongType),
            (r#"session.lifetime = "12 h""#,                      Code::BadDuration),
            (r#"session.lifetime = "31d""#,                       Code::OutOfRange),
            (r#"session.lifetime = "30m""#,                       Code::IdleOverLifetime),
            (r#"session.console_idle = "13h""#,                   Code::NoEffect),
            (r#"limits.head = 10"#,                               Code::WrongType),
            (r#"storage.path = """#,                              Code::BadPath),
            (r#"storage.path = "/""#,                             Code::BadPath),
            (r#"storage.path = "pvegate.db""#,                    Code::BadPath),
            (r#"audit.file = "/var/lib/pvegate/pvegate.db""#,     Code::SameFile),
            (r#"audit.journal = "yes""#,                          Code::WrongType),
            (r#"audit.syslog = "log.lan:514""#,                   Code::BadCollector),
            (r#"audit.syslog_ca = "/etc/ca.pem""#,                Code::NoEffect),
            (r#"ui.contact = "a\nb""#,                            Code::BadContact),
            (r#"ui.language = "fr""#,                             Code::BadChoice),
            (r#"log.level = "inof""#,                             Code::BadLogLevel),
            (r#"log.level = "info,pvegate""#,                     Code::BadLogLevel),
            (r#"log = "info""#,                                   Code::WrongType),
            (r#"[[log]]"#,                                        Code::WrongType),
            (r#"[metric]"#,                                       Code::UnknownTable),
            (r#"listen = ["[::]:443"]"#,                          Code::UnknownKey),
            (r#"schema = "#,                                      Code::Syntax),
        ];
        for (line, code) in table {
            let text = if line.starts_with('[') { format!("{LEAST}{line}") } else { with(line) };
            let mut found = codes(&text);
            found.dedup();
            assert_eq!(found, [code], "{line}");
        }
    }

    #[test]
    fn what_is_right_is_accepted() {
        for line in [
            r#"server.listen = ["0.0.0.0:443", "[::1]:8443", "127.0.0.1:0"]"#,
            r#"session.lifetime = "1h""#,
            r#"session.idle = "12h""#,
            r#"session.lifetime = "30d""#,
            r#"upstream.connect_timeout = "100ms""#,
            r#"access.deny = ["10.0.0.0/8"]"#,
            r#"audit.file = """#,
            r#"audit.syslog = "udp://10.0.0.9""#,
            r#"log.level = "warn,pvegate::gate=debug,hyper=off""#,
            "ui.contact = \"ask alice@example.com\"",
        ] {
            assert_eq!(codes(&with(line)), [], "{line}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_as_a_browser_writes_it() {
        let read = |url: &str| {
            let text =
                format!("server.public_url = \"{url}\"\nupstream.url = \"https://h\"\nupstream.ca = \"/a\"");
            parse(&text, "f", []).map(|(config, warnings)| {
                (config.gate.public_url.origin(), warnings.iter().map(Problem::code).collect::<Vec<_>>())
            })
        };
        for (url, origin, warnings) in [
            ("https://PVE.example.com:443/", "https://pve.example.com", vec![]),
            ("https://pve:8443", "https://pve:8443", vec![]),
            ("https://192.168.1.5", "https://192.168.1.5", vec![Code::PublicAddress]),
            ("https://[fd00:0::0001]:8443", "https://[fd00::1]:8443", vec![Code::PublicAddress]),
        ] {
            assert_eq!(read(url), Ok((origin.to_owned(), warnings)), "{url}");
        }
        for url in [
            "",
            "pve.example.com",
            "http://pve.example.com",
            "https://",
            "https://pve.example.com/pve",
            "https://pve.example.com?x",
            "https://pve.example.com#x",
            "https://root@pve.example.com",
            "https://pve.example.com:0",
            "https://pve.example.com:99999",
            "https://pve.example.com:",
            "https://*.example.com",
            "https://pve.example.com.",
            "https://bücher.example",
            "https://127.1",
            "https://[::1",
            "https://-pve.example.com",
        ] {
            let Err(problems) = read(url) else { panic!("{url:?} was taken") };
            assert_eq!(
                problems.all().iter().map(Problem::code).collect::<Vec<_>>(),
                [Code::BadPublicUrl],
                "{url}"
            );
        }
    }

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        let read = |url: &str| {
            let text =
                format!("server.public_url = \"https://p\"\nupstream.url = \"{url}\"\nupstream.ca = \"/a\"");
            parse(&text, "f", []).map(|(config, _)| (config.upstream.first.host, config.upstream.first.port))
        };
        for (url, host, port) in [
            ("https://10.0.0.2", "10.0.0.2", 8006),
            ("https://Node1.lan:443/", "node1.lan", 443),
            ("https://[fd00::2]", "fd00::2", 8006),
            ("https://[fd00::2]:8007", "fd00::2", 8007),
        ] {
            assert_eq!(read(url), Ok((host.to_owned(), port)), "{url}");
        }
        for url in [
            "",
            "10.0.0.2",
            "10.0.0.2:8006",
            "http://10.0.0.2:8006",
            "https://",
            "https://:8006",
            "https://10.0.0.2:",
            "https://10.0.0.2:0",
            "https://10.0.0.2:+1",
            "https://10.0.0.2:65536",
            "https://10.0.0.2/pve",
            "https://10.0.0.2?x",
            "https://root@10.0.0.2",
            "https://fd00::2",
            "https://[fd00::2",
            "https://[fd00::2]x",
            "https://[node]",
            "https://10.0.0",
            "https://a b",
        ] {
            let Err(problems) = read(url) else { panic!("{url:?} was taken") };
            assert_eq!(
                problems.all().iter().map(Problem::code).collect::<Vec<_>>(),
                [Code::BadUpstreamUrl],
                "{url}"
            );
        }
    }

    #[test]
    fn a_fingerprint_is_read_in_every_spelling_of_proxmox_ve() {
        let read = |pin: &str| {
            let text = format!(
                "server.public_url = \"https://p\"\nupstream.url = \"https://h\"\nupstream.fingerprint = \"{pin}\""
            );
            parse(&text, "f", []).map(|(config, _)| config.upstream.first.trust)
        };
        let colons = ["aB"; 32].join(":");
        for pin in [colons.clone(), "Ab".repeat(32), format!("sha256:{colons}"), format!(" {colons}")] {
            assert_eq!(
                read(&pin),
                Ok(upstream::Trust::Fingerprint(tls::Fingerprint::from_bytes([0xab; 32]))),
                "{pin}"
            );
        }
        for (pin, code) in [
            (["AB"; 31].join(":"), Code::BadFingerprint),
            (["AB"; 20].join(":"), Code::BadFingerprint),
            ("A".repeat(63), Code::BadFingerprint),
            ("G".repeat(64), Code::BadFingerprint),
            (format!("{}:", "AB".repeat(32)), Code::BadFingerprint),
            (String::new(), Code::NoTrust),
            ("é".repeat(4), Code::BadFingerprint),
        ] {
            let problems = read(&pin).unwrap_err();
            assert_eq!(problems.all().iter().map(Problem::code).collect::<Vec<_>>(), [code], "{pin}");
        }
    }

    #[test]
    fn the_master_key_is_systemds_credential_if_there_is_one() {
        let read = |env: &[(&str, &str)], there: &str| {
            let environment =
                Environment::new(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let source = Source { name: "f", text: LEAST };
            build(source, &environment, &|path| path == Path::new(there)).unwrap().0.master_key_file
        };
        let unit = ("CREDENTIALS_DIRECTORY", "/run/c");
        let written = ("PVEGATE_STORAGE__MASTER_KEY_FILE", "/my/key");

        for (env, there, file) in [
            (vec![], "", "/etc/pvegate/master.key"),
            (vec![unit], "", "/etc/pvegate/master.key"),
            (vec![unit], "/run/c/master.key", "/run/c/master.key"),
            (vec![unit, written], "/run/c/master.key", "/my/key"),
        ] {
            assert_eq!(read(&env, there), Path::new(file));
        }
    }

    #[test]
    fn in_a_container_the_networks_must_be_named() {
        let env = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let container = ("PVEGATE_CONTAINER", "1");
        let allow = ("PVEGATE_ACCESS__ALLOW", "192.168.1.0/24");

        let problems = parse(LEAST, "f", env(&[container])).unwrap_err();
        let named = parse(LEAST, "f", env(&[container, allow]));

        assert_eq!(problems.all().iter().map(Problem::code).collect::<Vec<_>>(), [Code::AllowUnset]);
        assert!(named.is_ok());
    }

    #[test]
    fn names_next_to_a_syntax_error_are_still_judged() {
        let text = "sesion.idle = \"1h\"\nsession.lifetime = 12h\n[server]\nlisen = []\n[tls\nkey = 3\n";

        assert_eq!(codes(text), [Code::UnknownTable, Code::Syntax, Code::UnknownKey, Code::Syntax]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_has_an_error(text in "(?s).{0,200}|([a-z.]{1,9} ?[=\\[\\]] ?[\"\\[\\]{}a-z0-9\n]{0,9}\n?){0,9}") {
            if let Err(problems) = parse(&text, "f", []) {
                prop_assert!(problems.count(Severity::Error) > 0);
                prop_assert!(!problems.to_string().is_empty());
            }
        }

        #[test]
        fn any_bytes_are_a_text_or_have_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let right = std::str::from_utf8(&bytes).is_ok();

            prop_assert_eq!(text_of(bytes, "f").map_err(|problem| problem.to_string()).is_ok(), right);
        }

        #[test]
        fn any_value_of_any_key_is_told_or_taken(key in 0..KEYS.len(), value in ".{0,40}|[\"\\[\\]0-9a-f:./,hms ]{0,40}") {
            let name = KEYS[key].name;
            let written = parse(&format!("{LEAST}{name} = {value}"), "f", []);
            let quoted = parse(&format!("{name} = {value:?}\n"), "f", []);
            let listed = parse(&format!("{name} = [{value:?}]\n"), "f", []);
            let env = KEYS[key].variable().map(|variable| (variable, value.clone()));
            let set = parse(LEAST, "f", env);
            for outcome in [written, quoted, listed, set] {
                if let Err(problems) = outcome {
                    prop_assert!(problems.count(Severity::Error) > 0);
                }
            }
        }
    }
}
