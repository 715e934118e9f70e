//! A pool as people and machines see it.

use std::sync::Arc;

use super::health::Shown;
use super::{Upstream, clock};
use crate::observe::{EndpointSample, PoolSample};

/// The state of a pool.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How endpoints are chosen.
    pub balance: serde_json::Value,
    /// Whether no endpoint is usable, so that all are tried.
    pub panic: bool,
    /// `closed`, `open` or `half_open`, where there is a breaker.
    pub breaker: Option<&'static str>,
    /// Requests in flight, where they are limited.
    pub in_flight: Option<u32>,
    /// Requests that wait for their turn.
    pub waiting: u32,
    /// Attempts beyond a request's first.
    pub retries: u64,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// The state of an endpoint.
#[derive(Debug, Clone, serde::Serialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: String,
    /// `host[:port]` as configured.
    pub configured: String,
    /// Its share of requests.
    pub weight: u32,
    /// Whether it works, and why not.
    #[serde(flatten)]
    pub health: Shown,
    /// Requests in flight.
    pub in_flight: u32,
    /// Connections, idle ones included.
    pub connections: u32,
    /// The average time to the first byte of its answers, in milliseconds; peaks count at once.
    pub latency_ms: f64,
    /// Attempts.
    pub requests: u64,
    /// Attempts that failed.
    pub failures: u64,
}

impl Upstream {
    /// The state of this pool.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let now = clock::now();
        let roster = self.roster.load();
        PoolStatus {
            name: self.name.clone(),
            balance: serde_json::to_value(&self.spec.balance).unwrap_or_default(),
            panic: roster.panic,
            breaker: self.compiled.breaker.map(|_| self.state.breaker.phase()),
            in_flight: self.compiled.limits.map(|_| self.state.gate.inside()),
            waiting: self.state.gate.waiting(),
            retries: self.state.metrics.retries(),
            endpoints: roster
                .all
                .iter()
                .map(|endpoint| (endpoint, endpoint.state.metrics.totals()))
                .map(|(endpoint, (requests, failures))| EndpointStatus {
                    requests,
                    failures,
                    address: endpoint.address.to_string(),
                    configured: String::from_utf8_lossy(endpoint.configured.authority.as_bytes()).into_owned(),
                    weight: endpoint.configured.weight,
                    health: endpoint.state.health.shown(now),
                    in_flight: endpoint.state.in_flight(),
                    connections: endpoint.state.open(),
                    latency_ms: (endpoint.state.latency.average().as_secs_f64() * 1e6).round() / 1e3,
                })
                .collect(),
        }
    }

    /// Why requests to this pool cannot go well, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        let roster = self.roster.load();
        if roster.all.is_empty() {
            Some("no address is known")
        } else {
            roster.panic.then_some("no endpoint is usable")
        }
    }

    /// What metrics tell of this pool; `take` gets it.
    pub fn sample(&self, take: &mut dyn FnMut(&PoolSample<'_>)) {
        let now = clock::now();
        let roster = self.roster.load();
        let endpoints = roster.all.iter().map(|endpoint| EndpointSample {
            address: endpoint.address.to_string(),
            metrics: &endpoint.state.metrics,
            healthy: endpoint.state.health.is_usable(now),
            in_flight: endpoint.state.in_flight(),
            connections: endpoint.state.open(),
            latency: endpoint.state.latency.average().as_secs_f64(),
        });
        take(&PoolSample {
            name: &self.name,
            metrics: &self.state.metrics,
            panic: roster.panic,
            breaker_open: self.compiled.breaker.map(|_| self.state.breaker.phase() != "closed"),
            queued: self.state.gate.waiting(),
            endpoints: endpoints.collect(),
        });
    }

    /// What is known of an address, for tests and tools.
    #[must_use]
    pub fn endpoint(&self, address: std::net::SocketAddr) -> Option<Arc<super::Endpoint>> {
        self.roster.load().all.iter().find(|endpoint| endpoint.address == address).cloned()
    }
}
