//! Traces to a collector: OTLP over HTTP, in its JSON form, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! A span for each request, and below it one for each attempt. They are sent in batches from a thread of its own; what
//! the collector does not take is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::families::Family;
use super::queue::Queue;
use super::record::{Attempt, Record, version};
use super::redact;

/// How many requests wait to be sent.
const WAITING: usize = 4096;
/// So many are sent at once.
const BATCH: usize = 512;
/// A batch that is not full is sent after this time.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last batch.
const LAST: Duration = Duration::from_secs(1);
/// How long the collector has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The collector's base URL.
    pub otlp: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The name of the service.
    pub service: String,
    /// Names of parameters that are secret besides the usual ones, in lower case.
    pub secrets: Vec<String>,
}

/// Sends traces.
#[derive(Debug)]
pub struct TraceExporter {
    queue: Arc<Queue<Arc<Record>, WAITING>>,
    counts: Arc<Counts>,
    hurry: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    lost: AtomicU64,
}

impl TraceExporter {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(options: TraceOptions) -> std::io::Result<Arc<Self>> {
        let queue = Arc::<Queue<Arc<Record>, WAITING>>::default();
        let counts = Arc::<Counts>::default();
        let hurry = Arc::<AtomicBool>::default();
        let (reader, told, hurries) = (Arc::clone(&queue), Arc::clone(&counts), Arc::clone(&hurry));
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            let batch = std::cell::RefCell::new(Vec::with_capacity(BATCH));
            let mut sender = Sender::new(options);
            let send = std::cell::RefCell::new(|batch: &mut Vec<Arc<Record>>| {
                let sent = sender.send(batch);
                let counter = if sent { &told.exported } else { &told.lost };
                counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
                batch.clear();
            });
            let mut due = Instant::now() + PERIOD;
            reader.read(
                |record| {
                    let mut batch = batch.borrow_mut();
                    batch.push(record);
                    if batch.len() >= BATCH {
                        send.borrow_mut()(&mut batch);
                    }
                },
                || {
                    let mut batch = batch.borrow_mut();
                    if Instant::now() >= due || hurries.load(Ordering::Relaxed) {
                        due = Instant::now() + PERIOD;
                        if !batch.is_empty() {
                            send.borrow_mut()(&mut batch);
                        }
                    }
                },
            );
        })?;
        Ok(Arc::new(Self { queue, counts, hurry }))
    }

    /// Sends a request's spans, or drops them.
    pub fn export(&self, record: &Arc<Record>) {
        self.queue.push(Arc::clone(record));
    }

    /// Sends what is there at once, as the process ends; waits for that for a while at most.
    pub fn flush(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.queue.sync(LAST);
    }

    /// The families.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let dropped = self.queue.dropped() + self.counts.lost.load(Ordering::Relaxed);
        let mut exported =
            Family::counter("pylon_traces_exported_total", "Requests whose spans a collector has taken.");
        exported.push_count(&[], self.counts.exported.load(Ordering::Relaxed));
        let mut lost = Family::counter("pylon_traces_dropped_total", "Requests whose spans were dropped.");
        lost.push_count(&[], dropped);
        vec![exported, lost]
    }
}

struct Sender {
    agent: ureq::Agent,
    url: String,
    options: TraceOptions,
    /// Whether the last batch was taken, so that only changes are logged.
    works: bool,
}

impl Sender {
    fn new(options: TraceOptions) -> Self {
        let config = ureq::Agent::config_builder();
        let config = config.timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
        let url = format!("{}/v1/traces", options.otlp.trim_end_matches('/'));
        Self { agent: config.build().into(), url, options, works: true }
    }

    fn send(&mut self, batch: &[Arc<Record>]) -> bool {
        let body = body(batch, &self.options).to_string();
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(authorization) = &self.options.authorization {
            request = request.header("authorization", authorization);
        }
        let why = match request.send(body.as_bytes()) {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match (&why, self.works) {
            (Some(why), true) => tracing::warn!(url = self.url, why, "traces cannot be exported"),
            (None, false) => tracing::info!(url = self.url, "traces are exported again"),
            _ => {}
        }
        self.works = why.is_none();
        self.works
    }
}

/// An `ExportTraceServiceRequest`.
fn body(batch: &[Arc<Record>], options: &TraceOptions) -> Value {
    let spans: Vec<Value> = batch.iter().flat_map(|record| spans(record, &options.secrets)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", &options.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeSpans": [{ "scope": { "name": "pylon", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
    }] })
}

/// The spans of a request, with the names of OpenTelemetry's semantic conventions for HTTP.
fn spans(record: &Record, secrets: &[String]) -> Vec<Value> {
    let route = record.route.as_deref();
    let name = route.map_or_else(|| record.method.to_string(), |route| format!("{} {}", record.method, route.name));
    let mut attributes = vec![
        text("http.request.method", record.method.as_str()),
        text("url.path", &redact::path(record.path(), secrets)),
        text("server.address", record.host.rsplit_once(':').map_or(&record.host, |(host, _)| host)),
        text("client.address", &record.client.to_string()),
        text("network.protocol.version", version(record.version).trim_start_matches("HTTP/").trim_end_matches(".0")),
        number("http.response.status_code", record.status.as_u16().into()),
        number("http.request.body.size", record.received),
        number("http.response.body.size", record.sent),
        text("pylon.request_id", &record.id),
        text("pylon.outcome", record.outcome.as_str()),
    ];
    attributes.extend(route.map(|route| text("http.route", &route.name)));
    let query = record.query(secrets);
    attributes.extend(query.map(|query| text("url.query", &query)));
    attributes.extend(record.reason.as_deref().map(|reason| text("pylon.reason", reason)));
    let mut span = json!({
        "traceId": record.trace.trace_id(),
        "spanId": format!("{:016x}", record.trace.span),
        "name": name,
        "kind": 2,
        "startTimeUnixNano": nanos(record.time, Duration::ZERO),
        "endTimeUnixNano": nanos(record.time, record.took),
        "attributes": attributes,
        "status": status(record.is_failure()),
    });
    if let Some(parent) = record.trace.parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    let first = record.made.saturating_sub(record.attempts.len());
    let attempts = record.attempts.iter().enumerate().map(|(at, one)| attempt(record, first + at + 1, one));
    std::iter::once(span).chain(attempts).collect()
}

fn attempt(record: &Record, number_of: usize, attempt: &Attempt) -> Value {
    let mut attributes = vec![
        text("http.request.method", record.method.as_str()),
        text("server.address", &attempt.endpoint.ip().to_string()),
        number("server.port", attempt.endpoint.port().into()),
        text("pylon.result", attempt.result()),
    ];
    if number_of > 1 {
        attributes.push(number("http.request.resend_count", number_of as u64 - 1));
    }
    attributes.extend(attempt.status.map(|status| number("http.response.status_code", status.as_u16().into())));
    attributes.extend(attempt.reason.as_deref().map(|reason| text("pylon.reason", reason)));
    json!({
        "traceId": record.trace.trace_id(),
        "spanId": format!("{:016x}", record.trace.attempt(number_of)),
        "parentSpanId": format!("{:016x}", record.trace.span),
        "name": record.method.as_str(),
        "kind": 3,
        "startTimeUnixNano": nanos(record.time, attempt.at),
        "endTimeUnixNano": nanos(record.time, attempt.end),
        "attributes": attributes,
        "status": status(attempt.failure.is_some()),
    })
}

fn status(failed: bool) -> Value {
    if failed { json!({ "code": 2 }) } else { json!({}) }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Numbers of 64 bits are strings in the JSON form of protocol buffers.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanos(time: SystemTime, after: Duration) -> String {
    (time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + after).as_nanos().to_string()
}
