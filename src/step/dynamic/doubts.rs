//! Names that were looked up, and stand for nothing that may be reached.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// For so long such a name is not looked up again.
const KNOWN: Duration = Duration::from_secs(5);
/// So many are remembered.
const MOST: usize = 1024;

/// The names.
pub(super) struct Doubts(Cache<String, Instant>);

impl Default for Doubts {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl std::fmt::Debug for Doubts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doubts").finish_non_exhaustive()
    }
}

impl Doubts {
    pub(super) fn add(&self, host: &str) {
        self.0.insert(host.to_owned(), Instant::now());
    }

    pub(super) fn has(&self, host: &str) -> bool {
        self.0.get(host).is_some_and(|since| since.elapsed() < KNOWN)
    }
}
