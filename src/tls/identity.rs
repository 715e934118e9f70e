//! Who a client is, by the certificate that it showed.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::der_parser::asn1_rs::{Tag, ToDer as _};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Who a client is, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Its distinguished name, as RFC 4514 writes it: the most special part first, `CN=worker,O=Example`.
    pub subject: String,
    /// That of who signed it.
    pub issuer: String,
    /// Its DNS names.
    pub san_dns: Vec<String>,
    /// Its URIs, as SPIFFE has them.
    pub san_uri: Vec<String>,
    /// Its mail addresses.
    pub san_email: Vec<String>,
    /// Its serial number in upper case hex, without zeros before it.
    pub serial: String,
    /// SHA-256 of the certificate, in lower case hex.
    pub fingerprint: String,
    /// When it ends to be good. A resumed session does not look again.
    pub not_after: SystemTime,
}

/// Who a client is, by the certificates of its connection, whose first is its own. Those of a connection were verified in
/// its handshake; this does not verify anything.
#[must_use]
pub fn identity(peer_certificates: &[CertificateDer<'_>]) -> Option<ClientIdentity> {
    let own = peer_certificates.first()?;
    let (_, certificate) = X509Certificate::from_der(own).ok()?;
    let (mut san_dns, mut san_uri, mut san_email) = (Vec::new(), Vec::new(), Vec::new());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => san_dns.push((*name).to_owned()),
            GeneralName::URI(uri) => san_uri.push((*uri).to_owned()),
            GeneralName::RFC822Name(mail) => san_email.push((*mail).to_owned()),
            _ => {}
        }
    }
    let serial = data_encoding::HEXUPPER.encode(certificate.raw_serial());
    let bare = serial.trim_start_matches('0');
    let ends = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    Some(ClientIdentity {
        subject: rfc4514(certificate.subject()),
        issuer: rfc4514(certificate.issuer()),
        san_dns,
        san_uri,
        san_email,
        serial: if bare.is_empty() { "0".to_owned() } else { bare.to_owned() },
        fingerprint: data_encoding::HEXLOWER.encode(&Sha256::digest(own)),
        not_after: UNIX_EPOCH + Duration::from_secs(ends),
    })
}

/// The short names of RFC 4514 §3, and those that OpenSSL adds.
const TYPES: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.12", "title"),
    ("2.5.4.97", "organizationIdentifier"),
];

/// A distinguished name as text (RFC 4514): the last part first, special characters escaped.
fn rfc4514(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = TYPES.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    match (short, text(attribute)) {
        (Some(short), Some(text)) => format!("{short}={}", escape(&text)),
        // What has no name, or is no text, stands there as its encoding.
        (short, _) => format!("{}=#{}", short.unwrap_or(&oid), data_encoding::HEXLOWER.encode(&encoding(attribute))),
    }
}

/// The value of an attribute that is a text, of any of the types that ASN.1 has for it.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let (value, data) = (attribute.attr_value(), attribute.as_slice());
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(data.to_vec()).ok()
        }
        // Latin-1 in practice.
        Tag::T61String => Some(data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if data.len() % 2 == 0 => {
            let units: Vec<u16> = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// The DER encoding of an attribute's value.
fn encoding(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    attribute.attr_value().to_der_vec().unwrap_or_default()
}

/// A value with its special characters escaped (RFC 4514 §2.4), and those that would break a line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => out.extend(['\\', c]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        for (text, escaped) in [
            ("plain", "plain"),
            ("James \"Jim\" Smith, III", "James \\\"Jim\\\" Smith\\, III"),
            ("#5", "\\#5"),
            ("a#5", "a#5"),
            (" x ", "\\ x\\ "),
            (" ", "\\ "),
            ("a=b+c;d<e>f\\g", "a\\=b\\+c\\;d\\<e\\>f\\\\g"),
            ("a\r\nb\0\u{85}", "a\\0d\\0ab\\00\\c2\\85"),
            ("Čačak", "Čačak"),
            ("", ""),
        ] {
            assert_eq!(escape(text), escaped, "{text:?}");
        }
    }

    #[test]
    fn no_certificate_is_nobody() {
        assert_eq!(identity(&[]), None);
        assert_eq!(identity(&[CertificateDer::from(vec![1, 2, 3])]), None);
    }
}
