//! What a config file can say: one struct for each mapping, its doc comments the reference of its keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::instance_spec::InstancesSpec;
use super::listener_spec::ListenerSpec;
use super::log_spec::{LogSpec, RecorderSpec, TracingSpec};
use super::pool_spec::UpstreamSpec;
use super::read::OneOrMany;
use super::route_spec::RouteSpec;
use super::value::{Cidr, ListenAddress, Secret, ServerAddress, Span};

/// A config file. The process part (`listeners`, `admin`, `workers`, `grace_period`, `upgrade_socket`, `log`,
/// `recorder`, `tracing`, `resolver`, `instances`) is read at start; all else
/// is reloaded live.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Addresses that clients connect to. A change needs a restart.
    pub listeners: Vec<ListenerSpec>,
    /// The operator's port: metrics, probes, reload. A change needs a restart.
    pub admin: Option<AdminSpec>,
    /// Worker threads of the data path: a number, or `auto` for one for each core. A change needs a restart.
    pub workers: Workers,
    /// How long a stop waits for requests in flight before it cuts them; default 30s. A change needs a restart.
    pub grace_period: Option<Span>,
    /// A UNIX socket at which a new process (`pylon run --upgrade`) takes over the listening sockets of the running one
    /// when that gets QUIT; default: there is none. A change needs a restart.
    pub upgrade_socket: Option<String>,
    /// What is logged, and where. A change needs a restart; `pylon log-level` changes levels without one.
    pub log: LogSpec,
    /// The last requests are kept in memory, for `pylon why`. A change needs a restart.
    pub recorder: RecorderSpec,
    /// Export of traces. A change needs a restart.
    pub tracing: TracingSpec,
    /// How names are looked up. A change needs a restart.
    pub resolver: ResolverSpec,
    /// Where registered instances are kept. A change needs a restart.
    pub instances: Option<InstancesSpec>,
    /// Built-in route files, by name: `pai`, `backend-ai`.
    pub systems: Vec<String>,
    /// Further route files, as paths or globs relative to this file; read in the order of their names.
    pub include: Vec<String>,
    /// Addresses of proxies before Pylon whose `X-Forwarded-For` is believed and appended to; a comma-separated
    /// string or a list.
    pub trusted_proxies: OneOrMany<CidrList>,
    /// The pools of servers behind Pylon, by name.
    pub upstreams: BTreeMap<String, UpstreamSpec>,
    /// Named bundles of route keys; a route takes them over with `use`.
    #[schemars(with = "BTreeMap<String, RouteSpec>")]
    pub defaults: BTreeMap<String, serde_yaml::Mapping>,
    /// Which request goes where.
    pub routes: Vec<RouteSpec>,
}

/// The admin port.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminSpec {
    /// Address and port, such as `127.0.0.1:9180`; beyond loopback it needs a `token`. A change needs a restart.
    pub address: ListenAddress,
    /// What clients have to send as `Authorization: Bearer TOKEN`, 16 characters at least; without one, everyone on
    /// this machine is let in. A new one is taken over by a reload.
    #[serde(default, deserialize_with = "super::value::optional_secret")]
    pub token: Option<Secret>,
}

/// How many worker threads carry requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    #[default]
    Auto,
    /// This many, 1 to 1024.
    Exactly(u16),
}

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count @ 1..=1024) => Ok(Self::Exactly(count)),
            _ => Err(format!("`{text}` is not a number of threads; write 1 to 1024, or `auto`")),
        }
    }
}

impl std::fmt::Display for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(count) => count.fmt(f),
        }
    }
}

super::value::scalar!(Workers, "a number of threads, or `auto`", {
    "type": ["string", "integer"],
    "pattern": "^([0-9]+|auto)$"
});
super::value::serialize_as_text!(Workers);

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolverSpec {
    /// DNS servers, as addresses with an optional port (53); default: those of `/etc/resolv.conf`.
    pub servers: Vec<ServerAddress>,
    /// How long one server has to answer; default 2s.
    pub timeout: Option<Span>,
    /// How long an answer is used at least, whatever its TTL says; default 1s.
    pub min_ttl: Option<Span>,
    /// How long an answer is used at most, whatever its TTL says; default 5m.
    pub max_ttl: Option<Span>,
}

/// CIDRs in one string, separated by commas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CidrList(pub Vec<Cidr>);

impl std::str::FromStr for CidrList {
    type Err = super::value::ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for CidrList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

super::value::scalar!(CidrList, "networks, separated by commas", { "type": "string" });
super::value::serialize_as_text!(CidrList);
