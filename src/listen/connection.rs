//! What is known of a client's connection, for as long as it lasts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::sync::Notify;

use super::Listener;
use crate::observe::Rejection;
use crate::snapshot::{DRAIN_RATE, DRAIN_TIME};
use crate::tls::ClientIdentity;

tokio::task_local! {
    static CONNECTION: Arc<Connection>;
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// The listener that it came in on.
    pub listener: Arc<Listener>,
    /// The other end: the client, or the proxy before it.
    pub peer: SocketAddr,
    /// Where the client connected to.
    pub local: SocketAddr,
    /// What TLS tells, where it is spoken.
    pub tls: Option<Tls>,
    cut: AtomicBool,
    drain_rate: AtomicU64,
    drain_time: AtomicU64,
    turned_away: OnceCell<Rejection>,
    turns_away: Notify,
}

/// What TLS tells of a connection.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
    /// Who the client's certificate says it is, where it showed one.
    pub identity: Option<Arc<ClientIdentity>>,
}

impl Connection {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(listener: Arc<Listener>, peer: SocketAddr, local: SocketAddr, tls: Option<Tls>) -> Self {
        Self {
            listener,
            peer,
            local,
            tls,
            cut: AtomicBool::new(false),
            drain_rate: AtomicU64::new(DRAIN_RATE),
            drain_time: AtomicU64::new(millis(DRAIN_TIME)),
            turned_away: OnceCell::new(),
            turns_away: Notify::new(),
        }
    }

    /// The connection of the request that the current task carries.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        CONNECTION.try_with(Arc::clone).ok()
    }

    /// Runs a request of this connection.
    pub async fn carry<F: Future>(self: Arc<Self>, request: F) -> F::Output {
        CONNECTION.scope(self, request).await
    }

    /// Has the connection reset when it ends, so that an answer that is cut off does not look whole.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Whether it is to be reset.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Has the client turned away by the loop that serves the connection.
    pub fn turn_away(&self, rejection: Rejection) {
        let _ = self.turned_away.set(rejection);
        self.turns_away.notify_one();
    }

    /// Waits until the client is to be turned away.
    pub async fn turned_away(&self) -> Rejection {
        loop {
            if let Some(rejection) = self.turned_away.get() {
                return *rejection;
            }
            self.turns_away.notified().await;
        }
    }

    /// Sets how fast the client has to take the answers from now on; a rate of 0 lets it take its time.
    pub fn drain(&self, rate: u64, time: Duration) {
        self.drain_rate.store(rate, Ordering::Relaxed);
        self.drain_time.store(millis(time), Ordering::Relaxed);
    }

    /// How fast the client has to take its answer.
    #[must_use]
    pub fn draining(&self) -> (u64, Duration) {
        (self.drain_rate.load(Ordering::Relaxed), Duration::from_millis(self.drain_time.load(Ordering::Relaxed)))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
