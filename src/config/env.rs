//! The environment over the file: `PVEGATE_SESSION__IDLE=30m` sets `session.idle`.
//!
//! Two underscores stand for the dot. Variables without them are not ours to judge, because orchestrators
//! make some of their own (`PVEGATE_PORT`); unknown ones with them are errors. Texts are taken as they
//! are; lists are JSON or separated by commas. The environment is an argument: nothing here reads it.

use super::{
    file::{File, Item, Value, nearest, wanted},
    keys::{KEYS, Key, Kind},
    problem::{Code, Place, Problem, quoted, variable},
};

/// Set by the container image: there, `access.allow` has no default.
const CONTAINER: &str = "PVEGATE_CONTAINER";

/// Set by systemd for units with credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Variables that matter here.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Those that set keys, in the order of their names.
    overrides: Vec<(String, String)>,
    /// Whether this is a container of ours.
    pub(super) container: bool,
    /// Where systemd put credentials.
    pub(super) credentials: Option<String>,
}

impl Environment {
    /// Picks them out of all variables.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            match &*name {
                CONTAINER => environment.container = value == "1",
                CREDENTIALS if !value.is_empty() => environment.credentials = Some(value),
                _ if name.strip_prefix("PVEGATE_").is_some_and(|rest| rest.contains("__")) => {
                    environment.overrides.push((name, value));
                }
                _ => {}
            }
        }
        environment.overrides.sort();
        environment
    }

    /// Puts them over the file's values.
    pub(super) fn overlay(&self, file: &mut File, problems: &mut Vec<Problem>) {
        for (name, value) in &self.overrides {
            let Some(key) = KEYS.iter().find(|key| key.variable().as_ref() == Some(name)) else {
                problems.push(unknown(name));
                continue;
            };
            let place = variable(name, value);
            match parse(key, name, value) {
                Ok(value) => file.set(key, Some(Item { value, place })),
                Err(message) => {
                    problems.push(Problem::new(Code::WrongType, message).of(key.name).at(&place, ""));
                    file.set(key, None);
                }
            }
        }
    }
}

fn unknown(name: &str) -> Problem {
    let variables: Vec<_> = KEYS.iter().filter_map(Key::variable).collect();
    let help = match nearest(name, variables.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "a variable is PVEGATE_, the table, two underscores, the key, in capitals".to_owned(),
    };
    let place = Place::Variable { name: name.to_owned(), value: None, indent: 0, width: 0 };
    Problem::new(Code::UnknownVariable, format!("variable {} sets no key", quoted(name)))
        .at(&place, "")
        .help(help)
}

fn parse(key: &Key, name: &str, text: &str) -> Result<Value, String> {
    let wrong = || format!("{} should be {}", quoted(text), wanted(key.kind));
    match key.kind {
        Kind::Text | Kind::Path | Kind::Duration { .. } | Kind::Choice(_) => Ok(Value::Text(text.to_owned())),
        Kind::Number { .. } => text.trim().parse().map(Value::Number).map_err(|_| wrong()),
        Kind::Flag => match text.trim() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(wrong()),
        },
        Kind::List => {
            let texts: Vec<String> = match text.trim() {
                "" => Vec::new(),
                list if is_json(list) => serde_json::from_str(list)
                    .map_err(|error| format!("this list is not JSON such as [\"a\", \"b\"]: {error}"))?,
                list => list.split(',').map(|part| part.trim().to_owned()).collect(),
            };
            Ok(Value::List(texts.into_iter().map(|it| (it.clone(), part(name, text, &it))).collect()))
        }
    }
}

/// A list of texts in JSON begins so; `[::]:443` does not.
fn is_json(list: &str) -> bool {
    list.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', ']']))
}

/// The place of one element in a list.
fn part(name: &str, list: &str, element: &str) -> Place {
    let mut place = variable(name, list);
    if let Place::Variable { value: Some(value), indent, width, .. } = &mut place
        && let Some((before, _)) = list.split_once(element)
    {
        let (from, length) = (before.chars().count(), element.chars().count());
        if length > 0 && from + length <= value.chars().count() {
            (*indent, *width) = (from, length);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    fn variables(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn only_variables_with_two_underscores_set_keys() {
        let environment = variables(&[
            ("PVEGATE_PORT", "tcp://10.0.0.1"),
            ("PVEGATE_CONTAINER", "1"),
            ("PATH", "/bin"),
            ("OTHER__KEY", "x"),
            ("CREDENTIALS_DIRECTORY", "/run/credentials/pvegate.service"),
            ("PVEGATE_SESSION__IDLE", "30m"),
        ]);

        assert_eq!(environment.overrides, [("PVEGATE_SESSION__IDLE".to_owned(), "30m".to_owned())]);
        assert!(environment.container);
        assert_eq!(environment.credentials.as_deref(), Some("/run/credentials/pvegate.service"));
    }

    #[test]
    fn a_list_is_json_or_separated_by_commas() {
        for (text, elements) in [
            ("", vec![]),
            ("[]", vec![]),
            ("[::]:443", vec!["[::]:443"]),
            ("[::]:443, [::1]:8443", vec!["[::]:443", "[::1]:8443"]),
            (r#"["10.0.0.0/8", "fd00::/8"]"#, vec!["10.0.0.0/8", "fd00::/8"]),
        ] {
            let Ok(Value::List(list)) = parse(&keys::LISTEN, "N", text) else { panic!("{text}") };

            assert_eq!(list.iter().map(|(it, _)| it.as_str()).collect::<Vec<_>>(), elements, "{text}");
        }
        for text in [r#"["a""#, r#"["a", 3]"#] {
            assert!(parse(&keys::LISTEN, "N", text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_value_of_an_unknown_variable_is_not_shown() {
        let shown = unknown("PVEGATE_DB__PASSWORD").to_string();

        assert!(shown.contains("PVEGATE_DB__PASSWORD=…"), "{shown}");
    }
}
