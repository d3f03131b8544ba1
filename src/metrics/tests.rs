//! What is written, by a table of names, and that strangers can't make it grow.

use super::*;
use crate::{
    status::{CertificateRole, Configuration, Down, Kept, Node, OwnCertificate, Trust, Why},
    time::Timestamp,
};

fn node(address: &str, down: Option<Down>) -> Node {
    Node { address: address.to_owned(), trust: Trust::Pin, connected_in: None, down }
}

fn report() -> Report {
    let at = Timestamp::from_secs(1_790_000_000);
    Report {
        at,
        started_at: at,
        pid: 7,
        url: "https://pve.example.com".to_owned(),
        listen: Vec::new(),
        stopping: false,
        connections: 3,
        websockets: 1,
        sessions: 2,
        kept: Some(Kept { active: 2, pending: 1, disabled: 0, enrolled: 2, bans: 4 }),
        nodes: vec![
            node("10.0.0.2:8006", None),
            node("10.0.0.3:8006", Some(Down { since: at, why: Why::Refused })),
        ],
        clock_offset_millis: Some(-1500),
        certificates: vec![OwnCertificate { role: CertificateRole::Server, not_after: at }],
        configuration: Configuration { read_at: at, taken: true },
        audit_lost: 5,
    }
}

/// The value of a series in the text.
fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[test]
fn what_is_counted_is_written_in_both_formats() {
    let metrics = Metrics::new(&["totp"]);
    metrics.sign_in("totp", Outcome::Failure);
    metrics.refused("address");
    metrics.refused("address");
    metrics.upstream_tls_error(TlsError::Fingerprint);
    metrics.audit_event();
    metrics.store_failed();
    metrics.answered(Kind::Proxy, 595, Duration::from_millis(40), Some(Duration::from_millis(1)));
    metrics.answered(Kind::Portal, 999, Duration::from_millis(1), None);
    let open = metrics.websocket();

    for format in [Format::OpenMetrics, Format::Text] {
        let text = metrics.encode(&report(), format);
        #[rustfmt::skip]
        let table = [
            (r#"pvegate_sign_ins_total{method="totp",outcome="failure"}"#,  "1"),
            (r#"pvegate_sign_ins_total{method="totp",outcome="success"}"#,  "0"),
            (r#"pvegate_refused_total{reason="address"}"#,                  "2"),
            (r#"pvegate_upstream_tls_errors_total{reason="fingerprint"}"#,  "1"),
            (r#"pvegate_upstream_tls_errors_total{reason="handshake"}"#,    "0"),
            ("pvegate_audit_events_total",                                  "1"),
            ("pvegate_store_failures_total",                                "1"),
            (r#"pvegate_requests_total{kind="proxy",code="595"}"#,          "1"),
            (r#"pvegate_requests_total{kind="portal",code="other"}"#,       "1"),
            (r#"pvegate_request_duration_seconds_count{kind="proxy"}"#,     "1"),
            ("pvegate_added_latency_seconds_count",                         "1"),
            (r#"pvegate_added_latency_seconds_bucket{le="0.001"}"#,         "1"),
            (r#"pvegate_added_latency_seconds_bucket{le="0.00075"}"#,       "0"),
            ("pvegate_websockets_open",                                     "1"),
            ("pvegate_connections_open",                                    "3"),
            ("pvegate_sessions",                                            "2"),
            ("pvegate_ready",                                               "1"),
            (r#"pvegate_users{state="pending"}"#,                           "1"),
            ("pvegate_users_enrolled",                                      "2"),
            ("pvegate_bans",                                                "4"),
            (r#"pvegate_upstream_up{upstream="10.0.0.2:8006"}"#,            "1"),
            (r#"pvegate_upstream_up{upstream="10.0.0.3:8006"}"#,            "0"),
            (r#"pvegate_tls_certificate_not_after_timestamp_seconds{role="server"}"#, "1790000000"),
            ("pvegate_clock_offset_seconds",                                "-1.5"),
            ("pvegate_audit_write_errors_total",                            "5"),
            ("pvegate_config_reload_success",                               "1"),
        ];
        for (series, expected) in table {
            assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
        }
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics, "{text}");
        assert!(value(&text, "process_resident_memory_bytes").is_some(), "{text}");
    }
    drop(open);
    assert_eq!(metrics.websockets_open(), 0);
}

#[test]
fn what_the_store_does_not_say_is_left_out() {
    let text = Metrics::new(&[]).encode(&Report { kept: None, ..report() }, Format::Text);

    assert_eq!(value(&text, "pvegate_bans"), None);
    assert_eq!(value(&text, "pvegate_ready"), Some("0"));
}

#[test]
fn a_server_that_answers_with_every_code_there_is_adds_no_more_than_six_hundred_lines() {
    let metrics = Metrics::new(&[]);
    let before = metrics.encode(&report(), Format::Text).lines().count();
    for code in 0..=u16::MAX {
        metrics.answered(Kind::Proxy, code, Duration::ZERO, None);
    }

    let after = metrics.encode(&report(), Format::Text).lines().count();

    assert!(after - before < 600, "{before} lines became {after}");
}
