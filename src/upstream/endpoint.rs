//! One address of a pool, and what is known about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use super::health::Health;
use super::latency::Latency;
use crate::observe::EndpointMetrics;

/// A server as it was configured.
#[derive(Debug, PartialEq, Eq)]
pub struct Configured {
    /// `host[:port]` as written, for the `Host` header.
    pub authority: HeaderValue,
    /// Host without brackets, for look-ups.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Its share of requests; 0: no new clients.
    pub weight: u32,
}

/// An address of a pool, with what a request to it needs.
#[derive(Debug)]
pub struct Endpoint {
    /// What was configured.
    pub configured: Arc<Configured>,
    /// Where it is.
    pub address: SocketAddr,
    /// What is known about it.
    pub state: Arc<EndpointState>,
    /// A peer to clone for each attempt.
    pub peer: HttpPeer,
    /// The value of a sticky cookie that leads here; empty where there is none.
    pub token: String,
}

/// What is known about an address. It lives as long as the address is in the pool, whatever a reload changes.
#[derive(Debug, Default)]
pub struct EndpointState {
    in_flight: AtomicU32,
    open: AtomicU32,
    /// How fast it answers.
    pub latency: Latency,
    /// Whether it works.
    pub health: Health,
    /// What is counted of it.
    pub metrics: EndpointMetrics,
}

impl EndpointState {
    /// Counts a request until the result is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Counts a connection until the result is dropped.
    #[must_use]
    pub fn connected(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections, idle ones included.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Open(Arc<EndpointState>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
