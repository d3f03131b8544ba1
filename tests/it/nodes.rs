//! A cluster behind the gate: a session stays with its node until that node fails, and what was sent to one
//! node is never sent to another.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use pvegate::account::Role;
use tokio::net::TcpSocket;

use crate::harness::{Person, Pve, TestGate, until};

/// A pin that nobody's certificate has.
fn other_pin() -> String {
    format!("fingerprint = \"{}\"", vec!["AA"; 32].join(":"))
}

/// Two nodes and a gate in front of them.
async fn cluster() -> (Pve, Pve, TestGate) {
    let (one, two) = (Pve::start().await, Pve::start().await);
    let gate = TestGate::recipe(&one).beside(&two).start().await;
    (one, two, gate)
}

/// The two nodes in another order: the one that serves this person first.
async fn home_first(person: &mut Person, one: Pve, two: Pve) -> (Pve, Pve) {
    let before = one.requests_seen();
    assert_eq!(person.client.get("/standin/echo-head").await.status, 200);
    if one.requests_seen() > before { (one, two) } else { (two, one) }
}

/// The audit events of this kind, as node and reason.
fn events(gate: &TestGate, action: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    gate.audit()
        .iter()
        .filter(|event| event["event"]["action"] == action)
        .map(|event| (text(&event["destination"]["address"]), text(&event["pvegate"]["reason"])))
        .collect()
}

#[tokio::test]
async fn every_request_of_a_session_goes_to_one_node() {
    let (one, two, gate) = cluster().await;
    let mut alice = gate.person("alice").await;

    for _ in 0..20 {
        assert_eq!(alice.client.get("/standin/echo-head").await.status, 200);
    }

    let mut seen = [one.requests_seen(), two.requests_seen()];
    seen.sort_unstable();
    assert_eq!(seen, [0, 20]);
}

#[tokio::test]
async fn a_console_is_on_the_node_of_the_call_that_opened_it() {
    let (one, two, gate) = cluster().await;

    // The stand-ins do not take each other's tickets.
    for name in ["alice", "bob", "carol", "dave", "eve"] {
        let mut console = gate.person(name).await.console().await;
        assert_eq!(console.echo(b"uptime\n").await.unwrap(), b"uptime\n");
    }

    let tunnels = |pve: &Pve| pve.requests().iter().filter(|it| it.target.contains("vncwebsocket")).count();
    assert_eq!(tunnels(&one) + tunnels(&two), 5);
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_goes_to_another_node_whatever_its_method() {
    let (one, two, gate) = cluster().await;
    let mut alice = gate.person("alice").await;
    let (home, other) = home_first(&mut alice, one, two).await;
    let home = home.fall().await;

    let body = Bytes::from(vec![7; 100_000]);
    let posted = alice.client.send_as_page(Method::POST, "/standin/sink?id=1", body).await;
    let page = alice.client.navigate("/").await;

    assert_eq!((posted.status, page.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(posted.json()["bytes"], 100_000);
    assert_eq!(other.requests_seen(), 2);
    assert_eq!(events(&gate, "node-down"), [(home.addr.to_string(), "upstream_refused".to_owned())]);
    assert_eq!(events(&gate, "upstream-failure"), [], "nobody missed anything");
}

#[tokio::test]
async fn a_node_that_takes_connections_and_says_nothing_is_passed_over_once() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mute = socket.listen(1024).unwrap();
    let pve = Pve::start().await;
    let recipe = TestGate::recipe(&pve).beside_at(mute.local_addr().unwrap(), &other_pin());
    let gate =
        recipe.set("upstream.connect_timeout", "300ms").set("upstream.health_interval", "1h").start().await;
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave", "eve", "frank"] {
        people.push(gate.person(name).await);
    }

    for _ in 0..10 {
        for person in &mut people {
            assert_eq!(person.client.get("/standin/echo-head").await.status, 200);
        }
    }

    assert_eq!(pve.requests_seen(), 60);
    let address = mute.local_addr().unwrap().to_string();
    assert_eq!(events(&gate, "node-down"), [(address, "upstream_timeout".to_owned())]);
}

#[tokio::test]
async fn a_node_with_a_wrong_certificate_gets_no_byte_while_the_others_serve_and_administrators_are_told() {
    let raw = pvegate::demo::Settings { record_raw_bytes: true, ..pvegate::demo::Settings::quick() };
    let (wrong, right) = (Pve::with(raw).await, Pve::start().await);
    let gate = TestGate::recipe(&right).beside_at(wrong.addr(), &other_pin()).start().await;
    let mut admin = gate.person("admin").await;
    let token = gate.invite_as("user", Role::User);
    let (mut user, _) = Person::take_up(&gate, "user", &token).await;

    for name in ["alice", "bob", "carol", "dave"] {
        assert_eq!(gate.person(name).await.client.navigate("/").await.status, 200);
    }

    let address = wrong.addr().to_string();
    until("the node was looked at", async || !events(&gate, "node-down").is_empty()).await;
    assert_eq!(events(&gate, "node-down"), [(address.clone(), "upstream_fingerprint".to_owned())]);
    assert!(wrong.connections_seen() > 0);
    assert_eq!(wrong.requests_seen(), 0);
    assert!(wrong.raw_bytes().iter().all(Vec::is_empty));
    let (to_admin, to_user) = (admin.client.navigate("/_gate/").await, user.client.navigate("/_gate/").await);
    let page = to_admin.text().replace("<wbr>", "");
    assert!(page.contains(&address) && page.contains(&wrong.pin.to_string()), "{page}");
    assert!(!to_user.text().contains(&address), "{}", to_user.text());
}

#[tokio::test]
async fn each_node_is_held_to_its_own_pin() {
    let (one, two) = (Pve::start().await, Pve::start().await);
    let pin = |pve: &Pve| format!("fingerprint = \"{}\"", pve.pin);
    let recipe = TestGate::recipe(&one).trusting(&pin(&two)).beside_at(two.addr(), &pin(&one));
    let gate = recipe.start().await;
    let mut alice = gate.person("alice").await;

    let reply = alice.client.get("/api2/json/version").await;

    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (502, &"upstream_fingerprint".into()));
    assert_eq!((one.requests_seen(), two.requests_seen()), (0, 0));
}

#[tokio::test]
async fn one_node_is_held_to_its_pin_and_another_to_its_authority_and_neither_to_the_others() {
    let recording = || pvegate::demo::Settings { record_raw_bytes: true, ..pvegate::demo::Settings::quick() };
    let (one, two) = (Pve::with(recording()).await, Pve::with(recording()).await);
    let pin = |pve: &Pve| format!("fingerprint = \"{}\"", pve.pin);
    let ca = |pve: &Pve| format!("ca = \"{}\"", pve.ca_pem.display());

    // Swapped: each would be good for the other.
    let swapped = TestGate::recipe(&one).trusting(&pin(&two)).beside_at(two.addr(), &ca(&one)).start().await;
    let mut alice = swapped.person("alice").await;
    for _ in 0..3 {
        assert_eq!(alice.client.get("/api2/json/version").await.status, 502);
    }
    for pve in [&one, &two] {
        assert!(pve.connections_seen() > 0, "it was asked who it is");
        assert_eq!(pve.requests_seen(), 0);
        assert!(pve.raw_bytes().iter().all(Vec::is_empty), "and was sent nothing");
    }

    let gate = TestGate::recipe(&one).trusting(&pin(&one)).beside_at(two.addr(), &ca(&two)).start().await;
    for number in 0..40 {
        let mut person = gate.person(&format!("person{number}")).await;
        assert_eq!(person.client.get("/standin/echo-head").await.status, 200);
        if one.requests_seen() > 0 && two.requests_seen() > 0 {
            return;
        }
    }
    panic!("of 40 sessions none went to one of the nodes");
}

#[tokio::test]
async fn a_token_stays_on_one_node_under_all_its_rules_and_fails_over_with_them() {
    const TOKEN: &str = "root@pam!demo";
    const SECRET: &str = "6c2c5f0e-7f61-4c0a-9a57-3d1f6a3b9e21";
    let (one, two) = (Pve::start().await, Pve::start().await);
    let lines = |path: &str| format!("from = [\"127.0.0.0/8\"]\npaths = [\"{path}\"]\nrate = 1000");
    let gate = TestGate::recipe(&one)
        .beside(&two)
        .set("upstream.health_interval", "100ms")
        .rule(TOKEN, SECRET, &lines("/api2/json/version"))
        .rule(TOKEN, SECRET, &lines("/api2/json/nodes"))
        .start()
        .await;
    let mut program = gate.client().with("authorization", &format!("PVEAPIToken={TOKEN}={SECRET}"));
    let mut ask = async |path: &str| assert_eq!(program.get(path).await.status, 200, "{path}");

    for _ in 0..5 {
        ask("/api2/json/version").await;
        ask("/api2/json/nodes").await;
    }
    let mut seen = [one.requests_seen(), two.requests_seen()];
    let (home, other) = if seen[0] > 0 { (one, two) } else { (two, one) };
    seen.sort_unstable();
    assert_eq!(seen, [0, 10]);

    let home = home.fall().await;
    // By one rule only; the other has nothing to do while its node is down.
    ask("/api2/json/version").await;
    assert_eq!(other.requests_seen(), 1);
    let home = home.rise();
    until("the node is up", async || !events(&gate, "node-up").is_empty()).await;
    ask("/api2/json/nodes").await;
    ask("/api2/json/version").await;

    assert_eq!((home.requests_seen(), other.requests_seen()), (0, 3), "both rules have moved");
}

#[tokio::test]
async fn what_a_node_was_sent_before_it_died_is_not_sent_to_another() {
    let (one, two, gate) = cluster().await;
    let mut alice = gate.person("alice").await;
    let (home, other) = home_first(&mut alice, one, two).await;
    let mut sender = alice.client.clone();

    let post = tokio::spawn(async move {
        sender.send_as_page(Method::POST, "/standin/silence?id=1", Bytes::from_static(b"once")).await
    });
    home.wait_until(|seen| seen.requests.iter().any(|it| it.target.contains("silence"))).await;
    home.fall().await;
    let reply = post.await.unwrap();

    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (502, &"upstream_broken".into()));
    assert_eq!(other.requests_seen(), 0);
    assert_eq!(alice.client.get("/standin/echo-head").await.status, 200, "and the session goes on elsewhere");
    assert_eq!(other.requests_seen(), 1);
}

#[tokio::test]
async fn a_tunnel_ends_with_its_node_and_is_not_moved() {
    let (one, two, gate) = cluster().await;
    let mut alice = gate.person("alice").await;
    let (home, other) = home_first(&mut alice, one, two).await;
    let mut console = alice.console().await;
    console.echo(b"x").await.unwrap();

    home.fall().await;

    assert_eq!(console.receive().await, None);
    assert_eq!((other.requests_seen(), other.tunnels_open()), (0, 0));
}

#[tokio::test]
async fn a_node_that_comes_back_gets_new_sessions_and_the_others_stay_where_they_are() {
    let (one, two) = (Pve::start().await, Pve::start().await);
    let gate = TestGate::recipe(&one).beside(&two).set("upstream.health_interval", "100ms").start().await;
    let mut alice = gate.person("alice").await;
    let (home, other) = home_first(&mut alice, one, two).await;
    let home = home.fall().await;
    assert_eq!(alice.client.get("/standin/echo-head").await.status, 200);
    let address = home.addr.to_string();

    let home = home.rise();
    until("the node is up", async || !events(&gate, "node-up").is_empty()).await;

    assert_eq!(events(&gate, "node-down").len(), 1);
    assert_eq!(events(&gate, "node-up"), [(address, String::new())]);
    let before = other.requests_seen();
    for _ in 0..5 {
        assert_eq!(alice.client.get("/standin/echo-head").await.status, 200);
    }
    assert_eq!((home.requests_seen(), other.requests_seen()), (0, before + 5), "she stays");
    for number in 0..40 {
        let mut person = gate.person(&format!("person{number}")).await;
        assert_eq!(person.client.get("/standin/echo-head").await.status, 200);
        if home.requests_seen() > 0 {
            return;
        }
    }
    panic!("of 40 new sessions none went to the node that came back");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_missed_without_a_request() {
    let (one, two) = (Pve::start().await, Pve::start().await);
    let gate = TestGate::recipe(&one).beside(&two).set("upstream.health_interval", "100ms").start().await;

    let one = one.fall().await;
    until("it is missed", async || !events(&gate, "node-down").is_empty()).await;

    assert_eq!(events(&gate, "node-down"), [(one.addr.to_string(), "upstream_refused".to_owned())]);
    assert_eq!(two.requests_seen(), 0);
}

#[tokio::test]
async fn with_every_node_down_administrators_read_which_were_tried_and_the_first_that_returns_serves() {
    let (one, two) = (Pve::start().await, Pve::start().await);
    let gate = TestGate::recipe(&one).beside(&two).set("upstream.health_interval", "1h").start().await;
    let mut alice = gate.person("alice").await;
    let (one, two) = (one.fall().await, two.fall().await);

    let page = alice.client.navigate("/").await;

    assert_eq!(page.status, 502);
    assert!(page.text().contains(&one.addr.to_string()), "{}", page.text());
    assert!(page.text().contains(&two.addr.to_string()), "{}", page.text());
    assert!(page.text().contains("tries again every 5 seconds"), "{}", page.text());
    assert_eq!(events(&gate, "node-down").len(), 2);
    let two = two.rise();
    assert_eq!(alice.client.navigate("/").await.status, 200);
    assert_eq!(two.requests_seen(), 1);
    assert_eq!(events(&gate, "node-up"), [(two.addr().to_string(), String::new())]);
}

#[tokio::test]
async fn after_a_restart_each_session_is_on_the_node_where_it_was() {
    let (one, two, gate) = cluster().await;
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi"] {
        let mut person = gate.person(name).await;
        person.client.get(&format!("/standin/echo-head?{name}")).await;
        people.push(person);
    }
    // The nodes are written in another order, which is no matter.
    let again = gate.another(&two).beside(&one);
    gate.stop().await;
    let gate = again.start().await;

    for person in people {
        let mut client = person.client.clone().at(&gate);
        let target = format!("/standin/echo-head?{}", person.name);
        assert_eq!(client.get(&target).await.status, 200);
        let on = |pve: &Pve| pve.requests().iter().filter(|it| it.target == target).count();
        let mut counts = [on(&one), on(&two)];
        counts.sort_unstable();
        assert_eq!(counts, [0, 2], "{}", person.name);
    }
}

#[tokio::test]
async fn two_sessions_on_one_connection_do_not_share_one_to_pveproxy() {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let (mut alice, mut bob) = (gate.person("alice").await, gate.person("bob").await);
    let mut connection = alice.client.connect().await;

    for client in [&mut alice.client, &mut bob.client] {
        for _ in 0..2 {
            let reply =
                client.send_on(&mut connection, Method::GET, "/standin/echo-head", Bytes::new()).await;
            assert_eq!(reply.status, 200);
        }
    }

    let connections: Vec<_> = pve.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_of_posts_around_the_deaths_of_nodes_none_is_sent_twice() {
    const PEOPLE: usize = 8;
    const EACH: usize = 250;
    let (one, two, three) = (Pve::start().await, Pve::start().await, Pve::start().await);
    let recipe = TestGate::recipe(&one).beside(&two).beside(&three);
    let gate = recipe.set("upstream.health_interval", "100ms").start().await;
    let mut senders = tokio::task::JoinSet::new();
    for person in 0..PEOPLE {
        let mut person = (person, gate.person(&format!("person{person}")).await);
        senders.spawn(async move {
            let (number, client) = (person.0, &mut person.1.client);
            let mut answered = Vec::new();
            let mut connection = client.connect().await;
            for request in 0..EACH {
                let id = format!("{number}-{request}");
                let target = format!("/standin/sink?id={id}");
                if request % 25 == 0 {
                    connection = client.connect().await;
                }
                let body = Bytes::from(vec![1; 2000]);
                let reply = client.send_as_page_on(&mut connection, Method::POST, &target, body).await;
                answered.push((id, reply.status.as_u16()));
                if reply.status != 200 {
                    connection = client.connect().await;
                }
            }
            answered
        });
    }
    let total = |nodes: &[&Pve]| nodes.iter().map(|pve| pve.requests_seen()).sum::<usize>();
    let mut seen: Vec<String> = Vec::new();
    let mut gather = |pve: &Pve| seen.extend(pve.requests().into_iter().map(|request| request.target));

    // Each dies once in the thick of it, and comes back.
    until("a start", async || total(&[&one, &two, &three]) > 300).await;
    let one = one.fall().await;
    gather(&one.was);
    let before = total(&[&two, &three]);
    until("more", async || total(&[&two, &three]) > before + 200).await;
    let one = one.rise();
    let two = two.fall().await;
    gather(&two.was);
    let before = total(&[&one, &three]);
    until("more", async || total(&[&one, &three]) > before + 200).await;
    let two = two.rise();
    let mut answered: BTreeMap<String, u16> = BTreeMap::new();
    while let Some(person) = senders.join_next().await {
        answered.extend(person.unwrap());
    }

    for pve in [&one, &two, &three] {
        gather(pve);
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for target in &seen {
        *counts.entry(target.split_once("id=").unwrap().1.to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(answered.len(), PEOPLE * EACH);
    for (id, status) in &answered {
        match status {
            200 => assert_eq!(counts.get(id), Some(&1), "{id}"),
            502 => {}
            other => panic!("{id}: {other}"),
        }
    }
    let lost = answered.values().filter(|status| **status == 502).count();
    assert!(lost <= 2 * PEOPLE, "{lost} of {} were under way when a node died", answered.len());
}
