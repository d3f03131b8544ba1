//! A tab of Proxmox VE's interface that stays open when its session is over: it hears what to do, leads back
//! to where it was, and is no attacker.

use std::time::Duration;

use pvegate::names;

use super::{HANDSHAKE, Scene};
use crate::harness::{Person, Wire};

/// What the interface's scripts send with every call.
const SCRIPT: &str = "Accept: application/json\r\nX-Requested-With: XMLHttpRequest\r\nSec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\nSec-Fetch-Site: same-origin\r\n";

/// Somebody whose tab is open, and whose session has been over since just now.
async fn scene_with_an_open_tab() -> Scene {
    let scene = Scene::set().await;
    scene.gate.clock.advance(Duration::from_secs(13 * 60 * 60));
    scene
}

#[tokio::test]
async fn a_tab_whose_session_is_over_hears_the_phrase_that_its_interface_shows_to_people() {
    let scene = scene_with_an_open_tab().await;
    let mut wire = scene.wire().await;

    for (method, target) in [
        ("GET", "/api2/json/cluster/resources"),
        ("GET", "/api2/extjs/nodes/demo/status"),
        ("POST", "/api2/extjs/access/ticket"),
        ("GET", "/pve2/js/pvemanagerlib.js"),
    ] {
        wire.send(scene.alice.client.head(method, target, SCRIPT).as_bytes()).await;
        let answer = wire.answer(method).await.unwrap();

        // No redirect, and no page: the interface would show what it had before, for ever.
        assert_eq!((answer.status, answer.reason.as_str()), (401, names::SIGN_IN_PHRASE), "{target}");
        assert!(!answer.text().contains("<html"), "{}", answer.text());
        assert!(!answer.closes, "it goes on asking on the same connection");
    }
    assert_eq!(scene.pve.connections_seen(), 0);
}

#[tokio::test]
async fn an_hour_of_an_open_tabs_asking_counts_for_nothing() {
    let mut scene = scene_with_an_open_tab().await;
    let mut wire = scene.wire().await;

    for second in 0..3600 {
        scene.gate.clock.advance(Duration::from_secs(1));
        // Polling, the renewal of the ticket, and a console that tries to come back.
        let (method, target, more) = match second % 60 {
            0 => ("POST", "/api2/extjs/access/ticket", SCRIPT),
            1 => ("GET", "/api2/json/nodes/demo/vncwebsocket?port=5900&vncticket=x", HANDSHAKE),
            _ => ("GET", "/api2/json/cluster/resources", SCRIPT),
        };
        wire.send(scene.alice.client.head(method, target, more).as_bytes()).await;
        let answer = wire.answer(method).await.unwrap();
        assert_eq!((answer.status, answer.reason.as_str()), (401, names::SIGN_IN_PHRASE), "{second}");
        if answer.closes {
            wire = scene.wire().await;
        }
    }

    let events = scene.gate.audit();
    let refused: Vec<_> = events.iter().filter(|event| event["event"]["outcome"] == "failure").collect();
    assert!(refused.is_empty(), "nobody tried anything: {refused:?}");
    assert_eq!(scene.pve.connections_seen(), 0);
    // The address has all its attempts left, and the account all its trust.
    for _ in 0..9 {
        assert_eq!(scene.alice.sign_in_with("000000").await.status, 403);
    }
    assert_eq!(Person::sign_in(&mut scene.alice, &scene.gate).await.status, 303);
}

#[tokio::test]
async fn reloading_the_tab_leads_through_sign_in_back_to_where_it_was() {
    let mut scene = scene_with_an_open_tab().await;
    let deep = "/?console=shell&node=demo&resize=off";

    let sent = scene.alice.client.navigate(deep).await;
    // A fragment is the browser's own: it goes along with the redirect, and with the form to its own address.
    let page = sent.location().unwrap().to_owned();
    let form = scene.alice.client.navigate(&page).await;
    let code = scene.alice.wait_for_next_code(&scene.gate);
    let signed_in = scene.alice.client.post_form(&page, &[("user", "alice"), ("code", &code)]).await;

    assert_eq!((sent.status.as_u16(), form.status.as_u16()), (303, 200));
    assert!(!form.text().contains("action="), "sent to its own address: {}", form.text());
    assert_eq!((signed_in.status.as_u16(), signed_in.location()), (303, Some(deep)));
    let there = scene.alice.client.navigate(deep).await;
    assert_eq!(there.status, 200);
    assert!(there.text().contains("Stand-in for Proxmox VE"));
}

#[tokio::test]
async fn a_tab_goes_on_where_it_was_when_its_owner_signs_in_in_another() {
    let mut scene = scene_with_an_open_tab().await;
    let mut wire = scene.wire().await;
    wire.send(scene.alice.client.head("GET", "/api2/json/access/domains", SCRIPT).as_bytes()).await;
    assert_eq!(wire.answer("GET").await.unwrap().status, 401);

    scene.alice.sign_in(&scene.gate).await;

    // The same connection, with the cookie that both tabs share.
    wire.send(scene.alice.client.head("GET", "/api2/json/access/domains", SCRIPT).as_bytes()).await;
    assert_eq!(wire.answer("GET").await.unwrap().status, 200);
    drop::<Wire>(wire);
}
