//! How the store of instances is: said once when it changes, and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a store is.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Why it cannot be used; none while it can.
    trouble: Mutex<Option<String>>,
    errors: AtomicU64,
}

impl Health {
    /// The store failed; whether that is new.
    pub(super) fn failed(&self, why: &str) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.replace(why.to_owned()).is_none()
    }

    /// Something failed that says nothing of the next time.
    pub(super) fn count(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The store works; whether that is new.
    pub(super) fn works(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let health = Health::default();
        assert!(!health.works());
        assert!(health.failed("a") && !health.failed("b"));
        assert_eq!((health.trouble().as_deref(), health.errors()), (Some("b"), 2));
        assert!(health.works() && !health.works());
        assert_eq!(health.trouble(), None);
    }
}
