//! The routes of sign-ins: a provider sends browsers back to a path of its own, whatever paths routes have. So each
//! sign-in has built-in routes, on the hosts and listeners of the routes that ask for it; routes with equal settings
//! share them. A route of one's own at such a path takes the place of the built-in one, and then needs the step itself.

use std::collections::BTreeSet;

use http::{HeaderValue, Method, StatusCode};

use super::{Action, Entrance, Route, RouteLimits};
use crate::config::{Loaded, Report, RouteLimitsSpec};
use crate::observe::Metrics;
use crate::route::host::HostPattern;
use crate::route::{Matcher, PathPattern};
use crate::step::answer::Answer;
use crate::step::auth::{Gate, SignIn};
use crate::step::errors::ErrorPages;

/// Where a sign-in is answered.
struct Place {
    sign_in: SignIn,
    /// The first route that asks for it.
    route: usize,
    /// `None`: all listeners that are not dedicated.
    listener: Option<String>,
    hosts: BTreeSet<HostPattern>,
}

/// Adds the routes of the sign-ins that routes ask for.
pub(super) fn add(loaded: &Loaded, routes: &mut Vec<Route>, metrics: &Metrics, report: &mut Report) {
    let places = places(loaded, routes);
    report_clashes(loaded, routes, &places, report);
    let mut added = Vec::new();
    for place in &places {
        let methods = [vec![Method::GET], vec![Method::GET, Method::POST]];
        for ((path, methods), kind) in place.sign_in.paths().into_iter().zip(methods).zip(["sign-in", "sign-out"]) {
            let Ok(path) = path.parse::<PathPattern>() else { continue };
            let hosts = place.hosts.iter().filter(|host| !has_own(routes, place, host, &path));
            let hosts: Vec<HostPattern> = hosts.cloned().collect();
            if hosts.is_empty() {
                continue;
            }
            let is_taken = |name: &str| routes.iter().chain(&added).any(|route| route.name == name);
            let names = (1..).map(|n| if n == 1 { kind.to_owned() } else { format!("{kind}-{n}") });
            let Some(name) = names.into_iter().find(|name| !is_taken(name)) else { continue };
            let matcher = Matcher { hosts, paths: vec![path], methods, headers: Vec::new() };
            added.push(route(&name, matcher, place, metrics));
        }
    }
    routes.extend(added);
}

fn route(name: &str, matcher: Matcher, place: &Place, metrics: &Metrics) -> Route {
    let entry = Entrance { gate: Some(place.sign_in.gate()), ..Entrance::default() };
    // What the step does not answer is nothing that is here.
    let action = Action::Answer(Answer {
        status: StatusCode::NOT_FOUND,
        media_type: HeaderValue::from_static("text/plain"),
        body: bytes::Bytes::new(),
    });
    Route {
        name: name.to_owned(),
        matcher,
        listeners: place.listener.iter().cloned().collect(),
        info: super::compile::info(name, &entry, &action, None),
        entry,
        action,
        errors: ErrorPages::default(),
        limits: RouteLimits::new(&RouteLimitsSpec::default(), name, metrics),
        hsts: None,
        metrics: metrics.route(name),
    }
}

/// Where each sign-in is answered: on the listeners and hosts of the routes that ask for it.
fn places(loaded: &Loaded, routes: &[Route]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        for sign_in in route.entry.gate.iter().flat_map(Gate::sign_ins) {
            let general = route.listeners.is_empty().then_some(None);
            for listener in general.into_iter().chain(route.listeners.iter().cloned().map(Some)) {
                let hosts = route.matcher.hosts.iter().cloned();
                let known =
                    places.iter_mut().find(|place| place.sign_in.is_same(&sign_in) && place.listener == listener);
                match known {
                    Some(place) => place.hosts.extend(hosts),
                    None => {
                        let sign_in = sign_in.clone();
                        places.push(Place { sign_in, route: index, listener, hosts: hosts.collect() });
                    }
                }
            }
        }
    }
    // What is answered on all listeners needs no route on one of them.
    let general: Vec<(SignIn, BTreeSet<HostPattern>)> = places
        .iter()
        .filter(|place| place.listener.is_none())
        .map(|place| (place.sign_in.clone(), place.hosts.clone()))
        .collect();
    for place in &mut places {
        if place.listener.as_ref().is_some_and(|name| !is_dedicated(loaded, name)) {
            let known = general.iter().filter(|(sign_in, _)| sign_in.is_same(&place.sign_in));
            let known: Vec<&HostPattern> = known.flat_map(|(_, hosts)| hosts).collect();
            place.hosts.retain(|host| !known.contains(&host));
        }
    }
    places
}

fn is_dedicated(loaded: &Loaded, listener: &str) -> bool {
    let mut listeners = loaded.process.listeners.iter();
    listeners.any(|known| known.name.as_deref() == Some(listener) && known.dedicated.get())
}

/// Whether a route of one's own has a path on a host.
fn has_own(routes: &[Route], place: &Place, host: &HostPattern, path: &PathPattern) -> bool {
    routes.iter().any(|route| {
        let same_listener = match &place.listener {
            Some(listener) => route.listeners.is_empty() || route.listeners.contains(listener),
            None => true,
        };
        same_listener && route.matcher.paths.contains(path) && route.matcher.hosts.iter().any(|own| meet(own, host))
    })
}

/// Whether some host fits both.
fn meet(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Any, _) | (_, HostPattern::Any) => true,
        (HostPattern::Exact(name), pattern) | (pattern, HostPattern::Exact(name)) => pattern.matches(name),
        (HostPattern::Suffix(one), HostPattern::Suffix(other)) => one.ends_with(other) || other.ends_with(one),
    }
}

/// Two sign-ins with different settings cannot share a path: which of them would answer?
fn report_clashes(loaded: &Loaded, routes: &[Route], places: &[Place], report: &mut Report) {
    let entry = |place: &Place| {
        let name = &routes[place.route].name;
        loaded.routes.iter().find(|entry| entry.value.name == *name)
    };
    let mut told: Vec<(usize, usize)> = Vec::new();
    for (index, second) in places.iter().enumerate() {
        for first in &places[..index] {
            let on_both = match (&first.listener, &second.listener) {
                (Some(first), Some(second)) => first == second,
                (Some(one), None) | (None, Some(one)) => !is_dedicated(loaded, one),
                (None, None) => true,
            };
            let meets = first.hosts.iter().any(|one| second.hosts.iter().any(|other| meet(one, other)));
            let shared = first.sign_in.paths().into_iter().find(|path| second.sign_in.paths().contains(path));
            let pair = (first.route, second.route);
            if let (Some(path), Some(of_first), Some(of_second)) = (shared, entry(first), entry(second))
                && on_both
                && meets
                && !first.sign_in.is_same(&second.sign_in)
                && !told.contains(&pair)
            {
                told.push(pair);
                let message = format!(
                    "the sign-in of route `{}`{} has other settings and uses `{path}` as well; give both the same \
                     settings, or one of them another `redirect_path` and `logout_path`",
                    of_first.value.name,
                    loaded.place(of_first),
                );
                report.push(loaded.problem(of_second, &["auth"], message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_meet_where_one_could_fit_both() {
        let meets = |one: &str, other: &str| meet(&one.parse().unwrap(), &other.parse().unwrap());
        for (one, other) in [("*", "a.b"), ("a.b", "a.b"), ("*.b", "a.b"), ("*.b", "*.a.b")] {
            assert!(meets(one, other) && meets(other, one), "{one} {other}");
        }
        for (one, other) in [("a.b", "c.b"), ("*.b", "b"), ("*.a.b", "*.c.b"), ("*.b", "*.ab")] {
            assert!(!meets(one, other) && !meets(other, one), "{one} {other}");
        }
    }
}
