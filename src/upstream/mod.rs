//! Pools of servers: which addresses they have now, and which one the next request goes to.

pub(crate) mod discovery;
pub(crate) mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use pingora_load_balancing::{Backend, Backends};
use tokio::sync::watch;

use crate::config::UpstreamSpec;
use discovery::Lookup;

/// How often the addresses of names are looked up again.
const REFRESH: Duration = Duration::from_secs(10);

/// A mistake in a pool: the index of the endpoint where there is one, the key, and what to write.
pub type Mistake = (Option<usize>, &'static str, String);

/// A server as it was configured.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host[:port]` as written, for the `Host` header.
    pub authority: HeaderValue,
    /// Host without brackets, for look-ups.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Its share of requests.
    pub weight: usize,
}

/// An address of an endpoint, with what a connection to it needs.
#[derive(Debug)]
pub struct Server {
    /// The endpoint that it belongs to.
    pub endpoint: Arc<Endpoint>,
    /// Where it is.
    pub address: SocketAddr,
    /// A peer to clone for each attempt.
    pub peer: HttpPeer,
}

/// A pool.
pub struct Upstream {
    /// Its name.
    pub name: String,
    spec: UpstreamSpec,
    endpoints: Vec<Arc<Endpoint>>,
    base_path: String,
    tls: bool,
    backends: Backends,
    servers: ArcSwap<Vec<Arc<Server>>>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Checks a pool. Nothing is looked up or connected yet.
    ///
    /// # Errors
    /// For each mistake the index of the endpoint where there is one, the key, and what to write.
    pub fn compile(name: &str, spec: &UpstreamSpec) -> Result<Self, Vec<Mistake>> {
        let mut problems = Vec::new();
        let first = spec.endpoints.first();
        if first.is_none() {
            let message = "a pool without endpoints serves nobody; list one URL at least";
            problems.push((None, "endpoints", message.to_owned()));
        }
        let (tls, base_path) = first.map_or((false, ""), |e| (e.url.is_https(), e.url.base_path()));
        let mut endpoints = Vec::new();
        for (index, endpoint) in spec.endpoints.iter().enumerate() {
            let url = &endpoint.url;
            if url.is_https() != tls || url.base_path() != base_path {
                let message = format!(
                    "`{url}` differs from the first endpoint in its scheme or path; the endpoints of a pool share them, \
                     make another upstream of it"
                );
                problems.push((Some(index), "url", message));
            }
            match compile_endpoint(endpoint) {
                Ok(endpoint) => endpoints.push(Arc::new(endpoint)),
                Err((key, message)) => problems.push((Some(index), key, message)),
            }
        }
        if !endpoints.is_empty() && endpoints.iter().all(|e| e.weight == 0) {
            let message = "all weights are 0, so no server gets requests; give one a weight of 1 to 1000";
            problems.push((None, "endpoints", message.to_owned()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let lookup = Lookup::new(name.to_owned(), endpoints.clone());
        Ok(Self {
            name: name.to_owned(),
            base_path: base_path.to_owned(),
            tls,
            spec: spec.clone(),
            endpoints,
            backends: Backends::new(Box::new(lookup)),
            servers: ArcSwap::default(),
            next: AtomicUsize::new(0),
            stop: watch::channel(false).0,
        })
    }

    /// Whether this pool is what a spec describes, so that it can be carried over.
    #[must_use]
    pub fn is(&self, name: &str, spec: &UpstreamSpec) -> bool {
        self.name == name && self.spec == *spec
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The path that the URLs of all endpoints have in common, without a final slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The servers as configured.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// The addresses that are known now, one for each share of the weights.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// The server for the next request, in turn; `skip` counts the attempts that this request has made already.
    #[must_use]
    pub fn choose(&self, tried: &[SocketAddr]) -> Option<Arc<Server>> {
        let servers = self.servers.load();
        let count = servers.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turn = (0..count).filter_map(|step| servers.get(start.wrapping_add(step) % count));
        let untried = turn.clone().find(|server| !tried.contains(&server.address));
        untried.or_else(|| turn.next()).cloned()
    }

    /// Looks all addresses up once.
    pub async fn resolve(&self) {
        if let Err(error) = self.backends.update(|_| {}).await {
            tracing::warn!(upstream = %self.name, %error, "no address is known");
        }
        let found = self.backends.get_backend();
        let servers: Vec<(Arc<Server>, usize)> =
            found.iter().filter_map(|b| Some((self.server(b)?, b.weight))).collect();
        self.servers.store(Arc::new(spread(&servers)));
    }

    /// Looks names up again until the pool is dropped or stopped. Pools of plain addresses need no second look.
    pub fn keep_fresh(self: &Arc<Self>) {
        let literal = self.endpoints.iter().all(|e| e.host.parse::<std::net::IpAddr>().is_ok());
        if literal {
            return;
        }
        let pool = Arc::downgrade(self);
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REFRESH) => {}
                    _ = stop.changed() => return,
                }
                match pool.upgrade() {
                    Some(pool) => pool.resolve().await,
                    None => return,
                }
            }
        });
    }

    fn server(&self, backend: &Backend) -> Option<Arc<Server>> {
        let endpoint = backend.ext.get::<Arc<Endpoint>>()?;
        let address = *backend.addr.as_inet()?;
        let name = self.spec.tls.server_name.clone();
        let sni = name.unwrap_or_else(|| endpoint.host.clone());
        Some(Arc::new(Server {
            endpoint: Arc::clone(endpoint),
            address,
            peer: peer(address, self.tls.then_some(sni), self.spec.tls.verify.as_ref().is_none_or(|v| v.0)),
        }))
    }
}

/// A peer for an address; with a name it speaks TLS.
#[must_use]
pub fn peer(address: SocketAddr, tls_name: Option<String>, verify: bool) -> HttpPeer {
    let tls = tls_name.is_some();
    let mut peer = HttpPeer::new(address, tls, tls_name.unwrap_or_default());
    peer.options.verify_cert = verify;
    peer.options.verify_hostname = verify;
    peer
}

fn compile_endpoint(spec: &crate::config::EndpointSpec) -> Result<Endpoint, (&'static str, String)> {
    let url = &spec.url;
    let weight = spec.weight.as_ref().map_or(1, |weight| weight.0);
    if weight > 1000 {
        return Err(("weight", format!("{weight} is too much; write 0 to 1000")));
    }
    let authority = HeaderValue::from_str(url.authority())
        .map_err(|_| ("url", format!("`{}` cannot stand in a Host header", url.authority())))?;
    Ok(Endpoint { authority, host: url.host().to_owned(), port: url.port(), weight: weight as usize })
}

/// Spreads servers over turns in proportion to their weights, each as evenly as can be (smooth weighted round robin,
/// as nginx does it).
fn spread(servers: &[(Arc<Server>, usize)]) -> Vec<Arc<Server>> {
    let divisor = servers.iter().fold(0, |a, (_, weight)| gcd(a, *weight)).max(1);
    let weights: Vec<i64> = servers.iter().map(|(_, w)| i64::try_from(w / divisor).unwrap_or(i64::MAX)).collect();
    let total: i64 = weights.iter().sum();
    let mut current = vec![0_i64; servers.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        for (value, weight) in current.iter_mut().zip(&weights) {
            *value += weight;
        }
        let best = (0..servers.len()).max_by_key(|&i| (current[i], std::cmp::Reverse(i)));
        if let Some(best) = best {
            current[best] -= total;
            turns.push(Arc::clone(&servers[best].0));
        }
    }
    turns
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(urls: &[&str]) -> Upstream {
        let endpoints: Vec<String> = urls.iter().map(|u| format!("{{url: '{u}', weight: 1}}")).collect();
        let yaml = format!("endpoints: [{}]", endpoints.join(", "));
        Upstream::compile("test", &serde_yaml::from_str(&yaml).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn servers_take_turns_and_what_was_tried_comes_last() {
        let pool = pool(&["http://127.0.0.1:1", "http://127.0.0.2:1"]);
        assert!(pool.choose(&[]).is_none());
        pool.resolve().await;
        let first = pool.choose(&[]).unwrap().address;
        let second = pool.choose(&[]).unwrap().address;
        assert_ne!(first, second);
        assert_eq!(pool.choose(&[first]).unwrap().address, second);
        assert_eq!(pool.choose(&[first]).unwrap().address, second);
        assert!(pool.choose(&[first, second]).is_some());
    }

    #[test]
    fn weights_spread_evenly() {
        let server = |n: u8, weight| {
            let address = SocketAddr::from(([127, 0, 0, n], 1));
            let endpoint =
                Arc::new(Endpoint { authority: HeaderValue::from_static("x"), host: "x".into(), port: 1, weight });
            (Arc::new(Server { endpoint, address, peer: peer(address, None, true) }), weight)
        };
        let turns = spread(&[server(1, 20), server(2, 10)]);
        let last: Vec<String> = turns.iter().map(|s| s.address.ip().to_string()).collect();
        assert_eq!(last, ["127.0.0.1", "127.0.0.2", "127.0.0.1"]);
    }
}
