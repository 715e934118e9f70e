//! What is counted of limits, and of the stores that they count in. It stays over reloads for as long as it is configured.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::families::Family;

/// Requests that a limit turned away.
#[derive(Debug, Clone, Default)]
pub struct LimitMetrics(Arc<AtomicU64>);

impl LimitMetrics {
    /// A request is turned away.
    pub fn reject(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a store does.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics(Arc<Store>);

#[derive(Debug, Default)]
struct Store {
    errors: AtomicU64,
    answers: AtomicBool,
}

impl StoreMetrics {
    /// The store did not answer in time, or answered with an error.
    pub fn fail(&self) {
        self.0.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the store answers at the moment.
    pub fn set_answers(&self, answers: bool) {
        self.0.answers.store(answers, Ordering::Relaxed);
    }

    /// How often it did not answer, and whether it does at the moment.
    #[must_use]
    pub fn state(&self) -> (u64, bool) {
        (self.0.errors.load(Ordering::Relaxed), self.0.answers.load(Ordering::Relaxed))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct LimitCounts {
    /// By route and limit.
    limits: Mutex<BTreeMap<(String, String), Weak<AtomicU64>>>,
    /// By address.
    stores: Mutex<BTreeMap<String, Weak<Store>>>,
}

/// What is known under a key, or a new one.
fn get<K: Ord, V: Default>(known: &Mutex<BTreeMap<K, Weak<V>>>, key: K) -> Arc<V> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&key).and_then(Weak::upgrade) {
        return found;
    }
    let made = Arc::new(V::default());
    known.retain(|_, one| one.strong_count() > 0);
    known.insert(key, Arc::downgrade(&made));
    made
}

impl LimitCounts {
    pub(super) fn limit(&self, route: &str, limit: &str) -> LimitMetrics {
        LimitMetrics(get(&self.limits, (route.to_owned(), limit.to_owned())))
    }

    pub(super) fn store(&self, address: &str) -> StoreMetrics {
        StoreMetrics(get(&self.stores, address.to_owned()))
    }

    pub(super) fn families(&self) -> [Family; 3] {
        let help = "Requests that a limit turned away.";
        let mut rejected = Family::counter("pylon_ratelimit_rejected_total", help);
        for ((route, limit), count) in &*self.limits.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Some(count) = count.upgrade() {
                rejected.push_count(&[("route", route), ("limit", limit)], count.load(Ordering::Relaxed));
            }
        }
        let help = "Times that a store of limits did not answer in time, or with an error.";
        let mut errors = Family::counter("pylon_ratelimit_store_errors_total", help);
        let mut up = Family::gauge("pylon_ratelimit_store_up", "1 while a store of limits answers.");
        for (address, store) in &*self.stores.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Some(store) = store.upgrade().map(StoreMetrics) {
                let (failed, answers) = store.state();
                errors.push_count(&[("store", address)], failed);
                up.push(&[("store", address)], f64::from(u8::from(answers)));
            }
        }
        [rejected, errors, up]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_keeps_its_count_as_long_as_somebody_has_it() {
        let counts = LimitCounts::default();
        let first = counts.limit("r", "l");
        first.reject();
        assert_eq!(counts.limit("r", "l").rejected(), 1);
        assert_eq!(counts.limit("r", "other").rejected(), 0);
        drop(first);
        assert_eq!(counts.limit("r", "l").rejected(), 0);
    }
}
