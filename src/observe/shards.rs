//! Values that each thread has a part of, so that threads that count do not wait for each other's caches.

use std::sync::atomic::{AtomicUsize, Ordering};

use once_cell::sync::{Lazy, OnceCell};

/// How many parts there are: at least one for each core, so that workers do not share one.
static PARTS: Lazy<usize> = Lazy::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.next_power_of_two().clamp(2, 64)
});

thread_local! {
    /// Which part is this thread's.
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) & (*PARTS - 1)
    };
}

/// A part has cache lines of its own: two, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part<T>(T);

/// A value in parts, each made when a thread first needs it.
#[derive(Debug)]
pub struct Sharded<T> {
    parts: Box<[OnceCell<Box<Part<T>>>]>,
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self { parts: (0..*PARTS).map(|_| OnceCell::new()).collect() }
    }
}

impl<T: Default> Sharded<T> {
    /// This thread's part. Where there are more threads than cores, some share one.
    #[must_use]
    pub fn mine(&self) -> &T {
        let part = PART.with(|part| *part);
        // There are as many parts as `PART` counts to.
        &self.parts[part].get_or_init(Box::default).0
    }
}

impl<T> Sharded<T> {
    /// All parts that were needed so far.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().filter_map(|part| part.get().map(|part| &part.0))
    }

    /// The sum of something over all parts.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.all().fold(0, |sum, part| sum.wrapping_add(of(part)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn parts_add_up_over_threads() {
        let count = Arc::new(Sharded::<AtomicU64>::default());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        count.mine().fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(count.sum(|part| part.load(Ordering::Relaxed)), 8000);
        assert!(count.all().count() >= 2, "threads share one part");
    }
}
