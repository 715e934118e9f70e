//! The services of PAI: REST server, Kubernetes, HDFS, YARN, Prometheus, Grafana and the portals.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::Router;

use super::{Background, Ports, in_background, site, transfer};

mod blocks;
mod dashboard;
mod datanode;
mod exec;
mod files;
mod grafana;
mod hdfs_call;
mod hdfs_pages;
mod kubernetes;
mod portal;
mod prometheus;
mod rest;
mod tour;
mod webhdfs;
mod yarn;

pub(super) use tour::tour;

/// One of the stand-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Rest,
    Kubernetes,
    NameNode,
    DataNode,
    Prometheus,
    AlertManager,
    ResourceManager,
    NodeManager,
    Dashboard,
    Grafana,
    Portal,
}

impl Service {
    const ALL: [Self; 11] = [
        Self::Rest,
        Self::Kubernetes,
        Self::NameNode,
        Self::DataNode,
        Self::Prometheus,
        Self::AlertManager,
        Self::ResourceManager,
        Self::NodeManager,
        Self::Dashboard,
        Self::Grafana,
        Self::Portal,
    ];

    /// Those that Pylon reaches by the address in a path, not by a variable: they have to be on its allow-list.
    const DYNAMIC: [Self; 3] = [Self::DataNode, Self::ResourceManager, Self::NodeManager];

    /// The variable that names this service to Pylon, if one does.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Rest => Some("REST_SERVER_URI"),
            Self::Kubernetes => Some("K8S_API_SERVER_URI"),
            Self::NameNode => Some("WEBHDFS_URI"),
            Self::Prometheus => Some("PROMETHEUS_URI"),
            Self::AlertManager => Some("ALERT_MANAGER_URI"),
            Self::ResourceManager => Some("YARN_WEB_PORTAL_URI"),
            Self::Dashboard => Some("K8S_DASHBOARD_URI"),
            Self::Grafana => Some("GRAFANA_URI"),
            Self::Portal => Some("PAI_WEB_PORTAL_URI"),
            Self::DataNode | Self::NodeManager => None,
        }
    }

    /// The port to try first; 0 is any.
    fn preferred_port(self, ports: Ports) -> u16 {
        match (ports, self) {
            (Ports::Familiar, Self::ResourceManager) => 8088,
            (Ports::Familiar, Self::NodeManager) => 8042,
            _ => 0,
        }
    }

    fn router(self, all: Addresses, files: &Arc<files::Files>) -> Router {
        match self {
            Self::Rest => rest::router(all),
            Self::Kubernetes => kubernetes::router(),
            Self::NameNode => webhdfs::router(all, Arc::clone(files)),
            Self::DataNode => datanode::router(Arc::clone(files)),
            Self::Prometheus => prometheus::router(all),
            Self::AlertManager => prometheus::alertmanager(),
            Self::ResourceManager => yarn::resource_manager(all),
            Self::NodeManager => yarn::node_manager(all),
            Self::Dashboard => dashboard::router(),
            Self::Grafana => grafana::router(all),
            Self::Portal => portal::router(all),
        }
    }
}

/// Where each stand-in listens: its port, in the order of the services.
#[derive(Clone, Copy, Debug)]
struct Addresses([u16; Service::ALL.len()]);

impl Addresses {
    fn of(&self, service: Service) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0[service as usize]).into()
    }

    /// As `http://127.0.0.1:port`.
    fn uri(&self, service: Service) -> String {
        format!("http://{}", self.of(service))
    }
}

/// The running stand-ins. They stop when this is dropped.
#[derive(Debug)]
pub(super) struct StandIns {
    addresses: Addresses,
    _background: Background,
}

impl StandIns {
    /// The variables that make Pylon's stand-alone mode lead to the stand-ins.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let named = Service::ALL.iter().filter_map(|service| Some((service.variable()?, self.addresses.uri(*service))));
        let allowed = Service::DYNAMIC.map(|service| self.addresses.of(service).to_string());
        named.chain([("PYLON_DYNAMIC_ALLOW", allowed.join(","))]).collect()
    }

    /// Stops all of them, with the connections that are open.
    #[cfg(test)]
    fn shutdown(self) {
        drop(self);
    }
}

/// Starts the stand-ins on free ports of 127.0.0.1.
///
/// # Errors
///
/// When a socket or a thread cannot be had.
#[cfg(test)]
pub(super) async fn start() -> io::Result<StandIns> {
    start_on(Ports::Ephemeral).await
}

/// Starts the stand-ins on the ports that `ports` says.
///
/// # Errors
///
/// When a socket or a thread cannot be had.
pub(super) async fn start_on(ports: Ports) -> io::Result<StandIns> {
    let (addresses, background) = in_background(open(ports)).await?;
    Ok(StandIns { addresses, _background: background })
}

/// Binds all sockets before it serves any, since pages link to each other.
async fn open(ports: Ports) -> io::Result<Addresses> {
    let mut addresses = Addresses([0; Service::ALL.len()]);
    let mut bound = Vec::new();
    for service in Service::ALL {
        let listener = site::bind(service.preferred_port(ports)).await?;
        addresses.0[service as usize] = listener.local_addr()?.port();
        bound.push((service, listener));
    }
    let files = Arc::new(files::Files::with_samples());
    for (service, listener) in bound {
        site::serve(listener, service.router(addresses, &files));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::{connect, get};

    #[test]
    fn all_is_in_the_order_of_the_addresses() {
        assert!(Service::ALL.iter().enumerate().all(|(at, service)| *service as usize == at));
    }

    #[tokio::test]
    async fn environment_names_what_answers() {
        let all = start().await.unwrap();
        let environment = all.environment();
        let addresses: Vec<_> = environment.iter().filter_map(|(_, v)| v.strip_prefix("http://")).collect();
        assert_eq!(addresses.len(), 9);
        for address in addresses {
            let status = get(address.parse().unwrap(), "/").await.status;
            assert!(status < 500, "{address} answers {status}");
        }
        let (name, allowed) = environment.last().unwrap();
        assert_eq!(*name, "PYLON_DYNAMIC_ALLOW");
        assert_eq!(allowed.split(',').filter(|a| a.starts_with("127.0.0.1:")).count(), 3);
    }

    #[tokio::test]
    async fn dropping_ends_open_connections() {
        let all = start().await.unwrap();
        let portal = all.addresses.of(Service::Portal);
        let mut stream = connect(portal, "GET /sse HTTP/1.1\r\nhost: x\r\n\r\n").await;
        stream.until("data: ").await;
        all.shutdown();
        stream.rest().await;
    }

    #[tokio::test]
    async fn tour_names_the_public_address() {
        let all = start().await.unwrap();
        let text = tour("http://127.0.0.1:8080/", &all);
        assert!(text.contains("http://127.0.0.1:8080/rest-server/api/v1/headers"), "{text}");
        assert!(!text.contains("8080//"), "{text}");
    }
}
