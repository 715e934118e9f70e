//! The pass over a stream: finds matches, hands over what is decided, and holds back what is not.

use std::sync::Arc;

use super::compile::Compiled;
use super::patterns::{Patterns, Slots, group_range};
use super::{literals, patterns};

/// The state of one stream.
pub(in crate::step::body) struct Scanner {
    compiled: Arc<Compiled>,
    /// Bytes not decided yet, and before them [`context`](Self::context) bytes that have left.
    held: Vec<u8>,
    /// 0, or 1 if the set looks at the byte before a match.
    context: usize,
    slots: Slots,
}

/// A match that counts.
pub(in crate::step::body) struct Hit<'a> {
    /// The rule that matched.
    pub(in crate::step::body) rule: usize,
    /// Whether that rule replaces once.
    pub(in crate::step::body) once: bool,
    haystack: &'a [u8],
    start: usize,
    end: usize,
    regex: Option<(&'a Patterns, patterns::Found)>,
    captured: bool,
    slots: &'a mut Slots,
}

/// What to do with a match: append to the output what takes its place.
pub(in crate::step::body) type OnHit<'a> = &'a mut dyn FnMut(&mut Hit<'_>, &mut Vec<u8>);

impl<'a> Hit<'a> {
    /// What a group matched; 0 is the whole match. Empty if it took no part or is not there.
    pub(in crate::step::body) fn group(&mut self, group: usize) -> &'a [u8] {
        if group == 0 {
            return self.haystack.get(self.start..self.end).unwrap_or_default();
        }
        let Some((patterns, found)) = &self.regex else {
            return &[];
        };
        if !self.captured {
            patterns.capture(self.haystack, found, self.slots);
            self.captured = true;
        }
        let range = group_range(self.slots, group);
        range.and_then(|range| self.haystack.get(range)).unwrap_or_default()
    }

    /// Where a group lies within the whole match.
    pub(in crate::step::body) fn span(&mut self, group: usize) -> Option<std::ops::Range<usize>> {
        self.group(group);
        let range = group_range(self.slots, group)?;
        Some(range.start.checked_sub(self.start)?..range.end.checked_sub(self.start)?)
    }
}

impl Scanner {
    pub(in crate::step::body) fn new(compiled: Arc<Compiled>) -> Self {
        Self { compiled, held: Vec::new(), context: 0, slots: Slots::new() }
    }

    /// How many bytes are held back.
    pub(in crate::step::body) fn held(&self) -> usize {
        self.held.len() - self.context
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Takes the next bytes, `last` if none follow.
    pub(in crate::step::body) fn feed(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>, on_hit: OnHit<'_>) {
        let compiled = Arc::clone(&self.compiled);
        let mut start = 0;
        if !self.held.is_empty() {
            // Join no more than it takes to decide all that is held; the rest is searched where it lies.
            let join = chunk.len().min(compiled.window + 1);
            let border = self.held.len();
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(chunk.get(..join).unwrap_or_default());
            let is_all = join == chunk.len();
            let mut pass = Pass { compiled: &compiled, haystack: &held, slots: &mut self.slots };
            let resume = pass.run(self.context, last && is_all, out, on_hit);
            self.held = held;
            if is_all {
                return self.keep_held(resume);
            }
            self.held.clear();
            start = resume.saturating_sub(border);
        }
        let mut pass = Pass { compiled: &compiled, haystack: chunk, slots: &mut self.slots };
        let resume = pass.run(start, last, out, on_hit);
        self.context = usize::from(compiled.looks_behind && resume > 0);
        self.held.extend_from_slice(chunk.get(resume - self.context..).unwrap_or_default());
    }

    /// Drops from what is held everything before `resume`.
    fn keep_held(&mut self, resume: usize) {
        self.context = usize::from(self.compiled.looks_behind && resume > 0);
        self.held.drain(..resume - self.context);
    }
}

/// One search over bytes that lie together.
struct Pass<'a, 'c> {
    compiled: &'a Compiled,
    haystack: &'a [u8],
    slots: &'c mut Slots,
}

/// The next match of each kind, kept until the search has gone past its start.
#[derive(Default)]
struct Next {
    literal: Ahead<literals::Found>,
    regex: Ahead<patterns::Found>,
}

#[derive(Default)]
enum Ahead<T> {
    #[default]
    Unknown,
    None,
    At(T),
}

impl<T: Copy> Ahead<T> {
    fn at(&self) -> Option<T> {
        if let Self::At(found) = self { Some(*found) } else { None }
    }

    fn refresh(&mut self, is_stale: impl Fn(&T) -> bool, search: impl FnOnce() -> Option<T>) {
        let keep = match self {
            Self::Unknown => false,
            Self::None => true,
            Self::At(found) => !is_stale(found),
        };
        if !keep {
            *self = search().map_or(Self::None, Self::At);
        }
    }
}

/// From where on matches are undecided, for literals and regexes; computed when first asked for.
#[derive(Default)]
struct Frontier {
    literal: Option<usize>,
    regex: Option<usize>,
}

impl Pass<'_, '_> {
    /// Searches from `position` on, writes what is decided, and tells up to where that is.
    fn run(&mut self, mut position: usize, last: bool, out: &mut Vec<u8>, on_hit: OnHit<'_>) -> usize {
        let (mut next, mut frontier) = (Next::default(), Frontier::default());
        let end = self.haystack.len();
        loop {
            self.look_ahead(&mut next, position);
            let (literal, regex) = (next.literal.at(), next.regex.at());
            let (start, found_regex) = match (literal, regex) {
                (Some(literal), Some(regex)) if regex.start < literal.start => (regex.start, Some(regex)),
                (Some(literal), _) => (literal.start, None),
                (None, Some(regex)) => (regex.start, Some(regex)),
                (None, None) => break,
            };
            if !last && start + self.compiled.window > end {
                let (by_literal, by_regex) = self.frontier(&mut frontier, position);
                // A literal goes before a regex at the same byte, so an undecided regex there does not matter.
                let is_decided =
                    start < by_literal && if found_regex.is_some() { start < by_regex } else { start <= by_regex };
                if !is_decided {
                    break;
                }
            }
            out.extend_from_slice(self.haystack.get(position..start).unwrap_or_default());
            position = self.hit(literal, found_regex, out, on_hit).max(start + 1);
        }
        let resume = if last {
            end
        } else {
            let (by_literal, by_regex) = self.frontier(&mut frontier, position);
            by_literal.min(by_regex).max(position)
        };
        out.extend_from_slice(self.haystack.get(position..resume).unwrap_or_default());
        resume
    }

    fn look_ahead(&self, next: &mut Next, position: usize) {
        match &self.compiled.literals {
            Some(literals) => {
                next.literal.refresh(|found| found.start < position, || literals.find(self.haystack, position));
            }
            None => next.literal = Ahead::None,
        }
        match &self.compiled.patterns {
            Some(patterns) => {
                next.regex.refresh(|found| found.start < position, || patterns.find(self.haystack, position));
            }
            None => next.regex = Ahead::None,
        }
    }

    /// Hands a match over and tells where it ends.
    fn hit(
        &mut self,
        literal: Option<literals::Found>,
        regex: Option<patterns::Found>,
        out: &mut Vec<u8>,
        on_hit: OnHit<'_>,
    ) -> usize {
        let compiled = self.compiled;
        let (rule, start, mut end) = match (regex, literal) {
            (Some(found), _) => (found.rule, found.start, found.reach),
            (None, Some(found)) => (found.rule, found.start, found.end),
            (None, None) => return 0,
        };
        let regex = regex.and_then(|found| Some((compiled.patterns.as_ref()?, found)));
        let mut captured = false;
        if let Some((patterns, found)) = &regex
            && patterns.needs_captures(found)
        {
            end = patterns.capture(self.haystack, found, self.slots);
            captured = true;
        }
        let once = compiled.rules.get(rule).is_some_and(|info| info.once);
        let haystack = self.haystack;
        let mut hit = Hit { rule, once, haystack, start, end, regex, captured, slots: self.slots };
        on_hit(&mut hit, out);
        end
    }

    fn frontier(&self, known: &mut Frontier, position: usize) -> (usize, usize) {
        let end = self.haystack.len();
        // The first undecided position stays the first until the search is past it.
        let literal = known.literal.filter(|&at| at >= position).unwrap_or_else(|| {
            self.compiled.literals.as_ref().map_or(end, |literals| literals.undecided(self.haystack, position))
        });
        let regex = known.regex.filter(|&at| at >= position).unwrap_or_else(|| {
            self.compiled.patterns.as_ref().map_or(end, |patterns| patterns.undecided(self.haystack, position))
        });
        *known = Frontier { literal: Some(literal), regex: Some(regex) };
        (literal, regex)
    }
}
