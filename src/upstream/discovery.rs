//! Where the endpoints of a pool are: addresses as they stand, names through DNS, again when their TTL has passed.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::endpoint::Configured;
use crate::config::ResolverSpec;
use crate::config::value::Span;

/// How long a look-up may take in all.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer of the other family is waited for, when one has come.
const OTHER_FAMILY: Duration = Duration::from_millis(500);
/// After a look-up that failed, the next one comes after this, then after twice as long, up to the most.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(30);

/// Looks names up, and remembers answers for their TTL. Shared by all pools and dynamic routes.
#[derive(Clone)]
pub struct Resolver {
    /// One for each family, so that a server which is silent about one does not hide the other.
    families: [TokioResolver; 2],
    /// Whether there is no server to ask, and the hosts file says all there is.
    alone: bool,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// The addresses of a name, and how long they are good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of IPv4 and IPv6, each in order; `None` for a family whose look-up failed, which says nothing about its addresses.
    families: [Option<Vec<SocketAddr>>; 2],
    /// Until when.
    until: Option<Instant>,
}

impl Found {
    /// All addresses, those of IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.families.iter().flatten().flatten().copied().collect()
    }

    /// Whether that is known of both families.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.families.iter().all(Option::is_some)
    }
}

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    reason: String,
    /// Whether it is known that there is none; else nobody told.
    pub is_certain: bool,
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Resolver {
    /// A resolver; without servers of its own, with those of the system.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn new(spec: &ResolverSpec) -> Result<Self, String> {
        let families = [LookupIpStrategy::Ipv4Only, LookupIpStrategy::Ipv6Only];
        let [v4, v6] = families.map(|family| build(spec, family));
        let alone = spec.servers.is_empty() && TokioResolver::builder_tokio().is_err();
        Ok(Self { families: [v4?, v6?], alone })
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// When it is a name that does not resolve in time.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Found, Unresolved> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Found { families: [Some(vec![SocketAddr::new(address, port)]), Some(Vec::new())], until: None });
        }
        let [v4, v6] = &self.families;
        let (mut first, mut second) = (Box::pin(v4.lookup_ip(host)), Box::pin(v6.lookup_ip(host)));
        let deadline = tokio::time::sleep(LOOKUP_TIMEOUT);
        tokio::pin!(deadline);
        let mut answers = [None, None];
        while answers.iter().any(Option::is_none) {
            tokio::select! {
                answer = &mut first, if answers[0].is_none() => answers[0] = Some(answer),
                answer = &mut second, if answers[1].is_none() => answers[1] = Some(answer),
                () = &mut deadline => break,
            }
            if answers.iter().flatten().any(Result::is_ok) {
                let soon = deadline.deadline().min(tokio::time::Instant::now() + OTHER_FAMILY);
                deadline.as_mut().reset(soon);
            }
        }
        together(&answers, port).map_err(|error| Unresolved { is_certain: error.is_certain || self.alone, ..error })
    }
}

/// What both families answered, as far as they did.
fn together(answers: &[Option<Result<LookupIp, NetError>>; 2], port: u16) -> Result<Found, Unresolved> {
    let family = |answer: &Option<Result<LookupIp, NetError>>| match answer {
        Some(Ok(found)) => {
            let mut addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Some(addresses)
        }
        Some(Err(error)) if error.is_no_records_found() => Some(Vec::new()),
        Some(Err(_)) | None => None,
    };
    let until = answers.iter().flatten().flatten().map(LookupIp::valid_until).min();
    let found = Found { families: answers.each_ref().map(family), until };
    if found.families.iter().flatten().flatten().next().is_none() {
        let error = answers.iter().flatten().find_map(|answer| answer.as_ref().err());
        let reason = error.map_or_else(|| "the look-up took too long".to_owned(), ToString::to_string);
        return Err(Unresolved { reason, is_certain: found.is_whole() });
    }
    Ok(found)
}

fn build(spec: &ResolverSpec, family: LookupIpStrategy) -> Result<TokioResolver, String> {
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
    options.ip_strategy = family;
    options.timeout = spec.timeout.map_or(Duration::from_secs(2), Span::duration);
    let (least, most) = lifetime(spec);
    options.positive_min_ttl = Some(least);
    options.positive_max_ttl = Some(most);
    // A name that has no address now may have one soon.
    options.negative_max_ttl = Some(Duration::ZERO);
    builder.build().map_err(|error| error.to_string())
}

/// How long an answer is used at least, and at most. What is not said gives way to what is.
fn lifetime(spec: &ResolverSpec) -> (Duration, Duration) {
    let least = spec.min_ttl.map_or(Duration::from_secs(1), Span::duration);
    let most = spec.max_ttl.map_or(least.max(Duration::from_secs(300)), Span::duration);
    (least.min(most), most)
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
    /// Of IPv4 and IPv6.
    families: [Vec<SocketAddr>; 2],
    /// When it is looked up again; never where it is an address.
    due: Option<Instant>,
    failures: u32,
}

impl Lookup {
    /// Names that the pool no longer has are forgotten.
    pub(super) fn new(
        upstream: String,
        resolver: Resolver,
        endpoints: Vec<Arc<Configured>>,
        known: Arc<Names>,
    ) -> Self {
        let has = |(host, port): &(String, u16)| endpoints.iter().any(|e| e.host == *host && e.port == *port);
        known.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| has(name));
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
            return known.families.concat();
        }
        let result = self.resolver.resolve(&endpoint.host, endpoint.port).await;
        let known = self.learn(endpoint, known.unwrap_or_default(), result);
        let addresses = known.families.concat();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, known);
        addresses
    }

    fn learn(&self, endpoint: &Configured, known: Known, result: Result<Found, Unresolved>) -> Known {
        let now = Instant::now();
        match result {
            Ok(found) => {
                if known.failures > 0 {
                    tracing::info!(upstream = %self.upstream, host = %endpoint.host, "the name resolves again");
                }
                // Never in a tight loop, whatever an answer says.
                let due = found.until.map(|until| until.max(now + Duration::from_millis(100)));
                let half = found.families.iter().any(Option::is_none);
                let due = if half { due.map(|due| due.min(now + RETRY)) } else { due };
                let mut before = known.families.into_iter();
                let families = found.families.map(|family| {
                    let before = before.next().unwrap_or_default();
                    family.unwrap_or(before)
                });
                Known { families, due, failures: 0 }
            }
            Err(error) => {
                if known.failures == 0 {
                    tracing::warn!(
                        upstream = %self.upstream, host = %endpoint.host, %error, kept = known.families.concat().len(),
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
