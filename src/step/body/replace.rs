//! Substitution in a streaming body: a set of literals and regexes, one pass, replaced text is not scanned again.
//!
//! Which match counts:
//! - The leftmost. Among matches that begin at the same byte a literal goes before a regex, a longer literal before a
//!   shorter one, and otherwise the rule written first. Within one regex the usual rules hold (leftmost-first).
//! - After a match the search goes on behind it; matches never overlap.
//! - With [`Rule::boundary`] a match counts only where no URL authority would go on: the next byte is not one of
//!   `[A-Za-z0-9_-]`, nor a `.` or `:` with one of `[A-Za-z0-9_]` behind it. So `http://10.0.0.1:80` is found in
//!   `http://10.0.0.1:80/x` and at the end of a sentence, but not in `http://10.0.0.1:8080` or `http://10.0.0.1:80.x`.
//!   Where one match fails for that, the next one in order is tried.
//! - With [`Rule::once`] the first match is replaced; later ones are found too, but copied as they are.
//!
//! Regexes have the syntax of the `regex` crate and work on bytes: `.` is any byte but a line feed, classes are ASCII
//! (`(?u)` switches Unicode on). Each must have a bounded length and may not match nothing; of the assertions only
//! `\b` and its kin are there. That makes a stream exact: bytes are held back only while some match beginning at them
//! is still undecided, and the result does not depend on how the body is cut.

mod compile;
mod literals;
mod patterns;
mod scan;

use std::sync::Arc;

use bytes::Bytes;

use super::{BodyError, BodyStep};
pub(super) use compile::Compiled;
pub(super) use scan::{Hit, Scanner};

/// The longest literal, and the longest match of a regex, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// What a rule looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// These bytes as they are.
    Literal(Vec<u8>),
    /// A regular expression.
    Regex(String),
}

/// One rule of a substitution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What to look for.
    pub find: Find,
    /// The match must not be followed by bytes that continue a URL authority.
    pub boundary: bool,
    /// Only the first match in a body is replaced.
    pub once: bool,
}

/// Why a rule cannot be used, and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {index}: {message}")]
pub struct RuleError {
    /// Which rule, counted from 0.
    pub index: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A piece of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// What a capture group matched: 0 is the whole match. A group that took no part is empty.
    Group(usize),
}

/// What a match is replaced by. Cheap to clone.
pub type Replacement = Arc<[Part]>;

/// A compiled set of rules. Cheap to clone; one serves any number of streams at once.
#[derive(Clone)]
pub struct Substitution {
    compiled: Arc<Compiled>,
}

impl Substitution {
    /// Compiles a set of rules into one engine.
    ///
    /// # Errors
    /// The first rule that cannot be used, with its index and a message that names the cure.
    pub fn compile(rules: &[Rule]) -> Result<Self, RuleError> {
        Ok(Self { compiled: Arc::new(Compiled::new(rules)?) })
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.compiled.rules.len()
    }

    /// How many capture groups a rule has, not counting the whole match. A literal has none.
    #[must_use]
    pub fn groups(&self, rule: usize) -> usize {
        self.compiled.rules.get(rule).map_or(0, |info| info.names.len())
    }

    /// The number of the capture group with this name.
    #[must_use]
    pub fn group_named(&self, rule: usize, name: &str) -> Option<usize> {
        let names = &self.compiled.rules.get(rule)?.names;
        Some(names.iter().position(|known| known.as_deref() == Some(name))? + 1)
    }

    /// The most bytes a stream of this set ever holds back.
    #[must_use]
    pub fn max_held(&self) -> usize {
        self.compiled.window
    }

    /// Starts on a body. `replacements` are in the order of the rules; a rule without one leaves its matches as they
    /// are.
    #[must_use]
    pub fn stream(&self, replacements: Vec<Replacement>) -> SubstituteStream {
        SubstituteStream {
            scanner: Scanner::new(Arc::clone(&self.compiled)),
            replacements,
            spent: vec![false; self.compiled.rules.len()],
        }
    }
}

/// One body on its way through a [`Substitution`].
pub struct SubstituteStream {
    scanner: Scanner,
    replacements: Vec<Replacement>,
    /// Rules that replace once and have done so.
    spent: Vec<bool>,
}

impl SubstituteStream {
    /// How many bytes are held back now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.scanner.held()
    }

    fn feed(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>) {
        let Self { scanner, replacements, spent } = self;
        scanner.feed(chunk, last, out, &mut |hit, out| {
            let replacement = replacements.get(hit.rule);
            let is_spent = spent.get_mut(hit.rule).is_some_and(|spent| std::mem::replace(spent, hit.once));
            match replacement {
                Some(parts) if !is_spent => {
                    for part in parts.iter() {
                        match part {
                            Part::Bytes(bytes) => out.extend_from_slice(bytes),
                            Part::Group(group) => out.extend_from_slice(hit.group(*group)),
                        }
                    }
                }
                _ => out.extend_from_slice(hit.group(0)),
            }
        });
    }
}

impl BodyStep for SubstituteStream {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.feed(chunk, false, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.feed(&[], true, out);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests;
