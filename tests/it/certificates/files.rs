//! Certificate files of others: what is usable, and what is said of what is not.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pvegate::{
    time::Timestamp,
    tls::{FilesError, FilesWarning, Loaded, PemFileError, Trust, TrustError, load, upstream_config},
};
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair};

use super::{DAY, Dir, NOW, certificate, clock_at, cut, gate, handshake, host, leaf, pinning};

const NAME: &str = "pve.example.com";

/// A chain of two and its key.
struct Files {
    dir: Dir,
    cert: PathBuf,
    key: PathBuf,
    leaf: String,
    authority: String,
}

impl Files {
    fn new() -> Self {
        let dir = Dir::new();
        let (ca, ca_key) = certificate("ca", IsCa::Ca(BasicConstraints::Unconstrained), None);
        let issuer: Issuer<'_, KeyPair> = Issuer::from_ca_cert_der(ca.der(), ca_key).unwrap();
        let (leaf, key) = certificate(NAME, IsCa::ExplicitNoCa, Some(&issuer));
        let cert = dir.write("fullchain.pem", leaf.pem() + &ca.pem());
        let key = dir.write("privkey.pem", key.serialize_pem());
        set_mode(&key, 0o600);
        Self { dir, cert, key, leaf: leaf.pem(), authority: ca.pem() }
    }

    fn load(&self, now: Timestamp) -> Result<Loaded, FilesError> {
        load(&self.cert, &self.key, &host(NAME), now)
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
}

#[test]
fn a_chain_and_its_key_are_served_as_they_stand() {
    let files = Files::new();

    let loaded = files.load(NOW).unwrap();

    assert_eq!(loaded.identity.chain.len(), 2);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.not_after.to_string(), "2027-01-01T00:00:00.000Z");
    let pin = leaf(&loaded.identity);
    assert!(handshake(&pinning(pin), &gate(loaded.identity), NAME).succeeded());
}

#[test]
fn one_file_may_hold_both_and_the_group_may_read_the_key() {
    let files = Files::new();
    let both = fs::read_to_string(&files.cert).unwrap() + &fs::read_to_string(&files.key).unwrap();
    let both = files.dir.write("both.pem", both);
    set_mode(&both, 0o640);

    assert!(load(&both, &both, &host(NAME), NOW).is_ok());
}

#[test]
fn dates_are_a_warning_because_a_shut_gate_helps_nobody() {
    let files = Files::new();
    let (first, last) = (Timestamp::from_secs(1_767_225_600), Timestamp::from_secs(1_798_761_600));
    #[rustfmt::skip]
    let table = [
        (first.minus(DAY), vec![FilesWarning::NotYetValid { not_before: first }]),
        (first,            vec![]),
        (last,             vec![]),
        (last.plus(DAY),   vec![FilesWarning::Expired { not_after: last }]),
    ];
    for (now, warnings) in table {
        assert_eq!(files.load(now).unwrap().warnings, warnings, "{now}");
    }
}

/// What was done to the files, how, and what must come out.
type Row = (&'static str, fn(&Files), fn(&FilesError) -> bool);

#[test]
fn whatever_is_wrong_with_the_files_has_a_name() {
    use FilesError::{DamagedCertificate, File, KeyMismatch, LeafNotFirst, OtherHost, UnusableKey};
    use PemFileError::{Damaged, Encrypted, Exposed, Unreadable, WrongContent};
    let table: &[Row] = &[
        (
            "no certificate",
            |f| fs::remove_file(&f.cert).unwrap(),
            |e| matches!(e, File(Unreadable { path, .. }) if path.ends_with("fullchain.pem")),
        ),
        (
            "no key",
            |f| fs::remove_file(&f.key).unwrap(),
            |e| matches!(e, File(Unreadable { path, .. }) if path.ends_with("privkey.pem")),
        ),
        ("empty certificate", |f| write(&f.cert, ""), |e| matches!(e, File(WrongContent { .. }))),
        ("empty key", |f| write(&f.key, ""), |e| matches!(e, File(WrongContent { .. }))),
        ("half a certificate", |f| cut(&f.cert), |e| matches!(e, File(Damaged { .. }))),
        ("half a key", |f| cut(&f.key), |e| matches!(e, File(Damaged { .. }))),
        (
            "exchanged",
            |f| {
                let text = fs::read(&f.cert).unwrap();
                write(&f.cert, fs::read(&f.key).unwrap());
                write(&f.key, text)
            },
            |e| matches!(e, File(WrongContent { .. })),
        ),
        (
            "a key with a passphrase",
            |f| {
                write(
                    &f.key,
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                )
            },
            |e| matches!(e, File(Encrypted { .. })),
        ),
        (
            "rubbish for a key",
            |f| write(&f.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            |e| matches!(e, UnusableKey { .. }),
        ),
        (
            "rubbish for an authority",
            |f| {
                write(
                    &f.cert,
                    f.leaf.clone() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                )
            },
            |e| matches!(e, DamagedCertificate { position: 2, .. }),
        ),
        (
            "a key for everyone",
            |f| set_mode(&f.key, 0o644),
            |e| matches!(e, File(Exposed { mode: 0o644, .. })) && e.to_string().contains("chmod g-w,o= "),
        ),
        (
            "a key that the group may replace",
            |f| set_mode(&f.key, 0o660),
            |e| matches!(e, File(Exposed { .. })),
        ),
        (
            "another's key",
            |f| write(&f.key, KeyPair::generate().unwrap().serialize_pem()),
            |e| matches!(e, KeyMismatch { .. }),
        ),
        (
            "the leaf last",
            |f| write(&f.cert, f.authority.clone() + &f.leaf),
            |e| matches!(e, LeafNotFirst { position: 2, .. }),
        ),
        ("no leaf", |f| write(&f.cert, &f.authority), |e| matches!(e, KeyMismatch { .. })),
        (
            "another host",
            |f| {
                let (cert, key) = certificate("other.example.com", IsCa::ExplicitNoCa, None);
                write(&f.cert, cert.pem());
                write(&f.key, key.serialize_pem())
            },
            |e| matches!(e, OtherHost { found, .. } if found == &["other.example.com"]),
        ),
    ];
    for (case, damage, expected) in table {
        let files = Files::new();
        damage(&files);

        let error = files.load(NOW).unwrap_err();

        assert!(expected(&error), "{case}: {error:?}");
    }
}

#[test]
fn a_wildcard_covers_one_label() {
    let dir = Dir::new();
    let (cert, key) = certificate("*.example.com", IsCa::ExplicitNoCa, None);
    let (cert, key) = (dir.write("cert.pem", cert.pem()), dir.write("key.pem", key.serialize_pem()));
    set_mode(&key, 0o600);

    for (name, covered) in [("pve.example.com", true), ("a.pve.example.com", false), ("example.com", false)] {
        assert_eq!(load(&cert, &key, &host(name), NOW).is_ok(), covered, "{name}");
    }
}

#[test]
fn a_file_that_holds_no_authority_is_refused_before_anything_is_connected() {
    let dir = Dir::new();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = |error: &TrustError| matches!(error, TrustError::File(PemFileError::WrongContent { .. }));
    type Row<'a> = (&'static str, PathBuf, &'a dyn Fn(&TrustError) -> bool);
    let table: [Row<'_>; 4] = [
        ("none", dir.join("none"), &|e| matches!(e, TrustError::File(PemFileError::Unreadable { .. }))),
        ("empty", dir.write("empty", ""), &pem),
        ("a key", dir.write("key", key), &pem),
        ("rubbish", dir.write("rubbish", rubbish), &|e| {
            matches!(e, TrustError::NotAnAuthority { position: 1, .. })
        }),
    ];
    for (case, path, expected) in table {
        let error = upstream_config(&Trust::Ca(path), clock_at(NOW)).unwrap_err();
        assert!(expected(&error), "{case}: {error:?}");
    }
}
