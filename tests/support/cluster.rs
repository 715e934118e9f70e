//! A whole cluster behind Pylon: one upstream for each service, and the environment that names them.

use std::collections::BTreeMap;
use std::ops::Index;

use super::endpoint::{Endpoint, Seen};
use super::pylon::{Launch, Pylon};
use super::upstream::Upstream;

const SERVICES: [(&str, &str); 13] = [
    ("rest", "REST_SERVER_URI"),
    ("kubernetes", "K8S_API_SERVER_URI"),
    ("webhdfs", "WEBHDFS_URI"),
    ("prometheus", "PROMETHEUS_URI"),
    ("alert-manager", "ALERT_MANGER_URI"),
    ("dashboard", "K8S_DASHBOARD_URI"),
    ("yarn", "YARN_WEB_PORTAL_URI"),
    ("grafana", "GRAFANA_URI"),
    ("dshuttle", "DSHUTTLE_URI"),
    ("marketplace-api", "MARKETPLACE_API_URI"),
    ("marketplace", "MARKETPLACE_WEBPORTAL_PLUGIN"),
    ("registry-cache", "DOCKER_CACHE_PLUGIN"),
    ("portal", "PAI_WEB_PORTAL_URI"),
];

/// The services, by name; see [`Cluster::start`].
pub(crate) struct Cluster {
    services: BTreeMap<&'static str, Endpoint>,
}

impl Cluster {
    /// All services, each answering 200 with its name.
    pub(crate) async fn start() -> Cluster {
        Cluster::with([]).await
    }

    /// All services, these (known by their names) as described and the others answering 200 with their names.
    pub(crate) async fn with(special: impl IntoIterator<Item = Upstream>) -> Cluster {
        let mut special: BTreeMap<_, _> = special.into_iter().map(|upstream| (upstream.name(), upstream)).collect();
        let mut services = BTreeMap::new();
        for (name, _) in SERVICES {
            let upstream = special.remove(name).unwrap_or_else(|| Upstream::named(name));
            services.insert(name, upstream.start().await);
        }
        assert!(special.is_empty(), "no such service: {:?}", special.keys());
        Cluster { services }
    }

    /// The same, with a Pylon before them that may lead to any loopback address.
    pub(crate) async fn behind_pylon(special: impl IntoIterator<Item = Upstream>) -> (Cluster, Pylon) {
        let cluster = Cluster::with(special).await;
        let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").start().await;
        (cluster, pylon)
    }

    /// A Pylon before all of them, in a cluster with YARN.
    pub(crate) fn pylon(&self) -> Launch {
        self.pylon_without(&[])
    }

    /// A Pylon before all but these.
    pub(crate) fn pylon_without(&self, left_out: &[&str]) -> Launch {
        let kept = SERVICES.iter().filter(|(name, _)| !left_out.contains(name));
        let launch = Pylon::standalone().env("CLUSTER_TYPE", "yarn");
        kept.fold(launch, |launch, (name, variable)| launch.env(variable, self[name].uri()))
    }

    /// Who got what since the last call, as `name: METHOD target`.
    pub(crate) fn took(&self) -> Vec<String> {
        let lines = |(name, service): (&&str, &Endpoint)| {
            service.take().iter().map(|seen| format!("{name}: {}", seen.line())).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(lines).collect()
    }

    /// The requests that the services have seen, whoever got them.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.services.values().flat_map(Endpoint::seen).collect()
    }
}

impl Index<&str> for Cluster {
    type Output = Endpoint;

    fn index(&self, name: &str) -> &Endpoint {
        self.services.get(name).unwrap_or_else(|| panic!("no service {name}"))
    }
}
