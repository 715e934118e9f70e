//! choose endpoint → connect: where an attempt goes to, and how it is begun.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use pingora::protocols::{ALPN, Digest};
use pingora::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::aim::fall_back;
use super::context::ServerInUse;
use super::{Context, Gateway};
use crate::config::ProxyVersion;
use crate::listen::proxy_header;
use crate::observe::Outcome;
use crate::snapshot::{Target, Timeouts};
use crate::upstream::{Full, Times, Upstream, Wire, Wish, connect_within};

/// After this a client may come again to a pool that has no room or no address.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// How often a client is looked after that waits, and whose body has not been read.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// The state of a TCP connection that neither side has ended.
const ESTABLISHED: u8 = 1;

/// Bodies up to this size are sent in no time.
const SHORT_BODY: u64 = 64 * 1024;

/// The peer of the next attempt.
pub(super) async fn choose(gateway: &Gateway, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    super::limits::begin_attempt(ctx);
    // What an attempt before this one met is told of that attempt.
    (ctx.upstream_status, ctx.reason) = (None, None);
    let mut peer = match server(gateway, session, ctx).await {
        Err(_) if ctx.outcome.may_fall_back() && fall_back(session, ctx) => {
            // What is said of the first server is not to be told of the one that stands in for it.
            (ctx.outcome, ctx.reason) = (Outcome::Internal, None);
            server(gateway, session, ctx).await?
        }
        chosen => chosen?,
    };
    if let Some((forward, _)) = ctx.forward() {
        set_timeouts(&mut peer, forward.timeouts, has_long_body(session), ctx);
    }
    if ctx.attempts.fresh && (!is_h2(&peer) || ctx.attempts.made() > 2) {
        // A pool of its own: the key is one that no idle connection has.
        static KEY: AtomicU64 = AtomicU64::new(1 << 63);
        peer.group_key = KEY.fetch_add(1, Ordering::Relaxed);
        peer.options.idle_timeout = Some(COME_AGAIN);
    }
    if is_other_upgrade(session) {
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
    }
    Ok(peer)
}

async fn server(gateway: &Gateway, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    match ctx.forwarding().map(|forwarding| &forwarding.target) {
        Some(Target::Pool(upstream)) => {
            let upstream = Arc::clone(upstream);
            admit(&upstream, session, ctx).await?;
            from_pool(&upstream, session, ctx)
        }
        Some(Target::Address(target)) => {
            let target = target.clone();
            super::address::reach(gateway, &target, session, ctx).await
        }
        Some(Target::Pending(_)) | None => {
            Err(fail(ctx, Outcome::Internal, "a request without an upstream reached the upstream phase"))
        }
    }
}

/// Lets a request into its pool, once.
async fn admit(upstream: &Upstream, session: &mut Session, ctx: &mut Context) -> Result<()> {
    if ctx.attempts.admitted {
        return Ok(());
    }
    match upstream.pass() {
        Ok(probe) => ctx.attempts.probe = probe,
        Err(wait) => {
            ctx.attempts.retry_after = Some(wait + Duration::from_millis(999));
            let reason = format!("the circuit breaker of upstream `{}` is open", upstream.name);
            return Err(fail(ctx, Outcome::BreakerOpen, &reason));
        }
    }
    let whole = ctx.forward().and_then(|(forward, _)| forward.timeouts.request);
    let over = whole.map(|time| tokio::time::Instant::from_std(ctx.started + time));
    let entered = tokio::select! {
        biased;
        entered = upstream.enter() => entered,
        error = gone(session) => {
            ctx.outcome = Outcome::ClientGone;
            return Err(error.into_down());
        }
        () = until(over), if over.is_some() => {
            let reason = "the time for the whole request was over while it waited for its turn";
            return Err(fail(ctx, Outcome::RequestTimeout, reason));
        }
    };
    match entered {
        Ok(entered) => ctx.attempts.entered = entered,
        Err(full) => {
            ctx.attempts.retry_after = Some(COME_AGAIN);
            let why = match full {
                Full::NoPlace => "is at its limit, and so is its queue",
                Full::Waited => "was at its limit for as long as requests wait",
            };
            let reason = format!("upstream `{}` {why}", upstream.name);
            return Err(fail(ctx, Outcome::Overloaded, &reason));
        }
    }
    ctx.attempts.admitted = true;
    Ok(())
}

/// Comes when the client leaves while it waits. Over HTTP/1 the body of one that has sent it stands in the way of watching the
/// connection: its state is asked for now and then.
pub(super) async fn gone(session: &mut Session) -> Box<Error> {
    let left = if session.is_body_empty() {
        session.as_downstream_mut().read_body_or_idle(true).await.err()
    } else if let Some(stream) = session.as_downstream_mut().watch_h2_stream_close() {
        stream.await.err()
    } else {
        while is_connected(session) {
            tokio::time::sleep(LOOK_AFTER).await;
        }
        None
    };
    left.unwrap_or_else(|| Error::explain(ErrorType::ConnectionClosed, "while it waited"))
}

/// Whether the kernel has heard nothing of an end of the client's connection.
fn is_connected(session: &Session) -> bool {
    let socket = session.digest().and_then(|digest| digest.socket_digest.as_ref());
    socket.and_then(|socket| socket.tcp_info()).is_none_or(|info| info.tcpi_state == ESTABLISHED)
}

pub(super) async fn until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// The connection of an attempt is there: from now on its exchange is watched.
pub(super) fn connected(session: &mut Session, ctx: &mut Context, reused: bool, digest: Option<&Digest>) -> Result<()> {
    let took = ctx.attempts.connected(reused);
    if let Some(Target::Pool(upstream)) = ctx.forwarding().map(|forwarding| &forwarding.target)
        && let Some(took) = took
    {
        upstream.metrics().connected(took);
    }
    if let Some(Target::Pool(upstream)) = ctx.forwarding().map(|forwarding| &forwarding.target)
        && !upstream.believes(digest)
    {
        return Err(not_believed());
    }
    if let Some(Target::Address(target)) = ctx.forwarding().map(|forwarding| &forwarding.target)
        && target.scheme == "https"
        && ctx.forward().is_some_and(|(forward, _)| !forward.outside.believes(digest))
    {
        return Err(not_believed());
    }
    if let Some((forward, _)) = ctx.forward() {
        // A client that takes nothing does not hold its place for ever.
        // Over HTTP/1 the connection sees to that by itself; over HTTP/2 a stream alone may be held back.
        let left = forward.timeouts.request.map(|time| time.saturating_sub(ctx.started.elapsed()));
        let drain = ctx
            .route()
            .map(|route| &route.limits)
            .filter(|limits| limits.drain_rate > 0)
            .map(|limits| limits.drain_time);
        let drain = drain.filter(|_| session.req_header().version == http::Version::HTTP_2);
        let least = left.into_iter().chain(drain).min();
        session.set_write_timeout(least.map(|time| time.max(Duration::from_millis(1))));
    }
    let exchange = digest.and_then(Wire::exchange);
    let begun = exchange.zip(ctx.forward()).map(|(exchange, (forward, _))| {
        let timeouts = forward.timeouts;
        let end = timeouts.request.map(|time| (ctx.started + time).into());
        let times = Times { first_byte: timeouts.first_byte, idle: timeouts.idle, end };
        let turn = exchange.begin(times, session.is_upgrade_req());
        (exchange, turn)
    });
    ctx.attempts.exchange = begun;
    super::limits::begin_body(session, ctx);
    Ok(())
}

fn not_believed() -> Box<Error> {
    Error::explain(ErrorType::InvalidCert, "its certificate is not the one that is configured").into_up()
}

fn from_pool(upstream: &Arc<Upstream>, session: &Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let headers = &session.req_header().headers;
    let (v4, v6);
    let client: &[u8] = match ctx.client.address {
        IpAddr::V4(address) => {
            v4 = address.octets();
            &v4
        }
        IpAddr::V6(address) => {
            v6 = address.octets();
            &v6
        }
    };
    let wish = Wish {
        key: upstream.key(headers, client),
        token: upstream.token(headers),
        tried: &ctx.attempts.tried,
        ..Wish::default()
    };
    let Some(endpoint) = upstream.choose(&wish) else {
        ctx.attempts.retry_after = Some(COME_AGAIN);
        let reason = format!("no address of upstream `{}` is known", upstream.name);
        return Err(fail(ctx, Outcome::NoServer, &reason));
    };
    ctx.server = Some(ServerInUse {
        address: endpoint.address,
        scheme: upstream.scheme(),
        authority: endpoint.configured.authority.clone(),
    });
    let peer = Box::new(endpoint.peer.clone());
    if ctx.attempts.made() > 0 {
        upstream.metrics().retry();
    }
    let address = endpoint.address;
    ctx.attempts.begin(Some(endpoint), address, ctx.started);
    Ok(peer)
}

/// Whether the body is one that takes a while to send, or may do so.
fn has_long_body(session: &mut Session) -> bool {
    let length = session.req_header().headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    !session.is_body_empty() && length.is_none_or(|length| length > SHORT_BODY)
}

fn is_h2(peer: &HttpPeer) -> bool {
    peer.options.alpn == ALPN::H2
}

/// The PROXY header that the upstream wants, with the client's address: that of its connection where that is the client's,
/// else the address that the proxies before Pylon tell, of which no port is known.
fn preamble(ctx: &Context) -> Vec<u8> {
    let Some(Target::Pool(upstream)) = ctx.forwarding().map(|forwarding| &forwarding.target) else { return Vec::new() };
    let (Some(version), Some(connection)) = (upstream.spec().proxy_protocol, &ctx.connection) else {
        return Vec::new();
    };
    let direct = ctx.client.address == connection.peer.ip().to_canonical();
    let client = if direct { connection.peer } else { SocketAddr::new(ctx.client.address, 0) };
    match version {
        ProxyVersion::V1 => proxy_header::write_v1(client, connection.local),
        ProxyVersion::V2 => proxy_header::write_v2(client, connection.local),
    }
}

/// Sets how long the stages of an attempt may take. Reads of HTTP/1.1 are timed on the connection itself, as Pingora has
/// one time for all of them.
fn set_timeouts(peer: &mut HttpPeer, timeouts: Timeouts, has_body: bool, ctx: &Context) {
    let left = timeouts.request.map(|time| time.saturating_sub(ctx.started.elapsed()).max(Duration::from_millis(1)));
    let within = |time: Duration| left.map_or(time, |left| left.min(time));
    let preamble = preamble(ctx);
    if !preamble.is_empty() {
        // The connection is this client's: no other one finds it in the pool.
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(&preamble, &mut hasher);
        peer.group_key ^= std::hash::Hasher::finish(&hasher);
    }
    if timeouts.connect_differs || left.is_some_and(|left| left < timeouts.connect) || !preamble.is_empty() {
        connect_within(peer, ctx.attempts.endpoint.as_deref(), within(timeouts.connect), preamble);
    }
    peer.options.connection_timeout = Some(within(timeouts.tls));
    peer.options.total_connection_timeout = Some(within(timeouts.connect.saturating_add(timeouts.tls)));
    peer.options.write_timeout = Some(within(timeouts.idle));
    // Pingora counts it while a body is sent, too; so one is only set where none is.
    peer.options.read_timeout = match (is_h2(peer), has_body) {
        (false, _) => None,
        (true, false) => Some(within(timeouts.idle)),
        (true, true) => left,
    };
}

/// Whether a request asks for an upgrade that Pingora does not know, as `kubectl exec` does with SPDY.
///
/// `h2c` is hop by hop and never forwarded (RFC 9113 §3.1 takes it out of HTTP/2 altogether).
pub(super) fn is_other_upgrade(session: &Session) -> bool {
    let request = session.req_header();
    let upgrade = request.headers.get(http::header::UPGRADE).map(HeaderValue::as_bytes);
    request.version == http::Version::HTTP_11
        && session.is_upgrade_req()
        && upgrade.is_some_and(|value| {
            !value.eq_ignore_ascii_case(b"websocket")
                && !value.to_ascii_lowercase().windows(3).any(|part| part == b"h2c")
        })
}

pub(super) fn fail(ctx: &mut Context, outcome: Outcome, reason: &str) -> Box<Error> {
    ctx.outcome = outcome;
    ctx.reason = Some(reason.to_owned());
    let status = outcome.error_status().map_or(502, |status| status.as_u16());
    Error::explain(ErrorType::HTTPStatus(status), reason.to_owned())
}
