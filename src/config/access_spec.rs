//! What a config file can say of who may pass, and of what an upstream is told about them.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::{OneOrMany, present};
use super::spec::CidrList;

/// Which client addresses may pass. The address is that of the client, as trusted proxies before Pylon tell it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSpec {
    /// Networks that may pass; default: all that are not denied.
    #[serde(deserialize_with = "present")]
    pub allow: Option<OneOrMany<CidrList>>,
    /// Networks that may not, even where they are allowed.
    #[serde(deserialize_with = "present")]
    pub deny: Option<OneOrMany<CidrList>>,
}

/// Who may pass of those that proved who they are. Each key that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequireSpec {
    /// Users; one of them.
    #[serde(deserialize_with = "present")]
    pub users: Option<OneOrMany<String>>,
    /// Groups; one of them is enough.
    #[serde(deserialize_with = "present")]
    pub groups: Option<OneOrMany<String>>,
    /// Claims: name → the value, or the values of which it has one. A claim that is a list fits by one of its items.
    pub claims: BTreeMap<String, OneOrMany<String>>,
}

/// The value of a header that tells the upstream who asks: a template, or one text for each group.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityHeaderSpec {
    /// A template with `{user}`, `{name}`, `{mail}`, `{groups}` (separated by commas) and `{claim:NAME}`. The header is
    /// left out where one of them is not known, or begins or ends with a blank.
    pub value: Option<String>,
    /// What is written for each group, with `{group}`: `CN={group},OU=groups`. A group whose name holds the separator, or a
    /// `,` or `=` and the like that stands around it, is left out: it could pass for another.
    pub each_group: Option<String>,
    /// What stands between them; default `,`.
    pub separator: Option<String>,
}

impl FromStr for IdentityHeaderSpec {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { value: Some(text.to_owned()), ..Self::default() })
    }
}
