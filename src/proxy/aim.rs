//! aim: where a request goes that was let in, where that depends on who asks or on what is registered.

use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::accept::{described, origin_form};
use super::{Context, Gateway};
use crate::snapshot::{Action, TargetRule};

/// So many names of one request are looked up.
const MOST_NAMES: usize = 8;

/// Tells the target of a request.
pub(super) async fn aim(gateway: &Gateway, session: &Session, ctx: &mut Context) {
    if !ctx.decision.as_ref().is_some_and(crate::snapshot::Decision::is_pending) {
        return;
    }
    if let Some(Action::Forward(forward)) = ctx.route().map(|route| &route.action)
        && let TargetRule::Dynamic(dynamic) = &forward.target
        && let Some(lookup) = dynamic.lookup().cloned()
    {
        lookup.ready().await;
    }
    let Some(mut decision) = ctx.decision.take() else { return };
    // Each round knows one name more that leads nowhere; the last one takes what it gets.
    for round in (0..MOST_NAMES).rev() {
        let cookies = with_target(session.req_header(), |target| {
            let request = described(session.req_header(), target, ctx);
            decision.aim(&request, ctx.identity(), &|name| gateway.instances.find(name))
        });
        let Some((dynamic, target)) = decision.doubtful().filter(|_| round > 0) else { break };
        if !super::address::is_out_of_reach(gateway, dynamic, target).await {
            break;
        }
        dynamic.doubt(&target.host);
        decision.pend(cookies);
    }
    ctx.decision = Some(decision);
}

/// Leads a request whose server cannot be reached to the fallback of its route; whether there is one.
pub(super) fn fall_back(session: &Session, ctx: &mut Context) -> bool {
    let has_one = ctx.forward().is_some_and(|(forward, _)| forward.fallback.is_some());
    let Some(mut decision) = ctx.decision.take_if(|_| has_one) else { return false };
    let done =
        with_target(session.req_header(), |target| decision.fall_back(&described(session.req_header(), target, ctx)));
    ctx.decision = Some(decision);
    done
}

fn with_target<T>(header: &RequestHeader, run: impl FnOnce(&str) -> T) -> T {
    let raw = std::str::from_utf8(header.raw_path()).unwrap_or("/");
    run(&origin_form(raw).1)
}
