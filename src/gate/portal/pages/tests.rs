//! Rules that every page keeps, tried on every page in both languages.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use super::*;
use crate::{
    account::{Method, Requirement},
    check::{Finding, Id, Summary},
    gate::portal::{
        assets,
        device::Device,
        look::{Look, Theme},
        proof::{ByRecovery, Provable},
        words::Language,
    },
    status::{Down, Node, Trust, Why},
    store::{Entry, Happened},
    time::Timestamp,
};

/// A user name that would break out of text and attributes if it were not escaped. (No user can have it.)
const HOSTILE: &str = "\"'><script>alert(1)</script>";

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_795_528_951);

pub(super) fn look<'a>(language: Language) -> Look<'a> {
    Look {
        language,
        theme: Theme::Auto,
        gate_clock: NOW,
        host: "pve.example.com",
        contact: "alice@example.com",
        query: "next=%2F%3Fconsole%3Dkvm",
    }
}

/// Every page in every state that looks different, with `user` wherever text from outside goes.
fn pages(look: &Look<'_>, user: &str) -> Vec<(String, String)> {
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let otpauth = format!("otpauth://totp/{user}?secret={secret}&issuer=pve.example.com");
    let qr_svg =
        qrcode::QrCode::new(otpauth.as_bytes()).unwrap().render::<qrcode::render::svg::Color<'_>>().build();
    let codes: Vec<String> = [
        "k7mq-4x2p-a3dn-w3fr",
        "zt5a-2vjc-m6qe-b7ys",
        "p4kd-x7rn-e2hw-c5ju",
        "v3gb-q6tm-s2zf-n4xa",
        "h7ye-d5pk-r2wc-t6mj",
        "f4us-b3nv-k6xq-g2ra",
        "w5ct-y7hz-j4md-p3eb",
        "n2vk-s6fg-u5qx-a7rh",
        "c3xm-t4jb-z6pw-e7yd",
        "q2gr-h5nu-f6ks-v4ta",
    ]
    .map(str::to_owned)
    .to_vec();
    let sign_in = SignIn {
        user: "",
        codes: true,
        recovery: true,
        password: false,
        passkeys: false,
        notice: None,
        failures: 0,
    };
    let no_match = Some(SignInNotice::NoMatch);
    let until = Timestamp::from_secs(1_800_000_000);
    let demanded = Demanded { user, lacks: Requirement::TwoKeys, until, next: "/" };
    let step = |at| Step { at, of: 3 };
    let totp = EnrolTotp {
        step: step(1),
        user,
        account: user,
        qr_svg: &qr_svg,
        otpauth: &otpauth,
        secret,
        name: "",
        state: user,
        wrong_code: false,
        app_ahead: None,
        password: false,
        password_problem: None,
        beside_key: false,
        wants: None,
        replaces: None,
    };
    let passkey = EnrolPasskey {
        step: step(1),
        user,
        state: user,
        passkey: true,
        beside: false,
        totp: true,
        security_key: true,
        replaces: None,
        wants: None,
        trouble: None,
    };
    let key = SecurityKey {
        user,
        ceremony: Some(KeyCeremony { state: user, options: "{\"challenge\":\"A\"}" }),
        recovery: true,
    };
    let shown =
        Codes { step: Some(step(2)), user, codes: &codes, made_at: NOW, state: user, typed_wrong: false };
    let account = Account {
        user,
        signed_in_at: NOW,
        ends_at: NOW.plus(Duration::from_secs(12 * 3600)),
        idle: Duration::from_secs(3600),
        recovery_codes: Some(8),
        down: &[],
        reports: &[],
        admin: false,
    };
    let row = |kind, synced: bool, last_used_at| MethodRow {
        id: user.to_owned(),
        kind,
        name: user.to_owned(),
        model: synced.then_some("Windows Hello"),
        synced,
        replaceable: true,
        added_at: NOW,
        last_used_at,
        last_used_from: last_used_at.map(|_| "2001:db8::1".parse().unwrap()),
    };
    let rows = [
        row(MethodKind::Passkey, true, Some(NOW)),
        row(MethodKind::SecurityKey, false, None),
        row(MethodKind::App, false, None),
    ];
    let methods = Methods {
        user,
        rows: &rows,
        recovery_codes: Some(8),
        notice: None,
        late: false,
        nudge: None,
        signal: None,
    };
    let accepted =
        Signal::Accepted { rp: user.to_owned(), user: user.to_owned(), credentials: user.to_owned() };
    let details = Signal::Details { rp: user.to_owned(), user: user.to_owned(), name: user.to_owned() };
    let session = |is_this, user_agent, consoles| SessionRow {
        id: user.to_owned(),
        device: Device::of(user_agent),
        client: "2001:db8::1".parse().unwrap(),
        since: NOW,
        last_active_at: NOW,
        method: Method::Totp,
        consoles,
        is_this,
    };
    let sessions = [session(true, "Firefox/145.0 Linux", 0), session(false, user, 2)];
    let history: Vec<Entry> = Happened::ALL
        .into_iter()
        .flat_map(|happened| [(happened, true), (happened, false)])
        .zip(0..)
        .map(|((happened, succeeded), id)| Entry {
            id,
            at: NOW,
            happened,
            succeeded,
            client: (id % 2 == 0).then(|| "2001:db8::1".parse().unwrap()),
            method: Some(if id == 0 { "totp".to_owned() } else { user.to_owned() }),
            session: None,
            reason: Some(user.to_owned()),
            from_new_address: id == 0,
        })
        .collect();
    let sessions = Sessions { rows: &sessions, history: &history, notice: None };
    let both = Provable { by_code: true, by_passkey: true, by_recovery: ByRecovery::No };
    let rename =
        MethodChange { wish: Wish::Rename, row: &rows[0], name: user, provable: both, problem: None };
    let node = |why| Node {
        address: user.to_owned(),
        trust: Trust::Pin,
        connected_in: None,
        down: Some(Down { since: NOW, why }),
    };
    let pin = |pair: &str| vec![pair; 32].join(":");
    let wrong_pin = Why::Fingerprint { expected: pin("AA"), found: pin("BB") };
    let down = [node(Why::Refused), node(Why::Timeout), node(Why::Broken), node(wrong_pin)];
    let findings = [
        Finding::ok(Id::Tls, user),
        Finding::info(Id::Webauthn, user),
        Finding::warning(Id::Dns, user, user),
        Finding::problem(Id::Upstream, user, user),
    ];
    let mut pages = vec![
        ("methods", methods.render(look)),
        (
            "methods-one",
            Methods { rows: &rows[..1], recovery_codes: Some(1), nudge: Some(Nudge::SecondWayIn), ..methods }
                .render(look),
        ),
        ("methods-done", Methods { notice: Some(MethodsNotice::Renamed), ..methods }.render(look)),
        (
            "methods-removed",
            Methods { notice: Some(MethodsNotice::Removed), signal: Some(&accepted), ..methods }.render(look),
        ),
        (
            "methods-renamed",
            Methods { notice: Some(MethodsNotice::Renamed), signal: Some(&details), ..methods }.render(look),
        ),
        ("methods-no-key", Methods { nudge: Some(Nudge::FirstKey), ..methods }.render(look)),
        ("methods-one-key", Methods { nudge: Some(Nudge::SecondKey), ..methods }.render(look)),
        (
            "enrol-done-nudge",
            EnrolDone { user, signed_in: true, nudge: Some(Nudge::SecondWayIn) }.render(look),
        ),
        (
            "enrol-done-first-key",
            EnrolDone { user, signed_in: true, nudge: Some(Nudge::FirstKey) }.render(look),
        ),
        (
            "enrol-done-second-key",
            EnrolDone { user, signed_in: true, nudge: Some(Nudge::SecondKey) }.render(look),
        ),
        ("methods-late", Methods { late: true, ..methods }.render(look)),
        ("method-rename", rename.render(look)),
        ("method-replace", MethodChange { wish: Wish::Replace, ..rename }.render(look)),
        (
            "method-remove-last",
            MethodChange { wish: Wish::Remove, problem: Some(ChangeProblem::Last), ..rename }.render(look),
        ),
        (
            "method-remove-no-match",
            MethodChange {
                wish: Wish::Remove,
                problem: Some(ChangeProblem::NoMatch),
                provable: Provable { by_passkey: false, ..both },
                ..rename
            }
            .render(look),
        ),
        ("method-new", NewMethod { provable: both, no_match: false }.render(look)),
        (
            "method-new-by-passkey",
            NewMethod { provable: Provable { by_code: false, ..both }, no_match: true }.render(look),
        ),
        (
            "method-new-by-recovery",
            NewMethod { provable: Provable { by_recovery: ByRecovery::First, ..both }, no_match: true }
                .render(look),
        ),
        (
            "new-codes-or-recovery",
            NewCodes {
                provable: Provable { by_recovery: ByRecovery::Folded, ..both },
                left: 2,
                problem: None,
            }
            .render(look),
        ),
        ("sessions", sessions.render(look)),
        ("not-me", NotMe { entry: history.first(), session: None }.render(look)),
        ("not-me-session", NotMe { entry: None, session: Some(user) }.render(look)),
        ("not-me-done", NotMeDone { passkey: true }.render(look)),
        ("panic", Panic { user, provable: both, no_match: true }.render(look)),
        ("panic-done", PanicDone { user }.render(look)),
        ("account-reports", Account { reports: &[("alice".parse().unwrap(), NOW)], ..account }.render(look)),
        (
            "sign-in-passkey-wanted",
            SignIn { notice: Some(SignInNotice::PasskeyWanted), ..sign_in }.render(look),
        ),
        (
            "sessions-one",
            Sessions { rows: &sessions.rows[..1], history: &[], notice: Some(SessionsNotice::OthersEnded) }
                .render(look),
        ),
        ("sign-in", sign_in.render(look)),
        ("sign-in-passkeys", SignIn { passkeys: true, ..sign_in }.render(look)),
        ("sign-in-password", SignIn { password: true, ..sign_in }.render(look)),
        ("sign-in-no-match", SignIn { user, notice: no_match, failures: 1, ..sign_in }.render(look)),
        ("sign-in-twice", SignIn { user, notice: no_match, failures: 2, ..sign_in }.render(look)),
        ("sign-in-ended", SignIn { notice: Some(SignInNotice::SessionEnded), ..sign_in }.render(look)),
        ("recover", Recover { user: "", no_match: false, elsewhere: false }.render(look)),
        ("recover-no-match", Recover { user, no_match: true, elsewhere: false }.render(look)),
        ("recover-elsewhere", Recover { user, no_match: false, elsewhere: true }.render(look)),
        (
            "sign-in-demanded",
            SignIn { notice: Some(SignInNotice::Demanded(Requirement::Passkey)), ..sign_in }.render(look),
        ),
        ("sign-in-elsewhere", SignIn { notice: Some(SignInNotice::Elsewhere), ..sign_in }.render(look)),
        ("sign-in-not-enough", SignIn { notice: Some(SignInNotice::NotEnough), ..sign_in }.render(look)),
        ("demanded", demanded.render(look)),
        ("demanded-passkey", Demanded { lacks: Requirement::Passkey, ..demanded }.render(look)),
        (
            "enrol-passkey-two-keys",
            EnrolPasskey { totp: false, wants: Some(Requirement::TwoKeys), ..passkey }.render(look),
        ),
        (
            "enrol-passkey-second",
            EnrolPasskey { step: Step { at: 1, of: 1 }, beside: true, ..passkey }.render(look),
        ),
        (
            "enrol-passkey-second-demanded",
            EnrolPasskey {
                step: Step { at: 1, of: 1 },
                beside: true,
                totp: false,
                wants: Some(Requirement::TwoKeys),
                trouble: Some(PasskeyTrouble::OwnAuthority),
                ..passkey
            }
            .render(look),
        ),
        ("enrol-start-elsewhere", EnrolStart { problem: Some(InvitationProblem::Elsewhere) }.render(look)),
        ("enrol-start", EnrolStart { problem: None }.render(look)),
        ("enrol-start-unknown", EnrolStart { problem: Some(InvitationProblem::Unknown) }.render(look)),
        ("enrol-totp", totp.render(look)),
        ("enrol-totp-wrong", EnrolTotp { name: user, wrong_code: true, ..totp }.render(look)),
        (
            "enrol-totp-clock",
            EnrolTotp { name: user, wrong_code: true, app_ahead: Some(-95), ..totp }.render(look),
        ),
        (
            "diagnostics",
            Diagnostics { findings: &findings, summary: Summary::of(&findings), checked_at: NOW }
                .render(look),
        ),
        (
            "diagnostics-fine",
            Diagnostics { findings: &findings[..1], summary: Summary::of(&findings[..1]), checked_at: NOW }
                .render(look),
        ),
        ("app-clock", AppClock { found: None, next: "/" }.render(look)),
        ("app-clock-right", AppClock { found: Some(AppClockFound::Right), next: "/" }.render(look)),
        ("app-clock-behind", AppClock { found: Some(AppClockFound::Off(-95)), next: "/" }.render(look)),
        ("app-clock-before", AppClock { found: Some(AppClockFound::Before(605)), next: "/" }.render(look)),
        ("app-clock-no-match", AppClock { found: Some(AppClockFound::NoMatch), next: "/" }.render(look)),
        ("app-clock-locked", AppClock { found: Some(AppClockFound::Locked), next: "/" }.render(look)),
        ("enrol-totp-beside-key", EnrolTotp { beside_key: true, ..totp }.render(look)),
        ("security-key", key.render(look)),
        ("security-key-only", SecurityKey { recovery: false, ..key }.render(look)),
        ("security-key-address", SecurityKey { ceremony: None, ..key }.render(look)),
        ("enrol-passkey", passkey.render(look)),
        (
            "enrol-passkey-own-authority",
            EnrolPasskey { trouble: Some(PasskeyTrouble::OwnAuthority), ..passkey }.render(look),
        ),
        (
            "enrol-passkey-address",
            EnrolPasskey { trouble: Some(PasskeyTrouble::BareAddress), ..passkey }.render(look),
        ),
        ("enrol-passkey-only", EnrolPasskey { totp: false, security_key: false, ..passkey }.render(look)),
        (
            "replace-passkey",
            EnrolPasskey { totp: false, security_key: false, replaces: Some(user), ..passkey }.render(look),
        ),
        (
            "replace-key",
            EnrolPasskey { passkey: false, totp: false, replaces: Some(user), ..passkey }.render(look),
        ),
        ("replace-app", EnrolTotp { replaces: Some(user), ..totp }.render(look)),
        ("enrol-codes", shown.render(look)),
        ("enrol-codes-wrong", Codes { typed_wrong: true, ..shown }.render(look)),
        ("enrol-codes-gone", Codes { codes: &[], typed_wrong: true, ..shown }.render(look)),
        ("new-codes", NewCodes { provable: both, left: 2, problem: None }.render(look)),
        (
            "new-codes-no-match",
            NewCodes { provable: both, left: 2, problem: Some(NewCodesProblem::NoMatch) }.render(look),
        ),
        (
            "new-codes-late",
            NewCodes { provable: both, left: 2, problem: Some(NewCodesProblem::Late) }.render(look),
        ),
        ("new-codes-shown", Codes { step: None, ..shown }.render(look)),
        ("enrol-done", EnrolDone { user, signed_in: true, nudge: None }.render(look)),
        ("enrol-done-signed-out", EnrolDone { user, signed_in: false, nudge: None }.render(look)),
        ("account", account.render(look)),
        ("account-admin", Account { admin: true, ..account }.render(look)),
        ("account-few-codes", Account { recovery_codes: Some(1), ..account }.render(look)),
        ("account-nodes-down", Account { down: &down, ..account }.render(look)),
        ("account-unknown-codes", Account { recovery_codes: None, ..account }.render(look)),
        ("signed-out", SignedOut.render(look)),
    ]
    .into_iter()
    .map(|(name, html)| (name.to_owned(), html))
    .collect::<Vec<_>>();
    pages.extend(admin::tests::pages(look, user, &rows, sessions.rows, &history));
    for (name, refusal) in refusals(user) {
        pages.push((format!("refusal-{name}"), RefusalPage { refusal, reference: "7KQ2-M4XD" }.render(look)));
    }
    pages.push((
        "refusal-bare".to_owned(),
        RefusalPage { refusal: Refusal::NotFound, reference: "" }.render(look),
    ));
    pages
}

fn refusals(text: &str) -> Vec<(&'static str, Refusal<'_>)> {
    let fingerprints = Fingerprints {
        expected: "5B:1C:0E:77:9A:41:D3:08:6F:C2:B5:54:E1:93:2D:7A:60:BF:18:CC:4E:A9:35:F7:82:0B:D6:61:3C:F4:29:9E",
        found: text,
    };
    vec![
        ("address", Refusal::AddressNotAllowed { address: Some(text) }),
        ("address-hidden", Refusal::AddressNotAllowed { address: None }),
        ("host", Refusal::WrongHost { url: text }),
        ("cross-site", Refusal::CrossSite),
        (
            "rate",
            Refusal::RateLimited {
                retry_after: Duration::from_secs(250),
                until: NOW.plus(Duration::from_secs(250)),
            },
        ),
        ("not-found", Refusal::NotFound),
        ("invitation-unknown", Refusal::Invitation(InvitationProblem::Unknown)),
        ("invitation-used", Refusal::Invitation(InvitationProblem::Used)),
        ("invitation-expired", Refusal::Invitation(InvitationProblem::Expired)),
        ("upstream-refused", Refusal::UpstreamRefused { upstream: Some(text), retry: true }),
        ("upstream-timeout", Refusal::UpstreamTimeout { upstream: None, retry: false }),
        ("upstream-tls", Refusal::UpstreamBrokenTls { upstream: None, retry: true }),
        ("fingerprint", Refusal::UpstreamFingerprint { admin: None }),
        ("fingerprint-admin", Refusal::UpstreamFingerprint { admin: Some(fingerprints) }),
        ("bad-request", Refusal::BadRequest),
        ("method", Refusal::MethodNotAllowed),
        ("timeout", Refusal::RequestTimeout),
        ("body", Refusal::BodyTooLarge { limit: 65_536 }),
        ("uri", Refusal::UriTooLong { limit: 16_384 }),
        ("head", Refusal::HeadTooLarge { limit: Some(32_768) }),
        ("head-upstream", Refusal::HeadTooLarge { limit: None }),
        ("store", Refusal::StoreUnreadable),
        ("internal", Refusal::Internal),
    ]
}

/// Runs `check` on every page in both languages, with the page's tags.
fn on_every_page(check: impl Fn(&str, &str, &[Tag<'_>])) {
    for language in Language::ALL {
        for (name, html) in pages(&look(language), HOSTILE) {
            let name = format!("{name} ({})", language.tag());
            check(&name, &html, &tags(&html));
        }
    }
}

/// An opening tag: its name and attributes. Templates write attributes with double quotes only.
#[derive(Debug)]
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }
}

fn tags(html: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
        let mut tag = Tag { name: &rest[..end], attributes: Vec::new() };
        rest = rest[end..].trim_start();
        while !rest.starts_with('>') {
            if let Some(after) = rest.strip_prefix('/') {
                rest = after.trim_start();
                continue;
            }
            let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap();
            let name = &rest[..end];
            rest = &rest[end..];
            let value = match rest.strip_prefix("=\"") {
                Some(quoted) => {
                    let end = quoted.find('"').unwrap();
                    rest = &quoted[end + 1..];
                    &quoted[..end]
                }
                None => {
                    assert!(!rest.starts_with('='), "attribute {name} is not in double quotes");
                    ""
                }
            };
            tag.attributes.push((name, value));
            rest = rest.trim_start();
        }
        tags.push(tag);
    }
    tags
}

#[test]
fn text_from_outside_never_becomes_markup() {
    on_every_page(|name, html, tags| {
        assert!(!html.contains("<script>"), "{name}");
        assert_eq!(tags.iter().filter(|tag| tag.name == "script").count(), 1, "{name}");
        assert!(!html.contains("{{") && !html.contains("{%"), "{name}: a template shows through");
    });
    let page = SignIn {
        user: HOSTILE,
        codes: true,
        recovery: true,
        password: false,
        passkeys: false,
        notice: None,
        failures: 0,
    };
    let html = page.render(&look(Language::English));
    assert!(html.contains("value=\"&#34;&#39;&#62;&#60;script&#62;"), "kept, and escaped: {html}");
}

#[test]
fn look_is_escaped_too() {
    let hostile = Look { host: HOSTILE, contact: HOSTILE, query: HOSTILE, ..look(Language::English) };
    for (name, html) in pages(&hostile, "alice") {
        assert!(!html.contains("<script>"), "{name}");
        assert_eq!(tags(&html).iter().filter(|tag| tag.name == "script").count(), 1, "{name}");
    }
}

#[test]
fn nothing_in_a_page_needs_more_than_the_content_security_policy_grants() {
    on_every_page(|name, _, tags| {
        for tag in tags {
            assert!(
                !["style", "base", "iframe", "object", "embed"].contains(&tag.name),
                "{name}: <{}>",
                tag.name
            );
            for (attribute, value) in &tag.attributes {
                assert!(!attribute.starts_with("on") && *attribute != "style", "{name}: {tag:?}");
                let is_address = ["src", "action", "formaction"].contains(attribute)
                    || (*attribute == "href" && tag.name == "link");
                assert!(!is_address || value.starts_with("/_gate/"), "{name}: {tag:?}");
            }
            if tag.name == "script" {
                assert!(tag.attribute("src").is_some(), "{name}: an inline script");
            }
        }
    });
}

#[test]
fn every_page_says_its_language_and_has_one_heading_and_one_main_part() {
    on_every_page(|name, html, tags| {
        // A drawing has a title of its own, with an identifier.
        let is_drawings = |tag: &Tag<'_>| tag.name == "title" && tag.attribute("id").is_some();
        let count = |wanted: &str| tags.iter().filter(|tag| tag.name == wanted && !is_drawings(tag)).count();
        let language = if name.ends_with("(de)") { "de" } else { "en" };

        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert_eq!(tags[0].attribute("lang"), Some(language), "{name}");
        for once in ["h1", "main", "header", "footer", "title"] {
            assert_eq!(count(once), 1, "{name}: <{once}>");
        }
        assert!(html.trim_end().ends_with("</html>"), "{name}");
    });
}

#[test]
fn every_field_has_a_label_and_every_reference_a_target() {
    on_every_page(|name, _, tags| {
        let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(ids.len(), unique.len(), "{name}: an id stands twice");

        let labels: Vec<&str> =
            tags.iter().filter(|tag| tag.name == "label").filter_map(|tag| tag.attribute("for")).collect();
        for tag in tags {
            if tag.name == "input" && tag.attribute("type") != Some("hidden") {
                let id = tag.attribute("id").unwrap();
                assert!(labels.contains(&id), "{name}: {id} has no label");
                assert!(tag.attribute("autocomplete").is_some(), "{name}: {id} does not say what it is for");
            }
            if let Some(target) = tag.attribute("aria-describedby") {
                assert!(ids.contains(&target), "{name}: {target} does not exist");
            }
        }
        for label in labels {
            assert!(ids.contains(&label), "{name}: {label} does not exist");
        }
    });
}

#[test]
fn forms_that_sign_in_are_sent_to_the_page_itself_so_that_next_and_fragment_come_along() {
    on_every_page(|name, _, tags| {
        for form in tags.iter().filter(|tag| tag.name == "form") {
            assert_eq!(form.attribute("method"), Some("post"), "{name}");
            let has_action = form.attribute("action").is_some();
            let own = ["sign-in", "recover", "app-clock"].iter().any(|page| name.starts_with(page));
            assert_eq!(has_action, !own, "{name}");
        }
    });
}

#[test]
fn the_name_is_kept_and_the_code_is_not() {
    let page = SignIn {
        user: "alice",
        codes: true,
        recovery: true,
        password: true,
        passkeys: true,
        notice: Some(SignInNotice::NoMatch),
        failures: 1,
    };
    let html = page.render(&look(Language::English));

    for input in tags(&html).iter().filter(|tag| tag.name == "input") {
        let kept = input.attribute("value");
        let expected = match input.attribute("name") {
            Some("user") => Some("alice"),
            Some("failures") => Some("1"),
            _ => None,
        };
        assert_eq!(kept, expected, "{input:?}");
    }
}

#[test]
fn clocks_are_talked_of_from_the_second_failure_on() {
    for (failures, talked_of) in [(0, false), (1, false), (2, true), (3, true)] {
        let notice = Some(SignInNotice::NoMatch);
        let page = SignIn {
            user: "alice",
            codes: true,
            recovery: true,
            password: false,
            passkeys: false,
            notice,
            failures,
        };
        let html = page.render(&look(Language::English));
        assert_eq!(html.contains("data-clock-offset"), talked_of, "{failures}");
    }
}

#[test]
fn strangers_learn_neither_addresses_nor_policy_from_a_refusal() {
    let hidden = [
        Refusal::AddressNotAllowed { address: None },
        Refusal::UpstreamRefused { upstream: None, retry: true },
        Refusal::UpstreamFingerprint { admin: None },
    ];
    for refusal in hidden {
        let html = RefusalPage { refusal, reference: "7KQ2" }.render(&look(Language::English));
        assert!(!html.contains("10.0.0.2") && !html.contains("5B:1C"), "{refusal:?}");
    }
    let html = RefusalPage { refusal: hidden[0], reference: "7KQ2" }.render(&look(Language::English));
    assert!(!html.contains("Proxmox") && !html.contains("pvegate"), "{html}");
}

#[test]
fn a_page_asks_again_by_itself_only_where_that_is_harmless() {
    for retry in [true, false] {
        let refusal = Refusal::UpstreamRefused { upstream: None, retry };
        let html = RefusalPage { refusal, reference: "" }.render(&look(Language::English));
        assert_eq!(html.contains("data-retry"), retry);
    }
}

#[test]
fn the_theme_is_a_class_of_the_root() {
    for (theme, class) in [(Theme::Auto, "auto"), (Theme::Light, "light"), (Theme::Dark, "dark")] {
        let html = SignedOut.render(&Look { theme, ..look(Language::English) });
        assert_eq!(tags(&html)[0].attribute("class"), Some(class));
    }
}

/// The words of a page that people read, tags left out.
fn text(html: &str) -> String {
    let (_, mut rest) = html.split_once("<body>").unwrap();
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    text
}

/// Words that one of the languages cannot do without and the other does not have.
#[test]
fn no_page_mixes_languages() {
    let english =
        ["the", "and", "your", "you", "with", "this", "that", "is", "are", "of", "to", "for", "from"];
    let german = ["und", "der", "das", "nicht", "mit", "ist", "sie", "ihre", "ein", "für", "von", "auf"];
    for (language, foreign) in [(Language::English, &german[..]), (Language::German, &english[..])] {
        for (name, html) in pages(&look(language), "alice") {
            let text = text(&html);
            let mut words = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
            let found = words.find(|word| foreign.contains(&word.as_str()));
            assert_eq!(found, None, "{name} in {}: {text}", language.tag());
        }
    }
}

/// A page that nobody renders here is looked at by no test.
#[test]
fn every_page_is_among_those_that_are_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gate/portal/pages");
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("mod.rs") {
            let source = fs::read_to_string(&path).unwrap();
            let found = source.split("\nrendered!(").skip(1).filter_map(|rest| rest.split([',', '<']).next());
            pages.extend(found.map(str::to_owned));
        }
    }
    let here = include_str!("tests.rs");
    assert!(pages.len() > 15, "{pages:?}");
    for page in pages {
        let is_made = here.contains(&format!("{page} {{")) || here.contains(&format!("{page}.render"));
        assert!(is_made, "{page} is in no state that `pages` renders");
    }
}

#[test]
fn every_phrase_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gate/portal/pages");
    let mut sources = [
        include_str!("app_clock.rs"),
        include_str!("diagnostics.rs"),
        include_str!("refusal.rs"),
        include_str!("sessions.rs"),
        include_str!("demanded.rs"),
        include_str!("../default_name.rs"),
        include_str!("admin/mod.rs"),
        include_str!("admin/deed.rs"),
        include_str!("admin/people.rs"),
        include_str!("../admin/charts.rs"),
    ]
    .concat();
    for folder in [folder.join("admin"), folder] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "html") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    for name in Language::phrases() {
        assert!(sources.contains(&format!("w.{name}(")), "{name} is used nowhere");
    }
}

/// Writes every page, in every language and theme, into `target/pages`, to be looked at in a browser.
#[test]
fn every_page_can_be_looked_at_without_a_gate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    fs::create_dir_all(&folder).unwrap();
    for (asset, file) in
        [(assets::style(), "gate.css"), (assets::script(), "gate.js"), (assets::icon(), "icon.svg")]
    {
        fs::write(folder.join(file), asset.bytes).unwrap();
    }
    let mut index = String::from("<!doctype html><title>Pages</title><ul>");
    for language in Language::ALL {
        for theme in [Theme::Light, Theme::Dark] {
            for (name, html) in pages(&Look { theme, ..look(language) }, "alice") {
                let file = format!("{name}.{}.{}.html", language.tag(), theme.class());
                let html = html
                    .replace(assets::style().path(), "gate.css")
                    .replace(assets::script().path(), "gate.js")
                    .replace(assets::icon().path(), "icon.svg");
                fs::write(folder.join(&file), html).unwrap();
                writeln!(index, "<li><a href=\"{file}\">{file}</a>").unwrap();
            }
        }
    }
    fs::write(folder.join("index.html"), index).unwrap();
}
