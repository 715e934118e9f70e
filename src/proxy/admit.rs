//! identify → limit: who asks, whether they may pass, and how often.

use std::time::SystemTime;

use http::header::{CACHE_CONTROL, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::Context;
use super::accept::origin_form;
use super::finish::{refuse_with, write_answer};
use crate::observe::Outcome;
use crate::route::template::Values;
use crate::snapshot::Route;
use crate::step::auth::{Asking, Captures, Denial, Proof, Reply};
use crate::step::limit::Exceeded;
use crate::step::{Headers, cookies};

/// What a route's pattern captured, by name.
#[derive(Debug)]
struct Captured<'a> {
    names: &'a [String],
    values: Values<'a>,
}

impl Captures for Captured<'_> {
    fn capture(&self, name: &str) -> Option<&str> {
        let index = self.names.iter().position(|known| known == name)?;
        Some(self.values.capture(index))
    }
}

/// Why a request does not pass.
enum Refused {
    Address,
    Auth(Denial),
    Limit(Box<Exceeded>),
}

/// Lets a request pass what its route asks for; `true` when it was answered instead.
pub(super) async fn admit(session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let Some(route) = ctx.route().cloned() else { return Ok(false) };
    if route.entry.is_open() {
        clean(session, ctx);
        return Ok(false);
    }
    let passed = pass(session, ctx, &route).await;
    clean(session, ctx);
    match passed {
        Ok(()) => {
            tell(session, ctx);
            Ok(false)
        }
        Err(refused) => {
            refuse(session, ctx, refused).await?;
            Ok(true)
        }
    }
}

/// Takes out what clients send under names that tell who asks.
fn clean(session: &mut Session, ctx: &Context) {
    ctx.snapshot.reserved().clean(session.req_header_mut());
}

async fn pass(session: &mut Session, ctx: &mut Context, route: &Route) -> Result<(), Refused> {
    if route.entry.access.as_ref().is_some_and(|access| !access.permits(ctx.client.address)) {
        return Err(Refused::Address);
    }
    let has_body = !session.is_body_empty();
    let (mut proof, mut pass) = (None, None);
    if let Some(decision) = &ctx.decision
        && let Some((_, found)) = &decision.route
    {
        let request = session.req_header();
        let target = std::str::from_utf8(request.raw_path()).unwrap_or("/");
        let (_, target) = origin_form(target);
        let names = &route.matcher.captures;
        let values = Values { path: &decision.path, found, scheme: ctx.client.scheme, host: &ctx.host, identity: None };
        let captures = Captured { names, values };
        let asking = Asking {
            method: &request.method,
            target: &target,
            path: &decision.path,
            host: &ctx.host,
            headers: &request.headers,
            client: &ctx.client,
            has_body,
            captures: &captures,
            now: SystemTime::now(),
        };
        let guarded = match &route.entry.limits {
            Some(limits) => limits.guard(&asking).await.map_err(Refused::Limit)?,
            None => None,
        };
        if let Some(gate) = &route.entry.gate {
            let asked = gate.admit(&asking).await;
            if let Some(guarded) = &guarded {
                let named = asking.headers.contains_key(http::header::AUTHORIZATION);
                let guess = asked.as_ref().is_err_and(|denial| denial.is_guess(named));
                guarded.asked(guess).await.map_err(Refused::Limit)?;
            }
            proof = Some(asked.map_err(Refused::Auth)?);
        }
        if let Some(limits) = &route.entry.limits {
            let identity = proof.as_ref().map(|proof| &*proof.identity);
            match limits.admit(&asking, identity, guarded).await {
                Ok(passed) => pass = Some(passed),
                Err(exceeded) => {
                    ctx.proof = proof;
                    return Err(Refused::Limit(exceeded));
                }
            }
        }
    }
    if let Some(proof) = &proof {
        hide(session.req_header_mut(), proof);
    }
    (ctx.proof, ctx.pass) = (proof, pass);
    Ok(())
}

/// Puts in what a service said for the upstream.
fn tell(session: &mut Session, ctx: &Context) {
    let Some(proof) = &ctx.proof else { return };
    let request = session.req_header_mut();
    for name in proof.request.keys() {
        Headers::remove(request, name);
    }
    for (name, value) in &proof.request {
        Headers::append(request, name, value.clone());
    }
}

/// Takes the credentials out of a request.
fn hide(request: &mut dyn Headers, proof: &Proof) {
    for name in &proof.hide {
        request.remove(name);
    }
    if let Some(hidden) = &proof.hide_cookie {
        hide_cookie(request, hidden);
    }
}

/// Takes a cookie out of a request; all whose names begin so, where the name ends in `*`.
fn hide_cookie(request: &mut dyn Headers, hidden: &str) {
    let hidden = hidden.as_bytes();
    cookies::hide(request, |name| hidden.strip_suffix(b"*").map_or(name == hidden, |begin| name.starts_with(begin)));
}

/// Answers a request that does not pass.
async fn refuse(session: &mut Session, ctx: &mut Context, refused: Refused) -> Result<()> {
    let (status, detail, extra): (StatusCode, &str, Vec<(HeaderName, HeaderValue)>) = match refused {
        Refused::Address => {
            ctx.outcome = Outcome::Forbidden;
            ctx.reason = Some(format!("the route's `access` does not have {}", ctx.client.address));
            (StatusCode::FORBIDDEN, "this address is not open to you", Vec::new())
        }
        Refused::Auth(Denial::Answer(reply)) => return answer(session, ctx, *reply).await,
        Refused::Auth(Denial::Unknown { status, challenges, reason, .. }) => {
            ctx.outcome = Outcome::Unauthenticated;
            ctx.reason = Some(reason);
            let extra = challenges.into_iter().map(|challenge| (WWW_AUTHENTICATE, challenge)).collect();
            (status, "it is not proven who asks", extra)
        }
        Refused::Auth(Denial::Forbidden { identity, reason }) => {
            ctx.outcome = Outcome::Forbidden;
            ctx.reason = Some(reason);
            ctx.proof = Some(Box::new(Proof::of(identity)));
            (StatusCode::FORBIDDEN, "this address is not open to you", Vec::new())
        }
        Refused::Auth(Denial::Unavailable { reason }) => {
            ctx.outcome = Outcome::AuthUnavailable;
            ctx.reason = Some(reason);
            (StatusCode::SERVICE_UNAVAILABLE, "it cannot be found out at the moment who asks", Vec::new())
        }
        Refused::Limit(exceeded) => return exceed(session, ctx, *exceeded).await,
    };
    refuse_with(session, ctx, status, detail, &extra).await
}

/// Sends an answer that a step made.
async fn answer(session: &mut Session, ctx: &mut Context, reply: Reply) -> Result<()> {
    ctx.outcome = if reply.status.is_client_error() { Outcome::Unauthenticated } else { Outcome::Answered };
    let mut header = ResponseHeader::build(reply.status, Some(reply.headers.len() + 2))?;
    for (name, value) in &reply.headers {
        Headers::append(&mut header, name, value.clone());
    }
    write_answer(session, ctx, header, reply.body).await
}

async fn exceed(session: &mut Session, ctx: &mut Context, exceeded: Exceeded) -> Result<()> {
    ctx.outcome = Outcome::Limited;
    ctx.reason = Some(exceeded.reason);
    let extra = exceeded.response;
    match exceeded.document {
        None => refuse_with(session, ctx, exceeded.status, exceeded.detail, &extra).await,
        Some(document) => {
            let mut header = ResponseHeader::build(exceeded.status, Some(extra.len() + 3))?;
            header.insert_header(http::header::CONTENT_TYPE, document.media_type)?;
            header.insert_header(http::header::CACHE_CONTROL, "no-store")?;
            for (name, value) in extra {
                header.append_header(name, value)?;
            }
            write_answer(session, ctx, header, document.body).await
        }
    }
}

/// Tells the limits that a request has passed what came of it.
pub(super) fn answered(response: &ResponseHeader, ctx: &mut Context) {
    if let Some(pass) = &mut ctx.pass {
        pass.answered(response.status, &response.headers);
    }
}

/// What a request's admission adds to its answer.
pub(super) fn respond(response: &mut ResponseHeader, ctx: &Context) {
    for (name, value) in ctx.pass.iter().flat_map(|pass| &pass.response) {
        response.set(name, value.clone());
    }
    if let Some(proof) = &ctx.proof {
        for (name, value) in &proof.response {
            Headers::append(response, name, value.clone());
        }
        // What is in it is for one browser, whatever the upstream says of the rest.
        if proof.response.contains_key(SET_COOKIE) && !is_private(response) {
            Headers::append(response, &CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}

/// Whether shared caches keep nothing of an answer (RFC 9111 §5.2.2).
fn is_private(response: &ResponseHeader) -> bool {
    let lines = response.headers.get_all(CACHE_CONTROL).iter();
    let mut directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    directives.any(|one| one.eq_ignore_ascii_case(b"private") || one.eq_ignore_ascii_case(b"no-store"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn hidden_cookies_go_and_the_others_stay() {
        let cookies = |hidden: &str| {
            let mut headers = HeaderMap::new();
            Headers::append(&mut headers, &COOKIE, HeaderValue::from_static("a=1; session.0=x;session.1=y"));
            Headers::append(&mut headers, &COOKIE, HeaderValue::from_static("b=2"));
            hide_cookie(&mut headers, hidden);
            headers.text(&COOKIE).map(str::to_owned)
        };
        assert_eq!(cookies("session.*").as_deref(), Some("a=1; b=2"));
        assert_eq!(cookies("a").as_deref(), Some("session.0=x; session.1=y; b=2"));
        assert_eq!(cookies("*"), None);
    }
}
