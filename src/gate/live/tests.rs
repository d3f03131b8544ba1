//! What a session's ends, times and newcomers mean, one moment after another.

use std::time::Duration;

use super::*;
use crate::{
    account::{ByRequirement, Means, Method, UserName},
    gate::AuthRules,
};

const HOUR: i64 = 3600;

fn swept(sessions: &LiveSessions, now: Timestamp) -> Vec<(SessionId, EndReason)> {
    let swept = sessions.sweep(now);
    swept.iter().for_each(|(session, _)| session.end_is_recorded());
    swept.into_iter().map(|(session, reason)| (session.id, reason)).collect()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn person(user: User) -> Person {
    let means = Means { apps: 1, ..Means::default() };
    Person { user: Arc::new(user), groups: Vec::new(), means, demanded: ByRequirement::default() }
}

fn alice() -> User {
    let name: UserName = "alice".parse().unwrap();
    User { id: UserId(1), name, role: Role::User, created_at: at(0), disabled_at: None }
}

fn session(number: u8) -> Session {
    Session {
        id: SessionId([number; 32]),
        user: UserId(1),
        method: Method::Totp,
        password: false,
        device_bound: false,
        scope: Scope::Full,
        created_at: at(0),
        expires_at: at(12 * HOUR),
        last_active_at: at(0),
        client: "192.0.2.1".parse().unwrap(),
        user_agent: String::new(),
        ended: None,
    }
}

fn sessions() -> (LiveSessions, Arc<LiveSession>) {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let limits = SessionLimits { lifetime: hours(12), idle: hours(1), console_idle: hours(4) };
    let auth = AuthRules { passkey: true, totp: true, recovery: true, password: false };
    let sessions = LiveSessions::new(Policies { session: limits, auth, rules: Vec::new() });
    let live = sessions.insert(&session(1), person(alice()), at(0));
    (sessions, live)
}

#[test]
fn whoever_is_enabled_again_comes_in_before_that_is_heard() {
    let (sessions, before) = sessions();
    sessions.user_changed(UserId(1), None, at(1));
    assert_eq!(before.alive(at(1)), Err(EndReason::Disabled));

    // Enabled in the store, and signed in there; the follower has not looked yet.
    let after = sessions.insert(&session(2), person(alice()), at(2));

    assert_eq!(after.alive(at(2)), Ok(()));
    assert_eq!(before.alive(at(2)), Err(EndReason::Disabled), "what was over stays over");
}

#[test]
fn whoever_is_disabled_while_a_session_is_being_taken_in_is_out_at_the_next_look() {
    let (sessions, _) = sessions();
    // Disabling ends the row of the session; that is heard of before the session is here.
    sessions.end(SessionId([2; 32]), EndReason::Disabled);
    sessions.user_changed(UserId(1), None, at(1));
    let by_row = sessions.insert(&session(2), person(alice()), at(1));
    assert_eq!(by_row.alive(at(1)), Err(EndReason::Disabled));

    // By hand, without a word about the session.
    let by_hand = sessions.insert(&session(3), person(alice()), at(1));
    assert!(sessions.take_newcomers().contains(&UserId(1)), "the follower reads the owner");
    sessions.user_changed(UserId(1), None, at(1));
    assert_eq!(by_hand.alive(at(1)), Err(EndReason::Disabled));
}

#[test]
fn an_idle_session_stays_over_even_if_a_console_is_used_again() {
    let (_, session) = sessions();
    let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(0));

    assert_eq!(session.alive(at(HOUR)), Err(EndReason::Idle));
    console.touch(at(HOUR + 1));

    assert_eq!(session.alive(at(HOUR + 2)), Err(EndReason::Idle));
}

#[tokio::test]
async fn a_console_outlives_idleness_of_its_session_and_closes_by_its_own_limit() {
    let (sessions, session) = sessions();
    let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(0));

    assert_eq!(swept(&sessions, at(2 * HOUR)), [], "the store is not told while the console is open");
    console.touch(at(3 * HOUR));
    sessions.sweep(at(4 * HOUR));
    assert_eq!(console.console.ended(), None);
    sessions.sweep(at(7 * HOUR));

    assert_eq!(console.over().await, ConsoleOver::Idle);
    drop(console);
    assert_eq!(swept(&sessions, at(7 * HOUR)), [(session.id, EndReason::Idle)]);
    assert_eq!(swept(&sessions, at(7 * HOUR)), [], "told once");
}

#[tokio::test]
async fn one_console_is_closed_and_its_session_and_other_consoles_go_on() {
    let (sessions, session) = sessions();
    let lease = Lease::new(session.clone());
    let shell = "/api2/json/nodes/pve1/vncwebsocket".parse().unwrap();
    let first = lease.open_console(&http::Method::GET, Some(&shell), at(1));
    let second = lease.open_console(&http::Method::GET, None, at(2));
    let told = sessions.consoles();
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0].leads_to, told[0].since), (&LeadsTo::Node("pve1".to_owned()), at(1)));
    assert_eq!(told[0].user.as_str(), "alice");

    assert!(sessions.close_console(told[0].id));

    assert_eq!(first.over().await, ConsoleOver::Closed);
    assert_eq!(second.console.ended(), None);
    assert_eq!(session.alive(at(3)), Ok(()));
    drop(first);
    assert_eq!(sessions.consoles().len(), 1);
    assert!(!sessions.close_console(told[0].id), "it is gone");
}

#[tokio::test]
async fn whoever_ends_an_idle_session_ends_its_console_and_transfers() {
    let (sessions, session) = sessions();
    let lease = Lease::new(session.clone());
    let console = lease.open_console(&http::Method::GET, None, at(0));
    sessions.sweep(at(2 * HOUR));
    assert!(!lease.is_transfer_over());

    sessions.end(session.id, EndReason::Revoked);

    assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Revoked));
    assert_eq!(lease.transfer_over().await, EndReason::Revoked);
}

#[tokio::test]
async fn the_absolute_limit_closes_consoles_and_lets_transfers_finish() {
    let (sessions, session) = sessions();
    let lease = Lease::new(session.clone());
    let console = lease.open_console(&http::Method::GET, None, at(11 * HOUR));
    session.touch(at(11 * HOUR + 1800));

    assert_eq!(swept(&sessions, at(12 * HOUR)), [(session.id, EndReason::Expired)]);

    assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Expired));
    assert!(!lease.is_transfer_over());
    let user = User { disabled_at: Some(at(0)), ..(*session.user()).clone() };
    sessions.user_changed(UserId(1), Some(&person(user)), at(12 * HOUR));
    assert!(lease.is_transfer_over(), "a disabled user's transfer is cut even so");
}

#[test]
fn what_is_over_is_forgotten_when_nothing_runs_in_it() {
    let (sessions, session) = sessions();
    let id = session.id;
    assert_eq!(swept(&sessions, at(13 * HOUR)).len(), 1);
    assert_eq!(swept(&sessions, at(13 * HOUR)), []);
    assert!(sessions.find(id).is_some(), "something holds it");

    drop(session);
    assert_eq!(swept(&sessions, at(13 * HOUR)), []);

    assert!(sessions.find(id).is_none());
}

#[test]
fn activity_is_told_to_the_store_once() {
    let (sessions, session) = sessions();
    session.touch(at(60));
    session.touch(at(30));

    let told = sessions.unrecorded_activity();
    assert_eq!(told, [(session.id, at(60))]);
    assert_eq!(sessions.unrecorded_activity(), told, "the store did not take it");
    session.touch(at(61));
    sessions.activity_is_recorded(&told);
    let told = sessions.unrecorded_activity();
    assert_eq!(told, [(session.id, at(61))], "what came meanwhile is not taken for told");
    sessions.activity_is_recorded(&told);
    assert_eq!(sessions.unrecorded_activity(), []);
}

#[test]
fn what_shows_nobody_at_work_winds_no_clock_however_long_it_runs() {
    let (sessions, session) = sessions();
    Lease::of(session.clone(), false).touch(at(60));
    assert_eq!(sessions.unrecorded_activity(), []);

    Lease::of(session.clone(), true).touch(at(60));
    assert_eq!(sessions.unrecorded_activity(), [(session.id, at(60))]);

    // Whoever types in a console is at work, by whatever it was opened.
    Lease::of(session.clone(), false).open_console(&http::Method::GET, None, at(0)).touch(at(61));
    assert_eq!(sessions.unrecorded_activity(), [(session.id, at(61))]);
}

#[tokio::test]
async fn an_end_is_told_to_the_store_until_it_has_heard() {
    let (sessions, session) = sessions();
    let console = Lease::new(session.clone()).open_console(&http::Method::GET, None, at(11 * HOUR));
    session.touch(at(11 * HOUR + 1800));

    sessions.look_at_clocks(at(12 * HOUR));

    assert_eq!(console.over().await, ConsoleOver::Session(EndReason::Expired), "before any store hears");
    assert_eq!(sessions.sweep(at(12 * HOUR)).len(), 1);
    assert_eq!(swept(&sessions, at(12 * HOUR)).len(), 1, "the store did not take it");
    assert_eq!(swept(&sessions, at(12 * HOUR)), []);
}
