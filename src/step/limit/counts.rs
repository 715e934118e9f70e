//! What this process counts, kept over reloads.

use std::sync::Arc;

use super::super::shared::Keep;
use super::local::{Mode, Verdict};
use super::table::{Hashed, Hashing, Kept, Table, UnderWay};

/// What is counted in this process.
#[derive(Debug)]
pub(super) struct Local<T> {
    pub(super) hashing: Hashing,
    pub(super) table: Table<T>,
}

impl<T: Kept> Local<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { hashing: Hashing::default(), table: Table::new(most) }
    }

    /// Decides by what is known of a key. Who only looks leaves nothing of a key that is not known.
    pub(super) fn decide(
        &self,
        key: Hashed,
        rule: &T::Rule,
        now: u64,
        mode: Mode,
        decide: impl Fn(&mut T) -> Verdict,
    ) -> Verdict {
        match mode {
            Mode::Look => self.table.look(key, &decide).unwrap_or_else(|| decide(&mut T::default())),
            Mode::Take | Mode::Count => self.table.with(key, rule, now, decide),
        }
    }
}

impl<T: Kept + Send + 'static> Keep for Local<T> {}

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) hashing: Hashing,
    pub(super) under_way: UnderWay,
}

impl Keep for Places {}

/// A place that a request has; given back when it is over.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) places: Arc<Places>,
    pub(super) key: Hashed,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.under_way.leave(self.key);
    }
}
