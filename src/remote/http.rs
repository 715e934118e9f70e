//! A client for small requests: a deadline on the whole, a bound on the answer, TLS against the system's authorities or one's
//! own. Connections are kept and shared.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use once_cell::sync::OnceCell;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

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

/// An answer whose body is still to come. Dropping it closes the connection.
#[derive(Debug)]
pub struct Opened {
    /// Its status.
    pub status: StatusCode,
    body: Incoming,
}

impl Opened {
    /// The next piece of the body, as soon as there is one; none at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| HttpError::Failed(chain(&error)))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
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
        Self::with_certificate(authorities, None)
    }

    /// The same, which shows a certificate: PEM files of it and of its key.
    ///
    /// # Errors
    /// When a file is not there, or is not what it should be.
    pub fn with_certificate(authorities: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Self, String> {
        let config = believing(authorities)?;
        let config = match own {
            Some((certificate, key)) => {
                let (chain, key) = (certificates(certificate)?, private_key(key)?);
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("`tls.cert` and `tls.key`: {error}"))?
            }
            None => config.with_no_client_auth(),
        };
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

    /// Asks, and leaves the answer's body to be read as it comes.
    ///
    /// # Errors
    /// Why no answer has begun.
    pub async fn open(&self, request: Request<Full<Bytes>>, within: Duration) -> Result<Opened, HttpError> {
        let answer = tokio::time::timeout(within, self.client.request(request)).await;
        let response = answer.map_err(|_| HttpError::Late(within))?;
        let (head, body) = response.map_err(|error| HttpError::Failed(chain(&error)))?.into_parts();
        Ok(Opened { status: head.status, body })
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

/// TLS towards servers whose certificates are of the authorities of a PEM file, or of those of the system.
///
/// # Errors
/// When the file is not there or has no certificate.
pub fn tls_config(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    Ok(believing(authorities)?.with_no_client_auth())
}

fn believing(authorities: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let roots = match authorities {
        Some(path) => Arc::new(own_roots(path)?),
        None => system_roots(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(config.with_root_certificates(roots))
}

fn own_roots(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("`{shown}` has a certificate that is no authority: {error}"))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| format!("`{shown}` is not PEM: {error}"))?;
    if found.is_empty() { Err(format!("`{shown}` has no certificate")) } else { Ok(found) }
}

/// The private key of a PEM file. What is wrong with one is told without what it holds.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        rustls_pki_types::pem::Error::Io(error) => format!("`{}` cannot be read: {error}", path.display()),
        _ => format!("`{}` has no private key in PEM", path.display()),
    })
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
