//! The TLS that browsers meet.

use std::{sync::Arc, time::Duration};

use pvegate::{
    time::{Clock, ManualClock, Timestamp},
    tls::{Certificates, Fingerprint, Identity, Lifetime, renew, server_config},
};
use rustls::{
    AlertDescription, ClientConfig, Error, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use tokio::sync::watch;

use super::{DAY, Dir, Handshake, NOW, gate, handshake, leaf, made, pinning, self_signed};

/// A client that offers these protocols.
fn offering(protocols: &[&str], pin: Fingerprint) -> Arc<ClientConfig> {
    let mut client = (*pinning(pin)).clone();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(client)
}

/// A client and a server of ours that know each other.
fn pair() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let identity = self_signed("pve.example.com");
    (pinning(leaf(&identity)), gate(identity))
}

#[test]
fn http_1_1_is_chosen_and_a_client_without_it_is_refused() {
    let identity = self_signed("pve.example.com");
    let pin = leaf(&identity);
    let server = gate(identity);
    let with = |protocols: &[&str]| handshake(&offering(protocols, pin), &server, "pve.example.com");

    let both = with(&["h2", "http/1.1"]);
    assert!(both.succeeded());
    assert_eq!(both.client.alpn_protocol(), Some(&b"http/1.1"[..]));

    assert!(with(&[]).succeeded());

    let h2 = with(&["h2"]);
    assert_eq!(h2.server_error, Some(Error::NoApplicationProtocol));
    assert_eq!(h2.client_error, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    assert_eq!(h2.received, b"");
}

#[test]
fn two_peers_of_ours_use_tls_1_3_and_the_post_quantum_exchange() {
    let (client, server) = pair();

    let h = handshake(&client, &server, "pve.example.com");

    assert!(h.succeeded());
    assert_eq!(h.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = h.client.negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(h.client.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn one_ticket_is_sent_and_resumes_the_session_without_early_data() {
    let (client, server) = pair();

    let first = handshake(&client, &server, "pve.example.com");
    let second = handshake(&client, &server, "pve.example.com");

    assert_eq!(first.client.tls13_tickets_received(), 1);
    assert!(second.succeeded());
    assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(server.max_early_data_size, 0);
}

#[test]
fn a_tls_1_2_session_is_resumed_by_ticket_too() {
    let identity = self_signed("pve.example.com");
    let pin = leaf(&identity);
    let verifier = pvegate::tls::UpstreamVerifier::new(&pvegate::tls::Trust::Fingerprint(pin)).unwrap();
    let client = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let (client, server) = (Arc::new(client), gate(identity));

    let first = handshake(&client, &server, "pve.example.com");
    let second = handshake(&client, &server, "pve.example.com");

    assert!(first.succeeded() && second.succeeded());
    assert_eq!(first.client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn old_versions_and_old_suites_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    let (_, server) = pair();
    #[rustfmt::skip]
    let table = [
        // case                                   version       suite    alert
        ("TLS 1.2, ECDHE, AES-GCM",               [0x03, 0x03], 0xc02b, None),
        ("TLS 1.1",                               [0x03, 0x02], 0xc02b, Some(PROTOCOL_VERSION)),
        ("TLS 1.0",                               [0x03, 0x01], 0xc02b, Some(PROTOCOL_VERSION)),
        ("SSL 3.0",                               [0x03, 0x00], 0xc02b, Some(PROTOCOL_VERSION)),
        ("TLS 1.2, no forward secrecy",           [0x03, 0x03], 0x009c, Some(HANDSHAKE_FAILURE)),
        ("TLS 1.2, AES-CBC",                      [0x03, 0x03], 0xc009, Some(HANDSHAKE_FAILURE)),
        ("TLS 1.2, triple DES",                   [0x03, 0x03], 0xc008, Some(HANDSHAKE_FAILURE)),
        ("TLS 1.2, RC4",                          [0x03, 0x03], 0xc007, Some(HANDSHAKE_FAILURE)),
        ("TLS 1.2, finite-field Diffie-Hellman",  [0x03, 0x03], 0x009e, Some(HANDSHAKE_FAILURE)),
    ];
    for (case, version, suite, alert) in table {
        let mut connection = ServerConnection::new(Arc::clone(&server)).unwrap();
        connection.read_tls(&mut client_hello(version, suite).as_slice()).unwrap();
        let outcome = connection.process_new_packets();
        let mut answer = Vec::new();
        connection.write_tls(&mut answer).unwrap();

        match alert {
            None => assert!(outcome.is_ok(), "{case}: {outcome:?}"),
            // An alert record (21) of two bytes: fatal (2), and which one.
            Some(alert) => {
                assert!(outcome.is_err(), "{case}");
                assert_eq!((answer[0], &answer[5..]), (21, &[2, alert][..]), "{case}");
            }
        }
    }
}

/// A ClientHello (RFC 5246 §7.4.1.2) with one suite, as a program that knows nothing newer sends it.
fn client_hello(version: [u8; 2], suite: u16) -> Vec<u8> {
    #[rustfmt::skip]
    let extensions = [
        0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17,       // groups: x25519, secp256r1
        0, 11, 0, 2, 1, 0,                         // points: uncompressed
        0, 13, 0, 6, 0, 4, 0x04, 0x03, 0x04, 0x01, // signatures: ECDSA and RSA with SHA-256
        0, 23, 0, 0,                               // extended master secret
    ];
    let mut body = Vec::from(version);
    body.extend([0x42; 32]); // random
    body.extend([0, 0, 2]); // no session, one suite
    body.extend(suite.to_be_bytes());
    body.extend([1, 0]); // no compression
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn a_replaced_certificate_is_shown_at_the_next_handshake() {
    let (old, new) = (self_signed("pve.example.com"), self_signed("pve.example.com"));
    let (old_pin, new_pin) = (leaf(&old), leaf(&new));
    let certificates = Arc::new(Certificates::new(old).unwrap());
    let server = server_config(Arc::clone(&certificates)).unwrap();
    let shown = |pin| -> Handshake { handshake(&pinning(pin), &server, "pve.example.com") };

    let before = shown(old_pin);
    certificates.replace(new).unwrap();
    let after = shown(new_pin);

    assert_eq!((before.server_leaf(), after.server_leaf()), (old_pin, new_pin));
    assert!(before.succeeded() && after.succeeded());
}

#[test]
fn a_replacement_whose_key_does_not_fit_changes_nothing() {
    let (current, other) = (self_signed("pve.example.com"), self_signed("pve.example.com"));
    let pin = leaf(&current);
    let unfit = Identity { chain: other.chain, key: current.key.clone_key() };
    let certificates = Certificates::new(current).unwrap();

    assert!(certificates.replace(unfit).is_err());
    assert_eq!(certificates.fingerprint(), Some(pin));
}

/// A clock that tells how often it was asked.
struct AskedClock {
    clock: ManualClock,
    asked: watch::Sender<u32>,
}

impl Clock for AskedClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.asked.send_modify(|asked| *asked += 1);
        now
    }
}

#[tokio::test]
async fn a_leaf_is_renewed_when_two_thirds_of_its_life_are_over_and_not_before() {
    let dir = Dir::new();
    let ca = Arc::new(made(&dir.join("ca"), "pve.example.com"));
    let issued = ca.issue(NOW).unwrap();
    let Lifetime { renew_at, .. } = issued.lifetime;
    let certificates = Arc::new(Certificates::new(issued.identity).unwrap());
    let first = certificates.fingerprint();
    let early = ManualClock::at(renew_at.minus(Duration::from_millis(1)));
    let clock = Arc::new(AskedClock { clock: early, asked: watch::Sender::new(0) });
    let mut replaced = certificates.subscribe();
    let renewing = tokio::spawn(renew(
        Arc::clone(&ca),
        Arc::clone(&certificates),
        issued.lifetime,
        Arc::clone(&clock) as _,
        Duration::from_millis(1),
    ));

    // With the third question, what followed from the second is done.
    clock.asked.subscribe().wait_for(|asked| *asked >= 3).await.unwrap();
    assert_eq!(certificates.fingerprint(), first);
    clock.clock.set(renew_at);
    tokio::time::timeout(Duration::from_secs(10), replaced.changed()).await.unwrap().unwrap();

    assert_ne!(certificates.fingerprint(), first);
    assert_eq!(renew_at, NOW.plus(60 * DAY));
    renewing.abort();
}
