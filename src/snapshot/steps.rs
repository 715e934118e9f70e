//! Compiles the steps of one route.

use std::sync::Arc;

use http::HeaderValue;

use super::compile::key;
use super::entrance::Around;
use super::patience::{Retry, Timeouts};
use super::{Action, Forward, TargetRule, target};

pub(super) use super::outward::host_header;
use crate::config::{
    Entry, HeaderEditsSpec, KeyPath, Loaded, Report, RetrySpec, RouteSpec, SubstituteSpec, TargetForm, TimeoutsSpec,
};
use crate::route::Matcher;
use crate::route::template::{Template, Vocabulary};
use crate::step::adapt::Adapt;
use crate::step::answer::Answer;
use crate::step::compress::Compress;
use crate::step::errors::ErrorPages;
use crate::step::etag::Tag;
use crate::step::files::Files;
use crate::step::headers::HeaderEdits;
use crate::step::identity::IdentityHeaders;
use crate::step::redirect::{Redirect, is_redirect};
use crate::step::substitute::Substitute;
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

    fn url_of(&self, name: &str) -> Option<String> {
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

fn compile_edits(
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

fn compile_forward(
    scope: &RouteScope<'_>,
    around: Around<'_>,
    vocabulary: &Vocabulary<'_>,
    report: &mut Report,
) -> Option<Forward> {
    let spec = &scope.entry.value;
    let before = report.len();
    let target = target::compile(scope, around, vocabulary, report);
    let beyond = target::beyond(scope, around, report);
    let rewrite = spec.rewrite.as_deref().and_then(|text| {
        compile_rewrite(text, vocabulary).map_err(|message| scope.report(report, &["rewrite"], message)).ok()
    });
    if spec.target == Some(TargetForm::Raw) && spec.rewrite.is_some() {
        let message = "a raw target cannot be rewritten; remove `target` or `rewrite`";
        scope.report(report, &["target"], message);
    }
    let named = spec.identity.iter().map(|(name, value)| (name, &**value));
    let identity = super::entrance::keep(scope, report, "identity", IdentityHeaders::compile(named, vocabulary));
    let request_headers = compile_edits(scope, vocabulary, report, "request", &spec.headers.request);
    let response_headers = compile_edits(scope, vocabulary, report, "response", &spec.headers.response);
    let adapt = compile_adapt(scope, rewrite.as_ref(), report);
    let substitute = compile_substitute(scope, vocabulary, report);
    let etag = compile_etag(scope, substitute.as_ref(), &adapt, report);
    let upstream_spec = match &target {
        Some(TargetRule::Pool(upstream)) => Some(upstream.spec()),
        _ => None,
    };
    let host = spec.host_header.as_deref().or(upstream_spec.and_then(|u| u.host.as_deref()));
    let host = host_header(host).map_err(|message| scope.report(report, &["host_header"], message)).ok();
    let timeouts = Timeouts::new(&spec.timeouts, upstream_spec.map(|u| &u.timeouts));
    if let Err((key, message)) = crate::upstream::check_retry(&spec.retry) {
        scope.report(report, &["retry", key], message);
    }
    check_grpc_web(scope, target.as_ref(), report);
    let retry = Retry::new(&spec.retry, upstream_spec.map(|u| &u.retry));
    if report.len() > before {
        return None;
    }
    let base = match &target {
        Some(TargetRule::Pool(upstream)) => upstream.base_path(),
        _ => "",
    };
    let (outside, wait, fallback) = beyond?;
    let prefixes = |rewrite| scope.matcher.paths.iter().map(|p| super::Prefix::of(p, rewrite, base)).collect();
    let local = match &target {
        Some(TargetRule::Dynamic(dynamic)) => dynamic.local_rewrite(),
        _ => None,
    };
    Some(Forward {
        prefixes: prefixes(rewrite.as_ref()),
        local_prefixes: prefixes(local.or(rewrite.as_ref())),
        target: target?,
        outside,
        wait,
        fallback,
        rewrite,
        raw_target: spec.target == Some(TargetForm::Raw),
        host: host?,
        timeouts,
        retry,
        identity: identity?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        adapt,
        substitute,
        etag,
        compress: spec.compress.as_ref().and_then(|compress| Compress::compile(compress)),
        grpc_web: spec.grpc_web.0,
    })
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

fn compile_adapt(scope: &RouteScope<'_>, rewrite: Option<&Template>, report: &mut Report) -> Adapt {
    let spec = &scope.entry.value;
    let mut adapt = Adapt::compile(&spec.adapt);
    if !spec.adapt.is_empty() && rewrite.is_some_and(|template| !template.ends_in_rest()) {
        let message = "what comes back can only be mapped where `rewrite` ends in `{**}`; end it so, or remove `adapt`";
        scope.report(report, &["adapt"], message);
    }
    if let Some(redirects) = &spec.redirects {
        if !adapt.location {
            let message = "redirects are mapped with `adapt: [location]`; add it";
            scope.report(report, &["redirects"], message);
        }
        adapt.status = redirects.status.as_ref().map(|status| status.get());
        if let Some(status) = adapt.status.filter(|status| !is_redirect(*status)) {
            let message = format!("{} is not a redirect; write one of 301, 302, 303, 307, 308", status.as_u16());
            scope.report(report, &["redirects", "status"], message);
        }
        adapt.drop_body = redirects.drop_body.0;
    }
    adapt
}

fn compile_substitute(scope: &RouteScope<'_>, vocabulary: &Vocabulary<'_>, report: &mut Report) -> Option<Substitute> {
    let spec = &scope.entry.value;
    let needed = |rule: &SubstituteSpec| {
        rule.needs.iter().chain(&rule.url_of).all(|name| !scope.loaded.is_left_out_upstream(name))
    };
    let rules: Vec<(usize, &SubstituteSpec)> =
        spec.substitute.iter().enumerate().filter(|(_, rule)| needed(rule)).collect();
    if rules.is_empty() {
        return None;
    }
    let url_of = |name: &str| scope.url_of(name);
    Substitute::compile(&rules, &spec.substitute_types, vocabulary, &url_of)
        .map_err(|problems| {
            for (index, name, message) in problems {
                let mut path: KeyPath = key(scope.entry, &["substitute"]).then(index);
                if !name.is_empty() {
                    path.push(name);
                }
                report.push(scope.loaded.problem_at(scope.entry.document, path, message));
            }
        })
        .ok()
}

fn compile_etag(
    scope: &RouteScope<'_>,
    substitute: Option<&Substitute>,
    adapt: &Adapt,
    report: &mut Report,
) -> Option<Tag> {
    let spec = &scope.entry.value;
    let text = match spec.etag.as_deref() {
        None if substitute.is_none() && !adapt.html => return None,
        None | Some("auto" | "") => {
            let rules = substitute.map_or(0, Substitute::fingerprint);
            format!("{:016x}", rules ^ u64::from(adapt.html))
        }
        Some(text) => text.to_owned(),
    };
    Tag::compile(&text).map_err(|message| scope.report(report, &["etag"], message)).ok()
}

fn check_grpc_web(scope: &RouteScope<'_>, target: Option<&TargetRule>, report: &mut Report) {
    if scope.entry.value.grpc_web.0 && target.is_some_and(|target| !target.is_h2()) {
        let message = "gRPC needs HTTP/2 to the servers; add `protocol: h2` to the upstream, or remove `grpc_web`";
        scope.report(report, &["grpc_web"], message);
    }
}
