//! What a listener does about TLS.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};

use super::Findings;
use super::certificate::Certificate;
use super::choose::Chooser;
use super::clients::Clients;
use super::tickets::SharedTickets;
use crate::config::value::TlsVersion;
use crate::config::{KeyPath, SessionTicketsSpec, TlsSpec};

/// What to send to a client that a strict listener does not serve, before closing: the alert `unrecognized_name` in a
/// record of its own. (`rustls` would say `access_denied`.)
pub const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

/// How long tickets of a shared key are good.
const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// The longest that TLS 1.3 allows (RFC 8446 §4.6.1).
const MAX_TICKET_LIFETIME: Duration = Duration::from_secs(7 * 86400);
/// The shortest that is worth a ticket.
const MIN_TICKET_LIFETIME: Duration = Duration::from_secs(60);

/// What a listener does about TLS. Two are equal when they were configured so, whatever their files hold.
pub struct Policy {
    pub(super) spec: TlsSpec,
    /// As the spec names them: cert and key of each certificate, then the others.
    pub(super) files: Vec<PathBuf>,
    hsts: Option<HeaderValue>,
    pub(super) live: ArcSwap<Live>,
}

/// What is made of the files, and swapped when they change.
pub(super) struct Live {
    /// Of all that the files hold.
    pub(super) digest: [u8; 32],
    /// Of what decides which clients are believed.
    pub(super) trust: [u8; 32],
    pub(super) chooser: Arc<Chooser>,
    pub(super) config: Arc<ServerConfig>,
}

/// The files that a listener reads, in the order of their keys; `file` finds one that the configuration names.
pub fn files(spec: &TlsSpec, file: impl Fn(&str) -> PathBuf) -> Vec<PathBuf> {
    let pairs = spec.certificates.iter().flat_map(|pair| [&pair.cert, &pair.key]);
    let clients = spec.client_certificates.iter().flat_map(|clients| [Some(&clients.ca), clients.crl.as_ref()]);
    let tickets = spec.session_tickets.iter().map(|tickets| &tickets.keys);
    pairs.chain(clients.flatten()).chain(tickets).map(|name| file(name)).collect()
}

impl Policy {
    /// Reads the files of a spec and checks all of it. `at` is the path of the spec, `file` finds a file that it names.
    /// There is a policy only if there is no problem.
    pub fn compile(
        spec: &TlsSpec,
        at: &KeyPath,
        file: impl Fn(&str) -> PathBuf,
        findings: &mut Findings,
    ) -> Option<Self> {
        let before = findings.problems.len();
        let provider = Arc::new(provider(spec, at, findings));
        let certificates = certificates(spec, at, &file, &provider, findings);
        let clients = match &spec.client_certificates {
            None => Some(Clients::unasked()),
            Some(asked) => {
                let crl = asked.crl.as_deref().map(&file);
                let at = at.then("client_certificates");
                Clients::read(asked.mode, &file(&asked.ca), crl.as_deref(), &at, &provider, findings)
            }
        };
        // Keys are checked even if the rest is wrong.
        let trust = clients.as_ref().map_or([0; 32], |clients| clients.trust);
        let shared = spec.session_tickets.as_ref().map(|tickets| {
            shared_tickets(tickets, &file(&tickets.keys), &trust, &at.then("session_tickets"), findings)
        });
        let hsts = spec.hsts.as_ref().map(|hsts| {
            let value = HeaderValue::from_str(hsts.as_str());
            let value = value.map_err(|_| "has characters that cannot stand in a header; write it in one line".into());
            findings.good(at.then("hsts"), value)
        });
        if findings.problems.len() > before {
            return None;
        }
        let digest = digest(&certificates, &trust, shared.iter().flatten().next());
        let tickets: Arc<dyn ProducesTickets> = match shared {
            Some(shared) => Arc::new(shared?),
            None => findings.good(at.clone(), own_tickets())?,
        };
        let chooser = Arc::new(Chooser::new(certificates, spec.strict_sni.0));
        let config = findings.good(at.clone(), build(spec, provider, clients?, &chooser, tickets))?;
        Some(Self {
            spec: spec.clone(),
            files: files(spec, file),
            hsts: hsts.flatten(),
            live: ArcSwap::from_pointee(Live { digest, trust, chooser, config: Arc::new(config) }),
        })
    }

    /// The configuration for a new handshake.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().config)
    }

    /// The value of `Strict-Transport-Security` for every answer.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Whether a client that says hello so is served at all. One that is not is sent [`UNRECOGNIZED_NAME`].
    #[must_use]
    pub fn admits(&self, hello: &ClientHello<'_>) -> bool {
        self.live.load().chooser.admits(hello.server_name())
    }

    /// Whether a connection whose client asked for the name `sni` may ask for `host`, which may have a port. Where not,
    /// the answer is 421. Always true unless names are strict.
    #[must_use]
    pub fn may_serve(&self, sni: Option<&str>, host: &str) -> bool {
        !self.spec.strict_sni.0 || self.live.load().chooser.may_serve(sni, host)
    }

    /// The first name of each certificate, and when it ends to be valid, in Unix time.
    #[must_use]
    pub fn expiries(&self) -> Vec<(String, i64)> {
        self.live.load().chooser.expiries()
    }

    /// Whether clients that ask for no name, or a strange one, are refused.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.spec.strict_sni.0
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.files == other.files
    }
}

impl Eq for Policy {}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The cryptography of a spec: its cipher suites, in its order.
fn provider(spec: &TlsSpec, at: &KeyPath, findings: &mut Findings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if spec.ciphers.is_empty() {
        return provider;
    }
    let at = at.then("ciphers");
    for (index, suite) in spec.ciphers.iter().enumerate() {
        if spec.ciphers[..index].contains(suite) {
            findings.problem(at.then(index), format!("`{suite}` stands there twice; remove one of the two"));
        }
    }
    let min = spec.min_version.unwrap_or_default();
    let useless: Vec<String> =
        spec.ciphers.iter().filter(|suite| suite.version() < min).map(ToString::to_string).collect();
    if useless.len() == spec.ciphers.len() {
        let message = "none of these is for TLS 1.3, and `min_version` allows no other; add TLS_AES_256_GCM_SHA384";
        findings.problem(at.clone(), message);
    } else if !useless.is_empty() {
        let message = format!("`min_version` is 1.3, so these are never used: {}; remove them", useless.join(", "));
        findings.problem(at.clone(), message);
    }
    let known = std::mem::take(&mut provider.cipher_suites);
    let named = spec.ciphers.iter();
    provider.cipher_suites =
        named.filter_map(|name| known.iter().find(|s| u16::from(s.suite()) == name.number())).copied().collect();
    provider
}

fn certificates(
    spec: &TlsSpec,
    at: &KeyPath,
    file: &impl Fn(&str) -> PathBuf,
    provider: &CryptoProvider,
    findings: &mut Findings,
) -> Vec<Certificate> {
    let at = at.then("certificates");
    let mut found: Vec<Certificate> = Vec::new();
    if spec.certificates.is_empty() {
        findings.problem(at.clone(), "there is no certificate; add one, as in `[{ cert: site.crt, key: site.key }]`");
    }
    for (index, pair) in spec.certificates.iter().enumerate() {
        let (cert, key, at) = (file(&pair.cert), file(&pair.key), at.then(index));
        let Some(certificate) = Certificate::read(&cert, &key, &at, provider, findings) else { continue };
        certificate.warn(&cert, &at, findings);
        let kind = certificate.key.key.algorithm();
        if !provider.cipher_suites.iter().any(|suite| suite.usable_for_signature_algorithm(kind)) {
            let message = format!(
                "no suite of `ciphers` goes with the {kind:?} key of `{}`; add one of TLS 1.3 or of its kind",
                cert.display()
            );
            findings.problem(at.then("key"), message);
        }
        let same = |other: &&Certificate| other.names == certificate.names && other.key.key.algorithm() == kind;
        if found.iter().any(|other| same(&other)) {
            let message = format!(
                "`{}` is for the same names, with the same kind of key, as one before it, so no client gets it; remove one",
                cert.display()
            );
            findings.warning(at.then("cert"), message);
        }
        found.push(certificate);
    }
    found
}

fn shared_tickets(
    spec: &SessionTicketsSpec,
    path: &Path,
    trust: &[u8; 32],
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<SharedTickets> {
    let lifetime = spec.lifetime.map_or(TICKET_LIFETIME, Duration::from);
    if !(MIN_TICKET_LIFETIME..=MAX_TICKET_LIFETIME).contains(&lifetime) {
        let written = spec.lifetime.unwrap_or_default();
        findings.problem(at.then("lifetime"), format!("{written} is no time for a ticket; write 1m to 7d"));
    }
    let shared = findings.good(at.then("keys"), SharedTickets::read(path, lifetime, trust))?;
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o004 != 0 {
        let message = format!(
            "everybody on this machine can read `{}`, and with it all that was recorded of TLS 1.2 connections; \
             `chmod o-r` it, and make new keys",
            path.display()
        );
        findings.warning(at.then("keys"), message);
    }
    Some(shared)
}

/// Tickets of this process alone: random keys, a new one every 6h, each good for 12h.
fn own_tickets() -> Result<Arc<dyn ProducesTickets>, String> {
    ring::Ticketer::new().map_err(|error| format!("there are no random numbers for session tickets: {error}"))
}

fn build(
    spec: &TlsSpec,
    provider: Arc<CryptoProvider>,
    clients: Clients,
    chooser: &Arc<Chooser>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, String> {
    let versions: &[_] = if spec.min_version == Some(TlsVersion::V1_3) { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| format!("no connection could be made: {error}; change `ciphers` or `min_version`"))?
        .with_client_cert_verifier(clients.verifier)
        .with_cert_resolver(Arc::clone(chooser) as _);
    config.ignore_client_order = true;
    let http2 = spec.http2.is_none_or(|on| on.0);
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    // A session is in its ticket alone, so that clients that never come back cost no memory. Those of TLS 1.2 that know
    // no tickets, of which there are hardly any, make whole handshakes.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    // Each is for one use (RFC 8446 §C.4); two, so that a browser can open two connections at once when it comes back.
    config.send_tls13_tickets = 2;
    // What comes before the handshake ends can be played again.
    config.max_early_data_size = 0;
    Ok(config)
}

fn digest(certificates: &[Certificate], trust: &[u8; 32], tickets: Option<&SharedTickets>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for certificate in certificates {
        hasher.update(certificate.digest);
    }
    hasher.update(trust);
    hasher.update(tickets.map_or([0; 32], |tickets| tickets.digest));
    hasher.finalize().into()
}
