//! The literals of a set: one automaton that finds the leftmost, longest one.

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::RuleError;

/// A literal as its rule has it.
pub(super) struct Source<'a> {
    pub(super) rule: usize,
    pub(super) bytes: &'a [u8],
    pub(super) boundary: bool,
}

/// All literals, searched at once.
pub(super) struct Literals {
    automaton: AhoCorasick,
    /// By pattern of the automaton; each text is there once.
    texts: Vec<Text>,
    /// What an undecided end of the data is a proper prefix of, sorted.
    futures: Vec<Vec<u8>>,
    /// Which bytes begin a literal.
    first: Box<[bool; 256]>,
    /// See [`Compiled::window`](super::compile::Compiled).
    pub(super) window: usize,
}

struct Text {
    length: usize,
    /// The rules that look for this text, in order, and whether they want a boundary.
    rules: Vec<(usize, bool)>,
    /// The texts that this one begins with, longest first.
    shorter: Vec<usize>,
}

/// A match of a literal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) rule: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Literals {
    pub(super) fn new(sources: &[Source<'_>]) -> Result<Option<Self>, RuleError> {
        let Some(first_source) = sources.first() else {
            return Ok(None);
        };
        let mut bytes: Vec<&[u8]> = sources.iter().map(|source| source.bytes).collect();
        bytes.sort_unstable();
        bytes.dedup();
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&bytes).map_err(|error| RuleError {
                index: first_source.rule,
                message: format!("too much text to find: {error}"),
            })?;
        let texts: Vec<Text> = bytes.iter().map(|text| Text::new(text, &bytes, sources)).collect();
        let mut first = Box::new([false; 256]);
        let mut futures = Vec::new();
        for (text, info) in bytes.iter().zip(&texts) {
            futures.push(text.to_vec());
            if info.rules.iter().any(|&(_, boundary)| boundary) {
                // Undecided are the text itself, and the text with one more byte that may go either way.
                futures.extend(GLUE.map(|glue| [text, &[glue, 0][..]].concat()));
            }
            if let Some(flag) = text.first().and_then(|&byte| first.get_mut(usize::from(byte))) {
                *flag = true;
            }
        }
        futures.sort_unstable();
        let window = futures.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Some(Self { automaton, texts, futures, first, window }))
    }

    /// The first match at or after `from`, taking the end of `haystack` for the end of the body.
    pub(super) fn find(&self, haystack: &[u8], mut from: usize) -> Option<Found> {
        loop {
            let found = self.automaton.find(Input::new(haystack).range(from..))?;
            let start = found.start();
            let text = self.texts.get(found.pattern().as_usize())?;
            let candidates = std::iter::once(text).chain(text.shorter.iter().filter_map(|&at| self.texts.get(at)));
            for candidate in candidates {
                let end = start + candidate.length;
                let rest = haystack.get(end..).unwrap_or_default();
                let rule = candidate.rules.iter().find(|&&(_, boundary)| !boundary || ends_authority(rest));
                if let Some(&(rule, _)) = rule {
                    return Some(Found { rule, start, end });
                }
            }
            from = start + 1;
        }
    }

    /// The first position at or after `from` where more data may make or change a match; else the end.
    pub(super) fn undecided(&self, haystack: &[u8], from: usize) -> usize {
        let earliest = from.max((haystack.len() + 1).saturating_sub(self.window));
        let tail = haystack.get(earliest..).unwrap_or_default();
        let starts = tail.iter().enumerate().filter(|&(_, &byte)| self.first[usize::from(byte)]);
        for (at, _) in starts {
            let suffix = tail.get(at..).unwrap_or_default();
            let next = self.futures.partition_point(|future| future.as_slice() <= suffix);
            if self.futures.get(next).is_some_and(|future| future.starts_with(suffix)) {
                return earliest + at;
            }
        }
        haystack.len()
    }
}

impl Text {
    fn new(text: &[u8], all: &[&[u8]], sources: &[Source<'_>]) -> Self {
        let rules = sources.iter().filter(|source| source.bytes == text).map(|source| (source.rule, source.boundary));
        let mut shorter: Vec<usize> = all
            .iter()
            .enumerate()
            .filter(|(_, other)| other.len() < text.len() && text.starts_with(other))
            .map(|(at, _)| at)
            .collect();
        // Sorted order puts a prefix before what it begins, so the longest comes last.
        shorter.reverse();
        Self { length: text.len(), rules: rules.collect(), shorter }
    }
}

/// Bytes that continue an authority only with a name byte behind them.
const GLUE: [u8; 2] = *b".:";

/// Whether an authority ends before `rest`.
fn ends_authority(rest: &[u8]) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match rest {
        [] => true,
        [b'.' | b':', next, ..] => !is_name(*next),
        [byte, ..] => !is_name(*byte) && *byte != b'-',
    }
}
