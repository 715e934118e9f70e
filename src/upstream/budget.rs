//! The retry budget: second attempts as a share of the requests of the last ten seconds, so that an outage is not
//! multiplied by those who meet it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock;

/// Two of these make the time that is looked back on.
const HALF_MS: u64 = 5_000;
/// As many are allowed in any case, so that a pool with few requests can retry at all.
const ALWAYS: f64 = 10.0;

/// Counts requests and retries in the current and the last half of the time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Window,
    retries: Window,
}

impl Budget {
    /// Counts a request.
    pub(super) fn request(&self) {
        self.requests.add(clock::now());
    }

    /// Whether a retry is allowed now; if so, it is counted.
    pub(super) fn take(&self, share: f64) -> bool {
        let now = clock::now();
        let allowed = (self.requests.sum(now) * share).max(ALWAYS);
        let fits = self.retries.sum(now) < allowed;
        if fits {
            self.retries.add(now);
        }
        fits
    }
}

/// A count over one to two halves: the number of the half, its count and the count before, in one word.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    fn add(&self, now: u64) {
        let half = now / HALF_MS;
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (current, before) = counts(word, half);
            Some(pack(half, current.saturating_add(1).min(COUNT), before))
        });
    }

    fn sum(&self, now: u64) -> f64 {
        let (current, before) = counts(self.0.load(Ordering::Relaxed), now / HALF_MS);
        #[allow(clippy::cast_precision_loss, reason = "counts have 24 bits")]
        let sum = (current + before) as f64;
        sum
    }
}

/// The largest count: 24 bits, which is 3 million a second.
const COUNT: u64 = 0xff_ffff;

fn pack(half: u64, current: u64, before: u64) -> u64 {
    (half & 0xffff) << 48 | current << 24 | before
}

/// Current and last count as they are in a half.
fn counts(word: u64, half: u64) -> (u64, u64) {
    let (of, current, before) = (word >> 48, word >> 24 & COUNT, word & COUNT);
    match (half & 0xffff).wrapping_sub(of) & 0xffff {
        0 => (current, before),
        1 => (0, current),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_may_be_tried_again() {
        let budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.take(0.2)).count(), 10);
        let budget = Budget::default();
        (0..500).for_each(|_| budget.request());
        assert_eq!((0..500).filter(|_| budget.take(0.2)).count(), 100);
    }

    #[test]
    fn counts_are_forgotten() {
        let word = pack(7, 5, 3);
        assert_eq!(counts(word, 7), (5, 3));
        assert_eq!(counts(word, 8), (0, 5));
        assert_eq!(counts(word, 9), (0, 0));
        assert_eq!(counts(pack(0xffff, 5, 3), 0x1_0000), (0, 5));
    }
}
