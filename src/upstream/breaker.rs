//! The circuit breaker: while most attempts fail, requests are refused at once; then single ones are let through to see.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// The share of attempts that fail.
    pub failure_share: f64,
    /// Of at least this many in a window.
    pub minimum: u32,
    /// The window, in milliseconds.
    pub window: u64,
    /// How long it stays open, in milliseconds.
    pub open: u64,
}

/// The breaker of a pool. Only pools that have a rule use it; a short lock holds its few numbers together.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// When the current window began.
    began: u64,
    total: u32,
    failed: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    /// Refuses until this time.
    Open { until: u64 },
    /// One request is on its way to see, since this time.
    Probing { since: u64 },
}

/// What became of a request's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The breaker stays as it is.
    None,
    /// It has opened.
    Opened,
    /// It has closed.
    Closed,
}

impl Breaker {
    /// Lets a request pass; `true` when it is the single one that is to see whether the pool works again.
    ///
    /// # Errors
    /// How long the breaker is open still.
    pub(super) fn pass(&self, rule: Rule) -> Result<bool, Duration> {
        let now = clock::now();
        let mut state = self.lock();
        let wait = match state.phase {
            Phase::Closed => return Ok(false),
            Phase::Open { until } if now < until => until - now,
            // One that never came back, as its client went away, does not keep it half open for ever.
            Phase::Probing { since } if now < since + rule.open => (since + rule.open) - now,
            Phase::Open { .. } | Phase::Probing { .. } => {
                state.phase = Phase::Probing { since: now };
                return Ok(true);
            }
        };
        Err(Duration::from_millis(wait))
    }

    /// Counts an attempt.
    pub(super) fn record(&self, rule: Rule, success: bool, probe: bool) -> Change {
        let now = clock::now();
        let mut state = self.lock();
        match state.phase {
            Phase::Probing { .. } if probe => {
                let phase = if success { Phase::Closed } else { Phase::Open { until: now + rule.open } };
                *state = State { phase, began: now, total: 0, failed: 0 };
                if success { Change::Closed } else { Change::Opened }
            }
            Phase::Probing { .. } | Phase::Open { .. } => Change::None,
            Phase::Closed => {
                if now >= state.began + rule.window {
                    *state = State { began: now, ..State::default() };
                }
                state.total = state.total.saturating_add(1);
                state.failed = state.failed.saturating_add(u32::from(!success));
                let share = f64::from(state.failed) / f64::from(state.total);
                if state.failed > 0 && state.total >= rule.minimum && share >= rule.failure_share {
                    state.phase = Phase::Open { until: now + rule.open };
                    return Change::Opened;
                }
                Change::None
            }
        }
    }

    /// Its phase, for people.
    #[must_use]
    pub(super) fn phase(&self) -> &'static str {
        match self.lock().phase {
            Phase::Closed => "closed",
            Phase::Open { until } if clock::now() < until => "open",
            Phase::Open { .. } | Phase::Probing { .. } => "half_open",
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { failure_share: 0.5, minimum: 4, window: 60_000, open: 60_000 };

    #[test]
    fn opens_on_failures_and_lets_single_ones_through() {
        let breaker = Breaker::default();
        for success in [true, true, false] {
            assert_eq!(breaker.pass(RULE), Ok(false));
            assert_eq!(breaker.record(RULE, success, false), Change::None);
        }
        assert_eq!(breaker.record(RULE, false, false), Change::Opened);
        assert_eq!(breaker.phase(), "open");
        assert!(breaker.pass(RULE).unwrap_err() > Duration::from_secs(50));

        let soon = Rule { open: 0, ..RULE };
        breaker.lock().phase = Phase::Open { until: 0 };
        assert_eq!(breaker.pass(RULE), Ok(true));
        assert!(breaker.pass(RULE).is_err(), "a second one while the first is on its way");
        assert_eq!(breaker.record(RULE, true, false), Change::None, "one that began before it opened");
        assert_eq!(breaker.record(soon, false, true), Change::Opened);
        assert_eq!(breaker.pass(soon), Ok(true));
        assert_eq!(breaker.record(RULE, true, true), Change::Closed);
        assert_eq!(breaker.pass(RULE), Ok(false));
    }
}
