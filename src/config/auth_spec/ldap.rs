//! What a config file can say of `auth: { ldap: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See the module of the step.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdapSpec {}
