//! recode: other forms of bodies towards the client: compressed, or gRPC-Web.

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use crate::step::body::Pipeline;
use crate::step::compress::Asked;
use crate::step::grpc_web::Call;

/// Begins an attempt: bodies that are sent again are translated from their begin.
pub(super) fn begin(session: &Session, request: &mut RequestHeader, ctx: &mut Context) {
    let translates = ctx.forward().is_some_and(|(forward, _)| forward.grpc_web);
    ctx.grpc_web = if translates { Call::of(&session.req_header().headers) } else { None };
    if ctx.grpc_web.is_some() {
        // gRPC ends each request by its last DATA frame, be it empty.
        request.set_send_end_stream(false);
    }
}

/// Translates a piece of the request's body.
pub(super) fn request_body(body: &mut Option<Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
    let Some(call) = &mut ctx.grpc_web else {
        return Ok(());
    };
    call.take(body, end).map_err(|error| Error::explain(ErrorType::HTTPStatus(400), error.to_string()).into_down())
}

/// Gives an answer its form towards the client, behind all other steps.
pub(super) fn answer(
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &mut Context,
    pipeline: Option<Pipeline>,
) -> Option<Pipeline> {
    if let Some(call) = &mut ctx.grpc_web
        && let Some(step) = call.respond(response)
    {
        return Some(pipeline.unwrap_or_else(empty).then(Box::new(step)));
    }
    let Some(compress) = ctx.forward().and_then(|(forward, _)| forward.compress.as_ref()) else {
        return pipeline;
    };
    let request = session.req_header();
    let asked = Asked { headers: &request.headers, head: request.method == Method::HEAD };
    match compress.respond(asked, response.status, response) {
        Some(encoder) => Some(pipeline.unwrap_or_else(empty).then(Box::new(encoder))),
        None => pipeline,
    }
}

fn empty() -> Pipeline {
    Pipeline::new(None, Vec::new())
}

/// Ends a body that has trailers behind it. What is left of it takes their place; `None` lets them pass.
pub(super) fn trailers(trailers: &HeaderMap, ctx: &mut Context) -> Result<Option<Bytes>> {
    let mut last = ctx.grpc_web.as_ref().and_then(|call| call.trailers(trailers));
    if ctx.body.is_some() {
        super::respond::adapt_body(&mut last, true, ctx)?;
    }
    Ok(last)
}
