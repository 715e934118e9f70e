//! Limits that are counted in Redis, for all instances together: one script for each decision.
//!
//! The server's clock decides, not the instances': clocks that differ cannot make one instance forget what another counted.

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;

use super::super::redis_server::Server;
use super::key::StoreKey;
use super::local::{BucketRule, Mode, Verdict, WindowRule};
use crate::config::{Fail, KeyForm};
use crate::remote::{RedisError, Script};

/// How long a count is tried that nobody waits for.
const UNWAITED: Duration = Duration::from_secs(1);

/// A rolling window: a sorted set for each key, of numbered requests, with the seconds of Unix time to the millisecond as
/// scores. Answers whether it passes, how many count, and milliseconds; a key that holds something else gives -1.
/// The first command that writes is one that a full server refuses: after any other it would let the rest pass.
static WINDOW: Lazy<Script> = Lazy::new(|| {
    Script::new(
        r"
local key, counter = KEYS[1], KEYS[2]
local window, limit, mode = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'zset' then return {-1, 0, 0} end
local time = redis.call('TIME')
local now = tonumber(time[1]) + math.floor(tonumber(time[2]) / 1000) / 1000
local oldest = now - window / 1000
local count = redis.call('ZCOUNT', key, string.format('(%.17g', oldest), '+inf')
local passes = count < limit
if mode == 'count' or mode == 'take_all' or (mode == 'take' and passes) then
  local id = redis.call('INCR', counter)
  if id >= 1e12 then redis.call('SET', counter, 1) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.17g', oldest))
  redis.call('ZADD', key, string.format('%.17g', now), string.format('%.0f', id))
  redis.call('PEXPIRE', key, window)
  count = count + 1
end
local wait = window
local surplus = 0
if not passes then surplus = math.max(count - limit, 0) end
local rank = redis.call('ZCARD', key) - count + surplus
local first = redis.call('ZRANGE', key, rank, rank, 'WITHSCORES')
if first[2] then wait = math.max(math.ceil((tonumber(first[2]) - oldest) * 1000 - 0.01), 1) end
return {passes and 1 or 0, count, wait}
",
    )
});

/// A token bucket: for each key the time at which it is full again, in microseconds of Unix time. More than all can be missing
/// where the rule was a stricter one before, or the clock another.
static BUCKET: Lazy<Script> = Lazy::new(|| {
    Script::new(
        r"
local key = KEYS[1]
local each, burst, mode = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'string' then return {-1, 0, 0} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full_at = 0
if kind == 'string' then full_at = tonumber(redis.call('GET', key)) end
if not full_at then return {-1, 0, 0} end
local whole = each * burst
local function keep(at) redis.call('SET', key, string.format('%.17g', at), 'PX', math.max(math.ceil((at - now) / 1000), 1)) end
if full_at > now + whole then
  full_at = now + whole
  keep(full_at)
end
full_at = math.max(full_at, now) + each
local missing = full_at - now
local passes = missing <= whole
if mode == 'count' or (mode == 'take' and passes) then
  full_at = math.min(full_at, now + whole)
  keep(full_at)
end
if passes then return {1, math.floor((whole - missing) / each), math.ceil(missing / 1000)} end
return {0, 0, math.ceil((missing - whole) / 1000)}
",
    )
});

/// What is counted in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum StoredRule {
    Bucket {
        /// As in this process, for the remaining number.
        rule: BucketRule,
        /// Microseconds until one more may pass; less than one is possible.
        each: f64,
    },
    Window(WindowRule),
}

/// Where and how a limit counts.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) server: Arc<Server>,
    pub(super) rule: StoredRule,
    pub(super) fail: Fail,
    pub(super) prefix: String,
    pub(super) counter: String,
    pub(super) form: KeyForm,
}

impl Store {
    /// Decides about a request.
    ///
    /// # Errors
    /// Why there is no decision.
    pub(super) async fn decide(&self, key: &StoreKey, mode: Mode) -> Result<Verdict, RedisError> {
        self.ask(key, mode, None).await
    }

    /// Counts a request that has passed already; nobody waits for it. Whether it is counted.
    pub(super) async fn count(&self, key: &StoreKey) -> bool {
        let counted = self.ask(key, Mode::Count, Some(UNWAITED)).await;
        if let Err(error) = &counted {
            tracing::debug!(%error, "a request was not counted");
        }
        counted.is_ok()
    }

    async fn ask(&self, key: &StoreKey, mode: Mode, within: Option<Duration>) -> Result<Verdict, RedisError> {
        let redis = &self.server.0;
        let run = async |script: &Script, keys: &[&[u8]], arguments: &[&[u8]]| match within {
            None => redis.numbers(script, keys, arguments).await,
            Some(within) => redis.numbers_within(within, script, keys, arguments).await,
        };
        let word = |all: bool| match mode {
            Mode::Take if all => "take_all",
            Mode::Take => "take",
            Mode::Look => "look",
            Mode::Count => "count",
        };
        let answer = match &self.rule {
            StoredRule::Window(rule) => {
                let (window, limit) = (rule.window.to_string(), rule.requests.to_string());
                let arguments = [window.as_bytes(), limit.as_bytes(), word(rule.counts_rejected).as_bytes()];
                run(&WINDOW, &[key, self.counter.as_bytes()], &arguments).await?
            }
            StoredRule::Bucket { rule, each } => {
                let (each, burst) = (each.to_string(), rule.burst.to_string());
                run(&BUCKET, &[key], &[each.as_bytes(), burst.as_bytes(), word(false).as_bytes()]).await?
            }
        };
        self.verdict(&answer, mode).ok_or(RedisError::OtherType)
    }

    fn verdict(&self, answer: &[i64], mode: Mode) -> Option<Verdict> {
        let [passes @ 0..=1, number, wait] = *answer else { return None };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        let remaining = match &self.rule {
            StoredRule::Bucket { .. } => number,
            StoredRule::Window(rule) => rule.requests.saturating_sub(number + u32::from(mode == Mode::Look)),
        };
        let passes = passes == 1;
        Some(Verdict { passes, remaining: if passes { remaining } else { 0 }, wait })
    }
}
