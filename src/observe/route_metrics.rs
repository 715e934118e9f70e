//! What is counted of a route. It stays over reloads for as long as a route of this name is configured.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::{Method, StatusCode};
use once_cell::sync::OnceCell;

use super::Outcome;
use super::codes::{CodeCounts, CodeSums};
use super::families::Family;
use super::histogram::{Durations, Histogram};
use super::shards::Sharded;

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"];
/// The label of requests that no route won.
pub const NO_ROUTE: &str = "(none)";

/// Whether a request failed by an upstream's fault or Pylon's.
#[must_use]
pub(super) fn fails(status: StatusCode, outcome: Outcome) -> bool {
    status.is_server_error() || (outcome.is_failure() && !status.is_client_error())
}

/// The metrics of one route.
#[derive(Debug, Clone, Default)]
pub struct RouteMetrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    parts: Sharded<Part>,
    /// Requests under way, for routes that limit them.
    admitted: AtomicI64,
}

/// What one thread counts.
#[derive(Debug)]
struct Part {
    begun: AtomicU64,
    over: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    durations: Histogram,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// By method; made when one first occurs.
    codes: [OnceCell<Box<CodeCounts>>; METHODS.len()],
}

impl Default for Part {
    fn default() -> Self {
        Self {
            begun: AtomicU64::default(),
            over: AtomicU64::default(),
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            durations: Histogram::default(),
            outcomes: [const { AtomicU64::new(0) }; Outcome::ALL.len()],
            codes: [const { OnceCell::new() }; METHODS.len()],
        }
    }
}

impl RouteMetrics {
    /// A request begins.
    pub fn begin(&self) {
        self.0.parts.mine().begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is not under way any more, however it ended.
    pub fn leave(&self) {
        self.0.parts.mine().over.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a request body came.
    pub fn receive(&self, bytes: u64) {
        self.0.parts.mine().received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of a response body went out.
    pub fn send(&self, bytes: u64) {
        self.0.parts.mine().sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request was answered, or came to its end otherwise. Methods beyond the common ones count as `other`; `took` is `None` where the time
    /// says nothing, as with upgraded connections.
    pub fn end(&self, method: &Method, status: StatusCode, outcome: Outcome, took: Option<Duration>) {
        let part = self.0.parts.mine();
        let row = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        part.codes[row].get_or_init(Box::default).count(Some(status));
        part.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if fails(status, outcome) {
            part.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(took) = took {
            part.durations.observe(took);
        }
    }

    /// Requests that were let in on a route that limits them.
    #[must_use]
    pub fn admitted(&self) -> &AtomicI64 {
        &self.0.admitted
    }

    /// What was counted until now.
    #[must_use]
    pub fn totals(&self) -> RouteTotals {
        let parts = &self.0.parts;
        // What begins is read last, so that no request seems to end before it began.
        let over = parts.sum(|part| part.over.load(Ordering::Relaxed));
        let mut totals = RouteTotals {
            received: parts.sum(|part| part.received.load(Ordering::Relaxed)),
            sent: parts.sum(|part| part.sent.load(Ordering::Relaxed)),
            failed: parts.sum(|part| part.failed.load(Ordering::Relaxed)),
            ..RouteTotals::default()
        };
        for part in parts.all() {
            part.durations.add_to(&mut totals.durations);
            for (sum, count) in totals.outcomes.iter_mut().zip(&part.outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
            for (sums, counts) in totals.codes.iter_mut().zip(&part.codes) {
                counts.get().inspect(|counts| counts.add_to(sums));
            }
        }
        let begun = parts.sum(|part| part.begun.load(Ordering::Relaxed));
        totals.in_flight = begun.saturating_sub(over);
        totals
    }
}

/// What was counted of a route.
#[derive(Debug, Clone, Default)]
pub struct RouteTotals {
    /// Requests under way.
    pub in_flight: u64,
    /// Bytes of request bodies.
    pub received: u64,
    /// Bytes of response bodies.
    pub sent: u64,
    /// Requests that failed by an upstream's fault or Pylon's.
    pub failed: u64,
    /// How long requests took.
    pub durations: Durations,
    outcomes: [u64; Outcome::ALL.len()],
    codes: [CodeSums; METHODS.len()],
}

impl RouteTotals {
    /// Requests that ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.codes.iter().map(CodeSums::total).sum()
    }

    /// Requests by status.
    #[must_use]
    pub fn codes(&self) -> BTreeMap<String, u64> {
        let mut codes = BTreeMap::new();
        for (code, count) in self.codes.iter().flat_map(CodeSums::nonzero) {
            *codes.entry(code).or_default() += count;
        }
        codes
    }

    /// Requests by outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.iter().copied().zip(self.outcomes).filter(|(_, count)| *count > 0)
    }
}

/// The metrics of all routes that some configuration in use has.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<BTreeMap<String, Weak<Counts>>>);

impl Routes {
    /// The metrics of a route: those that it has, or new ones.
    pub(super) fn get(&self, name: &str) -> RouteMetrics {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(name).and_then(Weak::upgrade) {
            return RouteMetrics(known);
        }
        let counts = Arc::new(Counts::default());
        routes.insert(name.to_owned(), Arc::downgrade(&counts));
        RouteMetrics(counts)
    }

    /// What was counted, by route; routes that are gone are forgotten.
    pub(super) fn totals(&self) -> Vec<(String, RouteTotals)> {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|_, counts| counts.strong_count() > 0);
        let known: Vec<_> = routes.iter().filter_map(|(name, w)| Some((name.clone(), w.upgrade()?))).collect();
        drop(routes);
        known.into_iter().map(|(name, counts)| (name, RouteMetrics(counts).totals())).collect()
    }
}

/// The families of all routes.
pub(super) fn families(routes: &[(String, RouteTotals)]) -> Vec<Family> {
    let mut requests =
        Family::counter("pylon_http_requests_total", "Requests that ended, by route, method and the client's status.");
    let mut durations = Family::histogram(
        "pylon_http_request_duration_seconds",
        "From the header section to the end of the answer; upgraded requests are left out.",
    );
    let mut received = Family::counter("pylon_http_request_bytes_total", "Bytes of request bodies.");
    let mut sent = Family::counter("pylon_http_response_bytes_total", "Bytes of response bodies.");
    let mut in_flight = Family::gauge("pylon_http_requests_in_flight", "Requests under way.");
    let mut outcomes = Family::counter("pylon_http_outcomes_total", "Requests by how they ended.");
    for (name, totals) in routes {
        let route = [("route", name.as_str())];
        for (method, codes) in METHODS.iter().zip(&totals.codes) {
            for (code, count) in codes.nonzero() {
                requests.push_count(&[route[0], ("method", method), ("code", &code)], count);
            }
        }
        for (outcome, count) in totals.outcomes() {
            outcomes.push_count(&[route[0], ("outcome", outcome.as_str())], count);
        }
        durations.push_durations(&route, &totals.durations);
        received.push_count(&route, totals.received);
        sent.push_count(&route, totals.sent);
        in_flight.push_count(&route, totals.in_flight);
    }
    vec![requests, durations, received, sent, in_flight, outcomes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_while_a_route_of_the_name_is_there() {
        let routes = Routes::default();
        let first = routes.get("a");
        first.begin();
        first.begin();
        first.end(&Method::GET, StatusCode::OK, Outcome::Forwarded, Some(Duration::from_millis(3)));
        first.leave();
        let again = routes.get("a");
        drop(first);
        again.end(&Method::from_bytes(b"BREW").unwrap(), StatusCode::IM_A_TEAPOT, Outcome::Answered, None);
        let totals = routes.totals();
        assert_eq!(totals.len(), 1);
        let (name, totals) = &totals[0];
        assert_eq!((name.as_str(), totals.requests(), totals.in_flight), ("a", 2, 1));
        assert_eq!(totals.durations.count(), 1);
        assert_eq!(totals.codes(), BTreeMap::from([("200".to_owned(), 1), ("4xx".to_owned(), 1)]));
        drop(again);
        assert!(routes.totals().is_empty());
    }
}
