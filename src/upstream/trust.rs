//! Whom an https upstream has to be, and who Pylon is to it.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::tls::{ClientConfig, RootCertStore};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::{CertificateDer, ServerName};

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
    /// Of all that makes connections differ.
    fingerprint: u64,
}

impl Trust {
    /// Checks a spec. `file` finds a file that the configuration names.
    pub(super) fn compile(spec: &UpstreamTlsSpec, file: &dyn Fn(&str) -> PathBuf, problems: &mut Vec<Mistake>) -> Self {
        let mut problem = |key: &[&'static str], message: String| {
            problems.push(Mistake::new(&[&["tls"], key].concat(), message));
        };
        if let Some(name) = &spec.server_name
            && let Err(message) = is_name(name)
        {
            problem(&["server_name"], message);
        }
        let mut fingerprint = crate::step::StableHasher::default();
        (spec.server_name.as_deref(), spec.verify.is_none_or(|on| on.0)).hash(&mut fingerprint);
        let ca = spec.ca.as_deref().and_then(|path| {
            let chain = authorities(&file(path)).map_err(|message| problem(&["ca"], message)).ok()?;
            for cert in &chain {
                cert.as_ref().hash(&mut fingerprint);
            }
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
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        peer.options.ca.clone_from(&self.ca);
        peer.client_cert_key.clone_from(&self.certificate);
    }
}

/// Whether TLS can ask for a host by this name: a DNS name or an address.
pub(super) fn is_name(name: &str) -> Result<(), String> {
    match ServerName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{name}` is no name that a certificate can have; set `tls.server_name`")),
    }
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
