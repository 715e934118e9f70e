//! How long a route waits for its upstream, and how often it tries.

use std::time::Duration;

use crate::config::value::{Count, Percent, Span, StatusRange};
use crate::config::{RetrySpec, TimeoutsSpec};

/// How long Pylon waits for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// Whether that is the route's own, and not the pool's.
    pub connect_differs: bool,
    /// For a TLS handshake.
    pub tls: Duration,
    /// For the first byte of the answer.
    pub first_byte: Duration,
    /// For the next byte.
    pub idle: Duration,
    /// For the whole request.
    pub request: Option<Duration>,
}

/// When a request that failed is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: usize,
    /// The share of requests that may be tried again though a server may have seen them.
    pub budget: f64,
    /// Statuses after which an idempotent request is tried again.
    pub statuses: Vec<StatusRange>,
}

impl Timeouts {
    /// A route's timeouts over its upstream's over the defaults.
    pub(super) fn new(route: &TimeoutsSpec, upstream: Option<&TimeoutsSpec>) -> Self {
        let pool = upstream.cloned().unwrap_or_default();
        let pick = |own: Option<Span>, pool: Option<Span>| own.or(pool).map(Span::duration);
        let idle = pick(route.idle, pool.idle).unwrap_or(Duration::from_secs(3600));
        Self {
            connect: pick(route.connect, pool.connect).unwrap_or(crate::upstream::DEFAULT_CONNECT),
            connect_differs: route.connect.is_some_and(|own| Some(own) != pool.connect),
            tls: pick(route.tls, pool.tls).unwrap_or(Duration::from_secs(5)),
            first_byte: pick(route.first_byte, pool.first_byte).unwrap_or(idle),
            idle,
            request: pick(route.request, pool.request).filter(|time| !time.is_zero()),
        }
    }
}

impl Retry {
    /// A route's retries over its upstream's over the defaults.
    pub(super) fn new(route: &RetrySpec, upstream: Option<&RetrySpec>) -> Self {
        let pool = upstream.cloned().unwrap_or_default();
        let statuses = if route.statuses.is_empty() { &pool.statuses } else { &route.statuses };
        Self {
            attempts: route.attempts.or(pool.attempts).map_or(3, Count::as_usize),
            budget: route.budget.or(pool.budget).map_or(0.2, Percent::ratio),
            statuses: statuses.to_vec(),
        }
    }
}
