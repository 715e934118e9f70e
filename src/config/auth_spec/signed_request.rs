//! What a config file can say of `auth: { signed_request: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::read::{OneOrMany, StringOr};
use crate::config::redis_spec::RedisSpec;
use crate::config::value::{Flag, HeaderName, Span};

/// Requests that are signed with a secret that the client and Pylon share: HMAC-SHA256 over the parts of the request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignedRequestSpec {
    /// The words that `Authorization` may begin with: `MyScheme signMethod=HMAC-SHA256, credential=KEY:SIGNATURE`.
    pub schemes: OneOrMany<String>,
    /// The headers that the date is taken from, the first that is there; default `Date`.
    pub date: OneOrMany<HeaderName>,
    /// How far the date may be from now, 1s to 1d; default 15m.
    pub within: Option<Span>,
    /// The headers that the version of the protocol is taken from, the first that is there. It is signed as
    /// `name:value`; default: there is none.
    pub version: OneOrMany<HeaderName>,
    /// The version from which on bodies are not signed. Without it, and for versions before it, a request with a body is
    /// refused, unless it is `multipart/form-data`: Pylon does not read bodies to check them.
    pub unsigned_body_from: Option<String>,
    /// Let a signature pass once only on this instance. Clients that repeat a request must sign it again.
    pub once: Flag,
    /// Where the secrets are.
    pub keys: SignedKeysSpec,
}

/// Where the secrets of signed requests are: exactly one of `file` and `redis`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignedKeysSpec {
    /// A YAML or JSON file: access key → secret, or `{ secret: …, user: …, groups: […] }`. A change is taken over by
    /// itself. Others than its owner and group may not read it.
    pub file: Option<String>,
    /// A Redis server with a hash for each access key: `secret`, and maybe `user` and `groups` (separated by commas).
    pub redis: Option<StringOr<RedisSpec>>,
    /// What stands before the access key there; default `pylon:key:`.
    pub prefix: Option<String>,
    /// How long what Redis says is used, up to 1h; default 10s. A key that is not there is asked for again as seldom.
    pub cache: Option<Span>,
}
