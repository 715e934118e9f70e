//! The endpoints of a pool as they are chosen from: built anew when one comes, goes, or changes its health.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::balance::{Ring, Turns, Two};
use super::clock;
use super::endpoint::{Endpoint, EndpointState};
use crate::config::BalanceSpec;

/// How far a ring is followed for an endpoint that can be used.
const RING_STEPS: usize = 4096;

/// What a request brings to the choice of its endpoint.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wish<'a> {
    /// What is hashed, where the pool hashes.
    pub key: Option<&'a [u8]>,
    /// The value of the sticky cookie.
    pub token: Option<&'a str>,
    /// The addresses that were tried already.
    pub tried: &'a [SocketAddr],
    /// Whether the request needs a connection that is open already, as the pool may not have more.
    pub open_only: bool,
    /// Whether requests share connections.
    pub shares: bool,
}

impl Wish<'_> {
    /// How many connections are taken by the requests in flight: over HTTP/2 they share one.
    fn streams(&self, endpoint: &Endpoint) -> u32 {
        if self.shares { 0 } else { endpoint.state.in_flight() }
    }

    fn fits(&self, endpoint: &Endpoint) -> bool {
        !self.tried.contains(&endpoint.address) && (!self.open_only || endpoint.state.open() > self.streams(endpoint))
    }
}

/// The endpoints of a pool at a time.
#[derive(Default)]
pub struct Roster {
    /// All, in the order of the configuration.
    pub all: Vec<Arc<Endpoint>>,
    /// Those that get new clients.
    usable: Vec<Arc<Endpoint>>,
    /// What is known of each of those, and its weight, by the same index: a comparison needs no more.
    states: Vec<(Arc<EndpointState>, u32)>,
    by_token: HashMap<String, Arc<Endpoint>>,
    method: Method,
    /// How long a slow start takes, where one is under way; else 0.
    slow_start: u64,
    /// Whether no endpoint is usable, so that all are tried.
    pub panic: bool,
}

#[derive(Default)]
enum Method {
    #[default]
    None,
    Turns(Turns),
    LeastRequests(Two),
    PeakEwma(Two),
    Hash(Arc<Ring>),
}

impl Roster {
    /// The roster of these endpoints. `ring` has all of them that have a weight, where the pool hashes.
    #[must_use]
    pub(super) fn new(
        all: Vec<Arc<Endpoint>>,
        balance: &BalanceSpec,
        ring: Option<&Arc<Ring>>,
        slow_start: u64,
    ) -> Self {
        let now = clock::now();
        let weighted = || all.iter().filter(|endpoint| endpoint.configured.weight > 0);
        let mut usable: Vec<Arc<Endpoint>> =
            weighted().filter(|endpoint| endpoint.state.health.is_usable(now)).cloned().collect();
        let panic = usable.is_empty() && weighted().next().is_some();
        if panic {
            usable = weighted().cloned().collect();
        }
        let weights: Vec<u32> = usable.iter().map(|endpoint| endpoint.configured.weight).collect();
        let method = match (balance, ring) {
            (BalanceSpec::LeastRequests, _) => Method::LeastRequests(Two::new(&weights)),
            (BalanceSpec::PeakEwma, _) => Method::PeakEwma(Two::new(&weights)),
            (BalanceSpec::Hash(_), Some(ring)) => Method::Hash(Arc::clone(ring)),
            (BalanceSpec::RoundRobin, _) | (BalanceSpec::Hash(_), None) => Method::Turns(Turns::new(&weights)),
        };
        let by_token = all.iter().filter(|endpoint| !endpoint.token.is_empty());
        let by_token = by_token.map(|endpoint| (endpoint.token.clone(), Arc::clone(endpoint))).collect();
        let cold = usable.iter().any(|endpoint| endpoint.state.health.warmth(now, slow_start) < 1.0);
        let states = usable.iter().map(|endpoint| (Arc::clone(&endpoint.state), endpoint.configured.weight)).collect();
        Self { usable, states, by_token, method, slow_start: if cold && !panic { slow_start } else { 0 }, panic, all }
    }

    /// Whether a slow start is under way, so that this has to be built again soon.
    #[must_use]
    pub fn is_warming(&self) -> bool {
        self.slow_start != 0
    }

    /// Chooses the endpoint of an attempt: one that was not tried, where there is one. Allocates nothing, takes no lock.
    #[must_use]
    pub fn choose(&self, wish: &Wish<'_>, next: &AtomicUsize) -> Option<&Arc<Endpoint>> {
        if let Some(bound) = wish.token.and_then(|token| self.by_token.get(token)) {
            // A weight of 0 sends no new clients; those that are bound stay.
            if wish.fits(bound) && (self.panic || bound.state.health.is_usable(clock::now())) {
                return Some(bound);
            }
        }
        self.by_method(wish, next).or_else(|| self.otherwise(wish, next))
    }

    /// What is left when a wish cannot be met: better another endpoint than one more attempt at the same, even if that
    /// takes a connection too many.
    fn otherwise(&self, wish: &Wish<'_>, next: &AtomicUsize) -> Option<&Arc<Endpoint>> {
        let any = wish.open_only.then(|| self.by_method(&Wish { open_only: false, ..*wish }, next)).flatten();
        any.or_else(|| self.by_method(&Wish { tried: &[], open_only: false, ..*wish }, next))
    }

    /// How many endpoints are left that were not tried.
    #[must_use]
    pub fn untried(&self, tried: &[SocketAddr]) -> usize {
        self.usable.iter().filter(|endpoint| !tried.contains(&endpoint.address)).count()
    }

    fn by_method(&self, wish: &Wish<'_>, next: &AtomicUsize) -> Option<&Arc<Endpoint>> {
        match &self.method {
            Method::None => None,
            Method::Turns(turns) => self.in_turn(turns, wish, next),
            Method::LeastRequests(two) => {
                self.of_two(two, wish, |state, weight| f64::from(state.in_flight()) / f64::from(weight))
            }
            Method::PeakEwma(two) => {
                let now = clock::now();
                self.of_two(two, wish, |state, _| {
                    let in_flight = f64::from(state.in_flight());
                    let latency = state.latency.micros(now);
                    // One that has not answered yet gets a first request, and no second one before that is answered.
                    if latency == 0.0 && in_flight > 0.0 { f64::MAX } else { latency * (in_flight + 1.0) }
                })
            }
            Method::Hash(ring) => self.by_hash(ring, wish),
        }
    }

    fn in_turn(&self, turns: &Turns, wish: &Wish<'_>, next: &AtomicUsize) -> Option<&Arc<Endpoint>> {
        let start = next.fetch_add(1, Ordering::Relaxed);
        let mut last = None;
        for step in 0..turns.len() {
            let endpoint = self.usable.get(turns.at(start.wrapping_add(step)))?;
            if wish.fits(endpoint) {
                if self.is_warm(endpoint) {
                    return Some(endpoint);
                }
                last = last.or(Some(endpoint));
            }
        }
        last
    }

    fn of_two(&self, two: &Two, wish: &Wish<'_>, cost: impl Fn(&EndpointState, u32) -> f64) -> Option<&Arc<Endpoint>> {
        let (first, second) = two.pick()?;
        let pair = [self.usable.get(first)?, self.usable.get(second)?];
        let fits = pair.map(|endpoint| wish.fits(endpoint) && self.is_warm(endpoint));
        match fits {
            [true, true] => {
                let costs = [first, second].map(|i| self.states.get(i).map(|(state, weight)| cost(state, *weight)));
                Some(if costs[1] < costs[0] { pair[1] } else { pair[0] })
            }
            [true, false] => Some(pair[0]),
            [false, true] => Some(pair[1]),
            [false, false] => {
                let all = self.usable.iter().cycle().skip(first).take(self.usable.len());
                let cost = |endpoint: &Endpoint| cost(&endpoint.state, endpoint.configured.weight.max(1));
                all.filter(|endpoint| wish.fits(endpoint)).min_by(|a, b| cost(a).total_cmp(&cost(b)))
            }
        }
    }

    fn by_hash(&self, ring: &Ring, wish: &Wish<'_>) -> Option<&Arc<Endpoint>> {
        let random: [u8; 8];
        let key = match wish.key {
            Some(key) => key,
            None => {
                random = fastrand::u64(..).to_ne_bytes();
                &random
            }
        };
        let now = clock::now();
        for index in ring.of(key).take(RING_STEPS) {
            let endpoint = self.all.get(index)?;
            if wish.fits(endpoint) && (self.panic || endpoint.state.health.is_usable(now)) {
                return Some(endpoint);
            }
        }
        self.usable.iter().find(|endpoint| wish.fits(endpoint))
    }

    fn is_warm(&self, endpoint: &Endpoint) -> bool {
        self.slow_start == 0 || fastrand::f64() < endpoint.state.health.warmth(clock::now(), self.slow_start)
    }
}
