//! One value, by its kind: what is written, else the default, within its bounds.
//!
//! Every taker says what is wrong and returns `None`; it also returns `None`, silently, for what `file` or
//! `env` told already. What values mean together is for `check`.

use std::{path::PathBuf, time::Duration};

use super::{
    duration,
    file::{File, Item, Value, nearest},
    keys::{Key, Kind},
    problem::{Code, Place, Problem, quoted},
};

/// A value that has its meaning, and where it was written.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What is written, and what was found wrong so far.
pub(super) struct Check<'a> {
    pub(super) file: &'a File,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Checks every entry of a repeated table with `one`, which asks for keys as if the entry were the file.
    ///
    /// `None` if `one` returned `None` for any. Problems name the entry: `api.rule[0].token`.
    pub(super) fn each<T>(
        &mut self,
        table: &str,
        mut one: impl FnMut(&mut Check<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let file = self.file;
        let mut values = Vec::new();
        let mut right = true;
        for (index, entry) in file.entries(table) {
            let told = self.problems.len();
            let value = one(&mut Check { file: entry, problems: self.problems });
            for problem in self.problems.iter_mut().skip(told) {
                problem.number(table, *index);
            }
            match value {
                Some(value) => values.push(value),
                None => right = false,
            }
        }
        right.then_some(values)
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A text; says so if it must be set and is not.
    pub(super) fn text(&mut self, key: &Key) -> Option<Found<String>> {
        let item = self.item(key)?;
        match item.value {
            Value::Text(value) => Some(Found { value, place: item.place }),
            Value::Number(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    /// What is written or the default; says so if it must be set and is not.
    fn item(&mut self, key: &Key) -> Option<Item> {
        let item = self.file.item(key);
        if item.is_none() && self.file.lacks(key) {
            self.missing(key);
        }
        item
    }

    fn missing(&mut self, key: &Key) {
        let name = key.split().1;
        let mut problem = Problem::new(Code::Missing, "it is not set, and has no default")
            .of(key.name)
            .at(self.file.home(key), "");
        if let Some((table, example)) = key.table().zip(key.example) {
            problem = problem.help(format!("under {}: {name} = {example}", table.header()));
        }
        if let Some(variable) = key.variable() {
            problem = problem.help(format!("or in the environment: {variable}"));
        }
        self.problem(problem);
    }

    pub(super) fn duration(&mut self, key: &Key) -> Option<Found<Duration>> {
        let Kind::Duration { min, max } = key.kind else { return None };
        let Found { value: text, place } = self.text(key)?;
        match duration::parse(&text) {
            Err(error) => {
                let message = format!("{} is not a duration such as 12h: {error}", quoted(&text));
                self.problem(Problem::new(Code::BadDuration, message).of(key.name).at(&place, ""));
                None
            }
            Ok(value) if value < min || value > max => {
                let (min, max) = (duration::format(min), duration::format(max));
                let message = format!("{} is not between {min} and {max}", quoted(&text));
                self.problem(Problem::new(Code::OutOfRange, message).of(key.name).at(&place, ""));
                None
            }
            Ok(value) => Some(Found { value, place }),
        }
    }

    pub(super) fn number(&mut self, key: &Key) -> Option<usize> {
        let Kind::Number { min, max } = key.kind else { return None };
        let item = self.item(key)?;
        let Value::Number(number) = item.value else { return None };
        match u32::try_from(number).ok().filter(|number| (min..=max).contains(number)) {
            Some(number) => usize::try_from(number).ok(),
            None => {
                let message = format!("{number} is not between {min} and {max}");
                self.problem(Problem::new(Code::OutOfRange, message).of(key.name).at(&item.place, ""));
                None
            }
        }
    }

    pub(super) fn flag(&mut self, key: &Key) -> Option<bool> {
        match self.item(key)?.value {
            Value::Flag(flag) => Some(flag),
            Value::Text(_) | Value::Number(_) | Value::List(_) => None,
        }
    }

    pub(super) fn choice(&mut self, key: &Key) -> Option<String> {
        let Kind::Choice(choices) = key.kind else { return None };
        let Found { value, place } = self.text(key)?;
        if choices.contains(&&*value) {
            return Some(value);
        }
        let mut problem =
            Problem::new(Code::BadChoice, format!("{} is not one of {}", quoted(&value), choices.join(", ")))
                .of(key.name)
                .at(&place, "");
        if let Some(near) = nearest(&value, choices.iter().copied()) {
            problem = problem.help(format!("did you mean {near:?}?"));
        }
        self.problem(problem);
        None
    }

    pub(super) fn list(&mut self, key: &Key) -> Option<Found<Vec<(String, Place)>>> {
        let item = self.item(key)?;
        match item.value {
            Value::List(value) => Some(Found { value, place: item.place }),
            Value::Text(_) | Value::Number(_) | Value::Flag(_) => None,
        }
    }

    /// An absolute path of a file. The inner `None` is `""`: not set.
    pub(super) fn path(&mut self, key: &Key) -> Option<Found<Option<PathBuf>>> {
        let Found { value, place } = self.text(key)?;
        if value.is_empty() {
            return Some(Found { value: None, place });
        }
        let path = PathBuf::from(&value);
        let wrong = if value.contains('\0') {
            "has a character that no path can have"
        } else if !path.is_absolute() {
            "does not begin with `/`, and the directory that a service starts in is nobody's choice"
        } else if value.ends_with('/') || path.file_name().is_none() {
            "names a directory, not a file"
        } else {
            return Some(Found { value: Some(path), place });
        };
        self.problem(
            Problem::new(Code::BadPath, format!("{} {wrong}", quoted(&value))).of(key.name).at(&place, ""),
        );
        None
    }
}
