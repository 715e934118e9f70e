//! One YAML text as a tree of values that knows the place of every key and value.
//!
//! [`Document::parse`] builds the tree from the events of one parser, so a value and its place can never disagree.
//! It holds what YAML leaves open to what a configuration needs: one document in a text, text or digits as keys, no key twice, and
//! bounds on nesting and on what aliases may grow to, so that no text can exhaust the process.

mod build;
mod frame;
mod mask;
mod scalar;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::Value;

use crate::config::report::{KeyPath, Place, Problem, Report, Segment};

pub use mask::Mask;

/// How deep lists and mappings may be nested in each other.
pub const MAX_DEPTH: usize = 64;

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    line: u32,
    column: u32,
}

/// Where a node was written, and its key if it stands in a mapping.
#[derive(Debug, Clone)]
struct Spot {
    key: Option<Position>,
    value: Position,
    children: BTreeMap<Segment, Spot>,
}

impl Spot {
    fn new(value: Position) -> Self {
        Self { key: None, value, children: BTreeMap::new() }
    }
}

/// A parsed YAML text: values with their places.
#[derive(Debug, Clone)]
pub struct Document {
    name: Arc<str>,
    value: Value,
    spot: Spot,
    filled: BTreeMap<KeyPath, String>,
    secrets: BTreeSet<KeyPath>,
    unexpanded: BTreeSet<KeyPath>,
    omitted: Mask,
}

impl Document {
    /// Parses one YAML text; `name` is the file name to show in problems. An empty text is an empty mapping.
    ///
    /// Aliases (`*name`) and merge keys (`<<`) are resolved; a value that came through one has the place of its anchor.
    ///
    /// # Errors
    /// All problems found: the first syntax error, or every duplicate key, key that is not text, unknown tag or misuse
    /// of a merge key; a second document; nesting over [`MAX_DEPTH`]; aliases that expand beyond reason.
    pub fn parse(name: &str, text: &str) -> Result<Self, Report> {
        let name: Arc<str> = name.into();
        let (value, spot) = build::build(&name, text)?;
        Ok(Self {
            name,
            value,
            spot,
            filled: BTreeMap::new(),
            secrets: BTreeSet::new(),
            unexpanded: BTreeSet::new(),
            omitted: Mask::default(),
        })
    }

    /// The name of the file, as given to [`Document::parse`].
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The whole tree, with omitted nodes still in it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The whole tree, to change scalars in place; the places stay those of the text.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// The node at a path.
    #[must_use]
    pub fn get(&self, path: &KeyPath) -> Option<&Value> {
        path.segments().iter().try_fold(&self.value, |value, segment| child(value, segment))
    }

    /// The place of the value at a path, or of the nearest node above it that exists.
    #[must_use]
    pub fn place(&self, path: &KeyPath) -> Option<Place> {
        Some(self.at(self.nearest(path).0.value))
    }

    /// The place of the key at a path; for a list item that of the item, for a missing key that of [`Document::place`].
    #[must_use]
    pub fn key_place(&self, path: &KeyPath) -> Option<Place> {
        let (spot, found) = self.nearest(path);
        let position = if found { spot.key.unwrap_or(spot.value) } else { spot.value };
        Some(self.at(position))
    }

    /// A problem with the value at a path.
    #[must_use]
    pub fn problem(&self, path: KeyPath, message: impl Into<String>) -> Problem {
        let message = format!("{}{}", message.into(), self.filled_from(&path));
        Problem::new(self.place(&path), path, message)
    }

    /// A problem with the key at a path.
    #[must_use]
    pub fn key_problem(&self, path: KeyPath, message: impl Into<String>) -> Problem {
        Problem::new(self.key_place(&path), path, message)
    }

    /// Leaves a node out of what is read from this document, as if it were not written.
    ///
    /// The items behind an omitted list item keep their index, so that paths still say what the file says.
    pub fn omit(&mut self, path: &KeyPath) {
        self.omitted.drop_node(path);
    }

    /// The nodes left out.
    #[must_use]
    pub fn omitted(&self) -> &Mask {
        &self.omitted
    }

    /// Marks a scalar as filled from variables: problems with it name them.
    pub fn mark_filled(&mut self, path: KeyPath, variables: &[&str]) {
        if !variables.is_empty() {
            self.filled.insert(path, variables.join(", "));
        }
    }

    /// Where the value at a path comes from, as ` (from NAME)`.
    fn filled_from(&self, path: &KeyPath) -> String {
        let mut holders = self.filled.iter().filter(|(filled, _)| filled.contains(path));
        holders.next_back().map_or_else(String::new, |(_, names)| format!(" (from the variable {names})"))
    }

    /// Marks a scalar as secret: problems with it do not show it.
    pub fn mark_secret(&mut self, path: KeyPath) {
        self.secrets.insert(path);
    }

    /// Takes the marks of a node over for its copy at another path.
    pub fn mark_copied(&mut self, from: &KeyPath, to: &KeyPath) {
        let moved = |path: &KeyPath| {
            let tail: KeyPath = path.segments().iter().skip(from.segments().len()).cloned().collect();
            from.contains(path).then(|| to.join(&tail))
        };
        let secrets: Vec<KeyPath> = self.secrets.iter().filter_map(moved).collect();
        let unexpanded: Vec<KeyPath> = self.unexpanded.iter().filter_map(moved).collect();
        let filled: Vec<_> =
            self.filled.iter().filter_map(|(path, names)| Some((moved(path)?, names.clone()))).collect();
        self.filled.extend(filled);
        self.secrets.extend(secrets);
        self.unexpanded.extend(unexpanded);
        self.omitted.copy(from, to);
    }

    /// The scalars marked as secret.
    #[must_use]
    pub fn secrets(&self) -> &BTreeSet<KeyPath> {
        &self.secrets
    }

    /// Marks a scalar that holds a variable without a value: what it reads as is no problem of its own.
    pub fn mark_unexpanded(&mut self, path: KeyPath) {
        self.unexpanded.insert(path);
    }

    /// Whether a scalar was marked as holding a variable without a value.
    #[must_use]
    pub fn is_unexpanded(&self, path: &KeyPath) -> bool {
        self.unexpanded.contains(path)
    }

    fn at(&self, position: Position) -> Place {
        place(&self.name, position)
    }

    /// The spot of a path, or of its nearest ancestor with `false`.
    fn nearest(&self, path: &KeyPath) -> (&Spot, bool) {
        let mut spot = &self.spot;
        for segment in path.segments() {
            match spot.children.get(segment) {
                Some(child) => spot = child,
                None => return (spot, false),
            }
        }
        (spot, true)
    }
}

fn place(file: &Arc<str>, position: Position) -> Place {
    Place { file: Arc::clone(file), line: position.line, column: position.column }
}

fn child<'a>(value: &'a Value, segment: &Segment) -> Option<&'a Value> {
    match (value, segment) {
        (Value::Mapping(map), Segment::Key(key)) => map.get(key.as_str()),
        (Value::Sequence(list), Segment::Index(index)) => list.get(*index),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
