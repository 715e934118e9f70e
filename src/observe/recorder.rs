//! The flight recorder: the last requests in bounded memory, and those that failed for longer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::OnceCell;

use super::Record;

/// Bytes of a record, on average: where they are larger, fewer are kept.
const BYTES: usize = 2048;

/// How many records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Of all requests.
    pub requests: usize,
    /// Of those that failed.
    pub failures: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { requests: 256, failures: 256 }
    }
}

/// Keeps records.
pub struct Recorder {
    kept: Kept,
    rings: Mutex<Rings>,
    /// Waits for records that are on their way here.
    catch_up: OnceCell<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("kept", &self.kept).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Rings {
    all: Ring,
    failures: Ring,
}

/// Records, as many as there may be of them and of their bytes.
#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, record: Arc<Record>, most: usize) {
        if most == 0 {
            return;
        }
        self.bytes += record.size();
        self.records.push_back(record);
        while self.records.len() > most || (self.bytes > most * BYTES && self.records.len() > 1) {
            self.bytes -= self.records.pop_front().map_or(0, |oldest| oldest.size());
        }
    }
}

impl Recorder {
    /// One that keeps so many.
    #[must_use]
    pub fn new(kept: Kept) -> Self {
        Self { kept, rings: Mutex::default(), catch_up: OnceCell::new() }
    }

    /// Sets how it waits for records that are on their way.
    pub fn follow(&self, catch_up: impl Fn() + Send + Sync + 'static) {
        let _ = self.catch_up.set(Box::new(catch_up));
    }

    /// Waits, for a while at most, until all requests that have ended are here.
    pub fn catch_up(&self) {
        if let Some(catch_up) = self.catch_up.get() {
            catch_up();
        }
    }

    /// Keeps records, in place of the oldest.
    pub fn keep(&self, records: impl Iterator<Item = Arc<Record>>) {
        for record in records {
            let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
            if record.is_failure() {
                rings.failures.push(Arc::clone(&record), self.kept.failures);
            }
            rings.all.push(record, self.kept.requests);
        }
    }

    /// The last request of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Record>> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings
            .all
            .records
            .iter()
            .rev()
            .chain(rings.failures.records.iter().rev())
            .find(|record| *record.id == *id)
            .cloned()
    }

    /// The last records, the newest first: of all requests, or of those that failed; of one route, or of all.
    #[must_use]
    pub fn last(&self, count: usize, failed: bool, route: Option<&str>) -> Vec<Arc<Record>> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = if failed { &rings.failures } else { &rings.all };
        let wanted = |record: &&Arc<Record>| {
            route.is_none_or(|route| record.route.as_deref().is_some_and(|found| found.name == route))
        };
        let mut last: Vec<Arc<Record>> = ring.records.iter().rev().filter(wanted).take(count).cloned().collect();
        drop(rings);
        // Threads hand their requests over one after the other.
        last.sort_by_key(|record| std::cmp::Reverse(record.time + record.took));
        last
    }
}
