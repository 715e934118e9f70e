//! A set of nodes to pass over in a tree.

use std::collections::BTreeMap;

use crate::config::report::{KeyPath, Segment};

/// Nodes that readers pass over, without moving the nodes behind them.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    dropped: bool,
    below: BTreeMap<Segment, Mask>,
}

impl Mask {
    /// Drops a node with everything below it.
    pub fn drop_node(&mut self, path: &KeyPath) {
        let mut mask = self;
        for segment in path.segments() {
            mask = mask.below.entry(segment.clone()).or_default();
        }
        mask.dropped = true;
    }

    /// Takes the part of the mask for one node over for its copy at another path.
    pub fn copy(&mut self, from: &KeyPath, to: &KeyPath) {
        let Some(part) = self.at(from).cloned() else { return };
        let mut mask = self;
        for segment in to.segments() {
            mask = mask.below.entry(segment.clone()).or_default();
        }
        *mask = part;
    }

    /// Whether this node is dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.dropped
    }

    /// The part of the mask for one node directly below.
    #[must_use]
    pub fn below(&self, segment: &Segment) -> Option<&Self> {
        self.below.get(segment)
    }

    /// The part of the mask for the node at a path.
    #[must_use]
    pub fn at(&self, path: &KeyPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |mask, segment| mask.below(segment))
    }

    /// Whether a node directly below is dropped.
    #[must_use]
    pub fn drops_below(&self) -> bool {
        self.below.values().any(Self::is_dropped)
    }

    /// Whether this node is dropped, or any above it.
    #[must_use]
    pub fn covers(&self, path: &KeyPath) -> bool {
        let mut mask = self;
        for segment in path.segments() {
            if mask.dropped {
                return true;
            }
            match mask.below(segment) {
                Some(next) => mask = next,
                None => return false,
            }
        }
        mask.dropped
    }
}
