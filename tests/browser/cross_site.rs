//! Pages of other origins, in a browser that is signed in: whatever they send, pveproxy hears nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;

use pvegate::{
    names,
    time::{Clock as _, SystemClock},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    gate::{Client, HOST, Person, Pve, TestGate},
    harness::{Browser, Options},
};

/// What a page may try without asking anybody, each against an origin of its own. Each returns at once or
/// when it has failed.
#[rustfmt::skip]
const ATTEMPTS: [(&str, &str); 3] = [
    ("an upload by fetch", "
        const form = new FormData();
        form.append('content', 'iso');
        form.append('filename', new File(['x'], 'evil.iso'));
        return fetch(TARGET + '/api2/json/nodes/demo/storage/local/upload',
            { method: 'POST', mode: 'no-cors', credentials: 'include', body: form })
            .then((answer) => answer.type, (error) => error.name);"),
    ("a console", "
        return new Promise((done) => {
            const url = TARGET.replace('https', 'wss') + '/api2/json/nodes/demo/vncwebsocket?port=5900&vncticket=x';
            const socket = new WebSocket(url, 'binary');
            socket.onopen = () => done('open');
            socket.onerror = () => done('error');
        });"),
    // The last: it leaves the page.
    ("an upload by form", "
        const form = document.createElement('form');
        Object.assign(form, { method: 'post', enctype: 'multipart/form-data',
            action: TARGET + '/api2/json/nodes/demo/storage/local/upload' });
        const file = document.createElement('input');
        Object.assign(file, { type: 'file', name: 'filename' });
        const chosen = new DataTransfer();
        chosen.items.add(new File(['x'], 'evil.iso'));
        file.files = chosen.files;
        form.append(file);
        document.body.append(form);
        form.submit();"),
];

/// Three gates on one store, each in front of the stand-in that is to hear nothing, and a browser whose
/// cookie is good at all of them.
struct Scene {
    pve: Pve,
    victims: Vec<TestGate>,
    /// A gate of the same host on another port, whose pages are the attacker's.
    beside: TestGate,
    _pve_beside: Pve,
    browser: Browser,
}

/// A site of somebody else's, on plain HTTP.
async fn foreign_site() -> SocketAddr {
    const PAGE: &str = "<!doctype html><title>Prizes</title><h1>You have won</h1>";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    PAGE.len()
                );
                let _ = stream.write_all(format!("{head}{PAGE}").as_bytes()).await;
            });
        }
    });
    address
}

async fn scene(foreign: SocketAddr) -> Scene {
    let (pve, pve_beside) = (Pve::start().await, Pve::start().await);
    let beside = TestGate::recipe(&pve_beside).at(SystemClock.now()).start().await;
    let mut victims = Vec::new();
    for _ in ATTEMPTS {
        victims.push(beside.another(&pve).start().await);
    }
    let mut hosts = vec![("evil.test".to_owned(), foreign)];
    hosts.extend(victims.iter().chain([&beside]).map(|gate| (gate.authority(), gate.address)));
    let hosts: Vec<(&str, SocketAddr)> = hosts.iter().map(|(host, at)| (host.as_str(), *at)).collect();
    let browser =
        Browser::start(Options { trust: Some(&beside.ca_pem), map_hosts: &hosts, ..Options::default() })
            .await;

    let client = Client::of_process(beside.address, &beside.url(), &beside.ca_pem);
    let link = beside.invite("alice").link(&beside.config.gate.public_url);
    let (mut alice, state) = Person::open(client, "alice", &link).await.map_err(|page| page.text()).unwrap();
    let code = alice.code(&beside);
    alice.finish(&state, &code).await;
    let cookie = json!({
        "name": names::SESSION_COOKIE, "value": alice.session_cookie().unwrap(), "url": beside.url(),
        "path": "/", "secure": true, "httpOnly": true, "sameSite": "Lax",
    });
    assert_eq!(browser.cdp("Network.setCookie", cookie).await["success"], true);
    Scene { pve, victims, beside, _pve_beside: pve_beside, browser }
}

impl Scene {
    async fn attempt(&self, number: usize) -> String {
        let target = self.victims[number].url();
        let outcome = self.browser.eval(&ATTEMPTS[number].1.replace("TARGET", &format!("'{target}'"))).await;
        outcome.as_str().unwrap_or_default().to_owned()
    }
}

/// What pveproxy was asked for. Of the page on which a form ended the browser asks the icon by itself, from
/// there, and it is a page of ours.
fn heard(pve: &Pve) -> Vec<String> {
    pve.requests().into_iter().map(|seen| seen.target).filter(|target| target != "/favicon.ico").collect()
}

#[tokio::test]
async fn a_page_on_another_port_of_this_host_sends_nothing_to_pveproxy_though_the_cookie_goes_along() {
    let scene = scene(foreign_site().await).await;
    assert!(scene.beside.url().starts_with(&format!("https://{HOST}:")));
    scene.browser.goto(&format!("{}/", scene.beside.url())).await;
    scene.browser.wait_for_text("Stand-in for Proxmox VE").await;

    for (number, (attempt, _)) in ATTEMPTS.iter().enumerate() {
        let outcome = scene.attempt(number).await;
        assert_ne!(outcome, "open", "{attempt}");
    }
    scene.browser.wait_for_path("/api2/json/nodes/demo/storage/local/upload").await;
    scene.browser.screenshot("cross-site-refused").await;

    assert_eq!(heard(&scene.pve), [""; 0]);
    for (gate, (attempt, _)) in scene.victims.iter().zip(ATTEMPTS) {
        // It came, and the cookie with it: a request without a session is a 401, and not written down.
        let events = gate.audit();
        let refusals = events.iter().filter(|event| event["pvegate"]["reason"] == "cross_site").count();
        assert!(refusals >= ATTEMPTS.len(), "{attempt}: {events:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_sends_nothing_to_pveproxy() {
    let scene = scene(foreign_site().await).await;
    scene.browser.goto("http://evil.test/").await;
    scene.browser.wait_for_text("You have won").await;

    for (number, (attempt, _)) in ATTEMPTS.iter().enumerate() {
        assert_ne!(scene.attempt(number).await, "open", "{attempt}");
    }
    scene.browser.wait_for_path("/api2/json/nodes/demo/storage/local/upload").await;

    assert_eq!(heard(&scene.pve), [""; 0]);
}

#[tokio::test]
async fn the_same_attempts_by_a_page_of_ours_do_reach_pveproxy() {
    let scene = scene(foreign_site().await).await;

    for (number, (attempt, _)) in ATTEMPTS.iter().enumerate() {
        let before = scene.pve.requests_seen();
        scene.browser.goto(&format!("{}/", scene.victims[number].url())).await;
        scene.browser.wait_for_text("Stand-in for Proxmox VE").await;
        let at_the_page = scene.pve.requests_seen();
        assert!(at_the_page > before);
        scene.attempt(number).await;
        let asked = async {
            scene
                .pve
                .wait_until(|seen| {
                    seen.requests.iter().any(|request| {
                        let path = ["/upload", "/vncwebsocket", "/upload"][number];
                        request.target.contains(path)
                    })
                })
                .await
        };
        asked.await;
        assert!(scene.pve.requests_seen() > at_the_page, "{attempt}");
    }
}
