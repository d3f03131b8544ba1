//! Things that are named by the beginning of their identifier.

use super::{Exit, Failure};

/// Digits of an identifier that lists show.
pub(super) const SHOWN: usize = 12;

/// The beginning of an identifier that lists show.
pub(super) fn shown(id: &str) -> String {
    id.chars().take(SHOWN).collect()
}

/// Something with an identifier.
pub(super) trait Named {
    /// The identifier: lower-case hexadecimal digits.
    fn id(&self) -> String;

    /// What tells it from others for people.
    fn told(&self) -> String;
}

/// The only one whose identifier begins so. `what` is it, e.g. `session`; `list` is the verb that names all.
///
/// # Errors
///
/// [`Exit::NoSuchThing`]: none begins so, or several do; then those are named.
pub(super) fn only<'a, T: Named>(
    all: &'a [T],
    beginning: &str,
    what: &str,
    list: &str,
) -> Result<&'a T, Failure> {
    let beginning = beginning.trim().to_ascii_lowercase();
    let found: Vec<&T> = all.iter().filter(|one| one.id().starts_with(&beginning)).collect();
    match found.as_slice() {
        [] => Err(Failure::new(
            Exit::NoSuchThing,
            format!("no {what}'s identifier begins with `{beginning}`; `{list}` names all"),
        )),
        // Whoever says nothing means no particular one, even if there is but one.
        [one] if !beginning.is_empty() => Ok(one),
        several => {
            let mut message =
                format!("more than one {what}'s identifier begins with `{beginning}`: give more of it");
            if beginning.is_empty() {
                message = format!("which {what}? Give the beginning of an identifier");
            }
            for one in several {
                message.push_str(&format!("\n  {}  {}", shown(&one.id()), one.told()));
            }
            Err(Failure::new(Exit::NoSuchThing, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str);

    impl Named for Thing {
        fn id(&self) -> String {
            self.0.to_owned()
        }

        fn told(&self) -> String {
            format!("called {}", self.0)
        }
    }

    #[test]
    fn a_beginning_names_the_only_one_that_has_it() {
        let all = [Thing("ab12"), Thing("ab34"), Thing("cd56")];
        #[rustfmt::skip]
        let table: [(&str, Result<&str, &[&str]>); 7] = [
            ("cd56", Ok("cd56")),
            ("c",    Ok("cd56")),
            (" AB1", Ok("ab12")),
            ("ab",   Err(&["more than one", "ab12  called ab12", "ab34  called ab34"])),
            ("ef",   Err(&["no thing's", "`pvegate user list`"])),
            ("",     Err(&["which thing?"])),
            ("ab123", Err(&["no thing's"])),
        ];
        for (beginning, expected) in table {
            match (only(&all, beginning, "thing", "pvegate user list"), expected) {
                (Ok(found), Ok(id)) => assert_eq!(found.0, id, "{beginning}"),
                (Err(failure), Err(words)) => {
                    assert_eq!(failure.exit, Exit::NoSuchThing);
                    for word in words {
                        assert!(failure.message.contains(word), "{beginning}: {}", failure.message);
                    }
                }
                (found, _) => panic!("{beginning}: {:?}", found.map(|thing| thing.0)),
            }
        }
        assert!(only(&all[2..], "", "thing", "pvegate user list").is_err(), "nothing said is nobody meant");
    }
}
