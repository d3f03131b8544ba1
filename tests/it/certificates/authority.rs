//! The local authority: for one host, kept well, never replaced.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use pvegate::tls::{Host, Identity, IssueError, LocalCa, OpenCaError, Origin, PemFileError, describe};
use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::Error;
use rustls_pki_types::PrivateKeyDer;

use super::{DAY, Dir, NOW, certificate, clock_at, cut, gate, handshake, host, leaf, made, stolen, trusting};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_start_makes_an_authority_and_the_next_one_finds_it() {
    let dir = Dir::new();
    let ca = dir.join("made/on/the/way");
    let pve = host("pve.example.com");

    let (first, made) = LocalCa::open_or_make(&ca, &pve, NOW).unwrap();
    let (second, found) = LocalCa::open_or_make(&ca, &pve, NOW.plus(DAY)).unwrap();

    assert_eq!((made, found), (Origin::Made, Origin::Found));
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!((mode(&ca), mode(&ca.join("ca.key"))), (0o700, 0o600));
    let mut names: Vec<_> = fs::read_dir(&ca).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ca.key", "ca.pem"]);
}

#[test]
fn two_first_starts_at_once_make_one_authority() {
    let dir = Dir::new();
    let ca = dir.join("ca");
    let pve = host("pve.example.com");

    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| LocalCa::open_or_make(&ca, &pve, NOW))).collect();
        starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
    });

    let makers = results.iter().filter(|(_, origin)| *origin == Origin::Made).count();
    assert_eq!(makers, 1);
    assert!(results.windows(2).all(|two| two[0].0.fingerprint() == two[1].0.fingerprint()));
}

#[test]
fn a_person_recognises_the_authority_in_a_trust_store() {
    let dir = Dir::new();
    let long = format!("{}.example.com", "a-rather-long-label-for-a-node.".repeat(3).trim_end_matches('.'));
    #[rustfmt::skip]
    let table = [
        ("pve.example.com", "CN=pvegate for pve.example.com, made 2026-11-24"),
        ("192.0.2.7",       "CN=pvegate for 192.0.2.7, made 2026-11-24"),
        (long.as_str(),     "CN=pvegate for a-rather-long-label-for-a-node.a-.., made 2026-11-24"),
    ];
    for (name, subject) in table {
        let ca = made(&dir.join(name), name);
        let seen = describe(ca.certificate()).unwrap();
        assert_eq!(seen.subject, format!("O=pvegate local certificate authority, {subject}"));
        assert_eq!((seen.not_before, seen.not_after), (NOW.minus(DAY), NOW.plus(3650 * DAY)));
        assert!(seen.is_ca);
        let leaf = ca.issue(NOW).unwrap().identity;
        assert!(
            handshake(&trusting(&dir.join(name).join("ca.pem")), &gate(leaf), name).succeeded(),
            "{name}"
        );
    }
}

#[test]
fn a_leaf_is_good_for_its_host_and_ninety_days() {
    let dir = Dir::new();
    #[rustfmt::skip]
    let table: [(&str, &[&str]); 4] = [
        ("pve.example.com", &["pve.example.com"]),
        ("localhost",       &["localhost", "127.0.0.1", "::1"]),
        ("192.0.2.7",       &["192.0.2.7"]),
        ("2001:db8::7",     &["2001:db8::7"]),
    ];
    for (name, names) in table {
        let ca = made(&dir.join(name), name);
        let issued = ca.issue(NOW).unwrap();
        let leaf = describe(&issued.identity.chain[0]).unwrap();

        assert_eq!(leaf.names, names);
        assert_eq!((leaf.not_before, leaf.not_after), (NOW.minus(DAY), NOW.plus(90 * DAY)));
        assert_eq!(
            (issued.lifetime.not_before, issued.lifetime.not_after),
            (leaf.not_before, leaf.not_after)
        );
        assert!(!leaf.is_ca);
        let (client, server) = (trusting(&dir.join(name).join("ca.pem")), gate(issued.identity));
        for name in names {
            assert!(handshake(&client, &server, name).succeeded(), "{name}");
        }
        assert!(handshake(&client, &server, "other.example.com").client_error.is_some());
    }
}

#[test]
fn whoever_steals_the_authoritys_key_can_impersonate_no_other_host() {
    let dir = Dir::new();
    #[rustfmt::skip]
    let table = [
        // authority for      forged leaf for       accepted
        ("pve.example.com",   "pve.example.com",    true),
        ("pve.example.com",   "example.com",        false),
        ("pve.example.com",   "bank.example.org",   false),
        ("pve.example.com",   "xpve.example.com",   false),
        ("pve.example.com",   "192.0.2.7",          false),
        ("pve.example.com",   "2001:db8::7",        false),
        // RFC 5280 §4.2.1.10: a permitted name stands for those below it too.
        ("pve.example.com",   "sub.pve.example.com", true),
        ("localhost",         "127.0.0.1",          true),
        ("localhost",         "::1",                true),
        ("localhost",         "127.0.0.2",          false),
        ("localhost",         "192.0.2.7",          false),
        ("localhost",         "bank.example.org",   false),
        ("192.0.2.7",         "192.0.2.7",          true),
        ("192.0.2.7",         "192.0.2.8",          false),
        ("192.0.2.7",         "2001:db8::7",        false),
        ("192.0.2.7",         "bank.example.org",   false),
        ("2001:db8::7",       "2001:db8::7",        true),
        ("2001:db8::7",       "2001:db8::8",        false),
        ("2001:db8::7",       "192.0.2.7",          false),
        ("2001:db8::7",       "localhost",          false),
    ];
    for (ours, forged, accepted) in table {
        let ca = dir.join(ours);
        made(&ca, ours);
        let (leaf, key) = certificate(forged, IsCa::ExplicitNoCa, Some(&stolen(&ca)));
        let server = gate(Identity { chain: vec![leaf.into()], key: PrivateKeyDer::from(key) });

        let h = handshake(&trusting(&ca.join("ca.pem")), &server, forged);

        assert_eq!(h.succeeded(), accepted, "{ours} for {forged}: {:?}", h.client_error);
        if !accepted {
            let Some(error @ Error::InvalidCertificate(_)) = h.client_error else {
                panic!("{ours}, {forged}")
            };
            assert!(error.to_string().contains("NameConstraintViolation"), "{ours} for {forged}: {error}");
        }
    }
}

/// Read from the certificate, because our own TLS library does not hold a root to all of it.
#[test]
fn the_authority_says_that_none_may_be_below_it_and_that_it_is_for_servers_only() {
    let dir = Dir::new();
    let ca = made(&dir.join("ca"), "pve.example.com");
    let (_, parsed) = x509_parser::parse_x509_certificate(ca.certificate()).unwrap();

    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.path_len_constraint == Some(0));
    let usage = parsed.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());
    let purpose = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && !purpose.any && !purpose.client_auth && !purpose.code_signing);
    assert!(parsed.name_constraints().unwrap().unwrap().critical);
}

#[test]
fn near_its_end_an_authority_issues_shorter_leaves_and_then_none() {
    let dir = Dir::new();
    let ca = made(&dir.join("ca"), "pve.example.com");
    let end = ca.not_after();

    let short = ca.issue(end.minus(30 * DAY)).unwrap().lifetime;

    assert_eq!((short.renew_at, short.not_after), (end.minus(10 * DAY), end));
    assert!(matches!(ca.issue(end), Err(IssueError::Expired { .. })));
    let reopened = LocalCa::open_or_make(&dir.join("ca"), &host("pve.example.com"), end.plus(DAY));
    assert!(matches!(reopened, Err(OpenCaError::Expired { .. })), "{reopened:?}");
}

#[test]
fn a_clock_that_no_certificate_can_show_is_an_error() {
    let dir = Dir::new();
    for secs in [-1, 0, 253_402_300_800, i64::MAX / 1000, i64::MIN / 1000] {
        let now = pvegate::time::Timestamp::from_secs(secs);
        let made = LocalCa::open_or_make(&dir.join("ca"), &host("pve.example.com"), now);
        assert!(matches!(made, Err(OpenCaError::Make(IssueError::Clock { .. }))), "{secs}: {made:?}");
    }
    let afterwards = LocalCa::open_or_make(&dir.join("ca"), &host("pve.example.com"), NOW);
    assert_eq!(afterwards.map(|(_, origin)| origin).unwrap(), Origin::Made);
}

#[test]
fn an_authority_for_another_host_says_for_which() {
    let dir = Dir::new();
    #[rustfmt::skip]
    let table = [
        ("pve.example.com", "pve.example.com"),
        ("localhost",       "localhost, 127.0.0.1, ::1"),
        ("192.0.2.7",       "192.0.2.7"),
        ("2001:db8::7",     "2001:db8::7"),
    ];
    for (ours, made_for) in table {
        made(&dir.join(ours), ours);
        for (other, _) in table.iter().filter(|(other, _)| *other != ours) {
            match LocalCa::open_or_make(&dir.join(ours), &host(other), NOW) {
                Err(OpenCaError::OtherHost { made_for: found, wanted, .. }) => {
                    assert_eq!((found.as_str(), wanted), (made_for, host(other)));
                }
                outcome => panic!("{ours}, {other}: {outcome:?}"),
            }
        }
    }
}

/// What was done to the directory, how, and what must come out.
type Row = (&'static str, fn(&Path), fn(&OpenCaError) -> bool);

#[test]
fn whatever_is_wrong_with_the_files_has_a_name_and_no_file_is_replaced() {
    use OpenCaError::{DirectoryExposed, File, Incomplete, KeyMismatch, KeyNotOurs, NotOurs};
    use PemFileError::{Damaged, Exposed, TooLong, Unreadable, WrongContent};
    fn write(path: &Path, text: impl AsRef<[u8]>) {
        fs::write(path, text).unwrap();
    }
    fn copy_from_another(dir: &Path, name: &str, to: &str) {
        let another = dir.join("another");
        made(&another, "pve.example.com");
        fs::copy(another.join(name), dir.join(to)).unwrap();
    }
    let table: &[Row] = &[
        (
            "no key",
            |d| fs::remove_file(d.join("ca.key")).unwrap(),
            |e| matches!(e, Incomplete { missing, .. } if missing.ends_with("ca.key")),
        ),
        (
            "no certificate",
            |d| fs::remove_file(d.join("ca.pem")).unwrap(),
            |e| matches!(e, Incomplete { missing, .. } if missing.ends_with("ca.pem")),
        ),
        (
            "no certificate, another's staged",
            |d| {
                fs::remove_file(d.join("ca.pem")).unwrap();
                copy_from_another(d, "ca.pem", "ca.pem.new")
            },
            |e| matches!(e, Incomplete { .. }),
        ),
        (
            "no certificate, rubbish staged",
            |d| {
                fs::remove_file(d.join("ca.pem")).unwrap();
                write(&d.join("ca.pem.new"), "rubbish")
            },
            |e| matches!(e, Incomplete { .. }),
        ),
        ("empty key", |d| write(&d.join("ca.key"), ""), |e| matches!(e, File(WrongContent { .. }))),
        ("empty certificate", |d| write(&d.join("ca.pem"), ""), |e| matches!(e, File(WrongContent { .. }))),
        ("half a key", |d| cut(&d.join("ca.key")), |e| matches!(e, File(Damaged { .. }))),
        ("half a certificate", |d| cut(&d.join("ca.pem")), |e| matches!(e, File(Damaged { .. }))),
        (
            "zeros for a key",
            |d| write(&d.join("ca.key"), [0; 300]),
            |e| matches!(e, File(WrongContent { .. })),
        ),
        (
            "zeros for a certificate",
            |d| write(&d.join("ca.pem"), [0; 300]),
            |e| matches!(e, File(WrongContent { .. })),
        ),
        (
            "a huge key",
            |d| write(&d.join("ca.key"), vec![b'a'; 2 << 20]),
            |e| matches!(e, File(TooLong { .. })),
        ),
        (
            "the key for a certificate",
            |d| {
                fs::copy(d.join("ca.key"), d.join("ca.pem")).unwrap();
            },
            |e| matches!(e, File(WrongContent { .. })),
        ),
        (
            "the certificate for a key",
            |d| {
                fs::copy(d.join("ca.pem"), d.join("ca.key")).unwrap();
                set_mode(&d.join("ca.key"), 0o600)
            },
            |e| matches!(e, File(WrongContent { .. })),
        ),
        ("another's key", |d| copy_from_another(d, "ca.key", "ca.key"), |e| matches!(e, KeyMismatch { .. })),
        (
            "another's certificate",
            |d| copy_from_another(d, "ca.pem", "ca.pem"),
            |e| matches!(e, KeyMismatch { .. }),
        ),
        (
            "no P-256 key",
            |d| {
                write(
                    &d.join("ca.key"),
                    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem(),
                )
            },
            |e| matches!(e, KeyNotOurs { .. }),
        ),
        (
            "no authority",
            |d| write(&d.join("ca.pem"), certificate("pve.example.com", IsCa::ExplicitNoCa, None).0.pem()),
            |e| matches!(e, NotOurs { .. }),
        ),
        (
            "an unconstrained authority",
            |d| {
                write(
                    &d.join("ca.pem"),
                    certificate("pve.example.com", IsCa::Ca(BasicConstraints::Unconstrained), None).0.pem(),
                )
            },
            |e| matches!(e, NotOurs { .. }),
        ),
        (
            "rubbish in PEM",
            |d| write(&d.join("ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            |e| matches!(e, NotOurs { .. }),
        ),
        (
            "two certificates",
            |d| write(&d.join("ca.pem"), fs::read_to_string(d.join("ca.pem")).unwrap().repeat(2)),
            |e| matches!(e, NotOurs { .. }),
        ),
        (
            "a key for the group",
            |d| set_mode(&d.join("ca.key"), 0o640),
            |e| matches!(e, File(Exposed { mode: 0o640, .. })) && e.to_string().contains("chmod 600 "),
        ),
        ("a key for everyone", |d| set_mode(&d.join("ca.key"), 0o604), |e| matches!(e, File(Exposed { .. }))),
        (
            "a directory for everyone",
            |d| set_mode(d, 0o777),
            |e| matches!(e, DirectoryExposed { mode: 0o777, .. }) && e.to_string().contains("chmod 700 "),
        ),
        (
            "a directory for a key",
            |d| {
                fs::remove_file(d.join("ca.key")).unwrap();
                fs::create_dir(d.join("ca.key")).unwrap();
                set_mode(&d.join("ca.key"), 0o700)
            },
            |e| matches!(e, File(Unreadable { .. })),
        ),
        (
            "a link to nowhere for a key",
            |d| {
                fs::remove_file(d.join("ca.key")).unwrap();
                symlink("nowhere", d.join("ca.key")).unwrap()
            },
            |e| matches!(e, File(Unreadable { .. })),
        ),
        (
            "links to nowhere for both",
            |d| {
                for name in ["ca.key", "ca.pem"] {
                    fs::remove_file(d.join(name)).unwrap();
                    symlink("nowhere", d.join(name)).unwrap()
                }
            },
            |e| matches!(e, File(Unreadable { .. })),
        ),
    ];
    for (case, damage, expected) in table {
        let dir = Dir::new();
        let ca = dir.join("ca");
        made(&ca, "pve.example.com");
        damage(&ca);
        let contents = || ["ca.key", "ca.pem"].map(|name| fs::read(ca.join(name)).ok());
        let before = contents();

        for open in [LocalCa::open, |d: &Path, h: &Host, n| LocalCa::open_or_make(d, h, n).map(|(ca, _)| ca)]
        {
            let error = open(&ca, &host("pve.example.com"), NOW).unwrap_err();
            assert!(expected(&error), "{case}: {error:?}");
            assert_eq!(contents(), before, "{case}");
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_makes_no_difference() {
    for name in ["ca.pem", "ca.key"] {
        let dir = Dir::new();
        let ca = dir.join("ca");
        let intact = made(&ca, "pve.example.com").fingerprint();
        let text = fs::read(ca.join(name)).unwrap();
        for at in (0..text.len()).step_by(text.len() / 100) {
            let mut flipped = text.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(ca.join(name), &flipped).unwrap();

            if let Ok((opened, origin)) = LocalCa::open_or_make(&ca, &host("pve.example.com"), NOW) {
                assert_eq!((opened.fingerprint(), origin), (intact, Origin::Found), "{name}, byte {at}");
            }
            assert_eq!(fs::read(ca.join(name)).unwrap(), flipped, "{name}, byte {at}");
        }
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_finished() {
    let pve = host("pve.example.com");
    let rename = |ca: &Path, from: &str, to: &str| fs::rename(ca.join(from), ca.join(to)).unwrap();

    // The key was in place and the certificate was not yet.
    let dir = Dir::new();
    let ca = dir.join("ca");
    let first = made(&ca, "pve.example.com").fingerprint();
    rename(&ca, "ca.pem", "ca.pem.new");
    let (finished, origin) = LocalCa::open_or_make(&ca, &pve, NOW).unwrap();
    assert_eq!((finished.fingerprint(), origin), (first, Origin::Made));

    // Neither was: nobody has seen that one.
    rename(&ca, "ca.pem", "ca.pem.new");
    rename(&ca, "ca.key", "ca.key.new");
    let (anew, origin) = LocalCa::open_or_make(&ca, &pve, NOW).unwrap();
    assert_ne!(anew.fingerprint(), first);
    assert_eq!(origin, Origin::Made);
    assert!(!ca.join("ca.key.new").exists() && !ca.join("ca.pem.new").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_user_id() {
    let dir = Dir::new();
    let file = dir.write("file", "");

    let error = LocalCa::open_or_make(&dir.join("file/ca"), &host("localhost"), NOW).unwrap_err();
    let missing = LocalCa::open(&dir.join("ca"), &host("localhost"), NOW).unwrap_err();

    let uid = nix::unistd::geteuid();
    assert!(error.to_string().contains(&format!("{}/ca", file.display())), "{error}");
    assert!(error.to_string().contains(&format!("user id {uid}")), "{error}");
    assert!(matches!(missing, OpenCaError::File(PemFileError::Unreadable { .. })), "{missing:?}");
}

#[test]
fn a_leaf_is_refused_before_and_after_its_life() {
    let dir = Dir::new();
    let ca = made(&dir.join("ca"), "pve.example.com");
    let issued = ca.issue(NOW).unwrap();
    let fingerprint = leaf(&issued.identity);
    let server = gate(issued.identity);
    let at = |now| {
        let trust = pvegate::tls::Trust::Ca(dir.join("ca/ca.pem"));
        let client = pvegate::tls::upstream_config(&trust, clock_at(now)).unwrap();
        handshake(&client, &server, "pve.example.com")
    };
    let second = std::time::Duration::from_secs(1);

    assert_eq!(at(NOW).server_leaf(), fingerprint);
    assert!(at(issued.lifetime.not_after).succeeded());
    assert!(!at(issued.lifetime.not_after.plus(second)).succeeded());
    assert!(!at(issued.lifetime.not_before.minus(second)).succeeded());
}

#[test]
fn an_address_in_brackets_is_the_same_host() {
    let bracketed: Host = "[2001:db8::7]".parse().unwrap();
    assert_eq!(bracketed, Host::Address("2001:db8::7".parse::<IpAddr>().unwrap()));
}
