//! The upstream is the pinned one, or one that the authority vouches for, or nobody.

use std::{error::Error as _, io, time::Duration};

use pvegate::tls::{
    Fingerprint, Identity, ObserveError, PinMismatch, ca_as_server, describe, observe, pin_mismatch,
};
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair};
use rustls::{
    CertificateError, Error,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    Dir, certificate, clock_at, gate, handshake, host, leaf, pinning, self_signed, server, trusting,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_pinned_certificate_passes_whatever_its_name_and_dates() {
    let identity = self_signed("some-node");
    let pin = leaf(&identity);
    let client = pinning(pin);
    let years_later = clock_at(super::NOW.plus(5000 * super::DAY));
    let late = pvegate::tls::upstream_config(&pvegate::tls::Trust::Fingerprint(pin), years_later).unwrap();
    let server = gate(identity);

    assert!(handshake(&client, &server, "192.0.2.7").succeeded());
    assert!(handshake(&late, &server, "192.0.2.7").succeeded());
}

#[test]
fn another_certificate_than_the_pinned_one_names_both_and_gets_not_one_byte_of_the_request() {
    for versions in [&[&TLS12], &[&TLS13]] {
        let (pinned, shown) = (self_signed("pve"), self_signed("pve"));
        let mismatch = PinMismatch { expected: leaf(&pinned), found: leaf(&shown) };

        let h = handshake(&pinning(mismatch.expected), &server(shown.chain, shown.key, versions), "pve");

        let error = h.client_error.unwrap();
        assert_eq!(pin_mismatch(&error), Some(&mismatch));
        let sentence = mismatch.to_string();
        assert!(sentence.contains(&mismatch.expected.to_string()), "{sentence}");
        assert!(sentence.contains(&mismatch.found.to_string()), "{sentence}");
        assert_eq!(h.received, b"");
        assert!(h.server_error.is_some());
    }
}

#[tokio::test]
async fn a_mismatch_can_be_got_back_out_of_the_io_error_of_a_connection() {
    let shown = self_signed("localhost");
    let mismatch = PinMismatch { expected: Fingerprint::from_bytes([7; 32]), found: leaf(&shown) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(gate(shown));
    let serving =
        tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.err() });

    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(pinning(mismatch.expected));
    let error = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap_err();

    assert_eq!(pin_mismatch(&error), Some(&mismatch));
    assert_eq!(pin_mismatch(&io::Error::other(error)), Some(&mismatch));
    assert!(serving.await.unwrap().is_some());
    assert_eq!(pin_mismatch(&io::Error::other("anything else")), None);
}

#[test]
fn whoever_replays_the_pinned_certificate_without_its_key_is_refused() {
    for versions in [&[&TLS12], &[&TLS13]] {
        let (pinned, other) = (self_signed("pve"), self_signed("pve"));
        let client = pinning(leaf(&pinned));

        let h = handshake(&client, &server(pinned.chain, other.key, versions), "pve");

        assert_eq!(h.client_error, Some(Error::InvalidCertificate(CertificateError::BadSignature)));
        assert_eq!(h.received, b"");
    }
}

#[test]
fn an_authority_vouches_for_the_names_and_dates_of_what_it_signed_and_for_nothing_else() {
    let dir = Dir::new();
    let (ca, ca_key) = certificate("ca", IsCa::Ca(BasicConstraints::Unconstrained), None);
    let file = dir.write("ca.pem", ca.pem());
    let issuer: Issuer<'_, KeyPair> = Issuer::from_ca_cert_der(ca.der(), ca_key).unwrap();
    let (signed, key) = certificate("pve.example.com", IsCa::ExplicitNoCa, Some(&issuer));
    let vouched_for = gate(Identity { chain: vec![signed.into()], key: PrivateKeyDer::from(key) });
    let stranger = gate(self_signed("pve.example.com"));
    let next_year = clock_at(super::NOW.plus(400 * super::DAY));
    let late = pvegate::tls::upstream_config(&pvegate::tls::Trust::Ca(file.clone()), next_year).unwrap();
    let client = trusting(&file);

    assert!(handshake(&client, &vouched_for, "pve.example.com").succeeded());
    for (case, client, server, name) in [
        ("another name", &client, &vouched_for, "other.example.com"),
        ("another issuer", &client, &stranger, "pve.example.com"),
        ("expired", &late, &vouched_for, "pve.example.com"),
    ] {
        let h = handshake(client, server, name);
        assert!(matches!(h.client_error, Some(Error::InvalidCertificate(_))), "{case}: {:?}", h.client_error);
        assert_eq!(h.received, b"", "{case}");
    }
}

#[test]
fn an_authority_in_a_servers_place_is_refused_with_the_advice_to_pin_it() {
    let dir = Dir::new();
    let authority = || certificate("pve", IsCa::Ca(BasicConstraints::Unconstrained), None);
    let (ours, key) = authority();
    let file = dir.write("ca.pem", ours.pem());
    let found = Fingerprint::of(ours.der());
    let server = gate(Identity { chain: vec![ours.into()], key: PrivateKeyDer::from(key) });

    let error = handshake(&trusting(&file), &server, "pve").client_error.unwrap();

    let refusal = ca_as_server(&error).unwrap();
    assert_eq!(refusal.found, found);
    assert!(refusal.to_string().contains(&format!("pin its fingerprint instead: {found}")), "{refusal}");
    assert!(handshake(&pinning(found), &server, "pve").succeeded());

    // A stranger's is no more than refused: nobody should pin that.
    let (theirs, key) = authority();
    let server = gate(Identity { chain: vec![theirs.into()], key: PrivateKeyDer::from(key) });
    assert_eq!(ca_as_server(&handshake(&trusting(&file), &server, "pve").client_error.unwrap()), None);
}

#[tokio::test]
async fn observing_shows_the_chain_and_says_nothing_to_the_server() {
    let identity = self_signed("pve.example.com");
    let expected = describe(&identity.chain[0]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(gate(identity));
    let serving =
        tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.err() });

    let chain = observe(&host("127.0.0.1"), port, 10 * SECOND).await.unwrap();

    assert_eq!(chain, [expected]);
    assert_eq!(chain[0].names, ["pve.example.com"]);
    assert_eq!(chain[0].not_before.to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(chain[0].not_after.to_string(), "2027-01-01T00:00:00.000Z");
    assert!(!chain[0].is_ca);
    assert!(serving.await.unwrap().is_some(), "the handshake is broken off");
}

#[tokio::test]
async fn observing_refuses_a_certificate_whose_key_the_server_does_not_have() {
    for versions in [&[&TLS12], &[&TLS13]] {
        let (replayed, other) = (self_signed("pve"), self_signed("pve"));
        let expected = leaf(&replayed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(server(replayed.chain, other.key, versions));
        let serving =
            tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.err() });

        let error = observe(&host("127.0.0.1"), port, 10 * SECOND).await.unwrap_err();

        assert!(matches!(error, ObserveError::KeyNotProven { shown, .. } if shown == expected), "{error:?}");
        assert!(serving.await.unwrap().is_some());
    }
}

#[tokio::test]
async fn observing_what_is_no_tls_server_ends_with_the_reason() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = observe(&host("127.0.0.1"), port, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ObserveError::Timeout { .. }), "{error:?}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut stream = plain.accept().await.unwrap().0;
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = observe(&host("127.0.0.1"), port, 10 * SECOND).await.unwrap_err();
    assert!(matches!(error, ObserveError::Handshake { .. }), "{error:?}");
    assert!(error.source().is_some());
    serving.await.unwrap();

    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = observe(&host("127.0.0.1"), closed, 10 * SECOND).await.unwrap_err();
    assert!(matches!(error, ObserveError::Connect { .. }), "{error:?}");
}
