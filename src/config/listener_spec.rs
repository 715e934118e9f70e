//! What a config file can say about the addresses that clients connect to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::OneOrMany;
use super::spec::CidrList;
use super::value::{ByteSize, CipherSuite, Count, Flag, Hsts, ListenAddress, Span, TlsVersion};

/// One address that clients connect to.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Address and port, `0.0.0.0:80`.
    pub address: ListenAddress,
    /// A name that routes can refer to with `listeners`.
    pub name: Option<String>,
    /// `false` leaves this listener out; default true.
    pub enabled: Option<Flag>,
    /// Leave this listener out when a `${VARIABLE}` in it is not set.
    #[serde(default)]
    pub optional: Flag,
    /// Serve only the routes that name this listener in `listeners`, not the general ones.
    #[serde(default)]
    pub dedicated: Flag,
    /// Answer every request, but `/healthz`, with 307 to the same URL under https (without a port).
    #[serde(default)]
    pub redirect_to_https: Flag,
    /// Terminate TLS here.
    pub tls: Option<TlsSpec>,
    /// Read the PROXY header (version 1 or 2) of load balancers before this listener.
    pub proxy_protocol: Option<ProxyProtocolSpec>,
    /// How long clients have.
    #[serde(default)]
    pub timeouts: ListenerTimeoutsSpec,
    /// How much clients have.
    #[serde(default)]
    pub limits: ListenerLimitsSpec,
    /// HTTP/2 to clients: under TLS by ALPN, else by prior knowledge.
    #[serde(default)]
    pub http2: Http2Spec,
}

/// Load balancers that tell the client's address in a PROXY header.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolSpec {
    /// Their addresses, as networks; a comma-separated string or a list. From others no header is read.
    pub trusted: OneOrMany<CidrList>,
    /// Refuse connections without a header, and those of others; default false.
    #[serde(default)]
    pub required: Flag,
}

/// How long clients have.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTimeoutsSpec {
    /// For the PROXY header; default 5s.
    pub proxy_header: Option<Span>,
    /// For the TLS handshake; default 10s.
    pub handshake: Option<Span>,
    /// For a whole header section, from its first byte; default 10s.
    pub header: Option<Span>,
    /// For the first byte of a request, on a new connection and between two requests; default 60s.
    pub keep_alive: Option<Span>,
}

/// How much clients have.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimitsSpec {
    /// Connections of all clients; further ones wait, and idle ones are closed for them. Default: three quarters of the
    /// files that the process may open.
    pub connections: Option<Count>,
    /// Connections of one address; further ones are closed. Default 0: no limit.
    pub connections_per_client: Option<Count>,
    /// Bytes of a header section, request line included, 1KiB to 1MiB; default 64KiB. Past them 431.
    pub header_size: Option<ByteSize>,
    /// Header lines, 10 to 250; default 100. Past them 431.
    pub headers: Option<Count>,
    /// Bytes of a request target, 256 to 64KiB; default 16KiB. Past them 414.
    pub target_size: Option<ByteSize>,
}

/// HTTP/2 to clients.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Spec {
    /// Requests at a time on a connection, 1 to 1000; default 100.
    pub streams: Option<Count>,
    /// How long a connection without requests is kept; default: as `timeouts.keep_alive`.
    pub idle: Option<Span>,
}

/// How a listener terminates TLS. What the files hold is read again on every reload; all else needs a restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificates with their keys, one at least. The name that a client asks for (SNI) chooses: first an exact name,
    /// then a wildcard for one label, else the first certificate. Names come from the certificates (subjectAltName).
    /// Of several for one name, the first whose kind of key the client knows is taken: give ECDSA before RSA.
    pub certificates: Vec<CertificateSpec>,
    /// Refuse clients that ask for no name, or for one that no certificate has, and answer 421 to requests for a
    /// `Host` that the connection's certificate does not have.
    #[serde(default)]
    pub strict_sni: Flag,
    /// The oldest version of TLS: `"1.2"` (the default) or `"1.3"`.
    pub min_version: Option<TlsVersion>,
    /// Cipher suites, the preferred first, by the names of IANA's registry; default: all that Pylon has, all sound.
    #[serde(default)]
    pub ciphers: Vec<CipherSuite>,
    /// Offer HTTP/2 besides HTTP/1.1; default true.
    pub http2: Option<Flag>,
    /// Ask clients for certificates; default: they are not asked.
    pub client_certificates: Option<ClientCertificatesSpec>,
    /// Keys of session tickets, for several instances that share them; default: random keys that change every 6h.
    pub session_tickets: Option<SessionTicketsSpec>,
    /// Sent as `Strict-Transport-Security` as it stands: `max-age=31536000; includeSubDomains`; default: not sent.
    pub hsts: Option<Hsts>,
}

/// Which certificates clients must show. Sessions that are resumed show those of their first handshake; they are not
/// resumed once the authorities or revocations have changed. (Tickets hold them: expect some KiB more in handshakes.)
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificatesSpec {
    /// `optional` takes clients without a certificate, too; `required` does not. One that is shown must be good.
    pub mode: ClientCertificateMode,
    /// PEM file with the authorities that sign them.
    pub ca: String,
    /// PEM file with the lists of what is revoked (CRL), one for every authority of a chain below the root.
    pub crl: Option<String>,
}

/// Whether a client needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificateMode {
    /// It may show one.
    Optional,
    /// It must show one.
    Required,
}

/// Keys of session tickets that instances share.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionTicketsSpec {
    /// File with keys of 32 to 80 random bytes, each a line of base64 or hex (`openssl rand -hex 48`). The first seals
    /// new tickets, all open them: to change keys, put one in front everywhere, and drop the last after `lifetime`.
    /// Empty lines and lines that start with `#` count for nothing.
    pub keys: String,
    /// How long a ticket is good, 1m to 7d; default 12h.
    pub lifetime: Option<Span>,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// PEM file with the certificate and its chain.
    pub cert: String,
    /// PEM file with the private key.
    pub key: String,
}
