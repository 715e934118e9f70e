//! Compiles how a route forwards.

use super::entrance::Around;
use super::patience::{Retry, Timeouts};
use super::steps::{RouteScope, compile_edits, host_header};
use super::{Forward, TargetRule, bodies, target};
use crate::config::{Report, TargetForm};
use crate::route::template::{Template, Vocabulary};
use crate::step::adapt::Adapt;
use crate::step::compress::Compress;
use crate::step::identity::IdentityHeaders;
use crate::step::redirect::is_redirect;

/// Compiles how a route forwards; `None` when a problem was reported.
pub(super) fn compile_forward(
    scope: &RouteScope<'_>,
    around: Around<'_>,
    vocabulary: &Vocabulary<'_>,
    report: &mut Report,
) -> Option<Forward> {
    let spec = &scope.entry.value;
    let before = report.len();
    let target = target::compile(scope, around, vocabulary, report);
    let beyond = target::beyond(scope, around, report);
    let rewrite = path_towards(scope, vocabulary, report);
    let named = spec.identity.iter().map(|(name, value)| (name, &**value));
    let identity = super::entrance::keep(scope, report, "identity", IdentityHeaders::compile(named, vocabulary));
    let request_headers = compile_edits(scope, vocabulary, report, "request", &spec.headers.request);
    let response_headers = compile_edits(scope, vocabulary, report, "response", &spec.headers.response);
    let adapt = compile_adapt(scope, rewrite.as_ref(), report);
    let substitute = bodies::substitute(scope, vocabulary, report);
    let etag = bodies::etag(scope, substitute.as_ref(), &adapt, report);
    let pool = target.as_ref().and_then(TargetRule::pool);
    let upstream_spec = pool.map(|upstream| upstream.spec());
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
    let base = pool.map_or("", |upstream| upstream.base_path());
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

fn check_grpc_web(scope: &RouteScope<'_>, target: Option<&TargetRule>, report: &mut Report) {
    if scope.entry.value.grpc_web.0 && target.is_some_and(|target| !target.is_h2()) {
        let message = "gRPC needs HTTP/2 to the servers; add `protocol: h2` to the upstream, or remove `grpc_web`";
        scope.report(report, &["grpc_web"], message);
    }
}

/// Checks the path towards the servers.
fn path_towards(scope: &RouteScope<'_>, vocabulary: &Vocabulary<'_>, report: &mut Report) -> Option<Template> {
    let text = scope.entry.value.rewrite.as_deref()?;
    if scope.entry.value.target == Some(TargetForm::Raw) {
        let message = "a raw target cannot be rewritten; remove `target` or `rewrite`";
        scope.report(report, &["target"], message);
    }
    target::compile_rewrite(text, vocabulary).map_err(|message| scope.report(report, &["rewrite"], message)).ok()
}
