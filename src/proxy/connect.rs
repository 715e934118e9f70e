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

use super::Context;
use super::context::ServerInUse;
use crate::config::ProxyVersion;
use crate::listen::{Listeners, proxy_header};
use crate::observe::Outcome;
use crate::snapshot::{Target, TargetRule, Timeouts};
use crate::step::dynamic::DynamicTarget;
use crate::upstream::{Full, Resolver, Times, Upstream, Wire, Wish, connect_within, peer};

/// After this a client may come again to a pool that has no room or no address.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Bodies up to this size are sent in no time.
const SHORT_BODY: u64 = 64 * 1024;

/// The peer of the next attempt.
pub(super) async fn choose(
    listeners: &Listeners,
    resolver: &Resolver,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<Box<HttpPeer>> {
    super::limits::begin_attempt(ctx);
    // What an attempt before this one met is told of that attempt.
    (ctx.upstream_status, ctx.reason) = (None, None);
    let Some(forwarding) = ctx.forwarding() else {
        return Err(fail(ctx, Outcome::Internal, "a request without an upstream reached the upstream phase"));
    };
    let mut peer = match &forwarding.target {
        Target::Pool(upstream) => {
            let upstream = Arc::clone(upstream);
            admit(&upstream, session, ctx).await?;
            from_pool(&upstream, session, ctx)?
        }
        Target::Address(target) => {
            let target = target.clone();
            let peer = from_path(resolver, &target, ctx).await?;
            refuse_own(listeners, ctx)?;
            peer
        }
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
    // One that has sent all is watched while it waits: when it leaves, so does its place in the queue.
    let watched = session.is_body_empty();
    let whole = ctx.forward().and_then(|(forward, _)| forward.timeouts.request);
    let over = whole.map(|time| tokio::time::Instant::from_std(ctx.started + time));
    let entered = tokio::select! {
        biased;
        entered = upstream.enter() => entered,
        gone = session.as_downstream_mut().read_body_or_idle(true), if watched => {
            ctx.outcome = Outcome::ClientGone;
            let error = gone.err().unwrap_or_else(|| Error::explain(ErrorType::ConnectionClosed, "while it waited"));
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

async fn until(end: Option<tokio::time::Instant>) {
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
        let why = "its certificate is not the one that is configured";
        return Err(Error::explain(ErrorType::InvalidCert, why).into_up());
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

/// A dynamic target: its name is looked up here, and the address connected to is one that the allow-list has.
async fn from_path(resolver: &Resolver, target: &DynamicTarget, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let addresses = match target.address {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => match resolver.resolve(&target.host, target.port).await {
            Ok(found) => found.addresses(),
            Err(error) => {
                let reason = format!("`{}` does not resolve: {error}", target.host);
                return Err(fail(ctx, Outcome::Unresolved, &reason));
            }
        },
    };
    let allowed: Vec<SocketAddr> = match ctx.forward().map(|(forward, _)| &forward.target) {
        Some(TargetRule::Dynamic(dynamic)) => {
            let permits = |a: &&SocketAddr| dynamic.allow.permits_connection(&target.host, a.ip(), target.port);
            addresses.iter().filter(permits).copied().collect()
        }
        _ => Vec::new(),
    };
    let untried = allowed.iter().filter(|address| !ctx.attempts.tried.contains(address)).count();
    let next = allowed.iter().find(|address| !ctx.attempts.tried.contains(address)).or(allowed.first());
    let (Some(&address), Ok(authority)) = (next, HeaderValue::from_str(&target.authority)) else {
        let found: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
        let reason = format!(
            "`{}` stands for {}, which is not allowed; the entry `{}:{}` would allow it",
            target.host,
            found.join(", "),
            found.first().map_or("", String::as_str),
            target.port
        );
        return Err(fail(ctx, Outcome::AddressRefused, &reason));
    };
    let connect = ctx.forward().map_or(COME_AGAIN, |(forward, _)| forward.timeouts.connect);
    ctx.server = Some(ServerInUse { address, scheme: "http", authority });
    ctx.attempts.begin(None, address, ctx.started);
    ctx.attempts.more_addresses = untried > 1;
    Ok(Box::new(peer(address, connect)))
}

/// A dynamic target must not lead back into this process: a path could name it again and again, or its admin port.
fn refuse_own(listeners: &Listeners, ctx: &mut Context) -> Result<()> {
    let local = ctx.connection.as_ref().map(|connection| connection.local);
    match ctx.server.as_ref().map(|server| server.address) {
        Some(address) if listeners.is_own(address, local) => {
            let reason = format!("{address} is an address of this very process");
            Err(fail(ctx, Outcome::AddressRefused, &reason))
        }
        _ => Ok(()),
    }
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

fn fail(ctx: &mut Context, outcome: Outcome, reason: &str) -> Box<Error> {
    ctx.outcome = outcome;
    ctx.reason = Some(reason.to_owned());
    let status = outcome.error_status().map_or(502, |status| status.as_u16());
    Error::explain(ErrorType::HTTPStatus(status), reason.to_owned())
}
