//! What a config file can say of instances, which come and go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where registered instances are kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstancesSpec {}
