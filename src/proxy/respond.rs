//! adapt response: what the client sees of an upstream's answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LAST_MODIFIED, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
};
use http::{HeaderName, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use crate::listen::Listeners;
use crate::observe::Outcome;
use crate::route::public::{Mount, Origin, PublicMap};
use crate::snapshot::{Forward, Target};
use crate::step::Headers;
use crate::step::adapt::{drop_body, is_html};
use crate::step::body::content_type::charset;
use crate::step::body::decode::Decoder;
use crate::step::body::html::HtmlAdapter;
use crate::step::body::{BodyStep, Pipeline};

/// Adapts the header section of an answer, and sets up the steps on its body.
pub(super) fn adapt(
    listeners: &Listeners,
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    if response.status.as_u16() > 599 {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "its answer has no valid status").into_up());
    }
    ctx.upstream_status = Some(response.status);
    if super::attempts::answered(session, ctx, response.status) {
        let reason = format!("{} is tried again", response.status.as_u16());
        return Err(Error::explain(ErrorType::HTTPStatus(502), reason).into_up());
    }
    ctx.outcome = Outcome::Forwarded;
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        if !session.is_upgrade_req() {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "101 to a request without an upgrade").into_up());
        }
        ctx.outcome = Outcome::Upgraded;
        return Ok(());
    }
    super::hygiene::strip(response, session.req_header().version == Version::HTTP_2);
    if response.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: no length on 204; HTTP/2 clients take it for an error.
        response.remove(&CONTENT_LENGTH);
        response.remove(&TRANSFER_ENCODING);
    }
    let Some((forward, _)) = ctx.forward() else {
        return Ok(());
    };
    let map = if forward.adapt.concerns(&response.headers) { public_map(ctx, listeners) } else { None };
    if let Some(map) = &map {
        forward.adapt.apply(response, map);
    }
    let (status, without_body) = forward.adapt.redirect(response.status, &response.headers);
    response.set_status(status)?;
    let pipeline = if without_body {
        drop_body(response);
        None
    } else {
        body_steps(forward, session, response, ctx, map)
    };
    if let Some((forward, values)) = ctx.forward() {
        if let Some(tag) = &forward.etag {
            tag.mark(response);
        }
        forward.response_headers.apply(response, &values);
    }
    if let Some(cookie) = sticky_cookie(session, ctx) {
        response.append(&SET_COOKIE, cookie);
    }
    let pipeline = if without_body { None } else { super::recode::answer(session, response, ctx, pipeline) };
    ctx.drop_body = without_body;
    ctx.body = pipeline.map(Mutex::new);
    Ok(())
}

/// The cookie that binds the client to the endpoint, where the pool has one and the client does not.
fn sticky_cookie(session: &Session, ctx: &Context) -> Option<http::HeaderValue> {
    let Target::Pool(upstream) = &ctx.forwarding()?.target else { return None };
    let token = upstream.token(&session.req_header().headers);
    upstream.bind(ctx.attempts.endpoint.as_deref()?, token, ctx.client.scheme == "https")
}

/// A client that speaks HTTP/1.0 knows no chunks: its body ends with the connection.
pub(super) fn fit_to_client(session: &mut Session, response: &mut ResponseHeader, ctx: &Context) {
    if let Some(hsts) = ctx.hsts() {
        response.set(&STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if session.req_header().version < Version::HTTP_11 && response.headers.contains_key(TRANSFER_ENCODING) {
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
}

/// Ends an answer that takes longer than the whole request may. Connections of HTTP/1.1 see to that by themselves.
fn is_in_time(ctx: &Context) -> Result<()> {
    let time = ctx.forward().and_then(|(forward, _)| forward.timeouts.request);
    if ctx.attempts.exchange.is_none() && time.is_some_and(|time| ctx.started.elapsed() > time) {
        let why = "the time for the whole request is over";
        return Err(Error::explain(ErrorType::Custom("deadline"), why).into_up());
    }
    Ok(())
}

/// Runs the steps on a piece of the body.
pub(super) fn adapt_body(body: &mut Option<Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
    is_in_time(ctx)?;
    if ctx.drop_body {
        *body = None;
        return Ok(());
    }
    let Some(pipeline) = &mut ctx.body else {
        return Ok(());
    };
    let pipeline = pipeline.get_mut().unwrap_or_else(PoisonError::into_inner);
    let adapted = run(pipeline, body.as_deref(), end);
    match adapted {
        Ok(bytes) => {
            *body = (!bytes.is_empty()).then_some(bytes);
            Ok(())
        }
        Err(error) => {
            ctx.outcome = Outcome::AdaptFailed;
            ctx.reason = Some(error.to_string());
            Err(Error::explain(ErrorType::InternalError, "the body cannot be adapted"))
        }
    }
}

fn run(pipeline: &mut Pipeline, chunk: Option<&[u8]>, end: bool) -> Result<Bytes, crate::step::body::BodyError> {
    let head = match chunk {
        Some(chunk) if !chunk.is_empty() => pipeline.push(chunk)?,
        _ => Bytes::new(),
    };
    if !end {
        return Ok(head);
    }
    let tail = pipeline.finish()?;
    if tail.is_empty() {
        Ok(head)
    } else if head.is_empty() {
        Ok(tail)
    } else {
        Ok([head, tail].concat().into())
    }
}

/// The steps on the body of an answer, with its headers made to fit; `None` where the body stays as it is.
fn body_steps(
    forward: &Forward,
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &Context,
    map: Option<PublicMap>,
) -> Option<Pipeline> {
    let status = response.status;
    if status == StatusCode::NOT_MODIFIED && forward.changes_bodies() {
        // They describe the body as it was before it was changed.
        response.remove(&CONTENT_LENGTH);
        response.remove(&LAST_MODIFIED);
    }
    let bodiless = matches!(status.as_u16(), 204 | 304) || response.text(&CONTENT_LENGTH) == Some("0");
    if !forward.changes_bodies() || bodiless || status == StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let content_type = response.text(&CONTENT_TYPE).unwrap_or_default().to_owned();
    let substitute = forward.substitute.as_ref().filter(|s| s.concerns(&content_type));
    let html = forward.adapt.html && is_html(&response.headers);
    if substitute.is_none() && !html {
        return None;
    }
    let encodings: Vec<&str> =
        response.headers.get_all(CONTENT_ENCODING).iter().filter_map(|v| v.to_str().ok()).collect();
    let decoder = match encodings.join(",").as_str() {
        "" => None,
        encoding => Some(Decoder::for_encoding(encoding)?),
    };
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, ACCEPT_RANGES, LAST_MODIFIED] {
        response.remove(&name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        response.remove(&HeaderName::from_static(name));
    }
    if session.req_header().method == Method::HEAD {
        return None;
    }
    let (_, values) = ctx.forward()?;
    let mut steps: Vec<Box<dyn BodyStep>> = Vec::new();
    if let Some(map) = map.filter(|_| html) {
        steps.extend(HtmlAdapter::new(Arc::new(map), charset(&content_type)).map(|s| Box::new(s) as Box<dyn BodyStep>));
    }
    if let Some(substitute) = substitute {
        steps.push(Box::new(substitute.stream(&values)));
    }
    Some(Pipeline::new(decoder, steps))
}

/// The way back from the upstream's URLs to the client's, for this request.
fn public_map(ctx: &Context, listeners: &Listeners) -> Option<PublicMap> {
    let (forward, values) = ctx.forward()?;
    let server = ctx.server.as_ref()?;
    let target = &ctx.forwarding()?.target;
    let base = target.base_path();
    let public_prefix = values.prefix().trim_end_matches('/').to_owned();
    let below = match forward.rewrite_towards(target) {
        Some(template) => template.render_before_rest(&values),
        None => public_prefix.clone(),
    };
    let origin = Origin { scheme: ctx.client.scheme, authority: ctx.host.clone() };
    let via_origin = match &forward.adapt.via {
        Some(via) => listeners.origin_of(&via.listeners, &ctx.route()?.listeners, &origin),
        None => origin.clone(),
    };
    Some(PublicMap {
        own: Mount {
            scheme: server.scheme,
            authority: server.authority.to_str().unwrap_or_default().to_owned(),
            upstream_prefix: format!("{base}{}", below.trim_end_matches('/')),
            public_prefix,
        },
        request_path: ctx.upstream_path.clone(),
        mounts: Arc::clone(ctx.snapshot.mounts()),
        via: forward.adapt.via.clone(),
        origin,
        via_origin,
    })
}
