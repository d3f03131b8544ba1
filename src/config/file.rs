//! The file as it is written.
//!
//! [`read`] takes the text apart and keeps every value with its place. It knows names and types from the
//! table of keys and believes every value: what a text means is for `check`. Whatever does not fit is a
//! problem and left out; reading always goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, Error},
};

use super::{
    keys::{KEYS, Key, Kind, TABLES, Table},
    problem::{Code, Place, Problem, Source, quoted},
};

/// A value as it is written, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value of one of the types that keys have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<(String, Place)>),
}

/// All values that are written, in the file or in one entry of a repeated table.
#[derive(Debug)]
pub(super) struct File {
    /// What stands for a key; `None` if that cannot be used.
    items: BTreeMap<&'static str, Option<Item>>,
    tables: BTreeMap<&'static str, Place>,
    /// The entries of repeated tables, each with its number, from 0.
    entries: BTreeMap<&'static str, Vec<(usize, File)>>,
    whole: Place,
    /// Whether a key that was not seen is known not to be written.
    complete: bool,
}

impl File {
    fn new(whole: Place, complete: bool) -> Self {
        Self { items: BTreeMap::new(), tables: BTreeMap::new(), entries: BTreeMap::new(), whole, complete }
    }

    /// The entries of a repeated table, each with its number: how many times its header stands above it.
    ///
    /// The keys of an entry are asked for as those of a file are.
    pub(super) fn entries(&self, table: &str) -> &[(usize, Self)] {
        self.entries.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a key: as written, else its default.
    ///
    /// `None` if what is written cannot be used, or a key without a default is not written, or it may
    /// stand in a part of the file that could not be read.
    pub(super) fn item(&self, key: &Key) -> Option<Item> {
        match self.items.get(key.name) {
            Some(item) => item.clone(),
            None if self.complete => default(key),
            None => None,
        }
    }

    /// Whether it is known that nobody wrote the key, rightly or wrongly.
    pub(super) fn lacks(&self, key: &Key) -> bool {
        self.complete && !self.items.contains_key(key.name)
    }

    /// Where a key would stand: its table, or the file.
    pub(super) fn home(&self, key: &Key) -> &Place {
        self.tables.get(key.split().0).unwrap_or(&self.whole)
    }

    /// Puts a value over what is written; `None` for one that cannot be used.
    pub(super) fn set(&mut self, key: &Key, item: Option<Item>) {
        self.items.insert(key.name, item);
    }
}

/// The default of a key as a value; `None` if it has none.
fn default(key: &Key) -> Option<Item> {
    let text = key.default?;
    let place = Place::Default { key: key.name, value: text };
    let value = DeValue::parse(text).ok()?;
    let value = typed(key.kind, value.get_ref(), &|_| place.clone()).ok()?;
    Some(Item { value, place })
}

/// Takes the text apart.
pub(super) fn read(source: Source<'_>, problems: &mut Vec<Problem>) -> File {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    let broken = Broken::new(source, &errors);
    broken.tell(source, errors, problems);
    let mut reader =
        Reader { source, file: File::new(source.whole(), broken.from.is_none()), broken, problems };
    reader.table("", document.get_ref());
    reader.file
}

/// What of a text with syntax errors cannot be relied on.
struct Broken {
    lines: BTreeSet<usize>,
    starts: Vec<usize>,
    /// Behind an error in the structure (a header, a bracket), keys may have lost their table.
    from: Option<usize>,
}

impl Broken {
    fn new(source: Source<'_>, errors: &[Error]) -> Self {
        let starts: Vec<usize> = errors.iter().map(start).collect();
        Self {
            lines: starts.iter().map(|at| source.line(*at)).collect(),
            from: errors.iter().filter(|it| !concerns_one_value(it)).map(start).min(),
            starts,
        }
    }

    /// Whether an entry with this name and value is to be left out: it was told already, or is in doubt.
    fn covers(&self, source: Source<'_>, name: Range<usize>, value: Range<usize>) -> bool {
        self.lines.contains(&source.line(name.start))
            || self.from.is_some_and(|from| name.start >= from)
            || self.starts.iter().any(|at| value.contains(at))
    }

    /// One problem a line. In a list that is never closed everything up to the end goes wrong: one for all.
    fn tell(&self, source: Source<'_>, mut errors: Vec<Error>, problems: &mut Vec<Problem>) {
        errors.sort_by_key(start);
        let unclosed = errors.iter().any(|it| it.message().starts_with("unclosed array"));
        let mut lines = BTreeSet::new();
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            if !lines.insert(source.line(at.start)) {
                continue;
            }
            let mut problem = Problem::new(Code::Syntax, error.message()).at(&source.place(at.clone()), "");
            if error.message().starts_with("string values must be quoted")
                && let Some(text) = source.text.get(at)
            {
                problem = problem.help(format!("in quotes: \"{text}\""));
            }
            let in_list = unclosed && error.message().contains("array");
            if in_list {
                problem = problem.help("a list that begins above this place is not closed with `]`");
            }
            problems.push(problem);
            if in_list {
                return;
            }
        }
    }
}

fn start(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

/// Whether an error leaves the rest of the file as it was meant. By the parser's wording: if that changes,
/// more of a broken file is in doubt, no less is told about it.
fn concerns_one_value(error: &Error) -> bool {
    ["string values must be quoted", "invalid ", "unexpected key or value", "duplicate key"]
        .iter()
        .any(|beginning| error.message().starts_with(beginning))
}

struct Reader<'a> {
    source: Source<'a>,
    file: File,
    broken: Broken,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &str, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let path = match table {
                "" => name.get_ref().to_string(),
                table => format!("{table}.{}", name.get_ref()),
            };
            let key = KEYS.iter().find(|key| key.name == path);
            // A table's own place is its header; what stands under it is judged entry by entry.
            let span = if holds_tables(value.get_ref()) { name.span() } else { value.span() };
            if self.broken.covers(self.source, name.span(), span) {
                if let Some(key) = key {
                    self.file.set(key, None);
                }
            } else if let Some(key) = key {
                self.value(key, value);
            } else if let Some(table) = TABLES.iter().find(|table| table.name == path) {
                if table.repeated { self.repeated(table, value) } else { self.subtable(table.name, value) }
            } else if let Some(table) = only_around(&path) {
                self.subtable(table, value);
            } else if holds_tables(value.get_ref()) {
                self.unknown_table(&path, name);
            } else {
                self.unknown_key(table, name);
            }
        }
    }

    fn subtable(&mut self, table: &'static str, value: &Spanned<DeValue<'_>>) {
        self.file.tables.insert(table, self.source.place(value.span()));
        if let DeValue::Table(entries) = value.get_ref() {
            self.table(table, entries);
            return;
        }
        let found = noun(value.get_ref());
        self.problems.push(
            Problem::new(Code::WrongType, format!("this is {found}, and `{table}` is a table"))
                .of(table)
                .at(&self.source.place(value.span()), "")
                .help(format!("its keys stand under [{table}], written once")),
        );
        for key in KEYS.iter().filter(|key| key.split().0 == table) {
            self.file.set(key, None);
        }
    }

    /// `[[table]]` as often as it stands, or `table = [{ … }, …]`, which is the same.
    fn repeated(&mut self, table: &'static Table, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(elements) = value.get_ref() else {
            self.not_repeated(table, table.name.to_owned(), value);
            return;
        };
        for (index, element) in elements.iter().enumerate() {
            let DeValue::Table(entries) = element.get_ref() else {
                self.not_repeated(table, format!("{}[{index}]", table.name), element);
                continue;
            };
            let place = self.source.place(element.span());
            let mut entry = File::new(place.clone(), self.file.complete);
            entry.tables.insert(table.name, place);
            // What is read goes into the entry while it is read.
            std::mem::swap(&mut self.file, &mut entry);
            self.table(table.name, entries);
            std::mem::swap(&mut self.file, &mut entry);
            self.file.entries.entry(table.name).or_default().push((index, entry));
        }
    }

    fn not_repeated(&mut self, table: &Table, name: String, value: &Spanned<DeValue<'_>>) {
        let found = noun(value.get_ref());
        self.problems.push(
            Problem::new(
                Code::WrongType,
                format!("this is {found}, and `{}` is a list of tables", table.name),
            )
            .of(name)
            .at(&self.source.place(value.span()), "")
            .help(format!("keys stand under {}, written once for each", table.header())),
        );
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let source = self.source;
        let place = source.place(value.span());
        let item = match typed(key.kind, value.get_ref(), &|span| source.place(span)) {
            Ok(value) => Some(Item { value, place }),
            Err(Mismatch::Whole(found)) => {
                let message = format!("this is {found}, and should be {}", wanted(key.kind));
                let mut problem = Problem::new(Code::WrongType, message).of(key.name).at(&place, "");
                if let Some(help) = correction(key, value.get_ref()) {
                    problem = problem.help(help);
                }
                self.problems.push(problem);
                None
            }
            Err(Mismatch::Elements(elements)) => {
                self.problems.extend(elements.into_iter().map(|(index, found, span)| {
                    Problem::new(Code::WrongType, format!("this is {found}, and should be text in quotes"))
                        .of(format!("{}[{index}]", key.name))
                        .at(&source.place(span), "")
                }));
                None
            }
        };
        self.file.set(key, item);
    }

    fn unknown_table(&mut self, path: &str, name: &Spanned<DeString<'_>>) {
        let help = match nearest(path, TABLES.iter().map(|table| table.name)) {
            Some(table) => format!("did you mean {}?", header(table)),
            None => {
                let all: Vec<_> = TABLES.iter().map(|table| table.name).collect();
                format!("the tables are {}", all.join(", "))
            }
        };
        self.problems.push(
            Problem::new(Code::UnknownTable, format!("there is no table {}", quoted(path)))
                .at(&self.source.place_of_name(name.span()), "")
                .help(help),
        );
    }

    fn unknown_key(&mut self, table: &str, name: &Spanned<DeString<'_>>) {
        let message = match table {
            "" => format!("there is no key {} above the tables", quoted(name.get_ref())),
            table => format!("there is no key {} in {}", quoted(name.get_ref()), header(table)),
        };
        self.problems.push(
            Problem::new(Code::UnknownKey, message)
                .at(&self.source.place_of_name(name.span()), "")
                .help(advice(table, name.get_ref())),
        );
    }
}

/// What somebody may have meant by a key that is not in a table.
fn advice(table: &str, name: &str) -> String {
    let homes: Vec<_> = KEYS.iter().map(Key::split).filter(|(_, key)| *key == name).collect();
    if let Some((home, _)) = homes.first() {
        return match *home {
            "" => format!("`{name}` stands above the first [table]"),
            home => format!("`{name}` belongs under {}", header(home)),
        };
    }
    if TABLES.iter().any(|table| table.name == name) {
        return format!("`{name}` is a table: its keys stand under {}", header(name));
    }
    let here = KEYS.iter().map(Key::split).filter(|(home, _)| *home == table).map(|(_, key)| key);
    if let Some(key) = nearest(name, here.clone()) {
        return format!("did you mean `{key}`?");
    }
    if let Some(key) = nearest(name, KEYS.iter().map(|key| key.split().1)) {
        let home = KEYS.iter().map(Key::split).find(|(_, it)| *it == key).map_or("", |(home, _)| home);
        return format!("did you mean `{key}` under {}?", header(home));
    }
    let here: Vec<_> = here.collect();
    match table {
        "" => format!("above the tables there is only {}", here.join(", ")),
        table if here.is_empty() => {
            let within = |it: &&Table| it.name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
            let tables: Vec<_> = TABLES.iter().filter(within).map(Table::header).collect();
            format!("in [{table}] there is only {}", tables.join(", "))
        }
        table => format!("{} has {}", header(table), here.join(", ")),
    }
}

/// The line above the keys of a table.
fn header(table: &str) -> String {
    TABLES.iter().find(|it| it.name == table).map_or_else(|| format!("[{table}]"), Table::header)
}

/// The table of this name that has no keys and is there only because tables stand in it.
fn only_around(path: &str) -> Option<&'static str> {
    TABLES.iter().find_map(|table| {
        let inner = table.name.strip_prefix(path)?;
        inner.starts_with('.').then(|| table.name.strip_suffix(inner)).flatten()
    })
}

/// The most similar of the candidates, if it is similar enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > 64 {
        return None;
    }
    let found = found.to_lowercase();
    let similarity = |candidate: &str| {
        // In short words two swapped letters are a slip, and most of the word.
        let slip = found.len() > 2 && strsim::osa_distance(&found, candidate) == 1;
        if slip { 0.95 } else { strsim::jaro_winkler(&found, candidate) }
    };
    candidates
        .map(|candidate| (similarity(&candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.83)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn holds_tables(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    }
}

/// A value of another type than the key's: what was found.
enum Mismatch {
    Whole(&'static str),
    /// The value is a list, as it should be, and these of its elements are no texts.
    Elements(Vec<(usize, &'static str, Range<usize>)>),
}

fn typed(kind: Kind, value: &DeValue<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Result<Value, Mismatch> {
    match (kind, value) {
        (Kind::Text | Kind::Path | Kind::Duration { .. } | Kind::Choice(_), DeValue::String(text)) => {
            Ok(Value::Text(text.to_string()))
        }
        (Kind::Number { .. }, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Number)
                .map_err(|_| Mismatch::Whole("a number beyond all bounds"))
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::List, DeValue::Array(items)) => {
            let (mut list, mut others) = (Vec::new(), Vec::new());
            for (index, item) in items.iter().enumerate() {
                match item.get_ref() {
                    DeValue::String(text) => list.push((text.to_string(), place(item.span()))),
                    other => others.push((index, noun(other), item.span())),
                }
            }
            if others.is_empty() { Ok(Value::List(list)) } else { Err(Mismatch::Elements(others)) }
        }
        (_, other) => Err(Mismatch::Whole(noun(other))),
    }
}

/// What a value of this kind looks like.
pub(super) fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Path | Kind::Choice(_) => "text in quotes",
        Kind::Duration { .. } => "a duration in quotes such as \"12h\"",
        Kind::Number { .. } => "a whole number",
        Kind::Flag => "true or false",
        Kind::List => "a list of texts in brackets",
    }
}

fn noun(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The line that was probably meant.
fn correction(key: &Key, value: &DeValue<'_>) -> Option<String> {
    let (_, name) = key.split();
    match (key.kind, value) {
        (Kind::List, DeValue::String(text)) => Some(format!("{name} = [{text:?}]")),
        (Kind::Duration { .. }, DeValue::Integer(number)) => {
            Some(format!("with a unit: {name} = \"{number}s\" for seconds, \"{number}m\" for minutes"))
        }
        (Kind::Number { .. }, DeValue::String(text)) if text.parse::<u32>().is_ok() => {
            Some(format!("without quotes: {name} = {text}"))
        }
        (Kind::Flag, DeValue::String(text)) if matches!(&**text, "true" | "false") => {
            Some(format!("without quotes: {name} = {text}"))
        }
        _ => None,
    }
}
