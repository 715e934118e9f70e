//! Whether more is to be taken in from the client, for now.
//!
//! The two ends of a request know nothing of each other, but the same task serves both.

use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    static HELD: Cell<bool>;
}

/// Serves a request whose client is read no further, but for a trickle, while the intake is held.
pub async fn serve<F: Future>(request: F) -> F::Output {
    HELD.scope(Cell::new(false), request).await
}

/// Whether the intake of the request that the current task serves is held.
#[must_use]
pub fn is_held() -> bool {
    HELD.try_with(Cell::get).unwrap_or(false)
}

/// Holds the intake, or lets it go. Who lets it go wakes the task.
pub(super) fn hold(held: bool) {
    let _ = HELD.try_with(|cell| cell.set(held));
}
