//! A certificate for the tests, and clients that trust it.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, version};

/// A self-signed certificate for 127.0.0.1 and localhost, in a directory of its own.
pub(crate) struct Certificate {
    dir: tempfile::TempDir,
    connector: TlsConnector,
}

impl Certificate {
    /// The file names that the files in [`Certificate::dir`] have.
    pub(crate) const CRT: &'static str = "site.crt";
    pub(crate) const KEY: &'static str = "site.key";

    pub(crate) fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(Self::CRT), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join(Self::KEY), made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12, &version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Certificate { dir, connector: TlsConnector::from(Arc::new(config)) }
    }

    pub(crate) fn dir(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }
}
