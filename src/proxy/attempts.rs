//! Attempts: what each one met, and whether another one may follow.
//!
//! The rule that no fault may break: a request that is not idempotent (RFC 9110 §9.2.2) is never sent a second time,
//! unless the first server said that it did not process it, or cannot have had the whole of it.

mod failure;
mod room;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use pingora::{Error, ErrorSource};
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::Context;
pub(super) use failure::{in_words, outcome};
use failure::{is_answered_wrongly, is_closed, is_closed_h2, is_not_believed, is_refused_stream};
use room::{has_other_address, has_room, is_in_budget};

use super::record::between;
use crate::observe::{Attempt, Outcome};
use crate::snapshot::Target;
use crate::upstream::{Endpoint, Entered, Exchange, InFlight, Turn, Upstream};

/// So many attempts of a request are told.
const TOLD: usize = 8;

/// What is known of a request's attempts.
#[derive(Default)]
pub struct Attempts {
    /// The addresses that failed, or were tried on.
    pub tried: SmallVec<[SocketAddr; 4]>,
    /// How many count against the limit.
    counted: usize,
    made: usize,
    /// What is told of them; of many, the last ones.
    pub log: SmallVec<[Attempt; 1]>,
    /// Whether the current one is under way.
    open: bool,
    /// Of the current attempt: where it goes, in a pool.
    pub endpoint: Option<Arc<Endpoint>>,
    in_flight: Option<InFlight>,
    /// When it began.
    began: Option<Instant>,
    /// What moves on its connection.
    pub exchange: Option<(Arc<Exchange>, Turn)>,
    /// Bytes sent when the first of the body was at hand.
    head_sent: Option<u64>,
    /// Whether the next attempt is to have a new connection.
    pub fresh: bool,
    /// Whether there are more addresses of a dynamic target.
    pub more_addresses: bool,
    /// Whether the server of a dynamic target was not waited for, as it was open a short while ago.
    pub remembered: bool,
    /// The request's place in the pool.
    pub entered: Option<Entered>,
    /// Whether it was let into the pool, and counted there.
    pub admitted: bool,
    /// Whether it is the one that a circuit breaker has let through to see.
    pub probe: bool,
    /// When the client may come again.
    pub retry_after: Option<Duration>,
    /// Whether an answer was turned down for its status, to try again.
    turned_down: bool,
}

impl Attempts {
    /// An attempt begins, of a request that came at `started`.
    pub(super) fn begin(&mut self, endpoint: Option<Arc<Endpoint>>, address: SocketAddr, started: Instant) {
        let now = Instant::now();
        self.made += 1;
        self.counted += 1;
        if self.log.len() >= TOLD {
            self.log.remove(0);
        }
        self.log.push(Attempt {
            endpoint: address,
            at: between(started, now),
            reused: false,
            connect: None,
            first_byte: None,
            end: Duration::ZERO,
            status: None,
            failure: None,
            reason: None,
            retried: false,
        });
        self.open = true;
        self.in_flight = endpoint.as_ref().map(|endpoint| endpoint.state.begin());
        self.endpoint = endpoint;
        self.began = Some(now);
        self.exchange = None;
        self.head_sent = None;
        self.turned_down = false;
    }

    /// The connection of the current attempt is there; how long it took to be made, if it was.
    pub(super) fn connected(&mut self, reused: bool) -> Option<Duration> {
        let took = self.began.filter(|_| !reused).map(|began| began.elapsed());
        if let Some(attempt) = self.log.last_mut() {
            attempt.reused = reused;
            attempt.connect = took;
        }
        took
    }

    /// The answer to the current attempt begins.
    fn first_byte(&mut self, status: StatusCode, started: Instant) {
        if let Some(attempt) = self.log.last_mut() {
            attempt.first_byte = Some(started.elapsed());
            attempt.status = Some(status);
        }
    }

    /// The current attempt is over, as it failed, if it did.
    pub(super) fn conclude(&mut self, started: Instant, failure: Option<Outcome>, reason: Option<&str>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let Some(attempt) = self.log.last_mut() else { return };
        attempt.end = started.elapsed();
        attempt.failure = failure;
        attempt.reason = reason.map(Into::into);
        if let Some(endpoint) = &self.endpoint {
            endpoint.state.metrics.attempt(attempt.status, failure);
        }
    }

    /// Whether another attempt follows the last one.
    fn follows(&mut self, retried: bool) {
        if let Some(attempt) = self.log.last_mut() {
            attempt.retried = retried;
        }
    }

    /// The first of the body is at hand; all that was sent until now was the header section.
    pub(super) fn body_begins(&mut self) {
        if self.head_sent.is_none() {
            self.head_sent = self.exchange.as_ref().map(|(exchange, _)| exchange.bytes_sent());
        }
    }

    /// The request is over.
    pub(super) fn end(&mut self) {
        if let Some((exchange, turn)) = self.exchange.take() {
            exchange.end(turn);
        }
    }

    /// An attempt is over, the request is not.
    fn release(&mut self) {
        self.in_flight = None;
    }

    /// How many attempts were made.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// How long the server has taken: since the request was sent whole, where that is known.
    fn took(&self) -> Duration {
        let asked = self.exchange.as_ref().and_then(|(exchange, _)| exchange.since_asked());
        asked.or_else(|| self.began.map(|began| began.elapsed())).unwrap_or_default()
    }

    /// Whether nothing came back, and nothing of the request can have been understood as one.
    fn was_not_processed(&self, reused: bool, has_body: bool) -> bool {
        let Some((exchange, _)) = &self.exchange else { return false };
        if exchange.bytes_received() > 0 {
            return false;
        }
        let sent = exchange.bytes_sent();
        // Without its body a request that has one is not complete, and the connection was closed before it was.
        sent == 0 || (reused && has_body && self.head_sent.is_none_or(|head| sent <= head))
    }
}

fn pool(ctx: &Context) -> Option<Arc<Upstream>> {
    match &ctx.forwarding()?.target {
        Target::Pool(upstream) => Some(Arc::clone(upstream)),
        Target::Address(_) | Target::Pending(_) => None,
    }
}

/// Tells the pool that an attempt failed by the endpoint's fault.
fn blame(ctx: &Context, reason: &str) {
    if let (Some(upstream), Some(endpoint)) = (pool(ctx), &ctx.attempts.endpoint) {
        upstream.failed(endpoint, ctx.attempts.took(), ctx.attempts.probe, reason);
    }
}

/// What follows from a connection that could not be made: another attempt while there is another address.
pub(super) fn not_connected(session: &Session, ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    ctx.outcome = outcome(&error);
    let reason = in_words(&error);
    blame(ctx, &reason);
    ctx.attempts.conclude(ctx.started, Some(ctx.outcome), Some(&reason));
    ctx.reason = Some(reason);
    if let Some(server) = &ctx.server {
        ctx.attempts.tried.push(server.address);
    }
    ctx.attempts.release();
    let in_time = has_room(ctx);
    let retry =
        in_time && (has_other_address(ctx) || super::address::waits_again(ctx) || super::aim::fall_back(session, ctx));
    ctx.attempts.follows(retry);
    error.set_retry(retry);
    error
}

/// What follows from an attempt that broke after its connection was made.
pub(super) fn broke(session: &mut Session, ctx: &mut Context, mut error: Box<Error>, reused: bool) -> Box<Error> {
    if std::mem::take(&mut ctx.attempts.turned_down) {
        ctx.attempts.conclude(ctx.started, None, Some("its status is one to try again after"));
        ctx.attempts.follows(true);
        ctx.attempts.release();
        error.set_retry(true);
        return error;
    }
    if is_not_believed(&error) {
        return not_connected(session, ctx, error);
    }
    let by_upstream = *error.esource() == ErrorSource::Upstream;
    let retry = by_upstream && may_follow(session, ctx, &error, reused);
    let written = session.response_written().map(|response| response.status);
    if by_upstream && written != Some(StatusCode::SWITCHING_PROTOCOLS) {
        let begun = written.is_some_and(|status| !status.is_informational());
        let failure = if begun { Outcome::UpstreamCut } else { outcome(&error) };
        ctx.attempts.conclude(ctx.started, Some(failure), Some(&in_words(&error)));
    }
    ctx.attempts.follows(retry);
    if retry {
        ctx.attempts.release();
        ctx.outcome = Outcome::Internal;
    }
    ctx.attempts.end();
    error.set_retry(retry);
    error
}

fn may_follow(session: &mut Session, ctx: &mut Context, error: &Error, reused: bool) -> bool {
    let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
    let has_body = !session.is_body_empty();
    let nothing_came = ctx.attempts.exchange.as_ref().is_none_or(|(exchange, _)| exchange.bytes_received() == 0);
    // An idle connection that the server closed just when it was used says nothing about the server.
    // Over HTTP/2 it may be another request's fault.
    let stale = (reused && nothing_came && is_closed(error)) || is_closed_h2(error);
    let unprocessed =
        (is_closed(error) && ctx.attempts.was_not_processed(reused, has_body)) || is_refused_stream(error);
    if !stale && !unprocessed {
        let reason = in_words(error);
        blame(ctx, &reason);
    } else if let (Some(upstream), Some(endpoint)) = (pool(ctx), &ctx.attempts.endpoint) {
        upstream.doubted(endpoint);
    }
    let replayable = !begun && !session.as_ref().retry_buffer_truncated();
    let idempotent = session.req_header().method.is_idempotent();
    if !replayable || is_answered_wrongly(error) {
        return false;
    }
    if unprocessed || (stale && idempotent) {
        // It is as if this attempt had not been; the next one gets a connection of its own, so that there is no third.
        let again = !ctx.attempts.fresh || has_room(ctx);
        let words = in_words(error);
        let why = if reused && stale { "the idle connection was closed just when it was used" } else { words.as_str() };
        ctx.attempts.conclude(ctx.started, (!again).then(|| outcome(error)), Some(why));
        ctx.attempts.counted -= usize::from(!ctx.attempts.fresh);
        ctx.attempts.fresh = true;
        return again;
    }
    if let Some(server) = &ctx.server {
        ctx.attempts.tried.push(server.address);
    }
    idempotent && has_room(ctx) && has_other_address(ctx) && is_in_budget(ctx)
}

/// Takes an answer's status in; `true` when it is to be turned down and the request tried again.
pub(super) fn answered(session: &Session, ctx: &mut Context, status: StatusCode) -> bool {
    ctx.attempts.first_byte(status, ctx.started);
    let (Some(upstream), Some(endpoint)) = (pool(ctx), ctx.attempts.endpoint.clone()) else {
        return false;
    };
    if matches!(status.as_u16(), 502..=504) {
        blame(ctx, &format!("it answered {}", status.as_u16()));
    } else {
        upstream.succeeded(&endpoint, ctx.attempts.took(), ctx.attempts.probe);
    }
    let listed = ctx.forward().is_some_and(|(forward, _)| forward.retry.statuses.iter().any(|r| r.contains(status)));
    let again = listed
        && session.req_header().method.is_idempotent()
        && !session.as_ref().retry_buffer_truncated()
        && session.response_written().is_none()
        && has_room(ctx)
        && {
            ctx.attempts.tried.push(endpoint.address);
            has_other_address(ctx)
        }
        && is_in_budget(ctx);
    ctx.attempts.turned_down = again;
    again
}
