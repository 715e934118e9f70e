//! What a config file can say about a pool of servers.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listener_spec::CertificateSpec;
use super::read::{OneOrMany, StringOr};
use super::value::{Count, Flag, HashKey, HeaderName, HttpUrl, Percent, Secret, Span, StatusRange};

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// In words.
    V1,
    /// In bytes.
    V2,
}

/// A pool of servers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// The servers, as URLs (`http://10.0.0.1:9186`, https too, with a base path if they have one) or as
    /// `{url, weight}`. A name stands for all its addresses, and is looked up again when its TTL has passed.
    pub endpoints: OneOrMany<StringOr<EndpointSpec>>,
    /// Leave this upstream out, with all routes that need it, when a `${VARIABLE}` in it is not set.
    #[serde(default)]
    pub optional: Flag,
    /// The `Host` that the servers see: `upstream` (their own `host:port` as configured; the default), `client` (what
    /// the client sent) or a fixed name.
    pub host: Option<String>,
    /// `http1` (the default) or `h2`: HTTP/2, over TLS by ALPN, over plain TCP by prior knowledge.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Tell the servers the client's address in a PROXY header, `v1` or `v2`, on each connection; connections are then not
    /// shared between clients. Default: they are told in `X-Forwarded-For` alone.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How the server of a request is chosen: `round_robin` (the default), `least_requests`, `peak_ewma`, or
    /// `{hash: client_ip}`, `{hash: header.NAME}`, `{hash: cookie.NAME}`.
    #[serde(
        default,
        skip_serializing_if = "is_default",
        serialize_with = "serde_yaml::with::singleton_map::serialize"
    )]
    pub balance: BalanceSpec,
    /// Bind clients to the server that they were first led to, by a cookie.
    pub sticky: Option<StickySpec>,
    /// How long a server that has recovered takes to get its whole share of requests; default 0s: at once.
    pub slow_start: Option<Span>,
    /// Probe the servers; default: they are not probed.
    pub health: Option<HealthSpec>,
    /// When a server is left out for a while because requests to it fail.
    #[serde(default)]
    pub ejection: EjectionSpec,
    /// When a request that failed is tried again; a route can override it.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How much the servers are given at a time.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Refuse requests at once while most of them fail; default: never.
    pub breaker: Option<BreakerSpec>,
    /// How long Pylon waits; a route can override it.
    #[serde(default)]
    pub timeouts: TimeoutsSpec,
    /// How https servers are verified, and what Pylon shows them.
    #[serde(default)]
    pub tls: UpstreamTlsSpec,
}

/// Whether a value is the one that need not be written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A server of a pool.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Where it is: `http://10.0.0.1:9186`.
    pub url: HttpUrl,
    /// Its share of requests relative to the others, 0 to 1000; default 1; 0 sends it no new clients.
    pub weight: Option<Count>,
}

impl FromStr for EndpointSpec {
    type Err = <HttpUrl as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { url: text.parse()?, weight: None })
    }
}

/// The version of HTTP that servers are spoken to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    H2,
}

/// How the server of a request is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceSpec {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with fewer requests in flight, of two at random.
    LeastRequests,
    /// The one with the lower latency times requests in flight, of two at random.
    PeakEwma,
    /// The same one for the same key, for as long as it is there.
    Hash(#[schemars(description = "client_ip, header.NAME or cookie.NAME.")] HashKey),
}

/// A cookie that binds clients to a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickySpec {
    /// Its name.
    pub cookie: String,
    /// What it is signed with, 16 characters at least; the same on all instances of a fleet.
    pub secret: Secret,
    /// How long browsers keep it; default: until they are closed.
    pub max_age: Option<Span>,
}

/// How servers are probed; exactly one of `http` and `tcp`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSpec {
    /// Ask for this path, below the path of the endpoint's URL.
    pub http: Option<String>,
    /// Only connect, TLS included.
    pub tcp: Flag,
    /// The `Host` of probes; default: the endpoint's own.
    pub host: Option<String>,
    /// More headers of probes.
    pub headers: BTreeMap<HeaderName, String>,
    /// Statuses that are good: `200`, `200-399`; default 200-399.
    pub statuses: OneOrMany<StatusRange>,
    /// A regular expression that the first 64 KiB of a good body match.
    pub body: Option<String>,
    /// The port of probes; default: the endpoint's own.
    pub port: Option<Count>,
    /// The time from one probe to the next; default 5s.
    pub interval: Option<Span>,
    /// How far the interval varies at random; default 20%.
    pub jitter: Option<Percent>,
    /// How long a probe may take; default 2s.
    pub timeout: Option<Span>,
    /// Good probes in a row that make an unhealthy server healthy; default 2.
    pub rise: Option<Count>,
    /// Bad probes in a row that make a server unhealthy; default 3.
    pub fall: Option<Count>,
}

/// When a server is left out for a while because requests to it fail: because it cannot be connected to, breaks off,
/// keeps silent for too long, or answers 502, 503 or 504.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionSpec {
    /// `false` never leaves a server out; default true.
    pub enabled: Option<Flag>,
    /// After this many failures in a row; default 5; 0: never for that.
    pub failures: Option<Count>,
    /// When its share of failures is this much above the median of the pool; default 30%; 100%: never for that.
    pub share_over: Option<Percent>,
    /// Of at least this many requests in an interval; default 20.
    pub minimum_requests: Option<Count>,
    /// How often the shares are compared; default 10s.
    pub interval: Option<Span>,
    /// How long it is left out the first time; each next time doubles; default 10s.
    pub time: Option<Span>,
    /// How long it is left out at most; default 5m.
    pub max_time: Option<Span>,
    /// The share of the pool that may be left out at a time; default 50%.
    pub max_share: Option<Percent>,
}

/// When a request that failed is tried again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Attempts in all, the first included, 1 to 10; default 3.
    pub attempts: Option<Count>,
    /// Second attempts of requests that a server may have seen already, as a share of the requests of the last 10 s;
    /// default 20%. 10 are allowed in any case.
    pub budget: Option<Percent>,
    /// Statuses of an upstream after which an idempotent request is tried again; default none.
    pub statuses: OneOrMany<StatusRange>,
}

/// How much the servers of a pool are given at a time.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Requests in flight; default: no limit.
    pub requests: Option<Count>,
    /// Connections, idle ones included; default: no limit.
    pub connections: Option<Count>,
    /// Requests that wait for their turn; default 0: they get 503 at once.
    pub queue: Option<Count>,
    /// How long a request waits for its turn; default 1s.
    pub queue_timeout: Option<Span>,
}

/// When requests are refused at once because most of them fail.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSpec {
    /// The share of attempts that fail; default 50%.
    pub failure_share: Option<Percent>,
    /// Of at least this many in a window; default 20.
    pub minimum_requests: Option<Count>,
    /// Over which they are counted; default 10s.
    pub window: Option<Span>,
    /// How long requests are refused before a single one is let through to see; default 5s.
    pub open: Option<Span>,
}

/// How long Pylon waits for an upstream.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsSpec {
    /// For a TCP connection; default 5s.
    pub connect: Option<Span>,
    /// For a TLS handshake; default 5s.
    pub tls: Option<Span>,
    /// For the first byte of the answer, from when the request is sent whole; default: as `idle`.
    pub first_byte: Option<Span>,
    /// For the next byte in either direction; default 60m.
    pub idle: Option<Span>,
    /// For the whole request, retries included; default 0s: no limit.
    pub request: Option<Span>,
}

/// How an https upstream is verified, and what Pylon shows it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTlsSpec {
    /// Check certificate and name; default true. `false` accepts any server: for tests only.
    pub verify: Option<Flag>,
    /// The name to ask for and to check, in place of the URL's host.
    pub server_name: Option<String>,
    /// PEM file with the authorities that are believed, in place of the system's, or with a server's own certificate.
    pub ca: Option<String>,
    /// A certificate to show when the server asks for one.
    pub certificate: Option<CertificateSpec>,
}
