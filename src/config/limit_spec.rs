//! What a config file can say of limits on how often requests may pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many requests may pass.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSpec {}
