//! What is counted of an upstream's endpoint, and of a pool.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::Outcome;
use super::codes::{CodeCounts, CodeSums};
use super::families::Family;
use super::histogram::{Durations, Histogram};
use super::shards::Sharded;

/// How an attempt can fail by the endpoint's fault, or on the way to it.
const FAILURES: [Outcome; 7] = [
    Outcome::ConnectFailed,
    Outcome::ConnectTimeout,
    Outcome::TlsFailed,
    Outcome::UpstreamTimeout,
    Outcome::RequestTimeout,
    Outcome::UpstreamBroken,
    Outcome::UpstreamCut,
];

/// The metrics of an endpoint.
#[derive(Debug, Default)]
pub struct EndpointMetrics {
    parts: Sharded<Part>,
    ejections: AtomicU64,
}

#[derive(Debug, Default)]
struct Part {
    codes: CodeCounts,
    failures: [AtomicU64; FAILURES.len()],
}

impl EndpointMetrics {
    /// An attempt is over: its answer's status, and how it failed, if it did.
    pub fn attempt(&self, status: Option<StatusCode>, failure: Option<Outcome>) {
        let part = self.parts.mine();
        part.codes.count(status);
        let column = failure.and_then(|failure| FAILURES.iter().position(|one| *one == failure));
        if let Some(column) = column {
            part.failures[column].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It was ejected.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    fn codes(&self) -> CodeSums {
        let mut sums = CodeSums::default();
        self.parts.all().for_each(|part| part.codes.add_to(&mut sums));
        sums
    }

    fn failures(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let count = |column: usize| self.parts.sum(|part| part.failures[column].load(Ordering::Relaxed));
        FAILURES.into_iter().enumerate().map(move |(column, failure)| (failure, count(column)))
    }

    /// Attempts, and how many of them failed.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.codes().total(), self.failures().map(|(_, count)| count).sum())
    }
}

/// The metrics of a pool, besides those of its endpoints.
#[derive(Debug, Default)]
pub struct PoolMetrics {
    retries: AtomicU64,
    connects: Histogram,
}

impl PoolMetrics {
    /// A request is tried once more.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was made, in this time.
    pub fn connected(&self, took: std::time::Duration) {
        self.connects.observe(took);
    }

    /// Attempts beyond the first.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// A pool, as metrics see it.
#[derive(Debug)]
pub struct PoolSample<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is counted.
    pub metrics: &'a PoolMetrics,
    /// Whether no endpoint is usable.
    pub panic: bool,
    /// Whether its breaker is open, where it has one.
    pub breaker_open: Option<bool>,
    /// Requests that wait for a place.
    pub queued: u32,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSample<'a>>,
}

/// An endpoint, as metrics see it.
#[derive(Debug)]
pub struct EndpointSample<'a> {
    /// Where it is.
    pub address: String,
    /// What is counted.
    pub metrics: &'a EndpointMetrics,
    /// Whether it gets requests.
    pub healthy: bool,
    /// Requests in flight.
    pub in_flight: u32,
    /// Connections.
    pub connections: u32,
    /// The average time to the first byte, in seconds.
    pub latency: f64,
}

/// The families of pools, which are added one by one.
#[derive(Debug)]
pub struct PoolFamilies {
    retries: Family,
    connects: Family,
    endpoints: Family,
    panic: Family,
    breaker: Family,
    queued: Family,
    requests: Family,
    failures: Family,
    healthy: Family,
    ejections: Family,
    in_flight: Family,
    connections: Family,
    latency: Family,
}

impl Default for PoolFamilies {
    fn default() -> Self {
        Self {
            retries: Family::counter("pylon_upstream_retries_total", "Attempts beyond a request's first."),
            connects: Family::histogram(
                "pylon_upstream_connect_duration_seconds",
                "How long new connections to a pool's endpoints took, TLS included.",
            ),
            endpoints: Family::gauge("pylon_upstream_endpoints", "Addresses that are known of a pool."),
            panic: Family::gauge("pylon_upstream_panic", "1 while no endpoint is usable, so that all are tried."),
            breaker: Family::gauge("pylon_upstream_breaker_open", "1 while the circuit breaker holds requests back."),
            queued: Family::gauge("pylon_upstream_queued_requests", "Requests that wait for a place in the pool."),
            requests: Family::counter("pylon_upstream_requests_total", "Attempts, by the upstream's status."),
            failures: Family::counter("pylon_upstream_failures_total", "Attempts that failed, by how."),
            healthy: Family::gauge("pylon_upstream_healthy", "1 where the endpoint gets requests."),
            ejections: Family::counter("pylon_upstream_ejections_total", "How often the endpoint was ejected."),
            in_flight: Family::gauge("pylon_upstream_requests_in_flight", "Requests in flight."),
            connections: Family::gauge("pylon_upstream_connections", "Connections, idle ones included."),
            latency: Family::gauge(
                "pylon_upstream_latency_seconds",
                "The average time to the first byte; peaks count at once.",
            ),
        }
    }
}

impl PoolFamilies {
    /// Adds a pool.
    pub fn push(&mut self, pool: &PoolSample<'_>) {
        let labels = [("upstream", pool.name)];
        let mut durations = Durations::default();
        pool.metrics.connects.add_to(&mut durations);
        self.retries.push_count(&labels, pool.metrics.retries());
        self.connects.push_durations(&labels, &durations);
        self.endpoints.push_count(&labels, pool.endpoints.len() as u64);
        self.panic.push_count(&labels, u64::from(pool.panic));
        if let Some(open) = pool.breaker_open {
            self.breaker.push_count(&labels, u64::from(open));
        }
        self.queued.push_count(&labels, u64::from(pool.queued));
        pool.endpoints.iter().for_each(|endpoint| self.push_endpoint(pool.name, endpoint));
    }

    fn push_endpoint(&mut self, pool: &str, endpoint: &EndpointSample<'_>) {
        let labels = [("upstream", pool), ("endpoint", endpoint.address.as_str())];
        let [upstream, address] = labels;
        for (code, count) in endpoint.metrics.codes().nonzero() {
            self.requests.push_count(&[upstream, address, ("code", &code)], count);
        }
        for (failure, count) in endpoint.metrics.failures().filter(|(_, count)| *count > 0) {
            self.failures.push_count(&[upstream, address, ("reason", failure.as_str())], count);
        }
        self.healthy.push_count(&labels, u64::from(endpoint.healthy));
        self.ejections.push_count(&labels, endpoint.metrics.ejections.load(Ordering::Relaxed));
        self.in_flight.push_count(&labels, u64::from(endpoint.in_flight));
        self.connections.push_count(&labels, u64::from(endpoint.connections));
        self.latency.push(&labels, endpoint.latency);
    }

    /// All of them.
    #[must_use]
    pub fn into_vec(self) -> Vec<Family> {
        vec![
            self.retries,
            self.connects,
            self.endpoints,
            self.panic,
            self.breaker,
            self.queued,
            self.requests,
            self.failures,
            self.healthy,
            self.ejections,
            self.in_flight,
            self.connections,
            self.latency,
        ]
    }
}
