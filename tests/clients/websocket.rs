//! wscat (npm) on a console, with a session's cookies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::{
    far::Far,
    gate::{Ended, console_target, packages},
};

async fn wscat(far: &Far, target: &str, headers: &[&str], say: &str) -> Ended {
    let wscat = packages().join("npm/node_modules/.bin/wscat");
    let url = far.url(target).replacen("https:", "wss:", 1);
    let (ca, origin) = (far.ca(), far.gate.url());
    let mut args = vec![
        "--no-color",
        "--ca",
        &ca,
        "--subprotocol",
        "binary",
        "--origin",
        &origin,
        "--wait",
        "1",
        "--execute",
        say,
    ];
    for header in headers {
        args.extend(["--header", header]);
    }
    args.extend(["--connect", &url]);
    // It ends when its standard input does.
    let (input, _held) = std::io::pipe().unwrap();
    far.feed(wscat.to_str().unwrap(), &args, input).await
}

#[tokio::test]
async fn wscat_talks_to_a_console() {
    let mut far = Far::start().await;
    let target = far.alice.console_target("echo").await;

    let said = wscat(&far, &target, &[&far.cookies()], "hello from wscat").await.ok();

    assert!(said.contains("hello from wscat"), "{said}");
}

#[tokio::test]
async fn wscat_without_a_session_gets_no_console() {
    let mut far = Far::start().await;
    let target = far.alice.console_target("echo").await;
    let seen = far.pve.requests_seen();

    let refused = wscat(&far, &target, &[], "hello from wscat").await;

    assert!(refused.stderr.contains("401") || refused.stdout.contains("401"), "{refused:?}");
    assert_eq!((far.pve.requests_seen(), far.pve.tunnels_open()), (seen, 0));
}

#[tokio::test]
async fn wscat_talks_to_a_console_by_token() {
    let far = Far::with_rule().await;
    let mut program = far.gate.client().with("authorization", far.token().split_once(": ").unwrap().1);
    let opened = program.post_form("/api2/json/nodes/demo/termproxy", &[("standin-mode", "echo")]).await;
    let target = console_target(&opened.json()["data"]);

    let said = wscat(&far, &target, &[&far.token()], "hello from wscat").await.ok();

    assert!(said.contains("hello from wscat"), "{said}");
}
