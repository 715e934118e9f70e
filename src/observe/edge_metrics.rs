//! What is counted of clients' connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::families::Family;
use super::shards::Sharded;

/// What a client's connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing yet: the PROXY header or the TLS handshake is awaited.
    Opening,
    /// HTTP/1.
    Http1,
    /// HTTP/1 under TLS.
    Http1Tls,
    /// HTTP/2.
    Http2,
    /// HTTP/2 under TLS.
    Http2Tls,
}

impl Protocol {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Opening, Self::Http1, Self::Http1Tls, Self::Http2, Self::Http2Tls];

    /// What is spoken, once that is known.
    #[must_use]
    pub fn spoken(http2: bool, tls: bool) -> Self {
        match (http2, tls) {
            (false, false) => Self::Http1,
            (false, true) => Self::Http1Tls,
            (true, false) => Self::Http2,
            (true, true) => Self::Http2Tls,
        }
    }

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Http1 => "http1",
            Self::Http1Tls => "http1_tls",
            Self::Http2 => "http2",
            Self::Http2Tls => "http2_tls",
        }
    }
}

/// Bytes that were read from sockets, and written to them.
#[derive(Debug, Default)]
struct Bytes {
    received: AtomicU64,
    sent: AtomicU64,
}

/// Bytes in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BytesTotals {
    /// Read from sockets.
    #[serde(rename = "receive_bytes")]
    pub received: u64,
    /// Written to sockets.
    #[serde(rename = "transmit_bytes")]
    pub sent: u64,
}

/// The metrics of clients' connections.
#[derive(Debug, Clone, Default)]
pub struct EdgeMetrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    parts: Sharded<Part>,
    /// Of each TLS version, whole handshakes and resumed ones.
    handshakes: [[AtomicU64; 2]; 2],
    failed: AtomicU64,
    timed_out: AtomicU64,
}

/// What one thread counts.
#[derive(Debug, Default)]
struct Part {
    bytes: Bytes,
    /// By protocol: connections that began to speak it, and that stopped.
    began: [AtomicU64; Protocol::ALL.len()],
    over: [AtomicU64; Protocol::ALL.len()],
}

/// A connection; it counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    metrics: EdgeMetrics,
    protocol: Protocol,
}

impl OpenConnection {
    /// What is spoken is known now.
    pub fn speaks(&mut self, protocol: Protocol) {
        if protocol != self.protocol {
            self.metrics.over(self.protocol);
            self.metrics.began(protocol);
            self.protocol = protocol;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.over(self.protocol);
    }
}

impl EdgeMetrics {
    /// Counts a connection.
    #[must_use]
    pub fn open(&self) -> OpenConnection {
        self.began(Protocol::Opening);
        OpenConnection { metrics: self.clone(), protocol: Protocol::Opening }
    }

    fn began(&self, protocol: Protocol) {
        self.0.parts.mine().began[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn over(&self, protocol: Protocol) {
        self.0.parts.mine().over[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes came from a client.
    pub fn receive(&self, bytes: usize) {
        self.0.parts.mine().bytes.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes went to a client.
    pub fn send(&self, bytes: usize) {
        self.0.parts.mine().bytes.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a handshake that succeeded.
    pub fn handshake(&self, tls13: bool, resumed: bool) {
        self.0.handshakes[usize::from(tls13)][usize::from(resumed)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handshake that failed, or took too long.
    pub fn handshake_failed(&self, timed_out: bool) {
        let counter = if timed_out { &self.0.timed_out } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes from and to clients, TLS and all.
    #[must_use]
    pub fn bytes(&self) -> BytesTotals {
        let parts = &self.0.parts;
        BytesTotals {
            received: parts.sum(|part| part.bytes.received.load(Ordering::Relaxed)),
            sent: parts.sum(|part| part.bytes.sent.load(Ordering::Relaxed)),
        }
    }

    /// Open connections by protocol.
    #[must_use]
    pub fn connections(&self) -> [(Protocol, u64); Protocol::ALL.len()] {
        let parts = &self.0.parts;
        Protocol::ALL.map(|protocol| {
            let over = parts.sum(|part| part.over[protocol as usize].load(Ordering::Relaxed));
            let began = parts.sum(|part| part.began[protocol as usize].load(Ordering::Relaxed));
            (protocol, began.saturating_sub(over))
        })
    }

    /// The families.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut open = Family::gauge("pylon_connections", "Open connections of clients, by what they speak.");
        let mut accepted = Family::counter("pylon_connections_accepted_total", "Connections of clients.");
        for (protocol, count) in self.connections() {
            let labels = [("protocol", protocol.as_str())];
            open.push_count(&labels, count);
            if protocol != Protocol::Opening {
                let parts = &self.0.parts;
                let began = parts.sum(|part| part.began[protocol as usize].load(Ordering::Relaxed));
                accepted.push_count(&labels, began);
            }
        }
        let mut handshakes = Family::counter("pylon_tls_handshakes_total", "TLS handshakes that succeeded.");
        for (version, kinds) in ["TLSv1.2", "TLSv1.3"].iter().zip(&self.0.handshakes) {
            for (kind, count) in ["full", "resumed"].iter().zip(kinds) {
                handshakes.push_count(&[("version", version), ("kind", kind)], count.load(Ordering::Relaxed));
            }
        }
        let mut failures = Family::counter("pylon_tls_handshake_failures_total", "TLS handshakes that failed.");
        for (reason, count) in [("handshake", &self.0.failed), ("timeout", &self.0.timed_out)] {
            failures.push_count(&[("reason", reason)], count.load(Ordering::Relaxed));
        }
        vec![open, accepted, handshakes, failures]
    }
}

/// The families of wire bytes.
pub(super) fn network(client: BytesTotals, upstream: BytesTotals) -> [Family; 2] {
    let what = "on the wire above TCP: TLS, headers and tunnels included";
    let mut received = Family::counter("pylon_network_receive_bytes_total", &format!("Bytes received {what}."));
    let mut sent = Family::counter("pylon_network_transmit_bytes_total", &format!("Bytes sent {what}."));
    for (side, bytes) in [("client", client), ("upstream", upstream)] {
        received.push_count(&[("side", side)], bytes.received);
        sent.push_count(&[("side", side)], bytes.sent);
    }
    [received, sent]
}
