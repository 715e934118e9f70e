//! A bounded queue from many threads that must never wait to one that may.
//!
//! Each thread puts into a lane of its own. The reader is not woken for each item: it looks every [`PAUSE`], and sooner when
//! a lane fills up. What does not fit is dropped and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use once_cell::sync::OnceCell;

use super::shards::Sharded;

/// How often the reader looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A queue with lanes of `N` items.
#[derive(Debug)]
pub struct Queue<T, const N: usize> {
    lanes: Sharded<Lane<T, N>>,
    reader: OnceCell<Thread>,
    /// Passes that somebody waits for, and those that were made.
    wanted: AtomicU64,
    made: Mutex<u64>,
    pass: Condvar,
}

#[derive(Debug)]
struct Lane<T, const N: usize> {
    items: ArrayQueue<T>,
    dropped: AtomicU64,
}

impl<T, const N: usize> Default for Lane<T, N> {
    fn default() -> Self {
        Self { items: ArrayQueue::new(N), dropped: AtomicU64::default() }
    }
}

impl<T, const N: usize> Default for Queue<T, N> {
    fn default() -> Self {
        Self {
            lanes: Sharded::default(),
            reader: OnceCell::new(),
            wanted: AtomicU64::default(),
            made: Mutex::default(),
            pass: Condvar::new(),
        }
    }
}

impl<T, const N: usize> Queue<T, N> {
    /// Puts an item in, or drops it where there is no room; whether it was put in.
    pub fn push(&self, item: T) -> bool {
        let lane = self.lanes.mine();
        if lane.items.push(item).is_err() {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if lane.items.len() == N / 2 {
            self.wake();
        }
        true
    }

    /// How many items were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lanes.sum(|lane| lane.dropped.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Has the reader take all that is there, and waits for that, but not longer than this; whether it did.
    pub fn sync(&self, at_most: Duration) -> bool {
        let turn = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake();
        let until = Instant::now() + at_most;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        while *made < turn {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            made = self.pass.wait_timeout(made, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Reads for ever, on the current thread: `take` gets each item, `end` is called after each pass.
    pub fn read(&self, mut take: impl FnMut(T), mut end: impl FnMut()) {
        let _ = self.reader.set(std::thread::current());
        loop {
            let wanted = self.wanted.load(Ordering::SeqCst);
            for lane in self.lanes.all() {
                // No more than was there, so that one busy lane does not keep the others waiting.
                for _ in 0..lane.items.len() {
                    let Some(item) = lane.items.pop() else { break };
                    take(item);
                }
            }
            end();
            {
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                if *made != wanted {
                    *made = wanted;
                    self.pass.notify_all();
                }
            }
            if self.wanted.load(Ordering::SeqCst) == wanted && self.lanes.all().all(|lane| lane.items.len() < N / 2) {
                std::thread::park_timeout(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = Arc::new(Queue::<u32, 8>::default());
        let fitted = (0..20).filter(|item| queue.push(*item)).count();
        assert_eq!((fitted, queue.dropped()), (8, 12));
        let (sender, items) = mpsc::channel();
        let reader = Arc::clone(&queue);
        std::thread::spawn(move || reader.read(|item| _ = sender.send(item), || ()));
        assert!(queue.sync(Duration::from_secs(60)));
        assert_eq!(items.try_iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert!(queue.push(99) && queue.sync(Duration::from_secs(60)));
        assert_eq!(items.try_recv(), Ok(99));
    }

    #[test]
    fn nobody_waits_for_a_reader_that_is_stuck() {
        let queue = Arc::new(Queue::<u32, 8>::default());
        let (hold, held) = mpsc::channel::<()>();
        let reader = Arc::clone(&queue);
        std::thread::spawn(move || reader.read(|_| _ = held.recv(), || ()));
        queue.push(1);
        assert!(!queue.sync(Duration::from_millis(20)));
        let fitted = (0..100).filter(|item| queue.push(*item)).count();
        assert!(fitted <= 9);
        assert!(queue.dropped() >= 90);
        drop(hold);
    }
}
