//! What every store promises, whatever it keeps its rows in; and what the one in a SQLite file promises of
//! its file.
//!
//! The first part is generic: a [`Shelf`] opens stores of one kind, each opening is another connection to the
//! same one, as another process would have it. A second kind of store adds a shelf and a line to `promises!`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::Duration,
};

use pvegate::{
    account::{
        Assertion, Authenticator, Ceremony, Credential, CredentialKind, EndReason, Factor, FactorId,
        InvitationPurpose, Method, Role, Scope, Session, SessionId, TimeStep, Transport, User, UserId,
    },
    store::{
        Added, Attempt, Change, Deleted, Disabled, EnrolledBy, Enrolment, Guesses, Happened, NewEntry,
        NewInvitation, Panicked, RecoveryCodes, RoleSet, SealedCookieKey, Sessions, Spent, SqliteStore,
        StepSpent, Store, StoreError, StoreThread, Tried, UserRenamed,
    },
    time::Timestamp,
};

use crate::harness::{START, Scratch};

/// How many race for what only one may have.
const RACERS: usize = 16;

/// Where stores of one kind stand.
trait Shelf: Sync {
    type Store: Store;

    /// With nothing on it.
    fn empty() -> Self;

    /// Another connection to the same store.
    fn open(&self) -> Self::Store;
}

/// The store in a SQLite file.
struct InAFile(Scratch);

impl InAFile {
    fn path(&self) -> PathBuf {
        self.0.path().join("state/pvegate.db")
    }

    /// The file as the sqlite3 program opens it.
    fn by_hand(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

impl Shelf for InAFile {
    type Store = SqliteStore;

    fn empty() -> Self {
        Self(Scratch::new())
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }
}

macro_rules! promises {
    ($kind:ident is $shelf:ty: $($promise:ident)*) => {
        mod $kind {
            $(#[test]
            fn $promise() {
                super::$promise::<$shelf>();
            })*
        }
    };
}

promises! { sqlite is super::InAFile:
    a_user_is_added_once_and_found_by_name_and_number
    of_those_who_add_one_name_at_once_one_does
    a_new_invitation_revokes_the_unused_ones_of_its_user_and_no_others
    an_invitation_for_nobody_changes_nothing
    invitations_that_still_work_are_listed_and_revoked_with_those_that_do_not
    an_invitation_is_spent_once_and_in_time_by_its_user_alone
    of_those_who_take_up_one_invitation_at_once_one_does
    an_enrolment_happens_whole_or_not_at_all
    a_time_step_is_accepted_once_and_steps_only_go_up
    of_those_who_bring_one_time_step_at_once_one_signs_in
    of_steps_that_race_the_latest_is_remembered
    a_sign_in_that_opens_no_session_spends_no_step
    a_step_of_somebody_with_a_security_key_is_spent_and_opens_nothing
    of_two_sign_in_methods_that_go_together_none_is_added_where_one_cannot_be
    codes_and_password_change_with_an_enrolment_that_brings_new_ones_and_only_then
    a_recovery_code_is_spent_once_by_its_user_alone
    of_those_who_bring_one_recovery_code_at_once_one_signs_in
    a_recovery_code_proves_something_once_at_a_session_of_its_owner_that_is_alive
    an_invitation_to_recover_ends_the_other_sessions_of_its_user
    a_session_that_may_only_enrol_is_spent_once
    a_sign_in_method_is_replaced_by_one_of_its_kind_or_nothing_happens
    new_recovery_codes_are_had_for_a_proof_once_at_a_session_that_is_alive
    a_credential_is_one_users_and_made_by_an_unspent_ceremony
    an_assertion_is_taken_once_and_its_counter_only_goes_up
    of_those_who_finish_one_ceremony_at_once_one_signs_in
    of_administrators_who_are_taken_away_at_once_one_is_left
    the_last_administrator_who_may_sign_in_stays_whatever_the_order
    a_deleted_user_leaves_nothing_and_their_number_is_given_to_nobody_again
    a_renamed_user_keeps_everything_and_a_taken_name_is_refused
    a_change_of_a_user_is_heard
    live_sessions_are_those_neither_ended_nor_past_their_limit
    sessions_end_by_number_by_user_or_all_and_only_once
    of_those_who_end_one_session_at_once_one_does
    others_sessions_end_and_this_one_goes_on
    activity_moves_forward_and_never_revives
    of_what_happened_the_latest_stays_and_failures_push_out_no_success
    an_address_is_new_where_none_signed_in_before_while_others_had
    what_was_over_is_forgotten_and_nothing_else
    cookie_keys_come_newest_first_and_their_names_are_taken_once
    an_idle_connection_hears_what_others_write_and_nothing_at_its_first_call
    what_changes_nothing_is_not_heard
    many_connections_can_open_an_empty_store_at_once
}

fn happened(user: &User, client: &str, succeeded: bool) -> NewEntry {
    NewEntry {
        at: START,
        user: user.name.clone(),
        happened: Happened::SignIn,
        succeeded,
        client: Some(client.parse().unwrap()),
        method: Some("totp"),
        session: None,
        reason: None,
    }
}

fn of_what_happened_the_latest_stays_and_failures_push_out_no_success<S: Shelf>() {
    let mut store = S::empty().open();
    let (alice, bob) = (add(&mut store, "alice"), add(&mut store, "bob"));
    store.record_history(&[happened(&alice, "192.0.2.1", true), happened(&bob, "192.0.2.1", false)]).unwrap();
    let mut nobody = happened(&alice, "192.0.2.1", true);
    nobody.user = "carol".parse().unwrap();
    store.record_history(&[nobody]).unwrap();

    let failures: Vec<_> =
        (0..250).map(|n| NewEntry { at: after(n), ..happened(&alice, "192.0.2.66", false) }).collect();
    store.record_history(&failures).unwrap();

    let history = store.history(alice.id).unwrap();
    assert_eq!(history.len(), 101);
    assert_eq!((history[0].at, history[99].at), (after(249), after(150)));
    assert!(history[100].succeeded);
    assert_eq!(store.history(bob.id).unwrap().len(), 1);
    store.forget(after(200)).unwrap();
    assert_eq!(store.history(alice.id).unwrap().len(), 50);
}

fn an_address_is_new_where_none_signed_in_before_while_others_had<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = add(&mut store, "alice");
    #[rustfmt::skip]
    let table = [
        ("192.0.2.66",         false, false), // nobody has ever signed in
        ("192.0.2.1",          true,  false), // the first of all
        ("192.0.2.1",          true,  false),
        ("192.0.2.66",         false, true),
        ("192.0.2.66",         false, true),  // a failure makes no address known
        ("2001:db8:0:1::1",    true,  true),
        ("2001:db8:0:1:9::12", true,  false), // the same network, another address of the day
        ("2001:db8:0:2::1",    true,  true),
    ];
    for (client, succeeded, is_new) in table {
        store.record_history(&[happened(&alice, client, succeeded)]).unwrap();
        assert_eq!(store.history(alice.id).unwrap()[0].from_new_address, is_new, "{client} {succeeded}");
    }
}

fn others_sessions_end_and_this_one_goes_on<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    sign_in(&mut store, alice, 3);

    let which = Sessions::Others { of: alice, but: SessionId([3; 32]) };
    let ended = store.end_sessions(&which, EndReason::Revoked, after(1)).unwrap();

    assert_eq!(ended, [SessionId([1; 32])]);
}

fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn add(store: &mut impl Store, name: &str) -> User {
    match store.add_user(&name.parse().unwrap(), Role::User, START).unwrap() {
        Added::New(user) => user,
        Added::Exists => panic!("{name} was there"),
    }
}

fn invitation(user: UserId, token: u8) -> NewInvitation {
    NewInvitation {
        token_hash: [token; 32],
        user,
        purpose: InvitationPurpose::Enrol,
        created_at: START,
        expires_at: after(900),
    }
}

fn authenticator(user: UserId, number: u8) -> Authenticator {
    Authenticator {
        id: FactorId::of([number; 16]),
        user,
        name: format!("Phone {number}"),
        sealed_secret: vec![number; 60],
        last_step: TimeStep(100),
        created_at: after(number.into()),
        last_used_at: None,
    }
}

fn app(user: UserId, number: u8) -> Factor {
    Factor::Authenticator(authenticator(user, number))
}

fn passkey(user: UserId, number: u8) -> Credential {
    Credential {
        id: FactorId::of([number; 16]),
        user,
        kind: CredentialKind::Passkey,
        name: format!("Key {number}"),
        relying_party: "gate.test".to_owned(),
        credential_id: vec![number; 32],
        record: "{}".to_owned(),
        counter: 5,
        synced: false,
        aaguid: [7; 16],
        transports: vec![Transport::Usb, Transport::Internal],
        created_at: after(number.into()),
        last_used_at: None,
        last_used_from: None,
    }
}

fn ceremony(number: u8) -> Ceremony {
    Ceremony { hash: [number; 32], expires_at: after(300) }
}

/// An enrolment by an invitation that leaves codes and password as they are.
fn by_link(token: u8, factor: Factor, session: &Session) -> Enrolment {
    Enrolment {
        by: EnrolledBy::Invitation([token; 32]),
        factors: vec![factor],
        recovery_codes: None,
        password: None,
        session: session.clone(),
    }
}

fn session(user: UserId, number: u8) -> Session {
    Session {
        id: SessionId([number; 32]),
        user,
        method: Method::Totp,
        password: false,
        device_bound: false,
        scope: Scope::Full,
        created_at: after(number.into()),
        expires_at: after(43_200),
        last_active_at: after(number.into()),
        client: "2001:db8::1".parse().unwrap(),
        user_agent: "Mozilla/5.0 (\"é\")".to_owned(),
        ended: None,
    }
}

/// A user with an authenticator app (1) and a session (1).
fn enrolled(store: &mut impl Store, name: &str) -> User {
    let user = add(store, name);
    store.invite(&invitation(user.id, 1)).unwrap();
    let spent = store.enrol(&by_link(1, app(user.id, 1), &session(user.id, 1))).unwrap();
    assert_eq!(spent, Spent::First);
    user
}

/// Opens a session of somebody enrolled.
fn sign_in(store: &mut impl Store, user: UserId, number: u8) -> Session {
    let session = session(user, number);
    let step = TimeStep(100 + u64::from(number));
    assert_eq!(store.sign_in_by_step(&FactorId::of([1; 16]), step, &session).unwrap(), StepSpent::SignedIn);
    session
}

/// Every racer on a connection and thread of its own, all let go at once; gives what each got.
///
/// The connections are opened before the start: one that cannot be opened fails the test, where in a
/// racer's thread it would leave the others waiting at the barrier for ever.
fn race<S: Shelf, T: Send>(shelf: &S, racer: impl Fn(&mut S::Store, u8) -> T + Sync) -> Vec<T> {
    let stores: Vec<_> = (0..RACERS).map(|_| shelf.open()).collect();
    at_once(stores, |mut store, number| racer(&mut store, number))
}

/// A thread for each of `racers`, all let go at once; gives what each got, in their order.
fn at_once<R: Send, T: Send>(racers: Vec<R>, run: impl Fn(R, u8) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(racers.len());
    thread::scope(|scope| {
        let racers: Vec<_> = (1..)
            .zip(racers)
            .map(|(number, racer)| {
                let (barrier, run) = (&barrier, &run);
                scope.spawn(move || {
                    barrier.wait();
                    run(racer, number)
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

fn count<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> usize {
    all.iter().filter(|it| wanted(it)).count()
}

fn a_user_is_added_once_and_found_by_name_and_number<S: Shelf>() {
    let shelf = S::empty();
    let bob = add(&mut shelf.open(), "bob");
    let mut store = shelf.open();
    let alice = match store.add_user(&"alice".parse().unwrap(), Role::Admin, after(5)).unwrap() {
        Added::New(user) => user,
        Added::Exists => panic!("nobody has this name"),
    };

    let again = store.add_user(&"alice".parse().unwrap(), Role::User, after(9)).unwrap();

    assert_eq!(again, Added::Exists);
    assert_eq!((alice.role, alice.created_at, alice.disabled_at), (Role::Admin, after(5), None));
    assert_eq!(store.users().unwrap(), [alice.clone(), bob]);
    assert_eq!(store.user_by_name(&alice.name).unwrap().as_ref(), Some(&alice));
    assert_eq!(store.user(alice.id).unwrap(), Some(alice));
    assert_eq!(store.user_by_name(&"eve".parse().unwrap()).unwrap(), None);
    assert_eq!(store.user(UserId(99)).unwrap(), None);
}

fn of_those_who_add_one_name_at_once_one_does<S: Shelf>() {
    let shelf = S::empty();

    let added =
        race(&shelf, |store, _| store.add_user(&"alice".parse().unwrap(), Role::User, START).unwrap());

    assert_eq!(count(&added, |added| matches!(added, Added::New(_))), 1);
    assert_eq!(shelf.open().users().unwrap().len(), 1);
}

fn a_new_invitation_revokes_the_unused_ones_of_its_user_and_no_others<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice");
    let bob = add(&mut store, "bob");
    store.invite(&invitation(alice.id, 2)).unwrap();
    store.invite(&invitation(bob.id, 3)).unwrap();

    store.invite(&NewInvitation { created_at: after(60), ..invitation(alice.id, 4) }).unwrap();

    let mut revoked = |token: u8| store.invitation(&[token; 32]).unwrap().unwrap().revoked_at;
    assert_eq!([1, 2, 3, 4].map(&mut revoked), [None, Some(after(60)), None, None]);
    let latest = store.latest_invitation(alice.id).unwrap().unwrap();
    assert_eq!((latest.token_hash, latest.purpose), ([4; 32], InvitationPurpose::Enrol));
    assert_eq!((latest.created_at, latest.expires_at, latest.used_at), (after(60), after(900), None));
    assert_eq!(store.invitation(&[9; 32]).unwrap(), None);
    assert_eq!(store.latest_invitation(UserId(99)).unwrap(), None);
}

fn invitations_that_still_work_are_listed_and_revoked_with_those_that_do_not<S: Shelf>() {
    let mut store = S::empty().open();
    let (alice, bob) = (add(&mut store, "alice").id, add(&mut store, "bob").id);
    store.invite(&invitation(alice, 1)).unwrap();
    store.invite(&NewInvitation { expires_at: after(60), ..invitation(bob, 2) }).unwrap();
    let open = |store: &mut S::Store, at| -> Vec<[u8; 32]> {
        store.open_invitations(after(at)).unwrap().into_iter().map(|open| open.token_hash).collect()
    };

    assert_eq!(open(&mut store, 59), [[1; 32], [2; 32]]);
    assert_eq!(open(&mut store, 60), [[1; 32]], "the end is the first moment after");
    assert_eq!(store.revoke_invitations(bob, after(60)).unwrap(), 0, "it did not work any more");
    assert_eq!(store.revoke_invitations(alice, after(60)).unwrap(), 1);
    assert_eq!(store.revoke_invitations(alice, after(61)).unwrap(), 0);

    assert_eq!(open(&mut store, 0), [[0; 32]; 0]);
    for token in [1, 2] {
        let revoked = store.invitation(&[token; 32]).unwrap().unwrap().revoked_at;
        assert_eq!(revoked, Some(after(60)), "however far the clock is set back, it is void");
    }
}

fn an_invitation_for_nobody_changes_nothing<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = add(&mut store, "alice");
    store.invite(&invitation(alice.id, 1)).unwrap();

    let nobody = store.invite(&invitation(UserId(99), 2));
    let taken = store.invite(&invitation(alice.id, 1));

    assert!(nobody.is_err() && taken.is_err());
    assert_eq!(store.invitation(&[1; 32]).unwrap().unwrap().revoked_at, None);
    assert_eq!(store.invitation(&[2; 32]).unwrap(), None);
}

fn an_invitation_is_spent_once_and_in_time_by_its_user_alone<S: Shelf>() {
    let mut store = S::empty().open();
    let (alice, bob) = (add(&mut store, "alice"), add(&mut store, "bob"));
    store.invite(&invitation(alice.id, 1)).unwrap();
    store.invite(&invitation(alice.id, 2)).unwrap();
    let at = |seconds, number| Session { created_at: after(seconds), ..session(alice.id, number) };
    #[rustfmt::skip]
    let table = [
        // case                       token  user      session                 spent
        ("a token nobody was given",  9,     alice.id, at(5, 1),               Spent::Before),
        ("revoked by a later one",    1,     alice.id, at(5, 1),               Spent::Before),
        ("another user's",            2,     bob.id,   session(bob.id, 1),     Spent::Before),
        ("at the end of its time",    2,     alice.id, at(900, 1),             Spent::Before),
        ("just before",               2,     alice.id, at(899, 1),             Spent::First),
        ("a second time",             2,     alice.id, at(5, 2),               Spent::Before),
    ];
    for (case, token, user, session, spent) in table {
        let got = store.enrol(&by_link(token, app(user, 1), &session)).unwrap();

        assert_eq!(got, spent, "{case}");
        let there = store.session(session.id).unwrap().is_some_and(|it| it == session);
        assert_eq!(there, spent == Spent::First, "{case}");
    }
    assert_eq!(store.authenticators(alice.id).unwrap(), [authenticator(alice.id, 1)]);
    assert_eq!(store.authenticators(bob.id).unwrap(), []);
    assert_eq!(store.invitation(&[2; 32]).unwrap().unwrap().used_at, Some(after(899)));
}

fn of_those_who_take_up_one_invitation_at_once_one_does<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = add(&mut store, "alice").id;
    store.invite(&invitation(alice, 1)).unwrap();

    let spent = race(&shelf, |store, number| {
        store.enrol(&by_link(1, app(alice, number), &session(alice, number))).unwrap()
    });

    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.authenticators(alice).unwrap().len(), 1);
    assert_eq!(store.live_sessions(START).unwrap().len(), 1);
}

fn an_enrolment_happens_whole_or_not_at_all<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    store.invite(&invitation(alice, 2)).unwrap();

    let session_is_taken = store.enrol(&by_link(2, app(alice, 2), &session(alice, 1)));
    let factor_is_taken = store.enrol(&by_link(2, app(alice, 1), &session(alice, 2)));

    assert!(session_is_taken.is_err() && factor_is_taken.is_err());
    assert_eq!(store.invitation(&[2; 32]).unwrap().unwrap().used_at, None);
    assert_eq!(store.authenticators(alice).unwrap(), [authenticator(alice, 1)]);
    assert_eq!(store.session(SessionId([2; 32])).unwrap(), None);
    assert_eq!(store.enrol(&by_link(2, app(alice, 2), &session(alice, 2))).unwrap(), Spent::First);
    let apps = store.authenticators(alice).unwrap();
    assert_eq!(apps, [authenticator(alice, 1), authenticator(alice, 2)], "oldest first");
}

fn a_time_step_is_accepted_once_and_steps_only_go_up<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    let (phone, other) = (FactorId::of([1; 16]), FactorId::of([9; 16]));
    #[rustfmt::skip]
    let table = [
        // case                      app     whose  step      spent
        ("the step of enrolment",    &phone, alice, 100,      StepSpent::Before),
        ("the next",                 &phone, alice, 101,      StepSpent::SignedIn),
        ("the same",                 &phone, alice, 101,      StepSpent::Before),
        ("one that was left out",    &phone, alice, 105,      StepSpent::SignedIn),
        ("an earlier one, unused",   &phone, alice, 104,      StepSpent::Before),
        ("an app that is not there", &other, alice, 106,      StepSpent::Before),
        ("somebody else's app",      &phone, bob,   106,      StepSpent::Before),
        ("past any clock",           &phone, alice, u64::MAX, StepSpent::SignedIn),
        ("past any clock, again",    &phone, alice, u64::MAX, StepSpent::Before),
    ];
    for (number, (case, app, user, step, spent)) in (2..).zip(table) {
        let session = session(user, number);
        let got = store.sign_in_by_step(app, TimeStep(step), &session).unwrap();

        assert_eq!(got, spent, "{case}");
        assert_eq!(store.session(session.id).unwrap().is_some(), spent == StepSpent::SignedIn, "{case}");
    }
    let last = store.authenticators(alice).unwrap();
    assert_eq!(last.first().unwrap().last_used_at, Some(after(9)), "the time of the last that was accepted");
}

fn of_those_who_bring_one_time_step_at_once_one_signs_in<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;

    let spent = race(&shelf, |store, number| {
        store.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(101), &session(alice, number + 1)).unwrap()
    });

    assert_eq!(count(&spent, |spent| *spent == StepSpent::SignedIn), 1);
    assert_eq!(store.live_sessions(START).unwrap().len(), 2, "that one's, and that of the enrolment");
}

fn of_steps_that_race_the_latest_is_remembered<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;

    let spent = race(&shelf, |store, number| {
        let step = TimeStep(100 + u64::from(number));
        store.sign_in_by_step(&FactorId::of([1; 16]), step, &session(alice, number + 1)).unwrap()
    });

    let won = count(&spent, |spent| *spent == StepSpent::SignedIn);
    assert_eq!(spent.last(), Some(&StepSpent::SignedIn), "nothing is later than the last racer's");
    assert_eq!(store.authenticators(alice).unwrap().first().unwrap().last_step, TimeStep(116));
    assert_eq!(store.live_sessions(START).unwrap().len(), 1 + won);
}

fn a_sign_in_that_opens_no_session_spends_no_step<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let phone = FactorId::of([1; 16]);

    let taken = store.sign_in_by_step(&phone, TimeStep(101), &session(alice, 1));

    assert!(taken.is_err());
    assert_eq!(
        store.sign_in_by_step(&phone, TimeStep(101), &session(alice, 2)).unwrap(),
        StepSpent::SignedIn
    );
}

fn a_step_of_somebody_with_a_security_key_is_spent_and_opens_nothing<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = add(&mut store, "alice").id;
    let key = Credential { kind: CredentialKind::SecurityKey, ..passkey(alice, 2) };
    let made = |number| Factor::Credential(Box::new(key.clone()), ceremony(number));
    store.invite(&invitation(alice, 1)).unwrap();
    let both = |number| Enrolment {
        factors: vec![app(alice, 1), made(number)],
        ..by_link(1, app(alice, 1), &session(alice, 1))
    };
    let phone = FactorId::of([1; 16]);

    assert_eq!(store.enrol(&both(1)).unwrap(), Spent::First);
    let stepped = store.sign_in_by_step(&phone, TimeStep(101), &session(alice, 2)).unwrap();
    let again = store.sign_in_by_step(&phone, TimeStep(101), &session(alice, 3)).unwrap();
    // Neither a passkey nor somebody else's key is asked for.
    store.invite(&invitation(alice, 4)).unwrap();
    let factor = Factor::Credential(Box::new(passkey(alice, 4)), ceremony(4));
    assert_eq!(store.enrol(&by_link(4, factor, &session(alice, 4))).unwrap(), Spent::First);
    let stepped_too = store.sign_in_by_step(&phone, TimeStep(102), &session(alice, 5)).unwrap();
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 6)).unwrap();
    assert_eq!(store.enrol(&by_link(6, app(bob, 6), &session(bob, 6))).unwrap(), Spent::First);
    let bobs = store.sign_in_by_step(&FactorId::of([6; 16]), TimeStep(101), &session(bob, 7)).unwrap();

    assert_eq!(stepped, StepSpent::KeyNeeded(vec![key.clone()]));
    assert_eq!(again, StepSpent::Before);
    assert_eq!(stepped_too, StepSpent::KeyNeeded(vec![key]));
    assert_eq!(bobs, StepSpent::SignedIn);
    assert_eq!(store.live_sessions(START).unwrap().iter().filter(|open| open.user == alice).count(), 2);
}

fn of_two_sign_in_methods_that_go_together_none_is_added_where_one_cannot_be<S: Shelf>() {
    let mut store = S::empty().open();
    let (alice, bob) = (add(&mut store, "alice").id, add(&mut store, "bob").id);
    store.invite(&invitation(alice, 1)).unwrap();
    store.invite(&invitation(bob, 2)).unwrap();
    let taken = Credential { credential_id: vec![1; 32], ..passkey(bob, 2) };
    let made = |key: Credential, number| Factor::Credential(Box::new(key), ceremony(number));
    assert_eq!(
        store.enrol(&by_link(1, made(passkey(alice, 1), 1), &session(alice, 1))).unwrap(),
        Spent::First
    );

    let both =
        Enrolment { factors: vec![app(bob, 3), made(taken, 2)], ..by_link(2, app(bob, 3), &session(bob, 2)) };

    assert_eq!(store.enrol(&both).unwrap(), Spent::Before);
    assert_eq!((store.authenticators(bob).unwrap().len(), store.credentials(bob).unwrap().len()), (0, 0));
    assert_eq!(store.invitation(&[2; 32]).unwrap().unwrap().used_at, None);
}

fn codes_and_password_change_with_an_enrolment_that_brings_new_ones_and_only_then<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    assert_eq!(store.recovery_codes(alice).unwrap(), RecoveryCodes { left: 0, of: 0 });
    assert_eq!(store.password(alice).unwrap(), None);
    store.invite(&invitation(alice, 2)).unwrap();
    let with_both = Enrolment {
        recovery_codes: Some(vec![[20; 32], [21; 32]]),
        password: Some("$argon2id$…".to_owned()),
        ..by_link(2, app(alice, 2), &session(alice, 2))
    };

    let refused =
        store.enrol(&Enrolment { by: EnrolledBy::Invitation([9; 32]), ..with_both.clone() }).unwrap();
    assert_eq!((refused, store.password(alice).unwrap()), (Spent::Before, None));
    assert_eq!(store.recovery_codes(alice).unwrap().of, 0);
    assert_eq!(store.enrol(&with_both).unwrap(), Spent::First);
    store.invite(&invitation(alice, 3)).unwrap();
    assert_eq!(store.enrol(&by_link(3, app(alice, 3), &session(alice, 3))).unwrap(), Spent::First);

    assert_eq!(store.recovery_codes(alice).unwrap(), RecoveryCodes { left: 2, of: 2 });
    assert_eq!(store.password(alice).unwrap().as_deref(), Some("$argon2id$…"));
}

fn a_recovery_code_is_spent_once_by_its_user_alone<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.replace_recovery_codes(alice, &[[20; 32], [21; 32]], START).unwrap();

    let by_bob = store.sign_in_by_recovery_code(&[20; 32], &session(bob, 2)).unwrap();
    let taken = store.sign_in_by_recovery_code(&[20; 32], &session(alice, 1));
    let first = store.sign_in_by_recovery_code(&[20; 32], &session(alice, 3)).unwrap();
    let again = store.sign_in_by_recovery_code(&[20; 32], &session(alice, 4)).unwrap();

    assert!(taken.is_err(), "a session that is there can't be opened, and spends no code");
    assert_eq!((by_bob, first, again), (Spent::Before, Spent::First, Spent::Before));
    assert_eq!(store.recovery_codes(alice).unwrap(), RecoveryCodes { left: 1, of: 2 });
    assert_eq!(store.live_sessions(START).unwrap(), [session(alice, 1), session(alice, 3)]);
    store.replace_recovery_codes(alice, &[[22; 32]], after(5)).unwrap();
    let old = store.sign_in_by_recovery_code(&[21; 32], &session(alice, 5)).unwrap();
    assert_eq!(old, Spent::Before, "a new set takes the place of the old");
    assert_eq!(store.recovery_codes(alice).unwrap(), RecoveryCodes { left: 1, of: 1 });
}

fn of_those_who_bring_one_recovery_code_at_once_one_signs_in<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;
    store.replace_recovery_codes(alice, &[[20; 32]], START).unwrap();

    let spent = race(&shelf, |store, number| {
        store.sign_in_by_recovery_code(&[20; 32], &session(alice, number + 1)).unwrap()
    });

    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.live_sessions(START).unwrap().len(), 2);
}

fn a_recovery_code_proves_something_once_at_a_session_of_its_owner_that_is_alive<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    store.replace_recovery_codes(alice, &[[20; 32], [21; 32]], START).unwrap();
    assert_eq!(store.sign_in_by_recovery_code(&[21; 32], &session(alice, 7)).unwrap(), Spent::First);
    let (hers, his) = (session(alice, 7), session(bob, 2));
    let end = hers.expires_at;

    let by_bob = store.spend_recovery_code(&[20; 32], bob, his.id, START).unwrap();
    let at_his = store.spend_recovery_code(&[20; 32], alice, his.id, START).unwrap();
    let too_late = store.spend_recovery_code(&[20; 32], alice, hers.id, end).unwrap();
    let used = store.spend_recovery_code(&[21; 32], alice, hers.id, START).unwrap();
    store.end_sessions(&Sessions::One(session(alice, 1).id), EndReason::SignOut, START).unwrap();
    let at_an_ended = store.spend_recovery_code(&[20; 32], alice, session(alice, 1).id, START).unwrap();
    assert_eq!([by_bob, at_his, too_late, used, at_an_ended], [Spent::Before; 5]);
    assert_eq!(store.recovery_codes(alice).unwrap().left, 1);

    let spent = race(&shelf, |store, _| store.spend_recovery_code(&[20; 32], alice, hers.id, START).unwrap());
    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.recovery_codes(alice).unwrap().left, 0);

    store.replace_recovery_codes(alice, &[[22; 32]], START).unwrap();
    let _ = store.panic(alice, START).unwrap();
    let disabled = store.spend_recovery_code(&[22; 32], alice, hers.id, START).unwrap();
    assert_eq!((disabled, store.recovery_codes(alice).unwrap().left), (Spent::Before, 1));
}

fn an_invitation_to_recover_ends_the_other_sessions_of_its_user<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    store.invite(&NewInvitation { purpose: InvitationPurpose::Recover, ..invitation(alice, 3) }).unwrap();

    assert_eq!(store.enrol(&by_link(3, app(alice, 3), &session(alice, 3))).unwrap(), Spent::First);

    assert_eq!(store.live_sessions(START).unwrap(), [session(bob, 2), session(alice, 3)]);
}

fn a_session_that_may_only_enrol_is_spent_once<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;
    store.replace_recovery_codes(alice, &[[20; 32]], START).unwrap();
    let enrolling = Session { scope: Scope::EnrolOnly, ..session(alice, 30) };
    assert_eq!(store.sign_in_by_recovery_code(&[20; 32], &enrolling).unwrap(), Spent::First);
    assert_eq!(store.session(enrolling.id).unwrap().unwrap().scope, Scope::EnrolOnly);

    let spent = race(&shelf, |store, number| {
        let number = number + 1;
        let by = EnrolledBy::Session(enrolling.id);
        let session = Session { created_at: after(60), ..session(alice, number) };
        store.enrol(&Enrolment { by, ..by_link(0, app(alice, number), &session) }).unwrap()
    });

    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.authenticators(alice).unwrap().len(), 2);
    let ended = store.session(enrolling.id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((after(60), EndReason::Replaced)));
}

fn a_sign_in_method_is_replaced_by_one_of_its_kind_or_nothing_happens<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    let made = |number| Factor::Credential(Box::new(passkey(alice, number)), ceremony(number));
    let by = |number, replaces: Option<u8>| EnrolledBy::Proof {
        session: session(alice, 1).id,
        once: ceremony(number),
        replaces: replaces.map(|id| FactorId::of([id; 16])),
        recovers: false,
    };
    let ids = |store: &mut S::Store| {
        let apps = store.authenticators(alice).unwrap().into_iter().map(|app| app.id);
        let keys = store.credentials(alice).unwrap().into_iter().map(|key| key.id);
        apps.chain(keys).collect::<Vec<_>>()
    };
    let beside = Enrolment { by: by(20, None), ..by_link(0, made(10), &session(alice, 9)) };
    assert_eq!(store.enrol(&beside).unwrap(), Spent::First);
    let before = ids(&mut store);

    #[rustfmt::skip]
    let table = [
        // case                        by                 new             spent
        ("an app by a passkey",        by(21, Some(1)),   made(11),       Spent::Before),
        ("a passkey by an app",        by(21, Some(10)),  app(alice, 12), Spent::Before),
        ("what is somebody else's",    by(21, Some(2)),   app(alice, 12), Spent::Before),
        ("what is not there",          by(21, Some(99)),  app(alice, 12), Spent::Before),
        ("an app by an app",           by(21, Some(1)),   app(alice, 12), Spent::First),
        ("the same once more",         by(22, Some(1)),   app(alice, 13), Spent::Before),
        ("a passkey by a passkey",     by(22, Some(10)),  made(14),       Spent::First),
    ];
    for (case, by, new, spent) in table {
        let enrolment = Enrolment { by, ..by_link(0, new, &session(alice, 9)) };
        let there = ids(&mut store);
        assert_eq!(store.enrol(&enrolment).unwrap(), spent, "{case}");
        assert_eq!(ids(&mut store) == there, spent == Spent::Before, "{case}");
        assert_eq!(ids(&mut store).len(), before.len(), "{case}");
    }

    assert_eq!(ids(&mut store), [12, 14].map(|id| FactorId::of([id; 16])));
    assert_eq!(store.authenticators(bob).unwrap().len(), 1);
}

fn new_recovery_codes_are_had_for_a_proof_once_at_a_session_that_is_alive<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    let (hers, his) = (session(alice, 1).id, session(bob, 2).id);
    let once = ceremony(9);
    #[rustfmt::skip]
    let table = [
        // case                      user   session  now
        ("at a session of another",  alice, his,     START),
        ("for another",              bob,   hers,    START),
        ("too late",                 alice, hers,    once.expires_at),
    ];
    store.replace_recovery_codes(alice, &[[20; 32]], START).unwrap();
    for (case, user, session, now) in table {
        let spent = store.renew_recovery_codes(user, session, &once, &[[21; 32]], now).unwrap();
        assert_eq!(spent, Spent::Before, "{case}");
    }
    let recovered = Session { method: Method::Recovery, ..session(alice, 3) };
    assert_eq!(store.sign_in_by_recovery_code(&[20; 32], &recovered).unwrap(), Spent::First, "the old set");

    let spent = race(&shelf, |store, number| {
        store.renew_recovery_codes(alice, hers, &once, &[[number + 30; 32]], START).unwrap()
    });
    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.recovery_codes(alice).unwrap(), RecoveryCodes { left: 1, of: 1 });
    let _ = store.end_sessions(&Sessions::Of(alice), EndReason::Revoked, START).unwrap();
    let over = store.renew_recovery_codes(alice, hers, &ceremony(10), &[[22; 32]], START).unwrap();
    assert_eq!(over, Spent::Before, "a session that is over");
}

fn a_credential_is_one_users_and_made_by_an_unspent_ceremony<S: Shelf>() {
    let mut store = S::empty().open();
    let (alice, bob) = (add(&mut store, "alice"), add(&mut store, "bob"));
    store.invite(&invitation(alice.id, 1)).unwrap();
    store.invite(&invitation(bob.id, 2)).unwrap();
    let key = passkey(alice.id, 1);
    let made = |key: &Credential, number| Factor::Credential(Box::new(key.clone()), ceremony(number));
    let stolen = Credential { credential_id: key.credential_id.clone(), ..passkey(bob.id, 2) };

    assert_eq!(store.enrol(&by_link(1, made(&key, 1), &session(alice.id, 1))).unwrap(), Spent::First);
    #[rustfmt::skip]
    let table = [
        // case                              factor                          spent
        ("a credential of somebody else's",  made(&stolen, 2),               Spent::Before),
        ("a ceremony that was spent",        made(&passkey(bob.id, 3), 1),   Spent::Before),
        ("one of their own",                 made(&passkey(bob.id, 3), 3),   Spent::First),
    ];
    for (case, factor, spent) in table {
        assert_eq!(store.enrol(&by_link(2, factor, &session(bob.id, 2))).unwrap(), spent, "{case}");
        let used = store.invitation(&[2; 32]).unwrap().unwrap().used_at.is_some();
        assert_eq!(used, spent == Spent::First, "{case}: the invitation");
    }

    assert_eq!(store.credentials(alice.id).unwrap(), std::slice::from_ref(&key));
    assert_eq!(store.credentials(bob.id).unwrap(), [passkey(bob.id, 3)]);
    let owned = store.credential_of(&key.credential_id).unwrap().unwrap();
    assert_eq!(Some(owned.handle), store.user_handle(alice.id).unwrap());
    assert_eq!((owned.credential, owned.user), (key, alice.clone()));
    assert_eq!(store.credential_of(&[9; 32]).unwrap(), None);
    let handles = [alice.id, bob.id].map(|user| store.user_handle(user).unwrap().unwrap());
    assert_ne!(handles[0], handles[1]);
}

/// A user with a passkey (1) whose counter is 5, and a session (1).
fn with_passkey(store: &mut impl Store) -> UserId {
    let alice = add(store, "alice").id;
    store.invite(&invitation(alice, 1)).unwrap();
    let factor = Factor::Credential(Box::new(passkey(alice, 1)), ceremony(1));
    assert_eq!(store.enrol(&by_link(1, factor, &session(alice, 1))).unwrap(), Spent::First);
    alice
}

fn assertion(number: u8, counter: u32) -> Assertion {
    Assertion { credential: FactorId::of([number; 16]), counter, synced: true }
}

fn an_assertion_is_taken_once_and_its_counter_only_goes_up<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = with_passkey(&mut store);
    let bob = add(&mut store, "bob").id;
    #[rustfmt::skip]
    let table = [
        // case                           key  counter  ceremony  whose  spent
        ("the ceremony that made it",     1,   6,       1,        alice, Spent::Before),
        ("the next counter",              1,   6,       2,        alice, Spent::First),
        ("the same ceremony",             1,   7,       2,        alice, Spent::Before),
        ("the same counter",              1,   6,       3,        alice, Spent::Before),
        ("a counter that went back",      1,   0,       3,        alice, Spent::Before),
        ("a key that is gone",            9,   9,       3,        alice, Spent::Before),
        ("somebody else's key",           1,   9,       3,        bob,   Spent::Before),
        ("a refused ceremony, unspent",   1,   9,       3,        alice, Spent::First),
    ];
    for (number, (case, key, counter, of, user, spent)) in (2..).zip(table) {
        let session = session(user, number);
        let got = store.sign_in_by_assertion(&assertion(key, counter), &ceremony(of), &session).unwrap();

        assert_eq!(got, spent, "{case}");
        assert_eq!(store.session(session.id).unwrap().is_some(), spent == Spent::First, "{case}");
    }
    let taken = store.sign_in_by_assertion(&assertion(1, 10), &ceremony(4), &session(alice, 1));
    assert!(taken.is_err());
    let used = store.credentials(alice).unwrap();
    let expected = Credential {
        counter: 9,
        synced: true,
        last_used_at: Some(after(9)),
        last_used_from: Some("2001:db8::1".parse().unwrap()),
        ..passkey(alice, 1)
    };
    assert_eq!(used, [expected], "what failed in part left nothing");
}

fn of_those_who_finish_one_ceremony_at_once_one_signs_in<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let alice = with_passkey(&mut store);

    let spent = race(&shelf, |store, number| {
        let counter = 10 + u32::from(number);
        store.sign_in_by_assertion(&assertion(1, counter), &ceremony(2), &session(alice, number + 1)).unwrap()
    });

    assert_eq!(count(&spent, |spent| *spent == Spent::First), 1);
    assert_eq!(store.live_sessions(START).unwrap().len(), 2);
}

fn add_admin(store: &mut impl Store, name: &str) -> UserId {
    match store.add_user(&name.parse().unwrap(), Role::Admin, START).unwrap() {
        Added::New(user) => user.id,
        Added::Exists => panic!("{name} was there"),
    }
}

fn of_administrators_who_are_taken_away_at_once_one_is_left<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let everybody: Vec<UserId> =
        (1..=RACERS).map(|number| add_admin(&mut store, &format!("admin{number}"))).collect();

    let stayed = race(&shelf, |store, number| {
        let user = everybody[usize::from(number) - 1];
        match number % 4 {
            0 => store.disable_user(user, after(5)).unwrap() == Disabled::LastAdmin,
            3 => store.panic_of_another(user, after(5)).unwrap() == Panicked::LastAdmin,
            1 => store.delete_user(user, after(5)).unwrap() == Deleted::LastAdmin,
            _ => store.set_role(user, Role::User).unwrap() == RoleSet::LastAdmin,
        }
    });

    assert_eq!(count(&stayed, |stayed| *stayed), 1);
    let left = store.users().unwrap();
    assert_eq!(count(&left, |user| user.role == Role::Admin && user.disabled_at.is_none()), 1);
}

fn the_last_administrator_who_may_sign_in_stays_whatever_the_order<S: Shelf>() {
    let mut store = S::empty().open();
    let (root, other) = (add_admin(&mut store, "root"), add_admin(&mut store, "other"));
    let user = add(&mut store, "user").id;
    assert_eq!(store.disable_user(other, after(1)).unwrap(), Disabled::Now(vec![]));

    assert_eq!(store.disable_user(root, after(2)).unwrap(), Disabled::LastAdmin);
    assert_eq!(store.panic_of_another(root, after(2)).unwrap(), Panicked::LastAdmin);
    assert_eq!(store.delete_user(root, after(2)).unwrap(), Deleted::LastAdmin);
    assert_eq!(store.set_role(root, Role::User).unwrap(), RoleSet::LastAdmin);
    assert_eq!(store.set_role(root, Role::Admin).unwrap(), RoleSet::Before);
    assert_eq!(store.user(root).unwrap().unwrap().role, Role::Admin);

    // The one who is disabled counts for nothing, and may go; so may whoever is no administrator.
    assert_eq!(store.set_role(other, Role::User).unwrap(), RoleSet::Now);
    assert_eq!(store.delete_user(other, after(3)).unwrap(), Deleted::Now(vec![]));
    assert_eq!(store.set_role(user, Role::Admin).unwrap(), RoleSet::Now);
    assert_eq!(store.set_role(root, Role::User).unwrap(), RoleSet::Now, "another is there now");
    assert_eq!(store.delete_user(user, after(4)).unwrap(), Deleted::LastAdmin);
}

fn a_deleted_user_leaves_nothing_and_their_number_is_given_to_nobody_again<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice");
    sign_in(&mut store, alice.id, 2);
    store.end_sessions(&Sessions::One(SessionId([1; 32])), EndReason::SignOut, after(3)).unwrap();
    store.replace_recovery_codes(alice.id, &[[7; 32]], START).unwrap();
    store.invite(&invitation(alice.id, 9)).unwrap();
    store.record_history(&[happened(&alice, "192.0.2.1", true)]).unwrap();

    assert_eq!(store.delete_user(alice.id, after(5)).unwrap(), Deleted::Now(vec![SessionId([2; 32])]));

    assert_eq!(store.user(alice.id).unwrap(), None);
    assert_eq!(store.live_sessions(after(5)).unwrap(), []);
    assert_eq!(store.session(SessionId([1; 32])).unwrap(), None);
    assert_eq!(store.invitation(&[9; 32]).unwrap(), None);
    assert_eq!(store.authenticators(alice.id).unwrap(), []);
    assert_eq!(store.recovery_codes(alice.id).unwrap(), RecoveryCodes { left: 0, of: 0 });
    assert_eq!(store.history(alice.id).unwrap(), []);
    assert_eq!(store.delete_user(alice.id, after(6)).unwrap(), Deleted::NoSuchUser);
    let next = add(&mut store, "alice");
    assert_ne!(next.id, alice.id);
    assert_eq!(store.history(next.id).unwrap(), []);
}

fn a_renamed_user_keeps_everything_and_a_taken_name_is_refused<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice");
    let bob = add(&mut store, "bob");
    store.record_history(&[happened(&alice, "192.0.2.1", true)]).unwrap();
    let charge = |_: &Tried| Some(Guesses { since_success: 5, ..Guesses::default() });
    let attempt = |name: &str| Attempt {
        name: Some(name.parse().unwrap()),
        device: None,
        source: "192.0.2.66".to_owned(),
        at: after(5),
    };
    let _ = store.try_code(&attempt("alice"), &charge).unwrap();

    assert_eq!(store.rename_user(alice.id, &bob.name).unwrap(), UserRenamed::Taken);
    assert_eq!(store.rename_user(alice.id, &alice.name).unwrap(), UserRenamed::Before);
    assert_eq!(store.rename_user(UserId(99), &"dora".parse().unwrap()).unwrap(), UserRenamed::NoSuchUser);
    assert_eq!(store.rename_user(alice.id, &"Carol ".parse().unwrap()).unwrap(), UserRenamed::Now);

    let carol = store.user_by_name(&"carol".parse().unwrap()).unwrap().unwrap();
    assert_eq!(carol, User { name: "carol".parse().unwrap(), ..alice.clone() });
    assert_eq!(store.user_by_name(&alice.name).unwrap(), None);
    assert_eq!(
        (store.history(carol.id).unwrap().len(), store.authenticators(carol.id).unwrap().len()),
        (1, 1)
    );
    assert_eq!(store.live_sessions(after(5)).unwrap(), [session(carol.id, 1)]);
    let tried = store.try_code(&attempt("carol"), &|_: &Tried| None).unwrap();
    assert_eq!(tried.guesses.since_success, 5, "what was guessed stays with the account");
}

fn a_change_of_a_user_is_heard<S: Shelf>() {
    let shelf = S::empty();
    let mut writer = shelf.open();
    let root = add_admin(&mut writer, "root");
    let alice = enrolled(&mut writer, "alice").id;
    let mut idle = shelf.open();
    assert_eq!(idle.changes().unwrap(), []);

    assert_eq!(writer.set_role(alice, Role::Admin).unwrap(), RoleSet::Now);
    assert_eq!(idle.changes().unwrap(), [Change::User(alice)]);
    assert_eq!(writer.rename_user(alice, &"carol".parse().unwrap()).unwrap(), UserRenamed::Now);
    assert_eq!(idle.changes().unwrap(), [Change::User(alice)]);
    assert_eq!(writer.set_role(root, Role::Admin).unwrap(), RoleSet::Before);
    assert_eq!(writer.rename_user(root, &"carol".parse().unwrap()).unwrap(), UserRenamed::Taken);
    assert_eq!(idle.changes().unwrap(), []);
    let Deleted::Now(_) = writer.delete_user(alice, after(5)).unwrap() else { panic!("not the last") };
    let heard = idle.changes().unwrap();
    assert!(heard.contains(&Change::User(alice)), "{heard:?}");
    assert!(heard.contains(&Change::Session(SessionId([1; 32]))), "{heard:?}");
}

fn live_sessions_are_those_neither_ended_nor_past_their_limit<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let (second, third) = (sign_in(&mut store, alice, 2), sign_in(&mut store, alice, 3));
    store.end_sessions(&Sessions::One(second.id), EndReason::SignOut, after(10)).unwrap();

    assert_eq!(
        store.live_sessions(after(43_199)).unwrap(),
        [session(alice, 1), third],
        "oldest first, whole"
    );
    assert_eq!(store.live_sessions(after(43_200)).unwrap(), [], "the limit is the first moment after");
    let ended = store.session(second.id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((after(10), EndReason::SignOut)));
    assert_eq!(store.session(SessionId([9; 32])).unwrap(), None);
}

fn sessions_end_by_number_by_user_or_all_and_only_once<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let bob = add(&mut store, "bob").id;
    store.invite(&invitation(bob, 2)).unwrap();
    assert_eq!(store.enrol(&by_link(2, app(bob, 2), &session(bob, 2))).unwrap(), Spent::First);
    sign_in(&mut store, alice, 3);
    sign_in(&mut store, alice, 4);
    let mut end = |which, reason, at| {
        let mut ended = store.end_sessions(&which, reason, after(at)).unwrap();
        ended.sort();
        ended
    };
    let id = |number| SessionId([number; 32]);

    assert_eq!(end(Sessions::One(id(9)), EndReason::Revoked, 10), []);
    assert_eq!(end(Sessions::One(id(1)), EndReason::Idle, 11), [id(1)]);
    assert_eq!(end(Sessions::One(id(1)), EndReason::Revoked, 12), []);
    assert_eq!(end(Sessions::Of(alice), EndReason::Disabled, 13), [id(3), id(4)]);
    assert_eq!(end(Sessions::All, EndReason::Revoked, 14), [id(2)]);
    assert_eq!(end(Sessions::All, EndReason::Expired, 15), []);

    let mut ended = |number| store.session(id(number)).unwrap().unwrap().ended.unwrap();
    assert_eq!(ended(1), (after(11), EndReason::Idle), "the first reason stays");
    assert_eq!(ended(2), (after(14), EndReason::Revoked));
    assert_eq!(ended(3), (after(13), EndReason::Disabled));
}

fn of_those_who_end_one_session_at_once_one_does<S: Shelf>() {
    let shelf = S::empty();
    let alice = enrolled(&mut shelf.open(), "alice").id;

    let ended = race(&shelf, |store, _| {
        store.end_sessions(&Sessions::Of(alice), EndReason::Revoked, after(5)).unwrap()
    });

    assert_eq!(count(&ended, |ended| ended == &[SessionId([1; 32])]), 1);
    assert_eq!(count(&ended, Vec::is_empty), RACERS - 1);
}

fn activity_moves_forward_and_never_revives<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    let (live, ended, unknown) = (session(alice, 1), sign_in(&mut store, alice, 2), SessionId([9; 32]));
    store.end_sessions(&Sessions::One(ended.id), EndReason::Revoked, after(10)).unwrap();

    store.record_activity(&[(live.id, after(60)), (ended.id, after(60)), (unknown, after(60))]).unwrap();
    store.record_activity(&[(live.id, after(30))]).unwrap();

    assert_eq!(store.session(live.id).unwrap().unwrap().last_active_at, after(60));
    let expected = Session { ended: Some((after(10), EndReason::Revoked)), ..ended.clone() };
    assert_eq!(store.session(ended.id).unwrap().unwrap(), expected);
    assert_eq!(store.session(unknown).unwrap(), None);
}

fn what_was_over_is_forgotten_and_nothing_else<S: Shelf>() {
    let mut store = S::empty().open();
    let alice = enrolled(&mut store, "alice").id;
    store.invite(&NewInvitation { expires_at: after(901), ..invitation(alice, 2) }).unwrap();
    let short = Session { expires_at: after(300), ..session(alice, 3) };
    let spent = store.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(103), &short).unwrap();
    assert_eq!(spent, StepSpent::SignedIn);

    store.forget(after(901)).unwrap();

    assert_eq!(store.session(short.id).unwrap(), None);
    assert_eq!(store.session(SessionId([1; 32])).unwrap(), Some(session(alice, 1)));
    assert_eq!(store.invitation(&[1; 32]).unwrap(), None);
    assert!(store.invitation(&[2; 32]).unwrap().is_some());
    assert_eq!(store.authenticators(alice).unwrap().len(), 1);
    assert_eq!(store.users().unwrap().len(), 1);
}

fn cookie_keys_come_newest_first_and_their_names_are_taken_once<S: Shelf>() {
    let shelf = S::empty();
    let mut store = shelf.open();
    let key = |id: &str, at: u64| SealedCookieKey {
        id: id.to_owned(),
        sealed: vec![0, 255],
        created_at: after(at),
    };
    assert_eq!(store.add_cookie_key(&key("old", 1)).unwrap(), Added::New(()));

    let added = race(&shelf, |store, number| store.add_cookie_key(&key("new", number.into())).unwrap());

    assert_eq!(count(&added, |added| *added == Added::New(())), 1);
    let kept = store.cookie_keys().unwrap();
    assert_eq!(kept.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(kept.last(), Some(&key("old", 1)));
}

fn an_idle_connection_hears_what_others_write_and_nothing_at_its_first_call<S: Shelf>() {
    let shelf = S::empty();
    let mut writer = shelf.open();
    let alice = enrolled(&mut writer, "alice").id;
    let (mut idle, mut second) = (shelf.open(), shelf.open());

    let first = idle.changes().unwrap();
    let opened = sign_in(&mut writer, alice, 2);
    let heard_of_opening = idle.changes().unwrap();
    let again = idle.changes().unwrap();
    writer.end_sessions(&Sessions::One(opened.id), EndReason::Revoked, after(5)).unwrap();
    let key = SealedCookieKey { id: "k".to_owned(), sealed: vec![1], created_at: START };
    assert_eq!(writer.add_cookie_key(&key).unwrap(), Added::New(()));
    let heard_of_both = idle.changes().unwrap();
    writer.forget(after(90_000)).unwrap();
    let heard_of_deletions = idle.changes().unwrap();

    assert_eq!(first, [], "what was before the first call is not a change");
    assert_eq!(heard_of_opening, [Change::Session(opened.id)]);
    assert_eq!(again, [], "nothing is heard twice");
    assert_eq!(heard_of_both, [Change::Session(opened.id), Change::CookieKeys], "in the order of writing");
    assert_eq!(heard_of_deletions.len(), 2, "{heard_of_deletions:?}");
    assert_eq!(second.changes().unwrap(), [], "every connection has its own first call");
}

fn what_changes_nothing_is_not_heard<S: Shelf>() {
    let shelf = S::empty();
    let mut writer = shelf.open();
    let alice = enrolled(&mut writer, "alice");
    let mut idle = shelf.open();
    assert_eq!(idle.changes().unwrap(), []);

    assert_eq!(writer.add_user(&alice.name, Role::User, START).unwrap(), Added::Exists);
    let replayed =
        writer.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(100), &session(alice.id, 2)).unwrap();
    assert_eq!(replayed, StepSpent::Before);
    writer.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(101), &session(alice.id, 1)).unwrap_err();
    writer.record_activity(&[(SessionId([1; 32]), after(60))]).unwrap();
    writer.end_sessions(&Sessions::One(SessionId([9; 32])), EndReason::Revoked, after(5)).unwrap();

    assert_eq!(idle.changes().unwrap(), []);
}

fn many_connections_can_open_an_empty_store_at_once<S: Shelf>() {
    let shelf = S::empty();

    let users = at_once(vec![(); RACERS], |(), number| {
        let mut store = shelf.open();
        add(&mut store, &format!("user{number}"));
        store.users().unwrap().len()
    });

    assert!(users.iter().all(|count| (1..=RACERS).contains(count)));
    assert_eq!(shelf.open().users().unwrap().len(), RACERS);
}

// What follows is about the file.

#[test]
fn the_file_and_what_lies_beside_it_are_their_owners_alone() {
    let shelf = InAFile::empty();
    let mut store = shelf.open();
    add(&mut store, "alice");

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(shelf.0.path().join("state")), 0o700);
    for entry in fs::read_dir(shelf.0.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let shelf = InAFile::empty();
    add(&mut shelf.open(), "alice");
    shelf.by_hand().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(shelf.path()).unwrap();

    let error = SqliteStore::open(&shelf.path()).unwrap_err();

    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("schema 99") && told.contains(&shelf.path().display().to_string()), "{told}");
    assert!(fs::read(shelf.path()).unwrap() == before, "the file changed");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_user() {
    let scratch = Scratch::new();
    let uid = nix::unistd::geteuid();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let mut below = vec![file.join("state")];
    // Nothing is closed to root.
    if !uid.is_root() {
        let closed = scratch.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        below.push(closed);
    }
    for directory in below {
        let error = SqliteStore::open(&directory.join("pvegate.db")).unwrap_err();

        assert!(matches!(error, StoreError::Unwritable { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains(&directory.display().to_string()), "{told}");
        assert!(told.contains(&format!("user id {uid}")), "{told}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_never_an_empty_store() {
    let shelf = InAFile::empty();
    let mut store = shelf.open();
    for number in 0..200 {
        add(&mut store, &format!("user{number}"));
    }
    drop(store);
    let whole = fs::read(shelf.path()).unwrap();
    let garbage: Vec<u8> = (0..8192_u32).map(|i| (i * 7 + 3).to_le_bytes()[0]).collect();
    let mut foreign = b"PNG".to_vec();
    foreign.extend(&whole[3..]);

    let shortened = [50, 512, 4096, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec());
    for damaged in shortened.into_iter().chain([garbage, foreign, b"not a database\n".to_vec()]) {
        fs::write(shelf.path(), &damaged).unwrap();

        let users = SqliteStore::open(&shelf.path()).and_then(|mut store| store.users());

        assert!(matches!(users, Err(StoreError::Sqlite { .. })), "{} bytes: {users:?}", damaged.len());
        assert!(users.unwrap_err().to_string().contains(&shelf.path().display().to_string()));
        assert!(fs::read(shelf.path()).unwrap() == damaged, "{} bytes: the file changed", damaged.len());
    }
}

#[test]
fn a_row_that_we_would_never_write_is_an_error_that_quotes_it() {
    let shelf = InAFile::empty();
    add(&mut shelf.open(), "alice");
    shelf.by_hand().execute("UPDATE user SET name = 'Not Ours'", []).unwrap();

    let error = shelf.open().users().unwrap_err();

    assert_eq!(error.to_string(), "the store holds \"Not Ours\" where a user name is expected");
}

#[test]
fn a_disabled_user_spends_nothing_and_a_change_by_hand_is_heard() {
    let shelf = InAFile::empty();
    let mut store = shelf.open();
    let alice = enrolled(&mut store, "alice").id;
    store.invite(&invitation(alice, 2)).unwrap();
    let mut idle = shelf.open();
    assert_eq!(idle.changes().unwrap(), []);

    shelf.by_hand().execute("UPDATE user SET disabled_at = ?1", [after(5).millis()]).unwrap();

    assert_eq!(idle.changes().unwrap(), [Change::User(alice)]);
    assert_eq!(store.user(alice).unwrap().unwrap().disabled_at, Some(after(5)));
    let by_step = store.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(101), &session(alice, 2)).unwrap();
    let by_link = store.enrol(&by_link(2, app(alice, 2), &session(alice, 3))).unwrap();
    assert_eq!((by_step, by_link), (StepSpent::Before, Spent::Before));
    shelf.by_hand().execute("UPDATE user SET disabled_at = NULL", []).unwrap();
    assert_eq!(
        store.sign_in_by_step(&FactorId::of([1; 16]), TimeStep(101), &session(alice, 2)).unwrap(),
        StepSpent::SignedIn,
        "the refused step was not spent"
    );
}

/// Set in the process that is to be killed: the directory of the store.
const DIRECTORY_TO_WRITE: &str = "PVEGATE_TEST_DIRECTORY_TO_WRITE";

#[test]
fn what_was_acknowledged_survives_the_death_of_the_process() {
    // This test is two processes: the second is this program again, with the variable set.
    if let Some(directory) = std::env::var_os(DIRECTORY_TO_WRITE) {
        let mut store = SqliteStore::open(&PathBuf::from(directory).join("pvegate.db")).unwrap();
        let mut out = std::io::stdout();
        for number in 0.. {
            add(&mut store, &format!("user{number}"));
            writeln!(out, "acknowledged user{number}").unwrap();
        }
    }
    let scratch = Scratch::new();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("store::what_was_acknowledged_survives_the_death_of_the_process")
        .env(DIRECTORY_TO_WRITE, scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
    let name = |line: String| line.split_once("acknowledged ").map(|(_, name)| name.to_owned());

    let mut acknowledged: Vec<String> = lines.by_ref().filter_map(name).take(20).collect();
    writer.kill().unwrap();
    acknowledged.extend(lines.filter_map(name));
    writer.wait().unwrap();

    assert!(acknowledged.len() >= 20, "it ended by itself after {acknowledged:?}");
    let mut store = SqliteStore::open(&scratch.path().join("pvegate.db")).unwrap();
    let kept: Vec<String> = store.users().unwrap().into_iter().map(|user| user.name.to_string()).collect();
    for name in acknowledged {
        assert!(kept.contains(&name), "{name} was acknowledged and is gone");
    }
}

#[tokio::test]
async fn a_call_that_panics_loses_its_own_answer_and_not_the_store() {
    let shelf = InAFile::empty();
    let store = StoreThread::start(shelf.open()).unwrap();

    let lost = store.call(|_| -> Result<(), StoreError> { panic!("on purpose") }).await;
    let users = store.call(|store| store.users()).await;

    assert!(matches!(lost, Err(StoreError::Unavailable)), "{lost:?}");
    assert_eq!(users.unwrap(), []);
}

#[test]
fn a_store_that_is_opened_again_keeps_the_lock_by_which_others_see_that_it_is_open() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = Scratch::new();
    let path = scratch.path().join("pvegate.db");
    let _first = SqliteStore::open(&path).unwrap();

    // As a gate does: one to work with, one to follow.
    let _second = SqliteStore::open(&path).unwrap();

    let (pid, inode) = (std::process::id().to_string(), fs::metadata(&path).unwrap().ino().to_string());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let ours = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.contains(&pid.as_str()) && words.iter().any(|word| word.ends_with(&format!(":{inode}")))
    };
    assert!(locks.lines().any(|line| ours(&line)), "without it another program takes the log away: {locks}");
}
