//! Whom an https upstream has to be, and who Pylon is to it.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::protocols::tls::{CaType, SslDigest};
use pingora::tls::{
    CertificateError, ClientConfig, RootCertStore, RusTlsError, ServerCertVerifier, UnixTime, WebPkiServerVerifier,
};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

use super::Mistake;
use crate::config::UpstreamTlsSpec;
use crate::tls::{read_chain, read_key};

/// The TLS side of a pool.
#[derive(Clone)]
pub(super) struct Trust {
    verify: bool,
    server_name: Option<String>,
    ca: Option<Arc<CaType>>,
    certificate: Option<Arc<CertKey>>,
    /// SHA-256 of servers' own certificates that stand in place of an authority.
    pins: Vec<[u8; 32]>,
    /// Of all that makes connections differ.
    fingerprint: u64,
}

impl Trust {
    /// Checks a spec. `file` finds a file that the configuration names.
    pub(super) fn compile(
        spec: &UpstreamTlsSpec,
        names: &[&str],
        file: &dyn Fn(&str) -> PathBuf,
        problems: &mut Vec<Mistake>,
    ) -> Self {
        let mut problem = |key: &[&'static str], message: String| {
            problems.push(Mistake::new(&[&["tls"], key].concat(), message));
        };
        if let Some(name) = spec.server_name.as_deref().filter(|name| !is_name(name)) {
            let message = format!("`{name}` is no name that a certificate can have; write a DNS name or an address");
            problem(&["server_name"], message);
        }
        let mut fingerprint = crate::step::StableHasher::default();
        (spec.server_name.as_deref(), spec.verify.is_none_or(|on| on.0)).hash(&mut fingerprint);
        let mut pins = Vec::new();
        let ca = spec.ca.as_deref().and_then(|path| {
            let chain = authorities(&file(path)).map_err(|message| problem(&["ca"], message)).ok()?;
            for cert in &chain {
                cert.as_ref().hash(&mut fingerprint);
            }
            pins = pinned(&chain, names);
            wrapped(&chain).map_err(|message| problem(&["ca"], message)).ok()
        });
        let certificate = spec.certificate.as_ref().and_then(|files| {
            let (cert, key) = (file(&files.cert), file(&files.key));
            let chain = read_chain(&cert).map_err(|message| problem(&["certificate", "cert"], message)).ok();
            let private = read_key(&key).map_err(|message| problem(&["certificate", "key"], message)).ok();
            let (chain, private) = (chain?, private?);
            for cert in &chain {
                cert.as_ref().hash(&mut fingerprint);
            }
            let fits = ClientConfig::builder()
                .with_root_certificates(RootCertStore::empty())
                .with_client_auth_cert(chain.clone(), private.clone_key());
            if let Err(error) = fits {
                let message = format!("`{}` does not go with `{}`: {error}", key.display(), cert.display());
                problem(&["certificate", "key"], message);
                return None;
            }
            let der: Vec<Vec<u8>> = chain.iter().map(|cert| cert.to_vec()).collect();
            let private = private.secret_der().to_vec();
            private.hash(&mut fingerprint);
            let made = std::panic::catch_unwind(|| Arc::new(CertKey::new(der, private)));
            made.map_err(|_| problem(&["certificate", "cert"], unreadable(&cert))).ok()
        });
        Self {
            verify: spec.verify.is_none_or(|on| on.0),
            server_name: spec.server_name.clone(),
            ca,
            certificate,
            pins,
            fingerprint: fingerprint.finish(),
        }
    }

    /// Of all that makes connections differ.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The name by which a host is asked for and checked.
    pub(super) fn name<'a>(&'a self, host: &'a str) -> &'a str {
        self.server_name.as_deref().unwrap_or(host)
    }

    /// Applies this to a peer.
    pub(super) fn apply(&self, peer: &mut HttpPeer) {
        let verify = self.verify && self.pins.is_empty();
        peer.options.verify_cert = verify;
        peer.options.verify_hostname = verify;
        peer.options.ca.clone_from(&self.ca);
        peer.client_cert_key.clone_from(&self.certificate);
    }

    /// Whether a server's certificate is pinned, where any is; where none is, TLS itself has checked it.
    pub(super) fn believes(&self, shown: Option<&SslDigest>) -> bool {
        !self.verify
            || self.pins.is_empty()
            || shown.is_some_and(|shown| self.pins.iter().any(|pin| pin[..] == shown.cert_digest[..]))
    }
}

/// The certificates of a file that are servers' own, and say of themselves that they are authorities, as the tools make
/// them that people use for a certificate of their own. `WebPKI` lets no authority stand for a server, so such a one is
/// compared as a whole. Only a file of nothing else is read so.
fn pinned(chain: &[CertificateDer<'static>], names: &[&str]) -> Vec<[u8; 32]> {
    pingora::tls::install_default_crypto_provider();
    let names: Vec<ServerName<'_>> = names.iter().filter_map(|name| ServerName::try_from(*name).ok()).collect();
    if chain.iter().all(|cert| names.iter().any(|name| is_refused_as_authority(cert, name) && is_for(cert, name))) {
        chain.iter().map(|cert| Sha256::digest(cert).into()).collect()
    } else {
        Vec::new()
    }
}

/// Whether a certificate that is trusted may not stand for a server, for no other reason than that it is an authority.
fn is_refused_as_authority(cert: &CertificateDer<'static>, name: &ServerName<'_>) -> bool {
    let mut store = RootCertStore::empty();
    let verifier = store.add(cert.clone()).ok().and_then(|()| WebPkiServerVerifier::builder(store.into()).build().ok());
    let result = verifier.map(|verifier| verifier.verify_server_cert(cert, &[], name, &[], UnixTime::now()));
    matches!(result, Some(Err(RusTlsError::InvalidCertificate(CertificateError::Other(_)))))
}

/// Whether a certificate is for a name.
fn is_for(cert: &CertificateDer<'static>, name: &ServerName<'_>) -> bool {
    let parsed = rustls::server::ParsedCertificate::try_from(cert);
    parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
}

/// Whether TLS can ask for a host by this name: a DNS name or an address.
pub(super) fn is_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = read_chain(path)?;
    let mut store = RootCertStore::empty();
    for cert in &chain {
        store.add(cert.clone()).map_err(|error| format!("`{}` is not an authority: {error}", path.display()))?;
    }
    Ok(chain)
}

fn wrapped(chain: &[CertificateDer<'static>]) -> Result<Arc<CaType>, String> {
    let wrap = || -> Vec<WrappedX509> {
        chain.iter().map(|cert| WrappedX509::new(cert.as_ref().to_vec(), parse_x509)).collect()
    };
    std::panic::catch_unwind(wrap).map(Into::into).map_err(|_| "a certificate in it cannot be read".to_owned())
}

fn unreadable(path: &Path) -> String {
    format!("`{}` cannot be read as X.509; give a certificate in PEM", path.display())
}
