//! The diagnostics page: what the checks of a running gate find, for administrators.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use pvegate::{
    account::Role,
    demo::Settings,
    store::Store as _,
    time::{Clock as _, ManualClock},
};

use crate::harness::{Person, Pve, START, TestGate, until};

const PAGE: &str = "/_gate/admin/diagnostics";

/// The rows of the table: the check, its state and what was found, without markup.
fn rows(page: &str) -> Vec<[String; 3]> {
    let body = page.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let text = |html: &str| {
        let mut inside = false;
        let visible = html.chars().filter(|c| {
            inside = (inside || *c == '<') && *c != '>';
            !inside && *c != '>'
        });
        visible.collect::<String>().trim().to_owned()
    };
    let cells = |row: &str| {
        let mut cells = row.split("data-th=").skip(1).map(|cell| text(cell.split_once('>').unwrap().1));
        [cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap()]
    };
    body.split("<tr>").skip(1).map(cells).collect()
}

async fn user(gate: &TestGate, name: &str) -> Person {
    let token = gate.invite_as(name, Role::User);
    Person::take_up(gate, name, &token).await.0
}

#[tokio::test]
async fn administrators_see_what_the_checks_find_now() {
    let clock = Arc::new(ManualClock::at(START));
    let pve = Pve::with(Settings { clock: clock.clone(), ..Settings::quick() }).await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    clock.set(gate.clock.now());
    let address = pve.addr();

    let fine = rows(&alice.client.get(PAGE).await.text());
    let fallen = pve.fall().await;
    let down = alice.client.get(PAGE).await.text();

    let of = |rows: &[[String; 3]], id: &str| rows.iter().find(|row| row[0] == id).unwrap().clone();
    assert_eq!(of(&fine, "upstream")[1], "Fine");
    assert!(of(&fine, "upstream")[2].starts_with(&format!("{address}, pinned, ")), "{fine:?}");
    assert_eq!(of(&fine, "clock")[1], "Fine", "{fine:?}");
    assert_eq!(of(&fine, "users")[1], "Warning");
    assert!(of(&fine, "users")[2].starts_with("one sign-in method only: alice"), "{fine:?}");
    assert_eq!(of(&rows(&down), "upstream")[1], "Problem");
    assert!(down.contains("Checks with a problem: 1."), "{down}");
    // What a gate does not do while it runs, or in its sandbox.
    assert!(fine.iter().all(|row| !["config", "ports", "systemd"].contains(&row[0].as_str())), "{fine:?}");
    drop(fallen);
}

#[tokio::test]
async fn the_gates_clock_is_shown_and_the_browsers_compared() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;

    let page = alice.client.get(PAGE).await.text();

    assert!(page.contains(&format!("<time datetime=\"{}\">", gate.clock.now())), "{page}");
    assert!(page.contains("data-clock-offset"), "{page}");
    assert!(page.contains("data-agrees=\"This device’s clock agrees"), "{page}");
}

#[tokio::test]
async fn nobody_else_sees_it_or_makes_the_gate_look() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut bob = user(&gate, "bob").await;
    assert!(bob.session_cookie().is_some());

    let of_bob = bob.client.get(PAGE).await;
    let of_a_stranger = gate.client().get(PAGE).await;
    let navigating = gate.client().navigate(PAGE).await;

    assert_eq!(of_bob.status, 404);
    assert!(!of_bob.text().contains("pinned"), "{}", of_bob.text());
    assert_eq!(of_a_stranger.status, 401);
    assert_eq!(navigating.status, 303);
    assert_eq!(pve.requests_seen(), 0, "no check was made");
}

#[tokio::test]
async fn an_administrator_who_is_none_any_more_sees_it_no_more() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    let mut carol = gate.person("carol").await;
    assert_eq!(carol.client.get(PAGE).await.status, 200);

    let id = gate.store().user_by_name(&"carol".parse().unwrap()).unwrap().unwrap().id;
    let _ = gate.store().set_role(id, Role::User).unwrap();
    until("the gate hears of the new role", async || carol.client.get(PAGE).await.status == 404).await;

    assert_eq!(alice.client.get(PAGE).await.status, 200);
}
