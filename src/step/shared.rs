//! What steps keep beyond a request and a reload: caches, sessions, connections, counts.
//!
//! Steps with equal settings share one of these, whichever routes they stand on, and a reload that does not change the
//! settings keeps it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// What a step keeps.
pub trait Keep: Any + Send + Sync {
    /// Called once, within the runtime of control, when the configuration that it belongs to is taken over. Tasks that
    /// it spawns hold a [`std::sync::Weak`] of it and end when nobody else holds it any more.
    fn start(self: Arc<Self>) {}
}

/// All that the steps of a configuration keep.
#[derive(Default)]
pub struct Shared {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    settings: Box<dyn Any + Send + Sync>,
    value: Arc<dyn Keep>,
    /// As another type than [`Keep`], to get the value back.
    any: Arc<dyn Any + Send + Sync>,
    /// Whether a configuration that has it was taken over before.
    is_new: bool,
}

impl Shared {
    /// What these settings share: what is there already, what was there in the configuration before, or a new one.
    pub fn keep<S, T>(&self, before: Option<&Self>, settings: &S, make: impl FnOnce() -> T) -> Arc<T>
    where
        S: PartialEq + Clone + Send + Sync + 'static,
        T: Keep,
    {
        if let Some(found) = self.find(settings) {
            return found.0;
        }
        let (value, is_new) = match before.and_then(|before| before.find::<S, T>(settings)) {
            Some((value, is_new)) => (value, is_new),
            None => (Arc::new(make()), true),
        };
        let kept = Kept {
            settings: Box::new(settings.clone()),
            value: Arc::clone(&value) as Arc<dyn Keep>,
            any: Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
            is_new,
        };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        value
    }

    fn find<S: PartialEq + 'static, T: Keep>(&self, settings: &S) -> Option<(Arc<T>, bool)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find_map(|one| {
            let same = one.settings.downcast_ref::<S>().is_some_and(|known| known == settings);
            if !same {
                return None;
            }
            Some((Arc::clone(&one.any).downcast::<T>().ok()?, one.is_new))
        })
    }

    /// Whether there is something that the configuration before did not have.
    #[must_use]
    pub fn has_new(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|one| one.is_new)
    }

    /// The configuration is taken over: what is new in it is started.
    pub fn start(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for one in kept.iter_mut().filter(|one| one.is_new) {
            one.is_new = false;
            Arc::clone(&one.value).start();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Keep for Counter {
        fn start(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn equal_settings_share_one_over_reloads_and_it_starts_once() {
        let first = Shared::default();
        let one = first.keep(None, &"a".to_owned(), Counter::default);
        assert!(Arc::ptr_eq(&one, &first.keep(None, &"a".to_owned(), Counter::default)));
        first.start();
        let second = Shared::default();
        assert!(Arc::ptr_eq(&one, &second.keep(Some(&first), &"a".to_owned(), Counter::default)));
        let other = second.keep(Some(&first), &"b".to_owned(), Counter::default);
        assert!(!Arc::ptr_eq(&one, &other));
        second.start();
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (1, 1));
    }
}
