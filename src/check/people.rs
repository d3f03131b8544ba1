//! People: whether somebody can administer the gate, and whom a single loss would shut out.

use super::{Finding, Id};

/// With so few recovery codes left, somebody should make new ones.
pub const FEW_CODES: u32 = 3;

/// What is known of a person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// User name.
    pub name: String,
    /// Whether they are an administrator.
    pub is_admin: bool,
    /// Sign-in methods of theirs: passkeys, security keys, authenticator apps.
    pub methods: usize,
    /// Recovery codes that are left; `None` where the gate has none.
    pub codes: Option<u32>,
}

/// Judges the people who may sign in; whoever is disabled is not among them.
#[must_use]
pub fn judge(people: &[Person]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let enrolled = || people.iter().filter(|person| person.methods > 0);
    if !enrolled().any(|person| person.is_admin) {
        findings.push(Finding::problem(
            Id::Users,
            "no administrator can sign in",
            "pvegate user add NAME --admin, or `pvegate invite NAME` for one who is there",
        ));
    }
    let single: Vec<_> =
        enrolled().filter(|person| person.methods == 1).map(|person| &*person.name).collect();
    if !single.is_empty() {
        findings.push(Finding::warning(
            Id::Users,
            format!("one sign-in method only: {}", single.join(", ")),
            "a lost phone or key shuts them out: add a second one on the page \"Sign-in methods\"",
        ));
    }
    let few: Vec<_> = enrolled()
        .filter_map(|person| {
            let codes = person.codes.filter(|codes| *codes <= FEW_CODES)?;
            Some(format!("{} ({codes} left)", person.name))
        })
        .collect();
    if !few.is_empty() {
        findings.push(Finding::warning(
            Id::Users,
            format!("few recovery codes: {}", few.join(", ")),
            "make new ones on the page \"Sign-in methods\", or `pvegate recovery-codes renew NAME`",
        ));
    }
    if findings.is_empty() {
        let (all, waiting) = (people.len(), people.len() - enrolled().count());
        let waiting = if waiting == 0 { String::new() } else { format!(", {waiting} not enrolled yet") };
        let people = if all == 1 { "person" } else { "people" };
        findings.push(Finding::ok(
            Id::Users,
            format!("{all} {people}{waiting}, each enrolled with two methods or more"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, is_admin: bool, methods: usize, codes: Option<u32>) -> Person {
        Person { name: name.into(), is_admin, methods, codes }
    }

    #[test]
    fn a_single_loss_shuts_nobody_out() {
        let alice = || person("alice", true, 2, Some(10));
        #[rustfmt::skip]
        let table: [(Vec<Person>, &[&str]); 8] = [
            (vec![alice()],                                     &["1 person, each enrolled with two methods or more"]),
            (vec![alice(), person("bob", false, 0, Some(0))],   &["2 people, 1 not enrolled yet, each enrolled with two methods or more"]),
            (vec![alice(), person("bob", false, 1, Some(10))],  &["one sign-in method only: bob"]),
            (vec![alice(), person("bob", false, 2, Some(3))],   &["few recovery codes: bob (3 left)"]),
            (vec![alice(), person("bob", false, 2, Some(4))],   &["2 people, each enrolled with two methods or more"]),
            (vec![alice(), person("bob", false, 2, None)],      &["2 people, each enrolled with two methods or more"]),
            (vec![person("alice", true, 0, Some(0))],           &["no administrator can sign in"]),
            (vec![person("bob", false, 1, Some(0))],            &["no administrator can sign in", "one sign-in method only: bob", "few recovery codes: bob (0 left)"]),
        ];
        for (people, expected) in table {
            let found = judge(&people);
            let told: Vec<_> = found.iter().map(|finding| finding.text.as_str()).collect();
            assert_eq!(told, expected);
        }
        assert_eq!(judge(&[]).first().map(|f| f.text.clone()).unwrap(), "no administrator can sign in");
    }
}
