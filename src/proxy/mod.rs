//! The way of a request: accept → route → identify → limit → aim → choose a server → forward → relay → adapt → record.
//!
//! This file is its table of contents: Pingora's phases, each a call into the file that does the work.

mod accept;
mod address;
mod admit;
mod aim;
mod attempts;
mod connect;
mod context;
mod files;
mod finish;
mod forward;
mod hygiene;
mod limits;
mod recode;
mod record;
mod respond;
mod session;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::instance::Registry;
use crate::lifecycle::Lifecycle;
use crate::listen::Listeners;
use crate::observe::Metrics;
use crate::snapshot::Snapshot;
use crate::upstream::Resolver;

pub use context::Context;
pub use record::Journal;

/// The data path: one for all listeners and workers.
pub struct Gateway {
    /// The configuration in use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The addresses that clients connect to.
    pub listeners: Arc<Listeners>,
    /// The instances that are registered.
    pub instances: Arc<Registry>,
    /// Looks up the names of dynamic targets.
    pub resolver: Resolver,
    /// What is counted.
    pub metrics: Metrics,
    /// Where requests are recorded.
    pub journal: Journal,
    /// The share of traces that Pylon begins and that are exported, of 2³².
    pub traced: u64,
    /// Counts the requests under way.
    pub lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.snapshot.load_full(), self.lifecycle.begin())
    }

    /// Only our own steps work on bodies; Pingora's modules stay out.
    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        accept::set_up(session, self.lifecycle.is_leaving());
        accept::accept(self, session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        connect::choose(self, session, ctx).await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        attempts::not_connected(session, ctx, error)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        connect::connected(session, ctx, reused, digest)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        forward::forward(session, request, ctx).await
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        limits::take(body.as_ref(), end, ctx)?;
        ctx.receive();
        limits::hold_back(body, end, ctx);
        forward::watch_body(body.as_ref(), end, ctx);
        recode::request_body(body, end, ctx)?;
        forward::end_once(body, end);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        respond::adapt(&self.listeners, session, response, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            limits::answered(session, ctx);
        }
        if self.lifecycle.is_leaving() {
            session.set_keepalive(None);
        }
        if !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            admit::answered(response, ctx);
            admit::respond(response, ctx);
        }
        respond::fit_to_client(session, response, ctx);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<std::time::Duration>> {
        if end {
            // The upstream is done with it: its place is free before the client can ask again.
            ctx.attempts.entered = None;
        }
        respond::adapt_body(body, end, ctx)?;
        ctx.send(body.as_ref());
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut http::HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        recode::trailers(trailers, ctx)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        attempts::broke(session, ctx, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        finish::fail(self.metrics.rejections(), session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        finish::record(self, session, error, ctx);
    }

    /// What is tried again is not worth a line; the pool tells when an endpoint changes its state.
    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Failures are logged in `logging`, with the route and the request's id.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }
}
