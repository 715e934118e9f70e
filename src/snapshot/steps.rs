//! Compiles the steps of one route.

use std::sync::Arc;

use http::HeaderValue;

use super::Action;
use super::entrance::Around;
use super::forwarding::compile_forward;

pub(super) use super::outward::host_header;
use crate::config::{Entry, HeaderEditsSpec, Loaded, Report, RetrySpec, RouteSpec, TimeoutsSpec};
use crate::route::Matcher;
use crate::route::template::Vocabulary;
use crate::step::answer::Answer;
use crate::step::errors::ErrorPages;
use crate::step::files::Files;
use crate::step::headers::HeaderEdits;
use crate::step::redirect::Redirect;
use crate::upstream::Upstream;

/// What the steps of a route can refer to.
pub(super) struct RouteScope<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) entry: &'a Entry<RouteSpec>,
    pub(super) upstreams: &'a std::collections::BTreeMap<String, Arc<Upstream>>,
    pub(super) upstream_hosts: &'a [String],
    pub(super) matcher: &'a Matcher,
}

impl RouteScope<'_> {
    pub(super) fn report(&self, report: &mut Report, keys: &[&str], message: impl Into<String>) {
        report.push(self.loaded.problem(self.entry, keys, message));
    }

    fn vocabulary<'v>(&'v self, authority: &'v dyn Fn(&str) -> Option<String>) -> Vocabulary<'v> {
        let first = self.matcher.paths.first();
        Vocabulary {
            captures: &self.matcher.captures,
            rest: first.is_some_and(crate::route::PathPattern::has_rest),
            groups: None,
            authority,
            asker: !self.entry.value.auth.is_empty(),
        }
    }

    fn authority(&self, name: &str) -> Option<String> {
        let endpoint = self.upstreams.get(name)?.configured().first()?;
        endpoint.authority.to_str().ok().map(str::to_owned)
    }

    /// The authority of an upstream, always with a port, so that a pattern with a port matches it.
    fn authority_with_port(&self, name: &str) -> Option<String> {
        let authority = self.authority(name)?;
        let port = self.upstreams.get(name)?.configured().first()?.port;
        match crate::route::host::split_port(&authority).1 {
            Some(_) => Some(authority),
            None => Some(format!("{authority}:{port}")),
        }
    }

    pub(super) fn url_of(&self, name: &str) -> Option<String> {
        let upstream = self.upstreams.get(name)?;
        Some(format!("{}://{}{}", upstream.scheme(), self.authority(name)?, upstream.base_path()))
    }
}

/// Compiles what the route does; `None` when a problem was reported.
pub(super) fn compile_action(scope: &RouteScope<'_>, around: Around<'_>, report: &mut Report) -> Option<Action> {
    let spec = &scope.entry.value;
    let chosen = [
        ("answer", spec.answer.is_some()),
        ("redirect", spec.redirect.is_some()),
        ("static", spec.files.is_some()),
        ("upstream", spec.upstream.is_some()),
        ("dynamic", spec.dynamic.is_some()),
        ("instance", spec.instance.is_some()),
    ];
    let keys: Vec<&str> = chosen.iter().filter(|(_, on)| *on).map(|(key, _)| *key).collect();
    match keys.as_slice() {
        [] => {
            let message = "the route does nothing; add one of `upstream`, `dynamic`, `instance`, `redirect`, `static` and \
                           `answer`";
            scope.report(report, &[], message);
            return None;
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("the route has `{first}` and `{second}`; keep one of them");
            scope.report(report, &[second], message);
            return None;
        }
    }
    let authority = |name: &str| scope.authority_with_port(name);
    let vocabulary = scope.vocabulary(&authority);
    if spec.answer.is_some() || spec.redirect.is_some() || spec.files.is_some() {
        report_idle_keys(scope, report);
    }
    if let Some(answer) = &spec.answer {
        return done(scope, report, "answer", Answer::compile(answer)).map(Action::Answer);
    }
    if let Some(redirect) = &spec.redirect {
        return done(scope, report, "redirect", Redirect::compile(redirect, &vocabulary)).map(Action::Redirect);
    }
    if spec.files.is_some() {
        return compile_files(scope, &vocabulary, report).map(|files| Action::Files(Box::new(files)));
    }
    compile_forward(scope, around, &vocabulary, report).map(|forward| Action::Forward(Box::new(forward)))
}

fn compile_files(scope: &RouteScope<'_>, vocabulary: &Vocabulary<'_>, report: &mut Report) -> Option<Files> {
    let spec = &scope.entry.value;
    let headers = compile_edits(scope, vocabulary, report, "response", &spec.headers.response)?;
    let file = |path: &str| scope.loaded.resolve_path(scope.entry.document, path);
    super::entrance::keep(scope, report, "static", Files::compile(spec.files.as_ref()?, vocabulary, &file, headers))
}

pub(super) fn compile_edits(
    scope: &RouteScope<'_>,
    vocabulary: &Vocabulary<'_>,
    report: &mut Report,
    direction: &str,
    edits: &HeaderEditsSpec,
) -> Option<HeaderEdits> {
    HeaderEdits::compile(edits, vocabulary)
        .map_err(|problems| {
            for ([key, name], message) in problems {
                scope.report(report, &["headers", direction, &key, &name], message);
            }
        })
        .ok()
}

/// Reports the keys that do nothing on a route without an upstream.
fn report_idle_keys(scope: &RouteScope<'_>, report: &mut Report) {
    let spec = &scope.entry.value;
    let mut headers = spec.headers.clone();
    if spec.files.is_some() {
        headers.response = HeaderEditsSpec::default();
    }
    let idle = [
        ("rewrite", spec.rewrite.is_some()),
        ("target", spec.target.is_some()),
        ("host_header", spec.host_header.is_some()),
        ("wait_for", spec.wait_for.is_some()),
        ("fallback", spec.fallback.is_some()),
        ("timeouts", spec.timeouts != TimeoutsSpec::default()),
        ("retry", spec.retry != RetrySpec::default()),
        ("headers", headers != crate::config::HeadersSpec::default()),
        ("adapt", !spec.adapt.is_empty()),
        ("redirects", spec.redirects.is_some()),
        ("substitute", !spec.substitute.is_empty()),
        ("substitute_types", !spec.substitute_types.is_empty()),
        ("etag", spec.etag.is_some()),
        ("compress", spec.compress.is_some()),
        ("grpc_web", spec.grpc_web.0),
    ];
    for (key, _) in idle.iter().filter(|(_, set)| *set) {
        let message = match *key {
            "compress" if spec.files.is_some() => {
                "`compress` does nothing on files; compress them beforehand, and write `precompressed`".to_owned()
            }
            "headers" if spec.files.is_some() => "`headers.request` does nothing on files; remove it".to_owned(),
            _ => format!("`{key}` does nothing on a route that answers by itself; remove it"),
        };
        scope.report(report, &[key], message);
    }
}

/// The value of `Strict-Transport-Security`.
pub(super) fn hsts(spec: Option<&crate::config::value::Hsts>) -> Option<HeaderValue> {
    HeaderValue::from_str(spec?.as_str()).ok()
}

/// Compiles the route's error pages.
pub(super) fn compile_errors(scope: &RouteScope<'_>, around: Around<'_>, report: &mut Report) -> Option<ErrorPages> {
    let file = |path: &str| scope.loaded.resolve_path(scope.entry.document, path);
    let pages = ErrorPages::compile(&scope.entry.value.errors, &file, around.shared, around.before);
    super::entrance::keep(scope, report, "errors", pages)
}

fn done<T>(
    scope: &RouteScope<'_>,
    report: &mut Report,
    step: &str,
    result: Result<T, (&'static str, String)>,
) -> Option<T> {
    result.map_err(|(key, message)| scope.report(report, &[step, key], message)).ok()
}
