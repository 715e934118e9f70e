//! What a config file can say of targets that depend on the request, on who asks, or on what is registered.

use std::convert::Infallible;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pool_spec::UpstreamTlsSpec;
use super::read::OneOrMany;
use super::value::{ByteSize, Count, Secret, Span, ValueError};

/// A target that the request names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DynamicSpec {
    /// The host: a template with what path and host capture, `{host}`; where the route has `auth`, with `{user}` and
    /// `{claim:NAME}`, too; or a cookie, `{cookie:NAME}`, and nothing else. Of several the first that is there and may be
    /// reached decides, else the last.
    pub host: OneOrMany<String>,
    /// Ask a service for the host, in place of `host`.
    pub lookup: Option<LookupSpec>,
    /// The port: a template, a number, or `same`: the port that the request came in on. Port 0 stands for the default
    /// port of the scheme, and a `Host` without a port.
    pub port: PortSpec,
    /// `http` (the default), `https`, or `same`: that of the listener that the request came in on.
    pub scheme: TargetScheme,
    /// What may be reached: CIDRs and names (`*.suffix` too), each with optional ports
    /// (`10.0.0.0/8:1-65535`, `*.cluster.local:8042`), as a list or comma-separated; `upstreams` stands for the hosts
    /// of all configured upstreams. Loopback, link-local and metadata addresses must be listed by themselves.
    pub allow: OneOrMany<String>,
    /// How https targets are verified, and what Pylon shows them.
    pub tls: UpstreamTlsSpec,
    /// What stands for a host that is this machine, or is not there.
    pub local: Option<LocalSpec>,
}

/// The target where the host is this machine, or is not there: plain http, within `allow` as well.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalSpec {
    /// More names and addresses of this machine, besides `localhost`, `127.0.0.1`, `::1`, its host name, its addresses, and the
    /// one that the request came in on.
    pub names: OneOrMany<String>,
    /// Where it is; default 127.0.0.1.
    pub host: Option<String>,
    /// The port: a template or a number.
    pub port: PortSpec,
    /// The path towards it, in place of the route's `rewrite`.
    pub rewrite: Option<String>,
}

/// A port: a number, a template, or `same`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSpec(pub String);

impl FromStr for PortSpec {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl std::fmt::Display for PortSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

super::value::serialize_as_text!(PortSpec);
super::value::scalar!(PortSpec, "a port, a template or `same`", {
    "description": "A number, a template such as \"{port}\", or \"same\".",
    "type": ["integer", "string"],
    "examples": [8080, "{port}", "same"],
});

/// The scheme of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetScheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
    /// That of the listener that the request came in on.
    Same,
}

/// A service that says which hosts a key has: a JSON object, key → list of hosts. It is asked again and again in the
/// background; what it said last is used while it is away.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LookupSpec {
    /// Where it is asked: a URL with `{nonce}`, a random number, and `{sign}`, its signature.
    pub url: String,
    /// How the number is signed; default: not at all.
    pub sign: Option<SignSpec>,
    /// PEM file with the authorities that an https service is verified against, in place of the system's.
    pub ca: Option<String>,
    /// The key: a template with what path and host capture.
    pub key: String,
    /// The key whose hosts serve keys that have none.
    pub default: Option<String>,
    /// The hosts that serve keys that have none, where `default` has none either; without them `local` of the target does.
    pub fallback: OneOrMany<String>,
    /// How one of several hosts is chosen: `random` (the default) or `round_robin`.
    pub choose: Choice,
    /// The time from one question to the next, 1s at least; default 60s.
    pub refresh: Option<Span>,
    /// How long an answer may take, and how long the first requests wait for it; default 5s.
    pub timeout: Option<Span>,
    /// Bytes of an answer; default 1MiB.
    pub max_size: Option<ByteSize>,
}

/// How a question is signed: an HMAC of its random number.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignSpec {
    /// The hash; default `sha256`.
    #[serde(default)]
    pub hash: SignHash,
    /// The key of the signatures, which the service shares.
    pub secret: Secret,
    /// How the signature is written, before it is encoded for the URL; default `base64`.
    #[serde(default)]
    pub encoding: SignEncoding,
}

/// A hash for signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignHash {
    /// SHA-1, for services that know no other.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignEncoding {
    /// Base64, RFC 4648 §4.
    #[default]
    Base64,
    /// Base64 for URLs, without padding, RFC 4648 §5.
    Base64url,
    /// Hexadecimal digits in lower case.
    Hex,
}

/// How one of several hosts is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// At random.
    #[default]
    Random,
    /// In turn.
    RoundRobin,
}

/// Forward to an instance that was registered at the admin port.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceSpec {
    /// Its name: a template with what path and host capture, and with `{user}` and the like.
    pub name: String,
    /// Who may enter: `owner` (its owner, and members of its groups; the default), `owner_only`, `signed_in` (whoever
    /// proved who they are) or `anyone`.
    pub enter: Enter,
    /// The port of its host that is spoken to, in place of the one that it is registered with; the path of its URL is left
    /// out then. For hosts on which several programs listen.
    pub port: Option<PortSpec>,
    /// How https instances are verified, and what Pylon shows them.
    pub tls: UpstreamTlsSpec,
}

/// Who may enter an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enter {
    /// Its owner, and members of its groups.
    #[default]
    Owner,
    /// Its owner alone.
    OwnerOnly,
    /// Whoever proved who they are.
    SignedIn,
    /// Everybody.
    Anyone,
}

/// How long a request waits for its server to open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WaitSpec {
    /// The longest wait; default 90s.
    pub time: Option<Span>,
    /// How often the server is tried at most, 1s for each of the first two, and then longer; default: as often as fits into the time.
    pub tries: Option<Count>,
    /// Wait until the server answers HTTP on this path, whatever it says but 502, 503 and 504; default: until it takes a
    /// connection. Of https servers a connection is enough.
    pub http: Option<String>,
    /// For how long a server that was open is not looked at again; default 120s.
    pub remember: Option<Span>,
}

impl FromStr for WaitSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self { time: Some(text.parse()?), ..Self::default() })
    }
}
