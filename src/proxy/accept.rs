//! accept → normalise → route: a request comes in, the decision is made, and what needs no upstream is answered.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::finish::{refuse, write_answer};
use super::limits::{enter, reject};
use super::record::Asked;
use super::{Context, Gateway};
use crate::listen::{Listener, is_authority};
use crate::observe::{Outcome, Rejection, TRACEPARENT, TraceContext};
use crate::snapshot::{Action, DRAIN_TIME, Decision, Refusal, Request, Verdict};
use crate::step::dynamic::Arrived;
use crate::step::forwarded::X_REQUEST_ID;

/// Says to Pingora that a connection is kept; for how long is up to the loop that parks it. In seconds.
const KEPT: u64 = 60;

/// Sets up the connection of a request: how long it is kept afterwards, if client and process want to keep it at all,
/// and what its version can take.
pub(super) fn set_up(session: &mut Session, leaving: bool) {
    let kept = session.get_keepalive().is_some() && !leaving;
    session.set_keepalive(kept.then_some(KEPT));
    // RFC 9110 §15.2: no interim response to a client that speaks HTTP/1.0.
    let old = session.req_header().version < Version::HTTP_11;
    session.set_ignore_info_resp(old);
    if session.req_header().version == Version::HTTP_2 {
        // Over HTTP/1 the connection sees to that by itself.
        session.set_write_timeout(Some(DRAIN_TIME));
    }
}

/// Decides about a request; `true` when it has been answered.
pub(super) async fn accept(gateway: &Gateway, session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let rejections = gateway.metrics.rejections();
    super::hygiene::clean(session.req_header_mut());
    let connection = ctx.connection.clone();
    let listener = connection.as_ref().map(|connection| &*connection.listener);
    identify(gateway, session, listener, ctx);
    match decide(session.req_header(), connection.as_ref().map(|c| c.local), ctx) {
        Ok(decision) => {
            ctx.decision = Some(decision);
            ctx.count();
        }
        Err(rejection) => {
            reject(rejections, session, ctx, rejection).await?;
            return Ok(true);
        }
    }
    if session.req_header().raw_path() == b"*" {
        // RFC 9110 §9.3.7: about the server in general, which is this one.
        ctx.outcome = Outcome::Answered;
        let header = ResponseHeader::build(http::StatusCode::NO_CONTENT, Some(1))?;
        write_answer(session, ctx, header, bytes::Bytes::new()).await?;
        return Ok(true);
    }
    if let Err(rejection) = enter(session, ctx) {
        reject(rejections, session, ctx, rejection).await?;
        return Ok(true);
    }
    if super::admit::admit(session, ctx).await? {
        return Ok(true);
    }
    super::aim::aim(gateway, session, ctx).await;
    if ctx.pace.is_some() && !session.is_body_empty() {
        ctx.asked = Some(Asked::of(session, &gateway.journal));
    }
    answer(session, ctx).await
}

/// Finds out who sent the request, and what it is called.
fn identify(gateway: &Gateway, session: &Session, listener: Option<&Listener>, ctx: &mut Context) {
    let request = session.req_header();
    let scheme = if listener.is_some_and(|l| l.tls.is_some()) { "https" } else { "http" };
    if let Some(connection) = &ctx.connection {
        ctx.client = ctx.snapshot.trusted().client(connection.peer.ip(), scheme, &request.headers);
    }
    let given = request.headers.get(&X_REQUEST_ID);
    if let Some(id) = given.filter(|id| ctx.client.trusted && (1..=128).contains(&id.len())) {
        ctx.request_id = id.clone();
    }
    let mut told = request.headers.get_all(&TRACEPARENT).iter();
    // Two of them are none.
    let told = told.next().filter(|_| ctx.client.trusted && told.next().is_none());
    ctx.trace = told.and_then(|told| TraceContext::follow(told.as_bytes())).unwrap_or_else(|| {
        let sampled = gateway.traced > 0 && u64::from(fastrand::u32(..)) < gateway.traced;
        TraceContext::begin(ctx.request_id.as_bytes(), sampled)
    });
}

/// Makes the decision.
fn decide(header: &RequestHeader, local: Option<SocketAddr>, ctx: &mut Context) -> Result<Decision, Rejection> {
    let target = std::str::from_utf8(header.raw_path()).map_err(|_| Rejection::Target)?;
    let (named, target) = origin_form(target);
    let host = header.headers.get(http::header::HOST).map(HeaderValue::as_bytes);
    let host = match host.map(std::str::from_utf8) {
        Some(Ok(host)) => Some(host),
        Some(Err(_)) => return Err(Rejection::Host),
        None => named.or(header.uri.authority().map(http::uri::Authority::as_str)),
    };
    match host {
        Some(host) if is_authority(host.as_bytes()) => {
            host.clone_into(&mut ctx.host);
            ctx.names_host = true;
        }
        // A client of HTTP/1.0 need not name a host: it is answered with the address that it found.
        None if header.version < Version::HTTP_11 => {
            ctx.host = local.map(|local| local.to_string()).unwrap_or_default();
        }
        None | Some(_) => return Err(Rejection::Host),
    }
    Ok(ctx.snapshot.decide(&described(header, &target, ctx)))
}

/// What the decision sees of a request.
pub(super) fn described<'a>(header: &'a RequestHeader, target: &'a str, ctx: &'a Context) -> Request<'a> {
    let connection = ctx.connection.as_deref();
    let listener = connection.map(|connection| &*connection.listener);
    let local = connection.map(|connection| connection.local);
    Request {
        method: &header.method,
        target,
        host: &ctx.host,
        headers: &header.headers,
        scheme: ctx.client.scheme,
        arrived: Arrived {
            scheme: if listener.is_some_and(|listener| listener.tls.is_some()) { "https" } else { "http" },
            port: local.map_or(0, |local| local.port()),
            address: local.map(|local| local.ip()),
        },
        listener: listener.and_then(|l| l.name.as_deref()),
        redirect_to_https: listener.is_some_and(|l| l.redirect_to_https),
    }
}

/// Splits an absolute-form target (RFC 9112 §3.2.2) into its authority and the origin form.
pub(super) fn origin_form(target: &str) -> (Option<&str>, Cow<'_, str>) {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    });
    match rest {
        None => (None, target.into()),
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let path = &rest[end..];
            let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
            (Some(&rest[..end]), path)
        }
    }
}

/// Answers what needs no upstream.
async fn answer(session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let Some(decision) = &ctx.decision else {
        return Ok(false);
    };
    match &decision.verdict {
        Verdict::Forward(_) => Ok(false),
        Verdict::File(wanted) => {
            let wanted = wanted.clone();
            super::files::serve(session, ctx, wanted).await?;
            Ok(true)
        }
        Verdict::Refuse(refusal) => {
            let refusal = refusal.clone();
            refuse_decided(session, ctx, &refusal).await?;
            Ok(true)
        }
        Verdict::Redirect { status, location } => {
            let mut header = ResponseHeader::build(*status, Some(4))?;
            header.insert_header(LOCATION, location.as_str())?;
            ctx.outcome = Outcome::Answered;
            write_answer(session, ctx, header, bytes::Bytes::new()).await?;
            Ok(true)
        }
        Verdict::Answer => {
            let answer = decision.route.as_ref().and_then(|(route, _)| match &route.action {
                Action::Answer(answer) => Some(answer.clone()),
                _ => None,
            });
            let Some(answer) = answer else {
                return Ok(false);
            };
            let mut header = ResponseHeader::build(answer.status, Some(4))?;
            header.insert_header(CONTENT_TYPE, answer.media_type)?;
            ctx.outcome = Outcome::Answered;
            write_answer(session, ctx, header, answer.body).await?;
            Ok(true)
        }
    }
}

async fn refuse_decided(session: &mut Session, ctx: &mut Context, refusal: &Refusal) -> Result<()> {
    ctx.outcome = if *refusal == Refusal::NotAdmitted { Outcome::Forbidden } else { Outcome::Refused };
    if refusal.status() == http::StatusCode::BAD_REQUEST {
        // Whoever sends such a target may send more of it.
        session.set_keepalive(None);
    }
    ctx.reason = Some(match refusal {
        Refusal::TargetNotAllowed { entry } => format!("the target is not allowed; the entry `{entry}` would allow it"),
        Refusal::UnfitTarget(what) => (*what).to_owned(),
        other => other.detail(),
    });
    if let Refusal::MethodNotAllowed(methods) = refusal {
        let allow: Vec<&str> = methods.iter().map(Method::as_str).collect();
        let allow = http::HeaderValue::from_str(&allow.join(", ")).map(|allow| (http::header::ALLOW, allow));
        let extra: Vec<_> = allow.into_iter().collect();
        return super::finish::refuse_with(session, ctx, refusal.status(), &refusal.detail(), &extra).await;
    }
    refuse(session, ctx, refusal.status(), &refusal.detail()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_form_becomes_origin_form() {
        assert_eq!(origin_form("/a?b"), (None, "/a?b".into()));
        assert_eq!(origin_form("http://h:1/a?b"), (Some("h:1"), "/a?b".into()));
        assert_eq!(origin_form("HTTP://h"), (Some("h"), "/".into()));
        assert_eq!(origin_form("http://h?x=1"), (Some("h"), "/?x=1".into()));
        assert_eq!(origin_form("*"), (None, "*".into()));
    }
}
