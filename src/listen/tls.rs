//! Certificates: checked when the configuration is, so that a bad one never starts a listener.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificateFiles;
use crate::config::{KeyPath, Loaded, Report, TlsSpec};
use crate::tls::{read_chain, read_key};

/// Checks the certificates of a listener.
pub(super) fn check(
    loaded: &Loaded,
    document: usize,
    at: &KeyPath,
    spec: &TlsSpec,
    report: &mut Report,
) -> Option<CertificateFiles> {
    let mut problem = |path: KeyPath, message: String| report.push(loaded.problem_at(document, path, message));
    let [certificate] = spec.certificates.as_slice() else {
        let count = spec.certificates.len();
        problem(at.clone(), format!("there are {count} certificates; give one for now, with all names in it"));
        return None;
    };
    let cert = loaded.resolve_path(document, &certificate.cert);
    let key = loaded.resolve_path(document, &certificate.key);
    let first = at.then(0_usize);
    let chain = read_chain(&cert).map_err(|message| problem(first.then("cert"), message)).ok();
    let private = read_key(&key).map_err(|message| problem(first.then("key"), message)).ok();
    let (chain, private) = (chain?, private?);
    if let Err(message) = fits(&chain, &private, &cert, &key) {
        problem(first.then("key"), message);
        return None;
    }
    Some(CertificateFiles { cert, key })
}

/// Whether the key belongs to the certificate, as the TLS library sees it.
fn fits(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    cert_path: &Path,
    key_path: &Path,
) -> Result<(), String> {
    let config =
        pingora::tls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain.to_vec(), key.clone_key());
    config
        .map(|_| ())
        .map_err(|error| format!("`{}` does not go with `{}`: {error}", key_path.display(), cert_path.display()))
}
