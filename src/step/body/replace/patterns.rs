//! The regexes of a set: one engine that finds the leftmost match, and one that tells where a match is undecided.

use std::sync::Arc;

use regex_automata::hybrid::{LazyStateID, dfa};
use regex_automata::nfa::thompson;
use regex_automata::util::alphabet::Unit;
use regex_automata::util::pool::Pool;
use regex_automata::util::primitives::{NonMaxUsize, PatternID};
use regex_automata::{Anchored, Input, MatchKind, meta};
use regex_syntax::hir::{self, Hir};

use super::RuleError;
use super::compile::parse_hir;

/// How large the compiled regexes of one set may be, in bytes.
const SIZE_LIMIT: usize = 16 << 20;

/// How large the states of a lazy automaton may grow, in bytes, for each thread that searches.
const CACHE: usize = 4 << 20;

/// What must follow a match with a boundary; the same as `ends_authority` for literals.
const BOUNDARY: &str = r"(?:[^0-9A-Za-z_.:\-]|[.:](?:[^0-9A-Za-z_]|\z)|\z)";

/// How many bytes behind a match its boundary looks at.
const BOUNDARY_LENGTH: usize = 2;

/// A regex as its rule has it.
pub(super) struct Source {
    pub(super) rule: usize,
    pub(super) hir: Hir,
    pub(super) boundary: bool,
}

type Caches = Pool<dfa::Cache, Box<dyn Fn() -> dfa::Cache + Send + Sync>>;

/// All regexes, searched at once.
pub(super) struct Patterns {
    regex: meta::Regex,
    /// Anchored, all regexes at once: dead as soon as nothing that follows matters.
    futures: Arc<dfa::DFA>,
    caches: Caches,
    /// By pattern of the engine.
    items: Vec<Item>,
    /// Which bytes can begin a match.
    first: Box<[bool; 256]>,
    /// Whether there are assertions, with which the next byte may decide about a match that ends before it.
    has_looks: bool,
    /// See [`Compiled::window`](super::compile::Compiled).
    pub(super) window: usize,
}

/// The bounds of the groups of a match, two by two.
pub(super) type Slots = Vec<Option<NonMaxUsize>>;

struct Item {
    rule: usize,
    /// This regex alone, to fill in the groups of a match whose place is known.
    groups: meta::Regex,
    /// With a boundary: the empty group that stands where the match proper ends.
    end_group: Option<usize>,
}

/// A match of a regex.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) rule: usize,
    pub(super) pattern: PatternID,
    pub(super) start: usize,
    /// The end with what the boundary looked at.
    pub(super) reach: usize,
}

impl Patterns {
    pub(super) fn new(sources: &[Source]) -> Result<Option<Self>, RuleError> {
        let Some(first_source) = sources.first() else {
            return Ok(None);
        };
        let (mut hirs, mut items, mut window, mut has_looks) = (Vec::new(), Vec::new(), 0, false);
        for source in sources {
            let failed = |message| RuleError { index: source.rule, message };
            let properties = source.hir.properties();
            let mut length = properties.maximum_len().unwrap_or(super::MAX_LENGTH);
            has_looks |= !properties.look_set().is_empty();
            let (mut end_group, mut hir) = (None, source.hir.clone());
            if source.boundary {
                let index = properties.explicit_captures_len() + 1;
                hir = with_boundary(&hir, index).map_err(failed)?;
                end_group = Some(index);
                length += BOUNDARY_LENGTH;
            }
            let groups = build_groups(&hir).map_err(|error| failed(too_large(&*error)))?;
            hirs.push(hir);
            items.push(Item { rule: source.rule, groups, end_group });
            // One more: what follows a match may prolong it, and `\b` looks at it.
            window = window.max(length + 1);
        }
        let failed = |error: &dyn std::error::Error| RuleError { index: first_source.rule, message: too_large(error) };
        let regex = meta::Builder::new()
            .configure(
                meta::Config::new().utf8_empty(false).nfa_size_limit(Some(SIZE_LIMIT)).hybrid_cache_capacity(CACHE),
            )
            .build_many_from_hir(&hirs)
            .map_err(|error| failed(&error))?;
        let futures = Arc::new(build_futures(&hirs).map_err(|error| failed(&*error))?);
        let first = if has_looks { Box::new([true; 256]) } else { first_bytes(&futures) };
        let for_pool = Arc::clone(&futures);
        let create: Box<dyn Fn() -> dfa::Cache + Send + Sync> = Box::new(move || for_pool.create_cache());
        Ok(Some(Self { regex, futures, caches: Pool::new(create), items, first, has_looks, window }))
    }

    /// The first match at or after `from`, taking the end of `haystack` for the end of the body.
    pub(super) fn find(&self, haystack: &[u8], from: usize) -> Option<Found> {
        let found = self.regex.search(&Input::new(haystack).range(from..))?;
        let item = self.items.get(found.pattern().as_usize())?;
        Some(Found { rule: item.rule, pattern: found.pattern(), start: found.start(), reach: found.end() })
    }

    /// Whether the end of a match is only known from its captures.
    pub(super) fn needs_captures(&self, found: &Found) -> bool {
        self.items.get(found.pattern.as_usize()).is_some_and(|item| item.end_group.is_some())
    }

    /// Fills in the groups of a match and gives its end.
    pub(super) fn capture(&self, haystack: &[u8], found: &Found, slots: &mut Slots) -> usize {
        slots.clear();
        let Some(item) = self.items.get(found.pattern.as_usize()) else {
            return found.reach;
        };
        slots.resize(item.groups.group_info().slot_len(), None);
        let input = Input::new(haystack).range(found.start..found.reach).anchored(Anchored::Yes);
        item.groups.search_slots(&input, slots);
        let end = item.end_group.and_then(|group| group_range(slots, group));
        end.map_or(found.reach, |range| range.end)
    }

    /// The first position at or after `from` where more data may make or change a match; else the end.
    pub(super) fn undecided(&self, haystack: &[u8], from: usize) -> usize {
        let earliest = from.max((haystack.len() + 1).saturating_sub(self.window));
        if earliest >= haystack.len() {
            return haystack.len();
        }
        let mut starts = (earliest..haystack.len())
            .filter(|&start| haystack.get(start).is_some_and(|&byte| self.first[usize::from(byte)]))
            .peekable();
        if starts.peek().is_none() {
            return haystack.len();
        }
        let mut cache = self.caches.get();
        starts.find(|&start| self.is_undecided(&mut cache, haystack, start)).unwrap_or(haystack.len())
    }

    /// Whether a match that begins at `start` depends on what follows the haystack. Errs on the side of yes.
    fn is_undecided(&self, cache: &mut dfa::Cache, haystack: &[u8], start: usize) -> bool {
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.futures.start_state_forward(cache, &input) else {
            return true;
        };
        for &byte in haystack.get(start..).unwrap_or_default() {
            match self.futures.next_state(cache, state, byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        !self.is_settled(cache, state).unwrap_or(false)
    }

    /// Whether the outcome in `state` is known whatever byte comes next. States report a match one byte late, so that
    /// is: every byte leads nowhere; or every byte leads to a match that ends right here, and then nowhere. `None` if
    /// it cannot be told.
    fn is_settled(&self, cache: &mut dfa::Cache, state: LazyStateID) -> Option<bool> {
        let classes = self.futures.byte_classes();
        let (mut ends, mut dies) = (None, false);
        for byte in classes.representatives(0..=255).filter_map(Unit::as_u8) {
            let next = self.step(cache, state, byte)?;
            if next.is_dead() {
                dies = true;
            } else if ends != Some(next) {
                if self.has_looks || !next.is_match() || !self.is_dead_end(cache, next)? {
                    return Some(false);
                }
                ends = Some(next);
            }
        }
        // Some bytes to a match and some to none: then it is the next byte that decides.
        Some(!(dies && ends.is_some()))
    }

    /// Whether every byte leads from `state` to nowhere.
    fn is_dead_end(&self, cache: &mut dfa::Cache, state: LazyStateID) -> Option<bool> {
        for byte in self.futures.byte_classes().representatives(0..=255).filter_map(Unit::as_u8) {
            if !self.step(cache, state, byte)?.is_dead() {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The state after one more byte. `None` if that cleared the cache, which makes the states known so far void.
    fn step(&self, cache: &mut dfa::Cache, from: LazyStateID, byte: u8) -> Option<LazyStateID> {
        let clears = cache.clear_count();
        let next = self.futures.next_state(cache, from, byte).ok()?;
        (cache.clear_count() == clears).then_some(next)
    }
}

fn too_large(error: &dyn std::error::Error) -> String {
    format!("this regular expression, or the set of them, is too large: {error}")
}

/// Where a group lies, if it took part.
pub(super) fn group_range(slots: &Slots, group: usize) -> Option<std::ops::Range<usize>> {
    let slot = |at: usize| slots.get(at).copied().flatten().map(NonMaxUsize::get);
    let first = group.checked_mul(2)?;
    Some(slot(first)?..slot(first + 1)?)
}

/// The bytes that do not lead from the start straight to nowhere.
fn first_bytes(futures: &dfa::DFA) -> Box<[bool; 256]> {
    let mut cache = futures.create_cache();
    let input = Input::new("").anchored(Anchored::Yes);
    let mut first = Box::new([true; 256]);
    for (byte, flag) in (0..=255).zip(first.iter_mut()) {
        // The start again each time: a full cache makes old states void.
        if let Ok(start) = futures.start_state_forward(&mut cache, &input)
            && let Ok(next) = futures.next_state(&mut cache, start, byte)
        {
            *flag = !next.is_dead();
        }
    }
    first
}

/// The engine for the groups of one regex whose match is known already.
fn build_groups(hir: &Hir) -> Result<meta::Regex, Box<meta::BuildError>> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(SIZE_LIMIT))
        .auto_prefilter(false)
        .hybrid(false)
        .dfa(false);
    meta::Builder::new().configure(config).build_from_hir(hir).map_err(Box::new)
}

fn with_boundary(hir: &Hir, index: usize) -> Result<Hir, String> {
    let index = u32::try_from(index).map_err(|_| "too many capture groups".to_owned())?;
    let end = Hir::capture(hir::Capture { index, name: None, sub: Box::new(Hir::empty()) });
    Ok(Hir::concat(vec![hir.clone(), end, parse_hir(BOUNDARY)?]))
}

fn build_futures(hirs: &[Hir]) -> Result<dfa::DFA, Box<dyn std::error::Error>> {
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .nfa_size_limit(Some(SIZE_LIMIT))
                .which_captures(thompson::WhichCaptures::None),
        )
        .build_many_from_hir(hirs)?;
    let config =
        dfa::Config::new().match_kind(MatchKind::LeftmostFirst).cache_capacity(CACHE).skip_cache_capacity_check(true);
    Ok(dfa::Builder::new().configure(config).build_from_nfa(nfa)?)
}
