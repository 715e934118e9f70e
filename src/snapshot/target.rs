//! Compiles where a route forwards to, and what is done where no server is there yet.

use std::sync::Arc;

use super::compile::key;
use super::entrance::{Around, keep};
use super::steps::RouteScope;
use super::{TargetRule, Wait};
use crate::config::{Report, UpstreamTlsSpec};
use crate::route::template::{Template, Vocabulary};
use crate::step::dynamic::{Dynamic, DynamicScope};
use crate::step::instance::InstanceRule;
use crate::step::lookup::Lookup;
use crate::upstream::{Outside, Patience, Upstream, Waits};

/// Compiles the target; `None` when a problem was reported.
pub(super) fn compile(
    scope: &RouteScope<'_>,
    around: Around<'_>,
    vocabulary: &Vocabulary<'_>,
    report: &mut Report,
) -> Option<TargetRule> {
    let spec = &scope.entry.value;
    if let Some(name) = &spec.upstream {
        return pool(scope, "upstream", name, report).map(TargetRule::Pool);
    }
    if let Some(instance) = &spec.instance {
        let compiled = InstanceRule::compile(instance, vocabulary);
        return keep(scope, report, "instance", compiled).map(TargetRule::Instance);
    }
    let dynamic = spec.dynamic.as_ref()?;
    let file = |path: &str| scope.loaded.resolve_path(scope.entry.document, path);
    let lookup = |spec: &crate::config::LookupSpec| {
        let made = Lookup::compile(spec, &file)?;
        Ok(around.shared.keep(around.before, spec, || made))
    };
    let rewrite = |text: &str| compile_rewrite(text, vocabulary);
    let within = DynamicScope { vocabulary, upstream_hosts: scope.upstream_hosts, lookup: &lookup, rewrite: &rewrite };
    keep(scope, report, "dynamic", Dynamic::compile(dynamic, &within))
        .map(|dynamic| TargetRule::Dynamic(Box::new(dynamic)))
}

fn pool(scope: &RouteScope<'_>, key: &str, name: &str, report: &mut Report) -> Option<Arc<Upstream>> {
    let known = scope.upstreams.get(name);
    if known.is_none() && !scope.loaded.upstreams.contains_key(name) {
        let message = crate::config::unknown_name("upstream", name, scope.loaded.upstreams.keys());
        scope.report(report, &[key], message);
    }
    known.cloned()
}

/// How servers are connected to that no pool has, how long they are waited for, and what stands in for them.
type Beyond = (Outside, Option<Wait>, Option<Arc<Upstream>>);

/// Compiles what is for servers that no pool has; `None` when a problem was reported.
pub(super) fn beyond(scope: &RouteScope<'_>, around: Around<'_>, report: &mut Report) -> Option<Beyond> {
    let spec = &scope.entry.value;
    let before = report.len();
    let none = UpstreamTlsSpec::default();
    let (of, tls) = match (&spec.dynamic, &spec.instance) {
        (Some(dynamic), _) => ("dynamic", &dynamic.tls),
        (None, Some(instance)) => ("instance", &instance.tls),
        (None, None) => ("", &none),
    };
    let file = |path: &str| scope.loaded.resolve_path(scope.entry.document, path);
    let problem = |report: &mut Report, step: &str, mistakes: Vec<crate::upstream::Mistake>| {
        for mistake in mistakes {
            let at = mistake.place(&key(scope.entry, &[step]));
            report.push(scope.loaded.problem_at(scope.entry.document, at, mistake.message));
        }
    };
    let outside = Outside::compile(tls, &file).map_err(|mistakes| problem(report, of, mistakes)).ok();
    for (key, set) in [("wait_for", spec.wait_for.is_some()), ("fallback", spec.fallback.is_some())] {
        if set && of.is_empty() && spec.upstream.is_some() {
            let message =
                format!("`{key}` is for `dynamic` and `instance`; servers of a pool have `health` and `retry`");
            scope.report(report, &[key], message);
        }
    }
    let patience = spec
        .wait_for
        .as_ref()
        .and_then(|wait| Patience::compile(wait).map_err(|mistakes| problem(report, "wait_for", mistakes)).ok());
    let wait =
        patience.map(|patience| Wait { patience, waits: around.shared.keep(around.before, &(), Waits::default) });
    let fallback = spec.fallback.as_ref().and_then(|name| pool(scope, "fallback", name, report));
    if report.len() > before { None } else { Some((outside?, wait, fallback)) }
}

/// Checks a path towards servers.
pub(super) fn compile_rewrite(text: &str, vocabulary: &Vocabulary<'_>) -> Result<Template, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not a path; write `/{text}`"));
    }
    if text.contains('?') {
        return Err(format!("`{text}` has a query; the client's query is kept as it is, write the path alone"));
    }
    let template = Template::parse(text, vocabulary)?;
    match template.illegal_in_url().or(text.contains('#').then_some('#')) {
        Some(c) => Err(format!("{text:?} holds {c:?}, which a path cannot; write it percent-encoded")),
        None => Ok(template),
    }
}
