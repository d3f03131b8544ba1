//! What holds, key by key, and where it was said.
//!
//! For people who ask why the gate does what it does: `pvegate config print`. No value here is a secret;
//! the keyed hashes of API tokens' secrets are left out all the same.

use std::{fmt, path::Path};

use super::{
    KEYS, Key, Problems, TABLES, check,
    env::Environment,
    file::{self, File, Value},
    keys::Table,
    problem::{Place, Severity, Source},
};

/// The value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Of a repeated table: which of its entries, from 0.
    pub entry: Option<usize>,
    /// The value as TOML.
    pub value: String,
    /// Who says so.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File {
        /// The file's name.
        file: String,
        /// From 1.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// Nobody says anything else.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Every key that has a value, in the order of the file. Keys of repeated tables come as often as the table.
///
/// # Errors
///
/// All that is wrong with the configuration: then nothing holds.
pub fn settings(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Setting>, Problems> {
    let environment = Environment::new(env);
    let name = path.display().to_string();
    let text =
        super::read(path, &name, environment.container).map_err(|problem| Problems::new(vec![problem]))?;
    let mut problems = Vec::new();
    let mut file = file::read(Source { name: &name, text: &text }, &mut problems);
    environment.overlay(&mut file, &mut problems);
    let config = check::check(&file, &environment, &Path::is_file, &mut problems);
    let problems = Problems::new(problems);
    if config.is_none() || problems.count(Severity::Error) > 0 {
        return Err(problems);
    }
    let mut settings = Vec::new();
    of_table(&file, None, None, &mut settings);
    for table in TABLES {
        if table.repeated {
            for (entry, file) in file.entries(table.name) {
                of_table(file, Some(table), Some(*entry), &mut settings);
            }
        } else {
            of_table(&file, Some(table), None, &mut settings);
        }
    }
    Ok(settings)
}

fn of_table(file: &File, table: Option<&'static Table>, entry: Option<usize>, settings: &mut Vec<Setting>) {
    for key in KEYS.iter().filter(|key| key.table() == table) {
        if let Some(item) = file.item(key) {
            let value = if is_hash(key) { "\"‹set›\"".to_owned() } else { toml(&item.value) };
            settings.push(Setting { key, entry, value, origin: origin(item.place) });
        }
    }
}

fn is_hash(key: &Key) -> bool {
    key.name.ends_with("_hash")
}

fn toml(value: &Value) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    match value {
        Value::Text(it) => text(it),
        Value::Number(it) => it.to_string(),
        Value::Flag(it) => it.to_string(),
        Value::List(list) => {
            let elements: Vec<_> = list.iter().map(|(it, _)| text(it)).collect();
            format!("[{}]", elements.join(", "))
        }
    }
}

fn origin(place: Place) -> Origin {
    match place {
        Place::Text { file, line, .. } => Origin::File { file, line },
        Place::File { file } => Origin::File { file, line: 1 },
        Place::Variable { name, .. } => Origin::Environment(name),
        Place::Default { .. } => Origin::Default,
    }
}
