//! Spec → pool: every check that can be made before anything is looked up or connected.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::breaker::Rule;
use super::clock::millis;
use super::endpoint::Configured;
use super::health::outlier::Ejection;
use super::health::probe::Prober;
use super::limits::Limits;
use super::sticky::Sticky;
use super::trust::{Trust, is_name};
use crate::config::value::{Percent, Span};
use crate::config::{BreakerSpec, EndpointSpec, KeyPath, LimitsSpec, UpstreamSpec, value::Count};

/// A mistake in a pool: where below it, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The index of the endpoint, where it is about one.
    pub endpoint: Option<usize>,
    /// The keys.
    pub keys: Vec<&'static str>,
    /// What is wrong, and the cure.
    pub message: String,
}

impl Mistake {
    /// A mistake at a key of the pool.
    #[must_use]
    pub fn new(keys: &[&'static str], message: impl Into<String>) -> Self {
        Self { endpoint: None, keys: keys.to_vec(), message: message.into() }
    }

    fn of_endpoint(index: usize, key: &'static str, message: impl Into<String>) -> Self {
        Self { endpoint: Some(index), keys: vec![key], message: message.into() }
    }

    /// Its place, below that of the pool.
    #[must_use]
    pub fn place(&self, pool: &KeyPath) -> KeyPath {
        let mut path = pool.clone();
        if let Some(index) = self.endpoint {
            path.push("endpoints");
            path.push(index);
        }
        self.keys.iter().for_each(|key| path.push(*key));
        path
    }
}

/// A pool that has been checked.
pub(super) struct Compiled {
    pub(super) endpoints: Vec<Arc<Configured>>,
    pub(super) base_path: String,
    pub(super) https: bool,
    pub(super) trust: Trust,
    pub(super) sticky: Option<Sticky>,
    pub(super) prober: Option<Arc<Prober>>,
    pub(super) ejection: Ejection,
    pub(super) limits: Option<Limits>,
    pub(super) breaker: Option<Rule>,
    pub(super) slow_start: u64,
    /// Of all that makes connections differ.
    pub(super) policy: u64,
}

/// Checks a pool.
pub(super) fn compile(
    name: &str,
    spec: &UpstreamSpec,
    file: &dyn Fn(&str) -> PathBuf,
) -> Result<Compiled, Vec<Mistake>> {
    let mut problems = Vec::new();
    let first = spec.endpoints.first();
    if first.is_none() {
        let message = "a pool without endpoints serves nobody; list one URL at least";
        problems.push(Mistake::new(&["endpoints"], message));
    }
    let (https, base_path) = first.map_or((false, ""), |e| (e.url.is_https(), e.url.base_path()));
    let endpoints = compile_endpoints(spec, https, base_path, &mut problems);
    let names: Vec<&str> = match &spec.tls.server_name {
        Some(name) => vec![name.as_str()],
        None => spec.endpoints.iter().map(|endpoint| endpoint.url.host()).collect(),
    };
    let trust = Trust::compile(&spec.tls, &names, file, &mut problems);
    let mut keep = |key: &'static str, (below, message): (&'static str, String)| {
        problems.push(Mistake::new(&[key, below], message));
    };
    let sticky = spec.sticky.as_ref().and_then(|s| Sticky::compile(s).map_err(|e| keep("sticky", e)).ok());
    let prober =
        spec.health.as_ref().and_then(|h| Prober::compile(h, base_path, &trust).map_err(|e| keep("health", e)).ok());
    let limits = compile_limits(&spec.limits).map_err(|e| keep("limits", e)).ok().flatten();
    let breaker = spec.breaker.as_ref().and_then(|b| compile_breaker(b).map_err(|e| keep("breaker", e)).ok());
    if let Err(problem) = check_retry(&spec.retry) {
        keep("retry", problem);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut policy = crate::step::StableHasher::default();
    (name, https, spec.protocol, trust.fingerprint()).hash(&mut policy);
    Ok(Compiled {
        endpoints,
        base_path: base_path.to_owned(),
        https,
        trust,
        sticky,
        prober: prober.map(Arc::new),
        ejection: Ejection::new(&spec.ejection),
        limits,
        breaker,
        slow_start: spec.slow_start.map_or(0, |span| millis(span.duration())),
        policy: policy.finish(),
    })
}

fn compile_endpoints(
    spec: &UpstreamSpec,
    https: bool,
    base_path: &str,
    problems: &mut Vec<Mistake>,
) -> Vec<Arc<Configured>> {
    let mut endpoints = Vec::new();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let url = &endpoint.url;
        if url.is_https() != https || url.base_path() != base_path {
            let message = format!(
                "`{url}` differs from the first endpoint in its scheme or path; the endpoints of a pool share them, \
                 make another upstream of it"
            );
            problems.push(Mistake::of_endpoint(index, "url", message));
        }
        if url.is_https() && spec.tls.server_name.is_none() && !is_name(url.host()) {
            let host = url.host();
            let message =
                format!("`{host}` is no name that a certificate can have; set `tls.server_name` of the upstream");
            problems.push(Mistake::of_endpoint(index, "url", message));
        }
        match compile_endpoint(endpoint) {
            Ok(endpoint) => endpoints.push(Arc::new(endpoint)),
            Err((key, message)) => problems.push(Mistake::of_endpoint(index, key, message)),
        }
    }
    if !endpoints.is_empty() && endpoints.iter().all(|e| e.weight == 0) {
        let message = "all weights are 0, so no server gets requests; give one a weight of 1 to 1000";
        problems.push(Mistake::new(&["endpoints"], message));
    }
    endpoints
}

fn compile_endpoint(spec: &EndpointSpec) -> Result<Configured, (&'static str, String)> {
    let url = &spec.url;
    let weight = spec.weight.as_ref().map_or(1, |weight| weight.0);
    if weight > 1000 {
        return Err(("weight", format!("{weight} is too much; write 0 to 1000")));
    }
    let authority = HeaderValue::from_str(url.authority())
        .map_err(|_| ("url", format!("`{}` cannot stand in a Host header", url.authority())))?;
    Ok(Configured { authority, host: url.host().to_owned(), port: url.port(), weight })
}

fn compile_limits(spec: &LimitsSpec) -> Result<Option<Limits>, (&'static str, String)> {
    if spec.requests.is_none() && spec.connections.is_none() {
        let idle = [("queue", spec.queue.is_some()), ("queue_timeout", spec.queue_timeout.is_some())];
        return match idle.iter().find(|(_, set)| *set) {
            Some((key, _)) => Err((*key, "nothing is limited; set `requests` or `connections`".to_owned())),
            None => Ok(None),
        };
    }
    for (key, limit) in [("requests", spec.requests), ("connections", spec.connections)] {
        if limit.is_some_and(|limit| limit.0 == 0) {
            return Err((key, "0 lets nothing through; write 1 or more, or leave it out".to_owned()));
        }
    }
    let number = |count: Option<Count>, default| count.map_or(default, |count: Count| count.0);
    Ok(Some(Limits {
        requests: number(spec.requests, u32::MAX),
        connections: number(spec.connections, u32::MAX),
        queue: number(spec.queue, 0),
        queue_timeout: spec.queue_timeout.map_or(std::time::Duration::from_secs(1), Span::duration),
    }))
}

fn compile_breaker(spec: &BreakerSpec) -> Result<Rule, (&'static str, String)> {
    let share = spec.failure_share.map_or(0.5, Percent::ratio);
    if share <= 0.0 {
        return Err(("failure_share", "0% would open it for good; write \"1%\" or more".to_owned()));
    }
    let span = |span: Option<Span>, default| span.map_or(default, |span| millis(span.duration()));
    Ok(Rule {
        failure_share: share,
        minimum: spec.minimum_requests.map_or(20, |count| count.0).max(1),
        window: span(spec.window, 10_000).max(10),
        open: span(spec.open, 5_000).max(10),
    })
}

/// Checks the retries of a pool or a route.
///
/// # Errors
/// The key that is wrong, and what to write.
pub fn check_retry(spec: &crate::config::RetrySpec) -> Result<(), (&'static str, String)> {
    match spec.attempts {
        Some(Count(count)) if !(1..=10).contains(&count) => {
            Err(("attempts", format!("{count} is not a number of attempts; write 1 to 10")))
        }
        _ => Ok(()),
    }
}
