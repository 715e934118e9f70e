//! A client for small requests: a deadline on the whole, a bound on the answer, TLS against the system's authorities or one's
//! own. Connections are kept and shared.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use once_cell::sync::OnceCell;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// How long an idle connection is kept: shorter than servers do.
const KEPT: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("{0}")]
    Failed(String),
    /// Not in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// More than may be.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

/// A client; clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client that believes the authorities of a PEM file, or those of the system.
    ///
    /// # Errors
    /// When the file is not there or has no certificate.
    pub fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let config = tls_config(authorities)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(32)
            .build(connector);
        Ok(Self { client })
    }

    /// Asks, and reads the whole answer. Redirects are not followed.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
        most: usize,
    ) -> Result<Received, HttpError> {
        let whole = async {
            let response = self.client.request(request).await.map_err(|error| HttpError::Failed(chain(&error)))?;
            let (head, mut body) = response.into_parts();
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| HttpError::Failed(chain(&error)))?;
                if let Ok(piece) = frame.into_data() {
                    if read.len() + piece.len() > most {
                        return Err(HttpError::TooLarge(most));
                    }
                    read.extend_from_slice(&piece);
                }
            }
            Ok(Received { status: head.status, headers: head.headers, body: read.freeze() })
        };
        tokio::time::timeout(within, whole).await.unwrap_or(Err(HttpError::Late(within)))
    }

    /// Asks for a resource.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, url: &Uri, within: Duration, most: usize) -> Result<Received, HttpError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.clone();
        self.send(request, within, most).await
    }
}

/// An error with its causes: those of connections say little by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// TLS that believes the authorities of a PEM file, or those of the system.
///
/// # Errors
/// When the file is not there or has no certificate.
pub(super) fn tls_config(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = match authorities {
        Some(path) => Arc::new(own_roots(path)?),
        None => system_roots(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn own_roots(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("`{shown}` is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("`{shown}` has a certificate that is no authority: {error}"))?;
    }
    if roots.is_empty() { Err(format!("`{shown}` has no certificate")) } else { Ok(roots) }
}

/// The system's authorities, read once, when first asked for.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let (_, refused) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        tracing::debug!(refused, known = roots.len(), "the system's certificate authorities were read");
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}
