//! Request heads, as pveproxy is to see them: methods, paths, fields, cookies, one true address.

use super::{Scene, texts};
use crate::harness::{Pve, TestGate};

#[tokio::test]
async fn odd_methods_and_odd_paths_arrive_byte_for_byte() {
    let scene = Scene::set().await;
    let long = format!("/standin/echo-head?{}", "x".repeat(7 * 1024));
    #[rustfmt::skip]
    let table = [
        ("GET",     "///"),
        ("GET",     "/api2///json//version"),
        ("GET",     "/api2/json/%61ccess%2Fdomains"),
        ("GET",     "/pve2/../pve2/./js?a=b&a=c&&=%20+"),
        ("GET",     "/%ff%00;v=1"),
        ("GET",     "/?console=kvm&vmid=100&node=demo&resize=off"),
        ("DELETE",  "/api2/json/nodes/demo/qemu/100"),
        ("PUT",     "/api2/json/nodes/demo/qemu/100/config"),
        ("HEAD",    "/"),
        ("OPTIONS", "/api2/json/version"),
        ("PATCH",   "/api2/json/version"),
        ("PROPFIND", "/api2/json/version"),
        ("X-ODD",   "/api2/json/version"),
        ("GET",     long.as_str()),
    ];
    for (method, target) in table {
        let answer = scene.ask(method, target, "", b"").await;

        let seen = scene.seen();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, target));
        if !matches!(method, "GET" | "PUT" | "POST" | "DELETE") {
            assert_eq!(answer.reason, format!("method '{method}' not available"));
        }
    }
}

#[tokio::test]
async fn one_cookie_field_goes_up_without_ours_and_in_order() {
    let scene = Scene::set().await;
    let more = "cookie: b=2;PVEAuthCookie=x;  __Host-pvegate-device=d\r\ncookie: __Host-pvegate-language=de; c=\"3\"; a=1\r\n";

    scene.ask("GET", "/standin/echo-head", more, b"").await;

    let seen = scene.seen();
    assert_eq!(texts(&seen, "cookie"), ["b=2; PVEAuthCookie=x; c=\"3\"; a=1"]);
    let session = scene.alice.session_cookie().unwrap();
    assert!(!String::from_utf8_lossy(&seen.raw_head).contains(session));

    scene.ask("GET", "/standin/echo-head", "", b"").await;
    assert_eq!(texts(&scene.seen(), "cookie"), [""; 0], "where none is left there is no field");
}

#[tokio::test]
async fn one_true_address_stands_in_place_of_every_claim() {
    let scene = Scene::set().await;
    let mut more = String::new();
    for name in [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X-Real-IP",
        "Forwarded",
        "FORWARDED",
        "X-Forwarded",
        "X-Original-Forwarded-For",
        "X-Remote-Addr",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "PVEClientIP",
        "pveclientip",
        "PVEDisableProxy",
        "PVEDISABLEPROXY",
    ] {
        more += &format!("{name}: 203.0.113.66\r\n");
    }
    // Fields of the gate's own cannot be declared to be for the next hop only.
    more +=
        "Connection: x-forwarded-for, HOST, content-length, X-Real-IP\r\nconnection: via,x-forwarded-for\r\n";

    scene.ask("GET", "/standin/echo-head", &more, b"").await;

    let seen = scene.seen();
    assert_eq!(texts(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(texts(&seen, "host"), [scene.gate.authority()]);
    let head = String::from_utf8_lossy(&seen.raw_head).into_owned();
    assert!(!head.contains("203.0.113.66"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("\r\npve"), "{head}");
}

#[tokio::test]
async fn the_address_goes_up_in_the_one_field_that_is_configured_whatever_its_name() {
    let pve = Pve::start().await;
    let gate = TestGate::recipe(&pve)
        .set("upstream.send_client_ip", "X-Gate-Client")
        .set("access.allow", "127.0.0.0/8")
        .start()
        .await;
    let mut alice = gate.person("alice").await;
    alice.client = alice.client.from("127.0.0.9").with("X-GATE-client", "203.0.113.66");

    alice.client.with("x-forwarded-for", "203.0.113.66").get("/standin/echo-head").await;

    let seen = pve.requests().pop().unwrap();
    assert_eq!(texts(&seen, "x-gate-client"), ["127.0.0.9"]);
    assert!(!String::from_utf8_lossy(&seen.raw_head).contains("203.0.113.66"));
}

#[tokio::test]
async fn host_goes_up_as_it_came_port_included() {
    let scene = Scene::set().await;
    let authority = scene.gate.authority();
    assert!(authority.contains(':'), "the port is part of it here: {authority}");

    scene.ask("GET", "/standin/echo-head", "", b"").await;

    assert_eq!(texts(&scene.seen(), "host"), [authority]);
}

#[tokio::test]
async fn proxmox_ve_derives_the_origin_of_its_own_webauthn_as_browsers_see_it() {
    let scene = Scene::set().await;
    let ask = async |origin: &str| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("origin", origin).finish();
        scene.ask("GET", &format!("/standin/webauthn?{query}"), "", b"").await
    };

    let right = ask(&scene.gate.url()).await;
    let upstream = ask(&format!("https://{}", scene.pve.addr())).await;

    assert_eq!(right.status, 200, "{}", right.reason);
    let derived: serde_json::Value = serde_json::from_slice(&right.body).unwrap();
    assert_eq!(derived["origin"], scene.gate.url());
    assert_eq!(derived["id"], crate::harness::HOST);
    let refused = (upstream.status, upstream.reason.as_str());
    assert_eq!(refused, (500, "no webauthn configuration available"), "where Host is another");
}

#[tokio::test]
async fn trace_and_connect_are_answered_here() {
    let scene = Scene::set().await;
    for (method, target) in [("TRACE", "/"), ("CONNECT", "/"), ("CONNECT", "pve.test:22")] {
        let answer = scene.ask(method, target, "", b"").await;

        assert_eq!(answer.status, 501, "{method} {target}");
    }
    assert_eq!(scene.pve.requests_seen(), 0);
}

#[tokio::test]
async fn fields_between_neighbours_stay_between_them_and_others_pass() {
    let scene = Scene::set().await;
    let more = "Connection: keep-alive, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nAuthorization: PVEAuthCookie=PVE:root@pam:6A::a+/b==\r\n\
        CSRFPreventionToken: 6A:x\r\nAccept-Encoding: gzip\r\nIf-Modified-Since: Tue, 24 Nov 2026 08:00:00 GMT\r\n";

    scene.ask("GET", "/standin/echo-head", more, b"").await;

    let seen = scene.seen();
    for gone in
        ["x-inner", "keep-alive", "proxy-connection", "proxy-authorization", "te", "connection", "upgrade"]
    {
        assert_eq!(texts(&seen, gone), [""; 0], "{gone}");
    }
    for (name, value) in [
        ("authorization", "PVEAuthCookie=PVE:root@pam:6A::a+/b=="),
        ("csrfpreventiontoken", "6A:x"),
        ("accept-encoding", "gzip"),
        ("if-modified-since", "Tue, 24 Nov 2026 08:00:00 GMT"),
        ("host", &scene.gate.authority()),
    ] {
        assert_eq!(texts(&seen, name), [value], "{name}");
    }
}

#[tokio::test]
async fn more_fields_than_pveproxy_answers_are_answered_here() {
    let scene = Scene::set().await;
    scene.ask("GET", "/standin/echo-head", "", b"").await;
    let usual = scene.seen().fields.len();
    let before = scene.pve.requests_seen();
    let lines = |count: usize| (0..count).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();

    let many = scene.ask("GET", "/standin/echo-head", &lines(62), b"").await;
    let long = scene.ask("GET", "/standin/echo-head", &format!("x: {}\r\n", "y".repeat(8 * 1024)), b"").await;
    assert_eq!((many.status, long.status), (431, 431));
    assert_eq!(scene.pve.requests_seen(), before);

    // As many as pveproxy does take, but for one line that is left for a length.
    let most = scene.ask("GET", "/standin/echo-head", &lines(61 - usual), b"").await;
    assert_eq!(most.status, 200);
}
