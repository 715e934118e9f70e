//! Why routes lost: the decision once more, for people.

use std::sync::Arc;

use super::{Decision, Request, Route, Snapshot};

/// How a route fared in a decision, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trace {
    /// It won.
    Won,
    /// It matches as well, but less specifically.
    LessSpecific,
    /// It is not served on this listener.
    OtherListener,
    /// Its host pattern does not fit.
    Host,
    /// Its path pattern does not fit.
    Path,
    /// Its methods do not fit.
    Method,
    /// A header condition does not hold.
    Header(String),
}

impl Snapshot {
    /// How each route fared, for people.
    #[must_use]
    pub fn trace(&self, request: &Request<'_>, decision: &Decision) -> Vec<Trace> {
        let winner = decision.route.as_ref().map(|(_, found)| found.route);
        let trace = |(index, route): (usize, &Arc<Route>)| {
            if winner == Some(index) { Trace::Won } else { self.loses(index, route, request, &decision.path) }
        };
        self.routes.iter().enumerate().map(trace).collect()
    }

    fn loses(&self, index: usize, route: &Route, request: &Request<'_>, path: &str) -> Trace {
        let matcher = &route.matcher;
        let host = crate::route::host::normalise(request.host);
        let mut here = false;
        self.tables.of(request.listener).find(request.host, path, |candidate| {
            here |= candidate == index;
            false
        });
        if here {
            if !matcher.accepts_method(request.method) {
                return Trace::Method;
            }
            if !matcher.accepts_path(path) {
                return Trace::Path;
            }
            return match matcher.headers.iter().find(|c| !c.holds(request.headers)) {
                Some(condition) => Trace::Header(condition.name.to_string()),
                None => Trace::LessSpecific,
            };
        }
        let named = request.listener.is_some_and(|name| route.listeners.iter().any(|l| l == name));
        if !route.listeners.is_empty() && !named {
            Trace::OtherListener
        } else if matcher.hosts.iter().any(|pattern| pattern.matches(&host)) {
            Trace::Path
        } else {
            Trace::Host
        }
    }
}
