//! choose endpoint → connect: which address an attempt goes to, and what happens when it cannot be reached.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use pingora::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use super::context::ServerInUse;
use crate::listen::Listeners;
use crate::observe::Outcome;
use crate::snapshot::{Target, TargetRule, Timeouts};
use crate::step::dynamic::DynamicTarget;
use crate::upstream::{Upstream, discovery, peer, upgrade};

/// How many addresses are tried before a request fails.
const ATTEMPTS: usize = 3;

/// The peer of the next attempt.
pub(super) async fn choose(listeners: &Listeners, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let Some(forwarding) = ctx.forwarding() else {
        return Err(fail(ctx, Outcome::Internal, "a request without an upstream reached the upstream phase"));
    };
    let mut peer = match &forwarding.target {
        Target::Pool(upstream) => {
            let upstream = Arc::clone(upstream);
            from_pool(&upstream, ctx)?
        }
        Target::Address(target) => {
            let target = target.clone();
            let peer = from_path(&target, ctx).await?;
            refuse_own(listeners, session, ctx)?;
            peer
        }
    };
    if let Some((forward, _)) = ctx.forward() {
        set_timeouts(&mut peer, forward.timeouts);
    }
    if session.is_upgrade_req() {
        upgrade::prepare(&mut peer);
    }
    if is_other_upgrade(session) {
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
    }
    Ok(peer)
}

/// What follows from a connection that could not be made: another attempt while there is another address.
pub(super) fn failed(ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    ctx.outcome = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Outcome::ConnectTimeout,
        _ => Outcome::ConnectFailed,
    };
    ctx.reason = Some(error.to_string());
    if let Some(server) = &ctx.server {
        ctx.tried.push(server.address);
    }
    let addresses = match ctx.forwarding().map(|forwarding| &forwarding.target) {
        Some(Target::Pool(upstream)) => {
            let servers = upstream.servers();
            servers.iter().filter(|server| !ctx.tried.contains(&server.address)).count()
        }
        _ => 0,
    };
    error.set_retry(addresses > 0 && ctx.tried.len() < ATTEMPTS);
    error
}

fn from_pool(upstream: &Upstream, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let Some(server) = upstream.choose(&ctx.tried) else {
        let reason = format!("no address of upstream `{}` is known", upstream.name);
        return Err(fail(ctx, Outcome::NoServer, &reason));
    };
    ctx.server = Some(ServerInUse {
        address: server.address,
        scheme: upstream.scheme(),
        authority: server.endpoint.authority.clone(),
    });
    Ok(Box::new(server.peer.clone()))
}

/// A dynamic target: its name is looked up here, and the address connected to is one that the allow-list has.
async fn from_path(target: &DynamicTarget, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let addresses = match target.address {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => match discovery::resolve(&target.host, target.port).await {
            Ok(addresses) => addresses,
            Err(error) => {
                let reason = format!("`{}` does not resolve: {error}", target.host);
                return Err(fail(ctx, Outcome::Unresolved, &reason));
            }
        },
    };
    let allowed = ctx.forward().and_then(|(forward, _)| match &forward.target {
        TargetRule::Dynamic(dynamic) => {
            addresses.iter().find(|address| dynamic.allow.permits_connection(&target.host, address.ip(), target.port))
        }
        TargetRule::Pool(_) => None,
    });
    let (Some(&address), Ok(authority)) = (allowed, HeaderValue::from_str(&target.authority)) else {
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
    ctx.server = Some(ServerInUse { address, scheme: "http", authority });
    Ok(Box::new(peer(address, None, true)))
}

/// A dynamic target must not lead back into this process: a path could name it again and again, or its admin port.
fn refuse_own(listeners: &Listeners, session: &Session, ctx: &mut Context) -> Result<()> {
    let local = session.server_addr().and_then(|addr| addr.as_inet()).copied();
    match ctx.server.as_ref().map(|server| server.address) {
        Some(address) if listeners.is_own(address, local) => {
            let reason = format!("{address} is an address of this very process");
            Err(fail(ctx, Outcome::AddressRefused, &reason))
        }
        _ => Ok(()),
    }
}

fn set_timeouts(peer: &mut HttpPeer, timeouts: Timeouts) {
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.idle);
    peer.options.write_timeout = Some(timeouts.idle);
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
