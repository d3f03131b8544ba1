//! What we read from certificates, in one place: dates, names, and text that is safe to print.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustls::{client::verify_server_name, server::ParsedCertificate};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, time::ASN1Time,
};

use super::Host;
use crate::time::Timestamp;

/// Takes a certificate apart; the reason if that does not work or bytes are left over.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(format!("{} bytes follow the certificate", rest.len())),
        Err(error) => Err(format!("not an X.509 certificate: {error}")),
    }
}

/// Whether a browser would accept the certificate for this host, by the rules of RFC 6125.
pub(super) fn covers(leaf: &CertificateDer<'_>, host: &Host) -> bool {
    match (ParsedCertificate::try_from(leaf), host.server_name()) {
        (Ok(leaf), Some(name)) => verify_server_name(&leaf, &name).is_ok(),
        (Ok(_) | Err(_), _) => false,
    }
}

/// The DNS names and addresses of the subject alternative name.
pub(super) fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().map(name).collect()
}

/// One name as people write it.
pub(super) fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            printable(name)
        }
        GeneralName::IPAddress(octets) => address(octets),
        other => printable(&other.to_string()),
    }
}

/// A date of a certificate.
pub(super) fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_secs(time.timestamp())
}

/// A date for rcgen; nothing for years that a certificate of ours can't carry.
pub(super) fn certificate_time(at: Timestamp) -> Option<ASN1Time> {
    // RFC 5280 §4.1.2.5 has four digits for the year; this is 9999-12-31T23:59:59Z.
    const LAST: i64 = 253_402_300_799;
    (0..=LAST).contains(&at.secs()).then(|| ASN1Time::from_timestamp(at.secs()).ok()).flatten()
}

/// The text with control characters replaced: it may come from a stranger and go to a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn address(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        Ipv4Addr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        Ipv6Addr::from(v6).to_string()
    } else {
        format!("an address of {} bytes", octets.len())
    }
}
