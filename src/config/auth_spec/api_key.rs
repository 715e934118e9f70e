//! What a config file can say of `auth: { api_key: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Flag, HeaderName};

/// Keys of programs, checked against a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeySpec {
    /// The file of keys: lines `name:sha256:HEX` with the SHA-256 of a key, or `name:KEY` with a key of 32 bytes or more;
    /// groups may follow, `name:sha256:HEX:staff,dev`. It is taken over when it changes, within 2s. Up to 16MiB.
    pub file: String,
    /// The header that holds a key; default `X-API-Key` where neither `scheme` nor `query` is there.
    pub header: Option<HeaderName>,
    /// The scheme of `Authorization` behind which a key stands: `Bearer`.
    pub scheme: Option<String>,
    /// The parameter of the query that holds a key. The upstream gets it all the same, and so do logs along the way.
    pub query: Option<String>,
    /// Whether the upstream gets the header with the key; default false.
    pub forward_credentials: Flag,
}
