//! Time as a number that fits into an atomic.

use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

/// Milliseconds since this process first asked, from 1; 0 stands for never.
#[must_use]
pub(super) fn now() -> u64 {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    millis(START.elapsed()) + 1
}

/// A duration in milliseconds.
#[must_use]
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
