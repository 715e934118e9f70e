//! Passive health: which endpoints of a pool fail more than they should.

use std::time::Duration;

use crate::config::EjectionSpec;
use crate::config::value::{Percent, Span};

/// When an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    /// After this many failures in a row; 0: not for that.
    pub failures: u32,
    /// When its share of failures is this much above the median of the pool; 1: not for that.
    pub share_over: f64,
    /// Of at least this many requests in an interval.
    pub minimum: u32,
    /// How often the shares are compared.
    pub interval: Duration,
    /// How long it is left out the first time.
    pub time: Duration,
    /// How long it is left out at most.
    pub max_time: Duration,
    /// The share of the pool that may be left out at a time.
    pub max_share: f64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            share_over: 0.3,
            minimum: 20,
            interval: Duration::from_secs(10),
            time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_share: 0.5,
        }
    }
}

impl Ejection {
    /// The rule of a spec.
    #[must_use]
    pub fn new(spec: &EjectionSpec) -> Self {
        let default = Self::default();
        let on = spec.enabled.is_none_or(|enabled| enabled.0);
        let time = spec.time.map_or(default.time, Span::duration);
        Self {
            failures: spec.failures.filter(|_| on).map_or(if on { default.failures } else { 0 }, |count| count.0),
            share_over: spec.share_over.map_or(default.share_over, Percent::ratio),
            minimum: spec.minimum_requests.map_or(default.minimum, |count| count.0).max(1),
            interval: spec.interval.map_or(default.interval, Span::duration).max(Duration::from_millis(100)),
            time,
            max_time: spec.max_time.map_or(default.max_time, Span::duration).max(time),
            max_share: if on { spec.max_share.map_or(default.max_share, Percent::ratio) } else { 0.0 },
        }
    }

    /// How many of a pool may be left out at a time: never the whole of it.
    #[must_use]
    pub fn most(&self, pool: usize) -> usize {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number of servers"
        )]
        let most = (pool as f64 * self.max_share) as usize;
        most.min(pool.saturating_sub(1))
    }

    /// The endpoints that fail more than the others, by their requests and failures in an interval: with their share, the
    /// worst first.
    ///
    /// The median is not moved by one bad endpoint, as a mean is; so three endpoints are enough to tell.
    #[must_use]
    pub fn outliers(&self, counts: &[(u32, u32)]) -> Vec<(usize, f64)> {
        let mut shares: Vec<(usize, f64)> = counts
            .iter()
            .enumerate()
            .filter(|(_, (requests, _))| *requests >= self.minimum)
            .map(|(index, (requests, failures))| (index, f64::from(*failures) / f64::from(*requests)))
            .collect();
        if shares.len() < 2 || self.share_over >= 1.0 {
            return Vec::new();
        }
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        // Of two in the middle the lower one: of two endpoints the good one is the measure.
        let median = shares[shares.len() / 2].1;
        shares.retain(|(_, share)| *share > median + self.share_over);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_far_above_the_median() {
        let rule = Ejection::default();
        assert_eq!(rule.outliers(&[(100, 0), (100, 50), (100, 1)]), [(1, 0.5)]);
        assert_eq!(rule.outliers(&[(100, 0), (100, 40)]), [(1, 0.4)]);
        assert_eq!(rule.outliers(&[(100, 90), (100, 95), (100, 99)]), [], "all fail alike");
        assert_eq!(rule.outliers(&[(100, 0), (10, 10), (100, 1)]), [], "too few to tell");
        assert_eq!(rule.outliers(&[(100, 100)]), [], "nothing to compare with");
    }

    #[test]
    fn never_the_whole_pool() {
        let rule = Ejection { max_share: 1.0, ..Ejection::default() };
        assert_eq!((rule.most(1), rule.most(3)), (0, 2));
        assert_eq!(Ejection::default().most(3), 1);
        assert_eq!(Ejection::default().most(1), 0);
    }
}
