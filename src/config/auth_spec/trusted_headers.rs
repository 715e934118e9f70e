//! What a config file can say of `auth: { trusted_headers: … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::read::OneOrMany;
use crate::config::spec::CidrList;
use crate::config::value::HeaderName;

/// Headers that a sign-in proxy before Pylon sets. What anybody else sends under their names passes on no route.
/// Each of them is a claim as well, called after the header in lower case: `{claim:remote_user}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedHeadersSpec {
    /// The networks of the sign-in proxies: the other end of the connection, whatever `X-Forwarded-For` says.
    pub from: OneOrMany<CidrList>,
    /// The header with the user; default `REMOTE_USER`.
    pub user: Option<HeaderName>,
    /// Headers with the parts of their name among people, which are joined by blanks.
    pub name: OneOrMany<HeaderName>,
    /// The header with their mail address.
    pub mail: Option<HeaderName>,
    /// The header with their groups.
    pub groups: Option<HeaderName>,
    /// How the header with the groups is written; default `dn`.
    pub groups_form: Option<GroupsForm>,
    /// What stands between the groups: one character that is not `,` between names of a directory. Default `;` there, `,`
    /// between plain names.
    pub groups_separator: Option<String>,
}

/// How groups are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupsForm {
    /// Names of a directory (RFC 4514), `CN=staff,OU=groups,DC=example,DC=org`: the group is called as its CN.
    #[default]
    Dn,
    /// Plain names.
    Names,
}
