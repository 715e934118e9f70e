//! What a config file can say: one struct for each mapping, its doc comments the reference of its keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listener_spec::ListenerSpec;
use super::log_spec::{LogSpec, RecorderSpec, RouteLog, TracingSpec};
use super::pool_spec::{RetrySpec, TimeoutsSpec, UpstreamSpec};
use super::read::{FromList, ListOr, OneOrMany};
use super::value::{
    ByteSize, Cidr, Count, Flag, HeaderName, Hsts, ListenAddress, MediaRange, Method, Secret, ServerAddress, Span,
    StatusCode,
};

/// A config file. The process part (`listeners`, `admin`, `workers`, `grace_period`, `upgrade_socket`, `log`,
/// `recorder`, `tracing`, `resolver`) is read at start; all else
/// is reloaded live.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Addresses that clients connect to. A change needs a restart.
    pub listeners: Vec<ListenerSpec>,
    /// The operator's port: metrics, probes, reload. A change needs a restart.
    pub admin: Option<AdminSpec>,
    /// Worker threads of the data path: a number, or `auto` for one for each core. A change needs a restart.
    pub workers: Workers,
    /// How long a stop waits for requests in flight before it cuts them; default 30s. A change needs a restart.
    pub grace_period: Option<Span>,
    /// A UNIX socket at which a new process (`pylon run --upgrade`) takes over the listening sockets of the running one
    /// when that gets QUIT; default: there is none. A change needs a restart.
    pub upgrade_socket: Option<String>,
    /// What is logged, and where. A change needs a restart; `pylon log-level` changes levels without one.
    pub log: LogSpec,
    /// The last requests are kept in memory, for `pylon why`. A change needs a restart.
    pub recorder: RecorderSpec,
    /// Export of traces. A change needs a restart.
    pub tracing: TracingSpec,
    /// How names are looked up. A change needs a restart.
    pub resolver: ResolverSpec,
    /// Built-in route files, by name: `pai`, `backend-ai`.
    pub systems: Vec<String>,
    /// Further route files, as paths or globs relative to this file; read in the order of their names.
    pub include: Vec<String>,
    /// Addresses of proxies before Pylon whose `X-Forwarded-For` is believed and appended to; a comma-separated
    /// string or a list.
    pub trusted_proxies: OneOrMany<CidrList>,
    /// The pools of servers behind Pylon, by name.
    pub upstreams: BTreeMap<String, UpstreamSpec>,
    /// Named bundles of route keys; a route takes them over with `use`.
    #[schemars(with = "BTreeMap<String, RouteSpec>")]
    pub defaults: BTreeMap<String, serde_yaml::Mapping>,
    /// Which request goes where.
    pub routes: Vec<RouteSpec>,
}

/// The admin port.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminSpec {
    /// Address and port, such as `127.0.0.1:9180`; beyond loopback it needs a `token`. A change needs a restart.
    pub address: ListenAddress,
    /// What clients have to send as `Authorization: Bearer TOKEN`, 16 characters at least; without one, everyone on
    /// this machine is let in. A new one is taken over by a reload.
    #[serde(default, deserialize_with = "super::value::optional_secret")]
    pub token: Option<Secret>,
}

/// How many worker threads carry requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    #[default]
    Auto,
    /// This many, 1 to 1024.
    Exactly(u16),
}

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count @ 1..=1024) => Ok(Self::Exactly(count)),
            _ => Err(format!("`{text}` is not a number of threads; write 1 to 1024, or `auto`")),
        }
    }
}

impl std::fmt::Display for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(count) => count.fmt(f),
        }
    }
}

super::value::scalar!(Workers, "a number of threads, or `auto`", {
    "type": ["string", "integer"],
    "pattern": "^([0-9]+|auto)$"
});
super::value::serialize_as_text!(Workers);

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolverSpec {
    /// DNS servers, as addresses with an optional port (53); default: those of `/etc/resolv.conf`.
    pub servers: Vec<ServerAddress>,
    /// How long one server has to answer; default 2s.
    pub timeout: Option<Span>,
    /// How long an answer is used at least, whatever its TTL says; default 1s.
    pub min_ttl: Option<Span>,
    /// How long an answer is used at most, whatever its TTL says; default 5m.
    pub max_ttl: Option<Span>,
}

/// A route: what it matches, then its steps in the order in which they run.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSpec {
    /// A name for logs, metrics and other keys; unique.
    pub name: String,
    /// Bundles of `defaults` whose keys this route takes where it has none itself; the first that has a key wins.
    #[serde(rename = "use")]
    pub bundles: Vec<String>,
    /// Upstreams without which this route is left out, besides those that it names elsewhere.
    pub needs: Vec<String>,
    /// Serve this route on these listeners only, by name; default: on all that are not dedicated.
    pub listeners: Vec<String>,
    /// Hosts, without ports: `www.example.org`, `*.example.org`; default any.
    pub host: OneOrMany<String>,
    /// Path patterns: `/healthz`, `/grafana/**`, `/yarn/{host}:{port:digits}/**`.
    pub path: OneOrMany<String>,
    /// Methods; default all. GET includes HEAD.
    pub methods: Vec<Method>,
    /// Headers that the request must have: name → value, or `"*"` for any value.
    pub match_headers: BTreeMap<HeaderName, String>,
    /// Answer here, without an upstream.
    pub answer: Option<AnswerSpec>,
    /// Redirect.
    pub redirect: Option<RedirectSpec>,
    /// Forward to this pool.
    pub upstream: Option<String>,
    /// Forward to an address that the path names.
    pub dynamic: Option<DynamicSpec>,
    /// The path towards the upstream, from captures: `/api/{**}`; default: the path as it came. Follows the base path
    /// of the endpoint's URL.
    pub rewrite: Option<String>,
    /// `raw` forwards the request target byte for byte, without normalisation; only without `rewrite`.
    pub target: Option<TargetForm>,
    /// The `Host` towards the upstream, in place of the upstream's setting.
    pub host_header: Option<String>,
    /// Timeouts, in place of the upstream's.
    pub timeouts: TimeoutsSpec,
    /// Retries, in place of the upstream's.
    pub retry: RetrySpec,
    /// How much of requests and answers this route takes, and how fast.
    pub limits: RouteLimitsSpec,
    /// `Strict-Transport-Security` of https answers, in place of the listener's: `max-age=31536000; includeSubDomains`.
    pub hsts: Option<Hsts>,
    /// Header changes.
    pub headers: HeadersSpec,
    /// What of the answer is mapped back under the public prefix.
    pub adapt: Vec<Adaptation>,
    /// How redirects from the upstream are handled; needs `adapt: [location]`.
    pub redirects: Option<RedirectsSpec>,
    /// Text replaced in bodies of text types, in one pass.
    pub substitute: Vec<SubstituteSpec>,
    /// Media types whose bodies `substitute` changes (`text/html`); default: all text types.
    pub substitute_types: Vec<String>,
    /// Mark ETags with a tag of this route's rules: `auto` (a hash of the rules) or a text of your own. On by itself
    /// where bodies are changed.
    pub etag: Option<String>,
    /// Compress bodies for clients that take it: the content codings, the preferred first (`[br, zstd, gzip]`), or a
    /// mapping.
    pub compress: Option<ListOr<CompressSpec>>,
    /// Translate the gRPC-Web of browsers into gRPC; needs an upstream with `protocol: h2`.
    pub grpc_web: Flag,
    /// Which requests are in the access log: `true`, `false`, or a share such as `10%`, of which failures (5xx) are
    /// logged all the same; default: as `log.access` says.
    pub access_log: Option<RouteLog>,
    /// Bodies of errors that Pylon itself answers with, by status.
    pub errors: BTreeMap<StatusCode, ErrorPageSpec>,
}

/// How much of requests and answers a route takes, and how fast. Upgraded connections are free of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteLimitsSpec {
    /// Bytes of a request body; default: no limit. Past them 413, at once where Content-Length says so.
    pub body: Option<ByteSize>,
    /// Bytes a second that a request body comes with at least, on average after 5s, as long as the upstream has not
    /// begun to answer; default 256; 0: no limit. gRPC is free of it.
    pub body_rate: Option<ByteSize>,
    /// The longest pause in a request body, as long as the upstream has not begun to answer; default 30s. gRPC is free
    /// of it.
    pub body_idle: Option<Span>,
    /// Bytes a second that a client takes of its answer at least, while Pylon has more for it; default 1KiB; 0: no limit.
    pub drain_rate: Option<ByteSize>,
    /// The time over which that is measured: for so long a client may take nothing at all; default 30s.
    pub drain_time: Option<Span>,
    /// Requests under way; default: no limit. Past them 503.
    pub requests: Option<Count>,
    /// Bytes of a request target; default: the listener's limit. Past them 414.
    pub target_size: Option<ByteSize>,
    /// Bytes of a header section, request line included; default: the listener's limit. Past them 431.
    pub header_size: Option<ByteSize>,
}

/// A fixed answer.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSpec {
    /// Status; default 200.
    pub status: Option<StatusCode>,
    /// Body text; default empty.
    pub body: String,
    /// Media type; default `text/plain`.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
}

/// A redirect.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectSpec {
    /// Where to: a URL or path with `{captures}`, `{**}`, `{scheme}`, `{public_host}`, `{authority:UPSTREAM}` (the
    /// `host:port` of an upstream's first endpoint). A path becomes absolute with the scheme and Host of the request;
    /// the query is kept.
    pub to: String,
    /// 301, 302, 303, 307 or 308; default 302.
    pub status: Option<StatusCode>,
}

/// A target that the path names.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamicSpec {
    /// The host: a capture of the path, `{host}`.
    pub host: String,
    /// The port: a capture, `{port}`. Port 0 stands for the default port of http, and a `Host` without a port.
    pub port: String,
    /// What may be reached: CIDRs and names (`*.suffix` too), each with optional ports
    /// (`10.0.0.0/8:1-65535`, `*.cluster.local:8042`), as a list or comma-separated; `upstreams` stands for the hosts
    /// of all configured upstreams. Loopback, link-local and metadata addresses must be listed by themselves.
    pub allow: OneOrMany<String>,
}

/// How the request target is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetForm {
    /// Byte for byte as it came.
    Raw,
    /// With dot segments removed and slashes merged.
    Normalised,
}

/// Header changes in both directions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersSpec {
    /// Towards the upstream, after Pylon's own (`X-Forwarded-For` …) are in place.
    pub request: HeaderEditsSpec,
    /// Towards the client.
    pub response: HeaderEditsSpec,
}

/// Changes of headers: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEditsSpec {
    /// Names to remove.
    pub remove: Vec<HeaderName>,
    /// Replace all lines of a name by one; values can hold `{captures}`, `{scheme}`, `{public_host}`, `{prefix}`.
    pub set: BTreeMap<HeaderName, String>,
    /// Add a line.
    pub add: BTreeMap<HeaderName, String>,
}

/// What of an answer is mapped back under the public prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Adaptation {
    /// `Location`, `Content-Location` and `Refresh`.
    Location,
    /// `Path` and `Domain` of `Set-Cookie`.
    Cookies,
    /// Links in HTML bodies.
    Html,
}

/// How redirects from the upstream are handled.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedirectsSpec {
    /// The name of a dynamic route through which redirects to other servers go.
    pub via: Option<String>,
    /// Answer every redirect with this status.
    pub status: Option<StatusCode>,
    /// Send redirects without the body that the upstream gave them.
    pub drop_body: Flag,
}

/// One replacement; exactly one of `find`, `regex` and `url_of`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubstituteSpec {
    /// Text to find.
    pub find: Option<String>,
    /// Regular expression to find, at most 4096 bytes long in a match: write `{1,255}` in place of `+`.
    pub regex: Option<String>,
    /// Find the URL of this upstream, where it is not the beginning of a longer host or port.
    pub url_of: Option<String>,
    /// Find `url_of` only where this path follows it.
    pub path: Option<String>,
    /// What stands there instead: text with `$1` (groups of `regex`), `{scheme}`, `{public_host}`, `{prefix}` and
    /// `{captures}`; `{{` is a brace, `$$` a dollar.
    pub replace: String,
    /// Replace the first occurrence only.
    pub once: Flag,
    /// Leave this rule out where one of these upstreams is left out.
    pub needs: Vec<String>,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressSpec {
    /// Content codings, the preferred first, for clients that take several equally well; default `[br, zstd, gzip]`.
    pub codings: Option<OneOrMany<ContentCoding>>,
    /// Media types that are compressed (`application/json`, `text/*`); default: all text types, SVG, WebAssembly and
    /// fonts that are not compressed themselves. gRPC never is.
    pub types: OneOrMany<MediaRange>,
    /// Leave bodies alone that are said to be shorter; default 1KiB.
    pub min_size: Option<ByteSize>,
    /// How much work goes into it; default `balanced`.
    pub level: Option<CompressionLevel>,
}

impl FromList for CompressSpec {
    type Item = ContentCoding;

    fn from_list(list: OneOrMany<ContentCoding>) -> Self {
        Self { codings: Some(list), ..Self::default() }
    }
}

/// A way to compress bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// Brotli, RFC 7932.
    Br,
    /// Zstandard, RFC 8878.
    Zstd,
    /// gzip, RFC 1952.
    Gzip,
}

/// How much work goes into compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionLevel {
    /// As little as makes sense.
    Fast,
    /// As much as pays for bodies that are made for each request.
    #[default]
    Balanced,
    /// More time and memory for shorter bodies.
    Small,
}

/// The body of an error answer.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorPageSpec {
    /// The body; `{status}`, `{reason}` and `{request_id}` are filled in.
    pub body: String,
    /// Media type; default `text/html; charset=utf-8`.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
}

/// CIDRs in one string, separated by commas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CidrList(pub Vec<Cidr>);

impl std::str::FromStr for CidrList {
    type Err = super::value::ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for CidrList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

super::value::scalar!(CidrList, "networks, separated by commas", { "type": "string" });
super::value::serialize_as_text!(CidrList);
