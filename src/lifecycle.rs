//! Whether the process is stopping, and how many requests are still under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How often a stop looks whether the last request has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Shared by everything that has to know of a stop.
#[derive(Debug, Default)]
pub struct Lifecycle {
    stopping: AtomicBool,
    stops: watch::Sender<bool>,
    under_way: AtomicUsize,
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

    /// Begins a stop and waits for the requests under way, at most for `grace`.
    ///
    /// Returns how many are left.
    pub async fn stop(&self, grace: Duration) -> usize {
        self.stopping.store(true, Ordering::Relaxed);
        self.stops.send_replace(true);
        let deadline = tokio::time::Instant::now() + grace;
        loop {
            let left = self.under_way.load(Ordering::Relaxed);
            if left == 0 || tokio::time::Instant::now() >= deadline {
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
