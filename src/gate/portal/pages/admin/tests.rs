//! Administrators' pages in every state that looks different, for the rules that every page keeps; and rules
//! of their own.

use std::time::Duration;

use super::*;
use crate::{
    account::{InvitationPurpose, Method, SessionId},
    audit::{Action, Event, Outcome, Reason},
    gate::{
        console::ConsoleId,
        portal::{
            admin::charts,
            look::Look,
            pages::tests::{NOW, look},
            proof::{ByRecovery, Provable},
        },
    },
    recent::Recent,
    status::{Down, Why},
    store::RecoveryCodes,
};

/// Those of administrators.
pub(in crate::gate::portal::pages) fn pages(
    look: &Look<'_>,
    user: &str,
    methods: &[MethodRow],
    sessions: &[SessionRow],
    history: &[Entry],
) -> Vec<(String, String)> {
    let person = |state, admin| PersonRow {
        name: user.to_owned(),
        admin,
        state,
        locked: if admin { Locked::Somewhere } else { Locked::Everywhere },
        wrong_codes: 9,
        passkeys: usize::from(admin),
        security_keys: 0,
        apps: 1,
        codes: RecoveryCodes { left: 8, of: 10 },
        added_at: NOW,
        last_sign_in_at: admin.then_some(NOW),
        last_used_at: admin.then_some(NOW),
        open_link: !admin,
    };
    let invited = PersonRow {
        passkeys: 0,
        apps: 0,
        locked: Locked::Nowhere,
        wrong_codes: 0,
        ..person(PersonState::Invited(NOW.plus(Duration::from_secs(600))), false)
    };
    let people = [
        person(PersonState::Active, true),
        person(PersonState::Disabled, false),
        PersonRow { state: PersonState::InvitationExpired, ..invited.clone() },
        PersonRow { state: PersonState::NotInvited, ..invited.clone() },
        invited,
    ];
    let console = |leads_to| Told {
        id: ConsoleId::from_hex("00112233445566ff").unwrap(),
        session: SessionId([7; 32]),
        user: "alice".parse().unwrap(),
        leads_to,
        since: NOW,
    };
    let consoles =
        [LeadsTo::Guest { node: user.to_owned(), vmid: 100 }, LeadsTo::Node(user.to_owned()), LeadsTo::Other];
    let sessions: Vec<OpenSession> = sessions
        .iter()
        .map(|row| OpenSession {
            user: user.to_owned(),
            row: row.clone(),
            consoles: if row.is_this { Vec::new() } else { consoles.clone().map(console).to_vec() },
        })
        .collect();
    let node = |down, trust| Node {
        address: user.to_owned(),
        trust,
        connected_in: Some(Duration::from_millis(3)),
        down,
    };
    let summary = Summary {
        users: 5,
        not_enrolled: 3,
        sessions: 2,
        consoles: 3,
        refusals: vec![("address", 209), ("bad_code", 3), ("locked", 2), ("bad_head", 1)],
        nodes: vec![
            node(None, Trust::Pin),
            node(Some(Down { since: NOW, why: Why::Refused }), Trust::Authority),
        ],
        certificate_until: Some(NOW.plus(Duration::from_secs(212 * 24 * 3600))),
    };
    let ban = |expires_at, automatic| Ban {
        network: "2001:db8:1:2::/64".parse().unwrap(),
        reason: user.to_owned(),
        automatic,
        created_at: NOW,
        expires_at,
        before: 0,
    };
    let bans = [ban(Some(NOW), true), ban(None, false)];
    let recent = Recent::default();
    for event in [
        Event::new(Action::SignIn, Outcome::Success).by(Method::Passkey),
        Event::new(Action::SignIn, Outcome::Failure).by(Method::Totp).because(Reason::new("bad_code", "x")),
        Event::new(Action::SignIn, Outcome::Success).by(Method::Totp).times(7),
        Event::new(Action::Refuse, Outcome::Failure).because(Reason::new("address", "x")).times(200),
    ] {
        recent.hear(&event, NOW);
    }
    for hour in 0..20_u32 {
        let at = NOW.minus(Duration::from_secs(3600) * hour);
        recent.took(Duration::from_micros(80 + 7 * u64::from(hour)), at);
        recent.took(Duration::from_micros(900), at);
        recent.consoles(usize::try_from(hour % 4).unwrap(), at);
    }
    let charts = charts::of(&recent.day(NOW), look.language);
    let admin = Admin {
        summary: &summary,
        people: &people,
        sessions: &sessions,
        bans: &bans,
        charts: &charts,
        done: None,
        now: NOW,
    };
    let nobody = charts::of(&Recent::default().day(NOW), look.language);
    let quiet =
        Summary { nodes: Vec::new(), refusals: Vec::new(), certificate_until: None, ..summary.clone() };
    let page = Person {
        row: &people[0],
        methods,
        sessions: &sessions,
        history,
        last_admin: false,
        done: Some(Deed::EndSession),
        now: NOW,
    };
    let provable = Provable { by_code: true, by_passkey: true, by_recovery: ByRecovery::Folded };
    let typed = Typed {
        reason: user.to_owned(),
        name: user.to_owned(),
        network: user.to_owned(),
        ..Typed::default()
    };
    let form = DeedPage {
        deed: Deed::AddUser,
        about: "",
        told: user,
        user: Some(user),
        typed: &typed,
        provable,
        problem: None,
    };
    let link = "https://pve.example.com/_gate/enrol#abc";
    let qr_svg = qrcode::QrCode::new(link).unwrap().render::<qrcode::render::svg::Color<'_>>().build();
    let made = LinkMade { user, purpose: InvitationPurpose::Enrol, link, qr_svg: &qr_svg, until: NOW };
    let mut pages = vec![
        ("admin".to_owned(), admin.render(look)),
        (
            "admin-quiet".to_owned(),
            Admin {
                summary: &quiet,
                people: &people[..1],
                bans: &[],
                charts: &nobody,
                done: Some(Deed::Ban),
                ..admin
            }
            .render(look),
        ),
        ("admin-user".to_owned(), page.render(look)),
        (
            "admin-user-last".to_owned(),
            Person { last_admin: true, sessions: &[], history: &[], methods: &[], ..page }.render(look),
        ),
        ("admin-user-disabled".to_owned(), Person { row: &people[1], done: None, ..page }.render(look)),
        ("admin-user-invited".to_owned(), Person { row: &people[4], methods: &[], ..page }.render(look)),
        ("admin-link".to_owned(), made.render(look)),
        (
            "admin-recovery-link".to_owned(),
            LinkMade { purpose: InvitationPurpose::Recover, ..made }.render(look),
        ),
    ];
    for deed in Deed::ALL {
        let page = DeedPage { deed, ..form };
        pages.push((format!("admin-{}", deed.word()), page.render(look)));
    }
    let problems = [
        DeedProblem::NoMatch,
        DeedProblem::LastAdmin,
        DeedProblem::NoReason,
        DeedProblem::BadName,
        DeedProblem::NameTaken,
        DeedProblem::BadNetwork,
        DeedProblem::OwnAddress,
        DeedProblem::SignedIn { user: user.to_owned() },
    ];
    for (problem, number) in problems.iter().zip(1..) {
        let page = DeedPage { deed: Deed::Ban, problem: Some(problem), ..form };
        pages.push((format!("admin-problem-{number}"), page.render(look)));
    }
    pages
}

fn html(look: &Look<'_>, wanted: &str) -> String {
    pages(look, "alice", &[], &[], &[]).into_iter().find(|(name, _)| name == wanted).unwrap().1
}

#[test]
fn every_chart_has_a_name_and_its_numbers_in_a_table() {
    for language in Language::ALL {
        let look = look(language);
        let html = html(&look, "admin");
        let drawings: Vec<&str> = html.split("<figure>").skip(1).collect();
        assert_eq!(drawings.len(), 4);
        for drawing in drawings {
            assert!(
                drawing.contains("role=\"img\"") && drawing.contains("<title") && drawing.contains("<desc")
            );
            let rows = drawing.matches("<tr>").count();
            assert!(rows > 1 && drawing.contains("<thead>"), "{drawing}");
        }
    }
}

#[test]
fn the_last_administrator_is_offered_nothing_that_would_take_them_away() {
    let look = look(Language::English);
    for word in ["disable", "delete", "make-user", "panic"] {
        let link = format!("do={word}");
        assert!(html(&look, "admin-user").contains(&link), "{word}");
        assert!(!html(&look, "admin-user-last").contains(&link), "{word}");
    }
}
