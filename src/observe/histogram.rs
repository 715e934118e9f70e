//! Durations by bucket, as Prometheus counts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper ends of the buckets, in seconds.
pub const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The same, in nanoseconds.
const NANOS: [u64; BOUNDS.len()] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one is for what is longer than all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// Counts of a [`Histogram`], or of several together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Durations {
    /// How many fell into each bucket, and into none.
    pub buckets: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = NANOS.partition_point(|bound| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds the counts to `sums`.
    pub fn add_to(&self, sums: &mut Durations) {
        for (sum, count) in sums.buckets.iter_mut().zip(&self.buckets) {
            *sum += count.load(Ordering::Relaxed);
        }
        sums.nanos = sums.nanos.wrapping_add(self.nanos.load(Ordering::Relaxed));
    }
}

impl Durations {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in seconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 104 days, and close after that")]
    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// The buckets as they are told: each with all that are shorter; the last one has no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.buckets).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_same_in_both_units() {
        for (seconds, nanos) in BOUNDS.iter().zip(NANOS) {
            assert_eq!(Duration::from_secs_f64(*seconds).as_nanos(), u128::from(nanos));
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [1, 1000, 1001, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut sums = Durations::default();
        histogram.add_to(&mut sums);
        let told: Vec<_> = sums.cumulative().collect();
        assert_eq!((told[0], told[1]), ((Some(0.001), 2), (Some(0.0025), 3)));
        assert_eq!((told[14], told[15]), ((Some(60.0), 4), (None, 5)));
        assert!((sums.seconds() - 120.002_003).abs() < 1e-6);
        assert_eq!(sums.count(), 5);
    }
}
