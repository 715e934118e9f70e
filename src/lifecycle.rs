//! Whether the process serves, is taken out of service, or stops, and how many requests are still under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How often a stop looks whether the last request has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Without a request under way, connections have this long to send the one that is on its way.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Shared by everything that has to know of a drain or a stop.
#[derive(Debug, Default)]
pub struct Lifecycle {
    serving: AtomicBool,
    /// Stopping or draining.
    leaving: AtomicBool,
    stopping: AtomicBool,
    stops: watch::Sender<bool>,
    drains: watch::Sender<bool>,
    handed_over: AtomicBool,
    under_way: AtomicUsize,
    connections: AtomicUsize,
}

/// What a process does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does not accept connections yet; they wait.
    Starting,
    /// It serves.
    Ready,
    /// It serves, but wants no more: balancers are to send requests elsewhere.
    Draining,
    /// It ends when the requests under way have ended.
    Stopping,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
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

    /// Notes that connections are accepted from now on.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// What the process does with requests.
    #[must_use]
    pub fn state(&self) -> State {
        if self.stopping.load(Ordering::Relaxed) {
            State::Stopping
        } else if self.is_leaving() {
            State::Draining
        } else if self.serving.load(Ordering::Relaxed) {
            State::Ready
        } else {
            State::Starting
        }
    }

    /// Whether the process stops or is drained: connections close after their request, so that clients come back through
    /// their balancer.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Takes the process out of service, or back into it. It goes on serving whoever comes.
    pub fn drain(&self, on: bool) {
        self.drains.send_modify(|draining| {
            *draining = on;
            // A stop is not undone. Under the lock of the channel, as a stop sets this, too.
            self.leaving.store(on || self.stopping.load(Ordering::Relaxed), Ordering::Relaxed);
        });
    }

    /// Tells when a drain begins.
    #[must_use]
    pub fn drains(&self) -> watch::Receiver<bool> {
        self.drains.subscribe()
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Open connections of clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
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
        self.drains.send_modify(|_| {
            self.stopping.store(true, Ordering::Relaxed);
            self.leaving.store(true, Ordering::Relaxed);
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_undone_and_a_stop_is_not() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.state(), State::Starting);
        lifecycle.serve();
        assert_eq!((lifecycle.state(), lifecycle.is_leaving()), (State::Ready, false));
        lifecycle.drain(true);
        assert_eq!((lifecycle.state(), lifecycle.is_leaving()), (State::Draining, true));
        lifecycle.drain(false);
        assert_eq!((lifecycle.state(), lifecycle.is_leaving()), (State::Ready, false));
        let stop = lifecycle.stop(Duration::ZERO);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(runtime.block_on(stop), 0);
        lifecycle.drain(false);
        assert_eq!((lifecycle.state(), lifecycle.is_leaving()), (State::Stopping, true));
    }
}
