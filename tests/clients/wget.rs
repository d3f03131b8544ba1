//! wget with a session's cookies.
use crate::{
    far::{Far, content},
    gate::Ended,
};

const DOWNLOAD: &str = "/api2/json/nodes/demo/storage/local/file-restore/download";

async fn wget(far: &Far, headers: &[&str], args: &[&str], url: &str) -> Ended {
    let mut all: Vec<String> = ["--no-config", "--no-hsts", "--tries=1"].map(str::to_owned).into();
    all.push(format!("--ca-certificate={}", far.ca()));
    all.extend(headers.iter().map(|header| format!("--header={header}")));
    all.extend(args.iter().map(|&arg| arg.to_owned()));
    all.push(far.url(url));
    far.run("wget", &all).await
}

#[tokio::test]
async fn a_file_is_downloaded_whole_and_a_form_is_posted() {
    let far = Far::start().await;
    let session = [far.cookies(), far.csrf(), far.origin()];
    let session = session.each_ref().map(String::as_str);
    let to = far.path("files.tar");
    let to = to.to_str().unwrap();

    wget(&far, &session, &["-O", to], DOWNLOAD).await.ok();
    let post = ["-O", "-", "--post-data=force=1"];
    let posted = wget(&far, &session, &post, "/api2/json/nodes/demo/qemu/100/status/start").await;

    assert!(std::fs::read(to).unwrap() == content(100_000));
    assert!(posted.ok().contains("UPID:demo:"));
}

#[tokio::test]
async fn without_a_session_wget_tells_its_user_to_sign_in_to_the_gate() {
    let far = Far::start().await;
    let seen = far.pve.requests_seen();

    let refused = wget(&far, &[], &["-O", "-"], "/api2/json/version").await;

    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("401 Sign in to the gate"), "{refused:?}");
    assert_eq!(far.pve.requests_seen(), seen);
}

#[tokio::test]
async fn a_gate_whose_authority_is_not_known_gets_nothing() {
    let far = Far::start().await;

    let refused = far.run("wget", &["--no-config", "--tries=1", "-O", "-", &far.url("/")]).await;

    assert_eq!(refused.code, Some(5), "certificate: {refused:?}");
}

#[tokio::test]
async fn a_token_downloads_and_posts_where_its_rule_allows() {
    let far = Far::with_rule().await;
    let token = far.token();
    let to = far.path("files.tar");
    let to = to.to_str().unwrap();

    wget(&far, &[&token], &["-O", to], DOWNLOAD).await.ok();
    let post = ["-O", "-", "--post-data=force=1"];
    let posted = wget(&far, &[&token], &post, "/api2/json/nodes/demo/qemu/100/status/start").await;
    let elsewhere = wget(&far, &[&token], &["-O", "-"], "/api2/json/access/users").await;

    assert!(std::fs::read(to).unwrap() == content(100_000));
    assert!(posted.ok().contains("UPID:demo:"));
    assert!(elsewhere.stderr.contains("403"), "{elsewhere:?}");
    assert!(far.pve.requests().iter().all(|request| request.target != "/api2/json/access/users"));
}
