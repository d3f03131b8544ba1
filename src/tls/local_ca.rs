//! A certificate authority of our own, for exactly one host.
//!
//! It is made at the first start and kept in a directory: `ca.pem` for people to install, `ca.key`
//! for us alone. Name constraints (RFC 5280 §4.2.1.10) hold it to the host of the public URL, so
//! that whoever installs it trusts us with nothing else, and a stolen key can impersonate nothing
//! else. RFC 5280 lets a permitted DNS name stand for the names below it too; we never issue for
//! those.
//!
//! An authority that exists is never replaced: whatever is wrong with it is an [`OpenCaError`], and
//! a person decides. Leaves are not stored; each start makes one, and [`renew`] the next ones.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};
use zeroize::Zeroizing;

use super::{
    Certificates, Fingerprint, Host, Identity, PemFileError,
    pem::{self, KeyReaders},
    x509,
};
use crate::time::{Clock, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Life of the authority.
const CA_LIFE: Duration = Duration::from_secs(3650 * DAY.as_secs());

/// Life of a leaf. Short enough for every browser's limit, long enough to survive a holiday.
const LEAF_LIFE: Duration = Duration::from_secs(90 * DAY.as_secs());

/// Certificates begin this much before they are made, for clients whose clocks are slow.
const BACKDATED: Duration = DAY;

/// Longest common name (RFC 5280 appendix A.1, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// An authority that is ready to issue for its host.
#[derive(Debug)]
pub struct LocalCa {
    host: Host,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

/// How [`LocalCa::open_or_make`] came by the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Found,
    /// It was made just now: worth telling people, who have to install it.
    Made,
}

/// A leaf and how long it is good for.
#[derive(Debug)]
pub struct Issued {
    /// The leaf and its key. The authority itself is not in the chain: clients have it or do not
    /// trust it.
    pub identity: Identity,
    /// Its dates.
    pub lifetime: Lifetime,
}

/// The dates of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Clients refuse it before this.
    pub not_before: Timestamp,
    /// When to replace it: two thirds of its life are over.
    pub renew_at: Timestamp,
    /// Clients refuse it after this.
    pub not_after: Timestamp,
}

impl Lifetime {
    /// Whether a new leaf should be made: this one is near its end, or the clock was far ahead when
    /// it was made.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renew_at || now < self.not_before
    }
}

/// Why there is no authority to issue with.
#[derive(Debug, thiserror::Error)]
pub enum OpenCaError {
    /// The directory could not be made or written.
    #[error("directory {} cannot be written by user id {uid}", dir.display())]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// The effective user id of this process.
        uid: u32,
        /// The system's reason.
        source: io::Error,
    },
    /// Others may put files of theirs in place of ours.
    #[error("directory {} has mode {mode:04o}, so others can replace the authority; run: chmod 700 {}", dir.display(), dir.display())]
    DirectoryExposed {
        /// The directory.
        dir: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// One of the two files is there and the other is not. Restore it from a backup, or remove both
    /// to begin anew.
    #[error("{} is missing, but {} is there", missing.display(), present.display())]
    Incomplete {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// The certificate is not one of ours, or was changed.
    #[error("{} is no authority of this program: {problem}", path.display())]
    NotOurs {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key is not of the kind that we make, or was changed.
    #[error("{} is no key of this program: {problem}", path.display())]
    KeyNotOurs {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The two files do not belong together.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The public URL has changed. The caller decides: a new authority has to be installed anew by
    /// everyone.
    #[error("{} was made for {made_for}, but the public URL is of {wanted}", path.display())]
    OtherHost {
        /// The certificate's file.
        path: PathBuf,
        /// What its constraints permit.
        made_for: String,
        /// The host that was asked for.
        wanted: Host,
    },
    /// Its life is over.
    #[error("{} expired at {not_after}; now it is {now}", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// Its last moment.
        not_after: Timestamp,
        /// The time that was asked for.
        now: Timestamp,
    },
    /// A new one could not be made.
    #[error("no authority could be made")]
    Make(#[source] IssueError),
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The clock shows a time that certificates can't carry.
    #[error("the clock shows {now}, a time that certificates cannot carry")]
    Clock {
        /// What it shows.
        now: Timestamp,
    },
    /// The authority's life is over.
    #[error("the authority expired at {not_after}; now it is {now}")]
    Expired {
        /// Its last moment.
        not_after: Timestamp,
        /// The time that was asked for.
        now: Timestamp,
    },
    /// The host does not fit into a certificate.
    #[error("`{host}` does not fit into a certificate")]
    Host {
        /// The host.
        host: Host,
    },
    /// Making the key or signing did not work.
    #[error("key generation or signing did not work")]
    Crypto(#[from] rcgen::Error),
}

impl LocalCa {
    /// Opens the authority in `dir`, or makes one if there is no trace of any.
    ///
    /// # Errors
    ///
    /// [`OpenCaError`]. Nothing that exists is replaced or removed in any case.
    pub fn open_or_make(dir: &Path, host: &Host, now: Timestamp) -> Result<(Self, Origin), OpenCaError> {
        let files = Files::of(dir);
        let origin = match files.look()? {
            Present::Both => Origin::Found,
            Present::Neither | Present::KeyOnly | Present::CertificateOnly => files.make(host, now)?,
        };
        Ok((Self::open(dir, host, now)?, origin))
    }

    /// Opens the authority in `dir` and checks it: modes, signature, constraints, key, dates, host.
    ///
    /// # Errors
    ///
    /// [`OpenCaError`].
    pub fn open(dir: &Path, host: &Host, now: Timestamp) -> Result<Self, OpenCaError> {
        let files = Files::of(dir);
        if let Ok(metadata) = fs::metadata(dir)
            && metadata.mode() & 0o022 != 0
        {
            return Err(OpenCaError::DirectoryExposed {
                dir: dir.to_owned(),
                mode: metadata.mode() & 0o7777,
            });
        }
        match files.look()? {
            Present::Both | Present::Neither => {}
            Present::KeyOnly => return Err(files.certificate_missing()),
            Present::CertificateOnly => return Err(files.key_missing()),
        }
        let key = files.read_key()?;
        let certificate = files.read_certificate()?;

        let not_ours = |problem: String| OpenCaError::NotOurs { path: files.certificate.clone(), problem };
        let parsed = x509::parse(&certificate).map_err(not_ours)?;
        parsed.verify_signature(None).map_err(|_| not_ours("its signature is not its own".to_owned()))?;
        if !parsed.is_ca() {
            return Err(not_ours("it is no certificate authority".to_owned()));
        }
        let constraints = constraints_of(&parsed).map_err(not_ours)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(OpenCaError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            });
        }
        let not_after = x509::timestamp(parsed.validity().not_after);
        if now > not_after {
            return Err(OpenCaError::Expired { path: files.certificate.clone(), not_after, now });
        }
        if constraints != constraints_for(host) {
            return Err(OpenCaError::OtherHost {
                path: files.certificate.clone(),
                made_for: permitted_names(&parsed),
                wanted: host.clone(),
            });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|e| not_ours(e.to_string()))?;
        Ok(Self { host: host.clone(), certificate, issuer, not_after })
    }

    /// Makes a leaf for the authority's host: P-256, 90 days (or what is left of the authority's
    /// own life), good for TLS servers only.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue(&self, now: Timestamp) -> Result<Issued, IssueError> {
        if now >= self.not_after {
            return Err(IssueError::Expired { not_after: self.not_after, now });
        }
        let lifetime = lifetime(now, self.not_after);
        let mut leaf = dated(lifetime.not_before, lifetime.not_after).ok_or(IssueError::Clock { now })?;
        leaf.subject_alt_names = alternative_names(&self.host)?;
        leaf.distinguished_name = DistinguishedName::new();
        leaf.distinguished_name.push(DnType::OrganizationName, "pvegate");
        leaf.distinguished_name.push(DnType::CommonName, shortened(&self.host, LONGEST_COMMON_NAME));
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;

        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &self.issuer)?;
        let identity = Identity { chain: vec![certificate.into()], key: PrivateKeyDer::from(key) };
        Ok(Issued { identity, lifetime })
    }

    /// The host that it issues for.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its certificate, for people to install.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The fingerprint of its certificate, for people to compare before they install it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Its last moment.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Replaces the leaf whenever it is due, for ever; `every` is the time between looks.
///
/// What goes wrong is logged and tried again at the next look: with a third of its life left, the
/// leaf in use is good for weeks.
pub async fn renew(
    ca: Arc<LocalCa>,
    certificates: Arc<Certificates>,
    mut current: Lifetime,
    clock: Arc<dyn Clock>,
    every: Duration,
) {
    loop {
        tokio::time::sleep(every).await;
        let now = clock.now();
        if !current.is_due(now) {
            continue;
        }
        match ca.issue(now) {
            Ok(Issued { identity, lifetime }) => match certificates.replace(identity) {
                Ok(()) => {
                    current = lifetime;
                    tracing::info!(certificate.not_after = %current.not_after, "certificate renewed");
                }
                Err(error) => tracing::error!(%error, "renewed certificate not usable"),
            },
            Err(error) => {
                tracing::error!(%error, certificate.not_after = %current.not_after, "certificate not renewed");
            }
        }
    }
}

/// The dates of a leaf made `now` under an authority that ends at `ca_not_after`.
fn lifetime(now: Timestamp, ca_not_after: Timestamp) -> Lifetime {
    let not_after = now.plus(LEAF_LIFE).min(ca_not_after);
    Lifetime { not_before: now.minus(BACKDATED), renew_at: now.plus(not_after.since(now) * 2 / 3), not_after }
}

/// What an authority for this host may issue for: the host, and nothing of any other kind.
///
/// A kind of name that no permitted entry mentions would be unrestricted, so the others are
/// excluded whole, as the CA/Browser Forum's Baseline Requirements §7.1.5 spell it: an empty DNS
/// name, all of IPv4, all of IPv6.
fn constraints_for(host: &Host) -> NameConstraints {
    let name = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let only = |address: IpAddr| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 128));
    let all_v4 = || GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0));
    let all_v6 = || GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0));
    let (permitted_subtrees, excluded_subtrees) = match host {
        Host::Name(host) if host == LOCALHOST => {
            (vec![name(host), only(Ipv4Addr::LOCALHOST.into()), only(Ipv6Addr::LOCALHOST.into())], vec![])
        }
        Host::Name(host) => (vec![name(host)], vec![all_v4(), all_v6()]),
        Host::Address(address @ IpAddr::V4(_)) => (vec![only(*address)], vec![name(""), all_v6()]),
        Host::Address(address @ IpAddr::V6(_)) => (vec![only(*address)], vec![name(""), all_v4()]),
    };
    NameConstraints { permitted_subtrees, excluded_subtrees }
}

/// On this name the loopback addresses are served too.
const LOCALHOST: &str = "localhost";

/// The names that a leaf carries.
fn alternative_names(host: &Host) -> Result<Vec<SanType>, IssueError> {
    Ok(match host {
        Host::Name(name) => {
            let dns = name.as_str().try_into().map_err(|_| IssueError::Host { host: host.clone() })?;
            let mut names = vec![SanType::DnsName(dns)];
            if name == LOCALHOST {
                names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
                names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
            }
            names
        }
        Host::Address(address) => vec![SanType::IpAddress(*address)],
    })
}

/// The constraints of an authority, in the form that [`constraints_for`] has.
fn constraints_of(ca: &X509Certificate<'_>) -> Result<NameConstraints, String> {
    let unconstrained = || "it is not held to one host".to_owned();
    let extension = ca.name_constraints().map_err(|e| e.to_string())?.ok_or_else(unconstrained)?;
    let subtrees = |subtrees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
        subtrees.iter().flatten().map(|subtree| subtree_of(&subtree.base)).collect::<Option<Vec<_>>>()
    };
    match (subtrees(&extension.value.permitted_subtrees), subtrees(&extension.value.excluded_subtrees)) {
        (Some(permitted_subtrees), Some(excluded_subtrees)) if !permitted_subtrees.is_empty() => {
            Ok(NameConstraints { permitted_subtrees, excluded_subtrees })
        }
        (Some(_), Some(_)) => Err(unconstrained()),
        (None, _) | (_, None) => Err("its name constraints are not ours".to_owned()),
    }
}

fn subtree_of(base: &GeneralName<'_>) -> Option<GeneralSubtree> {
    match base {
        GeneralName::DNSName(name) => Some(GeneralSubtree::DnsName((*name).to_owned())),
        GeneralName::IPAddress(octets) => {
            let (address, mask) = octets.split_at(octets.len() / 2);
            let v4 = || Some(CidrSubnet::V4(address.try_into().ok()?, mask.try_into().ok()?));
            let v6 = || Some(CidrSubnet::V6(address.try_into().ok()?, mask.try_into().ok()?));
            v4().or_else(v6).map(GeneralSubtree::IpAddress)
        }
        _ => None,
    }
}

/// What the constraints permit, for people.
fn permitted_names(ca: &X509Certificate<'_>) -> String {
    let Ok(Some(constraints)) = ca.name_constraints() else { return String::new() };
    let name = |base: &GeneralName<'_>| match base {
        GeneralName::IPAddress(octets) => {
            let address = octets.get(..octets.len() / 2).unwrap_or_default();
            x509::name(&GeneralName::IPAddress(address))
        }
        other => x509::name(other),
    };
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    permitted.map(|subtree| name(&subtree.base)).collect::<Vec<_>>().join(", ")
}

/// Parameters with these dates. Without them rcgen's certificates last until the year 4096.
fn dated(not_before: Timestamp, not_after: Timestamp) -> Option<CertificateParams> {
    let mut params = CertificateParams::default();
    params.not_before = x509::certificate_time(not_before)?.to_datetime();
    params.not_after = x509::certificate_time(not_after)?.to_datetime();
    Some(params)
}

/// A self-signed authority for the host.
fn certify(key: &KeyPair, host: &Host, now: Timestamp) -> Result<rcgen::Certificate, IssueError> {
    alternative_names(host)?;
    let mut ca = dated(now.minus(BACKDATED), now.plus(CA_LIFE)).ok_or(IssueError::Clock { now })?;
    ca.distinguished_name = subject(host, now);
    // No authority below it.
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    ca.name_constraints = Some(constraints_for(host));
    Ok(ca.self_signed(key)?)
}

/// What a person reads in a trust store years later: what made it, for which host, when.
fn subject(host: &Host, now: Timestamp) -> DistinguishedName {
    let made: String = now.to_string().chars().take_while(|c| *c != 'T').collect();
    let (before, after) = ("pvegate for ", format!(", made {made}"));
    let host = shortened(host, LONGEST_COMMON_NAME.saturating_sub(before.len() + after.len()));
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "pvegate local certificate authority");
    subject.push(DnType::CommonName, format!("{before}{host}{after}"));
    subject
}

/// The host in at most so many characters; the full one is in the names.
fn shortened(host: &Host, longest: usize) -> String {
    let host = host.to_string();
    match host.get(..longest.saturating_sub(2)) {
        Some(start) if host.len() > longest => format!("{start}.."),
        Some(_) | None => host,
    }
}

/// Which of the two files exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Neither,
    KeyOnly,
    CertificateOnly,
    Both,
}

/// The files of an authority.
struct Files {
    dir: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// The certificate until the key is in place. What a crash leaves of the two says which step
    /// was the last.
    certificate_staged: PathBuf,
    key_staged: PathBuf,
}

impl Files {
    fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            certificate: dir.join("ca.pem"),
            key: dir.join("ca.key"),
            certificate_staged: dir.join("ca.pem.new"),
            key_staged: dir.join("ca.key.new"),
        }
    }

    fn look(&self) -> Result<Present, OpenCaError> {
        Ok(match (exists(&self.key)?, exists(&self.certificate)?) {
            (true, true) => Present::Both,
            (true, false) => Present::KeyOnly,
            (false, true) => Present::CertificateOnly,
            (false, false) => Present::Neither,
        })
    }

    /// Makes an authority unless one is there by now, or finishes one that a crash interrupted.
    fn make(&self, host: &Host, now: Timestamp) -> Result<Origin, OpenCaError> {
        let not_writable = |source| self.not_writable(source);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(not_writable)?;
        let dir = File::open(&self.dir).map_err(not_writable)?;
        // Two processes may start at once; one of them makes it, the other finds it.
        dir.lock().map_err(not_writable)?;
        match self.look()? {
            Present::Both => return Ok(Origin::Found),
            Present::CertificateOnly => return Err(self.key_missing()),
            Present::KeyOnly => self.staged_fits_key()?,
            Present::Neither => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
                    .map_err(|error| OpenCaError::Make(error.into()))?;
                let certificate = certify(&key, host, now).map_err(OpenCaError::Make)?;
                let key = Zeroizing::new(key.serialize_pem());
                let stage = || {
                    write_anew(&self.key_staged, 0o600, key.as_bytes())?;
                    write_anew(&self.certificate_staged, 0o644, certificate.pem().as_bytes())?;
                    dir.sync_all()?;
                    fs::rename(&self.key_staged, &self.key)?;
                    dir.sync_all()
                };
                stage().map_err(not_writable)?;
            }
        }
        let finish = || {
            fs::rename(&self.certificate_staged, &self.certificate)?;
            dir.sync_all()?;
            match self.dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
                Some(_) | None => Ok(()),
            }
        };
        finish().map_err(not_writable)?;
        Ok(Origin::Made)
    }

    /// A key without its certificate is a first start that a crash interrupted only if the
    /// certificate lies staged beside it; otherwise somebody lost it, and people have it installed.
    fn staged_fits_key(&self) -> Result<(), OpenCaError> {
        if !exists(&self.certificate_staged)? {
            return Err(self.certificate_missing());
        }
        let key = self.read_key()?;
        let staged = pem::certificates(&self.certificate_staged).map_err(|_| self.certificate_missing())?;
        let fits = staged
            .first()
            .and_then(|staged| x509::parse(staged).ok())
            .is_some_and(|staged| staged.public_key().raw == key.subject_public_key_info());
        if fits { Ok(()) } else { Err(self.certificate_missing()) }
    }

    fn read_certificate(&self) -> Result<CertificateDer<'static>, OpenCaError> {
        let mut certificates = pem::certificates(&self.certificate)?.into_iter();
        match (certificates.next(), certificates.next()) {
            (Some(certificate), None) => Ok(certificate),
            (Some(_) | None, _) => Err(OpenCaError::NotOurs {
                path: self.certificate.clone(),
                problem: "it holds more than one certificate".to_owned(),
            }),
        }
    }

    fn read_key(&self) -> Result<KeyPair, OpenCaError> {
        let not_ours =
            |problem: &str| OpenCaError::KeyNotOurs { path: self.key.clone(), problem: problem.to_owned() };
        match pem::private_key(&self.key, KeyReaders::Owner)? {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8_der_and_sign_algo(
                &PrivatePkcs8KeyDer::from(der.secret_pkcs8_der()),
                &PKCS_ECDSA_P256_SHA256,
            )
            .map_err(|_| not_ours("it is damaged, or no P-256 key")),
            _ => Err(not_ours("it is not in PKCS #8 form")),
        }
    }

    fn not_writable(&self, source: io::Error) -> OpenCaError {
        OpenCaError::NotWritable { dir: self.dir.clone(), uid: pem::effective_uid(), source }
    }

    fn certificate_missing(&self) -> OpenCaError {
        OpenCaError::Incomplete { present: self.key.clone(), missing: self.certificate.clone() }
    }

    fn key_missing(&self) -> OpenCaError {
        OpenCaError::Incomplete { present: self.certificate.clone(), missing: self.key.clone() }
    }
}

/// Whether the name is taken; a dangling link counts, so that nothing is put in its place.
fn exists(path: &Path) -> Result<bool, OpenCaError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => {
            Err(PemFileError::Unreadable { path: path.to_owned(), uid: pem::effective_uid(), source }.into())
        }
    }
}

/// Writes a file that is on disk when this returns. What a crash left under the name goes away first.
fn write_anew(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}
