//! What was verified, remembered: the same token comes with each request of a client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A text, and what is known of it until a time and for as long as the keys stay.
pub(in crate::step::auth) struct Remembered<T> {
    cache: Cache<Box<str>, Entry<T>, ByLength>,
}

struct Entry<T> {
    value: Arc<T>,
    generation: u64,
    /// In seconds since 1970, the last in which it holds.
    until: u64,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ..*self }
    }
}

#[derive(Clone)]
struct ByLength;

impl<T> Weighter<Box<str>, Entry<T>> for ByLength {
    fn weight(&self, text: &Box<str>, _: &Entry<T>) -> u64 {
        1 + text.len() as u64 / 1024
    }
}

impl<T> std::fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("entries", &self.cache.len()).finish()
    }
}

impl<T> Remembered<T> {
    /// Remembers so many texts of 1 KiB.
    pub(in crate::step::auth) fn new(most: usize) -> Self {
        Self { cache: Cache::with_weighter(most, most as u64, ByLength) }
    }

    /// What is known of a text. The whole of it is compared, not only its hash, whose seed nobody knows.
    pub(in crate::step::auth) fn get(&self, text: &str, generation: u64, now: SystemTime) -> Option<Arc<T>> {
        let entry = self.cache.get(text)?;
        (entry.generation == generation && seconds(now) <= entry.until).then_some(entry.value)
    }

    pub(in crate::step::auth) fn put(&self, text: &str, value: Arc<T>, generation: u64, until: u64) {
        self.cache.insert(text.into(), Entry { value, generation, until });
    }
}

/// Seconds since 1970.
pub(in crate::step::auth) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
