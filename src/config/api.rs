//! `[[api.rule]]`: what API tokens may do; and `server.aliases`, which are for them alone.

use std::num::NonZeroU32;

use super::{
    keys::{self, Key},
    problem::{Code, Place, Problem, quoted},
    take::{Check, Found},
};
use crate::{
    connection::head::Alias,
    gate::{
        PublicUrl,
        api_token::{PathPattern, Rule, SecretHash, TokenId},
    },
    time::Timestamp,
};

/// What pveproxy knows; it answers 501 to all others.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

impl Check<'_> {
    pub(super) fn api_rules(&mut self) -> Option<Vec<Rule>> {
        self.each("api.rule", |rule| rule.api_rule())
    }

    pub(super) fn aliases(&mut self) -> Option<Vec<Alias>> {
        let Found { value, .. } = self.list(&keys::ALIASES)?;
        self.all(&keys::ALIASES, Code::BadAlias, value, |text| {
            // An alias is what a public URL has behind `https://`.
            let url = PublicUrl::parse(&format!("https://{text}"))
                .ok()
                .filter(|_| !text.contains('/'))
                .ok_or("it is not a host, or a host and a port, such as pve.internal:8443")?;
            Ok(Alias { authority: url.authority(), host: url.host().to_owned() })
        })
    }

    fn api_rule(&mut self) -> Option<Rule> {
        let token = self.text(&keys::RULE_TOKEN).and_then(|found| self.token(found));
        let secret_hash = self.text(&keys::RULE_SECRET_HASH).and_then(|found| self.secret_hash(found));
        let from = self.some(&keys::RULE_FROM).and_then(|list| self.each_network(&keys::RULE_FROM, list));
        let methods = self.some(&keys::RULE_METHODS).and_then(|list| {
            self.all(&keys::RULE_METHODS, Code::BadChoice, list, |text| {
                let known = METHODS.contains(&text).then(|| text.parse().ok()).flatten();
                known.ok_or_else(|| format!("it is not one of {}", METHODS.join(", ")))
            })
        });
        let paths = self.some(&keys::RULE_PATHS).and_then(|list| {
            self.all(&keys::RULE_PATHS, Code::BadPattern, list, |text| {
                PathPattern::parse(text).map_err(str::to_owned)
            })
        });
        let rate = self.number(&keys::RULE_RATE);
        let not_before = self.time(&keys::RULE_NOT_BEFORE);
        let not_after = self.time(&keys::RULE_NOT_AFTER);
        if let (Some(Found { value: Some(begin), place: first }), Some(Found { value: Some(end), place })) =
            (&not_before, &not_after)
            && end < begin
        {
            self.problems.push(
                Problem::new(Code::NeverGood, "it ends before it begins")
                    .of(keys::RULE_NOT_AFTER.name)
                    .at(place, "its end")
                    .at(first, "its beginning"),
            );
            return None;
        }
        Some(Rule {
            token: token?,
            secret_hash: secret_hash?,
            from: from?,
            methods: methods?,
            paths: paths?,
            rate: rate.and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new)?,
            not_before: not_before?.value,
            not_after: not_after?.value,
        })
    }

    fn token(&mut self, found: Found<String>) -> Option<TokenId> {
        match TokenId::parse(&found.value) {
            Ok(token) => Some(token),
            Err(reason) => {
                let message =
                    format!("{} is not a token such as root@pam!backup: {reason}", quoted(&found.value));
                self.problem(
                    Problem::new(Code::BadToken, message).of(keys::RULE_TOKEN.name).at(&found.place, ""),
                );
                None
            }
        }
    }

    fn secret_hash(&mut self, found: Found<String>) -> Option<SecretHash> {
        let hash = SecretHash::parse(&found.value);
        if hash.is_none() {
            // What stands there may be the secret itself: the value is not repeated, nor is its line.
            let mut problem =
                Problem::new(Code::BadSecretHash, "this is not 64 hexadecimal digits in lower case")
                    .of(keys::RULE_SECRET_HASH.name)
                    .at(&found.place.without_line(), "")
                    .help("`pvegate api add` asks for the secret and writes its hash");
            if found.value.len() == 36 {
                problem = problem
                    .help("a secret that has stood here is known to whoever read the file: make a new token");
            }
            self.problem(problem);
        }
        hash
    }

    /// A list that is not empty.
    fn some(&mut self, key: &Key) -> Option<Vec<(String, Place)>> {
        let Found { value, place } = self.list(key)?;
        if value.is_empty() {
            self.problem(
                Problem::new(Code::RuleForNothing, "the list is empty: the rule would let nothing through")
                    .of(key.name)
                    .at(&place, ""),
            );
            return None;
        }
        Some(value)
    }

    /// Every element of a list, each by `parse`, which says what is wrong with one.
    pub(super) fn all<T>(
        &mut self,
        key: &Key,
        code: Code,
        list: Vec<(String, Place)>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let mut values = Vec::new();
        let mut right = true;
        for (index, (text, place)) in list.into_iter().enumerate() {
            match parse(&text) {
                Ok(value) => values.push(value),
                Err(reason) => {
                    let message = format!("{} does not belong here: {reason}", quoted(&text));
                    self.problem(
                        Problem::new(code, message).of(format!("{}[{index}]", key.name)).at(&place, ""),
                    );
                    right = false;
                }
            }
        }
        right.then_some(values)
    }

    /// A point in time. The inner `None` is `""`: not set.
    fn time(&mut self, key: &Key) -> Option<Found<Option<Timestamp>>> {
        let Found { value: text, place } = self.text(key)?;
        if text.is_empty() {
            return Some(Found { value: None, place });
        }
        if let Some(value) = Timestamp::parse(&text) {
            return Some(Found { value: Some(value), place });
        }
        let message = format!("{} is not a point in time such as 2027-01-31T00:00:00Z", quoted(&text));
        let mut problem = Problem::new(Code::BadTime, message).of(key.name).at(&place, "");
        if text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some() {
            problem = problem.help(format!("the beginning of that day in UTC: \"{text}T00:00:00Z\""));
        }
        self.problem(problem);
        None
    }
}
