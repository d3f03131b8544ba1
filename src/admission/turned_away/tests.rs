//! What somebody who was turned away gets, and what they cost.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::*;
use crate::{
    admission::{Settings, ban, rate::Requests},
    time::ManualClock,
};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);

fn admission(on_deny: OnDeny, burst: u32) -> Admission {
    let burst = NonZeroU32::new(burst).unwrap();
    let settings = Settings {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        deny: vec!["10.66.0.0/16".parse().unwrap()],
        on_deny,
        peers: vec!["192.0.2.1/32".parse().unwrap()],
        peers_forward: false,
        max_connections: 100,
        max_connections_per_source: 2,
        requests: Requests { a_second: NonZeroU32::MIN, burst },
        bans: ban::Rules {
            automatic: true,
            after: 20,
            first: Duration::from_secs(600),
            longest: Duration::from_secs(86_400),
            never: vec![],
        },
    };
    Admission::new(settings, Arc::new(ManualClock::at(START)))
}

/// What becomes of a connection, in a word.
fn word(received: &Result<Received<()>, Refusal>) -> Result<&'static str, Refusal> {
    match received {
        Ok(Received::Admitted(_)) => Ok("admitted"),
        Ok(Received::TurnedAway(_)) => Ok("told"),
        Err(refusal) => Err(*refusal),
    }
}

#[test]
fn whom_the_lists_refuse_is_told_where_that_is_set_and_whoever_is_banned_never() {
    use SourceRefusal::{Banned, Denied, NotAllowed};
    #[rustfmt::skip]
    let table = [
        // case               source            by default            with a page
        ("allowed",           "10.0.0.1:1",     Ok("admitted"),         Ok("admitted")),
        ("not allowed",       "203.0.113.9:1",  Err(NotAllowed.into()), Ok("told")),
        ("denied",            "10.66.0.1:1",    Err(Denied.into()),     Ok("told")),
        ("banned",            "10.0.0.66:1",    Err(Banned.into()),     Err(Banned.into())),
        ("both",              "203.0.113.66:1", Err(NotAllowed.into()), Err(NotAllowed.into())),
        ("denied and banned", "10.66.0.66:1",   Err(Denied.into()),     Err(Denied.into())),
    ];
    for (on_deny, column) in [(OnDeny::Drop, 0), (OnDeny::Page, 1)] {
        let admission = admission(on_deny, 100);
        for banned in ["10.0.0.66/32", "203.0.113.66/32", "10.66.0.66/32"] {
            admission.set_ban(banned.parse().unwrap(), Some(START.plus(Duration::from_secs(60))));
        }
        for (case, source, by_default, with_page) in table {
            let client = ClientAddr::new(source.parse().unwrap());
            let expected = if column == 0 { by_default } else { with_page };
            assert_eq!(word(&admission.receive((), client)), expected, "{case}, {on_deny:?}");

            let peer = ClientAddr::new("192.0.2.1:1".parse().unwrap());
            let unnamed = admission.admit_peer((), peer).unwrap();
            let conveyed = admission.receive_conveyed(unnamed, client);
            assert_eq!(word(&conveyed), expected, "{case} through a peer, {on_deny:?}");
        }
        assert!(lock(&admission.places).is_empty());
    }
}

#[test]
fn whoever_is_told_has_no_more_connections_and_requests_than_others() {
    let client = |port: u16| ClientAddr::new(([203, 0, 113, 9], port).into());
    let admission = admission(OnDeny::Page, 3);

    let held = [1, 2].map(|port| admission.receive((), client(port)));
    assert_eq!(held.each_ref().map(word), [Ok("told"), Ok("told")]);
    assert_eq!(word(&admission.receive((), client(3))), Err(Refusal::SourceFull(2)));
    drop(held);
    assert!(lock(&admission.places).is_empty());
    let late = admission.receive((), client(4));
    assert_eq!(word(&late), Err(SourceRefusal::NotAllowed.into()), "its requests are used up");
}

#[test]
fn a_ban_ends_whoever_is_being_told() {
    let admission = admission(OnDeny::Page, 3);
    let client = ClientAddr::new("203.0.113.9:1".parse().unwrap());
    let Ok(Received::TurnedAway(turned_away)) = admission.receive((), client) else { panic!("not told") };
    assert_eq!((turned_away.client(), turned_away.refusal()), (client, SourceRefusal::NotAllowed));
    let (_connection, place) = turned_away.into_parts();

    admission.set_ban("203.0.113.0/24".parse().unwrap(), Some(START.plus(Duration::from_secs(60))));

    assert_eq!(place.ended(), Some(Ended::Banned));
}
