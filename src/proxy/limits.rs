//! What is turned away although it is valid HTTP: what is more, larger or slower than the route takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use super::finish::refuse;
use crate::observe::{Outcome, Rejection, Rejections};
use crate::snapshot::{BODY_START, RouteLimits};
use crate::step::Headers;

/// How the body of a request comes.
#[derive(Debug, Default)]
pub struct Arrival {
    /// Bytes of it.
    bytes: u64,
    /// Whether its pace counts.
    timed: bool,
    /// When its first piece was waited for.
    began: Option<Instant>,
    /// Whether the upstream has begun to answer: from then on both ends take their time.
    answered: bool,
    /// The length that was announced, over HTTP/2.
    length: Option<u64>,
    /// The last piece, until it is certain that it is the last.
    kept: Option<Bytes>,
}

impl Arrival {
    /// Bytes of the body in this attempt.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Holds a request against the limits of its route, and sets those of its body and its answer.
pub(super) fn enter(session: &mut Session, ctx: &mut Context) -> Result<(), Rejection> {
    session.set_read_timeout(None);
    let Some(route) = ctx.route().cloned() else { return Ok(()) };
    if let Some(connection) = &ctx.connection {
        let name = connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        if connection.listener.tls.as_ref().is_some_and(|policy| !policy.may_serve(name, &ctx.host)) {
            return Err(Rejection::Misdirected);
        }
        connection.drain(route.limits.drain_rate, route.limits.drain_time);
    }
    if session.req_header().version == http::Version::HTTP_2 {
        session.set_write_timeout(Some(route.limits.drain_time).filter(|_| route.limits.drain_rate > 0));
    }
    check_header(session, &route.limits)?;
    ctx.admitted = route.limits.admit()?;
    let request = session.req_header();
    let length = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    ctx.arrival.length = length.filter(|_| request.version == http::Version::HTTP_2);
    if length.zip(route.limits.body).is_some_and(|(length, most)| length > most) {
        return Err(Rejection::BodyTooLarge);
    }
    let streams = request.version == http::Version::HTTP_2 && length.is_none() && is_grpc(request);
    // Without a body an upgrade is free of all this; with one it has to send that first.
    ctx.arrival.timed = !streams && !session.is_body_empty();
    Ok(())
}

/// Whether a body is a stream of messages that come when they come.
fn is_grpc(request: &pingora::http::RequestHeader) -> bool {
    let kind = request.text(&http::header::CONTENT_TYPE).and_then(|kind| kind.strip_prefix("application/grpc"));
    kind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// An attempt begins: the body comes from its beginning, out of what was kept of it and from the client.
pub(super) fn begin_attempt(ctx: &mut Context) {
    ctx.arrival.bytes = 0;
    ctx.arrival.kept = None;
}

/// The upstream is there to take the body: from now on the client is waited for.
pub(super) fn begin_body(session: &mut Session, ctx: &mut Context) {
    if !ctx.arrival.timed || ctx.arrival.answered {
        return;
    }
    let Some(idle) = ctx.route().map(|route| route.limits.body_idle) else { return };
    ctx.arrival.began = Some(Instant::now());
    session.set_read_timeout(Some(idle));
    if let Some(pace) = &ctx.pace {
        pace.within(idle);
    }
}

fn check_header(session: &Session, limits: &RouteLimits) -> Result<(), Rejection> {
    let request = session.req_header();
    if limits.target.is_some_and(|most| request.raw_path().len() > most) {
        return Err(Rejection::TargetTooLong);
    }
    let size = || -> usize {
        let lines = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        request.method.as_str().len() + request.raw_path().len() + " HTTP/1.1\r\n\r\n ".len() + lines.sum::<usize>()
    };
    if limits.header.is_some_and(|most| size() > most) {
        return Err(Rejection::HeaderTooLarge);
    }
    Ok(())
}

/// Keeps the last piece of a body that came over HTTP/2 until the client says that it is the last: only then is it certain
/// that the body has the length that was announced.
pub(super) fn hold_back(body: &mut Option<Bytes>, end: bool, ctx: &mut Context) {
    if let Some(kept) = ctx.arrival.kept.take() {
        let more = body.take().filter(|more| !more.is_empty());
        *body = Some(more.map_or_else(|| kept.clone(), |more| [&kept[..], &more[..]].concat().into()));
    }
    if !end && ctx.arrival.length.is_some_and(|length| ctx.arrival.bytes >= length) {
        // To Pingora no piece is the end, an empty one is nothing.
        ctx.arrival.kept = body.replace(Bytes::new()).filter(|piece| !piece.is_empty());
    }
}

/// Holds a piece of a body against the limits.
pub(super) fn take(body: Option<&Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
    let before = ctx.arrival.bytes;
    ctx.arrival.bytes += body.map_or(0, |piece| piece.len() as u64);
    let Some(limits) = ctx.route().map(|route| &route.limits) else { return Ok(()) };
    let (most, rate, idle) = (limits.body, limits.body_rate, limits.body_idle);
    if most.is_some_and(|most| ctx.arrival.bytes > most) {
        return Err(error(Rejection::BodyTooLarge));
    }
    let Some(began) = ctx.arrival.began.filter(|_| !ctx.arrival.answered) else { return Ok(()) };
    let sent = ctx.attempts.exchange.as_ref().map(|(exchange, _)| exchange.bytes_sent());
    if let Some(pace) = &ctx.pace {
        if end {
            pace.free();
        } else {
            pace.watch(ctx.attempts.exchange.as_ref().map(|(exchange, _)| Arc::clone(exchange)), ctx.arrival.bytes);
            pace.within(idle);
        }
    }
    let took = began.elapsed();
    // As long as the upstream has not taken what came before, it is not the client that is slow.
    let waits_for_client = sent.is_none_or(|sent| sent >= before);
    if !end && waits_for_client && took > BODY_START && ctx.arrival.bytes < rate.saturating_mul(took.as_secs()) {
        return Err(error(Rejection::BodyTooSlow));
    }
    Ok(())
}

/// The upstream answers: what is left of the body comes when it comes.
pub(super) fn answered(session: &mut Session, ctx: &mut Context) {
    if std::mem::replace(&mut ctx.arrival.answered, true) {
        return;
    }
    session.set_read_timeout(None);
    if let Some(pace) = &ctx.pace {
        pace.free();
    }
}

/// The error of a rejection in the middle of a request.
fn error(rejection: Rejection) -> Box<Error> {
    Error::because(ErrorType::HTTPStatus(rejection.status()), rejection.as_str(), rejection).into_down()
}

/// The rejection behind an error, where there is one.
pub(super) fn rejection_of(error: &Error) -> Option<Rejection> {
    if *error.esource() != ErrorSource::Downstream {
        return None;
    }
    let cause = error.root_cause();
    let named = cause.downcast_ref::<Rejection>();
    let from_socket = || cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<Rejection>();
    match named.or_else(from_socket) {
        Some(rejection) => Some(*rejection),
        None if *error.etype() == ErrorType::ReadTimedout => Some(Rejection::BodyTimeout),
        None => None,
    }
}

/// Answers a request that is turned away.
pub(super) async fn reject(
    rejections: &Rejections,
    session: &mut Session,
    ctx: &mut Context,
    rejection: Rejection,
) -> Result<()> {
    note(rejections, ctx, rejection);
    session.set_keepalive(None);
    let status = http::StatusCode::from_u16(rejection.status()).unwrap_or(http::StatusCode::BAD_REQUEST);
    if rejection == Rejection::RouteBusy {
        ctx.attempts.retry_after = Some(Duration::from_secs(1));
    }
    refuse(session, ctx, status, rejection.detail()).await
}

/// Counts a rejection and says why in the record of the request.
pub(super) fn note(rejections: &Rejections, ctx: &mut Context, rejection: Rejection) {
    let _ = rejections.count(rejection);
    ctx.outcome = Outcome::Rejected;
    ctx.reason = Some(format!("{}: {}", rejection.as_str(), rejection.detail()));
}
