//! Handshakes in memory: a client of `rustls` and a policy, joined by buffers.

mod clients;
mod names;
mod renewals;
mod resumption;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::Acceptor;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, ProtocolVersion, RootCertStore, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::*;
use crate::config::{KeyPath, TlsSpec};

/// A folder with certificates, all of one authority.
struct Site {
    dir: TempDir,
    ca: Issuer<'static, KeyPair>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, ca: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Makes NAME.crt and NAME.key, as `change` wants them.
    fn made(&self, name: &str, names: &[&str], key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        self.write(&format!("{name}.crt"), &params.signed_by(key, &self.ca).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn make(&self, name: &str, names: &[&str]) {
        self.made(name, names, &KeyPair::generate().unwrap(), |_| {});
    }

    fn until(&self, name: &str, names: &[&str], year: i32) {
        self.made(name, names, &KeyPair::generate().unwrap(), |params| params.not_after = date_time_ymd(year, 1, 1));
    }

    fn compile(&self, yaml: &str) -> (Option<Policy>, Findings) {
        let spec: TlsSpec = serde_yaml::from_str(yaml).unwrap();
        let mut findings = Findings::default();
        let policy = Policy::compile(&spec, &KeyPath::root().then("tls"), |name| self.path(name), &mut findings);
        assert_eq!(policy.is_some(), findings.problems.is_empty(), "{findings:?}");
        (policy, findings)
    }

    fn policy(&self, yaml: &str) -> Arc<Policy> {
        let (policy, findings) = self.compile(yaml);
        Arc::new(policy.unwrap_or_else(|| panic!("{:?}", findings.problems)))
    }

    /// All that is said of a spec: problems, then warnings.
    fn said(&self, yaml: &str) -> Vec<String> {
        let findings = self.compile(yaml).1;
        let all = findings.problems.iter().chain(&findings.warnings);
        let dir = format!("{}/", self.dir.path().display());
        all.map(|finding| format!("{}: {}", finding.path, finding.message.replace(&dir, ""))).collect()
    }

    /// A client that believes the authority.
    fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(read_chain(&self.path("ca.pem")).unwrap().remove(0)).unwrap();
        Client { roots, provider: ring::default_provider(), versions: vec![&TLS13, &TLS12], own: None, alpn: vec![] }
    }
}

/// What a client is like.
struct Client {
    roots: RootCertStore,
    provider: CryptoProvider,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// Its certificate and key.
    own: Option<(PathBuf, PathBuf)>,
    alpn: Vec<&'static [u8]>,
}

impl Client {
    fn config(self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots);
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                builder.with_client_auth_cert(read_chain(&cert).unwrap(), read_key(&key).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.into_iter().map(<[u8]>::to_vec).collect();
        config.resumption = Resumption::in_memory_sessions(16);
        Arc::new(config)
    }

    fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    fn with(mut self, site: &Site, name: &str) -> Self {
        self.own = Some((site.path(&format!("{name}.crt")), site.path(&format!("{name}.key"))));
        self
    }

    /// Knows these kinds of signatures only.
    fn knows(mut self, schemes: &[SignatureScheme]) -> Self {
        let all = self.provider.signature_verification_algorithms;
        let mapping: Vec<_> = all.mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
        self.provider.signature_verification_algorithms.mapping = Box::leak(mapping.into_boxed_slice());
        self
    }
}

/// Both ends of a connection.
struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

/// What a client hears that asks a policy for a name: the connection, or what either end says against it.
fn meet(policy: &Policy, client: &Arc<ClientConfig>, name: &str) -> Result<Met, Error> {
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(policy.server_config()).unwrap();
    let mut refused = Ok(());
    for _ in 0..10 {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        let mut up = &up[..];
        while !up.is_empty() && refused.is_ok() {
            server.read_tls(&mut up).unwrap();
            refused = server.process_new_packets().map(drop);
        }
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut down = &down[..];
        while !down.is_empty() {
            client.read_tls(&mut down).unwrap();
            client.process_new_packets()?;
        }
    }
    refused.map(|()| Met { client, server })
}

/// The file whose certificate a client gets.
fn shown(site: &Site, policy: &Policy, client: &Arc<ClientConfig>, name: &str, files: &[&str]) -> String {
    let met = meet(policy, client, name).unwrap();
    let own = &met.client.peer_certificates().unwrap()[0];
    let is = |file: &&&str| read_chain(&site.path(&format!("{file}.crt"))).unwrap()[0] == *own;
    files.iter().find(is).unwrap().to_string()
}

fn certificates(names: &[&str]) -> String {
    let pairs: Vec<String> = names.iter().map(|name| format!("{{ cert: {name}.crt, key: {name}.key }}")).collect();
    format!("certificates: [{}]", pairs.join(", "))
}

fn alert(result: Result<Met, Error>) -> AlertDescription {
    match result.map(drop) {
        Err(Error::AlertReceived(alert)) => alert,
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_suites_and_protocols_are_as_configured() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let pair = certificates(&["a"]);
    let usual = site.policy(&pair);
    let modern = site.policy(&format!("{pair}\nmin_version: 1.3\nhttp2: false"));
    for (policy, version, spoken) in
        [(&usual, &TLS12, true), (&usual, &TLS13, true), (&modern, &TLS12, false), (&modern, &TLS13, true)]
    {
        let met = meet(policy, &site.client().only(version).config(), "a.example.org");
        if spoken {
            assert_eq!(met.unwrap().server.protocol_version(), Some(version.version));
        } else {
            assert_eq!(alert(met), AlertDescription::ProtocolVersion);
        }
    }
    // The client's order does not count.
    let ciphers =
        "ciphers: [TLS_CHACHA20_POLY1305_SHA256, tls13_aes_128_gcm_sha256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]";
    let few = site.policy(&format!("{pair}\n{ciphers}"));
    for (version, suite) in [(&TLS13, 0x1303), (&TLS12, 0xc02b)] {
        let met = meet(&few, &site.client().only(version).config(), "a.example.org").unwrap();
        assert_eq!(u16::from(met.server.negotiated_cipher_suite().unwrap().suite()), suite);
    }
    let usual_suite = meet(&usual, &site.client().config(), "a.example.org").unwrap();
    assert_eq!(u16::from(usual_suite.server.negotiated_cipher_suite().unwrap().suite()), 0x1302);
    // Without suites of TLS 1.3, TLS 1.2 is spoken.
    let old = site.policy(&format!("{pair}\nciphers: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"));
    let met = meet(&old, &site.client().config(), "a.example.org").unwrap();
    assert_eq!(met.server.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    for (policy, offered, spoken) in [
        (&usual, vec![&b"http/1.1"[..], b"h2"], Some(&b"h2"[..])),
        (&usual, vec![b"http/1.1"], Some(b"http/1.1")),
        (&usual, vec![], None),
        (&modern, vec![b"h2", b"http/1.1"], Some(b"http/1.1")),
    ] {
        let client = Client { alpn: offered, ..site.client() }.config();
        assert_eq!(meet(policy, &client, "a.example.org").unwrap().server.alpn_protocol(), spoken);
    }
    let client = Client { alpn: vec![b"h2"], ..site.client() }.config();
    assert_eq!(alert(meet(&modern, &client, "a.example.org")), AlertDescription::NoApplicationProtocol);
}

#[test]
fn every_suite_has_its_name_here() {
    let provided: Vec<u16> = ring::ALL_CIPHER_SUITES.iter().map(|suite| u16::from(suite.suite())).collect();
    let named: Vec<u16> =
        crate::config::value::CipherSuite::all().map(crate::config::value::CipherSuite::number).collect();
    assert_eq!(named, provided);
    for suite in crate::config::value::CipherSuite::all() {
        let provided = ring::ALL_CIPHER_SUITES.iter().find(|s| u16::from(s.suite()) == suite.number()).unwrap();
        let (theirs, ours) = (format!("{:?}", provided.suite()), suite.to_string());
        assert_eq!(theirs.replace("TLS13_", "TLS_"), ours);
        assert_eq!(theirs.parse(), Ok(suite));
    }
}

#[test]
fn what_clients_will_not_like_is_said_and_served() {
    let site = Site::new();
    site.until("old", &["a.example.org"], 2020);
    let key = KeyPair::generate().unwrap();
    site.made("early", &["b.example.org"], &key, |params| params.not_before = date_time_ymd(2090, 1, 1));
    site.make("none", &[]);
    site.make("twice", &["a.example.org"]);
    site.write("tickets", &"ab".repeat(32));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(site.path("tickets"), mode).unwrap();
    let spec = format!("{}\nsession_tickets: {{ keys: tickets }}", certificates(&["old", "early", "none", "twice"]));
    let said = site.said(&spec);
    for (said, wanted) in said.iter().zip([
        "tls.certificates[0].cert: `old.crt` has expired on 2020-01-01 00:00 UTC, so",
        "tls.certificates[1].cert: `early.crt` is good from 2090-01-01 00:00 UTC only, so",
        "tls.certificates[2].cert: `none.crt` has no name in subjectAltName",
        "tls.certificates[3].cert: `twice.crt` is for the same names, with the same kind of key, as one before it",
        "tls.session_tickets.keys: everybody on this machine can read `tickets`",
    ]) {
        assert!(said.starts_with(wanted), "{said}");
    }
    assert_eq!(said.len(), 5);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(site.path("tickets"), mode).unwrap();
    assert_eq!(site.said(&spec).len(), 4);
}

#[test]
fn hsts_is_sent_as_it_is_written() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let policy = site.policy(&format!("{}\nhsts: \"max-age=5 ; includeSubDomains\"", certificates(&["a"])));
    assert_eq!(policy.hsts().unwrap(), "max-age=5 ; includeSubDomains");
    assert_eq!(site.policy(&certificates(&["a"])).hsts(), None);
}

/// A list of what the authority of a site revoked.
fn revoked(site: &Site, serials: &[u8], next: i32) -> String {
    let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
        serial_number: SerialNumber::from_slice(&[*serial]),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = rcgen::CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(next, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&site.ca).unwrap().pem().unwrap()
}
