//! A certificate with its key, read and understood.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::Findings;
use super::names::Names;
use super::pem::{read_chain, read_key};
use crate::config::KeyPath;

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Certificate {
    /// What signs handshakes.
    pub(super) key: Arc<CertifiedKey>,
    /// The first name that it has.
    pub(super) name: String,
    /// What it is for.
    pub(super) names: Names,
    /// When it begins to be good.
    pub(super) begins: ASN1Time,
    /// When it ends to be good.
    pub(super) ends: ASN1Time,
    /// Of the chain and the key.
    pub(super) digest: [u8; 32],
}

impl Certificate {
    /// Reads a pair of files; `at` is where both are named.
    pub(super) fn read(
        cert: &Path,
        key: &Path,
        at: &KeyPath,
        provider: &CryptoProvider,
        findings: &mut Findings,
    ) -> Option<Self> {
        let chain = findings.good(at.then("cert"), read_chain(cert));
        let private = findings.good(at.then("key"), read_key(key));
        let (chain, private) = (chain?, private?);
        let digest = digest(&chain, &private);
        let leaf = chain.first()?.clone();
        let parsed = X509Certificate::from_der(&leaf).map(|(_, parsed)| parsed).map_err(|error| {
            format!("`{}` cannot be read as X.509: {error}; give a certificate in PEM", cert.display())
        });
        let parsed = findings.good(at.then("cert"), parsed)?;
        let fits = CertifiedKey::from_der(chain, private, provider)
            .map_err(|error| format!("`{}` does not go with `{}`: {error}", key.display(), cert.display()));
        let certified = findings.good(at.then("key"), fits)?;
        let validity = parsed.validity();
        Some(Self {
            key: Arc::new(certified),
            name: Names::first(&parsed).map_or_else(String::new, |name| name.to_string()),
            names: Names::of(&parsed),
            begins: validity.not_before,
            ends: validity.not_after,
            digest,
        })
    }

    /// Says what clients will not like; it is shown all the same, so that one can start.
    pub(super) fn warn(&self, file: &Path, at: &KeyPath, findings: &mut Findings) {
        let (now, shown, at) = (ASN1Time::now(), file.display(), at.then("cert"));
        if self.ends < now {
            let since = date(self.ends);
            findings.warning(
                at.clone(),
                format!("`{shown}` has expired on {since}, so clients refuse it; renew it and reload"),
            );
        } else if self.begins > now {
            let from = date(self.begins);
            findings.warning(
                at.clone(),
                format!("`{shown}` is good from {from} only, so clients refuse it; look at the clock"),
            );
        }
        if self.names.is_empty() {
            let message = format!(
                "`{shown}` has no name in subjectAltName, so clients refuse it; have one made with the names of this site"
            );
            findings.warning(at, message);
        }
    }
}

fn digest(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in chain.iter().map(AsRef::as_ref).chain([key.secret_der()]) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A moment as people read it: `2026-01-31 23:59 UTC`.
pub(super) fn date(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (month, day) = (u8::from(time.month()), time.day());
    format!("{}-{month:02}-{day:02} {:02}:{:02} UTC", time.year(), time.hour(), time.minute())
}
