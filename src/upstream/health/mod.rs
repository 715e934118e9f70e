//! Whether an endpoint works: what probes say (active), and what requests say (passive).
//!
//! Probes make it `healthy` or `unhealthy`; requests that fail can have it `ejected` for a while. All of it lives with
//! the endpoint, and is read without a lock; the words for people stand behind one that only changes take.

pub(super) mod outlier;
pub(super) mod probe;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::clock;
use outlier::Ejection;

/// What probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Probed {
    /// Nobody probes.
    No = 0,
    /// Nothing is proven yet: it gets requests.
    Unknown = 1,
    /// It answers as it should.
    Healthy = 2,
    /// It does not.
    Unhealthy = 3,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// When, in seconds of Unix time.
    pub at: u64,
    /// Whether it was good.
    pub good: bool,
    /// What came, or why nothing did.
    pub what: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The health of an endpoint.
#[derive(Debug, Default)]
pub struct Health {
    probed: AtomicU8,
    /// Until when it is ejected; 0: it is not.
    ejected_until: AtomicU64,
    /// When it recovered, for its slow start; 0: long ago.
    recovered_at: AtomicU64,
    failures_in_a_row: AtomicU32,
    requests: AtomicU32,
    failures: AtomicU32,
    /// When it was last probed; 0: never.
    probed_at: AtomicU64,
    words: Mutex<Words>,
}

/// What people and rare changes need.
#[derive(Debug, Default)]
struct Words {
    /// Probes in a row that say otherwise than the state.
    streak: u32,
    since: Option<SystemTime>,
    reason: String,
    last_probe: Option<Answer>,
    ejections: u32,
    ejected_at: u64,
}

/// What people see of an endpoint's health.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Shown {
    /// `healthy`, `unhealthy`, `unknown`, `unprobed`, or `ejected`.
    pub state: &'static str,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when, in seconds of Unix time.
    pub since: Option<u64>,
    /// The last probe's answer.
    pub last_probe: Option<Answer>,
    /// How often it was ejected.
    pub ejections: u32,
}

impl Health {
    /// Whether it gets requests.
    #[must_use]
    pub fn is_usable(&self, now: u64) -> bool {
        self.probed.load(Ordering::Relaxed) != Probed::Unhealthy as u8 && !self.is_ejected(now)
    }

    /// Whether it is left out because requests failed.
    #[must_use]
    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    /// Its share of requests while it starts slowly, from 0.1 to 1.
    #[must_use]
    pub fn warmth(&self, now: u64, slow_start: u64) -> f64 {
        let recovered = self.recovered_at.load(Ordering::Relaxed);
        if recovered == 0 || slow_start == 0 || now >= recovered + slow_start {
            return 1.0;
        }
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a slow start")]
        let share = now.saturating_sub(recovered) as f64 / slow_start as f64;
        share.max(0.1)
    }

    /// Begins or ends probing: what is known stays.
    pub(super) fn probe(&self, on: bool) {
        let known = self.probed.load(Ordering::Relaxed);
        if !on {
            self.probed.store(Probed::No as u8, Ordering::Relaxed);
        } else if known == Probed::No as u8 {
            self.probed.store(Probed::Unknown as u8, Ordering::Relaxed);
        }
    }

    /// How long ago it was probed, where what that showed is known still.
    pub(super) fn since_probe(&self) -> Option<Duration> {
        let at = self.probed_at.load(Ordering::Relaxed);
        let known = self.probed.load(Ordering::Relaxed) > Probed::Unknown as u8;
        (at != 0 && known).then(|| Duration::from_millis(clock::now().saturating_sub(at)))
    }

    /// Takes the answer to a probe in; the new state, if it changes.
    pub(super) fn probed(&self, answer: Answer, rise: u32, fall: u32) -> Option<Probed> {
        self.probed_at.store(clock::now(), Ordering::Relaxed);
        let mut words = self.words();
        let before = self.probed.load(Ordering::Relaxed);
        if before == Probed::No as u8 {
            // A reload has ended the probing while this probe was under way.
            return None;
        }
        let (next, needed) = match (answer.good, before) {
            (true, before) if before == Probed::Unknown as u8 => (Probed::Healthy, 1),
            (true, before) if before == Probed::Unhealthy as u8 => (Probed::Healthy, rise),
            (false, before) if before != Probed::Unhealthy as u8 => (Probed::Unhealthy, fall),
            _ => {
                words.streak = 0;
                words.last_probe = Some(answer);
                return None;
            }
        };
        words.streak += 1;
        let changes = words.streak >= needed.max(1);
        if changes {
            words.streak = 0;
            words.since = Some(SystemTime::now());
            words.reason.clone_from(&answer.what);
            self.probed.store(next as u8, Ordering::Relaxed);
            if before == Probed::Unhealthy as u8 {
                self.recovered_at.store(clock::now(), Ordering::Relaxed);
            }
        }
        words.last_probe = Some(answer);
        changes.then_some(next)
    }

    /// Counts a request that succeeded.
    pub fn succeeded(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a request that failed; whether it is one too many in a row, which is told once for each such row.
    pub fn failed(&self, rule: &Ejection) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        rule.failures != 0 && in_a_row.is_multiple_of(rule.failures)
    }

    /// Counts a request whose idle connection was closed just then: one says nothing, many of them do.
    pub fn doubted(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests and failures since this was last asked.
    pub(super) fn take_counts(&self) -> (u32, u32) {
        (self.requests.swap(0, Ordering::Relaxed), self.failures.swap(0, Ordering::Relaxed))
    }

    /// Leaves it out, each time for longer; for how long.
    pub(super) fn eject(&self, rule: &Ejection, reason: &str) -> Duration {
        let now = clock::now();
        let mut words = self.words();
        // Having worked for longer than it can be left out, it starts anew.
        if now > words.ejected_at + 2 * clock::millis(rule.max_time) {
            words.ejections = 0;
        }
        let time = rule.time.saturating_mul(1 << words.ejections.min(20)).min(rule.max_time);
        words.ejections += 1;
        words.ejected_at = now;
        words.since = Some(SystemTime::now());
        reason.clone_into(&mut words.reason);
        self.ejected_until.store(now + clock::millis(time), Ordering::Relaxed);
        time
    }

    /// Lets it in again when its time has passed; whether that is now.
    pub(super) fn readmit(&self, now: u64, rule: &Ejection) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        if until == 0 || until > now {
            return false;
        }
        self.ejected_until.store(0, Ordering::Relaxed);
        // It is on probation: one more failure ejects it again.
        self.failures_in_a_row.store(rule.failures.saturating_sub(1), Ordering::Relaxed);
        self.recovered_at.store(now, Ordering::Relaxed);
        if self.probed.load(Ordering::Relaxed) != Probed::Unhealthy as u8 {
            let mut words = self.words();
            words.since = Some(SystemTime::now());
            "its time out is over".clone_into(&mut words.reason);
        }
        true
    }

    /// What people see.
    #[must_use]
    pub fn shown(&self, now: u64) -> Shown {
        let words = self.words();
        let state = match self.probed.load(Ordering::Relaxed) {
            state if state == Probed::Unhealthy as u8 => "unhealthy",
            _ if self.is_ejected(now) => "ejected",
            state if state == Probed::Healthy as u8 => "healthy",
            state if state == Probed::Unknown as u8 => "unknown",
            _ => "unprobed",
        };
        Shown {
            state,
            reason: words.reason.clone(),
            since: words.since.map(unix),
            last_probe: words.last_probe.clone(),
            ejections: words.ejections,
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds of Unix time.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(good: bool) -> Answer {
        Answer { at: 0, good, what: "x".to_owned(), took_ms: 1 }
    }

    #[test]
    fn probes_turn_the_state_after_some_in_a_row() {
        let health = Health::default();
        assert_eq!(health.shown(1).state, "unprobed");
        health.probe(true);
        assert_eq!(health.shown(1).state, "unknown");
        assert!(health.is_usable(1));
        assert_eq!(health.probed(answer(true), 2, 3), Some(Probed::Healthy));
        for _ in 0..2 {
            assert_eq!(health.probed(answer(false), 2, 3), None);
            assert_eq!(health.probed(answer(false), 2, 3), None);
            assert_eq!(health.probed(answer(true), 2, 3), None, "the row is broken");
        }
        health.probed(answer(false), 2, 3);
        health.probed(answer(false), 2, 3);
        assert_eq!(health.probed(answer(false), 2, 3), Some(Probed::Unhealthy));
        assert!(!health.is_usable(1));
        assert_eq!(health.probed(answer(true), 2, 3), None);
        assert_eq!(health.probed(answer(true), 2, 3), Some(Probed::Healthy));
        assert!(health.warmth(clock::now(), 60_000) < 0.2);
        health.probe(false);
        assert_eq!(health.shown(1).state, "unprobed");
    }

    #[test]
    fn time_out_grows_and_ends_on_probation() {
        let rule = Ejection { failures: 2, ..Ejection::default() };
        let health = Health::default();
        assert!(!health.failed(&rule));
        health.succeeded();
        assert!(!health.failed(&rule));
        assert!(health.failed(&rule));
        assert_eq!(health.eject(&rule, "why"), Duration::from_secs(10));
        assert!(!health.is_usable(clock::now()));
        let later = clock::now() + 10_000;
        assert!(!health.readmit(clock::now(), &rule));
        assert!(health.readmit(later, &rule));
        assert!(health.is_usable(later));
        assert!(health.failed(&rule), "on probation");
        assert_eq!(health.eject(&rule, "why"), Duration::from_secs(20));
        assert_eq!(health.shown(clock::now()).ejections, 2);
    }
}
