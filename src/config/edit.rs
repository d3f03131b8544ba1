//! Changes of the file by the command line: rules for API tokens come and go, a renewed certificate is pinned,
//! all else stays as it stands.
//!
//! The text is changed, not parsed and printed again, so that comments, order and blanks survive. A file is
//! replaced as a whole, and only by one that was read without an error.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Problems, keys, parse};
use crate::{
    gate::api_token::{Rule, TokenId},
    tls::Fingerprint,
};

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It could not be read or replaced.
    #[error("{path} could not be changed")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// With the change it would be wrong.
    #[error("with that change the configuration would be wrong, so nothing was written:\n{0}")]
    Wrong(#[from] Problems),
    /// The rules are not written as tables of their own.
    #[error(
        "the rules are written as a list, `rule = [...]`, and not each under [[api.rule]]: change them by hand"
    )]
    List,
    /// The pin that is in force is not written where one would look for it.
    #[error(
        "the pin is not written in {path} as the fingerprint of this upstream, but comes from elsewhere, such as {variable}: change it there"
    )]
    NoPin {
        /// The file.
        path: String,
        /// The environment variable that may set it.
        variable: String,
    },
}

/// A rule as it is written in the file, with its header.
#[must_use]
pub fn written(rule: &Rule) -> String {
    let list = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "[[api.rule]]\ntoken = \"{}\"\nsecret_hash = \"{}\"\nfrom = [{}]\nmethods = [{}]\npaths = [{}]\nrate = {}\n",
        rule.token,
        rule.secret_hash,
        list(&mut rule.from.iter().map(ToString::to_string)),
        list(&mut rule.methods.iter().map(ToString::to_string)),
        list(&mut rule.paths.iter().map(ToString::to_string)),
        rule.rate,
    );
    for (name, time) in [("not_before", rule.not_before), ("not_after", rule.not_after)] {
        if let Some(time) = time {
            text.push_str(&format!("{name} = \"{time}\"\n"));
        }
    }
    text
}

/// Writes a rule at the end of the file.
///
/// # Errors
///
/// [`EditError`]; the file is as it was.
pub fn add_rule(
    path: &Path,
    rule: &Rule,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(), EditError> {
    change(path, env, |text| {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Ok((format!("{text}{gap}\n{}", written(rule)), ()))
    })
}

/// Takes the rules of a token out of the file, and says how many those were. Comments above a rule stay.
///
/// # Errors
///
/// [`EditError`]; the file is as it was.
pub fn remove_rules(
    path: &Path,
    token: &TokenId,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<usize, EditError> {
    change(path, env, |text| without(text, token))
}

/// Writes another fingerprint in the place of the one that is pinned for an upstream: `number` counts the
/// [[upstream.node]]s from 0.
///
/// # Errors
///
/// [`EditError`]; the file is as it was.
pub fn replace_pin(
    path: &Path,
    number: usize,
    old: &Fingerprint,
    new: &Fingerprint,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(), EditError> {
    let env: Vec<_> = env.into_iter().collect();
    let variable = keys::FINGERPRINT.variable().unwrap_or_default();
    // What it sets wins over the file.
    let is_set = env.iter().any(|(name, value)| *name == variable && !value.is_empty());
    change(path, env, |text| {
        let replaced = if is_set { None } else { with_pin(text, number, old, new) };
        replaced
            .map(|text| (text, ()))
            .ok_or_else(|| EditError::NoPin { path: path.display().to_string(), variable })
    })
}

/// `None` if the old one is not where it would be expected.
fn with_pin(text: &str, number: usize, old: &Fingerprint, new: &Fingerprint) -> Option<String> {
    let (document, _) = DeTable::parse_recoverable(text);
    let upstream = document.get_ref().get("upstream")?.get_ref();
    let pin = match upstream.get("node").map(Spanned::get_ref) {
        Some(DeValue::Array(nodes)) => nodes.get(number)?.get_ref().get("fingerprint")?,
        Some(_) => return None,
        None => upstream.get("fingerprint")?,
    };
    let written: Fingerprint = pin.get_ref().as_str()?.parse().ok()?;
    if written != *old {
        return None;
    }
    let mut changed = text.to_owned();
    changed.replace_range(pin.span(), &format!("\"{new}\""));
    Some(changed)
}

fn without(text: &str, token: &TokenId) -> Result<(String, usize), EditError> {
    let (document, _) = DeTable::parse_recoverable(text);
    let rules = document.get_ref().get("api").and_then(|api| api.get_ref().get("rule"));
    let Some(DeValue::Array(rules)) = rules.map(Spanned::get_ref) else { return Ok((text.to_owned(), 0)) };
    let mut kept = text.to_owned();
    let mut removed = 0;
    // From the end, so that what is still to be cut stays where it was.
    for rule in rules.iter().rev() {
        let DeValue::Table(entries) = rule.get_ref() else { continue };
        let is_it = entries.get("token").and_then(|it| it.get_ref().as_str()) == Some(token.as_str());
        if !is_it {
            continue;
        }
        let header = rule.span();
        if !text.get(header.clone()).is_some_and(|header| header.starts_with("[[")) {
            return Err(EditError::List);
        }
        let last = entries.iter().map(|(_, value)| value.span().end).max().unwrap_or(header.end);
        let start = text.get(..header.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let rest = text.get(last..).unwrap_or_default();
        let end = rest.find('\n').map_or(text.len(), |at| last + at + 1);
        // The empty line that set it apart goes with it.
        let start = match text.get(..start).is_some_and(|before| before.ends_with("\n\n")) {
            true => start - 1,
            false => start,
        };
        kept.replace_range(start..end, "");
        removed += 1;
    }
    Ok((kept, removed))
}

fn change<T>(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
    edit: impl FnOnce(&str) -> Result<(String, T), EditError>,
) -> Result<T, EditError> {
    let failed = |source| EditError::File { path: path.display().to_string(), source };
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(path).map_err(failed)?;
    let before = fs::read_to_string(&target).map_err(failed)?;
    let (after, told) = edit(&before)?;
    parse(&after, &path.display().to_string(), env)?;
    if after != before {
        replace(&target, &after).map_err(failed)?;
    }
    Ok(told)
}

/// Replaces a file at once, or not at all; owner and mode stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.join(format!(".{name}.{}", std::process::id()));
    let old = fs::metadata(path)?;
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# Top.\n[log]\nlevel = \"info\"   # talkative\n\n# The backup.\n[[api.rule]]\ntoken = \"a@pve!one\"\n\
        # From here.\nfrom = [\n  \"10.0.0.0/8\",\n]\n\n# The other.\n[[api.rule]]\ntoken = \"a@pve!two\"\nrate = 3 # slow\n\n[ui]\ncontact = \"x\"\n";

    fn token(text: &str) -> TokenId {
        TokenId::parse(text).unwrap()
    }

    #[test]
    fn a_rule_goes_with_its_lines_and_nothing_else() {
        let (one, removed) = without(TWO, &token("a@pve!two")).unwrap();
        assert_eq!(removed, 1);
        assert_eq!(
            one,
            "# Top.\n[log]\nlevel = \"info\"   # talkative\n\n# The backup.\n[[api.rule]]\ntoken = \"a@pve!one\"\n\
             # From here.\nfrom = [\n  \"10.0.0.0/8\",\n]\n\n# The other.\n\n[ui]\ncontact = \"x\"\n"
        );
        let (none, removed) = without(&one, &token("a@pve!one")).unwrap();
        assert_eq!(removed, 1);
        assert!(none.contains("# The backup.\n\n# The other.\n") && !none.contains("api.rule"), "{none}");
        assert_eq!(without(TWO, &token("a@pve!three")).unwrap(), (TWO.to_owned(), 0));
    }

    #[test]
    fn another_pin_takes_the_place_of_the_old_one_and_nothing_else_changes() {
        let pin = |pair: &str| vec![pair; 32].join(":");
        let (old, new, other) = (pin("AA"), pin("BB"), pin("CC"));
        let read = |text: &str| -> Fingerprint { text.parse().unwrap() };
        let one = |pin: &str| {
            format!("# Ours.\n[upstream]\nurl = \"https://h\"\nfingerprint = \"{pin}\" # by hand\n[ui]\n")
        };
        let two = |a: &str, b: &str| {
            format!("[[upstream.node]]\nfingerprint = '{a}'\n[[upstream.node]]\nfingerprint = \"{b}\"\n")
        };
        let lower = old.to_lowercase();
        #[rustfmt::skip]
        let table = [
            ("one upstream",              one(&old),          0, Some(one(&new))),
            ("written otherwise",         one(&lower),        0, Some(one(&new))),
            ("the second of two alike",   two(&old, &old),    1, Some(two(&old, &new))),
            ("another one is written",    one(&other),        0, None),
            ("no such node",              two(&old, &old),    2, None),
            ("none is written",           "[upstream]\n".to_owned(), 0, None),
            ("no upstream",               String::new(),      0, None),
        ];
        for (case, text, number, expected) in table {
            assert_eq!(with_pin(&text, number, &read(&old), &read(&new)), expected, "{case}");
        }
    }

    #[test]
    fn a_list_of_rules_is_left_to_people() {
        let list = "api.rule = [{ token = \"a@pve!one\" }]\n";

        assert!(matches!(without(list, &token("a@pve!one")), Err(EditError::List)));
    }
}
