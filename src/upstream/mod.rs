//! Pools of servers: which endpoints they have now, which one an attempt goes to, and what becomes of it.
//!
//! An [`Upstream`] is made from a spec and never changes; what is learnt while it serves lives in its [`PoolState`] and in
//! the [`EndpointState`]s of its addresses, which the next [`Upstream`] of the same name takes over. Choosing reads a
//! [`Roster`], which is built anew by whoever changes something that it depends on.

mod balance;
mod breaker;
mod budget;
mod clock;
mod compile;
pub(crate) mod dial;
pub(crate) mod discovery;
mod endpoint;
mod health;
mod latency;
mod limits;
mod outside;
mod report;
mod roster;
mod sockets;
mod status;
mod sticky;
mod trust;
mod upkeep;
mod wait;
pub(crate) mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use once_cell::sync::OnceCell;
use pingora::protocols::{ALPN, Digest};
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::{Notify, watch};

use crate::config::value::Span;
use crate::config::{BalanceSpec, Protocol, UpstreamSpec, value::HashKey};
use crate::observe::PoolMetrics;
use balance::Ring;
use compile::Compiled;
use dial::Dialer;

pub use compile::{Mistake, check_retry};
pub use dial::Http1;
pub use discovery::Resolver;
pub use endpoint::{Configured, Endpoint, EndpointState, InFlight};
pub use limits::{Entered, Full};
pub use outside::Outside;
pub use roster::{Roster, Wish};
pub use sockets::Sockets;
pub use status::PoolStatus;
pub use wait::{Patience, Waits};
pub use wire::{Exchange, Times, Turn, Wire, intake};

/// How many streams one HTTP/2 connection carries.
const H2_STREAMS: usize = 100;
/// How long a connection is kept that nobody uses. Many servers close theirs after 5 to 60 seconds, and what finds its
/// connection closed has to try again; and what a burst left behind is given back soon.
const KEPT: Duration = Duration::from_secs(10);

/// What a pool has learnt; it stays over reloads for as long as a pool of this name is configured.
#[derive(Default)]
pub struct PoolState {
    /// The states of all addresses that some pool still has.
    endpoints: Mutex<HashMap<SocketAddr, Weak<EndpointState>>>,
    names: Arc<discovery::Names>,
    gate: Arc<limits::Gate>,
    budget: budget::Budget,
    breaker: breaker::Breaker,
    metrics: PoolMetrics,
    next: AtomicUsize,
    /// Whether no endpoint is usable, as was last said.
    panic: AtomicBool,
    /// Counts changes of endpoints' states, so that every pool that shares this sees them.
    changes: AtomicU64,
    changed: Notify,
}

/// A pool.
pub struct Upstream {
    /// Its name.
    pub name: String,
    spec: UpstreamSpec,
    compiled: Compiled,
    state: Arc<PoolState>,
    roster: ArcSwap<Roster>,
    /// One at a time builds the roster.
    rebuild: Mutex<Rebuild>,
    lookup: OnceCell<discovery::Lookup>,
    stop: watch::Sender<bool>,
}

/// What building a roster keeps from one time to the next.
#[derive(Default)]
struct Rebuild {
    ring: Option<Arc<Ring>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Checks a pool; `before` is the pool of this name in use, whose state is taken over. Nothing is looked up, connected or
    /// started yet. `file` finds a file that the configuration names.
    ///
    /// # Errors
    /// All mistakes.
    pub fn compile(
        name: &str,
        spec: &UpstreamSpec,
        before: Option<&Arc<Self>>,
        file: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Arc<Self>, Vec<Mistake>> {
        let compiled = compile::compile(name, spec, file)?;
        // What files hold is a part of the policy.
        if let Some(before) = before
            && before.spec == *spec
            && before.compiled.policy == compiled.policy
        {
            return Ok(Arc::clone(before));
        }
        Ok(Arc::new(Self {
            name: name.to_owned(),
            spec: spec.clone(),
            state: before.map(|before| Arc::clone(&before.state)).unwrap_or_default(),
            compiled,
            roster: ArcSwap::default(),
            rebuild: Mutex::default(),
            lookup: OnceCell::new(),
            stop: watch::channel(false).0,
        }))
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.compiled.https { "https" } else { "http" }
    }

    /// The path that the URLs of all endpoints have in common, without a final slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.compiled.base_path
    }

    /// The servers as configured.
    #[must_use]
    pub fn configured(&self) -> &[Arc<Configured>] {
        &self.compiled.endpoints
    }

    /// What is counted of it.
    #[must_use]
    pub fn metrics(&self) -> &PoolMetrics {
        &self.state.metrics
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// Whether its servers are spoken to in HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        self.spec.protocol == Protocol::H2
    }

    /// Chooses the endpoint of an attempt; `None` when no address is known.
    #[must_use]
    pub fn choose(&self, wish: &Wish<'_>) -> Option<Arc<Endpoint>> {
        let roster = self.roster.load();
        let open_only = self.compiled.limits.is_some_and(|limits| limits.connections != u32::MAX) && {
            let open: u32 = roster.all.iter().map(|endpoint| endpoint.state.open()).sum();
            open >= self.compiled.limits.map_or(u32::MAX, |limits| limits.connections)
        };
        let wish = Wish { open_only, shares: self.is_h2(), ..*wish };
        roster.choose(&wish, &self.state.next).cloned()
    }

    /// Whether there is an endpoint that was not tried.
    #[must_use]
    pub fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.roster.load().untried(tried) > 0
    }

    /// Whether the server that was connected to is the one whose certificate is pinned, where one is.
    #[must_use]
    pub fn believes(&self, digest: Option<&Digest>) -> bool {
        self.compiled.trust.believes(digest.and_then(|digest| digest.ssl_digest.as_deref()))
    }

    /// What is hashed of a request, where this pool hashes.
    pub fn key<'a>(&self, headers: &'a HeaderMap, client: &'a [u8]) -> Option<&'a [u8]> {
        match &self.spec.balance {
            BalanceSpec::Hash(HashKey::ClientIp) => Some(client),
            BalanceSpec::Hash(HashKey::Header(name)) => headers.get(name.get()).map(http::HeaderValue::as_bytes),
            BalanceSpec::Hash(HashKey::Cookie(name)) => {
                sticky::cookie(headers.get_all(http::header::COOKIE).iter(), name).map(str::as_bytes)
            }
            _ => None,
        }
    }

    /// The value of a request's sticky cookie.
    pub fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let sticky = self.compiled.sticky.as_ref()?;
        sticky::cookie(headers.get_all(http::header::COOKIE).iter(), &sticky.cookie)
    }

    /// The sticky cookie that an answer of this endpoint sets, where the client did not have it.
    #[must_use]
    pub fn bind(&self, endpoint: &Endpoint, token: Option<&str>, secure: bool) -> Option<http::HeaderValue> {
        let sticky = self.compiled.sticky.as_ref()?;
        if endpoint.token.is_empty() || token == Some(endpoint.token.as_str()) {
            return None;
        }
        sticky.set_cookie(&endpoint.token, secure)
    }

    /// Lets a request in, within the limits of the pool; `None` where there are none.
    ///
    /// # Errors
    /// When it cannot be let in.
    pub async fn enter(&self) -> Result<Option<Entered>, Full> {
        self.state.budget.request();
        match self.compiled.limits {
            None => Ok(None),
            Some(limits) => self.state.gate.enter(limits, self.is_h2()).await.map(Some),
        }
    }

    /// Lets a request pass the circuit breaker; whether it is the one that is to see.
    ///
    /// # Errors
    /// How long the breaker stays open.
    pub fn pass(&self) -> Result<bool, Duration> {
        self.compiled.breaker.map_or(Ok(false), |rule| self.state.breaker.pass(rule))
    }

    /// Whether the budget has room for one more attempt of a request that a server may have seen.
    #[must_use]
    pub fn may_retry(&self, share: f64) -> bool {
        self.state.budget.take(share)
    }

    fn peer(&self, configured: &Configured, address: SocketAddr, state: &Arc<EndpointState>) -> HttpPeer {
        let name =
            if self.compiled.https { self.compiled.trust.name(&configured.host).to_owned() } else { String::new() };
        let mut peer = HttpPeer::new(address, self.compiled.https, name);
        self.compiled.trust.apply(&mut peer);
        let connect = self.spec.timeouts.connect.map_or(DEFAULT_CONNECT, Span::duration);
        peer.options.custom_l4 =
            Some(Arc::new(Dialer { state: Some(Arc::clone(state)), timeout: connect, preamble: Vec::new() }));
        peer.options.idle_timeout = Some(KEPT);
        peer.group_key = self.compiled.policy;
        match self.spec.protocol {
            Protocol::Http1 => peer.options.alpn = dial::http1(),
            Protocol::H2 => {
                peer.options.alpn = ALPN::H2;
                peer.options.max_h2_streams = H2_STREAMS;
            }
        }
        peer
    }
}

/// How long a connection may take, where nothing is configured.
pub const DEFAULT_CONNECT: Duration = Duration::from_secs(5);

impl PoolState {
    /// Tells all pools that share this of a change.
    fn change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}

/// Makes a peer's connections take this long at most, in place of the pool's own time, and begin with a preamble.
pub fn connect_within(peer: &mut HttpPeer, endpoint: Option<&Endpoint>, connect: Duration, preamble: Vec<u8>) {
    let state = endpoint.map(|endpoint| Arc::clone(&endpoint.state));
    peer.options.custom_l4 = Some(Arc::new(Dialer { state, timeout: connect, preamble }));
}

#[cfg(test)]
mod tests;
