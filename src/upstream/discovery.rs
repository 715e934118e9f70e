//! Where the endpoints of a pool are: addresses as they stand, names through the system's resolver.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::Endpoint;

/// How long a look-up may take.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks up the endpoints of one pool. An answer that fails keeps the last good one.
pub(super) struct Lookup {
    upstream: String,
    endpoints: Vec<Arc<Endpoint>>,
    last_good: Mutex<HashMap<usize, Vec<SocketAddr>>>,
    failing: Mutex<BTreeSet<usize>>,
}

impl Lookup {
    pub(super) fn new(upstream: String, endpoints: Vec<Arc<Endpoint>>) -> Self {
        Self { upstream, endpoints, last_good: Mutex::default(), failing: Mutex::default() }
    }

    async fn addresses(&self, index: usize, endpoint: &Endpoint) -> Vec<SocketAddr> {
        let result = resolve(&endpoint.host, endpoint.port).await;
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(addresses) => {
                if failing.remove(&index) {
                    tracing::info!(upstream = %self.upstream, host = %endpoint.host, "the name resolves again");
                }
                last_good.insert(index, addresses.clone());
                addresses
            }
            Err(error) => {
                let kept = last_good.get(&index).cloned().unwrap_or_default();
                if failing.insert(index) {
                    tracing::warn!(
                        upstream = %self.upstream, host = %endpoint.host, %error, kept = kept.len(),
                        "the name does not resolve; addresses known before stay in use"
                    );
                }
                kept
            }
        }
    }
}

/// The addresses of a host.
///
/// # Errors
/// When it is a name that does not resolve in time.
pub(crate) async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)));
    let mut found: Vec<SocketAddr> = lookup
        .await
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the look-up took too long"))??
        .collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

#[async_trait]
impl ServiceDiscovery for Lookup {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut found = BTreeSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.weight == 0 {
                continue;
            }
            for address in self.addresses(index, endpoint).await {
                let mut ext = http::Extensions::new();
                ext.insert(Arc::clone(endpoint));
                found.insert(Backend { addr: address.into(), weight: endpoint.weight, ext });
            }
        }
        Ok((found, HashMap::new()))
    }
}
