//! Which clients are believed by their certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer};

use super::Findings;
use super::certificate::date;
use super::pem::{read_chain, read_revocations};
use crate::config::{ClientCertificateMode, KeyPath};

/// What decides about clients.
pub(super) struct Clients {
    /// Asks for certificates, and checks them.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of all that decides: sessions are resumed only under the same.
    pub(super) trust: [u8; 32],
}

impl Clients {
    /// Nobody is asked.
    pub(super) fn unasked() -> Self {
        Self { verifier: WebPkiClientVerifier::no_client_auth(), trust: [0; 32] }
    }

    /// Reads the authorities and what they revoked.
    pub(super) fn read(
        mode: ClientCertificateMode,
        ca: &Path,
        crl: Option<&Path>,
        at: &KeyPath,
        provider: &Arc<CryptoProvider>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let mut hasher = Sha256::new();
        hasher.update(if mode == ClientCertificateMode::Required { b"required" } else { b"optional" });
        let authorities = findings.good(at.then("ca"), read_chain(ca));
        let revocations = crl.map(|path| findings.good(at.then("crl"), read_revocations(path)));
        let mut roots = RootCertStore::empty();
        for authority in authorities? {
            hasher.update((authority.len() as u64).to_be_bytes());
            hasher.update(&authority);
            let added = roots.add(authority).map_err(|error| {
                format!(
                    "`{}` is not an authority: {error}; give the certificates that sign your clients'",
                    ca.display()
                )
            });
            findings.good(at.then("ca"), added)?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if let Some(lists) = revocations {
            let lists = lists?;
            for list in &lists {
                hasher.update((list.len() as u64).to_be_bytes());
                hasher.update(list);
                if let Some(path) = crl {
                    warn_if_old(list, path, at, findings);
                }
            }
            builder = builder.with_crls(lists);
        }
        if mode == ClientCertificateMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        let built = builder.build().map_err(|error| {
            let path = crl.unwrap_or(ca).display();
            format!("`{path}` cannot be used: {error}; give what the authority made, in PEM")
        });
        let verifier = findings.good(at.then(if crl.is_some() { "crl" } else { "ca" }), built)?;
        Some(Self { verifier, trust: hasher.finalize().into() })
    }
}

/// A list past its next update is still used: better than to believe everybody, or nobody.
fn warn_if_old(list: &[u8], path: &Path, at: &KeyPath, findings: &mut Findings) {
    let next = CertificateRevocationList::from_der(list).ok().and_then(|(_, list)| list.next_update());
    if let Some(next) = next.filter(|next| *next < ASN1Time::now()) {
        let message = format!(
            "`{}` should have been replaced by {}; it is used all the same, but knows nothing that was revoked since: \
             fetch a new one",
            path.display(),
            date(next)
        );
        findings.warning(at.then("crl"), message);
    }
}
