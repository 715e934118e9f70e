//! Reads a document into Rust types, and reports every problem in it at once.
//!
//! The types are plain `serde` derives with `deny_unknown_fields`. `serde` stops at the first problem, so [`read`] notes it,
//! passes over the node that has it, and starts again, until the rest can be read. What merely follows from an earlier
//! problem, such as a required key missing because its value was passed over, is not reported; nor is a scalar that holds a
//! variable without a value, as the expansion has reported that.
//!
//! Three forms of `serde` lose the paths of the values in them and should not be used in a configuration: `untagged` and
//! internally tagged enums, and `flatten`. In their place there are enums written as `name` or `name: value`, [`StringOr`]
//! and [`OneOrMany`].

mod de;
mod error;
mod explain;
mod key;
mod list_or;
mod shape;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_yaml::Value;

use crate::config::document::{Document, Mask};
use crate::config::report::{KeyPath, Problem, Report, Segment};

use de::Node;
use error::{Error, Kind};

pub use explain::nearest;
pub use list_or::{FromList, ListOr};
pub use shape::{OneOrMany, StringOr, present, string_or_struct, string_or_struct_list};

/// How often reading starts again before it gives up on a document.
const MAX_ROUNDS: usize = 500;

/// Tells the new name of a key by the path of its mapping and its old name: `timeout` gives `timeouts.first_byte`.
pub type Renamed = fn(parent: &KeyPath, key: &str) -> Option<&'static str>;

/// Reads the node of a document at a path, which is empty for the whole document.
///
/// The value is sound only if the report is empty. It is there despite problems when everything without them makes a
/// value, so that later checks can add theirs.
#[must_use]
pub fn read<T: DeserializeOwned>(document: &Document, at: &KeyPath) -> (Option<T>, Report) {
    read_renamed(document, at, |_, _| None)
}

/// Like [`read`], and tells users of keys that were renamed the new name.
#[must_use]
pub fn read_renamed<T: DeserializeOwned>(document: &Document, at: &KeyPath, renamed: Renamed) -> (Option<T>, Report) {
    let mut reader = Reader {
        document,
        at,
        renamed,
        mask: document.omitted().clone(),
        suggested: BTreeSet::new(),
        report: Report::new(),
    };
    let Some(value) = document.get(at) else {
        let problem = document.problem(at.clone(), "missing; add it");
        return (None, problem.into());
    };
    for _ in 0..MAX_ROUNDS {
        match T::deserialize(Node::new(value, reader.mask.at(at))) {
            Ok(value) => return (Some(value), reader.report),
            Err(error) => {
                if !reader.pass_over(error) {
                    return (None, reader.report);
                }
            }
        }
    }
    let message = "there are more problems than shown here; mend these first";
    reader.report.push(Problem::new(None, at.clone(), message));
    (None, reader.report)
}

struct Reader<'a> {
    document: &'a Document,
    at: &'a KeyPath,
    renamed: Renamed,
    /// The nodes passed over so far.
    mask: Mask,
    /// Keys that an unknown key was likely meant to be: they are not reported as missing, too.
    suggested: BTreeSet<KeyPath>,
    report: Report,
}

impl Reader<'_> {
    /// Reports a problem unless it follows from an earlier one, and passes over its node; false at the root.
    fn pass_over(&mut self, error: Error) -> bool {
        let (tail, on_key, kind) = error.into_parts();
        let path = self.at.join(&tail);
        if !self.follows(&path, &kind) {
            self.note(&path, on_key, &kind);
        }
        let mut target = match &kind {
            Kind::UnknownKey { key, .. } => path.then(key.as_str()),
            Kind::WrittenTwice(key) => path.then(*key),
            _ => path,
        };
        // A node that is passed over already can't be the cure again: leave out what holds it.
        while self.mask.covers(&target) {
            target.pop();
        }
        if target.segments().len() <= self.at.segments().len() {
            return false;
        }
        self.mask.drop_node(&target);
        true
    }

    /// Whether a problem is there only because of a node that was passed over.
    fn follows(&self, path: &KeyPath, kind: &Kind) -> bool {
        let mask = self.mask.at(path);
        match kind {
            Kind::UnknownKey { .. } | Kind::WrittenTwice(_) => false,
            Kind::MissingKey(key) => {
                let missing = path.then(*key);
                self.suggested.contains(&missing) || self.mask.covers(&missing)
            }
            Kind::UnknownVariant { .. } | Kind::Mismatch { .. } | Kind::Custom(_) => {
                mask.is_some_and(Mask::drops_below) || self.document.is_unexpanded(path)
            }
        }
    }

    fn note(&mut self, path: &KeyPath, on_key: bool, kind: &Kind) {
        let problem = match kind {
            Kind::UnknownKey { key, expected } => {
                let new_name = (self.renamed)(path, key);
                let meant = nearest(key, expected.iter().copied());
                if let Some(name) = new_name.or(meant) {
                    let first = name.split(['.', '[']).next().unwrap_or(name);
                    self.suggested.insert(path.then(first));
                }
                let message = explain::unknown_key(key, expected, meant, new_name);
                self.document.key_problem(path.then(key.as_str()), message)
            }
            _ if on_key => self.document.key_problem(path.clone(), explain::message(kind)),
            _ => self.document.problem(path.clone(), explain::message(kind)),
        };
        self.report.push(self.without_secrets(problem));
    }

    /// Blots out every secret value at or below the path of a problem.
    fn without_secrets(&self, mut problem: Problem) -> Problem {
        for secret in self.document.secrets() {
            let value = self.document.get(secret).and_then(Value::as_str);
            if let Some(value) = value.filter(|value| !value.is_empty() && problem.path.contains(secret)) {
                let escaped = value.escape_debug().to_string();
                problem.message = problem.message.replace(&escaped, "***").replace(value, "***");
            }
        }
        problem
    }
}

/// The segment of a key; keys of a document are text.
fn segment_of(key: &Value) -> Segment {
    Segment::Key(key.as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
