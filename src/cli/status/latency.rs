//! How long requests took, from the counts of a histogram.

use serde_json::Value;

/// A histogram of durations.
pub(super) struct Latency {
    /// Upper bounds in seconds, the last one infinite, and how many were at most that long.
    buckets: Vec<(f64, u64)>,
}

impl Latency {
    /// Of what was counted since `before`, or since the start.
    pub(super) fn new(duration: &Value, before: Option<&Value>) -> Self {
        let read = |duration: &Value| -> Vec<(f64, u64)> {
            let buckets = duration["buckets"].as_array().into_iter().flatten();
            buckets.map(|b| (b["le"].as_f64().unwrap_or(f64::INFINITY), b["count"].as_u64().unwrap_or(0))).collect()
        };
        let mut buckets = read(duration);
        let before = before.map(read).unwrap_or_default();
        for ((_, count), (_, old)) in buckets.iter_mut().zip(before) {
            *count = count.saturating_sub(old);
        }
        Self { buckets }
    }

    /// The time in milliseconds within which this share of the requests ended; none where there was none.
    ///
    /// Within a bucket it is taken to be even; what is over the last bound is as long as that at least.
    #[allow(clippy::cast_precision_loss, reason = "counts of requests, for people")]
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.last().filter(|(_, count)| *count > 0)?.1;
        let rank = share * total as f64;
        let at = self.buckets.iter().position(|(_, count)| *count as f64 >= rank)?;
        let (low, below) = if at == 0 { (0.0, 0) } else { self.buckets[at - 1] };
        let (high, count) = self.buckets[at];
        if high.is_infinite() {
            return Some(low * 1000.0);
        }
        let within = count.saturating_sub(below).max(1) as f64;
        Some((low + (high - low) * ((rank - below as f64) / within).clamp(0.0, 1.0)) * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn histogram(counts: [u64; 4]) -> Value {
        let bounds = [json!(0.001), json!(0.01), json!(0.1), Value::Null];
        json!({ "buckets": bounds.iter().zip(counts).map(|(le, count)| json!({ "le": le, "count": count })).collect::<Vec<_>>() })
    }

    fn near(found: Option<f64>, wanted: f64) {
        assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-6), "{found:?}, not {wanted}");
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let latency = Latency::new(&histogram([50, 90, 100, 100]), None);
        near(latency.quantile(0.5), 1.0);
        near(latency.quantile(0.7), 5.5);
        near(latency.quantile(0.95), 55.0);
        near(Latency::new(&histogram([0, 0, 0, 7]), None).quantile(0.5), 100.0);
        assert_eq!(Latency::new(&histogram([0, 0, 0, 0]), None).quantile(0.5), None);
        assert_eq!(Latency::new(&Value::Null, None).quantile(0.5), None);
    }

    #[test]
    fn what_was_before_does_not_count() {
        let latency = Latency::new(&histogram([100, 100, 110, 110]), Some(&histogram([100, 100, 100, 100])));
        near(latency.quantile(0.5), 55.0);
    }
}
