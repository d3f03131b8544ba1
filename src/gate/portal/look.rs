//! What all pages have in common: language, theme, clock, host.
//!
//! [`Language::choose`] and [`Theme::from_cookie`] decide from cookies and fields that the caller has read;
//! nothing here knows of requests. The words themselves are in [`super::words`].

use super::words::Language;
use crate::time::Timestamp;

/// What every page needs besides its own content.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The language of the words.
    pub language: Language,
    /// Light or dark.
    pub theme: Theme,
    /// The gate's clock when the page was made; shown, so that people can compare it with their phone.
    pub gate_clock: Timestamp,
    /// `host[:port]` that browsers use for the gate.
    pub host: &'a str,
    /// Whom to ask for help: an address, a URL or words. Empty if nobody was named.
    pub contact: &'a str,
    /// The query of the page's own URL without `?` and without `lang`, so that links to other pages and
    /// to the same page in another language keep `next=…`. Empty if there is none.
    pub query: &'a str,
}

impl Look<'_> {
    /// `path` with the page's query behind it.
    pub(super) fn with_query(&self, path: &str) -> String {
        if self.query.is_empty() { path.to_owned() } else { format!("{path}?{}", self.query) }
    }

    /// The page's own URL, relative, asking for another language.
    pub(super) fn in_language(&self, language: Language) -> String {
        let separator = if self.query.is_empty() { "" } else { "&" };
        format!("?{}{separator}lang={}", self.query, language.tag())
    }

    /// The URL behind the contact, if it is one: `https://…`, or `mailto:` for an address.
    pub(super) fn contact_link(&self) -> Option<String> {
        let contact = self.contact;
        if contact.contains(char::is_whitespace) {
            None
        } else if contact.starts_with("https://") {
            Some(contact.to_owned())
        } else if contact.contains('@') {
            Some(format!("mailto:{contact}"))
        } else {
            None
        }
    }
}

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the person's system says.
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The theme of Proxmox VE's interface, from its `PVEThemeCookie` (pve-manager `www/manager6/window/ThemeEdit.js`).
    #[must_use]
    pub fn from_cookie(pve: Option<&str>) -> Self {
        match pve {
            Some("crisp") => Self::Light,
            Some("proxmox-dark") => Self::Dark,
            Some(_) | None => Self::Auto,
        }
    }

    /// The class that the style sheet knows it by.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Language {
    /// The language of a page: the one chosen at the gate, else that of Proxmox VE's interface
    /// (`PVELangCookie`), else the best of `Accept-Language` (RFC 9110 §12.5.4), else English.
    ///
    /// A language that we do not speak counts as not given.
    #[must_use]
    pub fn choose(chosen: Option<&str>, pve: Option<&str>, accept: Option<&str>) -> Self {
        chosen
            .and_then(Self::from_tag)
            .or_else(|| pve.and_then(Self::from_tag))
            .or_else(|| accept.and_then(best_of))
            .unwrap_or(Self::English)
    }

    /// From a language tag such as `de`, `de-AT` or `de_AT`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }
}

/// The first of our languages with the highest weight.
fn best_of(accept: &str) -> Option<Language> {
    let mut best: Option<(u16, Language)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let weight = parts.map(str::trim).find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let language = if tag == "*" { Some(Language::English) } else { Language::from_tag(tag) };
        if let Some(language) = language
            && weight > best.map_or(0, |(weight, _)| weight)
        {
            best = Some((weight, language));
        }
    }
    best.map(|(_, language)| language)
}

/// A weight (RFC 9110 §12.4.2) in thousandths; zero, which means "not acceptable", if it is none.
fn thousandths(weight: &str) -> u16 {
    match weight.trim().parse::<f32>() {
        // The range was checked, so the cast is exact enough and cannot wrap.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ..= 1000")]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        Ok(_) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look<'a>() -> Look<'a> {
        Look {
            language: Language::English,
            theme: Theme::Auto,
            gate_clock: Timestamp::from_secs(0),
            host: "pve.example.com",
            contact: "",
            query: "",
        }
    }

    #[test]
    fn the_language_is_chosen_from_the_most_personal_wish_that_we_can_meet() {
        use Language::{English, German};
        #[rustfmt::skip]
        let table = [
            // case                            chosen       pve            accept                       language
            ("nothing is known",               None,       None,          None,                          English),
            ("the browser's",                  None,       None,          Some("de-AT,de;q=0.9,en;q=0.8"), German),
            ("by weight, not by order",        None,       None,          Some("en;q=0.5, de;q=0.8"),    German),
            ("the first of equal weight",      None,       None,          Some("en;q=0.8, de;q=0.8"),    English),
            ("one that is not acceptable",     None,       None,          Some("de;q=0, fr"),            English),
            ("only any",                       None,       None,          Some("*"),                     English),
            ("Proxmox VE's before browser's",  None,       Some("en"),    Some("de"),                    English),
            ("Proxmox VE's is not ours",       None,       Some("fr"),    Some("de"),                    German),
            ("ours before Proxmox VE's",       Some("de"), Some("en"),    Some("en"),                    German),
            ("ours is nonsense",               Some("xx"), Some("de"),    Some("en"),                    German),
            ("with a region, in any case",     Some("DE_at"), None,       None,                          German),
            ("a tag that only begins alike",   Some("den"), None,         None,                          English),
            ("a weight that is no number",     None,       None,          Some("de;q=high, en;q=0.1"),   English),
            ("a weight above one",             None,       None,          Some("de;q=7, en;q=0.1"),      English),
            ("empty fields",                   Some(""),   Some(""),      Some(""),                      English),
        ];
        for (case, chosen, pve, accept, language) in table {
            assert_eq!(Language::choose(chosen, pve, accept), language, "{case}");
        }
    }

    #[test]
    fn the_theme_follows_proxmox_ve() {
        #[rustfmt::skip]
        let table = [
            (None,                 Theme::Auto),
            (Some("auto"),         Theme::Auto),
            (Some("__default__"),  Theme::Auto),
            (Some("crisp"),        Theme::Light),
            (Some("proxmox-dark"), Theme::Dark),
            (Some("\"><script>"),  Theme::Auto),
        ];
        for (cookie, theme) in table {
            assert_eq!(Theme::from_cookie(cookie), theme, "{cookie:?}");
        }
    }

    #[test]
    fn a_contact_becomes_a_link_only_where_it_is_one() {
        #[rustfmt::skip]
        let table = [
            ("",                        None),
            ("alice",                   None),
            ("alice in room 3",         None),
            ("alice@example.com",       Some("mailto:alice@example.com")),
            ("ask alice@example.com",   None),
            ("https://help.example.com", Some("https://help.example.com")),
            ("javascript:alert(1)",     None),
        ];
        for (contact, link) in table {
            assert_eq!(Look { contact, ..look() }.contact_link().as_deref(), link, "{contact}");
        }
    }

    #[test]
    fn links_keep_the_query() {
        let plain = look();
        let with_next = Look { query: "next=%2F", ..look() };

        assert_eq!(plain.with_query("/_gate/recover"), "/_gate/recover");
        assert_eq!(with_next.with_query("/_gate/recover"), "/_gate/recover?next=%2F");
        assert_eq!(plain.in_language(Language::German), "?lang=de");
        assert_eq!(with_next.in_language(Language::German), "?next=%2F&lang=de");
    }

    proptest! {
        #[test]
        fn no_field_makes_the_choice_panic(chosen: Option<String>, pve: Option<String>, accept: Option<String>) {
            let _ = Language::choose(chosen.as_deref(), pve.as_deref(), accept.as_deref());
        }
    }
}
