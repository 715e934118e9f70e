//! What a config file can say of a Redis server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Redis server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisSpec {}
