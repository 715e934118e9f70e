//! The time in which a client has to send the next piece of a body over HTTP/2, which Pingora waits for without end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;
use tokio::sync::Notify;

use super::connection::Connection;
use crate::observe::Rejection;
use crate::upstream::Exchange;

tokio::task_local! {
    static PACE: Arc<Pace>;
}

/// Deadlines are milliseconds since this.
static START: Lazy<Instant> = Lazy::new(Instant::now);

/// How often an upstream that is behind is looked at.
const BEHIND: Duration = Duration::from_secs(1);

/// When the next piece has to be there.
#[derive(Debug, Default)]
pub struct Pace {
    /// 0: at no time.
    deadline: AtomicU64,
    set: Notify,
    /// How far the upstream is, and how much it has been given.
    upstream: Mutex<Option<(Arc<Exchange>, u64)>>,
}

impl Pace {
    /// That of the request that the current task carries; `None` where the connection watches by itself.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        PACE.try_with(Arc::clone).ok()
    }

    /// Gives the client so much time for the next piece.
    pub fn within(&self, time: Duration) {
        let deadline = (START.elapsed() + time).as_millis();
        if self.deadline.swap(u64::try_from(deadline).unwrap_or(u64::MAX).max(1), Ordering::Relaxed) == 0 {
            self.set.notify_one();
        }
    }

    /// Notes how much of the body the upstream has been given: while it has not taken that, the client is not late.
    pub fn watch(&self, exchange: Option<Arc<Exchange>>, given: u64) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = exchange.map(|exchange| (exchange, given));
    }

    fn upstream_is_behind(&self) -> bool {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        upstream.as_ref().is_some_and(|(exchange, given)| exchange.bytes_sent() < *given)
    }

    /// No piece is waited for.
    pub fn free(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    async fn over(&self) {
        loop {
            let deadline = Duration::from_millis(self.deadline.load(Ordering::Relaxed));
            if deadline.is_zero() {
                self.set.notified().await;
            } else if START.elapsed() >= deadline && self.upstream_is_behind() {
                tokio::time::sleep(BEHIND).await;
            } else if START.elapsed() >= deadline {
                return;
            } else {
                tokio::time::sleep_until((*START + deadline).into()).await;
            }
        }
    }
}

/// Runs a request until it ends or its client is too late; then it is dropped, which resets its stream.
pub(super) async fn carry<F: Future>(
    info: Arc<Connection>,
    request: F,
    late: impl FnOnce(&Arc<Connection>, Rejection),
) {
    Lazy::force(&START);
    let pace = Arc::new(Pace::default());
    let carried = PACE.scope(Arc::clone(&pace), Arc::clone(&info).carry(request));
    tokio::select! {
        biased;
        _ = carried => {}
        () = pace.over() => late(&info, Rejection::BodyTimeout),
    }
}
