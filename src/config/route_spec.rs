//! What a config file can say of routes: one struct for each mapping, its doc comments the reference of its keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_spec::{AccessSpec, IdentityHeaderSpec, RequireSpec};
use super::auth_spec::AuthSpec;
use super::dynamic_spec::{DynamicSpec, InstanceSpec, WaitSpec};
use super::limit_spec::LimitSpec;
use super::log_spec::RouteLog;
use super::pool_spec::{RetrySpec, TimeoutsSpec};
use super::read::{FromList, ListOr, OneOrMany, StringOr, present};
use super::static_spec::StaticSpec;
use super::value::{ByteSize, Count, Flag, HeaderName, Hsts, MediaRange, Method, Span, StatusCode};

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
    /// Hosts, without ports: `www.example.org`, `{name}.apps.example.org`, `*.example.org`, `www.*`; default any.
    pub host: OneOrMany<String>,
    /// Path patterns: `/healthz`, `/grafana/**`, `/yarn/{host}:{port:digits}/**`, `/s_{name:word:50}/**`.
    pub path: OneOrMany<String>,
    /// Regular expressions that the path must fit besides, all of them, percent-decoded: `^/[^/]+/` wants a slash behind the
    /// first segment. Of routes with the same patterns the one with more of them wins.
    pub match_path: OneOrMany<String>,
    /// Methods; default all. GET includes HEAD.
    pub methods: Vec<Method>,
    /// Headers that the request must have: name → value, or `"*"` for any value.
    pub match_headers: BTreeMap<HeaderName, String>,
    /// Which client addresses may pass.
    #[serde(deserialize_with = "present")]
    pub access: Option<AccessSpec>,
    /// Ways to find out who asks, one or more: the first that the request has credentials for decides. Without one that
    /// proves who asks, nothing passes.
    pub auth: OneOrMany<AuthSpec>,
    /// Who of those that proved who they are may pass; default: all.
    #[serde(deserialize_with = "present")]
    pub require: Option<RequireSpec>,
    /// Headers that tell the upstream who asks: name → template with `{user}`, `{name}`, `{mail}`, `{groups}`,
    /// `{claim:NAME}`. What a client sends under these names passes on no route.
    pub identity: BTreeMap<HeaderName, StringOr<IdentityHeaderSpec>>,
    /// How many requests may pass, in a time or at once; all must agree.
    pub limit: OneOrMany<LimitSpec>,
    /// Answer here, without an upstream.
    pub answer: Option<AnswerSpec>,
    /// Redirect.
    pub redirect: Option<RedirectSpec>,
    /// Answer with files of a folder.
    #[serde(rename = "static")]
    pub files: Option<StringOr<StaticSpec>>,
    /// Forward to this pool.
    pub upstream: Option<String>,
    /// Forward to an address that the request names.
    pub dynamic: Option<DynamicSpec>,
    /// Forward to an instance that was registered at the admin port.
    pub instance: Option<InstanceSpec>,
    /// Wait for a server that does not take connections yet, at most so long (`90s`), or a mapping; only with `dynamic` and
    /// `instance`. When the time is over: 504, or `fallback`.
    pub wait_for: Option<StringOr<WaitSpec>>,
    /// The pool that requests go to whose `dynamic` or `instance` server cannot be reached, or did not open in time, or whose
    /// `dynamic` target is not allowed.
    pub fallback: Option<String>,
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

/// The body of an error answer; exactly one of `body` and `file`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorPageSpec {
    /// The body; `{status}`, `{reason}` and `{request_id}` are filled in.
    pub body: Option<String>,
    /// A file with the body, UTF-8 of up to 1 MiB, in which the same is filled in; a relative path is relative to the
    /// config file. It is read with the configuration, and anew when it changes.
    pub file: Option<String>,
    /// Whether Pylon's own page is shown, and the log says so, where the file is not there; default: that is a mistake.
    pub optional: Flag,
    /// Media type; default `text/html; charset=utf-8`, of a file what its name says.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// Answer with this status in place of that of the error: 200 to 599.
    pub status: Option<StatusCode>,
}
