//! What is wrong with a configuration, and how it is told.
//!
//! A [`Problem`] has a stable [`Code`], a sentence, the places it is about and what would be right. Its
//! `Display` is what a good compiler prints: the place, the line, a caret. Nothing here knows a key.
//!
//! Configuration holds no secrets (they come from files), so values are quoted; the exception are keys
//! and variables that we do not know, whose values are left out: they may be somebody's misplaced password.

use std::{fmt, ops::Range};

/// Whether the gate can run with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// There is no configuration.
    Error,
    /// There is one; probably not the one that was meant.
    Warning,
}

macro_rules! codes {
    ($($variant:ident $id:literal $text:literal)*) => {
        /// The stable name of a kind of problem. A code, once given away, never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $text] $variant,)*
        }

        impl Code {
            /// Every code, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name: `E` or `W` and four digits.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// What it means and what to do, for `config explain`.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    FileMissing "E0101" "There is no configuration file at the path that was given or assumed."
    FileUnreadable "E0102" "The configuration file is there and could not be read: often its owner or mode; or it is a directory, or larger than a configuration can be."
    NotUtf8 "E0103" "A configuration file is UTF-8 text. An editor can save it as such."
    Syntax "E0104" "The file is not TOML. The message says what was expected at that place. While such an error stands, what follows it in the file is not judged."
    UnknownTable "E0105" "There is no table of that name. Unknown names are errors, not ignored: a setting that was misspelt would silently stay at its default."
    UnknownKey "E0106" "There is no key of that name in that table. In TOML a key belongs to the last `[table]` above it, so a top-level key must stand above the first table."
    WrongType "E0107" "The value has the wrong type: text stands in quotes, lists in brackets, numbers and true or false stand alone."
    UnknownVariable "E0108" "An environment variable that begins with PVEGATE_ and contains two underscores sets the key of that name, and there is no such key. Variables without two underscores are ignored, because orchestrators make their own (PVEGATE_PORT)."
    Schema "E0109" "The file was written for another version of this format."
    Missing "E0110" "A key that has no default is not set, neither in the file nor in the environment."
    BadDuration "E0201" "A duration is one whole number and one unit without a space: 250ms, 90s, 15m, 12h, 400d."
    OutOfRange "E0202" "The value is of the right kind and outside of what works."
    BadListen "E0203" "A listening address is an IP address and a port, such as `0.0.0.0:443` or `[::]:443`. Names are not resolved."
    BadPublicUrl "E0204" "The public URL is the one origin that browsers may use: https, a host name, perhaps a port, nothing else."
    BadUpstreamUrl "E0205" "The upstream's URL is https, a host name or address, perhaps a port (8006 if none), nothing else. Plain http is not spoken: the password of Proxmox VE passes there."
    BadFingerprint "E0206" "A fingerprint is the SHA-256 digest of the certificate: 32 bytes in hexadecimal, with or without colons, as Proxmox VE shows it under Node, System, Certificates."
    BadNetwork "E0207" "A network is an address and a prefix length, such as 10.0.0.0/8 or fd00::/8. A single address has the length 32 (IPv4) or 128 (IPv6)."
    BadFieldName "E0208" "The name is no name of a request field, or of one that has another meaning between client and server."
    BadChoice "E0209" "Only the listed values are known."
    BadLogLevel "E0210" "A log level is off, error, warn, info, debug or trace; or a list such as info,pvegate::gate=debug."
    BadPath "E0211" "A path is absolute, because the directory that a service runs in is nobody's choice, and names a file."
    BadContact "E0212" "The contact is one short line of plain text."
    Twice "E0213" "The same address is listed twice, and it can be bound only once."
    BadToken "E0214" "The name of an API token is user@realm!name, as Proxmox VE shows it."
    BadSecretHash "E0215" "The hash of a token's secret is 64 hexadecimal digits, made by `pvegate api add`: it depends on the master key. The secret itself never stands in the configuration."
    BadPattern "E0216" "A path pattern begins with `/` and has whole segments: text that stands for itself, `*` for any one segment, `**` at the end for one or more."
    BadTime "E0217" "A point in time is a date, a time and an offset (RFC 3339), such as 2027-01-31T00:00:00Z."
    BadAlias "E0218" "An alias is a host name or an address, perhaps with a port (443 if none), as clients write it into the Host field."
    BadCollector "E0225" "A syslog collector is udp://HOST:PORT, tcp://HOST:PORT or tcp+tls://HOST:PORT."
    BadName "E0226" "A name of a user or group is 1 to 32 of a-z, 0-9, `.`, `_` and `-`; that of a policy is one short line."
    NoTrust "E0301" "The gate never speaks to an upstream whose certificate it cannot check: it needs the certificate's fingerprint or the authority that issued it."
    TwoTrusts "E0302" "Both a fingerprint and an authority are set. They answer the same question, and it must be clear which one decides."
    NoCertificate "E0303" "With tls.source = \"files\" the gate needs to know the files."
    IdleOverLifetime "E0304" "A session cannot be idle for longer than it lasts."
    NobodyAllowed "E0305" "With an empty list nobody could connect."
    AllowUnset "E0306" "In a container the default list of private networks would admit everybody: connections come from the bridge's gateway. So there the list has no default."
    SameFile "E0307" "Two keys name the same file; each would overwrite what the other keeps there."
    NoMethod "E0308" "Without passkeys and without authenticator apps there is no way to sign in."
    RuleForNothing "E0309" "A rule with an empty list lets nothing through. To take a token's rights away, remove its rule."
    NeverGood "E0310" "The rule ends before it begins."
    TwoUpstreams "E0311" "One node stands under `[upstream]`; the nodes of a cluster each have a `[[upstream.node]]`. Both at once leave open which ones serve."
    SameNode "E0312" "The same node is listed twice. Each node of a cluster has one [[upstream.node]]."
    PolicyForNothing "E0313" "A policy demands something: a sign-in that is strong enough (require), sessions that end earlier, networks to work from. One that demands nothing would only look as if it did."
    PolicyUnmeetable "E0314" "What the policy requires is switched off by other settings, so that everybody whom it concerns would be locked out."
    PolicyLonger "E0315" "A policy only takes. All policies that apply hold together, beside `[session]`, and the shortest limit wins; a longer one would have no effect."
    SameName "E0316" "Reports name a policy by its name, so each has its own."
    NoPeers "E0321" "Where the PROXY protocol is spoken, only listed peers may connect; with none listed, nobody could."
    TrustsEverybody "E0322" "A trusted peer says who its clients are, and is believed. If that is everybody, the lists of networks, the limits and the audit log mean nothing."
    PublicAddress "W0401" "Passkeys are bound to a host name; a browser refuses to make or use one on an address. One-time codes still work."
    HostBits "W0402" "The address has bits set behind the prefix length. The network is taken without them; if a single address was meant, its length is 32 or 128."
    EverybodyDenied "W0403" "deny wins over allow, and covers all of it: nobody can connect."
    NoEffect "W0404" "The key is set, and another setting makes it have no effect."
    UpstreamIsSelf "W0405" "The upstream has the host and port of the public URL. Unless the gate's host resolves that name differently, the gate would forward to itself."
    PolicyShutsOut "W0406" "The networks that the policy is for and those that it allows have nothing in common: whoever it concerns is refused there. That can be meant; deny in `[access]` does the same for everybody."
}

impl Code {
    /// Whether the gate can run with it; the first letter of [`Code::id`].
    #[must_use]
    pub fn severity(self) -> Severity {
        if self.id().starts_with('W') { Severity::Warning } else { Severity::Error }
    }

    /// The code of that name, in any case.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Some characters of the file. Lines and columns count from 1, columns in characters.
    Text { file: String, line: usize, column: usize, snippet: String, indent: usize, width: usize },
    /// An environment variable. The underlined part, in characters, is within the value.
    Variable { name: String, value: Option<String>, indent: usize, width: usize },
    /// The file as a whole.
    File { file: String },
    /// Nowhere: the default of a key, as TOML.
    Default { key: &'static str, value: &'static str },
}

impl Place {
    /// The same place, without what is written there: it may be a secret that was put in the wrong place.
    pub(super) fn without_line(&self) -> Self {
        match self {
            Self::Text { file, line, column, .. } => Self::Text {
                file: file.clone(),
                line: *line,
                column: *column,
                snippet: "…".to_owned(),
                indent: 0,
                width: 1,
            },
            Self::Variable { .. } | Self::File { .. } | Self::Default { .. } => self.clone(),
        }
    }

    /// The file and the line, for reports.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Text { file, line, .. } => format!("{file}:{line}"),
            Self::Variable { name, .. } => name.clone(),
            Self::File { file } => file.clone(),
            Self::Default { key, .. } => (*key).to_owned(),
        }
    }

    /// Whether somebody wrote it.
    pub(super) fn is_written(&self) -> bool {
        !matches!(self, Self::Default { .. })
    }

    /// Errors in the file's order, then what has no line.
    fn rank(&self) -> (u8, usize, usize) {
        match self {
            Self::Text { line, column, .. } => (0, *line, *column),
            Self::File { .. } => (1, 0, 0),
            Self::Variable { .. } => (2, 0, 0),
            Self::Default { .. } => (3, 0, 0),
        }
    }
}

/// One thing that is wrong, or probably wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    key: Option<String>,
    message: String,
    labels: Vec<(Place, String)>,
    help: Vec<String>,
}

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, key: None, message: message.into(), labels: Vec::new(), help: Vec::new() }
    }

    /// The key that it is about, as `table.key` or `table.key[0]`.
    pub(super) fn of(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A place that it is about, and what stands there. The first is the one to change.
    pub(super) fn at(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.labels.push((place.clone(), label.into()));
        self
    }

    /// What would be right.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Its kind.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// A key of a repeated table is that of its entry with this number: `table.key` becomes
    /// `table[number].key`.
    pub(super) fn number(&mut self, table: &str, number: usize) {
        if let Some(rest) = self.key.as_deref().and_then(|key| key.strip_prefix(table))
            && (rest.is_empty() || rest.starts_with('.'))
        {
            self.key = Some(format!("{table}[{number}]{rest}"));
        }
    }

    /// The key that it is about, as `session.idle` or `access.allow[1]`; `None` if it is about none.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What was found, in one sentence without the key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Several lines, without a line feed at the end.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: ", self.code)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;

        let gutter = self.labels.iter().map(|(place, _)| match place {
            Place::Text { line, .. } => line.to_string().len(),
            Place::Variable { .. } | Place::File { .. } | Place::Default { .. } => 1,
        });
        let gutter = gutter.max().unwrap_or(1);
        for (place, label) in &self.labels {
            match place {
                Place::Text { file, line, column, snippet, indent, width } => {
                    write!(f, "\n{:gutter$}--> {file}:{line}:{column}\n{:gutter$} |", "", "")?;
                    write!(f, "\n{line:gutter$} | {snippet}")?;
                    write!(f, "\n{:gutter$} | {:indent$}{:^<width$}", "", "", "")?;
                    if !label.is_empty() {
                        write!(f, " {label}")?;
                    }
                }
                Place::Variable { name, value, indent, width } => {
                    let text = format!("{name}={}", value.as_deref().unwrap_or("…"));
                    let (indent, width) = match value {
                        Some(_) => (indent + name.chars().count() + 1, *width),
                        None => (0, name.chars().count()),
                    };
                    write!(f, "\n{:gutter$}--> environment\n{:gutter$} |\n{:gutter$} | {text}", "", "", "")?;
                    write!(f, "\n{:gutter$} | {:indent$}{:^<width$}", "", "", "")?;
                    if !label.is_empty() {
                        write!(f, " {label}")?;
                    }
                }
                Place::File { file } => {
                    write!(f, "\n{:gutter$}--> {file}", "")?;
                    if !label.is_empty() {
                        write!(f, "\n{:gutter$} = {label}", "")?;
                    }
                }
                Place::Default { key, value } => {
                    write!(f, "\n{:gutter$} = default: {key} = {value}", "")?;
                    if !label.is_empty() {
                        write!(f, " ({label})")?;
                    }
                }
            }
        }
        for help in &self.help {
            write!(f, "\n{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Everything that was found in a configuration that cannot be used; at least one [`Severity::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// In the order in which they are told: errors in the order of the file, then warnings.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|it| (it.code.severity(), it.labels.first().map(|(place, _)| place.rank())));
        Self(problems)
    }

    /// All of them, in the order in which they are told.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|it| it.code.severity() == severity).count()
    }
}

/// All problems with an empty line between them, and a last line with their number.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            write!(f, "{problem}\n\n")?;
        }
        let plural = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            _ => format!("{number} {word}s"),
        };
        write!(f, "configuration has {}", plural(self.count(Severity::Error), "error"))?;
        match self.count(Severity::Warning) {
            0 => Ok(()),
            warnings => write!(f, " and {}", plural(warnings, "warning")),
        }
    }
}

impl std::error::Error for Problems {}

/// The text of a file, to find places in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

/// Characters of a line that are shown at most.
const LINE: usize = 140;

impl Source<'_> {
    /// The characters at these bytes; of several lines, the part on the first.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        self.place_in_line(span, false)
    }

    /// The same, without what follows on the line: it is not ours to show.
    pub(super) fn place_of_name(&self, span: Range<usize>) -> Place {
        self.place_in_line(span, true)
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        Place::File { file: self.name.to_owned() }
    }

    /// The number of the line that this byte is on, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn place_in_line(&self, span: Range<usize>, only: bool) -> Place {
        let start = floor(self.text, span.start);
        let end = floor(self.text, span.end.max(start));
        let (before, after) = self.text.split_at(start);
        let lead = before.rsplit('\n').next().unwrap_or_default();
        let tail = after.split('\n').next().unwrap_or_default();
        let tail = tail.strip_suffix('\r').unwrap_or(tail);
        let (marked, rest) = tail.split_at(floor(tail, end - start));

        let marked_width = marked.chars().count();
        let mut indent = lead.chars().count();
        let column = indent + 1;
        let mut snippet: String = lead.chars().chain(marked.chars()).map(visible).collect();
        match only {
            true if matches!(rest.trim(), "" | "]" | "]]") => snippet.push_str(rest),
            true if rest.trim_start().starts_with('=') => snippet.push_str(" = …"),
            true => snippet.push_str(" …"),
            false => snippet.extend(rest.chars().map(visible)),
        }
        if snippet.chars().count() > LINE {
            let skip = indent.saturating_sub(LINE / 2);
            let more = snippet.chars().count() > skip + LINE;
            let window: String = snippet.chars().skip(skip).take(LINE).collect();
            let (left, right) = (if skip > 0 { "…" } else { "" }, if more { "…" } else { "" });
            snippet = format!("{left}{window}{right}");
            indent = indent - skip + left.chars().count();
        }
        let room = snippet.chars().count().saturating_sub(indent);
        let width = marked_width.min(room).max(1);
        Place::Text {
            file: self.name.to_owned(),
            line: self.line(start),
            column,
            snippet: snippet.trim_end().to_owned(),
            indent,
            width,
        }
    }
}

/// The nearest start of a character at or before this byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One character for one, so that carets stay in place; nothing that a terminal would obey.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_format(c) => '\u{fffd}',
        c => c,
    }
}

/// Characters that reorder or hide what stands around them.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A value for a sentence: in backticks, at most 80 characters, nothing that a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(80).map(visible).collect();
    let more = if text.chars().count() > 80 { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// A value of a variable as a place, all of it underlined.
pub(super) fn variable(name: &str, value: &str) -> Place {
    let value: String = value.chars().take(LINE).map(visible).collect();
    let width = value.chars().count().max(1);
    Place::Variable { name: name.to_owned(), value: Some(value), indent: 0, width }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_an_explanation() {
        let ids: BTreeSet<_> = Code::ALL.iter().map(|code| code.id()).collect();

        assert_eq!(ids.len(), Code::ALL.len());
        for code in Code::ALL {
            let (letter, digits) = code.id().split_at(1);
            assert!(matches!(letter, "E" | "W") && digits.len() == 4, "{code}");
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            assert!(code.explanation().ends_with('.'), "{code}");
            assert_eq!(Code::find(&code.id().to_lowercase()), Some(*code));
        }
        assert_eq!(Code::find("E9999"), None);
    }

    #[test]
    fn a_caret_stands_under_what_is_meant() {
        let source = Source { name: "f", text: "a = 1\r\n\tbä = \"ü\" # x\r\n" };
        let at = source.text.find("\"ü\"").unwrap();

        let problem = Problem::new(Code::Syntax, "odd").at(&source.place(at..at + 4), "here");

        assert_eq!(
            problem.to_string(),
            "error[E0104]: odd\n --> f:2:7\n  |\n2 |  bä = \"ü\" # x\n  |       ^^^ here"
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_around_the_caret() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let source = Source { name: "f", text: &text };

        let Place::Text { column, snippet, indent, width, .. } = source.place(500..501) else { panic!() };

        assert_eq!((column, width), (501, 1));
        assert_eq!(snippet.chars().nth(indent), Some('X'));
        assert!(snippet.starts_with('…') && snippet.ends_with('…') && snippet.chars().count() <= LINE + 2);
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let source = Source { name: "f", text: "a = \u{1b}[2J\u{202e}" };

        let shown =
            Problem::new(Code::Syntax, quoted("\u{1b}]0;x\u{7}")).at(&source.place(4..5), "").to_string();

        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown:?}");
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_has_a_place(text in "(?s).{0,300}", a in 0_usize..400, b in 0_usize..400) {
            let source = Source { name: "f", text: &text };

            let problem = Problem::new(Code::Syntax, "odd").at(&source.place(a..b), "");
            let hidden = Problem::new(Code::Syntax, "odd").at(&source.place_of_name(a..b), "");

            prop_assert!(problem.to_string().contains('^'));
            prop_assert!(hidden.to_string().contains('^'));
        }
    }
}
