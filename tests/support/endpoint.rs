//! A running upstream and what it remembers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::wire::{End, Headers, eventually, within};

/// Bodies are kept up to this size; of longer ones the length and the hash remain.
const KEPT: usize = 1024 * 1024;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) body_length: u64,
    pub(crate) body_hash: u64,
    /// `None` while the body is still coming.
    pub(crate) end: Option<End>,
    /// Counts the connections of this upstream from 1.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// `GET /path`, for comparisons that read well.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// Adds a part of the body.
    pub(super) fn record(&mut self, part: &[u8]) {
        self.body_length += part.len() as u64;
        self.body_hash = hash(self.body_hash, part);
        let room = KEPT.saturating_sub(self.body.len()).min(part.len());
        self.body.extend_from_slice(&part[..room]);
    }
}

/// The hash of no bytes, to start from.
pub(crate) const EMPTY_HASH: u64 = 0xcbf2_9ce4_8422_2325;

/// The FNV-1a hash of more bytes after those that made `before`.
pub(crate) fn hash(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A running upstream.
pub(crate) struct Endpoint {
    name: &'static str,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Endpoint {
    pub(super) fn new(name: &'static str, address: SocketAddr) -> Endpoint {
        Endpoint { name, address, seen: Arc::default() }
    }

    /// Where what arrives is written down.
    pub(super) fn memory(&self) -> Arc<Mutex<Vec<Seen>>> {
        Arc::clone(&self.seen)
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:port`
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// All requests so far, which are then forgotten.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The one request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{} got {:?}", self.name, seen.iter().map(Seen::line).collect::<Vec<_>>());
        seen[0].clone()
    }

    /// The one request that came, which is then forgotten.
    pub(crate) fn take_only(&self) -> Seen {
        let only = self.only();
        self.take();
        only
    }

    /// Waits until some request is as `condition` says.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        eventually(what, || self.seen().iter().any(&condition)).await;
        within(what, async { self.seen().into_iter().find(&condition).unwrap() }).await
    }
}
