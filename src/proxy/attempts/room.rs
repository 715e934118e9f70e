//! Whether there is room for another attempt.

use super::super::Context;
use super::pool;

/// Whether the limit of attempts and the time for the request have room for another one.
pub(super) fn has_room(ctx: &Context) -> bool {
    let Some((forward, _)) = ctx.forward() else { return false };
    let in_time = forward.timeouts.request.is_none_or(|time| ctx.started.elapsed() < time);
    in_time && ctx.attempts.counted < forward.retry.attempts
}

/// Whether there is an address that was not tried.
pub(super) fn has_other_address(ctx: &Context) -> bool {
    match pool(ctx) {
        Some(upstream) => upstream.has_untried(&ctx.attempts.tried),
        None => ctx.attempts.more_addresses,
    }
}

/// Whether the pool has another attempt to spare.
pub(super) fn is_in_budget(ctx: &Context) -> bool {
    let Some((forward, _)) = ctx.forward() else { return false };
    pool(ctx).is_some_and(|upstream| upstream.may_retry(forward.retry.budget))
}
