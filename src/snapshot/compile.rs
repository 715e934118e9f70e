//! Spec → Snapshot: every check that needs more than one key, and all that can be computed before a request comes.

use std::collections::HashMap;
use std::sync::Arc;

use super::entrance::Around;
use super::links::{link_vias, mounts, reserved};
use super::steps::{self, RouteScope};
use super::{Action, Entrance, Route, RouteLimits, Snapshot, Tables};
use crate::config::{Entry, KeyPath, Loaded, Report, RouteLog, RouteSpec};
use crate::observe::{Logged, Metrics, RouteInfo};
use crate::route::host::HostPattern;
use crate::route::{Conflict, Matcher, PathPattern, RouteTable};
use crate::step::answer::Answer;
use crate::step::auth::Gate;
use crate::step::forwarded::TrustedProxies;
use crate::step::shared::Shared;
use crate::upstream::Upstream;

/// Compiles a configuration. Nothing is started, looked up or connected; pools that stay the same are carried over.
///
/// # Errors
/// All problems, each with its place.
pub fn compile(loaded: &Loaded, previous: Option<&Snapshot>, metrics: &Metrics) -> Result<Snapshot, Report> {
    let mut report = Report::default();
    let upstreams = compile_upstreams(loaded, previous, &mut report);
    let shared = Shared::default();
    let around = Around { shared: &shared, before: previous.map(Snapshot::shared), metrics };
    let routes = compile_routes(loaded, &upstreams, around, &mut report);
    let tables = build_tables(loaded, &routes, &mut report);
    check_resolver(loaded, &mut report);
    let snapshot = Snapshot {
        generation: previous.map_or(1, |p| p.generation + 1),
        hash: loaded.hash.clone(),
        left_out: loaded.left_out.clone(),
        mounts: mounts(&routes).into(),
        reserved: reserved(&routes),
        shared,
        routes: routes.into_iter().map(Arc::new).collect(),
        upstreams: upstreams.into_values().collect(),
        tables,
        trusted: TrustedProxies::new(loaded.trusted_proxies.iter().map(|cidr| cidr.net()).collect()),
    };
    report.into_result(snapshot)
}

/// No answer can be used longer at least than at most.
fn check_resolver(loaded: &Loaded, report: &mut Report) {
    let spec = &loaded.process.resolver;
    let (Some(least), Some(most)) = (spec.min_ttl, spec.max_ttl) else { return };
    if least.duration() > most.duration() {
        let message = format!("it is {least}, and `max_ttl` is {most}; write a shorter one, or a longer `max_ttl`");
        report.push(loaded.problem_at(0, KeyPath::root().then("resolver").then("min_ttl"), message));
    }
}

/// Pools by name, in the order of their names.
type Pools = std::collections::BTreeMap<String, Arc<Upstream>>;

fn compile_upstreams(loaded: &Loaded, previous: Option<&Snapshot>, report: &mut Report) -> Pools {
    let mut pools = Pools::new();
    for (name, entry) in &loaded.upstreams {
        let spec = &entry.value;
        let before = previous.and_then(|p| p.upstreams.iter().find(|upstream| upstream.name == *name));
        let file = |path: &str| loaded.resolve_path(entry.document, path);
        match Upstream::compile(name, spec, before, &file) {
            Ok(pool) => {
                pools.insert(name.clone(), pool);
            }
            Err(problems) => {
                for mistake in problems {
                    let path = mistake.place(&entry.at);
                    report.push(loaded.problem_at(entry.document, path, mistake.message));
                }
            }
        }
        if let Err(message) = steps::host_header(spec.host.as_deref()) {
            report.push(loaded.problem(entry, &["host"], message));
        }
    }
    pools
}

fn compile_routes(loaded: &Loaded, upstreams: &Pools, around: Around<'_>, report: &mut Report) -> Vec<Route> {
    let metrics = around.metrics;
    let mut matchers: Vec<Matcher> = Vec::new();
    for entry in &loaded.routes {
        matchers.push(super::matcher::compile(loaded, entry, report));
    }
    report_names(loaded, report);
    let hosts: Vec<String> = upstreams.values().flat_map(|u| u.configured().iter().map(|e| e.host.clone())).collect();
    let mut routes = Vec::new();
    for (entry, matcher) in loaded.routes.iter().zip(matchers) {
        let scope = RouteScope { loaded, entry, upstreams, upstream_hosts: &hosts, matcher: &matcher };
        let action = steps::compile_action(&scope, around, report);
        let errors = steps::compile_errors(&scope, around, report);
        let entrance = super::entrance::compile(&scope, around, report);
        if let (Some(action), Some(errors), Some(entrance)) = (action, errors, entrance) {
            routes.push(Route {
                name: entry.value.name.clone(),
                matcher,
                listeners: entry.value.listeners.clone(),
                info: info(&entry.value.name, &entrance, &action, entry.value.access_log),
                entry: entrance,
                action,
                errors,
                limits: RouteLimits::new(&entry.value.limits, &entry.value.name, metrics),
                hsts: steps::hsts(entry.value.hsts.as_ref()),
                metrics: metrics.route(&entry.value.name),
            });
        }
    }
    link_vias(loaded, &mut routes, report);
    super::sign_in::add(loaded, &mut routes, metrics, report);
    add_health(&mut routes, metrics);
    routes
}

/// What records tell of a route.
pub(super) fn info(name: &str, entrance: &Entrance, action: &Action, log: Option<RouteLog>) -> Arc<RouteInfo> {
    Arc::new(RouteInfo {
        name: name.to_owned(),
        steps: [entrance.steps(), action.steps()].concat(),
        upstream: action.upstream().map(|upstream| upstream.name.clone()),
        logged: log
            .map(|RouteLog(share)| share.map_or(Logged::None, |share| Logged::Share(crate::config::of_all(share)))),
        secrets: entrance.gate.iter().flat_map(Gate::parameters).map(str::to_ascii_lowercase).collect(),
    })
}

fn report_names(loaded: &Loaded, report: &mut Report) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in loaded.routes.iter().enumerate() {
        let name = entry.value.name.as_str();
        if name.is_empty() {
            let message = "a route needs a name, for logs, metrics and `explain`; add `name`";
            report.push(loaded.problem(entry, &["name"], message));
        } else if let Some(first) = seen.insert(name, index) {
            let place = loaded.place(&loaded.routes[first]);
            let message = format!("`{name}` is the name of another route already{place}; choose another");
            report.push(loaded.problem(entry, &["name"], message));
        }
    }
}

/// `/healthz` is answered on every listener that serves the general routes, unless a route of that path exists.
fn add_health(routes: &mut Vec<Route>, metrics: &Metrics) {
    let Ok(path) = "/healthz".parse::<PathPattern>() else {
        return;
    };
    if routes.iter().any(|route| route.matcher.paths.contains(&path)) {
        return;
    }
    routes.push(Route {
        name: "healthz".to_owned(),
        matcher: Matcher {
            hosts: vec![HostPattern::Any],
            paths: vec![path],
            captures: Vec::new(),
            path_regexes: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
        },
        listeners: Vec::new(),
        info: info("healthz", &Entrance::default(), &Action::Answer(Answer::health()), None),
        entry: Entrance::default(),
        action: Action::Answer(Answer::health()),
        errors: crate::step::errors::ErrorPages::default(),
        limits: RouteLimits::new(&crate::config::RouteLimitsSpec::default(), "healthz", metrics),
        hsts: None,
        metrics: metrics.route("healthz"),
    });
}

fn build_tables(loaded: &Loaded, routes: &[Route], report: &mut Report) -> Tables {
    let mut tables = Tables::default();
    let general = routes.iter().enumerate().filter(|(_, r)| r.listeners.is_empty());
    match RouteTable::build(general.clone().map(|(i, r)| (i, &r.matcher))) {
        Ok(table) => tables.general = table,
        Err(conflicts) => report_conflicts(loaded, routes, &conflicts, report),
    }
    for listener in &loaded.process.listeners {
        let Some(name) = &listener.name else { continue };
        let dedicated = listener.dedicated.0;
        let own = routes
            .iter()
            .enumerate()
            .filter(|(_, route)| (route.listeners.is_empty() && !dedicated) || route.listeners.contains(name));
        match RouteTable::build(own.map(|(i, r)| (i, &r.matcher))) {
            Ok(table) => {
                tables.named.insert(name.clone(), table);
            }
            Err(conflicts) => report_conflicts(loaded, routes, &conflicts, report),
        }
    }
    tables
}

fn report_conflicts(loaded: &Loaded, routes: &[Route], conflicts: &[Conflict], report: &mut Report) {
    for conflict in conflicts {
        let entry = |index: usize| {
            let name = &routes[index].name;
            loaded.routes.iter().find(|entry| entry.value.name == *name)
        };
        let (Some(first), Some(second)) = (entry(conflict.first), entry(conflict.second)) else {
            continue;
        };
        let message = format!(
            "`{}` matches the same requests as route `{}`{}, equally well; make one more specific by host, path, method \
             or header, or remove it",
            conflict.path,
            first.value.name,
            loaded.place(first),
        );
        report.push(loaded.problem(second, &["path"], message));
    }
}

/// The path of a key below a route.
#[must_use]
pub(super) fn key(entry: &Entry<RouteSpec>, keys: &[&str]) -> KeyPath {
    keys.iter().fold(entry.at.clone(), |path, key| path.then(*key))
}
