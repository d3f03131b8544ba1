//! What acts at Proxmox VE in somebody's session was sent by a page of this origin, or pveproxy hears nothing
//! of it: also where Proxmox VE itself asks for no token.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use http::Method;

use crate::harness::{Client, Pve, Reply, TestGate};

const UPLOAD: &str = "/api2/json/nodes/demo/storage/local/upload";
const FILE: &str = "--x\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--x\r\nContent-Disposition: \
                    form-data; name=\"filename\"; filename=\"a.iso\"\r\n\r\n0123456789\r\n--x--\r\n";

/// Who is signed in at both, as their browser would be.
async fn signed_in() -> (Pve, TestGate, Client) {
    let pve = Pve::start().await;
    let gate = TestGate::in_front_of(&pve).await;
    let mut alice = gate.person("alice").await;
    alice.sign_in_to_pve().await;
    (pve, gate, alice.client)
}

async fn upload(client: &Client, fields: &[(&str, &str)]) -> Reply {
    let mut client = client.clone().with("content-type", "multipart/form-data; boundary=x");
    for (name, value) in fields {
        client = client.with(name, value);
    }
    client.send(Method::POST, UPLOAD, FILE.into()).await
}

/// The word of the last refusal that was written, the folded ones included.
fn last_reason(gate: &TestGate) -> String {
    gate.clock.advance(std::time::Duration::from_secs(61));
    gate.stages.gate.audit().write_floods();
    gate.audit().pop().unwrap()["pvegate"]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_upload_comes_from_a_page_of_ours_or_not_at_all() {
    let (pve, gate, client) = signed_in().await;
    let ours = gate.url();
    let beside = format!("https://{}:1", crate::harness::HOST);
    let seen = pve.requests_seen();
    #[rustfmt::skip]
    let table: &[(&str, &[(&str, &str)], &str)] = &[
        ("another site's form",           &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],  "cross_site"),
        ("without Fetch Metadata",        &[("origin", "https://evil.test")],                                    "cross_site"),
        ("another port of this host",     &[("origin", &beside), ("sec-fetch-site", "same-site")],               "cross_site"),
        ("a sandboxed frame",             &[("origin", "null"), ("sec-fetch-site", "cross-site")],               "cross_site"),
        ("our origin, another site",      &[("origin", &ours), ("sec-fetch-site", "cross-site")],                "cross_site"),
        ("another origin, same site",     &[("origin", &beside), ("sec-fetch-site", "same-origin")],             "cross_site"),
        ("typed into the address bar",    &[("sec-fetch-site", "none")],                                         "cross_site"),
        ("two origins",                   &[("origin", &ours), ("origin", "https://evil.test")],                 "cross_site"),
        ("no word of it",                 &[],                                                                   "no_origin"),
        ("a Referer is no Origin",        &[("referer", &ours)],                                                 "no_origin"),
    ];
    for (case, fields, reason) in table {
        let reply = upload(&client, fields).await;
        assert_eq!(reply.status, 403, "{case}");
        let phrase = match *reason {
            "no_origin" => "Refused by the gate - send Origin, or use an API token",
            _ => "Refused by the gate - not sent by a page of its own",
        };
        assert_eq!(reply.reason.as_deref(), Some(phrase), "{case}");
        assert_eq!(reply.json()["error"], "cross_site", "{case}");
        assert_eq!(last_reason(&gate), *reason, "{case}");
    }
    assert_eq!(pve.requests_seen(), seen, "pveproxy heard of none");
    assert_eq!(pve.uploads(), []);
    let event = gate.audit().pop().unwrap();
    assert_eq!((&event["pvegate"]["class"], &event["event"]["action"]), (&"upload".into(), &"refuse".into()));

    for fields in [&[("origin", ours.as_str())][..], &[("sec-fetch-site", "same-origin")]] {
        assert_eq!(upload(&client, fields).await.status, 200);
    }
    assert_eq!(pve.uploads().len(), 2);
}

#[tokio::test]
async fn no_unsafe_method_and_no_upgrade_of_another_site_passes() {
    let (pve, gate, client) = signed_in().await;
    let seen = pve.requests_seen();
    let theirs = client.clone().with("origin", "https://evil.test");
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
        for client in [&theirs, &client] {
            let reply = client
                .clone()
                .send(method.parse().unwrap(), "/api2/json/nodes/demo/qemu/100", Bytes::new())
                .await;
            assert_eq!(reply.status, 403, "{method}");
        }
    }
    let console = "/api2/json/nodes/demo/vncwebsocket?port=5900&vncticket=x";
    for (origin, site) in
        [("https://evil.test", "cross-site"), ("null", "cross-site"), ("http://gate.test", "same-site")]
    {
        let client = client.clone().with("origin", origin).with("sec-fetch-site", site);
        let client = client.with("connection", "upgrade").with("upgrade", "websocket");
        assert_eq!(client.clone().get(console).await.status, 403, "{origin}");
    }
    let unsaid = client.clone().with("connection", "upgrade").with("upgrade", "websocket");
    assert_eq!(unsaid.clone().get(console).await.status, 403);
    assert_eq!(pve.requests_seen(), seen);

    let reaching = "/api2/json/nodes/demo/query-url-metadata?url=http://10.0.0.1/";
    assert_eq!(client.clone().with("sec-fetch-site", "cross-site").get(reaching).await.status, 403);
    assert_eq!(pve.requests_seen(), seen, "a link of another site makes no node connect anywhere");
    client.clone().with("sec-fetch-site", "same-origin").get(reaching).await;
    assert_eq!(pve.requests_seen(), seen + 1);
    drop(gate);
}
