//! A server that no pool has: which address it is, whether it may be reached, and whether it is open yet.

use std::net::SocketAddr;

use http::HeaderValue;
use pingora::Result;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::Session;

use super::connect::{COME_AGAIN, fail, gone, until};
use super::context::ServerInUse;
use super::{Context, Gateway};
use crate::lifecycle::Lifecycle;
use crate::observe::Outcome;
use crate::snapshot::TargetRule;
use crate::step::dynamic::{Dynamic, DynamicTarget};

/// The peer of an attempt at a target.
pub(super) async fn reach(
    gateway: &Gateway,
    target: &DynamicTarget,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<Box<HttpPeer>> {
    let (address, more) = address(gateway, target, ctx).await?;
    refuse_own(gateway, address, ctx)?;
    let Ok(authority) = HeaderValue::from_str(&target.authority) else {
        return Err(fail(ctx, Outcome::AddressRefused, "the target has no authority"));
    };
    wait(gateway, address, target, session, ctx).await?;
    let Some((forward, _)) = ctx.forward() else {
        return Err(fail(ctx, Outcome::Internal, "a request without a route reached an upstream"));
    };
    let https = (target.scheme == "https").then_some(target.host.as_str());
    let peer = forward.outside.peer(address, https, forward.timeouts.connect);
    ctx.server = Some(ServerInUse { address, scheme: target.scheme, authority });
    ctx.attempts.begin(None, address, ctx.started);
    ctx.attempts.more_addresses = more;
    Ok(Box::new(peer))
}

/// The address that is tried next, and whether there are more. A name is looked up here, and the address connected to is one
/// that the allow-list has.
async fn address(gateway: &Gateway, target: &DynamicTarget, ctx: &mut Context) -> Result<(SocketAddr, bool)> {
    let addresses = match target.address {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => match gateway.resolver.resolve(&target.host, target.port).await {
            Ok(found) => found.addresses(),
            Err(error) => {
                let reason = format!("`{}` does not resolve: {error}", target.host);
                return Err(fail(ctx, Outcome::Unresolved, &reason));
            }
        },
    };
    let allow = match ctx.forward().map(|(forward, _)| &forward.target) {
        Some(TargetRule::Dynamic(dynamic)) => Some(&dynamic.allow),
        Some(TargetRule::Instance(_)) => Some(gateway.instances.allow()),
        _ => None,
    };
    let permits = |address: &&SocketAddr| {
        allow.is_some_and(|allow| allow.permits_connection(&target.host, address.ip(), target.port))
    };
    let allowed: Vec<SocketAddr> = addresses.iter().filter(permits).copied().collect();
    let untried = allowed.iter().filter(|address| !ctx.attempts.tried.contains(address)).count();
    let next = allowed.iter().find(|address| !ctx.attempts.tried.contains(address)).or(allowed.first());
    match next {
        Some(address) => Ok((*address, untried > 1)),
        None => {
            let found: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            let reason = format!(
                "`{}` stands for {}, which is not allowed; the entry `{}:{}` would allow it",
                target.host,
                found.join(", "),
                found.first().map_or("", String::as_str),
                target.port
            );
            Err(fail(ctx, Outcome::AddressRefused, &reason))
        }
    }
}

/// Whether it is certain that a name stands for no address that the allow-list has.
pub(super) async fn is_out_of_reach(gateway: &Gateway, dynamic: &Dynamic, target: &DynamicTarget) -> bool {
    let permits = |address: SocketAddr| dynamic.allow.permits_connection(&target.host, address.ip(), target.port);
    match gateway.resolver.resolve(&target.host, target.port).await {
        Ok(found) => found.is_whole() && !found.addresses().into_iter().any(permits),
        Err(error) => error.is_certain,
    }
}

/// A target must not lead back into this process: a request could name it again and again, or its admin port.
fn refuse_own(gateway: &Gateway, address: SocketAddr, ctx: &mut Context) -> Result<()> {
    let local = ctx.connection.as_ref().map(|connection| connection.local);
    if gateway.listeners.is_own(address, local) {
        let reason = format!("{address} is an address of this very process");
        return Err(fail(ctx, Outcome::AddressRefused, &reason));
    }
    Ok(())
}

/// Waits until the server is open, where the route waits. The client's leaving ends it, as does the process's.
async fn wait(
    gateway: &Gateway,
    address: SocketAddr,
    target: &DynamicTarget,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<()> {
    let https = target.scheme == "https";
    ctx.attempts.remembered = false;
    let Some(route) = ctx.route().cloned() else { return Ok(()) };
    let crate::snapshot::Action::Forward(forward) = &route.action else { return Ok(()) };
    let Some(wait) = &forward.wait else { return Ok(()) };
    if wait.waits.is_open(address, https, &wait.patience) {
        ctx.attempts.remembered = true;
        return Ok(());
    }
    let over = forward.timeouts.request.map(|time| tokio::time::Instant::from_std(ctx.started + time));
    let waited = tokio::select! {
        biased;
        waited = wait.waits.wait(address, https, &wait.patience) => waited,
        error = gone(session) => {
            ctx.outcome = Outcome::ClientGone;
            return Err(error.into_down());
        }
        () = until(over), if over.is_some() => {
            let reason = format!("the time for the whole request was over while it waited for {address} to open");
            return Err(fail(ctx, Outcome::RequestTimeout, &reason));
        }
        () = leaving(&gateway.lifecycle) => {
            ctx.attempts.retry_after = Some(COME_AGAIN);
            let reason = format!("the process leaves, and so it waits no longer for {address} to open");
            return Err(fail(ctx, Outcome::NoServer, &reason));
        }
    };
    waited.map_err(|why| {
        let reason = format!("{address} did not open in the time that the route waits: {why}");
        fail(ctx, Outcome::ConnectTimeout, &reason)
    })
}

/// Whether the server is one that was open a short while ago, and is waited for again.
pub(super) fn waits_again(ctx: &mut Context) -> bool {
    if !std::mem::take(&mut ctx.attempts.remembered) {
        return false;
    }
    if let (Some((forward, _)), Some(server)) = (ctx.forward(), &ctx.server)
        && let Some(wait) = &forward.wait
    {
        wait.waits.forget(server.address, server.scheme == "https", &wait.patience);
    }
    true
}

/// Comes when the process stops or is drained; at once where it does already.
async fn leaving(lifecycle: &Lifecycle) {
    let mut drains = lifecycle.drains();
    while !lifecycle.is_leaving() {
        if drains.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
