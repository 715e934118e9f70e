//! record: what is known of a request that has ended goes to a thread of its own, which tells logs, flight recorder and
//! traces. A request only moves what it has into a queue.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::Context;
use super::context::End;
use crate::listen::Connection;
use crate::observe::redact;
use crate::observe::{
    Attempt, Logs, Outcome, Queue, Record, Recorder, Rejection, RouteMetrics, TraceContext, TraceExporter,
};
use crate::snapshot::Route;

/// How many requests of a thread wait to be recorded.
const WAITING: usize = 4096;
/// How long somebody who asks for a record waits for those that are under way to it.
const CATCH_UP: Duration = Duration::from_millis(500);

/// A request that has ended, as it was left.
struct Ended {
    id: HeaderValue,
    trace: TraceContext,
    at: SystemTime,
    client: IpAddr,
    user: Option<Box<str>>,
    connection: Option<Arc<Connection>>,
    version: Version,
    method: Method,
    host: String,
    target: Box<[u8]>,
    agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    route: Option<Arc<Route>>,
    generation: u64,
    attempts: SmallVec<[Attempt; 1]>,
    made: usize,
    status: StatusCode,
    upstream_status: Option<StatusCode>,
    outcome: Outcome,
    reason: Option<String>,
    received: u64,
    sent: u64,
    took: Duration,
}

/// What was asked for, kept for a request that may not come to its end.
pub(super) struct Asked {
    /// Where it is recorded.
    journal: Journal,
    method: Method,
    target: Box<[u8]>,
}

impl Asked {
    /// What this request asks for.
    pub(super) fn of(session: &Session, journal: &Journal) -> Box<Self> {
        let request = session.req_header();
        let (method, target) = (request.method.clone(), head(request.raw_path()).into());
        Box::new(Self { journal: journal.clone(), method, target })
    }

    /// Counts and records a request that ends here.
    pub(super) fn give_up(self, ctx: &mut Context) {
        let took = ctx.started.elapsed();
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        ctx.outcome = Outcome::Rejected;
        ctx.reason = Some(Rejection::BodyTimeout.to_string());
        ctx.attempts.conclude(ctx.started, None, Some("the request's body did not come in time"));
        let end = End { method: &self.method, status, received: 0, sent: 0, took };
        ctx.ended(&end, &RouteMetrics::default());
        self.journal.clone().write_unfinished(self, ctx, status, took);
    }
}

/// Where requests are recorded.
#[derive(Clone)]
pub struct Journal {
    queue: Arc<Queue<Box<Ended>, WAITING>>,
    has_agent: bool,
}

impl Journal {
    /// Starts the thread that records. `has_agent` tells whether anything wants `User-Agent` and `Referer`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        logs: Arc<Logs>,
        recorder: &Arc<Recorder>,
        exporter: Option<Arc<TraceExporter>>,
        has_agent: bool,
    ) -> io::Result<Self> {
        let queue = Arc::<Queue<Box<Ended>, WAITING>>::default();
        let (reader, kept, shared) = (Arc::clone(&queue), Arc::clone(recorder), Arc::clone(&logs));
        std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let pass = std::cell::RefCell::new(Vec::<Box<Ended>>::new());
            reader.read(
                |ended| pass.borrow_mut().push(ended),
                || {
                    let mut pass = pass.borrow_mut();
                    // They come by thread; lines stand in the order in which requests ended.
                    pass.sort_by_key(|ended| ended.at);
                    let records = pass.drain(..).map(|ended| {
                        let record = Arc::new(Record::from(*ended));
                        complain(&record);
                        logs.request(&record);
                        if let Some(exporter) = exporter.as_ref().filter(|_| record.trace.sampled) {
                            exporter.export(&record);
                        }
                        record
                    });
                    kept.keep(records);
                },
            );
        })?;
        let journal = Self { queue, has_agent };
        let of_recorder = journal.clone();
        recorder.follow(move || of_recorder.catch_up());
        let of_logs = journal.clone();
        shared.follow(move || of_logs.dropped());
        Ok(journal)
    }

    /// Records a request.
    pub(super) fn write(&self, session: &Session, ctx: &mut Context, status: StatusCode, took: Duration) {
        let request = session.req_header();
        let header = |name| request.headers.get(name).filter(|_| self.has_agent).cloned();
        self.queue.push(Box::new(Ended {
            id: ctx.request_id.clone(),
            trace: ctx.trace,
            at: SystemTime::now(),
            client: ctx.client.address,
            user: ctx.proof.as_ref().map(|proof| proof.identity.user.as_str().into()),
            version: request.version,
            method: request.method.clone(),
            host: std::mem::take(&mut ctx.host),
            target: head(request.raw_path()).into(),
            agent: header(USER_AGENT),
            referer: header(REFERER),
            generation: ctx.snapshot.generation,
            attempts: std::mem::take(&mut ctx.attempts.log),
            made: ctx.attempts.made(),
            status,
            upstream_status: ctx.upstream_status,
            outcome: ctx.outcome,
            reason: ctx.reason.take(),
            received: session.body_bytes_read() as u64,
            sent: session.body_bytes_sent() as u64,
            took,
            // They are moved, not counted once more: other threads count them as well.
            connection: ctx.connection.take(),
            route: ctx.decision.take().and_then(|decision| decision.route).map(|(route, _)| route),
        }));
    }

    /// Records a request whose client was too slow with its body over HTTP/2: its stream was reset, and no phase follows.
    pub(super) fn write_unfinished(&self, asked: Asked, ctx: &mut Context, status: StatusCode, took: Duration) {
        self.queue.push(Box::new(Ended {
            id: ctx.request_id.clone(),
            trace: ctx.trace,
            at: SystemTime::now(),
            client: ctx.client.address,
            user: ctx.proof.as_ref().map(|proof| proof.identity.user.as_str().into()),
            version: Version::HTTP_2,
            method: asked.method,
            host: std::mem::take(&mut ctx.host),
            target: asked.target,
            agent: None,
            referer: None,
            generation: ctx.snapshot.generation,
            attempts: std::mem::take(&mut ctx.attempts.log),
            made: ctx.attempts.made(),
            status,
            upstream_status: None,
            outcome: ctx.outcome,
            reason: ctx.reason.take(),
            received: ctx.arrival.bytes(),
            sent: 0,
            took,
            connection: ctx.connection.take(),
            route: ctx.decision.take().and_then(|decision| decision.route).map(|(route, _)| route),
        }));
    }

    /// Waits, for a while at most, until all requests that have ended are recorded.
    pub fn catch_up(&self) {
        self.queue.sync(CATCH_UP);
    }

    /// Requests that were not recorded, as there were too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl From<Ended> for Record {
    fn from(ended: Ended) -> Self {
        let boxed = |bytes: &[u8]| -> Box<str> { String::from_utf8_lossy(bytes).into() };
        let tls = ended.connection.as_ref().and_then(|connection| connection.tls.as_ref());
        Self {
            id: boxed(ended.id.as_bytes()),
            trace: ended.trace,
            time: ended.at.checked_sub(ended.took).unwrap_or(ended.at),
            client: ended.client,
            user: ended
                .user
                .or_else(|| tls.and_then(|tls| tls.identity.as_ref()).map(|identity| identity.subject.as_str().into())),
            version: ended.version,
            tls: tls.map(|tls| tls.version),
            listener: ended.connection.as_ref().map(|connection| connection.listener.address),
            method: ended.method,
            host: ended.host,
            target: boxed(&ended.target),
            agent: ended.agent.map(|agent| boxed(agent.as_bytes())),
            referer: ended.referer.map(|referer| boxed(referer.as_bytes())),
            route: ended.route.map(|route| Arc::clone(&route.info)),
            generation: ended.generation,
            attempts: ended.attempts,
            made: ended.made,
            status: ended.status,
            upstream_status: ended.upstream_status,
            outcome: ended.outcome,
            reason: ended.reason.map(String::into_boxed_str),
            received: ended.received,
            sent: ended.sent,
            took: ended.took,
        }
    }
}

/// A line in the error log for what went wrong.
fn complain(record: &Record) {
    if record.outcome.is_success() {
        return;
    }
    tracing::warn!(
        id = &*record.id,
        client = %record.client,
        method = %record.method,
        host = record.host,
        path = &*redact::path(record.path(), &[]),
        route = record.route.as_deref().map_or("", |route| route.name.as_str()),
        attempts = record.made,
        endpoint = record.last_attempt().map(|attempt| attempt.endpoint.to_string()),
        status = record.status.as_u16(),
        outcome = record.outcome.as_str(),
        reason = record.reason.as_deref().unwrap_or_default(),
        "request failed"
    );
}

/// So much of a request target is recorded.
const TARGET: usize = 8 * 1024;

/// A target, or its beginning.
fn head(target: &[u8]) -> &[u8] {
    target.get(..TARGET).unwrap_or(target)
}

/// The time between two instants; none where the later one comes first.
pub(super) fn between(begin: Instant, end: Instant) -> Duration {
    end.saturating_duration_since(begin)
}
