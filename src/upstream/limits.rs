//! Limits: how many requests a pool is given at a time, and who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The limits of a pool; `u32::MAX` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Requests in flight.
    pub requests: u32,
    /// Connections, idle ones included.
    pub connections: u32,
    /// Requests that wait for their turn.
    pub queue: u32,
    /// How long they wait.
    pub queue_timeout: Duration,
}

/// Counts the requests of a pool that has limits. Counts stay over a reload; limits may change.
#[derive(Debug, Default)]
pub(super) struct Gate {
    inside: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

/// A request that was let in; it counts until this is dropped.
#[derive(Debug)]
pub struct Entered(Arc<Gate>);

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There is no place, not even to wait.
    NoPlace,
    /// It waited for as long as it may.
    Waited,
}

impl Gate {
    /// Lets a request in, at once or when its turn comes.
    /// Requests that do not share connections have one each, so that these limit them, too.
    ///
    /// # Errors
    /// When it cannot be let in.
    pub(super) async fn enter(self: &Arc<Self>, limits: Limits, shares: bool) -> Result<Entered, Full> {
        let limit = if shares { limits.requests } else { limits.requests.min(limits.connections) };
        if self.waiting.load(Ordering::Relaxed) == 0 && self.take(limit) {
            return Ok(Entered(Arc::clone(self)));
        }
        let waiting = Waiting::begin(self);
        if waiting.before >= limits.queue {
            return Err(Full::NoPlace);
        }
        let turn = async {
            loop {
                let freed = self.freed.notified();
                if self.take(limit) {
                    return;
                }
                freed.await;
            }
        };
        match tokio::time::timeout(limits.queue_timeout, turn).await {
            Ok(()) => Ok(Entered(Arc::clone(self))),
            Err(_) => Err(Full::Waited),
        }
    }

    /// Requests in flight.
    #[must_use]
    pub(super) fn inside(&self) -> u32 {
        self.inside.load(Ordering::Relaxed)
    }

    /// Requests that wait.
    #[must_use]
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn take(&self, limit: u32) -> bool {
        let more = |inside: u32| (inside < limit).then_some(inside + 1);
        self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

/// A request that waits; it counts until this is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    before: u32,
}

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate) -> Self {
        Self { gate, before: gate.waiting.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::AcqRel);
        // One that gives up may have been told of a free place just now: the next one is to have it.
        self.gate.freed.notify_one();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        if self.0.waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { requests: 1, connections: u32::MAX, queue: 1, queue_timeout: Duration::from_millis(20) };

    #[tokio::test]
    async fn one_is_in_one_waits_the_next_is_sent_away() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(LIMITS, false).await.unwrap();
        let waits = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(Limits { queue_timeout: Duration::from_secs(60), ..LIMITS }, false).await }
        });
        while gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter(LIMITS, false).await.unwrap_err(), Full::NoPlace);
        drop(first);
        let second = waits.await.unwrap().unwrap();
        assert_eq!((gate.inside(), gate.waiting()), (1, 0));
        assert_eq!(gate.enter(LIMITS, false).await.unwrap_err(), Full::Waited);
        drop(second);
        assert_eq!((gate.inside(), gate.waiting()), (0, 0));
    }
}
