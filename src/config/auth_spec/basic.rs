//! What a config file can say of `auth: { basic: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Flag;

/// User names and passwords (RFC 7617), checked against a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BasicSpec {
    /// The file of users, as `htpasswd -B` makes it: lines `user:hash`, with hashes of bcrypt or Argon2. It is taken over
    /// when it changes, within 2s. Up to 16MiB.
    pub file: String,
    /// A file of groups: lines `group: user user`. It is taken over when it changes.
    pub groups: Option<String>,
    /// What browsers show when they ask for a password; default `Pylon`.
    pub realm: Option<String>,
    /// Whether the upstream gets `Authorization`; default false.
    pub forward_credentials: Flag,
}
