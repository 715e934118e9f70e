//! What is known of a request that has ended: what the access log, the flight recorder and traces tell of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use serde::ser::{SerializeMap, Serializer};
use smallvec::SmallVec;

use super::redact;
use super::route_metrics::fails;
use super::{Outcome, TraceContext};

/// What is told of a route in records: the same for all of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its name.
    pub name: String,
    /// Its steps, in the order in which they run.
    pub steps: Vec<&'static str>,
    /// The pool that it forwards to.
    pub upstream: Option<String>,
    /// Which of its requests are in the access log; `None`: as the log itself has it.
    pub logged: Option<Logged>,
    /// Parameters of queries that prove who asks, in lower case.
    pub secrets: Vec<String>,
}

/// Which requests of a route are in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// None of them.
    None,
    /// So many of 2³², and all that failed.
    Share(u64),
}

/// A request that has ended.
#[derive(Debug)]
pub struct Record {
    /// Its id.
    pub id: Box<str>,
    /// Its place in a trace.
    pub trace: TraceContext,
    /// When it came.
    pub time: SystemTime,
    /// The client.
    pub client: IpAddr,
    /// Who the client is, as far as that was proved.
    pub user: Option<Box<str>>,
    /// The version of HTTP.
    pub version: Version,
    /// The version of TLS, where it was spoken.
    pub tls: Option<&'static str>,
    /// Where the client connected to.
    pub listener: Option<SocketAddr>,
    /// The method.
    pub method: Method,
    /// The authority that the client named.
    pub host: String,
    /// Path and query as they came.
    pub target: Box<str>,
    /// `User-Agent`, where the log's format has it.
    pub agent: Option<Box<str>>,
    /// `Referer`, where the log's format has it.
    pub referer: Option<Box<str>>,
    /// The route that won.
    pub route: Option<Arc<RouteInfo>>,
    /// The configuration that it ran under.
    pub generation: u64,
    /// Its attempts; of many, the last ones.
    pub attempts: SmallVec<[Attempt; 1]>,
    /// How many there were.
    pub made: usize,
    /// The status that the client got.
    pub status: StatusCode,
    /// The status that the upstream gave.
    pub upstream_status: Option<StatusCode>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that needs more words.
    pub reason: Option<Box<str>>,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of its answer's body.
    pub sent: u64,
    /// From its header section to its end.
    pub took: Duration,
}

/// An attempt. Times count from when the request came.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Where it went.
    pub endpoint: SocketAddr,
    /// When it began.
    pub at: Duration,
    /// Whether its connection had served others.
    pub reused: bool,
    /// How long its connection took to be made.
    pub connect: Option<Duration>,
    /// When its answer began.
    pub first_byte: Option<Duration>,
    /// When it was over.
    pub end: Duration,
    /// The status that it was answered with.
    pub status: Option<StatusCode>,
    /// How it failed, if it did.
    pub failure: Option<Outcome>,
    /// Why, where that needs more words.
    pub reason: Option<Box<str>>,
    /// Whether another one followed.
    pub retried: bool,
}

impl Attempt {
    /// How it ended, in a word.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match (self.failure, self.status) {
            (Some(failure), _) => failure.as_str(),
            (None, _) if self.retried => "retried",
            (None, Some(_)) => "answered",
            (None, None) => "unanswered",
        }
    }
}

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody's fault: 5xx, or it was cut off.
    Error,
    /// The client's fault: 4xx.
    Warn,
    /// As it should be.
    Info,
}

impl Record {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        if fails(self.status, self.outcome) {
            Severity::Error
        } else if self.status.is_client_error() {
            Severity::Warn
        } else {
            Severity::Info
        }
    }

    /// Whether somebody's request failed by an upstream's fault or Pylon's.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.severity() == Severity::Error
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.user, &self.agent, &self.referer, &self.reason].into_iter().flatten().map(|text| text.len());
        size_of::<Self>() + self.id.len() + self.host.len() + self.target.len() + texts.sum::<usize>()
    }

    /// The path, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query, with secrets blotted out.
    #[must_use]
    pub fn query(&self, secrets: &[String]) -> Option<std::borrow::Cow<'_, str>> {
        let (_, query) = self.target.split_once('?')?;
        let query = redact::query(query, secrets);
        match &self.route {
            Some(route) if !route.secrets.is_empty() => Some(redact::query(&query, &route.secrets).into_owned().into()),
            _ => Some(query),
        }
    }

    /// The last attempt.
    #[must_use]
    pub fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// All of it, for `why` and the console.
    #[must_use]
    pub fn json(&self, secrets: &[String]) -> serde_json::Value {
        let attempts: Vec<serde_json::Value> = self.attempts.iter().map(Attempt::json).collect();
        let route = self.route.as_deref();
        serde_json::json!({
            "id": self.id,
            "trace_id": self.trace.trace_id(),
            "time": unix(self.time),
            "client": self.client,
            "protocol": version(self.version),
            "tls": self.tls,
            "user": self.user,
            "method": self.method.as_str(),
            "host": self.host,
            "path": redact::path(self.path(), secrets),
            "query": self.query(secrets),
            "listener": self.listener,
            "route": route.map(|route| &route.name),
            "steps": route.map(|route| &route.steps[..]).unwrap_or_default(),
            "generation": self.generation,
            "upstream": route.and_then(|route| route.upstream.as_ref()),
            "attempts": attempts,
            "attempts_made": self.made,
            "status": self.status.as_u16(),
            "upstream_status": self.upstream_status.map(|status| status.as_u16()),
            "outcome": self.outcome.as_str(),
            "failed": self.is_failure(),
            "reason": self.reason,
            "meaning": self.outcome.meaning(),
            "request_bytes": self.received,
            "response_bytes": self.sent,
            "duration_ms": millis(self.took),
        })
    }
}

impl Attempt {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "endpoint": self.endpoint,
            "at_ms": millis(self.at),
            "reused": self.reused,
            "connect_ms": self.connect.map(millis),
            "first_byte_ms": self.first_byte.map(millis),
            "end_ms": millis(self.end),
            "status": self.status.map(|status| status.as_u16()),
            "result": self.result(),
            "reason": self.reason,
        })
    }
}

/// A record as a line of the access log.
pub(super) struct JsonLine<'r> {
    pub(super) record: &'r Record,
    pub(super) secrets: &'r [String],
}

impl serde::Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (record, last) = (self.record, self.record.last_attempt());
        let route = record.route.as_deref();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &unix(record.time))?;
        map.serialize_entry("id", &record.id)?;
        map.serialize_entry("trace_id", &record.trace.trace_id())?;
        map.serialize_entry("client", &record.client)?;
        map.serialize_entry("user", &record.user)?;
        map.serialize_entry("method", record.method.as_str())?;
        map.serialize_entry("host", &record.host)?;
        map.serialize_entry("path", &redact::path(record.path(), self.secrets))?;
        map.serialize_entry("query", &record.query(self.secrets))?;
        map.serialize_entry("protocol", version(record.version))?;
        map.serialize_entry("tls", &record.tls)?;
        map.serialize_entry("route", &route.map(|route| &route.name))?;
        map.serialize_entry("upstream", &route.and_then(|route| route.upstream.as_ref()))?;
        map.serialize_entry("endpoint", &last.map(|attempt| attempt.endpoint))?;
        map.serialize_entry("attempts", &record.made)?;
        map.serialize_entry("status", &record.status.as_u16())?;
        map.serialize_entry("upstream_status", &record.upstream_status.map(|status| status.as_u16()))?;
        map.serialize_entry("outcome", record.outcome.as_str())?;
        map.serialize_entry("reason", &record.reason)?;
        map.serialize_entry("request_bytes", &record.received)?;
        map.serialize_entry("response_bytes", &record.sent)?;
        map.serialize_entry("seconds", &seconds(record.took))?;
        map.serialize_entry("connect_seconds", &last.and_then(|attempt| attempt.connect).map(seconds))?;
        map.serialize_entry("first_byte_seconds", &last.and_then(|attempt| attempt.first_byte).map(seconds))?;
        map.end()
    }
}

/// The version of HTTP as it is written.
pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Unix time in seconds, to the microsecond.
fn unix(time: SystemTime) -> f64 {
    (time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e6).round() / 1e6
}

/// Seconds, to the microsecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
