//! What became of requests at each way to find out who asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::families::Family;
use super::shards::Sharded;

/// What a way found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthResult {
    /// Who asks, and that they may pass.
    Proven,
    /// Credentials that are not good.
    Wrong,
    /// No credentials of this kind.
    Absent,
    /// Who asks, and that they may not pass.
    Forbidden,
    /// Nothing: it could not be found out.
    Unavailable,
    /// The way answered by itself.
    Answered,
}

impl AuthResult {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Proven, "proven"),
        (Self::Wrong, "wrong"),
        (Self::Absent, "absent"),
        (Self::Forbidden, "forbidden"),
        (Self::Unavailable, "unavailable"),
        (Self::Answered, "answered"),
    ];
}

/// The metrics of one way, on all routes that have it.
#[derive(Debug, Clone, Default)]
pub struct AuthMetrics(Arc<Sharded<[AtomicU64; AuthResult::ALL.len()]>>);

impl AuthMetrics {
    /// Counts a request.
    pub fn count(&self, result: AuthResult) {
        self.0.mine()[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn total(&self, result: AuthResult) -> u64 {
        self.0.sum(|part| part[result as usize].load(Ordering::Relaxed))
    }
}

/// The metrics of all ways that some configuration had; they stay, as there are only few.
#[derive(Debug, Default)]
pub(super) struct AuthSteps(Mutex<BTreeMap<&'static str, AuthMetrics>>);

impl AuthSteps {
    /// The metrics of a way, by its key.
    pub(super) fn get(&self, step: &'static str) -> AuthMetrics {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(step).or_default().clone()
    }

    /// The family.
    pub(super) fn family(&self) -> Family {
        let help = "Requests at each way to find out who asks, by what it found out.";
        let mut family = Family::counter("pylon_auth_requests_total", help);
        for (step, metrics) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (result, word) in AuthResult::ALL {
                family.push_count(&[("step", step), ("result", word)], metrics.total(result));
            }
        }
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Exposition;

    #[test]
    fn a_way_counts_the_same_wherever_it_stands() {
        let steps = AuthSteps::default();
        steps.get("basic").count(AuthResult::Wrong);
        steps.get("basic").count(AuthResult::Wrong);
        steps.get("jwt").count(AuthResult::Proven);
        let totals = |step| AuthResult::ALL.map(|(result, _)| steps.get(step).total(result));
        assert_eq!((totals("basic"), totals("jwt")), ([0, 2, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]));
        let text = String::from_utf8(Exposition::Text.encode(&[steps.family()])).unwrap();
        assert_eq!(text.matches("pylon_auth_requests_total{").count(), 12, "{text}");
    }
}
