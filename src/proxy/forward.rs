//! forward: what the upstream sees of a request.

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, EXPECT, UPGRADE};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use super::accept::origin_form;
use super::connect::is_other_upgrade;
use crate::snapshot::{Outward, Target};
use crate::step::Headers;

/// Turns the client's request into the upstream's.
pub(super) async fn forward(session: &mut Session, request: &mut RequestHeader, ctx: &mut Context) -> Result<()> {
    if let Some(Target::Pool(upstream)) = ctx.forwarding().map(|forwarding| &forwarding.target)
        && upstream.is_h2()
        && request.version != http::Version::HTTP_2
    {
        return Err(Error::explain(ErrorType::Custom("protocol"), "it does not speak HTTP/2").into_up());
    }
    set_target(session, request, ctx)?;
    super::recode::begin(session, request, ctx);
    if is_other_upgrade(session) {
        keep_upgrade_only(request);
    }
    if let (Some((forward, values)), Some(server)) = (ctx.forward(), &ctx.server) {
        let outward = Outward {
            client: &ctx.client,
            host: HeaderValue::from_str(&ctx.host).ok().filter(|_| ctx.names_host),
            scheme: server.scheme,
            authority: &server.authority,
            local: ctx.forwarding().is_some_and(|forwarding| forwarding.target.is_local()),
            values,
            request_id: ctx.request_id.clone(),
            traceparent: ctx.trace.header(ctx.attempts.made()),
            traced_by_client: ctx.trace.parent.is_some(),
            identity: ctx.identity(),
        };
        forward.outward(request, outward);
    }
    super::hygiene::identify(request, ctx);
    join_cookies(request);
    expect_continue(session, request).await
}

/// HTTP/2 clients may split `Cookie` over several lines; towards HTTP/1.1 they are one (RFC 9113 §8.2.3).
fn join_cookies(request: &mut RequestHeader) {
    let mut lines = Headers::map(request).get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = Headers::map(request).get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        request.set(&COOKIE, joined);
    }
}

/// Sets path and query, byte for byte where nothing is rewritten.
fn set_target(session: &Session, request: &mut RequestHeader, ctx: &mut Context) -> Result<()> {
    let raw = session.req_header().raw_path();
    let text = std::str::from_utf8(raw).unwrap_or("/");
    let (absolute, target) = origin_form(text);
    let query_at = target.find('?').unwrap_or(target.len());
    let rewritten = ctx.forwarding().and_then(|forwarding| forwarding.path.clone());
    if let Some(path) = rewritten {
        request.set_raw_path(format!("{path}{}", &target[query_at..]).as_bytes())?;
        ctx.upstream_path = path;
    } else {
        if absolute.is_some() {
            request.set_raw_path(target.as_bytes())?;
        }
        target[..query_at].clone_into(&mut ctx.upstream_path);
    }
    Ok(())
}

/// Tells the attempt how far the body is.
pub(super) fn watch_body(body: Option<&Bytes>, end: bool, ctx: &mut Context) {
    if body.is_some_and(|piece| !piece.is_empty()) {
        ctx.attempts.body_begins();
    }
    if end && let Some((exchange, turn)) = &ctx.attempts.exchange {
        exchange.request_is_sent(*turn);
    }
}

/// Keeps an empty last piece of a body from being sent.
///
/// HTTP/2 clients end a body with an empty DATA frame. Pingora would write it as a chunk of length 0, which is a last
/// chunk, and then the last chunk again: the second would be read as the begin of the next request.
pub(super) fn end_once(body: &mut Option<Bytes>, end: bool) {
    if end && body.as_ref().is_some_and(Bytes::is_empty) {
        *body = None;
    }
}

/// Of the hop-by-hop headers of an upgrade that Pingora passes whole, keeps the upgrade itself (RFC 9110 §7.6.1).
fn keep_upgrade_only(request: &mut RequestHeader) {
    let lines = Headers::map(request).get_all(CONNECTION).iter();
    let nominated: Vec<HeaderName> = lines
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != UPGRADE)
        .collect();
    for name in &nominated {
        request.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "http2-settings"] {
        request.remove(&HeaderName::from_static(name));
    }
    request.set(&CONNECTION, HeaderValue::from_static("Upgrade"));
}

/// Answers `Expect: 100-continue` once an upstream is there to take the body (RFC 9110 §10.1.1).
///
/// The expectation is not forwarded: many of the servers behind Pylon never answer it, and their clients would wait.
async fn expect_continue(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    let expects = request.text(&EXPECT).is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    if expects {
        request.remove(&EXPECT);
        if session.req_header().version == http::Version::HTTP_11 {
            let kept = session.get_keepalive();
            session.as_downstream_mut().write_continue_response().await?;
            session.set_keepalive(kept);
        }
    }
    Ok(())
}
