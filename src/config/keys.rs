//! The table of keys: names, kinds, defaults, reasons.
//!
//! Everything that lists keys comes from here: what `file` accepts, what `env` accepts, the defaults that
//! `check` falls back to, `config/pvegate.toml` (by `reference`) and `docs/configuration.md`. A key exists
//! when it stands in this table and `check` reads it; tests hold both.

use std::{fmt, time::Duration};

use super::duration;

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text whose form the key's own check knows.
    Text,
    /// The absolute path of a file; `""` where a key may be unset.
    Path,
    /// A duration between these bounds, both included.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A whole number between these bounds, both included.
    Number {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
}

/// In words, for people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("absolute path of a file"),
            Self::Duration { min, max } => {
                write!(f, "duration from `{}` to `{}`", duration::format(*min), duration::format(*max))
            }
            Self::Number { min, max } if min == max => write!(f, "the number `{min}`"),
            Self::Number { min, max } => write!(f, "whole number from `{min}` to `{max}`"),
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| format!("`\"{choice}\"`")).collect();
                f.write_str(&choices.join(", "))
            }
            Self::List => f.write_str("list of texts"),
        }
    }
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table and the key, e.g. `session.idle`; a key above all tables has no dot.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// The value if it is not set, as TOML; `None` if it must be set.
    pub default: Option<&'static str>,
    /// What stands in `config/pvegate.toml` instead of the default, as TOML.
    pub example: Option<&'static str>,
    /// What it does and why the default is what it is. The first line can stand alone.
    pub doc: &'static str,
}

impl Key {
    /// The table, `""` for none, and the key's name in it.
    #[must_use]
    pub fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }

    /// The table that it stands in; `None` for a key above all tables.
    #[must_use]
    pub fn table(&self) -> Option<&'static Table> {
        TABLES.iter().find(|table| table.name == self.split().0)
    }

    /// Its kind, its default and its variable, one a line, in Markdown.
    #[must_use]
    pub fn facts(&self) -> String {
        let mut facts = format!("- Value: {}", self.kind);
        match (self.default, self.example) {
            (Some(default), _) => facts.push_str(&format!("\n- Default: `{default}`")),
            (None, Some(example)) => facts.push_str(&format!("\n- Required, e.g. `{example}`")),
            (None, None) => {}
        }
        if let Some(variable) = self.variable() {
            facts.push_str(&format!("\n- Environment: `{variable}`"));
        }
        facts
    }

    /// The environment variable that sets it; keys above all tables and in repeated ones have none.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let table = self.table()?;
        (!table.repeated).then(|| format!("PVEGATE_{}", self.name.replace('.', "__").to_ascii_uppercase()))
    }
}

/// A table of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name, with those of the tables around it.
    pub name: &'static str,
    /// Whether it can be written several times, as `[[name]]`: then a key of it without a default must be
    /// set in each, and nothing in it comes from the environment.
    pub repeated: bool,
    /// What it is about.
    pub about: &'static str,
}

impl Table {
    /// The line above its keys.
    #[must_use]
    pub fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

const fn once(name: &'static str, about: &'static str) -> Table {
    Table { name, repeated: false, about }
}

const fn repeated(name: &'static str, about: &'static str) -> Table {
    Table { name, repeated: true, about }
}

/// Tables with what they are about, in the order of the file.
pub const TABLES: &[Table] = &[
    once("server", "Where browsers come in."),
    repeated(
        "server.listener",
        "A further address to listen on, besides server.listen: for a proxy that passes connections on.",
    ),
    once("tls", "The gate's own certificate."),
    once("upstream", "Proxmox VE's pveproxy."),
    repeated(
        "upstream.node",
        "One node of a cluster. A session stays with its node until that fails; then another one serves it.",
    ),
    once(
        "access",
        "Who may talk to the gate at all. Everybody else is closed before TLS, without an answer, unless on_deny\n\
         says otherwise.",
    ),
    once("session", "How long a sign-in lasts."),
    once("auth", "By what people sign in."),
    repeated(
        "policy",
        "What is demanded of some people, or of all, beyond [auth] and [session]. All policies that apply hold\n\
         together, and of each demand the strictest: one policy more never lets anybody do more.",
    ),
    repeated(
        "api.rule",
        "What one API token of Proxmox VE may do. Without a rule no token passes: Proxmox VE asks no second\n\
         factor of tokens. `pvegate api add` writes a rule, with the hash of the secret.",
    ),
    once(
        "limits",
        "Bounds for strangers. \"Per source\" is an IPv4 address or an IPv6 /64; an IPv6 /48 has sixteen times as much.",
    ),
    once("storage", "What the gate keeps."),
    once("audit", "Who did what, for machines and for people. Never codes, cookies or bodies."),
    once(
        "metrics",
        "For monitoring: counters for Prometheus, health and readiness. Never on the public listener.",
    ),
    once("ui", "The gate's own pages."),
    once("log", "For the operator who debugs; audit events are not here."),
];

macro_rules! keys {
    ($($constant:ident $name:literal $kind:expr, $default:expr, $example:expr, $doc:literal;)*) => {
        $(pub(super) const $constant: Key =
            Key { name: $name, kind: $kind, default: $default, example: $example, doc: $doc };)*

        /// Every key, in the order of the file.
        pub const KEYS: &[Key] = &[$($constant),*];
    };
}

const fn lasting(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const SHORTEST: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

keys! {
    SCHEMA "schema" Kind::Number { min: 1, max: 1 }, Some("1"), None,
        "The version of this file's format.";

    LISTEN "server.listen" Kind::List, Some(r#"["[::]:443"]"#), None,
        "Addresses to listen on. [::] takes IPv4 as well.";
    PUBLIC_URL "server.public_url" Kind::Text, None, Some(r#""https://pve.example.com""#),
        "The only origin that browsers may use; passkeys are bound to its host.\n\
         Changing the host later makes every passkey useless, so choose a name that stays.";
    ALIASES "server.aliases" Kind::List, Some("[]"), None,
        "Other names or addresses, e.g. \"10.0.0.5\" or \"pve.internal:8443\", under which programs with an API\n\
         token may ask for the gate. Browsers may not.";
    MAX_CONNECTIONS "server.max_connections" Kind::Number { min: 1, max: 1_000_000 }, Some("10000"), None,
        "Connections in all. When they are that many, a newcomer takes the place of the stranger who has been\n\
         silent for longest; whoever is signed in keeps theirs.";
    TRUSTED_PEERS "server.trusted_peers" Kind::List, Some("[]"), None,
        "Proxies that speak for clients, as networks: by the PROXY protocol, or by forwarding_field. access says\n\
         which clients may come through them, as if they had come themselves.";
    FORWARDING_FIELD "server.forwarding_field" Kind::Text, Some(r#""""#), None,
        "The field in which trusted_peers name the client, e.g. \"X-Forwarded-For\". Their requests without it\n\
         are refused; in everybody else's it means nothing. \"\": peers are clients like any other.";

    LISTENER_ADDRESS "server.listener.address" Kind::Text, None, Some(r#""[::]:8443""#),
        "The address to listen on.";
    LISTENER_PROXY_PROTOCOL "server.listener.proxy_protocol" Kind::Flag, Some("false"), None,
        "Whether every connection begins with a PROXY protocol header (version 1 or 2). Then only\n\
         server.trusted_peers may connect there.";

    TLS_SOURCE "tls.source" Kind::Choice(&["local-ca", "files"]), Some(r#""local-ca""#), None,
        "local-ca: an authority of the gate's own, made at the first start; browsers must be told to trust it.\n\
         files: the two files below.";
    TLS_CERT "tls.cert" Kind::Path, Some(r#""""#), None,
        "With source = \"files\": the chain in PEM, the gate's own certificate first.";
    TLS_KEY "tls.key" Kind::Path, Some(r#""""#), None,
        "With source = \"files\": its private key in PEM.";

    UPSTREAM_URL "upstream.url" Kind::Text, None, Some(r#""https://10.0.0.2:8006""#),
        "Where pveproxy is. https only; port 8006 unless written.\n\
         Unless it is a cluster: then each node has a [[upstream.node]] instead of this, fingerprint and ca.";
    FINGERPRINT "upstream.fingerprint" Kind::Text, Some(r#""""#),
        Some(r#""5B:1C:0E:93:44:A7:D2:68:F0:3B:8E:51:C6:7F:29:DA:14:E8:60:B5:9C:02:73:AD:4F:86:1B:D9:E2:35:70:9E""#),
        "SHA-256 of its certificate, as Proxmox VE shows it under Node, System, Certificates.\n\
         `pvegate fingerprint HOST:PORT` prints it. Either this or ca must be set: nothing is sent to an\n\
         upstream that cannot prove itself. A pin must be renewed with the certificate.";
    UPSTREAM_CA "upstream.ca" Kind::Path, Some(r#""""#), None,
        "Instead of a fingerprint: the authority in PEM, e.g. /etc/pve/pve-root-ca.pem. Survives renewals.";
    CONNECT_TIMEOUT "upstream.connect_timeout" lasting(SHORTEST, MINUTE), Some(r#""3s""#), None,
        "For TCP and TLS together.";
    IDLE_TIMEOUT "upstream.idle_timeout" lasting(SECOND, DAY), Some(r#""15m""#), None,
        "Longest silence of pveproxy in a plain request: some of its calls work for minutes before they answer.";
    HEALTH_INTERVAL "upstream.health_interval" lasting(SHORTEST, HOUR), Some(r#""10s""#), None,
        "With several nodes: one of which nothing was heard for so long is asked for a TLS handshake.\n\
         A node that fails is left by its sessions at once, whatever this is; it gets new ones once it answers.";
    SEND_CLIENT_IP "upstream.send_client_ip" Kind::Text, Some(r#""X-Forwarded-For""#), None,
        "The field that tells pveproxy the client's address: exactly one, whatever the client sent.\n\
         For pveproxy to believe it, PROXY_REAL_IP_HEADER in /etc/default/pveproxy must be the same name.";

    NODE_URL "upstream.node.url" Kind::Text, None, Some(r#""https://10.0.0.3:8006""#),
        "Where its pveproxy is. https only; port 8006 unless written.";
    NODE_FINGERPRINT "upstream.node.fingerprint" Kind::Text, Some(r#""""#),
        Some(r#""0E:7D:22:B1:90:5C:6F:A3:48:D6:17:EB:3A:84:C9:F0:55:2E:71:BC:0A:98:D3:4F:66:1C:E7:82:39:AB:5D:F4""#),
        "SHA-256 of its own certificate. `pvegate fingerprint` shows that of every node. Either this or ca\n\
         must be set.";
    NODE_CA "upstream.node.ca" Kind::Path, Some(r#""""#), None,
        "Instead of a fingerprint: the authority in PEM. /etc/pve/pve-root-ca.pem is that of all nodes.";

    ALLOW "access.allow" Kind::List,
        Some(r#"["127.0.0.1/32", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]"#), None,
        "Networks that may connect. The default is this host, private networks and Tailscale.\n\
         In a container it has no default and must be set.";
    DENY "access.deny" Kind::List, Some("[]"), None,
        "Networks that may not; wins over allow.";
    ON_DENY "access.on_deny" Kind::Choice(&["drop", "page"]), Some(r#""drop""#), None,
        "What those hear who may not connect.\n\
         drop: nothing, they are closed before TLS, and nobody learns that there is a gate.\n\
         page: a page that says so, for people who forgot their VPN. It costs a TLS handshake, shows the gate\n\
         to everybody, and opens nothing else. Bans and limits close without a word all the same.";

    LIFETIME "session.lifetime" lasting(MINUTE, MONTH), Some(r#""12h""#), None,
        "From sign-in to the end, whatever happens between: a working day.";
    IDLE "session.idle" lasting(MINUTE, MONTH), Some(r#""1h""#), None,
        "Longest time without activity of the person. The page's own polling is none.";
    CONSOLE_IDLE "session.console_idle" lasting(MINUTE, MONTH), Some(r#""4h""#), None,
        "The same for open consoles, longer so that an upgrade can be watched.";

    METHODS "auth.methods" Kind::List, Some(r#"["passkey", "totp", "recovery"]"#), None,
        "What the sign-in page offers. Without \"totp\" only passkeys lead in, which cannot be phished:\n\
         a recovery code then opens a session that may only enrol one.";
    PASSWORD "auth.password" Kind::Choice(&["off", "with-totp"]), Some(r#""off""#), None,
        "with-totp: a password of the gate's own goes with each code of an authenticator app.\n\
         off: the code is enough, and Proxmox VE asks for its own password afterwards.";

    POLICY_NAME "policy.name" Kind::Text, None, Some(r#""administrators""#),
        "What reports call it. People see what is demanded, never this.";
    POLICY_USERS "policy.users" Kind::List, Some("[]"), None,
        "Users whom it concerns. [] is everybody. Of users, groups and networks all that are given must fit.";
    POLICY_GROUPS "policy.groups" Kind::List, Some("[]"), Some(r#"["admins"]"#),
        "Groups whose members it concerns. [] is everybody. `pvegate user group` puts people into groups.";
    POLICY_NETWORKS "policy.networks" Kind::List, Some("[]"), None,
        "Networks from which it concerns them. [] is everywhere.";
    POLICY_REQUIRE "policy.require" Kind::Choice(&["any", "password+totp", "passkey", "security-key", "two-keys"]),
        Some(r#""any""#), Some(r#""two-keys""#),
        "What a sign-in has to show.\n\
         password+totp: a password beside the code of an app, or what follows here.\n\
         passkey: a passkey, or a security key after a code. Neither can be phished.\n\
         security-key: one that stays on its device: a security key after a code, or a passkey that is not synced.\n\
         two-keys: a passkey or security key, and at least two of them enrolled.\n\
         Whoever has it must use it; whoever has not gets a session that may only enrol it, once grace is over.\n\
         A recovery code only ever opens such a session.";
    POLICY_GRACE "policy.grace" Kind::Text, Some(r#""""#), Some(r#""14d""#),
        "How long somebody who has another sign-in method may be without it, from when that was first found.\n\
         It does not begin again when somebody gives a key up. \"\": not at all.";
    POLICY_LIFETIME "policy.lifetime" Kind::Text, Some(r#""""#), Some(r#""8h""#),
        "A lifetime shorter than session.lifetime. \"\": no other.";
    POLICY_IDLE "policy.idle" Kind::Text, Some(r#""""#), Some(r#""30m""#),
        "The same for session.idle.";
    POLICY_CONSOLE_IDLE "policy.console_idle" Kind::Text, Some(r#""""#), Some(r#""2h""#),
        "The same for session.console_idle.";
    POLICY_ALLOW "policy.allow" Kind::List, Some("[]"), Some(r#"["10.0.0.0/8"]"#),
        "Networks from which these people may sign in and work at all. [] is everywhere. access.allow must admit\n\
         them too. A session that is used from elsewhere ends.";
    POLICY_BIND "policy.bind" Kind::Choice(&["none", "network", "address"]), Some(r#""none""#), None,
        "Whether a session ends when it is used from elsewhere than it was opened: from another network (an IPv4\n\
         /24, an IPv6 /64) or another address. People with changing addresses sign in often then.";

    RULE_TOKEN "api.rule.token" Kind::Text, None, Some(r#""automation@pve!backup""#),
        "The token, as Proxmox VE names it under Datacenter, Permissions, API Tokens.";
    RULE_SECRET_HASH "api.rule.secret_hash" Kind::Text, None,
        Some(r#""6f1c3a0e5b7d92481d3c5f7a9b0e2d4c6a8f1e3d5c7b9a0f2e4d6c8b0a1f3e5d""#),
        "A hash of its secret under the master key. `pvegate api add` makes it; another secret, or another\n\
         master key, needs a new one.";
    RULE_FROM "api.rule.from" Kind::List, None, Some(r#"["10.0.0.40/32"]"#),
        "Networks that it may be used from; access.allow must admit them too.";
    RULE_METHODS "api.rule.methods" Kind::List, Some(r#"["GET"]"#), Some(r#"["GET", "POST"]"#),
        "Methods that it may use: GET, POST, PUT, DELETE. In Proxmox VE, GET reads and the others change.";
    RULE_PATHS "api.rule.paths" Kind::List, None, Some(r#"["/api2/json/nodes/*/vzdump", "/api2/json/nodes/*/tasks/**"]"#),
        "Calls that it may make, as decoded paths: `*` is any one segment, `**` at the end is one or more.\n\
         A console or a migration (WebSocket) needs a path whose last segment names it.";
    RULE_RATE "api.rule.rate" Kind::Number { min: 1, max: 1_000_000 }, Some("600"), None,
        "Requests: so many at once, and as many a minute.";
    RULE_NOT_BEFORE "api.rule.not_before" Kind::Text, Some(r#""""#), None,
        "From when on it is good, e.g. \"2027-01-01T00:00:00Z\". \"\" is always.";
    RULE_NOT_AFTER "api.rule.not_after" Kind::Text, Some(r#""""#), Some(r#""2027-06-30T23:59:59Z""#),
        "Until when it is good. What runs by then, ends. \"\" is for good.";

    PER_SOURCE "limits.connections_per_source" Kind::Number { min: 1, max: 1_000_000 }, Some("256"), None,
        "Connections at once per source. A browser takes six and one per console; an office behind one address more.";
    REQUESTS "limits.requests" Kind::Number { min: 5, max: 1_000_000 }, Some("50"), None,
        "Requests a second per source, lasting; signed in or not. Proxmox VE's interface sends one a second per tab.";
    REQUEST_BURST "limits.request_burst" Kind::Number { min: 60, max: 1_000_000 }, Some("400"), None,
        "Requests at once per source. Proxmox VE's interface sends 28 when it is loaded.";
    SIGN_INS "limits.sign_ins" Kind::Number { min: 1, max: 10_000 }, Some("10"), None,
        "Attempts to sign in per source: so many at once, and as many a minute. An office behind one address\n\
         may need more. As many may fail at Proxmox VE's own sign-in. What protects an account holds\n\
         whatever this is.";
    BAN "limits.ban" Kind::Flag, Some("true"), None,
        "Whether sources are banned by themselves: after failed sign-ins, malformed requests and floods. Never one\n\
         with a live session or a sign-in within the last day. `pvegate ban list` shows them.";
    BAN_AFTER "limits.ban_after" Kind::Number { min: 10, max: 10_000 }, Some("20"), None,
        "So many failed sign-ins or malformed requests within ten minutes lead to a ban. A request or connection\n\
         that a limit refused counts a fifth.";
    BAN_FOR "limits.ban_for" lasting(SECOND, DAY), Some(r#""10m""#), None,
        "The first ban of a source. The next, within a week of its end, is twice as long, and so on.";
    BAN_LONGEST "limits.ban_longest" lasting(SECOND, MONTH), Some(r#""24h""#), None,
        "No ban that comes by itself is longer.";
    NEVER_BAN "limits.never_ban" Kind::List, Some(r#"["127.0.0.0/8", "::1/128"]"#), None,
        "Networks that are banned by `pvegate ban add` only.";
    HANDSHAKE "limits.handshake" lasting(SHORTEST, FIVE_MINUTES), Some(r#""10s""#), None,
        "From the connection to the end of the TLS handshake.";
    PROXY_HEADER "limits.proxy_header" lasting(SHORTEST, FIVE_MINUTES), Some(r#""5s""#), None,
        "From the connection to the end of the PROXY protocol header, where one must come.";
    HEAD "limits.head" lasting(SHORTEST, FIVE_MINUTES), Some(r#""10s""#), None,
        "From the first byte of a request's head to its last.";
    KEEP_ALIVE "limits.keep_alive" lasting(SHORTEST, HOUR), Some(r#""60s""#), None,
        "Between two requests of a connection; and how long a stranger may take nothing of an answer.";
    DOWNLOAD_PAUSE "limits.download_pause" lasting(SECOND, DAY), Some(r#""1h""#), None,
        "How long somebody who is signed in may take nothing of an answer: browsers let people pause a download.\n\
         Signing out, or a revocation, cuts it all the same.";
    BODY "limits.body" lasting(SHORTEST, FIVE_MINUTES), Some(r#""10s""#), None,
        "Longest silence in a form that is sent to the gate itself.";

    STORAGE_PATH "storage.path" Kind::Path, Some(r#""/var/lib/pvegate/pvegate.db""#), None,
        "The database: people, factors, sessions. What else the gate keeps lies beside it.";
    MASTER_KEY_FILE "storage.master_key_file" Kind::Path, Some(r#""""#), None,
        "The key that seals secrets in the database.\n\
         \"\": master.key in $CREDENTIALS_DIRECTORY if systemd passed it, else /etc/pvegate/master.key.";

    AUDIT_FILE "audit.file" Kind::Path, Some(r#""/var/log/pvegate/audit.jsonl""#), None,
        "JSON lines with ECS names, each joined to the one before: `pvegate audit verify` checks them. SIGUSR1\n\
         opens it anew. \"\" turns the file off.";
    AUDIT_JOURNAL "audit.journal" Kind::Flag, Some("true"), None,
        "The short line that fail2ban and people read: in the journal with the same fields as in the file,\n\
         elsewhere in the log.";
    AUDIT_SYSLOG "audit.syslog" Kind::Text, Some(r#""""#), None,
        "A collector that is sent every event (RFC 5424, the message is its JSON): udp://HOST:514,\n\
         tcp://HOST:514 or tcp+tls://HOST:6514. While it does not answer, 4096 events wait for it.";
    AUDIT_SYSLOG_CA "audit.syslog_ca" Kind::Path, Some(r#""""#), None,
        "With tcp+tls: the authority in PEM that its certificate is checked by. \"\" is this host's own list.";

    METRICS_LISTEN "metrics.listen" Kind::Text, Some(r#""127.0.0.1:9464""#), None,
        "An address for /metrics, /healthz and /readyz, by plain HTTP. \"\" turns it off.";
    METRICS_ALLOW "metrics.allow" Kind::List, Some(r#"["127.0.0.0/8", "::1/128"]"#), None,
        "Networks that may read there: another machine's Prometheus, for instance. What it reads tells no name\n\
         of a person and no client's address. Everybody else is closed without an answer.";

    CONTACT "ui.contact" Kind::Text, Some(r#""""#), None,
        "Shown where the gate refuses somebody, e.g. \"ask alice@example.com\".";
    SHOW_IP "ui.show_ip" Kind::Flag, Some("true"), None,
        "Whether somebody whose address may not connect is told that address, where there is a page: with\n\
         on_deny = \"page\", and for clients of a proxy that names them in a field.";
    LANGUAGE "ui.language" Kind::Choice(&["auto", "en", "de"]), Some(r#""auto""#), None,
        "auto: the language chosen in Proxmox VE, then the browser's.";
    THEME "ui.theme" Kind::Choice(&["auto", "light", "dark"]), Some(r#""auto""#), None,
        "auto: the theme chosen in Proxmox VE, then the system's.";

    LOG_LEVEL "log.level" Kind::Text, Some(r#""info""#), None,
        "off, error, warn, info, debug or trace; also per module: \"info,pvegate::gate=debug\".";
    LOG_FORMAT "log.format" Kind::Choice(&["auto", "text", "json"]), Some(r#""auto""#), None,
        "auto: text on a terminal, JSON elsewhere.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_one_name_and_a_table_that_is_listed() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let tables: BTreeSet<_> = TABLES.iter().map(|table| table.name).collect();
        let used: BTreeSet<_> =
            KEYS.iter().map(|key| key.split().0).filter(|table| !table.is_empty()).collect();

        assert_eq!(names.len(), KEYS.len());
        assert_eq!(used, tables);
    }

    #[test]
    fn a_variable_is_the_name_in_capitals_with_two_underscores_for_the_dot() {
        assert_eq!(IDLE.variable().as_deref(), Some("PVEGATE_SESSION__IDLE"));
        assert_eq!(SCHEMA.variable(), None);
    }

    #[test]
    fn every_key_says_what_it_does() {
        for key in KEYS {
            assert!(key.doc.ends_with('.'), "{}", key.name);
            assert!(key.default.is_some() || key.example.is_some(), "{}", key.name);
        }
    }
}
