//! Whether the process is stopping, and how many requests are still under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How often a stop looks whether the last request has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Without a request under way, connections have this long to send the one that is on its way.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Shared by everything that has to know of a stop.
#[derive(Debug, Default)]
pub struct Lifecycle {
    stopping: AtomicBool,
    stops: watch::Sender<bool>,
    handed_over: AtomicBool,
    under_way: AtomicUsize,
    connections: AtomicUsize,
}

/// A client's connection; it counts until this is dropped.
#[derive(Debug)]
pub struct Connected(Arc<Lifecycle>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request under way; it counts until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Lifecycle>);

impl Lifecycle {
    /// Counts a request.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Counts a client's connection.
    #[must_use]
    pub fn connect(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Notes that another process has the listening sockets, and with them the connections that wait.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    /// Whether another process has the listening sockets.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether the process is stopping: connections close after their request, and probes say not ready.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells when a stop begins.
    #[must_use]
    pub fn stops(&self) -> watch::Receiver<bool> {
        self.stops.subscribe()
    }

    /// Begins a stop and waits for the requests under way, at most for `grace`; then for the connections on which a request
    /// may be on its way.
    ///
    /// Returns how many requests are left.
    pub async fn stop(&self, grace: Duration) -> usize {
        self.stopping.store(true, Ordering::Relaxed);
        self.stops.send_replace(true);
        let deadline = tokio::time::Instant::now() + grace;
        let mut quiet = None;
        loop {
            let now = tokio::time::Instant::now();
            let left = self.under_way.load(Ordering::Relaxed);
            if left > 0 {
                quiet = None;
            }
            let quiet_since = *quiet.get_or_insert(now);
            let connected = self.connections.load(Ordering::Relaxed) > 0;
            let over = left == 0 && (!connected || now.duration_since(quiet_since) >= LAST_REQUESTS);
            if over || now >= deadline {
                return left;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
