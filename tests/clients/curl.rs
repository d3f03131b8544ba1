//! curl with a session's cookies, as a script that borrows them from a browser.
use std::{fs::File, io::Seek as _};

use sha2::{Digest as _, Sha256};

use crate::{
    far::{Far, content},
    gate::Ended,
};

const UPLOAD: &str = "/api2/json/nodes/demo/storage/local/upload";
const DOWNLOAD: &str = "/api2/json/nodes/demo/storage/local/file-restore/download";

/// Runs curl, signed in; it says what it does on standard error.
async fn curl<S: AsRef<str>>(far: &Far, args: &[S], url: &str) -> Ended {
    curl_reading(far, args, url, std::process::Stdio::null()).await
}

async fn curl_reading<S: AsRef<str>>(
    far: &Far,
    args: &[S],
    url: &str,
    input: impl Into<std::process::Stdio>,
) -> Ended {
    let always = ["-q", "--no-progress-meter", "--verbose", "--http1.1", "--cacert"].map(str::to_owned);
    let more = [far.ca(), "-H".into(), far.cookies(), "-H".into(), far.csrf(), "-H".into(), far.origin()];
    let args = args.iter().map(|arg| arg.as_ref().to_owned());
    let all: Vec<String> = always.into_iter().chain(more).chain(args).chain([far.url(url)]).collect();
    far.feed("curl", &all, input).await
}

#[tokio::test]
async fn a_large_upload_waits_for_100_continue_and_arrives_whole() {
    let far = Far::start().await;
    let iso = content(3 << 20);
    let file = format!("filename=@{}", far.file("debian.iso", &iso));

    let uploaded = curl(&far, &["-F", "content=iso", "-F", &file], UPLOAD).await;

    // From 1 MiB on curl asks before it sends.
    assert!(uploaded.stderr.contains("> Expect: 100-continue"), "{uploaded:?}");
    assert!(uploaded.stderr.contains("< HTTP/1.1 100 Continue"), "{uploaded:?}");
    assert!(uploaded.ok().contains("UPID:demo:"));
    let seen = far.pve.uploads().pop().unwrap();
    assert_eq!((seen.filename.as_str(), seen.bytes), ("debian.iso", iso.len() as u64));
    assert_eq!(seen.sha256, <[u8; 32]>::from(Sha256::digest(&iso)));
    let request = far.pve.requests().pop().unwrap();
    assert!(request.values("expect").is_empty(), "pveproxy never answers it");
}

#[tokio::test]
async fn an_upload_without_a_session_is_refused_before_it_is_sent() {
    let far = Far::start().await;
    let seen = far.pve.requests_seen();
    let file = format!("filename=@{}", far.file("debian.iso", &content(3 << 20)));
    let args = ["-q", "-sS", "-v", "--http1.1", "--cacert", &far.ca(), "-F", "content=iso", "-F", &file];
    let url = far.url(UPLOAD);

    let refused = far.run("curl", &[&args[..], &[&url]].concat()).await;

    assert!(refused.stderr.contains("< HTTP/1.1 401 Sign in to the gate"), "{refused:?}");
    assert!(!refused.stderr.contains("100 Continue"), "{refused:?}");
    assert_eq!(far.pve.requests_seen(), seen);
}

#[tokio::test]
async fn a_download_that_ends_with_the_connection_is_whole_and_one_cut_short_is_an_error() {
    let far = Far::start().await;
    let to = far.path("files.tar");
    let to = to.to_str().unwrap();

    curl(&far, &["-o", to], DOWNLOAD).await.ok();
    let cut = curl(&far, &["-o", to], "/standin/stream/length?bytes=100000&send=40000").await;

    assert_eq!(cut.code, Some(18), "partial file: {cut:?}");
    let whole = content(100_000);
    curl(&far, &["-o", to], DOWNLOAD).await.ok();
    assert!(std::fs::read(to).unwrap() == whole);
}

#[tokio::test]
async fn a_download_is_not_resumed_where_proxmox_ve_ignores_the_range() {
    let far = Far::start().await;
    let half = content(50_000);
    let to = far.file("files.tar", &half);

    let resumed = curl(&far, &["-C", "-", "-o", &to], DOWNLOAD).await;

    assert_eq!(resumed.code, Some(33), "the server ignores ranges: {resumed:?}");
    assert!(std::fs::read(to).unwrap() == half, "and nothing was appended");
}

#[tokio::test]
async fn a_head_request_and_a_reason_come_through_as_proxmox_ve_answers_them() {
    let far = Far::start().await;

    let head = curl(&far, &["-I"], "/api2/json/version").await.ok();
    let error = curl(&far, &["-i"], "/standin/status/595?reason=No%20route%20to%20host").await.ok();

    assert!(head.starts_with("HTTP/1.1 501 method 'HEAD' not available\r\n"), "{head}");
    assert!(error.starts_with("HTTP/1.1 595 No route to host\r\n"), "{error}");
}

#[tokio::test]
async fn a_form_of_unknown_length_arrives_with_its_length_and_a_large_one_is_refused() {
    let far = Far::start().await;
    let form = format!("comment={}", "x".repeat(200_000));
    let file = |content: &[u8]| {
        let path = far.file("stdin", content);
        let mut file = File::open(path).unwrap();
        file.rewind().unwrap();
        file
    };
    let args = ["-T", "-", "-H", "Content-Type: application/x-www-form-urlencoded"];
    let config = "/api2/json/nodes/demo/qemu/100/config";

    let sent = curl_reading(&far, &args, config, file(form.as_bytes())).await;

    assert!(sent.stderr.contains("> Transfer-Encoding: chunked"), "{sent:?}");
    assert!(sent.ok().contains("UPID:demo:"));
    let request = far.pve.requests().pop().unwrap();
    assert_eq!(request.values("content-length"), [form.len().to_string().as_bytes()]);
    assert!(request.values("transfer-encoding").is_empty());
    assert_eq!(request.body_sha256, Some(Sha256::digest(form.as_bytes()).into()));

    let seen = far.pve.requests_seen();
    let refused = curl_reading(&far, &args, config, file(&content(2 << 20))).await;

    // It is still sending when the answer comes, and hears it all the same.
    assert!(refused.stderr.contains("< HTTP/1.1 413 "), "{refused:?}");
    assert_eq!(far.pve.requests_seen(), seen);
}

#[tokio::test]
async fn cookies_alone_change_nothing() {
    let far = Far::start().await;
    let seen = far.pve.requests_seen();
    let start = "/api2/json/nodes/demo/qemu/100/status/start";

    let (cookies, csrf, ca, url) = (far.cookies(), far.csrf(), far.ca(), far.url(start));
    let args = ["-q", "-sS", "-v", "--cacert", &ca, "-H", &cookies, "-H", &csrf, "-X", "POST", &url];
    let refused = far.run("curl", &args).await;

    let told = "< HTTP/1.1 403 Refused by the gate - send Origin, or use an API token";
    assert!(refused.stderr.contains(told), "{refused:?}");
    assert!(refused.ok().contains("cross_site"));
    assert_eq!(far.pve.requests_seen(), seen);
}

#[tokio::test]
async fn a_token_uploads_and_downloads_where_its_rule_allows() {
    let far = Far::with_rule().await;
    let iso = content(3 << 20);
    let file = format!("filename=@{}", far.file("debian.iso", &iso));
    let to = far.path("files.tar").display().to_string();
    let (ca, token) = (far.ca(), far.token());
    let always = ["-q", "--no-progress-meter", "--http1.1", "--cacert", &ca, "-H", &token];
    let run = async |args: &[&str], path: &str| {
        far.run("curl", &[&always[..], args, &[&far.url(path)]].concat()).await
    };

    let uploaded = run(&["-F", "content=iso", "-F", &file], UPLOAD).await.ok();
    run(&["-o", &to], DOWNLOAD).await.ok();
    let elsewhere = run(&["-i"], "/api2/json/access/users").await.ok();

    assert!(uploaded.contains("UPID:demo:"), "{uploaded}");
    assert_eq!(far.pve.uploads()[0].sha256, <[u8; 32]>::from(Sha256::digest(&iso)));
    assert!(std::fs::read(to).unwrap() == content(100_000));
    assert!(elsewhere.starts_with("HTTP/1.1 403 "), "{elsewhere}");
    assert!(far.pve.requests().iter().all(|request| request.target != "/api2/json/access/users"));
}
