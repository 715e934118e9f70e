//! Lists and mappings while they are built.

use saphyr_parser::Marker;
use serde_yaml::{Mapping, Value};

use super::{Position, Spot};
use crate::config::report::Segment;

/// What a node costs to copy, in bytes, beside its text.
const NODE_COST: usize = 64;

/// A finished node; `depth` and `cost` are those of the whole tree below it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) spot: Spot,
    pub(super) depth: usize,
    pub(super) cost: usize,
}

impl Node {
    /// A node without others below it, written with `length` bytes.
    pub(super) fn scalar(value: Value, at: Position, length: usize) -> Self {
        Self { value, spot: Spot::new(at), depth: 0, cost: NODE_COST + length }
    }
}

/// A list or mapping that is still open.
pub(super) struct Frame {
    kind: Kind,
    spot: Spot,
    anchor: usize,
    depth: usize,
    cost: usize,
}

enum Kind {
    List(Vec<Value>),
    Map(Box<Map>),
}

#[derive(Default)]
struct Map {
    entries: Mapping,
    pending: Pending,
    /// The value of `<<`, to be merged when all own keys are known.
    merged: Option<(Position, Node)>,
}

/// The key a mapping waits to see the value of.
#[derive(Default)]
enum Pending {
    #[default]
    None,
    Key(String, Position),
    Merge(Position),
    /// A key that was refused, so its value is passed over.
    Refused,
}

impl Frame {
    pub(super) fn list(anchor: usize, at: Position) -> Self {
        Self::new(Kind::List(Vec::new()), anchor, at)
    }

    pub(super) fn map(anchor: usize, at: Position) -> Self {
        Self::new(Kind::Map(Box::default()), anchor, at)
    }

    fn new(kind: Kind, anchor: usize, at: Position) -> Self {
        Self { kind, spot: Spot::new(at), anchor, depth: 0, cost: NODE_COST }
    }

    /// The anchor of this node; 0 if it has none.
    pub(super) fn anchor(&self) -> usize {
        self.anchor
    }

    /// Whether the next node is a key.
    pub(super) fn awaits_key(&self) -> bool {
        matches!(&self.kind, Kind::Map(map) if matches!(map.pending, Pending::None))
    }

    /// The place of the key that the next node is the value of.
    pub(super) fn key_position(&self) -> Option<Position> {
        match &self.kind {
            Kind::Map(map) => match &map.pending {
                Pending::Key(_, at) => Some(*at),
                _ => None,
            },
            Kind::List(_) => None,
        }
    }

    /// The way from this node to the next.
    pub(super) fn segment(&self) -> Option<Segment> {
        match &self.kind {
            Kind::List(items) => Some(Segment::Index(items.len())),
            Kind::Map(map) => match &map.pending {
                Pending::Key(key, _) => Some(Segment::Key(key.clone())),
                Pending::Merge(_) => Some(Segment::from("<<")),
                Pending::None | Pending::Refused => None,
            },
        }
    }

    /// Takes a key, or refuses it and returns the place where it was written first.
    pub(super) fn key(&mut self, key: &str, is_merge: bool, at: Position) -> Option<Position> {
        let Kind::Map(map) = &mut self.kind else {
            return None;
        };
        let first = if is_merge {
            map.merged.as_ref().map(|(first, _)| *first)
        } else {
            let first = self.spot.children.get(&Segment::from(key));
            first.map(|spot| spot.key.unwrap_or(spot.value))
        };
        map.pending = match first {
            Some(_) => Pending::Refused,
            None if is_merge => Pending::Merge(at),
            None => Pending::Key(key.to_owned(), at),
        };
        first
    }

    /// Passes over the value that comes next, as its key was refused.
    pub(super) fn refuse_key(&mut self) {
        if let Kind::Map(map) = &mut self.kind {
            map.pending = Pending::Refused;
        }
    }

    /// Adds a finished node as the next item, or as the value of the last key.
    pub(super) fn add(&mut self, mut node: Node) {
        self.depth = self.depth.max(node.depth);
        self.cost = self.cost.saturating_add(node.cost);
        match &mut self.kind {
            Kind::List(items) => {
                let index = Segment::Index(items.len());
                items.push(node.value);
                self.spot.children.insert(index, node.spot);
            }
            Kind::Map(map) => match std::mem::take(&mut map.pending) {
                Pending::Key(key, at) => {
                    node.spot.key = Some(at);
                    map.entries.insert(Value::String(key.clone()), node.value);
                    self.spot.children.insert(Segment::Key(key), node.spot);
                }
                Pending::Merge(at) => map.merged = Some((at, node)),
                Pending::None | Pending::Refused => {}
            },
        }
    }

    /// The finished node, and the place of a `<<` that names something else than mappings.
    pub(super) fn close(mut self) -> (Node, Option<Position>) {
        let (value, refused) = match self.kind {
            Kind::List(items) => (Value::Sequence(items), None),
            Kind::Map(mut map) => {
                let merged = map.merged.take();
                let refused = merged.and_then(|(at, from)| {
                    let is_sound = merge(&mut map.entries, &mut self.spot, from);
                    (!is_sound).then_some(at)
                });
                (Value::Mapping(map.entries), refused)
            }
        };
        let node = Node { value, spot: self.spot, depth: self.depth + 1, cost: self.cost };
        (node, refused)
    }
}

/// Adds what `<<` names: own keys win, and of several mappings the first. False if it names something else.
fn merge(entries: &mut Mapping, spot: &mut Spot, from: Node) -> bool {
    let sources = match from.value {
        Value::Sequence(items) => items.into_iter().zip(from.spot.children.into_values()).collect(),
        value => vec![(value, from.spot)],
    };
    let mut is_sound = true;
    for (value, mut from) in sources {
        let Value::Mapping(map) = value else {
            is_sound = false;
            continue;
        };
        for (key, value) in map {
            if let Value::String(name) = &key
                && !entries.contains_key(&key)
            {
                let segment = Segment::from(name.as_str());
                if let Some(from) = from.children.remove(&segment) {
                    spot.children.insert(segment, from);
                }
                entries.insert(key, value);
            }
        }
    }
    is_sound
}

/// The parser counts lines from 1 and columns from 0.
pub(super) fn position(marker: Marker) -> Position {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: narrow(marker.line().max(1)), column: narrow(marker.col().saturating_add(1)) }
}
