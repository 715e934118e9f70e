//! What a config file can say of instances, which come and go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::OneOrMany;
use super::value::{HttpUrl, Secret, Span};

/// Where registered instances are kept: in a `file`, or in `etcd` for a fleet. With neither they are kept in memory, and
/// a restart forgets them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstancesSpec {
    /// A file of Pylon's own that keeps them over restarts. Its folder must be there, and be Pylon's to write.
    pub file: Option<String>,
    /// An etcd cluster that keeps them for all Pylons of a fleet.
    pub etcd: Option<EtcdSpec>,
    /// Where instances may be: networks, names and ports as in `dynamic.allow`. Default: everywhere but at special
    /// addresses (loopback, link-local, cloud metadata, unspecified, multicast), which need an entry of their own, such as
    /// `127.0.0.0/8`.
    pub allow: OneOrMany<String>,
}

/// An etcd cluster, version 3.4 or later, spoken to through its JSON gateway.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdSpec {
    /// Its members, `http://10.0.0.1:2379`; the next is asked when one does not answer.
    pub endpoints: OneOrMany<HttpUrl>,
    /// What the keys of instances begin with; it ends in `/`. Default `/pylon/instances/`.
    pub prefix: Option<String>,
    /// The user to sign in as, where the cluster has users.
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, deserialize_with = "super::value::optional_secret")]
    pub password: Option<Secret>,
    /// How `https` endpoints are verified, and what they are shown.
    #[serde(default)]
    pub tls: EtcdTlsSpec,
    /// How long a member has to answer before it counts as away, 100ms to 20s; default 2s.
    pub deadline: Option<Span>,
    /// A file for a copy of what is known, from which a start during an outage serves. Default: there is none.
    pub cache: Option<String>,
    /// How old the copy may be at such a start; default 1h. A Pylon that runs keeps it fresh, during an outage too.
    pub cache_max_age: Option<Span>,
}

/// TLS towards etcd.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdTlsSpec {
    /// A PEM file of the authorities that are believed; default: those of the system.
    pub ca: Option<String>,
    /// A PEM file of a certificate that Pylon shows, with `key`; default: it shows none.
    pub cert: Option<String>,
    /// A PEM file of the certificate's key.
    pub key: Option<String>,
}
