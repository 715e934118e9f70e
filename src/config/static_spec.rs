//! What a config file can say of files that are served.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files of a folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSpec {
    /// The folder; a relative path is relative to the config file.
    pub folder: String,
}

impl FromStr for StaticSpec {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { folder: text.to_owned() })
    }
}
