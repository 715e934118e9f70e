//! Time as a number that fits into an atomic.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the system's coarse clock, from 1; 0 stands for never.
///
/// It goes on every few milliseconds only, and costs a fraction of what an exact time does: what is asked for each request
/// is whether seconds have passed.
#[must_use]
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1000 + nanos / 1_000_000 + 1
}

/// A duration in milliseconds.
#[must_use]
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
