//! The fields of what verbs print with `--json`: the interface of scripts. The manual and
//! docs/command-line.md are written from this table, and a test holds every verb to its row.
//!
//! Names that were released stay. Times are RFC 3339 in UTC; what is not there is null.

/// A field of a verb's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub means: &'static str,
}

const fn field(name: &'static str, means: &'static str) -> Field {
    Field { name, means }
}

/// The fields of a verb, if it is one.
pub(super) fn of(verb: &str) -> Option<&'static [Field]> {
    FIELDS.iter().find(|(of, _)| *of == verb).map(|(_, fields)| *fields)
}

const USER: Field = field("user", "name of the user");
const ENDED: Field = field("ended", "sessions that ended");
const CREATED: Field = field("created_at", "when it was made");
const INVITATION: &[Field] = &[
    USER,
    field("enrol_url", "the link; absent where none was made"),
    field("expires_at", "until when it works; absent where none was made"),
];
const BAN: &[Field] = &[
    field("network", "what is banned"),
    field("automatic", "whether the gate did it by itself"),
    field("reason", "why"),
    CREATED,
    field("expires_at", "until when; null: until it is removed"),
    field("before", "bans of this network that were over within a week before"),
];
const RULE: &[Field] = &[
    field("rule", "its number, from 0"),
    field("token", "the API token as Proxmox VE names it"),
    field("secret_hash", "hash of its secret, under the master key"),
    field("from", "networks that it may be used from"),
    field("methods", "methods that it may use"),
    field("paths", "patterns of the calls that it may make"),
    field("rate", "requests: so many at once, and as many a minute"),
    field("not_before", "from when on it is good"),
    field("not_after", "until when it is good"),
];

/// An event of the audit log, as the file has it.
const EVENT: &[Field] = &[
    field("@timestamp", "when"),
    field("ecs", "version of the Elastic Common Schema that the names are of"),
    field("event", "action, outcome, reason, class"),
    field("service", "this program and its version"),
    field("source", "from where; absent where nobody asked over the network"),
    field("user", "whom it concerns; absent where it is nobody"),
    field("destination", "the node of Proxmox VE; absent where there was none"),
    field(
        "pvegate",
        "what has no name in that schema: method, session, reason in one word, place in the chain",
    ),
];

/// Every verb, and the fields of its object or, for lists, of each of its objects.
pub const FIELDS: &[(&str, &[Field])] = &[
    (
        "pvegate demo",
        &[
            field("url", "where the gate is"),
            field("enrol_url", "the link to enrol with"),
            field("ca", "file with the certificate of its authority"),
            field("dir", "where everything is"),
        ],
    ),
    (
        "pvegate serve",
        &[
            field("url", "where the gate is, for browsers; printed once it listens"),
            field("upstream", "addresses of the servers behind it"),
        ],
    ),
    (
        "pvegate check",
        &[
            field("check", "what was looked at"),
            field("severity", "how it is: ok, or how grave"),
            field("text", "what was found"),
            field("hint", "what to do about it"),
            field("fixable", "whether --fix mends it"),
            field("fixed", "what --fix has mended; then instead of text, hint and fixable"),
        ],
    ),
    (
        "pvegate config validate",
        &[
            field("file", "the file"),
            field("valid", "whether it is right"),
            field("problems", "what is wrong or doubtful: code, severity, key, message, text"),
        ],
    ),
    ("pvegate config print", &[field("settings", "each: key, entry, value, origin")]),
    ("pvegate config print-default", &[field("file", "the file, as text")]),
    (
        "pvegate config explain",
        &[
            field("key", "the key; then doc, value, default, example and variable follow"),
            field("table", "or the table; then doc and keys follow"),
            field("code", "or the code of a problem; then explanation follows"),
        ],
    ),
    ("pvegate config schema", &[field("$schema", "the whole is a JSON Schema")]),
    (
        "pvegate status",
        &[
            field("version", "of the gate that answers"),
            field("commit", "that it was built from"),
            field("pid", "number of its process"),
            field("at", "when it answered"),
            field("started_at", "since when it runs"),
            field("url", "where people find it"),
            field("listen", "addresses that it listens at"),
            field("ready", "whether it lets anybody through"),
            field("trouble", "what keeps it from that, in words of one kind each"),
            field("connections", "connections that are open"),
            field("websockets", "consoles and other WebSockets that are open"),
            field("sessions", "sessions that are alive"),
            field(
                "users",
                "how many are active, pending, disabled, enrolled; null if the store does not say",
            ),
            field("bans", "bans in force; null if the store does not say"),
            field("upstream", "each node of Proxmox VE, and whether it is up"),
            field(
                "clock_offset_millis",
                "how far the clock of Proxmox VE is ahead; null if that is not known",
            ),
            field("certificates", "each certificate: role, not_after, days_left"),
            field("config", "read_at, and whether the last reload was taken"),
            field("audit_write_errors", "events that could not be written"),
        ],
    ),
    ("pvegate healthcheck", &[field("healthy", "true; otherwise the exit code is not 0")]),
    ("pvegate audit tail", EVENT),
    ("pvegate audit search", EVENT),
    (
        "pvegate audit verify",
        &[
            field("lines", "lines that were read"),
            field("first", "sequence and hash of the first event; null without one"),
            field("last", "sequence and hash of the last event that is whole; null without one"),
            field("seals", "whether the master key was there to check the seals"),
            field("broken", "file, line, last whole event and problem of the first flaw; null without one"),
            field("missing", "the hash of --contains, if no line has it; null otherwise"),
        ],
    ),
    ("pvegate audit export", EVENT),
    (
        "pvegate backup",
        &[
            field("file", "what was written"),
            field("bytes", "its length"),
            field("users", "people in it"),
            field("sessions", "sessions in it"),
            field("schema", "of the database in it"),
            field("sha256", "of the file"),
        ],
    ),
    (
        "pvegate restore",
        &[
            field("file", "what was read"),
            field("made_at", "when it was made"),
            field("version", "of the program that made it"),
            field("url", "of the gate that it is of"),
            field("bytes", "its length"),
            field("users", "people in it"),
            field("sessions", "sessions in it"),
            field("schema", "of the database in it"),
            field("sha256", "of the file"),
            field("restored", "whether it was put in place; false with --verify"),
        ],
    ),
    ("pvegate user add", INVITATION),
    ("pvegate user list", PERSON),
    ("pvegate user show", EVERYTHING),
    (
        "pvegate user unlock",
        &[
            USER,
            field("rows", "sources and devices whose rows of wrong codes were forgotten"),
            field("wrong_codes", "wrong codes since the last success that were forgotten"),
            field("guesses", "guesses of the year that were forgotten"),
        ],
    ),
    ("pvegate user disable", &[USER, ENDED]),
    ("pvegate user enable", &[USER]),
    ("pvegate user rename", &[field("user", "the new name"), field("before", "the old name")]),
    ("pvegate user role", &[USER, field("role", "admin or user")]),
    ("pvegate user group", &[USER, field("groups", "every group they are in now")]),
    ("pvegate user delete", &[USER, field("deleted", "true"), ENDED]),
    ("pvegate invite", INVITATION),
    ("pvegate invite list", LINK),
    ("pvegate invite revoke", &[USER, field("revoked", "links that worked until then")]),
    (
        "pvegate factor list",
        &[
            field("id", "identifier"),
            USER,
            field("kind", "passkey, security-key or totp"),
            field("name", "what its owner calls it"),
            field("synced", "whether a provider keeps it on several devices; null for an app"),
            CREATED,
            field("last_used_at", "when it was last used"),
        ],
    ),
    (
        "pvegate factor rename",
        &[field("id", "identifier"), USER, field("name", "the new name"), field("before", "the old name")],
    ),
    (
        "pvegate factor delete",
        &[
            USER,
            field("removed", "sign-in methods that are gone"),
            field("left", "sign-in methods that are left"),
            field("sessions_ended", "sessions that ended"),
        ],
    ),
    (
        "pvegate recovery-codes status",
        &[USER, field("left", "codes that were not used"), field("of", "codes in the set")],
    ),
    ("pvegate recovery-codes renew", &[USER, field("codes", "the codes; they are not shown again")]),
    ("pvegate panic", &[USER, field("sessions_ended", "sessions that ended")]),
    (
        "pvegate session list",
        &[
            field("id", "identifier"),
            USER,
            field("method", "totp, passkey, security-key or recovery"),
            field("scope", "full, or enrol-only: it may only set up a sign-in method"),
            field("client", "address of the sign-in"),
            field("user_agent", "the browser's words about itself"),
            field("created_at", "when it was opened"),
            field("last_active_at", "when somebody was last at work in it, as far as written down"),
            field("expires_at", "when it ends at the latest"),
        ],
    ),
    ("pvegate session revoke", &[ENDED, field("ids", "their identifiers")]),
    (
        "pvegate activity",
        &[
            field("at", "when"),
            field("action", "what happened: the action of the audit log"),
            field("outcome", "success or failure"),
            field("client", "from where; null for the command line"),
            field("new_address", "whether nobody had signed in to the account from there before"),
            field("method", "by which sign-in method"),
            field("session", "identifier of the session it concerns"),
            field("reason", "why, in one word"),
        ],
    ),
    ("pvegate api add", RULE),
    ("pvegate api list", RULE),
    ("pvegate api remove", &[field("token", "the API token"), field("removed", "rules that are gone")]),
    (
        "pvegate access explain",
        &[
            field("address", "from where, as asked"),
            USER,
            field("token", "the API token, as asked"),
            field("method", "the method, as asked"),
            field("path", "the path, as asked"),
            field("verdict", "forwarded, answered, sign-in or refused"),
            field("decided_by", "key of the configuration, or rule of the program, that decides"),
            field("why", "the reason, in words"),
            field("steps", "every question on the way: asked, by, outcome, why"),
            field(
                "demands",
                "what policies demand of the user there, and how the user stands to it; null without one",
            ),
        ],
    ),
    ("pvegate ban list", BAN),
    ("pvegate ban add", BAN),
    ("pvegate ban remove", &[field("network", "what was banned"), field("banned", "false")]),
    (
        "pvegate fingerprint",
        &[
            field("host", "who was asked"),
            field("port", "at which port"),
            field(
                "chain",
                "its certificates: fingerprint, subject, issuer, not_before, not_after, names, is_ca",
            ),
            field("pinned", "the fingerprint of the configuration; null where another server was asked"),
        ],
    ),
    (
        "pvegate lockdown",
        &[
            field("state", "printed, applied, confirmed or open"),
            field("inside", "addresses and networks that the ports answer; null with --confirm and --revert"),
            field("nft", "the rules; null if they were not asked for"),
            field("pveproxy", "the lines for /etc/default/pveproxy; null if they were not asked for"),
            field("reverts_at", "when the ports open again by themselves; null: not by themselves"),
        ],
    ),
    (
        "pvegate export",
        &[
            field("file", "its name, below a directory of the program that it is for"),
            field("text", "what is in it"),
            field("written", "where it was written to; null without --to"),
        ],
    ),
    (
        "pvegate version",
        &[
            field("version", "of this program"),
            field("system", "what it was built for"),
            field("machine", "what it was built for"),
            field("schema", "of the databases that it reads"),
        ],
    ),
    ("pvegate completions", &[field("shell", "which shell"), field("script", "what it is to source")]),
    ("pvegate man", &[field("page", "a file that was written")]),
];

const LINK: &[Field] =
    &[USER, field("purpose", "enrol or recover"), CREATED, field("expires_at", "until when it works")];

/// What is told of somebody in a list, and more after it.
macro_rules! person {
    ($($more:expr),* $(,)?) => {
        &[
            field("name", "name of the user"),
            field("admin", "whether they are an administrator of the gate"),
            field("groups", "the groups they are in, by which policies name people"),
            field(
                "state",
                "active, disabled, invited, invitation-expired, invitation-revoked or not-invited",
            ),
            field("invited_until", "until when the link of somebody without a method works"),
            field("passkeys", "how many"),
            field("security_keys", "how many"),
            field("totp", "how many authenticator apps"),
            field("recovery_codes", "left and of: codes that were not used, of how many"),
            field("created_at", "when they were added"),
            field("last_sign_in_at", "when one of their methods was last used"),
            $($more,)*
        ]
    };
}

const PERSON: &[Field] = person![];

const EVERYTHING: &[Field] = person![
    field("disabled_at", "since when they may not sign in"),
    field("last_active_at", "when they were last at work in a session that is open"),
    field("password", "whether they have a password of the gate"),
    field("methods", "sign-in methods, each as `pvegate factor list` has it"),
    field("invitation", "the link that works, as `pvegate invite list` has it"),
    field("sessions", "open sessions, each as `pvegate session list` has it"),
    field("known_devices", "how many devices that signed in before"),
    field(
        "lock",
        "whether codes are locked on devices that never signed in: state (none, sources, device-only or \
         year-budget), sources, wrong_codes since the last success, guesses_left within the year",
    ),
];
