//! Where the endpoints of a pool are: addresses as they stand, names through DNS, again when their TTL has passed.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::endpoint::Configured;
use crate::config::ResolverSpec;
use crate::config::value::Span;

/// How long a look-up may take in all.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// After a look-up that failed, the next one comes after this, then after twice as long, up to the most.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(30);

/// Looks names up, and remembers answers for their TTL. Shared by all pools and dynamic routes.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// The addresses of a name, and how long they are good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// All of them, in order.
    pub addresses: Vec<SocketAddr>,
    /// Until when.
    pub until: Option<Instant>,
}

impl Resolver {
    /// A resolver; without servers of its own, with those of the system.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn new(spec: &ResolverSpec) -> Result<Self, String> {
        let mut builder = if spec.servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system's DNS servers are not known; only its hosts file is used");
                TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
            })
        } else {
            let servers = spec.servers.iter().map(|server| {
                let address = server.or_port(53);
                let mut config = NameServerConfig::udp_and_tcp(address.ip());
                config.connections.iter_mut().for_each(|connection| connection.port = address.port());
                config
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = spec.timeout.map_or(Duration::from_secs(2), Span::duration);
        options.positive_min_ttl = Some(spec.min_ttl.map_or(Duration::from_secs(1), Span::duration));
        options.positive_max_ttl = Some(spec.max_ttl.map_or(Duration::from_secs(300), Span::duration));
        options.negative_max_ttl = Some(Duration::from_secs(1));
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// When it is a name that does not resolve in time.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Found, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Found { addresses: vec![SocketAddr::new(address, port)], until: None });
        }
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, self.0.lookup_ip(host));
        let answer = lookup.await.map_err(|_| "the look-up took too long")?.map_err(|error| error.to_string())?;
        let mut addresses: Vec<SocketAddr> = answer.iter().map(|ip| SocketAddr::new(ip, port)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        Ok(Found { addresses, until: Some(answer.valid_until()) })
    }
}

/// Looks up the endpoints of one pool. An answer that fails keeps the last good one.
pub(super) struct Lookup {
    upstream: String,
    resolver: Resolver,
    endpoints: Vec<Arc<Configured>>,
    known: Arc<Names>,
}

/// What is known of names, by host and port; a pool hands it on to the next one of its name.
pub(super) type Names = Mutex<HashMap<(String, u16), Known>>;

/// What is known of one name.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    addresses: Vec<SocketAddr>,
    /// When it is looked up again; never where it is an address.
    due: Option<Instant>,
    failures: u32,
}

impl Lookup {
    pub(super) fn new(
        upstream: String,
        resolver: Resolver,
        endpoints: Vec<Arc<Configured>>,
        known: Arc<Names>,
    ) -> Self {
        Self { upstream, resolver, endpoints, known }
    }

    /// When the next look-up is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |endpoint: &Arc<Configured>| known.get(&(endpoint.host.clone(), endpoint.port))?.due;
        self.endpoints.iter().filter_map(of).min()
    }

    async fn addresses(&self, endpoint: &Configured) -> Vec<SocketAddr> {
        let name = (endpoint.host.clone(), endpoint.port);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let now = Instant::now();
        if let Some(known) = &known
            && known.due.is_none_or(|due| due > now)
        {
            return known.addresses.clone();
        }
        let result = self.resolver.resolve(&endpoint.host, endpoint.port).await;
        let known = self.learn(endpoint, known.unwrap_or_default(), result);
        let addresses = known.addresses.clone();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, known);
        addresses
    }

    fn learn(&self, endpoint: &Configured, known: Known, result: Result<Found, String>) -> Known {
        let now = Instant::now();
        match result {
            Ok(found) => {
                if known.failures > 0 {
                    tracing::info!(upstream = %self.upstream, host = %endpoint.host, "the name resolves again");
                }
                // Never in a tight loop, whatever an answer says.
                let due = found.until.map(|until| until.max(now + Duration::from_millis(100)));
                Known { addresses: found.addresses, due, failures: 0 }
            }
            Err(error) => {
                if known.failures == 0 {
                    tracing::warn!(
                        upstream = %self.upstream, host = %endpoint.host, %error, kept = known.addresses.len(),
                        "the name does not resolve; addresses known before stay in use"
                    );
                }
                let pause = RETRY.saturating_mul(1 << known.failures.min(10)).min(MOST_RETRY);
                Known { due: Some(now + pause), failures: known.failures.saturating_add(1), ..known }
            }
        }
    }
}

#[async_trait]
impl ServiceDiscovery for Lookup {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let lookups = self.endpoints.iter().map(|endpoint| self.addresses(endpoint));
        let found = futures_util::future::join_all(lookups).await;
        let mut backends = BTreeSet::new();
        for (index, addresses) in found.into_iter().enumerate() {
            for address in addresses {
                let mut ext = http::Extensions::new();
                ext.insert(index);
                let weight = self.endpoints.get(index).map_or(1, |endpoint| endpoint.weight as usize);
                backends.insert(Backend { addr: address.into(), weight, ext });
            }
        }
        Ok((backends, HashMap::new()))
    }
}
