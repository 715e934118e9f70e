//! Compiles what must hold before a route does anything: `access`, `auth` with `require`, and `limit`.

use super::route::Entrance;
use super::steps::RouteScope;
use crate::config::{KeyPath, LimitSpec, Report};
use crate::observe::Metrics;
use crate::step::Mistake;
use crate::step::access::Access;
use crate::step::auth::{AuthScope, Gate};
use crate::step::identity::Require;
use crate::step::limit::Limits;
use crate::step::shared::Shared;

/// What steps can refer to beyond their route.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) shared: &'a Shared,
    pub(super) before: Option<&'a Shared>,
    pub(super) metrics: &'a Metrics,
}

/// Compiles what must hold before a route does anything; `None` when a problem was reported.
pub(super) fn compile(scope: &RouteScope<'_>, around: Around<'_>, report: &mut Report) -> Option<Entrance> {
    let spec = &scope.entry.value;
    let file = |path: &str| scope.loaded.resolve_path(scope.entry.document, path);
    let captures = &scope.matcher.captures;
    let within =
        AuthScope { file: &file, shared: around.shared, before: around.before, metrics: around.metrics, captures };
    let before = report.len();
    let ways: Vec<_> = spec.auth.iter().collect();
    for (key, set) in [("require", spec.require.is_some()), ("identity", !spec.identity.is_empty())] {
        if ways.is_empty() && set {
            let message = format!("`{key}` is about who asks, which nothing here finds out; add `auth`");
            scope.report(report, &[key], message);
        }
    }
    let gate = if ways.is_empty() {
        None
    } else {
        let require = spec.require.as_ref().map(Require::compile).transpose();
        let require = keep(scope, report, "require", require).flatten().unwrap_or_default();
        keep(scope, report, "auth", Gate::compile(&ways, require, &within))
    };
    let limits: Vec<_> = spec.limit.iter().collect();
    report_names(scope, &limits, report);
    if ways.is_empty() && limits.iter().any(|limit| limit.by.as_ref().is_some_and(|by| by.user.0 || by.claim.is_some()))
    {
        let message = "it counts by who asks, which nothing here finds out; add `auth`, or count `by` something else";
        scope.report(report, &["limit"], message);
    }
    let limits = if limits.is_empty() {
        None
    } else {
        keep(scope, report, "limit", Limits::compile(&limits, &spec.name, &within))
    };
    let access = keep(scope, report, "access", spec.access.as_ref().map(Access::compile).transpose()).flatten();
    (report.len() == before).then_some(Entrance { access, gate, limits })
}

/// Reports limits that have the name of another, and say something else.
fn report_names(scope: &RouteScope<'_>, limits: &[&LimitSpec], report: &mut Report) {
    let all = || scope.loaded.routes.iter().flat_map(|entry| entry.value.limit.iter().map(move |limit| (entry, limit)));
    for limit in limits.iter().filter(|limit| limit.name.is_some()) {
        let first = all().find(|(_, other)| other.name == limit.name);
        if let (Some((entry, other)), Some(name)) = (first, &limit.name)
            && other != *limit
        {
            let place = scope.loaded.place(entry);
            let message = format!(
                "the limit `{name}` of route `{}`{place} says something else; let both say the same, or choose another name",
                entry.value.name
            );
            scope.report(report, &["limit"], message);
        }
    }
}

/// What a step became, or its mistakes into the report.
pub(super) fn keep<T>(
    scope: &RouteScope<'_>,
    report: &mut Report,
    key: &str,
    compiled: Result<T, Vec<Mistake>>,
) -> Option<T> {
    let problem = |mistake: Mistake| {
        let at: KeyPath = scope.entry.at.then(key).join(&mistake.path);
        scope.loaded.problem_at(scope.entry.document, at, mistake.message)
    };
    compiled.map_err(|mistakes| mistakes.into_iter().for_each(|mistake| report.push(problem(mistake)))).ok()
}
