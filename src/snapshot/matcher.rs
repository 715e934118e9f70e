//! Compiles what a request must be for a route.

use crate::config::{Entry, Loaded, Report, RouteSpec};
use crate::route::host::HostPattern;
use crate::route::{Matcher, PathPattern};

/// Compiles what a route matches.
pub(super) fn compile(loaded: &Loaded, entry: &Entry<RouteSpec>, report: &mut Report) -> Matcher {
    let spec = &entry.value;
    let mut hosts = Vec::new();
    for host in &spec.host {
        match host.parse() {
            Ok(pattern) => hosts.push(pattern),
            Err(message) => report.push(loaded.problem(entry, &["host"], message)),
        }
    }
    if hosts.is_empty() {
        hosts.push(HostPattern::Any);
    }
    let mut paths: Vec<PathPattern> = Vec::new();
    for path in &spec.path {
        match path.parse() {
            Ok(pattern) => paths.push(pattern),
            Err(message) => report.push(loaded.problem(entry, &["path"], message)),
        }
    }
    if spec.path.iter().next().is_none() {
        let message = "a route needs a path; write `/**` for every path";
        report.push(loaded.problem(entry, &["path"], message));
    }
    let same = |a: &PathPattern, b: &PathPattern| a.names() == b.names() && a.has_rest() == b.has_rest();
    if paths.windows(2).any(|pair| !same(&pair[0], &pair[1])) {
        let message = "the paths of a route capture the same names in the same order, and all or none end in `**`; \
                       make routes of their own of them";
        report.push(loaded.problem(entry, &["path"], message));
    }
    let captures = captures(loaded, entry, &hosts, &paths, report);
    let mut path_regexes = Vec::new();
    for text in &spec.match_path {
        match text.parse() {
            Ok(regex) => path_regexes.push(regex),
            Err(message) => report.push(loaded.problem(entry, &["match_path"], message)),
        }
    }
    let headers = spec.match_headers.iter().map(|(name, value)| crate::route::HeaderCondition {
        name: name.get().clone(),
        value: (value != "*").then(|| value.clone()),
    });
    Matcher {
        hosts,
        paths,
        captures,
        path_regexes,
        methods: spec.methods.iter().map(|method| method.get().clone()).collect(),
        headers: headers.collect(),
    }
}

/// The names of what the patterns of a route capture: those of the path, then that of the host.
fn captures(
    loaded: &Loaded,
    entry: &Entry<RouteSpec>,
    hosts: &[HostPattern],
    paths: &[PathPattern],
    report: &mut Report,
) -> Vec<String> {
    let mut names = paths.first().map_or_else(Vec::new, |pattern| pattern.names().to_vec());
    let of_host = hosts.first().and_then(HostPattern::capture);
    if hosts.iter().any(|host| host.capture() != of_host) {
        let message = "the hosts of a route capture the same name, or none of them captures; make routes of their own \
                       of them";
        report.push(loaded.problem(entry, &["host"], message));
    }
    if let Some(name) = of_host {
        if names.iter().any(|known| known == name) {
            let message = format!("the capture `{name}` stands in `path` as well; give each a name of its own");
            report.push(loaded.problem(entry, &["host"], message));
        }
        names.push(name.to_owned());
    }
    names
}
