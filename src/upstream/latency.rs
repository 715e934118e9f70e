//! Peak EWMA: an average of latencies that takes a peak at once and forgets it over time.
//!
//! As in Twitter's Finagle: a latency above the average replaces it, one below pulls it down with the weight
//! `1 − e^(−Δt/τ)`, so that a server which begins to stall is avoided from its first slow answer on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock;

/// τ: after this time without a peak, 63 % of one is forgotten.
const DECAY_MS: f64 = 10_000.0;
/// One 64th of it, as a factor.
const STEP: f64 = 1.0 / (DECAY_MS * 64.0);

/// An average of latencies, in microseconds. Updates that meet may lose one sample; it is an estimate.
#[derive(Debug, Default)]
pub struct Latency {
    /// The bits of an `f64`.
    micros: AtomicU64,
    /// When it was last updated.
    at: AtomicU64,
}

impl Latency {
    /// Takes a sample in.
    pub fn observe(&self, sample: Duration) {
        let now = clock::now();
        let sample = sample.as_secs_f64() * 1e6;
        let before = self.at.swap(now, Ordering::Relaxed);
        let average = f64::from_bits(self.micros.load(Ordering::Relaxed));
        let next = if before == 0 || sample > average {
            sample
        } else {
            let kept = decay(now.saturating_sub(before));
            average * kept + sample * (1.0 - kept)
        };
        self.micros.store(next.to_bits(), Ordering::Relaxed);
    }

    /// The average in microseconds, as far as it is remembered at `now`; 0 for a server that has not answered yet.
    #[must_use]
    pub fn micros(&self, now: u64) -> f64 {
        let average = f64::from_bits(self.micros.load(Ordering::Relaxed));
        average * decay(now.saturating_sub(self.at.load(Ordering::Relaxed)))
    }

    /// The average, for people.
    #[must_use]
    pub fn average(&self) -> Duration {
        Duration::from_secs_f64(f64::from_bits(self.micros.load(Ordering::Relaxed)).max(0.0) / 1e6)
    }
}

/// What remains of a value after a time.
fn decay(elapsed_ms: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a time of more than 285,000 years")]
    let elapsed = elapsed_ms as f64;
    // e^(−x) as (1 − x/64)^64: within 1 % of it for the first ten seconds, for six multiplications.
    let base = (1.0 - elapsed * STEP).max(0.0);
    (0..6).fold(base, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_taken_at_once_and_forgotten_slowly() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(2));
        latency.observe(Duration::from_millis(200));
        latency.observe(Duration::from_millis(2));
        let now = clock::now();
        assert!(latency.micros(now) > 150_000.0);
        assert!(latency.micros(now + 60_000) < 1_000.0);
    }
}
