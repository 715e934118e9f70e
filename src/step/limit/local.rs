//! Limits that this process counts by itself: the token bucket and the rolling window. Pure: the time is told.

use std::collections::VecDeque;
use std::time::Duration;

use super::table::Kept;

/// Nanoseconds in a millisecond, and in a second.
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLI;
/// Entries that a rolling window needs at most; requests that are closer together than its part of this leave together.
const PARTS: u64 = 128;

/// What a limit says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether it may pass.
    pub(super) passes: bool,
    /// How many more may pass after it at once.
    pub(super) remaining: u32,
    /// Where it may not pass, when it may; else when more may than now, or all where it is a bucket.
    pub(super) wait: Duration,
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is counted if it may pass.
    Take,
    /// It is asked whether it may pass; nothing is counted.
    Look,
    /// It is counted: it has passed already.
    Count,
}

/// A token bucket, as the time at which it is full again (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BucketRule {
    /// Nanoseconds until one more may pass.
    pub(super) each: u64,
    /// How many may pass at once when it is full.
    pub(super) burst: u32,
}

/// When a bucket is full again, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    pub(super) fn decide(&mut self, rule: &BucketRule, now: u64, mode: Mode) -> Verdict {
        let whole = rule.each.saturating_mul(u64::from(rule.burst));
        // More than all can be missing where the rule was a stricter one before; a little more where threads told the time
        // before they waited for each other.
        let most = now.saturating_add(whole);
        if self.full_at > most.saturating_add(SECOND) {
            self.full_at = most;
        }
        let full_at = self.full_at.max(now).saturating_add(rule.each);
        let missing = full_at - now;
        let passes = missing <= whole;
        match mode {
            Mode::Take if passes => self.full_at = full_at,
            // What passed already is counted, but nobody runs up a debt.
            Mode::Count => self.full_at = full_at.min(now.saturating_add(whole)),
            Mode::Take | Mode::Look => {}
        }
        if passes {
            let remaining = u32::try_from((whole - missing) / rule.each.max(1)).unwrap_or(u32::MAX);
            Verdict { passes, remaining, wait: Duration::from_nanos(missing) }
        } else {
            Verdict { passes, remaining: 0, wait: Duration::from_nanos(missing - whole) }
        }
    }

    /// Takes back what [`Mode::Take`] counted.
    pub(super) fn give_back(&mut self, rule: &BucketRule) {
        self.full_at = self.full_at.saturating_sub(rule.each);
    }
}

impl Kept for Bucket {
    type Rule = BucketRule;

    fn is_idle(&self, _: &BucketRule, now: u64) -> bool {
        self.full_at <= now
    }

    fn used(&self) -> u64 {
        self.full_at
    }
}

/// A rolling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowRule {
    /// How many requests, in any window.
    pub(super) requests: u32,
    /// Its length in milliseconds.
    pub(super) window: u64,
    /// Whether requests that may not pass count too.
    pub(super) counts_rejected: bool,
}

impl WindowRule {
    /// How close together requests are that are kept as one: exactly a millisecond as long as few are kept.
    fn grain(&self) -> u64 {
        let few = u64::from(self.requests) <= PARTS && !self.counts_rejected;
        if few { 1 } else { (self.window / PARTS).max(1) }
    }
}

/// The requests in a window: when, in milliseconds, and how many, the oldest first.
///
/// Requests within a grain are kept with the time of the last of them. So a window never lets more pass than it should, and
/// a request counts for as much as a grain longer.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    count: u32,
}

/// The time in the upper 44 bits, the number in the lower 20: there are many of these.
#[derive(Debug, Clone, Copy)]
struct Entry(u64);

impl Entry {
    const MOST: u64 = (1 << 20) - 1;

    fn new(at: u64, count: u64) -> Self {
        Self((at << 20) | count)
    }

    fn at(self) -> u64 {
        self.0 >> 20
    }

    fn count(self) -> u64 {
        self.0 & Self::MOST
    }
}

impl Window {
    pub(super) fn decide(&mut self, rule: &WindowRule, now: u64, mode: Mode) -> Verdict {
        let now = now / MILLI;
        while let Some(first) = self.entries.front().filter(|entry| entry.at() + rule.window <= now) {
            self.count = self.count.saturating_sub(number(first.count()));
            self.entries.pop_front();
        }
        let passes = self.count < rule.requests;
        match mode {
            Mode::Take if passes || rule.counts_rejected => self.push(rule, now),
            Mode::Count => self.push(rule, now),
            Mode::Take | Mode::Look => {}
        }
        let remaining = rule.requests.saturating_sub(self.count + u32::from(mode == Mode::Look));
        let surplus = if passes { 0 } else { self.count.saturating_sub(rule.requests) };
        let wait = self.leaves(rule, now, surplus).unwrap_or(rule.window);
        Verdict { passes, remaining: if passes { remaining } else { 0 }, wait: Duration::from_millis(wait) }
    }

    fn push(&mut self, rule: &WindowRule, now: u64) {
        self.count = self.count.saturating_add(1);
        let grain = rule.grain();
        // Threads that tell the time before they wait for each other may come in another order.
        let now = self.used().max(now);
        if let Some(last) = self.entries.back_mut()
            && last.at() / grain == now / grain
            && last.count() < Entry::MOST
        {
            *last = Entry::new(now, last.count() + 1);
            return;
        }
        self.entries.push_back(Entry::new(now, 1));
    }

    /// The time until more than `surplus` requests have left, the oldest first.
    fn leaves(&self, rule: &WindowRule, now: u64, surplus: u32) -> Option<u64> {
        let mut left = 0;
        let last = self.entries.iter().find(|entry| {
            left += entry.count();
            left > u64::from(surplus)
        });
        last.map(|entry| (entry.at() + rule.window).saturating_sub(now))
    }

    /// Takes back what [`Mode::Take`] counted.
    pub(super) fn give_back(&mut self) {
        if let Some(last) = self.entries.pop_back() {
            self.count = self.count.saturating_sub(1);
            if last.count() > 1 {
                self.entries.push_back(Entry::new(last.at(), last.count() - 1));
            }
        }
    }
}

fn number(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Kept for Window {
    type Rule = WindowRule;

    fn is_idle(&self, rule: &WindowRule, now: u64) -> bool {
        self.used() + rule.window <= now / MILLI
    }

    fn used(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.at())
    }
}
