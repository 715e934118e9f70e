//! What a config file can say of `auth: { ldap: … }`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GroupsForm;
use crate::config::read::OneOrMany;
use crate::config::value::{Flag, Secret, Span, optional_secret};

/// User names and passwords (RFC 7617), asked of a directory (RFC 4511).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdapSpec {
    /// The servers, of which the first that answers is asked: `ldaps://ldap.example.org`, `ldap://10.0.0.1:389`. Passwords
    /// cross the network, in the clear without TLS.
    pub url: OneOrMany<String>,
    /// Begin TLS on `ldap:` connections before anything else is said (RFC 4511 §4.14); default false.
    pub starttls: Flag,
    /// A PEM file with the authorities of the servers' certificates; default: those of the system.
    pub ca: Option<String>,
    /// The name of a user's entry: `uid={user},ou=people,dc=example,dc=org`; or `search`.
    pub user_dn: Option<String>,
    /// How a user's entry is found; or `user_dn`.
    pub search: Option<LdapSearchSpec>,
    /// The name as which Pylon itself searches; default: anonymous for `search`, the user for the rest.
    pub bind_dn: Option<String>,
    /// The password of `bind_dn`.
    #[serde(deserialize_with = "optional_secret")]
    pub bind_password: Option<Secret>,
    /// The attribute of a user's entry that the user is called after, as directories find one in any case; default: the
    /// first that `user_dn` or `filter` compares with `{user}`.
    pub user: Option<String>,
    /// The attribute with their name among people; default `cn`.
    pub name: Option<String>,
    /// The attribute with their mail address; default `mail`.
    pub mail: Option<String>,
    /// The attribute with their groups; default `memberOf`.
    pub groups: Option<String>,
    /// What the groups in it are called: `dn` after their CN, `names` as they stand there; default `dn`.
    pub groups_form: Option<GroupsForm>,
    /// How groups are found besides, by a search of their own.
    pub group_search: Option<LdapGroupSearchSpec>,
    /// Further attributes that become claims: claim → attribute.
    pub claims: BTreeMap<String, String>,
    /// What browsers show when they ask for a password; default `Pylon`.
    pub realm: Option<String>,
    /// Whether the upstream gets `Authorization`; default false.
    pub forward_credentials: Flag,
    /// How long to wait for a connection; default 2s.
    pub connect_timeout: Option<Span>,
    /// How long to wait for all of an answer, whichever servers are asked; default 5s.
    pub timeout: Option<Span>,
    /// How long a good answer is remembered: a user who is shut out may pass for so long; default 1m; `0s`: not at all.
    pub remember: Option<Span>,
    /// How long a bad answer is remembered; default 5s; `0s`: not at all.
    pub remember_bad: Option<Span>,
    /// How many questions are asked at once; default 32.
    pub connections: Option<crate::config::value::Count>,
}

/// How a user's entry is found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdapSearchSpec {
    /// Below which entry: `ou=people,dc=example,dc=org`.
    pub base: String,
    /// Which one: `(uid={user})`. It must find one, and no second.
    pub filter: String,
}

/// How the groups of a user are found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdapGroupSearchSpec {
    /// Below which entry: `ou=groups,dc=example,dc=org`.
    pub base: String,
    /// Which ones: `(member={dn})`, `(memberUid={user})`.
    pub filter: String,
    /// The attribute that a group is called after; default `cn`.
    pub attribute: Option<String>,
}
