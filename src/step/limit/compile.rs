//! Checks limits, and finds what was counted before.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::Mistake;
use super::super::auth::AuthScope;
use super::super::redis_server::server;
use super::answer::{Refusal, Telling};
use super::counts::{Local, Places};
use super::key::By;
use super::local::{BucketRule, WindowRule};
use super::store::{Store, StoredRule};
use super::{Kind, Limit};
use crate::config::value::{Count, Span};
use crate::config::{
    Counted, KeyForm, KeyPath, LimitHeaders, LimitKeySpec, LimitRedisSpec, LimitSpec, Otherwise, Rejected, StringOr,
};

/// Keys where the configuration does not say.
const MAX_KEYS: u32 = 100_000;

/// What makes counts the same over a reload: a limit that only changes its numbers goes on with them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SameCounts {
    of: String,
    kind: &'static str,
    window: Option<Span>,
    by: Option<StringOr<LimitKeySpec>>,
    ipv6_prefix: Option<Count>,
    otherwise: Option<Otherwise>,
    max_keys: u32,
    /// Whether it counts what is refused.
    refused: bool,
    /// How many of the same there are before it on its route: `10/s` and `1000/h` are two.
    before: usize,
}

impl SameCounts {
    /// What they are of a limit, which is one of the others from now on.
    fn among(others: &mut Vec<Self>, spec: &LimitSpec, route: &str, shape: Shape) -> Self {
        let mut same = Self {
            of: spec.name.as_ref().map_or_else(|| format!("route {route}"), |name| format!("limit {name}")),
            kind: shape.word(),
            window: spec.window,
            by: spec.by.clone(),
            ipv6_prefix: spec.ipv6_prefix,
            otherwise: spec.otherwise,
            max_keys: max_keys(spec),
            refused: spec.count == Some(Counted::Refused),
            before: 0,
        };
        same.before = others.iter().filter(|other| Self { before: 0, ..(*other).clone() } == same).count();
        others.push(same.clone());
        same
    }

    /// Its part of the names of keys in a store.
    fn name(&self) -> String {
        let mut name = self.of.replacen(' ', ":", 1);
        if self.refused {
            name.push_str(":refused");
        }
        if self.before > 0 {
            let _ = write!(name, ":{}", self.before + 1);
        }
        name
    }
}

/// What kind of a limit it is.
#[derive(Clone, Copy)]
enum Shape {
    Rate { count: u32, per: Duration, burst: u32 },
    Window { requests: u32, window: Duration },
    Concurrent(u32),
}

impl Shape {
    const fn word(self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate",
            Self::Window { .. } => "window",
            Self::Concurrent(_) => "concurrent",
        }
    }
}

fn max_keys(spec: &LimitSpec) -> u32 {
    spec.max_keys.map_or(MAX_KEYS, Count::get)
}

/// Compiles one limit.
///
/// `others` are those before it on its route.
///
/// # Errors
/// All mistakes, below the limit.
pub(super) fn compile(
    spec: &LimitSpec,
    route: &str,
    scope: &AuthScope<'_>,
    others: &mut Vec<SameCounts>,
) -> Result<Limit, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let shape = shape(spec).map_err(|mistake| mistakes.push(mistake)).ok();
    let by = By::compile(spec).map_err(|mistake| mistakes.push(mistake)).ok();
    let refusal = Refusal::compile(spec.answer.as_ref()).map_err(|found| mistakes.extend(found)).ok();
    let max_keys = max_keys(spec);
    if !(64..=100_000_000).contains(&max_keys) {
        mistakes.push(Mistake::at("max_keys", format!("{max_keys} is not from 64 to 100000000; write 100000 or so")));
    }
    if spec.name.as_deref().is_some_and(str::is_empty) {
        mistakes.push(Mistake::at("name", "it is empty; write a name or remove it"));
    }
    if let Some(shape) = shape {
        mistakes.extend(misplaced(spec, shape));
    }
    let (Some(shape), Some(by), Some(refusal), true) = (shape, by, refusal, mistakes.is_empty()) else {
        return Err(mistakes);
    };
    let counted = spec.count.unwrap_or_default();
    let same = SameCounts::among(others, spec, route, shape);
    let kind = kind(shape, spec, &same, scope);
    let store = match (&spec.redis, stored_rule(shape, &kind)) {
        (Some(redis), Some(rule)) => Some(store(redis, rule, &by, &same.name(), scope)?),
        _ => None,
    };
    let (number, window) = match shape {
        Shape::Rate { count, per, .. } => (count, per),
        Shape::Window { requests, window } => (requests, window),
        Shape::Concurrent(most) => (most, Duration::ZERO),
    };
    let label = spec.name.clone().unwrap_or_else(|| shape.word().to_owned());
    let headers = match shape {
        Shape::Concurrent(_) => LimitHeaders::None,
        _ if counted == Counted::Refused => LimitHeaders::None,
        _ => spec.headers.unwrap_or_default(),
    };
    let refused: Vec<u16> = spec.refused.iter().map(|status| status.get().as_u16()).collect();
    Ok(Limit {
        metrics: scope.metrics.limit(route, &label),
        label,
        by,
        number,
        telling: Telling::new(headers, number, window),
        refusal,
        counted,
        refused: if refused.is_empty() && counted != Counted::Refused { vec![401, 403] } else { refused },
        counted_by: spec.counted_by.as_ref().map(|name| name.get().clone()),
        kind,
        store,
    })
}

/// What kind of a limit a spec is.
fn shape(spec: &LimitSpec) -> Result<Shape, Mistake> {
    let zero = |key: &str| Mistake::at(key, "0 lets nothing pass; write 1 at least, or remove the limit");
    match (spec.rate, spec.requests, spec.concurrent) {
        (Some(rate), None, None) => {
            let burst = spec.burst.map_or(rate.count, Count::get);
            if burst == 0 {
                return Err(zero("burst"));
            }
            Ok(Shape::Rate { count: rate.count, per: rate.per.duration(), burst })
        }
        (None, Some(requests), None) => {
            let Some(window) = spec.window.map(Span::duration) else {
                return Err(Mistake::at("window", "it is missing; write in which time, such as `900s`"));
            };
            if window < Duration::from_secs(1) || window > Duration::from_secs(30 * 86_400) {
                return Err(Mistake::at("window", "this is not from 1s to 30d; write one such as `900s`"));
            }
            let requests = requests.get();
            if requests == 0 { Err(zero("requests")) } else { Ok(Shape::Window { requests, window }) }
        }
        (None, None, Some(most)) => {
            if most.get() == 0 {
                Err(zero("concurrent"))
            } else {
                Ok(Shape::Concurrent(most.get()))
            }
        }
        (None, None, None) => {
            let message = "it limits nothing; add `rate`, `requests` with `window`, or `concurrent`";
            Err(Mistake::new(KeyPath::root(), message))
        }
        _ => {
            let message = "`rate`, `requests` and `concurrent` are limits of their own; write one item for each";
            Err(Mistake::new(KeyPath::root(), message))
        }
    }
}

/// Keys that do not belong to a kind of limit.
fn misplaced(spec: &LimitSpec, shape: Shape) -> Vec<Mistake> {
    let (is_rate, is_window) = (matches!(shape, Shape::Rate { .. }), matches!(shape, Shape::Window { .. }));
    let is_concurrent = !is_rate && !is_window;
    let counted = spec.count.unwrap_or_default();
    let checks = [
        ("burst", spec.burst.is_some() && !is_rate, "only `rate` has a burst; remove it"),
        ("window", spec.window.is_some() && !is_window, "only `requests` has a window; remove it"),
        ("rejected", spec.rejected == Some(Rejected::Counted) && !is_window, "only `requests` can do so; remove it"),
        ("redis", spec.redis.is_some() && is_concurrent, "each instance counts its own requests under way; remove it"),
        ("headers", spec.headers.is_some() && is_concurrent, "there are none of `concurrent`; remove it"),
        ("count", spec.count.is_some() && is_concurrent, "a request under way always counts; remove it"),
        (
            "count",
            counted == Counted::Upstream && spec.redis.is_none(),
            "what the upstream counts is in Redis only; add `redis`",
        ),
        (
            "headers",
            spec.headers.is_some() && counted == Counted::Refused,
            "nobody is told how many guesses are left; remove it",
        ),
        (
            "by",
            counted == Counted::Refused && spec.by.as_ref().is_some_and(|by| !by.0.client_ip.0),
            "who guesses would choose it, and could lock others out; write `client_ip`",
        ),
        (
            "rate",
            spec.rate.is_some() && counted == Counted::Refused,
            "guesses are counted one by one; write `requests` and `window`",
        ),
        (
            "rejected",
            spec.rejected == Some(Rejected::Counted) && counted == Counted::Refused,
            "past the limit nobody is asked whether it is a guess; remove it",
        ),
        (
            "refused",
            !spec.refused.is_empty() && counted == Counted::All,
            "only `count: accepted`, `upstream` and `refused` heed it; add one of them, or remove it",
        ),
        (
            "counted_by",
            spec.counted_by.is_some() && matches!(counted, Counted::All | Counted::Refused),
            "only `count: accepted` and `count: upstream` heed it; add one of them, or remove it",
        ),
    ];
    checks.into_iter().filter(|check| check.1).map(|(key, _, message)| Mistake::at(key, message)).collect()
}

fn kind(shape: Shape, spec: &LimitSpec, same: &SameCounts, scope: &AuthScope<'_>) -> Kind {
    let most = usize::try_from(same.max_keys).unwrap_or(usize::MAX);
    match shape {
        Shape::Rate { count, per, burst } => {
            let each = nanos(per) / u64::from(count);
            Kind::Bucket(
                BucketRule { each: each.max(1), burst },
                scope.shared.keep(scope.before, same, || Local::new(most)),
            )
        }
        Shape::Window { requests, window } => {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let counts_rejected = spec.rejected == Some(Rejected::Counted);
            Kind::Window(
                WindowRule { requests, window, counts_rejected },
                scope.shared.keep(scope.before, same, || Local::new(most)),
            )
        }
        Shape::Concurrent(most) => Kind::Concurrent(most, scope.shared.keep(scope.before, same, Places::default)),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn stored_rule(shape: Shape, kind: &Kind) -> Option<StoredRule> {
    match (shape, kind) {
        (Shape::Rate { count, per, .. }, Kind::Bucket(rule, _)) => {
            Some(StoredRule::Bucket { rule: *rule, each: per.as_secs_f64() * 1e6 / f64::from(count) })
        }
        (_, Kind::Window(rule, _)) => Some(StoredRule::Window(*rule)),
        _ => None,
    }
}

fn store(
    spec: &LimitRedisSpec,
    rule: StoredRule,
    by: &By,
    of: &str,
    scope: &AuthScope<'_>,
) -> Result<Store, Vec<Mistake>> {
    let server = server(&spec.server(), scope)
        .map_err(|(key, message)| vec![Mistake::new(KeyPath::root().then("redis").then(key), message)])?;
    let kind = match rule {
        StoredRule::Bucket { .. } => "rate".to_owned(),
        StoredRule::Window(rule) => format!("window-{}", rule.window),
    };
    let prefix = spec.prefix.clone().unwrap_or_else(|| format!("pylon:{of}:{kind}:"));
    let counter = spec.counter.clone().unwrap_or_else(|| format!("{prefix}#"));
    let default = if by.may_be_secret() { KeyForm::Hashed } else { KeyForm::Raw };
    Ok(Store { server, rule, fail: spec.fail.unwrap_or_default(), prefix, counter, form: spec.keys.unwrap_or(default) })
}
