//! Proxmox VE's consoles with what is really at their ends: noVNC before a VNC server with a screen,
//! xterm.js before a shell.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backends;

use std::{net::SocketAddr, path::Path};

use fantoccini::key::Key;
use pvegate::{
    demo::Settings,
    names,
    time::{Clock as _, SystemClock},
};
use serde_json::json;

use self::backends::{Shell, VncServer};
use crate::{
    gate::{HOST, Person, Pve, Scratch, TestGate},
    harness::{Browser, Options},
};

/// A gate before a stand-in whose consoles lead to `console`, and alice's browser, in which she is signed in.
async fn in_front_of(console: SocketAddr) -> (Pve, TestGate, Browser) {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/consoles");
    let packages = crate::gate::packages().join("npm/node_modules");
    let dirs = [
        ("/consoles/", pages),
        ("/novnc/", packages.join("@novnc/novnc")),
        ("/xterm/", packages.join("@xterm/xterm")),
    ];
    let dirs = dirs.map(|(prefix, dir)| (prefix.to_owned(), dir)).into();
    let pve = Pve::with(Settings { dirs, console: Some(console), ..Settings::quick() }).await;
    let gate = TestGate::recipe(&pve).at(SystemClock.now()).start().await;
    let alice = gate.person("alice").await;
    let browser = browser(&gate, &alice).await;
    (pve, gate, browser)
}

async fn browser(gate: &TestGate, person: &Person) -> Browser {
    let hosts: [(&str, SocketAddr); 1] = [(HOST, gate.address)];
    let browser =
        Browser::start(Options { trust: Some(&gate.ca_pem), map_hosts: &hosts, ..Options::default() }).await;
    let cookie = json!({
        "name": names::SESSION_COOKIE, "value": person.session_cookie().unwrap(), "url": gate.url(),
        "path": "/", "secure": true, "httpOnly": true, "sameSite": "Lax",
    });
    browser.cdp("Network.setCookie", cookie).await;
    browser
}

/// Signs out in the page of a console, which then ends on both sides.
async fn sign_out_ends_it(browser: &Browser, pve: &Pve) {
    assert_eq!(pve.tunnels_open(), 1);

    let milliseconds = browser.eval("return signOut()").await.as_f64().unwrap();

    assert!(milliseconds < 1000.0, "{milliseconds} ms");
    browser.wait_for_text("ended").await;
    pve.wait_until(|_| pve.tunnels_open() == 0).await;
}

#[tokio::test]
async fn novnc_shows_a_real_screen_and_types_on_it_until_sign_out() {
    let typed = Scratch::new();
    let typed = typed.path().join("typed");
    let script = format!(
        r#"read -r line; printf %s "$line" >'{}'; printf '\033]11;#993366\007'; sleep 600"#,
        typed.display()
    );
    let server = VncServer::start("#336699", &script);
    let (pve, gate, browser) = in_front_of(server.address).await;

    browser.goto(&format!("{}/consoles/novnc.html", gate.url())).await;
    browser.wait_for_text("connected").await;
    browser.wait_for_result("return pixel(200, 200)", &json!([0x33, 0x66, 0x99])).await;
    browser.type_keys("Hello, gate: 100%!").await;
    browser.press(Key::Enter).await;
    browser.wait_for_result("return pixel(200, 200)", &json!([0x99, 0x33, 0x66])).await;
    browser.screenshot("novnc").await;

    assert_eq!(std::fs::read_to_string(typed).unwrap(), "Hello, gate: 100%!");
    sign_out_ends_it(&browser, &pve).await;
}

#[tokio::test]
async fn xterm_js_runs_commands_in_a_real_shell_until_sign_out() {
    let shell = Shell::start().await;
    let (pve, gate, browser) = in_front_of(shell.address).await;

    browser.goto(&format!("{}/consoles/xterm.html", gate.url())).await;
    browser.wait_for_text("connected").await;
    browser.type_keys("stty size; echo $((6 * 7)) grün").await;
    browser.press(Key::Enter).await;
    browser.wait_for_result("return lines().includes('42 grün')", &json!(true)).await;
    browser.screenshot("xterm").await;

    let lines = browser.eval("return lines()").await;
    assert!(lines.as_array().unwrap().contains(&json!("17 91")), "its size is the terminal's: {lines}");
    sign_out_ends_it(&browser, &pve).await;
    shell.ended().await;
}
